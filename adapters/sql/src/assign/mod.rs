//! Values on their way into columns: conversion on assignment, DEFAULT, and expressions that the kernel evaluates while it
//! stages. Knows the kernel's columns, and no statement.

mod arithmetic;
pub mod convert;
pub mod defaults;
pub mod lower;
