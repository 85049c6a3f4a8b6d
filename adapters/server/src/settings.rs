//! Settings of the server: flags, then a TOML file, then the environment; the first one that has a setting wins.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use tidemark_kafka::AllowedBrokers;

/// Default address; the port is next to PostgreSQL's 5432.
const LISTEN_DEFAULT: &str = "127.0.0.1:5433";

/// Error text for another form.
const LISTEN_FORM: &str = "an IP address and a port are wanted, as in 127.0.0.1:5433 or [::1]:5433";

/// Most shards, in every source of settings.
const SHARDS_MAX: u16 = 1024;

/// Text below the flags.
const ELSEWHERE: &str = "\
Each setting can also be in the file of --config, by the same name with underscores, as in `log_file_bytes = 67108864`, or in
the environment, as in TIDEMARK_LOG_FILE_BYTES=67108864. Flags win over the file, and the file over the environment.";

/// Flags of `tidemark serve`. Each can also be in the file, by the same name with underscores, or in the environment as
/// `TIDEMARK_` and the name in capitals.
#[derive(Args, Serialize, Default)]
#[command(after_help = ELSEWHERE)]
pub(crate) struct ServeArguments {
    /// Directory of the database; created if it does not exist.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:5433]; port 0 takes a free one. There are no passwords yet: stay on loopback.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen_address)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Number of shards of a new database [default: 8]; fixed from then on.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(SHARDS_MAX)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<u16>,
    /// File with settings, in TOML.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Length of a log file in bytes [default: 67108864].
    #[arg(long, alias = "segment-bytes", value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_file_bytes: Option<u64>,
    /// With less free space than this on the disk the database is read-only [default: three log files].
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_reserve_bytes: Option<u64>,
    /// Memory that all queries together may take beyond the tables [default: 1073741824].
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_memory_bytes: Option<usize>,
    /// Source bytes that one pipeline may have read and not yet committed [default: 67108864].
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_credit_bytes: Option<u64>,
    /// Whether pipelines that ran before run again [default: as-before]; `stopped` stops them all, as STOP PIPELINE
    /// does; use it when a pipeline prevents a start.
    #[arg(long, value_name = "WHICH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipelines: Option<PipelinesAtStart>,
    /// Brokers that pipelines may reach, separated by commas: host or host:port each; *.domain and * are patterns [default: all].
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_brokers: Option<Vec<String>>,
    /// What to log: a level, or targets and levels, as in `info,tidemark_kafka=debug` [default: info].
    #[arg(long, value_name = "FILTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Directory of the flight recorder, for `sim replay` [default: none].
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<PathBuf>,
    /// Bytes of the recording, of all terms together; the oldest files are removed first [default: 1073741824].
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_bytes_max: Option<u64>,
    /// File to append a line to for every record staged, appended and synced: for tests that kill the server.
    #[arg(long, value_name = "FILE", hide = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<PathBuf>,
}

/// What happens to pipelines that ran before.
#[derive(clap::ValueEnum, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PipelinesAtStart {
    AsBefore,
    Stopped,
}

/// Settings in force.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub shards: Option<u16>,
    log_file_bytes: Option<u64>,
    /// The former name of `log_file_bytes`, which wins.
    segment_bytes: Option<u64>,
    pub disk_reserve_bytes: Option<u64>,
    pub query_memory_bytes: usize,
    pub pipeline_credit_bytes: u64,
    pub pipelines: PipelinesAtStart,
    #[serde(default, deserialize_with = "allowed_brokers")]
    pub allowed_brokers: AllowedBrokers,
    pub log: String,
    pub record: Option<PathBuf>,
    pub record_bytes_max: u64,
    pub trace: Option<PathBuf>,
}

/// Default settings.
#[derive(Serialize)]
struct Defaults {
    listen: &'static str,
    query_memory_bytes: u64,
    pipeline_credit_bytes: u64,
    pipelines: PipelinesAtStart,
    log: &'static str,
    record_bytes_max: u64,
}

/// Names of all settings; other variables that begin with `TIDEMARK_` are ignored.
const NAMES: [&str; 14] = [
    "data",
    "listen",
    "shards",
    "log_file_bytes",
    "segment_bytes",
    "disk_reserve_bytes",
    "query_memory_bytes",
    "pipeline_credit_bytes",
    "pipelines",
    "allowed_brokers",
    "log",
    "record",
    "record_bytes_max",
    "trace",
];

impl Settings {
    pub(crate) fn gather(arguments: &ServeArguments) -> Result<Settings, String> {
        let defaults = Defaults {
            listen: LISTEN_DEFAULT,
            query_memory_bytes: 1 << 30,
            pipeline_credit_bytes: 64 << 20,
            pipelines: PipelinesAtStart::AsBefore,
            log: "info",
            record_bytes_max: tidemark_engine::RECORD_BYTES_MAX_DEFAULT,
        };
        let mut figment = Figment::from(Serialized::defaults(defaults))
            .merge(Env::prefixed("TIDEMARK_").only(&NAMES).lowercase(true));
        if let Some(file) = &arguments.config {
            if !file.is_file() {
                return Err(format!("there is no configuration file {}", file.display()));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        let settings: Settings = figment.merge(Serialized::defaults(arguments)).extract().map_err(explain)?;
        settings.check()
    }

    /// Length of a log file.
    pub(crate) fn log_file_bytes(&self) -> u64 {
        self.log_file_bytes.or(self.segment_bytes).unwrap_or(tidemark_engine::LOG_FILE_BYTES_DEFAULT)
    }

    fn check(self) -> Result<Settings, String> {
        const LOG_FILE_BYTES_MIN: u64 = 1 << 20;
        if self.log_file_bytes() < LOG_FILE_BYTES_MIN {
            return Err(format!(
                "log_file_bytes is {}, at least {LOG_FILE_BYTES_MIN} are needed",
                self.log_file_bytes()
            ));
        }
        const RECORD_BYTES_MIN: u64 = 1 << 20;
        if self.record_bytes_max < RECORD_BYTES_MIN {
            return Err(format!(
                "record_bytes_max is {}, at least {RECORD_BYTES_MIN} are needed",
                self.record_bytes_max
            ));
        }
        if let Some(shards) = self.shards
            && !(1..=SHARDS_MAX).contains(&shards)
        {
            return Err(format!("shards is {shards}, it has to be from 1 to {SHARDS_MAX}"));
        }
        // With 0, no sorting query and no pipeline could proceed.
        if self.query_memory_bytes == 0 {
            return Err("query_memory_bytes is 0: no query could sort or group".into());
        }
        if self.pipeline_credit_bytes == 0 {
            return Err("pipeline_credit_bytes is 0: no pipeline could read".into());
        }
        Ok(self)
    }
}

/// A list, or a text with commas, as in the environment.
fn allowed_brokers<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<AllowedBrokers, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        List(Vec<String>),
        Text(String),
    }
    let patterns = match Said::deserialize(deserializer)? {
        Said::List(patterns) => patterns,
        Said::Text(text) if text.trim().is_empty() => vec![],
        Said::Text(text) => text.split(',').map(str::to_owned).collect(),
    };
    AllowedBrokers::only(&patterns).map_err(serde::de::Error::custom)
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| LISTEN_FORM.to_string())
}

fn explain(error: figment::Error) -> String {
    if matches!(&error.kind, figment::error::Kind::MissingField(name) if name == "data") {
        return "no data directory: say --data DIR, or `data` in the file, or TIDEMARK_DATA".into();
    }
    if error.path.last().is_some_and(|name| name.eq_ignore_ascii_case("listen")) {
        return format!("configuration: {error}: {LISTEN_FORM}");
    }
    format!("configuration: {error}")
}

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "figment's Jail asks for its own error type")]
mod tests {
    use figment::Jail;

    use super::*;

    fn flags(data: Option<&str>, config: Option<&str>) -> ServeArguments {
        ServeArguments { data: data.map(Into::into), config: config.map(Into::into), ..Default::default() }
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_environment() {
        Jail::expect_with(|jail| {
            jail.create_file("tidemark.toml", "data = 'file'\nlisten = '127.0.0.1:1'\n")?;
            jail.set_env("TIDEMARK_DATA", "environment");
            jail.set_env("TIDEMARK_LISTEN", "127.0.0.1:2");
            jail.set_env("TIDEMARK_SHARDS", "3");
            jail.set_env("TIDEMARK_OTHER", "not ours");
            let settings = Settings::gather(&flags(Some("flag"), Some("tidemark.toml"))).unwrap();
            assert_eq!(settings.data, PathBuf::from("flag"));
            assert_eq!(settings.listen.port(), 1);
            assert_eq!(settings.shards, Some(3));
            let settings = Settings::gather(&flags(None, None)).unwrap();
            assert_eq!(settings.data, PathBuf::from("environment"));
            assert_eq!(settings.listen.port(), 2);
            Ok(())
        });
    }

    #[test]
    fn allowed_brokers_are_a_list_wherever_they_are_said() {
        Jail::expect_with(|jail| {
            let allows = |arguments: &ServeArguments, broker: &str| {
                Settings::gather(arguments).unwrap().allowed_brokers.check(broker).is_ok()
            };
            let mut arguments = flags(Some("d"), None);
            assert!(allows(&arguments, "any:1"));
            for (text, all_but_b) in [("a:1,*.c", true), ("[\"a:1\", \"*.c\"]", true), ("", false)] {
                jail.set_env("TIDEMARK_ALLOWED_BROKERS", text);
                for (broker, allowed) in [("a:1", all_but_b), ("x.c:7", all_but_b), ("b:1", false)] {
                    assert_eq!(allows(&arguments, broker), allowed, "{text} {broker}");
                }
            }
            jail.create_file("tidemark.toml", "allowed_brokers = ['b']\n")?;
            arguments.config = Some("tidemark.toml".into());
            assert!(allows(&arguments, "b:1") && !allows(&arguments, "a:1"));
            arguments.allowed_brokers = Some(vec!["c:1".into()]);
            assert!(allows(&arguments, "c:1") && !allows(&arguments, "b:1"));
            arguments.allowed_brokers = Some(vec!["c:x".into()]);
            let error = Settings::gather(&arguments).unwrap_err();
            assert!(error.contains("'c:x'"), "{error}");
            Ok(())
        });
    }

    #[test]
    fn mistakes_are_named() {
        Jail::expect_with(|jail| {
            assert!(Settings::gather(&flags(None, None)).unwrap_err().contains("--data"));
            jail.create_file("bad.toml", "dta = 'x'\n")?;
            let error = Settings::gather(&flags(Some("d"), Some("bad.toml"))).unwrap_err();
            assert!(error.contains("dta") && error.contains("bad.toml"), "{error}");
            let error = Settings::gather(&flags(Some("d"), Some("none.toml"))).unwrap_err();
            assert!(error.contains("none.toml"), "{error}");
            jail.create_file("listen.toml", "listen = 'localhost:5433'\n")?;
            let error = Settings::gather(&flags(Some("d"), Some("listen.toml"))).unwrap_err();
            assert!(error.contains("as in 127.0.0.1:5433") && error.contains("listen.toml"), "{error}");
            assert_eq!(listen_address("localhost:5433"), Err(LISTEN_FORM.to_string()));
            Ok(())
        });
    }

    #[test]
    fn limits_hold_wherever_a_number_is_said() {
        let wrong = [
            ("shards = 0", "from 1 to 1024"),
            ("shards = 5000", "from 1 to 1024"),
            ("segment_bytes = 5", "at least"),
            ("log_file_bytes = 5", "at least"),
            ("record_bytes_max = 5", "at least"),
            ("query_memory_bytes = 0", "query_memory_bytes is 0"),
            ("pipelines = 'held'", "held"),
            ("pipeline_credit_bytes = 0", "pipeline_credit_bytes is 0"),
        ];
        for (line, said) in wrong {
            Jail::expect_with(|jail| {
                jail.create_file("wrong.toml", line)?;
                let error = Settings::gather(&flags(Some("d"), Some("wrong.toml"))).expect_err(line);
                assert!(error.contains(said), "{line}: {error}");
                Ok(())
            });
        }
    }
}
