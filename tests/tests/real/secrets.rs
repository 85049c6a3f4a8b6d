//! Secrets of pipelines and allowed hosts, with the real binary: the files on disk, the shown texts, the errors.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tests::kafka::Broker;
use tests::scratch::Scratch;
use tests::server::Server;
use tests::{eventually, scratch};

use crate::load;

/// Values that only the file of secrets may contain.
const SECRETS: [&str; 4] = ["hunter2-created", "hunter2-altered", "hunter2-config", "hunter2-refused"];

#[test]
fn a_secret_is_in_the_file_of_secrets_and_nowhere_else() {
    let scratch = Scratch::new("secrets");
    let (record, data) = (scratch.path().join("record"), scratch.path().join("data"));
    let mut server = Server::start_with(scratch.path(), &["--record", record.to_str().expect("plain text")]);
    let address = format!("127.0.0.1:{}", scratch::free_port());
    let create = |options: &str| {
        format!(
            "CREATE PIPELINE p AS LOAD DATA KAFKA '{address}/t' {options} INTO TABLE t FORMAT JSON (a <- a)"
        )
    };
    server.run("CREATE TABLE t (a BIGINT)");
    server.run(&create(r#"CREDENTIALS '{"sasl.password": "hunter2-created"}'"#));
    assert_eq!(kept(&data), ["hunter2-created"]);
    server.run("START PIPELINE p");
    // The port is closed: the error names the reason, not the credentials.
    eventually("the source fails", || (!told(&server).contains('∅')).then_some(()));
    nowhere_else(&server, &data, &record);

    // The record of the ALTER survives a crash, and so does its secret; the previous secret is removed.
    server.run(r#"ALTER PIPELINE p SET CREDENTIALS '{"sasl.password": "hunter2-altered"}'"#);
    server.kill();
    server.restart();
    assert_eq!(kept(&data), ["hunter2-altered"]);
    nowhere_else(&server, &data, &record);

    // A property that is a secret by its name is one in CONFIG, too. A clause that does not name it leaves it
    // unchanged.
    server.run(r#"ALTER PIPELINE p SET CONFIG '{"sasl.oauthbearer.client.secret": "hunter2-config"}'"#);
    server.run("ALTER PIPELINE p SET BATCH_INTERVAL 7");
    assert_eq!(kept(&data), ["hunter2-altered", "hunter2-config"]);
    nowhere_else(&server, &data, &record);

    // A failed statement leaves no secret.
    let (code, message) = server.refused(&create(r#"CREDENTIALS '{"sasl.password": "hunter2-refused"}'"#));
    assert_eq!(code, "42710", "{message}");
    assert_eq!(kept(&data), ["hunter2-altered", "hunter2-config"]);
    assert!(server.stop().success());
    server.restart();
    nowhere_else(&server, &data, &record);
    server.run("DROP PIPELINE p");
    assert!(kept(&data).is_empty());
    nowhere_else(&server, &data, &record);
}

/// Secrets in the file of secrets, which only its owner may read.
fn kept(data: &Path) -> Vec<&'static str> {
    let path = data.join("secrets");
    let Ok(text) = std::fs::read_to_string(&path) else { return vec![] };
    let mode = path.metadata().expect("it was just read").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    SECRETS.into_iter().filter(|secret| text.contains(secret)).collect()
}

/// All texts of the server about its pipelines.
fn told(server: &Server) -> String {
    let pipelines = server.rows("SELECT config_json, error_message FROM information_schema.pipelines");
    let sessions = server.rows("SELECT query FROM pg_stat_activity");
    format!("{pipelines:?} {sessions:?} {:?}", server.rows("SHOW CREATE PIPELINE p EXTENDED"))
}

fn nowhere_else(server: &Server, data: &Path, record: &Path) {
    let logged = std::fs::read(data.with_file_name("server.log")).expect("the server logs");
    let trace = std::fs::read(server.trace_file()).unwrap_or_default();
    let told =
        server.connect().simple_query("SHOW CREATE PIPELINE p").map_or(String::new(), |_| told(server));
    let mut places = vec![
        ("the log of the server".into(), logged),
        ("its trace".into(), trace),
        ("SQL".into(), told.into_bytes()),
    ];
    for file in files(data).into_iter().chain(files(record)) {
        if file.file_name().is_some_and(|name| name != "secrets") {
            places.push((file.display().to_string(), std::fs::read(&file).expect("it was just listed")));
        }
    }
    for (place, bytes) in places {
        for secret in SECRETS {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {place}");
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory is there");
    entries.map(|entry| entry.expect("it can be listed").path()).collect()
}

#[test]
fn a_secret_in_a_file_is_shown_as_such_and_must_be_there() {
    let world = load::world("secret-file");
    let path = world.scratch.path().join("password");
    let server = &world.server;
    server.run("CREATE TABLE t (a BIGINT)");
    let create = format!(
        r#"CREATE PIPELINE p AS LOAD DATA KAFKA '127.0.0.1:1/t' CREDENTIALS '{{"sasl.password": {{"file": "{}"}}}}'
           INTO TABLE t FORMAT JSON (a <- a)"#,
        path.display()
    );
    let (code, message) = server.refused(&create);
    assert_eq!(code, "58P01", "{message}");
    for named in ["\"p\"", "\"sasl.password\"", path.to_str().expect("plain text")] {
        assert!(message.contains(named), "{message}");
    }
    std::fs::write(&path, "hunter2-created\n").expect("the scratch directory is ours");
    server.run(&create);
    let shown = server.rows("SHOW CREATE PIPELINE p")[0][1].clone();
    assert!(shown.contains(path.to_str().expect("plain text")) && !shown.contains("hunter2"), "{shown}");
    assert!(kept(&world.scratch.path().join("data")).is_empty());
    // The file is deleted while it is needed: the pipeline retries and reports it.
    std::fs::remove_file(&path).expect("it was just written");
    server.run("START PIPELINE p");
    let state = "SELECT state, error_code FROM information_schema.pipelines";
    eventually("the missing file is reported", || {
        (server.rows(state)[0] == ["Running", "58P01"]).then_some(())
    });
    std::fs::write(&path, "hunter2-altered").expect("the scratch directory is ours");
    eventually("it is read again", || (server.rows(state)[0] == ["Running", "08001"]).then_some(()));
}

#[test]
fn brokers_that_are_not_allowed_are_neither_taken_nor_connected_to() {
    let broker = Broker::shared();
    let topic = broker.topic("allowed", 2);
    let producer = broker.producer(&topic);
    (0..10).for_each(|id| producer.send((id % 2) as i32, load::message(id)));
    producer.flush();
    let scratch = Scratch::new("allowed");
    let mut server = Server::start_with(scratch.path(), &["--allowed-brokers", broker.bootstrap()]);
    load::run_all(&server, &load::create_events(broker, &topic));
    server.run("START PIPELINE events");
    load::wait_for_cursors(&server, "events", &load::ends(broker, &topic));
    for refused in [
        "CREATE PIPELINE q AS LOAD DATA KAFKA 'elsewhere:9092/t' INTO TABLE events
           FORMAT JSON (id <- id, name <- name, amount <- amount)",
        "ALTER PIPELINE events SET LOAD DATA KAFKA 'elsewhere:9092/t'",
    ] {
        let (code, message) = server.refused(refused);
        assert_eq!(code, "42501", "{message}");
        assert!(message.contains("elsewhere:9092") && message.contains("allowed_brokers"), "{message}");
    }

    // A pipeline whose host was allowed before stops with that error.
    assert!(server.stop().success());
    drop(server);
    let server = Server::start_with(scratch.path(), &["--allowed-brokers", "elsewhere"]);
    let state = "SELECT state, error_code, error_message FROM information_schema.pipelines";
    let row = eventually("the pipeline is held", || {
        let row = server.rows(state).remove(0);
        (row[0] == "Error").then_some(row)
    });
    assert_eq!(row[1], "42501");
    assert!(row[2].contains(broker.bootstrap()) && row[2].contains("allowed_brokers"), "{}", row[2]);
}

#[test]
fn a_broker_that_another_one_tells_of_must_be_allowed_too() {
    let broker = Broker::shared();
    let topic = broker.topic("advertised", 1);
    // By another name than the broker advertises.
    let (_, port) = broker.bootstrap().rsplit_once(':').expect("a port");
    let bootstrap = format!("localhost:{port}");
    assert_ne!(bootstrap, broker.bootstrap());
    let scratch = Scratch::new("advertised");
    let server = Server::start_with(scratch.path(), &["--allowed-brokers", &bootstrap]);
    load::run_all(&server, &load::create_events(broker, &topic).replace(broker.bootstrap(), &bootstrap));
    server.run("START PIPELINE events");
    let sql = "SELECT error_code, error_message FROM information_schema.pipelines WHERE error_code = '42501'";
    let row = eventually("the pipeline tells of it", || server.rows(sql).pop());
    assert!(row[1].contains(broker.bootstrap()) && row[1].contains("allowed_brokers"), "{}", row[1]);
}
