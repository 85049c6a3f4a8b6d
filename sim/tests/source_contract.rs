//! The simulated broker passes the source contract suite of real Kafka: once without faults, and once with legal noise:
//! deliveries that repeat, overlap, go back, are late or empty.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kernel::message::{SourceFailure, SourceMetadata};
use kernel::source::contract::{Codec, Needs, Sent, Stage, Topic, Transaction};
use kernel::source::{Polled, Source, SplitReader};
use kernel::{Delivery, Error, Position, SplitName, SqlState};
use sim::broker::{Broker, Message, Opening, Payload, Session};
use sim::decide::{Decide, Decisions, Rate, Recorded, Seeded};
use sim::fault::{Fault, FaultRates};

mod quiet {
    kernel::source_contract!(crate::Simulated { noise: &[] });
}

mod noisy {
    use sim::fault::Fault;

    kernel::source_contract!(crate::Simulated {
        noise: &[
            Fault::Redelivery,
            Fault::RepeatedResponse,
            Fault::LateResponse,
            Fault::FallBack,
            Fault::EmptyFetch,
            Fault::CompressedBatch,
        ],
    });
}

/// A job for the broker's thread: the simulator's world has one thread.
type Job = Box<dyn FnOnce(&mut Broker<'static>, &mut Surroundings) + Send>;

/// State beside the broker.
struct Surroundings {
    decisions: Decisions<'static>,
    faults: FaultRates,
    /// No random decisions while a partition is made.
    quiet: Rc<Cell<bool>>,
    last_sessions: BTreeMap<i32, Session>,
}

impl Surroundings {
    fn quietly(&mut self, broker: &mut Broker<'static>, act: impl FnOnce(&mut Broker<'static>)) {
        self.quiet.set(true);
        act(broker);
        self.quiet.set(false);
    }
}

/// A seed's decisions, or the quiet ones.
struct Muted {
    seeded: Seeded,
    quiet: Rc<Cell<bool>>,
}

impl Decide for Muted {
    fn below(&mut self, bound: u64) -> u64 {
        if self.quiet.get() { 0 } else { self.seeded.below(bound) }
    }

    fn chance(&mut self, rate: Rate) -> bool {
        !self.quiet.get() && self.seeded.chance(rate)
    }
}

#[derive(Clone)]
struct World {
    jobs: Sender<Job>,
}

impl World {
    fn new(partitions: i32, noise: &'static [Fault]) -> World {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            let quiet = Rc::new(Cell::new(true));
            let decisions = if noise.is_empty() {
                Decisions::new(Recorded::new(vec![]))
            } else {
                Decisions::new(Muted { seeded: Seeded::new(7), quiet: quiet.clone() })
            };
            let faults =
                noise.iter().fold(FaultRates::default(), |all, f| all.with(*f, Rate::per_mille(250)));
            decisions.set_faults(faults);
            let mut broker = Broker::new(decisions.clone(), 1, partitions as usize);
            quiet.set(false);
            let mut around = Surroundings { decisions, faults, quiet, last_sessions: BTreeMap::new() };
            for job in inbox {
                job(&mut broker, &mut around);
            }
        });
        World { jobs }
    }

    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Broker<'static>, &mut Surroundings) -> T + Send + 'static,
    ) -> T {
        let (answer, answered) = mpsc::channel();
        let job: Job = Box::new(move |broker, around| {
            // The caller waits for it.
            let _ = answer.send(job(broker, around));
        });
        self.jobs.send(job).expect("the broker's thread runs as long as a client exists");
        answered.recv().expect("the broker did not panic")
    }
}

/// The port over the model: fetched messages are kept until polls have taken them.
struct SimulatedSource {
    world: World,
    /// Number of the newest reader of each partition.
    owners: Arc<Mutex<BTreeMap<i32, u64>>>,
    watermarks: Mutex<BTreeMap<i32, (i64, i64)>>,
}

impl SimulatedSource {
    fn over(world: World) -> Arc<dyn Source> {
        Arc::new(SimulatedSource { world, owners: Arc::default(), watermarks: Mutex::default() })
    }

    fn told(&self, metadata: SourceMetadata) -> SourceMetadata {
        self.watermarks.lock().unwrap().extend(metadata.partitions().iter().map(|(p, at)| (*p, *at)));
        metadata
    }
}

impl Source for SimulatedSource {
    fn read(&self) -> Result<SourceMetadata, SourceFailure> {
        self.world.ask(|broker, _| broker.read(0)).map(|metadata| self.told(metadata))
    }

    fn verify(&self) -> Result<SourceMetadata, SourceFailure> {
        self.world.ask(|broker, _| broker.verify()).map(|metadata| self.told(metadata))
    }

    fn open(&self, split: &SplitName, start: Position) -> Result<Box<dyn SplitReader>, SourceFailure> {
        let partition = split.partition().expect("a partition");
        let mut owners = self.owners.lock().unwrap();
        let number = owners.entry(partition).or_default();
        *number += 1;
        let session = self.world.ask(move |broker, around| {
            let before = around.last_sessions.remove(&partition);
            broker.open(partition, start, Opening { before, ..Opening::default() })
        });
        Ok(Box::new(SimulatedReader {
            world: self.world.clone(),
            owners: self.owners.clone(),
            partition,
            number: *number,
            session,
            fetched: VecDeque::new(),
            position: None,
            bytes_max: u64::MAX,
            failure: None,
        }))
    }

    fn watermarks(&self) -> Vec<(SplitName, i64, i64)> {
        let watermarks = self.watermarks.lock().unwrap();
        watermarks.iter().map(|(p, (earliest, end))| (SplitName::kafka(*p), *earliest, *end)).collect()
    }
}

struct SimulatedReader {
    world: World,
    owners: Arc<Mutex<BTreeMap<i32, u64>>>,
    partition: i32,
    number: u64,
    session: Session,
    fetched: VecDeque<Message>,
    /// Position over a hole after the fetched messages.
    position: Option<i64>,
    bytes_max: u64,
    failure: Option<SourceFailure>,
}

impl SimulatedReader {
    fn fetch(&mut self, messages_max: usize) -> Result<(), SourceFailure> {
        let mut session = self.session.clone();
        let partition = self.partition;
        let (session, delivery) = self.world.ask(move |broker, around| {
            let delivery = broker.fetch(&mut session, messages_max);
            around.last_sessions.insert(partition, session.clone());
            (session, delivery)
        });
        self.session = session;
        let delivery = delivery?;
        (self.fetched, self.position) = (delivery.messages, delivery.position);
        Ok(())
    }
}

impl SplitReader for SimulatedReader {
    fn limit_bytes(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    fn poll(
        &mut self,
        messages_max: usize,
        _timeout: Duration,
        take: &mut dyn FnMut(Delivery<'_>),
    ) -> Result<Polled, SourceFailure> {
        if self.failure.is_none() && self.owners.lock().unwrap()[&self.partition] != self.number {
            let text = "the partition was opened again";
            let error = Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, text);
            self.failure = Some(SourceFailure::Transient(error));
        }
        if self.failure.is_none() && self.fetched.is_empty() {
            self.failure = self.fetch(messages_max).err();
        }
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let mut bytes_left = self.bytes_max;
        let fits = |message: &&Message| {
            let bytes = message.raw().source_bytes();
            let fits = bytes <= bytes_left || bytes_left == self.bytes_max;
            bytes_left = bytes_left.saturating_sub(bytes);
            fits
        };
        let count = self.fetched.iter().take(messages_max).take_while(fits).count();
        let taken: Vec<Message> = self.fetched.drain(..count).collect();
        if !taken.is_empty() {
            take(Delivery::Messages(&taken.iter().map(Message::raw).collect::<Vec<_>>()));
        }
        let position = if self.fetched.is_empty() { self.position.take() } else { None };
        Ok(Polled { messages: taken.len(), next_ordinal: position, at_end: position.is_some() })
    }
}

struct Simulated {
    noise: &'static [Fault],
}

impl Stage for Simulated {
    type Topic = SimulatedTopic;

    fn topic(&mut self, partitions: i32, _needs: Needs) -> SimulatedTopic {
        SimulatedTopic {
            world: World::new(partitions, self.noise),
            transactions: Vec::new(),
            keys: BTreeMap::new(),
        }
    }

    fn missing_topic(&mut self) -> Arc<dyn Source> {
        let world = World::new(1, self.noise);
        world.ask(|broker, _| broker.delete());
        SimulatedSource::over(world)
    }
}

struct SimulatedTopic {
    world: World,
    /// Partitions that each transaction wrote to.
    transactions: Vec<BTreeSet<i32>>,
    /// Keys of sent messages, by partition and offset, for the model's compaction.
    keys: BTreeMap<i32, BTreeMap<i64, Option<Vec<u8>>>>,
}

fn payloads(messages: &[Sent]) -> Vec<Payload> {
    let payload = |m: &Sent| Payload {
        timestamp_ms: m.timestamp_ms.unwrap_or(0),
        key: m.key.clone().map(Bytes::from),
        value: m.value.clone().map(Bytes::from),
    };
    messages.iter().map(payload).collect()
}

impl SimulatedTopic {
    fn set_fault(&self, fault: Fault, rate: Rate) {
        self.world.ask(move |_, around| {
            around.faults = around.faults.with(fault, rate);
            around.decisions.set_faults(around.faults);
        });
    }
}

impl Topic for SimulatedTopic {
    fn source(&self) -> Arc<dyn Source> {
        SimulatedSource::over(self.world.clone())
    }

    /// The model does not compress; like a compressed topic, it begins a fetch at the start of the batch.
    fn send(&mut self, partition: i32, messages: &[Sent], codec: Codec) {
        if codec != Codec::None {
            self.set_fault(Fault::CompressedBatch, Rate(1_000_000));
        }
        let payloads = payloads(messages);
        let from = self.world.ask(move |broker, _| {
            let (_, _, end) = broker.bounds(partition);
            broker.produce(partition as usize, payloads);
            end
        });
        let keys = self.keys.entry(partition).or_default();
        keys.extend((from..).zip(messages.iter().map(|m| m.key.clone())));
    }

    fn begin(&mut self) -> Transaction {
        self.transactions.push(BTreeSet::new());
        Transaction(self.transactions.len())
    }

    fn send_in(&mut self, transaction: Transaction, partition: i32, messages: &[Sent]) {
        self.transactions[transaction.0 - 1].insert(partition);
        let payloads = payloads(messages);
        self.world
            .ask(move |broker, _| broker.produce_in(transaction.0 as u64, partition as usize, payloads));
    }

    fn end(&mut self, transaction: Transaction, commit: bool) {
        for partition in self.transactions[transaction.0 - 1].clone() {
            self.world
                .ask(move |broker, _| broker.end_transaction_of(transaction.0 as u64, partition, commit));
        }
    }

    fn retain_from(&mut self, partition: i32, offset: i64) {
        self.world.ask(move |broker, _| broker.retain_from(partition as usize, offset));
    }

    fn compact(&mut self, partition: i32) {
        let last =
            Sent { key: Some(b"of the next segment".to_vec()), value: Some(vec![b'!']), ..Sent::default() };
        self.send(partition, &[last], Codec::None);
        let keys = &self.keys[&partition];
        let superseded = |(offset, key): &(&i64, &Option<Vec<u8>>)| {
            keys.range(**offset + 1..).any(|(_, later)| later == *key)
        };
        let gone: Vec<i64> = keys.iter().filter(superseded).map(|(offset, _)| *offset).collect();
        self.world.ask(move |broker, _| broker.remove(partition as usize, &gone));
    }

    fn delete(&mut self) {
        self.world.ask(|broker, _| broker.delete());
    }

    fn create_again(&mut self, partitions: i32) {
        self.world.ask(move |broker, around| around.quietly(broker, |b| b.recreate(partitions as usize)));
    }

    fn grow(&mut self, partitions: i32) {
        self.world.ask(move |broker, around| {
            let more = partitions as usize - broker.partition_count();
            around.quietly(broker, |b| b.add_partitions(more));
        });
    }

    fn stop(&mut self) {
        self.set_fault(Fault::Disconnect, Rate(1_000_000));
    }

    /// Each partition has a leader again, in a new epoch.
    fn start(&mut self) {
        self.set_fault(Fault::Disconnect, Rate::NEVER);
        self.world.ask(|broker, _| (0..broker.partition_count()).for_each(|p| broker.elect(p)));
    }

    fn start_without(&mut self, partition: i32, from: i64) {
        self.world.ask(move |broker, _| {
            let (_, _, end) = broker.bounds(partition);
            broker.elect_uncleanly(partition as usize, (end - from) as u64);
        });
    }

    fn wait(&self) {}
}
