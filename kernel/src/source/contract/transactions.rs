//! What is not read: aborted messages, control records, and what lies behind an open transaction.

use super::reading::{Follower, at, describe, read, sent, texts};
use super::{Codec, Needs, Sent, Stage, Topic, text};

fn batch(name: &str, count: i64) -> Vec<Sent> {
    (0..count).map(|i| text(format!("{name}/{i}"))).collect()
}

/// Six transactions, every other one aborted. The last one leaves a hole at the end, which a reader passes (A7).
/// Reading may begin anywhere, also inside a hole.
pub fn what_was_aborted_never_appears_and_the_position_passes_it(stage: &mut impl Stage) {
    // The messages of a transaction and its control record.
    const ROUND: i64 = 21;
    const END: i64 = 6 * ROUND;
    let mut topic = stage.topic(1, Needs::Nothing);
    let rounds: Vec<_> = (0..6).map(|round| batch(&round.to_string(), ROUND - 1)).collect();
    for (round, messages) in rounds.iter().enumerate() {
        let transaction = topic.begin();
        topic.send_in(transaction, 0, messages);
        topic.end(transaction, round % 2 == 0);
    }
    let committed: Vec<(i64, &str)> =
        (0..6).step_by(2).flat_map(|round| sent(round * ROUND, &rounds[round as usize])).collect();
    let source = topic.source();
    assert_eq!(describe(&*source).partitions()[&0], (0, END));
    for start in [0, 1, 20, 21, 30, 42, 100, 105, 125, 126] {
        let seen = read(&*source, 0, start, END);
        let expected: Vec<_> = committed.iter().filter(|(offset, _)| *offset >= start).copied().collect();
        assert_eq!(texts(&seen), expected, "from {start} on");
    }
    let mut follower = Follower::open(&*source, 0, at(0));
    assert_eq!(follower.read_to_end(), END, "the end is after the hole");
}

/// The readable end is the start of the oldest open transaction (A13). Messages of others after it are held back too.
pub fn an_open_transaction_holds_back_what_is_behind_it(stage: &mut impl Stage) {
    for commit in [true, false] {
        let mut topic = stage.topic(1, Needs::Nothing);
        let source = topic.source();
        let (before, inside, behind, more) =
            (batch("before", 4), batch("in", 3), batch("behind", 5), batch("more", 2));
        topic.send(0, &before, Codec::None);
        let transaction = topic.begin();
        topic.send_in(transaction, 0, &inside);
        topic.send(0, &behind, Codec::None);
        assert_eq!(describe(&*source).partitions()[&0], (0, 4), "the stable end, not the last message");
        let mut follower = Follower::open(&*source, 0, at(0));
        follower.read_to(4);
        follower.finds_nothing();
        topic.send_in(transaction, 0, &more);
        follower.finds_nothing();
        // 4 messages, 3 in the transaction, 5 others, 2 in the transaction, the control record.
        topic.end(transaction, commit);
        assert_eq!(describe(&*source).partitions()[&0], (0, 15));
        let mut expected = sent(0, &before);
        expected.extend(sent(4, &inside).into_iter().filter(|_| commit));
        expected.extend(sent(7, &behind));
        expected.extend(sent(12, &more).into_iter().filter(|_| commit));
        assert_eq!(texts(follower.read_to(15)), expected);
    }
}

/// Transactions of several producers in one partition: the end of one releases only messages that no older one holds
/// back.
pub fn transactions_that_overlap_end_each_for_itself(stage: &mut impl Stage) {
    let mut topic = stage.topic(1, Needs::Nothing);
    let source = topic.source();
    let (first, second) = (topic.begin(), topic.begin());
    let (a, b, c) = (batch("a", 2), batch("b", 2), batch("c", 2));
    topic.send_in(first, 0, &a);
    topic.send_in(second, 0, &b);
    topic.send_in(first, 0, &c);
    let mut follower = Follower::open(&*source, 0, at(0));
    // Its control record is at 6, but the first transaction still holds back everything from 0 on.
    topic.end(second, true);
    assert_eq!(describe(&*source).partitions()[&0], (0, 0));
    follower.finds_nothing();
    topic.end(first, false);
    assert_eq!(describe(&*source).partitions()[&0], (0, 8));
    assert_eq!(texts(follower.read_to(8)), sent(2, &b));
}

/// The messages of a transaction in several partitions become readable in all of them or in none.
pub fn a_transaction_over_partitions_ends_in_all_of_them(stage: &mut impl Stage) {
    let mut topic = stage.topic(3, Needs::Nothing);
    let source = topic.source();
    let messages = batch("m", 3);
    for commit in [false, true] {
        let transaction = topic.begin();
        topic.send_in(transaction, 0, &messages);
        topic.send_in(transaction, 2, &messages);
        topic.end(transaction, commit);
    }
    assert_eq!(describe(&*source).partitions(), [(0, (0, 8)), (1, (0, 0)), (2, (0, 8))].into());
    for partition in [0, 2] {
        assert_eq!(texts(&read(&*source, partition, 0, 8)), sent(4, &messages));
    }
}
