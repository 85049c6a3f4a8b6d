//! Deliberately broken hosts, disks and clients. Each must be caught, or the harness is blind there.

/// One way to be broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Canary {
    /// The host says that records are synced as soon as they are appended.
    SyncedBeforeSync,
    /// Syncs that say they succeeded and did nothing.
    LyingDisk,
    /// The host counts messages instead of reading their offsets, so that what is delivered twice counts twice.
    CountedOffsets,
    /// The client library skips messages.
    SkippedMessage,
    /// What an older epoch extracted is relabelled as the newest's.
    ForgedEpoch,
    /// Later readings of a topic give its first id again, from a cache.
    CachedTopicId,
    /// Readers are given one shard's older view among the new ones.
    TornSnapshot,
    /// A shard is told one of its commands twice.
    RepeatedCommand,
    /// Rows are handed to the wrong shard.
    MisplacedRows,
    /// Recovery leaves out one shard's piece of one record.
    ForgottenPiece,
    /// A client is answered before its record is durable.
    EarlyAnswer,
}

impl Canary {
    /// All of them.
    pub const ALL: [Canary; 11] = [
        Canary::SyncedBeforeSync,
        Canary::LyingDisk,
        Canary::CountedOffsets,
        Canary::SkippedMessage,
        Canary::ForgedEpoch,
        Canary::CachedTopicId,
        Canary::TornSnapshot,
        Canary::RepeatedCommand,
        Canary::MisplacedRows,
        Canary::ForgottenPiece,
        Canary::EarlyAnswer,
    ];
}
