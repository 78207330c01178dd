//! Logging in by password, by token or by a link that works once, and out.

use super::form::{Fields, Signed};
use super::provider::Gateway;
use super::session::Visitor;
use super::{Oops, Page, assets, render};
use crate::api::Shared;
use crate::api::extract::Params;
use crate::api::people::may_try;
use crate::api::types::Problem;
use crate::auth::people::Origin;
use crate::auth::{self, TokenHash, password};
use crate::clock;
use crate::http::Peer;
use askama::Template;
use axum::Extension;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use pond_core::event::Actor;
use pond_core::ids::UserName;
use serde::Deserialize;
use std::time::Instant;

/// What the login page is opened with.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Invitation {
    /// Where to go then.
    next: String,
    /// The code of a link.
    code: String,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    next: &'a str,
    code: &'a str,
    problem: Option<Problem>,
    /// Whether anybody has a password.
    passwords: bool,
    /// What stands on the button of the identity provider, if there is one.
    provider: Option<&'a str>,
}

impl<'a> LoginPage<'a> {
    fn new(shared: &'a Shared, next: &'a str, code: &'a str, problem: Option<Problem>) -> Self {
        let passwords = shared.gate.people.users().iter().any(|(user, _)| user.password.is_some());
        let provider = shared.web.gateway.as_ref().map(Gateway::label);
        Self { next, code, problem, passwords, provider }
    }
}

/// The login page. A link's code only fills the form: what merely fetches links uses none up.
pub async fn page(Extract(shared): Extract<Shared>, Params(invitation): Params<Invitation>) -> Page {
    render(&LoginPage::new(&shared, inside(&invitation.next), &invitation.code, None))
}

/// What somebody showed at the door.
enum Key<'a> {
    /// A user and their password.
    Password(&'a str, &'a str),
    /// A token.
    Token(&'a str),
    /// The code of a link.
    Code(&'a str),
}

impl Key<'_> {
    fn of(fields: &Fields) -> Key<'_> {
        match (fields.get("code"), fields.get("user")) {
            ("", "") => Key::Token(fields.get("token")),
            // A password may begin or end with a space.
            ("", user) => Key::Password(user, fields.whole("password")),
            (code, _) => Key::Code(code),
        }
    }

    const fn account(&self) -> Option<&str> {
        match self {
            Self::Password(user, _) => Some(user),
            _ => None,
        }
    }

    const fn refusal(&self) -> (&'static str, &'static str) {
        match self {
            Self::Password(..) => ("unauthorized", "This user and password are not known"),
            Self::Token(_) => ("unauthorized", "This token is not known"),
            Self::Code(_) => ("link_used", "This link was used, or is too old"),
        }
    }

    /// Whom it opens for, and the token it stands for.
    async fn open(&self, shared: &Shared) -> Option<(UserName, Option<TokenHash>)> {
        let people = &shared.gate.people;
        let token = match self {
            Self::Token(secret) => auth::hash(secret),
            Self::Code(code) => shared.web.take_link(code)?,
            Self::Password(name, password) => {
                let user = people.user(name).filter(|user| user.origin == Origin::Local);
                let kept = user.and_then(|user| user.password);
                let fits = password::is((*password).to_owned(), kept).await;
                let who = people.of_user(&UserName::from(*name)).filter(|_| fits)?;
                return Some((who.user, None));
            }
        };
        let who = people.of_token(&token, clock::wall_ms())?;
        Some((who.user, Some(token)))
    }
}

/// Exchanges a password, a token, or a link's code for a session.
pub async fn enter(
    Extract(shared): Extract<Shared>,
    Extension(Peer(peer)): Extension<Peer>,
    visitor: Option<Extension<Visitor>>,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Oops> {
    let from = peer.ip().to_string();
    let key = Key::of(&fields);
    may_try(shared.web.tries.begin(key.account(), &from, Instant::now()))?;
    let next = inside(fields.get("next")).to_owned();
    let Some((user, token)) = key.open(&shared).await else {
        // Who it was is what they say; what they typed may be a password in the wrong field.
        let known = key.account().filter(|name| shared.gate.people.knows(name)).unwrap_or("somebody");
        let text = format!("{known} was not let in: {}", key.refusal().1.to_lowercase());
        let actor = Actor::User { name: UserName::from("-"), from: from.clone() };
        shared.handle.note(actor, "login.failed", text);
        let (code, message) = key.refusal();
        let problem = Problem::new(StatusCode::UNAUTHORIZED, code, message);
        let page = LoginPage::new(&shared, &next, "", Some(problem));
        return Ok((StatusCode::UNAUTHORIZED, render(&page)?).into_response());
    };
    shared.web.tries.right(key.account(), &from);
    let before = visitor.map(|Extension(before)| before);
    let cookie = let_in(&shared, before, user, token, from, &headers).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response())
}

/// Begins a session under a new name. The one before is over: a session never goes on under another user.
///
/// # Errors
/// When the pool does not answer.
pub async fn let_in(
    shared: &Shared,
    before: Option<Visitor>,
    user: UserName,
    token: Option<TokenHash>,
    from: String,
    headers: &HeaderMap,
) -> Result<String, Problem> {
    if let Some(before) = before {
        drop(shared.web.end(&shared.handle, &before, headers).await?);
    }
    let actor = Actor::User { name: user.clone(), from };
    shared.web.begin(&shared.handle, actor, user, token, headers).await
}

/// Ends the session.
pub async fn leave(
    Extract(shared): Extract<Shared>,
    headers: HeaderMap,
    form: Signed,
) -> Result<Response, Oops> {
    let cookie = shared.web.end(&shared.handle, &form.visitor, &headers).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response())
}

/// A path of this server; anything else becomes its first page.
pub(super) fn inside(next: &str) -> &str {
    let path = next.starts_with('/') && !next.starts_with("//");
    if path && !next.contains(['\\', '\r', '\n', '\t']) { next } else { "/" }
}
