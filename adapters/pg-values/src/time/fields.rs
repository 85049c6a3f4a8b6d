//! Fields of dates, times and intervals: extraction (`extract`, `date_part`) and truncation (`date_trunc`, `date_bin`).

use super::calendar::*;
use super::interval::Interval;
use super::words::{self, Special, Unit, special};
use super::zone::Zone;

/// A field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Field {
    Of(Unit),
    Epoch,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    Julian,
    Zone,
    ZoneHour,
    ZoneMinute,
}

/// A kind of value that has fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Source {
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
}

impl Field {
    /// The field of a name, in any case.
    pub fn named(name: &str) -> Option<Field> {
        let name = name.trim().to_ascii_lowercase();
        if let Some(unit) = words::unit(&name) {
            return Some(Field::Of(unit));
        }
        Some(match name.as_str() {
            "epoch" => Field::Epoch,
            "dow" => Field::DayOfWeek,
            "isodow" => Field::IsoDayOfWeek,
            "doy" => Field::DayOfYear,
            "isoyear" => Field::IsoYear,
            "timezone" => Field::Zone,
            name if name.starts_with("timezone_h") => Field::ZoneHour,
            name if name.starts_with("timezone_m") => Field::ZoneMinute,
            name if special(name) == Some(Special::Julian) => Field::Julian,
            _ => return None,
        })
    }

    /// True if values of this kind have it.
    pub fn is_in(self, source: Source) -> bool {
        use Source as S;
        let below_day = matches!(self, Field::Of(unit) if unit < Unit::Day);
        match source {
            S::TimestampTz => true,
            S::Timestamp => !matches!(self, Field::Zone | Field::ZoneHour | Field::ZoneMinute),
            S::Date => !below_day && !matches!(self, Field::Zone | Field::ZoneHour | Field::ZoneMinute),
            S::Time => below_day || self == Field::Epoch,
            S::Interval => self == Field::Epoch || matches!(self, Field::Of(unit) if unit != Unit::Week),
        }
    }

    /// Digits after the point of its value.
    pub fn scale(self, source: Source) -> i8 {
        match (self, source) {
            (Field::Of(Unit::Second), _) => 6,
            (Field::Of(Unit::Millisecond), _) => 3,
            (Field::Epoch | Field::Julian, Source::Date) => 0,
            (Field::Epoch, _) => 6,
            (Field::Julian, _) => 20,
            _ => 0,
        }
    }

    /// Digits of its largest value.
    pub fn precision(self, source: Source) -> u8 {
        match (self, source) {
            (Field::Epoch, Source::Interval) => 25,
            (Field::Epoch, _) => 20,
            (Field::Julian, Source::Date) => 10,
            (Field::Julian, _) => 30,
            (Field::Of(Unit::Hour), Source::Interval) => 12,
            _ => 10,
        }
    }

    /// True if its value for infinity is infinity; other fields have none.
    pub fn grows_forever(self) -> bool {
        use Unit as U;
        matches!(
            self,
            Field::Of(U::Year | U::Decade | U::Century | U::Millennium)
                | Field::IsoYear
                | Field::Julian
                | Field::Epoch
        )
    }

    /// Its value in a timestamp that is not infinite, without the point.
    pub fn of_timestamp(self, micros: i64, source: Source) -> i128 {
        use Unit as U;
        let civil = Civil::of(micros);
        let days = civil.days();
        let value: i64 = match self {
            Field::Of(U::Microsecond | U::Millisecond | U::Second) => {
                civil.second * MICROS_PER_SECOND + civil.micros
            }
            Field::Of(U::Minute) => civil.minute,
            Field::Of(U::Hour) => civil.hour,
            Field::Of(U::Day) => civil.day,
            Field::Of(U::Week) => iso_week(days).1,
            Field::Of(U::Month) => civil.month,
            Field::Of(U::Quarter) => (civil.month - 1) / 3 + 1,
            Field::Of(U::Year) => without_zero(civil.year),
            Field::Of(U::Decade) => civil.year.div_euclid(10),
            Field::Of(U::Century) => group_of_years(civil.year, 100),
            Field::Of(U::Millennium) => group_of_years(civil.year, 1000),
            Field::Epoch if source == Source::Date => days * 86_400,
            Field::Epoch => micros,
            Field::DayOfWeek => weekday(days),
            Field::IsoDayOfWeek => (weekday(days) + 6) % 7 + 1,
            Field::DayOfYear => days - days_from_civil(civil.year, 1, 1) + 1,
            Field::IsoYear => without_zero(iso_week(days).0),
            Field::Julian if source == Source::Date => days + JULIAN_EPOCH,
            Field::Julian => return julian(days, civil.micros_of_day()),
            Field::Zone | Field::ZoneHour | Field::ZoneMinute => 0,
        };
        value.into()
    }

    /// Its value in microseconds since midnight, without the point.
    pub fn of_time(self, micros: i64) -> i128 {
        let (hour, minute, second, rest) = time_parts(micros);
        let value = match self {
            Field::Epoch => micros,
            Field::Of(Unit::Hour) => hour,
            Field::Of(Unit::Minute) => minute,
            _ => second * MICROS_PER_SECOND + rest,
        };
        value.into()
    }

    /// Its value in an interval, without the point.
    pub fn of_interval(self, interval: Interval) -> i128 {
        use Unit as U;
        let Interval { months, days, micros } = interval;
        let (years, months, days) = (i64::from(months / 12), i64::from(months % 12), i64::from(days));
        let value = match self {
            Field::Epoch => {
                // A year has 365.25 days here, a month 30.
                let quarter_days = i128::from(1461 * years + 120 * months + 4 * days);
                return quarter_days * i128::from(MICROS_PER_DAY / 4) + i128::from(micros);
            }
            Field::Of(U::Microsecond | U::Millisecond | U::Second) => micros % (60 * MICROS_PER_SECOND),
            Field::Of(U::Minute) => micros / (60 * MICROS_PER_SECOND) % 60,
            Field::Of(U::Hour) => micros / MICROS_PER_HOUR,
            Field::Of(U::Day) => days,
            Field::Of(U::Month) => months,
            Field::Of(U::Quarter) => months / 3 + 1,
            Field::Of(U::Year) => years,
            Field::Of(U::Decade) => years / 10,
            Field::Of(U::Century) => years / 100,
            Field::Of(U::Millennium) => years / 1000,
            _ => 0,
        };
        value.into()
    }

    /// A value as `date_part` returns it, calculated in PostgreSQL's order of operations so that the last bit agrees.
    pub fn as_float(self, value: i128, source: Source) -> f64 {
        match (self, source) {
            (Field::Of(Unit::Second), _) => {
                let million = i128::from(MICROS_PER_SECOND);
                (value / million) as f64 + (value % million) as f64 / 1e6
            }
            (Field::Of(Unit::Millisecond), _) => {
                let million = i128::from(MICROS_PER_SECOND);
                (value / million * 1000) as f64 + (value % million) as f64 / 1e3
            }
            (Field::Epoch, Source::Interval) => {
                let million = i128::from(MICROS_PER_SECOND);
                (value / million) as f64 + (value % million) as f64 / 1e6
            }
            (Field::Julian, _) if self.scale(source) > 0 => {
                let unit = 10i128.pow(20);
                (value / unit) as f64 + (value % unit) as f64 / unit as f64
            }
            _ => value as f64 / 10f64.powi(self.scale(source).into()),
        }
    }
}

/// The Julian day with 20 digits of its fraction, rounded.
fn julian(days: i64, micros: i64) -> i128 {
    let unit = 10i128.pow(20);
    let day = i128::from(MICROS_PER_DAY);
    i128::from(days + JULIAN_EPOCH) * unit + (i128::from(micros) * unit + day / 2) / day
}

/// A historical year: no year zero between 1 BC and 1 AD.
fn without_zero(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

/// The century or millennium of a year; the first ones are 1 and -1.
fn group_of_years(year: i64, years: i64) -> i64 {
    if year > 0 { (year + years - 1) / years } else { -((years - 1 - (year - 1)) / years) }
}

/// The timestamp truncated to a unit. None: out of range.
pub fn trunc(unit: Unit, micros: i64) -> Option<i64> {
    use Unit as U;
    if is_infinite(micros) {
        return Some(micros);
    }
    let civil = Civil::of(micros);
    let days = civil.days();
    let down = |to: i64| micros - micros.rem_euclid(to);
    let day = match unit {
        U::Microsecond => return Some(micros),
        U::Millisecond => return Some(down(1000)),
        U::Second => return Some(down(MICROS_PER_SECOND)),
        U::Minute => return Some(down(60 * MICROS_PER_SECOND)),
        U::Hour => return Some(down(MICROS_PER_HOUR)),
        U::Day => days,
        U::Week => days - (weekday(days) + 6) % 7,
        U::Month => days - civil.day + 1,
        U::Quarter => days_from_civil(civil.year, (civil.month - 1) / 3 * 3 + 1, 1),
        U::Year => days_from_civil(civil.year, 1, 1),
        U::Decade => days_from_civil(civil.year.div_euclid(10) * 10, 1, 1),
        U::Century => first_of(group_of_years(civil.year, 100), 100),
        U::Millennium => first_of(group_of_years(civil.year, 1000), 1000),
    };
    at(day, 0)
}

/// The first day of a century or millennium.
fn first_of(group: i64, years: i64) -> i64 {
    let year = if group > 0 { (group - 1) * years + 1 } else { group * years + 1 };
    days_from_civil(year, 1, 1)
}

/// The timestamp truncated to a unit in the local time of a zone. None: out of range.
pub fn trunc_in(zone: Zone, unit: Unit, utc_micros: i64) -> Option<i64> {
    let local = zone.to_local(utc_micros)?;
    let cut = trunc(unit, local)?;
    match unit < Unit::Day && !is_infinite(local) {
        true => cut.checked_sub(local - utc_micros).filter(|at| is_timestamp(*at)),
        false => zone.to_utc(cut),
    }
}

/// The interval truncated to a unit. None: intervals have no such unit.
pub fn trunc_interval(unit: Unit, interval: Interval) -> Option<Interval> {
    use Unit as U;
    let Interval { months, days, micros } = interval;
    let months_to = |to: i32| Interval { months: months / to * to, days: 0, micros: 0 };
    let micros_to = |to: i64| Interval { months, days, micros: micros / to * to };
    Some(match unit {
        U::Week => return None,
        U::Microsecond => interval,
        U::Millisecond => micros_to(1000),
        U::Second => micros_to(MICROS_PER_SECOND),
        U::Minute => micros_to(60 * MICROS_PER_SECOND),
        U::Hour => micros_to(MICROS_PER_HOUR),
        U::Day => Interval { months, days, micros: 0 },
        U::Month => months_to(1),
        U::Quarter => months_to(3),
        U::Year => months_to(12),
        U::Decade => months_to(120),
        U::Century => months_to(1200),
        U::Millennium => months_to(12_000),
    })
}

/// Why a timestamp cannot be put into bins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BinFault {
    /// Months differ in length.
    Months,
    /// Zero or negative.
    NotPositive,
    /// The start of the bin is out of range.
    OutOfRange,
    /// The origin is infinite.
    InfiniteOrigin,
}

/// The start of the bin of a timestamp, with bins of this width from an origin.
pub fn bin(stride: Interval, micros: i64, origin: i64) -> Result<i64, BinFault> {
    if is_infinite(micros) {
        return Ok(micros);
    }
    if is_infinite(origin) {
        return Err(BinFault::InfiniteOrigin);
    }
    if stride.months != 0 {
        return Err(BinFault::Months);
    }
    let width = i128::from(stride.days) * i128::from(MICROS_PER_DAY) + i128::from(stride.micros);
    if width <= 0 {
        return Err(BinFault::NotPositive);
    }
    let since = i128::from(micros) - i128::from(origin);
    let start = i128::from(origin) + since.div_euclid(width) * width;
    i64::try_from(start).ok().filter(|at| is_timestamp(*at)).ok_or(BinFault::OutOfRange)
}
