//! The engine as a whole, over a topic in memory.

mod loading;
mod replay;
mod restart;
mod topic;
