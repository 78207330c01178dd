//! Gavel's throughputs (Narayanan et al., "Heterogeneity-Aware Cluster Scheduling Policies for Deep Learning Workloads",
//! OSDI 2020): one JSON object, device → `('job type', scale)` → `null` (alone) or another `('job type', scale)` → steps/s.

use super::{Pair, milli};
use crate::trace::{BadRow, BadRowReason, excerpt};
use crate::workload::Profile;
use pond_core::model::Speed;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;

/// Speeds of job types alone and in pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gavel {
    /// One a job type: device models against the fastest, and scaling on that one. The models' names are the file's: `k80`.
    pub profiles: Vec<Profile>,
    /// Pairs that share one device.
    pub pairs: Vec<Pair>,
    /// Entries that were not understood; their line is 0, one JSON value has no lines.
    pub bad: Vec<BadRow>,
}

type Alone = BTreeMap<String, BTreeMap<(String, u32), f64>>;

/// Reads the file.
///
/// # Errors
/// When it is not one JSON object, or breaks off.
pub fn read(input: impl Read) -> Result<Gavel, BadRowReason> {
    let not_json = |why: serde_json::Error| BadRowReason::NotJson(excerpt(&why.to_string()));
    let devices: BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>> =
        serde_json::from_reader(input).map_err(not_json)?;
    let mut gavel = Gavel::default();
    let mut alone: Alone = BTreeMap::new();
    // Beside each device stands the same one with tasks spread over nodes.
    let together = || devices.iter().filter(|(device, _)| !device.ends_with("_unconsolidated"));
    for (device, jobs) in together() {
        for (key, speeds) in jobs {
            match (read_key(key), speeds.get("null").and_then(Value::as_f64)) {
                (Some((name, scale)), Some(speed)) => {
                    alone.entry(name).or_default().insert((device.to_owned(), scale), speed);
                }
                _ => gavel.bad.push(bad(key)),
            }
        }
    }
    for (device, jobs) in together() {
        for (key, speeds) in jobs {
            pairs_of(device, key, speeds, &alone, &mut gavel);
        }
    }
    gavel.profiles = alone.into_iter().map(|(name, speeds)| profile(name, &speeds)).collect();
    Ok(gavel)
}

fn bad(key: &str) -> BadRow {
    BadRow { line: 0, reason: BadRowReason::NotJson(format!("no speed of {}", excerpt(key))) }
}

/// `('ResNet-18 (batch size 16)', 1)`.
fn read_key(key: &str) -> Option<(String, u32)> {
    let inner = key.strip_prefix("('")?.strip_suffix(')')?;
    let (name, scale) = inner.rsplit_once("', ")?;
    Some((name.to_owned(), scale.trim().parse().ok()?))
}

/// Pairs of two jobs of one device each; every pair is in the file twice, the first is taken.
fn pairs_of(device: &str, key: &str, speeds: &BTreeMap<String, Value>, alone: &Alone, gavel: &mut Gavel) {
    let Some((first, 1)) = read_key(key) else { return };
    let of = |name: &str| alone.get(name).and_then(|speeds| speeds.get(&(device.to_owned(), 1))).copied();
    for (other, both) in speeds.iter().filter(|(other, _)| *other != "null") {
        let Some((second, scale)) = read_key(other) else {
            gavel.bad.push(bad(other));
            continue;
        };
        if scale != 1 || second < first {
            continue;
        }
        let speed = |at: usize| both.get(at).and_then(Value::as_f64);
        let (Some(one), Some(two)) = (speed(0), speed(1)) else {
            gavel.bad.push(bad(other));
            continue;
        };
        gavel.pairs.push(Pair {
            device: device.to_owned(),
            first_milli: of(&first).map_or(0, |alone| milli(one, alone)),
            second_milli: of(&second).map_or(0, |alone| milli(two, alone)),
            first: first.clone(),
            second,
            device_busy: 0,
            memory_busy: 0,
            memory: 0,
        });
    }
}

fn profile(name: String, speeds: &BTreeMap<(String, u32), f64>) -> Profile {
    let single = speeds.iter().filter(|((_, scale), _)| *scale == 1);
    let best = single
        .clone()
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|((device, _), speed)| (device.clone(), *speed));
    let Some((reference, fastest)) = best else { return Profile { name, ..Profile::default() } };
    let scaling = speeds.iter().filter(|((device, _), speed)| *device == reference && **speed > 0.0);
    Profile {
        name,
        speed: Speed {
            models: single.map(|((device, _), &speed)| (device.clone(), milli(speed, fastest))).collect(),
            ranks: scaling.map(|((_, scale), &speed)| (*scale, milli(speed, fastest))).collect(),
        },
        ..Profile::default()
    }
}
