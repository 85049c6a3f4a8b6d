//! The items of a recording, and their conversion from and to the kernel's messages.

use bytes::Bytes;
use kernel::expr::OnDuplicate;
use kernel::message::{Definition, ShardWrite, SourceFailure, SourceMetadata, TableWrite, Write};
use kernel::{
    DeadLetter, DeadLetterKind, Epoch, Error, Extract, Input, Micros, Originals, PipelineId, Position,
    QuiescedCore, QuiescedState, Request, RequestId, Result, RowId, Sequence, ShardId, SplitId, TableId,
    TableLockId,
};
use minicbor::{Decode, Encode};

use crate::mark::{EffectMark, StateHash};
use crate::rows::{Blob, Rows, placeholder};

/// One event, in order.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub enum Item {
    /// An input of the coordinator. Written before the coordinator handles it, so that an input that causes a panic is
    /// recorded.
    #[n(0)]
    Input {
        /// The time of the input.
        #[n(0)]
        at_us: Micros,
        /// What.
        #[n(1)]
        input: RecordedInput,
    },
    /// An effect of the coordinator.
    #[n(1)]
    Effect(#[n(0)] EffectMark),
    /// The host held the coordinator to quiesce it, or released it.
    #[n(2)]
    Held(#[n(0)] bool),
    /// Rows that were expected in the log and are not there in their original form.
    #[n(3)]
    Rows {
        /// Which extract they are of.
        #[n(0)]
        key: ExtractKey,
        /// By shard.
        #[n(1)]
        shards: Vec<Option<Rows>>,
    },
    /// The published state.
    #[n(4)]
    State {
        /// At this record.
        #[n(0)]
        sequence: Sequence,
        /// Its logical content.
        #[n(1)]
        hash: StateHash,
    },
    /// Nothing follows.
    #[n(5)]
    End(#[n(0)] End),
}

/// How a recording ends. A killed process writes no end.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub enum End {
    /// The database was stopped cleanly.
    #[n(0)]
    Stopped,
    /// The database halted, or a thread of it panicked.
    #[n(1)]
    Halted(#[n(0)] Error),
    /// The recorder stopped for this reason; the database continued.
    #[n(2)]
    Incomplete(#[n(0)] String),
    /// The same term continues in the next file.
    #[n(3)]
    NextFile,
}

/// Identity of an extract: an epoch delivers each range once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ExtractKey {
    /// Whose.
    #[n(0)]
    pub pipeline: PipelineId,
    /// Fetched under.
    #[n(1)]
    pub epoch: Epoch,
    /// Of the source.
    #[n(2)]
    pub split: SplitId,
    /// Ordinal at which its range begins.
    #[n(3)]
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
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub enum RecordedInput {
    #[n(0)]
    Extracted(#[n(0)] Box<RecordedExtract>),
    #[n(1)]
    SourceOpened {
        #[n(0)]
        pipeline: PipelineId,
        #[n(1)]
        epoch: Epoch,
        #[n(2)]
        metadata: SourceMetadata,
    },
    #[n(2)]
    SourceVerified {
        #[n(0)]
        pipeline: PipelineId,
        #[n(1)]
        epoch: Epoch,
        #[n(2)]
        token: u64,
        #[n(3)]
        metadata: SourceMetadata,
    },
    #[n(3)]
    SourceFailed {
        #[n(0)]
        pipeline: PipelineId,
        #[n(1)]
        epoch: Epoch,
        #[n(2)]
        failure: SourceFailure,
    },
    /// In a replay the shard computes the reply again.
    #[n(4)]
    Shard {
        #[n(0)]
        shard: ShardId,
        #[cbor(n(1), with = "minicbor::bytes")]
        reply: [u8; 8],
    },
    #[n(5)]
    Synced(#[n(0)] Sequence),
    #[n(6)]
    LogFailed(#[n(0)] Error),
    #[n(7)]
    DiskSpace(#[n(0)] bool),
    #[n(8)]
    SnapshotReleased(#[n(0)] Sequence),
    #[n(9)]
    Request {
        #[n(0)]
        id: RequestId,
        #[n(1)]
        request: RecordedRequest,
    },
    #[n(10)]
    Tick,
}

/// An extract.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub struct RecordedExtract {
    #[n(0)]
    pub key: ExtractKey,
    #[n(1)]
    pub schema_version: u32,
    #[n(2)]
    pub first: Position,
    #[n(3)]
    pub next: Position,
    #[n(4)]
    pub messages: u64,
    #[n(5)]
    pub filtered: u64,
    #[n(6)]
    pub source_bytes: u64,
    #[n(7)]
    pub rows: RowsAt,
    #[n(8)]
    pub dead_letters: Vec<RecordedDeadLetter>,
    #[n(9)]
    pub originals: Option<RecordedOriginals>,
}

/// See [`kernel::extract::Originals`].
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub struct RecordedOriginals {
    #[n(0)]
    pub ordinals: Vec<i64>,
    #[n(1)]
    pub ends: Vec<usize>,
    #[n(2)]
    pub bytes: Blob,
}

/// Where an extract's rows are.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub enum RowsAt {
    /// In the log record that the extract became part of. How many, by shard.
    #[n(0)]
    Log(#[n(0)] Vec<Option<u32>>),
    /// Here, by shard.
    #[n(1)]
    Here(#[n(0)] Vec<Option<Rows>>),
}

/// A dead letter.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub struct RecordedDeadLetter {
    #[n(0)]
    pub split: SplitId,
    #[n(1)]
    pub ordinal: i64,
    #[n(2)]
    pub kind: DeadLetterKind,
    #[n(3)]
    pub error: Error,
    #[n(4)]
    pub payload: Option<Blob>,
}

/// A client's request.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub enum RecordedRequest {
    #[n(0)]
    Define(#[n(0)] Box<Definition>),
    #[n(1)]
    AcquireTableLock {
        #[n(0)]
        tables: Vec<TableId>,
    },
    #[n(2)]
    ReleaseTableLock(#[n(0)] TableLockId),
    #[n(3)]
    Write {
        #[n(0)]
        table_lock: Option<TableLockId>,
        #[n(1)]
        tables: Vec<RecordedTableWrite>,
    },
}

/// A client's rows for one table.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub struct RecordedTableWrite {
    #[n(0)]
    pub table: TableId,
    #[n(1)]
    pub schema_version: u32,
    #[n(2)]
    pub on_duplicate: OnDuplicate,
    /// Deleted rows and new rows, by shard.
    #[n(3)]
    pub shards: Vec<(Vec<RowId>, Option<Rows>)>,
}

/// A quiesced coordinator.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub struct RecordedQuiescedState {
    #[n(0)]
    pub sequence: Sequence,
    #[n(1)]
    pub core: QuiescedCore,
    #[n(2)]
    pub extracts: Vec<RecordedExtract>,
    #[n(3)]
    pub waiting: Vec<(RequestId, RecordedRequest)>,
}

/// Finds rows that were written after the extract that they are of.
pub type RowsLater<'a> = &'a dyn Fn(ExtractKey) -> Option<Vec<Option<Rows>>>;

impl RecordedInput {
    /// The recorded form of an input. `in_log`: an extract's rows will be in the log unchanged.
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
            Input::SnapshotReleased { sequence } => RecordedInput::SnapshotReleased(*sequence),
            Input::Request { id, request } => {
                RecordedInput::Request { id: *id, request: RecordedRequest::of(request) }
            }
            Input::Tick => RecordedInput::Tick,
        }
    }

    /// The input again. For a shard's reply the caller gets shard and hash, and has to let the shard compute it.
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
            RecordedInput::SnapshotReleased(sequence) => Input::SnapshotReleased { sequence },
            RecordedInput::Request { id, request } => Input::Request { id, request: request.restore()? },
            RecordedInput::Tick => Input::Tick,
        })))
    }
}

/// The result of restoring an input.
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
    /// The recorded form of an extract.
    pub fn of(extract: &Extract, in_log: bool) -> RecordedExtract {
        let by_shard = extract.rows.iter();
        let rows = if in_log {
            RowsAt::Log(by_shard.map(|rows| rows.as_ref().map(|rows| rows.num_rows() as u32)).collect())
        } else {
            RowsAt::Here(by_shard.map(|rows| rows.as_ref().map(Rows::of)).collect())
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
            schema_version: extract.schema_version,
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
        let rows: Vec<_> = match self.rows {
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
            schema_version: self.schema_version,
            first: self.first,
            next: self.next,
            messages: self.messages,
            filtered: self.filtered,
            source_bytes: self.source_bytes,
            rows,
            dead_letters: dead_letters.collect(),
            originals: self.originals.map(|RecordedOriginals { ordinals, ends, bytes: Blob(bytes) }| {
                Originals { ordinals, ends, bytes }
            }),
        })
    }
}

impl RecordedRequest {
    /// The recorded form of a request.
    pub fn of(request: &Request) -> RecordedRequest {
        match request {
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
    /// The recorded form of a quiesced coordinator; `in_log` is true for extracts whose rows will be in the log.
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
