//! Reading a task's output while it grows: follows rotation and new attempts, knows the stream and the
//! moment of each piece from the index beside each file.

use crate::access::Access;
use crate::api::types::{LogLine, LogQuery};
use pond_core::ids::TaskId;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of one entry of an index.
const ENTRY: usize = 16;
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// A line longer than this is given to who takes parts in parts.
const LONGEST: usize = 64 * 1024;
/// A line longer than this is cut for who takes whole lines.
const WHOLE: usize = 8 << 20;
/// Bytes of lines that are not whole yet, of all tasks that one request reads.
const HELD: usize = 256 << 20;

/// One piece of the index: bytes written at once to one stream.
#[derive(Clone, Copy, Debug)]
struct Piece {
    at_ms: u64,
    left: usize,
    error: bool,
}

/// The file that is being read.
#[derive(Debug)]
struct Open {
    inode: u64,
    data: File,
    index: Option<File>,
    path: PathBuf,
    pieces: VecDeque<Piece>,
    partial_entry: Vec<u8>,
}

/// A line that has begun and not ended, per stream.
#[derive(Debug, Default)]
struct Begun {
    at_ms: Option<u64>,
    bytes: Vec<u8>,
    /// A part of it was given out.
    open: bool,
}

/// Reads one task's output from where it was left.
#[derive(Debug)]
pub struct Tail {
    task: TaskId,
    attempt: Option<u32>,
    tail: Option<u64>,
    grep: Option<String>,
    since_ms: u64,
    parts: bool,
    /// A line is given out, or a part of it, when it is this long.
    longest: usize,
    open: Option<Open>,
    begun: [Begun; 2],
    /// Files were rotated away unread since the last line.
    missed: bool,
}

/// What one reading gave.
#[derive(Debug, Default)]
pub struct Gained {
    /// Whole lines.
    pub lines: Vec<LogLine>,
    /// Whether more is there already.
    pub more: bool,
}

impl Tail {
    /// A reader of this task, as the query asks, beside those of other tasks: `several` in all.
    #[must_use]
    pub fn new(task: TaskId, query: &LogQuery, several: usize) -> Self {
        let parts = query.parts == Some(true) && query.grep.is_none();
        let whole = (HELD / several.max(1)).clamp(LONGEST, WHOLE);
        Self {
            task,
            attempt: query.attempt,
            tail: query.tail,
            grep: query.grep.clone(),
            since_ms: query.since_ms.unwrap_or(0),
            parts,
            longest: if parts { LONGEST } else { whole },
            open: None,
            begun: [Begun::default(), Begun::default()],
            missed: false,
        }
    }

    /// The task.
    #[must_use]
    pub const fn task(&self) -> TaskId {
        self.task
    }

    /// Reads what has come, at most [`CHUNK`] bytes. `done`: nothing more will come; a line without an end counts.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(&mut self, access: &dyn Access, done: bool) -> io::Result<Gained> {
        let files = access.log_files(self.task, self.attempt)?;
        self.read_from(&files, done)
    }

    /// The same, of these files.
    fn read_from(&mut self, files: &[PathBuf], done: bool) -> io::Result<Gained> {
        if self.open.is_none() && !self.begin(files)? {
            return Ok(Gained::default());
        }
        let mut gained = Gained::default();
        let mut buffer = vec![0; CHUNK];
        let len = self.fill(&mut buffer)?;
        if len > 0 {
            gained.more = true;
            self.cut(&buffer[..len], &mut gained.lines)?;
        } else if self.advance(files, &mut gained.lines)? {
            gained.more = true;
        } else if done {
            for error in [false, true] {
                self.end_line(error, &mut gained.lines);
            }
        } else if self.parts {
            for error in [false, true] {
                self.part_of_line(error, &mut gained.lines);
            }
        }
        gained.lines.retain(|line| line.at_ms.is_none_or(|at| at >= self.since_ms));
        if let Some(text) = &self.grep {
            gained.lines.retain(|line| line.line.contains(text.as_str()));
        }
        Ok(gained)
    }

    /// Opens the first file, or the one in which the asked-for last lines begin.
    fn begin(&mut self, files: &[PathBuf]) -> io::Result<bool> {
        let Some(first) = files.first() else { return Ok(false) };
        let Some(lines) = self.tail.take() else {
            self.open = Some(Open::new(first)?);
            return Ok(true);
        };
        let mut wanted = lines;
        for (place, path) in files.iter().enumerate().rev() {
            let (offset, found) = last_lines(path, wanted)?;
            wanted -= found.min(wanted);
            if wanted == 0 || place == 0 {
                let mut open = Open::new(path)?;
                open.skip(offset)?;
                self.open = Some(open);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.open {
            Some(open) => open.data.read(buffer),
            None => Ok(0),
        }
    }

    /// At the end of a file: goes on to the one after it, or to the first of a new attempt.
    /// What an attempt wrote and nobody can read any more, because its oldest files go first, is said with the next line.
    fn advance(&mut self, files: &[PathBuf], lines: &mut Vec<LogLine>) -> io::Result<bool> {
        let Some(open) = &self.open else { return Ok(false) };
        let place = files.iter().position(|path| path.metadata().is_ok_and(|meta| meta.ino() == open.inode));
        let next = match place {
            Some(place) => files.get(place + 1),
            None => files.first(),
        };
        let Some(next) = next else { return Ok(false) };
        if place.is_none() && next.parent() == open.path.parent() {
            for error in [false, true] {
                self.end_line(error, lines);
            }
            self.missed = true;
        }
        self.open = Some(Open::new(next)?);
        Ok(true)
    }

    /// Cuts bytes into lines, each stream on its own.
    fn cut(&mut self, mut bytes: &[u8], lines: &mut Vec<LogLine>) -> io::Result<()> {
        while !bytes.is_empty() {
            let Some(open) = &mut self.open else { return Ok(()) };
            let (len, at_ms, error) = open.next_piece(bytes.len())?;
            let (piece, rest) = bytes.split_at(len);
            bytes = rest;
            for part in piece.split_inclusive(|&byte| byte == b'\n') {
                let begun = &mut self.begun[usize::from(error)];
                begun.at_ms = begun.at_ms.or(at_ms);
                begun.bytes.extend_from_slice(part);
                let full = begun.bytes.len() >= self.longest;
                if part.ends_with(b"\n") || (full && !self.parts) {
                    self.end_line(error, lines);
                } else if full {
                    self.part_of_line(error, lines);
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, error: bool, lines: &mut Vec<LogLine>) {
        let begun = std::mem::take(&mut self.begun[usize::from(error)]);
        if begun.bytes.is_empty() && !begun.open {
            return;
        }
        let bytes = begun.bytes.strip_suffix(b"\n").unwrap_or(&begun.bytes);
        let line = self.line(error, begun.at_ms, bytes, false);
        lines.push(line);
    }

    /// What has come of a line that has no end yet, but for a character of which only a part has come.
    fn part_of_line(&mut self, error: bool, lines: &mut Vec<LogLine>) {
        let begun = &mut self.begun[usize::from(error)];
        let whole = match std::str::from_utf8(&begun.bytes) {
            Err(why) if why.error_len().is_none() => why.valid_up_to(),
            _ => begun.bytes.len(),
        };
        if whole == 0 {
            return;
        }
        begun.open = true;
        let (at_ms, part) = (begun.at_ms, begun.bytes.drain(..whole).collect::<Vec<u8>>());
        let line = self.line(error, at_ms, &part, true);
        lines.push(line);
    }

    fn line(&mut self, error: bool, at_ms: Option<u64>, bytes: &[u8], open: bool) -> LogLine {
        LogLine {
            task: self.task.to_string(),
            stream: if error { "stderr" } else { "stdout" }.to_owned(),
            at_ms,
            line: String::from_utf8_lossy(bytes).into_owned(),
            open,
            missed: std::mem::take(&mut self.missed),
        }
    }
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        let data = File::open(path)?;
        let mut index = path.as_os_str().to_owned();
        index.push(".idx");
        Ok(Self {
            inode: data.metadata()?.ino(),
            data,
            index: File::open(index).ok(),
            path: path.to_owned(),
            pieces: VecDeque::new(),
            partial_entry: Vec::new(),
        })
    }

    /// How many of the next `most` bytes belong together, since when, and whether to the error stream.
    /// Bytes without an entry count as output: the machine went down between the two writes.
    fn next_piece(&mut self, most: usize) -> io::Result<(usize, Option<u64>, bool)> {
        if self.pieces.is_empty() {
            self.read_index()?;
        }
        let Some(piece) = self.pieces.front_mut() else { return Ok((most, None, false)) };
        let len = piece.left.min(most);
        let (at_ms, error) = (piece.at_ms, piece.error);
        piece.left -= len;
        if piece.left == 0 {
            self.pieces.pop_front();
        }
        Ok((len, Some(at_ms), error))
    }

    fn read_index(&mut self) -> io::Result<()> {
        if self.index.is_none() {
            let mut index = self.path.as_os_str().to_owned();
            index.push(".idx");
            self.index = File::open(index).ok();
        }
        let Some(index) = &mut self.index else { return Ok(()) };
        index.take(4096 * ENTRY as u64).read_to_end(&mut self.partial_entry)?;
        let whole = self.partial_entry.len() / ENTRY * ENTRY;
        for entry in self.partial_entry[..whole].as_chunks::<ENTRY>().0 {
            let (at, rest) = entry.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
            let (len, rest) = rest.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
            let left = u32::from_be_bytes(*len) as usize;
            if left > 0 {
                let error = rest.first() == Some(&2);
                self.pieces.push_back(Piece { at_ms: u64::from_be_bytes(*at), left, error });
            }
        }
        self.partial_entry.drain(..whole);
        Ok(())
    }

    /// Goes to `offset` in the data, and to the piece it lies in.
    fn skip(&mut self, offset: u64) -> io::Result<()> {
        self.data.seek(SeekFrom::Start(offset))?;
        let mut left = offset;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let (len, at_ms, _) = self.next_piece(most)?;
            if at_ms.is_none() {
                break;
            }
            left -= len as u64;
        }
        Ok(())
    }
}

/// Where the last `wanted` lines of a file begin, and how many there are; a last line without its end counts.
fn last_lines(path: &Path, wanted: u64) -> io::Result<(u64, u64)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if wanted == 0 || size == 0 {
        return Ok((size, 0));
    }
    let mut buffer = vec![0; CHUNK];
    let mut breaks = 0;
    let mut unfinished = 0;
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let block = &mut buffer[..usize::try_from(end - start).unwrap_or(CHUNK)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if end == size {
            unfinished = u64::from(block.last() != Some(&b'\n'));
        }
        for (place, _) in block.iter().enumerate().rev().filter(|&(_, &byte)| byte == b'\n') {
            // The break that ends the line before the wanted ones.
            if breaks + unfinished == wanted {
                return Ok((start + place as u64 + 1, wanted));
            }
            breaks += 1;
        }
        end = start;
    }
    Ok((0, breaks + unfinished))
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, LogLine, LogQuery, Tail, WHOLE};
    use pond_core::ids::JobId;
    use std::fs;
    use std::path::PathBuf;

    /// Files in a folder of their own, as a task leaves them.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("pond-tail-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn read(tail: &mut Tail, files: &[PathBuf]) -> Vec<LogLine> {
        let mut lines = Vec::new();
        loop {
            let gained = tail.read_from(files, false).unwrap();
            lines.extend(gained.lines);
            if !gained.more {
                return lines;
            }
        }
    }

    fn tail(parts: bool) -> Tail {
        reader(LogQuery { parts: Some(parts), ..LogQuery::default() })
    }

    fn reader(query: LogQuery) -> Tail {
        Tail::new(JobId(1).gang(0).task(0), &query, 1)
    }

    #[test]
    fn what_was_rotated_away_unread_is_told() {
        let files = Files::new("missed");
        let mut tail = tail(false);
        let told = |lines: Vec<LogLine>| -> Vec<(String, bool)> {
            lines.into_iter().map(|line| (line.line, line.missed)).collect()
        };
        let first = files.write("1/out.1", b"one\ncut o");
        assert_eq!(told(read(&mut tail, std::slice::from_ref(&first))), [("one".to_owned(), false)]);
        // Kept open while it is read, as its number must not be given to the next.
        let second = files.write("1/out.9", b"nine\nten\n");
        fs::remove_file(first).unwrap();
        let lines = [("cut o".to_owned(), false), ("nine".to_owned(), true), ("ten".to_owned(), false)];
        assert_eq!(told(read(&mut tail, &[second])), lines);
        // A further attempt has files of its own; nothing of them is missed.
        let further = files.write("2/out.1", b"anew\n");
        assert_eq!(told(read(&mut tail, &[further])), [("anew".to_owned(), false)]);
    }

    #[test]
    fn who_takes_lines_in_parts_gets_a_long_one_as_it_was() {
        let files = Files::new("long");
        let text = "é".repeat(LONGEST);
        let path = files.write("1/out", format!("{text}\nend\n").as_bytes());
        let lines = read(&mut tail(true), std::slice::from_ref(&path));
        let whole: String =
            lines.iter().map(|line| format!("{}{}", line.line, if line.open { "" } else { "\n" })).collect();
        assert!(whole == format!("{text}\nend\n"), "{} bytes", whole.len());
        // Others get it whole, and find what is across the places where it was read.
        let whole: Vec<String> =
            read(&mut tail(false), std::slice::from_ref(&path)).into_iter().map(|line| line.line).collect();
        assert!(whole == [text, "end".to_owned()], "{} lines", whole.len());
        let long = format!("{}needle{}\n", "x".repeat(LONGEST - 3), "y".repeat(LONGEST));
        let path = files.write("2/out", format!("{long}other\n").as_bytes());
        let grep = Some("needle".to_owned());
        let found = read(&mut reader(LogQuery { grep, ..LogQuery::default() }), std::slice::from_ref(&path));
        assert!(found.len() == 1 && found[0].line.len() == long.len() - 1, "{} lines", found.len());
        let last = read(&mut reader(LogQuery { tail: Some(2), ..LogQuery::default() }), &[path]);
        assert!(last.len() == 2 && last[0].line.len() == long.len() - 1, "{} lines", last.len());
        // But for one that has no end in sight.
        let path = files.write("3/out", "z".repeat(2 * WHOLE + 1).as_bytes());
        let cut = read(&mut tail(false), &[path]);
        assert!(cut.len() >= 2 && cut.iter().all(|line| !line.open && line.line.len() < WHOLE + LONGEST * 2));
    }
}
