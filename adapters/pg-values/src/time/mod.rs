//! Dates, times, timestamps and intervals: parsing, writing and arithmetic on plain numbers: days and microseconds
//! since 1970-01-01. `infinity` is the largest number, `-infinity` the smallest.

mod abbreviations;
pub mod calendar;
pub mod fields;
mod input;
pub mod interval;
mod interval_text;
mod numbers;
mod words;
pub mod write;
pub mod zone;

pub use calendar::MICROS_PER_DAY;
pub use interval::Interval;
pub use interval_text::{Range, interval};
pub use numbers::{TimeUnit, YEARS, bounds, date_from_number, timestamp_from_number, year_of};
pub use words::Unit;
pub use zone::Zone;

use crate::Fault;
use calendar::*;
use input::Moment;

/// Days since 1970-01-01 of a date; a time after it is checked and ignored.
#[inline]
pub fn date(text: &[u8]) -> Result<i32, Fault> {
    match usual_date(text) {
        Some(days) => Ok(days as i32),
        None => date_at(text, None),
    }
}

/// The same, but a text may refer to the time of the statement (`now`, `today`).
pub fn date_at(text: &[u8], now: Option<i64>) -> Result<i32, Fault> {
    match input::read(utf8(text)?, now, false)? {
        Moment::Infinite { negative: true } => Ok(DATE_MINUS_INFINITY),
        Moment::Infinite { negative: false } => Ok(DATE_INFINITY),
        Moment::Utc(micros) => Ok(timestamp_to_date(micros)),
        Moment::Local { civil, .. } => calendar::date(civil.days()).ok_or(Fault::TimeOutOfRange),
    }
}

/// Microseconds of a timestamp. With `zoned`, a zone in the text converts it to UTC, and a text without one is in UTC.
/// Otherwise a zone is checked and ignored, as PostgreSQL's `timestamp` does.
#[inline]
pub fn timestamp(text: &[u8], zoned: bool) -> Result<i64, Fault> {
    match usual_timestamp(text) {
        Some(micros) => Ok(micros),
        None => timestamp_at(text, zoned, None),
    }
}

/// The same, but a text may refer to the time of the statement (`now`, `today`).
pub fn timestamp_at(text: &[u8], zoned: bool, now: Option<i64>) -> Result<i64, Fault> {
    match input::read(utf8(text)?, now, false)? {
        Moment::Infinite { negative: true } => Ok(TIMESTAMP_MINUS_INFINITY),
        Moment::Infinite { negative: false } => Ok(TIMESTAMP_INFINITY),
        Moment::Utc(micros) => Ok(micros),
        Moment::Local { civil, zone, .. } => {
            let local =
                civil.days().checked_mul(MICROS_PER_DAY).and_then(|d| d.checked_add(civil.micros_of_day()));
            let local = local.ok_or(Fault::TimeOutOfRange)?;
            let utc = match zone {
                Some(zone) if zoned => zone.to_utc(local),
                _ => Some(local).filter(|at| is_timestamp(*at)),
            };
            utc.ok_or(Fault::TimeOutOfRange)
        }
    }
}

/// Microseconds since midnight of a `time`; a date and a zone are checked and ignored.
pub fn time(text: &[u8], now: Option<i64>) -> Result<i64, Fault> {
    match input::read(utf8(text)?, now, true)? {
        Moment::Utc(micros) if micros != 0 => Ok(micros.rem_euclid(MICROS_PER_DAY)),
        Moment::Local { civil, has_time: true, zone, has_date } => match zone {
            // Whether a place has daylight saving time depends on the day.
            Some(Zone::Named(_)) if !has_date => Err(Fault::BadTime),
            _ => Ok(civil.micros_of_day()),
        },
        _ => Err(Fault::BadTime),
    }
}

fn utf8(text: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(text).map_err(|_| Fault::BadTime)
}

/// The usual spelling of a date, `YYYY-MM-DD`. None: use the general parser.
#[inline]
fn usual_date(text: &[u8]) -> Option<i64> {
    let [y3, y2, y1, y0, b'-', m1, m0, b'-', d1, d0] = *text else { return None };
    let mut all_digits = true;
    let mut two = |tens: u8, ones: u8| {
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        all_digits &= tens < 10 && ones < 10;
        tens as i64 * 10 + ones as i64
    };
    let (year, month, day) = (two(y3, y2) * 100 + two(y1, y0), two(m1, m0), two(d1, d0));
    let is_day =
        all_digits && year > 0 && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    is_day.then(|| days_from_civil(year, month, day))
}

/// The usual spelling: `YYYY-MM-DD(T| )HH:MM:SS[.fraction of up to 6 digits][Z]`. None: use the general parser.
#[inline]
fn usual_timestamp(text: &[u8]) -> Option<i64> {
    let (fixed, rest) = text.split_first_chunk::<19>()?;
    let [y3, y2, y1, y0, b'-', m1, m0, b'-', d1, d0, b'T' | b' ', h1, h0, b':', i1, i0, b':', s1, s0] =
        *fixed
    else {
        return None;
    };
    let mut all_digits = true;
    let mut two = |tens: u8, ones: u8| {
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        all_digits &= tens < 10 && ones < 10;
        tens as i64 * 10 + ones as i64
    };
    let (year, month, day) = (two(y3, y2) * 100 + two(y1, y0), two(m1, m0), two(d1, d0));
    let (hour, minute, second) = (two(h1, h0), two(i1, i0), two(s1, s0));
    let in_range = year > 0 && (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
    if !all_digits || !in_range || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let rest = rest.strip_suffix(b"Z").unwrap_or(rest);
    let micros = match rest {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            let fraction = digits.iter().fold(0, |value, digit| value * 10 + (digit - b'0') as i64);
            fraction * [100_000, 10_000, 1_000, 100, 10, 1][digits.len() - 1]
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + (hour * 60 + minute) * 60 + second;
    Some(seconds * MICROS_PER_SECOND + micros)
}
