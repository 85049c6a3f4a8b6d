//! Texts of the kernel's messages for stories and pages, and the numbers that represent them in the trace's hash. A
//! text is made only when it is shown.

use std::fmt::{self, Display, Formatter};

use kernel::message::{Alteration, Definition, ShardCommand, SourceFailure, SourceMetadata, Work};
use kernel::record::{Body, Commit, CursorAdvance, EncodedRecord, RecordKind};
use kernel::schema::{Catalog, CatalogChange, PipelineState};
use kernel::{Event, Input, PipelineId, Request, TableId};

use crate::trace::text_fact;

/// A text that is made when it is shown.
struct Words<F>(F);

impl<F: Fn(&mut Formatter<'_>) -> fmt::Result> Display for Words<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

fn list<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    word: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        word(f, item)?;
    }
    Ok(())
}

fn table_name(catalog: &Catalog, table: TableId) -> String {
    catalog.tables.get(&table).map_or_else(|| format!("table {table}"), |t| t.name.clone())
}

fn pipeline_name(catalog: &Catalog, pipeline: PipelineId) -> String {
    catalog.pipelines.get(&pipeline).map_or_else(|| format!("pipeline {pipeline}"), |p| p.name.clone())
}

/// A number with its noun.
pub fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

// ---- Shards ----

/// A shard command.
pub fn command(command: &ShardCommand) -> impl Display + '_ {
    Words(move |f: &mut Formatter<'_>| match command {
        ShardCommand::Stage { sequence, work } => {
            let rows: usize = work.iter().map(rows_of).sum();
            write!(f, "stage record {sequence}, {rows} rows")
        }
        ShardCommand::Abandon { from } => write!(f, "abandon staged records from {from} on"),
        ShardCommand::Publish { through, .. } => write!(f, "publish up to record {through}"),
        ShardCommand::ViewTip { table_lock } => {
            write!(f, "return the staged tip for table lock {table_lock}")
        }
    })
}

fn rows_of(work: &Work) -> usize {
    match work {
        Work::Rows { rows, .. } => rows.iter().map(|batch| batch.num_rows()).sum(),
        _ => 0,
    }
}

/// Its numbers for the hash.
pub fn command_facts(command: &ShardCommand) -> [u64; 3] {
    match command {
        ShardCommand::Stage { sequence, work } => {
            [0, sequence.0, work.iter().map(rows_of).sum::<usize>() as u64]
        }
        ShardCommand::Abandon { from } => [1, from.0, 0],
        ShardCommand::Publish { through } => [2, through.0, 0],
        ShardCommand::ViewTip { table_lock } => [3, table_lock.0, 0],
    }
}

// ---- Records ----

/// The content of a record.
pub fn record<'a>(record: &'a EncodedRecord, catalog: &'a Catalog) -> impl Display + 'a {
    Words(move |f: &mut Formatter<'_>| {
        let payload = record.parts.concat().into();
        let sequence = record.sequence;
        match Body::decode(record.kind, &payload) {
            Ok(Body::Commit(kind, commit)) => {
                let name = match kind {
                    RecordKind::Batch => "batch",
                    RecordKind::Client => "client transaction",
                    RecordKind::Catalog => "definition",
                    RecordKind::Cursor => "cursors",
                    _ => "record",
                };
                write!(f, "record {sequence} is {name}{}", changes(&commit, catalog))
            }
            Ok(Body::SyncMarker) => write!(f, "record {sequence} is a sync marker"),
            Ok(Body::Open(_)) => write!(f, "record {sequence} opens a term"),
            Err(error) => write!(f, "record {sequence} cannot be read: {error}"),
        }
    })
}

fn changes<'a>(commit: &'a Commit, catalog: &'a Catalog) -> impl Display + 'a {
    Words(move |f: &mut Formatter<'_>| {
        if commit.catalog.is_empty() && commit.cursors.is_empty() {
            return Ok(());
        }
        f.write_str(": ")?;
        list(f, &commit.catalog, |f, change| catalog_change(f, change, catalog))?;
        if !commit.catalog.is_empty() && !commit.cursors.is_empty() {
            f.write_str("; ")?;
        }
        list(f, &commit.cursors, |f, advance| cursor_advance(f, advance, catalog))
    })
}

fn catalog_change(f: &mut Formatter<'_>, change: &CatalogChange, catalog: &Catalog) -> fmt::Result {
    match change {
        CatalogChange::TableCreated(table) => write!(f, "table {} is created", table.name),
        CatalogChange::TableDropped(table) => write!(f, "{} is dropped", table_name(catalog, *table)),
        CatalogChange::TableTruncated(table) => write!(f, "{} is truncated", table_name(catalog, *table)),
        CatalogChange::PipelineDropped(pipeline) => {
            write!(f, "{} is dropped", pipeline_name(catalog, *pipeline))
        }
        CatalogChange::ErrorsCleared(pipeline) => {
            write!(f, "the errors of {} are cleared", pipeline_name(catalog, *pipeline))
        }
        CatalogChange::PipelineSet(pipeline) => {
            let (name, epoch, generation) = (&pipeline.name, pipeline.epoch, pipeline.generation);
            match &pipeline.state {
                PipelineState::Running => write!(f, "{name} runs (epoch {epoch}, generation {generation}"),
                PipelineState::Stopped => write!(f, "{name} stands (epoch {epoch}, generation {generation}"),
                PipelineState::Failed(error) => {
                    write!(f, "{name} has failed: {error} (epoch {epoch}, generation {generation}")
                }
            }?;
            f.write_str(")")
        }
        CatalogChange::CursorsSet { pipeline, splits } => {
            write!(f, "{} goes on at", pipeline_name(catalog, *pipeline))?;
            list(f, splits, |f, set| write!(f, " {} of partition {}", set.position, set.name))
        }
        CatalogChange::CursorsForgotten(pipeline) => {
            write!(f, "{} forgets its cursors", pipeline_name(catalog, *pipeline))
        }
        CatalogChange::DeadLettersRestarted(pipeline) => {
            write!(f, "{} counts its dead letters from 0", pipeline_name(catalog, *pipeline))
        }
    }
}

fn cursor_advance(f: &mut Formatter<'_>, advance: &CursorAdvance, catalog: &Catalog) -> fmt::Result {
    let (name, partition) = (pipeline_name(catalog, advance.pipeline), advance.split);
    let (first, next, tally) = (advance.first.ordinal(), advance.next.ordinal(), &advance.tally);
    write!(f, "{name} commits {first}..{next} of partition {partition} ({} applied", tally.applied)?;
    let others =
        [(tally.filtered, "filtered"), (tally.ignored, "ignored"), (tally.dead_letters, "dead letters")];
    for (count, word) in others.iter().filter(|(count, _)| *count > 0) {
        write!(f, ", {count} {word}")?;
    }
    f.write_str(")")
}

// ---- Inputs ----

/// An input from the log or a source.
pub fn input(input: &Input) -> impl Display + '_ {
    Words(move |f: &mut Formatter<'_>| match input {
        Input::SourceOpened { epoch, metadata, .. } => {
            write!(f, "opened, epoch {epoch}: {}", partitions(metadata))
        }
        Input::SourceVerified { metadata, .. } => write!(f, "metadata: {}", partitions(metadata)),
        Input::SourceFailed { failure, .. } => match failure {
            SourceFailure::Transient(error) => write!(f, "transient failure: {error}"),
            SourceFailure::Permanent(error) => write!(f, "permanent failure: {error}"),
            SourceFailure::Lost { split, wanted, earliest, end } => write!(
                f,
                "offset {wanted} of partition {split} is wanted and lost, there is {earliest}..{end}"
            ),
        },
        Input::LogFailed { error } => write!(f, "{error}"),
        other => write!(f, "{other:?}"),
    })
}

/// How often the topic was created.
fn topic_number(metadata: &SourceMetadata) -> u8 {
    metadata.topic_id().as_bytes().get(2).copied().unwrap_or_default()
}

fn partitions(metadata: &SourceMetadata) -> impl Display + '_ {
    Words(move |f: &mut Formatter<'_>| {
        let generation = topic_number(metadata);
        write!(f, "topic {generation} of this name, with partitions ")?;
        for (i, (partition, (start, end))) in metadata.partitions().iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{partition} ({start}..{end})")?;
        }
        Ok(())
    })
}

/// Numbers of a source's input.
pub fn source_facts(input: &Input) -> [u64; 3] {
    let of = |metadata: &SourceMetadata| {
        let id = u64::from(topic_number(metadata));
        metadata.partitions().iter().fold(id, |sum, (partition, (start, end))| {
            sum.wrapping_mul(31).wrapping_add((*partition as u64) << 48 ^ (*start as u64) << 24 ^ *end as u64)
        })
    };
    match input {
        Input::SourceOpened { epoch, metadata, .. } => [0, epoch.0, of(metadata)],
        Input::SourceVerified { token, metadata, .. } => [1, *token, of(metadata)],
        Input::SourceFailed { epoch, failure, .. } => [2, epoch.0, text_fact(&format!("{failure:?}"))],
        _ => [3, 0, 0],
    }
}

// ---- Events ----

/// What the operator is told.
pub fn event(event: &Event) -> impl Display + '_ {
    Words(move |f: &mut Formatter<'_>| match event {
        Event::ReadOnly => f.write_str("disk space is below the reserve: read-only"),
        Event::ReadWrite => f.write_str("disk space is above the reserve: read-write"),
        Event::PipelineFailed { pipeline: _, name, error } => write!(f, "pipeline {name} stopped: {error}"),
        Event::SourceRetried { pipeline: _, pause_us, error } => {
            write!(f, "source failed, trying again in {} ms: {}", pause_us / 1000, error.message)
        }
        Event::RangeMisplaced { pipeline: _, split, first, next } => {
            let noun = first.kind().split_noun();
            write!(f, "{noun} {split}: range {first}..{next} does not follow; fetching again from the cursor")
        }
        Event::ExtractOutdated { pipeline: _, schema_version, table_version } => write!(
            f,
            "rows for version {schema_version} of the table, which has version {table_version} now; fetching again from the cursor"
        ),
        Event::ReaderLost { pipeline: _, split, wanted } => {
            let noun = wanted.kind().split_noun();
            write!(
                f,
                "{noun} {split}: a reader at {wanted} has lost its position; fetching again from the cursor"
            )
        }
    })
}

// ---- Clients ----

/// A client's request.
pub fn request<'a>(request: &'a Request, catalog: &'a Catalog) -> impl Display + 'a {
    Words(move |f: &mut Formatter<'_>| match request {
        Request::Define(definition) => define(f, definition),
        Request::AcquireTableLock { tables } => {
            f.write_str("a table lock over ")?;
            list(f, tables, |f, table| f.write_str(&table_name(catalog, *table)))
        }
        Request::ReleaseTableLock(table_lock) => write!(f, "release table lock {table_lock}"),
        Request::Write(write) => {
            f.write_str(if write.table_lock.is_some() { "under its table lock " } else { "" })?;
            list(f, &write.tables, |f, table| {
                let rows: usize =
                    table.shards.iter().filter_map(|s| s.rows.as_ref()).map(|rows| rows.num_rows()).sum();
                let gone: usize = table.shards.iter().map(|s| s.deletes.len()).sum();
                write!(f, "{} ", table_name(catalog, table.table))?;
                match (rows, gone) {
                    (rows, 0) => write!(f, "+{}", count(rows as u64, "row")),
                    (0, gone) => write!(f, "-{gone} rows"),
                    (rows, gone) => write!(f, "+{rows} -{gone} rows"),
                }
            })
        }
    })
}

fn define(f: &mut Formatter<'_>, definition: &Definition) -> fmt::Result {
    match definition {
        Definition::CreateTable { spec, .. } => write!(f, "create table {}", spec.name),
        Definition::DropTable { name, .. } => write!(f, "drop table {name}"),
        Definition::TruncateTable { name } => write!(f, "truncate table {name}"),
        Definition::CreatePipeline { spec, .. } => {
            write!(f, "create pipeline {} into {}", spec.name, spec.table)
        }
        Definition::AlterPipeline(Alteration { spec, source_changed, .. }) => {
            let source = if *source_changed { " to read another source" } else { "" };
            write!(f, "alter pipeline {}{source}: {}", spec.name, spec.definition_sql)
        }
        Definition::ClearErrors { pipeline: None } => f.write_str("clear all errors"),
        Definition::ClearErrors { pipeline: Some(name) } => write!(f, "clear the errors of {name}"),
        Definition::DropPipeline { name, .. } => write!(f, "drop pipeline {name}"),
        Definition::StartPipeline { name, .. } => write!(f, "start pipeline {name}"),
        Definition::StopPipeline { name, .. } => write!(f, "stop pipeline {name}"),
        Definition::SetOffsets { name, offsets } => write!(f, "set the offsets of {name}: {offsets:?}"),
    }
}
