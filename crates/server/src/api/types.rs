//! The JSON of `/api/v1`: what goes over the wire, and nothing else.
//!
//! Amounts are integers in the unit their name ends in (`_ms`, `_bytes`, `cpu_milli`, `_thousandths`);
//! moments are milliseconds since the Unix epoch. Ids are text as `pond_core::ids` prints them: `12`,
//! `12[7]`, `12[7].3`. Absent values are left out.

mod job;
mod money;
mod notify;
mod output;
mod people;
mod pool;
mod queue;
mod usage;
mod why;

pub use crate::auth::rights::{Role, Scope};
pub use job::{
    ActionBody, Amounts, BlamedView, Class, Counts, DeviceAsk, DeviceResize, DeviceUseView, ExitView,
    GangView, GrantView, JobDetail, JobKind, JobPage, JobQuery, JobSummary, NearView, PlacementView,
    PortView, Preview, ResizeBody, RunsView, State, SubmitQuery, Submitted, TaskUse, TaskView,
};
pub use money::{
    BillAmount, BillBy, BillQuery, BillReport, BillRow, BudgetBody, BudgetSpan, BudgetStop, BudgetView,
    CostView, EstimateView, LedgerFormat, LedgerLine, LedgerQuery, PoolAmount, PriceBody, PriceView,
    PricesBody, PricesQuery, PricesView, usual_alerts,
};
pub use notify::{
    DeliveryQuery, DeliveryState, DeliveryView, MailServer, MailTls, NewSubscription, NotifySettings,
    SigningKey, SubscriptionBody, SubscriptionView, Topic,
};
pub use output::{EventPage, EventQuery, EventView, ExecQuery, FileQuery, ForwardQuery, LogLine, LogQuery};
pub use people::{
    LoginLink, NewToken, PasswordBody, ProjectView, RoleBody, RoleQuery, RoleView, TokenBody, TokenView,
    UserBody, UserView, WhoView,
};
pub use pool::{
    DeviceView, FreeSize, Health, HolderView, LabelBody, NodeView, SchedulerBody, SchedulerView,
    ShutdownBody, StatusView, Version,
};
pub use queue::{
    Affected, Effected, HostAccessBody, HostFolderBody, QueueAmounts, QueueBody, QueueTrial, QueueView,
};
pub use usage::{NodeUsage, SampleSeries, TaskSamples, UsageQuery, UsageReport, UsageRow};
pub use why::{
    ForecastView, FunnelStep, PassedView, PastView, PredictionView, UnwellView, WhatIfView, WhyQuery, WhyView,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Version of the API in its path.
pub const API: &str = "/api/v1";
/// Request header: the same key with the same body gives the same job, however often it is sent.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Content type of a job file in YAML.
pub const YAML: &str = "application/yaml";
/// Content type of a job file in TOML.
pub const TOML: &str = "application/toml";
/// Content type of a shell script with `#POND` or `#SBATCH` lines.
pub const SCRIPT: &str = "text/x-shellscript";
/// Content type of a complete job (`pond_core::model::JobSpec` as JSON), as a client that has read the job
/// file itself sends it.
pub const SPEC: &str = "application/vnd.pond.spec+json";
/// Content type of every error.
pub const PROBLEM: &str = "application/problem+json";
/// Content type of one JSON object a line.
pub const NDJSON: &str = "application/x-ndjson";

/// An error (RFC 9457), with what a person needs to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The HTTP status again.
    pub status: u16,
    /// A word that programs can rely on: `no_such_job`, `bad_file`, `read_only`, ...
    pub code: String,
    /// What is wrong, one sentence.
    pub message: String,
    /// Where: `line 6 column 3` of the job file, a parameter, a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A secret's name; values are never given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// Its name, which is the variable's name inside tasks.
    pub name: String,
    /// When it was set last.
    pub updated_ms: u64,
}

/// The value of a secret, on its way in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretBody {
    /// The value, at most 64 KiB.
    pub value: String,
}

impl std::fmt::Debug for SecretBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBody(…)")
    }
}
