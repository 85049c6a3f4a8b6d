//! Reads a log without changing it, record by record, for replay and inspection. A starting process reads through
//! `recovery`, which also clears the tail.

use super::reader::Reader;
use super::recovery::Scan;
use super::{LogLimits, Storage};
use crate::error::Result;
use crate::record::Record;

/// Returns the records of a log in order, and checks its end as [`open`](super::open) does, but changes nothing. The
/// log must not be written to meanwhile: a partial write looks like a torn tail.
pub struct LogReader<S: Storage> {
    storage: S,
    scan: Scan,
    reader: Reader,
    ended: bool,
}

impl<S: Storage> LogReader<S> {
    /// A reader before the first record. An error if there is no log.
    pub fn begin(mut storage: S) -> Result<LogReader<S>> {
        let log_files = storage.log_files()?;
        let scan = Scan::begin(&mut storage, log_files, LogLimits::default())?;
        let reader = scan.reader(scan.index);
        Ok(LogReader { storage, scan, reader, ended: false })
    }

    /// Identity of the database.
    pub fn database(&self) -> [u8; 16] {
        self.scan.database
    }

    /// The next record; None at the end, which may be a torn tail. An error is corruption.
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        if self.ended {
            return Ok(None);
        }
        let record = self.scan.next(&mut self.storage, &mut self.reader)?;
        if record.is_none() {
            self.ended = true;
            self.scan.classify_tail(&mut self.storage)?;
        }
        Ok(record)
    }
}

impl<S: Storage> std::fmt::Debug for LogReader<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("ended", &self.ended).finish_non_exhaustive()
    }
}
