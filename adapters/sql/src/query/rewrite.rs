//! Rewrites PostgreSQL syntax that DataFusion does not support, on the syntax tree: PostgreSQL's qualified functions
//! and operators, its catalog casts, and the shapes of psql's own queries.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, Select, SelectItem, SetExpr,
    Statement, TableFactor, UnaryOperator, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use crate::catalog::{PG_CATALOG, pg_catalog};
use pg_semantics::operators::roots;
use pg_semantics::types::{Base, PgType};

use crate::error::{Result, SqlError};
use crate::tables::snapshot_table::is_hidden_column;

/// Most digits of a numeric.
const NUMERIC_DIGITS_MAX: i32 = 38;

/// Prepares a statement for name resolution.
pub fn for_planner(mut statement: Statement) -> Result<Statement> {
    // Before any other rewriting, so that columns have the client's names.
    pg_semantics::syntax::label_columns(&mut statement);
    pg_semantics::syntax::balance(&mut statement);
    if let ControlFlow::Break(error) = VisitMut::visit(&mut statement, &mut Rewriter) {
        return Err(error);
    }
    Ok(statement)
}

/// An expression, ready for the planner.
pub fn expression_for_planner(mut expression: Expr) -> Result<Expr> {
    pg_semantics::syntax::balance(&mut expression);
    match VisitMut::visit(&mut expression, &mut Rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => {
            roots::mark_expression(&mut expression);
            Ok(expression)
        }
    }
}

/// True if the statement names a column that `SELECT *` does not show.
pub fn names_hidden_column(statement: &Statement) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let hidden = match expr {
                Expr::Identifier(ident) => is_hidden_column(&ident.value),
                Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|i| is_hidden_column(&i.value)),
                _ => false,
            };
            if hidden { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    Visit::visit(statement, &mut Find).is_break()
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if empty_set_expr(query.body.as_mut()) {
            query.order_by = None;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match expr {
            Expr::Subquery(query) => {
                if let Some(instead) = catalog_subquery(query) {
                    *expr = instead;
                }
            }
            Expr::Cast { expr: inner, data_type, .. } if is_float(data_type) => wide_as_text(inner),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } => {
                if let Some(constant) = signed_constant(operand) {
                    *expr = constant;
                }
            }
            other => negate_last(other),
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if let Expr::Value(ast::ValueWithSpan {
            value: Value::HexStringLiteral(_) | Value::SingleQuotedByteStringLiteral(_),
            ..
        }) = expr
        {
            let error = SqlError::unsupported("bit strings, as B'101' or X'1F', are not supported");
            return ControlFlow::Break(error.with_hint("Write bytes as '\\x1f'::bytea."));
        }
        if let Err(error) = pg_semantics::syntax::calls::rewrite(expr) {
            return ControlFlow::Break(error);
        }
        rewrite(expr);
        match pg_semantics::syntax::time::rewrite(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn rewrite(expr: &mut Expr) {
    match expr {
        Expr::Function(function) if is_array_of_nothing(function) => {
            *expr = Expr::value(Value::SingleQuotedString("{}".into()));
        }
        Expr::Function(function) => unqualify(&mut function.name),
        Expr::Collate { expr: inner, .. } => *expr = take(inner),
        Expr::Value(ast::ValueWithSpan { value: Value::Number(digits, _), .. })
            if digits.contains(['e', 'E']) =>
        {
            *expr = without_exponent(digits);
        }
        // A number beyond bigint is a numeric.
        Expr::Value(ast::ValueWithSpan { value: Value::Number(digits, _), .. })
            if digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<i64>().is_err() =>
        {
            *expr = number_as(digits, numeric());
        }
        // A function that is called without parentheses, which the parser reads as a column.
        Expr::Identifier(ident)
            if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("current_schema") =>
        {
            *expr = call("current_schema", vec![]);
        }
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                && let Some(plain) = parts.last().and_then(|name| plain_operator(name))
            {
                *op = plain;
            }
        }
        Expr::Cast { expr: inner, data_type, kind, .. } => {
            if let Some(instead) = catalog_cast(inner, data_type, kind) {
                *expr = instead;
            }
        }
        _ => {}
    }
}

fn is_float(data_type: &DataType) -> bool {
    matches!(PgType::of_sql(data_type), Some(PgType::One(Base::Float4 | Base::Float8)))
}

/// `NOT EXISTS (…) IS UNKNOWN` is the negation of `EXISTS (…) IS UNKNOWN`, because NOT binds less. The parser reads NOT
/// EXISTS as one word.
fn negate_last(test: &mut Expr) {
    let (Expr::IsNull(tested)
    | Expr::IsNotNull(tested)
    | Expr::IsTrue(tested)
    | Expr::IsNotTrue(tested)
    | Expr::IsFalse(tested)
    | Expr::IsNotFalse(tested)
    | Expr::IsUnknown(tested)
    | Expr::IsNotUnknown(tested)) = test
    else {
        return;
    };
    if let Expr::Exists { negated, .. } = tested.as_mut()
        && std::mem::replace(negated, false)
    {
        *test = Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(take(test)) };
    }
}

/// A constant with its signs, where these change its type: the least integer and bigint, or a number with two signs.
fn signed_constant(operand: &Expr) -> Option<Expr> {
    let (negative, digits) = sign_of(operand, true)?;
    match (negative, digits) {
        (true, "2147483648") => Some(number_as("-2147483648", DataType::Integer(None))),
        (true, "9223372036854775808") => Some(number_as("-9223372036854775808", DataType::BigInt(None))),
        (false, _) => Some(Expr::value(Value::Number(digits.to_owned(), false))),
        _ => None,
    }
}

/// Whether a constant under signs is negative, given the sign around it; and its digits.
fn sign_of(expr: &Expr, negative: bool) -> Option<(bool, &str)> {
    match expr {
        Expr::Nested(inner) => sign_of(inner, negative),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } => sign_of(operand, !negative),
        Expr::Value(ast::ValueWithSpan { value: Value::Number(digits, _), .. }) => Some((negative, digits)),
        _ => None,
    }
}

/// A number that is cast to a float and exceeds our numerics becomes a text, which is read as a float.
fn wide_as_text(expr: &mut Expr) {
    if let Expr::Nested(inner) = expr {
        return wide_as_text(inner);
    }
    let (sign, number) = match &*expr {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } => ("-", &**operand),
        other => ("", other),
    };
    if let Expr::Value(ast::ValueWithSpan { value: Value::Number(digits, _), .. }) = number
        && is_wide(digits)
    {
        *expr = Expr::value(Value::SingleQuotedString(format!("{sign}{digits}")));
    }
}

/// True for more digits than a numeric has.
fn is_wide(number: &str) -> bool {
    if number.contains(['e', 'E']) {
        plain_digits(number).is_none()
    } else {
        number.len() > NUMERIC_DIGITS_MAX as usize
    }
}

/// A number without its exponent, which DataFusion computes with an inexact power of ten: `1e15` would be
/// 999999999999999.9 as double precision. A number with more digits than a numeric is refused.
fn without_exponent(number: &str) -> Expr {
    match plain_digits(number) {
        None => number_as(number, numeric()),
        Some(plain) if plain.contains('.') => Expr::value(Value::Number(plain, false)),
        // Without a point it would be an integer.
        Some(plain) => number_as(&plain, numeric()),
    }
}

fn numeric() -> DataType {
    DataType::Numeric(ast::ExactNumberInfo::None)
}

fn number_as(digits: &str, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::value(Value::SingleQuotedString(digits.to_string()))),
        data_type,
        array: false,
        format: None,
    }
}

/// All digits of a number with an exponent, if a numeric has that many.
fn plain_digits(number: &str) -> Option<String> {
    let (mantissa, exponent) = number.split_once(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok().filter(|e: &i32| e.abs() <= NUMERIC_DIGITS_MAX)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{whole}{fraction}");
    let mut point = whole.len() as i32 + exponent;
    if point <= 0 {
        digits = format!("{}{digits}", "0".repeat(1 + point.unsigned_abs() as usize));
        point = 1;
    }
    let point = point as usize;
    digits.extend(std::iter::repeat_n('0', point.saturating_sub(digits.len())));
    let (whole, fraction) = digits.split_at(point);
    let plain = if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") };
    (plain.len() as i32 <= NUMERIC_DIGITS_MAX).then_some(plain)
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

/// `ARRAY(SELECT …)` over tables of the catalog that are always empty.
fn is_array_of_nothing(function: &Function) -> bool {
    match &function.args {
        FunctionArguments::Subquery(query) if function.name.to_string().eq_ignore_ascii_case("array") => {
            // The query was rewritten before this expression.
            matches!(query.body.as_ref(), SetExpr::Select(select) if select.from.is_empty()
                && matches!(&select.selection, Some(Expr::Value(v)) if v.value == Value::Boolean(false)))
        }
        _ => false,
    }
}

/// `pg_catalog.f(…)` is `f(…)`.
fn unqualify(name: &mut ObjectName) {
    if let [schema, _] = name.0.as_slice()
        && schema.as_ident().is_some_and(|s| s.value.eq_ignore_ascii_case(PG_CATALOG))
    {
        name.0.remove(0);
    }
}

/// `OPERATOR(pg_catalog.~)` is `~`.
fn plain_operator(name: &str) -> Option<BinaryOperator> {
    Some(match name {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        ">" => BinaryOperator::Gt,
        "<=" => BinaryOperator::LtEq,
        ">=" => BinaryOperator::GtEq,
        "||" => BinaryOperator::StringConcat,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        _ => return None,
    })
}

/// Casts to types that exist in PostgreSQL's catalog only.
fn catalog_cast(inner: &mut Expr, data_type: &mut DataType, kind: &CastKind) -> Option<Expr> {
    let name = match data_type {
        DataType::Regclass => "regclass".to_string(),
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            name.0.last()?.as_ident()?.value.to_ascii_lowercase()
        }
        _ => return None,
    };
    let _ = kind;
    let is_literal = matches!(inner, Expr::Value(v) if matches!(v.value, Value::SingleQuotedString(_) | Value::Number(..)));
    match name.as_str() {
        "regclass" if is_literal => Some(call("to_regclass", vec![take(inner)])),
        "regclass" => Some(call("regclass_name", vec![take(inner)])),
        "regtype" => Some(call("format_type", vec![take(inner), Expr::value(Value::Null)])),
        "text" | "name" | "char" | "regproc" | "regprocedure" | "regnamespace" | "regrole" | "json"
        | "jsonb" | "uuid" | "bpchar" => {
            *data_type = DataType::Text;
            None
        }
        "oid" | "xid" | "cid" | "int8" => {
            *data_type = DataType::BigInt(None);
            None
        }
        "int4" => {
            *data_type = DataType::Int(None);
            None
        }
        "int2" => {
            *data_type = DataType::SmallInt(None);
            None
        }
        "bool" => {
            *data_type = DataType::Boolean;
            None
        }
        _ => None,
    }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
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

/// Unqualified name of a table of the catalog.
fn catalog_name(factor: &TableFactor) -> Option<&str> {
    let TableFactor::Table { name, .. } = factor else { return None };
    let parts: Vec<&str> = name.0.iter().filter_map(|p| p.as_ident()).map(|i| i.value.as_str()).collect();
    match parts.as_slice() {
        [name] | [PG_CATALOG, name] => Some(name),
        _ => None,
    }
}

/// A query over tables that are always empty returns no rows in any form: it is replaced by one that can be planned.
fn empty_set_expr(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => empty_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            let (left, right) = (empty_set_expr(left), empty_set_expr(right));
            left && right
        }
        _ => false,
    }
}

fn empty_select(select: &mut Select) -> bool {
    let is_empty =
        |factor: &TableFactor| catalog_name(factor).is_some_and(|n| pg_catalog::ALWAYS_EMPTY.contains(&n));
    let inner = |join: &ast::Join| {
        use ast::JoinOperator as J;
        matches!(join.join_operator, J::Join(_) | J::Inner(_) | J::CrossJoin(_)) && is_empty(&join.relation)
    };
    let empty = select.from.iter().any(|from| is_empty(&from.relation) || from.joins.iter().any(inner));
    let wildcard =
        |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if !empty || select.projection.iter().any(wildcard) {
        return false;
    }
    if aggregate_nothing(select) {
        return false;
    }
    for (i, item) in select.projection.iter_mut().enumerate() {
        let alias = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident.clone(),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                parts.last().cloned().unwrap_or_else(|| Ident::new(format!("column{i}")))
            }
            _ => Ident::new(format!("column{i}")),
        };
        *item =
            SelectItem::ExprWithAlias { expr: Expr::value(Value::SingleQuotedString(String::new())), alias };
    }
    select.from.clear();
    select.group_by = ast::GroupByExpr::Expressions(vec![], vec![]);
    select.having = None;
    select.selection = Some(Expr::value(Value::Boolean(false)));
    true
}

/// Aggregates without groups over no rows: one row, with zeros for counts and otherwise nulls.
fn aggregate_nothing(select: &mut Select) -> bool {
    const AGGREGATES: [&str; 10] =
        ["count", "sum", "min", "max", "avg", "bool_and", "bool_or", "every", "array_agg", "string_agg"];
    if !matches!(&select.group_by, ast::GroupByExpr::Expressions(by, _) if by.is_empty()) {
        return false;
    }
    let mut found = false;
    let mut replace = |expr: &mut Expr| {
        if let Expr::Function(function) = expr
            && function.over.is_none()
            && let Some(name) = function.name.0.last().and_then(|part| part.as_ident())
            && AGGREGATES.contains(&name.value.to_ascii_lowercase().as_str())
        {
            let is_count = name.value.eq_ignore_ascii_case("count");
            *expr = if is_count { number_as("0", DataType::BigInt(None)) } else { Expr::value(Value::Null) };
            found = true;
        }
        ControlFlow::<()>::Continue(())
    };
    let _ = ast::visit_expressions_mut(&mut select.projection, &mut replace);
    let _ = ast::visit_expressions_mut(&mut select.having, &mut replace);
    if found {
        select.from.clear();
        select.selection = select.having.take();
    }
    found
}

/// The correlated subqueries of psql's `\d`: a column's default, which `pg_attribute` has as a column here, and its
/// collation, of which there is only one.
fn catalog_subquery(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match catalog_name(&select.from.first()?.relation)? {
        "pg_collation" => Some(Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(Expr::value(Value::Null)),
            data_type: DataType::Text,
            array: false,
            format: None,
        }),
        "pg_attrdef" => {
            struct Outer(Option<Ident>);
            impl Visitor for Outer {
                type Break = ();

                fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                    if let Expr::CompoundIdentifier(parts) = expr
                        && let [table, column] = parts.as_slice()
                        && column.value == "attrelid"
                    {
                        self.0 = Some(table.clone());
                    }
                    ControlFlow::Continue(())
                }
            }
            let mut outer = Outer(None);
            let _ = Visit::visit(query, &mut outer);
            Some(Expr::CompoundIdentifier(vec![outer.0?, Ident::new("attdefault")]))
        }
        _ => None,
    }
}
