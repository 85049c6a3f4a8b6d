//! Parses dates, times and timestamps in all forms that PostgreSQL accepts (DateStyle ISO, MDY): months by name, zones
//! by name and offset, BC, AM and PM, digits without separators, Julian days, `now` and the like.

use super::calendar::*;
use super::words::{Kind, Piece, Special, special, split};
use super::zone::{self, Zone};
use crate::Fault;

/// The value of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    /// Before or after all other values.
    Infinite { negative: bool },
    /// A point in time in UTC: `epoch`, `now`.
    Utc(i64),
    /// Local time, and its zone.
    Local { civil: Civil, has_date: bool, has_time: bool, zone: Option<Zone> },
}

/// Which parts are known.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Seen(u8);

impl Seen {
    const YEAR: Seen = Seen(1);
    const MONTH: Seen = Seen(2);
    const DAY: Seen = Seen(4);
    const DATE: Seen = Seen(7);
    const TIME: Seen = Seen(8);
    const ZONE: Seen = Seen(16);
    const HALF: Seen = Seen(32);
    const ERA: Seen = Seen(64);
    const SUMMER: Seen = Seen(128);

    fn has(self, part: Seen) -> bool {
        self.0 & part.0 == part.0
    }

    fn of_date(self) -> u8 {
        self.0 & Seen::DATE.0
    }
}

impl std::ops::BitOr for Seen {
    type Output = Seen;
    fn bitor(self, other: Seen) -> Seen {
        Seen(self.0 | other.0)
    }
}

/// The state of reading.
#[derive(Default)]
struct Reading {
    seen: Seen,
    civil: Civil,
    day_of_year: Option<i64>,
    two_digit_year: bool,
    julian: bool,
    month_by_name: bool,
    zone: Option<Zone>,
    afternoon: Option<bool>,
    before_christ: bool,
    fixed: Option<Moment>,
    /// The meaning of the number after this word.
    expects: Option<Special>,
    /// The time of the statement; None if a text must have the same meaning at any time.
    now: Option<i64>,
    /// A `time` is read: digits are hours rather than days.
    only_time: bool,
}

/// Reads a text.
pub(super) fn read(text: &str, now: Option<i64>, only_time: bool) -> Result<Moment, Fault> {
    let pieces = split(text)?;
    let mut reading = Reading { now, only_time, ..Reading::default() };
    for at in 0..pieces.len() {
        let found = reading.piece(&pieces, at)?;
        if reading.seen.0 & found.0 != 0 {
            return Err(Fault::BadTime);
        }
        reading.seen = reading.seen | found;
    }
    reading.finish()
}

impl Reading {
    fn piece(&mut self, pieces: &[Piece], at: usize) -> Result<Seen, Fault> {
        let text = pieces[at].text.as_str();
        match pieces[at].kind {
            Kind::Date => self.date_piece(pieces, at),
            Kind::Time => {
                match self.expects.take() {
                    None | Some(Special::Time) => {}
                    Some(_) => return Err(Fault::BadTime),
                }
                self.clock(text)
            }
            Kind::Signed => {
                self.zone = Some(Zone::Fixed(zone::offset(text)?));
                Ok(Seen::ZONE)
            }
            Kind::Number => self.number_piece(pieces, at),
            Kind::Word | Kind::SignedWord => self.word(pieces, at),
        }
    }

    fn date_piece(&mut self, pieces: &[Piece], at: usize) -> Result<Seen, Fault> {
        let text = pieces[at].text.as_str();
        if self.expects == Some(Special::Julian) {
            let (digits, zone) = text.split_at(text.find('-').ok_or(Fault::BadTime)?);
            self.expects = None;
            self.zone = Some(Zone::Fixed(zone::offset(zone)?));
            return Ok(self.julian_day(digits)? | Seen::ZONE);
        }
        let run_together = self.expects.take().is_some();
        let other_date = self.only_time && !(at == 0 && pieces.len() >= 2 && self.has_time_later(pieces));
        if !run_together && !other_date && !self.seen.has(Seen::MONTH | Seen::DAY) {
            return self.date(text);
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) || run_together {
            if self.seen.has(Seen::TIME) {
                return Err(Fault::BadTime);
            }
            // A time without colons and an offset: 040506-08.
            let (digits, zone) = text.split_at(text.find('-').ok_or(Fault::BadTime)?);
            self.zone = Some(Zone::Fixed(zone::offset(zone)?));
            return Ok(self.digits(digits, self.seen | Seen::DATE)? | Seen::ZONE);
        }
        self.zone = Some(Zone::abbreviation(text).or_else(|| Zone::named(text)).ok_or(Fault::UnknownZone)?);
        Ok(Seen::ZONE)
    }

    fn has_time_later(&self, pieces: &[Piece]) -> bool {
        pieces.get(1).is_some_and(|p| p.kind == Kind::Time)
            || pieces.last().is_some_and(|p| p.kind == Kind::Date)
    }

    fn number_piece(&mut self, pieces: &[Piece], at: usize) -> Result<Seen, Fault> {
        let text = pieces[at].text.as_str();
        match self.expects.take() {
            Some(Special::Julian) => return self.julian_day(text),
            Some(Special::Time) => return self.digits(text, self.seen | Seen::DATE),
            Some(_) => return Err(Fault::BadTime),
            None => {}
        }
        let whole = text.find('.');
        if self.only_time {
            if whole.is_some() && at == 0 && pieces.get(1).is_some_and(|p| p.kind == Kind::Time) {
                return self.date(text);
            }
            return match (whole, text.len()) {
                (Some(digits), _) if digits > 2 => self.digits(text, self.seen | Seen::DATE),
                (None, len) if len > 4 => self.digits(text, self.seen | Seen::DATE),
                _ => self.number(text, self.seen | Seen::DATE),
            };
        }
        match whole {
            Some(_) if self.seen.of_date() == 0 => self.date(text),
            Some(digits) if digits > 2 => self.digits(text, self.seen),
            None if text.len() >= 6 && !(self.seen.has(Seen::DATE) && self.seen.has(Seen::TIME)) => {
                self.digits(text, self.seen)
            }
            _ => self.number(text, self.seen),
        }
    }

    fn word(&mut self, pieces: &[Piece], at: usize) -> Result<Seen, Fault> {
        let word = pieces[at].text.as_str();
        if let Some(zone) = Zone::abbreviation(word) {
            self.zone = Some(zone);
            return Ok(Seen::ZONE);
        }
        let Some(meaning) = special(word) else {
            self.zone = Some(Zone::named(word).filter(|_| word.len() > 1).ok_or(Fault::BadTime)?);
            return Ok(Seen::ZONE);
        };
        Ok(match meaning {
            Special::Nothing => Seen::default(),
            Special::AllBalls => {
                self.zone = Some(Zone::UTC);
                Seen::TIME | Seen::ZONE
            }
            Special::Now => {
                self.fixed = Some(Moment::Utc(self.now.ok_or(Fault::BadTime)?));
                Seen::DATE | Seen::TIME | Seen::ZONE
            }
            Special::Day(more) => {
                let today = self.now.ok_or(Fault::BadTime)?.div_euclid(MICROS_PER_DAY);
                (self.civil.year, self.civil.month, self.civil.day) = civil_from_days(today + more);
                self.julian = true;
                Seen::DATE
            }
            Special::Epoch => {
                self.fixed = Some(Moment::Utc(0));
                Seen::DATE | Seen::TIME | Seen::ZONE
            }
            Special::Infinity { negative } => {
                self.fixed = Some(Moment::Infinite { negative });
                Seen::DATE | Seen::TIME | Seen::ZONE
            }
            Special::Month(month) => return Ok(self.month(month)),
            Special::Half { afternoon } => {
                self.afternoon = Some(afternoon);
                Seen::HALF
            }
            Special::Era { before } => {
                self.before_christ = before;
                Seen::ERA
            }
            Special::Summer => {
                let Some(Zone::Fixed(seconds)) = self.zone else { return Err(Fault::BadTime) };
                self.zone = Some(Zone::Fixed(seconds + 3600));
                Seen::SUMMER
            }
            Special::Julian => {
                self.expects = Some(Special::Julian);
                Seen::default()
            }
            Special::Time => {
                let follows = pieces.get(at + 1).map(|p| p.kind);
                let is_time = matches!(follows, Some(Kind::Number | Kind::Time | Kind::Date));
                if !is_time || !(self.only_time || self.seen.has(Seen::DATE)) {
                    return Err(Fault::BadTime);
                }
                self.expects = Some(Special::Time);
                Seen::default()
            }
            Special::Unit => return Err(Fault::BadTime),
        })
    }

    /// A month by name: a number before it was a day.
    fn month(&mut self, month: i64) -> Seen {
        let number = self.civil.month;
        let was_day = self.seen.has(Seen::MONTH)
            && !self.month_by_name
            && !self.seen.has(Seen::DAY)
            && (1..=31).contains(&number);
        self.month_by_name = true;
        self.civil.month = month;
        if was_day {
            self.civil.day = number;
            return Seen::DAY;
        }
        Seen::MONTH
    }

    fn julian_day(&mut self, text: &str) -> Result<Seen, Fault> {
        let (days, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
        let days = integer(days)?;
        (self.civil.year, self.civil.month, self.civil.day) = civil_from_days(days - JULIAN_EPOCH);
        self.julian = true;
        if fraction.is_empty() {
            return Ok(Seen::DATE);
        }
        let part: f64 = format!("0{fraction}").parse().map_err(|_| Fault::BadTime)?;
        let micros = (part * MICROS_PER_DAY as f64) as i64;
        (self.civil.hour, self.civil.minute, self.civil.second, self.civil.micros) = time_parts(micros);
        Ok(Seen::DATE | Seen::TIME)
    }

    /// A date in one piece: parts between separators, a month by name first.
    fn date(&mut self, text: &str) -> Result<Seen, Fault> {
        let parts = date_parts(text);
        let (mut seen, mut found) = (self.seen, Seen::default());
        let mut add = |seen: &mut Seen, part: Seen| {
            let twice = seen.0 & part.0 != 0;
            *seen = *seen | part;
            found = found | part;
            if twice { Err(Fault::BadTime) } else { Ok(()) }
        };
        let is_word = |part: &&str| part.starts_with(|c: char| c.is_ascii_alphabetic());
        for word in parts.iter().filter(|p| is_word(p)) {
            match special(word) {
                Some(Special::Nothing) => {}
                Some(Special::Month(month)) => {
                    self.civil.month = month;
                    self.month_by_name = true;
                    add(&mut seen, Seen::MONTH)?;
                }
                _ => return Err(Fault::BadTime),
            }
        }
        for number in parts.iter().filter(|p| !is_word(p)) {
            let part = self.number(number, seen)?;
            add(&mut seen, part)?;
        }
        if text.ends_with(['-', '/', '.']) || (seen.0 & !Seen::ZONE.0) != Seen::DATE.0 {
            return Err(Fault::BadTime);
        }
        Ok(found)
    }

    /// A short number: its meaning follows from the parts already known.
    fn number(&mut self, text: &str, seen: Seen) -> Result<Seen, Fault> {
        let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
        let value = integer(whole)?;
        if !fraction.is_empty() {
            if whole.len() > 2 {
                return self.digits(text, seen | Seen::DATE);
            }
            self.civil.micros = micros_of(fraction)?;
        }
        let len = text.len();
        if len == 3 && seen.of_date() == Seen::YEAR.0 && (1..=366).contains(&value) {
            self.day_of_year = Some(value);
            return Ok(Seen::MONTH | Seen::DAY);
        }
        let (year, month, day) = (Seen::YEAR.0, Seen::MONTH.0, Seen::DAY.0);
        let part = match seen.of_date() {
            0 if len >= 3 => Seen::YEAR,
            0 => Seen::MONTH,
            known if known == year => Seen::MONTH,
            known if known == month && self.month_by_name && len >= 3 => Seen::YEAR,
            known if known == month => Seen::DAY,
            known if known == year | month => {
                if self.month_by_name && len >= 3 && self.two_digit_year {
                    // The first number was the day after all.
                    self.civil.day = self.civil.year;
                    self.civil.year = value;
                    self.two_digit_year = false;
                    return Ok(Seen::DAY);
                }
                Seen::DAY
            }
            known if known == day => Seen::MONTH,
            known if known == month | day => Seen::YEAR,
            known if known == year | month | day => return self.digits(text, seen),
            _ => return Err(Fault::BadTime),
        };
        match part {
            Seen::YEAR => {
                self.civil.year = value;
                self.two_digit_year = len <= 2;
            }
            Seen::MONTH => self.civil.month = value,
            _ => self.civil.day = value,
        }
        Ok(part)
    }

    /// Digits without separators: a date of six or more, a time of four or six.
    fn digits(&mut self, text: &str, seen: Seen) -> Result<Seen, Fault> {
        let (digits, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
        let len = digits.len();
        if !fraction.is_empty() {
            self.civil.micros = micros_of(fraction)?;
        } else if !seen.has(Seen::DATE) && len >= 6 {
            self.civil.day = integer(&digits[len - 2..])?;
            self.civil.month = integer(&digits[len - 4..len - 2])?;
            self.civil.year = integer(&digits[..len - 4])?;
            if len == 6 {
                self.two_digit_year = true;
            }
            return Ok(Seen::DATE);
        }
        if seen.has(Seen::TIME) || !matches!(len, 4 | 6) {
            return Err(Fault::BadTime);
        }
        self.civil.hour = integer(&digits[..2])?;
        self.civil.minute = integer(&digits[2..4])?;
        self.civil.second = if len == 6 { integer(&digits[4..])? } else { 0 };
        Ok(Seen::TIME)
    }

    fn clock(&mut self, text: &str) -> Result<Seen, Fault> {
        let (hour, minute, second, micros) = clock(text)?;
        self.civil = Civil { hour, minute, second, micros, ..self.civil };
        Ok(Seen::TIME)
    }

    fn finish(mut self) -> Result<Moment, Fault> {
        if let Some(fixed) = self.fixed {
            return Ok(fixed);
        }
        self.year()?;
        if let Some(day) = self.day_of_year {
            let first = days_from_civil(self.civil.year, 1, 1);
            (self.civil.year, self.civil.month, self.civil.day) = civil_from_days(first + day - 1);
        }
        let civil = &mut self.civil;
        if self.seen.has(Seen::MONTH) && !(1..=12).contains(&civil.month)
            || self.seen.has(Seen::DAY) && !(1..=31).contains(&civil.day)
            || self.seen.has(Seen::DATE) && civil.day > days_in_month(civil.year, civil.month)
        {
            return Err(Fault::TimeOutOfRange);
        }
        match self.afternoon {
            Some(_) if civil.hour > 12 => return Err(Fault::TimeOutOfRange),
            Some(false) if civil.hour == 12 => civil.hour = 0,
            Some(true) if civil.hour != 12 => civil.hour += 12,
            _ => {}
        }
        // 60 seconds are a leap second, 24:00 the end of the day.
        let past = civil.minute > 59 || civil.second > 60 || civil.hour > 24;
        if past
            || civil.micros_of_day() > MICROS_PER_DAY
            || (civil.hour == 24 && civil.micros_of_day() != MICROS_PER_DAY)
        {
            return Err(Fault::TimeOutOfRange);
        }
        let (has_date, has_time) = (self.seen.has(Seen::DATE), self.seen.has(Seen::TIME));
        if !(has_date || self.only_time && has_time && self.seen.of_date() == 0) {
            return Err(Fault::BadTime);
        }
        Ok(Moment::Local { civil: self.civil, has_date, has_time, zone: self.zone })
    }

    fn year(&mut self) -> Result<(), Fault> {
        if !self.seen.has(Seen::YEAR) || self.julian {
            return Ok(());
        }
        let year = self.civil.year;
        self.civil.year = match (self.before_christ, self.two_digit_year) {
            (true, _) if year <= 0 => return Err(Fault::TimeOutOfRange),
            (true, _) => 1 - year,
            (false, true) if year < 70 => year + 2000,
            (false, true) if year < 100 => year + 1900,
            _ if year <= 0 => return Err(Fault::TimeOutOfRange),
            _ => year,
        };
        Ok(())
    }
}

/// The runs of digits and of letters in a date.
fn date_parts(text: &str) -> Vec<&str> {
    let mut parts = vec![];
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let Some(first) = rest.chars().next() else { return parts };
        let same =
            |c: char| if first.is_ascii_digit() { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        // Any character after a part separates it.
        rest = rest[end..].get(1..).unwrap_or("");
    }
}

/// Hours, minutes, seconds and microseconds of `HH:MM[:SS[.fraction]]`, or of `MM:SS.fraction`.
pub(super) fn clock(text: &str) -> Result<(i64, i64, i64, i64), Fault> {
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let micros = if fraction.is_empty() { 0 } else { micros_of(fraction)? };
    let parts: Vec<&str> = whole.split(':').collect();
    let (hour, minute, second) = match (parts.as_slice(), fraction.is_empty()) {
        ([hour, minute], true) => (integer(hour)?, integer(minute)?, 0),
        ([minute, second], false) => (0, integer(minute)?, integer(second)?),
        ([hour, minute, second], _) => (integer(hour)?, integer(minute)?, integer(second)?),
        _ => return Err(Fault::BadTime),
    };
    if minute > 59 || second > 60 {
        return Err(Fault::TimeOutOfRange);
    }
    Ok((hour, minute, second, micros))
}

/// Digits. PostgreSQL stores parts of a date in 32 bits.
pub(super) fn integer(digits: &str) -> Result<i64, Fault> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::BadTime);
    }
    digits.parse::<i32>().map(i64::from).map_err(|_| Fault::TimeOutOfRange)
}

/// A point and digits as microseconds, rounded as a double is.
pub(super) fn micros_of(fraction: &str) -> Result<i64, Fault> {
    if fraction == "." {
        return Ok(0);
    }
    let value: f64 = format!("0{fraction}").parse().map_err(|_| Fault::BadTime)?;
    Ok((value * 1e6).round_ties_even() as i64)
}
