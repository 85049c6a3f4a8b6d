//! The dialect of all statements: PostgreSQL's, with a correction for the one operator that sqlparser reads
//! differently, and a bound on the parser's steps.

use std::any::TypeId;

use sqlparser::ast::{BinaryOperator, Expr, TrimWhereField, UnaryOperator};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use crate::limits;

/// The rank of COLLATE, which is the next one below that of a sign.
const COLLATE_RANK: u8 = 120;

/// See `PostgreSql`.
pub static DIALECT: PostgreSql = PostgreSql(PostgreSqlDialect {});

/// sqlparser's PostgreSQL. Its parser takes all that follows `IS DISTINCT FROM` for the right side, AND and OR included:
/// `a IS DISTINCT FROM b AND c` would be `a IS DISTINCT FROM (b AND c)`.
#[derive(Debug)]
pub struct PostgreSql(PostgreSqlDialect);

impl PostgreSql {
    /// `x BETWEEN SYMMETRIC a AND b`, behind its words: between the smaller and the larger of both.
    fn between(&self, parser: &mut Parser, value: &Expr, negated: bool) -> Result<Expr, ParserError> {
        let rank = self.0.prec_value(Precedence::Between);
        let low = parser.parse_subexpr(rank)?;
        parser.expect_keyword(Keyword::AND)?;
        let high = parser.parse_subexpr(rank)?;
        let between = |low: &Expr, high: &Expr| {
            let (low, high) = (Box::new(low.clone()), Box::new(high.clone()));
            Expr::Between { expr: Box::new(value.clone()), negated, low, high }
        };
        let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
        let (left, right) = (Box::new(between(&low, &high)), Box::new(between(&high, &low)));
        Ok(Expr::Nested(Box::new(Expr::BinaryOp { left, op, right })))
    }
}

/// The end named by `TRIM(LEADING FROM …)`, if that form follows: it has no characters to cut off, which sqlparser
/// requires.
fn trims_blanks(parser: &Parser) -> Option<TrimWhereField> {
    let keyword = |at: usize| match &parser.peek_nth_token_ref(at).token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    if keyword(0) != Keyword::TRIM || parser.peek_nth_token_ref(1).token != Token::LParen {
        return None;
    }
    let side = match keyword(2) {
        Keyword::LEADING => TrimWhereField::Leading,
        Keyword::TRAILING => TrimWhereField::Trailing,
        Keyword::BOTH => TrimWhereField::Both,
        _ => return None,
    };
    (keyword(3) == Keyword::FROM).then_some(side)
}

fn trim_blanks(parser: &mut Parser, side: TrimWhereField) -> Result<Expr, ParserError> {
    for _ in ["TRIM", "(", "LEADING", "FROM"] {
        let _ = parser.next_token();
    }
    let expr = Box::new(parser.parse_expr()?);
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Trim { expr, trim_where: Some(side), trim_what: None, trim_characters: None })
}

/// The features that the dialect allows.
macro_rules! as_postgresql {
    ($($allows:ident)*) => { $(fn $allows(&self) -> bool { self.0.$allows() })* };
}

impl Dialect for PostgreSql {
    fn dialect(&self) -> TypeId {
        self.0.dialect()
    }

    /// Counts steps, because the parser tries some forms twice, and nested forms double the work per level. Also binds
    /// prefix operators: `-2 ^ 2` is `(-2) ^ 2`, and `~ 1 + 2` is `~ (1 + 2)`.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if !limits::step() {
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        if let Some(side) = trims_blanks(parser) {
            return Some(trim_blanks(parser, side));
        }
        let other = self.0.prec_value(Precedence::PgOther);
        let (op, above) = match parser.peek_token_ref().token {
            Token::Minus => (UnaryOperator::Minus, COLLATE_RANK),
            Token::Plus => (UnaryOperator::Plus, COLLATE_RANK),
            Token::Tilde => (UnaryOperator::BitwiseNot, other),
            Token::AtSign => (UnaryOperator::PGAbs, other),
            Token::PGSquareRoot => (UnaryOperator::PGSquareRoot, other),
            Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, other),
            _ => return None,
        };
        let _ = parser.next_token();
        let operand = parser.parse_subexpr(above);
        Some(operand.map(|expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
    }

    fn parse_infix(&self, parser: &mut Parser, left: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        if parser.parse_keywords(&[Keyword::BETWEEN, Keyword::SYMMETRIC]) {
            return Some(self.between(parser, left, false));
        }
        if parser.parse_keywords(&[Keyword::NOT, Keyword::BETWEEN, Keyword::SYMMETRIC]) {
            return Some(self.between(parser, left, true));
        }
        let is_not = match () {
            () if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) => false,
            () if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) => {
                true
            }
            () => return None,
        };
        let right = parser.parse_subexpr(self.0.prec_value(Precedence::Is));
        let left = Box::new(left.clone());
        Some(right.map(|right| match is_not {
            true => Expr::IsNotDistinctFrom(left, Box::new(right)),
            false => Expr::IsDistinctFrom(left, Box::new(right)),
        }))
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.0.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.0.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.0.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.0.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        self.0.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        self.0.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        // Like every operator that has no rank of its own.
        let is_other = match &parser.peek_token_ref().token {
            Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk => true,
            Token::Word(word) => word.keyword == Keyword::OPERATOR,
            _ => false,
        };
        if is_other {
            return Some(Ok(self.0.prec_value(Precedence::PgOther)));
        }
        self.0.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        self.0.prec_value(precedence)
    }

    as_postgresql! {
        supports_unicode_string_literal supports_filter_during_aggregation supports_group_by_expr
        allow_extract_custom allow_extract_single_quotes supports_create_index_with_clause
        supports_explain_with_utility_options supports_listen_notify supports_factorial_operator
        supports_bitwise_shift_operators supports_comment_on supports_load_extension
        supports_named_fn_args_with_colon_operator supports_empty_projections supports_nested_comments supports_string_escape_constant
        supports_numeric_literal_underscores supports_array_typedef_with_brackets supports_geometric_types
        supports_set_names supports_alter_column_type_using supports_notnull_operator
        supports_interval_options supports_insert_table_alias supports_create_table_like_parenthesized
        supports_select_wildcard_with_alias supports_comma_separated_trim supports_xml_expressions
        supports_comment_optimizer_hint
    }
}
