//! A transaction block: one snapshot to read, inserts that wait for COMMIT, and one record at COMMIT.

use std::sync::Arc;

use kernel::message::{Counts, TableWrite, Write};
use kernel::{Request, Response};

use crate::error::{Result, SqlError, SqlState};
use crate::query::Environment;
use crate::tables::Overlay;
use tidemark_database::SnapshotGuard;

/// An open block.
#[derive(Default)]
pub struct Block {
    read_only: bool,
    /// Begun by a text of several statements, without a BEGIN.
    implicit: bool,
    snapshot: Option<SnapshotGuard>,
    writes: Vec<TableWrite>,
    overlay: Overlay,
    bytes: usize,
}

impl Block {
    /// Before its first statement.
    pub fn new(read_only: bool) -> Block {
        Block { read_only, ..Block::default() }
    }

    /// For the statements of one text.
    pub fn implicit() -> Block {
        Block { implicit: true, ..Block::default() }
    }

    /// True if it has no BEGIN.
    pub fn is_implicit(&self) -> bool {
        self.implicit
    }

    /// True if a statement that is a transaction of its own may be the whole block: nothing was buffered, and the text
    /// was checked before.
    pub fn is_free(&self) -> bool {
        self.implicit && self.writes.is_empty()
    }

    /// A BEGIN inside the block.
    pub fn make_explicit(&mut self, read_only: bool) {
        if std::mem::replace(&mut self.implicit, false) {
            self.read_only = read_only;
        }
    }

    /// The snapshot that all statements of the block read: taken by the first one that reads.
    pub fn snapshot(&mut self, environment: &Environment) -> Result<SnapshotGuard> {
        if let Some(snapshot) = &self.snapshot {
            return Ok(Arc::clone(snapshot));
        }
        let snapshot = environment.database.snapshot()?;
        self.snapshot = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// Rows that the block's own statements see.
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Refuses a write in a block that was begun READ ONLY.
    pub fn check_writable(&self) -> Result<()> {
        match self.read_only {
            true => Err(SqlError::new(
                SqlState::READ_ONLY_SQL_TRANSACTION,
                "cannot write in a read-only transaction",
            )),
            false => Ok(()),
        }
    }

    /// Buffers a statement's rows; returns their number.
    pub fn add(&mut self, writes: Vec<TableWrite>, bytes_max: usize) -> Result<u64> {
        self.check_writable()?;
        let rows = || writes.iter().flat_map(|w| &w.shards).filter_map(|s| s.rows.as_ref());
        let bytes: usize = rows().map(|batch| batch.get_array_memory_size()).sum();
        let count = rows().map(|batch| batch.num_rows() as u64).sum();
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > bytes_max {
            return Err(SqlError::new(
                SqlState::OUT_OF_MEMORY,
                format!("the transaction buffers more than {bytes_max} bytes of rows"),
            )
            .with_hint("Commit in smaller parts."));
        }
        for write in writes {
            self.overlay.add(&write);
            self.writes.push(write);
        }
        Ok(count)
    }

    /// Submits all rows as one record and waits until it is durable.
    pub async fn commit(self, environment: &Environment) -> Result<Counts> {
        if self.writes.is_empty() {
            return Ok(Counts::default());
        }
        let write = Write { table_lock: None, tables: self.writes };
        match environment.database.request(Request::Write(write)).await? {
            Response::Done(counts) => Ok(counts),
            _ => Err(SqlError::internal("the kernel answered a write with something else")),
        }
    }
}
