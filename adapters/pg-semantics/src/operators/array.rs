//! Operators of arrays: `@>`, `<@`, `&&`, `||`, comparisons, subscripts, and comparisons of an item with ANY or ALL
//! items of an array.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{Expr, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{Operand, compare, no_operator};
use crate::casts::array::literal_items;
use crate::error::{SqlError, SqlState};
use crate::functions::array::{Action, ArrayFunction, Slot, slot_type};
use crate::functions::scalar::{Param, no_function};
use crate::types::{Base, PgType};

/// First part of the names of the operators that replace `x = ANY(array)` and `x = ALL(array)` before planning.
pub const ANY: &str = "pg_any";
/// See [`ANY`].
pub const ALL: &str = "pg_all";

fn is_array(operand: &Operand) -> bool {
    !operand.open && matches!(operand.pg(), PgType::Array(_))
}

/// Plans an operator with an array on either side. None: not of this family.
pub fn plan(op: &BinaryOperator, left: &Operand, right: &Operand) -> Result<Option<Expr>> {
    if !is_array(left) && !is_array(right) {
        return Ok(None);
    }
    let action = match op {
        BinaryOperator::AtArrow => Action::Contains,
        BinaryOperator::ArrowAt => Action::Contained,
        BinaryOperator::PGOverlap => Action::Overlap,
        BinaryOperator::StringConcat => match (is_array(left) || left.open, is_array(right) || right.open) {
            (true, true) => Action::Cat,
            (true, false) => Action::Append,
            _ => Action::Prepend,
        },
        _ => return Err(no_operator(&op.to_string(), left, right).into()),
    };
    call(action, vec![left.clone(), right.clone()]).map(Some).map_err(|error| match SqlError::from(error) {
        error if error.sqlstate == SqlState::UNDEFINED_FUNCTION => {
            no_operator(&op.to_string(), left, right).into()
        }
        error => error.into(),
    })
}

/// A comparison of two arrays.
pub fn compare_arrays(op: Operator, left: &Operand, right: &Operand) -> Result<Option<Expr>> {
    let known = matches!(
        op,
        Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
    );
    if !known || (!is_array(left) && !is_array(right)) {
        return Ok(None);
    }
    match call(Action::Compare(op), vec![left.clone(), right.clone()]) {
        Ok(call) => Ok(Some(call)),
        Err(error) => match SqlError::from(error) {
            error if error.sqlstate == SqlState::UNDEFINED_FUNCTION => {
                Err(no_operator(&op.to_string(), left, right).into())
            }
            error => Err(error.into()),
        },
    }
}

/// `left op ANY(right)`, or `ALL`.
pub fn quantified(op: Operator, any: bool, left: Operand, right: Operand) -> Result<Expr> {
    let items = if right.open { open_items(&left, &right)? } else { listed(&right) };
    match items {
        // Written out, it is a list, which table scans can use.
        Some(items) if matches!((op, any), (Operator::Eq, true) | (Operator::NotEq, false)) => {
            in_list(left, items, !any)
        }
        _ => {
            let action = if any { Action::Any(op) } else { Action::All(op) };
            let (l, r) = (left.clone(), right.clone());
            call(action, vec![left, right]).map_err(|error| match SqlError::from(error) {
                error if error.sqlstate == SqlState::UNDEFINED_FUNCTION => {
                    if !r.open && !is_array(&r) {
                        return SqlError::new(
                            SqlState::WRONG_OBJECT_TYPE,
                            "op ANY/ALL (array) requires array on right side",
                        )
                        .into();
                    }
                    no_operator(&op.to_string(), &l, &r).into()
                }
                error => error.into(),
            })
        }
    }
}

/// The items of an array whose text is a literal, as literals.
fn open_items(left: &Operand, right: &Operand) -> Result<Option<Vec<Operand>>> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = &right.expr else { return Ok(None) };
    if left.open {
        return Ok(None);
    }
    let items = literal_items(text)?;
    let literal = |item: Option<String>| Operand::literal(Expr::Literal(ScalarValue::Utf8(item), None));
    Ok(Some(items.into_iter().map(literal).collect()))
}

/// The items of `ARRAY[…]`.
fn listed(right: &Operand) -> Option<Vec<Operand>> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = &right.expr else { return None };
    let DataType::List(item) = right.arrow() else { return None };
    (func.name() == "make_array").then(|| {
        let operand = |expr: &Expr| Operand { expr: expr.clone(), field: item.clone(), open: false };
        args.iter().map(operand).collect()
    })
}

fn in_list(left: Operand, items: Vec<Operand>, negated: bool) -> Result<Expr> {
    let plain = compare::is_plain(&left);
    let subject = left.arrow().clone();
    let same = items.iter().all(|item| item.open || *item.arrow() == subject);
    if items.is_empty() {
        return Ok(Expr::Literal(ScalarValue::Boolean(Some(negated)), None));
    }
    if plain && same && !left.open {
        let list = items.iter().map(|item| item.as_type(&subject)).collect();
        return Ok(Expr::InList(InList { expr: Box::new(left.expr), list, negated }));
    }
    let mut any: Option<Expr> = None;
    for item in &items {
        let equal = compare::plan(Operator::Eq, &left, item)?;
        any = Some(match any {
            None => equal,
            Some(others) => others.or(equal),
        });
    }
    let any = any.unwrap_or(Expr::Literal(ScalarValue::Boolean(Some(false)), None));
    Ok(if negated { Expr::Not(Box::new(any)) } else { any })
}

/// A call of a function of arrays: arguments of one type of items.
pub fn call(action: Action, args: Vec<Operand>) -> Result<Expr> {
    let types = argument_types(action, &args)?;
    let args = args.iter().zip(&types).map(|(arg, into)| arg.as_type(into)).collect();
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(ArrayFunction::udf(action), args)))
}

/// The types to which the arguments are converted.
pub fn argument_types(action: Action, args: &[Operand]) -> Result<Vec<DataType>> {
    let undefined = || {
        let params: Vec<Param> =
            args.iter().map(|a| Param { pg: a.pg(), open: a.open, lenient: false }).collect();
        no_function(action.name(), &params)
    };
    let slots = action.slots().iter().find(|s| s.len() == args.len()).ok_or_else(undefined)?;
    let mut item: Option<Operand> = None;
    for (slot, arg) in slots.iter().zip(args) {
        let fits = arg.open
            || match slot {
                Slot::Array | Slot::Ints => is_array(arg),
                Slot::Item => !is_array(arg),
                Slot::Int => matches!(arg.base(), Some(Base::Int2 | Base::Int4)),
                Slot::Text => {
                    matches!(arg.base(), Some(Base::Text | Base::Varchar | Base::Bpchar | Base::Name))
                }
            };
        if !fits {
            return Err(undefined().into());
        }
        let next = match (slot, arg.arrow()) {
            _ if arg.open => continue,
            (Slot::Array, DataType::List(of)) => {
                Operand { expr: arg.expr.clone(), field: of.clone(), open: false }
            }
            (Slot::Item, _) => arg.clone(),
            _ => continue,
        };
        item = Some(match item {
            None => next,
            Some(known) => {
                let common = compare::common_type(&known, &next).ok_or_else(undefined)?;
                if *next.arrow() == common { next } else { known.of_type(common) }
            }
        });
    }
    let item = item.ok_or_else(|| {
        SqlError::new(
            SqlState::DATATYPE_MISMATCH,
            "could not determine polymorphic type because input has type unknown",
        )
    })?;
    if action.compares() && matches!(item.base(), Some(Base::Jsonb | Base::Interval | Base::Json)) {
        let message = format!("comparing items of arrays of type {} is not supported", item.pg().sql_name());
        return Err(SqlError::unsupported(message).into());
    }
    Ok(slots.iter().zip(args).map(|(slot, arg)| slot_type(*slot, item.arrow(), arg.arrow())).collect())
}
