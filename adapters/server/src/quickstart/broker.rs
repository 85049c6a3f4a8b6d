//! The broker of the payments: an embedded one on a loopback port, or a topic of our own on an existing Kafka.

use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::embedded::EmbeddedBroker;

/// Source partitions of the topic.
pub(super) const PARTITIONS: i32 = 4;

/// How long the brokers may take to create the topic.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a broker may take to answer at all.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// More events than failing connections produce within that time.
const EVENTS_MAX: usize = 1_000;

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
        reach(brokers).await?;
        let done = admin(brokers)?.create_topics([&new_topic], &options()).await;
        for created in done.map_err(|error| format!("cannot create topic {topic} on {brokers}: {error}"))? {
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

/// Remembers why a connection failed: a request through it only reports a timeout.
#[derive(Default)]
struct Connections {
    failure: Mutex<Option<String>>,
}

impl ClientContext for Connections {
    fn error(&self, error: KafkaError, reason: &str) {
        // The reason for one broker is more useful than the report that all are down.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.failure.lock() = Some(reason.to_string());
        }
    }
}

impl ConsumerContext for Connections {}

/// Waits until a broker answers; if none does, says so soon, and why.
async fn reach(brokers: &str) -> Result<(), String> {
    let client: BaseConsumer<Connections> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create_with_context(Connections::default())
        .map_err(|error| format!("{brokers}: {error}"))?;
    let asked = tokio::task::spawn_blocking(move || {
        let answered = client.client().fetch_cluster_id(REACH_TIMEOUT).is_some();
        // There are no messages: each poll returns one waiting event, and one of them contains the error.
        for _ in 0..EVENTS_MAX {
            let _ = client.poll(Duration::ZERO);
        }
        (answered, client.context().failure.lock().take())
    });
    let (answered, failure) = asked.await.map_err(|error| error.to_string())?;
    if answered {
        return Ok(());
    }
    let why = failure.map_or_else(String::new, |text| format!(": {text}"));
    Err(format!("no Kafka answers at {brokers}{why}; check the address, and that the broker runs"))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT)).operation_timeout(Some(ADMIN_TIMEOUT))
}
