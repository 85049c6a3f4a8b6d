//! Traces the steps of each record: one line per step, written at once and never buffered, so that the lines survive a
//! kill. Off unless a file is named; for the tests that kill the process.
//!
//! ```text
//! fetch pipeline=P epoch=E partition=N from=OFFSET       reading begins here
//! staged seq=S                                           all shards have staged the record; it goes to the log
//! cursor seq=S pipeline=P partition=N range=A..B         what the staged record consumes
//! appended seq=S                                         its bytes are in the log, not yet durable
//! synced through=S                                       everything up to here is durable
//! durable pipeline=P partition=N next=OFFSET             a published cursor
//! ```

use kernel::message::SplitStart;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use kernel::record::{Body, EncodedRecord};
use kernel::schema::Catalog;
use kernel::{Epoch, Error, PipelineId, Result, Sequence, SqlState};
use parking_lot::Mutex;

/// Where the lines go, if anywhere.
#[derive(Debug, Default)]
pub(crate) struct Trace(Option<Mutex<File>>);

impl Trace {
    pub(crate) fn open(path: Option<&Path>) -> Result<Trace> {
        let Some(path) = path else { return Ok(Trace::default()) };
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
            Error::new(SqlState::IO_ERROR, format!("trace file {}: {error}", path.display()))
        })?;
        Ok(Trace(Some(Mutex::new(file))))
    }

    pub(crate) fn fetch(&self, pipeline: PipelineId, epoch: Epoch, starts: &[SplitStart]) {
        for SplitStart { name: partition, position, .. } in starts {
            self.line(|| {
                let from = position.ordinal();
                format!("fetch pipeline={pipeline} epoch={epoch} partition={partition} from={from}")
            });
        }
    }

    pub(crate) fn staged(&self, record: &EncodedRecord) {
        if self.0.is_none() {
            return;
        }
        let sequence = record.sequence;
        self.line(|| format!("staged seq={sequence}"));
        let payload = bytes::Bytes::from(record.parts.concat());
        let Ok(Body::Commit(_, commit)) = Body::decode(record.kind, &payload) else { return };
        for advance in commit.cursors {
            self.line(|| {
                let (first, next) = (advance.first.ordinal(), advance.next.ordinal());
                let (pipeline, partition) = (advance.pipeline, advance.split);
                format!(
                    "cursor seq={sequence} pipeline={pipeline} partition={partition} range={first}..{next}"
                )
            });
        }
    }

    pub(crate) fn appended(&self, sequence: Sequence) {
        self.line(|| format!("appended seq={sequence}"));
    }

    pub(crate) fn synced(&self, through: Sequence) {
        self.line(|| format!("synced through={through}"));
    }

    pub(crate) fn published(&self, before: &Catalog, after: &Catalog) {
        if self.0.is_none() {
            return;
        }
        for (id, cursors) in &after.cursors {
            let known = before.cursors.get(id);
            for (split, position) in cursors.positions() {
                if known.and_then(|known| known.get(split)?.position) != Some(position) {
                    let next = position.ordinal();
                    self.line(|| format!("durable pipeline={id} partition={split} next={next}"));
                }
            }
        }
    }

    fn line(&self, text: impl FnOnce() -> String) {
        if let Some(file) = &self.0 {
            let line = text() + "\n";
            // A trace that cannot be written must not stop the database; a reader of the trace sees that it ends.
            let _ = file.lock().write_all(line.as_bytes());
        }
    }
}
