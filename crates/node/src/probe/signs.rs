//! How the devices of this machine are: each is asked in the way that found it.

use super::listed::Listed;
use super::{devices, opencl};
use pond_core::event::Sign;
use pond_core::model::Device;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a listed device's own probe may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A sign of each device that can be asked, by ordinal, with words for people.
pub(crate) fn signs(all: &[Device], listed: &[Listed]) -> Vec<(u32, Sign, String)> {
    let numbers = all.iter().any(|device| opencl::number(device).is_some()).then(opencl::present);
    let mut found = Vec::new();
    for (device, at) in all.iter().zip(0_u32..) {
        let (sign, words) =
            match (opencl::number(device), listed.iter().find(|it| it.device.uuid == device.uuid)) {
                (Some(number), _) => match &numbers {
                    Some(Some(present)) if present.contains(&number) => (Sign::Well, String::new()),
                    Some(Some(_)) => (Sign::Trouble, "its OpenCL driver does not list it".to_owned()),
                    _ => (Sign::Trouble, "the OpenCL drivers do not answer".to_owned()),
                },
                (None, Some(listed)) => of_listed(listed),
                (None, None) => match on_bus(&device.uuid, devices::SYS.as_ref()) {
                    Some(sign) => sign,
                    None => continue,
                },
            };
        found.push((at, sign, words));
    }
    found
}

/// A device that the bus scan named by its address; `None` for other names.
fn on_bus(address: &str, sys: &Path) -> Option<(Sign, String)> {
    let folder = super::joined::is_address(address).then(|| sys.join("bus/pci/devices").join(address))?;
    let vendor = std::fs::read_to_string(folder.join("vendor")).unwrap_or_default();
    Some(match vendor.trim() {
        // What a device that does not answer reads as.
        "" | "0xffff" => (Sign::Fatal, "it fell off the bus".to_owned()),
        _ => (Sign::Well, String::new()),
    })
}

fn of_listed(listed: &Listed) -> (Sign, String) {
    let missing = listed.device.files.iter().find(|file| !Path::new(file).exists());
    if let Some(file) = missing {
        return (Sign::Fatal, format!("{file} is not there"));
    }
    let Some((program, arguments)) = listed.probe.split_first() else { return (Sign::Well, String::new()) };
    match code(program, arguments) {
        Some(0) => (Sign::Well, String::new()),
        Some(1) => (Sign::Trouble, format!("{program} says that something is wrong with it")),
        Some(code) => (Sign::Fatal, format!("{program} says that it cannot work (code {code})")),
        None => (Sign::Trouble, format!("{program} cannot be run, or does not end")),
    }
}

fn code(program: &str, arguments: &[String]) -> Option<i32> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().ok()? {
            return status.code();
        }
        if Instant::now() > end {
            crate::tolerate(child.kill());
            crate::tolerate(child.wait());
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_on_the_bus_is_well_or_gone() {
        let sys = tempfile::tempdir().expect("a folder");
        let folder = sys.path().join("bus/pci/devices/0000:17:00.0");
        std::fs::create_dir_all(&folder).expect("made");
        let look = || on_bus("0000:17:00.0", sys.path()).map(|(sign, _)| sign);
        assert_eq!(look(), Some(Sign::Fatal));
        for (vendor, sign) in [("0x1002\n", Sign::Well), ("0xffff\n", Sign::Fatal)] {
            std::fs::write(folder.join("vendor"), vendor).expect("written");
            assert_eq!(look(), Some(sign));
        }
        assert_eq!(on_bus("GPU-2f9c", sys.path()), None);
    }
}
