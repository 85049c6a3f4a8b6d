//! Writes to one table: INSERT of values and of queries, ON CONFLICT, UPDATE, DELETE.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::generate::Statement;
use crate::generate::expression::{Column, Scope, condition, expression};
use crate::generate::types::Type;
use crate::generate::world::CHANGED;
use crate::tree::{Node, Part, Sort};

/// A statement that changes `up`.
pub fn statement(rng: &mut StdRng) -> Statement {
    let tree = match rng.random_range(0..10) {
        0..5 => insert(rng),
        5..8 => update(rng),
        _ => delete(rng),
    };
    Statement { tree, changes: Some(CHANGED.name) }
}

fn own(prefix: &str) -> Vec<Column> {
    CHANGED.columns.iter().map(|(name, of)| Column { name: format!("{prefix}{name}"), of: *of }).collect()
}

/// Some columns besides the key.
fn some(rng: &mut StdRng) -> Vec<(&'static str, Type)> {
    let count = rng.random_range(1..4);
    CHANGED.columns[1..].choose_multiple(rng, count).copied().collect()
}

fn insert(rng: &mut StdRng) -> Node {
    let columns = some(rng);
    let names: Vec<&str> = std::iter::once("id").chain(columns.iter().map(|(name, _)| *name)).collect();
    let mut parts = vec![Part::text(format!("INSERT INTO up({}) ", names.join(", ")))];
    if rng.random_bool(0.7) {
        let scope = Scope::default();
        let row = |rng: &mut StdRng, id: usize| {
            let mut cells = vec![Node::leaf(Sort::Fixed, id.to_string())];
            cells.extend(columns.iter().map(|(_, of)| expression(rng, &scope, *of, 1)));
            Node::of(
                Sort::Fixed,
                vec!["(".into(), Part::Many { items: cells, separator: ", ", least: 2 }, ")".into()],
            )
        };
        let rows = (0..rng.random_range(1..4)).map(|_| {
            let id = rng.random_range(1..9);
            row(rng, id)
        });
        let rows = rows.collect();
        parts.extend(["VALUES ".into(), Part::commas(rows)]);
    } else {
        let scope = Scope { columns: own("u."), subqueries: 1, ..Scope::default() };
        let mut items = vec![Node::leaf(Sort::Fixed, format!("u.id + {}", rng.random_range(0..6)))];
        items.extend(columns.iter().map(|(_, of)| expression(rng, &scope, *of, 2)));
        let filter = rng.random_bool(0.5).then(|| condition(rng, &scope, 1));
        let filter = filter.map(|node| Node::of(Sort::Fixed, vec![" WHERE ".into(), Part::One(node)]));
        let items = Part::Many { items, separator: ", ", least: 2 };
        parts.extend(["SELECT ".into(), items, " FROM up u".into(), Part::maybe(filter)]);
    }
    parts.push(Part::maybe(conflict(rng)));
    Node::of(Sort::Fixed, parts)
}

fn conflict(rng: &mut StdRng) -> Option<Node> {
    match rng.random_range(0..10) {
        0..2 => None,
        2 => Some(Node::leaf(Sort::Fixed, " ON CONFLICT DO NOTHING")),
        _ => {
            let mut columns = own("up.");
            columns.extend(own("excluded."));
            let scope = Scope { columns, ..Scope::default() };
            let sets = assignments(rng, &scope);
            let filter = rng.random_bool(0.25).then(|| condition(rng, &scope, 1));
            let filter = filter.map(|node| Node::of(Sort::Fixed, vec![" WHERE ".into(), Part::One(node)]));
            let head = " ON CONFLICT (id) DO UPDATE SET ".into();
            Some(Node::of(Sort::Fixed, vec![head, Part::commas(sets), Part::maybe(filter)]))
        }
    }
}

fn assignments(rng: &mut StdRng, scope: &Scope) -> Vec<Node> {
    let columns = some(rng);
    let set = |(name, of): (&str, Type)| {
        // Assignment converts between these as a cast does.
        let from = match of {
            Type::Int2 | Type::Int8 | Type::Numeric | Type::Float if rng.random_bool(0.3) => {
                [Type::Int4, Type::Numeric, Type::Float].choose(rng).copied().unwrap_or(of)
            }
            Type::Varchar if rng.random_bool(0.5) => Type::Text,
            Type::Timestamp if rng.random_bool(0.2) => Type::Date,
            _ => of,
        };
        let value = expression(rng, scope, from, 2);
        Node::of(Sort::Fixed, vec![Part::text(format!("{name} = ")), Part::One(value)])
    };
    columns.into_iter().map(set).collect()
}

fn update(rng: &mut StdRng) -> Node {
    let scope = Scope { columns: own("up."), subqueries: 1, ..Scope::default() };
    let sets = assignments(rng, &scope);
    let filter = rng.random_bool(0.7).then(|| condition(rng, &scope, 2));
    let filter = filter.map(|node| Node::of(Sort::Fixed, vec![" WHERE ".into(), Part::One(node)]));
    Node::of(Sort::Fixed, vec!["UPDATE up SET ".into(), Part::commas(sets), Part::maybe(filter)])
}

fn delete(rng: &mut StdRng) -> Node {
    let scope = Scope { columns: own("up."), subqueries: 1, ..Scope::default() };
    let filter = condition(rng, &scope, 2);
    Node::of(Sort::Fixed, vec!["DELETE FROM up WHERE ".into(), Part::One(filter)])
}
