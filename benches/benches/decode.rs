//! Rows per second of one core from messages to columns, and to routed rows.

mod cpu_time;

use std::sync::Arc;

use benches::payments::{Payment, shuffled_order};
use cpu_time::CpuTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernel::schema::{ColumnDef, ColumnType, TableDef};
use kernel::{
    ColumnId, Epoch, Generation, Mark, PipelineId, Position, RawMessage, Sequence, SplitId, TableId,
};
use tidemark_decode::{CsvFormat, DecodePlan, ExtractPlan, Extractor, FieldMapping, Format, YEARS_DEFAULT};

const MESSAGES: u64 = 8192;

/// The whole payment in one column, as text and as jsonb.
const AS_TEXT: [(&str, ColumnType); 1] = [("doc", ColumnType::Text)];
const AS_JSONB: [(&str, ColumnType); 1] = [("doc", ColumnType::Json)];

const COLUMNS: [(&str, ColumnType); 8] = [
    ("id", ColumnType::Int64),
    ("name", ColumnType::Text),
    ("amount", ColumnType::Int64),
    ("currency", ColumnType::Text),
    ("price", ColumnType::Float64),
    ("urgent", ColumnType::Bool),
    ("note", ColumnType::Text),
    ("at", ColumnType::TimestampTz),
];

fn plan(format: Format, columns: &[(&str, ColumnType)]) -> DecodePlan {
    let field = |(name, column_type): &(&str, ColumnType)| FieldMapping {
        name: name.to_string(),
        column_type: *column_type,
        nullable: true,
        path: vec![name.to_string()],
        default: None,
        unit: None,
    };
    DecodePlan { format, fields: columns.iter().map(field).collect() }
}

/// Messages as a source delivers them: slices of one buffer.
struct Messages {
    text: String,
    ends: Vec<usize>,
}

impl Messages {
    fn new(write: impl Fn(Payment, u64, &mut String)) -> Messages {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for number in 0..MESSAGES {
            write(Payment::nth(number), number, &mut text);
            ends.push(text.len());
        }
        Messages { text, ends }
    }

    fn raw(&self) -> Vec<RawMessage<'_>> {
        let mut start = 0;
        let mut message = |(offset, &end): (usize, &usize)| {
            let value = Some(&self.text.as_bytes()[start..end]);
            start = end;
            RawMessage {
                ordinal: offset as i64,
                mark: Mark::LeaderEpoch(0),
                timestamp_ms: -1,
                key: None,
                value,
            }
        };
        self.ends.iter().enumerate().map(&mut message).collect()
    }

    fn bytes_per_message(&self) -> usize {
        self.text.len() / self.ends.len()
    }
}

fn decode(c: &mut Criterion<CpuTime>) {
    let ordered = Messages::new(|p, _, text| p.write_json(text));
    let shuffled = Messages::new(|p, n, text| p.write_json_in_order(&shuffled_order(n), text));
    let two_orders = Messages::new(|p, n, text| {
        p.write_json_in_order(&shuffled_order(n % 2), text);
    });
    let escapes = Messages::new(|p, _, text| {
        let mut plain = String::new();
        p.write_json(&mut plain);
        text.push_str(&plain.replace("order ", "order\\t\\u00e9\\n").replace("account-", "account\\/"));
    });
    let spaced = Messages::new(|p, _, text| {
        let mut plain = String::new();
        p.write_json(&mut plain);
        text.push_str(&plain.replace(",\"", ", \"").replace("\":", "\": "));
    });
    // Keys as jsonb orders them, by length, and as the producer does.
    let document = |order: [usize; 8]| {
        Messages::new(move |p, _, text| {
            text.push_str("{\"doc\":");
            p.write_json_in_order(&order, text);
            text.push('}');
        })
    };
    let (sorted, unsorted) = (document([7, 0, 1, 6, 4, 2, 5, 3]), document([0, 1, 2, 3, 4, 5, 6, 7]));
    let csv = Messages::new(|p, _, text| p.write_csv(text));
    println!("JSON message: {} bytes, CSV: {} bytes", ordered.bytes_per_message(), csv.bytes_per_message());

    let comma = CsvFormat { fields_terminated_by: b",".to_vec(), ..CsvFormat::default() };
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(MESSAGES));
    for (name, messages, plan) in [
        ("json/same order", &ordered, plan(Format::Json, &COLUMNS)),
        ("json/same order, 2 of 8 fields", &ordered, plan(Format::Json, &COLUMNS[1..3])),
        ("json/same order, spaces", &spaced, plan(Format::Json, &COLUMNS)),
        ("json/two orders in turn", &two_orders, plan(Format::Json, &COLUMNS)),
        ("json/every order", &shuffled, plan(Format::Json, &COLUMNS)),
        ("json/escapes in 2 of 3 texts", &escapes, plan(Format::Json, &COLUMNS)),
        ("json/a document as text", &unsorted, plan(Format::Json, &AS_TEXT)),
        ("json/a document as jsonb, keys in order", &sorted, plan(Format::Json, &AS_JSONB)),
        ("json/a document as jsonb", &unsorted, plan(Format::Json, &AS_JSONB)),
        ("csv", &csv, plan(Format::Csv(comma), &COLUMNS)),
    ] {
        let raw = messages.raw();
        let mut decoder = plan.decoder().expect("a sound plan");
        group.bench_function(name, |b| {
            b.iter(|| {
                let (decoded, refused) = decoder.decode(&raw);
                assert_eq!((decoded.columns.num_rows() as u64, refused.len()), (MESSAGES, 0));
                decoded
            })
        });
    }
    group.finish();
}

fn extract(c: &mut Criterion<CpuTime>) {
    let messages = Messages::new(|p, _, text| p.write_json(text));
    let table = |columns: &[(&str, ColumnType)], key: Vec<ColumnId>| TableDef {
        id: TableId(1),
        name: "payments".into(),
        schema_version: 1,
        columns: columns
            .iter()
            .enumerate()
            .map(|(i, (name, column_type))| ColumnDef {
                id: ColumnId(i as u32),
                name: name.to_string(),
                column_type: *column_type,
                nullable: !key.contains(&ColumnId(i as u32)),
                default_sql: None,
            })
            .collect(),
        primary_key: key.clone(),
        shard_key: key,
        sort_key: vec![],
        created_at: Sequence(1),
    };
    let mut group = c.benchmark_group("extract");
    group.throughput(Throughput::Elements(MESSAGES));
    for (name, table, columns) in [
        ("append, 8 columns, 8 shards", table(&COLUMNS, vec![]), &COLUMNS[..]),
        ("by account, 2 columns, 8 shards", table(&COLUMNS[1..3], vec![ColumnId(0)]), &COLUMNS[1..3]),
    ] {
        let plan = ExtractPlan {
            table: Arc::new(table),
            decode: plan(Format::Json, columns),
            defaults: vec![],
            shard_count: 8,
            years: YEARS_DEFAULT,
            ignores_tombstones: false,
        };
        let start = Position::kafka(0, -1);
        let mut extractor =
            Extractor::new(plan, None, PipelineId(1), Epoch(1), Generation(1), SplitId(0), start)
                .expect("a sound plan");
        let mut raw = messages.raw();
        group.bench_function(name, |b| {
            b.iter(|| {
                extractor.push(&raw);
                let extract = extractor.take(0).expect("no transform").expect("messages");
                assert_eq!((extract.messages, extract.dead_letters.len()), (MESSAGES, 0));
                raw.iter_mut().for_each(|message| message.ordinal += MESSAGES as i64);
                extract
            })
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = decode, extract
}
criterion_main!(benches);
