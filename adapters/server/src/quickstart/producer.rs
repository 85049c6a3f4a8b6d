//! The payments: produced at a steady pace, and added up when the broker acknowledges them. The table must match this
//! sum.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::broker::{Broker, PARTITIONS};

/// Accounts that payments go to.
const ACCOUNTS: u64 = 10_000;

/// How often a batch of payments is handed to the client.
const BEAT: Duration = Duration::from_millis(5);

/// How long the broker may take to acknowledge the last payments.
const FLUSH_MAX: Duration = Duration::from_secs(30);

/// Payments and their sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Totals {
    pub payments: u64,
    pub cents: i64,
}

/// The acknowledged payments, and their times.
#[derive(Default)]
struct Ledger {
    totals: Totals,
    /// Acknowledged payments over time, oldest first, for the freshness.
    history: VecDeque<(Instant, u64)>,
    failure: Option<String>,
}

/// Counts deliveries.
#[derive(Clone, Default)]
struct Deliveries(Arc<parking_lot::Mutex<Ledger>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<i64>;

    fn delivery(&self, result: &DeliveryResult<'_>, cents: Box<i64>) {
        let mut ledger = self.0.lock();
        match result {
            Ok(_) => {
                ledger.totals.payments += 1;
                ledger.totals.cents += *cents;
            }
            Err((error, _)) => ledger.failure = Some(error.to_string()),
        }
    }
}

/// A thread that produces.
pub(super) struct Producer {
    deliveries: Deliveries,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Producer {
    /// Produces `rate` payments a second for this long.
    pub(super) fn start(broker: &Broker, rate: u64, length: Duration) -> Result<Producer, String> {
        let deliveries = Deliveries::default();
        // Idempotent, so that a retry of the client's is not a second payment.
        let client: BaseProducer<Deliveries> = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", "500000")
            .create_with_context(deliveries.clone())
            .map_err(|error| format!("the producer does not start: {error}"))?;
        let (topic, stop) = (broker.topic().to_string(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let produce = move || produce(&client, &topic, rate, length, &stopped);
        let thread = std::thread::Builder::new().name("producer".into()).spawn(produce);
        let thread = thread.map_err(|error| format!("the producer does not start: {error}"))?;
        Ok(Producer { deliveries, stop, thread: Some(thread) })
    }

    /// The payments acknowledged so far.
    pub(super) fn acknowledged(&self) -> Totals {
        self.deliveries.0.lock().totals
    }

    /// When the payment after the first `counted` ones was acknowledged; None if there is none yet. Drops older
    /// entries.
    pub(super) fn next_after(&self, counted: u64) -> Option<Instant> {
        let mut ledger = self.deliveries.0.lock();
        while ledger.history.front().is_some_and(|(_, acknowledged)| *acknowledged <= counted) {
            ledger.history.pop_front();
        }
        ledger.history.front().map(|(at, _)| *at)
    }

    /// Waits for the last acknowledgement. An unacknowledged payment makes the verdict invalid.
    pub(super) async fn finish(mut self) -> Result<Totals, String> {
        let thread = self.thread.take().expect("finished once");
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        joined.map_err(|error| error.to_string())?.map_err(|_| "the producer panicked".to_string())??;
        let ledger = self.deliveries.0.lock();
        match &ledger.failure {
            None => Ok(ledger.totals),
            Some(failure) => Err(format!("the broker did not take all payments: {failure}")),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// An open loop: each beat sends all payments that are due.
fn produce(
    client: &BaseProducer<Deliveries>,
    topic: &str,
    rate: u64,
    length: Duration,
    stop: &AtomicBool,
) -> Result<(), String> {
    let begun = Instant::now();
    let (mut sent, mut seed) = (0_u64, 0x5eed_u64);
    let mut text = String::with_capacity(64);
    while begun.elapsed() < length && !stop.load(Ordering::Acquire) {
        let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64;
        while sent < due && !stop.load(Ordering::Acquire) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let account = (seed >> 33) % ACCOUNTS;
            let cents = ((seed >> 20) % 100_000) as i64 - 20_000;
            text.clear();
            use std::fmt::Write;
            let _ = write!(text, "{{\"name\": \"account-{account:05}\", \"amount\": {cents}}}");
            send(client, topic, (sent % PARTITIONS as u64) as i32, &text, cents)?;
            sent += 1;
        }
        take_acknowledgements(client, Duration::ZERO);
        std::thread::sleep(BEAT);
    }
    let flush_by = Instant::now() + FLUSH_MAX;
    while client.in_flight_count() > 0 && Instant::now() < flush_by && !stop.load(Ordering::Acquire) {
        take_acknowledgements(client, Duration::from_millis(50));
    }
    match client.in_flight_count() {
        0 => Ok(()),
        left => Err(format!("the broker did not acknowledge the last {left} payments")),
    }
}

/// Hands one payment to the client; waits if its queue is full.
fn send(
    client: &BaseProducer<Deliveries>,
    topic: &str,
    partition: i32,
    text: &str,
    cents: i64,
) -> Result<(), String> {
    let mut record: BaseRecord<'_, (), str, Box<i64>> =
        BaseRecord::with_opaque_to(topic, Box::new(cents)).payload(text).partition(partition);
    loop {
        match client.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                take_acknowledgements(client, Duration::from_millis(10));
                record = refused;
            }
            Err((error, _)) => return Err(format!("a payment cannot be produced: {error}")),
        }
    }
}

/// Takes all available acknowledgements, waiting for the first up to `timeout`, and records their times. One poll
/// handles one response, so one poll per beat would fall behind.
fn take_acknowledgements(client: &BaseProducer<Deliveries>, mut timeout: Duration) {
    let ledger = &client.context().0;
    let mut before = ledger.lock().totals.payments;
    loop {
        client.poll(timeout);
        timeout = Duration::ZERO;
        let mut ledger = ledger.lock();
        let acknowledged = ledger.totals.payments;
        if acknowledged == before {
            return;
        }
        ledger.history.push_back((Instant::now(), acknowledged));
        before = acknowledged;
    }
}
