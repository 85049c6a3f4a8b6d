//! Statements over dates, times and intervals against PostgreSQL's own answers: `time.tsv` has the answers of
//! PostgreSQL 15.18 (zone UTC): a statement, the types of its columns, and its rows, or `!` and the SQLSTATE.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::BytesMut;
use datafusion::arrow::array::Array;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Select, SelectItem, Statement, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use pg_semantics::functions::allowed;
use pg_semantics::types::{PgType, encode, planner};
use pg_semantics::{SqlError, analyzer_rules, expr_planners, install, syntax};

fn context() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.parse_float_as_decimal = true;
    options.execution.time_zone = Some("+00:00".into());
    let mut state = allowed(SessionStateBuilder::new())
        .with_config(config)
        .with_expr_planners(expr_planners())
        .with_analyzer_rules(analyzer_rules())
        .with_type_planner(Arc::new(planner::Types))
        .build();
    install(&mut state).unwrap();
    SessionContext::new_with_state(state)
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = SqlError;

    /// Columns to which DataFusion would give the same name.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        for (at, item) in select.projection.iter_mut().enumerate() {
            if let SelectItem::UnnamedExpr(expr) = item
                && !matches!(expr, Expr::Identifier(_))
            {
                let alias = Ident::new(format!("column_{at}"));
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match syntax::time::rewrite(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// Types and rows of a statement.
async fn answer(context: &SessionContext, sql: &str) -> Result<(String, String), SqlError> {
    let mut statements: Vec<Statement> =
        Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|e| SqlError::syntax(e.to_string()))?;
    let mut statement = statements.remove(0);
    if let ControlFlow::Break(error) = VisitMut::visit(&mut statement, &mut Rewriter) {
        return Err(error);
    }
    let mut state = context.state();
    state.mark_start_execution();
    let statement = DfStatement::Statement(Box::new(statement));
    let plan = state.statement_to_plan(statement).await.map_err(SqlError::planning)?;
    let result = context.execute_logical_plan(plan).await.map_err(SqlError::planning)?.collect().await;
    let batches = result.map_err(SqlError::from)?;
    let mut types = String::new();
    let mut rows = vec![];
    for batch in &batches {
        let schema = batch.schema();
        let named: Vec<String> = schema.fields().iter().map(|f| PgType::of(f).sql_name()).collect();
        types = named.join(",");
        for row in 0..batch.num_rows() {
            let cell = |column: &Arc<dyn Array>| {
                if column.is_null(row) {
                    return "NULL".to_string();
                }
                let mut out = BytesMut::new();
                encode::text(column.as_ref(), row, &mut out).unwrap();
                String::from_utf8(out.to_vec()).unwrap()
            };
            rows.push(batch.columns().iter().map(cell).collect::<Vec<_>>().join("|"));
        }
    }
    Ok((types, rows.join("; ")))
}

#[tokio::test]
async fn statements_answer_as_postgresql_does() {
    let context = context();
    let mut wrong = vec![];
    let mut cases = 0;
    for line in include_str!("time.tsv").lines() {
        let [sql, types, rows] = line.split('\t').collect::<Vec<_>>().try_into().expect("three columns");
        let mut why = String::new();
        let found = match answer(&context, sql).await {
            Ok((found_types, found_rows)) if found_types == types || rows.is_empty() => found_rows,
            Ok((found_types, found_rows)) => format!("({found_types}) {found_rows}"),
            Err(error) => {
                why = error.message.clone();
                format!("!{}", error.sqlstate)
            }
        };
        cases += 1;
        if found != rows {
            wrong.push(format!("{sql}\n    PostgreSQL: ({types}) {rows}\n    here: {found} {why}"));
        }
    }
    assert!(cases > 150, "the file is complete");
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
}
