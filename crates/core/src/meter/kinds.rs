//! Amounts by kind of device. A task has devices of one kind as a rule, so this is a short list and not a map with room for eleven.

use super::Amount;
use crate::model::DeviceKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Index;

/// Amounts by kind of device, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "BTreeMap<DeviceKind, Amount>", from = "BTreeMap<DeviceKind, Amount>")]
pub struct Kinds(Vec<(DeviceKind, Amount)>);

impl Kinds {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The amounts, in the order of their kinds.
    pub fn values(&self) -> impl Iterator<Item = &Amount> {
        self.0.iter().map(|(_, amount)| amount)
    }

    /// Kinds and amounts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceKind, Amount)> {
        self.0.iter().copied()
    }

    /// Adds an amount to what there is of a kind.
    pub fn add(&mut self, kind: DeviceKind, amount: Amount) {
        match self.0.binary_search_by_key(&kind, |(known, _)| *known) {
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    known.add(amount);
                }
            }
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (kind, amount));
            }
        }
    }
}

impl Index<&DeviceKind> for Kinds {
    type Output = Amount;

    /// # Panics
    /// When there is nothing of that kind.
    fn index(&self, kind: &DeviceKind) -> &Amount {
        let found = self.0.iter().find(|(known, _)| known == kind);
        found.map(|(_, amount)| amount).expect("the kind is there")
    }
}

impl From<BTreeMap<DeviceKind, Amount>> for Kinds {
    fn from(map: BTreeMap<DeviceKind, Amount>) -> Self {
        Self(map.into_iter().collect())
    }
}

impl From<Kinds> for BTreeMap<DeviceKind, Amount> {
    fn from(kinds: Kinds) -> Self {
        kinds.0.into_iter().collect()
    }
}
