//! The meaning of the bytes of a cell, as far as comparison needs it: PostgreSQL's types by number, numerics as decimal
//! digits, and when two cells are the same. Every type but those below has one form for a value, and its bytes are
//! compared.

use crate::wire::{Cell, Mode};

/// Numbers of types in `pg_type`, of which each gets a letter in a file of statements.
const LETTERS: [(u32, char, &str); 30] = [
    (16, 'B', "boolean"),
    (17, 'Y', "bytea"),
    (18, 'c', "\"char\""),
    (19, 'n', "name"),
    (20, 'L', "bigint"),
    (21, 'S', "smallint"),
    (23, 'I', "integer"),
    (25, 'T', "text"),
    (26, 'o', "oid"),
    (114, 'j', "json"),
    (700, 'F', "real"),
    (701, 'R', "double precision"),
    (1042, 'C', "character"),
    (1043, 'X', "character varying"),
    (1082, 'D', "date"),
    (1083, 'M', "time"),
    (1114, 'P', "timestamp"),
    (1184, 'Z', "timestamptz"),
    (1186, 'V', "interval"),
    (1266, 'm', "timetz"),
    (1700, 'N', "numeric"),
    (2249, 'r', "record"),
    (2278, 'v', "void"),
    (2950, 'U', "uuid"),
    (3802, 'J', "jsonb"),
    (1007, 'i', "integer[]"),
    (1009, 't', "text[]"),
    (1016, 'l', "bigint[]"),
    (1231, 'd', "numeric[]"),
    (1022, 'f', "double precision[]"),
];

/// Other types: their number does not matter to the files, and the generator compares it anyway.
const OTHER: char = '?';

const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const NUMERIC: u32 = 1700;

/// With at least this many digits after the point, a numeric is a quotient or an average, whose number of digits
/// PostgreSQL chooses.
const QUOTIENT_SCALE: usize = 16;

/// To so many significant digits quotients must agree.
const QUOTIENT_DIGITS: usize = 16;

/// How exactly floats must agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Floats {
    /// Bit by bit; each NaN is the same.
    Exact,
    /// Sums and averages depend on the order of rows: their difference relative to the larger of both.
    Within(f64),
}

/// The letter of a type in a file of statements.
pub fn letter(type_oid: u32) -> char {
    LETTERS.iter().find(|(oid, ..)| *oid == type_oid).map_or(OTHER, |(_, letter, _)| *letter)
}

/// A letter that a file may use.
pub fn is_letter(letter: char) -> bool {
    letter == OTHER || LETTERS.iter().any(|(_, known, _)| *known == letter)
}

/// A type whose cells are the text itself, in both formats.
pub fn is_text(type_oid: u32) -> bool {
    matches!(type_oid, 19 | 25 | 1042 | 1043)
}

/// The name of a type.
pub fn type_name(type_oid: u32) -> String {
    let known = LETTERS.iter().find(|(oid, ..)| *oid == type_oid);
    known.map_or_else(|| format!("type {type_oid}"), |(.., name)| name.to_string())
}

/// A readable cell: text unchanged, binary of other types in hexadecimal.
pub fn shown(type_oid: u32, mode: Mode, cell: &Cell) -> String {
    let Some(bytes) = cell else { return "NULL".to_string() };
    if mode != Mode::ExtendedBinary {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    match (type_oid, number(type_oid, mode, bytes)) {
        (NUMERIC, _) => numeric_text(bytes).unwrap_or_else(|| hex(bytes)),
        (_, Some(float)) => float.to_string(),
        (25 | 1043, None) => String::from_utf8_lossy(bytes).into_owned(),
        _ => hex(bytes),
    }
}

/// Whether two cells of one type, fetched in one mode, are the same value.
pub fn same(type_oid: u32, mode: Mode, left: &Cell, right: &Cell, floats: Floats) -> bool {
    let (Some(left), Some(right)) = (left, right) else { return left.is_none() && right.is_none() };
    if left == right {
        return true;
    }
    match type_oid {
        NUMERIC if mode == Mode::ExtendedBinary => match (numeric_text(left), numeric_text(right)) {
            (Some(left), Some(right)) => same_numeric(&left, &right),
            _ => false,
        },
        NUMERIC => same_numeric(&String::from_utf8_lossy(left), &String::from_utf8_lossy(right)),
        FLOAT4 | FLOAT8 => match (number(type_oid, mode, left), number(type_oid, mode, right)) {
            (Some(left), Some(right)) => same_float(left, right, floats),
            _ => false,
        },
        _ => false,
    }
}

/// Whether two numerics are the same number. Quotients have the length that PostgreSQL chooses; of them, 16 digits must agree.
pub fn same_numeric(left: &str, right: &str) -> bool {
    let (Some(left), Some(right)) = (Decimal::parse(left), Decimal::parse(right)) else {
        return left == right;
    };
    if left.value() == right.value() {
        return true;
    }
    let quotient = left.scale >= QUOTIENT_SCALE || right.scale >= QUOTIENT_SCALE;
    quotient && left.agrees(&right, QUOTIENT_DIGITS)
}

fn same_float(left: f64, right: f64, floats: Floats) -> bool {
    if left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan()) {
        return true;
    }
    match floats {
        Floats::Exact => false,
        Floats::Within(bound) => {
            (left - right).abs() <= bound * left.abs().max(right.abs()).max(f64::MIN_POSITIVE)
        }
    }
}

/// A float as a number, in either mode.
fn number(type_oid: u32, mode: Mode, bytes: &[u8]) -> Option<f64> {
    match (type_oid, mode) {
        (FLOAT4, Mode::ExtendedBinary) => Some(f64::from(f32::from_be_bytes(bytes.try_into().ok()?))),
        (FLOAT8, Mode::ExtendedBinary) => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        (FLOAT4 | FLOAT8, _) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

/// The text of a binary numeric: groups of four digits, the place of the first, a sign and how many digits are shown.
fn numeric_text(bytes: &[u8]) -> Option<String> {
    let field =
        |index: usize| Some(u16::from_be_bytes(bytes.get(index * 2..index * 2 + 2)?.try_into().ok()?));
    let (count, sign, scale) = (usize::from(field(0)?), field(2)?, usize::from(field(3)?));
    let weight = i32::from(field(1)? as i16);
    match sign {
        0xC000 => return Some("NaN".to_string()),
        0xD000 => return Some("Infinity".to_string()),
        0xF000 => return Some("-Infinity".to_string()),
        _ => {}
    }
    let group = |place: i32| {
        let index = weight - place;
        let inside = (0..count as i32).contains(&index);
        if inside { field(4 + index as usize).map(usize::from) } else { Some(0) }
    };
    let mut whole = String::new();
    for place in (0..=weight.max(0)).rev() {
        whole.push_str(&format!("{:04}", group(place)?));
    }
    let significant = whole.trim_start_matches('0');
    let mut text = if sign == 0x4000 { "-".to_string() } else { String::new() };
    text.push_str(if significant.is_empty() { "0" } else { significant });
    if scale > 0 {
        let mut fraction = String::new();
        for place in 1..=scale.div_ceil(4) as i32 {
            fraction.push_str(&format!("{:04}", group(-place)?));
        }
        text.push('.');
        text.push_str(&fraction[..scale]);
    }
    Some(text)
}

/// A decimal number as its digits.
#[derive(Debug)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    scale: usize,
}

impl Decimal {
    fn parse(text: &str) -> Option<Decimal> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        valid.then_some(Decimal { negative, digits, scale: fraction.len() })
    }

    /// Sign, significant digits and the place of the last: the same for the same number.
    fn value(&self) -> (bool, &[u8], usize) {
        let first = self.digits.iter().position(|digit| *digit != b'0').unwrap_or(self.digits.len());
        let trailing =
            self.digits[first..].iter().rev().take(self.scale).take_while(|digit| **digit == b'0').count();
        let kept = &self.digits[first..self.digits.len() - trailing];
        if kept.is_empty() { (false, kept, 0) } else { (self.negative, kept, self.scale - trailing) }
    }

    /// Whether both are the same rounded to so many significant digits, give or take one in the last.
    fn agrees(&self, other: &Decimal, digits: usize) -> bool {
        // Beyond 17 digits a float cannot tell, and up to there its error is less than one in the sixteenth.
        let number = |decimal: &Decimal| {
            let text = String::from_utf8_lossy(&decimal.digits).into_owned();
            format!("{}{text}e-{}", if decimal.negative { "-" } else { "" }, decimal.scale)
                .parse::<f64>()
                .ok()
        };
        match (number(self), number(other)) {
            (Some(left), Some(right)) => {
                (left - right).abs() <= 10_f64.powi(1 - digits as i32) * left.abs().max(right.abs())
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{numeric_text, same_numeric};

    #[test]
    fn numerics_compare_by_value_and_quotients_by_sixteen_digits() {
        assert!(same_numeric("1.50", "1.5"));
        assert!(same_numeric("0.00", "-0"));
        assert!(!same_numeric("0.3333", "0.33333333333333333333"));
        assert!(same_numeric("0.33333333333333333333", "0.3333333333333333"));
        assert!(!same_numeric("0.33333333333333333333", "0.333333333333334"));
        assert!(!same_numeric("99999999999999999999999.01", "99999999999999999999999.02"));
        assert!(!same_numeric("10", "1"));
        assert!(same_numeric("NaN", "NaN") && !same_numeric("NaN", "1"));
    }

    #[test]
    fn binary_numerics_are_read() {
        // -12345.678: groups 1, 2345, 6780.
        let bytes = [0, 3, 0, 1, 0x40, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1A, 0x7C];
        assert_eq!(numeric_text(&bytes).as_deref(), Some("-12345.678"));
        // 0.0001: one group behind the point.
        let bytes = [0, 1, 0xFF, 0xFF, 0, 0, 0, 4, 0, 1];
        assert_eq!(numeric_text(&bytes).as_deref(), Some("0.0001"));
    }
}
