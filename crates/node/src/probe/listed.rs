//! `devices.toml` in the state folder: devices that no bus and no driver tells of, as whoever runs the pool describes them.
//!
//! ```toml
//! [[device]]
//! name = "acme0"                       # lasting, unique
//! kind = "npu"                         # gpu, fpga, npu, opencl
//! model = "Acme NPU 2"
//! memory = "16GB"                      # default: none
//! files = ["/dev/acme0"]               # granted to who gets it
//! numa = 0                             # default: not known
//! pci = "0000:17:00.0"                 # where it hangs on the bus, so that its distance to others is known; default: not known
//! probe = ["/usr/bin/acme-check", "0"] # 0: well, 1: trouble, else it cannot work; default: its files are there
//! ```

use pond_core::model::{Device, DeviceKind, ShareMode, Traits};
use pond_core::units::Bytes;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A device as the file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// For the pool.
    pub device: Device,
    /// The program that says how it is, with its arguments; empty: its files say it.
    pub probe: Vec<String>,
    /// Its address on the PCI bus.
    pub pci: Option<String>,
}

/// Why the file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ListedError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not of the form.
    #[error("{path}: {source}", path = path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A device without a size that can be, or a name that is there already.
    #[error("{path}: device `{name}` {what}", path = path.display())]
    Device {
        /// The file.
        path: PathBuf,
        /// The device's name.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    device: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    kind: DeviceKind,
    model: String,
    #[serde(default)]
    memory: Option<String>,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    numa: Option<u32>,
    #[serde(default)]
    pci: Option<String>,
    #[serde(default)]
    probe: Vec<String>,
}

/// The devices listed in a state folder; none without the file.
///
/// # Errors
/// The file is there and not to be understood.
pub fn listed(state_dir: &Path) -> Result<Vec<Listed>, ListedError> {
    let path = state_dir.join("devices.toml");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ListedError::Read { path, source }),
    };
    let file: File = toml::from_str(&text)
        .map_err(|source| ListedError::Form { path: path.clone(), source: Box::new(source) })?;
    let mut names = BTreeSet::new();
    let device = |entry: Entry| {
        let bad = |what| ListedError::Device { path: path.clone(), name: entry.name.clone(), what };
        if entry.name.is_empty() || !names.insert(entry.name.clone()) {
            return Err(bad("needs a name of its own"));
        }
        let memory = entry.memory.as_deref().map_or(Ok(Bytes::ZERO), str::parse);
        let memory: Bytes = memory.map_err(|_why| bad("has a memory that is no size; write 16GB"))?;
        // As the kernel writes it; others print it in capitals.
        let pci = entry.pci.map(|address| address.to_lowercase());
        if pci.as_deref().is_some_and(|address| !super::joined::is_address(address)) {
            return Err(ListedError::Device { path: path.clone(), name: entry.name, what: NO_ADDRESS });
        }
        let device = Device {
            uuid: format!("listed:{}", entry.name),
            kind: entry.kind,
            model: entry.model,
            memory,
            modes: vec![ShareMode::Exclusive, ShareMode::Advisory],
            numa: entry.numa,
            files: entry.files,
            traits: Traits { tells: !entry.probe.is_empty(), ..Traits::default() },
        };
        Ok(Listed { device, probe: entry.probe, pci })
    };
    file.device.into_iter().map(device).collect()
}

const NO_ADDRESS: &str = "has a pci that is no address; write 0000:17:00.0, as `lspci -D` shows it";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Listed>, ListedError> {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("devices.toml"), text).expect("written");
        listed(folder.path())
    }

    #[test]
    fn what_is_listed_is_a_device_and_what_is_wrong_is_said_with_its_place() {
        let one = "[[device]]\nname = 'a'\nkind = 'npu'\nmodel = 'Acme'\nmemory = '16GB'\nnuma = 1\npci = '0000:17:00.0'\n";
        let all = read(one).expect("sound");
        assert_eq!((all[0].device.uuid.as_str(), all[0].device.memory), ("listed:a", Bytes(16_000_000_000)));
        assert_eq!(all[0].pci.as_deref(), Some("0000:17:00.0"));
        assert_eq!((all[0].device.kind, all[0].device.numa), (DeviceKind::Npu, Some(1)));
        assert!(read(&format!("{one}{one}")).expect_err("twice").to_string().contains("name of its own"));
        let capitals = read(&one.replace("17:00", "C1:00")).expect("sound");
        assert_eq!(capitals[0].pci.as_deref(), Some("0000:c1:00.0"));
        for wrong in ["", "17:00.0", "0000:17:00/0", "../../../etc"] {
            let refusal = read(&one.replace("0000:17:00.0", wrong)).expect_err("no address").to_string();
            assert!(refusal.contains("`lspci -D`"), "{refusal}");
        }
        assert!(read(&one.replace("16GB", "big")).expect_err("no size").to_string().contains("no size"));
        assert!(read(&one.replace("npu", "tpu")).expect_err("no kind").to_string().contains("line 3"));
        assert_eq!(listed(Path::new("/nowhere")).expect("no file"), []);
    }
}
