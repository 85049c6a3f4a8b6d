//! A partition worker: one source partition being read, with its reader, its extractor, and the number of its extracts
//! that wait at the coordinator.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kernel::message::SourceFailure;
use kernel::source::{Arrived, Source, SplitReader};
use kernel::{Delivery, Extract, RawMessage, SplitName};
use tidemark_decode::Extractor;

use super::credit::CreditWindow;

/// Messages asked for at a time.
const POLL_MESSAGES_MAX: usize = 8192;

/// Extracts of one partition that may wait in the coordinator's inbox. While they wait, the next one grows.
const WAITING_RANGES_MAX: usize = 2;

/// The result of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Messages arrived; more may be available.
    Busy,
    /// Nothing waits at the source.
    Idle,
    /// No credit, or the coordinator has not processed the previous extracts.
    HeldBack,
}

pub(super) struct PartitionWorker {
    pub split: SplitName,
    /// None: to be opened (again) at the extractor's position.
    reader: Option<Box<dyn SplitReader>>,
    extractor: Extractor,
    waiting_ranges: Arc<AtomicUsize>,
    /// Called when messages have arrived.
    arrived: Arrived,
    announces: bool,
    /// Running mean, to request about as many messages as the credit allows.
    message_bytes: u64,
}

impl PartitionWorker {
    pub(super) fn new(split: SplitName, extractor: Extractor, arrived: Arrived) -> PartitionWorker {
        let waiting_ranges = Arc::default();
        PartitionWorker {
            split,
            reader: None,
            extractor,
            waiting_ranges,
            arrived,
            announces: false,
            message_bytes: 256,
        }
    }

    /// Whether its reader announces messages.
    pub(super) fn announces(&self) -> bool {
        self.announces
    }

    /// Reads once, waiting up to `timeout`, and passes complete extracts to `hand_in`.
    pub(super) fn step(
        &mut self,
        source: &dyn Source,
        credit: &CreditWindow,
        chunk_bytes: u64,
        timeout: Duration,
        now_us: i64,
        hand_in: &mut dyn FnMut(Extract, Arc<AtomicUsize>),
    ) -> Result<Step, SourceFailure> {
        let may_hand_in = self.waiting_ranges.load(Ordering::Acquire) < WAITING_RANGES_MAX;
        if self.is_full(chunk_bytes) && !may_hand_in {
            return Ok(Step::HeldBack);
        }
        let reserved = credit.reserve(chunk_bytes);
        if reserved == 0 {
            // Extracts held here have used credit: only their commit returns it.
            if may_hand_in {
                self.take(now_us, hand_in)?;
            }
            return Ok(Step::HeldBack);
        }
        let read = self.read(source, reserved, timeout);
        let used = read.as_ref().map_or(0, |read| read.bytes);
        credit.settle(reserved, used);
        let read = read?;
        if (self.is_full(chunk_bytes) || read.at_end) && may_hand_in {
            self.take(now_us, hand_in)?;
        }
        Ok(match (read.at_end, may_hand_in) {
            (true, true) => Step::Idle,
            // Extracts wait for the coordinator, which does not announce when it has processed them.
            (true, false) => Step::HeldBack,
            (false, _) => Step::Busy,
        })
    }

    fn is_full(&self, chunk_bytes: u64) -> bool {
        self.extractor.buffered_source_bytes() >= chunk_bytes || self.extractor.is_full()
    }

    /// Polls once; extracts no more than `allowed` bytes, or one message.
    fn read(&mut self, source: &dyn Source, allowed: u64, timeout: Duration) -> Result<Read, SourceFailure> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let mut reader = source.open(&self.split, self.extractor.position())?;
                self.announces = reader.announce(self.arrived.clone());
                self.reader.insert(reader)
            }
        };
        // Most readers keep the excess for the next poll; the estimate serves those that cannot.
        reader.limit_bytes(allowed);
        let messages_max = ((allowed / self.message_bytes) as usize).clamp(1, POLL_MESSAGES_MAX);
        let extractor = &mut self.extractor;
        let bytes_before = extractor.buffered_source_bytes();
        let (mut taken, mut refused, mut unfit) = (0, 0, None);
        let polled = reader.poll(messages_max, timeout, &mut |delivery| {
            let messages = match delivery {
                Delivery::Messages(messages) => messages,
                // A columnar source divides its rows by itself; `messages_max` bounds them.
                Delivery::Columns(batch) => {
                    taken += batch.columns.num_rows();
                    return unfit = extractor.push_columns(batch).err();
                }
            };
            let fitting = if refused > 0 { 0 } else { fitting(messages, allowed, taken == 0) };
            extractor.push(&messages[..fitting]);
            taken += fitting;
            refused += messages.len() - fitting;
        })?;
        if let Some(error) = unfit {
            return Err(SourceFailure::Permanent(error));
        }
        let bytes = extractor.buffered_source_bytes() - bytes_before;
        if taken > 0 {
            self.message_bytes = (self.message_bytes * 3 + bytes / taken as u64).div_ceil(4).max(1);
        }
        if refused > 0 {
            // A reader delivers a message once, so messages beyond the credit are read again by a new reader.
            self.reader = None;
            return Ok(Read { bytes, at_end: false });
        }
        if let Some(position) = polled.next_ordinal {
            self.extractor.advance_to(position);
        }
        Ok(Read { bytes, at_end: polled.at_end || polled.messages == 0 })
    }

    /// Hands in everything extracted so far.
    fn take(
        &mut self,
        now_us: i64,
        hand_in: &mut dyn FnMut(Extract, Arc<AtomicUsize>),
    ) -> Result<(), SourceFailure> {
        while let Some(extract) = self.extractor.take(now_us).map_err(SourceFailure::Permanent)? {
            self.waiting_ranges.fetch_add(1, Ordering::AcqRel);
            hand_in(extract, self.waiting_ranges.clone());
        }
        Ok(())
    }
}

struct Read {
    bytes: u64,
    at_end: bool,
}

/// How many of the messages fit into `allowed` bytes; at least one if `first`.
fn fitting(messages: &[RawMessage<'_>], allowed: u64, first: bool) -> usize {
    let mut left = allowed;
    for (index, message) in messages.iter().enumerate() {
        let bytes = message.source_bytes();
        if bytes > left && !(first && index == 0) {
            return index;
        }
        left = left.saturating_sub(bytes);
    }
    messages.len()
}
