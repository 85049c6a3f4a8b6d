//! DEFAULT: what stands in columns that a statement does not name. And which expressions are literals, whose text says it
//! all.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::sql::sqlparser::ast::{CastKind, Expr, UnaryOperator, Value};
use kernel::schema::{ColumnDef, ColumnType, TableDef};
use tidemark_pipeline_sql::{column_type, parse_expression};

use super::convert::to_column;
use super::rows::joined;
use crate::error::{Result, SqlError};
use crate::query::StatementContext;

/// The parsed DEFAULT of a column.
pub fn expression(column: &ColumnDef) -> Result<Option<Expr>> {
    Ok(column.default_sql.as_deref().map(parse_expression).transpose()?)
}

/// The defaults of these columns, as many rows as asked for; null where a column has none. Evaluated for each row, as
/// PostgreSQL does.
pub async fn columns(
    context: &StatementContext,
    table: &TableDef,
    ordinals: &[usize],
    rows: usize,
) -> Result<Vec<ArrayRef>> {
    let mut expressions = Vec::new();
    for ordinal in ordinals {
        if let Some(default) = expression(&table.columns[*ordinal])? {
            expressions.push((*ordinal, default));
        }
    }
    let mut values = evaluate(context, table, &expressions, rows).await?.into_iter();
    let column = |ordinal: &usize| match expressions.iter().any(|(o, _)| o == ordinal) {
        true => values.next().expect("one for each expression"),
        false => new_null_array(&table.columns[*ordinal].column_type.arrow(), rows),
    };
    Ok(ordinals.iter().map(column).collect())
}

async fn evaluate(
    context: &StatementContext,
    table: &TableDef,
    expressions: &[(usize, Expr)],
    rows: usize,
) -> Result<Vec<ArrayRef>> {
    if expressions.is_empty() {
        return Ok(vec![]);
    }
    let schema = Arc::new(Schema::new(vec![Field::new("row", DataType::Boolean, true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(BooleanArray::new_null(rows))])?;
    let source = provider_as_source(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?));
    let no_columns = datafusion::common::DFSchema::empty();
    let mut projected = Vec::with_capacity(expressions.len());
    for (n, (_, expression)) in expressions.iter().enumerate() {
        projected.push(context.expression(expression, &no_columns)?.alias(format!("default{n}")));
    }
    let plan = LogicalPlanBuilder::scan("rows", source, None)
        .and_then(|scan| scan.project(projected))
        .and_then(|projected| projected.build())
        .map_err(SqlError::planning)?;
    let batches = context.collect(&plan).await?;
    let mut columns = Vec::with_capacity(expressions.len());
    for (n, (ordinal, _)) in expressions.iter().enumerate() {
        let column = &table.columns[*ordinal];
        let values = joined(&batches, n)?;
        let values = values.unwrap_or_else(|| new_null_array(&column.column_type.arrow(), 0));
        columns.push(to_column(&values, column)?);
    }
    Ok(columns)
}

/// The text of a literal that the column reads as PostgreSQL assigns it; inner None is null.
pub fn literal_text(cell: &Expr, column: &ColumnDef) -> Option<Option<String>> {
    let into = column.column_type;
    let integer = matches!(into, ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64);
    let number =
        integer || matches!(into, ColumnType::Float32 | ColumnType::Float64 | ColumnType::Decimal { .. });
    match cell {
        Expr::Nested(inner) => literal_text(inner, column),
        Expr::Value(value) => match &value.value {
            Value::Null => Some(None),
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) if !text.contains('\0') => {
                Some(Some(text.clone()))
            }
            Value::Boolean(value) if into == ColumnType::Bool => Some(Some(value.to_string())),
            Value::Number(digits, false)
                if number && (!integer || digits.bytes().all(|b| b.is_ascii_digit())) =>
            {
                Some(Some(digits.to_string()))
            }
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) if matches!(&value.value, Value::Number(..)) => {
                literal_text(expr, column)?.map(|digits| Some(format!("-{digits}")))
            }
            _ => None,
        },
        // As parameters come: a text with the very type of the column.
        Expr::Cast { kind: CastKind::Cast, expr, data_type, .. } => {
            let at = datafusion::sql::sqlparser::tokenizer::Location::empty();
            match expr.as_ref() {
                Expr::Value(value) if column_type(data_type, at).ok() == Some(into) => match &value.value {
                    Value::SingleQuotedString(text) => Some(Some(text.clone())),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    }
}
