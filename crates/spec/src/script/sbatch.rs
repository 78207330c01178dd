//! Flags of Slurm's `sbatch`, read as it reads them, with one warning for each that cannot be honoured.

use super::Lookup;
use super::amounts::{bad, count, count_of, gpu, gpus_of_node, megabytes, minutes, nodes};
use super::flags::{Arg, Fate, find};
use super::words::Word;
use crate::error::{Fault, Place, SpecError, Warning};
use crate::jobfile::{After, AfterOn, JobFile, NotifyFile, RetryFile, RetryText};
use crate::limits;
use crate::read::short;
use crate::values::{
    ArrayText, Cores, DeviceText, Devices, DiskSize, MemorySize, MomentText, NodeCount, PriorityText,
    RecipientText, SignalText, Span, Text,
};
use pond_core::model::Moment;
use pond_core::units::{Bytes, MilliCpu, Millis};
use std::collections::BTreeMap;

/// A value and where its flag stands.
type Given = (String, Option<Place>);

/// All flags of a script and a command line; the last use of each counts.
#[derive(Default)]
pub(super) struct Request {
    given: BTreeMap<&'static str, Given>,
    warnings: Vec<Warning>,
}

impl Request {
    /// Takes the words of one line or command line.
    pub(super) fn add(&mut self, words: &[Word]) -> Result<(), SpecError> {
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            if matches!(word.text.as_str(), "hetjob" | "packjob") {
                let instead = "submit the parts as jobs of their own".to_owned();
                return Err(
                    word.error("", Fault::NotBuilt { what: "a heterogeneous job".to_owned(), instead })
                );
            }
            let (known, mut value) = find(word)?;
            if known.arg == Arg::Needed && value.is_none() {
                value = words.next().map(|next| next.text.clone());
                if value.is_none() {
                    let why = "needs a value".to_owned();
                    return Err(word.error(&format!("--{}", known.long), Fault::BadValue { why }));
                }
            }
            match known.fate {
                Fate::Silent => {}
                Fate::Warn(why) => self.warn(word.place, known.long, why),
                Fate::Read => {
                    self.given.insert(known.long, (value.unwrap_or_default(), word.place));
                }
            }
        }
        Ok(())
    }

    /// The command of `--wrap`.
    pub(super) fn wrapped(&self) -> Option<&str> {
        self.given.get("wrap").map(|(command, _)| command.as_str())
    }

    fn warn(&mut self, place: Option<Place>, flag: &str, why: &str) {
        let message = format!("`--{flag}` is not honoured: {why}");
        self.warnings.push(Warning { origin: String::new(), place, message });
    }

    /// Reads a value; its error carries the flag and its place.
    fn value<T>(
        &self,
        flag: &'static str,
        read: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, SpecError> {
        let Some((text, place)) = self.given.get(flag) else { return Ok(None) };
        let placed = |fault| SpecError { place: *place, ..SpecError::of(&format!("--{flag}"), fault) };
        read(text).map(Some).map_err(placed)
    }

    /// Lays everything read over a job, and hands out the warnings.
    pub(super) fn finish(
        &mut self,
        job: &mut JobFile,
        warnings: &mut Vec<Warning>,
        variable: Lookup<'_>,
    ) -> Result<(), SpecError> {
        self.shape(job)?;
        self.lifecycle(job)?;
        self.surroundings(job, variable)?;
        self.mail(job)?;
        warnings.append(&mut self.warnings);
        Ok(())
    }

    /// How many nodes, and what each of them has.
    fn shape(&mut self, job: &mut JobFile) -> Result<(), SpecError> {
        let count = |flag| self.value(flag, count);
        let (ntasks, per_node) = (count("ntasks")?, count("ntasks-per-node")?);
        let cpus = count("cpus-per-task")?.unwrap_or(1);
        let asked = self.value("nodes", nodes)?;
        let nodes = asked.unwrap_or_else(|| {
            let nodes = per_node.map_or(1, |per_node| ntasks.unwrap_or(1).div_ceil(per_node).max(1));
            NodeCount { min: nodes, max: nodes }
        });
        if nodes.max > limits::NODES {
            let (found, most) = (nodes.max.to_string(), limits::NODES.to_string());
            return Err(SpecError::of(
                "--ntasks",
                Fault::TooLarge { what: "the number of nodes", found, most },
            ));
        }
        let tasks = per_node.unwrap_or_else(|| ntasks.unwrap_or(nodes.min).div_ceil(nodes.min));
        let gpus = self.gpus(nodes.min, tasks)?;
        let gpu_count = gpus.as_ref().map_or(0, |gpus| u64::from(gpus.count));
        let cores = match self.value("cpus-per-gpu", count_of)? {
            Some(per_gpu) if gpu_count > 0 => u64::from(per_gpu) * gpu_count,
            _ => u64::from(cpus) * u64::from(tasks),
        };
        if asked.is_some() || nodes.max > 1 {
            job.nodes = Some(nodes);
        }
        let resources = job.resources.get_or_insert_default();
        if ["ntasks", "ntasks-per-node", "cpus-per-task", "cpus-per-gpu"]
            .iter()
            .any(|flag| self.given.contains_key(flag))
        {
            resources.cpu = Some(checked(
                "--cpus-per-task",
                cores,
                limits::CPU_MILLI / 1000,
                "the number of cores",
                |cores| {
                    let cores = MilliCpu(cores * 1000);
                    Cores { min: cores, max: cores }
                },
            )?);
        }
        resources.gpu = gpus.map(Devices::Short);
        for (name, flag) in [
            ("SLURM_GPUS", "gpus"),
            ("SLURM_GPUS_PER_NODE", "gpus-per-node"),
            ("SLURM_GPUS_PER_TASK", "gpus-per-task"),
        ] {
            self.export(job, name, self.given.get(flag).map(|(text, _)| text.clone()));
        }
        self.memory(job, cores, gpu_count)?;
        for (name, value) in
            [("SLURM_NTASKS", ntasks), ("SLURM_NPROCS", ntasks), ("SLURM_NTASKS_PER_NODE", per_node)]
        {
            self.export(job, name, value.map(|value| value.to_string()));
        }
        let cpus = self.given.contains_key("cpus-per-task").then(|| cpus.to_string());
        self.export(job, "SLURM_CPUS_PER_TASK", cpus);
        if nodes.max > 1 {
            let message = "the script runs on every node, not on the first only; `srun` starts this node's part of a step";
            let place = self.given.get("nodes").and_then(|(_, place)| *place);
            self.warnings.push(Warning { origin: String::new(), place, message: message.to_owned() });
        }
        Ok(())
    }

    fn export(&self, job: &mut JobFile, name: &str, value: Option<String>) {
        if let Some(value) = value {
            job.env.insert(name.to_owned(), Text(value));
        }
    }

    /// GPUs of each node.
    fn gpus(&mut self, nodes: u32, tasks: u32) -> Result<Option<DeviceText>, SpecError> {
        let mut found = None;
        if let Some(text) = self.given.get("gres").cloned() {
            found = self.gres(&text)?;
        }
        let per_node = self.value("gpus-per-node", gpus_of_node)?;
        let per_task = self.value("gpus-per-task", gpu)?;
        let in_all = self.value("gpus", gpu)?;
        let scaled = |text: DeviceText, count: Option<u32>, flag| match count {
            Some(count) if count <= limits::DEVICES => Ok(DeviceText { count, ..text }),
            _ => {
                let (found, most) = (text.to_string(), format!("{} on a node", limits::DEVICES));
                Err(SpecError::of(flag, Fault::TooLarge { what: "the number of GPUs", found, most }))
            }
        };
        if let Some(text) = in_all {
            let count = text.count.div_ceil(nodes);
            found = Some(scaled(text, Some(count), "--gpus")?);
        }
        if let Some(text) = per_task {
            let count = text.count.checked_mul(tasks);
            found = Some(scaled(text, count, "--gpus-per-task")?);
        }
        Ok(per_node.or(found).filter(|gpus| gpus.count > 0))
    }

    fn gres(&mut self, (text, place): &Given) -> Result<Option<DeviceText>, SpecError> {
        let mut found = None;
        for part in text.split(',') {
            let (kind, rest) = part.split_once(':').unwrap_or((part, "1"));
            match kind {
                "gpu" => {
                    let placed = |fault| SpecError { place: *place, ..SpecError::of("--gres", fault) };
                    found = Some(gpus_of_node(rest).map_err(placed)?);
                }
                "none" => {}
                other => {
                    let why = format!("`{}` is not a device the pool counts", short(other));
                    self.warn(*place, "gres", &why);
                }
            }
        }
        Ok(found)
    }

    fn memory(&mut self, job: &mut JobFile, cores: u64, gpus: u64) -> Result<(), SpecError> {
        let per_node = self.value("mem", megabytes)?;
        let per_cpu = self.value("mem-per-cpu", megabytes)?.map(|size| size.saturating_mul(cores.max(1)));
        let per_gpu = self.value("mem-per-gpu", megabytes)?.map(|size| size.saturating_mul(gpus.max(1)));
        if let Some(size) = per_node.or(per_cpu).or(per_gpu) {
            if size == 0 {
                let place = self.given.get("mem").and_then(|(_, place)| *place);
                self.warn(place, "mem=0", "all memory of a node is not a request here; the default holds");
            } else {
                let resources = job.resources.get_or_insert_default();
                resources.memory = Some(checked("--mem", size, limits::MEMORY, "memory in bytes", |size| {
                    MemorySize { min: Bytes(size), max: Bytes(size) }
                })?);
                self.export(job, "SLURM_MEM_PER_NODE", Some((size >> 20).to_string()));
            }
        }
        let per_cpu = self.value("mem-per-cpu", megabytes)?.map(|size| (size >> 20).to_string());
        self.export(job, "SLURM_MEM_PER_CPU", per_cpu);
        if let Some(size) = self.value("tmp", megabytes)?.filter(|size| *size > 0) {
            let resources = job.resources.get_or_insert_default();
            resources.disk =
                Some(checked("--tmp", size, limits::DISK, "disk in bytes", |size| DiskSize(Bytes(size)))?);
        }
        Ok(())
    }

    /// When it runs, how long, how often.
    fn lifecycle(&mut self, job: &mut JobFile) -> Result<(), SpecError> {
        if let Some(limit) = self.value("time", minutes)? {
            job.time_limit = limit.map(Span);
        }
        if let Some(array) =
            self.value("array", |text| text.parse().map_err(|why: crate::values::ValueError| bad(&why)))?
        {
            job.array = Some(ArrayText::One(array));
        }
        if let Some((text, place)) = self.given.get("dependency").cloned() {
            self.dependency(job, &text, place)?;
        }
        if self.given.contains_key("hold") {
            job.hold = Some(true);
        }
        let requeue = self.given.get("requeue").map(|(_, place)| *place);
        let no_requeue = self.given.get("no-requeue").map(|(_, place)| *place);
        if no_requeue > requeue || (no_requeue.is_some() && requeue.is_none()) {
            job.retry =
                Some(RetryText::Full(RetryFile { on: Some(Vec::new()), max: Some(0), backoff: None }));
        }
        if let Some((text, place)) = self.given.get("signal").cloned() {
            let (signal, before) = text.split_once('@').unwrap_or((&text, "60"));
            let (whom, signal) = signal.rsplit_once(':').unwrap_or(("", signal));
            let placed = |fault| SpecError { place, ..SpecError::of("--signal", fault) };
            let checkpoint = job.checkpoint.get_or_insert_default();
            let signal = signal.parse::<SignalText>().map_err(|why| placed(bad(&why)))?;
            checkpoint.signal = Some(signal);
            let seconds = count_of(before).map_err(placed)?;
            checkpoint.grace = Some(Span(Millis::from_secs(seconds.into())));
            // The node sends it before the time limit.
            let colon = if whom.is_empty() { "" } else { ":" };
            let whom = whom.to_ascii_uppercase();
            self.export(job, "SBATCH_SIGNAL", Some(format!("{whom}{colon}{signal}@{seconds}")));
        }
        if let Some((text, place)) = self.given.get("nice").cloned() {
            match text.parse::<i64>() {
                _ if text.is_empty() => job.priority = Some(PriorityText(250)),
                Ok(0) => {}
                Ok(nice) if nice > 0 => job.priority = Some(PriorityText(250)),
                _ => self.warn(
                    place,
                    "nice",
                    "it must be a positive number; use `#POND --priority` to go first",
                ),
            }
        }
        if let Some((_, place)) = self.given.get("priority").cloned() {
            self.warn(
                place,
                "priority",
                "priorities of the two systems cannot be compared; use `#POND --priority`",
            );
        }
        Ok(())
    }

    fn dependency(&mut self, job: &mut JobFile, text: &str, place: Option<Place>) -> Result<(), SpecError> {
        let placed =
            |why: String| SpecError { place, ..SpecError::of("--dependency", Fault::BadValue { why }) };
        if text.contains('?') {
            return Err(placed(
                "`?` (any of several) cannot be expressed; name the jobs that must all end".to_owned(),
            ));
        }
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let mut ids = part.split(':');
            let on = match ids.next() {
                Some("afterok") => AfterOn::Success,
                Some("afterany") => AfterOn::End,
                Some("after") => {
                    self.warn(
                        place,
                        "dependency=after",
                        "the job waits for the end of the others, not for their start",
                    );
                    AfterOn::End
                }
                Some(kind @ ("singleton" | "afternotok" | "aftercorr" | "afterburstbuffer")) => {
                    let why = format!("`{kind}` cannot be expressed; use afterok or afterany with job ids");
                    return Err(placed(why));
                }
                _ => {
                    return Err(placed(format!(
                        "`{}` is not a dependency; write afterok:12:13",
                        short(part)
                    )));
                }
            };
            let mut named = false;
            for id in ids {
                named = true;
                let digits = id.split('+').next().unwrap_or_default();
                if digits.parse::<u64>().is_err() {
                    return Err(placed(format!("`{}` is not a job id", short(id))));
                }
                match job.after.iter_mut().find_map(|after| match after {
                    After::On { job, on } if job.0 == digits => Some(on),
                    _ => None,
                }) {
                    Some(known) if on == AfterOn::Success => *known = on,
                    Some(_) => {}
                    None => job.after.push(After::On { job: Text(digits.to_owned()), on }),
                }
            }
            if !named {
                return Err(placed(format!("`{}` names no job; write afterok:12:13", short(part))));
            }
        }
        Ok(())
    }

    /// Whom to mail, and when. As with Slurm, nothing is mailed unless it is said at which moments.
    fn mail(&mut self, job: &mut JobFile) -> Result<(), SpecError> {
        let user = self.given.get("mail-user").cloned();
        let Some((types, place)) = self.given.get("mail-type").cloned() else {
            if let Some((_, place)) = user {
                self.warn(place, "mail-user", "`--mail-type` says at which moments, and is missing");
            }
            return Ok(());
        };
        let mut on = Vec::new();
        for word in types.split(',').filter(|word| !word.is_empty()) {
            on.extend(match &*word.to_ascii_uppercase() {
                "NONE" => Vec::new(),
                "BEGIN" => vec![Moment::Started],
                "END" => vec![Moment::Succeeded, Moment::Failed, Moment::Stopped],
                "FAIL" => vec![Moment::Failed],
                "REQUEUE" => vec![Moment::Preempted],
                "ALL" => {
                    use Moment::{Failed, Preempted, Started, Stopped, Succeeded};
                    vec![Started, Succeeded, Failed, Stopped, Preempted]
                }
                _ => {
                    let flag = format!("mail-type={}", short(word));
                    self.warn(place, &flag, "of these moments no mail is sent");
                    Vec::new()
                }
            });
        }
        on.sort_unstable();
        on.dedup();
        if on.is_empty() {
            return Ok(());
        }
        let Some((address, place)) = user else {
            self.warn(place, "mail-type", "`--mail-user` says to which address, and is missing");
            return Ok(());
        };
        // Sites that mail to the names of users have scripts with them.
        let Ok(to) = format!("email:{address}").parse::<RecipientText>() else {
            let flag = format!("mail-user={}", short(&address));
            self.warn(place, &flag, "it is not an address of mail, so none is sent");
            return Ok(());
        };
        job.notify = Some(NotifyFile { on: Some(on.into_iter().map(MomentText).collect()), to: vec![to] });
        Ok(())
    }

    /// Its name, queue, folder and environment.
    fn surroundings(&mut self, job: &mut JobFile, variable: Lookup<'_>) -> Result<(), SpecError> {
        if let Some((name, place)) = self.given.get("job-name").cloned() {
            let clean: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
                .collect();
            let clean: String =
                clean.trim_start_matches(['-', '_', '.']).chars().take(limits::NAME).collect();
            if clean != name {
                let message = format!("the job is named `{clean}`: names have letters, digits and - _ .");
                self.warnings.push(Warning { origin: String::new(), place, message });
            }
            job.env.insert("SLURM_JOB_NAME".to_owned(), Text(name));
            job.name = (!clean.is_empty()).then_some(clean);
        }
        if let Some((queue, _)) = self.given.get("partition") {
            // The first of several; the planner has no choice of queues.
            let queue = queue.split(',').next().unwrap_or_default();
            job.project = Some(queue.to_owned());
            job.env.insert("SLURM_JOB_PARTITION".to_owned(), Text(queue.to_owned()));
        }
        if let Some((folder, _)) = self.given.get("chdir").cloned() {
            if folder.starts_with('/') {
                job.workdir = Some(folder);
            } else {
                // In the working folder, wherever that is.
                self.export(job, "SBATCH_CHDIR", Some(folder));
            }
        }
        for (name, flag) in [
            ("SBATCH_INPUT", "input"),
            ("SBATCH_OUTPUT", "output"),
            ("SBATCH_ERROR", "error"),
            ("SBATCH_OPEN_MODE", "open-mode"),
        ] {
            self.export(job, name, self.given.get(flag).map(|(text, _)| text.clone()));
        }
        if let Some((text, place)) = self.given.get("export").cloned() {
            for part in text.split(',').filter(|part| !part.is_empty()) {
                match part.split_once('=') {
                    Some((name, value)) => {
                        job.env.insert(name.to_owned(), Text(value.to_owned()));
                    }
                    None if matches!(part, "NONE" | "NIL") => {
                        job.env.insert("SBATCH_EXPORT".to_owned(), Text(part.to_owned()));
                    }
                    None if part == "ALL" => {
                        let why =
                            "variables can hold secrets; name those that the job needs: `--export=NAME`";
                        self.warn(place, "export=ALL", why);
                    }
                    None => match variable(part) {
                        Some(value) => {
                            job.env.insert(part.to_owned(), Text(value));
                        }
                        None => {
                            let why = "there is no such variable at submission; write NAME=VALUE";
                            self.warn(place, &format!("export={}", short(part)), why);
                        }
                    },
                }
            }
        }
        Ok(())
    }
}

fn checked<T>(
    flag: &str,
    amount: u64,
    most: u64,
    what: &'static str,
    make: impl FnOnce(u64) -> T,
) -> Result<T, SpecError> {
    if amount > most {
        let (found, most) = (amount.to_string(), most.to_string());
        return Err(SpecError::of(flag, Fault::TooLarge { what, found, most }));
    }
    Ok(make(amount))
}
