//! Seeded defects: defects that somebody could have written, each behind a switch, to show that the simulator sees them. In every
//! normal build all switches are constant `false` and nothing is left of them. With the feature `defects` a thread says which
//! bug is there. How they are looked for lives in the simulator (`sim bugs`).

#![allow(clippy::disallowed_types, reason = "a switch for tests, in no build that is shipped")]

/// What it takes for a bug to show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Nothing: it is wrong without any fault.
    Logic,
    /// A fault, of whatever kind.
    NeedsFault,
    /// Two kinds of faults in one run: whatever happens of one kind alone does not show it.
    NeedsTwoFaults,
}

/// A seeded defect, described.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Name, in kebab case.
    pub name: &'static str,
    /// What is broken.
    pub what: &'static str,
    /// Where such a thing has happened, or what makes it easy to write.
    pub origin: &'static str,
    /// What it takes to see it.
    pub class: Class,
    /// Where it takes two kinds of faults: the simulator's names of two that are enough together.
    pub together: &'static [&'static str],
    /// The invariant that should not hold any more.
    pub invariant: &'static str,
}

/// Declares an enum of seeded defects. For the kernel's own, and for those of the world around it.
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
            /// All of them.
            pub const ALL: &[$enum] = &[$($enum::$bug,)*];

            /// What it is.
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
            "The cursor that is stored is the last offset read, not the next one.",
            "risingwave#5192 (A18)";
        WatermarkLowered "watermark-lowered" NeedsFault "exactly once",
            "Only the very last message is known again: one from before it is read once more and takes the position back.",
            "iceberg#17340 (A19)";
        NoProgressOverHoles "no-progress-over-holes" NeedsFault "live",
            "An empty fetch moves no position, so a hole at the end of a partition is never passed.",
            "KAFKA-13194 (A8)";
        LeaderEpochForgotten "leader-epoch-forgotten" NeedsFault "honest",
            "The leader epoch is not kept beside the offset, so that after a restart nobody notices another history.",
            "KAFKA-7747 (A9)";
        EpochNotChecked "epoch-not-checked" NeedsFault "fenced",
            "What an older epoch delivers is taken.",
            "redpanda connect#4009 (A1)";
        StaleFetchAfterSetOffsets "stale-fetch-after-set-offsets" NeedsFault "fenced",
            "After SET OFFSETS what an older epoch still delivers is taken for the new run's.",
            "parallel-consumer#365 (A1)";
        EpochReused "epoch-reused" NeedsFault "fenced",
            "The epoch of a retry is not remembered, so the next retry has the same one.",
            "iceberg#17637 (A1)";
        RewindKeepsGeneration "rewind-keeps-generation" Logic "monotonic",
            "SET OFFSETS begins no new run: one run consumes a range twice.",
            "the kernel's own: invariant 1";
        AlterForgetsOffsets "alter-forgets-offsets" Logic "monotonic",
            "ALTER, and CREATE OR REPLACE of the same source, forget the offsets: all of it is counted once more.",
            "this program once, found from outside";
        AlterKeepsFetched "alter-keeps-fetched" Logic "fenced",
            "ALTER of a running pipeline keeps what the older definition extracted.",
            "the kernel's own: definition epochs";
        AlterOpensOldDefinition "alter-opens-old-definition" Logic "exactly once",
            "ALTER of a running pipeline opens its source anew with the definition that it had.",
            "the kernel's own: definition epochs";
        AlterForgetsPause "alter-forgets-pause" Logic "bounded",
            "ALTER of a running pipeline forgets when its last batch was: the next one may follow at once.",
            "this program once, found by its oracle of paces";
        DropLeavesSource "drop-leaves-source" Logic "bounded",
            "DROP of a pipeline that runs leaves its source open.",
            "the kernel's own: `Coordinator::drop_pipeline`";
        DefinitionSeesPublished "definition-sees-published" Logic "honest",
            "CREATE TABLE looks for its name among the tables that are published: one that is being dropped still has it.",
            "the kernel's own: definitions that follow one another in flight";
        StoppedAtStartRuns "stopped-at-start-runs" NeedsFault "bounded",
            "A life that is to begin with its pipelines stopped says so in the log and opens their sources all the same.",
            "the kernel's own: `Recovery::finish`";
        LossIsReset "loss-is-reset" NeedsFault "honest",
            "A position that retention has removed is silently set to the oldest message.",
            "pinot#19359 (A5)";
        BeyondEndIsLoss "beyond-end-is-loss" NeedsFault "honest",
            "The first reading that ends before the cursor is taken for truncation.",
            "redpanda#5435 (A10)";
        BracketNotClosed "bracket-not-closed" Logic "exactly once",
            "A fetched range is committed without a second reading of the topic id.",
            "KAFKA-12257 (A6)";
        VerifiedTooEarly "verified-too-early" Logic "exactly once",
            "A reading proves also what was fetched after it began.",
            "materialize#20268 (A6)";
        TopicUncheckedAtOpen "topic-unchecked-at-open" NeedsFault "honest",
            "A source that is opened does not compare the topic id with that of its cursors.",
            "quickwit#1602 (A6)";
        TopicIdNotRecovered "topic-id-not-recovered" NeedsTwoFaults("recreated-topic" "kill") "honest",
            "A source that recovery opens does not compare the topic id with that of its cursors.",
            "quickwit#1602 (A6)";
        NewPartitionAtEnd "new-partition-at-end" NeedsFault "exactly once",
            "A partition that comes to a known topic begins at its end, as START AT LATEST said of the first ones.",
            "FLINK-36780 (A11)";
        AbsentPartitionDropped "absent-partition-dropped" NeedsFault "exactly once",
            "A partition that a reading leaves out is forgotten, and fetched anew when it is there again.",
            "FLINK-6006 (A12)";
        RetryKeepsExpected "retry-keeps-expected" NeedsFault "live",
            "A retry still takes the partitions for fetched.",
            "the kernel's own: `SourceRun::forget_fetched`";
        RetryKeepsVerifying "retry-keeps-verifying" NeedsFault "exactly once",
            "A retry keeps what waited for its proof and fetches it again as well.",
            "vector#10434 (A1)";
        PoisonCountedTwice "poison-counted-twice" NeedsFault "exactly once",
            "A retry keeps extracts that hold nothing but refused messages, and fetches them again as well.",
            "librdkafka v1.9.0 (A16)";
        RetryShiftWraps "retry-shift-wraps" NeedsFault "bounded",
            "The pause before a retry is shifted by as many bits as there were retries: after 64 it is the shortest again.",
            "the kernel's own: `Coordinator::retry_later`";
        StagedCursorsForgotten "staged-cursors-forgotten" NeedsFault "exactly once",
            "A source opened while a batch of it is staged begins at the cursor before that batch.",
            "the kernel's own: `Coordinator::cursors`";
        // ---- Extractors ----
        RefusedByPlace "refused-by-place" NeedsFault "exactly once",
            "A refused message is paired with what lies in its place in the push, redelivered messages included.",
            "the decoder's own: `Extractor::push_admitted`";
        RedeliveredWithinPush "redelivered-within-push" NeedsFault "exactly once",
            "Messages are held against the position before the push: what comes twice within one passes twice.",
            "the decoder's own: `OffsetFilter::admit`";
        FullChunkSkipsRest "full-chunk-skips-rest" Logic "exactly once",
            "A chunk that is full in the midst of a push ends behind the whole push.",
            "the decoder's own: `Extractor::close`";
        JoinedFromStart "joined-from-start" Logic "exactly once",
            "Rows behind one that fails in SET or WHERE are taken for those of the first messages.",
            "the decoder's own: `Assembly::join`";
        RowsOfFailedStay "rows-of-failed-stay" Logic "exactly once",
            "Of a message of several rows of which one fails in SET or WHERE the others are loaded all the same.",
            "the decoder's own: `Rows::drop_messages`";
        OffsetsCutShort "offsets-cut-short" Logic "exactly once",
            "Offsets of rows are cut to 32 bits.",
            "the decoder's own: `Assembly::route`";
        // ---- The log ----
        StampedTooFar "stamped-too-far" NeedsFault "recovered",
            "When a sync ends, a record calls synced what was appended meanwhile.",
            "the kernel's own: `synced_through`";
        SecondSyncBelieved "second-sync-believed" NeedsTwoFaults("failed-sync" "power-cut") "durable",
            "After a failed sync recovery syncs again and believes it, without writing the records once more.",
            "B3: pages are clean after a failed sync, and not on the disk";
        RecoveredUnsynced "recovered-unsynced" NeedsTwoFaults("kill" "power-cut") "durable",
            "Recovery shows the records that it found in the page cache and makes nothing durable.",
            "B8: a process kill keeps the page cache, a power cut does not";
        EarlierLogFilesUnsynced "earlier-log-files-unsynced" NeedsTwoFaults("failed-sync" "power-cut") "durable",
            "Recovery makes durable what lies in the log file that it goes on in, and nothing in those before.",
            "B2: a sync covers its range alone; B8";
        BeforeLastBelieved "before-last-believed" NeedsTwoFaults("failed-sync" "power-cut") "durable",
            "Recovery takes all that lies before the last record for durable, whatever that record says.",
            "the kernel's own: `Scan::unsynced`";
        RewrittenUnsynced "rewritten-unsynced" NeedsTwoFaults("kill" "power-cut") "durable",
            "Recovery writes the records once more and leaves it to the first sync of the new life to make them durable.",
            "B8; the kernel's own: step 3 of recovery";
        ZeroTailIsRecord "zero-tail-is-record" NeedsFault "recovered",
            "A record whose payload ends in the zeros of preallocation is taken for whole.",
            "B4: a preallocated zero tail is durable apart from the data";
        PayloadUnverified "payload-unverified" NeedsFault "recovered",
            "Recovery believes a whole header and does not check the payload.",
            "B1: page n + 1 may survive without n";
        CorruptionIsTorn "corruption-is-torn" NeedsTwoFaults("bit-rot" "kill") "honest",
            "Damage to a record that others call synced is taken for a torn tail.",
            "B6: demand detection and a clear refusal";
        FirstEvidenceAlone "first-evidence-alone" NeedsTwoFaults("bit-rot" "kill") "honest",
            "Behind a bad record only the first whole header is asked whether it bears witness.",
            "B6; the kernel's own: `find_evidence`";
        UnreadableIsEnd "unreadable-is-end" NeedsTwoFaults("failed-read" "kill") "recovered",
            "A read that fails while the log is read back is taken for its end.",
            "B7: an error of a call is no answer";
        UnlistedIsEmpty "unlisted-is-empty" NeedsTwoFaults("failed-call" "kill") "recovered",
            "A directory that cannot be listed is taken for an empty one.",
            "B7: an error of a call is no answer";
        TornIsCorruption "torn-is-corruption" NeedsFault "recovered",
            "Any whole record behind a bad one makes the log refused.",
            "B6: a torn write is legal even in front of a valid neighbour";
        EvidenceOffByOne "evidence-off-by-one" NeedsFault "recovered",
            "A record that calls everything before the bad one synced is taken for a witness of the bad one.",
            "the kernel's own: `synced_through >= s`";
        OpenRecordUnsynced "open-record-unsynced" NeedsFault "durable",
            "A life begins before its open record is durable.",
            "the kernel's own: step 4 of recovery";
        SyncForgetsLogFile "sync-forgets-log-file" NeedsFault "durable",
            "A sync covers the newest log file and leaves the end of the one before it.",
            "B2: a sync covers its range alone";
        SyncForgetsAppended "sync-forgets-appended" Logic "durable",
            "What was appended during a sync is in no later sync.",
            "B2: a sync covers its range alone";
        LaterLogFilesLeft "later-log-files-left" NeedsFault "live",
            "Recovery leaves the log files behind the end of the log, which are in the way later.",
            "B4: a recycled log file's stale bytes";
        CreationNotResumed "creation-not-resumed" NeedsFault "recovered",
            "A creation that was interrupted is taken for a log that lost its open record.",
            "the kernel's own: `is_created`";
        HalfChecksumIsDamage "half-checksum-is-damage" NeedsFault "recovered",
            "A creation that ended in the midst of its header's checksum is taken for a damaged log.",
            "this kernel once, found by its simulator";
        RecoveredSequenceReused "recovered-sequence-reused" NeedsFault "recovered",
            "The first record of a life takes the sequence of the last one recovered.",
            "ClickHouse#1690 (A17)";
        TermNotBumped "term-not-bumped" NeedsFault "durable",
            "A new life goes on under the term of the one before.",
            "the kernel's own: the chain of records";
        ManifestUnread "manifest-unread" NeedsTwoFaults("lost-log-file" "kill") "durable",
            "Recovery takes the end of what is there for the end of the log, whatever the manifest says.",
            "this kernel once, found from outside: its last log file was removed, and it started";
        EmptiedIsNew "emptied-is-new" NeedsTwoFaults("emptied-directory" "kill") "durable",
            "A directory without log files is taken for a new one, though there is a manifest.",
            "this kernel once, found from outside: all log files were removed, and it started";
        NewLogFileUnnamed "new-log-file-unnamed" NeedsTwoFaults("lost-log-file" "kill") "durable",
            "A new log file is named when nothing happens for a while, and not before it is believed.",
            "the kernel's own: `LogWriter::is_manifest_due`";
        NoRoomIsFailure "no-room-is-failure" NeedsFault "live",
            "A disk without room for the next log file is a failed log, and ends the process.",
            "this kernel once, found from outside: a disk that filled up under load ended the process";
        LongPartOverItself "long-part-over-itself" Logic "recovered",
            "A part that is copied in several runs is copied over itself.",
            "the kernel's own: `LogWriter::write_payload`, of parts longer than `LogLimits::copy_len`";
        ClearingLosesPlace "clearing-loses-place" NeedsFault "recovered",
            "Clearing a tail does not count the runs that are zeros already, so that what lies behind them stays.",
            "the kernel's own: `Scan::clear`, of tails longer than `LogLimits::clear_len`";
        ManifestInOneSlot "manifest-in-one-slot" NeedsFault "recovered",
            "A manifest is written over the one before it.",
            "the kernel's own: `Manifest::slot`";
        ReplayForgetsDeletions "replay-forgets-deletions" Logic "recovered",
            "Recovery takes no notice of pieces that only delete.",
            "the kernel's own: `Shard::replay_piece`";
        ColumnsCountedShort "columns-counted-short" Logic "recovered",
            "The number of a piece's columns is written with eight bits.",
            "the kernel's own: `columns::encode`";
        // ---- Batches and publishing ----
        DurableTooFar "durable-too-far" Logic "durable",
            "When a sync ends, what was appended while it went on is taken for durable.",
            "ClickHouse#7256 (A17)";
        OffsetsAheadOfSync "offsets-ahead-of-sync" Logic "durable",
            "The published cursors move when a batch is appended, before it is synced.",
            "ClickHouse#6597 (A17)";
        ViewsShownOneByOne "views-shown-one-by-one" Logic "atomic",
            "Each shard's new view is shown as it comes.",
            "the kernel's own: invariant 2";
        AnswerBeforePublish "answer-before-publish" Logic "durable",
            "Clients are answered before the snapshot with their rows is out.",
            "the kernel's own: order of effects";
        CreditLeaked "credit-leaked" Logic "live",
            "One publication of several records gives back the credit of the last one alone.",
            "the kernel's own: invariant 9";
        TableLockIgnored "table-lock-ignored" Logic "exactly once",
            "Batches are staged on a table under a table lock: an update is lost.",
            "the kernel's own: table locks";
        HolderTurnedAway "holder-turned-away" Logic "live",
            "With the line full, the holder of a table lock is turned away like everybody else, and the table lock stays.",
            "this kernel once, found by its simulator";
        TableLockReadsPublished "table-lock-reads-published" Logic "exactly once",
            "A statement under a table lock reads what is published, not what is staged.",
            "the kernel's own: table locks";
        AbandonForgetsShard "abandon-forgets-shard" Logic "exactly once",
            "A statement that fails is abandoned on the first of its shards, and not on the others.",
            "the kernel's own: `abandon_write`";
        AbandonForgetsDeletions "abandon-forgets-deletions" Logic "exactly once",
            "A statement that fails is abandoned where rows came to, and not on shards that old rows only went from.",
            "the kernel's own: `abandon_write`, for an UPDATE that moves a row to a key of another shard";
        ErrorLimitPerBatch "error-limit-per-batch" Logic "honest",
            "The limit of set-aside messages is held against each batch by itself.",
            "the kernel's own: `settle_batch`";
        // ---- Shards ----
        DeletionsSharedBetweenSnapshots "deletions-shared-between-snapshots" Logic "exactly once",
            "A new snapshot goes on with the deletion bitmap of the one before.",
            "the kernel's own: `Chunk::publish_deletion`";
        RoutedByFirstColumn "routed-by-first-column" Logic "placed",
            "Rows are routed by the hash of the first column of a key of several.",
            "the kernel's own: invariant 5";
        UndoForgetsKeys "undo-forgets-keys" Logic "exactly once",
            "Undoing a deletion brings back the row and not its key in the index.",
            "the kernel's own: `Contents::undo`";
        KeysHashedAgain "keys-hashed-again" Logic "exactly once",
            "Of more keys than are hashed at once the first ones are hashed again and again.",
            "the kernel's own: `Contents::key_hashes`, of more rows than `ShardLimits::keys_at_once`";
        RoutedWithinEight "routed-within-eight" Logic "placed",
            "No row is routed to a shard beyond the eighth.",
            "the kernel's own: `route::shard_of`";
        NansDiffer "nans-differ" Logic "exactly once",
            "Keys that are no number are told apart by their bits.",
            "the kernel's own: `route::canonical_bits`";
        SlotsLeak "slots-leak" Logic "bounded",
            "The slot of a chunk that was merged away or abandoned is never used again.",
            "the kernel's own: `Contents::take_slot`";
        FoldStopsShort "fold-stops-short" Logic "exactly once",
            "Of the rows of a batch only the first 1,024 are added up.",
            "the kernel's own: `fold::sum`";
        KeysCountedShort "keys-counted-short" Logic "exactly once",
            "The keys of a batch are counted with 16 bits.",
            "the kernel's own: `outcome::group`";
        MergeForgetsStaged "merge-forgets-staged" Logic "exactly once",
            "A merge moves rows whose deletion is staged; the deletion goes on to where they lay.",
            "the kernel's own: `Shard::merge`";
        MergeRevivesRows "merge-revives-rows" Logic "exactly once",
            "A merge forgets which of its rows are gone at the staged tip.",
            "the kernel's own: `merged_chunk`";
        ReplaceKeepsFirst "replace-keeps-first" Logic "exactly once",
            "Of several rows of a key in one batch the first one replaces, not the last.",
            "the kernel's own: rows are taken one by one";
        OverflowSwallowed "overflow-swallowed" Logic "exactly once",
            "A sum that overflows keeps its value and counts the row as applied.",
            "the kernel's own: `fold::sum`";
        LongTextCut "long-text-cut" Logic "exactly once",
            "A text that an update makes too long for its column is cut off, and the row counts as applied.",
            "the kernel's own: `expr::eval`; what an explicit cast does in SQL";
    }
}

/// Whether this bug is there.
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

    /// Whether this bug is there.
    #[inline]
    pub fn is(bug: Defect) -> bool {
        ACTIVE.get() == Some(bug)
    }

    /// From now on, on this thread, this bug is there and no other.
    pub fn activate(bug: Option<Defect>) {
        ACTIVE.set(bug);
    }
}
