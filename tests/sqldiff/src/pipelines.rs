//! Random pipelines over random messages: SET, WHERE and ON DUPLICATE KEY on Tidemark, against PostgreSQL's INSERT …
//! SELECT … ON CONFLICT of the same values, one message after the other. A message that PostgreSQL cannot insert must
//! be a dead letter. A dead letter of Tidemark only counts as refused, and PostgreSQL omits the message too, so that
//! the rest is still compared.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tests::eventually;
use tests::kafka::Broker;
use tests::postgres::Postgres;
use tests::server::Server;

use crate::generate::expression::{Column, Scope, expression};
use crate::generate::types::Type;
use crate::generate::world::CHANGED;
use crate::servers::{Reference, Side, Tidemark};
use crate::tree::Node;
use crate::value;
use crate::wire::Mode;

/// Messages of one pipeline.
const MESSAGES: usize = 200;

/// Columns with their types in both databases.
const COLUMNS: &str =
    "i2 smallint, i8 bigint, f8 double precision, n numeric(8,2), s text, v varchar(5), d date, t timestamp";

/// Functions for ON DUPLICATE KEY, which is evaluated by the kernel.
const CALLS: [&str; 10] =
    ["coalesce", "greatest", "least", "nullif", "abs", "round", "trunc", "floor", "ceil", "mod"];

/// The results of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Pipelines that loaded, and those whose definition was refused, by reason.
    pub loaded: usize,
    /// Refused definitions by reason, with an example.
    pub refused: BTreeMap<String, (usize, String)>,
    /// Messages of pipelines that loaded.
    pub messages: usize,
    /// Messages that both reject.
    pub both_dead_letters: usize,
    /// Messages that only Tidemark rejects.
    pub dead_letters: usize,
    /// Pipelines with other results: definition and difference.
    pub wrong: Vec<String>,
}

/// A pipeline's clauses.
#[derive(Clone, Debug)]
struct Definition {
    set: Vec<(&'static str, Node)>,
    filter: Option<Node>,
    update: Vec<(&'static str, Node)>,
}

/// A message: the cells of a row in JSON.
type Message = Vec<String>;

/// Runs the pipelines of these seeds.
pub fn run(postgres: &Postgres, broker: &Broker, seeds: Range<u64>) -> Outcome {
    let mut reference = Reference::new(postgres);
    for (table, key) in [("up", "PRIMARY KEY"), ("x", ""), ("m", "")] {
        let order = if table == "m" { ", o int" } else { "" };
        reference.must(&format!("CREATE TABLE {table}(id int {key}, {COLUMNS}{order})"));
    }
    let tidemark = Tidemark::new();
    let mut outcome = Outcome::default();
    for seed in seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let definition = Definition::random(&mut rng);
        let messages: Vec<Message> = (0..MESSAGES).map(|_| message(&mut rng)).collect();
        one(&mut reference, tidemark.server(), broker, seed, &definition, &messages, &mut outcome);
    }
    outcome
}

fn one(
    reference: &mut Reference<'_>,
    server: &Server,
    broker: &Broker,
    seed: u64,
    definition: &Definition,
    messages: &[Message],
    outcome: &mut Outcome,
) {
    let topic = broker.topic(&format!("sqldiff-{seed}"), 1);
    let table = format!("up{seed}");
    server.run(&format!("CREATE TABLE {table}(id int PRIMARY KEY, {COLUMNS})"));
    let address = format!("{}/{topic}", broker.bootstrap());
    let create = definition.tidemark(&address, &table);
    if let Err(error) = server.connect().batch_execute(&create) {
        let reason = tests::server::said(&error);
        let entry = outcome.refused.entry(reason).or_insert((0, definition.tidemark("…", "up")));
        entry.0 += 1;
        return;
    }
    let producer = broker.producer(&topic);
    messages.iter().for_each(|message| producer.send(0, json(message)));
    producer.flush();
    server.run(&format!("START PIPELINE {table}"));
    wait(server, &table, messages.len());
    let dead_letters = dead_letters(server, &table);

    stage(reference, messages);
    let failed = apply(reference, definition, messages.len(), &dead_letters);
    outcome.loaded += 1;
    outcome.messages += messages.len();
    // A message that PostgreSQL cannot insert and Tidemark can is a difference of its own.
    let stored: Vec<usize> = failed.iter().filter(|offset| !dead_letters.contains(offset)).copied().collect();
    let alone = fails_alone(reference, definition, messages, &dead_letters);
    outcome.both_dead_letters += dead_letters.len() - alone.len();
    outcome.dead_letters += alone.len();

    let columns = "id, i2, i8, f8, n, s, v::text, d, t";
    let expected = texts(reference, &format!("SELECT {columns} FROM up ORDER BY id"));
    let actual = server.rows(&format!("SELECT {columns} FROM {table} ORDER BY id"));
    let differing: Vec<(&Vec<String>, &Vec<String>)> =
        expected.iter().zip(&actual).filter(|(left, right)| !same(left, right)).collect();
    if differing.is_empty() && expected.len() == actual.len() && stored.is_empty() {
        server.run(&format!("DROP PIPELINE {table}"));
        server.run(&format!("DROP TABLE {table}"));
        return;
    }
    let mut text = format!("seed {seed}\n    {}\n", definition.tidemark("…", "up"));
    for offset in stored.iter().take(3) {
        text.push_str(&format!("- stored, though PostgreSQL cannot: {}\n", json(&messages[*offset])));
    }
    for (left, right) in differing.iter().take(3) {
        text.push_str(&format!("- PostgreSQL {}\n- Tidemark   {}\n", left.join(" | "), right.join(" | ")));
        let own = messages.iter().filter(|message| message[0] == left[0]).take(4);
        own.for_each(|message| text.push_str(&format!("    {}\n", json(message))));
    }
    if expected.len() != actual.len() {
        text.push_str(&format!("- {} rows in PostgreSQL, {} in Tidemark\n", expected.len(), actual.len()));
    }
    outcome.wrong.push(text);
}

/// Inserts the messages' values into a table of PostgreSQL; an invalid value fails separately later.
fn stage(reference: &mut Reference<'_>, messages: &[Message]) {
    reference.must("DELETE FROM m");
    for (offset, message) in messages.iter().enumerate() {
        let cells: Vec<String> = message.iter().map(|cell| literal(cell)).collect();
        let insert = format!("INSERT INTO m VALUES ({}, {offset})", cells.join(", "));
        // A value that does not fit its column: the message is absent, and its insertion has no row.
        let _ = reference.run(&insert, Mode::Simple);
    }
}

/// Inserts message by message as the pipeline does; returns those that cannot be inserted.
fn apply(
    reference: &mut Reference<'_>,
    definition: &Definition,
    count: usize,
    without: &BTreeSet<usize>,
) -> BTreeSet<usize> {
    reference.must("DELETE FROM up");
    let offsets = (0..count).filter(|offset| !without.contains(offset));
    offsets.filter(|offset| reference.run(&definition.postgres(*offset), Mode::Simple).is_err()).collect()
}

/// The dead letters that PostgreSQL could insert at their places.
fn fails_alone(
    reference: &mut Reference<'_>,
    definition: &Definition,
    messages: &[Message],
    dead_letters: &BTreeSet<usize>,
) -> Vec<usize> {
    if dead_letters.is_empty() {
        return Vec::new();
    }
    reference.must("BEGIN");
    reference.must("DELETE FROM up");
    let mut alone = Vec::new();
    for offset in 0..messages.len() {
        reference.must("SAVEPOINT s");
        let there = !texts(reference, &format!("SELECT 1 FROM m WHERE o = {offset}")).is_empty();
        let inserted = reference.run(&definition.postgres(offset), Mode::Simple).is_ok();
        if inserted && there && dead_letters.contains(&offset) {
            alone.push(offset);
        }
        if !inserted || dead_letters.contains(&offset) {
            reference.must("ROLLBACK TO SAVEPOINT s");
        }
    }
    reference.must("ROLLBACK");
    alone
}

impl Definition {
    fn random(rng: &mut StdRng) -> Definition {
        let own = |prefix: &str| -> Vec<Column> {
            CHANGED
                .columns
                .iter()
                .map(|(name, of)| Column { name: format!("{prefix}{name}"), of: *of })
                .collect()
        };
        let scope = Scope { columns: own(""), ..Scope::default() };
        let mut both = own("up.");
        both.extend(own("excluded."));
        let both = Scope { columns: both, ..Scope::default() };
        let mut set: Vec<(&str, Node)> = Vec::new();
        for (name, of) in some(rng) {
            set.push((name, expression(rng, &scope, of, 2)));
        }
        let filter = rng.random_bool(0.5).then(|| expression(rng, &scope, Type::Bool, 2));
        let mut update = Vec::new();
        for (name, of) in some(rng) {
            let simple = (0..200).map(|_| expression(rng, &both, of, 2)).find(|node| is_simple(&node.sql()));
            update.extend(simple.map(|node| (name, node)));
        }
        Definition { set, filter, update }
    }

    fn tidemark(&self, address: &str, table: &str) -> String {
        let fields: Vec<String> =
            CHANGED.columns.iter().map(|(name, _)| format!("{name} <- {name}")).collect();
        let replace = if self.update.is_empty() { "REPLACE " } else { "" };
        let mut sql = format!(
            "CREATE PIPELINE {table} AS LOAD DATA KAFKA '{address}' YEARS 1 TO 262142 {replace}INTO TABLE {table} FORMAT JSON ({})",
            fields.join(", ")
        );
        let list = |items: &[(&str, Node)]| {
            items.iter().map(|(name, node)| format!("{name} = {}", node.sql())).collect::<Vec<_>>().join(", ")
        };
        if !self.set.is_empty() {
            sql.push_str(&format!(" SET {}", list(&self.set)));
        }
        if let Some(filter) = &self.filter {
            sql.push_str(&format!(" WHERE {}", filter.sql()));
        }
        if self.update.is_empty() {
            return sql;
        }
        let mut update = list(&self.update);
        for (name, _) in CHANGED.columns {
            update = update.replace(&format!("excluded.{name}"), &format!("VALUES({name})"));
            update = update.replace(&format!("up.{name}"), name);
        }
        format!("{sql} ON DUPLICATE KEY UPDATE {update}")
    }

    /// One message: SET as an assignment to the columns, then WHERE over what SET left, then the insertion.
    fn postgres(&self, offset: usize) -> String {
        let value = |name: &str| {
            let found = self.set.iter().find(|(column, _)| *column == name);
            found.map_or_else(|| name.to_string(), |(_, node)| node.sql())
        };
        let values: Vec<String> = CHANGED.columns.iter().map(|(name, _)| value(name)).collect();
        let filter = self.filter.as_ref().map_or_else(String::new, |node| format!(" WHERE {}", node.sql()));
        let names: Vec<&str> = CHANGED.columns.iter().map(|(name, _)| *name).collect();
        let replace: Vec<String> =
            names[1..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let update: Vec<String> =
            self.update.iter().map(|(name, node)| format!("{name} = {}", node.sql())).collect();
        let update = if update.is_empty() { replace } else { update };
        format!(
            "DELETE FROM x; INSERT INTO x SELECT {} FROM m WHERE o = {offset}; \
             INSERT INTO up SELECT * FROM x{filter} ON CONFLICT (id) DO UPDATE SET {}",
            values.join(", "),
            update.join(", ")
        )
    }
}

/// A few columns besides the key, each once.
fn some(rng: &mut StdRng) -> Vec<(&'static str, Type)> {
    let count = rng.random_range(0..4);
    CHANGED.columns[1..].choose_multiple(rng, count).copied().collect()
}

fn is_simple(sql: &str) -> bool {
    let calls = sql.match_indices('(').all(|(at, _)| {
        let name: String = sql[..at].chars().rev().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let name: String = name.chars().rev().collect();
        name.is_empty() || CALLS.contains(&name.as_str()) || name == "IN"
    });
    let others =
        ["LIKE", "~", "ARRAY", "[]", "interval", "DISTINCT", "bytea", "jsonb", "time '", "NOT IN", "UNKNOWN"];
    calls && sql.contains("excluded.") && !others.iter().any(|other| sql.contains(other))
}

fn message(rng: &mut StdRng) -> Message {
    let pick = |rng: &mut StdRng, pool: &[&str]| pool.choose(rng).copied().unwrap_or("null").to_string();
    vec![
        rng.random_range(1..8).to_string(),
        pick(rng, &["0", "1", "-3", "7", "100", "32767", "null", "2"]),
        pick(rng, &["0", "1", "-5", "10", "9007199254740993", "4294967296", "null", "3"]),
        pick(rng, &["0", "0.5", "0.1", "-2.5", "1e15", "1e-20", "null", "3"]),
        pick(rng, &["0", "1.5", "10.60", "7.655", "-0.05", "999999.99", "null", "\"2.50\"", "3.335"]),
        pick(rng, &["\"a\"", "\"\"", "\"abc\"", "\"Grüße 🌊\"", "\"12\"", "null", "\" x \""]),
        pick(rng, &["\"a\"", "\"\"", "\"é🌊\"", "\"abcde\"", "null", "\"b c\""]),
        pick(rng, &["\"2024-01-01\"", "\"2024-02-29\"", "\"1999-12-31\"", "null", "\"1970-01-01\""]),
        pick(
            rng,
            &[
                "\"2024-01-01 10:00:00\"",
                "\"2024-02-29 23:59:59.5\"",
                "\"1969-12-31 23:59:59.999999\"",
                "null",
            ],
        ),
    ]
}

fn json(message: &Message) -> String {
    let fields = CHANGED.columns.iter().zip(message).map(|((name, _), cell)| format!("\"{name}\":{cell}"));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn literal(cell: &str) -> String {
    match cell {
        "null" => "NULL".to_string(),
        _ => format!("'{}'", cell.trim_matches('"').replace('\'', "''")),
    }
}

fn same(left: &[String], right: &[String]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| value::same_numeric(left, right))
}

/// Rows as texts, NULL as `∅`, as [`Server::rows`] has them.
pub(crate) fn texts(reference: &mut Reference<'_>, sql: &str) -> Vec<Vec<String>> {
    let text = |cell: &Option<Vec<u8>>| match cell {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "∅".to_string(),
    };
    reference.must(sql).rows.iter().map(|row| row.iter().map(text).collect()).collect()
}

/// Waits until a pipeline of one partition has read so many messages.
pub(crate) fn wait(server: &Server, pipeline: &str, count: usize) {
    let sql = format!(
        "SELECT cursor_offset FROM information_schema.pipelines_cursors WHERE pipeline_name = '{pipeline}'"
    );
    let end = count.to_string();
    eventually(&format!("pipeline {pipeline} has read {count} messages"), || {
        server.rows(&sql).first().is_some_and(|row| row[0] == end).then_some(())
    });
}

/// Offsets of the dead letters of a pipeline.
pub(crate) fn dead_letters(server: &Server, pipeline: &str) -> BTreeSet<usize> {
    let sql = format!(
        "SELECT source_offset FROM information_schema.pipelines_errors WHERE pipeline_name = '{pipeline}'"
    );
    server.rows(&sql).iter().map(|row| row[0].parse().expect("an offset is a number")).collect()
}
