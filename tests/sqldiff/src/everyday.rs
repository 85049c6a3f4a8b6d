//! Common statements: the files of `tests/sqldiff/everyday`, each statement on both sides. After each write, the
//! changed table is compared and then restored, so that statements are independent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tests::postgres::Postgres;

use crate::compare::{Difference, Rules, Verdict, judge};
use crate::servers::{Reference, Side, Tidemark};
use crate::wire::Mode;

/// Makes and fills the tables.
const SCHEMA: &str = "schema.sql";

/// A statement that is not right.
#[derive(Debug)]
pub struct Miss {
    /// The file it is in.
    pub file: String,
    /// The statement.
    pub sql: String,
    /// The verdict.
    pub verdict: Verdict,
}

/// The results of all statements.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Statements by file: right, and all.
    pub files: BTreeMap<String, (usize, usize)>,
    /// Those that are not right.
    pub misses: Vec<Miss>,
    /// Number of statements that both reject: common mistakes.
    pub both_refuse: usize,
}

/// Runs every statement.
pub fn run(postgres: &Postgres) -> Outcome {
    let tables = Tables::read();
    let (mut reference, mut tidemark) = (Reference::new(postgres), Tidemark::new());
    for sql in &tables.setup {
        reference.must(sql);
        tidemark.must(sql);
    }
    let mut outcome = Outcome::default();
    for path in files() {
        let file = path.file_stem().and_then(|name| name.to_str()).unwrap_or("?").to_string();
        for sql in statements(&path) {
            let verdict = tables.judge(&mut reference, &mut tidemark, &sql);
            let counts = outcome.files.entry(file.clone()).or_default();
            counts.1 += 1;
            match verdict {
                Verdict::Right => counts.0 += 1,
                Verdict::BothRefuse => outcome.both_refuse += 1,
                verdict => outcome.misses.push(Miss { file: file.clone(), sql, verdict }),
            }
        }
    }
    outcome
}

impl Outcome {
    /// How many statements there are, how many are right, refused and wrong.
    pub fn counts(&self) -> (usize, usize, usize, usize) {
        let all = self.files.values().map(|(_, all)| all).sum();
        let right = self.files.values().map(|(right, _)| right).sum();
        let refused =
            self.misses.iter().filter(|miss| matches!(miss.verdict, Verdict::Refused { .. })).count();
        (all, right, refused, self.misses.len() - refused)
    }
}

/// The tables, with the means to restore one.
struct Tables {
    setup: Vec<String>,
    fills: BTreeMap<String, String>,
}

impl Tables {
    fn read() -> Tables {
        let setup = statements(&directory().join(SCHEMA));
        let fill = |sql: &String| {
            let table = sql.strip_prefix("INSERT INTO ")?.split_whitespace().next()?;
            Some((table.to_string(), sql.clone()))
        };
        let fills = setup.iter().filter_map(fill).collect();
        Tables { setup, fills }
    }

    fn judge(&self, reference: &mut dyn Side, tidemark: &mut dyn Side, sql: &str) -> Verdict {
        let mut changed: Vec<&String> = Vec::new();
        let words: Vec<&str> = sql.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
        if words.iter().any(|word| matches!(*word, "INSERT" | "UPDATE" | "DELETE" | "TRUNCATE")) {
            changed = self.fills.keys().filter(|table| words.contains(&table.as_str())).collect();
        }
        let modes: &[Mode] =
            if changed.is_empty() { &[Mode::Simple, Mode::ExtendedBinary] } else { &[Mode::Simple] };
        let mut verdict = Verdict::Right;
        for mode in modes {
            verdict = compare(reference, tidemark, sql, *mode, sql.contains("ORDER BY") && ends_ordered(sql));
            if verdict != Verdict::Right {
                break;
            }
        }
        for table in changed {
            let look = compare(reference, tidemark, &format!("SELECT * FROM {table}"), Mode::Simple, false);
            if let (Verdict::Right | Verdict::BothRefuse, Verdict::Wrong(difference)) = (&verdict, look)
                && !difference.label.starts_with("type ")
            {
                let label = format!("{} in {table}", difference.label);
                verdict = Verdict::Wrong(Difference { label, ..difference });
            }
            for sql in [&format!("DELETE FROM {table}"), &self.fills[table]] {
                reference.must(sql);
                tidemark.must(sql);
            }
        }
        verdict
    }
}

fn compare(
    reference: &mut dyn Side,
    tidemark: &mut dyn Side,
    sql: &str,
    mode: Mode,
    ordered: bool,
) -> Verdict {
    let (expected, actual) = (reference.run(sql, mode), tidemark.run(sql, mode));
    judge(&expected, &actual, Rules::of(sql, mode, ordered))
}

/// Whether the last ORDER BY belongs to the whole statement: no parenthesis opened before it closes after it. The files
/// order totally wherever they order.
fn ends_ordered(sql: &str) -> bool {
    let Some(at) = sql.rfind("ORDER BY") else { return false };
    let tail = &sql[at..];
    let mut open = 0_i32;
    for letter in tail.chars() {
        open += i32::from(letter == '(') - i32::from(letter == ')');
        if open < 0 {
            return false;
        }
    }
    true
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("everyday")
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory()).expect("the clone has the everyday statements");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "sql") && !path.ends_with(SCHEMA));
    paths.sort();
    paths
}

/// The statements of a file: each ends with a semicolon at the end of a line.
fn statements(path: &Path) -> Vec<String> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    let text = lines.join("\n") + "\n";
    text.split(";\n").map(str::trim).filter(|sql| !sql.is_empty()).map(String::from).collect()
}
