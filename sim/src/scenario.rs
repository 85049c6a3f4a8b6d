//! The tables, pipelines and messages of the simulated users. The database gets them as definitions and decode plans;
//! the oracle reads them here in plain form.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use kernel::ColumnId;
use kernel::expr::{Arithmetic, Comparison, Expr, Literal, OnDuplicate, Update};
use kernel::message::TableSpec;
use kernel::schema::{ColumnDef, ColumnType};

use crate::broker::Payload;
use crate::csv::{Dialect, Flaw};
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

    /// Field of each column in a message.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            TableShape::Events => &["id", "name", "amount"],
            TableShape::Accounts => &["name", "amount"],
            TableShape::Latest => &["k", "amount", "tag"],
            TableShape::Wide(_) => wide::FIELDS,
            TableShape::Ledger => &["id"],
        }
    }

    /// The definition that a client sends.
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

/// What happens to a row whose key exists already.
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
    /// The same where the row brings more than nothing.
    AddGains,
    /// The second column and those after it are taken over if the second is greater.
    TakeIfGreater,
    /// The wide table is updated by any program.
    Update(Arc<Program>),
}

impl Duplicate {
    /// The kernel's form.
    pub fn lowered(&self, shape: TableShape) -> OnDuplicate {
        let (stored, incoming) =
            (|c| Box::new(Expr::Stored(ColumnId(c))), |c| Box::new(Expr::Incoming(ColumnId(c))));
        match self {
            Duplicate::Reject => OnDuplicate::Reject,
            Duplicate::Ignore => OnDuplicate::Ignore,
            Duplicate::Replace => OnDuplicate::Replace,
            Duplicate::Update(program) => OnDuplicate::Update(program.update.clone()),
            Duplicate::Add | Duplicate::AddGains => OnDuplicate::Update(Update {
                assignments: vec![(ColumnId(1), Expr::Arithmetic(Arithmetic::Add, stored(1), incoming(1)))],
                condition: (*self == Duplicate::AddGains).then(|| {
                    let nothing = Expr::Literal(Literal::Int(0), ColumnType::Int64);
                    Expr::Compare(Comparison::Greater, incoming(1), Box::new(nothing))
                }),
            }),
            Duplicate::TakeIfGreater => OnDuplicate::Update(Update {
                assignments: (1..shape.columns().len() as u32)
                    .map(|c| (ColumnId(c), Expr::Incoming(ColumnId(c))))
                    .collect(),
                condition: Some(Expr::Compare(Comparison::Greater, incoming(1), stored(1))),
            }),
        }
    }
}

/// SET of a pipeline's amount: a sum that may overflow, with a quotient that divides by zero now and then, or a null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// An amount with this remainder by [`Setting::FAILS_IN`] makes it divide by zero,
    pub fails_on: i64,
    /// one with this remainder by [`Setting::NULLS_IN`] makes it null.
    pub nulls_on: i64,
    /// Of any other it is the sum with this.
    pub adds: i64,
    /// True: the error names the rows that fail. False: all rows of one call fail together.
    pub names_rows: bool,
}

impl Setting {
    /// See `fails_on`.
    pub const FAILS_IN: i64 = 23;
    /// See `nulls_on`.
    pub const NULLS_IN: i64 = 29;

    /// What it makes of an amount; or the SQLSTATE and text of why it fails.
    pub fn value(self, amount: i64) -> Result<Option<i64>, (&'static str, &'static str)> {
        if amount.rem_euclid(Setting::FAILS_IN) == self.fails_on {
            return Err(("22012", "division by zero"));
        }
        if amount.rem_euclid(Setting::NULLS_IN) == self.nulls_on {
            return Ok(None);
        }
        amount.checked_add(self.adds).map(Some).ok_or(("22003", "bigint out of range"))
    }

    fn altered(self, alteration: u64) -> Setting {
        let fails_on = (self.fails_on + alteration as i64) % Setting::FAILS_IN;
        Setting { fails_on, adds: self.adds + alteration as i64 % 3, ..self }
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
    /// WHERE: rows whose amount is a multiple of this are filtered. 0: none is.
    pub filter_multiples_of: i64,
    /// SET of the amount, if there is one.
    pub setting: Option<Setting>,
    /// Which topic it reads.
    pub topic: usize,
    /// Error limit.
    pub error_limit: Option<u64>,
}

/// After this many alterations a rule is the original one again.
pub const ALTERATIONS_TURN: u64 = 20;

/// Between a pipeline's name and the number of an alteration, in its definition.
const ALTERED: &str = " altered ";

impl PipelineRule {
    /// The text of a definition: as the pipeline was created (0), or altered for the nth time.
    pub fn definition(name: &str, alteration: u64) -> String {
        if alteration == 0 { name.into() } else { format!("{name}{ALTERED}{alteration}") }
    }

    /// The rule of this definition.
    pub fn defined(&self, definition: &str) -> PipelineRule {
        let number = definition.rsplit_once(ALTERED).and_then(|(_, number)| number.parse().ok());
        self.altered(number.unwrap_or(0))
    }

    /// The rule after the nth alteration: its filter, its action on an existing key, its error limit.
    pub fn altered(&self, alteration: u64) -> PipelineRule {
        use Duplicate::{Add, Ignore, Reject, Replace, TakeIfGreater};
        let turned = |all: &[Duplicate]| {
            let before = all.iter().position(|duplicate| *duplicate == self.duplicate);
            before.map(|at| all[(at + alteration as usize) % all.len()].clone())
        };
        let duplicate = match self.shape {
            TableShape::Accounts => turned(&[Add, Replace]),
            TableShape::Latest => turned(&[Replace, Ignore, Reject, TakeIfGreater]),
            TableShape::Events | TableShape::Wide(_) | TableShape::Ledger => None,
        };
        let filters = [0, 2, 5, 3];
        let filter = filters.iter().position(|multiples| *multiples == self.filter_multiples_of);
        PipelineRule {
            duplicate: duplicate.unwrap_or(self.duplicate.clone()),
            filter_multiples_of: filter.map_or(0, |at| filters[(at + alteration as usize) % filters.len()]),
            setting: self.setting.map(|setting| setting.altered(alteration)),
            error_limit: self.error_limit.map(|limit| limit + alteration % 5),
            ..self.clone()
        }
    }
}

/// The fields of a row of a message.
#[derive(Clone, PartialEq, Debug)]
pub struct Fields {
    /// Unique among rows, except copies of messages.
    pub id: i64,
    /// One of a few.
    pub k: i64,
    /// One of a few, or null.
    pub name: Option<String>,
    /// A number; rarely a very large one.
    pub amount: i64,
    /// Anything, or null, or missing.
    pub tag: Option<String>,
    /// Fields for the wide table only.
    pub wide: Option<Box<Wide>>,
}

/// The fields of a message's rows, in order; the SQLSTATE where a row cannot be decoded.
pub type Meaning = Vec<Result<Fields, &'static str>>;

/// SQLSTATE of a message that no format can decode.
const NO_TEXT: &str = "22P02";

/// All messages ever written, with their meaning.
#[derive(Debug)]
pub struct Messages {
    meaning: BTreeMap<Bytes, Meaning>,
    tombstone: Meaning,
    /// Some of those written before, by topic.
    recent: BTreeMap<usize, VecDeque<Bytes>>,
    next_id: i64,
}

/// Messages that may be copied.
const RECENT: usize = 8;

/// The mix of messages.
#[derive(Clone, Copy, Debug)]
pub struct MessageMix {
    /// Amounts close to the greatest number, so that sums overflow.
    pub huge: Rate,
    /// Distinct keys.
    pub keys: u64,
    /// With fields for the wide table, if there is one.
    pub wide: Option<WideMix>,
    /// Most bytes of an oversized message: as a dead letter it must fit into a row of the errors table.
    pub oversized_bytes_max: u64,
    /// Each JSON object has a multiple of so many bytes, and no key, so that their sums can meet a limit exactly.
    pub multiples_of: usize,
    /// Padding of every text, so that records fill pages and log files.
    pub padding: usize,
}

impl Default for Messages {
    fn default() -> Messages {
        let tombstone = vec![Err(NO_TEXT)];
        Messages { meaning: BTreeMap::new(), tombstone, recent: BTreeMap::new(), next_id: 0 }
    }
}

impl Messages {
    /// The meaning of a message's value; None is a tombstone.
    pub fn meaning(&self, value: Option<&Bytes>) -> &Meaning {
        let known = |value| self.meaning.get(value).expect("every value was made here");
        value.map_or(&self.tombstone, known)
    }

    /// A new message for a topic, or another copy of an old one: JSON where it has no dialect of CSV.
    pub fn write(
        &mut self,
        d: &Decisions<'_>,
        mix: MessageMix,
        (topic, dialect): (usize, Option<Dialect>),
        now_us: i64,
    ) -> Payload {
        let wild = d.strikes(Fault::WildTimestamps);
        let timestamp_ms =
            if wild { d.pick(&[i64::MAX, i64::MIN, 0, -1, now_us + (1 << 50)]) } else { now_us / 1000 };
        let recent = self.recent.get(&topic).filter(|recent| !recent.is_empty());
        let value = match recent.filter(|_| d.strikes(Fault::EqualPayloads)) {
            Some(recent) => Some(recent[d.index(recent.len())].clone()),
            None => self.new_value(d, mix, topic, dialect),
        };
        let keyed = d.below(3) == 1 && mix.multiples_of == 1;
        let key = keyed.then(|| format!("key-{}", d.below(mix.keys)).into());
        Payload { timestamp_ms, key, value }
    }

    fn new_value(
        &mut self,
        d: &Decisions<'_>,
        mix: MessageMix,
        topic: usize,
        dialect: Option<Dialect>,
    ) -> Option<Bytes> {
        let (value, meaning) = match dialect {
            None => self.object(d, mix)?,
            Some(dialect) => self.lines(d, mix, dialect)?,
        };
        let value = Bytes::from(value);
        self.meaning.insert(value.clone(), meaning);
        let recent = self.recent.entry(topic).or_default();
        recent.push_back(value.clone());
        if recent.len() > RECENT {
            recent.pop_front();
        }
        Some(value)
    }

    /// A JSON object, or something else; None is a tombstone.
    fn object(&mut self, d: &Decisions<'_>, mix: MessageMix) -> Option<(Vec<u8>, Meaning)> {
        let (mut fields, number) = self.fields(d, mix);
        let (wide, members) = mix.wide.map(|mix| Wide::draw(d, &mix, number)).unzip();
        fields.wide = wide.map(Box::new);
        let (mut text, meaning) = match d.strikes(Fault::Poison) {
            true => (poison(d, &fields)?, Err(NO_TEXT)),
            false => (json(d, &fields, members.unwrap_or_default()).into_bytes(), Ok(fields)),
        };
        if d.strikes(Fault::Oversized) {
            // White space after it, more than a batch, a credit or a log file usually holds.
            text.extend(std::iter::repeat_n(b' ', d.between(2000, mix.oversized_bytes_max) as usize));
        }
        text.resize(text.len().next_multiple_of(mix.multiples_of), b' ');
        Some((text, vec![meaning]))
    }

    /// Lines of CSV, or something else; None is a tombstone.
    fn lines(&mut self, d: &Decisions<'_>, mix: MessageMix, dialect: Dialect) -> Option<(Vec<u8>, Meaning)> {
        let count = match d.below(8) {
            rows @ 0..6 => rows + 1,
            6 => 1,
            _ => 0,
        };
        let filler = d.strikes(Fault::Oversized).then(|| d.between(2000, mix.oversized_bytes_max) as usize);
        let (mut lines, mut meaning, mut bytes): (Vec<String>, Meaning, _) = (vec![], vec![], 0);
        for _ in 0..count {
            let (mut fields, number) = self.fields(d, mix);
            if let Some(Ok(before)) = meaning.last().filter(|_| d.below(4) == 1) {
                // One key twice in a message.
                (fields.k, fields.name) = (before.k, before.name.clone());
                fields.wide = before.wide.clone();
            } else {
                let values = |mix: WideMix| Box::new(Wide { values: mix.values(d, number, false) });
                fields.wide = mix.wide.map(values);
            }
            // One filler per message, so that a dead letter fits into a row of the errors table.
            let filler = filler.filter(|_| lines.is_empty()).unwrap_or(0);
            let line = dialect.line(d, &fields, filler);
            bytes += line.len() + 2;
            if !lines.is_empty() && bytes as u64 > mix.oversized_bytes_max {
                break;
            }
            lines.push(line);
            meaning.push(Ok(fields));
        }
        self.next_id += 1;
        let number = self.next_id;
        if d.strikes(Fault::Poison) {
            match d.below(6) {
                kind @ 0..4 => {
                    let flaw = Flaw::ALL[kind as usize];
                    let last = d.index(lines.len() + 1);
                    let at = if flaw == Flaw::NotClosed { lines.len() } else { last };
                    lines.insert(at, dialect.flawed_line(flaw, number));
                    meaning.insert(at, Err(flaw.code()));
                }
                4 => {
                    let text = dialect.message(d, lines, number).into_bytes();
                    return Some((no_text(d, text, number), vec![Err(NO_TEXT)]));
                }
                _ => return None,
            }
        }
        let text = dialect.message(d, lines, number).into_bytes();
        if text.is_empty() {
            meaning = vec![Err("22P04")];
        }
        Some((text, meaning))
    }

    /// The fields of a new row, without those of the wide table, and its number.
    fn fields(&mut self, d: &Decisions<'_>, mix: MessageMix) -> (Fields, u64) {
        self.next_id += 1;
        let id = self.next_id;
        let k = d.below(mix.keys) as i64;
        let name = (!d.chance(Rate::per_mille(30)))
            .then(|| format!("name-{}{:x<2$}", d.below(mix.keys), "", mix.padding));
        let amount =
            if d.chance(mix.huge) { i64::MAX - d.below(3) as i64 } else { d.below(2001) as i64 - 1000 };
        let tag = (d.below(3) > 0).then(|| format!("t\"ä\\{}{:x<2$}", d.below(100), "", mix.padding));
        (Fields { id, k, name, amount, tag, wide: None }, id as u64)
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

/// A message that no table can take; None is a tombstone.
fn poison(d: &Decisions<'_>, f: &Fields) -> Option<Vec<u8>> {
    let id = f.id;
    let text = match d.below(6) {
        0 => format!("{{\"id\":{id},\"amount\":"),
        1 => format!("not json at all, number {id}"),
        2 => format!("{{\"id\":{id},\"k\":1,\"name\":\"x\",{},\"amount\":\"many\"}}", wide::WHATEVER_MEMBERS),
        3 => format!("[{id}]"),
        4 => return Some(no_text(d, format!("{{\"id\":{id},\"name\":\"x\"}}").into_bytes(), id)),
        _ => return None,
    };
    Some(text.into_bytes())
}

/// Bytes that are not valid text, and unique.
fn no_text(d: &Decisions<'_>, mut text: Vec<u8>, number: i64) -> Vec<u8> {
    text.extend(number.to_string().bytes());
    let at = d.index(text.len() + 1);
    text.insert(at, d.pick(&[0xff, 0xc0, 0xfe]));
    text
}
