//! The disposition of each message is logged by its offset, with real shards: rows that a shard drops or refuses,
//! several pipelines in one record, and messages with several rows.

use std::collections::BTreeSet;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};

use super::*;
use crate::record::Tally;

/// Rows of messages, each with its values, as an extractor of partition 0 hands them in.
fn extract(host: &Host, pipeline: PipelineId, first_offset: i64, messages: &[&[i64]]) -> Extract {
    let source = &host.kernel.pipelines[&pipeline];
    let table = &host.kernel.tip().tables[&host.kernel.tip().pipelines[&pipeline].table];
    let rows = stored_rows(table, first_offset, messages);
    Extract {
        pipeline,
        epoch: source.epoch,
        split: SplitId(0),
        schema_version: table.schema_version,
        first: Position::kafka(first_offset, 0),
        next: Position::kafka(first_offset + messages.len() as i64, 0),
        messages: messages.len() as u64,
        filtered: messages.iter().filter(|values| values.is_empty()).count() as u64,
        source_bytes: 100,
        rows: crate::route::route(table, &rows, SHARDS),
        dead_letters: vec![],
        originals: None,
    }
}

fn stored_rows(table: &TableDef, first_offset: i64, messages: &[&[i64]]) -> RecordBatch {
    let values: Vec<i64> = messages.concat();
    let offsets =
        (first_offset..).zip(messages).flat_map(|(offset, values)| values.iter().map(move |_| offset));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(values.clone())),
        Arc::new(Int64Array::from(vec![1; values.len()])),
        Arc::new(Int32Array::from(vec![0; values.len()])),
        Arc::new(Int64Array::from_iter_values(offsets)),
    ];
    RecordBatch::try_new(table.stored_schema(), columns).unwrap()
}

impl Host {
    fn take_messages(&mut self, pipeline: PipelineId, first_offset: i64, messages: &[&[i64]]) {
        let extract = extract(self, pipeline, first_offset, messages);
        self.feed(Input::Extracted(extract));
        self.verified_of(pipeline, TOPIC);
    }

    /// The tally of a pipeline in the last record.
    fn last_tally(&self, pipeline: PipelineId) -> Tally {
        let (_, _, Body::Commit(_, commit)) = self.appended.last().unwrap() else { panic!("a commit") };
        commit.cursors.iter().find(|advance| advance.pipeline == pipeline).expect("in the record").tally
    }
}

#[test]
fn rows_dropped_by_one_pipeline_are_not_told_of_another_one_in_the_same_record() {
    let mut host = Host::with_shards();
    let first = host.start_pipeline(true, pipeline("p", "t", OnDuplicate::Ignore));
    let second = host.start_pipeline(true, pipeline("q", "u", OnDuplicate::Ignore));
    host.take_messages(first, 0, &[&[1], &[2]]);
    let records = host.appended.len();
    // The log is busy: all extracts that are ready when it becomes idle go into one record.
    host.take_messages(first, 2, &[&[1], &[2], &[3]]);
    host.take_messages(second, 0, &[&[1], &[1], &[2], &[3]]);
    host.sync();
    assert_eq!(host.appended.len(), records + 1);
    assert_eq!(host.last_tally(first), Tally { applied: 1, ignored: 2, ..Tally::default() });
    assert_eq!(host.last_tally(second), Tally { applied: 3, ignored: 1, ..Tally::default() });
}

/// Keys of both shards, so that a message with all of them has rows on both.
const SPREAD: [i64; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

fn errors_rows(host: &Host) -> u64 {
    let shards = host.kernel.published().shards.iter();
    shards.filter_map(|view| view.tables.get(&ERRORS_TABLE)).map(|table| table.live_rows).sum()
}

#[test]
fn a_message_of_several_rows_on_several_shards_counts_once_whatever_becomes_of_its_rows() {
    let mut host = Host::with_shards();
    let id = host.start_pipeline(true, pipeline("p", "t", OnDuplicate::Reject));
    host.take_messages(id, 0, &[&SPREAD]);
    assert!(
        extract(&host, id, 1, &[&SPREAD]).rows.iter().all(Option::is_some),
        "the message has rows on both shards"
    );
    assert_eq!(host.last_tally(id), Tally { applied: 1, ..Tally::default() });
    host.sync();
    // One row refused; one row per shard refused; all rows refused; and one filtered message.
    host.take_messages(id, 1, &[&[10, 11, 3, 12], &SPREAD[..6], &[13, 14], &[], &[14]]);
    let tally = host.last_tally(id);
    assert_eq!(tally, Tally { applied: 1, filtered: 1, ignored: 0, dead_letters: 3 });
    host.sync();
    assert_eq!(errors_rows(&host), 1 + 6 + 1, "each refused row is in the errors table");
    let cursors = &host.kernel.published().catalog.cursors[&id];
    assert_eq!(
        (cursors.dead_letters, host.position(id).ordinal()),
        (3, 6),
        "dead letters count messages, not rows"
    );
}

#[test]
fn rows_of_one_message_that_refuse_one_another_set_it_aside_once() {
    let mut host = Host::with_shards();
    let id = host.start_pipeline(true, pipeline("p", "t", OnDuplicate::Reject));
    host.take_messages(id, 0, &[&[1, 1, 1], &[2]]);
    assert_eq!(host.last_tally(id), Tally { applied: 1, dead_letters: 1, ..Tally::default() });
}

#[test]
fn a_message_with_a_dropped_row_is_ignored_once() {
    let mut host = Host::with_shards();
    let id = host.start_pipeline(true, pipeline("p", "t", OnDuplicate::Ignore));
    host.take_messages(id, 0, &[&SPREAD, &SPREAD, &[20, 0, 7], &[21], &[]]);
    assert_eq!(host.last_tally(id), Tally { applied: 2, filtered: 1, ignored: 2, dead_letters: 0 });
}

#[test]
fn a_refused_row_decides_over_a_dropped_one_of_the_same_message() {
    let mut refused = Tally { applied: 3, ..Tally::default() };
    staging::dispose(&mut refused, &BTreeSet::from([7]), vec![8, 7, 8, 7]);
    assert_eq!(refused, Tally { applied: 1, ignored: 1, dead_letters: 1, ..Tally::default() });
}

#[test]
fn the_error_limit_counts_messages() {
    let mut host = Host::with_shards();
    let spec = PipelineSpec { error_limit: Some(1), ..pipeline("p", "t", OnDuplicate::Reject) };
    let id = host.start_pipeline(true, spec);
    host.take_messages(id, 0, &[&[1, 1, 1, 1]]);
    host.sync();
    assert_eq!(host.state(), PipelineState::Running, "three refused rows of one message are one dead letter");
    host.take_messages(id, 1, &[&[1]]);
    host.sync();
    assert!(matches!(host.state(), PipelineState::Failed(_)));
}
