//! Definitions: column types, tables, pipelines, and the catalog that holds them. The catalog changes only through
//! [`Catalog::apply`], live and in recovery. Row storage is in `shard`; parsing of definitions from SQL is in the
//! adapters.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

pub use crate::cursors::{CursorSet, Cursors, Split};
use crate::error::{Error, SqlState};
use crate::expr::OnDuplicate;
use crate::ids::*;

/// A SQL type that a column can have. Each maps to exactly one Arrow type ([`ColumnType::arrow`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ColumnType {
    /// `boolean`
    Bool,
    /// `smallint`
    Int16,
    /// `integer`
    Int32,
    /// `bigint`
    Int64,
    /// `real`
    Float32,
    /// `double precision`
    Float64,
    /// `numeric(precision, scale)`, kept in 128 bits; precision 1..=38.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the decimal point.
        scale: i8,
    },
    /// `text`: UTF-8. In logs of older versions also `varchar` and `char`, without their lengths.
    Text,
    /// `jsonb`, `json`: the canonical jsonb text of a value, in UTF-8. In logs of older versions the text as it was
    /// written.
    Json,
    /// `uuid`: its canonical lower-case text.
    Uuid,
    /// `bytea`
    Bytea,
    /// `date`: days since 1970-01-01.
    Date,
    /// `timestamp`: microseconds since 1970-01-01, no zone.
    Timestamp,
    /// `timestamptz`: microseconds since 1970-01-01 UTC.
    TimestampTz,
    /// `varchar(n)`: UTF-8 of at most `n` characters; without `n`, of any number.
    Varchar {
        /// 1..=[`VARCHAR_CHARS_MAX`].
        max_chars: Option<u32>,
    },
}

/// Largest `n` of `varchar(n)`, as in PostgreSQL.
pub const VARCHAR_CHARS_MAX: u32 = 10_485_760;

impl ColumnType {
    /// The Arrow type that carries this SQL type everywhere: decoder, log, store, query.
    pub fn arrow(self) -> DataType {
        match self {
            ColumnType::Bool => DataType::Boolean,
            ColumnType::Int16 => DataType::Int16,
            ColumnType::Int32 => DataType::Int32,
            ColumnType::Int64 => DataType::Int64,
            ColumnType::Float32 => DataType::Float32,
            ColumnType::Float64 => DataType::Float64,
            ColumnType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            ColumnType::Text | ColumnType::Varchar { .. } | ColumnType::Json | ColumnType::Uuid => {
                DataType::Utf8
            }
            ColumnType::Bytea => DataType::Binary,
            ColumnType::Date => DataType::Date32,
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            ColumnType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        }
    }

    /// Most characters of a value, if the type has a limit.
    pub fn max_chars(self) -> Option<usize> {
        match self {
            ColumnType::Varchar { max_chars } => max_chars.map(|max| max as usize),
            _ => None,
        }
    }
}

/// Number of bytes that remain when UTF-8 text is assigned to a column of at most so many characters. As in SQL, excess
/// blanks are cut off. None: the excess contains other characters.
#[inline]
pub fn fitting_len(text: &[u8], max_chars: usize) -> Option<usize> {
    // No text has more characters than bytes.
    if text.len() <= max_chars {
        return Some(text.len());
    }
    let end = chars_len(text, max_chars);
    text[end..].iter().all(|byte| *byte == b' ').then_some(end)
}

/// Bytes of the first characters of a text that is UTF-8.
pub fn chars_len(text: &[u8], chars: usize) -> usize {
    let begins = |byte: u8| byte & 0xc0 != 0x80;
    let mut starts = text.iter().enumerate().filter(|(_, byte)| begins(**byte)).map(|(at, _)| at);
    starts.nth(chars).unwrap_or(text.len())
}

/// A column of a table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ColumnDef {
    /// Never reused in this table.
    pub id: ColumnId,
    /// As the user wrote it, case-folded like a PostgreSQL identifier.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// False for NOT NULL and for key columns.
    pub nullable: bool,
    /// SQL text of DEFAULT. The adapters evaluate it; the log holds only the values.
    pub default_sql: Option<String>,
}

/// The hidden columns that follow a table's own columns in every batch of rows: provenance. Null in rows that a client
/// wrote or changed. Generation of the pipeline (Int64), split (Int32), ordinal in the split (Int64), all nullable.
/// Users may select them. The names date from the first version, when Kafka was the only source.
pub const HIDDEN_COLUMNS: [&str; 3] = ["__run", "__partition", "__offset"];

/// A table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableDef {
    /// Identity.
    pub id: TableId,
    /// Unique among tables.
    pub name: String,
    /// Incremented by every change of the columns. Every piece in the log names its schema version.
    pub schema_version: u32,
    /// In order of declaration.
    pub columns: Vec<ColumnDef>,
    /// Ordinals into `columns`; empty for an append table.
    pub primary_key: Vec<u16>,
    /// Ordinals into `columns`. A subset of the primary key if there is one. Empty: all columns place a row.
    pub shard_key: Vec<u16>,
    /// Ordinals into `columns`: the order of rows in future sealed segments. Recorded, not used yet.
    pub sort_key: Vec<u16>,
    /// Sequence of the record that created it.
    pub created_at: Sequence,
}

impl TableDef {
    /// Arrow schema of the user's columns.
    pub fn user_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.user_fields()))
    }

    /// Arrow schema of stored rows: the user's columns, then [`HIDDEN_COLUMNS`]. Every `RecordBatch` of rows between
    /// extractor, coordinator, shard, log and snapshot has exactly this schema.
    pub fn stored_schema(&self) -> SchemaRef {
        let mut fields = self.user_fields();
        fields.extend(hidden_fields());
        Arc::new(Schema::new(fields))
    }

    fn user_fields(&self) -> Vec<Field> {
        self.columns.iter().map(|c| Field::new(&c.name, c.column_type.arrow(), c.nullable)).collect()
    }

    /// Ordinals of the columns whose hash selects the shard of a row.
    pub fn placement_columns(&self) -> Vec<u16> {
        if !self.shard_key.is_empty() {
            self.shard_key.clone()
        } else if !self.primary_key.is_empty() {
            self.primary_key.clone()
        } else {
            (0..self.columns.len() as u16).collect()
        }
    }
}

fn hidden_fields() -> [Field; 3] {
    [
        Field::new(HIDDEN_COLUMNS[0], DataType::Int64, true),
        Field::new(HIDDEN_COLUMNS[1], DataType::Int32, true),
        Field::new(HIDDEN_COLUMNS[2], DataType::Int64, true),
    ]
}

/// The reserved table of dead letters. A dead letter is committed in the record whose cursor passes its message. SQL
/// shows the table as `information_schema.pipelines_errors`.
pub const ERRORS_TABLE: TableId = TableId(0);

/// Definition of [`ERRORS_TABLE`].
pub fn errors_table() -> TableDef {
    let columns = [
        ("pipeline_id", ColumnType::Int64, false),
        ("pipeline_name", ColumnType::Text, false),
        ("error_time", ColumnType::TimestampTz, false),
        ("error_kind", ColumnType::Text, false),
        ("error_code", ColumnType::Text, false),
        ("error_message", ColumnType::Text, false),
        ("run", ColumnType::Int64, true),
        ("source_partition", ColumnType::Int32, true),
        ("source_offset", ColumnType::Int64, true),
        ("message", ColumnType::Bytea, true),
    ];
    TableDef {
        id: ERRORS_TABLE,
        name: "pipelines_errors".into(),
        schema_version: 1,
        columns: columns
            .into_iter()
            .enumerate()
            .map(|(i, (name, column_type, nullable))| ColumnDef {
                id: ColumnId(i as u32),
                name: name.into(),
                column_type,
                nullable,
                default_sql: None,
            })
            .collect(),
        primary_key: vec![],
        shard_key: vec![0, 7, 8],
        sort_key: vec![],
        created_at: Sequence(0),
    }
}

/// State of a pipeline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PipelineState {
    /// Not loading: new, or stopped by a command.
    Stopped,
    /// Loading. Recovery starts it again.
    Running,
    /// Stopped by an error. START tries again.
    Failed(Error),
}

/// Where a split without a cursor starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StartAt {
    /// At the oldest message that the source still has.
    Earliest,
    /// At the end of the split when it is first seen.
    Latest,
}

/// A pipeline: its definition and its state. Its positions are in [`Cursors`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PipelineDef {
    /// Identity.
    pub id: PipelineId,
    /// Unique among pipelines.
    pub name: String,
    /// Table that it loads.
    pub table: TableId,
    /// Kind of its source. It defines the meaning of positions.
    pub source_kind: SourceKind,
    /// The canonical CREATE PIPELINE statement. The adapters derive source, decoder and expressions from it.
    pub definition_sql: String,
    /// The rule for a row whose primary key exists, in typed form, set at CREATE.
    pub on_duplicate: OnDuplicate,
    /// Dead letters allowed after a START. One more stops the pipeline in state Failed. None: no limit.
    pub error_limit: Option<u64>,
    /// Least pause between two batches, in microseconds. 0: the next batch starts when the log is idle.
    pub batch_interval_us: i64,
    /// Most source bytes in one batch.
    pub batch_bytes_max: u64,
    /// Its state.
    pub state: PipelineState,
    /// Definition epoch.
    pub epoch: Epoch,
    /// Current generation.
    pub generation: Generation,
    /// Where splits without a cursor start.
    pub start_at: StartAt,
    /// Input time of its creation and last change.
    pub created_at_us: Micros,
    /// See `created_at_us`.
    pub altered_at_us: Micros,
}

/// All definitions and cursors at one sequence. Immutable once published. Every snapshot has one, so rows and cursors
/// agree.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// Tables by id, `ERRORS_TABLE` included.
    pub tables: BTreeMap<TableId, Arc<TableDef>>,
    /// Pipelines by id.
    pub pipelines: BTreeMap<PipelineId, Arc<PipelineDef>>,
    /// Cursors of each pipeline. A batch advances them in place and leaves the definitions unchanged.
    pub cursors: BTreeMap<PipelineId, Cursors>,
    /// Next free id of a table.
    pub next_table: u32,
    /// Next free id of a pipeline.
    pub next_pipeline: u32,
    /// Highest epoch handed out to any pipeline.
    pub last_epoch: Epoch,
}

/// One logged change of the catalog: an outcome, not a statement.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum CatalogChange {
    /// A table was created.
    TableCreated(TableDef),
    /// A table was dropped with its rows.
    TableDropped(TableId),
    /// All rows of a table were deleted.
    TableTruncated(TableId),
    /// A pipeline was created, or its definition, state or epoch changed by command or failure.
    PipelineSet(PipelineDef),
    /// Cursors of a pipeline were set: of splits seen for the first time, or by command. *Advances* by batches are in
    /// [`crate::record::Commit::cursors`].
    CursorsSet {
        /// The pipeline.
        pipeline: PipelineId,
        /// Its new cursors.
        splits: Vec<CursorSet>,
    },
    /// The cursors of a pipeline were removed. Its splits keep their numbers.
    CursorsForgotten(PipelineId),
    /// START reset a pipeline's count of dead letters.
    DeadLettersRestarted(PipelineId),
    /// A pipeline was dropped, with its rows in the errors table.
    PipelineDropped(PipelineId),
    /// A pipeline's rows in the errors table were deleted.
    ErrorsCleared(PipelineId),
}

impl Catalog {
    /// The catalog of a new database.
    pub fn new() -> Catalog {
        let errors = errors_table();
        Catalog {
            tables: BTreeMap::from([(errors.id, Arc::new(errors))]),
            next_table: 1,
            next_pipeline: 1,
            ..Catalog::default()
        }
    }

    /// A table by id.
    pub fn table(&self, id: TableId) -> Result<&Arc<TableDef>, Error> {
        self.tables
            .get(&id)
            .ok_or_else(|| Error::new(SqlState::UNDEFINED_TABLE, format!("table {id} does not exist")))
    }

    /// A table by name. Reserved tables are not found.
    pub fn table_named(&self, name: &str) -> Option<&Arc<TableDef>> {
        self.tables.values().find(|t| t.id != ERRORS_TABLE && t.name == name)
    }

    /// A pipeline by name.
    pub fn pipeline_named(&self, name: &str) -> Option<&Arc<PipelineDef>> {
        self.pipelines.values().find(|p| p.name == name)
    }

    /// Carries out a logged change. Succeeds for every change that the kernel logs. A change that contradicts the
    /// catalog is a broken invariant or a corrupt log, and returns an error.
    pub fn apply(&mut self, change: &CatalogChange) -> Result<(), Error> {
        let contradiction =
            |what: &str| Err(Error::new(SqlState::DATA_CORRUPTED, format!("logged change: {what}")));
        match change {
            CatalogChange::TableCreated(table) => {
                // Higher than all ids that were ever used.
                if table.id.0 < self.next_table {
                    return contradiction("a table id is used twice");
                }
                let Some(next) = table.id.0.checked_add(1) else {
                    return contradiction("a table has the last possible id");
                };
                self.next_table = next;
                self.tables.insert(table.id, Arc::new(table.clone()));
            }
            CatalogChange::TableDropped(id) => {
                if *id == ERRORS_TABLE || self.tables.remove(id).is_none() {
                    return contradiction("dropped table does not exist");
                }
            }
            CatalogChange::TableTruncated(id) => {
                if !self.tables.contains_key(id) {
                    return contradiction("truncated table does not exist");
                }
            }
            CatalogChange::PipelineSet(pipeline) => {
                let Some(next) = pipeline.id.0.checked_add(1) else {
                    return contradiction("a pipeline has the last possible id");
                };
                self.next_pipeline = self.next_pipeline.max(next);
                self.last_epoch = self.last_epoch.max(pipeline.epoch);
                self.cursors.entry(pipeline.id).or_default();
                self.pipelines.insert(pipeline.id, Arc::new(pipeline.clone()));
            }
            CatalogChange::PipelineDropped(id) => {
                if self.pipelines.remove(id).is_none() {
                    return contradiction("dropped pipeline does not exist");
                }
                self.cursors.remove(id);
            }
            CatalogChange::CursorsSet { pipeline, splits } => {
                let Some(kind) = self.pipelines.get(pipeline).map(|pipeline| pipeline.source_kind) else {
                    return contradiction("cursors are set for a pipeline that does not exist");
                };
                let cursors = self.cursors.entry(*pipeline).or_default();
                for set in splits {
                    if set.position.kind() != kind {
                        return contradiction("a cursor's position is of another kind of source");
                    }
                    if !cursors.set(set) {
                        return contradiction("a split changes its name");
                    }
                }
            }
            CatalogChange::CursorsForgotten(id) => match self.cursors.get_mut(id) {
                Some(cursors) => cursors.forget(),
                None => return contradiction("cursors are removed for a pipeline that does not exist"),
            },
            CatalogChange::DeadLettersRestarted(id) => match self.cursors.get_mut(id) {
                Some(cursors) => cursors.dead_letters = 0,
                None => return contradiction("dead letters are counted for a pipeline that does not exist"),
            },
            CatalogChange::ErrorsCleared(id) => {
                if !self.pipelines.contains_key(id) {
                    return contradiction("errors are cleared for a pipeline that does not exist");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Column types in the order of their stored numbers since the first version.
    const TYPES: [(ColumnType, &[u8]); 16] = [
        (ColumnType::Bool, &[0]),
        (ColumnType::Int16, &[1]),
        (ColumnType::Int32, &[2]),
        (ColumnType::Int64, &[3]),
        (ColumnType::Float32, &[4]),
        (ColumnType::Float64, &[5]),
        (ColumnType::Decimal { precision: 38, scale: -2 }, &[6, 38, 0xfe]),
        (ColumnType::Text, &[7]),
        (ColumnType::Json, &[8]),
        (ColumnType::Uuid, &[9]),
        (ColumnType::Bytea, &[10]),
        (ColumnType::Date, &[11]),
        (ColumnType::Timestamp, &[12]),
        (ColumnType::TimestampTz, &[13]),
        // Newer types.
        (ColumnType::Varchar { max_chars: None }, &[14, 0]),
        (ColumnType::Varchar { max_chars: Some(300) }, &[14, 1, 0xac, 2]),
    ];

    #[test]
    fn a_type_is_written_as_it_always_was() {
        for (column_type, bytes) in TYPES {
            assert_eq!(postcard::to_stdvec(&column_type).unwrap(), bytes, "{column_type:?}");
            assert_eq!(postcard::from_bytes(bytes), Ok(column_type));
        }
    }

    #[test]
    fn a_table_of_an_older_log_is_read() {
        // CREATE TABLE t (k varchar(3) PRIMARY KEY, n numeric(10,2) DEFAULT 1.5), from a version that stored varchar as
        // text.
        let mut logged: Vec<u8> = vec![0, 9, 1];
        logged.extend(b"t");
        logged.extend([4, 2]);
        logged.extend([0, 1, b'k', 7, 0, 0]);
        logged.extend([1, 1, b'n', 6, 10, 2, 1, 1, 3]);
        logged.extend(b"1.5");
        logged.extend([1, 0, 1, 0, 0, 77]);
        let column = |id, name: &str, column_type, nullable, default: Option<&str>| ColumnDef {
            id: ColumnId(id),
            name: name.into(),
            column_type,
            nullable,
            default_sql: default.map(Into::into),
        };
        let table = TableDef {
            id: TableId(9),
            name: "t".into(),
            schema_version: 4,
            columns: vec![
                column(0, "k", ColumnType::Text, false, None),
                column(1, "n", ColumnType::Decimal { precision: 10, scale: 2 }, true, Some("1.5")),
            ],
            primary_key: vec![0],
            shard_key: vec![0],
            sort_key: vec![],
            created_at: Sequence(77),
        };
        assert_eq!(postcard::from_bytes(&logged), Ok(CatalogChange::TableCreated(table)));
    }

    #[test]
    fn only_blanks_are_cut_off() {
        assert_eq!(fitting_len("äb".as_bytes(), 2), Some(3));
        assert_eq!(fitting_len("äb  ".as_bytes(), 3), Some(4));
        assert_eq!(fitting_len("äb c".as_bytes(), 3), None);
        assert_eq!(fitting_len("äb\t".as_bytes(), 2), None);
    }
}
