//! Errors of the parser: SQLSTATE, message, and position in the text.

use std::fmt;

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, TokenizerError};

/// Why a statement was refused before the catalog was consulted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// SQLSTATE: mostly `42601`, or `0A000` for known syntax that is not supported.
    pub sqlstate: &'static str,
    /// What is wrong, what was expected or what to do instead. Ends with the position where there is one.
    pub message: String,
    /// Line and column, both from 1, of the wrong token.
    pub location: Option<(u64, u64)>,
}

impl ParseError {
    pub(crate) fn new(sqlstate: &'static str, message: impl Into<String>, at: Location) -> ParseError {
        let mut message = message.into();
        let location = (at.line > 0).then_some((at.line, at.column));
        if let Some((line, column)) = location {
            message.push_str(&format!(" (line {line}, column {column})"));
        }
        ParseError { sqlstate, message, location }
    }

    /// An error without a position.
    pub(crate) fn plain(sqlstate: &'static str, message: impl Into<String>) -> ParseError {
        ParseError { sqlstate, message: message.into(), location: None }
    }

    pub(crate) fn unsupported(message: impl Into<String>, at: Location) -> ParseError {
        ParseError::new("0A000", message, at)
    }

    pub(crate) fn syntax(expected: &str, found: &sqlparser::tokenizer::TokenWithSpan) -> ParseError {
        let text = found.token.to_string();
        ParseError::new("42601", syntax_message(expected, &text), found.span.start)
    }

    /// Position of the wrong token, in characters from 1 over the whole text, as the PostgreSQL wire protocol counts.
    pub fn position_in(&self, sql: &str) -> Option<usize> {
        let (line, column) = self.location?;
        let mut characters = 0;
        for (number, text) in sql.split_inclusive('\n').enumerate() {
            if number as u64 + 1 == line {
                return Some(characters + column as usize);
            }
            characters += text.chars().count();
        }
        None
    }
}

/// String literals are not repeated in messages: they may be long, and they may be credentials.
fn syntax_message(expected: &str, found: &str) -> String {
    match found {
        "EOF" | "" => format!("syntax error at end of input: expected {expected}"),
        f if f.starts_with(['\'', '$']) || f.starts_with("E'") || f.starts_with("e'") => {
            format!("syntax error at or near a string literal: expected {expected}")
        }
        f => {
            let short: String = f.chars().take(60).collect();
            format!("syntax error at or near \"{short}\": expected {expected}")
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}

impl From<ParseError> for kernel::Error {
    /// For callers that return kernel errors; SQLSTATEs of the parser without a kernel counterpart become 22023.
    fn from(e: ParseError) -> kernel::Error {
        let kind = match e.sqlstate {
            "0A000" => kernel::ErrorKind::FeatureNotSupported,
            _ => kernel::ErrorKind::InvalidParameterValue,
        };
        kernel::Error::new(kind, e.message)
    }
}

impl From<TokenizerError> for ParseError {
    fn from(e: TokenizerError) -> ParseError {
        ParseError::new("42601", format!("syntax error: {}", e.message), e.location)
    }
}

impl From<ParserError> for ParseError {
    fn from(e: ParserError) -> ParseError {
        let text = match e {
            ParserError::RecursionLimitExceeded => return too_deep(),
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        };
        let (text, at) = split_location(&text);
        let message = match text.strip_prefix("Expected: ").and_then(|t| t.rsplit_once(", found: ")) {
            Some((expected, found)) => syntax_message(expected, found),
            None => format!("syntax error: {text}"),
        };
        ParseError::new("42601", message, at)
    }
}

pub(crate) fn too_deep() -> ParseError {
    ParseError::plain("54001", "statement too complex: expressions are nested too deeply or chained too long")
}

/// sqlparser appends ` at Line: l, Column: c` to its texts.
fn split_location(text: &str) -> (&str, Location) {
    let parse = || {
        let (head, tail) = text.rsplit_once(" at Line: ")?;
        let (line, column) = tail.split_once(", Column: ")?;
        Some((head, Location { line: line.parse().ok()?, column: column.trim().parse().ok()? }))
    };
    parse().unwrap_or((text, Location { line: 0, column: 0 }))
}
