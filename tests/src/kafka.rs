//! A real Apache Kafka broker: fetched from Maven Central, started on free loopback ports, stopped by its process id, also when
//! the test process dies. Topics, producers and offsets are in the submodules.

mod admin;
mod produce;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

pub use produce::{Codec, Producer};

use crate::scratch::{free_port, unique};

/// Names the broker to use instead of one of our own.
const BOOTSTRAP_ENV: &str = "KAFKA_BOOTSTRAP";

/// Starts Java and waits for its own standard input to end, which happens when the test process ends, however it ends.
/// Then it kills Java by its process id, and removes the broker's data unless told to keep them. Signals of the
/// terminal reach all processes of a test; this one outlives it, to clean up.
const KEEPER: &str = r#"
trap '' INT TERM HUP
dir=$1; shift
"$@" </dev/null >>"$dir/broker.log" 2>&1 &
pid=$!
echo "$pid"
read -r order
kill -9 "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
[ "$order" = keep ] || rm -rf "$dir"
"#;

/// A broker: one of our own, or one that runs already.
#[derive(Debug)]
pub struct Broker {
    bootstrap: String,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    dir: PathBuf,
    port: u16,
    keeper: Option<Child>,
}

impl Broker {
    /// The broker that the tests of one process share: the one that `KAFKA_BOOTSTRAP` names, or one of our own.
    pub fn shared() -> &'static Broker {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var(BOOTSTRAP_ENV) {
            Ok(bootstrap) if !bootstrap.is_empty() => {
                let broker = Broker { bootstrap, own: None };
                assert!(
                    broker.answers_within(Duration::from_secs(20)),
                    "no broker at {BOOTSTRAP_ENV}={}",
                    broker.bootstrap
                );
                broker
            }
            _ => Broker::start(),
        })
    }

    /// A new broker of our own, that can be killed.
    pub fn start() -> Broker {
        for _ in 0..3 {
            // A port may be taken between its choice and its use: then others are tried.
            if let Some(broker) = Broker::try_start() {
                return broker;
            }
        }
        panic!("the Kafka broker did not start; its log is above");
    }

    fn try_start() -> Option<Broker> {
        let dir = std::env::temp_dir().join(unique("tidemark-broker"));
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot make {}: {e}", dir.display()));
        let (port, controller_port) = (free_port(), free_port());
        std::fs::write(dir.join("server.properties"), properties(&dir, port, controller_port))
            .expect("the broker's directory was just made");
        format_storage(&dir);
        let mut broker =
            Broker { bootstrap: format!("127.0.0.1:{port}"), own: Some(Own { dir, port, keeper: None }) };
        broker.launch().then_some(broker)
    }

    /// `host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Process id of a broker of our own: of the shell that keeps it, whose child it is.
    pub fn pid(&self) -> Option<u32> {
        self.own.as_ref().and_then(|own| own.keeper.as_ref()).map(Child::id)
    }

    /// Kills it with SIGKILL; its data stay.
    pub fn kill(&mut self) {
        let own = self.own.as_mut().expect("only a broker of our own can be killed");
        if let Some(mut keeper) = own.keeper.take() {
            let mut orders = keeper.stdin.take().expect("the keeper's input is a pipe");
            // If the keeper has ended already, so has the broker.
            let _ = orders.write_all(b"keep\n");
            drop(orders);
            let _ = keeper.wait();
        }
    }

    /// Starts it again on the same data and port.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.launch(), "the Kafka broker did not start again; its log is above");
    }

    /// Restarts it without the messages of a partition from this offset on, like a broker that lagged when it was
    /// elected. Batches that start before the offset stay complete.
    pub fn restart_without(&mut self, topic: &str, partition: i32, from: i64) {
        self.kill();
        let own = self.own.as_ref().expect("only a broker of our own can lose anything");
        let log = own.dir.join(format!("data/{topic}-{partition}/{:020}.log", 0));
        let bytes = std::fs::read(&log).unwrap_or_else(|e| panic!("cannot read {}: {e}", log.display()));
        let file = File::options().write(true).open(&log).expect("it was just read");
        file.set_len(end_before(&bytes, from) as u64).expect("a file can be cut");
        self.restart();
    }

    fn launch(&mut self) -> bool {
        let bootstrap = self.bootstrap.clone();
        let own = self.own.as_mut().expect("a broker of our own");
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(&own.dir)
            .args(java(&own.dir))
            .arg("kafka.Kafka")
            .arg(own.dir.join("server.properties"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start sh: {e}"));
        let mut pid = String::new();
        let output = keeper.stdout.take().expect("the keeper's output is a pipe");
        BufReader::new(output).read_line(&mut pid).expect("the keeper says the process id");
        own.keeper = Some(keeper);
        eprintln!("Kafka broker at {bootstrap}, process {}", pid.trim());
        if self.answers_within(Duration::from_secs(90)) {
            return true;
        }
        let own = self.own.as_ref().expect("a broker of our own");
        eprintln!(
            "port {}: no answer. The broker's log ends:\n{}",
            own.port,
            tail(&own.dir.join("broker.log"))
        );
        false
    }

    fn answers_within(&self, limit: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < limit {
            let client: BaseConsumer =
                self.client().set("reconnect.backoff.max.ms", "200").create().expect("valid settings");
            if client.fetch_metadata(None, Duration::from_secs(3)).is_ok_and(|m| !m.brokers().is_empty()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        false
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("log_level", "2");
        config
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let Some(own) = &mut self.own else { return };
        if let Some(mut keeper) = own.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        } else {
            let _ = std::fs::remove_dir_all(&own.dir);
        }
    }
}

/// Start of the first batch at or after this offset. A batch starts with its first offset (8 bytes) and the number of
/// bytes after its length (4 bytes).
fn end_before(log: &[u8], offset: i64) -> usize {
    let mut at = 0;
    while let Some(header) = log.get(at..at + 12) {
        let base = i64::from_be_bytes(header[..8].try_into().expect("8 bytes"));
        let len = i32::from_be_bytes(header[8..].try_into().expect("4 bytes"));
        if base >= offset || len <= 0 {
            break;
        }
        at += 12 + len as usize;
    }
    at
}

fn properties(dir: &Path, port: u16, controller_port: u16) -> String {
    let data = dir.join("data").display().to_string();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.segment.delete.delay.ms=100
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=200
"
    )
}

fn java(dir: &Path) -> Vec<String> {
    let jars = broker_jars().join("*").display().to_string();
    let flags = [
        "java",
        "-Xmx512m",
        "-Xms128m",
        "-XX:+UseSerialGC",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
    ];
    let crash_log = format!("-XX:ErrorFile={}/hs_err.log", dir.display());
    flags[..1]
        .iter()
        .map(|f| f.to_string())
        .chain([crash_log])
        .chain(flags[1..].iter().map(|f| f.to_string()))
        .chain([jars])
        .collect()
}

fn format_storage(dir: &Path) {
    let arguments = java(dir);
    let output = Command::new(&arguments[0])
        .args(&arguments[1..])
        .args(["kafka.tools.StorageTool", "format", "--cluster-id", "VGlkZW1hcmtUZXN0cw", "--config"])
        .arg(dir.join("server.properties"))
        .output()
        .unwrap_or_else(|e| panic!("cannot run java: {e}; the tests need Java 17 or newer"));
    assert!(
        output.status.success(),
        "kafka.tools.StorageTool failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The broker's jars, fetched once by `tests/broker/fetch` into a cache outside of the clone.
fn broker_jars() -> &'static Path {
    static JARS: OnceLock<PathBuf> = OnceLock::new();
    JARS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("broker/fetch");
        let output = Command::new(&script)
            .stderr(Stdio::inherit())
            .output()
            .unwrap_or_else(|e| panic!("cannot run {}: {e}", script.display()));
        assert!(output.status.success(), "{} failed; the tests need Java 17 and Maven", script.display());
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    })
}

pub(crate) fn tail(path: &Path) -> String {
    let Ok(file) = File::open(path) else { return format!("(no {})", path.display()) };
    let lines: Vec<_> = BufReader::new(file).lines().map_while(Result::ok).collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
