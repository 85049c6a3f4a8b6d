//! Thousands of values against PostgreSQL's own answers: `postgresql.tsv` has the answers of PostgreSQL 15.18
//! (DateStyle ISO, zone UTC): an operation, its arguments, and the text of the result (the bits, of floats), or `!` and
//! the SQLSTATE.

use kernel::SqlState;
use pg_values::format::numbers::{Number, NumberPattern};
use pg_values::format::{self, Pattern};
use pg_values::time::fields::{self, BinFault, Field, Source};
use pg_values::time::{Interval, Zone, calendar, interval};
use pg_values::{Fault, number, time};

#[test]
fn values_are_those_of_postgresql() {
    let mut wrong = vec![];
    let mut cases = 0;
    for line in include_str!("postgresql.tsv").lines() {
        let mut parts: Vec<&str> = line.split('\t').collect();
        let expected = parts.pop().unwrap();
        let found = answer(&parts).unwrap_or_else(|code| format!("!{code}"));
        cases += 1;
        if found != expected {
            wrong.push(format!("{parts:?}: PostgreSQL says {expected}, not {found}"));
        }
    }
    assert!(cases > 2500, "the file is complete");
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
}

const OUT_OF_RANGE: SqlState = SqlState::DATETIME_FIELD_OVERFLOW;
const NOT_SUPPORTED: SqlState = SqlState::FEATURE_NOT_SUPPORTED;
const UNKNOWN: SqlState = SqlState::INVALID_PARAMETER_VALUE;

fn answer(parts: &[&str]) -> Result<String, SqlState> {
    match *parts {
        ["float8", text] => {
            let value = number::float64(text.as_bytes()).map_err(Fault::sqlstate)?;
            Ok(format!("{:016x}", value.to_bits()))
        }
        ["float4", text] => {
            let value = number::float32(text.as_bytes()).map_err(Fault::sqlstate)?;
            Ok(format!("{:08x}", value.to_bits()))
        }
        ["date", text] => {
            let mut out = String::new();
            time::write::date(time::date(text.as_bytes()).map_err(Fault::sqlstate)?, &mut out).unwrap();
            Ok(out)
        }
        ["time", text] => {
            let mut out = String::new();
            time::write::time(time_of_day(text)?, &mut out).unwrap();
            Ok(out)
        }
        ["timestamp", text] => Ok(shown(moment(text, false)?, false)),
        ["timestamptz", text] => Ok(shown(moment(text, true)?, true)),
        ["atz" | "zat", ..] => zones(parts),
        ["ts+iv" | "ts-iv" | "ts-ts" | "age", ..] => arithmetic(parts),
        [name, ..] if name.starts_with("ex_") => extract(parts),
        ["trunc" | "trunc_tz" | "trunc_iv" | "bin", ..] => truncation(parts),
        ["tc", text, pattern] => {
            let written = format::timestamp(moment(text, false)?, false, &Pattern::new(pattern));
            Ok(written.map_or("NULL".into(), |text| format!("[{text}]")))
        }
        ["tt", text, pattern] => {
            Ok(shown(format::read(text, &Pattern::new(pattern)).map_err(Fault::sqlstate)?, true))
        }
        ["td", text, pattern] => {
            let mut out = String::new();
            let days = format::read_date(text, &Pattern::new(pattern)).map_err(Fault::sqlstate)?;
            time::write::date(days, &mut out).unwrap();
            Ok(out)
        }
        ["tc_iv", text, pattern] => {
            let written = format::interval(span(text)?, &Pattern::new(pattern));
            written.map(|text| format!("[{text}]")).ok_or(SqlState::INVALID_DATETIME_FORMAT)
        }
        [kind @ ("tn" | "tni" | "tnf"), number, pattern] => {
            let pattern = NumberPattern::to_write(pattern).map_err(|_| SqlState::SYNTAX_ERROR)?;
            let number = match kind {
                "tnf" => Number::Double(number.parse().unwrap()),
                _ => Number::Exact(number),
            };
            Ok(format!("[{}]", pattern.write(number)))
        }
        ["tonum", text, pattern] => number_read(text, pattern),
        _ => intervals(parts),
    }
}

/// The number that a pattern reads, as PostgreSQL shows it.
fn number_read(text: &str, pattern: &str) -> Result<String, SqlState> {
    let pattern = NumberPattern::new(pattern).map_err(|_| SqlState::SYNTAX_ERROR)?;
    let read = pattern.read(text).map_err(|_| NOT_SUPPORTED)?;
    assert_eq!(read.shift, 0, "patterns with V are in tests/slt");
    let (sign, digits) = read.text.split_at(1);
    if !digits.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(SqlState::INVALID_TEXT_REPRESENTATION);
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    if whole.len() > read.whole_max {
        return Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    }
    let zero = whole.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    let sign = if sign == "-" && !zero { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(format!("{sign}{whole}{point}{fraction}"))
}

fn moment(text: &str, zoned: bool) -> Result<i64, SqlState> {
    time::timestamp(text.as_bytes(), zoned).map_err(Fault::sqlstate)
}

fn time_of_day(text: &str) -> Result<i64, SqlState> {
    time::time(text.as_bytes(), None).map_err(Fault::sqlstate)
}

fn span(text: &str) -> Result<Interval, SqlState> {
    time::interval(text.as_bytes(), None).map_err(Fault::sqlstate)
}

fn shown(micros: i64, zoned: bool) -> String {
    let mut out = String::new();
    time::write::timestamp(micros, zoned, &mut out).unwrap();
    out
}

fn shown_span(interval: Interval) -> String {
    let mut out = String::new();
    interval.write(&mut out).unwrap();
    out
}

fn zones(parts: &[&str]) -> Result<String, SqlState> {
    let zone = Zone::named(parts[2]).ok_or(UNKNOWN)?;
    let (found, zoned) = match parts[0] {
        "atz" => (zone.to_local(moment(parts[1], true)?), false),
        _ => (zone.to_utc(moment(parts[1], false)?), true),
    };
    Ok(shown(found.ok_or(OUT_OF_RANGE)?, zoned))
}

fn arithmetic(parts: &[&str]) -> Result<String, SqlState> {
    let left = moment(parts[1], false)?;
    let found = match parts[0] {
        "ts+iv" => return Ok(shown(span(parts[2])?.added_to(left).ok_or(OUT_OF_RANGE)?, false)),
        "ts-iv" => {
            let back = span(parts[2])?.negated().map_err(Fault::sqlstate)?;
            return Ok(shown(back.added_to(left).ok_or(OUT_OF_RANGE)?, false));
        }
        "ts-ts" => interval::between(left, moment(parts[2], false)?),
        _ => interval::age(left, moment(parts[2], false)?),
    };
    Ok(shown_span(found.ok_or(OUT_OF_RANGE)?))
}

fn intervals(parts: &[&str]) -> Result<String, SqlState> {
    let left = span(parts[1])?;
    let found = match parts[0] {
        "interval" => Ok(left),
        "iv*" => left.times(parts[2].parse().unwrap()),
        "iv/" => left.divided(parts[2].parse().unwrap()).unwrap(),
        "iv+" => left.plus(span(parts[2])?),
        "jh" => left.justify_hours(),
        "jd" => left.justify_days(),
        "ji" => left.justify(),
        "cmp" => return Ok(format!("{:?}", left.length_micros().cmp(&span(parts[2])?.length_micros()))),
        other => panic!("{other}"),
    };
    Ok(shown_span(found.map_err(Fault::sqlstate)?))
}

fn extract(parts: &[&str]) -> Result<String, SqlState> {
    let source = match parts[0] {
        "ex_ts" => Source::Timestamp,
        "ex_tz" => Source::TimestampTz,
        "ex_date" => Source::Date,
        "ex_time" => Source::Time,
        _ => Source::Interval,
    };
    let text = parts[2];
    let value = match source {
        Source::Date => {
            i64::from(time::date(text.as_bytes()).map_err(Fault::sqlstate)?) * calendar::MICROS_PER_DAY
        }
        Source::Time => time_of_day(text)?,
        Source::Interval => i64::from(span(text)?.months),
        _ => moment(text, source == Source::TimestampTz)?,
    };
    let field = Field::named(parts[1]).ok_or(UNKNOWN)?;
    if !field.is_in(source) {
        return Err(NOT_SUPPORTED);
    }
    let value = match source {
        Source::Interval => field.of_interval(span(text)?),
        Source::Time => field.of_time(value),
        _ => field.of_timestamp(value, source),
    };
    let scale = field.scale(source) as usize;
    let digits = format!("{:0>width$}", value.abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let (sign, point) = (if value < 0 { "-" } else { "" }, if scale > 0 { "." } else { "" });
    Ok(format!("{sign}{whole}{point}{fraction}"))
}

fn truncation(parts: &[&str]) -> Result<String, SqlState> {
    if parts[0] == "bin" {
        let found = fields::bin(span(parts[1])?, moment(parts[2], false)?, moment(parts[3], false)?);
        return found.map(|at| shown(at, false)).map_err(|fault| match fault {
            BinFault::Months => NOT_SUPPORTED,
            _ => OUT_OF_RANGE,
        });
    }
    let value = match parts[0] {
        "trunc_iv" => i64::from(span(parts[2])?.months),
        name => moment(parts[2], name == "trunc_tz")?,
    };
    let unit = match Field::named(parts[1]) {
        Some(Field::Of(unit)) => unit,
        Some(Field::Zone | Field::ZoneHour | Field::ZoneMinute) => return Err(NOT_SUPPORTED),
        _ => return Err(UNKNOWN),
    };
    match parts[0] {
        "trunc" => Ok(shown(fields::trunc(unit, value).ok_or(OUT_OF_RANGE)?, false)),
        "trunc_iv" => fields::trunc_interval(unit, span(parts[2])?).map(shown_span).ok_or(NOT_SUPPORTED),
        _ => {
            let zone = Zone::named(parts[3]).ok_or(UNKNOWN)?;
            Ok(shown(fields::trunc_in(zone, unit, value).ok_or(OUT_OF_RANGE)?, true))
        }
    }
}
