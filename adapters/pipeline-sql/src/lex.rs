//! From text to one list of tokens a statement: splitting at semicolons, variables (`@name`) made into words, and the
//! limits that keep a hostile text from exhausting memory or stack. What the tokens mean lives in `cursor` and above.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use crate::dialect::DIALECT;
use crate::error::{ParseError, too_deep};

/// Longest text that is parsed. Larger loads go through COPY.
pub const TEXT_BYTES_MAX: usize = 16 << 20;

/// Most operators in a row at one level of parentheses. Such chains become trees as deep as they are long, and trees are
/// walked by recursion.
pub const CHAIN_OPERATORS_MAX: usize = 1000;

/// The statements of a text, each without its semicolon. Empty ones are left out.
pub(crate) fn statements(sql: &str) -> Result<Vec<Vec<TokenWithSpan>>, ParseError> {
    if sql.len() > TEXT_BYTES_MAX {
        let message = format!(
            "statement of {} bytes is longer than the limit of {TEXT_BYTES_MAX}; load large amounts with COPY",
            sql.len()
        );
        return Err(ParseError::plain("54000", message));
    }
    let tokens = Tokenizer::new(&DIALECT, sql).tokenize_with_location()?;
    let mut statements = vec![Vec::new()];
    for token in tokens {
        match token.token {
            Token::SemiColon => statements.push(Vec::new()),
            _ => statements.last_mut().expect("never empty").push(token),
        }
    }
    statements.retain(|s| s.iter().any(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF)));
    for statement in &statements {
        check_chains(statement)?;
    }
    Ok(statements)
}

/// Makes one word of a sign `@` and the name that follows it at once.
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

fn check_chains(statement: &[TokenWithSpan]) -> Result<(), ParseError> {
    let mut levels = vec![0usize];
    for token in statement {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                count(&mut levels)?;
                levels.push(0);
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                levels.pop();
                if levels.is_empty() {
                    levels.push(0);
                }
            }
            Token::Comma => *levels.last_mut().expect("never empty") = 0,
            t if chains(t) => count(&mut levels)?,
            _ => {}
        }
    }
    Ok(())
}

/// One more operator at the innermost level.
fn count(levels: &mut [usize]) -> Result<(), ParseError> {
    let count = levels.last_mut().expect("never empty");
    *count += 1;
    if *count > CHAIN_OPERATORS_MAX { Err(too_deep()) } else { Ok(()) }
}

/// True for what can make a tree one deeper: operators, set operations, joins, postfix tests.
fn chains(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::NOTNULL
                | Keyword::IN
                | Keyword::BETWEEN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::REGEXP
                | Keyword::RLIKE
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::OPERATOR
                | Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::MINUS
                | Keyword::JOIN
                | Keyword::CASE
                | Keyword::SELECT
                | Keyword::XOR
                | Keyword::DIV
                | Keyword::OVERLAPS
                | Keyword::PRIOR
        ),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::Placeholder(_)
        | Token::Period
        | Token::Whitespace(_)
        | Token::EOF => false,
        // Whatever else there is, is an operator or may be one.
        _ => true,
    }
}
