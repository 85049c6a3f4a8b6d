//! Dates and times from ISO 8601 text, as PostgreSQL reads it, and from numbers.

use crate::Fault;
use crate::number;

const MICROS_PER_SECOND: i64 = 1_000_000;
/// Of every day of the calendar: leap seconds are not counted.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Years that 64 bits of microseconds can hold and that every date library on the way to a client knows.
pub const YEARS: std::ops::RangeInclusive<i64> = 1..=262_142;

/// What a number counts that stands for a time: since 1970-01-01 UTC.
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

    /// As it is written behind UNIT.
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

/// Days since 1970-01-01 from `YYYY-MM-DD`; a time after it is checked and left out.
pub fn date(text: &[u8]) -> Result<i32, Fault> {
    let mut reader = Reader { rest: number::trim(text) };
    let days = reader.date()?;
    reader.time_of_day()?;
    reader.zone()?;
    reader.end()?;
    Ok(days as i32)
}

/// Microseconds from `YYYY-MM-DD[(T| )HH:MM[:SS[.fraction]]][zone]`. With `zoned`, a zone moves the time to UTC, and a time
/// without one is in UTC already. Otherwise a zone is checked and left out, as PostgreSQL's `timestamp` does.
#[inline]
pub fn timestamp(text: &[u8], zoned: bool) -> Result<i64, Fault> {
    if let Some(micros) = usual_timestamp(text) {
        return Ok(micros);
    }
    let mut reader = Reader { rest: number::trim(text) };
    let days = reader.date()?;
    let micros = reader.time_of_day()?;
    let offset_seconds = reader.zone()?;
    reader.end()?;
    let shift = if zoned { offset_seconds * MICROS_PER_SECOND } else { 0 };
    // A day has less than 2^37 microseconds and YEARS less than 2^27 days.
    Ok(days * MICROS_PER_DAY + micros - shift)
}

/// The usual spelling: `YYYY-MM-DD(T| )HH:MM:SS[.fraction of up to 6 digits][Z]`. None: look closer.
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

/// Microseconds from a number of some unit since 1970-01-01 UTC, which may have a fraction: rounded half away from zero.
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

/// Days from a number of some unit since 1970-01-01 UTC: the day in which that instant lies.
pub fn date_from_number(text: &[u8], unit: TimeUnit) -> Result<i32, Fault> {
    Ok(timestamp_from_number(text, unit)?.div_euclid(MICROS_PER_DAY) as i32)
}

/// The days of some years, the first and the last included.
pub fn bounds(first_year: i64, last_year: i64) -> std::ops::Range<i64> {
    days_from_civil(first_year, 1, 1)..days_from_civil(last_year + 1, 1, 1)
}

/// The year in which a day lies.
pub fn year_of(days: i64) -> i64 {
    // A year too few or too many, by its mean length.
    let near = 1970 + days * 400 / 146_097;
    (near - 1..=near + 1).find(|year| bounds(*year, *year).contains(&days)).unwrap_or(near)
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar (the usual arithmetic over eras of 400 years, which
/// begin in March so that leap days come last).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// What is left of the text.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        self.rest = &self.rest[found as usize..];
        found
    }

    fn want(&mut self, byte: u8) -> Result<(), Fault> {
        if self.take(byte) { Ok(()) } else { Err(Fault::BadTime) }
    }

    #[inline]
    fn two_digits(&mut self) -> Result<i64, Fault> {
        match self.rest {
            [a @ b'0'..=b'9', b @ b'0'..=b'9', rest @ ..] => {
                self.rest = rest;
                Ok((a - b'0') as i64 * 10 + (b - b'0') as i64)
            }
            _ => Err(Fault::BadTime),
        }
    }

    fn number(&mut self, digits_max: usize) -> Result<(i64, usize), Fault> {
        let digits = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || digits > digits_max {
            return Err(Fault::BadTime);
        }
        let value = self.rest[..digits].iter().fold(0, |v, d| v * 10 + (d - b'0') as i64);
        self.rest = &self.rest[digits..];
        Ok((value, digits))
    }

    fn date(&mut self) -> Result<i64, Fault> {
        let (year, digits) = self.number(6)?;
        if digits < 4 {
            return Err(Fault::BadTime);
        }
        self.want(b'-')?;
        let month = self.two_digits()?;
        self.want(b'-')?;
        let day = self.two_digits()?;
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || !YEARS.contains(&year)
        {
            return Err(Fault::TimeOutOfRange);
        }
        Ok(days_from_civil(year, month, day))
    }

    /// Microseconds since midnight; 0 if there is nothing more.
    fn time_of_day(&mut self) -> Result<i64, Fault> {
        if self.rest.is_empty() {
            return Ok(0);
        }
        if !(self.take(b'T') || self.take(b't') || self.take(b' ')) {
            return Err(Fault::BadTime);
        }
        let hour = self.two_digits()?;
        self.want(b':')?;
        let minute = self.two_digits()?;
        let (mut second, mut micros) = (0, 0);
        if self.take(b':') {
            second = self.two_digits()?;
            if self.take(b'.') || self.take(b',') {
                micros = self.fraction()?;
            }
        }
        // 60 seconds are a leap second, 24:00 the end of the day: PostgreSQL takes both.
        let whole = (hour * 60 + minute) * 60 + second;
        if minute > 59 || second > 60 || hour > 24 || (hour == 24 && (whole > 86_400 || micros > 0)) {
            return Err(Fault::TimeOutOfRange);
        }
        Ok(whole * MICROS_PER_SECOND + micros)
    }

    /// Digits after the point as microseconds, rounded.
    fn fraction(&mut self) -> Result<i64, Fault> {
        let digits = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return Err(Fault::BadTime);
        }
        let digit = |i: usize| if i < digits { (self.rest[i] - b'0') as i64 } else { 0 };
        let micros = (0..6).fold(0, |micros, i| micros * 10 + digit(i)) + (digit(6) >= 5) as i64;
        self.rest = &self.rest[digits..];
        Ok(micros)
    }

    /// Seconds east of UTC: `Z`, `UTC`, `+HH`, `+HHMM`, `+HH:MM`, after white space or not.
    fn zone(&mut self) -> Result<i64, Fault> {
        self.rest = self.rest.trim_ascii_start();
        if self.take(b'Z') || self.take(b'z') {
            return Ok(0);
        }
        for word in [b"UTC".as_slice(), b"GMT"] {
            if self.rest.eq_ignore_ascii_case(word) {
                self.rest = &[];
                return Ok(0);
            }
        }
        let sign = match self.rest.first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Ok(0),
        };
        self.rest = &self.rest[1..];
        let hours = self.two_digits()?;
        let colon = self.take(b':');
        let minutes = if colon || !self.rest.is_empty() { self.two_digits()? } else { 0 };
        if hours > 15 || minutes > 59 {
            return Err(Fault::TimeOutOfRange);
        }
        Ok(sign * (hours * 60 + minutes) * 60)
    }

    fn end(&self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::BadTime) }
    }
}
