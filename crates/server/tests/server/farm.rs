//! A substrate of files: each task is a file that says what it does, so tasks outlive the server like real ones.
//!
//! `sleep` runs until it is stopped; `exit N` ends at once with code N; `say TEXT` writes a line and ends;
//! `unstarted WHY` cannot be started here for now; `secret NAME` asks the resolver and ends with 0 when there is a value.

use pond_core::event::{Effect, Exit, Found, Launch, Report};
use pond_core::ids::{Generation, JobId, NodeName, TaskId};
use pond_core::model::{Command, Device, DeviceKind, NodeSpec, Resources, RunSpec, ShareMode};
use pond_core::units::{Bytes, MilliCpu, Timestamp};
use pond_server::{Access, ExecRequest, Resolver};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::Sender;
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Farm {
    dir: PathBuf,
    reports: Mutex<Sender<Report>>,
    /// A task's file and what is told of it change together: nobody hears of an end before the start.
    change: Mutex<()>,
    resolver: Resolver,
    pub copied_in: Mutex<Vec<u8>>,
    pub stopped: Mutex<Option<bool>>,
}

pub const NODE: &str = "farm<b>";

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

pub fn node() -> NodeSpec {
    NodeSpec {
        name: NodeName::from(NODE),
        capacity: Resources {
            cpu: MilliCpu(64_000),
            memory: Bytes(64_000_000_000),
            disk: Bytes(640_000_000_000),
        },
        devices: vec![Device {
            uuid: "GPU-1".to_owned(),
            kind: DeviceKind::Gpu,
            model: "NVIDIA H100 80GB HBM3".to_owned(),
            memory: Bytes(80_000_000_000),
            modes: vec![ShareMode::Exclusive],
            numa: None,
            files: Vec::new(),
            traits: pond_core::model::Traits::default(),
        }],
        labels: BTreeMap::new(),
    }
}

impl Farm {
    pub fn open(dir: &Path, reports: Sender<Report>, resolver: Resolver) -> Self {
        fs::create_dir_all(dir).unwrap();
        let farm = Self {
            dir: dir.to_owned(),
            reports: Mutex::new(reports),
            change: Mutex::default(),
            resolver,
            copied_in: Mutex::default(),
            stopped: Mutex::default(),
        };
        farm.tell(Report::NodeUp(node()));
        let tasks = farm.tasks().into_iter().map(|(task, generation, exit)| {
            let started = Timestamp(1);
            let found = match exit {
                Some(exit) => Found::Ended { started, ended: now(), exit },
                None => Found::Running { started },
            };
            (task, generation, found)
        });
        farm.tell(Report::Inventory { node: NodeName::from(NODE), tasks: tasks.collect() });
        farm
    }

    /// Says something as the node does.
    pub fn tell(&self, report: Report) {
        // The server may be gone already, as a machine's may.
        drop(self.reports.lock().unwrap().send(report));
    }

    /// A sign of life, as a node sends every second.
    pub fn live(&self) {
        self.tell(Report::Lease(NodeName::from(NODE)));
    }

    /// The machine is gone, until its next sign of life.
    pub fn lose(&self) {
        self.tell(Report::NodeLost(NodeName::from(NODE)));
    }

    fn path(&self, task: TaskId, generation: Generation) -> PathBuf {
        self.dir.join(format!("{task}@{}", generation.0))
    }

    /// Every task that was ever started and not purged, with how it ended.
    pub fn tasks(&self) -> Vec<(TaskId, Generation, Option<Exit>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some((task, generation)) = name.split_once('@') else { continue };
            let Ok(generation) = generation.parse() else { continue };
            let text = fs::read_to_string(self.dir.join(&name)).unwrap();
            let exit = text.strip_prefix("ended ").map(|code| match code.trim() {
                "killed" => Exit::Signal(9),
                code => Exit::Code(code.parse().unwrap()),
            });
            found.push((task.parse().unwrap(), Generation(generation), exit));
        }
        found.sort_unstable_by_key(|(task, generation, _)| (*task, *generation));
        found
    }

    fn start(&self, launch: &Launch) {
        let (task, generation) = (launch.allocation.task, launch.allocation.generation);
        let path = self.path(task, generation);
        let change = self.change.lock().unwrap();
        // Done twice is done once.
        let Ok(mut file) = OpenOptions::new().write(true).create_new(true).open(&path) else { return };
        if let Command::Argv(argv) = &launch.run.command
            && let [first, why @ ..] = argv.as_slice()
            && first == "unstarted"
        {
            file.write_all(b"ended killed").unwrap();
            let message = why.join(" ");
            return self.tell(Report::StartFailed { task, generation, message, node_fault: true });
        }
        file.write_all(b"running").unwrap();
        self.tell(Report::Started {
            task,
            generation,
            address: None,
            ports: vec![(80, 8080)],
            steps: Vec::new(),
        });
        drop(change);
        let argv = match &launch.run.command {
            Command::Argv(argv) => argv.clone(),
            Command::Script(script) => script.split_whitespace().map(str::to_owned).collect(),
        };
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        match argv.as_slice() {
            ["exit", code] => self.end(task, generation, Exit::Code(code.parse().unwrap())),
            ["say", words @ ..] => {
                self.log(task, &format!("{}\n", words.join(" ")));
                self.end(task, generation, Exit::Code(0));
            }
            ["secret", name] => {
                let code = i32::from((self.resolver)(name).is_none());
                self.end(task, generation, Exit::Code(code));
            }
            _ => {}
        }
    }

    /// Writes output of a task, as its node does.
    pub fn log(&self, task: TaskId, text: &str) {
        let path = self.dir.join(format!("{task}.log"));
        let mut data = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        data.write_all(text.as_bytes()).unwrap();
        let mut entry = now().0.to_be_bytes().to_vec();
        entry.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        entry.extend([1, 0, 0, 0]);
        let mut index = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join(format!("{task}.log.idx")))
            .unwrap();
        index.write_all(&entry).unwrap();
    }

    /// A task ends by itself.
    pub fn end(&self, task: TaskId, generation: Generation, exit: Exit) {
        let code = match exit {
            Exit::Code(code) => code.to_string(),
            _ => "killed".to_owned(),
        };
        let _change = self.change.lock().unwrap();
        fs::write(self.path(task, generation), format!("ended {code}")).unwrap();
        self.tell(Report::Exited { task, generation, exit });
    }

    /// Ends every task that runs.
    pub fn end_all(&self, exit: Exit) {
        for (task, generation, ended) in self.tasks() {
            if ended.is_none() {
                self.end(task, generation, exit);
            }
        }
    }

    fn purge(&self, job: JobId) {
        for (task, generation, _) in self.tasks() {
            if task.gang.job == job {
                fs::remove_file(self.path(task, generation)).unwrap();
            }
        }
    }

    fn runs(&self, task: TaskId) -> io::Result<()> {
        match self.tasks().iter().any(|(id, _, exit)| *id == task && exit.is_none()) {
            true => Ok(()),
            false => Err(io::Error::other("it does not run")),
        }
    }
}

impl Access for Farm {
    fn missing(&self, run: &RunSpec) -> Vec<String> {
        run.files.iter().filter(|file| !Path::new(file).exists()).cloned().collect()
    }

    fn apply(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Start(launch) => self.start(&launch),
                Effect::Stop { task, generation, .. } | Effect::Fence { task, generation, .. } => {
                    if self.path(task, generation).exists() {
                        self.end(task, generation, Exit::Signal(15));
                    }
                }
                Effect::Freeze { task, generation, frozen, .. } => {
                    self.tell(Report::Frozen { task, generation, frozen, refused: None });
                }
                Effect::Resize { task, generation, .. } => {
                    self.tell(Report::Resized { task, generation, refused: None });
                }
                Effect::Signal { .. } => {}
                Effect::Purge(job) => self.purge(job),
            }
        }
    }

    /// Speaks frames: repeats what it is told, ends with the number of arguments.
    fn exec(&self, task: TaskId, request: ExecRequest) -> io::Result<UnixStream> {
        self.runs(task)?;
        let (ours, theirs) = UnixStream::pair()?;
        std::thread::spawn(move || echo(ours, i32::try_from(request.argv.len()).unwrap()));
        Ok(theirs)
    }

    fn attach(&self, task: TaskId) -> io::Result<UnixStream> {
        self.exec(task, ExecRequest::default())
    }

    /// Connects to a peer that sends back what it got, once it got all of it.
    fn connect(&self, task: TaskId, port: u16) -> io::Result<TcpStream> {
        self.runs(task)?;
        if port == 1 {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nothing listens"));
        }
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let stream = TcpStream::connect(listener.local_addr()?)?;
        let (mut peer, _) = listener.accept()?;
        std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            peer.write_all(&all).unwrap();
        });
        Ok(stream)
    }

    fn copy_out(&self, task: TaskId, path: &str) -> io::Result<Box<dyn Read + Send>> {
        self.runs(task)?;
        match path {
            "/missing" => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
            "/shut" => Err(io::Error::new(io::ErrorKind::PermissionDenied, "not yours")),
            path => Ok(Box::new(io::Cursor::new(format!("tar of {path}").repeat(20_000)))),
        }
    }

    fn copy_in(
        &self,
        task: TaskId,
        path: &str,
        _onto: bool,
        mut tar: Box<dyn Read + Send>,
    ) -> io::Result<()> {
        if path == "/full" {
            return Err(io::Error::other("no space left"));
        }
        self.runs(task)?;
        let mut all = Vec::new();
        tar.read_to_end(&mut all)?;
        *self.copied_in.lock().unwrap() = all;
        Ok(())
    }

    fn log_files(&self, task: TaskId, _attempt: Option<u32>) -> io::Result<Vec<PathBuf>> {
        let path = self.dir.join(format!("{task}.log"));
        Ok(path.exists().then_some(path).into_iter().collect())
    }

    fn shutdown(&self, keep: bool) {
        *self.stopped.lock().unwrap() = Some(keep);
        if !keep {
            self.end_all(Exit::Signal(15));
        }
    }
}

fn echo(mut stream: UnixStream, code: i32) {
    use pond_core::frame::Frame;
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        while let Some(frame) = Frame::take(&mut buffer).unwrap() {
            match frame {
                Frame::Stdin(bytes) => stream.write_all(&Frame::Stdout(bytes).to_stream()).unwrap(),
                Frame::StdinEnd => {
                    stream.write_all(&Frame::Exit(code).to_stream()).unwrap();
                    return;
                }
                _ => {}
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(len) => buffer.extend_from_slice(&chunk[..len]),
        }
    }
}
