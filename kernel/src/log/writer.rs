//! Appending and syncing. `recovery` reads a log back and checks it.

use xxhash_rust::xxh3::Xxh3;

use super::log_file::{LOG_FILE_HEADER_LEN, LogFileHeader};
use super::{FIRST_LOG_FILE, LogLimits, Manifest, Storage};
use crate::coverage::{CoverageMark, reached};
use crate::error::{Error, Result, SqlState};
use crate::ids::*;
use crate::record::{
    Body, EncodedRecord, FORMAT_VERSION, HEADER_LEN, Header, Open, RecordKind, RecordLocation,
};

/// Appends records and syncs them.
#[derive(Clone, Debug)]
pub struct LogWriter<S: Storage> {
    storage: S,
    database: [u8; 16],
    limits: LogLimits,
    log_file: LogFile,
    term: Term,
    /// Last record appended, and its header's checksum.
    last: Sequence,
    checksum: u64,
    durable: Sequence,
    /// Written and not known to be durable: at most one range per log file, in order of log files.
    unsynced: Vec<SyncRange>,
    /// The last manifest written; None in a new log.
    manifest: Option<Manifest>,
    /// The next manifest is due as soon as it can name this record.
    manifest_due: Sequence,
    failure: Option<Error>,
}

/// The current log file.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogFile {
    pub number: u64,
    pub len: u64,
    /// Offset of the next record.
    pub end: u64,
    /// The storage was asked to prepare the next log file.
    pub prepared: bool,
}

/// The end of the chain of records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub last: Sequence,
    pub term: Term,
    pub checksum: u64,
    pub stamped: Sequence,
}

impl Chain {
    /// Before the first record.
    pub const EMPTY: Chain = Chain { last: Sequence(0), term: Term(0), checksum: 0, stamped: Sequence(0) };
}

/// A range of a log file to sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncRange {
    /// Which log file.
    pub log_file: u64,
    /// First byte.
    pub offset: u64,
    /// How many.
    pub len: u64,
}

/// The syncs that a host must do, in order, before it calls [`LogWriter::synced`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncPlan {
    /// Earlier log files first.
    pub ranges: Vec<SyncRange>,
    /// To be written to its slot and made durable after all ranges are.
    pub manifest: Option<Manifest>,
    /// The records that are durable then.
    pub through: Sequence,
}

impl<S: Storage> LogWriter<S> {
    /// A writer at the end of the chain; everything before is durable.
    pub(super) fn at(
        storage: S,
        database: [u8; 16],
        limits: LogLimits,
        log_file: LogFile,
        chain: Chain,
        manifest: Option<Manifest>,
    ) -> LogWriter<S> {
        LogWriter {
            storage,
            database,
            limits,
            log_file,
            term: chain.term,
            last: chain.last,
            checksum: chain.checksum,
            durable: chain.last,
            unsynced: Vec::new(),
            manifest,
            manifest_due: Sequence(0),
            failure: None,
        }
    }

    /// Starts a term: writes the `open` record of the next term, durable when this returns.
    pub(super) fn begin(&mut self, open: Open) -> Result<()> {
        self.term = Term(self.term.0.checked_add(1).expect("fewer than 2^64 starts"));
        self.append_any(&Body::Open(open).encode(self.last.next()))?;
        self.renew_manifest();
        self.sync()?;
        Ok(())
    }

    /// Copies a record into place, with the checksum of the previous one and the last durable sequence. When it
    /// returns, the bytes are written but not durable. Records come in order of sequence, without gaps.
    ///
    /// With [`SqlState::DISK_FULL`] the writer may still be [well](Self::is_well): there was no space for the log
    /// file that the record needs, and nothing was written. The same record may be appended again once there is space.
    pub fn append(&mut self, record: &EncodedRecord) -> Result<()> {
        assert!(record.kind != RecordKind::Open, "only the start of a term appends an open record");
        self.append_any(record)?;
        if record.kind == RecordKind::SyncMarker {
            self.renew_manifest();
        }
        Ok(())
    }

    /// The next sync also writes a manifest that names the last record: the database is idle or shuts down.
    pub fn renew_manifest(&mut self) {
        self.manifest_due = self.last;
    }

    /// Whether a sync would make anything durable, a manifest included.
    pub fn is_sync_due(&self) -> bool {
        self.durable < self.last || self.is_manifest_due()
    }

    /// Whether it accepts records. A failed writer never does again.
    pub fn is_well(&self) -> bool {
        self.failure.is_none()
    }

    /// Makes all appended records durable, with one sync for each log file touched (all but the last are full). Returns
    /// the last durable sequence.
    pub fn sync(&mut self) -> Result<Sequence> {
        let plan = self.sync_plan()?;
        for range in &plan.ranges {
            let done = self.storage.sync(range.log_file, range.offset, range.len);
            self.poisoning(done)?;
        }
        if let Some(manifest) = &plan.manifest {
            let done = self.storage.write_manifest(manifest.slot(), &manifest.encode());
            self.poisoning(done)?;
        }
        self.synced(&plan)?;
        Ok(self.durable)
    }

    /// The plan of a sync, for a host that syncs on another thread while it continues to append. The host calls
    /// [`synced`](Self::synced) after all ranges were synced by syncs that started after this call and the manifest was
    /// written, or [`sync_failed`](Self::sync_failed).
    pub fn sync_plan(&self) -> Result<SyncPlan> {
        self.check()?;
        if self.unsynced.len() > 1 {
            reached(CoverageMark::SyncSpansLogFiles);
        }
        let ranges = self.unsynced.clone();
        Ok(SyncPlan { ranges, manifest: self.next_manifest(), through: self.last })
    }

    fn is_manifest_due(&self) -> bool {
        let (through, last_log_file) =
            self.manifest.map_or((Sequence(0), 0), |m| (m.through, m.last_log_file));
        through < self.manifest_due || last_log_file < self.log_file.number
    }

    /// The manifest for a sync of everything written, if one is due.
    fn next_manifest(&self) -> Option<Manifest> {
        if !self.is_manifest_due() {
            return None;
        }
        reached(CoverageMark::ManifestWritten);
        let LogFile { number, len, .. } = self.log_file;
        Some(Manifest {
            database: self.database,
            generation: self.manifest.map_or(0, |manifest| manifest.generation) + 1,
            term: self.term,
            first_log_file: FIRST_LOG_FILE,
            last_log_file: number,
            last_log_file_len: len,
            through: self.last,
            through_checksum: self.checksum,
        })
    }

    /// The plan was carried out.
    pub fn synced(&mut self, plan: &SyncPlan) -> Result<()> {
        self.check()?;
        assert!(plan.through <= self.last, "nothing is durable that was not appended");
        if plan.through < self.last {
            reached(CoverageMark::AppendedDuringSync);
        }
        self.durable = self.durable.max(plan.through);
        let generation = self.manifest.map(|manifest| manifest.generation);
        let newer = plan.manifest.filter(|manifest| Some(manifest.generation) > generation);
        self.manifest = newer.or(self.manifest);
        if let Some(done) = plan.ranges.last() {
            let done_end = done.offset + done.len;
            self.unsynced.retain_mut(|range| {
                let end = range.offset + range.len;
                if range.log_file == done.log_file && end > done_end {
                    range.offset = range.offset.max(done_end);
                    range.len = end - range.offset;
                    return true;
                }
                range.log_file > done.log_file
            });
        }
        Ok(())
    }

    /// A sync failed: the state of the disk is unknown, and the writer cannot be used any more (fault B3).
    pub fn sync_failed(&mut self, error: Error) {
        reached(CoverageMark::SyncFailed);
        self.failure.get_or_insert(error);
    }

    /// Sequence of the last record appended.
    pub fn last(&self) -> Sequence {
        self.last
    }

    /// Sequence of the last record known to be durable.
    pub fn durable(&self) -> Sequence {
        self.durable
    }

    /// Term of this process.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Identity of the database.
    pub fn database(&self) -> [u8; 16] {
        self.database
    }

    /// The storage, for inspection.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// The storage, to crash it.
    #[cfg(any(test, feature = "explore"))]
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Its part of the fingerprint: see [`crate::fingerprint`]. Of the end of the log, only the remainder modulo
    /// `modulus` counts.
    #[cfg(feature = "explore")]
    pub fn fingerprint(&self, modulus: u64, to: &mut crate::fingerprint::StateFingerprint) {
        let LogWriter {
            storage: _,
            database: _,
            limits: _,
            log_file: LogFile { number: _, len: _, end, prepared: _ },
            term: _,
            last,
            checksum: _,
            durable,
            unsynced,
            manifest: _,
            manifest_due: _,
            failure,
        } = self;
        to.sequence(*last);
        to.sequence(*durable);
        to.word(end % modulus);
        to.count(unsynced.len());
        unsynced.iter().for_each(|range| to.word(range.len));
        to.word(self.is_manifest_due());
        to.word(failure.is_some());
    }

    /// Returns the storage.
    pub fn into_storage(self) -> S {
        self.storage
    }

    fn check(&self) -> Result<()> {
        match &self.failure {
            None => Ok(()),
            Some(failure) => Err(Error::new(
                failure.sqlstate,
                format!(
                    "the log failed and takes no more records until it is recovered from the disk: {failure}"
                ),
            )),
        }
    }

    fn poisoning<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.failure = Some(error.clone());
        }
        result
    }

    fn append_any(&mut self, record: &EncodedRecord) -> Result<()> {
        self.check()?;
        assert_eq!(record.sequence, self.last.next(), "records are appended in order, without gaps");
        let stored_len = record.stored_len();
        if self.log_file.len - self.log_file.end < stored_len {
            self.next_log_file(stored_len, record.sequence)?;
        }
        let done = self.location(record);
        self.poisoning(done)
    }

    fn location(&mut self, record: &EncodedRecord) -> Result<()> {
        let stored_len = record.stored_len();
        let LogFile { number, len, end, prepared } = self.log_file;
        let payload_checksum = self.write_payload(&record.parts, end + HEADER_LEN)?;
        let mut header = Header {
            version: FORMAT_VERSION,
            kind: record.kind as u8,
            zero: 0,
            term: self.term,
            sequence: record.sequence,
            previous_checksum: self.checksum,
            synced_through: self.durable,
            payload_len: record.payload_len(),
            payload_checksum,
            checksum: 0,
        };
        let bytes = header.encode(&RecordLocation { database: self.database, log_file: number, offset: end });
        self.storage.write(number, end, &bytes)?;
        self.touch(end, stored_len);
        self.log_file.end = end + stored_len;
        self.last = record.sequence;
        self.checksum = header.checksum;
        if !prepared && self.log_file.end > len / 2 {
            self.storage.prepare(number + 1, self.limits.log_file_len);
            self.log_file.prepared = true;
        }
        Ok(())
    }

    /// Writes the parts in order and returns their checksum.
    fn write_payload(&mut self, parts: &[bytes::Bytes], mut offset: u64) -> Result<u64> {
        let mut checksum = Xxh3::new();
        for part in parts {
            let mut at = offset;
            for run in part.chunks(self.limits.copy_len) {
                checksum.update(run);
                self.storage.write(self.log_file.number, at, run)?;
                at += run.len() as u64;
            }
            offset += part.len() as u64;
        }
        Ok(checksum.digest())
    }

    fn next_log_file(&mut self, stored_len: u64, first_sequence: Sequence) -> Result<()> {
        let number = self.log_file.number + 1;
        reached(CoverageMark::LogFileBegun);
        if LOG_FILE_HEADER_LEN + stored_len > self.limits.log_file_len {
            reached(CoverageMark::RecordLongerThanLogFile);
        }
        let len = self.limits.log_file_len.max(LOG_FILE_HEADER_LEN + stored_len).next_multiple_of(4096);
        match self.storage.create(number, len) {
            // A storage without space has changed nothing, and neither has this call.
            Err(error) if error.sqlstate == SqlState::DISK_FULL => {
                reached(CoverageMark::NoRoomForLogFile);
                return Err(error);
            }
            made => self.poisoning(made)?,
        }
        let header = LogFileHeader { database: self.database, number, first_sequence, len };
        let written = self.storage.write(number, 0, &header.encode());
        self.poisoning(written)?;
        self.log_file = LogFile { number, len, end: LOG_FILE_HEADER_LEN, prepared: false };
        self.touch(0, LOG_FILE_HEADER_LEN);
        Ok(())
    }

    fn touch(&mut self, offset: u64, len: u64) {
        match self.unsynced.last_mut() {
            Some(range) if range.log_file == self.log_file.number => range.len = offset + len - range.offset,
            _ => self.unsynced.push(SyncRange { log_file: self.log_file.number, offset, len }),
        }
    }
}
