//! `$1`, `$2`, …: the types that a write implies for them, and the substitution of their values.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    Assignment, CastKind, DataType as SqlType, ExactNumberInfo, Expr, OnConflictAction, OnInsert, SetExpr,
    Statement, TimezoneInfo, Value, visit_expressions, visit_expressions_mut,
};
use kernel::schema::TableDef;
use tidemark_pipeline_sql::names::fold;

use pg_semantics::types::encode;

use super::{change, names};
use crate::error::{Result, SqlError, SqlState};
use crate::query::StatementContext;

/// The statement with values in place of its parameters.
pub fn substitute(write: &Statement, parameters: &[ScalarValue]) -> Result<Statement> {
    let mut write = write.clone();
    let outcome = visit_expressions_mut(&mut write, |expr| {
        let Some(number) = placeholder(expr) else { return ControlFlow::Continue(()) };
        match number.checked_sub(1).and_then(|n| parameters.get(n)) {
            None => {
                ControlFlow::Break(SqlError::new(SqlState::UNDEFINED_PARAMETER, "a parameter has no value"))
            }
            Some(value) => match constant(value) {
                Ok(constant) => {
                    *expr = constant;
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            },
        }
    });
    match outcome {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(write),
    }
}

/// Number of a `$n`, if the expression is one.
fn placeholder(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// A value as an expression of its type.
fn constant(value: &ScalarValue) -> Result<Expr> {
    let literal = |value: Value| Expr::Value(value.into());
    if value.is_null() {
        return Ok(literal(Value::Null));
    }
    Ok(match value {
        ScalarValue::Boolean(Some(flag)) => literal(Value::Boolean(*flag)),
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => literal(Value::SingleQuotedString(text.clone())),
        other => {
            let text = text_of(other)?;
            let cast_to = sql_type(&other.data_type()).ok_or_else(|| {
                SqlError::unsupported(format!("a parameter of type {} is not supported", other.data_type()))
            })?;
            Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(literal(Value::SingleQuotedString(text))),
                data_type: cast_to,
                array: false,
                format: None,
            }
        }
    })
}

fn text_of(value: &ScalarValue) -> Result<String> {
    let array = value.to_array().map_err(SqlError::from)?;
    let mut out = bytes::BytesMut::new();
    encode::text(array.as_ref(), 0, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn sql_type(data_type: &DataType) -> Option<SqlType> {
    Some(match data_type {
        DataType::Int8 | DataType::Int16 => SqlType::SmallInt(None),
        DataType::Int32 | DataType::UInt16 => SqlType::Integer(None),
        DataType::Int64 | DataType::UInt32 => SqlType::BigInt(None),
        DataType::Float32 => SqlType::Real,
        DataType::Float64 => SqlType::DoublePrecision,
        DataType::Decimal128(precision, scale) => {
            SqlType::Numeric(ExactNumberInfo::PrecisionAndScale(u64::from(*precision), i64::from(*scale)))
        }
        DataType::Date32 => SqlType::Date,
        DataType::Timestamp(_, None) => SqlType::Timestamp(None, TimezoneInfo::None),
        DataType::Timestamp(_, Some(_)) => SqlType::Timestamp(None, TimezoneInfo::WithTimeZone),
        DataType::Time64(_) => SqlType::Time(None, TimezoneInfo::None),
        DataType::Binary | DataType::LargeBinary => SqlType::Bytea,
        _ => return None,
    })
}

/// See [`super::parameter_types`].
pub async fn types(context: &StatementContext, write: &Statement) -> Result<Vec<Option<DataType>>> {
    let mut found = BTreeMap::new();
    let mut count = 0;
    let _ = visit_expressions(write, |expr| {
        count = count.max(placeholder(expr).unwrap_or(0));
        ControlFlow::<()>::Continue(())
    });
    if count == 0 {
        return Ok(vec![]);
    }
    match write {
        Statement::Insert(insert) => {
            let table = names::table(context.snapshot(), names::insert_target(insert)?)?;
            let targets = super::insert::target_columns(insert, &table)?;
            if let Some(query) = &insert.source {
                match query.body.as_ref() {
                    SetExpr::Values(values) => {
                        for row in &values.rows {
                            of_columns(&row.content, &targets, &table, &mut found);
                        }
                    }
                    _ => of_query(context, &Statement::Query(query.clone()), &mut found).await?,
                }
            }
            of_on_insert(insert.on.as_ref(), &table, &mut found);
        }
        Statement::Update(update) => {
            let (table, query, _) = change::update_query(context, update)?;
            of_assignments(&update.assignments, &table, &mut found);
            context.show_hidden_columns();
            of_query(context, &query, &mut found).await?;
        }
        Statement::Delete(delete) => {
            let (_, query) = change::delete_query(context, delete)?;
            context.show_hidden_columns();
            of_query(context, &query, &mut found).await?;
        }
        _ => {}
    }
    Ok((1..=count).map(|n| found.get(&n).cloned().flatten()).collect())
}

type Found = BTreeMap<usize, Option<DataType>>;

/// The first place with a type decides.
fn note(found: &mut Found, expr: &Expr, data_type: Option<DataType>) {
    if let Some(number) = placeholder(expr) {
        let known = found.entry(number).or_default();
        if known.is_none() {
            *known = data_type;
        }
    }
}

fn of_columns(cells: &[Expr], targets: &[usize], table: &TableDef, found: &mut Found) {
    for (cell, ordinal) in cells.iter().zip(targets) {
        note(found, cell, Some(table.columns[*ordinal].column_type.arrow()));
    }
}

fn of_assignments(assignments: &[Assignment], table: &TableDef, found: &mut Found) {
    for assignment in assignments {
        if let Ok(name) = names::assigned(assignment, &table.name)
            && let Ok(ordinal) = names::column(table, &name)
        {
            note_all(found, &assignment.value, table.columns[ordinal].column_type.arrow());
        }
    }
}

/// Parameters of arithmetic take the type of the column that is assigned.
fn note_all(found: &mut Found, expr: &Expr, data_type: DataType) {
    match expr {
        Expr::BinaryOp { left, right, .. } => {
            note_all(found, left, data_type.clone());
            note_all(found, right, data_type);
        }
        Expr::Nested(inner) => note_all(found, inner, data_type),
        other => note(found, other, Some(data_type)),
    }
}

fn of_on_insert(on: Option<&OnInsert>, table: &TableDef, found: &mut Found) {
    match on {
        Some(OnInsert::DuplicateKeyUpdate(assignments)) => of_assignments(assignments, table, found),
        Some(OnInsert::OnConflict(conflict)) => {
            if let OnConflictAction::DoUpdate(update) = &conflict.action {
                of_assignments(&update.assignments, table, found);
                of_comparisons(update.selection.as_ref(), table, found);
            }
        }
        _ => {}
    }
}

/// `column op $n` in a condition outside of queries.
fn of_comparisons(condition: Option<&Expr>, table: &TableDef, found: &mut Found) {
    let Some(condition) = condition else { return };
    let _ = visit_expressions(condition, |expr| {
        if let Expr::BinaryOp { left, right, .. } = expr {
            for (column, other) in [(left, right), (right, left)] {
                let name = match column.as_ref() {
                    Expr::Identifier(ident) => fold(ident),
                    Expr::CompoundIdentifier(parts) => parts.last().map(fold).unwrap_or_default(),
                    _ => continue,
                };
                if let Ok(ordinal) = names::column(table, &name) {
                    note(found, other, Some(table.columns[ordinal].column_type.arrow()));
                }
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

/// The types that DataFusion infers for a query. A query that it cannot plan without the types contributes none; other
/// errors are the statement's.
async fn of_query(context: &StatementContext, query: &Statement, found: &mut Found) -> Result<()> {
    let plan = match context.plan(query).await {
        Ok(plan) => plan,
        Err(error)
            if [SqlState::INDETERMINATE_DATATYPE, SqlState::UNDEFINED_PARAMETER]
                .contains(&error.sqlstate) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for (name, data_type) in plan.get_parameter_types().map_err(SqlError::planning)? {
        if let Some(number) = name.strip_prefix('$').and_then(|n| n.parse().ok()) {
            let known: &mut Option<DataType> = found.entry(number).or_default();
            if known.is_none() {
                *known = data_type;
            }
        }
    }
    Ok(())
}
