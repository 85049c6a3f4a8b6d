//! What the simulated users of the database agree on: the tables, the pipelines and the messages. The database is told in its own
//! terms (definitions, decode plans); the oracle reads the same things here in plain ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use kernel::ColumnId;
use kernel::expr::{Arithmetic, Comparison, Expr, OnDuplicate, Update};
use kernel::message::TableSpec;
use kernel::schema::{ColumnDef, ColumnType};

use crate::broker::Payload;
use crate::decide::{Decisions, Rate};
use crate::fault::Fault;
use crate::program::Program;
use crate::wide::{self, Layout, Wide, WideMix};

/// Shape of a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TableShape {
    /// `(id, name, amount)`: an append table, one row a message.
    Events,
    /// `(name primary key, balance)`: counters.
    Accounts,
    /// `(k primary key, amount, tag)`: the state of things.
    Latest,
    /// A column of every type: see [`crate::wide`].
    Wide(Layout),
    /// `(request)`: an append table into which every client transaction puts its number.
    Ledger,
}

impl TableShape {
    /// Columns: name, type, nullable.
    pub fn columns(self) -> &'static [(&'static str, ColumnType, bool)] {
        use ColumnType::{Int64, Text};
        match self {
            TableShape::Events => &[("id", Int64, false), ("name", Text, true), ("amount", Int64, false)],
            TableShape::Accounts => &[("name", Text, false), ("balance", Int64, false)],
            TableShape::Latest => &[("k", Int64, false), ("amount", Int64, false), ("tag", Text, true)],
            TableShape::Wide(layout) => layout.columns(),
            TableShape::Ledger => &[("request", Int64, false)],
        }
    }

    /// Ordinals of the primary key.
    pub fn key(self) -> &'static [u16] {
        match self {
            TableShape::Accounts | TableShape::Latest => &[0],
            TableShape::Wide(layout) => layout.key(),
            TableShape::Events | TableShape::Ledger => &[],
        }
    }

    /// Where a message has the value of each column.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            TableShape::Events => &["id", "name", "amount"],
            TableShape::Accounts => &["name", "amount"],
            TableShape::Latest => &["k", "amount", "tag"],
            TableShape::Wide(_) => wide::FIELDS,
            TableShape::Ledger => &["id"],
        }
    }

    /// The definition, as a client sends it.
    pub fn spec(self, name: &str, sharded_by_all: bool) -> TableSpec {
        let column = |(i, (name, column_type, nullable)): (usize, &(&str, ColumnType, bool))| ColumnDef {
            id: ColumnId(i as u32),
            name: (*name).into(),
            column_type: *column_type,
            nullable: *nullable,
            default_sql: None,
        };
        let primary_key = self.key().to_vec();
        let shard_key = match self {
            _ if sharded_by_all => vec![],
            TableShape::Wide(layout) => layout.shard_key().to_vec(),
            _ => vec![0],
        };
        TableSpec {
            name: name.into(),
            columns: self.columns().iter().enumerate().map(column).collect(),
            primary_key,
            shard_key,
            sort_key: vec![],
        }
    }
}

/// What happens to a row whose key is there already.
#[derive(Clone, PartialEq, Debug)]
pub enum Duplicate {
    /// Refused.
    Reject,
    /// Dropped.
    Ignore,
    /// Takes its place.
    Replace,
    /// The second column is added up; an overflow refuses the row.
    Add,
    /// The second column and those after it are taken over if the second is greater.
    TakeIfGreater,
    /// The wide table is updated by any program.
    Update(Arc<Program>),
}

impl Duplicate {
    /// As the kernel is told.
    pub fn lowered(&self, shape: TableShape) -> OnDuplicate {
        let (stored, incoming) = (|c| Box::new(Expr::Stored(c)), |c| Box::new(Expr::Incoming(c)));
        match self {
            Duplicate::Reject => OnDuplicate::Reject,
            Duplicate::Ignore => OnDuplicate::Ignore,
            Duplicate::Replace => OnDuplicate::Replace,
            Duplicate::Update(program) => OnDuplicate::Update(program.update.clone()),
            Duplicate::Add => OnDuplicate::Update(Update {
                assignments: vec![(1, Expr::Arithmetic(Arithmetic::Add, stored(1), incoming(1)))],
                condition: None,
            }),
            Duplicate::TakeIfGreater => OnDuplicate::Update(Update {
                assignments: (1..shape.columns().len() as u16).map(|c| (c, Expr::Incoming(c))).collect(),
                condition: Some(Expr::Compare(Comparison::Greater, incoming(1), stored(1))),
            }),
        }
    }
}

/// What a pipeline does, in plain terms.
#[derive(Clone, PartialEq, Debug)]
pub struct PipelineRule {
    /// Its name.
    pub name: String,
    /// Table that it loads.
    pub table: String,
    /// Shape of that table.
    pub shape: TableShape,
    /// What happens on an existing key.
    pub duplicate: Duplicate,
    /// WHERE: messages whose amount is a multiple of this are filtered. 0: none is.
    pub filter_multiples_of: i64,
    /// Which topic it reads.
    pub topic: usize,
    /// Messages that may be set aside in a run.
    pub error_limit: Option<u64>,
}

/// What a message says.
#[derive(Clone, PartialEq, Debug)]
pub struct Fields {
    /// Unique among messages, but for copies.
    pub id: i64,
    /// One of a few.
    pub k: i64,
    /// One of a few, or null.
    pub name: Option<String>,
    /// A number; rarely a very large one.
    pub amount: i64,
    /// Anything, or null, or missing.
    pub tag: Option<String>,
    /// What only the wide table wants, where there is one.
    pub wide: Option<Box<Wide>>,
}

/// All messages that were ever written, and what each says; None for those that cannot be decoded.
#[derive(Debug, Default)]
pub struct Messages {
    meaning: BTreeMap<Bytes, Option<Fields>>,
    /// Some of those written before.
    recent: VecDeque<Bytes>,
    next_id: i64,
}

/// What sort of messages are written.
#[derive(Clone, Copy, Debug)]
pub struct MessageMix {
    /// Amounts close to the greatest number, so that sums overflow.
    pub huge: Rate,
    /// Distinct keys.
    pub keys: u64,
    /// With what the wide table wants, if there is one.
    pub wide: Option<WideMix>,
    /// Most bytes of an oversized message: set aside whole, it has to fit into a row of the errors table.
    pub oversized_bytes_max: u64,
    /// Bytes by which every text is longer than it needs to be, so that records fill pages and segments.
    pub padding: usize,
}

impl Messages {
    /// What a payload says.
    pub fn meaning(&self, payload: &Bytes) -> Option<&Fields> {
        self.meaning.get(payload).expect("every payload was made here").as_ref()
    }

    /// A new message, or another copy of an old one.
    pub fn write(&mut self, d: &Decisions<'_>, mix: MessageMix, now_us: i64) -> Payload {
        let wild = d.strikes(Fault::WildTimestamps);
        let timestamp_ms =
            if wild { d.pick(&[i64::MAX, i64::MIN, 0, -1, now_us + (1 << 50)]) } else { now_us / 1000 };
        let copied = !self.recent.is_empty() && d.strikes(Fault::EqualPayloads);
        let value =
            if copied { self.recent[d.index(self.recent.len())].clone() } else { self.compose(d, mix) };
        let key = (d.below(3) == 1).then(|| format!("key-{}", d.below(mix.keys)).into());
        Payload { timestamp_ms, key, value: Some(value) }
    }

    fn compose(&mut self, d: &Decisions<'_>, mix: MessageMix) -> Bytes {
        self.next_id += 1;
        let id = self.next_id;
        let k = d.below(mix.keys) as i64;
        let name = (!d.chance(Rate::per_mille(30)))
            .then(|| format!("name-{}{:x<2$}", d.below(mix.keys), "", mix.padding));
        let amount =
            if d.chance(mix.huge) { i64::MAX - d.below(3) as i64 } else { d.below(2001) as i64 - 1000 };
        let tag = (d.below(3) > 0).then(|| format!("t\"ä\\{}{:x<2$}", d.below(100), "", mix.padding));
        let (wide, members) = mix.wide.map(|mix| Wide::draw(d, &mix, id as u64)).unzip();
        let fields = Fields { id, k, name, amount, tag, wide: wide.map(Box::new) };
        let (mut text, meaning) = match d.strikes(Fault::Poison) {
            true => poison(d, &fields),
            false => (json(d, &fields, members.unwrap_or_default()), Some(fields)),
        };
        if d.strikes(Fault::Oversized) {
            // White space behind it, beyond what a batch, a credit or a segment usually holds.
            text.extend(std::iter::repeat_n(' ', d.between(2000, mix.oversized_bytes_max) as usize));
        }
        let value = Bytes::from(text);
        self.meaning.insert(value.clone(), meaning);
        self.recent.push_back(value.clone());
        if self.recent.len() > 8 {
            self.recent.pop_front();
        }
        value
    }
}

fn json(d: &Decisions<'_>, f: &Fields, wide: Vec<String>) -> String {
    let escape = |s: &str| s.replace('\\', "\\\\").replace('"', "\\\"");
    let text = |s: &Option<String>| s.as_ref().map_or("null".to_string(), |s| format!("\"{}\"", escape(s)));
    let mut members = vec![
        format!("\"id\":{}", f.id),
        format!("\"k\": {}", f.k),
        format!("\"name\":{}", text(&f.name)),
        format!("\"amount\" : {}", f.amount),
    ];
    if f.tag.is_some() || d.below(2) == 0 {
        members.push(format!("\"tag\":{}", text(&f.tag)));
    }
    if d.below(4) == 0 {
        members.push("\"extra\":{\"deep\":[1,2,{\"id\":-1}]}".into());
    }
    members.extend(wide);
    let turn = d.index(members.len());
    members.rotate_left(turn);
    format!("{{{}}}", members.join(","))
}

/// A message that no table can take.
fn poison(d: &Decisions<'_>, f: &Fields) -> (String, Option<Fields>) {
    let id = f.id;
    let text = match d.below(4) {
        0 => format!("{{\"id\":{id},\"amount\":"),
        1 => format!("not json at all, number {id}"),
        2 => format!("{{\"id\":{id},\"k\":1,\"name\":\"x\",{},\"amount\":\"many\"}}", wide::WHATEVER_MEMBERS),
        _ => format!("[{id}]"),
    };
    (text, None)
}
