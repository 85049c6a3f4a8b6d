//! FROM: the relations, the columns that joins merge, and unique names for all of them.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, Ident, Join, JoinConstraint, JoinOperator,
    ObjectName, Query, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins,
};

use super::labels::folded;
use super::scope::{Item, Names, Scope, Visible};
use super::sets::{self, Call};
use super::{OutputColumn, Resolver, tree};
use crate::error::{Result, SqlError, SqlState};
use crate::functions::series;

/// The kind of a join.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
    Right,
    Full,
}

impl Resolver<'_> {
    /// Resolves a FROM clause. Returns the names that it makes visible.
    pub(super) fn from(&mut self, from: &mut [TableWithJoins], outer: Option<&Scope>) -> Result<Names> {
        let mut names = Names::default();
        for tables in from {
            let joined = self.joined(tables, &names, outer)?;
            names = names.and(joined)?;
        }
        Ok(names)
    }

    /// One item of the list with its joins; `before`: the items before it, which LATERAL sees.
    fn joined(
        &mut self,
        tables: &mut TableWithJoins,
        before: &Names,
        outer: Option<&Scope>,
    ) -> Result<Names> {
        let mut left = self.factor(&mut tables.relation, before, outer)?;
        for Join { relation, join_operator, .. } in &mut tables.joins {
            let in_front = before.clone().and(left.clone())?;
            let right = self.factor(relation, &in_front, outer)?;
            left = self.join(left, right, join_operator, outer)?;
        }
        Ok(left)
    }

    fn factor(&mut self, factor: &mut TableFactor, before: &Names, outer: Option<&Scope>) -> Result<Names> {
        let lateral_scope = Scope::new(before, outer);
        match factor {
            TableFactor::Table { args: Some(_), .. } | TableFactor::Function { .. } => {
                self.function(factor, before, &lateral_scope)
            }
            TableFactor::Table { name, alias, sample, with_ordinality, version, .. } => {
                if sample.is_some() || version.is_some() || *with_ordinality {
                    return Err(unsupported_in_from(name));
                }
                self.table(name, alias).map(Names::of)
            }
            TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                let columns = match lateral {
                    true => self.query(subquery, Some(&lateral_scope))?,
                    false => self.query(subquery, outer)?,
                };
                self.derived(columns, alias).map(Names::of)
            }
            TableFactor::UNNEST { array_exprs, alias, with_offset: false, with_ordinality, .. } => {
                for array in array_exprs.iter_mut() {
                    self.expression(array, &lateral_scope)?;
                }
                let (args, ordinality) = (std::mem::take(array_exprs), *with_ordinality);
                let (call, alias) = (Call { name: "unnest".into(), args, ordinality, before }, alias.take());
                self.set_in_from(factor, call, alias).map(Names::of)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let names = self.joined(table_with_joins, before, outer)?;
                match alias.take() {
                    None => Ok(names),
                    Some(said) => self.aliased_join(factor, names, said),
                }
            }
            other => Err(unsupported_in_from(other)),
        }
    }

    /// A table or a common table expression.
    fn table(&mut self, name: &mut ObjectName, alias: &mut Option<TableAlias>) -> Result<Item> {
        let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident()).cloned().collect();
        let (schema, relation) = match parts.as_slice() {
            [relation] => (None, folded(relation)),
            [.., schema, relation] => (Some(folded(schema)), folded(relation)),
            [] => return Err(SqlError::syntax("a relation's name is missing")),
        };
        let common = self.common.iter().rev().find(|c| schema.is_none() && c.name == relation);
        if let Some(common) = common {
            let columns = common.columns.clone();
            *name = ObjectName::from(vec![tree::exactly(&common.given)]);
            let columns = columns.into_iter().map(|c| (c.label, c.given, false)).collect();
            return self.item(Some(relation), None, columns, alias);
        }
        let found = self.relations.relation(schema.as_deref(), &relation)?.ok_or_else(|| {
            let full = schema.as_ref().map_or(relation.clone(), |schema| format!("{schema}.{relation}"));
            SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{full}\" does not exist"))
        })?;
        let columns = found.columns.into_iter().map(|c| (c.name.clone(), c.name, c.is_hidden)).collect();
        let mut item = self.item(Some(relation), schema, columns, alias)?;
        item.primary_key = found.primary_key;
        item.is_table = true;
        Ok(item)
    }

    fn derived(&mut self, columns: Vec<OutputColumn>, alias: &mut Option<TableAlias>) -> Result<Item> {
        let columns = columns.into_iter().map(|c| (c.label, c.given, false)).collect();
        self.item(None, None, columns, alias)
    }

    /// A relation under a new alias; `columns`: what each is called, its name in the plan, and whether it is hidden.
    pub(super) fn item(
        &mut self,
        name: Option<String>,
        schema: Option<String>,
        columns: Vec<(String, String, bool)>,
        alias: &mut Option<TableAlias>,
    ) -> Result<Item> {
        let said = alias.as_ref().map(|alias| folded(&alias.name));
        let schema = if said.is_some() { None } else { schema };
        let shown = said.or(name);
        let given = self.unused(shown.as_deref().unwrap_or("subquery"));
        let renamed = alias.as_ref().map_or(vec![], alias_columns);
        let wide = columns.iter().filter(|(_, _, hidden)| !hidden).count();
        if renamed.len() > wide {
            let message = format!(
                "table \"{}\" has {wide} columns available but {} columns specified",
                shown.as_deref().unwrap_or_default(),
                renamed.len()
            );
            return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        let mut renamed = renamed.into_iter();
        let columns = columns
            .into_iter()
            .map(|(label, column, is_hidden)| {
                let name = if is_hidden { None } else { renamed.next() };
                Visible { name: name.unwrap_or(label), expr: tree::column(&given, &column), is_hidden }
            })
            .collect();
        *alias = Some(tree::alias(&given));
        Ok(Item {
            name: shown,
            schema,
            given,
            columns,
            primary_key: vec![],
            is_value: false,
            is_table: false,
            may_be_missing: false,
        })
    }

    /// A function that returns rows: each of its columns gets a unique name.
    fn rows_of_function(
        &mut self,
        name: &str,
        labels: Vec<String>,
        alias: &mut Option<TableAlias>,
    ) -> Result<Item> {
        // A single column is named by the alias.
        let label = |label: String| match alias.as_ref() {
            Some(alias) if labels.len() == 1 => folded(&alias.name),
            _ => label,
        };
        let numbered = |n: usize| if n == 0 { name.to_string() } else { format!("{name}_{}", n + 1) };
        let columns: Vec<(String, String, bool)> =
            labels.iter().enumerate().map(|(n, l)| (label(l.clone()), numbered(n), false)).collect();
        let given: Vec<String> = columns.iter().map(|(_, given, _)| given.clone()).collect();
        let item = self.item(Some(name.to_string()), None, columns, alias)?;
        if let Some(alias) = alias {
            let column = |name: &String| TableAliasColumnDef { name: tree::exactly(name), data_type: None };
            alias.columns = given.iter().map(column).collect();
        }
        Ok(item)
    }

    fn function(&mut self, factor: &mut TableFactor, before: &Names, scope: &Scope) -> Result<Names> {
        let (name, args, alias, ordinality) = match factor {
            TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. }
                if args.settings.is_none() =>
            {
                (name, &mut args.args, alias, *with_ordinality)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                (name, args, alias, *with_ordinality)
            }
            other => return Err(unsupported_in_from(other)),
        };
        let function = sets::function_name(name);
        for arg in args.iter_mut() {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = arg {
                self.expression(value, scope)?;
            }
        }
        let is_set = sets::is_set(&function);
        if ordinality && !is_set {
            return Err(unsupported_in_from(format!("{function} WITH ORDINALITY")));
        }
        if is_set {
            let args = sets::arguments(&function, args)?;
            let alias = alias.take();
            if function != series::NAME || ordinality || args.iter().any(sets::varies) {
                let call = Call { name: function, args, ordinality, before };
                return self.set_in_from(factor, call, alias).map(Names::of);
            }
            let mut alias = alias;
            let mut item = self.rows_of_function(&function, vec![function.clone()], &mut alias)?;
            item.is_value = true;
            let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
            *factor = table_function(ObjectName::from(vec![Ident::new(function)]), args.collect(), alias);
            return Ok(Names::of(item));
        }
        for arg in args.iter() {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = arg {
                refuse_lateral(&function, value, before)?;
            }
        }
        // Any other function returns one row with its value.
        let mut alias = alias.take();
        let mut value = tree::call(&function, vec![]);
        if let Expr::Function(call) = &mut value {
            call.name = name.clone();
            if let datafusion::sql::sqlparser::ast::FunctionArguments::List(list) = &mut call.args {
                list.args = std::mem::take(args);
            }
        }
        let label = alias.as_ref().map_or_else(|| function.clone(), |alias| folded(&alias.name));
        let columns = vec![(label, function.clone(), false)];
        let item = self.item(Some(function.clone()), None, columns, &mut alias)?;
        let select = tree::plain_select(vec![tree::item(value, &function)], vec![]);
        let query = tree::plain_query(SetExpr::Select(Box::new(select)));
        *factor = tree::derived(query, &item.given);
        Ok(Names::of(item))
    }

    /// `(a JOIN b …) AS alias` hides its relations: a subquery of all its columns.
    fn aliased_join(&mut self, factor: &mut TableFactor, names: Names, alias: TableAlias) -> Result<Names> {
        let mut projection = Vec::with_capacity(names.columns.len());
        let mut columns = Vec::with_capacity(names.columns.len());
        for (n, column) in names.columns.iter().filter(|column| !column.is_hidden).enumerate() {
            let given = format!("{}_{n}", column.name);
            projection.push(tree::item(column.expr.clone(), &given));
            columns.push(OutputColumn { label: column.name.clone(), given });
        }
        let mut alias = Some(alias);
        let item = self.derived(columns, &mut alias)?;
        let TableFactor::NestedJoin { table_with_joins, .. } = factor else {
            return Err(SqlError::internal("an alias of no join"));
        };
        let from = std::mem::replace(
            table_with_joins.as_mut(),
            TableWithJoins { relation: tree::derived(tree::no_query(), ""), joins: vec![] },
        );
        let select = tree::plain_select(projection, vec![from]);
        *factor = tree::derived(tree::plain_query(SetExpr::Select(Box::new(select))), &item.given);
        Ok(Names::of(item))
    }

    fn join(
        &mut self,
        left: Names,
        right: Names,
        operator: &mut JoinOperator,
        outer: Option<&Scope>,
    ) -> Result<Names> {
        use JoinOperator as J;
        let (kind, constraint) = match operator {
            J::Join(c) | J::Inner(c) => (Kind::Inner, c),
            J::Left(c) | J::LeftOuter(c) => (Kind::Left, c),
            J::Right(c) | J::RightOuter(c) => (Kind::Right, c),
            J::FullOuter(c) => (Kind::Full, c),
            J::CrossJoin(JoinConstraint::None) => return left.and(right),
            _ => return Err(SqlError::unsupported("this kind of join is not supported")),
        };
        let left = if matches!(kind, Kind::Right | Kind::Full) { left.missing_perhaps() } else { left };
        let right = if matches!(kind, Kind::Left | Kind::Full) { right.missing_perhaps() } else { right };
        let merged = match constraint {
            JoinConstraint::On(condition) => {
                let both = left.and(right)?;
                self.expression(condition, &Scope::new(&both, outer))?;
                return Ok(both);
            }
            JoinConstraint::None => return Err(SqlError::syntax("a JOIN needs ON or USING")),
            JoinConstraint::Using(names) => names.iter().map(used).collect::<Result<Vec<String>>>()?,
            JoinConstraint::Natural => common_names(&left, &right),
        };
        let (condition, names) = merge(left, right, &merged, kind)?;
        match condition {
            Some(condition) => *constraint = JoinConstraint::On(condition),
            None if kind == Kind::Inner => *operator = J::CrossJoin(JoinConstraint::None),
            None => *constraint = JoinConstraint::On(tree::boolean(true)),
        }
        Ok(names)
    }
}

fn alias_columns(alias: &TableAlias) -> Vec<String> {
    alias.columns.iter().map(|column| folded(&column.name)).collect()
}

fn used(name: &ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [part] => Ok(part.as_ident().map(folded).unwrap_or_default()),
        _ => Err(SqlError::syntax(format!("USING names columns without their table, not \"{name}\""))),
    }
}

/// Names of columns that both sides of a NATURAL join have.
fn common_names(left: &Names, right: &Names) -> Vec<String> {
    let shown = |names: &Names| -> Vec<String> {
        names.columns.iter().filter(|c| !c.is_hidden).map(|c| c.name.clone()).collect()
    };
    let right = shown(right);
    let mut common: Vec<String> = vec![];
    for name in shown(left) {
        if right.contains(&name) && !common.contains(&name) {
            common.push(name);
        }
    }
    common
}

/// The condition of a join with USING, and the names that it makes visible: the merged columns, then the rest of both
/// sides.
fn merge(left: Names, right: Names, merged: &[String], kind: Kind) -> Result<(Option<Expr>, Names)> {
    let mut columns = Vec::with_capacity(left.columns.len() + right.columns.len());
    let mut equal = Vec::with_capacity(merged.len());
    for (n, name) in merged.iter().enumerate() {
        if merged[..n].contains(name) {
            let message = format!("column name \"{name}\" appears more than once in USING clause");
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
        }
        let (l, r) = (side(&left, name, "left")?, side(&right, name, "right")?);
        equal.push(tree::binary(l.clone(), BinaryOperator::Eq, r.clone()));
        let expr = match kind {
            Kind::Inner | Kind::Left => l,
            Kind::Right => r,
            Kind::Full => tree::call("coalesce", vec![l, r]),
        };
        columns.push(Visible { name: name.clone(), expr, is_hidden: false });
    }
    let rest = |names: &Names| -> Vec<Visible> {
        let is_rest = |c: &&Visible| c.is_hidden || !merged.contains(&c.name);
        names.columns.iter().filter(is_rest).cloned().collect()
    };
    columns.extend(rest(&left));
    columns.extend(rest(&right));
    let condition = (!equal.is_empty()).then(|| tree::chain(BinaryOperator::And, equal, true));
    let mut names = left.and(right)?;
    names.columns = columns;
    Ok((condition, names))
}

fn side(names: &Names, name: &str, which: &str) -> Result<Expr> {
    let mut found = names.columns.iter().filter(|c| !c.is_hidden && c.name == name);
    match (found.next(), found.next()) {
        (Some(column), None) => Ok(column.expr.clone()),
        (None, _) => Err(SqlError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" specified in USING clause does not exist in {which} table"),
        )),
        _ => Err(SqlError::new(
            SqlState::AMBIGUOUS_COLUMN,
            format!("common column name \"{name}\" appears more than once in {which} table"),
        )),
    }
}

/// Rejects a function in FROM that reads a column of an item before it.
fn refuse_lateral(function: &str, argument: &Expr, before: &Names) -> Result<()> {
    match sets::reads(argument, before) {
        true => Err(SqlError::unsupported(format!(
            "{function} in FROM cannot take a column of another table of the same FROM"
        ))
        .with_hint(format!("Call {function} in the select list instead."))),
        false => Ok(()),
    }
}

fn table_function(name: ObjectName, args: Vec<FunctionArg>, alias: Option<TableAlias>) -> TableFactor {
    use datafusion::sql::sqlparser::ast::TableFunctionArgs;
    TableFactor::Table {
        name,
        alias,
        args: Some(TableFunctionArgs { args, settings: None }),
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

fn unsupported_in_from(what: impl std::fmt::Display) -> SqlError {
    SqlError::unsupported(format!("this is not supported in FROM: {what}"))
}

/// A query as an item of FROM.
pub(super) fn from_query(query: Query, name: &str) -> TableWithJoins {
    TableWithJoins { relation: tree::derived(query, name), joins: vec![] }
}
