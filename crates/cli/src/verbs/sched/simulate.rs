//! `pond sched simulate`: a trace under one policy or several.

use super::present::{Runs, present};
use super::runs::{Meter, Task, all, threads};
use super::source::scene;
use super::{policies, settings, store};
use crate::args::SimulateArgs;
use crate::error::{Done, codes};
use crate::verbs::Ctx;

/// `pond sched simulate`.
///
/// # Errors
/// A wrong command line, a trace that cannot be used, a file that cannot be written.
pub fn simulate(ctx: &Ctx, args: &SimulateArgs) -> Done {
    let policies = policies::named(&args.policy)?;
    args.report.places(args.save.as_ref())?;
    let each = settings::of_each(&policies, &args.sim, args.report.html.is_some())?;
    let scene = scene(&ctx.out, &args.trace, args.sim.seed)?;
    let tasks: Vec<Task<'_>> = each
        .iter()
        .map(|settings| Task {
            cluster: &scene.jobs.cluster,
            workload: &scene.jobs.workload,
            settings,
            learns: scene.learns,
        })
        .collect();
    let mut meter = Meter::new((scene.jobs.workload.jobs.len() * tasks.len()) as u64);
    let outcomes = all(&tasks, threads(args.sim.threads), &mut meter, 0)?;
    drop(meter);
    let runs = policies.into_iter().map(|(name, _)| name).zip(outcomes).collect();
    let runs = Runs { title: scene.title, about: scene.about, runs };
    if let Some(path) = &args.save {
        store::save(path, &runs)?;
    }
    present(&ctx.out, &runs, &args.report)?;
    if let Some(path) = &args.save {
        ctx.out.note(&format!("kept: {}", path.display()));
    }
    Ok(codes::OK)
}
