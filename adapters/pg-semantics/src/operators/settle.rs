//! Settling the types of an expression as PostgreSQL does: whole numbers that fit are integers, the branches of CASE and the
//! arguments of COALESCE and its kin are of one type, and so are the items of IN. Operators settle their operands; what is no
//! operand is settled where it stands in a statement (see [`SETTLE`]).

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, Case, Expr, Operator};

use super::operand::Operand;
use super::{chain, compare, label, members, numeric, settle_call, settle_cast};
use crate::types::Base;

/// Name of an operator that stands for no operation: `x OPERATOR(settle) NULL` is x with its types settled. Put around
/// expressions of a statement that are no operands, before it is planned.
pub const SETTLE: &str = "pg_settle";

/// The same expression with its types settled. Doing it twice changes nothing.
pub fn settle(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(match expr {
        // Settled when they were planned, with all that is below them.
        done @ (Expr::BinaryExpr(_) | Expr::Column(_) | Expr::OuterReferenceColumn(..)) => done,
        Expr::ScalarFunction(done) if numeric::is_operation(&done.func) || chain::field(&done).is_some() => {
            Expr::ScalarFunction(done)
        }
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) if i32::try_from(value).is_ok() => {
            Expr::Literal(ScalarValue::Int32(Some(value as i32)), metadata)
        }
        Expr::Case(case) => settle_case(case, schema)?,
        Expr::Between(between) => settle_between(between, schema)?,
        Expr::InList(list) => settle_in_list(list, schema)?,
        Expr::ScalarFunction(mut function) if OF_ONE_TYPE.contains(&function.name()) => {
            function.args = of_one_type(function.args, schema)?;
            Expr::ScalarFunction(function)
        }
        Expr::ScalarFunction(function) => settle_call(function, schema)?,
        Expr::AggregateFunction(mut aggregate) => {
            let args = aggregate.params.args.into_iter();
            aggregate.params.args =
                args.map(|arg| label::casts(settle(arg, schema)?)).collect::<Result<_>>()?;
            Expr::AggregateFunction(aggregate)
        }
        Expr::WindowFunction(mut window) => {
            window.params.args = arguments(window.params.args, schema)?;
            Expr::WindowFunction(window)
        }
        Expr::Cast(cast) => settle_cast(cast, schema)?,
        other => other.map_children(|child| Ok(Transformed::yes(settle(child, schema)?)))?.data,
    })
}

/// Arguments of functions that say themselves which integers they take.
pub(super) fn arguments(args: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let literal = |e: &Expr| matches!(e, Expr::Literal(ScalarValue::Int64(_), _));
    args.into_iter().map(|arg| if literal(&arg) { Ok(arg) } else { settle(arg, schema) }).collect()
}

/// Functions whose arguments become values of one type.
const OF_ONE_TYPE: [&str; 5] = ["coalesce", "nullif", "greatest", "least", "make_array"];

fn operands(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Operand>> {
    exprs.into_iter().map(|e| Operand::new(e, schema)).collect()
}

/// The expressions as values of one type: the one that all can be compared as.
fn of_one_type(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let operands = operands(exprs, schema)?;
    Ok(match common_type(&operands) {
        Some(common) => operands.iter().map(|o| o.as_type(&common)).collect(),
        None => operands.into_iter().map(|o| o.expr).collect(),
    })
}

/// The type of the first operand whose type is not open, widened by the others.
fn common_type(operands: &[Operand]) -> Option<DataType> {
    let mut known = operands.iter().filter(|o| !o.open);
    let Some(first) = known.next() else {
        // Of quoted literals alone: text. Of NULLs alone: nothing to settle.
        let text = operands.iter().any(|o| matches!(o.arrow(), DataType::Utf8));
        return text.then_some(DataType::Utf8);
    };
    let mut common = first.clone();
    for other in known {
        let data_type = compare::common_type(&common, other)?;
        if *common.arrow() != data_type {
            common = if *other.arrow() == data_type { other.clone() } else { common.of_type(data_type) };
        }
    }
    Some(common.arrow().clone())
}

fn settle_case(mut case: Case, schema: &DFSchema) -> Result<Expr> {
    // CASE x WHEN y: each y is compared with x.
    if let Some(subject) = case.expr.take() {
        let subject = Operand::new(*subject, schema)?;
        for (when, _) in &mut case.when_then_expr {
            let value = Operand::new(std::mem::take(when.as_mut()), schema)?;
            **when = compare::plan(Operator::Eq, &subject, &value)?;
        }
    }
    let mut results: Vec<Expr> =
        case.when_then_expr.iter_mut().map(|(_, then)| std::mem::take(then.as_mut())).collect();
    results.extend(case.else_expr.take().map(|e| *e));
    let mut results = of_one_type(results, schema)?.into_iter();
    for ((_, then), result) in case.when_then_expr.iter_mut().zip(results.by_ref()) {
        **then = result;
    }
    case.else_expr = results.next().map(Box::new);
    Ok(Expr::Case(case))
}

fn settle_between(between: Between, schema: &DFSchema) -> Result<Expr> {
    let Between { expr, negated, low, high } = between;
    let subject = Operand::new(*expr, schema)?;
    let (low, high) = (Operand::new(*low, schema)?, Operand::new(*high, schema)?);
    let both =
        compare::plan(Operator::GtEq, &subject, &low)?.and(compare::plan(Operator::LtEq, &subject, &high)?);
    Ok(if negated { Expr::Not(Box::new(both)) } else { both })
}

/// Subject and items become values of one type. Where there is none, each item is compared by itself, as it is where there is
/// only one.
fn settle_in_list(list: InList, schema: &DFSchema) -> Result<Expr> {
    let InList { expr, list, negated } = list;
    let subject = Operand::new(*expr, schema)?;
    let items = operands(list, schema)?;
    if let Some(common) = list_type(&subject, &items) {
        let value = subject.as_type(&common);
        let list: Vec<Expr> = items.iter().map(|item| item.as_type(&common)).collect();
        if subject.base() != Some(Base::Uuid)
            && let Some(set) = members::plan(&value, &list, &common, negated)?
        {
            return Ok(set);
        }
        return Ok(Expr::InList(InList { expr: Box::new(value), list, negated }));
    }
    let equal = items.iter().map(|item| compare::plan(Operator::Eq, &subject, item));
    let any = either(&mut equal.collect::<Result<Vec<_>>>()?);
    Ok(if negated { Expr::Not(Box::new(any)) } else { any })
}

/// The type that all of a list are converted to, as PostgreSQL finds it for an array: a real among exact numbers makes reals.
fn list_type(subject: &Operand, items: &[Operand]) -> Option<DataType> {
    if items.len() < 2 || subject.open || !compare::is_plain(subject) || !items.iter().all(compare::is_plain)
    {
        return None;
    }
    let known = || std::iter::once(subject).chain(items).filter(|o| !o.open).map(Operand::arrow);
    if known().all(numeric::is_number) && known().any(|t| *t == DataType::Float32) {
        let double = known().any(|t| *t == DataType::Float64);
        return Some(if double { DataType::Float64 } else { DataType::Float32 });
    }
    let mut common = subject.clone();
    for item in items {
        let data_type = compare::common_type(&common, item)?;
        if *common.arrow() != data_type {
            common = common.of_type(data_type);
        }
    }
    Some(common.arrow().clone())
}

/// Whether any of these holds, as a tree that is no deeper than it has to be.
fn either(any: &mut Vec<Expr>) -> Expr {
    match any.len() {
        0 => Expr::Literal(ScalarValue::Boolean(Some(false)), None),
        1 => any.remove(0),
        len => {
            let mut right = any.split_off(len / 2);
            either(any).or(either(&mut right))
        }
    }
}
