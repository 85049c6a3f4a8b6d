//! Tidemark's SQL beyond the standard: pipelines, tables with shard and sort keys. Wraps sqlparser as DataFusion does:
//! statements that begin like ours are parsed here, all others by sqlparser in PostgreSQL's dialect.
//!
//! [`parse`] parses a text; [`CreatePipeline::to_sql`] is the text that a database stores; [`decode_plan`] makes the
//! decoders' plan from a pipeline and its table, and [`CreatePipeline::source`] is what a source connects with. This
//! crate evaluates no expression and does not depend on DataFusion; planning is in the SQL crate.

#![forbid(unsafe_code)]

mod cursor;
mod dialect;
mod error;
mod lex;
mod limits;
pub mod names;
mod pipeline;
mod pipeline_parse;
mod plan;
mod source;
mod statement;
mod table;
mod types;

pub use dialect::DIALECT;
pub use limits::{
    CHAIN_OPERATORS_MAX, NESTING_MAX, STATEMENTS_MAX, TEXT_BYTES_MAX, TOKENS_MAX, parsed_bytes_at_most,
};
pub use pipeline::{
    Assignment, BATCH_BYTES_DEFAULT, BATCH_BYTES_RANGE, BATCH_INTERVAL_MS_MAX, Constant, CreatePipeline,
    CsvMapping, FormatSyntax, JsonMapping, OnDuplicateSyntax, PipelineClauses, Target,
};
pub use plan::{DecodeInputs, decode_plan};
pub use source::kafka::KafkaAddress;
pub use source::{Credential, Credentials, KINDS, REDACTED, Relation, SourceSpec, SourceSyntax};
pub use sqlparser;
pub use statement::{OffsetsSyntax, Statement, alter_pipeline, parse, parse_expression, parse_pipeline};
pub use table::{ColumnSyntax, CreateTable};
pub use types::{NUMERIC_DEFAULT, column_type, type_name};
