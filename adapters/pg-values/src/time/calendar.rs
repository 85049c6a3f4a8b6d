//! The proleptic Gregorian calendar as plain arithmetic, and the ranges of PostgreSQL's types. Years are astronomical:
//! year 0 is 1 BC.

/// Microseconds of a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds of an hour.
pub const MICROS_PER_HOUR: i64 = 3600 * MICROS_PER_SECOND;
/// Microseconds of a day of 24 hours.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// `infinity` among dates.
pub const DATE_INFINITY: i32 = i32::MAX;
/// `-infinity` among dates.
pub const DATE_MINUS_INFINITY: i32 = i32::MIN;
/// `infinity` among timestamps.
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
/// `-infinity` among timestamps.
pub const TIMESTAMP_MINUS_INFINITY: i64 = i64::MIN;

/// Julian day number of 1970-01-01.
pub const JULIAN_EPOCH: i64 = 2_440_588;
/// First day of PostgreSQL's types, 4714-11-24 BC: Julian day 0.
pub const DATE_FIRST: i64 = -JULIAN_EPOCH;
/// Last day of PostgreSQL's `date`, 5874897-12-31.
pub const DATE_LAST: i64 = 2_145_042_905;
/// First `timestamp`.
pub const TIMESTAMP_FIRST: i64 = DATE_FIRST * MICROS_PER_DAY;
/// Last `timestamp`. PostgreSQL's is 30 years later, in the year 294276, because it counts from 2000 and columns count
/// from 1970. The largest 64-bit value is infinity.
pub const TIMESTAMP_LAST: i64 = i64::MAX - 1;

/// Days since 1970-01-01 of a day (the usual arithmetic over eras of 400 years, which begin in March so that leap days come
/// last).
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days of a month.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// True if the year has a 29th of February.
pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Day of the week, Sunday is 0.
pub fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// Year and number of the ISO week that a day is in.
pub fn iso_week(days: i64) -> (i64, i64) {
    // A week belongs to the year that its Thursday is in.
    let thursday = days - (weekday(days) + 6) % 7 + 3;
    let (year, ..) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// The Monday on which a week of an ISO year begins.
pub fn iso_week_start(year: i64, week: i64) -> i64 {
    let fourth = days_from_civil(year, 1, 4);
    fourth - (weekday(fourth) + 6) % 7 + (week - 1) * 7
}

/// The parts of a timestamp without a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Civil {
    /// 0 is 1 BC.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
    /// 0 to 999999.
    pub micros: i64,
}

impl Civil {
    /// From microseconds since 1970-01-01.
    pub fn of(micros: i64) -> Civil {
        let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
        let (hour, minute, second, micros) = time_parts(micros.rem_euclid(MICROS_PER_DAY));
        Civil { year, month, day, hour, minute, second, micros }
    }

    /// Days since 1970-01-01.
    pub fn days(&self) -> i64 {
        days_from_civil(self.year, self.month, self.day)
    }

    /// Microseconds since midnight.
    pub fn micros_of_day(&self) -> i64 {
        ((self.hour * 60 + self.minute) * 60 + self.second) * MICROS_PER_SECOND + self.micros
    }

    /// Microseconds since 1970-01-01; None beyond PostgreSQL's range.
    pub fn timestamp(&self) -> Option<i64> {
        at(self.days(), self.micros_of_day())
    }
}

/// Hours, minutes, seconds and microseconds.
pub fn time_parts(micros: i64) -> (i64, i64, i64, i64) {
    let seconds = micros / MICROS_PER_SECOND;
    (seconds / 3600, seconds / 60 % 60, seconds % 60, micros % MICROS_PER_SECOND)
}

/// The timestamp so many microseconds after the start of a day; None beyond PostgreSQL's range.
pub fn at(days: i64, micros: i64) -> Option<i64> {
    days.checked_mul(MICROS_PER_DAY)?.checked_add(micros).filter(|at| is_timestamp(*at))
}

/// True within PostgreSQL's range, infinities left out.
pub fn is_timestamp(micros: i64) -> bool {
    (TIMESTAMP_FIRST..=TIMESTAMP_LAST).contains(&micros)
}

/// True for both infinities.
pub fn is_infinite(micros: i64) -> bool {
    matches!(micros, TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY)
}

/// A date as days, if it is in PostgreSQL's range.
pub fn date(days: i64) -> Option<i32> {
    (DATE_FIRST..=DATE_LAST).contains(&days).then_some(days as i32)
}

/// A date as a timestamp: the midnight at its start.
pub fn date_to_timestamp(days: i32) -> Option<i64> {
    match days {
        DATE_INFINITY => Some(TIMESTAMP_INFINITY),
        DATE_MINUS_INFINITY => Some(TIMESTAMP_MINUS_INFINITY),
        days => at(days.into(), 0),
    }
}

/// The date of a timestamp.
pub fn timestamp_to_date(micros: i64) -> i32 {
    match micros {
        TIMESTAMP_INFINITY => DATE_INFINITY,
        TIMESTAMP_MINUS_INFINITY => DATE_MINUS_INFINITY,
        micros => micros.div_euclid(MICROS_PER_DAY) as i32,
    }
}
