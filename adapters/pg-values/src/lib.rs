//! PostgreSQL's values as plain numbers and bytes: what their texts mean. Shared by the decoders of messages and by SQL, so that
//! a text means the same in a message, in a literal, in a cast and in COPY; the arithmetic of times and intervals, and the patterns
//! of `to_char`. Pure functions over one value: columns, types of a query engine and errors for clients live in the crates above.

#![forbid(unsafe_code)]

pub mod array;
pub mod format;
pub mod json;
pub mod number;
pub mod text;
pub mod time;

/// Why a text is no value of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Not the text of such a value.
    Invalid,
    /// A number too large for the type.
    OutOfRange,
    /// Not a whole number.
    Fraction,
    /// Not the text of a date or time.
    BadTime,
    /// No such day or hour.
    TimeOutOfRange,
    /// Values in values, deeper than is taken.
    TooDeep,
    /// It stands for more bytes than a value may have.
    TooLarge,
    /// The character of code zero, which no text holds.
    ZeroCharacter,
    /// An offset that no zone has.
    ZoneOutOfRange,
    /// No zone has this name.
    UnknownZone,
    /// Not the text of an interval.
    BadInterval,
    /// A part of an interval is too large.
    IntervalFieldOverflow,
    /// An interval is too long.
    IntervalOverflow,
}

impl Fault {
    /// SQLSTATE, the one that PostgreSQL gives.
    pub fn code(self) -> &'static str {
        match self {
            Fault::Invalid | Fault::Fraction => "22P02",
            Fault::OutOfRange => "22003",
            Fault::BadTime | Fault::BadInterval => "22007",
            Fault::TimeOutOfRange | Fault::IntervalOverflow => "22008",
            Fault::TooDeep => "54001",
            Fault::TooLarge => "54000",
            Fault::ZeroCharacter => "22P05",
            Fault::ZoneOutOfRange => "22009",
            Fault::UnknownZone => "22023",
            Fault::IntervalFieldOverflow => "22015",
        }
    }
}
