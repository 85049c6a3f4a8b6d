//! Queries of every shape: joins, groups and grouping sets, windows, set operations, common table expressions, derived tables, and
//! subqueries inside expressions.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::generate::Statement;
use crate::generate::expression::{Column, Scope, aggregate, condition, expression};
use crate::generate::types::Type;
use crate::generate::world::{NARROWS, Table, WIDES};
use crate::tree::{Node, Part, Sort};

/// The start of the ORDER BY of a whole statement, which orders the rows totally.
pub const ORDER: &str = "\nORDER BY ";

/// Expressions, over one table or none.
pub fn expressions(rng: &mut StdRng) -> Statement {
    let (from, scope) = if rng.random_bool(0.6) { wide(rng) } else { (None, Scope::default()) };
    let scope = Scope { windows: scope.windows && rng.random_bool(0.2), ..scope };
    let items = (0..rng.random_range(1..4)).map(|_| {
        let of = Type::any(rng);
        expression(rng, &scope, of, 3)
    });
    let mut parts = vec!["SELECT ".into(), Part::commas(items.collect())];
    parts.push(Part::maybe(from.map(|from| Node::of(Sort::Fixed, vec![" FROM ".into(), Part::One(from)]))));
    Statement { tree: Node::of(Sort::Query, parts), changes: None }
}

/// A query of any shape.
pub fn statement(rng: &mut StdRng) -> Statement {
    let types: Vec<Type> = (0..rng.random_range(1..4)).map(|_| Type::any(rng)).collect();
    let body = match rng.random_range(0..100) {
        0..15 => set_operation(rng, &types),
        15..27 => with(rng, &types),
        27..35 => over_derived(rng, &types),
        _ => {
            let (from, scope) = from(rng);
            select(rng, &types, from, scope)
        }
    };
    let order = rng.random_bool(0.25).then(|| order(rng, types.len()));
    Statement { tree: Node::of(Sort::Query, vec![Part::One(body), Part::maybe(order)]), changes: None }
}

/// Orders by every column, so that the order is total, which a limit requires.
fn order(rng: &mut StdRng, columns: usize) -> Node {
    let mut positions: Vec<usize> = (1..=columns).collect();
    positions.shuffle(rng);
    let directions = ["", " DESC", " NULLS FIRST", " DESC NULLS LAST"];
    let items: Vec<String> =
        positions.iter().map(|at| format!("{at}{}", directions.choose(rng).copied().unwrap_or(""))).collect();
    let limit = rng.random_bool(0.4).then(|| {
        let offset = if rng.random_bool(0.3) { " OFFSET 1" } else { "" };
        Node::leaf(Sort::Fixed, format!(" LIMIT {}{offset}", rng.random_range(0..5)))
    });
    Node::of(Sort::Fixed, vec![Part::text(format!("{ORDER}{}", items.join(", "))), Part::maybe(limit)])
}

/// A SELECT of expressions of these types.
pub fn select(rng: &mut StdRng, types: &[Type], from: Node, scope: Scope) -> Node {
    let mut parts = vec!["SELECT ".into()];
    let grouped = rng.random_bool(0.3);
    let depth = rng.random_range(1..3);
    let filter =
        rng.random_bool(0.4).then(|| condition(rng, &Scope { windows: false, ..scope.clone() }, depth));
    let filter = filter.map(|node| Node::of(Sort::Fixed, vec![" WHERE ".into(), Part::One(node)]));
    if !grouped {
        let distinct = !types.contains(&Type::Interval) && rng.random_bool(0.08);
        parts.push(Part::maybe(distinct.then(|| Node::leaf(Sort::Fixed, "DISTINCT "))));
        let items = types.iter().map(|of| expression(rng, &scope, *of, depth)).collect();
        parts.extend([Part::commas(items), " FROM ".into(), Part::One(from), Part::maybe(filter)]);
        return Node::of(Sort::Query, parts);
    }
    let count = rng.random_range(0..3);
    let by: Vec<Column> = scope.columns.choose_multiple(rng, count).cloned().collect();
    let group = (!by.is_empty()).then(|| group_by(rng, &by));
    let inside =
        Scope { columns: by, grouped: Some(scope.columns), keys: Vec::new(), windows: false, subqueries: 0 };
    let items = types.iter().map(|of| expression(rng, &inside, *of, depth)).collect();
    let having = rng.random_bool(0.2).then(|| condition(rng, &inside, 1));
    let having = having.map(|node| Node::of(Sort::Fixed, vec![" HAVING ".into(), Part::One(node)]));
    parts.extend([Part::commas(items), " FROM ".into(), Part::One(from), Part::maybe(filter)]);
    parts.extend([Part::maybe(group), Part::maybe(having)]);
    Node::of(Sort::Query, parts)
}

fn group_by(rng: &mut StdRng, by: &[Column]) -> Node {
    let items = by.iter().map(|column| Node::leaf(Sort::Fixed, column.name.clone())).collect();
    let (before, behind) = match rng.random_range(0..8) {
        0 => ("ROLLUP (", ")"),
        1 => ("CUBE (", ")"),
        2 => ("GROUPING SETS ((), ", ")"),
        _ => ("", ""),
    };
    Node::of(Sort::Fixed, vec![" GROUP BY ".into(), before.into(), Part::commas(items), behind.into()])
}

fn set_operation(rng: &mut StdRng, types: &[Type]) -> Node {
    // Rows that are equal but printed differently would be ambiguous.
    let types: Vec<Type> =
        types.iter().map(|of| if *of == Type::Interval { Type::Date } else { *of }).collect();
    let operation = [" UNION ALL ", " UNION ", " INTERSECT ", " INTERSECT ALL ", " EXCEPT ", " EXCEPT ALL "];
    let mut side = || {
        let (from, scope) = from(rng);
        Part::One(select(rng, &types, from, scope))
    };
    let (left, right) = (side(), side());
    let operation = operation.choose(rng).copied().unwrap_or(" UNION ");
    Node::of(Sort::Query, vec!["(".into(), left, ")".into(), operation.into(), "(".into(), right, ")".into()])
}

fn with(rng: &mut StdRng, types: &[Type]) -> Node {
    let inner: Vec<Type> = types.iter().copied().chain([Type::any(rng)]).collect();
    let (inner_from, inner_scope) = from(rng);
    let inner_query = select(rng, &inner, inner_from, inner_scope);
    let names: Vec<String> = (0..inner.len()).map(|at| format!("c{at}")).collect();
    let columns = names.iter().zip(&inner).map(|(name, of)| Column { name: format!("w.{name}"), of: *of });
    let scope = Scope { columns: columns.collect(), subqueries: 1, ..Scope::default() };
    let outer = select(rng, types, Node::leaf(Sort::Fixed, "w"), scope);
    let head = format!("WITH w({}) AS (", names.join(", "));
    Node::of(Sort::Query, vec![Part::text(head), Part::One(inner_query), ") ".into(), Part::One(outer)])
}

fn over_derived(rng: &mut StdRng, types: &[Type]) -> Node {
    let inner: Vec<Type> = types.iter().copied().chain([Type::any(rng)]).collect();
    let (inner_from, inner_scope) = from(rng);
    let inner_query = select(rng, &inner, inner_from, inner_scope);
    let names: Vec<String> = (0..inner.len()).map(|at| format!("c{at}")).collect();
    let columns = names.iter().zip(&inner).map(|(name, of)| Column { name: format!("s.{name}"), of: *of });
    let scope = Scope { columns: columns.collect(), subqueries: 1, ..Scope::default() };
    let tail = format!(") s({})", names.join(", "));
    let derived = Node::of(Sort::Fixed, vec!["(".into(), Part::One(inner_query), Part::text(tail)]);
    select(rng, types, derived, scope)
}

/// The FROM clause, and its scope.
fn from(rng: &mut StdRng) -> (Node, Scope) {
    match rng.random_range(0..100) {
        0..45 => {
            let (from, scope) = wide(rng);
            (from.expect("a wide table is a table"), scope)
        }
        45..65 => wide_join(rng),
        65..92 => narrow_join(rng),
        92..96 => (
            Node::leaf(Sort::Fixed, "generate_series(1, 4) g(g)"),
            Scope {
                columns: vec![Column { name: "g.g".into(), of: Type::Int4 }],
                keys: vec!["g.g".into()],
                windows: true,
                subqueries: 1,
                grouped: None,
            },
        ),
        _ => values(rng),
    }
}

fn values(rng: &mut StdRng) -> (Node, Scope) {
    let types = [Type::any(rng), Type::any(rng)];
    let row = |rng: &mut StdRng| {
        let cells = types.iter().map(|of| Node::leaf(Sort::Expression(*of), of.constant(rng))).collect();
        Node::of(Sort::Fixed, vec!["(".into(), Part::commas(cells), ")".into()])
    };
    let rows = (0..rng.random_range(1..5)).map(|_| row(rng)).collect();
    let from = Node::of(Sort::Fixed, vec!["(VALUES ".into(), Part::commas(rows), ") v(p, q)".into()]);
    let column = |name: &str, of| Column { name: name.to_string(), of };
    let columns = vec![column("v.p", types[0]), column("v.q", types[1])];
    (from, Scope { columns, subqueries: 1, ..Scope::default() })
}

fn qualified(table: &Table, alias: &str) -> Vec<Column> {
    table.columns.iter().map(|(name, of)| Column { name: format!("{alias}.{name}"), of: *of }).collect()
}

fn wide(rng: &mut StdRng) -> (Option<Node>, Scope) {
    let table = WIDES.choose(rng).expect("there are wide tables");
    let columns = qualified(table, "a");
    let from = Node::leaf(Sort::Fixed, format!("{} a", table.name));
    (Some(from), Scope { columns, keys: vec!["a.id".into()], windows: true, subqueries: 2, grouped: None })
}

fn wide_join(rng: &mut StdRng) -> (Node, Scope) {
    let mut columns = qualified(&WIDES[0], "a");
    columns.extend(qualified(&WIDES[1], "b"));
    let scope = Scope {
        columns,
        keys: vec!["a.id".into(), "b.id".into()],
        windows: true,
        subqueries: 1,
        grouped: None,
    };
    let kind = [" JOIN ", " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN ", " CROSS JOIN "]
        .choose(rng)
        .copied()
        .unwrap_or("");
    let mut parts = vec!["ta a".into(), kind.into(), "tb b".into()];
    let equal =
        ["a.id = b.id", "a.i4 = b.i4", "a.s = b.s", "a.n = b.n", "a.d = b.d", "a.i2 = b.i8", "a.f8 = b.n"];
    let equal = equal.choose(rng).copied().unwrap_or("true");
    match kind {
        " CROSS JOIN " => {}
        // PostgreSQL's full join needs an equality.
        " FULL JOIN " => parts.extend([" ON ".into(), equal.into()]),
        _ if rng.random_bool(0.6) => {
            let plain = Scope { windows: false, subqueries: 0, ..scope.clone() };
            let more = rng.random_bool(0.4).then(|| condition(rng, &plain, 1));
            let more = more.map(|node| Node::of(Sort::Fixed, vec![" AND ".into(), Part::One(node)]));
            parts.extend([" ON ".into(), equal.into(), Part::maybe(more)]);
        }
        _ => {
            let plain = Scope { windows: false, subqueries: 0, ..scope.clone() };
            parts.extend([" ON ".into(), Part::One(condition(rng, &plain, 2))]);
        }
    }
    (Node::of(Sort::Fixed, parts), scope)
}

fn narrow_join(rng: &mut StdRng) -> (Node, Scope) {
    let count = rng.random_range(2..4);
    let tables: Vec<&Table> = NARROWS.choose_multiple(rng, count).collect();
    let natural = tables.len() == 2 && rng.random_bool(0.4);
    let mut parts = vec![Part::text(tables[0].name)];
    for table in &tables[1..] {
        let kind =
            [" JOIN ", " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN "].choose(rng).copied().unwrap_or(" JOIN ");
        let text = match natural {
            true => format!(" NATURAL{kind}{}", table.name),
            false => format!("{kind}{} USING (id)", table.name),
        };
        parts.push(Part::maybe(Some(Node::leaf(Sort::Fixed, text))));
    }
    let mut columns = vec![Column { name: "id".into(), of: Type::Int4 }];
    for table in &tables {
        columns.extend(qualified(table, table.name));
    }
    if natural {
        let shared = tables[0]
            .columns
            .iter()
            .filter(|column| *column.0 != *"id" && tables[1].columns.contains(column));
        columns.extend(shared.map(|(name, of)| Column { name: name.to_string(), of: *of }));
    }
    (Node::of(Sort::Fixed, parts), Scope { columns, subqueries: 1, ..Scope::default() })
}

/// A subquery as an expression of a type, often correlated.
pub fn in_expression(rng: &mut StdRng, outer: &Scope, of: Type) -> Node {
    let alias = format!("q{}", outer.subqueries);
    let table =
        if rng.random_bool(0.6) { &WIDES[rng.random_range(0..2)] } else { &NARROWS[rng.random_range(0..4)] };
    let own = qualified(table, &alias);
    let mut columns = own.clone();
    if rng.random_bool(0.6) {
        columns.extend(outer.columns.iter().cloned());
    }
    let scope = Scope { columns, subqueries: outer.subqueries - 1, ..Scope::default() };
    let filter = rng.random_bool(0.7).then(|| condition(rng, &scope, 1));
    let filter = filter.map(|node| Node::of(Sort::Fixed, vec![" WHERE ".into(), Part::One(node)]));
    let from = Part::text(format!(" FROM {} {alias}", table.name));
    if of == Type::Bool && rng.random_bool(0.7) {
        return predicate(rng, outer, &scope, from, filter);
    }
    let own = Scope { columns: own, ..Scope::default() };
    let value = match aggregate(rng, &own, of, 1) {
        Some(node) if rng.random_bool(0.7) => vec![Part::One(node), from, Part::maybe(filter)],
        _ => {
            let value = expression(rng, &scope, of, 1);
            let one = format!("{alias}.id = {}", rng.random_range(1..10));
            // No row, or one: the wide tables have each id once.
            let at_most_one = if table.keyed { format!(" WHERE {one}") } else { " LIMIT 0".to_string() };
            vec![Part::One(value), from, Part::text(at_most_one)]
        }
    };
    let mut parts = vec!["(SELECT ".into()];
    parts.extend(value);
    parts.push(")".into());
    Node::of(Sort::Expression(of), parts)
}

fn predicate(rng: &mut StdRng, outer: &Scope, scope: &Scope, from: Part, filter: Option<Node>) -> Node {
    let of = [Type::Int4, Type::Numeric, Type::Text, Type::Date, Type::Int8, Type::Float];
    let of = of.choose(rng).copied().unwrap_or(Type::Int4);
    let plain = Scope { windows: false, subqueries: 0, ..outer.clone() };
    let mut parts = match rng.random_range(0..10) {
        0..2 => vec!["EXISTS (SELECT 1".into()],
        2 => vec!["NOT EXISTS (SELECT 1".into()],
        kind => {
            let operator = match kind {
                3..5 => " IN (SELECT ",
                5..7 => " NOT IN (SELECT ",
                7 => " > ANY (SELECT ",
                8 => " <> ALL (SELECT ",
                _ => " >= ALL (SELECT ",
            };
            let (left, right) = (expression(rng, &plain, of, 1), expression(rng, scope, of, 1));
            vec!["(".into(), Part::One(left), operator.into(), Part::One(right)]
        }
    };
    let closes = if parts.len() > 1 { "))" } else { ")" };
    parts.extend([from, Part::maybe(filter), closes.into()]);
    Node::of(Sort::Expression(Type::Bool), parts)
}
