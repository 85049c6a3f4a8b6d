//! SQL against a real PostgreSQL 15. [`slt`] keeps files of statements with PostgreSQL's answers and holds Tidemark to them. The rest
//! of what a run of statements on both needs: [`wire`] sends them, [`servers`] keeps both sides up, [`value`] says what cells mean.
//!
//! It knows the wire and SQL, and nothing of how Tidemark is built.

pub mod compare;
pub mod everyday;
pub mod findings;
pub mod generate;
pub mod known;
pub mod run;
pub mod servers;
pub mod slt;
pub mod tree;
pub mod value;
pub mod wire;
