//! A tree into typed structs, through serde: the innermost place and the path of fields go with every error.
//!
//! Keys that start with `x-` are skipped in structs and kept in maps.

use super::{Key, Node, Value, short};
use crate::error::{Fault, Place};
use crate::jobfile::COMMAND;
use crate::similar::nearest;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use std::fmt;

/// Name of the newtype by which a type asks for a scalar as it was written, `1.10` and not 1.1.
pub(crate) const RAW: &str = "$pond::raw";

/// What a field of plain text takes.
const TEXT: &str = "text";

/// What went wrong, where, in which field.
#[derive(Debug)]
pub(crate) struct DecodeError {
    pub(crate) at: Option<Place>,
    /// Innermost first.
    path: Vec<String>,
    pub(crate) fault: Fault,
}

impl DecodeError {
    fn new(fault: Fault) -> Self {
        Self { at: None, path: Vec::new(), fault }
    }

    fn at(mut self, at: Option<Place>) -> Self {
        self.at = self.at.or(at);
        self
    }

    fn within(mut self, part: String) -> Self {
        self.path.push(part);
        self
    }

    /// `resources.gpu`, `retry.on[2]`.
    pub(crate) fn field(&self) -> String {
        let mut out = String::new();
        for part in self.path.iter().rev() {
            if !out.is_empty() && !part.starts_with('[') {
                out.push('.');
            }
            out.push_str(&short(part));
        }
        out
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(Fault::BadValue { why: why.to_string() })
    }
    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Fault::WrongType { expected: expected.to_string(), found: found.to_string(), quoted: None })
    }
    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }
    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(unknown_field(name, known))
    }
    fn unknown_variant(value: &str, known: &'static [&'static str]) -> Self {
        Self::new(unknown_value(value, known))
    }
    fn missing_field(name: &'static str) -> Self {
        Self::new(Fault::MissingField { name: name.to_owned() })
    }
    fn duplicate_field(name: &'static str) -> Self {
        Self::new(Fault::DuplicateField { name: name.to_owned() })
    }
}

pub(crate) fn unknown_field(name: &str, known: &[&str]) -> Fault {
    Fault::UnknownField {
        name: short(name),
        suggestion: nearest(name, known.iter().copied()).map(str::to_owned),
        known: known.iter().map(|&word| word.to_owned()).collect(),
    }
}

pub(crate) fn unknown_value(value: &str, known: &[&str]) -> Fault {
    Fault::UnknownValue {
        value: short(value),
        suggestion: nearest(value, known.iter().copied()).map(str::to_owned),
        known: known.iter().map(|&word| word.to_owned()).collect(),
    }
}

/// Reads a typed value from a tree.
pub(crate) fn decode<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, DecodeError> {
    T::deserialize(Decoder(node))
}

struct Decoder<'de>(&'de Node);

impl<'de> Decoder<'de> {
    fn mismatch<V: Visitor<'de>>(&self, visitor: &V) -> DecodeError {
        struct Of<'v, V>(&'v V);
        impl<'de, V: Visitor<'de>> fmt::Display for Of<'_, V> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.expecting(f)
            }
        }
        let expected = match Of(visitor).to_string().as_str() {
            "a string" => TEXT.to_owned(),
            "a boolean" => "true or false".to_owned(),
            "u16" => "a whole number from 0 to 65535".to_owned(),
            "u32" => "a whole number from 0 to 4294967295".to_owned(),
            "a sequence" => "a list".to_owned(),
            "a map" => "a map".to_owned(),
            other => other.strip_prefix("enum ").map_or(other, |_| "one word").to_owned(),
        };
        let quoted = [TEXT, COMMAND].contains(&expected.as_str()).then(|| self.0.quoted()).flatten();
        DecodeError::new(Fault::WrongType { expected, found: self.0.describe(), quoted }).at(self.0.at)
    }

    fn number<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, DecodeError> {
        let Value::Plain(text) = &self.0.value else { return Err(self.mismatch(&visitor)) };
        let wrong = self.mismatch(&visitor);
        let seen = match (text.parse::<u64>(), text.parse::<i64>()) {
            (Ok(value), _) => visitor.visit_u64(value),
            (_, Ok(value)) => visitor.visit_i64(value),
            _ => return Err(wrong),
        };
        seen.map_err(|why: DecodeError| match why.fault {
            Fault::WrongType { .. } => wrong,
            _ => why.at(self.0.at),
        })
    }

    fn list<V: Visitor<'de>>(items: &'de [Node], visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(List { items: items.iter().enumerate() })
    }

    fn map<V: Visitor<'de>>(
        entries: &'de [(Key, Node)],
        strict: bool,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_map(Map { entries: entries.iter(), value: None, strict })
    }
}

impl<'de> Deserializer<'de> for Decoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let wrong = self.mismatch(&visitor);
        let seen = match &self.0.value {
            Value::Null => visitor.visit_unit(),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => Self::list(items, visitor),
            Value::Map(entries) => Self::map(entries, false, visitor),
            Value::Plain(text) => match (text.as_str(), text.parse::<u64>(), text.parse::<i64>()) {
                ("true", ..) => visitor.visit_bool(true),
                ("false", ..) => visitor.visit_bool(false),
                (_, Ok(value), _) => visitor.visit_u64(value),
                (_, _, Ok(value)) => visitor.visit_i64(value),
                _ => visitor.visit_f64(text.parse().unwrap_or(f64::NAN)),
            },
        };
        // A WrongType without a place was raised here, by the visitor's default: ours has better words.
        seen.map_err(|why| match (&why.fault, why.at) {
            (Fault::WrongType { .. }, None) => wrong,
            _ => why.at(self.0.at),
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Text(text) | Value::Plain(text) if name == RAW => {
                visitor.visit_borrowed_str(text).map_err(|why: DecodeError| why.at(self.0.at))
            }
            _ if name == RAW => self.deserialize_any(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Map(entries) => Self::map(entries, true, visitor).map_err(|why| why.at(self.0.at)),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Text(text) => {
                let word: de::value::StrDeserializer<'_, DecodeError> = text.as_str().into_deserializer();
                visitor.visit_enum(word).map_err(|why| why.at(self.0.at))
            }
            _ => {
                let expected = format!("one of {}", variants.join(", "));
                let fault = Fault::WrongType { expected, found: self.0.describe(), quoted: None };
                Err(DecodeError::new(fault).at(self.0.at))
            }
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Text(text) => {
                visitor.visit_borrowed_str(text).map_err(|why: DecodeError| why.at(self.0.at))
            }
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.number(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.number(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.number(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i64 i128 u8 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

struct List<'de> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> de::SeqAccess<'de> for List<'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let Some((index, item)) = self.items.next() else { return Ok(None) };
        seed.deserialize(Decoder(item)).map(Some).map_err(|why| why.at(item.at).within(format!("[{index}]")))
    }
}

struct Map<'de> {
    entries: std::slice::Iter<'de, (Key, Node)>,
    value: Option<(&'de Key, &'de Node)>,
    strict: bool,
}

impl<'de> de::MapAccess<'de> for Map<'de> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let strict = self.strict;
        let Some((key, value)) = self.entries.find(|(key, _)| !(strict && key.name.starts_with("x-"))) else {
            return Ok(None);
        };
        self.value = Some((key, value));
        let name: de::value::StrDeserializer<'_, DecodeError> = key.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|why| {
            let part = key.name.clone();
            why.at(key.at).within(part)
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let Some((key, value)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(Decoder(value)).map_err(|why| why.at(value.at.or(key.at)).within(key.name.clone()))
    }
}
