//! TOML into a tree.

use super::{Key, Node, ReadError, Value, place_at};
use crate::error::Place;
use ::toml::de::{DeTable, DeValue};

/// Reads the one document there is.
pub(super) fn read(text: &str) -> Result<Node, ReadError> {
    let lines = Lines::of(text);
    let table = DeTable::parse(text)
        .map_err(|why| ReadError::syntax(why.span().map(|span| place_at(text, span.start)), why.message()))?;
    Ok(Node { at: Some(Place { line: 1, column: 1 }), value: map(&lines, table.get_ref()) })
}

/// Where each line starts, so that a place costs a search and not a scan.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    fn place(&self, offset: usize) -> Option<Place> {
        let line = self.starts.partition_point(|&start| start <= offset);
        let start = *self.starts.get(line.checked_sub(1)?)?;
        let column = self.text.get(start..offset)?.chars().take(10_000).count() + 1;
        Some(Place { line: super::clamp(line), column: super::clamp(column) })
    }
}

fn map(lines: &Lines<'_>, table: &DeTable<'_>) -> Value {
    let mut entries: Vec<(Key, Node)> = table
        .iter()
        .map(|(key, value)| {
            let key = Key { at: lines.place(key.span().start), name: key.get_ref().to_string() };
            (key, Node { at: lines.place(value.span().start), value: convert(lines, value.get_ref()) })
        })
        .collect();
    // As written, so that the first thing wrong is the first one reported.
    entries.sort_by_key(|(key, _)| key.at);
    Value::Map(entries)
}

fn convert(lines: &Lines<'_>, value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Value::Plain(number.as_str().to_owned()),
        DeValue::Integer(number) => {
            let value = u64::from_str_radix(number.as_str(), number.radix()).unwrap_or(u64::MAX);
            Value::Plain(value.to_string())
        }
        DeValue::Float(number) => Value::Plain(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Plain(value.to_string()),
        DeValue::Datetime(moment) => Value::Text(moment.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| Node {
                    at: lines.place(item.span().start),
                    value: convert(lines, item.get_ref()),
                })
                .collect(),
        ),
        DeValue::Table(table) => map(lines, table),
    }
}
