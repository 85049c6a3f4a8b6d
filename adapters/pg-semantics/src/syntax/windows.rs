//! Named windows, inlined at their uses.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, OrderBy, OrderByKind, Query, Select, VisitMut,
    VisitorMut, WindowSpec, WindowType,
};

use super::labels::folded;
use crate::error::{Result, SqlError, SqlState};

/// Replaces names of windows by their definitions in the WINDOW clause.
pub fn put_in(select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<()> {
    let mut known: Vec<(String, WindowSpec)> = vec![];
    for NamedWindowDefinition(name, definition) in std::mem::take(&mut select.named_window) {
        let name = folded(&name);
        if known.iter().any(|(other, _)| *other == name) {
            return Err(SqlError::new(
                SqlState::WINDOWING_ERROR,
                format!("window \"{name}\" is already defined"),
            ));
        }
        let spec = match definition {
            NamedWindowExpr::NamedWindow(other) => find(&known, &other)?,
            NamedWindowExpr::WindowSpec(spec) => complete(spec, &known)?,
        };
        known.push((name, spec));
    }
    let mut put = PutIn { known, depth: 0 };
    let mut outcome = select.projection.visit(&mut put);
    if let (ControlFlow::Continue(()), Some(OrderByKind::Expressions(sorted))) =
        (&outcome, order_by.map(|order| &mut order.kind))
    {
        outcome = sorted.visit(&mut put);
    }
    match outcome {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn find(known: &[(String, WindowSpec)], name: &Ident) -> Result<WindowSpec> {
    let name = folded(name);
    known
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, spec)| spec.clone())
        .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_OBJECT, format!("window \"{name}\" does not exist")))
}

/// A window based on another one inherits its parts.
fn complete(mut spec: WindowSpec, known: &[(String, WindowSpec)]) -> Result<WindowSpec> {
    let Some(name) = spec.window_name.take() else { return Ok(spec) };
    let base = find(known, &name)?;
    let refused = |what: &str| {
        Err(SqlError::new(
            SqlState::WINDOWING_ERROR,
            format!("cannot override {what} of window \"{}\"", folded(&name)),
        ))
    };
    if !spec.partition_by.is_empty() {
        return refused("PARTITION BY clause");
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return refused("ORDER BY clause");
    }
    if base.window_frame.is_some() {
        let message = format!("cannot copy window \"{}\" because it has a frame clause", folded(&name));
        return Err(SqlError::new(SqlState::WINDOWING_ERROR, message));
    }
    spec.partition_by = base.partition_by;
    if spec.order_by.is_empty() {
        spec.order_by = base.order_by;
    }
    Ok(spec)
}

struct PutIn {
    known: Vec<(String, WindowSpec)>,
    /// Number of subqueries around.
    depth: usize,
}

impl VisitorMut for PutIn {
    type Break = SqlError;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<SqlError> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let window = match &function.over {
            _ if self.depth > 0 => return ControlFlow::Continue(()),
            None => return ControlFlow::Continue(()),
            Some(WindowType::NamedWindow(name)) => find(&self.known, name),
            Some(WindowType::WindowSpec(spec)) => complete(spec.clone(), &self.known),
        };
        match window {
            Ok(spec) => {
                function.over = Some(WindowType::WindowSpec(spec));
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}
