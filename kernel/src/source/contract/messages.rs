//! Reading: every sent message, once, in order, unchanged, from any start.

use super::reading::{Follower, Seen, at, describe, poll, read, sent, texts, watermarks};
use super::{Codec, Needs, Sent, Stage, Topic, text};
use crate::extract::OrdinalFilter;
use crate::ids::*;
use crate::message::SourceFailure;

fn numbered(prefix: &str, count: i64) -> Vec<Sent> {
    (0..count).map(|i| text(format!("{prefix} {i}"))).collect()
}

/// All metadata names the same topic id, and every partition with its bounds.
pub fn a_topic_describes_itself(stage: &mut impl Stage) {
    let mut topic = stage.topic(3, Needs::Nothing);
    let source = topic.source();
    let empty = describe(&*source);
    assert_ne!(empty.topic_id(), Identity::default());
    assert_eq!(empty.partitions(), (0..3).map(|p| (p, (0, 0))).collect());
    topic.send(1, &numbered("m", 5), Codec::None);
    let metadata = describe(&*source);
    assert_eq!(metadata.partitions(), [(0, (0, 0)), (1, (0, 5)), (2, (0, 0))].into());
    assert_eq!(watermarks(&*source), [(0, 0, 0), (1, 0, 5), (2, 0, 0)]);
    let verified = source.verify().expect("the source answers");
    let other = describe(&*topic.source());
    assert!(
        [metadata.topic_id(), verified.topic_id(), other.topic_id()].iter().all(|id| *id == empty.topic_id())
    );
    assert!(verified.partitions().keys().eq(metadata.partitions().keys()));
}

/// A reader of a partition without any message reports the end at 0 (fault A11).
pub fn an_empty_partition_is_at_its_end(stage: &mut impl Stage) {
    let mut topic = stage.topic(2, Needs::Nothing);
    let source = topic.source();
    describe(&*source);
    let mut follower = Follower::open(&*source, 1, at(0));
    assert_eq!(follower.read_to_end(), 0);
    topic.send(0, &numbered("elsewhere", 3), Codec::None);
    follower.finds_nothing();
    topic.send(1, &numbered("here", 2), Codec::None);
    assert_eq!(texts(follower.read_to(2)), [(0, "here 0"), (1, "here 1")]);
}

/// From any start every message comes, whatever its content: equal messages at different offsets are different messages
/// (A14).
pub fn every_message_comes_once_and_in_order(stage: &mut impl Stage) {
    let mut topic = stage.topic(3, Needs::Nothing);
    let mut messages: Vec<_> = (0..3).map(|p| numbered(&format!("partition {p}:"), 300)).collect();
    messages[1][100..150].fill(text("the same"));
    for round in 0..3 {
        for (partition, messages) in (0..).zip(&messages) {
            topic.send(partition, &messages[round * 100..][..100], Codec::None);
        }
    }
    let source = topic.source();
    assert_eq!(describe(&*source).partitions(), (0..3).map(|p| (p, (0, 300))).collect());
    for (partition, messages) in (0..).zip(&messages) {
        for start in [0, 1, 150, 299] {
            let seen = read(&*source, partition, start, 300);
            assert_eq!(texts(&seen), sent(start, &messages[start as usize..]), "partition {partition}");
        }
    }
    let mut follower = Follower::open(&*source, 0, at(300));
    assert_eq!(follower.read_to_end(), 300, "a reader may begin at the end");
    assert!(follower.seen.is_empty());
}

/// Keys, values, their absence, and timestamps of any time (A15). Headers are ignored.
pub fn messages_come_as_they_were_sent(stage: &mut impl Stage) {
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let messages = vec![
        text("no key"),
        Sent { key: bytes(""), ..text("an empty key") },
        Sent { key: bytes("k"), value: None, ..Sent::default() },
        Sent { key: None, value: None, ..Sent::default() },
        Sent { key: bytes("k"), value: bytes(""), ..Sent::default() },
        Sent { key: bytes("\u{0}\u{ff}"), value: Some((0..=255).collect()), ..Sent::default() },
        Sent { timestamp_ms: Some(1), ..text("from long ago") },
        Sent { timestamp_ms: Some(4_102_444_800_000), ..text("from the year 2100") },
        Sent { headers: vec![("trace".into(), vec![1, 2, 3]), ("".into(), vec![])], ..text("with headers") },
    ];
    let mut topic = stage.topic(1, Needs::Nothing);
    topic.send(0, &messages, Codec::None);
    let seen = read(&*topic.source(), 0, 0, messages.len() as i64);
    for (seen, sent) in seen.iter().zip(&messages) {
        assert_eq!((&seen.key, &seen.value), (&sent.key, &sent.value), "{sent:?}");
        assert!(sent.timestamp_ms.is_none_or(|at| at == seen.timestamp_ms), "{sent:?}: {seen:?}");
    }
    assert_eq!(seen.len(), messages.len());
}

/// A broker delivers whole batches, so messages below the requested offset may come too (A2). From there on none is
/// missing.
pub fn a_reader_begins_anywhere_in_a_compressed_batch(stage: &mut impl Stage) {
    let mut topic = stage.topic(Codec::ALL.len() as i32, Needs::Nothing);
    let messages: Vec<_> = Codec::ALL.iter().map(|codec| numbered(&format!("{codec:?}"), 400)).collect();
    for ((partition, messages), codec) in (0..).zip(&messages).zip(Codec::ALL) {
        topic.send(partition, messages, codec);
    }
    let source = topic.source();
    describe(&*source);
    for (partition, messages) in (0..).zip(&messages) {
        for start in [0, 1, 200, 399] {
            let seen = read(&*source, partition, start, 400);
            assert_eq!(texts(&seen), sent(start, &messages[start as usize..]));
        }
    }
}

/// A reader at the end continues by itself when new messages come.
pub fn what_comes_later_is_read_by_who_waits_for_it(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Nothing);
    let source = topic.source();
    let messages = numbered("m", 60);
    let mut follower = Follower::open(&*source, 0, at(0));
    for round in 0..6 {
        topic.send(0, &messages[round * 10..][..10], Codec::None);
        follower.read_to(round as i64 * 10 + 10);
        assert_eq!(follower.read_to_end(), round as i64 * 10 + 10);
    }
    assert_eq!(texts(&follower.seen), sent(0, &messages));
    let end = |watermarks: Vec<(i32, i64, i64)>| watermarks.iter().map(|w| w.2).max();
    describe(&*source);
    assert_eq!(end(watermarks(&*source)), Some(60));
}

/// Never more messages than requested, and never more bytes unless one message has more. The next poll continues.
pub fn a_poll_is_limited_in_messages_and_bytes(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Nothing);
    // Every tenth message is larger than the limit.
    let messages: Vec<_> = (0..300).map(|i| text("x".repeat(if i % 10 == 3 { 5000 } else { 100 }))).collect();
    topic.send(0, &messages, Codec::None);
    let source = topic.source();
    let mut reader = source.open(&SplitName::kafka(0), at(0)).expect("the partition opens");
    reader.limit_bytes(1000);
    let (mut filter, mut offsets, mut polls) = (OrdinalFilter::new(at(0)), Vec::new(), 0);
    while offsets.len() < 300 {
        let (mut bytes, mut count) = (0, 0);
        let polled = poll(&mut *reader, 7, |m: Seen| {
            bytes += m.value.map_or(0, |v| v.len());
            count += 1;
            offsets.extend(filter.admit(m.offset, Mark::LeaderEpoch(m.leader_epoch)).then_some(m.offset));
        });
        assert!(bytes <= 1000 || count == 1, "{bytes} bytes in {count} messages");
        let polled = polled.expect("the source answers");
        assert!(!polled.at_end || offsets.len() == 300, "the end is not before the last message");
        polls += 1;
        assert!(polls < 5000, "the reader brought {} messages of 300 and then nothing", offsets.len());
    }
    assert_eq!(offsets, (0..300).collect::<Vec<_>>());
}

/// A message that is larger than a fetch does not block or lose the others (A16).
pub fn a_message_of_many_megabytes_holds_up_nothing(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Nothing);
    let messages = [text("before"), text("x".repeat(9_000_000)), text("after")];
    for message in &messages {
        topic.send(0, std::slice::from_ref(message), Codec::None);
    }
    assert_eq!(texts(&read(&*topic.source(), 0, 0, 3)), sent(0, &messages));
}

/// One reader per partition: a newer one ends the older one, and the end of the older one does not disturb the newer
/// one.
pub fn opening_a_partition_again_ends_the_reader_before_it(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Nothing);
    let messages = numbered("m", 500);
    topic.send(0, &messages, Codec::None);
    let source = topic.source();
    describe(&*source);
    let mut first = Follower::open(&*source, 0, at(0));
    first.read_to(500);
    for start in [400, 3, 250, 500, 0] {
        let mut second = Follower::open(&*source, 0, at(start));
        assert!(matches!(first.failure(), SourceFailure::Transient(_)), "the failure is transient");
        drop(first);
        assert_eq!(texts(second.read_to(500)), sent(start, &messages[start as usize..]));
        first = second;
    }
}
