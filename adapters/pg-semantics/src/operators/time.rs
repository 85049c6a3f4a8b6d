//! Operators of dates, times and intervals: `+`, `-`, `*` and `/`. `functions/time.rs` lists them.

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{Operand, call, no_operator};
use crate::error::{SqlError, SqlState};
use crate::functions::overload::{Kind, Overloaded};
use crate::functions::time::{OPERATORS, Operator};

/// Plans an operator if one operand is a date, time or interval. None: not of this family.
pub fn plan(op: &BinaryOperator, left: &Operand, right: &Operand) -> Result<Option<Expr>> {
    let (l, r) = (kind(left), kind(right));
    if ![l, r].iter().any(|kind| kind.is_some_and(Kind::is_time)) {
        return Ok(None);
    }
    let sign = match op {
        BinaryOperator::Plus => '+',
        BinaryOperator::Minus => '-',
        BinaryOperator::Multiply => '*',
        BinaryOperator::Divide => '/',
        BinaryOperator::Modulo => return Err(no_operator("%", left, right).into()),
        _ => return Ok(None),
    };
    let found = match (left.open, right.open) {
        (true, _) => of_open(sign, r, |args| (args[1], args[0]))?,
        (_, true) => of_open(sign, l, |args| (args[0], args[1]))?,
        _ => l.zip(r).and_then(|(l, r)| best(sign, l, r)),
    };
    let Some(operator) = found else { return Err(no_operator(&sign.to_string(), left, right).into()) };
    let args = operator.overload[0].args;
    let function = Overloaded::function(operator.name, operator.overload);
    Ok(Some(call(function, vec![left.as_type(&args[0].arrow()), right.as_type(&args[1].arrow())])))
}

fn kind(operand: &Operand) -> Option<Kind> {
    match operand.arrow() {
        _ if operand.open => None,
        // The factor of an interval is converted to a double.
        DataType::Decimal128(..) | DataType::Decimal256(..) => Some(Kind::Float),
        data_type => Kind::of(data_type),
    }
}

/// The operator of a known operand and a literal of unknown type: that of two operands of one type, else the only one.
fn of_open(
    sign: char,
    known: Option<Kind>,
    order: impl Fn(&[Kind]) -> (Kind, Kind),
) -> Result<Option<&'static Operator>> {
    let fits = |operator: &&Operator| {
        let (of_known, _) = order(operator.overload[0].args);
        operator.sign == sign && Some(of_known) == known
    };
    let all: Vec<&Operator> = OPERATORS.iter().filter(fits).collect();
    let same = all.iter().find(|operator| {
        let (of_known, of_open) = order(operator.overload[0].args);
        of_known == of_open
    });
    match (same, all.as_slice()) {
        (Some(same), _) => Ok(Some(same)),
        (None, [only]) => Ok(Some(only)),
        (None, []) => Ok(None),
        (None, _) => {
            let message = format!("operator is not unique: {sign} with a literal of unknown type");
            Err(SqlError::new(SqlState::AMBIGUOUS_FUNCTION, message)
                .with_hint(
                    "Could not choose a best candidate operator. You might need to add explicit type casts.",
                )
                .into())
        }
    }
}

/// The operator of two known operands: without conversion, else with the least conversion.
fn best(sign: char, left: Kind, right: Kind) -> Option<&'static Operator> {
    let cost = |operator: &&Operator| {
        let args = operator.overload[0].args;
        let total = conversion(left, args[0])? + conversion(right, args[1])?;
        (operator.sign == sign).then_some(total)
    };
    OPERATORS.iter().filter(|operator| cost(operator).is_some()).min_by_key(|operator| cost(operator))
}

/// The distance of an implicit conversion; None: there is none.
fn conversion(from: Kind, into: Kind) -> Option<u32> {
    match (from, into) {
        (from, into) if from == into => Some(0),
        (Kind::Date, Kind::Timestamp) | (Kind::Timestamp, Kind::TimestampTz) => Some(1),
        (Kind::Date, Kind::TimestampTz) => Some(2),
        (Kind::Time, Kind::Interval) | (Kind::Int, Kind::Float) => Some(1),
        _ => None,
    }
}
