//! A user's table in a snapshot: its SQL schema, exact row counts, and the shards that a query has to read.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Constraint, Constraints, ScalarValue, Statistics};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use kernel::Snapshot;
use kernel::ids::{Sequence, ShardId};
use kernel::route::route;
use kernel::schema::{HIDDEN_COLUMNS, TableDef};
use kernel::shard::RowIds;
use kernel::snapshot::{ChunkView, TableView};

use super::scan::{Partition, ScanColumn, SnapshotScanExec};
use crate::catalog::columns::stored_field;

/// Columns that make a row's identity, behind the hidden columns of the stored schema.
pub const ROW_ID_COLUMNS: [&str; 3] = ["__shard", "__sequence", "__ordinal"];

/// True for the names of columns that `SELECT *` does not show.
pub fn is_hidden_column(name: &str) -> bool {
    HIDDEN_COLUMNS.contains(&name) || ROW_ID_COLUMNS.contains(&name)
}

/// Names of the columns that `SELECT *` does not show.
pub fn hidden_names() -> impl Iterator<Item = &'static str> {
    HIDDEN_COLUMNS.into_iter().chain(ROW_ID_COLUMNS)
}

/// A table at one snapshot.
#[derive(Debug)]
pub struct SnapshotTable {
    def: Arc<TableDef>,
    schema: SchemaRef,
    columns: Vec<ScanColumn>,
    partitions: Vec<Partition>,
    /// Rows that are in no shard yet; never pruned.
    buffered: Vec<Partition>,
    shard_count: u16,
    constraints: Constraints,
}

impl SnapshotTable {
    /// The table `def` in `snapshot`, with a block's own rows on top, and with its hidden columns on request.
    pub fn new(
        snapshot: &Snapshot,
        def: &Arc<TableDef>,
        buffered: &[(ShardId, RecordBatch)],
        hidden_columns: bool,
    ) -> SnapshotTable {
        let mut columns: Vec<ScanColumn> = (0..def.columns.len()).map(ScanColumn::Stored).collect();
        let mut fields: Vec<Field> = def.columns.iter().map(stored_field).collect();
        if hidden_columns {
            let (more, types) = hidden(def.columns.len());
            columns.extend(more);
            fields.extend(types);
        }
        let partitions = snapshot
            .shards
            .iter()
            .enumerate()
            .filter_map(|(shard, view)| {
                let view = view.tables.get(&def.id)?;
                let shard = ShardId(shard as u16);
                (view.live_rows > 0).then(|| Partition { shard, view: Arc::clone(view) })
            })
            .collect();
        let constraints = match def.ordinals(&def.primary_key) {
            // Buffered rows may violate the key; only the commit checks this.
            key if key.is_empty() || !buffered.is_empty() => Constraints::default(),
            key => Constraints::new_unverified(vec![Constraint::PrimaryKey(
                key.into_iter().map(usize::from).collect(),
            )]),
        };
        SnapshotTable {
            def: Arc::clone(def),
            schema: Arc::new(Schema::new(fields)),
            columns,
            partitions,
            buffered: buffered.iter().map(|(shard, rows)| buffered_partition(def, *shard, rows)).collect(),
            shard_count: snapshot.shards.len() as u16,
            constraints,
        }
    }

    /// The one shard of rows with these key values, if the filters equate every placement column with a constant.
    fn shard_of(&self, filters: &[Expr]) -> Option<ShardId> {
        let mut row: Vec<ArrayRef> =
            self.def.columns.iter().map(|c| new_null_array(&c.column_type.arrow(), 1)).collect();
        for ordinal in self.def.placement_columns() {
            let column = &self.def.columns[usize::from(ordinal)];
            let value = filters.iter().find_map(|f| equal_to(f, &column.name))?;
            // A constant of another type: DataFusion has not coerced the two, so the equality cannot be used.
            if value.is_null() || value.data_type() != column.column_type.arrow() {
                return None;
            }
            row[usize::from(ordinal)] = value.to_array().ok()?;
        }
        let fields: Vec<Field> =
            self.def.columns.iter().map(|c| Field::new(&c.name, c.column_type.arrow(), true)).collect();
        let row = RecordBatch::try_new(Arc::new(Schema::new(fields)), row).ok()?;
        let pieces = route(&self.def, &row, self.shard_count);
        pieces.iter().position(Option::is_some).map(|shard| ShardId(shard as u16))
    }
}

/// Sources and fields of the columns after the user's own.
fn hidden(user_columns: usize) -> (Vec<ScanColumn>, Vec<Field>) {
    let mut sources: Vec<ScanColumn> =
        (0..HIDDEN_COLUMNS.len()).map(|i| ScanColumn::Stored(user_columns + i)).collect();
    sources.extend([ScanColumn::Shard, ScanColumn::Sequence, ScanColumn::Ordinal]);
    let types = [DataType::Int64, DataType::Int32, DataType::Int64];
    let mut fields: Vec<Field> =
        HIDDEN_COLUMNS.iter().zip(types).map(|(name, t)| Field::new(*name, t, true)).collect();
    let types = [DataType::UInt16, DataType::UInt64, DataType::UInt32];
    fields.extend(ROW_ID_COLUMNS.iter().zip(types).map(|(name, t)| Field::new(*name, t, false)));
    (sources, fields)
}

fn buffered_partition(def: &TableDef, shard: ShardId, rows: &RecordBatch) -> Partition {
    let len = rows.num_rows() as u32;
    let ids = RowIds::Run { sequence: Sequence(u64::MAX), first: 0, len };
    let chunk = ChunkView { schema_version: def.schema_version, rows: rows.clone(), ids, deleted: None };
    let view = TableView { chunks: vec![chunk], live_rows: u64::from(len), bytes: 0 };
    Partition { shard, view: Arc::new(view) }
}

/// The constant that `filter` equates with `column`.
fn equal_to<'a>(filter: &'a Expr, column: &str) -> Option<&'a ScalarValue> {
    let Expr::BinaryExpr(binary) = filter else { return None };
    if binary.op != Operator::Eq {
        return None;
    }
    match (binary.left.as_ref(), binary.right.as_ref()) {
        (Expr::Column(c), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(c))
            if c.name == column =>
        {
            Some(value)
        }
        _ => None,
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (columns, schema) = match projection {
            None => (self.columns.clone(), Arc::clone(&self.schema)),
            Some(kept) => {
                (kept.iter().map(|i| self.columns[*i]).collect(), Arc::new(self.schema.project(kept)?))
            }
        };
        let only = self.shard_of(filters);
        let mut partitions: Vec<Partition> =
            self.partitions.iter().filter(|p| only.is_none_or(|shard| p.shard == shard)).cloned().collect();
        partitions.extend(self.buffered.iter().cloned());
        if partitions.is_empty() {
            partitions.push(Partition { shard: ShardId(0), view: Arc::default() });
        }
        Ok(Arc::new(SnapshotScanExec::new(
            self.def.name.as_str().into(),
            partitions,
            usize::from(self.shard_count),
            columns,
            schema,
            limit,
        )))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let placement = self.def.placement_columns();
        let useful = |filter: &Expr| {
            placement.iter().any(|c| equal_to(filter, &self.def.columns[usize::from(*c)].name).is_some())
        };
        // Inexact: DataFusion still filters; the scan only skips whole shards.
        Ok(filters
            .iter()
            .map(|f| match useful(f) {
                true => TableProviderFilterPushDown::Inexact,
                false => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        let rows: u64 = self.partitions.iter().chain(&self.buffered).map(|p| p.view.live_rows).sum();
        Some(Statistics::new_unknown(&self.schema).with_num_rows(Precision::Exact(rows as usize)))
    }
}
