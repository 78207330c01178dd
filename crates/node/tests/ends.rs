//! However a task behaves, it ends, its output is kept, and nothing of it is left on the machine.

mod support;

use pond_core::event::{Effect, Exit};
use pond_core::ids::NodeName;
use pond_core::model::Isolation;
use pond_core::units::Millis;
use pond_node::agent::Shutdown;
use std::fs;
use std::time::Duration;
use support::{GEN, Machine, Pool, change, processes_of, root, script, until};

#[test]
fn a_task_that_ignores_the_signal_is_killed_after_its_grace() {
    let mut pool = Pool::open("stubborn");
    for (job, isolation) in [(1, Isolation::Process), (2, Isolation::Container)] {
        if isolation == Isolation::Container && !root() {
            continue;
        }
        let text = "trap '' TERM; echo up; while :; do sleep 0.1; done";
        let task = pool.start(change(script(job, text), |run| run.isolation = isolation));
        pool.started(task);
        pool.wait_output(task, "up");
        pool.stop(task, 200);
        assert_eq!(pool.exited(task), Exit::Signal(9));
    }
}

#[test]
fn the_grace_belongs_to_the_whole_group_even_when_its_shell_is_gone() {
    let mut pool = Pool::open("graceful");
    for (job, isolation) in [(1, Isolation::Process), (2, Isolation::Container)] {
        if isolation == Isolation::Container && !root() {
            continue;
        }
        // The shell dies of the signal; its child saves its work first.
        let child = "trap 'sleep 0.5; echo saved; exit 0' TERM; echo up; while :; do sleep 0.1; done";
        let text = format!("sh -c \"{child}\"; echo never");
        let task = pool.start(change(script(job, &text), |run| run.isolation = isolation));
        pool.started(task);
        pool.wait_output(task, "up");
        pool.stop(task, 30_000);
        assert_eq!(pool.exited(task), Exit::Signal(15));
        let output = pool.output(task);
        assert!(output.contains("saved") && !output.contains("never"), "{output}");
    }
}

#[test]
fn processes_that_left_the_session_die_with_the_task() {
    let mut pool = Pool::open("runaway");
    for (job, isolation) in [(1, Isolation::Process), (2, Isolation::Container)] {
        if isolation == Isolation::Container && !root() {
            continue;
        }
        let mark = format!("99{}{job}", std::process::id());
        let text = format!("setsid setsid sleep {mark} & sleep 0.3; echo started; exit 0");
        let launch = change(script(job, &text), |run| run.isolation = isolation);
        assert_eq!(pool.run(launch).0, Exit::Code(0));
        let alive = || {
            fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line) == format!("sleep\0{mark}\0")
            })
        };
        assert!(!alive());
    }
}

#[test]
fn closed_output_and_floods_of_it_end_well() {
    if !root() {
        return;
    }
    let dir = support::scratch("flood");
    let mut config = support::config(&dir);
    config.logs.file_bytes = 1 << 20;
    config.logs.files = 3;
    let mut pool = Pool::with(dir, config);
    assert_eq!(pool.run(script(1, "exec >&- 2>&-; sleep 0.2; exit 6")).0, Exit::Code(6));
    let (exit, output) = pool.run(script(2, "head -c 20000000 /dev/zero; echo; echo last"));
    assert_eq!(exit, Exit::Code(0));
    assert!(output.ends_with("\nlast\n"));
    assert!((1 << 20..=(4 << 20)).contains(&output.len()), "{} bytes kept", output.len());
}

#[test]
fn a_stop_before_the_start_means_it_never_runs() {
    let mut pool = Pool::open("never");
    let task = support::task(1);
    pool.stop(task, 1000);
    assert!(matches!(pool.exited(task), Exit::Signal(_)));
    pool.start(change(script(1, "echo ran"), |run| run.isolation = Isolation::Process));
    pool.start(change(script(2, "true"), |run| run.isolation = Isolation::Process));
    pool.exited(support::task(2));
    until("the queue to be empty", || true);
    assert_eq!(pool.output(task), "");
}

#[test]
fn purge_ends_what_runs_and_deletes_every_file() {
    let mut pool = Pool::open("purge");
    let task = pool.start(change(script(5, "sleep 1000"), |run| run.isolation = Isolation::Process));
    pool.started(task);
    pool.agent.apply(vec![Effect::Purge(task.gang.job)]);
    pool.exited(task);
    let folder = pond_node::folder::of_job(&pool.state(), task.gang.job);
    until("the folder to be gone", || !folder.exists());
}

#[test]
fn nothing_is_left_after_a_stop_of_the_pool() {
    if !root() {
        return;
    }
    let dir = support::scratch("clean");
    let mut pool = Pool::reopen(dir.clone());
    for job in 1..=6 {
        let mut launch = script(job, "sleep 1000 & sleep 1000");
        launch.allocation.burst.disk = pond_core::units::Bytes(if job % 2 == 0 { 16 << 20 } else { 0 });
        if job == 3 {
            launch = change(launch, |run| run.isolation = Isolation::Process);
        }
        let task = pool.start(launch);
        pool.started(task);
    }
    assert!(!Machine::look(&dir).is_clean(), "six tasks must be visible somewhere");
    assert!(!processes_of(&dir).is_empty());
    pool.agent.shutdown(Shutdown::Stop);
    until("everything to be gone", || Machine::look(&dir).is_clean() && processes_of(&dir).is_empty());
}

/// A start that is under way when the agent ends either never happens or is ended too.
#[test]
fn what_is_still_starting_when_the_agent_ends_is_gone_with_it() {
    for round in 0..12_u64 {
        let dir = support::scratch(&format!("early{round}"));
        let pool = Pool::reopen(dir.clone());
        let isolation = if round % 2 == 0 && root() { Isolation::Container } else { Isolation::Process };
        for job in 1..4 {
            pool.start(change(script(job, "sleep 1000"), |run| run.isolation = isolation));
        }
        std::thread::sleep(Duration::from_micros(round * 1500));
        pool.agent.shutdown(Shutdown::Stop);
        let (left, alive) = (Machine::look(&dir), processes_of(&dir));
        assert!(left.is_clean() && alive.is_empty(), "round {round}: {left:?} {alive:?}");
    }
}

#[test]
fn signals_reach_the_command() {
    let mut pool = Pool::open("signal");
    let text = "trap 'echo caught' USR1; echo up; while :; do sleep 0.05; done";
    let task = pool.start(change(script(1, text), |run| run.isolation = Isolation::Process));
    pool.started(task);
    pool.wait_output(task, "up");
    let node = NodeName::from("here");
    // The whole group gets it: the sleeping child dies of it, the shell catches it and, under -e, goes on.
    pool.agent.apply(vec![Effect::Signal { task, generation: GEN, signal: 10, node: node.clone() }]);
    pool.wait_output(task, "caught");
    pool.agent.apply(vec![Effect::Stop { task, generation: GEN, signal: 15, grace: Millis::ZERO, node }]);
    pool.exited(task);
}
