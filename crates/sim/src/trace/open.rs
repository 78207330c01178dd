//! Files and folders: the one place in this crate that opens any.

use super::detect::{Format, Part, is_tar, names, part_of, part_of_name};
use super::profiles::{Pair, gavel, interference, pollux};
use super::requests::{self, Request};
use super::serving::{self, Value};
use super::unpack::unpack;
use super::{
    BadRow, Broken, Jobs, Reading, Tally, excerpt, helios, history, openb, pai, philly, slurm, summary, swf,
};
use crate::workload::Profile;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// From where.
    pub path: PathBuf,
    /// What it is.
    pub format: Format,
    /// What it holds.
    pub content: Content,
    /// Rows that were read, of all its files.
    pub rows: u64,
    /// Rows that could not be used, with the file they are in.
    pub bad: Vec<(PathBuf, BadRow)>,
    /// Where the input broke off.
    pub broken: Option<Broken>,
}

/// What a trace holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// Jobs and machines.
    Jobs(Box<Jobs>),
    /// Requests to services.
    Requests(Vec<Request>),
    /// Series of services.
    Series(Vec<Value>),
    /// Speeds of jobs, alone and in pairs.
    Speeds {
        /// Alone.
        profiles: Vec<Profile>,
        /// In pairs.
        pairs: Vec<Pair>,
    },
}

/// How to read what the files leave open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// A file with the machines, when it does not lie in the trace's folder.
    pub machines: Option<PathBuf>,
    /// Helios without a file of virtual clusters: this many nodes of eight GPUs; 0: as many as the widest job needs.
    pub nodes: u32,
    /// Helios: each virtual cluster on its own nodes, or all in one pool.
    pub pooling: helios::Pooling,
    /// SWF: nodes as in the header, or one flat machine.
    pub layout: swf::Layout,
}

/// A trace cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The system says no.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not of the format it was said to be.
    #[error("{} is not {wanted}: expected {}, found `{found}`{}", path.display(), wanted.expects(), suggestion(*looks_like))]
    NotThis {
        /// What.
        path: PathBuf,
        /// The format it was said to be.
        wanted: Format,
        /// Its first line.
        found: String,
        /// The format it looks like.
        looks_like: Option<Format>,
    },
    /// There is nothing in it.
    #[error("{} is empty", path.display())]
    Empty {
        /// What.
        path: PathBuf,
    },
    /// It is of no format that is known.
    #[error("{} is no trace that is known: it begins with `{found}`; name its format with one of {}", path.display(), names())]
    Unknown {
        /// What.
        path: PathBuf,
        /// Its first line.
        found: String,
    },
    /// A folder with more than one trace, or none.
    #[error("{} holds {count} traces where one was looked for; name the file", path.display())]
    NotOne {
        /// The folder.
        path: PathBuf,
        /// Traces in it.
        count: usize,
    },
    /// A file that belongs to the trace is not there.
    #[error("{} lacks a part of a trace of {format}: {what}", path.display())]
    Lacks {
        /// The folder or file.
        path: PathBuf,
        /// The format.
        format: Format,
        /// What is missing.
        what: &'static str,
    },
    /// Every row was bad.
    #[error("{} has no usable row of {format}; {count} rows are bad, the first: {first}", path.display())]
    Nothing {
        /// What.
        path: PathBuf,
        /// The format.
        format: Format,
        /// How many.
        count: usize,
        /// The first.
        first: BadRow,
    },
    /// It ends before its end. What was read up to there is inside.
    #[error("{} breaks off: {broken}; {} rows were read up to there", loaded.path.display(), loaded.rows)]
    Broken {
        /// Where and why.
        broken: Broken,
        /// What was read.
        loaded: Box<Loaded>,
    },
}

fn suggestion(looks_like: Option<Format>) -> String {
    looks_like.map_or_else(String::new, |format| format!("; it looks like {format}"))
}

impl Loaded {
    /// Bad rows by what is wrong with them, most frequent first, those left out as no jobs included.
    #[must_use]
    pub fn summary(&self) -> Vec<Tally> {
        let mut all: Vec<BadRow> = self.bad.iter().map(|(_, row)| row.clone()).collect();
        if let Content::Jobs(jobs) = &self.content {
            all.extend(jobs.left_out.iter().cloned());
        }
        summary(&all)
    }

    /// The jobs; `None` for a trace of requests or speeds.
    #[must_use]
    pub fn into_jobs(self) -> Option<Jobs> {
        match self.content {
            Content::Jobs(jobs) => Some(*jobs),
            _ => None,
        }
    }

    fn take<T>(&mut self, path: &Path, reading: &mut Reading<T>) {
        self.rows += reading.rows.len() as u64;
        self.bad.extend(std::mem::take(&mut reading.bad).into_iter().map(|row| (path.to_owned(), row)));
        self.broken = self.broken.take().or_else(|| reading.broken.take());
    }
}

/// Loads a trace from a file or a folder; without `format` it is told by the first bytes.
///
/// # Errors
/// When nothing of it can be used, or it breaks off; single bad rows are in [`Loaded::bad`].
pub fn open(path: &Path, format: Option<Format>) -> Result<Loaded, TraceError> {
    open_with(path, format, &Options::default())
}

/// As [`open`], with what the files leave open.
///
/// # Errors
/// As [`open`].
pub fn open_with(path: &Path, format: Option<Format>, options: &Options) -> Result<Loaded, TraceError> {
    let files = Files::find(path, format, options)?;
    let mut loaded = Loaded {
        path: path.to_owned(),
        format: files.format,
        content: Content::Requests(Vec::new()),
        rows: 0,
        bad: Vec::new(),
        broken: None,
    };
    loaded.content = files.load(&mut loaded, options)?;
    if let Some(broken) = loaded.broken.clone() {
        return Err(TraceError::Broken { broken, loaded: Box::new(loaded) });
    }
    if let (Some(found), 0) = (files.unlike, loaded.rows) {
        let wanted = loaded.format;
        return Err(TraceError::NotThis { path: loaded.path, wanted, found, looks_like: None });
    }
    match loaded.bad.first() {
        Some((path, first)) if loaded.rows == 0 => Err(TraceError::Nothing {
            path: path.clone(),
            format: loaded.format,
            count: loaded.bad.len(),
            first: first.clone(),
        }),
        _ => Ok(loaded),
    }
}

/// The files of a trace.
struct Files {
    format: Format,
    main: PathBuf,
    machines: Option<PathBuf>,
    tasks: Option<PathBuf>,
    /// Its first line, when the format was named and its head does not look like it.
    unlike: Option<String>,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> TraceError + use<'_> {
    |source| TraceError::Read { path: path.to_owned(), source }
}

#[expect(clippy::disallowed_methods, reason = "the one place that opens traces")]
fn file(path: &Path) -> Result<impl Read + use<>, TraceError> {
    File::open(path).and_then(unpack).map_err(failed(path))
}

/// The first bytes of a file, unpacked; of the first table in it when it is a tar file that holds no profiles.
fn head(path: &Path) -> Result<Vec<u8>, TraceError> {
    let mut bytes = Vec::new();
    // A broken file may still show its head.
    let read = file(path)?.take(1 << 16).read_to_end(&mut bytes);
    if bytes.is_empty() {
        read.map_err(failed(path))?;
    }
    if is_tar(&bytes) && !holds_profiles(path)? {
        bytes.clear();
        table_in_tar(path, |entry| entry.take(1 << 16).read_to_end(&mut bytes).map(drop))?;
    }
    Ok(bytes)
}

fn holds_profiles(path: &Path) -> Result<bool, TraceError> {
    let mut archive = tar::Archive::new(file(path)?);
    for entry in archive.entries().map_err(failed(path))?.take(10_000) {
        let entry = entry.map_err(failed(path))?;
        let inside = entry.path().map_err(failed(path))?;
        if inside.file_name().is_some_and(|name| name.to_string_lossy().starts_with("placements")) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn table_in_tar<T>(
    path: &Path,
    then: impl FnOnce(&mut dyn Read) -> io::Result<T>,
) -> Result<Option<T>, TraceError> {
    let mut archive = tar::Archive::new(file(path)?);
    for entry in archive.entries().map_err(failed(path))? {
        let mut entry = entry.map_err(failed(path))?;
        if entry.header().entry_type().is_file() {
            return then(&mut entry).map(Some).map_err(failed(path));
        }
    }
    Ok(None)
}

fn part(path: &Path) -> Result<(Option<Part>, String), TraceError> {
    let head = head(path)?;
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let found: String = excerpt(line).chars().map(|c| if c.is_control() { '\u{b7}' } else { c }).collect();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((part_of_name(&name).or_else(|| part_of(&head)), found))
}

impl Files {
    fn find(path: &Path, format: Option<Format>, options: &Options) -> Result<Self, TraceError> {
        let mut files =
            if path.is_dir() { Self::in_folder(path, format)? } else { Self::single(path, format)? };
        if options.machines.is_some() {
            files.machines.clone_from(&options.machines);
        }
        Ok(files)
    }

    fn single(path: &Path, format: Option<Format>) -> Result<Self, TraceError> {
        let (part, found) = part(path)?;
        let looks_like = part.map(Part::format);
        let format = match (format, part) {
            (Some(wanted), Some(Part::Main(format))) if wanted == format => wanted,
            // The user may know better than its head; what cannot be read of it is told row by row.
            (Some(wanted), None) if !found.is_empty() => wanted,
            (None, None) if found.is_empty() => return Err(TraceError::Empty { path: path.to_owned() }),
            (Some(wanted), _) => {
                return Err(TraceError::NotThis { path: path.to_owned(), wanted, found, looks_like });
            }
            (None, Some(Part::Main(format))) => format,
            (None, Some(part)) => {
                let what = "this file has its machines or tasks; name the folder, or the file with the jobs";
                return Err(TraceError::Lacks { path: path.to_owned(), format: part.format(), what });
            }
            (None, None) => return Err(TraceError::Unknown { path: path.to_owned(), found }),
        };
        let unlike = part.is_none().then_some(found);
        Ok(Self { format, main: path.to_owned(), machines: None, tasks: None, unlike })
    }

    fn in_folder(folder: &Path, format: Option<Format>) -> Result<Self, TraceError> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed(folder))? {
            let path = entry.map_err(failed(folder))?.path();
            if path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        let mut parts: Vec<(Part, PathBuf)> = Vec::new();
        for path in paths {
            if let (Some(part), _) = part(&path)? {
                parts.push((part, path));
            }
        }
        parts.retain(|(part, _)| format.is_none_or(|format| part.format() == format));
        let mut mains: Vec<&(Part, PathBuf)> =
            parts.iter().filter(|(part, _)| matches!(part, Part::Main(_))).collect();
        // Of openb's variants the trace itself is named default.
        let named =
            |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("default"));
        if mains.len() > 1 && mains.iter().all(|(part, _)| part.format() == Format::Openb) {
            mains.retain(|(_, path)| named(path));
        }
        let [(main, path)] = mains.as_slice() else {
            return Err(TraceError::NotOne { path: folder.to_owned(), count: mains.len() });
        };
        let format = main.format();
        // Of several lists of machines the longest name without `gpu`: all of them.
        let other = |wanted: Part| {
            let fitting = parts.iter().filter(|(part, _)| *part == wanted);
            fitting
                .min_by_key(|(_, path)| path.to_string_lossy().contains("gpu_node"))
                .map(|(_, path)| path.clone())
        };
        Ok(Self {
            format,
            main: path.clone(),
            machines: other(Part::Machines(format)),
            tasks: other(Part::Tasks(format)),
            unlike: None,
        })
    }

    fn name(&self) -> String {
        let name = self.main.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = name.trim_end_matches(".gz").trim_end_matches(".zst");
        stem.rsplit_once('.').map_or(stem, |(stem, _)| stem).to_owned()
    }

    /// Reads the file with the machines, or none.
    fn machines<T, R: Default>(
        &self,
        loaded: &mut Loaded,
        read: impl FnOnce(Box<dyn Read>) -> Reading<T>,
        rows: impl FnOnce(Vec<T>) -> R,
    ) -> Result<R, TraceError> {
        let Some(path) = &self.machines else { return Ok(R::default()) };
        let mut reading = read(Box::new(file(path)?));
        loaded.take(path, &mut reading);
        Ok(rows(reading.rows))
    }

    fn load(&self, loaded: &mut Loaded, options: &Options) -> Result<Content, TraceError> {
        let (name, main) = (self.name(), self.main.as_path());
        let jobs = match self.format {
            Format::Millpond => {
                let (mut reading, jobs) = history::load(&name, file(main)?);
                loaded.take(main, &mut reading);
                jobs
            }
            Format::Swf => {
                let (header, mut reading) = swf::read(file(main)?);
                loaded.take(main, &mut reading);
                swf::jobs(&name, &header, &reading, options.layout)
            }
            Format::Sacct => {
                let mut reading = slurm::jobs_of(file(main)?);
                loaded.take(main, &mut reading);
                slurm::jobs(&name, &reading)
            }
            Format::Helios => {
                let mut reading = helios::jobs_of(file(main)?);
                loaded.take(main, &mut reading);
                let parts = self.machines(loaded, helios::partitions, |rows| rows)?;
                helios::jobs(&name, &reading, &parts, options.nodes, options.pooling)
            }
            Format::Openb => {
                let mut reading = openb::lives(file(main)?);
                loaded.take(main, &mut reading);
                let nodes = self.machines(loaded, openb::nodes, |rows| rows)?;
                openb::jobs(&name, &reading, &nodes)
            }
            Format::Philly => {
                let mut reading = philly::jobs_of(file(main)?);
                loaded.take(main, &mut reading);
                let machines = self.machines(loaded, philly::machines, |rows| rows)?;
                philly::jobs(&name, &reading, &machines)
            }
            Format::Pai => self.load_pai(&name, loaded)?,
            Format::Dlrm => {
                let mut reading = serving::instances(file(main)?);
                loaded.take(main, &mut reading);
                serving::jobs(&name, &reading)
            }
            _ => return self.load_other(loaded),
        };
        Ok(Content::Jobs(Box::new(jobs)))
    }

    fn load_pai(&self, name: &str, loaded: &mut Loaded) -> Result<Jobs, TraceError> {
        let Some(tasks) = &self.tasks else {
            let what = "the table of tasks; name the folder with both";
            return Err(TraceError::Lacks { path: self.main.clone(), format: Format::Pai, what });
        };
        let mut rows = pai::job_rows(file(&self.main)?);
        loaded.take(&self.main, &mut rows);
        let mut task_rows = pai::task_rows(file(tasks)?);
        loaded.take(tasks, &mut task_rows);
        let machines = self.machines(loaded, pai::machine_rows, |rows| rows)?;
        Ok(pai::jobs(name, &rows, &task_rows, &machines))
    }

    fn load_other(&self, loaded: &mut Loaded) -> Result<Content, TraceError> {
        let main = self.main.as_path();
        match self.format {
            Format::Azure | Format::Mooncake => {
                let azure = self.format == Format::Azure;
                let input = file(main)?;
                let mut reading = if azure { requests::azure(input) } else { requests::mooncake(input) };
                loaded.take(main, &mut reading);
                Ok(Content::Requests(reading.rows))
            }
            Format::Interference => {
                let mut reading = interference::pairs(file(main)?);
                loaded.take(main, &mut reading);
                Ok(Content::Speeds { profiles: Vec::new(), pairs: reading.rows })
            }
            Format::Gavel => {
                let not_gavel = |why: super::BadRowReason| TraceError::NotThis {
                    path: main.to_owned(),
                    wanted: Format::Gavel,
                    found: why.to_string(),
                    looks_like: None,
                };
                let gavel = gavel::read(file(main)?).map_err(not_gavel)?;
                loaded.rows = gavel.profiles.len() as u64;
                loaded.bad.extend(gavel.bad.into_iter().map(|row| (main.to_owned(), row)));
                Ok(Content::Speeds { profiles: gavel.profiles, pairs: gavel.pairs })
            }
            Format::Pollux => {
                let archive = pollux::archive(file(main)?).map_err(failed(main))?;
                loaded.rows = archive.steps.values().map(|steps| steps.len() as u64).sum();
                loaded.bad.extend(archive.bad.iter().map(|(path, row)| (main.join(path), row.clone())));
                Ok(Content::Speeds { profiles: archive.profiles(), pairs: Vec::new() })
            }
            _ => {
                let mut reading = self.series()?;
                loaded.take(main, &mut reading);
                Ok(Content::Series(reading.rows))
            }
        }
    }

    /// The series lies in a tar file of one table, or as it is.
    fn series(&self) -> Result<Reading<Value>, TraceError> {
        let mut first = Vec::new();
        file(&self.main)?.take(512).read_to_end(&mut first).map_err(failed(&self.main))?;
        if !is_tar(&first) {
            return Ok(serving::values(file(&self.main)?));
        }
        Ok(table_in_tar(&self.main, |entry| Ok(serving::values(entry)))?.unwrap_or_default())
    }
}
