//! Shrinks a failure: fewer faults, fewer clients, a smaller world, then fewer decisions, until nothing more can be
//! removed and the same invariant is still violated.
//!
//! - [`case`]: everything needed to repeat one run, and its file. [`limits`]: limits of its world.
//! - [`search`]: the attempts, their order, and the budget.
//!
//! A seed's decisions depend on one another: in a smaller world the same seed is a different run. So the world is
//! reduced first, and each step tries the same seed and then others: small worlds are quick, and most defects show in
//! many of their seeds. Then the list of decisions is cut and zeroed; zero is always the quiet answer.

pub mod case;
pub mod limits;
pub mod search;

pub use case::{Case, Chance};
pub use limits::Limits;
pub use search::{Shrunk, shrink};
