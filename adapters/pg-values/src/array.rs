//! Arrays of one dimension as PostgreSQL writes them: `{1,"two words",NULL}`.

use std::borrow::Cow;

/// Why a text is not accepted as an array.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArrayFault {
    /// Not the text of an array.
    Malformed,
    /// An array of arrays, or one whose items are not counted from 1.
    Dimensions,
}

/// The items of the text of an array; None is null.
pub fn items(text: &str) -> Result<Vec<Option<Cow<'_, str>>>, ArrayFault> {
    let inside = text.trim_start_matches(is_space);
    if inside.starts_with('[') {
        return Err(ArrayFault::Dimensions);
    }
    let mut rest = inside.strip_prefix('{').ok_or(ArrayFault::Malformed)?.trim_start_matches(is_space);
    let mut items = vec![];
    if let Some(after) = rest.strip_prefix('}') {
        return if after.trim_matches(is_space).is_empty() { Ok(items) } else { Err(ArrayFault::Malformed) };
    }
    loop {
        let (item, after) = item(rest)?;
        items.push(item);
        let mut after = after.chars();
        match after.next() {
            Some(',') => rest = after.as_str().trim_start_matches(is_space),
            Some('}') if after.as_str().trim_matches(is_space).is_empty() => return Ok(items),
            _ => return Err(ArrayFault::Malformed),
        }
    }
}

/// White space, as C's `isspace` defines it.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// The first item of a text, and the rest after it, which begins with a comma or a brace.
fn item(text: &str) -> Result<(Option<Cow<'_, str>>, &str), ArrayFault> {
    match text.chars().next() {
        Some('"') => quoted(&text[1..]),
        Some('{') => Err(ArrayFault::Dimensions),
        _ => plain(text),
    }
}

fn quoted(text: &str) -> Result<(Option<Cow<'_, str>>, &str), ArrayFault> {
    let mut built = String::new();
    let mut rest = text;
    loop {
        let at = rest.find(['"', '\\']).ok_or(ArrayFault::Malformed)?;
        let (plain, special) = rest.split_at(at);
        if let Some(behind) = special.strip_prefix('"') {
            let item = if built.is_empty() { Cow::Borrowed(plain) } else { Cow::Owned(built + plain) };
            return Ok((Some(item), behind.trim_start_matches(is_space)));
        }
        built.push_str(plain);
        let escaped = special[1..].chars().next().ok_or(ArrayFault::Malformed)?;
        built.push(escaped);
        rest = &special[1 + escaped.len_utf8()..];
    }
}

fn plain(text: &str) -> Result<(Option<Cow<'_, str>>, &str), ArrayFault> {
    let end = end_of_plain(text)?;
    let (written, rest) = text.split_at(end);
    if !written.contains('\\') {
        let item = written.trim_end_matches(is_space);
        if item.is_empty() {
            return Err(ArrayFault::Malformed);
        }
        let null = item.eq_ignore_ascii_case("null");
        return Ok(((!null).then_some(Cow::Borrowed(item)), rest));
    }
    // Escaped characters are kept, trailing white space among them.
    let (mut item, mut kept) = (String::with_capacity(written.len()), 0);
    let mut characters = written.chars();
    while let Some(c) = characters.next() {
        let escaped = c == '\\';
        item.extend(if escaped { characters.next() } else { Some(c) });
        if escaped || !is_space(c) {
            kept = item.len();
        }
    }
    item.truncate(kept);
    Ok((Some(Cow::Owned(item)), rest))
}

/// The end of an item without quotes.
fn end_of_plain(text: &str) -> Result<usize, ArrayFault> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' | '}' => return Ok(at),
            '"' | '{' => return Err(ArrayFault::Malformed),
            _ => {}
        }
    }
    Err(ArrayFault::Malformed)
}

/// Appends an item, quoted where the text of an array needs it.
pub fn push_item(item: &str, out: &mut Vec<u8>) {
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || is_space(c);
    if !item.is_empty() && !item.contains(special) && !item.eq_ignore_ascii_case("null") {
        out.extend_from_slice(item.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in item.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}
