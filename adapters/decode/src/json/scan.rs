//! Lexical rules of JSON (RFC 8259) over bytes that are known to be UTF-8: where a value ends, and whether it is well
//! formed. Nothing here allocates, recurses, or depends on columns.

use pg_values::json::find_special;

/// Containers may be nested this deep.
pub(crate) const DEPTH_MAX: u32 = 127;

/// Where and why bytes are not JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flaw {
    /// Byte at which reading stopped.
    pub at: usize,
    /// What was expected there.
    pub what: &'static str,
}

pub(crate) type Scan<T> = Result<T, Flaw>;

#[cold]
fn flaw<T>(at: usize, what: &'static str) -> Scan<T> {
    Err(Flaw { at, what })
}

/// Kinds of JSON values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

/// A complete value inside a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub kind: Kind,
    /// A string (this one, or one inside this container) has an escape.
    pub escaped: bool,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

impl Token {
    /// The bytes of the value; of a string with its quotes.
    pub fn raw<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        &message[self.start..self.end]
    }

    /// What is between the quotes of a string.
    pub fn inside<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        debug_assert_eq!(self.kind, Kind::String);
        &message[self.start + 1..self.end - 1]
    }
}

/// The first position from `at` on that is not white space.
#[inline]
pub(crate) fn skip_space(message: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = message.get(at) {
        at += 1;
    }
    at
}

/// The complete value that begins at `at`, inside `depth` containers.
#[inline]
pub(crate) fn token(message: &[u8], at: usize, depth: u32) -> Scan<Token> {
    let token = |kind, escaped, end| Ok(Token { kind, escaped, start: at, end });
    match message.get(at) {
        Some(b'"') => {
            let (quote, escaped) = string_end(message, at + 1)?;
            token(Kind::String, escaped, quote + 1)
        }
        Some(b'-' | b'0'..=b'9') => token(Kind::Number, false, number_end(message, at)?),
        Some(b'{') => {
            let (end, escaped) = container_end(message, at, depth)?;
            token(Kind::Object, escaped, end)
        }
        Some(b'[') => {
            let (end, escaped) = container_end(message, at, depth)?;
            token(Kind::Array, escaped, end)
        }
        Some(b't') => token(Kind::True, false, word_end(message, at, b"true")?),
        Some(b'f') => token(Kind::False, false, word_end(message, at, b"false")?),
        Some(b'n') => token(Kind::Null, false, word_end(message, at, b"null")?),
        _ => flaw(at, "a value"),
    }
}

fn word_end(message: &[u8], at: usize, word: &[u8]) -> Scan<usize> {
    match message[at..].starts_with(word) {
        true => Ok(at + word.len()),
        false => flaw(at, "a value"),
    }
}

/// Position of the closing quote of the string whose content begins at `at`, and whether the content has escapes.
#[inline]
pub(crate) fn string_end(message: &[u8], at: usize) -> Scan<(usize, bool)> {
    let end = find_special(message, at);
    match message.get(end) {
        Some(b'"') => Ok((end, false)),
        _ => escaped_string_end(message, end).map(|end| (end, true)),
    }
}

/// Goes on from the first backslash or control character.
fn escaped_string_end(message: &[u8], mut at: usize) -> Scan<usize> {
    loop {
        match message.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => at = escape_end(message, at)?,
            Some(_) => return flaw(at, "no unescaped control character in a string"),
            None => return flaw(at, "the closing quote of a string"),
        }
        at = find_special(message, at);
    }
}

fn escape_end(message: &[u8], backslash: usize) -> Scan<usize> {
    match message.get(backslash + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(backslash + 2),
        Some(b'u') => match message.get(backslash + 2..backslash + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(backslash + 6),
            _ => flaw(backslash, "four hexadecimal digits after \\u"),
        },
        _ => flaw(backslash, "a valid escape in a string"),
    }
}

fn digits_end(message: &[u8], mut at: usize) -> usize {
    while let Some(b'0'..=b'9') = message.get(at) {
        at += 1;
    }
    at
}

/// End of the number that begins at `start`.
#[inline]
pub(crate) fn number_end(message: &[u8], start: usize) -> Scan<usize> {
    let mut at = start + (message.get(start) == Some(&b'-')) as usize;
    let digits = at;
    at = digits_end(message, at);
    if at == digits {
        return flaw(at, "a digit");
    }
    if message[digits] == b'0' && at > digits + 1 {
        return flaw(digits, "no leading zero in a number");
    }
    if message.get(at) == Some(&b'.') {
        let fraction = at + 1;
        at = digits_end(message, fraction);
        if at == fraction {
            return flaw(at, "a digit after the point");
        }
    }
    if let Some(b'e' | b'E') = message.get(at) {
        let sign = at + 1;
        let exponent = sign + matches!(message.get(sign), Some(b'+' | b'-')) as usize;
        at = digits_end(message, exponent);
        if at == exponent {
            return flaw(at, "a digit in the exponent");
        }
    }
    Ok(at)
}

/// End of the array or object that begins at `at` and is itself inside `depth` containers, and whether a string in it has
/// escapes. Keeps its own stack: one bit a level, set for objects.
fn container_end(message: &[u8], mut at: usize, depth: u32) -> Scan<(usize, bool)> {
    let levels_max = DEPTH_MAX.saturating_sub(depth);
    let (mut levels, mut objects) = (0u32, 0u128);
    let mut any_escaped = false;
    loop {
        // `at` is at the first byte of a value.
        match message.get(at) {
            Some(&open @ (b'{' | b'[')) => {
                if levels == levels_max {
                    return flaw(at, "no deeper nesting than 127 levels");
                }
                levels += 1;
                objects = objects << 1 | (open == b'{') as u128;
                at = skip_space(message, at + 1);
                let close = if open == b'{' { b'}' } else { b']' };
                if message.get(at) != Some(&close) {
                    if open == b'{' {
                        at = key_end(message, at, &mut any_escaped)?;
                    }
                    continue;
                }
            }
            Some(b'"') => {
                let (quote, escaped) = string_end(message, at + 1)?;
                any_escaped |= escaped;
                at = skip_space(message, quote + 1);
            }
            Some(b'-' | b'0'..=b'9') => at = skip_space(message, number_end(message, at)?),
            Some(b't') => at = skip_space(message, word_end(message, at, b"true")?),
            Some(b'f') => at = skip_space(message, word_end(message, at, b"false")?),
            Some(b'n') => at = skip_space(message, word_end(message, at, b"null")?),
            _ => return flaw(at, "a value"),
        }
        // `at` is after a value, or at the bracket that closes an empty container.
        loop {
            let in_object = objects & 1 == 1;
            match message.get(at) {
                Some(b'}') if in_object => {}
                Some(b']') if !in_object => {}
                Some(b',') => {
                    at = skip_space(message, at + 1);
                    if in_object {
                        at = key_end(message, at, &mut any_escaped)?;
                    }
                    break;
                }
                _ => return flaw(at, if in_object { "a comma or }" } else { "a comma or ]" }),
            }
            levels -= 1;
            objects >>= 1;
            at += 1;
            if levels == 0 {
                return Ok((at, any_escaped));
            }
            at = skip_space(message, at);
        }
    }
}

/// Passes over a key and its colon, to the first byte of the value.
fn key_end(message: &[u8], at: usize, any_escaped: &mut bool) -> Scan<usize> {
    let (_, escaped, value) = key(message, at)?;
    *any_escaped |= escaped;
    Ok(value)
}

/// Reads a key at `at`: the position of its closing quote, whether it has escapes, and the first byte of the value.
#[inline]
pub(crate) fn key(message: &[u8], at: usize) -> Scan<(usize, bool, usize)> {
    if message.get(at) != Some(&b'"') {
        return flaw(at, "a key in quotes");
    }
    let (quote, escaped) = string_end(message, at + 1)?;
    let colon = skip_space(message, quote + 1);
    if message.get(colon) != Some(&b':') {
        return flaw(colon, "a colon after the key");
    }
    Ok((quote, escaped, skip_space(message, colon + 1)))
}

/// Why the content of a string that is lexically sound has no text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LoneSurrogate;

/// Appends the text that the content of a string stands for. Escapes must be lexically sound ([`string_end`] saw to it).
pub(crate) fn unescape(mut content: &[u8], text: &mut Vec<u8>) -> Result<(), LoneSurrogate> {
    while let Some(backslash) = content.iter().position(|&b| b == b'\\') {
        text.extend_from_slice(&content[..backslash]);
        let escape = content[backslash + 1];
        content = &content[backslash + 2..];
        let byte = match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, rest) = unescape_unicode(content)?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                content = rest;
                continue;
            }
            itself => itself,
        };
        text.push(byte);
    }
    text.extend_from_slice(content);
    Ok(())
}

/// The character whose four digits `content` begins with, and what comes after it; two escapes make a surrogate pair.
fn unescape_unicode(content: &[u8]) -> Result<(char, &[u8]), LoneSurrogate> {
    let unit = hex4(content);
    let rest = &content[4..];
    if let Some(character) = char::from_u32(unit) {
        return Ok((character, rest));
    }
    if unit >= 0xdc00 || !rest.starts_with(b"\\u") {
        return Err(LoneSurrogate);
    }
    let low = hex4(&rest[2..]);
    if !(0xdc00..0xe000).contains(&low) {
        return Err(LoneSurrogate);
    }
    let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    Ok((char::from_u32(code).expect("a surrogate pair is a character"), &rest[6..]))
}

fn hex4(digits: &[u8]) -> u32 {
    let digit = |b: &u8| (*b as char).to_digit(16).expect("checked to be hexadecimal");
    digits[..4].iter().fold(0, |unit, b| unit << 4 | digit(b))
}
