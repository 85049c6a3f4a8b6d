//! The time of a statement: `now()` and the like, the same for all rows; and the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use pg_values::time::calendar::{self, MICROS_PER_DAY};

use super::overload::Kind;
use crate::error::SqlError;

/// All of them.
pub fn functions() -> Vec<ScalarUDF> {
    let new = |name, aliases: &[&str], kind, is_clock| {
        let volatility = if is_clock { Volatility::Volatile } else { Volatility::Stable };
        let aliases = aliases.iter().map(|a| a.to_string()).collect();
        ScalarUDF::from(Now { name, aliases, kind, is_clock, signature: Signature::nullary(volatility) })
    };
    vec![
        new(
            "now",
            &["current_timestamp", "transaction_timestamp", "statement_timestamp"],
            Kind::TimestampTz,
            false,
        ),
        new("localtimestamp", &[], Kind::Timestamp, false),
        new("localtime", &[], Kind::Time, false),
        new("current_date", &["today"], Kind::Date, false),
        new("clock_timestamp", &[], Kind::TimestampTz, true),
    ]
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct Now {
    name: &'static str,
    aliases: Vec<String>,
    kind: Kind,
    /// True for the clock, which advances while a statement runs.
    is_clock: bool,
    signature: Signature,
}

impl Now {
    fn at(&self, micros: i64) -> ScalarValue {
        match self.kind {
            Kind::Date => ScalarValue::Date32(Some(calendar::timestamp_to_date(micros))),
            Kind::Time => ScalarValue::Time64Microsecond(Some(micros.rem_euclid(MICROS_PER_DAY))),
            Kind::Timestamp => ScalarValue::TimestampMicrosecond(Some(micros), None),
            _ => ScalarValue::TimestampMicrosecond(Some(micros), Some(crate::types::UTC.into())),
        }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.kind.arrow())
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match info.query_execution_start_time() {
            Some(start) if !self.is_clock => {
                let value = self.at(start.timestamp_micros());
                Ok(ExprSimplifyResult::Simplified(Expr::Literal(value, None)))
            }
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if !self.is_clock {
            return Err(SqlError::unsupported(format!("{} cannot be used here", self.name)).into());
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.map_or(0, |since| since.as_micros() as i64);
        Ok(ColumnarValue::Scalar(self.at(micros)))
    }
}
