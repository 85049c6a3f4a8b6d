//! Quotients of exact numbers. PostgreSQL gives a quotient about sixteen digits; the digits after the point depend on
//! both values, and the quotient is rounded there. An assignment or `round` then rounds again. A decimal column has its
//! places in its type, so the expression contains the type of the quotient.

use arrow_buffer::i256;
use minicbor::{Decode, Encode};

use crate::error::SqlState;
use crate::schema::ColumnType;

/// Least digits of a quotient in PostgreSQL (NUMERIC_MIN_SIG_DIGITS), and digits of a group of its numerics.
const SIGNIFICANT_DIGITS: i32 = 16;
const GROUP_DIGITS: i32 = 4;

/// The conversion of a quotient to a decimal.
#[derive(Clone, Copy, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Quotient {
    /// A numeric type.
    #[n(0)]
    pub to: ColumnType,
    /// True: digits beyond the places of the type are rounded; false: they reject the row.
    #[n(1)]
    pub rounded: bool,
    /// True if the operands' types have as many places as PostgreSQL's values. If not, a quotient that depends on them
    /// rejects the row.
    #[n(2)]
    pub places_known: bool,
}

/// A decimal: its unscaled value, and its places.
pub(crate) type Scaled = (i128, i8);

impl Quotient {
    /// The unscaled quotient, rounded half away from zero at PostgreSQL's place, and again at the last place of the
    /// type.
    pub(crate) fn of(&self, a: Scaled, b: Scaled) -> Result<i128, SqlState> {
        let ColumnType::Decimal { precision, scale } = self.to else { return Err(SqlState::INTERNAL_ERROR) };
        if b.0 == 0 {
            return Err(SqlState::DIVISION_BY_ZERO);
        }
        if a.0 == 0 {
            return Ok(0);
        }
        let out_of_range = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
        let magnitude = self.magnitude(a, b, i32::from(scale)).ok_or(out_of_range)?;
        let magnitude = magnitude.to_i128().ok_or(out_of_range)?;
        super::eval::in_precision(if (a.0 < 0) == (b.0 < 0) { magnitude } else { -magnitude }, precision)
    }

    /// The quotient without its sign. None: too wide, or not exact.
    fn magnitude(&self, a: Scaled, b: Scaled, scale: i32) -> Option<i256> {
        let of_values = SIGNIFICANT_DIGITS - GROUP_DIGITS * quotient_weight(a, b);
        let of_types = i32::from(a.1.max(b.1));
        let places = of_values.max(of_types).max(0);
        let wide = |value: i128| i256::from_i128(value).wrapping_abs();
        let (numerator, denominator) = match places + i32::from(b.1) - i32::from(a.1) {
            shift @ 0.. => (shifted(wide(a.0), shift)?, wide(b.0)),
            shift => (wide(a.0), shifted(wide(b.0), -shift)?),
        };
        let (quotient, exact) = half_away(numerator, denominator)?;
        let uncertain = !self.places_known && of_types > of_values;
        if uncertain && !(exact && is_whole(quotient, places - of_values.max(0))) {
            return None;
        }
        match scale - places {
            more @ 0.. => shifted(quotient, more),
            fewer => match power_of_ten(-fewer) {
                Some(unit) => {
                    let (rounded, exact) = half_away(quotient, unit)?;
                    (exact || self.rounded).then_some(rounded)
                }
                None => self.rounded.then_some(i256::ZERO),
            },
        }
    }
}

/// The position of the quotient's first group of digits, as PostgreSQL estimates it (`select_div_scale`).
fn quotient_weight(a: Scaled, b: Scaled) -> i32 {
    let ((weight, group), (by_weight, by_group)) = (first_group(a), first_group(b));
    weight - by_weight - i32::from(group <= by_group)
}

/// The first group of four digits of a number that is not zero, and its position: 0 for the one before the point.
fn first_group((unscaled, scale): Scaled) -> (i32, u128) {
    let digits = unscaled.unsigned_abs();
    let first = digits.ilog10() as i32 - i32::from(scale);
    let weight = first.div_euclid(GROUP_DIGITS);
    // Digits after the group; negative if the number ends within it.
    let behind = weight * GROUP_DIGITS + i32::from(scale);
    let unit = 10u128.pow(behind.unsigned_abs());
    (weight, if behind >= 0 { digits / unit } else { digits * unit })
}

fn power_of_ten(exponent: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(exponent).ok()?)
}

fn shifted(value: i256, places: i32) -> Option<i256> {
    value.checked_mul(power_of_ten(places)?)
}

fn is_whole(value: i256, places: i32) -> bool {
    power_of_ten(places).and_then(|unit| value.checked_rem(unit)) == Some(i256::ZERO)
}

/// The quotient of two unsigned numbers, rounded half up, and whether it is exact.
fn half_away(numerator: i256, denominator: i256) -> Option<(i256, bool)> {
    let (quotient, rest) = (numerator.checked_div(denominator)?, numerator.checked_rem(denominator)?);
    let up = rest >= denominator.wrapping_sub(rest);
    let rounded = if up { quotient.checked_add(i256::ONE)? } else { quotient };
    Some((rounded, rest == i256::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotient(a: Scaled, b: Scaled, scale: i8, rounded: bool) -> Result<i128, SqlState> {
        let to = ColumnType::Decimal { precision: 38, scale };
        Quotient { to, rounded, places_known: true }.of(a, b)
    }

    /// PostgreSQL 15's results.
    #[test]
    fn quotients_have_the_digits_of_postgresql() {
        // 10.60 / 3 = 3.5333333333333333; 1 / 3 = 0.33333333333333333333; 0.05 / 3 = 0.01666666666666666667
        assert_eq!(quotient((1060, 2), (3, 0), 20, false), Ok(353_333_333_333_333_330_000));
        assert_eq!(quotient((1, 0), (3, 0), 20, false), Ok(33_333_333_333_333_333_333));
        assert_eq!(quotient((5, 2), (3, 0), 20, false), Ok(1_666_666_666_666_666_667));
        // -123456789012345 / 7 = -17636684144620.7143: the same as in PostgreSQL, with four digits only.
        assert_eq!(quotient((-123_456_789_012_345, 0), (7, 0), 4, false), Ok(-176_366_841_446_207_143));
        assert_eq!(quotient((1060, 2), (3, 0), 2, true), Ok(353));
        assert_eq!(quotient((1060, 2), (3, 0), 2, false), Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
        assert_eq!(quotient((1050, 2), (3, 0), 2, false), Ok(350));
        assert_eq!(quotient((1, 0), (0, 0), 2, true), Err(SqlState::DIVISION_BY_ZERO));
        assert_eq!(quotient((0, 0), (7, 3), 2, false), Ok(0));
        assert_eq!(
            quotient((9 * 10i128.pow(37), 0), (1, 38), 0, true),
            Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE)
        );
    }

    /// 0.0049999…9 of more than sixteen digits is 0.0050000000000000000000 in PostgreSQL, and so 0.01 after the second
    /// rounding.
    #[test]
    fn a_quotient_is_rounded_twice() {
        let almost = 49_999_999_999_999_999_999_999_999i128;
        assert_eq!(quotient((almost, 28), (1, 0), 2, true), Ok(0));
        assert_eq!(quotient((3 * almost, 28), (30_000, 4), 2, true), Ok(0));
        assert_eq!(quotient((almost, 1), (10i128.pow(27), 0), 2, true), Ok(1));
    }

    #[test]
    fn places_that_are_not_known_count_only_where_they_matter() {
        let to = ColumnType::Decimal { precision: 38, scale: 10 };
        let of = |a: i128, b: i128| Quotient { to, rounded: true, places_known: false }.of((a, 10), (b, 0));
        let unit = 10i128.pow(10);
        assert_eq!(of(unit, 3), Ok(3_333_333_333));
        assert_eq!(of(10i128.pow(12) * unit, 4), Ok(25 * 10i128.pow(20)));
        assert_eq!(of(10i128.pow(12) * unit, 3), Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
    }
}
