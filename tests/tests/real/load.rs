//! Shared by tests of pipelines: an append table and a counters table over one topic, and queries of them.

use std::collections::BTreeMap;

use tests::eventually;
use tests::kafka::Broker;
use tests::scratch::Scratch;
use tests::server::Server;

/// A server for one test.
pub struct World {
    pub server: Server,
    pub scratch: Scratch,
}

/// A new database.
pub fn world(name: &str) -> World {
    let scratch = Scratch::new(name);
    World { server: Server::start(scratch.path()), scratch }
}

/// `CREATE PIPELINE` of an append table `events (id, name, amount)` over a topic of [`message`]s.
pub fn create_events(broker: &Broker, topic: &str) -> String {
    let address = format!("{}/{topic}", broker.bootstrap());
    format!(
        "CREATE TABLE events (id BIGINT NOT NULL, name TEXT NOT NULL, amount BIGINT NOT NULL, SHARD KEY (id));
         CREATE PIPELINE events AS LOAD DATA KAFKA '{address}' INTO TABLE events
           FORMAT JSON (id <- id, name <- name, amount <- amount)"
    )
}

/// `CREATE PIPELINE` of a counters table `accounts (name, balance)` over the same.
pub fn create_accounts(broker: &Broker, topic: &str) -> String {
    let address = format!("{}/{topic}", broker.bootstrap());
    format!(
        "CREATE TABLE accounts (name TEXT, balance BIGINT, PRIMARY KEY (name), SHARD KEY (name));
         CREATE PIPELINE accounts AS LOAD DATA KAFKA '{address}' INTO TABLE accounts
           FORMAT JSON (name <- name, balance <- amount)
           ON DUPLICATE KEY UPDATE balance = balance + VALUES(balance)"
    )
}

/// Runs statements one after the other.
pub fn run_all(server: &Server, statements: &str) {
    for statement in statements.split(';').filter(|s| !s.trim().is_empty()) {
        server.run(statement);
    }
}

/// The message with this number, which determines name and amount.
pub fn message(id: i64) -> String {
    let (name, amount) = account(id);
    format!(r#"{{"id":{id},"name":"{name}","amount":{amount}}}"#)
}

/// Name and amount in the message with this number. Some are negative.
pub fn account(id: i64) -> (String, i64) {
    (format!("account-{:03}", id * 7919 % 257), id * 31 % 1009 - 100)
}

/// The expected counters table after exactly these messages.
pub fn balances(ids: impl IntoIterator<Item = i64>) -> BTreeMap<String, i64> {
    let mut balances = BTreeMap::new();
    for (name, amount) in ids.into_iter().map(account) {
        *balances.entry(name).or_default() += amount;
    }
    balances
}

/// The contents of the counters table.
pub fn accounts(server: &Server) -> BTreeMap<String, i64> {
    let rows = server.rows("SELECT name, balance FROM accounts");
    let count = rows.len();
    let accounts: BTreeMap<_, _> =
        rows.into_iter().map(|r| (r[0].clone(), r[1].parse().expect("a number"))).collect();
    assert_eq!(accounts.len(), count, "a key appears once");
    accounts
}

/// Rows of `events` with their provenance: (partition, offset, id, name, amount), in order.
pub fn events(server: &Server) -> Vec<(i32, i64, i64, String, i64)> {
    let sql = "SELECT __partition, __offset, id, name, amount FROM events ORDER BY __partition, __offset, id";
    let parse = |r: Vec<String>| {
        let n = |i: usize| r[i].parse::<i64>().unwrap_or_else(|_| panic!("numbers, not {r:?}"));
        (n(0) as i32, n(1), n(2), r[3].clone(), n(4))
    };
    server.rows(sql).into_iter().map(parse).collect()
}

/// State of a pipeline in `information_schema.pipelines`.
pub fn state(server: &Server, pipeline: &str) -> String {
    server
        .value(&format!("SELECT state FROM information_schema.pipelines WHERE pipeline_name = '{pipeline}'"))
}

/// SQLSTATE and message of a pipeline's last error, if it has one: it stopped, or is retrying.
pub fn error(server: &Server, pipeline: &str) -> Option<(String, String)> {
    let sql = format!(
        "SELECT error_code, error_message FROM information_schema.pipelines
         WHERE pipeline_name = '{pipeline}' AND error_code IS NOT NULL"
    );
    server.rows(&sql).pop().map(|row| (row[0].clone(), row[1].clone()))
}

/// Waits until a pipeline is in a state.
pub fn wait_for_state(server: &Server, pipeline: &str, wanted: &str) {
    eventually(&format!("pipeline {pipeline} is {wanted}"), || {
        (state(server, pipeline) == wanted).then_some(())
    });
}

/// Next offset of each partition of a pipeline.
pub fn cursors(server: &Server, pipeline: &str) -> BTreeMap<i32, i64> {
    let sql = format!(
        "SELECT source_partition_id, cursor_offset FROM information_schema.pipelines_cursors
         WHERE pipeline_name = '{pipeline}' AND cursor_offset IS NOT NULL"
    );
    let number = |text: &str| text.parse::<i64>().unwrap_or_else(|_| panic!("a number, not {text}"));
    server.rows(&sql).iter().map(|r| (number(&r[0]) as i32, number(&r[1]))).collect()
}

/// Waits until a pipeline is at these offsets, and fails if it goes beyond.
pub fn wait_for_cursors(server: &Server, pipeline: &str, ends: &BTreeMap<i32, i64>) {
    eventually(&format!("pipeline {pipeline} stands at {ends:?}"), || {
        let now = cursors(server, pipeline);
        for (partition, next) in &now {
            assert!(next <= &ends[partition], "{pipeline} is at {now:?}, beyond {ends:?}");
        }
        (now == *ends).then_some(())
    });
}

/// Ends of a topic's partitions, control records included.
pub fn ends(broker: &Broker, topic: &str) -> BTreeMap<i32, i64> {
    broker.watermarks(topic).into_iter().map(|(partition, (_, end))| (partition, end)).collect()
}
