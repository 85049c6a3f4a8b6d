//! What a server was doing when it was killed, read from the lines that it wrote at each step (`TIDEMARK_TRACE`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// A source partition of a pipeline, by the pipeline's number.
pub type Partition = (i64, i64);

/// Follows a server's trace across its terms.
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
    read: u64,
}

/// How far one term of a server came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TermProgress {
    /// Where each partition was first fetched from.
    pub first_fetched: BTreeMap<Partition, i64>,
    /// End of the highest range staged.
    pub staged_offset: BTreeMap<Partition, i64>,
    /// End of the highest range that a sync had covered.
    pub durable_offset: BTreeMap<Partition, i64>,
    /// Highest record staged.
    pub staged: i64,
    /// Highest record whose bytes were in the log.
    pub appended: i64,
    /// Highest record that a sync had covered.
    pub synced: i64,
}

impl Trace {
    /// Begins at the file's start; the file may not be there yet.
    pub fn new(path: PathBuf) -> Trace {
        Trace { path, read: 0 }
    }

    /// Everything written since the last `end_term`.
    pub fn term(&self) -> TermProgress {
        TermProgress::of(&self.text())
    }

    /// The same, of a server that is dead now; what its successor writes is another term.
    pub fn end_term(&mut self) -> TermProgress {
        let text = self.text();
        self.read += text.len() as u64;
        TermProgress::of(&text)
    }

    fn text(&self) -> String {
        let Ok(mut file) = File::open(&self.path) else { return String::new() };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.read)).expect("a file can be read from any place");
        file.read_to_end(&mut bytes).expect("the trace can be read");
        String::from_utf8(bytes).expect("the trace is plain text")
    }
}

impl TermProgress {
    /// True if a staged record was not durable yet.
    pub fn is_unsynced(&self) -> bool {
        self.staged > self.synced
    }

    fn of(text: &str) -> TermProgress {
        let mut term = TermProgress::default();
        let mut ranges: Vec<(i64, Partition, i64)> = Vec::new();
        // A kill may cut the last line off.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let mut words = line.split_whitespace();
            let kind = words.next().unwrap_or_default();
            let fields: BTreeMap<&str, &str> = words.filter_map(|w| w.split_once('=')).collect();
            let field = |key: &str| {
                *fields.get(key).unwrap_or_else(|| panic!("no {key} in the trace's line: {line}"))
            };
            let number = |text: &str| text.parse::<i64>().unwrap_or_else(|_| panic!("no number in: {line}"));
            let partition = || (number(field("pipeline")), number(field("partition")));
            match kind {
                "fetch" => {
                    term.first_fetched.entry(partition()).or_insert(number(field("from")));
                }
                "staged" => term.staged = term.staged.max(number(field("seq"))),
                "appended" => term.appended = term.appended.max(number(field("seq"))),
                "synced" => term.synced = term.synced.max(number(field("through"))),
                "cursor" => {
                    let (_, next) = field("range").split_once("..").expect("a range has two ends");
                    ranges.push((number(field("seq")), partition(), number(next)));
                }
                // Published cursors: `synced` and `cursor` say them already.
                "durable" => {}
                _ => panic!("an unknown line in the trace: {line}"),
            }
        }
        for (sequence, partition, next) in ranges {
            term.staged_offset.insert(partition, next);
            if sequence <= term.synced {
                term.durable_offset.insert(partition, next);
            }
        }
        term
    }
}
