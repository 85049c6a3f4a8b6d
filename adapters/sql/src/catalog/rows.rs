//! Small tables of the catalog, built in memory from the snapshot: columns by name, rows of loosely typed values.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use pg_semantics::types::{Base, typed};

/// A value of a catalog row; a null has no type of its own.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Microseconds since 1970-01-01 UTC.
    Time(i64),
    Texts(Vec<String>),
    Ints(Vec<i64>),
}

impl From<bool> for Value {
    fn from(v: bool) -> Value {
        Value::Bool(v)
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Value {
        Value::Text(v.into())
    }
}

impl From<String> for Value {
    fn from(v: String) -> Value {
        Value::Text(v)
    }
}

macro_rules! from_int {
    ($($t:ty)*) => {$(
        impl From<$t> for Value {
            fn from(v: $t) -> Value {
                Value::Int(v as i64)
            }
        }
    )*};
}
from_int!(i64 i32 i16 u32 u16 u64 usize);

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Value {
        v.map_or(Value::Null, Into::into)
    }
}

/// A column of a catalog table, under the PostgreSQL type that clients expect.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    name: &'static str,
    base: Base,
    array: bool,
}

/// A column of this type.
pub const fn column(name: &'static str, base: Base) -> Column {
    Column { name, base, array: false }
}

/// A column of arrays of this type.
pub const fn array(name: &'static str, base: Base) -> Column {
    Column { name, base, array: true }
}

impl Column {
    fn field(&self) -> Field {
        let item = match self.base {
            Base::Bool => DataType::Boolean,
            Base::Int2 => DataType::Int16,
            Base::Int4 => DataType::Int32,
            Base::Int8 | Base::Oid => DataType::Int64,
            Base::Float4 => DataType::Float32,
            Base::Float8 => DataType::Float64,
            Base::Bytea => DataType::Binary,
            Base::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            _ => DataType::Utf8,
        };
        if self.array {
            return Field::new(self.name, DataType::new_list(item, true), true);
        }
        let field = Field::new(self.name, item, true);
        match self.base {
            Base::Name | Base::Oid | Base::Char | Base::Json | Base::Uuid | Base::Varchar => {
                typed(field, self.base)
            }
            _ => field,
        }
    }

    fn scalar(&self, value: Value, data_type: &DataType) -> Result<ScalarValue> {
        let scalar = match value {
            Value::Null => return ScalarValue::try_from(data_type),
            Value::Bool(v) => ScalarValue::Boolean(Some(v)),
            Value::Int(v) => ScalarValue::Int64(Some(v)),
            Value::Float(v) => ScalarValue::Float64(Some(v)),
            Value::Text(v) => ScalarValue::Utf8(Some(v)),
            Value::Bytes(v) => ScalarValue::Binary(Some(v)),
            Value::Time(v) => ScalarValue::TimestampMicrosecond(Some(v), Some("+00:00".into())),
            Value::Texts(v) => {
                let items: Vec<_> = v.into_iter().map(|s| ScalarValue::Utf8(Some(s))).collect();
                ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8))
            }
            Value::Ints(v) => {
                let items: Vec<_> = v.into_iter().map(|n| ScalarValue::Int64(Some(n))).collect();
                ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Int64))
            }
        };
        scalar.cast_to(data_type)
    }
}

/// These rows, each as wide as `columns`.
pub fn batch(columns: &[Column], rows: Vec<Vec<Value>>) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns.iter().map(Column::field).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut scalars: Vec<Vec<ScalarValue>> = columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        assert_eq!(row.len(), columns.len(), "a row of a catalog table is as wide as the table");
        for ((column, value), (field, into)) in
            columns.iter().zip(row).zip(schema.fields().iter().zip(scalars.iter_mut()))
        {
            into.push(column.scalar(value, field.data_type())?);
        }
    }
    if scalars.iter().all(Vec::is_empty) {
        return Ok(RecordBatch::new_empty(schema));
    }
    let arrays = scalars.into_iter().map(ScalarValue::iter_to_array).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema, arrays)?)
}

/// `rows!` of anything that converts to [`Value`].
macro_rules! row {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::catalog::rows::Value::from($value)),*]
    };
}
pub(crate) use row;
