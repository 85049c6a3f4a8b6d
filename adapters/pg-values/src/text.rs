//! Parses booleans, uuids and bytea.

use crate::Fault;
use crate::number::trim;

/// The spellings that PostgreSQL accepts, in any case.
pub fn boolean(text: &[u8]) -> Result<bool, Fault> {
    const TRUE: [&[u8]; 6] = [b"true", b"t", b"yes", b"y", b"on", b"1"];
    const FALSE: [&[u8]; 6] = [b"false", b"f", b"no", b"n", b"off", b"0"];
    let text = trim(text);
    let is_one_of = |words: [&[u8]; 6]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match () {
        () if is_one_of(TRUE) => Ok(true),
        () if is_one_of(FALSE) => Ok(false),
        () => Err(Fault::Invalid),
    }
}

/// The canonical text of a uuid: 32 hexadecimal digits in lower case, grouped 8-4-4-4-12. Like PostgreSQL, accepts
/// capitals, surrounding braces, and a hyphen after any four digits or none.
pub fn uuid(text: &[u8]) -> Result<[u8; 36], Fault> {
    let text = trim(text);
    let text = text.strip_prefix(b"{").and_then(|t| t.strip_suffix(b"}")).unwrap_or(text);
    let mut canonical = [b'-'; 36];
    let (mut at, mut digits, mut hyphen_allowed) = (0, 0, false);
    for &byte in text {
        if byte == b'-' && hyphen_allowed {
            hyphen_allowed = false;
            continue;
        }
        if !byte.is_ascii_hexdigit() || digits == 32 {
            return Err(Fault::Invalid);
        }
        if matches!(at, 8 | 13 | 18 | 23) {
            at += 1;
        }
        canonical[at] = byte.to_ascii_lowercase();
        at += 1;
        digits += 1;
        hyphen_allowed = digits % 4 == 0 && digits < 32;
    }
    if digits == 32 { Ok(canonical) } else { Err(Fault::Invalid) }
}

/// Appends the bytes of a bytea from its text: `\x` and hexadecimal digits (white space between bytes allowed), else
/// the text's own bytes.
pub fn bytea(text: &[u8], bytes: &mut Vec<u8>) -> Result<(), Fault> {
    let Some(hex) = text.strip_prefix(b"\\x") else {
        bytes.extend_from_slice(text);
        return Ok(());
    };
    let start = bytes.len();
    let mut high = None;
    for &byte in hex {
        let Some(digit) = (byte as char).to_digit(16) else {
            if byte.is_ascii_whitespace() && high.is_none() {
                continue;
            }
            bytes.truncate(start);
            return Err(Fault::Invalid);
        };
        match high.take() {
            None => high = Some(digit as u8),
            Some(high) => bytes.push(high << 4 | digit as u8),
        }
    }
    if high.is_some() {
        bytes.truncate(start);
        return Err(Fault::Invalid);
    }
    Ok(())
}
