//! OpenCL devices, and whether shares of them can be kept.
//!
//! Drivers may hang or crash, so they are asked by a program of its own, `pond-opencl-list`, that stands beside this one or
//! in `../lib/pond`. So does the library that keeps shares; without it devices are granted whole.
//!
//! A device that is the machine's own CPU would give out CPU and memory twice: such a one is offered only when
//! `POND_OPENCL_CPU=1` says so, for trying out what shares do. For the same reason an OpenCL GPU is shown and never
//! granted where a GPU is granted already as what the bus says it is.

use pond_core::model::{Device, DeviceKind, ShareMode, Traits};
use pond_core::units::Bytes;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long drivers may take to say what they have.
const PATIENCE: Duration = Duration::from_secs(20);

/// The library that stands before drivers inside tasks.
pub(crate) const LIBRARY: &str = "libpond_opencl.so";

/// What OpenCL devices are called here: `opencl:` and the device's number in the words of a share.
const PREFIX: &str = "opencl:";

/// A file that belongs to this program.
pub(crate) fn companion(name: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    // Below `deps` when this is a test.
    let places = [folder.to_owned(), folder.join("../lib/pond"), folder.join("..")];
    places.into_iter().map(|place| place.join(name)).find(|path| path.is_file())
}

/// The device's number in the words of a share; `None` for a device of another kind.
pub(crate) fn number(device: &Device) -> Option<u64> {
    device.uuid.strip_prefix(PREFIX)?.parse().ok()
}

/// What goes with the OpenCL devices of a machine.
#[derive(Clone, Copy)]
struct Around {
    /// The machine's own CPU counts as one.
    with_cpu: bool,
    /// Shares can be kept.
    shared: bool,
    /// GPUs are granted already.
    gpus: bool,
}

/// The OpenCL devices of this machine, beside those found otherwise.
pub(super) fn devices(others: &[Device]) -> Vec<Device> {
    let Some(program) = companion("pond-opencl-list") else { return Vec::new() };
    let with_cpu = std::env::var_os("POND_OPENCL_CPU").is_some_and(|value| value == "1");
    let Some(said) = output(&program) else { return Vec::new() };
    let gpus = others.iter().any(|device| device.kind == DeviceKind::Gpu && !device.modes.is_empty());
    parse(&said, Around { with_cpu, shared: companion(LIBRARY).is_some(), gpus })
}

/// The numbers of the devices that drivers list now; `None` when they do not answer.
pub(crate) fn present() -> Option<Vec<u64>> {
    let said = output(&companion("pond-opencl-list")?)?;
    Some(said.lines().filter_map(|line| line.split('\t').next()?.parse().ok()).collect())
}

/// What it prints, if it ends in time.
fn output(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let end = Instant::now() + PATIENCE;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() > end {
            crate::tolerate(child.kill());
            crate::tolerate(child.wait());
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Lines of `number, bytes, type, name`, apart by tabs.
fn parse(said: &str, around: Around) -> Vec<Device> {
    let device = |line: &str| {
        let mut fields = line.splitn(4, '\t');
        let number: u64 = fields.next()?.parse().ok()?;
        let memory: u64 = fields.next()?.parse().ok()?;
        let kind = fields.next()?;
        let model = fields.next()?.trim();
        let own_cpu = kind.eq_ignore_ascii_case("cpu");
        let modes = match (around.gpus && kind.eq_ignore_ascii_case("gpu"), around.shared) {
            (true, _) => Vec::new(),
            (false, true) => vec![ShareMode::Exclusive, ShareMode::Time],
            (false, false) => vec![ShareMode::Exclusive, ShareMode::Advisory],
        };
        (around.with_cpu || !own_cpu).then(|| Device {
            uuid: format!("{PREFIX}{number}"),
            kind: DeviceKind::OpenCl,
            model: model.to_owned(),
            memory: Bytes(memory),
            modes,
            numa: None,
            files: Vec::new(),
            traits: Traits { measured: around.shared, ..Traits::default() },
        })
    };
    said.lines().filter_map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_cpu_is_no_device_unless_asked_for() {
        let said = "0\t1000\tcpu\tpthread\n4294967296\t8000\tgpu\tArc A770\nnonsense\n";
        let all = parse(said, Around { with_cpu: true, shared: true, gpus: false });
        assert_eq!(all.iter().map(number).collect::<Vec<_>>(), [Some(0), Some(1 << 32)]);
        assert_eq!(all[0].modes, [ShareMode::Exclusive, ShareMode::Time]);
        let real = parse(said, Around { with_cpu: false, shared: false, gpus: false });
        assert_eq!(real.iter().map(|device| device.model.as_str()).collect::<Vec<_>>(), ["Arc A770"]);
        assert_eq!(real[0].modes, [ShareMode::Exclusive, ShareMode::Advisory]);
        let twice = parse(said, Around { with_cpu: false, shared: true, gpus: true });
        assert!(twice[0].modes.is_empty(), "granted as a GPU already");
    }
}
