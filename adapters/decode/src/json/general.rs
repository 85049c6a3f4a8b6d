//! The general reader: walks a message key by key and notes the location of the value of each mapped path. It converts
//! nothing.

use super::path::{NodeId, PathTree};
use super::scan::{self, Flaw, Kind, Scan, Token};
use super::{Refusal, ShapeLimits};

/// What was found in one message. Reused from message to message.
#[derive(Debug)]
pub(crate) struct Walk {
    /// By column.
    found: Vec<Option<Token>>,
    /// By node: number of the message in which it was last met.
    met: Vec<u64>,
    message: u64,
    /// The values that were passed over or taken, in order: the message's shape.
    steps: Vec<Step>,
    /// See [`ShapeLimits`].
    pub steps_max: usize,
    /// False if the shape is too variable to predict the next message from it.
    predictable: bool,
}

/// One value of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// First byte of the value.
    pub start: usize,
    /// Byte after it.
    pub end: usize,
    /// Containers around it.
    pub depth: u32,
    /// Node of its path; None if no path leads there.
    pub node: Option<NodeId>,
}

impl Walk {
    /// For messages of a plan with this many columns.
    pub fn new(paths: &PathTree, columns: usize) -> Walk {
        Walk {
            found: vec![None; columns],
            met: vec![0; paths.len()],
            message: 0,
            steps: Vec::new(),
            steps_max: ShapeLimits::default().steps_max,
            predictable: true,
        }
    }

    /// Where the value of a column is, in the last message.
    pub fn found(&self, column: usize) -> Option<Token> {
        self.found[column]
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.found.len()
    }

    /// The shape of the last message, if a later one can be predicted from it.
    pub fn shape(&self) -> Option<&[Step]> {
        self.predictable.then_some(&self.steps)
    }

    /// Reads a whole message.
    pub fn message(&mut self, message: &[u8], paths: &PathTree) -> Result<(), Refusal> {
        self.message += 1;
        self.found.fill(None);
        self.steps.clear();
        self.predictable = true;

        let root = paths.node(0);
        let start = scan::skip_space(message, 0);
        let is_object = message.get(start) == Some(&b'{');
        let end = if is_object && root.columns.is_empty() {
            self.object(message, start, paths, 0, 0)?
        } else {
            self.predictable = false;
            let token = scan::token(message, start, 0)?;
            self.take(&token, &root.columns);
            if root.has_children() && is_object {
                self.object(message, start, paths, 0, 0)?;
            } else if root.columns.is_empty() {
                return Err(Refusal::NotAnObject(describe(token.kind)));
            }
            token.end
        };
        let rest = scan::skip_space(message, end);
        if rest != message.len() {
            return Err(Refusal::Malformed(Flaw { at: rest, what: "the end of the message" }));
        }
        Ok(())
    }

    fn take(&mut self, token: &Token, columns: &[u32]) {
        for &column in columns {
            self.found[column as usize] = Some(*token);
        }
    }

    /// Reads the object that begins at `at`, `depth` containers deep; returns its end. The recursion is as deep as the
    /// longest path of the plan.
    fn object(&mut self, message: &[u8], at: usize, paths: &PathTree, id: NodeId, depth: u32) -> Scan<usize> {
        let node = paths.node(id);
        let mut hint = 0;
        let mut at = scan::skip_space(message, at + 1);
        if message.get(at) == Some(&b'}') {
            return Ok(at + 1);
        }
        loop {
            let (quote, escaped, value) = scan::key(message, at)?;
            let key = &message[at + 1..quote];
            let child = if escaped { self.unescaped_child(key, node) } else { node.child(key, &mut hint) };
            let end = match child {
                Some(child) => self.mapped(message, value, paths, child, depth + 1)?,
                None => self.step(&scan::token(message, value, depth + 1)?, depth + 1, None),
            };
            at = scan::skip_space(message, end);
            match message.get(at) {
                Some(b',') => at = scan::skip_space(message, at + 1),
                Some(b'}') => return Ok(at + 1),
                _ => return Err(Flaw { at, what: "a comma or }" }),
            }
        }
    }

    /// A key with escapes is compared by its text. A key with half of a surrogate pair matches no path.
    fn unescaped_child(&self, key: &[u8], node: &super::path::Node) -> Option<NodeId> {
        let mut text = Vec::new();
        scan::unescape(key, &mut text).ok()?;
        node.child(&text, &mut 0)
    }

    /// Reads a value on a mapped path.
    fn mapped(&mut self, message: &[u8], at: usize, paths: &PathTree, id: NodeId, depth: u32) -> Scan<usize> {
        if self.met[id as usize] == self.message {
            self.predictable = false;
            self.forget(paths, id);
        }
        self.met[id as usize] = self.message;

        let node = paths.node(id);
        let goes_on = node.has_children() && message.get(at) == Some(&b'{');
        if goes_on && node.columns.is_empty() {
            return self.object(message, at, paths, id, depth);
        }
        let token = scan::token(message, at, depth)?;
        self.take(&token, &node.columns);
        if goes_on {
            self.predictable = false;
            return self.object(message, at, paths, id, depth);
        }
        Ok(self.step(&token, depth, Some(id)))
    }

    /// The last of duplicate keys counts: what an earlier one led to is dropped.
    fn forget(&mut self, paths: &PathTree, id: NodeId) {
        for &column in &paths.node(id).columns {
            self.found[column as usize] = None;
        }
        for child in paths.node(id).children() {
            self.forget(paths, child);
        }
    }

    fn step(&mut self, token: &Token, depth: u32, node: Option<NodeId>) -> usize {
        if self.steps.len() < self.steps_max {
            self.steps.push(Step { start: token.start, end: token.end, depth, node });
        } else {
            self.predictable = false;
        }
        token.end
    }
}

fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::True | Kind::False => "a boolean",
        Kind::Number => "a number",
        Kind::String => "a string",
        Kind::Array => "an array",
        Kind::Object => "an object",
    }
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Refusal {
        Refusal::Malformed(flaw)
    }
}
