//! Properties: any events whatever, hostile ones included, in any order.

use super::money;
use crate::check::Violation;
use crate::engine::{Engine, Settings, check_snapshot};
use crate::event::{
    Actor, DeviceGrant, DeviceUse, Effect, Event, Exit, Found, Report, Request, Sign, Target, TaskSample,
    Wear,
};
use crate::ids::{Generation, JobId, NodeName, QueuePath, TaskId};
use crate::model::{
    Class, Dependency, Device, DeviceChange, DeviceKind, DeviceRequest, GangSize, IdleAction, IdlePolicy,
    JobSpec, NodeSpec, QueueSpec, Resources, RetryOn, ShareMode, Slack, Traits,
};
use crate::money::Period;
use crate::partition::{Part, known};
use crate::plan::named::{self, Choice};
use crate::plan::{Decision, Placement, Plan, Planner, PreemptCause};
use crate::snapshot::PlacementPolicy;
use crate::substrate::{Entry, Record};
use crate::testkit::{cpus, gang};
use crate::units::{Bytes, MilliCpu, Millis, Thousandths, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One step: what, about what, how, and how long after the step before.
pub(super) type Step = (u8, u8, u8, u16);

fn node(at: u8) -> NodeName {
    NodeName::from(format!("n{}", at % 3))
}

fn device(uuid: u8) -> Device {
    Device {
        uuid: format!("gpu-{uuid}"),
        kind: DeviceKind::Gpu,
        model: "NVIDIA A100 40GB".to_owned(),
        memory: Bytes(40_000_000_000),
        modes: vec![ShareMode::Exclusive, ShareMode::Time, ShareMode::Space],
        numa: None,
        files: Vec::new(),
        traits: Traits {
            measured: uuid.is_multiple_of(2),
            layout: known::layout("A100", Bytes(40_000_000_000)).map(Arc::new),
            ..Traits::default()
        },
    }
}

/// A machine that comes in several descriptions under one name.
fn machine(at: u8, how: u8) -> NodeSpec {
    let mut spec = cpus(u64::from(how % 4) + 2);
    spec.name = node(at);
    spec.devices = (0..how % 3).map(|n| device(n + how / 128)).collect();
    spec
}

fn job(engine: &Engine, about: u8, how: u8) -> JobSpec {
    let mut spec = gang(u32::from(how % 3) + 1).spec;
    spec.name = "p".to_owned();
    spec.size = GangSize { min: spec.size.min, max: spec.size.min + u32::from(about % 3) };
    spec.class = [Class::Standard, Class::Spare, Class::Critical][usize::from(about % 3)];
    spec.priority = u16::from(how);
    spec.indices = (0..u32::from(about % 4) + 1).collect();
    spec.parallel = how.is_multiple_of(5).then_some(2);
    spec.retry.on.extend([RetryOn::Failed, RetryOn::DeviceError, RetryOn::OutOfMemory]);
    spec.retry.max = u32::from(how % 4);
    spec.time_limit = (how % 4 == 1).then_some(Millis(20_000));
    spec.idle = (how % 6 == 1).then_some(IdlePolicy { after: Millis(5000), action: IdleAction::Pause });
    if how.is_multiple_of(7) {
        let newest = engine.jobs().last().map_or(1, |job| job.id.0);
        spec.after.push(Dependency { job: JobId(newest), success: how.is_multiple_of(2) });
    }
    if about.is_multiple_of(5) {
        spec.shapes[0].devices.push(DeviceRequest {
            kind: DeviceKind::Gpu,
            model: Some("a100".to_owned()),
            count: 1,
            device_memory: Bytes::ZERO,
            mode: if how.is_multiple_of(2) { ShareMode::Exclusive } else { ShareMode::Time },
            compute: if how.is_multiple_of(2) { Thousandths::WHOLE } else { Thousandths(300) },
            memory: if how.is_multiple_of(2) { Bytes::ZERO } else { Bytes(7_000_000_000) },
            slack: Slack::default(),
            profile: None,
        });
    }
    if about.is_multiple_of(10) && how.is_multiple_of(3) {
        let asked = &mut spec.shapes[0].devices[0];
        (asked.mode, asked.compute, asked.memory) = (ShareMode::Space, Thousandths::ZERO, Bytes::ZERO);
        asked.profile = Some(["1g.5gb", "2g.10gb", "3g.20gb"][usize::from(how / 3 % 3)].to_owned());
    }
    spec
}

/// Some task: mostly one that has a place, sometimes one that nobody knows.
fn task(engine: &Engine, about: u8, how: u8) -> (TaskId, Generation) {
    let placed: Vec<(TaskId, Generation)> = engine
        .jobs()
        .flat_map(|job| &job.gangs)
        .filter_map(|gang| gang.live().map(|live| (gang.id, live)))
        .flat_map(|(id, live)| live.tasks.iter().map(move |task| (id.task(task.rank), task.generation)))
        .collect();
    match placed.get(usize::from(about) % placed.len().max(1)) {
        Some((task, generation)) if !how.is_multiple_of(16) => (*task, *generation),
        Some((task, generation)) => (*task, Generation(generation.0.wrapping_sub(1))),
        None => (JobId(u64::from(about)).gang(0).task(0), Generation(u64::from(how))),
    }
}

fn exit(how: u8) -> Exit {
    [
        Exit::Code(0),
        Exit::Code(0),
        Exit::Code(1),
        Exit::Signal(9),
        Exit::OutOfMemory,
        Exit::DeviceError,
        Exit::Lost,
    ][usize::from(how % 7)]
}

fn report(engine: &Engine, what: u8, about: u8, how: u8) -> Report {
    let (task, generation) = task(engine, about, how);
    match what % 12 {
        0 => Report::NodeUp(machine(about, how)),
        1 if how.is_multiple_of(4) => Report::NodeLost(node(about)),
        1 | 2 => Report::Lease(node(about)),
        3 => {
            let started = engine.now();
            let found =
                [Found::Running { started }, Found::Ended { started, ended: started, exit: exit(how) }];
            let mut tasks = vec![(task, generation, found[usize::from(how % 2)])];
            if how.is_multiple_of(3) {
                tasks.push((JobId(99).gang(1).task(2), Generation(7), found[0]));
            }
            Report::Inventory { node: node(about), tasks }
        }
        4 if how.is_multiple_of(5) => {
            let refused = (!how.is_multiple_of(2)).then(|| "no".to_owned());
            Report::Frozen { task, generation, frozen: how.is_multiple_of(3), refused }
        }
        4..=6 => Report::Started { task, generation, address: None, ports: Vec::new(), steps: Vec::new() },
        7 => Report::StartFailed {
            task,
            generation,
            message: "no".to_owned(),
            node_fault: how.is_multiple_of(2),
        },
        8 | 9 => Report::Exited { task, generation, exit: exit(how) },
        10 => {
            let sample = TaskSample {
                task,
                generation,
                cpu_us: engine.now().0.wrapping_mul(u64::from(how) * 10),
                throttled_us: 0,
                memory: Bytes(u64::from(how) * 20_000),
                disk: Bytes(u64::from(how)),
                io: Bytes::ZERO,
                pids: 1,
                devices: vec![DeviceUse {
                    device: u32::from(how % 3),
                    busy_us: engine.now().0.wrapping_mul(u64::from(about)),
                    memory: Bytes(u64::from(how) << 25),
                    ..DeviceUse::default()
                }],
            };
            Report::Sampled {
                node: node(about),
                node_cpu_us: 0,
                node_memory: Bytes::ZERO,
                tasks: vec![sample],
            }
        }
        _ if about.is_multiple_of(2) => Report::DeviceSign {
            node: node(about),
            device: u32::from(how % 3),
            sign: [Sign::Well, Sign::Trouble, Sign::Fatal][usize::from(how % 5 % 3)],
            message: String::new(),
        },
        _ if how.is_multiple_of(5) => worn(node(about), how),
        _ => Report::DeviceHealth {
            node: node(about),
            device: u32::from(how % 3),
            healthy: how.is_multiple_of(2),
            message: String::new(),
        },
    }
}

fn worn(node: crate::ids::NodeName, how: u8) -> Report {
    let wear = Wear { corrected: Some(how.into()), remapped: None, pending: how.is_multiple_of(2) };
    Report::DeviceWear { node, device: u32::from(how % 3), wear }
}

fn request(engine: &Engine, what: u8, about: u8, how: u8) -> Request {
    let jobs: Vec<JobId> = engine.jobs().map(|job| job.id).collect();
    let job = jobs.get(usize::from(about) % jobs.len().max(1)).copied().unwrap_or(JobId(u64::from(about)));
    let target = Target { job, index: how.is_multiple_of(3).then_some(u32::from(how % 4)) };
    match what % 18 {
        0..=4 => Request::Submit(std::sync::Arc::new(self::job(engine, about, how))),
        5 => Request::Stop { target, now: how.is_multiple_of(2) },
        6 => Request::Pause { target, release: how.is_multiple_of(2) },
        7 => Request::Resume(target),
        8 => Request::Retry(target),
        9 => Request::Remove(job),
        10 => {
            let amounts = Resources {
                cpu: MilliCpu(u64::from(how) * 20),
                memory: Bytes(1 << (how % 40)),
                disk: Bytes(0),
            };
            let change = DeviceChange {
                kind: DeviceKind::Gpu,
                compute: how.is_multiple_of(4).then_some(Thousandths(u64::from(how) * 5)),
                memory: how.is_multiple_of(3).then_some(Bytes(u64::from(how) * 200_000_000)),
                slack: Slack { weight: u32::from(how), ..Slack::default() },
            };
            let devices = if about.is_multiple_of(2) { vec![change] } else { Vec::new() };
            Request::Resize { target, request: amounts, burst: amounts, devices }
        }
        11 => Request::Sessions { task: task(engine, about, how).0, count: u32::from(how % 2) },
        12 => {
            let mut queue = QueueSpec::new(["default", "q", "q/r", ""][usize::from(about % 4)]);
            queue.limit.cpu = how.is_multiple_of(2).then_some(u64::from(how) * 50);
            if how.is_multiple_of(5) {
                Request::RemoveQueue(QueuePath::from("q/r"))
            } else {
                Request::SetQueue(Box::new(queue))
            }
        }
        13 if how.is_multiple_of(3) => {
            let named = named::ALL.get(usize::from(how / 3));
            let placement = PlacementPolicy::ALL[usize::from(about) % PlacementPolicy::ALL.len()];
            Request::SetPolicy(named.map(|named| Choice { policy: named.name.to_owned(), placement }))
        }
        13 => Request::Drain { node: node(about), on: how.is_multiple_of(2) },
        other => money::request(engine, other, about, how),
    }
}

/// A plan nobody sane would make, or one that was right a while ago.
fn wild_plan(engine: &Engine, about: u8, how: u8) -> Plan {
    let (task, generation) = task(engine, about, how);
    let gang = task.gang;
    let placement = |rank: u32| Placement {
        rank,
        node: node(how.wrapping_add(rank as u8)),
        devices: (0..how % 2)
            .map(|device| DeviceGrant {
                device: u32::from(device),
                compute: Thousandths(u64::from(how) * 8),
                memory: Bytes(0),
                part: how.is_multiple_of(3).then_some(Part { profile: how % 8, start: about % 8 }),
            })
            .collect(),
    };
    let pending = engine.snapshot().gangs.iter().flatten().nth(usize::from(about % 8)).map(|row| row.id);
    let decision = match how % 8 {
        0 => Decision::Place {
            gang: pending.unwrap_or(gang),
            alternative: u32::from(how % 2),
            tasks: (0..u32::from(about % 4)).map(placement).collect(),
        },
        1 => {
            let first = u32::from(about % 4);
            Decision::Grow { gang, generation, tasks: (first..first + 1).map(placement).collect() }
        }
        2 => Decision::Shrink { gang, generation, to: u32::from(about % 4), beneficiary: None },
        3 => Decision::Preempt { gang, generation, cause: PreemptCause::Priority { beneficiary: gang } },
        4 => Decision::Preempt { gang, generation, cause: PreemptCause::CpuWanted { node: node(about) } },
        5 => Decision::Freeze { gang, generation },
        6 => Decision::Thaw { gang, generation },
        _ => Decision::Limit { task, generation, cpu: MilliCpu(u64::from(how)) },
    };
    Plan { epoch: engine.snapshot().epoch, at: engine.now(), decisions: vec![decision], again: None }
}

fn entry(engine: &Engine, planner: &mut Planner, step: Step) -> (Actor, Entry) {
    let (what, about, how, _) = step;
    match what % 8 {
        0 | 1 => {
            planner.follow(&engine.settings().plan);
            let plan = planner.plan(engine.snapshot(), engine.now());
            (Actor::Pool, Entry::Plan(plan))
        }
        2 => (Actor::Pool, Entry::Plan(wild_plan(engine, about, how))),
        3 | 4 => {
            let actor = if how.is_multiple_of(32) { Actor::Node(node(how)) } else { Actor::Pool };
            (actor, Entry::Event(Event::Report(report(engine, what / 8, about, how))))
        }
        5 | 6 => (Actor::Pool, Entry::Event(Event::Request(request(engine, what / 8, about, how)))),
        _ if how.is_multiple_of(8) => {
            (Actor::Pool, Entry::Event(Event::Archived(JobId(u64::from(about % 8)))))
        }
        _ if how.is_multiple_of(9) => {
            let last = engine.meter().ledger().closed().last().map_or(0, |period| period.seq);
            (Actor::Pool, Entry::Event(Event::Booked(last.saturating_sub(u64::from(about % 2)))))
        }
        _ => (Actor::Pool, Entry::Event(Event::Tick)),
    }
}

fn apply(engine: &mut Engine, record: &Record) -> Vec<Effect> {
    match &record.entry {
        Entry::Event(event) => {
            let result = engine.handle(record.at, &record.actor, event.to_owned());
            result.map_or_else(|_refusal| Vec::new(), |outcome| outcome.effects)
        }
        Entry::Plan(plan) => engine.commit(record.at, plan).effects,
    }
}

fn settings() -> Settings {
    Settings { lease: Millis(4000), lost_after: Millis(4000), ledger: true, ..Settings::default() }
}

/// Runs the steps, with a machine there from the beginning; checks after each, and hands out what was recorded.
fn history(steps: &[Step], look: impl FnMut(&Engine, &Record, &[Effect])) -> (Engine, Vec<Record>) {
    history_of(steps, settings(), |step| Millis(u64::from(step.3 % 3000)), look)
}

/// As [`history`], under these settings, with so much time before each step.
pub(super) fn history_of(
    steps: &[Step],
    settings: Settings,
    pause: impl Fn(&Step) -> Millis,
    mut look: impl FnMut(&Engine, &Record, &[Effect]),
) -> (Engine, Vec<Record>) {
    let mut engine = Engine::new(settings);
    let mut planner = Planner::new(engine.settings().plan.to_owned());
    let mut records = Vec::new();
    let mut at = Timestamp(0);
    let begin = [(24, 0, 1, 0), (24, 1, 2, 0)].map(|(_, about, how, _)| {
        (Actor::Pool, Entry::Event(Event::Report(Report::NodeUp(machine(about, how)))))
    });
    let mut begin = begin.into_iter();
    let mut steps = steps.iter();
    loop {
        let (actor, entry) = match begin.next() {
            Some(first) => first,
            None => {
                let Some(step) = steps.next() else { break };
                at = at.after(pause(step));
                entry(&engine, &mut planner, *step)
            }
        };
        let record = Record { seq: records.len() as u64 + 1, at, actor, entry };
        let effects = apply(&mut engine, &record);
        look(&engine, &record, &effects);
        records.push(record);
    }
    (engine, records)
}

fn bytes(engine: &Engine) -> String {
    serde_json::to_string(&engine.save()).unwrap()
}

pub(super) fn broken(engine: &Engine) -> Vec<Violation> {
    let mut found = check_snapshot(engine);
    found.extend(engine.meter().check(engine.now()));
    found.extend(engine.meter().ledger().closed().iter().flat_map(Period::check));
    found
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(any::<Step>(), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No event, in whatever order, makes the engine panic or its books differ from what they are made of.
    #[test]
    fn books_balance_whatever_happens(steps in steps()) {
        history(&steps, |engine, record, _| {
            let found = broken(engine);
            assert!(found.is_empty(), "after {record:?}: {:#?}", found.first());
        });
    }

    /// A generation of a task is started once, and again only where its node said that it has nothing of it.
    #[test]
    fn a_generation_starts_once(steps in steps()) {
        let mut started: BTreeMap<(TaskId, Generation), NodeName> = BTreeMap::new();
        history(&steps, |_, record, effects| {
            let again = matches!(record.entry, Entry::Event(Event::Report(Report::Inventory { .. })));
            for effect in effects {
                let Effect::Start(launch) = effect else { continue };
                let place = &launch.allocation;
                let before = started.insert((place.task, place.generation), place.node.to_owned());
                assert!(before.is_none() || again && before.as_ref() == Some(&place.node), "{record:?}: {place:?}");
            }
        });
    }

    /// Starts come for whole gangs: as many as the gang's size allows, or none.
    #[test]
    fn gangs_start_whole(steps in steps()) {
        history(&steps, |engine, record, effects| {
            let Entry::Plan(plan) = &record.entry else { return };
            for decision in &plan.decisions {
                let Decision::Place { gang, .. } = decision else { continue };
                let starts = effects.iter().filter(|effect| {
                    matches!(effect, Effect::Start(launch) if launch.allocation.task.gang == *gang)
                });
                let count = starts.count() as u32;
                let Some(job) = engine.job(gang.job) else { continue };
                let size = job.spec.size;
                assert!(count == 0 || (size.min..=size.max).contains(&count), "{count} of {size:?}");
            }
        });
    }

    /// The same records give the same bytes, also from an image taken anywhere on the way.
    #[test]
    fn replay_gives_the_same_bytes(steps in steps(), cut in any::<proptest::sample::Index>()) {
        let (engine, records) = history(&steps, |_, _, _| {});
        let cut = cut.index(records.len());
        let mut first = Engine::new(settings());
        for record in &records[..cut] {
            first.replay(record);
        }
        let image = serde_json::from_str(&bytes(&first)).unwrap();
        let mut second = Engine::restore(image, settings());
        prop_assert_eq!(bytes(&second), bytes(&first));
        for record in &records[cut..] {
            let effects = (apply(&mut first, record), apply(&mut second, record));
            prop_assert_eq!(&effects.0, &effects.1);
        }
        prop_assert_eq!(bytes(&second), bytes(&engine));
        prop_assert_eq!(bytes(&first), bytes(&engine));
        let found = broken(&second);
        prop_assert!(found.is_empty(), "{:#?}", found.first());
    }
}
