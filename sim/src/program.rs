//! Updates of the wide table, drawn at random: expressions of every kind over all of its columns, well-typed ones and,
//! to be refused, ill-typed ones. The oracle computes their results.

use kernel::expr::{Arithmetic, Comparison, Expr, Literal, OnDuplicate, Quotient, Update};
use kernel::schema::{ColumnType, TableDef};
use kernel::{ColumnId, SqlState};

use crate::decide::Decisions;
use crate::oracle::value::Value;
use crate::wide::{Layout, edges, is_text, plain};

/// An update, and the table that it is of.
#[derive(Clone, PartialEq, Debug)]
pub struct Program {
    /// Of the table.
    pub layout: Layout,
    /// As the kernel gets it.
    pub update: Update,
}

const DEPTH_MAX: u32 = 3;

const ARITHMETIC: [Arithmetic; 5] = {
    use Arithmetic::*;
    [Add, Subtract, Multiply, Divide, Remainder]
};

const COMPARISONS: [Comparison; 6] = {
    use Comparison::*;
    [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual]
};

/// Types of columns, and some that only intermediate values have.
const NUMBERS: [ColumnType; 9] = {
    use ColumnType::*;
    [
        Int16,
        Int32,
        Int64,
        Float32,
        Float64,
        Decimal { precision: 18, scale: 4 },
        Decimal { precision: 38, scale: 6 },
        Decimal { precision: 9, scale: -2 },
        Decimal { precision: 5, scale: 2 },
    ]
};

const DECIMALS: [ColumnType; 4] = [NUMBERS[5], NUMBERS[6], NUMBERS[7], NUMBERS[8]];

impl Program {
    /// Any of a layout's.
    pub fn draw(d: &Decisions<'_>, layout: Layout) -> Program {
        Program::draw_as(Draw { d, layout, stored: true, rough: false })
    }

    /// An update of a layout with more special cases: near-folds, constants at the bounds of their types.
    pub fn draw_rough(d: &Decisions<'_>, layout: Layout) -> Program {
        Program::draw_as(Draw { d, layout, stored: true, rough: true })
    }

    /// One that assigns a column or two, numbers mostly: so that one failure hides no others.
    pub fn draw_short(d: &Decisions<'_>, layout: Layout) -> Program {
        let draw = Draw { d, layout, stored: true, rough: true };
        let all: Vec<usize> = layout.assignable_columns().collect();
        let is_number = |column: &usize| NUMBERS.contains(&draw.type_of(*column));
        let numbers: Vec<usize> = all.iter().copied().filter(is_number).collect();
        let mut assignments: Vec<(ColumnId, Expr)> = Vec::new();
        for _ in 0..d.pick(&[0, 1, 1, 1, 2]) {
            let column = d.pick(if d.below(3) == 0 { &all } else { &numbers });
            if assignments.iter().all(|(other, _)| *other != id(column)) {
                let expr = match d.below(4) {
                    0 => draw.fold(column),
                    _ => draw.expr(draw.type_of(column), d.between(1, 2) as u32),
                };
                assignments.push((id(column), expr));
            }
        }
        let conditional = assignments.is_empty() || d.below(4) == 1;
        let condition = conditional.then(|| draw.expr(ColumnType::Bool, 2));
        Program { layout, update: Update { assignments, condition } }
    }

    fn draw_as(draw: Draw<'_, '_>) -> Program {
        let (d, layout) = (draw.d, draw.layout);
        let all_fold = d.below(2) == 1;
        let one_in = d.between(1, 6);
        let mut assignments = Vec::new();
        for column in layout.assignable_columns() {
            if d.below(one_in) == 0 {
                let expr =
                    if all_fold { draw.fold(column) } else { draw.expr(draw.type_of(column), DEPTH_MAX) };
                assignments.push((id(column), expr));
            }
        }
        if d.below(2) == 1 {
            assignments.reverse();
        }
        let conditional = !all_fold && d.below(2) == 1;
        let condition = conditional.then(|| draw.expr(ColumnType::Bool, DEPTH_MAX));
        Program { layout, update: Update { assignments, condition } }
    }

    /// Whether every assignment is a fold as `kernel::shard` documents it: `c = x`, `c = c + x`, `c = greatest(c, x)`
    /// and their like, without a condition and where x does not read the stored row.
    pub fn folds(&self) -> bool {
        let is_fold = |(column, expr): &(ColumnId, Expr)| {
            let is_own = |e: &Expr| *e == Expr::Stored(*column);
            let looks_at_stored = |e: &Expr| format!("{e:?}").contains("Stored(");
            let column_type = self.layout.columns()[column.0 as usize].1;
            match expr {
                Expr::Arithmetic(Arithmetic::Add, a, b) if is_own(a) || is_own(b) => {
                    !looks_at_stored(if is_own(a) { b } else { a })
                }
                Expr::Arithmetic(Arithmetic::Subtract, a, b) if is_own(a) => !looks_at_stored(b),
                Expr::Greatest(of) | Expr::Least(of) if of.len() == 2 && is_own(&of[0]) => {
                    !looks_at_stored(&of[1]) && column_type != ColumnType::Bool && !is_text(column_type)
                }
                other => !looks_at_stored(other),
            }
        };
        self.update.condition.is_none() && self.update.assignments.iter().all(is_fold)
    }

    /// What a table of this layout must refuse.
    pub fn draw_misfit(d: &Decisions<'_>, layout: Layout) -> OnDuplicate {
        let Update { mut assignments, mut condition } = Program::draw(d, layout).update;
        let draw = Draw { d, layout, stored: true, rough: false };
        let column = d.pick(&layout.assignable_columns().collect::<Vec<_>>());
        let column_type = draw.type_of(column);
        assignments.retain(|(other, _)| *other != id(column));
        let mut assign = |column: usize, expr: Expr| {
            let place = d.index(assignments.len() + 1);
            assignments.insert(place, (id(column), expr));
        };
        match d.below(6) {
            0 => {
                let key = usize::from(layout.key()[0]);
                assign(key, Expr::Incoming(id(key)))
            }
            1 => assign(layout.columns().len(), draw.leaf(ColumnType::Text)),
            2 => (0..2).for_each(|_| assign(column, draw.expr(column_type, 1))),
            3 => assign(column, draw.expr(draw.unlike(column_type), 1)),
            4 => condition = Some(draw.expr(draw.unlike(ColumnType::Bool), 1)),
            _ => assign(column, draw.around(draw.misfit(), column_type)),
        }
        OnDuplicate::Update(Update { assignments, condition })
    }
}

/// A rule whose columns are ordinals, with the ids of a table's columns.
pub fn of_table(on_duplicate: OnDuplicate, table: &TableDef) -> OnDuplicate {
    let OnDuplicate::Update(Update { assignments, condition }) = on_duplicate else { return on_duplicate };
    let id = |ordinal: ColumnId| {
        let column = table.columns.get(ordinal.0 as usize);
        column.map_or(ColumnId(u32::MAX - ordinal.0), |column| column.id)
    };
    let assignments = assignments.iter().map(|(column, expr)| (id(*column), with_ids(expr, &id))).collect();
    OnDuplicate::Update(Update { assignments, condition: condition.map(|expr| with_ids(&expr, &id)) })
}

fn with_ids(expr: &Expr, id: &impl Fn(ColumnId) -> ColumnId) -> Expr {
    let one = |expr: &Expr| Box::new(with_ids(expr, id));
    let all = |operands: &[Expr]| operands.iter().map(|expr| with_ids(expr, id)).collect();
    match expr {
        Expr::Stored(column) => Expr::Stored(id(*column)),
        Expr::Incoming(column) => Expr::Incoming(id(*column)),
        Expr::Literal(..) => expr.clone(),
        Expr::Arithmetic(operator, a, b) => Expr::Arithmetic(*operator, one(a), one(b)),
        Expr::Quotient(how, a, b) => Expr::Quotient(*how, one(a), one(b)),
        Expr::Negate(a) => Expr::Negate(one(a)),
        Expr::Compare(operator, a, b) => Expr::Compare(*operator, one(a), one(b)),
        Expr::And(a, b) => Expr::And(one(a), one(b)),
        Expr::Or(a, b) => Expr::Or(one(a), one(b)),
        Expr::Not(a) => Expr::Not(one(a)),
        Expr::IsNull(a) => Expr::IsNull(one(a)),
        Expr::Coalesce(operands) => Expr::Coalesce(all(operands)),
        Expr::Greatest(operands) => Expr::Greatest(all(operands)),
        Expr::Least(operands) => Expr::Least(all(operands)),
        Expr::Case(branches, otherwise) => {
            let branch = |(condition, value): &(Expr, Expr)| (*one(condition), *one(value));
            Expr::Case(branches.iter().map(branch).collect(), one(otherwise))
        }
        Expr::Concat(a, b) => Expr::Concat(one(a), one(b)),
        Expr::Cast(a, column_type) => Expr::Cast(one(a), *column_type),
    }
}

/// The id of a column: its ordinal, as in every table that was created and never altered.
fn id(column: usize) -> ColumnId {
    ColumnId(column as u32)
}

/// How [`ON DUPLICATE KEY`](OnDuplicate) of an ill-typed update is refused.
pub const MISFIT: SqlState = SqlState::INVALID_PARAMETER_VALUE;

/// Draws expressions.
struct Draw<'d, 'a> {
    d: &'d Decisions<'a>,
    layout: Layout,
    /// Whether they may read the stored row.
    stored: bool,
    /// With more special cases.
    rough: bool,
}

fn two(make: impl FnOnce(Box<Expr>, Box<Expr>) -> Expr, a: Expr, b: Expr) -> Expr {
    make(Box::new(a), Box::new(b))
}

impl<'d, 'a> Draw<'d, 'a> {
    fn type_of(&self, column: usize) -> ColumnType {
        self.layout.columns()[column].1
    }

    fn any_type(&self) -> ColumnType {
        self.type_of(self.d.index(self.layout.columns().len()))
    }

    /// A column's type that is another one in memory, too.
    fn unlike(&self, column_type: ColumnType) -> ColumnType {
        let types = self.layout.columns().iter().map(|column| column.1);
        let types: Vec<ColumnType> = types.filter(|other| other.arrow() != column_type.arrow()).collect();
        self.d.pick(&types)
    }

    /// Without the stored row.
    fn of_incoming(&self) -> Draw<'d, 'a> {
        Draw { stored: false, layout: self.layout, d: self.d, rough: self.rough }
    }

    /// Folds and near-folds.
    fn fold(&self, column: usize) -> Expr {
        let column_type = self.type_of(column);
        let stored = Expr::Stored(id(column));
        let odd = self.rough && self.d.below(8) == 1;
        let incoming = match odd {
            true => self.expr(column_type, 1),
            false => self.of_incoming().expr(column_type, self.d.below(3) as u32),
        };
        let arithmetic = |operator, a, b| two(|a, b| Expr::Arithmetic(operator, a, b), a, b);
        let first_of_sum = if NUMBERS.contains(&column_type) { 0 } else { 4 };
        match first_of_sum + self.d.below(9 - first_of_sum) {
            0 | 1 => arithmetic(Arithmetic::Add, stored, incoming),
            2 => arithmetic(Arithmetic::Add, incoming, stored),
            3 => arithmetic(Arithmetic::Subtract, stored, incoming),
            4 => Expr::Greatest(vec![stored, incoming]),
            5 => Expr::Least(vec![stored, incoming]),
            6 | 7 => incoming,
            _ => match self.d.below(24) {
                0 => Expr::Least(vec![incoming, stored]),
                1 => Expr::Greatest(vec![stored, incoming.clone(), incoming]),
                2 if first_of_sum == 0 => arithmetic(Arithmetic::Subtract, incoming, stored),
                3 if first_of_sum == 0 => arithmetic(Arithmetic::Multiply, stored, incoming),
                4 => self.expr(column_type, 1),
                _ => incoming,
            },
        }
    }

    /// Of a type.
    fn expr(&self, wanted: ColumnType, depth: u32) -> Expr {
        let d = self.d;
        if depth == 0 || d.below(3) == 0 {
            return self.leaf(wanted);
        }
        let same = || self.expr(wanted, depth - 1);
        let some = |most: u64| (0..d.between(1, most)).map(|_| same()).collect::<Vec<_>>();
        let boxed = |column_type| Box::new(self.expr(column_type, depth - 1));
        let truth = || boxed(ColumnType::Bool);
        let forms = match wanted {
            _ if NUMBERS.contains(&wanted) => 12,
            ColumnType::Bool => 12,
            ColumnType::Text | ColumnType::Varchar { .. } => 8,
            _ => 5,
        };
        match d.below(forms) {
            0 => Expr::Coalesce(some(3)),
            1 => Expr::Greatest(some(3)),
            2 => Expr::Least(some(3)),
            3 | 4 => {
                let branches = (0..d.below(3)).map(|_| (*truth(), same())).collect();
                Expr::Case(branches, Box::new(same()))
            }
            number if wanted == ColumnType::Bool => match number {
                5..=7 => {
                    let operands = self.any_type();
                    Expr::Compare(d.pick(&COMPARISONS), boxed(operands), boxed(operands))
                }
                8 => Expr::And(truth(), truth()),
                9 => Expr::Or(truth(), truth()),
                10 => Expr::Not(truth()),
                _ => Expr::IsNull(boxed(self.any_type())),
            },
            // A text that grows with each update would become too long.
            5 | 6 if wanted == ColumnType::Text => {
                let incoming = self.of_incoming();
                two(Expr::Concat, incoming.leaf(wanted), incoming.leaf(wanted))
            }
            7 if wanted == ColumnType::Text => {
                Expr::Cast(boxed(d.pick(&[ColumnType::Json, ColumnType::Uuid])), wanted)
            }
            5..=7 if wanted.max_chars().is_some() => Expr::Cast(boxed(ColumnType::Text), wanted),
            5..=8 => match (d.pick(&ARITHMETIC), wanted) {
                (Arithmetic::Divide, ColumnType::Decimal { .. }) if d.below(2) == 0 => {
                    let how = Quotient { to: wanted, rounded: d.below(3) > 0, places_known: d.below(2) == 0 };
                    Expr::Quotient(how, boxed(d.pick(&DECIMALS)), boxed(d.pick(&DECIMALS)))
                }
                (operator, _) => Expr::Arithmetic(operator, boxed(wanted), boxed(wanted)),
            },
            9 => Expr::Negate(boxed(wanted)),
            _ => Expr::Cast(boxed(d.pick(&NUMBERS)), wanted),
        }
    }

    /// A column or a constant.
    fn leaf(&self, wanted: ColumnType) -> Expr {
        let of_type = |column: &usize| self.type_of(*column) == wanted;
        let columns: Vec<usize> = (0..self.layout.columns().len()).filter(of_type).collect();
        if columns.is_empty() || self.d.below(4) == 1 {
            return self.constant(wanted);
        }
        let column = id(self.d.pick(&columns));
        if self.stored && self.d.below(2) == 1 { Expr::Stored(column) } else { Expr::Incoming(column) }
    }

    fn constant(&self, column_type: ColumnType) -> Expr {
        let value = match self.d.below(if self.rough { 4 } else { 8 }) {
            1 => Value::Null,
            2 => self.d.pick(&edges(column_type)),
            _ => plain(column_type, self.d.below(16)),
        };
        // A NaN does not equal itself, so an update with one cannot be compared. Messages have some.
        let value = if value == Value::float(f64::NAN) { plain(column_type, 1) } else { value };
        Expr::Literal(literal(value, column_type), column_type)
    }

    /// Something ill-typed.
    fn misfit(&self) -> Expr {
        use ColumnType::{Bool, Bytea, Date, Decimal, Int16, Int32, Int64, Text};
        let d = self.d;
        let leaf = |column_type| Box::new(self.leaf(column_type));
        let unlike = |column_type| leaf(self.unlike(column_type));
        let any = self.any_type();
        let number = d.pick(&NUMBERS);
        let in_order = |a: Box<Expr>, b: Box<Expr>| if d.below(2) == 0 { (a, b) } else { (b, a) };
        let operator = d.pick(&ARITHMETIC);
        let price = Decimal { precision: 18, scale: 4 };
        match d.below(17) {
            0 => {
                let (a, b) = in_order(leaf(number), unlike(number));
                Expr::Arithmetic(operator, a, b)
            }
            1 => Expr::Arithmetic(operator, leaf(Text), leaf(Text)),
            2 => Expr::Negate(leaf(d.pick(&[Bool, Text, Bytea, Date]))),
            3 => {
                let (a, b) = in_order(leaf(any), unlike(any));
                Expr::Compare(d.pick(&COMPARISONS), a, b)
            }
            4 => {
                let (a, b) = in_order(leaf(Bool), unlike(Bool));
                if d.below(2) == 0 { Expr::And(a, b) } else { Expr::Or(a, b) }
            }
            5 => Expr::Not(unlike(Bool)),
            6 => {
                let (a, b) = in_order(leaf(any), unlike(any));
                d.pick(&[Expr::Coalesce as fn(Vec<Expr>) -> Expr, Expr::Greatest, Expr::Least])(vec![*a, *b])
            }
            7 => d.pick(&[Expr::Coalesce(vec![]), Expr::Greatest(vec![]), Expr::Least(vec![])]),
            8 => Expr::Case(vec![(*unlike(Bool), *leaf(any))], leaf(any)),
            9 => {
                let (a, b) = in_order(leaf(any), unlike(any));
                Expr::Case(vec![(*leaf(Bool), *a)], b)
            }
            10 => {
                let (a, b) = in_order(leaf(Text), unlike(Text));
                Expr::Concat(a, b)
            }
            11 => Expr::Cast(leaf(d.pick(&[Bool, Text, Date])), number),
            12 => Expr::Cast(leaf(number), d.pick(&[Bool, Text, Date])),
            13 => Expr::Stored(id(self.layout.columns().len())),
            14 => Expr::Incoming(id(self.layout.columns().len() + 3)),
            15 => {
                let (int, column_type) = d.pick(&[
                    (i64::from(i16::MAX) + 1, Int16),
                    (i64::from(i16::MIN) - 1, Int16),
                    (i64::from(i32::MAX) + 1, Int32),
                    (1, Text),
                    (1, price),
                    (0, Bool),
                ]);
                Expr::Literal(Literal::Int(int), column_type)
            }
            _ => {
                let (constant, column_type) = d.pick(&[
                    (Literal::Decimal(1, 3), price),
                    (Literal::Decimal(10i128.pow(18), 4), price),
                    (Literal::Float(1.0), Int64),
                    (Literal::Text("1".into()), Int64),
                    (Literal::Bool(true), Int64),
                    (Literal::Date(1), Int32),
                ]);
                Expr::Literal(constant, column_type)
            }
        }
    }

    /// A well-typed expression around an ill-typed one.
    fn around(&self, inner: Expr, wanted: ColumnType) -> Expr {
        let other = || self.leaf(wanted);
        let is_null = Expr::IsNull(Box::new(inner));
        match self.d.below(4) {
            0 => Expr::Case(vec![(is_null, other())], Box::new(other())),
            1 => {
                let both = two(Expr::And, self.leaf(ColumnType::Bool), is_null);
                Expr::Case(vec![(both, other())], Box::new(other()))
            }
            2 => {
                let either = two(Expr::Or, Expr::Not(Box::new(is_null)), self.leaf(ColumnType::Bool));
                Expr::Coalesce(vec![other(), Expr::Case(vec![(either, other())], Box::new(other()))])
            }
            _ => {
                let last = Expr::Case(vec![(is_null, other())], Box::new(other()));
                Expr::Case(vec![(self.leaf(ColumnType::Bool), other())], Box::new(last))
            }
        }
    }
}

fn literal(value: Value, column_type: ColumnType) -> Literal {
    let int = value.integer().unwrap_or_default();
    match (value, column_type) {
        (Value::Null, _) => Literal::Null,
        (Value::Text(text), ColumnType::Bytea) => Literal::Bytes(text.into_bytes()),
        (Value::Text(text), _) => Literal::Text(text),
        (Value::Float(bits), _) => Literal::Float(f64::from_bits(bits)),
        (_, ColumnType::Bool) => Literal::Bool(int == 1),
        (_, ColumnType::Decimal { scale, .. }) => Literal::Decimal(int, scale),
        (_, ColumnType::Date) => Literal::Date(int as i32),
        (_, ColumnType::Timestamp | ColumnType::TimestampTz) => Literal::Timestamp(int as i64),
        _ => Literal::Int(int as i64),
    }
}
