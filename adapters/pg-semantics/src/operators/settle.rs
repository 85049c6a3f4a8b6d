//! Resolves the types of an expression as PostgreSQL does: integer literals that fit are of type integer; the branches
//! of CASE, the arguments of COALESCE and the like, and the items of IN are of one type. Operators resolve their
//! operands; other expressions are resolved in place (see [`SETTLE`]).

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InList, ScalarFunction, Sort, Unnest};
use datafusion::logical_expr::{Between, Case, Cast, Expr, ExprSchemable, Operator, when};

use super::operand::Operand;
use super::{Operation, called, chain, compare, label, members, numeric, settle_call, settle_cast, shown};
use crate::arithmetic;
use crate::casts;
use crate::error::{SqlError, SqlState};
use crate::types::{Base, NO_MODIFIER, PgType, typed};

/// Name of an operator without an operation: `x OPERATOR(settle) NULL` is x with its types resolved. It is put around
/// expressions that are not operands before planning.
pub const SETTLE: &str = "pg_settle";

/// Name of an operator: `x OPERATOR(common) coalesce(y, z)` is x converted to the common type of y and z. The values of
/// a column of VALUES are written so.
pub const COMMON: &str = "pg_common";

/// Name of an operator: `x OPERATOR(widen) NULL` is x; a numeric is widened for the results of a recursion.
pub const WIDEN: &str = "pg_widen";

/// Name of an operator: `x OPERATOR(recurred) NULL` is x, marked as a recursive result for
/// [`is_recurred`](super::is_recurred).
pub const RECURRED: &str = "pg_recurred";

/// See [`RECURRED`].
pub fn recurred(value: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(label::recurred(widened(value, schema)?))
}

/// See [`COMMON`].
pub fn as_one_of(value: Expr, all: Expr, schema: &DFSchema) -> Result<Expr> {
    let Expr::ScalarFunction(all) = all else {
        return Err(SqlError::internal("values have nothing in common").into());
    };
    let all = operands(all.args, schema)?;
    let Some(common) = common_type(&all) else {
        let mut types = all.iter().filter(|o| !o.open).map(Operand::type_name);
        let (first, last) = (types.next().unwrap_or_default(), types.next_back().unwrap_or_default());
        let message = format!("VALUES types {first} and {last} cannot be matched");
        return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message).into());
    };
    let shown_as = shown::common(all.iter());
    let value = Operand::new(value, schema)?;
    // A text beside numerics is a numeric with its own digits.
    let cast = as_one(value, &common, shown_as.map(|(base, _)| base), schema)?;
    let cast = settle(cast, schema)?;
    match shown_as {
        Some((base, modifier)) => shown::shown(cast, schema, base, modifier),
        None => Ok(cast),
    }
}

/// See [`WIDEN`].
pub fn widened(value: Expr, schema: &DFSchema) -> Result<Expr> {
    let value = Operand::new(value, schema)?;
    match value.arrow().is_decimal() {
        true => Ok(crate::casts::widened(value.expr)),
        false => Ok(value.expr),
    }
}

/// The expression with its types resolved. Idempotent.
pub fn settle(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(match expr {
        // Resolved during planning, with everything below them.
        done @ (Expr::BinaryExpr(_) | Expr::Column(_) | Expr::OuterReferenceColumn(..)) => done,
        Expr::ScalarFunction(done)
            if numeric::is_operation(&done.func)
                || chain::field(&done).is_some()
                || shown::is_shown(&done.func) =>
        {
            Expr::ScalarFunction(done)
        }
        // The least integer is written as the negative of a bigint.
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata)
            if value != i64::from(i32::MIN) && i32::try_from(value).is_ok() =>
        {
            Expr::Literal(ScalarValue::Int32(Some(value as i32)), metadata)
        }
        Expr::Negative(value) => negated(settle(*value, schema)?, schema)?,
        Expr::Case(case) => settle_case(case, schema)?,
        Expr::Between(between) => settle_between(between, schema)?,
        Expr::InList(list) => settle_in_list(list, schema)?,
        Expr::ScalarFunction(function) if OF_ONE_TYPE.contains(&function.name()) => {
            settle_of_one_type(function, schema)?
        }
        Expr::ScalarFunction(function) if function.name() == "nullif" => settle_nullif(function, schema)?,
        Expr::ScalarFunction(function) => settle_call(function, schema)?,
        Expr::AggregateFunction(mut aggregate) => {
            let args = aggregate.params.args.into_iter();
            aggregate.params.args =
                args.map(|arg| label::casts(settle(arg, schema)?)).collect::<Result<_>>()?;
            aggregate.params.order_by = sorted(aggregate.params.order_by, schema)?;
            Expr::AggregateFunction(aggregate)
        }
        Expr::WindowFunction(mut window) => {
            window.params.args = window_arguments(window.fun.name(), window.params.args, schema)?;
            let keys = window.params.partition_by.into_iter();
            window.params.partition_by = keys.map(|key| settle(key, schema)).collect::<Result<_>>()?;
            window.params.order_by = sorted(window.params.order_by, schema)?;
            let of = match window.params.args.first() {
                Some(first) if OF_A_ROW.contains(&window.fun.name()) => {
                    shown::common(std::iter::once(&Operand::new(first.clone(), schema)?))
                }
                _ => None,
            };
            let window = Expr::WindowFunction(window);
            match of {
                Some((base, _)) => shown::shown(window, schema, base, NO_MODIFIER)?,
                None => window,
            }
        }
        Expr::Cast(cast) => settle_cast(cast, schema)?,
        Expr::Unnest(unnest) => settle_unnest(unnest, schema)?,
        other => other.map_children(|child| Ok(Transformed::yes(settle(child, schema)?)))?.data,
    })
}

/// The negative of a float is a product, because a plain sign change would create a second NaN.
fn negated(value: Expr, schema: &DFSchema) -> Result<Expr> {
    let minus_one = match value.get_type(schema)? {
        DataType::Float32 => ScalarValue::Float32(Some(-1.0)),
        DataType::Float64 => ScalarValue::Float64(Some(-1.0)),
        _ => return Ok(Expr::Negative(Box::new(value))),
    };
    Ok(arithmetic::call(Operation::Multiply, vec![value, Expr::Literal(minus_one, None)]))
}

/// Arguments of functions that declare their integer types.
pub(super) fn arguments(args: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let literal = |e: &Expr| matches!(e, Expr::Literal(ScalarValue::Int64(_), _));
    args.into_iter().map(|arg| if literal(&arg) { Ok(arg) } else { settle(arg, schema) }).collect()
}

/// Sort keys; a number is a constant of any type.
fn sorted(keys: Vec<Sort>, schema: &DFSchema) -> Result<Vec<Sort>> {
    let literal = |e: &Expr| matches!(e, Expr::Literal(..));
    let settled = |by: Sort| -> Result<Sort> {
        if literal(&by.expr) {
            return Ok(by);
        }
        let expr = settle(by.expr.clone(), schema)?;
        Ok(by.with_expr(expr))
    };
    keys.into_iter().map(settled).collect()
}

/// Arguments of a window function: resolves the value; the function declares the type of row counts.
fn window_arguments(name: &str, args: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    if name == "ntile" {
        return arguments(args, schema);
    }
    let mut args = args.into_iter();
    let value = args.next().map(|arg| settle(arg, schema)).transpose()?;
    let rest = arguments(args.collect(), schema)?;
    let mut args: Vec<Expr> = value.into_iter().chain(rest).collect();
    // The default for missing rows has the type of the value.
    if matches!(name, "lag" | "lead")
        && let [value, offset, other] = args.as_slice()
    {
        let both = of_one_type(vec![value.clone(), other.clone()], schema)?;
        let literal = |expr: Expr| match expr {
            Expr::Cast(Cast { expr, field }) => match *expr {
                Expr::Literal(value, metadata) if value.data_type().is_numeric() => {
                    value.cast_to(field.data_type()).map(|value| Expr::Literal(value, metadata))
                }
                other => Ok(Expr::Cast(Cast { expr: Box::new(other), field })),
            },
            other => Ok(other),
        };
        let offset = offset.clone();
        let mut both = both.into_iter().map(literal);
        args = both.next().into_iter().chain([Ok(offset)]).chain(both).collect::<Result<_>>()?;
    }
    Ok(args)
}

/// NULLIF has the type of its first argument if that can be compared with the second without conversion: numbers with
/// numbers, dates with timestamps. Otherwise it has the common type.
fn settle_nullif(function: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let operands = operands(function.args, schema)?;
    let [first, second] = operands.as_slice() else {
        return Err(SqlError::syntax("NULLIF takes two values").into());
    };
    let equal = compare::plan(Operator::Eq, first, second)?;
    let Some(common) = compare::common_type(first, second) else {
        return Err(super::no_operator("=", first, second).into());
    };
    let as_it_is = |a: &DataType, b: &DataType| {
        let time = |t: &DataType| matches!(t, DataType::Date32 | DataType::Timestamp(..));
        a.is_integer() && b.is_integer() || a.is_floating() && numeric::is_number(b) || time(a) && time(b)
    };
    let kept = !first.open && !second.open && as_it_is(first.arrow(), second.arrow());
    let value = if kept { first.expr.clone() } else { first.as_type(&common) };
    let kept_type = if kept { first.arrow().clone() } else { common.clone() };
    let plain = |o: &Operand| compare::is_plain(o) && o.base() != Some(Base::Interval);
    // The function compares bits, and a float has two zeros.
    if kept_type == common && !common.is_floating() && plain(first) && plain(second) {
        let args = vec![first.as_type(&common), second.as_type(&common)];
        return Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function.func, args)));
    }
    let null = datafusion::logical_expr::cast(Expr::Literal(ScalarValue::Null, None), kept_type.clone());
    let value = when(equal, null).otherwise(value)?;
    // A CASE has only the Arrow type of its branches.
    match first.base() == Some(Base::Jsonb) && !first.open {
        true => super::called("jsonb", vec![first.clone().retyped(value, kept_type)]),
        false => Ok(value),
    }
}

/// Window functions that return the value of a row.
const OF_A_ROW: [&str; 5] = ["lag", "lead", "first_value", "last_value", "nth_value"];

/// Functions whose arguments are converted to one type.
const OF_ONE_TYPE: [&str; 4] = ["coalesce", "greatest", "least", "make_array"];

fn operands(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Operand>> {
    exprs.into_iter().map(|e| Operand::new(e, schema)).collect()
}

/// A call with its arguments converted to one type.
fn settle_of_one_type(mut function: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let args = operands(std::mem::take(&mut function.args), schema)?;
    let shown_as = shown::common(args.iter());
    if let (Some((Base::Jsonb, _)), "greatest" | "least") = (shown_as, function.name()) {
        let message = format!("{} of values of type jsonb is not supported", function.name());
        return Err(SqlError::unsupported(message).with_hint("Use CASE.").into());
    }
    function.args = all_of_one_type(args, shown_as.map(|(base, _)| base), schema)?;
    let is_array = function.name() == "make_array";
    for arg in function.args.iter().filter(|_| is_array) {
        if matches!(arg.get_type(schema)?, DataType::List(_)) {
            return Err(SqlError::unsupported("only arrays of one dimension are supported").into());
        }
    }
    let call = Expr::ScalarFunction(function);
    match shown_as {
        Some((base, modifier)) if !is_array => shown::shown(call, schema, base, modifier),
        _ => Ok(call),
    }
}

/// The expressions converted to the type in which all can be compared.
fn of_one_type(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let operands = operands(exprs, schema)?;
    let shown_as = shown::common(operands.iter()).map(|(base, _)| base);
    all_of_one_type(operands, shown_as, schema)
}

fn all_of_one_type(operands: Vec<Operand>, shown_as: Option<Base>, schema: &DFSchema) -> Result<Vec<Expr>> {
    match common_type(&operands) {
        Some(common) => operands.into_iter().map(|o| as_one(o, &common, shown_as, schema)).collect(),
        None => Ok(operands.into_iter().map(|o| o.expr).collect()),
    }
}

/// An operand converted to the common type; a literal is parsed as a value of it.
pub(super) fn as_one(
    operand: Operand,
    common: &DataType,
    shown_as: Option<Base>,
    schema: &DFSchema,
) -> Result<Expr> {
    let expr = operand.as_type(common);
    match shown_as {
        Some(Base::Jsonb) if operand.open => called("jsonb", vec![operand.retyped(expr, DataType::Utf8)]),
        Some(Base::Uuid) if operand.open => {
            let uuid = typed(Field::new("", DataType::Utf8, true), Base::Uuid);
            casts::settle(Cast::new_from_field(Box::new(expr), uuid.into()), schema)
        }
        _ => Ok(expr),
    }
}

/// The type of the first operand of known type, widened by the others.
fn common_type(operands: &[Operand]) -> Option<DataType> {
    let mut known = operands.iter().filter(|o| !o.open);
    let Some(first) = known.next() else {
        // Quoted literals only: text. NULLs only: nothing to resolve.
        let text = operands.iter().any(|o| matches!(o.arrow(), DataType::Utf8));
        return text.then_some(DataType::Utf8);
    };
    let mut common = first.clone();
    for other in known {
        let data_type = compare::common_result(&common, other)?;
        if *common.arrow() != data_type {
            common = if *other.arrow() == data_type { other.clone() } else { common.of_type(data_type) };
        }
    }
    Some(common.arrow().clone())
}

/// Unnested values have only their Arrow type: jsonb is declared again.
fn settle_unnest(mut unnest: Unnest, schema: &DFSchema) -> Result<Expr> {
    let list = Operand::new(*unnest.expr, schema)?;
    if list.open {
        let message = "function unnest(unknown) is not unique";
        return Err(SqlError::new(SqlState::AMBIGUOUS_FUNCTION, message).into());
    }
    let is_json = matches!(list.pg(), PgType::Array(Base::Jsonb));
    unnest.expr = Box::new(list.expr);
    let item = Expr::Unnest(unnest);
    match is_json {
        true => {
            let text = datafusion::arrow::datatypes::Field::new("", DataType::Utf8, true);
            super::called("jsonb", vec![Operand { expr: item, field: text.into(), open: false }])
        }
        false => Ok(item),
    }
}

fn settle_case(mut case: Case, schema: &DFSchema) -> Result<Expr> {
    // CASE x WHEN y compares each y with x.
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
    let results = operands(results, schema)?;
    let (values, otherwise) = results.split_at(case.when_then_expr.len());
    // ELSE has priority; without it there is a NULL, which has no type.
    let shown_as = shown::common(otherwise.iter().chain(values))
        .map(|(base, modifier)| (base, if otherwise.is_empty() { NO_MODIFIER } else { modifier }));
    let mut results = all_of_one_type(results, shown_as.map(|(base, _)| base), schema)?.into_iter();
    for ((_, then), result) in case.when_then_expr.iter_mut().zip(results.by_ref()) {
        **then = result;
    }
    case.else_expr = results.next().map(Box::new);
    match shown_as {
        Some((base, modifier)) => shown::shown(Expr::Case(case), schema, base, modifier),
        None => Ok(Expr::Case(case)),
    }
}

fn settle_between(between: Between, schema: &DFSchema) -> Result<Expr> {
    let Between { expr, negated, low, high } = between;
    let subject = Operand::new(*expr, schema)?;
    let (low, high) = (Operand::new(*low, schema)?, Operand::new(*high, schema)?);
    let both =
        compare::plan(Operator::GtEq, &subject, &low)?.and(compare::plan(Operator::LtEq, &subject, &high)?);
    Ok(if negated { Expr::Not(Box::new(both)) } else { both })
}

/// Converts subject and items to one type. Without a common type, or with one item only, each item is compared
/// separately.
fn settle_in_list(list: InList, schema: &DFSchema) -> Result<Expr> {
    let InList { expr, list, negated } = list;
    let subject = Operand::new(*expr, schema)?;
    let mut items = operands(list, schema)?;
    if subject.arrow().is_decimal() {
        items = items.into_iter().map(Operand::as_numeric).collect();
    }
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

/// The common type of a list, as PostgreSQL determines it for an array: with a real among exact numbers it is real.
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

/// A disjunction of these, as a balanced tree.
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
