//! Values of every SQL type, into columns that grow. `pg-values` defines the meaning of a text; `json` and `csv` select
//! the text of each column.

mod column;

pub(crate) use column::Column;

use kernel::schema::ColumnType;

/// Why a value does not fit its column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Not the text of such a value.
    Invalid,
    /// A number too large for the type.
    OutOfRange,
    /// Not a whole number.
    Fraction,
    /// Not the text of a date or time.
    BadTime,
    /// A number for a time, in a mapping without a unit.
    NoUnit,
    /// No such day or hour.
    TimeOutOfRange,
    /// No such zone.
    BadZone,
    /// The NUL character, which text cannot hold.
    Nul,
    /// Half of a surrogate pair.
    LoneSurrogate,
    /// An array or object where a plain value is wanted.
    Nested,
    /// Text that is not JSON, for a JSON column.
    NotJson,
    /// JSON nested deeper than the limit.
    TooDeep,
    /// JSON that stands for more bytes than a value may have.
    TooLarge,
    /// A text with more characters than the column's length.
    TooLong,
    /// Null or missing where the column is NOT NULL.
    Null,
    /// The columns of the batch are full.
    NoRoom,
}

impl From<pg_values::Fault> for Fault {
    fn from(fault: pg_values::Fault) -> Fault {
        match fault {
            pg_values::Fault::Invalid => Fault::Invalid,
            pg_values::Fault::OutOfRange => Fault::OutOfRange,
            pg_values::Fault::Fraction => Fault::Fraction,
            pg_values::Fault::BadTime => Fault::BadTime,
            pg_values::Fault::TimeOutOfRange => Fault::TimeOutOfRange,
            pg_values::Fault::TooDeep => Fault::TooDeep,
            pg_values::Fault::TooLarge => Fault::TooLarge,
            pg_values::Fault::ZeroCharacter => Fault::Nul,
            pg_values::Fault::UnknownZone | pg_values::Fault::ZoneOutOfRange => Fault::BadZone,
            // No column of a message has type interval.
            pg_values::Fault::BadInterval
            | pg_values::Fault::IntervalFieldOverflow
            | pg_values::Fault::IntervalOverflow => Fault::Invalid,
        }
    }
}

impl Fault {
    /// SQLSTATE, the one that PostgreSQL gives.
    pub fn code(self) -> &'static str {
        match self {
            Fault::Invalid | Fault::Fraction | Fault::Nested | Fault::NotJson => "22P02",
            Fault::OutOfRange => "22003",
            Fault::BadTime | Fault::NoUnit => "22007",
            Fault::TimeOutOfRange => "22008",
            Fault::BadZone => "22009",
            Fault::Nul | Fault::LoneSurrogate => "22P05",
            Fault::TooDeep => "54001",
            Fault::TooLong => "22001",
            Fault::Null => "23502",
            Fault::TooLarge | Fault::NoRoom => "54000",
        }
    }

    /// What is wrong, to follow the value that was found.
    pub fn reason(self, column_type: ColumnType) -> String {
        let name = type_name(column_type);
        match self {
            Fault::Invalid => format!("is not a valid {name}"),
            Fault::OutOfRange => format!("is out of range for {name}"),
            Fault::Fraction => format!("has a fraction, which {name} cannot hold"),
            Fault::BadTime => format!("is not a valid {name}: ISO 8601 is wanted, as 2026-01-31T12:00:00Z"),
            Fault::NoUnit => format!(
                "is a number, which is a {name} only if the mapping names its unit: UNIT 's', 'ms', 'us' or 'ns'"
            ),
            Fault::TimeOutOfRange => format!("is out of range for {name}"),
            Fault::BadZone => "has a time zone that there is not".into(),
            Fault::Nul => format!("contains the NUL character, which {name} cannot hold"),
            Fault::LoneSurrogate => "contains half of a surrogate pair".into(),
            Fault::Nested => format!("is an array or object where a {name} is wanted"),
            Fault::NotJson => "is not valid JSON".into(),
            Fault::TooDeep => format!("is nested more than {} deep", pg_values::json::DEPTH_MAX),
            Fault::TooLarge => format!("stands for more than {} bytes", pg_values::json::BYTES_MAX),
            Fault::TooLong => format!("is too long for {name}"),
            Fault::Null => "violates the column's NOT NULL constraint".into(),
            Fault::NoRoom => "does not fit: more than 2 GiB of text in one batch".into(),
        }
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
