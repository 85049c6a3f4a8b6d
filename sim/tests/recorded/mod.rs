//! A server without threads, clients or a network, to make recordings: the shipped kernel over a log on the disk, a
//! recorder, and one pipeline from a topic of nine messages. A test chooses how each term ends.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use kernel::expr::OnDuplicate;
use kernel::log::{self, LogWriter, Opened};
use kernel::message::{Definition, PipelineSpec, SourceMetadata, SplitStart, TableSpec};
use kernel::record::{Body, Record};
use kernel::schema::{ColumnDef, ColumnType};
use kernel::snapshot::ShardView;
use kernel::{
    ColumnId, Config, Coordinator, Effect, Epoch, Error, Extract, Identity, Input, Micros, PipelineId,
    Position, Recovery, Request, RequestId, Sequence, Shard, ShardId, SplitId, SqlState,
};
use tidemark_log::MmapStorage;
use tidemark_record::{End, Item, Recorder, RecorderSettings, Recording, TermStart, file};

const SHARDS: u16 = 2;
const LOG_FILE_BYTES: u64 = 1 << 20;
/// Messages of the topic, and messages per fetch.
const MESSAGES: i64 = 9;
const FETCHED: i64 = 3;

/// The directory of a server's log.
pub fn data(directory: &Path) -> PathBuf {
    directory.join("data")
}

/// The directory of its recording.
pub fn recording(directory: &Path) -> PathBuf {
    directory.join("recording")
}

/// See the module.
pub struct Server {
    directory: PathBuf,
    writer: LogWriter<MmapStorage>,
    coordinator: Coordinator,
    shards: Vec<Shard>,
    recorder: Recorder,
    inputs: VecDeque<Input>,
    now_us: Micros,
    wake_at_us: Option<Micros>,
    /// Later appends are dropped, as if the process had ended before.
    pub deaf: bool,
    appended_in_vain: u64,
    halted: Option<Error>,
}

impl Server {
    /// Begins the next term of the database in this directory, or its first one.
    pub fn open(directory: &Path, database: [u8; 16]) -> Server {
        let (mut recovery, mut shards, mut last) = (Recovery::new(), vec![], None);
        let mut visit = |mut record: Record| {
            if shards.is_empty() {
                shards = (0..SHARDS).map(|id| Shard::new(ShardId(id), SHARDS)).collect();
            }
            recovery.replay(&record)?;
            if let Body::Commit(_, commit) = &mut record.body {
                for (shard, outcomes) in shards.iter_mut().zip(&std::mem::take(&mut commit.outcomes)) {
                    shard.replay(record.sequence, &commit.catalog, outcomes)?;
                }
            }
            last = Some(record);
            Ok(())
        };
        let mut storage = MmapStorage::open(&data(directory)).unwrap();
        let created = log::is_created(&mut storage).unwrap();
        let Opened { writer, .. } = if created {
            log::open(storage, 0, LOG_FILE_BYTES, &mut visit).unwrap()
        } else {
            log::create(storage, database, SHARDS, 0, LOG_FILE_BYTES, &mut visit).unwrap()
        };
        let open = last.expect("a log has its open record");
        let views: Vec<Arc<ShardView>> = shards.iter_mut().map(Shard::recovered).collect();
        let config = Config::default();
        let coordinator = recovery.finish(config.clone(), 1, &open, views).unwrap();
        let term = TermStart {
            database: writer.database(),
            term: writer.term(),
            shard_count: SHARDS,
            open: open.sequence,
            now_us: 1,
            config,
        };
        let recorder = Recorder::start(RecorderSettings::new(recording(directory), 1 << 30), term).unwrap();
        let mut server = Server {
            directory: directory.into(),
            writer,
            coordinator,
            shards,
            recorder,
            inputs: VecDeque::new(),
            now_us: 1,
            wake_at_us: None,
            deaf: false,
            appended_in_vain: 0,
            halted: None,
        };
        server.drain();
        if !created {
            server.create();
        }
        server
    }

    /// Creates a table, and a stopped pipeline into it.
    fn create(&mut self) {
        let column = ColumnDef {
            id: ColumnId(0),
            name: "id".into(),
            column_type: ColumnType::Int64,
            nullable: false,
            default_sql: None,
        };
        let table = TableSpec {
            name: "events".into(),
            columns: vec![column],
            primary_key: vec![],
            shard_key: vec![0],
            sort_key: vec![],
        };
        let pipeline = PipelineSpec {
            source_kind: kernel::SourceKind::Kafka,
            name: "p".into(),
            table: "events".into(),
            definition_sql: "CREATE PIPELINE p AS LOAD DATA KAFKA 'test/topic' INTO TABLE events".into(),
            on_duplicate: OnDuplicate::Reject,
            error_limit: None,
            batch_interval_us: 0,
            batch_bytes_max: 1,
        };
        self.define(Definition::CreateTable { spec: table, if_not_exists: false });
        let spec = Box::new(pipeline);
        self.define(Definition::CreatePipeline { spec, if_not_exists: false });
    }

    /// Starts the pipeline: it loads the whole topic, unless the process ends first.
    pub fn load(&mut self) {
        self.define(Definition::StartPipeline { name: "p".into(), if_not_running: true });
    }

    fn define(&mut self, definition: Definition) {
        self.feed(Input::Request { id: RequestId(1), request: Request::Define(definition) });
        // The kernel waits for a timer while it collects a batch; a bounded number of times is enough for nine
        // messages.
        for _ in 0..200 {
            while let Some(input) = self.inputs.pop_front() {
                self.feed(input);
            }
            if let Some(at_us) = self.wake_at_us.take().filter(|_| self.halted.is_none()) {
                self.now_us = self.now_us.max(at_us);
                self.feed(Input::Tick);
            }
        }
    }

    /// Passes one input to the kernel.
    pub fn feed(&mut self, input: Input) {
        self.now_us += 10;
        self.recorder.input(self.now_us, &input, self.coordinator.tip());
        self.coordinator.handle(self.now_us, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.coordinator.poll_effect() {
            self.recorder.effect(&effect);
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Shard { shard, command } => {
                let reply = self.shards[shard.0 as usize].handle(command);
                self.inputs.push_back(Input::Shard { shard, reply });
            }
            Effect::Append(_) if self.deaf => self.appended_in_vain += 1,
            Effect::Append(record) => self.writer.append(&record).unwrap(),
            Effect::Sync if self.deaf => {}
            Effect::Sync => {
                let through = self.writer.sync().unwrap();
                self.inputs.push_back(Input::Synced { through });
            }
            Effect::SourceOpen { pipeline, epoch, .. } => {
                self.inputs.push_back(Input::SourceOpened { pipeline, epoch, metadata: metadata() });
            }
            Effect::SourceVerify { pipeline, epoch, token } => {
                self.inputs.push_back(Input::SourceVerified { pipeline, epoch, token, metadata: metadata() });
            }
            Effect::Fetch { pipeline, epoch, starts } => {
                for SplitStart { position, .. } in starts {
                    let from = (position.ordinal()..MESSAGES).step_by(FETCHED as usize);
                    let extracts = from.map(|first| self.extract(pipeline, epoch, first));
                    let extracts: Vec<Input> = extracts.map(Input::Extracted).collect();
                    self.inputs.extend(extracts);
                }
            }
            Effect::WakeAt(at_us) => self.wake_at_us = Some(at_us),
            Effect::Halt(error) => self.halted = Some(error),
            _ => {}
        }
    }

    /// A few messages of the topic, each with its offset as content.
    fn extract(&self, pipeline: PipelineId, epoch: Epoch, first_offset: i64) -> Extract {
        let next_offset = (first_offset + FETCHED).min(MESSAGES);
        let offsets: ArrayRef = Arc::new(Int64Array::from_iter_values(first_offset..next_offset));
        let count = offsets.len();
        let columns: Vec<ArrayRef> = vec![
            offsets.clone(),
            Arc::new(Int64Array::from(vec![pipeline.0 as i64; count])),
            Arc::new(Int32Array::from(vec![0; count])),
            offsets,
        ];
        let table = self.coordinator.tip().table_named("events").expect("it was created").clone();
        let rows = RecordBatch::try_new(table.stored_schema(), columns).unwrap();
        Extract {
            pipeline,
            epoch,
            split: SplitId(0),
            schema_version: 1,
            first: Position::kafka(first_offset, 0),
            next: Position::kafka(next_offset, 0),
            messages: count as u64,
            filtered: 0,
            source_bytes: 8 * count as u64,
            rows: kernel::route::route(&table, &rows, SHARDS),
            dead_letters: vec![],
            originals: None,
        }
    }

    /// Number of visible rows.
    pub fn rows(&self) -> u64 {
        let published = self.coordinator.published();
        let tables = published.shards.iter().flat_map(|shard| shard.tables.values());
        tables.map(|table| table.live_rows).sum()
    }

    // ---- Ends of a term ----

    /// A clean stop.
    pub fn stop(self) {
        self.recorder.finish(End::Stopped, Some(self.coordinator.published().clone()));
    }

    /// The log fails, and the kernel with it.
    pub fn halt(mut self, why: &str) {
        self.feed(Input::LogFailed { error: Error::new(SqlState::IO_ERROR, why) });
        let error = self.halted.clone().expect("a failed log halts the kernel");
        self.recorder.finish(End::Halted(error), None);
    }

    /// The host violates its duty, and the kernel panics.
    pub fn panic(mut self) {
        let lie = Input::Synced { through: Sequence(1_000_000) };
        let panicked = catch_unwind(AssertUnwindSafe(|| self.feed(lie))).unwrap_err();
        let text = panicked.downcast_ref::<&str>().expect("the kernel's assertion has a text");
        let error = Error::new(SqlState::INTERNAL_ERROR, format!("a thread panicked: {text}"));
        self.recorder.finish(End::Halted(error), None);
    }

    /// The process is killed: the recording has no end, and buffered bytes are lost.
    pub fn kill(self) {
        assert!(!self.deaf || self.appended_in_vain > 0, "a record is missing in the log");
        // A clean end writes only its end item; without it the file is as after a kill.
        self.recorder.finish(End::Stopped, None);
        let path = file::list(&recording(&self.directory)).unwrap().pop().expect("there is a recording");
        rewrite(&path, |_, items| {
            let end = items.pop();
            assert!(matches!(end, Some(Item::End(End::Stopped))), "{end:?}");
        });
    }
}

fn metadata() -> SourceMetadata {
    SourceMetadata::kafka(&Identity::new(&[1; 16]), [(0, (0, MESSAGES))])
}

/// Rewrites a file of a recording with a change.
pub fn rewrite(path: &Path, change: impl FnOnce(&mut file::FileHeader, &mut Vec<Item>)) {
    let mut recording = Recording::open(path).unwrap();
    let mut items: Vec<Item> = std::iter::from_fn(|| recording.next_item().unwrap()).collect();
    change(&mut recording.header, &mut items);
    let mut bytes = file::encode_header(&recording.header);
    let seed = file::frame_seed(&bytes);
    let mut frame = vec![];
    file::begin_frame(&mut frame);
    items.iter().for_each(|item| file::push_item(&mut frame, item));
    file::seal_frame(&mut frame, seed, 0);
    bytes.extend_from_slice(&frame);
    std::fs::write(path, bytes).unwrap();
}
