//! Limits of the world that a run has drawn. They are applied after the draw, so that the draw itself is unchanged.

use crate::decide::Rate;
use crate::swarm::{ActivityRates, Parameters};

/// Upper bounds; None keeps the drawn value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Limits {
    pub shards: Option<u64>,
    pub topics: Option<u64>,
    /// Partitions of each topic at the start.
    pub partitions: Option<u64>,
    pub pipelines: Option<u64>,
    pub messages: Option<u64>,
    /// Turns before the faults end.
    pub steps: Option<u64>,
    /// Turns without faults in which everything must have caught up.
    pub catch_up_steps: Option<u64>,
    /// Omitted activities of clients and pipelines.
    pub without: Without,
}

/// A set of omitted parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Without(u32);

/// Parts that can be omitted, by name.
const PARTS: [&str; 11] = [
    "truncate",
    "table-churn",
    "restart-pipeline",
    "rewind",
    "write",
    "table lock",
    "read",
    "where",
    "error-limit",
    "unused-tables",
    "several-rows",
];

impl Without {
    /// Every single part.
    pub fn parts() -> impl Iterator<Item = Without> {
        (0..PARTS.len()).map(|part| Without(1 << part))
    }

    /// All of them.
    pub fn everything() -> Without {
        Without((1 << PARTS.len()) - 1)
    }

    /// Whether all of `other` is already omitted.
    pub fn contains(self, other: Without) -> bool {
        self.0 & other.0 == other.0
    }

    /// The union.
    pub fn and(self, other: Without) -> Without {
        Without(self.0 | other.0)
    }

    fn has(self, name: &str) -> bool {
        PARTS.iter().position(|part| *part == name).is_some_and(|part| self.0 & (1 << part) != 0)
    }

    /// The names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        PARTS.into_iter().enumerate().filter(move |(part, _)| self.0 & (1 << part) != 0).map(|(_, name)| name)
    }

    /// From names.
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Without, String> {
        names.into_iter().try_fold(Without::default(), |without, name| {
            let part = PARTS.iter().position(|part| *part == name);
            let part = part.ok_or_else(|| format!("{name:?} is unknown; known are {}", PARTS.join(", ")))?;
            Ok(without.and(Without(1 << part)))
        })
    }
}

impl Limits {
    /// Applies the limits.
    pub fn apply(&self, p: &mut Parameters) {
        let at_most =
            |limit: Option<u64>, drawn: usize| limit.map_or(drawn, |limit| drawn.min(limit.max(1) as usize));
        p.shard_count = at_most(self.shards, p.shard_count.into()) as u16;
        p.paces.shards.truncate(p.shard_count.into());
        p.topics.truncate(at_most(self.topics, p.topics.len()));
        p.dialects.truncate(p.topics.len());
        for partitions in &mut p.topics {
            *partitions = at_most(self.partitions, *partitions);
        }
        let pipelines = at_most(self.pipelines, p.pipelines.len());
        p.pipelines.truncate(pipelines);
        p.batch_bytes_max.truncate(pipelines);
        p.batch_interval_us.truncate(pipelines);
        p.messages = self.messages.map_or(p.messages, |limit| p.messages.min(limit));
        p.steps = self.steps.map_or(p.steps, |limit| p.steps.min(limit));
        p.catch_up_steps_max =
            self.catch_up_steps.map_or(p.catch_up_steps_max, |l| p.catch_up_steps_max.min(l));
        let without = self.without;
        if without.has("several-rows") {
            p.dialects.fill(None);
        }
        for rule in &mut p.pipelines {
            rule.topic = rule.topic.min(p.topics.len() - 1);
            if without.has("where") {
                (rule.filter_multiples_of, rule.setting) = (0, None);
            }
            if without.has("error-limit") {
                rule.error_limit = None;
            }
        }
        quieten(without, &mut p.activity);
        if without.has("table-churn") || without.has("restart-pipeline") {
            p.definition_chains = Rate::NEVER;
        }
        // TRUNCATE picks among all tables, and writes need the ledger table.
        if without.has("unused-tables") && p.activity.truncate == Rate::NEVER {
            let writes = p.activity.write != Rate::NEVER;
            let used = |name: &str| p.pipelines.iter().any(|rule| rule.table == name);
            p.tables.retain(|(name, ..)| used(name) || writes && name.starts_with("ledger"));
        }
    }
}

fn quieten(without: Without, rates: &mut ActivityRates) {
    let each = [
        ("truncate", &mut rates.truncate),
        ("table-churn", &mut rates.table_churn),
        ("restart-pipeline", &mut rates.restart_pipeline),
        ("rewind", &mut rates.rewind),
        ("write", &mut rates.write),
        ("table lock", &mut rates.table_lock),
        ("read", &mut rates.read),
    ];
    for (name, rate) in each {
        if without.has(name) {
            *rate = Rate::NEVER;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        let some = Without::named(["write", "read"]).unwrap();
        assert_eq!(some.names().collect::<Vec<_>>(), ["write", "read"]);
        assert_eq!(Without::named(Without::everything().names()), Ok(Without::everything()));
        assert!(Without::named(["wirte"]).unwrap_err().contains("write"));
        assert_eq!(Without::parts().fold(Without::default(), Without::and), Without::everything());
    }
}
