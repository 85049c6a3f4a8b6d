//! Numbers from text, exactly: integers and `numeric` without a detour over floating point, floats correctly rounded.

use super::Fault;

/// Without the white space that PostgreSQL allows around a number.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// An integer of at most 18 digits and a sign that begins at `at` and is followed by neither digit, point nor exponent;
/// and where it ends. None: look closer.
#[inline]
pub(crate) fn plain_integer(message: &[u8], at: usize) -> Option<(i64, usize)> {
    let negative = message.get(at) == Some(&b'-');
    let first = at + negative as usize;
    let mut end = first;
    let mut value = 0i64;
    let mut next = *message.get(end)?;
    while next.is_ascii_digit() {
        if end - first == 18 {
            return None;
        }
        value = value * 10 + (next - b'0') as i64;
        end += 1;
        next = *message.get(end)?;
    }
    let leading_zero = message[first] == b'0' && end > first + 1;
    if end == first || leading_zero || matches!(next, b'.' | b'e' | b'E') {
        return None;
    }
    Some((if negative { -value } else { value }, end))
}

/// An integer. A fraction or an exponent is allowed as long as the value is whole.
pub(crate) fn integer(text: &[u8]) -> Result<i64, Fault> {
    let text = trim(text);
    if let Some(value) = short_integer(text) {
        return Ok(value);
    }
    let number = Number::parse(text)?;
    let (value, exact) = number.scaled(0)?;
    if !exact {
        return Err(Fault::Fraction);
    }
    i64::try_from(value).map_err(|_| Fault::OutOfRange)
}

fn short_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, digit| value * 10 + (digit - b'0') as i64);
    Some(if digits.len() < text.len() { -value } else { value })
}

/// `numeric(precision, scale)`: the unscaled value, rounded half away from zero as PostgreSQL does.
pub(crate) fn decimal(text: &[u8], precision: u8, scale: i8) -> Result<i128, Fault> {
    let text = trim(text);
    let value = match short_decimal(text, scale) {
        Some(value) => value as i128,
        None => Number::parse(text)?.scaled(scale as i64)?.0,
    };
    match value.unsigned_abs() < 10u128.pow(precision as u32) {
        true => Ok(value),
        false => Err(Fault::OutOfRange),
    }
}

/// The common case: at most 18 digits in the end, none to be rounded away, no exponent.
#[inline]
fn short_decimal(text: &[u8], scale: i8) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let scale = usize::try_from(scale).ok()?;
    if digits.len() + scale > 18 {
        return None;
    }
    let (mut value, mut seen, mut after_point) = (0i64, 0, None);
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + (byte - b'0') as i64;
                seen += 1;
                after_point = after_point.map(|n: usize| n + 1);
            }
            b'.' if after_point.is_none() && seen > 0 => after_point = Some(0),
            _ => return None,
        }
    }
    let zeros = scale.checked_sub(after_point.unwrap_or(0))?;
    if seen == 0 || after_point == Some(0) {
        return None;
    }
    value *= 10i64.pow(zeros as u32);
    Some(if digits.len() < text.len() { -value } else { value })
}

/// A number in text, taken apart.
struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Number<'a> {
    /// `[+-] digits [. digits] [e [+-] digits]`, a digit somewhere before the exponent.
    fn parse(text: &'a [u8]) -> Result<Number<'a>, Fault> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let (whole, rest) = split_digits(text);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => split_digits(rest),
            _ => (&rest[..0], rest),
        };
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => parse_exponent(rest)?,
            _ => return Err(Fault::Invalid),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(Fault::Invalid);
        }
        Ok(Number { negative, whole, fraction, exponent })
    }

    /// The value times ten to the power of `scale`, rounded half away from zero; and whether nothing was lost.
    fn scaled(&self, scale: i64) -> Result<(i128, bool), Fault> {
        let digits = || self.whole.iter().chain(self.fraction).map(|digit| digit - b'0');
        let count = (self.whole.len() + self.fraction.len()) as i64;
        // How many of the digits stay before the (moved) point; beyond them come zeros.
        let stay = (self.whole.len() as i64).saturating_add(self.exponent).saturating_add(scale);
        let mut value = 0i128;
        for digit in digits().take(stay.clamp(0, count) as usize) {
            value = push_digit(value, digit)?;
        }
        if value != 0 {
            // At most 39 rounds: then it overflows.
            for _ in count..stay {
                value = push_digit(value, 0)?;
            }
        }
        let mut lost = digits().skip(stay.max(0) as usize);
        let exact = stay >= count || digits().skip(stay.max(0) as usize).all(|digit| digit == 0);
        if stay >= 0 && lost.next().is_some_and(|digit| digit >= 5) {
            value = value.checked_add(1).ok_or(Fault::OutOfRange)?;
        }
        Ok((if self.negative { -value } else { value }, exact))
    }
}

fn push_digit(value: i128, digit: u8) -> Result<i128, Fault> {
    value.checked_mul(10).and_then(|v| v.checked_add(digit as i128)).ok_or(Fault::OutOfRange)
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// Saturates: beyond some billions the exact exponent no longer matters.
fn parse_exponent(text: &[u8]) -> Result<i64, Fault> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Invalid);
    }
    let exponent = digits.iter().fold(0i64, |value, digit| (value * 10 + (digit - b'0') as i64).min(1 << 40));
    Ok(sign * exponent)
}

/// `double precision`, rounded to the nearest; too large is out of range, too small is zero.
pub(crate) fn float64(text: &[u8]) -> Result<f64, Fault> {
    let text = trim(text);
    if let Some(value) = short_float(text) {
        return Ok(value);
    }
    let value: f64 = utf8(text)?.parse().map_err(|_| Fault::Invalid)?;
    if value.is_infinite() && text.iter().any(u8::is_ascii_digit) {
        return Err(Fault::OutOfRange);
    }
    Ok(value)
}

/// `real`, rounded once, from the text (never by way of a double).
pub(crate) fn float32(text: &[u8]) -> Result<f32, Fault> {
    let text = trim(text);
    let value: f32 = utf8(text)?.parse().map_err(|_| Fault::Invalid)?;
    if value.is_infinite() && text.iter().any(u8::is_ascii_digit) {
        return Err(Fault::OutOfRange);
    }
    Ok(value)
}

const POWERS_OF_TEN: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// At most 15 digits, no exponent: both the digits and the power of ten are exact doubles, so that one division rounds
/// correctly (Clinger's fast path).
#[inline]
fn short_float(text: &[u8]) -> Option<f64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let (mut value, mut count, mut after_point) = (0u64, 0, None);
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + (byte - b'0') as u64;
                count += 1;
                after_point = after_point.map(|n: usize| n + 1);
            }
            b'.' if after_point.is_none() && count > 0 => after_point = Some(0),
            _ => return None,
        }
    }
    if count > 15 || after_point == Some(0) {
        return None;
    }
    let value = value as f64 / POWERS_OF_TEN[after_point.unwrap_or(0)];
    Some(if digits.len() < text.len() { -value } else { value })
}

fn utf8(text: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(text).map_err(|_| Fault::Invalid)
}
