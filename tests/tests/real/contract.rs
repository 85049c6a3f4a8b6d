//! The Kafka adapter fulfils the contract of a source against a real broker. Each check is a test; the contract
//! describes them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kernel::source::Source;
use kernel::source::contract::{self, Needs, Sent, Stage, Topic, Transaction};
use tests::eventually;
use tests::kafka::{Broker, Codec, Producer};
use tests::scratch::unique;
use tidemark_kafka::{KafkaOptions, KafkaSource};

kernel::source_contract!(RealKafka);

struct RealKafka;

/// Large messages, arbitrary timestamps, and removal only on request.
const PLAIN: [(&str, &str); 3] = [
    ("max.message.bytes", "12000000"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
    ("retention.ms", "-1"),
];

/// The time until a compacted topic starts a new segment; only messages before the last segment are compacted.
const SEGMENT: Duration = Duration::from_millis(50);

const COMPACTED: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "50"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("min.compaction.lag.ms", "0"),
    ("delete.retention.ms", "0"),
];

/// The broker for tests that break it, one test at a time.
static UNLUCKY: Mutex<Option<Broker>> = Mutex::new(None);

enum Where {
    Shared(&'static Broker),
    Unlucky(MutexGuard<'static, Option<Broker>>),
}

impl Deref for Where {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        match self {
            Where::Shared(broker) => broker,
            Where::Unlucky(broker) => broker.as_ref().expect("it was started"),
        }
    }
}

impl DerefMut for Where {
    fn deref_mut(&mut self) -> &mut Broker {
        match self {
            Where::Shared(_) => panic!("accidents happen to a broker of their own"),
            Where::Unlucky(broker) => broker.as_mut().expect("it was started"),
        }
    }
}

fn source_of(broker: &Broker, topic: &str) -> Arc<dyn Source> {
    let options = KafkaOptions::new(broker.bootstrap(), topic, BTreeMap::new()).expect("valid options");
    KafkaSource::new(options).expect("librdkafka takes the settings")
}

impl Stage for RealKafka {
    type Topic = RealTopic;

    fn topic(&mut self, partitions: i32, needs: Needs) -> RealTopic {
        let broker = match needs {
            Needs::Accidents => {
                // A failed test may leave a stopped broker.
                let mut broker = UNLUCKY.lock().unwrap_or_else(|poisoned| {
                    let mut broker = poisoned.into_inner();
                    *broker = None;
                    broker
                });
                broker.get_or_insert_with(Broker::start);
                Where::Unlucky(broker)
            }
            Needs::Nothing | Needs::Compaction => Where::Shared(Broker::shared()),
        };
        let settings = if needs == Needs::Compaction { &COMPACTED[..] } else { &PLAIN };
        let name = unique("contract");
        broker.create_topic(&name, partitions, settings);
        RealTopic { broker, name, settings, producers: Vec::new(), transactions: BTreeMap::new() }
    }

    fn missing_topic(&mut self) -> Arc<dyn Source> {
        source_of(Broker::shared(), &unique("never-there"))
    }
}

struct RealTopic {
    broker: Where,
    name: String,
    settings: &'static [(&'static str, &'static str)],
    producers: Vec<(contract::Codec, Producer)>,
    /// With the partitions that each wrote to.
    transactions: BTreeMap<Transaction, (Producer, BTreeSet<i32>)>,
}

impl RealTopic {
    fn producer(&mut self, codec: contract::Codec) -> &Producer {
        let known = self.producers.iter().position(|(known, _)| *known == codec);
        let known = known.unwrap_or_else(|| {
            let theirs = match codec {
                contract::Codec::None => Codec::None,
                contract::Codec::Gzip => Codec::Gzip,
                contract::Codec::Snappy => Codec::Snappy,
                contract::Codec::Lz4 => Codec::Lz4,
                contract::Codec::Zstd => Codec::Zstd,
            };
            self.producers.push((codec, self.broker.oversized_producer(&self.name, theirs)));
            self.producers.len() - 1
        });
        &self.producers[known].1
    }

    fn end_of(&self, partition: i32) -> i64 {
        self.broker.watermarks(&self.name)[&partition].1
    }
}

fn send(producer: &Producer, partition: i32, messages: &[Sent]) {
    for Sent { key, value, timestamp_ms, headers } in messages {
        producer.send_whole(partition, key.as_deref(), value.as_deref(), *timestamp_ms, headers);
    }
    producer.flush();
}

impl Topic for RealTopic {
    fn source(&self) -> Arc<dyn Source> {
        source_of(&self.broker, &self.name)
    }

    fn send(&mut self, partition: i32, messages: &[Sent], codec: contract::Codec) {
        send(self.producer(codec), partition, messages);
    }

    fn begin(&mut self) -> Transaction {
        let producer = self.broker.transactional_producer(&self.name);
        producer.begin();
        let transaction = Transaction(self.transactions.len());
        self.transactions.insert(transaction, (producer, BTreeSet::new()));
        transaction
    }

    fn send_in(&mut self, transaction: Transaction, partition: i32, messages: &[Sent]) {
        let (producer, partitions) = self.transactions.get_mut(&transaction).expect("it was begun");
        partitions.insert(partition);
        send(producer, partition, messages);
    }

    /// The coordinator writes the control records after it has answered.
    fn end(&mut self, transaction: Transaction, commit: bool) {
        let (producer, partitions) = &self.transactions[&transaction];
        let ends: Vec<_> = partitions.iter().map(|partition| (*partition, self.end_of(*partition))).collect();
        if commit {
            producer.commit()
        } else {
            producer.abort()
        }
        for (partition, end) in ends {
            eventually("the control record is there", || (self.end_of(partition) == end + 1).then_some(()));
        }
    }

    fn retain_from(&mut self, partition: i32, offset: i64) {
        self.broker.delete_records(&self.name, partition, offset);
    }

    fn compact(&mut self, partition: i32) {
        std::thread::sleep(2 * SEGMENT);
        let last = Sent { key: Some(b"of the next segment".to_vec()), ..contract::text("the last") };
        self.send(partition, &[last], contract::Codec::None);
        eventually("each key has one message left", || {
            let keys = self.broker.keys(&self.name, partition);
            let distinct: BTreeSet<_> = keys.values().collect();
            (distinct.len() == keys.len()).then_some(())
        });
    }

    fn delete(&mut self) {
        self.producers.clear();
        self.broker.delete_topic(&self.name);
    }

    fn create_again(&mut self, partitions: i32) {
        self.broker.create_topic(&self.name, partitions, self.settings);
    }

    fn grow(&mut self, partitions: i32) {
        self.producers.clear();
        self.broker.grow_topic(&self.name, partitions);
    }

    fn stop(&mut self) {
        self.producers.clear();
        self.broker.kill();
    }

    fn start(&mut self) {
        self.broker.restart();
    }

    fn start_without(&mut self, partition: i32, from: i64) {
        self.producers.clear();
        self.broker.restart_without(&self.name, partition, from);
    }

    fn wait(&self) {
        std::thread::sleep(Duration::from_millis(100));
    }
}
