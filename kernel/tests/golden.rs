//! Golden records: the payload of every kind of log record, with every definition, byte for byte as each format version
//! wrote it, and the value that it means. All versions are read for ever; the newest one is written, too.
//!
//! A new kind or definition gets a new file: `GOLDEN=write cargo test -p kernel --test golden` writes the files that are
//! missing, and no others.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test reads files")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::*;
use bytes::Bytes;
use kernel::expr::{Arithmetic, Comparison, Expr, Literal, OnDuplicate, Quotient, Update};
use kernel::record::{
    Body, Commit, CursorAdvance, FORMAT_VERSION, FORMAT_VERSIONS_READ, Open, RecordKind, Tally,
};
use kernel::schema::{
    CatalogChange, ColumnDef, ColumnType, CursorSet, PipelineDef, PipelineState, StartAt, TableDef,
};
use kernel::{
    ColumnId, Epoch, Error, Generation, Identity, PipelineId, Position, RowId, Sequence, SourceKind, SplitId,
    SplitName, SqlState, TableId, TextPosition, columns,
};

const TOPIC_ID: [u8; 16] = *b"id of the topic ";

fn table() -> TableDef {
    use ColumnType::*;
    let types = [
        Bool,
        Int16,
        Int32,
        Int64,
        Float32,
        Float64,
        Decimal { precision: 38, scale: -2 },
        Text,
        Json,
        Uuid,
        Bytea,
        Date,
        Timestamp,
        TimestampTz,
        Varchar { max_chars: None },
        Varchar { max_chars: Some(300) },
    ];
    let column = |(at, column_type): (u32, ColumnType)| ColumnDef {
        id: ColumnId(at),
        name: format!("c{at}"),
        column_type,
        nullable: at > 3,
        default_sql: (at == 7).then(|| "'ä'".to_string()),
    };
    TableDef {
        id: TableId(9),
        name: "everything".into(),
        schema_version: 4,
        columns: (0..).zip(types).map(column).collect(),
        primary_key: vec![ColumnId(3), ColumnId(1)],
        shard_key: vec![ColumnId(3)],
        sort_key: vec![ColumnId(13)],
        created_at: Sequence(77),
    }
}

/// Two rows of `table`, with provenance; the second one has nulls.
fn rows() -> RecordBatch {
    let text = |text: &'static str| Arc::new(StringArray::from(vec![Some(text), None])) as ArrayRef;
    let decimals = Decimal128Array::from(vec![Some(-12_345), None]).with_precision_and_scale(38, -2);
    let utc = TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("+00:00");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![true, false])),
        Arc::new(Int16Array::from(vec![-1, 2])),
        Arc::new(Int32Array::from(vec![-1, 70_000])),
        Arc::new(Int64Array::from(vec![1 << 40, 5])),
        Arc::new(Float32Array::from(vec![Some(0.5), None])),
        Arc::new(Float64Array::from(vec![Some(-0.0), None])),
        Arc::new(decimals.expect("38 digits")),
        text("grün"),
        text(r#"{"a": 1}"#),
        text("00000000-0000-0000-0000-000000000001"),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0, 255]), None])),
        Arc::new(Date32Array::from(vec![Some(-1), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None])),
        Arc::new(utc),
        text(""),
        text("x"),
        Arc::new(Int64Array::from(vec![2, 2])),
        Arc::new(Int32Array::from(vec![1, 1])),
        Arc::new(Int64Array::from(vec![100, 101])),
    ];
    RecordBatch::try_new(table().stored_schema(), columns).expect("rows of the table")
}

/// An update with every form of expression and every constant.
fn update() -> Update {
    let column = |id| Box::new(Expr::Stored(ColumnId(id)));
    let incoming = |id| Box::new(Expr::Incoming(ColumnId(id)));
    let constants = [
        (Literal::Null, ColumnType::Text),
        (Literal::Bool(true), ColumnType::Bool),
        (Literal::Int(i64::MIN), ColumnType::Int64),
        (Literal::Float(f64::from_bits(0x7ff8_0000_0000_0001)), ColumnType::Float64),
        (Literal::Decimal(i128::MIN, -2), ColumnType::Decimal { precision: 38, scale: -2 }),
        (Literal::Text("ä".into()), ColumnType::Text),
        (Literal::Bytes(vec![0, 255]), ColumnType::Bytea),
        (Literal::Date(-1), ColumnType::Date),
        (Literal::Timestamp(i64::MAX), ColumnType::TimestampTz),
    ];
    let constants = constants.into_iter().map(|(literal, column_type)| Expr::Literal(literal, column_type));
    let arithmetic = [
        Arithmetic::Add,
        Arithmetic::Subtract,
        Arithmetic::Multiply,
        Arithmetic::Divide,
        Arithmetic::Remainder,
    ];
    let comparisons = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];
    let to = ColumnType::Decimal { precision: 38, scale: -2 };
    let quotient = Quotient { to, rounded: true, places_known: false };
    let mut forms: Vec<Expr> = constants.collect();
    forms.extend(arithmetic.map(|operator| Expr::Arithmetic(operator, column(2), incoming(2))));
    forms.extend(comparisons.map(|operator| Expr::Compare(operator, column(2), incoming(2))));
    forms.extend([
        Expr::Quotient(quotient, column(6), incoming(6)),
        Expr::Negate(column(2)),
        Expr::And(column(0), incoming(0)),
        Expr::Or(column(0), incoming(0)),
        Expr::Not(column(0)),
        Expr::IsNull(column(7)),
        Expr::Greatest(vec![*column(2), *incoming(2)]),
        Expr::Least(vec![*incoming(2)]),
        Expr::Case(vec![(*column(0), *column(2))], incoming(2)),
        Expr::Concat(column(7), incoming(7)),
        Expr::Cast(column(2), ColumnType::Int64),
    ]);
    // What the forms mean together does not matter: a log holds what a definition said.
    Update {
        assignments: vec![(ColumnId(7), Expr::Coalesce(forms))],
        condition: Some(Expr::Stored(ColumnId(0))),
    }
}

fn pipeline(state: PipelineState, on_duplicate: OnDuplicate) -> CatalogChange {
    CatalogChange::PipelineSet(PipelineDef {
        id: PipelineId(3),
        name: "p".into(),
        table: TableId(9),
        source_kind: SourceKind::Kafka,
        definition_sql: "CREATE PIPELINE p AS LOAD DATA KAFKA 'localhost:9092/t' INTO TABLE everything"
            .into(),
        on_duplicate,
        error_limit: Some(10),
        batch_interval_us: 2500,
        batch_bytes_max: 1 << 20,
        state,
        epoch: Epoch(12),
        generation: Generation(2),
        start_at: StartAt::Latest,
        created_at_us: 1_700_000_000_000_000,
        altered_at_us: 1_700_000_000_000_001,
    })
}

fn failure() -> Error {
    let error = Error::new(SqlState::SOURCE_LOST, "messages are missing");
    let position = TextPosition { line: 1, column: 2, character: Some(3) };
    error.with_detail("detail").with_hint("hint").with_position(position)
}

fn catalog(changes: impl IntoIterator<Item = CatalogChange>) -> Body {
    let catalog = changes.into_iter().collect();
    Body::Commit(
        RecordKind::Catalog,
        Commit { at_us: 5, catalog, outcomes: vec![vec![]; 2], ..Commit::default() },
    )
}

fn cursor_set(split: u32, identity: Option<Identity>) -> CursorSet {
    let (split, name) = (SplitId(split), SplitName::kafka(split as i32));
    CursorSet { split, name, identity, position: Position::kafka(100, 7) }
}

/// Every kind of record, and every definition in one, by the name of its file.
fn records() -> Vec<(&'static str, Body)> {
    let mut outcome = vec![];
    let deletes =
        [RowId { sequence: Sequence(70), ordinal: 3 }, RowId { sequence: Sequence(76), ordinal: 0 }];
    columns::encode(&table(), &deletes, Some(&rows()), &mut outcome);
    let advance = CursorAdvance {
        pipeline: PipelineId(3),
        generation: Generation(2),
        epoch: Epoch(12),
        split: SplitId(1),
        first: Position::kafka(100, -1),
        next: Position::kafka(102, 7),
        identity: Identity::new(&TOPIC_ID),
        finished: false,
        tally: Tally { applied: 1, filtered: 2, ignored: 3, dead_letters: 4 },
    };
    let batch = Commit {
        at_us: 1_700_000_000_000_002,
        cursors: vec![advance],
        outcomes: vec![vec![], vec![Bytes::from(outcome.clone()), Bytes::from_static(b"a second outcome")]],
        ..Commit::default()
    };
    let client = Commit { at_us: -1, outcomes: vec![vec![outcome.into()]], ..Commit::default() };
    let cursors = CatalogChange::CursorsSet {
        pipeline: PipelineId(3),
        splits: vec![cursor_set(1, None), cursor_set(2, Some(Identity::new(&TOPIC_ID)))],
    };
    let cursor = Commit { catalog: vec![cursors.clone()], outcomes: vec![vec![]], ..Commit::default() };
    vec![
        (
            "open",
            Body::Open(Open { database: *b"id of a database", shard_count: 8, at_us: 1_700_000_000_000_000 }),
        ),
        ("sync-marker", Body::SyncMarker),
        ("batch", Body::Commit(RecordKind::Batch, batch)),
        ("client", Body::Commit(RecordKind::Client, client)),
        ("cursor", Body::Commit(RecordKind::Cursor, cursor)),
        ("table-created", catalog([CatalogChange::TableCreated(table())])),
        ("table-dropped", catalog([CatalogChange::TableDropped(TableId(9))])),
        ("table-truncated", catalog([CatalogChange::TableTruncated(TableId(9))])),
        ("pipeline-stopped", catalog([pipeline(PipelineState::Stopped, OnDuplicate::Reject)])),
        ("pipeline-running", catalog([pipeline(PipelineState::Running, OnDuplicate::Ignore)])),
        ("pipeline-failed", catalog([pipeline(PipelineState::Failed(failure()), OnDuplicate::Replace)])),
        ("pipeline-update", catalog([pipeline(PipelineState::Running, OnDuplicate::Update(update()))])),
        ("pipeline-dropped", catalog([CatalogChange::PipelineDropped(PipelineId(3))])),
        ("cursors-set", catalog([cursors])),
        ("cursors-forgotten", catalog([CatalogChange::CursorsForgotten(PipelineId(3))])),
        ("dead-letters-restarted", catalog([CatalogChange::DeadLettersRestarted(PipelineId(3))])),
        ("errors-cleared", catalog([CatalogChange::ErrorsCleared(PipelineId(3))])),
    ]
}

fn folder(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version.to_string())
}

fn read(path: &Path) -> Option<Bytes> {
    let text = fs::read_to_string(path).ok()?;
    let digits: Vec<u8> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.bytes().filter(|byte| !byte.is_ascii_whitespace()))
        .collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("{}: {pair} is no byte", path.display()))
    };
    Some(digits.chunks(2).map(byte).collect::<Vec<u8>>().into())
}

fn write(path: &Path, body: &Body, bytes: &[u8]) {
    let mut text = format!("# {:?} record, format version {FORMAT_VERSION}.\n", body.kind());
    let meaning = format!("{body:?}");
    let cut = meaning.char_indices().nth(4000).map_or(meaning.len(), |(at, _)| at);
    text.push_str(&format!("# {}\n", &meaning[..cut]));
    for line in bytes.chunks(32) {
        text.extend(line.iter().map(|byte| format!("{byte:02x}")));
        text.push('\n');
    }
    fs::create_dir_all(path.parent().expect("in a folder")).expect("the folder can be made");
    fs::write(path, text).expect("the file can be written");
}

/// Values, as text: a NaN equals no NaN.
fn same(left: &Body, right: &Body) -> bool {
    format!("{left:?}") == format!("{right:?}")
}

#[test]
fn every_version_is_read_and_the_newest_is_written_as_it_always_was() {
    let may_write = std::env::var("GOLDEN").is_ok_and(|value| value == "write");
    for version in FORMAT_VERSIONS_READ {
        let mut known = BTreeSet::new();
        for (name, body) in records() {
            let path = folder(version).join(format!("{name}.hex"));
            known.insert(path.clone());
            let now: Bytes = body.encode(Sequence(80)).parts.concat().into();
            if version == FORMAT_VERSION && may_write && !path.exists() {
                write(&path, &body, &now);
            }
            let bytes = read(&path)
                .unwrap_or_else(|| panic!("{} is missing; see the top of this file", path.display()));
            let found = Body::decode(body.kind(), &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(same(&found, &body), "{name} of version {version} means {found:?}, not {body:?}");
            assert!(version != FORMAT_VERSION || bytes == now, "{name} is written as {now:02x?}");
        }
        let files = fs::read_dir(folder(version)).expect("a folder for each version");
        for file in files.map(|file| file.expect("a file").path()) {
            assert!(known.contains(&file), "{} is not tested", file.display());
        }
    }
}

/// The rule for unknown fields: a reader skips them.
#[test]
fn a_field_that_nobody_knows_is_skipped() {
    let bytes = kernel::cbor::to_vec(&Tally { applied: 1, filtered: 2, ignored: 3, dead_letters: 4 });
    assert_eq!(bytes[0], 0xa4, "a map of four fields");
    let mut longer = bytes.clone();
    longer[0] += 1;
    longer.extend([0x18, 99, 0x82, 0x61, b'x', 0xf6]);
    assert_eq!(kernel::cbor::from_slice::<Tally>(&longer), kernel::cbor::from_slice::<Tally>(&bytes));
    let unknown_variant = [0x82, 0x18, 99, 0xa0];
    assert!(kernel::cbor::from_slice::<PipelineState>(&unknown_variant).is_err());
}
