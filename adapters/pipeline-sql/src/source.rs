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
    pub credentials: Credentials,
}

/// CREDENTIALS by librdkafka's names.
pub type Credentials = BTreeMap<String, Credential>;

/// What CREDENTIALS say of one setting: its value, or where it is to be had.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// The value. A definition that is kept has none, unless an older version has kept it.
    Clear(String),
    /// `{"file": "/path"}`
    File(String),
    /// `{"env": "NAME"}`
    Env(String),
    /// `{"kept": "name"}`: the database keeps it in its file of secrets, by this name. Nobody says that in a statement.
    Kept(String),
}

impl Credential {
    /// As it may be shown: where it is, never what it is.
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

    /// Reads what [`json`](Self::json) writes. The error says what is wrong, and nothing of the value.
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

    /// Whether it can be had there. Values are not looked at: older versions kept them as they came.
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

    /// CREDENTIALS as they may be shown: names, and where the values are.
    pub fn credentials_shown(&self) -> Credentials {
        self.credentials.iter().map(|(name, credential)| (name.clone(), credential.shown())).collect()
    }

    /// CREDENTIALS as JSON, as they may be shown.
    pub fn credentials_shown_json(&self) -> serde_json::Value {
        let shown = |(name, credential): (&String, &Credential)| (name.clone(), credential.shown().json());
        serde_json::Value::Object(self.credentials.iter().map(shown).collect())
    }

    /// Takes what is a secret by its name out of CONFIG, where it would be kept as it is, and into CREDENTIALS.
    pub fn move_secrets(&mut self) {
        let secret: Vec<String> = self.config.keys().filter(|name| is_secret(name)).cloned().collect();
        for name in secret {
            let value = self.config.remove(&name).unwrap_or_default();
            self.credentials.entry(name).or_insert(Credential::Clear(value));
        }
    }

    /// Whether its definition has a secret as it is, and not where it is to be had: older versions kept it so.
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
