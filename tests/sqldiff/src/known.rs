//! Known differences, so that the gate can detect a new one. The lists contain each random statement of the first seeds
//! that differs, and each common statement that is not right. A difference outside of the lists fails the gate; the
//! lists only become shorter.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tests::kafka::Broker;
use tests::postgres::Postgres;

use crate::compare::Verdict;
use crate::{decoders, everyday, findings, pipelines, run};

/// The seeds of the gate, about a minute for a debug build.
const SEEDS: Range<u64> = 0..400;

/// The seeds of the gate's pipelines, of 200 messages each.
const PIPELINES: Range<u64> = 0..12;

/// The seed of the gate's texts.
const TEXTS: u64 = 1;

/// The differences found, for comparison with the known ones.
#[derive(Debug)]
pub struct List {
    /// The file of the known ones.
    pub path: PathBuf,
    /// The name and a description of each.
    pub found: BTreeMap<String, Entry>,
    /// How many statements ran.
    pub ran: usize,
}

/// A difference.
#[derive(Debug)]
pub struct Entry {
    /// On one line.
    pub summary: String,
    /// Statement and answers.
    pub details: String,
}

/// Runs the random statements of the gate.
pub fn random(postgres: &Postgres) -> List {
    let entry = |(seed, (sql, difference)): (u64, (String, crate::compare::Difference))| {
        let details = format!("{sql}\n{}", findings::verdict(&Verdict::Wrong(difference.clone())));
        (format!("seed {seed}"), Entry { summary: format!("{}: {sql}", difference.label), details })
    };
    let found = run::differing(postgres, SEEDS).into_iter().map(entry).collect();
    List { path: directory().join("random.txt"), found, ran: (SEEDS.end - SEEDS.start) as usize }
}

/// Runs the everyday statements.
pub fn everyday(postgres: &Postgres) -> List {
    let outcome = everyday::run(postgres);
    let entry = |miss: &everyday::Miss| {
        let what = findings::verdict(&miss.verdict);
        let summary = what.lines().next().unwrap_or_default().to_string();
        let details = format!("{}\n{what}", miss.sql);
        (miss.sql.replace('\n', " "), Entry { summary, details })
    };
    List {
        path: directory().join("everyday.txt"),
        found: outcome.misses.iter().map(entry).collect(),
        ran: outcome.counts().0,
    }
}

/// Loads the pipelines of the gate: what both sides store differently.
pub fn pipelines(postgres: &Postgres, broker: &Broker) -> List {
    let outcome = pipelines::run(postgres, broker, PIPELINES);
    let entry = |text: &String| {
        let mut lines = text.lines();
        let name = lines.next().unwrap_or_default().to_string();
        let summary = lines.next().unwrap_or_default().trim().to_string();
        (name, Entry { summary, details: text.clone() })
    };
    let found = outcome.wrong.iter().map(entry).collect();
    List { path: directory().join("pipelines.txt"), found, ran: outcome.messages }
}

/// Decodes the texts of the gate: what both sides store differently.
pub fn decoders(postgres: &Postgres, broker: &Broker) -> List {
    let mut list = List { path: directory().join("decoders.txt"), found: BTreeMap::new(), ran: 0 };
    for (of, outcome) in decoders::run(postgres, broker, TEXTS) {
        list.ran += outcome.right + outcome.refused.len() + outcome.wrong.len();
        for text in outcome.wrong {
            let (name, summary) = text.split_once(": ").unwrap_or((&text, ""));
            let entry = Entry { summary: summary.to_string(), details: format!("{of} {text}") };
            list.found.insert(format!("{of} {name}"), entry);
        }
    }
    list
}

impl List {
    /// Writes the found differences as the known ones.
    pub fn write(&self) {
        let lines: Vec<String> =
            self.found.iter().map(|(name, entry)| format!("{name}\t{}", entry.summary)).collect();
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        std::fs::write(&self.path, text)
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", self.path.display()));
    }

    /// Fails with every unknown difference; reports the number of known ones that no longer occur.
    pub fn check(&self) {
        let text = std::fs::read_to_string(&self.path)
            .unwrap_or_else(|e| panic!("cannot read {}: {e}", self.path.display()));
        let known: Vec<&str> = text.lines().filter_map(|line| line.split('\t').next()).collect();
        let new: Vec<&str> = self
            .found
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()))
            .map(|(_, entry)| entry.details.as_str())
            .collect();
        let gone = known.iter().filter(|name| !self.found.contains_key(**name)).count();
        eprintln!(
            "{}: {} statements, {} known differences, {gone} of them gone{}",
            self.path.display(),
            self.ran,
            known.len(),
            if gone > 0 { "; `cargo run -p sqldiff -- known` takes them off the list" } else { "" }
        );
        assert!(self.ran > 0, "no statement ran");
        assert!(new.is_empty(), "{} new differences:\n\n{}", new.len(), new.join("\n\n"));
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("known")
}
