//! Errors of the kernel and of the parser as errors for clients.

pub use pg_semantics::error::{Result, SqlError, state};

/// Converts an error of another layer to one for clients.
pub trait OrSql<T> {
    /// The same result with the converted error.
    fn or_sql(self) -> Result<T>;
}

impl<T> OrSql<T> for std::result::Result<T, kernel::Error> {
    fn or_sql(self) -> Result<T> {
        self.map_err(from_kernel)
    }
}

impl<T> OrSql<T> for std::result::Result<T, tidemark_pipeline_sql::ParseError> {
    fn or_sql(self) -> Result<T> {
        self.map_err(|error| SqlError::new(error.sqlstate, error.message))
    }
}

/// An error of the kernel.
pub fn from_kernel(error: kernel::Error) -> SqlError {
    SqlError::new(error.kind.sqlstate(), error.message)
}
