//! The control plane: catalog, cursors, order of batches, log head. Handles messages per batch, never rows.

use std::sync::Arc;

use crate::error::Result;
use crate::ids::*;
use crate::message::{Effect, Input};
use crate::record::Record;
use crate::schema::Catalog;
use crate::snapshot::ShardView;

/// Limits, all of them explicit (invariant 9). Defaults are for a small server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Records staged or appended and not yet durable.
    pub unsynced_records_max: usize,
    /// Source bytes that one pipeline may have extracted and not yet committed.
    pub pipeline_credit_bytes: u64,
    /// Client requests waiting.
    pub requests_waiting_max: usize,
    /// First and longest pause before a source is tried again, microseconds.
    pub retry_us_min: i64,
    /// See `retry_us_min`.
    pub retry_us_max: i64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            unsynced_records_max: 16,
            pipeline_credit_bytes: 64 << 20,
            requests_waiting_max: 4096,
            retry_us_min: 200_000,
            retry_us_max: 30_000_000,
        }
    }
}

/// The coordinator of a database.
#[derive(Debug)]
pub struct Coordinator {}

impl Coordinator {
    /// Takes an input at a time. Drain [`poll_effect`](Self::poll_effect) until it is empty before the next one.
    pub fn handle(&mut self, _now_us: Micros, _input: Input) {
        unimplemented!()
    }

    /// The next thing to be done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        unimplemented!()
    }
}

/// The coordinator while the log is read back: takes every record in order, then becomes a [`Coordinator`].
#[derive(Debug, Default)]
pub struct Recovery {
    _catalog: Catalog,
}

impl Recovery {
    /// Before the first record.
    pub fn new() -> Recovery {
        Recovery::default()
    }

    /// Takes the next record: the catalog and the cursors go on, through the same function as live. The record's pieces go
    /// to the shards ([`crate::Shard::replay`]) by the host, in parallel. An error is corruption: refuse to start.
    pub fn replay(&mut self, _record: &Record) -> Result<()> {
        unimplemented!()
    }

    /// The log is read and open. `views` are the shards' first views, by shard. Pipelines that were running are started
    /// again by the first effects.
    pub fn finish(self, _config: Config, _views: Vec<Arc<ShardView>>) -> Coordinator {
        unimplemented!()
    }
}
