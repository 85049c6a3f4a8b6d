//! Tidemark's SQL beyond the standard: pipelines, tables with shard and sort keys. Wraps sqlparser the way DataFusion does:
//! a statement that begins like one of ours is parsed here, every other one by sqlparser in PostgreSQL's dialect.
//!
//! [`parse`] takes a text apart; [`CreatePipeline::to_sql`] is the text that a database keeps; [`decode_plan`] makes of it
//! and of a table what the decoders need, and [`CreatePipeline::source`] is what the Kafka source needs. Nothing here
//! evaluates an expression or knows DataFusion; planning lives in the SQL crate.

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
pub use source::{Credential, Credentials, KafkaSource, REDACTED};
pub use sqlparser;
pub use statement::{OffsetsSyntax, Statement, alter_pipeline, parse, parse_expression, parse_pipeline};
pub use table::{ColumnSyntax, CreateTable};
pub use types::{NUMERIC_DEFAULT, column_type, type_name};
