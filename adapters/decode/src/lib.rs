//! Pure decoders: messages of a source in, Arrow columns out; and the extractor that makes extracts for the kernel.
//!
//! [`DecodePlan`] names the fields; [`DecodePlan::decoder`] makes the [`Decoder`] for it. [`Extractor`] follows one
//! source partition: skip offsets that have passed, decode, transform (SET and WHERE, behind [`Transform`]), check NOT
//! NULL, fill in defaults and provenance, route to shards. There is no I/O, no clock and no thread here. Reading from
//! Kafka is in the source's crate, the evaluation of SQL expressions in the SQL crate.

#![forbid(unsafe_code)]

mod csv;
pub mod extract;
mod json;
pub mod plan;
mod texts;
mod value;

pub use extract::{ExtractLimits, ExtractPlan, Extractor, Transform, Transformed, YEARS_ALL, YEARS_DEFAULT};
pub use json::ShapeLimits;
pub use pg_values::time::TimeUnit;
pub use plan::{CsvFormat, DecodePlan, Decoded, Decoder, FieldMapping, Format, Refused};
pub use texts::{BadText, parse_texts};
