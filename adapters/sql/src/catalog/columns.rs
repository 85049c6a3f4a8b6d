//! Stored columns in SQL: the PostgreSQL type of each of the kernel's column types.

use datafusion::arrow::datatypes::Field;
use kernel::schema::{ColumnDef, ColumnType};
use pg_semantics::types::{Base, NO_MODIFIER, length_modifier, typed, typed_with};

/// The field of a stored column, with its PostgreSQL type where it is stored as text.
pub fn stored_field(column: &ColumnDef) -> Field {
    field_of(&column.name, column.column_type, column.nullable)
}

/// A field of values of this type.
pub fn field_of(name: &str, column_type: ColumnType, nullable: bool) -> Field {
    let field = Field::new(name, column_type.arrow(), nullable);
    match column_type {
        ColumnType::Json => typed(field, Base::Jsonb),
        ColumnType::Uuid => typed(field, Base::Uuid),
        ColumnType::Varchar { .. } => typed_with(field, Base::Varchar, modifier_of(column_type)),
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
        ColumnType::Varchar { .. } => Base::Varchar,
        ColumnType::Json => Base::Jsonb,
        ColumnType::Uuid => Base::Uuid,
        ColumnType::Bytea => Base::Bytea,
        ColumnType::Date => Base::Date,
        ColumnType::Timestamp => Base::Timestamp,
        ColumnType::TimestampTz => Base::TimestampTz,
    }
}

/// Type modifier as `pg_attribute.atttypmod` has it: precision and scale of numeric, length of varchar.
pub fn modifier_of(column_type: ColumnType) -> i32 {
    match column_type {
        ColumnType::Decimal { precision, scale } => {
            ((i32::from(precision) << 16) | (i32::from(scale) & 0x7ff)) + 4
        }
        ColumnType::Varchar { max_chars: Some(max) } => length_modifier(max),
        _ => NO_MODIFIER,
    }
}
