//! Logs of one task: what it wrote, byte for byte, in numbered files, with an index that says when and where.
//!
//! `log.N` holds standard output and error as they came; `log.N.idx` holds one 16-byte entry a write: when
//! (milliseconds, 8 bytes), how many bytes (4), which stream (1 byte: 1 output, 2 error), 3 bytes zero; all
//! big-endian. The entry is written before its bytes, so that who reads bytes finds whose they are. Bytes without an
//! entry (the machine went down and kept the one and not the other) count as output.

use crate::tolerate;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output, or a terminal.
    Out,
    /// Standard error.
    Err,
}

pub(crate) const ENTRY: usize = 16;
/// Bytes that must be free before output is kept again once some was lost.
const ENOUGH: u64 = 64 << 10;

pub(crate) fn entry(at_ms: u64, len: u32, stream: Stream) -> [u8; ENTRY] {
    let mut bytes = [0_u8; ENTRY];
    bytes[..8].copy_from_slice(&at_ms.to_be_bytes());
    bytes[8..12].copy_from_slice(&len.to_be_bytes());
    bytes[12] = if stream == Stream::Out { 1 } else { 2 };
    bytes
}

/// The file with this number.
#[must_use]
pub fn file(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("log.{number}"))
}

/// The index of the file with this number.
#[must_use]
pub fn index(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("log.{number}.idx"))
}

/// Numbers of the files there are, ascending.
#[must_use]
pub fn numbers(dir: &Path) -> Vec<u64> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut numbers: Vec<u64> =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("log.")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Writes a task's logs and keeps them within their size.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    file_bytes: u64,
    files: u32,
    number: u64,
    written: u64,
    /// Data and index; none before the first write, for many tasks say nothing.
    open: Option<(File, File)>,
    /// Bytes of the task that were kept, in all files.
    total: u64,
    /// Bytes that were lost since the last write that went well.
    lost: u64,
}

impl Writer {
    /// Begins in `dir`, which has no logs yet.
    #[must_use]
    pub fn new(dir: &Path, file_bytes: u64, files: u32) -> Self {
        let (file_bytes, files) = (file_bytes.max(4096), files.max(1));
        Self {
            dir: dir.to_path_buf(),
            file_bytes,
            files,
            number: 0,
            written: 0,
            open: None,
            total: 0,
            lost: 0,
        }
    }

    /// Adds what came at one moment; before it, how much was lost for want of room since the last time.
    ///
    /// # Errors
    /// The disk is full; what was written stays.
    pub fn write(&mut self, at_ms: u64, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        // A little room that comes and goes would leave crumbs of everything.
        if self.lost > 0 && !self.has_room() {
            self.lost += len;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let before = self.total;
        let done = self.tell_lost(at_ms).and_then(|()| self.add(at_ms, stream, bytes));
        if done.is_err() {
            self.lost += len.saturating_sub(self.total - before);
        }
        done
    }

    /// The same when nothing comes any more.
    ///
    /// # Errors
    /// The disk is still full.
    pub fn tell_lost(&mut self, at_ms: u64) -> io::Result<()> {
        if self.lost == 0 {
            return Ok(());
        }
        let text = format!("\n[pond: {} bytes of output are lost: the disk was full]\n", self.lost);
        self.add(at_ms, Stream::Err, text.as_bytes())?;
        self.total -= text.len() as u64;
        self.lost = 0;
        Ok(())
    }

    fn has_room(&self) -> bool {
        rustix::fs::statvfs(&self.dir).is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) >= ENOUGH)
    }

    fn add(&mut self, at_ms: u64, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if self.written >= self.file_bytes {
            self.rotate()?;
        }
        let (data, index) = match &mut self.open {
            Some(open) => open,
            none => none.insert(pair(&self.dir, self.number)?),
        };
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let before = index.metadata()?.len();
        let result = index.write_all(&entry(at_ms, len, stream)).and_then(|()| data.write_all(bytes));
        if result.is_ok() {
            self.written += u64::from(len);
            self.total += u64::from(len);
            return Ok(());
        }
        // As much as there was room for is told, and no more.
        let kept = data.metadata()?.len().saturating_sub(self.written);
        index.set_len(before)?;
        if kept > 0 {
            index.write_all(&entry(at_ms, u32::try_from(kept).unwrap_or(len), stream))?;
            self.written += kept;
            self.total += kept;
        }
        result
    }

    fn rotate(&mut self) -> io::Result<()> {
        let next = self.number + 1;
        self.open = Some(pair(&self.dir, next)?);
        self.number = next;
        self.written = 0;
        if let Some(oldest) = next.checked_sub(u64::from(self.files)) {
            tolerate(fs::remove_file(file(&self.dir, oldest)));
            tolerate(fs::remove_file(index(&self.dir, oldest)));
        }
        Ok(())
    }
}

fn pair(dir: &Path, number: u64) -> io::Result<(File, File)> {
    let append = |path: PathBuf| OpenOptions::new().create(true).append(true).open(path);
    // Whoever sees the data finds its index.
    let entries = append(index(dir, number))?;
    Ok((append(file(dir, number))?, entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::in_mount_namespace;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn what_a_full_disk_lost_is_counted_in_the_log() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = std::env::temp_dir().join(format!("pond-logs-full-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let text = in_mount_namespace(|| {
            crate::ground::mount_memory(&dir, "size=256k")?;
            let mut writer = Writer::new(&dir, 1 << 30, 1);
            let block = [b'x'; 1000];
            let wrote: usize = (0..400).filter(|at| writer.write(*at, Stream::Out, &block).is_ok()).count();
            assert!(wrote > 100 && wrote < 400, "{wrote}");
            // Room that is too little for the note and what comes after it is left alone.
            assert!(writer.write(400, Stream::Out, b"more\n").is_err());
            rustix::mount::mount_remount(&dir, rustix::mount::MountFlags::empty(), c"size=1m")?;
            writer.write(401, Stream::Out, b"after\n")?;
            fs::read_to_string(file(&dir, 0))
        });
        let text = text.unwrap();
        let kept = text.bytes().take_while(|byte| *byte == b'x').count();
        let lost = 400 * 1000 - kept + "more\n".len();
        let note = format!("\n[pond: {lost} bytes of output are lost: the disk was full]\nafter\n");
        assert_eq!(text[kept..], note);
        fs::remove_dir_all(&dir).unwrap();
    }

    /// Whoever follows a log reads bytes first and asks then whose they are.
    #[test]
    fn bytes_that_can_be_read_have_their_entry() {
        let dir = std::env::temp_dir().join(format!("pond-logs-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let over = AtomicBool::new(false);
        let mut looks = 0_u32;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = Writer::new(&dir, 1 << 30, 1);
                for at in 0..60_000 {
                    let stream = if at % 2 == 0 { Stream::Out } else { Stream::Err };
                    writer.write(at, stream, b"line\n").unwrap();
                }
                over.store(true, Ordering::Release);
            });
            while !over.load(Ordering::Acquire) {
                let bytes = file(&dir, 0).metadata().map_or(0, |meta| meta.len());
                let entries = index(&dir, 0).metadata().map_or(0, |meta| meta.len()) / ENTRY as u64;
                assert!(
                    entries * 5 >= bytes,
                    "{bytes} bytes can be read, and whose {} of them are",
                    entries * 5
                );
                looks += u32::from(bytes > 0);
            }
        });
        assert!(looks > 0, "it was written before anybody looked");
        assert_eq!(index(&dir, 0).metadata().unwrap().len(), 60_000 * ENTRY as u64);
        fs::remove_dir_all(&dir).unwrap();
    }
}
