//! Row numbers for sets of rows: WITH ORDINALITY and `generate_subscripts`. They are arrays that are unnested beside
//! the arrays whose items they number.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{SqlError, SqlState};
use crate::types::PgType;

/// Behind WITH ORDINALITY; no statement can contain this name.
pub const ORDINALS: &str = "list ordinals";
/// Behind `generate_subscripts`; no statement can contain this name.
pub const SUBSCRIPTS: &str = "list subscripts";

/// Both functions.
pub fn functions() -> Vec<ScalarUDF> {
    let signature = || Signature::user_defined(Volatility::Immutable);
    vec![
        ScalarUDF::from(Numbers { name: ORDINALS, signature: signature() }),
        ScalarUDF::from(Numbers { name: SUBSCRIPTS, signature: signature() }),
    ]
}

/// Numbers of the items of arrays.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Numbers {
    name: &'static str,
    signature: Signature,
}

/// The range of item numbers for a row.
struct Range {
    len: usize,
    backwards: bool,
}

impl Numbers {
    fn item(&self) -> DataType {
        if self.name == ORDINALS { DataType::Int64 } else { DataType::Int32 }
    }

    /// None: NULL.
    fn range(&self, args: &[ArrayRef], row: usize) -> Option<Range> {
        let len = |array: &ArrayRef| match array.as_list_opt::<i32>() {
            Some(lists) if lists.is_valid(row) => lists.value_length(row) as usize,
            _ => 0,
        };
        if self.name == ORDINALS {
            return Some(Range { len: args.iter().map(len).max().unwrap_or(0), backwards: false });
        }
        if args.iter().any(|arg| arg.is_null(row)) {
            return None;
        }
        let dimension = args.get(1)?.as_primitive_opt::<Int64Type>()?.value(row);
        let backwards = args.get(2).and_then(|a| a.as_boolean_opt()).is_some_and(|a| a.value(row));
        Some(Range { len: if dimension == 1 { len(&args[0]) } else { 0 }, backwards })
    }

    fn lists(&self, args: &[ArrayRef], rows: usize) -> Result<ListArray> {
        let (mut offsets, mut valid, mut numbers) = (vec![0i32], vec![], Vec::<i64>::new());
        for row in 0..rows {
            let range = self.range(args, row);
            valid.push(range.is_some());
            if let Some(Range { len, backwards }) = range {
                let len = len as i64;
                numbers.extend((1..=len).map(|n| if backwards { len + 1 - n } else { n }));
            }
            let end = i32::try_from(numbers.len()).map_err(|_| {
                SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "array size exceeds the maximum allowed")
            })?;
            offsets.push(end);
        }
        let values: ArrayRef = match self.item() {
            DataType::Int64 => Arc::new(Int64Array::from(numbers)),
            _ => Arc::new(numbers.into_iter().map(|n| n as i32).collect::<Int32Array>()),
        };
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let field = Field::new_list_field(self.item(), true);
        Ok(ListArray::try_new(field.into(), offsets, values, Some(NullBuffer::from(valid)))?)
    }
}

impl ScalarUDFImpl for Numbers {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_array = |t: &DataType| matches!(t, DataType::List(_));
        let fits = match (self.name, types) {
            (ORDINALS, all) => all.iter().all(is_array),
            (_, [array, dimension]) => is_array(array) && dimension.is_integer(),
            (_, [array, dimension, backwards]) => {
                is_array(array) && dimension.is_integer() && *backwards == DataType::Boolean
            }
            _ => false,
        };
        if !fits {
            let names: Vec<String> = types.iter().map(|t| PgType::of_arrow(t).sql_name()).collect();
            let message = format!("function generate_subscripts({}) does not exist", names.join(", "));
            return Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message).into());
        }
        let taken = |t: &DataType| if t.is_integer() { DataType::Int64 } else { t.clone() };
        Ok(types.iter().map(taken).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(self.item(), true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
        if arrays.is_empty() {
            return plan_err!("{} counts items of arrays", self.name);
        }
        let wide = |a: &ArrayRef| match a.data_type() {
            t if t.is_integer() => cast(a, &DataType::Int64),
            _ => Ok(Arc::clone(a)),
        };
        let arrays = arrays.iter().map(wide).collect::<Result<Vec<_>, _>>()?;
        let lists = self.lists(&arrays, rows)?;
        Ok(match scalar {
            true => ColumnarValue::Scalar(ScalarValue::List(Arc::new(lists))),
            false => ColumnarValue::Array(Arc::new(lists)),
        })
    }
}
