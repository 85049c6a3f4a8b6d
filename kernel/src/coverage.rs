//! Coverage marks: named rare points of the kernel that a test run must pass. With the feature `coverage` each thread
//! counts its passes; without it a mark compiles to nothing. The gate that requires every mark to be passed is in the
//! simulator.

#![allow(clippy::disallowed_types, reason = "counts for tests; the kernel never reads them")]

macro_rules! coverage_marks {
    ($($name:ident $kebab:literal $what:literal,)*) => {
        /// A named point in the kernel.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum CoverageMark {
            $(#[doc = $what] $name,)*
        }

        impl CoverageMark {
            /// All marks.
            pub const ALL: &[CoverageMark] = &[$(CoverageMark::$name,)*];

            /// Its name, in kebab case.
            pub fn name(self) -> &'static str {
                match self {
                    $(CoverageMark::$name => $kebab,)*
                }
            }

            /// The event at this point, in one sentence.
            pub fn what(self) -> &'static str {
                match self {
                    $(CoverageMark::$name => $what,)*
                }
            }
        }
    };
}

coverage_marks! {
    // ---- The log: reading it back ----
    TornTail "torn-tail" "Recovery ended the log at a torn tail.",
    TornTailBeforeRecord "torn-tail-before-record" "A whole record header behind a torn tail gave no durability evidence.",
    TornPayload "torn-payload" "A record had a whole header and a torn payload.",
    CorruptionRefused "corruption-refused" "A later record proved that a bad one had been synced: the log was refused.",
    LossRefused "loss-refused" "The log ended before the record that the manifest names: it was refused.",
    StrangeRecord "strange-record" "A whole record at the next location did not continue the chain.",
    LogFileCrossed "log-file-crossed" "Recovery went on from one log file into the next.",
    LaterLogFileRemoved "later-log-file-removed" "Recovery removed a log file behind the end of the log.",
    UnsyncedRewritten "unsynced-rewritten" "Recovery rewrote accepted records without durability evidence.",
    RewriteSpansLogFiles "rewrite-spans-log-files" "The records that recovery rewrote spanned several log files.",
    CreationResumed "creation-resumed" "A creation that was interrupted was started over.",
    // ---- The log: writing it ----
    LogFileBegun "log-file-begun" "A record did not fit and began the next log file.",
    RecordLongerThanLogFile "record-longer-than-log-file" "A record was longer than the usual log file.",
    SyncSpansLogFiles "sync-spans-log-files" "One sync had to cover more than one log file.",
    AppendedDuringSync "appended-during-sync" "Records were appended while a sync went on that does not cover them.",
    NoRoomForLogFile "no-room-for-log-file" "There was no disk space for the next log file.",
    ManifestWritten "manifest-written" "A sync plan contained a manifest.",
    SyncFailed "sync-failed" "A sync failed, and the writer became unusable.",
    // ---- The coordinator ----
    HaltedWithRecordsInFlight "halted-with-records-in-flight" "The log failed while records were in flight.",
    ClockWentBack "clock-went-back" "An input came at an earlier time than the one before.",
    AlteredWhileRunning "altered-while-running" "A pipeline was altered while it ran.",
    StoppedAtStart "stopped-at-start" "A term began with its pipelines stopped, as configured.",
    WindowFull "window-full" "No record was started because the limit of records in flight was reached.",
    ReadOnlyWhileStaging "read-only-while-staging" "The disk fell below its reserve while a record was staged.",
    ReadWriteAgain "read-write-again" "Disk space was above the reserve again.",
    // ---- Batches ----
    BatchAtIdle "batch-at-idle" "A batch was closed because the log was idle.",
    BatchWhenFull "batch-when-full" "A batch was closed because it was full, while the log was busy.",
    BatchAfterInterval "batch-after-interval" "A batch was closed after its pipeline's interval.",
    BatchLingering "batch-lingering" "A pipeline that was behind waited for more before it closed a batch.",
    BatchLeftExtracts "batch-left-extracts" "A batch reached its limit and left extracts for the next one.",
    BatchOfSeveralPipelines "batch-of-several-pipelines" "One record held batches of several pipelines.",
    TableTakenInBatch "table-taken-in-batch" "Two pipelines of one table were ready, and one had to wait.",
    ExtractsJoined "extracts-joined" "Several extracts of a source partition became one cursor advance.",
    HolesCommitted "holes-committed" "A cursor advanced over offsets without messages.",
    // ---- Staging and publishing ----
    SecondRound "second-round" "Rows that shards refused became dead letters in a second round of staging.",
    RowsIgnored "rows-ignored" "ON DUPLICATE KEY's rule dropped rows of a batch.",
    ErrorLimitReached "error-limit-reached" "A batch exceeded its pipeline's limit of dead letters and stopped the pipeline.",
    WriteAbandoned "write-abandoned" "A client's record was abandoned on the shards that had staged it.",
    SeveralRecordsPublished "several-records-published" "One publication showed several records.",
    PublishedWithoutShards "published-without-shards" "A record that touched no shard was published.",
    SyncedWhilePublishing "synced-while-publishing" "A sync ended while shards were still swapping their views.",
    OldSnapshotHeld "old-snapshot-held" "A publication began while a superseded snapshot was not released.",
    SyncMarkerWritten "sync-marker-written" "A sync marker was written.",
    // ---- Clients ----
    TableLockHeldUpRequest "table-lock-held-up-request" "A request waited for another client's table lock.",
    TableLockHeldUpBatch "table-lock-held-up-batch" "A batch that was due waited for a table lock.",
    TableLockOverUnsynced "table-lock-over-unsynced" "A table lock began with staged records that were not durable yet.",
    RequestOvertook "request-overtook" "A request overtook requests of other tables.",
    RequestTurnedAway "request-turned-away" "A request was refused because too many requests waited.",
    ReadOnlyRefused "read-only-refused" "A request was refused because the disk is almost full.",
    // ---- Sources ----
    OlderEpochDropped "older-epoch-dropped" "A message of a source's older epoch was dropped.",
    ExtractOfOtherSchemaDropped "extract-of-other-schema-dropped" "An extract of another schema version of its table was dropped.",
    SplitFinished "split-finished" "A batch reached the end of a split that no message will follow.",
    StaleExtractDropped "stale-extract-dropped" "An extract of an older epoch was dropped.",
    RangeDoesNotFollow "range-does-not-follow" "An extract did not follow the one before; the source was reopened.",
    Retried "retried" "A failed source was reopened after a pause.",
    RetryPauseLongest "retry-pause-longest" "The pause before a retry reached its limit.",
    TopicChangedAtOpen "topic-changed-at-open" "An opened source had another topic id than its cursors.",
    TopicChangedWhileRead "topic-changed-while-read" "The metadata after a fetch named another topic id than before.",
    LostAtOpen "lost-at-open" "A cursor lay before the start of its partition when the source was opened.",
    LostWhileRead "lost-while-read" "A reader found that its next messages were deleted.",
    BeyondEndTolerated "beyond-end-tolerated" "A cursor lay beyond the end of its partition, for now.",
    BeyondEndIsLoss "beyond-end-is-loss" "A cursor lay beyond the end of its partition in too many answers in a row.",
    PartitionAbsent "partition-absent" "Metadata lacked a partition that has a cursor.",
    PartitionAdded "partition-added" "A known topic got a new partition.",
    StartedAtLatest "started-at-latest" "A pipeline began at the end of its partitions.",
    OpenedWhileStaging "opened-while-staging" "A source was opened while a batch of its pipeline was being staged.",
    FetchedDuringMetadata "fetched-during-metadata" "Extracts came while a metadata request was out, which does not verify them.",
    IdleMetadata "idle-metadata" "Metadata was requested although no message had come.",
    StoppedWithFetched "stopped-with-fetched" "A source was closed with extracts that were not staged; they are fetched again.",
    FailureForgotten "failure-forgotten" "A pipeline was stopped or dropped before the record of its failure was staged.",
    RewoundTo "rewound-to" "Cursors were set by a client.",
    RewoundToEnds "rewound-to-ends" "Cursors and topic id were removed by a client.",
    // ---- Shards ----
    KeyedRowsReplayed "keyed-rows-replayed" "Recovery replayed rows that replace others.",
    RowsUndone "rows-undone" "Staged rows were undone.",
    DeletionsUndone "deletions-undone" "Staged deletions were undone.",
    MergeMovedStaged "merge-moved-staged" "A merge moved rows whose deletion was staged and not published.",
    MergedStagedDeletion "merged-staged-deletion" "A merge copied a row that was deleted at the tip and live for readers.",
    SmallChunksMerged "small-chunks-merged" "Small chunks were merged into one.",
    SparseChunksRewritten "sparse-chunks-rewritten" "Chunks of mostly deleted rows were rewritten.",
    TableGoneInPublication "table-gone-in-publication" "A publication contained rows of a table and, in a later record, its DROP.",
    TipViewed "tip-viewed" "A statement read rows that were staged and not published.",
    DeletionsShared "deletions-shared" "A view shared the deletion bitmap of the view before it.",
    KeysForgotten "keys-forgotten" "Rows of a keyed table were deleted without a new version.",
    DuplicateRefused "duplicate-refused" "A row was refused because its key existed.",
    Folded "folded" "Updates were computed as folds.",
    FoldUnfit "fold-unfit" "A fold found a row to refuse, and its key was computed again in rounds.",
    ManyRounds "many-rounds" "Several rows of one key were updated one after another.",
}

/// Counts a pass through a mark.
#[inline(always)]
pub fn reached(mark: CoverageMark) {
    #[cfg(feature = "coverage")]
    counted::count(mark);
    #[cfg(not(feature = "coverage"))]
    let _ = mark;
}

#[cfg(feature = "coverage")]
pub use counted::{MarkCounts, so_far, take};

#[cfg(feature = "coverage")]
mod counted {
    use std::cell::Cell;

    use super::CoverageMark;

    const COUNT: usize = CoverageMark::ALL.len();

    thread_local! {
        static COUNTS: [Cell<u64>; COUNT] = const { [const { Cell::new(0) }; COUNT] };
    }

    pub(super) fn count(mark: CoverageMark) {
        COUNTS.with(|counts| {
            let count = &counts[mark as usize];
            count.set(count.get() + 1);
        });
    }

    /// This thread's counts since the last call, which also resets them.
    pub fn take() -> MarkCounts {
        MarkCounts(COUNTS.with(|counts| std::array::from_fn(|mark| counts[mark].take())))
    }

    /// This thread's count of one mark since the last reset.
    pub fn so_far(mark: CoverageMark) -> u64 {
        COUNTS.with(|counts| counts[mark as usize].get())
    }

    /// How often each mark was passed.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct MarkCounts([u64; COUNT]);

    impl Default for MarkCounts {
        fn default() -> MarkCounts {
            MarkCounts([0; COUNT])
        }
    }

    impl MarkCounts {
        /// How often this mark was passed.
        pub fn count(&self, mark: CoverageMark) -> u64 {
            self.0[mark as usize]
        }

        /// Adds the counts of another run.
        pub fn add(&mut self, other: &MarkCounts) {
            self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
        }

        /// Mark and count, for each mark.
        pub fn each(&self) -> impl Iterator<Item = (CoverageMark, u64)> + '_ {
            CoverageMark::ALL.iter().map(|mark| (*mark, self.count(*mark)))
        }
    }
}
