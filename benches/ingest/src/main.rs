//! The side-by-side run: one Kafka topic, loaded three ways on one machine.
//!
//!     cargo run --release -p ingest
//!
//! (a) librdkafka consumed and dropped, batch call, read_committed: what the source can deliver here; (b) Tidemark, from START
//! PIPELINE until the last row is durable and counted by a query; (c) PostgreSQL, the way a good engineer would do it. Then the
//! freshness of (b) and (c) under an open-loop load, and what the disk can do. Each contender is a process of its own, so that
//! CPU is counted apart from the broker's and from this program's.

mod ask;
mod cluster;
mod consume;
mod disk;
mod freshness;
mod load;
mod message;
mod process;
mod tidemark;
mod topic;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

/// Settings of a run.
#[derive(Args, Clone, Debug)]
struct Settings {
    /// Messages in the topic.
    #[arg(long, default_value_t = 5_000_000)]
    messages: u64,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 8)]
    partitions: i32,
    /// Messages a second while freshness is measured.
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Seconds for which freshness is measured.
    #[arg(long, default_value_t = 20)]
    freshness_seconds: u64,
    /// Seconds of the same load before that: a broker that has just been started compiles its own code for a while.
    #[arg(long, default_value_t = 15)]
    warm_up_seconds: u64,
    /// Use this broker instead of starting one.
    #[arg(long)]
    brokers: Option<String>,
    /// Leave PostgreSQL out.
    #[arg(long)]
    without_postgres: bool,
    /// Load Tidemark's table with a primary key, and add up.
    #[arg(long)]
    keyed: bool,
    /// Let Tidemark record what it does.
    #[arg(long)]
    record: bool,
}

#[derive(Parser, Debug)]
#[command(about = "Loads one Kafka topic with librdkafka alone, Tidemark and PostgreSQL, and compares")]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    settings: Settings,
}

/// What a child process of the run does.
#[derive(Subcommand, Debug)]
enum Role {
    /// (a) Reads the topic and drops it.
    Consume { brokers: String, topic: String },
    /// (c) Loads the topic into PostgreSQL until it has this many messages, or for ever.
    LoadPostgres { brokers: String, topic: String, postgres: String, messages: u64 },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Consume { brokers, topic }) => consume::run(&brokers, &topic),
        Some(Role::LoadPostgres { brokers, topic, postgres, messages }) => {
            load::run(&brokers, &topic, &postgres, messages)
        }
        None => side_by_side(&arguments.settings),
    }
}

/// What one contender did with the whole topic.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    seconds: f64,
    /// CPU of the contender's own processes.
    cpu_seconds: f64,
    /// CPU of the broker meanwhile, where it is ours.
    broker_cpu_seconds: f64,
}

impl Outcome {
    fn print(&self, name: &str, messages: u64) {
        let millions = messages as f64 / 1e6;
        println!(
            "{name:<34} {:>10.0} rows/s  {:>6.2} CPU-s/M rows  broker {:>5.2} CPU-s/M rows  {:>6.1} s",
            messages as f64 / self.seconds,
            self.cpu_seconds / millions,
            self.broker_cpu_seconds / millions,
            self.seconds,
        );
    }
}

fn side_by_side(settings: &Settings) -> Result<()> {
    disk::print_rates()?;
    let topic = topic::Topic::prefilled(settings)?;
    let messages = settings.messages;

    let consumed = consume::measure(&topic, messages)?;
    consumed.print("(a) librdkafka, dropped", messages);

    let mut server = tidemark::Tidemark::start(settings)?;
    let loaded = server.load(&topic, messages)?;
    loaded.outcome.print("(b) Tidemark, durable and counted", messages);
    loaded.print_sizes(messages);

    let postgres = if settings.without_postgres { None } else { Some(cluster::Postgres::start()?) };
    let copied = postgres.as_ref().map(|p| p.load(&topic, messages)).transpose()?;
    if let Some(copied) = &copied {
        copied.print("(c) PostgreSQL, COPY and offsets", messages);
    }
    let ratio = |other: &Outcome| other.seconds / loaded.outcome.seconds;
    println!("(b) / (a) = {:.2}   (target 0.4)", ratio(&consumed));
    if let Some(copied) = &copied {
        println!("(b) / (c) = {:.1}   (target 4)", ratio(copied));
    }

    let measured = freshness::of_tidemark(&mut server, &topic, settings)?;
    measured.print("freshness of (b) Tidemark");
    server.stop()?;
    if let Some(postgres) = &postgres {
        freshness::of_postgres(postgres, &topic, settings)?.print("freshness of (c) PostgreSQL");
    }
    Ok(())
}
