//! A log alone, at the end of a run: many short terms on a disk of its own, with all disk faults and crashes. Durable
//! records must be recovered, and only appended ones; a recovered record stays.

use std::fmt::Arguments;

use kernel::log::{self, LogLimits, MemStorage, Opened};
use kernel::record::{Body, Commit, EncodedRecord, Record, RecordKind};
use kernel::{Input, Sequence, SqlState};

use crate::decide::{Decisions, Rate};
use crate::disk::{Crash, Disk, DiskHabits};
use crate::fault::{Fault, FaultRates, FaultSet};
use crate::oracle::{Check, Violation, ensure, hash_body};
use crate::swarm::draw_log_limits;
use crate::world::process::{LogCommand, LogHost};

const DATABASE: [u8; 16] = *b"a model test log";
/// Starts after which failures end.
const FAILING_STARTS_MAX: usize = 6;

/// Tests a log for a while, with the allowed faults.
pub fn check(d: &Decisions<'_>, allowed: FaultSet, tell: &dyn Fn(Arguments<'_>)) -> Check {
    let crashes: Vec<Crash> = [(Fault::Kill, Crash::Kill), (Fault::PowerCut, Crash::Power)]
        .into_iter()
        .filter_map(|(fault, crash)| allowed.contains(fault).then_some(crash))
        .collect();
    if crashes.is_empty() {
        return Ok(());
    }
    let d = d.apart();
    d.set_faults(draw_rates(&d, allowed));
    let habits = DiskHabits { power: Rate::per_mille(d.between(0, 1000) as u32), lie: Rate::NEVER };
    let mut model_test = ModelTest {
        disk: Disk::new(d.clone(), habits),
        limits: draw_log_limits(&d, d.pick(&[4, 4, 8, 16]) << 10),
        // Longer than a log file, too.
        record_bytes_max: d.pick(&[60, 600, 3000, 12_000]),
        records: vec![],
        durable: Sequence(0),
        crashes,
        tell,
        d: d.clone(),
    };
    tell(format_args!(
        "a log is tested against a model alone, with log files of {} bytes",
        model_test.limits.log_file_len
    ));
    for _ in 0..d.between(2, 14) {
        model_test.life()?;
    }
    d.end_faults();
    drop(model_test.start()?);
    crate::log_corruption::assert_clean(model_test.disk.image().expect("the faults are over"));
    Ok(())
}

/// Rates of disk faults and crashes, higher than in a whole run.
fn draw_rates(d: &Decisions<'_>, allowed: FaultSet) -> FaultRates {
    let mut rates = FaultRates::draw(d, allowed);
    for fault in
        [Fault::LostPages, Fault::TornSectors, Fault::LostEntry, Fault::ReturnedFile, Fault::FailedSync]
    {
        let rate = Rate::per_mille(d.pick(&[0, 30, 300, 700]));
        if allowed.contains(fault) && rate != Rate::NEVER {
            rates.set(fault, rate);
        }
    }
    rates
}

struct ModelTest<'d, 'a> {
    d: Decisions<'a>,
    disk: Disk<'a>,
    limits: LogLimits,
    record_bytes_max: u64,
    /// The hash of each appended record, in order. Records lost in a crash are removed.
    records: Vec<(RecordKind, u64)>,
    /// Records up to here cannot be lost.
    durable: Sequence,
    crashes: Vec<Crash>,
    tell: &'d dyn Fn(Arguments<'_>),
}

impl<'a> ModelTest<'_, 'a> {
    /// One term: a start, some records and syncs, an end.
    fn life(&mut self) -> Check {
        let opened = self.start()?;
        let sync_turns = self.d.pick(&[0, 2, 8, 30]);
        let mut host = LogHost::new(opened.writer, self.disk.clone(), sync_turns);
        let appends_in = self.d.between(2, 4);
        let mut failed = false;
        for _ in 0..self.d.between(0, 90) {
            if self.d.below(appends_in) == 1 {
                let record = self.draw_record();
                self.records.push((record.kind, hash_body(record.kind, &record.parts)));
                host.commands.extend([LogCommand::Append(record), LogCommand::Sync]);
            } else if host.can_step() {
                let done = host.step(&self.d);
                (self.tell)(format_args!("the log {done}"));
            }
            failed = host.replies.drain(..).any(|reply| matches!(reply, Input::LogFailed { .. }));
            if failed || self.disk.died().is_some() {
                break;
            }
        }
        self.durable = self.durable.max(host.durable);
        // After a failure of the log the process ends.
        let crash = self.disk.died().or(failed.then_some(Crash::Kill));
        let crash = crash.unwrap_or_else(|| self.d.pick(&self.crashes));
        (self.tell)(format_args!("{crash:?}, record {} was durable", self.durable));
        self.crash(crash)
    }

    fn crash(&mut self, crash: Crash) -> Check {
        let misuse = self.disk.misuse().or_else(|| self.disk.misannounced());
        ensure("honest", misuse.is_none(), || {
            format!("the log violated the contract of its storage: {misuse:?}")
        })?;
        self.disk.restart(crash);
        Ok(())
    }

    fn draw_record(&mut self) -> EncodedRecord {
        let sequence = Sequence(self.records.len() as u64 + 1);
        let body = match self.d.below(6) {
            0 => Body::SyncMarker,
            _ => {
                let bytes = self.d.below(self.record_bytes_max + 1) as usize;
                let fill = self.d.pick(&[0, b'x', 0xff]);
                let outcomes = vec![vec![fill; bytes].into()];
                Body::Commit(RecordKind::Batch, Commit { outcomes: vec![outcomes], ..Commit::default() })
            }
        };
        body.encode(sequence)
    }

    /// Starts until the log is open.
    fn start(&mut self) -> Result<Opened<Disk<'a>>, Violation> {
        for attempt in 0.. {
            let before = self.image();
            self.disk.spare(attempt >= FAILING_STARTS_MAX);
            self.disk.set_recovering(true);
            let mut found = vec![];
            let mut take = |record: Record| {
                found.push(kind_and_hash(&record));
                Ok(())
            };
            let opened = log::is_created(&mut self.disk.clone()).and_then(|there| match there {
                true => log::open(self.disk.clone(), 0, self.limits, &mut take),
                false => log::create(self.disk.clone(), DATABASE, 1, 0, self.limits, &mut take),
            });
            self.disk.set_recovering(false);
            self.disk.spare(false);
            match opened {
                Ok(opened) => {
                    self.check_found(found, attempt, &opened)?;
                    self.check_written(before, &opened)?;
                    return Ok(opened);
                }
                Err(error) => {
                    (self.tell)(format_args!("the log does not open: {error}"));
                    let died = self.disk.died();
                    let expected =
                        died.is_some() || matches!(error.sqlstate, SqlState::IO_ERROR | SqlState::DISK_FULL);
                    let excused = expected && attempt <= FAILING_STARTS_MAX;
                    ensure("recovered", excused, || {
                        format!("a log alone does not open, without damage: {error}")
                    })?;
                    self.crash(died.unwrap_or(Crash::Kill))?;
                }
            }
        }
        unreachable!("it opens, or is refused")
    }

    /// The process's view of the disk.
    fn image(&self) -> MemStorage {
        self.disk.spare(true);
        let image = self.disk.image().expect("no call fails now");
        self.disk.spare(false);
        image
    }

    /// A torn tail is reported; log files have the expected lengths and contents.
    fn check_written(&self, mut before: MemStorage, opened: &Opened<Disk<'a>>) -> Check {
        let mut after = self.image();
        let (told, due) = (opened.torn_tail, crate::log_corruption::torn_of(&mut before, &mut after));
        ensure("honest", told == due, || format!("a torn tail is reported as {told:?}, must be {due:?}"))?;
        crate::log_corruption::check_layout(&mut after, self.limits.log_file_len)
    }

    /// Checks the recovered records: a prefix of the appended ones with all durable ones, then open records of failed
    /// starts, and this term's open record.
    fn check_found(
        &mut self,
        found: Vec<(RecordKind, u64)>,
        failed_starts: usize,
        opened: &Opened<Disk<'a>>,
    ) -> Check {
        let last = opened.writer.last();
        ensure("recovered", last.0 == found.len() as u64 && opened.writer.durable() == last, || {
            format!("{} records of a log are read, its last is reported as {last}", found.len())
        })?;
        let kept = self.records.iter().zip(&found).take_while(|(appended, found)| appended == found).count();
        let behind = &found[kept..];
        let begin_lives = behind.iter().all(|(kind, _)| *kind == RecordKind::Open);
        let as_many = (1..=failed_starts + 1).contains(&behind.len());
        ensure("recovered", begin_lives && as_many && kept as u64 >= self.durable.0, || {
            format!(
                "of {} records of a log, {} of them durable, {kept} come back, and behind them after {failed_starts} failed \
                 starts {behind:?}",
                self.records.len(),
                self.durable
            )
        })?;
        (self.records, self.durable) = (found, last);
        Ok(())
    }
}

fn kind_and_hash(record: &Record) -> (RecordKind, u64) {
    let kind = record.body.kind();
    (kind, hash_body(kind, &record.body.encode(record.sequence).parts))
}
