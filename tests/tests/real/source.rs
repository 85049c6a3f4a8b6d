//! The Kafka adapter against a real broker: what the kernel's source port promises.

use std::collections::BTreeMap;
use std::time::Duration;

use kernel::message::{SourceFailure, SourceReading};
use kernel::source::{PartitionReader, Source};
use kernel::{ErrorKind, OffsetFilter, Position};
use tests::eventually;
use tests::kafka::{Broker, Codec};
use tidemark_kafka::{KafkaOptions, KafkaSource};

fn source_of(bootstrap: &str, topic: &str) -> std::sync::Arc<KafkaSource> {
    let options = KafkaOptions::new(bootstrap, topic, BTreeMap::new()).expect("valid options");
    KafkaSource::new(options).expect("librdkafka takes the settings")
}

fn source(topic: &str) -> std::sync::Arc<KafkaSource> {
    source_of(Broker::shared().bootstrap(), topic)
}

fn at(next_offset: i64) -> Position {
    Position { next_offset, leader_epoch: -1 }
}

type Seen = Vec<(i64, String)>;

/// Polls until the filter stands at `end`; returns what it admitted.
fn read_to(reader: &mut dyn PartitionReader, start: i64, end: i64) -> Seen {
    let mut filter = OffsetFilter::new(at(start));
    let mut seen = Vec::new();
    eventually(&format!("the reader reaches {end}"), || {
        let polled = reader.poll(1000, Duration::from_millis(50), &mut |batch| {
            for m in batch {
                if filter.admit(m.offset, m.leader_epoch) {
                    let value = m.value.expect("no tombstones here");
                    seen.push((m.offset, String::from_utf8_lossy(value).into_owned()));
                }
            }
        });
        let polled = polled.expect("the broker answers");
        filter.advance_to(polled.position.unwrap_or(0));
        assert!(filter.position().next_offset <= end, "position {:?} is beyond {end}", filter.position());
        (filter.position().next_offset == end).then_some(())
    });
    seen
}

/// Polls until the reader fails.
fn failure_of(reader: &mut dyn PartitionReader) -> SourceFailure {
    eventually("the reader fails", || reader.poll(1000, Duration::from_millis(50), &mut |_| ()).err())
}

fn read(source: &KafkaSource) -> SourceReading {
    source.read().expect("the broker describes the topic")
}

#[test]
fn every_message_of_every_partition_is_read_once_in_order() {
    let broker = Broker::shared();
    let topic = broker.topic("plain", 3);
    let producer = broker.producer(&topic);
    (0..3000).for_each(|i| producer.send(i % 3, format!("m{i}")));
    producer.flush();

    let source = source(&topic);
    let reading = read(&source);
    assert_eq!(reading.partitions, BTreeMap::from([(0, (0, 1000)), (1, (0, 1000)), (2, (0, 1000))]));
    assert_ne!(reading.topic_id, kernel::TopicId::default());
    for partition in 0..3 {
        let mut reader = source.open(partition, at(0)).expect("opens");
        let seen = read_to(&mut *reader, 0, 1000);
        let expected: Seen = (0..1000).map(|i| (i, format!("m{}", i * 3 + i64::from(partition)))).collect();
        assert_eq!(seen, expected);
    }
    assert_eq!(source.watermarks(), vec![(0, 0, 1000), (1, 0, 1000), (2, 0, 1000)]);
}

#[test]
fn a_reader_begins_in_the_middle_of_a_compressed_batch() {
    let broker = Broker::shared();
    for codec in Codec::ALL {
        let topic = broker.topic("codec", 1);
        let producer = broker.compressing_producer(&topic, codec);
        (0..500).for_each(|i| producer.send(0, format!("{codec:?} {i}")));
        producer.flush();
        let source = source(&topic);
        for start in [0, 1, 250, 499] {
            let mut reader = source.open(0, at(start)).expect("opens");
            let seen = read_to(&mut *reader, start, 500);
            assert_eq!(seen, (start..500).map(|i| (i, format!("{codec:?} {i}"))).collect::<Seen>());
        }
    }
}

#[test]
fn aborted_messages_never_appear_and_the_position_passes_control_records() {
    let broker = Broker::shared();
    let topic = broker.topic("transactions", 1);
    let producer = broker.transactional_producer(&topic);
    let mut committed = Vec::new();
    for round in 0..6 {
        producer.begin();
        for i in 0..50 {
            producer.send(0, format!("{round}/{i}"));
            if round % 2 == 0 {
                committed.push(format!("{round}/{i}"));
            }
        }
        if round % 2 == 0 { producer.commit() } else { producer.abort() }
    }
    // 300 messages and 6 control records; the last 51 offsets are an aborted transaction.
    let source = source(&topic);
    assert_eq!(read(&source).partitions[&0], (0, 306));
    let mut reader = source.open(0, at(0)).expect("opens");
    let seen = read_to(&mut *reader, 0, 306);
    assert_eq!(seen.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), committed);

    // Beginning in the middle of an aborted transaction, the first message lies behind a hole: legal, and believed.
    for start in [0, 60, 101, 260, 305] {
        let mut reader = source.open(0, at(start)).expect("opens");
        let seen = read_to(&mut *reader, start, 306);
        assert!(seen.iter().all(|(offset, _)| *offset >= start));
        let before = |value: &String| committed.iter().position(|c| c == value).expect("only committed ones");
        let skipped = seen.first().map_or(committed.len(), |(_, value)| before(value));
        assert_eq!(seen.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), committed[skipped..]);
        // Round r begins at offset 51 r; committed rounds are the even ones.
        assert_eq!(skipped as i64, (0..start).filter(|o| o / 51 % 2 == 0 && o % 51 < 50).count() as i64);
    }
    let mut reader = source.open(0, at(306)).expect("opens");

    // An open transaction holds back the end, and what comes behind it.
    producer.begin();
    producer.send(0, "open");
    producer.flush();
    assert_eq!(read(&source).partitions[&0], (0, 306));
    assert_eq!(
        reader.poll(10, Duration::from_millis(300), &mut |_| panic!("not committed")).unwrap().messages,
        0
    );
    producer.commit();
    assert_eq!(read_to(&mut *reader, 306, 308), vec![(306, "open".to_string())]);
}

#[test]
fn opening_a_partition_again_ends_the_reader_before_it() {
    let broker = Broker::shared();
    let topic = broker.topic("reopened", 1);
    let producer = broker.producer(&topic);
    (0..2000).for_each(|i| producer.send(0, format!("m{i}")));
    producer.flush();
    let source = source(&topic);
    let mut first = source.open(0, at(0)).expect("opens");
    read_to_some(&mut *first);
    for start in [1500, 3, 700] {
        let mut second = source.open(0, at(start)).expect("opens again");
        assert!(matches!(failure_of(&mut *first), SourceFailure::Transient(_)));
        let seen = read_to(&mut *second, start, 2000);
        assert_eq!(seen.first().map(|(offset, _)| *offset), Some(start));
        assert_eq!(seen.len() as i64, 2000 - start);
        first = second;
    }
}

/// Polls until there was a message.
fn read_to_some(reader: &mut dyn PartitionReader) {
    eventually("a message", || {
        let polled = reader.poll(10, Duration::from_millis(50), &mut |_| ()).expect("the broker answers");
        (polled.messages > 0).then_some(())
    });
}

#[test]
fn a_poll_is_limited_in_bytes_and_the_next_one_goes_on() {
    let broker = Broker::shared();
    let topic = broker.topic("limited", 1);
    let producer = broker.producer(&topic);
    // Every tenth message is larger than the limit.
    (0..500).for_each(|i| producer.send(0, "x".repeat(if i % 10 == 3 { 5000 } else { 100 })));
    producer.flush();
    let source = source(&topic);
    let mut reader = source.open(0, at(0)).expect("opens");
    reader.limit_bytes(1000);
    let mut offsets = Vec::new();
    eventually("all messages", || {
        let polled = reader.poll(300, Duration::from_millis(50), &mut |batch| {
            let bytes: u64 = batch.iter().map(|m| m.source_bytes()).sum();
            assert!(bytes <= 1000 || batch.len() == 1, "{bytes} bytes in {} messages", batch.len());
            offsets.extend(batch.iter().map(|m| m.offset));
        });
        polled.expect("the broker answers").at_end.then_some(())
    });
    assert_eq!(offsets, (0..500).collect::<Vec<_>>());
}

#[test]
fn a_topic_that_does_not_exist_is_a_permanent_failure_that_names_it() {
    let source = source("no-such-topic");
    let SourceFailure::Permanent(error) = source.read().expect_err("there is no such topic") else {
        panic!("trying again cannot help");
    };
    assert_eq!(error.kind, ErrorKind::UndefinedObject);
    assert!(error.message.contains("no-such-topic"), "{error}");
    assert!(error.message.contains(Broker::shared().bootstrap()), "{error}");
}

#[test]
fn a_broker_that_is_not_there_is_a_transient_failure_that_names_it() {
    let address = format!("127.0.0.1:{}", tests::scratch::free_port());
    let source = source_of(&address, "topic");
    let SourceFailure::Transient(error) = source.read().expect_err("nobody listens") else {
        panic!("the broker may come back");
    };
    assert_eq!(error.kind, ErrorKind::SourceUnreachable);
    assert!(error.message.contains(&address), "{error}");
}

#[test]
fn offsets_that_retention_removed_are_lost_and_the_range_is_named() {
    let broker = Broker::shared();
    let topic = broker.topic("retention", 1);
    let producer = broker.producer(&topic);
    (0..100).for_each(|i| producer.send(0, format!("m{i}")));
    producer.flush();
    broker.delete_records(&topic, 0, 40);
    let source = source(&topic);
    assert_eq!(read(&source).partitions[&0], (40, 100));
    for (wanted, lost) in [(10, true), (40, false), (100, false), (101, true)] {
        let mut reader = source.open(0, at(wanted)).expect("opens");
        if lost {
            let failure = failure_of(&mut *reader);
            assert_eq!(failure, SourceFailure::Lost { partition: 0, wanted, earliest: 40, latest: 100 });
        } else {
            assert_eq!(read_to(&mut *reader, wanted, 100).len() as i64, 100 - wanted);
        }
    }
}

#[test]
fn a_recreated_topic_has_another_id_and_is_not_read_on() {
    let broker = Broker::shared();
    let topic = broker.topic("recreated", 1);
    let producer = broker.producer(&topic);
    (0..100).for_each(|i| producer.send(0, format!("old {i}")));
    producer.flush();
    let source = source(&topic);
    let before = read(&source);
    let mut reader = source.open(0, at(0)).expect("opens");
    assert_eq!(read_to(&mut *reader, 0, 100).len(), 100);

    broker.delete_topic(&topic);
    broker.create_topic(&topic, 1, &[]);
    let producer = broker.producer(&topic);
    (0..10).for_each(|i| producer.send(0, format!("new {i}")));
    producer.flush();

    let after = source.verify().expect("the topic is there again");
    assert_ne!(before.topic_id, after.topic_id);
    // The reader's offset is beyond the new topic's end: it fails, and says why.
    match failure_of(&mut *reader) {
        SourceFailure::Permanent(error) => assert_eq!(error.kind, ErrorKind::SourceChanged, "{error}"),
        other => panic!("the topic is another one: {other:?}"),
    }
}

#[test]
fn new_partitions_appear_in_the_next_verification_and_begin_at_zero() {
    let broker = Broker::shared();
    let topic = broker.topic("grown", 1);
    let source = source(&topic);
    assert_eq!(read(&source).partitions.len(), 1);
    broker.grow_topic(&topic, 3);
    let reading = source.verify().expect("the broker answers");
    assert_eq!(reading.partitions, BTreeMap::from([(0, (0, 0)), (1, (0, 0)), (2, (0, 0))]));
    let producer = broker.producer(&topic);
    producer.send(2, "first");
    producer.flush();
    let mut reader = source.open(2, at(0)).expect("opens");
    assert_eq!(read_to(&mut *reader, 0, 1), vec![(0, "first".to_string())]);
}

#[test]
fn a_reader_goes_on_after_its_broker_was_killed_and_came_back() {
    let mut broker = Broker::start();
    let topic = broker.topic("restarted", 1);
    let send = |broker: &Broker, from: i64, to: i64| {
        let producer = broker.producer(&topic);
        (from..to).for_each(|i| producer.send(0, format!("m{i}")));
        producer.flush();
    };
    send(&broker, 0, 100);
    let source = source_of(broker.bootstrap(), &topic);
    let mut reader = source.open(0, at(0)).expect("opens");
    assert_eq!(read_to(&mut *reader, 0, 100).len(), 100);

    broker.kill();
    match failure_of(&mut *reader) {
        SourceFailure::Transient(error) => assert_eq!(error.kind, ErrorKind::SourceUnreachable, "{error}"),
        other => panic!("the broker may come back: {other:?}"),
    }
    broker.restart();
    send(&broker, 100, 200);
    // As the kernel does: a new reading, a new reader, from the position it knows.
    let reading = eventually("the source answers again", || source.read().ok());
    assert_eq!(reading.partitions[&0], (0, 200));
    let mut reader = source.open(0, at(100)).expect("opens");
    assert_eq!(read_to(&mut *reader, 100, 200).len(), 100);
}

#[test]
fn a_message_of_many_megabytes_is_read_and_so_is_what_comes_after_it() {
    let broker = Broker::shared();
    let topic = tests::scratch::unique("oversized");
    broker.create_topic(&topic, 1, &[("max.message.bytes", "12000000")]);
    let producer = broker.oversized_producer(&topic);
    producer.send(0, "before");
    producer.send(0, "x".repeat(9_000_000));
    producer.send(0, "after");
    producer.flush();
    let source = source(&topic);
    let mut reader = source.open(0, at(0)).expect("opens");
    let seen = read_to(&mut *reader, 0, 3);
    assert_eq!(seen.iter().map(|(_, v)| v.len()).collect::<Vec<_>>(), vec![6, 9_000_000, 5]);
}
