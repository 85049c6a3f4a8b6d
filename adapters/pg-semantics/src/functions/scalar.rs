//! Our functions that evaluate one row at a time: their arguments, the choice of the overload, the evaluation of a row.
//! A function is a table of [`Overload`]s, each implemented by a plain function over [`Row`].

use std::borrow::Cow;
use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, Float64Array,
    Float64Builder, Int32Builder, Int64Array, Int64Builder, ListArray, ListBuilder, StringArray,
    StringBuilder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::text::pattern::Patterns;
use crate::error::{SqlError, SqlState};
use crate::types::{Base, PgType, ROW_MODIFIER, length_modifier, typed, typed_with};

/// Most bytes of all values of one batch: offsets are 32 bits wide.
const BATCH_BYTES_MAX: usize = i32::MAX as usize;

/// A type of arguments and results.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Bool,
    Int4,
    Int8,
    Float8,
    Text,
    Varchar,
    Bytea,
    Jsonb,
    TextArray,
    /// A value of any type, as its text.
    Any,
    /// A value of any type, as the JSON text of `to_jsonb`.
    AnyJson,
    /// A value of any type, as the JSON text of `to_json`; as a result, json.
    PlainJson,
    /// As a result, json of a row.
    JsonRow,
}

impl Kind {
    /// The Arrow type of its values.
    pub fn arrow(self) -> DataType {
        match self {
            Kind::Bool => DataType::Boolean,
            Kind::Int4 => DataType::Int32,
            Kind::Int8 => DataType::Int64,
            Kind::Float8 => DataType::Float64,
            Kind::Bytea => DataType::Binary,
            Kind::TextArray => DataType::new_list(DataType::Utf8, true),
            Kind::Text | Kind::Varchar | Kind::Jsonb => DataType::Utf8,
            Kind::Any | Kind::AnyJson | Kind::PlainJson | Kind::JsonRow => DataType::Utf8,
        }
    }

    fn field(self, name: &str) -> Field {
        let field = Field::new(name, self.arrow(), true);
        match self {
            Kind::Jsonb => typed(field, Base::Jsonb),
            Kind::PlainJson => typed(field, Base::Json),
            Kind::JsonRow => typed_with(field, Base::Json, ROW_MODIFIER),
            Kind::Varchar => typed(field, Base::Varchar),
            _ => field,
        }
    }

    /// The distance of a value's type from this kind; None: there is no implicit conversion.
    fn distance(self, param: &Param) -> Option<u32> {
        if param.open {
            return Some(if self == Kind::Text { 0 } else { 1 });
        }
        let base = match param.pg {
            _ if matches!(self, Kind::Any | Kind::AnyJson | Kind::PlainJson) => return Some(0),
            PgType::Array(base) => return (self == Kind::TextArray && is_text(base)).then_some(0),
            PgType::One(base) => base,
        };
        match (self, base) {
            (Kind::Bool, Base::Bool) | (Kind::Bytea, Base::Bytea) | (Kind::Jsonb, Base::Jsonb) => Some(0),
            (Kind::Int4, Base::Int4) | (Kind::Int8, Base::Int8) | (Kind::Float8, Base::Float8) => Some(0),
            (Kind::Int4, Base::Int2) | (Kind::Int8, Base::Int2 | Base::Int4) => Some(1),
            // An integer whose width is not resolved yet.
            (Kind::Int4, Base::Int8) if param.lenient => Some(2),
            (Kind::Float8, Base::Float4 | Base::Int2 | Base::Int4 | Base::Int8 | Base::Numeric) => Some(3),
            (Kind::Text | Kind::Varchar, base) if is_text(base) => Some(0),
            // The Arrow type alone does not tell which text type a column has.
            (Kind::Jsonb, base) if param.lenient && is_text(base) => Some(1),
            _ => None,
        }
    }
}

fn is_text(base: Base) -> bool {
    matches!(base, Base::Text | Base::Varchar | Base::Bpchar | Base::Name | Base::Char)
}

/// An argument during the resolution of a call.
pub struct Param {
    /// Its type.
    pub pg: PgType,
    /// A literal of unknown type.
    pub open: bool,
    /// Only the Arrow type is known: any type that could fit is accepted.
    pub lenient: bool,
}

/// The evaluation of a row.
pub type Body = for<'a> fn(&Row<'a>) -> crate::error::Result<Value<'a>>;

/// One way to call a function.
#[derive(Debug)]
pub struct Overload {
    args: &'static [Kind],
    /// The kind of any number of further arguments.
    variadic: Option<Kind>,
    returns: Kind,
    /// False if the function is also called for NULL.
    strict: bool,
    body: Body,
}

/// An overload whose result is NULL if an argument is.
pub const fn on(args: &'static [Kind], returns: Kind, body: Body) -> Overload {
    Overload { args, variadic: None, returns, strict: true, body }
}

/// An overload with any number of further arguments, each of which may be NULL.
pub const fn on_any(args: &'static [Kind], rest: Kind, returns: Kind, body: Body) -> Overload {
    Overload { args, variadic: Some(rest), returns, strict: false, body }
}

/// An overload that is called for NULL.
pub const fn on_null(args: &'static [Kind], returns: Kind, body: Body) -> Overload {
    Overload { args, variadic: None, returns, strict: false, body }
}

impl Overload {
    fn kind(&self, at: usize) -> Option<Kind> {
        self.args.get(at).copied().or(self.variadic)
    }

    fn distance(&self, params: &[Param]) -> Option<u32> {
        if params.len() < self.args.len() || (self.variadic.is_none() && params.len() > self.args.len()) {
            return None;
        }
        params.iter().enumerate().map(|(at, param)| self.kind(at)?.distance(param)).sum()
    }
}

/// One of our functions.
#[derive(Debug)]
pub struct Function {
    /// Its name in PostgreSQL.
    pub name: &'static str,
    /// The ways to call it.
    pub overloads: &'static [Overload],
}

impl Function {
    /// The overload for these arguments: the one with the fewest conversions.
    fn resolve(&self, params: &[Param]) -> crate::error::Result<&'static Overload> {
        let fits = self.overloads.iter().filter_map(|o| Some((o.distance(params)?, o)));
        // Of equally near ones, the first.
        let nearest = fits.reduce(|best, next| if next.0 < best.0 { next } else { best });
        nearest.map(|(_, overload)| overload).ok_or_else(|| no_function(self.name, params))
    }
}

/// 42883, in PostgreSQL's words.
pub fn no_function(name: &str, params: &[Param]) -> SqlError {
    let types = params.iter().map(|p| if p.open { "unknown".into() } else { p.pg.sql_name() });
    let types = types.collect::<Vec<_>>().join(", ");
    SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function {name}({types}) does not exist")).with_hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}

/// The function as DataFusion knows it.
#[derive(Debug)]
pub struct Scalar {
    function: &'static Function,
    signature: Signature,
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Scalar) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl Scalar {
    /// For the registry.
    pub fn udf(function: &'static Function) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Scalar { function, signature }))
    }

    /// The kinds that the arguments of a call must have, from the overload chosen by their types.
    pub fn argument_kinds(&self, params: &[Param]) -> crate::error::Result<Vec<Kind>> {
        let overload = self.function.resolve(params)?;
        Ok((0..params.len()).map(|at| overload.kind(at).unwrap_or(Kind::Any)).collect())
    }

    fn argument_types(&self, params: &[Param]) -> crate::error::Result<Vec<Option<DataType>>> {
        let typed =
            |kind: Kind| (!matches!(kind, Kind::Any | Kind::AnyJson | Kind::PlainJson)).then(|| kind.arrow());
        Ok(self.argument_kinds(params)?.into_iter().map(typed).collect())
    }

    fn overload(&self, fields: &[FieldRef]) -> crate::error::Result<&'static Overload> {
        let param = |field: &FieldRef| Param {
            pg: PgType::of(field),
            open: matches!(field.data_type(), DataType::Null),
            lenient: false,
        };
        let params: Vec<Param> = fields.iter().map(param).collect();
        self.function.resolve(&params).or_else(|error| {
            // A literal for jsonb has the type text.
            let loose = |p: Param| Param { lenient: true, ..p };
            let any_typed = fields.iter().any(|f| !f.metadata().is_empty());
            if any_typed {
                Err(error)
            } else {
                self.function.resolve(&params.into_iter().map(loose).collect::<Vec<_>>())
            }
        })
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let params: Vec<Param> = types.iter().map(lenient).collect();
        Ok(self.function.resolve(&params)?.returns.arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let returns = self.overload(args.arg_fields)?.returns;
        let field = returns.field(self.function.name);
        // The length to which varchar truncates.
        match (returns, args.scalar_arguments) {
            (Kind::Varchar, [_, Some(ScalarValue::Int32(Some(chars)))]) => {
                Ok(Arc::new(typed_with(field, Base::Varchar, length_modifier(*chars as u32))))
            }
            _ => Ok(Arc::new(field)),
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let params: Vec<Param> = types.iter().map(lenient).collect();
        let wanted = self.argument_types(&params)?;
        Ok(types.iter().zip(wanted).map(|(have, want)| want.unwrap_or_else(|| have.clone())).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let overload = self.overload(&args.arg_fields)?;
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let columns = args.args.iter().zip(&args.arg_fields).enumerate().map(|(at, (value, field))| {
            let kind = overload.kind(at).unwrap_or(Kind::Any);
            match value {
                ColumnarValue::Array(values) => Column::new(values, kind, field, false),
                ColumnarValue::Scalar(value) => Column::new(&value.to_array()?, kind, field, true),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let result = evaluate(overload, &columns, rows)?;
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

fn lenient(data_type: &DataType) -> Param {
    let open = matches!(data_type, DataType::Null);
    Param { pg: PgType::of_arrow(data_type), open, lenient: true }
}

fn evaluate(overload: &Overload, columns: &[Column], rows: usize) -> Result<ArrayRef> {
    let patterns = RefCell::new(Patterns::default());
    let mut out = Out::new(overload.returns, rows);
    for at in 0..rows {
        let row = Row { columns, at, patterns: &patterns };
        if overload.strict && (0..columns.len()).any(|n| row.is_null(n)) {
            out.push(Value::Null)?;
        } else {
            out.push((overload.body)(&row)?)?;
        }
    }
    Ok(out.finish())
}

/// The values of an argument.
struct Column {
    values: Values,
    /// One value for all rows.
    constant: bool,
}

enum Values {
    Null,
    Bool(BooleanArray),
    Int(Int64Array),
    Float(Float64Array),
    Text(StringArray),
    Bytes(BinaryArray),
    Texts(ListArray),
}

impl Column {
    fn new(values: &ArrayRef, kind: Kind, field: &Field, constant: bool) -> Result<Column> {
        let values = if matches!(values.data_type(), DataType::Null) {
            Values::Null
        } else {
            match kind {
                Kind::Bool => Values::Bool(cast(values, &DataType::Boolean)?.as_boolean().clone()),
                Kind::Int4 | Kind::Int8 => {
                    Values::Int(cast(values, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
                }
                Kind::Float8 => {
                    Values::Float(cast(values, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
                }
                Kind::Text | Kind::Varchar | Kind::Jsonb | Kind::JsonRow => {
                    Values::Text(cast(values, &DataType::Utf8)?.as_string().clone())
                }
                Kind::Bytea => Values::Bytes(cast(values, &DataType::Binary)?.as_binary().clone()),
                Kind::TextArray => Values::Texts(cast(values, &kind.arrow())?.as_list().clone()),
                Kind::Any => Values::Text(printed(values)?),
                Kind::AnyJson => Values::Text(super::json::as_json(values, field)?),
                Kind::PlainJson => Values::Text(super::json::as_plain_json(values, field)?),
            }
        };
        Ok(Column { values, constant })
    }

    fn is_null(&self, row: usize) -> bool {
        match &self.values {
            Values::Null => true,
            Values::Bool(v) => v.is_null(row),
            Values::Int(v) => v.is_null(row),
            Values::Float(v) => v.is_null(row),
            Values::Text(v) => v.is_null(row),
            Values::Bytes(v) => v.is_null(row),
            Values::Texts(v) => v.is_null(row),
        }
    }
}

/// Values as they are printed: unlike in a cast to text, true is `t`.
fn printed(values: &ArrayRef) -> crate::error::Result<StringArray> {
    if let Some(texts) = values.as_string_opt::<i32>() {
        return Ok(texts.clone());
    }
    let mut out = bytes::BytesMut::new();
    let mut texts = StringBuilder::new();
    for row in 0..values.len() {
        if values.is_null(row) {
            texts.append_null();
            continue;
        }
        out.clear();
        crate::types::encode::text(values.as_ref(), row, &mut out)?;
        texts.append_value(String::from_utf8_lossy(&out));
    }
    Ok(texts.finish())
}

/// The arguments of one row. Access with another kind than the overload's is an internal mistake and returns an empty
/// value.
pub struct Row<'a> {
    columns: &'a [Column],
    at: usize,
    patterns: &'a RefCell<Patterns>,
}

impl<'a> Row<'a> {
    fn value(&self, n: usize) -> (Option<&'a Values>, usize) {
        match self.columns.get(n) {
            Some(column) => (Some(&column.values), if column.constant { 0 } else { self.at }),
            None => (None, 0),
        }
    }

    /// Number of arguments.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// True without arguments.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// True if the argument is NULL, or not given.
    pub fn is_null(&self, n: usize) -> bool {
        self.columns.get(n).is_none_or(|column| column.is_null(if column.constant { 0 } else { self.at }))
    }

    /// A text.
    pub fn text(&self, n: usize) -> &'a str {
        match self.value(n) {
            (Some(Values::Text(values)), at) => values.value(at),
            _ => "",
        }
    }

    /// A text; None if it is NULL or not given.
    pub fn text_if(&self, n: usize) -> Option<&'a str> {
        (!self.is_null(n)).then(|| self.text(n))
    }

    /// Bytes.
    pub fn bytes(&self, n: usize) -> &'a [u8] {
        match self.value(n) {
            (Some(Values::Bytes(values)), at) => values.value(at),
            _ => &[],
        }
    }

    /// A whole number.
    pub fn int(&self, n: usize) -> i64 {
        match self.value(n) {
            (Some(Values::Int(values)), at) => values.value(at),
            _ => 0,
        }
    }

    /// A double precision.
    pub fn float(&self, n: usize) -> f64 {
        match self.value(n) {
            (Some(Values::Float(values)), at) => values.value(at),
            _ => 0.0,
        }
    }

    /// A truth value.
    pub fn bool(&self, n: usize) -> bool {
        match self.value(n) {
            (Some(Values::Bool(values)), at) => values.value(at),
            _ => false,
        }
    }

    /// The items of an array of texts.
    pub fn texts(&self, n: usize) -> Vec<Option<&'a str>> {
        let (Some(Values::Texts(lists)), at) = self.value(n) else { return vec![] };
        let offsets = lists.value_offsets();
        let items: &'a StringArray = lists.values().as_string();
        (offsets[at] as usize..offsets[at + 1] as usize)
            .map(|item| items.is_valid(item).then(|| items.value(item)))
            .collect()
    }

    /// Patterns that were compiled for rows before.
    pub fn patterns(&self) -> std::cell::RefMut<'a, Patterns> {
        self.patterns.borrow_mut()
    }
}

/// The result for one row.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Texts(Vec<Option<Cow<'a, str>>>),
}

macro_rules! values {
    ($($from:ty => $value:expr;)*) => {
        $(impl<'a> From<$from> for Value<'a> {
            fn from(value: $from) -> Value<'a> {
                let made: fn($from) -> Value<'a> = $value;
                made(value)
            }
        })*
    };
}

values! {
    bool => Value::Bool;
    i64 => Value::Int;
    i32 => |v| Value::Int(v.into());
    usize => |v| Value::Int(v as i64);
    f64 => Value::Float;
    &'a str => |v| Value::Text(Cow::Borrowed(v));
    String => |v| Value::Text(Cow::Owned(v));
    Cow<'a, str> => Value::Text;
    &'a [u8] => |v| Value::Bytes(Cow::Borrowed(v));
    Vec<u8> => |v| Value::Bytes(Cow::Owned(v));
    Vec<Option<Cow<'a, str>>> => Value::Texts;
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Value<'a> {
        value.map_or(Value::Null, Into::into)
    }
}

/// Results as a column.
enum Out {
    Bool(BooleanBuilder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float8(Float64Builder),
    Text(StringBuilder, usize),
    Bytes(BinaryBuilder, usize),
    Texts(ListBuilder<StringBuilder>, usize),
}

impl Out {
    fn new(kind: Kind, rows: usize) -> Out {
        match kind {
            Kind::Bool => Out::Bool(BooleanBuilder::with_capacity(rows)),
            Kind::Int4 => Out::Int4(Int32Builder::with_capacity(rows)),
            Kind::Int8 => Out::Int8(Int64Builder::with_capacity(rows)),
            Kind::Float8 => Out::Float8(Float64Builder::with_capacity(rows)),
            Kind::Bytea => Out::Bytes(BinaryBuilder::new(), 0),
            Kind::TextArray => Out::Texts(ListBuilder::new(StringBuilder::new()), 0),
            Kind::Text | Kind::Varchar | Kind::Jsonb => Out::Text(StringBuilder::new(), 0),
            Kind::Any | Kind::AnyJson | Kind::PlainJson | Kind::JsonRow => Out::Text(StringBuilder::new(), 0),
        }
    }

    fn push(&mut self, value: Value) -> crate::error::Result<()> {
        let count = |total: &mut usize, len: usize| {
            *total = total.saturating_add(len);
            if *total <= BATCH_BYTES_MAX {
                return Ok(());
            }
            Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "the results of a function are too long together",
            )
            .with_hint("Select fewer rows, or shorter values."))
        };
        match (self, value) {
            (Out::Bool(out), Value::Bool(v)) => out.append_value(v),
            (Out::Bool(out), _) => out.append_null(),
            (Out::Int4(out), Value::Int(v)) => match i32::try_from(v) {
                Ok(v) => out.append_value(v),
                Err(_) => {
                    return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range"));
                }
            },
            (Out::Int4(out), _) => out.append_null(),
            (Out::Int8(out), Value::Int(v)) => out.append_value(v),
            (Out::Int8(out), _) => out.append_null(),
            (Out::Float8(out), Value::Float(v)) => out.append_value(v),
            (Out::Float8(out), _) => out.append_null(),
            (Out::Text(out, total), Value::Text(v)) => {
                count(total, v.len())?;
                out.append_value(v);
            }
            (Out::Text(out, _), _) => out.append_null(),
            (Out::Bytes(out, total), Value::Bytes(v)) => {
                count(total, v.len())?;
                out.append_value(v);
            }
            (Out::Bytes(out, _), _) => out.append_null(),
            (Out::Texts(out, total), Value::Texts(items)) => {
                for item in items {
                    count(total, item.as_ref().map_or(0, |i| i.len()) + 1)?;
                    out.values().append_option(item);
                }
                out.append(true);
            }
            (Out::Texts(out, _), _) => out.append(false),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Out::Bool(mut out) => Arc::new(out.finish()),
            Out::Int4(mut out) => Arc::new(out.finish()),
            Out::Int8(mut out) => Arc::new(out.finish()),
            Out::Float8(mut out) => Arc::new(out.finish()),
            Out::Text(mut out, _) => Arc::new(out.finish()),
            Out::Bytes(mut out, _) => Arc::new(out.finish()),
            Out::Texts(mut out, _) => Arc::new(out.finish()),
        }
    }
}
