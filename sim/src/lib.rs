//! The seeded simulator: the shipped kernel, decoder and extractor in one thread, on a simulated disk and a simulated
//! broker, under the faults of real disks and brokers, compared with an independent reference model.
//!
//! - [`decide`]: the only source of chance. [`swarm`]: the parameters of a run.
//! - [`fault`]: every kind of failure by name, with counts.
//! - [`disk`], [`broker`]: models of the outside world. [`scenario`], [`csv`], [`wide`], [`program`]: tables, pipelines
//!   and messages.
//! - [`world`]: one database, its surroundings, and the order of turns. [`model_test`]: shards alone.
//!   [`log_corruption`]: logs alone. [`columns`]: rows as columns.
//! - [`oracle`]: the independent model and its checks.
//! - [`explore`]: exhaustive search of a small world.
//! - [`run`]: seeds, twice each. [`shrink`]: shrinks failures. [`trace`], [`counts`]: events and counts; [`story`]: as
//!   text; [`explain`]: as an HTML page.
//! - [`fuzz`]: a fuzzer's bytes as a run.
//! - [`replay`]: replay of a server's recording. [`commands`]: the command line.

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
