//! The command line: `tidemark serve` is the server, `tidemark quickstart` demonstrates it. The other crates contain
//! the database; this one assembles them into a process.

mod database;
mod memory;
mod pipelines;
mod quickstart;
mod serve;
mod settings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A real-time SQL database that pulls from Kafka by itself, each message exactly once.
#[derive(Parser)]
#[command(name = "tidemark", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the database server.
    Serve(Box<settings::ServeArguments>),
    /// Load a stream of payments, kill the database several times while it runs, and check the sum to the cent.
    Quickstart(quickstart::QuickstartArguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Quickstart(arguments) => quickstart::run(arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("tidemark: {error}");
        ExitCode::FAILURE
    })
}
