//! Times from numbers, which count units since 1970-01-01 UTC.

use super::calendar::{MICROS_PER_DAY, civil_from_days, days_from_civil};
use crate::{Fault, number};

/// Years that the date libraries of clients support. A number for another year most likely counts another unit.
pub const YEARS: std::ops::RangeInclusive<i64> = 1..=262_142;

/// The unit of a number that counts from 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum TimeUnit {
    Days,
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl TimeUnit {
    /// All of them.
    pub const ALL: [TimeUnit; 5] = [
        TimeUnit::Days,
        TimeUnit::Seconds,
        TimeUnit::Milliseconds,
        TimeUnit::Microseconds,
        TimeUnit::Nanoseconds,
    ];

    /// Its name after UNIT.
    pub fn name(self) -> &'static str {
        match self {
            TimeUnit::Days => "d",
            TimeUnit::Seconds => "s",
            TimeUnit::Milliseconds => "ms",
            TimeUnit::Microseconds => "us",
            TimeUnit::Nanoseconds => "ns",
        }
    }
}

/// Microseconds from a number of units since 1970-01-01 UTC, which may have a fraction; rounded half away from zero.
pub fn timestamp_from_number(text: &[u8], unit: TimeUnit) -> Result<i64, Fault> {
    let scaled = |scale| number::decimal(text, 38, scale).map_err(|_| Fault::TimeOutOfRange);
    let micros = match unit {
        TimeUnit::Days => scaled(6)? * 86_400,
        TimeUnit::Seconds => scaled(6)?,
        TimeUnit::Milliseconds => scaled(3)?,
        TimeUnit::Microseconds => scaled(0)?,
        TimeUnit::Nanoseconds => {
            let nanos = scaled(0)?;
            (nanos + 500 * nanos.signum()) / 1000
        }
    };
    let years = bounds(*YEARS.start(), *YEARS.end());
    let fits = |micros: &i64| (years.start * MICROS_PER_DAY..years.end * MICROS_PER_DAY).contains(micros);
    i64::try_from(micros).ok().filter(fits).ok_or(Fault::TimeOutOfRange)
}

/// Days from a number of units since 1970-01-01 UTC: the day of that point in time.
pub fn date_from_number(text: &[u8], unit: TimeUnit) -> Result<i32, Fault> {
    Ok(timestamp_from_number(text, unit)?.div_euclid(MICROS_PER_DAY) as i32)
}

/// The days of some years, the first and the last included.
pub fn bounds(first_year: i64, last_year: i64) -> std::ops::Range<i64> {
    days_from_civil(first_year, 1, 1)..days_from_civil(last_year + 1, 1, 1)
}

/// The year of a day.
pub fn year_of(days: i64) -> i64 {
    civil_from_days(days).0
}
