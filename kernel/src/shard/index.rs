//! The index of a keyed table on a shard: from the hash of a primary key to the location of its row at the staged tip.
//! The keys are in the chunks; the caller compares them unless the hash is exact.

use hashbrown::HashTable;

/// The location of a row: slot of its chunk, and row in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RowLocation(u64);

impl RowLocation {
    /// No row.
    pub const NONE: RowLocation = RowLocation(u64::MAX);

    pub fn new(slot: u32, row: usize) -> RowLocation {
        debug_assert!(row < u32::MAX as usize, "rows of a chunk are counted in 32 bits");
        RowLocation(u64::from(slot) << 32 | row as u64)
    }

    pub fn slot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub fn row(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    pub fn is_none(self) -> bool {
        self == RowLocation::NONE
    }
}

/// Number of buckets that are never released.
const BUCKETS_MIN: usize = 64;
/// Beyond that, most buckets per key.
const KEY_BUCKETS_MAX: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    location: RowLocation,
}

/// The index. It is never iterated: nothing depends on the order in which a hash table keeps its entries.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyIndex {
    table: HashTable<Entry>,
}

impl KeyIndex {
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes held: entries and a control byte each.
    pub fn bytes(&self) -> usize {
        self.table.allocation_size()
    }

    /// Releases memory after most keys were removed.
    pub fn shrink(&mut self) {
        // A table's capacity shrinks with every removed key; its memory is the number of its buckets.
        if self.table.num_buckets() > BUCKETS_MIN + KEY_BUCKETS_MAX * self.table.len() {
            self.table.shrink_to_fit(|e| e.hash);
        }
    }

    /// Location of the row with this hash whose key is `same`, or NONE.
    #[inline]
    pub fn find(&self, hash: u64, mut same: impl FnMut(RowLocation) -> bool) -> RowLocation {
        self.table
            .find(hash, |e| e.hash == hash && same(e.location))
            .map_or(RowLocation::NONE, |e| e.location)
    }

    /// Adds a new key.
    #[inline]
    pub fn insert(&mut self, hash: u64, location: RowLocation) {
        self.table.insert_unique(hash, Entry { hash, location }, |e| e.hash);
    }

    /// Removes the key that points to this location; false if none does.
    pub fn remove(&mut self, hash: u64, location: RowLocation) -> bool {
        self.table
            .find_entry(hash, |e| e.hash == hash && e.location == location)
            .map(|entry| entry.remove())
            .is_ok()
    }

    /// Moves the key that points to `from`; false if none does.
    #[inline]
    pub fn repoint(&mut self, hash: u64, from: RowLocation, to: RowLocation) -> bool {
        let found = self.table.find_mut(hash, |e| e.hash == hash && e.location == from);
        found.map(|entry| entry.location = to).is_some()
    }
}
