//! The reference model: tables as plain maps, pipelines as cursors, and the fold of one transaction into them. Shares
//! no code with the kernel's store.

use std::collections::BTreeMap;

use kernel::schema::{ERRORS_TABLE, PipelineState};

use super::value::{Digest, Row, Value};
use super::{expr, wide};
use crate::broker::TopicId;
use crate::scenario::{Duplicate, TableShape};

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Name.
    pub name: String,
    /// Ordinals of the primary key; none in an append table.
    pub key: Vec<usize>,
    rows: BTreeMap<Row, u32>,
    by_key: BTreeMap<Vec<Value>, Row>,
    digest: Digest,
}

impl Table {
    fn new(name: String, key: Vec<usize>) -> Table {
        Table { name, key, rows: BTreeMap::new(), by_key: BTreeMap::new(), digest: Digest::default() }
    }

    /// Of all rows.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Rows with their multiplicities.
    pub fn rows(&self) -> &BTreeMap<Row, u32> {
        &self.rows
    }

    /// The key of a row, if the table has one.
    fn key_of(&self, row: &Row) -> Option<Vec<Value>> {
        (!self.key.is_empty()).then(|| self.key.iter().map(|column| row[*column].as_key()).collect())
    }

    fn insert(&mut self, row: Row) {
        self.digest.add(&row);
        if let Some(key) = self.key_of(&row) {
            let before = self.by_key.insert(key, row.clone());
            assert!(before.is_none(), "the model keeps one row a key");
        }
        *self.rows.entry(row).or_default() += 1;
    }

    fn remove(&mut self, row: &Row) {
        let count = self.rows.get_mut(row).expect("the model removes only what is there");
        *count -= 1;
        if *count == 0 {
            self.rows.remove(row);
        }
        if let Some(key) = self.key_of(row) {
            self.by_key.remove(&key);
        }
        self.digest.remove(row);
    }
}

/// A pipeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pipeline {
    /// Name.
    pub name: String,
    /// Its definition, which identifies its rule.
    pub definition: String,
    /// Generation.
    pub generation: u32,
    /// Definition epoch.
    pub epoch: u64,
    /// Newest epoch of a committed range.
    pub fetched: u64,
    /// Table that it loads.
    pub table: u32,
    /// Topic of the cursors.
    pub topic: Option<TopicId>,
    /// Next offset of each partition.
    pub cursors: BTreeMap<i32, i64>,
    /// Dead letters since START.
    pub dead_letters: u64,
    /// Whether it runs, and why not.
    pub state: PipelineState,
}

/// One step of a fold; a list of them leads from one sequence to the next.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Change {
    TableCreated(u32, String, Vec<usize>),
    TableDropped(u32),
    TableTruncated(u32),
    Added(u32, Row),
    Removed(u32, Row),
    PipelineSet(u32, Box<Pipeline>),
    PipelineDropped(u32),
    /// Its errors are cleared.
    ErrorsCleared(u32),
    /// A pipeline failed: its row in the errors table.
    Failed(Row),
}

/// The database at one sequence.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// By id.
    pub tables: BTreeMap<u32, Table>,
    /// By id.
    pub pipelines: BTreeMap<u32, Pipeline>,
    /// Rows of the errors table for failed sources, with their multiplicities.
    pub failures: BTreeMap<Row, u32>,
}

/// The fate of an incoming row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Fate {
    Inserted,
    Updated,
    Ignored,
    /// With its SQLSTATE.
    Rejected(&'static str),
}

impl Model {
    /// A new database.
    pub fn new() -> Model {
        let mut model = Model::default();
        model.tables.insert(ERRORS_TABLE.0, Table::new("pipelines_errors".into(), vec![]));
        model
    }

    /// Applies a change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::TableCreated(id, name, key) => {
                self.tables.insert(*id, Table::new(name.clone(), key.clone()));
            }
            Change::TableDropped(id) => {
                self.tables.remove(id);
            }
            Change::TableTruncated(id) => {
                let table = self.table(*id);
                *table = Table::new(table.name.clone(), table.key.clone());
                if *id == ERRORS_TABLE.0 {
                    self.failures.clear();
                }
            }
            Change::Added(id, row) => self.table(*id).insert(row.clone()),
            Change::Removed(id, row) => self.table(*id).remove(row),
            Change::PipelineSet(id, pipeline) => {
                self.pipelines.insert(*id, (**pipeline).clone());
            }
            Change::PipelineDropped(id) => {
                self.pipelines.remove(id);
                self.clear_errors(*id);
            }
            Change::ErrorsCleared(id) => self.clear_errors(*id),
            Change::Failed(row) => *self.failures.entry(row.clone()).or_default() += 1,
        }
    }

    fn clear_errors(&mut self, pipeline: u32) {
        let of_it = |row: &Row| row[0] == Value::Int(pipeline.into());
        self.failures.retain(|row, _| !of_it(row));
        let errors = self.table(ERRORS_TABLE.0);
        let gone: Vec<(Row, u32)> = errors
            .rows
            .iter()
            .filter(|(row, _)| of_it(row))
            .map(|(row, count)| (row.clone(), *count))
            .collect();
        for (row, count) in gone {
            (0..count).for_each(|_| errors.remove(&row));
        }
    }

    fn table(&mut self, id: u32) -> &mut Table {
        self.tables.get_mut(&id).expect("the table is there")
    }

    /// A table's id by its name.
    pub fn table_named(&self, name: &str) -> Option<u32> {
        self.tables.iter().find(|(_, t)| t.name == name).map(|(id, _)| *id)
    }
}

/// A model and the changes made to it since it was opened: one transaction.
pub struct Transaction<'m> {
    model: &'m mut Model,
    /// So far.
    pub changes: Vec<Change>,
}

impl<'m> Transaction<'m> {
    /// On top of a model.
    pub fn new(model: &'m mut Model) -> Transaction<'m> {
        Transaction { model, changes: Vec::new() }
    }

    /// As it is now.
    pub fn model(&self) -> &Model {
        self.model
    }

    /// Makes a change.
    pub fn apply(&mut self, change: Change) {
        self.model.apply(&change);
        self.changes.push(change);
    }

    /// Adds a failed pipeline's row to the errors table.
    pub fn fail(&mut self, def: &kernel::schema::PipelineDef, at_us: i64) {
        let PipelineState::Failed(error) = &def.state else { return };
        let text = |text: &str| Value::Text(text.into());
        let (code, why) = (text(error.sqlstate.as_str()), text(&error.to_string()));
        let told = [text(&def.name), Value::Int(at_us), text("source"), code, why];
        let row = [Value::Int(def.id.0.into())].into_iter().chain(told).chain(vec![Value::Null; 7]).collect();
        self.apply(Change::Failed(row));
    }

    /// Removes a row. False if it is not there.
    pub fn remove(&mut self, table: u32, row: &Row) -> bool {
        let there = self.model.tables.get(&table).is_some_and(|t| t.rows.contains_key(row));
        if there {
            self.apply(Change::Removed(table, row.clone()));
        }
        there
    }

    /// Adds one row, as a keyed or an append table does.
    pub fn upsert(&mut self, table: u32, duplicate: &Duplicate, incoming: Row) -> Fate {
        let state = &self.model.tables[&table];
        let stored = state.key_of(&incoming).and_then(|key| state.by_key.get(&key)).cloned();
        let Some(stored) = stored else {
            self.apply(Change::Added(table, incoming));
            return Fate::Inserted;
        };
        let outcome = match duplicate {
            Duplicate::Reject => Err(Fate::Rejected("23505")),
            Duplicate::Ignore => Err(Fate::Ignored),
            Duplicate::Replace => Ok(incoming),
            Duplicate::TakeIfGreater if incoming[1] > stored[1] => Ok(incoming),
            Duplicate::TakeIfGreater => Err(Fate::Ignored),
            Duplicate::Update(program) => {
                let hidden = stored.len() - 3;
                match expr::updated(program, &stored[..hidden], &incoming[..hidden]) {
                    Ok(Some(own)) => Ok([&own[..], &incoming[hidden..]].concat()),
                    Ok(None) => Err(Fate::Ignored),
                    Err(code) => Err(Fate::Rejected(code)),
                }
            }
            Duplicate::AddGains if incoming[1] <= Value::Int(0) => Err(Fate::Ignored),
            Duplicate::Add | Duplicate::AddGains => add(&stored[1], &incoming[1]).map(|sum| {
                // Unassigned columns stay; the provenance is that of the last change.
                let hidden = stored.len() - 3;
                let mut row = [&stored[..hidden], &incoming[hidden..]].concat();
                row[1] = sum;
                row
            }),
        };
        match outcome {
            Err(fate) => fate,
            Ok(row) => {
                self.apply(Change::Removed(table, stored));
                self.apply(Change::Added(table, row));
                Fate::Updated
            }
        }
    }
}

fn add(stored: &Value, incoming: &Value) -> Result<Value, Fate> {
    let (Value::Int(stored), Value::Int(incoming)) = (stored, incoming) else {
        panic!("the second column of a counter is a number")
    };
    stored.checked_add(*incoming).map(Value::Int).ok_or(Fate::Rejected("22003"))
}

/// The row of a message in a table of a shape: None if a column that may not be null has no value.
pub fn row_of(shape: TableShape, fields: &crate::scenario::Fields, origin: [i64; 3]) -> Option<Row> {
    let text = |t: &Option<String>| t.clone().map_or(Value::Null, Value::Text);
    let mut row: Row = match shape {
        TableShape::Events => vec![Value::Int(fields.id), text(&fields.name), Value::Int(fields.amount)],
        TableShape::Accounts => vec![text(&fields.name), Value::Int(fields.amount)],
        TableShape::Latest => vec![Value::Int(fields.k), Value::Int(fields.amount), text(&fields.tag)],
        TableShape::Wide(_) => wide::row(fields),
        TableShape::Ledger => vec![Value::Int(fields.id)],
    };
    let complete =
        row.iter().zip(shape.columns()).all(|(value, (_, _, nullable))| *nullable || *value != Value::Null);
    row.extend(origin.map(Value::Int));
    complete.then_some(row)
}
