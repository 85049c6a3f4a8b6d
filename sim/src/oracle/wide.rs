//! What must come of the wide table: the row that a message makes, and two rows merged, in plain arithmetic. Written from the
//! meaning of the expressions in `crate::wide`, not from the kernel's evaluation of them.

use super::value::{Row, Value};
use crate::scenario::Fields;
use crate::wide::{LEFT_ALONE, MODULUS, Wide};

fn int(value: Option<impl Into<i64>>) -> Value {
    value.map_or(Value::Null, |v| Value::Int(v.into()))
}

fn text(value: Option<&str>) -> Value {
    value.map_or(Value::Null, |t| Value::Text(t.into()))
}

/// A single-precision number, as its bits.
fn real(value: f32) -> Value {
    Value::Int(value.to_bits().into())
}

/// A double-precision number, as its bits.
fn double(value: f64) -> Value {
    Value::Int(value.to_bits() as i64)
}

/// The user's columns of the row that a message makes.
pub fn row(fields: &Fields) -> Row {
    let none = Wide::default();
    let w = fields.wide.as_deref().unwrap_or(&none);
    vec![
        int(w.day),
        text(fields.name.as_deref()),
        int(w.flag),
        int(w.small),
        int(w.mid),
        Value::Int(fields.amount),
        w.real.map_or(Value::Null, |eighths| real(eighths as f32 / 8.0)),
        w.ratio.map_or(Value::Null, |eighths| double(f64::from(eighths) / 8.0)),
        int(w.price),
        text(w.note.as_deref()),
        text(w.doc),
        text(w.ident.as_deref()),
        text(w.raw.as_deref()),
        int(w.at),
        int(w.seen),
    ]
}

fn number(value: &Value) -> Option<i64> {
    if let Value::Int(i) = value { Some(*i) } else { None }
}

/// The greater of two, a null being less than anything; `as_number` tells what is compared.
fn greater(a: &Value, b: &Value, as_number: impl Fn(i64) -> f64) -> Value {
    match (number(a), number(b)) {
        (Some(x), Some(y)) if as_number(y) > as_number(x) => b.clone(),
        (Some(_), _) => a.clone(),
        (None, _) => b.clone(),
    }
}

/// The stored row's own columns as an incoming row leaves them. Ok(None): the row is left as it is; Err: a number does not fit.
pub fn merged(stored: &[Value], incoming: &[Value]) -> Result<Option<Row>, &'static str> {
    const DOES_NOT_FIT: &str = "22003";
    if incoming[3] == Value::Int(LEFT_ALONE.into()) {
        return Ok(None);
    }
    let mut row = stored.to_vec();
    row[2] = match (number(&stored[2]), &incoming[2]) {
        (_, Value::Null) => Value::Int(1),
        (flag, _) => int(flag),
    };
    row[3] = match (number(&stored[3]), number(&incoming[3])) {
        (Some(a), Some(b)) => Value::Int(a.min(b)),
        (a, b) => int(a.or(b)),
    };
    let (old, new) = (number(&stored[4]).expect("not null"), number(&incoming[4]).expect("not null"));
    let same_small = stored[3] == incoming[3] && stored[3] != Value::Null;
    if new > old {
        row[4] = Value::Int(new);
    } else if same_small && incoming[9] != Value::Null {
        row[4] = Value::Int(-old % i64::from(MODULUS));
    }
    let sum = number(&stored[5]).expect("not null").checked_add(number(&incoming[5]).expect("not null"));
    let total = sum.and_then(|sum| sum.checked_sub(number(&incoming[3]).unwrap_or(1)));
    row[5] = Value::Int(total.ok_or(DOES_NOT_FIT)?);
    row[6] = greater(&stored[6], &incoming[6], |bits| f32::from_bits(bits as u32).into());
    row[7] = match (number(&stored[7]), number(&incoming[7])) {
        (Some(a), Some(b)) => double((f64::from_bits(a as u64) + f64::from_bits(b as u64)) / 2.0),
        _ => Value::Null,
    };
    row[8] = match (number(&stored[8]), number(&incoming[8])) {
        (Some(a), Some(b)) => Value::Int(a - b),
        _ => Value::Null,
    };
    if let Value::Text(note) = &incoming[9] {
        row[9] = Value::Text(format!("+{note}"));
    }
    row[12] = incoming[12].clone();
    row[13] = greater(&stored[13], &incoming[13], |us| us as f64);
    if number(&incoming[14]).zip(number(&stored[14])).is_some_and(|(new, old)| new >= old) {
        row[14] = incoming[14].clone();
    }
    Ok(Some(row))
}
