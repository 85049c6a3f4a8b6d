//! The defects that can be seeded: the kernel's own, and those of the world around it (a host, a client library or a
//! disk that is broken), each behind a switch that exists only in a build with the feature `defects`. `bugs` searches
//! for them.

pub use kernel::defects::{About, Class, Defect};

kernel::seeded_defects! {
    /// A seeded defect of the world around the kernel.
    WorldDefect {
        SyncedBeforeSync "synced-before-sync" Logic "durable",
            "The host reports records as synced as soon as they are appended.",
            "ClickHouse#7256 (fault A17): an offset committed separately from the data is committed too early";
        LyingDisk "lying-disk" NeedsFault "durable",
            "A sync reports success without doing anything.",
            "faults B6: a write that never happened";
        ManifestBeforeSync "manifest-before-sync" NeedsFault "recovered",
            "The host writes the manifest before it syncs the records that the manifest names as durable.",
            "the kernel's own: `SyncPlan::manifest`";
        CountedOffsets "counted-offsets" NeedsFault "exactly once",
            "The host counts messages instead of reading their offsets, so that redelivered messages count twice.",
            "librdkafka#4637 (fault A2)";
        SkippedMessage "skipped-message" Logic "exactly once",
            "The client library omits messages.",
            "librdkafka v2.13.2 (fault A3)";
        AbortedRowsCounted "aborted-rows-counted" NeedsFault "exactly once",
            "The client library delivers messages of transactions that are not committed.",
            "pinot#19161 (A7)";
        RelabelledRedelivery "relabelled-redelivery" NeedsFault "exactly once",
            "If a fetch starts below the requested offset, the client counts offsets from the requested one.",
            "librdkafka v2.1.1 (A2)";
        SyncRetried "sync-retried" NeedsFault "honest",
            "The host syncs again after a failed sync and trusts the second result.",
            "B3: a second sync that succeeds proves nothing";
        ForgedEpoch "corrupted-epoch" NeedsFault "fenced",
            "An extract of an older epoch is relabelled with the newest epoch.",
            "redpanda connect#4009 (fault A1)";
        CachedTopicId "cached-topic-id" NeedsFault "honest",
            "Later metadata of a topic contains its first id again, from a cache.",
            "materialize#20141 (fault A6)";
        TornSnapshot "torn-snapshot" Logic "atomic",
            "Readers get one shard's older view among the new ones.",
            "the host's duty 7";
        ReleasedWhileRead "released-while-read" Logic "bounded",
            "The host reports a superseded snapshot as released while somebody reads it.",
            "the host's duty 8";
        RepeatedCommand "repeated-command" Logic "exactly once",
            "A shard gets one of its commands twice.",
            "the host's duty 4";
        MisplacedRows "misplaced-rows" Logic "placed",
            "Rows are routed to the wrong shard.",
            "the host's duty 3";
        ForgottenPiece "forgotten-piece" Logic "recovered",
            "Recovery omits one shard's piece of one record.",
            "the host's duty 1";
        EarlyAnswer "early-answer" Logic "durable",
            "A client is answered before its record is durable.",
            "the host's duty 7";
    }
}

/// A seeded defect of the kernel or of the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SeededDefect {
    /// In the kernel.
    Kernel(Defect),
    /// Around it.
    World(WorldDefect),
}

impl SeededDefect {
    /// All seeded defects.
    pub fn all() -> impl Iterator<Item = SeededDefect> {
        let kernel = Defect::ALL.iter().map(|bug| SeededDefect::Kernel(*bug));
        kernel.chain(WorldDefect::ALL.iter().map(|bug| SeededDefect::World(*bug)))
    }

    /// What it is.
    pub fn about(self) -> About {
        match self {
            SeededDefect::Kernel(bug) => bug.about(),
            SeededDefect::World(bug) => bug.about(),
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Result<SeededDefect, String> {
        let found = SeededDefect::all().find(|bug| bug.about().name == name);
        found.ok_or_else(|| format!("there is no seeded defect {name:?}; `sim bugs --list` names them"))
    }
}

/// Whether this binary contains the defects.
pub const BUILT_IN: bool = cfg!(feature = "defects");

#[cfg(not(feature = "defects"))]
mod switch {
    use super::{SeededDefect, WorldDefect};

    /// Whether this defect is active.
    #[inline(always)]
    pub const fn is(_bug: WorldDefect) -> bool {
        false
    }

    /// Activates this defect and no other, on this thread. This build has none.
    pub fn activate(bug: Option<SeededDefect>) {
        assert!(bug.is_none(), "this build has no seeded defects; build with --features defects");
    }
}

#[cfg(feature = "defects")]
mod switch {
    use std::cell::Cell;

    use super::{SeededDefect, WorldDefect};

    thread_local! {
        static ACTIVE: Cell<Option<WorldDefect>> = const { Cell::new(None) };
    }

    /// Whether this defect is active.
    #[inline]
    pub fn is(bug: WorldDefect) -> bool {
        ACTIVE.get() == Some(bug)
    }

    /// Activates this defect and no other, on this thread.
    pub fn activate(bug: Option<SeededDefect>) {
        let (kernel, world) = match bug {
            Some(SeededDefect::Kernel(bug)) => (Some(bug), None),
            Some(SeededDefect::World(bug)) => (None, Some(bug)),
            None => (None, None),
        };
        kernel::defects::activate(kernel);
        ACTIVE.set(world);
    }
}

pub use switch::{activate, is};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        let mut names = std::collections::BTreeSet::new();
        for bug in SeededDefect::all() {
            assert!(names.insert(bug.about().name), "{bug:?}");
            assert_eq!(SeededDefect::named(bug.about().name), Ok(bug));
        }
    }
}
