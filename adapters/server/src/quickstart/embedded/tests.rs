//! librdkafka's producer and consumer work with the embedded broker.

use std::time::Duration;

use kernel::Position;
use kernel::source::Source;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidemark_kafka::{KafkaOptions, KafkaSource};

use super::EmbeddedBroker;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_produced_is_read_from_any_offset() {
    let broker = EmbeddedBroker::start("t", 3).await.unwrap();
    let brokers = broker.address().to_string();
    tokio::task::spawn_blocking(move || produce_and_read(&brokers)).await.unwrap();
}

fn produce_and_read(brokers: &str) {
    const MESSAGES: i64 = 3_000;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .create()
        .unwrap();
    for n in 0..MESSAGES {
        let text = n.to_string();
        producer.send(BaseRecord::<(), str>::to("t").payload(&text).partition((n % 3) as i32)).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();

    let options = KafkaOptions::new(brokers, "t", Default::default()).unwrap();
    let source = KafkaSource::new(options).unwrap();
    let metadata = source.read().unwrap();
    assert_eq!(
        metadata.partitions().into_iter().collect::<Vec<_>>(),
        [(0, (0, 1_000)), (1, (0, 1_000)), (2, (0, 1_000))]
    );
    for start in [0, 1, 577, 999] {
        let mut reader = source.open(&kernel::SplitName::kafka(1), Position::kafka(start, -1)).unwrap();
        let mut next = start;
        while next < 1_000 {
            let mut take = |delivery: kernel::Delivery<'_>| {
                let messages = delivery.messages().expect("raw messages");
                for message in messages.iter().filter(|m| m.ordinal >= start) {
                    assert_eq!(message.ordinal, next);
                    assert_eq!(message.value.unwrap(), (next * 3 + 1).to_string().as_bytes());
                    next += 1;
                }
            };
            reader.poll(100, Duration::from_millis(100), &mut take).unwrap();
        }
    }
    let unknown = KafkaOptions::new(brokers, "other", Default::default()).unwrap();
    assert!(KafkaSource::new(unknown).unwrap().read().is_err());
}
