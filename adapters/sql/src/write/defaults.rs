//! The values of DEFAULT for rows that a statement inserts.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::sql::sqlparser::ast::Expr;
use kernel::schema::TableDef;

use super::rows::joined;
use crate::assign::convert::to_column;
use crate::assign::defaults::expression;
use crate::error::{Result, SqlError};
use crate::query::StatementContext;

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
