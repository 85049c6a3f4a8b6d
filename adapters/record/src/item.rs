//! What a recording is made of, and how the kernel's messages turn into it and back.

use bytes::Bytes;
use kernel::expr::OnDuplicate;
use kernel::message::{Definition, ShardWrite, SourceFailure, SourceMetadata, TableWrite, Write};
use kernel::{
    DeadLetter, DeadLetterKind, Epoch, Error, Extract, Input, Micros, Originals, PipelineId, Position,
    QuiescedCore, QuiescedState, ReaderId, Request, RequestId, Result, RowId, Sequence, ShardId, SplitId,
    TableId, TableLockId,
};
use serde::{Deserialize, Serialize};

use crate::mark::{EffectMark, StateHash};
use crate::rows::{Blob, Rows, placeholder};

/// One thing that happened, in the order in which it did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Item {
    /// The coordinator was fed. Written before it works on it, so that what breaks it is there.
    Input {
        /// The time it was told.
        at_us: Micros,
        /// What.
        input: RecordedInput,
    },
    /// The coordinator wanted something done.
    Effect(EffectMark),
    /// The host held the coordinator, or let it go, to bring it to rest.
    Held(bool),
    /// Rows that were to be found in the log, and are not there as they came: they are here.
    Rows {
        /// Which extract they are of.
        key: ExtractKey,
        /// By shard.
        shards: Vec<Option<Rows>>,
    },
    /// What readers saw.
    State {
        /// At this record.
        sequence: Sequence,
        /// Its logical content.
        hash: StateHash,
    },
    /// Nothing follows.
    End(End),
}

/// How a recording ends, where it says so itself; a process that was killed had no time to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum End {
    /// The database was stopped cleanly.
    Stopped,
    /// The database halted, or a thread of it panicked.
    Halted(Error),
    /// The recorder could not go on, for this reason; the database did.
    Incomplete(String),
    /// The same life goes on in the next file.
    NextFile,
}

/// Names an extract: an epoch hands in each range once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ExtractKey {
    /// Whose.
    pub pipeline: PipelineId,
    /// Fetched under.
    pub epoch: Epoch,
    /// Of the source.
    pub split: SplitId,
    /// Ordinal at which its range begins.
    pub first_ordinal: i64,
}

impl ExtractKey {
    /// Of this extract.
    pub fn of(extract: &Extract) -> ExtractKey {
        let Extract { pipeline, epoch, split, first, .. } = *extract;
        ExtractKey { pipeline, epoch, split, first_ordinal: first.ordinal() }
    }
}

/// An input of the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum RecordedInput {
    Extracted(Box<RecordedExtract>),
    SourceOpened {
        pipeline: PipelineId,
        epoch: Epoch,
        metadata: SourceMetadata,
    },
    SourceVerified {
        pipeline: PipelineId,
        epoch: Epoch,
        token: u64,
        metadata: SourceMetadata,
    },
    SourceFailed {
        pipeline: PipelineId,
        epoch: Epoch,
        failure: SourceFailure,
    },
    /// The reply itself is made again by the shard.
    Shard {
        shard: ShardId,
        reply: [u8; 8],
    },
    Synced(Sequence),
    LogFailed(Error),
    DiskSpace(bool),
    Request {
        id: RequestId,
        request: RecordedRequest,
    },
    Tick,
}

/// An extract.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RecordedExtract {
    pub key: ExtractKey,
    pub first: Position,
    pub next: Position,
    pub messages: u64,
    pub filtered: u64,
    pub source_bytes: u64,
    pub rows: RowsAt,
    pub dead_letters: Vec<RecordedDeadLetter>,
    pub originals: Option<RecordedOriginals>,
}

/// See [`kernel::extract::Originals`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RecordedOriginals {
    pub ordinals: Vec<i64>,
    pub ends: Vec<usize>,
    pub bytes: Blob,
}

/// Where an extract's rows are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum RowsAt {
    /// In the log record that the extract became part of. How many, by shard.
    Log(Vec<Option<u32>>),
    /// Here, by shard.
    Here(Vec<Option<Rows>>),
}

/// A message that was set aside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RecordedDeadLetter {
    pub split: SplitId,
    pub ordinal: i64,
    pub kind: DeadLetterKind,
    pub error: Error,
    pub payload: Option<Blob>,
}

/// What a client asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum RecordedRequest {
    AcquireSnapshot,
    ReleaseSnapshot(ReaderId),
    Define(Box<Definition>),
    AcquireTableLock { tables: Vec<TableId> },
    ReleaseTableLock(TableLockId),
    Write { table_lock: Option<TableLockId>, tables: Vec<RecordedTableWrite> },
}

/// A client's rows for one table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RecordedTableWrite {
    pub table: TableId,
    pub schema_version: u32,
    pub on_duplicate: OnDuplicate,
    /// Rows that go and rows that come, by shard.
    pub shards: Vec<(Vec<RowId>, Option<Rows>)>,
}

/// A coordinator at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RecordedQuiescedState {
    pub sequence: Sequence,
    pub core: QuiescedCore,
    pub extracts: Vec<RecordedExtract>,
    pub waiting: Vec<(RequestId, RecordedRequest)>,
}

/// Finds rows that were written after the extract that they are of.
pub type RowsLater<'a> = &'a dyn Fn(ExtractKey) -> Option<Vec<Option<Rows>>>;

impl RecordedInput {
    /// What is to be written of an input. `in_log`: an extract's rows will be in the log as they are.
    pub fn of(input: &Input, in_log: bool) -> RecordedInput {
        match input {
            Input::Extracted(extract) => {
                RecordedInput::Extracted(Box::new(RecordedExtract::of(extract, in_log)))
            }
            Input::SourceOpened { pipeline, epoch, metadata } => {
                RecordedInput::SourceOpened { pipeline: *pipeline, epoch: *epoch, metadata: metadata.clone() }
            }
            Input::SourceVerified { pipeline, epoch, token, metadata } => RecordedInput::SourceVerified {
                pipeline: *pipeline,
                epoch: *epoch,
                token: *token,
                metadata: metadata.clone(),
            },
            Input::SourceFailed { pipeline, epoch, failure } => {
                RecordedInput::SourceFailed { pipeline: *pipeline, epoch: *epoch, failure: failure.clone() }
            }
            Input::Shard { shard, reply } => {
                RecordedInput::Shard { shard: *shard, reply: crate::mark::reply_hash(reply) }
            }
            Input::Synced { through } => RecordedInput::Synced(*through),
            Input::LogFailed { error } => RecordedInput::LogFailed(error.clone()),
            Input::DiskSpace { sufficient } => RecordedInput::DiskSpace(*sufficient),
            Input::Request { id, request } => {
                RecordedInput::Request { id: *id, request: RecordedRequest::of(request) }
            }
            Input::Tick => RecordedInput::Tick,
        }
    }

    /// The input again; a shard's reply is for the caller to make, who gets its shard and hash back.
    pub fn restore(self, later: RowsLater<'_>) -> Result<Restored> {
        Ok(Restored::Input(Box::new(match self {
            RecordedInput::Extracted(extract) => Input::Extracted(extract.restore(later)?),
            RecordedInput::SourceOpened { pipeline, epoch, metadata } => {
                Input::SourceOpened { pipeline, epoch, metadata }
            }
            RecordedInput::SourceVerified { pipeline, epoch, token, metadata } => {
                Input::SourceVerified { pipeline, epoch, token, metadata }
            }
            RecordedInput::SourceFailed { pipeline, epoch, failure } => {
                Input::SourceFailed { pipeline, epoch, failure }
            }
            RecordedInput::Shard { shard, reply } => return Ok(Restored::Reply { shard, hash: reply }),
            RecordedInput::Synced(through) => Input::Synced { through },
            RecordedInput::LogFailed(error) => Input::LogFailed { error },
            RecordedInput::DiskSpace(sufficient) => Input::DiskSpace { sufficient },
            RecordedInput::Request { id, request } => Input::Request { id, request: request.restore()? },
            RecordedInput::Tick => Input::Tick,
        })))
    }
}

/// What an input turns back into.
#[derive(Debug)]
pub enum Restored {
    /// Itself.
    Input(Box<Input>),
    /// The next reply of this shard, which must have this hash.
    Reply {
        /// Which shard.
        shard: ShardId,
        /// See [`crate::mark::reply_hash`].
        hash: [u8; 8],
    },
}

impl RecordedExtract {
    /// What is to be written of an extract.
    pub fn of(extract: &Extract, in_log: bool) -> RecordedExtract {
        let pieces = extract.pieces.iter();
        let rows = if in_log {
            RowsAt::Log(pieces.map(|piece| piece.as_ref().map(|rows| rows.num_rows() as u32)).collect())
        } else {
            RowsAt::Here(pieces.map(|piece| piece.as_ref().map(Rows::of)).collect())
        };
        let dead_letters = extract.dead_letters.iter().map(|message| RecordedDeadLetter {
            split: message.split,
            ordinal: message.ordinal,
            kind: message.kind,
            error: message.error.clone(),
            payload: message.payload.clone().map(Blob),
        });
        RecordedExtract {
            key: ExtractKey::of(extract),
            first: extract.first,
            next: extract.next,
            messages: extract.messages,
            filtered: extract.filtered,
            source_bytes: extract.source_bytes,
            rows,
            dead_letters: dead_letters.collect(),
            originals: extract.originals.as_ref().map(|originals| RecordedOriginals {
                ordinals: originals.ordinals.clone(),
                ends: originals.ends.clone(),
                bytes: Blob(originals.bytes.clone()),
            }),
        }
    }

    /// The extract again, with placeholders for rows that only the log has.
    pub fn restore(self, later: RowsLater<'_>) -> Result<Extract> {
        let read = |rows: Option<Rows>| rows.map(|rows| rows.read()).transpose();
        let pieces: Vec<_> = match self.rows {
            RowsAt::Here(shards) => shards.into_iter().map(read).collect::<Result<_>>()?,
            RowsAt::Log(counts) => match later(self.key) {
                Some(shards) => shards.into_iter().map(read).collect::<Result<_>>()?,
                None => counts.into_iter().map(|count| count.map(placeholder)).collect(),
            },
        };
        let dead_letters = self.dead_letters.into_iter().map(|message| DeadLetter {
            split: message.split,
            ordinal: message.ordinal,
            kind: message.kind,
            error: message.error,
            payload: message.payload.map(|Blob(bytes)| bytes),
        });
        let ExtractKey { pipeline, epoch, split, first_ordinal: _ } = self.key;
        Ok(Extract {
            pipeline,
            epoch,
            split,
            first: self.first,
            next: self.next,
            messages: self.messages,
            filtered: self.filtered,
            source_bytes: self.source_bytes,
            pieces,
            dead_letters: dead_letters.collect(),
            originals: self.originals.map(|RecordedOriginals { ordinals, ends, bytes: Blob(bytes) }| {
                Originals { ordinals, ends, bytes }
            }),
        })
    }
}

impl RecordedRequest {
    /// What is to be written of a request.
    pub fn of(request: &Request) -> RecordedRequest {
        match request {
            Request::AcquireSnapshot => RecordedRequest::AcquireSnapshot,
            Request::ReleaseSnapshot(reader) => RecordedRequest::ReleaseSnapshot(*reader),
            Request::Define(definition) => RecordedRequest::Define(Box::new(definition.clone())),
            Request::AcquireTableLock { tables } => {
                RecordedRequest::AcquireTableLock { tables: tables.clone() }
            }
            Request::ReleaseTableLock(table_lock) => RecordedRequest::ReleaseTableLock(*table_lock),
            Request::Write(write) => RecordedRequest::Write {
                table_lock: write.table_lock,
                tables: write.tables.iter().map(RecordedTableWrite::of).collect(),
            },
        }
    }

    /// The request again.
    pub fn restore(self) -> Result<Request> {
        Ok(match self {
            RecordedRequest::AcquireSnapshot => Request::AcquireSnapshot,
            RecordedRequest::ReleaseSnapshot(reader) => Request::ReleaseSnapshot(reader),
            RecordedRequest::Define(definition) => Request::Define(*definition),
            RecordedRequest::AcquireTableLock { tables } => Request::AcquireTableLock { tables },
            RecordedRequest::ReleaseTableLock(table_lock) => Request::ReleaseTableLock(table_lock),
            RecordedRequest::Write { table_lock, tables } => {
                let tables = tables.into_iter().map(RecordedTableWrite::restore).collect::<Result<_>>()?;
                Request::Write(Write { table_lock, tables })
            }
        })
    }
}

impl RecordedTableWrite {
    fn of(write: &TableWrite) -> RecordedTableWrite {
        let shard = |shard: &ShardWrite| (shard.deletes.clone(), shard.rows.as_ref().map(Rows::of));
        RecordedTableWrite {
            table: write.table,
            schema_version: write.schema_version,
            on_duplicate: write.on_duplicate.clone(),
            shards: write.shards.iter().map(shard).collect(),
        }
    }

    fn restore(self) -> Result<TableWrite> {
        let shards = self.shards.into_iter().map(|(deletes, rows)| {
            Ok(ShardWrite { deletes, rows: rows.map(|rows| rows.read()).transpose()? })
        });
        Ok(TableWrite {
            table: self.table,
            schema_version: self.schema_version,
            on_duplicate: self.on_duplicate,
            shards: shards.collect::<Result<_>>()?,
        })
    }
}

impl RecordedQuiescedState {
    /// What is to be written of a coordinator at rest; `in_log` says of which extracts the log will have the rows.
    pub fn of(quiesced_state: &QuiescedState, in_log: &dyn Fn(&Extract) -> bool) -> RecordedQuiescedState {
        let extracts =
            quiesced_state.extracts.iter().map(|extract| RecordedExtract::of(extract, in_log(extract)));
        let waiting = quiesced_state.waiting.iter().map(|(id, request)| (*id, RecordedRequest::of(request)));
        RecordedQuiescedState {
            sequence: quiesced_state.sequence,
            core: quiesced_state.core.clone(),
            extracts: extracts.collect(),
            waiting: waiting.collect(),
        }
    }

    /// The coordinator's state again.
    pub fn restore(self, later: RowsLater<'_>) -> Result<QuiescedState> {
        let extracts = self.extracts.into_iter().map(|extract| extract.restore(later));
        let waiting = self.waiting.into_iter().map(|(id, request)| Ok((id, request.restore()?)));
        Ok(QuiescedState {
            sequence: self.sequence,
            core: self.core,
            extracts: extracts.collect::<Result<_>>()?,
            waiting: waiting.collect::<Result<_>>()?,
        })
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Blob {
        Blob(bytes)
    }
}
