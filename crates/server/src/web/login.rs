//! Logging in by token or by a link that works once, and out.

use super::form::{Fields, Signed};
use super::session::Visitor;
use super::{Oops, Page, assets, render};
use crate::api::Shared;
use crate::api::types::Problem;
use crate::auth;
use crate::http::Peer;
use askama::Template;
use axum::Extension;
use axum::extract::{Query, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

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
}

/// The login page. A link's code only fills the form: what merely fetches links uses none up.
pub async fn page(Query(invitation): Query<Invitation>) -> Page {
    render(&LoginPage { next: inside(&invitation.next), code: &invitation.code, problem: None })
}

/// Exchanges a token, or a link's code, for a session.
pub async fn enter(
    Extract(shared): Extract<Shared>,
    Extension(Peer(peer)): Extension<Peer>,
    visitor: Option<Extension<Visitor>>,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Oops> {
    let from = peer.ip().to_string();
    shared.web.may_try(&from)?;
    let (code, secret) = (fields.get("code"), fields.get("token"));
    let token = match code {
        "" => shared.gate.tokens.check(secret).map(|_who| auth::hash(secret)),
        code => shared.web.take_link(code),
    };
    let next = inside(fields.get("next")).to_owned();
    let Some(token) = token else {
        shared.web.failed(&from);
        let problem = match code {
            "" => Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "This token is not known"),
            _ => Problem::new(StatusCode::UNAUTHORIZED, "link_used", "This link was used, or is too old"),
        };
        let page = render(&LoginPage { next: &next, code: "", problem: Some(problem) })?;
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    if let Some(Extension(before)) = visitor {
        // A session never goes on under another name.
        drop(shared.web.end(&before, &headers));
    }
    let cookie = shared.web.begin(token, &headers)?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response())
}

/// Ends the session.
pub async fn leave(Extract(shared): Extract<Shared>, headers: HeaderMap, form: Signed) -> Response {
    let cookie = shared.web.end(&form.visitor, &headers);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// A path of this server; anything else becomes its first page.
fn inside(next: &str) -> &str {
    let path = next.starts_with('/') && !next.starts_with("//");
    if path && !next.contains(['\\', '\r', '\n', '\t']) { next } else { "/" }
}
