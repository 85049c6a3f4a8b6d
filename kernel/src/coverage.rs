//! Named points that a test run must have come through, or it proves nothing about them: the kernel's rare and subtle places. With
//! the feature `coverage` every passing is counted per thread; without it nothing is left of a mark. What is done with the
//! counts (a gate: each must be reached) lives in the simulator.

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
            /// All of them.
            pub const ALL: &[CoverageMark] = &[$(CoverageMark::$name,)*];

            /// Its name, in kebab case.
            pub fn name(self) -> &'static str {
                match self {
                    $(CoverageMark::$name => $kebab,)*
                }
            }

            /// What happens there, in one sentence.
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
    TornTailBeforeRecord "torn-tail-before-record" "Behind a torn tail stood a whole record's header that vouched for nothing.",
    TornPayload "torn-payload" "A record's header was whole and its payload was not.",
    CorruptionRefused "corruption-refused" "A later record called a bad one synced: the log was refused.",
    LossRefused "loss-refused" "The log ended before the record that the manifest names: it was refused.",
    StrangeRecord "strange-record" "A whole record lay where the next one belongs and did not follow the last one.",
    LogFileCrossed "log-file-crossed" "Recovery went on from one log file into the next.",
    LaterLogFileRemoved "later-log-file-removed" "Recovery removed a log file behind the end of the log.",
    UnsyncedRewritten "unsynced-rewritten" "Recovery wrote accepted records once more that nothing called synced.",
    RewriteSpansLogFiles "rewrite-spans-log-files" "The records that recovery wrote once more lay in more than one log file.",
    CreationResumed "creation-resumed" "A creation that was interrupted was started over.",
    // ---- The log: writing it ----
    LogFileBegun "log-file-begun" "A record did not fit and began the next log file.",
    RecordLongerThanLogFile "record-longer-than-log-file" "A record was longer than a log file usually is.",
    SyncSpansLogFiles "sync-spans-log-files" "One sync had to cover more than one log file.",
    AppendedDuringSync "appended-during-sync" "Records were appended while a sync went on that does not cover them.",
    NoRoomForLogFile "no-room-for-log-file" "There was no room for the log file that a record would have begun.",
    ManifestWritten "manifest-written" "A sync was to bring a manifest.",
    SyncFailed "sync-failed" "A sync failed, and the writer was of no use any more.",
    // ---- The coordinator ----
    HaltedWithRecordsInFlight "halted-with-records-in-flight" "The log failed while records were in flight.",
    ClockWentBack "clock-went-back" "An input came at an earlier time than the one before.",
    AlteredWhileRunning "altered-while-running" "A pipeline was altered while it ran.",
    StoppedAtStart "stopped-at-start" "A life began with its pipelines stopped, as it was told.",
    WindowFull "window-full" "No record was started because as many as may be were in flight.",
    ReadOnlyWhileStaging "read-only-while-staging" "The disk fell below its reserve while a record was staged.",
    ReadWriteAgain "read-write-again" "There was room on the disk again.",
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
    SecondRound "second-round" "Rows that shards refused were set aside in a second round of staging.",
    RowsIgnored "rows-ignored" "ON DUPLICATE KEY's rule dropped rows of a batch.",
    ErrorLimitReached "error-limit-reached" "A batch set aside more than its pipeline's limit, which stopped it.",
    WriteAbandoned "write-abandoned" "A client's record was abandoned on the shards that had staged it.",
    SeveralRecordsPublished "several-records-published" "One publication showed several records.",
    PublishedWithoutShards "published-without-shards" "A record that touched no shard was published.",
    SyncedWhilePublishing "synced-while-publishing" "A sync ended while shards were still swapping their views.",
    OldSnapshotHeld "old-snapshot-held" "A publication found a reader of an older snapshot.",
    SyncMarkerWritten "sync-marker-written" "A sync marker was written.",
    // ---- Clients ----
    TableLockHeldUpRequest "table-lock-held-up-request" "A request waited for somebody else's table lock.",
    TableLockHeldUpBatch "table-lock-held-up-batch" "A batch that was due waited for a table lock.",
    TableLockOverUnsynced "table-lock-over-unsynced" "A table lock was set up over records that were not durable yet.",
    RequestOvertook "request-overtook" "A request overtook others that it has no table in common with.",
    RequestTurnedAway "request-turned-away" "A request was turned away because too many waited.",
    ReadOnlyRefused "read-only-refused" "A request was refused because the disk is almost full.",
    // ---- Sources ----
    OlderEpochDropped "older-epoch-dropped" "A message of a source's older epoch was dropped.",
    StaleExtractDropped "stale-extract-dropped" "What an older epoch had extracted was dropped.",
    RangeDoesNotFollow "range-does-not-follow" "An extract did not follow the one before; the source was opened again.",
    Retried "retried" "A source that failed was opened again after a pause.",
    RetryPauseLongest "retry-pause-longest" "The pause before the next try had reached its limit.",
    TopicChangedAtOpen "topic-changed-at-open" "A source was opened and its topic was another one.",
    TopicChangedWhileRead "topic-changed-while-read" "The second reading of a bracket found another topic.",
    LostAtOpen "lost-at-open" "A cursor lay before the start of its partition when the source was opened.",
    LostWhileRead "lost-while-read" "A reader found that what it was to read is gone.",
    BeyondEndTolerated "beyond-end-tolerated" "A cursor lay beyond the end of its partition, for now.",
    BeyondEndIsLoss "beyond-end-is-loss" "A cursor lay beyond the end of its partition too often.",
    PartitionAbsent "partition-absent" "A reading left out a partition that has a cursor.",
    PartitionAdded "partition-added" "A partition came to a topic that was known.",
    StartedAtLatest "started-at-latest" "A pipeline began at the end of its partitions.",
    OpenedWhileStaging "opened-while-staging" "A source was opened while a batch of its pipeline was being staged.",
    FetchedDuringMetadata "fetched-during-metadata" "Extracts came during a reading, which does not prove them.",
    IdleMetadata "idle-metadata" "A topic was read although nothing new had come from it.",
    StoppedWithFetched "stopped-with-fetched" "A source was closed with extracts that were not staged yet, which are fetched again.",
    FailureForgotten "failure-forgotten" "A pipeline was stopped or dropped before the record of its failure was staged.",
    RewoundTo "rewound-to" "Cursors were set by a client.",
    RewoundToEnds "rewound-to-ends" "Cursors and topic were forgotten by a client's wish.",
    // ---- Shards ----
    KeyedRowsReplayed "keyed-rows-replayed" "Recovery replayed rows that take the place of others.",
    RowsUndone "rows-undone" "Staged rows were undone.",
    DeletionsUndone "deletions-undone" "Staged deletions were undone.",
    MergeMovedStaged "merge-moved-staged" "A merge moved rows whose deletion was staged and not published.",
    MergedStagedDeletion "merged-staged-deletion" "A merge copied a row that was gone at the tip and lived for readers.",
    SmallChunksMerged "small-chunks-merged" "Small chunks were merged into one.",
    SparseChunksRewritten "sparse-chunks-rewritten" "Chunks that were mostly dead were rewritten.",
    TableGoneInPublication "table-gone-in-publication" "A publication showed rows of a table and, in a later record, its end.",
    TipViewed "tip-viewed" "A statement looked at rows that are staged and not published.",
    DeletionsShared "deletions-shared" "A view reused the deletions that the one before it had frozen.",
    KeysForgotten "keys-forgotten" "Rows of a keyed table went without a new version.",
    DuplicateRefused "duplicate-refused" "A row was refused because its key is there.",
    Folded "folded" "Updates that are folds were carried out as such.",
    FoldUnfit "fold-unfit" "A fold met a row that has to be refused, and its key was done again in rounds.",
    ManyRounds "many-rounds" "Several rows of one key were updated one after another.",
}

/// The kernel comes through a mark.
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

    /// What this thread has counted since it was last asked; the counts begin anew.
    pub fn take() -> MarkCounts {
        MarkCounts(COUNTS.with(|counts| std::array::from_fn(|mark| counts[mark].take())))
    }

    /// How often this thread came through a mark since then.
    pub fn so_far(mark: CoverageMark) -> u64 {
        COUNTS.with(|counts| counts[mark as usize].get())
    }

    /// How often each mark was reached.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct MarkCounts([u64; COUNT]);

    impl Default for MarkCounts {
        fn default() -> MarkCounts {
            MarkCounts([0; COUNT])
        }
    }

    impl MarkCounts {
        /// How often this one was.
        pub fn count(&self, mark: CoverageMark) -> u64 {
            self.0[mark as usize]
        }

        /// Adds another run's.
        pub fn add(&mut self, other: &MarkCounts) {
            self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
        }

        /// Probe and count of each.
        pub fn each(&self) -> impl Iterator<Item = (CoverageMark, u64)> + '_ {
            CoverageMark::ALL.iter().map(|mark| (*mark, self.count(*mark)))
        }
    }
}
