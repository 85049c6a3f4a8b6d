//! PostgreSQL's functions on text and bytea. The submodules implement them for one value.

pub mod coding;
pub mod pattern;
pub mod pieces;
mod quote;
pub mod syntax;

mod regexp;

use std::borrow::Cow;

use md5::{Digest, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use self::pieces::Ends;
use super::scalar::Kind::{Any, Bool, Bytea, Int4, Int8, Text, TextArray, Varchar};
use super::scalar::{Function, Row, Value, on, on_any, on_null};
use crate::error::{Result, SqlError, SqlState};

pub use regexp::FUNCTIONS as REGEXP;

/// The functions behind operators and casts.
pub const OPERATORS: &[Function] = &[
    Function {
        name: "textcat",
        overloads: &[on(&[Text, Text], Text, |r| {
            pieces::check_len(r.text(0).len() + r.text(1).len())?;
            Ok([r.text(0), r.text(1)].concat().into())
        })],
    },
    Function {
        name: "byteacat",
        overloads: &[on(&[Bytea, Bytea], Bytea, |r| {
            pieces::check_len(r.bytes(0).len() + r.bytes(1).len())?;
            Ok([r.bytes(0), r.bytes(1)].concat().into())
        })],
    },
    // A text of another type as plain text.
    Function { name: "plain_text", overloads: &[on(&[Any], Text, |r| Ok(r.text(0).into()))] },
    Function {
        name: "varchar",
        overloads: &[
            on(&[Text], Varchar, |r| Ok(r.text(0).into())),
            // Truncates, as a cast does; on assignment to a column a longer value is an error instead.
            on(&[Text, Int4], Varchar, |r| Ok(pieces::left(r.text(0), r.int(1)).into())),
        ],
    },
];

/// The functions.
pub const FUNCTIONS: &[Function] = &[
    Function { name: "length", overloads: LENGTH },
    Function {
        name: "char_length",
        overloads: &[on(&[Text], Int4, |r| Ok(pieces::char_len(r.text(0)).into()))],
    },
    Function {
        name: "character_length",
        overloads: &[on(&[Text], Int4, |r| Ok(pieces::char_len(r.text(0)).into()))],
    },
    Function {
        name: "octet_length",
        overloads: &[
            on(&[Text], Int4, |r| Ok(r.text(0).len().into())),
            on(&[Bytea], Int4, |r| Ok(r.bytes(0).len().into())),
        ],
    },
    Function {
        name: "bit_length",
        overloads: &[
            on(&[Text], Int4, |r| Ok((r.text(0).len() * 8).into())),
            on(&[Bytea], Int4, |r| Ok((r.bytes(0).len() * 8).into())),
        ],
    },
    Function { name: "substring", overloads: SUBSTRING },
    Function { name: "substr", overloads: SUBSTR },
    Function {
        name: "left",
        overloads: &[on(&[Text, Int4], Text, |r| Ok(pieces::left(r.text(0), r.int(1)).into()))],
    },
    Function {
        name: "right",
        overloads: &[on(&[Text, Int4], Text, |r| Ok(pieces::right(r.text(0), r.int(1)).into()))],
    },
    Function {
        name: "lpad",
        overloads: &[
            on(&[Text, Int4], Text, |r| pad(r, " ", true)),
            on(&[Text, Int4, Text], Text, |r| pad(r, r.text(2), true)),
        ],
    },
    Function {
        name: "rpad",
        overloads: &[
            on(&[Text, Int4], Text, |r| pad(r, " ", false)),
            on(&[Text, Int4, Text], Text, |r| pad(r, r.text(2), false)),
        ],
    },
    Function {
        name: "repeat",
        overloads: &[on(&[Text, Int4], Text, |r| Ok(pieces::repeat(r.text(0), r.int(1))?.into()))],
    },
    Function {
        name: "reverse",
        overloads: &[on(&[Text], Text, |r| Ok(r.text(0).chars().rev().collect::<String>().into()))],
    },
    Function {
        name: "replace",
        overloads: &[on(&[Text, Text, Text], Text, |r| {
            Ok(pieces::replace(r.text(0), r.text(1), r.text(2))?.into())
        })],
    },
    Function {
        name: "translate",
        overloads: &[on(&[Text, Text, Text], Text, |r| {
            Ok(pieces::translate(r.text(0), r.text(1), r.text(2)).into())
        })],
    },
    Function {
        name: "split_part",
        overloads: &[on(&[Text, Text, Int4], Text, |r| {
            Ok(pieces::split_part(r.text(0), r.text(1), r.int(2))?.into())
        })],
    },
    Function {
        name: "strpos",
        overloads: &[on(&[Text, Text], Int4, |r| Ok(pieces::position(r.text(0), r.text(1)).into()))],
    },
    Function {
        name: "position",
        overloads: &[
            on(&[Text, Text], Int4, |r| Ok(pieces::position(r.text(0), r.text(1)).into())),
            on(&[Bytea, Bytea], Int4, |r| Ok(pieces::position_bytes(r.bytes(0), r.bytes(1)).into())),
        ],
    },
    Function { name: "overlay", overloads: OVERLAY },
    Function {
        name: "btrim",
        overloads: &[
            on(&[Text], Text, |r| trim(r, Ends::Both)),
            on(&[Text, Text], Text, |r| trim(r, Ends::Both)),
            on(&[Bytea, Bytea], Bytea, |r| Ok(pieces::trim_bytes(r.bytes(0), r.bytes(1), Ends::Both).into())),
        ],
    },
    Function {
        name: "ltrim",
        overloads: &[
            on(&[Text], Text, |r| trim(r, Ends::Start)),
            on(&[Text, Text], Text, |r| trim(r, Ends::Start)),
            on(
                &[Bytea, Bytea],
                Bytea,
                |r| Ok(pieces::trim_bytes(r.bytes(0), r.bytes(1), Ends::Start).into()),
            ),
        ],
    },
    Function {
        name: "rtrim",
        overloads: &[
            on(&[Text], Text, |r| trim(r, Ends::End)),
            on(&[Text, Text], Text, |r| trim(r, Ends::End)),
            on(&[Bytea, Bytea], Bytea, |r| Ok(pieces::trim_bytes(r.bytes(0), r.bytes(1), Ends::End).into())),
        ],
    },
    Function { name: "initcap", overloads: &[on(&[Text], Text, |r| Ok(pieces::initcap(r.text(0)).into()))] },
    Function { name: "upper", overloads: &[on(&[Text], Text, |r| Ok(pieces::upper(r.text(0)).into()))] },
    Function { name: "lower", overloads: &[on(&[Text], Text, |r| Ok(pieces::lower(r.text(0)).into()))] },
    Function { name: "ascii", overloads: &[on(&[Text], Int4, |r| Ok(pieces::ascii(r.text(0)).into()))] },
    Function {
        name: "chr",
        overloads: &[on(&[Int4], Text, |r| Ok(pieces::chr(r.int(0))?.to_string().into()))],
    },
    Function {
        name: "to_hex",
        overloads: &[
            on(&[Int4], Text, |r| Ok(format!("{:x}", r.int(0) as i32).into())),
            on(&[Int8], Text, |r| Ok(format!("{:x}", r.int(0)).into())),
        ],
    },
    Function {
        name: "starts_with",
        overloads: &[on(&[Text, Text], Bool, |r| Ok(r.text(0).starts_with(r.text(1)).into()))],
    },
    Function { name: "concat", overloads: &[on_any(&[Any], Any, Text, concat)] },
    Function {
        name: "concat_ws",
        overloads: &[on_any(&[Text, Any], Any, Text, concat_ws), on_null(&[Text], Text, concat_ws)],
    },
    Function { name: "format", overloads: &[on_any(&[Text], Any, Text, format)] },
    Function { name: "quote_ident", overloads: &[on(&[Text], Text, |r| Ok(quote::ident(r.text(0)).into()))] },
    Function {
        name: "quote_literal",
        overloads: &[on(&[Any], Text, |r| Ok(quote::literal(r.text(0)).into()))],
    },
    Function {
        name: "quote_nullable",
        overloads: &[on_null(&[Any], Text, |r| {
            Ok(r.text_if(0).map_or("NULL".to_string(), quote::literal).into())
        })],
    },
    Function {
        name: "encode",
        overloads: &[on(&[Bytea, Text], Text, |r| {
            Ok(coding::encode(r.bytes(0), coding::coding(r.text(1))?)?.into())
        })],
    },
    Function {
        name: "decode",
        overloads: &[on(&[Text, Text], Bytea, |r| {
            Ok(coding::decode(r.text(0), coding::coding(r.text(1))?)?.into())
        })],
    },
    Function {
        name: "md5",
        overloads: &[
            on(&[Text], Text, |r| Ok(hex(&Md5::digest(r.text(0))).into())),
            on(&[Bytea], Text, |r| Ok(hex(&Md5::digest(r.bytes(0))).into())),
        ],
    },
    Function {
        name: "sha224",
        overloads: &[on(&[Bytea], Bytea, |r| Ok(Sha224::digest(r.bytes(0)).to_vec().into()))],
    },
    Function {
        name: "sha256",
        overloads: &[on(&[Bytea], Bytea, |r| Ok(Sha256::digest(r.bytes(0)).to_vec().into()))],
    },
    Function {
        name: "sha384",
        overloads: &[on(&[Bytea], Bytea, |r| Ok(Sha384::digest(r.bytes(0)).to_vec().into()))],
    },
    Function {
        name: "sha512",
        overloads: &[on(&[Bytea], Bytea, |r| Ok(Sha512::digest(r.bytes(0)).to_vec().into()))],
    },
    Function { name: "convert_from", overloads: &[on(&[Bytea, Text], Text, convert_from)] },
    Function {
        name: "convert_to",
        overloads: &[on(&[Text, Text], Bytea, |r| {
            utf8_only(r.text(1)).map(|()| r.text(0).as_bytes().into())
        })],
    },
    Function { name: "get_byte", overloads: &[on(&[Bytea, Int4], Int4, get_byte)] },
    Function {
        name: "like_escape",
        overloads: &[on(&[Text, Text], Text, |r| Ok(syntax::like_escape(r.text(0), r.text(1))?.into()))],
    },
    Function {
        name: "string_to_array",
        overloads: &[
            on_null(&[Text, Text], TextArray, string_to_array),
            on_null(&[Text, Text, Text], TextArray, string_to_array),
        ],
    },
];

const LENGTH: &[super::scalar::Overload] = &[
    on(&[Text], Int4, |r| Ok(pieces::char_len(r.text(0)).into())),
    on(&[Bytea], Int4, |r| Ok(r.bytes(0).len().into())),
    on(&[Bytea, Text], Int4, |r| {
        let Value::Text(text) = convert_from(r)? else { return Ok(Value::Null) };
        Ok(pieces::char_len(&text).into())
    }),
];

const SUBSTR: &[super::scalar::Overload] = &[
    on(&[Text, Int4], Text, |r| Ok(pieces::substring(r.text(0), r.int(1), None)?.into())),
    on(&[Text, Int4, Int4], Text, |r| Ok(pieces::substring(r.text(0), r.int(1), Some(r.int(2)))?.into())),
    on(&[Bytea, Int4], Bytea, |r| Ok(pieces::substring_bytes(r.bytes(0), r.int(1), None)?.into())),
    on(&[Bytea, Int4, Int4], Bytea, |r| {
        Ok(pieces::substring_bytes(r.bytes(0), r.int(1), Some(r.int(2)))?.into())
    }),
];

const SUBSTRING: &[super::scalar::Overload] = &[
    on(&[Text, Text], Text, regexp::substring),
    on(&[Text, Int4], Text, |r| Ok(pieces::substring(r.text(0), r.int(1), None)?.into())),
    on(&[Text, Int4, Int4], Text, |r| Ok(pieces::substring(r.text(0), r.int(1), Some(r.int(2)))?.into())),
    on(&[Bytea, Int4], Bytea, |r| Ok(pieces::substring_bytes(r.bytes(0), r.int(1), None)?.into())),
    on(&[Bytea, Int4, Int4], Bytea, |r| {
        Ok(pieces::substring_bytes(r.bytes(0), r.int(1), Some(r.int(2)))?.into())
    }),
];

const OVERLAY: &[super::scalar::Overload] = &[
    on(&[Text, Text, Int4], Text, |r| {
        let count = pieces::char_len(r.text(1)) as i64;
        Ok(pieces::overlay(r.text(0), r.text(1), r.int(2), count)?.into())
    }),
    on(&[Text, Text, Int4, Int4], Text, |r| {
        Ok(pieces::overlay(r.text(0), r.text(1), r.int(2), r.int(3))?.into())
    }),
    on(&[Bytea, Bytea, Int4], Bytea, |r| {
        let count = r.bytes(1).len() as i64;
        Ok(pieces::overlay_bytes(r.bytes(0), r.bytes(1), r.int(2), count)?.into())
    }),
    on(&[Bytea, Bytea, Int4, Int4], Bytea, |r| {
        Ok(pieces::overlay_bytes(r.bytes(0), r.bytes(1), r.int(2), r.int(3))?.into())
    }),
];

fn pad<'a>(row: &Row<'a>, fill: &str, at_start: bool) -> Result<Value<'a>> {
    let mut out = String::new();
    pieces::pad(row.text(0), row.int(1), fill, at_start, &mut out)?;
    Ok(out.into())
}

fn trim<'a>(row: &Row<'a>, ends: Ends) -> Result<Value<'a>> {
    let set = if row.len() > 1 { row.text(1) } else { " " };
    Ok(pieces::trim(row.text(0), set, ends).into())
}

fn concat<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    joined(row, "", 0)
}

fn concat_ws<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    match row.text_if(0) {
        None => Ok(Value::Null),
        Some(separator) => joined(row, separator, 1),
    }
}

fn joined<'a>(row: &Row<'a>, separator: &str, from: usize) -> Result<Value<'a>> {
    let texts: Vec<&str> = (from..row.len()).filter_map(|n| row.text_if(n)).collect();
    let bytes = texts.iter().map(|t| t.len() + separator.len()).fold(0usize, usize::saturating_add);
    pieces::check_len(bytes)?;
    Ok(texts.join(separator).into())
}

fn format<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let Some(pattern) = row.text_if(0) else { return Ok(Value::Null) };
    let args: Vec<Option<&str>> = (1..row.len()).map(|n| row.text_if(n)).collect();
    Ok(quote::format(pattern, &args)?.into())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|d| char::from(b"0123456789abcdef"[usize::from(d)]))
        .collect()
}

fn utf8_only(encoding: &str) -> Result<()> {
    if ["utf8", "utf-8", "unicode"].iter().any(|name| name.eq_ignore_ascii_case(encoding)) {
        return Ok(());
    }
    Err(SqlError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("invalid source encoding name \"{encoding}\": UTF8 is known"),
    ))
}

fn convert_from<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    utf8_only(row.text(1))?;
    let invalid = || {
        SqlError::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"")
    };
    let text = std::str::from_utf8(row.bytes(0)).ok().filter(|text| !text.contains('\0'));
    Ok(text.ok_or_else(invalid)?.into())
}

fn get_byte<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let (bytes, at) = (row.bytes(0), row.int(1));
    let byte = usize::try_from(at).ok().and_then(|at| bytes.get(at));
    match byte {
        Some(byte) => Ok(i64::from(*byte).into()),
        None => Err(SqlError::new(
            SqlState::ARRAY_SUBSCRIPT_ERROR,
            format!("index {at} out of valid range, 0..{}", bytes.len() as i64 - 1),
        )),
    }
}

fn string_to_array<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let Some(text) = row.text_if(0) else { return Ok(Value::Null) };
    let null = row.text_if(2);
    let fields = pieces::fields(text, row.text_if(1)).into_iter();
    Ok(Value::Texts(fields.map(|field| (Some(field) != null).then_some(Cow::Borrowed(field))).collect()))
}
