//! Runs the simulator against each mutant, in a process of its own with a limit on time and memory, and stores the
//! verdicts, so that an interrupted run resumes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::catalog::Mutant;

/// Memory that a run may take, in KiB: a mutant that takes more is caught.
const MEMORY_KIB_MAX: u64 = 4 << 20;

/// The verdict on a mutant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// The simulator failed.
    Caught,
    /// It did not end.
    TimedOut,
    /// It passed.
    Survived,
}

/// A line of the results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// See [`Mutant::name`].
    pub name: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Duration.
    pub seconds: f64,
    /// The simulator's message.
    pub how: String,
}

/// How mutants are run.
pub struct Limits {
    /// Budget of each; see `sim/tests/budget.rs`.
    pub seeds: u64,
    /// At a time.
    pub jobs: usize,
    /// Limit of a run.
    pub timeout: Duration,
}

/// Verdicts of earlier runs.
pub fn earlier(results: &Path) -> Result<BTreeMap<String, Judged>> {
    let Ok(file) = File::open(results) else { return Ok(BTreeMap::new()) };
    let mut verdicts = BTreeMap::new();
    for line in BufReader::new(file).lines() {
        // The last line may be incomplete.
        if let Ok(judged) = serde_json::from_str::<Judged>(&line?) {
            verdicts.insert(judged.name.clone(), judged);
        }
    }
    Ok(verdicts)
}

/// Judges mutants, in the order given, and appends the verdicts to the results.
pub fn judge(binary: &Path, mutants: &[(usize, &Mutant)], limits: &Limits, results: &Path) -> Result<()> {
    let (unchanged, how) = run(binary, u32::MAX as usize, limits)?;
    ensure!(unchanged == Verdict::Survived, "the simulator fails without any mutant: {how}");
    let file = OpenOptions::new().create(true).append(true).open(results);
    let file = Mutex::new(file.with_context(|| format!("{} cannot be opened", results.display()))?);
    let (next, began) = (AtomicUsize::new(0), Instant::now());
    let work = || -> Result<()> {
        while let Some((number, mutant)) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            let (verdict, how) = run(binary, *number, limits)?;
            let seconds = started.elapsed().as_secs_f64();
            let judged = Judged { name: mutant.name.clone(), verdict, seconds, how };
            let mut file = file.lock().expect("no panics inside");
            writeln!(file, "{}", serde_json::to_string(&judged)?).context("a verdict cannot be written")?;
            let done = next.load(Ordering::Relaxed).min(mutants.len());
            println!(
                "{done:>5} of {}, {:>5.0} s: {verdict:?} in {seconds:.1} s: {}",
                mutants.len(),
                began.elapsed().as_secs_f64(),
                mutant.name
            );
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..limits.jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("workers do not panic"))
    })
}

fn run(binary: &Path, number: usize, limits: &Limits) -> Result<(Verdict, String)> {
    let limited =
        format!("ulimit -v {MEMORY_KIB_MAX}; exec timeout {} \"$0\" --nocapture", limits.timeout.as_secs());
    let output = Command::new("bash")
        .args(["-c", &limited])
        .arg(binary)
        .env("MUTANT", number.to_string())
        .env("SIM_BUDGET", limits.seeds.to_string())
        .stdin(Stdio::null())
        .output()
        .context("bash cannot be started")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let how = said.lines().find_map(|line| line.strip_prefix("VIOLATED ")).unwrap_or_default().to_string();
    let verdict = match output.status.code() {
        Some(0) => Verdict::Survived,
        Some(124) => Verdict::TimedOut,
        _ => Verdict::Caught,
    };
    Ok((verdict, how.chars().take(200).collect()))
}
