//! The host of the kernel: each effect goes to its addressee's channel, and the oracle is informed of those that concern
//! the database.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use kernel::message::{Counts, Response, ShardCommand, SplitStart, Work};
use kernel::record::{EncodedRecord, RecordKind};
use kernel::schema::{PipelineDef, TableDef};
use kernel::snapshot::Snapshot;
use kernel::{
    Effect, Epoch, Error, Event, Host, Input, Micros, PipelineId, RequestId, ShardId, SqlState, TableId,
};

use super::World;
use super::clients::{Asked, Held};
use super::process::{LogCommand, Process};
use super::source::{Command, SourceHost};
use super::words;
use crate::defects::{self, WorldDefect};
use crate::fault::Fault;
use crate::oracle::Violation;
use crate::trace::{Actor, Mark, text_fact};

/// Why no more effects are carried out.
pub enum Ended {
    /// The process dies here.
    Dies,
    /// The kernel halts.
    Halts,
    /// A violation was found.
    Wrong(Violation),
}

impl From<Violation> for Ended {
    fn from(violation: Violation) -> Ended {
        Ended::Wrong(violation)
    }
}

type Carried = Result<(), Ended>;

impl World<'_> {
    /// Hands the coordinator an input; without one, it only carries out the effects that are there.
    pub(super) fn drive(&mut self, input: Option<(Micros, Input)>) -> Result<(), Violation> {
        let taken = self.process.as_mut().and_then(|process| process.coordinator.take());
        let Some(mut coordinator) = taken else { return Ok(()) };
        if let Some((now_us, input)) = input {
            coordinator.handle(now_us, input);
        }
        self.living().tip = coordinator.tip().clone();
        let carried = kernel::carry_out(&mut coordinator, self);
        self.living().coordinator = Some(coordinator);
        match carried {
            Err(Ended::Wrong(violation)) => Err(violation),
            Ok(()) | Err(Ended::Dies | Ended::Halts) => Ok(()),
        }
    }
}

impl Host for World<'_> {
    type End = Ended;

    fn before(&mut self, effect: &Effect) -> Carried {
        if self.d.strikes(Fault::CrashAtEffect) {
            self.dies = true;
            return Err(Ended::Dies);
        }
        Ok(self.oracle.effect(effect)?)
    }

    fn shard(&mut self, shard: ShardId, command: ShardCommand) -> Carried {
        self.hear_command(&command);
        let facts = words::command_facts(&command);
        self.note(
            Actor::Shard(shard.0),
            Mark::Detail,
            &facts,
            format_args!("gets a command: {}", words::command(&command)),
        );
        self.living().shard_commands[shard.0 as usize].push_back(command);
        Ok(())
    }

    fn append(&mut self, record: EncodedRecord) -> Carried {
        self.check_append(&record)?;
        let mut oracle = std::mem::take(&mut self.oracle);
        let outcome = oracle.appended(&record, &self.outside());
        self.oracle = oracle;
        outcome?;
        self.check_fairness(record.kind)?;
        if defects::is(WorldDefect::EarlyAnswer)
            && let Some((id, counts)) = self.oracle.last_appended_write()
        {
            self.oracle.answered(id, Ok(counts))?;
        }
        self.living().log.commands.push_back(LogCommand::Append(record));
        Ok(())
    }

    fn sync(&mut self) -> Carried {
        self.living().log.commands.push_back(LogCommand::Sync);
        Ok(())
    }

    fn open_source(&mut self, epoch: Epoch, pipeline: Arc<PipelineDef>, table: Arc<TableDef>) -> Carried {
        let id = pipeline.id;
        self.source_command(id, Command::Open { epoch, pipeline, table })?;
        self.note_source(id, &[0, epoch.0], format_args!("gets SourceOpen, epoch {epoch}"));
        Ok(())
    }

    fn fetch(&mut self, pipeline: PipelineId, epoch: Epoch, starts: Vec<SplitStart>) -> Carried {
        for SplitStart { split, position: start, .. } in &starts {
            let number = self.pipeline_number(pipeline);
            self.note(
                Actor::Reader(number, split.0 as i32),
                Mark::Detail,
                &[epoch.0, start.ordinal() as u64, start.leader_epoch() as u64],
                format_args!("is to read from offset {}, epoch {epoch}", start.ordinal()),
            );
        }
        Ok(self.source_command(pipeline, Command::Fetch { epoch, starts })?)
    }

    fn credit(&mut self, pipeline: PipelineId, epoch: Epoch, bytes: u64) -> Carried {
        self.check_credit(pipeline, epoch, bytes)?;
        Ok(self.source_command(pipeline, Command::Credit { epoch, bytes })?)
    }

    fn verify_source(&mut self, pipeline: PipelineId, epoch: Epoch, token: u64) -> Carried {
        self.note_source(pipeline, &[1, epoch.0, token], format_args!("gets SourceVerify"));
        Ok(self.source_command(pipeline, Command::Verify { epoch, token })?)
    }

    fn close_source(&mut self, pipeline: PipelineId, epoch: Epoch) -> Carried {
        self.note_source(pipeline, &[2, epoch.0], format_args!("gets SourceClose, epoch {epoch}"));
        Ok(self.source_command(pipeline, Command::Close { epoch })?)
    }

    fn publish(&mut self, mut snapshot: Snapshot) -> Carried {
        if defects::is(WorldDefect::TornSnapshot)
            && let Some(before) = self.clients.readings.last()
        {
            snapshot.shards[0] = before.snapshot.shards[0].clone();
        }
        let durable = self.living().log.durable;
        self.note(
            Actor::Coordinator,
            Mark::Step,
            &[snapshot.sequence.0],
            format_args!("readers see record {} from now on", snapshot.sequence),
        );
        self.oracle.published(&snapshot, durable)?;
        self.living().published.store(snapshot);
        Ok(())
    }

    fn reply(&mut self, id: RequestId, result: Result<Response, Error>) -> Carried {
        Ok(self.take_reply(id, result)?)
    }

    fn wake_at(&mut self, at_us: Micros) -> Carried {
        self.living().wake_at_us = Some(at_us);
        Ok(())
    }

    fn event(&mut self, event: Event) -> Carried {
        self.counts.pipelines_failed += u64::from(matches!(event, Event::PipelineFailed { .. }));
        let number = event.pipeline().map(|pipeline| self.pipeline_number(pipeline));
        let actor = number.map_or(Actor::Coordinator, Actor::Source);
        let text = words::event(&event).to_string();
        self.note(actor, Mark::Step, &[text_fact(&text)], format_args!("{text}"));
        Ok(())
    }

    fn halt(&mut self, error: Error) -> Ended {
        self.note(
            Actor::Coordinator,
            Mark::Step,
            &[text_fact(error.sqlstate.as_str()), text_fact(&error.to_string())],
            format_args!("halts: {error}"),
        );
        self.living().halted = true;
        Ended::Halts
    }
}

impl<'a> World<'a> {
    /// The process whose effects are carried out.
    fn living(&mut self) -> &mut Process<'a> {
        self.process.as_mut().expect("effects come from a process")
    }

    /// Checks that a record may be begun now (invariant 9).
    fn check_append(&self, record: &EncodedRecord) -> Result<(), Violation> {
        let depth = record.sequence.0.saturating_sub(self.oracle.visible().0);
        let most = self.p.config.unsynced_records_max as u64 + 1;
        if depth > most {
            let text = format!(
                "record {} is appended, {depth} behind what is visible; {most} is the limit",
                record.sequence
            );
            return Err(Violation::new("bounded", text));
        }
        let process = self.process.as_ref().expect("effects come from a process");
        if process.held.is_some_and(|held| record.sequence > held.last) {
            let text = format!("record {} is begun while the kernel is held", record.sequence);
            return Err(Violation::new("bounded", text));
        }
        let bytes: usize = record.parts.iter().map(|p| p.len()).sum();
        let hash = record.parts.iter().fold(0, |hash, part| crate::trace::hash_bytes(hash, part));
        self.note(
            Actor::Coordinator,
            if record.kind == RecordKind::SyncMarker { Mark::Detail } else { Mark::Step },
            &[record.sequence.0, record.kind as u64, bytes as u64, hash],
            format_args!("{}", words::record(record, &process.tip)),
        );
        Ok(())
    }

    /// Index of the scenario's pipeline.
    fn pipeline_number(&self, pipeline: PipelineId) -> u16 {
        let process = self.process.as_ref();
        process.and_then(|process| process.sources.get(&pipeline)).map_or(u16::MAX, SourceHost::number)
    }

    fn note_source(&self, pipeline: PipelineId, facts: &[u64], text: std::fmt::Arguments<'_>) {
        self.note(Actor::Source(self.pipeline_number(pipeline)), Mark::Detail, facts, text);
    }

    /// Checks that no more credit is granted than the limit, and no more returned than was used (invariant 9).
    fn check_credit(&mut self, pipeline: PipelineId, epoch: Epoch, bytes: u64) -> Result<(), Violation> {
        let most = self.p.config.pipeline_credit_bytes as i64;
        let process = self.process.as_mut().expect("effects come from a process");
        let granted = process.credits.entry((pipeline, epoch)).or_default();
        *granted += bytes as i64;
        if *granted > most {
            let text = format!(
                "pipeline {pipeline} may read {granted} bytes more in epoch {epoch}, {most} is the limit"
            );
            return Err(Violation::new("bounded", text));
        }
        Ok(())
    }

    /// Batches and requests start in turn: a request that waits only for its turn is not overtaken by many more batches
    /// than there were waiting requests. (Table locks may delay requests.)
    fn check_fairness(&mut self, kind: RecordKind) -> Result<(), Violation> {
        let line = self.clients.asked.len() as u64;
        let barred = !self.clients.held.is_empty()
            || self.clients.asked.values().any(|asked| matches!(asked, Asked::TableLock(_)));
        let is_done = |id: &RequestId| {
            matches!(self.clients.asked.get(id), Some(Asked::Definition)) && self.oracle.is_carried_out(id.0)
        };
        let process = self.process.as_mut().expect("effects come from a process");
        process.waiting.retain(|id, _| !is_done(id));
        for waiting in process.waiting.values_mut() {
            waiting.longest = waiting.longest.max(line);
            waiting.batches = if barred { 0 } else { waiting.batches + u64::from(kind == RecordKind::Batch) };
        }
        let starved = process.waiting.iter().find(|(_, waiting)| waiting.batches > 2 * waiting.longest + 4);
        if let Some((id, waiting)) = starved {
            let text = format!("request {id} waits for its turn: {waiting:?}");
            return Err(Violation::new("bounded", text));
        }
        Ok(())
    }

    fn source_command(&mut self, pipeline: PipelineId, command: Command) -> Result<(), Violation> {
        let process = self.process.as_mut().expect("effects come from a process");
        process.hear_source_command(pipeline, &command)?;
        let name = match &command {
            Command::Open { pipeline, .. } => Some(pipeline.name.clone()),
            _ => None,
        };
        let source = match process.sources.entry(pipeline) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let number = self.p.pipelines.iter().position(|rule| Some(&rule.name) == name.as_ref());
                let number = number.expect("a source of the scenario is opened first");
                let rule = self.p.pipelines[number].clone();
                entry.insert(SourceHost::new(pipeline, number as u16, rule, &self.p))
            }
        };
        source.commands.push_back(command);
        Ok(())
    }

    /// The oracle identifies a record's client transaction by the ledger row in it, and by nothing else.
    fn hear_command(&mut self, command: &ShardCommand) {
        match command {
            ShardCommand::Stage { sequence, work } => {
                for item in work {
                    let Work::Rows { table, rows, .. } = item else { continue };
                    if !self.is_ledger(*table) {
                        continue;
                    }
                    for batch in rows {
                        for number in batch.column(0).as_primitive::<Int64Type>().values() {
                            self.oracle.staged(*sequence, *number as u64);
                            let process = self.process.as_mut().expect("effects come from a process");
                            process.waiting.remove(&RequestId(*number as u64));
                        }
                    }
                }
            }
            ShardCommand::Abandon { from } => {
                self.counts.abandoned += 1;
                self.oracle.abandoned(*from);
            }
            _ => {}
        }
    }

    fn is_ledger(&self, table: TableId) -> bool {
        self.oracle.tip().tables.get(&table.0).is_some_and(|t| t.name.starts_with("ledger"))
    }

    /// For errors that depend on the state and not on the request: why this one is not justified now.
    fn turned_away_without_need(&self, asked: &Asked, id: RequestId, error: &Error) -> Option<String> {
        let process = self.process.as_ref().expect("answers come from a process");
        let missing = |table: &u32| !self.oracle.tip().tables.contains_key(table);
        let (justified, why) = match (error.sqlstate, asked) {
            (SqlState::DISK_FULL, _) => (process.read_only, "there is room on the disk".into()),
            (SqlState::OUT_OF_MEMORY, _) => {
                let (others, most) = (self.clients.asked.len(), self.p.config.requests_waiting_max);
                (others >= most, format!("{others} other requests wait, {most} may"))
            }
            (SqlState::UNDEFINED_TABLE, Asked::Write) => {
                (self.oracle.tables_of(id.0).iter().any(missing), "its tables are there".into())
            }
            (SqlState::UNDEFINED_TABLE, Asked::TableLock(tables)) => {
                (tables.iter().any(missing), "its tables are there".into())
            }
            (SqlState::UNDEFINED_TABLE, Asked::Misfit { table, .. }) => {
                (missing(table), "its table is there".into())
            }
            (kind, Asked::Misfit { due, .. }) => (kind == *due, format!("{due:?} is due")),
            (_, Asked::TableLock(_)) => (false, "nothing is in the way of a table lock".into()),
            // Checked against the model of the statement or definition.
            (_, Asked::Write | Asked::Definition) => return None,
        };
        (!justified).then_some(why)
    }

    fn take_reply(&mut self, id: RequestId, result: Result<Response, Error>) -> Result<(), Violation> {
        let Some(asked) = self.clients.asked.remove(&id) else {
            return Err(Violation::new(
                "honest",
                format!("an answer to request {id}, for which no client waits"),
            ));
        };
        self.process.as_mut().expect("answers come from a process").waiting.remove(&id);
        match &result {
            Ok(_) => self.note(Actor::Client, Mark::Step, &[id.0], format_args!("request {id} is done")),
            Err(error) => {
                self.counts.requests_failed += 1;
                self.note(
                    Actor::Client,
                    Mark::Step,
                    &[id.0, text_fact(error.sqlstate.as_str()), text_fact(&error.to_string())],
                    format_args!("request {id} is refused: {error}"),
                );
                if let Some(why) = self.turned_away_without_need(&asked, id, error) {
                    let text =
                        format!("request {id} ({asked:?}) must not fail with {:?}: {why}", error.sqlstate);
                    return Err(Violation::new("honest", text));
                }
            }
        }
        match (asked, result) {
            (Asked::Write, Ok(Response::Done(counts))) => self.oracle.answered(id.0, Ok(counts)),
            (Asked::Write, Err(error)) => {
                if !is_of_the_moment(error.sqlstate) {
                    self.oracle.turned_down(id.0, error.sqlstate)?;
                }
                self.oracle.answered(id.0, Err(&error))
            }
            (Asked::Definition, Ok(Response::Done(counts))) if counts == Counts::default() => {
                self.oracle.defined(id.0, None)
            }
            (Asked::Definition, Err(error)) => {
                let turned_away = matches!(error.sqlstate, SqlState::DISK_FULL | SqlState::OUT_OF_MEMORY);
                if turned_away {
                    self.oracle.definition_turned_away(id.0);
                    return Ok(());
                }
                self.oracle.defined(id.0, Some(error.sqlstate))
            }
            (Asked::TableLock(tables), Ok(Response::TableLock { table_lock, snapshot })) => {
                self.oracle.table_lock(&snapshot, &tables)?;
                self.clients.held.push(Held { table_lock, snapshot, tables });
                Ok(())
            }
            (Asked::TableLock(_) | Asked::Misfit { .. }, Err(_)) => Ok(()),
            (asked, result) => {
                Err(Violation::new("honest", format!("request {id} ({asked:?}) is answered with {result:?}")))
            }
        }
    }
}

/// Whether an error depends on the state and not on the request.
fn is_of_the_moment(kind: SqlState) -> bool {
    matches!(kind, SqlState::DISK_FULL | SqlState::OUT_OF_MEMORY | SqlState::UNDEFINED_TABLE)
}
