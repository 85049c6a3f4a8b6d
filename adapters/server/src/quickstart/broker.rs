//! Where the payments are: an embedded broker on a loopback port, or a topic of our own on somebody's Kafka.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::embedded::EmbeddedBroker;

/// Source partitions of the topic.
pub(super) const PARTITIONS: i32 = 4;

/// How long the brokers may take to create the topic.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(15);

/// A broker and a topic on it.
pub(super) struct Broker {
    bootstrap: String,
    topic: String,
    embedded: Option<EmbeddedBroker>,
}

impl Broker {
    /// Starts a broker in this process.
    pub(super) async fn embedded() -> Result<Broker, String> {
        let topic = "payments".to_string();
        let broker = EmbeddedBroker::start(&topic, PARTITIONS).await;
        let broker = broker.map_err(|error| format!("the broker does not start: {error}"))?;
        Ok(Broker { bootstrap: broker.address().to_string(), topic, embedded: Some(broker) })
    }

    /// Creates a topic on a running Kafka.
    pub(super) async fn on_kafka(brokers: &str) -> Result<Broker, String> {
        let topic = format!("tidemark-quickstart-{}", std::process::id());
        let new_topic = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(-1));
        let done = admin(brokers)?.create_topics([&new_topic], &options()).await;
        for created in done.map_err(|error| format!("{brokers} cannot be reached: {error}"))? {
            created.map_err(|(topic, code)| format!("cannot create topic {topic} on {brokers}: {code}"))?;
        }
        Ok(Broker { bootstrap: brokers.to_string(), topic, embedded: None })
    }

    /// `host:port[,host:port…]`
    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Removes the topic from a Kafka that is not ours.
    pub(super) async fn remove(self) {
        if self.embedded.is_none()
            && let Ok(admin) = admin(&self.bootstrap)
        {
            let _ = admin.delete_topics(&[&self.topic], &options()).await;
        }
    }
}

fn admin(brokers: &str) -> Result<AdminClient<DefaultClientContext>, String> {
    let client = ClientConfig::new().set("bootstrap.servers", brokers).create();
    client.map_err(|error| format!("{brokers}: {error}"))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT)).operation_timeout(Some(ADMIN_TIMEOUT))
}
