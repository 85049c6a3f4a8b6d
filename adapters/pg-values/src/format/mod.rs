//! The patterns of `to_char`, `to_timestamp`, `to_date` and `to_number`. `pattern` takes the pattern of a time apart, `write_time`
//! and `read_time` follow it; `numbers` takes the pattern of a number apart and writes after it, `read_number` reads.

pub mod numbers;
mod pattern;
mod read_number;
mod read_time;
mod write_time;

pub use pattern::Pattern;
pub use read_number::{NumberRead, Unread};
pub use read_time::{read, read_date};
pub use write_time::{interval, timestamp};
