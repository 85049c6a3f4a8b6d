//! The subcommands of the simulator's binary: their arguments and what they print. What they do lives in the library.

pub mod bugs;
mod chosen;
pub mod explain;
pub mod explore;
mod failure;
mod progress;
pub mod replay;
pub mod run;
pub mod shrink;
