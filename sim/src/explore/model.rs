//! The expected state, computed independently: the messages that each log record counts, and from these every snapshot
//! and every recovered state. Shares only the message types and the decoding of records with the kernel.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use kernel::Sequence;
use kernel::SplitId;
use kernel::cursors::CursorSet;
use kernel::cursors::Cursors;
use kernel::record::{Body, Commit, CursorAdvance, EncodedRecord, Tally};
use kernel::schema::{Catalog, CatalogChange, PipelineDef, PipelineState};
use kernel::snapshot::{ShardView, Snapshot};
use xxhash_rust::xxh3::xxh3_64;

use super::source::Topic;
use crate::oracle::Violation;

/// The state of the pipeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Running {
    /// Not created yet.
    Missing,
    /// Stopped.
    No,
    /// Started.
    Yes,
}

/// The state at a record of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Model {
    /// See [`Running`].
    pub running: Running,
    /// Generation of the pipeline.
    pub generation: u32,
    /// Next offset of each source partition, where it was seen.
    pub cursors: Vec<Option<i64>>,
    /// How often each message was counted.
    pub counts: Vec<Vec<u8>>,
    /// The message that changed each shard's row last: generation, source partition, offset.
    last: Vec<Option<Origin>>,
}

/// Generation, source partition, offset.
type Origin = (i64, i32, i64);

impl Model {
    /// Before the first record.
    pub fn new(topic: &Topic) -> Model {
        Model {
            running: Running::Missing,
            generation: 0,
            cursors: vec![None; topic.messages().len()],
            counts: topic.messages().iter().map(|messages| vec![0; *messages as usize]).collect(),
            last: vec![None; topic.shards().into()],
        }
    }

    /// Hash of the whole state.
    pub fn hash(&self) -> u64 {
        let Model { running, generation, cursors, counts, last } = self;
        let mut bytes = vec![*running as u8, *generation as u8];
        bytes.extend(cursors.iter().map(|cursor| cursor.map_or(0xff, |cursor| cursor as u8)));
        bytes.extend(counts.iter().flatten());
        for (generation, partition, offset) in last.iter().map(|last| last.unwrap_or((0, 0, 0))) {
            bytes.extend([generation as u8, partition as u8, offset as u8]);
        }
        xxh3_64(&bytes)
    }

    /// Takes the next record.
    fn append(&mut self, record: &EncodedRecord, topic: &Topic) -> Result<(), Violation> {
        let body = Body::decode(record.kind, &record.parts.concat().into())
            .map_err(|error| Violation::new("recovered", format!("record {}: {error}", record.sequence)))?;
        let Body::Commit(_, Commit { catalog, cursors, .. }) = body else { return Ok(()) };
        for change in catalog {
            match change {
                CatalogChange::PipelineSet(pipeline) => self.set(&pipeline)?,
                CatalogChange::CursorsSet { splits, .. } => self.set_cursors(&splits)?,
                _ => {}
            }
        }
        cursors.iter().try_for_each(|advance| self.advance(advance, topic))
    }

    fn set(&mut self, pipeline: &PipelineDef) -> Result<(), Violation> {
        let rewound = pipeline.generation.0 == self.generation + 1 && self.generation > 0;
        if rewound {
            if self.running != Running::No {
                return Err(Violation::new("monotonic", "the cursors of a running pipeline were set"));
            }
            self.cursors[0] = None;
        }
        self.generation = pipeline.generation.0;
        self.running = match &pipeline.state {
            PipelineState::Stopped => Running::No,
            PipelineState::Running => Running::Yes,
            PipelineState::Failed(error) => {
                return Err(Violation::new("honest", format!("the pipeline failed for no reason: {error}")));
            }
        };
        Ok(())
    }

    /// First cursors, or the one that a rewind sets: each at the start of its partition.
    fn set_cursors(&mut self, splits: &[CursorSet]) -> Result<(), Violation> {
        for set in splits {
            let known = self.cursors.get_mut(set.split.0 as usize);
            match (known, set.position.ordinal()) {
                (Some(known @ None), 0) => *known = Some(0),
                (Some(Some(known)), at) if *known == at => {}
                (known, at) => {
                    let text = format!("a cursor was set to {at}, it was {known:?}");
                    return Err(Violation::new("monotonic", text));
                }
            }
        }
        Ok(())
    }

    fn advance(&mut self, advance: &CursorAdvance, topic: &Topic) -> Result<(), Violation> {
        let CursorAdvance { generation, split: SplitId(partition), first, next, identity, tally, .. } =
            advance;
        let at = *partition as usize;
        let range = first.ordinal()..next.ordinal();
        if self.running != Running::Yes || generation.0 != self.generation {
            let text = format!(
                "{range:?} of partition {partition}, generation {generation}, counted while {:?} and in generation {}",
                self.running, self.generation
            );
            return Err(Violation::new("fenced", text));
        }
        let applied = (next.ordinal() - first.ordinal()) as u64;
        if self.cursors[at] != Some(first.ordinal())
            || next.ordinal() <= first.ordinal()
            || next.ordinal() > topic.messages()[at]
            || *identity != topic.id()
            || *tally != (Tally { applied, ..Tally::default() })
        {
            let text = format!(
                "{range:?} of partition {partition} ({tally:?}) follows {:?}; there are {}",
                self.cursors[at],
                topic.messages()[at]
            );
            return Err(Violation::new("exactly once", text));
        }
        self.cursors[at] = Some(next.ordinal());
        for offset in range {
            self.counts[at][offset as usize] += 1;
            for shard in topic.touched(at, offset) {
                self.last[shard as usize] = Some((generation.0.into(), *partition as i32, offset));
            }
        }
        Ok(())
    }

    fn check_catalog(&self, catalog: &Catalog) -> Result<(), Violation> {
        let found = catalog.pipelines.values().next();
        let running = found.map_or(Running::Missing, |pipeline| match pipeline.state {
            PipelineState::Running => Running::Yes,
            _ => Running::No,
        });
        let cursors = found
            .map_or(vec![None; self.cursors.len()], |p| cursors(&catalog.cursors[&p.id], self.cursors.len()));
        let generation = found.map_or(0, |pipeline| pipeline.generation.0);
        if running != self.running || cursors != self.cursors || generation != self.generation {
            let text = format!(
                "pipeline is {running:?}, generation {generation}, at {cursors:?}; it should be {self:?}"
            );
            return Err(Violation::new("exactly once", text));
        }
        Ok(())
    }

    fn check(&self, snapshot: &Snapshot, topic: &Topic) -> Result<(), Violation> {
        self.check_catalog(&snapshot.catalog)?;
        let mut views = (0..).zip(&snapshot.shards);
        views.try_for_each(|(shard, view)| self.check_view(shard, view, topic))
    }

    /// One shard of a snapshot.
    pub fn check_view(&self, shard: u16, view: &ShardView, topic: &Topic) -> Result<(), Violation> {
        let mut rows = vec![];
        for (_, table) in view.tables.iter().filter(|(id, _)| id.0 > 0) {
            for chunk in &table.chunks {
                let wide = |column: usize| chunk.rows.column(column).as_primitive::<Int64Type>().values();
                let partitions = chunk.rows.column(3).as_primitive::<Int32Type>().values();
                for row in 0..chunk.rows.num_rows() {
                    if chunk.deleted.as_ref().is_none_or(|deleted| !deleted.value(row)) {
                        let origin = (wide(2)[row], partitions[row], wide(4)[row]);
                        rows.push((wide(0)[row], wide(1)[row], origin));
                    }
                }
            }
        }
        let total = topic.expected(shard, &self.counts);
        let expected = total.into_iter().zip(self.last[shard as usize]);
        let expected: Vec<_> = expected.map(|((key, total), origin)| (key, total, origin)).collect();
        if rows != expected {
            let text = format!("shard {shard} shows {rows:x?}, not {expected:x?}, at {:?}", self.cursors);
            return Err(Violation::new("exactly once", text));
        }
        Ok(())
    }
}

fn cursors(cursors: &Cursors, partitions: usize) -> Vec<Option<i64>> {
    let at =
        |at| cursors.get(SplitId(at)).and_then(|split| split.position).map(|position| position.ordinal());
    (0..partitions as u32).map(at).collect()
}

/// Models of the records that are not yet published.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// Models after each record, from the last published one on.
    models: Vec<Model>,
    published: Sequence,
}

impl Oracle {
    /// A database that was just created: one record.
    pub fn new(topic: &Topic) -> Oracle {
        Oracle { models: vec![Model::new(topic)], published: Sequence(1) }
    }

    /// The published model.
    pub fn published(&self) -> &Model {
        &self.models[0]
    }

    /// The model at the end of the log.
    pub fn tip(&self) -> &Model {
        self.models.last().expect("the published one is there")
    }

    /// Whether all records are published.
    pub fn is_settled(&self) -> bool {
        self.models.len() == 1
    }

    /// The model after a record.
    pub fn at(&self, sequence: Sequence) -> Result<&Model, Violation> {
        let at = sequence.0.checked_sub(self.published.0);
        let model = at.and_then(|at| self.models.get(at as usize));
        model.ok_or_else(|| {
            let last = self.published.0 + self.models.len() as u64 - 1;
            let text = format!("{sequence} is asked for; published is {}, appended {last}", self.published);
            Violation::new("durable", text)
        })
    }

    /// The coordinator appends a record.
    pub fn appended(&mut self, record: &EncodedRecord, topic: &Topic) -> Result<(), Violation> {
        let last = self.published.0 + self.models.len() as u64 - 1;
        if record.sequence.0 != last + 1 {
            let text = format!("record {} is appended after {last}", record.sequence);
            return Err(Violation::new("recovered", text));
        }
        let mut model = self.tip().clone();
        model.append(record, topic)?;
        self.models.push(model);
        Ok(())
    }

    /// Checks a published snapshot; the disk holds everything up to `durable`.
    pub fn publish(
        &mut self,
        snapshot: &Snapshot,
        durable: Sequence,
        topic: &Topic,
    ) -> Result<(), Violation> {
        if snapshot.sequence > durable {
            let text = format!("record {} is visible, durable is {durable}", snapshot.sequence);
            return Err(Violation::new("durable", text));
        }
        self.at(snapshot.sequence)?.check(snapshot, topic)?;
        self.models.drain(..(snapshot.sequence.0 - self.published.0) as usize);
        self.published = snapshot.sequence;
        Ok(())
    }

    /// Checks a read: it must return the last published snapshot.
    pub fn check(&self, snapshot: &Snapshot, topic: &Topic) -> Result<(), Violation> {
        if snapshot.sequence != self.published {
            let text = format!("record {} is read, {} was published", snapshot.sequence, self.published);
            return Err(Violation::new("durable", text));
        }
        self.published().check(snapshot, topic)
    }

    /// After a crash the log ends at `kept`, and `opens` open records follow it. Nothing that was durable is missing.
    pub fn recovered(&mut self, kept: Sequence, opens: u64, durable: Sequence) -> Result<(), Violation> {
        if kept < self.published || kept < durable {
            let text = format!(
                "recovery kept {kept} records; {} were visible and {durable} durable",
                self.published
            );
            return Err(Violation::new("durable", text));
        }
        let model = self.at(kept)?.clone();
        self.models = vec![model; opens as usize + 1];
        self.published = kept;
        Ok(())
    }

    /// Records up to this one that readers do not see yet.
    pub fn beyond_published(&self, sequence: Sequence) -> u64 {
        sequence.0.saturating_sub(self.published.0)
    }

    /// Its part of the fingerprint.
    pub fn words(&self, words: &mut Vec<u64>) {
        words.push(self.models.len() as u64);
        words.extend(self.models.iter().map(Model::hash));
    }
}
