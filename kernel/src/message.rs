//! All inputs and outputs of the kernel, as plain owned data. Every reply carries the correlation id or epoch of its
//! request. The crate's documentation lists the duties of a host that carries these messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::event::Event;
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
        /// Topic and its partitions at the time of the answer.
        metadata: SourceMetadata,
    },
    /// Answer to [`Effect::SourceVerify`]: metadata whose request *began* after the effect was drained.
    SourceVerified {
        /// Echo.
        pipeline: PipelineId,
        /// Echo.
        epoch: Epoch,
        /// Echo.
        token: u64,
        /// Topic and its partitions at the time of the answer.
        metadata: SourceMetadata,
    },
    /// The source failed while the host opened, read or verified it.
    SourceFailed {
        /// Echo.
        pipeline: PipelineId,
        /// Echo.
        epoch: Epoch,
        /// The reason.
        failure: SourceFailure,
    },
    /// A shard's answer.
    Shard {
        /// Which shard.
        shard: ShardId,
        /// Its answer.
        reply: ShardReply,
    },
    /// All records up to and including this one are durable. Sent only after a sync that covers their bytes.
    Synced {
        /// Highest durable sequence.
        through: Sequence,
    },
    /// An append or a sync failed. The kernel is poisoned: it emits [`Effect::Halt`] and then no effect (fault B3).
    LogFailed {
        /// The reason.
        error: Error,
    },
    /// Free disk space fell below the reserve, or is above it again.
    DiskSpace {
        /// False makes the database read-only.
        sufficient: bool,
    },
    /// Nobody reads this snapshot any more, and nobody will: it was published, a newer one has replaced it, and its
    /// last reader has ended. Sent once for each snapshot, that of the beginning of the term included.
    SnapshotReleased {
        /// Its sequence.
        sequence: Sequence,
    },
    /// A client's request.
    Request {
        /// Correlates the reply.
        id: RequestId,
        /// The request.
        request: Request,
    },
    /// Only the time.
    Tick,
}

/// What a source answered to one request for metadata.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SourceMetadata {
    /// Its splits. A split that is absent from one answer is not deleted (fault A12). In an answer to `SourceVerify`
    /// the positions may be from an earlier answer; the set of splits and their identities must be current.
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
    /// What its positions refer to: topic id, etag or stream id.
    pub identity: Identity,
    /// The first message that the source still has.
    pub earliest: Position,
    /// The position after the last readable message; for Kafka, the last stable offset.
    pub end: Position,
    /// No message will follow `end`.
    pub finished: bool,
}

/// How a source can fail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SourceFailure {
    /// A retry can help. The kernel retries with backoff.
    Transient(Error),
    /// A retry cannot help (missing topic, authorisation). The pipeline stops in state Failed.
    Permanent(Error),
    /// Unread messages are missing at the source (faults A5, A9). The pipeline stops in state Failed and names the
    /// range.
    Lost {
        /// Which split.
        split: SplitName,
        /// The requested message.
        wanted: Position,
        /// The first message that the source still has.
        earliest: Position,
        /// The position after the last message that the source has.
        end: Position,
    },
}

impl SourceFailure {
    /// Missing messages of a Kafka partition, by offsets.
    pub fn kafka_lost(partition: i32, wanted: i64, earliest: i64, end: i64) -> SourceFailure {
        let [wanted, earliest, end] = [wanted, earliest, end].map(|offset| Position::kafka(offset, -1));
        SourceFailure::Lost { split: SplitName::kafka(partition), wanted, earliest, end }
    }
}

/// What a client can ask for.
#[derive(Clone, Debug)]
pub enum Request {
    /// Definitions. One record; durable when answered.
    Define(Definition),
    /// A table lock over these tables: [`Response::TableLock`], with a snapshot of the staged tip. Until a [`Write`] or
    /// a release ends the lock, no later batch of these tables is staged.
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
    /// Table lock under which the rows were computed. The write ends the lock.
    pub table_lock: Option<TableLockId>,
    /// In the order of the statements.
    pub tables: Vec<TableWrite>,
}

/// Rows of one statement for one table.
#[derive(Clone, Debug)]
pub struct TableWrite {
    /// Table.
    pub table: TableId,
    /// Schema version of the rows. If the table has another version now, the error is 40001.
    pub schema_version: u32,
    /// The rule for a row whose primary key exists.
    pub on_duplicate: OnDuplicate,
    /// By shard; `shard_count` entries.
    pub shards: Vec<ShardWrite>,
}

/// One shard's part of a [`TableWrite`]. Deletions are applied before rows, so that an UPDATE of a key column does not
/// conflict with the row's own old version.
#[derive(Clone, Debug, Default)]
pub struct ShardWrite {
    /// Rows to delete. They were read under the table lock, so each of them exists.
    pub deletes: Vec<RowId>,
    /// Rows to add, in the stored schema with null provenance.
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
    /// Deletes rows of the errors table: those of one pipeline, or all.
    ClearErrors {
        pipeline: Option<String>,
    },
}

/// A new definition for an existing pipeline: ALTER, and CREATE OR REPLACE. If the source stays the same, the pipeline
/// keeps its identity, generation and offsets. A running pipeline changes at a batch boundary.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alteration {
    /// The whole new definition, under the pipeline's name.
    pub spec: Box<PipelineSpec>,
    /// The `definition_sql` that this alteration was made from. If the pipeline has another one now, the error is
    /// 40001; otherwise a concurrent change would be lost.
    pub was: String,
    /// The new definition reads another source, where the old offsets are meaningless. Begins a new generation, at the
    /// oldest message.
    pub source_changed: bool,
}

/// A table to be created.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TableSpec {
    /// Name, already folded.
    pub name: String,
    /// Columns. The kernel assigns their ids.
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
    /// Canonical CREATE PIPELINE statement.
    pub definition_sql: String,
    /// The ON DUPLICATE KEY clause in typed form.
    pub on_duplicate: OnDuplicate,
    /// See [`crate::schema::PipelineDef::error_limit`].
    pub error_limit: Option<u64>,
    /// See [`crate::schema::PipelineDef::batch_interval_us`].
    pub batch_interval_us: i64,
    /// See [`crate::schema::PipelineDef::batch_bytes_max`].
    pub batch_bytes_max: u64,
}

/// `ALTER PIPELINE … SET OFFSETS`. Begins a new generation. The pipeline must be stopped.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Offsets {
    /// Remove all cursors and identities, and start at the oldest message or at the end.
    From(StartAt),
    /// Set the cursors of these splits only.
    At(BTreeMap<SplitName, Position>),
}

/// The answer to a successful request.
#[derive(Clone, Debug)]
pub enum Response {
    /// Done. If the request changed something, the change is durable.
    Done(Counts),
    /// The table lock is held.
    TableLock {
        /// Names the lock in the write or the release.
        table_lock: TableLockId,
        /// The staged tip, which the statement reads. It may contain records that are not durable yet; a write computed
        /// from it follows them in the same log.
        snapshot: Snapshot,
    },
}

/// How many rows a record changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// New rows.
    pub inserted: u64,
    /// New versions of existing rows (ON DUPLICATE KEY).
    pub updated: u64,
    /// Rows deleted through `ShardWrite::deletes`.
    pub deleted: u64,
    /// Incoming rows dropped by ON CONFLICT DO NOTHING or by a condition that is not true.
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

/// An action for the host. [`carry_out`](crate::carry_out) calls the method of [`Host`](crate::Host) for each. Effects come
/// in order within each addressee (each shard, the log, each pipeline's source, each client).
#[derive(Clone, Debug)]
pub enum Effect {
    /// For a shard. Its reply comes back as [`Input::Shard`].
    Shard {
        /// Which shard.
        shard: ShardId,
        /// The command.
        command: ShardCommand,
    },
    /// Append this record to the log. Appends come in order of sequence, without gaps.
    Append(EncodedRecord),
    /// Make all appended records durable, then send [`Input::Synced`].
    Sync,
    /// Connect, request metadata, answer with [`Input::SourceOpened`] or [`Input::SourceFailed`].
    SourceOpen {
        /// Whose source.
        pipeline: PipelineId,
        /// To be echoed.
        epoch: Epoch,
        /// The pipeline's definition. If a later definition dropped the pipeline, the tip no longer has it; its
        /// `SourceClose` follows.
        definition: Arc<crate::schema::PipelineDef>,
        /// The table that it loads.
        table: Arc<crate::schema::TableDef>,
    },
    /// Begin to fetch and extract splits, each from a position. Each split continues until the credit is used up.
    Fetch {
        /// Whose source.
        pipeline: PipelineId,
        /// To be echoed.
        epoch: Epoch,
        /// Where each split starts.
        starts: Vec<SplitStart>,
    },
    /// More bytes of source payload may be extracted and handed in. Without credit, a split pauses.
    Credit {
        /// Whose source.
        pipeline: PipelineId,
        /// To be echoed.
        epoch: Epoch,
        /// Bytes, added to the remaining credit.
        bytes: u64,
    },
    /// Begin a request for metadata now and answer with [`Input::SourceVerified`].
    SourceVerify {
        /// Whose source.
        pipeline: PipelineId,
        /// To be echoed.
        epoch: Epoch,
        /// To be echoed.
        token: u64,
    },
    /// Stop fetching; the kernel drops all later deliveries of this epoch. Emitted exactly once for each opened epoch,
    /// before the next one is opened. All other effects of an epoch come between its open and its close.
    SourceClose {
        /// Whose source.
        pipeline: PipelineId,
        /// The epoch to close.
        epoch: Epoch,
    },
    /// The newest published state. It replaces the previous one for all later readers; when the last reader of the
    /// previous one has ended, [`Input::SnapshotReleased`] follows.
    Publish(Snapshot),
    /// Answer to a request.
    Reply {
        /// Which request.
        id: RequestId,
        /// The answer.
        result: Result<Response, Error>,
    },
    /// Send an [`Input::Tick`] at this time or later. Replaces the previous wake-up.
    WakeAt(Micros),
    /// For the operator: state changes and retries. Correctness does not depend on it.
    Event(Event),
    /// The kernel is poisoned. Exit and recover from the disk.
    Halt(Error),
}

/// Where the fetch of a split starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SplitStart {
    /// Its number, for the extracts.
    pub split: SplitId,
    /// Its name, for the source.
    pub name: SplitName,
    /// The first message to fetch.
    pub position: Position,
}

/// A command of the coordinator to a shard. A shard handles its commands in order and answers each with exactly one
/// reply.
#[derive(Clone, Debug)]
pub enum ShardCommand {
    /// Compute the outcome against the staged state, stage it, answer [`ShardReply::Staged`]. A second `Stage` of the
    /// same sequence adds to the first.
    Stage {
        /// Sequence of the record.
        sequence: Sequence,
        /// In order.
        work: Vec<Work>,
    },
    /// Drop everything staged at or after this sequence. Answer: [`ShardReply::Abandoned`].
    Abandon {
        /// First sequence to drop.
        from: Sequence,
    },
    /// Everything up to here is durable. Show it to readers, answer [`ShardReply::Published`].
    Publish {
        /// Last sequence to show.
        through: Sequence,
    },
    /// A view of everything staged. Answer: [`ShardReply::Tip`].
    ViewTip {
        /// To be echoed.
        table_lock: TableLockId,
    },
}

/// One step of staging work.
#[derive(Clone, Debug)]
pub enum Work {
    /// Create a table. Rows for it may follow.
    CreateTable(Arc<crate::schema::TableDef>),
    /// Drop a table.
    DropTable(TableId),
    /// Delete all rows of a table.
    TruncateTable(TableId),
    /// Delete the errors table's rows of a pipeline.
    RemoveErrors(PipelineId),
    /// Rows of one pipeline or of one client statement.
    Rows {
        /// Table.
        table: TableId,
        /// The rule for a row whose primary key exists.
        on_duplicate: OnDuplicate,
        /// Rows to delete before the new ones are added.
        deletes: Vec<RowId>,
        /// Rows to add, in order (split, ordinal), in the stored schema.
        rows: Vec<RecordBatch>,
    },
}

impl Work {
    /// Rows to add, none of which can have an existing key.
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
        /// How many rows changed.
        counts: Counts,
        /// Ordinals of the pipeline rows among `counts.ignored`, by table and split; in one record a table has rows of
        /// one pipeline. The disposition of every message is logged. An ordinal appears once per row, in any order.
        ignored: BTreeMap<(TableId, SplitId), Vec<i64>>,
        /// Refused rows; the others are staged. Provenance is null for client rows.
        rejected: Vec<Rejected>,
    },
    /// The records from `from` on are dropped.
    Abandoned {
        /// Echo.
        from: Sequence,
    },
    /// Published.
    Published {
        /// Echo.
        through: Sequence,
        /// The new view for readers.
        view: Arc<ShardView>,
    },
    /// The staged tip.
    Tip {
        /// Echo.
        table_lock: TableLockId,
        /// The view that the statement reads.
        view: Arc<ShardView>,
    },
}

/// A row that a shard refused.
#[derive(Clone, PartialEq, Debug)]
pub struct Rejected {
    /// Table.
    pub table: TableId,
    /// The reason: 23505, 22003, 22012.
    pub error: Error,
    /// Split and ordinal of the message; None for client rows.
    pub origin: Option<(SplitId, i64)>,
    /// The row's values as JSON-like text, for the errors table; the payload is not kept this far.
    pub row_text: String,
}

impl Rejected {
    /// The row as a dead letter; None for client rows.
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
