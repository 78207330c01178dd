//! Hardware partitions in a pool: a modelled H100 in MIG mode is cut as the plan says, and whole again when nobody is on it.

use pond_e2e::{Pool, is_root, skip, wait_until};
use pond_nvidia_model::device::Mapped;
use pond_nvidia_model::{become_model, instances};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A pool on a machine with one H100 in MIG mode.
struct Bed {
    pool: Pool,
    machine: Mapped,
    driver: PathBuf,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

impl Bed {
    fn new(name: &str) -> Option<Self> {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        let model = target.join("debug/libpond_nvidia_model.so");
        if !is_root() || !model.exists() {
            skip("partitions of a GPU in a pool", "they need root and `cargo build -p pond-nvidia-model`");
            return None;
        }
        let pool = Pool::new(name);
        let driver = pool.work().join("driver");
        std::fs::create_dir(&driver).expect("made");
        for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
            std::fs::copy(&model, driver.join(name)).expect("copied");
        }
        let machine = Mapped::create(&driver.join("machine"), &[(1, 1)]).expect("made");
        become_model(&machine, 0, "H100");
        for mode in [&machine.cuts[0].pending, &machine.cuts[0].current] {
            mode.store(1, Release);
        }
        Some(Self { pool, machine, driver })
    }

    /// `pond` where the driver is found.
    fn pond(&self, arguments: &[&str]) -> std::process::Output {
        let mut pond = self.pool.pond(arguments);
        pond.env("POND_NVIDIA_DRIVER", &self.driver).env("POND_NVIDIA_MODEL", self.driver.join("machine"));
        pond.output().expect("pond runs")
    }

    fn up(&self) {
        let done = self.pond(&["up", "-d"]);
        assert!(done.status.success(), "{done:?}");
    }

    /// A job that says what it sees of its part, and holds it.
    fn run(&self, name: &str, profile: &str) {
        self.run_for(name, profile, 1, 1000.0);
    }

    /// The same in so many ranks, for so many seconds.
    fn run_for(&self, name: &str, profile: &str, ranks: u32, seconds: f32) {
        let text = format!(
            "type: task\nname: {name}\nnodes: {ranks}\nresources: {{gpu: {profile}, cpu: 0.2, memory: 500MB, disk: 100MB}}\n\
             volumes: ['{}:/driver', '{}:/clients:ro']\n\
             env: {{LD_LIBRARY_PATH: /driver}}\n\
             run: exec env POND_NVIDIA_MODEL=/driver/machine python3 /clients/part.py {seconds}\n",
            self.driver.display(),
            root().join("tests/clients").display()
        );
        std::fs::write(self.pool.work().join("job.yaml"), text).expect("written");
        _ = self.pool.ok(&["run", "-d", "job.yaml"]);
    }

    /// What it said, word by word.
    fn said(&self, name: &str) -> Vec<String> {
        let mut said = String::new();
        let told = wait_until(PATIENCE, || {
            said = self.pool.ok(&["logs", name]);
            said.contains('\n')
        });
        assert!(told, "{} {}", self.pool.ok(&["why", name]), self.pool.ok(&["events"]));
        said.split_whitespace().map(str::to_owned).collect()
    }

    /// Waits until this stands on the GPU: profile, start.
    fn stands(&self, wanted: &[(&str, u32)]) {
        let mut last = Vec::new();
        let right = wait_until(PATIENCE, || {
            last = instances(&self.machine, 0).iter().map(|(name, start, _)| (*name, *start)).collect();
            last.sort_by_key(|(_, start)| *start);
            last == wanted
        });
        assert!(right, "{last:?} where {wanted:?} should stand: {}", self.pool.ok(&["events"]));
    }

    fn kill(&self) {
        let server = self.pool.server().expect("it runs");
        let killed = Command::new("kill").args(["-9", &server.to_string()]).status().expect("kill");
        assert!(killed.success() && wait_until(PATIENCE, || self.pool.server().is_none()));
    }

    fn state(&self, name: &str) -> String {
        self.pool.json(&["status", name])["state"].as_str().expect("a word").to_owned()
    }
}

/// What a job is charged for devices, thousandths × milliseconds.
fn charged(pool: &Pool, job: &str) -> u64 {
    let usage = pool.json(&["usage", "--by", "job"]);
    let row = usage["rows"].as_array().expect("rows").iter().find(|row| row["key"] == job).cloned();
    row.and_then(|row| row["granted_device_thousandths_ms"].as_u64()).unwrap_or(0)
}

#[test]
fn two_jobs_have_a_part_each_and_a_third_waits_until_there_is_a_place() {
    let Some(bed) = Bed::new("parts") else { return };
    bed.up();
    let shown = bed.pool.ok(&["gpu"]);
    assert!(shown.contains("7 1g.10gb"), "{shown}");
    bed.run("a", "1g.10gb");
    bed.run("b", "1g.10gb");
    let (a, b) = (bed.said("a"), bed.said("b"));
    // 16 multiprocessors, 64 MiB of which are the context; 64 MiB at a time of what is left of 9,984.
    assert_eq!((&a[1..], &b[1..]), (&["1", "9984", "16", "9920"].map(str::to_owned)[..], &a[1..]));
    assert!(a[0].starts_with("MIG-") && b[0].starts_with("MIG-") && a[0] != b[0], "{a:?} {b:?}");
    assert_eq!(instances(&bed.machine, 0).len(), 2);

    _ = bed.pool.ok(&["run", "-d", "--gpu", "7g.80gb", "--name", "whole", "--", "true"]);
    let mut why = String::new();
    let waits = wait_until(PATIENCE, || {
        why = bed.pool.ok(&["why", "whole"]);
        why.contains("7g.80gb")
    });
    assert!(waits && why.contains("has room for"), "{why}");
    assert!(bed.pool.ok(&["ps"]).contains("gpu:7g.80gb"));
    let refused = bed.pool.pond(&["run", "--gpu", "1", "--", "true"]).output().expect("pond runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("has no GPU that is given out whole, only parts of them"), "{said}");
    _ = bed.pool.ok(&["stop", "--now", "a"]);
    let one = instances(&bed.machine, 0);
    assert!(wait_until(PATIENCE, || instances(&bed.machine, 0).len() == 1), "{one:?}");
    assert_eq!((bed.state("whole"), bed.state("b")), ("waiting".to_owned(), "running".to_owned()));
    _ = bed.pool.ok(&["stop", "--now", "b"]);
    _ = bed.pool.ok(&["wait", "whole"]);
    bed.stands(&[]);
    assert_eq!(
        std::fs::read_to_string(bed.pool.state().join("partitions.json"))
            .expect("kept")
            .matches("MIG")
            .count(),
        0
    );
    bed.pool.finish();
}

#[test]
fn a_device_is_cut_into_seven_for_a_gang_and_made_whole_for_the_next_job() {
    let Some(bed) = Bed::new("parts-gang") else { return };
    bed.up();
    bed.machine.cuts[0].takes_ms.store(20, Release);
    bed.run_for("seven", "1g.10gb", 7, 0.5);
    bed.run_for("whole", "7g.80gb", 1, 0.1);
    bed.run_for("halves", "3g.40gb", 2, 0.1);
    for name in ["seven", "whole", "halves"] {
        let done = bed.pool.pond(&["wait", name]).output().expect("pond runs");
        assert!(done.status.success(), "{done:?} {}", bed.pool.ok(&["events"]));
    }
    let parts = |name: &str| {
        let said = bed.said(name);
        let begins = said.windows(3).filter(|words| words[0].starts_with("MIG-"));
        let (mut uuids, memory): (Vec<String>, Vec<String>) =
            begins.map(|words| (words[0].clone(), words[2].clone())).unzip();
        uuids.sort();
        uuids.dedup();
        (uuids.len(), memory)
    };
    assert_eq!(parts("seven"), (7, vec!["9984".to_owned(); 7]));
    assert_eq!(parts("whole"), (1, vec!["81152".to_owned()]));
    assert_eq!(parts("halves"), (2, vec!["40448".to_owned(); 2]));
    assert_eq!(bed.machine.cuts[0].serial.load(Acquire), 10);
    bed.stands(&[]);
    bed.pool.finish();
}

#[test]
fn a_killed_server_takes_its_parts_up_again_and_bills_what_was_had() {
    let Some(bed) = Bed::new("parts-crash") else { return };
    bed.up();
    bed.run("stays", "1g.10gb");
    bed.run("ends", "3g.40gb");
    let stays = bed.said("stays");
    assert_eq!(bed.said("ends")[2], "40448");
    let before = bed.machine.cuts[0].serial.load(Acquire);
    let pid = || bed.pool.ok(&["exec", "stays", "--", "cat", "/proc/1/stat"]);
    let started = pid();
    bed.kill();
    // While nobody looks, one of them ends.
    let launchers = Command::new("pgrep").args(["-f", "python3 /clients/part.py"]).output().expect("pgrep");
    let mine: Vec<u32> =
        String::from_utf8_lossy(&launchers.stdout).lines().filter_map(|pid| pid.parse().ok()).collect();
    let state = bed.pool.state().to_string_lossy().into_owned();
    let of_job = |pid: &&u32| {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let id = std::fs::read_to_string(format!("{state}/pool-id")).expect("a pool");
        groups.contains(&format!("pond-{}/t2.", id.trim()))
    };
    let victim = mine.iter().find(of_job).unwrap_or_else(|| panic!("{mine:?}"));
    let killed = Command::new("kill").args(["-9", &victim.to_string()]).status().expect("kill");
    assert!(killed.success());
    bed.up();
    bed.stands(&[("MIG 1g.10gb", 0)]);
    assert_eq!(bed.machine.cuts[0].serial.load(Acquire), before, "nothing was made again");
    assert_eq!(pid().split(' ').nth(21), started.split(' ').nth(21), "the same process");
    assert_eq!((bed.state("stays"), bed.said("stays")), ("running".to_owned(), stays));

    // What it holds is still held: nothing else is put there.
    bed.run("beside", "3g.40gb");
    assert_eq!(bed.said("beside")[2], "40448");
    _ = bed.pool.ok(&["stop", "--now", "stays", "beside"]);
    _ = bed.pool.pond(&["wait", "stays", "beside"]).output().expect("pond runs");
    bed.stands(&[]);
    let device = bed.pool.json(&["usage"])["devices"][0].clone();
    let part = |name: &str| device[name].as_u64().expect("a number");
    assert_eq!(part("capacity"), part("granted") + part("idle") + part("planned") + part("down"));
    let bills: Vec<u64> = ["1", "2", "3"].iter().map(|job| charged(&bed.pool, job)).collect();
    // Of 81,559 MiB 9,984 are more than 16 of 132 multiprocessors, and 40,448 more than 60: thousandths, rounded up. The device's
    // own account is of its compute.
    let mut compute = 0;
    for (bill, (thousandths, own)) in bills.iter().zip([(123, 121), (496, 454), (496, 454)]) {
        assert!(*bill > 0 && bill.is_multiple_of(thousandths), "{bills:?}");
        compute += bill / thousandths * own;
    }
    assert_eq!(compute, part("granted"), "{bills:?} {device}");
    bed.pool.finish();
}

#[test]
fn servers_that_are_killed_at_any_moment_lose_no_part_and_leave_none() {
    const PROFILES: [(&str, &str); 4] =
        [("1g.10gb", "9984"), ("3g.40gb", "40448"), ("2g.20gb", "20096"), ("1g.20gb", "20096")];
    let Some(bed) = Bed::new("parts-storm") else { return };
    // So that half of the time something is half made.
    bed.machine.cuts[0].takes_ms.store(30, Release);
    let mut wanted = Vec::new();
    for round in 0..10_u64 {
        bed.up();
        for at in 0..3 {
            let (profile, memory) = PROFILES[(round as usize * 3 + at * 5) % PROFILES.len()];
            let name = format!("r{round}-{at}");
            bed.run_for(&name, profile, 1, 0.2);
            wanted.push((name, memory));
        }
        // From the middle of the first start to after the last end.
        std::thread::sleep(Duration::from_millis(round * 97 % 400));
        bed.kill();
    }
    bed.up();
    for (name, memory) in &wanted {
        let done = bed.pool.pond(&["wait", name]).output().expect("pond runs");
        assert!(done.status.success(), "{done:?} {}", bed.pool.ok(&["events"]));
        assert_eq!(bed.said(name)[2], *memory, "{name}");
    }
    bed.stands(&[]);
    bed.pool.finish();
}

#[test]
fn what_an_administrator_made_is_not_touched_and_not_offered() {
    let Some(bed) = Bed::new("parts-others") else { return };
    // As `nvidia-smi mig -cgi` would, before the pool comes.
    let cut = &bed.machine.cuts[0];
    cut.serial.store(1, Release);
    cut.taken.store(0xf0, Release);
    let half_at_4 = 1 << 32 | 4 << 16 | 4 << 8 | 1;
    cut.parts[0].0.store(half_at_4, Release);
    assert_eq!(instances(&bed.machine, 0), [("MIG 3g.40gb", 4, false)]);
    bed.up();
    let shown = bed.pool.ok(&["gpu"]);
    assert!(shown.contains("1 4g.40gb") && shown.contains("4 1g.10gb") && !shown.contains("7g"), "{shown}");
    let doctor = bed.pond(&["doctor"]);
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("1 in MIG mode"), "{doctor:?}");
    bed.run("a", "4g.40gb");
    assert_eq!(bed.said("a")[2], "40448");
    let refused = bed.pool.pond(&["run", "--gpu", "7g.80gb", "--", "true"]).output().expect("pond runs");
    assert!(!refused.status.success());
    bed.kill();
    bed.up();
    _ = bed.pool.ok(&["stop", "--now", "a"]);
    bed.stands(&[("MIG 3g.40gb", 4)]);
    bed.pool.finish();
    assert_eq!(instances(&bed.machine, 0).len(), 1);
}

#[test]
fn what_others_make_and_take_away_beside_the_pool_is_seen() {
    let Some(bed) = Bed::new("parts-beside") else { return };
    bed.up();
    assert!(bed.pool.ok(&["gpu"]).contains("1 7g.80gb"));
    bed.run("a", "1g.10gb");
    assert_eq!(bed.said("a")[2], "9984");
    // Somebody makes half of the GPU theirs, where the pool would put a half: beside the part of the first job.
    let upper = instances(&bed.machine, 0)[0].1 < 4;
    let (start, slices) = if upper { (4, 0xf0) } else { (0, 0x0f) };
    let cut = &bed.machine.cuts[0];
    cut.taken.fetch_or(slices, AcqRel);
    cut.parts[5].0.store(99 << 32 | 4 << 16 | start << 8 | 1, Release);
    bed.run("b", "3g.40gb");
    let waits = || bed.pool.ok(&["why", "b"]).contains("no place for a 3g.40gb");
    assert!(wait_until(PATIENCE, waits), "{}{}", bed.pool.ok(&["why", "b"]), bed.pool.ok(&["events"]));
    let told = bed.pool.ok(&["events"]);
    assert!(told.contains("something that is used stands there"), "a start failed there: {told}");
    assert!(!bed.pool.ok(&["gpu"]).contains("7g"), "{}", bed.pool.ok(&["gpu"]));
    assert_eq!((bed.state("a"), bed.state("b")), ("running".to_owned(), "waiting".to_owned()));
    // A server that comes anew numbers parts as before, whatever others have: who runs keeps what it has.
    bed.kill();
    bed.up();
    assert_eq!(bed.state("a"), "running");
    // They give it back, and a look within a minute finds that.
    cut.parts[5].0.store(0, Release);
    cut.taken.fetch_and(!slices, AcqRel);
    let runs = || bed.state("b") == "running";
    assert!(wait_until(2 * PATIENCE, runs), "{}{}", bed.pool.ok(&["why", "b"]), bed.pool.ok(&["events"]));
    assert_eq!(bed.said("b")[2], "40448");
    assert_eq!(bed.state("a"), "running");
    for job in ["a", "b"] {
        _ = bed.pool.ok(&["stop", "--now", job]);
    }
    bed.stands(&[]);
    // Nobody is on it, and an administrator takes it out of MIG mode: what was offered is not there any more.
    cut.current.store(0, Release);
    // What its driver tells has it looked at now, and not in a minute.
    bed.machine.devices[0].xid[0].store(63, Release);
    bed.machine.devices[0].xid[1].fetch_add(1, AcqRel);
    let gone = || bed.pool.ok(&["events", "--kind", "device."]).contains("it is not in MIG mode any more");
    assert!(wait_until(2 * PATIENCE, gone), "{}", bed.pool.ok(&["events"]));
    bed.pool.finish();
}

#[test]
fn what_was_half_made_goes_and_what_only_looks_like_it_stays() {
    let Some(bed) = Bed::new("parts-half") else { return };
    let cut = &bed.machine.cuts[0];
    cut.serial.store(2, Release);
    cut.taken.store(0b1001, Release);
    // Two single slices, at 0 and at 3. Of the first it was written that it would be made; of the second that another stood there.
    for (at, serial, start) in [(0, 1, 0), (1, 2, 3)] {
        cut.parts[at].0.store(serial << 32 | start << 8 | 2 | 1, Release);
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot");
    let record = |start: u32, made: &str| {
        let gpu = "GPU-416f6e64-2d6d-6f64-656c-2d6770752d00";
        format!(r#"{{"device":"{gpu}","profile":"1g.10gb","start":{start},"holder":null,"made":{made}}}"#)
    };
    let other = r#"{"instance":2,"compute":0,"uuid":"MIG-00000000-0000-0000-0000-000000000000"}"#;
    let book =
        format!(r#"{{"boot":"{}","records":[{},{}]}}"#, boot.trim(), record(0, "null"), record(3, other));
    std::fs::write(bed.pool.state().join("partitions.json"), &book).expect("written");
    bed.up();
    bed.stands(&[("MIG 1g.10gb", 3)]);
    assert!(bed.pool.ok(&["gpu"]).contains("6 1g.10gb"), "{}", bed.pool.ok(&["gpu"]));
    // What is written of another boot is nothing: what stands was made since.
    bed.kill();
    let before = format!(r#"{{"boot":"another","records":[{}]}}"#, record(3, "null"));
    std::fs::write(bed.pool.state().join("partitions.json"), before).expect("written");
    bed.up();
    bed.run("a", "1g.10gb");
    assert_eq!(bed.said("a")[2], "9984");
    assert_eq!(instances(&bed.machine, 0).len(), 2);
    bed.pool.finish();
    assert_eq!(instances(&bed.machine, 0), [("MIG 1g.10gb", 3, true)]);
}

#[test]
fn a_part_that_cannot_be_made_is_no_fault_of_the_job_and_of_the_device_when_it_repeats() {
    let Some(bed) = Bed::new("parts-refused") else { return };
    bed.up();
    bed.machine.cuts[0].refuse.store(1, Release);
    bed.run("once", "2g.20gb");
    assert_eq!(bed.said("once")[2], "20096", "it was tried again");
    let told = bed.pool.ok(&["events"]);
    assert!(told.contains("cannot make 2g.20gb at slice") && told.contains("no room for it"), "{told}");
    assert!(!bed.pool.ok(&["events", "--kind", "device."]).contains("suspect"));
    bed.machine.cuts[0].refuse_compute.store(2, Release);
    bed.run("twice", "1g.10gb");
    let suspected = || bed.pool.ok(&["events", "--kind", "device."]).contains("suspect");
    assert!(wait_until(PATIENCE, suspected), "{}", bed.pool.ok(&["events"]));
    assert_eq!(bed.state("once"), "running");
    assert_eq!(instances(&bed.machine, 0).len(), 1, "nothing is left of what was half made");
    // It is looked at every 6 s; well three times, and it is granted again.
    assert_eq!(bed.said("twice")[2], "9984");
    bed.pool.finish();
}
