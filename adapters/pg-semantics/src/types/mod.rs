//! The PostgreSQL types that clients see, and the Arrow types behind them. `encode` writes values and `decode` reads
//! them.

pub mod decode;
pub mod encode;
pub mod planner;

use std::collections::HashMap;

use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::sql::sqlparser::ast;

/// The zone of every Arrow `timestamp with time zone`.
pub const UTC: &str = "+00:00";
/// Key in a field's metadata for its PostgreSQL type, if the Arrow type does not determine it.
pub const PG_TYPE_KEY: &str = "pg_type";

/// Key in a field's metadata for the type's modifier, if it has one, as in `pg_attribute.atttypmod`.
pub const PG_MODIFIER_KEY: &str = "pg_typmod";
/// The value for no modifier.
pub const NO_MODIFIER: i32 = -1;

macro_rules! pg_types {
    ($($variant:ident = $oid:literal, $array:literal, $size:literal, $name:literal, $sql:literal;)*) => {
        /// A PostgreSQL base type.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs)]
        pub enum Base { $($variant),* }

        impl Base {
            /// All of them.
            pub const ALL: &'static [Base] = &[$(Base::$variant),*];

            /// Its OID.
            pub fn oid(self) -> u32 {
                match self { $(Base::$variant => $oid),* }
            }

            /// OID of the array type over it.
            pub fn array_oid(self) -> u32 {
                match self { $(Base::$variant => $array),* }
            }

            /// Bytes of a value, -1 if they vary.
            pub fn size(self) -> i16 {
                match self { $(Base::$variant => $size),* }
            }

            /// Name in `pg_type`.
            pub fn name(self) -> &'static str {
                match self { $(Base::$variant => $name),* }
            }

            /// Its name from `format_type`.
            pub fn sql_name(self) -> &'static str {
                match self { $(Base::$variant => $sql),* }
            }
        }
    };
}

pg_types! {
    Bool = 16, 1000, 1, "bool", "boolean";
    Bytea = 17, 1001, -1, "bytea", "bytea";
    Char = 18, 1002, 1, "char", "\"char\"";
    Name = 19, 1003, 64, "name", "name";
    Int8 = 20, 1016, 8, "int8", "bigint";
    Int2 = 21, 1005, 2, "int2", "smallint";
    Int4 = 23, 1007, 4, "int4", "integer";
    Text = 25, 1009, -1, "text", "text";
    Oid = 26, 1028, 4, "oid", "oid";
    Json = 114, 199, -1, "json", "json";
    Float4 = 700, 1021, 4, "float4", "real";
    Float8 = 701, 1022, 8, "float8", "double precision";
    Bpchar = 1042, 1014, -1, "bpchar", "character";
    Varchar = 1043, 1015, -1, "varchar", "character varying";
    Date = 1082, 1182, 4, "date", "date";
    Time = 1083, 1183, 8, "time", "time without time zone";
    Timestamp = 1114, 1115, 8, "timestamp", "timestamp without time zone";
    TimestampTz = 1184, 1185, 8, "timestamptz", "timestamp with time zone";
    Interval = 1186, 1187, 16, "interval", "interval";
    Numeric = 1700, 1231, -1, "numeric", "numeric";
    Regtype = 2206, 2211, 4, "regtype", "regtype";
    Uuid = 2950, 2951, 16, "uuid", "uuid";
    Jsonb = 3802, 3807, -1, "jsonb", "jsonb";
}

/// A PostgreSQL type: a base type or an array of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PgType {
    /// One value.
    One(Base),
    /// An array, of one dimension.
    Array(Base),
}

impl PgType {
    /// Its name from `format_type`.
    pub fn sql_name(self) -> String {
        match self {
            PgType::One(base) => base.sql_name().to_string(),
            PgType::Array(base) => format!("{}[]", base.sql_name()),
        }
    }

    /// Its OID.
    pub fn oid(self) -> u32 {
        match self {
            PgType::One(base) => base.oid(),
            PgType::Array(base) => base.array_oid(),
        }
    }

    /// Bytes of a value, -1 if they vary.
    pub fn size(self) -> i16 {
        match self {
            PgType::One(base) => base.size(),
            PgType::Array(_) => -1,
        }
    }

    /// The type with this OID. All names of text are text.
    pub fn from_oid(oid: u32) -> Option<PgType> {
        let one = |b: &&Base| b.oid() == oid;
        let array = |b: &&Base| b.array_oid() == oid;
        let found = Base::ALL.iter().find(one).map(|b| PgType::One(*b));
        found.or_else(|| Base::ALL.iter().find(array).map(|b| PgType::Array(*b)))
    }

    /// The type of this name from `format_type`.
    pub fn from_sql_name(name: &str) -> Option<PgType> {
        let base = |name: &str| Base::ALL.iter().find(|b| b.sql_name() == name).copied();
        match name.strip_suffix("[]") {
            Some(item) => base(item).map(PgType::Array),
            None => base(name).map(PgType::One),
        }
    }

    /// The displayed type of an Arrow field.
    pub fn of(field: &Field) -> PgType {
        if let Some(name) = field.metadata().get(PG_TYPE_KEY)
            && let Some(base) = Base::ALL.iter().find(|b| b.name() == name)
        {
            return PgType::One(*base);
        }
        PgType::of_arrow(field.data_type())
    }

    /// The displayed type of an Arrow type.
    pub fn of_arrow(data_type: &DataType) -> PgType {
        use DataType as D;
        let base = match data_type {
            D::Boolean => Base::Bool,
            D::Int8 | D::Int16 | D::UInt8 => Base::Int2,
            D::Int32 | D::UInt16 => Base::Int4,
            D::Int64 | D::UInt32 | D::UInt64 => Base::Int8,
            D::Float16 | D::Float32 => Base::Float4,
            D::Float64 => Base::Float8,
            D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => Base::Bytea,
            D::Date32 | D::Date64 => Base::Date,
            D::Time32(_) | D::Time64(_) => Base::Time,
            D::Timestamp(_, None) => Base::Timestamp,
            D::Timestamp(_, Some(_)) => Base::TimestampTz,
            D::Interval(_) | D::Duration(_) => Base::Interval,
            D::Decimal32(..) | D::Decimal64(..) | D::Decimal128(..) | D::Decimal256(..) => Base::Numeric,
            D::Dictionary(_, values) => return PgType::of_arrow(values),
            D::List(item) | D::LargeList(item) | D::FixedSizeList(item, _) => match PgType::of(item) {
                PgType::One(base) => return PgType::Array(base),
                PgType::Array(base) => return PgType::Array(base),
            },
            D::Struct(_) | D::Map(..) => Base::Json,
            _ => Base::Text,
        };
        PgType::One(base)
    }

    /// The Arrow type of its values.
    pub fn arrow(self) -> DataType {
        let base = |base| match base {
            Base::Bool => DataType::Boolean,
            Base::Bytea => DataType::Binary,
            Base::Int8 | Base::Oid => DataType::Int64,
            Base::Int2 => DataType::Int16,
            Base::Int4 => DataType::Int32,
            Base::Float4 => DataType::Float32,
            Base::Float8 => DataType::Float64,
            Base::Date => DataType::Date32,
            Base::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Base::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Base::Time => DataType::Time64(TimeUnit::Microsecond),
            Base::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Base::Numeric => DataType::Decimal128(38, 10),
            _ => DataType::Utf8,
        };
        match self {
            PgType::One(b) => base(b),
            PgType::Array(b) => DataType::new_list(base(b), true),
        }
    }

    /// The type in `CAST(… AS type)`, if parameters can have it.
    pub fn of_sql(data_type: &ast::DataType) -> Option<PgType> {
        use ast::DataType as T;
        let base = match data_type {
            T::Boolean | T::Bool => Base::Bool,
            T::Bytea => Base::Bytea,
            T::SmallInt(_) | T::Int2(_) => Base::Int2,
            T::Int(_) | T::Integer(_) | T::Int4(_) => Base::Int4,
            T::BigInt(_) | T::Int8(_) => Base::Int8,
            T::Real | T::Float4 => Base::Float4,
            T::Float(ast::ExactNumberInfo::Precision(bits)) if *bits <= planner::REAL_BITS_MAX => {
                Base::Float4
            }
            T::Double(_) | T::DoublePrecision | T::Float(_) | T::Float8 => Base::Float8,
            T::Numeric(_) | T::Decimal(_) | T::Dec(_) => Base::Numeric,
            T::Text | T::String(_) => Base::Text,
            T::Varchar(_) | T::CharacterVarying(_) | T::CharVarying(_) => Base::Varchar,
            T::Char(_) | T::Character(_) => Base::Bpchar,
            T::Uuid => Base::Uuid,
            T::JSON => Base::Json,
            T::JSONB => Base::Jsonb,
            T::Date => Base::Date,
            T::Time(..) => Base::Time,
            T::Timestamp(_, ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone) => Base::Timestamp,
            T::Timestamp(..) => Base::TimestampTz,
            T::Interval { .. } => Base::Interval,
            T::Array(ast::ArrayElemTypeDef::SquareBracket(item, _)) => {
                return match PgType::of_sql(item)? {
                    PgType::One(base) => Some(PgType::Array(base)),
                    array => Some(array),
                };
            }
            _ => return None,
        };
        Some(PgType::One(base))
    }
}

/// A field displayed as this type.
pub fn typed(field: Field, base: Base) -> Field {
    typed_with(field, base, NO_MODIFIER)
}

/// A field displayed as this type with this modifier.
pub fn typed_with(field: Field, base: Base, modifier: i32) -> Field {
    let mut metadata = HashMap::from([(PG_TYPE_KEY.to_string(), base.name().to_string())]);
    if modifier != NO_MODIFIER {
        metadata.insert(PG_MODIFIER_KEY.to_string(), modifier.to_string());
    }
    field.with_metadata(metadata)
}

/// The modifier of a field's type.
pub fn modifier(field: &Field) -> i32 {
    let written = field.metadata().get(PG_MODIFIER_KEY);
    written.and_then(|digits| digits.parse().ok()).unwrap_or(NO_MODIFIER)
}

/// The modifier of json that is a row, before a function that takes json has processed it.
pub const ROW_MODIFIER: i32 = 1;

/// The modifier of `varchar(n)`.
pub fn length_modifier(chars: u32) -> i32 {
    chars as i32 + 4
}
