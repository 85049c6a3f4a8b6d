//! Shared by the benchmarks: their messages.

pub mod payments;
