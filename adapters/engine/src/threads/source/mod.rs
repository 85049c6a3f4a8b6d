//! One pipeline's source in one epoch: a thread that opens and verifies it, and the threads that read and extract its
//! partitions. Everything here ends with the epoch; the next one starts anew, without state of a failed connection or
//! an older definition.

mod context;
mod control;
mod credit;
mod reader;
mod worker;

pub(crate) use context::{SourceContext, SourceSpec};
pub(crate) use control::SourceHandle;
