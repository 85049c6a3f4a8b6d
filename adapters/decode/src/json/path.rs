//! The mapped paths as a tree of keys.

use kernel::{Error, ErrorKind, Result};

use super::scan::DEPTH_MAX;
use crate::plan::FieldMapping;

/// Index of a node; 0 is the whole message.
pub(crate) type NodeId = u32;

/// All paths of a plan.
#[derive(Debug)]
pub(crate) struct PathTree {
    nodes: Vec<Node>,
}

/// A place in a message that a path leads to or through.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// By key, ordered by it.
    children: Vec<(Box<[u8]>, NodeId)>,
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
        self.children.iter().map(|(_, id)| *id)
    }

    /// The child with this key; looks at `hint` first, and leaves there where the next key may be expected.
    #[inline]
    pub fn child(&self, key: &[u8], hint: &mut usize) -> Option<NodeId> {
        let place = match self.children.get(*hint) {
            Some((expected, _)) if **expected == *key => *hint,
            _ => self.children.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?,
        };
        *hint = place + 1;
        Some(self.children[place].1)
    }
}

impl PathTree {
    /// The tree of these mappings' paths.
    pub fn new(fields: &[FieldMapping]) -> Result<PathTree> {
        let mut tree = PathTree { nodes: vec![Node::default()] };
        for (column, field) in fields.iter().enumerate() {
            if field.path.len() as u32 >= DEPTH_MAX {
                let text = format!("path of {} is deeper than {} levels", field.name, DEPTH_MAX - 1);
                return Err(Error::new(ErrorKind::InvalidParameterValue, text));
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
        let new = self.nodes.len() as NodeId;
        let children = &mut self.nodes[node as usize].children;
        match children.binary_search_by(|(k, _)| (**k).cmp(key)) {
            Ok(place) => children[place].1,
            Err(place) => {
                children.insert(place, (key.into(), new));
                self.nodes.push(Node::default());
                new
            }
        }
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
