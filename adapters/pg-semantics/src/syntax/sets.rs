//! Functions that return sets of rows, in a form that the planner supports: an array is calculated and unnested. In
//! FROM such a function becomes a subquery, which may read the items before it; in a select list it becomes the
//! unnesting itself.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    ObjectName, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::ast::{Query, SetExpr};
use std::ops::ControlFlow;

use super::labels::folded;
use super::scope::{Item, Names};
use super::{Resolver, tree};
use crate::error::{Result, SqlError};
use crate::functions::series;
use crate::functions::sets::{ORDINALS, SUBSCRIPTS};

/// The conversion of a value of an unnested array.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    /// None.
    Is,
    /// To jsonb, which an array of texts does not keep.
    Json,
    /// To an array of texts, from its text.
    Texts,
}

/// A column of a function that returns rows.
struct Column {
    /// Its name from the function.
    label: Option<&'static str>,
    /// The function that returns the array; None: the argument is the array.
    list: Option<&'static str>,
    made: As,
}

const fn column(label: Option<&'static str>, list: &'static str, made: As) -> Column {
    Column { label, list: Some(list), made }
}

/// The functions, with their columns.
const SETS: &[(&str, &[Column])] = &[
    ("generate_series", &[column(None, series::LIST, As::Is)]),
    ("generate_subscripts", &[column(None, SUBSCRIPTS, As::Is)]),
    ("jsonb_array_elements", &[column(Some("value"), "jsonb_elements_list", As::Json)]),
    ("jsonb_array_elements_text", &[column(Some("value"), "jsonb_elements_text_list", As::Is)]),
    (
        "jsonb_each",
        &[
            column(Some("key"), "jsonb_keys_list", As::Is),
            column(Some("value"), "jsonb_values_list", As::Json),
        ],
    ),
    (
        "jsonb_each_text",
        &[
            column(Some("key"), "jsonb_keys_list", As::Is),
            column(Some("value"), "jsonb_values_text_list", As::Is),
        ],
    ),
    ("jsonb_object_keys", &[column(None, "jsonb_keys_list", As::Is)]),
    ("regexp_matches", &[column(None, "regexp_matches_list", As::Texts)]),
    ("regexp_split_to_table", &[column(None, "regexp_split_to_array", As::Is)]),
    ("string_to_table", &[column(None, "string_to_array", As::Is)]),
    ("unnest", &[Column { label: None, list: None, made: As::Is }]),
];

fn set(name: &str) -> Option<&'static [Column]> {
    SETS.iter().find(|(known, _)| *known == name).map(|(_, columns)| *columns)
}

/// True for the name of a function that returns rows.
pub fn is_set(name: &str) -> bool {
    set(name).is_some()
}

impl Column {
    fn list(&self, args: &[Expr]) -> Expr {
        match (self.list, args) {
            (None, [array]) => array.clone(),
            (list, args) => tree::call(list.unwrap_or("unnest"), args.to_vec()),
        }
    }

    fn item(&self, list: Expr) -> Expr {
        let item = tree::call("unnest", vec![list]);
        match self.made {
            As::Is => item,
            As::Json => tree::call("jsonb", vec![item]),
            As::Texts => Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(item),
                data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)),
                array: false,
                format: None,
            },
        }
    }
}

/// A call of such a function in FROM.
pub(super) struct Call<'c> {
    /// Its name.
    pub name: String,
    /// Its arguments, with resolved names.
    pub args: Vec<Expr>,
    /// WITH ORDINALITY.
    pub ordinality: bool,
    /// The names of the items before it.
    pub before: &'c Names,
}

impl Resolver<'_> {
    /// A function that returns rows, in FROM, as a subquery.
    pub(super) fn set_in_from(
        &mut self,
        factor: &mut TableFactor,
        call: Call,
        mut alias: Option<TableAlias>,
    ) -> Result<Item> {
        let columns =
            set(&call.name).ok_or_else(|| SqlError::internal(format!("{} gives no rows", call.name)))?;
        let said = alias.as_ref().map(|alias| folded(&alias.name));
        let mut lists: Vec<(String, Expr, Expr)> = vec![];
        // Each array of unnest is a column.
        let rows: Vec<&[Expr]> = match call.name.as_str() {
            "unnest" => call.args.chunks(1).collect(),
            _ => vec![call.args.as_slice()],
        };
        let single = rows.len() * columns.len() == 1;
        for args in &rows {
            for column in columns {
                let label = match (column.label, &said) {
                    (Some(label), _) => label.to_string(),
                    (None, Some(said)) if single => said.clone(),
                    _ => call.name.clone(),
                };
                let list = column.list(args);
                lists.push((label, list.clone(), column.item(list)));
            }
        }
        if call.ordinality {
            let counted = tree::call(ORDINALS, lists.iter().map(|(_, list, _)| list.clone()).collect());
            lists.push(("ordinality".into(), counted.clone(), tree::call("unnest", vec![counted])));
        }
        let given = |n: usize| format!("{}_{n}", call.name);
        let shown =
            lists.iter().enumerate().map(|(n, (label, ..))| (label.clone(), given(n), false)).collect();
        let mut item = self.item(Some(call.name.clone()), None, shown, &mut alias)?;
        item.is_value = single && !call.ordinality;
        let projection = lists.into_iter().enumerate().map(|(n, (.., expr))| tree::item(expr, &given(n)));
        let query =
            tree::plain_query(SetExpr::Select(Box::new(tree::plain_select(projection.collect(), vec![]))));
        let reads = call.args.iter().any(|arg| reads(arg, call.before));
        *factor = tree::derived(query, &item.given);
        if let TableFactor::Derived { lateral, .. } = factor {
            *lateral = reads;
        }
        Ok(item)
    }
}

/// True for an expression that reads a column of one of these relations.
pub(super) fn reads(expr: &Expr, before: &Names) -> bool {
    datafusion::sql::sqlparser::ast::visit_expressions(expr, |expr| match expr {
        Expr::CompoundIdentifier(parts)
            if parts.first().is_some_and(|r| before.items.iter().any(|item| item.given == r.value)) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// True for an expression that is not constant: it contains a subquery or a column.
pub(super) fn varies(expr: &Expr) -> bool {
    datafusion::sql::sqlparser::ast::visit_expressions(expr, |expr| match expr {
        Expr::CompoundIdentifier(_) | Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// The arguments of a call in FROM.
pub(super) fn arguments(name: &str, args: &[FunctionArg]) -> Result<Vec<Expr>> {
    let value = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Ok(value.clone()),
        other => Err(SqlError::unsupported(format!("{name} takes no argument {other}"))),
    };
    args.iter().map(value).collect()
}

/// Unnests the results of the functions in an item of a select list.
pub(super) fn in_select(expr: &mut Expr) -> Result<()> {
    let mut sets = Sets { within: 0, queries: 0 };
    match expr.visit(&mut sets) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Sets {
    /// Number of expressions around that accept no sets.
    within: usize,
    /// Number of subqueries around.
    queries: usize,
}

fn name_of(function: &Function) -> Option<String> {
    function.name.0.last().and_then(|part| part.as_ident()).map(folded)
}

/// Expressions in which PostgreSQL does not allow set-returning functions, and its names for them.
fn refusing(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Case { .. } => Some("CASE"),
        Expr::Function(f) if name_of(f).as_deref() == Some("coalesce") => Some("COALESCE"),
        _ => None,
    }
}

impl VisitorMut for Sets {
    type Break = SqlError;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<SqlError> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<SqlError> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if self.queries == 0 && refusing(expr).is_some() {
            self.within += 1;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if self.queries > 0 {
            return ControlFlow::Continue(());
        }
        if refusing(expr).is_some() {
            self.within -= 1;
        }
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let Some(name) = name_of(function).filter(|_| function.over.is_none()) else {
            return ControlFlow::Continue(());
        };
        let (Some([column]), FunctionArguments::List(list)) = (set(&name), &function.args) else {
            return ControlFlow::Continue(());
        };
        // The others become the unnesting.
        if column.list.is_none() {
            return ControlFlow::Continue(());
        }
        if self.within > 0 {
            let message = "set-returning functions are not allowed in CASE or COALESCE";
            return ControlFlow::Break(SqlError::unsupported(message));
        }
        match arguments(&name, &list.args) {
            Ok(args) => *expr = column.item(column.list(&args)),
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

/// The name of a function in FROM.
pub(super) fn function_name(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default()
}
