//! What the parser refuses: the kernel's error with the place in the text.

use kernel::{Error, SqlState, TextPosition};
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, TokenWithSpan, TokenizerError};

/// An error that blames the token at this place. The message ends with the place, if there is one.
pub(crate) fn at(sqlstate: SqlState, message: impl Into<String>, at: Location) -> Error {
    let message = message.into();
    let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
    match at.line {
        0 => Error::new(sqlstate, message),
        line => Error::new(sqlstate, format!("{message} (line {line}, column {})", at.column))
            .with_position(TextPosition::new(number(line), number(at.column))),
    }
}

/// What is understood and not supported.
pub(crate) fn unsupported(message: impl Into<String>, place: Location) -> Error {
    at(SqlState::FEATURE_NOT_SUPPORTED, message, place)
}

/// Something else was expected.
pub(crate) fn syntax(expected: &str, found: &TokenWithSpan) -> Error {
    at(SqlState::SYNTAX_ERROR, syntax_message(expected, &found.token.to_string()), found.span.start)
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

/// An error of sqlparser's tokenizer.
pub(crate) fn tokenizer(error: TokenizerError) -> Error {
    at(SqlState::SYNTAX_ERROR, format!("syntax error: {}", error.message), error.location)
}

/// An error of sqlparser's parser.
pub(crate) fn parser(error: ParserError) -> Error {
    let text = match error {
        ParserError::RecursionLimitExceeded => return too_deep(),
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
    };
    let (text, place) = split_location(&text);
    let message = match text.strip_prefix("Expected: ").and_then(|t| t.rsplit_once(", found: ")) {
        Some((expected, found)) => syntax_message(expected, found),
        None => format!("syntax error: {text}"),
    };
    at(SqlState::SYNTAX_ERROR, message, place)
}

/// What nests beyond the limits.
pub(crate) fn too_deep() -> Error {
    let message = "statement too complex: expressions are nested too deeply or chained too long";
    Error::new(SqlState::STATEMENT_TOO_COMPLEX, message)
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
