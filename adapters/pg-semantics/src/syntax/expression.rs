//! Names in expressions: looks up columns, resolves subqueries with the names of the outer queries, and converts
//! comparisons of rows to comparisons of their values.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, VisitMut,
    VisitorMut,
};

use super::rows::{self, Rows};
use super::scope::{self, Scope};
use super::{Resolver, labels, tree};
use crate::error::{Result, SqlError, SqlState};

impl Resolver<'_> {
    /// Resolves the names of an expression.
    pub(super) fn expression(&mut self, expr: &mut Expr, scope: &Scope) -> Result<()> {
        let mut names = Expressions { resolver: self, scope, held: vec![], rows: Rows::default() };
        match expr.visit(&mut names) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }
}

struct Expressions<'e, 'r> {
    resolver: &'e mut Resolver<'r>,
    scope: &'e Scope<'e>,
    /// Subqueries that are already resolved, removed while the visitor runs.
    held: Vec<Query>,
    /// Rows of relations.
    rows: Rows,
}

impl Expressions<'_, '_> {
    /// Resolves a subquery and removes it until the visitor leaves its expression.
    fn hold(&mut self, query: &mut Query, wanted: Option<usize>) -> Result<()> {
        let mut query = std::mem::replace(query, tree::no_query());
        let columns = self.resolver.query(&mut query, Some(self.scope))?;
        if let Some(wanted) = wanted {
            check_width(columns.len(), wanted)?;
        }
        self.held.push(query);
        Ok(())
    }

    fn enter(&mut self, expr: &mut Expr) -> Result<()> {
        rows(expr)?;
        name_of_access(expr);
        self.collect(expr)?;
        match expr {
            Expr::Subquery(query) => self.hold(query, Some(1)),
            Expr::Exists { subquery, .. } => self.hold(subquery, None),
            Expr::InSubquery { subquery, .. } => self.hold(subquery, Some(1)),
            // A function of the planner that PostgreSQL does not have.
            Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("unnest_outer") => {
                Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, "function unnest_outer does not exist"))
            }
            Expr::Function(function) => {
                self.rows.arguments(function, self.scope)?;
                refuse_rows_as_arguments(&function.args)?;
                match &mut function.args {
                    FunctionArguments::Subquery(query) => self.hold(query, Some(1)),
                    FunctionArguments::List(list) => {
                        list.args.iter_mut().for_each(name_argument);
                        Ok(())
                    }
                    FunctionArguments::None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Rows and arrays of subqueries become plain subqueries.
    fn collect(&mut self, expr: &mut Expr) -> Result<()> {
        match expr {
            Expr::InSubquery { expr: left, subquery, negated } => {
                tuple(left);
                if let Some(values) = row(left) {
                    let found = self.resolver.row_in(values, subquery, false, self.scope)?;
                    *expr = negate_if(*negated, found);
                    // The visitor may enter the result again.
                    rows(expr)?;
                }
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                tuple(left);
                if let (Some(values), Expr::Subquery(query)) = (row(left), tree::bare(right)) {
                    *expr = self.resolver.row_in(values, query, false, self.scope)?;
                }
            }
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
                tuple(left);
                if let (Some(values), Expr::Subquery(query)) = (row(left), tree::bare(right)) {
                    *expr = negate_if(true, self.resolver.row_in(values, query, false, self.scope)?);
                }
            }
            Expr::Function(function)
                if matches!(function.args, FunctionArguments::Subquery(_))
                    && function.name.to_string().eq_ignore_ascii_case("array") =>
            {
                if let FunctionArguments::Subquery(query) = &mut function.args {
                    let query = std::mem::replace(query.as_mut(), tree::no_query());
                    *expr = Expr::Subquery(Box::new(self.resolver.array_of(query, self.scope)?));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn leave(&mut self, expr: &mut Expr) -> Result<()> {
        match expr {
            Expr::Identifier(name) if !name.value.starts_with('@') => {
                *expr = self.rows.named(name).map_or_else(|| self.scope.column(name), Ok)?;
            }
            Expr::CompoundIdentifier(parts) => *expr = self.scope.qualified(parts)?,
            // The planner resolves the items of a literal without the names around them.
            Expr::Array(array) if !array.elem.is_empty() => {
                *expr = tree::call("make_array", std::mem::take(&mut array.elem));
            }
            // The tree already expresses the grouping.
            Expr::Nested(inner) => *expr = tree::take(inner),
            Expr::Subquery(query) => self.put_back(query),
            Expr::Exists { subquery, .. } | Expr::InSubquery { subquery, .. } => self.put_back(subquery),
            Expr::Function(function) => {
                if let FunctionArguments::Subquery(query) = &mut function.args {
                    self.put_back(query);
                }
                rows::refuse_others(function)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn put_back(&mut self, query: &mut Query) {
        *query = self.held.pop().expect("a subquery is left after it was entered");
    }
}

impl VisitorMut for Expressions<'_, '_> {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        self.enter(expr).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        self.leave(expr).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }
}

fn check_width(columns: usize, wanted: usize) -> Result<()> {
    match columns.cmp(&wanted) {
        std::cmp::Ordering::Equal => Ok(()),
        _ if wanted == 1 => Err(SqlError::syntax("subquery must return only one column")),
        std::cmp::Ordering::Greater => Err(SqlError::syntax("subquery has too many columns")),
        std::cmp::Ordering::Less => Err(SqlError::syntax("subquery has too few columns")),
    }
}

/// `t.a[1]` and `t.a.b` begin with the name of a column, which the parser splits.
fn name_of_access(expr: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return };
    let mut name = match root.as_ref() {
        Expr::Identifier(first) => vec![first.clone()],
        Expr::CompoundIdentifier(parts) => parts.clone(),
        _ => return,
    };
    let is_name = |access: &AccessExpr| matches!(access, AccessExpr::Dot(Expr::Identifier(_)));
    let said = access_chain.iter().take_while(|access| is_name(access)).count();
    for access in access_chain.drain(..said) {
        if let AccessExpr::Dot(Expr::Identifier(part)) = access {
            name.push(part);
        }
    }
    **root = match name.len() {
        1 => Expr::Identifier(name.remove(0)),
        _ => Expr::CompoundIdentifier(name),
    };
}

/// The name of an argument is not a column.
fn name_argument(arg: &mut FunctionArg) {
    if let FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: value, operator } = arg {
        *arg = FunctionArg::Named { name: name.clone(), arg: value.clone(), operator: operator.clone() };
    }
}

fn refuse_rows_as_arguments(args: &FunctionArguments) -> Result<()> {
    let FunctionArguments::List(list) = args else { return Ok(()) };
    for arg in &list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = arg {
            return Err(scope::whole_row(&name.to_string()));
        }
    }
    Ok(())
}

/// The values of a row: `(a, b)` or `ROW(a, b)`.
fn row(expr: &Expr) -> Option<&[Expr]> {
    match tree::bare(expr) {
        Expr::Tuple(values) => Some(values),
        _ => None,
    }
}

/// Comparisons of rows become comparisons of their values, three-valued as PostgreSQL's.
fn rows(expr: &mut Expr) -> Result<()> {
    tuple(expr);
    let compared = match expr {
        Expr::BinaryOp { left, op, right } => {
            tuple(left);
            tuple(right);
            match (row(left), row(right)) {
                (Some(left), Some(right)) => Some(compare(left, op, right)?),
                _ => None,
            }
        }
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
            tuple(left);
            tuple(right);
            match (row(left), row(right)) {
                (Some(left), Some(right)) => Some(distinct(left, right)?),
                _ => None,
            }
        }
        Expr::IsNull(inner) => {
            tuple(inner);
            row(inner).map(|values| each(values, Expr::IsNull))
        }
        Expr::IsNotNull(inner) => {
            tuple(inner);
            row(inner).map(|values| each(values, Expr::IsNotNull))
        }
        Expr::InList { expr: left, list, negated } => {
            tuple(left);
            list.iter_mut().for_each(tuple);
            match row(left) {
                Some(left) => Some(in_list(left, list, *negated)?),
                None => None,
            }
        }
        Expr::Between { expr: value, negated, low, high } => {
            [&mut *value, low, high].into_iter().for_each(|e| tuple(e));
            match (row(value), row(low), row(high)) {
                (Some(value), Some(low), Some(high)) => {
                    let above = compare(value, &BinaryOperator::GtEq, low)?;
                    let below = compare(value, &BinaryOperator::LtEq, high)?;
                    Some(negate_if(*negated, tree::binary(above, BinaryOperator::And, below)))
                }
                _ => None,
            }
        }
        // Item by item, because a null item leaves the result unknown if no other item decides it.
        Expr::AnyOp { left, compare_op, right, .. } => {
            items(right).map(|items| one_by_one(left, compare_op, items, BinaryOperator::Or))
        }
        Expr::AllOp { left, compare_op, right } => {
            items(right).map(|items| one_by_one(left, compare_op, items, BinaryOperator::And))
        }
        _ => None,
    };
    if let Some(compared) = compared {
        let negated = matches!(expr, Expr::IsNotDistinctFrom(..));
        *expr = negate_if(negated, compared);
    }
    Ok(())
}

/// The items of `ARRAY[…]`, if there are any.
fn items(expr: &Expr) -> Option<&[Expr]> {
    match tree::bare(expr) {
        Expr::Array(array) if !array.elem.is_empty() => Some(&array.elem),
        _ => None,
    }
}

fn one_by_one(left: &Expr, op: &BinaryOperator, items: &[Expr], between: BinaryOperator) -> Expr {
    let each = items.iter().map(|item| tree::binary(left.clone(), op.clone(), item.clone()));
    Expr::Nested(Box::new(tree::chain(between, each, false)))
}

/// `ROW(a, b)` is `(a, b)`.
pub(super) fn tuple(expr: &mut Expr) {
    if let Expr::Function(function) = expr
        && let [name] = function.name.0.as_slice()
        && name.as_ident().is_some_and(|n| n.quote_style.is_none() && labels::folded(n) == "row")
        && let FunctionArguments::List(list) = &function.args
    {
        let value = |arg: &FunctionArg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value.clone()),
            _ => None,
        };
        if let Some(values) = list.args.iter().map(value).collect() {
            *expr = Expr::Tuple(values);
        }
    }
}

fn same_width(left: &[Expr], right: &[Expr]) -> Result<()> {
    match left.len() == right.len() {
        true => Ok(()),
        false => Err(SqlError::syntax("unequal number of entries in row expressions")),
    }
}

fn compare(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Result<Expr> {
    use BinaryOperator as Op;
    same_width(left, right)?;
    let pairs = || left.iter().cloned().zip(right.iter().cloned());
    let nested = |expr| Expr::Nested(Box::new(expr));
    let compared = match op {
        Op::Eq => tree::chain(Op::And, pairs().map(|(l, r)| tree::binary(l, Op::Eq, r)), true),
        Op::NotEq => tree::chain(Op::Or, pairs().map(|(l, r)| tree::binary(l, Op::NotEq, r)), false),
        Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => {
            let strict = if matches!(op, Op::Lt | Op::LtEq) { Op::Lt } else { Op::Gt };
            let mut pairs = pairs().rev();
            let Some((l, r)) = pairs.next() else {
                return Err(SqlError::unsupported("rows without a column cannot be compared"));
            };
            // The first pair that differs decides.
            pairs.fold(tree::binary(l, op.clone(), r), |rest, (l, r)| {
                let equal = tree::binary(l.clone(), Op::Eq, r.clone());
                let tied = tree::binary(equal, Op::And, nested(rest));
                tree::binary(tree::binary(l, strict.clone(), r), Op::Or, nested(tied))
            })
        }
        other => {
            return Err(SqlError::unsupported(format!("rows cannot be compared with the operator {other}"))
                .with_hint("Compare their values one by one."));
        }
    };
    Ok(nested(compared))
}

fn distinct(left: &[Expr], right: &[Expr]) -> Result<Expr> {
    same_width(left, right)?;
    let pair = |(l, r): (&Expr, &Expr)| Expr::IsDistinctFrom(Box::new(l.clone()), Box::new(r.clone()));
    let any = tree::chain(BinaryOperator::Or, left.iter().zip(right).map(pair), false);
    Ok(Expr::Nested(Box::new(any)))
}

fn each(values: &[Expr], test: fn(Box<Expr>) -> Expr) -> Expr {
    let all = values.iter().map(|value| test(Box::new(value.clone())));
    Expr::Nested(Box::new(tree::chain(BinaryOperator::And, all, true)))
}

fn in_list(left: &[Expr], list: &[Expr], negated: bool) -> Result<Expr> {
    let mut equal = Vec::with_capacity(list.len());
    for item in list {
        let right = row(item).ok_or_else(|| {
            SqlError::new(
                SqlState::UNDEFINED_FUNCTION,
                "a row can be compared with rows only: IN ((…, …), (…, …))",
            )
        })?;
        equal.push(compare(left, &BinaryOperator::Eq, right)?);
    }
    let any = Expr::Nested(Box::new(tree::chain(BinaryOperator::Or, equal, false)));
    Ok(negate_if(negated, any))
}

fn negate_if(negated: bool, expr: Expr) -> Expr {
    use datafusion::sql::sqlparser::ast::UnaryOperator;
    match negated {
        true => Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) })),
        false => expr,
    }
}
