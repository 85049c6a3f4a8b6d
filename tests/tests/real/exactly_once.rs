//! Exactly once across kill -9: two pipelines load one topic, into a table that only grows and into counters, while the server is
//! killed again and again, most often while a batch is staged and not yet durable.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::eventually;
use tests::kafka::{Broker, Producer};
use tests::trace::{Partition, TermProgress, Trace};

use crate::load;

const PARTITIONS: i32 = 4;
const PIPELINES: usize = 2;
const KILLS_MIN: usize = 25;
const KILLS_UNSYNCED_MIN: usize = 20;
const KILLS_MAX: usize = 80;

#[test]
fn every_message_counts_once_across_kills() {
    let broker = Broker::shared();
    let topic = broker.topic("kills", PARTITIONS);
    let mut world = load::world("kills");
    load::run_all(&world.server, &load::create_events(broker, &topic));
    load::run_all(&world.server, &load::create_accounts(broker, &topic));
    world.server.run("START PIPELINE events");
    world.server.run("START PIPELINE accounts");

    let done = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let producing = scope.spawn(|| produce_until(&broker.producer(&topic), &done));
        let killing = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| kill_many_times(&mut world)));
        done.store(true, Ordering::Release);
        let sent = producing.join().expect("the producer ends");
        killing.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sent
    });

    let ends = load::ends(broker, &topic);
    assert_eq!(ends.values().sum::<i64>(), sent, "the topic holds all sent messages");
    load::wait_for_cursors(&world.server, "events", &ends);
    load::wait_for_cursors(&world.server, "accounts", &ends);

    // Row by row: message n of a partition has offset n, and the number n * PARTITIONS + partition.
    let mut expected = Vec::new();
    for (&partition, &end) in &ends {
        expected.extend((0..end).map(|offset| {
            let id = offset * i64::from(PARTITIONS) + i64::from(partition);
            let (name, amount) = load::account(id);
            (partition, offset, id, name, amount)
        }));
    }
    let events = load::events(&world.server);
    if let Some((got, wanted)) = events.iter().zip(&expected).find(|(got, wanted)| got != wanted) {
        panic!(
            "{} rows, {} expected; the first that differs is {got:?}, not {wanted:?}",
            events.len(),
            expected.len()
        );
    }
    assert_eq!(events.len(), expected.len());
    assert_eq!(load::accounts(&world.server), load::balances(expected.iter().map(|row| row.2)));
    println!("{} messages, each exactly once", events.len());
}

/// Sends messages at a steady pace until told to stop; returns how many. Message n goes to partition n mod PARTITIONS.
fn produce_until(producer: &Producer, done: &AtomicBool) -> i64 {
    let mut sent = 0;
    while !done.load(Ordering::Acquire) {
        for _ in 0..PARTITIONS * 10 {
            producer.send((sent % i64::from(PARTITIONS)) as i32, load::message(sent));
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(8));
    }
    producer.flush();
    sent
}

fn kill_many_times(world: &mut load::World) {
    let mut trace = Trace::new(world.server.trace_file());
    // The progress of earlier terms: a term killed before its first batch made none.
    let (mut durable, mut staged) = (BTreeMap::<Partition, i64>::new(), BTreeMap::<Partition, i64>::new());
    let (mut kills, mut unsynced) = (0, 0);
    while kills < KILLS_MIN || unsynced < KILLS_UNSYNCED_MIN {
        assert!(kills < KILLS_MAX, "only {unsynced} of {kills} kills landed while a batch was unsynced");
        wait_for_a_good_moment(&trace, kills);
        world.server.kill();
        kills += 1;
        let term = trace.end_term();
        durable.extend(&term.durable_offset);
        staged.extend(&term.first_fetched);
        staged.extend(&term.staged_offset);
        unsynced += usize::from(term.is_unsynced());

        world.server.restart();
        let refetched = eventually("both pipelines fetch every partition again", || {
            let fetched = trace.term().first_fetched;
            (fetched.len() == PIPELINES * PARTITIONS as usize).then_some(fetched)
        });
        print_kill(kills, &term, &durable, &staged, &refetched);
        for (partition, &from) in &refetched {
            let durable = durable.get(partition).copied().unwrap_or(0);
            let staged = staged.get(partition).copied().unwrap_or(0);
            assert!(from >= durable, "{partition:?}: refetched from {from}, although {durable} was durable");
            assert!(
                from <= staged,
                "{partition:?}: refetched from {from}, although only {staged} was staged"
            );
        }
    }
    println!("{kills} kills, {unsynced} of them while a batch was unsynced");
}

/// Waits until every partition has loaded something, then for a time that differs from kill to kill, and then for a
/// record that is staged and not synced.
fn wait_for_a_good_moment(trace: &Trace, kills: usize) {
    eventually("both pipelines load", || {
        (trace.term().durable_offset.len() == PIPELINES * PARTITIONS as usize).then_some(())
    });
    std::thread::sleep(Duration::from_millis(kills as u64 * 37 % 200));
    let began = Instant::now();
    while !trace.term().is_unsynced() && began.elapsed() < Duration::from_secs(2) {
        std::hint::spin_loop();
    }
}

fn print_kill(
    number: usize,
    term: &TermProgress,
    durable: &BTreeMap<Partition, i64>,
    staged: &BTreeMap<Partition, i64>,
    refetched: &BTreeMap<Partition, i64>,
) {
    let unsynced = if term.is_unsynced() { ", unsynced" } else { "" };
    println!(
        "kill {number}: records staged {}, appended {}, synced {}{unsynced}",
        term.staged, term.appended, term.synced
    );
    for (partition, from) in refetched {
        let or_none =
            |offsets: &BTreeMap<Partition, i64>| offsets.get(partition).map_or("-".into(), i64::to_string);
        println!(
            "    pipeline {} partition {}: last durable {}, last staged {}, first refetched {from}",
            partition.0,
            partition.1,
            or_none(durable),
            or_none(staged),
        );
    }
}
