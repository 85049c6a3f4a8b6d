//! SET, SHOW and RESET: the settings that clients expect. Only `statement_timeout` changes the server's behaviour; the
//! others are stored, and values that would require another behaviour than ours are refused.

use std::collections::BTreeMap;
use std::time::Duration;

use datafusion::sql::sqlparser::ast::{self, Expr, Set, Value};

use crate::error::{Result, SqlError, SqlState};

/// PostgreSQL version that is reported to clients.
pub const SERVER_VERSION: &str = "15.8 (Tidemark)";

/// Name, default, and whether its value is reported to clients at connect and at every change.
const KNOWN: &[(&str, &str, bool)] = &[
    ("application_name", "", true),
    ("bytea_output", "hex", false),
    ("client_encoding", "UTF8", true),
    ("client_min_messages", "notice", false),
    ("DateStyle", "ISO, MDY", true),
    ("default_transaction_isolation", "repeatable read", false),
    ("default_transaction_read_only", "off", true),
    ("extra_float_digits", "1", false),
    ("idle_in_transaction_session_timeout", "0", false),
    ("in_hot_standby", "off", true),
    ("integer_datetimes", "on", true),
    ("IntervalStyle", "postgres", true),
    ("is_superuser", "on", true),
    ("jit", "off", false),
    ("lc_messages", "C", false),
    ("lc_monetary", "C", false),
    ("lock_timeout", "0", false),
    ("max_identifier_length", "63", false),
    ("row_security", "off", false),
    ("search_path", "\"$user\", public", false),
    ("server_encoding", "UTF8", true),
    ("server_version", SERVER_VERSION, true),
    ("server_version_num", "150008", false),
    ("session_authorization", "tidemark", true),
    ("standard_conforming_strings", "on", true),
    ("statement_timeout", "0", false),
    ("synchronous_commit", "on", false),
    ("TimeZone", "UTC", true),
    ("transaction_isolation", "repeatable read", false),
    ("transaction_read_only", "off", false),
];

/// Settings that cannot be changed.
const FIXED: &[&str] = &[
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "max_identifier_length",
    "server_encoding",
    "server_version",
    "server_version_num",
    "session_authorization",
    "transaction_isolation",
];

/// A session's settings.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    changed: BTreeMap<String, String>,
    /// Until the end of the block.
    local: BTreeMap<String, String>,
    /// The session's settings when the block began.
    before_block: Option<BTreeMap<String, String>>,
    started_with: BTreeMap<String, String>,
}

fn known(name: &str) -> Option<&'static (&'static str, &'static str, bool)> {
    KNOWN.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

impl Settings {
    /// Value by name, in any case.
    pub fn get(&self, name: &str) -> Option<String> {
        let key = name.to_ascii_lowercase();
        self.local
            .get(&key)
            .or_else(|| self.changed.get(&key))
            .cloned()
            .or_else(|| known(name).map(|(_, default, _)| default.to_string()))
    }

    /// All settings, with their names as they are shown.
    pub fn all(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> =
            KNOWN.iter().map(|(name, ..)| (name.to_string(), self.get(name).unwrap_or_default())).collect();
        let own = self.changed.iter().filter(|(name, _)| known(name).is_none());
        all.extend(own.map(|(name, value)| (name.clone(), value.clone())));
        all.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        all
    }

    /// The settings that are reported to clients.
    pub fn reported(&self) -> Vec<(&'static str, String)> {
        let reported = KNOWN.iter().filter(|(_, _, reported)| *reported);
        reported.map(|(name, ..)| (*name, self.get(name).unwrap_or_default())).collect()
    }

    /// Takes the startup packet's settings as the values of RESET; those in `options` first, so that a separate
    /// parameter wins.
    pub fn start(&mut self, parameters: &BTreeMap<String, String>) -> Result<()> {
        for (name, value) in command_line(parameters.get("options").map_or("", String::as_str))? {
            self.set(&name, &value)?;
        }
        for (name, value) in parameters {
            match name.as_str() {
                // Parameters of the connection, and optional protocol extensions.
                "user" | "database" | "options" => {}
                extension if extension.starts_with("_pq_.") => {}
                "replication" if matches!(value.as_str(), "false" | "off" | "no" | "0") => {}
                "replication" => {
                    return Err(SqlError::unsupported("replication connections are not supported"));
                }
                _ => {
                    self.set(name, value)?;
                }
            }
        }
        self.started_with = self.changed.clone();
        Ok(())
    }

    /// A transaction block begins.
    pub fn begin_block(&mut self) {
        self.before_block = Some(self.changed.clone());
    }

    /// A transaction block ends: its local settings end, and after a rollback all settings of the block are undone.
    /// Returns the settings to report.
    pub fn end_block(&mut self, committed: bool) -> Vec<(&'static str, String)> {
        let shown = self.reported();
        self.local.clear();
        if let Some(before) = self.before_block.take()
            && !committed
        {
            self.changed = before;
        }
        self.reported().into_iter().zip(shown).filter(|(now, then)| now != then).map(|(now, _)| now).collect()
    }

    /// Changes a setting for the rest of the block. Returns the settings to report.
    pub fn set_local(&mut self, name: &str, value: &str) -> Result<Option<(&'static str, String)>> {
        let mut scratch = Settings { changed: BTreeMap::new(), ..self.clone() };
        let told = scratch.set(name, value)?;
        self.local.extend(scratch.changed);
        Ok(told)
    }

    /// Changes a setting. Returns it if it is to be reported.
    pub fn set(&mut self, name: &str, value: &str) -> Result<Option<(&'static str, String)>> {
        let key = name.to_ascii_lowercase();
        let Some((shown, default, reported)) = known(name) else {
            // Settings with a dot are user-defined, as in PostgreSQL.
            if !name.contains('.') {
                return Err(unknown(name));
            }
            self.local.remove(&key);
            self.changed.insert(key, value.into());
            return Ok(None);
        };
        if FIXED.contains(shown) {
            return match value.eq_ignore_ascii_case(default) {
                true => Ok(None),
                false => Err(SqlError::new(
                    SqlState::CANT_CHANGE_RUNTIME_PARAM,
                    format!("parameter \"{shown}\" cannot be changed: it is {default} here"),
                )),
            };
        }
        let value = checked(shown, value)?;
        self.local.remove(&key);
        self.changed.insert(key, value.clone());
        Ok(reported.then_some((*shown, value)))
    }

    /// Back to the value at connect.
    pub fn reset(&mut self, name: &str) -> Result<Option<(&'static str, String)>> {
        let key = name.to_ascii_lowercase();
        self.local.remove(&key);
        match self.started_with.get(&key).cloned() {
            Some(value) => self.changed.insert(key.clone(), value),
            None => self.changed.remove(&key),
        };
        match known(name) {
            Some((shown, _, true)) => Ok(Some((*shown, self.get(shown).unwrap_or_default()))),
            Some(_) => Ok(None),
            None if name.contains('.') => Ok(None),
            None => Err(unknown(name)),
        }
    }

    /// Resets all settings to the values at connect. Returns the settings to report.
    pub fn reset_all(&mut self) -> Vec<(&'static str, String)> {
        self.changed = self.started_with.clone();
        self.local.clear();
        self.reported()
    }

    /// How long a statement may run.
    pub fn statement_timeout(&self) -> Option<Duration> {
        let timeout = self.get("statement_timeout").and_then(|text| duration_ms(&text))?;
        (timeout > 0).then(|| Duration::from_millis(timeout))
    }
}

/// The settings of a command line: `-c name=value` and `--name=value`, separated by blanks, a blank inside a word after
/// a backslash.
fn command_line(options: &str) -> Result<Vec<(String, String)>> {
    let mut words = vec![];
    let (mut word, mut begun, mut characters) = (String::new(), false, options.chars());
    while let Some(c) = characters.next() {
        match c {
            '\\' => word.extend(characters.next()),
            blank if blank.is_ascii_whitespace() => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            other => word.push(other),
        }
        begun = true;
    }
    if begun {
        words.push(word);
    }
    let mut settings = vec![];
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let assignment = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(named), _) => Some(named.to_string()),
            (None, Some("")) => words.next(),
            (None, Some(at_once)) => Some(at_once.to_string()),
            (None, None) => None,
        };
        let pair = assignment.as_deref().and_then(|a| a.split_once('='));
        let Some((name, value)) = pair.filter(|(name, _)| !name.is_empty()) else {
            let message =
                format!("invalid command-line argument \"{word}\" in the options of the connection");
            return Err(SqlError::syntax(message).with_hint("Write -c name=value."));
        };
        settings.push((name.replace('-', "_"), value.to_string()));
    }
    Ok(settings)
}

/// Milliseconds of a duration as PostgreSQL reads it: a number of milliseconds, or a number and a unit.
fn duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "us" => return Some(number.div_ceil(1000)),
        _ => return None,
    };
    number.checked_mul(unit)
}

/// The stored form of a value, or why it is refused.
fn checked(name: &str, value: &str) -> Result<String> {
    let invalid = |why: &str| {
        let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
        Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).with_hint(why))
    };
    let plain = value.to_ascii_lowercase();
    match name {
        "client_encoding" => match plain.replace(['-', '_'], "").as_str() {
            "utf8" | "unicode" | "sqlascii" => Ok("UTF8".into()),
            _ => invalid("Only UTF8 is supported."),
        },
        "TimeZone" => match plain.as_str() {
            "utc" | "etc/utc" | "gmt" | "zulu" | "z" | "0" | "+0" | "+00" | "+00:00" | "default" => {
                Ok("UTC".into())
            }
            _ => invalid("Only UTC is supported: convert in the query with AT TIME ZONE."),
        },
        "DateStyle" => match plain.split(',').next().unwrap_or_default().trim() {
            "iso" | "default" => Ok("ISO, MDY".into()),
            _ => invalid("Only ISO is supported."),
        },
        "IntervalStyle" => match plain.as_str() {
            "postgres" | "default" => Ok("postgres".into()),
            _ => invalid("Only postgres is supported."),
        },
        "bytea_output" if plain != "hex" => invalid("Only hex is supported."),
        "standard_conforming_strings" if !matches!(plain.as_str(), "on" | "true" | "1") => {
            invalid("Backslashes in strings are ordinary characters; write E'…' for escapes.")
        }
        "standard_conforming_strings" => Ok("on".into()),
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => {
            match duration_ms(&plain) {
                Some(_) => Ok(plain),
                None if plain == "default" => Ok("0".into()),
                None => invalid("Valid units are us, ms, s, min, h and d."),
            }
        }
        "synchronous_commit" => match plain.as_str() {
            "on" | "local" | "remote_write" | "remote_apply" => Ok("on".into()),
            _ => invalid("Every acknowledged statement is durable; this cannot be switched off."),
        },
        _ => Ok(value.to_string()),
    }
}

/// The change of a SET statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Sets a setting.
    Set(String, String),
    /// Sets a setting until the block ends.
    SetLocal(String, String),
    /// Resets a setting.
    Reset(String),
    /// No effect.
    Nothing,
}

/// Reads a SET statement.
pub fn change(set: &Set) -> Result<Change> {
    Ok(match set {
        Set::SingleAssignment { scope, variable, values, .. } => {
            let local = matches!(scope, Some(ast::ContextModifier::Local));
            let name = variable.to_string().replace('"', "");
            let values: Vec<String> = values.iter().map(text).collect::<Result<_>>()?;
            let value = values.join(", ");
            match value.eq_ignore_ascii_case("default") {
                true => Change::Reset(name),
                false if local => Change::SetLocal(name, value),
                false => Change::Set(name, value),
            }
        }
        Set::SetTimeZone { local, value } => match text(value)? {
            zone if matches!(zone.to_ascii_lowercase().as_str(), "local" | "default") => {
                Change::Reset("TimeZone".into())
            }
            zone if *local => Change::SetLocal("TimeZone".into(), zone),
            zone => Change::Set("TimeZone".into(), zone),
        },
        Set::SetNames { charset_name, .. } => {
            Change::Set("client_encoding".into(), charset_name.value.clone())
        }
        Set::SetNamesDefault {} => Change::Reset("client_encoding".into()),
        Set::SetTransaction { modes, snapshot: None, .. } => {
            modes.iter().try_for_each(transaction_mode)?;
            Change::Nothing
        }
        other => return Err(SqlError::unsupported(format!("\"{other}\" is not supported"))),
    })
}

/// Accepts a transaction mode that a block with one snapshot and one record fulfils.
pub fn transaction_mode(mode: &ast::TransactionMode) -> Result<()> {
    use ast::{TransactionAccessMode as A, TransactionIsolationLevel as I, TransactionMode as M};
    match mode {
        M::AccessMode(A::ReadWrite | A::ReadOnly) => Ok(()),
        M::IsolationLevel(I::ReadUncommitted | I::ReadCommitted | I::RepeatableRead | I::Snapshot) => Ok(()),
        M::IsolationLevel(I::Serializable) => Err(SqlError::unsupported(
            "isolation level SERIALIZABLE is not supported: a block reads one snapshot (REPEATABLE READ)",
        )),
    }
}

fn text(value: &Expr) -> Result<String> {
    Ok(match value {
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(s) | Value::DoubleQuotedString(s) => s.clone(),
            Value::Number(n, _) => n.to_string(),
            Value::Boolean(b) => if *b { "on" } else { "off" }.into(),
            Value::Null => return Err(SqlError::syntax("a setting cannot be null")),
            other => other.to_string(),
        },
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::CompoundIdentifier(parts) => {
            parts.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join(".")
        }
        Expr::UnaryOp { op, expr } => format!("{op}{}", text(expr)?),
        other => return Err(SqlError::syntax(format!("\"{other}\" is not the value of a setting"))),
    })
}
