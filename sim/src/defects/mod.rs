//! The defects that can be seeded, one at a time and per thread, to show that the simulator finds them. `bugs` searches
//! for them.
//!
//! - Those of the kernel and the decoder are patches: [`patches`]. The shipped source has nothing of them. [`in_kernel`]
//!   is the switch of the build that has them.
//! - Those of the world around the kernel (a host, a client library or a disk that is broken) are switches of the
//!   simulator, here, in every build.

pub mod in_kernel;
mod patches;

use std::cell::Cell;

pub use in_kernel::BUILT_IN;
pub use patches::{Patch, patches};

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
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

/// Declares the defects of the world.
macro_rules! world_defects {
    ($($bug:ident $name:literal $class:ident $invariant:literal, $what:literal, $origin:literal;)*) => {
        /// A seeded defect of the world around the kernel.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum WorldDefect {
            $(#[doc = $what] $bug,)*
        }

        impl WorldDefect {
            /// All of them.
            pub const ALL: &[WorldDefect] = &[$(WorldDefect::$bug,)*];

            /// The description.
            pub fn about(self) -> About {
                match self {
                    $(WorldDefect::$bug => About {
                        name: $name,
                        what: $what,
                        origin: $origin,
                        class: Class::$class,
                        together: &[],
                        invariant: $invariant,
                    },)*
                }
            }
        }
    };
}

world_defects! {
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

/// A seeded defect of the kernel or of the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SeededDefect {
    /// In the kernel or the decoder.
    Kernel(&'static Patch),
    /// Around it.
    World(WorldDefect),
}

impl SeededDefect {
    /// All seeded defects. An error if their patches cannot be read.
    pub fn all() -> Result<Vec<SeededDefect>, String> {
        let kernel = patches()?.iter().map(SeededDefect::Kernel);
        Ok(kernel.chain(WorldDefect::ALL.iter().map(|bug| SeededDefect::World(*bug))).collect())
    }

    /// What it is.
    pub fn about(self) -> About {
        match self {
            SeededDefect::Kernel(patch) => patch.about,
            SeededDefect::World(bug) => bug.about(),
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Result<SeededDefect, String> {
        // Those of the world are there even if the source is not.
        let mut world = WorldDefect::ALL.iter().map(|bug| SeededDefect::World(*bug));
        if let Some(found) = world.find(|bug| bug.about().name == name) {
            return Ok(found);
        }
        let found = patches()?.iter().map(SeededDefect::Kernel).find(|bug| bug.about().name == name);
        found.ok_or_else(|| format!("there is no seeded defect {name:?}; `sim bugs --list` names them"))
    }
}

thread_local! {
    static ACTIVE: Cell<Option<WorldDefect>> = const { Cell::new(None) };
}

/// Whether this defect of the world is active.
#[inline]
pub fn is(bug: WorldDefect) -> bool {
    ACTIVE.get() == Some(bug)
}

/// Activates this defect and no other, on this thread. One of the kernel needs the build that has it.
pub fn activate(bug: Option<SeededDefect>) {
    let (kernel, world) = match bug {
        Some(SeededDefect::Kernel(patch)) => (Some(patch.about.name), None),
        Some(SeededDefect::World(bug)) => (None, Some(bug)),
        None => (None, None),
    };
    in_kernel::activate(kernel);
    ACTIVE.set(world);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        let mut names = std::collections::BTreeSet::new();
        for bug in SeededDefect::all().unwrap() {
            assert!(names.insert(bug.about().name), "{bug:?}");
            assert_eq!(SeededDefect::named(bug.about().name), Ok(bug));
        }
    }
}
