//! A task's counters: opened once, read again and again.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A task's counters, held open.
#[derive(Debug)]
pub struct Meters {
    pub(super) cpu: Option<File>,
    pub(super) throttle: Option<File>,
    pub(super) memory: Option<File>,
    pub(super) memory_stat: Option<File>,
    pub(super) pids: Option<File>,
    pub(super) io_v1: Option<File>,
    pub(super) io_v2: Option<File>,
}

/// One reading of [`Meters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// CPU time since the start, microseconds.
    pub cpu_us: u64,
    /// Time throttled since the start, microseconds.
    pub throttled_us: u64,
    /// Memory without cache that can be dropped, bytes.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Bytes to and from block devices since the start.
    pub io: u64,
}

impl Meters {
    /// Reads all counters; `None` once the group is gone.
    #[must_use]
    pub fn read(&self) -> Option<Reading> {
        let cpu = again(self.cpu.as_ref()?)?;
        let throttle = self.throttle.as_ref().and_then(again);
        let throttled_us = match &throttle {
            Some(text) => field(text, "throttled_time") / 1000,
            None => field(&cpu, "throttled_usec"),
        };
        let memory: u64 = number(self.memory.as_ref());
        let cache = self.memory_stat.as_ref().and_then(again).unwrap_or_default();
        let droppable = match field(&cache, "total_inactive_file") {
            0 => field(&cache, "inactive_file"),
            bytes => bytes,
        };
        Some(Reading {
            cpu_us: field(&cpu, "usage_usec"),
            throttled_us,
            memory: memory.saturating_sub(droppable),
            pids: u32::try_from(number(self.pids.as_ref())).unwrap_or(u32::MAX),
            io: self.io(),
        })
    }

    fn io(&self) -> u64 {
        if let Some(text) = self.io_v1.as_ref().and_then(again) {
            return field(&text, "Total");
        }
        let text = self.io_v2.as_ref().and_then(again).unwrap_or_default();
        text.split_ascii_whitespace()
            .filter_map(|part| part.strip_prefix("rbytes=").or(part.strip_prefix("wbytes=")))
            .filter_map(|number| number.parse::<u64>().ok())
            .sum()
    }
}

/// Reads a held file from its start.
fn again(file: &File) -> Option<String> {
    let mut buffer = [0_u8; 4096];
    let len = file.read_at(&mut buffer, 0).ok()?;
    String::from_utf8(buffer[..len].to_vec()).ok()
}

fn number(file: Option<&File>) -> u64 {
    file.and_then(again).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The value of `name value` on a line of its own; 0 when it is not there.
pub(super) fn field(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok()).unwrap_or(0)
}
