//! The kernel's mutation score with nothing but the simulator as the test. cargo-mutants lists the mutants; all of them
//! go into one build ([`instrument`], [`tree`]), and each is then run with a fixed budget of seeds ([`judge`]), so that
//! a mutant costs a run and not a build. `sim/tests/budget.rs` uses the budget.

mod catalog;
mod instrument;
mod judge;
mod marks;
mod score;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use crate::catalog::Mutant;
use crate::judge::Limits;

#[derive(Parser)]
#[command(about = "Mutates the kernel and lets the simulator catch it")]
struct Arguments {
    /// Directory of the build and the verdicts; a run resumes from there.
    #[arg(long, default_value = "target/mutants")]
    out: PathBuf,
    /// Seeds of the swarm and of model tests that a mutant has to survive; every other profile has a quarter of them.
    #[arg(long, default_value_t = 60)]
    seeds: u64,
    /// Judge a random sample of this size instead of all.
    #[arg(long)]
    sample: Option<usize>,
    /// Which sample.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Judge only mutants whose names contain one of these.
    #[arg(long)]
    only: Vec<String>,
    /// Judge only the survivors in these results of an earlier run.
    #[arg(long)]
    survivors_of: Option<PathBuf>,
    /// Mutants that are judged at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Seconds after which a run ends. Without a mutant it takes a tenth of this.
    #[arg(long, default_value_t = 120)]
    timeout: u64,
    /// Print the scores of the verdicts so far, and judge nothing.
    #[arg(long)]
    report: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // From Cargo's environment if it runs this binary, else the path at build time, which may no longer exist.
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    let root = PathBuf::from(package).join("../..");
    let root = root.canonicalize().context("the workspace is gone")?;
    std::fs::create_dir_all(&arguments.out).context("the folder for results cannot be made")?;
    let out = arguments.out.canonicalize()?;
    let mut mutants = catalog::list(&root)?;
    leave_out_marks(&root, &mut mutants)?;
    let chosen = choose(&mutants, &arguments)?;
    let (binary, dropped) = tree::build(&root, &out.join("tree"), &mutants)?;
    let results = out.join("verdicts.jsonl");
    let verdicts = judge::earlier(&results)?;
    if !arguments.report {
        let there = |number: &usize| !dropped.unviable.contains(number) && !dropped.alone.contains(number);
        let open = chosen.iter().filter(|n| there(n) && !verdicts.contains_key(&mutants[**n].name));
        let open: Vec<(usize, &Mutant)> = open.map(|number| (*number, &mutants[*number])).collect();
        let Arguments { seeds, jobs, timeout, .. } = arguments;
        let limits = Limits { seeds, jobs, timeout: Duration::from_secs(timeout) };
        judge::judge(&binary, &open, &limits, &results)?;
    }
    score::report(&mutants, &chosen, &dropped, &judge::earlier(&results)?);
    Ok(())
}

/// Omits mutants of code that only counts marks: see [`marks`].
fn leave_out_marks(root: &Path, mutants: &mut Vec<Mutant>) -> Result<()> {
    let mut places = BTreeMap::new();
    for mutant in mutants.iter() {
        if !places.contains_key(&mutant.file) {
            let source = std::fs::read_to_string(root.join(&mutant.file));
            let source = source.with_context(|| format!("{} cannot be read", mutant.file))?;
            places.insert(mutant.file.clone(), marks::places(&source)?);
        }
    }
    let before = mutants.len();
    mutants.retain(|mutant| {
        let at = (mutant.span.start.line, mutant.span.start.column);
        !places[&mutant.file].iter().any(|place| place.contains(&at))
    });
    println!("{} mutants, {} of code that only counts marks left out", mutants.len(), before - mutants.len());
    Ok(())
}

/// Mutants in the order in which they are judged: a random one, so that the judged ones are always a sample.
fn choose(mutants: &[Mutant], arguments: &Arguments) -> Result<Vec<usize>> {
    let survived = match &arguments.survivors_of {
        None => None,
        Some(results) => Some(judge::earlier(results)?),
    };
    let wanted = |mutant: &Mutant| {
        let named = arguments.only.is_empty() || arguments.only.iter().any(|part| mutant.name.contains(part));
        let survivor = |j: &judge::Judged| j.verdict == judge::Verdict::Survived;
        named && survived.as_ref().is_none_or(|s| s.get(&mutant.name).is_some_and(survivor))
    };
    let mut chosen: Vec<usize> = (0..mutants.len()).filter(|n| wanted(&mutants[*n])).collect();
    // splitmix64.
    let mut state = arguments.seed;
    let mut draw = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * below as u128) >> 64) as usize
    };
    for end in (1..chosen.len()).rev() {
        chosen.swap(end, draw(end + 1));
    }
    chosen.truncate(arguments.sample.unwrap_or(usize::MAX));
    Ok(chosen)
}
