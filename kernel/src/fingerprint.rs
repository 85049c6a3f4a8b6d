//! A hash of the parts of a state that its future depends on. An exhaustive search uses it to recognise states that it
//! has already visited. Only with the feature `explore`.
//!
//! Left out, because no decision depends on them: sequences except their distance from the last published one; epochs
//! except whether they are current; tokens and counters of requests and table locks; times except whether a
//! timer is due; numbers of slots and of contents. Each type is destructured completely, so a new field does not
//! compile until it is handled here.

use arrow_array::RecordBatch;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::columns;
use crate::ids::*;
use crate::record::{Commit, CursorAdvance, Tally};
use crate::schema::{
    Catalog, CatalogChange, CursorSet, Cursors, PipelineDef, PipelineState, Split, StartAt, TableDef,
};

/// Collects the parts that count, then hashes them.
#[derive(Debug, Default)]
pub struct StateFingerprint {
    said: Vec<u8>,
    base: Sequence,
    epochs: Vec<(PipelineId, Epoch)>,
}

impl StateFingerprint {
    /// Sequences are stored as their distance from `base`, epochs as whether they are among the current ones.
    pub fn new(base: Sequence, epochs: Vec<(PipelineId, Epoch)>) -> StateFingerprint {
        StateFingerprint { said: Vec::with_capacity(1024), base, epochs }
    }

    /// A number, a flag, a length.
    pub fn word(&mut self, word: impl Into<u64>) {
        self.said.extend_from_slice(&word.into().to_le_bytes());
    }

    /// A length.
    pub fn count(&mut self, len: usize) {
        self.word(len as u64);
    }

    /// A signed number.
    pub fn signed(&mut self, number: i64) {
        self.word(number as u64);
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(xxh3_64(bytes));
        self.word(bytes.len() as u64);
    }

    /// A sequence, as its distance from the base.
    pub fn sequence(&mut self, sequence: Sequence) {
        self.word(sequence.0.wrapping_sub(self.base.0));
    }

    /// Whether an epoch is the current one of its pipeline.
    pub fn epoch(&mut self, pipeline: PipelineId, epoch: Epoch) {
        self.word(self.epochs.contains(&(pipeline, epoch)));
    }

    /// Rows, by their logical values.
    pub fn rows(&mut self, table: &TableDef, rows: &RecordBatch) {
        let mut bytes = Vec::new();
        columns::encode(table, &[], Some(rows), &mut bytes);
        self.bytes(&bytes);
    }

    /// The hash of all parts.
    pub fn finish(&self) -> u128 {
        xxh3_128(&self.said)
    }

    pub(crate) fn position(&mut self, position: Position) {
        self.bytes(position.as_bytes());
    }

    pub(crate) fn cursor_set(&mut self, set: &CursorSet) {
        let CursorSet { split, name: _, identity, position } = set;
        self.word(split.0);
        self.bytes(identity.as_ref().map_or(&[][..], Identity::as_bytes));
        self.position(*position);
    }

    fn cursors(&mut self, cursors: &Cursors) {
        self.word(cursors.dead_letters);
        for (number, Split { name: _, identity, position, finished }) in cursors.splits() {
            self.word(number.0);
            self.bytes(identity.as_ref().map_or(&[][..], Identity::as_bytes));
            self.word(position.is_some());
            position.iter().for_each(|position| self.position(*position));
            self.word(*finished);
        }
    }

    pub(crate) fn catalog(&mut self, catalog: &Catalog) {
        let Catalog { tables, pipelines, cursors, next_table, next_pipeline, last_epoch: _ } = catalog;
        self.word(*next_table);
        self.word(*next_pipeline);
        self.count(tables.len());
        tables.values().for_each(|table| self.table(table));
        self.count(pipelines.len());
        pipelines.values().for_each(|pipeline| self.pipeline(pipeline));
        cursors.values().for_each(|cursors| self.cursors(cursors));
    }

    fn table(&mut self, table: &TableDef) {
        let TableDef { id, schema_version, name, .. } = table;
        self.word(id.0);
        self.word(*schema_version);
        self.bytes(name.as_bytes());
    }

    pub(crate) fn pipeline(&mut self, pipeline: &PipelineDef) {
        let PipelineDef {
            id,
            name: _,
            table,
            source_kind: _,
            definition_sql: _,
            on_duplicate: _,
            error_limit,
            batch_interval_us,
            batch_bytes_max,
            state,
            epoch: _,
            generation,
            start_at,
            created_at_us: _,
            altered_at_us: _,
        } = pipeline;
        self.word(id.0);
        self.word(table.0);
        self.word(error_limit.map_or(0, |limit| limit + 1));
        self.signed(*batch_interval_us);
        self.word(*batch_bytes_max);
        match state {
            PipelineState::Stopped => self.word(0u64),
            PipelineState::Running => self.word(1u64),
            PipelineState::Failed(error) => self.bytes(error.sqlstate.as_str().as_bytes()),
        }
        self.word(generation.0);
        self.word(u64::from(*start_at == StartAt::Latest));
    }

    pub(crate) fn commit(&mut self, commit: &Commit) {
        let Commit { at_us: _, catalog, cursors, outcomes } = commit;
        self.count(catalog.len());
        for change in catalog {
            match change {
                CatalogChange::TableCreated(table) => self.table(table),
                CatalogChange::TableDropped(id) | CatalogChange::TableTruncated(id) => self.word(id.0),
                CatalogChange::PipelineSet(pipeline) => self.pipeline(pipeline),
                CatalogChange::CursorsSet { pipeline, splits } => {
                    self.word(pipeline.0);
                    splits.iter().for_each(|set| self.cursor_set(set));
                }
                CatalogChange::PipelineDropped(id)
                | CatalogChange::CursorsForgotten(id)
                | CatalogChange::DeadLettersRestarted(id)
                | CatalogChange::ErrorsCleared(id) => self.word(id.0),
            }
        }
        self.count(cursors.len());
        cursors.iter().for_each(|cursor| self.advance(cursor));
        self.count(outcomes.len());
    }

    fn advance(&mut self, advance: &CursorAdvance) {
        let CursorAdvance { pipeline, generation, epoch, split, first, next, identity, finished, tally } =
            advance;
        let Tally { applied, filtered, ignored, dead_letters } = *tally;
        self.word(pipeline.0);
        self.word(generation.0);
        self.epoch(*pipeline, *epoch);
        self.word(split.0);
        self.position(*first);
        self.position(*next);
        self.bytes(identity.as_bytes());
        self.word(*finished);
        [applied, filtered, ignored, dead_letters].iter().for_each(|count| self.word(*count));
    }
}
