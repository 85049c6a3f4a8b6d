//! jsonb values as trees, for functions that read more of a value than one member.

use std::borrow::Cow;

use super::DEPTH_MAX;
use super::canonical::{push_escaped, scan_number, unescape};
use crate::Fault;

/// A value. Strings and numbers borrow from the text if it contains them unchanged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as `numeric` prints it.
    Number(Cow<'a, str>),
    /// A string, without quotes and escapes.
    String(Cow<'a, str>),
    /// Its items.
    Array(Vec<Json<'a>>),
    /// Its members, by length of key and then its bytes, no key twice.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// The order of keys in an object.
pub(super) fn key_order(left: &str, right: &str) -> std::cmp::Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

impl<'a> Json<'a> {
    /// An object of these members, of which the last with a key counts.
    pub fn object(mut members: Vec<(Cow<'a, str>, Json<'a>)>) -> Json<'a> {
        if members.windows(2).any(|m| key_order(&m[0].0, &m[1].0).is_ge()) {
            // The sort is stable, and the first of equal keys in the reversed list is kept.
            members.reverse();
            members.sort_by(|a, b| key_order(&a.0, &b.0));
            members.dedup_by(|next, kept| next.0 == kept.0);
        }
        Json::Object(members)
    }

    /// Appends the canonical text.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(true) => out.extend_from_slice(b"true"),
            Json::Bool(false) => out.extend_from_slice(b"false"),
            Json::Number(digits) => out.extend_from_slice(digits.as_bytes()),
            Json::String(text) => quote(text, out),
            Json::Array(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.extend_from_slice(b", ");
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Json::Object(members) => {
                out.push(b'{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.extend_from_slice(b", ");
                    }
                    quote(key, out);
                    out.extend_from_slice(b": ");
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    /// The canonical text.
    pub fn to_text(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        // The bytes are texts and ASCII.
        String::from_utf8(out).unwrap_or_default()
    }

    /// True for a value that is neither an array nor an object.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Json::Array(_) | Json::Object(_))
    }
}

/// Appends a string with its quotes and escapes.
pub fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| b < 0x20 || matches!(b, b'"' | b'\\')) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        push_escaped(out, rest.as_bytes()[at] as char);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// Reads a JSON text, canonical or not.
pub fn parse(text: &str) -> Result<Json<'_>, Fault> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.blank();
    if reader.at == text.len() { Ok(value) } else { Err(Fault::Invalid) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.blank();
        let found = self.peek() == Some(byte);
        self.at += found as usize;
        found
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::TooDeep);
        }
        self.blank();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(Fault::Invalid),
        }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, Fault> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(Fault::Invalid);
        }
        self.at += word.len();
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, Fault> {
        self.at += 1;
        let mut items = vec![];
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            if !self.take(b',') {
                return Err(Fault::Invalid);
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, Fault> {
        self.at += 1;
        let mut members = vec![];
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(Fault::Invalid);
            }
            let key = self.string()?;
            if !self.take(b':') {
                return Err(Fault::Invalid);
            }
            members.push((key, self.value(depth + 1)?));
            if self.take(b'}') {
                return Ok(Json::object(members));
            }
            if !self.take(b',') {
                return Err(Fault::Invalid);
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.at += 1;
        let bytes = self.text.as_bytes();
        let mut start = self.at;
        let mut built: Option<String> = None;
        loop {
            let stops = |b: &u8| matches!(b, b'"' | b'\\' | 0..0x20);
            let plain = bytes[self.at..].iter().position(stops).ok_or(Fault::Invalid)?;
            let end = self.at + plain;
            self.at = end + 1;
            match bytes[end] {
                b'"' => {
                    let last = &self.text[start..end];
                    return Ok(match built {
                        None => Cow::Borrowed(last),
                        Some(mut text) => {
                            text.push_str(last);
                            Cow::Owned(text)
                        }
                    });
                }
                b'\\' => {
                    let text = built.get_or_insert_default();
                    text.push_str(&self.text[start..end]);
                    text.push(unescape(bytes, &mut self.at)?);
                    start = self.at;
                }
                _ => return Err(Fault::Invalid),
            }
        }
    }

    fn number(&mut self) -> Result<Json<'a>, Fault> {
        let start = self.at;
        let (number, end) = scan_number(self.text.as_bytes(), start)?;
        self.at = end;
        let mut plain = Vec::new();
        number.write(&mut plain)?;
        let written = &self.text[start..end];
        Ok(Json::Number(if plain == written.as_bytes() {
            Cow::Borrowed(written)
        } else {
            Cow::Owned(String::from_utf8(plain).unwrap_or_default())
        }))
    }
}

/// The text of `jsonb_pretty`.
pub fn pretty(value: &Json) -> String {
    let mut out = Vec::new();
    pretty_into(value, 0, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn pretty_into(value: &Json, depth: usize, out: &mut Vec<u8>) {
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 4 * depth));
    };
    match value {
        Json::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                line(out, depth + 1);
                pretty_into(item, depth + 1, out);
            }
            line(out, depth);
            out.push(b']');
        }
        Json::Object(members) => {
            out.push(b'{');
            for (at, (key, item)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                line(out, depth + 1);
                quote(key, out);
                out.extend_from_slice(b": ");
                pretty_into(item, depth + 1, out);
            }
            line(out, depth);
            out.push(b'}');
        }
        scalar => scalar.write(out),
    }
}
