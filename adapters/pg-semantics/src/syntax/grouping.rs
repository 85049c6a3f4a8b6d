//! The columns that a grouped SELECT may read: the grouped ones, those that depend on them functionally, and any inside
//! an aggregate.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Function, GroupByExpr, OrderBy, OrderByKind, Query, Select, SelectItem,
    Visit, Visitor,
};

use super::scope::{Item, Names};
use super::{Relations, labels, rows, tree};
use crate::error::{Result, SqlError, SqlState};

/// Rejects aggregates in clauses before the grouping.
pub fn refuse_aggregates(expr: &Expr, clause: &str, relations: &dyn Relations) -> Result<()> {
    let mut find = Find { relations, depth: 0 };
    match expr.visit(&mut find) {
        ControlFlow::Break(Found::Aggregate) => {
            let message = format!("aggregate functions are not allowed in {clause}");
            Err(SqlError::new(SqlState::GROUPING_ERROR, message))
        }
        ControlFlow::Break(Found::Window) => {
            let message = format!("window functions are not allowed in {clause}");
            Err(SqlError::new(SqlState::WINDOWING_ERROR, message))
        }
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Adds columns that depend on the grouped ones to GROUP BY, and rejects others.
pub fn settle(
    select: &mut Select,
    order_by: Option<&mut OrderBy>,
    names: &Names,
    relations: &dyn Relations,
) -> Result<()> {
    let read = read_after_grouping(select, order_by.as_deref());
    let aggregates = read.iter().any(|expr| {
        // Two steps, because a window function may contain an aggregate.
        let mut find = Aggregates { relations, depth: 0, found: false };
        let _ = expr.visit(&mut find);
        find.found
    });
    let GroupByExpr::Expressions(items, _) = &mut select.group_by else { return Ok(()) };
    let said = !items.is_empty();
    items.retain(|item| !matches!(item, Expr::Tuple(parts) if parts.is_empty()));
    if !said && !aggregates && select.having.is_none() {
        return Ok(());
    }
    if items.is_empty() && !aggregates {
        let one_group = tree::binary(tree::count_rows(), BinaryOperator::GtEq, tree::number(0));
        select.having = Some(match select.having.take() {
            Some(condition) => tree::binary(condition, BinaryOperator::And, one_group),
            None => one_group,
        });
    }
    let is_set = |e: &Expr| matches!(e, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_));
    let plain = !items.iter().any(is_set);
    let mut keys: Vec<Expr> = items.iter().flat_map(grouped_by).cloned().collect();
    if plain {
        for column in decided(&read, &keys, names) {
            items.push(column.clone());
            keys.push(column);
        }
    }
    for expr in &read {
        refuse_outer_aggregates(expr, names, relations)?;
        check(expr, &keys, plain, names, relations)?;
    }
    Ok(())
}

/// The expressions that are evaluated on groups.
fn read_after_grouping(select: &Select, order_by: Option<&OrderBy>) -> Vec<Expr> {
    let mut read: Vec<Expr> = vec![];
    for item in &select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            read.push(expr.clone());
        }
    }
    read.extend(select.having.clone());
    if let Some(Distinct::On(on)) = &select.distinct {
        read.extend(on.iter().cloned());
    }
    if let Some(OrderBy { kind: OrderByKind::Expressions(sorted), .. }) = order_by {
        // A plain name is a column of the result.
        let over_input = |expr: &&Expr| !matches!(expr, Expr::Identifier(_));
        read.extend(sorted.iter().map(|by| &by.expr).filter(over_input).cloned());
    }
    read
}

fn grouped_by(item: &Expr) -> Vec<&Expr> {
    match item {
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => sets.iter().flatten().collect(),
        other => vec![other],
    }
}

/// Columns that are read, are not keys, and belong to a table whose whole primary key is among the keys.
fn decided(read: &[Expr], keys: &[Expr], names: &Names) -> Vec<Expr> {
    let whole_key =
        |given: &str| names.items.iter().any(|item| item.given == given && has_whole_key(item, keys));
    let mut decided: Vec<Expr> = vec![];
    for expr in read {
        let _ = datafusion::sql::sqlparser::ast::visit_expressions(expr, |column| {
            if let Expr::CompoundIdentifier(parts) = column
                && !keys.contains(column)
                && !decided.contains(column)
                && whole_key(&parts[0].value)
            {
                decided.push(column.clone());
            }
            ControlFlow::<()>::Continue(())
        });
    }
    decided
}

/// The whole primary key of a relation is among the keys.
fn has_whole_key(item: &Item, keys: &[Expr]) -> bool {
    let is_key = |name: &String| keys.contains(&tree::column(&item.given, name));
    !item.primary_key.is_empty() && item.primary_key.iter().all(is_key)
}

fn check(expr: &Expr, keys: &[Expr], plain: bool, names: &Names, relations: &dyn Relations) -> Result<()> {
    let mut check = Check { keys, plain, names, relations, settled: 0, depth: 0 };
    match expr.visit(&mut check) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// In PostgreSQL, an aggregate over columns of an outer query only belongs to that query.
fn refuse_outer_aggregates(expr: &Expr, names: &Names, relations: &dyn Relations) -> Result<()> {
    let mut find = OuterAggregates { names, relations, depth: 0 };
    match expr.visit(&mut find) {
        ControlFlow::Break(()) => {
            Err(SqlError::unsupported("an aggregate of an outer query inside of a subquery is not supported"))
        }
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct OuterAggregates<'c> {
    names: &'c Names,
    relations: &'c dyn Relations,
    /// Number of subqueries around.
    depth: usize,
}

impl Visitor for OuterAggregates<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        if self.depth > 0 || !is_aggregate(function, self.relations) {
            return ControlFlow::Continue(());
        }
        let mut read = Read { names: self.names, depth: 0, own: false, others: false };
        let _ = function.args.visit(&mut read);
        let (outer, inner) = (read.others, read.own);
        if outer && !inner { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The queries whose columns an argument reads, apart from those of subqueries in it.
struct Read<'c> {
    names: &'c Names,
    /// Number of subqueries around.
    depth: usize,
    own: bool,
    others: bool,
}

impl Visitor for Read<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr {
            let own = self.names.items.iter().any(|item| item.given == parts[0].value);
            self.own |= own;
            self.others |= !own && self.depth == 0;
        }
        ControlFlow::Continue(())
    }
}

fn is_aggregate(function: &Function, relations: &dyn Relations) -> bool {
    let name = function.name.0.last().and_then(|part| part.as_ident());
    function.over.is_none() && name.is_some_and(|name| relations.is_aggregate(&labels::folded(name)))
}

/// A call that is not allowed in a filter of rows.
enum Found {
    Aggregate,
    Window,
}

struct Find<'r> {
    relations: &'r dyn Relations,
    /// Number of subqueries around.
    depth: usize,
}

impl Visitor for Find<'_> {
    type Break = Found;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Found> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Found> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Found> {
        match expr {
            Expr::Function(function) if self.depth == 0 && function.over.is_some() => {
                ControlFlow::Break(Found::Window)
            }
            Expr::Function(function) if self.depth == 0 && is_aggregate(function, self.relations) => {
                ControlFlow::Break(Found::Aggregate)
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

struct Aggregates<'r> {
    relations: &'r dyn Relations,
    depth: usize,
    found: bool,
}

impl Visitor for Aggregates<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.found |= self.depth == 0 && is_aggregate(function, self.relations);
        }
        ControlFlow::Continue(())
    }
}

/// Searches for columns that are neither keys nor inside of an aggregate.
struct Check<'c> {
    keys: &'c [Expr],
    /// True with one set of keys.
    plain: bool,
    names: &'c Names,
    relations: &'c dyn Relations,
    /// Number of keys and aggregates around.
    settled: usize,
    /// Number of subqueries around.
    depth: usize,
}

impl Check<'_> {
    /// True for a key or an aggregate of this SELECT: columns in it may be read.
    fn settles(&self, expr: &Expr) -> bool {
        let aggregate = |f: &Function| self.depth == 0 && is_aggregate(f, self.relations);
        self.keys.contains(expr) || matches!(expr, Expr::Function(f) if aggregate(f))
    }

    /// The ungrouped column that an expression reads, or a whole row, which needs the primary key.
    fn ungrouped(&self, expr: &Expr) -> Option<String> {
        let item = |given: &str| self.names.items.iter().find(|item| item.given == given);
        let (item, column) = match expr {
            Expr::CompoundIdentifier(parts) => {
                let item = item(&parts[0].value)?;
                (item, item.columns.iter().find(|column| column.expr == *expr)?.name.as_str())
            }
            Expr::Function(call) => {
                let of_key = |item: &&Item| self.plain && has_whole_key(item, self.keys);
                (rows::relation_of(call).and_then(item).filter(|item| !of_key(item))?, "*")
            }
            _ => return None,
        };
        Some(match &item.name {
            Some(name) => format!("{name}.{column}"),
            None => column.to_string(),
        })
    }
}

impl Visitor for Check<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<SqlError> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        self.settled += usize::from(self.settles(expr));
        if self.settled > 0 {
            return ControlFlow::Continue(());
        }
        match self.ungrouped(expr) {
            None => ControlFlow::Continue(()),
            Some(column) => {
                let message = match self.depth {
                    0 => format!(
                        "column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"
                    ),
                    _ => format!("subquery uses ungrouped column \"{column}\" from outer query"),
                };
                ControlFlow::Break(SqlError::new(SqlState::GROUPING_ERROR, message))
            }
        }
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        self.settled -= usize::from(self.settles(expr));
        ControlFlow::Continue(())
    }
}
