//! The first page: how much of the pool is used, what waits and why, and what needs somebody.

use super::session::Visitor;
use super::{Page, Shell, assets, render, show};
use crate::api::types::{JobQuery, JobSummary, NodeView, Problem, StatusView};
use crate::api::{Shared, jobs, pool};
use crate::auth::rights::{Place, Right, above};
use crate::pool::inbox::Sight;
use crate::pool::view;
use askama::Template;
use axum::extract::State as Extract;
use axum::http::Uri;

/// Jobs that need somebody, at most.
const NEEDY: u32 = 8;
/// A failure older than this is no news, in milliseconds.
const NEWS_MS: u64 = 24 * 3_600_000;

/// Reasons of what can never start.
const NEVER: [&str; 2] = ["infeasible", "over_queue_limit"];

/// One part of a bar.
pub struct Segment {
    /// What it is, for the style: `used`, `waste`, `idle`, `down`, ...
    pub key: &'static str,
    /// The same for people.
    pub label: &'static str,
    /// How much.
    pub amount: String,
    /// Where it begins, in thousandths.
    pub from: u64,
    /// How wide it is, in thousandths.
    pub width: u64,
    /// Per cent; those of a bar sum to 100.
    pub percent: u64,
}

/// A whole and its parts.
pub struct Bar {
    /// Of what.
    pub title: &'static str,
    /// All of it.
    pub whole: String,
    /// The parts, which sum to the whole.
    pub segments: Vec<Segment>,
}

impl Bar {
    /// A bar of these parts. Empty when there is nothing to show.
    #[must_use]
    pub fn new(
        title: &'static str,
        parts: &[(&'static str, &'static str, u64)],
        unit: impl Fn(u64) -> String,
    ) -> Self {
        let amounts: Vec<u64> = parts.iter().map(|part| part.2).collect();
        let (widths, percents) = (shares(&amounts, 1000), shares(&amounts, 100));
        let mut from = 0;
        let segments = parts.iter().zip(widths.into_iter().zip(percents)).map(|(part, (width, percent))| {
            let segment = Segment { key: part.0, label: part.1, amount: unit(part.2), from, width, percent };
            from += width;
            segment
        });
        let segments = segments.collect();
        Self {
            title,
            whole: unit(amounts.iter().fold(0, |sum, amount| sum.saturating_add(*amount))),
            segments,
        }
    }

    /// Its title as a part of an id, which has no spaces.
    #[must_use]
    pub fn id(&self) -> String {
        self.title.replace(' ', "-")
    }

    /// What a screen reader says.
    #[must_use]
    pub fn sentence(&self) -> String {
        let parts =
            self.segments.iter().map(|part| format!("{} {} ({} %)", part.label, part.amount, part.percent));
        format!("{} of {}: {}", self.title, self.whole, parts.collect::<Vec<_>>().join(", "))
    }
}

/// Divides `total` by amounts so that the parts sum to it: each gets its share rounded down, and what is left goes to the
/// largest remainders (Hamilton's method), earlier ones first. All zero: all zero.
fn shares(amounts: &[u64], total: u64) -> Vec<u64> {
    let whole: u128 = amounts.iter().map(|&amount| u128::from(amount)).sum();
    if whole == 0 {
        return vec![0; amounts.len()];
    }
    let exact = |amount: u64| u128::from(amount) * u128::from(total);
    let mut parts: Vec<u64> =
        amounts.iter().map(|&amount| u64::try_from(exact(amount) / whole).unwrap_or(total)).collect();
    let mut order: Vec<usize> = (0..amounts.len()).collect();
    order.sort_by_key(|&place| (std::cmp::Reverse(exact(amounts[place]) % whole), place));
    let left = total - parts.iter().sum::<u64>();
    for place in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        parts[place] += 1;
    }
    parts
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    shell: Shell,
    status: StatusView,
    bars: Vec<Bar>,
    reasons: Vec<(String, u64)>,
    waiting: u64,
    running: u64,
    /// That can never start as things are: these are nobody's waiting.
    never: u64,
    infeasible: Vec<JobSummary>,
    failed: Vec<JobSummary>,
    /// The visitor's own.
    paused: Vec<JobSummary>,
    /// How many wait for money, by the queues of budgets that the visitor may change.
    penniless: Vec<(String, u64)>,
    nodes: Vec<NodeView>,
    latest: Vec<JobSummary>,
}

impl Home {
    fn calm(&self) -> bool {
        self.infeasible.is_empty()
            && self.failed.is_empty()
            && self.paused.is_empty()
            && self.penniless.is_empty()
            && self.nodes.is_empty()
            && self.status.health.message.is_none()
    }
}

/// The first page.
pub async fn page(Extract(shared): Extract<Shared>, visitor: Visitor, here: Uri) -> Page {
    let shell = Shell::new(&visitor, "Pool", "home", &here);
    let status = shared.status().await?;
    let find = |state: &str, mine: bool, limit: u32| {
        let user = mine.then(|| visitor.caller.principal.user.to_string());
        let query =
            JobQuery { state: Some(state.to_owned()), user, limit: Some(limit), ..JobQuery::default() };
        jobs::list(Extract(shared.clone()), visitor.caller.clone(), crate::api::extract::Params(query))
    };
    let infeasible = find("infeasible", !shell.admin, NEEDY).await?.0.jobs;
    let mut failed = find("failed", true, NEEDY).await?.0.jobs;
    failed.retain(|job| job.ended_ms.is_some_and(|at| shell.now.saturating_sub(at) < NEWS_MS));
    let paused = find("paused", true, NEEDY).await?.0.jobs;
    let penniless = penniless(&shared, &visitor).await?;
    let latest = find("all", false, 6).await?.0.jobs;
    let mut nodes = pool::nodes(Extract(shared.clone()), visitor.caller.clone()).await?.0;
    nodes.retain(|node| node.state != "ready" || node.devices.iter().any(|device| !device.healthy));
    let mut reasons: Vec<(String, u64)> = status
        .waiting
        .iter()
        .filter(|(word, _)| !NEVER.contains(&word.as_str()))
        .map(|(word, &count)| (word.clone(), count))
        .collect();
    reasons.sort_by_key(|(word, count)| (std::cmp::Reverse(*count), word.clone()));
    let count = |words: &[&str]| words.iter().filter_map(|&word| status.elements.get(word)).sum();
    let (waiting, running) = (count(&["waiting", "paused"]), count(&["running", "starting", "frozen"]));
    let never = count(&["infeasible"]);
    let bars = bars(&status);
    render(&Home {
        shell,
        status,
        bars,
        reasons,
        waiting,
        running,
        never,
        infeasible,
        failed,
        paused,
        penniless,
        nodes,
        latest,
    })
}

/// What waits for money that the visitor may give.
async fn penniless(shared: &Shared, visitor: &Visitor) -> Result<Vec<(String, u64)>, Problem> {
    let caller = visitor.caller.clone();
    let look = move |sight: &Sight<'_>| {
        let all = view::job::penniless(sight, |queue| caller.may(Right::See, Place::Queue(queue)));
        all.into_iter().filter(|(queue, _)| caller.may(Right::Shape, Place::Queue(above(queue)))).collect()
    };
    shared.handle.look(look).await
}

/// CPU, memory and devices. Of devices nobody measures the use yet, so what is granted is one part.
fn bars(status: &StatusView) -> Vec<Bar> {
    let parts = |all: u64, down: u64, granted: u64, busy: u64, burst: u64| {
        let down = down.min(all);
        let granted = granted.min(all - down);
        let used = busy.min(granted);
        // What is used beyond grants is lent by those who do not use theirs, then taken of what nobody has.
        let burst = burst.min(all - down - used);
        let waste = (granted - used).min(all - down - used - burst);
        [
            ("used", "Used", used),
            ("burst", "Used beyond grants and by spare", burst),
            ("waste", "Granted, not used", waste),
            ("idle", "Idle", all - down - used - burst - waste),
            ("down", "Down", down),
        ]
    };
    let (all, down, granted) = (&status.capacity, &status.down, &status.granted);
    let cpu = parts(
        all.cpu_milli,
        down.cpu_milli,
        granted.cpu_milli,
        status.busy_cpu_milli,
        status.burst_cpu_milli,
    );
    let memory =
        parts(all.memory_bytes, down.memory_bytes, granted.memory_bytes, status.used_memory_bytes, 0);
    let memory: Vec<_> = memory.into_iter().filter(|part| part.0 != "burst").collect();
    let mut bars = vec![Bar::new("CPU", &cpu, show::cores), Bar::new("Memory", &memory, show::bytes)];
    if status.devices > 0 {
        let all = status.devices * 1000;
        let granted = status.devices_granted_thousandths.min(all);
        let devices = [("granted", "Granted", granted), ("idle", "Idle", all - granted)];
        bars.push(Bar::new("Devices", &devices, show::tidy));
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_of_a_bar_sum_to_all_of_it(amounts in proptest::collection::vec(0_u64..=u64::MAX, 1..6)) {
            let all: u128 = amounts.iter().map(|&amount| u128::from(amount)).sum();
            for total in [100, 1000] {
                let parts = shares(&amounts, total);
                prop_assert_eq!(parts.iter().sum::<u64>(), if all == 0 { 0 } else { total });
                for (part, &amount) in parts.iter().zip(&amounts) {
                    let exact = u128::from(amount) * u128::from(total);
                    prop_assert!(u128::from(*part) * all <= exact + all && exact <= (u128::from(*part) + 1) * all);
                }
            }
        }
    }
}
