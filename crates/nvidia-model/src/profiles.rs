//! What can be cut, and into what.
//!
//! Names, numbers, placements, memory and multiprocessors are those that NVIDIA's MIG user guide and `nvidia-smi mig -lgip`
//! print of an A100 with 40 GB and an H100 with 80 GB, written down here a second time: nothing of the node's tables is read.

/// A profile as the driver has it.
pub struct Row {
    /// NVML's number of the sort of profile.
    pub sort: u32,
    /// The driver's number of it.
    pub id: u32,
    pub name: &'static str,
    /// Compute slices, memory slices.
    pub slices: (u32, u32),
    pub starts: &'static [u32],
    /// Most instances at a time.
    pub most: u32,
    pub mib: u64,
    pub processors: u32,
}

/// Sorts that have the media engines.
pub const MEDIA_SORT: u32 = 7;

const fn row(sort: u32, id: u32, name: &'static str, slices: (u32, u32), starts: &'static [u32]) -> Row {
    let most = if sort == MEDIA_SORT { 1 } else { starts.len() as u32 };
    Row { sort, id, name, slices, starts, most, mib: 0, processors: 0 }
}

impl Row {
    const fn has(self, mib: u64, processors: u32) -> Self {
        Self { mib, processors, ..self }
    }
}

const SEVEN: &[u32] = &[0, 1, 2, 3, 4, 5, 6];

const A100: [Row; 7] = [
    row(0, 19, "MIG 1g.5gb", (1, 1), SEVEN).has(4864, 14),
    row(7, 20, "MIG 1g.5gb+me", (1, 1), SEVEN).has(4864, 14),
    row(9, 15, "MIG 1g.10gb", (1, 2), &[0, 2, 4, 6]).has(9856, 14),
    row(1, 14, "MIG 2g.10gb", (2, 2), &[0, 2, 4]).has(9856, 28),
    row(2, 9, "MIG 3g.20gb", (3, 4), &[0, 4]).has(19_968, 42),
    row(3, 5, "MIG 4g.20gb", (4, 4), &[0]).has(19_968, 56),
    row(4, 0, "MIG 7g.40gb", (7, 8), &[0]).has(40_192, 98),
];

const H100: [Row; 7] = [
    row(0, 19, "MIG 1g.10gb", (1, 1), SEVEN).has(9984, 16),
    row(7, 20, "MIG 1g.10gb+me", (1, 1), SEVEN).has(9984, 16),
    row(9, 15, "MIG 1g.20gb", (1, 2), &[0, 2, 4, 6]).has(20_096, 26),
    row(1, 14, "MIG 2g.20gb", (2, 2), &[0, 2, 4]).has(20_096, 32),
    row(2, 9, "MIG 3g.40gb", (3, 4), &[0, 4]).has(40_448, 60),
    row(3, 5, "MIG 4g.40gb", (4, 4), &[0]).has(40_448, 64),
    row(4, 0, "MIG 7g.80gb", (7, 8), &[0]).has(81_152, 132),
];

/// What a device can be.
pub struct Model {
    pub name: &'static str,
    pub mib: u64,
    pub processors: u64,
    pub rows: &'static [Row],
}

pub const MODELS: [Model; 2] = [
    Model { name: "NVIDIA A100-SXM4-40GB", mib: 40_960, processors: 108, rows: &A100 },
    Model { name: "NVIDIA H100 80GB HBM3", mib: 81_559, processors: 132, rows: &H100 },
];

/// Sorts of compute instances by their slices, those of the whole instance alone.
pub const COMPUTE_SORTS: [(u32, u32); 5] = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 7)];
