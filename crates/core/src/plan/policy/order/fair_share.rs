//! Fair share: at each level of the tree the queue furthest below what it should have is next.
//!
//! The share and its paper are at [`crate::queue::Tree`]. A queue that has gangs of its own and queues below serves its own first.
//! Where not to use it: a single user's pool, where it is only a slower first come, first served.

use crate::queue::Tree;

/// The queue to serve next; `live` counts buckets in each queue and below.
pub fn next(tree: &Tree, live: &[u32], own: impl Fn(usize) -> bool) -> Option<usize> {
    let mut at = 0;
    if live.first().is_none_or(|count| *count == 0) {
        return None;
    }
    // Ends: each step goes one level down the tree.
    while !own(at) {
        at = tree.children[at]
            .iter()
            .copied()
            .filter(|child| live[*child] > 0)
            .min_by_key(|child| (tree.key(*child), *child))?;
    }
    Some(at)
}
