//! The source of a pipeline: brokers, topic, and librdkafka's settings. The Kafka crate connects.

use std::collections::BTreeMap;
use std::fmt;

/// Shown in place of a secret.
pub const REDACTED: &str = "<redacted>";

/// Kafka's default port.
const DEFAULT_PORT: u16 = 9092;

/// Everything that a Kafka source needs to connect.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaClause {
    /// `host:port` each, at least one.
    pub brokers: Vec<String>,
    /// Topic.
    pub topic: String,
    /// `CONFIG`: librdkafka's names.
    pub config: BTreeMap<String, String>,
    /// `CREDENTIALS`: the same, for secret settings. Never shown.
    pub credentials: Credentials,
}

/// CREDENTIALS by librdkafka's names.
pub type Credentials = BTreeMap<String, Credential>;

/// The entry of CREDENTIALS for one setting: its value, or the place of its value.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// The value. A stored definition has none, unless an older version stored it.
    Clear(String),
    /// `{"file": "/path"}`
    File(String),
    /// `{"env": "NAME"}`
    Env(String),
    /// `{"kept": "name"}`: the value is in the database's file of secrets, under this name. Statements may not contain
    /// this form.
    Kept(String),
}

impl Credential {
    /// The form that may be shown: the place, never the value.
    pub fn shown(&self) -> Credential {
        match self {
            Credential::Clear(_) | Credential::Kept(_) => Credential::Clear(REDACTED.into()),
            Credential::File(_) | Credential::Env(_) => self.clone(),
        }
    }

    /// As JSON, the value included.
    fn json(&self) -> serde_json::Value {
        match self {
            Credential::Clear(value) => value.as_str().into(),
            Credential::File(path) => serde_json::json!({ "file": path }),
            Credential::Env(name) => serde_json::json!({ "env": name }),
            Credential::Kept(name) => serde_json::json!({ "kept": name }),
        }
    }

    /// Reads the output of [`json`](Self::json). The error contains no part of the value.
    pub(crate) fn from_json(value: serde_json::Value) -> Result<Credential, &'static str> {
        use serde_json::Value;
        const FORM: &str =
            "has no string, number or boolean, and none of {\"file\": \"/path\"} and {\"env\": \"NAME\"}";
        let credential = match value {
            Value::String(text) => Credential::Clear(text),
            Value::Number(number) => Credential::Clear(number.to_string()),
            Value::Bool(flag) => Credential::Clear(flag.to_string()),
            Value::Object(object) => {
                let mut entries = object.into_iter();
                match (entries.next(), entries.next()) {
                    (Some((kind, Value::String(text))), None) => match kind.as_str() {
                        "file" => Credential::File(text),
                        "env" => Credential::Env(text),
                        "kept" => Credential::Kept(text),
                        _ => return Err(FORM),
                    },
                    _ => return Err(FORM),
                }
            }
            Value::Null | Value::Array(_) => return Err(FORM),
        };
        credential.check()?;
        Ok(credential)
    }

    /// Whether the place is valid. Values are not checked: older versions stored them unchecked.
    fn check(&self) -> Result<(), &'static str> {
        match self {
            Credential::File(path) if !path.starts_with('/') => {
                Err("names a file by a path that is not absolute")
            }
            Credential::Env(name) if name.is_empty() || name.contains('=') => {
                Err("names no variable of the environment")
            }
            Credential::File(text) | Credential::Env(text) if text.contains('\0') => {
                Err("has a byte of zero")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().json().fmt(f)
    }
}

/// Text of CREDENTIALS, the values included.
pub(crate) fn credentials_json(credentials: &Credentials) -> String {
    let object: serde_json::Map<_, _> =
        credentials.iter().map(|(name, c)| (name.clone(), c.json())).collect();
    serde_json::Value::Object(object).to_string()
}

impl KafkaClause {
    /// Parses `host[:port][,host[:port]…]/topic`.
    pub fn from_address(address: &str) -> Result<KafkaClause, String> {
        let (hosts, topic) = address
            .rsplit_once('/')
            .ok_or_else(|| format!("'{address}' names no topic: 'host:port/topic' is expected"))?;
        check_topic(topic)?;
        let brokers = hosts.split(',').map(|host| broker(host.trim())).collect::<Result<Vec<_>, _>>()?;
        Ok(KafkaClause {
            brokers,
            topic: topic.into(),
            config: BTreeMap::new(),
            credentials: BTreeMap::new(),
        })
    }

    /// An empty source, to show a part of one.
    pub(crate) fn nowhere() -> KafkaClause {
        KafkaClause {
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

    /// CONFIG as it may be shown: settings with secret names are hidden here, too.
    pub fn config_shown(&self) -> BTreeMap<String, String> {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if is_secret(name) { REDACTED.into() } else { value.clone() })
        };
        self.config.iter().map(shown).collect()
    }

    /// CREDENTIALS as they may be shown: names, and the places of the values.
    pub fn credentials_shown(&self) -> Credentials {
        self.credentials.iter().map(|(name, credential)| (name.clone(), credential.shown())).collect()
    }

    /// CREDENTIALS as JSON, as they may be shown.
    pub fn credentials_shown_json(&self) -> serde_json::Value {
        let shown = |(name, credential): (&String, &Credential)| (name.clone(), credential.shown().json());
        serde_json::Value::Object(self.credentials.iter().map(shown).collect())
    }

    /// Moves settings with secret names from CONFIG, which is stored unchanged, to CREDENTIALS.
    pub fn move_secrets(&mut self) {
        let secret: Vec<String> = self.config.keys().filter(|name| is_secret(name)).cloned().collect();
        for name in secret {
            let value = self.config.remove(&name).unwrap_or_default();
            self.credentials.entry(name).or_insert(Credential::Clear(value));
        }
    }

    /// Whether its definition contains the value of a secret, as older versions stored it.
    pub fn is_in_clear(&self) -> bool {
        let clear = |credential: &Credential| matches!(credential, Credential::Clear(_));
        self.credentials.values().any(clear) || self.config.keys().any(|name| is_secret(name))
    }

    /// Names of its secrets in the database's file of secrets.
    pub fn kept_secrets(&self) -> impl Iterator<Item = &str> {
        self.credentials.values().filter_map(|credential| match credential {
            Credential::Kept(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

impl fmt::Debug for KafkaClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaClause")
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
