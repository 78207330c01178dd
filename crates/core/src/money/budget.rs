//! Budgets: what a queue and all below it may spend in a day, a week, a month or in all, and what happens then.
//!
//! ```text
//!             spent ≥ an alert's part          spent ≥ limit (stop: hold or end)
//!  (quiet) ──────────────────────────▶ told ─────────────────────────────────▶ spent
//!     ▲                                  │                                       │
//!     └────────── the next span begins, the limit is raised, work is credited ◀──┘
//! ```
//! What was spent is charges less credits of every period that began in the span, the present one up to now. It is
//! looked at every [`Settings::budget_every`](crate::engine::Settings), so a queue can go beyond its limit by what it
//! spends in that time, and by what running jobs cost until they have ended.

use super::{MICROS, Span, decimal};
use crate::ids::QueuePath;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Budgets there are at most.
pub const MAX_BUDGETS: usize = 10_000;
/// The largest limit, in micro-units: a million million of the currency.
const MAX_LIMIT: u64 = 1_000_000_000_000 * MICROS;

/// What happens when a budget is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BudgetStop {
    /// Nothing but alerts.
    Never,
    /// Queued jobs wait; what runs goes on to its end.
    #[default]
    Hold,
    /// Queued jobs wait; what runs is ended, with its grace.
    End,
}

/// What a queue may spend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// The queue it holds for, with all below it; empty: the pool.
    pub queue: QueuePath,
    /// In micro-units.
    pub limit: u64,
    /// Over what.
    pub span: Span,
    /// Percentages of the limit at which people are told, ascending, each once a span.
    pub alerts: Vec<u16>,
    /// What happens at the limit.
    pub stop: BudgetStop,
}

impl Budget {
    /// Whether it counts what this queue spends.
    #[must_use]
    pub fn covers(&self, queue: &QueuePath) -> bool {
        queue.is_within(&self.queue)
    }
}

/// Why a queue's jobs wait for money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Whose budget.
    pub queue: QueuePath,
    /// What was spent in the span when it was looked at, in micro-units.
    pub spent: u64,
    /// What may be spent, in micro-units.
    pub limit: u64,
    /// In this currency.
    pub currency: String,
    /// When the next span begins; [`Timestamp::NEVER`]: never.
    pub until: Timestamp,
}

impl Spent {
    /// `4.80 of 2.00 EUR`.
    #[must_use]
    pub fn amounts(&self) -> String {
        let money = |micros: u64| decimal(micros.into());
        format!("{} of {} {}", money(self.spent), money(self.limit), self.currency)
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queue = if self.queue.as_str().is_empty() { "the pool" } else { self.queue.as_str() };
        write!(f, "the budget of {queue} is spent: {}", self.amounts())
    }
}

/// Sums of one queue over the present spans, in micro-units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// Beginning and sum, one for each of [`Span::ALL`].
    spans: [(Timestamp, i128); 4],
}

impl Spending {
    /// Adds what a period that began at `from` came to.
    pub fn add(&mut self, from: Timestamp, net: i128) {
        for ((start, sum), span) in self.spans.iter_mut().zip(Span::ALL) {
            let begins = span.start(from);
            if begins > *start {
                (*start, *sum) = (begins, 0);
            }
            if begins == *start {
                *sum = sum.saturating_add(net);
            }
        }
    }

    /// What was added in the span in which `now` lies.
    fn in_span(&self, span: Span, now: Timestamp) -> i128 {
        let of = self.spans.iter().zip(Span::ALL).find(|(_, other)| *other == span);
        of.filter(|((start, _), _)| *start == span.start(now)).map_or(0, |((_, sum), _)| *sum)
    }
}

/// How a budget stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    budget: Budget,
    /// The span that was looked at last.
    span: Timestamp,
    /// The highest alert of this span that was told, in percent.
    told: u16,
    /// Its queues wait for money.
    over: Option<Spent>,
}

/// All budgets, and what every queue has spent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    states: BTreeMap<QueuePath, State>,
    spending: BTreeMap<QueuePath, Spending>,
}

/// What looking at a budget found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// This part of it is spent, in percent; people are told.
    Alert(Budget, u16, Spent),
    /// It is spent.
    Over(Budget, Spent),
    /// There is room again.
    Room(Budget),
}

impl Budgets {
    /// Every budget by queue.
    pub fn all(&self) -> impl Iterator<Item = &Budget> {
        self.states.values().map(|state| &state.budget)
    }

    /// What keeps jobs of a queue waiting, by the budget closest to it.
    #[must_use]
    pub fn blocks(&self, queue: &QueuePath) -> Option<&Spent> {
        let over = self.states.values().filter(|state| state.budget.covers(queue));
        over.filter_map(|state| state.over.as_ref()).next_back()
    }

    /// How the budget of a queue stood when it was looked at last, while its jobs wait for money.
    #[must_use]
    pub fn over(&self, queue: &QueuePath) -> Option<&Spent> {
        self.states.get(queue)?.over.as_ref()
    }

    /// What a queue and all below it spent in the span of `now`, less credits. `open`: what is not closed yet, by queue
    /// and beginning of its period.
    #[must_use]
    pub fn spent(
        &self,
        queue: &QueuePath,
        span: Span,
        now: Timestamp,
        open: &BTreeMap<QueuePath, Spending>,
    ) -> u64 {
        let below = |map: &BTreeMap<QueuePath, Spending>| {
            let under = map.iter().filter(|(path, _)| path.is_within(queue));
            under.fold(0_i128, |sum, (_, spending)| sum.saturating_add(spending.in_span(span, now)))
        };
        let sum = below(&self.spending).saturating_add(below(open));
        u64::try_from(sum.max(0)).unwrap_or(u64::MAX)
    }

    pub(super) fn add(&mut self, queue: &QueuePath, from: Timestamp, net: i128) {
        match self.spending.get_mut(queue) {
            Some(spending) => spending.add(from, net),
            None => {
                let mut spending = Spending::default();
                spending.add(from, net);
                self.spending.insert(QueuePath::from(queue.as_str()), spending);
            }
        }
    }

    pub(crate) fn set(&mut self, budget: Budget) -> Result<(), BudgetError> {
        if budget.limit > MAX_LIMIT {
            return Err(BudgetError::TooHigh);
        }
        let ascend = budget.alerts.windows(2).all(|pair| pair[0] < pair[1]);
        let ends = budget.alerts.first().is_none_or(|first| *first > 0)
            && budget.alerts.last().is_none_or(|last| *last <= 1000);
        if !ascend || !ends || budget.alerts.len() > 16 {
            return Err(BudgetError::Alerts);
        }
        if self.states.len() >= MAX_BUDGETS && !self.states.contains_key(&budget.queue) {
            return Err(BudgetError::TooMany);
        }
        let queue = QueuePath::from(budget.queue.as_str());
        let over = self.states.remove(&queue).and_then(|state| state.over);
        self.states.insert(queue, State { budget, span: Timestamp::NEVER, told: 0, over });
        Ok(())
    }

    /// Takes a budget away. Gives whether jobs waited for it.
    pub(crate) fn remove(&mut self, queue: &QueuePath) -> Result<bool, BudgetError> {
        self.states.remove(queue).map(|state| state.over.is_some()).ok_or(BudgetError::Unknown)
    }

    /// Looks at every budget. `currency`: of the amounts.
    pub(crate) fn look(
        &mut self,
        now: Timestamp,
        currency: &str,
        open: &BTreeMap<QueuePath, Spending>,
    ) -> Vec<Finding> {
        let sums: Vec<u64> =
            self.all().map(|budget| self.spent(&budget.queue, budget.span, now, open)).collect();
        let mut found = Vec::new();
        for (state, spent) in self.states.values_mut().zip(sums) {
            let Budget { limit, span, .. } = state.budget;
            let begins = span.start(now);
            if state.span != begins {
                (state.span, state.told) = (begins, 0);
            }
            let budget = || state.budget.to_owned();
            let queue = QueuePath::from(state.budget.queue.as_str());
            let words = Spent { queue, spent, limit, currency: currency.to_owned(), until: span.end(now) };
            let percent = |part: u16| u128::from(limit).saturating_mul(u128::from(part));
            let reached = |part: &&u16| u128::from(spent).saturating_mul(100) >= percent(**part);
            // A limit of nothing is reached before anything is spent; that is no news.
            let part = state.budget.alerts.iter().rev().find(reached).filter(|_| limit > 0);
            if let Some(part) = part.copied().filter(|part| *part > state.told) {
                found.push(Finding::Alert(budget(), part, words.to_owned()));
                state.told = part;
            }
            let over = state.budget.stop != BudgetStop::Never && spent >= limit;
            match (&state.over, over) {
                (None, true) => found.push(Finding::Over(budget(), words.to_owned())),
                (Some(_), false) => found.push(Finding::Room(budget())),
                _ => {}
            }
            state.over = over.then_some(words);
        }
        found
    }
}

/// Why a budget is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetError {
    /// A limit beyond reason.
    #[error("a limit is at most a million million; use another currency, or no budget")]
    TooHigh,
    /// Alerts that are no ascending percentages from 1 to 1000.
    #[error(
        "alerts are at most 16 percentages from 1 to 1000, each above the one before; for example 50, 80, 100"
    )]
    Alerts,
    /// More than [`MAX_BUDGETS`].
    #[error("there are at most 10000 budgets; remove one that is not needed")]
    TooMany,
    /// No budget of this queue.
    #[error("this queue has no budget; `pond budget ls` lists them")]
    Unknown,
}
