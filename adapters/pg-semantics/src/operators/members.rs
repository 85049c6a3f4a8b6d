//! Long IN lists of constants, as one set: planners and optimizers would visit each constant in each pass.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, InListExpr};

use super::call;
use crate::arithmetic;

/// Least number of constants for a set. Shorter lists stay lists, which scans can use for lookups.
pub const LONG_LIST_MIN: usize = 1_000;

/// `subject IN (list)`, both of type `data_type`. None if the list is short, has other items than constants, or has a
/// type whose equality is not bitwise.
pub fn plan(subject: &Expr, list: &[Expr], data_type: &DataType, negated: bool) -> Result<Option<Expr>> {
    let by_bits = data_type.is_integer() || data_type.is_decimal() || data_type.is_temporal();
    if list.len() < LONG_LIST_MIN || !by_bits && *data_type != DataType::Utf8 {
        return Ok(None);
    }
    let Some(constants) = list.iter().map(|e| constant(e, data_type)).collect::<Result<Option<Vec<_>>>>()?
    else {
        return Ok(None);
    };
    let values = ScalarValue::iter_to_array(constants)?;
    Ok(Some(call(Members::new(values, negated), vec![subject.clone()])))
}

/// An item of a list as a value of the list's type.
fn constant(item: &Expr, data_type: &DataType) -> Result<Option<ScalarValue>> {
    let value = match item {
        Expr::Literal(value, _) => value.clone(),
        // A literal of another type: parsed or widened as elsewhere.
        cast @ Expr::Cast(Cast { expr, .. }) if matches!(expr.as_ref(), Expr::Literal(..)) => {
            match arithmetic::check(cast.clone(), &DFSchema::empty())? {
                Expr::Literal(value, _) => value,
                Expr::Cast(Cast { expr, field }) => match *expr {
                    Expr::Literal(value, _) => value.cast_to(field.data_type())?,
                    _ => return Ok(None),
                },
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    if value.is_null() {
        return Ok(Some(ScalarValue::try_from(data_type)?));
    }
    Ok((value.data_type() == *data_type).then_some(value))
}

/// The function: whether its argument is among the values, with the NULL semantics of IN.
#[derive(Debug)]
struct Members {
    values: ArrayRef,
    negated: bool,
    /// Digest of the values, which identifies the list.
    digest: u64,
    signature: Signature,
    compiled: OnceLock<Arc<InListExpr>>,
}

impl Members {
    fn new(values: ArrayRef, negated: bool) -> Members {
        let mut digest = DefaultHasher::new();
        let data = values.to_data();
        data.buffers().iter().for_each(|buffer| buffer.as_slice().hash(&mut digest));
        values.null_count().hash(&mut digest);
        let digest = digest.finish();
        let signature = Signature::any(1, Volatility::Immutable);
        Members { values, negated, digest, signature, compiled: OnceLock::new() }
    }

    fn compiled(&self, schema: &Schema) -> Result<&Arc<InListExpr>> {
        if let Some(compiled) = self.compiled.get() {
            return Ok(compiled);
        }
        let subject = Arc::new(Column::new("subject", 0));
        let made = InListExpr::try_new_from_array(subject, Arc::clone(&self.values), self.negated, schema)?;
        Ok(self.compiled.get_or_init(|| Arc::new(made)))
    }
}

impl PartialEq for Members {
    fn eq(&self, other: &Members) -> bool {
        self.negated == other.negated && self.digest == other.digest && *self.values == *other.values
    }
}

impl Eq for Members {}

impl Hash for Members {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.negated, self.digest).hash(state);
    }
}

impl ScalarUDFImpl for Members {
    fn name(&self) -> &str {
        if self.negated { "not_in_list" } else { "in_list" }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [subject] = args else { return plan_err!("{} takes one value", self.name()) };
        Ok(format!(
            "{}({}, {} values {:016x})",
            self.name(),
            subject.schema_name(),
            self.values.len(),
            self.digest
        ))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), DataType::Boolean, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [subject] = args.args.as_slice() else { return plan_err!("{} takes one value", self.name()) };
        let scalar = matches!(subject, ColumnarValue::Scalar(_));
        let subject = subject.to_array(if scalar { 1 } else { args.number_rows })?;
        let schema = Arc::new(Schema::new(vec![Field::new("subject", subject.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![subject])?;
        let found = self.compiled(&schema)?.evaluate(&batch)?.into_array(batch.num_rows())?;
        match scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?)),
            false => Ok(ColumnarValue::Array(found)),
        }
    }
}
