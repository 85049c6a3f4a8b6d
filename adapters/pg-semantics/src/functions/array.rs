//! Functions and operators on arrays of one dimension, of items of any type. An array is an Arrow list; `casts` parses
//! its text form and `types::encode` writes it.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int32Array, ListArray, StringArray,
    make_comparator, new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::{SortOptions, cast, interleave};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::text::pieces::check_len;
use crate::error::{SqlError, SqlState};
use crate::types::encode;

/// The required kind of an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// An array.
    Array,
    /// An item of the arrays.
    Item,
    /// A whole number.
    Int,
    /// A text.
    Text,
    /// An array of whole numbers.
    Ints,
}

/// A function of arrays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Action {
    Length,
    Cardinality,
    Ndims,
    Dims,
    Lower,
    Upper,
    Append,
    Prepend,
    Cat,
    Remove,
    Replace,
    Position,
    Positions,
    ToString,
    Trim,
    Fill,
    Subscript,
    Slice,
    Contains,
    Contained,
    Overlap,
    Compare(Operator),
    /// Compares an item with any item of an array.
    Any(Operator),
    /// Compares an item with all items of an array.
    All(Operator),
}

use Action as A;
use Slot::{Array as Arr, Int, Ints, Item, Text};

impl Action {
    /// The functions that have a name in PostgreSQL.
    pub const NAMED: [Action; 17] = [
        A::Length,
        A::Cardinality,
        A::Ndims,
        A::Dims,
        A::Lower,
        A::Upper,
        A::Append,
        A::Prepend,
        A::Cat,
        A::Remove,
        A::Replace,
        A::Position,
        A::Positions,
        A::ToString,
        A::Trim,
        A::Fill,
        A::Overlap,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            A::Length => "array_length",
            A::Cardinality => "cardinality",
            A::Ndims => "array_ndims",
            A::Dims => "array_dims",
            A::Lower => "array_lower",
            A::Upper => "array_upper",
            A::Append => "array_append",
            A::Prepend => "array_prepend",
            A::Cat => "array_cat",
            A::Remove => "array_remove",
            A::Replace => "array_replace",
            A::Position => "array_position",
            A::Positions => "array_positions",
            A::ToString => "array_to_string",
            A::Trim => "trim_array",
            A::Fill => "array_fill",
            A::Subscript => "array_subscript",
            A::Slice => "array_subscript_slice",
            A::Contains => "arraycontains",
            A::Contained => "arraycontained",
            A::Overlap => "arrayoverlap",
            A::Compare(Operator::Eq) => "array_eq",
            A::Compare(Operator::NotEq) => "array_ne",
            A::Compare(Operator::Lt) => "array_lt",
            A::Compare(Operator::LtEq) => "array_le",
            A::Compare(Operator::Gt) => "array_gt",
            A::Compare(_) => "array_ge",
            A::Any(Operator::Eq) => "any_eq",
            A::Any(Operator::NotEq) => "any_ne",
            A::Any(Operator::Lt) => "any_lt",
            A::Any(Operator::LtEq) => "any_le",
            A::Any(Operator::Gt) => "any_gt",
            A::Any(_) => "any_ge",
            A::All(Operator::Eq) => "all_eq",
            A::All(Operator::NotEq) => "all_ne",
            A::All(Operator::Lt) => "all_lt",
            A::All(Operator::LtEq) => "all_le",
            A::All(Operator::Gt) => "all_gt",
            A::All(_) => "all_ge",
        }
    }

    /// The ways to call it.
    pub fn slots(self) -> &'static [&'static [Slot]] {
        match self {
            A::Length | A::Lower | A::Upper | A::Trim | A::Subscript => &[&[Arr, Int]],
            A::Cardinality | A::Ndims | A::Dims => &[&[Arr]],
            A::Append | A::Remove | A::Positions => &[&[Arr, Item]],
            A::Prepend => &[&[Item, Arr]],
            A::Cat | A::Contains | A::Contained | A::Overlap | A::Compare(_) => &[&[Arr, Arr]],
            A::Replace => &[&[Arr, Item, Item]],
            A::Position => &[&[Arr, Item], &[Arr, Item, Int]],
            A::ToString => &[&[Arr, Text], &[Arr, Text, Text]],
            A::Fill => &[&[Item, Ints]],
            A::Slice => &[&[Arr, Int, Int]],
            A::Any(_) | A::All(_) => &[&[Item, Arr]],
        }
    }

    /// The type of its result, for items of this type.
    fn returns(self, item: &FieldRef) -> DataType {
        match self {
            A::Length | A::Cardinality | A::Ndims | A::Lower | A::Upper | A::Position => DataType::Int32,
            A::Dims | A::ToString => DataType::Utf8,
            A::Append | A::Prepend | A::Cat | A::Remove | A::Replace | A::Trim | A::Fill | A::Slice => {
                DataType::List(Arc::clone(item))
            }
            A::Positions => DataType::new_list(DataType::Int32, true),
            A::Subscript => item.data_type().clone(),
            A::Contains | A::Contained | A::Overlap | A::Compare(_) | A::Any(_) | A::All(_) => {
                DataType::Boolean
            }
        }
    }

    /// True if items are compared.
    pub fn compares(self) -> bool {
        use A as F;
        matches!(
            self,
            F::Remove
                | F::Replace
                | F::Position
                | F::Positions
                | F::Contains
                | F::Contained
                | F::Overlap
                | F::Compare(_)
                | F::Any(_)
                | F::All(_)
        )
    }
}

/// The function as DataFusion knows it. Its arguments already have the types of its slots, see `operators::array`.
#[derive(PartialEq, Eq, Hash, Debug)]
pub struct ArrayFunction {
    action: Action,
    signature: Signature,
}

impl ArrayFunction {
    /// For the registry, or for a call.
    pub fn udf(action: Action) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(ArrayFunction { action, signature }))
    }

    /// Its action.
    pub fn action(&self) -> Action {
        self.action
    }

    fn item(&self, fields: &[FieldRef]) -> Option<FieldRef> {
        let slots = self.action.slots().iter().find(|s| s.len() == fields.len())?;
        let list = slots.iter().zip(fields).find_map(|(slot, field)| match (slot, field.data_type()) {
            (Arr, DataType::List(item)) => Some(Arc::clone(item)),
            _ => None,
        });
        list.or_else(|| {
            let at = slots.iter().position(|slot| *slot == Item)?;
            Some(Arc::new(Field::new_list_field(fields[at].data_type().clone(), true)))
        })
    }
}

impl ScalarUDFImpl for ArrayFunction {
    fn name(&self) -> &str {
        self.action.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let fields: Vec<FieldRef> = types.iter().map(|t| Arc::new(Field::new("", t.clone(), true))).collect();
        let item = self.item(&fields).ok_or_else(|| undetermined(self.name()))?;
        Ok(self.action.returns(&item))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let item = self.item(args.arg_fields).ok_or_else(|| undetermined(self.name()))?;
        let field = Field::new(self.name(), self.action.returns(&item), true);
        let is_item = self.action == A::Subscript;
        Ok(Arc::new(if is_item { field.with_metadata(item.metadata().clone()) } else { field }))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let slots = self.action.slots().iter().find(|s| s.len() == types.len());
        let slots = slots.ok_or_else(|| undetermined(self.name()))?;
        let list = slots.iter().zip(types).find_map(|(slot, t)| match (slot, t) {
            (Arr, DataType::List(item)) => Some(item.data_type().clone()),
            _ => None,
        });
        let item = list.or_else(|| slots.iter().position(|s| *s == Item).map(|at| types[at].clone()));
        let item = item.ok_or_else(|| undetermined(self.name()))?;
        Ok(slots.iter().zip(types).map(|(slot, t)| slot_type(*slot, &item, t)).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let arrays = arrays.iter().map(wide).collect::<Result<Vec<_>>>()?;
        let result = evaluate(self.action, &arrays, rows, args.return_field.data_type())?;
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

/// Integers are widened: positions, and items that are compared with wide ones or each other.
fn wide(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Int16 | DataType::Int32 => cast(values, &DataType::Int64)?,
        _ => Arc::clone(values),
    })
}

/// The type of an argument, for items of this type. An argument of an equivalent type keeps its type.
pub fn slot_type(slot: Slot, item: &DataType, have: &DataType) -> DataType {
    match slot {
        Arr => match have {
            DataType::List(own) if own.data_type() == item => have.clone(),
            _ => DataType::new_list(item.clone(), true),
        },
        Item => item.clone(),
        Int => DataType::Int32,
        Text => DataType::Utf8,
        Ints => DataType::new_list(DataType::Int32, true),
    }
}

fn undetermined(name: &str) -> SqlError {
    SqlError::new(
        SqlState::DATATYPE_MISMATCH,
        format!("{name}: could not determine polymorphic type because input has type unknown"),
    )
}

/// The lists of an argument.
struct Lists<'a> {
    lists: &'a ListArray,
}

impl<'a> Lists<'a> {
    fn new(values: &'a ArrayRef) -> Result<Lists<'a>> {
        let lists = values.as_list_opt().ok_or_else(|| SqlError::internal("an argument is no array"))?;
        Ok(Lists { lists })
    }

    fn is_null(&self, row: usize) -> bool {
        self.lists.is_null(row)
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        if self.lists.is_null(row) {
            return 0..0;
        }
        let offsets = self.lists.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }

    fn len(&self, row: usize) -> usize {
        self.range(row).len()
    }

    fn items(&self) -> &'a ArrayRef {
        self.lists.values()
    }
}

/// Lists built from items of other lists.
struct Made {
    offsets: Vec<i32>,
    valid: Vec<bool>,
    picks: Vec<(usize, usize)>,
}

impl Made {
    fn new(rows: usize) -> Made {
        Made { offsets: vec![0], valid: Vec::with_capacity(rows), picks: vec![] }
    }

    /// Ends a list.
    fn end(&mut self, valid: bool) -> crate::error::Result<()> {
        let len = i32::try_from(self.picks.len()).map_err(|_| {
            SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "array size exceeds the maximum allowed")
        })?;
        self.offsets.push(len);
        self.valid.push(valid);
        Ok(())
    }

    /// `into` is the type of the lists, `sources` the arrays that items were picked from.
    fn finish(self, into: &DataType, sources: &[&ArrayRef]) -> Result<ArrayRef> {
        let DataType::List(item) = into else { return Err(SqlError::internal("a list was expected").into()) };
        let casted = sources.iter().map(|s| cast(s, item.data_type())).collect::<Result<Vec<_>, _>>()?;
        let sources: Vec<&dyn Array> = casted.iter().map(|s| s.as_ref()).collect();
        let items = interleave(&sources, &self.picks)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let nulls = NullBuffer::from(self.valid);
        Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, Some(nulls))?))
    }
}

/// Items normalised for comparison: minus zero becomes zero, and there is one NaN.
pub fn comparable(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float64 => {
            let plain = |v: f64| if v.is_nan() { f64::NAN } else { v + 0.0 };
            let values: Float64Array = values.as_primitive::<Float64Type>().unary(plain);
            Arc::new(values)
        }
        DataType::Float32 => {
            let plain = |v: f32| if v.is_nan() { f32::NAN } else { v + 0.0 };
            let values: Float32Array = values.as_primitive::<Float32Type>().unary(plain);
            Arc::new(values)
        }
        _ => Arc::clone(values),
    }
}

type Comparator = Box<dyn Fn(usize, usize) -> Ordering + Send + Sync>;

/// Compares items of two arrays; NULL equals NULL and sorts after all other items.
fn comparator(left: &ArrayRef, right: &ArrayRef) -> Result<Comparator> {
    let (left, right) = (wide(&comparable(left))?, wide(&comparable(right))?);
    let options = SortOptions { descending: false, nulls_first: false };
    Ok(make_comparator(left.as_ref(), right.as_ref(), options)?)
}

fn evaluate(action: Action, args: &[ArrayRef], rows: usize, into: &DataType) -> Result<ArrayRef> {
    match action {
        A::Length | A::Cardinality | A::Ndims | A::Lower | A::Upper => sizes(action, args, rows),
        A::Dims => {
            let lists = Lists::new(&args[0])?;
            let dims = |row: usize| (lists.len(row) > 0).then(|| format!("[1:{}]", lists.len(row)));
            Ok(Arc::new((0..rows).map(dims).collect::<StringArray>()))
        }
        A::Append | A::Prepend => added(action, args, rows, into),
        A::Cat => concatenated(args, rows, into),
        A::Remove | A::Replace => replaced(args, rows, into),
        A::Position | A::Positions => positions(action, args, rows, into),
        A::ToString => to_string(args, rows),
        A::Trim | A::Slice => sliced(action, args, rows, into),
        A::Fill => filled(args, rows, into),
        A::Subscript => subscripted(args, rows),
        A::Contains => contained(&args[0], &args[1], rows),
        A::Contained => contained(&args[1], &args[0], rows),
        A::Overlap => overlapping(args, rows),
        A::Compare(op) => compared(op, args, rows),
        A::Any(op) => quantified(op, args, rows, true),
        A::All(op) => quantified(op, args, rows, false),
    }
}

fn sizes(action: Action, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let lists = Lists::new(&args[0])?;
    let dimension = args.get(1).map(|a| a.as_primitive::<Int64Type>());
    let one = |row: usize| {
        if lists.is_null(row) || dimension.is_some_and(|d| d.is_null(row)) {
            return None;
        }
        let len = lists.len(row) as i32;
        if action == A::Cardinality {
            return Some(len);
        }
        let first = dimension.is_none_or(|d| d.value(row) == 1);
        (first && len > 0).then_some(match action {
            A::Length | A::Upper => len,
            _ => 1,
        })
    };
    Ok(Arc::new((0..rows).map(one).collect::<Int32Array>()))
}

fn added(action: Action, args: &[ArrayRef], rows: usize, into: &DataType) -> Result<ArrayRef> {
    let (list, item) = if action == A::Append { (0, 1) } else { (1, 0) };
    let lists = Lists::new(&args[list])?;
    let mut made = Made::new(rows);
    for row in 0..rows {
        if action == A::Prepend {
            made.picks.push((1, row));
        }
        made.picks.extend(lists.range(row).map(|at| (0, at)));
        if action == A::Append {
            made.picks.push((1, row));
        }
        made.end(true)?;
    }
    made.finish(into, &[lists.items(), &args[item]])
}

fn concatenated(args: &[ArrayRef], rows: usize, into: &DataType) -> Result<ArrayRef> {
    let (left, right) = (Lists::new(&args[0])?, Lists::new(&args[1])?);
    let mut made = Made::new(rows);
    for row in 0..rows {
        made.picks.extend(left.range(row).map(|at| (0, at)));
        made.picks.extend(right.range(row).map(|at| (1, at)));
        made.end(!left.is_null(row) || !right.is_null(row))?;
    }
    made.finish(into, &[left.items(), right.items()])
}

/// Removes the items that equal the second argument, or replaces them by the third.
fn replaced(args: &[ArrayRef], rows: usize, into: &DataType) -> Result<ArrayRef> {
    let lists = Lists::new(&args[0])?;
    let compare = comparator(lists.items(), &args[1])?;
    let mut made = Made::new(rows);
    for row in 0..rows {
        for at in lists.range(row) {
            if compare(at, row).is_ne() {
                made.picks.push((0, at));
            } else if args.len() > 2 {
                made.picks.push((1, row));
            }
        }
        made.end(!lists.is_null(row))?;
    }
    made.finish(into, &[lists.items(), args.get(2).unwrap_or(&args[1])])
}

fn positions(action: Action, args: &[ArrayRef], rows: usize, into: &DataType) -> Result<ArrayRef> {
    let lists = Lists::new(&args[0])?;
    let compare = comparator(lists.items(), &args[1])?;
    let mut all = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut from = 0;
        if let Some(start) = args.get(2).map(|a| a.as_primitive::<Int64Type>()) {
            if start.is_null(row) {
                return Err(SqlError::new(
                    SqlState::NULL_VALUE_NOT_ALLOWED,
                    "initial position must not be null",
                )
                .into());
            }
            from = usize::try_from(start.value(row) - 1).unwrap_or(0);
        }
        let range = lists.range(row);
        let found = range.clone().skip(from).filter(|at| compare(*at, row).is_eq());
        let numbers: Vec<i32> = found.map(|at| (at - range.start) as i32 + 1).collect();
        all.push((!lists.is_null(row)).then_some(numbers));
    }
    if action == A::Position {
        let first = all.iter().map(|found| found.as_ref().and_then(|f| f.first().copied()));
        return Ok(Arc::new(first.collect::<Int32Array>()));
    }
    let items: Int32Array = all.iter().flatten().flatten().map(|v| Some(*v)).collect();
    let items: ArrayRef = Arc::new(items);
    let mut made = Made::new(rows);
    for found in &all {
        let start = made.picks.len();
        made.picks.extend((start..start + found.as_ref().map_or(0, Vec::len)).map(|at| (0, at)));
        made.end(found.is_some())?;
    }
    made.finish(into, &[&items])
}

fn to_string(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let lists = Lists::new(&args[0])?;
    let separators = args[1].as_string::<i32>();
    let nulls = args.get(2).map(|a| a.as_string::<i32>());
    let mut texts = Vec::with_capacity(rows);
    let mut buffer = bytes::BytesMut::new();
    for row in 0..rows {
        if lists.is_null(row) || separators.is_null(row) {
            texts.push(None);
            continue;
        }
        let (mut text, mut first) = (String::new(), true);
        for at in lists.range(row) {
            let null = lists.items().is_null(at);
            let Some(shown) =
                (if null { nulls.filter(|n| n.is_valid(row)).map(|n| n.value(row)) } else { Some("") })
            else {
                continue;
            };
            if !first {
                text.push_str(separators.value(row));
            }
            first = false;
            if null {
                text.push_str(shown);
            } else {
                buffer.clear();
                encode::text(lists.items().as_ref(), at, &mut buffer)?;
                text.push_str(&String::from_utf8_lossy(&buffer));
            }
            check_len(text.len())?;
        }
        texts.push(Some(text));
    }
    Ok(Arc::new(StringArray::from(texts)))
}

fn sliced(action: Action, args: &[ArrayRef], rows: usize, into: &DataType) -> Result<ArrayRef> {
    let lists = Lists::new(&args[0])?;
    let number = |n: usize, row: usize| {
        let numbers = args[n].as_primitive::<Int64Type>();
        numbers.is_valid(row).then(|| numbers.value(row))
    };
    let mut made = Made::new(rows);
    for row in 0..rows {
        let (range, len) = (lists.range(row), lists.len(row) as i64);
        let bounds = if action == A::Trim {
            let dropped = number(1, row);
            if let Some(n) = dropped
                && (n < 0 || n > len)
                && !lists.is_null(row)
            {
                let message = format!("number of elements to trim must be between 0 and {len}");
                return Err(SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message).into());
            }
            dropped.map(|n| (1, len - n))
        } else {
            number(1, row).zip(number(2, row))
        };
        let Some((low, high)) = bounds.filter(|_| !lists.is_null(row)) else {
            made.end(false)?;
            continue;
        };
        let (low, high) = (low.max(1), high.min(len));
        if low <= high {
            made.picks.extend(range.skip(low as usize - 1).take((high - low) as usize + 1).map(|at| (0, at)));
        }
        made.end(true)?;
    }
    made.finish(into, &[lists.items()])
}

fn filled(args: &[ArrayRef], rows: usize, into: &DataType) -> Result<ArrayRef> {
    let lengths = Lists::new(&args[1])?;
    let numbers = lengths.items().as_primitive::<datafusion::arrow::datatypes::Int32Type>();
    let mut made = Made::new(rows);
    for row in 0..rows {
        let range = lengths.range(row);
        if lengths.is_null(row) {
            return Err(SqlError::new(
                SqlState::NULL_VALUE_NOT_ALLOWED,
                "dimension array or low bound array cannot be null",
            )
            .into());
        }
        if range.len() > 1 {
            return Err(SqlError::unsupported("only arrays of one dimension are supported").into());
        }
        if range.clone().any(|at| numbers.is_null(at)) {
            return Err(
                SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension values cannot be null").into()
            );
        }
        let len = range.clone().next().map_or(0, |at| numbers.value(at).max(0)) as usize;
        check_len(len.saturating_mul(16))?;
        made.picks.extend(std::iter::repeat_n((0, row), len));
        made.end(true)?;
    }
    made.finish(into, &[&args[0]])
}

fn subscripted(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let lists = Lists::new(&args[0])?;
    let numbers = args[1].as_primitive::<Int64Type>();
    let nothing = new_null_array(lists.items().data_type(), 1);
    let pick = |row: usize| {
        let at = numbers.is_valid(row).then(|| usize::try_from(numbers.value(row) - 1).ok()).flatten();
        at.and_then(|at| lists.range(row).nth(at)).map_or((1, 0), |at| (0, at))
    };
    let picks: Vec<(usize, usize)> = (0..rows).map(pick).collect();
    Ok(interleave(&[lists.items().as_ref(), nothing.as_ref()], &picks)?)
}

/// Every item of `part` equals one of `whole`; a NULL equals none.
fn contained(whole: &ArrayRef, part: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    let (whole, part) = (Lists::new(whole)?, Lists::new(part)?);
    let compare = comparator(part.items(), whole.items())?;
    let one = |row: usize| {
        (!whole.is_null(row) && !part.is_null(row)).then(|| {
            part.range(row)
                .all(|p| part.items().is_valid(p) && whole.range(row).any(|w| compare(p, w).is_eq()))
        })
    };
    Ok(Arc::new((0..rows).map(one).collect::<BooleanArray>()))
}

fn overlapping(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (left, right) = (Lists::new(&args[0])?, Lists::new(&args[1])?);
    let compare = comparator(left.items(), right.items())?;
    let one = |row: usize| {
        (!left.is_null(row) && !right.is_null(row)).then(|| {
            left.range(row)
                .any(|l| left.items().is_valid(l) && right.range(row).any(|r| compare(l, r).is_eq()))
        })
    };
    Ok(Arc::new((0..rows).map(one).collect::<BooleanArray>()))
}

fn holds(op: Operator, order: Ordering) -> bool {
    match op {
        Operator::Eq => order.is_eq(),
        Operator::NotEq => order.is_ne(),
        Operator::Lt => order.is_lt(),
        Operator::LtEq => order.is_le(),
        Operator::Gt => order.is_gt(),
        _ => order.is_ge(),
    }
}

/// Item by item, then by length. NULLs are equal to each other.
fn compared(op: Operator, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (left, right) = (Lists::new(&args[0])?, Lists::new(&args[1])?);
    let compare = comparator(left.items(), right.items())?;
    let one = |row: usize| {
        (!left.is_null(row) && !right.is_null(row)).then(|| {
            let mut orders = left.range(row).zip(right.range(row)).map(|(l, r)| compare(l, r));
            let first = orders.find(|order| order.is_ne());
            holds(op, first.unwrap_or_else(|| left.len(row).cmp(&right.len(row))))
        })
    };
    Ok(Arc::new((0..rows).map(one).collect::<BooleanArray>()))
}

/// `item op ANY(array)` is true if it holds for one item, `ALL` if for each; NULL if NULLs leave it undecided.
fn quantified(op: Operator, args: &[ArrayRef], rows: usize, any: bool) -> Result<ArrayRef> {
    let lists = Lists::new(&args[1])?;
    let items = &args[0];
    let compare = comparator(items, lists.items())?;
    let one = |row: usize| {
        if lists.is_null(row) {
            return None;
        }
        let mut open = false;
        for at in lists.range(row) {
            if items.is_null(row) || lists.items().is_null(at) {
                open = true;
            } else if holds(op, compare(row, at)) == any {
                return Some(any);
            }
        }
        if open { None } else { Some(!any) }
    };
    Ok(Arc::new((0..rows).map(one).collect::<BooleanArray>()))
}
