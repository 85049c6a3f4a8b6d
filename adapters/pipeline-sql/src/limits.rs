//! Limits of a text, checked before any recursion or large allocation: its length, tokens and statements, the depth of
//! nesting, the length of operator chains, and the parser's steps. The planner has limits of its own for parsed
//! statements.

use kernel::{Error, Result, SqlState};
use std::cell::Cell;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::too_deep;

/// Longest text that is parsed. Larger loads go through COPY.
pub const TEXT_BYTES_MAX: usize = 16 << 20;

/// Most tokens of one text, blanks included.
pub const TOKENS_MAX: usize = 4_000_000;

/// Most statements of one text.
pub const STATEMENTS_MAX: usize = 10_000;

/// Deepest nesting of parentheses, brackets, CASE and prefix operators, repeated pairs not counted. The parser recurses
/// at least once for each.
pub const NESTING_MAX: usize = 2_000;

/// Most operators in sequence at one level of parentheses. Such chains become trees as deep as they are long, and trees
/// are walked by recursion.
pub const CHAIN_OPERATORS_MAX: usize = 20_000;

/// The same for definitions, which are read again at every start, by threads with small stacks.
const KEPT_NESTING_MAX: usize = 50;

/// The same for chains of operators.
const KEPT_CHAIN_MAX: usize = 500;

/// Deepest nesting of `((SELECT`, which the parser tries twice: as a query and as an expression.
const DOUBLE_PARENTHESES_MAX: usize = 10;

/// Bytes of memory for a token of a text and its parsed form.
const BYTES_PER_TOKEN: usize = 250;

/// The same for a statement, however short.
const BYTES_PER_STATEMENT: usize = 4 << 10;

/// Refuses a text that is too long to be parsed.
pub(crate) fn check_text(sql: &str) -> Result<()> {
    let refuse = |message: String| Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
    if sql.len() > TEXT_BYTES_MAX {
        return refuse(format!(
            "statement of {} bytes is longer than the limit of {TEXT_BYTES_MAX}; load large amounts with COPY",
            sql.len()
        ));
    }
    let tokens = tokens_at_most(sql);
    if tokens > TOKENS_MAX {
        return refuse(format!(
            "statement of up to {tokens} tokens has more than the limit of {TOKENS_MAX}; load large amounts with COPY"
        ));
    }
    Ok(())
}

/// Refuses a text of too many statements.
pub(crate) fn check_count(statements: usize) -> Result<()> {
    match statements {
        0..=STATEMENTS_MAX => Ok(()),
        _ => Err(Error::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!(
                "{statements} statements in one text are more than the limit of {STATEMENTS_MAX}; send them in parts"
            ),
        )),
    }
}

/// An upper bound of the memory that [`crate::parse`] uses for a text, during parsing and after. Reads each byte once.
pub fn parsed_bytes_at_most(sql: &str) -> usize {
    let semicolons = sql.bytes().filter(|byte| *byte == b';').count();
    sql.len()
        .saturating_add(tokens_at_most(sql).saturating_mul(BYTES_PER_TOKEN))
        .saturating_add((semicolons + 1).saturating_mul(BYTES_PER_STATEMENT))
}

/// A bound on the tokens of a text: a word is one, a quoted text or a comment is one, every other byte is one.
fn tokens_at_most(sql: &str) -> usize {
    let bytes = sql.as_bytes();
    let (mut tokens, mut at) = (0usize, 0usize);
    while at < bytes.len() {
        tokens += 1;
        at = token_end(bytes, at);
    }
    tokens
}

/// Where the token that begins at `at` ends.
fn token_end(bytes: &[u8], at: usize) -> usize {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    let rest = &bytes[at..];
    let escapes = at > 0 && matches!(bytes[at - 1], b'e' | b'E') && !(at > 1 && is_word(&bytes[at - 2]));
    match rest {
        [b'\'', ..] if escapes => at + 1 + escaped_len(&rest[1..]),
        [quote @ (b'\'' | b'"'), inner @ ..] => match inner.iter().position(|byte| byte == quote) {
            Some(len) => at + len + 2,
            None => bytes.len(),
        },
        [b'-', b'-', ..] => rest.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |len| at + len),
        [b'/', b'*', ..] => at + comment_len(rest),
        [b'$', inner @ ..] => at + dollar_len(rest, inner),
        [first, ..] if is_word(first) => at + rest.iter().position(|b| !is_word(b)).unwrap_or(rest.len()),
        _ => at + 1,
    }
}

/// Length of the rest of an `E'…'`, its quote included.
fn escaped_len(rest: &[u8]) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a comment, which may have others in it.
fn comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" if depth == 1 => return at + 2,
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of `$tag$ … $tag$`, or of the sign alone.
fn dollar_len(rest: &[u8], inner: &[u8]) -> usize {
    let Some(tag_len) = inner.iter().position(|b| !(b.is_ascii_alphanumeric() || *b == b'_')) else {
        return 1;
    };
    if inner[tag_len] != b'$' || inner.first().is_some_and(|b| b.is_ascii_digit()) {
        return 1;
    }
    let tag = &rest[..tag_len + 2];
    let body = &rest[tag.len()..];
    match memchr::memmem::find(body, tag) {
        Some(len) => len + 2 * tag.len(),
        None => rest.len(),
    }
}

/// Keeps two of each sequence of parentheses around the same content: `(((x)))` equals `((x))`, and the parser recurses
/// less.
pub(crate) fn drop_repeated_parentheses(statement: &mut Vec<TokenWithSpan>) {
    let is = |token: &TokenWithSpan, wanted: &Token| token.token == *wanted;
    let solid: Vec<usize> =
        (0..statement.len()).filter(|i| !matches!(statement[*i].token, Token::Whitespace(_))).collect();
    let runs = |i: usize| {
        i >= 2
            && is(&statement[solid[i]], &Token::LParen)
            && is(&statement[solid[i - 1]], &Token::LParen)
            && is(&statement[solid[i - 2]], &Token::LParen)
    };
    if !(0..solid.len()).any(runs) {
        return;
    }
    let mut open = Vec::new();
    // Where each opening parenthesis closes, counted in tokens that are not blanks.
    let mut closes = vec![None; solid.len()];
    for (i, at) in solid.iter().enumerate() {
        match statement[*at].token {
            Token::LParen => open.push(i),
            Token::RParen => {
                if let Some(opened) = open.pop() {
                    closes[opened] = Some(i);
                }
            }
            _ => {}
        }
    }
    let mut dropped = vec![false; statement.len()];
    // True if a pair is directly inside another one.
    let repeats =
        |inner: usize, outer: usize| closes[inner].is_some_and(|end| closes[outer] == Some(end + 1));
    for i in 0..solid.len() {
        if runs(i)
            && repeats(i, i - 1)
            && repeats(i - 1, i - 2)
            && let Some(end) = closes[i - 1]
        {
            dropped[solid[i - 1]] = true;
            dropped[solid[end]] = true;
        }
    }
    let mut index = 0;
    statement.retain(|_| {
        index += 1;
        !dropped[index - 1]
    });
}

/// Refuses a statement with too deep nesting or too long chains of operators for trees that are walked by recursion.
pub(crate) fn check_shape(statement: &[TokenWithSpan]) -> Result<()> {
    check_shape_within(statement, NESTING_MAX, CHAIN_OPERATORS_MAX)
}

/// The same for stored texts: definitions of tables and pipelines, and defaults of columns.
pub(crate) fn check_kept_shape(statement: &[TokenWithSpan]) -> Result<()> {
    check_shape_within(statement, KEPT_NESTING_MAX, KEPT_CHAIN_MAX)
}

fn check_shape_within(statement: &[TokenWithSpan], nesting_max: usize, chain_max: usize) -> Result<()> {
    let mut shape = Shape { levels: vec![Level::default()], prefixes: 0, doubles: 0, nesting_max, chain_max };
    let mut last: Option<&Token> = None;
    let solid =
        statement.iter().map(|t| &t.token).filter(|t| !matches!(t, Token::Whitespace(_) | Token::EOF));
    for token in solid {
        shape.take(token, last)?;
        last = Some(token);
    }
    Ok(())
}

/// Open parentheses and counts at a position in a statement.
struct Shape {
    levels: Vec<Level>,
    /// Prefix operators in sequence.
    prefixes: usize,
    /// Open `((SELECT`.
    doubles: usize,
    nesting_max: usize,
    chain_max: usize,
}

#[derive(Default)]
struct Level {
    operators: usize,
    /// Opened right after another parenthesis.
    second: bool,
    /// Opened as the second of `((SELECT`.
    double: bool,
}

impl Shape {
    fn take(&mut self, token: &Token, last: Option<&Token>) -> Result<()> {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                self.count()?;
                let second = matches!(last, Some(Token::LParen));
                self.levels.push(Level { second, ..Level::default() });
            }
            Token::RParen | Token::RBracket | Token::RBrace => self.close(),
            Token::Comma => self.innermost().operators = 0,
            Token::Word(word) if word.keyword == Keyword::CASE => {
                self.count()?;
                self.levels.push(Level::default());
            }
            Token::Word(word) if word.keyword == Keyword::END && self.levels.len() > 1 => self.close(),
            Token::Word(word)
                if matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES) =>
            {
                if self.innermost().second && !self.innermost().double {
                    self.innermost().double = true;
                    self.doubles += 1;
                }
                self.count()?;
            }
            other if chains(other) => self.count()?,
            _ => {}
        }
        // `- - - x` and `NOT NOT x` nest without parentheses.
        let prefix = matches!(token, Token::Minus | Token::Plus | Token::Tilde | Token::ExclamationMark)
            || matches!(token, Token::Word(word) if word.keyword == Keyword::NOT);
        self.prefixes = if prefix { self.prefixes + 1 } else { 0 };
        match self.levels.len() + self.prefixes > self.nesting_max || self.doubles > DOUBLE_PARENTHESES_MAX {
            true => Err(too_deep()),
            false => Ok(()),
        }
    }

    fn innermost(&mut self) -> &mut Level {
        self.levels.last_mut().expect("never empty")
    }

    fn close(&mut self) {
        if self.levels.len() > 1
            && let Some(level) = self.levels.pop()
        {
            self.doubles -= usize::from(level.double);
        }
    }

    /// One more operator at the innermost level.
    fn count(&mut self) -> Result<()> {
        let chain_max = self.chain_max;
        let level = self.innermost();
        level.operators += 1;
        if level.operators > chain_max { Err(too_deep()) } else { Ok(()) }
    }
}

/// True for tokens that can make a tree one level deeper: operators, set operations, joins, postfix tests.
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
        // Every other token is an operator or may be one.
        _ => true,
    }
}

thread_local! {
    /// Steps that the parse of this thread may still take.
    static STEPS_LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Gives the parser its steps for a statement with this many tokens: many times the usual need, and far below the
/// exponential cost of trying everything twice at each level.
pub(crate) fn allow_steps(tokens: usize) {
    STEPS_LEFT.set(1_000 + tokens.saturating_mul(16));
}

/// One step of the parser; false if none is left.
pub(crate) fn step() -> bool {
    let left = STEPS_LEFT.get();
    STEPS_LEFT.set(left.saturating_sub(1));
    left > 0
}
