//! `sum`, `avg`, `variance` and `stddev` with PostgreSQL's types: exact over integers and numerics, in double precision
//! over floats. DataFusion's wrap around, and return averages as floats.
//!
//! Their names in a plan begin with `pg_`, so that no rule of DataFusion mistakes them for its own.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bigdecimal::num_bigint::BigInt;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal256Type, Field, FieldRef, Float64Type, Int64Type, i256};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use crate::decimal::{self, DIGITS_MAX, Decimal, Digits};
use crate::error::{SqlError, SqlState};
use crate::operators::from_wide;
use crate::types::PgType;
use crate::types::planner::unbounded_numeric;

/// The aggregate over the values of a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    Sum,
    Avg,
    Variance { population: bool },
    Deviation { population: bool },
}

/// All of them, under their names in statements.
pub fn functions() -> Vec<AggregateUDF> {
    let function = |kind, name, names: &[&str]| {
        let signature = Signature::user_defined(Volatility::Immutable);
        let aliases = names.iter().map(|n| n.to_string()).collect();
        AggregateUDF::from(Numbers { kind, name, aliases, signature })
    };
    vec![
        function(Kind::Sum, "pg_sum", &["sum"]),
        function(Kind::Avg, "pg_avg", &["avg"]),
        function(Kind::Variance { population: false }, "pg_variance", &["variance", "var_samp"]),
        function(Kind::Variance { population: true }, "pg_var_pop", &["var_pop"]),
        function(Kind::Deviation { population: false }, "pg_stddev", &["stddev", "stddev_samp"]),
        function(Kind::Deviation { population: true }, "pg_stddev_pop", &["stddev_pop"]),
    ]
}

/// An aggregate of numbers.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Numbers {
    kind: Kind,
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
}

impl Numbers {
    /// The function under its name in statements.
    fn shown(&self) -> &str {
        &self.aliases[0]
    }

    fn groups(&self, of: &DataType) -> Result<Groups> {
        let returns = self.return_type(std::slice::from_ref(of))?;
        Ok(Groups { kind: self.kind, of: of.clone(), returns, moments: vec![] })
    }
}

impl AggregateUDFImpl for Numbers {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [of] = types else {
            let message = format!("function {} takes one argument", self.shown());
            return Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message).into());
        };
        if Digits::of(of).is_some() || matches!(of, DataType::Float32 | DataType::Float64) {
            return Ok(vec![of.clone()]);
        }
        match of {
            DataType::Null => Ok(vec![DataType::Float64]),
            // Intervals are summed in `intervals`.
            DataType::Interval(_) if matches!(self.kind, Kind::Sum | Kind::Avg) => Ok(vec![of.clone()]),
            DataType::Int8 | DataType::UInt8 | DataType::UInt16 => Ok(vec![DataType::Int32]),
            DataType::UInt32 | DataType::UInt64 => Ok(vec![DataType::Decimal128(20, 0)]),
            other => {
                let message = format!(
                    "function {}({}) does not exist",
                    self.shown(),
                    PgType::of_arrow(other).sql_name()
                );
                Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message)
                    .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
                    .into())
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [of] = types else { return plan_err!("{} takes one argument", self.name) };
        Ok(match (self.kind, of) {
            (Kind::Sum, DataType::Float32) => DataType::Float32,
            (Kind::Sum | Kind::Avg, DataType::Interval(_)) => of.clone(),
            (_, DataType::Float32 | DataType::Float64 | DataType::Null) => DataType::Float64,
            (Kind::Sum, DataType::Int16 | DataType::Int32) => DataType::Int64,
            (Kind::Sum, _) => sum_digits(of).arrow(),
            (Kind::Avg, _) => sum_digits(of).quotient(Digits { precision: 1, scale: 0 }).arrow(),
            (Kind::Variance { .. } | Kind::Deviation { .. }, _) => unbounded_numeric(),
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let of = args.expr_fields[0].data_type();
        let one = One { groups: self.groups(of)?, input: of.clone() };
        Ok(match args.is_distinct {
            true => Box::new(Distinct { seen: HashSet::new(), of: of.clone(), one }),
            false => Box::new(one),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let of = args.input_fields[0].data_type();
        if args.is_distinct {
            let item = Field::new_list_field(of.clone(), true);
            return Ok(vec![
                Field::new(format!("{}[values]", args.name), DataType::List(item.into()), true).into(),
            ]);
        }
        let field = |name: &str, t: DataType| Field::new(format!("{}[{name}]", args.name), t, true).into();
        let (sum, squares) = state_types(of);
        Ok(vec![field("count", DataType::Int64), field("sum", sum), field("squares", squares)])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.groups(args.expr_fields[0].data_type())?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let of = args.expr_fields[0].data_type();
        let one = One { groups: self.groups(of)?, input: of.clone() };
        Ok(match of.is_floating() {
            // A value that leaves a frame cannot be subtracted from a sum of floats exactly: the frame is summed again.
            true => Box::new(Replay { frame: VecDeque::new(), of: of.clone(), one }),
            false => Box::new(one),
        })
    }
}

/// The digits of a sum over any possible number of rows.
fn sum_digits(of: &DataType) -> Digits {
    let digits = Digits::of(of).unwrap_or(Digits { precision: 38, scale: 0 });
    Digits::new(digits.whole() + 19, digits.scale)
}

/// Types of a sum and a sum of squares while they are partial.
fn state_types(of: &DataType) -> (DataType, DataType) {
    match Digits::of(of) {
        Some(digits) => {
            let scale = digits.scale.min(i32::from(DIGITS_MAX) / 2);
            let wide = |scale: i32| DataType::Decimal256(DIGITS_MAX, scale as i8);
            (wide(digits.scale), wide(2 * scale))
        }
        None => (DataType::Float64, DataType::Float64),
    }
}

/// Count, sum and sum of squares of a group.
#[derive(Clone, Copy, Debug)]
struct Moments {
    count: i64,
    /// Unscaled, of exact types.
    sum: i256,
    squares: i256,
    /// Of floats. For variances: the mean, and the sum of squared distances from it (Welford).
    float: f64,
    float_squares: f64,
}

const NOTHING: Moments =
    Moments { count: 0, sum: i256::ZERO, squares: i256::ZERO, float: 0.0, float_squares: 0.0 };

/// The moments of all groups.
#[derive(Debug)]
struct Groups {
    kind: Kind,
    of: DataType,
    returns: DataType,
    moments: Vec<Moments>,
}

/// Whether values are added or removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

impl Groups {
    fn is_float(&self) -> bool {
        self.of.is_floating() || self.of == DataType::Null
    }

    fn has_squares(&self) -> bool {
        matches!(self.kind, Kind::Variance { .. } | Kind::Deviation { .. })
    }

    /// Calls `f` for each row that counts: its group and its ordinal.
    fn each(
        values: &ArrayRef,
        groups: impl Fn(usize) -> usize,
        filter: Option<&BooleanArray>,
        mut f: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<()> {
        for row in 0..values.len() {
            let kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if kept && values.is_valid(row) {
                f(groups(row), row)?;
            }
        }
        Ok(())
    }

    fn change(
        &mut self,
        values: &ArrayRef,
        groups: impl Fn(usize) -> usize,
        filter: Option<&BooleanArray>,
        change: Change,
    ) -> Result<()> {
        let squares = self.has_squares();
        let moments = &mut self.moments;
        if values.data_type().is_floating() {
            let values = cast(values, &DataType::Float64)?;
            let floats = values.as_primitive::<Float64Type>();
            return Groups::each(&values, groups, filter, |group, row| {
                moments[group].add_float(floats.value(row), squares)
            });
        }
        macro_rules! exact {
            ($t:ty, $wide:expr) => {{
                let numbers = values.as_primitive::<$t>();
                Groups::each(values, groups, filter, |group, row| {
                    moments[group].exact($wide(numbers.value(row)), change, squares)
                })
            }};
        }
        use datafusion::arrow::datatypes::{Decimal128Type, Int16Type, Int32Type};
        match values.data_type() {
            DataType::Int16 => exact!(Int16Type, |v: i16| i256::from(i64::from(v))),
            DataType::Int32 => exact!(Int32Type, |v: i32| i256::from(i64::from(v))),
            DataType::Int64 => exact!(Int64Type, i256::from),
            DataType::Decimal128(..) => exact!(Decimal128Type, i256::from_i128),
            DataType::Decimal256(..) => exact!(Decimal256Type, |v: i256| v),
            DataType::Null => Ok(()),
            other => plan_err!("{other} is no number"),
        }
    }

    fn merge(&mut self, states: &[ArrayRef], groups: impl Fn(usize) -> usize) -> Result<()> {
        let [counts, sums, squares] = states else { return plan_err!("a state of three columns") };
        let count = counts.as_primitive::<Int64Type>();
        let (float, has_squares) = (self.is_float(), self.has_squares());
        let moments = &mut self.moments;
        Groups::each(counts, groups, None, |group, row| {
            let other = match float {
                true => Moments {
                    count: count.value(row),
                    float: sums.as_primitive::<Float64Type>().value(row),
                    float_squares: squares.as_primitive::<Float64Type>().value(row),
                    ..NOTHING
                },
                false => Moments {
                    count: count.value(row),
                    sum: sums.as_primitive::<Decimal256Type>().value(row),
                    squares: squares.as_primitive::<Decimal256Type>().value(row),
                    ..NOTHING
                },
            };
            moments[group].merge(other, has_squares)
        })
    }

    fn state_of(&self, moments: &[Moments]) -> Result<Vec<ArrayRef>> {
        let counts = Int64Array::from_iter_values(moments.iter().map(|m| m.count));
        let (sum, squares) = state_types(&self.of);
        if self.is_float() {
            let sums = Float64Array::from_iter_values(moments.iter().map(|m| m.float));
            let squares = Float64Array::from_iter_values(moments.iter().map(|m| m.float_squares));
            return Ok(vec![Arc::new(counts), Arc::new(sums), Arc::new(squares)]);
        }
        let wide =
            |values: Vec<Option<i256>>, t: &DataType| from_wide(values, Digits::of(t).expect("a decimal"));
        Ok(vec![
            Arc::new(counts),
            wide(moments.iter().map(|m| Some(m.sum)).collect(), &sum)?,
            wide(moments.iter().map(|m| Some(m.squares)).collect(), &squares)?,
        ])
    }

    fn results(&self, moments: &[Moments]) -> Result<ArrayRef> {
        if self.is_float() {
            let values = moments.iter().map(|m| m.float_result(self.kind)).collect::<Result<Vec<_>>>()?;
            return Ok(match self.returns {
                DataType::Float32 => {
                    let narrow = |v: f64| match (v as f32).is_infinite() && v.is_finite() {
                        true => Err(overflow()),
                        false => Ok(v as f32),
                    };
                    let values = values.into_iter().map(|v| v.map(narrow).transpose());
                    Arc::new(values.collect::<crate::error::Result<Float32Array>>()?)
                }
                _ => Arc::new(Float64Array::from(values)),
            });
        }
        let scale = Digits::of(&self.of).map_or(0, |d| d.scale);
        let into = Digits::of(&self.returns).unwrap_or(Digits { precision: 19, scale: 0 });
        let values = moments
            .iter()
            .map(|m| m.exact_result(self.kind, scale, into))
            .collect::<Result<Vec<Option<i256>>>>()?;
        if self.returns == DataType::Int64 {
            let narrow = |v: i256| {
                let small = v.to_i128().and_then(|v| i64::try_from(v).ok());
                small
                    .ok_or_else(|| SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range"))
            };
            let values = values.into_iter().map(|v| v.map(narrow).transpose());
            return Ok(Arc::new(values.collect::<crate::error::Result<Int64Array>>()?));
        }
        if values.iter().flatten().any(|v| !decimal::fits(*v, into.precision)) {
            return Err(decimal::too_wide().into());
        }
        from_wide(values, into)
    }
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

impl Moments {
    fn exact(&mut self, value: i256, change: Change, squares: bool) -> Result<()> {
        let apply = |to: i256, v: i256| match change {
            Change::Add => to.checked_add(v),
            Change::Remove => to.checked_sub(v),
        };
        self.count += if change == Change::Add { 1 } else { -1 };
        self.sum = apply(self.sum, value).ok_or_else(decimal::too_wide)?;
        if squares {
            let square = value.checked_mul(value).ok_or_else(decimal::too_wide)?;
            self.squares = apply(self.squares, square).ok_or_else(decimal::too_wide)?;
        }
        Ok(())
    }

    fn add_float(&mut self, value: f64, squares: bool) -> Result<()> {
        self.count += 1;
        if squares {
            let distance = value - self.float;
            self.float += distance / self.count as f64;
            self.float_squares += distance * (value - self.float);
            return Ok(());
        }
        let sum = self.float + value;
        if sum.is_infinite() && value.is_finite() && self.float.is_finite() {
            return Err(overflow().into());
        }
        self.float = sum;
        Ok(())
    }

    fn merge(&mut self, other: Moments, squares: bool) -> Result<()> {
        if other.count == 0 {
            return Ok(());
        }
        if squares {
            let (n, m) = (self.count as f64, other.count as f64);
            let distance = other.float - self.float;
            self.float += distance * m / (n + m);
            self.float_squares += other.float_squares + distance * distance * n * m / (n + m);
        } else {
            let sum = self.float + other.float;
            if sum.is_infinite() && self.float.is_finite() && other.float.is_finite() {
                return Err(overflow().into());
            }
            self.float = sum;
        }
        self.count += other.count;
        self.sum = self.sum.checked_add(other.sum).ok_or_else(decimal::too_wide)?;
        self.squares = self.squares.checked_add(other.squares).ok_or_else(decimal::too_wide)?;
        Ok(())
    }

    fn float_result(&self, kind: Kind) -> Result<Option<f64>> {
        let n = self.count as f64;
        let variance = |population: bool| match (self.count, population) {
            (0, _) | (1, false) => None,
            (_, true) => Some(self.float_squares / n),
            (_, false) => Some(self.float_squares / (n - 1.0)),
        };
        let result = match kind {
            Kind::Sum => (self.count > 0).then_some(self.float),
            Kind::Avg => (self.count > 0).then(|| self.float / n),
            Kind::Variance { population } => variance(population),
            Kind::Deviation { population } => variance(population).map(f64::sqrt),
        };
        // NaN from infinities of both signs: processors give it a sign, and comparisons see it.
        Ok(result.map(|value| if value.is_nan() { f64::NAN } else { value }))
    }

    fn exact_result(&self, kind: Kind, scale: i32, into: Digits) -> Result<Option<i256>> {
        if self.count == 0 {
            return Ok(None);
        }
        let sum = Decimal { unscaled: self.sum, scale };
        let count = Decimal { unscaled: i256::from(self.count), scale: 0 };
        Ok(match kind {
            Kind::Sum => Some(self.sum),
            Kind::Avg => Some(sum.divide(count, (scale, 0), into.scale)?.unscaled),
            Kind::Variance { population } | Kind::Deviation { population } => {
                if self.count == 1 && !population {
                    return Ok(None);
                }
                let root = matches!(kind, Kind::Deviation { .. });
                Some(self.spread(population, root, scale, into)?)
            }
        })
    }

    /// (n Σx² − (Σx)²) / n(n−1), or its root.
    fn spread(&self, population: bool, root: bool, scale: i32, into: Digits) -> Result<i256> {
        let big = |v: i256| BigInt::from_signed_bytes_le(&v.to_le_bytes());
        let n = BigInt::from(self.count);
        let numerator = &n * big(self.squares) - big(self.sum) * big(self.sum);
        let divisor = if population { &n * &n } else { &n * (&n - 1) };
        let numerator =
            Decimal { unscaled: decimal::narrow(numerator).ok_or_else(decimal::too_wide)?, scale: 2 * scale };
        if numerator.unscaled == i256::ZERO {
            return Ok(i256::ZERO);
        }
        let divisor = Decimal { unscaled: decimal::narrow(divisor).ok_or_else(decimal::too_wide)?, scale: 0 };
        let variance = numerator.divide(divisor, (2 * scale, 0), into.scale)?;
        if !root {
            return Ok(variance.unscaled);
        }
        let places = numerator.quotient_places(divisor, (2 * scale, 0)).min(into.scale);
        let root = variance.root_to(places)?.rescale(into.scale).ok_or_else(decimal::too_wide)?;
        Ok(root.unscaled)
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.moments.resize(groups, NOTHING);
        self.change(&values[0], |row| group_indices[row], filter, Change::Add)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], groups: usize) -> Result<()> {
        self.moments.resize(groups, NOTHING);
        self.merge(values, |row| group_indices[row])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let moments = emit_to.take_needed(&mut self.moments);
        self.results(&moments)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let moments = emit_to.take_needed(&mut self.moments);
        self.state_of(&moments)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let moments = vec![NOTHING; values[0].len()];
        let mut each =
            Groups { kind: self.kind, of: self.of.clone(), returns: self.returns.clone(), moments };
        each.change(&values[0], |row| row, filter, Change::Add)?;
        self.state_of(&each.moments)
    }

    fn size(&self) -> usize {
        self.moments.capacity() * size_of::<Moments>()
    }
}

/// One group.
#[derive(Debug)]
struct One {
    groups: Groups,
    input: DataType,
}

impl One {
    fn change(&mut self, values: &ArrayRef, change: Change) -> Result<()> {
        self.groups.moments.resize(1, NOTHING);
        self.groups.change(values, |_| 0, None, change)
    }
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.change(&values[0], Change::Add)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.change(&values[0], Change::Remove)
    }

    fn supports_retract_batch(&self) -> bool {
        !self.input.is_floating()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.groups.moments.resize(1, NOTHING);
        self.groups.merge(states, |_| 0)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.groups.moments.resize(1, NOTHING);
        ScalarValue::try_from_array(&self.groups.results(&self.groups.moments)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.groups.moments.resize(1, NOTHING);
        let state = self.groups.state_of(&self.groups.moments)?;
        state.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.groups.size()
    }
}

/// A group of which equal values count once.
#[derive(Debug)]
struct Distinct {
    seen: HashSet<ScalarValue>,
    of: DataType,
    one: One,
}

impl Distinct {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        for row in 0..values.len() {
            if values.is_valid(row) {
                self.seen.insert(ScalarValue::try_from_array(values, row)?);
            }
        }
        Ok(())
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        (0..lists.len()).filter(|row| lists.is_valid(*row)).try_for_each(|row| self.add(&lists.value(row)))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.one.groups.moments.clear();
        if !self.seen.is_empty() {
            let values = ScalarValue::iter_to_array(self.seen.iter().cloned())?;
            self.one.change(&values, Change::Add)?;
        }
        self.one.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.seen.iter().cloned().collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.of))])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.seen.capacity() * size_of::<ScalarValue>()
    }
}

/// A frame of floats, summed at each evaluation.
#[derive(Debug)]
struct Replay {
    frame: VecDeque<Option<f64>>,
    of: DataType,
    one: One,
}

impl Accumulator for Replay {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = cast(&values[0], &DataType::Float64)?;
        self.frame.extend(values.as_primitive::<Float64Type>().iter());
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.frame.drain(..values[0].len());
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        plan_err!("frames are not merged")
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.one.groups.moments.clear();
        let frame: ArrayRef = Arc::new(self.frame.iter().copied().collect::<Float64Array>());
        let frame = if self.of == DataType::Float64 { frame } else { cast(&frame, &self.of)? };
        self.one.change(&frame, Change::Add)?;
        self.one.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        plan_err!("frames have no state")
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.frame.capacity() * size_of::<Option<f64>>()
    }
}
