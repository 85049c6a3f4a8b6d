//! Which brokers may be connected to: the server's configuration, compared with names in definitions and names that
//! brokers announce. Names are compared, not the addresses behind them.

use kernel::{Error, Result, SqlState};

/// Name of the setting.
const SETTING: &str = "allowed_brokers";

/// Hosts that pipelines may reach. The default allows all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AllowedBrokers {
    /// None: all.
    patterns: Option<Vec<Pattern>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern {
    /// In lower case: a name, `*` for any, or `*.` and the end of names.
    host: String,
    /// None: any.
    port: Option<u16>,
}

impl AllowedBrokers {
    /// Only these: `host` or `host:port` each, where the host may be `*`, or begin with `*.` for all names that end so.
    pub fn only<T: AsRef<str>>(patterns: &[T]) -> Result<AllowedBrokers, String> {
        let patterns: Result<_, _> = patterns.iter().map(|text| pattern(text.as_ref().trim())).collect();
        Ok(AllowedBrokers { patterns: Some(patterns?) })
    }

    /// Refuses a broker, `host:port`, that may not be connected to.
    pub fn check(&self, broker: &str) -> Result<()> {
        if self.allows(broker) {
            return Ok(());
        }
        let message = format!(
            "broker {broker} is not among the hosts that pipelines may reach; they are set by the server's option {SETTING}"
        );
        Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, message))
    }

    /// Whether a broker, `host:port`, may be connected to.
    pub(crate) fn allows(&self, broker: &str) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        let (host, port) = split(broker);
        let host = host.to_lowercase();
        patterns.iter().any(|pattern| pattern.has(&host, port))
    }
}

impl Pattern {
    fn has(&self, host: &str, port: Option<u16>) -> bool {
        let host_fits = match self.host.strip_prefix('*') {
            Some("") => true,
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => host == self.host,
        };
        host_fits && self.port.is_none_or(|wanted| port == Some(wanted))
    }
}

/// Host without brackets, and port, if one is there. `::1:9092`, as librdkafka writes it, has the port behind the last colon.
fn split(broker: &str) -> (&str, Option<u16>) {
    let (host, port) = match broker.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (broker, None),
        },
        None => (broker, None),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

fn pattern(text: &str) -> Result<Pattern, String> {
    let wrong = || {
        format!(
            "{SETTING}: '{text}' is none of host, host:port, *.domain, *.domain:port and * (v6 addresses in brackets)"
        )
    };
    // A v6 address without a port would be taken for one with a port.
    let in_brackets = text.starts_with('[');
    let has_port = if in_brackets { !text.ends_with(']') } else { text.contains(':') };
    let (host, port) = if has_port { split(text) } else { (text.trim_matches(['[', ']']), None) };
    let (name, is_v6) = (host.strip_prefix("*.").unwrap_or(host), host.parse::<std::net::Ipv6Addr>().is_ok());
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_host = host == "*" || is_v6 && in_brackets || !name.is_empty() && name.chars().all(legal);
    if !is_host || has_port && port.is_none_or(|port| port == 0) {
        return Err(wrong());
    }
    Ok(Pattern { host: host.to_lowercase(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_held_against_the_patterns() {
        let allowed =
            AllowedBrokers::only(&["Kafka1:9092", "10.0.0.5", "*.example.com:9092", "[::1]:9092"]).unwrap();
        for broker in
            ["kafka1:9092", "KAFKA1:9092", "10.0.0.5:1", "b.example.com:9092", "a.b.example.com:9092"]
        {
            assert!(allowed.check(broker).is_ok(), "{broker}");
        }
        for broker in ["[::1]:9092", "::1:9092"] {
            assert!(allowed.check(broker).is_ok(), "{broker}");
        }
        for broker in [
            "kafka1:9093",
            "kafka2:9092",
            "example.com:9092",
            "evilexample.com:9092",
            "b.example.com:1",
            "10.0.0.50:1",
            "::2:9092",
        ] {
            let error = allowed.check(broker).unwrap_err();
            assert_eq!(error.sqlstate, SqlState::INSUFFICIENT_PRIVILEGE);
            assert!(error.message.contains(broker) && error.message.contains(SETTING), "{error}");
        }
    }

    #[test]
    fn nothing_said_allows_all_and_an_empty_list_none() {
        assert!(AllowedBrokers::default().check("anything:1").is_ok());
        assert!(AllowedBrokers::only(&["*"]).unwrap().check("anything:1").is_ok());
        assert!(AllowedBrokers::only::<&str>(&[]).unwrap().check("anything:1").is_err());
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in
            ["", ":9092", "a:", "a:x", "a:0", "a:70000", "*a", "a*", "*.", "a b", "::1", "a/b", "[a]:1:2"]
        {
            let error = AllowedBrokers::only(&[text]).expect_err(text);
            assert!(error.contains(SETTING) && error.contains(text), "{error}");
        }
    }
}
