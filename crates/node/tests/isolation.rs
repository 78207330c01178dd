//! What a container sees, and what it cannot touch.

mod support;

use pond_core::event::{Exit, Report};
use pond_core::model::Volume;
use pond_core::units::{Bytes, MilliCpu};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use support::{Pool, change, root, script};

fn say(pool: &mut Pool, job: u64, text: &str) -> String {
    let (exit, output) = pool.run(script(job, text));
    assert_eq!(exit, Exit::Code(0), "{output}");
    output
}

#[test]
fn privileges_are_dropped_and_calls_are_filtered() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("privileges");
    let status = say(&mut pool, 1, "cat /proc/self/status");
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "CapBnd:\t00000000000004fb", "CapEff:\t00000000000004fb"] {
        assert!(status.contains(line), "{line} is missing in {status}");
    }
    let text = "\
        mount -t tmpfs none /mnt 2>/dev/null && echo mounted\n\
        unshare -m true 2>/dev/null && echo unshared\n\
        unshare -U true 2>/dev/null && echo user\n\
        mknod /tmp/pond-null c 1 3 2>/dev/null && echo mknod\n\
        hostname evil 2>/dev/null && echo renamed\n\
        dmesg >/dev/null 2>&1 && echo dmesg\n\
        chroot / true 2>/dev/null && echo chroot\n\
        kill -9 1 2>/dev/null; cat /proc/1/environ >/dev/null 2>&1 && echo environ\n\
        ls -l /proc/1/exe >/dev/null 2>&1 && echo exe\n\
        echo 1 2>/dev/null > /proc/sys/kernel/panic && echo sysctl\n\
        echo b 2>/dev/null > /proc/sysrq-trigger && echo sysrq\n\
        touch /sys/x 2>/dev/null && echo sys\n\
        echo end";
    assert_eq!(say(&mut pool, 2, &format!("#!/bin/sh\n{text}")), "end\n");
}

#[test]
fn the_machine_is_seen_but_not_changed_and_its_secrets_are_not_seen() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("host");
    let home = pool.dir.join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("file"), "mine").unwrap();
    let before = fs::read("/etc/passwd").unwrap();
    let text = format!(
        "cd {0}; cat file; echo theirs > file; rm -rf /etc/passwd; echo x > new; cat file",
        home.display()
    );
    assert_eq!(say(&mut pool, 1, &text), "minetheirs\n");
    assert_eq!(fs::read_to_string(home.join("file")).unwrap(), "mine");
    assert!(!home.join("new").exists());
    assert_eq!(fs::read("/etc/passwd").unwrap(), before);
    let secrets = format!(
        "#!/bin/sh\nfor path in /etc/shadow /etc/gshadow /etc/sudoers /root/.ssh /boot {}; do \
         test -e $path && echo $path; done; head -c 1 /proc/kcore 2>/dev/null | wc -c",
        pool.state().display()
    );
    assert_eq!(say(&mut pool, 2, &secrets), "0\n");
}

#[test]
fn it_has_names_memory_and_devices_of_its_own() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("own");
    let launch = change(
        script(
            1,
            "hostname; grep -c pond-1-0 /etc/hosts; ls /dev | xargs; df -k /dev/shm | awk 'END {print $2}'; ls /proc | grep -c '^[0-9]'",
        ),
        |run| {
            run.shm = Bytes(8 << 20);
        },
    );
    let (exit, output) = pool.run(launch);
    assert_eq!(exit, Exit::Code(0), "{output}");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], ["pond-1-0", "1"]);
    assert_eq!(
        lines[2].trim(),
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    );
    assert_eq!(lines[3], "8192");
    assert!(lines[4].parse::<u32>().unwrap() < 8, "{output}");
}

/// Its own limits are where programs look for them, whichever version the machine has, and nothing else is there.
#[test]
fn what_root_inside_does_to_what_covers_a_file_changes_nothing_of_the_machines() {
    if !root() {
        return;
    }
    let null =
        || fs::metadata("/dev/null").map(|meta| (meta.mode(), meta.ctime(), meta.ctime_nsec())).unwrap();
    let before = null();
    let mut pool = Pool::open("covered");
    let all = "for file in /dev/null /proc/keys /proc/timer_list /proc/kcore; do chmod 0666 $file && echo did; done; true";
    assert!(say(&mut pool, 1, all).contains("did"), "its own it may change");
    assert_eq!(null(), before);
}

#[test]
fn it_sees_its_own_control_groups_and_no_others() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("groups");
    let text = "#!/bin/sh\n\
        cd /sys/fs/cgroup\n\
        cat memory/memory.limit_in_bytes memory.max 2>/dev/null\n\
        cat pids/pids.max pids.max 2>/dev/null\n\
        cat cpu.max 2>/dev/null | cut -d ' ' -f 1; cat cpu/cpu.cfs_quota_us 2>/dev/null\n\
        cut -d : -f 3 /proc/self/cgroup | grep -v -c '^/$'\n\
        find . -mindepth 2 -type d | grep -c .\n\
        echo 9999999 2>/dev/null > memory/memory.limit_in_bytes && echo raised\n\
        echo max 2>/dev/null > memory.max && echo raised\n\
        mkdir new memory/new 2>/dev/null && echo made\n\
        echo end";
    let mut launch = change(script(1, text), |run| run.pids = 77);
    launch.allocation.burst.cpu = MilliCpu(500);
    launch.allocation.burst.memory = Bytes(64 << 20);
    let (exit, output) = pool.run(launch);
    assert_eq!(exit, Exit::Code(0), "{output}");
    assert_eq!(output, "67108864\n77\n50000\n0\n0\nend\n");
}

#[test]
fn what_the_pool_was_started_with_is_not_handed_on() {
    if !root() {
        return;
    }
    // Without "close on exec": as from a shell that opened a file for itself.
    let (_reading, inherited) = rustix::pipe::pipe().unwrap();
    let mut pool = Pool::open("inherited");
    let listed = say(&mut pool, 1, "#!/bin/sh\nls -l /proc/self/fd | grep -c pipe:; echo end");
    assert_eq!(listed, "2\nend\n", "beside its output it has {inherited:?}");
}

#[test]
fn volumes_files_users_and_folders_are_as_asked() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("volumes");
    let data = pool.dir.join("data");
    fs::create_dir_all(data.join("src/deep")).unwrap();
    fs::write(data.join("a"), "A").unwrap();
    fs::write(data.join("src/deep/b"), "B").unwrap();
    let path = |name: &str| data.join(name).display().to_string();
    let volume = |target: &str, read_only| Volume { source: path("."), target: target.to_owned(), read_only };
    let text =
        "pwd; id -u; cat a src/deep/b /ro/a; echo x > /rw/new; (echo y > /ro/no) 2>/dev/null || echo refused";
    let (exit, output) = pool.run(change(script(1, text), |run| {
        run.volumes = vec![volume("/rw", false), volume("/ro", true)];
        run.files = vec![path("a"), path("src")];
        run.user = Some((0, 0));
    }));
    assert_eq!(exit, Exit::Code(0), "{output}");
    assert!(output.starts_with("/work\n0\nABA"), "{output}");
    assert!(output.ends_with("refused\n"), "{output}");
    assert_eq!(fs::read_to_string(data.join("new")).unwrap(), "x\n");
    let (_, output) =
        pool.run(change(script(2, "id -u; id -g; grep CapEff /proc/self/status; cat a"), |run| {
            run.files = vec![format!("{}/", data.display())];
            run.workdir = Some("/home/me/job".to_owned());
            run.user = Some((1234, 2345));
        }));
    assert_eq!(output, "1234\n2345\nCapEff:\t0000000000000000\nA");
    let (_, output) = pool.run(change(script(3, "cat $0"), |run| {
        run.setup = Some("echo setting up; exit 9".to_owned());
    }));
    assert_eq!(output, "setting up\n");
}

#[test]
fn the_pools_own_folder_is_in_no_volume_and_in_no_copy() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("own-folder");
    let state = pool.state();
    fs::write(state.join("token"), "the pool's token").unwrap();
    fs::write(pool.dir.join("mine"), "mine").unwrap();
    let link = pool.dir.join("link");
    std::os::unix::fs::symlink(&state, &link).unwrap();
    let name = state.file_name().unwrap().to_str().unwrap().to_owned();
    let volume = |source: &Path| Volume {
        source: source.display().to_string(),
        target: "/v".to_owned(),
        read_only: false,
    };
    let around = pool.dir.clone();
    // A folder around it comes along, and what is in it does not; nor can its name be freed.
    let text =
        format!("cat /v/mine mine; ls -A /v/{name} {name}; mv /v/{name} /v/other 2> /dev/null || echo stays");
    let (exit, output) = pool.run(change(script(1, &text), |run| {
        run.volumes = vec![volume(&around)];
        run.files = vec![format!("{}/", around.display())];
    }));
    assert_eq!((exit, output.as_str()), (Exit::Code(0), &*format!("minemine/v/{name}:\n\n{name}:\nstays\n")));
    assert_eq!(fs::read_to_string(state.join("token")).unwrap(), "the pool's token");
    // By whatever name, nothing inside of it is given.
    for (at, source) in
        [state.clone(), state.join("token"), link.join("token"), link, around.join("./state/../state")]
            .into_iter()
            .enumerate()
    {
        for copied in [false, true] {
            let job = 2 + 2 * at as u64 + u64::from(copied);
            let task = pool.start(change(script(job, "true"), |run| match copied {
                true => run.files = vec![source.display().to_string()],
                false => run.volumes = vec![volume(&source)],
            }));
            let why = pool.expect("a refusal", |report| match report {
                Report::StartFailed { task: of, message, node_fault: false, .. } if *of == task => {
                    Some(message.clone())
                }
                _ => None,
            });
            assert!(why.contains("the pool's own folder"), "{}: {why}", source.display());
        }
    }
}

#[test]
fn secrets_are_in_the_environment_and_in_no_file() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("secrets");
    let task =
        pool.start(change(script(1, "echo ${#TOKEN}; sleep 1000"), |run| run.secrets = vec!["TOKEN".into()]));
    pool.started(task);
    pool.wait_output(task, "12");
    for (_, line) in support::processes_of(&pool.dir) {
        assert!(!line.contains("s3cret-value"));
    }
    let mut open = vec![pool.state()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).unwrap();
                assert!(
                    !String::from_utf8_lossy(&bytes).contains("s3cret-value"),
                    "{}",
                    entry.path().display()
                );
            }
        }
    }
}

#[test]
fn a_paused_environment_finds_its_layer_again() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("keep");
    for (job, disk) in [(1, 0), (2, 64 << 20)] {
        let size = |mut launch: pond_core::event::Launch| {
            launch.allocation.burst.disk = pond_core::units::Bytes(disk);
            launch
        };
        assert_eq!(pool.run(size(script(job, "echo kept > /mine; rm /etc/hostname"))).0, Exit::Code(0));
        let mut again = size(script(job, "cat /mine; test ! -e /etc/hostname"));
        again.allocation.generation = pond_core::ids::Generation(2);
        again.keep_layer = true;
        let task = pool.start(again);
        assert_eq!(pool.exited_under(task, pond_core::ids::Generation(2)), Exit::Code(0));
        assert_eq!(pool.output_under(task, pond_core::ids::Generation(2)), "kept\n");
    }
}
