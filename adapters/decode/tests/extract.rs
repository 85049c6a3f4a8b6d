//! The extractor: one outcome per message, provenance, placement, and positions that only increase.

mod common;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use common::{field, message, texts};
use kernel::schema::{ColumnDef, ColumnType, TableDef};
use kernel::*;
use tidemark_decode::*;

fn table(columns: &[(&str, ColumnType, bool)]) -> Arc<TableDef> {
    let column = |(i, (name, column_type, nullable)): (usize, &(&str, ColumnType, bool))| ColumnDef {
        id: ColumnId(i as u32),
        name: name.to_string(),
        column_type: *column_type,
        nullable: *nullable,
        default_sql: None,
    };
    Arc::new(TableDef {
        id: TableId(1),
        name: "t".into(),
        schema_version: 1,
        columns: columns.iter().enumerate().map(column).collect(),
        primary_key: vec![],
        shard_key: vec![ColumnId(0)],
        sort_key: vec![],
        created_at: Sequence(1),
    })
}

fn accounts() -> Arc<TableDef> {
    table(&[
        ("name", ColumnType::Text, false),
        ("balance", ColumnType::Int64, true),
        ("note", ColumnType::Text, false),
    ])
}

fn plan(table: Arc<TableDef>, format: Format) -> ExtractPlan {
    let fields = vec![field("name", ColumnType::Text), field("balance", ColumnType::Int64)];
    let defaults = vec![None, None, Some("new".into())];
    let decode = DecodePlan { format, fields };
    ExtractPlan { table, decode, defaults, shard_count: 4, years: YEARS_ALL, ignores_tombstones: false }
}

fn extractor(plan: ExtractPlan, transform: Option<Box<dyn Transform>>) -> Extractor {
    let start = Position::kafka(10, -1);
    Extractor::new(plan, transform, PipelineId(1), Epoch(3), Generation(2), SplitId(5), start)
        .expect("a sound plan")
}

/// All rows of an extract as text, in order of offset.
fn rows(extract: &Extract) -> Vec<Vec<String>> {
    let mut rows: Vec<_> = extract
        .rows
        .iter()
        .flatten()
        .flat_map(|piece| (0..piece.num_rows()).map(move |row| texts(piece, row)))
        .collect();
    rows.sort_by_key(|row| row.last().expect("provenance").parse::<i64>().expect("an offset"));
    rows
}

fn dead_letters(extract: &Extract) -> Vec<(i64, DeadLetterKind, &str, &str)> {
    extract
        .dead_letters
        .iter()
        .map(|s| {
            let payload = s.payload.as_deref().unwrap_or_default();
            (s.ordinal, s.kind, s.error.sqlstate.as_str(), std::str::from_utf8(payload).expect("text"))
        })
        .collect()
}

#[test]
fn rows_carry_provenance_and_lie_where_their_key_says() {
    let mut extractor = extractor(plan(accounts(), Format::Json), None);
    extractor.push(&[
        message(10, Some(br#"{"name":"a","balance":1}"#)),
        message(12, Some(br#"{"name":"b"}"#)),
        message(13, Some(br#"{"balance":1}"#)),
        message(14, Some(b"nonsense")),
    ]);
    let extract = extractor.take(0).unwrap().unwrap();
    assert_eq!(rows(&extract), [["a", "1", "new", "2", "5", "10"], ["b", "null", "new", "2", "5", "12"]]);
    assert_eq!(
        dead_letters(&extract),
        [
            (13, DeadLetterKind::Constraint, "23502", r#"{"balance":1}"#),
            (14, DeadLetterKind::Decode, "22P02", "nonsense"),
        ]
    );
    assert_eq!((extract.messages, extract.filtered), (4, 0));
    assert_eq!((extract.first.ordinal(), extract.next.ordinal(), extract.next.leader_epoch()), (10, 15, 0));
    assert_eq!((extract.pipeline, extract.epoch, extract.split), (PipelineId(1), Epoch(3), SplitId(5)));
    assert_eq!(extract.source_bytes, 24 + 12 + 13 + 8);
    assert_eq!(extract.rows.len(), 4);
    for (shard, rows) in extract.rows.iter().enumerate() {
        let Some(rows) = rows else { continue };
        assert_eq!(rows.schema(), accounts().stored_schema());
        let mut hashes = Vec::new();
        kernel::route::hash_rows(rows, &[0], &mut hashes);
        assert!(hashes.iter().all(|&hash| kernel::route::shard_of(hash, 4) == shard as u16));
    }
    assert!(extractor.take(0).unwrap().is_none(), "nothing moved since");
}

#[test]
fn offsets_pass_once_and_ranges_follow_one_another() {
    let mut extractor = extractor(plan(accounts(), Format::Json), None);
    let value = Some(br#"{"name":"a","balance":1}"#.as_slice());
    extractor.push(&[message(8, value), message(9, value), message(10, value), message(11, value)]);
    extractor.push(&[message(10, value), message(11, value), message(12, value), message(12, value)]);
    let first = extractor.take(0).unwrap().unwrap();
    assert_eq!((first.messages, first.first.ordinal(), first.next.ordinal()), (3, 10, 13));
    assert_eq!(rows(&first).len(), 3);

    extractor.advance_to(20);
    let hole = extractor.take(0).unwrap().unwrap();
    assert_eq!((hole.messages, hole.first.ordinal(), hole.next.ordinal()), (0, 13, 20));
    assert!(hole.rows.iter().all(Option::is_none));

    extractor.advance_to(15);
    extractor.push(&[message(19, value)]);
    assert!(extractor.take(0).unwrap().is_none(), "never moves back");
}

#[test]
fn a_large_push_is_cut_into_chunks() {
    let mut extractor = extractor(plan(accounts(), Format::Json), None);
    let value = Some(br#"{"name":"a","balance":1}"#.as_slice());
    let messages: Vec<_> = (10..150_010).map(|offset| message(offset, value)).collect();
    extractor.push(&messages);
    assert!(extractor.is_full());
    assert_eq!(extractor.buffered_messages(), 150_000);
    let (mut next, mut count) = (10, 0);
    while let Some(extract) = extractor.take(0).unwrap() {
        assert_eq!(extract.first.ordinal(), next);
        assert!(extract.messages <= 64 << 10);
        next = extract.next.ordinal();
        count += rows(&extract).len();
    }
    assert_eq!((next, count), (150_010, 150_000));
    assert_eq!((extractor.buffered_messages(), extractor.buffered_source_bytes()), (0, 0));
}

#[test]
fn csv_lines_share_their_message_and_its_disposition() {
    let mut extractor =
        extractor(plan(accounts(), Format::Csv(CsvFormat { ignore_lines: 1, ..CsvFormat::default() })), None);
    extractor.push(&[
        message(10, Some(b"h\na\t1\nb\t2\n")),
        message(11, Some(b"h\na\t1\nb\tx\n")),
        message(12, Some(b"h\n")),
        message(13, Some(b"h\nc\t3\n\\N\t4\n")),
    ]);
    let extract = extractor.take(0).unwrap().unwrap();
    assert_eq!(rows(&extract), [["a", "1", "new", "2", "5", "10"], ["b", "2", "new", "2", "5", "10"]]);
    assert_eq!((extract.messages, extract.filtered), (4, 1), "the message without lines is filtered");
    let aside: Vec<_> = dead_letters(&extract).into_iter().map(|(o, k, c, _)| (o, k, c)).collect();
    assert_eq!(aside, [(11, DeadLetterKind::Decode, "22P02"), (13, DeadLetterKind::Constraint, "23502")]);
}

/// `SET balance = balance + 1 WHERE balance <> 0`; fails on negative balances, whole batches at a time, and
/// is broken for the greatest one.
struct Increment {
    calls: u32,
}

impl Transform for Increment {
    fn transform(&mut self, columns: &RecordBatch, now_us: Micros) -> Result<Transformed> {
        self.calls += 1;
        assert_eq!(now_us, 77);
        let balance = columns.column_by_name("@raw").expect("a variable").as_primitive::<Int64Type>();
        let known = balance.iter().flatten();
        if known.clone().any(|b| b == i64::MAX) {
            return Ok(Transformed { columns: columns.clone(), keep: None, errors: vec![] });
        }
        if known.clone().any(|b| b < 0) {
            return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "negative"));
        }
        let sums: Int64Array = balance.iter().map(|b| b.map(|b| b + 1)).collect();
        let keep: BooleanArray = balance.iter().map(|b| b.map(|b| b != 0)).collect();
        let name = columns.column_by_name("name").expect("mapped").clone();
        let schema =
            table(&[("name", ColumnType::Text, true), ("balance", ColumnType::Int64, true)]).user_schema();
        let columns = RecordBatch::try_new(schema, vec![name, Arc::new(sums)]).expect("two columns");
        Ok(Transformed { columns, keep: Some(keep), errors: vec![] })
    }
}

fn incrementing() -> Extractor {
    let table = table(&[("name", ColumnType::Text, false), ("balance", ColumnType::Int64, true)]);
    let mut raw = field("@raw", ColumnType::Int64);
    raw.path = vec!["balance".into()];
    let fields = vec![raw, field("name", ColumnType::Text)];
    let decode = DecodePlan { format: Format::Json, fields };
    extractor(
        ExtractPlan {
            table,
            decode,
            defaults: vec![],
            shard_count: 3,
            years: YEARS_ALL,
            ignores_tombstones: false,
        },
        Some(Box::new(Increment { calls: 0 })),
    )
}

#[test]
fn set_and_where_run_and_bad_rows_are_found() {
    let mut extractor = incrementing();
    let values: Vec<String> = (0..100)
        .map(|i| match i {
            17 | 63 => format!(r#"{{"name":"n{i}","balance":-1}}"#),
            40 => r#"{"balance":5}"#.to_string(),
            41 => r#"{"balance":0}"#.to_string(),
            42 => r#"{"name":"unknown","balance":null}"#.to_string(),
            43 => "bad".to_string(),
            _ => format!(r#"{{"name":"n{i}","balance":{}}}"#, i % 10),
        })
        .collect();
    let messages: Vec<_> =
        values.iter().enumerate().map(|(i, v)| message(100 + i as i64, Some(v.as_bytes()))).collect();
    extractor.push(&messages);
    let extract = extractor.take(77).unwrap().unwrap();
    let aside: Vec<_> = dead_letters(&extract).into_iter().map(|(o, k, c, _)| (o, k, c)).collect();
    assert_eq!(
        aside,
        [
            (117, DeadLetterKind::Expression, "22003"),
            (140, DeadLetterKind::Constraint, "23502"),
            (143, DeadLetterKind::Decode, "22P02"),
            (163, DeadLetterKind::Expression, "22003"),
        ]
    );
    // 10 with balance 0 (one of them is message 40, replaced), message 41 and the unknown balance are filtered.
    assert_eq!(extract.filtered, 9 + 1 + 1);
    let rows = rows(&extract);
    assert_eq!(rows.len() as u64, extract.messages - extract.filtered - aside.len() as u64);
    for row in rows {
        let offset: i64 = row[4].parse().unwrap();
        assert_eq!(
            row,
            [
                format!("n{}", offset - 100),
                (offset % 10 + 1).to_string(),
                "2".into(),
                "5".into(),
                row[4].clone()
            ]
        );
    }
}

#[test]
fn columns_that_are_not_the_tables_come_out_as_an_error() {
    let mut extractor = incrementing();
    extractor.push(&[message(10, Some(br#"{"name":"a","balance":9223372036854775807}"#))]);
    assert_eq!(extractor.take(77).unwrap_err().sqlstate, SqlState::INTERNAL_ERROR);
}

#[test]
fn plans_that_do_not_fit_the_table_are_refused() {
    let start = Position::kafka(0, -1);
    let kind = |plan| {
        Extractor::new(plan, None, PipelineId(1), Epoch(1), Generation(1), SplitId(0), start)
            .err()
            .map(|error| error.sqlstate)
    };
    let sound = || plan(accounts(), Format::Json);
    assert_eq!(kind(sound()), None);
    let mut unknown = sound();
    unknown.decode.fields[0].name = "nobody".into();
    assert_eq!(kind(unknown), Some(SqlState::UNDEFINED_COLUMN));
    let mut twice = sound();
    twice.decode.fields[1].name = "name".into();
    assert_eq!(kind(twice), Some(SqlState::INVALID_PARAMETER_VALUE));
    let mut other_type = sound();
    other_type.decode.fields[1].column_type = ColumnType::Text;
    assert_eq!(kind(other_type), Some(SqlState::INVALID_PARAMETER_VALUE));
    let mut default = sound();
    default.defaults = vec![None, Some("x".into()), None];
    default.decode.fields.truncate(1);
    assert_eq!(kind(default), Some(SqlState::INVALID_PARAMETER_VALUE));
}

#[test]
fn times_of_other_years_are_set_aside_whatever_made_them() {
    let at = table(&[
        ("id", ColumnType::Int64, true),
        ("at", ColumnType::TimestampTz, true),
        ("day", ColumnType::Date, true),
    ]);
    let fields = vec![
        field("id", ColumnType::Int64),
        FieldMapping { unit: Some(TimeUnit::Seconds), ..field("at", ColumnType::TimestampTz) },
        field("day", ColumnType::Date),
    ];
    let plan = |years| ExtractPlan {
        table: at.clone(),
        decode: DecodePlan { format: Format::Json, fields: fields.clone() },
        defaults: vec![],
        shard_count: 1,
        years,
        ignores_tombstones: false,
    };
    let messages = [
        r#"{"id":1,"at":1700000000,"day":"2200-12-31"}"#,
        r#"{"id":2,"at":1700000000123,"day":null}"#,
        r#"{"id":3,"at":null,"day":"1899-12-31"}"#,
        r#"{"id":4,"at":"1900-01-01","day":"9999-12-31"}"#,
        r#"{"id":5,"day":"1900-01-01"}"#,
    ];
    let read = |years| {
        let mut extractor = extractor(plan(years), None);
        let raw: Vec<_> = (10..).zip(messages).map(|(at, text)| message(at, Some(text.as_bytes()))).collect();
        extractor.push(&raw);
        let extract = extractor.take(0).unwrap().unwrap();
        let told = extract.dead_letters.iter().map(|s| (s.ordinal, s.error.clone()));
        (rows(&extract).len(), told.collect::<Vec<_>>())
    };
    let (kept, told) = read(YEARS_DEFAULT);
    assert_eq!((kept, told.iter().map(|(at, _)| *at).collect::<Vec<_>>()), (2, vec![11, 12, 13]));
    assert!(told.iter().all(|(_, error)| error.sqlstate == "22008"), "{told:?}");
    let years = ["the year 55840 is", "the year 1899 is", "the year 9999 is"];
    for ((_, error), year) in told.iter().zip(years) {
        let text = &error.message;
        assert!(text.contains(year) && text.contains("1900 to 2200") && text.contains("UNIT"), "{text}");
    }
    assert_eq!(read(1..=9999).1.len(), 1);
    // The value under a null has no year.
    assert_eq!(read(1990..=60_000).1.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [12, 13, 14]);
}

#[test]
fn tombstones_are_left_out_where_that_is_said() {
    for (ignores_tombstones, expected) in [(true, (1, 0)), (false, (0, 1))] {
        let plan = ExtractPlan { ignores_tombstones, ..plan(accounts(), Format::Json) };
        let mut extractor = extractor(plan, None);
        extractor.push(&[message(10, None), message(11, Some(br#"{"name":"a","balance":1}"#))]);
        let extract = extractor.take(0).unwrap().unwrap();
        assert_eq!((extract.messages, rows(&extract).len()), (2, 1));
        assert_eq!((extract.filtered, extract.dead_letters.len()), expected);
    }
}

/// An error of one row affects that row only, whatever the error.
#[test]
fn one_row_that_cannot_be_made_leaves_the_others() {
    struct Picky;
    impl Transform for Picky {
        fn transform(&mut self, columns: &RecordBatch, _: Micros) -> Result<Transformed> {
            let balances = columns.column(1).as_primitive::<Int64Type>();
            match balances.iter().flatten().find(|balance| *balance > 2) {
                Some(3) => Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too large")),
                Some(4) => Err(Error::new(SqlState::OUT_OF_MEMORY, "too much")),
                Some(_) => Err(Error::new(SqlState::INTERNAL_ERROR, "a function that has lost its way")),
                None => {
                    let notes = Arc::new(columns.column(0).clone());
                    let all =
                        vec![columns.column(0).clone(), columns.column(1).clone(), notes.as_ref().clone()];
                    let columns = RecordBatch::try_new(accounts().user_schema(), all).unwrap();
                    Ok(Transformed { columns, keep: None, errors: vec![] })
                }
            }
        }
    }
    let mut extractor = extractor(plan(accounts(), Format::Json), Some(Box::new(Picky)));
    let texts: Vec<String> = (0..8).map(|n| format!(r#"{{"name":"n{n}","balance":{}}}"#, n % 6)).collect();
    let raw: Vec<_> = (10..).zip(&texts).map(|(at, text)| message(at, Some(text.as_bytes()))).collect();
    extractor.push(&raw);
    let extract = extractor.take(0).unwrap().unwrap();
    assert_eq!(rows(&extract).len(), 5);
    let told: Vec<_> = extract.dead_letters.iter().map(|s| (s.ordinal, s.error.sqlstate.as_str())).collect();
    assert_eq!(told, [(13, "54000"), (14, "53200"), (15, "XX000")]);
    // Each with its message.
    for (aside, text) in extract.dead_letters.iter().zip(&texts[3..]) {
        assert_eq!(aside.payload.as_deref(), Some(text.as_bytes()));
    }
    assert_eq!(extract.originals, None, "this table takes what it is given");
}

#[test]
fn messages_are_kept_for_a_table_that_may_refuse_them() {
    let keyed = TableDef { primary_key: vec![ColumnId(0)], ..(*accounts()).clone() };
    let mut extractor = extractor(plan(Arc::new(keyed), Format::Json), None);
    let texts = [r#"{"name":"a"}"#, "bad", r#"{"name":"c","balance":3}"#];
    let raw: Vec<_> = (10..).zip(texts).map(|(at, text)| message(at, Some(text.as_bytes()))).collect();
    extractor.push(&raw[..1]);
    extractor.push(&raw);
    extractor.push(&[message(15, None)]);
    let originals = extractor.take(0).unwrap().unwrap().originals.expect("a key may be there already");
    let at = |offset| originals.at(offset).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    assert_eq!(
        [10, 11, 12, 13, 15].map(at),
        [Some(texts[0]), Some("bad"), Some(texts[2]), None, Some("")].map(|t| t.map(String::from))
    );
}

/// Rows that a columnar source hands in give the same extracts as messages of the same rows.
#[test]
fn columns_are_extracted_as_messages_are() {
    let values: Vec<(String, Option<i64>)> =
        (0..10).map(|n| (format!("name {}", n % 3), (n % 4 > 0).then_some(n))).collect();
    let texts: Vec<String> = values
        .iter()
        .map(|(name, balance)| match balance {
            Some(balance) => format!(r#"{{"name":"{name}","balance":{balance}}}"#),
            None => format!(r#"{{"name":"{name}","balance":null}}"#),
        })
        .collect();
    let messages: Vec<_> = (10..).zip(&texts).map(|(at, text)| message(at, Some(text.as_bytes()))).collect();
    let mut of_messages = extractor(plan(accounts(), Format::Json), None);
    of_messages.push(&messages);
    let expected = of_messages.take(0).unwrap().expect("a range");

    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ignored", Arc::new(Int64Array::from(vec![1; 10]))),
        ("balance", Arc::new(Int64Array::from_iter(values.iter().map(|(_, balance)| *balance)))),
        ("name", Arc::new(StringArray::from_iter_values(values.iter().map(|(name, _)| name)))),
    ];
    let batch = ColumnBatch {
        first_ordinal: 10,
        mark: Mark::LeaderEpoch(0),
        columns: RecordBatch::try_from_iter(columns).unwrap(),
        source_bytes: expected.source_bytes,
    };
    let mut of_columns = extractor(plan(accounts(), Format::Json), None);
    of_columns.push_columns(&batch).unwrap();
    // A repeated delivery, and one that overlaps, add nothing.
    of_columns.push_columns(&batch).unwrap();
    let found = of_columns.take(0).unwrap().expect("a range");
    assert_eq!(of_columns.take(0).unwrap().map(|extract| extract.messages), None);
    assert_eq!((found.first, found.next), (expected.first, expected.next));
    assert_eq!((found.messages, found.filtered), (expected.messages, expected.filtered));
    assert_eq!((found.rows, found.source_bytes), (expected.rows, expected.source_bytes));
    let dead = |extract: &[kernel::DeadLetter]| -> Vec<_> {
        extract.iter().map(|letter| (letter.ordinal, letter.error.clone())).collect()
    };
    assert_eq!(dead(&found.dead_letters), dead(&expected.dead_letters));
    assert!(found.dead_letters.iter().all(|letter| letter.payload.is_none()), "there is no message");

    let unfit = |columns: Vec<(&str, ArrayRef)>| {
        let columns = RecordBatch::try_from_iter(columns).unwrap();
        let batch = ColumnBatch { columns, ..batch.clone() };
        extractor(plan(accounts(), Format::Json), None).push_columns(&batch).unwrap_err().message
    };
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    assert!(unfit(vec![("name", names.clone())]).contains("no column \"balance\""));
    assert!(
        unfit(vec![("name", names.clone()), ("balance", names)])
            .contains("column \"balance\" of the source is Utf8")
    );
}
