//! Sessions from a client's view: several statements in one text, settings and their scope, startup parameters, and
//! cancellation during planning.

mod support;

use std::time::{Duration, Instant};

use support::server::{Server, fails, one, simple};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

const COUNTS: &str = "CREATE TABLE counts (k INT, n INT, PRIMARY KEY (k))";

async fn prepared() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client().await;
    simple(&client, COUNTS).await.unwrap();
    (server, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statements_of_one_text_are_one_transaction() {
    let (server, client) = prepared().await;
    let insert = "INSERT INTO counts VALUES (1, 1); INSERT INTO counts VALUES (2, 2)";
    fails(&client, &format!("{insert}; SELECT 1/0"), &SqlState::DIVISION_BY_ZERO).await;
    assert_eq!(one(&client, "SELECT count(*) FROM counts").await, "0");
    fails(&client, &format!("{insert}; INSERT INTO counts VALUES (2, 3)"), &SqlState::UNIQUE_VIOLATION).await;
    assert_eq!(one(&client, "SELECT count(*) FROM counts").await, "0");
    // A statement sees the writes of those before it, and all of them are there afterwards.
    assert_eq!(one(&client, &format!("{insert}; SELECT sum(n) FROM counts")).await, "3");
    assert_eq!(one(&client, "SELECT count(*) FROM counts").await, "2");
    // Statements before a COMMIT are committed; those after it are a new transaction.
    let parts = "INSERT INTO counts VALUES (3, 3); COMMIT; INSERT INTO counts VALUES (4, 4); SELECT 1/0";
    fails(&client, parts, &SqlState::DIVISION_BY_ZERO).await;
    assert_eq!(one(&client, "SELECT max(k) FROM counts").await, "3");
    // A BEGIN includes the statements before it, and its block continues after the text.
    simple(&client, "INSERT INTO counts VALUES (5, 5); BEGIN; INSERT INTO counts VALUES (6, 6)")
        .await
        .unwrap();
    simple(&client, "ROLLBACK").await.unwrap();
    assert_eq!(one(&client, "SELECT max(k) FROM counts").await, "3");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_undone_stands_alone_or_last() {
    let (server, client) = prepared().await;
    simple(&client, "INSERT INTO counts VALUES (1, 1)").await.unwrap();
    for text in [
        "INSERT INTO counts VALUES (2, 2); UPDATE counts SET n = 9",
        "UPDATE counts SET n = 9; SELECT 1",
        "UPDATE counts SET n = 9; UPDATE counts SET n = 10",
        "DELETE FROM counts; INSERT INTO counts VALUES (3, 3)",
        "CREATE TABLE a (x INT); CREATE TABLE b (x INT)",
        "DROP TABLE counts; SELECT 1/0",
        "SELECT 1; TRUNCATE counts; SELECT 1",
    ] {
        fails(&client, text, &SqlState::FEATURE_NOT_SUPPORTED).await;
        assert_eq!(one(&client, "SELECT sum(n), count(*) FROM counts").await, "1|1", "{text}");
    }
    simple(&client, "SET application_name = 'a'; SELECT 1; UPDATE counts SET n = 2").await.unwrap();
    simple(&client, "UPDATE counts SET n = n + 1; COMMIT; UPDATE counts SET n = n + 1").await.unwrap();
    assert_eq!(one(&client, "SELECT sum(n) FROM counts").await, "4");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_not_locked_and_nobody_is_told_so() {
    let (server, client) = prepared().await;
    for lock in ["UPDATE", "SHARE", "UPDATE NOWAIT", "UPDATE OF counts SKIP LOCKED"] {
        fails(&client, &format!("SELECT * FROM counts FOR {lock}"), &SqlState::FEATURE_NOT_SUPPORTED).await;
    }
    let inner = "SELECT * FROM (SELECT * FROM counts FOR UPDATE) q";
    fails(&client, inner, &SqlState::FEATURE_NOT_SUPPORTED).await;
    assert_eq!(
        client.prepare("SELECT n FROM counts FOR UPDATE").await.unwrap_err().code(),
        Some(&SqlState::FEATURE_NOT_SUPPORTED)
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_conflict_changes_a_row_once() {
    let (server, client) = prepared().await;
    let update = "ON CONFLICT (k) DO UPDATE SET n = counts.n + excluded.n";
    for rows in [
        "VALUES (1, 1), (1, 2)",
        "VALUES (2, 1), (1, 1), (3, 1), (1, 1)",
        "SELECT x % 3, 1 FROM generate_series(1, 9) g(x)",
    ] {
        let twice = format!("INSERT INTO counts {rows} {update}");
        fails(&client, &twice, &SqlState::CARDINALITY_VIOLATION).await;
    }
    assert_eq!(one(&client, "SELECT count(*) FROM counts").await, "0");
    simple(&client, &format!("INSERT INTO counts VALUES (1, 1), (2, 1) {update}")).await.unwrap();
    simple(&client, &format!("INSERT INTO counts VALUES (1, 1), (2, 1) {update}")).await.unwrap();
    simple(&client, "INSERT INTO counts VALUES (1, 9), (1, 9) ON CONFLICT DO NOTHING").await.unwrap();
    simple(&client, "INSERT INTO counts VALUES (1, 1), (1, 1) ON DUPLICATE KEY UPDATE n = n + VALUES(n)")
        .await
        .unwrap();
    assert_eq!(one(&client, "SELECT sum(n) FROM counts").await, "6");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_end_with_their_block() {
    let (server, client) = prepared().await;
    let show = "SHOW application_name";
    simple(&client, "SET application_name = 'session'").await.unwrap();
    simple(&client, "BEGIN").await.unwrap();
    simple(&client, "SET LOCAL application_name = 'block'").await.unwrap();
    assert_eq!(one(&client, show).await, "block");
    simple(&client, "COMMIT").await.unwrap();
    assert_eq!(one(&client, show).await, "session");
    // Settings of a block end with it; without a block, SET LOCAL does nothing.
    simple(&client, "BEGIN").await.unwrap();
    simple(&client, "SET application_name = 'lost'").await.unwrap();
    simple(&client, "ROLLBACK").await.unwrap();
    assert_eq!(one(&client, show).await, "session");
    simple(&client, "BEGIN").await.unwrap();
    simple(&client, "SET application_name = 'lost'").await.unwrap();
    fails(&client, "SELECT 1/0", &SqlState::DIVISION_BY_ZERO).await;
    simple(&client, "ROLLBACK").await.unwrap();
    assert_eq!(one(&client, show).await, "session");
    simple(&client, "SET LOCAL application_name = 'nowhere'").await.unwrap();
    assert_eq!(one(&client, show).await, "session");
    simple(&client, "SET LOCAL statement_timeout = 1; SET application_name = 'text'").await.unwrap();
    assert_eq!(one(&client, "SHOW statement_timeout").await, "0");
    assert_eq!(one(&client, show).await, "text");
    server.stop().await;
}

/// Connects with this connection string; returns the SQLSTATE of the error.
async fn refused(server: &Server, text: &str) -> Option<String> {
    let text = format!("host=127.0.0.1 port={} user=tester {text}", server.address.port());
    let error = tokio_postgres::connect(&text, NoTls).await.err()?;
    Some(error.code().map_or_else(String::new, |code| code.code().to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_begins_with_what_it_asks_for_or_not_at_all() {
    let server = Server::start().await;
    let text = format!(
        "host=127.0.0.1 port={} user=tester dbname=tidemark application_name=me options='-c statement_timeout=7s --DateStyle=ISO'",
        server.address.port()
    );
    let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(one(&client, "SHOW application_name").await, "me");
    assert_eq!(one(&client, "SHOW statement_timeout").await, "7s");
    simple(&client, "SET statement_timeout = 0").await.unwrap();
    simple(&client, "RESET statement_timeout").await.unwrap();
    assert_eq!(one(&client, "SHOW statement_timeout").await, "7s");
    for (text, code) in [
        ("dbname=another", "3D000"),
        ("", "3D000"),
        ("dbname=tidemark options='-c nothing=1'", "42704"),
        ("dbname=tidemark options='-c TimeZone=Europe/Berlin'", "22023"),
        ("dbname=tidemark options='-c statement_timeout=soon'", "22023"),
        ("dbname=tidemark options='nonsense'", "42601"),
    ] {
        assert_eq!(refused(&server, text).await.as_deref(), Some(code), "{text}");
    }
    server.stop().await;
}

/// A timeout and a disconnected client end planning, which cannot be interrupted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planning_is_given_up_when_its_time_is_over() {
    let (server, client) = prepared().await;
    simple(&client, "SET statement_timeout = 200").await.unwrap();
    let joins: Vec<String> =
        (1..200).map(|i| format!("JOIN counts t{i} ON t{i}.k = t0.n + t{i}.n")).collect();
    let slow = format!("SELECT count(*) FROM counts t0 {}", joins.join(" "));
    let began = Instant::now();
    fails(&client, &slow, &SqlState::QUERY_CANCELED).await;
    // A generous limit: without cancellation it takes minutes.
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    simple(&client, "SET statement_timeout = 0").await.unwrap();
    assert_eq!(one(&client, "SELECT 1").await, "1");
    server.stop().await;
}
