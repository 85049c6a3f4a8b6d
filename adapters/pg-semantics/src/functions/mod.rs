//! The functions that statements can call under PostgreSQL's names.

pub mod aggregate;
pub mod bounds;
pub mod extract;
pub mod math;
pub mod now;
pub mod overload;
pub mod time;
pub mod to_char;

use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;

use crate::error::Result;

/// DataFusion's functions of times that PostgreSQL has not, or has with another meaning under the same name.
const UNREACHABLE: &[&str] = &[
    "date_part",
    "datepart",
    "date_trunc",
    "datetrunc",
    "date_bin",
    "date_format",
    "from_unixtime",
    "to_unixtime",
    "to_local_time",
    "to_time",
    "to_date",
    "to_timestamp",
    "to_char",
    "make_date",
    "make_time",
    "now",
    "current_timestamp",
    "current_date",
    "today",
    "current_time",
];

/// Registers the functions of times, in the place of DataFusion's.
pub fn register(state: &mut SessionState) -> Result<()> {
    for name in UNREACHABLE {
        state.deregister_udf(name)?;
    }
    let all = [time::functions(), extract::functions(), now::functions(), vec![to_char::function()]];
    for function in all.into_iter().flatten() {
        state.register_udf(function.into())?;
    }
    Ok(())
}
