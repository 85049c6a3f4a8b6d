//! PostgreSQL's names for columns without an alias.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, DataType, Expr, Ident, Select, SelectItem, SetExpr, Statement, VisitMut, VisitorMut,
};

use super::tree;

/// The name of a column without a name.
const NAMELESS: &str = "?column?";

/// A name in lower case unless it is quoted.
pub fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

/// Adds PostgreSQL's names as aliases to all columns of all SELECTs.
pub fn label_columns(statement: &mut Statement) {
    struct Label;
    impl VisitorMut for Label {
        type Break = ();

        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) = item {
                    let name = label(expr);
                    *item = tree::item(tree::take(expr), &name);
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = statement.visit(&mut Label);
}

/// PostgreSQL's name for the column of this expression.
pub fn label(expr: &Expr) -> String {
    strong(expr).or_else(|| weak(expr)).unwrap_or_else(|| NAMELESS.into())
}

/// A strong name: of a column, a function.
fn strong(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(parts) => folded(parts.last()?),
        Expr::Function(function) => folded(function.name.0.last()?.as_ident()?),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => return strong(inner),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let name = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(name)) => Some(folded(name)),
                _ => None,
            });
            return name.or_else(|| strong(root));
        }
        Expr::Cast { expr, .. } => return strong(expr),
        Expr::Exists { negated: false, .. } => "exists".into(),
        Expr::Extract { .. } => "extract".into(),
        Expr::Substring { shorthand: true, .. } => "substr".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Overlay { .. } => "overlay".into(),
        Expr::Trim { .. } => "btrim".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::Position { .. } => "position".into(),
        Expr::AtTimeZone { .. } => "timezone".into(),
        Expr::Array(_) => "array".into(),
        Expr::Tuple(_) => "row".into(),
        Expr::Case { else_result: Some(otherwise), .. } => return strong(otherwise),
        Expr::Subquery(query) => return of_body(&query.body),
        _ => return None,
    })
}

/// A weak name: of a type, of CASE.
fn weak(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => weak(inner),
        Expr::Cast { expr, data_type, .. } => type_label(data_type).or_else(|| weak(expr)),
        Expr::TypedString(typed) => type_label(&typed.data_type),
        Expr::Interval(_) => Some("interval".into()),
        Expr::Case { .. } => Some("case".into()),
        _ => None,
    }
}

fn of_body(body: &SetExpr) -> Option<String> {
    match body {
        SetExpr::Select(select) => match select.projection.first()? {
            SelectItem::UnnamedExpr(expr) => strong(expr).or_else(|| weak(expr)),
            SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
            _ => None,
        },
        SetExpr::Query(query) => of_body(&query.body),
        SetExpr::SetOperation { left, .. } => of_body(left),
        _ => None,
    }
}

/// The name of a type in `pg_type`.
fn type_label(data_type: &DataType) -> Option<String> {
    crate::types::PgType::of_sql(data_type).map(|pg| match pg {
        crate::types::PgType::One(base) | crate::types::PgType::Array(base) => base.name().to_string(),
    })
}
