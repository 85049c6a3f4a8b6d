//! Properties that DataFusion's expressions cannot state: a value may be null; there is at most one row.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Column, internal_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{SqlError, SqlState};

/// The value of a subquery without an aggregate, which is null if the subquery has no row.
pub fn maybe_null(value: Expr) -> Expr {
    ScalarUDF::from(OneRow::new("maybe_null", 1)).call(vec![value])
}

/// A column through which conditions cannot be pushed. The optimizer would turn an equality with it into a key of the
/// join below, where nulls are equal.
pub fn opaque(column: Column) -> Expr {
    let Column { relation, name, .. } = column.clone();
    maybe_null(Expr::Column(column)).alias_qualified(relation, name)
}

/// The value of a subquery that must not have more than one row; `rows`: its number of rows.
pub fn one_row(value: Expr, rows: Expr) -> Expr {
    ScalarUDF::from(OneRow::new("one_row", 2)).call(vec![value, rows])
}

/// The first argument; with a second one, only if that is at most one. Volatile, so that the optimizer does not apply
/// properties of the argument to it.
#[derive(PartialEq, Eq, Hash, Debug)]
struct OneRow {
    name: &'static str,
    signature: Signature,
}

impl OneRow {
    fn new(name: &'static str, args: usize) -> OneRow {
        OneRow { name, signature: Signature::any(args, Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for OneRow {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(value) => Ok(value.clone()),
            None => internal_err!("{} takes a value", self.name),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields.first() {
            Some(value) => Ok(value.as_ref().clone().with_name(self.name).with_nullable(true).into()),
            None => internal_err!("{} takes a value", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut args = args.args.into_iter();
        let Some(value) = args.next() else { return plan_err!("{} takes a value", self.name) };
        if let Some(rows) = args.next() {
            let rows = rows.into_array(1)?;
            if rows.as_primitive::<Int64Type>().iter().flatten().any(|rows| rows > 1) {
                return Err(DataFusionError::External(Box::new(SqlError::new(
                    SqlState::CARDINALITY_VIOLATION,
                    "more than one row returned by a subquery used as an expression",
                ))));
            }
        }
        Ok(value)
    }
}
