//! Policies by name: which settings of the planner make which policy of the literature.
//!
//! A name may be followed by who may pass a blocked gang: `sjf+easy`, `fifo+greedy`. Simulations and pools take the same names.

use crate::snapshot::{Backfill, OrderPolicy, PlacementPolicy, QueuePolicy, Settings};
use crate::units::Millis;
use serde::{Deserialize, Serialize};

/// A policy that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// As it is written.
    pub name: &'static str,
    /// Order inside a queue.
    pub order: OrderPolicy,
    /// Order of the queues.
    pub queues: QueuePolicy,
    /// Who may pass a blocked gang, unless it is written behind the name.
    pub backfill: Backfill,
    /// Whether it is said what run times are.
    pub predicts: bool,
    /// Whether it evicts.
    pub evicts: bool,
    /// What it does.
    pub what: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
}

const fn named(name: &'static str, order: OrderPolicy, backfill: Backfill) -> Named {
    Named {
        name,
        order,
        queues: QueuePolicy::OneLine,
        backfill,
        predicts: false,
        evicts: false,
        what: "",
        paper: "",
    }
}

/// All of them, baselines first.
pub const ALL: [Named; 15] = [
    Named {
        what: "first come, first served; a head that does not fit blocks",
        paper: "–",
        ..named("fifo", OrderPolicy::Fifo, Backfill::None)
    },
    Named {
        predicts: true,
        what: "FIFO, passed by who does not delay the head",
        paper: "Lifka, JSSPP 1995",
        ..named("easy", OrderPolicy::Fifo, Backfill::Easy)
    },
    Named {
        predicts: true,
        what: "FIFO, passed by who delays nobody: everybody who waits has a reservation",
        paper: "Mu'alem and Feitelson, IEEE TPDS 2001",
        ..named("conservative", OrderPolicy::Fifo, Backfill::Conservative)
    },
    Named {
        predicts: true,
        what: "shortest run first; a head that does not fit blocks",
        paper: "Hu et al., SC 2021 (baseline)",
        ..named("sjf", OrderPolicy::Sjf, Backfill::None)
    },
    Named {
        predicts: true,
        evicts: true,
        what: "shortest rest first",
        paper: "Hu et al., SC 2021 (baseline)",
        ..named("srtf", OrderPolicy::Srtf, Backfill::Greedy)
    },
    Named {
        predicts: true,
        what: "least run × devices first; a head that does not fit blocks",
        paper: "QSSF: Hu et al., SC 2021",
        ..named("qssf", OrderPolicy::Qssf, Backfill::None)
    },
    Named {
        what: "fewest devices first; a head that does not fit blocks",
        paper: "–",
        ..named("smallest", OrderPolicy::Smallest, Backfill::None)
    },
    Named {
        evicts: true,
        what: "two queues by attained service",
        paper: "Gu et al., NSDI 2019",
        ..named("tiresias", OrderPolicy::Tiresias, Backfill::Greedy)
    },
    Named {
        evicts: true,
        what: "levels of attained service, each four times the one before",
        paper: "after Gu et al., NSDI 2019",
        ..named("las", OrderPolicy::Las, Backfill::Greedy)
    },
    Named {
        predicts: true,
        evicts: true,
        what: "levels of rest × devices",
        paper: "SRSF: Gu et al., NSDI 2019",
        ..named("srsf", OrderPolicy::Srsf, Backfill::Greedy)
    },
    Named {
        predicts: true,
        evicts: true,
        what: "who takes longest for its length first; a place is kept for a lease",
        paper: "Mahajan et al., NSDI 2020",
        ..named("themis", OrderPolicy::Themis, Backfill::Greedy)
    },
    Named {
        evicts: true,
        what: "who got on least for its time first, each on its fastest free device; needs speeds by model",
        paper: "Narayanan et al., OSDI 2020",
        ..named("gavel", OrderPolicy::Gavel, Backfill::Greedy)
    },
    Named {
        what: "fewest devices first, extra ranks where they speed up most; needs elastic jobs",
        paper: "after Qiao et al., OSDI 2021, and Jayaram Subramanya et al., SOSP 2023",
        ..named("goodput", OrderPolicy::Goodput, Backfill::None)
    },
    Named {
        predicts: true,
        evicts: true,
        queues: QueuePolicy::FairShare,
        what: "dominant-resource fair share of queues, FIFO in each: how a pool runs by default",
        paper: "Ghodsi et al., NSDI 2011",
        ..named("fair", OrderPolicy::Fifo, Backfill::Conservative)
    },
    Named {
        predicts: true,
        evicts: true,
        queues: QueuePolicy::FairShare,
        what: "fair share of queues, levels of attained service in each",
        paper: "–",
        ..named("fair-las", OrderPolicy::Las, Backfill::Conservative)
    },
];

/// How a pool decides, as an administrator chose it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The name of a policy, as [`by_name`] takes it.
    pub policy: String,
    /// Who scores the nodes that fit.
    pub placement: PlacementPolicy,
}

impl Choice {
    /// The planner's settings under it; the rest is as it is in `configured`.
    ///
    /// # Errors
    /// No policy has this name.
    pub fn settings(&self, configured: &Settings) -> Result<Settings, PolicyError> {
        let mut plan = configured.to_owned();
        by_name(&self.policy)?.apply(&mut plan);
        plan.placement = self.placement;
        Ok(plan)
    }
}

/// Words for who may pass.
const BACKFILLS: [(&str, Backfill); 4] = [
    ("none", Backfill::None),
    ("easy", Backfill::Easy),
    ("conservative", Backfill::Conservative),
    ("greedy", Backfill::Greedy),
];

/// Why a word is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyError {
    /// No policy has this name.
    #[error("no policy is called `{0}`")]
    Unknown(String),
    /// No rule of backfill has this name.
    #[error("`{0}` says nothing about who may pass; write none, easy, conservative or greedy behind the +")]
    Backfill(String),
}

/// The policy with this name, and who may pass under it.
///
/// # Errors
/// There is none.
pub fn by_name(text: &str) -> Result<Named, PolicyError> {
    let (name, backfill) =
        text.split_once('+').map_or((text, None), |(name, backfill)| (name, Some(backfill)));
    let found = ALL.into_iter().find(|named| named.name == name);
    let mut found = found.ok_or_else(|| PolicyError::Unknown(name.to_owned()))?;
    if let Some(word) = backfill {
        let known = BACKFILLS.into_iter().find(|(known, _)| *known == word);
        found.backfill = known.ok_or_else(|| PolicyError::Backfill(word.to_owned()))?.1;
    }
    Ok(found)
}

impl Named {
    /// Sets the planner to it. Policies that evict by rank are not held back by the calm after an eviction: levels guard
    /// against thrashing. In one line conservative backfill reserves for everybody, as its paper does; queues with fair shares
    /// are those of a pool and keep its [`reservations`](Settings::reservations).
    pub fn apply(&self, plan: &mut Settings) {
        plan.order = self.order;
        plan.queues = self.queues;
        plan.backfill = self.backfill;
        if self.queues == QueuePolicy::OneLine {
            plan.reservations = u32::MAX;
            if self.evicts {
                plan.calm = Millis::ZERO;
            }
        }
    }

    /// The word for who may pass.
    #[must_use]
    pub fn backfill_name(&self) -> &'static str {
        BACKFILLS.iter().find(|(_, backfill)| *backfill == self.backfill).map_or("", |(word, _)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_alone_and_with_who_may_pass() {
        assert!(ALL.iter().all(|named| by_name(named.name) == Ok(*named) && !named.what.is_empty()));
        let sjf = by_name("sjf+easy").unwrap();
        assert_eq!((sjf.order, sjf.backfill), (OrderPolicy::Sjf, Backfill::Easy));
        assert_eq!(by_name("lifo").unwrap_err().to_string(), "no policy is called `lifo`");
        assert!(by_name("sjf+x").unwrap_err().to_string().contains("none, easy, conservative or greedy"));
    }

    #[test]
    fn every_order_of_the_planner_has_a_name() {
        for named in ALL {
            let mut set = Settings::default();
            named.apply(&mut set);
            assert!(named.backfill != Backfill::Conservative || set.most_reservations() >= 16);
        }
        let word = |order: OrderPolicy| serde_json::to_value(order).unwrap();
        let known: Vec<_> = ALL.iter().map(|named| word(named.order)).collect();
        // What is no order tells which there are.
        let why = serde_json::from_str::<OrderPolicy>("\"?\"").unwrap_err().to_string();
        let all: Vec<&str> = why.split('`').skip(3).step_by(2).collect();
        assert!(all.len() >= 11, "{why}");
        for order in all {
            assert!(known.contains(&order.into()), "{order} has no name");
        }
    }

    #[test]
    fn a_policy_sets_the_planner() {
        let mut plan = Settings::default();
        by_name("las").unwrap().apply(&mut plan);
        assert_eq!(
            (plan.order, plan.backfill, plan.queues),
            (OrderPolicy::Las, Backfill::Greedy, QueuePolicy::OneLine)
        );
        assert_eq!(plan.placement, PlacementPolicy::Pack, "who scores nodes is another choice");
    }
}
