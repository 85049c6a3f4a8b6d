//! (b) Tidemark: the real binary, driven over the wire.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postgres::Client;
use tempfile::TempDir;
use tests::server::Server;

use crate::topic::Topic;
use crate::{Outcome, Settings, ask, message, process};

/// Interval of the counting queries during the load; they use CPU that is measured.
const PROBE_INTERVAL: Duration = Duration::from_millis(40);
/// Counting queries per sample of the memory.
const PROBES_A_SAMPLE: u64 = 4;

/// A running server with a data directory of its own.
pub struct Tidemark {
    server: Server,
    directory: TempDir,
    /// The table has a primary key, and messages of one key are added up.
    keyed: bool,
}

/// The measurements of a loaded topic.
pub struct Loaded {
    pub outcome: Outcome,
    /// Most anonymous memory less the table's bytes, while it loaded.
    overhead_bytes_max: u64,
    table_bytes: u64,
    log_bytes: u64,
    /// Bytes of the recording, if one is made, and CPU of the thread that writes it.
    record_bytes: u64,
    recorder_cpu_seconds: f64,
}

impl Tidemark {
    /// Starts the server on an empty data directory.
    pub fn start(settings: &Settings) -> Result<Tidemark> {
        if std::env::var_os("TIDEMARK_BIN").is_none() {
            let binary = std::env::current_exe()?.with_file_name("tidemark");
            ensure!(binary.exists(), "{} is not there: run `cargo build --release` first", binary.display());
            // SAFETY: no other thread runs yet that reads the environment.
            unsafe { std::env::set_var("TIDEMARK_BIN", binary) };
        }
        let directory = tempfile::tempdir().context("a directory for the server")?;
        let record = directory.path().join("record");
        let record = record.to_str().context("a directory with a plain name")?;
        let arguments = if settings.record { vec!["--record", record] } else { vec![] };
        let server = Server::start_with(directory.path(), &arguments);
        Ok(Tidemark { server, directory, keyed: settings.keyed })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// A connection.
    pub fn connect(&self) -> Client {
        self.server.connect()
    }

    /// Stops the server.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.server.stop();
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// Makes a table and a pipeline named `name` for a topic. Not started.
    pub fn define(&self, client: &mut Client, name: &str, brokers: &str, topic: &str) -> Result<()> {
        let (key, on_duplicate) = if self.keyed {
            (", PRIMARY KEY (id)", " ON DUPLICATE KEY UPDATE amount = amount + VALUES(amount)")
        } else {
            ("", "")
        };
        ask::run(client, &format!("CREATE TABLE {name} ({}{key}, SHARD KEY (id))", message::COLUMNS))?;
        ask::run(
            client,
            &format!(
                "CREATE PIPELINE {name} AS LOAD DATA KAFKA '{brokers}/{topic}' INTO TABLE {name} FORMAT JSON ({}){on_duplicate}",
                message::MAPPING
            ),
        )
    }

    /// Loads the whole topic into an append table.
    pub fn load(&mut self, topic: &Topic, messages: u64) -> Result<Loaded> {
        let mut client = self.connect();
        self.define(&mut client, "payments", topic.brokers(), topic.name())?;
        let broker_before = topic.broker_cpu_seconds()?;
        let cpu_before = process::cpu_seconds(self.pid())?;
        let mut overhead_bytes_max = 0;
        let began = Instant::now();
        ask::run(&mut client, "START PIPELINE payments")?;
        for probe in 0u64.. {
            if probe % PROBES_A_SAMPLE == 0 {
                let own = process::anonymous_bytes(self.pid())?;
                overhead_bytes_max = overhead_bytes_max.max(own.saturating_sub(table_bytes(&mut client)?));
            }
            let counted = ask::number(&mut client, "SELECT count(*) FROM payments")? as u64;
            if counted == messages {
                break;
            }
            if counted > messages || began.elapsed() > Duration::from_secs(900) {
                bail!("{counted} rows of {messages} after {:?}", began.elapsed());
            }
            std::thread::sleep(PROBE_INTERVAL);
        }
        let outcome = Outcome {
            seconds: began.elapsed().as_secs_f64(),
            cpu_seconds: process::cpu_seconds(self.pid())? - cpu_before,
            broker_cpu_seconds: topic.broker_cpu_seconds()? - broker_before,
        };
        check(&mut client, messages)?;
        let recorder_cpu_seconds = process::thread_cpu_seconds(self.pid(), "recorder")?;
        let record_bytes = record_bytes(&self.directory.path().join("record"))?;
        let log_bytes = log_bytes(&self.directory.path().join("data"))?;
        let table_bytes = table_bytes(&mut client)?;
        ask::run(&mut client, "STOP PIPELINE payments")?;
        Ok(Loaded { outcome, overhead_bytes_max, table_bytes, log_bytes, record_bytes, recorder_cpu_seconds })
    }
}

/// Bytes of the table, as reported by the server.
fn table_bytes(client: &mut Client) -> Result<u64> {
    let query = "SELECT data_bytes FROM information_schema.tables WHERE table_name = 'payments'";
    Ok(ask::number(client, query)? as u64)
}

/// Used bytes of the log: its log files are preallocated and zero after the last record.
fn log_bytes(data: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(data)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "tml") {
            let log_file = std::fs::read(path)?;
            bytes += log_file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        }
    }
    Ok(bytes)
}

/// Bytes of the recording; none where nothing is recorded.
fn record_bytes(directory: &Path) -> Result<u64> {
    let Ok(files) = std::fs::read_dir(directory) else { return Ok(0) };
    files.map(|file| Ok(file?.metadata()?.len())).sum()
}

/// Every message counts exactly once: ids are 0..messages.
fn check(client: &mut Client, messages: u64) -> Result<()> {
    let distinct = ask::number(client, "SELECT count(DISTINCT id) FROM payments")? as u64;
    let highest = ask::number(client, "SELECT max(id) FROM payments")? as u64;
    if (distinct, highest) != (messages, messages - 1) {
        bail!("{distinct} distinct ids up to {highest}, expected {messages}");
    }
    Ok(())
}

impl Loaded {
    /// Prints memory and log figures.
    pub fn print_sizes(&self, messages: u64) {
        let raw: u64 = (0..1000).map(message::raw_column_bytes).sum::<u64>() * messages / 1000;
        println!(
            "    anonymous memory less the table's bytes: at most {} MiB (bound 1024); table {} MiB, {:.2} times its raw \
             columns (bound 2)",
            self.overhead_bytes_max >> 20,
            self.table_bytes >> 20,
            self.table_bytes as f64 / raw as f64,
        );
        let a_row = self.log_bytes as f64 / messages as f64;
        println!(
            "    log: {a_row:.1} bytes a row, {:.0} MB/s while loading",
            self.log_bytes as f64 / 1e6 / self.outcome.seconds
        );
        if self.record_bytes > 0 {
            println!(
                "    recording: {:.2} bytes a row, {:.3} CPU-s/M rows of its thread",
                self.record_bytes as f64 / messages as f64,
                self.recorder_cpu_seconds / (messages as f64 / 1e6)
            );
        }
    }
}
