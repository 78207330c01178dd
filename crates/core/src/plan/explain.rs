//! Why a gang is where it is: from a plan made for the purpose, so that the answer is what the planner really does.

use super::emit::held_reason;
use super::policy::order::{Head, Line};
use super::problem::Problem;
use super::problem::pending::Key;
use super::sentence::{placed_sentence, waiting_sentence};
use super::solve::{Fate, Focus, Solver};
use super::{Explanation, Funnel, HoldReason, Verdict, WhatIf};
use crate::ids::GangId;
use crate::model::{Class, Resources};
use crate::queue::{Amounts, RUNNING, Tree};
use crate::snapshot::{Backfill, GangOrd, GangPhase, GangRow, Held, Settings, Snapshot};
use crate::units::{Millis, Timestamp};
use std::collections::VecDeque;

/// Blocked gangs whose starts are predicted to find that of one behind them.
const PREDICTED: u32 = 256;
/// Gangs ahead that are named.
const NAMED: usize = 5;

/// Explains one gang; `None` when it is not there.
pub(super) fn explain(
    problem: &mut Problem,
    snapshot: &Snapshot,
    settings: &Settings,
    gang: GangId,
    now: Timestamp,
) -> Option<Explanation> {
    let ord = snapshot.gang_ord(gang)?;
    let row = snapshot.gang(ord)?;
    let asked = snapshot.demand(row.demand).first().map_or(Resources::ZERO, |shape| shape.request);
    let mut explanation = Explanation {
        gang,
        verdict: Verdict::Waiting,
        sentence: String::new(),
        reason: None,
        funnel: Funnel::default(),
        position: 0,
        ahead: Vec::new(),
        predicted_start: None,
        what_ifs: Vec::new(),
        asked,
    };
    match &row.phase {
        GangPhase::Placed(placed) => {
            let is_paused = placed.paused && !placed.stopping;
            explanation.verdict = if is_paused { Verdict::NeedsYou } else { Verdict::Placed };
            explanation.sentence = placed_sentence(snapshot, placed, now);
        }
        GangPhase::Held(held) => {
            if matches!(held, Held::Budget(_) | Held::Dependency(_))
                && let Some(never) = never_fits(snapshot, settings, (gang, ord), now)
            {
                return Some(never);
            }
            explanation.verdict = match held {
                Held::Paused => Verdict::NeedsYou,
                Held::Budget(_) => Verdict::NeedsAdmin,
                _ => Verdict::Waiting,
            };
            explanation.reason = Some(held_reason(held));
            explanation.predicted_start = if let Held::Backoff(until) = held { Some(*until) } else { None };
            explanation.sentence = waiting_sentence(snapshot, row, &explanation, None, now);
        }
        GangPhase::Pending => explain_pending(problem, snapshot, settings, (ord, row), now, &mut explanation),
    }
    Some(explanation)
}

/// Why a gang that is held for something else could never start, if that is so: what it waits for would not help it.
fn never_fits(
    snapshot: &Snapshot,
    settings: &Settings,
    (gang, ord): (GangId, GangOrd),
    now: Timestamp,
) -> Option<Explanation> {
    let mut free = snapshot.clone();
    free.gangs.get_mut(ord.0 as usize)?.as_mut()?.phase = GangPhase::Pending;
    let mut problem = Problem::new(&free, settings, now);
    let explained = explain(&mut problem, &free, settings, gang, now)?;
    let never =
        |reason: &HoldReason| matches!(reason, HoldReason::Infeasible(_) | HoldReason::OverQueueLimit { .. });
    explained.reason.as_ref().is_some_and(never).then_some(explained)
}

fn explain_pending(
    problem: &mut Problem,
    snapshot: &Snapshot,
    settings: &Settings,
    (ord, row): (GangOrd, &GangRow),
    now: Timestamp,
    explanation: &mut Explanation,
) {
    (explanation.position, explanation.ahead) = position(problem, snapshot, settings, ord);
    let spare = row.class == Class::Spare;
    let backfill = match settings.backfill {
        Backfill::Easy => Backfill::Conservative,
        as_set => as_set,
    };
    let settings = Settings { backfill, reservations: PREDICTED, patience: Millis::ZERO, ..settings.clone() };
    let mut solver = Solver::new(problem, snapshot, &settings, now);
    solver.focus = Some(Focus::new(ord));
    solver.serve_all();
    let needed = row.size.min;
    let variant = solver.problem.variant(row.demand.0 as usize, 0, spare);
    let changed = solver.problem.pool.changed();
    explanation.funnel = solver.problem.pool.funnel(variant, needed, &changed);
    let open = solver.problem.pool.capacity(variant, false, needed) >= needed;
    let starts_now = solver.started.iter().any(|started| started.gang == ord);
    let start = solver.starts.get(&ord).copied().filter(|start| *start != Timestamp::NEVER);
    explanation.predicted_start = if starts_now { Some(now) } else { start };
    if let Some(focus) = solver.focus.take() {
        let sooner = |what_if: &WhatIf| match (what_if.start, explanation.predicted_start) {
            (Some(with), Some(without)) => with < without,
            (with, _) => with.is_some() || !focus.possible,
        };
        explanation.what_ifs = focus.what_ifs.into_iter().filter(sooner).collect();
    }
    let used =
        solver.fate_of(ord).and_then(|fate| if let Fate::Limit(hit) = fate { Some(hit.used) } else { None });
    explanation.reason = solver.reason_of(ord);
    solver.problem.pool.reset();
    if let Some(HoldReason::Infeasible(empty)) = &explanation.reason {
        // What runs has nothing to do with it.
        explanation.funnel.removed.clone_from(&empty.removed);
    }
    explanation.verdict = match &explanation.reason {
        Some(HoldReason::Infeasible(_)) => Verdict::NeedsYou,
        Some(HoldReason::OverQueueLimit { .. }) => Verdict::NeedsAdmin,
        Some(HoldReason::NoRoom) if !open => Verdict::NeedsAdmin,
        _ => Verdict::Waiting,
    };
    if let Some(HoldReason::QueueLimit { queue, .. }) = &explanation.reason {
        explanation.predicted_start = limit_release(snapshot, queue, now);
    }
    explanation.sentence = waiting_sentence(snapshot, row, explanation, used, now);
}

/// When the first gang under a queue at its limit is expected to end: the next moment at which the limit may let one in.
fn limit_release(snapshot: &Snapshot, queue: &crate::ids::QueuePath, now: Timestamp) -> Option<Timestamp> {
    let under = |path: &str| {
        path == queue.as_str()
            || queue.as_str().is_empty()
            || path.starts_with(&format!("{}/", queue.as_str()))
    };
    let ends = snapshot.gangs.iter().flatten().filter_map(|other| match &other.phase {
        GangPhase::Placed(placed) if under(snapshot.queue(other.queue).spec.path.as_str()) => {
            placed.expected_end
        }
        _ => None,
    });
    ends.min().map(|end| end.max(now))
}

/// The place of a gang in the line, from 1, and who is right before it, nearest first: the order in which gangs would be
/// tried if everybody before found a place. Who can never have one stands in nobody's way, and has no place in line.
fn position(
    problem: &mut Problem,
    snapshot: &Snapshot,
    settings: &Settings,
    gang: GangOrd,
) -> (u32, Vec<GangId>) {
    let mut tree = Tree::new(&snapshot.queues, &problem.total, problem.ranker.shares(settings));
    let mut before: VecDeque<GangId> = VecDeque::new();
    let mut count = 0;
    let mut next: Vec<usize> = vec![0; problem.pending.buckets.len()];
    let mut never: Vec<Option<bool>> = vec![None; next.len()];
    for class in [Class::Critical, Class::Standard, Class::Spare] {
        let mut line = Line::new(settings.queues, snapshot.queues.len());
        for bucket in 0..next.len() {
            push(problem, &tree, &mut line, bucket, 0, class);
        }
        while let Some(head) = line.pop(&tree) {
            let bucket = &problem.pending.buckets[head.bucket];
            let (key, ord) = (bucket.key.clone(), bucket.gangs[next[head.bucket]].gang);
            if *never[head.bucket].get_or_insert_with(|| can_never(problem, &tree, &key)) {
                if ord == gang {
                    return (0, Vec::new());
                }
            } else {
                count += 1;
                if ord == gang {
                    return (count, before.into_iter().rev().collect());
                }
                before.push_back(head.gang);
                if before.len() > NAMED {
                    before.pop_front();
                }
                let variant = problem.variant(key.demand, 0, class == Class::Spare);
                tree.charge(key.queue, &asked(problem, variant, key.size.min));
            }
            next[head.bucket] += 1;
            push(problem, &tree, &mut line, head.bucket, next[head.bucket], class);
        }
    }
    (0, Vec::new())
}

/// What so many tasks of a variant count for.
fn asked(problem: &Problem, variant: usize, tasks: u32) -> Amounts {
    problem.pool.variants[variant].shape.amounts.times(u64::from(tasks))
}

/// Whether gangs of a bucket fit neither the pool nor their queue, whatever ends.
fn can_never(problem: &mut Problem, tree: &Tree, key: &Key) -> bool {
    (0..problem.alternatives(key.demand)).all(|alternative| {
        let variant = problem.variant(key.demand, alternative, key.class == Class::Spare);
        let mut asked = asked(problem, variant, key.size.min);
        asked.0[RUNNING] = 1;
        problem.pool.capacity_if_well(variant, key.size.min) < key.size.min
            || tree.hit(key.queue, &asked).is_some_and(|hit| hit.never())
    })
}

fn push(problem: &Problem, tree: &Tree, line: &mut Line, bucket: usize, at: usize, class: Class) {
    let own = &problem.pending.buckets[bucket];
    if own.key.class == class
        && let Some(place) = own.gangs.get(at)
    {
        line.push(tree, own.key.queue, Head::of(place, own.key.priority, bucket));
    }
}
