//! Files of statements with PostgreSQL's answers, in the format of sqllogictest. A file is a set-up and then *cases*,
//! each under a line `# case: name`, independent of one another. Answers are recorded from a real PostgreSQL, never
//! written by hand.
//!
//! `tests/slt` has the cases that Tidemark passes. `tests/slt/pending` has, under the same file names, cases that it
//! does not pass yet: they run too, their number is printed, and one that passes fails the run until it is moved.

use std::path::{Path, PathBuf};

use futures::executor::block_on;
use sqllogictest::{
    ColumnType, DB, DBOutput, ExpectedError, MakeConnection, Normalizer, QueryExpect, Record, RecordOutput,
    Runner, StatementExpect, TestError, Validator, parse_with_name, strict_column_validator,
};

use crate::servers::{Reference, Side, Tidemark};
use crate::value;
use crate::wire::{Answer, Cell, Failure, Mode};
use tests::postgres::Postgres;

/// Begins a case in a file.
const CASE: &str = "# case: ";

/// Separates cells of a row.
const SEPARATOR: &str = "\t";

/// The letter of a column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter(char);

impl ColumnType for Letter {
    fn from_char(letter: char) -> Option<Letter> {
        value::is_letter(letter).then_some(Letter(letter))
    }

    fn to_char(&self) -> char {
        self.0
    }
}

type Records = Vec<Record<Letter>>;

/// A file in parts.
#[derive(Debug)]
pub struct Script {
    /// Its path.
    pub path: PathBuf,
    /// The text before the first case.
    pub setup: String,
    /// The cases, each with its line.
    pub cases: Vec<Case>,
}

/// A case, or one query of a case of queries only, each of which passes or fails separately.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Its statements and answers.
    pub text: String,
}

impl Case {
    /// Its queries as cases of the same name, if it has queries only.
    fn queries(self) -> Vec<Case> {
        let records = parsed(&self.text, &self.name);
        let reads = |record: &Record<Letter>| match record {
            Record::Query { sql, .. } => only_reads(sql),
            Record::Newline => true,
            _ => false,
        };
        if !records.iter().all(reads) {
            return vec![self];
        }
        let texts = self.text.split("\n\n").map(str::trim).filter(|text| !text.is_empty());
        texts.map(|text| Case { name: self.name.clone(), text: format!("{text}\n") }).collect()
    }
}

impl Script {
    /// Reads a file.
    pub fn read(path: &Path) -> Script {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        let mut script = Script { path: path.to_path_buf(), setup: String::new(), cases: Vec::new() };
        for line in text.lines() {
            if let Some(name) = line.strip_prefix(CASE) {
                script.cases.push(Case { name: name.to_string(), text: String::new() });
                continue;
            }
            let part = script.cases.last_mut().map_or(&mut script.setup, |case| &mut case.text);
            part.push_str(line);
            part.push('\n');
        }
        script.cases = script.cases.into_iter().flat_map(Case::queries).collect();
        script
    }

    /// Writes it, or removes a file without cases.
    pub fn write(&self) {
        if self.cases.is_empty() {
            std::fs::remove_file(&self.path)
                .unwrap_or_else(|e| panic!("cannot remove {}: {e}", self.path.display()));
            return;
        }
        let mut text = self.setup.trim().to_string();
        let mut name = "";
        for case in &self.cases {
            if case.name != name {
                name = &case.name;
                text.push_str(&format!("\n\n{CASE}{name}"));
                text.push('\n');
            } else {
                text.push_str("\n\n");
            }
            text.push_str(case.text.trim());
        }
        std::fs::write(&self.path, text.trim_start().to_string() + "\n")
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", self.path.display()));
    }

    fn file(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or("a file")
    }
}

/// The `.slt` files of a directory, in order of their names.
pub fn scripts(dir: &Path) -> Vec<Script> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "slt"));
    paths.sort();
    paths.iter().map(|path| Script::read(path)).collect()
}

/// The directory of the files in this clone.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in tests").join("slt")
}

/// The directory of the pending files.
pub fn pending_directory() -> PathBuf {
    directory().join("pending")
}

/// A case that Tidemark does not pass, with the difference.
#[derive(Debug)]
pub struct Untrue {
    /// The case.
    pub case: String,
    /// The expected and the actual answer.
    pub why: String,
}

/// Runs a file's cases on a new Tidemark. After a failed set-up, no case passes.
pub fn check(script: &Script) -> Vec<Option<Untrue>> {
    let mut tidemark = Tidemark::new();
    let mut run = |part: &str, name: &str| {
        let mut runner = runner(&mut tidemark);
        let outcome = parsed(part, name).into_iter().try_for_each(|record| runner.run(record).map(|_| ()));
        outcome.map_err(|e: TestError| e.to_string())
    };
    let setup = run(&script.setup, script.file());
    let mut checked = Vec::new();
    for case in &script.cases {
        let name = format!("{}: {}", script.file(), case.name);
        let outcome = setup.clone().and_then(|()| run(&case.text, &name));
        checked.push(outcome.err().map(|why| Untrue { case: name, why }));
    }
    checked
}

/// Fills in PostgreSQL's answers.
pub fn record(postgres: &Postgres, script: &mut Script) {
    let mut reference = Reference::new(postgres);
    script.setup = recorded(&mut reference, &script.setup, &script.path.display().to_string());
    for case in &mut script.cases {
        case.text = recorded(&mut reference, &case.text, &case.name);
    }
}

/// Moves the passing cases of a pending file to the file of the same name in `tests/slt`; returns their number.
pub fn promote(mut pending: Script) -> usize {
    let checked = check(&pending);
    let path = directory().join(pending.file());
    let mut held = if path.is_file() {
        Script::read(&path)
    } else {
        Script { path, setup: pending.setup.clone(), cases: Vec::new() }
    };
    assert!(held.setup.trim() == pending.setup.trim(), "{}: both files need the same set-up", pending.file());
    let before = held.cases.len();
    let (true_now, not_yet): (Vec<_>, Vec<_>) =
        pending.cases.iter().zip(&checked).partition(|(_, untrue)| untrue.is_none());
    for (case, _) in true_now {
        let behind = held
            .cases
            .iter()
            .rposition(|other| other.name == case.name)
            .map_or(held.cases.len(), |at| at + 1);
        held.cases.insert(behind, case.clone());
    }
    let kept = not_yet.into_iter().map(|(case, _)| case.clone()).collect();
    let moved = held.cases.len() - before;
    if moved > 0 {
        held.write();
        pending.cases = kept;
        pending.write();
    }
    moved
}

fn recorded(side: &mut dyn Side, text: &str, name: &str) -> String {
    let mut runner = runner(side);
    let mut out = String::new();
    for record in parsed(text, name) {
        let record = match block_on(runner.apply_record(record.clone())) {
            RecordOutput::Query { types, rows, error } => with_rows(record, types, &rows, code(error)),
            RecordOutput::Statement { error, .. } => with_statement(record, code(error)),
            _ => record,
        };
        out.push_str(&format!("{record}\n"));
    }
    out
}

fn code(error: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>) -> Option<String> {
    let error = error?;
    match error.downcast_ref::<Failure>() {
        Some(Failure::Refused { code, .. }) => Some(code.clone()),
        _ => panic!("PostgreSQL did not answer: {error}"),
    }
}

fn with_rows(
    record: Record<Letter>,
    types: Vec<Letter>,
    rows: &[Vec<String>],
    error: Option<String>,
) -> Record<Letter> {
    let Record::Query { conditions, connection, loc, sql, expected, retry } = record else { return record };
    let expected = match (error, expected) {
        (Some(code), _) => QueryExpect::Error(ExpectedError::SqlState(code)),
        (None, QueryExpect::Results { sort_mode, .. }) => results(types, rows, sort_mode),
        (None, QueryExpect::Error(_)) => results(types, rows, None),
    };
    Record::Query { conditions, connection, loc, sql, expected, retry }
}

fn results(
    types: Vec<Letter>,
    rows: &[Vec<String>],
    sort_mode: Option<sqllogictest::SortMode>,
) -> QueryExpect<Letter> {
    let results = rows.iter().map(|row| row.join(SEPARATOR)).collect();
    QueryExpect::Results { types, sort_mode, result_mode: None, label: None, results }
}

fn with_statement(record: Record<Letter>, error: Option<String>) -> Record<Letter> {
    let (conditions, connection, loc, sql, retry) = match record {
        Record::Statement { conditions, connection, loc, sql, retry, .. } => {
            (conditions, connection, loc, sql, retry)
        }
        Record::Query { conditions, connection, loc, sql, retry, .. } => {
            (conditions, connection, loc, sql, retry)
        }
        other => return other,
    };
    let expected = match error {
        Some(code) => StatementExpect::Error(ExpectedError::SqlState(code)),
        None => StatementExpect::Ok,
    };
    Record::Statement { conditions, connection, loc, sql, expected, retry }
}

fn parsed(text: &str, name: &str) -> Records {
    parse_with_name(text, name).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn runner<'a>(side: &'a mut dyn Side) -> Runner<Connection<'a>, impl MakeConnection<Conn = Connection<'a>>> {
    let mut side = Some(side);
    let mut runner = Runner::new(move || {
        let side = side.take();
        async move { side.map(Connection).ok_or(Failure::Lost("a case has one connection".to_string())) }
    });
    let normalizer: Normalizer = |line| line.clone();
    let validator: Validator = |_, actual, expected| same_rows(actual, expected);
    runner.with_normalizer(normalizer);
    runner.with_validator(validator);
    runner.with_column_validator(strict_column_validator);
    runner
}

/// Cells are equal as texts, or as numbers.
fn same_rows(actual: &[Vec<String>], expected: &[String]) -> bool {
    actual.len() == expected.len()
        && actual.iter().zip(expected).all(|(row, line)| {
            let cells: Vec<&str> = line.split(SEPARATOR).collect();
            row.len() == cells.len() && row.iter().zip(cells).all(|(a, b)| value::same_numeric(a, b))
        })
}

/// A server as sqllogictest needs it. Queries are sent by both protocols, which must agree.
struct Connection<'a>(&'a mut dyn Side);

impl DB for Connection<'_> {
    type Error = Failure;
    type ColumnType = Letter;

    fn run(&mut self, sql: &str) -> Result<DBOutput<Letter>, Failure> {
        let answer = self.0.run(sql, Mode::Simple)?;
        if only_reads(sql) {
            // The text of an answer must not depend on the protocol.
            let extended = self.0.run(sql, Mode::ExtendedText);
            let agree = extended.as_ref().is_ok_and(|extended| same_answer(extended, &answer));
            if !agree {
                return Err(Failure::Lost(format!(
                    "by the simple protocol {answer:?}, by the extended one {extended:?}"
                )));
            }
        }
        Ok(output(&answer))
    }

    fn error_sql_state(error: &Failure) -> Option<String> {
        match error {
            Failure::Refused { code, .. } => Some(code.clone()),
            Failure::Lost(_) => None,
        }
    }
}

/// The same columns and the same rows in any order: the file contains the required order.
fn same_answer(left: &Answer, right: &Answer) -> bool {
    let sorted = |answer: &Answer| {
        let mut rows = answer.rows.clone();
        rows.sort();
        rows
    };
    left.columns == right.columns && left.tag == right.tag && sorted(left) == sorted(right)
}

/// Statements that can run twice, one at a time.
fn only_reads(sql: &str) -> bool {
    let upper = sql.trim_start_matches([' ', '\n', '(']).to_ascii_uppercase();
    let reads = ["SELECT", "VALUES", "WITH", "TABLE"].iter().any(|word| upper.starts_with(word));
    let changes = ["INSERT", "UPDATE", "DELETE", ";", "RANDOM"].iter().any(|word| upper.contains(word));
    reads && !changes
}

fn output(answer: &Answer) -> DBOutput<Letter> {
    match &answer.columns {
        Some(columns) => DBOutput::Rows {
            types: columns.iter().map(|column| Letter(value::letter(column.type_oid))).collect(),
            rows: answer.rows.iter().map(|row| row.iter().map(cell_text).collect()).collect(),
        },
        None => {
            let count = answer.tag.rsplit(' ').next().and_then(|count| count.parse().ok());
            DBOutput::StatementComplete(count.unwrap_or(0))
        }
    }
}

/// A cell on a line: an empty text is visible, and no text ends the line or the cell.
fn cell_text(cell: &Cell) -> String {
    match cell {
        None => "NULL".to_string(),
        Some(bytes) if bytes.is_empty() => "(empty)".to_string(),
        Some(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
        }
    }
}
