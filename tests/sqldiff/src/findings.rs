//! The findings of a run as readable text.

use crate::compare::Verdict;
use crate::run::{Kind, Report};

/// The rates, on one line. If PostgreSQL also returns an error, only that is compared.
pub fn rates(report: &Report) -> String {
    let answered = (report.right + report.refused + report.wrong).max(1) as f64;
    let rate = |count: usize| format!("{count} ({:.2} %)", 100.0 * count as f64 / answered);
    format!(
        "{} statements: {} right, {} refused, {} wrong; {} that PostgreSQL refuses too; {} kinds of difference, {} restarts",
        report.total(),
        rate(report.right),
        rate(report.refused),
        rate(report.wrong),
        report.both_refuse,
        report.kinds.len(),
        report.restarts
    )
}

/// Everything, most frequent first.
pub fn text(report: &Report) -> String {
    let mut out = format!("# {}\n\n## Wrong\n", rates(report));
    let mut kinds: Vec<(&String, &Kind)> = report.kinds.iter().collect();
    kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.count));
    for (name, kind) in kinds {
        let Kind { count, sql, mode, difference, rows, seed } = kind;
        out.push_str(&format!("\n### {count}x {name}\n\n    {}\n\n", sql.replace('\n', " ")));
        out.push_str(&format!(
            "- PostgreSQL: {}\n- Tidemark: {}\n",
            difference.postgres, difference.tidemark
        ));
        if !rows.is_empty() {
            out.push_str(&format!("- Rows that it needs: {}\n", rows.join("; ")));
        }
        out.push_str(&format!("- {mode:?}, seed {seed}\n"));
    }
    out.push_str("\n## Refused\n\n");
    let mut refusals: Vec<_> = report.refusals.iter().collect();
    refusals.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for (message, (count, sql)) in refusals {
        out.push_str(&format!("- {count}x {message}\n\n      {}\n\n", sql.replace('\n', " ")));
    }
    out
}

/// The result of one statement.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Right => "right".to_string(),
        Verdict::BothRefuse => "both refuse".to_string(),
        Verdict::Refused { code, message } => format!("refused: {code} {message}"),
        Verdict::Wrong(difference) => {
            let (label, expected, actual) = (&difference.label, &difference.postgres, &difference.tidemark);
            format!("wrong: {label}\n- PostgreSQL: {expected}\n- Tidemark: {actual}")
        }
    }
}
