//! Parses and writes PostgreSQL's values as plain numbers and bytes. The decoders of messages and SQL share it, so that
//! a text has the same meaning in a message, in a literal, in a cast and in COPY. Also the arithmetic of times and
//! intervals, and the patterns of `to_char`. All functions are pure and take one value: columns, types of the query
//! engine and errors for clients are in the crates above.

#![forbid(unsafe_code)]

pub mod array;
pub mod format;
pub mod json;
pub mod number;
pub mod text;
pub mod time;

/// Why a text is not a value of a type.
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
    /// Nested deeper than is accepted.
    TooDeep,
    /// Its value would have more bytes than a value may have.
    TooLarge,
    /// The character of code zero, which PostgreSQL's text cannot contain.
    ZeroCharacter,
    /// An offset from UTC out of range.
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
    /// PostgreSQL's SQLSTATE for it.
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
