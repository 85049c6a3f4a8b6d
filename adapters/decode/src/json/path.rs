//! The mapped paths as a tree of keys.

use kernel::{Error, Result, SqlState};

use super::scan::DEPTH_MAX;
use crate::plan::FieldMapping;

/// Index of a node; 0 is the whole message.
pub(crate) type NodeId = u32;

/// All paths of a plan.
#[derive(Debug)]
pub(crate) struct PathTree {
    nodes: Vec<Node>,
}

/// A key and where it leads.
#[derive(Debug)]
struct Child {
    /// See [`tag`]; children are ordered by it.
    tag: u64,
    key: Box<[u8]>,
    node: NodeId,
}

/// The first eight bytes of a key, mixed with its length: tells most keys apart without looking at the rest.
#[inline]
fn tag(key: &[u8]) -> u64 {
    let word = match key.first_chunk::<8>() {
        Some(first) => u64::from_le_bytes(*first),
        None => key.iter().fold(0, |word, &byte| word << 8 | byte as u64),
    };
    word ^ (key.len() as u64) << 56
}

/// A place in a message that a path leads to or through.
#[derive(Debug, Default)]
pub(crate) struct Node {
    children: Vec<Child>,
    /// Columns that take the value here.
    pub columns: Vec<u32>,
}

impl Node {
    /// True if paths go on from here.
    pub fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// Nodes below.
    pub fn children(&self) -> impl Iterator<Item = NodeId> {
        self.children.iter().map(|child| child.node)
    }

    /// The child with this key; looks at `hint` first, and leaves there where the next key may be expected.
    #[inline]
    pub fn child(&self, key: &[u8], hint: &mut usize) -> Option<NodeId> {
        const SCAN_MAX: usize = 16;
        let tag = tag(key);
        let is_it = |child: &Child| child.tag == tag && *child.key == *key;
        let place = match self.children.get(*hint) {
            Some(child) if is_it(child) => *hint,
            _ if self.children.len() <= SCAN_MAX => self.children.iter().position(is_it)?,
            _ => {
                let first = self.children.partition_point(|child| child.tag < tag);
                let same_tag = self.children[first..].iter().take_while(|child| child.tag == tag);
                first + same_tag.into_iter().position(is_it)?
            }
        };
        *hint = place + 1;
        Some(self.children[place].node)
    }
}

impl PathTree {
    /// The tree of these mappings' paths.
    pub fn new(fields: &[FieldMapping]) -> Result<PathTree> {
        let mut tree = PathTree { nodes: vec![Node::default()] };
        for (column, field) in fields.iter().enumerate() {
            if field.path.len() as u32 >= DEPTH_MAX {
                let text = format!("path of {} is deeper than {} levels", field.name, DEPTH_MAX - 1);
                return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, text));
            }
            let mut node = 0;
            for key in &field.path {
                node = tree.child_or_new(node, key.as_bytes());
            }
            tree.nodes[node as usize].columns.push(column as u32);
        }
        Ok(tree)
    }

    fn child_or_new(&mut self, node: NodeId, key: &[u8]) -> NodeId {
        if let Some(child) = self.node(node).child(key, &mut 0) {
            return child;
        }
        let new = self.nodes.len() as NodeId;
        let tag = tag(key);
        let children = &mut self.nodes[node as usize].children;
        let place = children.partition_point(|child| child.tag < tag);
        children.insert(place, Child { tag, key: key.into(), node: new });
        self.nodes.push(Node::default());
        new
    }

    /// A node.
    #[inline]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }
}
