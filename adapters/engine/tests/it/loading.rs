//! The engine over a topic in memory: each message is loaded exactly once, across stops and starts.

use std::collections::BTreeMap;

use crate::topic::*;
use kernel::expr::OnDuplicate;
use kernel::message::Definition;
use kernel::schema::PipelineState;
use kernel::{Snapshot, SqlState};

fn event(id: i64) -> String {
    format!("{{\"id\": {id}, \"text\": \"event {id}\"}}")
}

fn payment(name: &str, balance: i64) -> String {
    format!("{{\"name\": \"{name}\", \"balance\": {balance}}}")
}

/// True if the table holds the events `0..count`, each once.
fn has_events(snapshot: &Snapshot, count: i64) -> bool {
    let mut ids: Vec<i64> = rows(snapshot, "events").iter().map(|(id, _)| id.parse().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "an event was counted twice");
    ids == (0..count).collect::<Vec<_>>()
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_every_message_of_every_partition_once() {
    let topic = Topic::new(5);
    let engine = in_memory(&topic);
    for id in 0..1_000 {
        topic.append(id as i32 % 5, event(id));
    }
    load(&engine, events_table(), pipeline("p", "events", OnDuplicate::Reject)).await;
    eventually(&engine, "the backlog", |snapshot| has_events(snapshot, 1_000)).await;
    for id in 1_000..1_050 {
        topic.append(id as i32 % 5, event(id));
        eventually(&engine, "each message as it comes", |snapshot| has_events(snapshot, id + 1)).await;
    }
    let status = engine.pipeline_status().remove(0);
    assert_eq!((status.messages, &status.state), (1_050, &PipelineState::Running));
    assert!(status.splits.iter().all(|p| p.next == Some(210) && p.lag == Some(0)), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_by_key_and_sets_bad_messages_aside() {
    let topic = Topic::new(3);
    let engine = in_memory(&topic);
    load(&engine, accounts_table(), pipeline("p", "accounts", add_to_balance())).await;
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for n in 0..3_000_i64 {
        let (name, amount) = (format!("account {}", n % 37), n * 7 - 1_000);
        *expected.entry(name.clone()).or_default() += amount;
        topic.append((n % 3) as i32, payment(&name, amount));
        if n % 100 == 0 {
            topic.append((n % 3) as i32, "no json");
        }
    }
    let expected: Vec<(String, i64)> = expected.into_iter().collect();
    eventually(&engine, "all balances", |snapshot| rows(snapshot, "accounts") == expected).await;
    eventually(&engine, "30 dead letters", |snapshot| {
        let pipeline = snapshot.catalog.pipeline_named("p");
        pipeline.is_some_and(|p| snapshot.catalog.cursors[&p.id].dead_letters == 30)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_where_it_stopped() {
    let topic = Topic::new(2);
    let engine = in_memory(&topic);
    load(&engine, events_table(), pipeline("p", "events", OnDuplicate::Reject)).await;
    let mut sent = 0;
    for round in 0..10 {
        for _ in 0..200 {
            topic.append((sent % 2) as i32, event(sent));
            sent += 1;
        }
        if round % 2 == 0 {
            engine.define(stop("p")).await.unwrap();
            engine.define(start("p")).await.unwrap();
        }
    }
    eventually(&engine, "all of them", |snapshot| has_events(snapshot, sent)).await;
    engine.define(stop("p")).await.unwrap();
    let error = engine.define(stop("p")).await.unwrap_err();
    assert_eq!(error.sqlstate, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_while_it_runs_it_counts_every_message_once() {
    let topic = Topic::new(3);
    let engine = in_memory(&topic);
    load(&engine, accounts_table(), pipeline("p", "accounts", add_to_balance())).await;
    let mut was = "p".to_string();
    for sent in 0..6_000 {
        topic.append(sent % 3, payment("Sam", 1));
        if sent % 300 == 0 {
            let next = format!("p, definition {sent}");
            engine.define(altered("accounts", add_to_balance(), &was, &next)).await.unwrap();
            was = next;
        }
    }
    eventually(&engine, "every payment once", |snapshot| {
        rows(snapshot, "accounts") == [("Sam".to_string(), 6_000)]
    })
    .await;
    let snapshot = engine.snapshot().unwrap();
    let p = snapshot.catalog.pipeline_named("p").unwrap();
    assert_eq!((&p.state, p.generation.0, &p.definition_sql), (&PipelineState::Running, 1, &was));
    let overtaken = engine.define(altered("accounts", add_to_balance(), "another", "p")).await.unwrap_err();
    assert_eq!(overtaken.sqlstate, SqlState::SERIALIZATION_FAILURE);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_go_with_their_pipeline_and_when_they_are_cleared() {
    let (topic, directory) = (Topic::new(2), tempfile::tempdir().unwrap());
    let errors = |snapshot: &Snapshot, pipeline: &str| errors_of(snapshot, pipeline);
    let engine = open(directory.path(), &topic);
    load(&engine, accounts_table(), pipeline("p", "accounts", add_to_balance())).await;
    engine.define(pipeline("q", "accounts", add_to_balance())).await.unwrap();
    engine.define(start("q")).await.unwrap();
    for n in 0..40 {
        topic.append(n % 2, "no json");
    }
    eventually(&engine, "40 for each", |s| errors(s, "p") == 40 && errors(s, "q") == 40).await;
    engine.define(Definition::ClearErrors { pipeline: Some("p".into()) }).await.unwrap();
    topic.append(0, "still no json");
    eventually(&engine, "one more", |s| errors(s, "p") == 1 && errors(s, "q") == 41).await;
    engine.define(Definition::DropPipeline { name: "q".into(), if_exists: false }).await.unwrap();
    engine.shutdown();
    drop(engine);
    let engine = open(directory.path(), &topic);
    eventually(&engine, "the same after a restart", |s| errors(s, "p") == 1 && errors(s, "q") == 0).await;
    engine.define(Definition::ClearErrors { pipeline: None }).await.unwrap();
    eventually(&engine, "none", |s| errors(s, "p") == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_stand_where_a_life_is_to_begin_so() {
    let (topic, directory) = (Topic::new(1), tempfile::tempdir().unwrap());
    let engine = open(directory.path(), &topic);
    load(&engine, events_table(), pipeline("p", "events", OnDuplicate::Reject)).await;
    topic.append(0, event(0));
    eventually(&engine, "the first", |snapshot| has_events(snapshot, 1)).await;
    engine.shutdown();
    drop(engine);
    topic.append(0, event(1));
    let mut stopped = config(directory.path());
    stopped.kernel.pipelines_stopped = true;
    let engine = open_with(stopped, &topic).unwrap();
    eventually(&engine, "it stands", |snapshot| {
        snapshot.catalog.pipeline_named("p").is_some_and(|p| p.state == PipelineState::Stopped)
    })
    .await;
    assert!(has_events(&engine.snapshot().unwrap(), 1), "nothing was read");
    assert_eq!(topic.open_readers(), 0);
    engine.define(start("p")).await.unwrap();
    eventually(&engine, "the second", |snapshot| has_events(snapshot, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_partition_is_loaded_from_its_beginning() {
    let (topic, directory) = (Topic::new(1), tempfile::tempdir().unwrap());
    let engine = open(directory.path(), &topic);
    load(&engine, events_table(), pipeline("p", "events", OnDuplicate::Reject)).await;
    topic.append(0, event(0));
    eventually(&engine, "the first", |snapshot| has_events(snapshot, 1)).await;
    let added = topic.add_partition();
    topic.append(added, event(1));
    eventually(&engine, "the new partition's", |snapshot| has_events(snapshot, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_for_a_while_is_tried_again() {
    let (topic, directory) = (Topic::new(2), tempfile::tempdir().unwrap());
    topic.fail_next(3, 3);
    let engine = open(directory.path(), &topic);
    load(&engine, events_table(), pipeline("p", "events", OnDuplicate::Reject)).await;
    for id in 0..100 {
        topic.append((id % 2) as i32, event(id));
    }
    eventually(&engine, "all of them", |snapshot| has_events(snapshot, 100)).await;
    topic.fail_next(2, 1);
    for id in 100..200 {
        topic.append((id % 2) as i32, event(id));
    }
    eventually(&engine, "all of them again", |snapshot| {
        has_events(snapshot, 200) && topic.failures_left() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_waits_at_the_source_while_nothing_can_be_staged() {
    let (topic, directory) = (Topic::new(2), tempfile::tempdir().unwrap());
    let mut settings = config(directory.path());
    settings.kernel.pipeline_credit_bytes = 64 << 10;
    let engine = open_with(settings, &topic).unwrap();
    load(&engine, events_table(), pipeline("p", "events", OnDuplicate::Reject)).await;
    let table = engine.snapshot().unwrap().catalog.table_named("events").unwrap().id;
    let table_lock = engine.table_lock(vec![table]).await.unwrap();
    let count = 40_000;
    for id in 0..count {
        topic.append((id % 2) as i32, event(id));
    }
    // While the table lock is held nothing is staged, so that the credit runs out and reading stops.
    let mut delivered = topic.delivered_bytes();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let now = topic.delivered_bytes();
        if now == delivered && now > 0 {
            break;
        }
        delivered = now;
    }
    let message_bytes = event(count).len() as u64;
    assert!(delivered <= (64 << 10) * 2 + 2 * message_bytes, "{delivered} bytes were read past the credit");
    assert!(rows(&engine.snapshot().unwrap(), "events").is_empty());
    drop(table_lock);
    eventually(&engine, "all of them", |snapshot| has_events(snapshot, count)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_engine_answers_and_has_hung_up() {
    let (topic, directory) = (Topic::new(2), tempfile::tempdir().unwrap());
    let engine = open(directory.path(), &topic);
    load(&engine, events_table(), pipeline("p", "events", OnDuplicate::Reject)).await;
    topic.append(0, event(0));
    eventually(&engine, "the first", |snapshot| has_events(snapshot, 1)).await;
    let snapshot = engine.snapshot().unwrap();
    let stopping = engine.clone();
    tokio::task::spawn_blocking(move || stopping.shutdown()).await.unwrap();
    assert_eq!(topic.open_readers(), 0);
    assert_eq!(engine.snapshot().unwrap_err().sqlstate, SqlState::ADMIN_SHUTDOWN);
    assert!(has_events(&snapshot, 1), "a snapshot outlives the engine");
}
