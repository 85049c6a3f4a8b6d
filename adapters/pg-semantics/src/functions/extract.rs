//! `extract` and `date_part`: a field of a date, time or interval, as a numeric with the digits of the field, or as a
//! double.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Decimal128Array, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field as ArrowField, FieldRef};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use pg_values::time::calendar::{self, MICROS_PER_DAY};
use pg_values::time::fields::{Field, Source};

use super::overload::{Kind, Memory, Value, misused, rows_of, unknown};
use super::time::{field, unknown_unit, unsupported_unit};
use crate::error::{SqlError, SqlState};

/// Both functions.
pub fn functions() -> Vec<ScalarUDF> {
    let function = |name, exact| {
        ScalarUDF::from(Extract { name, exact, signature: Signature::user_defined(Volatility::Immutable) })
    };
    vec![function("extract", true), function("date_part", false)]
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct Extract {
    name: &'static str,
    /// `extract` returns a numeric, `date_part` a double.
    exact: bool,
    signature: Signature,
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::Date => "date",
        Source::Time => "time without time zone",
        Source::Timestamp => "timestamp without time zone",
        Source::TimestampTz => "timestamp with time zone",
        Source::Interval => "interval",
    }
}

impl Extract {
    fn source(&self, types: &[DataType]) -> Result<Source> {
        let [_, from] = types else { return Err(unknown(self.name, types).into()) };
        Ok(match Kind::of(from) {
            // date_part converts a date to a timestamp.
            Some(Kind::Date) if self.exact => Source::Date,
            Some(Kind::Date | Kind::Timestamp) => Source::Timestamp,
            Some(Kind::TimestampTz) => Source::TimestampTz,
            Some(Kind::Time) => Source::Time,
            Some(Kind::Interval) => Source::Interval,
            _ => return Err(unknown(self.name, types).into()),
        })
    }

    fn value(&self, value: &Value<'_>, field: Field, source: Source) -> crate::Result<Option<Number>> {
        let number = match source {
            Source::Interval => field.of_interval(value.interval()),
            Source::Time => field.of_time(value.micros()),
            Source::Date => match value.int() {
                days if days == i64::from(i32::MAX) => return self.infinite(field, true),
                days if days == i64::from(i32::MIN) => return self.infinite(field, false),
                // Years beyond those of timestamps: days are enough for every field of a date.
                days => return Ok(Some(Number::Exact(date_field(field, days)))),
            },
            Source::Timestamp | Source::TimestampTz => match value.micros() {
                calendar::TIMESTAMP_INFINITY => return self.infinite(field, true),
                calendar::TIMESTAMP_MINUS_INFINITY => return self.infinite(field, false),
                micros => field.of_timestamp(micros, source),
            },
        };
        Ok(Some(Number::Exact(number)))
    }

    /// Fields that grow with time are infinite in infinity, the others are NULL.
    fn infinite(&self, field: Field, positive: bool) -> crate::Result<Option<Number>> {
        match (field.grows_forever(), self.exact) {
            (false, _) => Ok(None),
            (true, false) => Ok(Some(Number::Infinite(positive))),
            (true, true) => Err(SqlError::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                "this field of an infinite timestamp is Infinity, and numeric does not support Infinity",
            )
            .with_hint("Use date_part, or exclude infinite values with isfinite.")),
        }
    }

    fn checked(&self, value: &Value<'_>, memory: &mut Memory, source: Source) -> crate::Result<Field> {
        let field = field(value, memory, source_name(source))?;
        match field.is_in(source) {
            true => Ok(field),
            false => Err(unsupported_unit(value.text(), source_name(source))),
        }
    }
}

/// A field of a date that may be out of range for a timestamp: it uses a day with the same calendar, a multiple of 400
/// years away.
fn date_field(field: Field, days: i64) -> i128 {
    const ERA_DAYS: i64 = 146_097;
    let within = |days: i64| (days * i128::from(MICROS_PER_DAY) as i64, Source::Date);
    let eras = if days.abs() > 90_000_000 { days / ERA_DAYS } else { 0 };
    let (micros, source) = within(days - eras * ERA_DAYS);
    let near = field.of_timestamp(micros, source);
    let shift = i128::from(eras);
    use pg_values::time::Unit as U;
    near + match field {
        Field::Of(U::Year) | Field::IsoYear => shift * 400,
        Field::Of(U::Decade) => shift * 40,
        Field::Of(U::Century) => shift * 4,
        // A millennium is not a whole number of eras of 400 years.
        Field::Of(U::Millennium) => {
            let (year, ..) = calendar::civil_from_days(days);
            return i128::from((year + 999).div_euclid(1000));
        }
        Field::Julian => shift * i128::from(ERA_DAYS),
        Field::Epoch => shift * i128::from(ERA_DAYS * 86_400),
        _ => 0,
    }
}

/// The value of a field.
enum Number {
    Exact(i128),
    Infinite(bool),
}

impl ScalarUDFImpl for Extract {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        match self.exact {
            true => plan_err!("the digits of a field depend on the field"),
            false => Ok(DataType::Float64),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let source = self.source(&types)?;
        if !self.exact {
            return Ok(Arc::new(ArrowField::new(self.name, DataType::Float64, true)));
        }
        let name = match args.scalar_arguments.first() {
            Some(Some(ScalarValue::Utf8(Some(name)))) => name.as_str(),
            _ => return Err(SqlError::syntax("extract takes the name of a field").into()),
        };
        let field = Field::named(name).ok_or_else(|| unknown_unit(name, source_name(source)))?;
        if !field.is_in(source) {
            return Err(unsupported_unit(name, source_name(source)).into());
        }
        let numeric = DataType::Decimal128(field.precision(source), field.scale(source));
        Ok(Arc::new(ArrowField::new(self.name, numeric, true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.source(types)?;
        let wanted = Kind::of(&types[1]).filter(|kind| kind.is_time()).map_or(DataType::Null, Kind::arrow);
        Ok(vec![DataType::Utf8, wanted])
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let source = self.source(&types)?;
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        // A date that date_part converts to a timestamp.
        let midnight = !self.exact && Kind::of(&types[1]) == Some(Kind::Date);
        let numbers = rows_of(&args.args, args.number_rows, |row, memory| {
            let field = self.checked(&row[0], &mut memory[0], source)?;
            let value = match (midnight, &row[1]) {
                (true, Value::Date(days)) => {
                    let start = calendar::date_to_timestamp(*days);
                    let out_of_range = || {
                        SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp")
                    };
                    Value::Micros(start.ok_or_else(out_of_range)?)
                }
                (_, value) => value.clone(),
            };
            Ok(self.value(&value, field, source)?.map(|number| (number, field)))
        })?;
        let array: ArrayRef = match args.return_field.data_type() {
            DataType::Decimal128(precision, scale) => {
                let exact = numbers.iter().map(|n| match n {
                    Some((Number::Exact(value), _)) => Some(*value),
                    _ => None,
                });
                let values = exact.collect::<Decimal128Array>();
                Arc::new(values.with_precision_and_scale(*precision, *scale)?)
            }
            DataType::Float64 => {
                let float = |(number, field): &(Number, Field)| match number {
                    Number::Exact(value) => field.as_float(*value, source),
                    Number::Infinite(true) => f64::INFINITY,
                    Number::Infinite(false) => f64::NEG_INFINITY,
                };
                Arc::new(numbers.iter().map(|n| n.as_ref().map(float)).collect::<Float64Array>())
            }
            _ => return misused(self.name),
        };
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}
