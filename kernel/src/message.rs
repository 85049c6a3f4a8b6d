//! All inputs and outputs of the kernel, as plain owned data. Every reply carries the correlation id or epoch of its
//! request. The crate's documentation lists the duties of a host that carries these messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use minicbor::{Decode, Encode};

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
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct SourceMetadata {
    /// Its splits. A split that is absent from one answer is not deleted (fault A12). In an answer to `SourceVerify`
    /// the positions may be from an earlier answer; the set of splits and their identities must be current.
    #[n(0)]
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
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SplitMetadata {
    /// What its positions refer to: topic id, etag or stream id.
    #[n(0)]
    pub identity: Identity,
    /// The first message that the source still has.
    #[n(1)]
    pub earliest: Position,
    /// The position after the last readable message; for Kafka, the last stable offset.
    #[n(2)]
    pub end: Position,
    /// No message will follow `end`.
    #[n(3)]
    pub finished: bool,
}

/// How a source can fail.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub enum SourceFailure {
    /// A retry can help. The kernel retries with backoff.
    #[n(0)]
    Transient(#[n(0)] Error),
    /// A retry cannot help (missing topic, authorisation). The pipeline stops in state Failed.
    #[n(1)]
    Permanent(#[n(0)] Error),
    /// Unread messages are missing at the source (faults A5, A9). The pipeline stops in state Failed and names the
    /// range.
    #[n(2)]
    Lost {
        /// Which split.
        #[n(0)]
        split: SplitName,
        /// The requested message.
        #[n(1)]
        wanted: Position,
        /// The first message that the source still has.
        #[n(2)]
        earliest: Position,
        /// The position after the last message that the source has.
        #[n(3)]
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
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub enum Definition {
    #[n(0)]
    CreateTable {
        #[n(0)]
        spec: TableSpec,
        #[n(1)]
        if_not_exists: bool,
    },
    #[n(1)]
    DropTable {
        #[n(0)]
        name: String,
        #[n(1)]
        if_exists: bool,
    },
    #[n(2)]
    TruncateTable {
        #[n(0)]
        name: String,
    },
    #[n(3)]
    CreatePipeline {
        #[n(0)]
        spec: Box<PipelineSpec>,
        #[n(1)]
        if_not_exists: bool,
    },
    #[n(4)]
    AlterPipeline(#[n(0)] Alteration),
    #[n(5)]
    DropPipeline {
        #[n(0)]
        name: String,
        #[n(1)]
        if_exists: bool,
    },
    #[n(6)]
    StartPipeline {
        #[n(0)]
        name: String,
        #[n(1)]
        if_not_running: bool,
    },
    #[n(7)]
    StopPipeline {
        #[n(0)]
        name: String,
        #[n(1)]
        if_running: bool,
    },
    #[n(8)]
    SetOffsets {
        #[n(0)]
        name: String,
        #[n(1)]
        offsets: Offsets,
    },
    /// Deletes rows of the errors table: those of one pipeline, or all.
    #[n(9)]
    ClearErrors {
        #[n(0)]
        pipeline: Option<String>,
    },
}

/// A new definition for an existing pipeline: ALTER, and CREATE OR REPLACE. If the source stays the same, the pipeline
/// keeps its identity, generation and offsets. A running pipeline changes at a batch boundary.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Alteration {
    /// The whole new definition, under the pipeline's name.
    #[n(0)]
    pub spec: Box<PipelineSpec>,
    /// The `definition_sql` that this alteration was made from. If the pipeline has another one now, the error is
    /// 40001; otherwise a concurrent change would be lost.
    #[n(1)]
    pub was: String,
    /// The new definition reads another source, where the old offsets are meaningless. Begins a new generation, at the
    /// oldest message.
    #[n(2)]
    pub source_changed: bool,
}

/// A table to be created.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TableSpec {
    /// Name, already folded.
    #[n(0)]
    pub name: String,
    /// Columns. The kernel assigns their ids.
    #[n(1)]
    pub columns: Vec<ColumnDef>,
    /// Ordinals into `columns`, which have no ids yet; so are the other keys.
    #[n(2)]
    pub primary_key: Vec<u16>,
    /// See `primary_key`.
    #[n(3)]
    pub shard_key: Vec<u16>,
    /// See `primary_key`.
    #[n(4)]
    pub sort_key: Vec<u16>,
}

/// A pipeline to be created.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct PipelineSpec {
    /// Name, already folded.
    #[n(0)]
    pub name: String,
    /// Table that it loads.
    #[n(1)]
    pub table: String,
    /// Kind of its source.
    #[n(2)]
    pub source_kind: SourceKind,
    /// Canonical CREATE PIPELINE statement.
    #[n(3)]
    pub definition_sql: String,
    /// The ON DUPLICATE KEY clause in typed form.
    #[n(4)]
    pub on_duplicate: OnDuplicate,
    /// See [`crate::schema::PipelineDef::error_limit`].
    #[n(5)]
    pub error_limit: Option<u64>,
    /// See [`crate::schema::PipelineDef::batch_interval_us`].
    #[n(6)]
    pub batch_interval_us: i64,
    /// See [`crate::schema::PipelineDef::batch_bytes_max`].
    #[n(7)]
    pub batch_bytes_max: u64,
}

/// `ALTER PIPELINE … SET OFFSETS`. Begins a new generation. The pipeline must be stopped.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub enum Offsets {
    /// Remove all cursors and identities, and start at the oldest message or at the end.
    #[n(0)]
    From(#[n(0)] StartAt),
    /// Set the cursors of these splits only.
    #[n(1)]
    At(#[n(0)] BTreeMap<SplitName, Position>),
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct Counts {
    /// New rows.
    #[n(0)]
    pub inserted: u64,
    /// New versions of existing rows (ON DUPLICATE KEY).
    #[n(1)]
    pub updated: u64,
    /// Rows deleted through `ShardWrite::deletes`.
    #[n(2)]
    pub deleted: u64,
    /// Incoming rows dropped by ON CONFLICT DO NOTHING or by a condition that is not true.
    #[n(3)]
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
        /// The outcome, encoded for the record; empty if nothing changes here.
        outcome: Bytes,
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
