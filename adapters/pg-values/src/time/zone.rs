//! Time zones: names, abbreviations and offsets, and the offset of a zone from UTC at a point in time. The rules are
//! IANA's, from chrono-tz.

use std::str::FromStr;

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::abbreviations::{FIXED, OF_PLACES};
use super::calendar::*;

/// A time zone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Zone {
    /// A constant number of seconds east of UTC.
    Fixed(i64),
    /// Rules that change with time.
    Named(Tz),
}

/// After this year the last rule of a zone applies, and the calendar repeats every 28 or 400 years.
const LAST_YEAR_LISTED: i64 = 2099;

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Zone = Zone::Fixed(0);

    /// The zone of a name, in any case: an abbreviation (EST), a place (Europe/Paris), or an offset as POSIX writes it
    /// (UTC+3, which is *west* of Greenwich). Like PostgreSQL's AT TIME ZONE.
    pub fn named(name: &str) -> Option<Zone> {
        Zone::abbreviation(name).or_else(|| Zone::place(name)).or_else(|| posix(name))
    }

    /// The zone of an abbreviation.
    pub fn abbreviation(name: &str) -> Option<Zone> {
        let fixed = |entry: &str| {
            let (known, minutes) = entry.split_at(entry.find(['+', '-'])?);
            let minutes: i64 = minutes.parse().ok()?;
            known.eq_ignore_ascii_case(name).then_some(Zone::Fixed(minutes * 60))
        };
        let place = |entry: &str| {
            let (known, place) = entry.split_once('=')?;
            known.eq_ignore_ascii_case(name).then(|| Zone::place(place))?
        };
        FIXED.split(' ').find_map(fixed).or_else(|| OF_PLACES.split(' ').find_map(place))
    }

    /// The zone of a place.
    pub fn place(name: &str) -> Option<Zone> {
        let in_any_case =
            || chrono_tz::TZ_VARIANTS.iter().copied().find(|zone| zone.name().eq_ignore_ascii_case(name));
        Tz::from_str(name).ok().or_else(in_any_case).map(Zone::Named)
    }

    /// Seconds east of UTC at a point in time.
    pub fn offset_at(self, utc_micros: i64) -> i64 {
        let zone = match self {
            Zone::Fixed(seconds) => return seconds,
            Zone::Named(zone) => zone,
        };
        let mut seconds = utc_micros.div_euclid(MICROS_PER_SECOND);
        let (year, ..) = civil_from_days(seconds.div_euclid(86_400));
        if year > LAST_YEAR_LISTED {
            let days = days_from_civil(year, 1, 1) - days_from_civil(like(year), 1, 1);
            seconds -= days * 86_400;
        }
        match DateTime::from_timestamp(seconds, 0) {
            Some(at) => zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc().into(),
            None => 0,
        }
    }

    /// The local time at a point in time; None: out of range.
    pub fn to_local(self, utc_micros: i64) -> Option<i64> {
        if is_infinite(utc_micros) {
            return Some(utc_micros);
        }
        let local = utc_micros.checked_add(self.offset_at(utc_micros) * MICROS_PER_SECOND)?;
        is_timestamp(local).then_some(local)
    }

    /// The point in time of a local time; None: out of range. A local time that occurs twice or not at all counts as
    /// standard time.
    pub fn to_utc(self, local_micros: i64) -> Option<i64> {
        if is_infinite(local_micros) {
            return Some(local_micros);
        }
        let near = |days: i64| self.offset_at(local_micros.saturating_add(days * MICROS_PER_DAY));
        let (before, after) = (near(-1), near(1));
        let utc = |offset: i64| local_micros.checked_sub(offset * MICROS_PER_SECOND);
        let holds = |offset: i64| utc(offset).is_some_and(|at| self.offset_at(at) == offset);
        let offset = match (holds(before), holds(after)) {
            (true, false) => before,
            (false, true) => after,
            _ => before.min(after),
        };
        utc(offset).filter(|at| is_timestamp(*at))
    }
}

/// A listed year with the same days of the week and the same leap day.
fn like(year: i64) -> i64 {
    let same = |listed: &i64| {
        is_leap(*listed) == is_leap(year)
            && weekday(days_from_civil(*listed, 1, 1)) == weekday(days_from_civil(year, 1, 1))
    };
    (LAST_YEAR_LISTED - 27..=LAST_YEAR_LISTED).rev().find(same).unwrap_or(LAST_YEAR_LISTED)
}

/// A name of letters, which may be empty, and hours and minutes west of Greenwich.
fn posix(spec: &str) -> Option<Zone> {
    let rest = match spec.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => spec.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    let (sign, digits) = match rest.as_bytes().first()? {
        b'+' => (-1, &rest[1..]),
        b'-' => (1, &rest[1..]),
        _ => (-1, rest),
    };
    let mut parts = digits.split(':');
    let mut seconds = 0;
    for unit in [3600, 60, 1] {
        let Some(part) = parts.next() else { break };
        let few_digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let value: i64 = part.parse().ok().filter(|_| few_digits)?;
        if (unit == 3600 && value > 167) || (unit < 3600 && value > 59) {
            return None;
        }
        seconds += value * unit;
    }
    parts.next().is_none().then_some(Zone::Fixed(sign * seconds))
}

/// An offset in the text of a time: `+02`, `-0330`, `+05:45`, `+01:02:03`. Seconds east of UTC.
pub fn offset(text: &str) -> Result<i64, crate::Fault> {
    use crate::Fault;
    let sign = match text.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(Fault::BadTime),
    };
    let mut parts = text[1..].split(':');
    let mut part = || -> Result<Option<i64>, Fault> {
        match parts.next() {
            None => Ok(None),
            Some("") => Ok(Some(0)),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map(Some).map_err(|_| Fault::ZoneOutOfRange)
            }
            Some(_) => Err(Fault::BadTime),
        }
    };
    let hours = part()?.filter(|_| text.len() > 1).ok_or(Fault::BadTime)?;
    let minutes = part()?;
    let seconds = part()?.unwrap_or(0);
    if parts.next().is_some() {
        return Err(Fault::BadTime);
    }
    let (hours, minutes) = match minutes {
        Some(minutes) => (hours, minutes),
        None if text.len() > 3 => (hours / 100, hours % 100),
        None => (hours, 0),
    };
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(Fault::ZoneOutOfRange);
    }
    Ok(sign * ((hours * 60 + minutes) * 60 + seconds))
}
