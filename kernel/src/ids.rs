//! The names of things: small copyable identifiers and the units they count in.
//! What the identifiers point at lives in `schema` (definitions) and `shard` (rows).

use serde::{Deserialize, Serialize};

pub use crate::split::{Identity, Mark, Position, SourceKind, SplitId, SplitName};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// Position of a record in the log. The first record (`open` of a new database) has sequence 1; 0 means "none".
    Sequence(u64)
);
id!(
    /// One life of the process that owns the log. Every start writes an `open` record with the next term, so
    /// that bytes of an earlier life never chain on; it also fences a second owner of the same log.
    Term(u64)
);
id!(
    /// A table. Never used again after DROP. `ERRORS_TABLE` is reserved.
    TableId(u32)
);
id!(
    /// A column inside its table. Never used again.
    ColumnId(u32)
);
id!(
    /// A pipeline. Never used again after DROP.
    PipelineId(u32)
);
id!(
    /// A shard, `0..shard_count`. The count is fixed when a database is created.
    ShardId(u16)
);
id!(
    /// Definition epoch of a pipeline: bumped by every START, STOP, ALTER and failure. What was fetched under an older
    /// epoch changes nothing (invariant 6, fault A1).
    Epoch(u64)
);
id!(
    /// One run over the source: bumped by SET OFFSETS. Within a run the consumed ranges are disjoint (invariant 1).
    Generation(u32)
);
id!(
    /// Correlates a host's request with the kernel's reply. Chosen by the host, unique while the process lives.
    RequestId(u64)
);
id!(
    /// A reader that holds a snapshot, from its acquisition to its release.
    ReaderId(u64)
);
id!(
    /// A client statement that holds a table lock.
    TableLockId(u64)
);

/// Microseconds since 1970-01-01 UTC. The kernel has no clock: time comes in with the input.
pub type Micros = i64;

impl Sequence {
    /// The sequence after this one.
    pub fn next(self) -> Sequence {
        Sequence(self.0.checked_add(1).expect("a log does not outgrow 64 bits"))
    }
}

/// Stable identity of a row inside its table and shard: the record that wrote it and its place among the rows that the
/// record added to this table on this shard. Merges keep it; an update gives the new version a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RowId {
    /// Record that wrote the row.
    pub sequence: Sequence,
    /// Place among the rows of the same record, table and shard, from 0.
    pub ordinal: u32,
}
