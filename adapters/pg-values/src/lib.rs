//! PostgreSQL's values as plain numbers and bytes: what their texts mean. Shared by the decoders of messages and by SQL, so that
//! a text means the same in a message, in a literal, in a cast and in COPY; the arithmetic of times and intervals, and the patterns
//! of `to_char`. Pure functions over one value: columns, types of a query engine and errors for clients live in the crates above. Of
//! Tidemark this crate knows the kernel's [`SqlState`] and nothing else.

#![forbid(unsafe_code)]

pub mod array;
pub mod format;
pub mod json;
pub mod number;
pub mod text;
pub mod time;

use kernel::SqlState;

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
    pub fn sqlstate(self) -> SqlState {
        match self {
            Fault::Invalid | Fault::Fraction => SqlState::INVALID_TEXT_REPRESENTATION,
            Fault::OutOfRange => SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            Fault::BadTime | Fault::BadInterval => SqlState::INVALID_DATETIME_FORMAT,
            Fault::TimeOutOfRange | Fault::IntervalOverflow => SqlState::DATETIME_FIELD_OVERFLOW,
            Fault::TooDeep => SqlState::STATEMENT_TOO_COMPLEX,
            Fault::TooLarge => SqlState::PROGRAM_LIMIT_EXCEEDED,
            Fault::ZeroCharacter => SqlState::UNTRANSLATABLE_CHARACTER,
            Fault::ZoneOutOfRange => SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
            Fault::UnknownZone => SqlState::INVALID_PARAMETER_VALUE,
            Fault::IntervalFieldOverflow => SqlState::INTERVAL_FIELD_OVERFLOW,
        }
    }
}
