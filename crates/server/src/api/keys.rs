//! Secrets and tokens. No value ever comes back.

use super::extract::{Body1, Name, short};
use super::guard::Caller;
use super::types::{LoginLink, NewToken, Problem, SecretBody, SecretView, TokenBody, TokenView};
use super::{Shared, blocking};
use crate::auth::people::PeopleChange;
use crate::auth::rights::{Place, Right, Scope};
use crate::secrets::SecretError;
use crate::store::Write;
use crate::web::LINK_LIFE;
use crate::{auth, clock, state};
use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use pond_core::units::Timestamp;

/// Names of secrets.
#[utoipa::path(get, path = "/api/v1/secrets", tag = "secrets", responses((status = 200, body = Vec<SecretView>)))]
pub async fn secrets(
    Extract(shared): Extract<Shared>,
    _caller: Caller,
) -> Result<Json<Vec<SecretView>>, Problem> {
    all_secrets(&shared).await.map(Json)
}

async fn all_secrets(shared: &Shared) -> Result<Vec<SecretView>, Problem> {
    let archive = shared.archive.clone();
    let rows = blocking(move || archive.secrets()).await??;
    Ok(rows.into_iter().map(|(name, updated_ms)| SecretView { name, updated_ms }).collect())
}

async fn find_secret(shared: &Shared, name: &str) -> Result<SecretView, Problem> {
    let found = all_secrets(shared).await?.into_iter().find(|secret| secret.name == name);
    found.ok_or_else(|| Problem::not_found("no_such_secret", format!("there is no secret `{}`", short(name))))
}

/// A secret's name and when it was set; its value is never given back.
#[utoipa::path(get, path = "/api/v1/secrets/{name}", tag = "secrets", params(("name" = String, Path)),
    responses((status = 200, body = SecretView)))]
pub async fn secret(
    Extract(shared): Extract<Shared>,
    _caller: Caller,
    Name(name): Name,
) -> Result<Json<SecretView>, Problem> {
    find_secret(&shared, &name).await.map(Json)
}

/// Set a secret. Tasks that ask for it get it at their next start.
#[utoipa::path(put, path = "/api/v1/secrets/{name}", tag = "secrets", params(("name" = String, Path)),
    request_body = SecretBody, responses((status = 200, body = SecretView)))]
pub async fn set_secret(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
    Body1(body): Body1<SecretBody>,
) -> Result<Json<SecretView>, Problem> {
    caller.must(Right::Operate, Place::Pool)?;
    let sealed = shared.secrets.seal(&name, &body.value).map_err(|why| match why {
        SecretError::NoRandomness { .. } | SecretError::NotSealed { .. } => {
            Problem::internal(why.to_string())
        }
        _ => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_secret", why.to_string()),
    })?;
    drop(body);
    let updated_ms = clock::wall_ms();
    let write = Write::Secret { name: name.clone(), sealed, at: Timestamp(updated_ms) };
    let text = format!("secret {name} was set");
    shared.handle.change(caller.actor(), write, "secret.set", text).await?;
    Ok(Json(SecretView { name, updated_ms }))
}

/// Remove a secret.
#[utoipa::path(delete, path = "/api/v1/secrets/{name}", tag = "secrets", params(("name" = String, Path)),
    responses((status = 204)))]
pub async fn remove_secret(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
) -> Result<StatusCode, Problem> {
    caller.must(Right::Operate, Place::Pool)?;
    find_secret(&shared, &name).await?;
    let text = format!("secret {name} was removed");
    shared.handle.change(caller.actor(), Write::RemoveSecret(name), "secret.removed", text).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The named tokens: the caller's own; every one for those who administer the pool. A token sees those that allow no more and
/// last no longer than itself.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", responses((status = 200, body = Vec<TokenView>)))]
pub async fn tokens(
    Extract(shared): Extract<Shared>,
    caller: Caller,
) -> Result<Json<Vec<TokenView>>, Problem> {
    let end = end_of(&shared, &caller);
    let mut tokens = shared.gate.people.tokens();
    tokens.retain(|token| may_touch(&caller, end, token));
    Ok(Json(tokens))
}

/// When the caller's own token ends; `None`: never, or they came without one.
fn end_of(shared: &Shared, caller: &Caller) -> Option<u64> {
    caller.token.and_then(|token| shared.gate.people.end_of(&token))
}

/// Whether a caller may make, see and revoke tokens of this user.
fn may_act_for(caller: &Caller, user: &str) -> bool {
    caller.principal.user.as_str() == user || caller.may(Right::Operate, Place::Pool)
}

/// Whether a token allows no more and lasts no longer than what the caller came with, which ends at `end`.
fn is_within(caller: &Caller, end: Option<u64>, scope: &Scope, expires_ms: Option<u64>) -> bool {
    let longer = end.is_some_and(|end| expires_ms.is_none_or(|other| other > end));
    !longer && scope.is_within(&caller.principal.scope)
}

/// Whether a caller, whose own token ends at `end`, may see, replace and revoke this token. Their own is among these.
fn may_touch(caller: &Caller, end: Option<u64>, token: &TokenView) -> bool {
    may_act_for(caller, &token.user) && is_within(caller, end, &token.scope, token.expires_ms)
}

/// Make a token. An older one of this name is replaced. No token makes or replaces one that allows more or lasts longer than itself.
#[utoipa::path(put, path = "/api/v1/tokens/{name}", tag = "tokens", params(("name" = String, Path)),
    request_body = TokenBody, responses((status = 201, body = NewToken)))]
pub async fn set_token(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
    Body1(body): Body1<TokenBody>,
) -> Result<(StatusCode, Json<NewToken>), Problem> {
    let user = body.user.unwrap_or_else(|| caller.principal.user.to_string());
    let people = &shared.gate.people;
    let end = end_of(&shared, &caller);
    let before = people.token(&name);
    let others = before.as_ref().is_some_and(|token| !may_act_for(&caller, &token.user));
    if !may_act_for(&caller, &user) || others {
        return Err(Problem::forbidden("only an administrator of the pool makes tokens for others"));
    }
    if before.is_some_and(|token| !may_touch(&caller, end, &token)) {
        return Err(Problem::forbidden("a token replaces none that allows more or lasts longer than itself")
            .with_next("give the new one another name"));
    }
    if !people.knows(&user) {
        return Err(super::people::no_such_user(&user));
    }
    let now = clock::wall_ms();
    let expires_ms = body.valid_ms.map(|valid| now.saturating_add(valid));
    if !is_within(&caller, end, &body.scope, expires_ms) {
        return Err(Problem::forbidden("a token makes none that allows more or lasts longer than itself"));
    }
    if !body.scope.project.is_empty() {
        super::pool::find_queue(&shared, body.scope.project.clone()).await?;
    }
    let secret = state::random_hex().map_err(|_why| Problem::internal("no randomness from the kernel"))?;
    let token = TokenView { name: name.clone(), user, scope: body.scope, created_ms: now, expires_ms };
    let change = PeopleChange::Token(auth::hash(&secret), token.clone());
    let place = match token.scope.project.as_str() {
        "" => String::new(),
        project => format!(" in {project}"),
    };
    let text = format!("token {name} was made for {} as {}{place}", token.user, token.scope.role);
    shared.handle.change(caller.actor(), Write::People(change), "token.created", text).await?;
    Ok((StatusCode::CREATED, Json(NewToken { token, secret })))
}

/// Revoke a token. A token revokes itself, and those that allow no more and last no longer than itself.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "tokens", params(("name" = String, Path)),
    responses((status = 204)))]
pub async fn remove_token(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
) -> Result<StatusCode, Problem> {
    let end = end_of(&shared, &caller);
    let found = shared.gate.people.token(&name).filter(|token| may_touch(&caller, end, token));
    if found.is_none() {
        return Err(Problem::not_found(
            "no_such_token",
            format!("there is no token `{}` of yours", short(&name)),
        ));
    }
    let text = format!("token {name} was revoked");
    let change = Write::People(PeopleChange::Revoke(name));
    shared.handle.change(caller.actor(), change, "token.revoked", text).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A link that logs in to the web page as the owner of this token, once.
#[utoipa::path(post, path = "/api/v1/login-links", tag = "tokens", responses((status = 201, body = LoginLink)))]
pub async fn login_link(
    Extract(shared): Extract<Shared>,
    caller: Caller,
) -> Result<(StatusCode, Json<LoginLink>), Problem> {
    // Only what came with a token gets here: pages have a session already, and no way to ask.
    let token = caller.token.ok_or_else(|| Problem::forbidden("a link stands for a token"))?;
    let code = shared.web.make_link(token)?;
    let valid_ms = u64::try_from(LINK_LIFE.as_millis()).unwrap_or(u64::MAX);
    Ok((StatusCode::CREATED, Json(LoginLink { path: format!("/login?code={code}"), valid_ms })))
}
