//! From text to one list of tokens per statement: splits at semicolons and joins variables (`@name`) into words.
//! `cursor` and the parsers above interpret the tokens; `limits` bounds the cost of a text.

use kernel::Result;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use crate::dialect::DIALECT;
use crate::{error, limits};

/// The statements of a text, each without its semicolon. Empty ones are left out.
pub(crate) fn statements(sql: &str) -> Result<Vec<Vec<TokenWithSpan>>> {
    limits::check_text(sql)?;
    let tokens = Tokenizer::new(&DIALECT, sql).tokenize_with_location().map_err(error::tokenizer)?;
    let mut statements = vec![Vec::new()];
    for token in tokens {
        match token.token {
            Token::SemiColon => statements.push(Vec::new()),
            _ => statements.last_mut().expect("never empty").push(token),
        }
    }
    statements.retain(|s| s.iter().any(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF)));
    limits::check_count(statements.len())?;
    for statement in &mut statements {
        limits::drop_repeated_parentheses(statement);
        limits::check_shape(statement)?;
    }
    Ok(statements)
}

/// Joins a sign `@` and the name directly after it into one word.
pub(crate) fn join_variables(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        if let (Token::Word(name), Some(sign)) = (&token.token, joined.last_mut())
            && sign.token == Token::AtSign
            && name.quote_style.is_none()
            && sign.span.end == token.span.start
        {
            let value = format!("@{}", name.value);
            sign.token = Token::Word(Word { value, quote_style: None, keyword: Keyword::NoKeyword });
            sign.span.end = token.span.end;
        } else {
            joined.push(token);
        }
    }
    joined
}
