//! PostgreSQL's functions that are not supported: planning a call fails with the reason.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::SqlError;

/// A placeholder under the name of such a function.
#[derive(PartialEq, Eq, Hash, Debug)]
pub struct Refused {
    name: &'static str,
    reason: &'static str,
    signature: Signature,
}

impl Refused {
    /// For the registry.
    pub fn udf(name: &'static str, reason: &'static str) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Refused { name, reason, signature }))
    }

    fn error(&self) -> SqlError {
        SqlError::unsupported(format!("the function {} is not supported here: {}", self.name, self.reason))
    }
}

impl ScalarUDFImpl for Refused {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(self.error().into())
    }

    fn coerce_types(&self, _: &[DataType]) -> Result<Vec<DataType>> {
        Err(self.error().into())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(self.error().into())
    }
}
