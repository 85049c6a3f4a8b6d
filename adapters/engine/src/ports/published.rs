//! The newest published snapshot, from which a statement takes its state with one atomic load: reading sends no message
//! and waits for no lock. The coordinator's thread replaces it. The kernel is told once for each snapshot that was
//! replaced, when its last reader has ended.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use arc_swap::ArcSwapOption;
use kernel::{Input, Snapshot};
use tidemark_database::{PublishedSnapshot, SnapshotGuard};

use crate::ports::inbox::Message;

/// The cell; empty once the database has stopped.
pub(crate) struct PublishedCell {
    newest: ArcSwapOption<PublishedSnapshot>,
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
        let (sequence, inbox) = (snapshot.sequence, self.inbox.clone());
        // Runs when the last reader of the superseded snapshot has ended, or here, if nobody reads it. It neither blocks
        // nor panics: the inbox is unbounded, and a database that has stopped needs no release.
        let release = move || drop(inbox.send(Message::Input(Input::SnapshotReleased { sequence })));
        self.newest.store(Some(Arc::new(PublishedSnapshot::new(snapshot, release))));
    }

    /// Later readers see none.
    pub(crate) fn close(&self) {
        self.newest.store(None);
    }

    /// The newest snapshot; None once the database has stopped.
    pub(crate) fn load(&self) -> Option<SnapshotGuard> {
        self.newest.load_full()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use kernel::Sequence;

    use super::*;

    #[test]
    fn each_superseded_snapshot_is_released_once_after_its_last_reader() {
        let (sender, inbox) = channel();
        let snapshot =
            |sequence| Snapshot { sequence: Sequence(sequence), catalog: Arc::default(), shards: vec![] };
        let released = || -> Vec<u64> {
            let sequence = |message| match message {
                Message::Input(Input::SnapshotReleased { sequence }) => sequence.0,
                _ => panic!("only releases are sent"),
            };
            inbox.try_iter().map(sequence).collect()
        };
        let cell = PublishedCell::new(snapshot(1), sender);
        let (first, again) = (cell.load().unwrap(), cell.load().unwrap());
        drop(cell.load().unwrap());
        assert!(released().is_empty(), "the newest one is not released");
        cell.store(snapshot(2));
        assert_eq!((first.sequence, cell.load().unwrap().sequence), (Sequence(1), Sequence(2)));
        drop(first);
        assert!(released().is_empty(), "another reader goes on");
        cell.store(snapshot(3));
        assert_eq!(released(), [2], "nobody reads it");
        std::thread::spawn(move || drop(again)).join().unwrap();
        assert_eq!(released(), [1]);
        cell.close();
        assert!(cell.load().is_none());
        assert_eq!(released(), [3]);
    }
}
