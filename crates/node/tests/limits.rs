//! Limits are enforced, and what went over them is told apart from what failed by itself.

mod support;

use pond_core::event::{Effect, Exit, Launch, Report};
use pond_core::ids::NodeName;
use pond_core::model::{Command, Resources};
use pond_core::units::{Bytes, MilliCpu, Millis};
use pond_node::cgroup;
use std::time::{Duration, Instant};
use support::{GEN, Pool, change, root, script, until};

fn with(mut launch: Launch, change: impl Fn(&mut Resources)) -> Launch {
    change(&mut launch.allocation.request);
    change(&mut launch.allocation.burst);
    launch
}

fn resize(pool: &mut Pool, task: pond_core::ids::TaskId, to: Resources) -> Option<String> {
    pool.agent.apply(vec![Effect::Resize {
        task,
        generation: GEN,
        request: to,
        burst: to,
        devices: Vec::new(),
        shares: Vec::new(),
        node: NodeName::from("here"),
    }]);
    pool.expect("the resize", |report| match report {
        Report::Resized { task: of, refused, .. } if *of == task => Some(refused.clone()),
        _ => None,
    })
}

/// CPU time of a task's group between two moments, against the time that passed.
fn cores(pool: &Pool, task: pond_core::ids::TaskId) -> f64 {
    let before = Instant::now();
    let first = cpu_us(pool, task, before);
    let (start, used) = first;
    let (end, later) = cpu_us(pool, task, start + Duration::from_secs(1));
    (later - used) as f64 / 1e6 / (end - start).as_secs_f64()
}

fn cpu_us(pool: &Pool, task: pond_core::ids::TaskId, not_before: Instant) -> (Instant, u64) {
    loop {
        let Report::Sampled { tasks, .. } = pool.next_report() else { continue };
        let now = Instant::now();
        if let Some(sample) = tasks.iter().find(|sample| sample.task == task)
            && now >= not_before
        {
            return (now, sample.cpu_us);
        }
    }
}

#[test]
fn cpu_quota_and_its_resize_hold() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("cpu");
    let spin = with(script(1, "echo up; while :; do :; done"), |amounts| amounts.cpu = MilliCpu(200));
    let task = pool.start(spin);
    pool.started(task);
    pool.wait_output(task, "up");
    let small = cores(&pool, task);
    assert!(small < 0.3, "0.2 cores were granted, {small:.2} were used");
    let more = Resources { cpu: MilliCpu(100), memory: Bytes(256 << 20), disk: Bytes::ZERO };
    assert_eq!(resize(&mut pool, task, more), None);
    let smaller = cores(&pool, task);
    assert!(smaller < 0.17, "0.1 cores were granted, {smaller:.2} were used");
}

#[test]
fn going_over_memory_is_told_apart_from_failing() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("memory");
    let small = |amounts: &mut Resources| amounts.memory = Bytes(32 << 20);
    let eat = "head -c 100000000 /dev/zero | tail -c 90000000 > /dev/null";
    assert_eq!(pool.run(with(script(1, eat), small)).0, Exit::OutOfMemory);
    assert_eq!(pool.run(with(script(2, "exit 137"), small)).0, Exit::Code(137));
    // A child that was killed and a command that lived on: the task succeeded.
    assert_eq!(pool.run(with(script(3, &format!("({eat}) || true")), small)).0, Exit::Code(0));
}

#[test]
fn memory_below_use_is_refused_and_the_old_limit_stays() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("memory-resize");
    let text = "head -c 60000000 /dev/zero > /dev/shm/a; echo up; sleep 1000";
    let task = pool.start(script(1, text));
    pool.started(task);
    pool.wait_output(task, "up");
    let to = |bytes| Resources { cpu: MilliCpu(1000), memory: Bytes(bytes), disk: Bytes::ZERO };
    let refused = resize(&mut pool, task, to(8 << 20)).unwrap();
    assert!(refused.contains("old limits stay"), "{refused}");
    pool.stop(task, 0);
    assert_eq!(pool.exited(task), Exit::Signal(9));
}

#[test]
fn a_fork_bomb_stays_within_its_number_and_dies_with_its_task() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("bomb");
    // the first process forks once, before there is a bomb, so that it does not end for want of a process
    let bomb = change(script(1, "#!/bin/sh\nb() { b | b & }; (b) & exec sleep 1000"), |run| run.pids = 64);
    let task = pool.start(bomb);
    pool.started(task);
    pool.wait_output(task, "Cannot fork");
    let most = (0..3).map(|_| pids(&pool, task)).max().unwrap();
    assert!(most <= 64, "{most} processes");
    pool.stop(task, 0);
    assert_eq!(pool.exited(task), Exit::Signal(9));
}

fn pids(pool: &Pool, task: pond_core::ids::TaskId) -> u32 {
    loop {
        if let Report::Sampled { tasks, .. } = pool.next_report()
            && let Some(sample) = tasks.iter().find(|sample| sample.task == task)
        {
            return sample.pids;
        }
    }
}

#[test]
fn a_full_writable_layer_is_told_and_the_machine_keeps_its_disk() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("disk");
    let small = |amounts: &mut Resources| amounts.disk = Bytes(32 << 20);
    let (exit, output) =
        pool.run(with(script(1, "df -k / | tail -1; head -c 100000000 /dev/zero > /fill"), small));
    assert_eq!(exit, Exit::OutOfDisk, "{output}");
    // A block that does not fit is not begun, so some room is left.
    let large = "dd if=/dev/zero of=/fill bs=16M count=100 status=none";
    assert_eq!(pool.run(with(script(3, large), small)).0, Exit::OutOfDisk);
    // Empty files take no room, but a place each.
    let many = "n=0; while : > /$n; do n=$((n + 1)); done";
    assert_eq!(pool.run(with(script(5, many), small)).0, Exit::OutOfDisk);
    // It failed, and not for want of room.
    assert_eq!(
        pool.run(with(script(4, "head -c 10000000 /dev/zero > /fits; exit 3"), small)).0,
        Exit::Code(3)
    );
    let (exit, output) =
        pool.run(with(script(2, "head -c 10000000 /dev/zero > /fits; stat -c %s /fits"), small));
    assert_eq!((exit, output.as_str()), (Exit::Code(0), "10000000\n"));
}

#[test]
fn freezing_stops_the_clock_of_a_task_and_thawing_starts_it() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("freeze");
    let task = pool.start(script(1, "echo up; while :; do :; done"));
    pool.started(task);
    pool.wait_output(task, "up");
    let freeze = |pool: &mut Pool, frozen: bool| {
        pool.agent.apply(vec![Effect::Freeze {
            task,
            generation: GEN,
            frozen,
            node: NodeName::from("here"),
        }]);
        pool.expect("the freeze", |report| match report {
            Report::Frozen { task: of, frozen: is, .. } if *of == task && *is == frozen => Some(()),
            _ => None,
        });
    };
    freeze(&mut pool, true);
    // What was sampled before the freeze is still in the queue.
    let (at, _) = cpu_us(&pool, task, Instant::now() + Duration::from_millis(1500));
    let (_, frozen) = cpu_us(&pool, task, at);
    let (_, later) = cpu_us(&pool, task, at + Duration::from_secs(1));
    assert_eq!(frozen, later, "a frozen task used CPU");
    freeze(&mut pool, false);
    let (_, thawed) = cpu_us(&pool, task, Instant::now() + Duration::from_secs(2));
    assert!(thawed > later);
    freeze(&mut pool, true);
    pool.stop(task, 100);
    pool.exited(task);
}

#[test]
fn a_spare_task_is_sampled_five_times_a_second() {
    let mut pool = Pool::open("spare");
    let mut launch =
        change(script(1, "sleep 1000"), |run| run.isolation = pond_core::model::Isolation::Process);
    launch.class = pond_core::model::Class::Spare;
    let task = pool.start(launch);
    pool.started(task);
    let mut samples = 0;
    until("eight samples in two seconds", || {
        let end = Instant::now() + Duration::from_secs(2);
        samples = 0;
        while Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            if let Ok(Report::Sampled { .. }) = pool.reports.recv_timeout(left) {
                samples += 1;
            }
        }
        samples >= 8
    });
}

#[test]
fn a_task_shorter_than_the_interval_of_samples_is_told_to_its_last_microsecond() {
    if !root() {
        return;
    }
    let dir = support::scratch("short");
    let mut config = support::config(&dir);
    config.sample_every = Millis(3_600_000);
    let pool = Pool::with(dir, config);
    let text = "import os, time\nwhile time.process_time() < 0.1: pass\nprint(os.times().user)";
    let task = pool.start(change(script(1, ""), |run| {
        run.command = Command::Argv(vec!["python3".to_owned(), "-c".to_owned(), text.to_owned()]);
    }));
    // The sample comes with the end, and before it.
    let mut used = None;
    let exit = loop {
        match pool.next_report() {
            Report::Sampled { tasks, .. } => {
                used = tasks.iter().find(|sample| sample.task == task).map(|sample| sample.cpu_us).or(used);
            }
            Report::Exited { task: of, exit, .. } if of == task => break exit,
            _ => {}
        }
    };
    assert_eq!(exit, Exit::Code(0));
    assert!(used.is_some_and(|us| us >= 100_000), "100 ms were used, {used:?} us were told");
}

/// v2 has no controller for devices: there a program does what the v1 lists do. It is tried beside v1 too, where the
/// machine has both.
#[test]
fn in_a_v2_group_only_granted_devices_open() {
    if !root() {
        return;
    }
    let all = cgroup::Pool::open(&format!("pond-test-v2-devices-{}", std::process::id()));
    let Some(v2) = all.v2.clone() else {
        println!("skipped: no version 2 of control groups is mounted here");
        all.remove();
        return;
    };
    let only_v2 = cgroup::Pool {
        v2: Some(v2),
        v2_controllers: vec![cgroup::Controller::Devices],
        ..cgroup::Pool::default()
    };
    let group = only_v2.group("task");
    let open = |how: &str| {
        let join = format!("echo 0 > \"$1\"/cgroup.procs && exec 3{how}");
        let dir = only_v2.v2.as_ref().unwrap().join("task");
        let out = std::process::Command::new("sh").args(["-c", &join, "sh"]).arg(dir).output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let refused = |how: &str| {
        let (opened, why) = open(how);
        assert!(!opened && why.contains("Operation not permitted"), "{how}: {why}");
    };
    group.create(&cgroup::Limits::default()).unwrap();
    let guard = |granted: &[String]| group.device_guard(granted).unwrap().unwrap().attach().unwrap();
    guard(&[]);
    assert!(open("<>/dev/null").0 && open("<>/dev/zero").0, "the base devices are everybody's");
    refused("</dev/kmsg");
    // granted for reading, and no other device with it
    guard(&["c 1:11 r".to_owned()]);
    assert_eq!(open("</dev/kmsg"), (true, String::new()));
    refused("<>/dev/kmsg");
    refused("</dev/tty0");
    assert!(group.remove());
    all.remove();
}
