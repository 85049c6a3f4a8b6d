//! SQL against a real PostgreSQL 15, from the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sqldiff::slt;
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
    /// Says which cases of files are true of Tidemark, and how the others fail.
    Check {
        /// The `.slt` files; without one, all.
        files: Vec<PathBuf>,
    },
    /// Moves pending cases that have become true to the files that are held to.
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
