//! What becomes of each message is told by its offset, with real shards: rows that a shard drops or refuses, of several
//! pipelines in one record, and of messages with several rows.

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};

use super::*;
use crate::record::Tally;

/// Rows of messages, each with its values, as an extractor of partition 0 hands them in.
fn extract(host: &Host, pipeline: PipelineId, first_offset: i64, messages: &[&[i64]]) -> Extract {
    let run = &host.kernel.pipelines[&pipeline];
    let table = &host.kernel.tip().tables[&host.kernel.tip().pipelines[&pipeline].table];
    let rows = stored_rows(table, first_offset, messages);
    Extract {
        pipeline,
        epoch: run.epoch,
        partition: 0,
        first_offset,
        next: Position { next_offset: first_offset + messages.len() as i64, leader_epoch: 0 },
        messages: messages.len() as u64,
        filtered: messages.iter().filter(|values| values.is_empty()).count() as u64,
        source_bytes: 100,
        pieces: crate::route::route(table, &rows, SHARDS),
        set_aside: vec![],
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

    /// What the last record says of a pipeline's messages.
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
    // The log is busy: what is ready when it falls idle is one record.
    host.take_messages(first, 2, &[&[1], &[2], &[3]]);
    host.take_messages(second, 0, &[&[1], &[1], &[2], &[3]]);
    host.sync();
    assert_eq!(host.appended.len(), records + 1);
    assert_eq!(host.last_tally(first), Tally { applied: 1, ignored: 2, ..Tally::default() });
    assert_eq!(host.last_tally(second), Tally { applied: 3, ignored: 1, ..Tally::default() });
}
