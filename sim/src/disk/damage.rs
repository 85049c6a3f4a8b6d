//! What age and broken firmware do to what is durable (B6): a bit flips, a write lands elsewhere, a write never happened, a read brings
//! what was there before. One damage a run: a second one could hit the very record that bears witness of the first.

use super::{Disk, PAGE_BYTES, SECTOR_BYTES, Segment, State};
use crate::fault::Fault;
use crate::trace::Mark;

/// Bytes that are no longer what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// In which segment.
    pub segment: u64,
    /// From here on.
    pub offset: usize,
    /// So many.
    pub len: usize,
}

impl Damage {
    /// Whether it touches a range.
    pub fn touches(&self, segment: u64, offset: u64, len: usize) -> bool {
        let offset = offset as usize;
        segment == self.segment && offset < self.offset + self.len && self.offset < offset + len
    }
}

impl Disk<'_> {
    /// Damages what is durable, if a fault of that kind strikes. The process must be down.
    pub fn age(&self) -> Option<Damage> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        let kinds = [Fault::BitRot, Fault::MisdirectedWrite, Fault::LostWrite, Fault::StaleRead];
        let kind = kinds.into_iter().find(|kind| state.decisions.fault(*kind))?;
        let (damage, what) = match kind {
            Fault::BitRot => (state.flip()?, "one bit has flipped"),
            Fault::MisdirectedWrite => (state.misdirect()?, "a write that was meant for elsewhere is here"),
            Fault::LostWrite => (state.lose_write()?, "a write never reached the platter"),
            _ => (state.read_stale()?, "until the start is over, reads bring what was there before"),
        };
        state.decisions.changed(kind);
        let Damage { segment, offset, len } = damage;
        state.trace.note(
            crate::trace::Actor::Disk,
            Mark::Fault,
            &[segment, offset as u64, len as u64],
            format_args!("damage in segment {segment}, {len} bytes from {offset} on: {what}"),
        );
        Some(damage)
    }
}

impl State<'_> {
    /// A segment, and how far it was ever written to.
    fn pick_segment(&mut self) -> Option<(u64, usize)> {
        let numbers: Vec<u64> = self.segments.keys().copied().collect();
        let number = *numbers.get(self.decisions.index(numbers.len().max(1)))?;
        let written = self.segments[&number].durable.iter().rposition(|b| *b != 0)?;
        Some((number, written + 1))
    }

    fn flip(&mut self) -> Option<Damage> {
        let (number, written) = self.pick_segment()?;
        let at = self.decisions.index(written);
        let mask = 1 << self.decisions.below(8);
        let segment = self.segments.get_mut(&number)?;
        segment.durable[at] ^= mask;
        segment.memory[at] ^= mask;
        Some(Damage { segment: number, offset: at, len: 1 })
    }

    /// A sector's content overwrites another sector, which lies among what was written or just behind it.
    fn misdirect(&mut self) -> Option<Damage> {
        let (from, from_written) = self.pick_segment()?;
        let (to, to_written) = self.pick_segment()?;
        let sector = |state: &State<'_>, written: usize| {
            state.decisions.index(written.div_ceil(SECTOR_BYTES)) * SECTOR_BYTES
        };
        let source = sector(self, from_written);
        let target = sector(self, to_written + SECTOR_BYTES);
        let bytes = self.segments[&from].durable.get(source..source + SECTOR_BYTES)?.to_vec();
        self.overwrite(to, target, &bytes)
    }

    /// A page is what it was before it was written back the last time.
    fn lose_write(&mut self) -> Option<Damage> {
        let (number, page, before) = self.pick_former_page()?;
        self.overwrite(number, page * PAGE_BYTES, &before)
    }

    fn read_stale(&mut self) -> Option<Damage> {
        let (number, page, before) = self.pick_former_page()?;
        let offset = page * PAGE_BYTES;
        let len = before.len();
        self.stale = Some((number, offset, before));
        Some(Damage { segment: number, offset, len })
    }

    /// A page that was once something else, and what.
    fn pick_former_page(&mut self) -> Option<(u64, usize, Box<[u8]>)> {
        let (number, _) = self.pick_segment()?;
        let segment = &self.segments[&number];
        let pages: Vec<usize> = segment.former.keys().copied().collect();
        let page = *pages.get(self.decisions.index(pages.len().max(1)))?;
        let before = segment.former[&page].clone();
        (before[..] != segment.durable[segment.page(page)]).then_some((number, page, before))
    }

    fn overwrite(&mut self, number: u64, offset: usize, bytes: &[u8]) -> Option<Damage> {
        let segment: &mut Segment = self.segments.get_mut(&number)?;
        let target = segment.durable.get_mut(offset..offset + bytes.len())?;
        if *target == *bytes {
            return None;
        }
        target.copy_from_slice(bytes);
        segment.memory[offset..offset + bytes.len()].copy_from_slice(bytes);
        Some(Damage { segment: number, offset, len: bytes.len() })
    }

    /// What a read brings where it is stale.
    pub(super) fn make_stale(&self, number: u64, offset: usize, into: &mut [u8]) {
        let Some((segment, at, before)) = &self.stale else { return };
        if *segment != number {
            return;
        }
        let (from, to) = (offset.max(*at), (offset + into.len()).min(at + before.len()));
        if from < to {
            into[from - offset..to - offset].copy_from_slice(&before[from - at..to - at]);
        }
    }
}
