//! The published snapshots as a host keeps them: the newest one in a cell, from which readers take it without a message to
//! the kernel, and the releases of older ones.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use kernel::{Sequence, Snapshot};

use crate::defects::{self, WorldDefect};

/// See the module.
pub struct Published {
    newest: Arc<Snapshot>,
    /// Older ones that somebody reads.
    read: Vec<Arc<Snapshot>>,
    /// Older ones that nobody reads: to the coordinator, in order.
    pub releases: VecDeque<Sequence>,
}

impl Published {
    /// At the beginning of a term.
    pub fn new(snapshot: Snapshot) -> Published {
        Published { newest: Arc::new(snapshot), read: Vec::new(), releases: VecDeque::new() }
    }

    /// The newest snapshot, for a reader, who tells of its end with [`reader_ended`](Self::reader_ended).
    pub fn load(&self) -> Arc<Snapshot> {
        Arc::clone(&self.newest)
    }

    /// Later readers see this one.
    pub fn store(&mut self, snapshot: Snapshot) {
        let older = std::mem::replace(&mut self.newest, Arc::new(snapshot));
        // Only a seeded defect publishes a sequence twice: that is no newer snapshot, but a wrong one.
        if older.sequence == self.newest.sequence {
            return;
        }
        if defects::is(WorldDefect::ReleasedWhileRead) && Arc::strong_count(&older) > 1 {
            self.releases.push_back(older.sequence);
        }
        self.read.push(older);
        self.reader_ended();
    }

    /// Releases the older snapshots that nobody reads.
    pub fn reader_ended(&mut self) {
        let unread = self.read.extract_if(.., |snapshot| Arc::strong_count(snapshot) == 1);
        self.releases.extend(unread.map(|snapshot| snapshot.sequence));
    }

    /// The older snapshots that the kernel must know: those that are read, and those whose release it has not got.
    pub fn superseded(&self) -> BTreeSet<Sequence> {
        let read = self.read.iter().map(|snapshot| snapshot.sequence);
        read.chain(self.releases.iter().copied()).collect()
    }
}
