//! DataFusion omits casts from the names of expressions, so that `avg(x::real)` and `avg(x::float8)` in one query would
//! be one column. A label is a function that returns its argument and whose name contains the type.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::plan_err;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::call;
use crate::types::PgType;

/// The expression with its casts labelled.
pub fn casts(expr: Expr) -> Result<Expr> {
    let labelled = expr.transform_up(|e| {
        Ok(match e {
            Expr::Cast(cast) => {
                let name = PgType::of(&cast.field).sql_name();
                Transformed::yes(call(Label::new(name), vec![Expr::Cast(cast)]))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(labelled.data)
}

/// Name of the label of recursive results.
const RECURRED: &str = "recursive term";

/// A recursive result, under a label.
pub fn recurred(value: Expr) -> Expr {
    call(Label::new(RECURRED.into()), vec![value])
}

/// True for the label of recursive results.
pub fn is_recurred(function: &ScalarUDF) -> bool {
    let inner = function.inner().as_ref() as &dyn std::any::Any;
    inner.downcast_ref::<Label>().is_some_and(|label| label.name == RECURRED)
}

/// Returns its argument.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Label {
    name: String,
    signature: Signature,
}

impl Label {
    fn new(name: String) -> Label {
        Label { name, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Label {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(FieldRef::clone(&args.arg_fields[0]))
    }

    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match args.pop() {
            Some(value) => Ok(ExprSimplifyResult::Simplified(value)),
            None => plan_err!("a label takes one value"),
        }
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.pop() {
            Some(value) => Ok(value),
            None => plan_err!("a label takes one value"),
        }
    }
}
