//! The health of a device, from signs that its node tells: probes that fail or succeed, and what its driver reports.
//!
//! ```text
//!              trouble                 trouble again, or one that is fatal
//!   Healthy ───────────▶ Suspect ────────────────────────────────▶ Sick ──has tasks──▶ Draining
//!      ▲                    │                                        ▲ │                   │
//!      │◀── well, 3 times ──┘                              trouble   │ │ well             │ well, and empty
//!      │                                                             │ ▼                   ▼
//!      └──────────── well, 3 times, doubled with each fall ───────── Back ◀────────────────┘
//! ```
//! Only a healthy device is granted. Tasks that are on it stay until they end or fail by themselves: which of them the
//! trouble has hit, nobody knows better than they.

use crate::event::Sign;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// Good signs in a row that make a device healthy again.
const ENOUGH: u32 = 3;
/// Falls that count: the way back is at most 2⁶ times as long.
const FALLS: u32 = 6;

/// How a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It may be granted.
    #[default]
    Healthy,
    /// There was trouble once.
    Suspect,
    /// There was trouble again, or such that it cannot work.
    Sick,
    /// The same, and tasks are still on it.
    Draining,
    /// It works again and has to prove it.
    Back,
}

/// The condition of a device, and what led there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How it is.
    pub condition: Condition,
    /// Good signs in a row since it is so.
    pub good: u32,
    /// Times it fell sick since it was last described anew.
    pub falls: u32,
    /// When it was told last that it cannot work.
    #[serde(default)]
    pub fatal: Option<Timestamp>,
    /// When it was told last that it ended the program that was on it, and what was told; whatever its condition is since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contained: Option<(Timestamp, String)>,
    /// What was told of it when it was last found to be worse, for people; empty while it is healthy.
    #[serde(default)]
    pub because: String,
    /// When it stopped being healthy; none while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Health {
    /// Takes in a sign and what was told with it, now; `in_use`: tasks are on the device. Tells whether its condition changed.
    pub fn sign(&mut self, sign: Sign, because: &str, in_use: bool, now: Timestamp) -> bool {
        let before = self.condition;
        match sign {
            Sign::Fatal => self.fatal = Some(now),
            Sign::Contained => self.contained = Some((now, because.to_owned())),
            Sign::Well | Sign::Trouble => {}
        }
        self.good = if sign == Sign::Well { self.good.saturating_add(1) } else { 0 };
        let broken = if in_use { Condition::Draining } else { Condition::Sick };
        self.condition = match (self.condition, sign) {
            (_, Sign::Fatal) => broken,
            (Condition::Healthy, Sign::Trouble | Sign::Contained) => Condition::Suspect,
            (Condition::Suspect | Condition::Back, Sign::Trouble | Sign::Contained) => broken,
            (Condition::Suspect, Sign::Well) if self.good >= ENOUGH => Condition::Healthy,
            (Condition::Back, Sign::Well) if self.good >= self.wanted() => Condition::Healthy,
            (Condition::Sick | Condition::Draining, Sign::Well) if !in_use => Condition::Back,
            (Condition::Sick | Condition::Draining, _) => broken,
            (same, _) => same,
        };
        let fell = |condition| matches!(condition, Condition::Sick | Condition::Draining);
        if fell(self.condition) && !fell(before) {
            self.falls = self.falls.saturating_add(1);
        }
        if self.condition == Condition::Healthy {
            self.because.clear();
            self.fatal = None;
            self.since = None;
        } else if self.condition != before && !fell(before) && sign != Sign::Well {
            because.clone_into(&mut self.because);
        }
        if self.condition != before {
            self.good = 0;
        }
        if before == Condition::Healthy && self.condition != before {
            self.since = Some(now);
        }
        self.condition != before
    }

    /// Good signs that bring it from `Back` to `Healthy`.
    fn wanted(&self) -> u32 {
        ENOUGH << self.falls.saturating_sub(1).min(FALLS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Condition::{Back, Draining, Healthy, Sick, Suspect};
    use Sign::{Fatal, Trouble, Well};

    fn walk(signs: &[(Sign, bool)]) -> Vec<Condition> {
        let mut health = Health::default();
        let step = |(sign, in_use): &(Sign, bool)| {
            health.sign(*sign, "", *in_use, Timestamp(0));
            health.condition
        };
        signs.iter().map(step).collect()
    }

    #[test]
    fn trouble_once_is_forgiven_and_twice_is_not() {
        let once = [(Trouble, false), (Well, false), (Well, false), (Well, false)];
        assert_eq!(walk(&once), [Suspect, Suspect, Suspect, Healthy]);
        let twice = [(Trouble, true), (Well, true), (Trouble, true), (Well, true), (Well, false)];
        assert_eq!(walk(&twice), [Suspect, Suspect, Draining, Draining, Back]);
        assert_eq!(walk(&[(Fatal, false), (Trouble, false), (Well, false)]), [Sick, Sick, Back]);
    }

    #[test]
    fn one_that_ended_a_program_is_as_sick_as_trouble_makes_it() {
        use Sign::Contained;
        for signs in [vec![Trouble], vec![Trouble, Well], vec![Trouble, Trouble], vec![Fatal, Well, Trouble]]
        {
            let of = |sign: &Sign| (if *sign == Trouble { Contained } else { *sign }, false);
            let contained: Vec<_> = signs.iter().map(of).collect();
            let trouble: Vec<_> = signs.iter().map(|sign| (*sign, false)).collect();
            assert_eq!(walk(&contained), walk(&trouble));
        }
    }

    #[test]
    fn each_fall_doubles_the_way_back() {
        let mut health = Health::default();
        for falls in 0..10 {
            assert!(health.sign(Fatal, "", false, Timestamp(0)));
            health.sign(Well, "", false, Timestamp(0));
            let mut good = 1;
            while !health.sign(Well, "", false, Timestamp(0)) {
                good += 1;
            }
            assert_eq!((health.condition, good), (Healthy, 3 << falls.min(6)));
        }
    }

    #[test]
    fn what_made_it_worse_is_kept_until_it_is_healthy() {
        let mut health = Health::default();
        let steps = [
            (Trouble, "hot", true, "hot"),
            (Fatal, "XID 79", true, "XID 79"),
            (Fatal, "gone", false, "XID 79"),
            (Well, "", false, "XID 79"),
            (Trouble, "hot", false, "hot"),
        ];
        for (sign, told, in_use, kept) in steps {
            health.sign(sign, told, in_use, Timestamp(0));
            assert_eq!(health.because, kept);
        }
        while health.condition != Healthy {
            health.sign(Well, "", false, Timestamp(0));
        }
        assert_eq!(health.because, "");
    }

    #[test]
    fn it_is_unwell_since_it_was_last_healthy() {
        let mut health = Health::default();
        let mut sign = |sign, at| {
            health.sign(sign, "", false, Timestamp(at));
            (health.condition, health.since)
        };
        let from = Some(Timestamp(10));
        assert_eq!(sign(Trouble, 10), (Suspect, from));
        assert_eq!(sign(Fatal, 20), (Sick, from));
        assert_eq!([sign(Well, 30), sign(Well, 31), sign(Well, 32)], [(Back, from); 3]);
        assert_eq!(sign(Well, 33), (Healthy, None));
        assert_eq!(sign(Fatal, 40), (Sick, Some(Timestamp(40))));
    }

    #[test]
    fn trouble_on_the_way_back_is_a_fall() {
        assert_eq!(
            walk(&[(Fatal, false), (Well, false), (Well, false), (Trouble, false)]),
            [Sick, Back, Back, Sick]
        );
    }
}
