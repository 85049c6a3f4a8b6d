//! Reading numbers with a pattern: `to_number('1,234.50', '9,999.99')`. The pattern is applied piece by piece; each
//! piece consumes the bytes at its position in the text, mostly one. PostgreSQL is as lenient, and wrong in the same
//! places.

use super::numbers::{NumberPattern, Piece};

/// The number found in a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumberRead {
    /// A blank or a sign, then digits, optionally with a point. Need not be a valid number.
    pub text: String,
    /// Digits after the point.
    pub places: usize,
    /// Most digits before the point.
    pub whole_max: usize,
    /// Places by which the point then moves to the left.
    pub shift: usize,
}

/// A pattern that supports writing only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unread {
    /// `EEEE`
    Scientific,
    /// `RN`
    Roman,
}

impl NumberPattern {
    /// Digits before the point, after it, and places that V moves it by.
    pub fn places(&self) -> (usize, usize, usize) {
        (self.before, self.after, self.shift)
    }

    /// Reads a number.
    pub fn read(&self, text: &str) -> Result<NumberRead, Unread> {
        if self.scientific {
            return Err(Unread::Scientific);
        }
        if self.roman {
            return Err(Unread::Roman);
        }
        let mut reading = Reading::new(self, text);
        for piece in &self.pieces {
            if reading.rest.is_empty() {
                break;
            }
            reading.piece(*piece);
        }
        Ok(reading.end())
    }
}

/// The state of reading one number.
struct Reading<'a> {
    pattern: &'a NumberPattern,
    rest: &'a [u8],
    /// None: a blank.
    sign: Option<u8>,
    digits: String,
    before: usize,
    after: usize,
    point: bool,
}

impl<'a> Reading<'a> {
    fn new(pattern: &'a NumberPattern, text: &'a str) -> Reading<'a> {
        let digits = String::with_capacity(text.len());
        Reading { pattern, rest: text.as_bytes(), sign: None, digits, before: 0, after: 0, point: false }
    }

    fn end(self) -> NumberRead {
        let sign = self.sign.map_or(' ', char::from);
        let digits = self.digits.strip_suffix('.').unwrap_or(&self.digits);
        let NumberPattern { before, shift, .. } = *self.pattern;
        NumberRead { text: format!("{sign}{digits}"), places: self.after, whole_max: before + shift, shift }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Consumes this byte, if it is next.
    fn takes(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        self.skip(found.into());
        found
    }

    fn piece(&mut self, piece: Piece) {
        match piece {
            Piece::Nine | Piece::Zero | Piece::Point => {
                self.number(piece);
                self.skip(1);
            }
            Piece::Comma | Piece::Group => {
                if self.pattern.fill {
                    self.takes(b',');
                }
            }
            Piece::Currency => self.skip_others(1),
            Piece::Ordinal(_) if self.pattern.point => {}
            Piece::Ordinal(_) => self.skip_others(2),
            Piece::Minus => self.sign_or_other(b"-"),
            Piece::Plus => self.sign_or_other(b"+"),
            Piece::Signs => self.sign_or_other(b"-+"),
            Piece::Silent | Piece::Roman { .. } => {}
            Piece::Text(_) => self.skip(width(self.rest)),
        }
    }

    /// Skips characters that are not part of a number.
    fn skip_others(&mut self, most: usize) {
        for _ in 0..most {
            match self.rest.first() {
                Some(b'0'..=b'9' | b'.' | b',' | b'+' | b'-') | None => break,
                Some(_) => self.skip(width(self.rest)),
            }
        }
    }

    fn sign_or_other(&mut self, signs: &[u8]) {
        match self.rest.first() {
            Some(sign) if signs.contains(sign) => {
                self.sign = Some(*sign);
                self.skip(1);
            }
            _ => self.skip_others(1),
        }
    }

    /// A digit or the point, and a sign before or after it. Stays on the last byte consumed; the caller advances.
    fn number(&mut self, piece: Piece) {
        self.takes(b' ');
        if self.sign.is_none() && piece != Piece::Point && self.before + self.after == 0 {
            self.sign_before();
        }
        let Some(next) = self.rest.first().copied() else { return };
        let mut found = false;
        if next.is_ascii_digit() {
            if self.point && self.after == self.pattern.after {
                return;
            }
            self.digits.push(next.into());
            *(if self.point { &mut self.after } else { &mut self.before }) += 1;
            found = true;
        } else if self.pattern.point && !self.point && next == b'.' {
            self.digits.push('.');
            self.point = true;
            found = true;
        }
        if self.sign.is_none() && self.before + self.after > 0 {
            self.sign_behind(found, next);
        }
    }

    fn sign_before(&mut self) {
        match self.rest.first() {
            Some(sign @ (b'-' | b'+')) => {
                self.sign = Some(*sign);
                self.skip(1);
            }
            Some(b'<') if self.pattern.brackets => {
                self.sign = Some(b'-');
                self.skip(1);
            }
            _ => {}
        }
    }

    /// `S` directly follows the last digit; `MI`, `PL` and `SG` may be in the place of a digit.
    fn sign_behind(&mut self, found: bool, next: u8) {
        let NumberPattern { sign, plus, minus, .. } = *self.pattern;
        if sign && found {
            if let Some(behind @ (b'-' | b'+')) = self.rest.get(1) {
                self.sign = Some(*behind);
                self.skip(1);
            }
        } else if !found && !sign && (plus || minus) && matches!(next, b'-' | b'+') {
            self.sign = Some(next);
        }
    }
}

/// Bytes of the next character; after a piece that ended inside a character, one byte.
fn width(rest: &[u8]) -> usize {
    match rest.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    }
}
