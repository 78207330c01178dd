//! How two devices of a machine are joined, as a distance: the table that a node reports and the planner adds up.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The way from one device to another, in the classes of `nvidia-smi topo -m`, as a number from 2 to 80 that is larger the farther
/// they are. The numbers are ours; they only order the ways, and are far enough apart for sums over a few devices: of more
/// lanes of NVLink the shorter, of more hops of XGMI the longer, and any of both shorter than any way over PCIe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Link(u8);

/// Lanes of NVLink that make a difference: an H100 has as many.
const LANES: u8 = 18;
/// Hops of XGMI that make a difference.
const HOPS: u8 = 9;
/// XGMI of no hop, which is none.
const XGMI: u8 = 20;
const XGMI_1: u8 = XGMI + 1;
const NVLINK_1: u8 = LANES + 1;

impl Link {
    /// At most one PCIe switch.
    pub const SWITCH: Self = Self(30);
    /// Several PCIe switches, and no host bridge.
    pub const SWITCHES: Self = Self(40);
    /// A host bridge.
    pub const BRIDGE: Self = Self(50);
    /// Host bridges of one NUMA node.
    pub const NUMA: Self = Self(60);
    /// NUMA nodes of the machine.
    pub const SYSTEM: Self = Self(70);
    /// Nobody knows: taken as the farthest.
    pub const UNKNOWN: Self = Self(80);

    /// NVLink of so many lanes, from 1.
    #[must_use]
    pub const fn nvlink(lanes: u8) -> Self {
        let lanes = if lanes > LANES { LANES } else { lanes };
        Self(LANES + 2 - lanes)
    }

    /// AMD's XGMI (Infinity Fabric) over so many hops, from 1.
    #[must_use]
    pub const fn xgmi(hops: u8) -> Self {
        Self(XGMI + if hops > HOPS { HOPS } else { hops })
    }

    /// How two devices of a node are joined, each given with what it has to those before it
    /// ([`links`](super::Traits::links)) and its ordinal.
    #[must_use]
    pub fn between(one: (&[Self], usize), other: (&[Self], usize)) -> Self {
        let (before, (row, _)) = if one.1 < other.1 { (one.1, other) } else { (other.1, one) };
        row.get(before).copied().unwrap_or(Self::UNKNOWN)
    }

    /// The way that a word names, as it is displayed.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
        Some(match word {
            "PIX" => Self::SWITCH,
            "PXB" => Self::SWITCHES,
            "PHB" => Self::BRIDGE,
            "NODE" => Self::NUMA,
            "SYS" => Self::SYSTEM,
            "?" => Self::UNKNOWN,
            _ => match (word.strip_prefix("NV"), word.strip_prefix("XGMI")) {
                (Some(lanes), _) => Self::nvlink(number(lanes)?),
                (_, Some(hops)) => Self::xgmi(number(hops)?),
                _ => return None,
            },
        })
    }

    /// What the word means.
    #[must_use]
    pub fn meaning(self) -> String {
        let what = match self {
            Self::SWITCH => "one PCIe switch at most",
            Self::SWITCHES => "several PCIe switches",
            Self::BRIDGE => "a PCIe host bridge",
            Self::NUMA => "one NUMA node",
            Self::SYSTEM => "the way between NUMA nodes",
            Self(XGMI_1) => "one hop of XGMI",
            Self(distance @ 22..=29) => return format!("{} hops of XGMI", distance - XGMI),
            Self(NVLINK_1) => "one link of NVLink",
            Self(distance @ 2..=18) => return format!("{} links of NVLink", LANES + 2 - distance),
            _ => "a way that nobody knows",
        };
        what.to_owned()
    }

    /// Whether it is NVLink or XGMI, and none over PCIe.
    #[must_use]
    pub const fn is_fabric(self) -> bool {
        self.0 < Self::SWITCH.0
    }

    /// As a number to add up.
    #[must_use]
    pub const fn distance(self) -> u8 {
        self.0
    }

    /// Whether it is one of the ways above.
    #[must_use]
    pub const fn is_known(self) -> bool {
        matches!(self.0, 2..=19 | 21..=29 | 30 | 40 | 50 | 60 | 70 | 80)
    }
}

/// The word of `nvidia-smi topo -m` where it has one.
impl fmt::Display for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match *self {
            Self::SWITCH => "PIX",
            Self::SWITCHES => "PXB",
            Self::BRIDGE => "PHB",
            Self::NUMA => "NODE",
            Self::SYSTEM => "SYS",
            Self(distance @ 21..=29) => return write!(out, "XGMI{}", distance - XGMI),
            Self(distance @ 2..=19) => return write!(out, "NV{}", LANES + 2 - distance),
            _ => "?",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_lanes_and_fewer_hops_are_nearer_and_any_of_them_nearer_than_the_bus() {
        let ways: Vec<Link> = (1..=18).rev().map(Link::nvlink).chain((1..=9).map(Link::xgmi)).collect();
        let slower = [Link::SWITCH, Link::SWITCHES, Link::BRIDGE, Link::NUMA, Link::SYSTEM, Link::UNKNOWN];
        let all: Vec<Link> = ways.into_iter().chain(slower).collect();
        assert!(all.windows(2).all(|two| two[0] < two[1]) && all.iter().all(|link| link.is_known()));
        let words: Vec<String> = all.iter().map(Link::to_string).collect();
        assert_eq!((words[0].as_str(), words[17].as_str(), Link::nvlink(36)), ("NV18", "NV1", all[0]));
        assert_eq!((words[18].as_str(), words[26].as_str(), Link::xgmi(20)), ("XGMI1", "XGMI9", all[26]));
        assert_eq!(words[27..], ["PIX", "PXB", "PHB", "NODE", "SYS", "?"]);
        let named: Vec<Option<Link>> = words.iter().map(|word| Link::named(word)).collect();
        assert!(named.iter().zip(&all).all(|(named, link)| *named == Some(*link)), "{named:?}");
        assert_eq!(["NV0", "NV", "XGMI0", "X", "pix", ""].map(Link::named), [None; 6]);
        assert_eq!(all.iter().filter(|link| link.is_fabric()).count(), 27);
        let meanings = [0, 17, 18, 26].map(|at: usize| all[at].meaning());
        assert_eq!(
            meanings,
            ["18 links of NVLink", "one link of NVLink", "one hop of XGMI", "9 hops of XGMI"]
        );
    }
}
