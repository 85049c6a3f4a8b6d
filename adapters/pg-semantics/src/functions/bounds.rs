//! DataFusion's functions whose results can be larger than their arguments, with an estimate of the result that is
//! reserved before the call. Functions of ours reserve memory themselves and are not listed.

use datafusion::arrow::array::{Array, AsArray, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use crate::budget::{Estimate, bounded, check_value};

/// Most bytes of a character.
const CHARACTER_BYTES: usize = 4;

/// Name, and estimate of the result of a call.
const BOUNDS: [(&str, Estimate); 6] = [
    ("repeat", repeated),
    ("lpad", padded),
    ("rpad", padded),
    ("replace", replaced),
    ("concat", joined),
    ("concat_ws", joined),
];

/// Puts a bound around each of these functions.
pub fn install(state: &mut SessionState) -> Result<()> {
    for (name, estimate) in BOUNDS {
        if let Ok(function) = state.udf(name) {
            state.register_udf(std::sync::Arc::new(bounded(&function, estimate)))?;
        }
    }
    Ok(())
}

/// A number for each row, from an array or from a scalar.
struct Numbers(Int64Array);

impl Numbers {
    /// Bytes of each value of an argument; 0 if it is not a text.
    fn lengths(value: &ColumnarValue) -> Result<Numbers> {
        let values = value.to_array(1)?;
        let texts = matches!(values.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        if !texts {
            return Ok(Numbers(Int64Array::from(vec![0])));
        }
        Numbers::of(&ColumnarValue::Array(length(values.as_ref())?))
    }

    fn of(value: &ColumnarValue) -> Result<Numbers> {
        let values = cast(&value.to_array(1)?, &DataType::Int64)?;
        Ok(Numbers(values.as_primitive::<Int64Type>().clone()))
    }

    fn at(&self, row: usize) -> usize {
        let row = if self.0.len() == 1 { 0 } else { row };
        match row < self.0.len() && self.0.is_valid(row) {
            true => usize::try_from(self.0.value(row)).unwrap_or(0),
            false => 0,
        }
    }
}

/// Rows that a call evaluates: one if all arguments are scalars.
fn rows(args: &ScalarFunctionArgs) -> usize {
    match args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
        true => 1,
        false => args.number_rows,
    }
}

fn total(rows: usize, bytes: impl Fn(usize) -> usize) -> Result<usize> {
    let mut total = 0usize;
    for row in 0..rows {
        let bytes = bytes(row);
        check_value(bytes)?;
        total = total.saturating_add(bytes);
    }
    Ok(total)
}

fn repeated(args: &ScalarFunctionArgs) -> Result<usize> {
    let [text, times] = args.args.as_slice() else { return Ok(0) };
    let (lengths, times) = (Numbers::lengths(text)?, Numbers::of(times)?);
    total(rows(args), |row| lengths.at(row).saturating_mul(times.at(row)))
}

fn padded(args: &ScalarFunctionArgs) -> Result<usize> {
    let [_, wanted, fill @ ..] = args.args.as_slice() else { return Ok(0) };
    let wanted = Numbers::of(wanted)?;
    // Blanks, or a fill text known to be ASCII.
    let widest = match fill {
        [] => 1,
        [ColumnarValue::Scalar(ScalarValue::Utf8(Some(fill)))] if fill.is_ascii() => 1,
        _ => CHARACTER_BYTES,
    };
    total(rows(args), |row| wanted.at(row).saturating_mul(widest))
}

fn replaced(args: &ScalarFunctionArgs) -> Result<usize> {
    let [text, from, to] = args.args.as_slice() else { return Ok(0) };
    let (lengths, from, to) = (Numbers::lengths(text)?, Numbers::lengths(from)?, Numbers::lengths(to)?);
    total(rows(args), |row| {
        let length = lengths.at(row);
        // The number of whole repetitions that fit.
        let times = length / from.at(row).max(1);
        length.max(times.saturating_mul(to.at(row)).saturating_add(length % from.at(row).max(1)))
    })
}

fn joined(args: &ScalarFunctionArgs) -> Result<usize> {
    let parts = args.args.iter().map(Numbers::lengths).collect::<Result<Vec<_>>>()?;
    // The first argument is the separator between all others.
    let first = &parts[..parts.len().min(1)];
    total(rows(args), |row| {
        let parts_len: usize = parts.iter().map(|part| part.at(row)).sum();
        let separators = first.iter().map(|part| part.at(row)).sum::<usize>().saturating_mul(parts.len());
        parts_len.saturating_add(separators)
    })
}
