//! Arithmetic on `numeric` values: whole numbers with a scale, as Arrow's decimals store them. Exact where PostgreSQL's
//! is; a quotient is rounded to the same place as in PostgreSQL.
//!
//! In PostgreSQL each numeric value has its own scale; in Arrow the scale is part of the type. Digits after the point
//! beyond the scale of PostgreSQL's value are zeros.

use std::cmp::max;

use bigdecimal::num_bigint::BigInt;
use datafusion::arrow::datatypes::{DataType, i256};
use pg_values::Fault;

use crate::error::{Result, SqlError, SqlState};

/// Most digits of the wide decimal.
pub const DIGITS_MAX: u8 = 76;
/// Most digits of the decimal that columns use.
pub const DIGITS_NARROW_MAX: u8 = 38;
/// Largest scale of a quotient's type.
pub const QUOTIENT_SCALE_MAX: i32 = 40;
/// Digits that a quotient has at least (PostgreSQL's NUMERIC_MIN_SIG_DIGITS).
const SIGNIFICANT_DIGITS_MIN: i32 = 16;

/// Precision and scale of a numeric type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Digits {
    /// In all.
    pub precision: i32,
    /// After the point.
    pub scale: i32,
}

impl Digits {
    /// Those of an exact type; None for others.
    pub fn of(data_type: &DataType) -> Option<Digits> {
        let (precision, scale) = match data_type {
            DataType::Int16 => (5, 0),
            DataType::Int32 => (10, 0),
            DataType::Int64 => (19, 0),
            DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => (i32::from(*p), i32::from(*s)),
            _ => return None,
        };
        Some(Digits { precision, scale })
    }

    /// Digits before the point.
    pub fn whole(self) -> i32 {
        self.precision - self.scale
    }

    /// `whole` digits before the point and `scale` after it. If that exceeds the widest type, digits before the point
    /// are dropped first; each value is checked against that when it is calculated.
    pub fn new(whole: i32, scale: i32) -> Digits {
        let scale = scale.clamp(0, i32::from(DIGITS_MAX) - 1);
        Digits { precision: (max(whole, 0) + scale).clamp(1, i32::from(DIGITS_MAX)), scale }
    }

    /// The Arrow type of such values.
    pub fn arrow(self) -> DataType {
        let (precision, scale) = (self.precision as u8, self.scale as i8);
        match precision {
            0..=DIGITS_NARROW_MAX => DataType::Decimal128(precision, scale),
            _ => DataType::Decimal256(precision, scale),
        }
    }

    /// Of a type that holds the values of both.
    pub fn union(self, other: Digits) -> Digits {
        Digits::new(max(self.whole(), other.whole()), max(self.scale, other.scale))
    }

    /// Of a sum or difference.
    pub fn sum(self, other: Digits) -> Digits {
        Digits::new(max(self.whole(), other.whole()) + 1, max(self.scale, other.scale))
    }

    /// Of a product.
    pub fn product(self, other: Digits) -> Digits {
        let (whole, scale) = (self.whole() + other.whole(), self.scale + other.scale);
        let most = i32::from(DIGITS_MAX);
        let room = (most - whole).clamp(QUOTIENT_SCALE_MAX.min(scale), most - 1);
        Digits::new(whole, scale.min(room))
    }

    /// Of a quotient.
    pub fn quotient(self, other: Digits) -> Digits {
        let whole = max(self.whole(), 0) + other.scale;
        let scale = max(self.scale, (i32::from(DIGITS_MAX) - whole).min(QUOTIENT_SCALE_MAX));
        Digits::new(i32::from(DIGITS_MAX), max(scale, SIGNIFICANT_DIGITS_MIN + 4))
    }

    /// Of a remainder.
    pub fn remainder(self, other: Digits) -> Digits {
        self.union(other)
    }
}

/// A value: `unscaled` times ten to the power of minus `scale`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decimal {
    /// All digits.
    pub unscaled: i256,
    /// How many of them are after the point.
    pub scale: i32,
}

const TEN: i256 = i256::from_i128(10);

/// 22003 with PostgreSQL's text, and the reason.
pub fn too_wide() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
        .with_hint(format!("Numerics have at most {DIGITS_MAX} digits in calculations."))
}

/// Ten to the power of `n`.
pub fn power_of_ten(n: i32) -> Option<i256> {
    (0..=76).contains(&n).then(|| TEN.wrapping_pow(n as u32))
}

impl Decimal {
    /// Zero.
    pub const ZERO: Decimal = Decimal { unscaled: i256::ZERO, scale: 0 };

    /// From its text: digits, a point, an exponent, as PostgreSQL reads numeric. Its scale is that of the text.
    pub fn parse(text: &str) -> std::result::Result<Decimal, Fault> {
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(Fault::Invalid);
                }
                (mantissa, exponent.parse::<i32>().map_err(|_| Fault::OutOfRange)?)
            }
            None => (digits, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
        if !all_digits || whole.len() + fraction.len() == 0 {
            return Err(Fault::Invalid);
        }
        let significant = format!("{whole}{fraction}");
        let significant = significant.trim_start_matches('0');
        if significant.len() > usize::from(DIGITS_MAX) || exponent.abs() > 10_000 {
            return Err(Fault::OutOfRange);
        }
        let unscaled = if significant.is_empty() { Some(i256::ZERO) } else { i256::from_string(significant) };
        let unscaled = unscaled.ok_or(Fault::OutOfRange)?;
        let value = Decimal { unscaled, scale: fraction.len() as i32 - exponent };
        let value = value.rescale(value.scale.max(0)).ok_or(Fault::OutOfRange)?;
        if value.scale >= i32::from(DIGITS_MAX) || !fits(value.unscaled, i32::from(DIGITS_MAX)) {
            return Err(Fault::OutOfRange);
        }
        Ok(if negative { Decimal { unscaled: value.unscaled.wrapping_neg(), ..value } } else { value })
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        // Digits and power of ten that are exact doubles give the nearest one by a single division.
        if let Some(digits) = self.unscaled.to_i128()
            && digits.unsigned_abs() < 1 << 53
            && self.scale <= 22
        {
            return digits as f64 / 10f64.powi(self.scale);
        }
        self.text().parse().unwrap_or(f64::NAN)
    }

    /// Raised to a whole power, rounded where PostgreSQL rounds it; None if it is too wide or too deep.
    pub fn power(self, exponent: i64, scale: i32) -> Option<Decimal> {
        let base = self.trimmed();
        let magnitude = u32::try_from(exponent.unsigned_abs()).ok().filter(|n| *n <= 2_000)?;
        let raised = big(base.unscaled).pow(magnitude);
        let raised_scale = i64::from(base.scale) * i64::from(magnitude);
        // Decimal digits before the point, as PostgreSQL estimates them from a logarithm.
        let estimate = self.to_f64().abs().log10() * exponent as f64;
        if !estimate.is_finite() || estimate.abs() > 60.0 {
            return None;
        }
        let places = (SIGNIFICANT_DIGITS_MIN - estimate as i32).max(base.scale.max(0)).clamp(0, scale);
        let ten = BigInt::from(10);
        let (numerator, denominator) = match exponent >= 0 {
            true => (raised, ten.pow(u32::try_from(raised_scale).ok()?)),
            false => (ten.pow(u32::try_from(raised_scale).ok()?), raised),
        };
        let rounded = big_divide_rounded(numerator * ten.pow(places as u32), denominator);
        Decimal { unscaled: narrow(rounded)?, scale: places }.rescale(scale)
    }

    /// Those of the smallest type that holds it.
    pub fn digits(self) -> Digits {
        let whole = (digit_count(self.unscaled) - self.scale).max(1);
        Digits::new(whole, self.scale)
    }

    /// Its text, with all digits of its scale.
    pub fn text(self) -> String {
        let magnitude = self.unscaled.wrapping_abs().to_string();
        let scale = self.scale as usize;
        let padded = format!("{magnitude:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        let sign = if self.unscaled < i256::ZERO { "-" } else { "" };
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }

    /// Its text for display: in a quotient's type, trailing zeros after the sixteenth place are omitted.
    pub fn shown(self, precision: i32) -> String {
        let kept = match precision == i32::from(DIGITS_MAX) && self.scale > SIGNIFICANT_DIGITS_MIN {
            true => self.trimmed().scale.max(SIGNIFICANT_DIGITS_MIN),
            false => self.scale,
        };
        self.truncate(kept).unwrap_or(self).text()
    }

    /// The same value with this scale, rounded half away from zero; None if it has too many digits.
    pub fn rescale(self, scale: i32) -> Option<Decimal> {
        let unscaled = match scale - self.scale {
            0 => self.unscaled,
            more @ 1.. => match self.unscaled == i256::ZERO {
                true => i256::ZERO,
                false => self.unscaled.checked_mul(power_of_ten(more)?)?,
            },
            fewer => match power_of_ten(-fewer) {
                Some(unit) => divide_rounded(self.unscaled, unit),
                None => i256::ZERO,
            },
        };
        Some(Decimal { unscaled, scale })
    }

    /// The same value, truncated to this scale.
    pub fn truncate(self, scale: i32) -> Option<Decimal> {
        if scale >= self.scale {
            return self.rescale(scale);
        }
        let unscaled =
            power_of_ten(self.scale - scale).map_or(i256::ZERO, |unit| self.unscaled.wrapping_div(unit));
        Some(Decimal { unscaled, scale })
    }

    /// Without zeros at the end of its fraction.
    pub fn trimmed(self) -> Decimal {
        let Decimal { mut unscaled, mut scale } = self;
        while scale > 0 && unscaled.wrapping_rem(TEN) == i256::ZERO {
            unscaled = unscaled.wrapping_div(TEN);
            scale -= 1;
        }
        Decimal { unscaled, scale }
    }

    /// Position of its first group of four digits as PostgreSQL stores it (weight, base 10,000), and the group; (0, 0)
    /// for 0.
    fn first_group(self) -> (i32, i32) {
        let digits = digit_count(self.unscaled);
        if digits == 0 {
            return (0, 0);
        }
        // Decimal position of the first digit: 0 for units.
        let position = digits - 1 - self.scale;
        let weight = position.div_euclid(4);
        // The group holds the digits from position weight * 4 + 3 down to weight * 4.
        let below = weight * 4 + self.scale;
        let magnitude = self.unscaled.wrapping_abs();
        let group = match below {
            0.. => power_of_ten(below).map_or(i256::ZERO, |unit| magnitude.wrapping_div(unit)),
            _ => magnitude.wrapping_mul(TEN.wrapping_pow(below.unsigned_abs())),
        };
        (weight, group.to_i128().unwrap_or(0) as i32)
    }

    /// Digits after the point of a quotient in PostgreSQL (`select_div_scale` of its numeric.c): 16 significant ones,
    /// and no fewer than its operands have.
    fn quotient_scale(self, by: Decimal) -> i32 {
        let ((weight, group), (by_weight, by_group)) = (self.first_group(), by.first_group());
        let mut quotient_weight = weight - by_weight;
        if group <= by_group {
            quotient_weight -= 1;
        }
        max(SIGNIFICANT_DIGITS_MIN - quotient_weight * 4, 0)
    }

    /// Digits after the point to which PostgreSQL rounds a quotient of values that have so many.
    pub fn quotient_places(self, by: Decimal, scales: (i32, i32)) -> i32 {
        max(self.quotient_scale(by), max(scales.0, scales.1))
    }

    /// The quotient, rounded where PostgreSQL rounds it, with `scale` digits after the point. `by` is not zero. The scales are
    /// those that PostgreSQL's values would have.
    pub fn divide(self, by: Decimal, scales: (i32, i32), scale: i32) -> Result<Decimal> {
        assert!(by.unscaled != i256::ZERO, "division by zero is refused before");
        let wanted = self.quotient_places(by, scales);
        let rounded = wanted.min(scale);
        // (a / 10^sa) / (b / 10^sb) = a * 10^(rounded + sb - sa) / b / 10^rounded
        let shift = rounded + by.scale - self.scale;
        let (numerator, denominator) = match shift {
            0.. => (shifted(self.unscaled, shift), big(by.unscaled)),
            _ => (big(self.unscaled), shifted(by.unscaled, -shift)),
        };
        let quotient = narrow(big_divide_rounded(numerator, denominator)).ok_or_else(too_wide)?;
        let result = Decimal { unscaled: quotient, scale: rounded };
        if wanted > scale
            && digit_count(quotient) < SIGNIFICANT_DIGITS_MIN
            && !self.is_multiple_of(by, result)
        {
            return Err(SqlError::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!("quotient of numerics is too small: it would keep fewer than {SIGNIFICANT_DIGITS_MIN} digits"),
            )
            .with_hint("Divide as double precision."));
        }
        result.rescale(scale).ok_or_else(too_wide)
    }

    /// True if `quotient * by` is this value exactly.
    fn is_multiple_of(self, by: Decimal, quotient: Decimal) -> bool {
        let product = big(by.unscaled) * big(quotient.unscaled);
        let scale = by.scale + quotient.scale;
        match scale - self.scale {
            more @ 0.. => product == shifted(self.unscaled, more),
            fewer => product * BigInt::from(10).pow(fewer.unsigned_abs()) == big(self.unscaled),
        }
    }

    /// The product with `scale` digits after the point; an error if digits other than zero would be lost.
    pub fn multiply(self, by: Decimal, scale: i32) -> Result<Decimal> {
        let exact = self.scale + by.scale;
        if let Some(product) = self.unscaled.checked_mul(by.unscaled) {
            let product = Decimal { unscaled: product, scale: exact };
            if exact == scale {
                return Ok(product);
            }
            let cut = product.truncate(scale).ok_or_else(too_wide)?;
            return if cut.rescale(exact) == Some(product) { Ok(cut) } else { Err(too_wide()) };
        }
        let product = big(self.unscaled) * big(by.unscaled);
        let unit = BigInt::from(10).pow((exact - scale).max(0) as u32);
        let (quotient, rest) = (&product / &unit, &product % &unit);
        if rest != BigInt::from(0) {
            return Err(too_wide());
        }
        Ok(Decimal { unscaled: narrow(quotient).ok_or_else(too_wide)?, scale })
    }

    /// The square root, rounded where PostgreSQL rounds it, with `scale` digits after the point.
    pub fn square_root(self, scale: i32) -> Result<Decimal> {
        if self.unscaled < i256::ZERO {
            return Err(SqlError::new(
                SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
                "cannot take square root of a negative number",
            ));
        }
        if self.unscaled == i256::ZERO {
            return Ok(Decimal { unscaled: i256::ZERO, scale });
        }
        // Digits of the root before the point as PostgreSQL's sqrt_var estimates them, and from them the places of the result.
        let (weight, _) = self.first_group();
        let root_digits = match weight {
            0.. => weight * 4 / 2 + 1,
            _ => 1 - (1 - weight * 4) / 2,
        };
        let shown = if scale_is_open(self.scale) { self.digits_behind_point() } else { self.scale };
        let places = max(SIGNIFICANT_DIGITS_MIN - root_digits, max(shown, 0)).min(scale);
        self.root_to(places).and_then(|root| root.rescale(scale).ok_or_else(too_wide))
    }

    /// The square root of a positive value, rounded to so many places.
    pub fn root_to(self, places: i32) -> Result<Decimal> {
        // One more place, then rounded: the root of a whole number is exact to its last digit.
        let shift = 2 * (places + 1) - self.scale;
        let radicand = match shift {
            0.. => shifted(self.unscaled, shift),
            _ => big(self.unscaled) / BigInt::from(10).pow(shift.unsigned_abs()),
        };
        let root = Decimal { unscaled: narrow(radicand.sqrt()).ok_or_else(too_wide)?, scale: places + 1 };
        root.rescale(places).ok_or_else(too_wide)
    }

    /// Digits after the point without trailing zeros.
    pub fn digits_behind_point(self) -> i32 {
        self.trimmed().scale
    }
}

/// True for scales that only a quotient's type has.
fn scale_is_open(scale: i32) -> bool {
    scale >= QUOTIENT_SCALE_MAX
}

/// Divides, rounding half away from zero.
fn divide_rounded(value: i256, unit: i256) -> i256 {
    let (quotient, rest) = (value.wrapping_div(unit), value.wrapping_rem(unit));
    let twice = rest.wrapping_abs().wrapping_sub(unit.wrapping_sub(rest.wrapping_abs()));
    match (twice >= i256::ZERO, value >= i256::ZERO) {
        (false, _) => quotient,
        (true, true) => quotient.wrapping_add(i256::ONE),
        (true, false) => quotient.wrapping_sub(i256::ONE),
    }
}

/// Divides, rounding half away from zero.
pub fn big_divide_rounded(value: BigInt, unit: BigInt) -> BigInt {
    let zero = BigInt::from(0);
    let negative = (value < zero) != (unit < zero);
    let abs = |v: BigInt| if v < BigInt::from(0) { -v } else { v };
    let (value, unit) = (abs(value), abs(unit));
    let (quotient, rest) = (&value / &unit, &value % &unit);
    let rounded = if rest * 2 >= unit { quotient + 1 } else { quotient };
    if negative { -rounded } else { rounded }
}

/// How many digits a whole number has; none for 0.
pub fn digit_count(value: i256) -> i32 {
    let magnitude = value.wrapping_abs();
    if magnitude == i256::ZERO {
        return 0;
    }
    // The logarithm of its highest bit: the value has one digit more, or two.
    let bits = 256 - magnitude.leading_zeros() as i32;
    let digits = (((bits - 1) * 1233) >> 12) + 1;
    digits + i32::from(power_of_ten(digits).is_some_and(|power| magnitude >= power))
}

/// True if a value fits into a type of so many digits.
pub fn fits(value: i256, precision: i32) -> bool {
    power_of_ten(precision).is_none_or(|limit| value.wrapping_abs() < limit)
}

fn big(value: i256) -> BigInt {
    BigInt::from_signed_bytes_le(&value.to_le_bytes())
}

fn shifted(value: i256, places: i32) -> BigInt {
    big(value) * BigInt::from(10).pow(places as u32)
}

/// A value as 256 bits, if it has no more digits than a numeric may have.
pub fn narrow(value: BigInt) -> Option<i256> {
    let bytes = value.to_signed_bytes_le();
    if bytes.len() > 32 {
        return None;
    }
    let filler = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let mut all = [filler; 32];
    all[..bytes.len()].copy_from_slice(&bytes);
    let value = i256::from_le_bytes(all);
    fits(value, i32::from(DIGITS_MAX)).then_some(value)
}
