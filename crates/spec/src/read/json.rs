//! JSON into a tree. Places come from reading the same text as YAML, of which JSON is nearly a part; where the two
//! differ (surrogate pairs), the tree has no places and messages name the field only.

use super::{Key, Node, ReadError, Value, clamp, yaml};
use crate::error::Place;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads the one document there is.
pub(super) fn read(text: &str) -> Result<Node, ReadError> {
    let mut node: Node = serde_json::from_str(text).map_err(|why| {
        let at = Place { line: clamp(why.line().max(1)), column: clamp(why.column().max(1)) };
        let words = why.to_string();
        ReadError::syntax(Some(at), words.split(" at line ").next().unwrap_or(&words))
    })?;
    if let Ok(documents) = yaml::read(text)
        && let [twin] = documents.as_slice()
    {
        place_like(&mut node, twin);
    }
    Ok(node)
}

/// Copies the places of `twin`; stops at the first difference in shape.
fn place_like(node: &mut Node, twin: &Node) {
    node.at = twin.at;
    match (&mut node.value, &twin.value) {
        (Value::List(items), Value::List(twins)) if items.len() == twins.len() => {
            items.iter_mut().zip(twins).for_each(|(item, twin)| place_like(item, twin));
        }
        (Value::Map(entries), Value::Map(twins)) if entries.len() == twins.len() => {
            for ((key, value), (twin_key, twin_value)) in entries.iter_mut().zip(twins) {
                key.at = twin_key.at;
                place_like(value, twin_value);
            }
        }
        _ => {}
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

fn leaf(value: Value) -> Node {
    Node { at: None, value }
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(leaf(Value::Null))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(leaf(Value::Plain(value.to_string())))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(leaf(Value::Plain(value.to_string())))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(leaf(Value::Plain(value.to_string())))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(leaf(Value::Plain(value.to_string())))
    }
    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(leaf(Value::Text(value.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(leaf(Value::List(items)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some((name, value)) = access.next_entry()? {
            entries.push((Key { at: None, name }, value));
        }
        Ok(leaf(Value::Map(entries)))
    }
}
