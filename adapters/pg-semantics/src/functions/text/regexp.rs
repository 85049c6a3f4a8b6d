//! The functions of regular expressions.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::scalar::Kind::{Bool, Int4, Text, TextArray};
use super::super::scalar::{Function, Row, Value, on};
use super::pattern::{Found, Pattern, Scratch};
use super::pieces::char_len;
use super::syntax::{self, Flags};
use crate::error::{Result, SqlError, SqlState};

/// The functions.
pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "regexp_like",
        overloads: &[on(&[Text, Text], Bool, like), on(&[Text, Text, Text], Bool, like)],
    },
    Function {
        name: "regexp_match",
        overloads: &[
            on(&[Text, Text], TextArray, first_match),
            on(&[Text, Text, Text], TextArray, first_match),
        ],
    },
    // The list behind regexp_matches: the groups of each match, as texts of arrays.
    Function {
        name: "regexp_matches_list",
        overloads: &[
            on(&[Text, Text], TextArray, all_matches),
            on(&[Text, Text, Text], TextArray, all_matches),
        ],
    },
    Function {
        name: "regexp_replace",
        overloads: &[
            on(&[Text, Text, Text], Text, |r| replace(r, 1, Some(1), Flags::default())),
            on(&[Text, Text, Text, Text], Text, |r| replace(r, 1, None, Flags::read(r.text(3))?)),
            on(&[Text, Text, Text, Int4], Text, |r| replace(r, r.int(3), Some(1), Flags::default())),
            on(&[Text, Text, Text, Int4, Int4], Text, |r| {
                replace(r, r.int(3), Some(r.int(4)), Flags::default())
            }),
            on(&[Text, Text, Text, Int4, Int4, Text], Text, |r| {
                replace(r, r.int(3), Some(r.int(4)), not_global("regexp_replace", r.text(5))?)
            }),
        ],
    },
    Function {
        name: "regexp_count",
        overloads: &[
            on(&[Text, Text], Int4, count),
            on(&[Text, Text, Int4], Int4, count),
            on(&[Text, Text, Int4, Text], Int4, count),
        ],
    },
    Function {
        name: "regexp_substr",
        overloads: &[
            on(&[Text, Text], Text, substr),
            on(&[Text, Text, Int4], Text, substr),
            on(&[Text, Text, Int4, Int4], Text, substr),
            on(&[Text, Text, Int4, Int4, Text], Text, substr),
            on(&[Text, Text, Int4, Int4, Text, Int4], Text, substr),
        ],
    },
    Function {
        name: "regexp_instr",
        overloads: &[
            on(&[Text, Text], Int4, instr),
            on(&[Text, Text, Int4], Int4, instr),
            on(&[Text, Text, Int4, Int4], Int4, instr),
            on(&[Text, Text, Int4, Int4, Int4], Int4, instr),
            on(&[Text, Text, Int4, Int4, Int4, Text], Int4, instr),
            on(&[Text, Text, Int4, Int4, Int4, Text, Int4], Int4, instr),
        ],
    },
    Function {
        name: "regexp_split_to_array",
        overloads: &[on(&[Text, Text], TextArray, split), on(&[Text, Text, Text], TextArray, split)],
    },
    // The operators ~, ~* and SIMILAR TO are calls of these.
    Function {
        name: "textregexeq",
        overloads: &[on(&[Text, Text], Bool, |r| is_match(r, Flags::default()))],
    },
    Function {
        name: "texticregexeq",
        overloads: &[on(&[Text, Text], Bool, |r| {
            is_match(r, Flags { ignore_case: true, ..Flags::default() })
        })],
    },
    Function {
        name: "similar_to_escape",
        overloads: &[
            on(&[Text], Text, |r| Ok(syntax::similar(r.text(0), Some('\\'))?.into())),
            on(&[Text, Text], Text, similar_with_escape),
        ],
    },
];

fn similar_with_escape<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let mut escape = row.text(1).chars();
    let (first, second) = (escape.next(), escape.next());
    if second.is_some() {
        let error = SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string");
        return Err(error.with_hint("Escape string must be empty or one character."));
    }
    Ok(syntax::similar(row.text(0), first)?.into())
}

fn is_match<'a>(row: &Row<'a>, flags: Flags) -> Result<Value<'a>> {
    let pattern = row.patterns().get(row.text(1), flags)?;
    Ok(pattern.is_match(row.text(0)).into())
}

/// The compiled pattern, for a function that returns parts of a match.
fn compiled(row: &Row, flags: Flags) -> Result<Arc<Pattern>> {
    let pattern = row.patterns().get(row.text(1), flags)?;
    pattern.check_pieces()?;
    Ok(pattern)
}

fn not_global(function: &str, letters: &str) -> Result<Flags> {
    let flags = Flags::read(letters)?;
    if flags.global {
        let message = format!("{function}() does not support the \"global\" option");
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok(flags)
}

fn flags_at(row: &Row, n: usize, function: &str) -> Result<Flags> {
    if row.len() > n { not_global(function, row.text(n)) } else { Ok(Flags::default()) }
}

fn like<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    is_match(row, flags_at(row, 2, "regexp_like")?)
}

/// `substring(text from pattern)`: the first group, or the match if there is none.
pub fn substring<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let pattern = compiled(row, Flags::default())?;
    let text = row.text(0);
    let Some(found) = pattern.find_at(text, 0, &mut Scratch::default()) else { return Ok(Value::Null) };
    let piece =
        if pattern.groups() == 0 { Some(found.whole) } else { found.groups.first().cloned().flatten() };
    Ok(piece.map(|range| &text[range]).into())
}

/// The groups of a match, or the whole match if the pattern has none.
fn pieces<'a>(text: &'a str, found: &Found) -> Vec<Option<Cow<'a, str>>> {
    if found.groups.is_empty() {
        return vec![Some(Cow::Borrowed(&text[found.whole.clone()]))];
    }
    found.groups.iter().map(|group| group.clone().map(|range| Cow::Borrowed(&text[range]))).collect()
}

fn first_match<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let flags = if row.len() > 2 { Flags::read(row.text(2))? } else { Flags::default() };
    if flags.global {
        let message = "regexp_match() does not support the \"global\" option";
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .with_hint("Use the regexp_matches function instead."));
    }
    let pattern = compiled(row, flags)?;
    let found = pattern.find_at(row.text(0), 0, &mut Scratch::default());
    Ok(found.map(|found| pieces(row.text(0), &found)).into())
}

fn all_matches<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let flags = if row.len() > 2 { Flags::read(row.text(2))? } else { Flags::default() };
    let pattern = compiled(row, flags)?;
    let found = pattern.matches(row.text(0), 0, flags.global, false);
    let text = |found: &Found| {
        let mut out = vec![b'{'];
        for (n, piece) in pieces(row.text(0), found).iter().enumerate() {
            out.extend_from_slice(if n > 0 { b"," } else { b"" });
            match piece {
                Some(piece) => pg_values::array::push_item(piece, &mut out),
                None => out.extend_from_slice(b"NULL"),
            }
        }
        out.push(b'}');
        Some(Cow::Owned(String::from_utf8_lossy(&out).into_owned()))
    };
    Ok(Value::Texts(found.iter().map(text).collect()))
}

/// Byte of the character with this number, from 1.
fn start_byte(text: &str, start: i64, what: &str) -> Result<usize> {
    if start < 1 {
        return Err(out_of_place(what, start));
    }
    let characters = usize::try_from(start - 1).unwrap_or(usize::MAX);
    let at = text.char_indices().nth(characters).map(|(at, _)| at);
    // There is no match past the end.
    Ok(at.unwrap_or(if characters == char_len(text) { text.len() } else { text.len() + 1 }))
}

fn out_of_place(what: &str, value: i64) -> SqlError {
    SqlError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("invalid value for parameter \"{what}\": {value}"),
    )
}

fn replace<'a>(row: &Row<'a>, start: i64, nth: Option<i64>, flags: Flags) -> Result<Value<'a>> {
    let text = row.text(0);
    let from = start_byte(text, start, "start")?;
    let nth = nth.unwrap_or(i64::from(!flags.global));
    if nth < 0 {
        return Err(out_of_place("n", nth));
    }
    let pattern = compiled(row, flags)?;
    Ok(pattern.replace(text, row.text(2), from, nth)?.into())
}

fn count<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let start = if row.len() > 2 { row.int(2) } else { 1 };
    let from = start_byte(row.text(0), start, "start")?;
    let pattern = compiled(row, flags_at(row, 3, "regexp_count")?)?;
    Ok(pattern.matches(row.text(0), from, true, false).len().into())
}

/// The group with this number of the n-th match; 0 for the whole match.
fn nth(row: &Row, flags: Flags, group: i64) -> Result<Option<std::ops::Range<usize>>> {
    let start = if row.len() > 2 { row.int(2) } else { 1 };
    let n = if row.len() > 3 { row.int(3) } else { 1 };
    let from = start_byte(row.text(0), start, "start")?;
    if n < 1 {
        return Err(out_of_place("n", n));
    }
    if group < 0 {
        return Err(out_of_place("subexpr", group));
    }
    let pattern = compiled(row, flags)?;
    let matches = pattern.matches(row.text(0), from, n > 1, false);
    let Some(found) = usize::try_from(n - 1).ok().and_then(|at| matches.into_iter().nth(at)) else {
        return Ok(None);
    };
    if group == 0 {
        return Ok(Some(found.whole));
    }
    Ok(usize::try_from(group - 1).ok().and_then(|at| found.groups.get(at).cloned()).flatten())
}

fn substr<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let group = if row.len() > 5 { row.int(5) } else { 0 };
    let found = nth(row, flags_at(row, 4, "regexp_substr")?, group)?;
    Ok(found.map(|range| &row.text(0)[range]).into())
}

fn instr<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let at_end = if row.len() > 4 { row.int(4) } else { 0 };
    if !matches!(at_end, 0 | 1) {
        return Err(out_of_place("endoption", at_end));
    }
    let group = if row.len() > 6 { row.int(6) } else { 0 };
    let found = nth(row, flags_at(row, 5, "regexp_instr")?, group)?;
    let at = found.map(|range| if at_end == 1 { range.end } else { range.start });
    Ok(at.map_or(0, |at| char_len(&row.text(0)[..at]) as i64 + 1).into())
}

fn split<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let text = row.text(0);
    let pattern = compiled(row, flags_at(row, 2, "regexp_split_to_array")?)?;
    let (mut fields, mut at) = (vec![], 0);
    for found in pattern.matches(text, 0, true, true) {
        fields.push(Some(Cow::Borrowed(&text[at..found.whole.start])));
        at = found.whole.end;
    }
    fields.push(Some(Cow::Borrowed(&text[at..])));
    Ok(Value::Texts(fields))
}
