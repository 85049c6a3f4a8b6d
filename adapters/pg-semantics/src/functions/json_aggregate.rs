//! `jsonb_agg` and `json_agg`: the values that `array_agg` collects, as one document.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::json;
use super::text::pieces::check_len;
use crate::types::{Base, PgType, ROW_MODIFIER, modifier, typed};

/// Both, for the registry.
pub fn functions() -> Vec<AggregateUDF> {
    let function = |base| {
        AggregateUDF::from(JsonArray {
            base,
            inner: Arc::clone(array_agg_udaf().inner()),
            signature: Signature::any(1, Volatility::Immutable),
        })
    };
    vec![function(Base::Jsonb), function(Base::Json)]
}

/// An array of jsonb, or of json.
#[derive(Debug)]
struct JsonArray {
    base: Base,
    inner: Arc<dyn AggregateUDFImpl>,
    signature: Signature,
}

impl PartialEq for JsonArray {
    fn eq(&self, other: &JsonArray) -> bool {
        self.base == other.base && self.inner.dyn_eq(other.inner.as_ref() as &dyn std::any::Any)
    }
}

impl Eq for JsonArray {}

impl std::hash::Hash for JsonArray {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl AggregateUDFImpl for JsonArray {
    fn name(&self) -> &str {
        if self.base == Base::Json { "json_agg" } else { "jsonb_agg" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field(&self, _: &[FieldRef]) -> Result<FieldRef> {
        Ok(typed(Field::new(self.name(), DataType::Utf8, true), self.base).into())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let inner = Arc::clone(&self.inner).with_beneficial_ordering(beneficial)?;
        let wrapped = |inner| -> Arc<dyn AggregateUDFImpl> {
            Arc::new(JsonArray { base: self.base, inner, signature: self.signature.clone() })
        };
        Ok(inner.map(wrapped))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let of = FieldRef::clone(&args.expr_fields[0]);
        let list = Field::new_list("", Field::new_list_field(of.data_type().clone(), true), true);
        let inner = self.inner.accumulator(AccumulatorArgs { return_field: list.into(), ..args })?;
        Ok(Box::new(Document { inner, of, base: self.base }))
    }
}

/// True for arrays and rows, which json_agg puts on separate lines.
fn is_structured(of: &Field) -> bool {
    match PgType::of(of) {
        PgType::Array(_) => true,
        PgType::One(base) => base == Base::Json && modifier(of) == ROW_MODIFIER,
    }
}

/// Converts the list of another accumulator to a document.
#[derive(Debug)]
struct Document {
    inner: Box<dyn Accumulator>,
    /// The field of the collected values.
    of: FieldRef,
    base: Base,
}

impl Accumulator for Document {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let lists = match self.inner.evaluate()? {
            ScalarValue::List(lists) => lists,
            other => return plan_err!("{other} is no list"),
        };
        if lists.is_null(0) {
            return Ok(ScalarValue::Utf8(None));
        }
        let items: StringArray = match self.base {
            Base::Json => json::as_plain_json(&lists.value(0), &self.of)?,
            _ => json::as_json(&lists.value(0), &self.of)?,
        };
        let between = if self.base == Base::Json && is_structured(&self.of) { ", \n " } else { ", " };
        let bytes: usize = items.iter().map(|item| item.map_or(4, str::len) + between.len()).sum();
        check_len(bytes)?;
        let mut out = String::with_capacity(bytes + 2);
        for (n, item) in items.iter().enumerate() {
            out.push_str(match (n, item) {
                (0, _) => "[",
                (_, Some(_)) => between,
                (_, None) => ", ",
            });
            out.push_str(item.unwrap_or("null"));
        }
        out.push(']');
        Ok(ScalarValue::Utf8(Some(out)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}
