//! Watches a server under attack.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use postgres::{Client, NoTls};
use tests::scratch::Scratch;
use tests::server::{Server, rows};

/// Query memory in these tests.
const QUERY_MEMORY_BYTES: u64 = 256 << 20;

/// Other memory: the program itself, its threads, messages, prepared statements, results, and the allocator's reserve.
/// A debug build needs more.
const REST_BYTES: u64 = 1 << 30;

/// A server that is watched from beginning to end.
pub struct Watched {
    pub server: Server,
    scratch: Scratch,
    pid: u32,
    neighbour: Option<(Arc<AtomicBool>, Arc<AtomicU64>, JoinHandle<()>)>,
}

impl Watched {
    /// A new server with a small table, and a neighbour: a client that connects and queries all the time.
    pub fn start(name: &str) -> Watched {
        let scratch = Scratch::new(name);
        let memory = QUERY_MEMORY_BYTES.to_string();
        let server = Server::start_with(scratch.path(), &["--query-memory-bytes", &memory]);
        server.run("CREATE TABLE t (id BIGINT NOT NULL, x INT, s TEXT, f DOUBLE PRECISION, n NUMERIC(12,2), at TIMESTAMPTZ, PRIMARY KEY (id))");
        server.run(
            "INSERT INTO t VALUES (1, 1, 'one', 1.5, 10.60, '2024-01-01'), (2, NULL, NULL, NULL, NULL, NULL), \
             (3, -7, 'drei ü', -0.5, 3.33, '2024-06-30 12:00')",
        );
        let pid = server.pid();
        let mut watched = Watched { server, scratch, pid, neighbour: None };
        watched.neighbour = Some(watched.neighbour());
        watched
    }

    fn neighbour(&self) -> (Arc<AtomicBool>, Arc<AtomicU64>, JoinHandle<()>) {
        let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (is_over, count, port) = (Arc::clone(&over), Arc::clone(&served), self.server.port());
        let ask = move || {
            while !is_over.load(Ordering::Relaxed) {
                let mut client = connect(port);
                let found = rows(&mut client, "SELECT 1").expect("a neighbour is served");
                assert_eq!(found, [["1"]]);
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        (over, served, std::thread::spawn(ask))
    }

    /// A connection of a hostile client.
    pub fn client(&self) -> Client {
        connect(self.server.port())
    }

    /// Checks the server at the end of the test.
    pub fn end(mut self) {
        let (over, served, neighbour) = self.neighbour.take().expect("there is a neighbour until the end");
        over.store(true, Ordering::Relaxed);
        neighbour.join().expect("the neighbour was served all the time");
        assert!(served.load(Ordering::Relaxed) > 0, "the neighbour was served");
        assert_eq!(self.server.value("SELECT count(*) FROM t"), "3", "the data is unchanged");
        assert_eq!(self.server.pid(), self.pid, "the server is the one that was started");
        let peak = peak_bytes(self.pid);
        println!("peak memory {} MiB, neighbour served {} times", peak >> 20, served.load(Ordering::Relaxed));
        assert!(peak < QUERY_MEMORY_BYTES + REST_BYTES, "memory is bounded, and not {} MiB", peak >> 20);
        assert!(self.server.stop().success(), "it stops cleanly");
        assert_silent(&self.scratch.path().join("server.log"));
    }
}

fn connect(port: u16) -> Client {
    let mut config = postgres::Config::new();
    config.host("127.0.0.1").port(port).user("tidemark").dbname("tidemark");
    config.connect(NoTls).expect("a connection is accepted")
}

/// Peak memory of a process.
fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel counts memory");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of KiB");
    kib << 10
}

fn assert_silent(log: &Path) {
    let log = std::fs::read_to_string(log).expect("the server has a log");
    for word in ["panicked", "overflowed its stack", "XX000", "a connection failed"] {
        let found = log.lines().find(|line| line.contains(word));
        assert!(found.is_none(), "the log contains an error: {}", found.unwrap_or_default());
    }
}
