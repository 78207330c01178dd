//! Who used how much, and what the machines' time went to.

use super::form::Fields;
use super::home::Bar;
use super::session::Visitor;
use super::{Page, Shell, assets, render, show};
use crate::api::Shared;
use crate::api::extract::Params;
use crate::api::types::{
    BillBy, BillQuery, BillReport, BudgetSpan, BudgetStop, BudgetView, LedgerFormat, LedgerQuery, NodeUsage,
    PricesView, Problem, UsageQuery, UsageReport, UsageRow,
};
use crate::api::{money, pool};
use crate::auth::rights::{Place, Right, above};
use askama::Template;
use axum::extract::State as Extract;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use serde::Deserialize;

/// Rows a table shows at most.
const ROWS: usize = 500;

#[derive(Template)]
#[template(path = "usage.html")]
struct UsagePage {
    shell: Shell,
    by: String,
    report: UsageReport,
    bar: Bar,
    most: u64,
    bill: BillReport,
    prices: PricesView,
    budgets: Vec<BudgetView>,
    /// Queues whose budget the visitor may set.
    bounded: Vec<String>,
    refused: Option<Refused>,
    /// Digits behind the point in all of the bill, so that its columns can be compared.
    places: usize,
}

/// A form that was refused: the page shows it as it was sent, with what was wrong.
pub struct Refused {
    /// `price` or `budget`.
    pub form: &'static str,
    /// What it held.
    pub fields: Fields,
    /// Why it was refused.
    pub problem: Problem,
}

impl UsagePage {
    /// Whether the visitor may set or remove the budget of a queue.
    fn may_bound(&self, queue: &str) -> bool {
        self.bounded.iter().any(|path| path == queue)
    }

    /// What rows are of.
    fn by_title(&self) -> &'static str {
        match self.by.as_str() {
            "user" => "User",
            "job" => "Job",
            _ => "Queue",
        }
    }

    /// Micro-units of the bill.
    fn cash(&self, micros: impl show::Number) -> String {
        pond_core::money::decimal_to(micros.value().into(), self.places)
    }

    /// The same that may be less than nothing.
    fn cash_net(&self, micros: impl std::borrow::Borrow<i64>) -> String {
        pond_core::money::decimal_to((*micros.borrow()).into(), self.places)
    }

    /// What was wrong with a form.
    fn wrong(&self, form: &str) -> Option<&Problem> {
        self.refused.as_ref().filter(|refused| refused.form == form).map(|refused| &refused.problem)
    }

    /// What a field held when the form was refused.
    fn kept(&self, form: &str, field: &str) -> &str {
        let refused = self.refused.as_ref().filter(|refused| refused.form == form);
        refused.map_or("", |refused| refused.fields.get(field))
    }

    /// The same of one that has a usual value.
    fn chosen(&self, form: &str, field: &str, usual: &str, value: &str) -> bool {
        match self.kept(form, field) {
            "" => value == usual,
            kept => kept == value,
        }
    }
}

/// Amount times time in hours, for people: of thousandths × milliseconds.
pub fn hours(milli_ms: impl show::Number) -> String {
    little(milli_ms.value(), milli_ms.value() / 3_600_000)
}

/// Thousandths; of something that is too little for them, not nothing.
fn little(exact: u64, milli: u64) -> String {
    if exact > 0 && milli < 10 { "<0.01".to_owned() } else { show::tidy(milli) }
}

/// Of mebibytes × seconds, gibibyte-hours.
pub fn gib_hours(mib_s: impl show::Number) -> String {
    let milli = u64::try_from(u128::from(mib_s.value()) * 1000 / (1024 * 3600)).unwrap_or(u64::MAX);
    little(mib_s.value(), milli)
}

/// Use by queue, user or job.
pub async fn page(
    Extract(shared): Extract<Shared>,
    visitor: Visitor,
    here: Uri,
    Params(wish): Params<Wish>,
) -> Page {
    show_page(shared, visitor, &here, UsageQuery { by: wish.by }, None).await
}

/// What is asked of the page. What is not known of an address is nothing to it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Wish {
    by: Option<String>,
}

/// How the ledger is to be written.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct LedgerWish {
    format: LedgerFormat,
}

/// The ledger's lines of this month as a file: what the API gives to a token, to a session.
pub async fn ledger(
    Extract(shared): Extract<Shared>,
    visitor: Visitor,
    Params(wish): Params<LedgerWish>,
) -> Page {
    let query = LedgerQuery { format: wish.format, ..LedgerQuery::default() };
    Ok(money::ledger(Extract(shared), visitor.caller, Params(query)).await?)
}

/// The page, with a form that was refused.
pub async fn show_page(
    shared: Shared,
    visitor: Visitor,
    here: &Uri,
    query: UsageQuery,
    refused: Option<Refused>,
) -> Page {
    let mut shell = Shell::new(&visitor, "Usage", "usage", here);
    // A refresh would take away what was typed.
    shell.live = refused.is_none();
    let status = refused.as_ref().and_then(|refused| StatusCode::from_u16(refused.problem.status).ok());
    let by = query.by.clone().unwrap_or_else(|| "queue".to_owned());
    let who = visitor.caller.principal.clone();
    let cut = match by.as_str() {
        "user" => BillBy::User,
        "job" => BillBy::Job,
        _ => BillBy::Queue,
    };
    let mut bill =
        money::make_bill(&shared, who.clone(), BillQuery { by: cut, ..BillQuery::default() }).await?;
    bill.rows.truncate(ROWS);
    let budgets = money::seen_budgets(&shared, who).await?;
    let mut bounded: Vec<String> = pool::queues(Extract(shared.clone()), visitor.caller.clone())
        .await?
        .0
        .into_iter()
        .map(|queue| queue.path)
        .filter(|path| visitor.caller.may(Right::Shape, Place::Queue(above(path))))
        .collect();
    bounded.truncate(ROWS);
    let prices = shared.handle.look(|sight| money::sheet(sight, false)).await?;
    let mut report = crate::api::usage::usage(Extract(shared), visitor.caller, Params(query)).await?.0;
    let weight = |row: &UsageRow| row.granted_cpu_milli_ms.saturating_add(row.burst_cpu_milli_ms);
    report.rows.sort_by_key(|row| (std::cmp::Reverse(weight(row)), row.key.clone()));
    report.rows.truncate(ROWS);
    let most = report.rows.first().map_or(0, weight);
    let bar = bar(&report.nodes);
    let amounts = bill.rows.iter().chain([&bill.total]).flat_map(|row| {
        [
            row.charge_micros.into(),
            row.waste_micros.into(),
            row.credit_micros.into(),
            i128::from(row.net_micros),
        ]
    });
    let places = amounts.map(pond_core::money::places).max().unwrap_or(2);
    let page =
        render(&UsagePage { shell, by, report, bar, most, bill, prices, budgets, bounded, refused, places })?;
    Ok((status.unwrap_or(StatusCode::OK), page).into_response())
}

/// Micro-units as money.
pub fn money(micros: impl show::Number) -> String {
    crate::money::decimal(micros.value().into())
}

/// Millionths of unit-hours.
pub fn unit_hours(micro_hours: impl show::Number) -> String {
    little(micro_hours.value(), micro_hours.value() / 1000)
}

const fn every(span: &BudgetSpan) -> &'static str {
    match span {
        BudgetSpan::Day => "day",
        BudgetSpan::Week => "week",
        BudgetSpan::Month => "month",
        BudgetSpan::Total => "in all",
    }
}

fn alerts(alerts: &[u16]) -> String {
    let parts: Vec<String> = alerts.iter().map(|part| format!("{part} %")).collect();
    if parts.is_empty() { "–".to_owned() } else { parts.join(", ") }
}

const fn stop(stop: &BudgetStop) -> &'static str {
    match stop {
        BudgetStop::Never => "people are told",
        BudgetStop::Hold => "queued jobs wait",
        BudgetStop::End => "queued jobs wait, running ones are ended",
    }
}

/// All CPU time of all nodes since they joined, by what became of it; the meter's own identity.
fn bar(nodes: &[NodeUsage]) -> Bar {
    let sum = |part: fn(&NodeUsage) -> u64| nodes.iter().map(part).fold(0_u64, u64::saturating_add);
    let parts = [
        ("used", "Used", sum(|node| node.used_within)),
        ("waste", "Granted, not used", sum(|node| node.waste)),
        ("planned", "Set aside for starts", sum(|node| node.planned)),
        ("idle", "Idle", sum(|node| node.idle)),
        ("down", "Down", sum(|node| node.down)),
    ];
    Bar::new("CPU time", &parts, |amount| format!("{} core-hours", hours(amount)))
}
