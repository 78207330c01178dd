//! Layouts of devices whose makers have published them: for simulations, and for drivers that do not say.
//!
//! NVIDIA: profiles and placements of its MIG user guide (chapter "Supported MIG Profiles"), memory and multiprocessors as
//! `nvidia-smi mig -lgip` prints them on such a machine. A driver's own list differs by its version in the last MiB.
//! H200: memory of a part is its part of the device, what the driver keeps not taken off; multiprocessors as those of the H100, whose chip it has.
//!
//! AMD: compute modes that the kernel's driver takes in each memory mode (`aqua_vanjaram.c`, the check of a mode), parts equal.

use super::{Layout, Profile};
use crate::units::{Bytes, Thousandths};

const MIB: u64 = 1 << 20;

/// Name, memory slices, starts, MiB (0: its part of the device, and never more than that), multiprocessors.
type Row = (&'static str, u8, &'static [u8], u64, u32);

const SINGLE: &[u8] = &[0, 1, 2, 3, 4, 5, 6];
const DOUBLE: &[u8] = &[0, 2, 4, 6];
const TWO: &[u8] = &[0, 2, 4];
const HALF: &[u8] = &[0, 4];
const FIRST: &[u8] = &[0];

const A30: &[Row] = &[
    ("1g.6gb", 1, &[0, 1, 2, 3], 5952, 14),
    ("1g.6gb+me", 1, &[0, 1, 2, 3], 5952, 14),
    ("2g.12gb", 2, &[0, 2], 11_968, 28),
    ("2g.12gb+me", 2, &[0, 2], 11_968, 28),
    ("4g.24gb", 4, FIRST, 24_000, 56),
];
const A100_40: &[Row] = &[
    ("1g.5gb", 1, SINGLE, 4864, 14),
    ("1g.5gb+me", 1, SINGLE, 4864, 14),
    ("1g.10gb", 2, DOUBLE, 9856, 14),
    ("2g.10gb", 2, TWO, 9856, 28),
    ("3g.20gb", 4, HALF, 19_968, 42),
    ("4g.20gb", 4, FIRST, 19_968, 56),
    ("7g.40gb", 8, FIRST, 40_192, 98),
];
const A100_80: &[Row] = &[
    ("1g.10gb", 1, SINGLE, 9728, 14),
    ("1g.10gb+me", 1, SINGLE, 9728, 14),
    ("1g.20gb", 2, DOUBLE, 19_968, 14),
    ("2g.20gb", 2, TWO, 19_968, 28),
    ("3g.40gb", 4, HALF, 40_448, 42),
    ("4g.40gb", 4, FIRST, 40_448, 56),
    ("7g.80gb", 8, FIRST, 80_896, 98),
];
const H100_80: &[Row] = &[
    ("1g.10gb", 1, SINGLE, 9984, 16),
    ("1g.10gb+me", 1, SINGLE, 9984, 16),
    ("1g.20gb", 2, DOUBLE, 20_096, 26),
    ("2g.20gb", 2, TWO, 20_096, 32),
    ("3g.40gb", 4, HALF, 40_448, 60),
    ("4g.40gb", 4, FIRST, 40_448, 64),
    ("7g.80gb", 8, FIRST, 81_152, 132),
];
const H200_141: &[Row] = &[
    ("1g.18gb", 1, SINGLE, 0, 16),
    ("1g.18gb+me", 1, SINGLE, 0, 16),
    ("1g.35gb", 2, DOUBLE, 0, 26),
    ("2g.35gb", 2, TWO, 0, 32),
    ("3g.71gb", 4, HALF, 0, 60),
    ("4g.71gb", 4, FIRST, 0, 64),
    ("7g.141gb", 8, FIRST, 0, 132),
];

/// A word of the model's name, least and most memory in GB, memory slices, profiles.
const NVIDIA: [(&str, u64, u64, u8, &[Row]); 5] = [
    ("a30", 24, 27, 4, A30),
    ("a100", 40, 45, 8, A100_40),
    ("a100", 80, 90, 8, A100_80),
    ("h100", 80, 90, 8, H100_80),
    ("h200", 140, 160, 8, H200_141),
];

/// Partitions of a mode and the memory modes it goes with.
type Modes = &'static [(&'static str, u8, &'static [u8])];

const EIGHT_DIES: Modes =
    &[("spx", 1, &[1]), ("dpx", 2, &[1, 2, 4]), ("qpx", 4, &[1, 4]), ("cpx", 8, &[1, 4])];
const SIX_DIES: Modes = &[("spx", 1, &[1]), ("tpx", 3, &[1]), ("cpx", 6, &[1])];

/// A word of the model's name, compute dies, modes.
const AMD: [(&str, u8, Modes); 3] =
    [("mi300x", 8, EIGHT_DIES), ("mi325x", 8, EIGHT_DIES), ("mi300a", 6, SIX_DIES)];

/// The layout of a model with this much memory, when it is known.
#[must_use]
pub fn layout(model: &str, memory: Bytes) -> Option<Layout> {
    let gigabytes = memory.0 / 1_000_000_000;
    let has = |word: &str| crate::plan::model_matches(Some(word), model);
    if let Some((_, _, _, slices, rows)) =
        NVIDIA.iter().find(|(word, least, most, _, _)| has(word) && (*least..*most).contains(&gigabytes))
    {
        return Some(mig(*slices, rows, memory));
    }
    AMD.iter().find(|(word, _, _)| has(word)).map(|(_, dies, modes)| instinct(*dies, modes, memory))
}

fn mig(slices: u8, rows: &[Row], device: Bytes) -> Layout {
    let largest = rows.iter().map(|row| row.4).max().unwrap_or(1);
    let profile = |(name, size, starts, mib, multiprocessors): &Row| Profile {
        name: (*name).to_owned(),
        size: *size,
        starts: starts.to_vec(),
        memory: {
            let part = device.0 / u64::from(slices) * u64::from(*size);
            Bytes(if *mib == 0 { part } else { part.min(mib * MIB) })
        },
        multiprocessors: *multiprocessors,
        compute: Thousandths(u64::from(*multiprocessors) * 1000 / u64::from(largest)),
        media: name.ends_with("+me"),
    };
    Layout { slices, profiles: rows.iter().map(profile).collect(), uniform: false }
}

fn instinct(dies: u8, modes: Modes, device: Bytes) -> Layout {
    let profile = |mode: &str, parts: u8, regions: u8| Profile {
        name: format!("{mode}-nps{regions}"),
        size: dies / parts,
        starts: (0..parts).map(|part| part * (dies / parts)).collect(),
        memory: Bytes(device.0 / u64::from(parts)),
        multiprocessors: 0,
        compute: Thousandths(1000 / u64::from(parts)),
        media: false,
    };
    let profiles = modes.iter().flat_map(|(mode, parts, regions)| {
        regions.iter().map(move |regions| profile(mode, *parts, *regions))
    });
    Layout { slices: dies, profiles: profiles.collect(), uniform: true }
}
