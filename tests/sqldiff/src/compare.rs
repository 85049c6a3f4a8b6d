//! Whether two answers to one statement agree, and if not, how.

use crate::value::{self, Floats};
use crate::wire::{Answer, Cell, Failure, Mode};

/// Relative difference that sums, averages, deviations and regressions of floats may have: they depend on the order of rows, which
/// is free. So may cube roots: PostgreSQL's is the one of the C library beneath it, which misses the last digit.
const FLOAT_AGGREGATES: f64 = 1e-9;

/// The verdict on a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The same answer.
    Right,
    /// Both return an error.
    BothRefuse,
    /// PostgreSQL answers, Tidemark returns an error.
    Refused {
        /// SQLSTATE.
        code: String,
        /// The text.
        message: String,
    },
    /// Anything else.
    Wrong(Difference),
}

/// How two answers differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// A label with the relevant types or codes, equal for differences of one kind.
    pub label: String,
    /// PostgreSQL's answer.
    pub postgres: String,
    /// Tidemark's answer.
    pub tidemark: String,
}

/// How a statement's answers are compared.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The protocol and format.
    pub mode: Mode,
    /// Whether the order of rows counts.
    pub ordered: bool,
    /// How exactly floats must agree.
    pub floats: Floats,
}

impl Rules {
    /// The rules for a statement.
    pub fn of(sql: &str, mode: Mode, ordered: bool) -> Rules {
        let aggregates = ["sum(", "avg(", "std", "var", "corr(", "regr_", "covar_", "cbrt("];
        let inexact = aggregates.iter().any(|name| sql.contains(name));
        let floats = if inexact { Floats::Within(FLOAT_AGGREGATES) } else { Floats::Exact };
        Rules { mode, ordered, floats }
    }
}

/// Compares the answers of both sides.
pub fn judge(
    postgres: &Result<Answer, Failure>,
    tidemark: &Result<Answer, Failure>,
    rules: Rules,
) -> Verdict {
    let wrong = |label: String| {
        let (postgres, tidemark) = (shown(postgres, rules.mode), shown(tidemark, rules.mode));
        Verdict::Wrong(Difference { label, postgres, tidemark })
    };
    match (postgres, tidemark) {
        (Err(Failure::Lost(why)), _) => panic!("PostgreSQL is gone: {why}"),
        (_, Err(Failure::Lost(_))) => wrong("connection lost".to_string()),
        (_, Err(Failure::Refused { code, .. })) if code == "XX000" => wrong("internal error".to_string()),
        (Ok(_), Err(Failure::Refused { code, message })) => {
            Verdict::Refused { code: code.clone(), message: message.clone() }
        }
        (Err(Failure::Refused { .. }), Err(_)) => Verdict::BothRefuse,
        (Err(Failure::Refused { code, .. }), Ok(_)) => wrong(format!("answered instead of {code}")),
        (Ok(left), Ok(right)) => difference(left, right, rules).map_or(Verdict::Right, wrong),
    }
}

/// The label of the first difference.
fn difference(postgres: &Answer, tidemark: &Answer, rules: Rules) -> Option<String> {
    let types = |answer: &Answer| -> Option<Vec<u32>> {
        Some(answer.columns.as_ref()?.iter().map(|column| column.type_oid).collect())
    };
    let (expected, actual) = (types(postgres), types(tidemark));
    let (Some(expected), Some(actual)) = (expected.as_ref(), actual.as_ref()) else {
        let same = expected == actual && postgres.tag == tidemark.tag;
        return (!same).then(|| "completion".to_string());
    };
    if expected.len() != actual.len() {
        return Some("number of columns".to_string());
    }
    if postgres.rows.len() != tidemark.rows.len() {
        return Some("number of rows".to_string());
    }
    let type_name = |(left, right): (&u32, &u32)| {
        format!("type {} is {}", value::type_name(*left), value::type_name(*right))
    };
    let types = || expected.iter().zip(actual).filter(|(left, right)| left != right);
    // Both types have the same bytes, so the cells are compared first.
    if let Some(other) = types().find(|(left, right)| !(value::is_text(**left) && value::is_text(**right))) {
        return Some(type_name(other));
    }
    let same_row = |left: &Vec<Cell>, right: &Vec<Cell>| {
        let mut cells = left.iter().zip(right).zip(expected);
        left.len() == right.len()
            && cells.all(|((l, r), of)| value::same(*of, rules.mode, l, r, rules.floats))
    };
    let text_type = types().next().map(type_name);
    if postgres.rows.iter().zip(&tidemark.rows).all(|(left, right)| same_row(left, right)) {
        return text_type;
    }
    let mut left_over: Vec<&Vec<Cell>> = tidemark.rows.iter().collect();
    for row in &postgres.rows {
        match left_over.iter().position(|other| same_row(row, other)) {
            Some(at) => left_over.swap_remove(at),
            None => return Some("values".to_string()),
        };
    }
    if rules.ordered { Some("order of rows".to_string()) } else { text_type }
}

/// A readable answer, truncated.
fn shown(answer: &Result<Answer, Failure>, mode: Mode) -> String {
    const ROWS: usize = 6;
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => return failure.to_string(),
    };
    let Some(columns) = &answer.columns else { return answer.tag.clone() };
    let types: Vec<String> = columns.iter().map(|column| value::type_name(column.type_oid)).collect();
    let row = |row: &Vec<Cell>| {
        let cells = row.iter().zip(columns).map(|(cell, column)| value::shown(column.type_oid, mode, cell));
        cells.collect::<Vec<_>>().join(" | ")
    };
    let mut rows: Vec<String> = answer.rows.iter().map(row).collect();
    let more = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    if more > 0 {
        rows.push(format!("and {more} more"));
    }
    format!(
        "({}) {}",
        types.join(", "),
        if rows.is_empty() { "no row".to_string() } else { rows.join(" ⏎ ") }
    )
}
