//! A tar stream, entry by entry, with every amount bounded: header extensions are read here and not by a
//! library, because a hostile stream may declare one of many gigabytes.

use super::error::UnpackError;
use std::io::{self, Read};
use tar::{EntryType, Header, PaxExtensions};

const BLOCK: usize = 512;
/// Longest extension header (long names, PAX records): a path is at most 4 KiB, an xattr 64 KiB.
const MAX_EXTENSION: u64 = 1 << 20;
/// Most extension headers before one entry; writers use at most three.
const MAX_EXTENSIONS: u64 = 16;

/// What sort of entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Symlink,
    HardLink,
    Fifo,
    Device,
    /// Something without meaning in an image; skipped.
    Other,
}

/// One entry; its bytes follow from [`Tarball::read`].
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime_s: i64,
    pub size: u64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where its bytes start in the stream.
    pub offset: u64,
}

/// What extension headers say about the entry after them.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime_s: Option<i64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tar stream being read.
pub(super) struct Tarball<R> {
    inner: R,
    offset: u64,
    /// Bytes of the present entry not yet read, and of its padding.
    left: u64,
    padding: u64,
}

impl<R: Read> Tarball<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, offset: 0, left: 0, padding: 0 }
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry, or `None` at the end mark.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        let mut extended = Extended::default();
        for _ in 0..MAX_EXTENSIONS {
            self.skip_rest()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = self.number(header.entry_size())?;
            match header.entry_type() {
                EntryType::GNULongName => extended.path = Some(without_nul(self.extension(size)?)),
                EntryType::GNULongLink => extended.link = Some(without_nul(self.extension(size)?)),
                EntryType::XHeader => self.pax(size, &mut extended)?,
                EntryType::XGlobalHeader => drop(self.extension(size)?),
                EntryType::GNUSparse => return Err(self.not_tar("sparse entries are not supported")),
                _ => return self.entry(&header, size, extended).map(Some),
            }
        }
        Err(UnpackError::TooLarge { limit: MAX_EXTENSIONS, what: "extension headers in a row" })
    }

    fn entry(&mut self, header: &Header, size: u64, extended: Extended) -> Result<Entry, UnpackError> {
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Link => Kind::HardLink,
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char | EntryType::Block => Kind::Device,
            _ => Kind::Other,
        };
        let size = extended.size.unwrap_or(size);
        let path = extended.path.unwrap_or_else(|| header.path_bytes().into_owned());
        // before POSIX, a folder was a file whose name ends in a slash
        let kind = if kind == Kind::File && path.ends_with(b"/") { Kind::Folder } else { kind };
        let link = extended
            .link
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
            .unwrap_or_default();
        let mtime_s = match extended.mtime_s {
            Some(seconds) => seconds,
            None => i64::try_from(self.number(header.mtime())?).unwrap_or(0),
        };
        // links carry a size in some old archives, but never bytes
        let body = if matches!(kind, Kind::Symlink | Kind::HardLink | Kind::Folder) { 0 } else { size };
        self.expect_body(body);
        Ok(Entry {
            path,
            kind,
            link,
            mode: self.number(header.mode())? & 0o7777,
            uid: extended.uid.map_or_else(|| self.number(header.uid()), Ok)?,
            gid: extended.gid.map_or_else(|| self.number(header.gid()), Ok)?,
            mtime_s,
            size: body,
            xattrs: extended.xattrs,
            offset: self.offset,
        })
    }

    fn header(&mut self) -> Result<Option<Header>, UnpackError> {
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            0 => return Ok(None), // some writers leave the end mark out
            BLOCK => {}
            _ => return Err(UnpackError::Truncated { offset: self.offset }),
        }
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, &byte)| if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(byte) })
            .sum();
        let header = Header::from_byte_slice(&block).clone();
        match header.cksum() {
            Ok(written) if written == sum => Ok(Some(header)),
            _ => Err(self.not_tar("its checksum is wrong")),
        }
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        if size > MAX_EXTENSION {
            return Err(UnpackError::TooLarge { limit: MAX_EXTENSION, what: "bytes of extension header" });
        }
        self.expect_body(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(|why| self.io_error(why))?;
        if bytes.len() as u64 != size {
            return Err(UnpackError::Truncated { offset: self.offset });
        }
        Ok(bytes)
    }

    fn pax(&mut self, size: u64, extended: &mut Extended) -> Result<(), UnpackError> {
        let bytes = self.extension(size)?;
        for record in PaxExtensions::new(&bytes) {
            let Ok(record) = record else { return Err(self.not_tar("a PAX record is malformed")) };
            let value = record.value_bytes();
            let text = std::str::from_utf8(value).unwrap_or("");
            match record.key_bytes() {
                b"path" => extended.path = Some(value.to_vec()),
                b"linkpath" => extended.link = Some(value.to_vec()),
                b"size" => extended.size = Some(self.pax_number(text)?),
                b"uid" => extended.uid = Some(self.pax_number(text)?),
                b"gid" => extended.gid = Some(self.pax_number(text)?),
                b"mtime" => extended.mtime_s = text.split('.').next().and_then(|whole| whole.parse().ok()),
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(self.not_tar("sparse entries are not supported"));
                }
                key => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        extended.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }

    fn pax_number(&self, text: &str) -> Result<u64, UnpackError> {
        text.parse().map_err(|_not_a_number| self.not_tar("a PAX number is malformed"))
    }

    fn number<T>(&self, read: io::Result<T>) -> Result<T, UnpackError> {
        read.map_err(|_not_a_number| self.not_tar("a number is malformed"))
    }

    fn expect_body(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn skip_rest(&mut self) -> Result<(), UnpackError> {
        let mut scratch = [0; 16 * 1024];
        let mut rest = self.left.saturating_add(self.padding);
        while rest > 0 {
            let want = usize::try_from(rest).unwrap_or(scratch.len()).min(scratch.len());
            match self.fill(&mut scratch[..want])? {
                0 => return Err(UnpackError::Truncated { offset: self.offset }),
                got => rest -= got as u64,
            }
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Jumps over the rest of the present entry instead of reading it.
    pub(super) fn jump(
        &mut self,
        seek: impl FnOnce(&mut R, i64) -> io::Result<()>,
    ) -> Result<(), UnpackError> {
        let rest = self.left.saturating_add(self.padding);
        let far = i64::try_from(rest).map_err(|_too_far| self.not_tar("an entry is too long"))?;
        seek(&mut self.inner, far).map_err(|why| self.io_error(why))?;
        self.offset = self.offset.saturating_add(rest);
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Reads until `buffer` is full or the stream ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(self.io_error(why)),
            }
        }
        self.offset = self.offset.saturating_add(filled as u64);
        Ok(filled)
    }

    fn not_tar(&self, why: &'static str) -> UnpackError {
        UnpackError::NotTar { offset: self.offset, why }
    }

    fn io_error(&self, source: io::Error) -> UnpackError {
        UnpackError::Io { action: "read", path: format!("byte {} of the layer", self.offset), source }
    }
}

/// Reads the bytes of the present entry.
impl<R: Read> Read for Tarball<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..want])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        self.offset = self.offset.saturating_add(read as u64);
        Ok(read)
    }
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
