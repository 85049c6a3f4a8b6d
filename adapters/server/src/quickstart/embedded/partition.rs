//! One source partition: record batches as the producer sent them, with their base offset filled in.

use std::collections::{BTreeMap, VecDeque};

/// Length of a batch's header.
const HEADER_LEN: usize = 61;

/// Remembered batches of one producer, so that a retry is recognised; Kafka keeps as many.
const REMEMBERED: usize = 5;

/// Why a batch is refused: Kafka's error codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    Corrupt = 2,
    OutOfOrderSequence = 45,
}

#[derive(Default)]
pub(super) struct Partition {
    batches: Vec<Batch>,
    next_offset: i64,
    producers: BTreeMap<i64, VecDeque<Sent>>,
}

struct Batch {
    base_offset: i64,
    bytes: Vec<u8>,
}

/// A batch that an idempotent producer sent.
struct Sent {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

fn be_i32(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn be_i64(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl Partition {
    /// End of the log: the offset that the next record gets.
    pub(super) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Appends one batch (of the only format in use, version 2) and returns the offset of its first record.
    pub(super) fn append(&mut self, batch: &[u8]) -> Result<i64, Refused> {
        let is_whole = batch.len() >= HEADER_LEN && be_i32(batch, 8) as i64 + 12 == batch.len() as i64;
        if !is_whole || batch[16] != 2 || be_i32(batch, 23) < 0 {
            return Err(Refused::Corrupt);
        }
        let (last_offset_delta, producer, first_sequence) =
            (be_i32(batch, 23), be_i64(batch, 43), be_i32(batch, 53));
        let base_offset = self.next_offset;
        if producer >= 0 {
            let sent = self.producers.entry(producer).or_default();
            if let Some(before) = sent.iter().find(|sent| sent.first_sequence == first_sequence) {
                return Ok(before.base_offset);
            }
            let expected = sent.back().map_or(0, |last| last.last_sequence.wrapping_add(1) & i32::MAX);
            if first_sequence != expected {
                return Err(Refused::OutOfOrderSequence);
            }
            let last_sequence = first_sequence.wrapping_add(last_offset_delta) & i32::MAX;
            sent.push_back(Sent { first_sequence, last_sequence, base_offset });
            if sent.len() > REMEMBERED {
                sent.pop_front();
            }
        }
        let mut bytes = batch.to_vec();
        // The batch's checksum covers neither the base offset nor the leader epoch.
        bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&0_i32.to_be_bytes());
        self.batches.push(Batch { base_offset, bytes });
        self.next_offset += last_offset_delta as i64 + 1;
        Ok(base_offset)
    }

    /// Whole batches from the one that holds `offset` on: about `bytes_max` of them, at least one. None if the offset lies
    /// beyond the end.
    pub(super) fn read(&self, offset: i64, bytes_max: usize) -> Option<Vec<u8>> {
        if !(0..=self.next_offset).contains(&offset) {
            return None;
        }
        let mut read = Vec::new();
        if offset == self.next_offset {
            return Some(read);
        }
        let first = self.batches.partition_point(|batch| batch.base_offset <= offset) - 1;
        for batch in &self.batches[first..] {
            if !read.is_empty() && read.len() + batch.bytes.len() > bytes_max {
                break;
            }
            read.extend_from_slice(&batch.bytes);
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch without its records: nothing here looks at them.
    fn batch(producer: i64, first_sequence: i32, records: i32) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN + 7];
        let len = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        bytes[16] = 2;
        bytes[23..27].copy_from_slice(&(records - 1).to_be_bytes());
        bytes[43..51].copy_from_slice(&producer.to_be_bytes());
        bytes[53..57].copy_from_slice(&first_sequence.to_be_bytes());
        bytes
    }

    #[test]
    fn offsets_follow_one_another_and_a_retry_is_not_a_second_batch() {
        let mut partition = Partition::default();
        assert_eq!(partition.append(&batch(1, 0, 3)), Ok(0));
        assert_eq!(partition.append(&batch(1, 3, 2)), Ok(3));
        assert_eq!(partition.append(&batch(1, 0, 3)), Ok(0), "sent again");
        assert_eq!(partition.append(&batch(1, 9, 1)), Err(Refused::OutOfOrderSequence));
        assert_eq!(partition.append(&batch(-1, -1, 1)), Ok(5), "not idempotent");
        assert_eq!(partition.next_offset(), 6);
    }

    #[test]
    fn reading_begins_with_the_batch_that_holds_the_offset() {
        let mut partition = Partition::default();
        assert_eq!(partition.read(0, 1), Some(vec![]));
        partition.append(&batch(-1, -1, 3)).unwrap();
        partition.append(&batch(-1, -1, 2)).unwrap();
        let first = partition.read(2, 1).unwrap();
        assert_eq!((first.len(), be_i64(&first, 0)), (HEADER_LEN + 7, 0));
        let both = partition.read(0, 1 << 20).unwrap();
        assert_eq!(be_i64(&both, HEADER_LEN + 7), 3);
        assert_eq!(partition.read(5, 1), Some(vec![]), "the end");
        assert_eq!(partition.read(6, 1), None);
        assert_eq!(partition.read(-1, 1), None);
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        let mut partition = Partition::default();
        assert_eq!(partition.append(b"no batch"), Err(Refused::Corrupt));
        let mut cut = batch(-1, -1, 1);
        cut.pop();
        assert_eq!(partition.append(&cut), Err(Refused::Corrupt));
        assert_eq!(partition.append(&[]), Err(Refused::Corrupt));
    }
}
