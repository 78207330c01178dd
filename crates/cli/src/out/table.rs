//! Columns for people. Cells hold text of others, so every cell is made harmless on its way in.

use super::{Style, clean};
use std::borrow::Cow;
use unicode_width::UnicodeWidthStr;

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    title: Cow<'static, str>,
    right: bool,
    wide: bool,
}

impl Column {
    /// Text, flush left.
    #[must_use]
    pub const fn left(title: &'static str) -> Self {
        Self { title: Cow::Borrowed(title), right: false, wide: false }
    }
    /// Numbers, flush right.
    #[must_use]
    pub const fn right(title: &'static str) -> Self {
        Self { title: Cow::Borrowed(title), right: true, wide: false }
    }
    /// Text, flush left, under a number.
    #[must_use]
    pub fn numbered(number: u32) -> Self {
        Self { title: Cow::Owned(number.to_string()), right: false, wide: false }
    }
    /// Only with `-o wide`.
    #[must_use]
    pub fn wide(self) -> Self {
        Self { wide: true, ..self }
    }
}

/// One cell.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// In a style.
    #[must_use]
    pub fn styled(style: Style, text: &str) -> Self {
        Self { text: clean(text).into_owned(), style }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::styled(Style::Plain, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::styled(Style::Plain, &text)
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::styled(Style::Plain, text)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(text: Option<T>) -> Self {
        text.map_or_else(|| Self::styled(Style::Dim, "-"), Into::into)
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Cell {
            fn from(number: $number) -> Self {
                Self { text: number.to_string(), style: Style::Plain }
            }
        }
    )*};
}
numbers!(u16, u32, u64, usize, i32);

/// Columns and rows.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Without rows yet.
    #[must_use]
    pub const fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// One more row: a cell a column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Whether it has no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text; the last column is cut at `width` when there is one.
    #[must_use]
    pub fn render(&self, wide: bool, color: bool, width: Option<usize>) -> String {
        let shown: Vec<usize> =
            (0..self.columns.len()).filter(|&at| wide || !self.columns[at].wide).collect();
        let widths: Vec<usize> = shown
            .iter()
            .map(|&at| {
                let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.width());
                cells.chain([self.columns[at].title.width()]).max().unwrap_or(0)
            })
            .collect();
        let titles: Vec<Cell> =
            self.columns.iter().map(|column| Cell::styled(Style::Bold, &column.title)).collect();
        let mut out = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let mut used = 0;
            let mut line = String::new();
            for (place, (&at, &cell_width)) in shown.iter().zip(&widths).enumerate() {
                let Some(cell) = row.get(at) else { continue };
                let last = place + 1 == shown.len();
                let room = width.map(|width| width.saturating_sub(used)).filter(|_| last);
                let text = room.map_or_else(|| cell.text.clone(), |room| cut(&cell.text, room.max(8)));
                let pad = " ".repeat(cell_width.saturating_sub(text.width()));
                let painted = cell.style.paint(color, &text);
                match (self.columns[at].right, last) {
                    (true, _) => line.push_str(&format!("{pad}{painted}")),
                    (false, true) => line.push_str(&painted),
                    (false, false) => line.push_str(&format!("{painted}{pad}")),
                }
                if !last {
                    line.push_str("  ");
                }
                used += cell_width + 2;
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// `text` in at most `room` columns.
fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut out = String::new();
    for letter in text.chars() {
        if format!("{out}{letter}…").width() > room {
            break;
        }
        out.push(letter);
    }
    out + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(vec![
            Column::left("NAME"),
            Column::right("CPU"),
            Column::left("X").wide(),
            Column::left("WHY"),
        ]);
        table.row(vec!["a\u{1b}b".into(), 2_u64.into(), "x".into(), "a long reason indeed".into()]);
        table.row(vec!["学習".into(), 10_u64.into(), "x".into(), None::<&str>.into()]);
        table
    }

    #[test]
    fn columns_line_up_whatever_the_letters() {
        assert_eq!(
            sample().render(false, false, None),
            "NAME      CPU  WHY\na\\u{1b}b    2  a long reason indeed\n学習       10  -\n"
        );
    }

    #[test]
    fn the_last_column_is_cut_at_the_terminals_edge() {
        assert!(sample().render(false, false, Some(24)).contains("a long r…\n"));
        assert!(sample().render(true, false, Some(24)).contains("  x  "));
    }
}
