//! The one function through which a record changes the catalog and the cursors, live and in recovery.

use std::sync::Arc;

use crate::defects::{self, Defect};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Commit, CursorAdvance};
use crate::schema::Catalog;

/// Carries out a record's definitions, then its cursor advances. An error means that the record contradicts the catalog:
/// corruption when it was read back, a broken invariant when it is our own.
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
        let CursorAdvance { pipeline, partition, .. } = advance;
        Error::new(
            ErrorKind::DataCorrupted,
            format!("logged cursor of pipeline {pipeline}, partition {partition}: {what}"),
        )
    };
    catalog.last_epoch = catalog.last_epoch.max(advance.epoch);
    let pipeline = catalog
        .pipelines
        .get_mut(&advance.pipeline)
        .ok_or_else(|| contradiction("no such pipeline".into()))?;
    let pipeline = Arc::make_mut(pipeline);
    if pipeline.generation != advance.generation {
        return Err(contradiction(format!(
            "run {} is over, the current one is {}",
            advance.generation, pipeline.generation
        )));
    }
    if pipeline.topic_id != Some(advance.topic_id) {
        return Err(contradiction("fetched from another topic".into()));
    }
    let cursor = pipeline
        .cursors
        .get_mut(&advance.partition)
        .ok_or_else(|| contradiction("the partition was never seen".into()))?;
    // Disjoint and without holes between ranges: invariant 1. Never back: invariant 4.
    if cursor.next_offset != advance.first_offset || advance.next.next_offset < advance.first_offset {
        return Err(contradiction(format!(
            "range {}..{} does not follow {}",
            advance.first_offset, advance.next.next_offset, cursor.next_offset
        )));
    }
    *cursor = advance.next;
    if defects::is(Defect::CursorOffByOne) && advance.next.next_offset > advance.first_offset {
        cursor.next_offset -= 1;
    }
    pipeline.dead_letters += advance.tally.dead_letters;
    Ok(())
}
