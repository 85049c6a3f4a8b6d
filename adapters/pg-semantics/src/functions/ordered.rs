//! Aggregates of sorted values: `percentile_cont`, `percentile_disc` and `mode`, each WITHIN GROUP (ORDER BY …). All values of a group are
//! kept, and sorted when the result is asked for.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use datafusion::arrow::compute::{SortOptions, cast, concat, filter, is_not_null, sort_to_indices, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, IntervalMonthDayNanoType};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::planner::RawAggregateExpr;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility, lit};

use super::array::comparable;
use super::overload::{from_arrow, to_arrow};
use crate::error::{SqlError, SqlState};
use crate::types::{Base, PgType};

/// The aggregate over the sorted values of a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    /// `percentile_cont`: interpolates between the two values nearest to a fraction of the group.
    Continuous,
    /// `percentile_disc`: the first value at or after a fraction of the group.
    Discrete,
    /// The most frequent value.
    Mode,
}

const NAMES: [(&str, Kind); 3] =
    [("percentile_cont", Kind::Continuous), ("percentile_disc", Kind::Discrete), ("mode", Kind::Mode)];

/// All of them.
pub fn functions() -> Vec<AggregateUDF> {
    let function = |(name, kind)| {
        AggregateUDF::from(Ordered { name, kind, signature: Signature::user_defined(Volatility::Immutable) })
    };
    NAMES.into_iter().map(function).collect()
}

/// True for their names.
pub fn is_ordered(name: &str) -> bool {
    NAMES.iter().any(|(known, _)| *known == name)
}

/// Their order becomes an argument, so that each aggregate of a query can sort differently.
pub fn plan(mut raw: RawAggregateExpr) -> Result<RawAggregateExpr> {
    let name = raw.func.name().to_string();
    let Some(by) = raw.order_by.pop() else {
        let message = format!("WITHIN GROUP is required for ordered-set aggregate {name}");
        return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).into());
    };
    if raw.distinct {
        return Err(SqlError::syntax("cannot use DISTINCT with WITHIN GROUP").into());
    }
    raw.args.push(lit(!by.asc));
    Ok(raw)
}

/// An aggregate of sorted values. Its arguments: the value, the fraction of the group if it takes one, and whether the
/// order is descending.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Ordered {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

impl Ordered {
    fn unknown(&self, types: &[DataType]) -> SqlError {
        let names: Vec<String> = types.iter().map(|t| PgType::of_arrow(t).sql_name()).collect();
        let message = format!("function {}({}) does not exist", self.name, names.join(", "));
        SqlError::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )
    }
}

impl AggregateUDFImpl for Ordered {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let unknown = || self.unknown(&types[..types.len().saturating_sub(1)]);
        let number = |t: &DataType| t.is_numeric() || t.is_null();
        let value = match (self.kind, types.first()) {
            (Kind::Continuous, Some(t)) if number(t) => DataType::Float64,
            (Kind::Continuous, Some(t @ DataType::Interval(_))) => t.clone(),
            (Kind::Discrete | Kind::Mode, Some(DataType::Null)) => DataType::Utf8,
            (Kind::Discrete | Kind::Mode, Some(t)) if !matches!(t, DataType::List(_)) => t.clone(),
            _ => return Err(unknown().into()),
        };
        match (self.kind, types) {
            (Kind::Mode, [_, down]) => Ok(vec![value, down.clone()]),
            (Kind::Mode, _) => Err(unknown().into()),
            (_, [_, part, down]) => {
                let part = match part {
                    DataType::List(_) => DataType::new_list(DataType::Float64, true),
                    t if number(t) || t.is_string() => DataType::Float64,
                    _ => return Err(unknown().into()),
                };
                Ok(vec![value, part, down.clone()])
            }
            _ => Err(unknown().into()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [value, DataType::List(_), _] => Ok(DataType::new_list(value.clone(), true)),
            [value, ..] => Ok(value.clone()),
            [] => plan_err!("{} takes a value", self.name),
        }
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let types: Vec<DataType> = fields.iter().map(|f| f.data_type().clone()).collect();
        let field = Field::new(self.name, self.return_type(&types)?, true);
        Ok(match fields.first() {
            Some(value) if PgType::of(value) == PgType::One(Base::Jsonb) => {
                return Err(SqlError::unsupported(format!("{} of jsonb is not supported", self.name)).into());
            }
            Some(value) if field.data_type() == value.data_type() => {
                field.with_metadata(value.metadata().clone()).into()
            }
            _ => field.into(),
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let of = args.expr_fields[0].data_type().clone();
        let part = match self.kind {
            Kind::Mode => DataType::Float64,
            _ => args.expr_fields[1].data_type().clone(),
        };
        Ok(Box::new(Values {
            name: self.name,
            kind: self.kind,
            of,
            part: ScalarValue::try_from(&part)?,
            down: false,
            values: vec![],
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let of = args.input_fields[0].data_type().clone();
        let part = match self.kind {
            Kind::Mode => DataType::Float64,
            _ => args.input_fields[1].data_type().clone(),
        };
        let field = |what: &str, t: DataType| Field::new(format!("{}[{what}]", args.name), t, true).into();
        Ok(vec![
            field("values", DataType::new_list(of, true)),
            field("part", part),
            field("down", DataType::Boolean),
        ])
    }
}

/// The values of a group.
#[derive(Debug)]
struct Values {
    name: &'static str,
    kind: Kind,
    of: DataType,
    /// The fraction or fractions of the group; the same for all rows.
    part: ScalarValue,
    down: bool,
    values: Vec<ArrayRef>,
}

impl Values {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let known = match values.null_count() {
            0 => Arc::clone(values),
            _ => filter(values, &is_not_null(values)?)?,
        };
        if !known.is_empty() {
            self.values.push(known);
        }
        Ok(())
    }

    /// All values in their order.
    fn sorted(&self) -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = self.values.iter().map(|v| v.as_ref()).collect();
        let all = concat(&parts)?;
        let options = SortOptions { descending: self.down, nulls_first: false };
        let order = match all.as_primitive_opt::<IntervalMonthDayNanoType>() {
            Some(intervals) => {
                let length = |row: u32| from_arrow(intervals.value(row as usize)).length_micros();
                let mut order: Vec<u32> = (0..all.len() as u32).collect();
                order.sort_by(|a, b| match self.down {
                    true => length(*b).cmp(&length(*a)),
                    false => length(*a).cmp(&length(*b)),
                });
                UInt32Array::from(order)
            }
            None => sort_to_indices(&comparable(&all), Some(options), None)?,
        };
        Ok(take(&all, &order, None)?)
    }

    fn check(&self, part: f64) -> Result<f64> {
        if (0.0..=1.0).contains(&part) {
            return Ok(part);
        }
        let message = format!("percentile value {part} is not between 0 and 1");
        Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message).into())
    }

    /// The value at a fraction of the sorted values.
    fn at(&self, sorted: &ArrayRef, part: f64) -> Result<ScalarValue> {
        let part = self.check(part)?;
        let last = sorted.len() - 1;
        if self.kind == Kind::Discrete {
            let row = (part * sorted.len() as f64).ceil() as usize;
            return ScalarValue::try_from_array(sorted, row.saturating_sub(1).min(last));
        }
        let place = part * last as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        if low == high {
            return ScalarValue::try_from_array(sorted, low.min(last));
        }
        let share = place - low as f64;
        Ok(match sorted.as_primitive_opt::<IntervalMonthDayNanoType>() {
            Some(intervals) => {
                let (low, high) = (from_arrow(intervals.value(low)), from_arrow(intervals.value(high)));
                let between = high.minus(low).and_then(|d| d.times(share)).and_then(|d| d.plus(low));
                let between =
                    between.map_err(|fault| SqlError::new(fault.sqlstate(), "interval out of range"))?;
                ScalarValue::IntervalMonthDayNano(Some(to_arrow(between)?))
            }
            None => {
                let floats = sorted.as_primitive::<Float64Type>();
                let (low, high) = (floats.value(low), floats.value(high));
                ScalarValue::Float64(Some(low + share * (high - low)))
            }
        })
    }

    fn null(&self) -> Result<ScalarValue> {
        match &self.part {
            ScalarValue::List(_) => ScalarValue::try_from(&DataType::new_list(self.of.clone(), true)),
            _ => ScalarValue::try_from(&self.of),
        }
    }

    /// The most frequent value; of several, the first.
    fn mode(&self, sorted: &ArrayRef) -> Result<ScalarValue> {
        let values = comparable(sorted);
        let lengths = values.as_primitive_opt::<IntervalMonthDayNanoType>();
        let compare = datafusion::arrow::array::make_comparator(&values, &values, SortOptions::default())?;
        let equal = |a: usize, b: usize| match lengths {
            Some(intervals) => {
                from_arrow(intervals.value(a)).length_micros()
                    == from_arrow(intervals.value(b)).length_micros()
            }
            None => compare(a, b).is_eq(),
        };
        let (mut best, mut start) = ((0, 0), 0);
        for row in 1..=sorted.len() {
            if row == sorted.len() || !equal(start, row) {
                if row - start > best.1 {
                    best = (start, row - start);
                }
                start = row;
            }
        }
        ScalarValue::try_from_array(sorted, best.0)
    }

    fn several(&self, sorted: &ArrayRef, parts: &ArrayRef) -> Result<ScalarValue> {
        let parts = cast(parts, &DataType::Float64)?;
        let one = |part: Option<f64>| match part {
            Some(part) => self.at(sorted, part),
            None => ScalarValue::try_from(&self.of),
        };
        let values = parts.as_primitive::<Float64Type>().iter().map(one).collect::<Result<Vec<_>>>()?;
        Ok(ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.of)))
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let (Some(values), Some(down)) = (columns.first(), columns.last()) else {
            return plan_err!("{} takes a value", self.name);
        };
        if values.is_empty() {
            return Ok(());
        }
        self.down = down.as_boolean().value(0);
        if self.kind != Kind::Mode {
            self.part = ScalarValue::try_from_array(&columns[1], 0)?;
        }
        self.add(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, parts, downs] = states else { return plan_err!("a state of three columns") };
        let (lists, downs): (_, &BooleanArray) = (values.as_list::<i32>(), downs.as_boolean());
        for row in 0..lists.len() {
            if lists.is_valid(row) && !lists.value(row).is_empty() {
                self.down = downs.value(row);
                self.part = ScalarValue::try_from_array(parts, row)?;
                self.add(&lists.value(row))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.values.is_empty() || self.part.is_null() && self.kind != Kind::Mode {
            return self.null();
        }
        let sorted = self.sorted()?;
        match (self.kind, &self.part) {
            (Kind::Mode, _) => self.mode(&sorted),
            (_, ScalarValue::List(parts)) => self.several(&sorted, &parts.value(0)),
            (_, ScalarValue::Float64(Some(part))) => self.at(&sorted, *part),
            _ => self.null(),
        }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let parts: Vec<&dyn Array> = self.values.iter().map(|v| v.as_ref()).collect();
        let list = DataType::new_list(self.of.clone(), true);
        let values = match parts.is_empty() {
            true => ScalarValue::try_from(&list)?,
            false => {
                let all = concat(&parts)?;
                let item = Arc::new(Field::new_list_field(self.of.clone(), true));
                let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths([all.len()]);
                let lists = datafusion::arrow::array::ListArray::try_new(item, offsets, all, None)?;
                ScalarValue::List(Arc::new(lists))
            }
        };
        Ok(vec![values, self.part.clone(), ScalarValue::Boolean(Some(self.down))])
    }

    fn size(&self) -> usize {
        let values: usize = self.values.iter().map(|v| v.get_array_memory_size()).sum();
        size_of_val(self) + values
    }
}
