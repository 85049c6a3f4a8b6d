//! The visible names at a place in a statement.

use datafusion::sql::sqlparser::ast::{Expr, Ident};

use super::labels::folded;
use crate::error::{Result, SqlError, SqlState};

/// Most names that an error lists.
const LISTED_MAX: usize = 64;

/// A column that can be named.
#[derive(Clone, Debug)]
pub struct Visible {
    /// Its name.
    pub name: String,
    /// Its expression in the rewritten statement: a column, or the merged column of USING.
    pub expr: Expr,
    /// True if `*` excludes it.
    pub is_hidden: bool,
}

/// A relation in FROM.
#[derive(Clone, Debug)]
pub struct Item {
    /// The name that qualifies its columns; None if it has none.
    pub name: Option<String>,
    /// The schema that may qualify it.
    pub schema: Option<String>,
    /// Its name in the rewritten statement.
    pub given: String,
    /// Its columns.
    pub columns: Vec<Visible>,
    /// Names of the columns of its primary key.
    pub primary_key: Vec<String>,
    /// True for a function that returns one value per row: its name alone refers to the value.
    pub is_value: bool,
    /// True for a table: its rows keep the names of its columns, whatever the aliases.
    pub is_table: bool,
    /// True if an outer join may have no matching row of it.
    pub may_be_missing: bool,
}

/// The names that a FROM clause, or a part of it, makes visible.
#[derive(Clone, Default, Debug)]
pub struct Names {
    /// The relations.
    pub items: Vec<Item>,
    /// The columns that can be named without a qualifier, in the order of `*`.
    pub columns: Vec<Visible>,
}

/// The names of a query and of the queries around it.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Of the innermost query.
    pub names: &'a Names,
    /// Of the query around it.
    pub outer: Option<&'a Scope<'a>>,
}

impl Names {
    /// One relation.
    pub fn of(item: Item) -> Names {
        Names { columns: item.columns.clone(), items: vec![item] }
    }

    /// The names of both.
    pub fn and(mut self, right: Names) -> Result<Names> {
        for item in &right.items {
            let same = |other: &&Item| other.name == item.name && other.schema == item.schema;
            if let (Some(name), Some(_)) = (&item.name, self.items.iter().find(same)) {
                let message = format!("table name \"{name}\" specified more than once");
                return Err(SqlError::new(SqlState::DUPLICATE_ALIAS, message));
            }
        }
        self.items.extend(right.items);
        self.columns.extend(right.columns);
        Ok(self)
    }

    /// The one column of this name; None if there is none.
    pub fn column(&self, name: &str) -> Result<Option<&Visible>> {
        one(&self.columns, name)
    }

    /// These names, on the side of an outer join that may have no matching row.
    pub fn missing_perhaps(mut self) -> Names {
        self.items.iter_mut().for_each(|item| item.may_be_missing = true);
        self
    }

    fn item(&self, schema: Option<&str>, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| {
            item.name.as_deref() == Some(name) && schema.is_none_or(|s| item.schema.as_deref() == Some(s))
        })
    }
}

/// The one column of this name. Columns of `*` have priority.
fn one<'c>(columns: &'c [Visible], name: &str) -> Result<Option<&'c Visible>> {
    let of = |hidden: bool| columns.iter().filter(move |c| c.is_hidden == hidden && c.name == name);
    for hidden in [false, true] {
        let mut found = of(hidden);
        if let Some(first) = found.next() {
            return match found.next() {
                None => Ok(Some(first)),
                Some(_) => {
                    let message = format!("column reference \"{name}\" is ambiguous");
                    Err(SqlError::new(SqlState::AMBIGUOUS_COLUMN, message))
                }
            };
        }
    }
    Ok(None)
}

impl<'a> Scope<'a> {
    /// Inside of `outer`, if there is one.
    pub fn new(names: &'a Names, outer: Option<&'a Scope<'a>>) -> Scope<'a> {
        Scope { names, outer }
    }

    fn outwards(&self) -> impl Iterator<Item = &Scope<'a>> {
        std::iter::successors(Some(self), |scope| scope.outer)
    }

    /// The column of a name.
    pub fn column(&self, name: &Ident) -> Result<Expr> {
        let name = folded(name);
        for scope in self.outwards() {
            if let Some(column) = scope.names.column(&name)? {
                return Ok(column.expr.clone());
            }
        }
        match self.outwards().find_map(|scope| scope.names.item(None, &name)) {
            Some(Item { is_value: true, columns, .. }) if !columns.is_empty() => {
                return Ok(columns[0].expr.clone());
            }
            Some(_) => return Err(whole_row(&name)),
            None => {}
        }
        let error = SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"));
        Err(listing(error, &self.names.columns))
    }

    /// The relation whose whole row a name refers to, if no column has the name.
    pub fn row(&self, name: &Ident) -> Result<Option<&Item>> {
        let name = folded(name);
        for scope in self.outwards() {
            if scope.names.column(&name)?.is_some() {
                return Ok(None);
            }
        }
        let found = self.outwards().find_map(|scope| scope.names.item(None, &name));
        Ok(found.filter(|item| !item.is_value))
    }

    /// The column of a qualified name.
    pub fn qualified(&self, parts: &[Ident]) -> Result<Expr> {
        let (column, relation) = match parts {
            [relation @ .., column] if !relation.is_empty() => (folded(column), relation),
            _ => return Err(SqlError::syntax("a column's name is missing")),
        };
        let item = self.item(relation)?;
        match one(&item.columns, &column)? {
            Some(column) => Ok(column.expr.clone()),
            None => {
                let said: Vec<String> = relation.iter().map(folded).collect();
                let message = format!("column {}.{column} does not exist", said.join("."));
                Err(listing(SqlError::new(SqlState::UNDEFINED_COLUMN, message), &item.columns))
            }
        }
    }

    /// The relation of a name.
    pub fn item(&self, name: &[Ident]) -> Result<&Item> {
        let (schema, relation) = match name {
            [relation] => (None, folded(relation)),
            [.., schema, relation] => (Some(folded(schema)), folded(relation)),
            [] => return Err(SqlError::syntax("a relation's name is missing")),
        };
        self.outwards().find_map(|scope| scope.names.item(schema.as_deref(), &relation)).ok_or_else(|| {
            let message = format!("missing FROM-clause entry for table \"{relation}\"");
            SqlError::new(SqlState::UNDEFINED_TABLE, message)
        })
    }
}

/// The error for a relation's name in the place of a value.
pub fn whole_row(name: &str) -> SqlError {
    SqlError::unsupported(format!("a whole row of \"{name}\" as one value is not supported"))
        .with_hint("Name its columns.")
}

fn listing(error: SqlError, columns: &[Visible]) -> SqlError {
    let names: Vec<&str> = columns.iter().filter(|c| !c.is_hidden).map(|c| c.name.as_str()).collect();
    match names.len() {
        0 => error,
        count if count > LISTED_MAX => error,
        _ => error.with_hint(format!("There are: {}.", names.join(", "))),
    }
}
