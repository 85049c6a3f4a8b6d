//! CREATE PIPELINE: everything that can be wrong with a pipeline before it meets its source. And its text for those who ask.

use kernel::expr::OnDuplicate;
use kernel::message::{Definition, PipelineSpec};
use kernel::schema::{PipelineDef, TableDef};
use kernel::{Epoch, PipelineId, Position, Run};
use tidemark_decode::{ExtractPlan, Extractor};
use tidemark_pipeline_sql::{
    BATCH_BYTES_DEFAULT, CreatePipeline, OffsetsSyntax, OnDuplicateSyntax, Statement, parse_pipeline,
};

use crate::assign::defaults;
use crate::assign::lower::{self, Scope};
use crate::error::{OrSql, Result, SqlError, state};
use crate::query::StatementContext;
use crate::transform::PipelinePlanner;
use crate::write::require_key;

/// Checks a CREATE PIPELINE.
pub fn create(context: &StatementContext, create: &CreatePipeline) -> Result<Definition> {
    let table = context.snapshot().catalog.table_named(&create.table).ok_or_else(|| {
        SqlError::new(state::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", create.table))
    })?;
    let on_duplicate = on_duplicate(create, table)?;
    let shard_count = context.environment().database.shard_count();
    let (plan, transform) = PipelinePlanner::new()?.plan(create, table, shard_count)?;
    check_fed(create, &plan)?;
    let start = Position { next_offset: 0, leader_epoch: -1 };
    Extractor::new(plan, transform, PipelineId(0), Epoch(0), Run(0), 0, start).or_sql()?;
    let spec = PipelineSpec {
        name: create.name.clone(),
        table: create.table.clone(),
        definition_sql: create.to_sql(),
        on_duplicate,
        error_limit: create.error_limit,
        batch_interval_us: create.batch_interval_ms.unwrap_or(0) as i64 * 1000,
        batch_bytes_max: create.batch_bytes_max.unwrap_or(BATCH_BYTES_DEFAULT),
    };
    Ok(Definition::CreatePipeline {
        spec: Box::new(spec),
        if_not_exists: create.if_not_exists,
        or_replace: create.or_replace,
    })
}

fn on_duplicate(create: &CreatePipeline, table: &TableDef) -> Result<OnDuplicate> {
    Ok(match &create.on_duplicate {
        OnDuplicateSyntax::Reject => OnDuplicate::Reject,
        OnDuplicateSyntax::Skip => {
            require_key(table, "SKIP DUPLICATE KEY ERRORS")?;
            OnDuplicate::Ignore
        }
        OnDuplicateSyntax::Replace => {
            require_key(table, "REPLACE")?;
            OnDuplicate::Replace
        }
        OnDuplicateSyntax::Update(assignments) => {
            require_key(table, "ON DUPLICATE KEY UPDATE")?;
            let scope = Scope { table, alias: &table.name, now_us: None };
            let assignments: Vec<_> =
                assignments.iter().map(|a| (a.column.clone(), a.value.clone())).collect();
            lower::update(scope, &assignments, None)?
        }
    })
}

/// Every NOT NULL column must come from somewhere, or every message would be set aside.
fn check_fed(create: &CreatePipeline, plan: &ExtractPlan) -> Result<()> {
    for column in plan.table.columns.iter().filter(|c| !c.nullable) {
        let fed = plan.decode.fields.iter().any(|f| f.name == column.name)
            || create.set.iter().any(|s| s.column == column.name)
            || defaults::expression(column)?.is_some();
        if !fed {
            let message = format!(
                "column \"{}\" of \"{}\" is NOT NULL, and pipeline \"{}\" gives it no value",
                column.name, plan.table.name, create.name
            );
            return Err(SqlError::new("23502", message)
                .with_hint("Map a field to it, SET it, or give the column a DEFAULT."));
        }
    }
    Ok(())
}

/// A pipeline's definition as it may be shown: without secrets. EXTENDED adds the statement that gives another pipeline of
/// this definition the same offsets.
pub fn show_create(pipeline: &PipelineDef, extended: bool) -> Result<String> {
    let mut text = parse_pipeline(&pipeline.definition_sql).or_sql()?.to_string();
    if extended && !pipeline.cursors.is_empty() {
        let offsets = pipeline.cursors.iter().map(|(p, position)| (*p, position.next_offset)).collect();
        let set = Statement::SetOffsets { name: pipeline.name.clone(), offsets: OffsetsSyntax::At(offsets) };
        text = format!("{text};\n{set}");
    }
    Ok(text)
}
