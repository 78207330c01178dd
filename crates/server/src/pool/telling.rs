//! Lines of the event log: what changed, from the engine's changes and from requests.

use crate::api::types::EventView;
use pond_core::engine::{Change, State, What};
use pond_core::event::{Actor, PastShare, Request, Target};
use pond_core::ids::{GangId, QueuePath};
use pond_core::model::DeviceChange;
use pond_core::plan::named::Choice;
use pond_core::snapshot::NodeState;
use pond_core::units::{Millis, Timestamp};

/// A line without its number.
#[must_use]
pub fn line(at: Timestamp, actor: &Actor, kind: &str, text: String) -> EventView {
    let (actor, from) = match actor {
        Actor::Pool => ("pool".to_owned(), None),
        Actor::Node(node) => (format!("node:{node}"), None),
        Actor::User { name, from } => (name.to_string(), Some(from.clone())),
    };
    EventView {
        seq: 0,
        at_ms: at.0,
        actor,
        from,
        kind: kind.to_owned(),
        job: None,
        subject: None,
        node: None,
        text,
    }
}

/// The line of one change.
#[must_use]
pub fn change(actor: &Actor, change: &Change) -> EventView {
    let reason = match &*change.reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let (kind, text) = match &change.what {
        What::Job { job, over: Some(false) } => {
            ("job.submitted".to_owned(), format!("job {job} was taken in{reason}"))
        }
        What::Job { job, over: Some(true) } => ("job.ended".to_owned(), format!("job {job} is over{reason}")),
        What::Job { job, over: None } => ("job.removed".to_owned(), format!("job {job} was removed{reason}")),
        What::Gang { gang, from, to, attempt, evicted, .. } => {
            let text = match from == to {
                true => format!("{gang} is {}{reason}", gang_state(*to)),
                false => {
                    format!("{gang} {} → {} (attempt {attempt}){reason}", gang_state(*from), gang_state(*to))
                }
            };
            (format!("gang.{}", if *evicted { "evicted" } else { gang_state(*to) }), text)
        }
        What::Idle { gang } => ("gang.idle".to_owned(), format!("{gang} is idle{reason}")),
        What::Task { task, node, exit: Some(exit), .. } => {
            let how = super::view::words::exit(*exit);
            ("task.ended".to_owned(), format!("{task} ended on {node}: {how}{reason}"))
        }
        What::Task { task, node, exit: None, .. } => {
            ("task.changed".to_owned(), format!("{task} on {node}{reason}"))
        }
        What::Node { node, from: None, to } => {
            (format!("node.{}", node_state(*to)), format!("node {node} joined{reason}"))
        }
        What::Node { node, to, .. } => {
            (format!("node.{}", node_state(*to)), format!("node {node} is {}{reason}", node_state(*to)))
        }
        What::Device { node, device, healthy: true } => {
            ("device.healthy".to_owned(), format!("device {device} of {node} is usable{reason}"))
        }
        What::Device { node, device, healthy: false } => {
            ("device.sick".to_owned(), format!("device {device} of {node} is unusable{reason}"))
        }
        What::Share { task, device, act: None, .. } => {
            ("share.kept".to_owned(), format!("{task} keeps to its share of device {device} again{reason}"))
        }
        What::Share { task, device, act: Some(act), .. } => {
            let done = match act {
                PastShare::Flag => "",
                PastShare::Throttle => "; it is throttled",
                PastShare::End => "; it is ended",
            };
            ("share.past".to_owned(), format!("{task} goes past its share of device {device}{reason}{done}"))
        }
        What::Budget { queue, percent } => (
            "budget.alert".to_owned(),
            format!("{percent} % of the budget of {} is spent{reason}", queue_name(queue)),
        ),
        What::OutOfBudget { queue, over: true } => {
            ("budget.spent".to_owned(), format!("the budget of {} is spent{reason}", queue_name(queue)))
        }
        What::OutOfBudget { queue, over: false } => {
            ("budget.room".to_owned(), format!("the budget of {} has room again", queue_name(queue)))
        }
        What::Queue { queue, present: true } => {
            ("queue.set".to_owned(), format!("queue {queue} was set{reason}"))
        }
        What::Queue { queue, present: false } => {
            ("queue.removed".to_owned(), format!("queue {queue} was removed{reason}"))
        }
    };
    about(line(change.at, actor, &kind, text), &change.what)
}

fn about(mut view: EventView, what: &What) -> EventView {
    match what {
        What::Job { job, .. } => view.job = Some(job.0),
        What::Gang { gang, .. } | What::Idle { gang } => {
            view.job = Some(gang.job.0);
            view.subject = Some(gang.to_string());
        }
        What::Task { task, node, .. } => {
            view.job = Some(task.gang.job.0);
            view.subject = Some(task.to_string());
            view.node = Some(node.to_string());
        }
        What::Share { task, node, .. } => {
            view.job = Some(task.gang.job.0);
            view.subject = Some(task.to_string());
            view.node = Some(node.to_string());
        }
        What::Node { node, .. } | What::Device { node, .. } => view.node = Some(node.to_string()),
        What::Queue { .. } => {}
        What::Budget { queue, .. } | What::OutOfBudget { queue, .. } => {
            view.subject = Some(queue.to_string())
        }
    }
    view
}

/// A queue in a sentence.
fn queue_name(queue: &QueuePath) -> &str {
    match queue.as_str() {
        "" => "the pool",
        path => path,
    }
}

/// A start was foretold.
#[must_use]
pub fn forecast_made(at: Timestamp, gang: GangId, start: Timestamp) -> EventView {
    let text = format!("{gang} is expected to start in {}", start.since(at));
    of_gang(line(at, &Actor::Pool, "forecast.made", text), gang)
}

/// A start that was foretold has come, so many milliseconds later than foretold.
#[must_use]
pub fn forecast_met(at: Timestamp, gang: GangId, late_ms: i64) -> EventView {
    let size = Millis(late_ms.unsigned_abs());
    let text = match late_ms {
        -1000..=1000 => format!("{gang} starts when it was expected to"),
        1001.. => format!("{gang} starts {size} later than was expected"),
        _ => format!("{gang} starts {size} earlier than was expected"),
    };
    of_gang(line(at, &Actor::Pool, "forecast.met", text), gang)
}

fn of_gang(mut view: EventView, gang: GangId) -> EventView {
    view.job = Some(gang.job.0);
    view.subject = Some(gang.to_string());
    view
}

fn policy(choice: Option<&Choice>) -> String {
    let Some(Choice { policy, placement }) = choice else {
        return "asked to decide as the pool was started".to_owned();
    };
    let placement = serde_json::to_value(placement).unwrap_or_default();
    format!("asked to decide by policy {policy}, placement {}", placement.as_str().unwrap_or_default())
}

/// The line of a request that was accepted; `None` for those whose changes say it all.
#[must_use]
pub fn request(at: Timestamp, actor: &Actor, request: &Request) -> Option<EventView> {
    let of = |target: &Target| match target.index {
        Some(index) => target.job.gang(index).to_string(),
        None => target.job.to_string(),
    };
    let (verb, text, job) = match request {
        Request::Submit(_) | Request::Sessions { .. } => return None,
        Request::Stop { target, now } => {
            let how = if *now { " at once" } else { "" };
            ("stop", format!("asked to stop {}{how}", of(target)), Some(target.job))
        }
        Request::Pause { target, release } => {
            let how = if *release { ", giving everything back" } else { "" };
            ("pause", format!("asked to pause {}{how}", of(target)), Some(target.job))
        }
        Request::Resume(target) => ("resume", format!("asked to resume {}", of(target)), Some(target.job)),
        Request::Retry(target) => ("retry", format!("asked to retry {}", of(target)), Some(target.job)),
        Request::Remove(job) => ("remove", format!("asked to remove job {job}"), Some(*job)),
        Request::Resize { target, request, burst, devices } => {
            let shares: String = devices.iter().map(device_change).collect();
            let text = format!(
                "asked to give {} {} cores (up to {}), {} of memory (up to {}){shares}",
                of(target),
                request.cpu,
                burst.cpu,
                request.memory,
                burst.memory
            );
            ("resize", text, Some(target.job))
        }
        Request::SetQueue(spec) => ("set_queue", format!("asked to set queue {}", spec.path), None),
        Request::SetPolicy(choice) => ("set_policy", policy(choice.as_ref()), None),
        Request::RemoveQueue(path) => ("remove_queue", format!("asked to remove queue {path}"), None),
        Request::Drain { node, on } => {
            let what = if *on { "drain" } else { "resume" };
            ("drain", format!("asked to {what} node {node}"), None)
        }
        Request::Label { node, labels } => {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            ("label", format!("asked to label node {node}: {}", labels.join(", ")), None)
        }
        Request::SetPrices { prices, .. } => {
            ("set_prices", format!("asked to set {} prices", prices.len()), None)
        }
        Request::EndPrice(id) => ("end_price", format!("asked to end price {id}"), None),
        Request::SetBudget(budget) => {
            let money = crate::money::decimal(budget.limit.into());
            (
                "set_budget",
                format!("asked to set the budget of {} to {money}", queue_name(&budget.queue)),
                None,
            )
        }
        Request::RemoveBudget(queue) => {
            ("remove_budget", format!("asked to remove the budget of {}", queue_name(queue)), None)
        }
    };
    let mut view = line(at, actor, &format!("request.{verb}"), text);
    view.job = job.map(|job| job.0);
    Some(view)
}

fn device_change(change: &DeviceChange) -> String {
    let time = change.compute.map(|part| format!("{part} of its time"));
    let memory = change.memory.map(|size| format!("{size} of its memory"));
    let weight =
        Some(change.slack.weight).filter(|weight| *weight > 0).map(|weight| format!("weight {weight}"));
    let parts: Vec<String> = time.into_iter().chain(memory).chain(weight).collect();
    format!(", of its {} {}", super::view::word(&change.kind), parts.join(" and "))
}

const fn gang_state(state: State) -> &'static str {
    match state {
        State::Held => "held",
        State::Pending => "pending",
        State::Starting => "starting",
        State::Running => "running",
        State::Frozen => "frozen",
        State::Paused => "paused",
        State::Stopping => "stopping",
        State::Succeeded => "succeeded",
        State::Failed => "failed",
        State::Stopped => "stopped",
        State::Cancelled => "cancelled",
    }
}

const fn node_state(state: NodeState) -> &'static str {
    super::view::machine::node_state(state)
}
