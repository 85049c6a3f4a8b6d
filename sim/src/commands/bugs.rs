//! `sim bugs`: searches for the seeded defects, each of which the simulator must find; or for the defect of a patch.
//! `crate::bugs` does the search.

use std::path::PathBuf;
use std::time::Instant;

use crate::bugs::{Effort, Subject, build_with_bugs, look_for, markdown, patched, run_binary, summary};
use crate::defects::{self, SeededDefect};
use crate::run::catch_panics;

/// Arguments of `sim bugs`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these; all of them where none is named.
    #[arg(value_parser = SeededDefect::named)]
    bugs: Vec<SeededDefect>,
    /// List the defects with their descriptions, without a search.
    #[arg(long)]
    list: bool,
    /// Independent starting seeds to search from.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    starts: u64,
    /// Seeds after which a search is given up.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    cap: u64,
    /// Seeds of the control in which all faults are off.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    calm: u64,
    /// Seeds of the controls in which one kind of fault is on at a time.
    #[arg(long, default_value_t = 30)]
    single: u64,
    /// Threads.
    #[arg(long)]
    jobs: Option<usize>,
    /// A short pass: one starting seed and a short control for each.
    #[arg(long)]
    quick: bool,
    /// Write the table for the documentation into this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Search for the defect of a diff (as `git diff` makes it), applied to a copy of this source.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bugs", "list", "markdown"])]
    patch: Option<PathBuf>,
    /// Search for a defect of this build.
    #[arg(long, hide = true)]
    as_built: bool,
}

/// Searches for defects. True if each was found as required.
pub fn run(args: Args) -> bool {
    if args.list {
        list();
        return true;
    }
    let effort = Effort { starts: args.starts, cap: args.cap, calm: args.calm, single: args.single };
    let effort = if args.quick { Effort { starts: 1, calm: 20, single: 0, ..effort } } else { effort };
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
    let outcome = if let Some(patch) = &args.patch {
        patched(patch, |binary| run_binary(binary, as_built(effort, jobs)))
    } else if args.as_built {
        Ok(look(&[Subject::AsBuilt], effort, jobs, None))
    } else if defects::BUILT_IN {
        let subjects: Vec<Subject> = match &args.bugs[..] {
            [] => SeededDefect::all().map(Subject::SeededDefect).collect(),
            some => some.iter().copied().map(Subject::SeededDefect).collect(),
        };
        Ok(look(&subjects, effort, jobs, args.markdown))
    } else {
        build_with_bugs().and_then(|binary| run_binary(&binary, std::env::args_os().skip(1)))
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error}");
        false
    })
}

fn as_built(effort: Effort, jobs: usize) -> Vec<String> {
    let Effort { starts, cap, calm, .. } = effort;
    let line = format!("bugs --as-built --starts {starts} --cap {cap} --calm {calm} --jobs {jobs}");
    line.split(' ').map(String::from).collect()
}

fn list() {
    for bug in SeededDefect::all() {
        let about = bug.about();
        let together = about.together.join(" + ");
        println!(
            "{} ({:?}{}{together})",
            about.name,
            about.class,
            if together.is_empty() { "" } else { ": " }
        );
        println!("    {}\n    {}", about.what, about.origin);
    }
}

fn look(subjects: &[Subject], effort: Effort, jobs: usize, file: Option<PathBuf>) -> bool {
    catch_panics();
    let began = Instant::now();
    let findings = look_for(subjects, effort, jobs, &mut |finding| {
        println!("{}", finding.line());
        if finding.subject == Subject::AsBuilt {
            let calm = &finding.control.calm;
            match &calm.found {
                Some(found) => println!("with all faults off: seen too, by seed {}", found.seed),
                None => println!("with all faults off: not seen in {} seeds", calm.seeds),
            }
            println!("{}", finding.example().unwrap_or_else(|| "nothing wrong was seen".into()));
        }
    });
    let (passed, text) = summary(&findings);
    println!("{text}; {:.0} s on {jobs} threads", began.elapsed().as_secs_f64());
    let Some(file) = file else { return passed };
    match std::fs::write(&file, markdown(&findings, effort)) {
        Ok(()) => passed,
        Err(error) => {
            eprintln!("{} cannot be written: {error}", file.display());
            false
        }
    }
}
