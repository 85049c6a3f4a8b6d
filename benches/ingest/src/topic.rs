//! The topic that all contenders read, on a broker of our own or one that is there.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tests::kafka::Broker;

use crate::{Settings, message, process};

/// A topic on a broker.
pub struct Topic {
    broker: Option<Broker>,
    brokers: String,
    name: String,
}

impl Topic {
    /// Starts a broker (unless one is named), makes the topic and fills it.
    pub fn prefilled(settings: &Settings) -> Result<Topic> {
        let broker = match settings.brokers {
            Some(_) => None,
            None => Some(Broker::start()),
        };
        let brokers = match (&settings.brokers, &broker) {
            (Some(brokers), _) => brokers.clone(),
            (None, Some(broker)) => broker.bootstrap().to_string(),
            (None, None) => unreachable!("one of the two"),
        };
        let topic = Topic { broker, brokers, name: format!("ingest-{}", std::process::id()) };
        topic.create(&topic.name, settings.partitions)?;
        topic.fill(settings)?;
        Ok(topic)
    }

    /// Bootstrap servers.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// CPU that the broker has used; 0 where it is not ours.
    pub fn broker_cpu_seconds(&self) -> Result<f64> {
        self.broker.as_ref().and_then(|b| b.pid()).map_or(Ok(0.0), process::tree_cpu_seconds)
    }

    /// Makes another topic on the same broker.
    pub fn create(&self, name: &str, partitions: i32) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let made = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new()))?;
        for result in made {
            if let Err((name, code)) = result {
                bail!("create topic {name}: {code}");
            }
        }
        Ok(())
    }

    /// Settings of a client of this broker.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    fn fill(&self, settings: &Settings) -> Result<()> {
        let began = Instant::now();
        let producer: BaseProducer = self
            .client()
            .set("linger.ms", "50")
            .set("batch.size", "1000000")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", "1000000")
            .create()?;
        let mut payload = String::new();
        for n in 0..settings.messages {
            message::write(n, &mut payload);
            let partition = (n % settings.partitions as u64) as i32;
            let mut record = BaseRecord::<(), str>::to(&self.name).partition(partition).payload(&payload);
            while let Err((error, back)) = producer.send(record) {
                if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    return Err(error.into());
                }
                producer.poll(Duration::from_millis(10));
                record = back;
            }
            if n % 10_000 == 0 {
                producer.poll(Duration::ZERO);
            }
            if n % 1_000_000 == 0 && n > 0 {
                eprintln!("produced {n} of {}", settings.messages);
            }
        }
        producer.flush(Duration::from_secs(120))?;
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "topic: {} messages of about {} bytes in {} partitions, produced in {seconds:.1} s",
            settings.messages,
            payload.len(),
            settings.partitions
        );
        Ok(())
    }
}
