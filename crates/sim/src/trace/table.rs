//! Rows of a CSV file by column name, with typed complaints.

use super::{BadRow, BadRowReason, Reading};
use std::io::Read;

/// One row under its header.
pub(super) struct Row<'a> {
    header: &'a csv::StringRecord,
    record: &'a csv::StringRecord,
}

impl Row<'_> {
    /// The text of a column.
    pub(super) fn text(&self, column: &'static str) -> Result<&str, BadRowReason> {
        let at = self.header.iter().position(|name| name == column);
        at.and_then(|at| self.record.get(at)).ok_or(BadRowReason::Missing(column))
    }

    fn parsed<T: std::str::FromStr>(
        &self,
        column: &'static str,
        wanted: &'static str,
    ) -> Result<T, BadRowReason> {
        let text = self.text(column)?.trim();
        text.parse().map_err(|_why| BadRowReason::Malformed { column, text: text.to_owned(), wanted })
    }

    pub(super) fn number(&self, column: &'static str) -> Result<u64, BadRowReason> {
        self.parsed(column, "a whole number of 0 or more")
    }

    pub(super) fn signed(&self, column: &'static str) -> Result<i64, BadRowReason> {
        self.parsed(column, "a whole number")
    }

    pub(super) fn small(&self, column: &'static str) -> Result<u32, BadRowReason> {
        self.parsed(column, "a count of at most 4,294,967,295")
    }

    pub(super) fn decimal(&self, column: &'static str) -> Result<f64, BadRowReason> {
        self.parsed(column, "a decimal number")
    }

    /// The text of a column that may be missing; empty then.
    pub(super) fn optional(&self, column: &'static str) -> &str {
        self.text(column).unwrap_or_default().trim()
    }

    /// Seconds that may be written with a decimal point (`46520.0`); a fraction of a second is refused.
    pub(super) fn whole_seconds(&self, column: &'static str) -> Result<u64, BadRowReason> {
        let text = self.text(column)?.trim();
        let malformed =
            || BadRowReason::Malformed { column, text: text.to_owned(), wanted: "a whole number of seconds" };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.bytes().any(|digit| digit != b'0') {
            return Err(malformed());
        }
        whole.parse().map_err(|_why| malformed())
    }
}

/// Reads every row with `one`; rows it refuses are kept aside with their line.
pub(super) fn read<T>(input: impl Read, one: impl Fn(&Row) -> Result<T, BadRowReason>) -> Reading<T> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).flexible(true).from_reader(input);
    let mut reading = Reading { rows: Vec::new(), bad: Vec::new() };
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(why) => {
            reading.bad.push(BadRow { line: 1, reason: BadRowReason::NotCsv(why.to_string()) });
            return reading;
        }
    };
    for result in reader.records() {
        match result {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                match one(&Row { header: &header, record: &record }) {
                    Ok(row) => reading.rows.push(row),
                    Err(reason) => reading.bad.push(BadRow { line, reason }),
                }
            }
            Err(why) => {
                let line = why.position().map_or(0, csv::Position::line);
                let fatal = why.is_io_error();
                reading.bad.push(BadRow { line, reason: BadRowReason::NotCsv(why.to_string()) });
                if fatal {
                    break;
                }
            }
        }
    }
    reading
}
