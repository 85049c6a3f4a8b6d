//! Values whose displayed type differs from their Arrow type. Varchar, jsonb and uuid are texts to Arrow. DataFusion
//! keeps the displayed type of columns and of our functions, but not of CASE, COALESCE and the like.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::{Operand, call};
use crate::types::{Base, NO_MODIFIER, PgType, modifier, typed_with};

/// The expression displayed as this type; unchanged if it already is.
pub fn shown(expr: Expr, schema: &DFSchema, base: Base, type_modifier: i32) -> Result<Expr> {
    let field = expr.to_field(schema)?.1;
    if PgType::of(&field) == PgType::One(base) && modifier(&field) == type_modifier {
        return Ok(expr);
    }
    let signature = Signature::any(1, Volatility::Immutable);
    Ok(call(Shown { base, modifier: type_modifier, signature }, vec![expr]))
}

/// Whether a function is one of these, whose arguments are resolved.
pub fn is_shown(function: &ScalarUDF) -> bool {
    (function.inner().as_ref() as &dyn std::any::Any).is::<Shown>()
}

/// The displayed type of a value combined from several: that of the first operand that is not a literal, with its
/// modifier if all have the same. None: that of the Arrow type.
pub fn common<'a>(operands: impl Iterator<Item = &'a Operand> + Clone) -> Option<(Base, i32)> {
    let first = operands.clone().find(|operand| !operand.open)?;
    let base = first.base().filter(|base| matches!(base, Base::Varchar | Base::Jsonb | Base::Uuid))?;
    let same = |operand: &Operand| {
        !operand.open && operand.base() == Some(base) && modifier(&operand.field) == modifier(&first.field)
    };
    let all_same = operands.clone().all(same);
    Some((base, if all_same { modifier(&first.field) } else { NO_MODIFIER }))
}

/// Returns its argument.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Shown {
    base: Base,
    modifier: i32,
    signature: Signature,
}

impl ScalarUDFImpl for Shown {
    fn name(&self) -> &str {
        self.base.sql_name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = args.arg_fields[0].as_ref().clone();
        Ok(Arc::new(typed_with(field, self.base, self.modifier)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.pop() {
            Some(value) => Ok(value),
            None => plan_err!("one value is shown"),
        }
    }
}
