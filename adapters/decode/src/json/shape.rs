//! The predicted reader: a tree of the message shapes seen so far.
//!
//! A message is a sequence of values with bytes between them. The bytes before the first value, between two values and
//! after the last one contain all its structure: braces, keys, colons, commas, white space. A path through the tree is
//! one shape: an edge's bytes, then a value, then the next edge's bytes. A message with the bytes of a whole path
//! between well-formed values has the structure of the message from which the path was learned, so it needs no other
//! check.

use super::general::Walk;
use super::path::{NodeId, PathTree};
use super::scan;
use crate::value::Column;

/// How many shapes are remembered. Its default is what a server uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShapeLimits {
    /// Edges in the tree before it is thrown away and grown anew,
    pub edges_max: usize,
    /// or bytes on them.
    pub bytes_max: usize,
    /// Messages that are read without prediction after the tree was thrown away: their shapes vary too much to pay for it.
    pub pause_messages: u32,
    /// Shapes with more values are not remembered.
    pub steps_max: usize,
}

impl Default for ShapeLimits {
    fn default() -> ShapeLimits {
        ShapeLimits { edges_max: 512, bytes_max: 64 << 10, pause_messages: 16 << 10, steps_max: 256 }
    }
}

/// Shapes seen so far.
#[derive(Debug)]
pub(crate) struct Shapes {
    /// What may come next, by place in the tree; 0 is the beginning of a message.
    places: Vec<Vec<Edge>>,
    edges: usize,
    bytes: usize,
    pause: u32,
    limits: ShapeLimits,
}

/// Bytes that may come next, and the value after them.
#[derive(Debug)]
struct Edge {
    bytes: Box<[u8]>,
    value: Value,
    /// Place after the value.
    next: u32,
}

/// What to do with a value.
#[derive(Debug)]
enum Value {
    /// It is for this column alone.
    Column { column: u32, depth: u32 },
    /// It is for the columns of this node, and paths may go on from it.
    Node { node: NodeId, depth: u32 },
    /// No column takes it, but it must be well formed.
    Skip { depth: u32 },
    /// There is none: the message ends here. These columns were missing.
    End { missing: Box<[u32]> },
}

impl Shapes {
    /// None yet.
    pub fn new(limits: ShapeLimits) -> Shapes {
        Shapes { places: vec![Vec::new()], edges: 0, bytes: 0, pause: 0, limits }
    }

    /// Reads a message of a known shape. False: the shape is unknown, or a value needs the general reader; columns may
    /// then be one value longer than before.
    pub fn read(
        &mut self,
        message: &[u8],
        paths: &PathTree,
        columns: &mut [Column],
        scratch: &mut Vec<u8>,
    ) -> bool {
        let (mut place, mut at) = (0, 0);
        while let Some(edge) = expected(&mut self.places[place], &message[at..]) {
            at += edge.bytes.len();
            let end = match &edge.value {
                &Value::Column { column, depth } => {
                    columns[column as usize].read_json(message, at, depth, scratch)
                }
                &Value::Skip { depth } => scan::token(message, at, depth).ok().map(|token| token.end),
                &Value::Node { node, depth } => read_node(message, at, paths, node, depth, columns, scratch),
                Value::End { missing } => {
                    return missing.iter().all(|&c| columns[c as usize].append_missing().is_ok());
                }
            };
            match end {
                Some(end) => at = end,
                None => return false,
            }
            place = edge.next as usize;
        }
        false
    }

    /// Remembers the shape of the message that was just walked.
    pub fn learn(&mut self, message: &[u8], walk: &Walk, paths: &PathTree) {
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        let Some(steps) = walk.shape() else { return };
        if self.edges + steps.len() >= self.limits.edges_max || self.bytes > self.limits.bytes_max {
            *self = Shapes { pause: self.limits.pause_messages, ..Shapes::new(self.limits) };
            return;
        }
        let (mut place, mut at) = (0, 0);
        for step in steps {
            let depth = step.depth;
            let value = match step.node.map(|id| (id, paths.node(id))) {
                None => Value::Skip { depth },
                Some((_, node)) if node.columns.len() == 1 && !node.has_children() => {
                    Value::Column { column: node.columns[0], depth }
                }
                Some((node, _)) => Value::Node { node, depth },
            };
            place = self.edge_or_new(place, &message[at..step.start], value);
            at = step.end;
        }
        let missing = (0..walk.columns() as u32).filter(|&c| walk.found(c as usize).is_none()).collect();
        self.edge_or_new(place, &message[at..], Value::End { missing });
    }

    fn edge_or_new(&mut self, place: usize, bytes: &[u8], value: Value) -> usize {
        let ends = matches!(value, Value::End { .. });
        let same = |e: &&Edge| *e.bytes == *bytes && matches!(e.value, Value::End { .. }) == ends;
        if let Some(edge) = self.places[place].iter().find(same) {
            return edge.next as usize;
        }
        let next = self.places.len();
        self.places.push(Vec::new());
        self.places[place].insert(0, Edge { bytes: bytes.into(), value, next: next as u32 });
        self.edges += 1;
        self.bytes += bytes.len();
        next
    }
}

/// The edge whose bytes come next, moved to the front.
#[inline]
fn expected<'a>(edges: &'a mut [Edge], rest: &[u8]) -> Option<&'a Edge> {
    if !edges.first()?.begins(rest) {
        let found = 1 + edges[1..].iter().position(|edge| edge.begins(rest))?;
        edges.swap(0, found);
    }
    Some(&edges[0])
}

impl Edge {
    #[inline]
    fn begins(&self, rest: &[u8]) -> bool {
        match self.value {
            Value::End { .. } => *self.bytes == *rest,
            _ => begins_with(rest, &self.bytes),
        }
    }
}

/// `starts_with` for the short texts between values: word by word in place, without a call.
#[inline]
fn begins_with(text: &[u8], prefix: &[u8]) -> bool {
    let Some(text) = text.get(..prefix.len()) else { return false };
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    let Some(last) = prefix.len().checked_sub(8) else {
        return text.iter().zip(prefix).all(|(a, b)| a == b);
    };
    let mut at = 0;
    while at < last {
        if word(&text[at..at + 8]) != word(&prefix[at..at + 8]) {
            return false;
        }
        at += 8;
    }
    // The last word may overlap the one before it.
    word(&text[last..]) == word(&prefix[last..])
}

/// A value that several columns take, or from which paths go on. An object in the latter case is for the general reader.
fn read_node(
    message: &[u8],
    at: usize,
    paths: &PathTree,
    node: NodeId,
    depth: u32,
    columns: &mut [Column],
    scratch: &mut Vec<u8>,
) -> Option<usize> {
    let node = paths.node(node);
    if node.has_children() && message.get(at) == Some(&b'{') {
        return None;
    }
    let token = scan::token(message, at, depth).ok()?;
    for &column in &node.columns {
        columns[column as usize].append_json(message, &token, scratch).ok()?;
    }
    Some(token.end)
}
