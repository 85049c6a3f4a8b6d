//! (a) librdkafka alone: every message of the topic consumed with the batch call and dropped.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use kernel::source::Source;
use kernel::{OrdinalFilter, Position, SplitName};
use tidemark_kafka::{KafkaOptions, KafkaSource};

use crate::Outcome;
use crate::topic::Topic;

/// Runs (a) in a child process and reads what it printed.
pub fn measure(topic: &Topic, messages: u64) -> Result<Outcome> {
    let broker_before = topic.broker_cpu_seconds()?;
    let output = Command::new(std::env::current_exe()?)
        .args(["consume", topic.brokers(), topic.name()])
        .output()
        .context("start the consumer")?;
    if !output.status.success() {
        bail!("the consumer failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let mut figures = text.split_whitespace().map(|f| f.parse::<f64>());
    let mut next = || figures.next().context("a figure of the consumer")?.context("a number");
    let (consumed, seconds, cpu_seconds) = (next()?, next()?, next()?);
    if consumed as u64 != messages {
        bail!("the consumer saw {consumed} of {messages} messages");
    }
    Ok(Outcome { seconds, cpu_seconds, broker_cpu_seconds: topic.broker_cpu_seconds()? - broker_before })
}

/// The child: prints messages, seconds and CPU-seconds.
pub fn run(brokers: &str, topic: &str) -> Result<()> {
    let source = KafkaSource::new(KafkaOptions::new(brokers, topic, BTreeMap::new())?)?;
    let failed = |failure| anyhow!("{failure:?}");
    let metadata = source.read().map_err(failed)?;
    let began = Instant::now();
    let mut readers = vec![];
    for (&partition, &(earliest, end)) in &metadata.partitions() {
        let start = Position::kafka(earliest, -1);
        readers.push((
            source.open(&SplitName::kafka(partition), start).map_err(failed)?,
            OrdinalFilter::new(start),
            end,
        ));
    }
    let mut messages = 0_u64;
    while !readers.is_empty() {
        let mut failure = None;
        readers.retain_mut(|(reader, filter, end)| {
            let polled = reader.poll(8192, Duration::from_millis(1), &mut |batch| {
                let batch = batch.messages().expect("Kafka has raw messages");
                messages += batch.iter().filter(|m| filter.admit(m.ordinal, m.mark)).count() as u64;
            });
            match polled {
                Ok(polled) => filter.advance_to(polled.next_ordinal.unwrap_or(0)),
                Err(error) => failure = Some(error),
            }
            filter.position().ordinal() < *end
        });
        if let Some(failure) = failure {
            return Err(failed(failure));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{messages} {seconds} {}", crate::process::cpu_seconds(std::process::id())?);
    Ok(())
}
