//! The simulator's command line: selects the subcommand. `commands` contains them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sim::commands::{bugs, explain, explore, replay, run, shrink};

/// A run makes and drops millions of small arrays and messages: the system's allocator took a fifth of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Runs the shipped kernel in a simulated world, under faults, against a reference model")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run seeds; each runs twice and must leave the same trace.
    Run(run::Args),
    /// Write one run as an HTML page.
    Explain(explain::Args),
    /// Shrink a failure and write it as a scenario file.
    Shrink(shrink::Args),
    /// Replay a server's recording and compare every step.
    Replay(replay::Args),
    /// Search all states of a small world exhaustively.
    Explore(explore::Args),
    /// Search for seeded defects, one at a time: each must be found. Or search for the defect of a patch.
    Bugs(bugs::Args),
}

fn main() -> ExitCode {
    let passed = match Arguments::parse().command {
        Command::Explain(args) => explain::run(args),
        Command::Run(args) => run::run(args),
        Command::Shrink(args) => shrink::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Explore(args) => explore::run(args),
        Command::Bugs(args) => bugs::run(args),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
