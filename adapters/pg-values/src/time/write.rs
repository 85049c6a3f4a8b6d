//! Writes dates, times and timestamps as PostgreSQL does (DateStyle ISO).

use std::fmt::{Result, Write};

use super::calendar::*;

/// A date.
pub fn date(days: i32, out: &mut impl Write) -> Result {
    match days {
        DATE_INFINITY => return out.write_str("infinity"),
        DATE_MINUS_INFINITY => return out.write_str("-infinity"),
        _ => {}
    }
    let (year, month, day) = civil_from_days(days.into());
    write!(out, "{:04}-{month:02}-{day:02}", shown_year(year))?;
    era(year, out)
}

/// Microseconds since midnight.
pub fn time(micros: i64, out: &mut impl Write) -> Result {
    let (hour, minute, second, rest) = time_parts(micros);
    write!(out, "{hour:02}:{minute:02}:{second:02}")?;
    fraction(rest, out)
}

/// A timestamp; with `zoned`, a `timestamptz`, written in UTC.
pub fn timestamp(micros: i64, zoned: bool, out: &mut impl Write) -> Result {
    match micros {
        TIMESTAMP_INFINITY => return out.write_str("infinity"),
        TIMESTAMP_MINUS_INFINITY => return out.write_str("-infinity"),
        _ => {}
    }
    let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
    write!(out, "{:04}-{month:02}-{day:02} ", shown_year(year))?;
    time(micros.rem_euclid(MICROS_PER_DAY), out)?;
    if zoned {
        out.write_str("+00")?;
    }
    era(year, out)
}

/// `.` and up to six digits without trailing zeros; nothing for zero.
pub(super) fn fraction(micros: i64, out: &mut impl Write) -> Result {
    if micros == 0 {
        return Ok(());
    }
    let (mut digits, mut width) = (micros, 6);
    while digits % 10 == 0 {
        digits /= 10;
        width -= 1;
    }
    write!(out, ".{digits:0width$}")
}

fn shown_year(year: i64) -> i64 {
    if year > 0 { year } else { 1 - year }
}

fn era(year: i64, out: &mut impl Write) -> Result {
    if year > 0 { Ok(()) } else { out.write_str(" BC") }
}
