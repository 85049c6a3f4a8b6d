//! Placement of rows: the canonical encoding of a key, its fixed hash (XXH3-64, seed 0), and the distribution of a
//! batch of rows over shards. Encoding and hash must never change for a database: the stored rows are placed by them
//! (invariant 5).
//!
//! The canonical encoding of one value, by its type:
//!
//! | Type | Bytes |
//! |---|---|
//! | boolean, integers, date, timestamps | the value as a 64-bit integer, little-endian |
//! | real, double | the value as an IEEE 754 double, little-endian; -0.0 becomes 0.0, every NaN `0x7ff8000000000000` |
//! | numeric | the unscaled value as a 128-bit integer, little-endian |
//! | text, json, uuid, bytea | the bytes |
//!
//! The hash of a value is the XXH3-64 of these bytes. The hash of a null is [`NULL_HASH`]. The hash of a key of one
//! column is the hash of its value. The hash of a key of several columns is the XXH3-64 of the values' hashes,
//! little-endian, in order. A key without columns has the hash of a null.
//!
//! XXH3-64 of exactly eight bytes is a bijection of 64-bit words. So two keys of one non-null column of at most 64 bits
//! are equal exactly if their hashes are ([`hash_is_exact`]). The key index of a shard relies on it.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrowPrimitiveType, GenericByteArray, PrimitiveArray, RecordBatch, UInt32Array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{DataType, TimeUnit};
use arrow_select::take::take_record_batch;
use xxhash_rust::xxh3::xxh3_64;

use crate::schema::TableDef;

/// Hash of a null: XXH3-64 of no bytes, inverted, so that it differs from the hash of the empty text.
pub const NULL_HASH: u64 = !0x2d06_8005_38d3_94c2;

/// Writes the hash of the given columns of every row of `rows` into `hashes`. Only logical values count: a null has one
/// hash whatever bytes lie under it, -0.0 equals 0.0, and all NaNs are equal.
pub fn hash_rows(rows: &RecordBatch, columns: &[u16], hashes: &mut Vec<u64>) {
    hashes.clear();
    hashes.resize(rows.num_rows(), NULL_HASH);
    match columns {
        [] => {}
        [column] => hash_column(rows.column(*column as usize), hashes),
        _ => {
            let width = columns.len();
            let mut column_hashes = vec![NULL_HASH; rows.num_rows()];
            let mut keys = vec![0u8; rows.num_rows() * width * 8];
            for (at, column) in columns.iter().enumerate() {
                column_hashes.fill(NULL_HASH);
                hash_column(rows.column(*column as usize), &mut column_hashes);
                for (key, hash) in keys.chunks_exact_mut(width * 8).zip(&column_hashes) {
                    key[at * 8..at * 8 + 8].copy_from_slice(&hash.to_le_bytes());
                }
            }
            for (hash, key) in hashes.iter_mut().zip(keys.chunks_exact(width * 8)) {
                *hash = xxh3_64(key);
            }
        }
    }
}

/// True if equal hashes mean equal values: one non-null column with a canonical encoding of eight bytes.
pub fn hash_is_exact(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Decimal128(..) | DataType::Utf8 | DataType::Binary)
}

/// The shard of a hash. Bits 0 to 31 of the hash select it; the key index of the shard uses the other bits.
pub fn shard_of(hash: u64, shard_count: u16) -> u16 {
    assert!(shard_count > 0, "a database has at least one shard");
    (((hash & 0xffff_ffff) * u64::from(shard_count)) >> 32) as u16
}

/// Distributes rows (in a table's stored or user schema) over the shards by the hash of their placement columns, in
/// their order. `shard_count` entries; None for a shard without rows.
pub fn route(table: &TableDef, rows: &RecordBatch, shard_count: u16) -> Vec<Option<RecordBatch>> {
    assert!(rows.num_rows() <= u32::MAX as usize, "the number of rows of a batch fits u32");
    let mut by_shard = vec![None; shard_count as usize];
    if rows.num_rows() == 0 {
        return by_shard;
    }
    if shard_count == 1 {
        by_shard[0] = Some(rows.clone());
        return by_shard;
    }
    let mut hashes = Vec::new();
    hash_rows(rows, &table.placement_columns(), &mut hashes);
    let (indices, ends) = sort_by_shard(&hashes, shard_count);
    let indices = ScalarBuffer::from(indices);
    let mut start = 0;
    for (of_shard, end) in by_shard.iter_mut().zip(ends) {
        let count = end - start;
        if count == rows.num_rows() {
            *of_shard = Some(rows.clone());
        } else if count > 0 {
            let chosen = UInt32Array::new(indices.slice(start, count), None);
            *of_shard = Some(take_record_batch(rows, &chosen).expect("indices are rows of the batch"));
        }
        start = end;
    }
    by_shard
}

/// Counting sort: the indices of the rows, grouped by shard and in order within a shard, and the end of each shard's
/// group.
fn sort_by_shard(hashes: &[u64], shard_count: u16) -> (Vec<u32>, Vec<usize>) {
    let mut ends = vec![0usize; shard_count as usize];
    for &hash in hashes {
        ends[shard_of(hash, shard_count) as usize] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        let start = total;
        total += *end;
        *end = start;
    }
    assert_eq!(total, hashes.len(), "every row is counted for one shard");
    let mut indices = vec![0u32; hashes.len()];
    for (row, &hash) in hashes.iter().enumerate() {
        let at = &mut ends[shard_of(hash, shard_count) as usize];
        indices[*at] = row as u32;
        *at += 1;
    }
    (indices, ends)
}

/// Hashes of one column, written over the entries of non-null rows. Entries of null rows stay unchanged.
fn hash_column(column: &dyn Array, hashes: &mut [u64]) {
    assert_eq!(column.len(), hashes.len(), "one hash per row");
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean().values();
            let of = [hash_word(0), hash_word(1)];
            for_valid(column, hashes, |row| of[usize::from(values.value(row))]);
        }
        DataType::Int16 => hash_words::<Int16Type>(column, hashes, |v| i64::from(v) as u64),
        DataType::Int32 => hash_words::<Int32Type>(column, hashes, |v| i64::from(v) as u64),
        DataType::Int64 => hash_words::<Int64Type>(column, hashes, |v| v as u64),
        DataType::Date32 => hash_words::<Date32Type>(column, hashes, |v| i64::from(v) as u64),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            hash_words::<TimestampMicrosecondType>(column, hashes, |v| v as u64);
        }
        DataType::Float32 => {
            hash_words::<Float32Type>(column, hashes, |v| canonical_bits(f64::from(v)));
        }
        DataType::Float64 => hash_words::<Float64Type>(column, hashes, canonical_bits),
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>().values();
            for_valid(column, hashes, |row| xxh3_64(&values[row].to_le_bytes()));
        }
        DataType::Utf8 => hash_bytes(column.as_string::<i32>(), hashes),
        DataType::Binary => hash_bytes(column.as_binary::<i32>(), hashes),
        other => unreachable!("no column type maps to {other}"),
    }
}

fn hash_words<T: ArrowPrimitiveType>(
    column: &dyn Array,
    hashes: &mut [u64],
    canonical: impl Fn(T::Native) -> u64,
) {
    let column: &PrimitiveArray<T> = column.as_primitive();
    let values = column.values();
    if column.null_count() == 0 {
        for (hash, value) in hashes.iter_mut().zip(values.iter()) {
            *hash = hash_word(canonical(*value));
        }
    } else {
        for_valid(column, hashes, |row| hash_word(canonical(values[row])));
    }
}

fn hash_bytes<T: ByteArrayType<Offset = i32>>(column: &GenericByteArray<T>, hashes: &mut [u64]) {
    let bytes = column.value_data();
    let offsets = column.value_offsets();
    for_valid(column, hashes, |row| xxh3_64(&bytes[offsets[row] as usize..offsets[row + 1] as usize]));
}

fn for_valid(column: &dyn Array, hashes: &mut [u64], hash_of: impl Fn(usize) -> u64) {
    match column.nulls() {
        Some(nulls) => {
            for row in nulls.valid_indices() {
                hashes[row] = hash_of(row);
            }
        }
        None => {
            for (row, hash) in hashes.iter_mut().enumerate() {
                *hash = hash_of(row);
            }
        }
    }
}

#[inline(always)]
fn hash_word(word: u64) -> u64 {
    xxh3_64(&word.to_le_bytes())
}

/// Bits that are equal for equal values.
pub(crate) fn canonical_bits(value: f64) -> u64 {
    if value.is_nan() {
        0x7ff8_0000_0000_0000
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::*;
    use arrow_schema::{Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::schema::{ColumnDef, ColumnType, TableDef};
    use crate::{ColumnId, Sequence, TableId};

    fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
        let fields: Vec<Field> = columns
            .iter()
            .enumerate()
            .map(|(i, c)| Field::new(format!("c{i}"), c.data_type().clone(), true))
            .collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn hashes(columns: Vec<ArrayRef>) -> Vec<u64> {
        let rows = batch(columns);
        let ordinals: Vec<u16> = (0..rows.num_columns() as u16).collect();
        let mut out = vec![99];
        hash_rows(&rows, &ordinals, &mut out);
        out
    }

    /// These hashes must never change: they place the rows on disk.
    #[test]
    fn test_vectors() {
        assert_eq!(NULL_HASH, !xxh3_64(b""));
        let long = "a text that is longer than any of the short paths of the hash, well beyond 128 bytes, so that \
                    the striped loop is covered by a vector too, and then some more of it, up to 240 bytes and over, \
                    which is where the long algorithm of XXH3 begins and goes on";
        assert!(long.len() > 240);
        let vectors: Vec<(ArrayRef, u64)> = vec![
            (Arc::new(Int64Array::from(vec![0])), VECTORS[0]),
            (Arc::new(Int64Array::from(vec![1])), VECTORS[1]),
            (Arc::new(Int64Array::from(vec![-1])), VECTORS[2]),
            (Arc::new(Int64Array::from(vec![i64::MAX])), VECTORS[3]),
            (Arc::new(Float64Array::from(vec![1.5])), VECTORS[4]),
            (Arc::new(Float64Array::from(vec![f64::NAN])), VECTORS[5]),
            (
                Arc::new(Decimal128Array::from(vec![12345]).with_precision_and_scale(20, 2).unwrap()),
                VECTORS[6],
            ),
            (Arc::new(StringArray::from(vec![""])), VECTORS[7]),
            (Arc::new(StringArray::from(vec!["alice"])), VECTORS[8]),
            (Arc::new(StringArray::from(vec![long])), VECTORS[9]),
            (Arc::new(BinaryArray::from(vec![&[0u8, 255, 1][..]])), VECTORS[10]),
            (Arc::new(BooleanArray::from(vec![true])), VECTORS[1]),
            (Arc::new(Int16Array::from(vec![1])), VECTORS[1]),
            (Arc::new(Int32Array::from(vec![-1])), VECTORS[2]),
            (Arc::new(Date32Array::from(vec![1])), VECTORS[1]),
            (Arc::new(TimestampMicrosecondArray::from(vec![1])), VECTORS[1]),
            (Arc::new(Float32Array::from(vec![1.5f32])), VECTORS[4]),
            (Arc::new(Int64Array::from(vec![None])), NULL_HASH),
            (Arc::new(StringArray::from(vec![None::<&str>])), NULL_HASH),
        ];
        for (i, (column, hash)) in vectors.into_iter().enumerate() {
            assert_eq!(hashes(vec![column]), [hash], "vector {i}");
        }
        let composite = hashes(vec![
            Arc::new(StringArray::from(vec![Some("alice"), None])),
            Arc::new(Int64Array::from(vec![1, 1])),
        ]);
        assert_eq!(composite, [VECTORS[11], VECTORS[12]]);
    }

    /// Values of the reference implementation of XXH3.
    const VECTORS: [u64; 13] = [
        0xc77b_3abb_6f87_acd9,
        0x2fbc_5935_64db_792e,
        0x5111_c7e4_7d78_4413,
        0xa233_cf37_6558_df46,
        0x2561_a488_9ff6_3458,
        0x0aa6_1dcf_a381_c167,
        0x970d_cd37_b14d_e550,
        0x2d06_8005_38d3_94c2,
        0x4da1_0dd6_1a01_16b0,
        0x5793_8ce9_80ad_1b51,
        0xcb45_9460_08c7_4ed8,
        0x6b83_7d72_484f_17b7,
        0xabc5_8998_3b3f_cc42,
    ];

    #[test]
    fn one_value_has_one_hash() {
        let floats = hashes(vec![Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]))]);
        assert_eq!(floats[0], floats[1]);
        assert_eq!(floats[2], floats[3]);
        assert_ne!(floats[0], floats[2]);
        // Bytes under a null and the offset of a slice do not matter.
        let under = Int64Array::new(vec![7, 8, 9].into(), Some(vec![true, false, true].into()));
        let plain = Int64Array::from(vec![Some(7), None, Some(9)]);
        assert_eq!(hashes(vec![Arc::new(under.clone())]), hashes(vec![Arc::new(plain)]));
        assert_eq!(
            hashes(vec![Arc::new(under.slice(2, 1))]),
            hashes(vec![Arc::new(Int64Array::from(vec![9]))])
        );
    }

    #[test]
    fn shards_divide_the_hashes_evenly() {
        assert_eq!(shard_of(0, 8), 0);
        assert_eq!(shard_of(u64::MAX, 8), 7);
        assert_eq!(shard_of(0x1fff_ffff, 8), 0);
        assert_eq!(shard_of(0x2000_0000, 8), 1);
        assert_eq!(shard_of(u64::MAX, 1), 0);
        assert_eq!(shard_of(u64::MAX, u16::MAX), u16::MAX - 1);
    }

    /// Inverse of XXH3-64 on eight bytes, step by step. An inverse exists, so the hash is a bijection.
    fn word_of(hash: u64) -> u64 {
        const PRIME_MX2: u64 = 0x9fb2_1c65_1e98_df25;
        // Words at 8 and 16 of the default secret.
        let key = 0x1cad_21f7_2c81_017c_u64 ^ 0xdb97_9083_e96d_d4de;
        let inverse = {
            let mut x = 1u64;
            for _ in 0..6 {
                x = x.wrapping_mul(2u64.wrapping_sub(PRIME_MX2.wrapping_mul(x)));
            }
            x
        };
        let mut h = hash;
        h ^= h >> 28;
        h ^= h >> 56;
        h = h.wrapping_mul(inverse);
        h ^= (h >> 35).wrapping_add(8);
        h = h.wrapping_mul(inverse);
        // x ^ rot(x,49) ^ rot(x,24) is linear over GF(2) and of order 64: its inverse is its 63rd power.
        for _ in 0..63 {
            h = h ^ h.rotate_left(49) ^ h.rotate_left(24);
        }
        (h ^ key).rotate_left(32)
    }

    fn table() -> TableDef {
        let column = |id: u32, name: &str, column_type| ColumnDef {
            id: ColumnId(id),
            name: name.into(),
            column_type,
            nullable: true,
            default_sql: None,
        };
        TableDef {
            id: TableId(1),
            name: "t".into(),
            schema_version: 1,
            columns: vec![column(0, "k", ColumnType::Int64), column(1, "v", ColumnType::Text)],
            primary_key: vec![],
            shard_key: vec![ColumnId(0)],
            sort_key: vec![],
            created_at: Sequence(1),
        }
    }

    proptest! {
        #[test]
        fn hash_of_a_word_is_a_bijection(word in any::<u64>()) {
            prop_assert_eq!(word_of(hash_word(word)), word);
        }

        #[test]
        fn routing_loses_no_row_and_keeps_order(keys in proptest::collection::vec(any::<Option<i64>>(), 0..200), shards in 1u16..20) {
            let texts: Vec<Option<String>> = keys.iter().enumerate().map(|(i, k)| k.map(|_| i.to_string())).collect();
            let rows = batch(vec![Arc::new(Int64Array::from(keys.clone())), Arc::new(StringArray::from(texts))]);
            let by_shard = route(&table(), &rows, shards);
            prop_assert_eq!(by_shard.len(), shards as usize);
            let mut all = vec![];
            hash_rows(&rows, &[0], &mut all);
            for (shard, piece) in by_shard.iter().enumerate() {
                let wanted: Vec<usize> = (0..keys.len()).filter(|r| shard_of(all[*r], shards) as usize == shard).collect();
                prop_assert_eq!(piece.is_some(), !wanted.is_empty());
                if let Some(piece) = piece {
                    let got = piece.column(0).as_primitive::<Int64Type>();
                    prop_assert_eq!(got.len(), wanted.len());
                    for (i, row) in wanted.iter().enumerate() {
                        prop_assert_eq!(piece.column(0).slice(i, 1).to_data(), rows.column(0).slice(*row, 1).to_data());
                        prop_assert_eq!(piece.column(1).slice(i, 1).to_data(), rows.column(1).slice(*row, 1).to_data());
                    }
                }
            }
        }
    }
}
