//! `cargo xtask v2`: tests on machines that have only version 2 of control groups: those of `pond-node` as root, and the
//! page of a user without root to whom systemd hands control groups over.
//!
//! The machines are virtual: Debian's kernel on an emulated processor, this machine's root read-only under a layer in
//! memory, and one disk for the tests' folders. Nothing outside the target folder is written.

use crate::error::Error;
use crate::shell;
use crate::testing::packages;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const INIT: &str = include_str!("init.sh");
/// Beside the first process: for systemd's machine only.
const SERVICE: &str = include_str!("tests.service");
/// What the first process loads before it can see the root; the rest comes by itself.
const MODULES: [&str; 4] = ["overlay", "virtio_pci", "9pnet_virtio", "9p"];
/// Size of the tests' disk, which takes no room until it is written.
const DISK: u64 = 4 << 30;

/// A machine: what it runs and as whom.
struct Machine {
    /// Its tests' package.
    package: &'static str,
    /// The script that runs them.
    tests: &'static str,
    /// Who runs them where systemd is the first process; nobody: root, and there is no systemd.
    tester: &'static str,
    /// Further words for its kernel.
    kernel: &'static str,
}

const MACHINES: [Machine; 2] = [
    Machine { package: "pond-node", tests: include_str!("tests.sh"), tester: "", kernel: "" },
    Machine {
        package: "pond-e2e",
        tests: include_str!("user.sh"),
        tester: "tester",
        kernel: " fstab=no systemd.mask=postgresql.service systemd.mask=prometheus.service",
    },
];

/// Runs the tests whose program's names contain `filter` (`scenarios` for the page); fails when one of them does.
///
/// # Errors
/// Something is missing, cannot be built or cannot be started.
pub fn command(root: &Path, filter: Option<&str>) -> Result<ExitCode, Error> {
    packages::install(&[
        "qemu-system-x86",
        "busybox-static",
        "cpio",
        "e2fsprogs",
        "systemd",
        "libpam-systemd",
        "dbus-user-session",
    ]);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let place = target.join("v2");
    let scratch = target.join("tmp");
    let make = |dir: &Path| std::fs::create_dir_all(dir).map_err(|source| file("make", dir, source));
    make(&place)?;
    make(&scratch)?;
    let image = kernel(&place)?;
    let mut passed = true;
    for machine in MACHINES {
        let programs = machine.programs(root, filter)?;
        if !programs.is_empty() {
            passed &= machine.run(root, &place, &image, &scratch, &programs)? == Some(0);
        }
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Machine {
    /// The test programs, built.
    fn programs(&self, root: &Path, filter: Option<&str>) -> Result<Vec<String>, Error> {
        let build = ["build", "--locked", "--quiet", "--package", "pond"];
        shell::output(root, "cargo", &build)?;
        let arguments =
            ["test", "--locked", "--no-run", "--package", self.package, "--message-format", "json"];
        let said = shell::output(root, "cargo", &arguments)?;
        let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let tests = messages.filter(|message| message["profile"]["test"] == true);
        let only = if self.tester.is_empty() { "" } else { "scenarios" };
        let wanted = |message: &serde_json::Value| {
            let name = message["target"]["name"].as_str().unwrap_or_default();
            name.contains(filter.unwrap_or_default()) && name.contains(only)
        };
        Ok(tests
            .filter(wanted)
            .filter_map(|message| message["executable"].as_str().map(str::to_owned))
            .collect())
    }

    /// How many of these programs failed, or `None` when it did not say.
    fn run(
        &self,
        root: &Path,
        place: &Path,
        image: &Path,
        scratch: &Path,
        programs: &[String],
    ) -> Result<Option<u32>, Error> {
        let modules = image.join("lib/modules");
        let version = only_entry(&modules)?;
        let kernel_modules = load_order(&modules.join(&version))?;
        let settings = format!(
            "MODULES='{}'\nIMAGE='{}'\nSCRATCH='{}'\nCRATE='{}'\nPROGRAMS='{}'\nTESTER='{}'\n",
            kernel_modules.iter().map(|name| format!("{version}/{name}")).collect::<Vec<_>>().join(" "),
            image.display(),
            scratch.display(),
            root.join(if self.tester.is_empty() { "crates/node" } else { "tests" }).display(),
            programs.join(" "),
            self.tester,
        );
        let scripts = [
            ("init", INIT),
            ("tests", self.tests),
            ("tests.service", SERVICE),
            ("settings", settings.as_str()),
        ];
        let ram = ram_disk(place, &modules.join(&version), &version, &kernel_modules, &scripts)?;
        let disk = place.join("disk");
        std::fs::File::create(&disk)
            .and_then(|file| file.set_len(DISK))
            .map_err(|source| file("write", &disk, source))?;
        shell::output(place, "mkfs.ext4", &["-q", "-F", "disk"])?;
        boot(&image.join(format!("boot/vmlinuz-{version}")), self.kernel, &ram, &disk)
    }
}

fn file(doing: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { doing, path: path.to_owned(), source }
}

/// Debian's kernel, unpacked; the newest one its package index knows.
fn kernel(place: &Path) -> Result<PathBuf, Error> {
    let image = place.join("image");
    if image.join("boot").exists() {
        return Ok(image);
    }
    let depends = shell::output(place, "apt-cache", &["depends", "--important", "linux-image-amd64"])?;
    let name = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).unwrap_or_default();
    shell::output(place, "apt-get", &["download", "-q", name])?;
    let package = std::fs::read_dir(place)
        .map_err(|source| file("read", place, source))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .ok_or_else(|| file("find", &place.join(name), std::io::ErrorKind::NotFound.into()))?;
    shell::output(place, "dpkg", &["-x", &package.display().to_string(), "image"])?;
    let version = only_entry(&image.join("lib/modules"))?;
    shell::output(place, "busybox", &["depmod", "-b", "image", &version])?;
    Ok(image)
}

fn only_entry(dir: &Path) -> Result<String, Error> {
    let mut entries = std::fs::read_dir(dir).map_err(|source| file("read", dir, source))?.flatten();
    let entry = entries.next().ok_or_else(|| file("read", dir, std::io::ErrorKind::NotFound.into()))?;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

/// The files of [`MODULES`] and what they need, each after what it needs.
fn load_order(modules: &Path) -> Result<Vec<String>, Error> {
    let table = shell::read(&modules.join("modules.dep"))?;
    let mut order: Vec<String> = Vec::new();
    for module in MODULES {
        add(&table, &format!("/{module}.ko"), &mut order);
    }
    Ok(order)
}

fn add(table: &str, end: &str, order: &mut Vec<String>) {
    let Some((path, needs)) =
        table.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| path.ends_with(end))
    else {
        return;
    };
    for need in needs.split_whitespace() {
        add(table, need, order);
    }
    if !order.iter().any(|known| known == path) {
        order.push(path.to_owned());
    }
}

/// The first filesystem: busybox, the modules, the scripts.
fn ram_disk(
    place: &Path,
    modules: &Path,
    version: &str,
    files: &[String],
    scripts: &[(&str, &str)],
) -> Result<PathBuf, Error> {
    let ram = place.join("ram");
    let mut script = String::from(
        "set -e; rm -rf ram; mkdir -p ram/bin ram/proc ram/dev ram/lower ram/upper ram/root; \
         cp \"$(command -v busybox)\" ram/bin/busybox\n",
    );
    for path in files {
        let folder = Path::new(version).join(path);
        let folder = folder.parent().unwrap_or(Path::new("")).display();
        _ = writeln!(
            script,
            "mkdir -p 'ram/lib/modules/{folder}'; cp '{}' 'ram/lib/modules/{folder}/'",
            modules.join(path).display()
        );
    }
    shell::output(place, "sh", &["-c", &script])?;
    for (name, text) in scripts {
        let path = ram.join(name);
        std::fs::write(&path, text).map_err(|source| file("write", &path, source))?;
    }
    let pack = "chmod +x ram/init; cd ram; find . | cpio --quiet -o -H newc | gzip -1 > ../ram.gz";
    shell::output(place, "sh", &["-c", pack])?;
    Ok(place.join("ram.gz"))
}

/// Runs the machine to its end and shows what it says; how many programs failed, or `None` when it did not say.
fn boot(kernel: &Path, words: &str, ram: &Path, disk: &Path) -> Result<Option<u32>, Error> {
    let program = || "qemu-system-x86_64".to_owned();
    let mut machine = Command::new("timeout")
        .args(["3600", "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
        .args(["-m", "4096", "-nographic", "-no-reboot", "-nic", "none"])
        .arg("-append")
        .arg(format!("console=ttyS0 quiet panic=-1{words}"))
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(ram)
        .args(["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"])
        .args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host", "-drive"])
        .arg(format!("if=virtio,format=raw,file={}", disk.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| Error::Program { program: program(), source })?;
    let mut failed = None;
    for line in
        machine.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok)
    {
        let line = line.trim_end();
        println!("{line}");
        if let Some(count) = line.strip_prefix("v2: ").and_then(|rest| rest.strip_suffix(" failed")) {
            failed = count.parse().ok();
        }
    }
    machine.wait().map_err(|source| Error::Program { program: program(), source })?;
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_loaded_after_what_they_need() {
        let table = "k/fs/9p.ko: k/net/9pnet.ko k/fs/netfs.ko\nk/net/9pnet.ko:\nk/fs/netfs.ko: k/lib/x.ko\nk/lib/x.ko:\n";
        let mut order = Vec::new();
        add(table, "/9p.ko", &mut order);
        assert_eq!(order, ["k/net/9pnet.ko", "k/lib/x.ko", "k/fs/netfs.ko", "k/fs/9p.ko"]);
    }
}
