//! The small expression language that is evaluated in `stage`: typed, total and deterministic, over columns. SQL's ON
//! DUPLICATE KEY UPDATE and ON CONFLICT DO UPDATE are lowered to it at CREATE (or per statement); an expression that
//! cannot be lowered is an error there. SET, WHERE and mappings run in the extractor and may use any function, because
//! only their results are logged.
//!
//! This module has the types; `eval` evaluates them over columns, `check` checks that a program fits its table.

mod check;
mod eval;
mod flat;
mod quotient;
#[cfg(test)]
pub(crate) mod scalar;

pub use quotient::Quotient;

pub(crate) use eval::{Number, RowErrors, Scope, choose, compare_floats, compute_decimal, evaluate};

use serde::{Deserialize, Serialize};

use crate::schema::ColumnType;

/// What happens to an incoming row whose primary key exists already.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum OnDuplicate {
    /// The row is rejected with 23505 (a pipeline records a dead letter, a client's statement fails).
    Reject,
    /// The row is dropped (`ON CONFLICT DO NOTHING`).
    Ignore,
    /// The incoming row replaces the stored one.
    Replace,
    /// Columns of the stored row are assigned; the others keep their values.
    Update(Update),
}

/// Assignments to a stored row. Key columns cannot be assigned. All right-hand sides read the row before the update.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Update {
    /// Column ordinal and its new value.
    pub assignments: Vec<(u16, Expr)>,
    /// Only rows for which this is true are updated, the others stay unchanged (`ON CONFLICT … WHERE`).
    pub condition: Option<Expr>,
}

/// A constant.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Unscaled value and scale.
    Decimal(i128, i8),
    Text(String),
    Bytes(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01.
    Timestamp(i64),
}

/// A typed expression: the lowering inserts every cast, so that the operands of an operator agree.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(into = "flat::Flat", try_from = "flat::Flat")]
pub enum Expr {
    /// Column of the stored row.
    Stored(u16),
    /// Column of the incoming row: `VALUES(col)`, `excluded.col`.
    Incoming(u16),
    /// A constant of the given type.
    Literal(Literal, ColumnType),
    /// Arithmetic on two operands of one numeric type; of decimals, quotients and products are rounded to their scale.
    /// Overflow and division by zero reject the row.
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    /// PostgreSQL's quotient of two decimals with different scales. Division by zero, and a result that the type cannot
    /// hold, reject the row.
    Quotient(Quotient, Box<Expr>, Box<Expr>),
    /// Negation of a number.
    Negate(Box<Expr>),
    /// Comparison of two operands of one type; null if either is null.
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// Three-valued AND.
    And(Box<Expr>, Box<Expr>),
    /// Three-valued OR.
    Or(Box<Expr>, Box<Expr>),
    /// Three-valued NOT.
    Not(Box<Expr>),
    /// `IS NULL`
    IsNull(Box<Expr>),
    /// The first operand that is not null; all of one type.
    Coalesce(Vec<Expr>),
    /// The greatest operand, nulls ignored (PostgreSQL's `greatest`); all of one type.
    Greatest(Vec<Expr>),
    /// The least operand, nulls ignored.
    Least(Vec<Expr>),
    /// Searched CASE: the value of the first branch whose condition is true, else the last; all values of one type.
    Case(Vec<(Expr, Expr)>, Box<Expr>),
    /// Text concatenation; null if either is null.
    Concat(Box<Expr>, Box<Expr>),
    /// Cast between numeric types, or between types of texts, as an assignment does it; a value that does not fit
    /// rejects the row.
    Cast(Box<Expr>, ColumnType),
}

impl Expr {
    /// Whether it reads the stored row.
    pub fn uses_stored(&self) -> bool {
        match self {
            Expr::Stored(_) => true,
            other => other.operands().into_iter().any(Expr::uses_stored),
        }
    }

    /// Whether it contains a quotient whose digits its type does not determine: one that is not rounded to a type.
    pub fn has_open_quotient(&self) -> bool {
        let open = matches!(self, Expr::Quotient(how, ..) if !how.rounded);
        open || self.operands().into_iter().any(Expr::has_open_quotient)
    }

    /// Number of its expressions, itself included.
    pub fn nodes(&self) -> usize {
        1 + self.operands().into_iter().map(Expr::nodes).sum::<usize>()
    }

    /// Bytes of its constants of variable length, each of which becomes a column with a value per row.
    pub(crate) fn constant_bytes(&self) -> usize {
        match self {
            Expr::Literal(Literal::Text(text), _) => text.len(),
            Expr::Literal(Literal::Bytes(bytes), _) => bytes.len(),
            other => other.operands().into_iter().map(Expr::constant_bytes).sum(),
        }
    }

    /// Levels of nesting.
    fn depth(&self) -> usize {
        1 + self.operands().into_iter().map(Expr::depth).max().unwrap_or(0)
    }

    /// Its operands, in order.
    fn operands(&self) -> Vec<&Expr> {
        match self {
            Expr::Stored(_) | Expr::Incoming(_) | Expr::Literal(..) => vec![],
            Expr::Negate(a) | Expr::Not(a) | Expr::IsNull(a) | Expr::Cast(a, _) => vec![a],
            Expr::Arithmetic(_, a, b)
            | Expr::Quotient(_, a, b)
            | Expr::Compare(_, a, b)
            | Expr::And(a, b)
            | Expr::Or(a, b)
            | Expr::Concat(a, b) => vec![a, b],
            Expr::Coalesce(operands) | Expr::Greatest(operands) | Expr::Least(operands) => {
                operands.iter().collect()
            }
            Expr::Case(branches, otherwise) => {
                let pairs = branches.iter().flat_map(|(condition, value)| [condition, value]);
                pairs.chain([otherwise.as_ref()]).collect()
            }
        }
    }
}

/// Arithmetic operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Comparison operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}
