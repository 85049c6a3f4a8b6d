//! Freshness: from the producer's acknowledgement (linger 0, open loop) to the row seen by a prepared SELECT. One partition, so
//! that order is total: when k rows are seen, the k-th message is.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Result;
use postgres::Client;
use rdkafka::ClientContext;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::cluster::Postgres;
use crate::tidemark::Tidemark;
use crate::topic::Topic;
use crate::{Settings, ask, message};

/// Between one probe and the next.
const PROBE_PAUSE: Duration = Duration::from_millis(5);

/// The measurements.
pub struct Freshness {
    /// From acknowledged to seen, ascending.
    latencies: Vec<Duration>,
    /// Durations of the probing query itself, ascending.
    probes: Vec<Duration>,
}

impl Freshness {
    /// Prints the percentiles.
    pub fn print(&self, name: &str) {
        let at = |of: &[Duration], p: f64| of[((of.len() - 1) as f64 * p) as usize].as_secs_f64() * 1e3;
        println!(
            "{name:<34} p50 {:>6.1} ms  p99 {:>6.1} ms   (probe's own cost: p50 {:.2} ms; {} messages)",
            at(&self.latencies, 0.5),
            at(&self.latencies, 0.99),
            at(&self.probes, 0.5),
            self.latencies.len()
        );
    }
}

/// Of a pipeline into an append table.
pub fn of_tidemark(server: &mut Tidemark, topic: &Topic, settings: &Settings) -> Result<Freshness> {
    let name = "fresh";
    let source = format!("{}-fresh-b", topic.name());
    topic.create(&source, 1)?;
    let mut client = server.connect();
    server.define(&mut client, name, topic.brokers(), &source)?;
    ask::run(&mut client, &format!("START PIPELINE {name}"))?;
    measure(&mut client, "SELECT count(*) FROM fresh", topic, &source, settings)
}

/// Of the loader into PostgreSQL. Its probe reads the offset, which is committed with the rows and cheaper to ask for.
pub fn of_postgres(postgres: &Postgres, topic: &Topic, settings: &Settings) -> Result<Freshness> {
    let source = format!("{}-fresh-c", topic.name());
    topic.create(&source, 1)?;
    let mut client = postgres.connect()?;
    postgres.define(&mut client)?;
    let mut loader = postgres.loader(topic, &source, 0)?;
    let measured = measure(&mut client, "SELECT max(next_offset) FROM offsets", topic, &source, settings);
    loader.kill()?;
    loader.wait()?;
    measured
}

fn measure(
    client: &mut Client,
    probe: &str,
    topic: &Topic,
    source: &str,
    settings: &Settings,
) -> Result<Freshness> {
    let warm_up = settings.rate * settings.warm_up_seconds;
    let messages = warm_up + settings.rate * settings.freshness_seconds;
    let (acknowledged, acknowledgements) = mpsc::channel();
    let producing = produce(topic, source, settings.rate, messages, acknowledged)?;
    let probe = client.prepare(probe)?;
    let mut sightings: Vec<(u64, Instant)> = vec![];
    let mut probes = vec![];
    let deadline =
        Instant::now() + Duration::from_secs(settings.warm_up_seconds + settings.freshness_seconds + 30);
    loop {
        let asked = Instant::now();
        let seen = client.query_one(&probe, &[])?.get::<_, Option<i64>>(0).unwrap_or(0) as u64;
        let now = Instant::now();
        probes.push(now - asked);
        if sightings.last().is_none_or(|(before, _)| *before < seen) {
            sightings.push((seen, now));
        }
        if seen >= messages {
            break;
        }
        anyhow::ensure!(now < deadline, "{seen} of {messages} messages were seen in time");
        // The load that the probes make stays small, whatever one costs.
        std::thread::sleep(PROBE_PAUSE);
    }
    producing.join().expect("the producer does not panic")?;
    let mut latencies = vec![];
    let mut sighting = 0;
    for (k, at) in acknowledgements.into_iter().enumerate() {
        while sightings[sighting].0 <= k as u64 {
            sighting += 1;
        }
        latencies.push(sightings[sighting].1.saturating_duration_since(at));
    }
    latencies.drain(..warm_up as usize);
    latencies.sort();
    probes.sort();
    Ok(Freshness { latencies, probes })
}

/// Notes when each message was acknowledged. One partition: acknowledgements come in order.
struct Acknowledged(mpsc::Sender<Instant>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            // The receiver is dropped only if the measurement already failed.
            let _ = self.0.send(Instant::now());
        }
    }
}

/// Sends at a fixed rate, without waiting for acknowledgements.
fn produce(
    topic: &Topic,
    source: &str,
    rate: u64,
    messages: u64,
    acknowledged: mpsc::Sender<Instant>,
) -> Result<std::thread::JoinHandle<Result<()>>> {
    let producer: ThreadedProducer<Acknowledged> =
        topic.client().set("linger.ms", "0").create_with_context(Acknowledged(acknowledged))?;
    let source = source.to_string();
    Ok(std::thread::spawn(move || {
        let began = Instant::now();
        let mut payload = String::new();
        for n in 0..messages {
            let due = began + Duration::from_nanos(n * 1_000_000_000 / rate);
            let now = Instant::now();
            if due > now {
                std::thread::sleep(due - now);
            }
            message::write(n, &mut payload);
            let record = BaseRecord::<(), str>::to(&source).partition(0).payload(&payload);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(Duration::from_secs(30))?;
        Ok(())
    }))
}
