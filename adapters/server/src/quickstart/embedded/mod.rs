//! A broker in this process, for a quickstart without Kafka: one topic in memory, and the few requests of Kafka's
//! protocol that librdkafka's producer and consumer need, in their oldest versions with record batches. No
//! transactions, no groups, no retention. Its list of versions tells librdkafka which requests are missing.

mod partition;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use partition::Partition;
use wire::{Reader, Writer};

/// Longest request that is read.
const REQUEST_LEN_MAX: i32 = 64 << 20;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;

/// What is served: request, lowest and highest version.
const VERSIONS: [(i16, i16, i16); 7] = [
    (PRODUCE, 3, 3),
    (FETCH, 4, 4),
    (LIST_OFFSETS, 1, 2),
    (METADATA, 1, 4),
    (FIND_COORDINATOR, 0, 0),
    (API_VERSIONS, 0, 0),
    (INIT_PRODUCER_ID, 0, 0),
];

/// Kafka's error codes, as far as they are needed.
const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const UNSUPPORTED_VERSION: i16 = 35;

/// A broker with one topic; it ends when it is dropped.
pub(super) struct EmbeddedBroker {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl EmbeddedBroker {
    /// Listens on a free loopback port.
    pub(super) async fn start(topic: &str, partitions: i32) -> io::Result<EmbeddedBroker> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let topic = Arc::new(Topic {
            name: topic.to_string(),
            partitions: (0..partitions).map(|_| Mutex::default()).collect(),
            appended: Notify::new(),
            producers: AtomicI64::new(1),
            address,
        });
        Ok(EmbeddedBroker { address, accepting: tokio::spawn(accept(listener, topic)) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Topic {
    name: String,
    partitions: Vec<Mutex<Partition>>,
    /// Notified of every append.
    appended: Notify,
    producers: AtomicI64,
    address: SocketAddr,
}

/// A request's number, version, and echo.
struct Header {
    key: i16,
    version: i16,
    correlation: i32,
}

async fn accept(listener: TcpListener, topic: Arc<Topic>) {
    // The connections end with the broker.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, topic.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Answers requests in order until either side disconnects.
async fn serve(mut stream: TcpStream, topic: Arc<Topic>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    loop {
        let len = stream.read_i32().await?;
        if !(0..=REQUEST_LEN_MAX).contains(&len) {
            return Ok(());
        }
        request.resize(len as usize, 0);
        stream.read_exact(&mut request).await?;
        // An invalid request ends the connection.
        let Some(mut response) = topic.answer(&request).await else { return Ok(()) };
        let len = (response.0.len() - 4) as i32;
        response.0[0..4].copy_from_slice(&len.to_be_bytes());
        stream.write_all(&response.0).await?;
    }
}

impl Topic {
    /// The response with space for its length in front.
    async fn answer(&self, request: &[u8]) -> Option<Writer> {
        let mut read = Reader(request);
        let header = Header { key: read.i16()?, version: read.i16()?, correlation: read.i32()? };
        read.string()?;
        let mut write = Writer::default();
        write.i32(0);
        write.i32(header.correlation);
        match header.key {
            API_VERSIONS => api_versions(header.version, &mut write),
            METADATA => self.metadata(header.version, &mut read, &mut write)?,
            PRODUCE => self.produce(&mut read, &mut write)?,
            FETCH => self.fetch(&mut read, &mut write).await?,
            LIST_OFFSETS => self.list_offsets(header.version, &mut read, &mut write)?,
            FIND_COORDINATOR => self.find_coordinator(&mut write),
            INIT_PRODUCER_ID => self.init_producer_id(&mut write),
            _ => return None,
        }
        Some(write)
    }

    fn partition(&self, topic: &str, number: i32) -> Option<&Mutex<Partition>> {
        (topic == self.name).then(|| self.partitions.get(usize::try_from(number).ok()?)).flatten()
    }

    fn metadata(&self, version: i16, read: &mut Reader<'_>, write: &mut Writer) -> Option<()> {
        let asked = read.i32()?;
        let mut names: Vec<&str> = vec![&self.name];
        if asked >= 0 {
            names = (0..asked).map(|_| read.string()).collect::<Option<_>>()?;
        }
        if version >= 3 {
            write.i32(0);
        }
        write.i32(1);
        self.this_broker(write);
        write.null_string();
        if version >= 2 {
            write.null_string();
        }
        write.i32(0);
        write.array(names.into_iter(), |write, name| {
            let known = name == self.name;
            write.i16(if known { 0 } else { UNKNOWN_TOPIC_OR_PARTITION });
            write.string(name);
            write.i8(0);
            let partitions = if known { self.partitions.len() as i32 } else { 0 };
            write.array(0..partitions as usize, |write, number| {
                write.i16(0);
                write.i32(number as i32);
                write.i32(0);
                // Replicas and in-sync replicas: this broker.
                for _ in 0..2 {
                    write.array([0].into_iter(), Writer::i32);
                }
            });
        });
        Some(())
    }

    /// Node id and address.
    fn this_broker(&self, write: &mut Writer) {
        write.i32(0);
        write.string(&self.address.ip().to_string());
        write.i32(self.address.port() as i32);
    }

    fn produce(&self, read: &mut Reader<'_>, write: &mut Writer) -> Option<()> {
        read.string()?;
        read.i16()?;
        read.i32()?;
        let topics = read.array(|read| {
            let name = read.string()?;
            Some((name, read.array(|read| Some((read.i32()?, read.bytes()?)))?))
        })?;
        write.array(topics.into_iter(), |write, (name, partitions)| {
            write.string(name);
            write.array(partitions.into_iter(), |write, (number, batch)| {
                let appended = self.partition(name, number).map(|partition| partition.lock().append(batch));
                let (error, offset) = match appended {
                    Some(Ok(offset)) => (0, offset),
                    Some(Err(refused)) => (refused as i16, -1),
                    None => (UNKNOWN_TOPIC_OR_PARTITION, -1),
                };
                write.i32(number);
                write.i16(error);
                write.i64(offset);
                write.i64(-1);
            });
        });
        write.i32(0);
        self.appended.notify_waiters();
        Some(())
    }

    /// Waits until there is something to read, as long as the request allows.
    async fn fetch(&self, read: &mut Reader<'_>, write: &mut Writer) -> Option<()> {
        read.i32()?;
        let wait = Duration::from_millis(read.i32()?.max(0) as u64);
        let (bytes_min, bytes_max) = (read.i32()?, read.i32()?);
        read.i8()?;
        let topics = read.array(|read| {
            let name = read.string()?;
            let wanted = |read: &mut Reader<'_>| Some((read.i32()?, read.i64()?, read.i32()?));
            Some((name, read.array(wanted)?))
        })?;
        let wait_until = Instant::now() + wait;
        loop {
            let appended = self.appended.notified();
            let mut left = bytes_max.max(0) as usize;
            let mut body = Writer::default();
            body.array(topics.iter(), |body, (name, partitions)| {
                body.string(name);
                body.array(partitions.iter(), |body, wanted| self.read(name, *wanted, &mut left, body));
            });
            let read_bytes = bytes_max.max(0) as usize - left;
            let is_enough = read_bytes >= bytes_min.max(0) as usize;
            if is_enough || timeout_at(wait_until, appended).await.is_err() {
                write.i32(0);
                write.0.append(&mut body.0);
                return Some(());
            }
        }
    }

    /// One partition of a fetch: number, offset and most bytes.
    fn read(&self, topic: &str, wanted: (i32, i64, i32), left: &mut usize, write: &mut Writer) {
        let (number, offset, bytes_max) = wanted;
        let partition = self.partition(topic, number).map(Mutex::lock);
        let end = partition.as_ref().map_or(-1, |partition| partition.next_offset());
        let bytes_max = (bytes_max.max(0) as usize).min(*left);
        let (error, batches) = match partition.map(|partition| partition.read(offset, bytes_max)) {
            None => (UNKNOWN_TOPIC_OR_PARTITION, vec![]),
            Some(None) => (OFFSET_OUT_OF_RANGE, vec![]),
            // The first partition with messages is answered even if it exceeds the limit; the others wait for space.
            Some(Some(_)) if *left == 0 => (0, vec![]),
            Some(Some(batches)) => (0, batches),
        };
        *left = left.saturating_sub(batches.len());
        write.i32(number);
        write.i16(error);
        write.i64(end);
        write.i64(end);
        // No transactions, none aborted.
        write.i32(-1);
        write.i32(batches.len() as i32);
        write.0.extend(batches);
    }

    fn list_offsets(&self, version: i16, read: &mut Reader<'_>, write: &mut Writer) -> Option<()> {
        /// Asks for the oldest offset; everything else is answered with the end.
        const EARLIEST: i64 = -2;
        read.i32()?;
        if version >= 2 {
            read.i8()?;
            write.i32(0);
        }
        let topics = read.array(|read| {
            let name = read.string()?;
            Some((name, read.array(|read| Some((read.i32()?, read.i64()?)))?))
        })?;
        write.array(topics.into_iter(), |write, (name, partitions)| {
            write.string(name);
            write.array(partitions.into_iter(), |write, (number, at)| {
                let end = self.partition(name, number).map(|partition| partition.lock().next_offset());
                write.i32(number);
                write.i16(if end.is_some() { 0 } else { UNKNOWN_TOPIC_OR_PARTITION });
                write.i64(-1);
                write.i64(if at == EARLIEST { 0 } else { end.unwrap_or(-1) });
            });
        });
        Some(())
    }

    fn find_coordinator(&self, write: &mut Writer) {
        write.i16(0);
        self.this_broker(write);
    }

    fn init_producer_id(&self, write: &mut Writer) {
        write.i32(0);
        write.i16(0);
        write.i64(self.producers.fetch_add(1, Ordering::Relaxed));
        write.i16(0);
    }
}

/// The list of versions, in the form of version 0 whatever was asked: a client learns the versions from it.
fn api_versions(version: i16, write: &mut Writer) {
    write.i16(if version == 0 { 0 } else { UNSUPPORTED_VERSION });
    write.array(VERSIONS.into_iter(), |write, (key, lowest, highest)| {
        write.i16(key);
        write.i16(lowest);
        write.i16(highest);
    });
}
