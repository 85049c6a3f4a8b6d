//! Watches free disk space, so that the database becomes read-only while its reserve is still free.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemark_log::Reserve;

use crate::ports::inbox::Message;
use crate::ports::spawn;

const INTERVAL: Duration = Duration::from_millis(500);

/// The watching thread.
pub(crate) struct DiskWatch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl DiskWatch {
    pub(crate) fn start(data_dir: PathBuf, reserve_bytes: u64, inbox: Sender<Message>) -> DiskWatch {
        let (stop, stopped) = channel();
        let thread = spawn::spawn("disk-space", move || watch(&data_dir, reserve_bytes, &inbox, &stopped));
        DiskWatch { stop, thread }
    }

    pub(crate) fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

fn watch(data_dir: &Path, reserve_bytes: u64, inbox: &Sender<Message>, stopped: &Receiver<()>) {
    let mut reserve = Reserve::new(data_dir, reserve_bytes);
    loop {
        match reserve.poll() {
            Ok(None) => {}
            Ok(Some(sufficient)) => {
                let _ = inbox.send(Message::DiskSpace { sufficient });
            }
            Err(error) => tracing::warn!(%error, "the free space of the disk is unknown"),
        }
        if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
