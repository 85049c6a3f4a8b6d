//! A golden recording: a file with every item, byte for byte as each format version wrote it, and what it means. All
//! versions are read for ever; the newest one is written, too.
//!
//! `GOLDEN=write cargo test -p tidemark-record --test golden` writes the file of the present version if it is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use kernel::message::{
    Alteration, Definition, Offsets, PipelineSpec, ShardReply, ShardWrite, SourceFailure, SourceMetadata,
    TableSpec, TableWrite, Write,
};
use kernel::schema::{ColumnDef, ColumnType, StartAt, TableDef};
use kernel::*;
use tidemark_record::file::{FORMAT_VERSION, begin_frame, encode_header, frame_seed, push_item, seal_frame};
use tidemark_record::item::ExtractKey;
use tidemark_record::mark::{effect_mark, state_hash};
use tidemark_record::rows::Rows;
use tidemark_record::{Begin, End, FileHeader, Item, RecordedInput, Recording};

const P: PipelineId = PipelineId(3);
const E: Epoch = Epoch(4);

fn header() -> FileHeader {
    FileHeader {
        kernel: "0.1.0".into(),
        database: *b"id of a database",
        term: Term(2),
        number: 1,
        shard_count: 2,
        config: Config::default(),
        begin: Begin::Term { open: Sequence(9), now_us: 5 },
    }
}

fn column(id: u32, column_type: ColumnType) -> ColumnDef {
    ColumnDef { id: ColumnId(id), name: format!("c{id}"), column_type, nullable: true, default_sql: None }
}

fn rows() -> RecordBatch {
    let table = TableDef {
        columns: vec![column(0, ColumnType::Bool), column(1, ColumnType::Text)],
        ..kernel::schema::errors_table()
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), None])),
        Arc::new(StringArray::from(vec!["ä", ""])),
        Arc::new(Int64Array::from(vec![1, 1])),
        Arc::new(Int32Array::from(vec![0, 0])),
        Arc::new(Int64Array::from(vec![7, 9])),
    ];
    RecordBatch::try_new(table.stored_schema(), columns).expect("rows of the table")
}

fn error() -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "not a number").with_detail("detail").with_hint("hint")
}

fn extract() -> Extract {
    Extract {
        pipeline: P,
        epoch: E,
        split: SplitId(0),
        schema_version: 5,
        first: Position::kafka(7, -1),
        next: Position::kafka(11, 2),
        messages: 4,
        filtered: 1,
        source_bytes: 100,
        rows: vec![None, Some(rows())],
        dead_letters: vec![
            DeadLetter {
                split: SplitId(0),
                ordinal: 8,
                kind: DeadLetterKind::Decode,
                error: error(),
                payload: Some(b"x"[..].into()),
            },
            DeadLetter {
                split: SplitId(0),
                ordinal: 10,
                kind: DeadLetterKind::Expression,
                error: error(),
                payload: None,
            },
        ],
        originals: Some(Originals { ordinals: vec![7, 9], ends: vec![2, 3], bytes: b"abc"[..].into() }),
    }
}

fn definitions() -> Vec<Definition> {
    let spec = || {
        Box::new(PipelineSpec {
            name: "p".into(),
            table: "t".into(),
            source_kind: SourceKind::Kafka,
            definition_sql: "CREATE PIPELINE p …".into(),
            on_duplicate: kernel::expr::OnDuplicate::Replace,
            error_limit: Some(3),
            batch_interval_us: 1000,
            batch_bytes_max: 1 << 20,
        })
    };
    let table = TableSpec {
        name: "t".into(),
        columns: vec![column(0, ColumnType::Int64)],
        primary_key: vec![0],
        shard_key: vec![0],
        sort_key: vec![],
    };
    let name = || "p".to_string();
    vec![
        Definition::CreateTable { spec: table, if_not_exists: true },
        Definition::DropTable { name: name(), if_exists: false },
        Definition::TruncateTable { name: name() },
        Definition::CreatePipeline { spec: spec(), if_not_exists: false },
        Definition::AlterPipeline(Alteration { spec: spec(), was: "before".into(), source_changed: true }),
        Definition::DropPipeline { name: name(), if_exists: true },
        Definition::StartPipeline { name: name(), if_not_running: false },
        Definition::StopPipeline { name: name(), if_running: true },
        Definition::SetOffsets { name: name(), offsets: Offsets::From(StartAt::Latest) },
        Definition::SetOffsets {
            name: name(),
            offsets: Offsets::At([(SplitName::kafka(1), Position::kafka(5, -1))].into()),
        },
        Definition::ClearErrors { pipeline: None },
        Definition::ClearErrors { pipeline: Some(name()) },
    ]
}

fn inputs() -> Vec<Input> {
    let metadata = || SourceMetadata::kafka(&Identity::new(&[9; 16]), [(0, (2, 50)), (1, (0, 0))]);
    let failed = |failure| Input::SourceFailed { pipeline: P, epoch: E, failure };
    let id = RequestId(1);
    let write = Write {
        table_lock: Some(TableLockId(6)),
        tables: vec![TableWrite {
            table: TableId(2),
            schema_version: 1,
            on_duplicate: kernel::expr::OnDuplicate::Reject,
            shards: vec![
                ShardWrite::default(),
                ShardWrite { deletes: vec![RowId { sequence: Sequence(4), ordinal: 1 }], rows: Some(rows()) },
            ],
        }],
    };
    let reply = ShardReply::Abandoned { from: Sequence(8) };
    let mut inputs = vec![
        Input::Extracted(extract()),
        Input::SourceOpened { pipeline: P, epoch: E, metadata: metadata() },
        Input::SourceVerified { pipeline: P, epoch: E, token: 3, metadata: metadata() },
        failed(SourceFailure::Transient(error())),
        failed(SourceFailure::Permanent(error())),
        failed(SourceFailure::kafka_lost(1, 5, 9, 12)),
        Input::Shard { shard: ShardId(1), reply },
        Input::Synced { through: Sequence(10) },
        Input::LogFailed { error: error() },
        Input::DiskSpace { sufficient: false },
        Input::SnapshotReleased { sequence: Sequence(7) },
        Input::Request { id, request: Request::AcquireTableLock { tables: vec![TableId(1), TableId(2)] } },
        Input::Request { id, request: Request::ReleaseTableLock(TableLockId(6)) },
        Input::Request { id, request: Request::Write(write) },
        Input::Tick,
    ];
    inputs.extend(
        definitions()
            .into_iter()
            .map(|definition| Input::Request { id, request: Request::Define(definition) }),
    );
    inputs
}

fn snapshot() -> Snapshot {
    Snapshot { sequence: Sequence(12), catalog: Arc::new(kernel::schema::Catalog::new()), shards: vec![] }
}

/// Every item.
fn items() -> Vec<Item> {
    let input = |input: &Input| Item::Input { at_us: 17, input: RecordedInput::of(input, false) };
    let mut items: Vec<Item> = inputs().iter().map(input).collect();
    items.push(Item::Input { at_us: -1, input: RecordedInput::of(&Input::Extracted(extract()), true) });
    items.extend([
        Item::Effect(effect_mark(&Effect::WakeAt(5))),
        Item::Held(true),
        Item::State { sequence: Sequence(12), hash: state_hash(&snapshot()) },
        Item::Rows { key: ExtractKey::of(&extract()), shards: vec![None, Some(Rows::of(&rows()))] },
        Item::End(End::Stopped),
        Item::End(End::Halted(error())),
        Item::End(End::Incomplete("the recorder fell behind".into())),
        Item::End(End::NextFile),
    ]);
    items
}

fn encoded() -> Vec<u8> {
    let mut bytes = encode_header(&header());
    let seed = frame_seed(&bytes);
    let mut frame = vec![];
    begin_frame(&mut frame);
    items().iter().for_each(|item| push_item(&mut frame, item));
    seal_frame(&mut frame, seed, 0);
    bytes.extend(frame);
    bytes
}

fn golden(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{version}.tmrec"))
}

/// Format versions that are read. The first ones were never released.
const VERSIONS: std::ops::RangeInclusive<u32> = 4..=FORMAT_VERSION;

#[test]
fn every_version_is_read_and_the_newest_is_written_as_it_always_was() {
    let path = golden(FORMAT_VERSION);
    if std::env::var("GOLDEN").is_ok_and(|value| value == "write") && !path.exists() {
        fs::create_dir_all(path.parent().expect("in a folder")).expect("the folder can be made");
        fs::write(&path, encoded()).expect("the file can be written");
    }
    for version in VERSIONS {
        let mut recording = Recording::open(&golden(version)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(format!("{:?}", recording.header), format!("{:?}", header()), "version {version}");
        for item in items() {
            let found = recording.next_item().unwrap_or_else(|error| panic!("{error}")).expect("an item");
            assert_eq!(format!("{found:?}"), format!("{item:?}"), "version {version}");
        }
        assert!(recording.next_item().expect("the end").is_none() && recording.torn_bytes() == 0);
    }
    assert_eq!(
        fs::read(golden(FORMAT_VERSION)).expect("the file"),
        encoded(),
        "the present format is the same"
    );
}
