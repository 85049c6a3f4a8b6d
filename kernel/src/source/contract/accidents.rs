//! Brokers that go away and come back, and a log that loses its end.

use super::reading::{Follower, describe, patiently, sent, texts};
use super::{Codec, Needs, Sent, Stage, Topic, text};
use crate::error::SqlState;
use crate::ids::*;
use crate::message::SourceFailure;
use crate::source::Source;

fn numbered(prefix: &str, range: std::ops::Range<i64>) -> Vec<Sent> {
    range.map(|i| text(format!("{prefix} {i}"))).collect()
}

/// Opens a reader at the position of the last one, as the kernel does after a transient failure, and continues to read.
fn go_on(topic: &impl Topic, source: &dyn Source, from: Position, end: i64) -> Follower {
    patiently(topic, || {
        source.read()?;
        let mut follower = Follower::open(source, 0, from);
        while follower.position().ordinal() < end {
            follower.poll()?;
        }
        Ok(follower)
    })
    .unwrap_or_else(|failure| panic!("the partition exists and can be read: {failure:?}"))
}

/// Calls fail transiently. Afterwards reading continues from a position, with every message once and leader epochs that
/// never go back (A10, A18).
pub fn brokers_that_went_away_and_came_back_lose_and_repeat_nothing(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Accidents);
    let source = topic.source();
    let messages = numbered("m", 0..150);
    topic.send(0, &messages[..50], Codec::None);
    let before = describe(&*source);
    let mut follower = Follower::open(&*source, 0, Position::kafka(0, -1));
    follower.read_to(50);

    topic.stop();
    for failure in [follower.failure(), source.read().expect_err("the brokers are stopped")] {
        match failure {
            SourceFailure::Transient(error) => {
                assert_eq!(error.sqlstate, SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, "{error}")
            }
            other => panic!("the failure is transient: {other:?}"),
        }
    }
    topic.start();
    topic.send(0, &messages[50..100], Codec::None);
    let mut seen = std::mem::take(&mut follower.seen);
    let after = patiently(&topic, || source.read()).expect("the source answers again");
    assert_eq!((after.topic_id(), after.partitions()[&0]), (before.topic_id(), (0, 100)));
    let mut second = go_on(&topic, &*source, follower.position(), 100);
    seen.append(&mut second.seen);

    // A reader without a failed call may continue by itself.
    topic.stop();
    topic.start();
    topic.send(0, &messages[100..], Codec::None);
    let position = second.position();
    drop((follower, second));
    let mut third = go_on(&topic, &*source, position, 150);
    seen.append(&mut third.seen);
    assert_eq!(texts(&seen), sent(0, &messages));
    let epochs: Vec<i32> = seen.iter().map(|m| m.leader_epoch).collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
}

/// A broker without the end of the log wins an election, and its offsets are used again for other messages (A9). A
/// reader of the old messages, with an older epoch, gets a loss. A reader of common messages only continues.
pub fn a_log_that_lost_its_end_is_not_read_on(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Accidents);
    let source = topic.source();
    let old = numbered("old", 0..30);
    for message in &old {
        // Batches of one message, because a log is truncated between batches.
        topic.send(0, std::slice::from_ref(message), Codec::None);
    }
    describe(&*source);
    let mut follower = Follower::open(&*source, 0, Position::kafka(0, -1));
    let epoch = follower.read_to(30)[29].leader_epoch;
    drop(follower);

    topic.start_without(0, 20);
    let new = numbered("new", 0..25);
    topic.send(0, &new, Codec::None);
    let metadata = patiently(&topic, || source.read()).expect("the source answers again");
    assert_eq!(metadata.partitions()[&0], (0, 45));

    // Both histories have messages at 20 to 29: only the epoch distinguishes them.
    for next_offset in [21, 25, 30] {
        let from = Position::kafka(next_offset, epoch);
        let failure = patiently(&topic, || {
            let mut follower = Follower::open(&*source, 0, from);
            match follower.failure() {
                SourceFailure::Transient(error) => Err(SourceFailure::Transient(error)),
                failure => Ok((failure, follower.seen.len())),
            }
        });
        let lost = SourceFailure::kafka_lost(0, next_offset, 0, 45);
        assert_eq!(failure, Ok((lost, 0)), "the log was cut below {next_offset}");
    }
    for next_offset in [10, 20] {
        let from = Position::kafka(next_offset, epoch);
        let follower = go_on(&topic, &*source, from, 45);
        let mut expected = sent(next_offset, &old[next_offset as usize..20]);
        expected.extend(sent(20, &new));
        assert_eq!(texts(&follower.seen), expected);
        assert!(follower.position().leader_epoch() > epoch, "another leader wrote the last message");
    }
}

/// A transaction begins under one leader and ends under the next: its control record has a later epoch than the last
/// message before it. A reader behind the control record has read everything, and continues.
pub fn a_control_record_of_a_later_leader_is_no_loss(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Accidents);
    let messages = numbered("m", 0..3);
    let transaction = topic.begin();
    topic.send_in(transaction, 0, &messages);
    topic.stop();
    topic.start();
    topic.end(transaction, true);
    let source = topic.source();
    patiently(&topic, || source.read()).expect("the source answers again");
    let mut follower = go_on(&topic, &*source, Position::kafka(0, -1), 4);
    assert_eq!(texts(&follower.seen), sent(0, &messages));
    assert_eq!(follower.read_to_end(), 4);
    let position = follower.position();
    drop(follower);
    let more = numbered("more", 0..2);
    topic.send(0, &more, Codec::None);
    // The same client, which has the new epoch, and a new one, which does not.
    for source in [source, topic.source()] {
        describe(&*source);
        let mut follower = Follower::open(&*source, 0, position);
        assert_eq!(texts(follower.read_to(6)), sent(4, &more));
    }
}
