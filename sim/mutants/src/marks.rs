//! Finds code that is not in a shipped kernel, so that its mutants do not count: `reached(…)` and conditions with no
//! other consequence.

use std::ops::Range;

use anyhow::{Context, Result};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The call that counts a mark.
const CALL: &str = "reached";

/// The ranges of such code in a file: line and column, counted from 1 as in a mutant's place, the end not included.
pub fn places(source: &str) -> Result<Vec<Range<(usize, usize)>>> {
    let file = syn::parse_file(source).context("the kernel's source cannot be parsed")?;
    let mut finder = Finder::default();
    finder.visit_file(&file);
    Ok(finder.places)
}

#[derive(Default)]
struct Finder {
    places: Vec<Range<(usize, usize)>>,
}

impl Finder {
    fn found(&mut self, syntax: &impl Spanned) {
        let (start, end) = (syntax.span().start(), syntax.span().end());
        self.places.push((start.line, start.column + 1)..(end.line, end.column + 1));
    }
}

/// `reached(…)` with its argument.
fn counts(expr: &syn::Expr) -> bool {
    let syn::Expr::Call(call) = expr else { return false };
    matches!(&*call.func, syn::Expr::Path(path) if path.path.segments.last().is_some_and(|s| s.ident == CALL))
}

fn only_counts(block: &syn::Block) -> bool {
    block.stmts.iter().all(|statement| matches!(statement, syn::Stmt::Expr(expr, _) if counts(expr)))
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_expr_if(&mut self, node: &'ast syn::ExprIf) {
        if node.else_branch.is_none() && only_counts(&node.then_branch) {
            self.found(&node.cond);
        }
        visit::visit_expr_if(self, node);
    }

    fn visit_expr_call(&mut self, node: &'ast syn::ExprCall) {
        if counts(&syn::Expr::Call(node.clone())) {
            self.found(&node.args);
        }
        visit::visit_expr_call(self, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_marks_are_found_and_no_others() {
        let source = "fn f() {
    if a > b && !c { reached(Probe::X); }
    if a > b { reached(Probe::X); g(); }
    if a > b { reached(Probe::X); } else { g(); }
    reached(if a > b { Probe::X } else { Probe::Y });
}
";
        let names = [(2, 30)..(2, 38), (3, 24)..(3, 32), (4, 24)..(4, 32)];
        let found: Vec<_> = places(source).unwrap().into_iter().filter(|at| !names.contains(at)).collect();
        assert_eq!(found, [(2, 8)..(2, 19), (5, 13)..(5, 52)]);
    }
}
