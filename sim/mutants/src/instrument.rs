//! Mutants into one build: every place that some mutants change becomes a choice between the original and their
//! variants, made at run time by number. So a mutant costs a run and not a build. cargo-mutants lists the mutants.
//!
//! A variant contains the original text of its place: only one mutant is active at a time, so it needs no inner
//! choices, and nested places do not multiply.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use proc_macro2::LineColumn;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::catalog::{Genre, Mutant};

/// The call that returns the active mutant.
const ACTIVE: &str = "crate::mutant::active()";

/// Source text of the module behind the calls.
pub const MODULE: &str = "//! Which mutant is on.
#![allow(missing_docs, clippy::all)]
static ACTIVE: std::sync::LazyLock<u32> =
    std::sync::LazyLock::new(|| std::env::var(\"MUTANT\").map_or(u32::MAX, |n| n.parse().unwrap()));
#[inline]
pub fn active() -> u32 {
    *ACTIVE
}
";

/// An instrumented file, and the ranges of its choices.
pub struct Instrumented {
    /// Its text.
    pub text: String,
    /// Ranges of the text that belong to mutants: a variant to one, a choice to several.
    pub ranges: Vec<(Range<usize>, Vec<usize>)>,
}

/// The mutants of one place.
struct Site {
    /// The replaced range, or the insertion point.
    range: Range<usize>,
    edit: Edit,
}

enum Edit {
    /// An expression: the number of each mutant and its variant.
    Choice(Vec<(usize, String)>),
    /// Inserted text: at the beginning of a function, or a guard.
    Insert(Vec<(usize, String)>),
    /// Nothing: compiler errors of this expression belong to these mutants.
    Mark(Vec<usize>),
}

/// Puts mutants into a file; `mutants` are those of this file, with their numbers. Those without a place are omitted
/// and returned.
pub fn instrument(source: &str, mutants: &[(usize, &Mutant)]) -> Result<(Instrumented, Vec<usize>)> {
    let file = syn::parse_file(source).context("the kernel's source cannot be parsed")?;
    let lines = Lines::new(source);
    let mut finder = Finder { source, lines: &lines, wanted: BTreeMap::new(), sites: Vec::new() };
    for (number, mutant) in mutants {
        let at = lines.offset(mutant.span.start.line, mutant.span.start.column - 1);
        if mutant.genre == Genre::FnValue {
            let text = format!("if {ACTIVE} == {number} {{ return {}; }} ", mutant.replacement);
            finder.sites.push(Site { range: at..at, edit: Edit::Insert(vec![(*number, text)]) });
        } else {
            finder.wanted.entry((mutant.genre, at)).or_default().push((*number, mutant.replacement.clone()));
        }
    }
    finder.visit_file(&file);
    let Finder { wanted, mut sites, .. } = finder;
    let left_out = wanted.into_values().flatten().map(|(number, _)| number).collect();
    // Outer places first.
    sites.sort_by_key(|site| (site.range.start, usize::MAX - site.range.end));
    let mut writer = Writer { source, sites: &sites, text: String::new(), ranges: Vec::new() };
    let used = writer.write(0..source.len(), 0);
    ensure!(used == sites.len(), "places overlap");
    Ok((Instrumented { text: writer.text, ranges: writer.ranges }, left_out))
}

/// Byte offsets of lines.
struct Lines<'s> {
    source: &'s str,
    starts: Vec<usize>,
}

impl Lines<'_> {
    fn new(source: &str) -> Lines<'_> {
        let starts = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { source, starts }
    }

    /// Of a line counted from 1 and a column of characters counted from 0.
    fn offset(&self, line: usize, column: usize) -> usize {
        let start = self.starts[line - 1];
        let rest = &self.source[start..];
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }

    fn at(&self, place: LineColumn) -> usize {
        self.offset(place.line, place.column)
    }
}

/// Finds the syntax of mutants.
struct Finder<'s> {
    source: &'s str,
    lines: &'s Lines<'s>,
    /// Not found yet: number and replacement of each, by cargo-mutants' locations.
    wanted: BTreeMap<(Genre, usize), Vec<(usize, String)>>,
    sites: Vec<Site>,
}

impl Finder<'_> {
    fn range(&self, syntax: &impl Spanned) -> Range<usize> {
        let span = syntax.span();
        self.lines.at(span.start())..self.lines.at(span.end())
    }

    fn text(&self, syntax: &impl Spanned) -> &str {
        &self.source[self.range(syntax)]
    }

    fn take(&mut self, genre: Genre, syntax: &impl Spanned) -> Vec<(usize, String)> {
        self.wanted.remove(&(genre, self.range(syntax).start)).unwrap_or_default()
    }

    fn choice(&mut self, syntax: &impl Spanned, variants: Vec<(usize, String)>) {
        if !variants.is_empty() {
            self.sites.push(Site { range: self.range(syntax), edit: Edit::Choice(variants) });
        }
    }
}

/// Whether an expression is a condition with a `let`, which cannot be put in parentheses.
fn has_let(expr: &syn::Expr) -> bool {
    match expr {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        // With a `let` in it nothing but `&&` compiles.
        if !has_let(&node.left) && !has_let(&node.right) {
            let found = self.take(Genre::BinaryOperator, &node.op);
            let (left, right) = (self.text(&node.left).to_string(), self.text(&node.right).to_string());
            let variant = |(number, op)| (number, format!("{left} {op} {right}"));
            self.choice(node, found.into_iter().map(variant).collect());
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        let found = self.take(Genre::UnaryOperator, &node.op);
        let operand = self.text(&node.expr).to_string();
        let variant = |(number, op)| (number, format!("{op}{operand}"));
        self.choice(node, found.into_iter().map(variant).collect());
        visit::visit_expr_unary(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        let mut variants = Vec::new();
        for field in &node.fields {
            let whole = self.range(node);
            let removed = self.range(field);
            let comma =
                self.source[removed.end..whole.end].find(',').map_or(removed.end, |at| removed.end + at + 1);
            for (number, _) in self.take(Genre::StructField, field) {
                let text =
                    [&self.source[whole.start..removed.start], &self.source[comma..whole.end]].concat();
                variants.push((number, text));
            }
        }
        self.choice(node, variants);
        visit::visit_expr_struct(self, node);
    }

    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        let arms = node.arms.iter().map(|arm| self.wanted.get(&(Genre::MatchArm, self.range(arm).start)));
        let deleted: Vec<usize> = arms.flatten().flatten().map(|(number, _)| *number).collect();
        if !deleted.is_empty() {
            self.sites.push(Site { range: self.range(&node.expr), edit: Edit::Mark(deleted) });
        }
        visit::visit_expr_match(self, node);
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        let deleted = self.take(Genre::MatchArm, node);
        if let Some((_, guard)) = &node.guard {
            let mut variants = self.take(Genre::MatchArmGuard, guard);
            variants.extend(deleted.into_iter().map(|(number, _)| (number, "false".into())));
            self.choice(guard, variants);
        } else if !deleted.is_empty() {
            let at = self.range(&node.pat).end;
            let guard = |(number, _)| (number, format!(" if {ACTIVE} != {number}"));
            let guards = deleted.into_iter().map(guard).collect();
            self.sites.push(Site { range: at..at, edit: Edit::Insert(guards) });
        }
        visit::visit_arm(self, node);
    }
}

struct Writer<'s> {
    source: &'s str,
    sites: &'s [Site],
    text: String,
    ranges: Vec<(Range<usize>, Vec<usize>)>,
}

impl Writer<'_> {
    /// Writes a range with the sites in it, the first of which has this index. Returns the index of the first beyond it.
    fn write(&mut self, range: Range<usize>, mut index: usize) -> usize {
        let mut at = range.start;
        while let Some(site) = self.sites.get(index).filter(|site| site.range.end <= range.end) {
            self.text.push_str(&self.source[at..site.range.start]);
            at = site.range.end;
            let began = self.text.len();
            let numbers = match &site.edit {
                Edit::Insert(texts) => {
                    texts.iter().for_each(|(_, text)| self.text.push_str(text));
                    index += 1;
                    texts.iter().map(|(number, _)| *number).collect()
                }
                Edit::Mark(numbers) => {
                    index = self.write(site.range.clone(), index + 1);
                    numbers.clone()
                }
                Edit::Choice(variants) => {
                    self.text.push_str(&format!("(match {ACTIVE} {{ "));
                    for (number, variant) in variants {
                        self.text.push_str(&format!("{number} => "));
                        let began = self.text.len();
                        self.text.push_str(variant);
                        self.ranges.push((began..self.text.len(), vec![*number]));
                        self.text.push_str(", ");
                    }
                    self.text.push_str("_ => ");
                    index = self.write(site.range.clone(), index + 1);
                    self.text.push_str(" })");
                    variants.iter().map(|(number, _)| *number).collect()
                }
            };
            self.ranges.push((began..self.text.len(), numbers));
        }
        self.text.push_str(&self.source[at..range.end]);
        index
    }
}
