//! The subcommands of the simulator's binary: their arguments and output. The library does the work.

pub mod bugs;
mod chosen;
pub mod explain;
pub mod explore;
mod failure;
mod progress;
pub mod replay;
pub mod run;
pub mod shrink;
