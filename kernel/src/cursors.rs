//! The cursors of a pipeline: a separate part of the catalog that every batch advances in place. Positions are defined
//! in `split`, logged changes in `schema` and `record`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use crate::ids::*;

/// Splits per block. A batch copies only the blocks that it advances, however many splits a shared snapshot has.
const BLOCK_SPLITS: u32 = 64;

/// One split of a pipeline's source.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Split {
    /// Its name at the source.
    #[n(0)]
    pub name: SplitName,
    /// The identity that its positions refer to. None until the source has named it (a cursor set by command).
    #[n(1)]
    pub identity: Option<Identity>,
    /// The next message; None if the split has no cursor.
    #[n(2)]
    pub position: Option<Position>,
    /// No message will follow the position.
    #[n(3)]
    pub finished: bool,
}

/// A logged cursor.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct CursorSet {
    /// The split's number: a new one, or the number of an existing name.
    #[n(0)]
    pub split: SplitId,
    /// The split's name.
    #[n(1)]
    pub name: SplitName,
    /// See [`Split::identity`]. None leaves it unchanged.
    #[n(2)]
    pub identity: Option<Identity>,
    /// The next message.
    #[n(3)]
    pub position: Position,
}

/// All splits of a pipeline's source that were ever seen, and the number of its dead letters.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cursors {
    blocks: BTreeMap<u32, Arc<BTreeMap<SplitId, Split>>>,
    numbers: Arc<BTreeMap<SplitName, SplitId>>,
    /// Dead letters since the last START.
    pub dead_letters: u64,
}

impl Cursors {
    /// A split by its number.
    pub fn get(&self, split: SplitId) -> Option<&Split> {
        self.blocks.get(&(split.0 / BLOCK_SPLITS))?.get(&split)
    }

    /// A split by its name, and its number.
    pub fn named(&self, name: &SplitName) -> Option<(SplitId, &Split)> {
        let number = *self.numbers.get(name)?;
        Some((number, self.get(number).expect("every name has a split")))
    }

    /// All splits, by number.
    pub fn splits(&self) -> impl Iterator<Item = (SplitId, &Split)> {
        self.blocks.values().flat_map(|block| block.iter().map(|(number, split)| (*number, split)))
    }

    /// Splits that have a cursor, by number.
    pub fn positions(&self) -> impl Iterator<Item = (SplitId, Position)> {
        self.splits().filter_map(|(number, split)| Some((number, split.position?)))
    }

    /// True if no split has a cursor.
    pub fn is_empty(&self) -> bool {
        self.positions().next().is_none()
    }

    /// True if the source has named the identity of a split.
    pub fn has_identity(&self) -> bool {
        self.splits().any(|(_, split)| split.identity.is_some())
    }

    /// Numbers for these splits: existing numbers, numbers that the kind of source defines, or new ones.
    pub fn numbers_for<'n>(
        &self,
        kind: SourceKind,
        names: impl IntoIterator<Item = &'n SplitName>,
    ) -> BTreeMap<SplitName, SplitId> {
        let mut numbers = BTreeMap::new();
        let mut given = BTreeSet::new();
        let mut last = self.blocks.values().next_back().and_then(|block| block.keys().next_back().copied());
        for name in names {
            let known = self.numbers.get(name).copied();
            let own = kind.own_number(name).filter(|own| self.get(*own).is_none() && !given.contains(own));
            let number = known.or(own).unwrap_or_else(|| SplitId(last.map_or(0, |last| last.0 + 1)));
            given.insert(number);
            last = last.max(Some(number));
            numbers.insert(name.clone(), number);
        }
        numbers
    }

    /// Sets a cursor. False if the number belongs to another split, or the name to another number.
    pub(crate) fn set(&mut self, set: &CursorSet) -> bool {
        let CursorSet { split, name, identity, position } = set;
        let is_new = !self.numbers.contains_key(name) && self.get(*split).is_none();
        if !is_new && self.numbers.get(name) != Some(split) {
            return false;
        }
        if is_new {
            Arc::make_mut(&mut self.numbers).insert(name.clone(), *split);
        }
        let block = Arc::make_mut(self.blocks.entry(split.0 / BLOCK_SPLITS).or_default());
        let known = block.entry(*split).or_insert_with(|| Split {
            name: name.clone(),
            identity: None,
            position: None,
            finished: false,
        });
        known.identity = identity.clone().or(known.identity.take());
        (known.position, known.finished) = (Some(*position), false);
        true
    }

    /// Advances an existing cursor.
    pub(crate) fn advance(&mut self, split: SplitId, next: Position, finished: bool) {
        let block = self.blocks.get_mut(&(split.0 / BLOCK_SPLITS)).expect("the split exists");
        let known = Arc::make_mut(block).get_mut(&split).expect("the split exists");
        (known.position, known.finished) = (Some(next), finished);
    }

    /// Removes all cursors. The splits keep their numbers.
    pub(crate) fn forget(&mut self) {
        for block in self.blocks.values_mut() {
            for split in Arc::make_mut(block).values_mut() {
                (split.identity, split.position, split.finished) = (None, None, false);
            }
        }
    }
}

/// The stored form: the splits by number.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Stored {
    #[n(0)]
    splits: BTreeMap<SplitId, Split>,
    #[n(1)]
    dead_letters: u64,
}

impl<C> Encode<C> for Cursors {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let splits = self.splits().map(|(number, split)| (number, split.clone())).collect();
        Stored { splits, dead_letters: self.dead_letters }.encode(encoder, context)
    }
}

impl<'b, C> Decode<'b, C> for Cursors {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Cursors, decode::Error> {
        let stored: Stored = decoder.decode_with(context)?;
        let numbers = stored.splits.iter().map(|(number, split)| (split.name.clone(), *number));
        let numbers: BTreeMap<SplitName, SplitId> = numbers.collect();
        if numbers.len() != stored.splits.len() {
            return Err(decode::Error::message("two splits have one name"));
        }
        let mut blocks: BTreeMap<u32, BTreeMap<SplitId, Split>> = BTreeMap::new();
        for (number, split) in stored.splits {
            blocks.entry(number.0 / BLOCK_SPLITS).or_default().insert(number, split);
        }
        let blocks = blocks.into_iter().map(|(number, block)| (number, Arc::new(block))).collect();
        Ok(Cursors { blocks, numbers: Arc::new(numbers), dead_letters: stored.dead_letters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(split: u32, name: &str, offset: i64) -> CursorSet {
        let (name, position) = (SplitName::new(name), Position::kafka(offset, -1));
        CursorSet { split: SplitId(split), name, identity: Some(Identity::new(b"t")), position }
    }

    #[test]
    fn a_split_keeps_its_number_and_its_name() {
        let mut cursors = Cursors::default();
        assert!(cursors.set(&set(3, "3", 7)));
        assert!(cursors.set(&set(3, "3", 8)), "a cursor can be set again");
        assert!(!cursors.set(&set(3, "4", 8)), "the number is taken");
        assert!(!cursors.set(&set(4, "3", 8)), "the name has another number");
        cursors.forget();
        assert!(cursors.is_empty());
        assert_eq!(cursors.named(&SplitName::new("3")).map(|(number, _)| number), Some(SplitId(3)));
    }

    #[test]
    fn partitions_have_their_own_numbers_and_others_the_next_free_one() {
        let mut cursors = Cursors::default();
        assert!(cursors.set(&set(0, "a", 7)));
        let names = ["0", "5", "a", "b"].map(SplitName::new);
        let numbers = cursors.numbers_for(SourceKind::Kafka, &names);
        let numbers: Vec<u32> = names.iter().map(|name| numbers[name].0).collect();
        assert_eq!(numbers, [1, 5, 0, 6]);
    }

    #[test]
    fn an_advance_copies_one_block() {
        let mut cursors = Cursors::default();
        (0..200).for_each(|n| assert!(cursors.set(&set(n, &n.to_string(), 0))));
        let before = cursors.clone();
        cursors.advance(SplitId(70), Position::kafka(9, 2), false);
        let shared = before.blocks.iter().filter(|(n, block)| Arc::ptr_eq(block, &cursors.blocks[n])).count();
        assert_eq!((before.blocks.len(), shared), (4, 3));
        assert_eq!(before.get(SplitId(70)).and_then(|split| split.position), Some(Position::kafka(0, -1)));
    }
}
