//! Equality and order of jsonb values: objects over arrays over booleans over numbers over strings over null.

use std::cmp::Ordering;

use super::Json;

/// The order of two documents. Numbers are compared by value: 1.0 equals 1.
pub fn compare(left: &Json, right: &Json) -> Ordering {
    match (left, right) {
        // An empty array sorts before a scalar, a longer one after it: PostgreSQL stores a scalar in an array of one.
        (Json::Array(items), scalar) if scalar.is_scalar() => match items.len() {
            1 => Ordering::Greater,
            len => len.cmp(&1),
        },
        (scalar, Json::Array(_)) if scalar.is_scalar() => compare(right, left).reverse(),
        _ => nested(left, right),
    }
}

fn nested(left: &Json, right: &Json) -> Ordering {
    match (left, right) {
        (Json::Bool(left), Json::Bool(right)) => left.cmp(right),
        (Json::Number(left), Json::Number(right)) => numbers(left, right),
        (Json::String(left), Json::String(right)) => left.cmp(right),
        (Json::Array(left), Json::Array(right)) => left
            .len()
            .cmp(&right.len())
            .then_with(|| first_difference(left.iter().zip(right).map(|(l, r)| nested(l, r)))),
        (Json::Object(left), Json::Object(right)) => left.len().cmp(&right.len()).then_with(|| {
            let members = left.iter().zip(right);
            first_difference(members.map(|(l, r)| l.0.cmp(&r.0).then_with(|| nested(&l.1, &r.1))))
        }),
        _ => rank(left).cmp(&rank(right)),
    }
}

fn first_difference(mut orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn rank(value: &Json) -> u8 {
    match value {
        Json::Null => 0,
        Json::String(_) => 1,
        Json::Number(_) => 2,
        Json::Bool(_) => 3,
        Json::Array(_) => 4,
        Json::Object(_) => 5,
    }
}

/// Numbers as `numeric` prints them, by value.
pub(super) fn numbers(left: &str, right: &str) -> Ordering {
    match (left.strip_prefix('-'), right.strip_prefix('-')) {
        (None, None) => magnitudes(left, right),
        (Some(left), Some(right)) => magnitudes(right, left),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
    }
}

fn magnitudes(left: &str, right: &str) -> Ordering {
    fn parts(number: &str) -> (&str, &str) {
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        (whole.trim_start_matches('0'), fraction.trim_end_matches('0'))
    }
    let ((left, left_fraction), (right, right_fraction)) = (parts(left), parts(right));
    // Of equally many digits, and of fractions, the order of the texts is that of the numbers.
    left.len().cmp(&right.len()).then_with(|| left.cmp(right)).then_with(|| left_fraction.cmp(right_fraction))
}
