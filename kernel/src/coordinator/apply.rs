//! The one function through which a record changes the catalog and the cursors, live and in recovery.

use std::cmp::Ordering;

use crate::error::{Error, Result, SqlState};
use crate::record::{Commit, CursorAdvance};
use crate::schema::Catalog;

/// Carries out a record's definitions, then its cursor advances. An error means that the record contradicts the
/// catalog: corruption during recovery, a broken invariant otherwise.
pub(crate) fn apply(catalog: &mut Catalog, commit: &Commit) -> Result<()> {
    for change in &commit.catalog {
        catalog.apply(change)?;
    }
    for advance in &commit.cursors {
        apply_advance(catalog, advance)?;
    }
    Ok(())
}

fn apply_advance(catalog: &mut Catalog, advance: &CursorAdvance) -> Result<()> {
    let contradiction = |what: String| {
        let CursorAdvance { pipeline, split, .. } = advance;
        Error::new(
            SqlState::DATA_CORRUPTED,
            format!("logged cursor of pipeline {pipeline}, split {split}: {what}"),
        )
    };
    catalog.last_epoch = catalog.last_epoch.max(advance.epoch);
    let pipeline =
        catalog.pipelines.get(&advance.pipeline).ok_or_else(|| contradiction("no such pipeline".into()))?;
    if pipeline.generation != advance.generation {
        return Err(contradiction(format!(
            "generation {} has ended, the current one is {}",
            advance.generation, pipeline.generation
        )));
    }
    let cursors = catalog.cursors.get_mut(&advance.pipeline);
    let cursors = cursors.ok_or_else(|| contradiction("the pipeline has no cursors".into()))?;
    let split = cursors.get(advance.split).ok_or_else(|| contradiction("the split was never seen".into()))?;
    if split.identity.as_ref() != Some(&advance.identity) {
        return Err(contradiction("fetched from a split with another identity".into()));
    }
    let cursor = split.position.ok_or_else(|| contradiction("the split has no cursor".into()))?;
    let CursorAdvance { first, next, .. } = advance;
    // Ranges are disjoint and contiguous: invariant 1. Cursors never go back: invariant 4.
    let is_forward = first.compare(next).is_some_and(Ordering::is_le);
    if split.finished || !cursor.is_continued_by(first) || !is_forward {
        return Err(contradiction(format!("range {first}..{next} does not follow {cursor}")));
    }
    cursors.advance(advance.split, *next, advance.finished);
    cursors.dead_letters += advance.tally.dead_letters;
    Ok(())
}
