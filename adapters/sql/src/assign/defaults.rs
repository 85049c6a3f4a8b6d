//! DEFAULT: the expression for a column that a statement does not name. Also: which expressions are literals.

use datafusion::sql::sqlparser::ast::{CastKind, Expr, UnaryOperator, Value};
use kernel::schema::{ColumnDef, ColumnType};
use tidemark_pipeline_sql::{column_type, parse_expression};

use crate::error::Result;

/// The parsed DEFAULT of a column.
pub fn expression(column: &ColumnDef) -> Result<Option<Expr>> {
    Ok(column.default_sql.as_deref().map(parse_expression).transpose()?)
}

/// The text of a literal that the column reads like PostgreSQL's assignment; inner None is null.
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
            // A whole number is the text of its digits.
            Value::Number(digits, false)
                if matches!(into, ColumnType::Text | ColumnType::Varchar { .. })
                    && digits.bytes().all(|b| b.is_ascii_digit())
                    && (!digits.starts_with('0') || digits.len() == 1) =>
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
        // The form of parameters: a text cast to exactly the column's type. A cast to a length truncates before the
        // assignment.
        Expr::Cast { kind: CastKind::Cast, expr, data_type, .. } if into.max_chars().is_none() => {
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
