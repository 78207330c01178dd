//! Lines of a text, with their numbers, and a column-wise split that a stray quote cannot carry away.
//!
//! A reader of whole CSV documents takes an opened quote as the start of a value that may span the rest of the file;
//! here a value may span a few lines, and if the quote does not close by then one line is bad and the next is read afresh.

use super::{BadRow, BadRowReason, Broken, Reading};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};

/// The longest line, in bytes. The longest known, of a request with 128,000 tokens, has about 2,000.
pub(super) const LONGEST: usize = 1 << 20;
/// The most lines that one quoted value spans.
const SPAN: usize = 16;

/// One line without its end.
pub(super) struct Line {
    /// From 1.
    pub number: u64,
    /// Its text, or why it has none.
    pub text: Result<String, BadRowReason>,
    /// Whether the line ends; the last may not.
    pub ended: bool,
}

/// Lines of an input; ends of lines are `\n` or `\r\n`, a byte order mark is left out.
pub(super) struct Lines<R: Read> {
    input: BufReader<R>,
    number: u64,
    ahead: VecDeque<Line>,
    broken: Option<Broken>,
}

impl<R: Read> Lines<R> {
    pub fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(1 << 16, input),
            number: 0,
            ahead: VecDeque::new(),
            broken: None,
        }
    }

    /// Why the input ended before its end.
    pub fn into_broken(self) -> Option<Broken> {
        self.broken
    }

    /// The next line; `None` at the end, and where the input breaks off.
    pub fn next(&mut self) -> Option<Line> {
        self.ahead.pop_front().or_else(|| self.fetch())
    }

    /// The next lines that belong to one value, were the quote of `line` to close in them.
    pub fn joined(&mut self, line: &str) -> Option<String> {
        let mut whole = line.to_owned();
        for at in 0..SPAN {
            if self.ahead.len() <= at {
                let line = self.fetch()?;
                self.ahead.push_back(line);
            }
            let Some(Line { text: Ok(text), .. }) = self.ahead.get(at) else { return None };
            whole.push('\n');
            whole.push_str(text);
            if quotes(&whole).is_multiple_of(2) {
                self.ahead.drain(..=at);
                return Some(whole);
            }
        }
        None
    }

    /// What `of` makes of the next line, which is passed over then.
    pub fn take_if<T>(&mut self, of: impl Fn(&str) -> Option<T>) -> Option<T> {
        let line = self.next()?;
        let found = line.text.as_deref().ok().and_then(of);
        if found.is_none() {
            self.ahead.push_front(line);
        }
        found
    }

    fn fetch(&mut self) -> Option<Line> {
        if self.broken.is_some() {
            return None;
        }
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(LONGEST as u64 + 1).read_until(b'\n', &mut bytes);
        match read {
            Ok(0) => return None,
            Ok(_) => {}
            Err(why) => {
                self.broken = Some(Broken { line: self.number, why: why.to_string() });
                return None;
            }
        }
        self.number += 1;
        let number = self.number;
        if bytes.len() > LONGEST {
            self.skip_rest();
            return Some(Line { number, text: Err(BadRowReason::TooLong(LONGEST)), ended: true });
        }
        let ended = bytes.last() == Some(&b'\n');
        while bytes.last().is_some_and(|&end| end == b'\n' || end == b'\r') {
            bytes.pop();
        }
        if number == 1 && bytes.starts_with("\u{feff}".as_bytes()) {
            bytes.drain(..3);
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => Ok(text),
            // In a comment no harm is done by a name in an older code.
            Err(other) if other.as_bytes().starts_with(b";") || other.as_bytes().starts_with(b"#") => {
                Ok(String::from_utf8_lossy(other.as_bytes()).into_owned())
            }
            Err(_not_text) => Err(BadRowReason::NotText),
        };
        Some(Line { number, text, ended })
    }

    fn skip_rest(&mut self) {
        loop {
            let (used, ended) = match self.input.fill_buf() {
                Ok([]) => return,
                Ok(bytes) => match bytes.iter().position(|&byte| byte == b'\n') {
                    Some(at) => (at + 1, true),
                    None => (bytes.len(), false),
                },
                Err(why) => {
                    self.broken = Some(Broken { line: self.number, why: why.to_string() });
                    return;
                }
            };
            self.input.consume(used);
            if ended {
                return;
            }
        }
    }
}

fn quotes(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'"').count()
}

/// Reads every line with `one`; lines of blanks are passed over, `None` stands for a line that holds no row.
pub(super) fn read_lines<T>(
    input: impl Read,
    mut one: impl FnMut(u64, &str) -> Option<Result<T, BadRowReason>>,
) -> Reading<T> {
    let mut lines = Lines::new(input);
    let mut reading = Reading::default();
    while let Some(Line { number, text, .. }) = lines.next() {
        match text {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => {
                if let Some(row) = one(number, &text) {
                    reading.take(number, row);
                }
            }
            Err(reason) => reading.bad.push(BadRow { line: number, reason }),
        }
    }
    reading.broken = lines.into_broken();
    reading
}

/// Reads every object `{…}` of a JSON array, or of lines, with `one`; with `list`, every object of the array that has this name
/// in an object around it. Text between objects is passed over. A line is where an object begins. An object that is not
/// closed at the end, or is longer than 16 MiB, is told.
pub(super) fn read_objects<T>(
    input: impl Read,
    list: Option<&'static str>,
    one: impl Fn(&str) -> Result<T, BadRowReason>,
) -> Reading<T> {
    let mut reading = Reading::default();
    let mut object = Object { around: list.map(Around::new), ..Object::default() };
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut line = 1;
    loop {
        let used = match input.fill_buf() {
            Ok([]) => break,
            Ok(bytes) => {
                for &byte in bytes {
                    if let Some(text) = object.push(byte, line) {
                        let row = text.and_then(|text| one(&text));
                        reading.take(object.line, row);
                    }
                    line += u64::from(byte == b'\n');
                }
                bytes.len()
            }
            Err(why) => {
                reading.broken = Some(Broken { line, why: why.to_string() });
                return reading;
            }
        };
        input.consume(used);
    }
    if object.depth > 0 {
        reading.broken = Some(Broken {
            line,
            why: format!("the entry that begins in line {} is not closed", object.line),
        });
    } else if let Some(list) = object.around.and_then(Around::unclosed) {
        reading.broken = Some(Broken { line, why: format!("the list `{list}` is not closed") });
    }
    reading
}

/// The longest object, in bytes.
const LARGEST: usize = 16 << 20;

/// What stands around the objects that are looked for: `{ …, "list": [ here ], … }`.
struct Around {
    list: &'static str,
    /// Brackets that are open.
    depth: u32,
    /// The last text of the outermost object: its latest key, where a list begins.
    word: Vec<u8>,
    within: bool,
    quoted: bool,
    escaped: bool,
}

impl Around {
    const fn new(list: &'static str) -> Self {
        Self { list, depth: 0, word: Vec::new(), within: false, quoted: false, escaped: false }
    }

    fn unclosed(self) -> Option<&'static str> {
        self.within.then_some(self.list)
    }

    /// Takes a byte that is in no object of the list; whether it begins one.
    fn begins(&mut self, byte: u8) -> bool {
        if self.quoted {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.quoted = false,
                _ if self.depth == 1 && self.word.len() <= self.list.len() => self.word.push(byte),
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => {
                self.quoted = true;
                if self.depth == 1 {
                    self.word.clear();
                }
            }
            b'{' if self.within && self.depth == 2 => return true,
            b'{' | b'[' => {
                self.depth += 1;
                self.within |= byte == b'[' && self.depth == 2 && self.word == self.list.as_bytes();
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.within &= self.depth >= 2;
            }
            _ => {}
        }
        false
    }
}

/// An object on its way in.
#[derive(Default)]
struct Object {
    around: Option<Around>,
    bytes: Vec<u8>,
    line: u64,
    depth: u32,
    quoted: bool,
    escaped: bool,
}

impl Object {
    /// Takes a byte; the object's text when it closes it.
    fn push(&mut self, byte: u8, line: u64) -> Option<Result<String, BadRowReason>> {
        if self.depth == 0 {
            let begins = self.around.as_mut().map_or(byte == b'{', |around| around.begins(byte));
            if !begins {
                return None;
            }
            self.line = line;
            self.bytes.clear();
        }
        if self.bytes.len() <= LARGEST {
            self.bytes.push(byte);
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.quoted => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            _ if self.quoted => {}
            b'{' => self.depth += 1,
            b'}' => self.depth -= 1,
            _ => {}
        }
        if self.depth > 0 {
            return None;
        }
        if self.bytes.len() > LARGEST {
            return Some(Err(BadRowReason::TooLong(LARGEST)));
        }
        Some(String::from_utf8(std::mem::take(&mut self.bytes)).map_err(|_not_text| BadRowReason::NotText))
    }
}

/// The values of one row, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    text: String,
    ends: Vec<usize>,
}

impl Fields {
    /// Splits a row. With `quoted`, a value may stand in double quotes, in which a doubled quote is one.
    pub fn split(&mut self, row: &str, separator: char, quoted: bool) -> Result<(), BadRowReason> {
        self.text.clear();
        self.ends.clear();
        let mut rest = row.chars().peekable();
        let mut inside = false;
        let mut at_start = true;
        while let Some(c) = rest.next() {
            if inside {
                if c != '"' {
                    self.text.push(c);
                } else if rest.peek() == Some(&'"') {
                    rest.next();
                    self.text.push('"');
                } else {
                    inside = false;
                }
            } else if c == separator {
                self.ends.push(self.text.len());
                at_start = true;
                continue;
            } else if c == '"' && quoted && at_start {
                inside = true;
            } else {
                self.text.push(c);
            }
            at_start &= c == ' ' && !inside;
        }
        self.ends.push(self.text.len());
        if inside { Err(BadRowReason::OpenQuote) } else { Ok(()) }
    }

    /// Splits a row by places of characters; the last value goes to the end.
    pub fn cut(&mut self, row: &str, columns: &[(usize, usize)]) {
        self.text.clear();
        self.ends.clear();
        for (at, (from, to)) in columns.iter().enumerate() {
            let to = if at + 1 == columns.len() { usize::MAX } else { *to };
            self.text.extend(row.chars().skip(*from).take(to - from));
            self.ends.push(self.text.len());
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The value at a place, without blanks around it.
    pub fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(self.text[start..end].trim())
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}
