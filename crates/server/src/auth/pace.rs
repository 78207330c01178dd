//! How many requests a user may send: a bucket for each that fills at their rate and holds some seconds of it.

use pond_core::ids::UserName;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Seconds of a rate that may be saved up.
const SAVED: f64 = 5.0;
/// Users remembered; whoever's bucket is full needs no remembering.
const KEPT: usize = 4096;

/// The buckets.
#[derive(Debug, Default)]
pub struct Pace {
    buckets: Mutex<BTreeMap<UserName, (f64, Instant)>>,
}

impl Pace {
    /// Takes one request out of a user's bucket, who may send `rate` a second.
    ///
    /// # Errors
    /// The whole seconds, at least one, until there is one.
    pub fn take(&self, user: &UserName, rate: u32, now: Instant) -> Result<(), u64> {
        let (rate, most) = (f64::from(rate), f64::from(rate) * SAVED);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEPT {
            buckets.retain(|_, (_, last)| now.duration_since(*last).as_secs_f64() < SAVED);
        }
        let (left, last) = buckets.entry(user.clone()).or_insert((most, now));
        *left = (*left + now.duration_since(*last).as_secs_f64() * rate).min(most);
        *last = now;
        if *left >= 1.0 {
            *left -= 1.0;
            return Ok(());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to some seconds")]
        let wait = ((1.0 - *left) / rate.max(0.001)).ceil().clamp(1.0, 3600.0) as u64;
        Err(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rate_is_kept_however_the_requests_come() {
        let (pace, begin) = (Pace::default(), Instant::now());
        let (ann, bob) = (UserName::from("ann"), UserName::from("bob"));
        let mut passed = 0;
        for at in 0..10_000 {
            let now = begin + Duration::from_millis(at);
            passed += u32::from(pace.take(&ann, 20, now).is_ok());
        }
        assert!((290..=301).contains(&passed), "10 s at 20 a second, and 5 s saved up: {passed}");
        assert_eq!(pace.take(&bob, 20, begin), Ok(()));
    }

    #[test]
    fn a_rate_of_nothing_lets_nothing_through() {
        assert!(Pace::default().take(&UserName::from("ann"), 0, Instant::now()).is_err());
    }
}
