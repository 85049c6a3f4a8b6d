//! sqlparser's parser with words of our own: keywords are compared as text, because many of ours are not in its list.

use kernel::{Error, Result, SqlState};
use sqlparser::ast::{Expr, Ident};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::dialect::DIALECT;
use crate::error;
use crate::{limits, names};

/// Recursive calls of the parser: a level of nesting takes up to three of the counted ones.
const RECURSION_MAX: usize = 3 * limits::NESTING_MAX;

/// A place in one statement's tokens.
pub(crate) struct Cursor {
    pub(crate) parser: Parser<'static>,
}

impl Cursor {
    pub(crate) fn new(tokens: Vec<TokenWithSpan>) -> Cursor {
        limits::allow_steps(tokens.len());
        let parser =
            Parser::new(&DIALECT).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(tokens);
        Cursor { parser }
    }

    /// Where the next token is.
    pub(crate) fn here(&self) -> Location {
        self.parser.peek_token_ref().span.start
    }

    /// The error that something else is expected here.
    pub(crate) fn expected(&self, what: &str) -> Error {
        error::syntax(what, self.parser.peek_token_ref())
    }

    /// The error that the syntax here is known and not supported.
    pub(crate) fn unsupported(&self, message: impl Into<String>) -> Error {
        error::unsupported(message, self.here())
    }

    /// True if the next words are these, in order, unquoted.
    pub(crate) fn peek(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| match &self.parser.peek_nth_token_ref(n).token {
            Token::Word(w) => w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word),
            _ => false,
        })
    }

    /// Consumes these words if they are the next ones.
    pub(crate) fn take(&mut self, words: &[&str]) -> bool {
        let found = self.peek(words);
        if found {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        found
    }

    /// Consumes these words, which must be here.
    pub(crate) fn expect(&mut self, words: &[&str]) -> Result<()> {
        words.iter().try_for_each(|w| if self.take(&[w]) { Ok(()) } else { Err(self.expected(w)) })
    }

    pub(crate) fn peek_token(&self, token: &Token) -> bool {
        self.parser.peek_token_ref().token == *token
    }

    pub(crate) fn take_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub(crate) fn expect_token(&mut self, token: &Token, what: &str) -> Result<()> {
        if self.take_token(token) { Ok(()) } else { Err(self.expected(what)) }
    }

    /// The statement must end here.
    pub(crate) fn end(&self) -> Result<()> {
        if self.peek_token(&Token::EOF) { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    pub(crate) fn ident(&mut self) -> Result<Ident> {
        self.parser.parse_identifier().map_err(error::parser)
    }

    /// A name, folded.
    pub(crate) fn name(&mut self) -> Result<String> {
        let at = self.here();
        let ident = self.ident()?;
        names::checked(names::fold(&ident), at)
    }

    /// The name of a table or a pipeline, folded; `public.` may precede it.
    pub(crate) fn relation(&mut self) -> Result<String> {
        names::relation(&self.parser.parse_object_name(false).map_err(error::parser)?)
    }

    /// `(item, …)`, maybe empty.
    pub(crate) fn list<T>(
        &mut self,
        what: &str,
        mut item: impl FnMut(&mut Cursor) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.expect_token(&Token::LParen, "\"(\"")?;
        let mut items = Vec::new();
        if self.take_token(&Token::RParen) {
            return Ok(items);
        }
        loop {
            if self.peek_token(&Token::EOF) {
                return Err(self.expected(what));
            }
            items.push(item(self)?);
            if self.take_token(&Token::RParen) {
                return Ok(items);
            }
            self.expect_token(&Token::Comma, "\",\" or \")\"")?;
        }
    }

    pub(crate) fn expr(&mut self) -> Result<Expr> {
        self.parser.parse_expr().map_err(error::parser)
    }

    /// The value of a string literal.
    pub(crate) fn string(&mut self, what: &str) -> Result<String> {
        let text = match &self.parser.peek_token_ref().token {
            Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) => s.clone(),
            Token::DollarQuotedString(s) => s.value.clone(),
            _ => return Err(self.expected(what)),
        };
        self.parser.advance_token();
        Ok(text)
    }

    /// A whole number that is not negative.
    pub(crate) fn unsigned(&mut self, what: &str) -> Result<u64> {
        let found = self.parser.peek_token_ref();
        match &found.token {
            Token::Number(digits, _) => match digits.parse() {
                Ok(number) => {
                    self.parser.advance_token();
                    Ok(number)
                }
                Err(_) => Err(error::at(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("{digits} is not {what}: a whole number is expected"),
                    found.span.start,
                )),
            },
            _ => Err(self.expected(what)),
        }
    }
}
