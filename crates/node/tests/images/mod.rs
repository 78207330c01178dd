//! Images made by hand: layers from entries, layouts from layers, good ones and hostile ones.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "each test file uses its own part"
)]

use pond_node::image::{Digest, Settings, Store};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// A tar stream being written, with whatever names and numbers.
#[derive(Clone, Default)]
pub struct Layer(pub Vec<u8>);

/// One entry; the rest of it is usual.
pub struct Entry<'a> {
    pub path: &'a [u8],
    pub kind: EntryType,
    pub link: &'a [u8],
    pub mode: u32,
    pub owner: (u64, u64),
    pub body: &'a [u8],
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Self { path: b"", kind: EntryType::Regular, link: b"", mode: 0o644, owner: (0, 0), body: b"" }
    }
}

impl Layer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn entry(mut self, entry: &Entry<'_>) -> Self {
        if entry.path.len() > 100 {
            self = self.raw(EntryType::GNULongName, b"././@LongLink", b"", 0, (0, 0), entry.path);
        }
        if entry.link.len() > 100 {
            self = self.raw(EntryType::GNULongLink, b"././@LongLink", b"", 0, (0, 0), entry.link);
        }
        self.raw(entry.kind, entry.path, entry.link, entry.mode, entry.owner, entry.body)
    }

    fn raw(
        mut self,
        kind: EntryType,
        path: &[u8],
        link: &[u8],
        mode: u32,
        owner: (u64, u64),
        body: &[u8],
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(body.len() as u64);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mtime(1_700_000_000);
        let old = header.as_old_mut();
        let (path, link) = (&path[..path.len().min(100)], &link[..link.len().min(100)]);
        old.name[..path.len()].copy_from_slice(path);
        old.linkname[..link.len()].copy_from_slice(link);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.bytes(body)
    }

    /// Bytes, padded to whole blocks.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, path: &str, body: &str) -> Self {
        self.entry(&Entry { path: path.as_bytes(), body: body.as_bytes(), ..Entry::default() })
    }

    pub fn folder(self, path: &str, mode: u32) -> Self {
        self.entry(&Entry { path: path.as_bytes(), kind: EntryType::Directory, mode, ..Entry::default() })
    }

    pub fn symlink(self, path: &str, to: &str) -> Self {
        let (path, link) = (path.as_bytes(), to.as_bytes());
        self.entry(&Entry { path, link, kind: EntryType::Symlink, mode: 0o777, ..Entry::default() })
    }

    pub fn hard_link(self, path: &str, to: &str) -> Self {
        let (path, link) = (path.as_bytes(), to.as_bytes());
        self.entry(&Entry { path, link, kind: EntryType::Link, ..Entry::default() })
    }

    /// A PAX header for the entry after it.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            write!(body, "{length} {key}=").unwrap();
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.raw(EntryType::XHeader, b"pax", b"", 0o644, (0, 0), &body)
    }

    /// The whole stream with its end mark.
    pub fn plain(&self) -> Vec<u8> {
        let mut whole = self.0.clone();
        whole.extend_from_slice(&[0; 1024]);
        whole
    }
}

/// How a layer is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Plain,
    Gzip,
    Zstd,
}

pub fn compress(plain: &[u8], form: Form) -> Vec<u8> {
    match form {
        Form::Plain => plain.to_vec(),
        Form::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Form::Zstd => zstd::encode_all(plain, 1).unwrap(),
    }
}

/// An image as its documents and blobs.
#[derive(Clone)]
pub struct Built {
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// Digest and size of the manifest.
    pub manifest: (Digest, usize),
}

pub const ARCH: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

impl Built {
    /// `run` is what stands under `config` of the config document.
    pub fn new(layers: &[(Layer, Form)], run: &str) -> Self {
        let streams: Vec<(Vec<u8>, Form)> =
            layers.iter().map(|(layer, form)| (layer.plain(), *form)).collect();
        Self::of_streams(&streams, run)
    }

    pub fn of_streams(layers: &[(Vec<u8>, Form)], run: &str) -> Self {
        let mut built = Self { blobs: BTreeMap::new(), manifest: (Digest::of(b""), 0) };
        let diffs: Vec<String> =
            layers.iter().map(|(plain, _)| format!("\"{}\"", Digest::of(plain))).collect();
        let config = format!(
            r#"{{"architecture":"{ARCH}","os":"linux","config":{run},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            diffs.join(",")
        );
        let stored: Vec<String> = layers
            .iter()
            .map(|(plain, form)| {
                let (digest, size) = built.blob(compress(plain, *form));
                format!(r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{size}}}"#)
            })
            .collect();
        let (digest, size) = built.blob(config.into_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{size}}},"layers":[{}]}}"#,
            stored.join(",")
        );
        built.manifest = built.blob(manifest.into_bytes());
        built
    }

    pub fn blob(&mut self, bytes: Vec<u8>) -> (Digest, usize) {
        let (digest, size) = (Digest::of(&bytes), bytes.len());
        self.blobs.insert(digest.to_string(), bytes);
        (digest, size)
    }

    /// One entry of an index.
    pub fn pointer(&self, extra: &str) -> String {
        let (digest, size) = self.manifest;
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size}{extra}}}"#
        )
    }

    /// Files of an OCI layout with this image alone.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.files_with(&format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, self.pointer("")))
    }

    pub fn files_with(&self, index: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::from([
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ("index.json".to_owned(), index.as_bytes().to_vec()),
        ]);
        for (digest, bytes) in &self.blobs {
            files.insert(format!("blobs/{}", digest.replace(':', "/")), bytes.clone());
        }
        files
    }

    /// Writes the layout as a folder.
    pub fn layout(&self, folder: &Path) -> String {
        write_files(folder, &self.files());
        folder.display().to_string()
    }
}

pub fn write_files(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

pub fn write_tar(path: &Path, files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut tar = Layer::new();
    for (name, body) in files {
        tar = tar.entry(&Entry { path: name.as_bytes(), body, ..Entry::default() });
    }
    fs::write(path, tar.plain()).unwrap();
    path.display().to_string()
}

/// A folder with a store, room for layouts, and a tree beside it that nothing may touch.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub store: Store,
}

impl Place {
    pub fn new() -> Self {
        Self::with(Settings { docker_config: None, keep_free_bytes: 0, ..Settings::default() })
    }

    pub fn with(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("outside/folder")).unwrap();
        fs::write(dir.path().join("outside/secret"), "untouched").unwrap();
        fs::write(dir.path().join("outside/folder/file"), "untouched").unwrap();
        let store = Store::open(&dir.path().join("images"), settings).unwrap();
        Self { dir, store }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Everything outside the store: paths, kinds, modes, contents.
    pub fn outside(&self) -> Vec<String> {
        let mut seen = Vec::new();
        look(&self.path("outside"), &mut seen);
        let mut top: Vec<String> = names(self.dir.path());
        top.retain(|name| name != "layout");
        seen.extend(top);
        seen
    }

    /// What is left of work that ended badly.
    pub fn rubbish(&self) -> Vec<String> {
        names(&self.path("images/tmp"))
    }
}

impl Drop for Place {
    /// The folder can only go when nothing more is written into it.
    fn drop(&mut self) {
        self.store.settle();
    }
}

pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn look(path: &Path, seen: &mut Vec<String>) {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::symlink_metadata(path).unwrap();
    let (mode, links, size) = (meta.mode(), meta.nlink(), meta.size());
    seen.push(format!("{} {mode:o} {links} {size} {} {}", path.display(), meta.uid(), meta.mtime()));
    if meta.is_dir() {
        for name in names(path) {
            look(&path.join(name), seen);
        }
    } else {
        seen.push(String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
    }
}
