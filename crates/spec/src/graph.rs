//! Jobs of one file that wait for each other by name: an order to submit them in, or the cycle there is.

use crate::check::Finding;
use crate::error::Fault;
use crate::jobfile::JobFile;
use crate::similar::nearest;
use std::collections::BTreeMap;

/// One name in `after`: where it stands in the list, and whom it names.
#[derive(Clone, Copy)]
struct Edge {
    place: usize,
    target: usize,
}

/// Whether a name in `after` may be that of a job outside the list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strangers {
    /// Somebody else will look for it.
    Allowed,
    /// It is a mistake.
    Refused,
}

/// Indices in an order in which each job waits only for earlier ones; jobs that are free to go keep the file's order.
///
/// On failure: the index of the job at fault, the field, the fault.
pub(crate) fn order(jobs: &[JobFile], strangers: Strangers) -> Result<Vec<usize>, (usize, String, Fault)> {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        let Some(name) = &job.name else { continue };
        let first = *names.entry(name).or_insert(index);
        let is_awaited = || jobs.iter().flat_map(|job| &job.after).any(|after| after.job() == name);
        if first != index && is_awaited() {
            let why =
                format!("two jobs of this file are named `{name}`, and another waits for it; rename one");
            return Err((index, "name".to_owned(), Fault::BadValue { why }));
        }
    }
    let mut waits: Vec<Vec<Edge>> = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        waits.push(edges(job, &names, strangers).map_err(|(field, fault)| (index, field, fault))?);
    }
    let mut walk = Walk { jobs, waits: &waits, state: vec![Mark::New; jobs.len()], order: Vec::new() };
    for index in 0..jobs.len() {
        walk.visit(index)?;
    }
    Ok(walk.order)
}

fn edges(job: &JobFile, names: &BTreeMap<&str, usize>, strangers: Strangers) -> Result<Vec<Edge>, Finding> {
    let mut out = Vec::new();
    for (place, after) in job.after.iter().enumerate() {
        match names.get(after.job()) {
            Some(&target) => out.push(Edge { place, target }),
            None if strangers == Strangers::Allowed || after.job().parse::<u64>().is_ok() => {}
            None => {
                let near = nearest(after.job(), names.keys().copied());
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let why = format!("no job of this file is named `{}`{hint}", crate::read::short(after.job()));
                return Err((format!("after[{place}]"), Fault::BadValue { why }));
            }
        }
    }
    Ok(out)
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

struct Walk<'j> {
    jobs: &'j [JobFile],
    waits: &'j [Vec<Edge>],
    state: Vec<Mark>,
    order: Vec<usize>,
}

impl Walk<'_> {
    /// Depth first with a stack of its own: a chain may be as long as the file has documents.
    fn visit(&mut self, root: usize) -> Result<(), (usize, String, Fault)> {
        if self.state[root] != Mark::New {
            return Ok(());
        }
        self.state[root] = Mark::Open;
        let mut stack = vec![(root, 0)];
        while let Some((index, next)) = stack.pop() {
            let Some(&Edge { place, target }) = self.waits[index].get(next) else {
                self.state[index] = Mark::Done;
                self.order.push(index);
                continue;
            };
            stack.push((index, next + 1));
            match self.state[target] {
                Mark::Done => {}
                Mark::New => {
                    self.state[target] = Mark::Open;
                    stack.push((target, 0));
                }
                Mark::Open => {
                    let start = stack.iter().position(|&(open, _)| open == target).unwrap_or(0);
                    let cycle = stack[start..].iter().map(|&(open, _)| open).chain([target]);
                    let jobs = cycle.map(|open| self.jobs[open].name.clone().unwrap_or_default()).collect();
                    return Err((index, format!("after[{place}]"), Fault::Cycle { jobs }));
                }
            }
        }
        Ok(())
    }
}
