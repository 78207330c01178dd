//! The profiles of Pollux (Qiao et al., OSDI 2021) and Sia (Jayaram Subramanya et al., SOSP 2023): step times of six or
//! seven models by placement and batch, for each kind of device, and how useful a step is by batch size.
//!
//! An archive holds `…/MODEL/placements[-DEVICE].csv`, `scalability[-DEVICE].csv` and `validation-BATCH.csv`.

use super::milli;
use crate::trace::table::{Style, malformed, read};
use crate::trace::{BadRow, Reading};
use crate::workload::Profile;
use pond_core::model::Speed;
use std::collections::BTreeMap;
use std::io::{self, Read};

/// One measurement: a step with this many tasks on this many nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Nodes.
    pub nodes: u32,
    /// Tasks, a device each.
    pub tasks: u32,
    /// Samples that each task takes in a step.
    pub batch: u32,
    /// Seconds of a step.
    pub step_s: f64,
    /// Of those, seconds of exchange between tasks.
    pub sync_s: f64,
}

/// One measurement of training to the end with a batch size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// Progress in steps of the smallest batch.
    pub progress: f64,
    /// The model's own measure.
    pub metric: f64,
    /// Square of the gradient.
    pub gradient: f64,
    /// Its variance.
    pub variance: f64,
}

/// Columns `placement, local_bsz, step_time, sync_time` (`placement` 88: eight tasks on each of two nodes), or
/// `num_nodes, num_replicas, …`.
pub fn steps(input: impl Read) -> Reading<Step> {
    read(input, Style::CSV, |row| {
        let (nodes, tasks) = match row.optional(&["placement"]) {
            Some(text) => read_placement(text)
                .ok_or_else(|| malformed("placement", text, "one digit a node: its tasks"))?,
            None => (row.small(&["num_nodes"])?, row.small(&["num_replicas"])?),
        };
        Ok(Step {
            nodes,
            tasks,
            batch: row.small(&["local_bsz"])?,
            step_s: row.decimal(&["step_time"])?,
            sync_s: row.decimal(&["sync_time"])?,
        })
    })
}

/// Nodes and tasks of `88`.
fn read_placement(text: &str) -> Option<(u32, u32)> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(10)).collect();
    digits.map(|digits| (u32::try_from(digits.len()).unwrap_or(u32::MAX), digits.iter().sum()))
}

/// Columns `progress, iteration, metric, grad_sqr, grad_var`.
pub fn validations(input: impl Read) -> Reading<Validation> {
    read(input, Style::CSV, |row| {
        Ok(Validation {
            progress: row.decimal(&["progress"])?,
            metric: row.decimal(&["metric"])?,
            gradient: row.decimal(&["grad_sqr"])?,
            variance: row.decimal(&["grad_var"])?,
        })
    })
}

/// Everything of an archive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Archive {
    /// Step times by model and kind of device; the empty kind is the one that files without a suffix measured.
    pub steps: BTreeMap<(String, String), Vec<Step>>,
    /// Validations by model and batch.
    pub validations: BTreeMap<(String, u32), Vec<Validation>>,
    /// Files that were neither.
    pub others: u64,
    /// Bad rows, with the file they are in.
    pub bad: Vec<(String, BadRow)>,
}

/// Reads a tar file that is not packed (see [`crate::trace::unpack`]).
///
/// # Errors
/// When the tar file is none, or breaks off.
pub fn archive(input: impl Read) -> io::Result<Archive> {
    let mut archive = Archive::default();
    for entry in tar::Archive::new(input).entries()? {
        let entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let mut parts = path.rsplit('/');
        let (Some(file), Some(model)) = (parts.next(), parts.next()) else { continue };
        let Some(stem) = file.strip_suffix(".csv") else { continue };
        let (kind, suffix) = stem.split_once('-').unwrap_or((stem, ""));
        archive.read_file(kind, suffix, model, &path, entry);
    }
    Ok(archive)
}

impl Archive {
    fn read_file(&mut self, kind: &str, suffix: &str, model: &str, path: &str, input: impl Read) {
        let bad = match (kind, suffix.parse::<u32>()) {
            ("placements" | "scalability", _) => {
                let reading = steps(input);
                self.steps.entry((model.to_owned(), suffix.to_owned())).or_default().extend(reading.rows);
                reading.bad
            }
            ("validation", Ok(batch)) => {
                let reading = validations(input);
                self.validations.entry((model.to_owned(), batch)).or_default().extend(reading.rows);
                reading.bad
            }
            _ => {
                self.others += 1;
                Vec::new()
            }
        };
        self.bad.extend(bad.into_iter().map(|row| (path.to_owned(), row)));
    }

    /// One profile a model: speed of one task on each kind of device against the fastest, and scaling on the kind
    /// measured with the most sizes, placed on as few nodes as they fit on.
    ///
    /// Speed is samples a second with the best measured batch of each task, so the batch grows with the tasks. What a
    /// larger batch is worth is not in it; [`Self::validations`] have the gradients that tell.
    #[must_use]
    pub fn profiles(&self) -> Vec<Profile> {
        let mut models: BTreeMap<&str, Vec<Speeds>> = BTreeMap::new();
        for ((model, device), steps) in &self.steps {
            models.entry(model).or_default().push((device, speeds(steps)));
        }
        models.into_iter().map(|(model, devices)| profile(model, &devices)).collect()
    }
}

/// A kind of device and its samples a second by tasks.
type Speeds<'a> = (&'a str, BTreeMap<u32, f64>);

/// Samples a second by tasks.
fn speeds(steps: &[Step]) -> BTreeMap<u32, f64> {
    let mut best: BTreeMap<u32, (u32, f64)> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.tasks > 0 && step.step_s > 0.0) {
        let speed = f64::from(step.tasks) * f64::from(step.batch) / step.step_s;
        let known = best.entry(step.tasks).or_insert((step.nodes, 0.0));
        if step.nodes < known.0 || (step.nodes == known.0 && speed > known.1) {
            *known = (step.nodes, speed);
        }
    }
    best.into_iter().map(|(tasks, (_, speed))| (tasks, speed)).collect()
}

fn profile(model: &str, devices: &[Speeds]) -> Profile {
    // A model too large for one device is compared at its smallest size on all of them.
    let base = devices.iter().filter_map(|(_, speeds)| speeds.keys().next()).max().copied().unwrap_or(1);
    let at_base = |speeds: &BTreeMap<u32, f64>| speeds.get(&base).copied().unwrap_or(0.0);
    let fastest = devices.iter().map(|(_, speeds)| at_base(speeds)).fold(0.0, f64::max);
    let longest = devices.iter().max_by_key(|(_, speeds)| speeds.len());
    let scaling = longest.map_or(Vec::new(), |(_, speeds)| {
        let first = speeds.iter().next().map_or(0.0, |(tasks, speed)| speed / f64::from(*tasks));
        speeds.iter().map(|(&tasks, &speed)| (tasks, milli(speed, first))).collect()
    });
    Profile {
        name: model.to_owned(),
        speed: Speed {
            models: devices
                .iter()
                .filter(|(device, speeds)| !device.is_empty() && at_base(speeds) > 0.0)
                .map(|(device, speeds)| ((*device).to_owned(), milli(at_base(speeds), fastest)))
                .collect(),
            ranks: scaling,
        },
        ..Profile::default()
    }
}
