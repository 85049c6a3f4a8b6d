//! Subqueries whose rows are all needed at once, rewritten to plain ones: `(a, b) IN (SELECT …)` and `ARRAY(SELECT …)`.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Distinct, Expr, FunctionArgumentClause, FunctionArguments, OrderByExpr,
    OrderByKind, OrderByOptions, Query, SelectItem, SetExpr, TableAliasColumnDef, TableFactor, Value,
    WindowSpec, WindowType,
};

use super::from::from_query;
use super::labels::folded;
use super::scope::Scope;
use super::{Resolver, tree};
use crate::error::{Result, SqlError};

/// Each such subquery is resolved more than once, so their nesting is limited.
const DEPTH_MAX: usize = 6;

/// Names that no statement contains.
const ROWS: &str = "rows of a subquery";
const NUMBER: &str = "number of a row";

fn value(n: usize) -> String {
    format!("value {n} of a row")
}

impl Resolver<'_> {
    /// The number of columns of a query.
    fn width(&mut self, query: &Query, scope: &Scope) -> Result<usize> {
        if self.collected >= DEPTH_MAX {
            return Err(SqlError::unsupported("subqueries of rows and arrays are nested too deep"));
        }
        self.collected += 1;
        let columns = self.query(&mut query.clone(), Some(scope));
        self.collected -= 1;
        Ok(columns?.len())
    }

    /// `row IN (query)`: true if a row is equal, unknown if one could be. `truth`: false and unknown need not be
    /// distinguished.
    pub(super) fn row_in(&mut self, row: &[Expr], query: &Query, truth: bool, scope: &Scope) -> Result<Expr> {
        match self.width(query, scope)?.cmp(&row.len()) {
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => return Err(SqlError::syntax("subquery has too many columns")),
            std::cmp::Ordering::Less => return Err(SqlError::syntax("subquery has too few columns")),
        }
        let columns: Vec<String> = (0..row.len()).map(value).collect();
        let values = columns.iter().map(|name| tree::column(ROWS, name)).collect();
        let equal = tree::binary(Expr::Tuple(row.to_vec()), BinaryOperator::Eq, Expr::Tuple(values));
        let exists = |condition: Expr| {
            let mut select = tree::plain_select(
                vec![tree::item(tree::number(1), "one")],
                vec![named(query.clone(), &columns)],
            );
            select.selection = Some(condition);
            let subquery = Box::new(tree::plain_query(SetExpr::Select(Box::new(select))));
            Expr::Exists { subquery, negated: false }
        };
        if truth {
            return Ok(exists(equal));
        }
        let unknown = Expr::IsNull(Box::new(Expr::Nested(Box::new(equal.clone()))));
        Ok(Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: vec![
                CaseWhen { condition: exists(equal), result: tree::boolean(true) },
                CaseWhen { condition: exists(unknown), result: Expr::value(Value::Null) },
            ],
            else_result: Some(Box::new(tree::boolean(false))),
        })
    }

    /// Conditions of WHERE that are rows IN subqueries: unknown counts as false there.
    pub(super) fn rows_in_where(&mut self, condition: &mut Expr, scope: &Scope) -> Result<()> {
        match condition {
            Expr::Nested(inner) => self.rows_in_where(inner, scope),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.rows_in_where(left, scope)?;
                self.rows_in_where(right, scope)
            }
            Expr::InSubquery { expr, subquery, negated: false } => {
                super::expression::tuple(expr);
                let Expr::Tuple(row) = tree::bare(expr) else { return Ok(()) };
                *condition = self.row_in(row, subquery, true, scope)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// `ARRAY(query)`: an array of the one column, in the order of the query.
    pub(super) fn array_of(&mut self, mut query: Query, scope: &Scope) -> Result<Query> {
        if self.width(&query, scope)? != 1 {
            return Err(SqlError::syntax("subquery must return only one column"));
        }
        let order = Order::of(&mut query)?;
        let mut columns = vec![value(0)];
        let by = match order {
            Order::None => None,
            Order::Column(options) => Some((tree::column(ROWS, &columns[0]), options)),
            Order::Number => {
                columns.push(NUMBER.into());
                Some((tree::column(ROWS, NUMBER), OrderByOptions { asc: None, nulls_first: None }))
            }
        };
        let mut items = tree::call("array_agg", vec![tree::column(ROWS, &columns[0])]);
        if let (Expr::Function(function), Some((expr, options))) = (&mut items, by)
            && let FunctionArguments::List(list) = &mut function.args
        {
            let by = OrderByExpr { expr, options, with_fill: None };
            list.clauses.push(FunctionArgumentClause::OrderBy(vec![by]));
        }
        let nothing = Expr::value(Value::SingleQuotedString("{}".into()));
        let array = tree::item(tree::call("coalesce", vec![items, nothing]), "array");
        let select = tree::plain_select(vec![array], vec![named(query, &columns)]);
        Ok(tree::plain_query(SetExpr::Select(Box::new(select))))
    }
}

/// A query in FROM, with names for its columns.
fn named(query: Query, columns: &[String]) -> datafusion::sql::sqlparser::ast::TableWithJoins {
    let mut from = from_query(query, ROWS);
    if let TableFactor::Derived { alias: Some(alias), .. } = &mut from.relation {
        let column = |name: &String| TableAliasColumnDef { name: tree::exactly(name), data_type: None };
        alias.columns = columns.iter().map(column).collect();
    }
    from
}

/// The order of the values of an array.
enum Order {
    /// Any order.
    None,
    /// By themselves.
    Column(OrderByOptions),
    /// By a number in another column of the query.
    Number,
}

impl Order {
    /// The order of a query of one column; adds a number column if needed.
    fn of(query: &mut Query) -> Result<Order> {
        let Some(OrderByKind::Expressions(by)) = query.order_by.as_ref().map(|by| &by.kind) else {
            return Ok(Order::None);
        };
        let (Some(first), by) = (by.first().cloned(), by.clone()) else { return Ok(Order::None) };
        let SetExpr::Select(select) = query.body.as_mut() else { return Ok(Order::Column(first.options)) };
        if matches!(select.distinct, Some(Distinct::Distinct)) {
            return Ok(Order::Column(first.options));
        }
        let (item, label) = match select.projection.as_slice() {
            [SelectItem::UnnamedExpr(expr)] => (expr.clone(), super::labels::label(expr)),
            [SelectItem::ExprWithAlias { expr, alias }] => (expr.clone(), folded(alias)),
            _ => return Err(SqlError::unsupported("ARRAY(SELECT * … ORDER BY …) is not supported")),
        };
        let is_item = |expr: &Expr| match tree::bare(expr) {
            Expr::Identifier(name) => folded(name) == label,
            Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits == "1"),
            other => *other == item,
        };
        if by.len() == 1 && is_item(&first.expr) {
            return Ok(Order::Column(first.options));
        }
        let sorted =
            |by: OrderByExpr| if is_item(&by.expr) { OrderByExpr { expr: item.clone(), ..by } } else { by };
        let mut number = tree::call("row_number", vec![]);
        if let Expr::Function(function) = &mut number {
            function.over = Some(WindowType::WindowSpec(WindowSpec {
                window_name: None,
                partition_by: vec![],
                order_by: by.into_iter().map(sorted).collect(),
                window_frame: None,
            }));
        }
        select.projection.push(tree::item(number, NUMBER));
        Ok(Order::Number)
    }
}
