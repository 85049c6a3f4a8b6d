//! Logarithms, exponentials and fractional powers of numerics, to as many places as in PostgreSQL (its numeric.c). They
//! are calculated with additional places and rounded once.

use bigdecimal::num_bigint::BigInt;

use crate::decimal::{self, Decimal};
use crate::error::{Result, SqlError, SqlState};

/// Digits that a result has at least (PostgreSQL's NUMERIC_MIN_SIG_DIGITS).
const SIGNIFICANT_DIGITS_MIN: i32 = 16;
/// Additional places in intermediate values, against rounding and truncation errors.
const GUARD: i32 = 24;
/// The common logarithm of e, as PostgreSQL estimates with it.
const LOG_E: f64 = std::f64::consts::LOG10_E;
/// Powers beyond this are out of range of numeric.
const POWER_MAX: f64 = 200.0;

/// A value, and the digits after the point of PostgreSQL's value.
#[derive(Clone, Copy)]
pub struct Shown {
    /// The value.
    pub value: Decimal,
    /// Digits after its point.
    pub scale: i32,
}

/// The natural logarithm, with at most `scale` places.
pub fn ln(x: Shown, scale: i32) -> Result<Decimal> {
    let x = x.checked()?;
    let places = (SIGNIFICANT_DIGITS_MIN - ln_weight(x.value)).max(x.scale).max(0);
    rounded(&ln_to(x.value, places + GUARD), places + GUARD, places, scale)
}

/// The logarithm to a base, with at most `scale` places.
pub fn log(base: Shown, x: Shown, scale: i32) -> Result<Decimal> {
    let (base, x) = (base.checked()?, x.checked()?);
    let (base_weight, weight) = (ln_weight(base.value), ln_weight(x.value));
    let places = SIGNIFICANT_DIGITS_MIN - (weight - base_weight);
    let places = places.max(base.scale).max(x.scale).max(0);
    let working = places + GUARD + base_weight.abs() + weight.abs();
    let divisor = ln_to(base.value, working);
    if divisor == BigInt::from(0) {
        return Err(SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
    }
    let quotient = ln_to(x.value, working) * ten(working) / divisor;
    rounded(&quotient, working, places, scale)
}

/// e raised to a power, with at most `scale` places.
pub fn exp(x: Shown, scale: i32) -> Result<Decimal> {
    let weight = x.value.to_f64() * LOG_E;
    if weight.abs() > POWER_MAX {
        return Err(too_deep(weight));
    }
    let places = (SIGNIFICANT_DIGITS_MIN - weight as i32).max(x.scale).max(0);
    let working = places + GUARD + weight.abs() as i32;
    let power = fixed(x.value, working);
    rounded(&exp_to(&power, working), working, places, scale)
}

/// A positive value raised to a fractional power, with at most `scale` places.
pub fn power(base: Shown, exponent: Shown, scale: i32) -> Result<Decimal> {
    let weight = base.value.to_f64().ln() * exponent.value.to_f64() * LOG_E;
    if !weight.is_finite() || weight.abs() > POWER_MAX {
        return Err(too_deep(weight));
    }
    let places = (SIGNIFICANT_DIGITS_MIN - weight as i32).max(base.scale).max(exponent.scale).max(0);
    let working =
        places + GUARD + weight.abs() as i32 + exponent.value.to_f64().abs().log10().max(0.0) as i32;
    let power = ln_to(base.value, working) * fixed(exponent.value, working) / ten(working);
    rounded(&exp_to(&power, working), working, places, scale)
}

impl Shown {
    /// The value, if it has a logarithm.
    fn checked(self) -> Result<Shown> {
        use datafusion::arrow::datatypes::i256;
        match self.value.unscaled.cmp(&i256::ZERO) {
            std::cmp::Ordering::Greater => Ok(self),
            std::cmp::Ordering::Equal => {
                Err(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, "cannot take logarithm of zero"))
            }
            std::cmp::Ordering::Less => Err(SqlError::new(
                SqlState::INVALID_ARGUMENT_FOR_LOGARITHM,
                "cannot take logarithm of a negative number",
            )),
        }
    }
}

/// The error for a result too large for numeric, or too small to keep its digits.
fn too_deep(weight: f64) -> SqlError {
    if weight > 0.0 {
        return decimal::too_wide();
    }
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "a numeric is too small to keep 16 of its digits")
        .with_hint("Calculate in double precision.")
}

/// A value of `working` places rounded to `places`, if a type of `scale` places can hold it.
fn rounded(value: &BigInt, working: i32, places: i32, scale: i32) -> Result<Decimal> {
    if places > scale {
        return Err(too_deep(-1.0));
    }
    let rounded = decimal::big_divide_rounded(value.clone(), ten(working - places));
    let unscaled = decimal::narrow(rounded).ok_or_else(decimal::too_wide)?;
    Ok(Decimal { unscaled, scale: places })
}

/// Decimal position of the first digit of a value's logarithm, as PostgreSQL estimates it.
fn ln_weight(x: Decimal) -> i32 {
    let double = x.to_f64();
    if !(0.9..=1.1).contains(&double) {
        return double.ln().abs().log10() as i32;
    }
    let one = Decimal { unscaled: decimal::power_of_ten(x.scale).unwrap_or_default(), scale: x.scale };
    let distance = x.unscaled.wrapping_sub(one.unscaled);
    match decimal::digit_count(distance) {
        0 => 0,
        digits => digits - 1 - x.scale,
    }
}

fn ten(places: i32) -> BigInt {
    BigInt::from(10).pow(places.max(0) as u32)
}

/// A value times ten to the power of `places`.
fn fixed(x: Decimal, places: i32) -> BigInt {
    let unscaled = BigInt::from_signed_bytes_le(&x.unscaled.to_le_bytes());
    match places - x.scale {
        more @ 0.. => unscaled * ten(more),
        fewer => unscaled / ten(-fewer),
    }
}

/// The natural logarithm of a positive value.
fn ln_to(x: Decimal, places: i32) -> BigInt {
    // x = m * 10^k, with m near 1.
    let k = x.to_f64().log10().round() as i32;
    let m = fixed(Decimal { scale: x.scale + k, ..x }, places);
    let one = ten(places);
    let z = (&m - &one) * &one / (&m + &one);
    twice_artanh(&z, &one) + BigInt::from(k) * ln_ten(places)
}

/// ln 10 = 3 ln 2 + ln 1.25
fn ln_ten(places: i32) -> BigInt {
    let one = ten(places);
    let ln_two = twice_artanh(&(&one / 3), &one);
    ln_two * 3 + twice_artanh(&(&one / 9), &one)
}

/// 2 (z + z³/3 + z⁵/5 + …)
fn twice_artanh(z: &BigInt, one: &BigInt) -> BigInt {
    let square = z * z / one;
    let (mut power, mut sum, mut n) = (z.clone(), z.clone(), 1u32);
    while power != BigInt::from(0) {
        power = power * &square / one;
        n += 2;
        sum += &power / n;
    }
    sum * 2
}

/// e raised to a value of `places` places.
fn exp_to(x: &BigInt, places: i32) -> BigInt {
    // x = k ln 10 + r; e^r by its series, of r / 2^HALVINGS.
    const HALVINGS: u32 = 8;
    let one = ten(places);
    let ln_ten = ln_ten(places);
    let k = x / &ln_ten;
    let r: BigInt = (x - &k * &ln_ten) / (1u32 << HALVINGS);
    let (mut term, mut sum, mut n) = (one.clone(), one.clone(), 0u32);
    while term != BigInt::from(0) {
        n += 1;
        term = term * &r / &one / n;
        sum += &term;
    }
    for _ in 0..HALVINGS {
        sum = &sum * &sum / &one;
    }
    let k: i32 = k.to_string().parse().unwrap_or(0);
    match k {
        0.. => sum * ten(k),
        _ => sum / ten(-k),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Shown {
        let value = Decimal::parse(text).expect("a number");
        Shown { value, scale: value.scale }
    }

    /// Answers of a PostgreSQL 15.
    #[test]
    fn places_are_those_of_postgres() {
        let text = |value: Result<Decimal>| value.expect("a value").text();
        assert_eq!(text(ln(shown("2"), 40)), "0.6931471805599453");
        assert_eq!(text(ln(shown("11"), 40)), "2.3978952727983705");
        assert_eq!(text(exp(shown("1"), 40)), "2.7182818284590452");
        assert_eq!(text(exp(shown("0.00"), 40)), "1.0000000000000000");
        assert_eq!(text(log(shown("2.0"), shown("8.0"), 40)), "3.0000000000000000");
        assert_eq!(text(power(shown("2"), shown("0.5"), 40)), "1.4142135623730950");
    }

    #[test]
    fn what_has_no_logarithm_is_refused() {
        assert!(ln(shown("0"), 40).is_err());
        assert!(ln(shown("-1"), 40).is_err());
        assert!(exp(shown("1000"), 40).is_err());
        assert!(exp(shown("-100"), 40).is_err());
    }
}
