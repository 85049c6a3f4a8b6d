//! Generated statements on both sides: the loop, the rates, and the shrinking of differences.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use tests::postgres::Postgres;

use crate::compare::{Difference, Rules, Verdict, judge};
use crate::generate::{self, Statement, world};
use crate::servers::{Reference, Side, Tidemark};
use crate::tree::Node;
use crate::wire::Mode;

/// Most trials when shrinking a statement.
const TRIALS: usize = 400;

/// Both sides with the tables of [`world`].
pub struct Pair<'a> {
    reference: Reference<'a>,
    tidemark: Tidemark,
    /// Whether the table that writes change may have been changed.
    changed: bool,
}

impl<'a> Pair<'a> {
    /// New databases.
    pub fn new(postgres: &'a Postgres) -> Pair<'a> {
        let mut pair = Pair { reference: Reference::new(postgres), tidemark: Tidemark::new(), changed: true };
        for sql in world::SETUP {
            pair.reference.must(sql);
            pair.tidemark.must(sql);
        }
        pair
    }

    /// Runs a statement on both sides in one mode.
    pub fn judge(&mut self, statement: &Statement, mode: Mode) -> Verdict {
        let sql = statement.tree.sql();
        if statement.changes.is_some() && self.changed {
            for sql in world::RESET {
                self.reference.must(sql);
                self.tidemark.must(sql);
            }
        }
        let verdict = self.compare(&sql, mode, statement.ordered());
        if statement.changes.is_none() {
            return verdict;
        }
        self.changed = true;
        match (&verdict, self.compare(world::LOOK, Mode::Simple, false)) {
            // A failed statement must leave the table unchanged, which PostgreSQL's answer does not show.
            (Verdict::Right | Verdict::BothRefuse, Verdict::Wrong(difference)) => Verdict::Wrong(difference),
            _ => verdict,
        }
    }

    fn compare(&mut self, sql: &str, mode: Mode, ordered: bool) -> Verdict {
        let expected = self.reference.run(sql, mode);
        let actual = self.tidemark.run(sql, mode);
        judge(&expected, &actual, Rules::of(sql, mode, ordered))
    }

    /// The modes that a statement runs in: one that changes something, once.
    fn modes(statement: &Statement, seed: u64) -> Vec<Mode> {
        let extended = if seed.is_multiple_of(2) { Mode::ExtendedBinary } else { Mode::ExtendedText };
        match statement.changes {
            Some(_) if seed.is_multiple_of(3) => vec![extended],
            Some(_) => vec![Mode::Simple],
            None => vec![Mode::Simple, extended],
        }
    }

    /// Runs a statement in its modes, up to the first in which it is not right.
    fn try_all(&mut self, statement: &Statement, seed: u64) -> (Verdict, Mode) {
        let mut last = (Verdict::Right, Mode::Simple);
        for mode in Pair::modes(statement, seed) {
            last = (self.judge(statement, mode), mode);
            if last.0 != Verdict::Right {
                break;
            }
        }
        last
    }

    /// The smallest statement that differs in the same way.
    fn shrink(&mut self, statement: &Statement, mode: Mode, found: Difference) -> (Statement, Difference) {
        let (mut smallest, mut difference) = (statement.clone(), found);
        let mut trials = 0;
        'again: loop {
            for tree in smallest.tree.smaller() {
                if trials == TRIALS {
                    break 'again;
                }
                trials += 1;
                let candidate = Statement { tree, changes: smallest.changes };
                if let Verdict::Wrong(other) = self.judge(&candidate, mode)
                    && other.label == difference.label
                {
                    (smallest, difference) = (candidate, other);
                    continue 'again;
                }
            }
            break;
        }
        (smallest, difference)
    }
}

impl Pair<'_> {
    /// Reports the smallest statement that differs in the same way, and if there was none smaller before, the rows that it needs.
    fn report_small(
        &mut self,
        report: &mut Report,
        seed: u64,
        mode: Mode,
        statement: &Statement,
        found: Difference,
    ) {
        let (smallest, difference) = self.shrink(statement, mode, found);
        let label = difference.label.clone();
        let (name, smaller) = report.differ(smallest.tree.skeleton(), seed, mode, &smallest, difference);
        if smaller {
            let rows = self.rows_needed(&smallest, mode, &label);
            report.kinds.entry(name).and_modify(|kind| kind.rows = rows);
        }
    }

    /// The rows that the difference needs: of each table that the statement reads, those that cannot be removed. The
    /// tables are restored afterwards.
    fn rows_needed(&mut self, statement: &Statement, mode: Mode, label: &str) -> Vec<String> {
        let sql = statement.tree.sql();
        let words: Vec<&str> = sql.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
        let tables: Vec<&str> = world::WIDES.iter().chain(world::NARROWS).map(|table| table.name).collect();
        let read: Vec<&str> = tables.into_iter().filter(|table| words.contains(table)).collect();
        let mut gone: Vec<String> = Vec::new();
        let ids = (1..=9).map(|id| format!("id = {id}")).chain(["id IS NULL".to_string()]);
        for condition in ids {
            for table in &read {
                let delete = format!("DELETE FROM {table} WHERE {condition}");
                self.both(&delete);
                match self.judge(statement, mode) {
                    Verdict::Wrong(found) if found.label == label => gone.push(delete),
                    _ => self.refill(table, &gone),
                }
            }
        }
        let mut needed = Vec::new();
        for table in read {
            let rows = self.reference.must(&format!("SELECT r::text FROM {table} r")).rows;
            let texts = rows.iter().map(|row| {
                row[0].as_deref().map_or_else(String::new, |cell| String::from_utf8_lossy(cell).into_owned())
            });
            needed.extend(texts.map(|text| format!("{table} {text}")));
            self.refill(table, &[]);
        }
        needed
    }

    /// Refills a table with its original rows, without the removed ones.
    fn refill(&mut self, table: &str, gone: &[String]) {
        self.both(&format!("DELETE FROM {table}"));
        let insert = format!("INSERT INTO {table} VALUES");
        if let Some(fill) = world::SETUP.iter().find(|sql| sql.starts_with(&insert)) {
            self.both(fill);
        }
        let delete = format!("DELETE FROM {table} ");
        gone.iter().filter(|sql| sql.starts_with(&delete)).for_each(|sql| self.both(sql));
    }

    fn both(&mut self, sql: &str) {
        self.reference.must(sql);
        self.tidemark.must(sql);
    }
}

/// A kind of difference.
#[derive(Clone, Debug)]
pub struct Kind {
    /// How many statements showed it.
    pub count: usize,
    /// The smallest.
    pub sql: String,
    /// How it was sent.
    pub mode: Mode,
    /// Both answers.
    pub difference: Difference,
    /// The rows that it needs.
    pub rows: Vec<String>,
    /// The first seed.
    pub seed: u64,
}

/// The results of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Statements with equal answers.
    pub right: usize,
    /// Statements for which both return an error.
    pub both_refuse: usize,
    /// Statements for which only Tidemark returns an error.
    pub refused: usize,
    /// Statements with a difference.
    pub wrong: usize,
    /// How often Tidemark had to be started again.
    pub restarts: usize,
    /// Refusals by SQLSTATE and text, with an example.
    pub refusals: BTreeMap<String, (usize, String)>,
    /// Differences by kind.
    pub kinds: BTreeMap<String, Kind>,
}

/// The statements of these seeds that differ, with the differences, without shrinking.
pub fn differing(postgres: &Postgres, seeds: Range<u64>) -> BTreeMap<u64, (String, Difference)> {
    let mut pair = Pair::new(postgres);
    let mut found = BTreeMap::new();
    for seed in seeds {
        let statement = generate::statement(seed);
        if let (Verdict::Wrong(difference), _) = pair.try_all(&statement, seed) {
            found.insert(seed, (statement.tree.sql().replace('\n', " "), difference));
        }
    }
    found
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seeds.
    pub seeds: Range<u64>,
    /// No new statement after this time.
    pub limit: Option<Duration>,
    /// Whether differences are shrunk; otherwise each kind is its label.
    pub shrink: bool,
}

/// Runs the statements of a plan.
pub fn run(postgres: &Postgres, plan: &Plan, progress: &mut dyn FnMut(u64, &Report)) -> Report {
    let mut pair = Pair::new(postgres);
    let mut report = Report::default();
    let began = Instant::now();
    for seed in plan.seeds.clone() {
        if plan.limit.is_some_and(|limit| began.elapsed() > limit) {
            break;
        }
        let statement = generate::statement(seed);
        let (verdict, mode) = pair.try_all(&statement, seed);
        match verdict {
            Verdict::Right => report.right += 1,
            Verdict::BothRefuse => report.both_refuse += 1,
            Verdict::Refused { code, message } => report.refuse(&code, &message, &statement.tree),
            Verdict::Wrong(found) => {
                report.wrong += 1;
                if plan.shrink {
                    pair.report_small(&mut report, seed, mode, &statement, found);
                } else {
                    report.differ(String::new(), seed, mode, &statement, found);
                }
            }
        }
        report.restarts = pair.tidemark.restarts;
        progress(seed, &report);
    }
    report
}

impl Report {
    /// Statements that ran.
    pub fn total(&self) -> usize {
        self.right + self.both_refuse + self.refused + self.wrong
    }

    fn refuse(&mut self, code: &str, message: &str, tree: &Node) {
        self.refused += 1;
        let sql = tree.sql();
        let entry =
            self.refusals.entry(format!("{code} {}", generalised(message))).or_insert((0, sql.clone()));
        entry.0 += 1;
        if sql.len() < entry.1.len() {
            entry.1 = sql;
        }
    }

    /// Counts a difference; returns the name of its kind, and whether this is the smallest statement of it so far.
    fn differ(
        &mut self,
        skeleton: String,
        seed: u64,
        mode: Mode,
        statement: &Statement,
        difference: Difference,
    ) -> (String, bool) {
        let name = format!("{}: {}", difference.label, kind_of(&difference.label, &skeleton));
        let sql = statement.tree.sql();
        let known = self.kinds.get(&name).map(|kind| (kind.count, kind.sql.len(), kind.seed));
        let (count, length, first) = known.unwrap_or((0, usize::MAX, seed));
        let smaller = sql.len() < length;
        if smaller {
            let kind = Kind { count: count + 1, sql, mode, difference, rows: Vec::new(), seed: first };
            self.kinds.insert(name.clone(), kind);
        } else if let Some(kind) = self.kinds.get_mut(&name) {
            kind.count += 1;
        }
        (name, smaller)
    }
}

/// The kind of a smallest statement. Types do not depend on the FROM clause, nor joins on their tables.
fn kind_of(label: &str, skeleton: &str) -> String {
    let line = skeleton.replace('\n', " ");
    let expression =
        if label.starts_with("type ") { line.split(" FROM ").next().unwrap_or(&line) } else { &line };
    let word = |word: &str| match word {
        "ta" | "tb" | "ka" | "kb" | "kc" | "ke" => "t".to_string(),
        other => other.to_string(),
    };
    expression.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A message without its variable parts: quoted texts and numbers.
fn generalised(message: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    for letter in message.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => continue,
            None if letter == '"' => {
                quote = Some(letter);
                out.push('…');
            }
            None if letter.is_ascii_digit() => {
                if !out.ends_with('#') {
                    out.push('#');
                }
            }
            None => out.push(letter),
        }
    }
    out.chars().take(110).collect()
}
