//! Rows of the errors table: dead letters and source failures. Built per batch, without cost for rows that are applied.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};

use crate::error::{Error, SqlState};
use crate::extract::{DeadLetter, DeadLetterKind};
use crate::ids::*;
use crate::schema::{Catalog, PipelineDef, errors_table};

/// One row, before conversion to columns.
struct Row<'a> {
    pipeline: &'a PipelineDef,
    kind: &'a str,
    error: &'a Error,
    origin: Option<(SplitId, i64)>,
    payload: Option<&'a [u8]>,
}

/// The same dead letters in order, in parts of at most so many bytes, or of one dead letter.
pub(super) fn parts(
    dead_letters: &[(PipelineId, DeadLetter)],
    bytes_max: usize,
) -> Vec<&[(PipelineId, DeadLetter)]> {
    let (mut parts, mut rest) = (vec![], dead_letters);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |(_, message): &&(PipelineId, DeadLetter)| {
            bytes +=
                message.error.message.len() + message.payload.as_ref().map_or(0, |payload| payload.len());
            bytes <= bytes_max
        };
        let count = rest.iter().take_while(fits).count().max(1);
        parts.extend(rest.split_off(..count));
    }
    parts
}

/// Rows for dead letters.
pub(super) fn rows(
    catalog: &Catalog,
    at_us: Micros,
    dead_letters: &[(PipelineId, DeadLetter)],
) -> RecordBatch {
    columns(
        at_us,
        dead_letters.iter().map(|(pipeline, message)| Row {
            pipeline: &catalog.pipelines[pipeline],
            kind: match message.kind {
                DeadLetterKind::Decode => "decode",
                DeadLetterKind::Expression => "expression",
                DeadLetterKind::Constraint => "constraint",
            },
            error: &message.error,
            origin: Some((message.split, message.ordinal)),
            payload: message.payload.as_deref(),
        }),
    )
}

/// The row for a source failure of a pipeline.
pub(super) fn source_error(
    catalog: &Catalog,
    at_us: Micros,
    pipeline: PipelineId,
    error: &Error,
) -> RecordBatch {
    let row =
        Row { pipeline: &catalog.pipelines[&pipeline], kind: "source", error, origin: None, payload: None };
    columns(at_us, std::iter::once(row))
}

/// The error of a pipeline that exceeded its limit of dead letters.
pub(super) fn limit_reached(pipeline: &PipelineDef, dead_letters: u64, limit: u64) -> Error {
    Error::new(
        SqlState::INVALID_TEXT_REPRESENTATION,
        format!(
            "pipeline {} has {dead_letters} dead letters, more than its limit of {limit}. They are in \
             information_schema.pipelines_errors; the other messages are loaded. START PIPELINE continues after them",
            pipeline.name
        ),
    )
}

fn columns<'a>(at_us: Micros, rows: impl Iterator<Item = Row<'a>>) -> RecordBatch {
    let schema = errors_table().stored_schema();
    let mut ids = Int64Builder::new();
    let mut times = TimestampMicrosecondBuilder::new();
    let [mut names, mut kinds, mut codes, mut messages] = std::array::from_fn(|_| StringBuilder::new());
    let (mut generations, mut splits, mut ordinals) =
        (Int64Builder::new(), Int32Builder::new(), Int64Builder::new());
    let mut payloads = BinaryBuilder::new();
    for row in rows {
        ids.append_value(row.pipeline.id.0.into());
        names.append_value(&row.pipeline.name);
        times.append_value(at_us);
        kinds.append_value(row.kind);
        codes.append_value(row.error.sqlstate.as_str());
        messages.append_value(row.error.to_string());
        generations.append_option(row.origin.map(|_| row.pipeline.generation.0.into()));
        splits.append_option(row.origin.map(|o| o.0.0 as i32));
        ordinals.append_option(row.origin.map(|o| o.1));
        payloads.append_option(row.payload);
    }
    let (generations, splits, ordinals) =
        (Arc::new(generations.finish()), Arc::new(splits.finish()), Arc::new(ordinals.finish()));
    let own: [ArrayRef; 10] = [
        Arc::new(ids.finish()),
        Arc::new(names.finish()),
        Arc::new(times.finish().with_timezone("+00:00")),
        Arc::new(kinds.finish()),
        Arc::new(codes.finish()),
        Arc::new(messages.finish()),
        generations.clone(),
        splits.clone(),
        ordinals.clone(),
        Arc::new(payloads.finish()),
    ];
    let hidden: [ArrayRef; 3] = [generations, splits, ordinals];
    RecordBatch::try_new(schema, own.into_iter().chain(hidden).collect())
        .expect("columns match the definition")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn parts_are_bounded_in_bytes_and_leave_nothing_out() {
        let message = |offset, len| DeadLetter {
            split: SplitId(0),
            ordinal: offset,
            kind: DeadLetterKind::Decode,
            error: Error::new(SqlState::INVALID_TEXT_REPRESENTATION, ""),
            payload: Some(Bytes::from(vec![b'x'; len])),
        };
        let lengths = [10, 90, 1, 500, 40, 40, 40];
        let all: Vec<_> = (0..).zip(lengths).map(|(at, len)| (PipelineId(1), message(at, len))).collect();
        let parts = parts(&all, 100);
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 1, 1, 2, 1]);
        assert_eq!(parts.concat(), all);
    }
}
