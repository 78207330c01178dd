//! The start of a pool: image, then history after it, then whatever a crash left undone.

use super::desk::{Desk, Turn};
use super::drive::Drive;
use super::earlier::Earlier;
use super::forecast::Forecasts;
use super::inbox::{Condition, Message};
use super::ledger::Ledger;
use super::outcomes::Keeper;
use super::tally::Tallies;
use super::telling;
use super::trail::Trails;
use crate::access::Access;
use crate::api::types::JobDetail;
use crate::auth::people::{People, PeopleChange};
use crate::clock::Clock;
use crate::feed::Feed;
use crate::notify::Notices;
use crate::secrets::Secrets;
use crate::spans::Traces;
use crate::store::{Found, Store, Write};
use pond_core::engine::{Engine, Reply, Settings, What};
use pond_core::event::{Actor, Event, Request};
use pond_core::ids::{JobId, TaskId};
use pond_core::plan::Planner;
use pond_core::substrate::{Entry, Record};
use pond_core::units::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// What the drive thread is given beside what was found.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The live end of the event log.
    pub feed: Arc<Feed>,
    /// Counts.
    pub tallies: Arc<Tallies>,
    /// Messages.
    pub inbox: Receiver<Message>,
    /// Where effects go.
    pub access: Arc<dyn Access>,
    /// Whether the journal can be written.
    pub condition: Arc<Condition>,
    /// Users, roles and tokens.
    pub people: People,
    /// Subscriptions and how the pool tells.
    pub notices: Notices,
    /// Secrets.
    pub secrets: Secrets,
    /// How the pool is run.
    pub settings: Settings,
    /// Finished jobs kept in memory.
    pub keep_finished: usize,
    /// Of those that are not, the newest that succeeded, newest first.
    pub archived: Vec<JobDetail>,
}

/// Makes up the state of the pool again.
#[must_use]
pub fn start(found: Found, parts: Parts) -> Drive {
    let (mut engine, from) = match found.image {
        Some((record, image)) => (Engine::restore(image, parts.settings.clone()), record),
        None => (Engine::new(parts.settings.clone()), 0),
    };
    let last_record = found.records.last().map_or(from, |record| record.seq);
    let mut ledger =
        Ledger::new(parts.store, parts.feed, parts.tallies.clone(), last_record, found.last_event);
    // From here on it is ours: what the engine has taken in, this version can write and read.
    ledger.add(Write::Writer);
    for record in found.records {
        replay(&mut engine, &mut ledger, &parts.people, record, found.told);
    }
    let mut clock = Clock::after(found.last);
    let now = clock.read().now;
    let text = format!("the server started with {last_record} lines of history");
    ledger.tell(telling::line(now, &Actor::Pool, "server.started", text), 0);
    let held = sessions_are_gone(&engine);
    let finished = finished(&engine);
    let mut earlier = Earlier::default();
    earlier.recall(&parts.archived, &engine);
    let mut forecasts = Forecasts::default();
    let outcomes = Keeper::recall(found.outcomes.as_deref(), &mut forecasts, &mut earlier);
    let desk = Desk {
        ledger,
        clock,
        inbox: parts.inbox,
        access: parts.access,
        condition: parts.condition,
        tallies: parts.tallies,
        people: parts.people,
        notices: parts.notices,
        secrets: parts.secrets,
        keep_finished: parts.keep_finished,
        finished,
        held,
        turn: Turn::default(),
        node: None,
        traces: Traces::recall(found.traced_as, &engine),
        samples: BTreeMap::new(),
        trails: Trails::recall(found.trails),
        forecasts,
        earlier,
        outcomes,
    };
    Drive { planner: Planner::new(parts.settings.plan), engine, desk }
}

/// Takes in one line of history again. Its effects were carried out when it was new, or the node's inventory will show
/// that they were not; its event-log lines are written unless they were.
fn replay(engine: &mut Engine, ledger: &mut Ledger, people: &People, record: Record, told: u64) {
    let Record { seq, at, actor, entry } = record;
    let (changes, line) = match entry {
        Entry::Plan(plan) => (engine.commit(at, &plan).changes, None),
        Entry::Event(event) => {
            let line = match &event {
                Event::Request(request) => telling::request(at, &actor, request),
                _ => None,
            };
            let submitted = matches!(&event, Event::Request(Request::Submit(_)));
            let handled = engine.handle(at, &actor, event);
            if submitted {
                let job = match &handled {
                    Ok(outcome) => match outcome.reply {
                        Reply::Submitted(job) => Some(job.0),
                        Reply::Done => None,
                    },
                    Err(_) => None,
                };
                ledger.add(Write::KeyJob { record: seq, job });
            }
            match handled {
                Ok(outcome) => (outcome.changes, line),
                Err(_refused_then_too) => (Vec::new(), None),
            }
        }
    };
    if seq > told {
        if let Some(line) = line {
            ledger.tell(line, seq);
        }
        for change in &changes {
            ledger.tell(telling::change(&actor, change), seq);
            if let What::Queue { queue, present: false } = &change.what {
                let gone = PeopleChange::QueueGone(queue.to_string());
                people.apply(&gone);
                ledger.add(Write::People(gone));
            }
        }
    }
}

/// Whoever was attached is not any more.
fn sessions_are_gone(engine: &Engine) -> Vec<(Actor, Event)> {
    let live = engine.jobs().flat_map(|job| &job.gangs).filter_map(|gang| Some((gang.id, gang.live()?)));
    let tasks =
        live.flat_map(|(id, live)| live.tasks.iter().map(move |task| (id.task(task.rank), task.sessions)));
    let attached: Vec<TaskId> = tasks.filter(|&(_, sessions)| sessions > 0).map(|(task, _)| task).collect();
    let request = |task| (Actor::Pool, Event::Request(Request::Sessions { task, count: 0 }));
    attached.into_iter().map(request).collect()
}

fn finished(engine: &Engine) -> VecDeque<(JobId, Timestamp)> {
    let mut jobs: Vec<(Timestamp, JobId)> =
        engine.jobs().filter_map(|job| Some((job.finished?, job.id))).collect();
    jobs.sort_unstable();
    jobs.into_iter().map(|(at, id)| (id, at)).collect()
}
