//! Definitions: column types, tables, pipelines, and the catalog that holds them. The catalog changes only through
//! [`Catalog::apply`], live and in recovery. Row storage is in `shard`; parsing of definitions from SQL is in the
//! adapters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use minicbor::{Decode, Encode};

pub use crate::cursors::{CursorSet, Cursors, Split};
use crate::error::{Error, SqlState};
use crate::expr::OnDuplicate;
use crate::ids::*;

/// A SQL type that a column can have. Each maps to exactly one Arrow type ([`ColumnType::arrow`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub enum ColumnType {
    /// `boolean`
    #[n(0)]
    Bool,
    /// `smallint`
    #[n(1)]
    Int16,
    /// `integer`
    #[n(2)]
    Int32,
    /// `bigint`
    #[n(3)]
    Int64,
    /// `real`
    #[n(4)]
    Float32,
    /// `double precision`
    #[n(5)]
    Float64,
    /// `numeric(precision, scale)`, kept in 128 bits; precision 1..=38.
    #[n(6)]
    Decimal {
        /// Digits in all.
        #[n(0)]
        precision: u8,
        /// Digits after the decimal point.
        #[n(1)]
        scale: i8,
    },
    /// `text`: UTF-8. In logs of older versions also `varchar` and `char`, without their lengths.
    #[n(7)]
    Text,
    /// `jsonb`, `json`: the canonical jsonb text of a value, in UTF-8. In logs of older versions the text as it was
    /// written.
    #[n(8)]
    Json,
    /// `uuid`: its canonical lower-case text.
    #[n(9)]
    Uuid,
    /// `bytea`
    #[n(10)]
    Bytea,
    /// `date`: days since 1970-01-01.
    #[n(11)]
    Date,
    /// `timestamp`: microseconds since 1970-01-01, no zone.
    #[n(12)]
    Timestamp,
    /// `timestamptz`: microseconds since 1970-01-01 UTC.
    #[n(13)]
    TimestampTz,
    /// `varchar(n)`: UTF-8 of at most `n` characters; without `n`, of any number.
    #[n(14)]
    Varchar {
        /// 1..=[`VARCHAR_CHARS_MAX`].
        #[n(0)]
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
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ColumnDef {
    /// Never reused in this table.
    #[n(0)]
    pub id: ColumnId,
    /// As the user wrote it, case-folded like a PostgreSQL identifier.
    #[n(1)]
    pub name: String,
    /// Its type.
    #[n(2)]
    pub column_type: ColumnType,
    /// False for NOT NULL and for key columns.
    #[n(3)]
    pub nullable: bool,
    /// SQL text of DEFAULT. The adapters evaluate it; the log holds only the values.
    #[n(4)]
    pub default_sql: Option<String>,
}

/// The hidden columns that follow a table's own columns in every batch of rows: provenance. Null in rows that a client
/// wrote or changed. Generation of the pipeline (Int64), split (Int32), ordinal in the split (Int64), all nullable.
/// Users may select them. The names date from the first version, when Kafka was the only source.
pub const HIDDEN_COLUMNS: [&str; 3] = ["__run", "__partition", "__offset"];

/// A table.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TableDef {
    /// Identity.
    #[n(0)]
    pub id: TableId,
    /// Unique among tables.
    #[n(1)]
    pub name: String,
    /// Incremented by every change of the columns. Every piece in the log names its schema version.
    #[n(2)]
    pub schema_version: u32,
    /// In order of declaration.
    #[n(3)]
    pub columns: Vec<ColumnDef>,
    /// Columns of the key; empty for an append table.
    #[n(4)]
    pub primary_key: Vec<ColumnId>,
    /// Columns that place a row: a subset of the primary key if there is one. Empty: all columns place a row.
    #[n(5)]
    pub shard_key: Vec<ColumnId>,
    /// The order of rows in future sealed segments. Recorded, not used yet.
    #[n(6)]
    pub sort_key: Vec<ColumnId>,
    /// Sequence of the record that created it.
    #[n(7)]
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

    /// Where a column is in `columns`; None if there is no such column. Ids equal ordinals until a column is dropped.
    pub fn ordinal(&self, id: ColumnId) -> Option<usize> {
        let is_it = |at: &usize| self.columns.get(*at).is_some_and(|column| column.id == id);
        Some(id.0 as usize).filter(is_it).or_else(|| self.columns.iter().position(|column| column.id == id))
    }

    /// Ordinals of the columns of a key of this table.
    pub fn ordinals(&self, key: &[ColumnId]) -> Vec<u16> {
        let ordinal = |id: &ColumnId| self.ordinal(*id).expect("the columns of a key exist") as u16;
        key.iter().map(ordinal).collect()
    }

    /// The columns of the primary key, in the order of the key.
    pub fn key_columns(&self) -> impl Iterator<Item = &ColumnDef> {
        self.ordinals(&self.primary_key).into_iter().map(|at| &self.columns[usize::from(at)])
    }

    /// Whether all columns have different ids and all keys consist of them. A table in a log may be anything.
    pub fn is_consistent(&self) -> bool {
        let ids: BTreeSet<ColumnId> = self.columns.iter().map(|column| column.id).collect();
        let keys = [&self.primary_key, &self.shard_key, &self.sort_key];
        ids.len() == self.columns.len() && keys.into_iter().flatten().all(|id| ids.contains(id))
    }

    /// Ordinals of the columns whose hash selects the shard of a row.
    pub fn placement_columns(&self) -> Vec<u16> {
        if !self.shard_key.is_empty() {
            self.ordinals(&self.shard_key)
        } else if !self.primary_key.is_empty() {
            self.ordinals(&self.primary_key)
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
        shard_key: [0, 7, 8].map(ColumnId).to_vec(),
        sort_key: vec![],
        created_at: Sequence(0),
    }
}

/// State of a pipeline.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub enum PipelineState {
    /// Not loading: new, or stopped by a command.
    #[n(0)]
    Stopped,
    /// Loading. Recovery starts it again.
    #[n(1)]
    Running,
    /// Stopped by an error. START tries again.
    #[n(2)]
    Failed(#[n(0)] Error),
}

/// Where a split without a cursor starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub enum StartAt {
    /// At the oldest message that the source still has.
    #[n(0)]
    Earliest,
    /// At the end of the split when it is first seen.
    #[n(1)]
    Latest,
}

/// A pipeline: its definition and its state. Its positions are in [`Cursors`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct PipelineDef {
    /// Identity.
    #[n(0)]
    pub id: PipelineId,
    /// Unique among pipelines.
    #[n(1)]
    pub name: String,
    /// Table that it loads.
    #[n(2)]
    pub table: TableId,
    /// Kind of its source. It defines the meaning of positions.
    #[n(3)]
    pub source_kind: SourceKind,
    /// The canonical CREATE PIPELINE statement. The adapters derive source, decoder and expressions from it.
    #[n(4)]
    pub definition_sql: String,
    /// The rule for a row whose primary key exists, in typed form, set at CREATE.
    #[n(5)]
    pub on_duplicate: OnDuplicate,
    /// Dead letters allowed after a START. One more stops the pipeline in state Failed. None: no limit.
    #[n(6)]
    pub error_limit: Option<u64>,
    /// Least pause between two batches, in microseconds. 0: the next batch starts when the log is idle.
    #[n(7)]
    pub batch_interval_us: i64,
    /// Most source bytes in one batch.
    #[n(8)]
    pub batch_bytes_max: u64,
    /// Its state.
    #[n(9)]
    pub state: PipelineState,
    /// Definition epoch.
    #[n(10)]
    pub epoch: Epoch,
    /// Current generation.
    #[n(11)]
    pub generation: Generation,
    /// Where splits without a cursor start.
    #[n(12)]
    pub start_at: StartAt,
    /// Input time of its creation and last change.
    #[n(13)]
    pub created_at_us: Micros,
    /// See `created_at_us`.
    #[n(14)]
    pub altered_at_us: Micros,
}

/// All definitions and cursors at one sequence. Immutable once published. Every snapshot has one, so rows and cursors
/// agree.
#[derive(Clone, PartialEq, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct Catalog {
    /// Tables by id, `ERRORS_TABLE` included.
    #[cbor(n(0), with = "crate::cbor::shared")]
    pub tables: BTreeMap<TableId, Arc<TableDef>>,
    /// Pipelines by id.
    #[cbor(n(1), with = "crate::cbor::shared")]
    pub pipelines: BTreeMap<PipelineId, Arc<PipelineDef>>,
    /// Cursors of each pipeline. A batch advances them in place and leaves the definitions unchanged.
    #[n(2)]
    pub cursors: BTreeMap<PipelineId, Cursors>,
    /// Next free id of a table.
    #[n(3)]
    pub next_table: u32,
    /// Next free id of a pipeline.
    #[n(4)]
    pub next_pipeline: u32,
    /// Highest epoch handed out to any pipeline.
    #[n(5)]
    pub last_epoch: Epoch,
}

/// One logged change of the catalog: an outcome, not a statement.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub enum CatalogChange {
    /// A table was created.
    #[n(0)]
    TableCreated(#[n(0)] TableDef),
    /// A table was dropped with its rows.
    #[n(1)]
    TableDropped(#[n(0)] TableId),
    /// All rows of a table were deleted.
    #[n(2)]
    TableTruncated(#[n(0)] TableId),
    /// A pipeline was created, or its definition, state or epoch changed by command or failure.
    #[n(3)]
    PipelineSet(#[n(0)] PipelineDef),
    /// Cursors of a pipeline were set: of splits seen for the first time, or by command. *Advances* by batches are in
    /// [`crate::record::Commit::cursors`].
    #[n(4)]
    CursorsSet {
        /// The pipeline.
        #[n(0)]
        pipeline: PipelineId,
        /// Its new cursors.
        #[n(1)]
        splits: Vec<CursorSet>,
    },
    /// The cursors of a pipeline were removed. Its splits keep their numbers.
    #[n(5)]
    CursorsForgotten(#[n(0)] PipelineId),
    /// START reset a pipeline's count of dead letters.
    #[n(6)]
    DeadLettersRestarted(#[n(0)] PipelineId),
    /// A pipeline was dropped, with its rows in the errors table.
    #[n(7)]
    PipelineDropped(#[n(0)] PipelineId),
    /// A pipeline's rows in the errors table were deleted.
    #[n(8)]
    ErrorsCleared(#[n(0)] PipelineId),
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
                if !table.is_consistent() {
                    return contradiction("a table's key has a column that the table does not have");
                }
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

    #[test]
    fn a_column_is_found_by_its_id_wherever_it_is() {
        let mut table = errors_table();
        assert_eq!(table.ordinal(ColumnId(7)), Some(7));
        // As after DROP COLUMN of the second one.
        table.columns.remove(1);
        assert_eq!(
            [0, 1, 2, 9, 10].map(|id| table.ordinal(ColumnId(id))),
            [Some(0), None, Some(1), Some(8), None]
        );
        assert_eq!(table.placement_columns(), [0, 6, 7]);
        assert!(table.is_consistent());
    }

    #[test]
    fn a_table_in_a_log_may_be_anything() {
        let created = |change: &dyn Fn(&mut TableDef)| {
            let mut table = TableDef { id: TableId(1), ..errors_table() };
            change(&mut table);
            Catalog::new().apply(&CatalogChange::TableCreated(table))
        };
        assert!(created(&|_| {}).is_ok());
        assert!(created(&|table| table.primary_key = vec![ColumnId(10)]).is_err());
        assert!(created(&|table| table.columns[3].id = ColumnId(4)).is_err());
    }

    #[test]
    fn only_blanks_are_cut_off() {
        assert_eq!(fitting_len("äb".as_bytes(), 2), Some(3));
        assert_eq!(fitting_len("äb  ".as_bytes(), 3), Some(4));
        assert_eq!(fitting_len("äb c".as_bytes(), 3), None);
        assert_eq!(fitting_len("äb\t".as_bytes(), 2), None);
    }
}
