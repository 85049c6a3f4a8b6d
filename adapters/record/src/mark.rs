//! Hashes that a replay compares with the recording: of each effect, of each shard's reply, of the state that readers
//! see. All are over logical values, so that they do not depend on the layout of columns in memory.

use kernel::message::{ShardCommand, ShardReply, SplitStart, Work};
use kernel::record::EncodedRecord;
use kernel::route::hash_rows;
use kernel::snapshot::{ShardView, TableView};
use kernel::{Effect, Event, Response, Snapshot};
use minicbor::{Decode, Encode};
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

/// The recorded form of an effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct EffectMark {
    /// Its index in [`EFFECT_NAMES`].
    #[n(0)]
    pub kind: u8,
    /// Hash of its content.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub hash: [u8; 4],
}

/// Names of effects, by kind.
pub const EFFECT_NAMES: [&str; 16] = [
    "Stage",
    "Abandon",
    "Publish to a shard",
    "ViewTip",
    "Append",
    "Sync",
    "SourceOpen",
    "Fetch",
    "Credit",
    "SourceVerify",
    "SourceClose",
    "Publish",
    "Reply",
    "WakeAt",
    "Event",
    "Halt",
];

impl EffectMark {
    /// The effect's name.
    pub fn name(self) -> &'static str {
        EFFECT_NAMES.get(self.kind as usize).copied().unwrap_or("unknown")
    }
}

/// The mark of an effect. Of the rows of a `Stage` only the number is hashed: their values are in the shard's reply and
/// in the record. Each mark hashes a few dozen bytes, except `Append`, which covers every byte of the record, and
/// `Publish`, which covers every cursor.
pub fn effect_mark(effect: &Effect) -> EffectMark {
    let mut words = Words::default();
    let kind = match effect {
        Effect::Shard { shard, command } => {
            words.add(u64::from(shard.0));
            command_words(command, &mut words)
        }
        Effect::Append(record) => return append_mark(record),
        Effect::Sync => 5,
        Effect::SourceOpen { pipeline, epoch, .. } => {
            words.adds([u64::from(pipeline.0), epoch.0]);
            6
        }
        Effect::Fetch { pipeline, epoch, starts } => {
            words.adds([u64::from(pipeline.0), epoch.0]);
            for SplitStart { split, name: _, position } in starts {
                words.adds([u64::from(split.0), position.ordinal() as u64, xxh3_64(position.as_bytes())]);
            }
            7
        }
        Effect::Credit { pipeline, epoch, bytes } => {
            words.adds([u64::from(pipeline.0), epoch.0, *bytes]);
            8
        }
        Effect::SourceVerify { pipeline, epoch, token } => {
            words.adds([u64::from(pipeline.0), epoch.0, *token]);
            9
        }
        Effect::SourceClose { pipeline, epoch } => {
            words.adds([u64::from(pipeline.0), epoch.0]);
            10
        }
        Effect::Publish(snapshot) => return publish_mark(snapshot),
        Effect::Reply { id, result } => {
            words.add(id.0);
            match result {
                Ok(Response::Done(c)) => words.adds([0, c.inserted, c.updated, c.deleted, c.ignored]),
                Ok(Response::TableLock { table_lock, snapshot }) => {
                    words.adds([2, table_lock.0, snapshot.sequence.0]);
                }
                Err(error) => words.text(&error.message),
            }
            12
        }
        Effect::WakeAt(at_us) => {
            words.add(*at_us as u64);
            13
        }
        Effect::Event(event) => {
            event_words(event, &mut words);
            14
        }
        Effect::Halt(error) => {
            words.text(&error.message);
            15
        }
    };
    words.mark(kind)
}

fn event_words(event: &Event, words: &mut Words) {
    words.add(event.pipeline().map_or(u64::MAX, |id| u64::from(id.0)));
    match event {
        Event::ReadOnly => words.add(1),
        Event::ReadWrite => words.add(2),
        Event::PipelineFailed { pipeline: _, name, error } => {
            words.add(3);
            words.text(name);
            words.text(&error.message);
        }
        Event::SourceRetried { pipeline: _, pause_us, error } => {
            words.adds([4, *pause_us as u64]);
            words.text(&error.message);
        }
        Event::RangeMisplaced { pipeline: _, split, first, next } => {
            words.adds([5, u64::from(split.0), xxh3_64(first.as_bytes()), xxh3_64(next.as_bytes())]);
        }
        Event::ExtractOutdated { pipeline: _, schema_version, table_version } => {
            words.adds([7, u64::from(*schema_version), u64::from(*table_version)]);
        }
        Event::ReaderLost { pipeline: _, split, wanted } => {
            words.adds([6, xxh3_64(wanted.as_bytes())]);
            words.text(split.as_str());
        }
    }
}

fn command_words(command: &ShardCommand, words: &mut Words) -> u8 {
    match command {
        ShardCommand::Stage { sequence, work } => {
            words.add(sequence.0);
            for work in work {
                match work {
                    Work::CreateTable(table) => words.adds([1, u64::from(table.id.0)]),
                    Work::DropTable(table) => words.adds([2, u64::from(table.0)]),
                    Work::TruncateTable(table) => words.adds([3, u64::from(table.0)]),
                    Work::RemoveErrors(pipeline) => words.adds([5, u64::from(pipeline.0)]),
                    Work::Rows { table, deletes, rows, .. } => {
                        words.adds([4, u64::from(table.0), deletes.len() as u64]);
                        rows.iter().for_each(|rows| words.add(rows.num_rows() as u64));
                    }
                }
            }
            0
        }
        ShardCommand::Abandon { from } => {
            words.add(from.0);
            1
        }
        ShardCommand::Publish { through } => {
            words.add(through.0);
            2
        }
        ShardCommand::ViewTip { table_lock } => {
            words.add(table_lock.0);
            3
        }
    }
}

/// The mark of an `Append`: of every byte of the record.
pub fn append_mark(record: &EncodedRecord) -> EffectMark {
    let mut hash = Xxh3::new();
    hash.update(&record.sequence.0.to_le_bytes());
    hash.update(&[record.kind as u8]);
    record.parts.iter().for_each(|part| hash.update(part));
    mark(4, hash.digest())
}

/// The mark of a `Publish`: of the cursors and states of pipelines, and of the number of rows in each table.
/// [`state_hash`] covers the rows, at intervals.
pub fn publish_mark(snapshot: &Snapshot) -> EffectMark {
    let mut words = Words::default();
    words.add(snapshot.sequence.0);
    for (id, pipeline) in &snapshot.catalog.pipelines {
        let cursors = &snapshot.catalog.cursors[id];
        words.adds([
            u64::from(id.0),
            pipeline.epoch.0,
            u64::from(pipeline.generation.0),
            cursors.dead_letters,
        ]);
        for (split, position) in cursors.positions() {
            words.adds([u64::from(split.0), position.ordinal() as u64]);
        }
    }
    snapshot.shards.iter().for_each(|view| view_words(view, &mut words));
    words.mark(11)
}

fn view_words(view: &ShardView, words: &mut Words) {
    for (table, view) in &view.tables {
        words.adds([u64::from(table.0), view.live_rows]);
    }
}

/// Hash of a shard's reply.
pub fn reply_hash(reply: &ShardReply) -> [u8; 8] {
    let mut words = Words::default();
    match reply {
        ShardReply::Staged { sequence, outcome, counts, ignored, rejected } => {
            words.adds([0, sequence.0, counts.inserted, counts.updated, counts.deleted, counts.ignored]);
            for ((table, split), ordinals) in ignored {
                words.adds([u64::from(table.0), u64::from(split.0), ordinals.len() as u64]);
            }
            for row in rejected {
                words.text(&row.error.message);
            }
            words.add(xxh3_64(outcome));
        }
        ShardReply::Abandoned { from } => words.adds([1, from.0]),
        ShardReply::Published { through, view } => {
            words.adds([2, through.0]);
            view_words(view, &mut words);
        }
        ShardReply::Tip { table_lock, view } => {
            words.adds([3, table_lock.0]);
            view_words(view, &mut words);
        }
    }
    xxh3_64(&words.0).to_le_bytes()
}

/// Numbers and texts, to be hashed together.
#[derive(Default)]
struct Words(Vec<u8>);

impl Words {
    fn add(&mut self, word: u64) {
        self.0.extend_from_slice(&word.to_le_bytes());
    }

    fn adds<const N: usize>(&mut self, words: [u64; N]) {
        words.into_iter().for_each(|word| self.add(word));
    }

    fn text(&mut self, text: &str) {
        self.add(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn mark(&self, kind: u8) -> EffectMark {
        mark(kind, xxh3_64(&self.0))
    }
}

fn mark(kind: u8, hash: u64) -> EffectMark {
    EffectMark { kind, hash: (hash as u32).to_le_bytes() }
}

/// Hash of a state: of the catalog with its cursors, and of all live rows with their ids, by shard and table. It does
/// not depend on chunks, merges and deleted rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct StateHash(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl std::fmt::Display for StateHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_le_bytes(self.0))
    }
}

/// Bytes of a snapshot's tables: the cost of [`state_hash`].
pub fn state_bytes(snapshot: &Snapshot) -> u64 {
    snapshot.shards.iter().flat_map(|shard| shard.tables.values()).map(|table| table.bytes).sum()
}

/// The hash of a snapshot. Reads every live row.
pub fn state_hash(snapshot: &Snapshot) -> StateHash {
    let mut hash = Xxh3::new();
    hash.update(&snapshot.sequence.0.to_le_bytes());
    let catalog = kernel::cbor::to_vec(&*snapshot.catalog);
    hash.update(&xxh3_128(&catalog).to_le_bytes());
    for (shard, view) in snapshot.shards.iter().enumerate() {
        // A table that never had rows may be absent from a view.
        for (table, view) in view.tables.iter().filter(|(_, view)| view.live_rows > 0) {
            hash.update(&(shard as u64).to_le_bytes());
            hash.update(&table.0.to_le_bytes());
            hash.update(&view.live_rows.to_le_bytes());
            hash.update(&table_sum(view).to_le_bytes());
        }
    }
    StateHash(hash.digest128().to_le_bytes())
}

/// The sum over the rows, so that it depends on their ids and not on their order in memory.
fn table_sum(view: &TableView) -> u128 {
    let mut sum = 0u128;
    let mut hashes = vec![];
    for chunk in &view.chunks {
        let columns: Vec<u16> = (0..chunk.rows.num_columns() as u16).collect();
        hash_rows(&chunk.rows, &columns, &mut hashes);
        for (row, (hash, id)) in hashes.iter().zip(chunk.ids.iter()).enumerate() {
            if chunk.deleted.as_ref().is_some_and(|deleted| deleted.value(row)) {
                continue;
            }
            let mut bytes = [0; 20];
            bytes[0..8].copy_from_slice(&hash.to_le_bytes());
            bytes[8..16].copy_from_slice(&id.sequence.0.to_le_bytes());
            bytes[16..20].copy_from_slice(&id.ordinal.to_le_bytes());
            sum = sum.wrapping_add(xxh3_128(&bytes));
        }
    }
    sum
}
