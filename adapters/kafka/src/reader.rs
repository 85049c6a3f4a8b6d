//! Reads one partition: a queue of prefetched messages becomes batches, ends and failures. Offsets are passed on as
//! delivered; the caller's filter admits each one once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::continuity::{Admission, ContinuityGuard};
use kernel::message::SourceFailure;
use kernel::source::{Arrived, Polled, SplitReader};
use kernel::{Delivery, Error, Position, RawMessage, SqlState};
use parking_lot::Mutex;

use crate::ffi::{Code, KafkaError, PartitionQueue, QueueItem};
use crate::source::{Slot, Topic, is_unknown_topic};

/// How long all brokers may be unreachable before a waiting reader reports it. librdkafka reconnects by itself
/// meanwhile.
const OUTAGE_GRACE: Duration = Duration::from_secs(5);

/// Time without messages after which a partition rests: the broker is then polled less often, and still answers at
/// once.
const REST_AFTER: Duration = Duration::from_secs(5);

/// A reader of one partition. The first failure ends it: librdkafka continues behind a message that it could not read,
/// so deliveries after an error may follow a hole (fault A3). The caller opens a new one at its own position.
pub(crate) struct Reader {
    topic: Arc<Topic>,
    queue: PartitionQueue,
    slot: Arc<Mutex<Slot>>,
    number: u64,
    partition: i32,
    guard: ContinuityGuard,
    at_end: bool,
    bytes_max: u64,
    failure: Option<SourceFailure>,
    arrived: Option<Arrived>,
    /// When a message last arrived.
    came_at: Instant,
    /// Empty between polls; kept for its memory.
    views: Vec<RawMessage<'static>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Reader { partition, number, guard, .. } = self;
        let mut shown = f.debug_struct("Reader");
        shown
            .field("partition", partition)
            .field("number", number)
            .field("place", guard)
            .finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(
        topic: Arc<Topic>,
        queue: PartitionQueue,
        slot: Arc<Mutex<Slot>>,
        number: u64,
        partition: i32,
        start: Position,
    ) -> Reader {
        Reader {
            topic,
            queue,
            slot,
            number,
            partition,
            guard: ContinuityGuard::new(start),
            at_end: false,
            bytes_max: u64::MAX,
            failure: None,
            arrived: None,
            came_at: Instant::now(),
            views: Vec::new(),
        }
    }

    /// Lets an idle partition rest, and ends the rest at its first message. The slot's lock is held.
    fn rest_or_wake(&mut self) -> Result<(), SourceFailure> {
        let is_idle = self.at_end && self.came_at.elapsed() >= REST_AFTER;
        // Not during an outage: moving needs an answer of the broker.
        let may_move = self.topic.may_rest()
            && !self.queue.holds_any()
            && self.topic.health().down_for(Duration::ZERO).is_none();
        if is_idle == self.topic.rests(self.partition) || !may_move {
            return Ok(());
        }
        tracing::debug!(partition = self.partition, rests = is_idle, "a partition is fetched otherwise");
        // Queued messages are dropped and fetched again from the same position.
        let mut queue = self.topic.move_over(self.partition, self.guard.position(), is_idle)?;
        if let Some(arrived) = &self.arrived {
            queue.announce(Arc::clone(arrived));
        }
        self.queue = queue;
        Ok(())
    }

    /// Classifies an error of the queue, with a request to the brokers where needed. None: reading continues.
    fn admit(&self, e: &KafkaError) -> Option<SourceFailure> {
        let at = self.guard.position();
        match e.code {
            Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET | Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE => {
                Some(self.topic.classify_loss(self.partition, at.ordinal()))
            }
            Code::RD_KAFKA_RESP_ERR__LOG_TRUNCATION => {
                let failure = self.topic.classify_cut(self.partition, at);
                failure.or_else(|| self.fetch_again(at.unmarked()).err())
            }
            // Deleted, perhaps created again, or not yet known to all brokers.
            code if is_unknown_topic(code) => Some(self.topic.classify_loss(self.partition, at.ordinal())),
            _ => Some(self.topic.failure(e)),
        }
    }

    /// Starts the fetch again, after the slot's lock was released; queued messages are dropped.
    fn fetch_again(&self, at: Position) -> Result<(), SourceFailure> {
        let owner = self.slot.lock();
        if owner.reader != self.number {
            return Err(self.superseded());
        }
        self.topic.assign_again(self.queue.client(), self.partition, at)
    }

    /// Starts the fetch again at this reader's position; queued messages are dropped. The slot's lock is held.
    fn doubt(&self, verdict: Admission) -> Result<(), SourceFailure> {
        let guard = self.guard.position();
        let at = guard.ordinal();
        if verdict == Admission::WentBack {
            let what = format!("partition {} was read from {at} on, and went back", self.partition);
            return Err(SourceFailure::Transient(Error::new(
                SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
                what,
            )));
        }
        tracing::debug!(partition = self.partition, at, "fetching again behind a jump");
        self.topic.assign_again(self.queue.client(), self.partition, guard)
    }

    fn superseded(&self) -> SourceFailure {
        let what = format!("partition {} was opened again: this reader has ended", self.partition);
        SourceFailure::Transient(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, what))
    }
}

impl SplitReader for Reader {
    fn announce(&mut self, arrived: Arrived) -> bool {
        self.arrived = Some(Arc::clone(&arrived));
        self.queue.announce(arrived);
        true
    }

    fn limit_bytes(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    fn poll(
        &mut self,
        messages_max: usize,
        timeout: Duration,
        take: &mut dyn FnMut(Delivery<'_>),
    ) -> Result<Polled, SourceFailure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let slot = Arc::clone(&self.slot);
        let owner = slot.lock();
        if owner.reader != self.number {
            let failure = self.superseded();
            self.failure = Some(failure.clone());
            return Err(failure);
        }
        if let Err(failure) = self.rest_or_wake() {
            self.failure = Some(failure.clone());
            return Err(failure);
        }
        let mut guard = self.guard;
        let mut batch = self.queue.take(messages_max, timeout);
        let mut views = recycle(std::mem::take(&mut self.views));
        let (mut error, mut end, mut doubt, mut kept_from) = (None, None, None, None);
        let mut bytes_left = self.bytes_max;
        for (index, delivery) in batch.deliveries().enumerate() {
            match delivery {
                QueueItem::Message(message) if message.source_bytes() > bytes_left && !views.is_empty() => {
                    kept_from = Some(index);
                    break;
                }
                QueueItem::Message(message) => match guard.admit(&message) {
                    Admission::Accept => {
                        bytes_left = bytes_left.saturating_sub(message.source_bytes());
                        views.push(message);
                        end = None;
                    }
                    verdict => {
                        doubt = Some(verdict);
                        break;
                    }
                },
                QueueItem::End(offset) => {
                    guard.advance_to(offset);
                    end = Some(offset);
                }
                QueueItem::Failed(e) => {
                    error = Some(e);
                    break;
                }
            }
        }
        let messages = views.len();
        if messages > 0 {
            take(Delivery::Messages(&views));
            self.came_at = Instant::now();
        }
        self.views = recycle(views);
        if let Some(index) = kept_from {
            batch.keep_from(index);
        }
        drop(batch);
        self.guard = guard;
        self.at_end = end.is_some() || self.at_end && messages == 0;
        let fetched_again = doubt.map(|verdict| self.doubt(verdict));
        drop(owner);
        if messages > 0 || end.is_some() {
            self.topic.health().heard();
            self.topic.end_is_at_least(self.partition, self.guard.next_ordinal());
        } else if error.is_none()
            && doubt.is_none()
            && let Some(why) = self.topic.health().down_for(OUTAGE_GRACE)
        {
            let failure = self.topic.unreachable(&why);
            self.failure = Some(failure.clone());
            return Err(failure);
        }
        let failure = match (error, fetched_again) {
            (Some(e), _) => self.admit(&e),
            (None, Some(Err(failure))) => Some(failure),
            _ => None,
        };
        if let Some(failure) = failure {
            self.failure = Some(failure.clone());
            // Messages before the failure are valid; the next poll reports the failure.
            if messages == 0 {
                return Err(failure);
            }
        }
        Ok(Polled { messages, next_ordinal: end, at_end: self.at_end })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.topic.close(self.partition, &self.slot, self.number);
    }
}

/// An emptied vector for views with another lifetime, with the same memory.
fn recycle<'b>(mut views: Vec<RawMessage<'_>>) -> Vec<RawMessage<'b>> {
    views.clear();
    views.into_iter().map(|_| unreachable!("the vector is empty")).collect()
}
