//! `to_number`: reads numerics with a pattern. `pg-values` implements the patterns.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use pg_values::Fault;
use pg_values::format::numbers::NumberPattern;
use pg_values::format::{NumberRead, Unread};

use super::overload::{Kind, Memory, Read, rows_of, unknown};
use crate::decimal::{self, DIGITS_MAX, Decimal, Digits};
use crate::error::{SqlError, SqlState};
use crate::operators::from_wide;
use crate::types::planner::unbounded_numeric;

/// The function.
pub fn function() -> ScalarUDF {
    ScalarUDF::from(ToNumber { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct ToNumber {
    signature: Signature,
}

fn pattern_of(text: &str, memory: &mut Memory) -> crate::Result<Arc<NumberPattern>> {
    let new = |text: &str| NumberPattern::new(text).map(Arc::new).map_err(SqlError::syntax);
    match memory.of(text, |text| new(text).map(Read::Numbers))? {
        Read::Numbers(pattern) => Ok(pattern),
        _ => new(text),
    }
}

fn read(text: &str, pattern: &NumberPattern) -> crate::Result<NumberRead> {
    pattern.read(text).map_err(|unread| {
        let name = match unread {
            Unread::Scientific => "EEEE",
            Unread::Roman => "RN",
        };
        SqlError::unsupported(format!("\"{name}\" not supported for input"))
    })
}

/// The number; None for an empty pattern.
fn number(text: &str, pattern: &str, memory: &mut Memory) -> crate::Result<Option<Decimal>> {
    if pattern.is_empty() {
        return Ok(None);
    }
    let read = read(text, pattern_of(pattern, memory)?.as_ref())?;
    let found = Decimal::parse(&read.text).map_err(|fault| match fault {
        Fault::OutOfRange => decimal::too_wide(),
        _ => SqlError::bad_text(SqlState::INVALID_TEXT_REPRESENTATION, "numeric", &read.text),
    })?;
    let whole = found.truncate(0).map_or(i32::MAX, |whole| decimal::digit_count(whole.unscaled));
    if whole > read.whole_max as i32 {
        return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow"));
    }
    Ok(Some(Decimal { scale: found.scale.saturating_add(read.shift as i32), ..found }))
}

/// The type of the result: the places of a constant pattern, or those of a constant text.
fn returns(text: Option<&ScalarValue>, pattern: Option<&ScalarValue>) -> DataType {
    let constant = |value: Option<&ScalarValue>| match value {
        Some(ScalarValue::Utf8(Some(text))) => Some(text.clone()),
        _ => None,
    };
    let Some(Ok(pattern)) = constant(pattern).map(|pattern| NumberPattern::new(&pattern)) else {
        return unbounded_numeric();
    };
    let (before, after, shift) = pattern.places();
    let places = match constant(text).map(|text| pattern.read(&text)) {
        Some(Ok(read)) => read.places,
        _ => after,
    };
    match shift == 0 && before + places < usize::from(DIGITS_MAX) {
        true => Digits::new(before as i32, places as i32).arrow(),
        false => unbounded_numeric(),
    }
}

impl ScalarUDFImpl for ToNumber {
    fn name(&self) -> &str {
        "to_number"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(unbounded_numeric())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let constant = |at: usize| args.scalar_arguments.get(at).copied().flatten();
        Ok(Field::new(self.name(), returns(constant(0), constant(1)), true).into())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let text = |t: &DataType| t.is_null() || Kind::of(t) == Some(Kind::Text);
        match types {
            [value, pattern] if text(value) && text(pattern) => Ok(vec![DataType::Utf8, DataType::Utf8]),
            _ => Err(unknown("to_number", types).into()),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let into = Digits::of(args.return_field.data_type()).ok_or_else(decimal::too_wide)?;
        let values = rows_of(&args.args, args.number_rows, |row, memory| {
            let Some(value) = number(row[0].text(), row[1].text(), &mut memory[1])? else { return Ok(None) };
            let kept = value.rescale(into.scale).filter(|kept| {
                decimal::fits(kept.unscaled, into.precision) && kept.trimmed() == value.trimmed()
            });
            Ok(Some(kept.ok_or_else(decimal::too_wide)?.unscaled))
        })?;
        let array = from_wide(values, into)?;
        Ok(match args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}
