//! Functions of dates, times and intervals, and those behind their operators.

use datafusion::logical_expr::ScalarUDF;
use pg_values::time::calendar::{self, MICROS_PER_DAY, MICROS_PER_SECOND};
use pg_values::time::fields::{self, BinFault, Field};
use pg_values::time::{Interval, Unit, Zone, interval};
use pg_values::{Fault, format};

use super::overload::{Body, Kind, Memory, Overload, Overloaded, Read, Value};
use super::to_char::time_pattern as pattern;
use crate::error::{Result, SqlError, SqlState};

use Kind::{Bool, Date, Float, Int, Interval as Span, Text, Time, Timestamp, TimestampTz};

/// The functions that a statement can call.
pub fn functions() -> Vec<ScalarUDF> {
    NAMED.iter().map(|(name, overloads)| Overloaded::function(name, overloads)).collect()
}

const fn one(args: &'static [Kind], result: Kind, body: Body) -> Overload {
    Overload { args, result, body }
}

type Named = (&'static str, &'static [Overload]);

const NAMED: &[Named] = &[
    (
        "date_trunc",
        &[
            one(&[Text, Timestamp], Timestamp, |v, m| {
                found(fields::trunc(unit(&v[0], &mut m[0], "timestamp without time zone")?, v[1].micros()))
            }),
            one(&[Text, TimestampTz], TimestampTz, |v, m| {
                found(fields::trunc(unit(&v[0], &mut m[0], "timestamp with time zone")?, v[1].micros()))
            }),
            one(&[Text, Span], Span, |v, m| {
                let unit = unit(&v[0], &mut m[0], "interval")?;
                let cut = fields::trunc_interval(unit, v[1].interval());
                cut.map(|i| Some(Value::Interval(i))).ok_or_else(|| unsupported_unit(v[0].text(), "interval"))
            }),
            one(&[Text, TimestampTz, Text], TimestampTz, |v, m| {
                let unit = unit(&v[0], &mut m[0], "timestamp with time zone")?;
                found(fields::trunc_in(zone(&v[2], &mut m[2])?, unit, v[1].micros()))
            }),
        ],
    ),
    (
        "date_bin",
        &[
            one(&[Span, Timestamp, Timestamp], Timestamp, |v, _| date_bin(v)),
            one(&[Span, TimestampTz, TimestampTz], TimestampTz, |v, _| date_bin(v)),
        ],
    ),
    // Another name from other databases, with a default origin.
    (
        "time_bucket",
        &[
            one(&[Span, Timestamp], Timestamp, |v, _| {
                date_bin(&[v[0].clone(), v[1].clone(), Value::Micros(0)])
            }),
            one(&[Span, TimestampTz], TimestampTz, |v, _| {
                date_bin(&[v[0].clone(), v[1].clone(), Value::Micros(0)])
            }),
            one(&[Span, Timestamp, Timestamp], Timestamp, |v, _| date_bin(v)),
            one(&[Span, TimestampTz, TimestampTz], TimestampTz, |v, _| date_bin(v)),
        ],
    ),
    (
        "age",
        &[
            one(&[Timestamp, Timestamp], Span, |v, _| span(interval::age(v[0].micros(), v[1].micros()))),
            one(&[TimestampTz, TimestampTz], Span, |v, _| span(interval::age(v[0].micros(), v[1].micros()))),
        ],
    ),
    ("make_date", &[one(&[Int, Int, Int], Date, |v, _| Ok(Some(Value::Date(make_date(v)?))))]),
    ("make_time", &[one(&[Int, Int, Float], Time, |v, _| make_time(v))]),
    ("make_timestamp", &[one(&[Int, Int, Int, Int, Int, Float], Timestamp, |v, _| make_timestamp(v))]),
    (
        "make_timestamptz",
        &[
            one(&[Int, Int, Int, Int, Int, Float], TimestampTz, |v, _| make_timestamp(v)),
            one(&[Int, Int, Int, Int, Int, Float, Text], TimestampTz, |v, m| {
                let Some(local) = make_timestamp(&v[..6])? else { return Ok(None) };
                found(zone_of_text(&v[6], &mut m[6])?.to_utc(local.micros()))
            }),
        ],
    ),
    ("make_interval", &[one(&[Int, Int, Int, Int, Int, Int, Float], Span, |v, _| make_interval(v))]),
    (
        "justify_hours",
        &[one(&[Span], Span, |v, _| Ok(Some(Value::Interval(checked(v[0].interval().justify_hours())?))))],
    ),
    (
        "justify_days",
        &[one(&[Span], Span, |v, _| Ok(Some(Value::Interval(checked(v[0].interval().justify_days())?))))],
    ),
    (
        "justify_interval",
        &[one(&[Span], Span, |v, _| Ok(Some(Value::Interval(checked(v[0].interval().justify())?))))],
    ),
    (
        "isfinite",
        &[
            one(&[Date], Bool, |v, _| {
                let days = v[0].int();
                Ok(Some(Value::Bool(days != i64::from(i32::MAX) && days != i64::from(i32::MIN))))
            }),
            one(&[Timestamp], Bool, |v, _| Ok(Some(Value::Bool(!calendar::is_infinite(v[0].micros()))))),
            one(&[TimestampTz], Bool, |v, _| Ok(Some(Value::Bool(!calendar::is_infinite(v[0].micros()))))),
            one(&[Span], Bool, |_, _| Ok(Some(Value::Bool(true)))),
        ],
    ),
    (
        "timezone",
        &[
            one(&[Text, TimestampTz], Timestamp, |v, m| {
                found(zone(&v[0], &mut m[0])?.to_local(v[1].micros()))
            }),
            one(&[Text, Timestamp], TimestampTz, |v, m| found(zone(&v[0], &mut m[0])?.to_utc(v[1].micros()))),
            one(&[Span, TimestampTz], Timestamp, |v, _| {
                found(fixed_zone(v[0].interval())?.to_local(v[1].micros()))
            }),
            one(&[Span, Timestamp], TimestampTz, |v, _| {
                found(fixed_zone(v[0].interval())?.to_utc(v[1].micros()))
            }),
        ],
    ),
    (
        "to_timestamp",
        &[
            one(&[Float], TimestampTz, |v, _| from_epoch(v[0].float())),
            one(&[Text, Text], TimestampTz, |v, m| {
                let pattern = pattern(v[1].text(), &mut m[1])?;
                let read = format::read(v[0].text(), &pattern);
                Ok(Some(Value::Micros(read.map_err(|fault| misread(fault, v))?)))
            }),
        ],
    ),
    (
        "to_date",
        &[one(&[Text, Text], Date, |v, m| {
            let pattern = pattern(v[1].text(), &mut m[1])?;
            let read = format::read_date(v[0].text(), &pattern);
            Ok(Some(Value::Date(read.map_err(|fault| misread(fault, v))?)))
        })],
    ),
    ("interval_of_range", &[one(&[Text, Text, Text], Span, |v, _| interval_of_range(v))]),
    (
        "timestamp_scale",
        &[
            one(&[Timestamp, Int], Timestamp, |v, _| rounded(v)),
            one(&[TimestampTz, Int], TimestampTz, |v, _| rounded(v)),
            one(&[Time, Int], Time, |v, _| rounded(v)),
            one(&[Span, Int], Span, |v, _| {
                let interval = v[0].interval();
                let micros = round_micros(interval.micros, v[1].int());
                Ok(Some(Value::Interval(Interval { micros, ..interval })))
            }),
        ],
    ),
    (
        "overlaps",
        &[
            one(&[Timestamp, Timestamp, Timestamp, Timestamp], Bool, |v, _| overlaps(v)),
            one(&[TimestampTz, TimestampTz, TimestampTz, TimestampTz], Bool, |v, _| overlaps(v)),
            one(&[Time, Time, Time, Time], Bool, |v, _| overlaps(v)),
            one(&[Timestamp, Span, Timestamp, Span], Bool, |v, _| overlaps(&ends(v)?)),
            one(&[TimestampTz, Span, TimestampTz, Span], Bool, |v, _| overlaps(&ends(v)?)),
            one(&[Timestamp, Timestamp, Timestamp, Span], Bool, |v, _| overlaps(&ends(v)?)),
            one(&[Timestamp, Span, Timestamp, Timestamp], Bool, |v, _| overlaps(&ends(v)?)),
        ],
    ),
];

/// The function of an operator: its name, its operands and its implementation.
pub struct Operator {
    /// The operator's sign.
    pub sign: char,
    /// Name of the function.
    pub name: &'static str,
    /// The one function.
    pub overload: &'static [Overload],
}

const fn op(sign: char, name: &'static str, overload: &'static [Overload]) -> Operator {
    Operator { sign, name, overload }
}

/// The operators of dates, times and intervals, in the order in which they are tried.
pub const OPERATORS: &[Operator] = &[
    op('-', "date_mi", &[one(&[Date, Date], Int, |v, _| date_difference(v))]),
    op('-', "timestamp_mi", &[one(&[Timestamp, Timestamp], Span, |v, _| difference(v))]),
    op('-', "timestamptz_mi", &[one(&[TimestampTz, TimestampTz], Span, |v, _| difference(v))]),
    op('-', "time_mi_time", &[one(&[Time, Time], Span, |v, _| time_difference(v))]),
    op('-', "interval_mi", &[one(&[Span, Span], Span, |v, _| sum(v, Interval::minus))]),
    op('+', "interval_pl", &[one(&[Span, Span], Span, |v, _| sum(v, Interval::plus))]),
    op('+', "date_pli", &[one(&[Date, Int], Date, |v, _| moved_date(&v[0], v[1].int()))]),
    op('+', "integer_pl_date", &[one(&[Int, Date], Date, |v, _| moved_date(&v[1], v[0].int()))]),
    op('-', "date_mii", &[one(&[Date, Int], Date, |v, _| moved_date(&v[0], -v[1].int()))]),
    op(
        '+',
        "date_pl_interval",
        &[one(&[Date, Span], Timestamp, |v, _| moved(midnight(&v[0])?, v[1].interval()))],
    ),
    op(
        '+',
        "interval_pl_date",
        &[one(&[Span, Date], Timestamp, |v, _| moved(midnight(&v[1])?, v[0].interval()))],
    ),
    op(
        '-',
        "date_mi_interval",
        &[one(&[Date, Span], Timestamp, |v, _| back(midnight(&v[0])?, v[1].interval()))],
    ),
    op(
        '+',
        "timestamp_pl_interval",
        &[one(&[Timestamp, Span], Timestamp, |v, _| moved(v[0].micros(), v[1].interval()))],
    ),
    op(
        '+',
        "interval_pl_timestamp",
        &[one(&[Span, Timestamp], Timestamp, |v, _| moved(v[1].micros(), v[0].interval()))],
    ),
    op(
        '-',
        "timestamp_mi_interval",
        &[one(&[Timestamp, Span], Timestamp, |v, _| back(v[0].micros(), v[1].interval()))],
    ),
    op(
        '+',
        "timestamptz_pl_interval",
        &[one(&[TimestampTz, Span], TimestampTz, |v, _| moved(v[0].micros(), v[1].interval()))],
    ),
    op(
        '+',
        "interval_pl_timestamptz",
        &[one(&[Span, TimestampTz], TimestampTz, |v, _| moved(v[1].micros(), v[0].interval()))],
    ),
    op(
        '-',
        "timestamptz_mi_interval",
        &[one(&[TimestampTz, Span], TimestampTz, |v, _| back(v[0].micros(), v[1].interval()))],
    ),
    op('+', "datetime_pl", &[one(&[Date, Time], Timestamp, |v, _| date_and_time(&v[0], v[1].micros()))]),
    op('+', "timedate_pl", &[one(&[Time, Date], Timestamp, |v, _| date_and_time(&v[1], v[0].micros()))]),
    op(
        '+',
        "time_pl_interval",
        &[one(&[Time, Span], Time, |v, _| moved_time(v[0].micros(), v[1].interval().micros))],
    ),
    op(
        '+',
        "interval_pl_time",
        &[one(&[Span, Time], Time, |v, _| moved_time(v[1].micros(), v[0].interval().micros))],
    ),
    op(
        '-',
        "time_mi_interval",
        &[one(&[Time, Span], Time, |v, _| moved_time(v[0].micros(), v[1].interval().micros.wrapping_neg()))],
    ),
    op(
        '*',
        "interval_mul",
        &[one(&[Span, Float], Span, |v, _| {
            Ok(Some(Value::Interval(checked(v[0].interval().times(v[1].float()))?)))
        })],
    ),
    op(
        '*',
        "mul_d_interval",
        &[one(&[Float, Span], Span, |v, _| {
            Ok(Some(Value::Interval(checked(v[1].interval().times(v[0].float()))?)))
        })],
    ),
    op('/', "interval_div", &[one(&[Span, Float], Span, |v, _| quotient(v))]),
];

/// 22008 for a result out of range of timestamps.
fn found(micros: Option<i64>) -> Result<Option<Value<'static>>> {
    match micros {
        Some(micros) => Ok(Some(Value::Micros(micros))),
        None => Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")),
    }
}

fn span(interval: Option<Interval>) -> Result<Option<Value<'static>>> {
    match interval {
        Some(interval) => Ok(Some(Value::Interval(interval))),
        None => Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite timestamps")),
    }
}

fn checked(interval: std::result::Result<Interval, Fault>) -> Result<Interval> {
    interval.map_err(|_| SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range"))
}

/// The field named by a text.
pub fn field(value: &Value<'_>, memory: &mut Memory, type_name: &str) -> Result<Field> {
    let read = memory.of(value.text(), |name| match Field::named(name) {
        Some(field) => Ok(Read::Field(field)),
        None => Err(unknown_unit(name, type_name)),
    })?;
    match read {
        Read::Field(field) => Ok(field),
        _ => Err(unknown_unit(value.text(), type_name)),
    }
}

/// 22023
pub fn unknown_unit(name: &str, type_name: &str) -> SqlError {
    let message = format!("unit \"{name}\" not recognized for type {type_name}");
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// 0A000
pub fn unsupported_unit(name: &str, type_name: &str) -> SqlError {
    SqlError::unsupported(format!("unit \"{name}\" not supported for type {type_name}"))
}

fn unit(value: &Value<'_>, memory: &mut Memory, type_name: &str) -> Result<Unit> {
    match field(value, memory, type_name)? {
        Field::Of(unit) => Ok(unit),
        Field::Zone | Field::ZoneHour | Field::ZoneMinute => Err(unsupported_unit(value.text(), type_name)),
        _ => Err(unknown_unit(value.text(), type_name)),
    }
}

fn unknown_zone(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"))
}

fn zone(value: &Value<'_>, memory: &mut Memory) -> Result<Zone> {
    let read = memory
        .of(value.text(), |name| Zone::named(name).map(Read::Zone).ok_or_else(|| unknown_zone(name)))?;
    match read {
        Read::Zone(zone) => Ok(zone),
        _ => Err(unknown_zone(value.text())),
    }
}

/// A zone as written after a time: a positive offset is *east* of Greenwich.
fn zone_of_text(value: &Value<'_>, memory: &mut Memory) -> Result<Zone> {
    match pg_values::time::zone::offset(value.text()) {
        Ok(seconds) => Ok(Zone::Fixed(seconds)),
        Err(_) => zone(value, memory),
    }
}

/// The error for a text that does not match its pattern.
fn misread(fault: Fault, v: &[Value<'_>]) -> SqlError {
    let (text, pattern) = (v[0].text(), v[1].text());
    match fault {
        Fault::Invalid => SqlError::unsupported(format!(
            "\"{pattern}\" has a formatting field that is only supported in to_char"
        )),
        Fault::TimeOutOfRange => SqlError::bad_text(fault.sqlstate(), "timestamp", text),
        fault => {
            SqlError::new(fault.sqlstate(), format!("invalid value \"{text}\" for the pattern \"{pattern}\""))
        }
    }
}

fn fixed_zone(interval: Interval) -> Result<Zone> {
    if interval.months != 0 || interval.days != 0 {
        let message = "interval time zone must not include months or days";
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok(Zone::Fixed(interval.micros / MICROS_PER_SECOND))
}

fn date_bin(v: &[Value<'_>]) -> Result<Option<Value<'static>>> {
    let out_of_range = |message: &str| Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message));
    match fields::bin(v[0].interval(), v[1].micros(), v[2].micros()) {
        Ok(micros) => Ok(Some(Value::Micros(micros))),
        Err(BinFault::Months) => Err(SqlError::unsupported(
            "timestamps cannot be binned into intervals containing months or years",
        )),
        Err(BinFault::NotPositive) => out_of_range("stride must be greater than zero"),
        Err(BinFault::InfiniteOrigin) => out_of_range("origin out of range"),
        Err(BinFault::OutOfRange) => out_of_range("timestamp out of range"),
    }
}

fn make_date(v: &[Value<'_>]) -> Result<i32> {
    let (year, month, day) = (v[0].int(), v[1].int(), v[2].int());
    let wrong = || {
        let message = format!("date field value out of range: {year}-{month:02}-{day:02}");
        SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
    };
    // There is no year 0; negative years are BC.
    let astronomical = if year < 0 { year + 1 } else { year };
    let is_day = (1..=12).contains(&month)
        && day >= 1
        && day <= calendar::days_in_month(astronomical, month)
        && year != 0;
    let days = is_day.then(|| calendar::days_from_civil(astronomical, month, day));
    days.and_then(calendar::date).ok_or_else(wrong)
}

/// Microseconds of hours, minutes and seconds.
fn time_of(v: &[Value<'_>]) -> Result<i64> {
    let (hour, minute, second) = (v[0].int(), v[1].int(), v[2].float());
    let wrong = || {
        let message = format!("time field value out of range: {hour}:{minute:02}:{second:02}");
        SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
    };
    if !(0..=24).contains(&hour) || !(0..=59).contains(&minute) || !(0.0..=60.0).contains(&second) {
        return Err(wrong());
    }
    let micros = (second * 1e6).round_ties_even() as i64;
    let micros = (hour * 60 + minute) * 60 * MICROS_PER_SECOND + micros;
    if micros > MICROS_PER_DAY { Err(wrong()) } else { Ok(micros) }
}

fn make_time(v: &[Value<'_>]) -> Result<Option<Value<'static>>> {
    Ok(Some(Value::Micros(time_of(v)?)))
}

fn make_timestamp(v: &[Value<'_>]) -> Result<Option<Value<'static>>> {
    let days = make_date(&v[..3])?;
    found(calendar::at(days.into(), time_of(&v[3..])?))
}

fn make_interval(v: &[Value<'_>]) -> Result<Option<Value<'static>>> {
    let out_of_range = || SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range");
    let seconds = v[6].float();
    if !seconds.is_finite() {
        return Err(out_of_range());
    }
    let months = v[0].int() * 12 + v[1].int();
    let days = v[2].int() * 7 + v[3].int();
    let micros = (seconds * 1e6).round_ties_even();
    let whole = (v[4].int() * 60 + v[5].int()) * 60 * MICROS_PER_SECOND;
    if micros.abs() >= 2f64.powi(63) {
        return Err(out_of_range());
    }
    let micros = whole.checked_add(micros as i64).ok_or_else(out_of_range)?;
    Ok(Some(Value::Interval(checked(Interval::of(months, days, micros))?)))
}

fn from_epoch(seconds: f64) -> Result<Option<Value<'static>>> {
    let wrong =
        || SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("timestamp out of range: \"{seconds}\""));
    if seconds.is_infinite() {
        let end =
            if seconds > 0.0 { calendar::TIMESTAMP_INFINITY } else { calendar::TIMESTAMP_MINUS_INFINITY };
        return Ok(Some(Value::Micros(end)));
    }
    if seconds.is_nan() {
        return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp cannot be NaN"));
    }
    // PostgreSQL counts from 2000, and rounds after the conversion.
    const EPOCH_SECONDS: f64 = 946_684_800.0;
    let micros = ((seconds - EPOCH_SECONDS) * 1e6).round_ties_even() + EPOCH_SECONDS * 1e6;
    if micros.abs() >= 2f64.powi(63) {
        return Err(wrong());
    }
    let since_2000 = ((seconds - EPOCH_SECONDS) * 1e6).round_ties_even() as i64;
    let micros = since_2000.checked_add(EPOCH_SECONDS as i64 * MICROS_PER_SECOND).ok_or_else(wrong)?;
    if calendar::is_timestamp(micros) { Ok(Some(Value::Micros(micros))) } else { Err(wrong()) }
}

/// `INTERVAL 'text' first TO last`.
fn interval_of_range(v: &[Value<'_>]) -> Result<Option<Value<'static>>> {
    let text = v[0].text();
    let unit = |value: &Value<'_>| match Field::named(value.text()) {
        Some(Field::Of(unit)) => Ok(unit),
        _ => Err(SqlError::syntax(format!("\"{}\" is not a field of an interval", value.text()))),
    };
    let range = Some((unit(&v[1])?, unit(&v[2])?));
    let read = pg_values::time::interval(text.as_bytes(), range);
    let interval = read.map_err(|fault| crate::casts::text::bad_text(fault, "interval", text))?;
    Ok(Some(Value::Interval(interval)))
}

fn round_micros(micros: i64, digits: i64) -> i64 {
    let unit = 10i64.pow(6 - digits.clamp(0, 6) as u32);
    let half = unit / 2;
    match micros >= 0 {
        true => micros.saturating_add(half) / unit * unit,
        false => -(micros.saturating_neg().saturating_add(half) / unit * unit),
    }
}

fn rounded(v: &[Value<'_>]) -> Result<Option<Value<'static>>> {
    let micros = v[0].micros();
    if calendar::is_infinite(micros) {
        return Ok(Some(Value::Micros(micros)));
    }
    Ok(Some(Value::Micros(round_micros(micros, v[1].int()))))
}

/// The ends of periods given by their lengths.
fn ends(v: &[Value<'_>]) -> Result<Vec<Value<'static>>> {
    let mut all = vec![];
    for pair in v.chunks(2) {
        let start = pair[0].micros();
        all.push(Value::Micros(start));
        all.push(match &pair[1] {
            Value::Interval(length) => {
                moved(start, *length)?.ok_or_else(|| SqlError::internal("a timestamp moved to NULL"))?
            }
            end => Value::Micros(end.micros()),
        });
    }
    Ok(all)
}

/// Half-open periods; one of length zero is a point in time.
fn overlaps(v: &[Value<'_>]) -> Result<Option<Value<'static>>> {
    let period = |a: &Value<'_>, b: &Value<'_>| (a.micros().min(b.micros()), a.micros().max(b.micros()));
    let (first, second) = (period(&v[0], &v[1]), period(&v[2], &v[3]));
    let (early, late) = if first.0 <= second.0 { (first, second) } else { (second, first) };
    Ok(Some(Value::Bool(early.0 == late.0 || late.0 < early.1)))
}

fn date_difference(v: &[Value<'_>]) -> Result<Option<Value<'static>>> {
    let infinite = |days: i64| days == i64::from(i32::MAX) || days == i64::from(i32::MIN);
    if infinite(v[0].int()) || infinite(v[1].int()) {
        return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite dates"));
    }
    Ok(Some(Value::Int(v[0].int() - v[1].int())))
}

fn difference(v: &[Value<'_>]) -> Result<Option<Value<'static>>> {
    let (later, earlier) = (v[0].micros(), v[1].micros());
    if calendar::is_infinite(later) || calendar::is_infinite(earlier) {
        return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite timestamps"));
    }
    let interval = interval::between(later, earlier);
    let out_of_range = || SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range");
    Ok(Some(Value::Interval(interval.ok_or_else(out_of_range)?)))
}

fn time_difference(v: &[Value<'_>]) -> Result<Option<Value<'static>>> {
    Ok(Some(Value::Interval(Interval { months: 0, days: 0, micros: v[0].micros() - v[1].micros() })))
}

fn sum(
    v: &[Value<'_>],
    add: fn(Interval, Interval) -> std::result::Result<Interval, Fault>,
) -> Result<Option<Value<'static>>> {
    Ok(Some(Value::Interval(checked(add(v[0].interval(), v[1].interval()))?)))
}

fn quotient(v: &[Value<'_>]) -> Result<Option<Value<'static>>> {
    match v[0].interval().divided(v[1].float()) {
        Some(interval) => Ok(Some(Value::Interval(checked(interval)?))),
        None => Err(SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")),
    }
}

fn moved_date(date: &Value<'_>, days: i64) -> Result<Option<Value<'static>>> {
    let from = date.int();
    if from == i64::from(i32::MAX) || from == i64::from(i32::MIN) {
        return Ok(Some(Value::Date(from as i32)));
    }
    match calendar::date(from + days) {
        Some(days) => Ok(Some(Value::Date(days))),
        None => Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range")),
    }
}

/// A date as a timestamp.
fn midnight(date: &Value<'_>) -> Result<i64> {
    let days = date.int() as i32;
    calendar::date_to_timestamp(days)
        .ok_or_else(|| SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp"))
}

fn moved(timestamp: i64, by: Interval) -> Result<Option<Value<'static>>> {
    found(by.added_to(timestamp))
}

fn back(timestamp: i64, by: Interval) -> Result<Option<Value<'static>>> {
    found(checked(by.negated())?.added_to(timestamp))
}

fn date_and_time(date: &Value<'_>, time: i64) -> Result<Option<Value<'static>>> {
    let start = midnight(date)?;
    if calendar::is_infinite(start) {
        return Ok(Some(Value::Micros(start)));
    }
    found(start.checked_add(time).filter(|at| calendar::is_timestamp(*at)))
}

/// A time of day plus an interval wraps within the day.
fn moved_time(time: i64, by: i64) -> Result<Option<Value<'static>>> {
    Ok(Some(Value::Micros((i128::from(time) + i128::from(by)).rem_euclid(MICROS_PER_DAY.into()) as i64)))
}
