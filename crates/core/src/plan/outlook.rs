//! What will be free on a node: those who run there leave, and those for whom it is kept come and leave again.

use super::problem::claims::meet;
use super::problem::forecast::{Leaver, When, give};
use super::problem::pool::Pool;
use super::problem::profile::copies;
use super::problem::room::{NodeFree, Picked};
use crate::units::{Millis, Timestamp};
use std::sync::Arc;

/// Who is stopping is taken to be gone after this.
pub(super) const SOON: Millis = Millis(1000);

/// What is kept for somebody on a node.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    /// CPU, memory, disk.
    pub amounts: [i64; 3],
    /// Devices.
    pub picked: Picked,
    /// When it is taken; [`When::Now`] where nobody knows, so that nothing comes between.
    pub from: When,
    /// When it is free again.
    pub until: When,
}

impl Promise {
    fn is_taken(&self, when: When) -> bool {
        self.from <= when && when < self.until
    }
}

/// A node from now on.
pub(super) struct Outlook<'a> {
    pub pool: &'a Pool,
    pub node: usize,
    /// What is free now, nothing promised taken out.
    pub state: NodeFree,
    /// Those who are there now, soonest first.
    pub leavers: Arc<[Leaver]>,
    pub promises: &'a [Promise],
}

impl Outlook<'_> {
    /// What is free at each moment at which that changes.
    pub fn line(&self) -> Line {
        let facts = self.pool.facts(self.node);
        let mut moments: Vec<When> = self.leavers.iter().map(|leaver| leaver.when).collect();
        moments.extend(self.promises.iter().flat_map(|promise| [promise.from, promise.until]));
        moments.push(When::Now);
        moments.retain(|when| *when != When::Never);
        moments.sort_unstable();
        moments.dedup();
        // Promises without an end are taken out last: until then others may hold what they wait for.
        let (known, endless): (Vec<&Promise>, Vec<&Promise>) =
            self.promises.iter().partition(|promise| promise.until != When::Never);
        let (mut coming, mut going) = (known.clone(), known);
        coming.sort_by_key(|promise| promise.from);
        going.sort_by_key(|promise| promise.until);
        let (mut coming, mut going) = (coming.into_iter().peekable(), going.into_iter().peekable());
        let mut leavers = self.leavers.iter().peekable();
        let mut left = self.state.clone();
        let states = moments.into_iter().map(|when| {
            while let Some(leaver) = leavers.next_if(|leaver| leaver.when <= when) {
                give(self.pool, &mut left, self.node, leaver);
            }
            while let Some(gone) = going.next_if(|promise| promise.until <= when) {
                left.give(gone.amounts, false, gone.picked.iter().map(|(_, grant, _)| *grant), facts);
            }
            while let Some(come) = coming.next_if(|promise| promise.from <= when) {
                left.take(come.amounts, false, &come.picked, facts);
            }
            let mut state = left.clone();
            for promise in endless.iter().filter(|promise| promise.is_taken(when)) {
                state.take(promise.amounts, false, &promise.picked, facts);
            }
            (when, state)
        });
        Line { node: self.node, states: states.collect() }
    }
}

/// How long a place is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    pub now: Timestamp,
    /// Milliseconds; `None` for good.
    pub span: Option<Millis>,
}

impl Stay {
    /// When it is over.
    pub const fn end(self, from: When) -> When {
        let Some(span) = self.span else { return When::Never };
        match from {
            When::Now => When::At(self.now.after(span)),
            When::Soon => When::At(self.now.after(SOON).after(span)),
            When::At(at) => When::At(at.after(span)),
            When::Unknown(_) | When::Never => When::Never,
        }
    }

    /// The first moment from which it would last beyond another.
    fn beyond(self, other: When) -> Option<When> {
        let (Some(span), When::At(other)) = (self.span, other) else { return None };
        Some(When::At(Timestamp(other.0.saturating_sub(span.0).saturating_add(1))))
    }
}

/// What is free on a node, moment by moment, until nothing changes any more.
#[derive(Clone, Debug)]
pub(super) struct Line {
    node: usize,
    states: Vec<(When, NodeFree)>,
}

impl Line {
    /// A moment before which not even one task fits, however short its stay.
    pub fn first(&self, pool: &Pool, variant: usize) -> When {
        let fits = |(_, state): &&(When, NodeFree)| pool.fits(variant, self.node, state);
        self.states.iter().find(fits).map_or(When::Never, |(when, _)| *when)
    }

    /// What is free at a moment, and what is free from it on for the whole of a stay.
    pub fn between(&self, from: When, stay: Stay) -> (NodeFree, NodeFree) {
        let at = self.states.partition_point(|(when, _)| *when <= from).saturating_sub(1);
        let end = stay.end(from);
        let (_, free) = &self.states[at];
        let later = self.states[at + 1..].iter().take_while(|(when, _)| *when < end);
        (free.clone(), later.fold(free.clone(), |state, (_, other)| meet(state, other)))
    }

    /// When one task fits for a whole stay.
    pub fn first_stay(&self, pool: &Pool, variant: usize, stay: Stay) -> When {
        let fits = |at: &usize| self.walk(pool, variant, *at, (stay, 1), |_, _| ()) > 0;
        (0..self.states.len()).find(fits).map_or(When::Never, |at| self.states[at].0)
    }

    /// Each moment from which more or fewer tasks fit for a whole stay than before, and how many, at most `cap`.
    pub fn steps(&self, pool: &Pool, variant: usize, stay: Stay, cap: u32) -> Vec<(When, u32)> {
        let mut steps: Vec<(When, u32)> = Vec::new();
        for (at, (when, _)) in self.states.iter().enumerate() {
            let mut fewer = Vec::new();
            let fits = self.walk(pool, variant, at, (stay, cap), |beyond, fits| fewer.push((beyond, fits)));
            if steps.last().map_or(0, |(_, before)| *before) != fits {
                steps.push((*when, fits));
            }
            steps.extend(fewer);
        }
        steps
    }

    /// How many tasks fit from one of the moments to the end of their stay; and to each later end before the next moment, from when on
    /// how many fewer.
    fn walk(
        &self,
        pool: &Pool,
        variant: usize,
        at: usize,
        (stay, cap): (Stay, u32),
        mut fewer: impl FnMut(When, u32),
    ) -> u32 {
        let (shape, facts) = (&pool.variants[variant].shape, pool.facts(self.node));
        let count = |state: &NodeFree| copies((&state.free, &state.devices), facts, shape, false, cap);
        let (from, state) = &self.states[at];
        let (end, last) = (stay.end(*from), self.states.get(at + 1).map(|(next, _)| stay.end(*next)));
        let mut fits = count(state);
        let mut now = fits;
        let mut least: Option<NodeFree> = None;
        for (when, state) in &self.states[at + 1..] {
            if now == 0 || (*when >= end && last.is_none_or(|last| *when >= last)) {
                break;
            }
            // What is free at both may be less than at each: other devices.
            let met = meet(least.unwrap_or_else(|| self.states[at].1.clone()), state);
            let before = std::mem::replace(&mut now, count(&met));
            least = Some(met);
            if *when < end {
                fits = now;
            } else if now < before
                && let Some(beyond) = stay.beyond(*when)
            {
                fewer(beyond, now);
            }
        }
        fits
    }
}
