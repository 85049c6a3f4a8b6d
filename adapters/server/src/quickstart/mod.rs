//! `tidemark quickstart`: a demonstration in a minute. A stream of payments is loaded from Kafka into a table of
//! balances; the database is killed several times meanwhile; at the end no cent is missing or counted twice.
//!
//! Broker and producer run in this process, the database in a child process, so that it can be killed.

mod broker;
mod child;
mod client;
mod embedded;
mod meter;
mod producer;
mod screen;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use broker::Broker;
use child::Database;
use client::Client;
use meter::{Meter, grouped, money};
use producer::{Producer, Totals};
use screen::Screen;

/// How often the table is queried.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How long the database may take to count what was produced before the verdict is a mismatch.
const CATCH_UP_MAX: Duration = Duration::from_secs(120);

/// How long the table is watched once it is complete.
const SETTLE: Duration = Duration::from_secs(1);

/// Exit code after Ctrl-C, as shells expect it.
const INTERRUPTED: u8 = 130;

/// Flags of `tidemark quickstart`.
#[derive(Args)]
pub(crate) struct QuickstartArguments {
    /// Use this Kafka instead of an embedded broker; a topic of its own is created there, and removed at the end.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Leave everything up at the end, to look around with psql, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// How long to produce.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Payments a second.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// How often to kill the database, evenly over the run.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    kills: u64,
}

/// The result of the run.
struct Verdict {
    produced: Totals,
    counted: Totals,
    kills: u64,
}

/// Runs the quickstart; the exit code is 0 if everything was counted exactly once, 1 if not.
pub(crate) fn run(arguments: QuickstartArguments) -> Result<ExitCode, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let done = runtime.block_on(direct(&arguments));
    runtime.shutdown_background();
    done
}

/// Cleans up however the run ends: child process and directory when they are dropped, the topic on an existing Kafka
/// here.
async fn direct(arguments: &QuickstartArguments) -> Result<ExitCode, String> {
    let mut stop = Stop::listen()?;
    let screen = Screen::new();
    screen.line("Tidemark quickstart: payments from Kafka into account balances, each exactly once.\n");
    let broker = tokio::select! {
        broker = find_broker(arguments, &screen) => broker?,
        () = stop.asked() => return Ok(interrupted(&screen)),
    };
    let shown = tokio::select! {
        shown = show(arguments, &screen, &broker) => shown.map(Some),
        () = stop.asked() => Ok(None),
    };
    let done = match shown {
        Ok(Some((code, database))) => {
            if arguments.keep {
                screen.line(&format!("\nThe server stays up until Ctrl-C:\n  {}", database.psql_line()));
                stop.asked().await;
            }
            database.stop().await;
            Ok(code)
        }
        Ok(None) => Ok(interrupted(&screen)),
        Err(error) => Err(error),
    };
    broker.remove().await;
    done
}

/// Ctrl-C, SIGTERM, and the end of the terminal: the database is in a process group of its own and would outlive it.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stop {
    fn listen() -> Result<Stop, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
        Ok(Stop {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

fn interrupted(screen: &Screen) -> ExitCode {
    screen.line("\nInterrupted; the database is stopped and its directory removed.");
    ExitCode::from(INTERRUPTED)
}

async fn find_broker(arguments: &QuickstartArguments, screen: &Screen) -> Result<Broker, String> {
    match &arguments.brokers {
        Some(brokers) => screen.step(&format!("a topic on {brokers}"), Broker::on_kafka(brokers)).await,
        None => screen.step("an in-process Kafka-protocol broker", Broker::embedded()).await,
    }
}

/// The whole run, from the set-up to the verdict.
async fn show(
    arguments: &QuickstartArguments,
    screen: &Screen,
    broker: &Broker,
) -> Result<(ExitCode, Database), String> {
    let mut database = screen.step("a database in a process of its own", Database::start()).await?;
    let client = screen.step("table `accounts` and pipeline `payments`", set_up(&database, broker)).await?;
    screen.line(&format!("\nWhile this runs, look for yourself:\n  {}", database.psql_line()));
    screen.line("  SELECT count(*), sum(balance), sum(payments) FROM accounts;\n");
    let verdict = stream(arguments, screen, broker, &mut database, client).await?;
    Ok((announce(screen, &verdict), database))
}

/// Creates what loads the payments, as a user would: over the wire.
async fn set_up(database: &Database, broker: &Broker) -> Result<Client, String> {
    let client = Client::connect(database.port()).await?;
    let (brokers, topic) = (broker.bootstrap(), broker.topic());
    client
        .run(
            "CREATE TABLE accounts (
               name TEXT, balance BIGINT, payments BIGINT,
               PRIMARY KEY (name), SHARD KEY (name))",
        )
        .await?;
    client
        .run(&format!(
            "CREATE PIPELINE payments AS LOAD DATA KAFKA '{brokers}/{topic}' INTO TABLE accounts
               FORMAT JSON (name <- name, balance <- amount, payments <- payments DEFAULT 1)
               ON DUPLICATE KEY UPDATE balance = balance + VALUES(balance),
                                       payments = payments + VALUES(payments)"
        ))
        .await?;
    client.run("START PIPELINE payments").await?;
    Ok(client)
}

/// Produces, watches and kills, until the time is over and everything is counted or cannot be.
async fn stream(
    arguments: &QuickstartArguments,
    screen: &Screen,
    broker: &Broker,
    database: &mut Database,
    client: Client,
) -> Result<Verdict, String> {
    let length = Duration::from_secs(arguments.seconds);
    let producer = Producer::start(broker, arguments.rate, length)?;
    let begun = Instant::now();
    let kill_at = |kill: u64| length.mul_f64((kill + 1) as f64 / (arguments.kills + 1) as f64);
    let mut meter = Meter::new();
    let mut client = Some(client);
    let mut kills = 0;
    let live = screen.live(arguments.kills);
    while begun.elapsed() < length {
        if kills < arguments.kills && begun.elapsed() >= kill_at(kills) {
            client = None;
            let down = kill(database, &mut meter).await?;
            kills += 1;
            live.event(&format!(
                "kill -9 number {kills} with {} payments counted; back after {:.1} s",
                grouped(meter.counted().payments),
                down.as_secs_f64()
            ));
        }
        if let Some(counted) = probe(database, &mut client).await? {
            meter.counted_now(counted, &producer);
        }
        live.show(&meter, producer.acknowledged().payments, kills);
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
    let produced = producer.finish().await?;
    let give_up = Instant::now() + CATCH_UP_MAX;
    let mut complete_since = None;
    loop {
        if let Some(counted) = probe(database, &mut client).await? {
            meter.counted_at_end(counted);
            let now = Instant::now();
            let complete = counted.payments >= produced.payments;
            let since = complete_since.get_or_insert(now);
            if !complete {
                *since = now;
            }
            // Watches a moment longer than complete: a payment counted twice would appear after it.
            if now.duration_since(*since) >= SETTLE || now >= give_up {
                live.end();
                return Ok(Verdict { produced, counted, kills });
            }
        }
        live.show(&meter, produced.payments, kills);
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

/// Kills the database hard and starts it again; returns how long it was down.
async fn kill(database: &mut Database, meter: &mut Meter) -> Result<Duration, String> {
    let killed = Instant::now();
    database.kill().await?;
    database.restart().await?;
    meter.was_away();
    Ok(killed.elapsed())
}

/// Count and sum of the table; None if the database did not answer.
async fn probe(database: &mut Database, client: &mut Option<Client>) -> Result<Option<Totals>, String> {
    database.check_alive()?;
    if client.is_none() {
        *client = Client::connect(database.port()).await.ok();
    }
    let Some(connected) = client else { return Ok(None) };
    match connected.totals().await {
        Ok(totals) => Ok(Some(totals)),
        Err(error) if connected.is_closed() => {
            tracing::debug!(%error, "connection lost");
            *client = None;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn announce(screen: &Screen, verdict: &Verdict) -> ExitCode {
    let Verdict { produced, counted, kills } = verdict;
    let line = |what: &str, totals: &Totals| {
        screen.line(&format!(
            "  {what}  {:>14} payments  {:>18} in all",
            grouped(totals.payments),
            money(totals.cents)
        ));
    };
    screen.line("");
    line("produced", produced);
    line("counted ", counted);
    screen.line(&format!("  killed    {kills:>14} times, in mid-stream\n"));
    if produced == counted {
        screen.line("OK: every payment was counted exactly once, to the cent.");
        return ExitCode::SUCCESS;
    }
    screen.line(&format!(
        "MISMATCH: {} payments and {} too many (negative: missing). This is a bug; please report it.",
        counted.payments as i128 - produced.payments as i128,
        money(counted.cents - produced.cents)
    ));
    ExitCode::FAILURE
}
