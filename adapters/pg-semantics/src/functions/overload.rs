//! Functions that are overloaded by the types of their arguments, as in PostgreSQL, and evaluated value by value.
//! `time`, `extract` and `to_char` list them with their implementations.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::*;
use datafusion::arrow::datatypes::*;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use pg_values::format::Pattern;
use pg_values::format::numbers::NumberPattern;
use pg_values::time::Interval;

use crate::error::{SqlError, SqlState};
use crate::types::{PgType, UTC};

/// The types of arguments and results.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Bool,
    Int,
    Float,
    Text,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
}

impl Kind {
    /// The Arrow type behind it.
    pub fn arrow(self) -> DataType {
        match self {
            Kind::Bool => DataType::Boolean,
            Kind::Int => DataType::Int32,
            Kind::Float => DataType::Float64,
            Kind::Text => DataType::Utf8,
            Kind::Date => DataType::Date32,
            Kind::Time => DataType::Time64(TimeUnit::Microsecond),
            Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Kind::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Kind::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        }
    }

    /// The kind of an Arrow type of any unit. None: these functions do not accept it.
    pub fn of(data_type: &DataType) -> Option<Kind> {
        use DataType as D;
        Some(match data_type {
            D::Boolean => Kind::Bool,
            t if t.is_integer() => Kind::Int,
            t if t.is_floating() => Kind::Float,
            D::Utf8 | D::LargeUtf8 | D::Utf8View => Kind::Text,
            D::Date32 | D::Date64 => Kind::Date,
            D::Time32(_) | D::Time64(_) => Kind::Time,
            D::Timestamp(_, None) => Kind::Timestamp,
            D::Timestamp(_, Some(_)) => Kind::TimestampTz,
            D::Interval(_) | D::Duration(_) => Kind::Interval,
            _ => return None,
        })
    }

    /// True for dates, times and intervals.
    pub fn is_time(self) -> bool {
        matches!(self, Kind::Date | Kind::Time | Kind::Timestamp | Kind::TimestampTz | Kind::Interval)
    }

    /// How well an argument of a type fits: 2 without conversion, 1 with an implicit conversion; None: not at all.
    fn takes(self, data_type: &DataType) -> Option<u32> {
        match (Kind::of(data_type), self) {
            (Some(kind), wanted) if kind == wanted => Some(2),
            (Some(Kind::Date), Kind::Timestamp | Kind::TimestampTz) => Some(1),
            (Some(Kind::Timestamp), Kind::TimestampTz) => Some(1),
            (Some(Kind::Int), Kind::Float) => Some(1),
            // Texts may be literals of unknown type.
            (Some(Kind::Text), _) => Some(1),
            (None, Kind::Float) if data_type.is_decimal() => Some(1),
            (None, _) if data_type.is_null() => Some(1),
            _ => None,
        }
    }
}

/// A value.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Value<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    String(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight or since 1970-01-01.
    Micros(i64),
    Interval(Interval),
}

impl Value<'_> {
    /// A whole number.
    pub fn int(&self) -> i64 {
        match self {
            Value::Int(value) => *value,
            Value::Date(days) => (*days).into(),
            other => unreachable!("{other:?} is no integer: overloads say the kinds of their arguments"),
        }
    }

    /// A double.
    pub fn float(&self) -> f64 {
        match self {
            Value::Float(value) => *value,
            other => unreachable!("{other:?} is no double: overloads say the kinds of their arguments"),
        }
    }

    /// Microseconds.
    pub fn micros(&self) -> i64 {
        match self {
            Value::Micros(value) => *value,
            other => unreachable!("{other:?} is no time: overloads say the kinds of their arguments"),
        }
    }

    /// An interval.
    pub fn interval(&self) -> Interval {
        match self {
            Value::Interval(value) => *value,
            other => unreachable!("{other:?} is no interval: overloads say the kinds of their arguments"),
        }
    }

    /// A text.
    pub fn text(&self) -> &str {
        match self {
            Value::Text(value) => value,
            Value::String(value) => value,
            other => unreachable!("{other:?} is no text: overloads say the kinds of their arguments"),
        }
    }
}

/// The parsed form of a text argument, kept while the next row has the same text.
#[derive(Default)]
pub struct Memory {
    text: String,
    read: Option<Read>,
}

/// See [`Memory`].
#[derive(Clone)]
#[allow(missing_docs)]
pub enum Read {
    Pattern(Arc<Pattern>),
    Numbers(Arc<NumberPattern>),
    Field(pg_values::time::fields::Field),
    Zone(pg_values::time::Zone),
}

impl Memory {
    /// The result of `read` for the text.
    pub fn of(&mut self, text: &str, read: impl FnOnce(&str) -> crate::Result<Read>) -> crate::Result<Read> {
        if self.text == text
            && let Some(known) = &self.read
        {
            return Ok(known.clone());
        }
        let new = read(text)?;
        self.text.clear();
        self.text.push_str(text);
        self.read = Some(new.clone());
        Ok(new)
    }
}

/// Calculates one value. None is NULL. Each argument has one memory.
pub type Body = fn(&[Value<'_>], &mut [Memory]) -> crate::Result<Option<Value<'static>>>;

/// One function of a name.
pub struct Overload {
    /// Types of the arguments.
    pub args: &'static [Kind],
    /// Type of the result.
    pub result: Kind,
    /// Its implementation.
    pub body: Body,
}

/// All functions of a name.
pub struct Overloaded {
    name: &'static str,
    overloads: &'static [Overload],
    signature: Signature,
}

impl Overloaded {
    /// A function that depends on its arguments only. NULL arguments give NULL.
    pub fn function(name: &'static str, overloads: &'static [Overload]) -> ScalarUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::from(Overloaded { name, overloads, signature })
    }

    /// The overload that PostgreSQL would choose: the most arguments without conversion, then the preferred type.
    fn resolve(&self, types: &[DataType]) -> Result<&'static Overload> {
        let mut best: Option<(&Overload, u32)> = None;
        for overload in self.overloads.iter().filter(|o| o.args.len() == types.len()) {
            let fits: Option<Vec<u32>> =
                overload.args.iter().zip(types).map(|(kind, found)| kind.takes(found)).collect();
            let Some(fits) = fits else { continue };
            let exact = fits.iter().filter(|fit| **fit == 2).count() as u32;
            let preferred =
                overload.args.iter().zip(&fits).any(|(k, fit)| *k == Kind::TimestampTz && *fit == 1);
            let score = exact * 2 + u32::from(preferred);
            if best.is_none_or(|(_, before)| score > before) {
                best = Some((overload, score));
            }
        }
        match best {
            Some((overload, _)) => Ok(overload),
            None => Err(unknown(self.name, types).into()),
        }
    }
}

/// 42883, with PostgreSQL's text.
pub fn unknown(name: &str, types: &[DataType]) -> SqlError {
    let types: Vec<String> = types.iter().map(|t| PgType::of_arrow(t).sql_name()).collect();
    SqlError::new(
        SqlState::UNDEFINED_FUNCTION,
        format!("function {name}({}) does not exist", types.join(", ")),
    )
    .with_hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}

impl fmt::Debug for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Overloaded {
    fn eq(&self, other: &Overloaded) -> bool {
        self.name == other.name
    }
}

impl Eq for Overloaded {}

impl Hash for Overloaded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Overloaded {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.resolve(types)?.result.arrow())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(self.resolve(types)?.args.iter().map(|kind| kind.arrow()).collect())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let overload = self.resolve(&types)?;
        calculate(&args.args, args.number_rows, overload.result, |row, memory| (overload.body)(row, memory))
    }
}

/// Calculates a column value by value; a scalar if all arguments are.
pub fn calculate(
    args: &[ColumnarValue],
    rows: usize,
    result: Kind,
    mut body: impl FnMut(&[Value<'_>], &mut [Memory]) -> crate::Result<Option<Value<'static>>>,
) -> Result<ColumnarValue> {
    let values = rows_of(args, rows, |row, memory| body(row, memory))?;
    let array = array_of(values, result)?;
    let scalar = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    Ok(match scalar {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
        false => ColumnarValue::Array(array),
    })
}

/// The result of `body` for each row; NULL for a row with a NULL.
pub fn rows_of<T>(
    args: &[ColumnarValue],
    rows: usize,
    mut body: impl FnMut(&[Value<'_>], &mut [Memory]) -> crate::Result<Option<T>>,
) -> Result<Vec<Option<T>>> {
    let scalar = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if scalar { 1 } else { rows };
    let columns = args.iter().map(Column::new).collect::<Result<Vec<_>>>()?;
    let mut memory: Vec<Memory> = args.iter().map(|_| Memory::default()).collect();
    let mut found = Vec::with_capacity(rows);
    let mut row: Vec<Value<'_>> = Vec::with_capacity(args.len());
    for at in 0..rows {
        row.clear();
        row.extend(columns.iter().map_while(|column| column.value(at)));
        found.push(match row.len() == columns.len() {
            true => body(&row, &mut memory)?,
            false => None,
        });
    }
    Ok(found)
}

/// An argument's values.
struct Column {
    values: ArrayRef,
    kind: Kind,
    is_scalar: bool,
}

impl Column {
    fn new(arg: &ColumnarValue) -> Result<Column> {
        let (values, is_scalar) = match arg {
            ColumnarValue::Array(values) => (Arc::clone(values), false),
            ColumnarValue::Scalar(value) => (value.to_array()?, true),
        };
        let kind = Kind::of(values.data_type()).unwrap_or(Kind::Text);
        let wanted = kind.arrow();
        let values = match *values.data_type() == wanted {
            true => values,
            false => crate::casts::convert::arrow_cast(&values, &wanted)?,
        };
        Ok(Column { values, kind, is_scalar })
    }

    fn value(&self, row: usize) -> Option<Value<'_>> {
        let row = if self.is_scalar { 0 } else { row };
        if self.values.is_null(row) {
            return None;
        }
        let values = &self.values;
        Some(match self.kind {
            Kind::Bool => Value::Bool(values.as_boolean().value(row)),
            Kind::Int => Value::Int(values.as_primitive::<Int32Type>().value(row).into()),
            Kind::Float => Value::Float(values.as_primitive::<Float64Type>().value(row)),
            Kind::Text => Value::Text(values.as_string::<i32>().value(row)),
            Kind::Date => Value::Date(values.as_primitive::<Date32Type>().value(row)),
            Kind::Time => Value::Micros(values.as_primitive::<Time64MicrosecondType>().value(row)),
            Kind::Timestamp | Kind::TimestampTz => {
                Value::Micros(values.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            Kind::Interval => {
                Value::Interval(from_arrow(values.as_primitive::<IntervalMonthDayNanoType>().value(row)))
            }
        })
    }
}

/// An interval as PostgreSQL stores it.
pub fn from_arrow(value: IntervalMonthDayNano) -> Interval {
    Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1000 }
}

/// An interval as a column stores it: in nanoseconds, so that its hours end at 292 years.
pub fn to_arrow(interval: Interval) -> crate::Result<IntervalMonthDayNano> {
    let Interval { months, days, micros } = interval;
    match micros.checked_mul(1000) {
        Some(nanoseconds) => Ok(IntervalMonthDayNano { months, days, nanoseconds }),
        None => Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
            .with_hint("The hours of an interval are limited to 2562047; use days and months for more.")),
    }
}

/// Values as a column.
pub fn array_of(values: Vec<Option<Value<'static>>>, kind: Kind) -> Result<ArrayRef> {
    let ints = || values.iter().map(|v| v.as_ref().map(Value::int));
    let micros = || values.iter().map(|v| v.as_ref().map(Value::micros));
    Ok(match kind {
        Kind::Bool => {
            let truth = |v: &Value<'_>| matches!(v, Value::Bool(true));
            Arc::new(values.iter().map(|v| v.as_ref().map(truth)).collect::<BooleanArray>())
        }
        Kind::Int => Arc::new(ints().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        Kind::Date => Arc::new(ints().map(|v| v.map(|v| v as i32)).collect::<Date32Array>()),
        Kind::Float => {
            Arc::new(values.iter().map(|v| v.as_ref().map(Value::float)).collect::<Float64Array>())
        }
        Kind::Text => Arc::new(values.iter().map(|v| v.as_ref().map(Value::text)).collect::<StringArray>()),
        Kind::Time => Arc::new(micros().collect::<Time64MicrosecondArray>()),
        Kind::Timestamp => Arc::new(micros().collect::<TimestampMicrosecondArray>()),
        Kind::TimestampTz => Arc::new(micros().collect::<TimestampMicrosecondArray>().with_timezone(UTC)),
        Kind::Interval => {
            let values = values.iter().map(|v| v.as_ref().map(|v| to_arrow(v.interval())).transpose());
            Arc::new(values.collect::<crate::Result<IntervalMonthDayNanoArray>>()?)
        }
    })
}

/// The error for a call with wrong arguments although its types were resolved.
pub fn misused<T>(name: &str) -> Result<T> {
    plan_err!("{name} has other arguments")
}
