//! Notifications: who is told what, and the messages on their way.
//!
//! The [courier] follows the event log, makes a message for each recipient of a line, keeps it in the database together
//! with how far it has read, and sends what is due. So nothing is lost by a crash, and what is sent twice has the same id.
//!
//! ```text
//!  event log ──courier──▶ deliveries (database) ──due──▶ webhook | mail ──taken──▶ delivered
//!                              ▲                              │ not taken
//!                              └── later: 5 s, 20 s, … 5.7 h ─┴── after 8 tries ──▶ given up
//! ```

pub mod address;
pub mod courier;
pub mod mail;
pub mod message;
pub mod reader;
pub mod settings;
pub mod webhook;

use crate::api::types::{DeliveryState, DeliveryView, NotifySettings, SubscriptionView, Topic};
use pond_core::model::Recipient;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// Times a message is tried.
pub const TRIES: u32 = 8;
/// Between one try and the next the wait grows by this factor.
const GROWTH: u32 = 4;
/// Subscriptions of one user.
pub const SUBSCRIPTIONS: usize = 50;
/// Messages of one user that wait; beyond them none is made.
pub const WAITING: u64 = 1000;

/// How fast notifications are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotifyPace {
    /// How long a message that was not taken waits before it is tried the second time. Default 5 s.
    pub first_retry: Duration,
    /// How long a receiver may take, from the lookup of its name to its answer. Default 10 s.
    pub patience: Duration,
    /// How often waiting jobs and ending tokens are looked for. Default 15 s.
    pub check: Duration,
}

impl Default for NotifyPace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { first_retry: seconds(5), patience: seconds(10), check: seconds(15) }
    }
}

/// A subscription, as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its name, which is nobody else's.
    pub name: String,
    /// Random; another one when it is set anew. The key of its webhook follows from it.
    pub id: String,
    /// Whose.
    pub user: String,
    /// Where messages go: an address, never another subscription.
    pub to: Recipient,
    /// What is told.
    pub on: Vec<Topic>,
    /// Of which project; absent: the user's own.
    pub project: Option<String>,
    /// When it was set.
    pub created_ms: u64,
    /// Lines of the event log up to this one are not told.
    pub since: u64,
}

impl Subscription {
    /// As its owner sees it, or somebody else.
    #[must_use]
    pub fn view(&self, own: bool) -> SubscriptionView {
        SubscriptionView {
            name: self.name.clone(),
            user: self.user.clone(),
            to: shown(&self.to, own),
            on: self.on.clone(),
            project: self.project.clone(),
            created_ms: self.created_ms,
        }
    }
}

/// A recipient for people. What follows the host of a webhook is often a secret: others do not see it.
fn shown(to: &Recipient, own: bool) -> String {
    match to {
        Recipient::Webhook(url) if !own => match address::parts(url) {
            Ok(uri) => format!("webhook:{}", address::place(&uri)),
            Err(_) => "webhook:…".to_owned(),
        },
        _ => to.to_string(),
    }
}

/// A message to one recipient, as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The same however often it is made or sent.
    pub id: String,
    /// Whose message it is.
    pub user: String,
    /// By which subscription.
    pub subscription: Option<String>,
    /// One message at a time is under way in a lane: that of a subscription, or of a job's user and recipient.
    pub lane: String,
    /// What the key of the signature follows from.
    pub key: String,
    /// Where it goes.
    pub to: Recipient,
    /// About what.
    pub topic: Topic,
    /// About which job.
    pub job: Option<u64>,
    /// In one line.
    pub title: String,
    /// The body of a webhook (JSON) or of a mail (text).
    pub body: String,
    /// When it was made.
    pub made_ms: u64,
    /// When it is tried next.
    pub due_ms: u64,
    /// Times it was tried.
    pub attempts: u32,
    /// How far it has come.
    pub state: DeliveryState,
    /// What came of the last try.
    pub last: Option<String>,
}

impl Delivery {
    /// As its owner sees it, or somebody else.
    #[must_use]
    pub fn view(&self, own: bool) -> DeliveryView {
        DeliveryView {
            id: self.id.clone(),
            user: self.user.clone(),
            subscription: self.subscription.clone(),
            to: shown(&self.to, own),
            topic: self.topic,
            job: self.job,
            text: self.title.clone(),
            state: self.state,
            attempts: self.attempts,
            made_ms: self.made_ms,
            due_ms: (self.state == DeliveryState::Waiting).then_some(self.due_ms),
            last: self.last.clone(),
        }
    }
}

/// How long to wait after a try that failed, the `tried`th: `first · 4^(tried−1)`, a fifth more or less. Which, the
/// message's id says, so that messages that failed together come back apart, and the same one at the same time.
#[must_use]
pub fn pause(first: Duration, id: &str, tried: u32) -> Duration {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{id} {tried}"));
    let chance = u32::from(u16::from_be_bytes([digest[0], digest[1]]));
    let thousandths = 800 + chance * 400 / u32::from(u16::MAX);
    first * GROWTH.pow(tried.clamp(1, TRIES) - 1) * thousandths / 1000
}

/// How far the event log has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The last line.
    pub line: u64,
    /// When waiting jobs and ending tokens were looked for last.
    pub checked_ms: u64,
}

/// A change of notifications. Written to the database, then taken over.
#[derive(Clone, Debug)]
pub enum NotifyChange {
    /// A subscription, new or changed.
    Subscribe(Subscription),
    /// A subscription is gone, and its messages that wait.
    Unsubscribe(String),
    /// How the pool tells.
    Settings(NotifySettings),
    /// New messages, and how far the event log has been read.
    Made(Option<Mark>, Vec<Delivery>),
    /// A message was tried, or is to be sent once more.
    Tried(Box<Delivery>),
}

/// What the database knows of notifications.
#[derive(Clone, Debug, Default)]
pub struct FoundNotices {
    /// Subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// How the pool tells.
    pub settings: NotifySettings,
    /// How far the event log has been read.
    pub mark: Option<Mark>,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages that were taken.
    pub delivered: AtomicU64,
    /// Tries that failed.
    pub failed: AtomicU64,
    /// Messages that were given up.
    pub given_up: AtomicU64,
    /// Messages that wait now.
    pub waiting: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    subscriptions: RwLock<BTreeMap<String, Subscription>>,
    settings: RwLock<Arc<NotifySettings>>,
    /// How many changes there were.
    changes: watch::Sender<u64>,
    counts: Counts,
}

/// Subscriptions and settings as they are now. Changed by the drive thread alone, once a change is durable. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Notices(Arc<Inner>);

impl Notices {
    /// As the database has them.
    #[must_use]
    pub fn new(found: FoundNotices) -> Self {
        let named = |it: Subscription| (it.name.clone(), it);
        Self(Arc::new(Inner {
            subscriptions: RwLock::new(found.subscriptions.into_iter().map(named).collect()),
            settings: RwLock::new(Arc::new(found.settings)),
            ..Inner::default()
        }))
    }

    /// Every subscription, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Subscription> {
        self.0.subscriptions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The subscription of a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Subscription> {
        self.0.subscriptions.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// How the pool tells.
    #[must_use]
    pub fn settings(&self) -> Arc<NotifySettings> {
        self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Takes over a change that is durable.
    pub fn apply(&self, change: &NotifyChange) {
        let mut subscriptions = self.0.subscriptions.write().unwrap_or_else(PoisonError::into_inner);
        match change {
            NotifyChange::Subscribe(it) => drop(subscriptions.insert(it.name.clone(), it.clone())),
            NotifyChange::Unsubscribe(name) => drop(subscriptions.remove(name)),
            NotifyChange::Settings(settings) => {
                *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings.clone());
            }
            NotifyChange::Made(..) | NotifyChange::Tried(_) => {}
        }
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Tells of every change, that of a message's state included.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_follows_is_told_what_became_of_a_message() {
        let notices = Notices::default();
        let mut follower = notices.follow();
        assert!(!follower.has_changed().unwrap());
        notices.apply(&NotifyChange::Made(None, Vec::new()));
        assert!(follower.has_changed().unwrap());
        follower.mark_unchanged();
        assert!(!follower.has_changed().unwrap());
    }

    #[test]
    fn pauses_grow_over_hours_and_differ_between_messages() {
        let first = Duration::from_secs(5);
        let all = |id: &str| (1..TRIES).map(|tried| pause(first, id, tried)).collect::<Vec<_>>();
        let (one, other) = (all("msg_1"), all("msg_2"));
        assert_eq!(one, all("msg_1"), "the same message waits the same");
        assert!(one.iter().zip(&other).any(|(one, other)| one.abs_diff(*other) > *one / 100));
        for (tried, pause) in (0_u32..).zip(&one) {
            let plain = first * 4_u32.pow(tried);
            assert!(*pause >= plain * 4 / 5 && *pause <= plain * 6 / 5, "{pause:?} of {plain:?}");
        }
        let whole: Duration = one.iter().sum();
        assert!((6..10).contains(&(whole.as_secs() / 3600)), "{whole:?}");
    }
}
