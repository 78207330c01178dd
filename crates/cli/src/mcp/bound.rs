//! Answers of a size that a language model can take in, of text that hides nothing.
//!
//! A pool can hold jobs of 100,000 elements and logs of gigabytes. What does not fit is cut, and the answer says where
//! and how much: lists keep their first entries, texts their beginning. Characters that no reader sees, or that reorder
//! what is seen, are written out: a name must not say one thing to a person and another to a model.

use crate::out::is_harmful;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The longest answer, in bytes of JSON.
pub const ANSWER: usize = 64 * 1024;
/// The longest text in an answer, in bytes.
pub const TEXT: usize = 4 * 1024;
/// The most entries of a list.
const ENTRIES: usize = 200;

/// `value` within bounds. What was cut is told in the field `left_out`: the place, and how many entries or bytes.
#[must_use]
pub fn bounded(value: &Value) -> Value {
    let (mut entries, mut text) = (ENTRIES, TEXT);
    loop {
        let mut cut = Cut { entries, text, left_out: BTreeMap::new() };
        let mut answer = cut.of(value, "");
        if !cut.left_out.is_empty() {
            answer = match answer {
                Value::Object(fields) => Value::Object(fields),
                other => json!({ "list": other }),
            };
            answer["left_out"] = json!(cut.left_out);
        }
        // Without lists, and with short texts, no answer of the pool is long.
        if entries == 0 || answer.to_string().len() <= ANSWER {
            return answer;
        }
        (entries, text) = (entries / 2, text / 2);
    }
}

/// Text with every character that cannot be seen, or that moves others, written as `\u{200b}`; line breaks and tabs stay.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '\n' | '\t') || !is_harmful(letter) {
            out.push(letter);
        } else {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(letter)));
        }
    }
    out
}

/// The beginning of a text, at most `most` bytes, and how many are left out.
#[must_use]
pub fn beginning(text: &str, most: usize) -> (&str, usize) {
    let end = text.floor_char_boundary(most.min(text.len()));
    (&text[..end], text.len() - end)
}

struct Cut {
    entries: usize,
    text: usize,
    left_out: BTreeMap<String, usize>,
}

impl Cut {
    fn of(&mut self, value: &Value, place: &str) -> Value {
        match value {
            Value::String(text) => {
                let (text, rest) = beginning(text, self.text);
                self.note(place, rest);
                Value::String(visible(text))
            }
            Value::Array(list) => {
                self.note(place, list.len().saturating_sub(self.entries));
                let kept = list.iter().take(self.entries);
                kept.enumerate().map(|(at, entry)| self.of(entry, &format!("{place}/{at}"))).collect()
            }
            Value::Object(fields) => {
                self.note(place, fields.len().saturating_sub(ENTRIES));
                let kept = fields.iter().take(ENTRIES);
                let one = |(name, field): (&String, &Value)| {
                    (visible(name), self.of(field, &format!("{place}/{name}")))
                };
                Value::Object(kept.map(one).collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    fn note(&mut self, place: &str, count: usize) {
        if count > 0 && self.left_out.len() < ENTRIES {
            self.left_out.insert(beginning(place, 200).0.to_owned(), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_left_alone() {
        let value = json!({ "jobs": [{ "id": 1, "name": "train\n\tit" }], "next": null });
        assert_eq!(bounded(&value), value);
        assert_eq!(bounded(&json!([1, 2])), json!([1, 2]));
    }

    #[test]
    fn what_does_not_fit_is_cut_and_counted() {
        let many: Vec<Value> = (0..100_000).map(|id| json!({ "id": id, "name": "x".repeat(300) })).collect();
        let answer = bounded(&json!({ "jobs": many, "log": "é".repeat(TEXT) }));
        let kept = answer["jobs"].as_array().unwrap().len();
        assert!(kept > 50 && answer.to_string().len() <= ANSWER, "{kept}");
        assert_eq!(answer["left_out"]["/jobs"], 100_000 - kept);
        // Longer texts are cut shorter where much is to be cut.
        let log = answer["log"].as_str().unwrap().len();
        assert!(log <= TEXT && answer["left_out"]["/log"] == 2 * TEXT - log, "{log}");
        let answer = bounded(&json!(many));
        let kept = answer["list"].as_array().unwrap().len();
        assert_eq!(answer["left_out"][""], 100_000 - kept);
    }

    #[test]
    fn nothing_is_hidden() {
        let hidden = "a\u{1b}[8mb\u{202e}c\u{200b}d\u{e0041}e\u{fffd}";
        assert_eq!(visible(hidden), "a\\u{1b}[8mb\\u{202e}c\\u{200b}d\\u{e0041}e\u{fffd}");
        assert_eq!(bounded(&json!({ "n\u{2066}": "\u{e0041}" })), json!({ "n\\u{2066}": "\\u{e0041}" }));
    }
}
