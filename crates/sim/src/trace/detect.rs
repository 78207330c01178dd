//! What a file is, by its first bytes.

use super::lines::Fields;
use super::table::{Header, Style};
use super::{helios, openb, pai, slurm};

/// A format, under the name that a user gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Our own JSON lines.
    Millpond,
    /// Standard Workload Format.
    Swf,
    /// Slurm's accounting.
    Sacct,
    /// Helios, in three shapes.
    Helios,
    /// Alibaba v2023, nodes and pods.
    Openb,
    /// Microsoft's Philly.
    Philly,
    /// Alibaba v2020.
    Pai,
    /// Alibaba v2025, instances of services.
    Dlrm,
    /// Alibaba v2026, series of a service.
    Genai,
    /// Azure's requests to language models.
    Azure,
    /// Mooncake's requests to language models.
    Mooncake,
    /// Pairs of jobs on one device.
    Interference,
    /// Gavel's throughputs.
    Gavel,
    /// Profiles of Pollux and Sia.
    Pollux,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Millpond,
        Self::Swf,
        Self::Sacct,
        Self::Helios,
        Self::Openb,
        Self::Philly,
        Self::Pai,
        Self::Dlrm,
        Self::Genai,
        Self::Azure,
        Self::Mooncake,
        Self::Interference,
        Self::Gavel,
        Self::Pollux,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Millpond => "millpond",
            Self::Swf => "swf",
            Self::Sacct => "sacct",
            Self::Helios => "helios",
            Self::Openb => "openb",
            Self::Philly => "philly",
            Self::Pai => "pai",
            Self::Dlrm => "dlrm",
            Self::Genai => "genai",
            Self::Azure => "azure",
            Self::Mooncake => "mooncake",
            Self::Interference => "interference",
            Self::Gavel => "gavel",
            Self::Pollux => "pollux",
        }
    }

    /// What a file of it must have, for a message.
    #[must_use]
    pub const fn expects(self) -> &'static str {
        match self {
            Self::Millpond => {
                "JSON lines that begin with `{\"head\":`, `{\"node\":`, `{\"queue\":` or `{\"job\":`"
            }
            Self::Swf => "lines of 18 numbers, under comments that begin with `;`",
            Self::Sacct => {
                "a header with `JobID` and `State`, values between `|` (sacct --parsable2), or what sacct --json prints"
            }
            Self::Helios => {
                "a header with `job_id`, `submit_time`, `gpu_num` (or `num_chips`) and `duration` (or `start_time` and `end_time`)"
            }
            Self::Openb => {
                "a header with `name`, `cpu_milli`, `num_gpu` and `gpu_milli`, or with `sn`, `cpu_milli` and `gpu`"
            }
            Self::Philly => "a JSON array of jobs with `jobid` and `attempts`",
            Self::Pai => "a folder with `pai_job_table.csv` and `pai_task_table.csv`",
            Self::Dlrm => "a header with `instance_sn`, `role`, `app_name` and `cpu_request`",
            Self::Genai => "a header with `timestamp_anon` and `value`",
            Self::Azure => "a header with `TIMESTAMP`, `ContextTokens` and `GeneratedTokens`",
            Self::Mooncake => "JSON lines with `timestamp`, `input_length` and `output_length`",
            Self::Interference => "a header with `model1`, `speed1`, `model2` and `speed2`",
            Self::Gavel => {
                "a JSON object of devices, each with job types like `('ResNet-18 (batch size 16)', 1)`"
            }
            Self::Pollux => "a tar file with `MODEL/placements.csv` and `MODEL/scalability.csv`",
        }
    }
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;
    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let known = Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| UnknownFormat { name: text.to_owned() })
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no format has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no format of traces; known are {}", names())]
pub struct UnknownFormat {
    /// The name.
    pub name: String,
}

/// The names of all formats, for messages.
#[must_use]
pub fn names() -> String {
    Format::ALL.map(Format::name).join(", ")
}

/// A file's part in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The file is the trace, or its main table.
    Main(Format),
    /// Machines, or how many each part of the cluster has.
    Machines(Format),
    /// Tasks of the jobs in the main table.
    Tasks(Format),
}

impl Part {
    pub const fn format(self) -> Format {
        match self {
            Self::Main(format) | Self::Machines(format) | Self::Tasks(format) => format,
        }
    }
}

/// The format that a file's first bytes, not packed, look like; `None` for none that is known.
#[must_use]
pub fn detect(head: &[u8]) -> Option<Format> {
    part_of(head).map(Part::format)
}

/// At best 4 KiB and more; a tar file is told by its first header alone.
pub(super) fn part_of(head: &[u8]) -> Option<Part> {
    if is_tar(head) {
        return Some(Part::Main(Format::Pollux));
    }
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with(['{', '[']) {
        return read_json_kind(text).map(Part::Main);
    }
    if text.starts_with(';') {
        return Some(Part::Main(Format::Swf));
    }
    let line = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'))?;
    let numbers = line.split_whitespace().filter(|word| word.parse::<f64>().is_ok()).count();
    if numbers >= 11 && numbers == line.split_whitespace().count() {
        return Some(Part::Main(Format::Swf));
    }
    header_kind(line).or_else(|| sacct_columns(text).then_some(Part::Main(Format::Sacct)))
}

/// Whether it is what `sacct` shows people: a header over dashes.
fn sacct_columns(text: &str) -> bool {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let has = |column: &[&str]| {
        let mut words = header.split_whitespace();
        words.any(|word| column.iter().any(|name| word.eq_ignore_ascii_case(name)))
    };
    has(slurm::ID) && has(slurm::STATE) && lines.next().is_some_and(|line| line.starts_with("---"))
}

/// Whether it begins like a tar file.
pub(super) fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

fn read_json_kind(text: &str) -> Option<Format> {
    let has = |key: &str| text.contains(key);
    let ours = ["{\"head\":", "{\"node\":", "{\"queue\":", "{\"job\":"];
    if ours.iter().any(|key| text.starts_with(key)) {
        Some(Format::Millpond)
    } else if has("\"jobid\"") || has("\"attempts\"") {
        Some(Format::Philly)
    } else if has("\"jobs\"") && has("\"allocation_nodes\"") {
        Some(Format::Sacct)
    } else if has("\"input_length\"") {
        Some(Format::Mooncake)
    } else if has("\"null\"") && has("\"('") {
        Some(Format::Gavel)
    } else {
        None
    }
}

fn header_kind(line: &str) -> Option<Part> {
    let mut fields = Fields::default();
    let separator = Style::SACCT.separator(line);
    fields.split(line, separator, separator != '|').ok()?;
    let header = Header::read(&fields);
    let all = |columns: &[&'static [&'static str]]| columns.iter().all(|column| header.has(column));
    let timed = all(&[helios::column::DURATION]) || all(&[helios::column::START, helios::column::END]);
    let main: [(bool, Format); 8] = [
        (timed && all(&[helios::column::ID, helios::column::SUBMIT, helios::column::GPUS]), Format::Helios),
        (all(&[&["name"], openb::CPU, &["num_gpu"], &["gpu_milli"]]), Format::Openb),
        (all(&[&["instance_sn"], &["role"], &["app_name"], &["cpu_request"]]), Format::Dlrm),
        (all(&[&["timestamp_anon"], &["value"]]), Format::Genai),
        (
            all(&[&["TIMESTAMP", "arrival_timestamp"], &["ContextTokens", "num_prefill_tokens"]]),
            Format::Azure,
        ),
        (all(&[&["model1"], &["speed1"], &["model2"], &["speed2"]]), Format::Interference),
        (all(&[&["job_name"], &["inst_id"], &["user"], &["status"]]), Format::Pai),
        (all(&[slurm::ID, slurm::STATE]), Format::Sacct),
    ];
    if let Some((_, format)) = main.into_iter().find(|(fits, _)| *fits) {
        return Some(Part::Main(format));
    }
    let parts = [
        (all(&[&["sn"], openb::CPU, &["gpu"]]), Part::Machines(Format::Openb)),
        (all(&[&["machineId"], &["number of GPUs"]]), Part::Machines(Format::Philly)),
        (all(&[&["date"], &["total"]]), Part::Machines(Format::Helios)),
        (fields.len() == 2 && all(&[&["num"]]), Part::Machines(Format::Helios)),
        (
            pai::TASK_COLUMNS.iter().all(|&column| fields.iter().any(|name| name == column)),
            Part::Tasks(Format::Pai),
        ),
        (
            pai::MACHINE_COLUMNS.iter().all(|&column| fields.iter().any(|name| name == column)),
            Part::Machines(Format::Pai),
        ),
    ];
    parts.into_iter().find(|(fits, _)| *fits).map(|(_, part)| part)
}

/// The part that a file's name tells: tables of PAI have no header.
pub(super) fn part_of_name(name: &str) -> Option<Part> {
    let known = [
        ("pai_job_table", Part::Main(Format::Pai)),
        ("pai_task_table", Part::Tasks(Format::Pai)),
        ("pai_machine_spec", Part::Machines(Format::Pai)),
    ];
    let table = !name.ends_with(".header");
    known.into_iter().find(|(start, _)| table && name.starts_with(start)).map(|(_, part)| part)
}
