//! The source of the small world: a constant topic, and readers of its partitions that deliver it in any grouping,
//! again, and sometimes late. The shipped `OrdinalFilter` and `route` filter and route the messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use kernel::message::SourceMetadata;
use kernel::route::route;
use kernel::schema::{ColumnDef, ColumnType, TableDef};
use kernel::{
    ColumnId, Epoch, Extract, Generation, Identity, Mark, OrdinalFilter, PipelineId, Position, Sequence,
    SplitId, TableId,
};

/// Bits per message in a total.
const DIGIT: u32 = 4;

/// The topic. A message adds to one row on some or all of the shards; the k-th message of all adds 1 in digit k, so
/// that a total shows how often each was counted.
#[derive(Debug)]
pub struct Topic {
    messages: Vec<i64>,
    shards: u16,
    /// A key for each shard.
    keys: Vec<i64>,
    table: TableDef,
    /// Rows by shard of every range in every generation.
    rows: BTreeMap<Range, Vec<Option<RecordBatch>>>,
}

/// Generation, partition, first and next offset.
type Range = (u32, usize, i64, i64);

impl Topic {
    /// A topic with so many messages in its partitions, to be read in this many generations.
    pub fn new(messages: Vec<i64>, shards: u16, generations: u32) -> Topic {
        let table = table();
        let place = |key: &i64| {
            let rows = rows(&table, &[(*key, 0, 0)], 1, 0);
            route(&table, &rows, shards).iter().position(Option::is_some).expect("a row lies somewhere")
        };
        let key_of =
            |shard| (0..).find(|key| place(key) == usize::from(shard)).expect("a key for each shard");
        let keys = (0..shards).map(key_of).collect();
        let mut topic = Topic { messages, shards, keys, table, rows: BTreeMap::new() };
        for generation in 1..=generations {
            for (partition, end) in topic.messages.clone().into_iter().enumerate() {
                for first in 0..end {
                    for next in first + 1..=end {
                        let rows = topic.route(generation, partition, first, next);
                        topic.rows.insert((generation, partition, first, next), rows);
                    }
                }
            }
        }
        topic
    }

    fn route(&self, generation: u32, partition: usize, first: i64, next: i64) -> Vec<Option<RecordBatch>> {
        let mut changes = vec![];
        for offset in first..next {
            let number = self.number(partition, offset);
            let touched = self.touched(partition, offset);
            changes.extend(touched.map(|shard| (self.keys[shard as usize], 1 << (DIGIT * number), offset)));
        }
        route(&self.table, &rows(&self.table, &changes, generation, partition as i32), self.shards)
    }

    /// Messages of each partition.
    pub fn messages(&self) -> &[i64] {
        &self.messages
    }

    /// Its id.
    pub fn id(&self) -> Identity {
        Identity::new(&[7; 16])
    }

    /// Shards.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// Shards on which a message changes a row.
    pub fn touched(&self, partition: usize, offset: i64) -> impl Iterator<Item = u16> {
        let number = self.number(partition, offset);
        (0..self.shards).filter(move |shard| self.touches(number, *shard))
    }

    /// Its metadata.
    pub fn metadata(&self) -> SourceMetadata {
        SourceMetadata::kafka(&self.id(), (0..).zip(self.messages.iter().map(|end| (0, *end))))
    }

    fn number(&self, partition: usize, offset: i64) -> u32 {
        (self.messages[..partition].iter().sum::<i64>() + offset) as u32
    }

    /// Every second message changes one shard only.
    fn touches(&self, number: u32, shard: u16) -> bool {
        number.is_multiple_of(2) || u32::from(shard) == number / 2 % u32::from(self.shards)
    }

    /// The expected rows of a shard.
    pub fn expected(&self, shard: u16, counts: &[Vec<u8>]) -> Vec<(i64, i64)> {
        let mut total = 0;
        for (partition, counts) in counts.iter().enumerate() {
            for (offset, count) in counts.iter().enumerate() {
                let number = self.number(partition, offset as i64);
                if self.touches(number, shard) {
                    total += i64::from(*count) << (DIGIT * number);
                }
            }
        }
        if total == 0 { vec![] } else { vec![(self.keys[shard as usize], total)] }
    }

    /// The extract of a range.
    pub fn extract(
        &self,
        epoch: Epoch,
        generation: Generation,
        partition: usize,
        first_offset: i64,
        next_offset: i64,
    ) -> Extract {
        let rows = self.rows[&(generation.0, partition, first_offset, next_offset)].clone();
        let messages = (next_offset - first_offset) as u64;
        Extract {
            pipeline: PIPELINE,
            epoch,
            split: SplitId(partition as u32),
            schema_version: 1,
            first: Position::kafka(first_offset, 0),
            next: Position::kafka(next_offset, 0),
            messages,
            filtered: 0,
            source_bytes: messages,
            rows,
            dead_letters: vec![],
            originals: None,
        }
    }
}

/// The one pipeline.
pub const PIPELINE: PipelineId = PipelineId(1);

/// Columns of the one table: a key and a total.
pub fn columns() -> Vec<ColumnDef> {
    let column = |(id, name): (u32, &str)| ColumnDef {
        id: ColumnId(id),
        name: name.into(),
        column_type: ColumnType::Int64,
        nullable: false,
        default_sql: None,
    };
    [(0, "k"), (1, "total")].map(column).to_vec()
}

fn table() -> TableDef {
    TableDef {
        id: TableId(1),
        name: "t".into(),
        schema_version: 1,
        columns: columns(),
        primary_key: vec![ColumnId(0)],
        shard_key: vec![ColumnId(0)],
        sort_key: vec![],
        created_at: Sequence(2),
    }
}

/// Rows in the stored schema, from key, total and offset of each.
fn rows(table: &TableDef, changes: &[(i64, i64, i64)], generation: u32, partition: i32) -> RecordBatch {
    let count = changes.len();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(changes.iter().map(|change| change.0))),
        Arc::new(Int64Array::from_iter_values(changes.iter().map(|change| change.1))),
        Arc::new(Int64Array::from(vec![i64::from(generation); count])),
        Arc::new(Int32Array::from(vec![partition; count])),
        Arc::new(Int64Array::from_iter_values(changes.iter().map(|change| change.2))),
    ];
    RecordBatch::try_new(table.stored_schema(), columns).expect("rows of the table")
}

/// Reads one partition in one epoch.
#[derive(Clone, Debug)]
pub struct Reader {
    filter: OrdinalFilter,
    /// The range that was delivered last.
    last: Option<(i64, i64)>,
}

impl Reader {
    /// A reader from a position on.
    pub fn new(start: Position) -> Reader {
        Reader { filter: OrdinalFilter::new(start), last: None }
    }

    /// Offset of the next message.
    pub fn position(&self) -> i64 {
        self.filter.position().ordinal()
    }

    /// The range that was delivered last.
    pub fn last(&self) -> Option<(i64, i64)> {
        self.last
    }

    /// The broker answers with messages `first..next`, some of them perhaps again. Returns the new range, if any.
    pub fn answer(&mut self, first: i64, next: i64) -> Option<(i64, i64)> {
        let start = self.position();
        let admitted =
            (first..next).filter(|offset| self.filter.admit(*offset, Mark::LeaderEpoch(0))).count();
        (admitted > 0).then(|| {
            let range = (start, self.position());
            self.last = Some(range);
            range
        })
    }
}

/// A reader of an ended epoch whose last fetch is still in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Its epoch.
    pub epoch: Epoch,
    /// The generation that it belonged to.
    pub generation: Generation,
    /// Its partition.
    pub partition: usize,
    /// The message that it delivers.
    pub offset: i64,
}
