//! Kafka behind [`kernel::source::Source`]: librdkafka with manual assignment and read-committed isolation. It joins no
//! consumer group and commits no offset; the caller keeps the positions, in the log with the rows.
//!
//! `options` checks a definition, `allowed` the brokers, `source` describes a topic and opens readers, `reader` reads
//! one partition and refetches after an unexpected jump ([`kernel::continuity`]), `divergence` checks a log that is
//! reported as cut, `ffi` contains the unsafe calls. Skipping repeated deliveries, decoding and scheduling are not
//! here.

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
