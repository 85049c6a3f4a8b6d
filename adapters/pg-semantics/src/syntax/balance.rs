//! Long chains of AND or OR, `a OR b OR c …`, as balanced trees. The parser nests them to the left, and deep trees are
//! slow to plan. AND and OR are associative, also with NULLs.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, VisitMut, VisitorMut};

/// Least number of operators in a chain that is balanced. A balanced tree is never so deep, so it is left alone.
const IN_A_ROW_MIN: usize = 32;

/// Balances the chains in a statement or an expression.
pub fn balance(node: &mut impl VisitMut) {
    let _ = node.visit(&mut Balancer);
}

struct Balancer;

impl VisitorMut for Balancer {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Some(op) = row(expr) else { return ControlFlow::Continue(()) };
        let whole = std::mem::replace(expr, Expr::value(Value::Null));
        let mut terms = terms(whole, &op);
        *expr = tree(&mut terms, &op);
        ControlFlow::Continue(())
    }
}

fn is_logical(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::And | BinaryOperator::Or)
}

/// The operator of a long chain.
fn row(expr: &Expr) -> Option<BinaryOperator> {
    let Expr::BinaryOp { op, .. } = expr else { return None };
    let mut at = expr;
    for _ in 0..IN_A_ROW_MIN {
        match at {
            Expr::BinaryOp { left, op: next, .. } if next == op && is_logical(op) => at = left,
            _ => return None,
        }
    }
    Some(op.clone())
}

/// The terms of a chain, from left to right.
fn terms(whole: Expr, op: &BinaryOperator) -> Vec<Expr> {
    let mut terms = vec![];
    let mut at = whole;
    loop {
        match at {
            Expr::BinaryOp { left, op: next, right } if next == *op => {
                terms.push(*right);
                at = *left;
            }
            first => {
                terms.push(first);
                break;
            }
        }
    }
    terms.reverse();
    terms
}

fn tree(terms: &mut Vec<Expr>, op: &BinaryOperator) -> Expr {
    match terms.len() {
        0 => unreachable!("a chain has terms"),
        1 => terms.remove(0),
        len => {
            let mut right = terms.split_off(len / 2);
            let (left, right) = (tree(terms, op), tree(&mut right, op));
            Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) }
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn depth(expr: &Expr) -> usize {
        match expr {
            Expr::BinaryOp { left, right, .. } => 1 + depth(left).max(depth(right)),
            _ => 0,
        }
    }

    /// The terms of a tree of one operator, from left to right.
    fn leaves(expr: &Expr, out: &mut Vec<String>) {
        match expr {
            Expr::BinaryOp { left, op, right } if is_logical(op) => {
                leaves(left, out);
                leaves(right, out);
            }
            leaf => out.push(leaf.to_string()),
        }
    }

    fn balanced(text: &str) -> Expr {
        let mut expr = Parser::new(&PostgreSqlDialect {})
            .try_with_sql(text)
            .and_then(|mut p| p.parse_expr())
            .expect(text);
        balance(&mut expr);
        expr
    }

    #[test]
    fn a_long_row_is_as_deep_as_it_has_to_be_and_keeps_its_order() {
        for op in ["AND", "OR"] {
            let terms: Vec<String> = (0..1_000).map(|n| format!("c{n}")).collect();
            let expr = balanced(&terms.join(&format!(" {op} ")));
            assert_eq!(depth(&expr), 10);
            let mut kept = vec![];
            leaves(&expr, &mut kept);
            assert_eq!(kept, terms);
        }
    }

    #[test]
    fn rows_within_rows_and_short_ones_mean_what_they_meant() {
        let short = "a AND b OR c AND d";
        assert_eq!(balanced(short).to_string(), short);
        let inner: Vec<String> = (0..50).map(|n| format!("x{n}")).collect();
        let text = format!("f(({}), 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10)", inner.join(" OR "));
        let expr = balanced(&text);
        assert_eq!(expr.to_string(), text, "a tree of ORs reads as the chain did");
        assert_eq!(balanced("a OR b AND c OR d").to_string(), "a OR b AND c OR d");
    }
}
