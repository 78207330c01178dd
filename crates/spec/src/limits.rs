//! What nobody has: bounds past which an amount is taken for a slip.

use pond_core::units::Bytes;

/// Cores of one task, in thousandths.
pub const CPU_MILLI: u64 = 100_000_000;
/// Memory of one task, in bytes: 1 PB.
pub const MEMORY: u64 = 1_000_000_000_000_000;
/// The least memory of one task: less is a unit that was left out.
pub const LEAST_MEMORY: Bytes = Bytes(500_000);
/// Disk of one task, in bytes: 100 PB.
pub const DISK: u64 = 100 * MEMORY;
/// Devices of one request.
pub const DEVICES: u32 = 1024;
/// A factor of speed, in thousandths: a thousand times as fast.
pub const SPEED: u64 = 1_000_000;
/// Tasks of one gang.
pub const NODES: u32 = 10_000;
/// Tasks of one job: array elements times the largest gang.
pub const TASKS: u64 = 100_000;
/// The highest array index.
pub const INDEX: u32 = 10_000_000;
/// Any span of time, in milliseconds: 10 years.
pub const SPAN_MS: u64 = 10 * 366 * 86_400_000;
/// Processes of one task (the kernel's own bound).
pub const PIDS: u32 = 4_194_304;
/// Attempts.
pub const ATTEMPTS: u32 = 10_000;
/// Characters of a name or a label.
pub const NAME: usize = 128;
/// Bytes of one argument or variable (the kernel's own bound).
pub const ARGUMENT: usize = 128 * 1024 - 1;
/// Entries of a list or map.
pub const ENTRIES: usize = 1000;
/// Bytes of a path.
pub const PATH: usize = 4095;
