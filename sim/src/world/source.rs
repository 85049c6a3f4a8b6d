//! The host's side of one pipeline's source: sessions with the broker model, the shipped decoder and extractor, and
//! readers of an older epoch that have not stopped yet.

use kernel::message::SplitStart;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{BooleanArray, Int64Array, RecordBatch};
use arrow_schema::{Field, Schema};
use kernel::continuity::{Admission, ContinuityGuard};
use kernel::message::SourceFailure;
use kernel::schema::{ColumnType, PipelineDef, TableDef};
use kernel::{Epoch, Error, Extract, Identity, Input, Micros, PipelineId, RawMessage, SqlState};
use tidemark_decode::{
    DecodePlan, ExtractPlan, Extractor, FieldMapping, Format, TimeUnit, Transform, Transformed, YEARS_ALL,
};

use crate::broker::{Broker, Message, Opening, Session};
use crate::csv::Dialect;
use crate::decide::Decisions;
use crate::defects::{self, WorldDefect};
use crate::fault::Fault;
use crate::scenario::{PipelineRule, Setting};
use crate::swarm::{Parameters, Pushes};
use crate::trace::{Actor, Mark, Trace};

/// A source command of the coordinator.
#[derive(Debug)]
pub enum Command {
    /// With the definitions as they were when the effect was drained.
    Open {
        epoch: Epoch,
        pipeline: Arc<PipelineDef>,
        table: Arc<TableDef>,
    },
    Fetch {
        epoch: Epoch,
        starts: Vec<SplitStart>,
    },
    Credit {
        epoch: Epoch,
        bytes: u64,
    },
    Verify {
        epoch: Epoch,
        token: u64,
    },
    Close {
        epoch: Epoch,
    },
}

impl Command {
    /// Its epoch.
    pub fn epoch(&self) -> Epoch {
        match self {
            Command::Open { epoch, .. }
            | Command::Fetch { epoch, .. }
            | Command::Credit { epoch, .. }
            | Command::Verify { epoch, .. }
            | Command::Close { epoch } => *epoch,
        }
    }
}

/// SET and WHERE, as the rule has them: the amount is set, perhaps, and is no multiple of a number as it was read.
struct Expressions {
    /// Index of each table column among the decoded ones.
    places: Vec<usize>,
    /// Among the table's.
    amount_column: usize,
    multiples_of: i64,
    setting: Option<Setting>,
}

impl Transform for Expressions {
    fn transform(&mut self, columns: &RecordBatch, _now_us: Micros) -> kernel::Result<Transformed> {
        let amounts = columns.column(self.places[self.amount_column]).as_primitive::<Int64Type>();
        let keeps = |amount: i64| self.multiples_of == 0 || amount % self.multiples_of != 0;
        let keep = amounts.iter().map(|amount| amount.map(keeps)).collect::<BooleanArray>();
        let columns = columns.project(&self.places).expect("columns that are there");
        let Some(setting) = self.setting else {
            return Ok(Transformed { columns, keep: Some(keep), errors: Vec::new() });
        };
        let values: Vec<_> =
            amounts.iter().map(|amount| amount.map_or(Ok(None), |amount| setting.value(amount))).collect();
        let failed = values.iter().enumerate().filter_map(|(row, value)| Some((row as u32, value.err()?)));
        let error = |(row, (code, text)): (u32, (&str, &str))| {
            let kinds = [SqlState::DIVISION_BY_ZERO, SqlState::NUMERIC_VALUE_OUT_OF_RANGE];
            let kind = kinds.into_iter().find(|kind| kind.as_str() == code);
            (row, Error::new(kind.expect("one of both"), text))
        };
        let errors: Vec<(u32, Error)> = failed.map(error).collect();
        if let Some((_, error)) = errors.first().filter(|_| !setting.names_rows) {
            return Err(error.clone());
        }
        // Rows that fail have a value too, which must not be used.
        let set: Int64Array = values.iter().map(|value| value.unwrap_or(Some(-77))).collect();
        let mut all = columns.columns().to_vec();
        all[self.amount_column] = Arc::new(set);
        let fields: Vec<Field> = columns
            .schema()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let columns = RecordBatch::try_new(Arc::new(Schema::new(fields)), all).expect("the same columns");
        Ok(Transformed { columns, keep: Some(keep), errors })
    }
}

impl Expressions {
    /// Those of a rule, if it has any.
    fn of(rule: &PipelineRule, dialect: Option<Dialect>) -> Option<Box<dyn Transform>> {
        if rule.filter_multiples_of == 0 && rule.setting.is_none() {
            return None;
        }
        let fields = rule.shape.fields();
        let places = dialect.map_or((0..fields.len()).collect(), |d| d.places(rule.shape));
        let amount_column = fields.iter().position(|field| *field == "amount").expect("it has one");
        let (multiples_of, setting) = (rule.filter_multiples_of, rule.setting);
        Some(Box::new(Expressions { places, amount_column, multiples_of, setting }))
    }
}

/// How a rule's messages are decoded: JSON where they have no dialect of CSV.
pub fn decode_plan(rule: &PipelineRule, dialect: Option<Dialect>) -> DecodePlan {
    if let Some(dialect) = dialect {
        return DecodePlan { format: Format::Csv(dialect.format()), fields: dialect.mappings(rule.shape) };
    }
    let columns = rule.shape.columns().iter().zip(rule.shape.fields());
    let mapping = |((name, column_type, nullable), field): (&(&str, _, bool), &&str)| FieldMapping {
        name: (*name).into(),
        column_type: *column_type,
        nullable: *nullable,
        path: vec![(*field).into()],
        default: None,
        unit: time_unit(*column_type),
    };
    DecodePlan { format: Format::Json, fields: columns.map(mapping).collect() }
}

/// Unit of times in the world's messages.
fn time_unit(column_type: ColumnType) -> Option<TimeUnit> {
    match column_type {
        ColumnType::Date => Some(TimeUnit::Days),
        ColumnType::Timestamp | ColumnType::TimestampTz => Some(TimeUnit::Milliseconds),
        _ => None,
    }
}

/// Reads one partition in one epoch.
struct Reader {
    epoch: Epoch,
    partition: i32,
    session: Session,
    /// Refetches after jumps, as the shipped Kafka reader does; None: accepts every delivery, as the source port
    /// allows.
    guard: Option<ContinuityGuard>,
    extractor: Extractor,
    pushes: Pushes,
    /// Fetched, without credit yet.
    buffer: VecDeque<Message>,
    /// Position over a hole, valid once the buffer is empty.
    position: Option<i64>,
    /// Handed in, in flight.
    out: VecDeque<Extract>,
    failed: bool,
    /// The last fetch was empty.
    idle: bool,
}

/// See the module.
pub struct SourceHost {
    pipeline: PipelineId,
    /// Of its rule in the scenario.
    number: u16,
    rule: PipelineRule,
    dialect: Option<Dialect>,
    /// From the coordinator, in order.
    pub commands: VecDeque<Command>,
    open: Option<(Epoch, ExtractPlan, kernel::Generation, PipelineRule)>,
    /// Credit left in this epoch; the last message may overdraw it.
    credit: i64,
    readers: Vec<Reader>,
    /// Readers of older epochs.
    zombies: Vec<Reader>,
    last_sessions: BTreeMap<i32, Session>,
    /// To the coordinator, in order; extracts have a channel of their own.
    pub replies: VecDeque<Input>,
    /// Delayed answers: each arrives after later ones.
    held_up: Vec<Input>,
    doubting: bool,
    pushes: Pushes,
    shard_count: u16,
    /// For a seeded defect.
    first_topic_id: Option<Identity>,
}

/// The surroundings of a source.
pub struct Surroundings<'s, 'a> {
    pub decisions: &'s Decisions<'a>,
    pub broker: &'s mut Broker<'a>,
    pub now_us: Micros,
    pub fetch_messages_max: u64,
    pub trace: &'s Trace,
}

impl SourceHost {
    /// A pipeline's source; nothing is open.
    pub fn new(pipeline: PipelineId, number: u16, rule: PipelineRule, p: &Parameters) -> SourceHost {
        SourceHost {
            pipeline,
            number,
            dialect: p.dialects[rule.topic],
            rule,
            commands: VecDeque::new(),
            open: None,
            credit: 0,
            readers: Vec::new(),
            zombies: Vec::new(),
            last_sessions: BTreeMap::new(),
            replies: VecDeque::new(),
            held_up: Vec::new(),
            doubting: p.doubting_readers,
            pushes: p.pushes,
            shard_count: p.shard_count,
            first_topic_id: None,
        }
    }

    /// Which of the scenario's pipelines it is.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Index of its topic.
    pub fn topic(&self) -> usize {
        self.rule.topic
    }

    /// Work of each reader, by number: none (0), a check for messages (1), or more.
    pub fn reader_weights(&self, pace: u64) -> impl Iterator<Item = u64> + '_ {
        let own = self.readers.iter().map(move |r| r.weight(self.credit > 0, pace));
        own.chain(self.zombies.iter().map(|r| r.weight(true, 1)))
    }

    /// Stops the readers of older epochs.
    pub fn bury_zombies(&mut self) {
        self.zombies.clear();
    }

    /// Readers with extracts in flight to the coordinator.
    pub fn delivering(&self) -> impl Iterator<Item = usize> {
        let all = self.readers.iter().chain(&self.zombies).enumerate();
        all.filter(|(_, r)| !r.out.is_empty()).map(|(i, _)| i)
    }

    /// For each reader: its partition, the ranges that it handed in, and whether its epoch has ended.
    pub fn in_flight(&self) -> impl Iterator<Item = (i32, Vec<(i64, i64)>, bool)> + '_ {
        let ranges = |r: &Reader| r.out.iter().map(|e| (e.first.ordinal(), e.next.ordinal())).collect();
        let own = self.readers.iter().map(move |r| (r.partition, ranges(r), false));
        own.chain(self.zombies.iter().map(move |r| (r.partition, ranges(r), true)))
    }

    /// The next extract of a reader. It may be made for another version of the table, arrive twice, or be lost although
    /// another one follows: then the ranges do not follow one another.
    pub fn deliver(&mut self, number: usize, decisions: &Decisions<'_>) -> Option<Extract> {
        let out = &mut self.reader(number).out;
        let mut extract = out.pop_front()?;
        if decisions.strikes(Fault::OtherSchema) {
            // Rows of other columns: nothing of them may reach the table.
            extract.schema_version += 1;
            extract.rows.fill(None);
            return Some(extract);
        }
        if !out.is_empty() && decisions.strikes(Fault::LostRange) {
            return out.pop_front();
        }
        if decisions.strikes(Fault::RepeatedRange) {
            let turned = decisions.below(3) == 1 && extract.first.ordinal() < extract.next.ordinal();
            out.push_front(if turned { turned_around(&extract) } else { extract.clone() });
        }
        Some(extract)
    }

    /// Epoch that is open now.
    pub fn newest_epoch(&self) -> Option<Epoch> {
        self.epoch()
    }

    /// Position up to which the newest reader of a partition handed in.
    pub fn position(&self, partition: i32) -> Option<i64> {
        let reader = self.readers.iter().rev().find(|r| r.partition == partition)?;
        let handed_in = reader.out.front().map(|e| e.first.ordinal());
        Some(handed_in.unwrap_or(reader.extractor.position().ordinal()))
    }

    fn reader(&mut self, number: usize) -> &mut Reader {
        let own = self.readers.len();
        if number < own { &mut self.readers[number] } else { &mut self.zombies[number - own] }
    }

    /// Executes the next command.
    pub fn command(&mut self, around: &mut Surroundings<'_, '_>) {
        match self.commands.pop_front().expect("called when there is one") {
            Command::Open { epoch, pipeline, table } => self.open(epoch, &pipeline, table, around),
            Command::Fetch { epoch, starts } => self.fetch(epoch, starts, around),
            Command::Credit { epoch, bytes } => {
                if self.epoch() == Some(epoch) {
                    self.credit += bytes as i64;
                }
            }
            Command::Verify { epoch, token } => self.verify(epoch, token, around),
            Command::Close { epoch } => self.close(epoch, around),
        }
    }

    fn epoch(&self) -> Option<Epoch> {
        self.open.as_ref().map(|(epoch, ..)| *epoch)
    }

    fn open(
        &mut self,
        epoch: Epoch,
        pipeline: &PipelineDef,
        table: Arc<TableDef>,
        around: &mut Surroundings<'_, '_>,
    ) {
        let rule = self.rule.defined(&pipeline.definition_sql);
        let plan = ExtractPlan {
            defaults: vec![None; table.columns.len()],
            table,
            decode: decode_plan(&rule, self.dialect),
            shard_count: self.shard_count,
            years: YEARS_ALL,
            ignores_tombstones: false,
        };
        self.open = Some((epoch, plan, pipeline.generation, rule));
        self.credit = 0;
        let pipeline = self.pipeline;
        match around.broker.read(self.number) {
            Ok(metadata) => {
                self.first_topic_id = Some(metadata.topic_id());
                self.answer(Input::SourceOpened { pipeline, epoch, metadata }, around);
            }
            Err(failure) => self.answer(Input::SourceFailed { pipeline, epoch, failure }, around),
        }
    }

    fn fetch(&mut self, epoch: Epoch, starts: Vec<SplitStart>, around: &mut Surroundings<'_, '_>) {
        let Some((_, plan, generation, rule)) = self.open.clone().filter(|(open, ..)| *open == epoch) else {
            return;
        };
        for SplitStart { split, name, position: start } in starts {
            let partition = name.partition().expect("a partition of a topic");
            let before = self.last_sessions.remove(&partition);
            let doubting = self.doubting;
            let session = around.broker.open(partition, start, Opening { before, doubting, again: false });
            let transform = Expressions::of(&rule, self.dialect);
            let extractor =
                Extractor::new(plan.clone(), transform, self.pipeline, epoch, generation, split, start)
                    .expect("the plan fits the table")
                    .with_limits(self.pushes.limits);
            self.readers.push(Reader {
                epoch,
                partition,
                session,
                guard: self.doubting.then(|| ContinuityGuard::new(start)),
                extractor,
                pushes: self.pushes,
                buffer: VecDeque::new(),
                position: None,
                out: VecDeque::new(),
                failed: false,
                idle: false,
            });
        }
    }

    fn verify(&mut self, epoch: Epoch, token: u64, around: &mut Surroundings<'_, '_>) {
        if self.epoch() != Some(epoch) {
            return;
        }
        let pipeline = self.pipeline;
        let mut metadata = around.broker.verify();
        if defects::is(WorldDefect::CachedTopicId)
            && let Ok(metadata) = &mut metadata
        {
            let first = self.first_topic_id.clone().expect("it was opened");
            metadata.splits.values_mut().for_each(|split| split.identity = first.clone());
        }
        let answer = match metadata {
            Ok(metadata) => Input::SourceVerified { pipeline, epoch, token, metadata },
            Err(failure) => Input::SourceFailed { pipeline, epoch, failure },
        };
        self.answer(answer, around);
    }

    /// Sends an answer, which may be delayed or doubled.
    fn answer(&mut self, answer: Input, around: &Surroundings<'_, '_>) {
        if around.decisions.strikes(Fault::LateAnswer) {
            self.held_up.push(answer);
            return;
        }
        if let Some(copy) = copy_answer(&answer).filter(|_| around.decisions.strikes(Fault::DoubledAnswer)) {
            self.replies.push_back(copy);
        }
        self.replies.push_back(answer);
    }

    /// Whether an answer is delayed.
    pub fn holds_up(&self) -> bool {
        !self.held_up.is_empty()
    }

    /// An answer that was held up is on its way again.
    pub fn let_go(&mut self, decisions: &Decisions<'_>) {
        let answer = self.held_up.remove(decisions.index(self.held_up.len()));
        self.replies.push_back(answer);
    }

    /// Ends the epoch; some readers stop late, and some of their extracts are in flight.
    fn close(&mut self, epoch: Epoch, around: &mut Surroundings<'_, '_>) {
        if self.epoch() == Some(epoch) {
            self.open = None;
        }
        for reader in std::mem::take(&mut self.readers) {
            if reader.epoch != epoch {
                self.readers.push(reader);
                continue;
            }
            self.last_sessions.insert(reader.partition, reader.session.clone());
            if around.decisions.fault(Fault::OldOwner) {
                around.trace.note(
                    Actor::Reader(self.number, reader.partition),
                    Mark::Fault,
                    &[reader.epoch.0],
                    format_args!(
                        "does not know that epoch {} has ended, and continues to read",
                        reader.epoch
                    ),
                );
                self.zombies.push(reader);
            }
        }
        let excess = self.zombies.len().saturating_sub(4);
        self.zombies.drain(..excess);
    }

    /// One turn of a reader: fetch, extract as far as the credit goes, hand in.
    pub fn read(&mut self, number: usize, around: &mut Surroundings<'_, '_>) {
        let own = self.readers.len();
        let pipeline = self.pipeline;
        let mut own_credit = self.credit;
        // A reader of an older epoch has any credit: the kernel no longer counts it.
        let mut stale_credit = 1000;
        let credit = if number < own { &mut own_credit } else { &mut stale_credit };
        let actor = Actor::Reader(self.number, self.reader(number).partition);
        let outcome = self.reader(number).turn(credit, actor, around);
        self.credit = own_credit;
        if let Err(failure) = outcome {
            let reader = self.reader(number);
            reader.failed = true;
            let epoch = reader.epoch;
            self.answer(Input::SourceFailed { pipeline, epoch, failure }, around);
        }
    }
}

/// An empty range that goes back over the previous one.
fn turned_around(extract: &Extract) -> Extract {
    let mut turned = extract.clone();
    (turned.first, turned.next) = (extract.next, extract.first);
    (turned.messages, turned.filtered, turned.source_bytes) = (0, 0, 0);
    turned.dead_letters.clear();
    turned.rows.fill(None);
    turned
}

/// A copy of an answer.
fn copy_answer(answer: &Input) -> Option<Input> {
    Some(match answer {
        Input::SourceOpened { pipeline, epoch, metadata } => {
            Input::SourceOpened { pipeline: *pipeline, epoch: *epoch, metadata: metadata.clone() }
        }
        Input::SourceVerified { pipeline, epoch, token, metadata } => Input::SourceVerified {
            pipeline: *pipeline,
            epoch: *epoch,
            token: *token,
            metadata: metadata.clone(),
        },
        Input::SourceFailed { pipeline, epoch, failure } => {
            Input::SourceFailed { pipeline: *pipeline, epoch: *epoch, failure: failure.clone() }
        }
        _ => return None,
    })
}

impl Reader {
    fn weight(&self, has_credit: bool, pace: u64) -> u64 {
        let holds = self.extractor.buffered_messages() > 0 || self.position.is_some();
        match (self.failed, has_credit, holds) {
            (true, ..) | (_, false, false) => 0,
            (_, _, false) if self.idle => 1,
            _ => 2 * pace,
        }
    }

    fn turn(
        &mut self,
        credit: &mut i64,
        actor: Actor,
        around: &mut Surroundings<'_, '_>,
    ) -> Result<(), SourceFailure> {
        if self.failed {
            return Ok(());
        }
        if self.buffer.is_empty() && *credit > 0 {
            self.fetch(actor, around)?;
            if self.pushes.joins_fetches && !self.buffer.is_empty() && around.decisions.below(3) == 1 {
                self.fetch(actor, around)?;
            }
        }
        while *credit > 0 && !self.buffer.is_empty() {
            let messages: Vec<Message> = self.buffer.drain(..self.fitting(*credit, around)).collect();
            let (before, due) = (self.extractor.buffered_source_bytes(), self.bytes_due(&messages));
            self.push(&messages);
            let taken = self.extractor.buffered_source_bytes() - before;
            assert_eq!(taken, due, "bytes that {} messages are taken for", messages.len());
            *credit -= taken as i64;
            if self.extractor.is_full() {
                break;
            }
        }
        if let Some(position) = self.position.take_if(|_| self.buffer.is_empty()) {
            self.extractor.advance_to(position);
        }
        if around.decisions.below(3) < 2 {
            while let Some(extract) = self.extractor.take(around.now_us).map_err(SourceFailure::Permanent)? {
                self.out.push_back(extract);
            }
        }
        Ok(())
    }

    /// Fetches once, behind what was fetched before.
    fn fetch(&mut self, actor: Actor, around: &mut Surroundings<'_, '_>) -> Result<(), SourceFailure> {
        let max = around.decisions.between(1, around.fetch_messages_max) as usize;
        let delivery = around.broker.fetch(&mut self.session, max)?;
        self.idle = delivery.messages.is_empty();
        if let (Some(first), Some(last)) = (delivery.messages.front(), delivery.messages.back()) {
            around.trace.note(
                actor,
                Mark::Detail,
                &[first.offset as u64, last.offset as u64, delivery.messages.len() as u64],
                format_args!(
                    "fetches {}, offsets {} to {}",
                    super::words::count(delivery.messages.len() as u64, "message"),
                    first.offset,
                    last.offset
                ),
            );
        }
        let known = self.buffer.len();
        self.buffer.extend(delivery.messages);
        let believed = self.doubt(known, around)?;
        let position = delivery.position.filter(|at| believed && *at > self.extractor.position().ordinal());
        if let (Some(guard), Some(position)) = (&mut self.guard, position) {
            guard.advance_to(position);
        }
        self.position = self.position.max(position);
        Ok(())
    }

    /// Number of messages in the next push: as many as the credit allows, with one message that may overdraw it, and at
    /// most the limit of a push.
    fn fitting(&self, credit: i64, around: &Surroundings<'_, '_>) -> usize {
        let most = around.decisions.between(1, self.pushes.messages_max) as usize;
        let mut left = credit;
        let paid = self.buffer.iter().take(most).take_while(|message| {
            let fits = left > 0;
            left -= message.bytes() as i64;
            fits
        });
        paid.count()
    }

    /// What these messages are to be taken for: what has passed already, before or among them, is dropped.
    fn bytes_due(&self, messages: &[Message]) -> u64 {
        let mut next = self.extractor.position().ordinal();
        let mut bytes = 0;
        for message in messages.iter().filter(|message| !is_skipped(message.offset)) {
            if message.offset >= next || defects::is(WorldDefect::CountedOffsets) {
                bytes += message.bytes();
                next = next.max(message.offset) + 1;
            }
        }
        bytes
    }

    /// Checks the messages after the first `known` ones with the continuity guard. Drops unexpected ones and fetches them
    /// again; a step back after a refetch ends the reader. False if a message was dropped.
    fn doubt(&mut self, known: usize, around: &mut Surroundings<'_, '_>) -> Result<bool, SourceFailure> {
        let Some(guard) = &mut self.guard else { return Ok(true) };
        for index in known..self.buffer.len() {
            let admission = guard.admit(&self.buffer[index].raw());
            if admission == Admission::Accept {
                continue;
            }
            self.buffer.truncate(index);
            if admission == Admission::WentBack {
                let text = "the partition was read on, and went back";
                return Err(SourceFailure::Transient(Error::new(
                    SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
                    text,
                )));
            }
            let opening = Opening { before: None, doubting: true, again: true };
            self.session = around.broker.open(self.partition, guard.position(), opening);
            self.idle = false;
            return Ok(false);
        }
        Ok(true)
    }

    fn push(&mut self, messages: &[Message]) {
        let mut next = self.extractor.position().ordinal();
        let mut pushed = Vec::with_capacity(messages.len());
        for message in messages.iter().filter(|message| !is_skipped(message.offset)) {
            let counted = defects::is(WorldDefect::CountedOffsets);
            let offset = if counted { next.max(message.offset) } else { message.offset };
            next = offset + 1;
            pushed.push(RawMessage { ordinal: offset, ..message.raw() });
        }
        self.extractor.push(&pushed);
    }
}

/// For a seeded defect.
fn is_skipped(offset: i64) -> bool {
    defects::is(WorldDefect::SkippedMessage) && offset % 7 == 3
}
