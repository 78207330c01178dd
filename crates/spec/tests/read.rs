//! Whole files in, jobs or one message out.

use pond_core::model::{Class, Command, DeviceKind, GangSize, JobKind, RetryOn, ShareMode};
use pond_core::units::{Bytes, MilliCpu, Millis, Thousandths};
use pond_spec::values::Devices;
use pond_spec::{Context, Format, JobFile, JobRef, into_specs, read, read_one};

const TASK: &str = r#"
type: task                     # gang training: all nodes start together or none
name: llama-sft
project: nlp
nodes: 2..4
image: pytorch/pytorch:2.13.0
isolation: container
files: [.]
setup: uv pip install -r requirements.txt
run: |
  torchrun --nnodes=$POND_NODES train.py --resume auto
env: {NCCL_DEBUG: WARN, LEVEL: 1.10, DRY: true}
secrets: [HF_TOKEN]
volumes: [/srv/data:/data:ro, ./ckpt:/ckpt]
resources: {gpu: H100:8, cpu: 64, memory: 512GB, shm: 64GB, disk: 200GB}
class: standard
priority: normal
preemptible: true
checkpoint: {dir: /ckpt, signal: SIGUSR1, grace: 2m}
time_limit: 24h
retry: {on: [node_failure, preempted, device_error, "exit:75"], max: 10}
x-notify: {on: [failed, succeeded]}
"#;

const ENV: &str = "
type: env
name: dev-box
ide: jupyter
ports: [8888]
resources: {gpu: A100:0.5, cpu: 4..16, memory: 32GB}
idle: {after: 30m, action: pause}
time_limit: 12h
";

fn job(text: &str) -> JobFile {
    match read_one(text, "job.pond.yaml", Format::Yaml) {
        Ok((job, _)) => job,
        Err(error) => panic!("{}", error.report()),
    }
}

#[test]
fn a_gang_training_becomes_a_complete_job() {
    let draft = job(TASK).into_spec(&Context::new("ada", "/home/ada/work")).unwrap();
    let spec = draft.spec;
    assert_eq!((spec.name.as_str(), spec.queue.as_str(), spec.user.as_str()), ("llama-sft", "nlp", "ada"));
    assert_eq!(spec.size, GangSize { min: 2, max: 4 });
    assert_eq!((spec.class, spec.priority, spec.preemptible), (Class::Standard, 500, true));
    assert_eq!(spec.time_limit, Some(Millis(86_400_000)));
    assert_eq!(spec.retry.on[3], RetryOn::Exit(75));
    let [shape] = spec.shapes.as_slice() else { panic!("one shape") };
    assert_eq!((shape.request.cpu, shape.request.memory), (MilliCpu(64_000), Bytes(512_000_000_000)));
    let [gpu] = shape.devices.as_slice() else { panic!("one device request") };
    assert_eq!((gpu.model.as_deref(), gpu.count, gpu.mode), (Some("H100"), 8, ShareMode::Exclusive));
    assert_eq!(spec.run.env["LEVEL"], "1.10", "a value is taken as it is written");
    assert_eq!(spec.run.env["DRY"], "true");
    assert_eq!(spec.run.volumes[1].source, "/home/ada/work/ckpt");
    assert_eq!(spec.run.files, ["/home/ada/work/"]);
    assert_eq!(spec.checkpoint.map(|checkpoint| checkpoint.signal), Some(10));
}

#[test]
fn an_estimate_and_speeds_reach_the_planner_in_thousandths() {
    let text = "type: task\nrun: 'true'\nnodes: 1..4\nestimate: 1h30m\n\
                speed: {models: {H100: 1, A100: 0.45}, nodes: {10: 7, 1: 1, 2: 1.875}}\n";
    let spec = job(text).into_spec(&Context::new("ada", "/home/ada")).unwrap().spec;
    assert_eq!(spec.predicted, Some(Millis(5_400_000)));
    let speed = spec.speed.unwrap();
    assert_eq!((speed.on("NVIDIA A100-SXM4-80GB"), speed.on("NVIDIA H100 80GB HBM3")), (450, 1000));
    assert_eq!(speed.ranks, [(1, 1000), (2, 1875), (10, 7000)]);
}

#[test]
fn an_environment_gets_what_its_ide_needs() {
    let spec = job(ENV).into_spec(&Context::new("ada", "/")).unwrap().spec;
    assert_eq!(spec.kind, JobKind::Env);
    assert_eq!(spec.shapes[0].request.cpu, MilliCpu(4000));
    assert_eq!(spec.shapes[0].burst.cpu, MilliCpu(16_000));
    assert_eq!(spec.shapes[0].devices[0].compute, Thousandths(500));
    assert_eq!(spec.run.env["PORT"], "8888");
    assert_eq!(spec.idle.map(|idle| idle.after), Some(Millis(1_800_000)));
}

#[test]
fn jobs_of_one_file_are_ordered_by_what_they_wait_for() {
    let text = "type: task\nname: eval\nafter: [train]\nrun: eval\n---\ntype: task\nname: train\nafter: [prep, 12]\nrun: train\n---\ntype: task\nname: prep\nrun: prep\n";
    let jobs = read(text, "all.yaml", Format::Yaml).unwrap().jobs;
    let drafts = into_specs(jobs, &Context::new("ada", "/")).unwrap();
    let names: Vec<&str> = drafts.iter().map(|draft| draft.spec.name.as_str()).collect();
    assert_eq!(names, ["prep", "train", "eval"]);
    assert_eq!(drafts[1].after[0].job, JobRef::Earlier(0));
    assert_eq!(drafts[1].after[1].job, JobRef::Id(pond_core::ids::JobId(12)));
    assert_eq!(drafts[2].after[0].job, JobRef::Earlier(1));
}

#[test]
fn one_job_reads_alike_from_yaml_toml_and_json_and_survives_a_round_trip() {
    let yaml = job(TASK);
    let json = serde_json::to_string_pretty(&yaml).unwrap();
    let (again, _) = read_one(&json, "job.json", Format::Json).unwrap();
    assert_eq!(again, yaml);
    let toml = r#"
type = "task"
name = "t"
nodes = 2
run = ["python3", "train.py", 3]
[resources]
cpu = 0.5
gpu = {model = "A100", compute = "30%"}
"#;
    let (toml, _) = read_one(toml, "job.toml", Format::Toml).unwrap();
    let yaml = job(
        "type: task\nname: t\nnodes: 2\nrun: [python3, train.py, 3]\nresources: {cpu: 0.5, gpu: {model: A100, compute: 30%}}\n",
    );
    assert_eq!(toml, yaml);
}

#[test]
fn shares_have_ranges_weights_and_a_form_for_flags() {
    let text = "type: task\nname: t\nrun: 'true'\nresources:\n  opencl: {compute: 30%..60%, memory: 4GB..8GB, weight: 3}\n";
    let asked = |text: &str| {
        job(text)
            .into_spec(&Context::new("ada", "/"))
            .unwrap()
            .spec
            .shapes
            .iter()
            .map(|shape| shape.devices[0].clone())
            .collect::<Vec<_>>()
    };
    let [long] = &asked(text)[..] else { panic!("one shape") };
    assert_eq!((long.compute, long.slack.compute), (Thousandths(300), Some(Thousandths(600))));
    assert_eq!(
        (long.memory.0, long.slack.memory.unwrap().0, long.slack.weight),
        (4_000_000_000, 8_000_000_000, 3)
    );
    let flag = "compute=30%..60%,memory=4GB..8GB,weight=3".parse::<Devices>().unwrap();
    assert_eq!(flag.requests(DeviceKind::OpenCl).unwrap()[0], *long);
    let short = "0.3..0.6".parse::<Devices>().unwrap().requests(DeviceKind::OpenCl).unwrap().remove(0);
    assert_eq!((short.compute, short.slack.compute), (Thousandths(300), Some(Thousandths(600))));
    for wrong in ["0.6..0.3", "compute=2", "color=red", "share=time,weight=x", "30%:0"] {
        assert!(wrong.parse::<Devices>().is_err(), "{wrong}");
    }
    for fixed in ["1", "A100:0.5", "0.5:2", "share=time,compute=50%", "model=A100,memory=1GB"] {
        assert!(fixed.parse::<Devices>().unwrap().change(DeviceKind::OpenCl).is_err(), "{fixed}");
    }
    let change = "memory=1GB".parse::<Devices>().unwrap().change(DeviceKind::OpenCl).unwrap();
    assert_eq!((change.compute, change.memory.unwrap().0), (None, 1_000_000_000));
    let loose = text.replace("weight: 3", "advisory: true");
    let modes: Vec<ShareMode> = asked(&loose).iter().map(|asked| asked.mode).collect();
    assert_eq!(modes, [ShareMode::Time, ShareMode::Advisory], "kept where that can be, else not");
    let whole = text.replace("compute: 30%..60%", "share: exclusive");
    assert!(read(&whole, "x.yaml", Format::Yaml).is_err());
}

#[test]
fn what_is_wrong_with_devices_is_said_in_words_of_devices() {
    let said = |text: &str| {
        let read = text.parse::<Devices>().and_then(|devices| devices.requests(DeviceKind::OpenCl));
        read.expect_err(text).to_string()
    };
    for part in ["0,3", "1e-1", "0x1", "0.3,0.4", "0.0001", "1.5", "100%"] {
        let all = "is not a part of one device; write a fraction below 1 of at most three decimals, as 0.3, or a whole number";
        assert_eq!(said(part), format!("`{part}` {all}"));
    }
    assert!(said("500mb").starts_with("`mb` is not a unit of size; use one of B KB MB"), "{}", said("500mb"));
    assert_eq!(
        said("compute=30%,memory=4"),
        "`4B` is not enough memory for anything on a device, which is counted in pieces of 4KiB; write a size with its unit, as 4GB"
    );
    assert_eq!(said("compute=30%,weight=0"), "weight cannot be 0; leave the field out for the default");
    assert_eq!(
        said("compute=30%,compute=40%"),
        "`compute` is not said twice in one flag; write each part once"
    );
    assert_eq!(said("compute=30%,advisory=maybe"), "`maybe` is not a value of advisory; write true or false");
    assert_eq!(
        said("advisory=true"),
        "`advisory` is not possible with whole devices and partitions, which have what they have; write a share beside it, as compute: 30%"
    );
    for share in ["share: time", "share: space"] {
        assert_eq!(
            said(&share.replace(": ", "=")),
            format!(
                "`{share}` is not possible without saying how much; write compute: 30% or memory: 4GB beside it"
            )
        );
    }
    assert!("memory=1KB".parse::<Devices>().unwrap().change(DeviceKind::OpenCl).is_err());
    assert!("weight=0".parse::<Devices>().unwrap().change(DeviceKind::OpenCl).is_err());
}

#[test]
fn a_share_outside_of_a_container_is_one_that_nobody_keeps_or_none() {
    let text = "type: task\nname: t\nisolation: process\nrun: 'true'\nresources:\n  opencl: {compute: 30%}\n";
    let refused = read(text, "x.yaml", Format::Yaml).unwrap_err().report();
    assert!(
        refused.starts_with(
            "error: line 6 column 11: resources.opencl: a share of a device is kept in containers only;"
        ),
        "{refused}"
    );
    let loose = text.replace("30%", "30%, advisory: true");
    let spec = job(&loose).into_spec(&Context::new("ada", "/")).unwrap().spec;
    let modes: Vec<ShareMode> = spec.shapes.iter().map(|shape| shape.devices[0].mode).collect();
    assert_eq!(modes, [ShareMode::Advisory]);
    assert!(read(&text.replace("{compute: 30%}", "1"), "x.yaml", Format::Yaml).is_ok());
}

#[test]
fn the_message_of_the_product_page_is_given() {
    let text = "type: task\nname: x\nrun: make\nresources:\n  cpu: 4\n  memroy: 4GB\n";
    let error = read(text, "train.pond.yaml", Format::Yaml).unwrap_err();
    assert_eq!(
        error.report(),
        "error: line 6 column 3: unknown field `memroy`; did you mean `memory`?\n \
         --> train.pond.yaml:6:3\n  |\n6 |   memroy: 4GB\n  |   ^\n  = correct it, remove it, or start its name with `x-` to have it ignored"
    );
}

#[test]
fn partitions_are_asked_for_by_profile_or_by_size() {
    let asked = |text: &str| text.parse::<Devices>().unwrap().requests(DeviceKind::Gpu).unwrap().remove(0);
    for text in [
        "1g.10gb",
        "H100:3G.40GB:2",
        "1g.10gb+me",
        "profile=cpx-nps4,model=MI300X",
        "share=space,profile=3g.40gb",
    ] {
        let request = asked(text);
        assert_eq!(
            (request.mode, request.compute, request.memory),
            (ShareMode::Space, Thousandths(0), Bytes(0)),
            "{text}"
        );
        assert!(request.profile.is_some(), "{text}");
    }
    let two = asked("H100:3G.40GB:2");
    assert_eq!((two.model.as_deref(), two.profile.as_deref(), two.count), (Some("H100"), Some("3g.40gb"), 2));
    assert_eq!("H100:3g.40gb:2".parse::<Devices>().unwrap(), "H100:3G.40GB:2".parse::<Devices>().unwrap());
    let size = asked("share=space,memory=20GB,compute=30%");
    assert_eq!((size.mode, size.profile.as_deref()), (ShareMode::Space, None));
    assert_eq!((size.compute, size.memory), (Thousandths(300), Bytes(20_000_000_000)));
    for wrong in ["1g.10gb:0.5", "1c.1g.10gb", "40GB:1g.10gb"] {
        assert!(wrong.parse::<Devices>().is_err(), "{wrong}");
    }
    for wrong in ["share=time,profile=3g.40gb", "profile=a b", "share=space,profile=1g.10gb,weight=2"] {
        assert!(wrong.parse::<Devices>().unwrap().requests(DeviceKind::Gpu).is_err(), "{wrong}");
    }
    assert!(
        "3g.40gb".parse::<Devices>().unwrap().change(DeviceKind::Gpu).is_err(),
        "what is cut stays as it is"
    );
}

#[test]
fn what_runs_may_be_left_to_an_image() {
    let image = |name: &str| format!("type: task\nimage: {name}\n");
    for (name, called) in [("docker.io/team/serve:1.0", "serve"), ("./layouts/train", "train")] {
        let unnamed = JobFile { name: None, ..job(&image(name)) };
        let spec = unnamed.into_spec(&Context::new("ada", "/")).unwrap().spec;
        assert_eq!((spec.run.command.clone(), &*spec.name), (Command::Argv(Vec::new()), called));
    }
    let refused = read(&image("host"), "x.yaml", Format::Yaml).unwrap_err();
    assert!(refused.report().contains("add `run:`"), "{}", refused.report());
    let env =
        job("type: env\nimage: docker.io/team/tools:2\n").into_spec(&Context::new("ada", "/")).unwrap().spec;
    assert!(
        matches!(&env.run.command, Command::Script(text) if text.contains("sleep")),
        "{:?}",
        env.run.command
    );
}
