//! Casts to arrays: of texts, and of arrays of other items.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{DataType, Field};
use pg_values::array::{ArrayFault, items};

use super::convert::{arrow_cast, number, to_text};
use super::text::from_texts;
use crate::error::{Result, SqlError, SqlState};
use crate::types::PgType;

/// Values as arrays of type `into`.
pub fn to_array(values: &ArrayRef, into: &Arc<Field>) -> Result<ArrayRef> {
    if let Some(texts) = values.as_string_opt::<i32>() {
        return read(texts, into);
    }
    let Some(lists) = values.as_list_opt::<i32>() else {
        return arrow_cast(values, &DataType::List(Arc::clone(into)));
    };
    let converted = items_as(lists.values(), into)?;
    let list =
        ListArray::try_new(Arc::clone(into), lists.offsets().clone(), converted, lists.nulls().cloned());
    Ok(Arc::new(list?))
}

fn items_as(values: &ArrayRef, into: &Field) -> Result<ArrayRef> {
    let base = match PgType::of(into) {
        PgType::One(base) | PgType::Array(base) => base,
    };
    match (values.data_type(), into.data_type()) {
        (from, into) if from == into => Ok(Arc::clone(values)),
        (DataType::Null, into) => arrow_cast(values, into),
        (DataType::Utf8, data_type) => from_texts(values.as_string(), base, data_type),
        (_, DataType::Utf8) => to_text(values),
        (from, data_type) if from.is_numeric() && data_type.is_numeric() => number(values, data_type),
        (_, data_type) => arrow_cast(values, data_type),
    }
}

/// Texts of arrays, `{1,2}`.
fn read(texts: &StringArray, into: &Arc<Field>) -> Result<ArrayRef> {
    let (mut offsets, mut valid) = (vec![0i32], Vec::with_capacity(texts.len()));
    let mut all: Vec<Option<String>> = vec![];
    for text in texts {
        if let Some(text) = text {
            all.extend(literal_items(text)?);
        }
        let end = i32::try_from(all.len()).map_err(|_| {
            SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "array size exceeds the maximum allowed")
        })?;
        offsets.push(end);
        valid.push(text.is_some());
    }
    let items: ArrayRef = Arc::new(StringArray::from(all));
    let items = match into.data_type() {
        DataType::Utf8 => items,
        _ => items_as(&items, into)?,
    };
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let list = ListArray::try_new(Arc::clone(into), offsets, items, Some(NullBuffer::from(valid)));
    Ok(Arc::new(list?))
}

/// The items of the text of an array.
pub fn literal_items(text: &str) -> Result<Vec<Option<String>>> {
    match items(text) {
        Ok(items) => Ok(items.into_iter().map(|item| item.map(|text| text.into_owned())).collect()),
        Err(ArrayFault::Dimensions) => {
            Err(SqlError::unsupported("only arrays of one dimension with indexes from 1 are supported"))
        }
        Err(ArrayFault::Malformed) => Err(SqlError::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("malformed array literal: \"{text}\""),
        )),
    }
}
