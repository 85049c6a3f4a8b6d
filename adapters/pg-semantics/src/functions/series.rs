//! `generate_series`: of integers, numerics and timestamps. In FROM it is a table that is generated batch by batch;
//! over columns and in a select list it is the array of its values, unnested.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, RecordBatch, TimestampMicrosecondArray,
    new_empty_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef,
    TimestampMicrosecondType, i256,
};
use datafusion::catalog::{Session, TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use pg_values::time::Interval;
use pg_values::time::calendar;

use super::overload::{Kind, from_arrow};
use super::text::pieces::check_len;
use crate::budget::Budget;
use crate::casts::convert::arrow_cast;
use crate::casts::text::from_texts;
use crate::decimal::{Decimal, Digits};
use crate::error::{SqlError, SqlState};
use crate::operators::{Wide, from_wide};
use crate::types::PgType;

/// Its name.
pub const NAME: &str = "generate_series";
/// The function behind it outside of FROM; no statement can contain this name.
pub const LIST: &str = "generate_series list";

/// Values of a batch.
const BATCH: usize = 8192;

/// The table function.
pub fn table() -> Arc<TableFunction> {
    Arc::new(TableFunction::new(NAME.into(), Arc::new(SeriesTable)))
}

/// The function that returns the whole series as an array.
pub fn list() -> ScalarUDF {
    ScalarUDF::from(SeriesList { signature: Signature::user_defined(Volatility::Immutable) })
}

/// True for [`list`].
pub fn is_list(function: &ScalarUDF) -> bool {
    (function.inner().as_ref() as &dyn std::any::Any).is::<SeriesList>()
}

/// The types to which arguments of these types are converted; None is a literal of unknown type. The first is the type
/// of the series.
pub fn argument_types(args: &[Option<DataType>]) -> crate::Result<Vec<DataType>> {
    let undefined = || {
        let names =
            args.iter().map(|t| t.as_ref().map_or("unknown".into(), |t| PgType::of_arrow(t).sql_name()));
        let message = format!("function {NAME}({}) does not exist", names.collect::<Vec<_>>().join(", "));
        SqlError::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )
    };
    if !(2..=3).contains(&args.len()) {
        return Err(undefined());
    }
    let known: Vec<&DataType> = args.iter().flatten().collect();
    if known.is_empty() || known.iter().all(|t| **t == DataType::Int16) {
        return Err(SqlError::new(SqlState::AMBIGUOUS_FUNCTION, format!("function {NAME} is not unique"))
            .with_hint(
                "Could not choose a best candidate function. You might need to add explicit type casts.",
            ));
    }
    let exact: Option<Vec<Digits>> = known.iter().map(|t| Digits::of(t)).collect();
    if let Some(exact) = exact {
        let of = match known.iter().any(|t| t.is_decimal()) {
            true => exact.into_iter().reduce(Digits::union).map_or(DataType::Int64, Digits::arrow),
            false if known.contains(&&DataType::Int64) => DataType::Int64,
            false => DataType::Int32,
        };
        return Ok(vec![of; args.len()]);
    }
    let time = |t: &Option<DataType>| t.as_ref().map(Kind::of);
    let fits = args.len() == 3
        && args[..2]
            .iter()
            .all(|t| matches!(time(t), None | Some(Some(Kind::Date | Kind::Timestamp | Kind::TimestampTz))))
        && matches!(time(&args[2]), None | Some(Some(Kind::Interval)));
    if !fits {
        return Err(undefined());
    }
    let plain = args[..2].iter().any(|t| time(t) == Some(Some(Kind::Timestamp)))
        && !args[..2].iter().any(|t| time(t) == Some(Some(Kind::TimestampTz)));
    let of = if plain { Kind::Timestamp.arrow() } else { Kind::TimestampTz.arrow() };
    Ok(vec![of.clone(), of, DataType::Interval(IntervalUnit::MonthDayNano)])
}

/// The rest of a series.
#[derive(Clone, Debug)]
enum Series {
    /// Of integers, or of numerics by their unscaled digits.
    Exact { next: Option<i256>, stop: i256, step: i256 },
    /// Of microseconds.
    Time { next: Option<i64>, stop: i64, step: Interval, falls: bool },
    /// An argument is NULL.
    Nothing,
}

impl Series {
    /// From a row of arguments with the types of [`argument_types`].
    fn of(args: &[ArrayRef], row: usize) -> crate::Result<Series> {
        let zero = || SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero");
        if args.iter().any(|arg| arg.is_null(row)) {
            return Ok(Series::Nothing);
        }
        if let Some(starts) = args[0].as_primitive_opt::<TimestampMicrosecondType>() {
            let stop = args[1].as_primitive::<TimestampMicrosecondType>().value(row);
            let step = from_arrow(args[2].as_primitive::<IntervalMonthDayNanoType>().value(row));
            let length = step.length_micros();
            return match length {
                0 => Err(zero()),
                _ => Ok(Series::Time { next: Some(starts.value(row)), stop, step, falls: length < 0 }),
            };
        }
        let value = |arg: &ArrayRef| -> crate::Result<i256> {
            let wide = Wide::new(arg).map_err(SqlError::from)?;
            Ok(wide.value(row).map_or(i256::ZERO, |v| v.unscaled))
        };
        let scale = Digits::of(args[0].data_type()).map_or(0, |d| d.scale);
        let one = Decimal { unscaled: i256::ONE, scale: 0 }.rescale(scale).map_or(i256::ONE, |d| d.unscaled);
        let step = args.get(2).map_or(Ok(one), value)?;
        match step == i256::ZERO {
            true => Err(zero()),
            false => Ok(Series::Exact { next: Some(value(&args[0])?), stop: value(&args[1])?, step }),
        }
    }

    /// Its next values, at most `rows`, as a column of this type; None at its end.
    fn batch(&mut self, of: &DataType, rows: usize) -> crate::Result<Option<ArrayRef>> {
        Ok(match self {
            Series::Nothing => None,
            Series::Exact { next, stop, step } => {
                let mut values = Vec::with_capacity(rows.min(BATCH));
                while let Some(value) = *next
                    && values.len() < rows
                    && if *step > i256::ZERO { value <= *stop } else { value >= *stop }
                {
                    values.push(value);
                    *next = value.checked_add(*step);
                }
                (!values.is_empty()).then(|| exact(values, of)).transpose()?
            }
            Series::Time { next, stop, step, falls } => {
                let mut values = Vec::with_capacity(rows.min(BATCH));
                while let Some(value) = *next
                    && values.len() < rows
                    && if *falls { value >= *stop } else { value <= *stop }
                {
                    values.push(value);
                    let out_of_range =
                        || SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range");
                    *next = match calendar::is_infinite(value) {
                        true => None,
                        false => Some(step.added_to(value).ok_or_else(out_of_range)?),
                    };
                }
                let zone = match of {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    _ => None,
                };
                (!values.is_empty()).then(|| -> ArrayRef {
                    Arc::new(TimestampMicrosecondArray::from(values).with_timezone_opt(zone))
                })
            }
        })
    }
}

fn exact(values: Vec<i256>, of: &DataType) -> crate::Result<ArrayRef> {
    // Between two integers of a type, or numerics of so many digits.
    let narrow = |v: &i256| v.to_i128().and_then(|v| i64::try_from(v).ok()).unwrap_or_default();
    Ok(match of {
        DataType::Int32 => Arc::new(values.iter().map(|v| narrow(v) as i32).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(values.iter().map(narrow).collect::<Int64Array>()),
        _ => {
            let into = Digits::of(of).unwrap_or(Digits { precision: 38, scale: 0 });
            from_wide(values.into_iter().map(Some).collect(), into).map_err(SqlError::from)?
        }
    })
}

/// A value converted to the required type of an argument.
fn converted(value: &ScalarValue, into: &DataType) -> Result<ArrayRef> {
    let values = value.to_array()?;
    Ok(match (values.as_string_opt::<i32>(), PgType::of_arrow(into)) {
        (Some(texts), PgType::One(base)) => from_texts(texts, base, into)?,
        _ if Kind::of(into).is_some_and(Kind::is_time) && Kind::of(values.data_type()) != Kind::of(into) => {
            match values.data_type() {
                DataType::Null => arrow_cast(&values, into)?,
                _ => crate::casts::time::convert(&values, into)?,
            }
        }
        _ => arrow_cast(&values, into)?,
    })
}

#[derive(Debug)]
struct SeriesTable;

impl TableFunctionImpl for SeriesTable {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let constant = |expr: &Expr| match expr {
            Expr::Literal(value, _) => Ok(value.clone()),
            // Only the types of parameters are being determined.
            Expr::Placeholder(_) => Ok(ScalarValue::Null),
            other => Err(DataFusionError::from(SqlError::unsupported(format!(
                "{NAME} in FROM takes constants and columns, not {other}"
            )))),
        };
        let values = args.exprs().iter().map(constant).collect::<Result<Vec<ScalarValue>>>()?;
        let known = |value: &ScalarValue| {
            let data_type = value.data_type();
            (!matches!(data_type, DataType::Utf8 | DataType::Null)).then_some(data_type)
        };
        let types = argument_types(&values.iter().map(known).collect::<Vec<_>>())?;
        let args = values.iter().zip(&types).map(|(v, t)| converted(v, t)).collect::<Result<Vec<_>>>()?;
        let series = Series::of(&args, 0)?;
        let schema = Arc::new(Schema::new(vec![Field::new(NAME, types[0].clone(), false)]));
        Ok(Arc::new(SeriesRows { series, schema }))
    }
}

/// The rows of a series.
#[derive(Clone, Debug)]
struct SeriesRows {
    series: Series,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for SeriesRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows: Arc<dyn PartitionStream> = Arc::new(self.clone());
        let schema = Arc::clone(&self.schema);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![rows], projection, [], false, limit)?))
    }
}

impl PartitionStream for SeriesRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (mut series, schema) = (self.series.clone(), Arc::clone(&self.schema));
        let batches = std::iter::from_fn(move || {
            let column = series.batch(schema.field(0).data_type(), BATCH).transpose()?;
            let batch = column.map_err(DataFusionError::from);
            Some(batch.and_then(|c| Ok(RecordBatch::try_new(Arc::clone(&schema), vec![c])?)))
        });
        let schema = Arc::clone(&self.schema);
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches)))
    }
}

/// The series as an array.
#[derive(PartialEq, Eq, Hash)]
struct SeriesList {
    signature: Signature,
}

impl fmt::Debug for SeriesList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LIST)
    }
}

impl SeriesList {
    fn series(
        &self,
        args: &[ArrayRef],
        rows: usize,
        item: &FieldRef,
        budget: Option<&Budget>,
    ) -> Result<ListArray> {
        let (mut offsets, mut valid) = (vec![0i32], Vec::with_capacity(rows));
        let (mut parts, mut total) = (vec![new_empty_array(item.data_type())], 0usize);
        for row in 0..rows {
            let mut series = Series::of(args, row)?;
            valid.push(!matches!(series, Series::Nothing));
            while let Some(part) = series.batch(item.data_type(), BATCH)? {
                if let Some(budget) = budget {
                    budget.check_wanted()?;
                }
                total += part.len();
                check_len(total.saturating_mul(16))?;
                parts.push(part);
            }
            offsets.push(total as i32);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
        let values = concat(&parts)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(ListArray::try_new(Arc::clone(item), offsets, values, Some(NullBuffer::from(valid)))?)
    }
}

impl ScalarUDFImpl for SeriesList {
    fn name(&self) -> &str {
        LIST
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let known = |t: &DataType| (!t.is_null()).then(|| t.clone());
        Ok(argument_types(&types.iter().map(known).collect::<Vec<_>>())?)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(of) => Ok(DataType::new_list(of.clone(), true)),
            None => plan_err!("a series has a start"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Field::new(NAME, self.return_type(&types)?, true).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let DataType::List(item) = args.return_field.data_type() else {
            return plan_err!("a series is a list");
        };
        let lists = self.series(&arrays, rows, item, Budget::of(&args.config_options))?;
        Ok(match scalar {
            true => ColumnarValue::Scalar(ScalarValue::List(Arc::new(lists))),
            false => ColumnarValue::Array(Arc::new(lists)),
        })
    }
}
