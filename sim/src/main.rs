//! The simulator's command line: which subcommand, and nothing else. Each lives in `commands`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sim::commands::{bugs, explain, explore, replay, run, shrink};

/// A run makes and drops millions of small arrays and messages: the system's allocator was a fifth of its time.
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
    /// Make a page of one run, to look at in a browser.
    Explain(explain::Args),
    /// Make a failure small and write it as a scenario file.
    Shrink(shrink::Args),
    /// Run again what a server recorded, and see it do the same.
    Replay(replay::Args),
    /// Take every step that a small world can take, from every state that it can be in.
    Explore(explore::Args),
    /// Plant known bugs, one at a time: each must be found. Or look for what is wrong with a patch.
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
