//! EXPLAIN and EXPLAIN ANALYZE of queries: the physical plan, line by line.

use std::sync::Arc;
use std::time::Instant;

use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::sql::sqlparser::ast::{Statement as Sql, UtilityOption};
use futures::TryStreamExt;

use crate::error::{Result, SqlError};
use crate::query::{StatementContext, guarded};

/// Lines of the plan; with ANALYZE the query has been run.
pub async fn lines(context: &StatementContext, sql: &Sql) -> Result<Vec<String>> {
    let Sql::Explain { analyze, verbose, statement, options, .. } = sql else {
        return Err(SqlError::internal("EXPLAIN of something else"));
    };
    let asked = |name: &str| {
        let options = options.as_deref().unwrap_or_default();
        options.iter().any(|o: &UtilityOption| o.name.value.eq_ignore_ascii_case(name))
    };
    if !matches!(**statement, Sql::Query(_)) {
        return Err(SqlError::unsupported("EXPLAIN is supported for queries only"));
    }
    let planning = Instant::now();
    let plan = context.plan(statement).await?;
    let physical = context.physical(&plan).await?;
    let planning = planning.elapsed();
    let verbose = *verbose || asked("verbose");
    if !(*analyze || asked("analyze")) {
        let text = DisplayableExecutionPlan::new(physical.as_ref()).indent(verbose).to_string();
        return Ok(text.lines().map(str::to_string).collect());
    }
    let execution = Instant::now();
    let stream = context.run(Arc::clone(&physical))?;
    let counted = stream.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows()) });
    let rows = guarded(counted).await??;
    let execution = execution.elapsed();
    let text = DisplayableExecutionPlan::with_metrics(physical.as_ref()).indent(verbose).to_string();
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    lines.push(format!("Rows: {rows}"));
    lines.push(format!("Planning Time: {:.3} ms", planning.as_secs_f64() * 1000.0));
    lines.push(format!("Execution Time: {:.3} ms", execution.as_secs_f64() * 1000.0));
    Ok(lines)
}
