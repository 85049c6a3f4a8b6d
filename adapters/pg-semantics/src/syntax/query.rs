//! Whole queries: common table expressions, set operations, VALUES, and the clauses after them.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Cte, Expr, Fetch, Ident, LimitClause, OrderBy, OrderByExpr, OrderByKind,
    OrderByOptions, Parens, Query, SelectItem, SetExpr, SetOperator, SetQuantifier, Table, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, Value, Values, WindowSpec, WindowType, With,
};

use super::from::from_query;
use super::labels::folded;
use super::scope::{Names, Scope};
use super::select::Sorted;
use super::{CommonTable, OutputColumn, Resolver, tree};
use crate::error::{Result, SqlError, SqlState};
use crate::operators::{COMMON, RECURRED, WIDEN};

impl Resolver<'_> {
    /// Resolves the names of a query with `outer` visible. Returns its columns.
    pub(super) fn query(&mut self, query: &mut Query, outer: Option<&Scope>) -> Result<Vec<OutputColumn>> {
        let in_sight = self.common.len();
        if let Some(with) = &mut query.with {
            self.with(with, outer)?;
        }
        limit_of_fetch(query)?;
        let columns = match query.body.as_mut() {
            SetExpr::Select(select) => self.select(select, query.order_by.as_mut(), outer)?,
            _ => {
                let columns = self.body(&mut query.body, outer)?;
                if let Some(order_by) = &mut query.order_by {
                    order_by_columns(order_by, &columns)?;
                }
                columns
            }
        };
        if matches!(*query.body, SetExpr::SetOperation { .. }) {
            self.apart(query, &columns);
        }
        self.limits(query, outer)?;
        self.common.truncate(in_sight);
        Ok(columns)
    }

    /// A set operation becomes a subquery, which is planned separately.
    fn apart(&mut self, query: &mut Query, columns: &[OutputColumn]) {
        let name = self.unused("set_operation");
        let body = std::mem::replace(query.body.as_mut(), *tree::no_query().body);
        let kept = columns.iter().map(|c| tree::item(tree::column(&name, &c.given), &c.given)).collect();
        let from = vec![from_query(tree::plain_query(body), &name)];
        *query.body = SetExpr::Select(Box::new(tree::plain_select(kept, from)));
    }

    fn limits(&mut self, query: &mut Query, outer: Option<&Scope>) -> Result<()> {
        let exprs: Vec<&mut Expr> = match &mut query.limit_clause {
            None => vec![],
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                if !limit_by.is_empty() {
                    return Err(SqlError::syntax("LIMIT BY is no clause of PostgreSQL"));
                }
                limit.iter_mut().chain(offset.as_mut().map(|o| &mut o.value)).collect()
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => vec![offset, limit],
        };
        let nothing = Names::default();
        for expr in exprs {
            self.expression(expr, &Scope::new(&nothing, outer))?;
        }
        Ok(())
    }

    fn with(&mut self, with: &mut With, outer: Option<&Scope>) -> Result<()> {
        for common in &mut with.cte_tables {
            let name = folded(&common.alias.name);
            let given = super::unused(&mut self.taken_common, &name);
            let columns = match with.recursive {
                true => self.recursive(common, &name, &given, outer)?,
                false => self.query(&mut common.query, outer)?,
            };
            let columns = renamed(columns, common, &name)?;
            common.alias = TableAlias { explicit: false, ..tree::alias(&given) };
            self.common.push(CommonTable { name, given, columns });
        }
        Ok(())
    }

    /// A query of WITH RECURSIVE: the second half of a UNION sees the columns of the first one under its name.
    fn recursive(
        &mut self,
        common: &mut Cte,
        name: &str,
        given: &str,
        outer: Option<&Scope>,
    ) -> Result<Vec<OutputColumn>> {
        let reads_itself = names_relation(&common.query, &common.alias.name);
        if !reads_itself {
            let columns = self.query(&mut common.query, outer)?;
            // The planner would search a UNION for a recursion.
            if matches!(*common.query.body, SetExpr::SetOperation { .. }) {
                let query = std::mem::replace(common.query.as_mut(), tree::no_query());
                *common.query = tree::plain_query(SetExpr::Query(Box::new(query)));
            }
            return Ok(columns);
        }
        let query = common.query.as_mut();
        let said = query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some();
        let SetExpr::SetOperation { op: SetOperator::Union, left, .. } = query.body.as_mut() else {
            let message = format!(
                "recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"
            );
            return Err(SqlError::new(SqlState::INVALID_RECURSION, message));
        };
        if said || query.with.is_some() {
            return Err(SqlError::unsupported(
                "WITH, ORDER BY and LIMIT in a recursive query are not supported",
            ));
        }
        let columns = self.body(left, outer)?;
        if let SetExpr::Select(select) = left.as_mut() {
            select.projection.iter_mut().for_each(|item| apply(item, WIDEN));
        }
        let visible = renamed(columns.clone(), common, name)?;
        self.common.push(CommonTable { name: name.into(), given: given.into(), columns: visible });
        let SetExpr::SetOperation { right, .. } = common.query.body.as_mut() else { unreachable!() };
        let recursive = self.body(right, outer);
        if let SetExpr::Select(select) = right.as_mut() {
            select.projection.iter_mut().for_each(|item| apply(item, RECURRED));
        }
        self.common.pop();
        same_width(SetOperator::Union, columns.len(), recursive?.len())?;
        Ok(columns)
    }

    /// A query's body that is not a plain SELECT.
    fn body(&mut self, body: &mut SetExpr, outer: Option<&Scope>) -> Result<Vec<OutputColumn>> {
        match body {
            SetExpr::Select(select) => self.select(select, None, outer),
            SetExpr::Query(query) => self.query(query, outer),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let columns = self.body(left, outer)?;
                let right_columns = self.body(right, outer)?;
                same_width(*op, columns.len(), right_columns.len())?;
                match (*op, *set_quantifier) {
                    (SetOperator::Intersect | SetOperator::Except, SetQuantifier::All) => {
                        self.numbered(body, &columns, &right_columns);
                    }
                    (
                        SetOperator::Union | SetOperator::Intersect | SetOperator::Except,
                        SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None,
                    ) => {}
                    (op, quantifier) => {
                        return Err(SqlError::syntax(format!("{op} {quantifier} is not known")));
                    }
                }
                Ok(columns)
            }
            SetExpr::Values(values) => {
                let (columns, instead) = self.values(values, outer)?;
                if let Some(instead) = instead {
                    *body = instead;
                }
                Ok(columns)
            }
            SetExpr::Table(table) => {
                let mut query = whole_table(table)?;
                let columns = self.query(&mut query, outer)?;
                *body = SetExpr::Query(Box::new(query));
                Ok(columns)
            }
            _ => Err(SqlError::unsupported("INSERT, UPDATE and DELETE inside of a query are not supported")
                .with_hint("Run them as statements of their own.")),
        }
    }

    /// INTERSECT ALL and EXCEPT ALL count equal rows: after equal rows are numbered on both sides, the operations
    /// without ALL give their result.
    fn numbered(&mut self, body: &mut SetExpr, left: &[OutputColumn], right: &[OutputColumn]) {
        let SetExpr::SetOperation { set_quantifier, left: l, right: r, .. } = body else { return };
        *set_quantifier = SetQuantifier::None;
        let number = self.unused("row_number");
        for (side, columns) in [(l, left), (r, right)] {
            let query =
                tree::plain_query(std::mem::replace(side.as_mut(), tree::no_query().body.as_ref().clone()));
            let name = self.unused("numbered");
            let all = || columns.iter().map(|c| tree::column(&name, &c.given));
            let mut numbered = tree::call("row_number", vec![]);
            if let Expr::Function(function) = &mut numbered {
                function.over = Some(WindowType::WindowSpec(WindowSpec {
                    window_name: None,
                    partition_by: all().collect(),
                    order_by: vec![],
                    window_frame: None,
                }));
            }
            let mut projection: Vec<SelectItem> =
                all().zip(columns).map(|(expr, c)| tree::item(expr, &c.given)).collect();
            projection.push(tree::item(numbered, &number));
            **side =
                SetExpr::Select(Box::new(tree::plain_select(projection, vec![from_query(query, &name)])));
        }
        let query = tree::plain_query(std::mem::replace(body, tree::no_query().body.as_ref().clone()));
        let name = self.unused("numbered");
        let kept = left.iter().map(|c| tree::item(tree::column(&name, &c.given), &c.given)).collect();
        *body = SetExpr::Select(Box::new(tree::plain_select(kept, vec![from_query(query, &name)])));
    }

    /// The columns of VALUES; and its replacement if a value is not an expression over constants.
    fn values(
        &mut self,
        values: &mut Values,
        outer: Option<&Scope>,
    ) -> Result<(Vec<OutputColumn>, Option<SetExpr>)> {
        let nothing = Names::default();
        let scope = Scope::new(&nothing, outer);
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut is_plain = true;
        for row in &mut values.rows {
            if row.content.len() != width {
                return Err(SqlError::syntax("VALUES lists must all be the same length"));
            }
            for value in &mut row.content {
                self.expression(value, &scope)?;
                is_plain &= !reads(value);
            }
        }
        let named = |n: usize| format!("column{}", n + 1);
        let columns = (0..width).map(|n| OutputColumn { label: named(n), given: named(n) }).collect();
        of_one_type(&mut values.rows, width);
        if is_plain {
            return Ok((columns, None));
        }
        let rows = std::mem::take(&mut values.rows).into_iter().map(|row| row.content).collect();
        Ok((columns, Some(self.calculated(rows, &named))))
    }

    /// Rows of arbitrary expressions in order: each column chooses its expression by the row number.
    fn calculated(&mut self, rows: Vec<Vec<Expr>>, named: &dyn Fn(usize) -> String) -> SetExpr {
        if let [row] = rows.as_slice() {
            let items = row.iter().enumerate().map(|(n, e)| tree::item(e.clone(), &named(n))).collect();
            return SetExpr::Select(Box::new(tree::plain_select(items, vec![])));
        }
        let (relation, number) = (self.unused("rows"), "row_number");
        let row_number = || tree::column(&relation, number);
        let width = rows.first().map_or(0, Vec::len);
        let column = |n: usize| {
            let choice = |(at, row): (usize, &Vec<Expr>)| CaseWhen {
                condition: tree::number(at as i64),
                result: row[n].clone(),
            };
            Expr::Case {
                case_token: AttachedToken::empty(),
                end_token: AttachedToken::empty(),
                operand: Some(Box::new(row_number())),
                conditions: rows.iter().enumerate().map(choice).collect(),
                else_result: None,
            }
        };
        let items = (0..width).map(|n| tree::item(column(n), &named(n))).collect();
        let numbers = (0..rows.len()).map(|at| Parens::with_empty_span(vec![tree::number(at as i64)]));
        let numbers = Values { explicit_row: false, value_keyword: false, rows: numbers.collect() };
        let mut from = from_query(tree::plain_query(SetExpr::Values(numbers)), &relation);
        if let TableFactor::Derived { alias: Some(alias), .. } = &mut from.relation {
            alias.columns = vec![TableAliasColumnDef { name: tree::exactly(number), data_type: None }];
        }
        let mut query = tree::plain_query(SetExpr::Select(Box::new(tree::plain_select(items, vec![from]))));
        let by = OrderByExpr {
            expr: row_number(),
            options: OrderByOptions { asc: None, nulls_first: None },
            with_fill: None,
        };
        query.order_by = Some(OrderBy { kind: OrderByKind::Expressions(vec![by]), interpolate: None });
        SetExpr::Query(Box::new(query))
    }
}

/// Wraps an item of a recursion in one of our operators.
fn apply(item: &mut SelectItem, operator: &str) {
    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
        let op = BinaryOperator::PGCustomBinaryOperator(vec![operator.to_string()]);
        *expr = tree::binary(tree::take(expr), op, Expr::value(Value::Null));
    }
}

/// Most kinds of values of one column that are distinguished.
const KINDS_MAX: usize = 64;

/// Values of a column that may have several types are written as values of their common type.
fn of_one_type(rows: &mut [Parens<Vec<Expr>>], width: usize) {
    for column in 0..width {
        let mut kinds: Vec<(String, Expr)> = vec![];
        for row in rows.iter() {
            let value = &row.content[column];
            let kind = kind(value);
            if !kinds.iter().any(|(known, _)| *known == kind) {
                kinds.push((kind, value.clone()));
            }
            if kinds.len() > KINDS_MAX {
                break;
            }
        }
        // The planner finds the common type of untyped numbers itself, and NULL fits every type.
        kinds.retain(|(kind, _)| kind != "null");
        let plain = kinds.iter().all(|(kind, _)| kind.starts_with(|c: char| c.is_ascii_digit()));
        if plain || kinds.len() < 2 || kinds.len() > KINDS_MAX {
            continue;
        }
        let all = tree::call("coalesce", kinds.into_iter().map(|(_, value)| value).collect());
        for row in rows.iter_mut() {
            let value = &mut row.content[column];
            let op = BinaryOperator::PGCustomBinaryOperator(vec![COMMON.to_string()]);
            *value = tree::binary(tree::take(value), op, all.clone());
        }
    }
}

/// The kind of a value in the syntax: values of one kind have one type. For untyped numbers it contains their digits.
fn kind(value: &Expr) -> String {
    match tree::bare(value) {
        Expr::Value(plain) => match &plain.value {
            Value::Number(digits, _) => {
                let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
                format!("{}.{}", whole.len(), fraction.len())
            }
            Value::Null => "null".into(),
            Value::Boolean(_) => "boolean".into(),
            Value::SingleQuotedString(_) => "text".into(),
            other => other.to_string(),
        },
        Expr::Cast { data_type, .. } => format!("as {data_type}"),
        other => other.to_string(),
    }
}

/// True for an expression with a subquery or a column in it.
fn reads(expr: &Expr) -> bool {
    datafusion::sql::sqlparser::ast::visit_expressions(expr, |expr| {
        let reads = match expr {
            Expr::CompoundIdentifier(_)
            | Expr::Subquery(_)
            | Expr::Exists { .. }
            | Expr::InSubquery { .. } => true,
            Expr::Function(f) => {
                matches!(f.args, datafusion::sql::sqlparser::ast::FunctionArguments::Subquery(_))
            }
            _ => false,
        };
        if reads { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    })
    .is_break()
}

/// ORDER BY of a query that is not a SELECT: by columns of the result.
fn order_by_columns(order_by: &mut OrderBy, columns: &[OutputColumn]) -> Result<()> {
    let OrderByKind::Expressions(sorted) = &mut order_by.kind else {
        return Err(SqlError::syntax("ORDER BY ALL is no clause of PostgreSQL"));
    };
    for by in sorted {
        let labels = columns.iter().map(|c| c.label.as_str());
        let column = match Sorted::of(&by.expr, labels, "ORDER BY")? {
            Sorted::Output(column) => column,
            Sorted::Expression => {
                if let Expr::Identifier(name) = &by.expr {
                    let message = format!("column \"{}\" does not exist", folded(name));
                    return Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message));
                }
                return Err(SqlError::unsupported("invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
                    .with_hint(
                        "Order by names or numbers of the result's columns, or use the query as a subquery in FROM.",
                    ));
            }
        };
        by.expr = Expr::Identifier(tree::exactly(&columns[column].given));
    }
    Ok(())
}

/// The names of a common table expression for its first columns.
fn renamed(mut columns: Vec<OutputColumn>, common: &Cte, name: &str) -> Result<Vec<OutputColumn>> {
    let said = &common.alias.columns;
    if said.len() > columns.len() {
        let message = format!(
            "WITH query \"{name}\" has {} columns available but {} columns specified",
            columns.len(),
            said.len()
        );
        return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    for (column, said) in columns.iter_mut().zip(said) {
        column.label = folded(&said.name);
    }
    Ok(columns)
}

fn names_relation(query: &Query, wanted: &Ident) -> bool {
    let wanted = folded(wanted);
    datafusion::sql::sqlparser::ast::visit_relations(query, |name| match name.0.as_slice() {
        [part] if part.as_ident().is_some_and(|ident| folded(ident) == wanted) => {
            std::ops::ControlFlow::Break(())
        }
        _ => std::ops::ControlFlow::Continue(()),
    })
    .is_break()
}

fn same_width(op: SetOperator, left: usize, right: usize) -> Result<()> {
    match left == right {
        true => Ok(()),
        false => Err(SqlError::syntax(format!("each {op} query must have the same number of columns"))),
    }
}

/// `FETCH FIRST n ROWS ONLY` is `LIMIT n`.
fn limit_of_fetch(query: &mut Query) -> Result<()> {
    let Some(Fetch { with_ties, percent, quantity }) = query.fetch.take() else { return Ok(()) };
    if with_ties || percent {
        let what = if with_ties { "FETCH … WITH TIES" } else { "FETCH … PERCENT" };
        return Err(SqlError::unsupported(format!("{what} is not supported"))
            .with_hint("Number the rows with rank() in a subquery, and filter by that."));
    }
    let rows = quantity.unwrap_or_else(|| tree::number(1));
    match &mut query.limit_clause {
        None => {
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: vec![] });
        }
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
        Some(_) => return Err(SqlError::syntax("LIMIT and FETCH cannot both be given")),
    }
    Ok(())
}

/// `TABLE t` is `SELECT * FROM t`.
fn whole_table(table: &Table) -> Result<Query> {
    use datafusion::sql::sqlparser::ast::{ObjectName, WildcardAdditionalOptions};
    let name = table.table_name.iter().map(|name| Ident::with_quote('"', name.to_ascii_lowercase()));
    let schema = table.schema_name.iter().map(|name| Ident::with_quote('"', name.to_ascii_lowercase()));
    let relation = TableFactor::Table {
        name: ObjectName::from(schema.chain(name).collect::<Vec<_>>()),
        alias: None,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    };
    let all = SelectItem::Wildcard(WildcardAdditionalOptions::default());
    let from = vec![TableWithJoins { relation, joins: vec![] }];
    Ok(tree::plain_query(SetExpr::Select(Box::new(tree::plain_select(vec![all], from)))))
}
