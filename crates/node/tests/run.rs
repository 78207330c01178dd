//! Tasks start, run and end, with their output whole and their ends told apart.

mod support;

use pond_core::event::{Exit, Report};
use pond_core::model::{Isolation, RunSpec};
use support::{Pool, change, launch, root, script};

#[test]
fn a_container_runs_and_its_output_is_kept() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("run");
    let (exit, output) = pool.run(script(1, "echo out; echo err >&2; exit 3"));
    assert_eq!(exit, Exit::Code(3));
    assert_eq!(output, "out\nerr\n");
    let (exit, output) = pool.run(launch(2, RunSpec::argv(&["/bin/echo", "hello"])));
    assert_eq!((exit, output.as_str()), (Exit::Code(0), "hello\n"));
}

#[test]
fn the_process_back_end_runs_on_the_machines_own_root() {
    let mut pool = Pool::open("process");
    let run = |job, text: &str| change(script(job, text), |run| run.isolation = Isolation::Process);
    let (exit, output) = pool.run(run(1, "echo $POND_JOB_ID $RANK; exit 7"));
    assert_eq!((exit, output.as_str()), (Exit::Code(7), "1 0\n"));
}

#[test]
fn a_command_that_does_not_exist_is_the_jobs_fault() {
    let mut pool = Pool::open("missing");
    let missing = change(launch(1, RunSpec::argv(&["/no/such"])), |run| run.isolation = Isolation::Process);
    let task = pool.start(missing);
    let (message, node_fault) = pool.expect("the failure", |report| match report {
        Report::StartFailed { task: of, message, node_fault, .. } if *of == task => {
            Some((message.clone(), *node_fault))
        }
        _ => None,
    });
    assert!(message.contains("/no/such"), "{message}");
    assert!(!node_fault);
}

#[test]
fn the_folder_for_results_is_there_and_the_tasks_own() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("out");
    let text = "echo kept > $POND_OUT/result; cat $POND_OUT/result; stat -c %u $POND_OUT";
    let (exit, output) = pool.run(change(script(1, text), |run| run.user = Some((1234, 1234))));
    assert_eq!((exit, output.as_str()), (Exit::Code(0), "kept\n1234\n"));
    let (exit, output) = pool.run(change(script(2, text), |run| run.isolation = Isolation::Process));
    assert_eq!((exit, output.as_str()), (Exit::Code(0), "kept\n0\n"));
}
