//! Functions on jsonb, and conversion of other values to JSON. `pg_values::json` implements them for one value. Every
//! jsonb value in a column is a canonical text; so is every result here.

use std::borrow::Cow;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field};
use pg_values::Fault;
use pg_values::json::{self, EditFault, Json, Step};

use super::scalar::Kind::{AnyJson, Bool, Int4, Jsonb, PlainJson, Text, TextArray};
use super::scalar::{Function, Row, Value, on, on_any, on_null};
use crate::error::{Result, SqlError, SqlState};
use crate::types::{Base, PgType};

/// The functions. Operators are calls of some of them.
pub const FUNCTIONS: &[Function] = &[
    // The cast of a text.
    Function {
        name: "jsonb",
        overloads: &[on(&[Jsonb], Jsonb, |r| Ok(r.text(0).into())), on(&[Text], Jsonb, |r| read(r.text(0)))],
    },
    Function { name: "jsonb_out", overloads: &[on(&[Jsonb], Text, |r| Ok(r.text(0).into()))] },
    Function { name: "jsonb_number", overloads: &[on(&[Jsonb, Text], Text, number)] },
    Function { name: "jsonb_bool", overloads: &[on(&[Jsonb], Bool, truth)] },
    Function { name: "to_jsonb", overloads: &[on(&[AnyJson], Jsonb, |r| Ok(r.text(0).into()))] },
    Function { name: "jsonb_typeof", overloads: &[on(&[Jsonb], Text, |r| Ok(json::kind(r.text(0)).into()))] },
    Function { name: "jsonb_array_length", overloads: &[on(&[Jsonb], Int4, array_length)] },
    Function {
        name: "jsonb_pretty",
        overloads: &[on(&[Jsonb], Text, |r| Ok(json::pretty(&tree(r.text(0))?).into()))],
    },
    Function {
        name: "jsonb_strip_nulls",
        overloads: &[on(&[Jsonb], Jsonb, |r| made(strip_nulls(tree(r.text(0))?)))],
    },
    Function {
        name: "jsonb_build_object",
        overloads: &[on_null(&[], Jsonb, build_object), on_any(&[], AnyJson, Jsonb, build_object)],
    },
    Function {
        name: "jsonb_build_array",
        overloads: &[on_null(&[], Jsonb, build_array), on_any(&[], AnyJson, Jsonb, build_array)],
    },
    Function {
        name: "jsonb_set",
        overloads: &[
            on(&[Jsonb, TextArray, Jsonb], Jsonb, set),
            on(&[Jsonb, TextArray, Jsonb, Bool], Jsonb, set),
        ],
    },
    // -> and ->>
    Function {
        name: "jsonb_object_field",
        overloads: &[on(&[Jsonb, Text], Jsonb, |r| Ok(get(r, &[Step::Key(r.text(1))]).into()))],
    },
    Function {
        name: "jsonb_object_field_text",
        overloads: &[on(&[Jsonb, Text], Text, |r| {
            Ok(get(r, &[Step::Key(r.text(1))]).and_then(json::scalar_text).into())
        })],
    },
    Function {
        name: "jsonb_array_element",
        overloads: &[on(&[Jsonb, Int4], Jsonb, |r| Ok(element(r).into()))],
    },
    Function {
        name: "jsonb_array_element_text",
        overloads: &[on(&[Jsonb, Int4], Text, |r| Ok(element(r).and_then(json::scalar_text).into()))],
    },
    // #> and #>>
    Function {
        name: "jsonb_get_path",
        overloads: &[on(&[Jsonb, TextArray], Jsonb, |r| Ok(at_path(r, r.texts(1)).into()))],
    },
    Function {
        name: "jsonb_get_path_text",
        overloads: &[on(&[Jsonb, TextArray], Text, |r| {
            Ok(at_path(r, r.texts(1)).and_then(json::scalar_text).into())
        })],
    },
    Function {
        name: "jsonb_extract_path",
        overloads: &[on_any(&[Jsonb, Text], Text, Jsonb, |r| Ok(extracted(r).into()))],
    },
    Function {
        name: "jsonb_extract_path_text",
        overloads: &[on_any(&[Jsonb, Text], Text, Text, |r| {
            Ok(extracted(r).and_then(json::scalar_text).into())
        })],
    },
    // @>, <@, ?, ?|, ?&
    Function {
        name: "jsonb_contains",
        overloads: &[on(&[Jsonb, Jsonb], Bool, |r| {
            Ok(json::contains(&tree(r.text(0))?, &tree(r.text(1))?).into())
        })],
    },
    Function {
        name: "jsonb_contained",
        overloads: &[on(&[Jsonb, Jsonb], Bool, |r| {
            Ok(json::contains(&tree(r.text(1))?, &tree(r.text(0))?).into())
        })],
    },
    Function {
        name: "jsonb_exists",
        overloads: &[on(&[Jsonb, Text], Bool, |r| Ok(json::has_key(&tree(r.text(0))?, r.text(1)).into()))],
    },
    Function {
        name: "jsonb_exists_any",
        overloads: &[on(&[Jsonb, TextArray], Bool, |r| {
            let document = tree(r.text(0))?;
            Ok(r.texts(1).into_iter().flatten().any(|key| json::has_key(&document, key)).into())
        })],
    },
    Function {
        name: "jsonb_exists_all",
        overloads: &[on(&[Jsonb, TextArray], Bool, |r| {
            let document = tree(r.text(0))?;
            Ok(r.texts(1).into_iter().flatten().all(|key| json::has_key(&document, key)).into())
        })],
    },
    // ||, -, #-
    Function {
        name: "jsonb_concat",
        overloads: &[on(&[Jsonb, Jsonb], Jsonb, |r| made(json::concat(tree(r.text(0))?, tree(r.text(1))?)))],
    },
    Function {
        name: "jsonb_delete",
        overloads: &[
            on(&[Jsonb, Text], Jsonb, |r| {
                made(json::delete(tree(r.text(0))?, &[r.text(1)]).map_err(|f| edit("delete from", f))?)
            }),
            on(&[Jsonb, Int4], Jsonb, |r| {
                made(json::delete_index(tree(r.text(0))?, r.int(1)).map_err(|f| edit("delete from", f))?)
            }),
            on(&[Jsonb, TextArray], Jsonb, |r| {
                let keys: Vec<&str> = r.texts(1).into_iter().flatten().collect();
                made(json::delete(tree(r.text(0))?, &keys).map_err(|f| edit("delete from", f))?)
            }),
        ],
    },
    Function {
        name: "jsonb_delete_path",
        overloads: &[on(&[Jsonb, TextArray], Jsonb, |r| {
            made(json::delete_path(tree(r.text(0))?, &r.texts(1)).map_err(|f| edit("delete path in", f))?)
        })],
    },
    // Comparisons.
    Function { name: "jsonb_eq", overloads: &[on(&[Jsonb, Jsonb], Bool, |r| Ok(equal(r)?.into()))] },
    Function { name: "jsonb_ne", overloads: &[on(&[Jsonb, Jsonb], Bool, |r| Ok((!equal(r)?).into()))] },
    Function {
        name: "jsonb_lt",
        overloads: &[on(&[Jsonb, Jsonb], Bool, |r| Ok(compare(r)?.is_lt().into()))],
    },
    Function {
        name: "jsonb_le",
        overloads: &[on(&[Jsonb, Jsonb], Bool, |r| Ok(compare(r)?.is_le().into()))],
    },
    Function {
        name: "jsonb_gt",
        overloads: &[on(&[Jsonb, Jsonb], Bool, |r| Ok(compare(r)?.is_gt().into()))],
    },
    Function {
        name: "jsonb_ge",
        overloads: &[on(&[Jsonb, Jsonb], Bool, |r| Ok(compare(r)?.is_ge().into()))],
    },
    // The type json: text as it was built.
    Function { name: "to_json", overloads: &[on(&[PlainJson], PlainJson, |r| Ok(r.text(0).into()))] },
    Function {
        name: "json_build_array",
        overloads: &[on_null(&[], PlainJson, build_array), on_any(&[], PlainJson, PlainJson, build_array)],
    },
    Function {
        name: "json_build_object",
        overloads: &[
            on_null(&[], PlainJson, build_plain_object),
            on_any(&[], PlainJson, PlainJson, build_plain_object),
        ],
    },
    // The pairs that jsonb_object_agg collects, and the object of them.
    Function { name: "jsonb_pair", overloads: &[on_null(&[AnyJson, AnyJson], Jsonb, build_array)] },
    Function { name: "jsonb_object_of", overloads: &[on(&[TextArray], Jsonb, object_of)] },
    // The lists behind the functions that return rows.
    Function { name: "jsonb_elements_list", overloads: &[on(&[Jsonb], TextArray, |r| elements(r, false))] },
    Function {
        name: "jsonb_elements_text_list",
        overloads: &[on(&[Jsonb], TextArray, |r| elements(r, true))],
    },
    Function { name: "jsonb_keys_list", overloads: &[on(&[Jsonb], TextArray, keys)] },
    Function { name: "jsonb_values_list", overloads: &[on(&[Jsonb], TextArray, |r| values(r, false))] },
    Function { name: "jsonb_values_text_list", overloads: &[on(&[Jsonb], TextArray, |r| values(r, true))] },
];

/// The canonical text of a JSON text.
pub fn canonical(text: &str) -> Result<String> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    json::canonical(text, &mut out).map_err(|fault| invalid(fault, text))?;
    String::from_utf8(out).map_err(|_| invalid(Fault::Invalid, text))
}

/// Appends the sort and group key of a document.
pub fn append_key(text: &str, out: &mut Vec<u8>) -> Result<()> {
    json::append_key(&tree(text)?, out);
    Ok(())
}

fn invalid(fault: Fault, text: &str) -> SqlError {
    let message = match fault {
        Fault::TooDeep => format!("the json value is nested more than {} levels deep", json::DEPTH_MAX),
        Fault::TooLarge => format!("the json value has more than {} bytes", json::BYTES_MAX),
        Fault::ZeroCharacter => {
            "unsupported Unicode escape sequence: \\u0000 cannot be converted to text".into()
        }
        Fault::OutOfRange => "value overflows numeric format".into(),
        _ => format!("invalid input syntax for type json: \"{}\"", shortened(text)),
    };
    SqlError::new(fault.sqlstate(), message)
}

/// The beginning of a text, for messages.
fn shortened(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 100;
    match text.char_indices().nth(SHOWN) {
        None => Cow::Borrowed(text),
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
    }
}

fn read<'a>(text: &'a str) -> Result<Value<'a>> {
    Ok(canonical(text)?.into())
}

pub(super) fn tree(text: &str) -> Result<Json<'_>> {
    json::parse(text).map_err(|fault| invalid(fault, text))
}

pub(super) fn made<'a>(value: Json) -> Result<Value<'a>> {
    Ok(value.to_text().into())
}

fn edit(what: &str, fault: EditFault) -> SqlError {
    let parameter = |message: String| SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    match fault {
        EditFault::Scalar => parameter(format!("cannot {what} scalar")),
        EditFault::IndexInObject => parameter("cannot delete from object using integer index".into()),
        EditFault::NotAnIndex(at, step) => SqlError::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("path element at position {at} is not an integer: \"{step}\""),
        ),
        EditFault::NullStep(at) => {
            SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, format!("path element at position {at} is null"))
        }
    }
}

fn get<'a>(row: &Row<'a>, steps: &[Step]) -> Option<&'a str> {
    json::get(row.text(0), steps)
}

fn element<'a>(row: &Row<'a>) -> Option<&'a str> {
    get(row, &[Step::Index(row.int(1))])
}

fn at_path<'a>(row: &Row<'a>, path: Vec<Option<&str>>) -> Option<&'a str> {
    let steps: Option<Vec<Step>> = path.into_iter().map(|step| step.map(Step::Either)).collect();
    get(row, &steps?)
}

fn extracted<'a>(row: &Row<'a>) -> Option<&'a str> {
    if row.is_null(0) {
        return None;
    }
    at_path(row, (1..row.len()).map(|n| row.text_if(n)).collect())
}

fn set<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let create = row.len() < 4 || row.bool(3);
    let (document, value) = (tree(row.text(0))?, tree(row.text(2))?);
    made(json::set_path(document, &row.texts(1), &value, create).map_err(|f| edit("set path in", f))?)
}

fn strip_nulls(value: Json) -> Json {
    match value {
        Json::Object(members) => {
            let kept = members.into_iter().filter(|(_, v)| *v != Json::Null);
            Json::Object(kept.map(|(key, v)| (key, strip_nulls(v))).collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(strip_nulls).collect()),
        other => other,
    }
}

fn array_length<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    match tree(row.text(0))? {
        Json::Array(items) => Ok(items.len().into()),
        Json::Object(_) => {
            Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "cannot get array length of a non-array"))
        }
        _ => Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "cannot get array length of a scalar")),
    }
}

fn equal(row: &Row) -> Result<bool> {
    // Equal texts are equal values; different texts are too if only trailing zeros of numbers differ.
    if row.text(0) == row.text(1) {
        return Ok(true);
    }
    Ok(compare(row)?.is_eq())
}

fn compare(row: &Row) -> Result<std::cmp::Ordering> {
    Ok(json::compare(&tree(row.text(0))?, &tree(row.text(1))?))
}

/// The number of a document, for a cast to the type named by the second argument.
fn number<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    match json::kind(row.text(0)) {
        "number" => Ok(row.text(0).trim().into()),
        kind => Err(no_cast(kind, row.text(1))),
    }
}

fn truth<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    match json::kind(row.text(0)) {
        "boolean" => Ok((row.text(0).trim() == "true").into()),
        kind => Err(no_cast(kind, "boolean")),
    }
}

fn no_cast(kind: &str, into: &str) -> SqlError {
    let kind = if matches!(kind, "array" | "object") { "array or object" } else { kind };
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("cannot cast jsonb {kind} to type {into}"))
}

fn build_array<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let items: Vec<&str> = (0..row.len()).map(|n| row.text_if(n).unwrap_or("null")).collect();
    Ok(format!("[{}]", items.join(", ")).into())
}

fn build_object<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    if !row.len().is_multiple_of(2) {
        let message = "argument list must have even number of elements";
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).with_hint(
            "The arguments of jsonb_build_object() must consist of alternating keys and values.",
        ));
    }
    let mut members = Vec::with_capacity(row.len() / 2);
    for n in (0..row.len()).step_by(2) {
        let Some(key) = row.text_if(n) else {
            let message = format!("argument {}: key must not be null", n + 1);
            return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
        };
        members.push((key_of(key)?, tree(row.text_if(n + 1).unwrap_or("null"))?));
    }
    made(Json::object(members))
}

/// An object of type json, whose members are kept as given.
fn build_plain_object<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    if !row.len().is_multiple_of(2) {
        let message = "argument list must have even number of elements";
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .with_hint("The arguments of json_build_object() must consist of alternating keys and values."));
    }
    let mut out = vec![b'{'];
    for n in (0..row.len()).step_by(2) {
        out.extend_from_slice(if n > 0 { b", " } else { b"" });
        let Some(key) = row.text_if(n) else {
            let message = format!("argument {} cannot be null", n + 1);
            return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
                .with_hint("Object keys should be text."));
        };
        json::quote(&key_of(key)?, &mut out);
        out.extend_from_slice(b" : ");
        out.extend_from_slice(row.text_if(n + 1).unwrap_or("null").as_bytes());
    }
    out.push(b'}');
    Ok(String::from_utf8_lossy(&out).into_owned().into())
}

/// An object of pairs of keys and values.
fn object_of<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    let mut members = vec![];
    let pairs = row.texts(0);
    for pair in pairs.iter().flatten() {
        let Json::Array(pair) = tree(pair)? else { continue };
        let mut pair = pair.into_iter();
        let (Some(key), Some(value)) = (pair.next(), pair.next()) else { continue };
        if key == Json::Null {
            return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "field name must not be null"));
        }
        members.push((Cow::Owned(key_of(&key.to_text())?.into_owned()), value));
    }
    made(Json::object(members))
}

/// A value as a key.
pub fn key_of(value: &str) -> Result<Cow<'_, str>> {
    if matches!(json::kind(value), "object" | "array") {
        let message = "key value must be scalar, not array, composite, or json";
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok(json::scalar_text(value).unwrap_or(Cow::Borrowed("null")))
}

fn elements<'a>(row: &Row<'a>, as_text: bool) -> Result<Value<'a>> {
    let text = row.text(0);
    let refuse = |kind: &str| {
        let message = format!("cannot extract elements from {kind}");
        Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message))
    };
    let items = match tree(text)? {
        Json::Array(items) => items,
        Json::Object(_) => return refuse("an object"),
        _ => return refuse("a scalar"),
    };
    Ok(Value::Texts(items.into_iter().map(|item| one_item(item, as_text)).collect()))
}

/// A part of a document as jsonb or as text.
fn one_item(item: Json<'_>, as_text: bool) -> Option<Cow<'_, str>> {
    match item {
        Json::Null if as_text => None,
        Json::String(text) if as_text => Some(text),
        other => Some(Cow::Owned(other.to_text())),
    }
}

fn values<'a>(row: &Row<'a>, as_text: bool) -> Result<Value<'a>> {
    let name = if as_text { "jsonb_each_text" } else { "jsonb_each" };
    match tree(row.text(0))? {
        Json::Object(members) => {
            let values = members.into_iter().map(|(_, value)| one_item(value, as_text));
            Ok(Value::Texts(values.collect()))
        }
        _ => Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("cannot call {name} on a non-object"),
        )),
    }
}

fn keys<'a>(row: &Row<'a>) -> Result<Value<'a>> {
    match tree(row.text(0))? {
        Json::Object(members) => Ok(Value::Texts(members.into_iter().map(|(key, _)| Some(key)).collect())),
        Json::Array(_) => {
            Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "cannot call jsonb_object_keys on an array"))
        }
        _ => {
            Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "cannot call jsonb_object_keys on a scalar"))
        }
    }
}

/// Values as the JSON texts of `to_jsonb`; NULL stays NULL.
pub fn as_json(values: &ArrayRef, field: &Field) -> Result<StringArray> {
    as_json_with(values, field, ", ")
}

/// Values as the JSON texts of `to_json`, whose arrays have no spaces; NULL stays NULL.
pub fn as_plain_json(values: &ArrayRef, field: &Field) -> Result<StringArray> {
    as_json_with(values, field, ",")
}

fn as_json_with(values: &ArrayRef, field: &Field, separator: &str) -> Result<StringArray> {
    if matches!(PgType::of(field), PgType::One(Base::Jsonb | Base::Json)) {
        return Ok(values.as_string().clone());
    }
    if let Some(lists) = values.as_list_opt::<i32>() {
        return arrays_as_json(lists, separator);
    }
    let mut out = StringBuilder::with_capacity(values.len(), values.len() * 8);
    let (mut text, mut json) = (bytes::BytesMut::new(), Vec::new());
    for row in 0..values.len() {
        if values.is_null(row) {
            out.append_null();
            continue;
        }
        text.clear();
        json.clear();
        crate::types::encode::text(values.as_ref(), row, &mut text)?;
        one_as_json(values.data_type(), &String::from_utf8_lossy(&text), &mut json)?;
        out.append_value(String::from_utf8_lossy(&json));
    }
    Ok(out.finish())
}

/// A value as JSON, from its text.
fn one_as_json(data_type: &DataType, text: &str, out: &mut Vec<u8>) -> Result<()> {
    let is_number = data_type.is_integer() || data_type.is_floating() || data_type.is_decimal();
    match data_type {
        DataType::Boolean => out.extend_from_slice(if text == "t" { b"true" } else { b"false" }),
        _ if is_number
            && text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
            && !text.ends_with('y') =>
        {
            json::canonical(text, out).map_err(|fault| invalid(fault, text))?;
        }
        DataType::Timestamp(_, zone) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            let iso = text.replacen(' ', "T", 1);
            json::quote(&if zone.is_some() { iso.replacen("+00", "+00:00", 1) } else { iso }, out);
        }
        _ => json::quote(text, out),
    }
    Ok(())
}

fn arrays_as_json(lists: &ListArray, separator: &str) -> Result<StringArray> {
    let DataType::List(item) = lists.data_type() else { return Ok(StringArray::new_null(lists.len())) };
    let items = as_json_with(lists.values(), item, separator)?;
    let offsets = lists.value_offsets();
    let one = |row: usize| {
        let range = offsets[row] as usize..offsets[row + 1] as usize;
        let texts: Vec<&str> =
            range.map(|at| if items.is_null(at) { "null" } else { items.value(at) }).collect();
        format!("[{}]", texts.join(separator))
    };
    Ok((0..lists.len()).map(|row| lists.is_valid(row).then(|| one(row))).collect())
}
