//! Checks whether a broker's log still contains the messages that were read. Asked about a leader epoch, a broker
//! returns the offset at which that epoch ended, and librdkafka treats a position behind it as a cut log. The log need
//! not be cut: a position also moves over holes, and control records may come from a later leader than the last message
//! before them. Therefore messages before the position are read.

use std::time::{Duration, Instant};

use kernel::Position;
use kernel::message::SourceFailure;

use crate::ffi::QueueItem;
use crate::source::{REQUEST_TIMEOUT, Topic};

/// Number of offsets in which to search for a message at first.
const LOOK_BACK: i64 = 64;
const POLL: Duration = Duration::from_millis(100);

impl Topic {
    /// True if there is a message before this position with a later epoch than the last one that was read: the reader
    /// would have seen it if it had been in the log. Epochs never decrease along a log, so the last message before the
    /// position decides.
    pub(crate) fn has_diverged(
        &self,
        partition: i32,
        earliest: i64,
        at: Position,
    ) -> Result<bool, SourceFailure> {
        let mut back = LOOK_BACK;
        loop {
            let from = (at.ordinal() - back).max(earliest);
            if let Some(epoch) = self.last_epoch_between(partition, from, at.ordinal())? {
                return Ok(epoch > at.leader_epoch());
            }
            if from <= earliest {
                return Ok(false);
            }
            back *= 8;
        }
    }

    /// Leader epoch of the last committed message in a range of offsets. Reads it through a connection of its own.
    fn last_epoch_between(
        &self,
        partition: i32,
        from: i64,
        until: i64,
    ) -> Result<Option<i32>, SourceFailure> {
        let connection = self.connect_aside().map_err(SourceFailure::Transient)?;
        let queue = connection.client().partition_queue(&self.name, partition);
        let mut queue = queue.ok_or_else(|| self.unreachable("a partition has no queue"))?;
        connection.client().assign(&self.name, partition, from, -1).map_err(|e| self.failure(&e))?;
        let (mut last, began) = (None, Instant::now());
        while began.elapsed() < REQUEST_TIMEOUT {
            for delivery in queue.take(1000, POLL).deliveries() {
                match delivery {
                    QueueItem::Message(message) if message.ordinal < until => {
                        last = Some(message.mark.leader_epoch());
                    }
                    QueueItem::Message(_) | QueueItem::End(_) => return Ok(last),
                    QueueItem::Failed(e) => return Err(self.failure(&e)),
                }
            }
        }
        Err(self.unreachable("the log does not say whether it was cut"))
    }
}
