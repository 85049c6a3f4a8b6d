//! Writing timestamps and intervals with a pattern.

use std::fmt::Write;

use super::pattern::{Case, Field as F, Ordinal, Pattern, Piece};
use crate::time::Interval;
use crate::time::calendar::*;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub(super) const ROMAN: [&str; 12] =
    ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Width to which names of months and days are padded.
const NAME_WIDTH: usize = 9;

/// The parts of the value.
struct Parts {
    civil: Civil,
    day_of_year: i64,
    is_interval: bool,
    zone: &'static str,
}

/// A timestamp; with `zoned`, a `timestamptz` in UTC. None for infinity.
pub fn timestamp(micros: i64, zoned: bool, pattern: &Pattern) -> Option<String> {
    if is_infinite(micros) {
        return None;
    }
    let civil = Civil::of(micros);
    let day_of_year = civil.days() - days_from_civil(civil.year, 1, 1) + 1;
    let parts = Parts { civil, day_of_year, is_interval: false, zone: if zoned { "UTC" } else { "" } };
    parts.write(pattern)
}

/// An interval. None: the pattern has a field that intervals do not have.
pub fn interval(interval: Interval, pattern: &Pattern) -> Option<String> {
    let Interval { months, days, micros } = interval;
    let (hour, seconds) = (micros / MICROS_PER_HOUR, micros / MICROS_PER_SECOND);
    let (minute, second) = (seconds / 60 % 60, seconds % 60);
    let (year, month, day) = (i64::from(months / 12), i64::from(months % 12), i64::from(days));
    let civil = Civil { year, month, day, hour, minute, second, micros: micros % MICROS_PER_SECOND };
    // PostgreSQL's approximate number of days.
    let day_of_year = (year * 12 + month) * 30 + day;
    Parts { civil, day_of_year, is_interval: true, zone: "" }.write(pattern)
}

impl Parts {
    fn write(&self, pattern: &Pattern) -> Option<String> {
        let mut out = String::new();
        for piece in &pattern.pieces {
            match piece {
                Piece::Text(c) | Piece::Separator(c) | Piece::Space(c) => out.push(*c),
                Piece::Field { field, fill, localized, ordinal } => {
                    let start = out.len();
                    self.field(*field, *fill, *localized, &mut out)?;
                    if takes_ordinal(*field) && out.len() > start {
                        let ending = ending(&out[start..], *ordinal);
                        out.push_str(&ending);
                    }
                }
            }
        }
        Some(out)
    }

    fn field(&self, field: F, fill: bool, localized: bool, out: &mut String) -> Option<()> {
        let Civil { year, month, day, hour, minute, second, micros } = self.civil;
        let shown_year = if self.is_interval || year > 0 { year } else { 1 - year };
        let mut number = |value: i64, width: usize| padded(value, if fill { width } else { 0 }, out);
        match field {
            F::Hour12 => number(if hour % 12 == 0 { 12 } else { hour % 12 }, wide(hour, 2)),
            F::Hour24 => number(hour, wide(hour, 2)),
            F::Minute => number(minute, wide(minute, 2)),
            F::Second => number(second, wide(second, 2)),
            F::Month => number(month, wide(month, 2)),
            F::Day => number(day, 2),
            F::DayOfYear => number(self.day_of_year, 3),
            F::WeekOfYear => number((self.day_of_year - 1) / 7 + 1, 2),
            F::WeekOfMonth => number((day - 1) / 7 + 1, 1),
            F::SecondOfDay => number((hour * 60 + minute) * 60 + second, 1),
            F::Century => {
                let century = match (self.is_interval, year > 0) {
                    (true, _) => year / 100,
                    (false, true) => (year - 1) / 100 + 1,
                    (false, false) => year / 100 - 1,
                };
                number(century, if century.abs() > 99 { 1 } else { wide(century, 2) })
            }
            F::Year(4) => number(shown_year, wide(shown_year, 4)),
            F::Year(1) => number(shown_year % 10, 1),
            F::Year(digits) => number(shown_year % 10i64.pow(digits.into()), wide(shown_year, digits.into())),
            F::Fraction(digits) => padded(micros / 10i64.pow(6 - u32::from(digits)), digits.into(), out),
            F::Milliseconds => padded(micros / 1000, 3, out),
            F::Microseconds => padded(micros, 6, out),
            F::YearComma => {
                let _ = write!(out, "{},", shown_year / 1000);
                padded(shown_year % 1000, 3, out)
            }
            F::Half { dots, case } => {
                let half = if hour % 24 >= 12 { "PM" } else { "AM" };
                out.push_str(&dotted(half, dots, case))
            }
            F::Quarter if month == 0 => {}
            F::Quarter => number((month - 1) / 3 + 1, 1),
            F::Roman(case) => roman(year, month, case, fill, out),
            F::Exact => {}
            _ if self.is_interval
                && matches!(field, F::IsoWeek | F::IsoYear(_) | F::IsoDayOfYear | F::Julian) =>
            {
                return None;
            }
            _ if self.is_interval => return None,
            _ => self.field_of_day(field, fill, localized, out),
        }
        Some(())
    }

    /// Fields of a day of the calendar.
    fn field_of_day(&self, field: F, fill: bool, localized: bool, out: &mut String) {
        let days = self.civil.days();
        let (iso_year, iso_week) = iso_week(days);
        let shown_iso_year = if iso_year > 0 { iso_year } else { 1 - iso_year };
        let mut name = |name: &str, case: Case, padded: bool| {
            let width = if fill && padded && !localized { NAME_WIDTH } else { 0 };
            let _ = write!(out, "{:width$}", case.of(name));
        };
        let day_name = DAYS[weekday(days) as usize];
        let month_name = MONTHS[(self.civil.month - 1) as usize];
        match field {
            F::DayName(case) => return name(day_name, case, true),
            F::DayShort(case) => return name(&day_name[..3], case, false),
            F::MonthName(case) => return name(month_name, case, true),
            F::MonthShort(case) => return name(&month_name[..3], case, false),
            _ => {}
        }
        let mut number = |value: i64, width: usize| padded(value, if fill { width } else { 0 }, out);
        match field {
            F::DayOfWeek => number(weekday(days) + 1, 1),
            F::IsoDayOfWeek => number((weekday(days) + 6) % 7 + 1, 1),
            F::IsoWeek => number(iso_week, 2),
            F::IsoDayOfYear => number(days - iso_week_start(iso_year, 1) + 1, 3),
            F::IsoYear(4) => number(shown_iso_year, wide(shown_iso_year, 4)),
            F::IsoYear(digits) => number(shown_iso_year % 10i64.pow(digits.into()), digits.into()),
            F::Julian => number(days + JULIAN_EPOCH, 1),
            F::Era { dots, case } => {
                let era = if self.civil.year <= 0 { "BC" } else { "AD" };
                out.push_str(&dotted(era, dots, case))
            }
            F::Zone(Case::Lower) => out.push_str(&self.zone.to_lowercase()),
            F::Zone(_) => out.push_str(self.zone),
            F::ZoneHour => out.push_str("+00"),
            F::ZoneMinute => out.push_str("00"),
            F::Offset => out.push_str(if fill { "+00" } else { "+0" }),
            _ => {}
        }
    }
}

fn takes_ordinal(field: F) -> bool {
    !matches!(
        field,
        F::Half { .. }
            | F::Era { .. }
            | F::DayName(_)
            | F::DayShort(_)
            | F::MonthName(_)
            | F::MonthShort(_)
            | F::Roman(_)
            | F::Zone(_)
            | F::ZoneHour
            | F::ZoneMinute
            | F::Offset
            | F::Exact
    )
}

/// The sign takes a place of its own.
fn wide(value: i64, width: usize) -> usize {
    if value >= 0 { width } else { width + 1 }
}

/// A number padded with zeros; its sign counts.
fn padded(value: i64, width: usize, out: &mut String) {
    let _ = write!(out, "{value:0width$}");
}

fn dotted(letters: &str, dots: bool, case: Case) -> String {
    let text = match dots {
        true => letters.chars().flat_map(|c| [c, '.']).collect(),
        false => letters.to_string(),
    };
    if case == Case::Lower { text.to_lowercase() } else { text }
}

fn roman(year: i64, month: i64, case: Case, fill: bool, out: &mut String) {
    let at = match month {
        0 if year == 0 => return,
        0 if year > 0 => 11,
        0 => 0,
        month if month < 0 => 12 + month,
        month => month - 1,
    };
    let width = if fill { 4 } else { 0 };
    let _ = write!(out, "{:width$}", case.of(ROMAN[at as usize]));
}

/// `st`, `nd`, `rd` or `th`, by the last digits of the number.
pub(super) fn ending(number: &str, ordinal: Ordinal) -> String {
    let mut digits = number.bytes().rev();
    let last = digits.next();
    let is_teen = digits.next() == Some(b'1');
    let ending = match last {
        _ if is_teen => "th",
        Some(b'1') => "st",
        Some(b'2') => "nd",
        Some(b'3') => "rd",
        _ => "th",
    };
    match ordinal {
        Ordinal::None => String::new(),
        Ordinal::Upper => ending.to_uppercase(),
        Ordinal::Lower => ending.to_string(),
    }
}
