//! NVIDIA's driver: where its libraries are, and whether a library can be put before them in a task.
//!
//! `POND_NVIDIA_DRIVER` names the folder of a driver that stands elsewhere than drivers do; it is also how tests bring
//! one without a GPU.

use super::opencl::companion;
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use pond_core::model::Device;
use pond_nvidia_mig::{Mig, MigError};
use std::path::{Path, PathBuf};

/// The library that stands before the driver's inside tasks.
pub(crate) const LIBRARY: &str = "libpond_nvidia.so";
/// The libraries it stands before.
pub(crate) const BEHIND: [&str; 2] = ["libcuda.so.1", "libnvidia-ml.so.1"];
/// Where a machine or an image has them; the first that is there is where they are put when there are none.
const FOLDERS: [&str; 9] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/local/cuda/compat",
    "/usr/local/cuda/lib64/compat",
];

fn asked_folder() -> Option<PathBuf> {
    std::env::var_os("POND_NVIDIA_DRIVER").map(PathBuf::from)
}

/// The real libraries of this machine, in the order of [`BEHIND`].
pub(crate) fn driver() -> Option<[PathBuf; 2]> {
    let folders: Vec<PathBuf> =
        asked_folder().map_or_else(|| FOLDERS.map(PathBuf::from).to_vec(), |one| vec![one]);
    let find = |name: &str| folders.iter().find_map(|folder| folder.join(name).canonicalize().ok());
    let [cuda, nvml] = BEHIND.map(find);
    Some([cuda?, nvml?])
}

/// NVIDIA's management library of this machine.
pub(crate) fn management() -> Result<Nvml, NvmlError> {
    match asked_folder() {
        Some(folder) => Nvml::builder().lib_path(folder.join(BEHIND[1]).as_os_str()).init(),
        None => Nvml::init(),
    }
}

/// The same for instances of MIG, which that one does not make.
pub(crate) fn instances() -> Result<Mig, MigError> {
    match asked_folder() {
        Some(folder) => Mig::open(&folder.join(BEHIND[1])),
        None => Mig::open(Path::new(BEHIND[1])),
    }
}

/// Whether shares can be kept: the library is here, and the driver's are found.
pub(super) fn can_share() -> bool {
    cfg!(target_arch = "x86_64") && companion(LIBRARY).is_some() && driver().is_some()
}

/// The device's number in the words of a share, the first 8 bytes of its UUID; `None` for a device of another kind.
pub(crate) fn number(device: &Device) -> Option<u64> {
    let digits: String =
        device.uuid.strip_prefix("GPU-")?.chars().filter(|letter| *letter != '-').take(16).collect();
    u64::from_str_radix(&digits, 16).ok()
}

/// Where a task finds the driver's libraries, in a root made of these layers: every place that has one, else the one
/// that its loader looks into.
pub(crate) fn places(layers: &[PathBuf]) -> Vec<String> {
    let machine = [PathBuf::from("/")];
    let layers = if layers.is_empty() { &machine } else { layers };
    let has = |path: &str| {
        layers.iter().any(|layer| layer.join(path.trim_start_matches('/')).symlink_metadata().is_ok())
    };
    let mut all = Vec::new();
    for name in BEHIND {
        let plain = Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let names = [Some(name.to_owned()), plain];
        let paths = FOLDERS
            .iter()
            .flat_map(|folder| names.iter().flatten().map(move |name| format!("{folder}/{name}")));
        let found: Vec<String> = paths.filter(|path| has(path)).collect();
        if found.is_empty() {
            let folder = FOLDERS.iter().find(|folder| has(folder)).unwrap_or(&"/usr/lib64");
            all.push(format!("{folder}/{name}"));
        }
        all.extend(found);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_place_of_the_driver_in_an_image_is_found_and_one_is_made_where_there_is_none() {
        let layers: Vec<tempfile::TempDir> = (0..2).map(|_| tempfile::tempdir().expect("a folder")).collect();
        let paths: Vec<PathBuf> = layers.iter().map(|layer| layer.path().to_owned()).collect();
        fs::create_dir_all(paths[0].join("usr/lib64")).expect("made");
        assert_eq!(places(&paths), ["/usr/lib64/libcuda.so.1", "/usr/lib64/libnvidia-ml.so.1"]);
        fs::create_dir_all(paths[1].join("usr/local/cuda/compat")).expect("made");
        // A link that leads nowhere outside its image.
        std::os::unix::fs::symlink("libcuda.so.550", paths[1].join("usr/local/cuda/compat/libcuda.so.1"))
            .expect("linked");
        fs::write(paths[1].join("usr/local/cuda/compat/libcuda.so"), "").expect("written");
        assert_eq!(
            places(&paths),
            [
                "/usr/local/cuda/compat/libcuda.so.1",
                "/usr/local/cuda/compat/libcuda.so",
                "/usr/lib64/libnvidia-ml.so.1"
            ]
        );
    }
}
