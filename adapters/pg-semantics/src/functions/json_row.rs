//! Whole rows as JSON. Composite types are not supported: where PostgreSQL converts a row to JSON (`row_to_json(t)`,
//! `to_jsonb(ROW(1, 2))`), `syntax::rows` writes a call of one of these functions with the names and values of the
//! fields as arguments.

use super::json::{key_of, made, tree};
use super::scalar::Kind::{Any, AnyJson, JsonRow, Jsonb, PlainJson};
use super::scalar::{Function, Row, Value, on_any};
use crate::error::Result;

/// A row as json. Statements are not expected to contain these names.
pub const JSON: &str = "json of a row";
/// A row as jsonb.
pub const JSONB: &str = "jsonb of a row";

/// Both. The first argument is NULL if there is no row: on the side of an outer join without a match. Names and values
/// follow.
pub const FUNCTIONS: &[Function] = &[
    Function { name: JSON, overloads: &[on_any(&[Any], PlainJson, JsonRow, as_json)] },
    Function { name: JSONB, overloads: &[on_any(&[Any], AnyJson, Jsonb, as_jsonb)] },
];

fn as_json<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    if row.is_null(0) {
        return Ok(Value::Null);
    }
    let mut out = String::from("{");
    for n in (1..row.len()).step_by(2) {
        if n > 1 {
            out.push(',');
        }
        out.push_str(row.text(n));
        out.push(':');
        out.push_str(row.text_if(n + 1).unwrap_or("null"));
    }
    out.push('}');
    Ok(out.into())
}

fn as_jsonb<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    if row.is_null(0) {
        return Ok(Value::Null);
    }
    let member = |n: usize| Ok((key_of(row.text(n))?, tree(row.text_if(n + 1).unwrap_or("null"))?));
    let members = (1..row.len()).step_by(2).map(member).collect::<Result<Vec<_>>>()?;
    made(pg_values::json::Json::object(members))
}
