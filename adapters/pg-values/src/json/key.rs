//! A jsonb value as bytes that sort as the values do and are equal if the values are: the key for sorting and grouping.
//! [`super::compare`] defines the order.

use super::Json;

/// Ranks of nested values. At the top level an empty array comes first, and other arrays after all scalars.
const EMPTY_ARRAY: u8 = 0;
const NULL: u8 = 1;
const STRING: u8 = 2;
const NUMBER: u8 = 3;
const BOOL: u8 = 4;
const ARRAY: u8 = 5;
const OBJECT: u8 = 6;

/// Signs of numbers.
const NEGATIVE: u8 = 0;
const ZERO: u8 = 1;
const POSITIVE: u8 = 2;

/// Appends the key of a document.
pub fn append_key(document: &Json, out: &mut Vec<u8>) {
    match document {
        Json::Array(items) if items.is_empty() => out.push(EMPTY_ARRAY),
        other => append(other, out),
    }
}

fn append(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.push(NULL),
        Json::Bool(truth) => out.extend([BOOL, u8::from(*truth)]),
        Json::String(text) => {
            out.push(STRING);
            append_text(text, out);
        }
        Json::Number(digits) => {
            out.push(NUMBER);
            append_number(digits, out);
        }
        Json::Array(items) => {
            append_count(ARRAY, items.len(), out);
            items.iter().for_each(|item| append(item, out));
        }
        Json::Object(members) => {
            append_count(OBJECT, members.len(), out);
            for (key, value) in members {
                append_text(key, out);
                append(value, out);
            }
        }
    }
}

/// Of two containers, the one with more entries is the greater.
fn append_count(rank: u8, count: usize, out: &mut Vec<u8>) {
    out.push(rank);
    out.extend((count as u64).to_be_bytes());
}

/// A text contains no zero byte.
fn append_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// A number as `numeric` prints it: its sign, the number of digits before the point, and the digits from the first to
/// the last that is not zero. For a negative number all bits are inverted.
fn append_number(written: &str, out: &mut Vec<u8>) {
    let (negative, unsigned) = written.strip_prefix('-').map_or((false, written), |rest| (true, rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let Some(first) = digits().position(|digit| digit != b'0') else { return out.push(ZERO) };
    let last = whole.len() + fraction.len() - digits().rev().position(|digit| digit != b'0').unwrap_or(0);
    out.push(if negative { NEGATIVE } else { POSITIVE });
    let start = out.len();
    let before_point = whole.len() as i64 - first as i64;
    out.extend((before_point.wrapping_add(i64::MAX) as u64).to_be_bytes());
    out.extend(digits().take(last).skip(first));
    out.push(0);
    if negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}
