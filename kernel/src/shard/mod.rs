//! One shard: rows in immutable column chunks, deletions, and for keyed tables the index from key to row. Stages outcomes,
//! applies them, publishes views. Owned by one thread; nothing in it is shared.

use std::sync::Arc;

use crate::error::Result;
use crate::ids::*;
use crate::message::{ShardCommand, ShardReply};
use crate::record::Piece;
use crate::schema::CatalogChange;
use crate::snapshot::ShardView;

mod row_ids;

pub use row_ids::{IdRun, RowIds};

/// A shard.
#[derive(Debug)]
pub struct Shard {
    _id: ShardId,
}

impl Shard {
    /// An empty shard of a database with `shard_count` shards.
    pub fn new(_id: ShardId, _shard_count: u16) -> Shard {
        unimplemented!()
    }

    /// Carries out a command and answers it.
    pub fn handle(&mut self, _command: ShardCommand) -> ShardReply {
        unimplemented!()
    }

    /// Recovery: applies a logged record's definitions and this shard's piece of it, through the same function as `handle`.
    /// Records come in order of sequence. Never panics, whatever the bytes: a piece that contradicts the state is an error.
    pub fn replay(&mut self, _sequence: Sequence, _changes: &[CatalogChange], _piece: &Piece) -> Result<()> {
        unimplemented!()
    }

    /// Recovery is over: everything replayed is published. Returns the first view.
    pub fn recovered(&mut self) -> Arc<ShardView> {
        unimplemented!()
    }
}
