//! PostgreSQL's quotients of decimals, computed digit by digit.

use kernel::expr::Quotient;
use kernel::schema::ColumnType;

use super::value::Value;

const OUT_OF_RANGE: &str = "22003";
const DIVISION_BY_ZERO: &str = "22012";

/// A decimal: unscaled, and its scale.
type Decimal = (i128, i8);

/// The quotient as a value of its type.
pub fn quotient(how: &Quotient, a: Decimal, b: Decimal) -> Result<Value, &'static str> {
    let ColumnType::Decimal { precision, scale } = how.to else { unreachable!("{:?} is no decimal", how.to) };
    if b.0 == 0 {
        return Err(DIVISION_BY_ZERO);
    }
    if a.0 == 0 {
        return Ok(Value::decimal(0));
    }
    let ((a_place, a_group), (b_place, b_group)) = (first_group(a), first_group(b));
    let place = if a_group > b_group { a_place - b_place } else { a_place - b_place - 1 };
    let of_values = 16 - 4 * place;
    let of_types = i32::from(a.1.max(b.1));
    let mut digits = Digits::divided(a, b);
    if !how.places_known && of_types > of_values && !digits.ends_by(of_values.max(0)) {
        return Err(OUT_OF_RANGE);
    }
    digits.round(of_values.max(of_types).max(0));
    if !how.rounded && !digits.ends_by(scale.into()) {
        return Err(OUT_OF_RANGE);
    }
    digits.round(scale.into());
    let unscaled = digits.unscaled(scale.into()).filter(|unscaled| unscaled.len() <= usize::from(precision));
    let unscaled: i128 = unscaled.ok_or(OUT_OF_RANGE)?.parse().unwrap_or(0);
    Ok(Value::decimal(if (a.0 < 0) == (b.0 < 0) { unscaled } else { -unscaled }))
}

/// A decimal as its digits, and the number of digits before the point.
fn written((unscaled, scale): Decimal) -> (String, i32) {
    let digits = unscaled.unsigned_abs().to_string();
    let before = digits.len() as i32 - i32::from(scale);
    (digits, before)
}

/// The first group of four digits that are not all zeros, counted from the point; and its position.
fn first_group(decimal: Decimal) -> (i32, u32) {
    let (digits, before) = written(decimal);
    let mut place = 0;
    while before > 4 * (place + 1) {
        place += 1;
    }
    while before <= 4 * place {
        place -= 1;
    }
    let wanted = (before - 4 * place) as usize;
    let group: String = digits.chars().chain("0000".chars()).take(wanted).collect();
    (place, group.parse().expect("digits"))
}

/// Digits of a non-negative number, more than needed, and whether further non-zero digits follow.
struct Digits {
    digits: Vec<u8>,
    /// Number of digits before the point; may be negative.
    before: i32,
    more: bool,
}

impl Digits {
    const MANY: usize = 260;

    fn divided(a: Decimal, b: Decimal) -> Digits {
        let divisor = b.0.unsigned_abs();
        let dividend = a.0.unsigned_abs();
        let mut digits: Vec<u8> =
            (dividend / divisor).to_string().bytes().map(|digit| digit - b'0').collect();
        let before = digits.len() as i32 + i32::from(b.1) - i32::from(a.1);
        let mut rest = dividend % divisor;
        while digits.len() < Digits::MANY {
            // Ten times the remainder, without overflow.
            let (mut digit, mut next) = (0, 0u128);
            for _ in 0..10 {
                let room = divisor - rest;
                let over = next >= room;
                next = if over { next - room } else { next + rest };
                digit += u8::from(over);
            }
            digits.push(digit);
            rest = next;
        }
        Digits { digits, before, more: rest > 0 }
    }

    /// Index of the digits after this many places.
    fn end(&self, places: i32) -> usize {
        (self.before + places).clamp(0, self.digits.len() as i32) as usize
    }

    fn ends_by(&self, places: i32) -> bool {
        !self.more && self.digits[self.end(places)..].iter().all(|digit| *digit == 0)
    }

    /// Half away from zero.
    fn round(&mut self, places: i32) {
        let kept = self.before + places;
        if kept < 0 {
            self.digits.fill(0);
            self.more = false;
            return;
        }
        let end = self.end(places);
        let up = self.digits.get(end).is_some_and(|digit| *digit >= 5);
        self.digits[end..].fill(0);
        self.more = false;
        let mut at = end;
        let mut carry = up;
        while carry && at > 0 {
            at -= 1;
            carry = self.digits[at] == 9;
            self.digits[at] = if carry { 0 } else { self.digits[at] + 1 };
        }
        if carry {
            self.digits.insert(0, 1);
            self.before += 1;
        }
    }

    /// As a whole number with this many places, without leading zeros.
    fn unscaled(&self, places: i32) -> Option<String> {
        let wanted = self.before + places;
        let digits = self.digits.iter().chain(std::iter::repeat(&0)).take(wanted.max(0) as usize);
        let text: String = digits.map(|digit| char::from(b'0' + digit)).collect();
        Some(text.trim_start_matches('0').to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(a: Decimal, b: Decimal, scale: i8) -> Result<Value, &'static str> {
        let to = ColumnType::Decimal { precision: 38, scale };
        quotient(&Quotient { to, rounded: false, places_known: true }, a, b)
    }

    #[test]
    fn quotients_are_postgresqls() {
        assert_eq!(divided((1060, 2), (3, 0), 20), Ok(Value::decimal(353_333_333_333_333_330_000)));
        assert_eq!(divided((-1, 0), (3, 0), 20), Ok(Value::decimal(-33_333_333_333_333_333_333)));
        assert_eq!(divided((5, 2), (3, 0), 20), Ok(Value::decimal(1_666_666_666_666_666_667)));
        assert_eq!(divided((123_456_789_012_345, 0), (7, 0), 4), Ok(Value::decimal(176_366_841_446_207_143)));
        assert_eq!(divided((1, 0), (3, 0), 2), Err(OUT_OF_RANGE));
        assert_eq!(divided((1, 0), (0, 0), 2), Err(DIVISION_BY_ZERO));
    }
}
