//! Topics and offsets of a broker.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::Broker;
use crate::eventually;
use crate::scratch::unique;

const TIMEOUT: Duration = Duration::from_secs(30);

impl Broker {
    /// Creates a topic with a unique name that starts with `name`; returns the name once it can be written.
    pub fn topic(&self, name: &str, partitions: i32) -> String {
        let topic = unique(name);
        self.create_topic(&topic, partitions, &[]);
        topic
    }

    /// Creates a topic and waits until it can be written.
    pub fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        let created = wait_for(self.admin().create_topics([&new], &options()));
        created.expect("the broker answers")[0]
            .as_ref()
            .unwrap_or_else(|e| panic!("cannot create {topic}: {e:?}"));
        eventually(&format!("topic {topic} has {partitions} leaders"), || {
            (self.leaders(topic) == partitions as usize).then_some(())
        });
    }

    /// Deletes a topic and waits until it is deleted.
    pub fn delete_topic(&self, topic: &str) {
        let deleted = wait_for(self.admin().delete_topics(&[topic], &options()));
        deleted.expect("the broker answers")[0]
            .as_ref()
            .unwrap_or_else(|e| panic!("cannot delete {topic}: {e:?}"));
        eventually(&format!("topic {topic} is gone"), || (self.leaders(topic) == 0).then_some(()));
    }

    /// Adds partitions.
    pub fn grow_topic(&self, topic: &str, partitions: i32) {
        let new = rdkafka::admin::NewPartitions::new(topic, partitions as usize);
        let grown = wait_for(self.admin().create_partitions([&new], &options()));
        grown.expect("the broker answers")[0]
            .as_ref()
            .unwrap_or_else(|e| panic!("cannot grow {topic}: {e:?}"));
        eventually("the new partitions have leaders", || {
            (self.leaders(topic) == partitions as usize).then_some(())
        });
    }

    /// Removes all messages of a partition before an offset, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).expect("a valid offset");
        let deleted = wait_for(self.admin().delete_records(&list, &options())).expect("the broker answers");
        for element in deleted.elements() {
            element.error().unwrap_or_else(|e| panic!("cannot delete records of {topic}: {e}"));
        }
    }

    /// Earliest offset and end of every partition; the end is the high watermark, control records included.
    pub fn watermarks(&self, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let client = self.consumer();
        let metadata = client.fetch_metadata(Some(topic), TIMEOUT).expect("the broker answers");
        let partitions = metadata.topics()[0].partitions();
        partitions
            .iter()
            .map(|p| {
                let offsets = client.fetch_watermarks(topic, p.id(), TIMEOUT).expect("the leader answers");
                (p.id(), offsets)
            })
            .collect()
    }

    /// Keys of the messages that a partition has now, by offset, committed or not.
    pub fn keys(&self, topic: &str, partition: i32) -> BTreeMap<i64, Vec<u8>> {
        let mut config = self.client();
        config.set("isolation.level", "read_uncommitted").set("enable.partition.eof", "true");
        let client: BaseConsumer = config.set("group.id", "tests").create().expect("valid settings");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
        client.assign(&list).expect("the partition is there");
        let mut keys = BTreeMap::new();
        loop {
            match client.poll(TIMEOUT) {
                Some(Ok(message)) => {
                    keys.insert(message.offset(), message.key().unwrap_or_default().to_vec());
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return keys,
                other => panic!("cannot read {topic}: {other:?}"),
            }
        }
    }

    fn leaders(&self, topic: &str) -> usize {
        let metadata = self.consumer().fetch_metadata(Some(topic), TIMEOUT);
        metadata.map_or(0, |m| m.topics()[0].partitions().iter().filter(|p| p.leader() >= 0).count())
    }

    fn consumer(&self) -> BaseConsumer {
        self.client().set("isolation.level", "read_uncommitted").create().expect("valid settings")
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("valid settings")
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}

/// Waits for a future of the admin client, which has a thread of its own to complete it.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
