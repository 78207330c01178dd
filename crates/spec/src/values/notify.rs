//! Whom a job tells what becomes of it, and when.

use super::{ValueError, text_value};
use crate::similar::nearest;
use pond_core::model::notify::MAX_RECIPIENT;
use pond_core::model::{Moment, Recipient};
use std::fmt;
use std::str::FromStr;

/// `started`, `succeeded`, `failed`, `stopped`, `preempted`, `waiting`, `idle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MomentText(pub Moment);

/// `webhook:https://example.org/hook`, `email:ann@example.org`, or the name of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientText(pub Recipient);

text_value!(MomentText, "a moment of a job", ["string"], ["failed", "succeeded"]);
text_value!(
    RecipientText,
    "whom to tell",
    ["string"],
    ["webhook:https://example.org/hook", "email:ann@example.org", "team-chat"]
);

/// Why a word is not a moment of a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a moment of a job; use {known}{}", .near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
pub struct MomentError {
    word: String,
    near: Option<&'static str>,
    known: String,
}

impl FromStr for MomentText {
    type Err = MomentError;
    fn from_str(text: &str) -> Result<Self, MomentError> {
        let found = Moment::ALL.into_iter().find(|moment| moment.as_str() == text);
        let known = Moment::ALL.map(Moment::as_str);
        found.map(Self).ok_or_else(|| MomentError {
            word: crate::read::short(text),
            near: nearest(text, known),
            known: known.join(", "),
        })
    }
}

impl fmt::Display for MomentText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for RecipientText {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.len() > MAX_RECIPIENT {
            return Err(ValueError::TooLong { what: "a recipient", most: MAX_RECIPIENT });
        }
        let recipient = Recipient::read(text);
        let fine = match &recipient {
            Recipient::Webhook(url) => is_address(url),
            Recipient::Email(address) => is_mailbox(address),
            Recipient::Subscription(name) => crate::check::is_name(name),
        };
        if fine {
            return Ok(Self(recipient));
        }
        Err(ValueError::form(
            text,
            "a recipient",
            "webhook:https://example.org/hook, email:ann@example.org, or the name of a subscription",
        ))
    }
}

/// Whether text could be the address of a webhook. Where it leads the server looks at, each time.
fn is_address(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':', '?', '#']))
        && url.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether text could be an address of mail: one `@`, nothing that a header or a command could be cut at.
fn is_mailbox(address: &str) -> bool {
    let parts = address.split_once('@');
    parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
        && !address.chars().any(|c| c.is_control() || c.is_whitespace() || "<>,;:\"()\\".contains(c))
}

impl fmt::Display for RecipientText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
