//! Access to values: members and items, containment, keys.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::tree::key_order;
use super::{Json, order, parse};

/// One step into a value.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// The member of an object, `-> 'key'`.
    Key(&'a str),
    /// The item of an array, `-> 1`, from the end if negative.
    Index(i64),
    /// A step of a path, `#> '{key,1}'`: a key in an object, an index in an array.
    Either(&'a str),
}

/// Name of the kind of a value, as `jsonb_typeof` returns it.
pub fn kind(document: &str) -> &'static str {
    match document.trim_start().as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

/// The value that the steps lead to, as a slice of the document, which is a canonical text.
pub fn get<'a>(document: &'a str, steps: &[Step]) -> Option<&'a str> {
    let mut at = document.trim();
    for step in steps {
        at = match (at.as_bytes().first()?, step) {
            (b'{', Step::Key(key) | Step::Either(key)) => member(at, key)?,
            (b'[', Step::Index(index)) => item(at, *index)?,
            (b'[', Step::Either(index)) => item(at, array_index(index)?)?,
            // A scalar is stored as an array of one item.
            (first, Step::Index(0 | -1)) if *first != b'{' => at,
            _ => return None,
        };
    }
    Some(at)
}

/// An index in a step of a path.
pub(super) fn array_index(text: &str) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    text.parse::<i32>().ok().map(i64::from)
}

fn member<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = object[1..].trim_start();
    while rest.starts_with('"') {
        let (name, after) = rest.split_at(value_len(rest)?);
        let after = after.trim_start().strip_prefix(':')?.trim_start();
        let (value, after) = after.split_at(value_len(after)?);
        if unquoted(name) == key {
            return Some(value);
        }
        rest = after.trim_start().strip_prefix(',')?.trim_start();
    }
    None
}

fn item(array: &str, index: i64) -> Option<&str> {
    let index = match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => {
            let len = Items(&array[1..]).count() as i64;
            usize::try_from(len.checked_add(index)?).ok()?
        }
    };
    Items(&array[1..]).nth(index)
}

/// The items of an array, after its bracket.
struct Items<'a>(&'a str);

impl<'a> Iterator for Items<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([',', ' ', '\t', '\n', '\r']);
        if rest.starts_with(']') {
            return None;
        }
        let (value, after) = rest.split_at(value_len(rest)?);
        self.0 = after;
        Some(value)
    }
}

/// Bytes of the value at the start of a text.
fn value_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let string_end = |from: usize| {
        let mut at = from + 1;
        loop {
            match bytes.get(at)? {
                b'"' => return Some(at + 1),
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
    };
    match bytes.first()? {
        b'"' => string_end(0),
        b'{' | b'[' => {
            let (mut depth, mut at) = (0usize, 0);
            loop {
                match bytes.get(at)? {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    b'"' => {
                        at = string_end(at)?;
                        continue;
                    }
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\n' | b'\r');
            Some(bytes.iter().position(ends).unwrap_or(bytes.len())).filter(|len| *len > 0)
        }
    }
}

fn unquoted(quoted: &str) -> Cow<'_, str> {
    match quoted.get(1..quoted.len() - 1) {
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        _ => match parse(quoted) {
            Ok(Json::String(text)) => text,
            _ => Cow::Borrowed(quoted),
        },
    }
}

/// A value as text, as `->>` returns it: a string without quotes, None for null.
pub fn scalar_text(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first() {
        Some(b'n') => None,
        Some(b'"') => Some(unquoted(value)),
        _ => Some(Cow::Borrowed(value)),
    }
}

/// `?`: a key of an object, or a string in an array or alone.
pub fn has_key(document: &Json, key: &str) -> bool {
    let is_key = |value: &Json| matches!(value, Json::String(text) if text == key);
    match document {
        Json::Object(members) => find(members, key).is_some(),
        Json::Array(items) => items.iter().any(is_key),
        scalar => is_key(scalar),
    }
}

pub(super) fn find<'v, 'a>(members: &'v [(Cow<'a, str>, Json<'a>)], key: &str) -> Option<&'v Json<'a>> {
    members.binary_search_by(|m| key_order(&m.0, key)).ok().map(|at| &members[at].1)
}

/// `@>`: `whole` contains all of `part`.
pub fn contains(whole: &Json, part: &Json) -> bool {
    match (whole, part) {
        // At the top an array also contains a scalar that is one of its items.
        (Json::Array(items), scalar) if scalar.is_scalar() => items.iter().any(|item| equal(item, scalar)),
        _ => contains_nested(whole, part),
    }
}

fn contains_nested(whole: &Json, part: &Json) -> bool {
    match (whole, part) {
        (Json::Object(whole), Json::Object(part)) => {
            part.iter().all(|(key, part)| find(whole, key).is_some_and(|value| contains_nested(value, part)))
        }
        (Json::Array(whole), Json::Array(part)) => {
            part.iter().all(|part| whole.iter().any(|value| contains_nested(value, part)))
        }
        (Json::Array(_) | Json::Object(_), _) | (_, Json::Array(_) | Json::Object(_)) => false,
        (left, right) => equal(left, right),
    }
}

fn equal(left: &Json, right: &Json) -> bool {
    std::mem::discriminant(left) == std::mem::discriminant(right)
        && order::compare(left, right) == Ordering::Equal
}
