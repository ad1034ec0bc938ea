//! Finding what a checkpoint has to write.

use super::entry::{FANOUT, Place};
use super::node::{Inner, Node};
use super::tree::Tree;

/// Walk over the nodes of one frozen tree that have no copy on disk, children before parents. It holds nothing but
/// its position, so it can be kept between steps; always give it the same tree. Below a node that has a copy nothing
/// is looked at: everything there has one.
///
/// Each node must be given its [`super::DiskRef`] before any walk takes another step, so that its parent can name it
/// and what trees share is found once.
#[derive(Debug, Default)]
pub struct Walk {
    /// For each inner node that was entered and not answered yet, from the root down: the next child to look at.
    /// `None` before the first step.
    path: Option<Vec<u16>>,
}

/// A node to be written.
#[derive(Debug)]
pub struct Unwritten<'a> {
    /// The node.
    pub node: &'a Node,
    /// Where it stands in its tree.
    pub place: Place,
}

impl Walk {
    /// The next node to be written, if there is one.
    pub fn next<'a>(&mut self, tree: &'a Tree) -> Option<Unwritten<'a>> {
        let root = tree.root()?;
        if self.path.is_none() && root.disk().is_none() {
            match root {
                Node::Leaf(_) => {
                    self.path = Some(Vec::new());
                    return Some(Unwritten { node: root, place: Place { level: 0, index: 0 } });
                }
                Node::Inner(_) => self.path = Some(vec![0]),
            }
        }
        self.advance(root)
    }

    fn advance<'a>(&mut self, root: &'a Node) -> Option<Unwritten<'a>> {
        let path = self.path.get_or_insert_default();
        while let Some((next, above)) = path.split_last_mut() {
            let (index, node) = follow(root, above);
            let Node::Inner(inner) = node else { unreachable!("only inner nodes are entered") };
            match next_unwritten(inner, *next) {
                Some((child, leaf @ Node::Leaf(_))) => {
                    *next = child + 1;
                    let index = index * FANOUT + usize::from(child);
                    return Some(Unwritten { node: leaf, place: place(0, index) });
                }
                Some((child, Node::Inner(_))) => {
                    *next = child + 1;
                    path.push(0);
                }
                None => {
                    path.pop();
                    if node.disk().is_none() {
                        return Some(Unwritten { node, place: place(inner.level(), index) });
                    }
                }
            }
        }
        None
    }
}

fn place(level: u8, index: usize) -> Place {
    Place { level, index: u32::try_from(index).expect("2^24 leaves at most") }
}

/// The node to which the entered children lead, and its index in its level.
fn follow<'a>(root: &'a Node, entered: &[u16]) -> (usize, &'a Node) {
    entered.iter().fold((0, root), |(index, node), next| {
        let child = usize::from(*next) - 1;
        (index * FANOUT + child, node.below(node.level(), child).expect("an image does not change"))
    })
}

fn next_unwritten(inner: &Inner, from: u16) -> Option<(u16, &Node)> {
    let children = inner.children().map(|(index, child)| (u16::from(index), child));
    children.skip_while(|(index, _)| *index < from).find(|(_, child)| child.disk().is_none())
}
