//! Stored columns as SQL shows them: the PostgreSQL type of each of the kernel's column types.

use datafusion::arrow::datatypes::Field;
use kernel::schema::{ColumnDef, ColumnType};
use pg_semantics::types::{Base, typed};

/// The field of a stored column, with its PostgreSQL type where text stands for it.
pub fn stored_field(column: &ColumnDef) -> Field {
    let field = Field::new(&column.name, column.column_type.arrow(), column.nullable);
    match column.column_type {
        ColumnType::Json => typed(field, Base::Jsonb),
        ColumnType::Uuid => typed(field, Base::Uuid),
        _ => field,
    }
}

/// The PostgreSQL type of a stored column.
pub fn base_of(column_type: ColumnType) -> Base {
    match column_type {
        ColumnType::Bool => Base::Bool,
        ColumnType::Int16 => Base::Int2,
        ColumnType::Int32 => Base::Int4,
        ColumnType::Int64 => Base::Int8,
        ColumnType::Float32 => Base::Float4,
        ColumnType::Float64 => Base::Float8,
        ColumnType::Decimal { .. } => Base::Numeric,
        ColumnType::Text => Base::Text,
        ColumnType::Json => Base::Jsonb,
        ColumnType::Uuid => Base::Uuid,
        ColumnType::Bytea => Base::Bytea,
        ColumnType::Date => Base::Date,
        ColumnType::Timestamp => Base::Timestamp,
        ColumnType::TimestampTz => Base::TimestampTz,
    }
}

/// Type modifier as `pg_attribute.atttypmod` has it: precision and scale of numeric, else -1.
pub fn modifier_of(column_type: ColumnType) -> i32 {
    match column_type {
        ColumnType::Decimal { precision, scale } => {
            ((i32::from(precision) << 16) | (i32::from(scale) & 0x7ff)) + 4
        }
        _ => -1,
    }
}
