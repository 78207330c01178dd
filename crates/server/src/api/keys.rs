//! Secrets and tokens. For administrators; no value ever comes back.

use super::extract::{Body1, Name, short};
use super::guard::Caller;
use super::types::{LoginLink, NewToken, Problem, SecretBody, SecretView, TokenBody, TokenView};
use super::{Shared, blocking};
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
    caller.must_be_admin()?;
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
    caller.must_be_admin()?;
    find_secret(&shared, &name).await?;
    let text = format!("secret {name} was removed");
    shared.handle.change(caller.actor(), Write::RemoveSecret(name), "secret.removed", text).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The named tokens.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", responses((status = 200, body = Vec<TokenView>)))]
pub async fn tokens(
    Extract(shared): Extract<Shared>,
    caller: Caller,
) -> Result<Json<Vec<TokenView>>, Problem> {
    caller.must_be_admin()?;
    Ok(Json(shared.gate.tokens.list()))
}

/// Make a token. An older one of this name is replaced.
#[utoipa::path(put, path = "/api/v1/tokens/{name}", tag = "tokens", params(("name" = String, Path)),
    request_body = TokenBody, responses((status = 201, body = NewToken)))]
pub async fn set_token(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
    Body1(body): Body1<TokenBody>,
) -> Result<(StatusCode, Json<NewToken>), Problem> {
    caller.must_be_admin()?;
    if body.user.is_empty() || body.user.len() > 100 || body.user.chars().any(char::is_control) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad_field",
            "a user has 1 to 100 characters that can be seen",
        )
        .at("user"));
    }
    let secret = state::random_hex().map_err(|_why| Problem::internal("no randomness from the kernel"))?;
    let token =
        TokenView { name: name.clone(), user: body.user, admin: body.admin, created_ms: clock::wall_ms() };
    let write = Write::Token(auth::hash(&secret), token.clone());
    let rights = if token.admin { "administrator" } else { "user" };
    let text = format!("token {name} was made for {rights} {}", token.user);
    shared.handle.change(caller.actor(), write, "token.created", text).await?;
    Ok((StatusCode::CREATED, Json(NewToken { token, secret })))
}

/// Revoke a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "tokens", params(("name" = String, Path)),
    responses((status = 204)))]
pub async fn remove_token(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
) -> Result<StatusCode, Problem> {
    caller.must_be_admin()?;
    if !shared.gate.tokens.list().iter().any(|token| token.name == name) {
        return Err(Problem::not_found("no_such_token", format!("there is no token `{}`", short(&name))));
    }
    let text = format!("token {name} was revoked");
    shared.handle.change(caller.actor(), Write::RevokeToken(name), "token.revoked", text).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A link that logs in to the web page as the owner of this token, once.
#[utoipa::path(post, path = "/api/v1/login-links", tag = "tokens", responses((status = 201, body = LoginLink)))]
pub async fn login_link(
    Extract(shared): Extract<Shared>,
    caller: Caller,
) -> Result<(StatusCode, Json<LoginLink>), Problem> {
    let code = shared.web.make_link(caller.token)?;
    let valid_ms = u64::try_from(LINK_LIFE.as_millis()).unwrap_or(u64::MAX);
    Ok((StatusCode::CREATED, Json(LoginLink { path: format!("/login?code={code}"), valid_ms })))
}
