//! What clients ask for: snapshots and their release, table locks, writes and definitions in line. A request may overtake
//! another only if they have no table in common.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Coordinator;
use super::define::{Outcome, is_definition_of};
use super::staging::{Origin, WorkByShard};
use crate::coverage::{CoverageMark, reached};
use crate::defects::{self, Defect};
use crate::error::{Error, Result, SqlState};
use crate::ids::*;
use crate::message::{Definition, Effect, Request, Response, ShardCommand, Work, Write};
use crate::record::{Commit, RecordKind};
use crate::snapshot::{ShardView, Snapshot};

/// A request that waits for its turn.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    Define(Definition),
    Write(Write),
    TableLock(BTreeSet<TableId>),
}

impl Waiting {
    /// A request that takes its place in the line; None for those that are answered at once.
    pub fn of(request: Request) -> Option<Waiting> {
        match request {
            Request::Define(definition) => Some(Waiting::Define(definition)),
            Request::Write(write) => Some(Waiting::Write(write)),
            Request::AcquireTableLock { tables } => Some(Waiting::TableLock(tables.into_iter().collect())),
            Request::AcquireSnapshot | Request::ReleaseSnapshot(_) | Request::ReleaseTableLock(_) => None,
        }
    }

    /// Whether it is what somebody holds a table lock for.
    fn holds_table_lock(&self) -> bool {
        matches!(self, Waiting::Write(Write { table_lock: Some(_), .. }))
    }

    /// What was asked for.
    pub fn request(&self) -> Request {
        match self {
            Waiting::Define(definition) => Request::Define(definition.clone()),
            Waiting::Write(write) => Request::Write(write.clone()),
            Waiting::TableLock(tables) => {
                Request::AcquireTableLock { tables: tables.iter().copied().collect() }
            }
        }
    }
}

/// A line in which requests wait for one another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    /// Who touches this table.
    Of(TableId),
    /// Who changes the catalog.
    OfDefinitions,
}

/// A table lock that is held, or being set up.
#[derive(Clone, Debug)]
pub(super) struct TableLock {
    pub tables: BTreeSet<TableId>,
    /// Who asked, until the views are all there.
    pub setting_up: Option<SettingUp>,
}

#[derive(Clone, Debug)]
pub(super) struct SettingUp {
    id: RequestId,
    sequence: Sequence,
    views: Vec<Option<Arc<ShardView>>>,
}

/// Readers, table locks and the line.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pub waiting: VecDeque<(RequestId, Waiting)>,
    pub table_locks: BTreeMap<TableLockId, TableLock>,
    pub last_table_lock: u64,
    pub readers: BTreeMap<ReaderId, Sequence>,
    pub last_reader: u64,
}

impl Requests {
    /// Sequence of the oldest snapshot that a reader holds.
    pub fn horizon(&self) -> Option<Sequence> {
        self.readers.values().min().copied()
    }

    /// True while a table lock forbids to stage rows of a table.
    pub fn is_barred(&self, table: TableId) -> bool {
        self.table_locks.values().any(|table_lock| table_lock.tables.contains(&table))
    }
}

#[cfg(feature = "explore")]
impl Requests {
    /// See [`crate::fingerprint`]. A search asks for definitions only; what it waits for with rows or table locks is counted.
    pub(super) fn fingerprint(&self, to: &mut crate::fingerprint::StateFingerprint) {
        let Requests { waiting, table_locks, last_table_lock: _, readers, last_reader: _ } = self;
        to.count(waiting.len());
        for (_, request) in waiting {
            match request {
                Waiting::Define(definition) => to.bytes(format!("{definition:?}").as_bytes()),
                Waiting::Write(write) => to.count(write.tables.len()),
                Waiting::TableLock(tables) => to.count(tables.len()),
            }
        }
        to.count(table_locks.len());
        to.count(readers.len());
    }
}

impl Coordinator {
    pub(super) fn request(&mut self, id: RequestId, request: Request) {
        let waiting = match request {
            Request::AcquireSnapshot => return self.acquire_snapshot(id),
            Request::ReleaseSnapshot(reader) => {
                self.requests.readers.remove(&reader);
                return;
            }
            Request::ReleaseTableLock(table_lock) => return self.drop_table_lock(Some(table_lock)),
            other => Waiting::of(other).expect("all others wait for their turn"),
        };
        // The holder of a table lock is never turned away: those in line may be waiting for it. There are no more of them than
        // table locks, and no more table locks than tables.
        let mut holds_table_lock = waiting.holds_table_lock();
        if defects::is(Defect::HolderTurnedAway) {
            holds_table_lock = false;
        }
        if !holds_table_lock && self.requests.waiting.len() >= self.config.requests_waiting_max {
            reached(CoverageMark::RequestTurnedAway);
            let text = format!("{} requests wait already; try again later", self.requests.waiting.len());
            return self.reply(id, Err(Error::new(SqlState::OUT_OF_MEMORY, text)));
        }
        self.requests.waiting.push_back((id, waiting));
    }

    fn reply(&mut self, id: RequestId, result: Result<Response>) {
        self.effects.push_back(Effect::Reply { id, result });
    }

    fn acquire_snapshot(&mut self, id: RequestId) {
        self.requests.last_reader += 1;
        let reader = ReaderId(self.requests.last_reader);
        self.requests.readers.insert(reader, self.published.sequence);
        self.reply(id, Ok(Response::Snapshot { reader, snapshot: self.published.clone() }));
    }

    /// Starts the first request whose turn it is. False if none can start.
    pub(super) fn start_request(&mut self) -> bool {
        let mut passed = BTreeSet::new();
        let mut chosen = None;
        for (index, (_, waiting)) in self.requests.waiting.iter().enumerate() {
            let lines = self.lines_of(waiting);
            let overtakes = !lines.is_disjoint(&passed);
            if !overtakes && !self.is_held_up(&lines) {
                if index > 0 {
                    reached(CoverageMark::RequestOvertook);
                }
                chosen = Some(index);
                break;
            }
            if !overtakes {
                reached(CoverageMark::TableLockHeldUpRequest);
            }
            passed.extend(lines);
        }
        let Some((id, waiting)) = chosen.and_then(|index| self.requests.waiting.remove(index)) else {
            return false;
        };
        if let Err(error) = self.start(id, waiting) {
            self.reply(id, Err(error));
        }
        true
    }

    /// Where a waiting request stands.
    fn lines_of(&self, waiting: &Waiting) -> BTreeSet<Line> {
        match waiting {
            // The holder of a table lock is in nobody's line: what it waits for could be waiting for it.
            Waiting::Write(Write { table_lock: Some(_), .. }) => BTreeSet::new(),
            Waiting::Write(write) => write.tables.iter().map(|t| Line::Of(t.table)).collect(),
            Waiting::TableLock(tables) => tables.iter().copied().map(Line::Of).collect(),
            Waiting::Define(definition) => {
                let tables = is_definition_of(&self.tip, definition).into_iter().map(Line::Of);
                tables.chain([Line::OfDefinitions]).collect()
            }
        }
    }

    fn is_held_up(&self, lines: &BTreeSet<Line>) -> bool {
        lines.iter().any(|line| matches!(line, Line::Of(table) if self.requests.is_barred(*table)))
    }

    fn start(&mut self, id: RequestId, waiting: Waiting) -> Result<()> {
        if self.read_only {
            reached(CoverageMark::ReadOnlyRefused);
            if let Waiting::Write(write) = &waiting {
                self.drop_table_lock(write.table_lock);
            }
            return Err(self.disk_full());
        }
        match waiting {
            Waiting::Write(write) => {
                let table_lock = write.table_lock;
                self.start_write(id, write).inspect_err(|_| self.drop_table_lock(table_lock))
            }
            Waiting::TableLock(tables) => self.start_table_lock(id, tables),
            Waiting::Define(definition) => self.start_definition(id, definition),
        }
    }

    fn start_write(&mut self, id: RequestId, write: Write) -> Result<()> {
        if let Some(table_lock) = &write.table_lock {
            let held = self.requests.table_locks.get(table_lock).filter(|b| b.setting_up.is_none());
            let held = held.ok_or_else(|| {
                Error::new(SqlState::INTERNAL_ERROR, "the write names a table lock that is not held")
            })?;
            if write.tables.iter().any(|t| !held.tables.contains(&t.table)) {
                return Err(Error::new(
                    SqlState::INTERNAL_ERROR,
                    "the write touches a table outside its table lock",
                ));
            }
        }
        let mut work = WorkByShard::new();
        for table_write in write.tables {
            let table = self.tip.table(table_write.table)?;
            if table.schema_version != table_write.schema_version {
                let text = format!("table {} was changed while the statement ran; run it again", table.name);
                return Err(Error::new(SqlState::SERIALIZATION_FAILURE, text));
            }
            table_write.on_duplicate.check(table)?;
            assert_eq!(table_write.shards.len(), self.shard_count as usize, "one part a shard");
            for (shard, part) in table_write.shards.into_iter().enumerate() {
                let rows: Vec<_> = part.rows.into_iter().filter(|rows| rows.num_rows() > 0).collect();
                if rows.is_empty() && part.deletes.is_empty() {
                    continue;
                }
                let (table, on_duplicate) = (table_write.table, table_write.on_duplicate.clone());
                let rows = Work::Rows { table, on_duplicate, deletes: part.deletes, rows };
                work.entry(ShardId(shard as u16)).or_default().push(rows);
            }
        }
        if work.is_empty() {
            self.drop_table_lock(write.table_lock);
            self.reply(id, Ok(Response::Done(Default::default())));
            return Ok(());
        }
        let commit = Commit { at_us: self.now_us, ..Commit::default() };
        self.stage(RecordKind::Client, Origin::Write { id, table_lock: write.table_lock }, commit, work);
        Ok(())
    }

    fn start_definition(&mut self, id: RequestId, definition: Definition) -> Result<()> {
        match self.resolve(definition)? {
            Outcome::Nothing => self.reply(id, Ok(Response::Done(Default::default()))),
            Outcome::Record { kind, catalog, work } => {
                let commit = Commit { at_us: self.now_us, catalog, ..Commit::default() };
                self.stage(kind, Origin::Define { id }, commit, work);
            }
        }
        Ok(())
    }

    /// Between two records, everything staged is the tip: the shards are asked for it, and nothing more is staged on these
    /// tables until the statement is done. No lost update, no retry.
    fn start_table_lock(&mut self, id: RequestId, tables: BTreeSet<TableId>) -> Result<()> {
        for table in &tables {
            self.tip.table(*table)?;
        }
        self.requests.last_table_lock += 1;
        let table_lock = TableLockId(self.requests.last_table_lock);
        let sequence = Sequence(self.next_sequence.0 - 1);
        if sequence > self.durable {
            reached(CoverageMark::TableLockOverUnsynced);
        }
        let setting_up = SettingUp { id, sequence, views: vec![None; self.shard_count as usize] };
        self.requests.table_locks.insert(table_lock, TableLock { tables, setting_up: Some(setting_up) });
        for shard in (0..self.shard_count).map(ShardId) {
            self.effects.push_back(Effect::Shard { shard, command: ShardCommand::ViewTip { table_lock } });
        }
        Ok(())
    }

    pub(super) fn tip_viewed(&mut self, shard: ShardId, id: TableLockId, view: Arc<ShardView>) {
        let catalog = self.tip.clone();
        // A table lock may have been released before it was set up.
        let Some(table_lock) = self.requests.table_locks.get_mut(&id) else { return };
        let setting_up = table_lock.setting_up.as_mut().expect("one view a shard");
        assert!(setting_up.views[shard.0 as usize].replace(view).is_none(), "one view a shard");
        if setting_up.views.iter().any(|view| view.is_none()) {
            return;
        }
        let SettingUp { id: request, sequence, views } = table_lock.setting_up.take().expect("just seen");
        let shards = views.into_iter().map(|view| view.expect("just seen")).collect();
        // The barred tables are as they were at `sequence`; other tables may have moved on and are not the statement's.
        let snapshot = Snapshot { sequence, catalog, shards };
        self.reply(request, Ok(Response::TableLock { table_lock: id, snapshot }));
    }

    pub(super) fn drop_table_lock(&mut self, table_lock: Option<TableLockId>) {
        let Some(table_lock) = table_lock else { return };
        if let Some(SettingUp { id, .. }) =
            self.requests.table_locks.remove(&table_lock).and_then(|b| b.setting_up)
        {
            let error = Error::new(
                SqlState::QUERY_CANCELED,
                "the statement was given up while it waited for its tables",
            );
            self.reply(id, Err(error));
        }
    }
}
