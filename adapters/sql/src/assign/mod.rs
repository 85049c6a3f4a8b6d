//! Values for columns: conversion on assignment, DEFAULT, and expressions that the kernel evaluates while it stages.
//! Depends on the kernel's columns, not on statements.

mod arithmetic;
pub mod convert;
pub mod defaults;
pub mod lower;
