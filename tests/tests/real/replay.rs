//! Replay of production: a server with a flight recorder loads from a real Kafka, serves clients and is killed
//! repeatedly. After each kill, the term is replayed on the data directory that the kill left; at the end, the
//! remaining recordings are replayed once more.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kernel::Term;
use sim::replay::{Ended, TermReport, replay};
use tests::eventually;
use tests::kafka::{Broker, Producer};
use tests::scratch::Scratch;
use tests::server::Server;
use tests::trace::Trace;
use tidemark_record::End;

use crate::load;

const PARTITIONS: i32 = 4;
const KILLS: u64 = 8;

/// Small, so that a busy term has several files and the oldest are dropped.
const RECORD_BYTES_MAX: u64 = 2 << 20;

#[test]
fn killed_terms_run_again_and_do_the_same() {
    let broker = Broker::shared();
    let topic = broker.topic("replay", PARTITIONS);
    let scratch = Scratch::new("replay");
    let (record, data) = (scratch.path().join("record"), scratch.path().join("data"));
    let bytes_max = RECORD_BYTES_MAX.to_string();
    let arguments = ["--record", record.to_str().expect("plain text"), "--record-bytes-max", &bytes_max];
    let mut server = Server::start_with(scratch.path(), &arguments);
    load::run_all(&server, &load::create_events(broker, &topic));
    load::run_all(&server, &load::create_accounts(broker, &topic));
    server.run("CREATE TABLE notes (id BIGINT, text TEXT, PRIMARY KEY (id))");
    server.run("START PIPELINE events");
    server.run("START PIPELINE accounts");

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let producing = scope.spawn(|| produce_until(&broker.producer(&topic), &done));
        let killing = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            kill_and_replay(&mut server, &record, &data);
        }));
        done.store(true, Ordering::Release);
        producing.join().expect("the producer ends");
        killing.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });

    let ends = load::ends(broker, &topic);
    load::wait_for_cursors(&server, "events", &ends);
    load::wait_for_cursors(&server, "accounts", &ends);
    assert!(server.stop().success());
    let reports = replay(&record, &data, None, &mut print).unwrap_or_else(|error| panic!("{error}"));
    let last = reports.last().expect("the last term is there");
    assert_eq!(last.term, Term(KILLS + 1));
    assert_eq!(last.ended, Ended::Recorded(End::Stopped));
    let files = tidemark_record::file::list(&record).expect("the recording can be listed");
    let bytes: u64 = files.iter().map(|path| path.metadata().expect("a file").len()).sum();
    assert!(bytes <= RECORD_BYTES_MAX + RECORD_BYTES_MAX / 4, "{bytes} bytes are kept");
}

/// Kills the server during its work; the recording of that term must replay, and end in a state of the log.
fn kill_and_replay(server: &mut Server, record: &Path, data: &Path) {
    let mut trace = Trace::new(server.trace_file());
    let (mut records, mut rows, mut unsynced) = (0, 0, 0);
    for term in 1..=KILLS {
        eventually("both pipelines load", || {
            (trace.term().durable_offset.len() == 2 * PARTITIONS as usize).then_some(())
        });
        clients(server, term);
        std::thread::sleep(Duration::from_millis(term * 137 % 400));
        wait_for_an_unsynced_record(&trace);
        server.kill();
        let seen = trace.end_term();
        unsynced += usize::from(seen.is_unsynced());

        let only = Some(Term(term));
        let reports = replay(record, data, only, &mut print).unwrap_or_else(|error| panic!("{error}"));
        let [report] = &reports[..] else { panic!("one term, not {reports:?}") };
        assert!(matches!(report.ended, Ended::Killed | Ended::RowsLost(_)), "{report:?}");
        assert!(
            report.sequence.0 as i64 <= seen.appended,
            "published a record that was not appended: {report:?}"
        );
        records += report.records;
        rows += report.rows_from_log;
        server.restart();
    }
    println!("{KILLS} kills, {unsynced} of them while a record was unsynced; {records} records made again");
    assert!(records > 0 && rows > 0 && unsynced > 0);
}

/// Statements that write, read before they write, fail, and define.
fn clients(server: &Server, term: u64) {
    server.run(&format!("INSERT INTO notes VALUES ({term}, 'one'), ({}, 'two')", term + 1_000));
    server.run(&format!("UPDATE notes SET text = text || '!' WHERE id <= {term}"));
    server.run(&format!("DELETE FROM notes WHERE id = {}", term + 1_000));
    server.refused(&format!("INSERT INTO notes VALUES ({term}, 'again')"));
    server.run("STOP PIPELINE events");
    server.run("START PIPELINE events");
    assert_eq!(server.number("SELECT count(*) FROM notes"), term as i64);
}

fn wait_for_an_unsynced_record(trace: &Trace) {
    let began = Instant::now();
    while !trace.term().is_unsynced() && began.elapsed() < Duration::from_secs(2) {
        std::hint::spin_loop();
    }
}

/// Sends messages at a steady pace until told to stop. Message n goes to partition n mod PARTITIONS.
fn produce_until(producer: &Producer, done: &AtomicBool) {
    let mut sent = 0;
    while !done.load(Ordering::Acquire) {
        for _ in 0..PARTITIONS * 10 {
            producer.send((sent % i64::from(PARTITIONS)) as i32, load::message(sent));
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(8));
    }
    producer.flush();
}

fn print(report: &TermReport) {
    println!("{report:?}");
}
