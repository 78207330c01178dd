//! Every instance there can be, and every refusal, on the model of a driver.

use nvml_wrapper::error::NvmlError;
use pond_nvidia_mig::{Mig, MigError, Profile, Rows};
use pond_nvidia_model::device::Mapped;
use pond_nvidia_model::{become_model, instances};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering::Release;

fn library() -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    let name = "libpond_nvidia_model.so";
    let folders = program.ancestors().skip(1).take(2);
    let found = folders.flat_map(|folder| [folder.join(name), folder.join("deps").join(name)]);
    let age = |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    found.filter(|path| path.exists()).max_by_key(age).expect("the model")
}

const GPU: &str = "GPU-416f6e64-2d6d-6f64-656c-2d6770752d00";

fn refused<T>(done: Result<T, MigError>) -> NvmlError {
    match done.err().expect("refused") {
        MigError::Refused { source, .. } => source,
        MigError::NoRoom(call) => panic!("{call}: no room"),
    }
}

fn has_no_room<T>(done: Result<T, MigError>) -> bool {
    matches!(done, Err(MigError::NoRoom(_)))
}

fn every_place(mig: &Mig, profiles: &[Profile]) {
    for profile in profiles {
        for start in &profile.starts {
            let made = mig.create(GPU, profile, *start).expect("made");
            assert_eq!((made.profile, made.start, made.devices.len()), (profile.id, *start, 1));
            assert!(made.devices[0].1.starts_with("MIG-"), "{made:?}");
            assert_eq!(mig.instances(GPU).expect("said").as_slice(), std::slice::from_ref(&made));
            mig.destroy(GPU, made.id).expect("gone");
        }
    }
}

/// In a process of its own: the driver reads its machine from the environment.
#[test]
fn client() {
    let Some(folder) = std::env::var_os("POND_MIG_CLIENT") else { return };
    let machine = Mapped::create(&Path::new(&folder).join("machine"), &[(1, 1)]).expect("made");
    become_model(&machine, 0, "H100");
    let mig = Mig::open(&library()).expect("NVML");
    assert!(matches!(refused(mig.profiles(GPU)), NvmlError::NotSupported), "MIG is off");
    for (word, value) in machine.devices[0].rows.iter().zip([3, 1, 0, 1]) {
        word.store(value, Release);
    }
    assert_eq!(mig.rows(GPU).expect("said"), Rows { remapped: 4, pending: false, failed: true });
    for mode in [&machine.cuts[0].pending, &machine.cuts[0].current] {
        mode.store(1, Release);
    }
    assert!(matches!(refused(mig.rows(GPU)), NvmlError::NotSupported), "MIG is on");
    let profiles = mig.profiles(GPU).expect("said");
    assert_eq!((profiles.len(), mig.minor(GPU).expect("said")), (7, 0));
    let named = |name: &str| profiles.iter().find(|profile| profile.name == name).expect("there");
    let half = named("3g.40gb");
    let said = (half.size, half.starts.as_slice(), half.memory_mib, half.multiprocessors);
    assert_eq!(said, (4, &[0, 4][..], 40_448, 60));
    every_place(&mig, &profiles);

    let first = mig.create(GPU, half, 4).expect("made");
    assert!(has_no_room(mig.create(GPU, named("1g.10gb"), 5)));
    assert!(matches!(refused(mig.create(GPU, half, 2)), NvmlError::InvalidArg));
    assert!(matches!(refused(mig.instances("GPU-none")), NvmlError::NotFound));
    assert!(matches!(refused(mig.destroy(GPU, 99)), NvmlError::NotFound));
    machine.cuts[0].refuse_compute.store(1, Release);
    assert!(has_no_room(mig.create(GPU, half, 0)));
    assert_eq!(instances(&machine, 0), [("MIG 3g.40gb", 4, true)], "nothing is left of what was half made");
    let second = mig.create(GPU, half, 0).expect("made");
    let starts: Vec<u32> = mig.instances(GPU).expect("said").iter().map(|one| one.start).collect();
    assert_eq!(starts, [0, 4]);
    assert_ne!(first.devices, second.devices);
}

#[test]
fn instances_are_made_and_destroyed_in_every_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "client", "--nocapture"]).env("POND_MIG_CLIENT", folder.path());
    let done = command.env("POND_NVIDIA_MODEL", folder.path().join("machine")).output().expect("runs");
    let uid = std::fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).ok();
    if uid == Some(0) {
        assert!(done.status.success(), "{done:?}");
    } else {
        eprintln!("skipped: instances of MIG: only root may make them");
    }
}
