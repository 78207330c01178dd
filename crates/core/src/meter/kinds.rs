//! Amounts by kind of device. A task has devices of one kind as a rule, so the first has its place here, and others a short list.

use super::Amount;
use crate::model::DeviceKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Index;

/// Amounts by kind of device, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "BTreeMap<DeviceKind, Amount>", from = "BTreeMap<DeviceKind, Amount>")]
pub struct Kinds {
    first: Option<(DeviceKind, Amount)>,
    /// Kinds behind the first, ascending.
    rest: Vec<(DeviceKind, Amount)>,
}

impl Kinds {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The amounts, in the order of their kinds.
    pub fn values(&self) -> impl Iterator<Item = &Amount> {
        self.first.iter().chain(&self.rest).map(|(_, amount)| amount)
    }

    /// Kinds and amounts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceKind, Amount)> {
        self.first.iter().chain(&self.rest).copied()
    }

    /// Adds an amount to what there is of a kind.
    pub fn add(&mut self, kind: DeviceKind, amount: Amount) {
        match &mut self.first {
            Some((first, known)) if *first == kind => known.add(amount),
            None => self.first = Some((kind, amount)),
            Some(first) => {
                let (kind, amount) =
                    if kind < first.0 { std::mem::replace(first, (kind, amount)) } else { (kind, amount) };
                match self.rest.binary_search_by_key(&kind, |(known, _)| *known) {
                    Ok(at) => {
                        if let Some((_, known)) = self.rest.get_mut(at) {
                            known.add(amount);
                        }
                    }
                    Err(at) => self.rest.insert(at, (kind, amount)),
                }
            }
        }
    }
}

impl Index<&DeviceKind> for Kinds {
    type Output = Amount;

    /// # Panics
    /// When there is nothing of that kind.
    fn index(&self, kind: &DeviceKind) -> &Amount {
        let found = self.first.iter().chain(&self.rest).find(|(known, _)| known == kind);
        found.map(|(_, amount)| amount).expect("the kind is there")
    }
}

impl From<BTreeMap<DeviceKind, Amount>> for Kinds {
    fn from(map: BTreeMap<DeviceKind, Amount>) -> Self {
        let mut kinds = map.into_iter();
        Self { first: kinds.next(), rest: kinds.collect() }
    }
}

impl From<Kinds> for BTreeMap<DeviceKind, Amount> {
    fn from(kinds: Kinds) -> Self {
        kinds.iter().collect()
    }
}
