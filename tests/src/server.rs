//! The real server binary as a process: started, killed hard, stopped cleanly, asked over the PostgreSQL wire.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use postgres::{Client, NoTls, SimpleQueryMessage};

use crate::kafka::tail;
use crate::scratch::free_port;

/// Names the binary to test.
const BINARY_ENV: &str = "TIDEMARK_BIN";

/// Names the file that the server writes its trace to.
const TRACE_ENV: &str = "TIDEMARK_TRACE";

/// A server process on a data directory.
#[derive(Debug)]
pub struct Server {
    dir: PathBuf,
    port: u16,
    /// Beside where the data is and where it listens.
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts a server on `dir/data` and waits until it answers.
    pub fn start(dir: &Path) -> Server {
        Server::start_with(dir, &[])
    }

    /// The same, with more arguments of `serve`.
    pub fn start_with(dir: &Path, arguments: &[&str]) -> Server {
        let arguments = arguments.iter().map(|argument| argument.to_string()).collect();
        let mut server = Server { dir: dir.to_path_buf(), port: free_port(), arguments, child: None };
        server.restart();
        server
    }

    /// Starts it again after a kill or a stop, and waits until it answers.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the server runs already");
        self.child = Some(launch(&self.dir, self.port, &self.arguments));
        let began = Instant::now();
        loop {
            if self.try_connect().is_ok() {
                return;
            }
            let exited = self.child.as_mut().expect("just started").try_wait().expect("it is our child");
            let log = || tail(&self.dir.join("server.log"));
            if let Some(status) = exited {
                panic!("the server ended with {status} while it started:\n{}", log());
            }
            assert!(began.elapsed() < Duration::from_secs(120), "the server does not answer:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL, by process id.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is a command");
        assert!(sent.success(), "process {pid} is gone already");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                return status;
            }
            if began.elapsed() > Duration::from_secs(60) {
                child.kill().expect("it is our child");
                child.wait().expect("it is our child");
                panic!(
                    "the server did not stop within a minute of SIGTERM:\n{}",
                    tail(&self.dir.join("server.log"))
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A connection.
    pub fn connect(&self) -> Client {
        self.try_connect().unwrap_or_else(|e| {
            panic!("cannot connect: {e}\n{}", tail(&self.dir.join("server.log")));
        })
    }

    /// Runs statements that must succeed.
    pub fn run(&self, sql: &str) {
        let done = self.connect().batch_execute(sql);
        done.unwrap_or_else(|e| panic!("{sql}\n{}\n{}", said(&e), tail(&self.dir.join("server.log"))));
    }

    /// Runs a query whose rows come back as text; NULL is `∅`.
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        rows(&mut self.connect(), sql).unwrap_or_else(|e| panic!("{sql}\n{}", said(&e)))
    }

    /// Runs a query for one value.
    pub fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql);
        assert!(rows.len() == 1 && rows[0].len() == 1, "one value from {sql}, not {rows:?}");
        rows[0][0].clone()
    }

    /// Runs a query for one number.
    pub fn number(&self, sql: &str) -> i64 {
        let value = self.value(sql);
        value.parse().unwrap_or_else(|_| panic!("a number from {sql}, not {value}"))
    }

    /// Runs a statement that must fail; returns SQLSTATE and message.
    pub fn refused(&self, sql: &str) -> (String, String) {
        let error = self.connect().batch_execute(sql).expect_err(sql);
        let db = error.as_db_error().unwrap_or_else(|| panic!("{sql}: not an SQL error but {error}"));
        (db.code().code().to_string(), db.message().to_string())
    }

    /// Where the server writes what is in flight.
    pub fn trace_file(&self) -> PathBuf {
        self.dir.join("trace")
    }

    /// How to connect.
    pub fn config(&self) -> postgres::Config {
        let mut config = postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("tidemark").dbname("tidemark");
        config.connect_timeout(Duration::from_secs(5));
        config
    }

    /// How the process ended, if it did by itself; then it can be restarted.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("it is our child")?;
        self.child = None;
        Some(status)
    }

    /// The end of what it logged.
    pub fn log_tail(&self) -> String {
        tail(&self.dir.join("server.log"))
    }

    fn try_connect(&self) -> Result<Client, postgres::Error> {
        self.config().connect(NoTls)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A test that failed may have left it in any state; it must only be gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs the binary with `serve` on a directory that it must refuse; returns its exit status and what it said.
pub fn refused_to_serve(dir: &Path) -> (ExitStatus, String) {
    let log = dir.join("refused.log");
    let mut child =
        command(dir, free_port()).stdout(append(&log)).stderr(append(&log)).spawn().expect("the binary runs");
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return (status, std::fs::read_to_string(&log).expect("the log was just written"));
        }
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
            panic!("a server that had to refuse its directory runs:\n{}", tail(&log));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a query whose rows come back as text; NULL is `∅`.
pub fn rows(client: &mut Client, sql: &str) -> Result<Vec<Vec<String>>, postgres::Error> {
    let mut rows = Vec::new();
    for message in client.simple_query(sql)? {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|i| row.get(i).unwrap_or("∅").to_string()).collect());
        }
    }
    Ok(rows)
}

/// What the server said, with its SQLSTATE.
pub fn said(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {}", db.code().code(), db.message()),
        None => error.to_string(),
    }
}

fn launch(dir: &Path, port: u16, arguments: &[String]) -> Child {
    let log = dir.join("server.log");
    command(dir, port)
        .args(arguments)
        .stdout(append(&log))
        .stderr(append(&log))
        .spawn()
        .expect("the binary runs")
}

fn command(dir: &Path, port: u16) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("serve")
        .arg("--data")
        .arg(dir.join("data"))
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .env(TRACE_ENV, dir.join("trace"))
        .stdin(Stdio::null());
    command
}

fn append(path: &Path) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()))
}

/// The binary: the one that is named, or the one beside this test or program in the target directory.
fn binary() -> PathBuf {
    let beside = || {
        let own = std::env::current_exe().expect("a process knows its own file");
        let dir = own.parent().expect("a program lies in target/<profile>, a test in target/<profile>/deps");
        let profile = if dir.ends_with("deps") { dir.parent().expect("as above") } else { dir };
        profile.join("tidemark")
    };
    let path = std::env::var_os(BINARY_ENV).map_or_else(beside, PathBuf::from);
    assert!(
        path.is_file(),
        "there is no server binary at {}: build it with `cargo build -p tidemark-server`, or name it in {BINARY_ENV}",
        path.display()
    );
    path
}
