//! SQL over the PostgreSQL wire: sessions, planning and running of statements on DataFusion, writes and definitions for
//! the kernel, the catalog for clients. `tidemark-pipeline-sql` parses our own statements; threads, log and Kafka are
//! in the engine, behind [`tidemark_database::Database`].
//!
//! The wire layer is our own, over the message types of pgwire. pgwire's handler layer answers a multi-statement query
//! only after all statements have run, and its transaction blocks, COPY and cancellation do not fit ours. arrow-pg and
//! datafusion-pg-catalog are not used either: both enable DataFusion's default features (Parquet, compression, crypto),
//! which would double the cold build.

pub mod assign;
pub mod catalog;
pub mod client;
pub mod copy;
pub mod define;
pub mod error;
pub mod query;
pub mod server;
pub mod session;
pub mod tables;
pub mod transform;
pub mod write;

pub use error::{Result, SqlError};
pub use server::{Config, serve};
