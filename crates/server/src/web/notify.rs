//! Who is told what, and what became of the messages: for everybody, and for administrators how the pool tells.

use super::form::Signed;
use super::session::Visitor;
use super::{Oops, Page, Shell, assets, render, show};
use crate::api::extract::{Body1, Name, Params};
use crate::api::types::{
    DeliveryQuery, DeliveryView, NewSubscription, NotifySettings, SubscriptionBody, SubscriptionView, Topic,
};
use crate::api::{Shared, notify, people};
use askama::Template;
use axum::extract::State as Extract;
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect, Response};

/// Messages shown.
const ROWS: u32 = 50;

#[derive(Template)]
#[template(path = "notify.html")]
struct NotifyPage {
    shell: Shell,
    made: Option<NewSubscription>,
    subscriptions: Vec<SubscriptionView>,
    projects: Vec<String>,
    deliveries: Vec<DeliveryView>,
    settings: Option<NotifySettings>,
}

impl NotifyPage {
    const fn topics() -> [Topic; 12] {
        Topic::ALL
    }

    fn is_usual(topic: &Topic) -> bool {
        Topic::USUAL.contains(topic)
    }

    const fn words(topic: &Topic) -> &'static str {
        match topic {
            Topic::Started => "a job starts",
            Topic::Succeeded => "a job succeeded",
            Topic::Failed => "a job failed",
            Topic::Stopped => "a job was stopped",
            Topic::Preempted => "a job gives way",
            Topic::Waiting => "a job waits for long",
            Topic::Idle => "an environment is idle",
            Topic::Budget => "a part of a budget is spent",
            Topic::BudgetSpent => "a budget is spent",
            Topic::NodeLost => "a machine is lost",
            Topic::DeviceSick => "a device is sick",
            Topic::Token => "a token ends soon",
            Topic::Test => "a trial",
        }
    }
}

/// The page.
pub async fn page(Extract(shared): Extract<Shared>, visitor: Visitor, here: Uri) -> Page {
    show_page(shared, &visitor, &here, None).await
}

async fn show_page(shared: Shared, visitor: &Visitor, here: &Uri, made: Option<NewSubscription>) -> Page {
    let caller = || visitor.caller.clone();
    let state = || Extract(shared.clone());
    let mut shell = Shell::new(visitor, "Notifications", "notify", here);
    // A refresh would take away what is shown once.
    shell.live = made.is_none();
    let subscriptions = notify::subscriptions(state(), caller()).await?.0;
    let query = Params(DeliveryQuery { limit: Some(ROWS), ..DeliveryQuery::default() });
    let deliveries = notify::deliveries(state(), caller(), query).await?.0;
    let projects = people::projects(state(), caller()).await?.0;
    let projects = projects.into_iter().filter(|it| it.role.is_some()).map(|it| it.path).collect();
    let settings = if shell.admin { Some(notify::settings(state(), caller()).await?.0) } else { None };
    render(&NotifyPage { shell, made, subscriptions, projects, deliveries, settings })
}

/// Subscribes.
pub async fn subscribe(Extract(shared): Extract<Shared>, form: Signed) -> Page {
    let Signed { visitor, fields } = form;
    let on = Topic::ALL.into_iter().filter(|topic| fields.get(&format!("on_{topic}")) == "on").collect();
    let body = SubscriptionBody {
        to: fields.get("to").to_owned(),
        on: Some(on),
        project: fields.get("project").strip_prefix('/').map(str::to_owned),
    };
    let name = Name(fields.get("name").to_owned());
    let made = notify::subscribe(Extract(shared.clone()), visitor.caller.clone(), name, Body1(body)).await?;
    show_page(shared, &visitor, &Uri::from_static("/notify"), Some(made.1.0)).await
}

/// Ends a subscription.
pub async fn remove(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let name = Name(form.fields.get("name").to_owned());
    notify::unsubscribe(Extract(shared), form.visitor.caller, name).await?;
    Ok(Redirect::to("/notify").into_response())
}

/// Sends a trial.
pub async fn test(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let name = Name(form.fields.get("name").to_owned());
    drop(notify::test(Extract(shared), form.visitor.caller, name).await?);
    Ok(Redirect::to("/notify#messages").into_response())
}

/// Sends a message once more.
pub async fn send(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let id = Name(form.fields.get("id").to_owned());
    drop(notify::send_again(Extract(shared), form.visitor.caller, id).await?);
    Ok(Redirect::to("/notify#messages").into_response())
}

/// Sets how the pool tells; the mail server stays.
pub async fn settings(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let Signed { visitor, fields } = form;
    let before = notify::settings(Extract(shared.clone()), visitor.caller.clone()).await?.0;
    let url = fields.get("url");
    let body = NotifySettings {
        allow: fields
            .get("allow")
            .split([' ', ','])
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect(),
        url: (!url.is_empty()).then(|| url.to_owned()),
        waiting_ms: fields
            .number("waiting")?
            .map_or(before.waiting_ms, |minutes| minutes.saturating_mul(60_000)),
        token_ms: fields.number("token")?.map_or(before.token_ms, |hours| hours.saturating_mul(3_600_000)),
        mail: before.mail,
    };
    drop(notify::set_settings(Extract(shared), visitor.caller, Body1(body)).await?);
    Ok(Redirect::to("/notify#settings").into_response())
}
