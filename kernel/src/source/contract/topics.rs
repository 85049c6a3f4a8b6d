//! Topics that change: retention, compaction, partitions added, topics deleted and created again under their name.

use std::collections::BTreeMap;

use super::reading::{Follower, at, describe, patiently, read, sent, texts, watermarks};
use super::{Codec, Needs, Sent, Stage, Topic, text};
use crate::error::SqlState;
use crate::message::SourceFailure;

fn numbered(prefix: &str, count: i64) -> Vec<Sent> {
    (0..count).map(|i| text(format!("{prefix} {i}"))).collect()
}

fn lost(wanted: i64, earliest: i64, latest: i64) -> SourceFailure {
    SourceFailure::kafka_lost(0, wanted, earliest, latest)
}

/// A position below the retained messages is a typed loss with the range, at each try; no message is skipped silently
/// (A5).
pub fn what_retention_removed_is_lost_and_the_range_is_named(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Nothing);
    let messages = numbered("m", 100);
    topic.send(0, &messages, Codec::None);
    topic.retain_from(0, 40);
    let source = topic.source();
    assert_eq!(describe(&*source).partitions()[&0], (40, 100));
    assert_eq!(watermarks(&*source), [(0, 40, 100)]);
    for wanted in [0, 10, 39] {
        let mut follower = Follower::open(&*source, 0, at(wanted));
        for _ in 0..2 {
            assert_eq!(follower.failure(), lost(wanted, 40, 100));
        }
        assert!(follower.seen.is_empty(), "no message comes after a loss");
    }
    for start in [40, 99] {
        assert_eq!(texts(&read(&*source, 0, start, 100)), sent(start, &messages[start as usize..]));
    }
    // Retention up to the last message, and an empty partition whose earliest offset is its end.
    topic.retain_from(0, 100);
    assert_eq!(describe(&*source).partitions()[&0], (100, 100));
    assert_eq!(Follower::open(&*source, 0, at(99)).failure(), lost(99, 100, 100));
    let mut follower = Follower::open(&*source, 0, at(100));
    assert_eq!(follower.read_to_end(), 100);
    topic.send(0, &numbered("later", 2), Codec::None);
    assert_eq!(texts(follower.read_to(102)), [(100, "later 0"), (101, "later 1")]);
}

/// A position behind the end, which this log never assigned, is a loss.
pub fn an_offset_beyond_the_end_is_lost(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Nothing);
    let source = topic.source();
    topic.send(0, &numbered("m", 5), Codec::None);
    describe(&*source);
    for wanted in [6, 1000] {
        let mut follower = Follower::open(&*source, 0, at(wanted));
        assert_eq!(follower.failure(), lost(wanted, 0, 5));
        assert!(follower.seen.is_empty());
    }
}

/// Holes in the middle, from any start: messages come in order, unchanged, and up to the end of the log (A8).
pub fn a_compacted_partition_has_holes_and_an_end(stage: &mut impl Stage) {
    const KEYS: i64 = 10;
    const ROUNDS: i64 = 8;
    let keyed = |round: i64, key: i64| Sent {
        key: Some(format!("key {key}").into_bytes()),
        ..text(format!("{key} in round {round}"))
    };
    let mut topic = stage.topic(1, Needs::Compaction);
    let mut all: BTreeMap<i64, Sent> = BTreeMap::new();
    for round in 0..ROUNDS {
        // Key 0 is written only in the first round, so that compaction leaves one message with a long hole behind it.
        let keys = if round == 0 { 0..KEYS } else { 1..KEYS };
        let messages: Vec<_> = keys.map(|key| keyed(round, key)).collect();
        topic.send(0, &messages, Codec::None);
        let at = all.len() as i64;
        all.extend((at..).zip(messages));
    }
    let source = topic.source();
    let whole = all.len() as i64;
    topic.compact(0);
    let end = describe(&*source).partitions()[&0].1;
    assert!(end > whole, "one more message was sent");
    let survives = |offset: i64| {
        let key = &all[&offset].key;
        all.range(offset + 1..).all(|(_, later)| later.key != *key)
    };
    let survivors: Vec<i64> = (0..whole).filter(|offset| survives(*offset)).collect();
    assert_eq!(survivors[0], 0, "a hole follows the first message");
    for start in [0, 1, 30, whole - KEYS, whole - 1] {
        let mut follower = Follower::open(&*source, 0, at(start));
        assert_eq!(follower.read_to_end(), end);
        let seen: Vec<_> = texts(&follower.seen).into_iter().filter(|(offset, _)| *offset < whole).collect();
        let expected: Vec<i64> = survivors.iter().copied().filter(|offset| *offset >= start).collect();
        assert_eq!(seen.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), expected, "from {start} on");
        for (offset, value) in seen {
            assert_eq!(all[&offset].value.as_deref(), Some(value.as_bytes()), "an offset keeps its message");
        }
    }
}

/// The next metadata names the new partitions, from offset 0 on. The others do not change (A11).
pub fn new_partitions_appear_and_begin_at_zero(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Nothing);
    let source = topic.source();
    topic.send(0, &numbered("m", 5), Codec::None);
    let before = describe(&*source);
    let mut follower = Follower::open(&*source, 0, at(0));
    follower.read_to(5);
    topic.grow(3);
    let after = source.verify().expect("the source answers");
    assert_eq!(after.topic_id(), before.topic_id());
    assert_eq!(after.partitions(), [(0, (0, 5)), (1, (0, 0)), (2, (0, 0))].into());
    topic.send(2, &numbered("first", 2), Codec::None);
    topic.send(0, &numbered("more", 1), Codec::None);
    assert_eq!(texts(&read(&*source, 2, 0, 2)), [(0, "first 0"), (1, "first 1")]);
    assert_eq!(follower.read_to(6).len(), 6);
}

/// Later metadata names another id. A reader behind the new topic's end gets a failure and is not moved (A6).
pub fn a_topic_that_was_created_again_is_another_one(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Nothing);
    let source = topic.source();
    topic.send(0, &numbered("old", 50), Codec::None);
    let before = describe(&*source);
    let mut follower = Follower::open(&*source, 0, at(0));
    follower.read_to(50);
    topic.delete();
    topic.create_again(1);
    topic.send(0, &numbered("new", 5), Codec::None);
    let after = patiently(&topic, || source.verify()).expect("the topic exists again");
    assert_ne!(after.topic_id(), before.topic_id());
    is_another_topic(follower.failure());
    assert_eq!(follower.seen.len(), 50, "no message of the new topic came as one of the old");
    // A new request reads the new topic.
    let metadata = patiently(&topic, || source.read()).expect("the topic exists again");
    assert_eq!((metadata.topic_id(), metadata.partitions()[&0]), (after.topic_id(), (0, 5)));
    assert_eq!(texts(&read(&*source, 0, 0, 5)), sent(0, &numbered("new", 5)));
}

/// A partition that the new topic does not have cannot be read.
pub fn a_topic_that_was_created_again_may_have_fewer_partitions(stage: &mut impl Stage) {
    let mut topic = stage.topic(3, Needs::Nothing);
    let source = topic.source();
    topic.send(2, &numbered("old", 5), Codec::None);
    let before = describe(&*source);
    let mut follower = Follower::open(&*source, 2, at(0));
    follower.read_to(5);
    topic.delete();
    topic.create_again(1);
    let after = patiently(&topic, || source.verify()).expect("the topic exists again");
    assert_ne!(after.topic_id(), before.topic_id());
    assert_eq!(after.partitions().keys().collect::<Vec<_>>(), [&0]);
    match follower.failure() {
        // The partition has no leader, which is usually transient. A new request gets the new topic id.
        SourceFailure::Transient(_) => {}
        failure => is_another_topic(failure),
    }
    assert_eq!(follower.seen.len(), 5, "no message of the new topic came as one of the old");
}

fn is_another_topic(failure: SourceFailure) {
    match failure {
        SourceFailure::Permanent(error) => assert_eq!(error.sqlstate, SqlState::SOURCE_CHANGED, "{error}"),
        other => panic!("the topic was replaced: {other:?}"),
    }
}

/// The failure is permanent and names the topic.
pub fn a_topic_that_does_not_exist_is_a_permanent_failure(stage: &mut impl Stage) {
    is_no_topic(stage.missing_topic().read().map(|_| ()));
}

/// A topic that never existed.
pub fn a_deleted_topic_is_a_permanent_failure(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Nothing);
    let source = topic.source();
    describe(&*source);
    topic.delete();
    is_no_topic(patiently(&topic, || source.read()).map(|_| ()));
    is_no_topic(patiently(&topic, || source.verify()).map(|_| ()));
}

fn is_no_topic(answer: Result<(), SourceFailure>) {
    match answer {
        Err(SourceFailure::Permanent(error)) => {
            assert_eq!(error.sqlstate, SqlState::UNDEFINED_OBJECT, "{error}");
            assert!(!error.message.is_empty());
        }
        other => panic!("the topic does not exist: {other:?}"),
    }
}
