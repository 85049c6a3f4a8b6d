//! Parses numbers exactly: integers and `numeric` without floating point, floats correctly rounded.

use crate::Fault;

/// Without the white space that PostgreSQL allows around a number.
#[inline]
pub fn trim(text: &[u8]) -> &[u8] {
    const VERTICAL_TAB: u8 = 0x0b;
    let mut rest = text.trim_ascii();
    while let [VERTICAL_TAB, inner @ ..] | [inner @ .., VERTICAL_TAB] = rest {
        rest = inner.trim_ascii();
    }
    rest
}

/// An integer of at most 18 digits and a sign that begins at `at` and is followed by neither digit, point nor exponent;
/// and its end. None: use the general parser.
#[inline]
pub fn plain_integer(message: &[u8], at: usize) -> Option<(i64, usize)> {
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

/// A number of at most 18 digits, with a fraction or without, that is followed by no exponent.
#[derive(Clone, Copy)]
pub struct PlainNumber {
    negative: bool,
    /// All digits, as if there were no point.
    digits: u64,
    /// How many of them are after the point.
    places: usize,
    /// Byte after it.
    pub end: usize,
}

/// The JSON number that begins at `at`, if it is a plain one. None: use the general parser.
#[inline]
pub fn plain_number(message: &[u8], at: usize) -> Option<PlainNumber> {
    let negative = message.get(at) == Some(&b'-');
    let first = at + negative as usize;
    let (mut digits, mut end) = (0, first);
    read_digits(message, &mut end, &mut digits);
    let whole = end - first;
    let leading_zero = whole > 1 && message[first] == b'0';
    let mut places = 0;
    if message.get(end) == Some(&b'.') {
        end += 1;
        let fraction = end;
        read_digits(message, &mut end, &mut digits);
        places = end - fraction;
        if places == 0 {
            return None;
        }
    }
    if whole == 0 || leading_zero || whole + places > 18 || matches!(message.get(end), Some(b'e' | b'E')) {
        return None;
    }
    Some(PlainNumber { negative, digits, places, end })
}

#[inline]
fn read_digits(message: &[u8], at: &mut usize, digits: &mut u64) {
    while let Some(byte @ b'0'..=b'9') = message.get(*at) {
        *digits = digits.wrapping_mul(10).wrapping_add((byte - b'0') as u64);
        *at += 1;
    }
}

impl PlainNumber {
    /// The nearest double, if one exact division yields it: digits and power of ten are exact doubles (Clinger's fast
    /// path).
    #[inline]
    pub fn float64(self) -> Option<f64> {
        if self.digits >= 1 << 53 {
            return None;
        }
        let value = self.digits as f64 / POWERS_OF_TEN[self.places];
        Some(if self.negative { -value } else { value })
    }

    /// The unscaled `numeric(precision, scale)`, if the value needs no rounding and no step can overflow.
    #[inline]
    pub fn decimal(self, precision: u8, scale: i8) -> Option<i128> {
        let zeros = usize::try_from(scale).ok()?.checked_sub(self.places)?;
        let value = self.digits as i128 * *WHOLE_POWERS_OF_TEN.get(zeros)? as i128;
        let fits = value < 10i128.pow(precision as u32);
        fits.then_some(if self.negative { -value } else { value })
    }
}

const POWERS_OF_TEN: [f64; 19] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];

const WHOLE_POWERS_OF_TEN: [u64; 19] = {
    let mut powers = [1; 19];
    let mut at = 1;
    while at < 19 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// Whether a text is a number and thus not a date: dates have dashes between digits.
pub fn is_number(text: &[u8]) -> bool {
    Number::parse(trim(text)).is_ok()
}

/// An integer as PostgreSQL reads one: a sign and digits, neither point nor exponent.
#[inline]
pub fn integer(text: &[u8]) -> Result<i64, Fault> {
    let text = trim(text);
    if let Some(value) = short_integer(text) {
        return Ok(value);
    }
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return Err(Fault::Invalid);
    }
    let mut value = 0i64;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return Err(Fault::Invalid);
        }
        let digit = i64::from(byte - b'0');
        // Counts downwards, because there is one more negative integer.
        let next = value.checked_mul(10).and_then(|value| value.checked_sub(digit));
        value = next.ok_or(Fault::OutOfRange)?;
    }
    if negative { Ok(value) } else { value.checked_neg().ok_or(Fault::OutOfRange) }
}

/// A JSON number as an integer. A fraction or an exponent is allowed as long as the value is whole.
#[inline]
pub fn whole(text: &[u8]) -> Result<i64, Fault> {
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

#[inline]
fn short_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, digit| value * 10 + (digit - b'0') as i64);
    Some(if digits.len() < text.len() { -value } else { value })
}

/// `numeric(precision, scale)`: the unscaled value, rounded half away from zero as PostgreSQL does.
#[inline]
pub fn decimal(text: &[u8], precision: u8, scale: i8) -> Result<i128, Fault> {
    let text = trim(text);
    let plain = plain_number(text, 0).filter(|number| number.end == text.len());
    if let Some(value) = plain.and_then(|number| number.decimal(precision, scale)) {
        return Ok(value);
    }
    let value = Number::parse(text)?.scaled(scale as i64)?.0;
    match value.unsigned_abs() < 10u128.pow(precision as u32) {
        true => Ok(value),
        false => Err(Fault::OutOfRange),
    }
}

/// A parsed number.
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

    /// The value times ten to the power of `scale`, rounded half away from zero; and whether that is exact.
    fn scaled(&self, scale: i64) -> Result<(i128, bool), Fault> {
        let digits = || self.whole.iter().chain(self.fraction).map(|digit| digit - b'0');
        let count = (self.whole.len() + self.fraction.len()) as i64;
        // Digits before the (moved) point; beyond the last digit, zeros.
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

/// `double precision`, rounded to the nearest. Out of range: too large, or so small that it rounds to zero.
#[inline]
pub fn float64(text: &[u8]) -> Result<f64, Fault> {
    let text = trim(text);
    let plain = plain_number(text, 0).filter(|number| number.end == text.len());
    if let Some(value) = plain.and_then(PlainNumber::float64) {
        return Ok(value);
    }
    let value: f64 = utf8(text)?.parse().map_err(|_| Fault::Invalid)?;
    let lost = value.is_infinite() && text.iter().any(u8::is_ascii_digit) || value == 0.0 && !is_zero(text);
    if lost { Err(Fault::OutOfRange) } else { Ok(value) }
}

/// `real`, rounded once, from the text (never by way of a double).
pub fn float32(text: &[u8]) -> Result<f32, Fault> {
    let text = trim(text);
    let value: f32 = utf8(text)?.parse().map_err(|_| Fault::Invalid)?;
    let lost = value.is_infinite() && text.iter().any(u8::is_ascii_digit) || value == 0.0 && !is_zero(text);
    if lost { Err(Fault::OutOfRange) } else { Ok(value) }
}

/// Whether a number has no digit but zeros before its exponent.
fn is_zero(text: &[u8]) -> bool {
    !text.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'))
}

fn utf8(text: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(text).map_err(|_| Fault::Invalid)
}
