//! Subqueries of one node's expressions, joined to the node's input.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinConstraint, JoinType, NullEquality, not_impl_err};
use datafusion::common::{ScalarValue, Spans, TableReference};
use datafusion::error::Result;
use datafusion::functions_aggregate::bool_and_or::{bool_and_udaf, bool_or_udaf};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    Subquery, SubqueryAlias, lit, when,
};

use super::domain::{Domain, Namer, outer_columns};
use super::functions::{maybe_null, one_row, opaque};
use super::push::{is_one_row, push};

/// Replaces subqueries by columns that it joins to the input.
pub struct Replace<'n> {
    /// The input with what was joined to it.
    pub input: LogicalPlan,
    names: &'n Namer,
}

impl<'n> Replace<'n> {
    /// Over this input.
    pub fn new(input: LogicalPlan, names: &'n Namer) -> Replace<'n> {
        Replace { input, names }
    }

    /// The expression with its subqueries replaced, apart from scalar ones that read no column of the input.
    pub fn expression(&mut self, expr: Expr) -> Result<Expr> {
        let replaced = expr.transform_up(|e| {
            Ok(match e {
                Expr::Exists(exists) => Transformed::yes(self.exists(exists)?),
                Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                    let is_in = self.quantified(*expr, Operator::Eq, SetQuantifier::Any, subquery)?;
                    Transformed::yes(if negated { Expr::Not(Box::new(is_in)) } else { is_in })
                }
                Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                    Transformed::yes(self.quantified(*expr, op, quantifier, subquery)?)
                }
                Expr::ScalarSubquery(subquery) => Transformed::yes(self.scalar(subquery)?),
                other => Transformed::no(other),
            })
        })?;
        Ok(replaced.data)
    }

    fn read(&self, subquery: &Subquery) -> Result<Vec<Column>> {
        outer_columns(&subquery.subquery, Some(self.input.schema()))
    }

    fn scalar(&mut self, subquery: Subquery) -> Result<Expr> {
        let outer = self.read(&subquery)?;
        let plan = &subquery.subquery;
        if outer.is_empty() {
            return Ok(Expr::ScalarSubquery(Subquery { subquery: Arc::new(nullable(plan)?), ..subquery }));
        }
        let value = plan.schema().columns().remove(0);
        let domain = Domain::new(&self.input, outer, self.names)?;
        let pushed = push(plan, &domain)?;
        if is_one_row(plan) {
            let columns = self.join(pushed.plan, &domain, pushed.columns, vec![Expr::Column(value)])?;
            return Ok(columns.into_iter().next().map(Expr::Column).expect("one was asked for"));
        }
        let first = first_value_udaf().call(vec![Expr::Column(value)]).alias("value");
        let rows = count_rows().alias("rows");
        let counted = grouped(pushed.plan, &pushed.columns, vec![first, rows])?;
        let value = one_row(named("value"), named("rows"));
        let columns = self.join(counted, &domain, pushed.columns, vec![value])?;
        Ok(columns.into_iter().next().map(Expr::Column).expect("one was asked for"))
    }

    fn exists(&mut self, exists: Exists) -> Result<Expr> {
        let Exists { subquery, negated } = exists;
        let outer = self.read(&subquery)?;
        if outer.is_empty() {
            let some = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
                .limit(0, Some(1))?
                .aggregate(Vec::<Expr>::new(), vec![count_rows().alias("rows")])?
                .build()?;
            let rows = Expr::ScalarSubquery(Subquery {
                subquery: Arc::new(some),
                outer_ref_columns: vec![],
                spans: Spans::new(),
            });
            let none = lit(0_i64);
            return Ok(if negated { rows.eq(none) } else { rows.gt(none) });
        }
        let domain = Domain::new(&self.input, outer, self.names)?;
        let pushed = push(&subquery.subquery, &domain)?;
        let keys = pushed.columns.iter().cloned().map(Expr::Column).collect();
        let keys = Projection::try_new(keys, Arc::new(pushed.plan))?;
        let there = LogicalPlan::Distinct(Distinct::All(Arc::new(LogicalPlan::Projection(keys))));
        let mark = self.join(there, &domain, pushed.columns, vec![lit(true)])?.remove(0);
        let mark = Expr::Column(mark);
        Ok(if negated { mark.is_null() } else { mark.is_not_null() })
    }

    /// `expr op ANY (subquery)` and `expr op ALL (subquery)`.
    fn quantified(
        &mut self,
        expr: Expr,
        op: Operator,
        quantifier: SetQuantifier,
        subquery: Subquery,
    ) -> Result<Expr> {
        if subquery.subquery.schema().fields().len() != 1 {
            return not_impl_err!("a comparison of rows with a subquery is not supported here");
        }
        let outer = self.read(&subquery)?;
        match (outer.is_empty(), op, quantifier) {
            (true, Operator::Eq, SetQuantifier::Any) => self.member(expr, &subquery),
            (true, Operator::NotEq, SetQuantifier::All) => {
                Ok(Expr::Not(Box::new(self.member(expr, &subquery)?)))
            }
            _ => self.compared(expr, op, quantifier, outer, &subquery),
        }
    }

    /// `expr IN (subquery)` of a subquery that reads no column of the input: a join on equality; a null among its
    /// values matters only without a match.
    fn member(&mut self, expr: Expr, subquery: &Subquery) -> Result<Expr> {
        let plan = subquery.subquery.as_ref();
        let value = Expr::Column(plan.schema().columns().remove(0));
        let all = LogicalPlanBuilder::from(plan.clone())
            .aggregate(
                Vec::<Expr>::new(),
                vec![count_rows().alias("rows"), count(value.clone()).alias("known")],
            )?
            .build()?;
        let (all, counts) = self.aliased(all, "all", &["rows", "known"])?;
        let values = LogicalPlanBuilder::from(plan.clone())
            .filter(value.clone().is_not_null())?
            .project(vec![value.alias("value")])?
            .distinct()?
            .build()?;
        let (values, found) = self.aliased(values, "values", &["value"])?;
        let found = Expr::Column(found[0].clone());
        let input = std::mem::take(&mut self.input);
        let input = join(input, all, vec![], None, JoinType::Inner)?;
        let equal = expr.clone().eq(found.clone());
        self.input = join(input, values, vec![], Some(equal), JoinType::Left)?;
        let (rows, known) = (Expr::Column(counts[0].clone()), Expr::Column(counts[1].clone()));
        when(found.is_not_null(), lit(true))
            .when(rows.clone().eq(lit(0_i64)), lit(false))
            .when(expr.is_null().or(known.lt(rows)), lit(ScalarValue::Boolean(None)))
            .otherwise(lit(false))
    }

    /// Compares with all rows, once for each combination of the value and of the outer columns.
    fn compared(
        &mut self,
        expr: Expr,
        op: Operator,
        quantifier: SetQuantifier,
        mut outer: Vec<Column>,
        subquery: &Subquery,
    ) -> Result<Expr> {
        let compared = self.as_column(expr)?;
        let at = outer.iter().position(|c| *c == compared).unwrap_or_else(|| {
            outer.push(compared);
            outer.len() - 1
        });
        let domain = Domain::new(&self.input, outer, self.names)?;
        let value = Expr::Column(subquery.subquery.schema().columns().remove(0));
        let pushed = push(&subquery.subquery, &domain)?;
        let left = Expr::Column(pushed.columns[at].clone());
        let holds = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(value)));
        let decided = match quantifier {
            SetQuantifier::Any => bool_or_udaf().call(vec![holds.clone()]),
            SetQuantifier::All => bool_and_udaf().call(vec![holds.clone()]),
        };
        let aggregates =
            vec![decided.alias("decided"), count_rows().alias("rows"), count(holds).alias("known")];
        let counted = grouped(pushed.plan, &pushed.columns, aggregates)?;
        let wanted = vec![named("decided"), named("rows"), named("known")];
        let columns = self.join(counted, &domain, pushed.columns, wanted)?;
        let [decided, rows, known] = columns.as_slice() else { return not_impl_err!("three columns") };
        let column = |c: &Column| Expr::Column(c.clone());
        let (decided, rows, known) = (column(decided), column(rows), column(known));
        let unknown = lit(ScalarValue::Boolean(None));
        match quantifier {
            SetQuantifier::Any => when(rows.clone().is_null(), lit(false))
                .when(decided, lit(true))
                .when(known.lt(rows), unknown)
                .otherwise(lit(false)),
            SetQuantifier::All => when(rows.clone().is_null(), lit(true))
                .when(Expr::Not(Box::new(decided)), lit(false))
                .when(known.lt(rows), unknown)
                .otherwise(lit(true)),
        }
    }

    /// The expression as a column of the input.
    fn as_column(&mut self, expr: Expr) -> Result<Column> {
        if let Expr::Column(column) = &expr {
            return Ok(column.clone());
        }
        let name = self.names.next("compared");
        let input = std::mem::take(&mut self.input);
        let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        columns.push(expr.alias(&name));
        self.input = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?);
        Ok(Column::new_unqualified(name))
    }

    fn aliased(&self, plan: LogicalPlan, what: &str, columns: &[&str]) -> Result<(LogicalPlan, Vec<Column>)> {
        let alias = TableReference::bare(self.names.next(what));
        let columns = columns.iter().map(|name| Column::new(Some(alias.clone()), *name)).collect();
        Ok((LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(plan), alias)?), columns))
    }

    /// Joins the result for each row of the domain, whose columns in it are `keys`, to the input. Returns the columns
    /// of `wanted`, null without a match.
    fn join(
        &mut self,
        found: LogicalPlan,
        domain: &Domain,
        keys: Vec<Column>,
        wanted: Vec<Expr>,
    ) -> Result<Vec<Column>> {
        let alias = TableReference::bare(self.names.next("subquery"));
        let in_alias = |name: &String| Column::new(Some(alias.clone()), name);
        let names: Vec<String> = wanted.iter().map(|_| self.names.next("value")).collect();
        let mut projected: Vec<Expr> = keys
            .into_iter()
            .zip(&domain.columns)
            .map(|(key, (_, name))| Expr::Column(key).alias(name))
            .collect();
        projected.extend(wanted.into_iter().zip(&names).map(|(expr, name)| expr.alias(name)));
        let found = LogicalPlan::Projection(Projection::try_new(projected, Arc::new(found))?);
        let found = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(found), alias.clone())?);
        let on = domain
            .columns
            .iter()
            .map(|(outer, name)| (Expr::Column(outer.clone()), Expr::Column(in_alias(name))))
            .collect();
        let input = std::mem::take(&mut self.input);
        let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let joined = join(input, found, on, None, JoinType::Left)?;
        columns.extend(names.iter().map(|name| opaque(in_alias(name))));
        self.input = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(joined))?);
        Ok(names.iter().map(in_alias).collect())
    }
}

/// A join on equal keys; nulls are equal.
pub fn join(
    left: LogicalPlan,
    right: LogicalPlan,
    on: Vec<(Expr, Expr)>,
    filter: Option<Expr>,
    join_type: JoinType,
) -> Result<LogicalPlan> {
    let nulls = match on.is_empty() {
        true => NullEquality::NullEqualsNothing,
        false => NullEquality::NullEqualsNull,
    };
    let (left, right) = (Arc::new(left), Arc::new(right));
    let join = Join::try_new(left, right, on, filter, join_type, JoinConstraint::On, nulls, false)?;
    Ok(LogicalPlan::Join(join))
}

fn grouped(plan: LogicalPlan, by: &[Column], aggregates: Vec<Expr>) -> Result<LogicalPlan> {
    let by = by.iter().cloned().map(Expr::Column).collect();
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(plan), by, aggregates)?))
}

fn named(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn count(expr: Expr) -> Expr {
    count_udaf().call(vec![expr])
}

fn count_rows() -> Expr {
    count(lit(1_i64))
}

/// A subquery whose value may be null even if its column cannot be, because it may have no row.
fn nullable(plan: &LogicalPlan) -> Result<LogicalPlan> {
    // Also if it is already nullable: after constant folding it would be a constant that is not.
    if is_one_row_always(plan) {
        return Ok(plan.clone());
    }
    let column = plan.schema().columns().remove(0);
    let name = column.name.clone();
    let value = maybe_null(Expr::Column(column)).alias(name);
    Ok(LogicalPlan::Projection(Projection::try_new(vec![value], Arc::new(plan.clone()))?))
}

/// An aggregate without GROUP BY always has a row.
fn is_one_row_always(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => is_one_row_always(&p.input),
        LogicalPlan::SubqueryAlias(a) => is_one_row_always(&a.input),
        LogicalPlan::Aggregate(a) => a.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}
