//! `->`, `->>`, `#>` and `#>>` on JSON text. The text is walked, not built: what is taken out is a slice of it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{SqlError, state};
use crate::types::{Base, typed};

/// Plans the operators as calls of [`JsonGet`].
#[derive(Debug)]
pub struct JsonOperators;

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, _: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (as_text, path) = match raw.op {
            BinaryOperator::Arrow => (false, false),
            BinaryOperator::LongArrow => (true, false),
            BinaryOperator::HashArrow => (false, true),
            BinaryOperator::HashLongArrow => (true, true),
            _ => return Ok(PlannerResult::Original(raw)),
        };
        let function = Arc::new(ScalarUDF::from(JsonGet::new(as_text, path)));
        let call = ScalarFunction::new_udf(function, vec![raw.left, raw.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

/// Takes a value out of a JSON text, as JSON or as text.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct JsonGet {
    as_text: bool,
    path: bool,
    signature: Signature,
}

impl JsonGet {
    /// `->` or `->>`; with `path`, `#>` or `#>>`.
    pub fn new(as_text: bool, path: bool) -> JsonGet {
        JsonGet { as_text, path, signature: Signature::any(2, Volatility::Immutable) }
    }
}

enum Step<'a> {
    Key(Cow<'a, str>),
    Index(i64),
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &str {
        match (self.as_text, self.path) {
            (false, false) => "json_get",
            (true, false) => "json_get_text",
            (false, true) => "json_get_path",
            (true, true) => "json_get_path_text",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        let field = Field::new(self.name(), DataType::Utf8, true);
        Ok(Arc::new(if self.as_text { field } else { typed(field, Base::Jsonb) }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let documents = cast(&args.args[0].clone().into_array(rows)?, &DataType::Utf8)?;
        let steps = args.args[1].clone().into_array(rows)?;
        let by_index = steps.data_type().is_integer() && !self.path;
        let steps: ArrayRef = cast(&steps, if by_index { &DataType::Int64 } else { &DataType::Utf8 })?;
        let documents = documents.as_string::<i32>();
        let mut values = StringBuilder::new();
        for row in 0..rows {
            if documents.is_null(row) || steps.is_null(row) {
                values.append_null();
                continue;
            }
            let path = match (by_index, self.path) {
                (true, _) => vec![Step::Index(steps.as_primitive::<Int64Type>().value(row))],
                (_, false) => vec![Step::Key(Cow::Borrowed(steps.as_string::<i32>().value(row)))],
                (_, true) => path_steps(steps.as_string::<i32>().value(row))?,
            };
            values.append_option(walk(documents.value(row), &path, self.as_text)?);
        }
        Ok(ColumnarValue::Array(Arc::new(values.finish())))
    }
}

/// The steps of a path in the form `{a,0,b}`.
fn path_steps(text: &str) -> Result<Vec<Step<'_>>> {
    let items = crate::types::decode::array_text_items(text)?;
    Ok(items.into_iter().flatten().map(|item| Step::Key(Cow::Owned(item))).collect())
}

fn invalid(error: serde_json::Error) -> SqlError {
    SqlError::new(state::INVALID_TEXT_REPRESENTATION, format!("invalid input syntax for type json: {error}"))
}

fn walk<'a>(document: &'a str, path: &[Step], as_text: bool) -> Result<Option<Cow<'a, str>>> {
    let mut at: &'a RawValue = serde_json::from_str(document).map_err(invalid)?;
    for step in path {
        match child(at, step).map_err(invalid)? {
            Some(value) => at = value,
            None => return Ok(None),
        }
    }
    let raw = at.get();
    Ok(match raw.as_bytes().first() {
        _ if !as_text => Some(Cow::Borrowed(raw)),
        Some(b'n') => None,
        Some(b'"') => Some(Cow::Owned(serde_json::from_str::<String>(raw).map_err(invalid)?)),
        _ => Some(Cow::Borrowed(raw)),
    })
}

/// A member or an item; of members with one name the last, as jsonb has it.
fn child<'a>(value: &'a RawValue, step: &Step) -> serde_json::Result<Option<&'a RawValue>> {
    let mut json = serde_json::Deserializer::from_str(value.get());
    match (value.get().as_bytes().first(), step) {
        (Some(b'{'), Step::Key(key)) => json.deserialize_map(Member(key)),
        (Some(b'['), Step::Index(index)) => item(value, *index),
        // In a path, `{a,0}` may mean an item.
        (Some(b'['), Step::Key(key)) => match key.parse() {
            Ok(index) => item(value, index),
            Err(_) => Ok(None),
        },
        _ => Ok(None),
    }
}

fn item(array: &RawValue, index: i64) -> serde_json::Result<Option<&RawValue>> {
    let mut json = serde_json::Deserializer::from_str(array.get());
    let index = match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => {
            let len = json.deserialize_seq(Length)?;
            let mut again = serde_json::Deserializer::from_str(array.get());
            return match usize::try_from(len as i64 + index) {
                Ok(index) => again.deserialize_seq(Item(index)),
                Err(_) => Ok(None),
            };
        }
    };
    json.deserialize_seq(Item(index))
}

struct Member<'k>(&'k str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<str>>()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct Item(usize);

impl<'de> Visitor<'de> for Item {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut at = 0;
        while let Some(value) = seq.next_element::<&RawValue>()? {
            if at == self.0 {
                found = Some(value);
            }
            at += 1;
        }
        Ok(found)
    }
}

struct Length;

impl<'de> Visitor<'de> for Length {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
        let mut len = 0;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            len += 1;
        }
        Ok(len)
    }
}
