//! Notifications: subscriptions, messages on their way, and how the pool tells.

use super::extract::{Body1, Name, Params, short};
use super::guard::Caller;
use super::types::{
    DeliveryQuery, DeliveryState, DeliveryView, NewSubscription, NotifySettings, Problem, SigningKey,
    SubscriptionBody, SubscriptionView, Topic,
};
use super::{Shared, blocking};
use crate::auth::rights::{Place, Right, Role, covers};
use crate::notify::{
    Delivery, NotifyChange, SUBSCRIPTIONS, Subscription, WAITING, reader, settings as rules, webhook,
};
use crate::store::Write;
use crate::{clock, state};
use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use pond_core::event::Actor;
use pond_core::model::Recipient;

fn own(caller: &Caller, user: &str) -> bool {
    caller.principal.user.as_str() == user
}

fn sees(caller: &Caller, user: &str) -> bool {
    own(caller, user) || caller.may(Right::Operate, Place::Pool)
}

/// The same of a subscription: a token of one project sees those to it and below.
fn sees_one(caller: &Caller, it: &Subscription) -> bool {
    let scope = &caller.principal.scope.project;
    let within = scope.is_empty() || it.project.as_ref().is_some_and(|project| covers(scope, project));
    within && sees(caller, &it.user)
}

/// # Errors
/// The caller came with a token that may only look.
fn must_be_free(caller: &Caller) -> Result<(), Problem> {
    match caller.principal.scope.role {
        Role::Viewer => Err(Problem::forbidden("a token that may only look changes nothing about messages")),
        _ => Ok(()),
    }
}

/// Whether a message is for the caller: messages tell of all that their user sees, so a token of one project has none.
fn sees_message(caller: &Caller, it: &Delivery) -> bool {
    caller.principal.scope.project.is_empty() && sees(caller, &it.user)
}

/// The caller's subscriptions; every one for those who administer the pool.
#[utoipa::path(get, path = "/api/v1/notify/subscriptions", tag = "notify",
    responses((status = 200, body = Vec<SubscriptionView>)))]
pub async fn subscriptions(
    Extract(shared): Extract<Shared>,
    caller: Caller,
) -> Result<Json<Vec<SubscriptionView>>, Problem> {
    let all = shared.notices.all().into_iter().filter(|it| sees_one(&caller, it));
    Ok(Json(all.map(|it| it.view(own(&caller, &it.user))).collect()))
}

fn find(shared: &Shared, caller: &Caller, name: &str) -> Result<Subscription, Problem> {
    let found = shared.notices.named(name).filter(|it| sees_one(caller, it));
    found.ok_or_else(|| {
        Problem::not_found(
            "no_such_subscription",
            format!("there is no subscription `{}` of yours", short(name)),
        )
        .with_next("`pond notify ls` lists them")
    })
}

/// Subscribe, or change a subscription: what was made before is replaced, its key too.
#[utoipa::path(put, path = "/api/v1/notify/subscriptions/{name}", tag = "notify", params(("name" = String, Path)),
    request_body = SubscriptionBody, responses((status = 201, body = NewSubscription)))]
pub async fn subscribe(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
    Body1(body): Body1<SubscriptionBody>,
) -> Result<(StatusCode, Json<NewSubscription>), Problem> {
    must_be_free(&caller)?;
    let bad = |at: &str, what: &str| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_subscription", what).at(at)
    };
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.len() > 100 || !name.chars().all(fine) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(bad("name", "a name has letters, digits and - _ ., at most 100"));
    }
    let user = caller.principal.user.to_string();
    let mut on = body.on.unwrap_or_else(|| Topic::USUAL.to_vec());
    on.sort_unstable();
    on.dedup();
    if on.contains(&Topic::Test) {
        return Err(bad("on", "a trial is sent when it is asked for"));
    }
    match &body.project {
        Some(project) => caller.must(Right::See, Place::Queue(project))?,
        // What their user sees elsewhere is not for a token of one project.
        None if !caller.principal.scope.project.is_empty() => {
            return Err(
                Problem::forbidden("a token of one project subscribes to that project only").at("project")
            );
        }
        None => caller.must(Right::See, Place::Anywhere)?,
    }
    if let Some(project) = body.project.as_ref().filter(|project| !project.is_empty()) {
        super::pool::find_queue(&shared, project.clone()).await?;
    }
    let to = Recipient::read(&body.to);
    rules::check_recipient(&to, &shared.notices.settings())?;
    let all = shared.notices.all();
    if all.iter().any(|it| it.name == name && it.user != user) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "name_taken",
            "somebody else has a subscription of this name",
        )
        .at("name"));
    }
    if all.iter().filter(|it| it.user == user && it.name != name).count() >= SUBSCRIPTIONS {
        return Err(bad("name", &format!("one user has at most {SUBSCRIPTIONS} subscriptions")));
    }
    let id = state::random_hex().map_err(|_why| Problem::internal("no randomness from the kernel"))?;
    let is_webhook = matches!(to, Recipient::Webhook(_));
    let since = shared.feed.last();
    let made =
        Subscription { name, id, user, to, on, project: body.project, created_ms: clock::wall_ms(), since };
    let secret =
        is_webhook.then(|| webhook::secret(&shared.secrets.derive(&format!("webhook s:{}", made.id))));
    let text = format!("subscription {} was set", made.name);
    let subscription = made.view(true);
    let write = Write::Notify(NotifyChange::Subscribe(made));
    shared.handle.change(caller.actor(), write, "notify.subscribed", text).await?;
    Ok((StatusCode::CREATED, Json(NewSubscription { subscription, secret })))
}

/// End a subscription. Its messages that wait are not sent.
#[utoipa::path(delete, path = "/api/v1/notify/subscriptions/{name}", tag = "notify", params(("name" = String, Path)),
    responses((status = 204)))]
pub async fn unsubscribe(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
) -> Result<StatusCode, Problem> {
    must_be_free(&caller)?;
    let name = find(&shared, &caller, &name)?.name;
    let text = format!("subscription {name} was ended");
    let write = Write::Notify(NotifyChange::Unsubscribe(name));
    shared.handle.change(caller.actor(), write, "notify.unsubscribed", text).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send a trial message.
#[utoipa::path(post, path = "/api/v1/notify/subscriptions/{name}/test", tag = "notify", params(("name" = String, Path)),
    responses((status = 202, body = DeliveryView)))]
pub async fn test(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    must_be_free(&caller)?;
    let it = find(&shared, &caller, &name)?;
    let archive = shared.archive.clone();
    let waiting = blocking(move || archive.waiting_messages()).await??;
    if waiting.get(&it.user).is_some_and(|waiting| *waiting >= WAITING) {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_messages",
            format!("{WAITING} messages wait already"),
        ));
    }
    let nonce = state::random_hex().map_err(|_why| Problem::internal("no randomness from the kernel"))?;
    let url = shared.notices.settings().url.clone();
    let made = reader::trial(&it, &shared.secrets, url.as_deref(), clock::wall_ms(), &nonce);
    let view = made.view(own(&caller, &made.user));
    let write = Write::Notify(NotifyChange::Made(None, vec![made]));
    shared.handle.change_quietly(Actor::Pool, write).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Messages, newest first: the caller's; every one for those who administer the pool.
#[utoipa::path(get, path = "/api/v1/notify/deliveries", tag = "notify", params(DeliveryQuery),
    responses((status = 200, body = Vec<DeliveryView>)))]
pub async fn deliveries(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Params(query): Params<DeliveryQuery>,
) -> Result<Json<Vec<DeliveryView>>, Problem> {
    let limit = super::limit(query.limit)?;
    if !caller.principal.scope.project.is_empty() {
        return Ok(Json(Vec::new()));
    }
    let everybody = caller.may(Right::Operate, Place::Pool);
    let user = (!everybody).then(|| caller.principal.user.to_string());
    let archive = shared.archive.clone();
    let found = blocking(move || archive.messages(&query, user.as_deref(), limit)).await??;
    Ok(Json(found.iter().map(|it| it.view(own(&caller, &it.user))).collect()))
}

async fn message(shared: &Shared, caller: &Caller, id: String) -> Result<Delivery, Problem> {
    let archive = shared.archive.clone();
    let wanted = id.clone();
    let found = blocking(move || archive.message(&wanted)).await??;
    found.filter(|it| sees_message(caller, it)).ok_or_else(|| {
        Problem::not_found("no_such_message", format!("there is no message `{}` of yours", short(&id)))
    })
}

/// One message.
#[utoipa::path(get, path = "/api/v1/notify/deliveries/{id}", tag = "notify", params(("id" = String, Path)),
    responses((status = 200, body = DeliveryView)))]
pub async fn delivery(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(id): Name,
) -> Result<Json<DeliveryView>, Problem> {
    let found = message(&shared, &caller, id).await?;
    Ok(Json(found.view(own(&caller, &found.user))))
}

/// Send a message once more, under the same id, whatever became of it.
#[utoipa::path(post, path = "/api/v1/notify/deliveries/{id}/send", tag = "notify", params(("id" = String, Path)),
    responses((status = 202, body = DeliveryView)))]
pub async fn send_again(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(id): Name,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    must_be_free(&caller)?;
    let mut again = message(&shared, &caller, id).await?;
    again.state = DeliveryState::Waiting;
    again.due_ms = clock::wall_ms();
    again.attempts = 0;
    let view = again.view(own(&caller, &again.user));
    let text = format!("message {} is sent once more", again.id);
    let write = Write::Notify(NotifyChange::Tried(Box::new(again)));
    shared.handle.change(caller.actor(), write, "notify.again", text).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// The key that verifies webhooks which the caller's jobs name themselves in `notify:`.
#[utoipa::path(get, path = "/api/v1/notify/key", tag = "notify", responses((status = 200, body = SigningKey)))]
pub async fn key(Extract(shared): Extract<Shared>, caller: Caller) -> Result<Json<SigningKey>, Problem> {
    caller.must(Right::Submit, Place::Anywhere)?;
    let key = shared.secrets.derive(&format!("webhook u:{}", caller.principal.user));
    Ok(Json(SigningKey { secret: webhook::secret(&key) }))
}

/// How the pool tells.
#[utoipa::path(get, path = "/api/v1/notify/settings", tag = "notify", responses((status = 200, body = NotifySettings)))]
pub async fn settings(
    Extract(shared): Extract<Shared>,
    caller: Caller,
) -> Result<Json<NotifySettings>, Problem> {
    caller.must(Right::Operate, Place::Pool)?;
    Ok(Json((*shared.notices.settings()).clone()))
}

/// Set how the pool tells: whole, what is absent goes back to what is usual.
#[utoipa::path(put, path = "/api/v1/notify/settings", tag = "notify", request_body = NotifySettings,
    responses((status = 200, body = NotifySettings)))]
pub async fn set_settings(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Body1(body): Body1<NotifySettings>,
) -> Result<Json<NotifySettings>, Problem> {
    caller.must(Right::Operate, Place::Pool)?;
    rules::check(&body, |name| shared.secrets.has(name))?;
    let text = "how the pool notifies was set".to_owned();
    let write = Write::Notify(NotifyChange::Settings(body.clone()));
    shared.handle.change(caller.actor(), write, "notify.settings", text).await?;
    Ok(Json(body))
}
