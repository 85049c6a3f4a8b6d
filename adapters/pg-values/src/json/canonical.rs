//! A JSON text as jsonb prints it, in one pass over the bytes: without a tree, so that a pipeline can do it for every message.

use std::borrow::Cow;
use std::ops::Range;

use super::{BYTES_MAX, DEPTH_MAX, DIGITS_ADDED_MAX, find_special};
use crate::Fault;

/// Most digits before and after the point of a `numeric`.
const DIGITS_MAX: usize = 131_072;
const PLACES_MAX: usize = 16_383;

/// Appends the canonical text. After a fault `out` is as it was.
pub fn canonical(text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    Canonical::default().append(text, out)
}

/// Writes canonical texts; keeps its buffers from one to the next.
#[derive(Default, Debug)]
pub struct Canonical {
    members: Vec<Member>,
    sorted: Vec<u8>,
}

/// The place of a member of an object in the output.
#[derive(Clone, Debug)]
struct Member {
    key: Range<usize>,
    end: usize,
}

impl Canonical {
    /// Appends the canonical text. After a fault `out` is as it was.
    pub fn append(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = out.len();
        let end = self.append_value(text.as_bytes(), 0, DEPTH_MAX, out)?;
        if skip_blank(text.as_bytes(), end) == text.len() {
            return Ok(());
        }
        out.truncate(start);
        Err(Fault::Invalid)
    }

    /// Appends the canonical text of the value that begins at `at` in a text, which must be UTF-8; returns its end.
    /// Values in it may be nested `depth_max` deep. After a fault `out` is as it was.
    pub fn append_value(
        &mut self,
        text: &[u8],
        at: usize,
        depth_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        let start = out.len();
        self.members.clear();
        let mut writer = Writer { text, at, start, depth_max, out, kept: self };
        let outcome = writer.value(0);
        let end = writer.at;
        match outcome {
            Ok(()) => Ok(end),
            Err(fault) => {
                out.truncate(start);
                Err(fault)
            }
        }
    }
}

/// The first position from `at` on that is not white space.
fn skip_blank(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

struct Writer<'a> {
    text: &'a [u8],
    at: usize,
    /// Start of the value in the output.
    start: usize,
    depth_max: usize,
    out: &'a mut Vec<u8>,
    kept: &'a mut Canonical,
}

impl Writer<'_> {
    fn blank(&mut self) {
        self.at = skip_blank(self.text, self.at);
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Skips white space and then the byte, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.blank();
        let found = self.peek() == Some(byte);
        self.at += found as usize;
        found
    }

    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > self.depth_max {
            return Err(Fault::TooDeep);
        }
        if self.out.len() - self.start > BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        self.blank();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => Err(Fault::Invalid),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Fault::Invalid);
        }
        self.at += word.len();
        self.out.extend_from_slice(word);
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), Fault> {
        self.at += 1;
        self.out.push(b'[');
        if !self.take(b']') {
            loop {
                self.value(depth + 1)?;
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return Err(Fault::Invalid);
                }
                self.out.extend_from_slice(b", ");
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), Fault> {
        self.at += 1;
        self.out.push(b'{');
        let first = self.kept.members.len();
        if !self.take(b'}') {
            loop {
                self.member(depth)?;
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err(Fault::Invalid);
                }
                self.out.extend_from_slice(b", ");
            }
        }
        self.sort(first);
        self.kept.members.truncate(first);
        self.out.push(b'}');
        Ok(())
    }

    fn member(&mut self, depth: usize) -> Result<(), Fault> {
        self.blank();
        if self.peek() != Some(b'"') {
            return Err(Fault::Invalid);
        }
        let start = self.out.len();
        self.string()?;
        let key = start..self.out.len();
        if !self.take(b':') {
            return Err(Fault::Invalid);
        }
        self.out.extend_from_slice(b": ");
        self.value(depth + 1)?;
        self.kept.members.push(Member { key, end: self.out.len() });
        Ok(())
    }

    /// Sorts the members from `first` on, which are at the end of the output.
    fn sort(&mut self, first: usize) {
        let (out, members) = (&mut *self.out, &mut self.kept.members[first..]);
        let in_order =
            members.windows(2).all(|m| key_order(&out[m[0].key.clone()], &out[m[1].key.clone()]).is_lt());
        if in_order {
            return;
        }
        let start = members[0].key.start;
        // Stable: of keys that are equal the last stays.
        members.sort_by(|a, b| key_order(&out[a.key.clone()], &out[b.key.clone()]));
        self.kept.sorted.clear();
        for (at, member) in members.iter().enumerate() {
            let key = &out[member.key.clone()];
            if members.get(at + 1).is_some_and(|next| key_order(key, &out[next.key.clone()]).is_eq()) {
                continue;
            }
            if !self.kept.sorted.is_empty() {
                self.kept.sorted.extend_from_slice(b", ");
            }
            self.kept.sorted.extend_from_slice(&out[member.key.start..member.end]);
        }
        out.truncate(start);
        out.extend_from_slice(&self.kept.sorted);
    }

    fn string(&mut self) -> Result<(), Fault> {
        self.out.push(b'"');
        self.at += 1;
        loop {
            let end = find_special(self.text, self.at);
            self.out.extend_from_slice(&self.text[self.at..end]);
            self.at = end + 1;
            match self.text.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let c = unescape(self.text, &mut self.at)?;
                    push_escaped(self.out, c);
                }
                _ => return Err(Fault::Invalid),
            }
        }
        self.out.push(b'"');
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        let (number, end) = scan_number(self.text, self.at)?;
        self.at = end;
        number.write(self.out)
    }
}

/// The order of keys: by length, then by bytes. Both keys are given as in the output, with quotes and escapes.
fn key_order(left: &[u8], right: &[u8]) -> std::cmp::Ordering {
    let (left, right) = (key_bytes(left), key_bytes(right));
    left.len().cmp(&right.len()).then_with(|| left.cmp(&right))
}

fn key_bytes(quoted: &[u8]) -> Cow<'_, [u8]> {
    let inner = &quoted[1..quoted.len() - 1];
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut at = 0;
    while let Some(&byte) = inner.get(at) {
        at += 1;
        match byte {
            b'\\' => match unescape(inner, &mut at) {
                Ok(c) => plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(_) => break,
            },
            byte => plain.push(byte),
        }
    }
    Cow::Owned(plain)
}

/// The character of the escape whose backslash ends before `at`.
pub(super) fn unescape(text: &[u8], at: &mut usize) -> Result<char, Fault> {
    let byte = *text.get(*at).ok_or(Fault::Invalid)?;
    *at += 1;
    Ok(match byte {
        b'"' | b'\\' | b'/' => byte as char,
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(text, at),
        _ => return Err(Fault::Invalid),
    })
}

fn unicode(text: &[u8], at: &mut usize) -> Result<char, Fault> {
    let unit = hex4(text, at)?;
    let code = match unit {
        // PostgreSQL's text cannot contain it.
        0 => return Err(Fault::ZeroCharacter),
        0xD800..=0xDBFF => {
            if text.get(*at..*at + 2) != Some(b"\\u") {
                return Err(Fault::Invalid);
            }
            *at += 2;
            let low = hex4(text, at)?;
            if !(0xDC00..=0xDFFF).contains(&low) {
                return Err(Fault::Invalid);
            }
            0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
        }
        unit => unit,
    };
    char::from_u32(code).ok_or(Fault::Invalid)
}

fn hex4(text: &[u8], at: &mut usize) -> Result<u32, Fault> {
    let digits = text.get(*at..*at + 4).ok_or(Fault::Invalid)?;
    *at += 4;
    digits.iter().try_fold(0, |value, byte| {
        let digit = (*byte as char).to_digit(16).ok_or(Fault::Invalid)?;
        Ok(value << 4 | digit)
    })
}

/// Appends a character of a string as jsonb prints it.
pub(super) fn push_escaped(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\0'..'\u{20}' => {
            let digit = |d: u8| b"0123456789abcdef"[usize::from(d)];
            let code = c as u8;
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(code >> 4), digit(code & 15)]);
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// A number in a JSON text.
pub(super) struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

/// The number that begins at `at`, and where it ends.
pub(super) fn scan_number(text: &[u8], at: usize) -> Result<(Number<'_>, usize), Fault> {
    let digits = |from: usize| {
        let len = text[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        if len == 0 { Err(Fault::Invalid) } else { Ok((&text[from..from + len], from + len)) }
    };
    let negative = text.get(at) == Some(&b'-');
    let (whole, mut end) = digits(at + negative as usize)?;
    if whole.len() > 1 && whole[0] == b'0' {
        return Err(Fault::Invalid);
    }
    let mut number = Number { negative, whole, fraction: &[], exponent: 0 };
    if text.get(end) == Some(&b'.') {
        (number.fraction, end) = digits(end + 1)?;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = text.get(end + 1).copied();
        let signed = matches!(sign, Some(b'+' | b'-'));
        let (written, after) = digits(end + 1 + signed as usize)?;
        let value = written.iter().fold(0i64, |v, d| v.saturating_mul(10).saturating_add((d - b'0').into()));
        number.exponent = if sign == Some(b'-') { -value } else { value };
        end = after;
    }
    Ok((number, end))
}

impl Number<'_> {
    /// Appends it as `numeric` prints it: without an exponent, with the places of the text.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.whole.len() > DIGITS_MAX || self.fraction.len() > PLACES_MAX {
            return Err(Fault::OutOfRange);
        }
        let zero = self.whole.iter().chain(self.fraction).all(|d| *d == b'0');
        if self.negative && !zero {
            out.push(b'-');
        }
        if self.exponent == 0 {
            out.extend_from_slice(self.whole);
            if !self.fraction.is_empty() {
                out.push(b'.');
                out.extend_from_slice(self.fraction);
            }
            return Ok(());
        }
        let written = (self.whole.len() + self.fraction.len()) as i64;
        let places = (self.fraction.len() as i64).saturating_sub(self.exponent).max(0);
        // Position of the point, counted in written digits.
        let point = (self.whole.len() as i64).saturating_add(self.exponent);
        let added = point.saturating_sub(written).max(-point).max(0);
        if (!zero && added > DIGITS_ADDED_MAX as i64) || places > PLACES_MAX as i64 {
            return Err(Fault::OutOfRange);
        }
        let digits = [self.whole, self.fraction].concat();
        let split = point.clamp(0, written) as usize;
        let whole = if zero { &[] } else { &digits[..split] };
        let leading = whole.iter().take_while(|d| **d == b'0').count();
        out.extend_from_slice(&whole[leading..]);
        match whole.len() > leading {
            true => push_zeros(out, point - written),
            false => out.push(b'0'),
        }
        if places > 0 {
            out.push(b'.');
            push_zeros(out, places.min(-point));
            // The places extend to the last digit.
            out.extend_from_slice(&digits[split..]);
        }
        Ok(())
    }
}

/// As many zeros; none if it is less than one.
fn push_zeros(out: &mut Vec<u8>, count: i64) {
    out.resize(out.len() + count.max(0) as usize, b'0');
}
