//! Selects the next actor and executes its turn.

use kernel::{Input, PipelineId, Position, ShardId, SplitId};

use super::clients::{Act, Reading};
use super::process::{LogStep, Process};
use super::source::{Command, Surroundings};
use super::{World, visible_catalog};
use crate::broker::Broker;
use crate::defects::{self, WorldDefect};
use crate::fault::Fault;
use crate::oracle::Violation;
use crate::trace::{Actor, Mark};

/// Steps between two checks whether it has caught up.
const CATCH_UP_LOOK: u64 = 50;
/// Most partitions of a topic.
const PARTITIONS_MAX: usize = 6;
/// Most messages with which a partition of a recreated topic is filled.
const RELOADED_MAX: u64 = 100;

/// How often an unclean election may happen in each turn of an outage.
const UNNOTICED_ELECTIONS: u32 = 10;

/// Possible turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    Shard(usize),
    ShardReply(usize),
    Log,
    LogReply,
    Source(PipelineId),
    SourceReply(PipelineId),
    /// A delayed answer is sent.
    HeldUp(PipelineId),
    Reader(PipelineId, usize),
    Extract(PipelineId, usize),
    Request,
    /// A superseded snapshot was released.
    Release,
    Client,
    Producer,
    Clock,
}

/// An actor without turns for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stalled {
    /// A shard by its number; behind the shards: what shards answer, the log, sources, readers.
    actor: u64,
    until_step: u64,
    told: bool,
}

impl Stalled {
    fn has(&self, turn: Turn, shards: u64) -> bool {
        match turn {
            Turn::Shard(shard) => self.actor == shard as u64,
            Turn::ShardReply(_) => self.actor == shards,
            Turn::Log | Turn::LogReply => self.actor == shards + 1,
            Turn::Source(_) | Turn::SourceReply(_) => self.actor == shards + 2,
            Turn::Reader(..) | Turn::Extract(..) => self.actor == shards + 3,
            _ => false,
        }
    }

    fn name(&self, shards: u64) -> String {
        match self.actor.checked_sub(shards) {
            None => format!("shard {} has no turn", self.actor),
            Some(0) => "no shard's answer arrives".into(),
            Some(1) => "the log has no turn".into(),
            Some(2) => "sources have no turn".into(),
            Some(_) => "readers have no turn".into(),
        }
    }
}

impl<'a> World<'a> {
    /// Executes one turn.
    pub(super) fn step(&mut self) -> Result<(), Violation> {
        self.counts.steps += 1;
        self.now_us += 20;
        self.trace.set_now(self.now_us);
        self.rest()?;
        if self.dies {
            // The process ended while it carried out the release: nothing of it may go on.
            return Ok(());
        }
        let mut turns = std::mem::take(&mut self.turns);
        self.collect_turns(&mut turns);
        self.stall(&mut turns);
        let total: u64 = turns.iter().map(|(_, weight)| weight).sum();
        // Rotated with every step, so that decisions that are all zero give every actor a turn.
        let mut drawn = (self.d.below(total) + self.counts.steps * 7919) % total;
        let turn = turns.iter().find(|(_, weight)| {
            let found = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            found
        });
        let (turn, _) = *turn.expect("it was drawn below the sum");
        self.turns = turns;
        let done = self.take_turn(turn);
        self.take_frame();
        done
    }

    /// All actors that can have a turn now, with their weights.
    fn collect_turns(&self, turns: &mut Vec<(Turn, u64)>) {
        let pace = &self.p.paces;
        turns.clear();
        turns.extend([(Turn::Clock, 1), (Turn::Client, pace.clients)]);
        if !self.d.faults_over() {
            turns.push((Turn::Producer, pace.producer));
        }
        let Some(process) = &self.process else { return };
        for shard in 0..process.shards.len() {
            if !process.shard_commands[shard].is_empty() {
                turns.push((Turn::Shard(shard), 2 * pace.shards[shard]));
            }
            if !process.shard_replies[shard].is_empty() {
                turns.push((Turn::ShardReply(shard), pace.replies));
            }
        }
        if process.log.can_step() {
            turns.push((Turn::Log, pace.log));
        }
        if !process.log.replies.is_empty() {
            turns.push((Turn::LogReply, pace.replies));
        }
        if !process.requests.is_empty() {
            turns.push((Turn::Request, pace.requests));
        }
        if !process.published.releases.is_empty() {
            turns.push((Turn::Release, pace.requests));
        }
        for (&pipeline, source) in &process.sources {
            if !source.commands.is_empty() {
                turns.push((Turn::Source(pipeline), pace.source));
            }
            if !source.replies.is_empty() {
                turns.push((Turn::SourceReply(pipeline), pace.answers));
            }
            if source.holds_up() {
                turns.push((Turn::HeldUp(pipeline), 1));
            }
            for (reader, weight) in source.reader_weights(pace.readers).enumerate() {
                turns.push((Turn::Reader(pipeline, reader), weight));
            }
            for reader in source.delivering() {
                turns.push((Turn::Extract(pipeline, reader), pace.readers));
            }
        }
    }

    fn take_turn(&mut self, turn: Turn) -> Result<(), Violation> {
        match turn {
            Turn::Producer => {
                self.produce();
                Ok(())
            }
            Turn::Client => self.client(),
            Turn::Clock => self.clock(),
            Turn::Shard(shard) => {
                self.shard(shard);
                Ok(())
            }
            Turn::ShardReply(shard) => {
                let reply = self.process_mut().shard_replies[shard].pop_front().expect("it has one");
                self.feed(Input::Shard { shard: ShardId(shard as u16), reply })
            }
            Turn::Log => {
                let d = self.d.clone();
                let done = self.process_mut().log.step(&d);
                let mark = if done == LogStep::Failed { Mark::Step } else { Mark::Detail };
                self.note(Actor::Log, mark, &[done as u64], format_args!("{done}"));
                Ok(())
            }
            Turn::LogReply => {
                let input = self.process_mut().log.replies.pop_front().expect("it has one");
                match &input {
                    Input::Synced { through } => self.note(
                        Actor::Coordinator,
                        Mark::Detail,
                        &[through.0],
                        format_args!("gets Synced: records up to {through} are durable"),
                    ),
                    other => self.note(
                        Actor::Coordinator,
                        Mark::Step,
                        &[],
                        format_args!("gets LogFailed: {}", super::words::input(other)),
                    ),
                }
                self.feed(input)
            }
            Turn::Request => {
                let (id, request) = self.process_mut().requests.pop_front().expect("it has one");
                self.note(Actor::Coordinator, Mark::Detail, &[id.0], format_args!("takes request {id}"));
                self.feed(Input::Request { id, request })
            }
            Turn::Release => {
                let sequence = self.process_mut().published.releases.pop_front().expect("it has one");
                self.note(
                    Actor::Coordinator,
                    Mark::Detail,
                    &[sequence.0],
                    format_args!("gets SnapshotReleased: nobody reads record {sequence} any more"),
                );
                self.feed(Input::SnapshotReleased { sequence })
            }
            Turn::Source(pipeline) => {
                let (topic, answers) = self.source(pipeline, |source, around| {
                    let answers = matches!(
                        source.commands.front(),
                        Some(Command::Verify { .. } | Command::Open { .. })
                    );
                    source.command(around);
                    (source.topic(), answers)
                });
                // The answer is in flight and already outdated.
                if answers {
                    self.operate_between_calls(topic);
                }
                Ok(())
            }
            Turn::HeldUp(pipeline) => {
                self.source(pipeline, |source, around| source.let_go(around.decisions));
                Ok(())
            }
            Turn::Reader(pipeline, reader) => {
                let source = &self.process_mut().sources[&pipeline];
                let (topic, is_answering) = (source.topic(), !source.replies.is_empty());
                // The topic now differs from the answer in flight.
                if is_answering {
                    self.operate_between_calls(topic);
                }
                self.source(pipeline, |source, around| source.read(reader, around));
                Ok(())
            }
            Turn::SourceReply(pipeline) => {
                let source = self.process_mut().sources.get_mut(&pipeline).expect("it has one");
                let number = source.number();
                let input = source.replies.pop_front().expect("it has one");
                let failed = matches!(input, Input::SourceFailed { .. });
                let mark = if failed { Mark::Step } else { Mark::Detail };
                let facts = super::words::source_facts(&input);
                self.note(
                    Actor::Source(number),
                    mark,
                    &facts,
                    format_args!("reports to the coordinator: {}", super::words::input(&input)),
                );
                self.feed(input)
            }
            Turn::Extract(pipeline, reader) => self.extract(pipeline, reader),
        }
    }

    fn process_mut(&mut self) -> &mut Process<'a> {
        self.process.as_mut().expect("only the living have turns")
    }

    fn shard(&mut self, shard: usize) {
        let process = self.process.as_mut().expect("only the living have turns");
        let command = process.shard_commands[shard].pop_front().expect("it has one");
        if defects::is(WorldDefect::RepeatedCommand)
            && let kernel::message::ShardCommand::Stage { sequence, work } = &command
            && sequence.0 % 5 == 0
            && let Some(work) = copy_rows(work)
        {
            let sequence = *sequence;
            process.shards[shard].handle(kernel::message::ShardCommand::Stage { sequence, work });
        }
        let reply = process.shards[shard].handle(command);
        process.shard_replies[shard].push_back(reply);
        self.note(Actor::Shard(shard as u16), Mark::Detail, &[], format_args!("answers"));
    }

    fn source<T>(
        &mut self,
        pipeline: PipelineId,
        act: impl FnOnce(&mut super::source::SourceHost, &mut Surroundings<'_, '_>) -> T,
    ) -> T {
        let now_us = self.kernel_now_us();
        let process = self.process.as_mut().expect("only the living have turns");
        let source = process.sources.get_mut(&pipeline).expect("it has a turn");
        let mut around = Surroundings {
            decisions: &self.d,
            broker: &mut self.brokers[source.topic()],
            now_us,
            fetch_messages_max: self.p.fetch_messages_max,
            trace: &self.trace,
        };
        act(source, &mut around)
    }

    fn extract(&mut self, pipeline: PipelineId, reader: usize) -> Result<(), Violation> {
        let process = self.process.as_mut().expect("only the living have turns");
        let source = process.sources.get_mut(&pipeline).expect("it has a turn");
        let newest = source.newest_epoch();
        let Some(mut extract) = source.deliver(reader, &self.d) else { return Ok(()) };
        if Some(extract.epoch) != newest {
            self.counts.stale_extracts += 1;
            self.d.changed(Fault::OldOwner);
        }
        // It also claims to begin at the newest reader's position.
        if defects::is(WorldDefect::ForgedEpoch)
            && let Some((epoch, Some(at))) = newest.map(|e| (e, source.position(extract.split.0 as i32)))
            && extract.epoch != epoch
            && extract.next.ordinal() >= at
        {
            extract.epoch = epoch;
            extract.first = Position::kafka(at, extract.first.leader_epoch());
        }
        if defects::is(WorldDefect::MisplacedRows) {
            extract.rows.rotate_left(1);
        }
        let number = source.number();
        let stale = Some(extract.epoch) != newest;
        self.note(
            Actor::Reader(number, extract.split.0 as i32),
            if stale { Mark::Fault } else { Mark::Detail },
            &[
                extract.epoch.0,
                extract.first.ordinal() as u64,
                extract.next.ordinal() as u64,
                extract.messages,
                extract.dead_letters.len() as u64,
            ],
            format_args!(
                "hands in {}..{} ({}, {} dead letters) under epoch {}{}",
                extract.first.ordinal(),
                extract.next.ordinal(),
                super::words::count(extract.messages, "message"),
                extract.dead_letters.len(),
                extract.epoch,
                if stale { ", which is over" } else { "" }
            ),
        );
        if let Some(process) = &mut self.process
            && let Some(granted) = process.credits.get_mut(&(extract.pipeline, extract.epoch))
        {
            *granted -= extract.source_bytes as i64;
        }
        self.feed(Input::Extracted(extract))
    }

    fn client(&mut self) -> Result<(), Violation> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let newest = process.published.load();
        let catalog = newest.catalog.clone();
        let (id, request) = match self.clients.step(&self.d, &self.p, &catalog, &mut self.oracle) {
            Act::Nothing => return Ok(()),
            Act::Send(sent) => sent,
            Act::Read => {
                self.oracle.acquired(&newest)?;
                self.counts.readings_held += 1;
                self.clients.readings.push(Reading::new(newest));
                return Ok(());
            }
            Act::HasRead(reading) => {
                assert!(reading.is_unchanged(), "a snapshot never changes");
                drop((reading, newest));
                process.published.reader_ended();
                return Ok(());
            }
        };
        self.counts.requests += 1;
        self.trace.note(
            Actor::Client,
            Mark::Step,
            &[id.0],
            format_args!("request {id}: {}", super::words::request(&request, &catalog)),
        );
        process.requests.push_back((id, request));
        Ok(())
    }

    fn clock(&mut self) -> Result<(), Violation> {
        let wake_at_us = self.process.as_ref().and_then(|process| process.wake_at_us);
        if self.d.strikes(Fault::LowSpace) {
            self.counts.read_only += 1;
            let sufficient = self.d.below(2) == 1;
            let words =
                if sufficient { "there is disk space again" } else { "disk space falls below the reserve" };
            self.note(
                Actor::Disk,
                Mark::Fault,
                &[u64::from(sufficient)],
                format_args!("reports to the coordinator: {words}"),
            );
            return self.feed(Input::DiskSpace { sufficient });
        }
        self.now_us += self.d.below(3000) as i64;
        let now_us = self.kernel_now_us();
        if let Some(at_us) = wake_at_us.filter(|_| self.d.faults_over() || self.d.below(4) == 0) {
            self.now_us += (at_us - now_us).max(0);
        }
        let due = wake_at_us.is_some_and(|at_us| at_us <= self.kernel_now_us());
        let ticks = match due {
            true if self.d.strikes(Fault::LateTimer) => 0,
            true if self.d.strikes(Fault::BunchedTimers) => self.d.between(2, 5),
            true => 1,
            false => u64::from(self.d.strikes(Fault::EarlyTimer)),
        };
        for _ in 0..ticks {
            self.note(Actor::Clock, Mark::Detail, &[u64::from(due)], format_args!("ticks"));
            self.feed(Input::Tick)?;
        }
        Ok(())
    }

    /// Removes the turns of a stalled actor.
    fn stall(&mut self, turns: &mut Vec<(Turn, u64)>) {
        self.stalled.take_if(|stalled| stalled.until_step <= self.counts.steps || self.d.faults_over());
        let shards = u64::from(self.p.shard_count);
        if self.stalled.is_none() && self.process.is_some() && self.d.fault(Fault::StalledActor) {
            let actor = self.d.below(shards + 4);
            let until_step = self.counts.steps + self.d.between(20, 300);
            self.stalled = Some(Stalled { actor, until_step, told: false });
        }
        let Some(stalled) = &mut self.stalled else { return };
        let before = turns.len();
        turns.retain(|(turn, _)| !stalled.has(*turn, shards));
        if turns.len() < before && !stalled.told {
            stalled.told = true;
            self.d.changed(Fault::StalledActor);
            let steps = stalled.until_step - self.counts.steps;
            let who = stalled.name(shards);
            self.note(Actor::World, Mark::Fault, &[steps], format_args!("{who} for {steps} steps"));
        }
    }

    /// Events at the source: messages, transactions, holes, and actions of a broker's operators.
    fn produce(&mut self) {
        let d = self.d.clone();
        let topic = d.index(self.brokers.len());
        let broker = &mut self.brokers[topic];
        let partition = d.index(broker.partition_count());
        let (start, stable, end) = broker.bounds(partition as i32);
        if self.written < self.p.messages && !broker.is_silent(partition) {
            let count = d.between(1, 12);
            self.write(topic, partition, count);
            self.written += count;
        }
        let broker = &mut self.brokers[topic];
        if !broker.has_transaction(partition) && d.fault(Fault::FinishedSplit) {
            broker.finish(partition);
        }
        if d.below(4) == 0 {
            let aborts = broker.has_transaction(partition) && d.strikes(Fault::AbortedTransaction);
            broker.end_transaction(partition, !aborts);
        }
        let is_finished = broker.is_finished(partition);
        if !is_finished && d.strikes(Fault::ControlRecords) {
            broker.skip_offsets(partition, d.between(1, 9));
        }
        if d.fault(Fault::Compaction) {
            broker.compact(partition);
        }
        if d.strikes(Fault::LeaderChange) {
            broker.elect(partition);
        }
        if d.fault(Fault::Retention) {
            broker.retain_from(partition, start + d.below((stable - start).max(1) as u64) as i64);
        }
        if !is_finished && d.fault(Fault::UncleanElection) {
            broker.elect_uncleanly(partition, d.between(1, (end - start).clamp(1, 20) as u64));
        }
        self.grow(topic);
        if d.strikes(Fault::RecreatedTopic) {
            self.recreate(topic);
        }
        let broker = &self.brokers[topic];
        let partition = partition.min(broker.partition_count() - 1) as i32;
        let (start, stable, end) = broker.bounds(partition);
        self.note(
            Actor::Broker(topic as u16),
            Mark::Detail,
            &[partition as u64, start as u64, stable as u64, end as u64],
            format_args!("partition {partition} has {start}..{end}, readable up to {stable}"),
        );
    }

    /// While the process is down, the world continues: topics change.
    pub(super) fn stay_down(&mut self) {
        if self.p.outage_turns == 0 {
            return;
        }
        for _ in 0..self.d.below(self.p.outage_turns + 1) {
            self.now_us += self.d.below(3000) as i64;
            self.produce();
            // No reader can notice changes of a topic during an outage.
            if (0..UNNOTICED_ELECTIONS).any(|_| self.d.fault(Fault::UncleanElection)) {
                let broker = &mut self.brokers[self.d.index(self.p.topics.len())];
                let partition = self.d.index(broker.partition_count());
                let lost = self.d.between(1, 12);
                if !broker.is_finished(partition) {
                    broker.elect_uncleanly(partition, lost);
                }
            }
        }
    }

    /// The topic may get one more partition (A11). Producers may write to it before any metadata request.
    fn grow(&mut self, topic: usize) {
        let new = self.brokers[topic].partition_count();
        if new < PARTITIONS_MAX && self.d.strikes(Fault::NewPartition) {
            self.brokers[topic].add_partitions(1);
            if self.d.below(2) == 1 {
                self.write(topic, new, self.d.between(1, 12));
            }
        }
    }

    /// The topic is deleted and created again (A6): empty, or filled at once with as many messages as before, so that a
    /// reader that has not noticed finds other messages at its offset.
    fn recreate(&mut self, topic: usize) {
        let d = self.d.clone();
        let ends = |broker: &Broker<'_>| -> Vec<i64> {
            (0..broker.partition_count()).map(|partition| broker.bounds(partition as i32).2).collect()
        };
        let before = ends(&self.brokers[topic]);
        self.brokers[topic].recreate(d.between(1, 3) as usize);
        if d.below(3) == 0 {
            return;
        }
        let now = ends(&self.brokers[topic]);
        for (partition, (before, now)) in before.into_iter().zip(now).enumerate() {
            let count = (before - now).max(0) as u64 + d.between(0, 12);
            self.write(topic, partition, count.min(RELOADED_MAX));
        }
    }

    /// Operators of a broker also act between two calls of one reader.
    fn operate_between_calls(&mut self, topic: usize) {
        self.grow(topic);
        if (0..4).any(|_| self.d.strikes(Fault::RecreatedTopic)) {
            self.recreate(topic);
        }
    }

    /// Producers write this many messages to a partition, unless it is silent.
    fn write(&mut self, topic: usize, partition: usize, count: u64) {
        if count == 0 || self.brokers[topic].is_silent(partition) {
            return;
        }
        let payloads = (0..count).map(|_| {
            let written_as = (topic, self.p.dialects[topic]);
            self.messages.write(&self.d, self.p.mix, written_as, self.now_us)
        });
        let payloads = payloads.collect();
        self.brokers[topic].produce(partition, payloads);
    }

    // ---- The end of a run ----

    /// Faults are over: in bounded steps, every pipeline has read everything and every client is answered (invariant 10).
    pub(super) fn catch_up(&mut self) -> Result<(), Violation> {
        for broker in &mut self.brokers {
            for partition in 0..broker.partition_count() {
                while broker.has_transaction(partition) {
                    broker.end_transaction(partition, true);
                }
            }
        }
        self.restart_if_dead()?;
        for source in self.process.iter_mut().flat_map(|process| process.sources.values_mut()) {
            source.bury_zombies();
        }
        self.feed(Input::DiskSpace { sufficient: true })?;
        for step in 0..self.p.catch_up_steps_max {
            self.step()?;
            self.restart_if_dead()?;
            if step % CATCH_UP_LOOK == 0 && self.lag().is_none() {
                return Ok(());
            }
        }
        let lag = self.lag().unwrap_or_default();
        let steps = self.p.catch_up_steps_max;
        Err(Violation::new("live", format!("{steps} steps after the last fault: {lag}")))
    }

    /// The remaining work; None if there is none.
    fn lag(&self) -> Option<String> {
        let process = self.process.as_ref()?;
        if !self.clients.asked.is_empty() || !self.clients.held.is_empty() || !process.requests.is_empty() {
            return Some(format!("requests {:?} are not answered", self.clients.asked));
        }
        if !self.oracle.has_sync_marker() {
            return Some("no sync marker follows the last record".into());
        }
        let catalog = visible_catalog(process);
        for rule in &self.p.pipelines {
            let Some(pipeline) = catalog.pipeline_named(&rule.name) else {
                return Some(format!("pipeline {} is not there", rule.name));
            };
            if pipeline.state != kernel::schema::PipelineState::Running {
                return Some(format!("pipeline {} is {:?}", rule.name, pipeline.state));
            }
            let broker = &self.brokers[rule.topic];
            let cursors = &catalog.cursors[&pipeline.id];
            let topic =
                cursors.splits().find_map(|(_, split)| crate::broker::TopicId::of(split.identity.as_ref()?));
            if topic != Some(broker.topic_id()) {
                return Some(format!("pipeline {} has not seen its topic", rule.name));
            }
            for partition in 0..broker.partition_count() as i32 {
                let (_, end, _) = broker.bounds(partition);
                let at = cursors.get(SplitId(partition as u32)).and_then(|split| split.position);
                let at = at.map(|position| position.ordinal());
                if at != Some(end) {
                    return Some(format!(
                        "pipeline {}: partition {partition} is at {at:?} of {end}",
                        rule.name
                    ));
                }
            }
        }
        None
    }
}

/// For a seeded defect: the same rows once more.
fn copy_rows(work: &[kernel::message::Work]) -> Option<Vec<kernel::message::Work>> {
    use kernel::message::Work;
    let copy = |item: &Work| match item {
        Work::Rows { table, on_duplicate, deletes, rows } => Some(Work::Rows {
            table: *table,
            on_duplicate: on_duplicate.clone(),
            deletes: deletes.clone(),
            rows: rows.clone(),
        }),
        _ => None,
    };
    work.iter().map(copy).collect()
}
