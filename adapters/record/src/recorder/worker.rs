//! The recorder's thread: turns noted events into items, and keeps the rows of extracts until the log has them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, Instant};

use kernel::message::ShardReply;
use kernel::record::{Commit, EncodedRecord, RecordKind};
use kernel::schema::Catalog;
use kernel::{
    Epoch, Error, Extract, Input, Micros, PipelineId, QuiescedState, Result, Snapshot, SqlState, TableId,
};

use super::disk::Output;
use super::{Event, Recorder, RecorderSettings, TermStart, rows_in_log};
use crate::file::{self, Begin, FileHeader, Recording};
use crate::item::{End, ExtractKey, Item, RecordedInput, RecordedQuiescedState};
use crate::mark::{append_mark, publish_mark, state_bytes, state_hash};
use crate::rows::Rows;

/// A frame is written when it has so many bytes…
const FRAME_BYTES: usize = 64 << 10;

/// …or after this time: the part of a recording that a process kill can lose.
const FRAME_PAUSE: Duration = Duration::from_millis(5);

/// Pause between two checks of a queue that is not empty, so that the coordinator's thread need not wake this one.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// Pause after a failure of the disk, and after falling behind, before a new recording begins.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// States of more bytes are hashed only at a clean stop, and beyond the second number not even there.
const STATE_BYTES_MAX: u64 = 32 << 20;
const LAST_STATE_BYTES_MAX: u64 = 1 << 30;

/// Least pause between two hashes of the state; and a hash may take no more than one part in so many of the time.
const STATE_PAUSE: Duration = Duration::from_secs(1);
const STATE_SHARE: u32 = 100;

pub(super) struct Worker {
    settings: RecorderSettings,
    term: TermStart,
    recorder: Recorder,
    /// None: nothing can be recorded until the coordinator has quiesced.
    output: Option<Output>,
    /// Number of the last file.
    number: u64,
    flushed: Instant,
    /// Extracts whose rows the log will have, and does not have yet.
    expected: BTreeMap<ExtractKey, (TableId, Extract)>,
    /// Closed epochs: rows still expected of them are in the next record or in none.
    closed: BTreeSet<(PipelineId, Epoch)>,
    state_due: Instant,
    retry_at: Option<Instant>,
    /// Quiescing was requested, for the next file.
    asked: bool,
}

impl Worker {
    pub fn start(settings: RecorderSettings, term: TermStart, recorder: Recorder) -> Result<Worker> {
        let failed = |error: io::Error| {
            let directory = settings.directory.display();
            Error::new(SqlState::IO_ERROR, format!("cannot record into {directory}: {error}"))
        };
        let mut directory = std::fs::DirBuilder::new();
        directory.recursive(true).mode(0o700).create(&settings.directory).map_err(failed)?;
        refuse_foreign(&settings, &term)?;
        let begin = Begin::Term { open: term.open, now_us: term.now_us };
        let keep_bytes = settings.bytes_max.saturating_sub(settings.file_bytes);
        let output =
            Output::begin(&settings.directory, &header(&term, 1, begin), keep_bytes).map_err(failed)?;
        let now = Instant::now();
        Ok(Worker {
            settings,
            term,
            recorder,
            output: Some(output),
            number: 1,
            flushed: now,
            expected: BTreeMap::new(),
            closed: BTreeSet::new(),
            state_due: now,
            retry_at: None,
            asked: false,
        })
    }

    /// Runs until the term ends.
    pub fn run(mut self) {
        loop {
            let events = self.recorder.take_events();
            let idle = events.is_empty();
            for event in events {
                if let Event::Finish(end, published) = event {
                    self.finish(end, published);
                    self.recorder.set_finished();
                    return;
                }
                self.take(event);
            }
            if idle || self.flushed.elapsed() >= FRAME_PAUSE {
                self.flush();
            }
            self.ask_to_quiesce_if_due();
            match (idle, self.retry_at) {
                (false, _) => std::thread::sleep(LOOK_PAUSE),
                (true, None) => std::thread::park(),
                (true, Some(_)) => std::thread::park_timeout(RETRY_PAUSE),
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Input(at_us, input, in_log) => self.input(at_us, *input, in_log),
            Event::Effect(mark) => self.push(Item::Effect(mark)),
            Event::Append(record) => {
                self.push(Item::Effect(append_mark(&record)));
                self.appended(&record);
            }
            Event::Publish(snapshot) => {
                self.push(Item::Effect(publish_mark(&snapshot)));
                self.note_state_if_due(&snapshot);
            }
            Event::SourceClose(pipeline, epoch, mark) => {
                self.push(Item::Effect(mark));
                self.closed.insert((pipeline, epoch));
            }
            Event::Held(held) => self.push(Item::Held(held)),
            Event::Rest(quiesced_state, tip) => self.begin_file(&quiesced_state, &tip),
            Event::Lost => self.give_up("the recorder fell behind the database"),
            Event::Finish(..) => unreachable!("the loop ends with it"),
        }
        if self.output.as_ref().is_some_and(|output| output.waiting() >= FRAME_BYTES) {
            self.flush();
        }
    }

    fn input(&mut self, at_us: Micros, input: Input, in_log: Option<TableId>) {
        if self.output.is_none() {
            return;
        }
        if let Input::Shard { reply: ShardReply::Staged { rejected, .. }, .. } = &input
            && !rejected.is_empty()
        {
            // Rejected rows are not in the log in their original form.
            let tables: BTreeSet<TableId> = rejected.iter().map(|row| row.table).collect();
            self.write_expected(&|table| tables.contains(&table));
        }
        self.push(Item::Input { at_us, input: RecordedInput::of(&input, in_log.is_some()) });
        if let (Input::Extracted(extract), Some(table)) = (input, in_log) {
            self.expect(table, extract);
        }
    }

    fn expect(&mut self, table: TableId, extract: Extract) {
        if extract.rows.iter().any(Option::is_some) {
            self.expected.insert(ExtractKey::of(&extract), (table, extract));
        }
    }

    /// Writes rows that the log may not contain in their original form.
    fn write_expected(&mut self, of: &dyn Fn(TableId) -> bool) {
        let keys: Vec<ExtractKey> =
            self.expected.iter().filter(|(_, (table, _))| of(*table)).map(|(key, _)| *key).collect();
        for key in keys {
            let (_, extract) = self.expected.remove(&key).expect("just seen");
            let shards = extract.rows.iter().map(|rows| rows.as_ref().map(Rows::of)).collect();
            self.push(Item::Rows { key, shards });
        }
    }

    /// Forgets the rows of ranges that a record commits: the log has them.
    fn appended(&mut self, record: &EncodedRecord) {
        if record.kind == RecordKind::Batch
            && let Some(commit) = head(record)
        {
            for advance in commit.cursors {
                let (pipeline, epoch, split) = (advance.pipeline, advance.epoch, advance.split);
                let key = |first_ordinal| ExtractKey { pipeline, epoch, split, first_ordinal };
                let range = key(advance.first.ordinal())..key(advance.next.ordinal());
                let there: Vec<ExtractKey> = self.expected.range(range).map(|(key, _)| *key).collect();
                for key in there {
                    self.expected.remove(&key);
                }
            }
        }
        if !self.closed.is_empty() {
            let closed = std::mem::take(&mut self.closed);
            self.expected.retain(|key, _| !closed.contains(&(key.pipeline, key.epoch)));
        }
    }

    fn note_state_if_due(&mut self, snapshot: &Snapshot) {
        let now = Instant::now();
        if now >= self.state_due && state_bytes(snapshot) <= STATE_BYTES_MAX {
            self.note_state(snapshot);
            let took = now.elapsed();
            self.state_due = Instant::now() + STATE_PAUSE.max(took * STATE_SHARE);
        }
    }

    fn note_state(&mut self, snapshot: &Snapshot) {
        self.push(Item::State { sequence: snapshot.sequence, hash: state_hash(snapshot) });
    }

    /// The coordinator is quiesced: what follows goes into another file.
    fn begin_file(&mut self, quiesced_state: &QuiescedState, tip: &Catalog) {
        self.push(Item::End(End::NextFile));
        self.flush();
        self.number += 1;
        self.retry_at = None;
        self.asked = false;
        self.expected.clear();
        for extract in &quiesced_state.extracts {
            if let Some(table) = rows_in_log(tip, extract) {
                self.expect(table, extract.clone());
            }
        }
        let recorded = RecordedQuiescedState::of(quiesced_state, &|extract: &Extract| {
            rows_in_log(tip, extract).is_some()
        });
        let begin = Begin::Quiesced(Box::new(recorded));
        let keep_bytes = self.settings.bytes_max.saturating_sub(self.settings.file_bytes);
        let header = header(&self.term, self.number, begin);
        match Output::begin(&self.settings.directory, &header, keep_bytes) {
            Ok(output) => {
                if self.output.is_none() {
                    tracing::warn!(file = self.number, "recording again, from here on");
                }
                self.output = Some(output);
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Another file is wanted: this one is long enough, or there was none for a while.
    fn ask_to_quiesce_if_due(&mut self) {
        let full = self.output.as_ref().is_some_and(|output| output.written >= self.settings.file_bytes);
        let due = full || self.retry_at.is_some_and(|at| at <= Instant::now());
        if due && !self.asked {
            self.asked = true;
            self.recorder.ask_to_quiesce();
        }
    }

    fn push(&mut self, item: Item) {
        if let Some(output) = &mut self.output {
            output.push(&item);
        }
    }

    fn flush(&mut self) {
        self.flushed = Instant::now();
        if let Some(output) = &mut self.output
            && let Err(error) = output.flush()
        {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.output = None;
        self.give_up(&format!("cannot write: {error}"));
    }

    /// Ends the recording with the reason; the database continues.
    fn give_up(&mut self, why: &str) {
        tracing::error!(
            directory = %self.settings.directory.display(),
            "the recording is incomplete from here on: {why}; a new one begins in {} s at the earliest",
            RETRY_PAUSE.as_secs()
        );
        self.recorder.turn_off();
        self.push(Item::End(End::Incomplete(why.into())));
        if let Some(output) = &mut self.output {
            let _ = output.flush();
        }
        self.output = None;
        self.expected.clear();
        self.closed.clear();
        self.retry_at = Some(Instant::now() + RETRY_PAUSE);
    }

    fn finish(&mut self, end: End, published: Option<Snapshot>) {
        // A clean stop waits for appended records, and may drop a record that shards have staged: its rows are nowhere
        // else.
        self.write_expected(&|_| true);
        if let Some(snapshot) = published
            && state_bytes(&snapshot) <= LAST_STATE_BYTES_MAX
        {
            self.note_state(&snapshot);
        }
        self.push(Item::End(end));
        self.flush();
    }
}

/// The commit of a record without its outcomes, from the record's first part.
fn head(record: &EncodedRecord) -> Option<Commit> {
    let head = record.parts.first()?;
    let len = u32::from_le_bytes(head.get(..4)?.try_into().ok()?) as usize;
    kernel::cbor::from_slice(head.get(8..8 + len)?).ok()
}

fn header(term: &TermStart, number: u64, begin: Begin) -> FileHeader {
    FileHeader {
        kernel: kernel::VERSION.into(),
        database: term.database,
        term: term.term,
        number,
        shard_count: term.shard_count,
        config: term.config.clone(),
        begin,
    }
}

/// Refuses a directory with another database's recording, which must be neither mixed with ours nor removed.
fn refuse_foreign(settings: &RecorderSettings, term: &TermStart) -> Result<()> {
    let directory = &settings.directory;
    let refused = |what: String| Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, what));
    let files = file::list(directory).map_err(|error| Error::new(SqlState::IO_ERROR, error.to_string()))?;
    for path in files {
        // A file without a header, from a kill, belongs to no database.
        let Ok(recording) = Recording::open(&path) else { continue };
        if recording.header.database != term.database {
            return refused(format!(
                "{} is of another database; nothing was changed; choose another directory for the recording",
                path.display()
            ));
        }
    }
    Ok(())
}
