//! SQL over the PostgreSQL wire: sessions, planning and running of statements on DataFusion, writes and definitions for the
//! kernel, the catalog that clients see. The statements of our own are parsed in `tidemark-pipeline-sql`; threads, log and
//! Kafka live in the engine, behind [`Database`].
//!
//! The wire layer is our own, over the message types of pgwire. Its handler layer answers a multi-statement query only when
//! all of it has run, and keeps transaction blocks, COPY and cancellation in ways that do not fit ours. arrow-pg and
//! datafusion-pg-catalog are not used either: both switch on DataFusion's default features (Parquet, compression, crypto),
//! which would double the cold build.

pub mod assign;
pub mod catalog;
pub mod client;
pub mod copy;
pub mod database;
pub mod define;
pub mod error;
pub mod query;
pub mod server;
pub mod session;
pub mod tables;
pub mod transform;
pub mod write;

pub use database::{Database, PipelineStatus, SnapshotGuard, TableLockGuard, Watermarks};
pub use error::{Result, SqlError};
pub use server::{Config, serve};
