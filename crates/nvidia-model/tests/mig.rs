//! MIG of the model, and how its devices are joined, by clients that know nothing of it: `nvidia-ml-py`, `cuda-bindings`, `nvml-wrapper`.

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use pond_nvidia_model::device::Mapped;
use pond_nvidia_model::{become_model, instances, reset};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Release;

/// The library that was built with this program.
fn library() -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    let name = "libpond_nvidia_model.so";
    let found = program
        .ancestors()
        .skip(1)
        .take(2)
        .flat_map(|folder| [folder.join(name), folder.join("deps").join(name)]);
    let newest = found
        .filter(|path| path.exists())
        .max_by_key(|path| path.metadata().and_then(|meta| meta.modified()).ok());
    newest.expect("the model")
}

/// A machine with one GPU of a model, and a folder with the driver.
fn machine(model: &str) -> (tempfile::TempDir, Mapped) {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["libcuda.so.1", "libnvidia-ml.so.1", "libcuda.so"] {
        std::fs::hard_link(library(), folder.path().join(name))
            .or_else(|_| std::fs::copy(library(), folder.path().join(name)).map(|_| ()))
            .expect("there");
    }
    let machine = Mapped::create(&folder.path().join("machine"), &[(1, 1)]).expect("made");
    become_model(&machine, 0, model);
    (folder, machine)
}

fn is_root() -> bool {
    let uid = std::fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta));
    if uid.as_ref().ok() != Some(&0) {
        eprintln!("skipped: MIG by clients: only root may cut a device");
    }
    uid.is_ok_and(|uid| uid == 0)
}

const H100: &str = "\
name NVIDIA H100 80GB HBM3
mode 0 0
max 0
refused 4
activation 0
mode 1 1
profile 0 19 MIG 1g.10gb 9984 16 7 0+1,1+1,2+1,3+1,4+1,5+1,6+1
profile 1 14 MIG 2g.20gb 20096 32 3 0+2,2+2,4+2
profile 2 9 MIG 3g.40gb 40448 60 2 0+4,4+4
profile 3 5 MIG 4g.40gb 40448 64 1 0+4
profile 4 0 MIG 7g.80gb 81152 132 1 0+8
profile 7 20 MIG 1g.10gb+me 9984 16 1 0+1,1+1,2+1,3+1,4+1,5+1,6+1
profile 9 15 MIG 1g.20gb 20096 26 4 0+2,2+2,4+2,6+2
wrong start 2
over it 23
left 4 2 1 1 0 1 2
refused 4 4
instance 9 4 4
no device yet 6
destroy 19 mode 19
device NVIDIA H100 80GB HBM3 MIG 3g.40gb 40448 40448 60
cuda 1 40448 60 40192 2
device NVIDIA H100 80GB HBM3 MIG 1g.10gb 9984 9984 16
cuda 1 9984 16 9920 2
busy 19 [True]
free 0 0
gone 6 6
";

/// The Python with NVIDIA's packages.
fn python() -> Option<PathBuf> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/nvidia-python/bin/python");
    let asked = std::env::var_os("POND_NVIDIA_PYTHON").map(PathBuf::from);
    let python = asked.or(Some(made)).filter(|path| path.exists());
    if python.is_none() {
        eprintln!("skipped: the model by NVIDIA's packages: `cargo xtask test` makes the Python for it");
    }
    python
}

/// What a script says of a machine.
fn say(python: &Path, script: &str, folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let mut command = Command::new(python);
    command.arg(script).env("LD_LIBRARY_PATH", folder);
    let done = command.env("POND_NVIDIA_MODEL", folder.join("machine")).output().expect("runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    said
}

#[test]
fn ways_between_devices_by_nvidias_packages() {
    let Some(python) = python() else { return };
    let (folder, _) = machine("H100");
    let machine = Mapped::create(&folder.path().join("machine"), &[(1 << 30, 8); 3]).expect("made");
    let set = |word: &AtomicU64, value| word.store(value, Release);
    set(&machine.joins[0][1].way, 10);
    set(&machine.joins[0][1].lanes, 2);
    set(&machine.joins[0][2].way, 30);
    set(&machine.to_switch[1], 1);
    set(&machine.to_switch[2], 3);
    let links = "0 00000000:11:00.0 00000000:11:00.0\n1 00000000:10:00.0 00000000:10:00.0 00000000:4F:00.0\n\
                 2 00000000:4F:00.0 00000000:4F:00.0 00000000:4F:00.0\n";
    let said = |by_switch| format!("0 1 10 True\n0 2 30 False\n1 2 50 {by_switch}\n{links}");
    assert_eq!(say(&python, "joins.py", folder.path()), said("True"));
    set(&machine.fabric_down, 1);
    assert_eq!(say(&python, "joins.py", folder.path()), said("False"));
}

#[test]
fn wear_of_memory_by_nvidias_packages() {
    let Some(python) = python() else { return };
    let (folder, _) = machine("H100");
    let machine = Mapped::create(&folder.path().join("machine"), &[(1 << 30, 8); 2]).expect("made");
    let set = |word: &AtomicU64, value| word.store(value, Release);
    set(&machine.devices[0].corrected, 7);
    set(&machine.devices[0].uncorrected, 2);
    for (word, value) in machine.devices[0].rows.iter().zip([3, 1, 1, 0]) {
        set(word, value);
    }
    set(&machine.cuts[1].current, 1);
    let said = "0 [7, 2] (3, 1, 1, 0)\n1 [0, 0] 3\n";
    assert_eq!(say(&python, "wear.py", folder.path()), said, "none are told of one in MIG mode");
}

#[test]
fn modes_profiles_instances_and_their_memory_by_nvidias_packages() {
    let Some(python) = python().filter(|_| is_root()) else { return };
    let (folder, machine) = machine("H100");
    assert_eq!(say(&python, "mig.py", folder.path()), H100);
    assert_eq!(instances(&machine, 0), [("MIG 3g.40gb", 4, true)], "what it left stands");
    reset(&machine, 0);
    assert_eq!(instances(&machine, 0), []);
}

/// The client in Rust, in a process of its own: the driver reads its machine from the environment.
#[test]
fn client() {
    let Some(folder) = std::env::var_os("POND_MIG_CLIENT").map(PathBuf::from) else { return };
    let nvml = Nvml::builder().lib_path(folder.join("libnvidia-ml.so.1").as_os_str()).init().expect("NVML");
    let card = nvml.device_by_index(0).expect("a device");
    assert_eq!(card.name().expect("said"), "NVIDIA A100-SXM4-40GB");
    assert!(matches!(card.mig_is_mig_device_handle(), Ok(false)));
    assert_eq!(card.set_mig_mode(true).expect("root may"), 0);
    let mode = card.mig_mode().expect("said");
    assert_eq!((mode.current, mode.pending), (1, 1));
    assert_eq!(card.mig_device_count().expect("said"), 7);
    let half = card.profile_info(2).expect("said");
    assert_eq!((half.id, half.memory_size_mb, half.multiprocessor_count), (9, 19_968, 42));
    assert!(matches!(card.profile_info(5), Err(NvmlError::NotSupported)));
    assert!(matches!(card.mig_device_by_index(0), Err(NvmlError::NotFound)));
}

#[test]
fn modes_and_profiles_by_nvml_wrapper() {
    if !is_root() {
        return;
    }
    let (folder, machine) = machine("A100");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "client", "--nocapture"]).env("POND_MIG_CLIENT", folder.path());
    let done = command.env("POND_NVIDIA_MODEL", folder.path().join("machine")).output().expect("runs");
    assert!(done.status.success(), "{done:?}");
    assert_eq!(machine.cuts[0].current.load(std::sync::atomic::Ordering::Acquire), 1);
}
