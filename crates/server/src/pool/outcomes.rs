//! How predictions came out, kept over restarts: a row of the database, written a second after something came out, and at the end.
//!
//! A kill loses a second of outcomes, and no truth: each is a line of the event log too.

use super::desk::Desk;
use super::earlier::Earlier;
use super::forecast::Forecasts;
use crate::store::Write;
use pond_core::units::{Millis, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How long outcomes wait before they are written.
const EVERY: Millis = Millis(1000);

/// By how much predictions were wrong, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcomes {
    /// Forecasts of starts that were made.
    pub made: u64,
    /// By how much starts came later than foretold, in milliseconds.
    pub starts: VecDeque<i64>,
    /// By how many hundredths of their prediction jobs ran longer.
    pub runs: VecDeque<i64>,
}

/// Knows what is written.
#[derive(Debug, Default)]
pub struct Keeper {
    written: Outcomes,
    at: Timestamp,
}

impl Keeper {
    /// What was written before is known again.
    pub fn recall(text: Option<&str>, forecasts: &mut Forecasts, earlier: &mut Earlier) -> Self {
        // What another version wrote and this one cannot read is begun anew.
        let written: Outcomes = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        forecasts.recall(&written);
        earlier.recall_outcomes(&written);
        Self { written, at: Timestamp(0) }
    }

    /// What is to be written now, if anything; `last`: there is no later.
    pub fn due(
        &mut self,
        forecasts: &Forecasts,
        earlier: &Earlier,
        now: Timestamp,
        last: bool,
    ) -> Option<Write> {
        if !last && now.since(self.at) < EVERY {
            return None;
        }
        self.at = now;
        let mut present = Outcomes::default();
        forecasts.tell(&mut present);
        earlier.tell(&mut present);
        if present == self.written {
            return None;
        }
        // Plain numbers: serde_json cannot fail on them.
        let text = serde_json::to_string(&present).ok()?;
        self.written = present;
        Some(Write::Outcomes(text))
    }
}

impl Desk {
    /// How predictions came out, and what tasks used, go into the database with the next turn.
    pub fn keep_figures(&mut self, last: bool) {
        let now = self.clock.last();
        let due = self.outcomes.due(&self.forecasts, &self.earlier, now, last);
        due.into_iter().chain(self.trails.due(now, last)).for_each(|write| self.ledger.add(write));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_written_once_a_second_and_only_when_there_are_new_ones() {
        let (mut forecasts, mut earlier) = (Forecasts::default(), Earlier::default());
        let text = r#"{"made": 3, "starts": [-5, 40], "runs": [12]}"#;
        let mut keeper = Keeper::recall(Some(text), &mut forecasts, &mut earlier);
        assert_eq!((forecasts.view().compared, earlier.view().compared), (2, 1));
        assert!(keeper.due(&forecasts, &earlier, Timestamp(1000), false).is_none(), "nothing new");
        forecasts.recall(&Outcomes { made: 4, starts: VecDeque::from([1]), ..Outcomes::default() });
        assert!(keeper.due(&forecasts, &earlier, Timestamp(1900), false).is_none(), "not yet");
        let Some(Write::Outcomes(text)) = keeper.due(&forecasts, &earlier, Timestamp(2000), false) else {
            panic!("a second is over");
        };
        let kept: Outcomes = serde_json::from_str(&text).unwrap();
        assert_eq!(kept, Outcomes { made: 4, starts: VecDeque::from([1]), runs: VecDeque::from([12]) });
        assert!(keeper.due(&forecasts, &earlier, Timestamp(2001), true).is_none(), "it is written");
        forecasts.recall(&Outcomes::default());
        assert!(keeper.due(&forecasts, &earlier, Timestamp(2002), true).is_some(), "there is no later");
        let bad = Keeper::recall(Some("not ours"), &mut forecasts, &mut earlier);
        assert_eq!(bad.written, Outcomes::default());
    }
}
