//! Resolution of operators as in PostgreSQL. [`Operators`] plans every binary operator of a statement: the types of its
//! operands determine its meaning and their conversions. DataFusion need not coerce the result. Each family of types
//! has a module; an operator of no family is an error.

pub mod array;
mod bits;
mod chain;
mod compare;
mod json;
mod label;
mod members;
mod numeric;
mod operand;
pub mod roots;
pub mod sets;
mod settle;
mod shown;
mod text;
mod time;

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, GetFieldAccess, Operator, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::casts;
use crate::error::{SqlError, SqlState};
use crate::functions::array::{Action, ArrayFunction};
use crate::functions::scalar::{Kind, Param, Scalar};
use crate::functions::{math, ordered, ours, series, type_of};
use crate::types::{Base, PgType};

pub use label::is_recurred;
pub use numeric::{Decimals, Operation, Wide, from_wide};
pub use operand::Operand;
pub use settle::{COMMON, RECURRED, SETTLE, WIDEN, settle};
pub use shown::shown;

/// Plans operators by the types of their operands.
#[derive(Debug)]
pub struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = raw;
        if matches!(&op, BinaryOperator::PGCustomBinaryOperator(name) if name.as_slice() == [SETTLE]) {
            return Ok(PlannerResult::Planned(settle(left, schema)?));
        }
        if matches!(&op, BinaryOperator::PGCustomBinaryOperator(name) if name.as_slice() == [COMMON]) {
            return Ok(PlannerResult::Planned(settle::as_one_of(left, right, schema)?));
        }
        if matches!(&op, BinaryOperator::PGCustomBinaryOperator(name) if name.as_slice() == [WIDEN]) {
            return Ok(PlannerResult::Planned(settle::widened(left, schema)?));
        }
        if matches!(&op, BinaryOperator::PGCustomBinaryOperator(name) if name.as_slice() == [RECURRED]) {
            return Ok(PlannerResult::Planned(settle::recurred(left, schema)?));
        }
        if let Some(logical) = logical(&op) {
            // Booleans need no resolution: their operands are already resolved.
            let (left, right) = (Box::new(left), Box::new(right));
            return Ok(PlannerResult::Planned(Expr::BinaryExpr(BinaryExpr { left, op: logical, right })));
        }
        let (left, right) = (Operand::new(left, schema)?, Operand::new(right, schema)?);
        let (left, right) = match chain::extend(&op, left, right)? {
            chain::Extended::Chain(chain) => return Ok(PlannerResult::Planned(chain)),
            chain::Extended::Not(left, right) => (left, right),
        };
        match resolve(&op, &left, &right)? {
            Some(planned) => Ok(PlannerResult::Planned(planned)),
            None => Ok(PlannerResult::Original(RawBinaryExpr { op, left: left.expr, right: right.expr })),
        }
    }

    fn plan_array_literal(&self, exprs: Vec<Expr>, schema: &DFSchema) -> Result<PlannerResult<Vec<Expr>>> {
        for expr in &exprs {
            if matches!(expr.get_type(schema)?, DataType::List(_)) {
                return Err(SqlError::unsupported("only arrays of one dimension are supported").into());
            }
        }
        Ok(PlannerResult::Original(exprs))
    }

    fn plan_aggregate(&self, mut raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        match raw.func.name() {
            name if ordered::is_ordered(name) => return Ok(PlannerResult::Original(ordered::plan(raw)?)),
            // PostgreSQL sorts to find equal values.
            "array_agg" | "json_agg" | "jsonb_agg" | "string_agg"
                if raw.distinct && raw.order_by.is_empty() =>
            {
                raw.order_by =
                    raw.args.first().map(|arg| arg.clone().sort(true, false)).into_iter().collect();
            }
            // DataFusion returns an unsigned integer.
            "regr_count" => {
                let RawAggregateExpr { func, args, distinct, filter, order_by, null_treatment } = raw;
                let count =
                    AggregateFunction::new_udf(func, args, distinct, filter, order_by, null_treatment);
                let count = Expr::AggregateFunction(count);
                return Ok(PlannerResult::Planned(datafusion::logical_expr::cast(count, DataType::Int64)));
            }
            "first_value" => {
                let message = "window function first_value requires an OVER clause";
                return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).into());
            }
            _ => {}
        }
        Ok(PlannerResult::Original(raw))
    }

    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { field_access, expr } = raw;
        let (action, args) = match field_access {
            GetFieldAccess::ListIndex { key } => (Action::Subscript, vec![expr, *key]),
            GetFieldAccess::ListRange { start, stop, .. } => (Action::Slice, vec![expr, *start, *stop]),
            GetFieldAccess::NamedStructField { .. } => {
                return Err(SqlError::unsupported("columns of composite types are not supported").into());
            }
        };
        let args = args.into_iter().map(|e| Operand::new(e, schema)).collect::<Result<Vec<_>>>()?;
        if args.first().is_some_and(|a| !matches!(a.pg(), PgType::Array(_))) {
            let name = args.first().map(Operand::type_name).unwrap_or_default();
            let message = format!("cannot subscript type {name} because it does not support subscripting");
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message).into());
        }
        Ok(PlannerResult::Planned(array::call(action, args)?))
    }
}

/// Tries the families in turn.
fn resolve(op: &BinaryOperator, left: &Operand, right: &Operand) -> Result<Option<Expr>> {
    if let Some(comparison) = comparison(op) {
        return compare::plan(comparison, left, right).map(Some);
    }
    if let Some((any, comparison)) = quantifier(op) {
        return array::quantified(comparison, any, left.clone(), right.clone()).map(Some);
    }
    for family in [time::plan, json::plan, array::plan, text::plan, numeric::plan, bits::plan] {
        if let Some(planned) = family(op, left, right)? {
            return Ok(Some(planned));
        }
    }
    Ok(None)
}

/// The operator that replaces `= ANY` before planning, and its comparison.
fn quantifier(op: &BinaryOperator) -> Option<(bool, Operator)> {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return None };
    let [quantifier, op] = parts.as_slice() else { return None };
    let any = match quantifier.as_str() {
        array::ANY => true,
        array::ALL => false,
        _ => return None,
    };
    let op = match op.as_str() {
        "=" => Operator::Eq,
        "<>" | "!=" => Operator::NotEq,
        "<" => Operator::Lt,
        "<=" => Operator::LtEq,
        ">" => Operator::Gt,
        ">=" => Operator::GtEq,
        _ => return None,
    };
    Some((any, op))
}

/// A call of one of our scalar functions: chooses the overload by the arguments and converts them.
pub fn called(name: &str, args: Vec<Operand>) -> Result<Expr> {
    let function = ours(name).ok_or_else(|| SqlError::internal(format!("there is no function {name}")))?;
    let inner = function.inner().as_ref() as &dyn std::any::Any;
    let scalar = inner.downcast_ref::<Scalar>();
    let scalar = scalar.ok_or_else(|| SqlError::internal(format!("{name} is no plain function")))?;
    let args = converted(scalar, args)?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), args)))
}

/// The arguments of a call, converted to the types of its overload.
fn converted(function: &Scalar, args: Vec<Operand>) -> Result<Vec<Expr>> {
    let params: Vec<Param> =
        args.iter().map(|a| Param { pg: a.pg(), open: a.open, lenient: false }).collect();
    let kinds = function.argument_kinds(&params)?;
    args.into_iter()
        .zip(kinds)
        .map(|(arg, kind)| match kind {
            // Of any type: unchanged, but a literal of unknown type becomes text.
            Kind::Any | Kind::AnyJson | Kind::PlainJson if arg.open => Ok(arg.as_type(&DataType::Utf8)),
            Kind::Any | Kind::AnyJson | Kind::PlainJson => Ok(arg.expr),
            Kind::Jsonb if arg.open => {
                called("jsonb", vec![arg.clone().retyped(arg.as_type(&DataType::Utf8), DataType::Utf8)])
            }
            kind => Ok(arg.as_type(&kind.arrow())),
        })
        .collect()
}

/// A call of one of our functions with its arguments converted; other calls unchanged.
fn settle_call(call: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let inner = call.func.inner().as_ref() as &dyn std::any::Any;
    let operands =
        |args: Vec<Expr>| args.into_iter().map(|e| Operand::new(e, schema)).collect::<Result<Vec<_>>>();
    if let Some(scalar) = inner.downcast_ref::<Scalar>() {
        let args = converted(scalar, operands(call.args)?)?;
        return Ok(Expr::ScalarFunction(ScalarFunction::new_udf(call.func, args)));
    }
    if let Some(function) = inner.downcast_ref::<ArrayFunction>() {
        return array::call(function.action(), operands(call.args)?);
    }
    if series::is_list(&call.func) {
        let operands = operands(call.args)?;
        let known: Vec<_> = operands.iter().map(|o| (!o.open).then(|| o.arrow().clone())).collect();
        let types = series::argument_types(&known)?;
        let args = operands.iter().zip(&types).map(|(operand, into)| operand.as_type(into)).collect();
        return Ok(Expr::ScalarFunction(ScalarFunction::new_udf(call.func, args)));
    }
    if type_of::is_type_of(&call.func) {
        let null = || Expr::Literal(ScalarValue::Null, None);
        let args = operands(call.args)?.into_iter().map(|o| if o.open { null() } else { o.expr });
        return Ok(Expr::ScalarFunction(ScalarFunction::new_udf(call.func, args.collect())));
    }
    let args = match math::is_number_function(&call.func) {
        true => call.args.into_iter().map(|arg| settle(arg, schema)).collect::<Result<_>>()?,
        false => settle::arguments(call.args, schema)?,
    };
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(call.func, args)))
}

/// A value cast to text.
fn cast_to_text(operand: &Operand) -> Result<Expr> {
    if operand.base() == Some(Base::Jsonb) && !operand.open {
        return called("jsonb_out", vec![operand.clone()]);
    }
    Ok(operand.as_type(&DataType::Utf8))
}

/// PostgreSQL's cast, where the Arrow types do not determine it.
fn settle_cast(cast: Cast, schema: &DFSchema) -> Result<Expr> {
    let Cast { expr, field } = cast;
    let value = Operand::new(*expr, schema)?;
    let cast = Cast { expr: Box::new(value.expr.clone()), field };
    if !value.open && value.base() == Some(Base::Jsonb) {
        return match json::cast_from(&value, &cast.field)? {
            json::Casted::As(planned) => Ok(planned),
            json::Casted::Text(text) => {
                casts::settle(Cast::new_from_field(Box::new(text), cast.field), schema)
            }
            json::Casted::Never => {
                let message = format!("cannot cast type jsonb to {}", PgType::of(&cast.field).sql_name());
                Err(SqlError::new(SqlState::CANNOT_COERCE, message).into())
            }
        };
    }
    let plain = value.field.metadata().is_empty() || *cast.field.data_type() != DataType::Utf8;
    if value.open || plain || !cast.field.metadata().is_empty() {
        return casts::settle(cast, schema);
    }
    called("plain_text", vec![value])
}

fn logical(op: &BinaryOperator) -> Option<Operator> {
    match op {
        BinaryOperator::And => Some(Operator::And),
        BinaryOperator::Or => Some(Operator::Or),
        _ => None,
    }
}

/// The comparison of an operator of the syntax.
pub fn comparison(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// 42883, with PostgreSQL's text.
pub fn no_operator(op: &str, left: &Operand, right: &Operand) -> SqlError {
    let message = format!("operator does not exist: {} {op} {}", left.type_name(), right.type_name());
    SqlError::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}

/// A call of one of our functions.
pub fn call(function: impl Into<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function.into()), args))
}
