//! Names: how identifiers are folded, quoted and qualified.

use kernel::{Result, SqlState};
use sqlparser::ast::{Ident, ObjectName};
use sqlparser::keywords::{
    Keyword, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_IDENTIFIER, RESERVED_FOR_TABLE_ALIAS,
};
use sqlparser::tokenizer::{Location, Token};

use crate::error;

/// Longest name, in bytes, as in PostgreSQL.
pub const NAME_BYTES_MAX: usize = 63;

/// An identifier as it is stored: lower case unless it was quoted.
pub fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

/// The name of a table or pipeline. There is one schema, `public`; naming it is optional.
pub fn relation(name: &ObjectName) -> Result<String> {
    let parts: Option<Vec<String>> = name.0.iter().map(|p| p.as_ident().map(fold)).collect();
    let at = name.0.first().and_then(|p| p.as_ident()).map_or(Location::empty(), |i| i.span.start);
    let parts =
        parts.ok_or_else(|| error::at(SqlState::SYNTAX_ERROR, format!("\"{name}\" is not a name"), at))?;
    match parts.as_slice() {
        [name] => checked(name.clone(), at),
        [schema, name] | [_, schema, name] if schema == "public" => checked(name.clone(), at),
        [.., schema, _] => {
            let message = format!("schema \"{schema}\" does not exist: all tables are in \"public\"");
            Err(error::at(SqlState::INVALID_SCHEMA_NAME, message, at))
        }
        [] => Err(error::at(SqlState::SYNTAX_ERROR, "a name is missing", at)),
    }
}

/// Refuses names that are empty or too long.
pub(crate) fn checked(name: String, at: Location) -> Result<String> {
    if name.is_empty() {
        return Err(error::at(SqlState::SYNTAX_ERROR, "zero-length name", at));
    }
    if name.len() > NAME_BYTES_MAX {
        let message = format!("name \"{name}\" is longer than {NAME_BYTES_MAX} bytes");
        return Err(error::at(SqlState::NAME_TOO_LONG, message, at));
    }
    Ok(name)
}

/// A stored name as SQL that folds back to it.
pub fn quote(name: &str) -> String {
    if is_plain(name) { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Names separated by commas, each quoted where it must be.
pub fn quote_list(names: &[String]) -> String {
    names.iter().map(|n| quote(n)).collect::<Vec<_>>().join(", ")
}

/// Text as a string literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn is_plain(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !is_reserved(name)
}

/// Words that begin or end a clause where a name may appear, for sqlparser or for our own grammar.
fn is_reserved(name: &str) -> bool {
    const OURS: [&str; 20] = [
        "if",
        "primary",
        "shard",
        "sort",
        "unique",
        "foreign",
        "check",
        "exclude",
        "key",
        "index",
        "fulltext",
        "constraint",
        "like",
        "only",
        "table",
        "values",
        "excluded",
        "null",
        "true",
        "false",
    ];
    let keyword = match Token::make_word(name, None) {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    OURS.contains(&name)
        || RESERVED_FOR_COLUMN_ALIAS.contains(&keyword)
        || RESERVED_FOR_TABLE_ALIAS.contains(&keyword)
        || RESERVED_FOR_IDENTIFIER.contains(&keyword)
}
