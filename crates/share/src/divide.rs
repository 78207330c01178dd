//! How the time of one device is divided between the shares on it: water is filled in from the smallest need.
//!
//! Each share that wants time is guaranteed its request. What the others leave goes to those that may have
//! more, by weight, up to their limits: max-min fairness in thousandths. The node does it at each tick.

use crate::pace::WHOLE;

/// One share as the division sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Guaranteed, thousandths.
    pub request: u64,
    /// The most it may have, thousandths; at least the request.
    pub limit: u64,
    /// Its part of what is left over; 0 counts as 1.
    pub weight: u64,
    /// Whether it has launched or waited lately.
    pub wants: bool,
}

/// The rate of each, in the order given, thousandths.
///
/// The rates of those that want time add up to [`WHOLE`] at most if their requests do. One that wants nothing is given
/// its request, for the moment it wakes: until the next tick the device may be promised twice.
#[must_use]
pub fn rates(claims: &[Claim]) -> Vec<u64> {
    let mut rates: Vec<u64> = claims.iter().map(|claim| claim.request.min(WHOLE)).collect();
    let wanted = claims.iter().zip(&rates).filter(|(claim, _)| claim.wants);
    let mut left = WHOLE.saturating_sub(wanted.map(|(_, rate)| rate).sum());
    loop {
        let open: Vec<usize> = (0..claims.len())
            .filter(|&at| claims[at].wants && rates[at] < claims[at].limit.min(WHOLE))
            .collect();
        let weights: u64 = open.iter().map(|&at| claims[at].weight.max(1)).sum();
        if left == 0 || weights == 0 {
            break;
        }
        let pool = left;
        for at in open {
            // At least one thousandth, so that each round gets on; the first in order get what is not divisible.
            let part = (pool * claims[at].weight.max(1) / weights).max(1);
            let more = part.min(left).min(claims[at].limit.min(WHOLE) - rates[at]);
            rates[at] += more;
            left -= more;
        }
    }
    // A share without a guarantee starts on what nobody else is promised, or it could never show that it wants some.
    let idle = left.max(1);
    for (rate, claim) in rates.iter_mut().zip(claims) {
        if !claim.wants && *rate == 0 {
            *rate = idle.min(claim.limit.max(1));
        }
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn claim(request: u64, limit: u64, wants: bool) -> Claim {
        Claim { request, limit, weight: 1, wants }
    }

    #[test]
    fn what_is_guaranteed_is_given_and_the_rest_by_weight() {
        assert_eq!(rates(&[claim(300, 300, true), claim(700, 700, true)]), [300, 700]);
        assert_eq!(rates(&[claim(300, 1000, true), claim(500, 1000, true)]), [400, 600]);
        assert_eq!(rates(&[claim(300, 1000, true), claim(700, 700, false)]), [1000, 700]);
        let heavy = Claim { weight: 3, ..claim(0, 1000, true) };
        assert_eq!(rates(&[heavy, claim(0, 1000, true)]), [750, 250]);
        assert_eq!(rates(&[claim(0, 200, true), claim(0, 1000, true)]), [200, 800]);
        assert_eq!(rates(&[claim(1000, 1000, true), claim(0, 1000, false)]), [1000, 1]);
    }

    proptest! {
        #[test]
        fn nothing_is_promised_twice_and_nothing_withheld(
            parts in prop::collection::vec((0_u64..400, 0_u64..1000, 0_u64..5, any::<bool>()), 0..8)
        ) {
            let mut room = WHOLE;
            let claims: Vec<Claim> = parts.iter().map(|&(request, more, weight, wants)| {
                let request = request.min(room);
                room -= request;
                Claim { request, limit: (request + more).min(WHOLE), weight, wants }
            }).collect();
            let rates = rates(&claims);
            let pairs = || claims.iter().zip(&rates);
            prop_assert!(pairs().all(|(claim, &rate)| rate >= claim.request && rate <= claim.limit.max(1)));
            let given: u64 = pairs().filter(|(claim, _)| claim.wants).map(|(_, rate)| rate).sum();
            prop_assert!(given <= WHOLE);
            let all_full = pairs().all(|(claim, &rate)| !claim.wants || rate == claim.limit);
            prop_assert!(given == WHOLE || all_full, "{given} of {claims:?}");
        }
    }
}
