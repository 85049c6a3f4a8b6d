//! CREATE and ALTER PIPELINE: all checks of a pipeline before its source is opened. Also SHOW CREATE PIPELINE.

use kernel::cursors::Cursors;
use std::collections::BTreeMap;

use kernel::expr::OnDuplicate;
use kernel::message::{Alteration, Definition, Offsets, PipelineSpec, SourceMetadata};
use kernel::schema::{PipelineDef, PipelineState, StartAt, TableDef};
use kernel::{Epoch, Generation, PipelineId, Position, SplitId, SplitName, SqlState};
use tidemark_decode::{ExtractPlan, Extractor};
use tidemark_pipeline_sql::names::quote;
use tidemark_pipeline_sql::{
    BATCH_BYTES_DEFAULT, CreatePipeline, Credential, Credentials, OffsetsSyntax, OnDuplicateSyntax,
    PipelineClauses, REDACTED, Relation, Statement, alter_pipeline, parse_pipeline,
};

use super::Plan;
use crate::assign::defaults;
use crate::assign::lower::{self, Scope};
use crate::error::{Result, SqlError};
use crate::query::StatementContext;
use crate::transform::PipelinePlanner;
use crate::write::require_key;

/// Checks a CREATE PIPELINE. OR REPLACE of an existing one alters it.
pub async fn create(context: &StatementContext, create: &CreatePipeline) -> Result<Plan> {
    check_credentials(&create.source.credentials)?;
    let existing = context.snapshot().catalog.pipeline_named(&create.name);
    if let Some(existing) = existing.filter(|_| create.or_replace) {
        return alteration(context, existing, create).await;
    }
    let (spec, secrets) = spec(context, create).await?;
    let (spec, if_not_exists) = (Box::new(spec), create.if_not_exists);
    Ok(Plan {
        definitions: vec![Definition::CreatePipeline { spec, if_not_exists }],
        notices: vec![],
        secrets,
    })
}

/// Checks an ALTER PIPELINE … SET: the result must be a pipeline that could be created.
pub async fn alter(context: &StatementContext, name: &str, clauses: &PipelineClauses) -> Result<Plan> {
    clauses.credentials.as_ref().map_or(Ok(()), check_credentials)?;
    let existing = existing(context, name)?;
    let altered = alter_pipeline(&parse_pipeline(&existing.definition_sql)?, clauses)?;
    alteration(context, existing, &altered).await
}

/// Refuses invalid entries for secrets: a generated name, and the placeholder that replaces a value in output.
fn check_credentials(credentials: &Credentials) -> Result<()> {
    for (property, credential) in credentials {
        let why = match credential {
            Credential::Kept(_) => "has {\"kept\": …}, which only the database writes",
            Credential::Clear(value) if value == REDACTED => "has the placeholder that is shown for a secret",
            _ => continue,
        };
        let message = format!(
            "CREDENTIALS: \"{property}\" {why}: give the value, {{\"file\": \"/path\"}} or {{\"env\": \"NAME\"}}"
        );
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok(())
}

fn existing<'a>(context: &'a StatementContext, name: &str) -> Result<&'a PipelineDef> {
    let found = context.snapshot().catalog.pipeline_named(name);
    found.map(|pipeline| pipeline.as_ref()).ok_or_else(|| {
        SqlError::new(SqlState::UNDEFINED_OBJECT, format!("pipeline \"{name}\" does not exist"))
    })
}

/// A new definition of an existing pipeline. Offsets are kept if the topic may be the same.
async fn alteration(
    context: &StatementContext,
    existing: &PipelineDef,
    altered: &CreatePipeline,
) -> Result<Plan> {
    let before = parse_pipeline(&existing.definition_sql)?.source;
    let cursors = &context.snapshot().catalog.cursors[&existing.id];
    let identity = cursors.splits().find_map(|(_, split)| split.identity.clone());
    let is_identified = identity.is_some_and(|identity| identity.as_bytes().iter().any(|byte| *byte != 0));
    let relation = before.relation(&altered.source);
    // Another place without an identity to compare counts as another source: brokers before 2.8 have no topic ids.
    let source_changed = match relation {
        Relation::Same => false,
        Relation::SameIfIdentified => !is_identified,
        Relation::Other => true,
    };
    let mut notices = vec![];
    if !cursors.is_empty() && source_changed {
        notices.push(format!(
            "pipeline \"{}\" reads another source now ('{}', before '{}'), so its offsets are dropped and it begins at the \
             oldest message there; rows that it loaded before stay",
            altered.name,
            altered.source.address,
            before.address
        ));
    } else if !cursors.is_empty() && relation == Relation::SameIfIdentified {
        notices.push(format!(
            "pipeline \"{}\" keeps its offsets: should its topic be another one at these brokers, it stops and says so",
            altered.name
        ));
    }
    let (spec, secrets) = spec(context, altered).await?;
    let (spec, was) = (Box::new(spec), existing.definition_sql.clone());
    let alteration = Definition::AlterPipeline(Alteration { spec, was, source_changed });
    Ok(Plan { definitions: vec![alteration], notices, secrets })
}

/// Checks an ALTER PIPELINE … SET OFFSETS: an offset must exist in its partition, or be its end.
pub async fn set_offsets(context: &StatementContext, name: &str, offsets: &OffsetsSyntax) -> Result<Plan> {
    let pipeline = existing(context, name)?;
    if pipeline.state == PipelineState::Running {
        let message = format!("pipeline \"{name}\" is running, and its offsets cannot be set meanwhile");
        return Err(SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .with_hint(format!("STOP PIPELINE {} first.", quote(name))));
    }
    let offsets = match offsets {
        OffsetsSyntax::Earliest => Offsets::From(StartAt::Earliest),
        OffsetsSyntax::Latest => Offsets::From(StartAt::Latest),
        OffsetsSyntax::At(at) => {
            let database = &context.environment().database;
            let metadata = database.read_source(&pipeline.definition_sql).await.map_err(|error| {
                error.map_message(|why| {
                    format!(
                        "the source of pipeline \"{name}\" cannot be asked which offsets it has ({why}); nothing was changed"
                    )
                })
            })?;
            check_offsets(at, &metadata)?;
            let position = |(p, at): (&i32, &i64)| (SplitName::kafka(*p), Position::kafka(*at, -1));
            Offsets::At(at.iter().map(position).collect())
        }
    };
    let definition = Definition::SetOffsets { name: name.into(), offsets };
    Ok(Plan { definitions: vec![definition], notices: vec![], secrets: vec![] })
}

fn check_offsets(at: &BTreeMap<i32, i64>, metadata: &SourceMetadata) -> Result<()> {
    let refuse = |message: String| Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    for (partition, offset) in at {
        match metadata.partitions().get(partition) {
            None => {
                let last = metadata.partitions().keys().last().map_or(0, |last| last + 1);
                return refuse(format!(
                    "the topic has no partition {partition}: it has {last}, numbered from 0"
                ));
            }
            Some((earliest, latest)) if !(*earliest..=*latest).contains(offset) => {
                return refuse(format!(
                    "partition {partition} has no offset {offset}: {earliest} to {latest} can be set, of which {latest} is its end"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The kernel's specification of a checked pipeline, and the names of its stored secrets: the definition goes into the
/// log and into recordings, and contains only the places of secrets.
async fn spec(context: &StatementContext, create: &CreatePipeline) -> Result<(PipelineSpec, Vec<String>)> {
    let mut create = create.clone();
    create.source.move_secrets();
    let mut spec = checked(context, &create)?;
    context.environment().database.check_source(&create.to_sql()).await?;
    let secrets = keep(context, &mut create.source.credentials).await?;
    spec.definition_sql = create.to_sql();
    Ok((spec, secrets))
}

/// Stores secrets and replaces them by their names.
async fn keep(context: &StatementContext, credentials: &mut Credentials) -> Result<Vec<String>> {
    let mut clear: Vec<&mut Credential> =
        credentials.values_mut().filter(|credential| matches!(credential, Credential::Clear(_))).collect();
    let secret = |credential: &&mut Credential| match &**credential {
        Credential::Clear(value) => Some(value.clone()),
        _ => None,
    };
    let secrets: Vec<String> = clear.iter().filter_map(secret).collect();
    if secrets.is_empty() {
        return Ok(vec![]);
    }
    let names = context.environment().database.keep_secrets(secrets).await?;
    for (credential, name) in clear.iter_mut().zip(&names) {
        **credential = Credential::Kept(name.clone());
    }
    Ok(names)
}

/// The same without its text, which is filled in when its secrets are stored.
fn checked(context: &StatementContext, create: &CreatePipeline) -> Result<PipelineSpec> {
    let table = context.snapshot().catalog.table_named(&create.table).ok_or_else(|| {
        SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", create.table))
    })?;
    let on_duplicate = on_duplicate(create, table)?;
    let shard_count = context.environment().database.shard_count();
    let (plan, transform) = PipelinePlanner::new()?.plan(create, table, shard_count)?;
    check_fed(create, &plan)?;
    let start = Position::kafka(0, -1);
    Extractor::new(plan, transform, PipelineId(0), Epoch(0), Generation(0), SplitId(0), start)?;
    Ok(PipelineSpec {
        source_kind: create.source.kind,
        name: create.name.clone(),
        table: create.table.clone(),
        definition_sql: String::new(),
        on_duplicate,
        error_limit: create.error_limit,
        batch_interval_us: create.batch_interval_ms.unwrap_or(0) as i64 * 1000,
        batch_bytes_max: create.batch_bytes_max.unwrap_or(BATCH_BYTES_DEFAULT),
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

/// Every NOT NULL column needs a value, or every message would be a dead letter.
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
            return Err(SqlError::new(SqlState::NOT_NULL_VIOLATION, message)
                .with_hint("Map a field to it, SET it, or give the column a DEFAULT."));
        }
    }
    Ok(())
}

/// A pipeline's definition without secrets. EXTENDED adds the statement that sets the same offsets.
pub fn show_create(pipeline: &PipelineDef, cursors: &Cursors, extended: bool) -> Result<String> {
    let mut text = parse_pipeline(&pipeline.definition_sql)?.to_string();
    if extended && !cursors.is_empty() {
        let seen = cursors.splits().filter_map(|(_, split)| Some((split.name.partition()?, split.position?)));
        let offsets = seen.map(|(partition, position)| (partition, position.ordinal())).collect();
        let set = Statement::SetOffsets { name: pipeline.name.clone(), offsets: OffsetsSyntax::At(offsets) };
        text = format!("{text};\n{set}");
    }
    Ok(text)
}
