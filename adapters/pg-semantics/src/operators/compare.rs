//! Comparisons: both operands are converted to the type in which PostgreSQL compares them.

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::numeric::common_number;
use super::{Operand, array, json, no_operator};
use crate::types::{Base, PgType};

/// `left op right`.
pub fn plan(op: Operator, left: &Operand, right: &Operand) -> Result<Expr> {
    if let Some(planned) = json::compare(op, left, right)? {
        return Ok(planned);
    }
    if let Some(planned) = array::compare_arrays(op, left, right)? {
        return Ok(planned);
    }
    let Some(common) = common_type(left, right) else {
        return Err(no_operator(&op.to_string(), left, right).into());
    };
    let (left, right) = (Box::new(left.as_type(&common)), Box::new(right.as_type(&common)));
    Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
}

/// True for values that DataFusion compares as they are.
pub fn is_plain(operand: &Operand) -> bool {
    !matches!(operand.pg(), PgType::Array(_) | PgType::One(Base::Jsonb))
}

/// The Arrow type in which both can be compared.
pub fn common_type(left: &Operand, right: &Operand) -> Option<DataType> {
    match (left.open, right.open) {
        (true, true) => return Some(DataType::Utf8),
        (true, false) => return Some(right.arrow().clone()),
        (false, true) => return Some(left.arrow().clone()),
        (false, false) => {}
    }
    let (PgType::One(l), PgType::One(r)) = (left.pg(), right.pg()) else {
        return (left.pg() == right.pg()).then(|| left.arrow().clone());
    };
    if let Some(common) = common_number(left.arrow(), right.arrow()) {
        return Some(common);
    }
    let rank = |base: Base| match base {
        Base::Date => Some(0),
        Base::Timestamp => Some(1),
        Base::TimestampTz => Some(2),
        _ => None,
    };
    if let (Some(a), Some(b)) = (rank(l), rank(r)) {
        return Some(if a >= b { left.arrow().clone() } else { right.arrow().clone() });
    }
    // A cast to uuid is planned as one to text.
    let text = |base| {
        use Base::*;
        matches!(base, Text | Varchar | Bpchar | Name | Char | Uuid)
    };
    if text(l) && text(r) {
        return Some(DataType::Utf8);
    }
    (l == r).then(|| left.arrow().clone())
}

/// The common Arrow type of results: of CASE, COALESCE, VALUES, UNION. Unlike among operands, a real beside an exact
/// number stays a real.
pub fn common_result(left: &Operand, right: &Operand) -> Option<DataType> {
    let exact = |o: &Operand| o.arrow().is_integer() || o.arrow().is_decimal();
    let real = |o: &Operand| *o.arrow() == DataType::Float32;
    if !left.open && !right.open && (real(left) && exact(right) || exact(left) && real(right)) {
        return Some(DataType::Float32);
    }
    common_type(left, right)
}
