//! Stable ids of a chunk's rows, in the smallest of three forms. They are ascending in every form.

use std::sync::Arc;

use crate::ids::*;

/// Stable ids of a chunk's rows, ascending. Read them with [`RowIds::get`] and [`RowIds::find`]; the forms differ only
/// in size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowIds {
    /// Rows of one record with consecutive ordinals from `first`: a chunk as it was staged.
    Run {
        /// Record.
        sequence: Sequence,
        /// Ordinal of row 0.
        first: u32,
        /// Rows.
        len: u32,
    },
    /// After a merge: several such runs.
    Runs {
        /// In order; none is empty.
        runs: Arc<[IdRun]>,
        /// Rows.
        len: u32,
    },
    /// After a merge that dropped scattered rows.
    Explicit(Arc<[RowId]>),
}

/// With fewer rows per run on average, the saved memory is not worth the search for the run.
const ROWS_IN_A_RUN_MIN: usize = 8;

/// Rows of one record with consecutive ordinals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRun {
    /// Its first row in the chunk.
    pub start: u32,
    /// Id of its first row.
    pub first: RowId,
}

#[allow(clippy::len_without_is_empty, reason = "a chunk has rows")]
impl RowIds {
    /// From ids in ascending order.
    pub(crate) fn from_ascending(ids: &[RowId]) -> RowIds {
        assert!(ids.is_sorted_by(|a, b| a < b), "row ids ascend");
        let len = ids.len() as u32;
        let continues =
            |i: usize| ids[i].sequence == ids[i - 1].sequence && ids[i].ordinal == ids[i - 1].ordinal + 1;
        let starts = (0..ids.len()).filter(|&i| i == 0 || !continues(i));
        let run_count = starts.clone().count();
        if run_count == 1 {
            RowIds::Run { sequence: ids[0].sequence, first: ids[0].ordinal, len }
        } else if run_count * ROWS_IN_A_RUN_MIN <= ids.len() {
            let runs = starts.map(|i| IdRun { start: i as u32, first: ids[i] }).collect();
            RowIds::Runs { runs, len }
        } else {
            RowIds::Explicit(ids.into())
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            RowIds::Run { len, .. } | RowIds::Runs { len, .. } => *len as usize,
            RowIds::Explicit(ids) => ids.len(),
        }
    }

    /// Id of a row.
    pub fn get(&self, row: usize) -> RowId {
        assert!(row < self.len(), "row {row} of a chunk of {}", self.len());
        match self {
            RowIds::Run { sequence, first, .. } => RowId { sequence: *sequence, ordinal: first + row as u32 },
            RowIds::Runs { runs, .. } => {
                let run = &runs[runs.partition_point(|r| r.start as usize <= row) - 1];
                RowId { sequence: run.first.sequence, ordinal: run.first.ordinal + (row as u32 - run.start) }
            }
            RowIds::Explicit(ids) => ids[row],
        }
    }

    /// Appends all ids, in order.
    pub(crate) fn append_to(&self, ids: &mut Vec<RowId>) {
        let mut run = |first: RowId, len: u32| {
            let ordinals = first.ordinal..first.ordinal + len;
            ids.extend(ordinals.map(|ordinal| RowId { sequence: first.sequence, ordinal }));
        };
        match self {
            RowIds::Run { sequence, first, len } => run(RowId { sequence: *sequence, ordinal: *first }, *len),
            RowIds::Runs { runs, len } => {
                let ends = runs.iter().skip(1).map(|run| run.start).chain([*len]);
                runs.iter().zip(ends).for_each(|(id_run, end)| run(id_run.first, end - id_run.start));
            }
            RowIds::Explicit(all) => ids.extend_from_slice(all),
        }
    }

    /// All ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = RowId> + '_ {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Row that has this id.
    pub fn find(&self, id: RowId) -> Option<usize> {
        let in_run = |start: u32, first: RowId, len: u32| {
            let at = id.ordinal.checked_sub(first.ordinal)?;
            (id.sequence == first.sequence && at < len).then_some((start + at) as usize)
        };
        match self {
            RowIds::Run { sequence, first, len } => {
                in_run(0, RowId { sequence: *sequence, ordinal: *first }, *len)
            }
            RowIds::Runs { runs, len } => {
                let at = runs.partition_point(|run| run.first <= id).checked_sub(1)?;
                let end = runs.get(at + 1).map_or(*len, |next| next.start);
                in_run(runs[at].start, runs[at].first, end - runs[at].start)
            }
            RowIds::Explicit(ids) => ids.binary_search(&id).ok(),
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            RowIds::Run { .. } => 0,
            RowIds::Runs { runs, .. } => size_of_val(&runs[..]),
            RowIds::Explicit(ids) => size_of_val(&ids[..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_form_tells_the_same_ids(ids in proptest::collection::btree_set((1u64..4, 0u32..40), 1..60)) {
            let ids: BTreeSet<RowId> =
                ids.into_iter().map(|(s, o)| RowId { sequence: Sequence(s), ordinal: o }).collect();
            let ascending: Vec<RowId> = ids.iter().copied().collect();
            let compact = RowIds::from_ascending(&ascending);
            prop_assert_eq!(compact.iter().collect::<Vec<_>>(), ascending.clone());
            let mut appended = vec![];
            compact.append_to(&mut appended);
            prop_assert_eq!(appended, ascending.clone());
            for sequence in 0..5 {
                for ordinal in 0..41 {
                    let id = RowId { sequence: Sequence(sequence), ordinal };
                    prop_assert_eq!(compact.find(id), ascending.iter().position(|i| *i == id));
                }
            }
        }
    }
}
