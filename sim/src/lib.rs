//! The seeded simulator: the shipped kernel, decoder and extractor in one thread, on a simulated disk and a simulated broker, under
//! the faults that disks and brokers really have, held against an independent reference model.
//!
//! - [`decide`]: the one door through which chance comes in. [`swarm`]: what a run is like, drawn through it.
//! - [`fault`]: every kind of trouble by name, and what became of it.
//! - [`disk`], [`broker`]: models of what is outside, as bad as the real ones. [`scenario`], [`csv`], [`wide`],
//!   [`program`]: what their users agree on.
//! - [`world`]: one database, everything around it, and whose turn it is. [`model_test`]: shards alone. [`log_corruption`]: logs alone.
//!   [`columns`]: rows as they are handed in.
//! - [`oracle`]: what must hold, computed apart.
//! - [`explore`]: every state of a small world, the same kernel in it.
//! - [`run`]: seeds, twice each. [`shrink`]: a failure made small. [`trace`], [`counts`]: what happened; [`story`]: told in words;
//!   [`explain`]: as a page to look at.
//! - [`fuzz`]: a fuzzer's bytes as a run.
//! - [`replay`]: what a real server recorded, run again. [`commands`]: the command line.

pub mod broker;
pub mod bugs;
pub mod columns;
pub mod commands;
pub mod counts;
pub mod csv;
pub mod decide;
pub mod defects;
pub mod disk;
pub mod explain;
pub mod explore;
pub mod fault;
pub mod fuzz;
pub mod log_corruption;
pub mod model_test;
pub mod oracle;
pub mod program;
pub mod replay;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod story;
pub mod swarm;
pub mod trace;
pub mod wide;
pub mod world;
