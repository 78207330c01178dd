//! Programs that tests use, and where Debian keeps them.

use crate::shell;
use std::path::Path;
use std::process::Command;

struct Need {
    program: &'static str,
    package: &'static str,
    untested: &'static str,
}

const NEEDS: [Need; 14] = [
    Need { program: "nft", package: "nftables", untested: "container networks: names, ports, isolation" },
    Need { program: "ip", package: "iproute2", untested: "container networks" },
    Need { program: "mkfs.ext4", package: "e2fsprogs", untested: "disk limits of containers" },
    Need { program: "losetup", package: "mount", untested: "disk limits of containers" },
    Need { program: "python3", package: "python3", untested: "the training examples" },
    Need {
        program: "clinfo",
        package: "clinfo pocl-opencl-icd ocl-icd-libopencl1 opencl-headers",
        untested: "shares of OpenCL devices",
    },
    Need {
        program: "oclgrind",
        package: "oclgrind",
        untested: "shares of OpenCL devices on a second driver",
    },
    Need {
        program: "torchrun",
        package: "python3-torch",
        untested: "torchrun with gloo over two containers",
    },
    Need { program: "chromium", package: "chromium", untested: "the web page in a browser" },
    Need { program: "notify-send", package: "libnotify-bin", untested: "messages on the desktop" },
    Need { program: "dbus-daemon", package: "dbus-daemon", untested: "messages on the desktop" },
    Need { program: "promtool", package: "prometheus", untested: "alert rules and names of metrics" },
    Need { program: "crun", package: "crun", untested: "nothing; the bench loses a row" },
    Need { program: "bwrap", package: "bubblewrap", untested: "nothing; the bench loses a row" },
];

/// Installs what is missing when that is possible, and says what stays untested when it is not.
pub fn provide() {
    let missing = || NEEDS.iter().filter(|need| !shell::has(need.program));
    let wanted: Vec<&str> = missing().flat_map(|need| need.package.split(' ')).collect();
    if wanted.is_empty() {
        return;
    }
    install(&wanted);
    for need in missing() {
        println!(
            "missing: {} (Debian package {}); left untested: {}",
            need.program, need.package, need.untested
        );
    }
}

/// Installs Debian packages when that is possible.
pub fn install(packages: &[&str]) {
    if is_root() && shell::has("apt-get") {
        println!("installing from apt: {}", packages.join(" "));
        apt(&["update", "-qq"]);
        apt(&[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat());
    }
}

/// A Python that tests run programs in.
struct Python {
    /// Its folder below the target folder.
    folder: &'static str,
    /// From PyPI: versions whose output was looked at.
    packages: &'static [&'static str],
    /// Without this program there is no use for it.
    wants: &'static str,
    /// Too large for every run: fetched where [`MORE`] is set.
    large: bool,
    untested: &'static str,
}

/// Set, the largest things that tests can do without are fetched as well.
const MORE: &str = "POND_MORE_DRIVERS";

const PYTHONS: [Python; 3] = [
    Python {
        folder: "opencl-python",
        packages: &["pyopencl==2026.1.4", "tinygrad==0.14.0", "numpy"],
        wants: "clinfo",
        large: false,
        untested: "OpenCL shares with Python's clients",
    },
    // No client but a driver: 280 MB to fetch, 830 MB on disk.
    Python {
        folder: "intel-python",
        packages: &["intel-opencl-rt==2026.2.0", "intel-cmplr-lib-rt==2026.2.0"],
        wants: "clinfo",
        large: true,
        untested: "OpenCL shares on Intel's driver",
    },
    Python {
        folder: "nvidia-python",
        packages: &[
            "cuda-bindings==13.5.0",
            "nvidia-ml-py==13.615.71",
            "nvidia-cuda-runtime==13.5.37",
            "nvidia-cuda-runtime-cu12==12.9.79",
            "nvidia-nvml-dev==13.5.37",
        ],
        wants: "python3",
        large: false,
        untested: "GPU shares with NVIDIA's own packages: bindings, runtimes of two versions, headers",
    },
];

/// Makes the Pythons in which tests run programs, below the target folder.
pub fn provide_pythons(root: &Path) {
    PYTHONS.iter().for_each(|python| python.provide(root));
}

impl Python {
    fn provide(&self, root: &Path) {
        let place = root.join("target").join(self.folder);
        if place.join("complete").exists() || !shell::has("python3") || !shell::has(self.wants) {
            return;
        }
        if self.large && std::env::var_os(MORE).is_none() {
            return;
        }
        println!("installing from PyPI: {}", self.packages.join(" "));
        let made = Command::new("python3").args(["-m", "venv"]).arg(&place).status();
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let python = place.join("bin/python");
        let installed = made.and_then(|_| Command::new(&python).args(install).args(self.packages).status());
        match installed {
            Ok(status) if status.success() => _ = std::fs::write(place.join("complete"), ""),
            _ => println!("missing: {} (PyPI); left untested: {}", self.packages.join(" "), self.untested),
        }
    }
}

fn apt(arguments: &[&str]) {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(std::process::Stdio::null());
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => println!("apt-get {} ended with {status}", arguments.join(" ")),
        Err(error) => println!("apt-get cannot be run: {error}"),
    }
}

/// Whether this process may do what only root may.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    effective.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}
