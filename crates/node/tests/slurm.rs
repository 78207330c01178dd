//! What a script of Slurm's finds in its task, by running it: `srun`, `scontrol`, Slurm's variables, its output files.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of stand-ins and one to work in.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("pond-slurm-{}-{number}", std::process::id()));
        fs::create_dir_all(base.join("work")).unwrap();
        pond_node::launcher::slurm::write(&base.join("slurm")).unwrap();
        Self(base)
    }

    /// A script behind `.start`, or a command line of a script that already runs, on one node of a gang.
    fn command(&self, argv: &[&str], (rank, nodes): (u32, u32)) -> Command {
        let slurm = self.0.join("slurm");
        let mut command = Command::new(slurm.join(argv[0]));
        command
            .args(&argv[1..])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", slurm.display()))
            .env("POND_SLURM", &slurm)
            .env("HOME", &self.0)
            .env("POND_JOB_ID", "7")
            .env("POND_NODES", nodes.to_string())
            .env("POND_NODE_RANK", rank.to_string())
            .current_dir(self.0.join("work"))
            .stdin(Stdio::null())
            // What ends a script ends its whole group, as in a task.
            .process_group(0);
        command
    }

    fn step(&self, args: &[&str], place: (u32, u32)) -> Command {
        let mut command = self.command(&[&["srun"], args].concat(), place);
        let list = if place.1 == 1 { "pond-7-0".to_owned() } else { format!("pond-7-[0-{}]", place.1 - 1) };
        let ips: Vec<String> = (0..place.1).map(|rank| format!("10.1.0.{}", rank + 1)).collect();
        command.env("SLURM_JOB_ID", "7").env("SLURM_JOB_NODELIST", list).env("POND_NODE_IPS", ips.join("\n"));
        command
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.0.join("work").join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn said(mut command: Command) -> (String, i32) {
    let Output { stdout, stderr, status } = command.output().unwrap();
    let text = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (text.trim_end().to_owned(), status.code().unwrap())
}

#[test]
fn a_script_has_slurms_variables() {
    let place = Place::new();
    let script = "echo $SLURM_JOB_ID $SLURM_JOBID $SLURM_NNODES $SLURM_NODEID $SLURM_TASKS_PER_NODE \
         $SLURM_JOB_CPUS_PER_NODE $SLURM_ARRAY_TASK_ID $SLURM_RESTART_COUNT $SLURM_NTASKS; \
         [ \"$SLURM_SUBMIT_DIR\" = \"$PWD\" ] && [ \"$SLURMD_NODENAME\" = \"$SLURM_JOB_NODELIST\" ] && echo $nodes";
    let mut command = place.command(&[".start", "/bin/bash", "-c", script], (1, 3));
    command
        .envs([
            ("SLURM_NTASKS", "7"),
            ("POND_CPUS", "4"),
            ("POND_ARRAY_COUNT", "9"),
            ("POND_ARRAY_INDEX", "5"),
        ])
        .envs([
            ("POND_ARRAY_MIN", "1"),
            ("POND_ARRAY_MAX", "9"),
            ("POND_ATTEMPT", "2"),
            ("nodes", "a user's own"),
        ]);
    assert_eq!(said(command).0, "7 7 3 1 3,2(x2) 4(x3) 5 1 7\na user's own");
    let mut command =
        place.command(&[".start", "/bin/bash", "-c", "echo $SLURM_NTASKS $SLURM_TASKS_PER_NODE"], (0, 2));
    command.env("SLURM_NTASKS_PER_NODE", "4");
    assert_eq!(said(command).0, "8 4(x2)");
}

#[test]
fn a_login_shell_finds_the_stand_ins_though_it_sets_its_own_path() {
    let place = Place::new();
    let script = "PATH=/usr/bin:/bin; srun echo there; scontrol show hostnames a[1-2]";
    assert_eq!(said(place.command(&[".start", "/bin/bash", "-l", "-c", script], (0, 1))).0, "there\na1\na2");
}

#[test]
fn lists_of_nodes_are_taken_apart() {
    let place = Place::new();
    for (list, names) in [
        ("pond-7-0", "pond-7-0"),
        ("pond-7-[0-2]", "pond-7-0 pond-7-1 pond-7-2"),
        ("a[1,3-4,08-10]b,c", "a1b a3b a4b a08b a09b a10b c"),
        ("r[1-2]n[0-1]", "r1n0 r1n1 r2n0 r2n1"),
    ] {
        let (text, code) = said(place.command(&["scontrol", "show", "hostnames", list], (0, 1)));
        assert_eq!((text.replace('\n', " "), code), (names.to_owned(), 0), "{list}");
    }
    for list in ["a[1-", "a[x-2]", "a[1,,2]"] {
        let (text, code) = said(place.command(&["scontrol", "show", "hostnames", list], (0, 1)));
        assert!(text.ends_with(&format!("scontrol: error: Invalid hostlist: {list}")) && code == 1, "{text}");
    }
}

#[test]
fn every_task_of_a_step_runs_once_on_one_node() {
    let place = Place::new();
    let told = "echo $SLURM_PROCID $SLURM_LOCALID $SLURM_NODEID $SLURM_NTASKS $RANK $LOCAL_RANK $WORLD_SIZE";
    for nodes in 1..4 {
        for tasks in 1..8 {
            let mut seen = BTreeSet::new();
            for rank in 0..nodes {
                let (text, code) =
                    said(place.step(&["-n", &tasks.to_string(), "sh", "-c", told], (rank, nodes)));
                assert_eq!(code, 0, "{text}");
                for (local, line) in
                    text.lines().map(str::to_owned).collect::<BTreeSet<_>>().iter().enumerate()
                {
                    let numbers: Vec<u32> = line.split(' ').map(|word| word.parse().unwrap()).collect();
                    let global = numbers[0];
                    let local = u32::try_from(local).unwrap();
                    assert_eq!(
                        numbers,
                        [global, local, rank, tasks, global, local, tasks],
                        "{nodes} {tasks}"
                    );
                    assert!(seen.insert(global), "{nodes} {tasks}: task {global} twice");
                }
            }
            assert_eq!(seen, (0..tasks).collect(), "{tasks} tasks on {nodes} nodes");
        }
    }
}

#[test]
fn a_step_is_on_the_nodes_it_names() {
    let place = Place::new();
    let on = |args: &[&str]| -> Vec<u32> {
        (0..3)
            .filter(|rank| said(place.step(&[args, &["echo", "here"]].concat(), (*rank, 3))).0 == "here")
            .collect()
    };
    assert_eq!(on(&[]), [0, 1, 2]);
    assert_eq!(on(&["-N1"]), [0]);
    assert_eq!(on(&["--nodes=1", "--relative=2"]), [2]);
    assert_eq!(on(&["-N", "1", "-n", "1", "-w", "pond-7-1"]), [1]);
    assert_eq!(on(&["--nodelist=pond-7-[1-2]"]), [1, 2]);
    assert_eq!(on(&["-x", "pond-7-0", "--ntasks-per-node=1"]), [1, 2]);
    assert_eq!(on(&["-n2"]), [0, 1]);
    for (args, why) in [
        (&["-N4"][..], "the job has 3 nodes, not 4"),
        (&["-w", "other"], "other is no node of this job: they are pond-7-[0-2]"),
        (&["-x", "pond-7-[0-2]"], "no node of the job is left for this step"),
        (&["-n", "x"], "`x` is not a number"),
        (&["--mpi=pmix"], "write `mpirun -n TASKS PROGRAM` in place of srun"),
        (&["--multi-prog"], "start each program with an srun of its own"),
        (&["--no-such-flag"], "--no-such-flag means nothing in a job here; leave it out"),
        (&["-n"], "-n needs a value"),
    ] {
        let (text, code) =
            said(place.step(&[args, &["echo"][..usize::from(args != ["-n"])]].concat(), (0, 3)));
        assert!(text.starts_with("srun: error: ") && text.contains(why), "{args:?}: {text}");
        assert_eq!((text.lines().count(), code), (1, 1), "{args:?}: {text}");
    }
    // Flags that change nothing here are no errors, however they are written.
    let usual = [
        "-ul",
        "--cpu-bind=cores",
        "--gres",
        "gpu:1",
        "-c2",
        "--exclusive",
        "--mpi=none",
        "--kill-on-bad-exit=1",
    ];
    assert_eq!(said(place.step(&[&usual[..], &["echo", "here"]].concat(), (1, 3))).0, "1: here");
}

#[test]
fn names_and_addresses_of_all_are_known_on_every_node() {
    let place = Place::new();
    for rank in 0..2 {
        let ask = |args: &[&str]| said(place.step(args, (rank, 2))).0.replace('\n', " ");
        assert_eq!(ask(&["hostname"]), "pond-7-0 pond-7-1");
        assert_eq!(
            ask(&["--nodes=1", "--ntasks=1", "-w", "pond-7-0", "hostname", "--ip-address"]),
            "10.1.0.1"
        );
    }
}

#[test]
fn a_step_ends_with_the_highest_code_and_leaves_variables_alone() {
    let place = Place::new();
    assert_eq!(said(place.step(&["-n4", "sh", "-c", "exit $SLURM_PROCID"], (0, 1))).1, 3);
    assert_eq!(said(place.step(&["-n2", "sh", "-c", "kill -KILL $$"], (0, 1))).1, 137);
    // The others of a step that is to end with its first failure are ended, and do not count.
    let one = "[ $SLURM_PROCID = 1 ] && exit 5; exec sleep 600";
    assert_eq!(said(place.step(&["-K", "-n3", "sh", "-c", one], (0, 1))).1, 5);
    let mut command =
        place.step(&["--export=ALL,B=2", "-n1", "sh", "-c", "echo $tasks $out $label $B"], (0, 1));
    command.envs([("tasks", "mine"), ("out", "too"), ("label", "three")]);
    assert_eq!(said(command).0, "mine too three 2");
    let mut command = place.step(&["-n2", "cat"], (0, 1));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"once\n").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"once\n");
}

/// A shell ignores these for what it starts in the background, and a program that inherits that does, too.
#[test]
fn several_tasks_hear_the_signals_that_one_alone_hears() {
    let place = Place::new();
    for (signal, code) in [("INT", 130), ("QUIT", 131)] {
        let kill = format!("ulimit -c 0; kill -{signal} $$; echo deaf");
        for further in ["-u", "-l", "-K"] {
            let (text, ended) = said(place.step(&[further, "-n2", "sh", "-c", &kill], (0, 1)));
            assert_eq!((text.contains("deaf"), ended), (false, code), "{further} {signal}: {text}");
        }
        let wish = format!("trap '' {signal}; srun -n2 sh -c '{kill}'");
        let (text, code) = said(place.command(&[".start", "/bin/sh", "-c", &wish], (0, 1)));
        assert_eq!((text.as_str(), code), ("deaf\ndeaf", 0), "a script that ignores it means its steps");
    }
}

#[test]
fn tasks_see_the_gpus_that_are_counted_for_them() {
    let place = Place::new();
    let see = |args: &[&str]| {
        let mut command =
            place.step(&[args, &["sh", "-c", "echo $SLURM_LOCALID $CUDA_VISIBLE_DEVICES"]].concat(), (0, 1));
        command.env("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c,GPU-d");
        let mut lines: Vec<String> = said(command).0.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(see(&["-n2", "--gpus-per-task=a100:2"]), ["0 GPU-a,GPU-b", "1 GPU-c,GPU-d"]);
    assert_eq!(see(&["-n1"]), ["0 GPU-a,GPU-b,GPU-c,GPU-d"]);
}

#[test]
fn output_goes_to_files_named_as_slurm_names_them() {
    let place = Place::new();
    let mut command =
        place.step(&["-n2", "-o", "o-%x-%j-%3t-%s-%q.txt", "sh", "-c", "echo $SLURM_PROCID"], (0, 1));
    command.env("SLURM_JOB_NAME", "fit").env("SLURM_ARRAY_TASK_ID", "4");
    assert_eq!(said(command), (String::new(), 0));
    assert_eq!(
        (place.file("o-fit-7_4-000-0-%q.txt"), place.file("o-fit-7_4-001-0-%q.txt")),
        ("0\n".into(), "1\n".into())
    );

    // A script's: in the file and on its own output, each stream in its own, and only the first node in that file.
    let script = "echo out; echo err >&2; sleep 600 & exit 3";
    for (rank, name) in [(0, "%j.out"), (1, "7.out.1")] {
        let mut command = place.command(&[".start", "/bin/bash", "-c", script], (rank, 2));
        command.env("SBATCH_OUTPUT", "%j.out").env("SBATCH_ERROR", "e/%j.err");
        let (text, code) = said(command);
        assert!(text.starts_with("out\n") && text.ends_with("err") && code == 3, "{text}");
        assert!(text.contains("sbatch: cannot write e/7.err"), "its folder is not there: {text}");
        assert_eq!(place.file(&name.replace("%j", "7")), "out\n");
    }
    fs::create_dir(place.0.join("work/e")).unwrap();
    for (mode, kept) in [("truncate", "err\n"), ("append", "err\nerr\n")] {
        let mut command = place.command(&[".start", "/bin/bash", "-c", script], (0, 1));
        command.env("SBATCH_ERROR", "e/%j.err").env("SBATCH_OPEN_MODE", mode);
        assert_eq!(said(command).1, 3);
        assert_eq!(place.file("e/7.err"), kept);
    }
}

#[test]
fn a_script_reads_the_file_that_it_names_as_its_input() {
    let place = Place::new();
    fs::write(place.0.join("work/in-7"), "one\ntwo\n").unwrap();
    for output in ["", "%j.out"] {
        let mut command = place.command(&[".start", "/bin/bash", "-c", "wc -l"], (0, 1));
        command.env("SBATCH_INPUT", "in-%j").env("SBATCH_OUTPUT", output);
        assert_eq!(said(command), ("2".to_owned(), 0), "with output `{output}`");
    }
    let mut command = place.command(&[".start", "/bin/bash", "-c", "echo ran"], (0, 1));
    command.env("SBATCH_INPUT", "none-%j.txt");
    let (text, code) = said(command);
    assert!(code == 1 && text.contains("cannot read none-7.txt") && !text.contains("ran"), "{text}");
}

#[test]
fn tasks_that_write_one_file_lose_no_line() {
    let place = Place::new();
    let command = place.step(&["-n4", "-o", "all.txt", "sh", "-c", "echo $SLURM_PROCID"], (0, 1));
    assert_eq!(said(command), (String::new(), 0));
    let text = place.file("all.txt");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0", "1", "2", "3"]);
}

#[test]
fn a_list_of_nodes_that_is_none_starts_nothing() {
    let place = Place::new();
    let (text, code) = said(place.step(&["-w", "a[1-", "echo", "ran"], (0, 1)));
    assert!(code == 1 && !text.contains("ran"), "{text}");
}

#[test]
fn what_a_script_left_in_a_group_of_its_own_does_not_hold_up_its_end() {
    let place = Place::new();
    // With job control the shell itself sees to it that the group is there before it goes on.
    let script = "set -m; sleep 600 & echo $! > left; echo hi; exit 4";
    let mut command = place.command(&[".start", "/bin/bash", "-c", script], (0, 1));
    command.env("SBATCH_OUTPUT", "o.txt").env("SBATCH_ERROR", "e.txt");
    let (text, code) = said(command);
    let left = rustix::process::Pid::from_raw(place.file("left").trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(left, rustix::process::Signal::TERM).unwrap();
    assert_eq!((text.as_str(), code, place.file("o.txt").as_str()), ("hi", 4, "hi\n"));
}

#[test]
fn a_script_whose_output_is_kept_hears_signals_and_says_its_last() {
    let place = Place::new();
    let script = "trap 'echo bye; exit 8' TERM; echo ready; sleep 600 & wait";
    let mut command = place.command(&[".start", "/bin/bash", "-c", script], (0, 1));
    let mut child = command.env("SBATCH_OUTPUT", "o.txt").stdout(Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line, "ready\n");
    let group = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process_group(group, rustix::process::Signal::TERM).unwrap();
    line.clear();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!((line.as_str(), child.wait().unwrap().code()), ("bye\n", Some(8)));
    assert_eq!(place.file("o.txt"), "ready\nbye\n");
}

#[test]
fn a_signal_before_the_time_limit_is_for_the_steps_or_for_the_script() {
    let place = Place::new();
    // The deadline is the signal's lead and six seconds away, for the programs to say what they do about it. One that is
    // later than that ends by its own alarm.
    let deadline = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        (now.as_secs() + 96).to_string()
    };
    let deaf = "trap 'echo never; exit 9' USR1; ";
    let steps = "srun python3 -c 'import signal,sys; signal.alarm(60); signal.signal(signal.SIGUSR1, lambda *_: sys.exit(4)); signal.pause()'; echo $?";
    let mut command = place.command(&[".start", "/bin/bash", "-c", &format!("{deaf}{steps}")], (0, 1));
    command.env("SBATCH_SIGNAL", "USR1@90").env("POND_DEADLINE", deadline());
    assert_eq!(said(command), ("4".to_owned(), 0));
    let script = "trap 'echo heard; exit 5' USR1; srun -n2 sleep 600 & wait";
    let mut command = place.command(&[".start", "/bin/bash", "-c", script], (0, 1));
    command
        .env("SBATCH_SIGNAL", "B:SIGUSR1@90")
        .env("POND_DEADLINE", deadline())
        .env("SBATCH_OUTPUT", "o.txt");
    // The steps that it leaves are ended with it, and their shells say so.
    let (text, code) = said(command);
    assert_eq!((text.lines().next(), code), (Some("heard"), 5));
    // A lead that is longer than the limit: there is no moment for it.
    let mut command = place.command(&[".start", "/bin/bash", "-c", "echo done"], (0, 1));
    command.env("SBATCH_SIGNAL", "USR1@900").env("POND_DEADLINE", deadline());
    assert_eq!(said(command), ("done".to_owned(), 0));
}

#[test]
fn what_is_not_there_says_so_in_a_line() {
    let place = Place::new();
    for name in ["sbatch", "squeue", "scancel", "sacct", "salloc", "sinfo"] {
        let (text, code) = said(place.command(&[name, "--anything"], (0, 1)));
        assert!(text.starts_with(&format!("{name}: error: a job reaches no pool: ")) && code == 1, "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
