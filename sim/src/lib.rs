//! The seeded simulator: the shipped kernel, decoder and extractor in one thread, on a simulated disk and a simulated broker, under
//! every fault that `faults` lists, held against an independent reference model.
//!
//! - [`decide`]: the one door through which chance comes in.
//! - [`disk`], [`broker`]: models of what is outside, as bad as the real ones.

pub mod broker;
pub mod decide;
pub mod disk;
