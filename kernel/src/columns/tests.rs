use arrow_array::*;
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow_schema::DataType;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::schema::{ColumnDef, ColumnType};

const TYPES: [ColumnType; 14] = [
    ColumnType::Bool,
    ColumnType::Int16,
    ColumnType::Int32,
    ColumnType::Int64,
    ColumnType::Float32,
    ColumnType::Float64,
    ColumnType::Decimal { precision: 30, scale: 4 },
    ColumnType::Text,
    ColumnType::Json,
    ColumnType::Uuid,
    ColumnType::Bytea,
    ColumnType::Date,
    ColumnType::Timestamp,
    ColumnType::TimestampTz,
];

fn table_of_all_types() -> TableDef {
    TableDef {
        id: TableId(7),
        name: "all_types".into(),
        schema_version: 3,
        columns: TYPES
            .iter()
            .enumerate()
            .map(|(i, t)| ColumnDef {
                id: ColumnId(i as u32 * 2 + 1),
                name: format!("c{i}"),
                column_type: *t,
                nullable: true,
                default_sql: None,
            })
            .collect(),
        primary_key: vec![],
        shard_key: vec![ColumnId(3)],
        sort_key: vec![],
        created_at: Sequence(1),
    }
}

/// A column from words and validities; the values under nulls are `garbage` and must not affect the bytes.
fn column(data_type: &DataType, words: &[i64], valid: &[bool], garbage: i64) -> ArrayRef {
    let nulls = valid.iter().any(|v| !v).then(|| NullBuffer::new(BooleanBuffer::from(valid)));
    let word = |i: usize| if valid[i] { words[i] } else { garbage };
    let rows = words.len();
    let texts: Vec<String> =
        (0..rows).map(|i| format!("ä{}", word(i)).repeat((word(i) & 3) as usize)).collect();
    let offsets = OffsetBuffer::<i32>::from_lengths(texts.iter().map(String::len));
    match data_type {
        DataType::Boolean => {
            Arc::new(BooleanArray::new((0..rows).map(|i| word(i) & 1 == 1).collect(), nulls))
        }
        DataType::Int16 => Arc::new(Int16Array::new((0..rows).map(|i| word(i) as i16).collect(), nulls)),
        DataType::Int32 => Arc::new(Int32Array::new((0..rows).map(|i| word(i) as i32).collect(), nulls)),
        DataType::Date32 => Arc::new(Date32Array::new((0..rows).map(|i| word(i) as i32).collect(), nulls)),
        DataType::Int64 => Arc::new(Int64Array::new((0..rows).map(word).collect(), nulls)),
        DataType::Float32 => {
            Arc::new(Float32Array::new((0..rows).map(|i| f32::from_bits(word(i) as u32)).collect(), nulls))
        }
        DataType::Float64 => {
            Arc::new(Float64Array::new((0..rows).map(|i| f64::from_bits(word(i) as u64)).collect(), nulls))
        }
        DataType::Decimal128(p, s) => Arc::new(
            Decimal128Array::new(
                (0..rows).map(|i| i128::from(word(i)) * (1 + (i128::from(garbage) & 1) * 1000)).collect(),
                nulls,
            )
            .with_precision_and_scale(*p, *s)
            .unwrap(),
        ),
        DataType::Utf8 => Arc::new(StringArray::new(offsets, texts.concat().into_bytes().into(), nulls)),
        DataType::Binary => Arc::new(BinaryArray::new(offsets, texts.concat().into_bytes().into(), nulls)),
        DataType::Timestamp(_, zone) => Arc::new(
            TimestampMicrosecondArray::new((0..rows).map(word).collect(), nulls)
                .with_timezone_opt(zone.clone()),
        ),
        other => unreachable!("{other}"),
    }
}

/// Columns that suit the encodings, and arbitrary ones.
fn words() -> impl Strategy<Value = Vec<i64>> {
    (1usize..300).prop_flat_map(|rows| {
        prop_oneof![
            vec(any::<i64>(), rows),
            vec(-3i64..4, rows),
            vec(0i64..100_000, rows),
            any::<i64>().prop_map(move |v| vec![v; rows]),
            (any::<i64>(), 0i64..4)
                .prop_map(move |(v, d)| (0..rows as i64).map(|i| v.wrapping_add(i * d)).collect()),
            (any::<i64>(), 1usize..90).prop_map(move |(v, run)| (0..rows)
                .map(|i| v.wrapping_add((i / run) as i64 * 1000))
                .collect()),
        ]
    })
}

fn rows_of(words: &[i64], valid: &[bool], garbage: i64) -> RecordBatch {
    let schema = table_of_all_types().stored_schema();
    let columns = schema.fields().iter().map(|f| column(f.data_type(), words, valid, garbage)).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn validity() -> impl Strategy<Value = Vec<bool>> {
    prop_oneof![
        Just(vec![true; 300]),
        Just(vec![false; 300]),
        vec(any::<bool>(), 300),
        vec(prop::bool::weighted(0.95), 300)
    ]
}

fn deletes() -> impl Strategy<Value = Vec<RowId>> {
    let id = (any::<u64>(), any::<u32>(), any::<bool>()).prop_map(|(s, o, small)| RowId {
        sequence: Sequence(if small { s % 1000 } else { s }),
        ordinal: if small { o % 1000 } else { o },
    });
    vec(id, 0..20)
}

fn encoded(deletes: &[RowId], rows: Option<&RecordBatch>) -> Bytes {
    let mut out = Vec::new();
    encode(&table_of_all_types(), deletes, rows, &mut out);
    assert_eq!(out.len() % ALIGNMENT, 0);
    out.into()
}

fn read_all(part: &Bytes) -> Result<Vec<(Vec<RowId>, Option<RecordBatch>)>> {
    let table = table_of_all_types();
    let schema = table.stored_schema();
    let found = pieces(part)?;
    found
        .iter()
        .map(|p| if p.table == table.id { p.read(&table, &schema) } else { Err(corrupt("table")) })
        .collect()
}

/// Equality of bits, so that NaN equals NaN, in rows that are not null.
fn same(a: &RecordBatch, b: &RecordBatch) -> bool {
    a.schema() == b.schema() && encoded(&[], Some(a)) == encoded(&[], Some(b))
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(words in words(), valid in validity(), garbage in any::<i64>(), deletes in deletes()) {
        let rows = rows_of(&words, &valid[..words.len()], garbage);
        let part = encoded(&deletes, Some(&rows));
        let read = read_all(&part).unwrap();
        prop_assert_eq!(&read[0].0, &deletes);
        let back = read[0].1.as_ref().unwrap();
        for (a, b) in rows.columns().iter().zip(back.columns()) {
            prop_assert_eq!(a.data_type(), b.data_type());
            prop_assert_eq!(a.null_count(), b.null_count());
            // Arrow's equality is of logical values, floats by their bits.
            prop_assert_eq!(a.to_data(), b.to_data());
        }
        prop_assert_eq!(part, encoded(&deletes, Some(back)));
    }

    #[test]
    fn bytes_depend_on_logical_values_alone(words in words(), valid in validity(), a in any::<i32>(), b in any::<i32>(), cut in 0usize..300) {
        let valid = &valid[..words.len()];
        // The decimal column uses the garbage's parity as its scale, so keep that.
        let (a, b) = (i64::from(a) * 2, i64::from(b) * 2);
        let (one, two) = (rows_of(&words, valid, a), rows_of(&words, valid, b));
        prop_assert_eq!(encoded(&[], Some(&one)), encoded(&[], Some(&two)));
        let cut = cut % words.len();
        let slice = one.slice(cut, words.len() - cut);
        let fresh = rows_of(&words[cut..], &valid[cut..], b);
        prop_assert!(same(&slice, &fresh));
    }

    #[test]
    fn parts_can_be_concatenated(words in words(), valid in validity(), deletes in deletes()) {
        let rows = rows_of(&words, &valid[..words.len()], 0);
        let mut part = Vec::new();
        encode(&table_of_all_types(), &deletes, None, &mut part);
        encode(&table_of_all_types(), &deletes, Some(&rows), &mut part);
        encode(&table_of_all_types(), &[], Some(&rows), &mut part);
        let read = read_all(&part.into()).unwrap();
        prop_assert_eq!(read.len(), 3);
        prop_assert!(read[0].1.is_none() && read[0].0 == deletes && read[1].0 == deletes && read[2].0.is_empty());
        prop_assert!(same(read[1].1.as_ref().unwrap(), &rows) && same(read[2].1.as_ref().unwrap(), &rows));
    }

    #[test]
    fn damaged_bytes_are_an_error_or_rows_but_never_a_panic(
        words in words(), valid in validity(), deletes in deletes(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>(), do_cut in any::<bool>()
    ) {
        let rows = rows_of(&words, &valid[..words.len()], 0);
        let mut bytes = encoded(&deletes, Some(&rows)).to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if do_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(read) = read_all(&bytes.into()) {
            // Damaged bytes that decode must still give well-formed rows.
            for rows in read.iter().filter_map(|(_, rows)| rows.as_ref()) {
                encoded(&[], Some(rows));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = read_all(&bytes.into());
    }
}

#[test]
fn hidden_columns_cost_almost_nothing() {
    let table = table_of_all_types();
    let mut columns: Vec<ArrayRef> = table
        .user_schema()
        .fields()
        .iter()
        .map(|f| column(f.data_type(), &[0; 1000], &[false; 1000], 0))
        .collect();
    columns.push(Arc::new(Int64Array::from(vec![1; 1000])));
    columns.push(Arc::new(Int32Array::from_iter_values((0..1000).map(|i| i / 250))));
    columns.push(Arc::new(Int64Array::from_iter_values(
        (0..1000).map(|i| 5_000_000_000 + (i / 250) * 1_000_000 + i * 7),
    )));
    let rows = RecordBatch::try_new(table.stored_schema(), columns).unwrap();
    let length = encoded(&[], Some(&rows)).len();
    assert!(length < 1000 + 32 + 17 * 16 + 200, "{length} bytes for 1000 rows of provenance");
}

#[test]
fn another_schema_version_is_corruption() {
    let mut table = table_of_all_types();
    let part = encoded(&[], Some(&rows_of(&[1, 2], &[true, true], 0)));
    table.schema_version = 4;
    let error = pieces(&part).unwrap()[0].read(&table, &table.stored_schema()).unwrap_err();
    assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED);
}

/// The layout is a disk format: it may change only with the log's format version.
#[test]
fn layout_is_fixed() {
    let rows = rows_of(&[5, 6, 1_000_000, -1], &[true, true, false, true], 0);
    let part = encoded(&[RowId { sequence: Sequence(3), ordinal: 9 }], Some(&rows));
    assert_eq!((part.len(), xxhash_rust::xxh3::xxh3_64(&part)), LAYOUT);
}

const LAYOUT: (usize, u64) = (1024, 7_260_796_287_346_308_798);
