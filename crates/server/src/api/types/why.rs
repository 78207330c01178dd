//! Why a gang is where it is, and how predictions came out.

use super::{Amounts, DeviceAsk};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which element `why` is asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WhyQuery {
    /// The array index; absent: the first element that waits, else the first.
    pub index: Option<u32>,
}

/// Why a gang is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyView {
    /// Which gang.
    pub gang: String,
    /// `placed`, `waiting`, `needs_you`, `needs_admin` or `over`.
    pub verdict: String,
    /// Whether waiting cannot help: nothing that comes free would ever be enough.
    pub infeasible: bool,
    /// One sentence with arithmetic and advice.
    pub sentence: String,
    /// The typed reason: a word of docs/why.md, or an object with that word as its only key. A budget has `queue`, `spent_micros`,
    /// `limit_micros`, `currency`, and `until_ms` when a next span begins; `reserved` and `backoff` have `until_ms` when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value)]
    pub reason: Option<serde_json::Value>,
    /// Nodes in the pool.
    pub nodes: u32,
    /// How many of them each constraint removed, in the order tried.
    pub funnel: Vec<FunnelStep>,
    /// Tasks of it that could be placed now.
    pub placeable: u32,
    /// Tasks it needs at least.
    pub needed: u32,
    /// Its place in line from 1; 0 when placed.
    pub position: u32,
    /// Who is right before it, nearest first.
    pub ahead: Vec<String>,
    /// Devices of the sorts it asks for that are not granted now, for how they are; at most eight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unwell: Vec<UnwellView>,
    /// When it is predicted to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_start_ms: Option<u64>,
    /// The earliest and latest moment at which it starts, if this forecast errs as eight of ten did before; absent while
    /// fewer than ten were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_earliest_ms: Option<u64>,
    /// See `predicted_earliest_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_latest_ms: Option<u64>,
    /// Gangs that came later and have a place already, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_by: Vec<PassedView>,
    /// What was decided about it before, oldest first; at most sixteen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<PastView>,
    /// Changes that would help, best first.
    pub what_ifs: Vec<WhatIfView>,
    /// What each task asks for.
    pub asked: Amounts,
    /// The devices that each task asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceAsk>,
    /// Tasks that start together, the fewest that will do.
    #[serde(default)]
    pub tasks: u32,
}

/// A device that is not granted for how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnwellView {
    /// Its node.
    pub node: String,
    /// Its ordinal there.
    pub device: u32,
    /// How it is, as `DeviceView::health` says it.
    pub health: String,
    /// What was told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// When it stopped being healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
}

/// A decision that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastView {
    /// When.
    pub at_ms: u64,
    /// `place`, `grow`, `shrink`, `preempt`, `freeze`, `thaw`, `limit` or `hold`.
    pub what: String,
    /// What and why, for people.
    pub text: String,
}

/// A gang that came later and has a place already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PassedView {
    /// Which.
    pub gang: String,
    /// When it got its place.
    pub at_ms: u64,
    /// Why it went first.
    pub because: String,
}

/// How predicted starts came out, of a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForecastView {
    /// Forecasts made.
    pub made: u64,
    /// Of these, gangs that wait still.
    pub open: u64,
    /// The last ones that came out, at most 512.
    pub compared: u64,
    /// Half of these were wrong by less, early or late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_error_ms: Option<u64>,
    /// One in ten came earlier than foretold by more than this (then negative).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest_ms: Option<i64>,
    /// One in ten came later than foretold by more than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_ms: Option<i64>,
}

/// How predicted run times came out, of jobs that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PredictionView {
    /// The last ones, at most 512.
    pub compared: u64,
    /// Of these, those that ran longer than predicted.
    pub longer: u64,
    /// Half of them were wrong by less, in hundredths of the prediction, long or short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_error_percent: Option<u64>,
}

/// One constraint of the funnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunnelStep {
    /// The constraint, in words: `too small (memory)`.
    pub constraint: String,
    /// Nodes it removed.
    pub removed: u32,
}

/// One change that would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhatIfView {
    /// The change, in words.
    pub change: String,
    /// When it would start then, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
}
