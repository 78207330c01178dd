//! Prices, budgets, bills, the ledger.

use super::extract::{Body1, JobNumber, Name, Params, short};
use super::guard::Caller;
use super::types::{
    BillQuery, BillReport, BudgetBody, BudgetSpan, BudgetStop, BudgetView, Class, LedgerLine, LedgerQuery,
    PriceBody, PriceView, PricesBody, PricesQuery, PricesView, Problem,
};
use super::{Shared, blocking};
use crate::auth::rights::{Place, Principal, Right, above};
use crate::money::{self, Bill, Writer};
use crate::pool::inbox::Sight;
use crate::pool::view::job;
use crate::store::{Archive, BookFilter};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use pond_core::event::Request;
use pond_core::ids::QueuePath;
use pond_core::model;
use pond_core::money::{Budget, Period, Price, PriceSpec, Priced, Resource, Span, Spending};
use pond_core::units::Timestamp;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// Pieces of an export that may wait for a slow reader.
const PIECES: usize = 16;

/// What things cost.
#[utoipa::path(get, path = "/api/v1/prices", tag = "money", params(PricesQuery),
    responses((status = 200, body = PricesView)))]
pub async fn prices(
    Extract(shared): Extract<Shared>,
    _caller: Caller,
    Params(query): Params<PricesQuery>,
) -> Result<Json<PricesView>, Problem> {
    shared.handle.look(move |sight| sheet(sight, query.all)).await.map(Json)
}

/// The price sheet; `all`: prices that have ended, too.
#[must_use]
pub fn sheet(sight: &Sight<'_>, all: bool) -> PricesView {
    let sheet = sight.engine.meter().ledger().sheet();
    let prices = sheet.prices().iter().filter(|price| all || price.to.is_none_or(|to| to > sight.now));
    PricesView {
        currency: sheet.currency().to_owned(),
        prices: prices.map(|price| view(price, sheet.replaced_by(price, sight.now), sight.now)).collect(),
    }
}

fn view(price: &Price, replaced_by: Option<u64>, now: Timestamp) -> PriceView {
    let (resource, model) = match &price.of {
        Priced::Cpu => (Resource::Cpu, None),
        Priced::Memory => (Resource::Memory, None),
        Priced::Disk => (Resource::Disk, None),
        Priced::Device { kind, model } => {
            (Resource::Device { kind: *kind, model: String::new() }, model.clone())
        }
    };
    let (resource, _, unit) = money::named(&resource);
    PriceView {
        id: price.id,
        resource,
        model,
        class: price.class.map(job::class),
        micros: price.micros,
        unit: unit.to_owned(),
        from_ms: price.from.0,
        to_ms: price.to.map(|to| to.0),
        holds: price.holds(now),
        replaced_by,
    }
}

fn bad(code: &str, message: String, next: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message).with_next(next)
}

fn spec(body: PriceBody) -> Result<PriceSpec, Problem> {
    let PriceBody { resource, model, class, micros, from_ms, to_ms } = body;
    let of = match resource.as_str() {
        "cpu" => Priced::Cpu,
        "memory" => Priced::Memory,
        "disk" => Priced::Disk,
        name => match serde_json::from_value(serde_json::Value::String(name.to_owned())) {
            Ok(kind) => Priced::Device { kind, model: model.clone() },
            Err(_) => {
                let message = format!("`{}` is not something that has a price", short(name));
                return Err(bad("bad_price", message, "use cpu, memory, disk, gpu, fpga, npu or opencl"));
            }
        },
    };
    if model.is_some() && !matches!(of, Priced::Device { .. }) {
        let message = format!("`{resource}` has no models");
        return Err(bad(
            "bad_price",
            message,
            "leave `model` out, or give a price for gpu, fpga, npu or opencl",
        ));
    }
    let class = class.map(|class| match class {
        Class::Spare => model::Class::Spare,
        Class::Standard => model::Class::Standard,
        Class::Critical => model::Class::Critical,
    });
    Ok(PriceSpec { of, class, micros, from: from_ms.map(Timestamp), to: to_ms.map(Timestamp) })
}

/// Add prices to the sheet, all of them or none. What was charged before stays as it is.
#[utoipa::path(post, path = "/api/v1/prices", tag = "money", request_body = PricesBody,
    responses((status = 200, body = PricesView)))]
pub async fn set_prices(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Body1(body): Body1<PricesBody>,
) -> Result<Json<PricesView>, Problem> {
    caller.must(Right::Operate, Place::Pool)?;
    let prices = body.prices.into_iter().map(spec).collect::<Result<Vec<_>, _>>()?;
    let request = Request::SetPrices { currency: body.currency, prices };
    shared.handle.ask(caller.actor(), request, None).await?;
    shared.handle.look(|sight| sheet(sight, false)).await.map(Json)
}

/// End a price now; one that has not begun is forgotten.
#[utoipa::path(delete, path = "/api/v1/prices/{id}", tag = "money", params(("id" = u64, Path)),
    responses((status = 204)))]
pub async fn end_price(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
) -> Result<StatusCode, Problem> {
    caller.must(Right::Operate, Place::Pool)?;
    shared.handle.ask(caller.actor(), Request::EndPrice(id), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Every budget, and how it stands.
#[utoipa::path(get, path = "/api/v1/budgets", tag = "money", responses((status = 200, body = Vec<BudgetView>)))]
pub async fn budgets(
    Extract(shared): Extract<Shared>,
    caller: Caller,
) -> Result<Json<Vec<BudgetView>>, Problem> {
    seen_budgets(&shared, caller.principal).await.map(Json)
}

/// Budgets of queues that somebody sees.
///
/// # Errors
/// When the drive thread does not answer.
pub async fn seen_budgets(shared: &Shared, who: Principal) -> Result<Vec<BudgetView>, Problem> {
    let mut budgets = shared.handle.look(all_budgets).await?;
    budgets.retain(|budget| who.may(Right::See, Place::Queue(&budget.queue)));
    Ok(budgets)
}

/// Every budget, and how it stands now.
#[must_use]
pub fn all_budgets(sight: &Sight<'_>) -> Vec<BudgetView> {
    let ledger = sight.engine.meter().ledger();
    if ledger.budgets().all().next().is_none() {
        return Vec::new();
    }
    let mut open: BTreeMap<QueuePath, Spending> = BTreeMap::new();
    let unkept = ledger.closed().last().map_or(0, |period| period.seq);
    for period in sight.engine.meter().open_periods(sight.now).iter().filter(|period| period.seq > unkept) {
        for entry in &period.entries {
            open.entry(entry.queue.clone()).or_default().add(period.from, entry.net());
        }
    }
    let view = |budget: &Budget| {
        let spent = ledger.budgets().spent(&budget.queue, budget.span, sight.now, &open);
        let percent = u128::from(spent) * 100;
        BudgetView {
            queue: budget.queue.to_string(),
            limit_micros: budget.limit,
            spent_micros: spent,
            percent: percent
                .checked_div(budget.limit.into())
                .map(|part| u64::try_from(part).unwrap_or(u64::MAX)),
            currency: ledger.sheet().currency().to_owned(),
            span: span_view(budget.span),
            from_ms: budget.span.start(sight.now).0,
            to_ms: Some(budget.span.end(sight.now)).filter(|end| *end != Timestamp::NEVER).map(|end| end.0),
            alerts: budget.alerts.clone(),
            stop: match budget.stop {
                pond_core::money::BudgetStop::Never => BudgetStop::Never,
                pond_core::money::BudgetStop::Hold => BudgetStop::Hold,
                pond_core::money::BudgetStop::End => BudgetStop::End,
            },
            blocks: ledger.budgets().blocks(&budget.queue).is_some_and(|spent| spent.queue == budget.queue),
        }
    };
    ledger.budgets().all().map(view).collect()
}

const fn span_view(span: Span) -> BudgetSpan {
    match span {
        Span::Day => BudgetSpan::Day,
        Span::Week => BudgetSpan::Week,
        Span::Month => BudgetSpan::Month,
        Span::Total => BudgetSpan::Total,
    }
}

/// The path of a budget: `/` is the pool's.
fn path_of(path: &str) -> QueuePath {
    QueuePath::from(path.trim_matches('/'))
}

/// Set what a queue and all below it may spend; `%2F` is the pool's.
#[utoipa::path(put, path = "/api/v1/budgets/{path}", tag = "money", params(("path" = String, Path)),
    request_body = BudgetBody, responses((status = 200, body = BudgetView)))]
pub async fn set_budget(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(path): Name,
    Body1(body): Body1<BudgetBody>,
) -> Result<Json<BudgetView>, Problem> {
    caller.must(Right::Shape, Place::Queue(above(path_of(&path).as_str())))?;
    let queue = path_of(&path);
    let budget = Budget {
        queue: queue.clone(),
        limit: body.limit_micros,
        span: match body.span {
            BudgetSpan::Day => Span::Day,
            BudgetSpan::Week => Span::Week,
            BudgetSpan::Month => Span::Month,
            BudgetSpan::Total => Span::Total,
        },
        alerts: body.alerts,
        stop: match body.stop {
            BudgetStop::Never => pond_core::money::BudgetStop::Never,
            BudgetStop::Hold => pond_core::money::BudgetStop::Hold,
            BudgetStop::End => pond_core::money::BudgetStop::End,
        },
    };
    shared.handle.ask(caller.actor(), Request::SetBudget(budget), None).await?;
    let found = shared.handle.look(all_budgets).await?.into_iter().find(|view| view.queue == queue.as_str());
    found.map(Json).ok_or_else(|| Problem::not_found("no_such_budget", "the budget was taken away at once"))
}

/// Let a queue spend what it likes.
#[utoipa::path(delete, path = "/api/v1/budgets/{path}", tag = "money", params(("path" = String, Path)),
    responses((status = 204)))]
pub async fn remove_budget(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(path): Name,
) -> Result<StatusCode, Problem> {
    caller.must(Right::Shape, Place::Queue(above(path_of(&path).as_str())))?;
    shared.handle.ask(caller.actor(), Request::RemoveBudget(path_of(&path)), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is not in the database: periods that are closed and on their way there, and those that are not over.
struct Unkept {
    closed: Vec<Period>,
    open: Vec<Period>,
    currency: String,
    now: Timestamp,
}

async fn unkept(shared: &Shared) -> Result<Unkept, Problem> {
    let read = |sight: &Sight<'_>| {
        let meter = sight.engine.meter();
        let closed = meter.ledger().closed().to_vec();
        let last = closed.last().map_or(0, |period| period.seq);
        let mut open = meter.open_periods(sight.now);
        open.retain(|period| period.seq > last);
        Unkept { closed, open, currency: meter.ledger().sheet().currency().to_owned(), now: sight.now }
    };
    shared.handle.look(read).await
}

impl Unkept {
    /// What is asked for of the ledger. Default: the month up to now.
    fn filter(&self, from: Option<u64>, to: Option<u64>) -> Result<BookFilter, Problem> {
        let from_ms = from.unwrap_or(Span::Month.start(self.now).0);
        let to_ms = to.unwrap_or_else(|| self.now.0.saturating_add(1));
        if from_ms > self.now.0 {
            return Err(Problem::bad_request(
                "bad_parameter",
                "it begins in the future, of which nothing is kept",
            )
            .at("from_ms")
            .with_next("give a moment that is past"));
        }
        if from_ms > to_ms {
            let (message, next) = match from {
                Some(_) => ("it ends before it begins", "give a moment after `from_ms`"),
                None => (
                    "it ends before this month began, where it begins when nothing else is said",
                    "give `from_ms` as well",
                ),
            };
            return Err(Problem::bad_request("bad_parameter", message).at("to_ms").with_next(next));
        }
        let below = self.closed.iter().chain(&self.open).map(|period| period.seq).min().unwrap_or(u64::MAX);
        Ok(BookFilter { from_ms, to_ms, below: below.min(i64::MAX as u64), ..BookFilter::default() })
    }
}

/// Hands out every period that is asked for, oldest first, and whether it is closed.
fn read_books(
    archive: &Archive,
    unkept: &Unkept,
    filter: &BookFilter,
    open: bool,
    mut each: impl FnMut(Period, bool),
) -> Result<(), Problem> {
    archive.books(filter, |period| each(period, true))?;
    let live = unkept.closed.iter().map(|period| (period, true));
    let live = live.chain(unkept.open.iter().filter(|_| open).map(|period| (period, false)));
    for (period, closed) in live.filter(|(period, _)| filter.covers(period)) {
        let mut period = period.clone();
        period.entries.retain(|entry| filter.wants(entry));
        each(period, closed);
    }
    Ok(())
}

/// A bill: charges and credits by queue, user, job, class, resource or time; and what became of the machines.
#[utoipa::path(get, path = "/api/v1/bill", tag = "money", params(BillQuery), responses((status = 200, body = BillReport)))]
pub async fn bill(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Params(query): Params<BillQuery>,
) -> Result<Json<BillReport>, Problem> {
    make_bill(&shared, caller.principal, query).await.map(Json)
}

/// A bill of what somebody sees.
///
/// # Errors
/// When it ends before it begins, or cannot be read.
pub async fn make_bill(shared: &Shared, who: Principal, query: BillQuery) -> Result<BillReport, Problem> {
    let unkept = unkept(shared).await?;
    let filter = unkept.filter(query.from_ms, query.to_ms)?;
    let filter = BookFilter {
        queue: query.queue.as_deref().map(path_of),
        user: query.user.clone(),
        job: query.job,
        who: Some(who),
        ..filter
    };
    let archive = shared.archive.clone();
    blocking(move || {
        let archive = archive.another()?;
        let mut bill = Bill::new(query.by);
        let mut summed: Option<(u64, u64)> = None;
        read_books(&archive, &unkept, &filter, true, |period, _| {
            let (from, to) = summed.unwrap_or((period.from.0, period.to.0));
            summed = Some((from.min(period.from.0), to.max(period.to.0)));
            bill.add(&period);
        })?;
        let (rows, total) = bill.rows(query.split_idle);
        Ok(BillReport {
            currency: unkept.currency,
            from_ms: filter.from_ms,
            to_ms: filter.to_ms.min(unkept.now.0),
            summed_from_ms: summed.map(|span| span.0),
            summed_to_ms: summed.map(|span| span.1),
            by: query.by,
            rows,
            total,
            pool: bill.pool(),
        })
    })
    .await?
}

/// Lines of the ledger: one resource of one job in one period. Closed ones never change.
#[utoipa::path(get, path = "/api/v1/ledger", tag = "money", params(LedgerQuery),
    responses((status = 200, description = "lines of LedgerLine as JSON, CSV, or CSV with the columns of FOCUS", content((LedgerLine = "application/x-ndjson"), (String = "text/csv")))))]
pub async fn ledger(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Params(query): Params<LedgerQuery>,
) -> Result<Response, Problem> {
    let room = shared.room_for_a_stream()?;
    let unkept = unkept(&shared).await?;
    let filter = unkept.filter(query.from_ms, query.to_ms)?;
    let filter = BookFilter {
        queue: query.queue.as_deref().map(path_of),
        user: query.user,
        job: query.job,
        who: Some(caller.principal),
        ..filter
    };
    let writer = Writer(query.format);
    let archive = shared.archive.another()?;
    let (pieces, body) = mpsc::channel::<Result<Bytes, std::io::Error>>(PIECES);
    tokio::task::spawn_blocking(move || {
        let _room = room;
        // Who has gone away does not want the rest.
        let send = |text: String| pieces.blocking_send(Ok(Bytes::from(text))).unwrap_or_default();
        send(writer.head());
        let read = read_books(&archive, &unkept, &filter, query.open, |period, closed| {
            if !pieces.is_closed() && !period.entries.is_empty() {
                send(writer.lines(&period, closed));
            }
        });
        if let Err(why) = read {
            pieces.blocking_send(Err(std::io::Error::other(why.message))).unwrap_or_default();
        }
    });
    let export = writer.export();
    let name = format!("attachment; filename=\"ledger.{}\"", export.ending);
    let head = [(header::CONTENT_TYPE, export.content_type.to_owned()), (header::CONTENT_DISPOSITION, name)];
    let stream = tokio_stream::wrappers::ReceiverStream::new(body);
    Ok((head, Body::from_stream(stream)).into_response())
}
