//! The loader of (c), written carefully. One connection per worker, two workers that share the partitions; each
//! transaction copies a batch in binary form and upserts the offsets.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde::Deserialize;
use tokio_postgres::NoTls;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

/// Most messages in one transaction.
const BATCH_MESSAGES: usize = 50_000;
const WORKERS: usize = 2;

/// A message, borrowed from Kafka's buffer.
#[derive(Deserialize)]
struct Payment<'a> {
    id: i64,
    name: &'a str,
    amount: i64,
    currency: &'a str,
    price: f64,
    urgent: bool,
    note: &'a str,
    at: &'a str,
}

/// Loads until `messages` were loaded in all; 0 goes on for ever.
pub fn run(brokers: &str, topic: &str, postgres: &str, messages: u64) -> Result<()> {
    let partitions = partitions_of(brokers, topic)?;
    let loaded = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS.min(partitions as usize))
            .map(|worker| {
                let mine = (0..partitions).filter(|p| *p as usize % WORKERS == worker).collect();
                let loaded = &loaded;
                scope.spawn(move || work(brokers, topic, postgres, mine, messages, loaded))
            })
            .collect();
        workers.into_iter().try_for_each(|w| w.join().expect("a worker does not panic"))
    })
}

fn partitions_of(brokers: &str, topic: &str) -> Result<i32> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
    Ok(metadata.topics()[0].partitions().len() as i32)
}

fn work(
    brokers: &str,
    topic: &str,
    postgres: &str,
    partitions: Vec<i32>,
    messages: u64,
    loaded: &std::sync::atomic::AtomicU64,
) -> Result<()> {
    use std::sync::atomic::Ordering::Relaxed;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("queued.min.messages", "500000")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for &partition in &partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (mut client, connection) = runtime.block_on(tokio_postgres::connect(postgres, NoTls))?;
    runtime.spawn(connection);
    while messages == 0 || loaded.load(Relaxed) < messages {
        let batch = poll_batch(&consumer)?;
        if !batch.is_empty() {
            runtime.block_on(commit(&mut client, &batch))?;
            loaded.fetch_add(batch.len() as u64, Relaxed);
        }
    }
    Ok(())
}

/// The available messages, at most a full batch; waits a moment for the first message.
fn poll_batch(consumer: &BaseConsumer) -> Result<Vec<rdkafka::message::BorrowedMessage<'_>>> {
    let mut batch = vec![];
    let mut wait = Duration::from_millis(20);
    while batch.len() < BATCH_MESSAGES
        && let Some(message) = consumer.poll(wait)
    {
        batch.push(message?);
        wait = Duration::ZERO;
    }
    Ok(batch)
}

async fn commit(
    client: &mut tokio_postgres::Client,
    batch: &[rdkafka::message::BorrowedMessage<'_>],
) -> Result<()> {
    let transaction = client.transaction().await?;
    let sink = transaction.copy_in("COPY payments FROM STDIN BINARY").await?;
    let (text, at) = (Type::TEXT, Type::TIMESTAMPTZ);
    let types = [Type::INT8, text.clone(), Type::INT8, text.clone(), Type::FLOAT8, Type::BOOL, text, at];
    let writer = BinaryCopyInWriter::new(sink, &types);
    let mut writer = std::pin::pin!(writer);
    let mut next = BTreeMap::new();
    for message in batch {
        let p: Payment = serde_json::from_slice(message.payload().context("a value")?)?;
        let at = chrono::DateTime::parse_from_rfc3339(p.at)?.to_utc();
        writer
            .as_mut()
            .write(&[&p.id, &p.name, &p.amount, &p.currency, &p.price, &p.urgent, &p.note, &at])
            .await?;
        next.insert(message.partition(), message.offset() + 1);
    }
    writer.finish().await?;
    for (partition, offset) in next {
        let upsert = "INSERT INTO offsets VALUES ($1, $2) \
                      ON CONFLICT (source_partition) DO UPDATE SET next_offset = excluded.next_offset";
        transaction.execute(upsert, &[&partition, &offset]).await?;
    }
    transaction.commit().await?;
    Ok(())
}
