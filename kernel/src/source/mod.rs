//! The port to a partitioned source: describe it, and read each partition from an offset. Real: rdkafka with manual
//! assignment; simulated: the broker model. How the host schedules readers lives in the adapters; what is done with what they
//! read lives in `extract` and `coordinator`.

#[cfg(any(test, feature = "contract"))]
pub mod contract;

use std::sync::Arc;
use std::time::Duration;

use crate::extract::RawMessage;
use crate::ids::*;
use crate::message::{SourceFailure, SourceMetadata};

/// A source that is connected or connects when first asked.
pub trait Source: Send + Sync {
    /// Describes the topic as it is now: a reading that begins when this is called, never a cached one. Blocks.
    fn read(&self) -> Result<SourceMetadata, SourceFailure>;

    /// As [`read`](Source::read), but only topic id and set of partitions need to be of now: offsets may be those of an earlier
    /// reading. What answers [`Effect::SourceVerify`](crate::Effect::SourceVerify); it saves a round trip a batch.
    fn verify(&self) -> Result<SourceMetadata, SourceFailure> {
        self.read()
    }

    /// Opens a reader of one partition. Deliveries begin at `start`, but may repeat or overlap what came before (fault A2): the
    /// caller filters by offset. Opening a partition again ends the reader before it.
    fn open(
        &self,
        partition: SourcePartition,
        start: Position,
    ) -> Result<Box<dyn PartitionReader>, SourceFailure>;

    /// Earliest offset and end of each partition, as last heard; may be cached. For lag, never for correctness.
    fn watermarks(&self) -> Vec<(SourcePartition, i64, i64)>;

    /// End of each partition as last heard, with what transactions that are still open hold back. None are told where a source
    /// has no such thing.
    fn high_watermarks(&self) -> Vec<(SourcePartition, i64)> {
        Vec::new()
    }

    /// Of each partition how much of that is held back by transactions that are still open, as last looked up: what has merely not
    /// been read yet is never in it.
    fn held_back(&self) -> Vec<(SourcePartition, i64)> {
        Vec::new()
    }
}

/// Called when something has come to be read. Whoever calls it must not be held up by it.
pub type Arrived = Arc<dyn Fn() + Send + Sync>;

/// Reads one partition. Owned by one thread.
pub trait PartitionReader: Send {
    /// From now on a poll hands over messages of at most so many bytes, or one message; what is more waits for the next poll. A
    /// reader that cannot hold messages back does not listen.
    fn limit_bytes(&mut self, _bytes_max: u64) {}

    /// From now on calls this when messages come while none are waiting, so that whoever reads several partitions need not look at
    /// each of them all the time. False: this reader does not say when.
    fn announce(&mut self, _arrived: Arrived) -> bool {
        false
    }

    /// Waits up to `timeout` for messages, then hands those there are, at most `messages_max`, to `take` in order of offset
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
    /// If the reader knows that there is nothing more before this offset (a hole of control records or aborted messages up to
    /// the end): where it goes on.
    pub position: Option<i64>,
    /// True if the partition's end was reached: nothing waits.
    pub at_end: bool,
}

/// Makes sources out of pipelines' definitions; the host is given one. Permanent failures for definitions that cannot be
/// understood or are not allowed, transient ones for what they name and may be there later, as a secret in a file.
pub trait Sources: Send + Sync {
    /// A source for the topic that `definition_sql` (a canonical CREATE PIPELINE) names.
    fn source(&self, definition_sql: &str) -> Result<Arc<dyn Source>, SourceFailure>;
}
