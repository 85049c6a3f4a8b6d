//! The data plane of the kernel: route rows to shards, stage them (append and upsert), encode and decode a shard's piece,
//! replay it. Times are CPU times, a batch of 10,000 rows at a time unless said otherwise.

mod cpu_time;

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch};
use arrow_array::{StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use cpu_time::CpuTime;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernel::expr::{Arithmetic, Expr, OnDuplicate, Update};
use kernel::message::{ShardCommand, ShardReply, Work};
use kernel::schema::{CatalogChange, ColumnDef, ColumnType, TableDef};
use kernel::{ColumnId, Sequence, Shard, ShardId, TableId, columns, route};

const ROWS: usize = 10_000;
const KEYS: [usize; 3] = [100_000, 1_000_000, 10_000_000];

fn column(id: usize, name: &str, column_type: ColumnType, nullable: bool) -> ColumnDef {
    ColumnDef { id: ColumnId(id as u32), name: name.into(), column_type, nullable, default_sql: None }
}

fn table(columns: Vec<ColumnDef>, primary_key: Vec<ColumnId>, shard_key: Vec<ColumnId>) -> Arc<TableDef> {
    Arc::new(TableDef {
        id: TableId(1),
        name: "bench".into(),
        schema_version: 1,
        columns,
        primary_key,
        shard_key,
        sort_key: vec![],
        created_at: Sequence(1),
    })
}

/// Eight columns, as an event has them.
fn events() -> Arc<TableDef> {
    let columns = [
        ("id", ColumnType::Int64),
        ("account", ColumnType::Text),
        ("amount", ColumnType::Decimal { precision: 18, scale: 2 }),
        ("currency", ColumnType::Text),
        ("kind", ColumnType::Int32),
        ("score", ColumnType::Float64),
        ("at", ColumnType::TimestampTz),
        ("note", ColumnType::Text),
    ];
    let columns = columns.into_iter().enumerate().map(|(i, (n, t))| column(i, n, t, true)).collect();
    table(columns, vec![], vec![ColumnId(1)])
}

/// A generator with the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn provenance(rows: usize, first_offset: i64) -> [ArrayRef; 3] {
    let offsets = first_offset..first_offset + rows as i64;
    [
        Arc::new(Int64Array::from(vec![1; rows])),
        Arc::new(Int32Array::from(vec![3; rows])),
        Arc::new(Int64Array::from_iter_values(offsets)),
    ]
}

fn event_rows(rows: usize) -> RecordBatch {
    let mut n = Numbers(1);
    let mut draw = |below: u64| -> Vec<u64> { (0..rows).map(|_| n.next() % below).collect() };
    let texts = |values: Vec<u64>, text: fn(u64) -> String| {
        Arc::new(StringArray::from_iter_values(values.into_iter().map(text))) as ArrayRef
    };
    let amounts = Decimal128Array::from_iter_values(draw(1_000_000).into_iter().map(i128::from));
    let times = draw(1_000_000_000).into_iter().map(|v| 1_790_000_000_000_000 + v as i64);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..rows as i64)),
        texts(draw(100_000), |v| format!("account-{v:06}")),
        Arc::new(amounts.with_precision_and_scale(18, 2).expect("fits")),
        texts(draw(4), |v| ["EUR", "USD", "GBP", "CHF"][v as usize].to_string()),
        Arc::new(Int32Array::from_iter_values(draw(20).into_iter().map(|v| v as i32))),
        Arc::new(Float64Array::from_iter_values(draw(1 << 52).into_iter().map(|v| v as f64 / 1e6))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("+00:00")),
        texts(draw(1000), |v| format!("note number {v}")),
    ];
    columns.extend(provenance(rows, 5_000_000));
    RecordBatch::try_new(events().stored_schema(), columns).expect("rows of the table")
}

fn accounts(text_key: bool) -> Arc<TableDef> {
    let key = if text_key { ColumnType::Text } else { ColumnType::Int64 };
    let columns = vec![column(0, "name", key, false), column(1, "balance", ColumnType::Int64, true)];
    table(columns, vec![ColumnId(0)], vec![])
}

fn account_rows(table: &TableDef, keys: impl Iterator<Item = u64>) -> RecordBatch {
    let keys: Vec<u64> = keys.collect();
    let name: ArrayRef = match table.columns[0].column_type {
        ColumnType::Text => {
            Arc::new(StringArray::from_iter_values(keys.iter().map(|k| format!("account-{k:08}"))))
        }
        _ => Arc::new(Int64Array::from_iter_values(keys.iter().map(|k| *k as i64))),
    };
    let balance = Arc::new(Int64Array::from_iter_values(keys.iter().map(|k| (*k % 1000) as i64)));
    let mut columns: Vec<ArrayRef> = vec![name, balance];
    columns.extend(provenance(keys.len(), 0));
    RecordBatch::try_new(table.stored_schema(), columns).expect("rows of the table")
}

fn add_up() -> OnDuplicate {
    let sum = Expr::Arithmetic(
        Arithmetic::Add,
        Box::new(Expr::Stored(ColumnId(1))),
        Box::new(Expr::Incoming(ColumnId(1))),
    );
    OnDuplicate::Update(Update { assignments: vec![(ColumnId(1), sum)], condition: None })
}

fn work(on_duplicate: OnDuplicate, rows: RecordBatch) -> Vec<Work> {
    vec![Work::Rows { table: TableId(1), on_duplicate, deletes: vec![], rows: vec![rows] }]
}

/// One shard that holds one table, and the number of its last record.
struct Store {
    shard: Shard,
    sequence: u64,
}

impl Store {
    fn new(table: &Arc<TableDef>) -> Store {
        let mut store = Store { shard: Shard::new(ShardId(0), 1), sequence: 0 };
        store.commit(vec![Work::CreateTable(Arc::clone(table))]);
        store
    }

    fn stage(&mut self, work: Vec<Work>) -> Bytes {
        self.sequence += 1;
        match self.shard.handle(ShardCommand::Stage { sequence: Sequence(self.sequence), work }) {
            ShardReply::Staged { outcome, rejected, .. } => {
                assert!(rejected.is_empty());
                outcome
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn publish(&mut self) {
        let through = Sequence(self.sequence);
        black_box(self.shard.handle(ShardCommand::Publish { through }));
    }

    /// A batch from its rows to its view.
    fn commit(&mut self, work: Vec<Work>) -> Bytes {
        let piece = self.stage(work);
        self.publish();
        piece
    }
}

fn routing(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("route to 8 shards");
    group.throughput(Throughput::Elements(ROWS as u64));
    let rows = event_rows(ROWS);
    group.bench_function("8 columns, text key", |b| b.iter(|| route::route(&events(), &rows, 8)));
    let table = accounts(false);
    let mut n = Numbers(7);
    let rows = account_rows(&table, (0..ROWS).map(|_| n.next() % 1_000_000));
    group.bench_function("2 columns, bigint key", |b| b.iter(|| route::route(&table, &rows, 8)));
    let mut hashes = Vec::new();
    group.bench_function("hash of a bigint key", |b| b.iter(|| route::hash_rows(&rows, &[0], &mut hashes)));
    group.finish();
}

fn append(c: &mut Criterion<CpuTime>) {
    let table = events();
    let rows = event_rows(ROWS);
    let mut group = c.benchmark_group("append, 8 columns");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("stage", |b| {
        let append = || (Store::new(&table), work(OnDuplicate::Reject, rows.clone()));
        b.iter_batched(append, |(mut store, work)| (store.stage(work), store), BatchSize::SmallInput);
    });
    group.bench_function("stage, publish, merge; in 16 batches", |b| {
        b.iter_batched(
            || Store::new(&table),
            |mut store| {
                for batch in 0..16 {
                    let part = rows.slice(batch * ROWS / 16, ROWS / 16);
                    store.commit(work(OnDuplicate::Reject, part));
                }
                store
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn pieces(c: &mut Criterion<CpuTime>) {
    let table = events();
    let rows = event_rows(ROWS);
    let mut group = c.benchmark_group("piece, 8 columns");
    group.throughput(Throughput::Elements(ROWS as u64));
    let mut out = Vec::new();
    columns::encode(&table, &[], Some(&rows), &mut out);
    println!("a row of 8 columns takes {:.1} bytes in the log", out.len() as f64 / ROWS as f64);
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            columns::encode(&table, &[], Some(&rows), &mut out);
        });
    });
    let (part, schema) = (Bytes::from(out.clone()), table.stored_schema());
    group.bench_function("decode", |b| {
        b.iter(|| columns::pieces(&part).expect("pieces")[0].read(&table, &schema).expect("rows"));
    });
    group.finish();
}

fn filled(table: &Arc<TableDef>, keys: usize) -> Store {
    let mut store = Store::new(table);
    for start in (0..keys).step_by(50_000) {
        let rows = account_rows(table, (start..start + 50_000).map(|k| k as u64));
        store.commit(work(OnDuplicate::Reject, rows));
    }
    store
}

/// Uniform `balance = balance + x` over so many keys, in consecutive batches.
fn upsert(c: &mut Criterion<CpuTime>) {
    for text_key in [false, true] {
        let table = accounts(text_key);
        let name = if text_key { "upsert, text key" } else { "upsert, bigint key" };
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
        for keys in KEYS.into_iter().filter(|keys| !text_key || *keys < 10_000_000) {
            // Filled at its first use, so that a filter of names does not wait for it.
            let mut store: Option<Store> = None;
            let mut n = Numbers(9);
            let mut next = || account_rows(&table, (0..ROWS).map(|_| n.next() % keys as u64));
            group.bench_function(BenchmarkId::new("stage", keys), |b| {
                let store = store.get_or_insert_with(|| filled(&table, keys));
                b.iter_batched(&mut next, |rows| store.stage(work(add_up(), rows)), BatchSize::PerIteration);
                store.publish();
            });
            group.bench_function(BenchmarkId::new("stage, publish, merge", keys), |b| {
                let store = store.get_or_insert_with(|| filled(&table, keys));
                b.iter_batched(&mut next, |rows| store.commit(work(add_up(), rows)), BatchSize::PerIteration);
            });
        }
        group.finish();
    }
}

fn hot_key(c: &mut Criterion<CpuTime>) {
    let table = accounts(true);
    let rows = account_rows(&table, (0..ROWS).map(|_| 1));
    let mut group = c.benchmark_group("upsert, one key");
    group.throughput(Throughput::Elements(ROWS as u64));
    let mut store = Store::new(&table);
    group.bench_function("stage, publish, merge", |b| b.iter(|| store.commit(work(add_up(), rows.clone()))));
    group.finish();
}

fn replay(c: &mut Criterion<CpuTime>) {
    let table = accounts(false);
    let created = [CatalogChange::TableCreated(table.as_ref().clone())];
    let mut store = Store::new(&table);
    let mut n = Numbers(11);
    let mut log: Vec<Bytes> = Vec::new();
    for _ in 0..20 {
        let rows = account_rows(&table, (0..ROWS).map(|_| n.next() % 100_000));
        log.push(store.commit(work(add_up(), rows)));
    }
    let mut group = c.benchmark_group("replay, 20 batches of upserts");
    group.throughput(Throughput::Elements(20 * ROWS as u64)).sample_size(20);
    group.bench_function("bigint key", |b| {
        b.iter(|| {
            let mut shard = Shard::new(ShardId(0), 1);
            shard.replay(Sequence(1), &created, &[]).expect("created");
            for (at, outcome) in log.iter().enumerate() {
                let sequence = Sequence(at as u64 + 2);
                shard.replay(sequence, &[], std::slice::from_ref(outcome)).expect("a record of ours");
            }
            shard.recovered()
        });
    });
    group.finish();
}

criterion_group! {
    name = store;
    config = Criterion::default().with_measurement(CpuTime).measurement_time(std::time::Duration::from_secs(2))
        .warm_up_time(std::time::Duration::from_millis(300));
    targets = routing, append, pieces, upsert, hot_key, replay
}
criterion_main!(store);
