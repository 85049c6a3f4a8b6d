//! `encode` and `decode`: bytes as text in base64, hex or escape.

use crate::error::{Result, SqlError, SqlState};

use super::pieces::check_len;

/// A form of bytes as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Coding {
    Base64,
    Hex,
    Escape,
}

/// The form of this name.
pub fn coding(name: &str) -> Result<Coding> {
    match () {
        () if name.eq_ignore_ascii_case("base64") => Ok(Coding::Base64),
        () if name.eq_ignore_ascii_case("hex") => Ok(Coding::Hex),
        () if name.eq_ignore_ascii_case("escape") => Ok(Coding::Escape),
        () => Err(invalid(format!("unrecognized encoding: \"{name}\""))),
    }
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of a line of base64.
const LINE: usize = 76;

/// Bytes as text.
pub fn encode(bytes: &[u8], coding: Coding) -> Result<String> {
    let factor = match coding {
        Coding::Base64 => 2,
        Coding::Hex => 2,
        Coding::Escape => 4,
    };
    check_len(bytes.len().saturating_mul(factor))?;
    Ok(match coding {
        Coding::Base64 => base64(bytes),
        Coding::Hex => bytes
            .iter()
            .flat_map(|b| [b >> 4, b & 15])
            .map(|d| char::from(b"0123456789abcdef"[usize::from(d)]))
            .collect(),
        Coding::Escape => escape(bytes),
    })
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + bytes.len() / 57 + 4);
    let mut column = 0;
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |g, b| g << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        // PostgreSQL breaks a full line before the next group.
        if column == LINE {
            text.push('\n');
            column = 0;
        }
        for at in 0..4 {
            let digit = (group >> (18 - 6 * at) & 63) as usize;
            text.push(if at <= chunk.len() { char::from(ALPHABET[digit]) } else { '=' });
        }
        column += 4;
    }
    if column == LINE && bytes.len().is_multiple_of(3) && !bytes.is_empty() {
        text.push('\n');
    }
    text
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0 | 0x80.. => {
                text.push('\\');
                text.extend([byte >> 6, byte >> 3 & 7, byte & 7].map(|d| char::from(b'0' + d)));
            }
            byte => text.push(char::from(byte)),
        }
    }
    text
}

/// Text as bytes.
pub fn decode(text: &str, coding: Coding) -> Result<Vec<u8>> {
    match coding {
        Coding::Base64 => from_base64(text),
        Coding::Hex => from_hex(text),
        Coding::Escape => from_escape(text.as_bytes()),
    }
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let digit = |c: char| {
        c.to_digit(16).map(|d| d as u8).ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")))
    };
    // White space is allowed between bytes; within one, PostgreSQL reports it as an invalid digit.
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if matches!(c, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let high = digit(c)?;
        let low = rest.next().ok_or_else(|| invalid("invalid hexadecimal data: odd number of digits"))?;
        bytes.push(high << 4 | digit(low)?);
    }
    Ok(bytes)
}

fn from_escape(text: &[u8]) -> Result<Vec<u8>> {
    let wrong =
        || SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => return Err(wrong()),
            (byte, tail) => {
                bytes.push(*byte);
                tail
            }
        };
    }
    Ok(bytes)
}

fn from_base64(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut position, mut padding) = (0u32, 0, 0);
    for c in text.chars() {
        let digit = match c {
            ' ' | '\t' | '\n' | '\r' => continue,
            '=' => {
                // One or two padding characters end the text, after three or two digits of a group.
                if padding == 0 {
                    match position {
                        2 => padding = 1,
                        3 => padding = 2,
                        _ => return Err(invalid("unexpected \"=\" while decoding base64 sequence")),
                    }
                }
                0
            }
            c => match ALPHABET.iter().position(|a| char::from(*a) == c) {
                Some(digit) => digit as u32,
                None => {
                    return Err(invalid(format!(
                        "invalid symbol \"{c}\" found while decoding base64 sequence"
                    )));
                }
            },
        };
        group = group << 6 | digit;
        position += 1;
        if position == 4 {
            bytes.push((group >> 16) as u8);
            if padding == 0 || padding > 1 {
                bytes.push((group >> 8) as u8);
            }
            if padding == 0 || padding > 2 {
                bytes.push(group as u8);
            }
            (group, position) = (0, 0);
        }
    }
    if position != 0 {
        return Err(invalid("invalid base64 end sequence")
            .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted."));
    }
    Ok(bytes)
}
