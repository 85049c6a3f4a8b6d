//! The wide table: a column of every type, a key of two columns, an update with every kind of expression. What the database is
//! told of it and what messages say for it. What must come of it is computed in `oracle::wide`, from the same plain values.

use kernel::expr::{Arithmetic, Comparison, Expr, Literal, Update};
use kernel::schema::ColumnType;

use crate::decide::Decisions;

/// Columns: name, type, nullable. The first two are the primary key, the second is the shard key.
pub const COLUMNS: &[(&str, ColumnType, bool)] = &[
    ("day", ColumnType::Date, false),
    ("code", ColumnType::Text, false),
    ("flag", ColumnType::Bool, true),
    ("small", ColumnType::Int16, true),
    ("mid", ColumnType::Int32, false),
    ("total", ColumnType::Int64, false),
    ("real", ColumnType::Float32, true),
    ("ratio", ColumnType::Float64, true),
    ("price", ColumnType::Decimal { precision: 18, scale: 4 }, true),
    ("note", ColumnType::Text, true),
    ("doc", ColumnType::Json, true),
    ("ident", ColumnType::Uuid, true),
    ("raw", ColumnType::Bytea, true),
    ("at", ColumnType::Timestamp, true),
    ("seen", ColumnType::TimestampTz, true),
];

/// Where a message has the value of each column.
pub const FIELDS: &[&str] = &[
    "day", "name", "flag", "small", "mid", "amount", "real", "ratio", "price", "note", "doc", "ident", "raw",
    "at", "seen",
];

/// Rows whose `small` is this are left as they are by an update.
pub const LEFT_ALONE: i16 = 13;
/// What `mid` is reduced by when both rows have the same `small`.
pub const MODULUS: i32 = 97;

/// What a message says for the columns that other tables do not have, in plain terms.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Wide {
    /// Days since 1970-01-01.
    pub day: Option<i32>,
    pub flag: Option<bool>,
    pub small: Option<i16>,
    pub mid: Option<i32>,
    /// Eighths.
    pub real: Option<i32>,
    /// Eighths.
    pub ratio: Option<i32>,
    /// Ten-thousandths.
    pub price: Option<i64>,
    pub note: Option<String>,
    pub doc: Option<&'static str>,
    pub ident: Option<String>,
    pub raw: Option<String>,
    /// Microseconds since 1970-01-01.
    pub at: Option<i64>,
    /// Microseconds since 1970-01-01 UTC.
    pub seen: Option<i64>,
}

const DOCUMENTS: [&str; 5] =
    ["{\"a\":[1,2,{\"b\":null}]}", "[]", "\"text\"", "12.50", "{\"ä\" : \"\\u00e4\"}"];

/// One in eight values is null.
fn some<T>(d: &Decisions<'_>, value: impl FnOnce() -> T) -> Option<T> {
    (d.below(8) != 1).then(value)
}

impl Wide {
    /// Values for a message, and its members of the JSON object.
    pub fn draw(d: &Decisions<'_>, id: i64) -> (Wide, Vec<String>) {
        let small = || match d.below(8) {
            0 => LEFT_ALONE,
            1 => d.pick(&[i16::MIN, i16::MAX, 0]),
            _ => d.below(20) as i16 - 10,
        };
        let eighths = || d.below(4001) as i32 - 2000;
        let mid = || d.pick(&[3, 100_000, 1 << 30]) - d.below(200_000) as i32;
        let text = |n: u64| "lorem-ä\u{1F30A}-ipsum".chars().cycle().take(n as usize).collect::<String>();
        let mut wide = Wide {
            day: (d.below(24) != 1).then(|| d.below(5) as i32 - 2),
            flag: some(d, || d.below(2) == 1),
            small: some(d, small),
            mid: (d.below(24) != 1).then(mid),
            real: some(d, eighths),
            ratio: some(d, eighths),
            price: some(d, || d.below(2_000_001) as i64 - 1_000_000),
            note: some(d, || text(d.below(70))),
            doc: some(d, || d.pick(&DOCUMENTS)),
            ident: some(d, || format!("{:08x}-0000-4000-8000-{:012x}", id, d.below(1 << 40))),
            raw: some(d, || text(d.below(20))),
            at: some(d, || d.below(60_000_000) as i64),
            seen: some(d, || d.below(60_000_000) as i64),
        };
        let members = wide.members(d);
        (wide, members)
    }

    /// In several of the ways in which JSON can say it. A price with a fifth digit is rounded, half away from zero.
    fn members(&mut self, d: &Decisions<'_>) -> Vec<String> {
        let mut members = Vec::new();
        let mut member = |name: &str, value: Option<String>| match value {
            Some(value) => members.push(format!("\"{name}\":{value}")),
            None if d.below(2) == 0 => members.push(format!("\"{name}\":null")),
            None => {}
        };
        let day = |day: i32| match (d.below(2), day) {
            (0, 0..) => format!("\"1970-01-{:02}\"", day + 1),
            (0, _) => format!("\"1969-12-{:02}\"", 32 + day),
            _ => day.to_string(),
        };
        member("day", self.day.map(day));
        member(
            "flag",
            self.flag.map(|f| d.pick(&[f.to_string(), format!("\"{}\"", if f { "t" } else { "f" })])),
        );
        member("small", self.small.map(|n| n.to_string()));
        member("mid", self.mid.map(|n| d.pick(&[n.to_string(), format!("\"{n}\"")])));
        member("real", self.real.map(|n| (f64::from(n) / 8.0).to_string()));
        member("ratio", self.ratio.map(|n| (f64::from(n) / 8.0).to_string()));
        let price = self.price.as_mut().map(|price| {
            let sign = if *price < 0 { "-" } else { "" };
            let digits = price.unsigned_abs();
            let rounds = d.below(3) == 1;
            *price += if rounds { price.signum() } else { 0 };
            let rounds = rounds && *price != 0;
            format!("{sign}{}.{:04}{}", digits / 10_000, digits % 10_000, if rounds { "5" } else { "" })
        });
        member("price", price);
        member("note", self.note.as_ref().map(|t| format!("\"{t}\"")));
        member("doc", self.doc.map(str::to_string));
        let ident =
            |t: &String| format!("\"{}\"", if d.below(2) == 0 { t.clone() } else { t.to_uppercase() });
        member("ident", self.ident.as_ref().map(ident));
        let hex = |t: &String| t.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        member("raw", self.raw.as_ref().map(|t| format!("\"\\\\x{}\"", hex(t))));
        let time = |us: i64| format!("1970-01-01T00:00:{:02}.{:06}", us / 1_000_000, us % 1_000_000);
        member("at", self.at.map(|us| format!("\"{}\"", time(us))));
        let zone = |us: i64| match d.below(2) {
            0 => format!("\"{}Z\"", time(us)),
            _ => format!("\"{}+01:00\"", time(us).replace("T00", "T01")),
        };
        member("seen", self.seen.map(zone));
        members
    }
}

fn stored(column: u16) -> Box<Expr> {
    Box::new(Expr::Stored(column))
}

fn incoming(column: u16) -> Box<Expr> {
    Box::new(Expr::Incoming(column))
}

fn constant(literal: Literal, column_type: ColumnType) -> Box<Expr> {
    Box::new(Expr::Literal(literal, column_type))
}

/// The update, as the kernel is told. `oracle::wide::merged` says the same of plain values.
pub fn update() -> Update {
    use ColumnType::{Float64, Int16, Int32, Int64, Text};
    let same_small = Expr::And(
        Box::new(Expr::Not(Box::new(Expr::IsNull(incoming(9))))),
        Box::new(Expr::Compare(Comparison::Equal, stored(3), incoming(3))),
    );
    let turned = Expr::Arithmetic(
        Arithmetic::Remainder,
        Box::new(Expr::Negate(stored(4))),
        constant(Literal::Int(MODULUS.into()), Int32),
    );
    let greater_mid = Expr::Compare(Comparison::Less, stored(4), incoming(4));
    let bonus = Expr::Coalesce(vec![Expr::Cast(incoming(3), Int64), Expr::Literal(Literal::Int(1), Int64)]);
    let sum = Expr::Arithmetic(Arithmetic::Add, stored(5), incoming(5));
    let halves = Expr::Arithmetic(Arithmetic::Add, stored(7), incoming(7));
    let marked = Expr::Concat(constant(Literal::Text("+".into()), Text), incoming(9));
    let later = Expr::Compare(Comparison::GreaterOrEqual, incoming(14), stored(14));
    let other_small =
        Expr::Compare(Comparison::NotEqual, incoming(3), constant(Literal::Int(LEFT_ALONE.into()), Int16));
    Update {
        assignments: vec![
            (2, Expr::Or(stored(2), Box::new(Expr::IsNull(incoming(2))))),
            (3, Expr::Least(vec![*stored(3), *incoming(3)])),
            (4, Expr::Case(vec![(greater_mid, *incoming(4)), (same_small, turned)], stored(4))),
            (5, Expr::Arithmetic(Arithmetic::Subtract, Box::new(sum), Box::new(bonus))),
            (6, Expr::Greatest(vec![*stored(6), *incoming(6)])),
            (
                7,
                Expr::Arithmetic(
                    Arithmetic::Divide,
                    Box::new(halves),
                    constant(Literal::Float(2.0), Float64),
                ),
            ),
            (8, Expr::Arithmetic(Arithmetic::Subtract, stored(8), incoming(8))),
            (9, Expr::Coalesce(vec![marked, *stored(9)])),
            (12, *incoming(12)),
            (13, Expr::Greatest(vec![*stored(13), *incoming(13)])),
            (14, Expr::Case(vec![(later, *incoming(14))], stored(14))),
        ],
        condition: Some(Expr::Or(Box::new(Expr::IsNull(incoming(3))), Box::new(other_small))),
    }
}
