//! CREATE, DROP and ALTER of tables and pipelines: from a parsed statement to kernel [`Definition`]s, with the checks
//! that the kernel cannot make. `transform` compiles a pipeline's definition for its extractor.

mod pipeline;
mod table;

use kernel::SqlState;
use kernel::message::Definition;
use kernel::schema::PipelineState;
use tidemark_pipeline_sql::Statement;

pub use pipeline::show_create;

use crate::error::{Result, SqlError};
use crate::query::StatementContext;

/// The result of planning a statement.
#[derive(Debug)]
pub struct Plan {
    /// To be executed in order: none or several for START and STOP ALL PIPELINES, several for DROP TABLE and TRUNCATE
    /// of more than one table, one for everything else. Several definitions are several records; all are checked before
    /// the first is executed.
    pub definitions: Vec<Definition>,
    /// Notices for the client.
    pub notices: Vec<String>,
    /// Names of secrets that were stored for them; to be settled once their outcome is known.
    pub secrets: Vec<String>,
}

/// Whether a statement may leave secrets unused.
pub fn may_leave_secrets(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::CreatePipeline(_) | Statement::AlterPipeline { .. } | Statement::DropPipeline { .. }
    )
}

/// The definitions of a statement. Other statements are an error.
pub async fn plan(context: &StatementContext, statement: &Statement) -> Result<Plan> {
    match statement {
        Statement::CreatePipeline(create) => pipeline::create(context, create).await,
        Statement::AlterPipeline { name, clauses } => pipeline::alter(context, name, clauses).await,
        Statement::SetOffsets { name, offsets } => pipeline::set_offsets(context, name, offsets).await,
        other => {
            Ok(Plan { definitions: definitions(context, other).await?, notices: vec![], secrets: vec![] })
        }
    }
}

/// Whether a statement failed only because another one came first: it is to be planned again on the current catalog.
pub fn was_overtaken(statement: &Statement, error: &SqlError) -> bool {
    match statement {
        Statement::CreatePipeline(create) if create.or_replace => {
            error.sqlstate == SqlState::SERIALIZATION_FAILURE
                || error.sqlstate == SqlState::DUPLICATE_OBJECT
                || error.sqlstate == SqlState::UNDEFINED_OBJECT
        }
        Statement::AlterPipeline { .. } => error.sqlstate == SqlState::SERIALIZATION_FAILURE,
        _ => false,
    }
}

async fn definitions(context: &StatementContext, statement: &Statement) -> Result<Vec<Definition>> {
    Ok(vec![match statement.clone() {
        Statement::CreateTable(create) => table::create(context, create).await?,
        Statement::DropTable { names, if_exists } => {
            table::check_droppable(context.snapshot(), &names, if_exists)?;
            let drop = |name| Definition::DropTable { name, if_exists };
            return Ok(names.into_iter().map(drop).collect());
        }
        Statement::Truncate { names } => {
            table::check_all_exist(context.snapshot(), &names)?;
            return Ok(names.into_iter().map(|name| Definition::TruncateTable { name }).collect());
        }
        Statement::ClearErrors { pipeline } => Definition::ClearErrors { pipeline },
        Statement::DropPipeline { name, if_exists } => Definition::DropPipeline { name, if_exists },
        Statement::StartPipeline { name, if_not_running } => {
            Definition::StartPipeline { name, if_not_running }
        }
        Statement::StopPipeline { name, if_running } => Definition::StopPipeline { name, if_running },
        Statement::StartAllPipelines => {
            let start = |name: String| Definition::StartPipeline { name, if_not_running: true };
            return Ok(pipelines(context, |state| *state != PipelineState::Running).map(start).collect());
        }
        Statement::StopAllPipelines => {
            let stop = |name: String| Definition::StopPipeline { name, if_running: true };
            return Ok(pipelines(context, |state| *state == PipelineState::Running).map(stop).collect());
        }
        Statement::CreatePipeline(_)
        | Statement::AlterPipeline { .. }
        | Statement::SetOffsets { .. }
        | Statement::ShowPipelines
        | Statement::ShowCreatePipeline { .. }
        | Statement::Sql(_) => {
            return Err(SqlError::internal("this statement defines nothing"));
        }
    }])
}

/// Names of the pipelines in such a state, in order.
fn pipelines(context: &StatementContext, wanted: fn(&PipelineState) -> bool) -> impl Iterator<Item = String> {
    let all = context.snapshot().catalog.pipelines.values();
    let mut names: Vec<String> = all.filter(|p| wanted(&p.state)).map(|p| p.name.clone()).collect();
    names.sort();
    names.into_iter()
}
