//! The only unsafe code of this crate: a safe API over the few parts of librdkafka that the `rdkafka` crate does not
//! wrap (batch consume from a partition's queue, leader epochs, topic ids). `source` and `reader` use it; no other file
//! touches a raw pointer.

#![allow(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::source::Arrived;
use kernel::{Identity, Mark, RawMessage};
use parking_lot::Mutex;
use rdkafka_sys as sys;

use crate::allowed::AllowedBrokers;
use crate::health::Health;

/// librdkafka's error codes.
pub(crate) use sys::rd_kafka_resp_err_t as Code;

/// An error of librdkafka or of the broker.
#[derive(Clone, Debug)]
pub(crate) struct KafkaError {
    pub(crate) code: Code,
    pub(crate) text: String,
}

impl KafkaError {
    fn of(code: Code) -> KafkaError {
        // SAFETY: err2str returns a static, terminated string for every code.
        let text = unsafe { text_of(sys::rd_kafka_err2str(code)) };
        KafkaError { code, text }
    }

    fn timed_out() -> KafkaError {
        KafkaError::of(Code::RD_KAFKA_RESP_ERR__TIMED_OUT)
    }
}

/// A topic as its broker describes it.
#[derive(Debug)]
pub(crate) struct TopicDescription {
    pub(crate) id: Identity,
    pub(crate) partitions: Vec<i32>,
    /// `host:port` of the partitions' leaders, each once.
    pub(crate) leaders: BTreeSet<String>,
}

/// A partition and the offset that was looked up in it.
pub(crate) type FoundOffset = (i32, Result<i64, KafkaError>);

/// Which offsets to look up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OffsetsAt {
    /// Of the oldest message.
    Earliest,
    /// After the last message that a committed reader may see.
    Latest,
}

/// The callback of a partition's reader, if it wants notifications.
type Listener = Mutex<Option<Arrived>>;

/// A consumer instance. Dropping it waits for its threads; it leaves no group, because it joined none.
pub(crate) struct Client {
    rk: NonNull<sys::rd_kafka_t>,
    /// Callbacks for messages in a partition's queue. librdkafka points into it; it is dropped after the instance.
    listeners: Mutex<BTreeMap<i32, Box<Listener>>>,
    /// The callbacks' opaque pointer points here; it outlives the instance.
    _surroundings: Arc<Surroundings>,
}

/// State that callbacks use.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) health: Health,
    pub(crate) allowed_brokers: AllowedBrokers,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("rk", &self.rk).finish_non_exhaustive()
    }
}

// SAFETY: librdkafka's handle may be used by any number of threads at once (its documentation, "Threads and callbacks").
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// Makes a consumer. Does not connect yet.
    pub(crate) fn new(
        settings: &[(String, String)],
        surroundings: Arc<Surroundings>,
    ) -> Result<Client, String> {
        let mut reason = [0 as c_char; 512];
        // SAFETY: the configuration is made here, and either passed to rd_kafka_new, which takes it over when it succeeds, or
        // destroyed here. The opaque pointer stays valid: the Arc is kept until after the instance is destroyed. `reason` is
        // as long as said and terminated by librdkafka.
        unsafe {
            let conf = sys::rd_kafka_conf_new();
            for (name, value) in settings {
                let Err(why) = set(conf, name, value, &mut reason) else { continue };
                sys::rd_kafka_conf_destroy(conf);
                return Err(why);
            }
            sys::rd_kafka_conf_set_opaque(conf, Arc::as_ptr(&surroundings).cast_mut().cast());
            sys::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            sys::rd_kafka_conf_set_connect_cb(conf, Some(on_connect));
            sys::rd_kafka_conf_set_log_cb(conf, Some(on_log));
            let kind = sys::rd_kafka_type_t::RD_KAFKA_CONSUMER;
            let rk = sys::rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len());
            let Some(rk) = NonNull::new(rk) else {
                sys::rd_kafka_conf_destroy(conf);
                return Err(text_of(reason.as_ptr()));
            };
            let client = Client { rk, listeners: Mutex::default(), _surroundings: surroundings };
            sys::rd_kafka_poll_set_consumer(rk.as_ptr());
            Ok(client)
        }
    }

    /// Serves callbacks of the main queue. Messages never arrive there: every partition has a queue of its own.
    pub(crate) fn serve(&self, timeout: Duration) {
        // SAFETY: the handle is valid; a message that is returned is ours to destroy.
        unsafe {
            let message = sys::rd_kafka_consumer_poll(self.rk.as_ptr(), millis(timeout));
            if !message.is_null() {
                tracing::debug!(error = %KafkaError::of((*message).err).text, "kafka client");
                sys::rd_kafka_message_destroy(message);
            }
        }
    }

    /// The end of a partition, aborted and open transactions included, by the last fetch response. No request is sent.
    pub(crate) fn high_watermark(&self, topic: &CStr, partition: i32) -> Option<i64> {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the handle is valid, the name is terminated, and both numbers are ours.
        let code = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.rk.as_ptr(),
                topic.as_ptr(),
                partition,
                &mut low,
                &mut high,
            )
        };
        (code == Code::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// Asks a broker for the topic's id and partitions. The request is sent after the call begins.
    pub(crate) fn describe(&self, topic: &CStr, timeout: Duration) -> Result<TopicDescription, KafkaError> {
        let request =
            AdminRequest::new(self, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout)?;
        // SAFETY: handles are valid; librdkafka copies the topic's name and the options. The result borrows from the event,
        // which lives until the end of the block. The arrays have as many entries as `count` says.
        unsafe {
            let mut names = [topic.as_ptr()];
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
            sys::rd_kafka_DescribeTopics(
                self.rk.as_ptr(),
                topics,
                request.options.as_ptr(),
                request.queue.as_ptr(),
            );
            sys::rd_kafka_TopicCollection_destroy(topics);
            let event = request.wait(sys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT, timeout)?;
            let result = sys::rd_kafka_event_DescribeTopics_result(event.0.as_ptr());
            let mut count = 0;
            let described = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            if described.is_null() || count == 0 {
                return Err(KafkaError::of(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART));
            }
            let topic = *described;
            let error = sys::rd_kafka_TopicDescription_error(topic);
            let code = if error.is_null() {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR
            } else {
                sys::rd_kafka_error_code(error)
            };
            if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(KafkaError { code, text: text_of(sys::rd_kafka_error_string(error)) });
            }
            let list = sys::rd_kafka_TopicDescription_partitions(topic, &mut count);
            let partitions =
                (0..count).map(|i| sys::rd_kafka_TopicPartitionInfo_partition(*list.add(i))).collect();
            let leaders =
                (0..count).filter_map(|i| address(sys::rd_kafka_TopicPartitionInfo_leader(*list.add(i))));
            let leaders = leaders.collect();
            let id = topic_id(sys::rd_kafka_TopicDescription_topic_id(topic));
            Ok(TopicDescription { id, partitions, leaders })
        }
    }

    /// Looks offsets up at the partitions' leaders, read committed. A partition whose leader does not answer has an error.
    pub(crate) fn list_offsets(
        &self,
        topic: &CStr,
        partitions: &[i32],
        at: OffsetsAt,
        timeout: Duration,
    ) -> Result<Vec<FoundOffset>, KafkaError> {
        let request =
            AdminRequest::new(self, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout)?;
        let wanted = match at {
            OffsetsAt::Earliest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST,
            OffsetsAt::Latest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST,
        } as i64;
        // SAFETY: handles are valid; the request copies list and options. The result borrows from the event, which lives until
        // the end of the block; the array has `count` entries.
        unsafe {
            let committed = sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED;
            check(sys::rd_kafka_AdminOptions_set_isolation_level(request.options.as_ptr(), committed))?;
            let list = PartitionList::new();
            for &partition in partitions {
                (*list.add(topic, partition)).offset = wanted;
            }
            sys::rd_kafka_ListOffsets(
                self.rk.as_ptr(),
                list.0.as_ptr(),
                request.options.as_ptr(),
                request.queue.as_ptr(),
            );
            let event = request.wait(sys::RD_KAFKA_EVENT_LISTOFFSETS_RESULT, timeout)?;
            let result = sys::rd_kafka_event_ListOffsets_result(event.0.as_ptr());
            let mut count = 0;
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &mut count);
            let offsets = (0..count).map(|i| {
                let found = &*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(i));
                let offset = match found.err {
                    Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(found.offset),
                    code => Err(KafkaError::of(code)),
                };
                (found.partition, offset)
            });
            Ok(offsets.collect())
        }
    }

    /// Begins to fetch a partition at an offset. A leader epoch is stored, but no broker is asked about it: see `seek`.
    pub(crate) fn assign(
        &self,
        topic: &CStr,
        partition: i32,
        offset: i64,
        leader_epoch: i32,
    ) -> Result<(), KafkaError> {
        // SAFETY: the list is valid and copied by the call.
        unsafe {
            let list = PartitionList::new();
            let entry = list.add(topic, partition);
            (*entry).offset = offset;
            sys::rd_kafka_topic_partition_set_leader_epoch(entry, leader_epoch);
            check(sys::rd_kafka_incremental_assign(self.rk.as_ptr(), list.0.as_ptr()))
        }
    }

    /// Continues at an offset of an assigned partition. With a leader epoch, the broker is asked before any fetch
    /// whether its log contains that position (fault A9). Queued messages are never delivered.
    pub(crate) fn seek(
        &self,
        topic: &CStr,
        partition: i32,
        offset: i64,
        leader_epoch: i32,
        timeout: Duration,
    ) -> Result<(), KafkaError> {
        // SAFETY: the list is valid; the call changes nothing of it but the error of its entry. An error that is returned is ours
        // to destroy.
        unsafe {
            let list = PartitionList::new();
            let entry = list.add(topic, partition);
            (*entry).offset = offset;
            sys::rd_kafka_topic_partition_set_leader_epoch(entry, leader_epoch);
            check(sys::rd_kafka_seek_partitions(self.rk.as_ptr(), list.0.as_ptr(), millis(timeout)))?;
            // As it was added: the call adds nothing.
            match (*entry).err {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
                code => Err(KafkaError::of(code)),
            }
        }
    }

    /// Stops fetching a partition. Its queued messages are outdated and never delivered.
    pub(crate) fn unassign(&self, topic: &CStr, partition: i32) -> Result<(), KafkaError> {
        // SAFETY: as in `assign`.
        unsafe {
            let list = PartitionList::new();
            list.add(topic, partition);
            check(sys::rd_kafka_incremental_unassign(self.rk.as_ptr(), list.0.as_ptr()))
        }
    }

    /// The queue of a partition's messages. To be taken before the partition is assigned, so that no message goes to
    /// the main queue.
    pub(crate) fn partition_queue(self: &Arc<Self>, topic: &CStr, partition: i32) -> Option<PartitionQueue> {
        // SAFETY: the handle is valid; the queue is ours to destroy. Forwarding to null cuts it off the main queue for good.
        unsafe {
            let queue = sys::rd_kafka_queue_get_partition(self.rk.as_ptr(), topic.as_ptr(), partition);
            let queue = NonNull::new(queue)?;
            sys::rd_kafka_queue_forward(queue.as_ptr(), std::ptr::null_mut());
            Some(PartitionQueue { queue, partition, held: Vec::new(), client: Arc::clone(self) })
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: queues and messages keep an Arc of the client, so this is the last use of the handle. No group was
        // joined, so closing sends nothing; the flag prevents waiting.
        unsafe {
            sys::rd_kafka_destroy_flags(self.rk.as_ptr(), sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        }
    }
}

/// Messages of one partition, prefetched.
pub(crate) struct PartitionQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    partition: i32,
    held: Vec<*mut sys::rd_kafka_message_t>,
    client: Arc<Client>,
}

// SAFETY: a queue handle may move between threads; the messages it holds are destroyed before a call returns.
unsafe impl Send for PartitionQueue {}

impl std::fmt::Debug for PartitionQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartitionQueue").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl PartitionQueue {
    /// The client that fills it.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sets a callback for messages that arrive in an empty queue. A thread of librdkafka calls it while it holds the
    /// queue's lock: the callback must be quick, and must not call librdkafka.
    pub(crate) fn announce(&mut self, arrived: Arrived) {
        let mut listeners = self.client.listeners.lock();
        let listener = listeners.entry(self.partition).or_default();
        *listener.lock() = Some(arrived);
        let opaque: *const Listener = &**listener;
        // SAFETY: the queue is valid. What the pointer points to is boxed, so that it does not move, and it is never removed: it
        // goes with the client, after the instance was destroyed.
        unsafe {
            let opaque = opaque.cast_mut().cast();
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), Some(on_arrival), opaque);
        }
    }

    /// Whether the previous batch kept deliveries.
    pub(crate) fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes the deliveries that the previous batch kept. If there are none, waits for a first message or event, then
    /// takes all available ones without waiting for more.
    pub(crate) fn take(&mut self, messages_max: usize, timeout: Duration) -> Batch<'_> {
        if !self.held.is_empty() {
            let done = self.held.len().min(messages_max.max(1));
            return Batch { queue: self, done };
        }
        let messages_max = messages_max.max(1);
        self.held.reserve(messages_max);
        // `rd_kafka_consume_batch_queue` waits until its array is full: so take the available ones without waiting, and
        // only if there are none, wait for one.
        let empty = self.fill(messages_max, Duration::ZERO) == 0;
        if empty && !timeout.is_zero() && self.fill(1, timeout) == 1 {
            self.fill(messages_max - 1, Duration::ZERO);
        }
        let done = self.held.len();
        Batch { queue: self, done }
    }

    fn fill(&mut self, room: usize, timeout: Duration) -> usize {
        let from = self.held.len();
        debug_assert!(self.held.capacity() - from >= room);
        // SAFETY: there is space for that many pointers behind the vector's end; as many are initialised as the call
        // returns.
        unsafe {
            let end = self.held.as_mut_ptr().add(from);
            let taken = sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), millis(timeout), end, room);
            let taken = usize::try_from(taken).unwrap_or(0);
            self.held.set_len(from + taken);
            taken
        }
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        let done = self.held.len();
        drop(Batch { queue: self, done });
        // SAFETY: the queue is ours, and the client that it belongs to still lives.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Messages taken from a queue. They are returned to librdkafka when the batch is dropped, except those that are kept.
#[derive(Debug)]
pub(crate) struct Batch<'q> {
    queue: &'q mut PartitionQueue,
    done: usize,
}

/// A delivery of a queue.
#[derive(Debug)]
pub(crate) enum QueueItem<'b> {
    Message(RawMessage<'b>),
    /// The end of the partition, as far as committed readers may see, is at this offset.
    End(i64),
    Failed(KafkaError),
}

impl Batch<'_> {
    /// In the order of delivery.
    pub(crate) fn deliveries(&self) -> impl Iterator<Item = QueueItem<'_>> {
        // SAFETY: each pointer is a message that lives until the batch is dropped, and the result borrows from the batch.
        self.queue.held[..self.done].iter().map(|&message| unsafe { delivery(message) })
    }

    /// Keeps the deliveries from this one on for the next batch.
    pub(crate) fn keep_from(&mut self, index: usize) {
        self.done = self.done.min(index);
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in self.queue.held.drain(..self.done) {
            // SAFETY: each message is ours and destroyed once.
            unsafe { sys::rd_kafka_message_destroy(message) }
        }
    }
}

/// # Safety
/// `message` must be valid for `'b`.
unsafe fn delivery<'b>(message: *const sys::rd_kafka_message_t) -> QueueItem<'b> {
    // SAFETY: by the caller; payload and key are either null or as long as said.
    unsafe {
        let m = &*message;
        match m.err {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => QueueItem::Message(RawMessage {
                ordinal: m.offset,
                mark: Mark::LeaderEpoch(sys::rd_kafka_message_leader_epoch(message)),
                timestamp_ms: sys::rd_kafka_message_timestamp(message, std::ptr::null_mut()),
                key: bytes(m.key, m.key_len),
                value: bytes(m.payload, m.len),
            }),
            Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => QueueItem::End(m.offset),
            code => {
                let text = text_of(sys::rd_kafka_message_errstr(message));
                let cut = Code::RD_KAFKA_RESP_ERR__LOG_TRUNCATION;
                // A cut log is reported as an offset that cannot be reset: only the text shows the cause.
                let is_cut = code == Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
                    && text.contains(&KafkaError::of(cut).text);
                QueueItem::Failed(KafkaError { code: if is_cut { cut } else { code }, text })
            }
        }
    }
}

/// # Safety
/// `start` must be null or valid for `len` bytes during `'b`.
unsafe fn bytes<'b>(start: *const c_void, len: usize) -> Option<&'b [u8]> {
    // SAFETY: by the caller.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), len) })
}

/// A request to the brokers, and the queue of its answer.
struct AdminRequest {
    options: NonNull<sys::rd_kafka_AdminOptions_t>,
    queue: NonNull<sys::rd_kafka_queue_t>,
}

impl AdminRequest {
    fn new(
        client: &Client,
        api: sys::rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Result<AdminRequest, KafkaError> {
        let mut reason = [0 as c_char; 256];
        // SAFETY: the client's handle is valid; both objects are destroyed when the request is dropped, before the client.
        unsafe {
            let options = NonNull::new(sys::rd_kafka_AdminOptions_new(client.rk.as_ptr(), api));
            let options = options.ok_or_else(|| KafkaError::of(Code::RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED))?;
            let queue = NonNull::new(sys::rd_kafka_queue_new(client.rk.as_ptr()));
            let queue = queue.expect("librdkafka aborts when it has no memory");
            let request = AdminRequest { options, queue };
            let (text, len) = (reason.as_mut_ptr(), reason.len());
            let code =
                sys::rd_kafka_AdminOptions_set_request_timeout(options.as_ptr(), millis(timeout), text, len);
            if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(KafkaError { code, text: text_of(text) });
            }
            Ok(request)
        }
    }

    /// Waits for the answer. librdkafka ends the request at the timeout; the additional second is for its own delays.
    fn wait(&self, kind: i32, timeout: Duration) -> Result<AdminEvent, KafkaError> {
        let until = Instant::now() + timeout + Duration::from_secs(1);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // SAFETY: the queue is valid; an event that is returned is ours to destroy.
            unsafe {
                let event = sys::rd_kafka_queue_poll(self.queue.as_ptr(), millis(left));
                let Some(event) = NonNull::new(event).map(AdminEvent) else {
                    return Err(KafkaError::timed_out());
                };
                if sys::rd_kafka_event_type(event.0.as_ptr()) != kind {
                    continue;
                }
                let code = sys::rd_kafka_event_error(event.0.as_ptr());
                if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                    let text = text_of(sys::rd_kafka_event_error_string(event.0.as_ptr()));
                    return Err(KafkaError { code, text });
                }
                return Ok(event);
            }
        }
    }
}

impl Drop for AdminRequest {
    fn drop(&mut self) {
        // SAFETY: both are ours and destroyed once.
        unsafe {
            sys::rd_kafka_AdminOptions_destroy(self.options.as_ptr());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

struct AdminEvent(NonNull<sys::rd_kafka_event_t>);

impl Drop for AdminEvent {
    fn drop(&mut self) {
        // SAFETY: the event is ours and destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

struct PartitionList(NonNull<sys::rd_kafka_topic_partition_list_t>);

impl PartitionList {
    fn new() -> PartitionList {
        // SAFETY: no preconditions.
        let list = unsafe { sys::rd_kafka_topic_partition_list_new(1) };
        PartitionList(NonNull::new(list).expect("librdkafka aborts when it has no memory"))
    }

    /// The entry is valid until the next `add`.
    fn add(&self, topic: &CStr, partition: i32) -> *mut sys::rd_kafka_topic_partition_t {
        // SAFETY: the list is valid; the name is copied.
        unsafe { sys::rd_kafka_topic_partition_list_add(self.0.as_ptr(), topic.as_ptr(), partition) }
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: the list is ours and destroyed once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
/// `conf` must be valid.
unsafe fn set(
    conf: *mut sys::rd_kafka_conf_t,
    name: &str,
    value: &str,
    reason: &mut [c_char],
) -> Result<(), String> {
    let terminated =
        |s: &str| CString::new(s).map_err(|_| format!("the setting {name} contains a NUL character"));
    let (c_name, c_value) = (terminated(name)?, terminated(value)?);
    // SAFETY: `conf` by the caller; strings are terminated and copied; `reason` is as long as said.
    unsafe {
        let (text, len) = (reason.as_mut_ptr(), reason.len());
        match sys::rd_kafka_conf_set(conf, c_name.as_ptr(), c_value.as_ptr(), text, len) {
            sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
            _ => Err(text_of(text)),
        }
    }
}

/// # Safety
/// `error` must be null or an error object, which is destroyed.
unsafe fn check(error: *mut sys::rd_kafka_error_t) -> Result<(), KafkaError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: by the caller.
    unsafe {
        let found = KafkaError {
            code: sys::rd_kafka_error_code(error),
            text: text_of(sys::rd_kafka_error_string(error)),
        };
        sys::rd_kafka_error_destroy(error);
        Err(found)
    }
}

/// # Safety
/// `id` must be null or valid.
unsafe fn topic_id(id: *const sys::rd_kafka_Uuid_t) -> Identity {
    if id.is_null() {
        return Identity::default();
    }
    // SAFETY: by the caller.
    let (high, low) = unsafe {
        (sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id))
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&low.to_be_bytes());
    Identity::new(&bytes)
}

/// `host:port` of a broker; None while a partition has no leader.
///
/// # Safety
/// `node` must be null or valid.
unsafe fn address(node: *const sys::rd_kafka_Node_t) -> Option<String> {
    if node.is_null() {
        return None;
    }
    // SAFETY: by the caller; the host is a terminated string.
    let (host, port) = unsafe { (text_of(sys::rd_kafka_Node_host(node)), sys::rd_kafka_Node_port(node)) };
    (!host.is_empty()).then(|| format!("{host}:{port}"))
}

/// # Safety
/// `text` must be null or a terminated string.
unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn millis(duration: Duration) -> c_int {
    // Rounded up, so that a short wait does not become a busy one.
    c_int::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX)
}

unsafe extern "C" fn on_error(
    _: *mut sys::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque pointer was set in `Client::new` to what outlives the instance; the text is terminated.
    unsafe {
        let all_down = code == Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as c_int;
        let denied = code == Code::RD_KAFKA_RESP_ERR__AUTHENTICATION as c_int;
        let surroundings = &*opaque.cast_const().cast::<Surroundings>();
        surroundings.health.report(all_down, denied, text_of(reason));
    }
}

/// Connects as librdkafka does by default, but only to allowed brokers; brokers announced by others are checked here,
/// too. Returns an error number.
unsafe extern "C" fn on_connect(
    socket: c_int,
    address: *const libc::sockaddr,
    address_len: c_int,
    node: *const c_char,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: the opaque pointer was set in `Client::new` to what outlives the instance; the text is terminated.
    let (surroundings, node) = unsafe { (&*opaque.cast_const().cast::<Surroundings>(), text_of(node)) };
    if !surroundings.allowed_brokers.allows(&node) {
        if surroundings.health.refuse(&node) {
            tracing::warn!(broker = %node, "a broker that pipelines may not reach was not connected to");
        }
        return libc::EACCES;
    }
    // SAFETY: socket and address are librdkafka's, and the address is as long as it says.
    if unsafe { libc::connect(socket, address, address_len as libc::socklen_t) } == 0 {
        return 0;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        // librdkafka learns the result later.
        Some(libc::EINPROGRESS) | None => 0,
        Some(number) => number,
    }
}

unsafe extern "C" fn on_arrival(_: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the pointer was set in `PartitionQueue::announce`, and what it points to outlives the instance that calls.
    let listener = unsafe { &*opaque.cast_const().cast::<Listener>() };
    if let Some(arrived) = &*listener.lock() {
        arrived();
    }
}

unsafe extern "C" fn on_log(
    _: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    text: *const c_char,
) {
    // SAFETY: both strings are terminated.
    let (facility, text) = unsafe { (text_of(facility), text_of(text)) };
    match level {
        0..=3 => tracing::warn!(target: "librdkafka", "{facility}: {text}"),
        4..=5 => tracing::info!(target: "librdkafka", "{facility}: {text}"),
        _ => tracing::debug!(target: "librdkafka", "{facility}: {text}"),
    }
}
