//! Values that are shown as another type than their Arrow type tells. Varchar, jsonb and uuid are texts to Arrow, and DataFusion
//! knows of columns and calls of ours what they are shown as, but not of CASE, COALESCE and their kin.

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

/// The expression shown as a value of this type; as it is where it is shown so already.
pub fn shown(expr: Expr, schema: &DFSchema, base: Base, type_modifier: i32) -> Result<Expr> {
    let field = expr.to_field(schema)?.1;
    if PgType::of(&field) == PgType::One(base) && modifier(&field) == type_modifier {
        return Ok(expr);
    }
    let signature = Signature::any(1, Volatility::Immutable);
    Ok(call(Shown { base, modifier: type_modifier, signature }, vec![expr]))
}

/// Whether a function is one of these: its argument is settled.
pub fn is_shown(function: &ScalarUDF) -> bool {
    (function.inner().as_ref() as &dyn std::any::Any).is::<Shown>()
}

/// What the one value is shown as that is made of some: as the first that is no literal, and with its modifier if all have it.
/// None: as its Arrow type tells.
pub fn common<'a>(operands: impl Iterator<Item = &'a Operand> + Clone) -> Option<(Base, i32)> {
    let first = operands.clone().find(|operand| !operand.open)?;
    let base = first.base().filter(|base| matches!(base, Base::Varchar | Base::Jsonb | Base::Uuid))?;
    let same = |operand: &Operand| {
        !operand.open && operand.base() == Some(base) && modifier(&operand.field) == modifier(&first.field)
    };
    let all_same = operands.clone().all(same);
    Some((base, if all_same { modifier(&first.field) } else { NO_MODIFIER }))
}

/// Gives its argument.
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
