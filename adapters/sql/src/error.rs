//! The one error, as the crates below have it.

pub use pg_semantics::error::{Result, SqlError, SqlState};
