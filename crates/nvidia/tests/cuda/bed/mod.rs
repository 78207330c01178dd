//! A folder with a share of the first modelled GPU, and clients that run on it: one in Rust, over the crates `cudarc` and
//! `nvml-wrapper`, and one in Python, over `cuda-bindings` and `nvidia-ml-py`.

#[path = "../../../../shims/tests/bed/client.rs"]
mod client;
mod rust;

pub use client::{Client, skipped};
use pond_nvidia_model::device::Mapped;
use pond_share::{Owner, Terms};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes that the clients allocate in each of the ways that there are.
pub const PIECE: u64 = 8 << 20;
/// Multiprocessors of the modelled GPU.
const PROCESSORS: u64 = 8;
/// What a context is charged for on it.
pub const CONTEXT: u64 = PROCESSORS * (4 << 20);
/// The number of the first modelled GPU in the words of a share.
pub const NUMBER: u64 = u64::from_be_bytes(*b"Aond-mod");

/// A share of a modelled GPU, and what a task sees of it.
pub struct Bed {
    folder: tempfile::TempDir,
    /// Its terms and use.
    pub owner: Owner,
    /// The device.
    pub machine: Mapped,
}

/// A library that was built with the program that tests it.
pub fn library(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    let folders = program.ancestors().skip(1).take(2);
    let found: Vec<PathBuf> = folders
        .flat_map(|folder| [folder.join("deps").join(name), folder.join(name)])
        .filter(|path| path.exists())
        .collect();
    let newest = found.into_iter().max_by_key(|path| path.metadata().and_then(|meta| meta.modified()).ok());
    newest.unwrap_or_else(|| panic!("{name}, built with this program"))
}

/// A Python with NVIDIA's packages, if the test command made one.
pub fn python() -> Option<PathBuf> {
    let asked = std::env::var_os("POND_NVIDIA_PYTHON").map(PathBuf::from);
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/nvidia-python/bin/python");
    let found = asked.or(Some(made)).filter(|path| path.exists());
    if found.is_none() {
        skipped("GPU shares with NVIDIA's Python packages: `cargo xtask test` makes the Python for them");
    }
    found
}

/// One file under the names that clients look for.
fn install(library: &Path, folder: &Path) {
    std::fs::copy(library, folder.join("libcuda.so.1")).expect("copied");
    for name in ["libcuda.so", "libnvidia-ml.so.1", "libnvidia-ml.so"] {
        std::os::unix::fs::symlink("libcuda.so.1", folder.join(name)).expect("linked");
    }
}

impl Bed {
    /// A share of so much memory and time, of a device with 16 GiB.
    pub fn new(memory: u64, thousandths: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path();
        let machine = Mapped::create(&place.join("machine"), &[(16 << 30, PROCESSORS)]).expect("made");
        std::fs::create_dir(place.join("driver")).expect("made");
        install(&library("libpond_nvidia.so"), place);
        install(&library("libpond_nvidia_model.so"), &place.join("driver"));
        let owner = Self::share(place, memory, thousandths);
        Self { folder, owner, machine }
    }

    fn share(place: &Path, memory: u64, thousandths: u64) -> Owner {
        let terms = Terms { device: NUMBER, memory, thousandths };
        Owner::create(&place.join("0"), &terms).expect("made")
    }

    /// Another share of the same device.
    pub fn another(&self, memory: u64, thousandths: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path();
        std::os::unix::fs::symlink(self.folder().join("machine"), place.join("machine")).expect("linked");
        std::os::unix::fs::symlink(self.folder().join("driver"), place.join("driver")).expect("linked");
        install(&library("libpond_nvidia.so"), place);
        let owner = Self::share(place, memory, thousandths);
        Self { folder, owner, machine: self.machine }
    }

    /// Where it stands.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A program that finds the library of the share; bare, the one of the model itself.
    pub fn command(&self, program: &Path, bare: bool) -> Command {
        let mut command = Command::new(program);
        let libraries = if bare { self.folder().join("driver") } else { self.folder().to_owned() };
        command.env("LD_LIBRARY_PATH", libraries);
        command.env("POND_NVIDIA_MODEL", self.folder().join("machine"));
        command
    }

    /// The client in Rust.
    pub fn rust(&self, role: &str) -> Client {
        let mut command = self.command(&std::env::current_exe().expect("this program"), false);
        command.args(["--exact", "client", "--nocapture"]);
        Client::start(command, role)
    }

    /// The same before the model, with nothing between.
    pub fn bare_rust(&self, role: &str) -> Client {
        let mut command = self.command(&std::env::current_exe().expect("this program"), true);
        command.args(["--exact", "client", "--nocapture"]);
        Client::start(command, role)
    }

    /// The client in Python.
    pub fn python(&self, python: &Path, role: &str) -> Client {
        let mut command = self.command(python, false);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/bed/client.py"));
        Client::start(command, role)
    }

    /// Bytes that the share's processes hold.
    pub fn held(&self) -> u64 {
        self.owner.usage().expect("read").memory
    }

    /// Bytes that the modelled device has given out.
    pub fn on_device(&self) -> u64 {
        self.machine.devices[0].processes().iter().map(|(_, used)| used).sum()
    }
}

/// The client in Rust, when this process was started as one; false otherwise.
pub fn client() -> bool {
    let Ok(role) = std::env::var("POND_CLIENT_ROLE") else { return false };
    rust::run(&role);
    true
}
