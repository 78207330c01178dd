//! From files and folders to what they hold.

use super::detect::{Format, Part, names, part_of, part_of_name};
use super::profiles::{Pair, gavel, interference, pollux};
use super::requests::{self, Request};
use super::serving::{self, Value};
use super::source::{Archive, Contents, Head, PassedOver, Source, failed, foreign, in_folder};
use super::{
    BadRow, Broken, Jobs, Reading, Tally, excerpt, helios, history, openb, pai, philly, slurm, summary, swf,
};
use crate::workload::Profile;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// The file with the jobs, of several.
    pub main: PathBuf,
    /// Files beside it that may belong to it and cannot be read.
    pub passed_over: Vec<PassedOver>,
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
    /// Helios without a file of virtual clusters: this many nodes of eight GPUs; 0: the smallest pool that could have run it.
    pub nodes: u32,
    /// Helios: each virtual cluster on its own nodes, or all in one pool.
    pub pooling: helios::Pooling,
    /// SWF: nodes as in the header, or one flat machine.
    pub layout: swf::Layout,
    /// What came out of the file, where it was a pipe and was read already.
    pub kept: Option<Arc<[u8]>>,
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
    /// It is packed or coded in a way that is not understood.
    #[error("{} is {what}, which is not read; {then} first", path.display())]
    Foreign {
        /// What.
        path: PathBuf,
        /// In what way.
        what: &'static str,
        /// What makes it understood.
        then: &'static str,
    },
    /// A folder or a tar file with more than one trace, or none.
    #[error("{} holds {} traces where one was looked for{}; name the file", path.display(), names.len(), listed(names))]
    NotOne {
        /// The folder.
        path: PathBuf,
        /// Traces in it.
        names: Vec<String>,
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
    /// A file with machines has none.
    #[error("{} has no machine of {format}; {}", path.display(), unusable(*count, first.as_ref()))]
    NoMachines {
        /// What.
        path: PathBuf,
        /// The format.
        format: Format,
        /// How many rows are bad.
        count: usize,
        /// The first of them.
        first: Option<BadRow>,
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

fn listed(names: &[String]) -> String {
    let more = if names.len() > 5 { ", …" } else { "" };
    let first: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!(" ({}{more})", first.join(", ")) }
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

    /// As [`Self::summary`], file by file: that with the jobs first.
    #[must_use]
    pub fn by_file(&self) -> Vec<(&Path, Vec<Tally>)> {
        let mut files: Vec<(&Path, Vec<BadRow>)> = vec![(&self.main, Vec::new())];
        for (path, row) in &self.bad {
            match files.iter_mut().find(|(known, _)| known == path) {
                Some((_, rows)) => rows.push(row.clone()),
                None => files.push((path, vec![row.clone()])),
            }
        }
        if let Content::Jobs(jobs) = &self.content {
            files[0].1.extend(jobs.left_out.iter().cloned());
        }
        files.retain(|(_, rows)| !rows.is_empty());
        files.into_iter().map(|(path, rows)| (path, summary(&rows))).collect()
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
    let mut files = Files::find(path, format, options)?;
    let mut loaded = Loaded {
        path: path.to_owned(),
        format: files.format,
        content: Content::Requests(Vec::new()),
        rows: 0,
        bad: Vec::new(),
        main: files.main.path(),
        passed_over: Vec::new(),
        broken: None,
    };
    loaded.content = files.load(&mut loaded, options)?;
    loaded.passed_over = files.trouble.drain(..).map(PassedOver::from).collect();
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
    main: Source,
    machines: Option<Source>,
    tasks: Option<Source>,
    /// Its first line, when the format was named and its head does not look like it.
    unlike: Option<String>,
    /// What lies beside it and cannot be read: it may be no part of the trace.
    trouble: Vec<TraceError>,
}

/// Why a file with machines has none.
fn unusable(count: usize, first: Option<&BadRow>) -> String {
    match first {
        Some(first) => format!("{count} rows are bad, the first: {first}"),
        None => "no row is in it; leave it out to have machines made up".to_owned(),
    }
}

/// The part that a file is, and its first line.
fn part(name: &str, head: &[u8]) -> (Option<Part>, String) {
    let text = String::from_utf8_lossy(head);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let found: String = excerpt(line).chars().map(|c| if c.is_control() { '\u{b7}' } else { c }).collect();
    // Beside the tables of PAI lie their headers.
    let part = if name.ends_with(".header") { None } else { part_of_name(name).or_else(|| part_of(head)) };
    (part, found)
}

impl Files {
    fn find(path: &Path, format: Option<Format>, options: &Options) -> Result<Self, TraceError> {
        let mut files = if path.is_dir() {
            Self::in_folder(path, format)?
        } else {
            Self::single(&Source::at(path, options.kept.as_ref())?, format)?
        };
        if let Some(machines) = &options.machines {
            files.machines = Some(Source::table(machines)?);
        }
        Ok(files)
    }

    fn single(file: &Source, format: Option<Format>) -> Result<Self, TraceError> {
        match Contents::of(file)? {
            Contents::Text(head) => Self::of_one(file.clone(), &head.text, format),
            Contents::Profiles => Self::of_profiles(file, format),
            Contents::Archive(Archive { mut files, trouble }) if files.len() == 1 => {
                let (source, head) = files.remove(0);
                Ok(Self { trouble, ..Self::of_one(source, &head, format)? })
            }
            Contents::Archive(Archive { files, trouble }) => {
                let parts = files
                    .into_iter()
                    .filter_map(|(source, head)| part(&source.name(), &head).0.map(|part| (part, source)));
                Self::of_several(&file.path(), parts.collect(), trouble, format)
            }
        }
    }

    fn of_profiles(file: &Source, format: Option<Format>) -> Result<Self, TraceError> {
        match format {
            Some(wanted) if wanted != Format::Pollux => Err(TraceError::NotThis {
                path: file.path(),
                wanted,
                found: "a tar file".to_owned(),
                looks_like: Some(Format::Pollux),
            }),
            _ => Ok(Self::alone(Format::Pollux, file.clone())),
        }
    }

    /// Of one file.
    const fn alone(format: Format, main: Source) -> Self {
        Self { format, main, machines: None, tasks: None, unlike: None, trouble: Vec::new() }
    }

    fn of_one(main: Source, head: &[u8], format: Option<Format>) -> Result<Self, TraceError> {
        let path = main.path();
        if let Some((what, then)) = foreign(head) {
            return Err(TraceError::Foreign { path, what, then });
        }
        let (part, found) = part(&main.name(), head);
        let looks_like = part.map(Part::format);
        let format = match (format, part) {
            (Some(wanted), Some(Part::Main(format))) if wanted == format => wanted,
            // The user may know better than its head; what cannot be read of it is told row by row.
            (Some(wanted), None) if !found.is_empty() => wanted,
            (None, None) if found.is_empty() => return Err(TraceError::Empty { path }),
            (Some(wanted), _) => return Err(TraceError::NotThis { path, wanted, found, looks_like }),
            (None, Some(Part::Main(format))) => format,
            (None, Some(part)) => {
                let what = "this file has its machines or tasks; name the folder, or the file with the jobs";
                return Err(TraceError::Lacks { path, format: part.format(), what });
            }
            (None, None) => return Err(TraceError::Unknown { path, found }),
        };
        let unlike = part.is_none().then_some(found);
        Ok(Self { unlike, ..Self::alone(format, main) })
    }

    fn in_folder(folder: &Path, format: Option<Format>) -> Result<Self, TraceError> {
        let mut parts: Vec<(Part, Source)> = Vec::new();
        let mut trouble = Vec::new();
        for path in in_folder(folder)? {
            let source = Source::file(&path);
            match Contents::of(&source) {
                Ok(Contents::Text(Head { text, broken })) => {
                    if let Some((what, then)) = foreign(&text) {
                        trouble.push(TraceError::Foreign { path, what, then });
                    } else if let (Some(part), _) = part(&source.name(), &text) {
                        parts.push((part, source));
                    } else if let Some(why) = broken {
                        trouble.push(failed(&path)(why));
                    }
                }
                Ok(Contents::Profiles) => parts.push((Part::Main(Format::Pollux), source)),
                Ok(Contents::Archive(archive)) => {
                    parts.extend(archive.files.into_iter().filter_map(|(source, head)| {
                        part(&source.name(), &head).0.map(|part| (part, source))
                    }));
                    trouble.extend(archive.trouble);
                }
                Err(why) => trouble.push(why),
            }
        }
        Self::of_several(folder, parts, trouble, format)
    }

    fn of_several(
        path: &Path,
        mut parts: Vec<(Part, Source)>,
        mut trouble: Vec<TraceError>,
        format: Option<Format>,
    ) -> Result<Self, TraceError> {
        parts.retain(|(part, _)| format.is_none_or(|format| part.format() == format));
        let mut mains: Vec<&(Part, Source)> =
            parts.iter().filter(|(part, _)| matches!(part, Part::Main(_))).collect();
        // Of openb's variants the trace itself is named default.
        if mains.len() > 1 && mains.iter().all(|(part, _)| part.format() == Format::Openb) {
            mains.retain(|(_, source)| source.name().contains("default"));
        }
        let [(main, source)] = mains.as_slice() else {
            // It may be the trace that cannot be read.
            if mains.is_empty() && !trouble.is_empty() {
                return Err(trouble.swap_remove(0));
            }
            let names = mains.iter().map(|(_, source)| source.name()).collect();
            return Err(TraceError::NotOne { path: path.to_owned(), names });
        };
        let format = main.format();
        // Of several lists of machines the longest name without `gpu`: all of them.
        let other = |wanted: Part| {
            let fitting = parts.iter().filter(|(part, _)| *part == wanted);
            fitting
                .min_by_key(|(_, source)| source.name().contains("gpu_node"))
                .map(|(_, source)| source.clone())
        };
        Ok(Self {
            format,
            main: source.clone(),
            machines: other(Part::Machines(format)),
            tasks: other(Part::Tasks(format)),
            unlike: None,
            trouble,
        })
    }

    fn name(&self) -> String {
        let name = self.main.name();
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
        let Some(source) = &self.machines else { return Ok(R::default()) };
        let mut reading = read(source.open()?);
        if reading.rows.is_empty() {
            return Err(TraceError::NoMachines {
                path: source.path(),
                format: self.format,
                count: reading.bad.len(),
                first: reading.bad.first().cloned(),
            });
        }
        loaded.take(&source.path(), &mut reading);
        Ok(rows(reading.rows))
    }

    fn load(&self, loaded: &mut Loaded, options: &Options) -> Result<Content, TraceError> {
        let (name, main) = (self.name(), self.main.path());
        let jobs = match self.format {
            Format::Millpond => {
                let (mut reading, jobs) = history::load(&name, self.main.open()?);
                loaded.take(&main, &mut reading);
                jobs
            }
            Format::Swf => {
                let (header, mut reading) = swf::read(self.main.open()?);
                loaded.take(&main, &mut reading);
                swf::jobs(&name, &header, &reading, options.layout)
            }
            Format::Sacct => {
                let mut reading = slurm::jobs_of(self.main.open()?);
                loaded.take(&main, &mut reading);
                slurm::jobs(&name, &reading)
            }
            Format::Helios => {
                let mut reading = helios::jobs_of(self.main.open()?);
                loaded.take(&main, &mut reading);
                let parts = self.machines(loaded, helios::partitions, |rows| rows)?;
                helios::jobs(&name, &reading, &parts, options.nodes, options.pooling)
            }
            Format::Openb => {
                let mut reading = openb::lives(self.main.open()?);
                loaded.take(&main, &mut reading);
                let nodes = self.machines(loaded, openb::nodes, |rows| rows)?;
                openb::jobs(&name, &reading, &nodes)
            }
            Format::Philly => {
                let mut reading = philly::jobs_of(self.main.open()?);
                loaded.take(&main, &mut reading);
                let machines = self.machines(loaded, philly::machines, |rows| rows)?;
                philly::jobs(&name, &reading, &machines)
            }
            Format::Pai => self.load_pai(&name, loaded)?,
            Format::Dlrm => {
                let mut reading = serving::instances(self.main.open()?);
                loaded.take(&main, &mut reading);
                serving::jobs(&name, &reading)
            }
            _ => return self.load_other(loaded),
        };
        Ok(Content::Jobs(Box::new(jobs)))
    }

    fn load_pai(&self, name: &str, loaded: &mut Loaded) -> Result<Jobs, TraceError> {
        let Some(tasks) = &self.tasks else {
            let what = "the table of tasks; name the folder with both";
            return Err(TraceError::Lacks { path: self.main.path(), format: Format::Pai, what });
        };
        let mut rows = pai::job_rows(self.main.open()?);
        loaded.take(&self.main.path(), &mut rows);
        let mut task_rows = pai::task_rows(tasks.open()?);
        loaded.take(&tasks.path(), &mut task_rows);
        let machines = self.machines(loaded, pai::machine_rows, |rows| rows)?;
        Ok(pai::jobs(name, &rows, &task_rows, &machines))
    }

    fn load_other(&self, loaded: &mut Loaded) -> Result<Content, TraceError> {
        let main = self.main.path();
        match self.format {
            Format::Azure | Format::Mooncake => {
                let azure = self.format == Format::Azure;
                let input = self.main.open()?;
                let mut reading = if azure { requests::azure(input) } else { requests::mooncake(input) };
                loaded.take(&main, &mut reading);
                Ok(Content::Requests(reading.rows))
            }
            Format::Interference => {
                let mut reading = interference::pairs(self.main.open()?);
                loaded.take(&main, &mut reading);
                Ok(Content::Speeds { profiles: Vec::new(), pairs: reading.rows })
            }
            Format::Gavel => {
                let not_gavel = |why: super::BadRowReason| TraceError::NotThis {
                    path: main.clone(),
                    wanted: Format::Gavel,
                    found: why.to_string(),
                    looks_like: None,
                };
                let gavel = gavel::read(self.main.open()?).map_err(not_gavel)?;
                loaded.rows = gavel.profiles.len() as u64;
                loaded.bad.extend(gavel.bad.into_iter().map(|row| (main.clone(), row)));
                Ok(Content::Speeds { profiles: gavel.profiles, pairs: gavel.pairs })
            }
            Format::Pollux => {
                let archive = pollux::archive(self.main.open()?).map_err(failed(&main))?;
                loaded.rows = archive.steps.values().map(|steps| steps.len() as u64).sum();
                loaded.bad.extend(archive.bad.iter().map(|(path, row)| (main.join(path), row.clone())));
                Ok(Content::Speeds { profiles: archive.profiles(), pairs: Vec::new() })
            }
            _ => {
                let mut reading = serving::values(self.main.open()?);
                loaded.take(&main, &mut reading);
                Ok(Content::Series(reading.rows))
            }
        }
    }
}
