//! Coordinator and shards fed from a recording: each input must have the recorded results.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use kernel::columns;
use kernel::message::{Response, ShardCommand, ShardReply, SplitStart, Work};
use kernel::record::{Body, EncodedRecord};
use kernel::schema::{Catalog, PipelineDef, TableDef};
use kernel::{
    Coordinator, Effect, Epoch, Event, Extract, Input, Micros, PipelineId, RequestId, Sequence, Shard,
    ShardId, Snapshot, TableId,
};
use tidemark_record::item::{ExtractKey, RecordedQuiescedState, Restored};
use tidemark_record::mark::{EffectMark, effect_mark, reply_hash, state_hash};
use tidemark_record::recorder::rows_in_log;
use tidemark_record::rows::{Rows, is_placeholder};
use tidemark_record::{Begin, Recording};

use super::ReplayError;
use super::log::{Folded, TermLog};
use super::steps::Expected;

/// Most shown characters of an effect.
const SHOWN_MAX: usize = 300;

/// The result of feeding an input.
pub(super) enum Fed {
    AsRecorded {
        inputs: u64,
        effects: u64,
        states: u64,
    },
    /// Rows staged for this record are missing.
    RowsLost(Sequence),
    Panicked(String),
}

/// Why the replay ends.
pub(super) enum Refused {
    /// A difference to the recording.
    Differs(String),
    /// The log or the recording cannot be read.
    Unreadable(kernel::Error),
}

impl From<kernel::Error> for Refused {
    fn from(error: kernel::Error) -> Refused {
        Refused::Unreadable(error)
    }
}

/// The replayed half of a host: no threads, no disk, no source.
pub(super) struct Host {
    coordinator: Coordinator,
    carried: EffectHost,
    /// Rows that the recording contains after their extract.
    pub rows_later: BTreeMap<ExtractKey, Vec<Option<Rows>>>,
    pub replies_checked: u64,
}

/// Carries effects out as far as a replay does, and compares each with the recorded ones.
struct EffectHost {
    shards: Vec<Shard>,
    /// Replies of each shard that the coordinator has not got yet.
    replies: Vec<VecDeque<ShardReply>>,
    log: TermLog,
    /// The coordinator's catalog after the current input.
    tip: Arc<Catalog>,
    /// Recorded effects of the current input that have not occurred yet.
    expected: VecDeque<EffectMark>,
    /// The recording ends here: more effects may follow.
    cut_off: bool,
    /// Snapshots published by the current input.
    seen: Vec<Snapshot>,
    /// A record with missing rows.
    rows_lost: Option<Sequence>,
    records_checked: u64,
    rows_from_log: u64,
}

impl Host {
    /// The state where the recording begins.
    pub fn begin(recording: &Recording, folded: Folded) -> Result<Host, ReplayError> {
        let header = &recording.header;
        let (recovery, shards, views, last, log) = folded.split(header.term);
        let later = rows_of(recording)?;
        let coordinator = match header.begin.clone() {
            Begin::Term { now_us, .. } => recovery.finish(header.config.clone(), now_us, &last, views)?,
            Begin::Quiesced(quiesced_state) => {
                let quiesced_state = quiesced_state.restore(&|key| later.get(&key).cloned())?;
                recovery.resume(header.config.clone(), quiesced_state, views)?
            }
        };
        let carried = EffectHost {
            replies: shards.iter().map(|_| VecDeque::new()).collect(),
            shards,
            log,
            tip: coordinator.tip().clone(),
            expected: VecDeque::new(),
            cut_off: false,
            seen: vec![],
            rows_lost: None,
            records_checked: 0,
            rows_from_log: 0,
        };
        Ok(Host { coordinator, carried, rows_later: later, replies_checked: 0 })
    }

    /// Records that were compared with the log.
    pub fn records_checked(&self) -> u64 {
        self.carried.records_checked
    }

    /// Rows that were read from the log.
    pub fn rows_from_log(&self) -> u64 {
        self.carried.rows_from_log
    }

    /// The term continues in the next file; its quiesced state must equal the coordinator's.
    pub fn go_on(&mut self, recording: &Recording) -> Result<(), ReplayError> {
        let misfit = |what: &str| ReplayError::Misfit(format!("{}: {what}", recording.path().display()));
        let Begin::Quiesced(recorded) = &recording.header.begin else {
            return Err(misfit("a file that follows another must begin with a quiesced state"));
        };
        if !self.coordinator.is_quiesced() || self.carried.replies.iter().any(|replies| !replies.is_empty()) {
            return Err(misfit("the coordinator was quiesced here, but is not in the replay"));
        }
        self.coordinator.hold(false);
        let tip = self.coordinator.tip().clone();
        let in_log = |extract: &Extract| rows_in_log(&tip, extract).is_some();
        let stands = RecordedQuiescedState::of(&self.coordinator.quiesced_state(), &in_log);
        let bytes = |quiesced_state: &RecordedQuiescedState| kernel::cbor::to_vec(quiesced_state);
        if bytes(&stands) != bytes(recorded) {
            return Err(misfit("the coordinator's state at its beginning differs from the replay's"));
        }
        Ok(())
    }

    /// The published snapshot.
    pub fn published(&self) -> &Snapshot {
        self.coordinator.published()
    }

    /// See [`Coordinator::hold`].
    pub fn hold(&mut self, held: bool) {
        self.coordinator.hold(held);
    }

    /// Feeds an input; all results must equal the recorded ones.
    pub fn feed(&mut self, expected: Expected) -> Result<Fed, Refused> {
        let inputs = u64::from(expected.input.is_some());
        let fed = expected.input.map(|(at_us, input)| {
            let restored = input.restore(&|key| self.rows_later.get(&key).cloned())?;
            Ok::<_, Refused>((at_us, self.input(restored)?))
        });
        let count = expected.effects.len() as u64;
        let fed = fed.transpose()?;
        let carried = &mut self.carried;
        carried.seen.clear();
        (carried.expected, carried.cut_off) = (expected.effects.into(), expected.cut_off);
        let result = catch_unwind(AssertUnwindSafe(|| {
            if let Some((at_us, input)) = fed {
                self.coordinator.handle(at_us, input);
            }
            carried.tip = self.coordinator.tip().clone();
            kernel::carry_out(&mut self.coordinator, carried)
        }));
        match result {
            Err(panic) => return Ok(Fed::Panicked(text_of(&*panic))),
            Ok(Err(Ended::Refused(refused))) => return Err(refused),
            Ok(Ok(()) | Err(Ended::Halts)) => {}
        }
        if let Some(sequence) = self.carried.rows_lost {
            return Ok(Fed::RowsLost(sequence));
        }
        let left = self.carried.expected.len() as u64;
        if let Some(mark) = self.carried.expected.front() {
            let what = format!("expected {}, saw nothing more", mark.name());
            return Err(Refused::Differs(what));
        }
        for (sequence, hash) in &expected.states {
            let mut seen = self.carried.seen.iter().chain([self.coordinator.published()]);
            let snapshot = seen.find(|snapshot| snapshot.sequence == *sequence);
            let snapshot = snapshot.ok_or_else(|| {
                Refused::Differs(format!("expected the state at record {sequence}, which was not published"))
            })?;
            let found = state_hash(snapshot);
            if found != *hash {
                let what = format!("expected state {hash} at record {sequence}, saw {found}");
                return Err(Refused::Differs(what));
            }
        }
        Ok(Fed::AsRecorded { inputs, effects: count - left, states: expected.states.len() as u64 })
    }

    fn input(&mut self, restored: Restored) -> Result<Input, Refused> {
        let (shard, hash) = match restored {
            Restored::Input(input) => return Ok(*input),
            Restored::Reply { shard, hash } => (shard, hash),
        };
        let reply = self.carried.replies.get_mut(shard.0 as usize).and_then(VecDeque::pop_front);
        let reply = reply.ok_or_else(|| {
            Refused::Differs(format!("expected a reply of shard {shard}, which was not asked for anything"))
        })?;
        if reply_hash(&reply) != hash {
            let what = format!("expected another reply of shard {shard}, saw {}", shown(&reply));
            return Err(Refused::Differs(what));
        }
        self.replies_checked += 1;
        Ok(Input::Shard { shard, reply })
    }
}

/// Why no more effects are carried out.
enum Ended {
    /// The kernel halts, as recorded.
    Halts,
    Refused(Refused),
}

impl<E: Into<Refused>> From<E> for Ended {
    fn from(error: E) -> Ended {
        Ended::Refused(error.into())
    }
}

type Carried = Result<(), Ended>;

impl kernel::Host for EffectHost {
    type End = Ended;

    fn before(&mut self, effect: &Effect) -> Carried {
        let mark = effect_mark(effect);
        match self.expected.pop_front() {
            Some(wanted) if wanted == mark => Ok(()),
            Some(wanted) => {
                let like = if wanted.name() == mark.name() { "another " } else { "" };
                let what = format!("expected {like}{}, saw {}", wanted.name(), shown(effect));
                Err(Refused::Differs(what).into())
            }
            None if self.cut_off => Ok(()),
            None => Err(Refused::Differs(format!("expected nothing more, saw {}", shown(effect))).into()),
        }
    }

    fn shard(&mut self, shard: ShardId, mut command: ShardCommand) -> Carried {
        if let ShardCommand::Stage { sequence, work } = &mut command {
            for work in work {
                if let Work::Rows { table, rows, .. } = work
                    && rows.iter().any(is_placeholder)
                    && !self.take_rows_from_log(*sequence, shard, *table, rows)?
                {
                    self.rows_lost = Some(*sequence);
                }
            }
        }
        if self.rows_lost.is_none() {
            let reply = self.shards[shard.0 as usize].handle(command);
            self.replies[shard.0 as usize].push_back(reply);
        }
        Ok(())
    }

    /// Compares a record with the one in the log, if it is there.
    fn append(&mut self, made: EncodedRecord) -> Carried {
        let sequence = made.sequence;
        if let Some(record) = self.log.record(sequence)? {
            let payload = Bytes::from(made.parts.concat());
            let body = Body::decode(made.kind, &payload)?;
            if body != record.body {
                return Err(Refused::Differs(format!("record {sequence} is another one in the log")).into());
            }
            self.records_checked += 1;
        }
        self.log.pass(sequence);
        Ok(())
    }

    fn sync(&mut self) -> Carried {
        Ok(())
    }

    fn open_source(&mut self, _: Epoch, _: Arc<PipelineDef>, _: Arc<TableDef>) -> Carried {
        Ok(())
    }

    fn fetch(&mut self, _: PipelineId, _: Epoch, _: Vec<SplitStart>) -> Carried {
        Ok(())
    }

    fn credit(&mut self, _: PipelineId, _: Epoch, _: u64) -> Carried {
        Ok(())
    }

    fn verify_source(&mut self, _: PipelineId, _: Epoch, _: u64) -> Carried {
        Ok(())
    }

    fn close_source(&mut self, _: PipelineId, _: Epoch) -> Carried {
        Ok(())
    }

    fn publish(&mut self, snapshot: Snapshot) -> Carried {
        self.seen.push(snapshot);
        Ok(())
    }

    fn reply(&mut self, _: RequestId, _: kernel::Result<Response>) -> Carried {
        Ok(())
    }

    fn wake_at(&mut self, _: Micros) -> Carried {
        Ok(())
    }

    fn event(&mut self, _: Event) -> Carried {
        Ok(())
    }

    fn halt(&mut self, _: kernel::Error) -> Ended {
        Ended::Halts
    }
}

impl EffectHost {
    /// Replaces placeholders by rows, which the record has in this order. False if there is no such record.
    fn take_rows_from_log(
        &mut self,
        sequence: Sequence,
        shard: ShardId,
        table: TableId,
        rows: &mut [RecordBatch],
    ) -> Result<bool, Refused> {
        let Some(record) = self.log.record(sequence)? else { return Ok(false) };
        let definition = self.tip.table(table)?.clone();
        let schema = definition.stored_schema();
        let mut found = vec![];
        if let Body::Commit(_, commit) = &record.body
            && let Some(parts) = commit.outcomes.get(shard.0 as usize)
        {
            for part in parts {
                for piece in columns::pieces(part)?.iter().filter(|piece| piece.table == table) {
                    found.extend(piece.read(&definition, &schema)?.1);
                }
            }
        }
        let all = concat_batches(&schema, &found)
            .map_err(|error| Refused::Differs(format!("rows of record {sequence}: {error}")))?;
        let wanted: usize = rows.iter().map(RecordBatch::num_rows).sum();
        if all.num_rows() != wanted {
            return Err(Refused::Differs(format!(
                "expected {wanted} rows of table {table} for shard {shard} in record {sequence}, the log has {}",
                all.num_rows()
            )));
        }
        let mut start = 0;
        for batch in rows {
            let len = batch.num_rows();
            if is_placeholder(batch) {
                *batch = all.slice(start, len);
                self.rows_from_log += len as u64;
            }
            start += len;
        }
        Ok(true)
    }
}

/// Rows that a file contains after their extracts; its quiesced state may contain such extracts already.
fn rows_of(recording: &Recording) -> Result<BTreeMap<ExtractKey, Vec<Option<Rows>>>, ReplayError> {
    let again = Recording::open(recording.path())?;
    Ok(super::steps::Steps::read(again)?.rows_later())
}

fn shown(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text").to_string()
}
