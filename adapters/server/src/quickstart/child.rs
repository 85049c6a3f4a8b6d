//! The database as a child process: started, killed, started again, stopped.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long the server may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Small log files, because the run is short.
const LOG_FILE_BYTES: &str = "67108864";

/// A server process on a temporary directory; both end when this is dropped.
pub(super) struct Database {
    child: Child,
    directory: TempDir,
    port: u16,
}

impl Drop for Database {
    fn drop(&mut self) {
        // Dead before its directory is removed.
        let _ = self.child.start_kill();
        let give_up = Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Database {
    /// Starts a server on a new directory and a free port, and waits until it is ready.
    pub(super) async fn start() -> Result<Database, String> {
        let directory =
            tempfile::Builder::new().prefix("tidemark-quickstart-").tempdir().map_err(|e| e.to_string())?;
        // The port stays the same over restarts, so that the psql line does.
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| e.to_string())?.port();
        let child = launch(&directory, port)?;
        let mut database = Database { directory, port, child };
        database.wait_until_ready().await?;
        Ok(database)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn psql_line(&self) -> String {
        crate::serve::psql_line(([127, 0, 0, 1], self.port).into())
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(super) async fn kill(&mut self) -> Result<(), String> {
        self.child.kill().await.map_err(|error| format!("the database cannot be killed: {error}"))
    }

    /// Starts it again on the same directory and port.
    pub(super) async fn restart(&mut self) -> Result<(), String> {
        self.child = launch(&self.directory, self.port)?;
        self.wait_until_ready().await
    }

    /// An error if it has ended by itself.
    pub(super) fn check_alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the database ended with {status}:\n{}", self.last_words())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// SIGTERM, and waits for the end.
    pub(super) async fn stop(mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid as i32)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        }
    }

    /// Reads the ready line.
    async fn wait_until_ready(&mut self) -> Result<(), String> {
        let mut lines = BufReader::new(self.child.stdout.take().expect("it is piped")).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.starts_with("tidemark is ready on") {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(PATIENCE, ready).await {
            Ok(true) => {
                // Further output must not fill the pipe.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                Ok(())
            }
            Ok(false) => Err(format!("the database did not start:\n{}", self.last_words())),
            Err(_) => Err(format!("the database was not ready within a minute:\n{}", self.last_words())),
        }
    }

    /// The end of its log.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(log_file(&self.directory)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

fn log_file(directory: &TempDir) -> PathBuf {
    directory.path().join("server.log")
}

/// In its own process group: Ctrl-C reaches only this process, which then stops the server.
fn launch(directory: &TempDir, port: u16) -> Result<Child, String> {
    let failed = |error: std::io::Error| format!("the database does not start: {error}");
    let log: File = OpenOptions::new().create(true).append(true).open(log_file(directory)).map_err(failed)?;
    Command::new(std::env::current_exe().map_err(failed)?)
        .arg("serve")
        .arg("--data")
        .arg(directory.path().join("data"))
        .args(["--listen", &format!("127.0.0.1:{port}"), "--log-file-bytes", LOG_FILE_BYTES])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(failed)
}
