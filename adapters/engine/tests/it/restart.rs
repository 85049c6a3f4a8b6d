//! The engine over a data directory: visible rows survive a restart, and loading continues at its position.

use std::sync::Arc;

use crate::topic::*;
use kernel::SqlState;
use parking_lot::Mutex;
use tidemark_engine::RecorderSettings;

fn payment(name: usize) -> String {
    format!("{{\"name\": \"account {name}\", \"balance\": 1}}")
}

fn total(snapshot: &kernel::Snapshot) -> i64 {
    rows(snapshot, "accounts").iter().map(|(_, balance)| balance).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_on_over_restarts() {
    let (topic, directory) = (Topic::new(4), tempfile::tempdir().unwrap());
    let mut sent = 0;
    for term in 0..6 {
        let engine = open(directory.path(), &topic);
        if term == 0 {
            load(&engine, accounts_table(), pipeline("p", "accounts", add_to_balance())).await;
        }
        for _ in 0..2_500 {
            topic.append((sent % 4) as i32, payment(sent % 100));
            sent += 1;
        }
        if term % 2 == 0 {
            // Otherwise it is stopped in the middle.
            eventually(&engine, "everything sent", |snapshot| total(snapshot) == sent as i64).await;
        }
        tokio::task::spawn_blocking(move || engine.shutdown()).await.unwrap();
    }
    let engine = open(directory.path(), &topic);
    eventually(&engine, "everything sent", |snapshot| total(snapshot) == sent as i64).await;
    let snapshot = engine.snapshot().unwrap();
    assert!(rows(&snapshot, "accounts").iter().all(|(_, balance)| *balance == sent as i64 / 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_shards_is_fixed() {
    let (topic, directory) = (Topic::new(1), tempfile::tempdir().unwrap());
    let engine = open(directory.path(), &topic);
    assert_eq!(engine.shard_count(), 4);
    tokio::task::spawn_blocking(move || drop(engine)).await.unwrap();
    let mut other = config(directory.path());
    other.shards = Some(5);
    let error = open_with(other.clone(), &topic).unwrap_err();
    assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER_VALUE);
    assert!(error.message.contains("4 shards"), "{error}");
    other.shards = None;
    assert_eq!(open_with(other, &topic).unwrap().shard_count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_with_secrets_in_clear_are_read_and_not_recorded() {
    let (topic, directory) = (Topic::new(1), tempfile::tempdir().unwrap());
    let (data, record) = (directory.path().join("data"), directory.path().join("record"));
    let engine = open(&data, &topic);
    load(&engine, accounts_table(), pipeline("secret", "accounts", add_to_balance())).await;
    tokio::task::spawn_blocking(move || drop(engine)).await.unwrap();
    let mut recording = config(&data);
    recording.record = Some(RecorderSettings::new(&record, 1 << 20));
    let error = open_with(recording, &topic).unwrap_err();
    assert_eq!(error.sqlstate, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(error.message.contains("(secret)"), "{error}");
    assert!(!record.exists());
    let engine = open(&data, &topic);
    topic.append(0, payment(0));
    eventually(&engine, "everything sent", |snapshot| total(snapshot) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_a_data_directory() {
    let (topic, directory) = (Topic::new(1), tempfile::tempdir().unwrap());
    let _engine = open(directory.path(), &topic);
    let error = open_with(config(directory.path()), &topic).unwrap_err();
    assert!(error.message.contains(&std::process::id().to_string()), "names the process: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_says_what_was_in_flight_and_durability_follows_a_sync() {
    let (topic, directory) = (Topic::new(2), tempfile::tempdir().unwrap());
    let trace = directory.path().join("trace");
    let mut settings = config(&directory.path().join("data"));
    settings.trace_file = Some(trace.clone());
    let halted = Arc::new(Mutex::new(None));
    let seen = halted.clone();
    settings.on_halt = Arc::new(move |error| *seen.lock() = Some(error.clone()));
    let engine = open_with(settings, &topic).unwrap();
    load(&engine, accounts_table(), pipeline("p", "accounts", add_to_balance())).await;
    for n in 0..500 {
        topic.append(n % 2, payment(n as usize % 10));
    }
    eventually(&engine, "everything sent", |snapshot| total(snapshot) == 500).await;
    tokio::task::spawn_blocking(move || engine.shutdown()).await.unwrap();
    let text = std::fs::read_to_string(trace).unwrap();
    let number = |line: &str, key: &str| -> Option<i64> {
        line.split(' ').find_map(|word| word.strip_prefix(key)?.parse().ok())
    };
    let (mut staged, mut appended, mut synced) = (1, 1, 1);
    for line in text.lines() {
        match line.split(' ').next().unwrap() {
            "staged" => {
                assert_eq!(number(line, "seq="), Some(staged + 1));
                staged += 1;
            }
            "appended" => {
                assert_eq!(number(line, "seq="), Some(appended + 1));
                appended += 1;
                assert!(appended <= staged);
            }
            "synced" => {
                synced = number(line, "through=").unwrap();
                assert!(synced <= appended);
            }
            "durable" => assert!(synced > 1, "nothing is durable before a sync"),
            _ => {}
        }
    }
    assert_eq!((staged, appended), (appended, synced), "all of it was synced by the clean stop");
    assert!(text.contains("fetch pipeline=1 epoch=") && text.contains("partition=1 next=250"), "{text}");
    assert!(halted.lock().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_reserve_the_database_is_read_only() {
    let (topic, directory) = (Topic::new(1), tempfile::tempdir().unwrap());
    let engine = open(directory.path(), &topic);
    engine.define(accounts_table()).await.unwrap();
    tokio::task::spawn_blocking(move || engine.shutdown()).await.unwrap();
    let mut settings = config(directory.path());
    settings.disk_reserve_bytes = u64::MAX / 2;
    let engine = open_with(settings, &topic).unwrap();
    // The free space is checked soon after the start; until then a definition may be accepted.
    let refused = loop {
        match engine.define(pipeline("p", "accounts", add_to_balance())).await {
            Err(error) if error.sqlstate == SqlState::DUPLICATE_OBJECT => {}
            Err(error) => break error,
            Ok(()) => {}
        }
    };
    assert_eq!(refused.sqlstate, SqlState::DISK_FULL, "{refused}");
    assert!(engine.snapshot().unwrap().catalog.table_named("accounts").is_some(), "reading goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_not_ours_is_refused_and_left_as_it_is() {
    let (topic, directory) = (Topic::new(1), tempfile::tempdir().unwrap());
    std::fs::write(directory.path().join("thesis.txt"), "years of work").unwrap();
    let error = open_with(config(directory.path()), &topic).unwrap_err();
    assert!(error.message.contains(directory.path().to_str().unwrap()), "names the directory: {error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
