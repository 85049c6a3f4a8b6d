//! The contract of every [`Source`], as one suite. It runs against real Kafka and against the simulated broker, so that
//! the simulator behaves like the real one. A [`Stage`] acts on a topic as producers, operators and accidents do; the
//! checks then observe it through the port alone. `messages` is about read messages, `transactions` about messages that
//! must not be read, `topics` about topics that change, `accidents` about stopped brokers and truncated logs.
//!
//! [`source_contract!`](crate::source_contract) makes a test of each check.

mod accidents;
mod messages;
mod reading;
mod topics;
mod transactions;

use std::sync::Arc;

pub use accidents::*;
pub use messages::*;
pub use topics::*;
pub use transactions::*;

use super::Source;

/// A message as a producer sends it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// Key; None is no key, which differs from an empty one.
    pub key: Option<Vec<u8>>,
    /// Value; None is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Timestamp, if the producer sets it.
    pub timestamp_ms: Option<i64>,
    /// Headers, which the port ignores.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A message with this text as its value.
pub fn text(value: impl Into<String>) -> Sent {
    Sent { value: Some(value.into().into_bytes()), ..Sent::default() }
}

/// How a producer compresses its batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// All kinds.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
}

/// The requirements of a check on its topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// None.
    Nothing,
    /// The topic is compacted.
    Compaction,
    /// The topic's brokers can be stopped, which stops all their topics.
    Accidents,
}

/// An open transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Transaction(pub usize);

/// Makes topics for the suite.
pub trait Stage {
    /// A topic and its surroundings.
    type Topic: Topic;

    /// A new, empty topic whose partitions all begin at offset 0.
    fn topic(&mut self, partitions: i32, needs: Needs) -> Self::Topic;

    /// A client that requests a topic that never existed.
    fn missing_topic(&mut self) -> Arc<dyn Source>;
}

/// A topic as producers, operators and accidents act on it. When a method returns, its change is done and visible to
/// readers. Every end of a transaction takes one offset of each partition that it wrote to.
pub trait Topic {
    /// A new client that reads the topic.
    fn source(&self) -> Arc<dyn Source>;

    /// Sends messages to a partition, in one batch if they fit into one.
    fn send(&mut self, partition: i32, messages: &[Sent], codec: Codec);

    /// Begins a transaction of a new producer.
    fn begin(&mut self) -> Transaction;

    /// Sends messages in a transaction.
    fn send_in(&mut self, transaction: Transaction, partition: i32, messages: &[Sent]);

    /// Ends a transaction.
    fn end(&mut self, transaction: Transaction, commit: bool);

    /// Removes the messages below an offset, as retention does.
    fn retain_from(&mut self, partition: i32, offset: i64);

    /// Sends one more message, so that all messages before it may be compacted. Waits until only the last message of
    /// each key exists below it.
    fn compact(&mut self, partition: i32);

    /// Deletes the topic.
    fn delete(&mut self);

    /// Creates the topic again under its name.
    fn create_again(&mut self, partitions: i32);

    /// Adds partitions.
    fn grow(&mut self, partitions: i32);

    /// Stops all brokers, as an accident does. No acknowledged message is lost.
    fn stop(&mut self);

    /// Starts them again.
    fn start(&mut self);

    /// Stops all brokers, and starts them without a partition's messages from this offset on, as if a broker that lags
    /// behind had won the election.
    fn start_without(&mut self, partition: i32, from: i64);

    /// Waits a moment, if the implementation needs time.
    fn wait(&self);
}

/// Makes a test of each check. Takes an expression that makes a [`Stage`].
#[macro_export]
macro_rules! source_contract {
    ($stage:expr) => {
        $crate::source_contract! { $stage =>
            a_topic_describes_itself
            an_empty_partition_is_at_its_end
            every_message_comes_once_and_in_order
            messages_come_as_they_were_sent
            a_reader_begins_anywhere_in_a_compressed_batch
            what_comes_later_is_read_by_who_waits_for_it
            a_poll_is_limited_in_messages_and_bytes
            a_message_of_many_megabytes_holds_up_nothing
            opening_a_partition_again_ends_the_reader_before_it
            what_was_aborted_never_appears_and_the_position_passes_it
            an_open_transaction_holds_back_what_is_behind_it
            transactions_that_overlap_end_each_for_itself
            a_transaction_over_partitions_ends_in_all_of_them
            what_retention_removed_is_lost_and_the_range_is_named
            an_offset_beyond_the_end_is_lost
            a_compacted_partition_has_holes_and_an_end
            new_partitions_appear_and_begin_at_zero
            a_topic_that_was_created_again_is_another_one
            a_topic_that_was_created_again_may_have_fewer_partitions
            a_topic_that_does_not_exist_is_a_permanent_failure
            a_deleted_topic_is_a_permanent_failure
            brokers_that_went_away_and_came_back_lose_and_repeat_nothing
            a_log_that_lost_its_end_is_not_read_on
            a_control_record_of_a_later_leader_is_no_loss
        }
    };
    ($stage:expr => $($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                $crate::source::contract::$check(&mut $stage);
            }
        )*
    };
}
