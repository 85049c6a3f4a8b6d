//! A topic and its connection settings, from CREATE PIPELINE, checked before any connection. This file alone decides
//! which settings librdkafka gets from us, and which ones a user may not set because exactly-once depends on them.

use std::collections::BTreeMap;
use std::fmt;

use kernel::{Error, Result, SqlState};

use crate::allowed::AllowedBrokers;

/// Memory for messages that are fetched ahead, by default.
pub const PREFETCH_BYTES_DEFAULT: u64 = 96 << 20;

/// How long a broker holds a fetch without messages.
const FETCH_WAIT: &str = "fetch.wait.max.ms";

/// See [`KafkaOptions::client_settings`].
const FETCH_WAIT_MS: &str = "20";

/// See [`KafkaOptions::resting_settings`].
const FETCH_WAIT_RESTING_MS: &str = "500";

/// A Kafka topic and how to reach it.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaOptions {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// Topic.
    pub topic: String,
    /// Settings of CONFIG and CREDENTIALS, librdkafka's names. Only those on the allow-list.
    pub settings: BTreeMap<String, String>,
    /// Most bytes of messages fetched ahead, over all partitions together (a fetch in flight may exceed it).
    pub prefetch_bytes_max: u64,
    /// Brokers that may be connected to. The caller checks the brokers of the definition; brokers that they announce
    /// are checked on connection.
    pub allowed_brokers: AllowedBrokers,
    /// Whether the values of secrets are read again when the source is made again: then a refused password may be
    /// accepted later.
    pub secrets_may_change: bool,
}

/// Settings that a user may set, by prefix (ending in a dot) or full name.
const ALLOWED: &[&str] = &[
    "allow.auto.create.topics",
    "api.version.request.timeout.ms",
    "broker.address.family",
    "broker.address.ttl",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "debug",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    FETCH_WAIT,
    "log_level",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "message.max.bytes",
    "metadata.",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.",
    "ssl.ca.",
    "ssl.certificate.",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.",
    "ssl.keystore.",
    "ssl.sigalgs.list",
    "topic.metadata.",
];

/// Settings that a user may not set, and the reason: with another value a message could be lost, counted twice, or read
/// before it is committed.
const OURS: &[(&str, &str)] = &[
    (
        "auto.offset.reset",
        "a lost offset must stop the pipeline, not move it; use ALTER PIPELINE … SET OFFSETS",
    ),
    ("bootstrap.servers", "the brokers stand before the topic, as in KAFKA 'host:9092/topic'"),
    ("enable.auto.commit", "offsets are kept with the rows, not in Kafka"),
    ("enable.auto.offset.store", "offsets are kept with the rows, not in Kafka"),
    ("enable.partition.eof", "the end of a partition is needed to know the lag"),
    ("group.id", "a pipeline reads by itself and joins no consumer group"),
    ("group.instance.id", "a pipeline reads by itself and joins no consumer group"),
    ("group.protocol", "a pipeline reads by itself and joins no consumer group"),
    ("isolation.level", "only committed messages count"),
    ("metadata.broker.list", "the brokers stand before the topic, as in KAFKA 'host:9092/topic'"),
    ("queued.max.messages.kbytes", "memory is bounded by the server's configuration"),
    ("queued.min.messages", "memory is bounded by the server's configuration"),
];

impl fmt::Debug for KafkaOptions {
    /// Without the values of the settings, which include passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaOptions")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("settings", &self.settings.keys())
            .field("prefetch_bytes_max", &self.prefetch_bytes_max)
            .finish()
    }
}

impl KafkaOptions {
    /// Checks a definition. `settings` are the keys and values of CONFIG and CREDENTIALS together.
    pub fn new(brokers: &str, topic: &str, settings: BTreeMap<String, String>) -> Result<KafkaOptions> {
        let invalid = |message: String| Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
        for broker in brokers.split(',') {
            if broker.trim().is_empty() || broker.contains(char::is_whitespace) {
                return invalid(format!(
                    "the broker list '{brokers}' has an empty or malformed entry; write host:port, separated by commas"
                ));
            }
        }
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.is_empty() || topic.len() > 249 || !topic.chars().all(named) || topic == "." || topic == ".."
        {
            return invalid(format!(
                "'{topic}' cannot be the name of a Kafka topic: letters, digits, '.', '_' and '-' are allowed, at most 249"
            ));
        }
        for key in settings.keys() {
            if let Some((_, why)) = OURS.iter().find(|(ours, _)| ours == key) {
                return invalid(format!("CONFIG cannot set '{key}': {why}"));
            }
            let allows = |a: &str| if a.ends_with('.') { key.starts_with(a) } else { key == a };
            if !ALLOWED.iter().any(|a| allows(a)) {
                return invalid(format!(
                    "CONFIG cannot set '{key}': it is not among the Kafka settings that a pipeline may have ({})",
                    ALLOWED.join(", ").replace("., ", ".*, ")
                ));
            }
        }
        let (brokers, topic) = (brokers.to_string(), topic.to_string());
        Ok(KafkaOptions {
            brokers,
            topic,
            settings,
            prefetch_bytes_max: PREFETCH_BYTES_DEFAULT,
            allowed_brokers: AllowedBrokers::default(),
            secrets_may_change: false,
        })
    }

    /// Whether idle partitions may rest. Not if the user has set the fetch wait.
    pub(crate) fn may_rest(&self) -> bool {
        !self.settings.contains_key(FETCH_WAIT)
    }

    /// librdkafka's settings for a reader of resting partitions: the broker holds a fetch for a long time. It still
    /// answers as soon as there is one byte.
    pub(crate) fn resting_settings(&self, partitions: usize) -> Vec<(String, String)> {
        let mut settings = self.client_settings(partitions);
        for (key, value) in &mut settings {
            if key == FETCH_WAIT {
                *value = FETCH_WAIT_RESTING_MS.to_owned();
            }
        }
        settings
    }

    /// librdkafka's settings for a reader of this many partitions: defaults, then the user's settings, then the fixed
    /// ones.
    pub(crate) fn client_settings(&self, partitions: usize) -> Vec<(String, String)> {
        let partitions = partitions.max(1) as u64;
        let queue_kbytes = (self.prefetch_bytes_max / 1024 / partitions).clamp(256, 1 << 20);
        // A queued message costs librdkafka some 300 bytes beside its payload: bound their number as well.
        let queue_messages = (self.prefetch_bytes_max / 512 / partitions).clamp(1000, 10_000_000);
        // Compressed size: a fetch in flight when a queue is full may decompress to many times this. Measured with 8
        // partitions: 512 KiB instead of 4 MiB takes a fifth of the memory and a quarter less CPU.
        let partition_fetch_bytes = (queue_kbytes * 1024 / 24).clamp(128 << 10, 1 << 20);
        let mut settings: BTreeMap<String, String> = BTreeMap::new();
        let mut put = |key: &str, value: &str| {
            settings.insert(key.to_string(), value.to_string());
        };
        put("client.id", "tidemark");
        // The broker answers as soon as there is one byte, and otherwise after this time. The value is not for
        // freshness: librdkafka has one fetch in flight per broker, and leaves out partitions whose queue is full. Once
        // such a queue is empty, its partition waits for the answer for those at their ends: with 100 ms, one busy
        // partition of eight is read at a third of its speed. Partitions that stay at their ends are fetched apart, see
        // `resting_settings`.
        put(FETCH_WAIT, FETCH_WAIT_MS);
        put("fetch.min.bytes", "1");
        put("fetch.error.backoff.ms", "100");
        // A full queue defers the next fetch by a second unless told otherwise.
        put("fetch.queue.backoff.ms", "5");
        put("max.partition.fetch.bytes", &partition_fetch_bytes.to_string());
        put("check.crcs", "true");
        put("socket.nagle.disable", "true");
        put("reconnect.backoff.ms", "50");
        put("reconnect.backoff.max.ms", "500");
        put("allow.auto.create.topics", "false");
        put("topic.metadata.propagation.max.ms", "5000");
        for (key, value) in &self.settings {
            put(key, value);
        }
        put("bootstrap.servers", &self.brokers);
        // Required for the assignment; no group is joined and no offset committed.
        put("group.id", "tidemark");
        put("enable.auto.commit", "false");
        put("enable.auto.offset.store", "false");
        put("auto.offset.reset", "error");
        put("isolation.level", "read_committed");
        put("enable.partition.eof", "true");
        put("queued.max.messages.kbytes", &queue_kbytes.to_string());
        put("queued.min.messages", &queue_messages.to_string());
        settings.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> Result<KafkaOptions> {
        KafkaOptions::new("b1:9092,b2:9092", "t", BTreeMap::from([(key.into(), value.into())]))
    }

    #[test]
    fn settings_that_exactly_once_rests_on_are_refused_with_the_reason() {
        for (key, why) in OURS {
            let error = with(key, "x").unwrap_err();
            assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER_VALUE);
            assert!(error.message.contains(key) && error.message.contains(why), "{}", error.message);
        }
    }

    #[test]
    fn only_listed_settings_pass() {
        for key in ["sasl.username", "ssl.ca.location", "socket.timeout.ms", "fetch.wait.max.ms"] {
            assert!(with(key, "1").is_ok(), "{key}");
        }
        // Code or commands of the user's choice inside the server.
        for key in
            ["plugin.library.paths", "sasl.kerberos.kinit.cmd", "ssl.engine.location", "no.such.setting"]
        {
            assert!(with(key, "x").unwrap_err().message.contains(key));
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let options = with("sasl.password", "hunter2").unwrap();
        assert!(format!("{options:?}").contains("sasl.password"));
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn malformed_brokers_and_topics_are_refused() {
        let none = BTreeMap::new;
        for (brokers, topic) in
            [("", "t"), ("a,,b", "t"), ("a b:1", "t"), ("a", ""), ("a", "x y"), ("a", "..")]
        {
            assert!(KafkaOptions::new(brokers, topic, none()).is_err(), "{brokers:?} {topic:?}");
        }
    }

    #[test]
    fn a_user_setting_replaces_a_default_but_memory_stays_bounded() {
        let options = with("fetch.wait.max.ms", "7").unwrap();
        for partitions in [0, 1, 8, 1000] {
            let settings: BTreeMap<_, _> = options.client_settings(partitions).into_iter().collect();
            assert_eq!(settings["fetch.wait.max.ms"], "7");
            let queue_bytes = settings["queued.max.messages.kbytes"].parse::<u64>().unwrap() * 1024;
            let all = queue_bytes * partitions.max(1) as u64;
            assert!(
                all <= options.prefetch_bytes_max.max(partitions as u64 * (256 << 10)),
                "{partitions}: {all}"
            );
        }
    }
}
