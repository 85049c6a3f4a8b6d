//! Casts between dates, times, timestamps and intervals. No step uses nanoseconds, whose range ends in the year 2262.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::*;
use pg_values::time::Interval;
use pg_values::time::calendar::{self, MICROS_PER_DAY};

use super::convert::arrow_cast;
use crate::error::{Result, SqlError, SqlState};
use crate::functions::overload::{Kind, from_arrow, to_arrow};

/// True for the pairs of types that this module converts.
pub fn converts(from: &DataType, into: &DataType) -> bool {
    match (Kind::of(from), Kind::of(into)) {
        (Some(from), Some(kind)) => from != kind && from.is_time() && kind.is_time() && kind.arrow() == *into,
        _ => false,
    }
}

/// True if PostgreSQL has such a cast.
pub fn exists(from: Kind, into: Kind) -> bool {
    use Kind as K;
    matches!(
        (from, into),
        (K::Date, K::Timestamp | K::TimestampTz)
            | (K::Timestamp | K::TimestampTz, K::Date | K::Time | K::Timestamp | K::TimestampTz)
            | (K::Time, K::Interval)
            | (K::Interval, K::Time)
    )
}

/// The values as values of another of these types.
pub fn convert(values: &ArrayRef, into: &DataType) -> Result<ArrayRef> {
    let (Some(from), Some(kind)) = (Kind::of(values.data_type()), Kind::of(into)) else {
        return arrow_cast(values, into);
    };
    if !exists(from, kind) {
        return Err(no_cast(values.data_type(), into));
    }
    let values = arrow_cast(values, &from.arrow())?;
    Ok(match (from, kind) {
        (Kind::Date, _) => {
            let out_of_range =
                || SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp");
            let dates = values.as_primitive::<Date32Type>();
            let read = |days| calendar::date_to_timestamp(days).ok_or_else(out_of_range);
            let times: PrimitiveArray<TimestampMicrosecondType> = dates.try_unary(read)?;
            Arc::new(times.with_data_type(kind.arrow()))
        }
        (Kind::Timestamp | Kind::TimestampTz, Kind::Date) => {
            let times = values.as_primitive::<TimestampMicrosecondType>();
            Arc::new(times.unary::<_, Date32Type>(calendar::timestamp_to_date))
        }
        (Kind::Timestamp | Kind::TimestampTz, Kind::Time) => {
            let times = values.as_primitive::<TimestampMicrosecondType>();
            let of_day = |micros: i64| match calendar::is_infinite(micros) {
                true => None,
                false => Some(micros.rem_euclid(MICROS_PER_DAY)),
            };
            Arc::new(times.unary_opt::<_, Time64MicrosecondType>(of_day))
        }
        // The session's zone is UTC: local time is UTC.
        (Kind::Timestamp | Kind::TimestampTz, _) => {
            let times = values.as_primitive::<TimestampMicrosecondType>().clone();
            Arc::new(times.with_data_type(kind.arrow()))
        }
        (Kind::Time, _) => {
            let times = values.as_primitive::<Time64MicrosecondType>();
            let read = |micros| to_arrow(Interval { months: 0, days: 0, micros });
            Arc::new(times.try_unary::<_, IntervalMonthDayNanoType, SqlError>(read)?)
        }
        (_, _) => {
            let intervals = values.as_primitive::<IntervalMonthDayNanoType>();
            let of_day = |value| from_arrow(value).micros.rem_euclid(MICROS_PER_DAY);
            Arc::new(intervals.unary::<_, Time64MicrosecondType>(of_day))
        }
    })
}

/// 42846
pub fn no_cast(from: &DataType, into: &DataType) -> SqlError {
    let name = |t: &DataType| crate::types::PgType::of_arrow(t).sql_name();
    SqlError::new(SqlState::CANNOT_COERCE, format!("cannot cast type {} to {}", name(from), name(into)))
}
