//! Where the parts of a trace lie: in files of their own, packed or not, or together in a tar file.

use super::detect::is_tar;
use super::open::TraceError;
use super::unpack::unpack;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How much of a file is looked at to tell what it is.
const HEAD: u64 = 1 << 16;
/// The most files of a tar file that are looked at.
const MOST: usize = 10_000;

/// A file, or one inside a tar file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    path: PathBuf,
    inside: Option<Inside>,
}

/// Its place in the tar file, unpacked.
#[derive(Clone, Debug)]
struct Inside {
    name: PathBuf,
    begins: u64,
    size: u64,
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> TraceError + use<'_> {
    |source| TraceError::Read { path: path.to_owned(), source }
}

#[expect(clippy::disallowed_methods, reason = "the one place that opens traces")]
fn file(path: &Path) -> Result<impl Read + use<>, TraceError> {
    File::open(path).and_then(unpack).map_err(failed(path))
}

impl Source {
    /// The file itself, whatever is in it.
    pub fn file(path: &Path) -> Self {
        Self { path: path.to_owned(), inside: None }
    }

    /// The file, or what is in it when it is a tar file of one table.
    pub fn table(path: &Path) -> Result<Self, TraceError> {
        let (source, head) = match Contents::of(path)? {
            Contents::Archive(mut files) if files.len() == 1 => files.remove(0),
            Contents::Text(head) => (Self::file(path), head),
            _ => return Ok(Self::file(path)),
        };
        match foreign(&head) {
            Some((what, then)) => Err(TraceError::Foreign { path: source.path(), what, then }),
            None => Ok(source),
        }
    }

    /// Where it is, for messages.
    pub fn path(&self) -> PathBuf {
        self.inside.as_ref().map_or_else(|| self.path.clone(), |inside| self.path.join(&inside.name))
    }

    /// Its name without folders.
    pub fn name(&self) -> String {
        let path = self.inside.as_ref().map_or(&self.path, |inside| &inside.name);
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Its bytes, unpacked.
    pub fn open(&self) -> Result<Box<dyn Read>, TraceError> {
        let mut whole = file(&self.path)?;
        let Some(inside) = &self.inside else { return Ok(Box::new(whole)) };
        io::copy(&mut whole.by_ref().take(inside.begins), &mut io::sink()).map_err(failed(&self.path))?;
        Ok(Box::new(unpack(whole.take(inside.size)).map_err(failed(&self.path))?))
    }
}

/// What a file holds.
pub(super) enum Contents {
    /// One text, with its first bytes.
    Text(Vec<u8>),
    /// Profiles of Pollux or Sia.
    Profiles,
    /// The files of a tar file, each with its first bytes.
    Archive(Vec<(Source, Vec<u8>)>),
}

impl Contents {
    pub fn of(path: &Path) -> Result<Self, TraceError> {
        let mut bytes = Vec::new();
        // A broken file may still show its head.
        let read = file(path)?.take(HEAD).read_to_end(&mut bytes);
        if bytes.is_empty() {
            read.map_err(failed(path))?;
        }
        if is_tar(&bytes) { Self::of_tar(path) } else { Ok(Self::Text(bytes)) }
    }

    fn of_tar(path: &Path) -> Result<Self, TraceError> {
        let mut archive = tar::Archive::new(file(path)?);
        let mut files = Vec::new();
        for entry in archive.entries().map_err(failed(path))?.take(MOST) {
            let mut entry = match entry {
                // Of a file that is cut short its rows up to there are read, and where it ends is told with them.
                Err(_cut) if !files.is_empty() => break,
                entry => entry.map_err(failed(path))?,
            };
            let name = entry.path().map_err(failed(path))?.into_owned();
            let short = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if short.starts_with("placements") {
                return Ok(Self::Profiles);
            }
            // Beside each file some systems keep what they know of it, under its name after `._`.
            if !entry.header().entry_type().is_file() || short.starts_with("._") {
                continue;
            }
            let (begins, size) = (entry.raw_file_position(), entry.size());
            let mut raw = Vec::new();
            let read = entry.by_ref().take(HEAD).read_to_end(&mut raw);
            if raw.is_empty() {
                read.map_err(failed(path))?;
            }
            let mut head = Vec::new();
            // A part of something packed ends in an error, behind what could be unpacked of it.
            drop(unpack(raw.as_slice()).and_then(|input| input.take(HEAD).read_to_end(&mut head)));
            let inside = Some(Inside { name, begins, size });
            files.push((Source { path: path.to_owned(), inside }, head));
        }
        Ok(Self::Archive(files))
    }
}

/// The files of a folder, by name.
pub(super) fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, TraceError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// What a file is packed with, or how its text is coded, where that is not understood; and what makes it understood.
pub(super) fn foreign(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let known: [(&[u8], &str, &str); 6] = [
        (b"\xfd7zXZ\0", "packed with xz", "unpack it with `unxz`"),
        (b"BZh", "packed with bzip2", "unpack it with `bunzip2`"),
        (b"PK\x03\x04", "a zip file", "unpack it with `unzip`"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z file", "unpack it with `7z x`"),
        (b"\xff\xfe", "text in UTF-16", "make it UTF-8 with `iconv -f UTF-16 -t UTF-8`"),
        (b"\xfe\xff", "text in UTF-16", "make it UTF-8 with `iconv -f UTF-16 -t UTF-8`"),
    ];
    known.into_iter().find(|(start, ..)| head.starts_with(start)).map(|(_, what, then)| (what, then))
}
