//! SQL against a real PostgreSQL 15, from the command line.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use sqldiff::run::Plan;
use sqldiff::{findings, known, slt};
use tests::kafka::Broker;
use tests::postgres::Postgres;

#[derive(Parser)]
#[command(about = "SQL against a real PostgreSQL 15")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes PostgreSQL's answers into files of statements.
    Record {
        /// The `.slt` files.
        files: Vec<PathBuf>,
    },
    /// Reports the cases that Tidemark passes, and the differences of the others.
    Check {
        /// The `.slt` files; without one, all.
        files: Vec<PathBuf>,
    },
    /// Runs generated statements on both sides, shrinks differences and reports the rates.
    Run {
        /// The seeds, FROM..TO.
        #[arg(long, default_value = "0..1000", value_parser = seeds)]
        seeds: Range<u64>,
        /// Stops after a time: 90s, 10m, 2h.
        #[arg(long = "for", value_parser = duration)]
        limit: Option<Duration>,
        /// Only the rates: differences are not shrunk.
        #[arg(long)]
        rates: bool,
        /// File for the smallest statement of each kind.
        #[arg(long)]
        findings: Option<PathBuf>,
    },
    /// Runs the everyday statements on both sides.
    Everyday,
    /// Loads random messages through random pipelines, and the same values into PostgreSQL.
    Pipelines {
        /// The seeds, FROM..TO: 200 messages each.
        #[arg(long, default_value = "0..20", value_parser = seeds)]
        seeds: Range<u64>,
    },
    /// Decodes odd texts into columns of every type, and casts them in PostgreSQL.
    Decoders {
        /// Seed of the texts.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Records the current differences, with which the tests compare further changes.
    Known,
    /// Prints the statement of a seed.
    Show {
        /// The seed.
        seed: u64,
    },
    /// Moves pending cases that pass to the other files.
    Promote,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Record { files } => {
            let postgres = Postgres::start();
            for file in &files {
                let mut script = slt::Script::read(file);
                slt::record(&postgres, &mut script);
                script.write();
                println!("{}: {} cases", file.display(), script.cases.len());
            }
            ExitCode::SUCCESS
        }
        Command::Check { files } => check(&files),
        Command::Run { seeds, limit, rates, findings } => run(seeds, limit, !rates, findings),
        Command::Everyday => everyday(),
        Command::Pipelines { seeds } => pipelines(seeds),
        Command::Decoders { seed } => decoders(seed),
        Command::Known => {
            let postgres = Postgres::start();
            let lists: [&dyn Fn() -> known::List; 4] = [
                &|| known::random(&postgres),
                &|| known::everyday(&postgres),
                &|| known::decoders(&postgres, Broker::shared()),
                &|| known::pipelines(&postgres, Broker::shared()),
            ];
            for list in lists.iter().map(|list| list()) {
                println!("{}: {} known", list.path.display(), list.found.len());
                list.write();
            }
            ExitCode::SUCCESS
        }
        Command::Show { seed } => {
            println!("{}", sqldiff::generate::statement(seed).tree.sql());
            ExitCode::SUCCESS
        }
        Command::Promote => {
            for pending in slt::scripts(&slt::pending_directory()) {
                let (path, cases) = (pending.path.clone(), pending.cases.len());
                println!("{}: {} of {cases} moved", path.display(), slt::promote(pending));
            }
            ExitCode::SUCCESS
        }
    }
}

fn check(files: &[PathBuf]) -> ExitCode {
    let scripts: Vec<_> = if files.is_empty() {
        slt::scripts(&slt::directory()).into_iter().chain(slt::scripts(&slt::pending_directory())).collect()
    } else {
        files.iter().map(|file| slt::Script::read(file)).collect()
    };
    let (mut cases, mut untrue) = (0, 0);
    for script in &scripts {
        for outcome in slt::check(script) {
            cases += 1;
            if let Some(failed) = outcome {
                untrue += 1;
                println!("== {}\n{}", failed.case, failed.why);
            }
        }
    }
    println!("{cases} cases, {untrue} not true");
    if untrue == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(seeds: Range<u64>, limit: Option<Duration>, shrink: bool, path: Option<PathBuf>) -> ExitCode {
    let postgres = Postgres::start();
    let began = Instant::now();
    let mut shown = began;
    let write = |report: &sqldiff::run::Report| {
        if let Some(path) = &path {
            std::fs::write(path, findings::text(report))
                .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        }
    };
    let report = sqldiff::run::run(&postgres, &Plan { seeds, limit, shrink }, &mut |seed, report| {
        if shown.elapsed() > Duration::from_secs(20) {
            shown = Instant::now();
            eprintln!("seed {seed}: {}", findings::rates(report));
            // So that an interrupted run leaves its findings.
            write(report);
        }
    });
    println!("{} in {} s", findings::rates(&report), began.elapsed().as_secs());
    write(&report);
    if path.is_none() {
        println!("{}", findings::text(&report));
    }
    if report.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn everyday() -> ExitCode {
    let outcome = sqldiff::everyday::run(&Postgres::start());
    for miss in &outcome.misses {
        println!("{}\n    {}\n", findings::verdict(&miss.verdict), miss.sql);
    }
    for (file, (right, all)) in &outcome.files {
        println!("{file}: {right} of {all}");
    }
    let (all, right, refused, wrong) = outcome.counts();
    let both = outcome.both_refuse;
    println!(
        "{all} everyday statements: {right} accepted and right, {refused} refused, {wrong} wrong, {both} that both refuse"
    );
    if refused + wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn pipelines(seeds: Range<u64>) -> ExitCode {
    let postgres = Postgres::start();
    let outcome = sqldiff::pipelines::run(&postgres, Broker::shared(), seeds);
    for text in &outcome.wrong {
        println!("{text}");
    }
    for (reason, (count, example)) in &outcome.refused {
        println!("{count}x refused: {reason}\n    {example}\n");
    }
    let refused: usize = outcome.refused.values().map(|(count, _)| count).sum();
    println!(
        "{} pipelines loaded, {refused} refused, {} wrong; {} messages, {} dead letters of both, {} of Tidemark only",
        outcome.loaded,
        outcome.wrong.len(),
        outcome.messages,
        outcome.both_dead_letters,
        outcome.dead_letters
    );
    if outcome.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn decoders(seed: u64) -> ExitCode {
    let postgres = Postgres::start();
    let outcomes = sqldiff::decoders::run(&postgres, Broker::shared(), seed);
    let mut wrong = 0;
    for (of, outcome) in &outcomes {
        wrong += outcome.wrong.len();
        let (refused, different) = (outcome.refused.len(), outcome.wrong.len());
        println!("{of}: {} right, {refused} refused, {different} wrong", outcome.right);
        for (word, texts) in [("wrong", &outcome.wrong), ("refused", &outcome.refused)] {
            let different: std::collections::BTreeSet<&String> = texts.iter().collect();
            different.into_iter().take(30).for_each(|text| println!("    {word} {text}"));
        }
    }
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("seeds are FROM..TO")?;
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
    Ok(number(from)?..number(to)?)
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("a time ends with s, m or h".to_string()),
    };
    let number: u64 = number.parse().map_err(|e| format!("{text}: {e}"))?;
    Ok(Duration::from_secs(number * seconds))
}
