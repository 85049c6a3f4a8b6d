//! One line per event: hashed, so that two runs can be compared, and the last of them kept, so that a failure tells how it came
//! about.

use std::collections::VecDeque;
use std::fmt::{Arguments, Write};

/// Lines of a run that are kept for a report.
const TAIL_LINES: usize = 60;

/// The events of a run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    lines: u64,
    tail: VecDeque<String>,
    print: bool,
    buffer: String,
}

impl Trace {
    /// An empty trace; `print` shows each line as it comes.
    pub fn new(print: bool) -> Trace {
        Trace { print, ..Trace::default() }
    }

    /// Adds a line.
    pub fn line(&mut self, at_us: i64, event: Arguments<'_>) {
        self.buffer.clear();
        write!(self.buffer, "{at_us:>10} {event}").expect("a string takes everything");
        self.hash = hash_bytes(self.hash, self.buffer.as_bytes());
        self.lines += 1;
        if self.print {
            println!("{}", self.buffer);
        }
        if self.tail.len() == TAIL_LINES {
            let mut oldest = self.tail.pop_front().expect("it is full");
            std::mem::swap(&mut oldest, &mut self.buffer);
            self.tail.push_back(oldest);
        } else {
            self.tail.push_back(self.buffer.clone());
        }
    }

    /// Hash of all lines.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many there were.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The last of them.
    pub fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }
}

/// A hash that is the same everywhere: XXH3-64.
pub fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
}
