//! The small world: one database, one pipeline, one operator, and all possible moves. Each step is one move, chosen by
//! a decision; an enumerator takes them all.

use std::collections::VecDeque;

use kernel::expr::{Arithmetic, Expr, OnDuplicate, Update};
use kernel::log;
use kernel::message::{Definition, Input, Offsets, PipelineSpec, Request, ShardReply, TableSpec};
use kernel::{
    ColumnId, Config, Coordinator, Micros, Pacing, Position, Recovery, RequestId, Sequence, Shard, ShardId,
    SplitName,
};
use xxhash_rust::xxh3::xxh3_128;

use super::crash::{Crashes, Ending, Recovered};
use super::disk::Disk;
use super::host::EffectHost;
use super::model::{Oracle, Running};
use super::process::{Log, LogStep, Part, Process, Source, SourceReply, exactly};
use super::scope::Scope;
use super::source::{PIPELINE, Reader, Topic, columns};
use crate::decide::Decisions;
use crate::oracle::Violation;

pub(super) type Check = Result<(), Violation>;

/// The constant parts: the scope, the topic, and the results of recoveries.
#[derive(Debug)]
pub struct Surroundings {
    /// See [`Scope`].
    pub scope: Scope,
    /// See [`Topic`].
    pub topic: Topic,
    /// See [`Crashes`].
    pub crashes: Crashes,
}

impl Surroundings {
    /// Of a world of this scope.
    pub fn new(scope: Scope) -> Surroundings {
        let generations = 1 + u32::from(scope.rewinds);
        let topic = Topic::new(scope.messages.clone(), scope.shards, generations);
        Surroundings { topic, crashes: Crashes::new(scope.clone()), scope }
    }
}

/// Limits of the kernel in this world. Time matters only for the sync marker.
pub(super) fn config(scope: &Scope) -> Config {
    const NEVER_US: Micros = 1 << 50;
    Config {
        pipeline_credit_bytes: scope.credit,
        pacing: Pacing {
            retry_us_min: 1,
            retry_us_max: 1,
            metadata_interval_us: NEVER_US,
            linger_us: 0,
            metadata_pause_us: 0,
            ..Pacing::default()
        },
        sync_marker_idle_us: if scope.sync_marker { 1 } else { NEVER_US },
        ..Config::default()
    }
}

/// A possible move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    /// The next answer of a shard arrives.
    ShardReply(usize),
    /// A step of the log.
    Log(LogStep),
    /// The coordinator gets Synced.
    Synced,
    /// The next answer of the source arrives.
    SourceReply,
    /// Messages of a partition arrive up to this offset, from this many before the expected one.
    Read {
        /// Source partition.
        partition: usize,
        /// Messages that have passed already.
        again: i64,
        /// End of the range.
        next: i64,
    },
    /// A reader's last range arrives again.
    Twice(usize),
    /// A fetch of an ended epoch arrives.
    Late(usize),
    /// The operator sends the next command.
    Ask,
    /// The operator decides to rewind the pipeline.
    Rewind,
    /// Time passes.
    Clock,
    /// The process dies, or the power is cut, and the next process starts.
    Crash,
}

/// The operator starts the pipeline and sometimes rewinds it.
#[derive(Clone, Debug)]
struct Operator {
    /// False until the world is set up.
    active: bool,
    /// The wanted generation; one beyond the current means SET OFFSETS.
    generation: u32,
    waiting: bool,
    requests: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct World {
    /// Control plane.
    coordinator: Part<Coordinator>,
    process: Process,
    oracle: Oracle,
    operator: Operator,
    crashes: u8,
    redeliveries: u8,
    rewinds: u8,
}

impl World {
    /// A database with one table and one stopped pipeline, all of it durable and published.
    pub fn new(around: &Surroundings) -> Result<World, Violation> {
        let scope = &around.scope;
        let refused = |error: kernel::Error| Violation::new("live", format!("creating the world: {error}"));
        let mut recovery = Recovery::new();
        let mut open = None;
        let disk = Disk::new(scope.page_len, scope.rules.whole_appends);
        let opened = log::create(disk, [1; 16], scope.shards, 0, scope.log_file_len, &mut |record| {
            open = Some(record);
            Ok(())
        });
        let opened = opened.map_err(refused)?;
        let open = open.expect("a log begins with an open record");
        recovery.replay(&open).map_err(refused)?;
        let mut shards: Vec<Shard> =
            (0..scope.shards).map(|id| Shard::new(ShardId(id), scope.shards)).collect();
        let views = shards.iter_mut().map(Shard::recovered).collect();
        let coordinator = recovery.finish(config(scope), 0, &open, views).map_err(refused)?;
        let mut world = World {
            coordinator: Part::new(coordinator, 0),
            process: process(shards, Log::new(opened.writer), around),
            oracle: Oracle::new(&around.topic),
            operator: Operator { active: false, generation: 1, waiting: false, requests: 0 },
            crashes: 0,
            redeliveries: 0,
            rewinds: 0,
        };
        world.drain(around)?;
        for definition in [create_table(), create_pipeline(scope)] {
            world.ask(definition, around)?;
            while let Some(first) = world.moves(around).first().copied() {
                world.take(first, &Decisions::new(crate::decide::Recorded::new(vec![])), around)?;
            }
        }
        world.operator.active = true;
        (world.crashes, world.redeliveries, world.rewinds) =
            (scope.crashes, scope.redeliveries, scope.rewinds);
        Ok(world)
    }

    /// All possible moves. Due ones come first.
    pub fn moves(&self, around: &Surroundings) -> Vec<Move> {
        let mut moves = self.due(around);
        if !self.operator.active {
            return moves;
        }
        if self.redeliveries > 0 {
            for (partition, reader) in self.process.source.readers.iter().enumerate() {
                let Some(reader) = reader else { continue };
                let at = reader.position();
                let ends = at + 1..=around.topic.messages()[partition];
                if self.process.source.credit > 0 {
                    moves.extend(
                        ends.flat_map(|next| {
                            (1..=at).map(move |again| Move::Read { partition, again, next })
                        }),
                    );
                }
                moves.extend(reader.last().map(|_| Move::Twice(partition)));
            }
            moves.extend((0..self.process.source.late.len()).map(Move::Late));
        }
        if self.rewinds > 0 && self.oracle.published().generation == self.operator.generation {
            moves.push(Move::Rewind);
        }
        if self.crashes > 0 {
            moves.push(Move::Crash);
        }
        moves
    }

    /// The due moves.
    fn due(&self, around: &Surroundings) -> Vec<Move> {
        let process = &self.process;
        let mut moves = vec![];
        let answering = (0..process.shards.len()).filter(|shard| !process.shard_replies[*shard].is_empty());
        moves.extend(answering.map(Move::ShardReply));
        moves.extend(process.log.get().steps().map(Move::Log));
        if !process.log_replies.is_empty() {
            moves.push(Move::Synced);
        }
        if !process.source.replies.is_empty() {
            moves.push(Move::SourceReply);
        }
        for (partition, reader) in process.source.readers.iter().enumerate() {
            let Some(at) = reader.as_ref().map(Reader::position) else { continue };
            if process.source.credit > 0 {
                let ends = at + 1..=around.topic.messages()[partition];
                moves.extend(ends.map(|next| Move::Read { partition, again: 0, next }));
            }
        }
        if self.next_definition().is_some() {
            moves.push(Move::Ask);
        }
        if process.wake_up().is_some() {
            moves.push(Move::Clock);
        }
        moves
    }

    /// One of the moves; with or without crashes among them. None if there is no move.
    pub fn choose(&self, crashes: bool, decisions: &Decisions<'_>, around: &Surroundings) -> Option<Move> {
        let mut moves = self.moves(around);
        moves.retain(|chosen| crashes || *chosen != Move::Crash);
        (!moves.is_empty()).then(|| decisions.pick(&moves))
    }

    /// Takes a move.
    pub fn take(&mut self, chosen: Move, decisions: &Decisions<'_>, around: &Surroundings) -> Check {
        match chosen {
            Move::Crash => {
                let outcomes =
                    around.crashes.outcomes(self.process.log.get().writer.storage(), self.crashes)?;
                let outcome = &outcomes[decisions.index(outcomes.len())];
                self.crash(outcome, around)
            }
            Move::ShardReply(shard) => self.answer(shard, around),
            Move::Log(step) => self.log(step),
            Move::Synced => {
                let through = self.process.log_replies.pop_front().expect("it has one");
                self.feed(Input::Synced { through }, around)
            }
            Move::SourceReply => {
                let metadata = around.topic.metadata();
                let input = match self.process.source.replies.pop_front().expect("it has one") {
                    SourceReply::Opened(epoch) => Input::SourceOpened { pipeline: PIPELINE, epoch, metadata },
                    SourceReply::Verified(epoch, token) => {
                        Input::SourceVerified { pipeline: PIPELINE, epoch, token, metadata }
                    }
                };
                self.feed(input, around)
            }
            Move::Read { partition, again, next } => {
                let source = &mut self.process.source;
                let reader = source.readers[partition].as_mut().expect("it reads");
                let first = reader.position() - again;
                let range = reader.answer(first, next);
                self.redelivered(again > 0);
                self.extracted(partition, range, around)
            }
            Move::Twice(partition) => {
                let range = self.process.source.readers[partition].as_ref().and_then(Reader::last);
                self.redelivered(true);
                self.extracted(partition, range, around)
            }
            Move::Late(at) => {
                let late = self.process.source.late.remove(at);
                self.redelivered(true);
                let extract = around.topic.extract(
                    late.epoch,
                    late.generation,
                    late.partition,
                    late.offset,
                    late.offset + 1,
                );
                self.feed(Input::Extracted(extract), around)
            }
            Move::Ask => {
                let definition = self.next_definition().expect("something is to be asked");
                self.ask(definition, around)
            }
            Move::Rewind => {
                self.rewinds -= 1;
                self.operator.generation += 1;
                Ok(())
            }
            Move::Clock => {
                self.process.now_us = self.process.wake_up().expect("there is a wake-up");
                self.feed(Input::Tick, around)
            }
        }
    }

    /// Checks a state without due moves: all work must be done (invariant 10).
    pub fn check_end(&self, around: &Surroundings) -> Check {
        if !self.operator.active || !self.due(around).is_empty() {
            return Ok(());
        }
        let model = self.oracle.published();
        let ends: Vec<Option<i64>> = around.topic.messages().iter().map(|end| Some(*end)).collect();
        if !self.oracle.is_settled()
            || self.operator.waiting
            || self.process.source.credit != around.scope.credit as i64
            || model.running != Running::Yes
            || model.generation != self.operator.generation
            || model.cursors != ends
        {
            let text = format!(
                "no progress is possible in this state: credit {}, {model:?}",
                self.process.source.credit
            );
            return Err(Violation::new("live", text));
        }
        let counted = |partition: usize, offset: usize| {
            let again = if partition == 0 { model.generation as u8 } else { 1 };
            let count = model.counts[partition][offset];
            (1..=again).contains(&count)
        };
        let all = model.counts.iter().enumerate();
        let mut all = all.flat_map(|(partition, counts)| (0..counts.len()).map(move |at| (partition, at)));
        if !all.all(|(partition, offset)| counted(partition, offset)) {
            return Err(Violation::new("exactly once", format!("counted {:?}", model.counts)));
        }
        Ok(())
    }

    fn redelivered(&mut self, is_one: bool) {
        self.redeliveries -= u8::from(is_one);
        if self.redeliveries == 0 {
            self.process.source.late.clear();
        }
    }

    fn extracted(&mut self, partition: usize, range: Option<(i64, i64)>, around: &Surroundings) -> Check {
        let Some((first, next)) = range else { return Ok(()) };
        let source = &mut self.process.source;
        source.credit -= next - first;
        let epoch = source.open.expect("readers belong to an epoch");
        let extract = around.topic.extract(epoch, source.generation, partition, first, next);
        self.feed(Input::Extracted(extract), around)
    }

    fn log(&mut self, step: LogStep) -> Check {
        let log = self.process.log.change();
        let durable =
            log.step(step).map_err(|error| Violation::new("live", format!("the log failed: {error}")))?;
        if let Some(through) = durable {
            self.process.durable = self.process.durable.max(through);
            self.process.log_replies.push_back(through);
        }
        self.process.log.hashed(|log| log.fingerprint().finish());
        Ok(())
    }

    fn answer(&mut self, shard: usize, around: &Surroundings) -> Check {
        let reply = self.process.shard_replies[shard].pop_front().expect("it has one");
        self.feed(Input::Shard { shard: ShardId(shard as u16), reply }, around)
    }

    fn feed(&mut self, input: Input, around: &Surroundings) -> Check {
        self.handle(input, around)?;
        while around.scope.rules.together
            && let Some(shard) = self.crossed_off()
        {
            self.answer(shard, around)?;
        }
        Ok(())
    }

    /// A shard after whose next answer the coordinator still waits for another one.
    fn crossed_off(&self) -> Option<usize> {
        let stages = [false, true].map(|stages| self.process.outstanding(stages));
        let next = |shard: &usize| {
            let reply = self.process.shard_replies[*shard].front();
            reply.is_some_and(|r| stages[usize::from(matches!(r, ShardReply::Staged { .. }))] > 1)
        };
        (0..self.process.shards.len()).find(next)
    }

    fn handle(&mut self, input: Input, around: &Surroundings) -> Check {
        self.coordinator.change().handle(self.process.now_us, input);
        self.drain(around)
    }

    fn drain(&mut self, around: &Surroundings) -> Check {
        let coordinator = self.coordinator.change();
        let mut host = EffectHost {
            process: &mut self.process,
            oracle: &mut self.oracle,
            waiting: &mut self.operator.waiting,
            late: self.redeliveries > 0,
            around,
        };
        kernel::carry_out(coordinator, &mut host)?;
        // In this world a snapshot that is superseded has no reader.
        for sequence in coordinator.superseded().clone() {
            coordinator.handle(self.process.now_us, Input::SnapshotReleased { sequence });
            if let Some(effect) = coordinator.poll_effect() {
                let text = format!("the release of snapshot {sequence} has an effect: {effect:?}");
                return Err(Violation::new("bounded", text));
            }
        }
        self.coordinator.hashed(|coordinator| coordinator.fingerprint().finish());
        self.oracle.check(self.coordinator.get().published(), &around.topic)
    }

    /// The operator's next command for the published state.
    fn next_definition(&self) -> Option<Definition> {
        let (operator, model) = (&self.operator, self.oracle.published());
        if !operator.active || operator.waiting {
            return None;
        }
        let name = "p".to_owned();
        match model.running {
            Running::Missing => None,
            Running::Yes if model.generation == operator.generation => None,
            Running::Yes => Some(Definition::StopPipeline { name, if_running: true }),
            Running::No if model.generation == operator.generation => {
                Some(Definition::StartPipeline { name, if_not_running: true })
            }
            Running::No => {
                let start = [(SplitName::kafka(0), Position::kafka(0, -1))].into_iter().collect();
                Some(Definition::SetOffsets { name, offsets: Offsets::At(start) })
            }
        }
    }

    fn ask(&mut self, definition: Definition, around: &Surroundings) -> Check {
        self.operator.waiting = true;
        self.operator.requests += 1;
        let id = RequestId(self.operator.requests);
        self.feed(Input::Request { id, request: Request::Define(definition) }, around)
    }

    fn crash(&mut self, outcome: &Ending, around: &Surroundings) -> Check {
        let Recovered { coordinator, shards, writer, .. } = &*outcome.recovered;
        let before = self.process.log.get().writer.term();
        let opens = writer.term().0 - before.0;
        let kept = Sequence(outcome.recovered.last().0 - opens);
        self.oracle.recovered(kept, opens, self.process.durable)?;
        self.crashes -= outcome.crashes;
        self.operator.waiting = false;
        self.coordinator = Part::new(coordinator.clone(), 0);
        self.process = process(shards.clone(), Log::new(writer.clone()), around);
        self.oracle.publish(coordinator.published(), self.process.durable, &around.topic)?;
        self.drain(around)
    }

    /// The state, in 128 bits.
    pub fn hash(&self, around: &Surroundings) -> u128 {
        if !around.scope.rules.fingerprint {
            let World { coordinator, process, oracle, operator, crashes, redeliveries, rewinds } = self;
            let Process { shards, log, .. } = process;
            let parts = (exactly(coordinator.get()), exactly(shards), log.get().writer.storage().exact());
            let rest = (exactly(log), exactly(oracle), exactly(operator));
            let channels = exactly(&(
                &process.shard_replies,
                &process.log_replies,
                &process.source,
                process.now_us,
                process.wake_at_us,
            ));
            return exactly(&(parts, rest, channels, crashes, redeliveries, rewinds));
        }
        let World { coordinator, process, oracle, operator, crashes, redeliveries, rewinds } = self;
        let Operator { active: _, generation, waiting, requests: _ } = operator;
        let mut words = Vec::with_capacity(96);
        let shards = process.shards.iter().map(Part::hash);
        for hash in [coordinator.hash(), process.log.hash()].into_iter().chain(shards) {
            words.extend([hash as u64, (hash >> 64) as u64]);
        }
        process.words(&mut words);
        oracle.words(&mut words);
        words.extend([u64::from(*generation), u64::from(*waiting)]);
        words.extend([crashes, redeliveries, rewinds].map(|left| u64::from(*left)));
        hash_words(&words)
    }

    /// Everything that later processes depend on, unless every state is to be crashed: see
    /// [`super::scope::Rule::CrashOnce`].
    pub fn crash_hash(&self, around: &Surroundings) -> Option<u128> {
        let World { coordinator: _, process, oracle, operator, crashes, redeliveries, rewinds } = self;
        if *crashes == 0 || !operator.active || !around.scope.rules.crash_once {
            return None;
        }
        let disk = match around.scope.rules.fingerprint {
            true => process.log.hash(),
            false => process.log.get().writer.storage().exact(),
        };
        let mut words = vec![disk as u64, (disk >> 64) as u64];
        oracle.words(&mut words);
        words.extend([oracle.beyond_published(process.durable), u64::from(operator.generation)]);
        words.extend([crashes, redeliveries, rewinds].map(|left| u64::from(*left)));
        if around.scope.rules.fingerprint {
            // The layout of rows is not determined by their values.
            let shards = process.shards.iter().map(Part::hash);
            words.extend(shards.flat_map(|hash| [hash as u64, (hash >> 64) as u64]));
        } else {
            // Without the rule all differences count: requests are numbered.
            words.extend([operator.requests, exactly(oracle) as u64]);
        }
        Some(hash_words(&words))
    }

    /// What an observer can see outside the kernel: the published state, the log and its durable part, the requests,
    /// the positions of the source's readers, and the remaining budgets.
    pub fn observed(&self) -> u128 {
        let World { coordinator: _, process, oracle, operator, crashes, redeliveries, rewinds } = self;
        let mut words = vec![];
        oracle.words(&mut words);
        words.push(oracle.beyond_published(process.durable));
        words.extend([u64::from(operator.generation), u64::from(operator.waiting)]);
        let readers = process.source.readers.iter().flatten();
        words.extend(readers.map(|reader| reader.position() as u64));
        words.extend([crashes, redeliveries, rewinds].map(|left| u64::from(*left)));
        exactly(&words)
    }

    /// The observation of a state without due moves: how often each message was counted.
    pub fn ending(&self, around: &Surroundings) -> Option<Vec<Vec<u8>>> {
        let ended = self.due(around).is_empty();
        ended.then(|| self.oracle.published().counts.clone())
    }

    /// The text of a move, before it is taken.
    pub fn tell(&self, chosen: Move, decisions: &[u64], around: &Surroundings) -> String {
        let process = &self.process;
        match chosen {
            Move::ShardReply(shard) => {
                let reply = &process.shard_replies[shard][0];
                let what = match reply {
                    ShardReply::Staged { sequence, .. } => format!("has staged record {sequence}"),
                    ShardReply::Published { through, .. } => {
                        format!("has published up to record {through}")
                    }
                    ShardReply::Abandoned { from } => {
                        format!("has abandoned staged records from {from} on")
                    }
                    ShardReply::Tip { .. } => "returns its staged tip".into(),
                };
                format!("shard {shard} {what}")
            }
            Move::Log(LogStep::Command) => format!("log: {}", process.log.get().next_command()),
            Move::Log(LogStep::EndSync) => "log: the sync ends".into(),
            Move::Synced => {
                format!("the coordinator gets Synced for record {}", process.log_replies[0])
            }
            Move::SourceReply => match &process.source.replies[0] {
                SourceReply::Opened(epoch) => format!("the source is open for epoch {epoch}"),
                SourceReply::Verified(epoch, token) => {
                    format!("metadata {token} arrives, epoch {epoch}")
                }
            },
            Move::Read { partition, again, next } => {
                let at = process.source.readers[partition].as_ref().map_or(0, Reader::position);
                let again = if again == 0 { String::new() } else { format!(", {again} of them again") };
                format!("partition {partition} delivers messages up to {next}, expected is {at}{again}")
            }
            Move::Twice(partition) => format!("the last delivery of partition {partition} arrives again"),
            Move::Late(at) => {
                let late = &process.source.late[at];
                format!(
                    "message {} of partition {} arrives, fetched in epoch {}",
                    late.offset, late.partition, late.epoch
                )
            }
            Move::Ask => match self.next_definition() {
                Some(Definition::StartPipeline { .. }) => "the operator sends START PIPELINE".into(),
                Some(Definition::StopPipeline { .. }) => "the operator sends STOP PIPELINE".into(),
                _ => "the operator sends ALTER PIPELINE SET OFFSETS, partition 0 back to 0".into(),
            },
            Move::Rewind => "the operator decides to rewind the pipeline".into(),
            Move::Clock => "time passes until the next wake-up".into(),
            Move::Crash => {
                let outcomes = around.crashes.outcomes(process.log.get().writer.storage(), self.crashes);
                let at = decisions.first().copied().unwrap_or(0) as usize;
                match outcomes {
                    Ok(outcomes) => {
                        let outcome = &outcomes[at.min(outcomes.len() - 1)];
                        let last = outcome.recovered.last();
                        format!("{}; the next process starts with record {last}", outcome.story)
                    }
                    Err(violation) => format!("a crash: {}", violation.text),
                }
            }
        }
    }
}

fn hash_words(words: &[u64]) -> u128 {
    let mut bytes = Vec::with_capacity(8 * words.len());
    words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    xxh3_128(&bytes)
}

fn process(shards: Vec<Shard>, log: Log, around: &Surroundings) -> Process {
    let shard_hash = |shard: Shard| {
        let hash = shard.fingerprint().finish();
        Part::new(shard, hash)
    };
    let log_hash = log.fingerprint().finish();
    let durable = log.writer.durable();
    Process {
        shard_replies: vec![VecDeque::new(); shards.len()],
        shards: shards.into_iter().map(shard_hash).collect(),
        log: Part::new(log, log_hash),
        log_replies: VecDeque::new(),
        source: Source { readers: vec![None; around.topic.messages().len()], ..Source::default() },
        now_us: 0,
        wake_at_us: None,
        durable,
    }
}

fn create_table() -> Definition {
    let spec = TableSpec {
        name: "t".into(),
        columns: columns(),
        primary_key: vec![0],
        shard_key: vec![0],
        sort_key: vec![],
    };
    Definition::CreateTable { spec, if_not_exists: false }
}

/// Every message adds to a total, so that a message that counts twice is visible.
fn create_pipeline(scope: &Scope) -> Definition {
    let (stored, incoming) = (Box::new(Expr::Stored(ColumnId(1))), Box::new(Expr::Incoming(ColumnId(1))));
    let sum = Expr::Arithmetic(Arithmetic::Add, stored, incoming);
    let spec = PipelineSpec {
        source_kind: kernel::SourceKind::Kafka,
        name: "p".into(),
        table: "t".into(),
        definition_sql: String::new(),
        on_duplicate: OnDuplicate::Update(Update { assignments: vec![(ColumnId(1), sum)], condition: None }),
        error_limit: None,
        batch_interval_us: 0,
        batch_bytes_max: scope.batch,
    };
    Definition::CreatePipeline { spec: Box::new(spec), if_not_exists: false }
}
