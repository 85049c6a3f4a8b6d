//! SELECT: the expansion of `*`, the items of GROUP BY, DISTINCT ON and ORDER BY, and the names of the result's
//! columns.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, Expr, GroupByExpr, Ident, OrderBy, OrderByExpr, OrderByKind, Select,
    SelectItem, SelectItemQualifiedWildcardKind, UnaryOperator, Value, WildcardAdditionalOptions,
};

use super::grouping;
use super::labels::{folded, label};
use super::scope::{Scope, Visible};
use super::{OutputColumn, Resolver, sets, tree, windows};
use crate::error::{Result, SqlError, SqlState};

/// A column of the result.
struct Output {
    label: String,
    given: String,
    expr: Expr,
}

/// The meaning of an item of ORDER BY, GROUP BY or DISTINCT ON.
pub enum Sorted {
    /// A column of the result.
    Output(usize),
    /// An expression over columns of FROM.
    Expression,
}

impl Sorted {
    /// Finds the column of the result for a number or a plain name.
    pub fn of<'l>(
        expr: &Expr,
        labels: impl ExactSizeIterator<Item = &'l str>,
        clause: &str,
    ) -> Result<Sorted> {
        match tree::bare(expr) {
            Expr::Identifier(name) => Ok(Sorted::named(name, labels)),
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                    match digits.parse::<usize>() {
                        Ok(position) if (1..=labels.len()).contains(&position) => {
                            Ok(Sorted::Output(position - 1))
                        }
                        _ => {
                            let message = format!("{clause} position {digits} is not in select list");
                            Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message))
                        }
                    }
                }
                Value::Placeholder(_) => Ok(Sorted::Expression),
                _ => Err(SqlError::syntax(format!("non-integer constant in {clause}"))),
            },
            _ => Ok(Sorted::Expression),
        }
    }

    fn named<'l>(name: &Ident, mut labels: impl Iterator<Item = &'l str>) -> Sorted {
        let name = folded(name);
        labels.position(|label| label == name).map_or(Sorted::Expression, Sorted::Output)
    }
}

impl Resolver<'_> {
    /// Resolves a SELECT and the ORDER BY after it.
    pub(super) fn select(
        &mut self,
        select: &mut Select,
        mut order_by: Option<&mut OrderBy>,
        outer: Option<&Scope>,
    ) -> Result<Vec<OutputColumn>> {
        refuse_unknown(select)?;
        windows::put_in(select, order_by.as_deref_mut())?;
        let names = self.from(&mut select.from, outer)?;
        let scope = Scope::new(&names, outer);
        if let Some(condition) = &mut select.selection {
            self.rows_in_where(condition, &scope)?;
            self.expression(condition, &scope)?;
            grouping::refuse_aggregates(condition, "WHERE", self.relations)?;
        }
        let outputs = self.projection(std::mem::take(&mut select.projection), &scope)?;
        self.group_by(&mut select.group_by, &outputs, &scope)?;
        if let Some(condition) = &mut select.having {
            self.expression(condition, &scope)?;
        }
        if let Some(Distinct::On(on)) = &mut select.distinct {
            for expr in on {
                *expr = self.sorted(expr, &outputs, &scope, "DISTINCT ON")?;
            }
        }
        if let Some(order_by) = order_by.as_deref_mut() {
            self.order_by(order_by, select, &outputs, &scope)?;
        }
        select.projection = outputs.iter().map(|o| tree::item(o.expr.clone(), &o.given)).collect();
        grouping::settle(select, order_by, &names, self.relations)?;
        Ok(outputs.into_iter().map(|o| OutputColumn { label: o.label, given: o.given }).collect())
    }

    /// The columns of the result.
    fn projection(&mut self, items: Vec<SelectItem>, scope: &Scope) -> Result<Vec<Output>> {
        let mut columns: Vec<(String, Expr)> = Vec::with_capacity(items.len());
        let shown = |columns: &[Visible]| -> Vec<(String, Expr)> {
            columns.iter().filter(|c| !c.is_hidden).map(|c| (c.name.clone(), c.expr.clone())).collect()
        };
        for item in items {
            match item {
                SelectItem::UnnamedExpr(mut expr) => {
                    let label = label(&expr);
                    self.expression(&mut expr, scope)?;
                    sets::in_select(&mut expr)?;
                    columns.push((label, expr));
                }
                SelectItem::ExprWithAlias { mut expr, alias } => {
                    self.expression(&mut expr, scope)?;
                    sets::in_select(&mut expr)?;
                    columns.push((folded(&alias), expr));
                }
                SelectItem::Wildcard(options) => {
                    refuse_options(&options)?;
                    if scope.names.items.is_empty() {
                        return Err(SqlError::syntax("SELECT * with no tables specified is not valid"));
                    }
                    columns.extend(shown(&scope.names.columns));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    refuse_options(&options)?;
                    let name: Vec<Ident> =
                        name.0.iter().filter_map(|part| part.as_ident()).cloned().collect();
                    columns.extend(shown(&scope.item(&name)?.columns));
                }
                SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => {
                    return Err(SqlError::unsupported("this item of a select list is not supported"));
                }
            }
        }
        Ok(name_apart(columns))
    }

    fn group_by(&mut self, group_by: &mut GroupByExpr, outputs: &[Output], scope: &Scope) -> Result<()> {
        let GroupByExpr::Expressions(items, modifiers) = group_by else {
            return Err(SqlError::syntax("GROUP BY ALL is no clause of PostgreSQL"));
        };
        if !modifiers.is_empty() {
            return Err(SqlError::unsupported("this modifier of GROUP BY is not supported"));
        }
        let mut grouped = Vec::with_capacity(items.len());
        for mut item in std::mem::take(items) {
            match &mut item {
                Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                    for expr in sets.iter_mut().flatten() {
                        *expr = self.grouped(expr, outputs, scope)?;
                    }
                    grouped.push(item);
                }
                Expr::Tuple(parts) => {
                    for part in parts {
                        grouped.push(self.grouped(part, outputs, scope)?);
                    }
                    if grouped.is_empty() {
                        grouped.push(Expr::Tuple(vec![]));
                    }
                }
                _ => grouped.push(self.grouped(&mut item, outputs, scope)?),
            }
        }
        *items = grouped;
        Ok(())
    }

    /// Resolves a name in GROUP BY: a column of FROM, or else of the result.
    fn grouped(&mut self, expr: &mut Expr, outputs: &[Output], scope: &Scope) -> Result<Expr> {
        if let Expr::Identifier(name) = tree::bare(expr)
            && let Some(column) = scope.names.column(&folded(name))?
        {
            return Ok(column.expr.clone());
        }
        self.sorted(expr, outputs, scope, "GROUP BY")
    }

    /// An item of DISTINCT ON or GROUP BY as an expression over columns of FROM.
    fn sorted(&mut self, expr: &mut Expr, outputs: &[Output], scope: &Scope, clause: &str) -> Result<Expr> {
        match self.output_of(expr, outputs, clause)? {
            Some(output) => Ok(no_position(outputs[output].expr.clone())),
            None => {
                let mut expr = tree::take(expr);
                self.expression(&mut expr, scope)?;
                sets::in_select(&mut expr)?;
                Ok(expr)
            }
        }
    }

    /// The column of the result for a number or a plain name.
    fn output_of(&self, expr: &Expr, outputs: &[Output], clause: &str) -> Result<Option<usize>> {
        let Sorted::Output(found) = Sorted::of(expr, outputs.iter().map(|o| o.label.as_str()), clause)?
        else {
            return Ok(None);
        };
        if let Expr::Identifier(name) = tree::bare(expr) {
            let another = |o: &Output| o.label == outputs[found].label && o.expr != outputs[found].expr;
            if outputs.iter().any(another) {
                let message = format!("{clause} \"{}\" is ambiguous", folded(name));
                return Err(SqlError::new(SqlState::AMBIGUOUS_COLUMN, message));
            }
        }
        Ok(Some(found))
    }

    fn order_by(
        &mut self,
        order_by: &mut OrderBy,
        select: &Select,
        outputs: &[Output],
        scope: &Scope,
    ) -> Result<()> {
        let OrderByKind::Expressions(items) = &mut order_by.kind else {
            return Err(SqlError::syntax("ORDER BY ALL is no clause of PostgreSQL"));
        };
        let mut wanted = Vec::with_capacity(items.len());
        for OrderByExpr { expr, .. } in items.iter_mut() {
            let output = match self.output_of(expr, outputs, "ORDER BY")? {
                Some(output) => Some(output),
                None => {
                    self.expression(expr, scope)?;
                    sets::in_select(expr)?;
                    outputs.iter().position(|o| o.expr == *expr)
                }
            };
            wanted.push(output.map_or_else(|| expr.clone(), |output| outputs[output].expr.clone()));
            match (output, &select.distinct) {
                (Some(output), Some(Distinct::On(_))) => *expr = no_position(outputs[output].expr.clone()),
                (Some(output), _) => *expr = Expr::Identifier(tree::exactly(&outputs[output].given)),
                (None, Some(Distinct::Distinct)) => {
                    return Err(SqlError::new(
                        SqlState::INVALID_COLUMN_REFERENCE,
                        "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                    ));
                }
                (None, _) => {}
            }
        }
        match &select.distinct {
            Some(Distinct::On(on)) => check_distinct_on(on, &wanted),
            _ => Ok(()),
        }
    }
}

/// Checks that the first items of ORDER BY are those of DISTINCT ON, in any order.
fn check_distinct_on(on: &[Expr], order_by: &[Expr]) -> Result<()> {
    let leading = order_by.iter().take_while(|expr| on.contains(expr)).count();
    let skipped = on.iter().any(|expr| !order_by[..leading].contains(expr));
    match leading < order_by.len() && skipped {
        true => Err(SqlError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
        )),
        false => Ok(()),
    }
}

/// A plain number would be taken for a position.
fn no_position(expr: Expr) -> Expr {
    let is_number = |expr: &Expr| matches!(expr, Expr::Value(v) if matches!(v.value, Value::Number(..)));
    match &expr {
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: inner } if is_number(inner) => {
        }
        other if is_number(other) => {}
        _ => return expr,
    }
    tree::binary(expr, BinaryOperator::Plus, tree::number(0))
}

/// Gives columns unique names: their own, or with a number.
fn name_apart(columns: Vec<(String, Expr)>) -> Vec<Output> {
    let labels: HashSet<String> = columns.iter().map(|(label, _)| label.clone()).collect();
    let mut given = HashSet::with_capacity(columns.len());
    columns
        .into_iter()
        .map(|(label, expr)| {
            let mut name = label.clone();
            let mut number = 2;
            while !given.insert(name.clone()) {
                name = format!("{label}_{number}");
                number += 1;
                if labels.contains(&name) {
                    name = label.clone();
                }
            }
            Output { label, given: name, expr }
        })
        .collect()
}

fn refuse_options(options: &WildcardAdditionalOptions) -> Result<()> {
    let said = options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some()
        || options.opt_alias.is_some();
    match said {
        true => Err(SqlError::syntax("EXCLUDE, REPLACE and the like after * are not supported")),
        false => Ok(()),
    }
}

/// Rejects clauses of other databases.
fn refuse_unknown(select: &Select) -> Result<()> {
    let said = select.qualify.is_some()
        || select.top.is_some()
        || select.prewhere.is_some()
        || select.exclude.is_some()
        || !select.lateral_views.is_empty()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.value_table_mode.is_some();
    match said {
        true => Err(SqlError::syntax("this clause of SELECT does not exist in PostgreSQL")),
        false => Ok(()),
    }
}
