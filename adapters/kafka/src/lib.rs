//! Kafka behind [`kernel::source::Source`]: librdkafka with manual assignment and read-committed isolation. It joins no consumer
//! group and commits no offset; where a partition goes on is the caller's knowledge, kept in the log with the rows.
//!
//! `options` checks a definition, `allowed` which brokers may be reached, `source` describes a topic and opens readers, `reader` reads one partition and doubts what
//! jumps ([`kernel::place`]), `divergence` judges a log that is said to be cut, `ffi` holds the unsafe calls. Skipping what was
//! delivered before, decoding and scheduling are not here.

#![deny(unsafe_code)]

mod allowed;
mod divergence;
mod ffi;
mod health;
mod options;
mod reader;
mod source;

pub use allowed::AllowedBrokers;
pub use options::{KafkaOptions, PREFETCH_BYTES_DEFAULT};
pub use source::KafkaSource;
