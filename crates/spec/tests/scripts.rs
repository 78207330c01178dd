//! `#POND` and `#SBATCH` lines, and flags of a command line.

use pond_core::model::{Command, GangSize, RetryOn};
use pond_core::units::{Bytes, MilliCpu, Millis};
use pond_spec::{Context, Format, JobFile, Overrides, SpecError, Warning, lint, read_one, sbatch};

fn script(text: &str) -> Result<(JobFile, Vec<Warning>), SpecError> {
    read_one(text, "train.sh", Format::Script)
}

fn spec(text: &str) -> pond_core::model::JobSpec {
    match script(text).and_then(|(job, _)| job.into_spec(&Context::new("ada", "/home/ada"))) {
        Ok(draft) => draft.spec,
        Err(error) => panic!("{}", error.report()),
    }
}

/// Runs what a task would run, with the variables a node gives it.
fn output(text: &str, env: &[(&str, &str)]) -> String {
    let spec = spec(text);
    let Command::Argv(argv) = &spec.run.command else { panic!("a script becomes arguments") };
    let mut command = std::process::Command::new(&argv[0]);
    command.args(&argv[1..]).env_clear().envs(&spec.run.env).envs(env.iter().copied());
    // Where a node puts what a script of Slurm's finds; its own tests are about that.
    let place = std::env::temp_dir().join(format!(
        "pond-spec-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&place).expect("a folder");
    std::fs::write(place.join(".start"), "#!/bin/sh\nexec \"$@\"\n").expect("a file");
    std::fs::set_permissions(place.join(".start"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a file");
    let done = command
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("POND_SLURM", &place)
        .output()
        .expect("the interpreter runs");
    std::fs::remove_dir_all(&place).expect("it was there");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

#[test]
fn pond_lines_are_the_flags_of_run() {
    let text = "#!/bin/bash\n# a comment\n#POND --nodes 4 --gpu H100:8 --time=24h   # all four\n#POND --env 'A=x y' --env B=2\n\necho \"$A\"\n#POND --nodes 9\n";
    let spec = spec(text);
    assert_eq!(spec.size, GangSize { min: 4, max: 4 });
    assert_eq!(spec.time_limit, Some(Millis(86_400_000)));
    assert_eq!(spec.shapes[0].devices[0].count, 8);
    assert_eq!(spec.run.env["A"], "x y");
    assert_eq!(spec.name, "train");
    assert_eq!(output(text, &[]), "x y\n");
}

#[test]
fn sbatch_lines_become_a_job_with_a_warning_for_each_flag_not_honoured() {
    let text = "#!/bin/bash\n#SBATCH --job-name=fine-tune -N2\n#SBATCH --ntasks-per-node 4 -c 8\n#SBATCH --mem=64G --gres=gpu:a100:4\n#SBATCH -t 1-12:30 -p gpu   # queue\n#SBATCH --array=0-9%4\n#SBATCH -o out.%j --input in.%a --mail-user=a@b.c --exclus\n#SBATCH --dependency=afterok:12:13,afterany:14\n#SBATCH --no-requeue --export=ALL,LEVEL=3\n\nsrun python train.py\n";
    let (job, warnings) = script(text).unwrap();
    let draft = job.into_spec(&Context::new("ada", "/")).unwrap();
    let spec = draft.spec;
    assert_eq!((spec.name.as_str(), spec.queue.as_str()), ("fine-tune", "gpu"));
    assert_eq!(spec.size, GangSize { min: 2, max: 2 });
    assert_eq!(spec.shapes[0].request.cpu, MilliCpu(32_000));
    assert_eq!(spec.shapes[0].request.memory, Bytes(64 << 30));
    assert_eq!(
        (spec.shapes[0].devices[0].model.as_deref(), spec.shapes[0].devices[0].count),
        (Some("a100"), 4)
    );
    assert_eq!(spec.time_limit, Some(Millis::from_secs(86_400 + 12 * 3600 + 30 * 60)));
    assert_eq!((spec.indices.len(), spec.parallel), (10, Some(4)));
    assert_eq!(draft.after.iter().map(|after| after.success).collect::<Vec<_>>(), [true, true, false]);
    assert!(spec.retry.on.is_empty() && spec.retry.max == 0);
    assert_eq!(spec.run.env["LEVEL"], "3");
    assert_eq!(spec.run.env["SBATCH_OUTPUT"], "out.%j");
    assert_eq!(spec.run.env["SBATCH_INPUT"], "in.%a");
    assert!(spec.run.slurm, "it finds stand-ins for srun and scontrol");
    let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    for (place, flag) in [("line 7", "`--mail-user`"), ("line 7", "`--exclusive`"), ("line 9", "export=ALL")]
    {
        assert!(said.iter().any(|line| line.contains(place) && line.contains(flag)), "{flag}: {said:?}");
    }
    assert!(said.iter().any(|line| line.contains("runs on every node")), "{said:?}");
}

#[test]
fn mail_of_sbatch_becomes_a_recipient() {
    let told = |lines: &str| {
        let (job, warnings) = script(&format!("#!/bin/sh\n#SBATCH {lines}\ntrue\n")).unwrap();
        let spec = job.into_spec(&Context::new("ada", "/")).unwrap().spec;
        let notify = spec.notify.map(|notify| {
            let on: Vec<&str> = notify.on.iter().map(|moment| moment.as_str()).collect();
            (on.join(" "), notify.to.iter().map(ToString::to_string).collect::<Vec<_>>())
        });
        (notify, warnings.len())
    };
    let ada = || vec!["email:ada@example.org".to_owned()];
    let on = |on: &str| Some((on.to_owned(), ada()));
    assert_eq!(told("--mail-user=ada@example.org --mail-type=END"), (on("succeeded failed stopped"), 0));
    assert_eq!(
        told("--mail-user=ada@example.org --mail-type=BEGIN,FAIL,STAGE_OUT"),
        (on("started failed"), 1)
    );
    assert_eq!(told("--mail-user=ada@example.org --mail-type=NONE"), (None, 0));
    assert_eq!(told("--mail-user=ada@example.org"), (None, 1));
    assert_eq!(told("--mail-type=ALL"), (None, 1));
    assert_eq!(told("--mail-type=END --mail-user=ada"), (None, 1));
}

#[test]
fn slurm_times_and_sizes_read_as_slurm_reads_them() {
    let limit = |time: &str| {
        spec(&format!("#!/bin/sh\n#SBATCH -t {time}\ntrue\n")).time_limit.map(|limit| limit.0 / 1000)
    };
    for (text, seconds) in [
        ("90", Some(5400)),
        ("90:30", Some(5430)),
        ("1:30:00", Some(5400)),
        ("2-0", Some(172_800)),
        ("1-6:30", Some(109_800)),
        ("1-6:30:15", Some(109_815)),
        ("UNLIMITED", None),
        ("0", None),
    ] {
        assert_eq!(limit(text), seconds, "{text}");
    }
    let memory = |flag: &str| spec(&format!("#!/bin/sh\n#SBATCH {flag}\ntrue\n")).shapes[0].request.memory.0;
    assert_eq!(memory("--mem=4096"), 4 << 30);
    assert_eq!(memory("--mem=512K"), 512 << 10);
    assert_eq!(memory("-c 4 --mem-per-cpu=1G"), 4 << 30);
    assert_eq!(memory("--gpus=2 --mem-per-gpu=8G"), 16 << 30);
}

#[test]
fn a_slurm_script_has_the_variables_of_its_flags_and_nothing_of_a_user_reaches_a_shell_line() {
    let text = "#!/bin/bash\n#SBATCH -J 'x; touch /tmp/owned' -c 2 -n 3 --gpus-per-task=a100:1 --mem-per-cpu=1G\necho \"$SLURM_CPUS_PER_TASK $SLURM_NTASKS $SLURM_GPUS_PER_TASK $SLURM_MEM_PER_CPU $SLURM_JOB_NAME\"\n[[ -z ${SLURM_NTASKS_PER_NODE:-} ]] && echo bash\n";
    assert_eq!(output(text, &[]), "2 3 a100:1 1024 x; touch /tmp/owned\nbash\n");
    let python = "#!/usr/bin/env python3\n#SBATCH -n1\nimport os\nprint(os.environ['SLURM_NTASKS'])\n";
    assert_eq!(output(python, &[]), "1\n");
    // A script with lines of ours alone is no script of Slurm's.
    assert!(!spec("#!/bin/sh\n#POND --nodes 2\ntrue\n").run.slurm);
}

#[test]
fn export_names_variables_of_who_submits() {
    let read = |flags: &str| {
        let text = format!("#!/bin/sh\n#SBATCH --export={flags}\ntrue\n");
        let variable = |name: &str| (name == "KEY").then(|| "of mine".to_owned());
        let (job, warnings) = sbatch(Some(&text), "job.sh", &[], &[], &variable).unwrap();
        let env = job.into_spec(&Context::new("ada", "/")).unwrap().spec.run.env.clone();
        (env, warnings.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let (env, warnings) = read("KEY,A=1");
    assert_eq!((env["KEY"].as_str(), env["A"].as_str()), ("of mine", "1"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let (env, warnings) = read("ALL,OTHER");
    assert!(!env.contains_key("KEY") && !env.contains_key("OTHER"));
    assert!(
        warnings[0].contains("`--export=NAME`") && warnings[1].contains("no such variable"),
        "{warnings:?}"
    );
}

#[test]
fn a_job_may_be_held_and_be_told_before_its_time_is_over() {
    let (job, warnings) =
        script("#!/bin/sh\n#SBATCH -H --signal=b:sigusr1@90 -N2\n# $RANDOM\n: $RANDOM_SEED\ntorchrun --rdzv_id $RANDOM x.py\n").unwrap();
    let spec = job.into_spec(&Context::new("ada", "/")).unwrap().spec;
    assert!(spec.held);
    assert_eq!(spec.run.env["SBATCH_SIGNAL"], "B:SIGUSR1@90");
    assert_eq!(spec.checkpoint.map(|checkpoint| checkpoint.grace), Some(Millis(90_000)));
    let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|line| line.starts_with("train.sh: line 5") && line.contains("`$RANDOM` differs")),
        "{said:?}"
    );
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn a_job_that_is_waited_for_twice_is_waited_for_once_and_for_its_success() {
    let text = "#!/bin/sh\n#SBATCH --dependency=afterany:3:4,afterok:3:3\ntrue\n";
    let (job, _) = script(text).unwrap();
    let after = job.into_spec(&Context::new("ada", "/")).unwrap().after;
    assert_eq!(after.iter().map(|after| after.success).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn flags_of_a_command_line_win_over_those_of_the_script() {
    let flags = ["--nodes=3".to_owned(), "-J".to_owned(), "other".to_owned()];
    let args = ["a b".to_owned(), "$(id)".to_owned()];
    let text = "#!/bin/sh\n#SBATCH -N 1 -J mine\nprintf '%s|' \"$@\"\n";
    let (job, _) = sbatch(Some(text), "job.sh", &flags, &args, &|_| None).unwrap();
    assert_eq!(job.nodes.map(|nodes| nodes.max), Some(3));
    assert_eq!(job.name.as_deref(), Some("other"));
    let (wrapped, _) = sbatch(None, "", &["--wrap=echo hi".to_owned()], &[], &|_| None).unwrap();
    assert!(wrapped.run.is_some());
    assert!(sbatch(None, "", &[], &[], &|_| None).is_err());
}

#[test]
fn a_bad_flag_is_one_message_at_its_place() {
    for (line, place, message) in [
        ("#SBATCH --nodse=2", (2, 9), "did you mean `nodes`?"),
        ("#SBATCH --mem=lots", (2, 9), "`lots` is not a size"),
        ("#SBATCH -N 4-2", (2, 9), "ends below its start"),
        ("#SBATCH -t 1:2:3:4", (2, 9), "is not a time"),
        ("#SBATCH --n=2", (2, 9), "unknown field `n`"),
        ("#SBATCH hetjob", (2, 9), "heterogeneous"),
        ("#SBATCH -J 'open", (2, 8), "not closed"),
        ("#SBATCH --dependency=afterok:x", (2, 9), "not a job id"),
        ("#SBATCH --ntasks", (2, 9), "needs a value"),
        ("#SBATCH -N 99999999", (2, 9), "the most is 10000"),
        ("#SBATCH --gres=gpu:a:4001", (2, 9), "the most is 1024 on a node"),
        ("#SBATCH --gpus-per-node=1025", (2, 9), "the most is 1024 on a node"),
        ("#POND --memroy 3GB", (2, 7), "did you mean `memory`?"),
        ("#POND --memory 3XB", (2, 7), "is not a unit"),
        ("#POND nodes 3", (2, 7), "flags start with --"),
        ("#POND --class extra", (2, 7), "critical, standard, spare"),
        ("#POND --env A", (2, 7), "NAME=VALUE"),
    ] {
        let text = format!("#!/bin/sh\n{line}\ntrue\n");
        let report = lint(&text, "job.sh", Format::Script);
        assert_eq!((report.errors.len(), report.exit_code()), (1, 65), "{line}: {report:?}");
        let error = &report.errors[0];
        assert_eq!(error.place.map(|at| (at.line, at.column)), Some(place), "{line}: {error}");
        assert!(error.to_string().contains(message), "{line}: {error}");
    }
}

#[test]
fn flags_are_laid_over_a_file_and_retries_add_up() {
    let mut overrides = Overrides::new();
    for (flag, value) in [
        ("--memory", "8GB"),
        ("env", "A=2"),
        ("volume", "/data:/data:ro"),
        ("retry-on", "exit:75,failed"),
        ("retry", "5"),
        ("after", "12,13"),
    ] {
        overrides.set(flag, value).unwrap();
    }
    let text = "type: task\nrun: x\nenv: {A: 1, B: 1}\nresources: {memory: 1GB, cpu: 2}\n";
    let (mut job, _) = read_one(text, "job.yaml", Format::Yaml).unwrap();
    overrides.apply(&mut job).unwrap();
    let draft = job.into_spec(&Context::new("ada", "/")).unwrap();
    assert_eq!(draft.spec.shapes[0].request.memory, Bytes(8_000_000_000));
    assert_eq!(draft.spec.shapes[0].request.cpu, MilliCpu(2000));
    assert_eq!((draft.spec.run.env["A"].as_str(), draft.spec.run.env["B"].as_str()), ("2", "1"));
    assert_eq!(
        (draft.spec.retry.max, draft.spec.retry.on.as_slice()),
        (5, [RetryOn::Exit(75), RetryOn::Failed].as_slice())
    );
    assert_eq!(draft.after.len(), 2);
    assert!(overrides.set("colour", "red").is_err());
}
