//! What the Kafka adapter says when there is nothing to read. What it reads is held to the contract of sources, in `contract`.

use std::collections::BTreeMap;

use kernel::ErrorKind;
use kernel::message::SourceFailure;
use kernel::source::Source;
use tests::kafka::Broker;
use tidemark_kafka::{KafkaOptions, KafkaSource};

fn source(bootstrap: &str, topic: &str) -> std::sync::Arc<KafkaSource> {
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
    assert_eq!(error.kind, ErrorKind::UndefinedObject);
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
    assert_eq!(error.kind, ErrorKind::SourceUnreachable);
    assert!(error.message.contains(&address), "{error}");
}
