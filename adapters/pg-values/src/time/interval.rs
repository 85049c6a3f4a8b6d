//! Intervals: months, days and microseconds, which PostgreSQL stores separately because months and days differ in
//! length. Arithmetic, order and writing; `interval_text` parses them.

use std::fmt::{Result as Written, Write};

use super::calendar::*;
use super::write;
use crate::Fault;

/// Days of a month in comparisons and fractions.
const DAYS_PER_MONTH: i64 = 30;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// An interval.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

/// Out of an interval's range.
const OVERFLOW: Fault = Fault::IntervalOverflow;

impl Interval {
    /// From parts in 64 bits.
    pub fn of(months: i64, days: i64, micros: i64) -> Result<Interval, Fault> {
        let narrow = |part: i64| i32::try_from(part).map_err(|_| OVERFLOW);
        Ok(Interval { months: narrow(months)?, days: narrow(days)?, micros })
    }

    /// Its length in microseconds with months of 30 days; PostgreSQL compares intervals by it.
    pub fn length_micros(self) -> i128 {
        let days = i128::from(self.months) * i128::from(DAYS_PER_MONTH) + i128::from(self.days);
        days * i128::from(MICROS_PER_DAY) + i128::from(self.micros)
    }

    /// The sum.
    pub fn plus(self, other: Interval) -> Result<Interval, Fault> {
        let months = self.months.checked_add(other.months);
        let days = self.days.checked_add(other.days);
        let micros = self.micros.checked_add(other.micros);
        match (months, days, micros) {
            (Some(months), Some(days), Some(micros)) => Ok(Interval { months, days, micros }),
            _ => Err(OVERFLOW),
        }
    }

    /// The negative.
    pub fn negated(self) -> Result<Interval, Fault> {
        match (self.months.checked_neg(), self.days.checked_neg(), self.micros.checked_neg()) {
            (Some(months), Some(days), Some(micros)) => Ok(Interval { months, days, micros }),
            _ => Err(OVERFLOW),
        }
    }

    /// The difference.
    pub fn minus(self, other: Interval) -> Result<Interval, Fault> {
        let months = self.months.checked_sub(other.months);
        let days = self.days.checked_sub(other.days);
        let micros = self.micros.checked_sub(other.micros);
        match (months, days, micros) {
            (Some(months), Some(days), Some(micros)) => Ok(Interval { months, days, micros }),
            _ => Err(OVERFLOW),
        }
    }

    /// The product: a fraction of a month becomes days, a fraction of a day time.
    pub fn times(self, factor: f64) -> Result<Interval, Fault> {
        self.scaled(|part| part * factor)
    }

    /// The quotient. None: division by zero.
    pub fn divided(self, by: f64) -> Option<Result<Interval, Fault>> {
        (by != 0.0).then(|| self.scaled(|part| part / by))
    }

    fn scaled(self, scale: impl Fn(f64) -> f64) -> Result<Interval, Fault> {
        let whole = |part: f64| match part.is_nan() || part.abs() > f64::from(i32::MAX) {
            true => Err(OVERFLOW),
            false => Ok(part as i32),
        };
        let (month_part, day_part) = (scale(self.months.into()), scale(self.days.into()));
        let (months, mut days) = (whole(month_part)?, whole(day_part)?);
        let more_days = to_micros((month_part - f64::from(months)) * DAYS_PER_MONTH as f64);
        let mut seconds =
            to_micros((day_part - f64::from(days) + more_days - more_days.trunc()) * SECONDS_PER_DAY);
        let add = |days: i32, more: f64| days.checked_add(more as i32).ok_or(OVERFLOW);
        if seconds.abs() >= SECONDS_PER_DAY {
            let more = (seconds / SECONDS_PER_DAY).trunc();
            days = add(days, more)?;
            seconds -= more * SECONDS_PER_DAY;
        }
        days = add(days, more_days.trunc())?;
        let micros = (scale(self.micros as f64) + seconds * MICROS_PER_SECOND as f64).round_ties_even();
        Ok(Interval { months, days, micros: float_micros(micros)? })
    }

    /// Hours beyond 24 as days.
    pub fn justify_hours(self) -> Result<Interval, Fault> {
        let mut days = i64::from(self.days) + self.micros / MICROS_PER_DAY;
        let mut micros = self.micros % MICROS_PER_DAY;
        if days > 0 && micros < 0 {
            micros += MICROS_PER_DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= MICROS_PER_DAY;
            days += 1;
        }
        Interval::of(self.months.into(), days, micros)
    }

    /// Days beyond 30 as months.
    pub fn justify_days(self) -> Result<Interval, Fault> {
        let mut months = i64::from(self.months) + i64::from(self.days) / DAYS_PER_MONTH;
        let mut days = i64::from(self.days) % DAYS_PER_MONTH;
        if months > 0 && days < 0 {
            days += DAYS_PER_MONTH;
            months -= 1;
        } else if months < 0 && days > 0 {
            days -= DAYS_PER_MONTH;
            months += 1;
        }
        Interval::of(months, days, self.micros)
    }

    /// Both, and all parts of one sign.
    pub fn justify(self) -> Result<Interval, Fault> {
        let mut days = i64::from(self.days) + self.micros / MICROS_PER_DAY;
        let mut micros = self.micros % MICROS_PER_DAY;
        let mut months = i64::from(self.months) + days / DAYS_PER_MONTH;
        days %= DAYS_PER_MONTH;
        if months > 0 && (days < 0 || (days == 0 && micros < 0)) {
            days += DAYS_PER_MONTH;
            months -= 1;
        } else if months < 0 && (days > 0 || (days == 0 && micros > 0)) {
            days -= DAYS_PER_MONTH;
            months += 1;
        }
        if days > 0 && micros < 0 {
            micros += MICROS_PER_DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= MICROS_PER_DAY;
            days += 1;
        }
        Interval::of(months, days, micros)
    }

    /// A timestamp plus this: months first, with the day limited to the length of the month, then days, then time.
    /// None: out of range.
    pub fn added_to(self, timestamp: i64) -> Option<i64> {
        if is_infinite(timestamp) {
            return Some(timestamp);
        }
        let mut at = timestamp;
        if self.months != 0 {
            let civil = Civil::of(at);
            let months = civil.year * 12 + civil.month - 1 + i64::from(self.months);
            let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
            let day = civil.day.min(days_in_month(year, month));
            at = self::at(days_from_civil(year, month, day), at.rem_euclid(MICROS_PER_DAY))?;
        }
        let moved = i64::from(self.days).checked_mul(MICROS_PER_DAY).and_then(|days| at.checked_add(days))?;
        // Each step must stay in range, as in PostgreSQL.
        (self.days == 0 || is_timestamp(moved)).then_some(())?;
        moved.checked_add(self.micros).filter(|at| is_timestamp(*at))
    }

    /// Writes it as PostgreSQL does (IntervalStyle postgres).
    pub fn write(self, out: &mut impl Write) -> Written {
        let mut wrote = Wrote { any: false, negative: false };
        wrote.part(out, self.months / 12, "year")?;
        wrote.part(out, self.months % 12, "mon")?;
        wrote.part(out, self.days, "day")?;
        if self.micros == 0 && wrote.any {
            return Ok(());
        }
        if wrote.any {
            out.write_char(' ')?;
        }
        match (self.micros < 0, wrote.negative) {
            (true, _) => out.write_char('-')?,
            (false, true) => out.write_char('+')?,
            (false, false) => {}
        }
        let micros = self.micros.unsigned_abs();
        let (seconds, rest) = (micros / MICROS_PER_SECOND as u64, micros % MICROS_PER_SECOND as u64);
        write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        write::fraction(rest as i64, out)
    }
}

/// The state of writing an interval.
struct Wrote {
    any: bool,
    /// The last part was negative: a positive one after it gets a plus sign.
    negative: bool,
}

impl Wrote {
    fn part(&mut self, out: &mut impl Write, value: i32, unit: &str) -> Written {
        if value == 0 {
            return Ok(());
        }
        let space = if self.any { " " } else { "" };
        let sign = if self.negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        write!(out, "{space}{sign}{value} {unit}{plural}")?;
        (self.any, self.negative) = (true, value < 0);
        Ok(())
    }
}

/// Rounded to the sixth digit after the point, as PostgreSQL rounds intermediate values.
fn to_micros(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}

/// A whole number of microseconds that was calculated as a double.
pub(super) fn float_micros(micros: f64) -> Result<i64, Fault> {
    let fits = micros >= -(2f64.powi(63)) && micros < 2f64.powi(63);
    if fits { Ok(micros as i64) } else { Err(OVERFLOW) }
}

/// The difference of two timestamps, in days and time. None: out of range.
pub fn between(later: i64, earlier: i64) -> Option<Interval> {
    if is_infinite(later) || is_infinite(earlier) {
        return None;
    }
    let micros = later.checked_sub(earlier)?;
    Interval { months: 0, days: 0, micros }.justify_hours().ok()
}

/// The difference of two timestamps in years, months, days and time. None for infinities.
pub fn age(later: i64, earlier: i64) -> Option<Interval> {
    if is_infinite(later) || is_infinite(earlier) {
        return None;
    }
    let negative = later < earlier;
    let (end, start) = (Civil::of(later.max(earlier)), Civil::of(later.min(earlier)));
    let mut micros = end.micros_of_day() - start.micros_of_day();
    let mut days = end.day - start.day;
    let mut months = (end.year - start.year) * 12 + end.month - start.month;
    if micros < 0 {
        micros += MICROS_PER_DAY;
        days -= 1;
    }
    // Days are borrowed from the month of the earlier timestamp.
    while days < 0 {
        days += days_in_month(start.year, start.month);
        months -= 1;
    }
    let sign = if negative { -1 } else { 1 };
    Interval::of(months * sign, days * sign, micros * sign).ok()
}
