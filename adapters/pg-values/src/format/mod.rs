//! The patterns of `to_char`, `to_timestamp`, `to_date` and `to_number`. `pattern` parses the pattern of a time,
//! `write_time` and `read_time` apply it; `numbers` parses the pattern of a number and writes numbers, `read_number`
//! reads them.

pub mod numbers;
mod pattern;
mod read_number;
mod read_time;
mod write_time;

pub use pattern::Pattern;
pub use read_number::{NumberRead, Unread};
pub use read_time::{read, read_date};
pub use write_time::{interval, timestamp};
