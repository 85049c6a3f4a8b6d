//! `tidemark serve`: from settings to a running server, and its clean end.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use tidemark_engine::{Engine, EngineConfig, RecorderSettings};
use tidemark_secrets::Secrets;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::database::EngineDatabase;
use crate::memory;
use crate::pipelines::Pipelines;
use crate::settings::{PipelinesAtStart, ServeArguments, Settings};

/// Serves until it is told to stop.
pub(crate) fn run(arguments: ServeArguments) -> Result<ExitCode, String> {
    let settings = Settings::gather(&arguments)?;
    log_to_stderr(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Statements are parsed and planned on other threads, but their trees are dropped here, by recursion.
        .thread_stack_size(64 << 20)
        .build()
        .map_err(|error| format!("cannot start the threads of the server: {error}"))?;
    let listener = runtime
        .block_on(TcpListener::bind(settings.listen))
        .map_err(|error| cannot_listen(settings.listen, &error))?;
    let pipelines =
        Arc::new(Pipelines::new(Secrets::in_directory(&settings.data), settings.allowed_brokers.clone())?);
    let engine =
        Engine::open(engine_config(&settings), pipelines.clone()).map_err(|error| error.to_string())?;
    let database = Arc::new(EngineDatabase::new(engine.clone(), pipelines));
    runtime.block_on(look_after_secrets(&database)).map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "anybody who reaches this address can do anything: there are no passwords yet");
    }
    memory::watch();
    announce(&settings, address, engine.shard_count());
    let served = runtime.block_on(async {
        let stop = stop_signal()?;
        let query_memory_bytes = settings.query_memory_bytes;
        let config = tidemark_sql::Config { query_memory_bytes, ..tidemark_sql::Config::default() };
        tidemark_sql::serve(listener, database, config, stop).await
    });
    // First the clients, then the engine: sources disconnect and the log is synced.
    engine.shutdown();
    runtime.shutdown_background();
    served.map_err(|error| format!("the server failed: {error}"))?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Removes secrets that a crash left, and reports those that an older version stored in clear.
async fn look_after_secrets(database: &EngineDatabase) -> Result<(), kernel::Error> {
    database.remove_unused_secrets().await?;
    for pipeline in database.pipelines_with_secrets_in_clear().await? {
        tracing::warn!(
            pipeline,
            "an older version has stored its CREDENTIALS in clear, and they stay in the log: change them at the brokers, and set them \
             anew with ALTER PIPELINE … SET CREDENTIALS"
        );
    }
    Ok(())
}

fn engine_config(settings: &Settings) -> EngineConfig {
    let mut config = EngineConfig::new(&settings.data);
    config.shards = settings.shards;
    config.log_file_bytes = settings.log_file_bytes();
    config.disk_reserve_bytes = settings.disk_reserve_bytes.unwrap_or(3 * settings.log_file_bytes());
    config.kernel.pipeline_credit_bytes = settings.pipeline_credit_bytes;
    config.kernel.pipelines_stopped = settings.pipelines == PipelinesAtStart::Stopped;
    config.record = settings.record.as_ref().map(|dir| RecorderSettings::new(dir, settings.record_bytes_max));
    config.trace_file.clone_from(&settings.trace);
    config
}

fn cannot_listen(listen: SocketAddr, error: &std::io::Error) -> String {
    let remedy = match error.kind() {
        ErrorKind::AddrInUse => "another program listens there; choose another port with --listen",
        ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; choose one that it has with --listen"
        }
        ErrorKind::PermissionDenied => {
            "this user may not take that port; choose one above 1023 with --listen"
        }
        _ => "choose another address with --listen",
    };
    format!("cannot listen on {listen}: {error}; {remedy}")
}

/// Completes when the process is asked to end: SIGTERM, or Ctrl-C.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
    })
}

/// The ready line, for people and for programs that start the server: the second word after `on` is the address.
fn announce(settings: &Settings, address: SocketAddr, shard_count: u16) {
    let mut out = std::io::stdout().lock();
    // There may be no reader.
    let _ = writeln!(
        out,
        "tidemark is ready on {address} (data in {}, {shard_count} shards)\n  {}",
        settings.data.display(),
        psql_line(address)
    );
    let _ = out.flush();
}

/// How to connect.
pub(crate) fn psql_line(address: SocketAddr) -> String {
    format!("psql -h {} -p {} -U tidemark tidemark", address.ip(), address.port())
}

fn log_to_stderr(filter: &str) -> Result<(), String> {
    let targets = Targets::from_str(filter).map_err(|error| format!("log filter '{filter}': {error}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let _ = tracing_subscriber::registry().with(lines).with(targets).try_init();
    Ok(())
}
