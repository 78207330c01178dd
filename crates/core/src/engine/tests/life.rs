//! The life of gangs: every edge of the state diagram.

use crate::engine::{End, Engine, Refusal, State};
use crate::event::{Actor, Effect, Event, Exit, Report, Request, Target};
use crate::ids::{Generation, JobId, NodeName, QueuePath};
use crate::model::{IdleAction, QueueSpec, Resources, RetryOn};
use crate::plan::HoldReason;
use crate::plan::named::Choice;
use crate::snapshot::PlacementPolicy;
use crate::testkit::{Pool, cpus, gang, one, secs};
use crate::units::{Bytes, MilliCpu, Millis};

#[test]
fn a_gang_starts_together_and_ends_with_success() {
    let pool = Pool::new()
        .node("n1", cpus(2))
        .node("n2", cpus(2))
        .job("a", gang(2).cpu(2).runs(secs(10)))
        .run(secs(5));
    assert_eq!(pool.state("a"), State::Running);
    let mut nodes = pool.nodes_of("a");
    nodes.sort_unstable();
    assert_eq!(nodes, ["n1", "n2"]);
    let pool = pool.run(secs(6));
    assert_eq!(pool.state("a"), State::Succeeded);
    assert_eq!(pool.find("a").exit_code(), Some(0));
    let first = pool.engine.snapshot().nodes[0].granted;
    assert_eq!(first, Resources::ZERO);
}

#[test]
fn transcript_of_a_retry() {
    let exits = [Exit::Code(3), Exit::Code(0)];
    let plan = one().runs(secs(2)).exits(&exits).retry(&[RetryOn::Failed], 1);
    let pool = Pool::new().node("n1", cpus(1)).job("a", plan).run(secs(10));
    let expected = "    0.000 node n1 Ready: 1 CPU, 4GB memory, 100GB disk, 0 devices
    0.000 a Held -> Pending (attempt 0): submitted
    0.000 a Pending -> Starting (attempt 1): placed on n1
    0.000 a Starting -> Running (attempt 1): all ranks run
    2.000 a Running -> Stopping (attempt 1): rank 0: ended with code 3
    2.000 a Stopping -> Held (attempt 1): back in the queue, with its place in line
    3.000 a Held -> Pending (attempt 1): its wait is over
    3.000 a Pending -> Starting (attempt 2): placed on n1
    3.000 a Starting -> Running (attempt 2): all ranks run
    5.000 a Running -> Succeeded (attempt 2): succeeded
";
    assert_eq!(pool.transcript(), expected);
}

#[test]
fn one_failing_rank_ends_the_gang_and_backoff_doubles_until_the_budget_is_spent() {
    let plan = gang(2).runs(secs(1)).exits(&[Exit::Code(9)]).retry(&[RetryOn::Exit(9)], 2);
    let pool = Pool::new().node("n1", cpus(2)).job("a", plan).run(secs(60));
    assert_eq!(pool.end("a"), Some(&End::Failed { rank: 0, exit: Exit::Code(9) }));
    assert_eq!(pool.gang("a").attempt, 3);
    // Three attempts of a second each, waits of one and two seconds between them.
    assert_eq!(pool.find("a").finished.unwrap().0, 6000);
    assert_eq!(pool.find("a").exit_code(), Some(9));
}

#[test]
fn an_exit_that_is_not_listed_is_not_retried_and_out_of_memory_is_told_apart() {
    let pool = Pool::new()
        .node("n1", cpus(4))
        .job("a", one().runs(secs(1)).exits(&[Exit::Code(1)]).retry(&[RetryOn::Exit(9)], 5))
        .job("b", one().runs(secs(1)).exits(&[Exit::OutOfMemory]).retry(&[RetryOn::Failed], 5))
        .run(secs(10));
    assert_eq!(pool.end("a"), Some(&End::Failed { rank: 0, exit: Exit::Code(1) }));
    assert_eq!(pool.end("b"), Some(&End::OutOfMemory { rank: 0 }));
    assert_eq!(pool.find("b").exit_code(), Some(137));
}

#[test]
fn stop_waits_for_the_grace_and_stop_now_does_not() {
    let pool = Pool::new()
        .node("n1", cpus(4))
        .job("kind", one())
        .job("deaf", one().stubborn().grace(secs(10)))
        .job("deaf2", one().stubborn().grace(secs(10)))
        .job("waits", one().cpu(9))
        .run(secs(5))
        .stop("kind", false)
        .stop("deaf", false)
        .stop("deaf2", true)
        .stop("waits", false)
        .run(secs(1));
    assert_eq!(pool.state("kind"), State::Stopped);
    assert_eq!(pool.state("deaf"), State::Stopping);
    assert_eq!(pool.state("deaf2"), State::Stopped);
    assert_eq!(pool.state("waits"), State::Stopped);
    let hurried = pool.to_owned().stop("deaf", true).run(secs(1));
    assert_eq!(hurried.state("deaf"), State::Stopped);
    assert_eq!(pool.run(secs(10)).state("deaf"), State::Stopped);
}

#[test]
fn a_time_limit_counts_from_the_start() {
    let pool =
        Pool::new().node("n1", cpus(1)).job("a", one().starts_in(secs(7)).limit(secs(10))).run(secs(16));
    assert_eq!(pool.state("a"), State::Running);
    let pool = pool.run(secs(2));
    assert_eq!(pool.end("a"), Some(&End::TimedOut));
}

#[test]
fn pause_freezes_in_place_and_the_time_stands_still() {
    let pause = |pool: Pool, release| {
        let target = Target::job(pool.id("a"));
        pool.request(Request::Pause { target, release })
    };
    let pool = pause(Pool::new().node("n1", cpus(1)).job("a", one().runs(secs(10))).run(secs(5)), false);
    let pool = pool.run(secs(100));
    assert_eq!(pool.state("a"), State::Frozen);
    let target = Target::job(pool.id("a"));
    let pool = pool.request(Request::Resume(target)).run(secs(4));
    assert_eq!(pool.state("a"), State::Running);
    assert_eq!(pool.run(secs(2)).state("a"), State::Succeeded);
}

#[test]
fn a_pause_that_one_rank_cannot_keep_is_none() {
    let plan = gang(2).runs(secs(20));
    let pool = Pool::new().node("n1", cpus(2)).job("a", plan).run(secs(5));
    let target = Target::job(pool.id("a"));
    let (task, generation) = (pool.id("a").gang(0).task(1), pool.gang("a").generation);
    let pool = pool.request(Request::Pause { target, release: false }).run(secs(1));
    assert_eq!(pool.state("a"), State::Frozen);
    let refused = Some("some of its processes did not come to rest".to_owned());
    let told = |generation, refused: &Option<String>| {
        let refused = refused.clone();
        Event::Report(Report::Frozen { task, generation, frozen: true, refused })
    };
    let from = || Actor::Node(NodeName::from("n1"));
    // Of an earlier life, and of a freeze that worked: nothing comes of them.
    let pool = pool.world(|world| world.request(from(), told(Generation(0), &refused)));
    let pool = pool.world(|world| world.request(from(), told(generation, &None))).run(secs(1));
    assert_eq!(pool.state("a"), State::Frozen);
    let pool = pool.world(|world| world.request(from(), told(generation, &refused))).run(secs(1));
    assert_eq!(pool.state("a"), State::Running);
    // The other rank, which stood still, was let go: both end, five seconds of the work done before and two lost.
    assert_eq!(pool.run(secs(16)).state("a"), State::Succeeded);
}

#[test]
fn pause_with_release_gives_the_place_back_and_keeps_the_layer() {
    let pool = Pool::new().node("n1", cpus(1)).job("a", one()).run(secs(5));
    let target = Target::job(pool.id("a"));
    let pool =
        pool.request(Request::Pause { target, release: true }).job("b", one().runs(secs(3))).run(secs(5));
    assert_eq!((pool.state("a"), pool.state("b")), (State::Paused, State::Succeeded));
    assert_eq!(pool.gang("a").hold, Some(HoldReason::Paused));
    assert!(pool.gang("a").keep_layer);
    let pool = pool.request(Request::Resume(target)).run(secs(1));
    assert_eq!((pool.state("a"), pool.gang("a").attempt), (State::Running, 2));
    assert!(!pool.gang("a").keep_layer, "only the start after a pause keeps it");
}

#[test]
fn a_waiting_job_can_be_paused_and_resumed() {
    let pool = Pool::new().job("a", one()).run(secs(1));
    let target = Target::job(pool.id("a"));
    let pool = pool.request(Request::Pause { target, release: false }).node("n1", cpus(1)).run(secs(5));
    assert_eq!(pool.state("a"), State::Paused);
    assert_eq!(pool.request(Request::Resume(target)).run(secs(1)).state("a"), State::Running);
}

#[test]
fn a_job_can_be_held_from_its_submission_on() {
    let pool = Pool::new().node("n1", cpus(2)).job("a", one().held().array(2, None)).run(secs(5));
    assert_eq!(pool.states("a"), [State::Paused, State::Paused]);
    let first = Target { index: Some(0), ..Target::job(pool.id("a")) };
    let pool = pool.request(Request::Resume(first)).run(secs(1));
    assert_eq!(pool.states("a"), [State::Running, State::Paused]);
}

#[test]
fn an_array_runs_as_many_elements_as_it_may() {
    let plan = one().array(5, Some(2)).runs(secs(10));
    let pool = Pool::new().node("n1", cpus(8)).job("a", plan).run(secs(5));
    use State::{Held, Running, Succeeded};
    assert_eq!(pool.states("a"), [Running, Running, Held, Held, Held]);
    assert_eq!(pool.find("a").gangs[2].hold, Some(HoldReason::ArrayLimit(2)));
    let pool = pool.run(secs(10));
    assert_eq!(pool.states("a"), [Succeeded, Succeeded, Running, Running, Held]);
    assert_eq!(pool.run(secs(20)).find("a").exit_code(), Some(0));
}

#[test]
fn dependencies_hold_release_and_cancel() {
    let pool = Pool::new()
        .node("n1", cpus(4))
        .job("good", one().runs(secs(5)))
        .job("bad", one().runs(secs(5)).exits(&[Exit::Code(1)]))
        .job("after-good", one().after(1, true).runs(secs(5)))
        .job("after-bad", one().after(2, true))
        .job("after-any", one().after(2, false).runs(secs(5)))
        .job("after-cancelled", one().after(4, true))
        .run(secs(4));
    assert_eq!(pool.gang("after-good").hold, Some(HoldReason::Dependency(vec![JobId(1)])));
    let pool = pool.run(secs(2));
    assert_eq!(pool.state("after-good"), State::Running);
    assert_eq!(pool.state("after-any"), State::Running);
    assert_eq!(pool.end("after-bad"), Some(&End::Cancelled { dependency: JobId(2) }));
    assert_eq!(pool.end("after-cancelled"), Some(&End::Cancelled { dependency: JobId(4) }));
    let pool = pool.job("late", one().after(2, true)).run(secs(1));
    assert_eq!(pool.seen.refused, [Refusal::FailedDependency(JobId(2))]);
}

#[test]
fn an_archived_job_is_forgotten_and_can_still_be_depended_on() {
    let mut pool = Pool::new().node("n1", cpus(4)).job("a", one().runs(secs(1))).run(secs(2));
    pool.world.request(crate::event::Actor::Pool, crate::event::Event::Archived(JobId(1)));
    let pool = pool.job("b", one().after(1, true).runs(secs(1))).run(secs(2));
    assert!(pool.engine.job(JobId(1)).is_none());
    assert_eq!(pool.state("b"), State::Succeeded);
    let pool = pool.request(Request::Retry(Target::job(JobId(1)))).run(secs(1));
    assert_eq!(pool.seen.refused, [Refusal::Archived(JobId(1))]);
    let pool = pool.request(Request::Remove(JobId(1))).request(Request::Remove(JobId(2))).run(secs(1));
    assert_eq!(pool.world.purged, [JobId(1), JobId(2)]);
}

#[test]
fn retry_queues_a_finished_job_once_more() {
    let exits = [Exit::Code(1), Exit::Code(0)];
    let pool = Pool::new().node("n1", cpus(1)).job("a", one().runs(secs(1)).exits(&exits)).run(secs(3));
    assert_eq!(pool.state("a"), State::Failed);
    let target = Target::job(pool.id("a"));
    let pool = pool.request(Request::Retry(target)).run(secs(3));
    assert_eq!((pool.state("a"), pool.gang("a").attempt), (State::Succeeded, 2));
}

#[test]
fn an_environment_nobody_uses_gives_its_place_back() {
    let plan = one().idle(secs(60), IdleAction::Pause);
    let pool = Pool::new().node("n1", cpus(2)).job("quiet", plan).run(secs(59));
    assert_eq!(pool.state("quiet"), State::Running);
    assert_eq!(pool.run(secs(2)).state("quiet"), State::Paused);
    let busy = one().idle(secs(60), IdleAction::Stop).uses(200);
    let pool = Pool::new().node("n1", cpus(2)).job("busy", busy).run(secs(300));
    assert_eq!(pool.state("busy"), State::Running);
}

/// The server was down, or the machine slept.
#[test]
fn time_in_which_nobody_looked_is_not_idleness() {
    let mut pool =
        Pool::new().node("n1", cpus(2)).job("a", one().idle(secs(60), IdleAction::Stop)).run(secs(30));
    let later = pool.engine.now().after(secs(3600));
    pool.engine.handle(later, &Actor::Pool, Event::Tick).unwrap();
    assert_eq!(pool.state("a"), State::Running);
    let mut engine = Engine::restore(pool.engine.save(), pool.engine.settings().to_owned());
    let mut effects_at = |seconds| {
        let at = later.after(secs(seconds));
        let lease = Event::Report(Report::Lease("n1".into()));
        let mut effects = engine.handle(at, &Actor::Node("n1".into()), lease).unwrap().effects;
        effects.extend(engine.handle(at, &Actor::Pool, Event::Tick).unwrap().effects);
        effects
    };
    for seconds in [0, 20, 40, 59] {
        assert_eq!(effects_at(seconds), [], "{seconds} s after it woke");
    }
    let ends = effects_at(61);
    assert!(matches!(ends[..], [Effect::Stop { .. }]), "{ends:?}");
}

#[test]
fn a_session_keeps_an_environment_alive() {
    let pool = Pool::new().node("n1", cpus(2)).job("a", one().idle(secs(60), IdleAction::Stop)).run(secs(30));
    let task = pool.id("a").gang(0).task(0);
    let pool = pool.request(Request::Sessions { task, count: 1 }).run(secs(300));
    assert_eq!(pool.state("a"), State::Running);
    let pool = pool.request(Request::Sessions { task, count: 0 }).run(secs(61));
    assert_eq!(pool.end("a"), Some(&End::Stopped { by: None }));
}

#[test]
fn a_job_that_cannot_start_ends_and_a_node_that_cannot_start_it_is_tried_a_few_times() {
    let pool = Pool::new()
        .node("n1", cpus(4))
        .job("wrong", one().start_fails(false))
        .job("unlucky", one().start_fails(true))
        .run(secs(7200));
    assert!(matches!(pool.end("wrong"), Some(End::StartFailed { rank: 0, .. })));
    assert_eq!(pool.gang("wrong").attempt, 1);
    assert!(matches!(pool.end("unlucky"), Some(End::StartFailed { .. })));
    assert_eq!(pool.gang("unlucky").attempt, 11, "ten faults are forgiven");
}

#[test]
fn resize_takes_what_the_node_has_and_no_more() {
    let pool = Pool::new().node("n1", cpus(4)).job("a", one().cpu(2)).run(secs(1));
    let target = Target::job(pool.id("a"));
    let to = |cores: u64| {
        let amounts = Resources { cpu: MilliCpu(cores * 1000), memory: Bytes(1_000_000), disk: Bytes::ZERO };
        Request::Resize { target, request: amounts, burst: amounts, devices: Vec::new() }
    };
    let pool = pool.request(to(5)).request(to(4)).run(secs(1));
    assert!(matches!(pool.seen.refused[..], [Refusal::NoRoom { free: 2000, asked: 3000, .. }]));
    assert_eq!(pool.engine.snapshot().nodes[0].granted.cpu, MilliCpu(4000));
    assert_eq!(pool.gang("a").live().unwrap().tasks[0].limits.request.cpu, MilliCpu(4000));
}

#[test]
fn queues_are_a_tree_with_limits() {
    let mut lab = QueueSpec::new("lab");
    lab.limit.cpu = Some(2000);
    let pool = Pool::new()
        .node("n1", cpus(8))
        .queue(lab)
        .queue(QueueSpec::new("lab/nlp"))
        .queue(QueueSpec::new("nowhere/nlp"))
        .job("a", one().cpu(2).queue("lab/nlp"))
        .run(secs(1))
        .request(Request::RemoveQueue(QueuePath::from("lab")))
        .request(Request::RemoveQueue(QueuePath::from("default")))
        .run(secs(1));
    assert_eq!(pool.state("a"), State::Running);
    let used = |at: usize| pool.engine.snapshot().queues[at].used.resources.cpu;
    assert_eq!([used(0), used(1), used(2)], [2000, 2000, 2000].map(MilliCpu), "rolled up the tree");
    assert!(matches!(
        pool.seen.refused[..],
        [
            Refusal::BadQueue { problem: "has no queue above it", .. },
            Refusal::BadQueue { problem: "has queues below it", .. }
        ]
    ));
}

#[test]
fn history_of_use_grows_and_fades() {
    let pool = Pool::new().node("n1", cpus(1)).job("a", one().runs(secs(100))).run(secs(200));
    let now = pool.engine.snapshot().queues[1].history;
    // The whole pool for 100 s: 100 million millionths × seconds, less what 200 s of a day's half-life took.
    assert!((97_000_000..=100_500_000).contains(&now), "{now}");
    let pool = pool.run(Millis(86_400_000));
    let later = pool.engine.snapshot().queues[1].history;
    assert!(later.abs_diff(now / 2) < now / 100, "{later} is half of {now}");
}

#[test]
fn refused_jobs_leave_nothing_behind() {
    let mut none = one();
    none.spec.shapes.clear();
    let mut twice = one();
    twice.spec.indices = vec![1, 1];
    let mut huge = one();
    huge.spec.shapes[0].request.cpu = MilliCpu(u64::MAX);
    let pool = Pool::new()
        .job("queue", one().queue("nowhere"))
        .job("self", one().after(99, false))
        .job("none", none)
        .job("twice", twice)
        .job("huge", huge)
        .job("gang", gang(0))
        .run(secs(1));
    assert_eq!(pool.seen.refused.len(), 6);
    assert_eq!(pool.engine.jobs().count(), 0);
    assert_eq!(pool.engine.snapshot().gangs.iter().flatten().count(), 0);
    for refusal in &pool.seen.refused {
        assert!(refusal.to_string().contains([';', ',']), "{refusal} says what to do");
    }
}

#[test]
fn effects_tell_the_whole_launch() {
    let mut engine = crate::engine::Engine::new(crate::engine::Settings::default());
    let mut spec = gang(2).limit(secs(60)).saves(10, secs(5)).spec;
    spec.name = "a".to_owned();
    let now = crate::units::Timestamp(1000);
    let actor = crate::event::Actor::Pool;
    let mut node = cpus(4);
    node.name = "n1".into();
    let up = crate::event::Event::Report(crate::event::Report::NodeUp(node));
    engine.handle(now, &actor, up).unwrap();
    let submit = crate::event::Event::Request(Request::Submit(std::sync::Arc::new(spec)));
    engine.handle(now, &actor, submit).unwrap();
    let plan = crate::plan::Planner::new(engine.settings().plan.to_owned()).plan(engine.snapshot(), now);
    let committed = engine.commit(now, &plan);
    let launches: Vec<_> = committed
        .effects
        .iter()
        .filter_map(|effect| if let Effect::Start(launch) = effect { Some(launch) } else { None })
        .collect();
    assert_eq!(launches.len(), 2);
    assert_eq!(*launches[1].peers, ["n1".into(), "n1".into()]);
    assert!(std::sync::Arc::ptr_eq(&launches[0].peers, &launches[1].peers), "one list for all");
    assert_eq!(launches[1].allocation.task.rank, 1);
    assert_eq!(launches[1].deadline, Some(crate::units::Timestamp(61_000)));
    assert_eq!((launches[0].attempt, launches[0].allocation.generation.0), (1, 1));
}

#[test]
fn what_a_gang_holds_is_counted_over_evictions_and_what_it_saved_is_not_done_again() {
    let saves = crate::model::Checkpoint { dir: None, signal: 10, grace: secs(1) };
    let predicted = |mut plan: crate::testkit::JobPlan, saves: Option<crate::model::Checkpoint>| {
        (plan.spec.predicted, plan.spec.checkpoint) = (Some(secs(100)), saves);
        plan
    };
    let pool = Pool::new()
        .node("n1", cpus(2))
        .job("kept", predicted(one().runs(secs(100)), Some(saves)))
        .job("lost", predicted(one().runs(secs(100)), None))
        .run(secs(30))
        .job("urgent", one().cpu(2).class(crate::model::Class::Critical).runs(secs(10)))
        .run(secs(5));
    assert_eq!(pool.state("urgent"), State::Running);
    let (kept, lost) = (pool.gang("kept").attained, pool.gang("lost").attained);
    assert!(kept.service >= 30_000 * 1000 && lost.service >= 30_000 * 1000, "{kept:?} {lost:?}");
    assert!(kept.done >= secs(30) && lost.done == Millis::ZERO, "{kept:?} {lost:?}");
}

#[test]
fn work_is_counted_at_the_speed_of_the_place() {
    let mut plan = one().up_to(2).runs(secs(1000));
    plan.spec.speed =
        Some(crate::model::Speed { ranks: vec![(1, 1000), (2, 1500)], ..crate::model::Speed::default() });
    plan.spec.predicted = Some(secs(300));
    plan.spec.checkpoint = Some(crate::model::Checkpoint { dir: None, signal: 10, grace: secs(1) });
    let pool = Pool::new().node("n1", cpus(2)).job("elastic", plan).run(secs(20));
    let row = |pool: &Pool| pool.engine.snapshot().gangs.iter().flatten().next().cloned().unwrap();
    let crate::snapshot::GangPhase::Placed(placed) = row(&pool).phase else { panic!("it runs") };
    assert_eq!((placed.tasks.len(), placed.speed), (2, 1500));
    assert_eq!(placed.expected_end.unwrap().0, 200_000);
    let urgent = one().cpu(2).class(crate::model::Class::Critical).runs(secs(10));
    let pool = pool.job("urgent", urgent).run(secs(5));
    let done = pool.gang("elastic").attained.done;
    assert!((secs(30)..secs(33)).contains(&done), "twenty seconds and a little at one and a half: {done}");
}

#[test]
fn another_policy_holds_from_the_next_plan_on_and_through_a_crash() {
    let choice = |policy: &str| Some(Choice { policy: policy.to_owned(), placement: PlacementPolicy::Pack });
    let predicted = |secs: u64| {
        let mut plan = one().runs(Millis(100_000));
        plan.spec.predicted = Some(Millis(secs * 1000));
        plan
    };
    let pool = Pool::new()
        .node("n1", cpus(1))
        .job("first", one().runs(secs(10)))
        .run(secs(1))
        .job("long", predicted(100))
        .job("short", predicted(50))
        .request(Request::SetPolicy(choice("lifo")))
        .run(secs(1));
    assert!(matches!(pool.seen.refused[..], [Refusal::BadPolicy(_)]));
    assert_eq!(pool.engine.choice(), None, "nothing of what was refused is done");
    let pool = pool.request(Request::SetPolicy(choice("sjf"))).run(secs(1)).crash().run(secs(10));
    assert_eq!((pool.state("long"), pool.state("short")), (State::Pending, State::Running));
    let pool = pool.request(Request::SetPolicy(None)).run(secs(1));
    assert_eq!(pool.engine.settings().plan, crate::snapshot::Settings::default());
}

/// Every order of these.
fn orders(ranks: &[u32]) -> Vec<Vec<u32>> {
    let [_, _, ..] = ranks else { return vec![ranks.to_vec()] };
    let behind = |first: &u32| {
        let rest: Vec<u32> = ranks.iter().copied().filter(|rank| rank != first).collect();
        let with = |mut order: Vec<u32>| {
            order.insert(0, *first);
            order
        };
        orders(&rest).into_iter().map(with).collect::<Vec<_>>()
    };
    ranks.iter().flat_map(behind).collect()
}

#[test]
fn a_gang_runs_when_all_its_ranks_do_and_is_over_when_all_have_ended_in_whatever_order() {
    let all = orders(&[0, 1, 2, 3]);
    for (start, end) in all.iter().zip(all.iter().rev()) {
        let mut engine = Engine::new(crate::engine::Settings::default());
        let mut node = cpus(4);
        node.name = "n1".into();
        let now = crate::units::Timestamp(1000);
        let mut spec = gang(4).spec;
        spec.name = "a".to_owned();
        let submit = Request::Submit(std::sync::Arc::new(spec));
        for event in [Event::Report(Report::NodeUp(node)), Event::Request(submit)] {
            engine.handle(now, &Actor::Pool, event).unwrap();
        }
        let plan = crate::plan::Planner::new(engine.settings().plan.to_owned()).plan(engine.snapshot(), now);
        assert!(engine.commit(now, &plan).stale.is_empty());
        let id = JobId(1).gang(0);
        let generation = engine.gang(id).unwrap().generation;
        let mut tell = |report| {
            engine.handle(now, &Actor::Pool, Event::Report(report)).unwrap();
            engine.gang(id).unwrap().state()
        };
        let states: Vec<State> = start
            .iter()
            .map(|rank| Report::Started {
                task: id.task(*rank),
                generation,
                address: None,
                ports: Vec::new(),
                steps: Vec::new(),
            })
            .map(&mut tell)
            .collect();
        assert_eq!(states, [State::Starting, State::Starting, State::Starting, State::Running], "{start:?}");
        let exited = |rank: &u32| Report::Exited { task: id.task(*rank), generation, exit: Exit::Code(0) };
        let states: Vec<State> = end.iter().map(exited).map(&mut tell).collect();
        assert_eq!(states, [State::Running, State::Running, State::Running, State::Succeeded], "{end:?}");
    }
}
