//! Name resolution as in PostgreSQL, on the syntax tree before planning: the relation and column of each name, the
//! expansion of `*`, the columns that USING and NATURAL merge, the columns of ORDER BY and GROUP BY, the names of the
//! result's columns. Afterwards every column is qualified with a name that no other relation of the statement has, and
//! every output column has a name of its own, so that nothing is left for the planner to find out by rules of its own.
//!
//! `balance` runs first. `scope` holds the visible names, `from` adds them, `expression` looks names up, `select` and
//! `query` handle the clauses.

mod balance;
pub mod calls;
mod collected;
mod expression;
mod from;
mod grouping;
mod labels;
mod query;
mod rows;
mod scope;
mod select;
mod sets;
pub mod time;
mod tree;
mod windows;

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Ident, Query, Visit, Visitor};

use crate::error::Result;

pub use balance::balance;
use labels::folded;
pub use labels::label_columns;

/// A query's body as a subquery without a name.
pub fn derived(
    body: datafusion::sql::sqlparser::ast::SetExpr,
) -> datafusion::sql::sqlparser::ast::TableFactor {
    let mut factor = tree::derived(tree::plain_query(body), "");
    if let datafusion::sql::sqlparser::ast::TableFactor::Derived { alias, .. } = &mut factor {
        *alias = None;
    }
    factor
}

/// The relations that a statement can name.
pub trait Relations {
    /// The relation of this name, in this schema or on the search path.
    fn relation(&self, schema: Option<&str>, name: &str) -> Result<Option<Relation>>;

    /// True for the names of aggregate functions.
    fn is_aggregate(&self, name: &str) -> bool;
}

/// The metadata of a relation.
#[derive(Clone, Default, Debug)]
pub struct Relation {
    /// Its columns, in order.
    pub columns: Vec<RelationColumn>,
    /// Names of the columns of its primary key.
    pub primary_key: Vec<String>,
}

/// A column of a relation.
#[derive(Clone, Debug)]
pub struct RelationColumn {
    /// Its name.
    pub name: String,
    /// True if `*` excludes it.
    pub is_hidden: bool,
}

/// Resolves all names of a query. Returns PostgreSQL's names of its columns.
pub fn resolve(query: &mut Query, relations: &dyn Relations) -> Result<Vec<String>> {
    let mut taken = names_in(query);
    // A relation with the name of a column could be mistaken for a composite value.
    taken.extend(columns_in(query, relations)?);
    let mut resolver =
        Resolver { relations, taken_common: taken.clone(), taken, common: vec![], collected: 0 };
    let columns = resolver.query(query, None)?;
    Ok(columns.into_iter().map(|column| column.label).collect())
}

/// Resolves the names of a statement.
struct Resolver<'a> {
    relations: &'a dyn Relations,
    /// Names of relations used anywhere in the statement.
    taken: HashSet<String>,
    /// Names of common table expressions used anywhere in the statement.
    taken_common: HashSet<String>,
    /// Visible common table expressions, the nearest last.
    common: Vec<CommonTable>,
    /// Number of subqueries around whose rows are collected.
    collected: usize,
}

/// A common table expression.
struct CommonTable {
    name: String,
    /// Its name in the rewritten statement.
    given: String,
    columns: Vec<OutputColumn>,
}

/// A column of a query's result.
#[derive(Clone, Debug)]
struct OutputColumn {
    /// Its name in PostgreSQL.
    label: String,
    /// Its name in the rewritten statement, which no other column of the query has.
    given: String,
}

impl Resolver<'_> {
    /// A name that is unique among the relations of the statement.
    fn unused(&mut self, name: &str) -> String {
        unused(&mut self.taken, name)
    }
}

/// This name, or this name with a number if it is taken; marks it as taken.
fn unused(taken: &mut HashSet<String>, name: &str) -> String {
    let mut candidate = name.to_string();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

/// Names of the columns of all relations that a query reads, and its own aliases.
fn columns_in(query: &Query, relations: &dyn Relations) -> Result<HashSet<String>> {
    use datafusion::sql::sqlparser::ast::{ObjectName, Select, SelectItem, TableFactor};
    struct Columns<'r> {
        relations: &'r dyn Relations,
        names: HashSet<String>,
    }
    impl Visitor for Columns<'_> {
        type Break = crate::error::SqlError;

        fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<Self::Break> {
            let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
            let (schema, relation) = match parts.as_slice() {
                [relation] => (None, folded(relation)),
                [.., schema, relation] => (Some(folded(schema)), folded(relation)),
                [] => return ControlFlow::Continue(()),
            };
            match self.relations.relation(schema.as_deref(), &relation) {
                Ok(found) => {
                    let columns = found.into_iter().flat_map(|found| found.columns);
                    self.names.extend(columns.map(|column| column.name));
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            }
        }

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
            let columns = tree::alias_of(factor).into_iter().flat_map(|alias| &alias.columns);
            self.names.extend(columns.map(|column| folded(&column.name)));
            ControlFlow::Continue(())
        }

        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
            for item in &select.projection {
                if let SelectItem::ExprWithAlias { alias, .. } = item {
                    self.names.insert(folded(alias));
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut columns = Columns { relations, names: HashSet::new() };
    match query.visit(&mut columns) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(columns.names),
    }
}

/// Every name of a possible relation or column that ends in a number: generated names must differ from them.
fn names_in(query: &Query) -> HashSet<String> {
    struct Names(HashSet<String>);
    impl Visitor for Names {
        type Break = ();

        fn pre_visit_relation(
            &mut self,
            name: &datafusion::sql::sqlparser::ast::ObjectName,
        ) -> ControlFlow<()> {
            self.numbered(name.0.iter().filter_map(|part| part.as_ident()));
            ControlFlow::Continue(())
        }

        fn pre_visit_table_factor(
            &mut self,
            factor: &datafusion::sql::sqlparser::ast::TableFactor,
        ) -> ControlFlow<()> {
            self.numbered(tree::alias_of(factor).map(|alias| &alias.name).into_iter());
            ControlFlow::Continue(())
        }

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let common = query.with.iter().flat_map(|with| &with.cte_tables);
            self.numbered(common.map(|common| &common.alias.name));
            ControlFlow::Continue(())
        }
    }
    impl Names {
        fn numbered<'n>(&mut self, names: impl Iterator<Item = &'n Ident>) {
            let numbered = |name: &String| {
                let digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
                digits.len() < name.len() && digits.ends_with('_')
            };
            self.0.extend(names.map(folded).filter(numbered));
        }
    }
    let mut names = Names(HashSet::new());
    let _ = query.visit(&mut names);
    names.0
}
