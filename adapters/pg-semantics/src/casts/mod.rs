//! Casts whose results differ between PostgreSQL and Arrow: PostgreSQL rounds to whole numbers where Arrow truncates,
//! and it prints floats, times and bytea differently. Assignments convert in the same way.

pub mod array;
pub mod convert;
mod numeric;
pub mod text;
pub mod time;

use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::functions::overload::Kind;
use crate::types::{Base, PgType};
use text::from_texts;

/// The cast of an expression of known type, resolved as far as planning allows.
pub fn settle(cast: Cast, schema: &DFSchema) -> Result<Expr> {
    match cast.field.data_type() {
        DataType::Decimal128(..) | DataType::Decimal256(..) => numeric::settle(cast, schema),
        _ if PgType::of(&cast.field) == PgType::One(Base::Uuid) => {
            let Cast { expr, field } = cast;
            Ok(Expr::Cast(Cast { expr: Box::new(as_uuid(*expr)?), field }))
        }
        into if Kind::of(into).is_some_and(Kind::is_time) => time_literal(cast),
        _ => Ok(Expr::Cast(cast)),
    }
}

/// The values of a column as values of a type wide enough for them.
pub fn as_result(expr: Expr, into: &DataType, schema: &DFSchema) -> Result<Expr> {
    let field = std::sync::Arc::new(datafusion::arrow::datatypes::Field::new("", into.clone(), true));
    let cast = settle(Cast { expr: Box::new(expr), field }, schema)?;
    Ok(if into.is_decimal() { numeric::with_digits(cast, into) } else { cast })
}

/// A numeric as one of the widest type.
pub fn widened(value: Expr) -> Expr {
    numeric::widened(value)
}

/// A text that is cast to a time is parsed here, before DataFusion parses it by other rules.
fn time_literal(cast: Cast) -> Result<Expr> {
    match cast.expr.as_ref() {
        Expr::Literal(text @ ScalarValue::Utf8(Some(_)), metadata) => {
            let read = self::cast(&text.to_array()?, cast.field.data_type())?;
            Ok(Expr::Literal(ScalarValue::try_from_array(&read, 0)?, metadata.clone()))
        }
        _ => Ok(Expr::Cast(cast)),
    }
}

/// The cast with PostgreSQL's semantics.
pub fn as_postgres(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::Cast(Cast { expr: value, field }) = &expr else { return Ok(Transformed::no(expr)) };
    let from = value.get_type(schema)?;
    let into = field.data_type();
    if from.is_decimal() && into.is_floating() {
        return Ok(Transformed::yes(numeric::to_float(value.as_ref().clone(), into)));
    }
    refuse(&from, into)?;
    if !differs(&from, into) {
        return Ok(Transformed::no(expr));
    }
    // A literal is parsed during planning, so that an invalid one fails whatever the rows.
    if let Expr::Literal(text @ ScalarValue::Utf8(Some(_)), metadata) = value.as_ref() {
        let read = cast(&text.to_array()?, into)?;
        return Ok(Transformed::yes(Expr::Literal(ScalarValue::try_from_array(&read, 0)?, metadata.clone())));
    }
    let signature = Signature::any(1, Volatility::Immutable);
    let function = ScalarUDF::from(PgCast { into: field.data_type().clone(), signature });
    Ok(Transformed::yes(function.call(vec![value.as_ref().clone()])))
}

/// Texts compared with uuids, in canonical form: a uuid can be written in several ways.
pub fn compared(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_uuid = |e: &Expr| {
        Ok::<_, DataFusionError>(PgType::of(e.to_field(schema)?.1.as_ref()) == PgType::One(Base::Uuid))
    };
    match expr {
        Expr::BinaryExpr(mut binary) if is_comparison(binary.op) => {
            if is_uuid(&binary.left)? {
                *binary.right = as_uuid(*binary.right)?;
            } else if is_uuid(&binary.right)? {
                *binary.left = as_uuid(*binary.left)?;
            }
            Ok(Transformed::yes(Expr::BinaryExpr(binary)))
        }
        Expr::InList(mut list) if is_uuid(&list.expr)? => {
            list.list = list.list.into_iter().map(as_uuid).collect::<Result<_>>()?;
            Ok(Transformed::yes(Expr::InList(list)))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator as O;
    matches!(
        op,
        O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::IsDistinctFrom | O::IsNotDistinctFrom
    )
}

fn as_uuid(expr: Expr) -> Result<Expr> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) => {
            let read = from_texts(&StringArray::from(vec![text]), Base::Uuid, &DataType::Utf8)?;
            Ok(Expr::Literal(ScalarValue::try_from_array(&read, 0)?, metadata))
        }
        Expr::Cast(Cast { expr, field }) if *field.data_type() == DataType::Utf8 => {
            Ok(Expr::Cast(Cast { expr: Box::new(as_uuid(*expr)?), field }))
        }
        other => Ok(other),
    }
}

/// Rejects casts that Arrow has and PostgreSQL does not: between times and numbers.
fn refuse(from: &DataType, into: &DataType) -> Result<()> {
    let (Some(f), Some(i)) = (Kind::of(from), Kind::of(into)) else {
        let number = |t: &DataType| t.is_decimal() || matches!(t, DataType::Binary);
        let is_time = |t: &DataType| Kind::of(t).is_some_and(Kind::is_time);
        return match number(from) && is_time(into) || is_time(from) && number(into) {
            true => Err(time::no_cast(from, into).into()),
            false => Ok(()),
        };
    };
    let apart = f.is_time() != i.is_time() && f != Kind::Text && i != Kind::Text;
    if apart || f.is_time() && i.is_time() && f != i && !time::exists(f, i) {
        return Err(time::no_cast(from, into).into());
    }
    Ok(())
}

fn differs(from: &DataType, into: &DataType) -> bool {
    use DataType as D;
    if time::converts(from, into) {
        return true;
    }
    match into {
        D::Date32
        | D::Time64(TimeUnit::Microsecond)
        | D::Timestamp(TimeUnit::Microsecond, _)
        | D::Interval(_) => from.is_string(),
        D::Int16 | D::Int32 | D::Int64 => from.is_floating() || from.is_decimal() || from.is_string(),
        D::Float32 => from.is_string() || matches!(from, D::Float64) || from.is_decimal(),
        D::Boolean | D::Float64 => from.is_string(),
        D::Binary => matches!(from, D::Utf8),
        D::List(_) => matches!(from, D::Utf8 | D::List(_)) && from != into,
        D::Utf8 => {
            from.is_floating()
                || matches!(from, D::Binary | D::List(_))
                || Kind::of(from).is_some_and(Kind::is_time)
        }
        _ => false,
    }
}

/// A cast to a type.
#[derive(PartialEq, Eq, Hash, Debug)]
struct PgCast {
    into: DataType,
    signature: Signature,
}

impl PgCast {
    fn convert(&self, values: &ArrayRef) -> Result<ArrayRef> {
        cast(values, &self.into)
    }
}

fn cast(values: &ArrayRef, into: &DataType) -> Result<ArrayRef> {
    let texts = || convert::arrow_cast(values, &DataType::Utf8);
    Ok(match (into, Kind::of(into)) {
        (
            DataType::Boolean
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64,
            _,
        ) if values.data_type().is_string() => {
            let PgType::One(base) = PgType::of_arrow(into) else {
                return plan_err!("{into} is no type of one value");
            };
            from_texts(texts()?.as_string(), base, into)?
        }
        (DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32, _) => {
            convert::number(values, into)?
        }
        (DataType::Binary, _) => from_texts(texts()?.as_string(), Base::Bytea, into)?,
        (DataType::List(item), _) => array::to_array(values, item)?,
        (_, Some(kind)) if kind.is_time() => match values.data_type().is_string() {
            true => {
                let PgType::One(base) = PgType::of_arrow(into) else {
                    return plan_err!("{into} is no type of one value");
                };
                from_texts(texts()?.as_string(), base, into)?
            }
            false => time::convert(values, into)?,
        },
        _ => convert::to_text(values)?,
    })
}

impl ScalarUDFImpl for PgCast {
    fn name(&self) -> &str {
        match self.into {
            DataType::Boolean => "boolean",
            DataType::Float32 => "real",
            DataType::Float64 => "double precision",
            DataType::Int16 => "smallint",
            DataType::Int32 => "integer",
            DataType::Int64 => "bigint",
            DataType::Binary => "bytea",
            DataType::Date32 => "date",
            DataType::Time64(_) => "time",
            DataType::Timestamp(_, None) => "timestamp",
            DataType::Timestamp(_, Some(_)) => "timestamptz",
            DataType::Interval(_) => "interval",
            DataType::List(_) => "array",
            _ => "text",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.into.clone())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(self.convert(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let converted = self.convert(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&converted, 0)?))
            }
            _ => plan_err!("a cast takes one value"),
        }
    }
}
