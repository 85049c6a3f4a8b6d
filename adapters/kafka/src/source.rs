//! One topic: describes it, opens readers of its partitions, and caches its watermarks. Connections are made when first
//! needed. A thread of their own serves them and waits while they are closed; dropping a source never blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kernel::message::{SourceFailure, SourceMetadata};
use kernel::source::{Source, SplitReader};
use kernel::{Error, Identity, Position, SplitName, SqlState};
use parking_lot::Mutex;

use crate::ffi::{Client, Code, KafkaError, OffsetsAt, PartitionQueue, Surroundings, TopicDescription};
use crate::health::Health;
use crate::options::KafkaOptions;
use crate::reader::Reader;

/// How long a request to the brokers may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a topic may be unknown before it is reported as missing: metadata of a new topic spreads with a delay
/// (fault A12).
const UNKNOWN_TOPIC_GRACE: Duration = Duration::from_secs(2);
/// How long partitions without a leader are requested again while others have one, when a source is opened. A broker
/// that has just started takes over one partition after another; a partition left out now is not requested before the
/// next metadata request, seconds later.
const LEADERLESS_GRACE: Duration = Duration::from_secs(1);
/// Pause before the brokers are asked again after an incomplete answer.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How often the end of each partition is requested while readers are open.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(1);
/// The same while no message arrives and none is held back: only retention changes the bounds.
const QUIET_INTERVAL: Duration = Duration::from_secs(10);
/// How long to wait between two attempts to seek in a partition that is about to be fetched.
const SEEK_RETRY: Duration = Duration::from_millis(2);
/// How long callbacks may wait for the serving thread.
const SERVE_INTERVAL: Duration = Duration::from_secs(1);

/// A Kafka topic as a source.
#[derive(Debug)]
pub struct KafkaSource {
    topic: Arc<Topic>,
}

/// State shared by a source and its readers.
#[derive(Debug)]
pub(crate) struct Topic {
    options: KafkaOptions,
    pub(crate) name: CString,
    /// Connection of the readers.
    connection: Mutex<Connection>,
    /// Connection of the readers of resting partitions. Made when the first partition rests.
    rest: Mutex<Option<Connection>>,
    /// The partitions that are fetched through it.
    resting: Mutex<BTreeSet<i32>>,
    /// Connection for metadata requests. A broker answers the requests of one connection in order, and a fetch at the
    /// end of a partition waits.
    questions: Connection,
    /// State of the brokers, from all connections.
    surroundings: Arc<Surroundings>,
    /// Topic id of the last full metadata answer: the topic of the readers' offsets.
    read_id: Mutex<Option<Identity>>,
    watermarks: Mutex<BTreeMap<i32, (i64, i64)>>,
    /// What open transactions hold back.
    held_back: Mutex<BTreeMap<i32, i64>>,
    slots: Mutex<BTreeMap<i32, Arc<Mutex<Slot>>>>,
}

/// The reader of a partition. Locked by a reader while it polls, so that a successor begins after it.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// Number of the reader that owns the partition's queue. An older one is ended.
    pub(crate) reader: u64,
    assigned: bool,
}

/// A client with its serving thread. Dropping it ends the thread; the last owner of the client closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Arc<Client>,
    /// Partitions that its queues were sized for.
    partitions: usize,
    closed: Arc<AtomicBool>,
}

impl Connection {
    /// Its client.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
    }
}

impl KafkaSource {
    /// A source for a topic. Fails only if librdkafka refuses the settings; nothing is connected yet.
    pub fn new(options: KafkaOptions) -> Result<Arc<KafkaSource>, Error> {
        let name =
            CString::new(options.topic.as_str()).expect("the name was checked when the options were made");
        let allowed_brokers = options.allowed_brokers.clone();
        let surroundings = Arc::new(Surroundings { allowed_brokers, ..Surroundings::default() });
        let connection = Mutex::new(connect(&options, 8, &surroundings)?);
        let questions = connect(&options, 1, &surroundings)?;
        let topic = Arc::new(Topic {
            options,
            name,
            connection,
            rest: Mutex::default(),
            resting: Mutex::default(),
            questions,
            surroundings,
            read_id: Mutex::default(),
            watermarks: Mutex::default(),
            held_back: Mutex::default(),
            slots: Mutex::default(),
        });
        let served = Arc::downgrade(&topic);
        let refresh = move || {
            // Until the source and its readers are dropped.
            let mut quiet_for = Duration::ZERO;
            while let Some(topic) = served.upgrade() {
                quiet_for += WATERMARK_INTERVAL;
                if !topic.is_quiet() || quiet_for >= QUIET_INTERVAL {
                    topic.refresh_watermarks();
                    quiet_for = Duration::ZERO;
                }
                drop(topic);
                std::thread::sleep(WATERMARK_INTERVAL);
            }
        };
        spawn("kafka-watermarks", refresh)?;
        Ok(Arc::new(KafkaSource { topic }))
    }

    /// The resting partitions: no message has arrived for a while, and the brokers are polled less often for them.
    pub fn resting(&self) -> Vec<i32> {
        self.topic.resting.lock().iter().copied().collect()
    }
}

impl Source for KafkaSource {
    fn read(&self) -> Result<SourceMetadata, SourceFailure> {
        let described = self.topic.describe_patiently()?;
        let offsets = self.topic.look_up_patiently(&described.partitions)?;
        *self.topic.read_id.lock() = Some(described.id.clone());
        self.topic.watermarks.lock().extend(offsets.iter().map(|(p, o)| (*p, *o)));
        Ok(SourceMetadata::kafka(&described.id, offsets))
    }

    fn verify(&self) -> Result<SourceMetadata, SourceFailure> {
        let described = self.topic.describe_patiently()?;
        let known = self.topic.watermarks.lock().clone();
        let unknown: Vec<_> =
            described.partitions.iter().copied().filter(|p| !known.contains_key(p)).collect();
        let mut partitions =
            if unknown.is_empty() { BTreeMap::new() } else { self.topic.look_up(&unknown)? };
        partitions.extend(described.partitions.iter().filter_map(|p| Some((*p, *known.get(p)?))));
        self.topic.watermarks.lock().extend(partitions.iter().map(|(p, o)| (*p, *o)));
        Ok(SourceMetadata::kafka(&described.id, partitions))
    }

    fn open(&self, split: &SplitName, start: Position) -> Result<Box<dyn SplitReader>, SourceFailure> {
        let partition = split.partition().expect("a split of a topic is a partition");
        assert!(start.ordinal() >= 0, "a position is an offset, not a logical one (fault A11)");
        let topic = &self.topic;
        let slot = Arc::clone(topic.slots.lock().entry(partition).or_default());
        // Waits for a poll of the reader before, and ends it.
        let mut owner = slot.lock();
        if owner.assigned {
            topic.end(partition).map_err(|e| topic.failure(&e))?;
            owner.assigned = false;
        }
        let client = topic.client_to_read();
        let queue = topic.queue(&client, partition)?;
        owner.assigned = true;
        topic.begin(&client, partition, start)?;
        owner.reader += 1;
        let number = owner.reader;
        drop(owner);
        Ok(Box::new(Reader::new(Arc::clone(topic), queue, slot, number, partition, start)))
    }

    fn high_watermarks(&self) -> Vec<(SplitName, i64)> {
        let high_watermarks = self.topic.high_watermarks();
        high_watermarks.into_iter().map(|(partition, end)| (SplitName::kafka(partition), end)).collect()
    }

    fn held_back(&self) -> Vec<(SplitName, i64)> {
        let held_back = self.topic.held_back.lock();
        held_back.iter().map(|(partition, messages)| (SplitName::kafka(*partition), *messages)).collect()
    }

    fn watermarks(&self) -> Vec<(SplitName, i64, i64)> {
        let watermarks = self.topic.watermarks.lock();
        watermarks.iter().map(|(p, (earliest, end))| (SplitName::kafka(*p), *earliest, *end)).collect()
    }
}

impl Topic {
    /// The state of the brokers' connections.
    pub(crate) fn health(&self) -> &Health {
        &self.surroundings.health
    }

    /// The client for readers. Its queues' bounds are fixed when it is made, so it is made again if the topic has more
    /// partitions and there is no reader yet.
    fn client_to_read(&self) -> Arc<Client> {
        let partitions = self.watermarks.lock().len();
        let mut connection = self.connection.lock();
        // Every queue keeps the client: with two owners, this one and the serving thread, there is no reader.
        if partitions > connection.partitions && Arc::strong_count(&connection.client) <= 2 {
            // Settings that were accepted once are accepted again; if a thread cannot be started, the old client stays.
            if let Ok(larger) = connect(&self.options, partitions, &self.surroundings) {
                *connection = larger;
            }
        }
        Arc::clone(&connection.client)
    }

    /// The client for readers of resting partitions.
    fn client_to_rest(&self) -> Result<Arc<Client>, SourceFailure> {
        let mut rest = self.rest.lock();
        if let Some(connection) = &*rest {
            return Ok(Arc::clone(&connection.client));
        }
        let partitions = self.watermarks.lock().len();
        let settings = self.options.resting_settings(partitions);
        let connection = connect_with(&settings, partitions, &self.surroundings);
        let connection = connection.map_err(SourceFailure::Transient)?;
        Ok(Arc::clone(&rest.insert(connection).client))
    }

    /// Whether a partition without messages may rest.
    pub(crate) fn may_rest(&self) -> bool {
        self.options.may_rest()
    }

    /// Whether a partition rests.
    pub(crate) fn rests(&self, partition: i32) -> bool {
        self.resting.lock().contains(&partition)
    }

    /// Moves a partition to or from the client of resting partitions, and continues at a position. The slot's lock is
    /// held.
    pub(crate) fn move_over(
        &self,
        partition: i32,
        place: Position,
        rests: bool,
    ) -> Result<PartitionQueue, SourceFailure> {
        assert_ne!(rests, self.rests(partition), "a partition is moved to where it is not");
        let client = if rests { self.client_to_rest()? } else { self.client_to_read() };
        let queue = self.queue(&client, partition)?;
        self.end(partition).map_err(|e| self.failure(&e))?;
        if rests {
            self.resting.lock().insert(partition);
        }
        self.begin(&client, partition, place)?;
        Ok(queue)
    }

    fn queue(&self, client: &Arc<Client>, partition: i32) -> Result<PartitionQueue, SourceFailure> {
        let queue = client.partition_queue(&self.name, partition);
        queue.ok_or_else(|| SourceFailure::Transient(self.error(SqlState::INTERNAL_ERROR, "has no queue")))
    }

    /// Stops fetching a partition through either client. It no longer rests.
    fn end(&self, partition: i32) -> Result<(), KafkaError> {
        let rested = self.resting.lock().remove(&partition);
        let client = match &*self.rest.lock() {
            Some(rest) if rested => Arc::clone(&rest.client),
            _ => Arc::clone(&self.connection.lock().client),
        };
        client.unassign(&self.name, partition)
    }

    /// Describes the topic; an unknown one is requested again for a while.
    fn describe_patiently(&self) -> Result<TopicDescription, SourceFailure> {
        let began = Instant::now();
        loop {
            match self.questions.client.describe(&self.name, REQUEST_TIMEOUT) {
                Ok(described) => {
                    self.health().heard();
                    self.check_leaders(&described)?;
                    return Ok(described);
                }
                Err(e) if is_unknown_topic(e.code) && began.elapsed() < UNKNOWN_TOPIC_GRACE => {
                    std::thread::sleep(ASK_AGAIN);
                }
                Err(e) => return Err(self.failure(&e)),
            }
        }
    }

    /// Brokers announce each other. A broker that must not be connected to would look like one that is down.
    fn check_leaders(&self, described: &TopicDescription) -> Result<(), SourceFailure> {
        let refused =
            described.leaders.iter().find_map(|leader| self.options.allowed_brokers.check(leader).err());
        refused.map_or(Ok(()), |error| {
            let what =
                format!("has a partition that {} tells to be read elsewhere: {error}", self.options.brokers);
            Err(SourceFailure::Permanent(self.error(error.sqlstate, what)))
        })
    }

    /// Requests the bounds of partitions, and for a while again those that the answer left out.
    fn look_up_patiently(&self, partitions: &[i32]) -> Result<BTreeMap<i32, (i64, i64)>, SourceFailure> {
        let began = Instant::now();
        let mut found = self.look_up(partitions)?;
        while found.len() < partitions.len() && began.elapsed() < LEADERLESS_GRACE {
            std::thread::sleep(ASK_AGAIN);
            let missing: Vec<_> = partitions.iter().copied().filter(|p| !found.contains_key(p)).collect();
            // An error concerns only those: the others were found.
            found.extend(self.look_up(&missing).unwrap_or_default());
        }
        Ok(found)
    }

    /// Earliest offset and end of these partitions. One whose leader does not answer is left out, unless that is all of
    /// them.
    fn look_up(&self, partitions: &[i32]) -> Result<BTreeMap<i32, (i64, i64)>, SourceFailure> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let at = |at| {
            let offsets = self.questions.client.list_offsets(&self.name, partitions, at, REQUEST_TIMEOUT);
            offsets.map_err(|e| self.failure(&e))
        };
        // The end first: it cannot be below an earliest offset that is requested after it unless messages were deleted
        // in between.
        let ends = at(OffsetsAt::Latest)?;
        let earliest: BTreeMap<_, _> = at(OffsetsAt::Earliest)?.into_iter().collect();
        if ends.iter().any(|(_, end)| end.is_ok()) {
            self.health().heard();
        }
        let mut found = BTreeMap::new();
        let mut failure = None;
        for (partition, end) in ends {
            match (earliest.get(&partition), end) {
                (Some(Ok(earliest)), Ok(end)) => {
                    found.insert(partition, (*earliest, end.max(*earliest)));
                }
                (Some(Err(e)), _) => failure = Some(self.failure(e)),
                (_, Err(e)) => failure = Some(self.failure(&e)),
                (None, Ok(_)) => {}
            }
        }
        match failure {
            Some(failure) if found.is_empty() => Err(failure),
            _ => Ok(found),
        }
    }

    /// Begins to fetch a partition that is not assigned. If the leader epoch of the last message read is known, no
    /// message is delivered before the broker has confirmed that its log contains that position (fault A9): librdkafka
    /// asks for this at a seek, but not at an assignment, unless it learns of a new epoch afterwards.
    fn begin(&self, client: &Client, partition: i32, start: Position) -> Result<(), SourceFailure> {
        let (next_offset, leader_epoch) = (start.ordinal(), start.leader_epoch());
        let begun = client.assign(&self.name, partition, next_offset, leader_epoch);
        begun.map_err(|e| self.failure(&e))?;
        if leader_epoch < 0 {
            return Ok(());
        }
        let began = Instant::now();
        loop {
            let sought = client.seek(&self.name, partition, next_offset, leader_epoch, REQUEST_TIMEOUT);
            match sought {
                Ok(()) => return Ok(()),
                // Not assigned yet, or its metadata have not arrived yet.
                Err(e) if is_not_begun(e.code) && began.elapsed() < REQUEST_TIMEOUT => {
                    std::thread::sleep(SEEK_RETRY);
                }
                Err(e) => return Err(self.unreachable(&e.text)),
            }
        }
    }

    /// Begins to fetch an assigned partition anew.
    pub(crate) fn assign_again(
        &self,
        client: &Client,
        partition: i32,
        start: Position,
    ) -> Result<(), SourceFailure> {
        client.unassign(&self.name, partition).map_err(|e| self.failure(&e))?;
        self.begin(client, partition, start)
    }

    /// End of each partition by the last fetch response.
    fn high_watermarks(&self) -> Vec<(i32, i64)> {
        let partitions: Vec<_> = self.watermarks.lock().keys().copied().collect();
        partitions.into_iter().filter_map(|p| Some((p, self.high_watermark(p)?))).collect()
    }

    fn high_watermark(&self, partition: i32) -> Option<i64> {
        let rests = self.rests(partition);
        // Not cloned: the client counts its owners.
        match &*self.rest.lock() {
            Some(rest) if rests => rest.client.high_watermark(&self.name, partition),
            _ => self.connection.lock().client.high_watermark(&self.name, partition),
        }
    }

    /// Whether the fetch responses agree with the last request for bounds: then another request would bring nothing
    /// new.
    fn is_quiet(&self) -> bool {
        let known = self.watermarks.lock().clone();
        !known.is_empty() && known.iter().all(|(p, (_, end))| self.high_watermark(*p) == Some(*end))
    }

    fn refresh_watermarks(&self) {
        let partitions: Vec<_> = {
            let slots = self.slots.lock();
            slots.iter().filter(|(_, s)| s.try_lock().is_none_or(|s| s.assigned)).map(|(p, _)| *p).collect()
        };
        // Read before the last stable offset is requested: messages beyond it were then held back at that time.
        let high_before = self.high_watermarks();
        match self.look_up(&partitions) {
            Ok(offsets) => {
                let held_back =
                    |(p, high): &(_, i64)| Some((*p, (high - offsets.get(p).map(|(_, end)| *end)?).max(0)));
                *self.held_back.lock() = high_before.iter().filter_map(held_back).collect();
                self.watermarks.lock().extend(offsets);
            }
            // librdkafka reports an outage once; this records it while it lasts.
            Err(SourceFailure::Transient(error)) => self.health().report(true, false, error.message),
            Err(failure) => tracing::debug!(?failure, "cannot look up the end of the partitions"),
        }
    }

    /// A reader has reached the end, or passed the cached end.
    pub(crate) fn end_is_at_least(&self, partition: i32, end: i64) {
        if let Some((_, known)) = self.watermarks.lock().get_mut(&partition) {
            *known = end.max(*known);
        }
    }

    /// A reader was dropped; its partition is no longer fetched, unless a successor has it.
    pub(crate) fn close(&self, partition: i32, slot: &Mutex<Slot>, reader: u64) {
        let mut owner = slot.lock();
        if owner.reader == reader && owner.assigned {
            owner.assigned = false;
            if let Err(e) = self.end(partition) {
                tracing::warn!(topic = %self.options.topic, partition, error = %e.text, "cannot unassign");
            }
        }
    }

    /// Classifies an offset that the broker refuses: the messages are deleted, or the topic is another one, or the
    /// broker lags behind (fault A10); in the last case nothing is declared lost.
    pub(crate) fn classify_loss(&self, partition: i32, wanted: i64) -> SourceFailure {
        match self.bounds_of(partition) {
            Ok(Some((earliest, latest))) if wanted < earliest || wanted > latest => {
                SourceFailure::kafka_lost(partition, wanted, earliest, latest)
            }
            Ok(_) => {
                let what = format!("refused offset {wanted} of partition {partition}, which it has");
                SourceFailure::Transient(
                    self.error(SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, what),
                )
            }
            Err(failure) => failure,
        }
    }

    /// Classifies a report that the log was cut below a position. None if the messages before the position are the ones
    /// that were read: reading may continue there.
    pub(crate) fn classify_cut(&self, partition: i32, at: Position) -> Option<SourceFailure> {
        let wanted = at.ordinal();
        let bounds = match self.bounds_of(partition) {
            Ok(bounds) => bounds,
            Err(failure) => return Some(failure),
        };
        let Some((earliest, latest)) = bounds else {
            return Some(self.unreachable("the leader of the partition does not answer"));
        };
        let lost = SourceFailure::kafka_lost(partition, wanted, earliest, latest);
        if wanted < earliest || wanted > latest {
            return Some(lost);
        }
        match self.has_diverged(partition, earliest, at) {
            Ok(diverged) => diverged.then_some(lost),
            Err(failure) => Some(failure),
        }
    }

    /// Earliest offset and end of a partition, if its leader answers and the topic id is still that of the readers'
    /// offsets.
    fn bounds_of(&self, partition: i32) -> Result<Option<(i64, i64)>, SourceFailure> {
        let before = self.read_id.lock().clone();
        let described = self.describe_patiently()?;
        if before.is_some_and(|id| id != described.id) {
            let what = "was deleted and created again: its offsets now name other messages. \
                To load the new topic, ALTER PIPELINE … SET OFFSETS EARLIEST";
            return Err(SourceFailure::Permanent(self.error(SqlState::SOURCE_CHANGED, what)));
        }
        Ok(self.look_up(&[partition])?.get(&partition).copied())
    }

    /// A connection for a check that has to read messages.
    pub(crate) fn connect_aside(&self) -> Result<Connection, Error> {
        connect(&self.options, 1, &self.surroundings)
    }

    /// Separates transient errors from permanent ones.
    pub(crate) fn failure(&self, e: &KafkaError) -> SourceFailure {
        let brokers = &self.options.brokers;
        match e.code {
            code if is_unknown_topic(code) => {
                let what = format!(
                    "does not exist on {brokers}; create it, or correct the name, and START the pipeline"
                );
                SourceFailure::Permanent(self.error(SqlState::UNDEFINED_OBJECT, what))
            }
            Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED
            | Code::RD_KAFKA_RESP_ERR__AUTHENTICATION => {
                let what =
                    format!("cannot be read on {brokers}: {}; check the rights and the CREDENTIALS", e.text);
                self.denied(self.error(SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, what))
            }
            Code::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION => SourceFailure::Permanent(
                self.error(SqlState::INVALID_PARAMETER_VALUE, "is refused as a name"),
            ),
            _ => self.unreachable(&e.text),
        }
    }

    /// No answer from the brokers.
    pub(crate) fn unreachable(&self, why: &str) -> SourceFailure {
        // A broker that is not allowed, announced by another one: the others may answer later.
        let refused =
            self.health().refused().and_then(|broker| self.options.allowed_brokers.check(&broker).err());
        if let Some(error) = refused {
            let what = format!("cannot be read from {}: {error}", self.options.brokers);
            return SourceFailure::Transient(self.error(error.sqlstate, what));
        }
        let last = self
            .health()
            .last_error()
            .filter(|last| last != why)
            .map_or(String::new(), |last| format!(" ({last})"));
        let what = format!(
            "cannot be read from {}: {why}{last}; check that the brokers run and that their addresses are right",
            self.options.brokers
        );
        let error = self.error(SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, what);
        if self.health().denied() { self.denied(error) } else { SourceFailure::Transient(error) }
    }

    /// The brokers refuse the credentials. This is permanent, unless the next opening may read other values.
    fn denied(&self, error: Error) -> SourceFailure {
        if self.options.secrets_may_change {
            SourceFailure::Transient(error)
        } else {
            SourceFailure::Permanent(error)
        }
    }

    fn error(&self, kind: SqlState, what: impl AsRef<str>) -> Error {
        Error::new(kind, format!("Kafka topic '{}' {}", self.options.topic, what.as_ref()))
    }
}

pub(crate) fn is_unknown_topic(code: Code) -> bool {
    matches!(
        code,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
            | Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID
    )
}

/// Whether an error of a seek means that the fetch of the partition has not begun yet.
fn is_not_begun(code: Code) -> bool {
    matches!(
        code,
        Code::RD_KAFKA_RESP_ERR__STATE
            | Code::RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
    )
}

/// Makes a client and its serving thread.
fn connect(
    options: &KafkaOptions,
    partitions: usize,
    surroundings: &Arc<Surroundings>,
) -> Result<Connection, Error> {
    connect_with(&options.client_settings(partitions), partitions, surroundings)
}

fn connect_with(
    settings: &[(String, String)],
    partitions: usize,
    surroundings: &Arc<Surroundings>,
) -> Result<Connection, Error> {
    let refused = |why: String| {
        let tls = if cfg!(feature = "tls") || !why.contains("OpenSSL") && !why.contains("ssl") {
            ""
        } else {
            " (this build has no TLS; build with the feature `tls`)"
        };
        Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("Kafka settings are refused: {why}{tls}"))
    };
    let client = Arc::new(Client::new(settings, Arc::clone(surroundings)).map_err(refused)?);
    let closed = Arc::new(AtomicBool::new(false));
    let served = (Arc::clone(&client), Arc::clone(&closed));
    let serve = move || {
        let (client, closed) = served;
        while !closed.load(Ordering::Acquire) {
            client.serve(SERVE_INTERVAL);
        }
    };
    spawn("kafka-events", serve)?;
    Ok(Connection { client, partitions, closed })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let started = std::thread::Builder::new().name(name.to_string()).spawn(body);
    let failed = |e| Error::new(SqlState::OUT_OF_MEMORY, format!("cannot start the thread {name}: {e}"));
    started.map(drop).map_err(failed)
}
