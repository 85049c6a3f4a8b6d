//! Expressions of a type over a scope.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::generate::functions::{self, Form};
use crate::generate::query;
use crate::generate::types::Type;
use crate::tree::{Node, Part, Sort};

/// A column that an expression may name.
#[derive(Clone, Debug)]
pub struct Column {
    /// As it is written.
    pub name: String,
    /// Its type.
    pub of: Type,
}

/// The permitted parts of an expression.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Columns.
    pub columns: Vec<Column>,
    /// In a grouped query: the columns inside aggregates; then `columns` are those that are grouped by.
    pub grouped: Option<Vec<Column>>,
    /// Texts that identify each row, if there are any: windows can be ordered by them.
    pub keys: Vec<String>,
    /// Whether window functions may be used.
    pub windows: bool,
    /// How deep subqueries may still go.
    pub subqueries: usize,
}

/// An expression of a type.
pub fn expression(rng: &mut StdRng, scope: &Scope, of: Type, depth: usize) -> Node {
    if let Some(inner) = scope.grouped.as_ref().filter(|_| rng.random_bool(0.5)) {
        let inner = Scope { columns: inner.clone(), subqueries: 0, ..Scope::default() };
        if let Some(node) = aggregate(rng, &inner, of, depth) {
            return node;
        }
    }
    if depth == 0 || rng.random_bool(0.15) {
        return leaf(rng, scope, of);
    }
    if scope.windows
        && rng.random_bool(0.25)
        && let Some(node) = window(rng, scope, of, depth)
    {
        return node;
    }
    if scope.subqueries > 0 && rng.random_bool(0.12) {
        return query::in_expression(rng, scope, of);
    }
    match functions::scalars(of).choose(rng) {
        Some(form) => apply(rng, scope, of, form, depth - 1),
        None => leaf(rng, scope, of),
    }
}

/// A condition.
pub fn condition(rng: &mut StdRng, scope: &Scope, depth: usize) -> Node {
    expression(rng, scope, Type::Bool, depth)
}

fn apply(rng: &mut StdRng, scope: &Scope, of: Type, form: &'static Form, depth: usize) -> Node {
    Node::of(Sort::Expression(of), operands(rng, scope, form, depth))
}

fn operands(rng: &mut StdRng, scope: &Scope, form: &'static Form, depth: usize) -> Vec<Part> {
    let mut parts = vec![Part::text(form.texts[0])];
    let mut last = None;
    for (operand, text) in form.operands.iter().zip(&form.texts[1..]) {
        let node = match operand {
            Some(of) => expression(rng, scope, *of, depth),
            None => last.take().expect("an operand before"),
        };
        last = Some(node.clone());
        parts.push(Part::One(node));
        parts.push(Part::text(*text));
    }
    parts
}

fn leaf(rng: &mut StdRng, scope: &Scope, of: Type) -> Node {
    let columns: Vec<&Column> = scope.columns.iter().filter(|column| column.of == of).collect();
    match columns.choose(rng).filter(|_| rng.random_bool(0.75)) {
        Some(column) => Node::leaf(Sort::Expression(of), column.name.clone()),
        None => Node::leaf(Sort::Expression(of), of.constant(rng)),
    }
}

/// An aggregate, some with a filter.
pub fn aggregate(rng: &mut StdRng, inner: &Scope, of: Type, depth: usize) -> Option<Node> {
    let form = functions::aggregates(of).choose(rng)?;
    let mut parts = operands(rng, inner, form, depth.min(1));
    // A function around an aggregate cannot have a filter.
    let bare = !form.texts[0].starts_with("round");
    let filter = (bare && rng.random_bool(0.12)).then(|| condition(rng, inner, 1));
    let filter = filter.map(|condition| {
        Node::of(Sort::Fixed, vec![" FILTER (WHERE ".into(), Part::One(condition), ")".into()])
    });
    parts.push(Part::maybe(filter));
    Some(Node::of(Sort::Expression(of), parts))
}

fn window(rng: &mut StdRng, scope: &Scope, of: Type, depth: usize) -> Option<Node> {
    let plain = Scope { windows: false, subqueries: 0, ..scope.clone() };
    let by = (0..rng.random_range(0..2)).map(|_| {
        let of = Type::any(rng);
        expression(rng, &plain, of, 1)
    });
    let by: Vec<Node> = by.collect();
    let partition = (!by.is_empty())
        .then(|| Node::of(Sort::Fixed, vec!["PARTITION BY ".into(), Part::commas(by), " ".into()]));
    let total = !scope.keys.is_empty();
    let mut order = vec![ordered(rng, &plain)];
    if total {
        order.extend(scope.keys.iter().map(|key| Node::leaf(Sort::Fixed, key.clone())));
    }
    let order = Node::of(Sort::Fixed, vec!["ORDER BY ".into(), Part::commas(order)]);
    let (call, frame) = match rng.random_range(0..4) {
        0 => (ranking(rng, &plain, of, total)?, None),
        1 if total => (neighbour(rng, &plain, of, depth), None),
        _ => {
            let form = functions::aggregates(of).iter().filter(|form| windowed(form)).collect::<Vec<_>>();
            let form = form.choose(rng)?;
            (operands(rng, &plain, form, 1), frame(rng, total))
        }
    };
    let mut parts = call;
    parts.extend([
        " OVER (".into(),
        Part::maybe(partition),
        Part::maybe(Some(order)),
        Part::maybe(frame),
        ")".into(),
    ]);
    Some(Node::of(Sort::Expression(of), parts))
}

/// Not in a window: what PostgreSQL has for groups only.
fn windowed(form: &Form) -> bool {
    let text = form.texts.concat();
    !["DISTINCT", "ORDER BY", "WITHIN", "round"].iter().any(|word| text.contains(word))
}

fn ranking(rng: &mut StdRng, scope: &Scope, of: Type, total: bool) -> Option<Vec<Part>> {
    if total && of == Type::Int8 && rng.random_bool(0.5) {
        return Some(vec!["row_number()".into()]);
    }
    if total && of == Type::Int4 {
        return Some(vec!["ntile(3)".into()]);
    }
    let form = functions::windows(of).choose(rng)?;
    Some(operands(rng, scope, form, 0))
}

fn neighbour(rng: &mut StdRng, scope: &Scope, of: Type, depth: usize) -> Vec<Part> {
    let value = Part::One(expression(rng, scope, of, depth.min(1)));
    let (before, behind) = match rng.random_range(0..6) {
        0 => ("lag(", ")"),
        1 => ("lead(", ", 2)"),
        2 => ("first_value(", ")"),
        3 => ("last_value(", ")"),
        4 => ("nth_value(", ", 2)"),
        _ => {
            let default = Part::One(expression(rng, scope, of, 0));
            return vec!["lag(".into(), value, ", 1, ".into(), default, ")".into()];
        }
    };
    vec![before.into(), value, behind.into()]
}

fn frame(rng: &mut StdRng, total: bool) -> Option<Node> {
    const RANGES: [&str; 3] = [
        " RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
        " RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
    ];
    const ROWS: [&str; 6] = [
        " ROWS 1 PRECEDING",
        " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
        " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
        " ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING",
        " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        " ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING",
    ];
    if rng.random_bool(0.4) {
        return None;
    }
    let text = if total && rng.random_bool(0.7) { ROWS.choose(rng) } else { RANGES.choose(rng) };
    text.map(|text| Node::leaf(Sort::Fixed, *text))
}

/// An expression to order by, with a direction.
pub fn ordered(rng: &mut StdRng, scope: &Scope) -> Node {
    let of = Type::any(rng);
    let value = expression(rng, scope, of, 1);
    let direction = ["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"].choose(rng).copied().unwrap_or("");
    let direction = (!direction.is_empty()).then(|| Node::leaf(Sort::Fixed, direction));
    Node::of(Sort::Fixed, vec![Part::One(value), Part::maybe(direction)])
}
