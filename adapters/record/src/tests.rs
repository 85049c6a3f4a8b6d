//! Recordings in files: written items are read back, a torn file ends early, a damaged one is reported.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use kernel::expr::OnDuplicate;
use kernel::record::{Body, Commit, CursorAdvance, RecordKind, Tally};
use kernel::schema::{Catalog, ColumnDef, ColumnType, PipelineDef, PipelineState, StartAt, TableDef};
use kernel::{
    ColumnId, Config, Effect, Epoch, Error, Extract, Generation, Identity, Input, PipelineId, Position,
    Sequence, SourceKind, SplitId, SqlState, TableId, Term,
};
use proptest::prelude::*;

use crate::file::*;
use crate::item::{End, ExtractKey, Item, RecordedInput, RowsAt};
use crate::recorder::{Recorder, RecorderSettings, TermStart};
use crate::rows::Rows;

fn header() -> FileHeader {
    FileHeader {
        kernel: "0.0.1".into(),
        database: [7; 16],
        term: Term(3),
        number: 1,
        shard_count: 8,
        config: Config::default(),
        begin: Begin::Term { open: Sequence(9), now_us: 5 },
    }
}

fn synced(sequence: u64) -> Item {
    Item::Input { at_us: sequence as i64, input: RecordedInput::Synced(Sequence(sequence)) }
}

/// A file of frames with so many items each.
fn written(frames: &[usize]) -> Vec<u8> {
    let mut bytes = encode_header(&header());
    let seed = frame_seed(&bytes);
    let mut frame = vec![];
    let mut sequence = 0;
    for (number, items) in frames.iter().enumerate() {
        begin_frame(&mut frame);
        for _ in 0..*items {
            sequence += 1;
            push_item(&mut frame, &synced(sequence));
        }
        seal_frame(&mut frame, seed, number as u64);
        bytes.extend_from_slice(&frame);
    }
    bytes
}

fn read(directory: &Path, bytes: &[u8]) -> Result<(Vec<Item>, usize), RecordingError> {
    let path = directory.join(file_name(Term(3), 1));
    std::fs::write(&path, bytes).unwrap();
    let mut recording = Recording::open(&path)?;
    assert_eq!(recording.header.begin.sequence(), Sequence(9));
    let mut items = vec![];
    while let Some(item) = recording.next_item()? {
        items.push(item);
    }
    Ok((items, recording.torn_bytes()))
}

fn sequences(items: &[Item]) -> Vec<u64> {
    let sequence = |item: &Item| match item {
        Item::Input { input: RecordedInput::Synced(sequence), .. } => sequence.0,
        other => panic!("never written: {other:?}"),
    };
    items.iter().map(sequence).collect()
}

#[test]
fn what_is_cut_off_anywhere_ends_with_the_last_whole_frame() {
    let directory = tempfile::tempdir().unwrap();
    let whole = written(&[3, 1, 4]);
    let header_len = encode_header(&header()).len();
    let ends: Vec<usize> = [&[][..], &[3], &[3, 1], &[3, 1, 4]].map(|f| written(f).len()).to_vec();
    let counts = [0, 3, 4, 8];
    for len in header_len..=whole.len() {
        let (items, torn) = read(directory.path(), &whole[..len]).unwrap();
        let frames = ends.iter().filter(|end| **end <= len).count() - 1;
        assert_eq!(sequences(&items), (1..=counts[frames]).collect::<Vec<_>>(), "cut at {len}");
        assert_eq!(torn, len - ends[frames]);
    }
    for len in 0..header_len {
        let error = read(directory.path(), &whole[..len]).unwrap_err();
        assert!(
            matches!(error, RecordingError::NotARecording(_) | RecordingError::Damaged { .. }),
            "{error}"
        );
    }
}

#[test]
fn another_format_is_named_with_what_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = written(&[1]);
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    let error = read(directory.path(), &bytes).unwrap_err();
    assert!(matches!(error, RecordingError::Version { found: 1, .. }), "{error}");
    assert!(error.to_string().contains("with the version of tidemark that wrote it"), "{error}");
}

#[test]
fn ends_are_told_apart() {
    for end in [End::Stopped, End::NextFile, End::Incomplete("slow".into())] {
        let mut frame = vec![];
        begin_frame(&mut frame);
        push_item(&mut frame, &Item::End(end.clone()));
        let (item, rest) = kernel::cbor::take::<Item>(&frame[12..]).unwrap();
        assert!(rest.is_empty() && matches!(item, Item::End(found) if found == end));
    }
}

fn table() -> TableDef {
    let types = [
        ColumnType::Int64,
        ColumnType::Text,
        ColumnType::Bool,
        ColumnType::Float64,
        ColumnType::Bytea,
        ColumnType::Decimal { precision: 20, scale: 2 },
    ];
    let columns = types.into_iter().enumerate().map(|(at, column_type)| ColumnDef {
        id: ColumnId(at as u32),
        name: format!("column {at}"),
        column_type,
        nullable: true,
        default_sql: None,
    });
    TableDef {
        id: TableId(1),
        name: "events".into(),
        schema_version: 1,
        columns: columns.collect(),
        primary_key: vec![],
        shard_key: vec![ColumnId(0)],
        sort_key: vec![],
        created_at: Sequence(2),
    }
}

fn some_rows() -> RecordBatch {
    let decimals = Decimal128Array::from(vec![Some(125), None, Some(-1)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3])),
        Arc::new(StringArray::from(vec![Some("a"), None, Some("")])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Float64Array::from(vec![Some(0.5), None, Some(-2.0)])),
        Arc::new(BinaryArray::from(vec![&b"x"[..], b"", b"yz"])),
        Arc::new(decimals.with_precision_and_scale(20, 2).unwrap()),
        Arc::new(Int64Array::from(vec![1, 1, 1])),
        Arc::new(Int32Array::from(vec![0, 0, 0])),
        Arc::new(Int64Array::from(vec![10, 11, 12])),
    ];
    RecordBatch::try_new(table().stored_schema(), columns).unwrap()
}

#[test]
fn rows_come_back_without_a_catalog() {
    let rows = some_rows();
    let read = Rows::of(&rows).read().unwrap();
    assert_eq!(read.columns(), rows.columns());
    assert_eq!(Rows::of(&rows.slice(1, 2)).read().unwrap().columns(), rows.slice(1, 2).columns());
    assert_eq!(Rows::of(&rows.slice(0, 0)).read().unwrap().num_rows(), 0);
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::new();
    catalog.tables.insert(TableId(1), Arc::new(table()));
    let pipeline = PipelineDef {
        id: PipelineId(1),
        name: "p".into(),
        table: TableId(1),
        source_kind: SourceKind::Kafka,
        definition_sql: String::new(),
        on_duplicate: OnDuplicate::Reject,
        error_limit: None,
        batch_interval_us: 0,
        batch_bytes_max: 1,
        state: PipelineState::Running,
        epoch: Epoch(1),
        generation: Generation(1),
        start_at: StartAt::Earliest,
        created_at_us: 0,
        altered_at_us: 0,
    };
    catalog.pipelines.insert(PipelineId(1), Arc::new(pipeline));
    catalog.cursors.insert(PipelineId(1), Default::default());
    catalog
}

fn extract(first_offset: i64) -> Extract {
    Extract {
        pipeline: PipelineId(1),
        epoch: Epoch(1),
        split: SplitId(0),
        schema_version: 1,
        first: Position::kafka(first_offset, 0),
        next: Position::kafka(first_offset + 3, 0),
        messages: 3,
        filtered: 0,
        source_bytes: 100,
        rows: vec![None, Some(some_rows())],
        dead_letters: vec![],
        originals: None,
    }
}

/// A record that commits the range of an extract.
fn append_of(extract: &Extract) -> Effect {
    let cursors = vec![CursorAdvance {
        pipeline: extract.pipeline,
        generation: Generation(1),
        epoch: extract.epoch,
        split: extract.split,
        first: extract.first,
        next: extract.next,
        identity: Identity::default(),
        finished: false,
        tally: Tally::default(),
    }];
    let body = Body::Commit(RecordKind::Batch, Commit { cursors, ..Commit::default() });
    Effect::Append(body.encode(Sequence(10)))
}

/// After a halt, and after a clean stop while shards were staging a record that never reached the log.
#[test]
fn rows_that_the_log_never_got_are_written_on_the_way_out() {
    let halted = End::Halted(Error::new(SqlState::INTERNAL_ERROR, "a thread panicked"));
    for end in [halted, End::Stopped] {
        rows_are_written_at(end);
    }
}

fn rows_are_written_at(end: End) {
    let directory = tempfile::tempdir().unwrap();
    let term = TermStart {
        database: [7; 16],
        term: Term(3),
        shard_count: 2,
        open: Sequence(9),
        now_us: 5,
        config: Config::default(),
    };
    let recorder = Recorder::start(RecorderSettings::new(directory.path(), 1 << 20), term).unwrap();
    let catalog = catalog();
    for first_offset in [10, 13] {
        recorder.input(1, &Input::Extracted(extract(first_offset)), &catalog);
    }
    recorder.effect(&append_of(&extract(10)));
    recorder.finish(end.clone(), None);
    let mut recording = Recording::open(&list(directory.path()).unwrap()[0]).unwrap();
    let items: Vec<Item> = std::iter::from_fn(|| recording.next_item().unwrap()).collect();
    for item in &items[..2] {
        let Item::Input { input: RecordedInput::Extracted(extract), .. } = item else { panic!("{item:?}") };
        assert!(matches!(&extract.rows, RowsAt::Log(counts) if *counts == [None, Some(3)]), "{extract:?}");
    }
    let [Item::Effect(_), Item::Rows { key, shards }, Item::End(recorded)] = &items[2..] else {
        panic!("{items:?}");
    };
    assert_eq!(*recorded, end);
    assert_eq!(*key, ExtractKey::of(&extract(13)), "the log has the rows of the other");
    assert_eq!(shards[1].as_ref().unwrap().read().unwrap().columns(), some_rows().columns());
}

proptest! {
    /// For any damage, reading ends or returns an error; items before it are as written.
    #[test]
    fn damage_never_passes_for_items(at in 0usize..400, bit in 0u8..8) {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = written(&[3, 1, 4, 1, 5]);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok((items, torn)) = read(directory.path(), &bytes) {
            prop_assert_eq!(sequences(&items), (1..=items.len() as u64).collect::<Vec<_>>());
            prop_assert!(torn > 0, "a missing frame is reported");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = encode_header(&header());
        let seed = frame_seed(&bytes);
        let mut frame = vec![];
        begin_frame(&mut frame);
        frame.extend_from_slice(&body);
        seal_frame(&mut frame, seed, 0);
        bytes.extend_from_slice(&frame);
        // The checksum is valid, but its content may be invalid, which is an error.
        let _ = read(directory.path(), &bytes);
    }
}
