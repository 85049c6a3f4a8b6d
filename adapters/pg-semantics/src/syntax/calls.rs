//! SQL's own syntax for functions (`SUBSTRING(x FROM 1)`, `x LIKE y ESCAPE z`, `x::jsonb`, `x = ANY(y)`) as plain calls
//! and operators, so that one list defines them all.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CharacterLength, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Subscript, TrimWhereField,
    TypedString, UnaryOperator, Value,
};

use crate::error::{Result, SqlError, SqlState};
use crate::operators::array::{ALL, ANY};

/// Rewrites an expression whose parts are already rewritten.
pub fn rewrite(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Substring { expr: text, substring_from, substring_for, .. } => {
            let mut args = vec![take(text)];
            match (substring_from, substring_for) {
                (Some(from), length) => {
                    args.push(take(from));
                    args.extend(length.as_mut().map(|l| take(l)));
                }
                (None, Some(length)) => args.extend([integer(1), take(length)]),
                (None, None) => return Err(SqlError::syntax("SUBSTRING takes a position or a length")),
            }
            *expr = call("substring", args);
        }
        Expr::Position { expr: part, r#in: text } => *expr = call("position", vec![take(text), take(part)]),
        Expr::Overlay { expr: text, overlay_what, overlay_from, overlay_for } => {
            let mut args = vec![take(text), take(overlay_what), take(overlay_from)];
            args.extend(overlay_for.as_mut().map(|l| take(l)));
            *expr = call("overlay", args);
        }
        Expr::Trim { expr: text, trim_where, trim_what, trim_characters } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            };
            let mut args = vec![take(text)];
            args.extend(trim_what.as_mut().map(|what| take(what)));
            args.extend(trim_characters.take().unwrap_or_default());
            *expr = call(name, args);
        }
        Expr::Like { negated, any, expr: text, pattern, escape_char } => {
            let op = if *negated { BinaryOperator::PGNotLikeMatch } else { BinaryOperator::PGLikeMatch };
            *expr = like(op, *any, take(text), take(pattern), escape_char.take().map(|e| e.value))?;
        }
        Expr::ILike { negated, any, expr: text, pattern, escape_char } => {
            let op = if *negated { BinaryOperator::PGNotILikeMatch } else { BinaryOperator::PGILikeMatch };
            *expr = like(op, *any, take(text), take(pattern), escape_char.take().map(|e| e.value))?;
        }
        Expr::SimilarTo { negated, expr: text, pattern, escape_char } => {
            let mut args = vec![take(pattern)];
            args.extend(escape_char.take().map(|e| Expr::Value(e.value.into())));
            let op = if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
            *expr = binary(take(text), op, call("similar_to_escape", args));
        }
        Expr::AnyOp { left, compare_op, right, .. } if !matches!(right.as_ref(), Expr::Subquery(_)) => {
            *expr = quantified(ANY, take(left), compare_op, take(right));
        }
        Expr::AllOp { left, compare_op, right } if !matches!(right.as_ref(), Expr::Subquery(_)) => {
            *expr = quantified(ALL, take(left), compare_op, take(right));
        }
        Expr::CompoundFieldAccess { access_chain, .. } => access_chain.iter_mut().try_for_each(bounds)?,
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: inner, data_type, .. } => {
            if let Some(cast) = cast(inner, data_type)? {
                *expr = cast;
            }
        }
        Expr::TypedString(TypedString {
            data_type:
                data_type @ (DataType::JSONB
                | DataType::Varchar(_)
                | DataType::CharacterVarying(_)
                | DataType::CharVarying(_)
                | DataType::Char(_)
                | DataType::Character(_)),
            value,
            ..
        }) => {
            let mut literal = Expr::Value(value.clone());
            if let Some(instead) = cast(&mut literal, data_type)? {
                *expr = instead;
            }
        }
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("every") => {
            function.name = ObjectName::from(vec![Ident::new("bool_and")]);
        }
        Expr::Function(function) if is_plain_call(function, "jsonb_object_agg") => {
            *expr = object_of_pairs(function)?;
        }
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr: value } => {
            *expr = call("int4not", vec![take(value)]);
        }
        Expr::UnaryOp { op: UnaryOperator::PGSquareRoot, expr: value } => {
            *expr = call("sqrt", vec![double(take(value))]);
        }
        Expr::UnaryOp { op: UnaryOperator::PGCubeRoot, expr: value } => {
            *expr = call("cbrt", vec![double(take(value))]);
        }
        Expr::UnaryOp { op: UnaryOperator::PGAbs, expr: value } => *expr = call("abs", vec![take(value)]),
        Expr::BinaryOp { left, op: BinaryOperator::PGExp, right } => {
            *expr = call("power", vec![take(left), take(right)]);
        }
        // An operator does not end in a minus: the minus is the sign of the operand.
        Expr::BinaryOp { op, right, .. } => {
            let signed = match op {
                BinaryOperator::Custom(name) if name == "->-" => Some(BinaryOperator::Arrow),
                BinaryOperator::Custom(name) if name == "->>-" => Some(BinaryOperator::LongArrow),
                _ => None,
            };
            if let Some(plain) = signed {
                *op = plain;
                **right = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(take(right)) };
            }
        }
        _ => {}
    }
    Ok(())
}

/// The operators of roots calculate with doubles.
fn double(value: Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(value),
        data_type: DataType::DoublePrecision,
        array: false,
        format: None,
    }
}

fn is_plain_call(function: &Function, name: &str) -> bool {
    function.over.is_none() && function.name.to_string().eq_ignore_ascii_case(name)
}

/// `jsonb_object_agg(key, value …)` collects pairs and converts them to an object.
fn object_of_pairs(function: &Function) -> Result<Expr> {
    let mut collected = function.clone();
    collected.name = ObjectName::from(vec![Ident::new("array_agg")]);
    let FunctionArguments::List(list) = &mut collected.args else {
        return Err(SqlError::syntax("jsonb_object_agg takes keys and values"));
    };
    if list.duplicate_treatment.is_some() {
        return Err(SqlError::unsupported("jsonb_object_agg(DISTINCT …) is not supported")
            .with_hint("Select distinct rows in a subquery."));
    }
    let values = std::mem::take(&mut list.args).into_iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Ok(value),
        other => Err(SqlError::syntax(format!("jsonb_object_agg takes no argument {other}"))),
    });
    let values = values.collect::<Result<Vec<_>>>()?;
    if values.len() != 2 {
        return Err(SqlError::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("function jsonb_object_agg of {} arguments does not exist", values.len()),
        ));
    }
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(call("jsonb_pair", values)))];
    Ok(call("jsonb_object_of", vec![Expr::Function(collected)]))
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.into()))
}

fn integer(value: i64) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
}

fn like(op: BinaryOperator, any: bool, text: Expr, pattern: Expr, escape: Option<Value>) -> Result<Expr> {
    if any {
        return Err(SqlError::unsupported("LIKE ANY is not supported")
            .with_hint("Write the patterns with OR between them."));
    }
    let pattern = match escape {
        None => pattern,
        Some(escape) => call("like_escape", vec![pattern, Expr::Value(escape.into())]),
    };
    Ok(binary(text, op, pattern))
}

/// `x op ANY(array)` as an operator of its own.
fn quantified(quantifier: &str, left: Expr, op: &BinaryOperator, right: Expr) -> Expr {
    let op = BinaryOperator::PGCustomBinaryOperator(vec![quantifier.to_string(), op.to_string()]);
    binary(left, op, right)
}

/// Omitted bounds of a slice are the ends of the array.
fn bounds(access: &mut AccessExpr) -> Result<()> {
    if let AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) = access {
        if stride.is_some() {
            return Err(SqlError::syntax("a slice has two bounds"));
        }
        lower_bound.get_or_insert_with(|| integer(1));
        upper_bound.get_or_insert_with(|| integer(i32::MAX.into()));
    }
    Ok(())
}

/// Casts to types that Arrow does not have, as calls of our functions.
fn cast(inner: &mut Expr, data_type: &DataType) -> Result<Option<Expr>> {
    Ok(match data_type {
        DataType::JSONB => Some(call("jsonb", vec![take(inner)])),
        DataType::JSON => {
            let error = SqlError::unsupported("the type json is not supported in casts");
            return Err(error.with_hint("Cast to jsonb."));
        }
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            let text = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(take(inner)),
                data_type: DataType::Text,
                array: false,
                format: None,
            };
            let mut args = vec![text];
            args.extend(character_length(length.as_ref())?.map(integer));
            Some(call("varchar", args))
        }
        DataType::Char(length) | DataType::Character(length) => {
            let length = character_length(length.as_ref())?.unwrap_or(1);
            let error = SqlError::unsupported(format!("casts to character({length}) are not supported"));
            return Err(error.with_hint("Cast to varchar, whose values are not padded with spaces."));
        }
        _ => None,
    })
}

fn character_length(length: Option<&CharacterLength>) -> Result<Option<i64>> {
    match length {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length, .. }) if (1..=10_485_760).contains(length) => {
            Ok(Some(*length as i64))
        }
        Some(_) => Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "length for type varchar must be at least 1 and at most 10485760",
        )),
    }
}

/// A call of a function.
pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
