//! The store's files: which layers and images are there, who may touch them when, and what can go.

use super::digest::Digest;
use super::error::ImageError;
use super::lower::Marks;
use super::{ImageConfig, Rootfs};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// How images are fetched and kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// File of registry logins in Docker's format; default: that of who runs the pool.
    pub docker_config: Option<PathBuf>,
    /// A tag is looked up again after this many seconds; default 600. When the registry is out of reach then,
    /// what the tag meant before is used.
    pub recheck_after_s: u64,
    /// Most bytes one layer may unpack to; default 128 GiB.
    pub max_layer_bytes: u64,
    /// Most files one layer may unpack to; default 4 million.
    pub max_layer_entries: u64,
    /// Bytes of the disk that unpacking leaves free; default 1 GiB.
    pub keep_free_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            docker_config: super::login::default_file(),
            recheck_after_s: 600,
            max_layer_bytes: 128 << 30,
            max_layer_entries: 4_000_000,
            keep_free_bytes: 1 << 30,
        }
    }
}

/// The images of this machine. Cheap to clone; safe to use from many threads and processes at once.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) root: Arc<PathBuf>,
    pub(super) settings: Arc<Settings>,
    /// Threads that bring new layers to disk.
    syncs: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// An image that is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Digest of its manifest.
    pub id: String,
    /// The name it was last asked for by.
    pub name: String,
    /// Bytes of its layers, shared ones included.
    pub size: u64,
    /// Keys of its layers, the topmost first.
    pub layers: Vec<String>,
    /// How to run it.
    pub config: ImageConfig,
}

/// What a registry's name meant when it was looked up last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Name {
    pub name: String,
    pub id: String,
    /// Seconds since the Unix epoch.
    pub checked_s: u64,
}

/// What is known of an unpacked layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LayerInfo {
    pub diff_id: Digest,
    pub chain_id: Digest,
    pub leans: bool,
    pub bytes: u64,
    pub entries: u64,
    pub devices_left_out: u64,
    /// The boot it was unpacked in: until it is known to be on disk it is trusted in this one only.
    pub boot: String,
}

/// What [`Store::collect`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Images forgotten.
    pub images: usize,
    /// Layers deleted.
    pub layers: usize,
    /// Bytes of those layers.
    pub bytes: u64,
    /// Nothing was done because an image is being prepared right now.
    pub busy: bool,
}

/// Makes names under `tmp/` unique within this process; the process id makes them unique on the machine.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Store {
    /// Opens the store in a folder, made when missing, and sweeps what a killed process left half-done.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(root: &Path, settings: Settings) -> Result<Self, ImageError> {
        let store =
            Self { root: Arc::new(root.to_owned()), settings: Arc::new(settings), syncs: Arc::default() };
        for part in ["layers", "images", "names", "parts", "tmp", "locks"] {
            let folder = store.root.join(part);
            fs::create_dir_all(&folder).map_err(ImageError::io("make", &folder))?;
        }
        rustix::fs::chmod(root, rustix::fs::Mode::RWXU).map_err(ImageError::io("set the mode of", root))?;
        if let Some(_alone) = store.try_lock_all()? {
            store.sweep(&store.root.join("tmp"))?;
        }
        Ok(store)
    }

    /// Whether this process can own files as root: decides marks and owners.
    pub(super) fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    pub(super) fn marks() -> Marks {
        if Self::is_root() { Marks::Trusted } else { Marks::User }
    }

    // ---- locks ----

    fn lock_file(&self, path: &Path) -> Result<File, ImageError> {
        let mut options = File::options();
        options.create(true).truncate(false).write(true).read(true);
        options.open(path).map_err(ImageError::io("open", path))
    }

    /// Held while an image is being prepared; collecting waits for it.
    pub(super) fn lock_shared(&self) -> Result<File, ImageError> {
        let path = self.root.join("lock");
        let file = self.lock_file(&path)?;
        rustix::fs::flock(&file, FlockOperation::LockShared).map_err(ImageError::io("lock", &path))?;
        Ok(file)
    }

    fn try_lock_all(&self) -> Result<Option<File>, ImageError> {
        let path = self.root.join("lock");
        let file = self.lock_file(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(why) => Err(ImageError::io("lock", &path)(why)),
        }
    }

    /// Waits until nobody else works on `key`; `go_on` is asked in between.
    pub(super) fn lock_key(
        &self,
        image: &str,
        key: &str,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<File, ImageError> {
        let path = self.root.join("locks").join(key);
        let file = self.lock_file(&path)?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) if go_on() => {
                    std::thread::sleep(Duration::from_millis(20))
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(ImageError::Cancelled { image: image.to_owned() });
                }
                Err(why) => return Err(ImageError::io("lock", &path)(why)),
            }
        }
    }

    // ---- layers ----

    pub(super) fn layer_folder(&self, key: &str) -> PathBuf {
        self.root.join("layers").join(key)
    }

    /// What is known of a layer; `None` when it is not there, or when a crash of the machine may have torn it.
    pub(super) fn layer_info(&self, key: &str) -> Result<Option<LayerInfo>, ImageError> {
        let folder = self.layer_folder(key);
        let info: Option<LayerInfo> = read_json(&folder.join("layer.json"))?;
        Ok(info.filter(|info| info.boot == boot_id() || folder.join(SYNCED).exists()))
    }

    /// Brings new layers to disk beside the work: a layer may be gigabytes, and a task need not wait for that.
    pub(super) fn sync_later(&self, keys: Vec<String>) {
        let folder = self.layer_folder("");
        let sync = move || {
            let synced = File::open(&folder).and_then(|opened| Ok(rustix::fs::syncfs(&opened)?));
            for key in keys.iter().filter(|_| synced.is_ok()) {
                // collected meanwhile, or it is not marked and unpacked anew after the next boot
                crate::tolerate(File::create(folder.join(key).join(SYNCED)));
            }
        };
        if let Ok(thread) = std::thread::Builder::new().name("sync layers".to_owned()).spawn(sync) {
            let mut syncs = self.syncs.lock().unwrap_or_else(PoisonError::into_inner);
            syncs.retain(|thread| !thread.is_finished());
            syncs.push(thread);
        }
    }

    /// Waits until the layers made so far by this store and its clones are on disk and marked so.
    pub fn settle(&self) {
        let syncs = std::mem::take(&mut *self.syncs.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in syncs {
            crate::tolerate(thread.join());
        }
    }

    /// A new folder under `tmp/`, which a sweep removes if this process dies.
    pub(super) fn scratch(&self) -> Result<PathBuf, ImageError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = self.root.join("tmp").join(format!("{}-{number}", std::process::id()));
        fs::create_dir(&folder).map_err(ImageError::io("make", &folder))?;
        Ok(folder)
    }

    /// Bytes that may still be written.
    pub(super) fn room(&self) -> Result<u64, ImageError> {
        let stat = rustix::fs::statvfs(&*self.root).map_err(ImageError::io("look at", &self.root))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        Ok(free.saturating_sub(self.settings.keep_free_bytes))
    }

    // ---- images and names ----

    fn image_file(&self, id: &str) -> PathBuf {
        self.root.join("images").join(format!("{}.json", id.trim_start_matches("sha256:")))
    }

    fn name_file(&self, name: &str) -> PathBuf {
        self.root.join("names").join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }

    pub(super) fn name(&self, name: &str) -> Result<Option<Name>, ImageError> {
        read_json(&self.name_file(name))
    }

    pub(super) fn set_name(&self, name: &Name) -> Result<(), ImageError> {
        self.write_json(&self.name_file(&name.name), name)
    }

    pub(super) fn set_image(&self, info: &ImageInfo) -> Result<(), ImageError> {
        self.write_json(&self.image_file(&info.id), info)
    }

    /// An image with all its layers, marked as used now; `None` when something of it is missing.
    pub(super) fn ready(&self, id: &str) -> Result<Option<Rootfs>, ImageError> {
        let file = self.image_file(id);
        let Some(info) = read_json::<ImageInfo>(&file)? else { return Ok(None) };
        for key in &info.layers {
            if self.layer_info(key)?.is_none() {
                return Ok(None);
            }
        }
        let now = File::open(&file).and_then(|opened| opened.set_modified(SystemTime::now()));
        now.map_err(ImageError::io("touch", &file))?;
        // a layer that comes twice shows through at its upper place alone, and overlay refuses it twice
        let mut seen = BTreeSet::new();
        let once = info.layers.iter().filter(|key| seen.insert(*key));
        let lowers = once.map(|key| self.layer_folder(key).join("fs")).collect();
        Ok(Some(Rootfs { id: info.id, lowers, config: info.config, userxattr: !Self::is_root() }))
    }

    /// Every image that is ready, by id.
    ///
    /// # Errors
    /// The store's files cannot be read.
    pub fn list(&self) -> Result<Vec<ImageInfo>, ImageError> {
        let mut found = Vec::new();
        for path in entries(&self.root.join("images"))? {
            found.extend(read_json::<ImageInfo>(&path)?);
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    /// Forgets images that were not used for `unused` and are not among `in_use` (ids of [`Rootfs::id`]), and
    /// deletes layers no image needs. Keep `unused` at a minute or more: it covers the time between
    /// [`Store::prepare`] and the moment a task is known to run.
    ///
    /// # Errors
    /// The store's files cannot be read or removed; what was removed until then stays removed.
    pub fn collect(&self, in_use: &BTreeSet<String>, unused: Duration) -> Result<Collected, ImageError> {
        let Some(_alone) = self.try_lock_all()? else {
            return Ok(Collected { busy: true, ..Collected::default() });
        };
        let mut collected = Collected::default();
        let mut needed = BTreeSet::new();
        for path in entries(&self.root.join("images"))? {
            match read_json::<ImageInfo>(&path)? {
                Some(info) if in_use.contains(&info.id) || !is_older(&path, unused) => {
                    needed.extend(info.layers)
                }
                _ => {
                    fs::remove_file(&path).map_err(ImageError::io("remove", &path))?;
                    collected.images += 1;
                }
            }
        }
        for folder in entries(&self.root.join("layers"))? {
            let key = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if needed.contains(&key) || !is_older(&folder, unused) {
                continue;
            }
            collected.bytes += self.layer_info(&key)?.map_or(0, |info| info.bytes);
            collected.layers += 1;
            // by rename first: a kill during the removal leaves no half layer under its name
            let gone = self.scratch()?.join("gone");
            fs::rename(&folder, &gone).map_err(ImageError::io("remove", &folder))?;
        }
        for path in entries(&self.root.join("names"))? {
            let name = read_json::<Name>(&path)?;
            if !name.is_some_and(|name| self.image_file(&name.id).exists()) {
                fs::remove_file(&path).map_err(ImageError::io("remove", &path))?;
            }
        }
        for path in entries(&self.root.join("parts"))?.into_iter().chain(entries(&self.root.join("locks"))?) {
            if is_older(&path, unused.max(Duration::from_secs(60))) {
                fs::remove_file(&path).map_err(ImageError::io("remove", &path))?;
            }
        }
        self.sweep(&self.root.join("tmp"))?;
        Ok(collected)
    }

    fn sweep(&self, folder: &Path) -> Result<(), ImageError> {
        for path in entries(folder)? {
            let removed = if path.is_symlink() || path.is_file() {
                fs::remove_file(&path)
            } else {
                fs::remove_dir_all(&path)
            };
            removed.map_err(ImageError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Writes a small file whole: under another name, then renamed. One that a crash of the machine tears is read as
    /// missing.
    fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), ImageError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join("tmp").join(format!("{}-{number}.json", std::process::id()));
        write_file(&temporary, value).map_err(ImageError::io("write", &temporary))?;
        fs::rename(&temporary, path).map_err(ImageError::io("rename", path))
    }
}

/// Marks a layer that is on disk whole.
const SYNCED: &str = "synced";

pub(super) fn write_file(path: &Path, value: &impl Serialize) -> io::Result<()> {
    File::create(path)?.write_all(&serde_json::to_vec_pretty(value)?)
}

/// Differs from boot to boot.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// `None` when the file is missing or was written by a version that this one does not understand.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ImageError> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(ImageError::io("read", path)(why)),
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let read = fs::read_dir(folder).map_err(ImageError::io("read", folder))?;
    let paths = read.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    paths.map_err(ImageError::io("read", folder))
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    // a clock that stepped back makes things look young: they stay a little longer
    modified.is_ok_and(|then| SystemTime::now().duration_since(then).is_ok_and(|passed| passed >= age))
}
