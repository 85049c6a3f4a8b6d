//! The port to a source: describe it, and read each of its splits from a position. Real: rdkafka with manual assignment;
//! simulated: the broker model. How the host schedules readers lives in the adapters; what is done with what they read lives in
//! `extract` and `coordinator`.

#[cfg(any(test, feature = "contract"))]
pub mod contract;

use std::sync::Arc;
use std::time::Duration;

use crate::extract::RawMessage;
use crate::ids::*;
use crate::message::{SourceFailure, SourceMetadata};

/// A source that is connected or connects when first asked.
pub trait Source: Send + Sync {
    /// Describes the source as it is now: asked for when this is called, never cached. Blocks.
    fn read(&self) -> Result<SourceMetadata, SourceFailure>;

    /// As [`read`](Source::read), but only the splits and their identities need to be of now: positions may be those of an earlier
    /// answer. What answers [`Effect::SourceVerify`](crate::Effect::SourceVerify); it saves a round trip a batch.
    fn verify(&self) -> Result<SourceMetadata, SourceFailure> {
        self.read()
    }

    /// Opens a reader of one split. Deliveries begin at `start`, but may repeat or overlap what came before (fault A2): the caller
    /// filters by ordinal. Opening a split again ends the reader before it.
    fn open(&self, split: &SplitName, start: Position) -> Result<Box<dyn SplitReader>, SourceFailure>;

    /// Earliest ordinal and end of each split, as last heard; may be cached. For lag, never for correctness.
    fn watermarks(&self) -> Vec<(SplitName, i64, i64)>;

    /// End of each split as last heard, with what transactions that are still open hold back. Empty where a source has no
    /// transactions.
    fn high_watermarks(&self) -> Vec<(SplitName, i64)> {
        Vec::new()
    }

    /// How many messages of each split are held back by transactions that are still open, as last looked up: messages that were
    /// merely not read yet do not count.
    fn held_back(&self) -> Vec<(SplitName, i64)> {
        Vec::new()
    }
}

/// Called when something has come to be read. Whoever calls it must not be held up by it.
pub type Arrived = Arc<dyn Fn() + Send + Sync>;

/// Reads one split. Owned by one thread.
pub trait SplitReader: Send {
    /// From now on a poll hands over messages of at most so many bytes, or one message; what is more waits for the next poll. A
    /// reader that cannot hold messages back does not listen.
    fn limit_bytes(&mut self, _bytes_max: u64) {}

    /// From now on calls this when messages come while none are waiting, so that whoever reads several splits need not look at
    /// each of them all the time. False: this reader does not say when.
    fn announce(&mut self, _arrived: Arrived) -> bool {
        false
    }

    /// Waits up to `timeout` for messages, then hands those there are, at most `messages_max`, to `take` in order of ordinal
    /// (once, or not at all). `take` must not keep them. Read-committed: aborted messages never appear.
    fn poll(
        &mut self,
        messages_max: usize,
        timeout: Duration,
        take: &mut dyn FnMut(&[RawMessage<'_>]),
    ) -> Result<Polled, SourceFailure>;
}

/// What a poll came to, beside the messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Polled {
    /// Messages handed over.
    pub messages: usize,
    /// If the reader knows that there is nothing more before this ordinal (a hole of control records or aborted messages up to
    /// the end): where it goes on.
    pub next_ordinal: Option<i64>,
    /// True if the split's end was reached: nothing waits.
    pub at_end: bool,
}

/// Makes sources out of pipelines' definitions; the host is given one. Permanent failures for definitions that cannot be
/// understood or are not allowed, transient ones for what they name and may be there later, as a secret in a file.
pub trait Sources: Send + Sync {
    /// A source for what `definition_sql` (a canonical CREATE PIPELINE) names.
    fn source(&self, definition_sql: &str) -> Result<Arc<dyn Source>, SourceFailure>;
}
