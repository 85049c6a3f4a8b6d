//! The two sides: a PostgreSQL and a Tidemark, each with a connection that is reopened after a statement broke it.

use std::time::Duration;

use tests::postgres::Postgres;
use tests::scratch::{Scratch, unique};
use tests::server::Server;

use crate::wire::{Answer, Failure, Mode, Wire};

/// A statement that takes longer counts as a lost connection.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A server that runs statements.
pub trait Side: Send {
    /// Runs one statement.
    fn run(&mut self, sql: &str, mode: Mode) -> Result<Answer, Failure>;

    /// Runs a statement that must succeed.
    fn must(&mut self, sql: &str) -> Answer {
        self.run(sql, Mode::Simple).unwrap_or_else(|e| panic!("{sql}\n{e}"))
    }
}

/// A database of a PostgreSQL, for one run.
#[derive(Debug)]
pub struct Reference<'a> {
    postgres: &'a Postgres,
    database: String,
    config: postgres::Config,
    wire: Option<Wire>,
}

impl<'a> Reference<'a> {
    /// A new empty database.
    pub fn new(postgres: &'a Postgres) -> Reference<'a> {
        let database = unique("sqldiff").replace('-', "_");
        let config = postgres.database(&database);
        Reference { postgres, database, config, wire: None }
    }
}

impl Side for Reference<'_> {
    fn run(&mut self, sql: &str, mode: Mode) -> Result<Answer, Failure> {
        run_on(&mut self.wire, &self.config, sql, mode)
    }
}

impl Drop for Reference<'_> {
    fn drop(&mut self) {
        self.wire = None;
        if !std::thread::panicking() {
            self.postgres.drop_database(&self.database);
        }
    }
}

/// A Tidemark on a directory of its own, for one run.
#[derive(Debug)]
pub struct Tidemark {
    server: Server,
    wire: Option<Wire>,
    /// How often the process had to be started again.
    pub restarts: usize,
    _dir: Scratch,
}

impl Tidemark {
    /// A new empty database.
    pub fn new() -> Tidemark {
        let dir = Scratch::new("sqldiff");
        let server = Server::start(dir.path());
        Tidemark { server, wire: None, restarts: 0, _dir: dir }
    }

    /// The process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// After a lost connection: a process that ended or hangs is started again, on the same data.
    fn revive(&mut self) {
        self.wire = None;
        if let Some(status) = self.server.ended() {
            eprintln!("Tidemark ended with {status}; its log ends:\n{}", self.server.log_tail());
        } else if Wire::connect(&self.server.config(), Duration::from_secs(5)).is_ok() {
            return;
        } else {
            eprintln!(
                "Tidemark accepts no connection and is killed; its log ends:\n{}",
                self.server.log_tail()
            );
            self.server.kill();
        }
        self.server.restart();
        self.restarts += 1;
    }
}

impl Default for Tidemark {
    fn default() -> Tidemark {
        Tidemark::new()
    }
}

impl Side for Tidemark {
    fn run(&mut self, sql: &str, mode: Mode) -> Result<Answer, Failure> {
        let answer = run_on(&mut self.wire, &self.server.config(), sql, mode);
        if matches!(answer, Err(Failure::Lost(_))) {
            // A process that aborts takes a moment to end.
            std::thread::sleep(Duration::from_millis(200));
            self.revive();
        }
        answer
    }
}

fn run_on(
    wire: &mut Option<Wire>,
    config: &postgres::Config,
    sql: &str,
    mode: Mode,
) -> Result<Answer, Failure> {
    let connected = match wire {
        Some(wire) => wire,
        None => wire.insert(Wire::connect(config, ANSWER_LIMIT)?),
    };
    let answer = connected.run(sql, mode);
    if matches!(answer, Err(Failure::Lost(_))) {
        *wire = None;
    }
    answer
}
