//! From files and flags to a workload and machines.

use super::settings::factor_milli;
use crate::args::{MOST_MACHINES, PredictBy, TraceArgs};
use crate::error::CliError;
use crate::out::{Out, clean};
use pond_core::engine::{MAX_BYTES, MAX_CPU};
use pond_core::ids::NodeName;
use pond_core::model::{NodeSpec, QueueSpec, Shape};
use pond_core::units::{Bytes, MilliCpu, Millis, Timestamp};
use pond_sim::experiment::{Foresight, foresee, hasten};
use pond_sim::report::grouped;
use pond_sim::trace::profiles::Assign;
use pond_sim::trace::swf::Layout;
use pond_sim::trace::{Content, Format, Jobs, Loaded, Machine, Note, Options, TraceError, open_with, time};
use pond_sim::workload::Cluster;
use std::path::Path;

/// Memory that is "never short": more than any machine has, and little enough that sums of it fit. In bytes.
const PLENTY: u64 = 1 << 44;

/// What is to be simulated.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Jobs and machines.
    pub jobs: Jobs,
    /// Name of the workload, for headings.
    pub title: String,
    /// Machines, window and knowledge in words.
    pub about: String,
    /// Whether predictions are learned from what ends in the simulation.
    pub learns: bool,
}

/// Reads the trace, cuts the window, and puts the machines and the predictions in place. Tells on standard error what
/// was left out and what was assumed.
///
/// # Errors
/// A file that is not there or holds no job; a window or a cluster that makes no sense.
pub fn scene(out: &Out, args: &TraceArgs, seed: u64) -> Result<Scene, CliError> {
    // What is wrong with the command line is said before a long trace is read.
    let load = args.load.as_deref().map(load).transpose()?;
    let given = given(args)?;
    let mut jobs = read(out, args)?;
    if args.from.is_some() || args.to.is_some() {
        let part = window(&jobs, args.from.as_deref(), args.to.as_deref())?;
        if part.workload.jobs.is_empty() {
            return Err(nothing_between(args, &jobs));
        }
        jobs = part;
    }
    for (note, count) in &jobs.notes {
        if given.is_none() || *note != Note::MadeUpMachines {
            out.note(&format!("{count} × {note}"));
        }
    }
    if let Some(factor) = load {
        hasten(&mut jobs.workload, factor);
        // The real starts are no longer those of this workload.
        jobs.starts.clear();
    }
    foresee(&mut jobs.workload, foresight(args.predict));
    give_speeds(out, args, seed, &mut jobs)?;
    if args.nodes.is_some() {
        any_model(out, &mut jobs);
    }
    if let Some(given) = given {
        jobs.cluster = given;
    }
    let machines = in_words(&jobs.cluster);
    let about = about(args, &jobs, &machines);
    Ok(Scene { title: jobs.workload.name.clone(), about, learns: args.predict == PredictBy::UserMean, jobs })
}

fn load(text: &str) -> Result<u64, CliError> {
    match factor_milli("--load", text)? {
        0 => Err(CliError::Usage {
            what: "--load: less than a thousandth is no load".to_owned(),
            next: Some("write 0.001 or more; 1 leaves arrivals as they are".to_owned()),
        }),
        factor => Ok(factor),
    }
}

fn nothing_between(args: &TraceArgs, all: &Jobs) -> CliError {
    let shown = clean(&args.trace.display().to_string()).into_owned();
    let span = submitted(all).unwrap_or_else(|| {
        let last = all.workload.jobs.iter().map(|job| job.submit.0).max().unwrap_or(0);
        format!("the last {} after the trace's start", Millis(last))
    });
    CliError::BadFile {
        messages: format!(
            "error: {shown}: none of its {} jobs is in the window: {span}\nnext: widen --from and --to",
            grouped(all.workload.jobs.len() as u64)
        ),
    }
}

/// When the first and the last job came, where the trace has a calendar.
fn submitted(jobs: &Jobs) -> Option<String> {
    let zero = jobs.zero_ms?;
    let moment = |at: Timestamp| {
        let at = time::show(zero.saturating_add(i64::try_from(at.0).unwrap_or(i64::MAX)));
        at.chars().take(16).collect::<String>()
    };
    let submits = || jobs.workload.jobs.iter().map(|job| job.submit);
    Some(format!("submitted {} to {}", moment(submits().min()?), moment(submits().max()?)))
}

/// What is written into the workload; a user's mean is learned on the way, and stands on the limit.
const fn foresight(by: PredictBy) -> Foresight {
    match by {
        PredictBy::True => Foresight::Oracle,
        PredictBy::Estimate | PredictBy::UserMean => Foresight::Limit,
        PredictBy::Constant => Foresight::Constant(Millis(3_600_000)),
        PredictBy::Inverted => Foresight::Inverted,
    }
}

/// On machines that are all alike a job takes the devices that are there: a model that it names would be nowhere.
fn any_model(out: &Out, jobs: &mut Jobs) {
    let named = |shape: &Shape| shape.devices.iter().any(|asked| asked.model.is_some());
    let which: Vec<bool> = jobs.workload.shapes.iter().map(|shapes| shapes.iter().any(named)).collect();
    let count = jobs.workload.jobs.iter().filter(|job| which.get(job.shape as usize) == Some(&true)).count();
    if count > 0 {
        out.note(&format!(
            "{count} × jobs ask for a model of device, and --nodes has none: they take any (--cluster names models)"
        ));
    }
    for shapes in &mut jobs.workload.shapes {
        shapes.iter_mut().flat_map(|shape| &mut shape.devices).for_each(|asked| asked.model = None);
        shapes.dedup();
    }
}

/// Gives jobs the speeds of the files with them.
fn give_speeds(out: &Out, args: &TraceArgs, seed: u64, jobs: &mut Jobs) -> Result<(), CliError> {
    let (mut profiles, mut pairs) = (Vec::new(), Vec::new());
    for path in &args.speeds {
        let loaded = open_with(path, None, &Options::default()).map_err(|why| unreadable(&why))?;
        left_out(out, &loaded);
        let format = loaded.format;
        let Content::Speeds { profiles: found, pairs: more } = loaded.content else {
            let shown = clean(&path.display().to_string()).into_owned();
            return Err(CliError::BadFile {
                messages: format!(
                    "error: {shown}: a trace of {format} has no speeds; docs/traces.md says which have"
                ),
            });
        };
        profiles.extend(found);
        pairs.extend(more);
    }
    Assign { seed, grow: args.grow, share: args.share }.to(&mut jobs.workload, &profiles, &pairs);
    Ok(())
}

fn about(args: &TraceArgs, jobs: &Jobs, machines: &str) -> String {
    let mut parts = vec![machines.to_owned()];
    parts.extend(submitted(jobs));
    if let Some(load) = &args.load {
        parts.push(format!("load × {load}"));
    }
    if !args.speeds.is_empty() {
        parts.push(format!("speeds drawn, growth × {}, {} on a device", args.grow, args.share));
    }
    parts.push(
        match args.predict {
            PredictBy::True => "run times known to policies that ask for them",
            PredictBy::Estimate => "run times as users estimated them",
            PredictBy::UserMean => "run times predicted by each user's last two jobs",
            PredictBy::Constant => "run times not known",
            PredictBy::Inverted => "run times predicted upside down",
        }
        .to_owned(),
    );
    parts.join(" · ")
}

fn read(out: &Out, args: &TraceArgs) -> Result<Jobs, CliError> {
    let options = Options {
        machines: args.machines.clone(),
        nodes: args.nodes.unwrap_or(0),
        layout: if args.flat { Layout::Flat } else { Layout::Nodes },
        ..Options::default()
    };
    read_trace(out, &args.trace, args.format, &options)
}

/// Reads the jobs of a trace. Tells on standard error what was left out.
///
/// # Errors
/// A file that is not there, is no trace, or holds no job.
pub fn read_trace(
    out: &Out,
    path: &Path,
    format: Option<Format>,
    options: &Options,
) -> Result<Jobs, CliError> {
    let loaded = match open_with(path, format, options) {
        // What was read up to there is whole.
        Err(TraceError::Broken { broken, loaded }) => {
            out.warn(&clean(&format!("{}: {broken}", path.display())));
            *loaded
        }
        other => other.map_err(|why| unreadable(&why))?,
    };
    if options.layout == Layout::Flat && loaded.format != Format::Swf {
        return Err(CliError::Usage {
            what: format!("--flat is for logs of swf; this is a trace of {}", loaded.format),
            next: Some("leave --flat out".to_owned()),
        });
    }
    left_out(out, &loaded);
    let (format, rows) = (loaded.format, loaded.rows);
    let shown = clean(&path.display().to_string()).into_owned();
    let bad = |messages: String| CliError::BadFile { messages };
    let jobs = loaded.into_jobs().ok_or_else(|| {
        bad(format!(
            "error: {shown}: a trace of {format} has no jobs to simulate\nnext: docs/traces.md says what each format gives"
        ))
    })?;
    match (jobs.workload.jobs.is_empty(), rows) {
        (false, _) => Ok(jobs),
        (true, 0) => Err(bad(format!(
            "error: {shown}: there is no job in this trace of {format}\nnext: name one that has rows below its header"
        ))),
        (true, _) => Err(bad(format!(
            "error: {shown}: no job of this trace of {format} can be simulated\nnext: the warning above says why each was left out; docs/traces.md, what a job needs"
        ))),
    }
}

fn unreadable(why: &TraceError) -> CliError {
    match why {
        TraceError::Read { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            CliError::Usage {
                what: format!("there is no file `{}`", path.display()),
                next: Some("name a trace that is here; examples/traces has small ones".to_owned()),
            }
        }
        TraceError::Read { path, source } => CliError::io(
            format!("reading {}", path.display()),
            std::io::Error::new(source.kind(), source.to_string()),
        ),
        _ => {
            let next = next_step(why).map_or_else(String::new, |next| format!("\nnext: {next}"));
            CliError::BadFile { messages: format!("error: {}{next}", clean(&why.to_string())) }
        }
    }
}

/// What to do about it, where its message does not say that.
const fn next_step(why: &TraceError) -> Option<&'static str> {
    match why {
        TraceError::Empty { .. } => Some("export it once more, or name another file"),
        TraceError::NotThis { .. } => Some("leave --format out, or name the format that it has"),
        TraceError::Nothing { .. } => Some("docs/traces.md says what a row of each format needs"),
        TraceError::NoMachines { .. } => {
            Some("name a file with machines, or leave it out to have them made up")
        }
        TraceError::Unknown { .. } => Some("give it with --format; docs/traces.md says what each looks like"),
        _ => None,
    }
}

fn left_out(out: &Out, loaded: &Loaded) {
    for (file, kinds) in loaded.by_file() {
        let count: u64 = kinds.iter().map(|tally| tally.count).sum();
        let words: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        let rows = if count == 1 { "row" } else { "rows" };
        out.warn(&clean(&format!("{}: {count} {rows} left out: {}", file.display(), words.join("; "))));
    }
    match loaded.passed_over.as_slice() {
        [] => {}
        [one] => out.warn(&clean(&format!("1 file passed over: {one}"))),
        several => {
            let words: Vec<String> = several.iter().map(ToString::to_string).collect();
            out.warn(&clean(&format!("{} files passed over: {}", several.len(), words.join("; "))));
        }
    }
}
/// The jobs submitted in a window. A moment is of the trace's calendar, or a span since its start.
///
/// # Errors
/// A moment that is none, or a window that is empty.
pub fn window(jobs: &Jobs, from: Option<&str>, to: Option<&str>) -> Result<Jobs, CliError> {
    // Without a calendar the trace's start stands for 1970, and only spans make sense.
    let zero = jobs.zero_ms.unwrap_or(0);
    let moment = |flag: &str, text: &str| -> Result<i64, CliError> {
        if let Ok(span) = text.parse::<Millis>()
            && !text.contains('-')
        {
            return Ok(zero.saturating_add(i64::try_from(span.0).unwrap_or(i64::MAX)));
        }
        let dated = time::read_moment(text).filter(|_| jobs.zero_ms.is_some());
        dated.ok_or_else(|| CliError::Usage {
            what: match jobs.zero_ms {
                Some(_) => format!("{flag}: `{text}` is neither a moment nor a span"),
                None => format!("{flag}: `{text}` is not a span, and this trace has no calendar"),
            },
            next: Some(
                "write 2020-08-01, 2020-08-01T12:00:00, or a span since the trace's start such as 30d"
                    .to_owned(),
            ),
        })
    };
    let from = from.map_or(Ok(zero), |text| moment("--from", text))?;
    let to = to.map_or(Ok(i64::MAX), |text| moment("--to", text))?;
    if from >= to {
        return Err(CliError::Usage {
            what: "--from is not before --to".to_owned(),
            next: Some("jobs from --from on are taken, and none from --to on".to_owned()),
        });
    }
    let dated = Jobs { zero_ms: Some(zero), ..jobs.clone() };
    let mut part = dated.between(from, to).unwrap_or_default();
    if jobs.zero_ms.is_none() {
        part.zero_ms = None;
    }
    Ok(part)
}

/// The machines that the command line gives instead of the trace's own; guarantees were cut to those, and go with them.
fn given(args: &TraceArgs) -> Result<Option<Cluster>, CliError> {
    let Some(count) = args.nodes else { return args.cluster.as_deref().map(read_cluster).transpose() };
    let machine = Machine {
        name: "n".to_owned(),
        cpu_milli: args.cpus_per_node.map_or(MAX_CPU, |cpus| cpus.0),
        memory: args.memory_per_node.map_or(PLENTY, |memory| memory.0),
        gpus: args.gpus_per_node,
        gpu: (String::new(), PLENTY),
        partition: String::new(),
    };
    few(&[(count, args.gpus_per_node)])
        .map_err(|what| CliError::Usage { what, next: Some("take fewer of either".to_owned()) })?;
    for (flag, is, most) in [
        ("--cpus-per-node", machine.cpu_milli > MAX_CPU, MilliCpu(MAX_CPU).to_string()),
        ("--memory-per-node", machine.memory > MAX_BYTES, Bytes(MAX_BYTES).to_string()),
    ] {
        if is {
            return Err(CliError::Usage {
                what: format!("{flag}: no machine has so much"),
                next: Some(format!("{most} is the most; left out, it is never short")),
            });
        }
    }
    let nodes = (0..count as usize).map(|number| named(&machine, number, count)).collect();
    Ok(Some(Cluster { nodes, queues: Vec::new() }))
}

/// The most devices of a pool: with more of them it is memory that gives out.
const MOST_DEVICES: u64 = 10_000_000;

/// Whether there are no more machines, and devices on each, than a pool can have.
fn few(kinds: &[(u32, u32)]) -> Result<(), String> {
    let nodes: u64 = kinds.iter().map(|(count, _)| u64::from(*count)).sum();
    let devices: u64 = kinds.iter().map(|(count, each)| u64::from(*count) * u64::from(*each)).sum();
    if nodes <= u64::from(MOST_MACHINES) && devices <= MOST_DEVICES {
        return Ok(());
    }
    Err(format!(
        "{} machines with {} devices are too many: a pool has at most {} and {}",
        grouped(nodes),
        grouped(devices),
        grouped(MOST_MACHINES.into()),
        grouped(MOST_DEVICES)
    ))
}

fn in_words(cluster: &Cluster) -> String {
    let devices: usize = cluster.nodes.iter().map(|node| node.devices.len()).sum();
    let nodes = nodes_in_words(cluster);
    let cores: u64 = cluster.nodes.iter().map(|node| node.capacity.cpu.0 / 1000).sum();
    match devices {
        0 => format!("{nodes}, {cores} cores"),
        1 => format!("{nodes}, 1 device"),
        _ => format!("{nodes}, {devices} devices"),
    }
}

/// How many machines, with the word.
pub fn nodes_in_words(cluster: &Cluster) -> String {
    match cluster.nodes.len() {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    }
}

/// A machine whose number has as many digits as the largest, so that names sort as numbers do.
fn named(machine: &Machine, number: usize, count: u32) -> NodeSpec {
    let digits = count.saturating_sub(1).to_string().len();
    let mut node = machine.node(number);
    node.name = NodeName::from(format!("{}{number:0digits$}", machine.name));
    node
}

/// Machines in a file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFile {
    nodes: Vec<NodesOfAKind>,
    #[serde(default)]
    queues: Vec<QueueSpec>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NodesOfAKind {
    name: String,
    #[serde(default = "one")]
    count: u32,
    cpu: Option<String>,
    memory: Option<String>,
    #[serde(default)]
    gpus: u32,
    #[serde(default)]
    model: String,
    device_memory: Option<String>,
}

const fn one() -> u32 {
    1
}

fn read_cluster(path: &Path) -> Result<Cluster, CliError> {
    let shown = path.display().to_string();
    let bad = |why: String| {
        // Behind the first line stands the place in the file, as a picture.
        let why = why.lines().next().unwrap_or_default().trim_start_matches("error: ");
        CliError::BadFile {
            messages: format!(
                "error: {}: {}\nnext: docs/simulate.md shows a file of machines",
                clean(&shown),
                clean(why)
            ),
        }
    };
    let text = std::fs::read_to_string(path).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound => CliError::Usage {
            what: format!("there is no file `{shown}`"),
            next: Some("name a file with machines; docs/simulate.md shows one".to_owned()),
        },
        _ => CliError::io(format!("reading {shown}"), why),
    })?;
    let file: ClusterFile =
        serde_saphyr::from_str(&text).map_err(|why| bad(why.without_snippet().to_string()))?;
    let bytes = |text: &Option<String>| -> Result<u64, CliError> {
        let read =
            |text: &String| text.parse::<Bytes>().map(|bytes| bytes.0).map_err(|why| bad(why.to_string()));
        text.as_ref().map_or(Ok(PLENTY), read)
    };
    let counts: Vec<(u32, u32)> = file.nodes.iter().map(|kind| (kind.count, kind.gpus)).collect();
    few(&counts).map_err(bad)?;
    let mut cluster = Cluster { nodes: Vec::new(), queues: file.queues };
    for kind in &file.nodes {
        let cpu =
            |text: &String| text.parse::<MilliCpu>().map(|cpu| cpu.0).map_err(|why| bad(why.to_string()));
        let machine = Machine {
            name: kind.name.clone(),
            cpu_milli: kind.cpu.as_ref().map_or(Ok(MAX_CPU), cpu)?,
            memory: bytes(&kind.memory)?,
            gpus: kind.gpus,
            gpu: (kind.model.clone(), bytes(&kind.device_memory)?),
            partition: String::new(),
        };
        cluster.nodes.extend((0..kind.count as usize).map(|number| named(&machine, number, kind.count)));
    }
    if cluster.nodes.is_empty() { Err(bad("it has no nodes".to_owned())) } else { Ok(cluster) }
}
