//! YAML 1.2 events into trees: aliases and merge keys (`<<`) are expanded within the node budget, tags are refused.

use super::{Key, MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES, Node, ReadError, Value, clamp, is_number, too_much};
use crate::error::{Fault, Place};
use granit_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::BTreeMap;

/// A list or map being read: what it holds so far.
enum Open {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, merges: Vec<Node>, key: Option<Key> },
}

struct Frame {
    at: Place,
    anchor: usize,
    open: Open,
    /// Nodes counted before this one started.
    before: usize,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
    root: Option<Node>,
}

/// Reads all documents; an empty text has none.
pub(super) fn read(text: &str) -> Result<Vec<Node>, ReadError> {
    let mut documents = Vec::new();
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|why| {
            let marker = why.marker();
            let at = Place { line: clamp(marker.line()), column: clamp(marker.col() + 1) };
            let why = why.kind().to_string();
            let tab = if why.contains("tab") { indented_by_tab(text, marker.line()) } else { None };
            ReadError::syntax(Some(tab.unwrap_or(at)), &why)
        })?;
        match event {
            Event::DocumentStart(..) => builder.anchors.clear(),
            Event::DocumentEnd => documents.extend(builder.root.take()),
            other => builder.event(other, &span)?,
        }
        if documents.len() > MAX_DOCUMENTS {
            return Err(too_much(None, documents.len(), MAX_DOCUMENTS, "documents"));
        }
    }
    Ok(documents)
}

/// The first tab in the indentation of this line or a later one: the parser's own place may be where what was before it began.
fn indented_by_tab(text: &str, from: usize) -> Option<Place> {
    let lines = text.lines().enumerate().skip(from.saturating_sub(1));
    lines.into_iter().find_map(|(number, line)| {
        let indent = line.find(|char| char != ' ')?;
        let tab = line[indent..].starts_with('\t');
        tab.then(|| Place { line: clamp(number + 1), column: clamp(indent + 1) })
    })
}

fn place(span: &Span) -> Place {
    Place { line: clamp(span.start.line()), column: clamp(span.start.col() + 1) }
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), ReadError> {
        let at = place(span);
        match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => {
                return Err(ReadError::syntax(Some(at), "tags (`!...`) have no meaning in a job file"));
            }
            Event::Scalar(text, style, anchor, None) => {
                let node = Node { at: Some(at), value: scalar(&text, style) };
                self.count(1, at)?;
                self.keep(anchor, &node, 1);
                self.add(node)?;
            }
            Event::SequenceStart(_, anchor, None) => self.open(Open::List(Vec::new()), anchor, at)?,
            Event::MappingStart(_, anchor, None) => {
                self.open(Open::Map { entries: Vec::new(), merges: Vec::new(), key: None }, anchor, at)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err(ReadError::syntax(Some(at), "an alias of something that is not complete"));
                };
                let (node, size) = (Node { at: Some(at), ..node.clone() }, *size);
                self.count(size, at)?;
                self.add(node)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The budget is spent before anything is copied a second time, so aliases of aliases cannot blow up.
    fn count(&mut self, more: usize, at: Place) -> Result<(), ReadError> {
        self.nodes += more;
        if self.nodes > MAX_NODES {
            return Err(too_much(Some(at), self.nodes, MAX_NODES, "values"));
        }
        Ok(())
    }

    fn keep(&mut self, anchor: usize, node: &Node, size: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
    }

    fn open(&mut self, open: Open, anchor: usize, at: Place) -> Result<(), ReadError> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_much(Some(at), self.stack.len() + 1, MAX_DEPTH, "nested levels"));
        }
        let before = self.nodes;
        self.count(1, at)?;
        self.stack.push(Frame { at, anchor, open, before });
        Ok(())
    }

    fn close(&mut self) -> Result<(), ReadError> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.open {
            Open::List(items) => Value::List(items),
            Open::Map { mut entries, merges, .. } => {
                for merge in merges {
                    merge_into(&mut entries, merge)?;
                }
                Value::Map(entries)
            }
        };
        let node = Node { at: Some(frame.at), value };
        let size = self.nodes - frame.before;
        self.keep(frame.anchor, &node, size);
        // A kept copy is a node that takes memory too.
        if frame.anchor > 0 {
            self.count(size, frame.at)?;
        }
        self.add(node)
    }

    fn add(&mut self, node: Node) -> Result<(), ReadError> {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.open {
            Open::List(items) => items.push(node),
            Open::Map { entries, merges, key } => match key.take() {
                None => match node.value {
                    Value::Text(name) | Value::Plain(name) => *key = Some(Key { at: node.at, name }),
                    Value::Null => *key = Some(Key { at: node.at, name: "null".to_owned() }),
                    Value::List(_) | Value::Map(_) => {
                        return Err(ReadError::syntax(node.at, "a key must be a word, not a list or a map"));
                    }
                },
                Some(key) if key.name == "<<" => merges.push(node),
                Some(key) => entries.push((key, node)),
            },
        }
        Ok(())
    }
}

/// Adds what `merge` has and `entries` does not.
fn merge_into(entries: &mut Vec<(Key, Node)>, merge: Node) -> Result<(), ReadError> {
    match merge.value {
        Value::Map(more) => {
            for (key, value) in more {
                if !entries.iter().any(|(have, _)| have.name == key.name) {
                    entries.push((key, value));
                }
            }
            Ok(())
        }
        Value::List(maps) => maps.into_iter().try_for_each(|map| match map.value {
            Value::Map(_) => merge_into(entries, map),
            _ => Err(not_a_map(map.at)),
        }),
        _ => Err(not_a_map(merge.at)),
    }
}

fn not_a_map(at: Option<Place>) -> ReadError {
    let fault = Fault::WrongType {
        expected: "a map, or a list of maps, after `<<`".to_owned(),
        found: "a value".to_owned(),
        quoted: None,
    };
    ReadError::new(at, fault)
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Plain("true".to_owned()),
        "false" | "False" | "FALSE" => Value::Plain("false".to_owned()),
        number if is_number(number) => Value::Plain(number.to_owned()),
        other => Value::Text(other.to_owned()),
    }
}
