//! Identifiers and units: small types that can be copied. Definitions are in `schema`, rows in `shard`.

use minicbor::{Decode, Encode};

pub use crate::split::{Identity, Mark, Position, SourceKind, SplitId, SplitName};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// Number of a record in the log. The first record (`open` of a new database) has sequence 1; 0 means "none".
    Sequence(u64)
);
id!(
    /// One process's ownership of the log. Every start writes an `open` record with the next term, so that bytes of an
    /// earlier term never continue the chain. It also fences a second owner of the same log.
    Term(u64)
);
id!(
    /// A table. Not reused after DROP. `ERRORS_TABLE` is reserved.
    TableId(u32)
);
id!(
    /// A column in its table. Not reused.
    ColumnId(u32)
);
id!(
    /// A pipeline. Not reused after DROP.
    PipelineId(u32)
);
id!(
    /// A shard, `0..shard_count`. The count is fixed when a database is created.
    ShardId(u16)
);
id!(
    /// Definition epoch of a pipeline: incremented by every START, STOP, ALTER, failure and retry. Deliveries of an
    /// older epoch change nothing (invariant 6, fault A1).
    Epoch(u64)
);
id!(
    /// One pass of a pipeline over its source. SET OFFSETS begins a new one. Within a generation the consumed ranges
    /// are disjoint (invariant 1).
    Generation(u32)
);
id!(
    /// Correlates a host's request with the kernel's reply. Chosen by the host, unique in its term.
    RequestId(u64)
);
id!(
    /// A client statement that holds a table lock.
    TableLockId(u64)
);

/// Microseconds since 1970-01-01 UTC. The kernel has no clock: the time comes with each input.
pub type Micros = i64;

impl Sequence {
    /// The sequence after this one.
    pub fn next(self) -> Sequence {
        Sequence(self.0.checked_add(1).expect("a sequence fits 64 bits"))
    }
}

/// Stable identity of a row in its table and shard: the sequence of the record that wrote it, and its ordinal among the
/// rows that the record added to this table on this shard. Merges keep it. The new version of an updated row has a new
/// one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(map)]
pub struct RowId {
    /// Record that wrote the row.
    #[n(0)]
    pub sequence: Sequence,
    /// Ordinal among the rows of the same record, table and shard, from 0.
    #[n(1)]
    pub ordinal: u32,
}
