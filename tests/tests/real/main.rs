//! The whole program against real parts: one test binary, so that all of it shares one broker.

mod compatibility;
mod contract;
mod directory;
mod exactly_once;
mod failures;
mod load;
mod pipelines;
mod replay;
mod secrets;
mod source;
