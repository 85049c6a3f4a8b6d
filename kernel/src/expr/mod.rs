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

use minicbor::{Decode, Encode};

use crate::ids::ColumnId;
use crate::schema::ColumnType;

/// What happens to an incoming row whose primary key exists already.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub enum OnDuplicate {
    /// The row is rejected with 23505 (a pipeline records a dead letter, a client's statement fails).
    #[n(0)]
    Reject,
    /// The row is dropped (`ON CONFLICT DO NOTHING`).
    #[n(1)]
    Ignore,
    /// The incoming row replaces the stored one.
    #[n(2)]
    Replace,
    /// Columns of the stored row are assigned; the others keep their values.
    #[n(3)]
    Update(#[n(0)] Update),
}

/// Assignments to a stored row. Key columns cannot be assigned. All right-hand sides read the row before the update.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Update {
    /// A column and its new value.
    #[n(0)]
    pub assignments: Vec<(ColumnId, Expr)>,
    /// Only rows for which this is true are updated, the others stay unchanged (`ON CONFLICT … WHERE`).
    #[n(1)]
    pub condition: Option<Expr>,
}

/// A constant.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub enum Literal {
    #[n(0)]
    Null,
    #[n(1)]
    Bool(#[n(0)] bool),
    #[n(2)]
    Int(#[n(0)] i64),
    #[n(3)]
    Float(#[n(0)] f64),
    /// Unscaled value and scale.
    #[n(4)]
    Decimal(#[cbor(n(0), with = "crate::cbor::int128")] i128, #[n(1)] i8),
    #[n(5)]
    Text(#[n(0)] String),
    #[n(6)]
    Bytes(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Days since 1970-01-01.
    #[n(7)]
    Date(#[n(0)] i32),
    /// Microseconds since 1970-01-01.
    #[n(8)]
    Timestamp(#[n(0)] i64),
}

/// A typed expression: the lowering inserts every cast, so that the operands of an operator agree.
#[derive(Clone, PartialEq, Debug)]
pub enum Expr {
    /// Column of the stored row.
    Stored(ColumnId),
    /// Column of the incoming row: `VALUES(col)`, `excluded.col`.
    Incoming(ColumnId),
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub enum Arithmetic {
    #[n(0)]
    Add,
    #[n(1)]
    Subtract,
    #[n(2)]
    Multiply,
    #[n(3)]
    Divide,
    #[n(4)]
    Remainder,
}

/// Comparison operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub enum Comparison {
    #[n(0)]
    Equal,
    #[n(1)]
    NotEqual,
    #[n(2)]
    Less,
    #[n(3)]
    LessOrEqual,
    #[n(4)]
    Greater,
    #[n(5)]
    GreaterOrEqual,
}
