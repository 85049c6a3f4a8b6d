//! Replay of a recorded engine: the same effects at every step, the same states, and at the end the state of the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use kernel::expr::OnDuplicate;
use kernel::message::{ShardWrite, TableWrite};
use kernel::{Error, Snapshot};
use sim::replay::{Ended, ReplayError, TermReport, replay};
use tidemark_engine::{Engine, EngineConfig, RecorderSettings};
use tidemark_record::{Begin, End, Item, RecordedInput, Recording, file};

use crate::topic::*;

fn recorded(directory: &Path, file_bytes: u64) -> EngineConfig {
    let mut settings = config(&directory.join("data"));
    let mut record = RecorderSettings::new(directory.join("record"), 1 << 30);
    record.file_bytes = file_bytes;
    settings.record = Some(record);
    settings
}

fn replayed(directory: &Path) -> Result<Vec<TermReport>, ReplayError> {
    replay(&directory.join("record"), &directory.join("data"), None, &mut |report| println!("{report:?}"))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    file::list(&directory.join("record")).unwrap()
}

async fn shut_down(engine: Engine) {
    tokio::task::spawn_blocking(move || engine.shutdown()).await.unwrap();
}

/// A message that both tables can take.
fn message(number: usize) -> String {
    let account = number % 100;
    format!(
        "{{\"id\": {number}, \"text\": \"event {number}\", \"name\": \"account {account}\", \"balance\": 1}}"
    )
}

async fn create(engine: &Engine) {
    load(engine, events_table(), pipeline("append", "events", OnDuplicate::Reject)).await;
    load(engine, accounts_table(), pipeline("add", "accounts", add_to_balance())).await;
}

fn loaded(snapshot: &Snapshot, sent: usize) -> bool {
    let added: i64 = rows(snapshot, "accounts").iter().map(|(_, balance)| balance).sum();
    rows(snapshot, "events").len() == sent && added == sent as i64
}

/// A client's INSERT.
async fn insert(engine: &Engine, table: &str, columns: Vec<ArrayRef>) -> Result<(), Error> {
    let snapshot = engine.snapshot()?;
    let table = snapshot.catalog.table_named(table).expect("the table").clone();
    let count = columns[0].len();
    let nulls = || Arc::new(Int64Array::new_null(count)) as ArrayRef;
    let hidden = [nulls(), Arc::new(Int32Array::new_null(count)) as ArrayRef, nulls()];
    let all = columns.into_iter().chain(hidden).collect();
    let batch = RecordBatch::try_new(table.stored_schema(), all).expect("the table's columns");
    let shards = kernel::route::route(&table, &batch, engine.shard_count()).into_iter();
    let write = TableWrite {
        table: table.id,
        schema_version: table.schema_version,
        on_duplicate: OnDuplicate::Reject,
        shards: shards.map(|rows| ShardWrite { deletes: vec![], rows }).collect(),
    };
    engine.write(None, vec![write]).await.map(|_| ())
}

fn account(name: &str, balance: i64) -> Vec<ArrayRef> {
    vec![Arc::new(StringArray::from(vec![name])), Arc::new(Int64Array::from(vec![balance]))]
}

/// Three terms with clients, bad messages, STOP and START; recorded in files of `file_bytes` bytes.
async fn three_terms(directory: &Path, file_bytes: u64) {
    let topic = Topic::new(4);
    let mut sent = 0;
    for term in 0..3 {
        let engine = open_with(recorded(directory, file_bytes), &topic).unwrap();
        if term == 0 {
            create(&engine).await;
        }
        for round in 0..6 {
            for _ in 0..1_000 {
                topic.append((sent % 4) as i32, message(sent));
                sent += 1;
            }
            topic.append(round % 4, "no json");
            if round == 2 {
                engine.define(stop("append")).await.unwrap();
                engine.define(start("append")).await.unwrap();
            }
            // Clients in between: one whose statement fails, and one whose statement succeeds and is undone by the sums
            // of the next term.
            let name = format!("client {term} {round}");
            insert(&engine, "accounts", account(&name, 0)).await.unwrap();
            insert(&engine, "accounts", account(&name, 1)).await.unwrap_err();
            let table_lock =
                engine.table_lock(vec![engine.snapshot().unwrap().catalog.table_named("events").unwrap().id]);
            drop(table_lock.await.unwrap());
        }
        if term != 1 {
            eventually(&engine, "everything sent", |snapshot| loaded(snapshot, sent)).await;
        }
        shut_down(engine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_life_does_again_what_it_did() {
    let directory = tempfile::tempdir().unwrap();
    three_terms(directory.path(), 1 << 20).await;
    let reports = replayed(directory.path()).unwrap();
    assert_eq!(reports.len(), 3);
    for report in &reports {
        assert_eq!(report.ended, Ended::Recorded(End::Stopped));
        assert!(report.from_start && report.states > 0 && report.records > 0, "{report:?}");
        assert!(
            report.effects > report.records && report.replies > 0 && report.torn_bytes == 0,
            "{report:?}"
        );
    }
    let from_log: u64 = reports.iter().map(|report| report.rows_from_log).sum();
    assert_eq!(from_log, 18_000, "the rows of events are not written twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_starts_in_the_middle_of_a_life() {
    let directory = tempfile::tempdir().unwrap();
    three_terms(directory.path(), 16 << 10).await;
    let reports = replayed(directory.path()).unwrap();
    assert!(reports.iter().all(|report| report.ended == Ended::Recorded(End::Stopped)));
    assert!(reports.iter().any(|report| report.files.1 > 3), "there was more than one file per term");
    let whole: Vec<_> = reports.iter().map(|report| (report.sequence, report.state)).collect();
    // Each file alone, as if retention had removed all earlier ones.
    for path in files(directory.path()) {
        let begins = Recording::open(&path).unwrap().header.begin;
        let reports = replay(&path, &directory.path().join("data"), None, &mut |_| ()).unwrap();
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].from_start, matches!(begins, Begin::Term { .. }));
    }
    // And the rest of the terms without their first files.
    for path in files(directory.path()) {
        if Recording::open(&path).unwrap().header.number == 1 {
            std::fs::remove_file(path).unwrap();
        }
    }
    let reports = replayed(directory.path()).unwrap();
    assert!(reports.iter().all(|report| !report.from_start));
    let rest: Vec<_> = reports.iter().map(|report| (report.sequence, report.state)).collect();
    assert!(rest.iter().all(|end| whole.contains(end)), "they end where the whole terms end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_recording_ends_in_a_state_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    three_terms(directory.path(), 1 << 20).await;
    let last = files(directory.path()).pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    let mut ends = vec![];
    for part in 1..20 {
        std::fs::write(&last, &bytes[..bytes.len() * part / 20]).unwrap();
        let reports = match replay(&last, &directory.path().join("data"), None, &mut |_| ()) {
            Ok(reports) => reports,
            Err(error) => panic!("{part} of 20 parts: {error}"),
        };
        assert_eq!(reports[0].ended, Ended::Killed, "the log has all rows");
        ends.push(reports[0].sequence);
    }
    assert!(ends.is_sorted() && ends.first() < ends.last(), "{ends:?}");
}

/// Writes a file again with its items changed.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<Item>)) {
    let mut recording = Recording::open(path).unwrap();
    let mut items = vec![];
    while let Some(item) = recording.next_item().unwrap() {
        items.push(item);
    }
    change(&mut items);
    let mut bytes = file::encode_header(&recording.header);
    let seed = file::frame_seed(&bytes);
    let mut frame = vec![];
    file::begin_frame(&mut frame);
    items.iter().for_each(|item| file::push_item(&mut frame, item));
    file::seal_frame(&mut frame, seed, 0);
    bytes.extend_from_slice(&frame);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_different_is_found_and_named() {
    type Change = fn(&mut Vec<Item>);
    let changes: [(&str, Change); 5] = [
        ("a reply", |items| {
            let reply = items.iter_mut().rev().find_map(|item| match item {
                Item::Input { input: RecordedInput::Shard { reply, .. }, .. } => Some(reply),
                _ => None,
            });
            reply.expect("shards replied")[0] ^= 1;
        }),
        ("an effect", |items| {
            let mark = items.iter_mut().rev().find_map(|item| match item {
                Item::Effect(mark) if mark.name() == "Append" => Some(mark),
                _ => None,
            });
            mark.expect("records were appended").hash[3] ^= 1;
        }),
        ("an input that is missing", |items| {
            let synced = |item: &Item| matches!(item, Item::Input { input: RecordedInput::Synced(_), .. });
            let at = items.iter().rposition(synced).expect("records were synced");
            items.remove(at);
        }),
        ("a message recorded as a dead letter", |items| {
            // In every extract, because one that was fenced and fetched again has no effect.
            let mut changed = 0;
            for item in items {
                let Item::Input { input: RecordedInput::Extracted(extract), .. } = item else { continue };
                for message in &mut extract.dead_letters {
                    message.error.message.push('!');
                    changed += 1;
                }
            }
            assert!(changed > 0, "there was a dead letter");
        }),
        ("a state", |items| {
            let at = items.iter().rposition(|item| matches!(item, Item::State { .. })).expect("states");
            let Item::State { hash: other, .. } =
                items.iter().find(|item| matches!(item, Item::State { .. })).expect("states").clone()
            else {
                unreachable!("just found");
            };
            let Item::State { hash, sequence } = &mut items[at] else { unreachable!("just found") };
            assert_ne!(*hash, other, "there is more than one state at {sequence}");
            *hash = other;
        }),
    ];
    let directory = tempfile::tempdir().unwrap();
    three_terms(directory.path(), 1 << 20).await;
    let first = files(directory.path()).remove(0);
    let bytes = std::fs::read(&first).unwrap();
    for (name, change) in changes {
        std::fs::write(&first, &bytes).unwrap();
        rewrite(&first, |_| ());
        replay(&first, &directory.path().join("data"), None, &mut |_| ()).expect("nothing was changed");
        rewrite(&first, change);
        let error = replay(&first, &directory.path().join("data"), None, &mut |_| ());
        let error = error.expect_err(name);
        assert!(matches!(error, ReplayError::Difference { step: 1.., .. }), "{name}: {error}");
        println!("{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_falls_behind_says_so_and_the_database_goes_on() {
    let (topic, directory) = (Topic::new(1), tempfile::tempdir().unwrap());
    let mut settings = recorded(directory.path(), 1 << 20);
    settings.record.as_mut().unwrap().queue_bytes_max = 2_000;
    let engine = open_with(settings, &topic).unwrap();
    create(&engine).await;
    for number in 0..1_000 {
        topic.append(0, message(number));
    }
    eventually(&engine, "everything sent", |snapshot| loaded(snapshot, 1_000)).await;
    shut_down(engine).await;
    let reports = replayed(directory.path()).unwrap();
    assert!(
        matches!(&reports[0].ended, Ended::Recorded(End::Incomplete(why)) if why.contains("fell behind"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_files_go_first_and_another_databases_recording_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    three_terms(directory.path(), 16 << 10).await;
    let before = files(directory.path());
    let topic = Topic::new(4);
    let mut settings = recorded(directory.path(), 16 << 10);
    settings.record.as_mut().unwrap().bytes_max = 64 << 10;
    shut_down(open_with(settings, &topic).unwrap()).await;
    let after = files(directory.path());
    let bytes: u64 = after.iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes <= 80 << 10, "{bytes} bytes are left");
    let kept: Vec<_> = after.iter().filter(|path| before.contains(path)).collect();
    assert_eq!(kept, before[before.len() - kept.len()..].iter().collect::<Vec<_>>(), "the newest are left");
    let mut other = recorded(directory.path(), 16 << 10);
    other.data_dir = directory.path().join("other");
    let error = open_with(other, &topic).unwrap_err();
    assert!(error.message.contains("another database"), "{error}");
}
