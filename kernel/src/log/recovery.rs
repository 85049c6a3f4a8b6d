//! Recovery of a log: verifies the chain of records, checks its end, clears the tail, and starts a new term. The
//! documentation of the module `log` contains the argument that an interruption at any point is safe.

use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_64;

use super::log_file::{LOG_FILE_HEADER_LEN, LogFileHeader};
use super::reader::Reader;
use super::writer::{Chain, LogFile};
use super::{FIRST_LOG_FILE, LogLimits, LogWriter, Manifest, Opened, Storage, TornTail};
use crate::coverage::{CoverageMark, reached};
use crate::error::{Error, Result, SqlState};
use crate::ids::*;
use crate::record::{ALIGNMENT, Body, HEADER_LEN, Header, Open, Record, RecordKind, RecordLocation};

/// Bytes that a creation writes first: the header of the first log file and the `open` record.
const CREATION_LEN: u64 = 512;

/// Bytes that may be cleared at once.
pub(super) const CLEAR_LEN_MAX: usize = 64 << 10;
static ZEROS: [u8; CLEAR_LEN_MAX] = [0; CLEAR_LEN_MAX];

/// Whether a log exists or existed: a manifest proves it even if nothing else is left. An empty storage has none, nor
/// does an interrupted creation without a durable `open` record: one log file that contains at most bytes of its header
/// and its first record. An error if the storage holds something else.
pub fn is_created<S: Storage>(storage: &mut S) -> Result<bool> {
    let log_files = storage.log_files()?;
    if storage.manifest()?.is_some() {
        return Ok(true);
    }
    let [(FIRST_LOG_FILE, len)] = log_files[..] else { return Ok(!log_files.is_empty()) };
    let mut reader = Reader::new(FIRST_LOG_FILE, len, &LogLimits::default());
    let Some(start) = reader.bytes(storage, 0, CREATION_LEN)? else { return Ok(true) };
    let header = start.first_chunk().expect("512 bytes");
    match LogFileHeader::decode(header, FIRST_LOG_FILE, len)? {
        Some(LogFileHeader { database, .. }) => {
            let location = RecordLocation { database, log_file: FIRST_LOG_FILE, offset: LOG_FILE_HEADER_LEN };
            if read_record(storage, &mut reader, &location)?.is_some() {
                return Ok(true);
            }
        }
        None if !LogFileHeader::is_unfinished(header) => return Ok(true),
        None => {}
    }
    let mut offset = CREATION_LEN;
    while let Some(window) = reader.window(storage, offset)? {
        if !is_zero(&window) {
            return Ok(true);
        }
        offset += window.len() as u64;
    }
    Ok(false)
}

/// Creates the log of a new database: its first log file and its `open` record, durable when this returns and passed to
/// `visitor`. Removes the remains of an interrupted creation.
pub fn create<S: Storage>(
    mut storage: S,
    database: [u8; 16],
    shard_count: u16,
    at_us: Micros,
    limits: impl Into<LogLimits>,
    visitor: &mut dyn FnMut(Record) -> Result<()>,
) -> Result<Opened<S>> {
    assert!(shard_count > 0, "a database has at least one shard");
    if is_created(&mut storage)? {
        let message = "a log exists already; choose an empty data directory, or open this one";
        return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
    }
    for (number, _) in storage.log_files()?.into_iter().rev() {
        reached(CoverageMark::CreationResumed);
        storage.remove(number)?;
    }
    let none = LogFile { number: FIRST_LOG_FILE - 1, len: 0, end: 0, prepared: false };
    let writer = LogWriter::at(storage, database, limits.into().checked(), none, Chain::EMPTY, None);
    begin(writer, Open { database, shard_count, at_us }, None, visitor)
}

/// Opens the log: passes every verified record to `visitor` in order, the new term's `open` record last; determines the
/// end of the log, fails on damage, clears a torn tail. When this returns, all these records are durable.
pub fn open<S: Storage>(
    mut storage: S,
    at_us: Micros,
    limits: impl Into<LogLimits>,
    visitor: &mut dyn FnMut(Record) -> Result<()>,
) -> Result<Opened<S>> {
    let log_files = storage.log_files()?;
    let limits = limits.into().checked();
    let mut scan = Scan::begin(&mut storage, log_files, limits)?;
    scan.run(&mut storage, visitor)?;
    scan.classify_tail(&mut storage)?;
    let torn_tail = scan.repair_tail(&mut storage)?;
    let Scan { database, chain, shard_count, index, offset, log_files, manifest, .. } = scan;
    let shard_count = shard_count.ok_or_else(|| {
        let message =
            "the log has no open record; its creation was interrupted, or its first log file is damaged";
        Error::new(SqlState::DATA_CORRUPTED, message)
    })?;
    let (number, len) = log_files[index];
    let log_file = LogFile { number, len, end: offset, prepared: false };
    let writer = LogWriter::at(storage, database, limits, log_file, chain, manifest);
    begin(writer, Open { database, shard_count, at_us }, torn_tail, visitor)
}

fn begin<S: Storage>(
    mut writer: LogWriter<S>,
    open: Open,
    torn_tail: Option<TornTail>,
    visitor: &mut dyn FnMut(Record) -> Result<()>,
) -> Result<Opened<S>> {
    let (database, shard_count, synced_through) = (open.database, open.shard_count, writer.last());
    writer.begin(open.clone())?;
    let (sequence, term) = (writer.last(), writer.term());
    visitor(Record { sequence, term, synced_through, body: Body::Open(open) })?;
    Ok(Opened { writer, term, database, shard_count, torn_tail })
}

/// The progress of reading the log.
pub(super) struct Scan {
    pub database: [u8; 16],
    /// Number and length of each.
    log_files: Vec<(u64, u64)>,
    chain: Chain,
    shard_count: Option<u16>,
    /// Place of the next record: an index into `log_files`, and an offset there.
    pub index: usize,
    offset: u64,
    /// Places of the records that the last one does not report as synced.
    unsynced: VecDeque<(Sequence, usize, u64)>,
    /// The required length of the log.
    manifest: Option<Manifest>,
    limits: LogLimits,
}

impl Scan {
    pub(super) fn begin<S: Storage>(
        storage: &mut S,
        log_files: Vec<(u64, u64)>,
        limits: LogLimits,
    ) -> Result<Scan> {
        let manifest = storage.manifest()?.map(|slots| Manifest::of_slots(&slots)).transpose()?;
        let all_gone = manifest.map(|manifest| manifest.loss(Sequence(1), &log_files));
        let Some(&(number, len)) = log_files.first() else {
            return Err(all_gone.unwrap_or_else(|| {
                Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "there is no log to open; create one")
            }));
        };
        if number != FIRST_LOG_FILE {
            return Err(all_gone.unwrap_or_else(|| {
                let message = format!("log file {FIRST_LOG_FILE} is missing; restore it from a backup");
                Error::new(SqlState::DATA_CORRUPTED, message)
            }));
        }
        let header = match read_header(storage, &mut Reader::new(number, len, &limits))? {
            Some(bytes) => LogFileHeader::decode_first(&bytes, number, len),
            None => {
                let message = format!("log file {number} has only {len} bytes; restore it from a backup");
                Err(Error::new(SqlState::DATA_CORRUPTED, message))
            }
        };
        let header = header.map_err(|error| match (error.sqlstate, all_gone) {
            (SqlState::DATA_CORRUPTED, Some(loss)) => {
                Error::new(loss.sqlstate, format!("{error}: {}", loss.message))
            }
            _ => error,
        })?;
        if manifest.is_some_and(|manifest| manifest.database != header.database) {
            let message =
                "the manifest belongs to another database than the log; restore the files of one backup";
            return Err(Error::new(SqlState::DATA_CORRUPTED, message));
        }
        Ok(Scan {
            database: header.database,
            log_files,
            chain: Chain::EMPTY,
            shard_count: None,
            index: 0,
            offset: LOG_FILE_HEADER_LEN,
            unsynced: VecDeque::new(),
            manifest,
            limits,
        })
    }

    /// Reads to the end of the chain.
    fn run<S: Storage>(
        &mut self,
        storage: &mut S,
        visitor: &mut dyn FnMut(Record) -> Result<()>,
    ) -> Result<()> {
        let mut reader = self.reader(self.index);
        while let Some(record) = self.next(storage, &mut reader)? {
            visitor(record)?;
        }
        Ok(())
    }

    /// The next record of the chain. `reader` is on the current log file of the scan.
    pub(super) fn next<S: Storage>(
        &mut self,
        storage: &mut S,
        reader: &mut Reader,
    ) -> Result<Option<Record>> {
        loop {
            if let Some((header, payload)) = self.next_in_chain(storage, reader, self.index, self.offset)? {
                return self.accept(&header, &payload).map(Some);
            }
            let Some(next_reader) = self.next_log_file(storage)? else { return Ok(None) };
            reached(CoverageMark::LogFileCrossed);
            self.index += 1;
            self.offset = LOG_FILE_HEADER_LEN;
            *reader = next_reader;
        }
    }

    fn accept(&mut self, header: &Header, payload: &bytes::Bytes) -> Result<Record> {
        let record = header.record(payload).map_err(|e| self.naming_place(e))?;
        let named = self.manifest.filter(|manifest| manifest.through == header.sequence);
        if named.is_some_and(|manifest| manifest.through_checksum != header.checksum) {
            let message = "the manifest names another record of this sequence: log and manifest are of two diverged copies; \
                           restore the files of one backup";
            return Err(self.naming_place(Error::new(SqlState::DATA_CORRUPTED, message)));
        }
        if let Body::Open(open) = &record.body {
            let (database, shard_count) = (self.database, self.shard_count.unwrap_or(open.shard_count));
            if (open.database, open.shard_count) != (database, shard_count) || shard_count == 0 {
                let error = Error::new(SqlState::DATA_CORRUPTED, "an open record speaks of another database");
                return Err(self.naming_place(error));
            }
            self.shard_count = Some(shard_count);
        }
        self.unsynced.push_back((header.sequence, self.index, self.offset));
        while self.unsynced.front().is_some_and(|(sequence, ..)| *sequence <= header.synced_through) {
            self.unsynced.pop_front();
        }
        self.chain = Chain {
            last: header.sequence,
            term: header.term,
            checksum: header.checksum,
            stamped: header.synced_through,
        };
        self.offset += header.stored_len().expect("it was read, so it fits");
        Ok(record)
    }

    /// The record at a place, if it is intact and continues the chain.
    fn next_in_chain<S: Storage>(
        &self,
        storage: &mut S,
        reader: &mut Reader,
        index: usize,
        offset: u64,
    ) -> Result<Option<(Header, bytes::Bytes)>> {
        let location = RecordLocation { database: self.database, log_file: self.log_files[index].0, offset };
        let found = read_record(storage, reader, &location)?;
        let is_whole = found.is_some();
        let next = found.filter(|(header, _)| self.follows(header));
        if is_whole && next.is_none() {
            reached(CoverageMark::StrangeRecord);
        }
        Ok(next)
    }

    fn follows(&self, header: &Header) -> bool {
        let opens = header.kind == RecordKind::Open as u8;
        header.sequence == self.chain.last.next()
            && header.previous_checksum == self.chain.checksum
            && header.term.0 == self.chain.term.0.saturating_add(opens as u64)
            && header.synced_through < header.sequence
            && header.synced_through >= self.chain.stamped
            && (opens || self.shard_count.is_some())
    }

    /// A reader of the next log file, if the next record is the first one there.
    fn next_log_file<S: Storage>(&self, storage: &mut S) -> Result<Option<Reader>> {
        let next = self.index + 1;
        if self.log_files.get(next).is_none_or(|(number, _)| *number != self.log_files[self.index].0 + 1) {
            return Ok(None);
        }
        let mut reader = self.reader(next);
        let Some(header) = self.header(storage, &mut reader, next)? else { return Ok(None) };
        let goes_on = header.first_sequence == self.chain.last.next()
            && self.next_in_chain(storage, &mut reader, next, LOG_FILE_HEADER_LEN)?.is_some();
        Ok(goes_on.then_some(reader))
    }

    /// The header of a log file; None if it is torn or damaged. An intact header that does not match the name of its
    /// file is an error: no crash causes that, and the records in the file are no evidence at another place.
    fn header<S: Storage>(
        &self,
        storage: &mut S,
        reader: &mut Reader,
        index: usize,
    ) -> Result<Option<LogFileHeader>> {
        let (number, len) = self.log_files[index];
        let Some(bytes) = read_header(storage, reader)? else { return Ok(None) };
        let header = LogFileHeader::decode(&bytes, number, len)?;
        if header.is_some_and(|header| header.database != self.database) {
            let message =
                format!("log file {number} belongs to another database; restore the files of this one");
            return Err(Error::new(SqlState::DATA_CORRUPTED, message));
        }
        Ok(header)
    }

    /// The record after the last one is missing or damaged. That is corruption exactly if there is evidence that it was
    /// synced: the manifest or a header after it. A header is valid evidence whatever the state of its payload.
    pub(super) fn classify_tail<S: Storage>(&self, storage: &mut S) -> Result<()> {
        let bad = self.chain.last.next();
        if let Some(manifest) = self.manifest.filter(|manifest| bad <= manifest.through) {
            reached(CoverageMark::LossRefused);
            return Err(manifest.loss(bad, &self.log_files));
        }
        let mut from = self.offset;
        for index in self.index..self.log_files.len() {
            let mut reader = self.reader(index);
            self.header(storage, &mut reader, index)?;
            let log_file = self.log_files[index].0;
            if let Some((offset, evidence)) = self.find_evidence(storage, &mut reader, log_file, from, bad)? {
                reached(CoverageMark::CorruptionRefused);
                return Err(self.damaged(bad, log_file, offset, &evidence));
            }
            from = 0;
        }
        Ok(())
    }

    fn find_evidence<S: Storage>(
        &self,
        storage: &mut S,
        reader: &mut Reader,
        log_file: u64,
        mut offset: u64,
        bad: Sequence,
    ) -> Result<Option<(u64, Header)>> {
        while let Some(window) = reader.window(storage, offset)? {
            let (steps, _) = window.as_chunks();
            for (at, bytes) in (offset..).step_by(ALIGNMENT as usize).zip(steps) {
                let location = RecordLocation { database: self.database, log_file, offset: at };
                let Some(header) = Header::decode(bytes, &location) else { continue };
                if header.synced_through >= bad {
                    return Ok(Some((at, header)));
                }
                reached(CoverageMark::TornTailBeforeRecord);
            }
            offset += window.len() as u64;
        }
        Ok(None)
    }

    fn damaged(&self, bad: Sequence, log_file: u64, offset: u64, evidence: &Header) -> Error {
        Error::new(
            SqlState::DATA_CORRUPTED,
            format!(
                "the log is damaged: record {bad}, expected in log file {} at offset {}, is bad or missing, but record {} in \
                 log file {log_file} at offset {offset} says that it was durable; restore the data directory from a backup",
                self.log_files[self.index].0, self.offset, evidence.sequence
            ),
        )
    }

    fn naming_place(&self, error: Error) -> Error {
        let (log_file, offset) = (self.log_files[self.index].0, self.offset);
        let sequence = self.chain.last.next();
        error.map_message(|why| {
            format!("log record {sequence} in log file {log_file} at offset {offset}: {why}")
        })
    }

    /// Makes the accepted records durable and removes the rest permanently: removes later log files, rewrites the
    /// records that may not be on the disk, clears the tail, and syncs all of it.
    fn repair_tail<S: Storage>(&mut self, storage: &mut S) -> Result<Option<TornTail>> {
        let (log_file, _) = self.log_files[self.index];
        let mut torn = false;
        for (number, _) in self.log_files.split_off(self.index + 1).into_iter().rev() {
            reached(CoverageMark::LaterLogFileRemoved);
            storage.remove(number)?;
            torn = true;
        }
        let here = (self.chain.last.next(), self.index, self.offset);
        let (_, first_index, mut from) = self.unsynced.front().copied().unwrap_or(here);
        if !self.unsynced.is_empty() {
            reached(CoverageMark::UnsyncedRewritten);
        }
        if first_index < self.index {
            reached(CoverageMark::RewriteSpansLogFiles);
        }
        for index in first_index..=self.index {
            // All of later log files.
            let from = std::mem::take(&mut from);
            let (number, len) = self.log_files[index];
            let end = if index == self.index { self.offset } else { len };
            self.rewrite(storage, index, from, end)?;
            if index == self.index {
                torn |= self.clear(storage, index, end)?;
            }
            storage.sync(number, from, len - from)?;
        }
        let first = self.chain.last.next();
        if torn {
            reached(CoverageMark::TornTail);
        }
        Ok(torn.then_some(TornTail { log_file, offset: self.offset, first }))
    }

    /// Writes the bytes that were read: after a failed sync they may be marked as clean in memory, but not be on the
    /// disk.
    fn rewrite<S: Storage>(&self, storage: &mut S, index: usize, from: u64, end: u64) -> Result<()> {
        let mut reader = Reader::new(self.log_files[index].0, end, &self.limits);
        let mut offset = from;
        while let Some(window) = reader.window(storage, offset)? {
            storage.write(self.log_files[index].0, offset, &window)?;
            offset += window.len() as u64;
        }
        Ok(())
    }

    /// Writes zeros over bytes that are not zero.
    fn clear<S: Storage>(&self, storage: &mut S, index: usize, from: u64) -> Result<bool> {
        let mut reader = self.reader(index);
        let (mut offset, mut cleared) = (from, false);
        while let Some(window) = reader.window(storage, offset)? {
            for run in window.chunks(self.limits.clear_len) {
                if !is_zero(run) {
                    storage.write(self.log_files[index].0, offset, &ZEROS[..run.len()])?;
                    cleared = true;
                }
                offset += run.len() as u64;
            }
        }
        Ok(cleared)
    }

    pub(super) fn reader(&self, index: usize) -> Reader {
        let (number, len) = self.log_files[index];
        Reader::new(number, len, &self.limits)
    }
}

/// The bytes of a log file's header; None if the log file is shorter.
fn read_header<S: Storage>(
    storage: &mut S,
    reader: &mut Reader,
) -> Result<Option<[u8; LOG_FILE_HEADER_LEN as usize]>> {
    let bytes = reader.bytes(storage, 0, LOG_FILE_HEADER_LEN)?;
    Ok(bytes.map(|bytes| bytes[..].try_into().expect("64 bytes")))
}

/// The record at a place, if its checksums match.
fn read_record<S: Storage>(
    storage: &mut S,
    reader: &mut Reader,
    location: &RecordLocation,
) -> Result<Option<(Header, bytes::Bytes)>> {
    let Some(bytes) = reader.bytes(storage, location.offset, HEADER_LEN)? else { return Ok(None) };
    let header = bytes.first_chunk().expect("64 bytes");
    let Some(header) = Header::decode(header, location) else { return Ok(None) };
    let Some(payload) = reader.bytes(storage, location.offset + HEADER_LEN, header.payload_len)? else {
        return Ok(None);
    };
    let whole = xxh3_64(&payload) == header.payload_checksum;
    if !whole {
        reached(CoverageMark::TornPayload);
    }
    Ok(whole.then_some((header, payload)))
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(CLEAR_LEN_MAX).all(|run| *run == ZEROS[..run.len()])
}
