//! `sim explore`: every state of a small world, to closure. `crate::explore` is the search.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::bugs::elsewhere;
use crate::defects::{self, SeededDefect, patches};
use crate::explore::check::{self, Check};
use crate::explore::scope::{Rule, Scope};
use crate::explore::search::{Limits, Progress, Report, Step, search};
use crate::explore::story;

/// Arguments of `sim explore`.
#[derive(clap::Args)]
pub struct Args {
    /// World: tiny, small, medium or full. The following options change it.
    #[arg(long, default_value = "small")]
    world: String,
    /// Shards.
    #[arg(long)]
    shards: Option<u16>,
    /// Messages of each source partition, as `2,1`.
    #[arg(long, value_delimiter = ',')]
    messages: Option<Vec<i64>>,
    /// Process kills and power cuts.
    #[arg(long)]
    crashes: Option<u8>,
    /// Redeliveries of every kind.
    #[arg(long)]
    redeliveries: Option<u8>,
    /// SET OFFSETS, with the STOP and START around it.
    #[arg(long)]
    rewinds: Option<u8>,
    /// Whether an idle log gets a sync marker.
    #[arg(long)]
    sync_marker: Option<bool>,
    /// Messages that may be fetched and not yet published.
    #[arg(long)]
    credit: Option<u64>,
    /// Messages from which on a batch is closed although the log is busy.
    #[arg(long)]
    batch: Option<u64>,
    /// Omit a reduction rule: fingerprint, together, whole-appends or crash-once.
    #[arg(long)]
    without: Vec<String>,
    /// Only compare each reduction rule with searches without it.
    #[arg(long)]
    check_reductions: bool,
    /// Search for this seeded defect instead, in the small worlds. One of the kernel runs in a build of its own.
    #[arg(long, value_name = "NAME", value_parser = SeededDefect::named)]
    bug: Vec<SeededDefect>,
    /// Search for every seeded defect of the kernel.
    #[arg(long)]
    bugs: bool,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Give up after so many states.
    #[arg(long, default_value_t = u64::MAX)]
    states: u64,
    /// Give up after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

/// Explores a world. True if it closed without a violation.
pub fn run(args: Args) -> bool {
    if args.check_reductions {
        crate::run::catch_panics();
        return check_reductions();
    }
    if args.bugs || !args.bug.is_empty() {
        return look_for_bugs(args);
    }
    let limits = Limits {
        jobs: args.jobs,
        states_max: args.states,
        time_max: args.seconds.map(Duration::from_secs),
        observe: false,
    };
    match scope(args) {
        Ok(scope) => explore(&scope, limits),
        Err(text) => {
            eprintln!("{text}");
            false
        }
    }
}

fn scope(args: Args) -> Result<Scope, String> {
    let mut scope = Scope::named(&args.world).ok_or_else(|| format!("there is no world {:?}", args.world))?;
    scope.shards = args.shards.unwrap_or(scope.shards);
    scope.messages = args.messages.unwrap_or(scope.messages);
    scope.crashes = args.crashes.unwrap_or(scope.crashes);
    scope.redeliveries = args.redeliveries.unwrap_or(scope.redeliveries);
    scope.rewinds = args.rewinds.unwrap_or(scope.rewinds);
    scope.sync_marker = args.sync_marker.unwrap_or(scope.sync_marker);
    scope.credit = args.credit.unwrap_or(scope.credit);
    scope.batch = args.batch.unwrap_or(scope.batch);
    for name in args.without {
        match Rule::ALL.into_iter().find(|rule| rule.name() == name) {
            Some(rule) => scope.rules = scope.rules.without(rule),
            None => return Err(format!("there is no rule {name:?}")),
        }
    }
    Ok(scope)
}

fn explore(scope: &Scope, limits: Limits) -> bool {
    println!("world: {}", scope.describe());
    for rule in Rule::ALL {
        if scope.rules.has(rule) {
            println!("rule {}: {}", rule.name(), rule.why());
        }
    }
    crate::run::catch_panics();
    let mut bar = Bar::default();
    let report = search(scope, limits, &|| {}, &mut |progress| bar.show(progress));
    bar.clear();
    print(&report);
    if let Some((_, path)) = &report.found {
        tell(scope, path);
    }
    report.closed
}

/// True if each was found.
fn look_for_bugs(args: Args) -> bool {
    let bugs = if args.bugs {
        patches().map(|all| all.iter().map(SeededDefect::Kernel).collect())
    } else {
        Ok(args.bug)
    };
    let bugs: Vec<SeededDefect> = match bugs {
        Ok(bugs) => bugs,
        Err(error) => {
            eprintln!("{error}");
            return false;
        }
    };
    if let Some(passed) = elsewhere(bugs.iter().copied()) {
        return passed;
    }
    crate::run::catch_panics();
    let mut found = 0;
    for bug in &bugs {
        found += u32::from(look_for_bug(*bug, bugs.len() == 1));
    }
    println!("{found} of {} found", bugs.len());
    found as usize == bugs.len()
}

/// Searches one small world after the other.
fn look_for_bug(bug: SeededDefect, with_story: bool) -> bool {
    let name = bug.about().name;
    let prepare = || defects::activate(Some(bug));
    let mut states = 0;
    for scope in check::worlds() {
        let report = search(&scope, Limits::NONE, &prepare, &mut |_| {});
        states += report.states;
        if let Some((violation, path)) = &report.found {
            let text: String = violation.text.chars().take(100).collect();
            println!("{name}: found after {states} states: {}: {text}", violation.invariant);
            if with_story {
                tell(&scope, path);
            }
            defects::activate(None);
            return true;
        }
    }
    defects::activate(None);
    println!("{name}: not found in {states} states, which are all");
    false
}

/// True if every rule is sound.
fn check_reductions() -> bool {
    let mut all_hold = true;
    for rule in Rule::ALL {
        println!("rule {}: {}", rule.name(), rule.why());
        for scope in check::worlds() {
            let check = Check::of(rule, &scope);
            let Check { with, without, .. } = &check;
            println!(
                "  messages {:?}, {} crashes, {} redeliveries, {} SET OFFSETS, sync marker {}: {} states and {} recoveries with it, \
                 {} and {} without; {} different things to see: {}",
                scope.messages,
                scope.crashes,
                scope.redeliveries,
                scope.rewinds,
                scope.sync_marker,
                with.states,
                with.recoveries,
                without.states,
                without.recoveries,
                without.observed.len(),
                if check.holds() { "the same" } else { "NOT THE SAME" },
            );
            all_hold &= check.holds();
        }
    }
    all_hold
}

fn print(report: &Report) {
    let seconds = report.time.as_secs_f64();
    println!(
        "{} unique states, {} transitions, depth {}, {} recoveries, {seconds:.1} s, {:.0} states/s, {} MiB at most",
        report.states,
        report.transitions,
        report.depth,
        report.recoveries,
        report.states as f64 / seconds,
        peak_mib().map_or("?".into(), |mib| mib.to_string()),
    );
    println!(
        "{} states in which nothing must happen any more, {} different ones to see",
        report.ends,
        report.endings.len()
    );
    match &report.found {
        Some((violation, _)) => println!("VIOLATION of \"{}\": {}", violation.invariant, violation.text),
        None => println!("no violation"),
    }
    println!("closed: {}", if report.closed { "yes" } else { "no" });
}

fn tell(scope: &Scope, path: &[Step]) {
    let story = story::tell(scope, path);
    println!("\nthe story:");
    for (at, line) in story.lines.iter().enumerate() {
        println!("{:4}  {line}", at + 1);
    }
    match story.violation {
        Some(violation) => println!("then: {}: {}", violation.invariant, violation.text),
        None => println!("then: the path did not fail again when it was repeated"),
    }
}

/// Peak memory of this process, where the system provides it.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

/// A line that is overwritten on a terminal; a line at intervals elsewhere.
#[derive(Default)]
struct Bar {
    shown: Duration,
    before: u64,
}

impl Bar {
    fn show(&mut self, now: Progress) {
        let terminal = std::io::stderr().is_terminal();
        let pause = Duration::from_secs(if terminal { 1 } else { 30 });
        if now.time < self.shown + pause {
            return;
        }
        let rate = (now.states - self.before) as f64 / (now.time - self.shown).as_secs_f64();
        (self.shown, self.before) = (now.time, now.states);
        let (start, end) = if terminal { ("\r", "\x1b[K") } else { ("", "\n") };
        eprint!(
            "{start}{:.2} M states, {:.2} M transitions, depth {}, {rate:.0} states/s{end}",
            now.states as f64 / 1e6,
            now.transitions as f64 / 1e6,
            now.depth
        );
        let _ = std::io::stderr().flush();
    }

    fn clear(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}
