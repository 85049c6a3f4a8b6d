//! The row of a message in the wide table.

use super::value::{Row, Value};
use crate::scenario::Fields;
use crate::wide::{AMOUNT, FIELDS, NAME};

/// The user's columns of it.
pub fn row(fields: &Fields) -> Row {
    let mut row =
        fields.wide.as_deref().map_or_else(|| vec![Value::Null; FIELDS.len()], |wide| wide.values.clone());
    row[NAME] = fields.name.clone().map_or(Value::Null, Value::Text);
    row[AMOUNT] = Value::Int(fields.amount);
    row
}
