//! What a server was doing when it was killed, read from the lines that it wrote at each step (`TIDEMARK_TRACE`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Follows a server's trace across its lives.
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
    read: usize,
}

/// What one life of the server came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Life {
    /// Where each partition was first fetched from.
    pub first_fetched: BTreeMap<i32, i64>,
    /// Highest record staged, and highest record whose bytes are in the log.
    pub staged: u64,
    /// See `staged`.
    pub appended: u64,
    /// Highest record known to be durable.
    pub synced: u64,
    /// End of the highest range staged, by partition.
    pub staged_offset: BTreeMap<i32, i64>,
    /// End of the highest range known to be durable, by partition.
    pub durable_offset: BTreeMap<i32, i64>,
    /// End of each staged record's ranges, by partition.
    ranges: Vec<(u64, i32, i64)>,
}

impl Trace {
    /// Begins at the file's start; the file may not be there yet.
    pub fn new(path: PathBuf) -> Trace {
        Trace { path, read: 0 }
    }

    /// Everything written since the last call.
    pub fn life(&mut self) -> Life {
        let text = read(&self.path);
        let new = &text[self.read..];
        self.read = text.len();
        let mut life = Life::default();
        new.lines().for_each(|line| life.take(line));
        life.conclude();
        life
    }

    /// Everything written since the last call of `life`, which will see it again.
    pub fn peek(&self) -> Life {
        Trace { path: self.path.clone(), read: self.read }.life()
    }
}

impl Life {
    /// True if a staged record was not known to be durable.
    pub fn unsynced(&self) -> bool {
        self.staged > self.synced
    }

    fn take(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let fields: BTreeMap<&str, &str> = words.filter_map(|w| w.split_once('=')).collect();
        let number = |key: &str| fields.get(key).and_then(|v| v.parse::<i64>().ok());
        match kind {
            "fetch" => {
                if let (Some(partition), Some(from)) = (number("partition"), number("from")) {
                    self.first_fetched.entry(partition as i32).or_insert(from);
                }
            }
            "staged" => self.staged = self.staged.max(number("seq").unwrap_or(0) as u64),
            "appended" => self.appended = self.appended.max(number("seq").unwrap_or(0) as u64),
            "synced" => self.synced = self.synced.max(number("through").unwrap_or(0) as u64),
            "cursor" => {
                let next =
                    fields.get("range").and_then(|r| r.split_once("..")).and_then(|(_, n)| n.parse().ok());
                if let (Some(sequence), Some(partition), Some(next)) =
                    (number("seq"), number("partition"), next)
                {
                    self.ranges.push((sequence as u64, partition as i32, next));
                }
            }
            // What the lines above say already, and lines that a kill cut off.
            _ => {}
        }
    }

    fn conclude(&mut self) {
        for &(sequence, partition, next) in &self.ranges {
            self.staged_offset.insert(partition, next);
            if sequence <= self.synced {
                self.durable_offset.insert(partition, next);
            }
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
