//! The operand of an operator: an expression, its PostgreSQL type, and whether it is a literal of unknown type.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, ReturnFieldArgs, cast};

use super::numeric::from_wide;
use super::settle::settle;
use super::{chain, numeric};
use crate::decimal::Decimal;
use crate::types::{Base, PgType};

/// An operand of an operator, or an argument of a function.
#[derive(Clone, Debug)]
pub struct Operand {
    /// The expression, with resolved types.
    pub expr: Expr,
    /// Type, nullability, and the PostgreSQL type if the Arrow type does not determine it.
    pub field: FieldRef,
    /// True for a quoted literal, NULL or a parameter without a type: it takes its type from its surroundings.
    pub open: bool,
}

impl Operand {
    /// An expression over `schema`.
    pub fn new(expr: Expr, schema: &DFSchema) -> Result<Operand> {
        let expr = settle(expr, schema)?;
        let open = is_open(&expr);
        let field = field(&expr, schema)?;
        Ok(Operand { expr, field, open })
    }

    /// A literal of unknown type.
    pub fn literal(expr: Expr) -> Operand {
        let field = datafusion::arrow::datatypes::Field::new("", DataType::Utf8, true);
        Operand { expr, field: field.into(), open: true }
    }

    /// The operand with another expression of this plain type.
    pub fn retyped(self, expr: Expr, data_type: DataType) -> Operand {
        let field = datafusion::arrow::datatypes::Field::new("", data_type, self.field.is_nullable());
        Operand { expr, field: field.into(), open: false }
    }

    /// Its PostgreSQL type.
    pub fn pg(&self) -> PgType {
        PgType::of(&self.field)
    }

    /// Its base type; None for arrays.
    pub fn base(&self) -> Option<Base> {
        match self.pg() {
            PgType::One(base) => Some(base),
            PgType::Array(_) => None,
        }
    }

    /// The Arrow type behind it.
    pub fn arrow(&self) -> &DataType {
        self.field.data_type()
    }

    /// The operand as a value of this type.
    pub(super) fn of_type(&self, data_type: DataType) -> Operand {
        let field = self.field.as_ref().clone().with_data_type(data_type);
        Operand { expr: self.expr.clone(), field: field.into(), open: false }
    }

    /// The name of the type in errors.
    pub fn type_name(&self) -> String {
        if self.open { "unknown".into() } else { self.pg().sql_name() }
    }

    /// A literal of unknown type as a numeric with its own digits; any other operand unchanged.
    pub fn as_numeric(self) -> Operand {
        let literal = match &self.expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) if self.open => numeric_literal(text),
            _ => None,
        };
        match literal {
            Some(value) => {
                let data_type = value.data_type();
                self.retyped(Expr::Literal(value, None), data_type)
            }
            None => self,
        }
    }

    /// The expression as a value of `into`: a cast if it has another type; a parameter without a type gets this type.
    pub fn as_type(&self, into: &DataType) -> Expr {
        match &self.expr {
            Expr::Placeholder(placeholder) if placeholder.field.is_none() => {
                let mut typed = placeholder.clone();
                typed.field = Some(datafusion::arrow::datatypes::Field::new("", into.clone(), true).into());
                Expr::Placeholder(typed)
            }
            other if self.arrow() == into => other.clone(),
            // Beside a numeric, a text becomes a numeric with its own digits, so that none are lost.
            Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) if self.open && into.is_decimal() => {
                match numeric_literal(text) {
                    Some(value) => Expr::Literal(value, metadata.clone()),
                    None => cast(self.expr.clone(), into.clone()),
                }
            }
            other => cast(other.clone(), into.clone()),
        }
    }
}

/// The type of a resolved expression. DataFusion would build a name for each node from everything below it; this
/// function avoids that for operations.
fn field(expr: &Expr, schema: &DFSchema) -> Result<FieldRef> {
    let Expr::ScalarFunction(function) = expr else { return Ok(expr.to_field(schema)?.1) };
    if let Some(field) = chain::field(function) {
        return Ok(field);
    }
    if !numeric::is_operation(&function.func) {
        return Ok(expr.to_field(schema)?.1);
    }
    let fields = function.args.iter().map(|arg| field(arg, schema)).collect::<Result<Vec<_>>>()?;
    let scalars = vec![None; fields.len()];
    function.func.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalars })
}

fn numeric_literal(text: &str) -> Option<ScalarValue> {
    let value = Decimal::parse(text).ok()?;
    let array = from_wide(vec![Some(value.unscaled)], value.digits()).ok()?;
    ScalarValue::try_from_array(&array, 0).ok()
}

fn is_open(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Null, _) => true,
        Expr::Literal(ScalarValue::Utf8(_), _) => true,
        Expr::Placeholder(placeholder) => placeholder.field.is_none(),
        _ => false,
    }
}
