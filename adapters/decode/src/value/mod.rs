//! Values of every SQL type, into columns that grow. `pg-values` defines the meaning of a text; `json` and `csv` select
//! the text of each column.

mod column;

pub(crate) use column::Column;

use kernel::SqlState;
use kernel::schema::ColumnType;

/// Why a value does not fit its column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Not a text of the type.
    Text(pg_values::Fault),
    /// A number for a time, in a mapping without a unit.
    NoUnit,
    /// Half of a surrogate pair.
    LoneSurrogate,
    /// An array or object where a plain value is wanted.
    Nested,
    /// Text that is not JSON, for a JSON column.
    NotJson,
    /// A text with more characters than the column's length.
    TooLong,
    /// Null or missing where the column is NOT NULL.
    Null,
    /// The columns of the batch are full.
    NoRoom,
}

impl From<pg_values::Fault> for Fault {
    fn from(fault: pg_values::Fault) -> Fault {
        Fault::Text(fault)
    }
}

impl Fault {
    /// SQLSTATE, the one that PostgreSQL gives.
    pub fn sqlstate(self) -> SqlState {
        match self {
            Fault::Text(fault) => fault.sqlstate(),
            Fault::Nested | Fault::NotJson => SqlState::INVALID_TEXT_REPRESENTATION,
            Fault::NoUnit => SqlState::INVALID_DATETIME_FORMAT,
            Fault::LoneSurrogate => SqlState::UNTRANSLATABLE_CHARACTER,
            Fault::TooLong => SqlState::STRING_DATA_RIGHT_TRUNCATION,
            Fault::Null => SqlState::NOT_NULL_VIOLATION,
            Fault::NoRoom => SqlState::PROGRAM_LIMIT_EXCEEDED,
        }
    }

    /// What is wrong, to follow the value that was found.
    pub fn reason(self, column_type: ColumnType) -> String {
        let name = type_name(column_type);
        match self {
            Fault::Text(fault) => text_reason(fault, &name),
            Fault::NoUnit => format!(
                "is a number, which is a {name} only if the mapping names its unit: UNIT 's', 'ms', 'us' or 'ns'"
            ),
            Fault::LoneSurrogate => "contains half of a surrogate pair".into(),
            Fault::Nested => format!("is an array or object where a {name} is wanted"),
            Fault::NotJson => "is not valid JSON".into(),
            Fault::TooLong => format!("is too long for {name}"),
            Fault::Null => "violates the column's NOT NULL constraint".into(),
            Fault::NoRoom => "does not fit: more than 2 GiB of text in one batch".into(),
        }
    }
}

/// Why a text is no value of the type of this name, to follow the text.
fn text_reason(fault: pg_values::Fault, name: &str) -> String {
    use pg_values::Fault as Text;
    match fault {
        Text::Invalid | Text::BadInterval => format!("is not a valid {name}"),
        Text::OutOfRange | Text::TimeOutOfRange | Text::IntervalFieldOverflow | Text::IntervalOverflow => {
            format!("is out of range for {name}")
        }
        Text::Fraction => format!("has a fraction, which {name} cannot hold"),
        Text::BadTime => format!("is not a valid {name}: ISO 8601 is wanted, as 2026-01-31T12:00:00Z"),
        Text::UnknownZone | Text::ZoneOutOfRange => "has a time zone that there is not".into(),
        Text::ZeroCharacter => format!("contains the NUL character, which {name} cannot hold"),
        Text::TooDeep => format!("is nested more than {} deep", pg_values::json::DEPTH_MAX),
        Text::TooLarge => format!("stands for more than {} bytes", pg_values::json::BYTES_MAX),
    }
}

/// Name of a type as SQL writes it.
fn type_name(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Bool => "boolean".into(),
        ColumnType::Int16 => "smallint".into(),
        ColumnType::Int32 => "integer".into(),
        ColumnType::Int64 => "bigint".into(),
        ColumnType::Float32 => "real".into(),
        ColumnType::Float64 => "double precision".into(),
        ColumnType::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
        ColumnType::Text => "text".into(),
        ColumnType::Varchar { max_chars: None } => "character varying".into(),
        ColumnType::Varchar { max_chars: Some(max) } => format!("character varying({max})"),
        ColumnType::Json => "jsonb".into(),
        ColumnType::Uuid => "uuid".into(),
        ColumnType::Bytea => "bytea".into(),
        ColumnType::Date => "date".into(),
        ColumnType::Timestamp => "timestamp".into(),
        ColumnType::TimestampTz => "timestamp with time zone".into(),
    }
}
