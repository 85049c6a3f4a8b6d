//! Producers: plain, compressed, transactional. Every message is acknowledged when a call returns, or the test fails.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders, ToBytes};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::Broker;
use crate::scratch::unique;

const TIMEOUT: Duration = Duration::from_secs(60);

/// How the producer compresses its batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// All of them.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

/// Sends messages to one topic.
pub struct Producer {
    inner: ThreadedProducer<Deliveries>,
    topic: String,
}

#[derive(Default)]
struct Deliveries {
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result
            && *error != KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue)
        {
            eprintln!("a message was not delivered: {error}");
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Broker {
    /// A producer for a topic.
    pub fn producer(&self, topic: &str) -> Producer {
        self.compressing_producer(topic, Codec::None)
    }

    /// A producer that compresses its batches.
    pub fn compressing_producer(&self, topic: &str, codec: Codec) -> Producer {
        self.producer_with(topic, &[("compression.type", codec.name())])
    }

    /// A producer that compresses its batches and sends messages of many megabytes.
    pub fn oversized_producer(&self, topic: &str, codec: Codec) -> Producer {
        self.producer_with(topic, &[("message.max.bytes", "12000000"), ("compression.type", codec.name())])
    }

    /// A producer that sends in transactions: `begin`, `send`, `commit` or `abort`.
    pub fn transactional_producer(&self, topic: &str) -> Producer {
        let producer = self.producer_with(topic, &[("transactional.id", &unique("tests"))]);
        producer.inner.init_transactions(TIMEOUT).expect("the broker has a transaction coordinator");
        producer
    }

    fn producer_with(&self, topic: &str, settings: &[(&str, &str)]) -> Producer {
        let mut config = self.client();
        config.set("linger.ms", "5").set("acks", "all").set("enable.idempotence", "true");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let inner = config.create_with_context(Deliveries::default()).expect("valid settings");
        Producer { inner, topic: topic.to_string() }
    }
}

impl Producer {
    /// Queues a message for a partition, waiting while the queue is full.
    pub fn send(&self, partition: i32, value: impl AsRef<[u8]>) {
        self.send_keyed(partition, "", value);
    }

    /// As `send`, with a key.
    pub fn send_keyed(&self, partition: i32, key: &str, value: impl AsRef<[u8]>) {
        self.send_record(BaseRecord::to(&self.topic).partition(partition).key(key).payload(value.as_ref()));
    }

    /// As `send`, with everything that a message can have, or not have.
    pub fn send_whole(
        &self,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp_ms: Option<i64>,
        headers: &[(String, Vec<u8>)],
    ) {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).partition(partition);
        (record.key, record.payload, record.timestamp) = (key, value, timestamp_ms);
        if !headers.is_empty() {
            let add = |all: OwnedHeaders, (key, value): &(String, Vec<u8>)| {
                all.insert(Header { key, value: Some(value) })
            };
            record.headers = Some(headers.iter().fold(OwnedHeaders::new(), add));
        }
        self.send_record(record);
    }

    fn send_record<K: ToBytes + ?Sized, P: ToBytes + ?Sized>(&self, mut record: BaseRecord<'_, K, P>) {
        loop {
            match self.inner.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    std::thread::sleep(Duration::from_millis(2));
                    record = again;
                }
                Err((error, _)) => panic!("cannot produce to {}: {error}", self.topic),
            }
        }
    }

    /// Waits until everything sent is acknowledged.
    pub fn flush(&self) {
        self.inner.flush(TIMEOUT).unwrap_or_else(|e| panic!("{} was not flushed: {e}", self.topic));
        let failed = self.inner.context().failed.load(Ordering::Relaxed);
        assert_eq!(failed, 0, "messages to {} were not delivered", self.topic);
    }

    /// Begins a transaction.
    pub fn begin(&self) {
        self.inner.begin_transaction().expect("no transaction is open");
    }

    /// Commits the transaction.
    pub fn commit(&self) {
        self.inner.commit_transaction(TIMEOUT).expect("the transaction commits");
    }

    /// Aborts the transaction, after its messages have reached the broker.
    pub fn abort(&self) {
        self.flush();
        self.inner.abort_transaction(TIMEOUT).expect("the transaction aborts");
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Producer to {}", self.topic)
    }
}
