//! SQL against a real PostgreSQL 15. [`slt`] keeps files of statements with PostgreSQL's answers and holds Tidemark to them; [`run`] sends
//! statements of [`generate`] to both and makes small what differs; [`everyday`] has a list of what people ask every day;
//! [`pipelines`] and [`decoders`] do the same with messages. [`known`] is what still differs. Underneath, [`wire`] sends statements,
//! [`servers`] keeps both sides up, [`value`] says what cells mean, [`compare`] judges.
//!
//! It knows the wire and SQL, and nothing of how Tidemark is built.

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
