//! Pieces of syntax trees.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    GroupByExpr, Ident, ObjectName, Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias,
    TableFactor, TableWithJoins, Value, Values,
};

/// A name that matches exactly, quoted.
pub fn exactly(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// A column of a relation.
pub fn column(relation: &str, name: &str) -> Expr {
    Expr::CompoundIdentifier(vec![exactly(relation), exactly(name)])
}

/// A call of a function.
pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    function(name, args)
}

/// `count(*)`
pub fn count_rows() -> Expr {
    function("count", vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)])
}

fn function(name: &str, args: Vec<FunctionArg>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// `left op right`, with parentheses around the operands.
pub fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// All of them with `op` in between; `none` if there are none.
pub fn chain(op: BinaryOperator, parts: impl IntoIterator<Item = Expr>, none: bool) -> Expr {
    let all = parts.into_iter().reduce(|left, right| binary(left, op.clone(), right));
    all.unwrap_or_else(|| boolean(none))
}

/// TRUE or FALSE.
pub fn boolean(value: bool) -> Expr {
    Expr::value(Value::Boolean(value))
}

/// A whole number.
pub fn number(value: i64) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

/// Takes an expression and leaves a placeholder.
pub fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

/// Without the parentheses around it.
pub fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        other => other,
    }
}

/// A query with this body only.
pub fn plain_query(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: vec![],
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: vec![],
    }
}

/// A placeholder for a query that was taken out.
pub fn no_query() -> Query {
    plain_query(SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows: vec![] }))
}

/// `SELECT projection FROM from`
pub fn plain_select(projection: Vec<SelectItem>, from: Vec<TableWithJoins>) -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: vec![],
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views: vec![],
        prewhere: None,
        selection: None,
        connect_by: vec![],
        group_by: GroupByExpr::Expressions(vec![], vec![]),
        cluster_by: vec![],
        distribute_by: vec![],
        sort_by: vec![],
        having: None,
        named_window: vec![],
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// `expr AS name`
pub fn item(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: exactly(name) }
}

/// `AS name`
pub fn alias(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: exactly(name), columns: vec![], at: None }
}

/// `(query) AS name`
pub fn derived(query: Query, name: &str) -> TableFactor {
    TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias(name)), sample: None }
}

/// The alias of a FROM item.
pub fn alias_of(factor: &TableFactor) -> Option<&TableAlias> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => alias.as_ref(),
        _ => None,
    }
}
