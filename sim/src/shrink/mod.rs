//! Making a failure small: fewer faults, fewer clients, a smaller world, then fewer decisions, until nothing more can go and the same
//! invariant is still violated.
//!
//! - [`case`]: all that it takes to repeat one run, and the file that holds it. [`limits`]: what is taken away from its world.
//! - [`search`]: what is tried, in which order, within a budget.
//!
//! A seed's decisions depend on one another: in a smaller world the same seed takes another course. So the world is made smaller
//! first, and for each step the same seed and then others are tried: small worlds are quick, and most bugs show in many of their
//! seeds. Only then is the list of decisions itself cut and zeroed; zero is always the quiet answer.

pub mod case;
pub mod limits;
pub mod search;

pub use case::{Case, Chance};
pub use limits::Limits;
pub use search::{Shrunk, shrink};
