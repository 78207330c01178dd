//! Tasks start, run and end, with their output whole and their ends told apart.

mod support;

use pond_core::event::Exit;
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
fn a_command_that_cannot_be_executed_ends_as_in_a_shell_and_says_why_once() {
    let mut pool = Pool::open("missing");
    for (job, program, code) in [(1, "/no/such", 127), (2, "no-such", 127), (3, "/etc/passwd", 126)] {
        let run = |run: &mut RunSpec| run.isolation = Isolation::Process;
        let (exit, output) = pool.run(change(launch(job, RunSpec::argv(&[program])), run));
        assert_eq!(exit, Exit::Code(code), "{program}");
        let first = format!("pond: cannot execute `{program}`: ");
        assert!(output.starts_with(&first) && output.lines().count() == 1, "{output}");
    }
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
