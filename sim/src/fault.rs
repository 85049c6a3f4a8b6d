//! The faults: every kind of failure that the world can inject, by name, each with a switch, and counts of what each
//! did in one run and in many. The code of a fault is in the part of the world that it strikes (`broker`, `disk`,
//! `world`); only [`Decisions::fault`](crate::decide::Decisions::fault) decides whether it strikes.
//!
//! # What is counted
//!
//! A kind is *asked* for where it could strike: it was drawn for the run and its precondition holds (an unsynced page,
//! a response to repeat). It has *fired* if the answer was yes. It has *changed* something if the kernel was then given
//! something else than without the fault: other bytes, another offset, another order, no answer.
//!
//! A kind *may* strike in a seed in which it was asked for at least once. [`Coverage::complaints`] demands that it
//! changed something in 10 % to 90 % of those: with less it has no effect; with more no seed shows the other faults
//! without it.

use crate::decide::{Decisions, Rate};

/// The part of the world that a fault belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// The broker and its client library.
    Broker,
    /// The producers' messages.
    Messages,
    /// The disk.
    Disk,
    /// The end of the process.
    Process,
    /// Damage to durable data.
    Rot,
    /// Clock, timers, scheduling.
    Time,
}

impl Group {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Group::Broker => "broker",
            Group::Messages => "messages",
            Group::Disk => "disk",
            Group::Process => "process",
            Group::Rot => "rot",
            Group::Time => "time",
        }
    }

    const ALL: [Group; 6] =
        [Group::Broker, Group::Messages, Group::Disk, Group::Process, Group::Rot, Group::Time];
}

/// Declares the kinds: variant, name, number, group, greatest rate in millionths, drawn into one of how many seeds,
/// description.
macro_rules! faults {
    ($($kind:ident $name:literal $number:literal $group:ident $most:literal 1/$seeds:literal $does:literal;)*) => {
        /// A kind of fault, described by [`Fault::does`].
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[allow(missing_docs)]
        pub enum Fault {
            $($kind,)*
        }

        impl Fault {
            /// All kinds.
            pub const ALL: [Fault; [$(Fault::$kind),*].len()] = [$(Fault::$kind),*];

            fn facts(self) -> &'static Facts {
                match self {
                    $(Fault::$kind => &Facts {
                        name: $name,
                        number: $number,
                        group: Group::$group,
                        most: Rate($most),
                        one_seed_of: $seeds,
                        does: $does,
                    },)*
                }
            }
        }
    };
}

struct Facts {
    name: &'static str,
    number: &'static str,
    group: Group,
    most: Rate,
    one_seed_of: u64,
    does: &'static str,
}

faults! {
    OldOwner "old-owner" "A1" Broker 900_000 1/2
        "A reader of an ended epoch has not stopped yet and continues to deliver.";
    CompressedBatch "compressed-batch" "A2" Broker 300_000 1/2
        "A fetch begins at the start of the batch that contains the requested offset.";
    Redelivery "redelivery" "A2" Broker 200_000 1/2
        "A fetch begins below the requested offset.";
    RepeatedResponse "repeated-response" "A2" Broker 150_000 1/2
        "The previous response arrives again.";
    LateResponse "late-response" "A2" Broker 1_000_000 1/2
        "A new session first gets the response for the previous session's request.";
    Skip "skip" "A3" Broker 300_000 1/2
        "The client skips messages when it begins to fetch or when a leader changes.";
    LostRange "lost-range" "A3" Broker 100_000 1/2
        "An extract is lost, and the one after it is handed in.";
    FallBack "fall-back" "A4" Broker 80_000 1/2
        "The client's position goes back to the start of the partition.";
    RepeatedRange "repeated-range" "A4" Broker 50_000 1/2
        "An extract is handed in twice.";
    Retention "retention" "A5" Broker 10_000 1/2
        "Retention removes messages, perhaps the next one.";
    RecreatedTopic "recreated-topic" "A6" Broker 6_000 1/2
        "The topic is deleted and created again under its name, perhaps with fewer partitions.";
    AbortedTransaction "aborted-transaction" "A7" Messages 800_000 1/2
        "A transaction is aborted: its messages leave a hole.";
    ControlRecords "control-records" "A7" Messages 100_000 1/2
        "Offsets at the end of a partition have no messages, as control records leave them.";
    Compaction "compaction" "A8" Messages 60_000 1/2
        "Compaction removes messages that no reader has received yet.";
    EmptyFetch "empty-fetch" "A8" Broker 300_000 1/2
        "A fetch returns nothing although there are messages.";
    LeaderChange "leader-change" "A9" Broker 50_000 1/2
        "Another broker becomes leader of a partition, with the same log.";
    UncleanElection "unclean-election" "A9" Broker 6_000 1/2
        "A broker without the end of the log becomes leader: the log is cut, and offsets are used again.";
    StaleLeader "stale-leader" "A10" Broker 100_000 1/2
        "A broker that has just become leader reports a lower end than was already read.";
    DoubledAnswer "doubled-answer" "A10" Broker 100_000 1/2
        "An answer of the source's host arrives twice.";
    LateAnswer "late-answer" "A10" Broker 100_000 1/2
        "An answer is delayed and arrives after later ones, perhaps of a newer epoch.";
    NewPartition "new-partition" "A11" Broker 15_000 1/2
        "The topic gets one more partition.";
    EmptyPartition "empty-partition" "A11" Broker 500_000 1/2
        "A partition stays empty: its start is its end.";
    IncompleteMetadata "incomplete-metadata" "A12" Broker 200_000 1/2
        "A metadata answer omits a partition.";
    OpenTransaction "open-transaction" "A13" Messages 400_000 1/2
        "A transaction stays open and holds back the last stable offset.";
    EqualPayloads "equal-payloads" "A14" Messages 100_000 1/2
        "A message has the same bytes as another one; both count.";
    WildTimestamps "wild-timestamps" "A15" Messages 100_000 1/2
        "A message has a timestamp of the far past or future.";
    Poison "poison" "A16" Messages 60_000 1/2
        "A message cannot be decoded.";
    Oversized "oversized" "A16" Messages 30_000 1/2
        "A message is larger than a batch, a credit and a log file.";
    Disconnect "disconnect" "A18" Broker 30_000 1/2
        "A call to the broker fails transiently: reading begins again from the stored offset.";
    OldOffsets "old-offsets" "A19" Broker 300_000 1/2
        "A later metadata answer has lower ends than an earlier one.";
    FinishedSplit "finished-split" "A21" Broker 20_000 1/4
        "A partition gets no message any more, and metadata says so.";
    OtherSchema "other-schema" "A20" Broker 50_000 1/4
        "An extract has rows for another version of its table.";
    LostPages "lost-pages" "B1" Disk 1_000_000 1/1
        "A power cut leaves an older version of an unsynced page.";
    TornSectors "torn-sectors" "B1" Disk 1_000_000 1/2
        "A power cut leaves sectors of several versions in one page.";
    CrashInSync "crash-in-sync" "B2" Disk 60_000 1/2
        "The process dies during a sync that has written any subset of its pages.";
    FailedSync "failed-sync" "B3" Disk 60_000 1/2
        "A sync fails: some pages are on the disk, the others count as clean and are not on it.";
    LostEntry "lost-entry" "B4" Disk 1_000_000 1/2
        "Power is cut before a new log file's directory entry is durable: the file is missing.";
    ReturnedFile "returned-file" "B4" Disk 1_000_000 1/2
        "A removed log file exists again after a power cut.";
    FailedWrite "failed-write" "B5" Disk 8_000 1/2
        "A write into a log file fails half-way: a hole on a full disk, a device error.";
    BitRot "bit-rot" "B6" Rot 500_000 1/24
        "One bit of durable data flips.";
    MisdirectedWrite "misdirected-write" "B6" Rot 500_000 1/24
        "A sector is overwritten with another sector's data.";
    LostWrite "lost-write" "B6" Rot 500_000 1/24
        "A page has its content from before its last write-back.";
    StaleRead "stale-read" "B6" Rot 500_000 1/24
        "Until a start is complete, reads of a page return its earlier content.";
    DiskFull "disk-full" "B7" Disk 400_000 1/2
        "There is no space for a new log file.";
    FailedRead "failed-read" "B7" Disk 150_000 1/2
        "A read fails.";
    ShortRead "short-read" "B7" Disk 150_000 1/2
        "A read returns fewer bytes than requested.";
    FailedCall "failed-call" "B7" Disk 150_000 1/2
        "Log files cannot be listed, or one cannot be removed.";
    SlowSync "slow-sync" "B7" Disk 150_000 1/2
        "A sync takes very long while all other actors continue.";
    LowSpace "low-space" "B7" Disk 60_000 1/2
        "Free disk space falls below the reserve, and rises above it later.";
    Kill "kill" "B8" Process 3_000 1/2
        "The process is killed; the page cache stays.";
    PowerCut "power-cut" "B8" Process 3_000 1/2
        "Power is cut; unsynced pages keep any version.";
    CrashAtEffect "crash-at-effect" "B8" Process 4_000 1/2
        "The process dies between two effects of the kernel: earlier effects are executed, later ones are not.";
    CrashInCall "crash-in-call" "B8" Process 6_000 1/2
        "The process dies during a call to the disk.";
    CrashInRecovery "crash-in-recovery" "B8" Process 60_000 1/2
        "The process dies during a call to the disk while it recovers.";
    ClockBack "clock-back" "C" Time 20_000 1/2
        "The wall clock jumps back temporarily.";
    ClockForward "clock-forward" "C" Time 20_000 1/2
        "The wall clock jumps ahead permanently.";
    ClockSet "clock-set" "C" Time 500_000 1/2
        "A new process starts with a clock that is hours behind or ahead of the previous one's.";
    EarlyTimer "early-timer" "C" Time 150_000 1/2
        "A timer fires although nothing is due.";
    LateTimer "late-timer" "C" Time 800_000 1/2
        "A timer that is due fires late.";
    BunchedTimers "bunched-timers" "C" Time 200_000 1/2
        "A timer fires several times in sequence.";
    StalledActor "stalled-actor" "C" Time 5_000 1/2
        "An actor gets no turn for a while: a shard, the log, a source, or the answers of one of them.";
    // Kinds that were added later are drawn later: see `FaultRates::draw_late`.
    TornManifest "torn-manifest" "B5" Disk 200_000 1/2
        "A manifest is written in part: the process dies, or gets an error.";
    LostLogFile "lost-log-file" "B6" Rot 500_000 1/24
        "A log file is missing.";
    CutLogFile "cut-log-file" "B6" Rot 500_000 1/24
        "A log file lost its end, or all of its content.";
    EmptiedDirectory "emptied-directory" "B6" Rot 500_000 1/24
        "All log files are missing; the manifest exists.";
}

impl Fault {
    /// Its name for `--faults`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Its code in docs/FAULTS.md: A for the broker, B for the disk, C for clock and scheduling.
    pub fn number(self) -> &'static str {
        self.facts().number
    }

    /// Its group.
    pub fn group(self) -> Group {
        self.facts().group
    }

    /// Its description, one sentence.
    pub fn does(self) -> &'static str {
        self.facts().does
    }

    /// Whether it is a consequence of a power cut: it never strikes without one.
    pub fn is_of_power_cuts(self) -> bool {
        matches!(self, Fault::LostPages | Fault::TornSectors | Fault::LostEntry | Fault::ReturnedFile)
    }

    /// Whether it removes or empties whole log files: then the loss of visible records must be reported.
    pub fn is_of_files(self) -> bool {
        matches!(self, Fault::LostLogFile | Fault::CutLogFile | Fault::EmptiedDirectory)
    }

    /// Whether it is drawn after everything else, and only where it is allowed, so that older recordings stay the same
    /// runs.
    fn is_late(self) -> bool {
        self == Fault::TornManifest || self.is_of_files()
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

// ---- Which may be drawn ----

/// Kinds that a run may draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultSet(u128);

const _: () = assert!(Fault::ALL.len() <= 128, "a bit for each kind");

impl FaultSet {
    /// None of them.
    pub const NONE: FaultSet = FaultSet(0);
    /// All of them.
    pub const ALL: FaultSet = FaultSet(u128::MAX >> (128 - Fault::ALL.len()));

    /// The ways in which a power cut ends: see [`Fault::is_of_power_cuts`].
    pub fn of_power_cuts() -> FaultSet {
        Fault::ALL.into_iter().filter(|fault| fault.is_of_power_cuts()).fold(FaultSet::NONE, FaultSet::with)
    }

    /// The kinds of some groups.
    pub fn of(groups: &[Group]) -> FaultSet {
        let kinds = Fault::ALL.into_iter().filter(|fault| groups.contains(&fault.group()));
        kinds.fold(FaultSet::NONE, FaultSet::with)
    }

    /// Whether a kind is in it.
    pub fn contains(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u32) != 0
    }

    /// The kinds in it.
    pub fn kinds(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().filter(move |fault| self.contains(*fault))
    }

    /// With a kind.
    pub fn with(self, fault: Fault) -> FaultSet {
        FaultSet(self.0 | 1 << fault as u32)
    }

    /// Without a kind.
    pub fn without(self, fault: Fault) -> FaultSet {
        FaultSet(self.0 & !(1 << fault as u32))
    }

    /// The intersection.
    pub fn and(self, other: FaultSet) -> FaultSet {
        FaultSet(self.0 & other.0)
    }

    /// The union.
    pub fn or(self, other: FaultSet) -> FaultSet {
        FaultSet(self.0 | other.0)
    }

    /// Understands `kill,torn-sectors`, `broker,-retention`, `all,-rot`, `none`: names of kinds and groups, from left
    /// to right, each added, or removed with a minus. A list that begins with a minus begins with all.
    pub fn parse(text: &str) -> Result<FaultSet, String> {
        let mut set = if text.trim_start().starts_with('-') { FaultSet::ALL } else { FaultSet::NONE };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word.strip_prefix('-') {
                Some(name) => set.0 &= !FaultSet::meant_by(name)?.0,
                None => set.0 |= FaultSet::meant_by(word)?.0,
            }
        }
        Ok(set)
    }

    fn meant_by(name: &str) -> Result<FaultSet, String> {
        if let Some(fault) = Fault::named(name) {
            return Ok(FaultSet::NONE.with(fault));
        }
        if let Some(group) = Group::ALL.into_iter().find(|group| group.name() == name) {
            return Ok(FaultSet::of(&[group]));
        }
        match name {
            "all" => Ok(FaultSet::ALL),
            "none" => Ok(FaultSet::NONE),
            _ => {
                let kinds = Fault::ALL.map(Fault::name).join(", ");
                let groups = Group::ALL.map(Group::name).join(", ");
                Err(format!(
                    "there is no fault {name:?}; there are all, none, the groups {groups}, and the kinds {kinds}"
                ))
            }
        }
    }
}

/// In the form that [`FaultSet::parse`] reads.
impl std::fmt::Display for FaultSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.kinds().map(Fault::name).collect();
        match names.len() {
            0 => f.write_str("none"),
            n if n == Fault::ALL.len() => f.write_str("all"),
            _ => f.write_str(&names.join(",")),
        }
    }
}

/// The rate of each kind in a run, applied whenever it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultRates([Rate; Fault::ALL.len()]);

impl Default for FaultRates {
    fn default() -> FaultRates {
        FaultRates([Rate::NEVER; Fault::ALL.len()])
    }
}

impl FaultRates {
    /// Draws which kinds there are in a run, and how often. The same decisions are taken whatever is allowed, so that
    /// switching a kind off changes nothing else in a seed.
    pub fn draw(d: &Decisions<'_>, allowed: FaultSet) -> FaultRates {
        let mut rates = FaultRates::default();
        for fault in Fault::ALL.into_iter().filter(|fault| !fault.is_late()) {
            let Facts { one_seed_of, most, .. } = fault.facts();
            if d.below(*one_seed_of) != one_seed_of - 1 {
                continue;
            }
            // From the greatest rate down by halves: rare and frequent faults are equally likely.
            let rate = Rate((most.0 >> (5 - d.below(6))).max(1));
            if allowed.contains(fault) {
                rates.set(fault, rate);
            }
        }
        rates
    }

    /// Draws the kinds that are drawn late, all of them as soon as one is allowed. Rates that were set before stay.
    pub fn draw_late(&mut self, d: &Decisions<'_>, allowed: FaultSet) {
        let late = Fault::ALL.into_iter().filter(|fault| fault.is_late());
        if late.clone().all(|fault| !allowed.contains(fault)) {
            return;
        }
        for fault in late {
            let Facts { one_seed_of, most, .. } = fault.facts();
            if d.below(*one_seed_of) != one_seed_of - 1 {
                continue;
            }
            let rate = Rate((most.0 >> (5 - d.below(6))).max(1));
            if allowed.contains(fault) && self.of(fault) == Rate::NEVER {
                self.set(fault, rate);
            }
        }
    }

    /// Draws the rates of those kinds of a set that have none yet.
    pub fn draw_rest(&mut self, d: &Decisions<'_>, set: FaultSet) {
        for fault in set.kinds().filter(|fault| self.of(*fault) == Rate::NEVER).collect::<Vec<_>>() {
            self.set(fault, Rate((fault.facts().most.0 >> (5 - d.below(6))).max(1)));
        }
    }

    /// The rate of a kind.
    pub fn of(&self, fault: Fault) -> Rate {
        self.0[fault as usize]
    }

    /// Sets the rate of a kind.
    pub fn set(&mut self, fault: Fault, rate: Rate) {
        self.0[fault as usize] = rate;
    }

    /// With a rate for a kind.
    pub fn with(mut self, fault: Fault, rate: Rate) -> FaultRates {
        self.set(fault, rate);
        self
    }

    /// Kinds that can happen.
    pub fn drawn(&self) -> impl Iterator<Item = (Fault, Rate)> + '_ {
        Fault::ALL.into_iter().map(|fault| (fault, self.of(fault))).filter(|(_, rate)| *rate != Rate::NEVER)
    }
}

// ---- What became of them ----

/// How often one kind was asked for, fired, and changed something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Struck {
    pub asked: u64,
    pub fired: u64,
    pub changed: u64,
}

/// Counts of each kind in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultCounts([Struck; Fault::ALL.len()]);

impl Default for FaultCounts {
    fn default() -> FaultCounts {
        FaultCounts([Struck::default(); Fault::ALL.len()])
    }
}

impl FaultCounts {
    /// Of one kind.
    pub fn of(&self, fault: Fault) -> Struck {
        self.0[fault as usize]
    }

    /// Kinds that fired.
    pub fn fired(&self) -> FaultSet {
        let kinds = Fault::ALL.into_iter().filter(|fault| self.of(*fault).fired > 0);
        kinds.fold(FaultSet::NONE, FaultSet::with)
    }

    pub(crate) fn of_mut(&mut self, fault: Fault) -> &mut Struck {
        &mut self.0[fault as usize]
    }
}

/// Counts of one kind over many seeds: numbers of seeds, except the last field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct KindCoverage {
    /// It was asked for.
    pub may: u64,
    pub fired: u64,
    pub changed: u64,
    /// How often it fired over all seeds.
    pub times: u64,
}

/// Counts of all faults over many seeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Coverage {
    /// Seeds.
    pub seeds: u64,
    kinds: [KindCoverage; Fault::ALL.len()],
}

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage { seeds: 0, kinds: [KindCoverage::default(); Fault::ALL.len()] }
    }
}

/// Seeds from which on the shares are checked, and not only that every kind struck.
const SEEDS_FOR_SHARES: u64 = 2000;

impl Coverage {
    /// Takes in one seed.
    pub fn add(&mut self, counts: &FaultCounts) {
        self.seeds += 1;
        for (kind, struck) in self.kinds.iter_mut().zip(&counts.0) {
            kind.may += u64::from(struck.asked > 0);
            kind.fired += u64::from(struck.fired > 0);
            kind.changed += u64::from(struck.changed > 0);
            kind.times += struck.fired;
        }
    }

    /// Of one kind.
    pub fn of(&self, fault: Fault) -> KindCoverage {
        self.kinds[fault as usize]
    }

    /// The faults of a set that these seeds do not cover. For few seeds the check is only that every kind that could
    /// strike often enough did.
    pub fn complaints(&self, of: FaultSet) -> Vec<String> {
        of.kinds().filter_map(|fault| self.complaint(fault)).collect()
    }

    fn complaint(&self, fault: Fault) -> Option<String> {
        let KindCoverage { may, changed, .. } = self.of(fault);
        let name = fault.name();
        if self.seeds < SEEDS_FOR_SHARES {
            // A kind that changes something in a tenth of its seeds is missing in 60 seeds once in 500 runs.
            return (changed == 0 && may >= 60)
                .then(|| format!("{name} changed nothing in {may} seeds that it might have"));
        }
        if may == 0 {
            return Some(format!("{name} could not strike in any of {} seeds", self.seeds));
        }
        let share = changed as f64 / may as f64;
        (!(0.1..=0.9).contains(&share)).then(|| {
            format!("{name} changed something in {:.1} % of {may} seeds that it might have; 10 % to 90 % are wanted", share * 100.0)
        })
    }

    /// A line for each kind of a set.
    pub fn table(&self, of: FaultSet) -> Vec<String> {
        let line = |fault: Fault| {
            let KindCoverage { may, fired, changed, times } = self.of(fault);
            let share = if may == 0 { 0.0 } else { changed as f64 * 100.0 / may as f64 };
            format!(
                "{:4} {:22} might in {may:6} seeds, fired in {fired:6} ({times:8} times), changed something in {changed:6} ({share:5.1} %)",
                fault.number(),
                fault.name()
            )
        };
        of.kinds().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::decide::{Recorded, Seeded};

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Fault::ALL.iter().map(|f| f.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
            assert!(fault.does().ends_with('.'), "{fault:?}");
        }
    }

    #[test]
    fn sets_are_written_as_they_are_read() {
        assert_eq!(FaultSet::parse("all").unwrap(), FaultSet::ALL);
        assert_eq!(FaultSet::parse("-kill").unwrap(), FaultSet::ALL.without(Fault::Kill));
        let set = FaultSet::parse("disk, kill,-disk-full").unwrap();
        assert!(set.contains(Fault::Kill) && set.contains(Fault::LostPages));
        assert!(!set.contains(Fault::DiskFull) && !set.contains(Fault::Retention));
        assert_eq!(FaultSet::parse(&set.to_string()).unwrap(), set);
        assert_eq!(FaultSet::parse("none").unwrap().to_string(), "none");
        assert!(FaultSet::parse("kil").unwrap_err().contains("crash-in-call"));
    }

    #[test]
    fn a_kind_switched_off_leaves_the_others_as_they_were_drawn() {
        let all = FaultRates::draw(&Decisions::new(Seeded::new(9)), FaultSet::ALL);
        for off in Fault::ALL {
            let rates = FaultRates::draw(&Decisions::new(Seeded::new(9)), FaultSet::ALL.without(off));
            assert_eq!(rates, all.with(off, Rate::NEVER));
            let late = |allowed| {
                let mut rates = FaultRates::default();
                (0..50).for_each(|seed| rates.draw_late(&Decisions::new(Seeded::new(seed)), allowed));
                rates
            };
            assert_eq!(late(FaultSet::ALL.without(off)), late(FaultSet::ALL).with(off, Rate::NEVER));
        }
        let unasked = Decisions::new(Seeded::new(9));
        FaultRates::default().draw_late(&unasked, FaultSet::parse("all,-torn-manifest,-rot").unwrap());
        assert_eq!(unasked.count(), 0);
        let quiet = FaultRates::draw(&Decisions::new(Recorded::new(vec![])), FaultSet::ALL);
        let always = |fault: Fault| fault.facts().one_seed_of == 1;
        assert!(quiet.drawn().all(|(fault, _)| always(fault)), "{quiet:?}");
    }

    #[test]
    fn complaints_name_what_never_struck_and_what_always_does() {
        let mut coverage = Coverage::default();
        for seed in 0..SEEDS_FOR_SHARES {
            let mut counts = FaultCounts::default();
            *counts.of_mut(Fault::Kill) = Struck { asked: 9, fired: 9, changed: 9 };
            *counts.of_mut(Fault::PowerCut) = Struck { asked: 9, fired: 1, changed: seed % 2 };
            counts.of_mut(Fault::Poison).asked = 1;
            coverage.add(&counts);
        }
        let set = FaultSet::parse("kill,power-cut,poison,compaction").unwrap();
        let complaints = coverage.complaints(set).join("\n");
        for name in ["kill", "poison", "compaction"] {
            assert!(complaints.contains(name), "{complaints}");
        }
        assert!(!complaints.contains("power-cut"), "{complaints}");
    }
}
