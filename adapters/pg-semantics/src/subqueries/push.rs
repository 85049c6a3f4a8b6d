//! Pushes the domain of a subquery down through the subquery's plan.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, JoinType, NullEquality, ScalarValue, not_impl_err};
use datafusion::error::Result;
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::logical_plan::{FetchType, SkipType};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, ExprFunctionExt, ExprSchemable, Filter, Join, Limit, LogicalPlan,
    LogicalPlanBuilder, Projection, SortExpr, SubqueryAlias, Union, Window, lit, when,
};

use super::domain::{Domain, Namer, outer_columns};
use super::functions::{maybe_null, opaque};
use super::replace::join;
use super::{contains_subquery, filtered, named_as, node, only};
use crate::logic::apart;

/// A subquery's rows for each row of its domain.
pub struct Pushed {
    /// All columns of the subquery, and those of the domain.
    pub plan: LogicalPlan,
    /// The columns of the domain in it.
    pub columns: Vec<Column>,
}

/// The plan for each row of the domain, without outer references to the domain.
pub fn push(plan: &LogicalPlan, domain: &Domain) -> Result<Pushed> {
    if !domain.is_read_by(plan)? {
        let (rows, columns) = domain.instance()?;
        let plan = join(plan.clone(), rows, vec![], None, JoinType::Inner)?;
        return Ok(Pushed { plan, columns });
    }
    match plan {
        LogicalPlan::Projection(projection) => {
            let Pushed { plan, columns } = push(&projection.input, domain)?;
            let mut exprs = inside(&projection.expr, domain, &columns)?;
            exprs.extend(columns.iter().cloned().map(Expr::Column));
            Ok(Pushed { plan: LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?), columns })
        }
        LogicalPlan::Filter(filter) => {
            let Pushed { plan, columns } = push(&filter.input, domain)?;
            let predicate = domain.inside(filter.predicate.clone(), &columns)?;
            Ok(Pushed { plan: LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?), columns })
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let Pushed { plan, columns } = push(&alias.input, domain)?;
            let renamed = |c: &Column| Column::new(Some(alias.alias.clone()), &c.name);
            let columns = columns.iter().map(renamed).collect();
            let plan = SubqueryAlias::try_new(Arc::new(plan), alias.alias.clone())?;
            Ok(Pushed { plan: LogicalPlan::SubqueryAlias(plan), columns })
        }
        LogicalPlan::Join(join) => push_join(join.clone(), domain),
        LogicalPlan::Aggregate(aggregate) => push_aggregate(aggregate, domain),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let Pushed { plan, columns } = push(input, domain)?;
            Ok(Pushed { plan: LogicalPlan::Distinct(Distinct::All(Arc::new(plan))), columns })
        }
        LogicalPlan::Distinct(Distinct::On(on)) => push_distinct_on(on, domain),
        // The order matters only for a LIMIT above, which finds it itself.
        LogicalPlan::Sort(sort) => push(&sort.input, domain),
        LogicalPlan::Limit(limit) => push_limit(limit, domain),
        LogicalPlan::Union(union) => push_union(union, domain),
        LogicalPlan::Window(window) => push_window(window, domain),
        LogicalPlan::Unnest(unnest) => {
            let Pushed { plan, columns } = push(&unnest.input, domain)?;
            let (arrays, options) = (unnest.exec_columns.clone(), unnest.options.clone());
            let plan =
                LogicalPlanBuilder::from(plan).unnest_columns_with_options(arrays, options)?.build()?;
            Ok(Pushed { plan, columns })
        }
        other => not_impl_err!("a subquery that reads the outer query through {}", kind(other)),
    }
}

fn kind(plan: &LogicalPlan) -> String {
    plan.display().to_string().split([':', ' ']).next().unwrap_or_default().to_string()
}

/// Expressions of a node over its pushed input, under their names.
fn inside(exprs: &[Expr], domain: &Domain, columns: &[Column]) -> Result<Vec<Expr>> {
    exprs.iter().map(|expr| Ok(named_as(domain.inside(expr.clone(), columns)?, expr))).collect()
}

fn push_join(join: Join, domain: &Domain) -> Result<Pushed> {
    let join = match joined(join, domain.names)? {
        LogicalPlan::Join(join) => join,
        other => return push(&other, domain),
    };
    let (in_left, in_right) = (domain.is_read_by(&join.left)?, domain.is_read_by(&join.right)?);
    let (left, right, mut on, columns) = match join.join_type {
        // The rows of the other side are combined with every row of this one.
        JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti
            if !in_right && (join.join_type == JoinType::Inner || !reads_in_condition(&join, domain)?) =>
        {
            let Pushed { plan, columns } = push(&join.left, domain)?;
            (Arc::new(plan), Arc::clone(&join.right), vec![], columns)
        }
        JoinType::Inner | JoinType::Right
            if !in_left && (join.join_type == JoinType::Inner || !reads_in_condition(&join, domain)?) =>
        {
            let Pushed { plan, columns } = push(&join.right, domain)?;
            (Arc::clone(&join.left), Arc::new(plan), vec![], columns)
        }
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::LeftSemi | JoinType::LeftAnti => {
            let (left, right) = (push(&join.left, domain)?, push(&join.right, domain)?);
            let same: Vec<(Expr, Expr)> = left
                .columns
                .iter()
                .zip(&right.columns)
                .map(|(l, r)| (Expr::Column(l.clone()), Expr::Column(r.clone())))
                .collect();
            let kept = if join.join_type == JoinType::Right { right.columns } else { left.columns };
            (Arc::new(left.plan), Arc::new(right.plan), same, kept)
        }
        other => return not_impl_err!("a subquery that reads the outer query through a {other} join"),
    };
    // Null keys of the domain are equal; the keys of the join keep their own semantics, in the filter.
    let own = join.on.iter().map(|(l, r)| match join.null_equality {
        NullEquality::NullEqualsNothing => l.clone().eq(r.clone()),
        NullEquality::NullEqualsNull => Expr::BinaryExpr(datafusion::logical_expr::BinaryExpr::new(
            Box::new(l.clone()),
            datafusion::logical_expr::Operator::IsNotDistinctFrom,
            Box::new(r.clone()),
        )),
    });
    let condition = conjunction(own.chain(join.filter.clone()));
    let condition = condition.map(|c| domain.inside(c, &columns)).transpose()?;
    let shared = !on.is_empty();
    let filter = if shared { condition.map(apart) } else { condition };
    let keys = std::mem::take(&mut on);
    let right_columns = right.schema().columns();
    let wide = super::replace::join(
        Arc::unwrap_or_clone(left),
        Arc::unwrap_or_clone(right),
        keys,
        filter,
        join.join_type,
    )?;
    let of_right = |c: &Column| shared && right_columns.contains(c);
    let kept = join.schema.columns().into_iter();
    let mut exprs: Vec<Expr> = kept.map(|c| if of_right(&c) { opaque(c) } else { Expr::Column(c) }).collect();
    exprs.extend(columns.iter().cloned().map(Expr::Column));
    Ok(Pushed { plan: LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(wide))?), columns })
}

fn reads_in_condition(join: &Join, domain: &Domain) -> Result<bool> {
    let on = join.on.iter().flat_map(|(l, r)| [l, r]);
    for expr in on.chain(&join.filter) {
        if domain.is_read_in(expr)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn push_aggregate(aggregate: &Aggregate, domain: &Domain) -> Result<Pushed> {
    if aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
        return not_impl_err!("a subquery with grouping sets that reads the outer query");
    }
    let Pushed { plan, columns } = push(&aggregate.input, domain)?;
    let mut by = inside(&aggregate.group_expr, domain, &columns)?;
    by.extend(columns.iter().cloned().map(Expr::Column));
    let aggregates = inside(&aggregate.aggr_expr, domain, &columns)?;
    let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(plan), by, aggregates)?);
    if !aggregate.group_expr.is_empty() {
        return Ok(Pushed { plan: grouped, columns });
    }
    // Without GROUP BY there is one row for every row of the domain, also if no rows were aggregated.
    let (rows, all) = domain.instance()?;
    let on = all.iter().cloned().zip(columns).map(|(l, r)| (Expr::Column(l), Expr::Column(r))).collect();
    let mut exprs = Vec::with_capacity(aggregate.aggr_expr.len() + all.len());
    for ((qualifier, field), expr) in aggregate.schema.iter().zip(&aggregate.aggr_expr) {
        let value = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        exprs.push(match of_nothing(expr, aggregate)? {
            default if default.is_null() => {
                maybe_null(value).alias_qualified(qualifier.cloned(), field.name())
            }
            default => when(value.clone().is_null(), lit(default))
                .otherwise(maybe_null(value))?
                .alias_qualified(qualifier.cloned(), field.name()),
        });
    }
    exprs.extend(all.iter().cloned().map(Expr::Column));
    let plan = join(rows, grouped, on, None, JoinType::Left)?;
    Ok(Pushed { plan: LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?), columns: all })
}

/// The value of an aggregate over no rows.
fn of_nothing(expr: &Expr, aggregate: &Aggregate) -> Result<ScalarValue> {
    match expr {
        Expr::Alias(alias) => of_nothing(&alias.expr, aggregate),
        Expr::AggregateFunction(function) => {
            function.func.default_value(&expr.get_type(aggregate.input.schema())?)
        }
        _ => not_impl_err!("an aggregate in another form"),
    }
}

fn push_distinct_on(on: &DistinctOn, domain: &Domain) -> Result<Pushed> {
    let Pushed { plan, columns } = push(&on.input, domain)?;
    let keys = || columns.iter().cloned().map(Expr::Column);
    let on_expr = keys().chain(inside(&on.on_expr, domain, &columns)?).collect();
    let select = inside(&on.select_expr, domain, &columns)?.into_iter().chain(keys()).collect();
    let sort = match &on.sort_expr {
        None => None,
        Some(sort) => Some(
            keys()
                .map(|key| Ok(key.sort(true, false)))
                .chain(sort.iter().map(|by| Ok(by.with_expr(domain.inside(by.expr.clone(), &columns)?))))
                .collect::<Result<Vec<SortExpr>>>()?,
        ),
    };
    let distinct = DistinctOn::try_new(on_expr, select, sort, Arc::new(plan))?;
    Ok(Pushed { plan: LogicalPlan::Distinct(Distinct::On(distinct)), columns })
}

/// A LIMIT for each row of the domain, by row numbers in the order.
fn push_limit(limit: &Limit, domain: &Domain) -> Result<Pushed> {
    // Projections are put on top.
    match limit.input.as_ref() {
        LogicalPlan::Projection(projection) => {
            let mut inner = limit.clone();
            inner.input = Arc::clone(&projection.input);
            let mut outer = projection.clone();
            outer.input = Arc::new(LogicalPlan::Limit(inner));
            return push(&LogicalPlan::Projection(outer), domain);
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let mut inner = limit.clone();
            inner.input = Arc::clone(&alias.input);
            let mut outer = alias.clone();
            outer.input = Arc::new(LogicalPlan::Limit(inner));
            return push(&LogicalPlan::SubqueryAlias(outer), domain);
        }
        _ => {}
    }
    let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
        (limit.get_skip_type()?, limit.get_fetch_type()?)
    else {
        return not_impl_err!("a LIMIT that is no number in a subquery that reads the outer query");
    };
    let sorted: &[SortExpr] = match limit.input.as_ref() {
        LogicalPlan::Sort(sort) => &sort.expr,
        _ => &[],
    };
    let Pushed { plan, columns } = push(&limit.input, domain)?;
    let mut order = sorted
        .iter()
        .map(|by| Ok(by.with_expr(domain.inside(by.expr.clone(), &columns)?)))
        .collect::<Result<Vec<SortExpr>>>()?;
    if order.is_empty() {
        // Any order: all rows of a partition have equal keys.
        order.extend(columns.first().map(|key| Expr::Column(key.clone()).sort(true, false)));
    }
    let name = domain.names.next("row");
    let numbered = row_number()
        .partition_by(columns.iter().cloned().map(Expr::Column).collect())
        .order_by(order)
        .build()?
        .alias(&name);
    let mut kept = limit.input.schema().columns();
    kept.extend(columns.iter().cloned());
    let number = Expr::Column(Column::new_unqualified(&name));
    let from = number.clone().gt(lit(skip as u64));
    let wanted = match fetch {
        None => from,
        Some(fetch) => from.and(number.lt_eq(lit((skip + fetch) as u64))),
    };
    let plan = LogicalPlanBuilder::from(plan).window(vec![numbered])?.filter(wanted)?.build()?;
    Ok(Pushed { plan: only(plan, kept)?, columns })
}

fn push_union(union: &Union, domain: &Domain) -> Result<Pushed> {
    let mut inputs = Vec::with_capacity(union.inputs.len());
    for input in &union.inputs {
        let Pushed { plan, columns } = push(input, domain)?;
        let fields = input.schema().columns().into_iter().zip(union.schema.fields());
        let mut exprs: Vec<Expr> =
            fields.map(|(column, field)| Expr::Column(column).alias(field.name())).collect();
        exprs.extend(
            columns.into_iter().zip(&domain.columns).map(|(c, (_, name))| Expr::Column(c).alias(name)),
        );
        inputs.push(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?)));
    }
    let plan = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
    let mut pushed = plan.schema().columns();
    let columns = pushed.split_off(union.schema.fields().len());
    let mut exprs: Vec<Expr> = pushed
        .into_iter()
        .zip(union.schema.iter())
        .map(|(column, (qualifier, field))| {
            Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
        })
        .collect();
    exprs.extend(columns.iter().cloned().map(Expr::Column));
    Ok(Pushed { plan: LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?), columns })
}

fn push_window(window: &Window, domain: &Domain) -> Result<Pushed> {
    let Pushed { plan, columns } = push(&window.input, domain)?;
    let mut exprs = Vec::with_capacity(window.window_expr.len());
    for before in &window.window_expr {
        let expr = domain.inside(before.clone(), &columns)?;
        let partitioned = expr.transform_down(|e| {
            Ok(match e {
                Expr::WindowFunction(mut function) => {
                    let keys = columns.iter().cloned().map(Expr::Column);
                    function.params.partition_by.extend(keys);
                    datafusion::common::tree_node::Transformed::new(
                        Expr::WindowFunction(function),
                        true,
                        datafusion::common::tree_node::TreeNodeRecursion::Jump,
                    )
                }
                other => datafusion::common::tree_node::Transformed::no(other),
            })
        })?;
        exprs.push(named_as(partitioned.data, before));
    }
    Ok(Pushed { plan: LogicalPlan::Window(Window::try_new(exprs, Arc::new(plan))?), columns })
}

/// True for a plan with at most one row for each row of its domain.
pub fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => is_one_row(&p.input),
        LogicalPlan::SubqueryAlias(a) => is_one_row(&a.input),
        LogicalPlan::Filter(f) => is_one_row(&f.input),
        LogicalPlan::Sort(s) => is_one_row(&s.input),
        LogicalPlan::Aggregate(a) => a.group_expr.is_empty(),
        LogicalPlan::Limit(l) => matches!(l.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1)))),
        LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    }
}

/// A join without LATERAL, and without subqueries in its condition.
pub fn joined(join: Join, names: &Namer) -> Result<LogicalPlan> {
    if let Some((subquery, alias)) = lateral(&join.right) {
        let outer = outer_columns(subquery, Some(join.left.schema()))?;
        if !outer.is_empty() {
            return lateral_join(&join, subquery, alias, outer, names);
        }
    }
    let mut asks = false;
    for expr in join.on.iter().flat_map(|(l, r)| [l, r]).chain(&join.filter) {
        asks |= contains_subquery(expr)?;
    }
    match join.join_type {
        _ if !asks => Ok(LogicalPlan::Join(join)),
        JoinType::Inner => {
            let on = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
            let condition = conjunction(on.chain(join.filter.clone())).expect("it asks something");
            let cross = super::replace::join(
                join.left.as_ref().clone(),
                join.right.as_ref().clone(),
                vec![],
                None,
                JoinType::Inner,
            )?;
            filtered(Filter::try_new(condition, Arc::new(cross))?, names)
        }
        other => not_impl_err!("a subquery in the condition of a {other} join"),
    }
}

fn lateral(plan: &LogicalPlan) -> Option<(&LogicalPlan, Option<&SubqueryAlias>)> {
    match plan {
        LogicalPlan::Subquery(subquery) => Some((&subquery.subquery, None)),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => Some((&subquery.subquery, Some(alias))),
            _ => None,
        },
        _ => None,
    }
}

fn lateral_join(
    join: &Join,
    subquery: &LogicalPlan,
    alias: Option<&SubqueryAlias>,
    outer: Vec<Column>,
    names: &Namer,
) -> Result<LogicalPlan> {
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return not_impl_err!("LATERAL in a {} join", join.join_type);
    }
    let left = node(join.left.as_ref().clone(), names)?;
    let domain = Domain::new(&left, outer, names)?;
    let Pushed { mut plan, mut columns } = push(subquery, &domain)?;
    if let Some(alias) = alias {
        plan = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(plan), alias.alias.clone())?);
        columns = columns.iter().map(|c| Column::new(Some(alias.alias.clone()), &c.name)).collect();
    }
    let same: Vec<(Expr, Expr)> = domain
        .columns
        .iter()
        .zip(columns)
        .map(|((outer, _), c)| (Expr::Column(outer.clone()), Expr::Column(c)))
        .collect();
    let own = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
    let filter = conjunction(own.chain(join.filter.clone()));
    let left_columns = left.schema().columns();
    let wide = super::replace::join(left, plan, same, filter.map(apart), join.join_type)?;
    let of_left = |c: &Column| left_columns.contains(c);
    let columns = join.schema.columns().into_iter();
    let exprs = columns.map(|c| if of_left(&c) { Expr::Column(c) } else { opaque(c) }).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(wide))?))
}
