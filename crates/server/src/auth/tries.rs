//! Wrong passwords, tokens and codes: each makes the next try wait longer, by account and by address.
//!
//! An account is slowed down soon and a little, so that nobody can lock another out for long; an address late and much. A
//! success forgives the account, not the address: who owns one account guesses at others from the same place.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tries kept in mind; the oldest make room.
const KEPT: usize = 8192;

/// How a sort of door slows down.
struct Pace {
    /// Wrong tries that cost nothing.
    free: u32,
    /// The wait after the first that does; it doubles with each.
    first: Duration,
    /// The longest wait.
    most: Duration,
    /// After so long without a wrong try all is forgotten.
    forget: Duration,
}

const ACCOUNT: Pace = Pace {
    free: 5,
    first: Duration::from_secs(5),
    most: Duration::from_secs(60),
    forget: Duration::from_secs(15 * 60),
};
const ADDRESS: Pace = Pace {
    free: 10,
    first: Duration::from_secs(4),
    most: Duration::from_secs(15 * 60),
    forget: Duration::from_secs(60 * 60),
};

impl Pace {
    fn wait(&self, wrong: u32) -> Duration {
        match wrong.checked_sub(self.free) {
            None => Duration::ZERO,
            Some(over) => self.first.saturating_mul(1 << over.min(20)).min(self.most),
        }
    }
}

/// Whose tries are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Door {
    Account(String),
    Address(String),
}

impl Door {
    const fn pace(&self) -> &'static Pace {
        match self {
            Self::Account(_) => &ACCOUNT,
            Self::Address(_) => &ADDRESS,
        }
    }
}

/// Wrong tries of late.
#[derive(Debug, Default)]
pub struct Tries {
    wrong: Mutex<BTreeMap<Door, (u32, Instant)>>,
}

impl Tries {
    fn doors(account: Option<&str>, from: &str) -> impl Iterator<Item = Door> {
        let account = account.map(|account| Door::Account(account.to_lowercase()));
        account.into_iter().chain([Door::Address(from.to_owned())])
    }

    /// How long the next try of this account from this address has to wait; zero: not at all. A try that may go ahead counts
    /// as wrong until it is known to be right, so that many at once are not free.
    pub fn begin(&self, account: Option<&str>, from: &str, now: Instant) -> Duration {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |door: &Door| match wrong.get(door) {
            Some((count, last)) => door.pace().wait(*count).saturating_sub(now.duration_since(*last)),
            None => Duration::ZERO,
        };
        let wait = Self::doors(account, from).map(|door| left(&door)).max().unwrap_or_default();
        if !wait.is_zero() {
            return wait;
        }
        wrong.retain(|door, (_, last)| now.duration_since(*last) <= door.pace().forget);
        while wrong.len() + 2 > KEPT
            && let Some(oldest) =
                wrong.iter().min_by_key(|(_, (_, last))| *last).map(|(door, _)| door.clone())
        {
            wrong.remove(&oldest);
        }
        for door in Self::doors(account, from) {
            let entry = wrong.entry(door).or_insert((0, now));
            *entry = (entry.0.saturating_add(1), now);
        }
        Duration::ZERO
    }

    /// The try was right.
    pub fn right(&self, account: Option<&str>, from: &str) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        for door in Self::doors(account, from) {
            match &door {
                Door::Account(_) => drop(wrong.remove(&door)),
                Door::Address(_) => {
                    if let Some((count, _)) = wrong.get_mut(&door) {
                        *count = count.saturating_sub(1);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries that get through within a span, each made as soon as it may be.
    fn through(span: Duration, mut door: impl FnMut(u32) -> (String, String)) -> u32 {
        let tries = Tries::default();
        let begin = Instant::now();
        let (mut now, mut count) = (begin, 0);
        while now.duration_since(begin) < span && count < 100_000 {
            let (account, from) = door(count);
            match tries.begin(Some(&account), &from, now) {
                Duration::ZERO => count += 1,
                wait => now += wait,
            }
        }
        count
    }

    #[test]
    fn guessing_is_slow_by_account_and_by_address() {
        let day = Duration::from_secs(86_400);
        let one = through(day, |_| ("ann".to_owned(), "10.0.0.1".to_owned()));
        assert!(one < 130, "one address at one account: {one} a day");
        let many = through(day, |at| ("ann".to_owned(), format!("10.0.{}.{}", at / 256, at % 256)));
        assert!(many < 1_500, "many addresses at one account: {many} a day");
        let sprayed = through(day, |at| (format!("user{at}"), "10.0.0.1".to_owned()));
        assert!(sprayed < 130, "one address at many accounts: {sprayed} a day");
    }

    #[test]
    fn who_is_right_is_not_held_up_and_cannot_be_locked_out_for_long() {
        let (tries, now) = (Tries::default(), Instant::now());
        for _ in 0..1000 {
            assert_eq!(tries.begin(Some("ann"), "10.0.0.1", now), Duration::ZERO);
            tries.right(Some("Ann"), "10.0.0.1");
        }
        for at in 0..50 {
            tries.begin(Some("ann"), &format!("10.1.0.{at}"), now);
        }
        let wait = tries.begin(Some("ann"), "10.0.0.1", now);
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60), "{wait:?}");
        assert_eq!(tries.begin(Some("bob"), "10.0.0.1", now), Duration::ZERO);
    }
}
