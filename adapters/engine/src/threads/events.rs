//! The kernel's events as lines of the operator's log: the one place of their level and their English.

use kernel::Event;

/// Writes an event to the log. Failed sources, stopped pipelines, a full disk: an operator who logs only warnings needs
/// these.
pub(crate) fn tell(event: &Event) {
    match event {
        Event::ReadOnly => tracing::warn!("disk space is below the reserve: read-only"),
        Event::ReadWrite => tracing::warn!("disk space is above the reserve: read-write"),
        Event::PipelineFailed { pipeline, name, error } => {
            tracing::warn!(pipeline = pipeline.0, "pipeline {name} stopped: {error}");
        }
        Event::SourceRetried { pipeline, pause_us, error } => {
            let (pause_ms, message) = (pause_us / 1000, &error.message);
            tracing::warn!(pipeline = pipeline.0, "source failed, trying again in {pause_ms} ms: {message}");
        }
        Event::RangeMisplaced { pipeline, split, first, next } => {
            let noun = first.kind().split_noun();
            tracing::warn!(
                pipeline = pipeline.0,
                "{noun} {split}: range {first}..{next} does not follow; fetching again from the cursor"
            );
        }
        Event::ExtractOutdated { pipeline, schema_version, table_version } => {
            tracing::warn!(
                pipeline = pipeline.0,
                "rows for version {schema_version} of the table, which has version {table_version} now; fetching again from \
                 the cursor"
            );
        }
        Event::ReaderLost { pipeline, split, wanted } => {
            let noun = wanted.kind().split_noun();
            tracing::warn!(
                pipeline = pipeline.0,
                "{noun} {split}: a reader at {wanted} has lost its position; fetching again from the cursor"
            );
        }
    }
}
