//! Notifications on the wire: what may be told, to whom, and what became of it.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::{IntoParams, ToSchema};

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A job runs for the first time.
    Started,
    /// A job ended well.
    Succeeded,
    /// A job ended badly.
    Failed,
    /// A job was stopped or cancelled.
    Stopped,
    /// A job had to give its place to another.
    Preempted,
    /// A job has waited for longer than the pool finds usual.
    Waiting,
    /// An environment was not used, and is paused or stopped.
    Idle,
    /// A part of a budget is spent that was to be told.
    Budget,
    /// A budget is spent: jobs wait or end for it.
    BudgetSpent,
    /// A machine is lost.
    NodeLost,
    /// A device cannot be used any more.
    DeviceSick,
    /// A token ends soon.
    Token,
    /// A trial.
    Test,
}

impl Topic {
    /// All that can be subscribed to.
    pub const ALL: [Self; 12] = [
        Self::Started,
        Self::Succeeded,
        Self::Failed,
        Self::Stopped,
        Self::Preempted,
        Self::Waiting,
        Self::Idle,
        Self::Budget,
        Self::BudgetSpent,
        Self::NodeLost,
        Self::DeviceSick,
        Self::Token,
    ];
    /// What is told when nothing is said.
    pub const USUAL: [Self; 8] = [
        Self::Succeeded,
        Self::Failed,
        Self::Preempted,
        Self::Waiting,
        Self::Idle,
        Self::Budget,
        Self::BudgetSpent,
        Self::Token,
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
            Self::Budget => "budget",
            Self::BudgetSpent => "budget_spent",
            Self::NodeLost => "node_lost",
            Self::DeviceSick => "device_sick",
            Self::Token => "token",
            Self::Test => "test",
        }
    }

    /// The `type` of a webhook's body.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Started => "job.started",
            Self::Succeeded => "job.succeeded",
            Self::Failed => "job.failed",
            Self::Stopped => "job.stopped",
            Self::Preempted => "job.preempted",
            Self::Waiting => "job.waiting",
            Self::Idle => "env.idle",
            Self::Budget => "budget.alert",
            Self::BudgetSpent => "budget.spent",
            Self::NodeLost => "node.lost",
            Self::DeviceSick => "device.sick",
            Self::Token => "token.expiring",
            Self::Test => "test",
        }
    }

    /// The topic of a word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == word)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom to tell, and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionBody {
    /// `webhook:https://example.org/hook` or `email:ann@example.org`.
    pub to: String,
    /// What; absent: what is usual. None: only jobs that name the subscription in their `notify:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Vec<Topic>>,
    /// Everything of this project and those below; the empty path is the pool. Absent: one's own jobs and tokens, and the
    /// budgets and machines that one sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionView {
    /// Its name.
    pub name: String,
    /// Whose.
    pub user: String,
    /// Where messages go. Of the webhooks of others only the host is shown: what follows may be a secret.
    pub to: String,
    /// What is told.
    pub on: Vec<Topic>,
    /// Of which project; absent: of its user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// When it was made or changed.
    pub created_ms: u64,
}

/// A subscription that was just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewSubscription {
    /// It.
    pub subscription: SubscriptionView,
    /// What the signatures of its webhook are verified with, as Standard Webhooks writes it: `whsec_…`. Shown this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningKey {
    /// `whsec_…`.
    pub secret: String,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It will be tried, or tried again.
    Waiting,
    /// It was taken.
    Delivered,
    /// It was tried as often as it is tried.
    GivenUp,
}

impl DeliveryState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
        }
    }
}

/// A message to one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// Its id, which a webhook has as `webhook-id`: the same however often it is sent.
    pub id: String,
    /// Whose message it is.
    pub user: String,
    /// By which subscription; absent: the job named the recipient itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Where it goes.
    pub to: String,
    /// About what.
    pub topic: Topic,
    /// About which job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// In one line.
    pub text: String,
    /// How far it has come.
    pub state: DeliveryState,
    /// Times it was tried.
    pub attempts: u32,
    /// When it was made.
    pub made_ms: u64,
    /// When it is tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
    /// What came of the last try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// Which messages, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct DeliveryQuery {
    /// Only those of this subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Only those that have come this far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub state: Option<DeliveryState>,
    /// Only those about this job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// At most so many, 1 to 1000; default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// Begins plain and must become TLS before anything is said; port 587.
    #[default]
    Starttls,
    /// TLS from the first byte; port 465.
    Implicit,
    /// Not at all: only on the loopback.
    None,
}

/// A server that takes mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MailServer {
    /// Its name, which its certificate must have.
    pub host: String,
    /// Its port; absent: the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: MailTls,
    /// Whom mail comes from: `Millpond <pond@example.org>`.
    pub from: String,
    /// Who logs in there; absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The secret of the pool that holds the password. Its name begins with `POND_`, so that no job can have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Certificates (PEM) to trust beside the well-known ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Domains that mail may go to; none: that of `from` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
}

/// How a pool tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NotifySettings {
    /// Networks beside the public internet that webhooks may go to, as `10.1.0.0/16`; there, and only there, without TLS.
    pub allow: Vec<String>,
    /// Where people find this pool's pages: `https://pond.example.org`. Messages then link there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A job that has waited for so long waits for long. An hour unless set; 0: never.
    pub waiting_ms: u64,
    /// A token that ends within so long ends soon. Seven days unless set; 0: never.
    pub token_ms: u64,
    /// Who takes mail; absent: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailServer>,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self { allow: Vec::new(), url: None, waiting_ms: 3_600_000, token_ms: 7 * 86_400_000, mail: None }
    }
}
