//! Pipelines from a real broker into the real server without failures: formats of batches, transactions, offsets.

use std::collections::BTreeMap;

use tests::eventually;
use tests::kafka::{Broker, Codec};

use crate::load;

#[test]
fn batches_of_every_codec_are_loaded() {
    let broker = Broker::shared();
    let topic = broker.topic("codecs", 2);
    let mut sent = 0;
    for _ in 0..2 {
        for codec in Codec::ALL {
            let producer = broker.compressing_producer(&topic, codec);
            for _ in 0..400 {
                producer.send((sent % 2) as i32, load::message(sent));
                sent += 1;
            }
            producer.flush();
        }
    }
    let world = load::world("codecs");
    load::run_all(&world.server, &load::create_events(broker, &topic));
    world.server.run("START PIPELINE events");
    load::wait_for_cursors(&world.server, "events", &load::ends(broker, &topic));
    let ids: Vec<i64> = load::events(&world.server).iter().map(|row| row.2).collect();
    assert_eq!(ids.len() as i64, sent);
    assert_eq!(ids.iter().copied().collect::<std::collections::BTreeSet<_>>(), (0..sent).collect());
}

#[test]
fn only_committed_transactions_count_and_lag_reaches_zero_behind_an_aborted_one() {
    let broker = Broker::shared();
    let topic = broker.topic("transactional", 2);
    let world = load::world("transactional");
    load::run_all(&world.server, &load::create_events(broker, &topic));
    load::run_all(&world.server, &load::create_accounts(broker, &topic));
    world.server.run("START PIPELINE events");
    world.server.run("START PIPELINE accounts");
    let producer = broker.transactional_producer(&topic);
    let (mut sent, mut committed) = (0, Vec::new());
    for round in 0..12 {
        producer.begin();
        for _ in 0..100 {
            producer.send((sent % 2) as i32, load::message(sent));
            if round % 3 == 1 {
                committed.push(sent);
            }
            sent += 1;
        }
        if round % 3 == 1 { producer.commit() } else { producer.abort() }
    }
    // The last transaction was aborted: after the last message there are only invisible records.
    let ends = load::ends(broker, &topic);
    load::wait_for_cursors(&world.server, "events", &ends);
    load::wait_for_cursors(&world.server, "accounts", &ends);
    let sql = "SELECT count(*) FROM information_schema.pipelines_cursors WHERE lag = 0";
    assert_eq!(world.server.number(sql), 4, "two partitions of two pipelines");
    let mut ids: Vec<i64> = load::events(&world.server).iter().map(|row| row.2).collect();
    ids.sort_unstable();
    assert_eq!(ids, committed);
    assert_eq!(load::accounts(&world.server), load::balances(committed));
}

#[test]
fn what_an_open_transaction_holds_back_is_lag_and_shown_apart() {
    let broker = Broker::shared();
    let topic = broker.topic("held-back", 1);
    let producer = broker.producer(&topic);
    (0..5).for_each(|id| producer.send(0, load::message(id)));
    producer.flush();
    let world = load::world("held-back");
    let server = &world.server;
    load::run_all(server, &load::create_events(broker, &topic));
    server.run("START PIPELINE events");
    load::wait_for_cursors(server, "events", &BTreeMap::from([(0, 5)]));
    let lag = || {
        server
            .rows("SELECT latest_offset, lag, held_back FROM information_schema.pipelines_cursors")
            .remove(0)
    };
    eventually("there is no lag", || (lag() == ["5", "0", "0"]).then_some(()));

    let open = broker.transactional_producer(&topic);
    open.begin();
    (5..12).for_each(|id| open.send(0, load::message(id)));
    open.flush();
    eventually("the lag of held-back messages is shown", || (lag() == ["12", "7", "7"]).then_some(()));
    // Messages after it wait, too.
    producer.send(0, load::message(12));
    producer.flush();
    eventually("the lag of the messages behind them is shown", || (lag() == ["13", "8", "8"]).then_some(()));
    assert_eq!(server.number("SELECT count(*) FROM events"), 5);
    open.commit();
    load::wait_for_cursors(server, "events", &load::ends(broker, &topic));
    eventually("nothing is held back", || (lag() == ["14", "0", "0"]).then_some(()));
    assert_eq!(server.number("SELECT count(*) FROM events"), 13);
}

#[test]
fn offsets_are_set_back_and_forth() {
    let broker = Broker::shared();
    let topic = broker.topic("offsets", 2);
    let producer = broker.producer(&topic);
    (0..200).for_each(|id| producer.send((id % 2) as i32, load::message(id)));
    producer.flush();
    let ends = load::ends(broker, &topic);
    let world = load::world("offsets");
    let server = &world.server;
    let count = |expected: i64| assert_eq!(server.number("SELECT count(*) FROM events"), expected);
    load::run_all(server, &load::create_events(broker, &topic));

    // Forward, before the first start: the messages before it are never read.
    server.run("ALTER PIPELINE events SET OFFSETS '{\"0\": 90, \"1\": 100}'");
    server.run("START PIPELINE events");
    load::wait_for_cursors(server, "events", &ends);
    count(10);
    assert_eq!(server.number("SELECT min(__offset) FROM events"), 90);

    // Only the offsets of a stopped pipeline can be set.
    let (code, message) = server.refused("ALTER PIPELINE events SET OFFSETS EARLIEST");
    assert_eq!(code, "55000", "{message}");

    // Back to the beginning: a new generation, so every message counts again.
    server.run("STOP PIPELINE events");
    server.run("ALTER PIPELINE events SET OFFSETS EARLIEST");
    server.run("START PIPELINE events");
    load::wait_for_cursors(server, "events", &ends);
    count(210);
    let runs = server.rows("SELECT __run, count(*) FROM events GROUP BY __run ORDER BY __run");
    assert_eq!(runs.iter().map(|r| r[1].as_str()).collect::<Vec<_>>(), ["10", "200"]);

    // Back for one partition; the other is unchanged.
    server.run("STOP PIPELINE events");
    server.run("ALTER PIPELINE events SET OFFSETS '{\"1\": 95}'");
    server.run("START PIPELINE events");
    load::wait_for_cursors(server, "events", &ends);
    count(215);

    // To the end: only later messages are read.
    server.run("STOP PIPELINE events");
    (200..220).for_each(|id| producer.send((id % 2) as i32, load::message(id)));
    producer.flush();
    server.run("ALTER PIPELINE events SET OFFSETS LATEST");
    server.run("START PIPELINE events");
    load::wait_for_cursors(server, "events", &load::ends(broker, &topic));
    count(215);
    producer.send(0, load::message(220));
    producer.flush();
    load::wait_for_cursors(server, "events", &load::ends(broker, &topic));
    count(216);
}

#[test]
fn cursors_survive_a_clean_restart_and_a_running_pipeline_runs_on() {
    let broker = Broker::shared();
    let topic = broker.topic("restart", 1);
    let producer = broker.producer(&topic);
    let send = |from: i64, to: i64| {
        (from..to).for_each(|id| producer.send(0, load::message(id)));
        producer.flush();
    };
    send(0, 500);
    let mut world = load::world("restart");
    load::run_all(&world.server, &load::create_events(broker, &topic));
    world.server.run("START PIPELINE events");
    load::wait_for_cursors(&world.server, "events", &BTreeMap::from([(0, 500)]));
    let status = world.server.stop();
    assert!(status.success(), "a clean stop: {status}");
    send(500, 700);
    world.server.restart();
    load::wait_for_cursors(&world.server, "events", &BTreeMap::from([(0, 700)]));
    let ids: Vec<i64> = load::events(&world.server).iter().map(|row| row.2).collect();
    assert_eq!(ids, (0..700).collect::<Vec<_>>());
}

#[test]
fn malformed_messages_are_set_aside_and_the_rest_goes_on() {
    let broker = Broker::shared();
    let topic = broker.topic("malformed", 1);
    let producer = broker.producer(&topic);
    let malformed = ["", "{", "not json", r#"{"id":"x","name":"n","amount":1}"#, r#"{"id":1}"#, "\u{fffd}{}"];
    let mut good = 0;
    for bad in malformed {
        producer.send(0, load::message(good));
        producer.send(0, bad);
        good += 1;
    }
    producer.send(0, load::message(good));
    producer.flush();
    let world = load::world("malformed");
    let server = &world.server;
    load::run_all(server, &load::create_events(broker, &topic));
    server.run("START PIPELINE events");
    load::wait_for_cursors(server, "events", &load::ends(broker, &topic));
    let ids: Vec<i64> = load::events(server).iter().map(|row| row.2).collect();
    assert_eq!(ids, (0..=good).collect::<Vec<_>>());
    let dead_letters = server.rows(
        "SELECT source_partition, source_offset, error_message FROM information_schema.pipelines_errors
         WHERE pipeline_name = 'events' ORDER BY source_offset",
    );
    assert_eq!(dead_letters.len(), malformed.len(), "{dead_letters:?}");
    for (i, row) in dead_letters.iter().enumerate() {
        assert_eq!((row[0].as_str(), row[1].clone()), ("0", (2 * i + 1).to_string()));
        assert!(!row[2].is_empty() && row[2] != "∅", "{row:?}");
    }
    assert_eq!(load::state(server, "events"), "Running");
}

fn send_good(producer: &tests::kafka::Producer) {
    producer.send(0, load::message(20));
    producer.flush();
}

#[test]
fn too_many_malformed_messages_stop_the_pipeline() {
    let broker = Broker::shared();
    let topic = broker.topic("limit", 1);
    let producer = broker.producer(&topic);
    for id in 0..20 {
        producer.send(0, load::message(id));
        producer.send(0, "not json");
    }
    producer.flush();
    let world = load::world("limit");
    let server = &world.server;
    let statements = load::create_events(broker, &topic).replace(" INTO TABLE", " MAX_ERRORS 3 INTO TABLE");
    load::run_all(server, &statements);
    server.run("START PIPELINE events");
    load::wait_for_state(server, "events", "Error");
    // The batch that exceeded the limit is committed completely, rows and dead letters: no message is lost or read
    // twice.
    let next = load::cursors(server, "events").get(&0).copied().unwrap_or(0);
    let ids: Vec<i64> = load::events(server).iter().map(|row| row.2).collect();
    assert_eq!(ids, (0..(next + 1) / 2).collect::<Vec<_>>());
    let sql = "SELECT count(*) FROM information_schema.pipelines_errors WHERE source_offset IS NOT NULL";
    let errors = server.number(sql);
    assert_eq!(errors, next / 2);
    assert!(errors > 3, "stopped after {errors}, within the limit");
    // It stays stopped: no more messages are read.
    send_good(&producer);
    assert_eq!(load::cursors(server, "events").get(&0).copied().unwrap_or(0), next);
    // The server serves other clients.
    assert_eq!(server.value("SELECT 1 + 1"), "2");
}
