//! Forms for prices and budgets; the page of usage shows them, and says in place what was wrong with one.

use super::form::{Fields, Signed};
use super::usage::{self, Refused};
use super::{Oops, Page};
use crate::api::extract::{Body1, JobNumber, Name};
use crate::api::types::{
    BudgetBody, BudgetSpan, BudgetStop, Class, PriceBody, PricesBody, Problem, UsageQuery,
};
use crate::api::{Shared, money};
use axum::extract::State as Extract;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use pond_core::money::{MICROS, date};
use pond_core::units::Timestamp;

/// Sets a price.
pub async fn set_price(Extract(shared): Extract<Shared>, form: Signed) -> Page {
    let done = match price(&form.fields) {
        Ok(body) => money::set_prices(Extract(shared.clone()), form.visitor.caller.clone(), Body1(body))
            .await
            .map(drop),
        Err(problem) => Err(problem),
    };
    answer(shared, form, done, "price", "/usage#prices").await
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
    answer(shared, form, done, "budget", "/usage#budgets").await
}

/// Lets a queue spend what it likes.
pub async fn remove_budget(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let path = queue(&form.fields)?;
    money::remove_budget(Extract(shared), form.visitor.caller, Name(path)).await?;
    Ok(Redirect::to("/usage#budgets").into_response())
}

/// Back to the page; when something was wrong with the form, with the form as it was and what was wrong.
async fn answer(
    shared: Shared,
    form: Signed,
    done: Result<(), Problem>,
    name: &'static str,
    next: &str,
) -> Page {
    let Signed { visitor, fields } = form;
    match done {
        Ok(()) => Ok(Redirect::to(next).into_response()),
        // Who may not do this learns no more.
        Err(problem) if matches!(problem.status, 400 | 404 | 409 | 422) => {
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
    let from_ms = some(fields, "from").map(|text| {
        let wrong = || bad("from", format!("`{text}` is not a moment; write 2026-11-24 08:00, in UTC"));
        moment(&text).ok_or_else(wrong)
    });
    let price = PriceBody {
        resource: fields.get("resource").to_owned(),
        model: some(fields, "model"),
        class,
        micros: amount(fields)?,
        from_ms: from_ms.transpose()?,
        to_ms: None,
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
    let body = BudgetBody { limit_micros: amount(fields)?, span, alerts: vec![80, 100], stop };
    Ok((queue(fields)?, body))
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

fn micros(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let part: u64 = format!("{part:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(MICROS)?.checked_add(part)
}

/// A moment in UTC as browsers write it (`2026-11-24T08:00`), or a date, in milliseconds since the epoch.
fn moment(text: &str) -> Option<u64> {
    const DAY_MS: u64 = 86_400_000;
    let (day, time) = text.trim_end_matches('Z').split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let numbers =
        |text: &str, sep: char| text.split(sep).map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>();
    let [year, month, of_month] = numbers(day, '-')?[..] else { return None };
    let (hour, minute, second) = match numbers(time, ':')?[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    if !(1970..10_000).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // The day is near the mean one; the calendar itself says which it is, and that there is none for 30 February.
    let near = (year - 1970) * 146_097 / 400 + month.min(12).saturating_sub(1) * 30;
    let wanted = (year, month, of_month);
    let found = (near.saturating_sub(4)..near + 45).find(|day| date(Timestamp(day * DAY_MS)) == wanted)?;
    Some(found * DAY_MS + (hour * 3600 + minute * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use super::{date, micros, moment};
    use pond_core::units::Timestamp;

    #[test]
    fn money_is_read_exactly() {
        assert_eq!(micros("2.10"), Some(2_100_000));
        assert_eq!(micros("0.000001"), Some(1));
        assert_eq!(micros("7"), Some(7_000_000));
        for wrong in ["", ".5", "1,5", "-1", "1.0000001", "99999999999999", "1e3"] {
            assert_eq!(micros(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_read_back() {
        for day in 0..160_000_u64 {
            let (year, month, of_month) = date(Timestamp(day * 86_400_000));
            let text = format!("{year}-{month:02}-{of_month:02}T08:30");
            assert_eq!(moment(&text), Some(day * 86_400_000 + 30_600_000), "{text}");
        }
        for wrong in ["", "tomorrow", "2026-02-30", "2026-13-01", "2026-11-24T24:00", "2026-11"] {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
    }
}
