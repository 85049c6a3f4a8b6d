//! Addresses of Kafka topics: `host[:port][,host[:port]…]/topic`.

use kernel::SourceKind;

use super::{Relation, SourceSyntax};

/// Kafka's default port.
const DEFAULT_PORT: u16 = 9092;

/// The row of Kafka in the registry.
pub(super) const SYNTAX: SourceSyntax = SourceSyntax {
    kind: SourceKind::Kafka,
    keyword: "KAFKA",
    address_form: "'host:port/topic'",
    canonical: |address| KafkaAddress::parse(address).map(|address| address.canonical()),
    relation: |before, after| known(before).relation(&known(after)),
    parts: |address| {
        let KafkaAddress { brokers, topic } = known(address);
        [("brokers".to_string(), brokers.into()), ("topic".to_string(), topic.into())].into_iter().collect()
    },
};

/// A topic at some brokers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KafkaAddress {
    /// `host:port` each, at least one.
    pub brokers: Vec<String>,
    /// Topic.
    pub topic: String,
}

impl KafkaAddress {
    /// Parses `host[:port][,host[:port]…]/topic`.
    pub fn parse(address: &str) -> Result<KafkaAddress, String> {
        let (hosts, topic) = address
            .rsplit_once('/')
            .ok_or_else(|| format!("'{address}' names no topic: 'host:port/topic' is expected"))?;
        check_topic(topic)?;
        let brokers = hosts.split(',').map(|host| broker(host.trim())).collect::<Result<Vec<_>, _>>()?;
        Ok(KafkaAddress { brokers, topic: topic.into() })
    }

    /// `host:port,…/topic`
    fn canonical(&self) -> String {
        format!("{}/{}", self.brokers.join(","), self.topic)
    }

    /// A topic of the same name at other brokers may be the same one: its id tells.
    fn relation(&self, after: &KafkaAddress) -> Relation {
        let sorted = |address: &KafkaAddress| {
            let mut brokers = address.brokers.clone();
            brokers.sort();
            brokers
        };
        match self.topic == after.topic {
            false => Relation::Other,
            true if sorted(self) == sorted(after) => Relation::Same,
            true => Relation::SameIfIdentified,
        }
    }
}

fn known(address: &str) -> KafkaAddress {
    KafkaAddress::parse(address).expect("a specification has a canonical address")
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
