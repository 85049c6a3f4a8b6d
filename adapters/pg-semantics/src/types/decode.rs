//! Converts binary values of PostgreSQL clients to text, from which SQL casts. Never panics on any bytes.

use std::fmt::Write as _;

use bytes::Buf;
use pg_values::time::{calendar, write};

use super::{Base, PgType};
use crate::error::{Result, SqlError, SqlState};

const EPOCH_MICROS: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i64 = 10_957;

fn malformed(base: Base) -> SqlError {
    SqlError::new(
        SqlState::INVALID_BINARY_REPRESENTATION,
        format!("incorrect binary data format for type {}", base.sql_name()),
    )
}

/// The text of a binary value.
pub fn binary_text(pg: PgType, bytes: &[u8]) -> Result<String> {
    match pg {
        PgType::One(base) => one(base, bytes),
        PgType::Array(base) => array(base, bytes),
    }
}

fn fixed<const N: usize>(base: Base, bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| malformed(base))
}

fn one(base: Base, bytes: &[u8]) -> Result<String> {
    Ok(match base {
        Base::Bool => match fixed::<1>(base, bytes)? {
            [0] => "false".into(),
            _ => "true".into(),
        },
        Base::Int2 => i16::from_be_bytes(fixed(base, bytes)?).to_string(),
        Base::Int4 => i32::from_be_bytes(fixed(base, bytes)?).to_string(),
        Base::Int8 => i64::from_be_bytes(fixed(base, bytes)?).to_string(),
        Base::Oid => u32::from_be_bytes(fixed(base, bytes)?).to_string(),
        Base::Regtype => {
            let oid = u32::from_be_bytes(fixed(base, bytes)?);
            PgType::from_oid(oid).map_or_else(|| oid.to_string(), PgType::sql_name)
        }
        Base::Float4 => f32::from_be_bytes(fixed(base, bytes)?).to_string(),
        Base::Float8 => f64::from_be_bytes(fixed(base, bytes)?).to_string(),
        Base::Numeric => numeric(bytes)?,
        Base::Bytea => hex(bytes),
        Base::Date => {
            let days = match i32::from_be_bytes(fixed(base, bytes)?) {
                i32::MAX => calendar::DATE_INFINITY,
                i32::MIN => calendar::DATE_MINUS_INFINITY,
                days => {
                    let since_1970 = i64::from(days) + EPOCH_DAYS;
                    calendar::date(since_1970).ok_or_else(|| out_of_range("date"))?
                }
            };
            let mut text = String::new();
            let _ = write::date(days, &mut text);
            text
        }
        Base::Time => {
            let micros = i64::from_be_bytes(fixed(base, bytes)?);
            if !(0..=calendar::MICROS_PER_DAY).contains(&micros) {
                return Err(out_of_range("time"));
            }
            let mut text = String::new();
            let _ = write::time(micros, &mut text);
            text
        }
        Base::Timestamp | Base::TimestampTz => {
            let micros = match i64::from_be_bytes(fixed(base, bytes)?) {
                infinite if calendar::is_infinite(infinite) => Some(infinite),
                micros => micros.checked_add(EPOCH_MICROS).filter(|at| calendar::is_timestamp(*at)),
            };
            let micros = micros.ok_or_else(|| out_of_range("timestamp"))?;
            let mut text = String::new();
            let _ = write::timestamp(micros, base == Base::TimestampTz, &mut text);
            text
        }
        Base::Interval => {
            let mut fields = &fixed::<16>(base, bytes)?[..];
            let (micros, days, months) = (fields.get_i64(), fields.get_i32(), fields.get_i32());
            format!("{months} months {days} days {micros} microseconds")
        }
        Base::Uuid => {
            let hex = format!("{:032x}", u128::from_be_bytes(fixed(base, bytes)?));
            [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
        }
        Base::Jsonb => match bytes.split_first() {
            Some((1, text)) => utf8(text)?,
            _ => return Err(malformed(base)),
        },
        Base::Text | Base::Json | Base::Name | Base::Char | Base::Bpchar | Base::Varchar => utf8(bytes)?,
    })
}

fn out_of_range(name: &str) -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("{name} out of range"))
}

/// Text, which must not contain a zero byte.
pub fn utf8(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.map(str::to_string).ok_or_else(|| {
        SqlError::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"")
    })
}

/// The text form of bytea.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2 + 2);
    text.push_str("\\x");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads the text form of bytea: `\x` and hex digits, or bytes with octal escapes.
pub fn bytea(text: &str) -> Result<Vec<u8>> {
    let wrong =
        || SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea");
    let Some(digits) = text.strip_prefix("\\x") else {
        return bytea_escaped(text.as_bytes()).ok_or_else(wrong);
    };
    let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(wrong)
}

fn bytea_escaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => return None,
            (byte, tail) => {
                bytes.push(*byte);
                tail
            }
        };
    }
    Some(bytes)
}

fn numeric(bytes: &[u8]) -> Result<String> {
    let bad = || malformed(Base::Numeric);
    let mut rest = bytes;
    if rest.len() < 8 {
        return Err(bad());
    }
    let (groups, weight, sign, scale) = (rest.get_u16(), rest.get_i16(), rest.get_u16(), rest.get_u16());
    if rest.len() != usize::from(groups) * 2 || scale > 0x3fff {
        return Err(bad());
    }
    let negative = match sign {
        0 => false,
        0x4000 => true,
        0xC000 => return Err(SqlError::unsupported("numeric does not support NaN")),
        _ => return Err(bad()),
    };
    let digits: Vec<u16> = (0..groups).map(|_| rest.get_u16()).collect();
    if digits.iter().any(|d| *d > 9999) {
        return Err(bad());
    }
    let group = |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let mut text = String::new();
    if negative {
        text.push('-');
    }
    let weight = i32::from(weight);
    if weight < 0 {
        text.push('0');
    }
    for at in 0..=weight {
        let _ = if at == 0 { write!(text, "{}", group(0)) } else { write!(text, "{:04}", group(at)) };
    }
    if scale > 0 {
        let mut fraction = String::new();
        let mut at = weight + 1;
        while fraction.len() < usize::from(scale) {
            let _ = write!(fraction, "{:04}", group(at));
            at += 1;
        }
        text.push('.');
        text.push_str(&fraction[..usize::from(scale)]);
    }
    Ok(text)
}

/// An array of one dimension, as `{…}`.
fn array(base: Base, bytes: &[u8]) -> Result<String> {
    let items = array_items(base, bytes)?;
    let quoted = items.into_iter().map(|item| match item {
        None => "NULL".to_string(),
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    });
    Ok(format!("{{{}}}", quoted.collect::<Vec<_>>().join(",")))
}

/// The items of a binary array of one dimension, each as text.
pub fn array_items(base: Base, bytes: &[u8]) -> Result<Vec<Option<String>>> {
    let bad = || malformed(base);
    let mut rest = bytes;
    if rest.len() < 12 {
        return Err(bad());
    }
    let (dimensions, _has_nulls, _oid) = (rest.get_i32(), rest.get_i32(), rest.get_u32());
    match dimensions {
        0 => return Ok(vec![]),
        1 if rest.len() >= 8 => {}
        1 => return Err(bad()),
        _ => return Err(SqlError::unsupported("only arrays of one dimension are supported")),
    }
    let (len, _lower) = (rest.get_i32(), rest.get_i32());
    let mut items = vec![];
    for _ in 0..len {
        if rest.len() < 4 {
            return Err(bad());
        }
        let size = rest.get_i32();
        if size < 0 {
            items.push(None);
            continue;
        }
        let (item, after) = rest.split_at_checked(size as usize).ok_or_else(bad)?;
        items.push(Some(one(base, item)?));
        rest = after;
    }
    Ok(items)
}

/// The items of a text array of one dimension (`{a,"b c",NULL}`).
pub fn array_text_items(text: &str) -> Result<Vec<Option<String>>> {
    let bad = || {
        SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("malformed array literal: \"{text}\""))
    };
    let inner = text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(bad)?;
    let mut items = vec![];
    if inner.trim().is_empty() {
        return Ok(items);
    }
    let (mut item, mut quoted, mut in_quotes) = (String::new(), false, false);
    let mut characters = inner.chars();
    let push = |items: &mut Vec<_>, item: &mut String, quoted: &mut bool| {
        let text = if *quoted { std::mem::take(item) } else { std::mem::take(item).trim().to_string() };
        let null = !*quoted && text.eq_ignore_ascii_case("null");
        items.push((!null).then_some(text));
        *quoted = false;
    };
    while let Some(c) = characters.next() {
        match c {
            '\\' => item.push(characters.next().ok_or_else(bad)?),
            '"' => {
                in_quotes = !in_quotes;
                quoted = true;
            }
            ',' if !in_quotes => push(&mut items, &mut item, &mut quoted),
            '{' | '}' if !in_quotes => {
                return Err(SqlError::unsupported("only arrays of one dimension are supported"));
            }
            c => item.push(c),
        }
    }
    if in_quotes {
        return Err(bad());
    }
    push(&mut items, &mut item, &mut quoted);
    Ok(items)
}
