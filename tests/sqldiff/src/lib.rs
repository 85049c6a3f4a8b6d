//! SQL against a real PostgreSQL 15. [`slt`] compares Tidemark with files of statements and PostgreSQL's answers;
//! [`run`] sends statements of [`generate`] to both and shrinks differences; [`everyday`] has a list of common
//! statements; [`pipelines`] and [`decoders`] do the same with messages. [`known`] lists the known differences.
//! Underneath, [`wire`] sends statements, [`servers`] keeps both sides up, [`value`] says what cells mean, [`compare`]
//! judges.
//!
//! The crate uses the wire protocol and SQL, and none of Tidemark's crates.

pub mod compare;
pub mod decoders;
pub mod everyday;
pub mod findings;
pub mod generate;
pub mod known;
pub mod pipelines;
pub mod run;
pub mod servers;
pub mod slt;
pub mod tree;
pub mod value;
pub mod wire;
