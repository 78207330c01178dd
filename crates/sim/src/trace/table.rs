//! Rows of a table by column name, with typed complaints.

use super::lines::{Fields, Line, Lines};
use super::{BadRow, BadRowReason, Reading, excerpt, time};
use std::io::Read;

/// A column by the names it goes by; the first is the one in messages.
pub(super) type Column = &'static [&'static str];

/// How a table is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// What may stand between values; the header's most frequent one does.
    pub separators: &'static [char],
    /// Whether double quotes hold values together.
    pub quoted: bool,
    /// Names of columns when the file has no header.
    pub header: Option<&'static [&'static str]>,
}

impl Style {
    /// Comma-separated values under a header; spreadsheets of some countries write `;`, and copies of tables tabs.
    pub const CSV: Self = Self { separators: &[',', ';', '\t'], quoted: true, header: None };
    /// What `sacct` prints: no quotes, a separator of the user's choice.
    pub const SACCT: Self = Self { separators: &['|', ',', ';', '\t'], quoted: false, header: None };

    /// The separator of a table with this header.
    pub fn separator(&self, header: &str) -> char {
        let count = |separator: char| header.matches(separator).count();
        // The first of the most frequent.
        self.separators.iter().rev().copied().max_by_key(|&separator| count(separator)).unwrap_or(',')
    }
}

/// Where one value ends and the next begins.
#[derive(Clone, Debug)]
enum Cut {
    /// At each of these.
    At(char),
    /// From the first character to the one behind the last, as dashes under the header show.
    Columns(Vec<(usize, usize)>),
}

/// The columns that a line of dashes marks; `None` for any other line.
fn dashes(line: &str) -> Option<Vec<(usize, usize)>> {
    if !line.contains('-') || !line.bytes().all(|byte| matches!(byte, b'-' | b' ')) {
        return None;
    }
    let mut columns = Vec::new();
    let mut from = None;
    for (at, byte) in line.bytes().chain([b' ']).enumerate() {
        match (byte, from) {
            (b'-', None) => from = Some(at),
            (b' ', Some(start)) => {
                columns.push((start, at));
                from = None;
            }
            _ => {}
        }
    }
    Some(columns)
}

/// Names of columns, as written; they are compared without regard to case.
#[derive(Clone, Debug, Default)]
pub(super) struct Header {
    names: Vec<String>,
}

impl Header {
    pub fn read(fields: &Fields) -> Self {
        Self { names: fields.iter().map(str::to_owned).collect() }
    }

    /// The place of a column under any of its names.
    pub fn find(&self, column: Column) -> Option<usize> {
        column.iter().find_map(|name| self.names.iter().position(|known| known.eq_ignore_ascii_case(name)))
    }

    pub fn has(&self, column: Column) -> bool {
        self.find(column).is_some()
    }
}

/// One row under its header.
pub(super) struct Row<'a> {
    header: &'a Header,
    fields: &'a Fields,
}

/// A complaint about the text of a column.
pub(super) fn malformed(column: &'static str, text: &str, wanted: &'static str) -> BadRowReason {
    BadRowReason::Malformed { column, text: excerpt(text), wanted }
}

impl<'a> Row<'a> {
    /// The text of a column.
    pub fn text(&self, column: Column) -> Result<&'a str, BadRowReason> {
        let value = self.header.find(column).and_then(|at| self.fields.get(at));
        value.ok_or(BadRowReason::Missing(column[0]))
    }

    /// Whether the header names the column.
    pub fn has(&self, column: Column) -> bool {
        self.header.has(column)
    }

    /// The first value, whatever its name.
    pub fn first(&self) -> &'a str {
        self.fields.get(0).unwrap_or_default()
    }

    /// All values with their names.
    pub fn named(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.header.names.iter().map(String::as_str).zip(self.fields.iter())
    }

    /// The text of a column that may be missing or empty.
    pub fn optional(&self, column: Column) -> Option<&'a str> {
        self.text(column).ok().filter(|text| !text.is_empty())
    }

    /// As [`Self::optional`]; words such as `nan` count as empty.
    pub fn told(&self, column: Column) -> Option<&'a str> {
        self.optional(column).filter(|text| !time::is_unknown(text))
    }

    /// A decimal number in thousandths (`29.296875` is 29,297).
    pub fn thousandths(&self, column: Column) -> Result<u64, BadRowReason> {
        let text = self.text(column)?;
        time::read_thousandths(text)
            .and_then(|value| u64::try_from(value).ok())
            .ok_or_else(|| malformed(column[0], text, "a number of 0 or more"))
    }

    pub fn decimal(&self, column: Column) -> Result<f64, BadRowReason> {
        self.read(column, "a decimal number")
    }

    fn read<T: std::str::FromStr>(&self, column: Column, wanted: &'static str) -> Result<T, BadRowReason> {
        let text = self.text(column)?;
        text.parse().map_err(|_why| malformed(column[0], text, wanted))
    }

    pub fn number(&self, column: Column) -> Result<u64, BadRowReason> {
        self.read(column, "a whole number of 0 or more")
    }

    pub fn signed(&self, column: Column) -> Result<i64, BadRowReason> {
        self.read(column, "a whole number")
    }

    /// A count that may be written with a decimal point (`8.0`).
    pub fn small(&self, column: Column) -> Result<u32, BadRowReason> {
        let text = self.text(column)?;
        let whole = text.split_once('.').filter(|(_, rest)| rest.bytes().all(|digit| digit == b'0'));
        let digits = whole.map_or(text, |(digits, _)| digits);
        digits.parse().map_err(|_why| malformed(column[0], text, "a whole number from 0 to 4,294,967,295"))
    }

    /// Seconds that may be written with a decimal point (`46520.0`); a fraction of a second is refused.
    pub fn whole_seconds(&self, column: Column) -> Result<u64, BadRowReason> {
        let text = self.text(column)?;
        let bad = || malformed(column[0], text, "a whole number of seconds");
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.bytes().any(|digit| digit != b'0') {
            return Err(bad());
        }
        whole.parse().map_err(|_why| bad())
    }

    /// Seconds with or without a fraction, in milliseconds.
    pub fn millis(&self, column: Column) -> Result<i64, BadRowReason> {
        let text = self.text(column)?;
        time::read_thousandths(text).ok_or_else(|| malformed(column[0], text, "a number of seconds"))
    }

    /// A date and time, in milliseconds since 1970 in the trace's own time zone; `None` when it is empty or unknown.
    pub fn moment(&self, column: Column) -> Result<Option<i64>, BadRowReason> {
        let text = self.text(column)?;
        if time::is_unknown(text) {
            return Ok(None);
        }
        time::read_moment(text).map(Some).ok_or_else(|| malformed(column[0], text, "a date and time"))
    }
}

/// Reads every row with `one`; rows it refuses are kept aside with their line.
pub(super) fn read<T>(
    input: impl Read,
    style: Style,
    mut one: impl FnMut(&Row) -> Result<T, BadRowReason>,
) -> Reading<T> {
    let mut lines = Lines::new(input);
    let mut header =
        style.header.map(|names| Header { names: names.iter().map(|&name| name.to_owned()).collect() });
    let mut cut = None;
    let mut fields = Fields::default();
    let mut reading = Reading::default();
    while let Some(Line { number: line, text, ended }) = lines.next() {
        let text = match text {
            Ok(text) if text.trim().is_empty() || text.starts_with('#') => continue,
            Ok(text) => text,
            Err(reason) => {
                reading.bad.push(BadRow { line, reason });
                continue;
            }
        };
        let cut = cut.get_or_insert_with(|| Cut::At(style.separator(&text)));
        let split = split(&mut fields, &text, (&*cut, style.quoted), &mut lines);
        let Some(header) = &header else {
            if let Some(columns) = (!style.quoted).then(|| lines.take_if(dashes)).flatten() {
                fields.cut(&text, &columns);
                *cut = Cut::Columns(columns);
            }
            match split {
                Ok(()) => header = Some(Header::read(&fields)),
                Err(reason) => reading.bad.push(BadRow { line, reason }),
            }
            continue;
        };
        let row = split.and_then(|()| {
            let (found, named) = (fields.len(), header.names.len());
            let blank_tail = (named..found).all(|at| fields.get(at).is_none_or(str::is_empty));
            if found < named && !ended {
                Err(BadRowReason::CutShort)
            } else if blank_tail {
                one(&Row { header, fields: &fields })
            } else {
                Err(BadRowReason::TooWide { found, named })
            }
        });
        reading.take(line, row);
    }
    reading.broken = lines.into_broken();
    reading
}

fn split(
    fields: &mut Fields,
    text: &str,
    (cut, quoted): (&Cut, bool),
    lines: &mut Lines<impl Read>,
) -> Result<(), BadRowReason> {
    let separator = match cut {
        Cut::At(separator) => *separator,
        Cut::Columns(columns) => {
            fields.cut(text, columns);
            return Ok(());
        }
    };
    let one_line = fields.split(text, separator, quoted);
    match (one_line, quoted) {
        (Err(BadRowReason::OpenQuote), true) => {
            let whole = lines.joined(text).ok_or(BadRowReason::OpenQuote)?;
            fields.split(&whole, separator, true)
        }
        (result, _) => result,
    }
}
