//! Named invariants of the engine's state. Empty in every test, counted in production.

use super::Engine;
use super::job::{Gang, Job, Phase};
use super::rows::Counted;
use crate::check::Violation;
use crate::snapshot::{GangPhase, Snapshot};
use std::collections::BTreeSet;
use std::fmt::Debug;

/// Whether the snapshot kept by differences is what the state determines, and the state agrees with itself.
#[must_use]
pub fn check_snapshot(engine: &Engine) -> Vec<Violation> {
    let mut found = Vec::new();
    let fresh = engine.rows_from_scratch(engine.queue_specs()).snapshot;
    let kept = engine.snapshot();
    same("nodes", &kept.nodes, &fresh.nodes, &mut found);
    same("queues", &kept.queues, &fresh.queues, &mut found);
    gangs(kept, &fresh, &mut found);
    demands(kept, &fresh, &mut found);
    for job in engine.jobs() {
        job_counts(job, &mut found);
        for gang in &job.gangs {
            tasks(engine, job, gang, &mut found);
        }
    }
    node_tasks(engine, &mut found);
    found
}

fn same<T: PartialEq + Debug>(rule: &'static str, kept: &[T], fresh: &[T], found: &mut Vec<Violation>) {
    if kept.len() != fresh.len() {
        let detail = format!("{} rows kept, {} determined", kept.len(), fresh.len());
        found.push(Violation { rule, detail });
    }
    for (at, (kept, fresh)) in kept.iter().zip(fresh).enumerate() {
        if kept != fresh {
            found.push(Violation { rule, detail: format!("row {at}: kept {kept:?}, determined {fresh:?}") });
        }
    }
}

/// Gang rows may only differ in empty rows at the end.
fn gangs(kept: &Snapshot, fresh: &Snapshot, found: &mut Vec<Violation>) {
    let most = kept.gangs.len().max(fresh.gangs.len());
    for at in 0..most {
        let (kept, fresh) =
            (kept.gangs.get(at).and_then(Option::as_ref), fresh.gangs.get(at).and_then(Option::as_ref));
        if kept != fresh {
            let detail = format!("row {at}: kept {kept:?}, determined {fresh:?}");
            found.push(Violation { rule: "gangs", detail });
        }
    }
}

fn demands(kept: &Snapshot, fresh: &Snapshot, found: &mut Vec<Violation>) {
    for row in kept.gangs.iter().flatten() {
        let at = row.demand.0 as usize;
        if kept.demands.get(at) != fresh.demands.get(at) {
            let detail = format!("{} asks for demand {at}, which is not its own", row.id);
            found.push(Violation { rule: "demands", detail });
        }
    }
    let used: BTreeSet<usize> = kept.gangs.iter().flatten().map(|row| row.demand.0 as usize).collect();
    for (at, shapes) in kept.demands.iter().enumerate() {
        if !used.contains(&at) && !shapes.is_empty() {
            let detail = format!("demand {at} is kept though nobody asks for it");
            found.push(Violation { rule: "demands", detail });
        }
    }
}

fn job_counts(job: &Job, found: &mut Vec<Violation>) {
    let count = |want: fn(&Gang) -> bool| job.gangs.iter().filter(|gang| want(gang)).count();
    let active = count(|gang| matches!(gang.phase, Phase::Pending | Phase::Placed(_)));
    let over = count(|gang| matches!(gang.phase, Phase::Finished { .. }));
    let failed = count(|gang| gang.outcome().is_some_and(|end| !end.is_success()));
    let counts = [
        ("active", job.active as usize, active),
        ("unfinished", job.unfinished as usize, job.gangs.len() - over),
        ("failed", job.failed as usize, failed),
    ];
    for (what, kept, counted) in counts {
        if kept != counted {
            let detail = format!("job {}: {kept} {what} kept, {counted} counted", job.id);
            found.push(Violation { rule: "job_counts", detail });
        }
    }
    if job.spec.parallel.is_some_and(|most| active > most as usize) {
        let detail = format!("job {}: {active} elements may run, more than its limit", job.id);
        found.push(Violation { rule: "array_limit", detail });
    }
    if (job.unfinished == 0) != job.finished.is_some() {
        let detail = format!("job {}: {} unfinished, ended {:?}", job.id, job.unfinished, job.finished);
        found.push(Violation { rule: "job_counts", detail });
    }
    for gang in &job.gangs {
        if matches!(gang.phase, Phase::Finished { .. }) == gang.rows.is_some() {
            let detail = format!("{}: a row if and only if it has not ended", gang.id);
            found.push(Violation { rule: "gang_rows", detail });
        }
    }
}

fn tasks(engine: &Engine, job: &Job, gang: &Gang, found: &mut Vec<Violation>) {
    let Some(live) = gang.live() else { return };
    let count = live.tasks.len() + live.gone.len();
    if count < job.spec.size.min as usize || count > job.spec.size.max as usize {
        let detail = format!("{} has {count} ranks", gang.id);
        found.push(Violation { rule: "gang_whole", detail });
    }
    for task in &live.tasks {
        if task.generation > gang.generation {
            let detail = format!("{}.{} is under a generation never given", gang.id, task.rank);
            found.push(Violation { rule: "generation", detail });
        }
        if Counted::of(task, job.spec.class, live.is_frozen()) != task.counted {
            let detail = format!("{}.{} is counted as {:?}", gang.id, task.rank, task.counted);
            found.push(Violation { rule: "counted", detail });
        }
        if !engine.nodes()[task.node.0 as usize].tasks.contains(&gang.id.task(task.rank)) {
            let detail = format!("{}.{} is not in its node's list", gang.id, task.rank);
            found.push(Violation { rule: "node_tasks", detail });
        }
    }
}

fn node_tasks(engine: &Engine, found: &mut Vec<Violation>) {
    for (at, node) in engine.nodes().iter().enumerate() {
        for id in &node.tasks {
            if engine.task(*id).is_none_or(|task| task.node.0 as usize != at) {
                let detail = format!("{id} is listed at node {at} and not there");
                found.push(Violation { rule: "node_tasks", detail });
            }
        }
        let row = &engine.snapshot().nodes[at];
        let fits = row.granted.memory <= row.capacity.memory && row.granted.cpu <= row.capacity.cpu;
        let seated = row.gangs.iter().all(|ord| {
            let gang = engine.snapshot().gang(*ord);
            gang.is_some_and(|gang| matches!(gang.phase, GangPhase::Placed(_)))
        });
        if !seated {
            let detail = format!("node {at} seats a gang that has no place");
            found.push(Violation { rule: "seats", detail });
        }
        if !fits && row.gangs.is_empty() {
            let detail = format!("node {at} grants {:?} to nobody", row.granted);
            found.push(Violation { rule: "granted", detail });
        }
    }
}
