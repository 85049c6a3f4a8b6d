//! The Kafka adapter without messages to read: its failures, and its waiting for more. `contract` checks the messages
//! that it reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::message::SourceFailure;
use kernel::source::{Source, SplitReader};
use kernel::{Position, SplitName, SqlState};
use tests::kafka::Broker;
use tidemark_kafka::{KafkaOptions, KafkaSource};

fn source(bootstrap: &str, topic: &str) -> Arc<KafkaSource> {
    let options = KafkaOptions::new(bootstrap, topic, BTreeMap::new()).expect("valid options");
    KafkaSource::new(options).expect("librdkafka takes the settings")
}

#[test]
fn a_topic_that_does_not_exist_is_named_with_its_brokers() {
    let bootstrap = Broker::shared().bootstrap();
    let SourceFailure::Permanent(error) =
        source(bootstrap, "no-such-topic").read().expect_err("there is no such topic")
    else {
        panic!("trying again cannot help");
    };
    assert_eq!(error.sqlstate, SqlState::UNDEFINED_OBJECT);
    assert!(error.message.contains("no-such-topic"), "{error}");
    assert!(error.message.contains(bootstrap), "{error}");
}

#[test]
fn a_broker_that_is_not_there_is_a_transient_failure_that_names_it() {
    let address = format!("127.0.0.1:{}", tests::scratch::free_port());
    let SourceFailure::Transient(error) = source(&address, "topic").read().expect_err("nobody listens")
    else {
        panic!("the broker may come back");
    };
    assert_eq!(error.sqlstate, SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION);
    assert!(error.message.contains(&address), "{error}");
}

/// Reads one partition from its beginning, and opens it again at its position after each transient failure.
struct Follower {
    source: Arc<KafkaSource>,
    partition: i32,
    reader: Option<Box<dyn SplitReader>>,
    position: Position,
    offsets: Vec<i64>,
}

impl Follower {
    fn new(source: &Arc<KafkaSource>, partition: i32) -> Follower {
        let position = Position::kafka(0, -1);
        Follower { source: Arc::clone(source), partition, reader: None, position, offsets: vec![] }
    }

    fn poll(&mut self) {
        match self.read() {
            Ok(()) => {}
            Err(SourceFailure::Transient(_)) => self.reader = None,
            Err(failure) => panic!("partition {} cannot be read: {failure:?}", self.partition),
        }
    }

    fn read(&mut self) -> Result<(), SourceFailure> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => self.reader.insert(self.source.open(&SplitName::kafka(self.partition), self.position)?),
        };
        let (offsets, position) = (&mut self.offsets, &mut self.position);
        reader.poll(100, Duration::from_millis(20), &mut |messages| {
            for message in messages.messages().expect("raw messages") {
                offsets.push(message.ordinal);
                *position = Position::kafka(message.ordinal + 1, message.mark.leader_epoch());
            }
        })?;
        Ok(())
    }
}

fn poll_until(followers: &mut [Follower], what: &str, mut is_so: impl FnMut(&[Follower]) -> bool) {
    let began = Instant::now();
    while !is_so(followers) {
        followers.iter_mut().for_each(Follower::poll);
        assert!(began.elapsed() < Duration::from_secs(120), "waiting in vain until {what}");
    }
}

/// Partitions rest, one wakes while the other keeps resting, and a broker stops and returns meanwhile: each message
/// arrives once, in order.
#[test]
fn partitions_that_rest_miss_nothing_and_are_given_nothing_twice() {
    let mut broker = Broker::start();
    let topic = broker.topic("resting", 2);
    let source = source(broker.bootstrap(), &topic);
    source.read().expect("the topic is there");
    let mut followers = [Follower::new(&source, 0), Follower::new(&source, 1)];
    let mut sent = [0, 0];
    let mut send = |broker: &Broker, partition: i32, count: usize| {
        let producer = broker.producer(&topic);
        (0..count).for_each(|n| producer.send(partition, format!("{n}")));
        producer.flush();
        sent[partition as usize] += count;
        sent
    };
    let has = |sent: [usize; 2]| move |f: &[Follower]| (0..2).all(|p| f[p].offsets.len() >= sent[p]);

    send(&broker, 0, 3);
    let all = send(&broker, 1, 3);
    poll_until(&mut followers, "the first messages are there", has(all));
    poll_until(&mut followers, "both rest", |_| source.resting() == [0, 1]);
    let all = send(&broker, 0, 1);
    poll_until(&mut followers, "a message woke one", has(all));
    poll_until(&mut followers, "it is awake", |_| source.resting() == [1]);
    let all = send(&broker, 0, 5000);
    poll_until(&mut followers, "many are there", has(all));
    poll_until(&mut followers, "both rest again", |_| source.resting() == [0, 1]);
    broker.kill();
    (0..50).for_each(|_| followers.iter_mut().for_each(Follower::poll));
    broker.restart();
    send(&broker, 1, 700);
    let all = send(&broker, 0, 700);
    poll_until(&mut followers, "the broker is back", has(all));
    poll_until(&mut followers, "both rest once more", |_| source.resting() == [0, 1]);
    for (follower, sent) in followers.iter().zip(all) {
        let expected: Vec<i64> = (0..sent as i64).collect();
        assert_eq!(follower.offsets, expected, "partition {}", follower.partition);
    }
}
