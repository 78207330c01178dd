//! Images on disk: OCI layouts as a folder or a tar file, and what `docker save` writes.

use super::digest::Digest;
use super::error::ImageError;
use super::manifest::{self, ConfigFile, Descriptor, DockerEntry, Document, MAX_DOCUMENT, Manifest};
use super::tarball::{Kind, Tarball};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Annotation that carries the tag in `index.json`.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Most entries looked at in a tar file.
const MAX_ENTRIES: usize = 200_000;

/// An image on disk, opened.
pub(super) struct Layout {
    /// As it was asked for.
    name: String,
    files: Files,
}

enum Files {
    Folder(PathBuf),
    /// Where each file of the tar lies: (offset, length), or the path a symbolic link points to.
    Tar(PathBuf, BTreeMap<String, Place>),
}

#[derive(Clone, Debug)]
enum Place {
    At(u64, u64),
    Link(String),
}

/// A file of a layout, and its length.
type Opened = (Box<dyn Read>, u64);

/// A layer to be unpacked: what names it, and which file holds it.
pub(super) struct LayerFile {
    /// Digest and size as stored; `docker save` gives none.
    pub stored: Option<(Digest, u64)>,
    file: String,
}

/// A layout's image, read but not unpacked.
pub(super) struct Found {
    pub id: Digest,
    pub config: ConfigFile,
    pub layers: Vec<LayerFile>,
}

/// The path and the tag of `path` or `path:tag`.
pub(super) fn place(text: &str) -> (&Path, Option<&str>) {
    match text.rsplit_once(':') {
        Some((path, tag)) if !Path::new(text).exists() && !tag.contains('/') => (Path::new(path), Some(tag)),
        _ => (Path::new(text), None),
    }
}

impl Layout {
    /// Opens `path`, or `path:tag` when there is nothing at `path:tag`.
    pub(super) fn open(text: &str) -> Result<(Self, Option<String>), ImageError> {
        let (path, tag) = place(text);
        let none = |why| ImageError::NoLayout { path: path.to_owned(), why };
        let meta = std::fs::metadata(path).map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => none("there is nothing there"),
            _ => ImageError::io("look at", path)(why),
        })?;
        let files = if meta.is_dir() {
            Files::Folder(path.to_owned())
        } else if meta.is_file() {
            Files::Tar(path.to_owned(), scan(text, path)?)
        } else {
            return Err(none("it is neither a folder nor a file"));
        };
        Ok((Self { name: text.to_owned(), files }, tag.map(str::to_owned)))
    }

    /// Reads index, manifest and config.
    pub(super) fn find(&self, tag: Option<&str>) -> Result<Found, ImageError> {
        if let Some(bytes) = self.optional("index.json")? {
            return self.find_oci(&bytes, tag);
        }
        if let Some(bytes) = self.optional("manifest.json")? {
            return self.find_docker(&bytes, tag);
        }
        let path = self.path().to_owned();
        Err(ImageError::NoLayout { path, why: "it holds neither index.json nor manifest.json" })
    }

    fn find_oci(&self, index: &[u8], tag: Option<&str>) -> Result<Found, ImageError> {
        let mut document = Document::read(&self.name, index)?;
        let mut entries = document.manifests.take().unwrap_or_default();
        // attestations and signatures are no images
        entries.retain(|entry| !entry.annotations.contains_key("vnd.docker.reference.type"));
        let tagged =
            |entry: &Descriptor| entry.annotations.get(REF_NAME).map(|name| short_tag(name).to_owned());
        let tags: Vec<String> = entries.iter().filter_map(tagged).collect();
        if let Some(tag) = tag {
            entries.retain(|entry| tagged(entry).as_deref() == Some(tag));
            if entries.is_empty() {
                return Err(self.no_tag(tag, &tags));
            }
        } else if entries.len() > 1
            && tags.len() == entries.len()
            && tags.iter().any(|other| *other != tags[0])
        {
            return Err(self.ambiguous(tags));
        }
        // an index may lead to another, once or twice; never in a circle, as digests cannot form one
        let mut bytes;
        for _ in 0..4 {
            let chosen = manifest::choose(&self.name, &entries)?;
            bytes = self.verified(chosen, "the manifest")?;
            let id = chosen.digest;
            document = Document::read(&self.name, &bytes)?;
            match document.manifests.take() {
                Some(inner) => entries = inner,
                None => return self.found(id, document.into_manifest(&self.name)?),
            }
        }
        Err(manifest::malformed(&self.name, "the index", "it leads from index to index"))
    }

    fn found(&self, id: Digest, manifest: Manifest) -> Result<Found, ImageError> {
        let config = self.verified(&manifest.config, "the config")?;
        let layer = |layer: &Descriptor| LayerFile {
            stored: Some((layer.digest, layer.size)),
            file: blob_path(layer.digest),
        };
        Ok(Found {
            id,
            config: ConfigFile::read(&self.name, &config)?,
            layers: manifest.layers.iter().map(layer).collect(),
        })
    }

    fn find_docker(&self, bytes: &[u8], tag: Option<&str>) -> Result<Found, ImageError> {
        let mut entries: Vec<DockerEntry> = manifest::parse(&self.name, "manifest.json", bytes)?;
        let tags_of = |entry: &DockerEntry| entry.repo_tags.clone().unwrap_or_default();
        let tags: Vec<String> = entries.iter().flat_map(tags_of).collect();
        if let Some(tag) = tag {
            entries.retain(|entry| tags_of(entry).iter().any(|name| short_tag(name) == tag || name == tag));
            if entries.is_empty() {
                return Err(self.no_tag(tag, &tags));
            }
        }
        if entries.len() > 1 {
            return Err(self.ambiguous(tags));
        }
        let entry =
            entries.pop().ok_or_else(|| manifest::malformed(&self.name, "manifest.json", "it is empty"))?;
        let config = self.optional(&entry.config)?.ok_or_else(|| {
            manifest::malformed(&self.name, "manifest.json", "it names a config that is missing")
        })?;
        let layers = entry.layers.into_iter().map(|file| LayerFile { stored: None, file }).collect();
        Ok(Found { id: Digest::of(&config), config: ConfigFile::read(&self.name, &config)?, layers })
    }

    /// Opens a layer as stored.
    pub(super) fn layer(&self, layer: &LayerFile) -> Result<Box<dyn Read>, ImageError> {
        self.open_file(&layer.file)?.map(|(reader, _)| reader).ok_or_else(|| {
            manifest::malformed(&self.name, "the layout", &format!("{} is missing", layer.file))
        })
    }

    fn verified(&self, to: &Descriptor, what: &'static str) -> Result<Vec<u8>, ImageError> {
        let path = blob_path(to.digest);
        let bytes = self
            .optional(&path)?
            .ok_or_else(|| manifest::malformed(&self.name, "the layout", &format!("{path} is missing")))?;
        match Digest::of(&bytes) {
            got if got == to.digest => Ok(bytes),
            got => Err(ImageError::DigestMismatch {
                what: format!("{what} of {}", self.name),
                expected: to.digest,
                got,
            }),
        }
    }

    fn optional(&self, file: &str) -> Result<Option<Vec<u8>>, ImageError> {
        let Some((reader, length)) = self.open_file(file)? else { return Ok(None) };
        if length > MAX_DOCUMENT {
            return Err(manifest::malformed(&self.name, "the layout", &format!("{file} has {length} bytes")));
        }
        let mut bytes = Vec::new();
        reader.take(MAX_DOCUMENT).read_to_end(&mut bytes).map_err(ImageError::io("read", Path::new(file)))?;
        Ok(Some(bytes))
    }

    fn open_file(&self, file: &str) -> Result<Option<Opened>, ImageError> {
        match &self.files {
            Files::Folder(folder) => {
                if Path::new(file).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
                    return Ok(None);
                }
                let path = folder.join(file);
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let held =
                    rustix::fs::open(folder, flags, Mode::empty()).map_err(ImageError::io("open", folder))?;
                // No link in a layout gives away what is outside of it.
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let opened = match openat2(&held, file, flags, Mode::empty(), ResolveFlags::BENEATH) {
                    Ok(opened) => File::from(opened),
                    Err(Errno::NOENT) => return Ok(None),
                    Err(Errno::XDEV) => {
                        let why = "a link in it leads out of it";
                        return Err(ImageError::NoLayout { path, why });
                    }
                    Err(why) => return Err(ImageError::io("open", &path)(why)),
                };
                let meta = opened.metadata().map_err(ImageError::io("look at", &path))?;
                Ok(meta.is_file().then(|| (Box::new(opened) as Box<dyn Read>, meta.len())))
            }
            Files::Tar(path, places) => {
                let mut name = file.to_owned();
                // links of links occur where `docker save` shares layers; eight is plenty
                for _ in 0..8 {
                    match places.get(&name) {
                        None => return Ok(None),
                        Some(Place::Link(to)) => name.clone_from(to),
                        Some(&Place::At(offset, length)) => {
                            let mut opened = File::open(path).map_err(ImageError::io("open", path))?;
                            opened.seek(SeekFrom::Start(offset)).map_err(ImageError::io("read", path))?;
                            return Ok(Some((Box::new(opened.take(length)), length)));
                        }
                    }
                }
                Ok(None)
            }
        }
    }

    fn path(&self) -> &Path {
        match &self.files {
            Files::Folder(path) | Files::Tar(path, _) => path,
        }
    }

    fn no_tag(&self, tag: &str, tags: &[String]) -> ImageError {
        let path = self.path().display().to_string();
        let tags = if tags.is_empty() { "no tags".to_owned() } else { tags.join(", ") };
        ImageError::NoTag { path, tag: tag.to_owned(), tags }
    }

    fn ambiguous(&self, tags: Vec<String>) -> ImageError {
        let path = self.path().display().to_string();
        ImageError::Ambiguous { path, count: tags.len(), tags: tags.join(", ") }
    }
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// `docker.io/library/debian:12` and `12` both mean the tag `12`.
fn short_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag,
        _ => name,
    }
}

/// Reads the headers of a tar file; bodies are jumped over.
fn scan(image: &str, path: &Path) -> Result<BTreeMap<String, Place>, ImageError> {
    let file = File::open(path).map_err(ImageError::io("open", path))?;
    let none = |why| ImageError::NoLayout { path: path.to_owned(), why };
    let mut magic = [0; 4];
    let read = (&file).read(&mut magic).map_err(ImageError::io("read", path))?;
    if magic[..read].starts_with(&[0x1f, 0x8b]) || magic[..read] == [0x28, 0xb5, 0x2f, 0xfd] {
        return Err(none("it is a compressed tar; unpack it with gunzip or unzstd first"));
    }
    (&file).rewind().map_err(ImageError::io("read", path))?;
    let mut places = BTreeMap::new();
    let mut tarball = Tarball::new(io::BufReader::new(&file));
    let bad = |why: super::UnpackError| manifest::malformed(image, "the tar file", &why.to_string());
    while let Some(entry) = tarball.next().map_err(bad)? {
        let name = clean(&String::from_utf8_lossy(&entry.path));
        match entry.kind {
            Kind::File => {
                places.insert(name, Place::At(entry.offset, entry.size));
                tarball.jump(|reader, bytes| reader.seek_relative(bytes)).map_err(bad)?;
            }
            Kind::Symlink => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                let target = clean(&format!("{folder}/{}", String::from_utf8_lossy(&entry.link)));
                places.insert(name, Place::Link(target));
            }
            Kind::HardLink => {
                places.insert(name, Place::Link(clean(&String::from_utf8_lossy(&entry.link))));
            }
            _ => {}
        }
        if places.len() > MAX_ENTRIES {
            return Err(none("it holds too many files for an image"));
        }
    }
    Ok(places)
}

/// A path inside a tar file, `.` and `..` worked out by text; it names an entry and never a file on disk.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
