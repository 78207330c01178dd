//! `pair_interference.csv` (Hu et al., "Lucid", ASPLOS 2023): pairs of training jobs on one RTX 3090.

use super::Pair;
use crate::trace::table::{Row, Style, read};
use crate::trace::{BadRowReason, Reading};
use std::io::Read;

/// Columns `model1, dataset1, batchsize1, amp1, speed1`, the same with 2, `gpu_util, gmem_util` in percent and `gmem` in MiB.
pub fn pairs(input: impl Read) -> Reading<Pair> {
    read(input, Style::CSV, |row| {
        let first = name(row, [&["model1"], &["dataset1"], &["batchsize1"], &["amp1"]])?;
        let second = name(row, [&["model2"], &["dataset2"], &["batchsize2"], &["amp2"]])?;
        Ok(Pair {
            device: "RTX 3090".to_owned(),
            first,
            second,
            first_milli: row.thousandths(&["speed1"])?,
            second_milli: row.thousandths(&["speed2"])?,
            device_busy: row.thousandths(&["gpu_util"])? / 100,
            memory_busy: row.thousandths(&["gmem_util"])? / 100,
            memory: row.number(&["gmem"])?.saturating_mul(1 << 20),
        })
    })
}

/// `ResNet18 CIFAR-10 32`, with `amp` behind it for mixed precision.
fn name(row: &Row, columns: [&'static [&'static str]; 4]) -> Result<String, BadRowReason> {
    let [model, dataset, batch, amp] = columns;
    let mixed = if row.text(amp)? == "1" { " amp" } else { "" };
    Ok(format!("{} {} {}{mixed}", row.text(model)?, row.text(dataset)?, row.text(batch)?))
}
