//! Data directories that earlier versions wrote. `compatibility/VERSION/data` is a directory of each format version, made
//! by [`write`]; the present server opens a copy of each and gives the same [`ANSWERS`].
//!
//! A new format version gets a new directory: `TIDEMARK_FIXTURE=write tests/run -p tests --test real compatibility` writes
//! the one of the present version if it is missing. Existing ones are never written again.

use std::fs;
use std::path::{Path, PathBuf};

use kernel::record::{FORMAT_VERSION, FORMAT_VERSIONS_READ};
use tests::kafka::Broker;
use tests::scratch::Scratch;
use tests::server::{Server, refused_to_serve};

use crate::load;

/// The least length: a directory has a few of them.
const LOG_FILE_BYTES: &str = "1048576";

/// Queries and their answers on every directory; a row is a line, and its columns are separated by `|`.
const ANSWERS: [(&str, &str); 8] = [
    ("SELECT count(*), sum(id), sum(amount) FROM events", "400|79800|158505"),
    (
        "SELECT count(*), sum(balance), min(name), max(name) FROM accounts",
        "257|158505|account-000|account-256",
    ),
    (
        "SELECT __run, __partition, __offset, id, name FROM events WHERE id IN (0, 399) ORDER BY id",
        "1|0|0|0|account-000\n1|1|199|399|account-123",
    ),
    (
        "SELECT * FROM everything ORDER BY k",
        "1|t|-1|70000|0.5|-1.25|-123.45|grün|{\"a\": 1}|00000000-0000-0000-0000-000000000001|\\x00ff|1969-12-31|\
         1969-12-31 23:59:59.999999|2024-02-29 12:00:00+00|x\n2|∅|∅|∅|∅|∅|∅|default|∅|∅|∅|∅|∅|∅|∅",
    ),
    (
        "SELECT pipeline_name, state, error_code FROM information_schema.pipelines ORDER BY 1",
        "accounts|Stopped|∅\nevents|Stopped|∅",
    ),
    (
        "SELECT pipeline_name, source_partition_id, cursor_offset FROM information_schema.pipelines_cursors ORDER BY 1, 2",
        "accounts|0|201\naccounts|1|200\nevents|0|201\nevents|1|200",
    ),
    (
        "SELECT pipeline_name, error_code, source_partition, source_offset, message FROM \
         information_schema.pipelines_errors ORDER BY 1",
        "accounts|22P02|0|200|\\x6e6f7420616e206f626a656374\nevents|22P02|0|200|\\x6e6f7420616e206f626a656374",
    ),
    (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
        "accounts\nevents\neverything",
    ),
];

/// Makes a database with every kind of record: definitions, batches of two pipelines, dead letters, clients' rows, changes
/// and deletions, a table that is gone, several terms, one of which was killed.
fn write(directory: &Path) {
    let broker = Broker::shared();
    let topic = broker.topic("compatibility", 2);
    let mut server = Server::start_with(directory, &["--log-file-bytes", LOG_FILE_BYTES]);
    load::run_all(&server, &load::create_events(broker, &topic));
    load::run_all(&server, &load::create_accounts(broker, &topic));
    load::run_all(
        &server,
        "CREATE TABLE gone (id bigint); INSERT INTO gone VALUES (1); TRUNCATE gone; DROP TABLE gone",
    );
    server.run(
        "CREATE TABLE everything (k int PRIMARY KEY, b boolean, s smallint, i bigint, r real, d double precision, \
         n numeric(10, 2), t text DEFAULT 'default', j jsonb, u uuid, y bytea, a date, w timestamp, z timestamptz, v varchar(3))",
    );
    server.run("START PIPELINE events");
    server.run("START PIPELINE accounts");
    let producer = broker.producer(&topic);
    (0..200).for_each(|id| producer.send((id % 2) as i32, load::message(id)));
    producer.flush();
    wait(&server, broker, &topic);
    server.kill();
    server.restart();
    (200..400).for_each(|id| producer.send((id % 2) as i32, load::message(id)));
    producer.send(0, "not an object");
    producer.flush();
    wait(&server, broker, &topic);
    server.run(
        "INSERT INTO everything VALUES (1, true, -1, 70000, 0.5, -1.25, -123.45, 'grün', '{\"a\":1}', \
         '00000000-0000-0000-0000-000000000001', '\\x00ff', '1969-12-31', '1969-12-31 23:59:59.999999', \
         '2024-02-29 12:00:00+00', 'x')",
    );
    server.run("INSERT INTO everything (k, t) VALUES (2, 'changed'), (3, 'deleted')");
    server.run("UPDATE everything SET t = DEFAULT WHERE k = 2");
    server.run("DELETE FROM everything WHERE k = 3");
    server.run("STOP PIPELINE events");
    server.run("STOP PIPELINE accounts");
    assert!(server.stop().success());
}

fn wait(server: &Server, broker: &Broker, topic: &str) {
    let ends = load::ends(broker, topic);
    load::wait_for_cursors(server, "events", &ends);
    load::wait_for_cursors(server, "accounts", &ends);
}

fn check(server: &Server, what: &str) {
    for (query, answer) in ANSWERS {
        let rows: Vec<String> = server.rows(query).iter().map(|row| row.join("|")).collect();
        assert_eq!(rows.join("\n"), answer, "{what}: {query}");
    }
}

fn fixture(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/real/compatibility")
        .join(version.to_string())
        .join("data")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    let entries = fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a file can be copied");
    }
}

#[test]
fn this_version_answers_the_same_on_a_directory_of_its_own() {
    let scratch = Scratch::new("compatibility-own");
    write(scratch.path());
    let server = Server::start(scratch.path());
    check(&server, "its own directory");
    drop(server);
    let ours = fixture(FORMAT_VERSION);
    if std::env::var("TIDEMARK_FIXTURE").is_ok_and(|value| value == "write") && !ours.exists() {
        let made = Scratch::new("compatibility-fixture");
        write(made.path());
        copy(&made.path().join("data"), &ours);
    }
}

#[test]
fn directories_of_all_versions_are_opened_and_go_on() {
    for version in FORMAT_VERSIONS_READ {
        let scratch = Scratch::new(&format!("compatibility-{version}"));
        copy(&fixture(version), &scratch.path().join("data"));
        let mut server = Server::start(scratch.path());
        check(&server, &format!("a directory of format version {version}"));
        server.run("INSERT INTO everything (k) VALUES (4)");
        server.kill();
        server.restart();
        assert_eq!(server.value("SELECT count(*) FROM everything"), "3", "it goes on");
    }
}

#[test]
fn a_directory_of_a_newer_version_is_refused_and_not_changed() {
    let scratch = Scratch::new("compatibility-newer");
    let data = scratch.path().join("data");
    copy(&fixture(FORMAT_VERSION), &data);
    let log_file = data.join("log-0000000001.tml");
    let mut bytes = fs::read(&log_file).expect("a log file");
    bytes[8..10].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    fs::write(&log_file, &bytes).expect("the copy can be changed");
    let (status, said) = refused_to_serve(scratch.path());
    assert!(!status.success());
    let both = format!(
        "format version {}, this program reads versions {} to {FORMAT_VERSION}; nothing was changed; start",
        FORMAT_VERSION + 1,
        FORMAT_VERSIONS_READ.start()
    );
    assert!(said.contains(&both), "{said}");
    assert_eq!(fs::read(&log_file).expect("a log file"), bytes);
}
