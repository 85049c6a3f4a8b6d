//! Whole rows as arguments of functions that convert them to JSON: `row_to_json(t)`, `jsonb_agg(t)`, `to_json(ROW(a,
//! b))`. The fields of the row become arguments, because composite types are not supported (`functions::json_row`).

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    Value,
};

use super::labels::folded;
use super::scope::{Item, Scope, Visible, whole_row};
use super::tree;
use crate::error::{Result, SqlError, SqlState};
use crate::functions::json_row::{JSON, JSONB};

/// The row function for each function that takes a row.
const TAKE_ROWS: [(&str, &str); 12] = [
    ("row_to_json", JSON),
    ("to_json", JSON),
    ("json_agg", JSON),
    ("json_build_array", JSON),
    ("json_build_object", JSON),
    (JSON, JSON),
    ("to_jsonb", JSONB),
    ("jsonb_agg", JSONB),
    ("jsonb_build_array", JSONB),
    ("jsonb_build_object", JSONB),
    // For jsonb_object_agg.
    ("jsonb_pair", JSONB),
    (JSONB, JSONB),
];

/// Prefix of a placeholder for a row of a relation whose columns are already looked up. No statement contains it.
const HELD: &str = "\0row ";

/// Rows of relations, until the visitor leaves their expressions.
#[derive(Default)]
pub(super) struct Rows(Vec<Expr>);

impl Rows {
    /// Replaces the row arguments of a call that takes rows.
    pub(super) fn arguments(&mut self, function: &mut Function, scope: &Scope) -> Result<()> {
        let name = function_name(&function.name);
        let Some((_, made_by)) = TAKE_ROWS.iter().find(|(of, _)| name.as_deref() == Some(*of)) else {
            return Ok(());
        };
        let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
        let mut found = false;
        for arg in &mut list.args {
            let FunctionArg::Unnamed(value) = arg else { continue };
            if let Some(row) = self.argument(value, made_by, scope)? {
                *value = FunctionArgExpr::Expr(row);
                found = true;
            }
        }
        if found && list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
            return Err(SqlError::unsupported("DISTINCT of whole rows is not supported")
                .with_hint("Select distinct rows in a subquery."));
        }
        if found && name.as_deref() == Some("row_to_json") {
            plain(&mut list.args)?;
            function.name = ObjectName::from(vec![Ident::new("to_json")]);
        }
        Ok(())
    }

    fn argument(&mut self, arg: &FunctionArgExpr, made_by: &str, scope: &Scope) -> Result<Option<Expr>> {
        match arg {
            FunctionArgExpr::Expr(value) => self.row(value, made_by, scope),
            FunctionArgExpr::QualifiedWildcard(name) => {
                let item = scope.item(&idents(name))?;
                self.of_item(item, made_by).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The row of an expression, if it is one.
    fn row(&mut self, expr: &Expr, made_by: &str, scope: &Scope) -> Result<Option<Expr>> {
        Ok(match tree::bare(expr) {
            Expr::Identifier(name) if !name.value.starts_with(['@', '\0']) => match scope.row(name)? {
                Some(item) => Some(self.of_item(item, made_by)?),
                None => None,
            },
            Expr::Tuple(values) => Some(numbered(values.clone(), made_by)),
            Expr::Function(call) if function_name(&call.name).as_deref() == Some("row") => {
                said(call, scope)?.map(|values| self.numbered_held(values, made_by))
            }
            _ => None,
        })
    }

    /// A relation's row, replaced by a placeholder until the visitor leaves it, because its columns are already looked
    /// up.
    fn of_item(&mut self, item: &Item, made_by: &str) -> Result<Expr> {
        let fields = item.columns.iter().filter(|column| !column.is_hidden);
        let fields = fields.flat_map(|column| [text(field_name(item, column)), column.expr.clone()]);
        let args = std::iter::once(witness(item)?).chain(fields).collect();
        Ok(self.held(tree::call(made_by, args)))
    }

    fn held(&mut self, expr: Expr) -> Expr {
        self.0.push(expr);
        Expr::Identifier(Ident::with_quote('"', format!("{HELD}{}", self.0.len() - 1)))
    }

    fn numbered_held(&mut self, values: Vec<Field>, made_by: &str) -> Expr {
        let values = values.into_iter().map(|value| match value {
            Field::Said(expr) => expr,
            Field::Found(expr) => self.held(expr),
        });
        numbered(values.collect(), made_by)
    }

    /// The expression of a placeholder in [`Rows::held`].
    pub(super) fn named(&self, name: &Ident) -> Option<Expr> {
        let number = name.value.strip_prefix(HELD)?;
        self.0.get(number.parse::<usize>().ok()?).cloned()
    }
}

fn field_name<'a>(item: &Item, column: &'a Visible) -> &'a str {
    match &column.expr {
        Expr::CompoundIdentifier(parts) if item.is_table => parts.last().map_or("", |own| &own.value),
        _ => &column.name,
    }
}

/// A value of ROW(…).
enum Field {
    /// As it was written.
    Said(Expr),
    /// From `t.*`: a column that is already looked up.
    Found(Expr),
}

/// The values of `ROW(…)`; None for another call.
fn said(call: &Function, scope: &Scope) -> Result<Option<Vec<Field>>> {
    let FunctionArguments::List(list) = &call.args else { return Ok(None) };
    let mut fields = vec![];
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => fields.push(Field::Said(value.clone())),
            FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                let columns = &scope.item(&idents(name))?.columns;
                let shown = columns.iter().filter(|column| !column.is_hidden);
                fields.extend(shown.map(|column| Field::Found(column.expr.clone())));
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(fields))
}

/// The fields of `ROW(…)` are named by numbers.
fn numbered(values: Vec<Expr>, made_by: &str) -> Expr {
    let fields = values.into_iter().enumerate();
    let fields = fields.flat_map(|(n, value)| [text(&format!("f{}", n + 1)), value]);
    tree::call(made_by, std::iter::once(tree::boolean(true)).chain(fields).collect())
}

/// A witness of the row: NULL if there is none; also identifies the relation.
fn witness(item: &Item) -> Result<Expr> {
    match item.primary_key.first() {
        _ if !item.may_be_missing => Ok(text(&item.given)),
        Some(key) => Ok(tree::column(&item.given, key)),
        None => Err(whole_row(item.name.as_deref().unwrap_or_default())),
    }
}

/// Rejects `row_to_json` of another value than a row, once its names are resolved.
pub(super) fn refuse_others(function: &Function) -> Result<()> {
    if function_name(&function.name).as_deref() != Some("row_to_json") {
        return Ok(());
    }
    let message = "function row_to_json of what is no row does not exist";
    Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message)
        .with_hint("It takes the name of a relation, or ROW(…)."))
}

/// The relation whose row a call builds, by its name in the rewritten statement.
pub(super) fn relation_of(call: &Function) -> Option<&str> {
    let name = function_name(&call.name)?;
    let FunctionArguments::List(list) = &call.args else { return None };
    match list.args.first()? {
        _ if name != JSON && name != JSONB => None,
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(parts))) => {
            parts.first().map(|relation| relation.value.as_str())
        }
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(given) => Some(given),
            _ => None,
        },
        _ => None,
    }
}

/// `row_to_json(row, false)` is `row_to_json(row)`.
fn plain(args: &mut Vec<FunctionArg>) -> Result<()> {
    let is_false = |arg: &FunctionArg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) if *tree::bare(value) == tree::boolean(false));
    if args.get(1).is_some_and(is_false) {
        args.truncate(1);
    }
    match args.len() {
        1 => Ok(()),
        _ => Err(SqlError::unsupported("row_to_json with line feeds is not supported")
            .with_hint("Omit the second argument.")),
    }
}

fn function_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [name] => name.as_ident().map(folded),
        _ => None,
    }
}

fn idents(name: &ObjectName) -> Vec<Ident> {
    name.0.iter().filter_map(|part| part.as_ident()).cloned().collect()
}

fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_string()))
}
