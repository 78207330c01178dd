//! Nodes by name. Names of one pool are alike in length and in their first letters, so a search by comparing them reads most of
//! each; here they are found by a number made of the name, and compared once.

use crate::ids::NodeName;
use std::collections::BTreeMap;

/// A map from names of nodes to small values, in no order that means anything.
#[derive(Clone, Debug)]
pub struct ByName<T> {
    /// By number: the first name that has it.
    first: BTreeMap<u64, (NodeName, T)>,
    /// Other names whose number was taken.
    others: BTreeMap<NodeName, T>,
    number: fn(&str) -> u64,
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self { first: BTreeMap::new(), others: BTreeMap::new(), number: fnv }
    }
}

/// FNV-1a over 64 bits (Fowler, Noll and Vo). Not for names that somebody makes up to slow a search down: those that share a
/// number are found as fast as in a plain map, no faster.
fn fnv(name: &str) -> u64 {
    name.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

impl<T: Copy> ByName<T> {
    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &NodeName) -> Option<T> {
        match self.first.get(&(self.number)(name.as_str()))? {
            (first, value) if first == name => Some(*value),
            _ => self.others.get(name).copied(),
        }
    }

    /// Gives a name a value; the one it had.
    pub fn insert(&mut self, name: NodeName, value: T) -> Option<T> {
        let number = (self.number)(name.as_str());
        match self.first.get_mut(&number) {
            Some((first, known)) if *first == name => Some(std::mem::replace(known, value)),
            Some(_) => self.others.insert(name, value),
            None => self.first.insert(number, (name, value)).map(|(_, before)| before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_as_a_map_also_where_numbers_are_shared(
            ops in prop::collection::vec((0_u32..40, any::<u32>()), 0..100),
            clash in any::<bool>(),
        ) {
            let mut names = ByName::default();
            if clash {
                names.number = |name| name.len() as u64;
            }
            let mut map = BTreeMap::new();
            for (name, value) in ops {
                let name = NodeName::from(format!("n{name}"));
                prop_assert_eq!(names.insert(name.clone(), value), map.insert(name, value));
            }
            for name in (0..40).map(|name| NodeName::from(format!("n{name}"))) {
                prop_assert_eq!(names.get(&name), map.get(&name).copied());
            }
        }
    }
}
