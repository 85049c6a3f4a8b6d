//! The cost of an idle server with a real broker: CPU of three running pipelines of 8 partitions at the end of their
//! topics, the latency of a single message, the time until a returned broker is noticed, and the memory kept after a
//! large query. Prints figures and asserts none: `cargo run -p tests --bin idle`, after a build of the server.
//!
//! Arguments: any of `cpu`, `fresh`, `back`, `memory`, `skew`; none is all of them. CONFIG of the pipelines can be given as `config={…}`.

use std::time::{Duration, Instant};

use tests::kafka::{Broker, Codec, Producer};
use tests::scratch::Scratch;
use tests::server::Server;

const PIPELINES: usize = 3;
const PARTITIONS: i32 = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let config = arguments.iter().find_map(|argument| argument.strip_prefix("config="));
    let wanted: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|a| !a.starts_with("config=")).collect();
    let wants = |what: &str| wanted.is_empty() || wanted.contains(&what);
    let mut broker = Broker::start();
    let scratch = Scratch::new("idle");
    let server = Server::start(scratch.path());
    let options = config.map_or(String::new(), |config| format!("CONFIG '{config}'"));
    let topics: Vec<String> = (0..PIPELINES).map(|n| pipeline(&server, &broker, n, &options)).collect();
    std::thread::sleep(Duration::from_secs(5));
    if wants("cpu") {
        cpu(&server);
    }
    if wants("fresh") {
        fresh(&server, &broker.producer(&topics[0]));
    }
    if wants("skew") {
        skew(&server, &broker, &options);
    }
    if wants("back") {
        back(&server, &mut broker, &topics[0]);
    }
    if wants("memory") {
        memory(&server);
    }
}

fn pipeline(server: &Server, broker: &Broker, n: usize, options: &str) -> String {
    let topic = broker.topic(&format!("idle-{n}"), PARTITIONS);
    let producer = broker.producer(&topic);
    (0..PARTITIONS).for_each(|partition| producer.send(partition, r#"{"a":1}"#));
    producer.flush();
    server.run(&format!("CREATE TABLE t{n} (a BIGINT)"));
    server.run(&format!(
        "CREATE PIPELINE p{n} AS LOAD DATA KAFKA '{}/{topic}' {options} INTO TABLE t{n} FORMAT JSON (a <- a)",
        broker.bootstrap()
    ));
    server.run(&format!("START PIPELINE p{n}"));
    wait_for_rows(server, n, i64::from(PARTITIONS));
    topic
}

fn wait_for_rows(server: &Server, n: usize, rows: i64) {
    let mut client = server.connect();
    let query = client.prepare(&format!("SELECT count(*) FROM t{n}")).expect("the table is there");
    let began = Instant::now();
    while client.query_one(&query, &[]).expect("the server answers").get::<_, i64>(0) < rows {
        assert!(began.elapsed() < Duration::from_secs(180), "still waiting for {rows} rows");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// CPU seconds that a process has taken.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("a state").split(' ').collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}

fn cpu(server: &Server) {
    for seconds in [30, 60] {
        let before = cpu_seconds(server.pid());
        std::thread::sleep(Duration::from_secs(seconds));
        let used = cpu_seconds(server.pid()) - before;
        println!("idle: {:.2} % of a core over {seconds} s", used / seconds as f64 * 100.0);
    }
}

/// Latency of single messages, from the broker's acknowledgement until a query sees them.
fn fresh(server: &Server, producer: &Producer) {
    let mut client = server.connect();
    let query = client.prepare("SELECT count(*) FROM t0").expect("the table is there");
    let mut count = || client.query_one(&query, &[]).expect("the server answers").get::<_, i64>(0);
    let (mut times, mut rows) = (vec![], count());
    for n in 0..200 {
        // An irregular interval.
        std::thread::sleep(Duration::from_millis(30 + n * 37 % 190));
        producer.send((n % PARTITIONS as u64) as i32, r#"{"a":2}"#);
        producer.flush();
        let sent = Instant::now();
        rows += 1;
        while count() < rows {
            std::thread::sleep(Duration::from_micros(500));
        }
        times.push(sent.elapsed());
    }
    times.sort();
    println!("fresh: p50 {:?}, p90 {:?}, p99 {:?}, max {:?}", times[100], times[180], times[198], times[199]);
}

/// All messages in one partition of eight: whether the seven idle ones slow it down.
fn skew(server: &Server, broker: &Broker, options: &str) {
    const MESSAGES: i64 = 3_000_000;
    let topic = broker.topic("skew", PARTITIONS);
    let producer = broker.compressing_producer(&topic, Codec::Lz4);
    let text = "x".repeat(120);
    (0..MESSAGES).for_each(|n| producer.send(3, format!(r#"{{"a":{n},"text":"{text}"}}"#)));
    producer.flush();
    server.run("CREATE TABLE t9 (a BIGINT, text TEXT)");
    server.run(&format!(
        "CREATE PIPELINE p9 AS LOAD DATA KAFKA '{}/{topic}' {options} INTO TABLE t9 FORMAT JSON (a <- a, text <- text)",
        broker.bootstrap()
    ));
    let began = Instant::now();
    server.run("START PIPELINE p9");
    wait_for_rows(server, 9, MESSAGES);
    println!(
        "skew: {:.0} rows/s from one partition of {PARTITIONS}",
        MESSAGES as f64 / began.elapsed().as_secs_f64()
    );
}

/// From the broker's first answer after an outage until a message sent then is visible.
fn back(server: &Server, broker: &mut Broker, topic: &str) {
    for absent in [3, 18] {
        let rows = server.number("SELECT count(*) FROM t0");
        broker.kill();
        std::thread::sleep(Duration::from_secs(absent));
        broker.restart();
        let began = Instant::now();
        let producer = broker.producer(topic);
        producer.send(0, r#"{"a":3}"#);
        producer.flush();
        let sent = began.elapsed();
        wait_for_rows(server, 0, rows + 1);
        println!("back: {:?} after its first answer (sent after {sent:?}), {absent} s away", began.elapsed());
    }
}

/// Resident memory in MiB.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

fn memory(server: &Server) {
    let before = resident(server);
    for query in [
        "SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY repeat('x', 200) || g DESC) AS n FROM generate_series(1, 1500000) g) q",
        "SELECT count(*) FROM (SELECT g % 1000003 AS k, count(*) AS n, min('key ' || g) AS t FROM generate_series(1, 2000000) g GROUP BY k) q \
         WHERE n > 0 AND t <> ''",
    ] {
        let peak = std::thread::scope(|scope| {
            let run = scope.spawn(|| server.connect().batch_execute(query));
            let mut peak = 0;
            while !run.is_finished() {
                peak = peak.max(resident(server));
                std::thread::sleep(Duration::from_millis(20));
            }
            let outcome = run.join().expect("no panic").map_err(|error| tests::server::said(&error));
            println!("memory: {outcome:?} of {query}");
            peak
        });
        let mut after = vec![];
        for seconds in [1, 4, 10] {
            std::thread::sleep(Duration::from_secs(seconds));
            after.push(resident(server));
        }
        println!("memory: {before} MiB before, {peak} at most, {after:?} after 1, 5 and 15 s");
    }
}
