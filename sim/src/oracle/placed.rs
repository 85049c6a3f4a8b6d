//! The shard of a row, computed from its values by the documented placement, without code of the kernel. `super`
//! selects the rows.

use kernel::schema::{ColumnType, TableDef};
use xxhash_rust::xxh3::xxh3_64;

use super::value::{Row, Value};

/// The expected shard of a row.
pub fn shard_of(def: &TableDef, row: &Row, shards: usize) -> usize {
    let all: Vec<u16> = (0..def.columns.len() as u16).collect();
    let keys = [&def.ordinals(&def.shard_key), &def.ordinals(&def.primary_key), &all];
    let key = keys.into_iter().find(|key| !key.is_empty()).expect("a table has columns");
    let hashes: Vec<u64> = key
        .iter()
        .map(|column| hash(&row[usize::from(*column)], def.columns[usize::from(*column)].column_type))
        .collect();
    let hash = match hashes[..] {
        [hash] => hash,
        _ => xxh3_64(&hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect::<Vec<u8>>()),
    };
    ((u128::from(hash as u32) * shards as u128) >> 32) as usize
}

fn hash(value: &Value, column_type: ColumnType) -> u64 {
    match value {
        Value::Null => !xxh3_64(&[]),
        Value::Bytes(bytes) => xxh3_64(bytes),
        Value::Text(text) => xxh3_64(text.as_bytes()),
        Value::Float(_) => match value.as_key() {
            Value::Float(bits) => xxh3_64(&bits.to_le_bytes()),
            other => unreachable!("{other:?} is not a real number"),
        },
        Value::Big(int) => xxh3_64(&int.to_le_bytes()),
        Value::Int(int) if matches!(column_type, ColumnType::Decimal { .. }) => {
            xxh3_64(&i128::from(*int).to_le_bytes())
        }
        Value::Int(int) => xxh3_64(&int.to_le_bytes()),
    }
}
