//! Text into a tree with places: YAML, TOML and JSON come out alike.
//!
//! Everything after this step (types, messages, checks) is the same for the three formats. Reading is bounded: bytes,
//! depth, and the number of nodes after aliases are expanded.

pub(crate) mod decode;
mod json;
mod toml;
mod yaml;

use crate::error::{Fault, Place};
use crate::lint::Format;
use std::collections::BTreeSet;

/// The most bytes that are read.
pub const MAX_BYTES: usize = 1 << 20;
/// The most levels of lists and maps in each other.
pub const MAX_DEPTH: usize = 32;
/// The most values in a file, those behind aliases counted each time.
pub const MAX_NODES: usize = 100_000;
/// The most documents in a file.
pub const MAX_DOCUMENTS: usize = 1000;

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Option<Place>,
    pub(crate) value: Value,
}

/// What a file can hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    /// True, false or a number as it was written; which one, the text tells.
    Plain(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) at: Option<Place>,
    pub(crate) name: String,
}

/// Why no tree came out.
#[derive(Debug)]
pub(crate) struct ReadError {
    pub(crate) at: Option<Place>,
    pub(crate) fault: Fault,
}

impl ReadError {
    fn new(at: Option<Place>, fault: Fault) -> Self {
        Self { at, fault }
    }

    fn syntax(at: Option<Place>, why: &str) -> Self {
        Self::new(at, Fault::Syntax { why: why.to_owned() })
    }
}

/// Reads the documents of a text: one of TOML and JSON, any number of YAML.
pub(crate) fn documents(text: &str, format: Format) -> Result<Vec<Node>, ReadError> {
    if text.len() > MAX_BYTES {
        return Err(too_much(None, text.len(), MAX_BYTES, "bytes"));
    }
    let documents = match format {
        Format::Toml => vec![toml::read(text)?],
        Format::Json => vec![json::read(text)?],
        Format::Yaml | Format::Script => yaml::read(text)?,
    };
    documents.iter().try_for_each(|node| no_doubles(node, 0))?;
    Ok(documents)
}

pub(crate) fn too_much(at: Option<Place>, found: usize, most: usize, of: &'static str) -> ReadError {
    ReadError::new(at, Fault::TooMuch { found: found as u64, most: most as u64, of })
}

fn no_doubles(node: &Node, depth: usize) -> Result<(), ReadError> {
    if depth > MAX_DEPTH {
        return Err(too_much(node.at, depth, MAX_DEPTH, "nested levels"));
    }
    match &node.value {
        Value::List(items) => items.iter().try_for_each(|item| no_doubles(item, depth + 1)),
        Value::Map(entries) => {
            let mut seen = BTreeSet::new();
            for (key, value) in entries {
                if !seen.insert(key.name.as_str()) {
                    return Err(ReadError::new(key.at, Fault::DuplicateField { name: key.name.clone() }));
                }
                no_doubles(value, depth + 1)?;
            }
            Ok(())
        }
        Value::Null | Value::Plain(_) | Value::Text(_) => Ok(()),
    }
}

impl Node {
    /// The value of a key, when this is a map that has it.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
    }

    /// The place of `a.b[3].c`, or of the deepest part of it that is there.
    pub(crate) fn place(&self, field: &str) -> Option<Place> {
        let mut node = self;
        for part in field.split(['.', '[']).filter(|part| !part.is_empty()) {
            let next = match (&node.value, part.strip_suffix(']')) {
                (Value::List(items), Some(index)) => {
                    index.parse::<usize>().ok().and_then(|index| items.get(index))
                }
                (Value::Map(_), None) => node.get(part),
                _ => None,
            };
            let Some(next) = next else { break };
            node = next;
        }
        node.at
    }

    /// The text that somebody may have meant by something without quotes that is none.
    pub(crate) fn quoted(&self) -> Option<String> {
        match &self.value {
            Value::Null => Some("\"null\", or \"\" for nothing".to_owned()),
            Value::Plain(text) => Some(format!("\"{}\"", short(text))),
            Value::Text(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What it is, in words, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Plain(text) if text == "true" || text == "false" => format!("the boolean `{text}`"),
            Value::Plain(text) => format!("the number `{}`", short(text)),
            Value::Text(text) => format!("the text `{}`", short(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map of fields".to_owned(),
        }
    }
}

/// At most 60 characters of a user's text, for messages.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether an unquoted YAML word is a number by the core schema of YAML 1.2, decimal integers and floats only.
pub(crate) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
        && text.parse::<f64>().is_ok()
}

/// The place of a byte offset.
fn place_at(text: &str, offset: usize) -> Place {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place { line: clamp(line), column: clamp(column) }
}

fn clamp(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
