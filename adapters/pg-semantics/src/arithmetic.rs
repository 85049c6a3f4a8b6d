//! Arithmetic that fails if the result is out of range of its type, as PostgreSQL's does. DataFusion wraps integers
//! around and lets floats become infinite. After the coercion of types, arithmetic becomes calls of checking functions,
//! so it is checked in every expression, also in constants that are folded.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, Datum};
use datafusion::arrow::compute::kernels::numeric::{add, div, mul, rem, sub};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

use crate::by_value;
use crate::casts;
use crate::error::{SqlError, SqlState};
use crate::operators::Operation;
use crate::schema;
use crate::types::PgType;

/// Replaces DataFusion's arithmetic by checked arithmetic. Runs after types are coerced.
#[derive(Debug)]
pub struct CheckArithmetic;

impl AnalyzerRule for CheckArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(check_node)?.data)
    }

    fn name(&self) -> &str {
        "check_arithmetic"
    }
}

fn check_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = schema::of_expressions(&plan)?;
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(Transformed::yes(name.restore(check(expr, &schema)?)))
    })
}

/// The expression with checked arithmetic and PostgreSQL's casts. Its types are already coerced.
pub fn check(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr
        .transform_up(|e| {
            checked(e, schema)?
                .transform_data(|e| casts::as_postgres(e, schema))?
                .transform_data(|e| casts::compared(e, schema))?
                .transform_data(|e| by_value::compared(e, schema))
        })?
        .data)
}

fn checked(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (operation, left, right) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match operation(op, &left, &right, schema)? {
            Some(operation) => (operation, *left, *right),
            None => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
        },
        Expr::Negative(value) => match value.get_type(schema)? {
            integer if integer.is_signed_integer() => {
                let zero = Expr::Literal(ScalarValue::new_zero(&integer)?, None);
                (Operation::Subtract, zero, *value)
            }
            _ => return Ok(Transformed::no(Expr::Negative(value))),
        },
        other => return Ok(Transformed::no(other)),
    };
    Ok(Transformed::yes(call(operation, vec![left, right])))
}

/// The operation to check; None where DataFusion checks it itself: division of integers, and all operations on
/// numerics.
fn operation(op: Operator, left: &Expr, right: &Expr, schema: &DFSchema) -> Result<Option<Operation>> {
    let operation = match op {
        Operator::Plus => Operation::Add,
        Operator::Minus => Operation::Subtract,
        Operator::Multiply => Operation::Multiply,
        Operator::Divide => Operation::Divide,
        _ => return Ok(None),
    };
    let data_type = left.get_type(schema)?;
    let float = matches!(data_type, DataType::Float32 | DataType::Float64);
    let integer = data_type.is_integer() && operation != Operation::Divide;
    Ok(((float || integer) && right.get_type(schema)? == data_type).then_some(operation))
}

/// A call of the function that carries out `operation` on two values of one type.
pub fn call(operation: Operation, args: Vec<Expr>) -> Expr {
    ScalarUDF::from(Checked { operation, signature: Signature::any(2, Volatility::Immutable) }).call(args)
}

/// Arithmetic on two values of one type.
#[derive(PartialEq, Eq, Hash, Debug)]
pub struct Checked {
    operation: Operation,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Add => "add",
            Operation::Subtract => "subtract",
            Operation::Multiply => "multiply",
            Operation::Divide => "divide",
            Operation::Remainder => "remainder",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] if left == right => Ok(left.clone()),
            other => plan_err!("{} of {other:?}", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Field::new(self.name(), self.return_type(&types)?, nullable).into())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return plan_err!("{} takes two values", self.name());
        };
        apply(left, right, |l, r| self.operation.compute(l, r))
    }
}

impl Operation {
    fn compute(self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        let result = match self {
            Operation::Add => add(left, right),
            Operation::Subtract => sub(left, right),
            Operation::Multiply => mul(left, right),
            Operation::Divide => div(left, right),
            Operation::Remainder => rem(left, right),
        };
        let data_type = left.get().0.data_type();
        match (result, data_type) {
            (Ok(result), DataType::Float32) => self.float::<Float32Type>(left, right, result),
            (Ok(result), DataType::Float64) => self.float::<Float64Type>(left, right, result),
            (Err(ArrowError::ArithmeticOverflow(_)), _) => {
                let PgType::One(base) = PgType::of_arrow(data_type) else {
                    unreachable!("integers are scalars")
                };
                Err(failed(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{} out of range", base.sql_name())))
            }
            (result, _) => result,
        }
    }

    /// Floats are calculated first and checked afterwards.
    fn float<T: ArrowPrimitiveType<Native: Into<f64>>>(
        self,
        left: &dyn Datum,
        right: &dyn Datum,
        result: ArrayRef,
    ) -> Result<ArrayRef, ArrowError> {
        let values = |datum: &dyn Datum, row: usize| -> f64 {
            let (array, scalar) = datum.get();
            array.as_primitive::<T>().value(if scalar { 0 } else { row }).into()
        };
        let mut any_nan = false;
        for (row, value) in result.as_primitive::<T>().iter().enumerate() {
            let Some(value) = value else { continue };
            let value: f64 = value.into();
            // No other error is possible.
            if value.is_finite() && value != 0.0 {
                continue;
            }
            any_nan |= value.is_nan();
            self.judge(values(left, row), values(right, row), value)?;
        }
        Ok(if any_nan { one_nan(&result) } else { result })
    }

    fn judge(self, left: f64, right: f64, value: f64) -> Result<(), ArrowError> {
        if self == Operation::Divide && right == 0.0 && !left.is_nan() {
            return Err(ArrowError::DivideByZero);
        }
        if value.is_infinite() && left.is_finite() && right.is_finite() {
            return Err(failed(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow".into()));
        }
        let vanished = match self {
            Operation::Multiply => left != 0.0 && right != 0.0,
            Operation::Divide => left != 0.0 && right.is_finite(),
            Operation::Add | Operation::Subtract | Operation::Remainder => false,
        };
        if value == 0.0 && vanished {
            return Err(failed(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow".into()));
        }
        Ok(())
    }
}

/// Floats with one NaN only: processors give NaN a sign, and comparisons see it.
fn one_nan(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float32 => {
            let one = |v: f32| if v.is_nan() { f32::NAN } else { v };
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(one))
        }
        DataType::Float64 => {
            let one = |v: f64| if v.is_nan() { f64::NAN } else { v };
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
        }
        _ => Arc::clone(values),
    }
}

fn failed(sqlstate: SqlState, message: String) -> ArrowError {
    ArrowError::ExternalError(Box::new(SqlError::new(sqlstate, message)))
}
