//! Decoders against PostgreSQL's casts: the same valid or unusual text as a JSON string into a column of each type, and
//! as a literal into the same column of PostgreSQL. A text that PostgreSQL rejects must be a dead letter.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tests::kafka::Broker;
use tests::postgres::Postgres;

use crate::pipelines::{dead_letters, texts, wait};
use crate::servers::{Reference, Side, Tidemark};
use crate::value;
use crate::wire::Mode;

/// Columns, each with texts to start from.
const TYPES: [(&str, &[&str]); 12] = [
    ("boolean", &["true", "f", "yes", "off", "1", "0", "T", " true ", "tru", "2", "on", ""]),
    ("smallint", &["0", "-32768", "32768", " 7 ", "+5", "1.0", "1e2", "007", "--1", "0x10", "1_000", ""]),
    ("int", &["0", "2147483647", "-2147483649", " 42", "+5", "1.5", "1e3", "", "-", "٣", "12a"]),
    ("bigint", &["9223372036854775807", "9223372036854775808", "-0", " 1 ", "1.", ".5", "1e1"]),
    (
        "numeric(8,2)",
        &["1.005", "1e3", "-.5", "5.", "NaN", "999999.994", "999999.995", "1e-9", "Infinity", "", "1,5"],
    ),
    (
        "double precision",
        &["1e308", "1e309", "NaN", "-Infinity", "inf", "0.1", "1e-400", ".5", "1.", "0x1p3", "-0"],
    ),
    ("real", &["3.4e38", "3.5e38", "0.1", "1e-46", "nan", "16777217"]),
    ("text", &["", "a", "Grüße 🌊", "  x ", "tab\\tnew\\nline", "é"]),
    ("varchar(5)", &["abcde", "abcdef", "abcde  ", "é🌊é🌊é", "é🌊é🌊é🌊", ""]),
    (
        "date",
        &[
            "2024-02-29",
            "2023-02-29",
            "2024-2-9",
            "20240229",
            "Feb 29 2024",
            "29/02/2024",
            "infinity",
            "0001-01-01",
            "9999-12-31",
            "2024-02-29 10:00",
            "2024-060",
            "epoch",
            "4714-01-01 BC",
            "24-1-2",
            "",
        ],
    ),
    (
        "timestamp",
        &[
            "2024-02-29 10:20:30.123456",
            "2024-02-29T10:20:30Z",
            "2024-02-29 10:20",
            "2024-02-29",
            "2024-02-29 24:00:00",
            "2024-02-29 23:59:60",
            "2024-02-29 10:20:30.1234567",
            "infinity",
            "2024-02-29 10:20:30+02",
            "2024-02-29 10:20 PM",
            "20240229T102030",
            "now?",
        ],
    ),
    (
        "timestamptz",
        &[
            "2024-02-29 10:20:30+02",
            "2024-02-29T10:20:30.5-05:30",
            "2024-02-29 10:20:30",
            "2024-02-29 10:20:30 UTC",
            "2024-02-29 10:20:30 Europe/Berlin",
            "2024-02-29 10:20:30+0230",
            "2024-02-29 10:20:30 EST",
            "2024-03-31T02:30:00Z",
            "2024-02-29",
        ],
    ),
];

/// Letters that texts are changed with.
const LETTERS: &str = "0123456789-+.:eE TtZ/,";

/// Texts of a type.
const TEXTS: usize = 400;

/// The results of the texts of a type.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Both store the same value, or both reject it.
    pub right: usize,
    /// Only Tidemark rejects it, with examples.
    pub refused: Vec<String>,
    /// Anything else: the text, and what both store.
    pub wrong: Vec<String>,
}

/// Runs the texts of every type.
pub fn run(postgres: &Postgres, broker: &Broker, seed: u64) -> BTreeMap<&'static str, Outcome> {
    let mut reference = Reference::new(postgres);
    let tidemark = Tidemark::new();
    let mut outcomes = BTreeMap::new();
    for (index, (of, pool)) in TYPES.iter().enumerate() {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(index as u64));
        let mut all: Vec<String> = pool.iter().map(|text| text.to_string()).collect();
        while all.len() < TEXTS {
            all.push(changed(&mut rng, pool));
        }
        outcomes.insert(*of, compare(&mut reference, &tidemark, broker, index, of, &all));
    }
    outcomes
}

fn compare(
    reference: &mut Reference<'_>,
    tidemark: &Tidemark,
    broker: &Broker,
    index: usize,
    of: &str,
    all: &[String],
) -> Outcome {
    let table = format!("dec{index}");
    let create = format!("CREATE TABLE {table}(o int PRIMARY KEY, x {of})");
    reference.must(&create);
    let server = tidemark.server();
    server.run(&create);
    let topic = broker.topic(&table, 1);
    let producer = broker.producer(&topic);
    for (offset, text) in all.iter().enumerate() {
        let escaped = text.replace('"', "\\\"");
        producer.send(0, format!(r#"{{"o":{offset},"x":"{escaped}"}}"#));
        // The text of the JSON string.
        let literal = text.replace("\\t", "\t").replace("\\n", "\n").replace('\'', "''");
        let _ = reference.run(&format!("INSERT INTO {table} VALUES ({offset}, '{literal}')"), Mode::Simple);
    }
    producer.flush();
    let address = format!("{}/{topic}", broker.bootstrap());
    server.run(&format!(
        "CREATE PIPELINE {table} AS LOAD DATA KAFKA '{address}' YEARS 1 TO 262142 INTO TABLE {table} FORMAT JSON (o <- o, x <- x)"
    ));
    server.run(&format!("START PIPELINE {table}"));
    wait(server, &table, all.len());
    let dead_letters = dead_letters(server, &table);

    let look = format!("SELECT o, x FROM {table}");
    let by_offset = |rows: Vec<Vec<String>>| -> BTreeMap<usize, String> {
        rows.into_iter().map(|row| (row[0].parse().expect("a number"), row[1].clone())).collect()
    };
    let (expected, actual) = (by_offset(texts(reference, &look)), by_offset(server.rows(&look)));
    let mut outcome = Outcome::default();
    for (offset, text) in all.iter().enumerate() {
        match (expected.get(&offset), actual.get(&offset)) {
            (None, None) if dead_letters.contains(&offset) => outcome.right += 1,
            (Some(left), Some(right)) if value::same_numeric(left, right) => outcome.right += 1,
            (Some(left), None) => outcome.refused.push(format!("{text:?} is {left}")),
            (left, right) => outcome.wrong.push(format!("{text:?}: PostgreSQL {left:?}, Tidemark {right:?}")),
        }
    }
    outcome
}

/// A text with a letter or two added, lost or replaced.
fn changed(rng: &mut StdRng, pool: &[&str]) -> String {
    let mut letters: Vec<char> = pool.choose(rng).copied().unwrap_or("").chars().collect();
    let alphabet: Vec<char> = LETTERS.chars().collect();
    for _ in 0..rng.random_range(1..3) {
        let letter = alphabet.choose(rng).copied().unwrap_or('0');
        let at = rng.random_range(0..=letters.len());
        // An escape of JSON stays whole.
        let inside = letters.contains(&'\\');
        match rng.random_range(0..3) {
            _ if inside => letters.push(letter),
            0 => letters.insert(at, letter),
            1 if at < letters.len() => letters[at] = letter,
            _ if at < letters.len() => {
                letters.remove(at);
            }
            _ => {}
        }
    }
    letters.into_iter().collect()
}
