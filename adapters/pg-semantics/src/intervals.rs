//! The length of intervals, by which they are compared, and aggregates of them.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Int64Type, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use pg_values::time::Interval;

use crate::error::{SqlError, SqlState};
use crate::functions::overload::{from_arrow, to_arrow};
use crate::operators::call;

/// Digits of the longest interval in microseconds.
const LENGTH_DIGITS: u8 = 38;

/// The key of an interval in comparisons.
pub fn length(expr: Expr) -> Expr {
    call(ScalarUDF::from(Length { signature: Signature::any(1, Volatility::Immutable) }), vec![expr])
}

/// The length of an interval in microseconds.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Length {
    signature: Signature,
}

impl ScalarUDFImpl for Length {
    fn name(&self) -> &str {
        "interval_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(LENGTH_DIGITS, 0))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let lengths = |values: &ArrayRef| -> Result<ArrayRef> {
            let wanted = DataType::Interval(IntervalUnit::MonthDayNano);
            let values = crate::casts::convert::arrow_cast(values, &wanted)?;
            let values = values.as_primitive::<IntervalMonthDayNanoType>();
            let lengths = values.iter().map(|v| v.map(|v| from_arrow(v).length_micros()));
            let lengths = lengths.collect::<Decimal128Array>();
            Ok(Arc::new(lengths.with_precision_and_scale(LENGTH_DIGITS, 0)?))
        };
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(lengths(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let lengths = lengths(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&lengths, 0)?))
            }
            _ => plan_err!("the length is one of one interval"),
        }
    }
}

/// An aggregate of intervals, by the name of the aggregate in a plan.
pub fn extreme(name: &str) -> Option<AggregateUDF> {
    let (name, kind) = match name {
        "min" => ("min", Kind::Extreme(Ordering::Less)),
        "max" => ("max", Kind::Extreme(Ordering::Greater)),
        "sum" | "pg_sum" => ("interval_sum", Kind::Sum),
        "avg" | "pg_avg" => ("interval_avg", Kind::Avg),
        _ => return None,
    };
    let signature = Signature::any(1, Volatility::Immutable);
    Some(AggregateUDF::from(OfIntervals { name, kind, signature }))
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    /// The interval that compares so to all others.
    Extreme(Ordering),
    Sum,
    Avg,
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct OfIntervals {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for OfIntervals {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Gathered { kind: self.kind, value: None, count: 0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field =
            |part, data_type| Arc::new(Field::new(format_state_name(args.name, part), data_type, true));
        Ok(vec![field("interval", self.return_type(&[])?), field("count", DataType::Int64)])
    }
}

/// The state of the aggregate of a group.
#[derive(Debug)]
struct Gathered {
    kind: Kind,
    value: Option<Interval>,
    count: i64,
}

impl Gathered {
    fn add(&mut self, value: Interval) -> Result<()> {
        let new = match (self.kind, self.value) {
            (_, None) => value,
            // Of two equal ones PostgreSQL keeps the later.
            (Kind::Extreme(wanted), Some(best)) => {
                let order = value.length_micros().cmp(&best.length_micros());
                if order == wanted.reverse() { best } else { value }
            }
            (Kind::Sum | Kind::Avg, Some(sum)) => sum.plus(value).map_err(|_| out_of_range())?,
        };
        self.value = Some(new);
        Ok(())
    }
}

fn out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return plan_err!("one column of intervals is expected") };
        for value in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            self.add(from_arrow(value))?;
            self.count += 1;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, counts] = states else { return plan_err!("an interval and a count are expected") };
        for value in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            self.add(from_arrow(value))?;
        }
        self.count += counts.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let value = self.value.map(to_arrow).transpose()?;
        Ok(vec![ScalarValue::IntervalMonthDayNano(value), ScalarValue::Int64(Some(self.count))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = match (self.kind, self.value) {
            (Kind::Avg, Some(sum)) => match sum.divided(self.count as f64) {
                Some(mean) => Some(mean.map_err(|_| out_of_range())?),
                None => None,
            },
            (_, value) => value,
        };
        Ok(ScalarValue::IntervalMonthDayNano(value.map(to_arrow).transpose()?))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
