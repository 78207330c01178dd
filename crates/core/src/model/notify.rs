//! Whom a job's people want told what becomes of it. The engine carries this and does nothing with it.

use serde::{Deserialize, Serialize};

/// The most recipients of one job.
pub const MAX_RECIPIENTS: usize = 8;
/// The longest recipient, in bytes.
pub const MAX_RECIPIENT: usize = 2048;

/// What may become of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// It runs for the first time.
    Started,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// Somebody stopped it, or it was cancelled.
    Stopped,
    /// The pool took its place away.
    Preempted,
    /// It has waited for long.
    Waiting,
    /// Nobody used it, and it was paused or stopped.
    Idle,
}

impl Moment {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Started,
        Self::Succeeded,
        Self::Failed,
        Self::Stopped,
        Self::Preempted,
        Self::Waiting,
        Self::Idle,
    ];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Preempted => "preempted",
            Self::Waiting => "waiting",
            Self::Idle => "idle",
        }
    }
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// Posted to this address.
    Webhook(String),
    /// Mailed to this address.
    Email(String),
    /// Where a subscription of the user's goes.
    Subscription(String),
}

impl Recipient {
    /// Reads `webhook:URL`, `email:ADDRESS` or the name of a subscription. What stands behind the colon is not looked at.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text.split_once(':') {
            Some(("webhook", url)) => Self::Webhook(url.to_owned()),
            Some(("email", address)) => Self::Email(address.to_owned()),
            _ => Self::Subscription(text.to_owned()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Webhook(text) | Self::Email(text) | Self::Subscription(text) => text,
        }
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::Webhook(_) => "webhook:",
            Self::Email(_) => "email:",
            Self::Subscription(_) => "",
        };
        write!(f, "{kind}{}", self.text())
    }
}

/// Whom to tell, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifySpec {
    /// At these moments.
    pub on: Vec<Moment>,
    /// These.
    pub to: Vec<Recipient>,
}

impl NotifySpec {
    /// Whether it is of a size that a pool takes in.
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.on.len() <= Moment::ALL.len()
            && self.to.len() <= MAX_RECIPIENTS
            && self.to.iter().all(|to| to.text().len() <= MAX_RECIPIENT)
    }
}
