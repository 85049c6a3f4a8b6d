//! Reading timestamps with a pattern: `to_timestamp` and `to_date`.

use super::pattern::{Field as F, Ordinal, Pattern, Piece};
use super::write_time::{DAYS, MONTHS, ROMAN};
use crate::Fault;
use crate::time::calendar::*;

/// The fields read so far.
#[derive(Default)]
struct Parts {
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    second_of_day: Option<i64>,
    half_day: bool,
    afternoon: bool,
    year: Option<i64>,
    year_digits: u8,
    before_christ: bool,
    century: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    /// 1 is Sunday; in the ISO calendar of weeks, Monday.
    day_of_week: Option<i64>,
    week: Option<i64>,
    week_of_month: Option<i64>,
    julian: Option<i64>,
    zone_hours: i64,
    zone_minutes: i64,
    zone_negative: bool,
    iso: bool,
    gregorian: bool,
}

/// The timestamp of a text, in UTC if it names no zone. [`Fault::Invalid`]: a field that only `to_char` supports.
pub fn read(text: &str, pattern: &Pattern) -> Result<i64, Fault> {
    parts(text, pattern)?.moment()
}

/// The date of a text; its time and zone are ignored.
pub fn read_date(text: &str, pattern: &Pattern) -> Result<i32, Fault> {
    let mut parts = parts(text, pattern)?;
    parts.time_of_day()?;
    let days = parts.days()?;
    date(days).ok_or(Fault::TimeOutOfRange)
}

fn parts(text: &str, pattern: &Pattern) -> Result<Parts, Fault> {
    let mut reader = Reader { text, rest: text, exact: false, skipped: 0 };
    let mut parts = Parts::default();
    for (at, piece) in pattern.pieces.iter().enumerate() {
        if reader.rest.is_empty() {
            break;
        }
        reader.piece(pattern, at, piece, &mut parts)?;
    }
    Ok(parts)
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    /// FX: every character counts.
    exact: bool,
    /// Spaces that were skipped although the pattern has none there.
    skipped: i64,
}

impl Reader<'_> {
    fn first(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn pass(&mut self) {
        if let Some(c) = self.first() {
            self.rest = &self.rest[c.len_utf8()..];
        }
    }

    fn pass_spaces(&mut self) {
        while self.first().is_some_and(|c| c.is_ascii_whitespace()) {
            self.pass();
            self.skipped += 1;
        }
    }

    fn piece(&mut self, pattern: &Pattern, at: usize, piece: &Piece, parts: &mut Parts) -> Result<(), Fault> {
        let is_field = matches!(piece, Piece::Field { .. });
        let is_exact = matches!(piece, Piece::Field { field: F::Exact, .. });
        if !self.exact && !is_exact && (is_field || at == 0) {
            self.pass_spaces();
        }
        match piece {
            Piece::Space(_) | Piece::Separator(_) if self.exact => self.pass(),
            Piece::Space(_) | Piece::Separator(_) => {
                self.skipped -= 1;
                let is_mark =
                    |c: char| c.is_ascii_whitespace() || (c.is_ascii_punctuation() && c.is_ascii_graphic());
                if self.first().is_some_and(is_mark) {
                    self.pass();
                    self.skipped += 1;
                }
            }
            Piece::Text(_) if !self.exact && self.skipped > 0 => self.skipped -= 1,
            Piece::Text(_) => self.pass(),
            Piece::Field { field: F::Exact, .. } => self.exact = true,
            Piece::Field { field, fill, ordinal, .. } => {
                let greedy = !fill || is_followed_by_no_digit(pattern, at, *ordinal);
                self.field(*field, greedy, parts)?;
                let is_name = matches!(
                    field,
                    F::Era { .. }
                        | F::Half { .. }
                        | F::MonthName(_)
                        | F::MonthShort(_)
                        | F::DayName(_)
                        | F::DayShort(_)
                        | F::Roman(_)
                        | F::ZoneHour
                        | F::ZoneMinute
                );
                if *ordinal != Ordinal::None && !is_name {
                    self.pass();
                    self.pass();
                }
                if !self.exact {
                    self.skipped = 0;
                    self.pass_spaces();
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, field: F, greedy: bool, parts: &mut Parts) -> Result<(), Fault> {
        parts.calendar(field)?;
        let set = |part: &mut Option<i64>, value: i64| match part.replace(value) {
            Some(before) if before != value => Err(Fault::BadTime),
            _ => Ok(()),
        };
        match field {
            F::Half { dots, .. } => {
                let words = if dots { ["a.m.", "p.m."] } else { ["am", "pm"] };
                parts.afternoon = self.word(&words, false)? == 1;
                parts.half_day = true;
            }
            F::Era { dots, .. } => {
                let words = if dots { ["a.d.", "b.c."] } else { ["ad", "bc"] };
                parts.before_christ = self.word(&words, false)? == 1;
            }
            F::MonthName(_) => set(&mut parts.month, self.word(&MONTHS, false)? as i64 + 1)?,
            F::MonthShort(_) => set(&mut parts.month, self.word(&MONTHS, true)? as i64 + 1)?,
            F::DayName(_) => parts.day_of_week = Some(self.word(&DAYS, false)? as i64 + 1),
            F::DayShort(_) => parts.day_of_week = Some(self.word(&DAYS, true)? as i64 + 1),
            F::Roman(_) => {
                let mut longest: Vec<&str> = ROMAN.to_vec();
                longest.sort_by_key(|name| std::cmp::Reverse(name.len()));
                let found = longest[self.word(&longest, false)?];
                let month = ROMAN.iter().position(|name| *name == found).unwrap_or(0);
                set(&mut parts.month, month as i64 + 1)?;
            }
            F::Hour12 => {
                parts.hour = self.number(2, greedy)?.0;
                parts.half_day = true;
            }
            F::Hour24 => parts.hour = self.number(2, greedy)?.0,
            F::Minute => parts.minute = self.number(2, greedy)?.0,
            F::Second => parts.second = self.number(2, greedy)?.0,
            F::Milliseconds => parts.micros += self.fraction(3, greedy)?,
            F::Microseconds => parts.micros += self.fraction(6, greedy)?,
            F::Fraction(digits) => parts.micros += self.fraction(digits.into(), greedy)?,
            F::SecondOfDay => set(&mut parts.second_of_day, self.number(4, greedy)?.0)?,
            F::Month => set(&mut parts.month, self.number(2, greedy)?.0)?,
            F::DayOfYear | F::IsoDayOfYear => set(&mut parts.day_of_year, self.number(3, greedy)?.0)?,
            F::Day => set(&mut parts.day, self.number(2, greedy)?.0)?,
            F::DayOfWeek | F::IsoDayOfWeek => {
                let day = self.number(1, greedy)?.0;
                // Sunday, the last day of an ISO week, is stored as the first of a usual week.
                let day = if field == F::IsoDayOfWeek { day % 7 + 1 } else { day };
                set(&mut parts.day_of_week, day)?;
            }
            F::WeekOfYear | F::IsoWeek => set(&mut parts.week, self.number(2, greedy)?.0)?,
            F::WeekOfMonth => set(&mut parts.week_of_month, self.number(1, greedy)?.0)?,
            F::Quarter => {
                self.number(1, greedy)?;
            }
            F::Century => set(&mut parts.century, self.number(2, greedy)?.0)?,
            F::Julian => set(&mut parts.julian, self.number(1, true)?.0)?,
            F::YearComma => {
                let thousands = self.number(9, true)?.0;
                self.rest = self.rest.strip_prefix(',').ok_or(Fault::BadTime)?;
                let (rest, digits) = self.number(3, false)?;
                if digits != 3 {
                    return Err(Fault::BadTime);
                }
                set(&mut parts.year, thousands * 1000 + rest)?;
                parts.year_digits = 4;
            }
            F::Year(digits) | F::IsoYear(digits) => {
                let (year, read) = self.number(digits.into(), greedy)?;
                let year = if digits < 4 && read < 4 { nearest_2020(year) } else { year };
                set(&mut parts.year, year)?;
                parts.year_digits = digits;
            }
            F::ZoneHour => {
                // A sign may be in the place of a separator.
                match self.first() {
                    Some('+') => self.pass(),
                    Some('-') => {
                        self.pass();
                        parts.zone_negative = true;
                    }
                    _ => {
                        let before = &self.text[..self.text.len() - self.rest.len()];
                        parts.zone_negative = self.skipped > 0 && before.ends_with('-');
                    }
                }
                parts.zone_hours = self.number(2, greedy)?.0;
            }
            F::ZoneMinute => parts.zone_minutes = self.number(2, greedy)?.0,
            F::Zone(_) | F::Offset | F::Exact => return Err(Fault::Invalid),
        }
        Ok(())
    }

    /// A number of so many characters, or of all digits that follow; and the number of characters.
    fn number(&mut self, digits: usize, greedy: bool) -> Result<(i64, usize), Fault> {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let sign = usize::from(self.rest.starts_with(['-', '+']));
        let end =
            self.rest[sign..].find(|c: char| !c.is_ascii_digit()).map_or(self.rest.len(), |at| at + sign);
        let end = if greedy { end } else { end.min(digits) };
        if !greedy && end < digits {
            return Err(Fault::BadTime);
        }
        let (number, rest) = self.rest.split_at(end);
        if end <= sign {
            return Err(Fault::BadTime);
        }
        let value: i32 = number.parse().map_err(|_| Fault::TimeOutOfRange)?;
        self.rest = rest;
        Ok((value.into(), end))
    }

    /// Digits after the point, as microseconds.
    fn fraction(&mut self, digits: usize, greedy: bool) -> Result<i64, Fault> {
        let (value, read) = self.number(digits, greedy)?;
        // "25" is a quarter of a second, whatever the number of digits in the pattern.
        let zeros = u32::try_from(digits.saturating_sub(read)).unwrap_or(0);
        Ok(value * 10i64.pow(zeros) * 10i64.pow(6 - digits as u32))
    }

    /// One of these words, in any case; with `short` their first three letters.
    fn word(&mut self, words: &[&str], short: bool) -> Result<usize, Fault> {
        let found = words.iter().position(|word| {
            let word = if short { &word[..3] } else { word };
            self.rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
        });
        let at = found.ok_or(Fault::BadTime)?;
        let len = if short { 3 } else { words[at].len() };
        self.rest = &self.rest[len..];
        Ok(at)
    }
}

/// True if the next piece of the pattern is not a digit: then a number takes all digits.
fn is_followed_by_no_digit(pattern: &Pattern, at: usize, ordinal: Ordinal) -> bool {
    if ordinal != Ordinal::None {
        return true;
    }
    match pattern.pieces.get(at + 1) {
        None => true,
        Some(Piece::Field { field, .. }) => !is_number(*field),
        Some(Piece::Text(c) | Piece::Separator(c) | Piece::Space(c)) => !c.is_ascii_digit(),
    }
}

fn is_number(field: F) -> bool {
    !matches!(
        field,
        F::Era { .. }
            | F::Half { .. }
            | F::MonthName(_)
            | F::MonthShort(_)
            | F::DayName(_)
            | F::DayShort(_)
            | F::Roman(_)
            | F::Zone(_)
            | F::ZoneHour
            | F::Offset
            | F::Exact
    )
}

/// A year of fewer than four digits is the one nearest to 2020.
fn nearest_2020(year: i64) -> i64 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        year => year,
    }
}

impl Parts {
    /// A date has fields of the ISO calendar of weeks or of the usual one, not of both.
    fn calendar(&mut self, field: F) -> Result<(), Fault> {
        match field {
            F::IsoYear(_) | F::IsoWeek | F::IsoDayOfWeek | F::IsoDayOfYear => self.iso = true,
            F::Year(_)
            | F::YearComma
            | F::Month
            | F::MonthName(_)
            | F::MonthShort(_)
            | F::Day
            | F::DayOfYear
            | F::DayOfWeek
            | F::WeekOfYear
            | F::WeekOfMonth
            | F::Century
            | F::Roman(_) => self.gregorian = true,
            _ => {}
        }
        if self.iso && self.gregorian { Err(Fault::BadTime) } else { Ok(()) }
    }

    fn moment(mut self) -> Result<i64, Fault> {
        let time = self.time_of_day()?;
        let sign = if self.zone_negative { -1 } else { 1 };
        let zone = sign * (self.zone_hours * 60 + self.zone_minutes) * 60 * MICROS_PER_SECOND;
        at(self.days()?, time - zone).ok_or(Fault::TimeOutOfRange)
    }

    /// Microseconds since midnight.
    fn time_of_day(&mut self) -> Result<i64, Fault> {
        if let Some(seconds) = self.second_of_day {
            (self.hour, self.minute, self.second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        }
        if self.half_day {
            if !(1..=12).contains(&self.hour) {
                return Err(Fault::BadTime);
            }
            self.hour = self.hour % 12 + if self.afternoon { 12 } else { 0 };
        }
        let in_day = (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..60).contains(&self.second)
            && (0..MICROS_PER_SECOND).contains(&self.micros);
        if !in_day {
            return Err(Fault::TimeOutOfRange);
        }
        let of_day = Civil { hour: self.hour, minute: self.minute, second: self.second, ..Civil::default() };
        Ok(of_day.micros_of_day() + self.micros)
    }

    fn full_year(&self) -> i64 {
        let century = self.century.map(|century| if self.before_christ { -century } else { century });
        match (self.year, century) {
            (Some(year), Some(century)) if self.year_digits <= 2 => match (year % 100, century >= 0) {
                (0, true) => century * 100,
                (0, false) => century * 100 + 1,
                (year, true) => (century - 1) * 100 + year,
                (year, false) => (century + 1) * 100 - year + 1,
            },
            (Some(year), _) => {
                let year = if self.before_christ { -year } else { year };
                if year < 0 { year + 1 } else { year }
            }
            (None, Some(century)) if century >= 0 => (century - 1) * 100 + 1,
            (None, Some(century)) => century * 100 + 1,
            (None, None) => 0,
        }
    }

    fn days(&self) -> Result<i64, Fault> {
        if let Some(julian) = self.julian {
            return Ok(julian - JULIAN_EPOCH);
        }
        let year = self.full_year();
        // 0 counts as absent.
        let said = |part: Option<i64>| part.filter(|value| *value != 0);
        let (month, mut day) = (said(self.month).unwrap_or(1), said(self.day).unwrap_or(1));
        if let Some(week) = self.week.filter(|_| self.iso) {
            // Sunday is the last day of its week.
            let of_week = self.day_of_week.map_or(0, |day| (day + 5) % 7);
            return Ok(iso_week_start(year, week) + of_week);
        }
        let mut day_of_year = self.day_of_year;
        if let Some(week) = self.week {
            day_of_year = Some((week - 1) * 7 + 1);
        }
        if let Some(week) = self.week_of_month {
            day = (week - 1) * 7 + 1;
        }
        if let Some(ordinal) = day_of_year.filter(|_| self.month.is_none_or(|m| m <= 1) && day <= 1) {
            if self.year.is_none() && self.century.is_none() {
                return Err(Fault::BadTime);
            }
            let first = if self.iso { iso_week_start(year, 1) } else { days_from_civil(year, 1, 1) };
            if !(1..=366 + 5 * i64::from(self.iso)).contains(&ordinal)
                || !self.iso && ordinal > 365 + i64::from(is_leap(year))
            {
                return Err(Fault::TimeOutOfRange);
            }
            return Ok(first + ordinal - 1);
        }
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return Err(Fault::TimeOutOfRange);
        }
        Ok(days_from_civil(year, month, day))
    }
}
