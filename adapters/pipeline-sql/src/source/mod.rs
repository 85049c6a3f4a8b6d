//! The source of a pipeline as its definition names it: `LOAD DATA kind 'address' CONFIG '…' CREDENTIALS '…'`. [`KINDS`]
//! is the registry of kinds; a kind's addresses are in a module of its own. The crates of the sources connect.

pub mod kafka;

use std::collections::BTreeMap;
use std::fmt;

use kernel::SourceKind;

/// Shown in place of a secret.
pub const REDACTED: &str = "<redacted>";

/// All kinds of sources that a statement can name. A new source adds a row.
pub const KINDS: &[SourceSyntax] = &[kafka::SYNTAX];

/// What statements know of a kind of source.
pub struct SourceSyntax {
    /// The kind, which the kernel knows by its positions.
    pub kind: SourceKind,
    /// Keyword after `LOAD DATA`.
    pub keyword: &'static str,
    /// The form of its addresses, for error texts.
    pub address_form: &'static str,
    /// The canonical form of an address, or the reason why it is none.
    pub canonical: fn(&str) -> Result<String, String>,
    /// How two canonical addresses are related.
    pub relation: fn(&str, &str) -> Relation,
    /// Parts of a canonical address by name, for `information_schema`.
    pub parts: fn(&str) -> serde_json::Map<String, serde_json::Value>,
}

/// Whether two addresses of one kind name the same source. If not, positions at one of them mean nothing at the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// They do.
    Same,
    /// They do if the identities of the splits agree, which is checked when the source is opened.
    SameIfIdentified,
    /// They do not.
    Other,
}

impl SourceSyntax {
    /// The row of a kind.
    pub fn of(kind: SourceKind) -> &'static SourceSyntax {
        KINDS.iter().find(|syntax| syntax.kind == kind).expect("every kind has a row")
    }
}

/// A source: its kind and place, and everything that is needed to connect.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceSpec {
    /// Its kind.
    pub kind: SourceKind,
    /// Canonical address, in the form of its kind.
    pub address: String,
    /// `CONFIG`, by the names of the source's client.
    pub config: BTreeMap<String, String>,
    /// `CREDENTIALS`: the same, for secret settings. Never shown.
    pub credentials: Credentials,
}

/// CREDENTIALS, by the names of the source's client.
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

impl SourceSpec {
    /// A source without settings. The error says what is wrong with the address.
    pub fn new(kind: SourceKind, address: &str) -> Result<SourceSpec, String> {
        let address = (SourceSyntax::of(kind).canonical)(address)?;
        Ok(SourceSpec { kind, address, config: BTreeMap::new(), credentials: BTreeMap::new() })
    }

    /// What statements know of its kind.
    pub fn syntax(&self) -> &'static SourceSyntax {
        SourceSyntax::of(self.kind)
    }

    /// How another source is related to this one.
    pub fn relation(&self, other: &SourceSpec) -> Relation {
        if self.kind != other.kind {
            return Relation::Other;
        }
        (self.syntax().relation)(&self.address, &other.address)
    }

    /// CONFIG as it may be shown: settings with secret names are hidden here, too.
    pub fn config_shown(&self) -> BTreeMap<String, String> {
        config_shown(&self.config)
    }

    /// CREDENTIALS as they may be shown: names, and the places of the values.
    pub fn credentials_shown(&self) -> Credentials {
        credentials_shown(&self.credentials)
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

impl fmt::Debug for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceSpec")
            .field("kind", &self.kind)
            .field("address", &self.address)
            .field("config", &self.config_shown())
            .field("credentials", &self.credentials_shown())
            .finish()
    }
}

/// CONFIG as it may be shown.
pub(crate) fn config_shown(config: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shown = |(name, value): (&String, &String)| {
        (name.clone(), if is_secret(name) { REDACTED.into() } else { value.clone() })
    };
    config.iter().map(shown).collect()
}

/// CREDENTIALS as they may be shown.
pub(crate) fn credentials_shown(credentials: &Credentials) -> Credentials {
    credentials.iter().map(|(name, credential)| (name.clone(), credential.shown())).collect()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token", "key.pem", "sasl.jaas", "passphrase"].iter().any(|s| name.contains(s))
}
