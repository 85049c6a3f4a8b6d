//! Failures of the source: brokers that are missing, die or return, topics that never existed, were deleted, or were
//! recreated.

use std::collections::BTreeMap;

use tests::eventually;
use tests::kafka::Broker;
use tests::server::Server;

use crate::load;

/// Waits until the pipeline has stopped with an error, and returns SQLSTATE and message.
fn failure(server: &Server) -> (String, String) {
    load::wait_for_state(server, "events", "Error");
    let told = load::error(server, "events").expect("a pipeline in state Error says why");
    // The errors table contains it too, also after the pipeline was started again.
    let logged = server.rows(
        "SELECT error_code, error_message FROM information_schema.pipelines_errors
         WHERE pipeline_name = 'events' AND source_offset IS NULL",
    );
    assert!(logged.iter().any(|row| row[0] == told.0 && row[1] == told.1), "{told:?} is not in {logged:?}");
    told
}

fn send(broker: &Broker, topic: &str, ids: std::ops::Range<i64>) {
    let producer = broker.producer(topic);
    ids.for_each(|id| producer.send(0, load::message(id)));
    producer.flush();
}

#[test]
fn a_broker_that_dies_and_comes_back_costs_nothing() {
    let mut broker = Broker::start();
    let topic = broker.topic("mortal", 1);
    let world = load::world("mortal");
    let server = &world.server;
    load::run_all(server, &load::create_events(&broker, &topic));
    load::run_all(server, &load::create_accounts(&broker, &topic));
    server.run("START PIPELINE events");
    server.run("START PIPELINE accounts");
    let mut sent = 0;
    for _ in 0..3 {
        send(&broker, &topic, sent..sent + 300);
        sent += 300;
        // During loading: the first messages are loaded, the last may not be.
        eventually("some messages are loaded", || {
            (load::cursors(server, "events").get(&0).copied().unwrap_or(0) > sent - 300).then_some(())
        });
        broker.kill();
        // The server answers while its source is unreachable.
        assert_eq!(server.value("SELECT 1 + 1"), "2");
        broker.restart();
    }
    send(&broker, &topic, sent..sent + 10);
    sent += 10;
    let ends = BTreeMap::from([(0, sent)]);
    load::wait_for_cursors(server, "events", &ends);
    load::wait_for_cursors(server, "accounts", &ends);
    let ids: Vec<i64> = load::events(server).iter().map(|row| row.2).collect();
    assert_eq!(ids, (0..sent).collect::<Vec<_>>());
    assert_eq!(load::accounts(server), load::balances(0..sent));
}

#[test]
fn an_unknown_topic_is_named_and_start_tries_again() {
    let broker = Broker::shared();
    let topic = tests::scratch::unique("unknown");
    let world = load::world("unknown");
    let server = &world.server;
    load::run_all(server, &load::create_events(broker, &topic));
    // START may wait for the first answer or not; the state shows the failure in any case.
    let _ = server.connect().batch_execute("START PIPELINE events");
    let (_, message) = failure(server);
    assert!(message.contains(&topic), "{message}");
    broker.create_topic(&topic, 1, &[]);
    send(broker, &topic, 0..10);
    server.run("START PIPELINE events");
    load::wait_for_cursors(server, "events", &BTreeMap::from([(0, 10)]));
}

#[test]
fn a_dead_broker_is_tried_again_and_can_be_stopped() {
    let world = load::world("dead");
    let server = &world.server;
    let address = format!("127.0.0.1:{}", tests::scratch::free_port());
    server.run("CREATE TABLE events (id BIGINT NOT NULL, SHARD KEY (id))");
    server.run(&format!(
        "CREATE PIPELINE events AS LOAD DATA KAFKA '{address}/topic' INTO TABLE events FORMAT JSON (id <- id)"
    ));
    let _ = server.connect().batch_execute("START PIPELINE events");
    // A retry can help: the pipeline keeps its state, and other clients continue.
    server.run("INSERT INTO events VALUES (1)");
    assert_eq!(server.number("SELECT count(*) FROM events"), 1);
    let (code, message) = eventually("the error is shown", || load::error(server, "events"));
    assert_eq!(code, "08001", "{message}");
    assert!(message.contains(&address), "{message}");
    assert_eq!(load::state(server, "events"), "Running");
    server.run("STOP PIPELINE events");
    assert_eq!(load::state(server, "events"), "Stopped");
    server.run("DROP PIPELINE events");
    server.run("DROP TABLE events");
}

#[test]
fn a_topic_that_was_deleted_and_created_again_stops_the_pipeline() {
    let broker = Broker::shared();
    for running in [true, false] {
        let topic = broker.topic("recreated", 1);
        send(broker, &topic, 0..100);
        let world = load::world("recreated");
        let server = &world.server;
        load::run_all(server, &load::create_events(broker, &topic));
        server.run("START PIPELINE events");
        load::wait_for_cursors(server, "events", &BTreeMap::from([(0, 100)]));
        if !running {
            server.run("STOP PIPELINE events");
        }
        broker.delete_topic(&topic);
        broker.create_topic(&topic, 1, &[]);
        // More messages than before, so that the old offset exists again with another message.
        send(broker, &topic, 1000..1200);
        if !running {
            let _ = server.connect().batch_execute("START PIPELINE events");
        }
        let (code, message) = failure(server);
        // A running pipeline may observe the interval without a topic.
        if code != "TM002" {
            assert!(running && code == "42704", "{code}: {message}");
            let _ = server.connect().batch_execute("START PIPELINE events");
            eventually("the new topic is seen to be another one", || {
                (failure(server).0 == "TM002").then_some(())
            });
        }
        // No message of the new topic was taken for one of the old topic.
        let ids: Vec<i64> = load::events(server).iter().map(|row| row.2).collect();
        assert_eq!(ids, (0..100).collect::<Vec<_>>());
        // The remedy.
        server.run("ALTER PIPELINE events SET OFFSETS EARLIEST");
        server.run("START PIPELINE events");
        load::wait_for_cursors(server, "events", &BTreeMap::from([(0, 200)]));
        assert_eq!(server.number("SELECT count(*) FROM events"), 300);
    }
}

#[test]
fn messages_that_retention_removed_stop_the_pipeline_and_the_range_is_named() {
    let broker = Broker::shared();
    let topic = broker.topic("retention", 1);
    send(broker, &topic, 0..100);
    let world = load::world("retention");
    let server = &world.server;
    load::run_all(server, &load::create_events(broker, &topic));
    server.run("START PIPELINE events");
    load::wait_for_cursors(server, "events", &BTreeMap::from([(0, 100)]));
    server.run("STOP PIPELINE events");
    send(broker, &topic, 100..200);
    broker.delete_records(&topic, 0, 150);
    let _ = server.connect().batch_execute("START PIPELINE events");
    let (code, message) = failure(server);
    assert_eq!(code, "TM001", "{message}");
    assert!(message.contains("100") && message.contains("150"), "the lost range is named: {message}");
    assert_eq!(server.number("SELECT count(*) FROM events"), 100);
    server.run("ALTER PIPELINE events SET OFFSETS '{\"0\": 150}'");
    server.run("START PIPELINE events");
    load::wait_for_cursors(server, "events", &BTreeMap::from([(0, 200)]));
    assert_eq!(server.number("SELECT count(*) FROM events"), 150);
}
