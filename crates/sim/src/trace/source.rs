//! Where the parts of a trace lie: in files of their own, packed or not, or together in a tar file.

use super::detect::is_tar;
use super::open::TraceError;
use super::unpack::{Unpacked, unpack};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much of a file is looked at to tell what it is.
const HEAD: u64 = 1 << 16;
/// The most files of a tar file that are looked at.
const MOST: usize = 10_000;

/// The most that is kept of a pipe, in bytes, as it comes out of it.
const LARGEST: u64 = 4 << 30;

/// A file, or one inside a tar file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    path: PathBuf,
    inside: Option<Inside>,
    /// What came out of a pipe, which gives it once.
    kept: Option<Arc<[u8]>>,
}

/// A file of a folder or a tar file that may belong to the trace and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl From<TraceError> for PassedOver {
    fn from(why: TraceError) -> Self {
        match why {
            TraceError::Foreign { path, what, then } => {
                Self { path, why: format!("is {what}, which is not read; {then} first") }
            }
            TraceError::Read { path, source } => Self { path, why: format!("cannot be read ({source})") },
            other => Self { path: PathBuf::new(), why: other.to_string() },
        }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.why)
    }
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
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// What is in a file that can be read only once, a pipe; `None` for any other.
///
/// # Errors
/// It cannot be read, or holds more than is kept of one.
pub fn of_pipe(path: &Path) -> io::Result<Option<Arc<[u8]>>> {
    if !fs::metadata(path)?.file_type().is_fifo() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(
            "more comes out of this pipe than is kept of one; write it into a file",
        ));
    }
    Ok(Some(bytes.into()))
}

impl Source {
    /// A file that can be read as often as one likes, whatever is in it.
    pub fn file(path: &Path) -> Self {
        Self { path: path.to_owned(), inside: None, kept: None }
    }

    /// A file or a pipe; `kept`: what came out of it already.
    pub fn at(path: &Path, kept: Option<&Arc<[u8]>>) -> Result<Self, TraceError> {
        let kept = match kept {
            Some(kept) => Some(Arc::clone(kept)),
            None => of_pipe(path).map_err(failed(path))?,
        };
        Ok(Self { kept, ..Self::file(path) })
    }

    /// The file, or what is in it when it is a tar file of one table.
    pub fn table(path: &Path) -> Result<Self, TraceError> {
        let file = Self::at(path, None)?;
        let (source, head) = match Contents::of(&file)? {
            Contents::Archive(Archive { mut files, .. }) if files.len() == 1 => files.remove(0),
            Contents::Text(Head { text, .. }) => (file, text),
            _ => return Ok(file),
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

    /// The file, or what the pipe gave, unpacked.
    fn whole(&self) -> Result<Unpacked<Box<dyn Read>>, TraceError> {
        let raw: io::Result<Box<dyn Read>> = match &self.kept {
            Some(kept) => Ok(Box::new(Cursor::new(Arc::clone(kept)))),
            None => open(&self.path).map(|file| Box::new(file) as _),
        };
        raw.and_then(unpack).map_err(failed(&self.path))
    }

    /// Its bytes, unpacked.
    pub fn open(&self) -> Result<Box<dyn Read>, TraceError> {
        let mut whole = self.whole()?;
        let Some(inside) = &self.inside else { return Ok(Box::new(whole)) };
        io::copy(&mut whole.by_ref().take(inside.begins), &mut io::sink()).map_err(failed(&self.path))?;
        Ok(Box::new(unpack(whole.take(inside.size)).map_err(failed(&self.path))?))
    }
}

/// What a file holds.
pub(super) enum Contents {
    /// One text.
    Text(Head),
    /// Profiles of Pollux or Sia.
    Profiles,
    /// A tar file.
    Archive(Archive),
}

/// The first bytes of a file.
pub(super) struct Head {
    /// Them, unpacked.
    pub text: Vec<u8>,
    /// Why there are no more of them.
    pub broken: Option<io::Error>,
}

/// The files of a tar file, each with its first bytes.
#[derive(Default)]
pub(super) struct Archive {
    pub files: Vec<(Source, Vec<u8>)>,
    /// What cannot be read.
    pub trouble: Vec<TraceError>,
}

impl Contents {
    pub fn of(source: &Source) -> Result<Self, TraceError> {
        let mut text = Vec::new();
        // A broken file may still show its head.
        let broken = source.whole()?.take(HEAD).read_to_end(&mut text).err();
        match broken {
            Some(why) if text.is_empty() => Err(failed(&source.path)(why)),
            _ if is_tar(&text) => Self::of_tar(source),
            broken => Ok(Self::Text(Head { text, broken })),
        }
    }

    fn of_tar(tar: &Source) -> Result<Self, TraceError> {
        let path = tar.path.as_path();
        let mut archive = tar::Archive::new(tar.whole()?);
        let Archive { mut files, mut trouble } = Archive::default();
        for entry in archive.entries().map_err(failed(path))?.take(MOST) {
            let mut entry = match entry {
                // What is whole before is read. Whether something is behind it cannot be told.
                Err(cut) if !files.is_empty() => {
                    trouble.push(failed(path)(cut));
                    break;
                }
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
            let inside = Some(Inside { name, begins, size });
            let source = Source { inside, ..tar.clone() };
            if let (Err(cut), true) = (read, raw.is_empty()) {
                trouble.push(failed(&source.path())(cut));
                continue;
            }
            let mut head = Vec::new();
            // A part of something packed ends in an error, behind what could be unpacked of it.
            let unpacked = unpack(raw.as_slice()).and_then(|input| input.take(HEAD).read_to_end(&mut head));
            match (unpacked, foreign(&head)) {
                (_, Some((what, then))) => {
                    trouble.push(TraceError::Foreign { path: source.path(), what, then });
                }
                (Err(why), _) if head.is_empty() => trouble.push(failed(&source.path())(why)),
                _ => files.push((source, head)),
            }
        }
        Ok(Self::Archive(Archive { files, trouble }))
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
