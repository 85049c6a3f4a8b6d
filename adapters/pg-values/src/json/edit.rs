//! Functions that build values from others: `||`, `-`, `#-`, `jsonb_set`.

use super::Json;
use super::path::array_index;
use super::tree::key_order;

/// Why an edit is not possible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EditFault {
    /// The document is neither an array nor an object.
    Scalar,
    /// An index was applied to an object.
    IndexInObject,
    /// A step into an array, counted from 1, is no number.
    NotAnIndex(usize, String),
    /// A step of the path, counted from 1, is null.
    NullStep(usize),
}

/// `||`: the members of both, the right one's prevailing; else the items of both, where a value that is not an array
/// counts as one item.
pub fn concat<'a>(left: Json<'a>, right: Json<'a>) -> Json<'a> {
    match (left, right) {
        (Json::Object(mut left), Json::Object(right)) => {
            left.extend(right);
            Json::object(left)
        }
        (left, right) => {
            let mut items = items(left);
            items.extend(self::items(right));
            Json::Array(items)
        }
    }
}

fn items(value: Json) -> Vec<Json> {
    match value {
        Json::Array(items) => items,
        other => vec![other],
    }
}

/// `- 'key'`, `- '{a,b}'`: without these keys of an object, or strings of an array.
pub fn delete<'a>(document: Json<'a>, keys: &[&str]) -> Result<Json<'a>, EditFault> {
    match document {
        Json::Object(mut members) => {
            members.retain(|(key, _)| !keys.contains(&key.as_ref()));
            Ok(Json::Object(members))
        }
        Json::Array(mut items) => {
            items.retain(|item| !matches!(item, Json::String(text) if keys.contains(&text.as_ref())));
            Ok(Json::Array(items))
        }
        _ => Err(EditFault::Scalar),
    }
}

/// `- 1`: without this item, counted from the end if negative.
pub fn delete_index(document: Json, index: i64) -> Result<Json, EditFault> {
    match document {
        Json::Array(mut items) => {
            if let Some(at) = position(index, items.len()) {
                items.remove(at);
            }
            Ok(Json::Array(items))
        }
        Json::Object(_) => Err(EditFault::IndexInObject),
        _ => Err(EditFault::Scalar),
    }
}

fn position(index: i64, len: usize) -> Option<usize> {
    let at = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(at).ok().filter(|at| *at < len)
}

/// `#-`: without the value at the path.
pub fn delete_path<'a>(document: Json<'a>, path: &[Option<&str>]) -> Result<Json<'a>, EditFault> {
    if document.is_scalar() {
        return Err(EditFault::Scalar);
    }
    if is_empty(&document) {
        return Ok(document);
    }
    change(document, path, 0, &Change::Delete)
}

/// `jsonb_set`: with the value at the path; if nothing is there, only with `create`.
pub fn set_path<'a>(
    document: Json<'a>,
    path: &[Option<&str>],
    value: &Json<'a>,
    create: bool,
) -> Result<Json<'a>, EditFault> {
    if document.is_scalar() {
        return Err(EditFault::Scalar);
    }
    if is_empty(&document) && !create {
        return Ok(document);
    }
    change(document, path, 0, &Change::Set { value, create })
}

fn is_empty(document: &Json) -> bool {
    match document {
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
        _ => false,
    }
}

enum Change<'v, 'a> {
    Delete,
    Set { value: &'v Json<'a>, create: bool },
}

fn change<'a>(
    value: Json<'a>,
    path: &[Option<&str>],
    depth: usize,
    change_to: &Change<'_, 'a>,
) -> Result<Json<'a>, EditFault> {
    let Some(step) = path.get(depth) else { return Ok(value) };
    let last = depth + 1 == path.len();
    match value {
        Json::Object(mut members) => {
            let step = step.ok_or(EditFault::NullStep(depth + 1))?;
            let found = members.binary_search_by(|m| key_order(&m.0, step));
            match (found, last, change_to) {
                (Ok(at), true, Change::Delete) => {
                    members.remove(at);
                }
                (Ok(at), true, Change::Set { value, .. }) => members[at].1 = (*value).clone(),
                (Err(at), true, Change::Set { value, create: true }) => {
                    members.insert(at, (step.to_string().into(), (*value).clone()));
                }
                (Ok(at), false, _) => {
                    let inner = std::mem::replace(&mut members[at].1, Json::Null);
                    members[at].1 = change(inner, path, depth + 1, change_to)?;
                }
                (Err(_), ..) => {}
            }
            Ok(Json::Object(members))
        }
        Json::Array(mut items) => {
            let step = step.ok_or(EditFault::NullStep(depth + 1))?;
            let index =
                array_index(step).ok_or_else(|| EditFault::NotAnIndex(depth + 1, step.to_string()))?;
            match (position(index, items.len()), last, change_to) {
                (Some(at), true, Change::Delete) => {
                    items.remove(at);
                }
                (Some(at), true, Change::Set { value, .. }) => items[at] = (*value).clone(),
                (None, true, Change::Set { value, create: true }) => {
                    let at = if index < 0 { 0 } else { items.len() };
                    items.insert(at, (*value).clone());
                }
                (Some(at), false, _) => {
                    let inner = std::mem::replace(&mut items[at], Json::Null);
                    items[at] = change(inner, path, depth + 1, change_to)?;
                }
                (None, ..) => {}
            }
            Ok(Json::Array(items))
        }
        scalar => Ok(scalar),
    }
}
