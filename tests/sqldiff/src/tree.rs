//! A statement as a tree that can be shrunk without knowledge of SQL: an expression may become a part of itself of its
//! type or a constant, a query a part of itself; optional parts and members of lists may be removed. PostgreSQL rejects
//! an invalid result, which is then not a smaller example.

use std::borrow::Cow;

use crate::generate::types::Type;

/// The possible replacements of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// An expression of a type.
    Expression(Type),
    /// A query.
    Query,
    /// Nothing.
    Fixed,
}

/// A node: text and other nodes, in order.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its possible replacements.
    pub sort: Sort,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// A part of a node.
#[derive(Clone, Debug)]
pub enum Part {
    /// Text.
    Text(Cow<'static, str>),
    /// A node.
    One(Node),
    /// An optional node, or a removed one.
    Maybe(Option<Box<Node>>),
    /// A list with a least number of members.
    Many {
        /// Its members.
        items: Vec<Node>,
        /// The text between them.
        separator: &'static str,
        /// How many must stay.
        least: usize,
    },
}

impl Node {
    /// A node of text alone.
    pub fn leaf(sort: Sort, text: impl Into<Cow<'static, str>>) -> Node {
        Node { sort, parts: vec![Part::Text(text.into())] }
    }

    /// A node of parts.
    pub fn of(sort: Sort, parts: Vec<Part>) -> Node {
        Node { sort, parts }
    }

    /// The statement.
    pub fn sql(&self) -> String {
        let mut out = String::new();
        self.render(&mut out);
        out
    }

    /// Its size, which shrinking must reduce.
    pub fn weight(&self) -> usize {
        let inner: usize = self.parts.iter().flat_map(Part::nodes).map(Node::weight).sum();
        let text: usize =
            self.parts.iter().map(|part| if let Part::Text(text) = part { text.len() } else { 0 }).sum();
        inner + text + 20
    }

    /// Everything that is smaller by one step, largest steps first.
    pub fn smaller(&self) -> Vec<Node> {
        let mut found: Vec<Node> =
            self.steps().into_iter().filter(|node| node.weight() < self.weight()).collect();
        found.sort_by_key(Node::weight);
        found
    }

    /// The text with a name of its type for every constant and column: the common form of statements of one kind.
    pub fn skeleton(&self) -> String {
        match (self.sort, self.parts.as_slice()) {
            (Sort::Expression(of), [Part::Text(_)]) => of.name().to_string(),
            _ => {
                let mut out = String::new();
                self.join(&mut out, &|node, out| out.push_str(&node.skeleton()));
                out
            }
        }
    }

    fn render(&self, out: &mut String) {
        self.join(out, &|node, out| node.render(out));
    }

    fn join(&self, out: &mut String, each: &dyn Fn(&Node, &mut String)) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::One(node) => each(node, out),
                Part::Maybe(node) => node.iter().for_each(|node| each(node, out)),
                Part::Many { items, separator, .. } => {
                    for (index, item) in items.iter().enumerate() {
                        if index > 0 {
                            out.push_str(separator);
                        }
                        each(item, out);
                    }
                }
            }
        }
    }

    fn steps(&self) -> Vec<Node> {
        let mut found = self.stand_ins();
        for (index, part) in self.parts.iter().enumerate() {
            let mut with = |part: Part| {
                let mut node = self.clone();
                node.parts[index] = part;
                found.push(node);
            };
            match part {
                Part::Text(_) | Part::Maybe(None) => {}
                Part::One(node) => node.steps().into_iter().for_each(|node| with(Part::One(node))),
                Part::Maybe(Some(node)) => {
                    with(Part::Maybe(None));
                    node.steps().into_iter().for_each(|node| with(Part::Maybe(Some(Box::new(node)))));
                }
                Part::Many { items, separator, least } => {
                    let many = |items| Part::Many { items, separator, least: *least };
                    if items.len() > *least {
                        for at in 0..items.len() {
                            let rest = items
                                .iter()
                                .enumerate()
                                .filter(|(i, _)| *i != at)
                                .map(|(_, item)| item.clone());
                            with(many(rest.collect()));
                        }
                    }
                    for (at, item) in items.iter().enumerate() {
                        for step in item.steps() {
                            let mut items = items.clone();
                            items[at] = step;
                            with(many(items));
                        }
                    }
                }
            }
        }
        found
    }

    /// Parts of this node that may replace it, and a constant.
    fn stand_ins(&self) -> Vec<Node> {
        let mut found = Vec::new();
        match self.sort {
            Sort::Fixed => return found,
            Sort::Query => self.descend(&mut |node| node.sort == Sort::Query, &mut found),
            Sort::Expression(of) => {
                self.descend(&mut |node| node.sort == Sort::Expression(of), &mut found);
                if !matches!(self.parts.as_slice(), [Part::Text(_)]) {
                    found.push(Node::leaf(self.sort, of.plain()));
                    found.push(Node::leaf(self.sort, of.null()));
                }
            }
        }
        found
    }

    fn descend(&self, wanted: &mut dyn FnMut(&Node) -> bool, found: &mut Vec<Node>) {
        for node in self.parts.iter().flat_map(Part::nodes) {
            if wanted(node) {
                found.push(node.clone());
            }
            node.descend(wanted, found);
        }
    }
}

impl Part {
    /// Text.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Part {
        Part::Text(text.into())
    }

    /// An optional node.
    pub fn maybe(node: Option<Node>) -> Part {
        Part::Maybe(node.map(Box::new))
    }

    /// A list with commas.
    pub fn commas(items: Vec<Node>) -> Part {
        Part::Many { items, separator: ", ", least: 1 }
    }

    fn nodes(&self) -> Box<dyn Iterator<Item = &Node> + '_> {
        match self {
            Part::Text(_) => Box::new(std::iter::empty()),
            Part::One(node) => Box::new(std::iter::once(node)),
            Part::Maybe(node) => Box::new(node.iter().map(AsRef::as_ref)),
            Part::Many { items, .. } => Box::new(items.iter()),
        }
    }
}

impl From<&'static str> for Part {
    fn from(text: &'static str) -> Part {
        Part::text(text)
    }
}
