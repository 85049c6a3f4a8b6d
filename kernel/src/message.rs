//! Everything that goes into the kernel and comes out of it, as plain owned data. Every reply carries the correlation id or
//! epoch of its request. The crate's documentation numbers the duties of a host that carries these messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::expr::OnDuplicate;
use crate::extract::{DeadLetter, Extract};
use crate::ids::*;
use crate::record::EncodedRecord;
use crate::schema::{ColumnDef, StartAt};
use crate::snapshot::{ShardView, Snapshot};

/// What a host hands to the [`Coordinator`](crate::Coordinator), together with the time.
#[derive(Clone, Debug)]
pub enum Input {
    /// An extractor finished a range.
    Extracted(Extract),
    /// Answer to [`Effect::SourceOpen`].
    SourceOpened {
        /// Echo.
        pipeline: PipelineId,
        /// Echo.
        epoch: Epoch,
        /// Topic and its partitions as they are now.
        metadata: SourceMetadata,
    },
    /// Answer to [`Effect::SourceVerify`]: a reading of the topic that *began* after the request was handed out.
    SourceVerified {
        /// Echo.
        pipeline: PipelineId,
        /// Echo.
        epoch: Epoch,
        /// Echo.
        token: u64,
        /// Topic and its partitions as they are now.
        metadata: SourceMetadata,
    },
    /// The source failed: while it was opened, read or verified.
    SourceFailed {
        /// Echo.
        pipeline: PipelineId,
        /// Echo.
        epoch: Epoch,
        /// Why.
        failure: SourceFailure,
    },
    /// A shard's answer.
    Shard {
        /// Which shard.
        shard: ShardId,
        /// Its answer.
        reply: ShardReply,
    },
    /// All records up to and with this one are durable. Only ever said after a sync that covers their bytes.
    Synced {
        /// Highest durable sequence.
        through: Sequence,
    },
    /// An append or a sync failed. The kernel is poisoned: it emits [`Effect::Halt`] and nothing ever again (fault B3).
    LogFailed {
        /// Why.
        error: Error,
    },
    /// Room on the disk went below, or is again above, the reserve.
    DiskSpace {
        /// False turns the database read-only.
        sufficient: bool,
    },
    /// A client asks for something.
    Request {
        /// Correlates the reply.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// Nothing but the time.
    Tick,
}

/// A source as it describes itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SourceMetadata {
    /// Its splits. A split that is merely absent from one answer is not deleted (fault A12). In an answer to `SourceVerify` the
    /// positions may be those of an earlier answer; the set of splits and their identities may not.
    pub splits: BTreeMap<SplitName, SplitMetadata>,
}

impl SourceMetadata {
    /// A Kafka topic: its id, and the earliest offset and end of each partition.
    pub fn kafka(
        topic_id: &Identity,
        partitions: impl IntoIterator<Item = (i32, (i64, i64))>,
    ) -> SourceMetadata {
        let split = |(partition, (earliest, end))| {
            let [earliest, end] = [earliest, end].map(|offset| Position::kafka(offset, -1));
            let split = SplitMetadata { identity: topic_id.clone(), earliest, end, finished: false };
            (SplitName::kafka(partition), split)
        };
        SourceMetadata { splits: partitions.into_iter().map(split).collect() }
    }

    /// Earliest offset and end of each partition of a Kafka topic.
    pub fn partitions(&self) -> BTreeMap<i32, (i64, i64)> {
        let bounds = |(name, split): (&SplitName, &SplitMetadata)| {
            Some((name.partition()?, (split.earliest.ordinal(), split.end.ordinal())))
        };
        self.splits.iter().filter_map(bounds).collect()
    }

    /// The id of a Kafka topic; empty if no partition is known.
    pub fn topic_id(&self) -> Identity {
        self.splits.values().next().map(|split| split.identity.clone()).unwrap_or_default()
    }
}

/// A split as its source describes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SplitMetadata {
    /// What its positions count in.
    pub identity: Identity,
    /// The first message that the source still has.
    pub earliest: Position,
    /// Behind the last message that may be read (for Kafka the last stable offset).
    pub end: Position,
    /// Nothing comes behind `end` any more.
    pub finished: bool,
}

/// How a source can fail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SourceFailure {
    /// Trying again can help: the kernel does, with backoff.
    Transient(Error),
    /// Trying again cannot help (no such topic, authorisation): the pipeline stops in state Failed.
    Permanent(Error),
    /// Messages that were not read yet are gone (faults A5, A9): the pipeline stops in state Failed and names the range.
    Lost {
        /// Which split.
        split: SplitName,
        /// The message that was wanted.
        wanted: Position,
        /// The first message that the source still has.
        earliest: Position,
        /// Behind the last message that it has.
        end: Position,
    },
}

impl SourceFailure {
    /// Messages of a Kafka partition are gone, by offsets.
    pub fn kafka_lost(partition: i32, wanted: i64, earliest: i64, end: i64) -> SourceFailure {
        let [wanted, earliest, end] = [wanted, earliest, end].map(|offset| Position::kafka(offset, -1));
        SourceFailure::Lost { split: SplitName::kafka(partition), wanted, earliest, end }
    }
}

/// What a client can ask for.
#[derive(Clone, Debug)]
pub enum Request {
    /// The newest published snapshot: [`Response::Snapshot`]. To be released.
    AcquireSnapshot,
    /// A reader is done.
    ReleaseSnapshot(ReaderId),
    /// Definitions. One record; durable when answered.
    Define(Definition),
    /// A table lock over these tables: [`Response::TableLock`], with a snapshot of the staged tip. Until it is used up by a
    /// [`Write`] or released, no later batch is staged on them.
    AcquireTableLock {
        /// Tables that the statement reads or writes.
        tables: Vec<TableId>,
    },
    /// The statement ended without a write.
    ReleaseTableLock(TableLockId),
    /// Rows. One record; durable when answered.
    Write(Write),
}

/// A client transaction's rows, already routed: any number of tables, one record.
#[derive(Clone, Debug)]
pub struct Write {
    /// Table lock under which the rows were computed; used up by the write.
    pub table_lock: Option<TableLockId>,
    /// In order of statement.
    pub tables: Vec<TableWrite>,
}

/// Rows of one statement for one table.
#[derive(Clone, Debug)]
pub struct TableWrite {
    /// Table.
    pub table: TableId,
    /// Version of the schema that the rows have; another one now is 40001.
    pub schema_version: u32,
    /// What happens on an existing primary key.
    pub on_duplicate: OnDuplicate,
    /// By shard; `shard_count` entries.
    pub shards: Vec<ShardWrite>,
}

/// One shard's part of a [`TableWrite`]. Deletions come before rows, so that an UPDATE of a key column does not collide with
/// itself.
#[derive(Clone, Debug, Default)]
pub struct ShardWrite {
    /// Rows that go: read under the table lock, so each lives.
    pub deletes: Vec<RowId>,
    /// Rows that come, in the stored schema with null provenance.
    pub rows: Option<RecordBatch>,
}

/// Definitions that a client can ask for. The kernel resolves names and ids and logs the outcome.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Definition {
    CreateTable {
        spec: TableSpec,
        if_not_exists: bool,
    },
    DropTable {
        name: String,
        if_exists: bool,
    },
    TruncateTable {
        name: String,
    },
    CreatePipeline {
        spec: Box<PipelineSpec>,
        if_not_exists: bool,
    },
    AlterPipeline(Alteration),
    DropPipeline {
        name: String,
        if_exists: bool,
    },
    StartPipeline {
        name: String,
        if_not_running: bool,
    },
    StopPipeline {
        name: String,
        if_running: bool,
    },
    SetOffsets {
        name: String,
        offsets: Offsets,
    },
    /// Rows of the errors table go: those of one pipeline, or all.
    ClearErrors {
        pipeline: Option<String>,
    },
}

/// Another definition for a pipeline that is there, running or not: ALTER, and CREATE OR REPLACE. It keeps its identity, its run
/// and its offsets if it still reads the same source; a running one goes on at the boundary of a batch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alteration {
    /// The definition as a whole; its name is that of the pipeline.
    pub spec: Box<PipelineSpec>,
    /// The `definition_sql` that this one was made from. Another one now is 40001: what changed meanwhile would be undone unseen.
    pub was: String,
    /// It reads another source: the offsets mean nothing there. Begins a new run, at the oldest message.
    pub source_changed: bool,
}

/// A table to be created.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TableSpec {
    /// Name, already folded.
    pub name: String,
    /// Columns; ids are given by the kernel.
    pub columns: Vec<ColumnDef>,
    /// Ordinals.
    pub primary_key: Vec<u16>,
    /// Ordinals.
    pub shard_key: Vec<u16>,
    /// Ordinals.
    pub sort_key: Vec<u16>,
}

/// A pipeline to be created.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PipelineSpec {
    /// Name, already folded.
    pub name: String,
    /// Table that it loads.
    pub table: String,
    /// Kind of its source.
    pub source_kind: SourceKind,
    /// Canonical statement.
    pub definition_sql: String,
    /// Lowered clause.
    pub on_duplicate: OnDuplicate,
    /// See [`crate::schema::PipelineDef::error_limit`].
    pub error_limit: Option<u64>,
    /// See [`crate::schema::PipelineDef::batch_interval_us`].
    pub batch_interval_us: i64,
    /// See [`crate::schema::PipelineDef::batch_bytes_max`].
    pub batch_bytes_max: u64,
}

/// `ALTER PIPELINE … SET OFFSETS`. Begins a new run; only a stopped pipeline can be rewound.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Offsets {
    /// Forget all cursors (and identities) and start at the oldest message, or at the end.
    From(StartAt),
    /// Set the splits named, leave the others.
    At(BTreeMap<SplitName, Position>),
}

/// What a request is answered with, if it succeeds.
#[derive(Clone, Debug)]
pub enum Response {
    /// Done, and durable where it changed something.
    Done(Counts),
    /// A snapshot to read.
    Snapshot {
        /// For the release.
        reader: ReaderId,
        /// What to read.
        snapshot: Snapshot,
    },
    /// The table lock is held.
    TableLock {
        /// For the write or the release.
        table_lock: TableLockId,
        /// The staged tip: what the statement reads. It may show what is not durable yet; whatever is computed from it is
        /// committed after it, in the same log.
        snapshot: Snapshot,
    },
}

/// How many rows a record changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// New rows.
    pub inserted: u64,
    /// New versions of rows that were there (ON DUPLICATE KEY).
    pub updated: u64,
    /// Rows gone by `ShardWrite::deletes`.
    pub deleted: u64,
    /// Incoming rows dropped by ON CONFLICT DO NOTHING or an unfulfilled condition.
    pub ignored: u64,
}

impl Counts {
    /// Adds another shard's counts.
    pub fn add(&mut self, other: Counts) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.ignored += other.ignored;
    }
}

/// What the coordinator wants done. Drained with [`Coordinator::poll_effect`](crate::Coordinator::poll_effect) after every
/// input, and carried out in order within each addressee (each shard, the log, each pipeline's source).
#[derive(Clone, Debug)]
pub enum Effect {
    /// For a shard; its answers come back as [`Input::Shard`].
    Shard {
        /// Which shard.
        shard: ShardId,
        /// What.
        command: ShardCommand,
    },
    /// Append this record to the log. Appends are in order of sequence, without gaps.
    Append(EncodedRecord),
    /// Make everything appended so far durable, then say [`Input::Synced`].
    Sync,
    /// Connect, describe the topic, answer [`Input::SourceOpened`] or [`Input::SourceFailed`].
    SourceOpen {
        /// Whose source.
        pipeline: PipelineId,
        /// To be echoed.
        epoch: Epoch,
        /// What it is. The tip may not have it any more, where a later definition has dropped it: its `SourceClose` follows then.
        definition: Arc<crate::schema::PipelineDef>,
        /// The table that it loads.
        table: Arc<crate::schema::TableDef>,
    },
    /// Begin to fetch splits, each from a position, and to extract; each goes on by itself until the credit is used up.
    Fetch {
        /// Whose source.
        pipeline: PipelineId,
        /// To be echoed.
        epoch: Epoch,
        /// Where each split goes on.
        starts: Vec<SplitStart>,
    },
    /// More bytes of source payload may be extracted and handed in. A partition that has none left pauses.
    Credit {
        /// Whose source.
        pipeline: PipelineId,
        /// To be echoed.
        epoch: Epoch,
        /// Bytes, to be added to what is left.
        bytes: u64,
    },
    /// Begin a reading of the topic now and answer [`Input::SourceVerified`].
    SourceVerify {
        /// Whose source.
        pipeline: PipelineId,
        /// To be echoed.
        epoch: Epoch,
        /// To be echoed.
        token: u64,
    },
    /// Stop fetching; nothing of this epoch is wanted any more. Said exactly once of an epoch that was opened, before the next
    /// one is; between the two, and only then, come the other effects of the epoch.
    SourceClose {
        /// Whose source.
        pipeline: PipelineId,
        /// Which life of it.
        epoch: Epoch,
    },
    /// The newest published state.
    Publish(Snapshot),
    /// Answer to a request.
    Reply {
        /// Which request.
        id: RequestId,
        /// The answer.
        result: Result<Response, Error>,
    },
    /// Hand in an [`Input::Tick`] at this time, or later. Replaces the wake-up asked for before.
    WakeAt(Micros),
    /// Something for the operator's log: state changes and retries. Never needed for correctness.
    Event {
        /// Whose, if of a pipeline.
        pipeline: Option<PipelineId>,
        /// One line.
        text: String,
        /// What keeps a source from being read, while it is tried again.
        error: Option<Error>,
    },
    /// The kernel is poisoned; exit and recover from the disk.
    Halt(Error),
}

/// Where a split is fetched from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SplitStart {
    /// Its number, for the extracts.
    pub split: SplitId,
    /// Its name, for the source.
    pub name: SplitName,
    /// Where it goes on.
    pub position: Position,
}

/// What the coordinator tells a shard. A shard handles its commands in order and answers each with exactly one reply.
#[derive(Clone, Debug)]
pub enum ShardCommand {
    /// Compute the outcome against what is staged already, stage it, answer [`ShardReply::Staged`]. A second `Stage` of the
    /// same sequence adds to it.
    Stage {
        /// Record that it will be.
        sequence: Sequence,
        /// In order.
        work: Vec<Work>,
    },
    /// Drop everything staged at or after this sequence: [`ShardReply::Abandoned`].
    Abandon {
        /// First sequence that goes.
        from: Sequence,
    },
    /// Everything up to here is durable: show it to readers, answer [`ShardReply::Published`].
    Publish {
        /// Last sequence to be shown.
        through: Sequence,
        /// No reader holds a snapshot older than this.
        horizon: Sequence,
    },
    /// A view of everything staged: [`ShardReply::Tip`].
    ViewTip {
        /// To be echoed.
        table_lock: TableLockId,
    },
}

/// One piece of staging work.
#[derive(Clone, Debug)]
pub enum Work {
    /// A table came to be; rows for it may follow.
    CreateTable(Arc<crate::schema::TableDef>),
    /// A table went.
    DropTable(TableId),
    /// A table's rows went.
    TruncateTable(TableId),
    /// What the errors table tells of a pipeline goes.
    RemoveErrors(PipelineId),
    /// Rows of one pipeline or of one client statement.
    Rows {
        /// Table.
        table: TableId,
        /// What happens on an existing primary key.
        on_duplicate: OnDuplicate,
        /// Rows that go first.
        deletes: Vec<RowId>,
        /// Rows that come, in order (split, ordinal), in the stored schema.
        rows: Vec<RecordBatch>,
    },
}

impl Work {
    /// Rows that are simply added, none of which can meet an existing key.
    pub fn append(table: TableId, rows: RecordBatch) -> Work {
        Work::Rows { table, on_duplicate: OnDuplicate::Reject, deletes: vec![], rows: vec![rows] }
    }
}

/// A shard's answer.
#[derive(Clone, Debug)]
pub enum ShardReply {
    /// The outcome is staged.
    Staged {
        /// Echo.
        sequence: Sequence,
        /// The outcome, encoded for the record: an empty piece if nothing changes here.
        piece: Bytes,
        /// What was done.
        counts: Counts,
        /// Ordinals of the pipeline rows among `counts.ignored`, by table (of which each is one pipeline's in one record) and
        /// split: the disposition of every message is logged. An ordinal comes once for each of its rows, in any order.
        ignored: BTreeMap<(TableId, SplitId), Vec<i64>>,
        /// Rows that were refused; the rest is staged. Row provenance is null for client rows.
        rejected: Vec<Rejected>,
    },
    /// The suffix is gone.
    Abandoned {
        /// Echo.
        from: Sequence,
    },
    /// Published.
    Published {
        /// Echo.
        through: Sequence,
        /// What readers may see now.
        view: Arc<ShardView>,
    },
    /// The staged tip.
    Tip {
        /// Echo.
        table_lock: TableLockId,
        /// What the statement reads.
        view: Arc<ShardView>,
    },
}

/// A row that a shard refused.
#[derive(Clone, PartialEq, Debug)]
pub struct Rejected {
    /// Table.
    pub table: TableId,
    /// Why: 23505, 22003, 22012.
    pub error: Error,
    /// Split and ordinal of the message, where it came from a pipeline.
    pub origin: Option<(SplitId, i64)>,
    /// The row's values as JSON-like text, for the errors table, where the payload is gone.
    pub row_text: String,
}

impl Rejected {
    /// As a dead letter.
    pub fn dead_letter(&self) -> Option<DeadLetter> {
        self.origin.map(|(split, ordinal)| DeadLetter {
            split,
            ordinal,
            kind: crate::extract::DeadLetterKind::Constraint,
            error: self.error.clone(),
            payload: Some(Bytes::from(self.row_text.clone().into_bytes())),
        })
    }
}
