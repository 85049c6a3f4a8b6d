//! Writing numbers with a pattern: `to_char(1234.5, '9,999.99')`.

use std::fmt::Write;

use super::pattern::Ordinal;
use super::write_time::ending;

/// A number to write.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number<'a> {
    /// Digits, optionally with a sign and a point.
    Exact(&'a str),
    /// `double precision`.
    Double(f64),
    /// `real`.
    Real(f32),
}

/// Why a pattern is invalid: a syntax error.
pub type Wrong = &'static str;

/// A piece of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Piece {
    Comma,
    Point,
    Zero,
    Nine,
    Group,
    Currency,
    Minus,
    Plus,
    Roman {
        lower: bool,
    },
    Signs,
    Ordinal(Ordinal),
    /// Changes how other pieces are written, and writes nothing itself.
    Silent,
    Text(char),
}

/// The place of the sign of `S`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum SignPlace {
    None,
    Before,
    After,
}

/// A pattern of numbers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NumberPattern {
    pub(super) pieces: Vec<Piece>,
    /// Digits before the point, after it, and after V.
    pub(super) before: usize,
    pub(super) after: usize,
    pub(super) shift: usize,
    /// Ordinals of the first and last zero of the pattern, counted from one.
    zero_start: usize,
    zero_end: usize,
    sign_place: SignPlace,
    digits_before_sign: usize,
    zero: bool,
    pub(super) point: bool,
    pub(super) fill: bool,
    blank: bool,
    shifts: bool,
    pub(super) sign: bool,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) brackets: bool,
    pub(super) roman: bool,
    pub(super) scientific: bool,
}

/// Fields in the order in which they are tried.
const FIELDS: [&str; 20] = [
    ",", ".", "0", "9", "B", "C", "D", "EEEE", "FM", "G", "L", "MI", "PL", "PR", "RN", "SG", "SP", "S", "TH",
    "V",
];

/// Width of a Roman number.
const ROMAN_WIDTH: usize = 15;
/// Decimal digits that every float of the type keeps.
const DOUBLE_DIGITS: usize = 15;
const REAL_DIGITS: usize = 6;

impl NumberPattern {
    /// Parses a pattern.
    pub fn new(pattern: &str) -> Result<NumberPattern, Wrong> {
        let mut it = NumberPattern {
            pieces: vec![],
            before: 0,
            after: 0,
            shift: 0,
            zero_start: 0,
            zero_end: 0,
            sign_place: SignPlace::None,
            digits_before_sign: 0,
            zero: false,
            point: false,
            fill: true,
            blank: false,
            shifts: false,
            sign: false,
            minus: false,
            plus: false,
            brackets: false,
            roman: false,
            scientific: false,
        };
        let mut rest = pattern;
        while !rest.is_empty() {
            let starts = |name: &&&str| {
                rest.starts_with(**name)
                    || rest.get(..name.len()).is_some_and(|s| s == name.to_ascii_lowercase())
            };
            rest = match FIELDS.iter().find(starts) {
                Some(name) => {
                    let lower = !rest.starts_with(name);
                    it.field(name, lower)?;
                    &rest[name.len()..]
                }
                None => it.text(rest),
            };
        }
        Ok(it)
    }

    /// Parses a pattern for writing.
    pub fn to_write(pattern: &str) -> Result<NumberPattern, Wrong> {
        let it = NumberPattern::new(pattern)?;
        let ordinal = it.pieces.iter().any(|piece| matches!(piece, Piece::Ordinal(_)));
        if ordinal && !it.roman && !it.point && it.before + it.shift == 0 {
            return Err("\"TH\" has no number to end");
        }
        Ok(it)
    }

    fn text<'a>(&mut self, rest: &'a str) -> &'a str {
        let mut characters = rest.chars();
        match characters.next() {
            Some('"') => {
                while let Some(c) = characters.next() {
                    match c {
                        '"' => break,
                        '\\' => self.pieces.push(Piece::Text(characters.next().unwrap_or('\\'))),
                        c => self.pieces.push(Piece::Text(c)),
                    }
                }
            }
            Some('\\') if characters.as_str().starts_with('"') => {
                characters.next();
                self.pieces.push(Piece::Text('"'));
            }
            Some(c) => self.pieces.push(Piece::Text(c)),
            None => {}
        }
        characters.as_str()
    }

    fn field(&mut self, name: &str, lower: bool) -> Result<(), Wrong> {
        if self.scientific && name != "EEEE" {
            return Err("\"EEEE\" must be the last pattern used");
        }
        let mut piece = Piece::Silent;
        match name {
            "," => piece = Piece::Comma,
            "9" => {
                piece = Piece::Nine;
                self.digit(false)?;
            }
            "0" => {
                piece = Piece::Zero;
                self.digit(true)?;
            }
            "." | "D" => {
                piece = Piece::Point;
                if self.point {
                    return Err("multiple decimal points");
                }
                if self.shifts {
                    return Err("cannot use \"V\" and decimal point together");
                }
                self.point = true;
            }
            "FM" => self.fill = false,
            "B" => self.blank |= self.before + self.after == 0 && !self.zero,
            "G" => piece = Piece::Group,
            "L" => piece = Piece::Currency,
            "S" => self.locale_sign()?,
            "MI" | "PL" | "SG" => {
                if self.sign {
                    return Err("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together");
                }
                self.minus |= name != "PL";
                self.plus |= name != "MI";
                piece = match name {
                    "MI" => Piece::Minus,
                    "PL" => Piece::Plus,
                    _ => Piece::Signs,
                };
            }
            "PR" => {
                if self.sign || self.plus || self.minus {
                    return Err("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together");
                }
                self.brackets = true;
            }
            "RN" => {
                piece = Piece::Roman { lower };
                self.roman = true;
            }
            "TH" => piece = Piece::Ordinal(if lower { Ordinal::Lower } else { Ordinal::Upper }),
            "V" => {
                if self.point {
                    return Err("cannot use \"V\" and decimal point together");
                }
                self.shifts = true;
            }
            "EEEE" => self.scientific()?,
            _ => {}
        }
        self.pieces.push(piece);
        Ok(())
    }

    fn digit(&mut self, zero: bool) -> Result<(), Wrong> {
        if self.brackets {
            return Err(if zero { "\"0\" must be ahead of \"PR\"" } else { "\"9\" must be ahead of \"PR\"" });
        }
        if self.shifts && !zero {
            self.shift += 1;
            return Ok(());
        }
        if zero && !self.zero && !self.point {
            self.zero = true;
            self.zero_start = self.before + 1;
        }
        if self.point {
            self.after += 1;
        } else {
            self.before += 1;
        }
        if zero {
            self.zero_end = self.before + self.after;
        }
        Ok(())
    }

    fn locale_sign(&mut self) -> Result<(), Wrong> {
        if self.sign {
            return Err("cannot use \"S\" twice");
        }
        if self.plus || self.minus || self.brackets {
            return Err("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together");
        }
        self.sign = true;
        if self.point {
            self.sign_place = SignPlace::After;
        } else {
            self.sign_place = SignPlace::Before;
            self.digits_before_sign = self.before;
        }
        Ok(())
    }

    fn scientific(&mut self) -> Result<(), Wrong> {
        if self.scientific {
            return Err("cannot use \"EEEE\" twice");
        }
        let signs = self.sign || self.brackets || self.minus || self.plus;
        if !self.fill || self.blank || signs || self.roman || self.shifts {
            return Err("\"EEEE\" is incompatible with other formats");
        }
        self.scientific = true;
        Ok(())
    }

    /// The number written with this pattern.
    pub fn write(&self, number: Number<'_>) -> String {
        if self.roman {
            return self.processed(roman(number), 0, false);
        }
        if self.scientific {
            let digits = self.scientific_digits(number);
            return if digits.starts_with('-') { digits } else { format!(" {digits}") };
        }
        let digits = self.digits(number);
        let (negative, digits) = match digits.strip_prefix('-') {
            Some(digits) => (true, digits.to_string()),
            None => (false, digits),
        };
        let whole = digits.find('.').unwrap_or(digits.len());
        let wanted = self.before + self.shift;
        if whole > wanted {
            let full = format!("{}.{}", "#".repeat(wanted), "#".repeat(self.after));
            return self.processed(full, 0, negative);
        }
        self.processed(digits, wanted - whole, negative)
    }

    /// The digits that are written, rounded.
    fn digits(&self, number: Number<'_>) -> String {
        let float = |value: f64, most: usize| {
            let value = value * 10f64.powi(self.shift as i32);
            let whole = format!("{:.0}", value.abs()).len();
            let after = if whole >= most { 0 } else { self.after.min(most - whole) };
            format!("{value:.after$}")
        };
        match number {
            Number::Exact(text) => rounded(&shifted(text, self.shift), self.after),
            Number::Double(value) => float(value, DOUBLE_DIGITS),
            Number::Real(value) => float(value.into(), REAL_DIGITS),
        }
    }

    fn scientific_digits(&self, number: Number<'_>) -> String {
        let text = match number {
            Number::Exact(text) => return scientific(text, self.after),
            Number::Double(value) if value.is_finite() => format!("{value:.*e}", self.after),
            Number::Real(value) if value.is_finite() => format!("{value:.*e}", self.after),
            _ => return format!("{}.{}", "#".repeat(self.before), "#".repeat(self.after + 4)),
        };
        match text.split_once('e') {
            Some((digits, exponent)) => {
                let exponent: i32 = exponent.parse().unwrap_or(0);
                format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
            }
            None => text,
        }
    }

    /// Applies the pattern to digits, `spaces` fewer than its places.
    fn processed(&self, digits: String, spaces: usize, negative: bool) -> String {
        let mut writing = Writing::new(self, digits, spaces, negative);
        for piece in &self.pieces {
            writing.piece(*piece);
        }
        writing.out.truncate(writing.end.unwrap_or(writing.out.len()));
        writing.out
    }
}

/// The state of writing one number.
struct Writing<'a> {
    pattern: &'a NumberPattern,
    digits: Vec<u8>,
    /// Position in `digits`.
    at: usize,
    /// Position in the pattern.
    place: usize,
    spaces: usize,
    negative: bool,
    brackets: bool,
    sign_place: SignPlace,
    sign_done: bool,
    zero_start: usize,
    /// The last digit that is not a trailing zero; FM writes none after it.
    last_relevant: Option<usize>,
    places: usize,
    /// A digit was written just before.
    in_number: bool,
    /// End of PostgreSQL's text: it writes a zero byte once the digits are used up, and loses the rest.
    end: Option<usize>,
    out: String,
}

impl<'a> Writing<'a> {
    fn new(pattern: &'a NumberPattern, digits: String, spaces: usize, negative: bool) -> Writing<'a> {
        let (mut sign_place, mut brackets) = (pattern.sign_place, pattern.brackets);
        let sign_done = if pattern.plus || pattern.minus {
            !pattern.plus || pattern.minus
        } else {
            if !negative && !pattern.fill {
                brackets = false;
            }
            let before = pattern.before + pattern.shift;
            if sign_place == SignPlace::Before && before == pattern.digits_before_sign {
                sign_place = SignPlace::After;
            }
            !negative && !pattern.fill && !pattern.sign
        };
        let digits = digits.into_bytes();
        let mut places = pattern.after + pattern.before + pattern.shift;
        if sign_done || spaces > 0 {
            places = places.saturating_sub(1);
        }
        let mut last_relevant = None;
        if !pattern.fill && pattern.point {
            last_relevant = last_relevant_digit(&digits);
            if let Some(last) = &mut last_relevant
                && pattern.zero_end > spaces
            {
                *last = (*last).max((digits.len() - 1).min(pattern.zero_end - spaces));
            }
        }
        let zero_start = pattern.zero_start.saturating_sub(1);
        let (at, place, in_number, out) = (0, 0, false, String::new());
        Writing {
            pattern,
            digits,
            at,
            place,
            spaces,
            negative,
            brackets,
            sign_place,
            sign_done,
            zero_start,
            last_relevant,
            places,
            in_number,
            end: None,
            out,
        }
    }

    fn cut(&mut self) {
        self.end.get_or_insert(self.out.len());
    }

    fn piece(&mut self, piece: Piece) {
        let fill = self.pattern.fill;
        match piece {
            Piece::Nine | Piece::Zero | Piece::Point => self.digit(piece),
            Piece::Comma | Piece::Group => {
                if self.in_number {
                    self.out.push(',');
                } else if fill {
                    self.out.push(' ');
                }
            }
            Piece::Currency => self.out.push(' '),
            Piece::Roman { lower } => {
                let text = String::from_utf8_lossy(&self.digits).into_owned();
                let text = if lower { text.to_lowercase() } else { text };
                let width = if fill { ROMAN_WIDTH } else { 0 };
                let _ = write!(self.out, "{text:>width$}");
            }
            Piece::Ordinal(ordinal) => {
                let unfit = self.digits.first() == Some(&b'#') || self.negative;
                if !(self.pattern.roman || unfit || self.pattern.point) {
                    let number = String::from_utf8_lossy(&self.digits).into_owned();
                    self.out.push_str(&ending(&number, ordinal));
                }
            }
            Piece::Minus if self.negative => self.out.push('-'),
            Piece::Plus if !self.negative && !self.pattern.roman => self.out.push('+'),
            Piece::Minus | Piece::Plus => {
                if fill {
                    self.out.push(' ');
                }
            }
            // Roman numbers have no sign.
            Piece::Signs if self.pattern.roman => self.cut(),
            Piece::Signs => self.out.push(if self.negative { '-' } else { '+' }),
            Piece::Silent => {}
            Piece::Text(c) => self.out.push(c),
        }
    }

    /// The first digit is a zero before the point that the pattern does not require.
    fn is_needless_zero(&self) -> bool {
        !self.pattern.zero && self.at == 0 && self.digits.first() == Some(&b'0') && self.pattern.after != 0
    }

    fn ends_with_point(&self) -> bool {
        self.last_relevant.is_some_and(|last| self.digits.get(last) == Some(&b'.'))
    }

    fn digit(&mut self, piece: Piece) {
        if self.pattern.roman {
            return;
        }
        self.in_number = false;
        self.sign_before();
        let zeros = self.pattern.zero && self.zero_start <= self.place;
        if self.place < self.spaces && !zeros {
            if self.pattern.fill {
                self.out.push(' ');
            }
        } else if self.place < self.spaces {
            self.out.push('0');
            self.in_number = true;
        } else {
            self.next_digit(piece);
        }
        let mut end = self.places + usize::from(self.spaces > 0) + usize::from(self.pattern.point);
        if self.last_relevant.is_some_and(|last| last == self.at) {
            end = self.place;
        }
        if self.place + 1 == end {
            if self.sign_done && self.brackets {
                self.out.push(if self.negative { '>' } else { ' ' });
            } else if self.pattern.sign && self.sign_place == SignPlace::After {
                self.out.push(if self.negative { '-' } else { '+' });
            }
        }
        self.place += 1;
    }

    fn sign_before(&mut self) {
        let reached = self.place >= self.spaces || (self.pattern.zero && self.zero_start == self.place);
        if self.sign_done || !reached || (self.is_needless_zero() && !self.ends_with_point()) {
            return;
        }
        if self.pattern.sign {
            if self.sign_place == SignPlace::Before {
                self.out.push(if self.negative { '-' } else { '+' });
                self.sign_done = true;
            }
            return;
        }
        if self.brackets {
            self.out.push(if self.negative { '<' } else { ' ' });
        } else if self.negative {
            self.out.push('-');
        } else if self.pattern.fill {
            self.out.push(' ');
        }
        self.sign_done = true;
    }

    fn next_digit(&mut self, piece: Piece) {
        let trailing = self.last_relevant.is_some_and(|last| self.at > last) && piece != Piece::Zero;
        let Some(digit) = self.digits.get(self.at).copied() else {
            if !trailing {
                self.cut();
                self.in_number = true;
            }
            return;
        };
        let needless = self.is_needless_zero();
        if digit == b'.' {
            self.out.push('.');
        } else if trailing {
            // FM writes no zeros at the end.
        } else if needless {
            if self.pattern.fill {
                self.out.push(' ');
            } else if self.ends_with_point() {
                self.out.push('0');
            }
        } else {
            self.out.push(digit.into());
            self.in_number = true;
        }
        self.at += 1;
    }
}

/// Position of the last digit after the point that is not zero, else of the point.
fn last_relevant_digit(digits: &[u8]) -> Option<usize> {
    let point = digits.iter().position(|d| *d == b'.')?;
    let last = digits.iter().rposition(|d| *d != b'0').unwrap_or(point);
    Some(last.max(point))
}

/// A decimal number times a power of ten.
fn shifted(text: &str, by: usize) -> String {
    if by == 0 {
        return text.to_string();
    }
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = format!("{fraction:0<by$}");
    let (more, fraction) = fraction.split_at(by);
    let whole = format!("{whole}{more}");
    let trimmed = whole.trim_start_matches('0');
    let whole = if trimmed.is_empty() { "0" } else { trimmed };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A decimal number with so many digits after the point, rounded half away from zero.
fn rounded(text: &str, places: usize) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut kept: Vec<u8> =
        whole.bytes().chain(fraction.bytes().chain(std::iter::repeat(b'0')).take(places)).collect();
    if fraction.as_bytes().get(places).is_some_and(|d| *d >= b'5') {
        let mut carry = true;
        for digit in kept.iter_mut().rev() {
            carry = *digit == b'9';
            *digit = if carry { b'0' } else { *digit + 1 };
            if !carry {
                break;
            }
        }
        if carry {
            kept.insert(0, b'1');
        }
    }
    let kept = String::from_utf8_lossy(&kept).into_owned();
    let (whole, fraction) = kept.split_at(kept.len() - places);
    let sign = if kept.bytes().all(|d| d == b'0') { "" } else { sign };
    if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A decimal number as one digit, a point, digits and an exponent.
fn scientific(text: &str, places: usize) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let Some(first) = all.find(|d| d != '0') else {
        return format!("{}e+00", rounded("0", places));
    };
    let exponent = whole.len() as i64 - 1 - first as i64;
    let significand = rounded(&format!("{}.{}", &all[first..=first], &all[first + 1..]), places);
    format!("{sign}{significand}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// A Roman number; hashes for numbers without one.
fn roman(number: Number<'_>) -> String {
    const UNITS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut value = match number {
        Number::Exact(text) => rounded(text, 0).parse().unwrap_or(0),
        Number::Double(value) => value.round_ties_even() as i64,
        Number::Real(value) => value.round_ties_even() as i64,
    };
    if !(1..=3999).contains(&value) {
        return "#".repeat(ROMAN_WIDTH);
    }
    let mut text = String::new();
    for (unit, letters) in UNITS {
        while value >= unit {
            text.push_str(letters);
            value -= unit;
        }
    }
    text
}
