//! Client requests: table locks, and a queue of writes and definitions. A request may overtake another only if they have
//! no table in common. Readers of snapshots make no request: see `publish`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Coordinator;
use super::define::{Resolution, is_definition_of};
use super::staging::{Origin, WorkByShard};
use crate::coverage::{CoverageMark, reached};
use crate::error::{Error, Result, SqlState};
use crate::ids::*;
use crate::message::{Definition, Effect, Request, Response, ShardCommand, Work, Write};
use crate::record::{Commit, RecordKind};
use crate::snapshot::{ShardView, Snapshot};

/// A request in the queue.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    Define(Definition),
    Write(Write),
    TableLock(BTreeSet<TableId>),
}

impl Waiting {
    /// A request as an entry of the queue; None if it is answered at once.
    pub fn of(request: Request) -> Option<Waiting> {
        match request {
            Request::Define(definition) => Some(Waiting::Define(definition)),
            Request::Write(write) => Some(Waiting::Write(write)),
            Request::AcquireTableLock { tables } => Some(Waiting::TableLock(tables.into_iter().collect())),
            Request::ReleaseTableLock(_) => None,
        }
    }

    /// Whether it is the write of a table lock's holder.
    fn holds_table_lock(&self) -> bool {
        matches!(self, Waiting::Write(Write { table_lock: Some(_), .. }))
    }

    /// The request.
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

/// The order of requests in the queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    /// Requests that use this table.
    Of(TableId),
    /// Requests that change the catalog.
    OfDefinitions,
}

/// A table lock that is held, or being set up.
#[derive(Clone, Debug)]
pub(super) struct TableLock {
    pub tables: BTreeSet<TableId>,
    /// The waiting request, until all views are there.
    pub setting_up: Option<SettingUp>,
}

#[derive(Clone, Debug)]
pub(super) struct SettingUp {
    id: RequestId,
    sequence: Sequence,
    views: Vec<Option<Arc<ShardView>>>,
}

/// Table locks and the queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pub waiting: VecDeque<(RequestId, Waiting)>,
    pub table_locks: BTreeMap<TableLockId, TableLock>,
    pub last_table_lock: u64,
}

impl Requests {
    /// True if a table lock forbids staging rows of a table.
    pub fn is_barred(&self, table: TableId) -> bool {
        self.table_locks.values().any(|table_lock| table_lock.tables.contains(&table))
    }
}

#[cfg(feature = "explore")]
impl Requests {
    /// See [`crate::fingerprint`]. The exhaustive search sends definitions only. Of waiting rows and table locks only
    /// the number counts.
    pub(super) fn fingerprint(&self, to: &mut crate::fingerprint::StateFingerprint) {
        let Requests { waiting, table_locks, last_table_lock: _ } = self;
        to.count(waiting.len());
        for (_, request) in waiting {
            match request {
                Waiting::Define(definition) => to.bytes(format!("{definition:?}").as_bytes()),
                Waiting::Write(write) => to.count(write.tables.len()),
                Waiting::TableLock(tables) => to.count(tables.len()),
            }
        }
        to.count(table_locks.len());
    }
}

impl Coordinator {
    pub(super) fn request(&mut self, id: RequestId, request: Request) {
        let waiting = match request {
            Request::ReleaseTableLock(table_lock) => return self.drop_table_lock(Some(table_lock)),
            other => Waiting::of(other).expect("all other requests are queued"),
        };
        // The request of a table lock's holder is never refused, because requests in the queue may wait for it. There
        // are at most as many such requests as table locks, and at most as many table locks as tables.
        if !waiting.holds_table_lock() && self.requests.waiting.len() >= self.config.requests_waiting_max {
            reached(CoverageMark::RequestTurnedAway);
            let text =
                format!("{} requests are waiting already; try again later", self.requests.waiting.len());
            return self.reply(id, Err(Error::new(SqlState::OUT_OF_MEMORY, text)));
        }
        self.requests.waiting.push_back((id, waiting));
    }

    fn reply(&mut self, id: RequestId, result: Result<Response>) {
        self.effects.push_back(Effect::Reply { id, result });
    }

    /// Starts the first request that can start. False if there is none.
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

    /// The conflicts of a waiting request.
    fn lines_of(&self, waiting: &Waiting) -> BTreeSet<Line> {
        match waiting {
            // The holder of a table lock waits for no other request: these requests could be waiting for the lock.
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
            assert_eq!(table_write.shards.len(), self.shard_count as usize, "one part per shard");
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
            Resolution::Nothing => self.reply(id, Ok(Response::Done(Default::default()))),
            Resolution::Record { kind, catalog, work } => {
                let commit = Commit { at_us: self.now_us, catalog, ..Commit::default() };
                self.stage(kind, Origin::Define { id }, commit, work);
            }
        }
        Ok(())
    }

    /// Between two records the staged tip is complete. The shards are asked for it, and no further rows of these tables
    /// are staged until the statement ends. So no update is lost and no retry is needed.
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
        let setting_up = table_lock.setting_up.as_mut().expect("a lock with missing views is being set up");
        assert!(setting_up.views[shard.0 as usize].replace(view).is_none(), "one view per shard");
        if setting_up.views.iter().any(|view| view.is_none()) {
            return;
        }
        let SettingUp { id: request, sequence, views } =
            table_lock.setting_up.take().expect("the lock is being set up");
        let shards = views.into_iter().map(|view| view.expect("all views are there")).collect();
        // The locked tables are unchanged since `sequence`. Other tables may have changed; the statement does not use
        // them.
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
                "the statement was cancelled while it waited for its tables",
            );
            self.reply(id, Err(error));
        }
    }
}
