//! Where a pipeline reads: brokers, topic, and what librdkafka is configured with. Connecting lives in the Kafka crate.

use std::collections::BTreeMap;
use std::fmt;

/// Shown in place of a secret.
pub const REDACTED: &str = "<redacted>";

/// Kafka's port where none is said.
const DEFAULT_PORT: u16 = 9092;

/// Everything that a Kafka source needs to connect.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSource {
    /// `host:port` each, at least one.
    pub brokers: Vec<String>,
    /// Topic.
    pub topic: String,
    /// `CONFIG`: librdkafka's names.
    pub config: BTreeMap<String, String>,
    /// `CREDENTIALS`: the same, for what is secret. Never shown.
    pub credentials: BTreeMap<String, String>,
}

impl KafkaSource {
    /// Takes `host[:port][,host[:port]…]/topic` apart.
    pub fn from_address(address: &str) -> Result<KafkaSource, String> {
        let (hosts, topic) = address
            .rsplit_once('/')
            .ok_or_else(|| format!("'{address}' names no topic: 'host:port/topic' is expected"))?;
        check_topic(topic)?;
        let brokers = hosts.split(',').map(|host| broker(host.trim())).collect::<Result<Vec<_>, _>>()?;
        Ok(KafkaSource {
            brokers,
            topic: topic.into(),
            config: BTreeMap::new(),
            credentials: BTreeMap::new(),
        })
    }

    /// No source: what a part of one is shown with.
    pub(crate) fn nowhere() -> KafkaSource {
        KafkaSource {
            brokers: Vec::new(),
            topic: String::new(),
            config: BTreeMap::new(),
            credentials: BTreeMap::new(),
        }
    }

    /// `host:port,…/topic`
    pub fn address(&self) -> String {
        format!("{}/{}", self.brokers.join(","), self.topic)
    }

    /// CONFIG as it may be shown: what is a secret by its name is hidden even there.
    pub fn config_shown(&self) -> BTreeMap<String, String> {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if is_secret(name) { REDACTED.into() } else { value.clone() })
        };
        self.config.iter().map(shown).collect()
    }

    /// CREDENTIALS as they may be shown: names only.
    pub fn credentials_shown(&self) -> BTreeMap<String, String> {
        self.credentials.keys().map(|name| (name.clone(), REDACTED.into())).collect()
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("config", &self.config_shown())
            .field("credentials", &self.credentials_shown())
            .finish()
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token", "key.pem", "sasl.jaas", "passphrase"].iter().any(|s| name.contains(s))
}

fn check_topic(topic: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.is_empty() || topic.len() > 249 || topic == "." || topic == ".." || !topic.chars().all(legal) {
        return Err(format!(
            "'{topic}' is not a topic name: 1 to 249 letters, digits, '.', '_' and '-' are expected"
        ));
    }
    Ok(())
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` with its port.
fn broker(text: &str) -> Result<String, String> {
    let wrong = || format!("'{text}' is not a broker: 'host:port' is expected");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (format!("[{address}]"), port.strip_prefix(':').or(port.is_empty().then_some("")))
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
            if host.is_empty() || !host.chars().all(legal) {
                return Err(wrong());
            }
            (host.to_string(), (!text.ends_with(':')).then_some(port))
        }
    };
    let port = match port.ok_or_else(wrong)? {
        "" => DEFAULT_PORT,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    if port == 0 {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}
