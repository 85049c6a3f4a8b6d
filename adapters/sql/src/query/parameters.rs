//! Parameters `$1`, `$2`, … of prepared statements: their types, and the substitution of their values as typed
//! constants in the syntax tree, so that every clause with an expression accepts a parameter.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Expr, Value, VisitMut, VisitorMut};

use crate::error::{Result, SqlError, SqlState};
use pg_semantics::types::encode::Format;
use pg_semantics::types::{Base, PgType, decode};

/// Most parameters of one statement, as in PostgreSQL.
pub const PARAMETERS_MAX: usize = 65_535;

/// How a parameter's value is substituted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Typing {
    /// Of exactly its type, so that the result has the columns that the client was told.
    Exact,
    /// As a literal that takes the type of the column it is assigned to.
    Literal,
}

/// The number of a placeholder, from 0.
fn index(placeholder: &str) -> Option<usize> {
    let number: usize = placeholder.strip_prefix('$')?.parse().ok()?;
    (1..=PARAMETERS_MAX).contains(&number).then(|| number - 1)
}

fn placeholder(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ast::ValueWithSpan { value: Value::Placeholder(name), .. }) => Some(name),
        Expr::Nested(inner) => placeholder(inner),
        _ => None,
    }
}

/// Parameters that a statement mentions, each with the type of a cast directly around it, or of a LIMIT.
pub fn mentioned(statement: &ast::Statement) -> Result<BTreeMap<usize, Option<PgType>>> {
    struct Find(BTreeMap<usize, Option<PgType>>);
    impl ast::Visitor for Find {
        type Break = SqlError;

        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<SqlError> {
            for i in limits(query).into_iter().filter_map(|e| index(placeholder(e)?)) {
                self.0.entry(i).or_default().get_or_insert(PgType::One(Base::Int8));
            }
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
            if let Expr::Cast { expr, data_type, .. } = expr
                && let Some(i) = placeholder(expr).and_then(index)
            {
                self.0
                    .entry(i)
                    .or_default()
                    .get_or_insert(PgType::of_sql(data_type).unwrap_or(PgType::One(Base::Text)));
            }
            if let Expr::Value(ast::ValueWithSpan { value: Value::Placeholder(name), .. }) = expr {
                match index(name) {
                    Some(i) => {
                        self.0.entry(i).or_default();
                    }
                    None => {
                        let message = format!("there is no parameter {name}");
                        return ControlFlow::Break(SqlError::new(SqlState::UNDEFINED_PARAMETER, message));
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut find = Find(BTreeMap::new());
    match ast::Visit::visit(statement, &mut find) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(find.0),
    }
}

/// The expressions of LIMIT and OFFSET.
fn limits(query: &ast::Query) -> Vec<&Expr> {
    let mut limits: Vec<&Expr> = match &query.limit_clause {
        None => vec![],
        Some(ast::LimitClause::LimitOffset { limit, offset, .. }) => {
            limit.iter().chain(offset.as_ref().map(|o| &o.value)).collect()
        }
        Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => vec![offset, limit],
    };
    limits.extend(query.fetch.as_ref().and_then(|f| f.quantity.as_ref()));
    limits
}

/// Replaces each parameter by an expression.
pub fn substitute(statement: &mut ast::Statement, values: &[Expr]) -> Result<()> {
    struct Put<'a>(&'a [Expr]);
    impl VisitorMut for Put<'_> {
        type Break = SqlError;

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
            let Expr::Value(ast::ValueWithSpan { value: Value::Placeholder(name), .. }) = expr else {
                return ControlFlow::Continue(());
            };
            match index(name).and_then(|i| self.0.get(i)) {
                Some(value) => {
                    *expr = value.clone();
                    ControlFlow::Continue(())
                }
                None => {
                    let message = format!("there is no parameter {name}");
                    ControlFlow::Break(SqlError::new(SqlState::UNDEFINED_PARAMETER, message))
                }
            }
        }
    }
    match VisitMut::visit(statement, &mut Put(values)) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// A null of this type: stands for a parameter while only its type is known.
pub fn typed_null(pg: PgType) -> Expr {
    constant(pg, None)
}

/// A parameter as it was bound.
pub fn value(pg: PgType, format: Format, bytes: Option<&[u8]>, typing: Typing) -> Result<Expr> {
    let Some(bytes) = bytes else {
        return Ok(if typing == Typing::Exact { typed_null(pg) } else { Expr::value(Value::Null) });
    };
    match (pg, format) {
        (PgType::Array(base), _) => {
            let items = match format {
                Format::Binary => decode::array_items(base, bytes)?,
                Format::Text => decode::array_text_items(&decode::utf8(bytes)?)?,
            };
            Ok(array(base, items))
        }
        (PgType::One(Base::Bytea), Format::Binary) => Ok(bytea(bytes)),
        (PgType::One(Base::Bytea), Format::Text) => Ok(bytea(&decode::bytea(&decode::utf8(bytes)?)?)),
        (PgType::One(base), format) => {
            let text = match format {
                Format::Binary => decode::binary_text(pg, bytes)?,
                Format::Text => decode::utf8(bytes)?,
            };
            Ok(match typing {
                Typing::Exact => constant(pg, Some(text)),
                Typing::Literal => literal(base, text),
            })
        }
    }
}

fn bytea(bytes: &[u8]) -> Expr {
    cast(Expr::value(Value::SingleQuotedString(decode::hex(bytes))), ast::DataType::Bytea)
}

fn array(base: Base, items: Vec<Option<String>>) -> Expr {
    let elem = items.into_iter().map(|item| constant(PgType::One(base), item)).collect::<Vec<_>>();
    let list = Expr::Array(ast::Array { elem, named: true });
    cast(list, ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(sql_type(base)), None)))
}

/// A literal as a person would write it; everything but a number is quoted.
fn literal(base: Base, text: String) -> Expr {
    let numeric = matches!(base, Base::Int2 | Base::Int4 | Base::Int8 | Base::Oid | Base::Numeric);
    let (negative, digits) = text.strip_prefix('-').map_or((false, text.as_str()), |d| (true, d));
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match base {
        _ if numeric && plain => {
            let number = Expr::value(Value::Number(digits.to_string(), false));
            match negative {
                true => Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: Box::new(number) },
                false => number,
            }
        }
        Base::Bool if matches!(text.as_str(), "true" | "t") => Expr::value(Value::Boolean(true)),
        Base::Bool if matches!(text.as_str(), "false" | "f") => Expr::value(Value::Boolean(false)),
        _ => Expr::value(Value::SingleQuotedString(text)),
    }
}

fn constant(pg: PgType, text: Option<String>) -> Expr {
    let base = match pg {
        PgType::One(base) => base,
        PgType::Array(base) => {
            let null = Expr::value(Value::Null);
            let list =
                ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(sql_type(base)), None));
            return cast(null, list);
        }
    };
    let Some(text) = text else { return cast(Expr::value(Value::Null), sql_type(base)) };
    match base {
        // Already of this type as a literal.
        Base::Text
        | Base::Varchar
        | Base::Bpchar
        | Base::Name
        | Base::Json
        | Base::Jsonb
        | Base::Uuid
        | Base::Char => Expr::value(Value::SingleQuotedString(text)),
        Base::Numeric => {
            let plain = !text.contains(['e', 'E']);
            let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len().min(38)) as i64;
            let scale = if plain { scale } else { 18 };
            let info = ast::ExactNumberInfo::PrecisionAndScale(38, scale);
            cast(Expr::value(Value::SingleQuotedString(text)), ast::DataType::Numeric(info))
        }
        _ => cast(Expr::value(Value::SingleQuotedString(text)), sql_type(base)),
    }
}

fn cast(expr: Expr, data_type: ast::DataType) -> Expr {
    Expr::Cast { kind: ast::CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn sql_type(base: Base) -> ast::DataType {
    use ast::DataType as T;
    match base {
        Base::Bool => T::Boolean,
        Base::Bytea => T::Bytea,
        Base::Int2 => T::SmallInt(None),
        Base::Int4 => T::Int(None),
        Base::Int8 | Base::Oid => T::BigInt(None),
        Base::Float4 => T::Real,
        Base::Float8 => T::DoublePrecision,
        Base::Date => T::Date,
        Base::Time => T::Time(None, ast::TimezoneInfo::None),
        Base::Timestamp => T::Timestamp(None, ast::TimezoneInfo::None),
        Base::TimestampTz => T::Timestamp(None, ast::TimezoneInfo::WithTimeZone),
        Base::Interval => T::Interval { fields: None, precision: None },
        Base::Numeric => T::Numeric(ast::ExactNumberInfo::PrecisionAndScale(38, 10)),
        _ => T::Text,
    }
}
