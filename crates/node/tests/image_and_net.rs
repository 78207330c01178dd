//! Images and networks through the agent: a task in a root of its own, a gang that talks, a forwarded port.
//! Each pool lives in a network namespace of its own, so that the machine's is not touched.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod images;
mod support;

use images::{Built, Entry, Form, Layer};
use pond_core::event::{Exit, Launch, Report};
use pond_core::ids::{JobId, NodeName};
use pond_core::model::{Command, Image, PortSpec, RunSpec};
use rustix::thread::UnshareFlags;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use support::{Pool, change, launch, root, script, until};
use tar::EntryType;

fn in_router(test: impl FnOnce() + Send) {
    if !root() {
        return;
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            #[expect(deprecated, reason = "unsound only with FILES, which is not among these flags")]
            rustix::thread::unshare(UnshareFlags::NEWNET).unwrap();
            std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A shell with what it needs, as an image.
fn shell() -> Layer {
    let listed = std::process::Command::new("ldd").arg("/bin/sh").output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let mut files: BTreeSet<&str> = text.split_whitespace().filter(|word| word.starts_with('/')).collect();
    files.insert("/bin/sh");
    files.iter().fold(Layer::new(), |layer, file| {
        let body = fs::read(file).unwrap();
        layer.entry(&Entry { path: file.as_bytes(), mode: 0o755, body: &body, ..Entry::default() })
    })
}

#[test]
fn a_task_runs_in_its_image() {
    in_router(|| {
        let mut pool = Pool::open("image");
        let etc = Layer::new()
            .folder("etc/", 0o755)
            .file("etc/passwd", "app:x:4242:4243::/home/app:/bin/sh\n")
            .entry(&Entry {
                path: b"work/",
                kind: EntryType::Directory,
                mode: 0o755,
                owner: (4242, 4243),
                ..Entry::default()
            })
            .file("work/inside", "of the image\n");
        let run = r#"{"Env":["COLOUR=green"],"WorkingDir":"/work","User":"app"}"#;
        let path =
            Built::new(&[(shell(), Form::Gzip), (etc, Form::Zstd)], run).layout(&pool.dir.join("layout"));
        let text = "read line < inside; echo $line $COLOUR $PWD $HOME\n\
                    test -O inside || test -O . && echo own; echo new > made && echo wrote\n\
                    test -e /usr/bin/env || echo nothing of the machine\n";
        let mut run = RunSpec::argv(&["/bin/sh", "-c", text]);
        run.image = Image::Layout(path);
        let (exit, output) = pool.run(launch(1, run));
        assert_eq!(exit, Exit::Code(0), "{output}");
        assert_eq!(output, "of the image green /work /home/app\nown\nwrote\nnothing of the machine\n");
    });
}

#[test]
fn an_image_of_many_layers_and_with_links_for_the_pools_own_folders_runs() {
    in_router(|| {
        let mut pool = Pool::open("layers");
        let links = Layer::new()
            .symlink("proc", "nowhere")
            .symlink("dev", "/etc")
            .symlink("run", "/var/run")
            .file("sys", "a file")
            .file("etc/mine", "stays");
        // More than a container tool makes, and than fit by their whole names into the options of one mount.
        let many =
            (0..126).map(|n| (Layer::new().file(&format!("layers/{n}"), &format!("{n}")), Form::Plain));
        let layers: Vec<_> = [(shell(), Form::Gzip), (links, Form::Plain)].into_iter().chain(many).collect();
        let path = Built::new(&layers, r#"{"Env":["A=b"]}"#).layout(&pool.dir.join("layout"));
        let text = "for n in 0 64 125; do read what < /layers/$n || echo -n $what,; done; read mine < /etc/mine || echo $mine\n\
                    test -e /proc/self/status && test -c /dev/null && test -d /sys/devices && test -d /run/pond && echo own\n";
        let mut run = RunSpec::argv(&["/bin/sh", "-c", text]);
        run.image = Image::Layout(path);
        let (exit, output) = pool.run(launch(1, run));
        assert_eq!((exit, output.as_str()), (Exit::Code(0), "0,64,125,stays\nown\n"));
        // They are brought to disk and marked beside the work.
        let layers = pool.state().join("images/layers");
        let synced = |layer: fs::DirEntry| layer.path().join("synced").exists();
        until("the layers are on disk", || {
            fs::read_dir(&layers).unwrap().all(|layer| synced(layer.unwrap()))
        });
    });
}

#[test]
fn an_image_that_cannot_be_had_is_the_jobs_fault() {
    in_router(|| {
        let mut pool = Pool::open("noimage");
        let mut run = RunSpec::argv(&["/bin/true"]);
        run.image = Image::Layout("/no/such/image".to_owned());
        let task = pool.start(launch(1, run));
        let (message, node_fault) = pool.expect("the failure", |report| match report {
            Report::StartFailed { task: of, message, node_fault, .. } if *of == task => {
                Some((message.clone(), *node_fault))
            }
            _ => None,
        });
        assert!(message.contains("no image at /no/such/image") && !node_fault, "{message}");
    });
}

fn rank(job: u64, rank: u32, text: &str) -> Launch {
    let mut launch = script(job, text);
    launch.allocation.task = JobId(job).gang(0).task(rank);
    launch.peers = vec![NodeName::from("here"); 2].into();
    launch
}

fn has_perl() -> bool {
    let there = Path::new("/usr/bin/perl").exists();
    if !there {
        eprintln!(
            "skipped: no perl, so nothing listens in these tasks and their networks stay untested here"
        );
    }
    there
}

const LISTEN: &str = "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 5, LocalPort => 7000, \
    LocalAddr => $ARGV[0]) or die; while ($c = $s->accept) { print $c \"rank $ENV{RANK}\\n\"; close $c }' ";

#[test]
fn ranks_of_a_gang_meet_by_name() {
    in_router(|| {
        if !has_perl() {
            return;
        }
        let mut pool = Pool::open("gang");
        let server = pool.start(rank(1, 0, &format!("{LISTEN} 0.0.0.0")));
        let ask = "exec perl -MIO::Socket::INET -e 'for (1..3000) { if ($c = IO::Socket::INET->new(PeerAddr => \
            $ENV{MASTER_ADDR}, PeerPort => 7000)) { print <$c>; exit } select undef, undef, undef, 0.01 } die'";
        let (exit, output) = pool.run(rank(1, 1, ask));
        assert_eq!((exit, output.as_str()), (Exit::Code(0), "rank 0\n"));
        pool.stop(server, 0);
        pool.exited(server);
    });
}

#[test]
fn a_port_is_forwarded_also_by_the_next_server() {
    in_router(|| {
        if !has_perl() {
            return;
        }
        let mut pool = Pool::open("ports");
        let ports = vec![PortSpec { container: 7000, host: 0 }];
        let task = pool.start(change(script(1, &format!("{LISTEN} 127.0.0.1")), |run| run.ports = ports));
        let find = |report: &Report| match report {
            Report::Started { task: of, ports, .. } if *of == task => Some(ports.clone()),
            _ => None,
        };
        let ports = pool.expect("the port", find);
        assert_eq!(ports.len(), 1);
        let ask = || {
            let mut text = String::new();
            let stream = TcpStream::connect(("127.0.0.1", ports[0].1));
            stream.is_ok_and(|mut stream| stream.read_to_string(&mut text).is_ok()) && text == "rank 0\n"
        };
        support::until("an answer by the forwarded port", ask);
        let mut pool = Pool::reopen(pool.abandon());
        pool.expect("the port again", find);
        support::until("an answer after the restart", ask);
        pool.stop(task, 0);
        assert_eq!(pool.exited(task), Exit::Signal(9));
        support::until("the end of the forward", || TcpStream::connect(("127.0.0.1", ports[0].1)).is_err());
    });
}

#[test]
fn commands_of_images_are_kept_apart_from_scripts() {
    in_router(|| {
        let mut pool = Pool::open("imagescript");
        let path = Built::new(&[(shell(), Form::Plain)], "{}").layout(&pool.dir.join("layout"));
        let mut run = RunSpec::argv(&[]);
        run.image = Image::Layout(path);
        run.command = Command::Script("echo script; exit 5".to_owned());
        let (exit, output) = pool.run(launch(1, run));
        assert_eq!((exit, output.as_str()), (Exit::Code(5), "script\n"));
    });
}
