//! What the benchmarks share: the messages that they measure with.

pub mod payments;
