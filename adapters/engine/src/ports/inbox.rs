//! The coordinator's inbox: everything that other threads and the API send to it, and the answers that clients get.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::Sender;

use kernel::message::Counts;
use kernel::{Error, Extract, Input, Request, Result, SqlState};
use tidemark_database::TableLockGuard;
use tokio::sync::oneshot;

/// A message in the coordinator's inbox. The senders bound their number: shards and log answer commands, whose number
/// the kernel bounds; extracts are bounded by credit; and each client waits for its answer.
pub(crate) enum Message {
    Input(Input),
    /// An extract, and the count of its partition's extracts that wait here.
    Extracted(Box<Extract>, Arc<AtomicUsize>),
    Request {
        request: Request,
        answer: oneshot::Sender<Result<Answer>>,
    },
    /// A release. It has no answer.
    Release(Request),
    /// From the disk watch: whether the reserve is free.
    DiskSpace {
        sufficient: bool,
    },
    /// From the log: whether there was space for the record to append.
    LogSpace {
        sufficient: bool,
    },
    /// A broken invariant: the process must not continue.
    Broken(Error),
    /// A clean stop.
    Stop,
}

impl Message {
    /// Reports that a thread of the database has panicked.
    pub(crate) fn broken_invariant(inbox: &Sender<Message>, panic: String) {
        let _ = inbox.send(Message::Broken(Error::new(SqlState::INTERNAL_ERROR, panic)));
    }
}

/// The answer to a request, from the coordinator's thread.
pub(crate) enum Answer {
    Done(Counts),
    TableLock(TableLockGuard),
}

/// The client must check the table before it tries again: the answer was lost, perhaps not the statement.
pub(crate) fn outcome_unknown(why: &Error) -> Error {
    Error::new(
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        format!(
            "whether this statement took effect is not known: {why}; look at the table once the database is up before you run \
             it again"
        ),
    )
}
