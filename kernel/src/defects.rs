//! Seeded defects: realistic bugs, each behind a switch, to show that the simulator finds them. In every normal build
//! all switches are constant `false` and compile to nothing. With the feature `defects` each thread selects its active
//! defect. The search for them is in the simulator (`sim bugs`).

#![allow(clippy::disallowed_types, reason = "a switch for tests, in no build that is shipped")]

/// The faults that a defect needs to show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// None: the defect shows without any fault.
    Logic,
    /// One fault, of any kind.
    NeedsFault,
    /// Two kinds of faults in one run. Faults of one kind alone do not show the defect.
    NeedsTwoFaults,
}

/// The description of a seeded defect.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Name, in kebab case.
    pub name: &'static str,
    /// The defect, in one sentence.
    pub what: &'static str,
    /// Where such a bug has happened, or the code that it is easy to write in.
    pub origin: &'static str,
    /// The faults that it needs to show.
    pub class: Class,
    /// For a defect that needs two kinds of faults: the simulator's names of two kinds that suffice together.
    pub together: &'static [&'static str],
    /// The invariant that the defect breaks.
    pub invariant: &'static str,
}

/// Declares an enum of seeded defects: the kernel's own, or those of the simulated world.
#[macro_export]
macro_rules! seeded_defects {
    ($(#[$doc:meta])* $enum:ident {
        $($bug:ident $name:literal $class:ident $(($first:literal $second:literal))? $invariant:literal,
            $what:literal, $origin:literal;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum $enum {
            $(#[doc = $what] $bug,)*
        }

        impl $enum {
            /// All defects.
            pub const ALL: &[$enum] = &[$($enum::$bug,)*];

            /// The description.
            pub fn about(self) -> $crate::defects::About {
                match self {
                    $($enum::$bug => $crate::defects::About {
                        name: $name,
                        what: $what,
                        origin: $origin,
                        class: $crate::defects::Class::$class,
                        together: &[$($first, $second)?],
                        invariant: $invariant,
                    },)*
                }
            }
        }
    };
}

seeded_defects! {
    /// A seeded defect of the kernel.
    Defect {
        // ---- Offsets and epochs ----
        CursorOffByOne "cursor-off-by-one" Logic "exactly once",
            "The stored cursor is the last offset read, not the next one.",
            "risingwave#5192 (A18)";
        WatermarkLowered "watermark-lowered" NeedsFault "exactly once",
            "Only the last message is recognised as redelivered. An earlier one is read again and moves the position back.",
            "iceberg#17340 (A19)";
        NoProgressOverHoles "no-progress-over-holes" NeedsFault "live",
            "An empty fetch moves no position, so a hole at the end of a partition is never passed.",
            "KAFKA-13194 (A8)";
        LeaderEpochForgotten "leader-epoch-forgotten" NeedsFault "honest",
            "The leader epoch is not stored with the offset: after a restart a truncated history is not detected.",
            "KAFKA-7747 (A9)";
        EpochNotChecked "epoch-not-checked" NeedsFault "fenced",
            "Deliveries of an older epoch are accepted.",
            "redpanda connect#4009 (A1)";
        StaleFetchAfterSetOffsets "stale-fetch-after-set-offsets" NeedsFault "fenced",
            "After SET OFFSETS, deliveries of an older epoch are accepted for the new generation.",
            "parallel-consumer#365 (A1)";
        EpochReused "epoch-reused" NeedsFault "fenced",
            "The epoch of a retry is not stored, so the next retry has the same one.",
            "iceberg#17637 (A1)";
        RewindKeepsGeneration "rewind-keeps-generation" Logic "monotonic",
            "SET OFFSETS begins no new generation: one generation consumes a range twice.",
            "the kernel's own: invariant 1";
        AlterForgetsOffsets "alter-forgets-offsets" Logic "monotonic",
            "ALTER, and CREATE OR REPLACE of the same source, remove the offsets: all messages are loaded again.",
            "this program once, found from outside";
        AlterKeepsFetched "alter-keeps-fetched" Logic "fenced",
            "ALTER of a running pipeline keeps the extracts of the older definition.",
            "the kernel's own: definition epochs";
        AlterOpensOldDefinition "alter-opens-old-definition" Logic "exactly once",
            "ALTER of a running pipeline reopens its source with the old definition.",
            "the kernel's own: definition epochs";
        AlterForgetsPause "alter-forgets-pause" Logic "bounded",
            "ALTER of a running pipeline resets the time of its last batch: the next one may follow at once.",
            "this program once, found by its oracle of paces";
        DropLeavesSource "drop-leaves-source" Logic "bounded",
            "DROP of a running pipeline leaves its source open.",
            "the kernel's own: `Coordinator::drop_pipeline`";
        DefinitionSeesPublished "definition-sees-published" Logic "honest",
            "CREATE TABLE looks up its name in the published catalog, where a table of an unpublished DROP still has it.",
            "the kernel's own: definitions that follow one another in flight";
        StoppedAtStartRuns "stopped-at-start-runs" NeedsFault "bounded",
            "A term that must begin with pipelines stopped logs that they are stopped, but opens their sources.",
            "the kernel's own: `Recovery::finish`";
        LossIsReset "loss-is-reset" NeedsFault "honest",
            "A position that retention removed is set to the oldest message without an error.",
            "pinot#19359 (A5)";
        BeyondEndIsLoss "beyond-end-is-loss" NeedsFault "honest",
            "The first metadata with an end before the cursor counts as truncation.",
            "redpanda#5435 (A10)";
        BracketNotClosed "bracket-not-closed" Logic "exactly once",
            "A fetched range is committed without a second check of the topic id.",
            "KAFKA-12257 (A6)";
        VerifiedTooEarly "verified-too-early" Logic "exactly once",
            "A metadata request also verifies extracts that were fetched after it began.",
            "materialize#20268 (A6)";
        TopicUncheckedAtOpen "topic-unchecked-at-open" NeedsFault "honest",
            "When a source is opened, its topic id is not compared with that of its cursors.",
            "quickwit#1602 (A6)";
        TopicIdNotRecovered "topic-id-not-recovered" NeedsTwoFaults("recreated-topic" "kill") "honest",
            "When recovery opens a source, its topic id is not compared with that of its cursors.",
            "quickwit#1602 (A6)";
        NewPartitionAtEnd "new-partition-at-end" NeedsFault "exactly once",
            "A new partition of a known topic begins at its end, as START AT LATEST requires only for the first ones.",
            "FLINK-36780 (A11)";
        AbsentPartitionDropped "absent-partition-dropped" NeedsFault "exactly once",
            "A partition that is absent from metadata loses its cursor, and is fetched again from the start when it is back.",
            "FLINK-6006 (A12)";
        RetryKeepsExpected "retry-keeps-expected" NeedsFault "live",
            "After a retry the partitions still count as being fetched.",
            "the kernel's own: `ActiveSource::enter`";
        RetryKeepsVerifying "retry-keeps-verifying" NeedsFault "exactly once",
            "A retry keeps the extracts under verification and fetches their messages again.",
            "vector#10434 (A1)";
        PoisonCountedTwice "poison-counted-twice" NeedsFault "exactly once",
            "A retry keeps extracts that contain only refused messages, and fetches these messages again.",
            "librdkafka v1.9.0 (A16)";
        RetryShiftWraps "retry-shift-wraps" NeedsFault "bounded",
            "The pause before a retry is shifted by as many bits as there were retries: after 64 it is the shortest again.",
            "the kernel's own: `Coordinator::retry_later`";
        StagedCursorsForgotten "staged-cursors-forgotten" NeedsFault "exactly once",
            "A source that is opened while its batch is staged begins at the cursor before that batch.",
            "the kernel's own: `Coordinator::cursors`";
        // ---- Extractors ----
        RefusedByPlace "refused-by-place" NeedsFault "exactly once",
            "A refused message gets the raw message at its index in the push, which also counts redelivered messages.",
            "the decoder's own: `Extractor::push_admitted`";
        RedeliveredWithinPush "redelivered-within-push" NeedsFault "exactly once",
            "Messages are compared with the position before the push: a message that is twice in one push is admitted twice.",
            "the decoder's own: `OrdinalFilter::admit`";
        FullChunkSkipsRest "full-chunk-skips-rest" Logic "exactly once",
            "The extract of a chunk that becomes full within a push ends behind the whole push.",
            "the decoder's own: `Extractor::close`";
        JoinedFromStart "joined-from-start" Logic "exactly once",
            "Rows after one that fails in SET or WHERE are assigned to the first messages.",
            "the decoder's own: `Assembly::join`";
        RowsOfFailedStay "rows-of-failed-stay" Logic "exactly once",
            "If one row of a message fails in SET or WHERE, the other rows of the message are loaded.",
            "the decoder's own: `Rows::drop_messages`";
        OffsetsCutShort "offsets-cut-short" Logic "exactly once",
            "Offsets of rows are truncated to 32 bits.",
            "the decoder's own: `Assembly::route`";
        // ---- The log ----
        StampedTooFar "stamped-too-far" NeedsFault "recovered",
            "After a sync, `synced_through` also covers records that were appended during the sync.",
            "the kernel's own: `synced_through`";
        SecondSyncBelieved "second-sync-believed" NeedsTwoFaults("failed-sync" "power-cut") "durable",
            "After a failed sync recovery syncs again and trusts the result, without rewriting the records.",
            "B3: pages are clean after a failed sync, and not on the disk";
        RecoveredUnsynced "recovered-unsynced" NeedsTwoFaults("kill" "power-cut") "durable",
            "Recovery shows the records that it found in the page cache without making them durable.",
            "B8: a process kill keeps the page cache, a power cut does not";
        EarlierLogFilesUnsynced "earlier-log-files-unsynced" NeedsTwoFaults("failed-sync" "power-cut") "durable",
            "Recovery syncs only the last log file and not the ones before it.",
            "B2: a sync covers its range alone; B8";
        BeforeLastBelieved "before-last-believed" NeedsTwoFaults("failed-sync" "power-cut") "durable",
            "Recovery assumes that all records before the last one are durable, whatever `synced_through` it has.",
            "the kernel's own: `Scan::unsynced`";
        RewrittenUnsynced "rewritten-unsynced" NeedsTwoFaults("kill" "power-cut") "durable",
            "Recovery rewrites the records and leaves their sync to the first sync of the new term.",
            "B8; the kernel's own: step 3 of recovery";
        ZeroTailIsRecord "zero-tail-is-record" NeedsFault "recovered",
            "A record whose payload ends in preallocated zeros counts as whole.",
            "B4: a preallocated zero tail is durable apart from the data";
        PayloadUnverified "payload-unverified" NeedsFault "recovered",
            "Recovery accepts a whole header and does not check the payload.",
            "B1: page n + 1 may survive without n";
        CorruptionIsTorn "corruption-is-torn" NeedsTwoFaults("bit-rot" "kill") "honest",
            "A damaged record that later records prove synced is classified as a torn tail.",
            "B6: demand detection and a clear refusal";
        FirstEvidenceAlone "first-evidence-alone" NeedsTwoFaults("bit-rot" "kill") "honest",
            "Behind a bad record only the first whole header is checked for durability evidence.",
            "B6; the kernel's own: `find_evidence`";
        UnreadableIsEnd "unreadable-is-end" NeedsTwoFaults("failed-read" "kill") "recovered",
            "A failed read during recovery counts as the end of the log.",
            "B7: an error of a call is no answer";
        UnlistedIsEmpty "unlisted-is-empty" NeedsTwoFaults("failed-call" "kill") "recovered",
            "A directory that cannot be listed counts as empty.",
            "B7: an error of a call is no answer";
        TornIsCorruption "torn-is-corruption" NeedsFault "recovered",
            "Any whole record behind a bad one makes recovery refuse the log.",
            "B6: a torn write is legal even in front of a valid neighbour";
        EvidenceOffByOne "evidence-off-by-one" NeedsFault "recovered",
            "A record with `synced_through` just before the bad record counts as evidence for the bad record.",
            "the kernel's own: `synced_through >= s`";
        OpenRecordUnsynced "open-record-unsynced" NeedsFault "durable",
            "A term begins before its open record is durable.",
            "the kernel's own: step 4 of recovery";
        SyncForgetsLogFile "sync-forgets-log-file" NeedsFault "durable",
            "A sync covers the newest log file and leaves the end of the one before it.",
            "B2: a sync covers its range alone";
        SyncForgetsAppended "sync-forgets-appended" Logic "durable",
            "Records that were appended during a sync are in no later sync.",
            "B2: a sync covers its range alone";
        LaterLogFilesLeft "later-log-files-left" NeedsFault "live",
            "Recovery keeps the log files behind the end of the log, which block the creation of later ones.",
            "B4: a recycled log file's stale bytes";
        CreationNotResumed "creation-not-resumed" NeedsFault "recovered",
            "An interrupted creation counts as a log without its open record.",
            "the kernel's own: `is_created`";
        HalfChecksumIsDamage "half-checksum-is-damage" NeedsFault "recovered",
            "A creation that was interrupted within its header's checksum counts as a damaged log.",
            "this kernel once, found by its simulator";
        RecoveredSequenceReused "recovered-sequence-reused" NeedsFault "recovered",
            "The first record of a term gets the sequence of the last recovered one.",
            "ClickHouse#1690 (A17)";
        TermNotBumped "term-not-bumped" NeedsFault "durable",
            "A new process continues with the term of the one before.",
            "the kernel's own: the chain of records";
        ManifestUnread "manifest-unread" NeedsTwoFaults("lost-log-file" "kill") "durable",
            "Recovery takes the last record on disk for the end of the log and ignores the manifest.",
            "this kernel once, found from outside: its last log file was removed, and it started";
        EmptiedIsNew "emptied-is-new" NeedsTwoFaults("emptied-directory" "kill") "durable",
            "A directory without log files counts as new even if it has a manifest.",
            "this kernel once, found from outside: all log files were removed, and it started";
        NewLogFileUnnamed "new-log-file-unnamed" NeedsTwoFaults("lost-log-file" "kill") "durable",
            "A new log file is named in a manifest only when the log is idle, not before its records count as durable.",
            "the kernel's own: `LogWriter::is_manifest_due`";
        NoRoomIsFailure "no-room-is-failure" NeedsFault "live",
            "A disk without space for the next log file counts as a failed log and ends the process.",
            "this kernel once, found from outside: a disk that filled up under load ended the process";
        LongPartOverItself "long-part-over-itself" Logic "recovered",
            "A part that is copied in several steps overwrites itself.",
            "the kernel's own: `LogWriter::write_payload`, of parts longer than `LogLimits::copy_len`";
        ClearingLosesPlace "clearing-loses-place" NeedsFault "recovered",
            "Clearing a tail does not advance over ranges that are already zero, so the bytes behind them stay.",
            "the kernel's own: `Scan::clear`, of tails longer than `LogLimits::clear_len`";
        ManifestInOneSlot "manifest-in-one-slot" NeedsFault "recovered",
            "A manifest overwrites the one before it.",
            "the kernel's own: `Manifest::slot`";
        ReplayForgetsDeletions "replay-forgets-deletions" Logic "recovered",
            "Recovery ignores pieces that only delete rows.",
            "the kernel's own: `Shard::replay_piece`";
        ColumnsCountedShort "columns-counted-short" Logic "recovered",
            "The number of columns of a piece is stored in eight bits.",
            "the kernel's own: `columns::encode`";
        // ---- Batches and publishing ----
        DurableTooFar "durable-too-far" Logic "durable",
            "After a sync, records that were appended during the sync count as durable.",
            "ClickHouse#7256 (A17)";
        OffsetsAheadOfSync "offsets-ahead-of-sync" Logic "durable",
            "The published cursors move when a batch is appended, before it is synced.",
            "ClickHouse#6597 (A17)";
        ViewsShownOneByOne "views-shown-one-by-one" Logic "atomic",
            "Each shard's new view is shown as soon as it arrives.",
            "the kernel's own: invariant 2";
        AnswerBeforePublish "answer-before-publish" Logic "durable",
            "Clients are answered before the snapshot with their rows is published.",
            "the kernel's own: order of effects";
        CreditLeaked "credit-leaked" Logic "live",
            "A publication of several records gives back only the credit of the last one.",
            "the kernel's own: invariant 9";
        TableLockIgnored "table-lock-ignored" Logic "exactly once",
            "Batches are staged on a table under a table lock: an update is lost.",
            "the kernel's own: table locks";
        HolderTurnedAway "holder-turned-away" Logic "live",
            "If the queue is full, a request of a table lock's holder is refused too, and the table lock stays.",
            "this kernel once, found by its simulator";
        TableLockReadsPublished "table-lock-reads-published" Logic "exactly once",
            "A statement under a table lock reads the published state, not the staged tip.",
            "the kernel's own: table locks";
        AbandonForgetsShard "abandon-forgets-shard" Logic "exactly once",
            "A failed statement is abandoned only on the first of its shards.",
            "the kernel's own: `abandon_write`";
        AbandonForgetsDeletions "abandon-forgets-deletions" Logic "exactly once",
            "A failed statement is abandoned on shards that got rows, and not on shards that only deleted rows.",
            "the kernel's own: `abandon_write`, for an UPDATE that moves a row to a key of another shard";
        ErrorLimitPerBatch "error-limit-per-batch" Logic "honest",
            "The limit of dead letters is applied to each batch separately.",
            "the kernel's own: `settle_batch`";
        // ---- Shards ----
        DeletionsSharedBetweenSnapshots "deletions-shared-between-snapshots" Logic "exactly once",
            "A new snapshot modifies the deletion bitmap of the one before.",
            "the kernel's own: `Chunk::publish_deletion`";
        RoutedByFirstColumn "routed-by-first-column" Logic "placed",
            "Rows with a key of several columns are routed by the hash of the first column.",
            "the kernel's own: invariant 5";
        UndoForgetsKeys "undo-forgets-keys" Logic "exactly once",
            "Undoing a deletion restores the row but not its key in the index.",
            "the kernel's own: `Contents::undo`";
        KeysHashedAgain "keys-hashed-again" Logic "exactly once",
            "If there are more keys than one hashing step takes, each step hashes the first ones again.",
            "the kernel's own: `Contents::key_hashes`, of more rows than `ShardLimits::keys_at_once`";
        RoutedWithinEight "routed-within-eight" Logic "placed",
            "No row is routed to a shard beyond the eighth.",
            "the kernel's own: `route::shard_of`";
        NansDiffer "nans-differ" Logic "exactly once",
            "NaN keys with different bits count as different keys.",
            "the kernel's own: `route::canonical_bits`";
        SlotsLeak "slots-leak" Logic "bounded",
            "The slot of a chunk that was merged away or abandoned is never used again.",
            "the kernel's own: `Contents::take_slot`";
        FoldStopsShort "fold-stops-short" Logic "exactly once",
            "A fold adds up only the first 1,024 rows of a batch.",
            "the kernel's own: `fold::sum`";
        KeysCountedShort "keys-counted-short" Logic "exactly once",
            "The keys of a batch are counted in 16 bits.",
            "the kernel's own: `outcome::group`";
        MergeForgetsStaged "merge-forgets-staged" Logic "exactly once",
            "A merge moves rows with a staged deletion, and the deletion still refers to their old location.",
            "the kernel's own: `Shard::merge`";
        MergeRevivesRows "merge-revives-rows" Logic "exactly once",
            "A merge restores rows that are deleted at the staged tip.",
            "the kernel's own: `merged_chunk`";
        ReplaceKeepsFirst "replace-keeps-first" Logic "exactly once",
            "If a batch has several rows of a key, the first one replaces the old row, not the last.",
            "the kernel's own: rows are taken one by one";
        OverflowSwallowed "overflow-swallowed" Logic "exactly once",
            "A sum that overflows keeps its old value, and the row counts as applied.",
            "the kernel's own: `fold::sum`";
        LongTextCut "long-text-cut" Logic "exactly once",
            "An update truncates a text that is too long for its column, and the row counts as applied.",
            "the kernel's own: `expr::eval`; what an explicit cast does in SQL";
    }
}

/// Whether this defect is active.
#[cfg(not(feature = "defects"))]
#[inline(always)]
pub const fn is(_bug: Defect) -> bool {
    false
}

#[cfg(feature = "defects")]
pub use switched::{activate, is};

#[cfg(feature = "defects")]
mod switched {
    use std::cell::Cell;

    use super::Defect;

    thread_local! {
        static ACTIVE: Cell<Option<Defect>> = const { Cell::new(None) };
    }

    /// Whether this defect is active.
    #[inline]
    pub fn is(bug: Defect) -> bool {
        ACTIVE.get() == Some(bug)
    }

    /// Makes this defect, and no other, active on this thread.
    pub fn activate(bug: Option<Defect>) {
        ACTIVE.set(bug);
    }
}
