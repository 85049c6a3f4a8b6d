//! The log in the data directory: folded up to a record, then read on to the end of the replayed term.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kernel::log::LogReader;
use kernel::record::{Body, Record};
use kernel::snapshot::ShardView;
use kernel::{Recovery, Sequence, Shard, ShardId, Snapshot, Term};
use tidemark_log::LogFiles;

use super::ReplayError;

/// The state at a record, made from the log alone.
pub(super) struct Folded {
    pub recovery: Recovery,
    pub shards: Vec<Shard>,
    /// By shard.
    pub views: Vec<Arc<ShardView>>,
    /// The record itself, without its rows.
    pub last: Record,
    reader: LogReader<LogFiles>,
}

impl Folded {
    /// Reads the log up to and with this record.
    pub fn read(data: &Path, through: Sequence) -> Result<Folded, ReplayError> {
        let mut reader = LogReader::begin(LogFiles::open(data)?)?;
        let mut recovery = Recovery::new();
        let mut shards: Vec<Shard> = vec![];
        let mut last = None;
        while recovery.last() < through {
            let Some(mut record) = reader.next_record()? else {
                return Err(ReplayError::Misfit(format!(
                    "the recording names record {through}, the log in {} ends with record {}",
                    data.display(),
                    recovery.last()
                )));
            };
            recovery.replay(&record)?;
            match &mut record.body {
                Body::Open(open) if shards.is_empty() => {
                    shards =
                        (0..open.shard_count).map(|id| Shard::new(ShardId(id), open.shard_count)).collect();
                }
                Body::Commit(_, commit) => {
                    let outcomes = std::mem::take(&mut commit.outcomes);
                    for (shard, outcomes) in shards.iter_mut().zip(&outcomes) {
                        shard.replay(record.sequence, &commit.catalog, outcomes)?;
                    }
                }
                Body::Open(_) | Body::SyncMarker => {}
            }
            last = Some(record);
        }
        let last =
            last.ok_or_else(|| ReplayError::Misfit("a recording begins after the first record".into()))?;
        let views = shards.iter_mut().map(Shard::recovered).collect();
        Ok(Folded { recovery, shards, views, last, reader })
    }

    /// Identity of the database.
    pub fn database(&self) -> [u8; 16] {
        self.reader.database()
    }

    /// The published snapshot of this state.
    pub fn snapshot(self) -> Snapshot {
        let catalog = Arc::new(self.recovery.catalog().clone());
        Snapshot { sequence: self.recovery.last(), catalog, shards: self.views }
    }

    /// Splits into coordinator, shards and the rest of the term's records, which are read on demand.
    pub fn split(self, term: Term) -> (Recovery, Vec<Shard>, Vec<Arc<ShardView>>, Record, TermLog) {
        let term = TermLog { reader: self.reader, term, read: BTreeMap::new(), over: false };
        (self.recovery, self.shards, self.views, self.last, term)
    }
}

/// The records of one term, read on demand.
pub(super) struct TermLog {
    reader: LogReader<LogFiles>,
    term: Term,
    /// Read and not passed yet.
    read: BTreeMap<Sequence, Record>,
    over: bool,
}

impl TermLog {
    /// The record of this term with this sequence; None if the log does not have it. Sequences are requested in order,
    /// except those that were not passed yet.
    pub fn record(&mut self, sequence: Sequence) -> Result<Option<&Record>, kernel::Error> {
        while !self.over && self.read.last_key_value().is_none_or(|(last, _)| *last < sequence) {
            match self.reader.next_record()?.filter(|record| record.term == self.term) {
                Some(record) => {
                    self.read.insert(record.sequence, record);
                }
                None => self.over = true,
            }
        }
        Ok(self.read.get(&sequence))
    }

    /// Drops the record and all before it.
    pub fn pass(&mut self, sequence: Sequence) {
        self.read = self.read.split_off(&sequence.next());
    }
}
