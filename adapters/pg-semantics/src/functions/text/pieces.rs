//! Text functions for one value: substrings, padding, case. Lengths and positions count characters.

use std::borrow::Cow;

use crate::error::{Result, SqlError, SqlState};

/// Most bytes of a value, as in PostgreSQL.
pub const VALUE_BYTES_MAX: usize = 0x3fff_ffff;

/// Fails for a value that would be too long, before it is allocated.
pub fn check_len(bytes: usize) -> Result<usize> {
    if bytes <= VALUE_BYTES_MAX {
        return Ok(bytes);
    }
    Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large"))
}

/// Byte position of the character with this number, from 0; the end of the text if there are fewer.
fn byte_of(text: &str, characters: usize) -> usize {
    if text.is_ascii() {
        return characters.min(text.len());
    }
    text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
}

/// Number of characters.
pub fn char_len(text: &str) -> usize {
    text.chars().count()
}

/// `substring(text from start for count)`: positions before the first count, but are empty.
pub fn substring(text: &str, start: i64, count: Option<i64>) -> Result<&str> {
    let (from, count) = range(start, count)?;
    let begin = byte_of(text, from);
    let rest = &text[begin..];
    Ok(count.map_or(rest, |count| &rest[..byte_of(rest, count)]))
}

/// The same of bytes.
pub fn substring_bytes(bytes: &[u8], start: i64, count: Option<i64>) -> Result<&[u8]> {
    let (from, count) = range(start, count)?;
    let rest = bytes.get(from..).unwrap_or_default();
    Ok(count.map_or(rest, |count| &rest[..count.min(rest.len())]))
}

/// Number of characters to skip and to take.
fn range(start: i64, count: Option<i64>) -> Result<(usize, Option<usize>)> {
    let from = usize::try_from(start.saturating_sub(1).max(0)).unwrap_or(usize::MAX);
    let Some(count) = count else { return Ok((from, None)) };
    if count < 0 {
        return Err(SqlError::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    let end = start.saturating_add(count).max(1);
    Ok((from, Some(usize::try_from(end - start.max(1)).unwrap_or(0))))
}

/// `left(text, n)`: the first n characters, or all but the last -n.
pub fn left(text: &str, n: i64) -> &str {
    &text[..byte_of(text, counted(text, n))]
}

/// `right(text, n)`: the last n characters, or all but the first -n.
pub fn right(text: &str, n: i64) -> &str {
    if n == i64::from(i32::MIN) {
        // The minimum has no positive counterpart, and PostgreSQL returns the whole text for it.
        return text;
    }
    let skipped = if n < 0 {
        usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX)
    } else {
        char_len(text).saturating_sub(counted(text, n))
    };
    &text[byte_of(text, skipped)..]
}

fn counted(text: &str, n: i64) -> usize {
    match usize::try_from(n) {
        Ok(n) => n,
        Err(_) => char_len(text).saturating_sub(usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}

/// `lpad` and `rpad`: truncated or padded to `length` characters.
pub fn pad(text: &str, length: i64, fill: &str, at_start: bool, out: &mut String) -> Result<()> {
    let length = usize::try_from(length).unwrap_or(0);
    let have = char_len(text);
    if have >= length || fill.is_empty() {
        out.push_str(&text[..byte_of(text, length)]);
        return Ok(());
    }
    let missing = length - have;
    let width = char_len(fill);
    let whole = (missing / width).checked_mul(fill.len());
    let part = &fill[..byte_of(fill, missing % width)];
    let bytes = whole.and_then(|whole| whole.checked_add(part.len() + text.len()));
    out.reserve(check_len(bytes.unwrap_or(usize::MAX))?);
    if !at_start {
        out.push_str(text);
    }
    for _ in 0..missing / width {
        out.push_str(fill);
    }
    out.push_str(part);
    if at_start {
        out.push_str(text);
    }
    Ok(())
}

/// `repeat(text, n)`.
pub fn repeat(text: &str, n: i64) -> Result<String> {
    let n = usize::try_from(n).unwrap_or(0);
    check_len(text.len().saturating_mul(n))?;
    Ok(text.repeat(n))
}

/// `replace(text, from, to)`.
pub fn replace<'a>(text: &'a str, from: &str, to: &str) -> Result<Cow<'a, str>> {
    if from.is_empty() || !text.contains(from) {
        return Ok(Cow::Borrowed(text));
    }
    if to.len() > from.len() {
        let growth = text.matches(from).count().checked_mul(to.len() - from.len());
        check_len(growth.and_then(|g| g.checked_add(text.len())).unwrap_or(usize::MAX))?;
    }
    Ok(Cow::Owned(text.replace(from, to)))
}

/// `translate(text, from, to)`: each character of `from` becomes the one at its position in `to`, or is removed.
pub fn translate(text: &str, from: &str, to: &str) -> String {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let moved = |c: char| match from.iter().position(|f| *f == c) {
        None => Some(c),
        Some(at) => to.get(at).copied(),
    };
    text.chars().filter_map(moved).collect()
}

/// `split_part(text, separator, n)`: the n-th field, from the end if negative.
pub fn split_part<'a>(text: &'a str, separator: &str, n: i64) -> Result<&'a str> {
    if n == 0 {
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "field position must not be zero"));
    }
    if text.is_empty() {
        return Ok("");
    }
    if separator.is_empty() {
        return Ok(if matches!(n, 1 | -1) { text } else { "" });
    }
    let at = usize::try_from(n.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let field = if n > 0 { text.split(separator).nth(at) } else { text.rsplit(separator).nth(at) };
    Ok(field.unwrap_or(""))
}

/// `strpos`: position of a text in another, from 1, or 0.
pub fn position(text: &str, part: &str) -> i64 {
    text.find(part).map_or(0, |at| char_len(&text[..at]) as i64 + 1)
}

/// The same of bytes.
pub fn position_bytes(bytes: &[u8], part: &[u8]) -> i64 {
    if part.is_empty() {
        return 1;
    }
    bytes.windows(part.len()).position(|window| window == part).map_or(0, |at| at as i64 + 1)
}

/// `overlay(text placing new from start for count)`.
pub fn overlay(text: &str, new: &str, start: i64, count: i64) -> Result<String> {
    let before = before_overlay(start, count)?;
    let head = substring(text, 1, Some(before))?;
    let tail = substring(text, start.saturating_add(count), None)?;
    check_len(head.len() + new.len() + tail.len())?;
    Ok([head, new, tail].concat())
}

/// The same of bytes.
pub fn overlay_bytes(bytes: &[u8], new: &[u8], start: i64, count: i64) -> Result<Vec<u8>> {
    let before = before_overlay(start, count)?;
    let head = substring_bytes(bytes, 1, Some(before))?;
    let tail = substring_bytes(bytes, start.saturating_add(count), None)?;
    check_len(head.len() + new.len() + tail.len())?;
    Ok([head, new, tail].concat())
}

fn before_overlay(start: i64, count: i64) -> Result<i64> {
    if start <= 0 {
        return Err(SqlError::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    if start.saturating_add(count) > i64::from(i32::MAX) {
        return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range"));
    }
    Ok(start - 1)
}

/// Which ends are trimmed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Ends {
    Both,
    Start,
    End,
}

/// `btrim`, `ltrim`, `rtrim`: without the characters of the set at the ends.
pub fn trim<'a>(text: &'a str, set: &str, ends: Ends) -> &'a str {
    let in_set = |c: char| set.contains(c);
    match ends {
        Ends::Both => text.trim_matches(in_set),
        Ends::Start => text.trim_start_matches(in_set),
        Ends::End => text.trim_end_matches(in_set),
    }
}

/// The same of bytes.
pub fn trim_bytes<'a>(bytes: &'a [u8], set: &[u8], ends: Ends) -> &'a [u8] {
    let kept = |b: &u8| !set.contains(b);
    let start = if ends == Ends::End { Some(0) } else { bytes.iter().position(kept) };
    let end =
        if ends == Ends::Start { Some(bytes.len()) } else { bytes.iter().rposition(kept).map(|at| at + 1) };
    match (start, end) {
        (Some(start), Some(end)) => &bytes[start..end],
        _ => &[],
    }
}

/// The capital of a character, if it is one character: `ß` has none.
pub fn upper_char(c: char) -> char {
    let greek = |add: u32| char::from_u32(c as u32 + add).unwrap_or(c);
    match c {
        // Capitals with an adscript iota, which Unicode's full mapping writes as two letters.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => greek(8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => greek(9),
        c => single(c.to_uppercase(), c),
    }
}

/// The small letter of a character.
pub fn lower_char(c: char) -> char {
    if c == '\u{130}' { 'i' } else { single(c.to_lowercase(), c) }
}

fn single(mut mapped: impl Iterator<Item = char>, c: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(mapped), None) => mapped,
        _ => c,
    }
}

/// `upper`
pub fn upper(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_uppercase() } else { text.chars().map(upper_char).collect() }
}

/// `lower`
pub fn lower(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().map(lower_char).collect() }
}

/// `initcap`: a capital at the start of each word, small letters after it.
pub fn initcap(text: &str) -> String {
    let mut in_word = false;
    let mut next = |c: char| {
        let mapped = if in_word { lower_char(c) } else { upper_char(c) };
        in_word = is_word(c);
        mapped
    };
    text.chars().map(&mut next).collect()
}

/// Letters and decimal digits of all scripts.
fn is_word(c: char) -> bool {
    c.is_alphabetic()
        || c.is_ascii_digit()
        || (!c.is_ascii() && c.is_numeric() && super::pattern::is_digit(c))
}

/// `ascii`: the code of the first character.
pub fn ascii(text: &str) -> i32 {
    text.chars().next().map_or(0, |c| c as i32)
}

/// `chr`
pub fn chr(code: i64) -> Result<char> {
    let limit = |message: &str| SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message);
    match u32::try_from(code) {
        Err(_) => Err(limit("character number must be positive")),
        Ok(0) => Err(limit("null character not permitted")),
        Ok(code) => char::from_u32(code)
            .ok_or_else(|| limit(&format!("requested character not valid for encoding: {code}"))),
    }
}

/// `string_to_array`: the fields between separators; between all characters for None.
pub fn fields<'a>(text: &'a str, separator: Option<&str>) -> Vec<&'a str> {
    match separator {
        _ if text.is_empty() => vec![],
        None => text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect(),
        Some("") => vec![text],
        Some(separator) => text.split(separator).collect(),
    }
}
