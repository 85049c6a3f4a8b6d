//! Transactions of producers: their messages are written at once, readable after the end of the transaction, and until
//! then hold back the last stable offset. Several may be open in a partition. A transaction over several partitions is
//! one of the same producer in each, ended in each.

use super::{Broker, Partition, Payload};
use crate::fault::Fault;

/// Most transactions that the world itself opens in a partition at once.
const OPEN_MAX: usize = 1;

/// An open transaction of a producer in a partition.
#[derive(Debug)]
pub(super) struct OpenTransaction {
    producer: u64,
    /// Offset, leader epoch, payload.
    pub(super) messages: Vec<(i64, i32, Payload)>,
}

impl OpenTransaction {
    /// Offset at which it began.
    fn first(&self) -> i64 {
        self.messages[0].0
    }
}

impl Partition {
    /// The last stable offset: the oldest open transaction holds it back (A13). Transactions are kept in order of their
    /// start.
    pub(super) fn stable_end(&self) -> i64 {
        self.transactions.first().map_or(self.end, OpenTransaction::first)
    }
}

impl Broker<'_> {
    /// Whether the world may open one more transaction, and does.
    pub(super) fn opens_transaction(&mut self, partition: usize) -> bool {
        let p = &self.topic().partitions[partition];
        p.transactions.len() < OPEN_MAX && !p.after_cut && self.decisions.strikes(Fault::OpenTransaction)
    }

    /// A new producer id.
    pub(super) fn new_producer(&mut self) -> u64 {
        self.producers += 1;
        self.producers
    }

    /// Writes a batch in the transaction of a producer, which begins with it if none is open. There is at least one
    /// message.
    pub fn produce_in(&mut self, producer: u64, partition: usize, payloads: Vec<Payload>) {
        assert!(!payloads.is_empty(), "a transaction begins with a message");
        self.producers = self.producers.max(producer);
        self.counts.messages += payloads.len() as u64;
        let p = self.partition_mut(partition);
        p.batches.insert(p.end);
        let open = p.transactions.iter().position(|t| t.producer == producer);
        let which = open.unwrap_or_else(|| {
            p.transactions.push(OpenTransaction { producer, messages: Vec::new() });
            p.transactions.len() - 1
        });
        for payload in payloads {
            p.transactions[which].messages.push((p.end, p.leader_epoch, payload));
            p.end += 1;
        }
        self.counts.open_transactions += u64::from(open.is_none());
    }

    /// Whether a transaction is open.
    pub fn has_transaction(&self, partition: usize) -> bool {
        !self.topic().partitions[partition].transactions.is_empty()
    }

    /// Ends an open transaction, if there is one: any of them, because producers end them in any order.
    pub fn end_transaction(&mut self, partition: usize, commit: bool) {
        let open = self.topic().partitions[partition].transactions.len();
        if open > 0 {
            let which = self.decisions.index(open);
            self.end(partition, which, commit);
        }
    }

    /// Ends the transaction of a producer, which has one open there.
    pub fn end_transaction_of(&mut self, producer: u64, partition: i32, commit: bool) {
        let partition = partition as usize;
        let open = &self.topic().partitions[partition].transactions;
        let which = open.iter().position(|t| t.producer == producer).expect("it was begun");
        self.end(partition, which, commit);
    }

    /// Its control record takes an offset (A7).
    fn end(&mut self, partition: usize, which: usize, commit: bool) {
        let p = self.partition_mut(partition);
        let transaction = p.transactions.remove(which);
        let aborted = if commit { 0 } else { transaction.messages.len() as u64 };
        if commit {
            for (offset, leader_epoch, payload) in transaction.messages {
                p.append(offset, leader_epoch, payload);
            }
        }
        p.end += 1;
        self.counts.aborted += aborted;
        if !commit {
            self.note(
                &[partition as u64, aborted],
                format_args!("partition {partition}: a transaction of {aborted} messages is aborted"),
            );
        }
        self.counts.holes += 1 + aborted;
    }
}
