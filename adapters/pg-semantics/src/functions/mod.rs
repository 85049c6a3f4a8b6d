//! The functions that statements can call under PostgreSQL's names.

pub mod aggregate;
pub mod math;
