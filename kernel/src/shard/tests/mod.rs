//! Scenarios of one shard; `model` compares it with a simple model.

mod model;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, Int32Array, Int64Array, RecordBatch, StringArray};

use super::*;
use crate::error::SqlState;
use crate::schema::{ColumnDef, ColumnType};

const T: TableId = TableId(1);

fn accounts(keyed: bool) -> Arc<TableDef> {
    let column = |id: u32, name: &str, column_type, nullable| ColumnDef {
        id: ColumnId(id),
        name: name.into(),
        column_type,
        nullable,
        default_sql: None,
    };
    Arc::new(TableDef {
        id: T,
        name: "accounts".into(),
        schema_version: 1,
        columns: vec![
            column(0, "name", ColumnType::Text, false),
            column(1, "balance", ColumnType::Int64, true),
        ],
        primary_key: if keyed { vec![ColumnId(0)] } else { vec![] },
        shard_key: vec![],
        sort_key: vec![],
        created_at: Sequence(1),
    })
}

fn rows(values: &[(&str, Option<i64>)], first_offset: i64) -> RecordBatch {
    let n = values.len();
    RecordBatch::try_new(
        accounts(true).stored_schema(),
        vec![
            Arc::new(StringArray::from_iter_values(values.iter().map(|v| v.0))),
            Arc::new(Int64Array::from_iter(values.iter().map(|v| v.1))),
            Arc::new(Int64Array::from(vec![1; n])),
            Arc::new(Int32Array::from(vec![0; n])),
            Arc::new(Int64Array::from_iter_values(first_offset..first_offset + n as i64)),
        ],
    )
    .unwrap()
}

fn stage(shard: &mut Shard, sequence: u64, work: Vec<Work>) -> (Bytes, Counts, Vec<Rejected>) {
    match shard.handle(ShardCommand::Stage { sequence: Sequence(sequence), work }) {
        ShardReply::Staged { outcome, counts, rejected, .. } => (outcome, counts, rejected),
        other => panic!("{other:?}"),
    }
}

fn upsert(rows: RecordBatch, on_duplicate: OnDuplicate) -> Work {
    Work::Rows { table: T, on_duplicate, deletes: vec![], rows: vec![rows] }
}

fn publish(shard: &mut Shard, through: u64) -> Arc<ShardView> {
    match shard.handle(ShardCommand::Publish { through: Sequence(through) }) {
        ShardReply::Published { view, .. } => view,
        other => panic!("{other:?}"),
    }
}

fn contents(view: &ShardView) -> Vec<(String, Option<i64>)> {
    let Some(table) = view.tables.get(&T) else {
        return vec![];
    };
    let mut found = vec![];
    for chunk in &table.chunks {
        for row in 0..chunk.rows.num_rows() {
            if !chunk.deleted.as_ref().is_some_and(|d| d.value(row)) {
                let balance = chunk.rows.column(1).as_primitive::<Int64Type>();
                found.push((
                    chunk.rows.column(0).as_string::<i32>().value(row).to_string(),
                    balance.is_valid(row).then(|| balance.value(row)),
                ));
            }
        }
    }
    assert_eq!(table.live_rows, found.len() as u64);
    found.sort();
    found
}

fn owned(values: &[(&str, Option<i64>)]) -> Vec<(String, Option<i64>)> {
    values.iter().map(|(k, v)| (k.to_string(), *v)).collect()
}

#[test]
fn appended_rows_are_seen_after_publish_only() {
    let mut shard = Shard::new(ShardId(0), 1);
    stage(&mut shard, 1, vec![Work::CreateTable(accounts(false))]);
    let (outcome, counts, _) =
        stage(&mut shard, 2, vec![Work::append(T, rows(&[("a", Some(1)), ("a", None)], 5))]);
    assert_eq!(counts, Counts { inserted: 2, ..Counts::default() });
    let view = publish(&mut shard, 1);
    assert_eq!(contents(&view), []);
    assert_eq!(contents(&publish(&mut shard, 2)), owned(&[("a", None), ("a", Some(1))]));
    let mut replica = Shard::new(ShardId(0), 1);
    let created = CatalogChange::TableCreated(accounts(false).as_ref().clone());
    replica.replay(Sequence(1), &[created], &[]).unwrap();
    replica.replay(Sequence(2), &[], &[outcome]).unwrap();
    assert_eq!(contents(&replica.recovered()), owned(&[("a", None), ("a", Some(1))]));
}

#[test]
fn rules_for_keys_that_are_there() {
    let mut shard = Shard::new(ShardId(0), 1);
    stage(&mut shard, 1, vec![Work::CreateTable(accounts(true))]);
    let (_, counts, rejected) = stage(
        &mut shard,
        2,
        vec![upsert(rows(&[("a", Some(1)), ("b", Some(2)), ("a", Some(3))], 10), OnDuplicate::Reject)],
    );
    assert_eq!((counts.inserted, rejected.len()), (2, 1));
    assert_eq!(rejected[0].error.sqlstate, SqlState::UNIQUE_VIOLATION);
    assert_eq!(rejected[0].origin, Some((SplitId(0), 12)));
    assert_eq!(rejected[0].row_text, r#"{"name":"a","balance":3}"#);
    let (_, counts, _) = stage(
        &mut shard,
        3,
        vec![upsert(rows(&[("a", Some(5)), ("c", Some(6)), ("c", Some(7))], 20), OnDuplicate::Ignore)],
    );
    assert_eq!(counts, Counts { inserted: 1, ignored: 2, ..Counts::default() });
    let (_, counts, _) = stage(
        &mut shard,
        4,
        vec![upsert(rows(&[("b", Some(8)), ("d", Some(9)), ("d", None)], 20), OnDuplicate::Replace)],
    );
    assert_eq!(counts, Counts { inserted: 1, updated: 2, ..Counts::default() });
    let expected = owned(&[("a", Some(1)), ("b", Some(8)), ("c", Some(6)), ("d", None)]);
    assert_eq!(contents(&shard.view_tip()), expected);
    assert_eq!(contents(&publish(&mut shard, 4)), expected);
}

#[test]
fn abandon_restores_what_was() {
    let mut shard = Shard::new(ShardId(0), 1);
    stage(&mut shard, 1, vec![Work::CreateTable(accounts(true))]);
    stage(&mut shard, 2, vec![upsert(rows(&[("a", Some(1)), ("b", Some(2))], 0), OnDuplicate::Reject)]);
    publish(&mut shard, 2);
    stage(&mut shard, 3, vec![upsert(rows(&[("a", Some(7)), ("c", Some(3))], 2), OnDuplicate::Replace)]);
    stage(&mut shard, 4, vec![Work::TruncateTable(T)]);
    stage(&mut shard, 5, vec![upsert(rows(&[("a", Some(9))], 4), OnDuplicate::Reject)]);
    assert_eq!(contents(&shard.view_tip()), owned(&[("a", Some(9))]));
    shard.handle(ShardCommand::Abandon { from: Sequence(4) });
    assert_eq!(contents(&shard.view_tip()), owned(&[("a", Some(7)), ("b", Some(2)), ("c", Some(3))]));
    shard.handle(ShardCommand::Abandon { from: Sequence(3) });
    assert_eq!(contents(&shard.view_tip()), owned(&[("a", Some(1)), ("b", Some(2))]));
    let (_, counts, rejected) =
        stage(&mut shard, 3, vec![upsert(rows(&[("a", None), ("c", None)], 2), OnDuplicate::Reject)]);
    assert_eq!((counts.inserted, rejected.len()), (1, 1));
}

fn add_up() -> OnDuplicate {
    use crate::expr::{Arithmetic, Expr, Update};
    let sum = Expr::Arithmetic(
        Arithmetic::Add,
        Box::new(Expr::Stored(ColumnId(1))),
        Box::new(Expr::Incoming(ColumnId(1))),
    );
    OnDuplicate::Update(Update { assignments: vec![(ColumnId(1), sum)], condition: None })
}

#[test]
fn a_hundred_thousand_updates_of_one_key_are_one_post_image() {
    let mut shard = Shard::new(ShardId(0), 1);
    stage(&mut shard, 1, vec![Work::CreateTable(accounts(true))]);
    let payments: Vec<(&str, Option<i64>)> = (0..100_000).map(|i| ("a", Some(i))).collect();
    let (outcome, counts, rejected) = stage(&mut shard, 2, vec![upsert(rows(&payments, 0), add_up())]);
    assert_eq!(counts, Counts { inserted: 1, updated: 99_999, ..Counts::default() });
    assert!(rejected.is_empty() && outcome.len() < 1000, "{} bytes", outcome.len());
    let view = publish(&mut shard, 2);
    assert_eq!(contents(&view), owned(&[("a", Some(99_999 * 50_000))]));
    let last = view.tables[&T].chunks[0].rows.column(4).as_primitive::<Int64Type>().value(0);
    assert_eq!(last, 99_999, "provenance is that of the last row applied");
}

#[test]
fn rows_of_many_bytes_are_taken_in_parts_and_a_row_that_is_too_long_is_refused() {
    use crate::expr::{Expr, Update};
    let mut shard = Shard::new(ShardId(0), 1);
    shard.limits.step_bytes_max = 1000;
    stage(&mut shard, 1, vec![Work::CreateTable(accounts(true))]);
    let names: Vec<String> = (0..20).map(|i| format!("{i:0200}")).collect();
    let payments: Vec<(&str, Option<i64>)> = names.iter().map(|name| (name.as_str(), Some(1))).collect();
    let (outcome, counts, _) = stage(&mut shard, 2, vec![upsert(rows(&payments, 0), OnDuplicate::Reject)]);
    assert_eq!(counts, Counts { inserted: 20, ..Counts::default() });
    assert!(columns::pieces(&outcome).unwrap().len() >= 5);
    // Stored rows count too: keys of 200 bytes, gathered for updates.
    let (_, counts, _) = stage(&mut shard, 3, vec![upsert(rows(&payments, 20), add_up())]);
    assert_eq!(counts, Counts { updated: 20, ..Counts::default() });
    let doubled: Vec<(&str, Option<i64>)> = names.iter().map(|name| (name.as_str(), Some(2))).collect();
    assert_eq!(contents(&publish(&mut shard, 3)), owned(&doubled));
    let long = "x".repeat(5000);
    let (_, counts, rejected) = stage(
        &mut shard,
        4,
        vec![upsert(rows(&[("a", Some(1)), (&long, Some(1)), ("b", Some(1))], 40), OnDuplicate::Reject)],
    );
    assert_eq!((counts.inserted, rejected.len()), (2, 1));
    assert_eq!(
        (rejected[0].error.sqlstate, rejected[0].origin),
        (SqlState::PROGRAM_LIMIT_EXCEEDED, Some((SplitId(0), 41)))
    );
    let keep = Update { assignments: vec![(ColumnId(1), Expr::Stored(ColumnId(1)))], condition: None };
    let (_, counts, rejected) =
        stage(&mut shard, 5, vec![upsert(rows(&[("a", None), ("b", None)], 50), OnDuplicate::Update(keep))]);
    assert_eq!((counts.updated, rejected.len()), (2, 0));
}

#[test]
fn a_row_that_overflows_is_refused_and_no_other() {
    let mut shard = Shard::new(ShardId(0), 1);
    stage(&mut shard, 1, vec![Work::CreateTable(accounts(true))]);
    let payments = [
        ("a", Some(i64::MAX)),
        ("b", Some(1)),
        ("a", Some(1)),
        ("a", Some(-5)),
        ("b", Some(1)),
        ("a", Some(5)),
    ];
    let (_, counts, rejected) = stage(&mut shard, 2, vec![upsert(rows(&payments, 100), add_up())]);
    assert_eq!(counts, Counts { inserted: 2, updated: 3, ..Counts::default() });
    assert_eq!(rejected.len(), 1);
    assert_eq!(
        (rejected[0].error.sqlstate, rejected[0].origin),
        (SqlState::NUMERIC_VALUE_OUT_OF_RANGE, Some((SplitId(0), 102)))
    );
    assert_eq!(contents(&publish(&mut shard, 2)), owned(&[("a", Some(i64::MAX)), ("b", Some(2))]));
}

#[test]
fn an_outcome_of_many_rows_is_several_pieces() {
    let mut shard = Shard::new(ShardId(0), 1);
    stage(&mut shard, 1, vec![Work::CreateTable(accounts(true))]);
    let names: Vec<String> = (0..150_000).map(|i| format!("k{i}")).collect();
    let all: Vec<(&str, Option<i64>)> = names.iter().map(|n| (n.as_str(), Some(1))).collect();
    let (first, _, _) = stage(&mut shard, 2, vec![upsert(rows(&all, 0), add_up())]);
    let (second, counts, _) = stage(&mut shard, 3, vec![upsert(rows(&all, 200_000), add_up())]);
    assert_eq!(counts.updated, 150_000);
    assert_eq!(columns::pieces(&second).unwrap().len(), 3);
    shard.handle(ShardCommand::Abandon { from: Sequence(3) });
    let (again, _, _) = stage(&mut shard, 3, vec![upsert(rows(&all, 200_000), add_up())]);
    assert_eq!(again, second, "an abandoned record leaves nothing behind");
    let view = publish(&mut shard, 3);
    let mut replica = Shard::new(ShardId(0), 1);
    let created = CatalogChange::TableCreated(accounts(true).as_ref().clone());
    replica.replay(Sequence(1), &[created], &[]).unwrap();
    replica.replay(Sequence(2), &[], &[first]).unwrap();
    replica.replay(Sequence(3), &[], &[second]).unwrap();
    let (live, replayed) = (contents(&view), contents(&replica.recovered()));
    assert_eq!(live.len(), 150_000);
    assert!(live.iter().all(|(_, balance)| *balance == Some(2)) && live == replayed);
}

#[test]
fn rows_that_are_updated_all_the_time_take_bounded_room() {
    let mut shard = Shard::new(ShardId(0), 1);
    stage(&mut shard, 1, vec![Work::CreateTable(accounts(true))]);
    let names: Vec<String> = (0..1000).map(|i| format!("account {i}")).collect();
    let all: Vec<(&str, Option<i64>)> = names.iter().map(|n| (n.as_str(), Some(1))).collect();
    let mut first = 0;
    for sequence in 2..300 {
        // A different part of the keys each time.
        let part: Vec<_> = all.iter().copied().skip(sequence as usize % 7).step_by(3).collect();
        stage(&mut shard, sequence, vec![upsert(rows(&part, 0), add_up())]);
        let view = publish(&mut shard, sequence);
        let table = &view.tables[&T];
        if sequence == 20 {
            first = table.bytes;
        }
        if sequence > 20 {
            assert!(
                table.bytes < 2 * first,
                "{} bytes after {sequence} batches, {first} before",
                table.bytes
            );
            assert!(table.chunks.len() <= 24, "{} chunks", table.chunks.len());
        }
    }
}

#[test]
fn an_outcome_that_contradicts_the_state_is_corruption() {
    let table = accounts(true);
    let created = [CatalogChange::TableCreated(table.as_ref().clone())];
    let outcome = |deletes: &[RowId], rows: Option<&RecordBatch>| {
        let mut out = Vec::new();
        columns::encode(&table, deletes, rows, &mut out);
        vec![out.into()]
    };
    let id = |sequence, ordinal| RowId { sequence: Sequence(sequence), ordinal };
    let one = rows(&[("a", Some(1))], 0);
    let cases: [(&str, Vec<Bytes>); 6] = [
        ("a row that does not exist is deleted", outcome(&[id(1, 7)], None)),
        ("a row is deleted twice", outcome(&[id(1, 0), id(1, 0)], None)),
        ("a key occurs twice", outcome(&[], Some(&one))),
        ("a key is added twice", outcome(&[], Some(&rows(&[("b", None), ("b", None)], 0)))),
        (
            "a row belongs to another shard",
            outcome(&[], Some(&rows(&[("x", None), ("y", None), ("z", None)], 0))),
        ),
        ("rows of no table", {
            let other = TableDef { id: TableId(9), ..table.as_ref().clone() };
            let mut out = Vec::new();
            columns::encode(&other, &[], Some(&one), &mut out);
            vec![out.into()]
        }),
    ];
    for (what, bad) in cases {
        let shards = if what.contains("another shard") { 64 } else { 1 };
        let mut shard = Shard::new(ShardId(0), shards);
        let start = if shards == 1 { outcome(&[], Some(&one)) } else { vec![] };
        shard.replay(Sequence(1), &created, &start).unwrap();
        let error = shard.replay(Sequence(2), &[], &bad).expect_err(what);
        assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED, "{what}");
    }
    let mut shard = Shard::new(ShardId(0), 1);
    shard.replay(Sequence(3), &created, &[]).unwrap();
    assert!(shard.replay(Sequence(3), &[], &[]).is_err(), "records go on");
    assert!(shard.replay(Sequence(4), &created, &[]).is_err(), "a table is created once");
}

#[test]
fn a_program_that_does_not_fit_its_table_refuses_rows_and_nothing_else() {
    use crate::expr::{Expr, Update};
    let mut shard = Shard::new(ShardId(0), 1);
    stage(&mut shard, 1, vec![Work::CreateTable(accounts(true))]);
    for assignment in
        [(0, Expr::Incoming(ColumnId(0))), (9, Expr::Incoming(ColumnId(0))), (1, Expr::Incoming(ColumnId(0)))]
    {
        let program = OnDuplicate::Update(Update {
            assignments: vec![(ColumnId(assignment.0), assignment.1)],
            condition: None,
        });
        let (outcome, counts, rejected) =
            stage(&mut shard, 2, vec![upsert(rows(&[("a", Some(1)), ("a", None)], 0), program)]);
        assert!(outcome.is_empty() && counts == Counts::default());
        assert!(rejected.len() == 2 && rejected[0].error.sqlstate == SqlState::INVALID_PARAMETER_VALUE);
    }
}
