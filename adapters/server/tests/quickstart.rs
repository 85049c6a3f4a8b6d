//! The quickstart as a process: it removes its set-up however it ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A run with its directory under `directory` that would take minutes.
fn start(directory: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tidemark"))
        .args(["quickstart", "--seconds", "600", "--rate", "100", "--kills", "0"])
        .env("TMPDIR", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

fn send(signal: &str, pid: u32) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill is a command");
    assert!(sent.success(), "process {pid} is gone already");
}

/// Names the remains; a remaining database is killed, so that a failing test leaves none behind.
fn left(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let entries: Vec<_> = entries.collect();
    for entry in &entries {
        let lock = std::fs::read_to_string(entry.join("data/lock")).unwrap_or_default();
        if let Some(pid) = lock.split(' ').next().and_then(|pid| pid.parse().ok()) {
            send("-KILL", pid);
        }
    }
    entries.iter().map(|entry| entry.display().to_string()).collect()
}

#[test]
fn a_signal_takes_the_database_and_its_directory_down_also_when_the_terminal_goes() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let directory = tempfile::tempdir().unwrap();
        let mut run = start(directory.path());
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
        let at_work = lines.any(|line| line.unwrap().starts_with("While this runs"));
        assert!(at_work, "it ended before it got to work");
        send(signal, run.id());
        let said: Vec<String> = lines.map(|line| line.unwrap()).collect();
        let status = run.wait().unwrap();
        assert_eq!(left(directory.path()), Vec::<String>::new(), "{signal}");
        assert_eq!(status.code(), Some(130), "{signal}");
        assert!(said.iter().any(|line| line.starts_with("Interrupted")), "{signal}: {said:?}");
    }
}

#[test]
fn a_reader_that_goes_away_breaks_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_tidemark"))
        .args(["quickstart", "--seconds", "1", "--rate", "100", "--kills", "0"])
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(run.stdout.take());
    let status = run.wait().unwrap();
    assert_eq!(left(directory.path()), Vec::<String>::new());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_kafka_that_is_not_there_is_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_tidemark"))
        .args(["quickstart", "--brokers", &closed.to_string()])
        .env("TMPDIR", directory.path())
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("no Kafka answers at {closed}")), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
    assert_eq!(left(directory.path()), Vec::<String>::new());
}
