//! Parses intervals in all forms that PostgreSQL accepts: `1 year 2 mons 3 days 04:05:06`, `1-2`, `3 4:05:06`,
//! `P1Y2M3DT4H5M6S`, and the unit after a literal in SQL (`INTERVAL '2' DAY`).

use super::calendar::*;
use super::input::{integer, micros_of};
use super::interval::{Interval, float_micros};
use super::words::{Kind, Piece, Unit, split, unit};
use crate::Fault;

/// The first and the last unit of an `INTERVAL '…' HOUR TO MINUTE`.
pub type Range = Option<(Unit, Unit)>;

/// Reads an interval. A field that its range does not have is cut off, as PostgreSQL does.
pub fn interval(text: &[u8], range: Range) -> Result<Interval, Fault> {
    let text = std::str::from_utf8(text).map_err(|_| Fault::BadInterval)?;
    let words = split(text).map_err(|_| Fault::BadInterval).and_then(|pieces| verbose(&pieces, range));
    let read = match words {
        Err(Fault::BadInterval) => iso(text),
        other => other,
    };
    read.and_then(Sum::finish).map(|interval| within(interval, range))
}

/// The sum of the parts of an interval.
#[derive(Default)]
struct Sum {
    years: i64,
    months: i64,
    days: i64,
    micros: i64,
}

/// Too large a part.
const OVERFLOW: Fault = Fault::IntervalFieldOverflow;

impl Sum {
    /// Adds a whole number and a fraction of a unit.
    fn add(&mut self, unit: Unit, whole: i64, fraction: f64) -> Result<(), Fault> {
        use Unit as U;
        match unit {
            U::Microsecond => self.micros(whole, fraction, 1),
            U::Millisecond => self.micros(whole, fraction, 1000),
            U::Second => self.micros(whole, fraction, MICROS_PER_SECOND),
            U::Minute => self.micros(whole, fraction, 60 * MICROS_PER_SECOND),
            U::Hour => self.micros(whole, fraction, MICROS_PER_HOUR),
            U::Day => {
                self.days(whole, 1)?;
                self.micros(0, fraction, MICROS_PER_DAY)
            }
            U::Week => {
                self.days(whole, 7)?;
                self.part_of_days(fraction * 7.0)
            }
            U::Month => {
                self.months(whole, 1)?;
                self.part_of_days(fraction * 30.0)
            }
            U::Year => self.years(whole, fraction, 1),
            U::Decade => self.years(whole, fraction, 10),
            U::Century => self.years(whole, fraction, 100),
            U::Millennium => self.years(whole, fraction, 1000),
            U::Quarter => Err(Fault::BadInterval),
        }
    }

    fn years(&mut self, whole: i64, fraction: f64, years: i64) -> Result<(), Fault> {
        let sum = whole.checked_mul(years).and_then(|more| self.years.checked_add(more));
        self.years = sum.ok_or(OVERFLOW)?;
        i32::try_from(self.years).map_err(|_| OVERFLOW)?;
        self.months((fraction * 12.0 * years as f64).round_ties_even() as i64, 1)
    }

    fn months(&mut self, whole: i64, months: i64) -> Result<(), Fault> {
        let sum = whole.checked_mul(months).and_then(|more| self.months.checked_add(more));
        self.months = sum.ok_or(OVERFLOW)?;
        i32::try_from(self.months).map(|_| ()).map_err(|_| OVERFLOW)
    }

    fn days(&mut self, whole: i64, days: i64) -> Result<(), Fault> {
        let sum = whole.checked_mul(days).and_then(|more| self.days.checked_add(more));
        self.days = sum.ok_or(OVERFLOW)?;
        i32::try_from(self.days).map(|_| ()).map_err(|_| OVERFLOW)
    }

    fn part_of_days(&mut self, days: f64) -> Result<(), Fault> {
        self.days(days.trunc() as i64, 1)?;
        self.micros(0, days - days.trunc(), MICROS_PER_DAY)
    }

    fn micros(&mut self, whole: i64, fraction: f64, micros: i64) -> Result<(), Fault> {
        let part = fraction * micros as f64;
        let rest = part - part.trunc();
        let mut more = part.trunc() as i64;
        if rest > 0.5 {
            more += 1;
        } else if rest < -0.5 {
            more -= 1;
        }
        let sum = whole.checked_mul(micros).and_then(|w| w.checked_add(more));
        self.micros = sum.and_then(|more| self.micros.checked_add(more)).ok_or(OVERFLOW)?;
        Ok(())
    }

    fn finish(self) -> Result<Interval, Fault> {
        Interval::of(self.years * 12 + self.months, self.days, self.micros)
    }

    fn negated(self) -> Result<Sum, Fault> {
        let micros = self.micros.checked_neg().ok_or(OVERFLOW)?;
        Ok(Sum { years: -self.years, months: -self.months, days: -self.days, micros })
    }
}

/// Numbers and words, read from the end so that a unit precedes its number.
fn verbose(pieces: &[Piece], range: Range) -> Result<Sum, Fault> {
    let mut sum = Sum::default();
    let mut seen: Vec<Unit> = vec![];
    let mut unit_of_next: Option<Unit> = None;
    let mut ago = false;
    // "ago" is in the place of a unit.
    let mut useless = false;
    for piece in pieces.iter().rev() {
        let found = match piece.kind {
            Kind::Time => time(&mut sum, &piece.text, range)?,
            Kind::Signed if piece.text[1..].contains(':') => {
                let mut part = Sum::default();
                let found = time(&mut part, &piece.text[1..], range)?;
                let part = if piece.text.starts_with('-') { part.negated()? } else { part };
                sum.micros(part.micros, 0.0, 1)?;
                found
            }
            Kind::Signed | Kind::Date | Kind::Number => {
                let unit = unit_of_next.unwrap_or_else(|| unit_of_range(range));
                if useless {
                    return Err(Fault::BadInterval);
                }
                number(&mut sum, &piece.text, unit)?
            }
            Kind::Word | Kind::SignedWord => {
                if piece.text == "ago" {
                    (ago, useless) = (true, true);
                    continue;
                }
                match unit(&piece.text) {
                    Some(unit) => unit_of_next = Some(unit),
                    None => return Err(Fault::BadInterval),
                }
                useless = false;
                continue;
            }
        };
        // A number before a time or before hours counts days.
        useless = false;
        unit_of_next = match (piece.kind, found.first()) {
            (Kind::Time, _) | (Kind::Signed, Some(Unit::Hour)) => Some(Unit::Day),
            (_, Some(Unit::Hour)) => Some(Unit::Day),
            _ => unit_of_next,
        };
        if found.iter().any(|unit| seen.contains(unit)) {
            return Err(Fault::BadInterval);
        }
        seen.extend(found);
    }
    if seen.is_empty() {
        return Err(Fault::BadInterval);
    }
    if ago { sum.negated() } else { Ok(sum) }
}

/// The unit of a number without one.
fn unit_of_range(range: Range) -> Unit {
    match range {
        Some((_, last)) => last,
        None => Unit::Second,
    }
}

/// A number, or years and months with a hyphen between. Returns the units that may not occur again.
fn number(sum: &mut Sum, text: &str, unit: Unit) -> Result<Vec<Unit>, Fault> {
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some((years, months)) = digits.split_once('-') {
        let months = integer(months).map_err(field)?;
        if months >= 12 {
            return Err(OVERFLOW);
        }
        let years: i64 = years.parse().map_err(|_| field_of(years))?;
        let total = years.checked_mul(12).and_then(|m| m.checked_add(months)).ok_or(OVERFLOW)?;
        sum.add(Unit::Month, if negative { -total } else { total }, 0.0)?;
        return Ok(vec![Unit::Month]);
    }
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let whole: i64 = match whole {
        "" if !fraction.is_empty() => 0,
        whole => {
            let signed = if negative { format!("-{whole}") } else { whole.to_string() };
            signed.parse().map_err(|_| field_of(whole))?
        }
    };
    let part: f64 = match fraction {
        "" | "." => 0.0,
        digits => format!("0{digits}").parse().map_err(|_| Fault::BadInterval)?,
    };
    sum.add(unit, whole, if negative { -part } else { part })?;
    Ok(match unit {
        // A fraction of a second also uses up milliseconds and microseconds.
        Unit::Second if part != 0.0 => vec![Unit::Second, Unit::Millisecond, Unit::Microsecond],
        unit => vec![unit],
    })
}

fn field_of(digits: &str) -> Fault {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if is_number { OVERFLOW } else { Fault::BadInterval }
}

fn field(fault: Fault) -> Fault {
    match fault {
        Fault::BadTime => Fault::BadInterval,
        _ => OVERFLOW,
    }
}

/// `HH:MM[:SS[.fraction]]` or, in seconds, `MM:SS[.fraction]`.
fn time(sum: &mut Sum, text: &str, range: Range) -> Result<Vec<Unit>, Fault> {
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let micros = if fraction.is_empty() { 0 } else { micros_of(fraction).map_err(field)? };
    let wide = |digits: &str| digits.parse::<i64>().map_err(|_| field_of(digits));
    let parts: Vec<&str> = whole.split(':').collect();
    let in_seconds = !fraction.is_empty() || range == Some((Unit::Minute, Unit::Second));
    let (hours, minutes, seconds) = match parts.as_slice() {
        [minutes, seconds] if in_seconds => (0, wide(minutes)?, wide(seconds)?),
        [hours, minutes] => (wide(hours)?, wide(minutes)?, 0),
        [hours, minutes, seconds] => (wide(hours)?, wide(minutes)?, wide(seconds)?),
        _ => return Err(Fault::BadInterval),
    };
    if minutes > 59 || seconds > 60 {
        return Err(OVERFLOW);
    }
    sum.micros(hours, 0.0, MICROS_PER_HOUR)?;
    sum.micros((minutes * 60 + seconds) * MICROS_PER_SECOND + micros, 0.0, 1)?;
    Ok(vec![Unit::Hour, Unit::Minute, Unit::Second])
}

/// ISO 8601: `P1Y2M3DT4H5M6S`, `P1W`, `P0001-02-03T04:05:06`.
fn iso(text: &str) -> Result<Sum, Fault> {
    let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty()).ok_or(Fault::BadInterval)?;
    let mut sum = Sum::default();
    let mut dated = true;
    let mut any = false;
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            dated = false;
            any = false;
            rest = time;
            continue;
        }
        let start = rest;
        let (whole, fraction, after) = iso_number(rest)?;
        let mark = after.chars().next();
        let unit = match (mark, dated) {
            (Some('Y'), true) => Unit::Year,
            (Some('M'), true) => Unit::Month,
            (Some('W'), true) => Unit::Week,
            (Some('D'), true) => Unit::Day,
            (Some('H'), false) => Unit::Hour,
            (Some('M'), false) => Unit::Minute,
            (Some('S'), false) => Unit::Second,
            (None | Some('T' | '-' | ':'), _) if !any => {
                rest = if dated { iso_date(&mut sum, start)? } else { iso_time(&mut sum, start)? };
                any = true;
                continue;
            }
            _ => return Err(Fault::BadInterval),
        };
        sum.add(unit, whole, fraction)?;
        any = true;
        rest = &after[1..];
    }
    Ok(sum)
}

/// `YYYY-MM-DD` or `YYYYMMDD`, up to a `T`.
fn iso_date<'a>(sum: &mut Sum, text: &'a str) -> Result<&'a str, Fault> {
    let (date, rest) = text.split_at(text.find('T').unwrap_or(text.len()));
    let signed = |digits: &str| digits.parse::<i64>().map_err(|_| Fault::BadInterval);
    let parts: Vec<&str> = match (date.len(), date.bytes().all(|b| b.is_ascii_digit())) {
        (8, true) => vec![&date[..4], &date[4..6], &date[6..]],
        _ => date.split('-').collect(),
    };
    for (part, unit) in parts.iter().zip([Unit::Year, Unit::Month, Unit::Day]) {
        sum.add(unit, signed(part)?, 0.0)?;
    }
    if parts.len() > 3 { Err(Fault::BadInterval) } else { Ok(rest) }
}

/// `HH:MM:SS` or `HHMMSS`.
fn iso_time<'a>(sum: &mut Sum, text: &'a str) -> Result<&'a str, Fault> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = match (text.len(), plain) {
        (6, true) => vec![&text[..2], &text[2..4], &text[4..]],
        _ => text.split(':').collect(),
    };
    for (part, unit) in parts.iter().zip([Unit::Hour, Unit::Minute, Unit::Second]) {
        let (whole, fraction, rest) = iso_number(part)?;
        if !rest.is_empty() {
            return Err(Fault::BadInterval);
        }
        sum.add(unit, whole, fraction)?;
    }
    if parts.len() > 3 { Err(Fault::BadInterval) } else { Ok("") }
}

/// A number with a sign and a fraction, and the rest after it.
fn iso_number(text: &str) -> Result<(i64, f64, &str), Fault> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let sign = usize::from(text.starts_with(['-', '+']));
    let end = text[sign..].find(|c| !is_part(c)).map_or(text.len(), |at| at + sign);
    let (number, rest) = text.split_at(end);
    let value: f64 = number.parse().map_err(|_| Fault::BadInterval)?;
    let whole = float_micros(value.trunc()).map_err(|_| OVERFLOW)?;
    Ok((whole, value - value.trunc(), rest))
}

/// The interval without the parts outside of a range.
fn within(interval: Interval, range: Range) -> Interval {
    let Some((_, last)) = range else { return interval };
    let Interval { mut months, mut days, mut micros } = interval;
    let cut = |micros: i64, unit: i64| micros / unit * unit;
    match last {
        Unit::Year => months = months / 12 * 12,
        Unit::Hour => micros = cut(micros, MICROS_PER_HOUR),
        Unit::Minute => micros = cut(micros, 60 * MICROS_PER_SECOND),
        _ => {}
    }
    if last >= Unit::Month {
        days = 0;
    }
    if last >= Unit::Day {
        micros = 0;
    }
    Interval { months, days, micros }
}
