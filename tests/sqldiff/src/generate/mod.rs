//! Statements by seed: typed expressions over the tables of [`world`], in queries and writes of every shape. The same seed makes the
//! same statement.

pub mod expression;
pub mod functions;
pub mod query;
pub mod types;
pub mod world;
pub mod write;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::tree::Node;

/// A statement, with the properties that make it comparable.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The statement.
    pub tree: Node,
    /// The table that it changes, if any: it is reset before, and compared after.
    pub changes: Option<&'static str>,
}

impl Statement {
    /// Whether its rows come in an order.
    pub fn ordered(&self) -> bool {
        self.tree.sql().contains(query::ORDER)
    }
}

/// The statement of a seed.
pub fn statement(seed: u64) -> Statement {
    use rand::Rng;
    let mut rng = StdRng::seed_from_u64(seed);
    match rng.random_range(0..100) {
        0..12 => write::statement(&mut rng),
        12..35 => query::expressions(&mut rng),
        _ => query::statement(&mut rng),
    }
}
