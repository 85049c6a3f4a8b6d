//! The port to a source: it describes the source, and reads each split from a position. The real implementation uses
//! librdkafka with manual assignment; the simulated one is the broker model. Scheduling of readers is in the adapters;
//! `extract` and `coordinator` handle the messages.

#[cfg(any(test, feature = "contract"))]
pub mod contract;

use std::sync::Arc;
use std::time::Duration;

use crate::extract::Delivery;
use crate::ids::*;
use crate::message::{SourceFailure, SourceMetadata};

/// A source. It is connected, or connects at the first call.
pub trait Source: Send + Sync {
    /// Current metadata of the source, requested after the call begins, never cached. Blocks.
    fn read(&self) -> Result<SourceMetadata, SourceFailure>;

    /// Like [`read`](Source::read), but only the splits and their identities must be current; positions may be from an
    /// earlier answer. Answers [`Effect::SourceVerify`](crate::Effect::SourceVerify), and saves a round trip per batch.
    fn verify(&self) -> Result<SourceMetadata, SourceFailure> {
        self.read()
    }

    /// Opens a reader of one split. Deliveries begin at `start`, but may repeat or overlap earlier ones (fault A2); the
    /// caller filters by ordinal. A second open of a split ends its earlier reader.
    fn open(&self, split: &SplitName, start: Position) -> Result<Box<dyn SplitReader>, SourceFailure>;

    /// Latest known earliest ordinal and end of each split; may be cached. For display of lag, never for correctness.
    fn watermarks(&self) -> Vec<(SplitName, i64, i64)>;

    /// Latest known end of each split, including messages that open transactions hold back. Empty if the source has no
    /// transactions.
    fn high_watermarks(&self) -> Vec<(SplitName, i64)> {
        Vec::new()
    }

    /// Latest known number of messages of each split that open transactions hold back. Messages that are only unread do
    /// not count.
    fn held_back(&self) -> Vec<(SplitName, i64)> {
        Vec::new()
    }
}

/// Called when new messages wait. It must not block its caller.
pub type Arrived = Arc<dyn Fn() + Send + Sync>;

/// A reader of one split. One thread owns it.
pub trait SplitReader: Send {
    /// Sets the limit of a poll: messages of at most so many bytes, or one message. Further messages wait for the next
    /// poll. A reader that cannot hold messages back ignores it.
    fn limit_bytes(&mut self, _bytes_max: u64) {}

    /// Sets a callback for messages that arrive while none wait, so that a thread with several readers need not poll
    /// each of them. False: this reader has no such callback.
    fn announce(&mut self, _arrived: Arrived) -> bool {
        false
    }

    /// Waits up to `timeout` for messages, then hands the available ones, at most `messages_max`, to `take` in order of
    /// ordinal: raw messages, or rows that the source has decoded itself. Calls `take` at most once; `take` must not keep
    /// the messages. Read-committed: aborted messages never appear.
    fn poll(
        &mut self,
        messages_max: usize,
        timeout: Duration,
        take: &mut dyn FnMut(Delivery<'_>),
    ) -> Result<Polled, SourceFailure>;
}

/// The result of a poll beside its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Polled {
    /// Number of messages handed over.
    pub messages: usize,
    /// The position at the end of a hole, if the reader can tell that there is no message before it (control records or
    /// aborted messages up to the end).
    pub next_ordinal: Option<i64>,
    /// True if the split's end was reached: no message waits.
    pub at_end: bool,
}

/// Makes sources from pipelines' definitions; the host owns one. Invalid or forbidden definitions fail permanently. A
/// missing thing that a definition names, such as a secret's file, fails transiently.
pub trait Sources: Send + Sync {
    /// A source for `definition_sql` (a canonical CREATE PIPELINE).
    fn source(&self, definition_sql: &str) -> Result<Arc<dyn Source>, SourceFailure>;
}
