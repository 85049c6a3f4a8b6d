//! `sum` with PostgreSQL's types: of bigint it is numeric, so that it cannot overflow. DataFusion's wraps around.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};

use crate::error::{SqlError, state};
use crate::types::PgType;

/// Digits of the numerics that a 128-bit sum of 10 billion of cannot exceed.
const PRECISION_SAFE: u8 = 28;

/// The function.
pub fn function() -> Arc<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::from(PgSum { inner: Sum::new(), signature }))
}

/// DataFusion's sum over arguments of wider types.
#[derive(PartialEq, Eq, Hash, Debug)]
struct PgSum {
    inner: Sum,
    signature: Signature,
}

impl AggregateUDFImpl for PgSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        use DataType as D;
        let [of] = types else {
            return Err(SqlError::new(state::UNDEFINED_FUNCTION, "sum takes one argument").into());
        };
        let of = if let D::Dictionary(_, values) = of { values } else { of };
        Ok(vec![match of {
            D::Null | D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 => D::Int64,
            D::Int64 | D::UInt32 | D::UInt64 => D::Decimal128(20, 0),
            D::Float16 | D::Float32 | D::Float64 => D::Float64,
            D::Decimal32(precision, scale) | D::Decimal64(precision, scale) => {
                D::Decimal128(*precision, *scale)
            }
            D::Decimal128(precision, scale) if *precision > PRECISION_SAFE => {
                D::Decimal256(*precision, *scale)
            }
            D::Decimal128(..) | D::Decimal256(..) | D::Duration(_) | D::Interval(_) => of.clone(),
            other => {
                let name = PgType::of_arrow(other).sql_name();
                let message = format!("function sum({name}) does not exist");
                return Err(SqlError::new(state::UNDEFINED_FUNCTION, message)
                    .with_hint("You might need to add explicit type casts.")
                    .into());
            }
        }])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }
}
