//! Reads one table of a snapshot: one partition per shard, deletions applied, small chunks joined, large ones passed on
//! without a copy. `snapshot_table` selects the shards.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, RecordBatch, RecordBatchOptions, UInt16Array, UInt32Array, UInt64Array,
};
use datafusion::arrow::compute::BatchCoalescer;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use kernel::ids::ShardId;
use kernel::shard::RowIds;
use kernel::snapshot::{ChunkView, TableView};

/// Where an output column of a scan comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanColumn {
    /// Ordinal in the table's stored schema.
    Stored(usize),
    /// The row's shard.
    Shard,
    /// Sequence of the row's id.
    Sequence,
    /// Ordinal of the row's id.
    Ordinal,
}

/// One partition: a shard's rows, or the rows that a transaction block has buffered.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Whose rows.
    pub shard: ShardId,
    /// The rows.
    pub view: Arc<TableView>,
}

/// A scan of one table.
#[derive(Debug, Clone)]
pub struct SnapshotScanExec {
    table: Arc<str>,
    partitions: Vec<Partition>,
    shard_count: usize,
    columns: Arc<[ScanColumn]>,
    schema: SchemaRef,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SnapshotScanExec {
    /// A scan of `partitions` that returns `columns`, with this `schema`.
    pub fn new(
        table: Arc<str>,
        partitions: Vec<Partition>,
        shard_count: usize,
        columns: Vec<ScanColumn>,
        schema: SchemaRef,
        limit: Option<usize>,
    ) -> SnapshotScanExec {
        // Never Partitioning::Hash: rows are placed by a hash of our own, and DataFusion would take it for its own and lose
        // rows of joins.
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        SnapshotScanExec {
            table,
            partitions,
            shard_count,
            columns: columns.into(),
            schema,
            limit,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    fn rows(&self, partition: Option<usize>) -> usize {
        let rows = |p: &Partition| p.view.live_rows as usize;
        match partition {
            Some(i) => self.partitions.get(i).map_or(0, rows),
            None => self.partitions.iter().map(rows).sum(),
        }
    }
}

impl DisplayAs for SnapshotScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let names: Vec<&str> = self.schema.fields().iter().map(|x| x.name().as_str()).collect();
        write!(
            f,
            "SnapshotScanExec: table={}, shards={}/{}, projection=[{}]",
            self.table,
            self.partitions.len(),
            self.shard_count,
            names.join(", ")
        )?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for SnapshotScanExec {
    fn name(&self) -> &str {
        "SnapshotScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(source) = self.partitions.get(partition) else {
            return internal_err!("scan of {} has no partition {partition}", self.table);
        };
        let batch_rows = context.session_config().batch_size();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let reader = Reader {
            shard: source.shard,
            view: Arc::clone(&source.view),
            next_chunk: 0,
            columns: Arc::clone(&self.columns),
            schema: Arc::clone(&self.schema),
            remaining: self.limit.unwrap_or(usize::MAX),
            ready: BatchCoalescer::new(Arc::clone(&self.schema), batch_rows)
                .with_biggest_coalesce_batch_size(Some(batch_rows / 2)),
            large: None,
            batch_rows,
        };
        let stream = futures::stream::try_unfold((reader, metrics), |(mut reader, metrics)| async move {
            let _timer = metrics.elapsed_compute().timer();
            let batch = reader.next()?;
            drop(_timer);
            Ok::<_, DataFusionError>(batch.map(|batch| {
                metrics.record_output(batch.num_rows());
                (batch, (reader, metrics))
            }))
        });
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream);
        // Rows in memory never make the task wait: without this a long scan could not be cancelled.
        Ok(make_cooperative(Box::pin(stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let rows = self.rows(args.partition());
        let rows = match self.limit {
            Some(limit) if rows > limit => Precision::Inexact(limit),
            _ => Precision::Exact(rows),
        };
        Ok(Arc::new(Statistics::new_unknown(&self.schema).with_num_rows(rows)))
    }
}

/// Walks the chunks of one partition.
struct Reader {
    shard: ShardId,
    view: Arc<TableView>,
    next_chunk: usize,
    columns: Arc<[ScanColumn]>,
    schema: SchemaRef,
    /// Rows that the limit leaves.
    remaining: usize,
    /// Joins small chunks.
    ready: BatchCoalescer,
    /// Rest of a chunk without deletions that is returned in slices.
    large: Option<(RecordBatch, usize)>,
    batch_rows: usize,
}

impl Reader {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.remaining == 0 {
            return Ok(None);
        }
        loop {
            if let Some(batch) = self.ready.next_completed_batch() {
                return Ok(Some(self.limited(batch)));
            }
            if let Some((batch, offset)) = self.large.take() {
                let rows = self.batch_rows.min(batch.num_rows() - offset);
                let slice = batch.slice(offset, rows);
                if offset + rows < batch.num_rows() {
                    self.large = Some((batch, offset + rows));
                }
                return Ok(Some(self.limited(slice)));
            }
            if self.next_chunk == self.view.chunks.len() {
                self.ready.finish_buffered_batch()?;
                return Ok(self.ready.next_completed_batch().map(|batch| self.limited(batch)));
            }
            self.take_chunk()?;
        }
    }

    fn limited(&mut self, batch: RecordBatch) -> RecordBatch {
        let rows = batch.num_rows().min(self.remaining);
        self.remaining -= rows;
        if rows < batch.num_rows() { batch.slice(0, rows) } else { batch }
    }

    fn take_chunk(&mut self) -> Result<()> {
        let view = Arc::clone(&self.view);
        let chunk = &view.chunks[self.next_chunk];
        self.next_chunk += 1;
        let batch = project(chunk, self.shard, &self.columns, &self.schema)?;
        match chunk.live_filter() {
            Some(filter) => self.ready.push_batch_with_filter(batch, &filter)?,
            None if batch.num_rows() > self.batch_rows => {
                self.ready.finish_buffered_batch()?;
                self.large = Some((batch, 0));
            }
            None => self.ready.push_batch(batch)?,
        }
        Ok(())
    }
}

/// The wanted columns of a chunk, deleted rows included.
fn project(
    chunk: &ChunkView,
    shard: ShardId,
    columns: &[ScanColumn],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let rows = chunk.rows.num_rows();
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .map(|column| match column {
            ScanColumn::Stored(ordinal) => Arc::clone(chunk.rows.column(*ordinal)),
            ScanColumn::Shard => Arc::new(UInt16Array::from_value(shard.0, rows)),
            ScanColumn::Sequence => Arc::new(sequences(&chunk.ids, rows)),
            ScanColumn::Ordinal => Arc::new(ordinals(&chunk.ids)),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}

fn sequences(ids: &RowIds, rows: usize) -> UInt64Array {
    match ids {
        RowIds::Run { sequence, .. } => UInt64Array::from_value(sequence.0, rows),
        other => other.iter().map(|id| id.sequence.0).collect::<Vec<_>>().into(),
    }
}

fn ordinals(ids: &RowIds) -> UInt32Array {
    ids.iter().map(|id| id.ordinal).collect::<Vec<_>>().into()
}
