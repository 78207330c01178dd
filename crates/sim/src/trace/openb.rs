//! The openb trace: nodes and pods of a GPU cluster (Weng et al., "Beware of Fragmentation", ATC 2023).

use super::table::{Row, read};
use super::{BadRowReason, Reading};
use std::io::Read;

/// A machine of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenbNode {
    /// Its serial name.
    pub name: String,
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// GPUs, all of one model.
    pub gpus: u32,
    /// The model; empty without a GPU.
    pub model: String,
}

/// A pod of the trace. Times are left out: the packing experiment has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenbPod {
    /// Its name.
    pub name: String,
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// GPUs.
    pub gpus: u32,
    /// Thousandths of each GPU: 1000 is exclusive.
    pub gpu_milli: u32,
    /// GPU models it accepts; empty: any.
    pub models: Vec<String>,
}

/// Columns `sn, cpu_milli, memory_mib, gpu, model`.
pub fn nodes(input: impl Read) -> Reading<OpenbNode> {
    read(input, |row| {
        Ok(OpenbNode {
            name: row.text("sn")?.to_owned(),
            cpu_milli: row.number("cpu_milli")?,
            memory_mib: row.number("memory_mib")?,
            gpus: row.small("gpu")?,
            model: row.text("model")?.to_owned(),
        })
    })
}

/// Columns `name, cpu_milli, memory_mib, num_gpu, gpu_milli` and, where there is one, `gpu_spec` (`A|B`).
pub fn pods(input: impl Read) -> Reading<OpenbPod> {
    read(input, |row| {
        Ok(OpenbPod {
            name: row.text("name")?.to_owned(),
            cpu_milli: row.number("cpu_milli")?,
            memory_mib: row.number("memory_mib")?,
            gpus: row.small("num_gpu")?,
            gpu_milli: thousandths(row)?,
            models: row
                .optional("gpu_spec")
                .split('|')
                .filter(|model| !model.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    })
}

fn thousandths(row: &Row) -> Result<u32, BadRowReason> {
    let value = row.small("gpu_milli")?;
    if value <= 1000 {
        return Ok(value);
    }
    Err(BadRowReason::Malformed {
        column: "gpu_milli",
        text: value.to_string(),
        wanted: "a share from 0 to 1000 thousandths",
    })
}
