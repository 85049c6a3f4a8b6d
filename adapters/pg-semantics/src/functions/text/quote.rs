//! `quote_ident`, `quote_literal` and `format`.

use std::borrow::Cow;

use super::pieces::check_len;
use crate::error::{Result, SqlError, SqlState};

/// A name as SQL requires it, quoted if necessary.
pub fn ident(name: &str) -> Cow<'_, str> {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain && KEYWORDS.binary_search(&name).is_err() {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// A text as a literal of SQL.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// `format(pattern, …)`. Arguments are texts; None is null.
pub fn format(pattern: &str, args: &[Option<&str>]) -> Result<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut next = 0;
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let spec = Spec::read(&mut rest)?;
        let (width, left) = spec.width(args, &mut next)?;
        let value = argument(args, spec.position, &mut next)?;
        let text = converted(spec.conversion, value)?;
        let padding = width.saturating_sub(text.chars().count());
        check_len(out.len().saturating_add(text.len()).saturating_add(padding))?;
        if !left {
            out.extend(std::iter::repeat_n(' ', padding));
        }
        out.push_str(&text);
        if left {
            out.extend(std::iter::repeat_n(' ', padding));
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn wrong(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn unterminated() -> SqlError {
    wrong("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".")
}

fn argument<'a>(
    args: &[Option<&'a str>],
    position: Option<usize>,
    next: &mut usize,
) -> Result<Option<&'a str>> {
    if let Some(position) = position {
        *next = position;
    } else {
        *next += 1;
    }
    args.get(*next - 1).copied().ok_or_else(|| wrong("too few arguments for format()"))
}

fn converted(conversion: char, value: Option<&str>) -> Result<Cow<'_, str>> {
    match (conversion, value) {
        ('s', value) => Ok(Cow::Borrowed(value.unwrap_or(""))),
        ('I', Some(name)) => Ok(ident(name)),
        ('I', None) => Err(SqlError::new(
            SqlState::NULL_VALUE_NOT_ALLOWED,
            "null values cannot be formatted as an SQL identifier",
        )),
        ('L', value) => Ok(Cow::Owned(value.map_or("NULL".to_string(), literal))),
        (other, _) => Err(wrong(format!("unrecognized format() type specifier \"{other}\""))
            .with_hint("For a single \"%\" use \"%%\".")),
    }
}

enum Width {
    None,
    Fixed(usize),
    /// From an argument, with or without its position.
    Argument(Option<usize>),
}

struct Spec {
    position: Option<usize>,
    left: bool,
    width: Width,
    conversion: char,
}

impl Spec {
    /// The specification after `%`: `[position$][-][width]conversion`.
    fn read(rest: &mut &str) -> Result<Spec> {
        let mut spec = Spec { position: None, left: false, width: Width::None, conversion: 's' };
        let first = number(rest)?;
        if let (Some(position), Some(after)) = (first, rest.strip_prefix('$')) {
            spec.position = Some(checked_position(position)?);
            *rest = after;
        } else if let Some(width) = first {
            spec.width = Width::Fixed(width);
        }
        if !matches!(spec.width, Width::Fixed(_)) {
            while let Some(after) = rest.strip_prefix('-') {
                spec.left = true;
                *rest = after;
            }
            if let Some(after) = rest.strip_prefix('*') {
                *rest = after;
                let position = number(rest)?;
                if position.is_some() {
                    *rest = rest
                        .strip_prefix('$')
                        .ok_or_else(|| wrong("width argument position must be ended by \"$\""))?;
                }
                spec.width = Width::Argument(position.map(checked_position).transpose()?);
            } else if let Some(width) = number(rest)? {
                spec.width = Width::Fixed(width);
            }
        }
        spec.conversion = rest.chars().next().ok_or_else(unterminated)?;
        *rest = &rest[spec.conversion.len_utf8()..];
        Ok(spec)
    }

    /// Least number of characters, and whether the text is left-aligned.
    fn width(&self, args: &[Option<&str>], next: &mut usize) -> Result<(usize, bool)> {
        let position = match self.width {
            Width::None => return Ok((0, self.left)),
            Width::Fixed(width) => return Ok((width, self.left)),
            Width::Argument(position) => position,
        };
        let Some(text) = argument(args, position, next)? else { return Ok((0, self.left)) };
        let width: i32 = text.trim().parse().map_err(|_| {
            SqlError::new(
                SqlState::INVALID_TEXT_REPRESENTATION,
                format!("invalid input syntax for type integer: \"{text}\""),
            )
        })?;
        Ok((width.unsigned_abs() as usize, self.left || width < 0))
    }
}

fn checked_position(position: usize) -> Result<usize> {
    if position == 0 {
        return Err(wrong("format specifies argument 0, but arguments are numbered from 1"));
    }
    Ok(position)
}

fn number(rest: &mut &str) -> Result<Option<usize>> {
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    if len == 0 {
        return Ok(None);
    }
    let value: i32 = rest[..len]
        .parse()
        .map_err(|_| SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "number is out of range"))?;
    *rest = &rest[len..];
    if rest.is_empty() {
        return Err(unterminated());
    }
    Ok(Some(value.unsigned_abs() as usize))
}

/// Words that must be quoted as names: all keywords but the unreserved ones.
const KEYWORDS: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];
