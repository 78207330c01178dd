//! Forms for prices and budgets; the page of usage shows them, and says in place what was wrong with one.

use super::form::{Fields, Signed};
use super::usage::{self, Refused};
use super::{Oops, Page};
use crate::api::extract::{Body1, JobNumber, Name};
use crate::api::types::{
    BudgetBody, BudgetSpan, BudgetStop, Class, PriceBody, PricesBody, Problem, UsageQuery, usual_alerts,
};
use crate::api::{Shared, money};
use axum::extract::State as Extract;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use pond_core::money::{micros, moment};

/// Statuses of refusals that a change of the form may help.
const REPAIRABLE: [u16; 4] = [400, 404, 409, 422];

/// Sets a price.
pub async fn set_price(Extract(shared): Extract<Shared>, form: Signed) -> Page {
    let done = match price(&form.fields) {
        Ok(body) => money::set_prices(Extract(shared.clone()), form.visitor.caller.clone(), Body1(body))
            .await
            .map(drop),
        Err(problem) => Err(problem),
    };
    answer(shared, form, done, "price", "/usage#prices", &REPAIRABLE).await
}

/// Ends a price now.
pub async fn end_price(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let id = form.fields.number("id")?.ok_or_else(|| bad("id", "the price's number is missing"))?;
    money::end_price(Extract(shared), form.visitor.caller, JobNumber(id)).await?;
    Ok(Redirect::to("/usage#prices").into_response())
}

/// Sets what a queue may spend.
pub async fn set_budget(Extract(shared): Extract<Shared>, form: Signed) -> Page {
    let done = match budget(&form.fields) {
        Ok((path, body)) => {
            let caller = form.visitor.caller.clone();
            money::set_budget(Extract(shared.clone()), caller, Name(path), Body1(body)).await.map(drop)
        }
        Err(problem) => Err(problem),
    };
    // Who administers a project has this form, and may name a queue that is not theirs to bound.
    let refusals = [&REPAIRABLE[..], &[403]].concat();
    answer(shared, form, done, "budget", "/usage#budgets", &refusals).await
}

/// Lets a queue spend what it likes.
pub async fn remove_budget(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let path = queue(&form.fields)?;
    money::remove_budget(Extract(shared), form.visitor.caller, Name(path)).await?;
    Ok(Redirect::to("/usage#budgets").into_response())
}

/// Back to the page; when something was wrong with the form, with the form as it was and what was wrong. Other refusals are
/// pages of their own: who may not do this at all learns no more.
async fn answer(
    shared: Shared,
    form: Signed,
    done: Result<(), Problem>,
    name: &'static str,
    next: &str,
    repairable: &[u16],
) -> Page {
    let Signed { visitor, fields } = form;
    match done {
        Ok(()) => Ok(Redirect::to(next).into_response()),
        Err(problem) if repairable.contains(&problem.status) => {
            let refused = Refused { form: name, fields, problem };
            let here = Uri::from_static("/usage");
            usage::show_page(shared, visitor, &here, UsageQuery::default(), Some(refused)).await
        }
        Err(problem) => Err(problem.into()),
    }
}

fn bad(field: &str, message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_field", message.into()).at(field)
}

fn some(fields: &Fields, name: &str) -> Option<String> {
    Some(fields.get(name).to_owned()).filter(|text| !text.is_empty())
}

/// The price of a form.
fn price(fields: &Fields) -> Result<PricesBody, Problem> {
    let class = match fields.get("class") {
        "" => None,
        "spare" => Some(Class::Spare),
        "standard" => Some(Class::Standard),
        "critical" => Some(Class::Critical),
        _ => return Err(bad("class", "the class is critical, standard, spare or none")),
    };
    let at = |name: &str| {
        let read = |text: String| {
            let wrong = || bad(name, format!("`{text}` is not a moment; write 2026-11-24 08:00, in UTC"));
            moment(&text).map(|at| at.0).ok_or_else(wrong)
        };
        some(fields, name).map(read).transpose()
    };
    let price = PriceBody {
        resource: fields.get("resource").to_owned(),
        model: some(fields, "model"),
        class,
        micros: amount(fields)?,
        from_ms: at("from")?,
        to_ms: at("to")?,
    };
    Ok(PricesBody { currency: some(fields, "currency"), prices: vec![price] })
}

/// The queue and the budget of a form.
fn budget(fields: &Fields) -> Result<(String, BudgetBody), Problem> {
    let span = match fields.get("span") {
        "day" => BudgetSpan::Day,
        "week" => BudgetSpan::Week,
        "" | "month" => BudgetSpan::Month,
        "total" => BudgetSpan::Total,
        _ => return Err(bad("span", "a budget counts over a day, a week, a month or in all")),
    };
    let stop = match fields.get("stop") {
        "never" => BudgetStop::Never,
        "" | "hold" => BudgetStop::Hold,
        "end" => BudgetStop::End,
        _ => return Err(bad("stop", "when it is spent: never, hold or end")),
    };
    let body = BudgetBody { limit_micros: amount(fields)?, span, alerts: alerts(fields)?, stop };
    Ok((queue(fields)?, body))
}

/// At which parts of a budget people are told: percentages, the usual ones, or none.
fn alerts(fields: &Fields) -> Result<Vec<u16>, Problem> {
    let text = fields.get("alerts");
    match text {
        "" => return Ok(usual_alerts()),
        "none" => return Ok(Vec::new()),
        _ => {}
    }
    let parts = text.split([',', ' ', '%']).filter(|part| !part.is_empty());
    let wrong =
        |_why| bad("alerts", format!("`{text}` is no list of percentages; write 50, 80, 100, or none"));
    parts.map(str::parse).collect::<Result<_, _>>().map_err(wrong)
}

/// A queue's path; `/` is the pool.
fn queue(fields: &Fields) -> Result<String, Problem> {
    some(fields, "queue").ok_or_else(|| bad("queue", "name a queue; `/` is the pool"))
}

/// An amount of money, in micro-units.
fn amount(fields: &Fields) -> Result<u64, Problem> {
    let text = fields.get("amount");
    let wrong = || {
        format!(
            "`{text}` is not an amount of money; write 2.10: digits, and up to six of them behind a point"
        )
    };
    micros(text).ok_or_else(|| bad("amount", wrong()))
}
