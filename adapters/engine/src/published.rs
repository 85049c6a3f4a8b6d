//! The newest published snapshot, from which a statement takes its state with one atomic load: reading sends no message
//! and waits for no lock. The coordinator's thread replaces it. The kernel is told once for each snapshot that was
//! replaced, when its last reader has ended.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use arc_swap::ArcSwapOption;
use kernel::{Input, Snapshot};

use crate::coordinator::Message;

/// The cell; None once the database has stopped.
pub(crate) struct PublishedCell {
    newest: ArcSwapOption<Published>,
    inbox: Sender<Message>,
}

/// A published snapshot, shared by the cell, while it is the newest, and by its readers.
struct Published {
    snapshot: Snapshot,
    inbox: Sender<Message>,
}

impl PublishedCell {
    /// With the state at the beginning of the term.
    pub(crate) fn new(snapshot: Snapshot, inbox: Sender<Message>) -> PublishedCell {
        let cell = PublishedCell { newest: ArcSwapOption::empty(), inbox };
        cell.store(snapshot);
        cell
    }

    /// Later readers see this snapshot.
    pub(crate) fn store(&self, snapshot: Snapshot) {
        self.newest.store(Some(Arc::new(Published { snapshot, inbox: self.inbox.clone() })));
    }

    /// Later readers see none.
    pub(crate) fn close(&self) {
        self.newest.store(None);
    }

    /// The newest snapshot; None once the database has stopped.
    pub(crate) fn load(&self) -> Option<SnapshotGuard> {
        self.newest.load_full().map(SnapshotGuard)
    }
}

/// The last reader of a superseded snapshot has ended, or the cell has replaced one that nobody reads.
impl Drop for Published {
    fn drop(&mut self) {
        // Neither blocks nor panics: the inbox is unbounded, and a database that has stopped needs no release.
        let sequence = self.snapshot.sequence;
        let _ = self.inbox.send(Message::Input(Input::SnapshotReleased { sequence }));
    }
}

/// A snapshot that is read: its data stays until the guard and its clones are dropped.
#[derive(Clone)]
pub struct SnapshotGuard(Arc<Published>);

impl Deref for SnapshotGuard {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0.snapshot
    }
}

impl fmt::Debug for SnapshotGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotGuard").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
