//! The domain of a correlated subquery: the outer columns that it reads, and their distinct rows.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Projection, Subquery, SubqueryAlias};

/// Generates names that no statement contains.
#[derive(Default)]
pub struct Namer(Cell<usize>);

impl Namer {
    /// A new name.
    pub fn next(&self, what: &str) -> String {
        self.0.set(self.0.get() + 1);
        format!("__{what}_{}", self.0.get())
    }
}

/// Columns of an outer query that a subquery's plan reads, subqueries in it included; of `schema` only, if it is given.
pub fn outer_columns(plan: &LogicalPlan, schema: Option<&DFSchema>) -> Result<Vec<Column>> {
    let mut found: Vec<Column> = vec![];
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::OuterReferenceColumn(_, column) = e
                    && schema.is_none_or(|schema| schema.has_column(column))
                    && !found.contains(column)
                {
                    found.push(column.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// True for a plan that reads columns of an outer query.
pub fn refers_outside(plan: &LogicalPlan) -> Result<bool> {
    Ok(!outer_columns(plan, None)?.is_empty())
}

/// The distinct combinations of the outer columns that a subquery reads.
pub struct Domain<'n> {
    rows: LogicalPlan,
    /// The outer columns, and the name that each has in the domain.
    pub columns: Vec<(Column, String)>,
    pub names: &'n Namer,
}

impl<'n> Domain<'n> {
    /// The domain of these columns of `outer`.
    pub fn new(outer: &LogicalPlan, columns: Vec<Column>, names: &'n Namer) -> Result<Domain<'n>> {
        let columns: Vec<(Column, String)> =
            columns.into_iter().map(|column| (column, names.next("outer"))).collect();
        let projected =
            columns.iter().map(|(column, name)| Expr::Column(column.clone()).alias(name)).collect();
        let projection = Projection::try_new(projected, Arc::new(outer.clone()))?;
        let rows = LogicalPlan::Distinct(Distinct::All(Arc::new(LogicalPlan::Projection(projection))));
        Ok(Domain { rows, columns, names })
    }

    /// The rows under a new alias, and the columns in the order of the outer ones.
    pub fn instance(&self) -> Result<(LogicalPlan, Vec<Column>)> {
        let alias = TableReference::bare(self.names.next("domain"));
        let rows = SubqueryAlias::try_new(Arc::new(self.rows.clone()), alias.clone())?;
        let columns = self.columns.iter().map(|(_, name)| Column::new(Some(alias.clone()), name)).collect();
        Ok((LogicalPlan::SubqueryAlias(rows), columns))
    }

    /// True if the plan reads a column of the domain.
    pub fn is_read_by(&self, plan: &LogicalPlan) -> Result<bool> {
        Ok(outer_columns(plan, None)?.iter().any(|c| self.columns.iter().any(|(outer, _)| outer == c)))
    }

    /// True if the expression, or a subquery in it, reads a column of the domain.
    pub fn is_read_in(&self, expr: &Expr) -> Result<bool> {
        let wanted = |c: &Column| self.columns.iter().any(|(outer, _)| outer == c);
        let mut found = false;
        expr.apply(|e| {
            found |= match e {
                Expr::OuterReferenceColumn(_, column) => wanted(column),
                Expr::Exists(Exists { subquery, .. })
                | Expr::InSubquery(InSubquery { subquery, .. })
                | Expr::SetComparison(SetComparison { subquery, .. })
                | Expr::ScalarSubquery(subquery) => {
                    outer_columns(&subquery.subquery, None)?.iter().any(wanted)
                }
                _ => false,
            };
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(found)
    }

    /// The expression with the outer columns replaced by the domain's, which are `columns` of its input. A subquery in
    /// it still reads them as outer columns.
    pub fn inside(&self, expr: Expr, columns: &[Column]) -> Result<Expr> {
        let inner: HashMap<&Column, &Column> =
            self.columns.iter().map(|(outer, _)| outer).zip(columns).collect();
        let subquery = |subquery: Subquery| -> Result<Subquery> {
            let plan = Arc::unwrap_or_clone(subquery.subquery);
            let renamed = plan.transform_down_with_subqueries(|node| {
                node.map_expressions(|expr| {
                    expr.transform_down(|e| {
                        Ok(match e {
                            Expr::OuterReferenceColumn(field, column) => match inner.get(&column) {
                                Some(instead) => {
                                    Transformed::yes(Expr::OuterReferenceColumn(field, (*instead).clone()))
                                }
                                None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
                            },
                            other => Transformed::no(other),
                        })
                    })
                })
            })?;
            let outer_ref_columns = renamed.data.all_out_ref_exprs();
            Ok(Subquery { subquery: Arc::new(renamed.data), outer_ref_columns, spans: subquery.spans })
        };
        let replaced = expr.transform_up(|e| {
            Ok(Transformed::yes(match e {
                Expr::OuterReferenceColumn(field, column) => match inner.get(&column) {
                    Some(instead) => Expr::Column((*instead).clone()),
                    None => Expr::OuterReferenceColumn(field, column),
                },
                Expr::Exists(mut e) => {
                    e.subquery = subquery(e.subquery)?;
                    Expr::Exists(e)
                }
                Expr::InSubquery(mut e) => {
                    e.subquery = subquery(e.subquery)?;
                    Expr::InSubquery(e)
                }
                Expr::SetComparison(mut e) => {
                    e.subquery = subquery(e.subquery)?;
                    Expr::SetComparison(e)
                }
                Expr::ScalarSubquery(s) => Expr::ScalarSubquery(subquery(s)?),
                other => other,
            }))
        })?;
        Ok(replaced.data)
    }
}
