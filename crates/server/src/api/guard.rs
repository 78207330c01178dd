//! What stands before every route: the host a browser believes to talk to, the token, panics.

use super::types::{API, Problem};
use super::{Gate, Shared};
use crate::auth::{self, Principal, TokenHash};
use crate::http::Peer;
use crate::web;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;

/// Who asks, from where.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whom the token stands for.
    pub principal: Principal,
    /// The hash of the token.
    pub token: TokenHash,
    /// The address the request came from.
    pub from: String,
}

impl Caller {
    /// As the event log writes it.
    #[must_use]
    pub fn actor(&self) -> pond_core::event::Actor {
        pond_core::event::Actor::User { name: self.principal.user.clone(), from: self.from.clone() }
    }
    /// Whether this is the user themself or an administrator.
    #[must_use]
    pub fn may_act_for(&self, user: &str) -> bool {
        self.principal.admin || self.principal.user.as_str() == user
    }
    /// # Errors
    /// 403 unless the caller administers the pool.
    pub fn must_be_admin(&self) -> Result<(), Problem> {
        match self.principal.admin {
            true => Ok(()),
            false => Err(Problem::forbidden("only an administrator may do this")),
        }
    }
}

/// Checks host and token, and answers 500 when a handler panics.
pub async fn guard(
    State(shared): State<Shared>,
    Extension(Peer(peer)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    shared.counters.requests.fetch_add(1, Ordering::Relaxed);
    if let Err(problem) = check_host(&shared.gate, request.headers()) {
        return problem.into_response();
    }
    let page = web::owns(request.uri().path());
    let from = peer.ip().to_string();
    let passed = if page {
        web::admit(&shared, &mut request, from)
    } else {
        admit(&shared, &mut request, from).map_err(|problem| Box::new(problem.into_response()))
    };
    if let Err(refusal) = passed {
        shared.counters.denied.fetch_add(1, Ordering::Relaxed);
        return finish(*refusal, page);
    }
    let response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_panic) if page => web::Oops(stumbled()).into_response(),
        Err(_panic) => stumbled().into_response(),
    };
    finish(response, page)
}

fn stumbled() -> Problem {
    Problem::internal("the request made the server stumble")
}

/// What every answer carries.
fn finish(mut response: Response, page: bool) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if page {
        web::harden(headers);
    }
    response
}

/// Lets a request for the API through with its caller. Only the pool's health is for everybody.
fn admit(shared: &Shared, request: &mut Request, from: String) -> Result<(), Problem> {
    let open = request.uri().path() == format!("{API}/health");
    match principal(shared, request.headers()) {
        Ok((principal, token)) => {
            request.extensions_mut().insert(Caller { principal, token, from });
            Ok(())
        }
        Err(_) if open => Ok(()),
        Err(problem) => Err(problem),
    }
}

/// A page of another site can make a browser resolve its own name to our address; such a request carries that name.
fn check_host(gate: &Gate, headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    let known = name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || gate.hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
    if known {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "unknown_host",
        format!("this server does not go by the name `{}`", name.chars().take(100).collect::<String>()),
    )
    .with_next("use its address, or start it with this name allowed"))
}

fn principal(shared: &Shared, headers: &HeaderMap) -> Result<(Principal, TokenHash), Problem> {
    let denied = |message: &str| {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message).with_next(
            "send `authorization: Bearer TOKEN`; the local administrator's is in the file `token` of the state folder",
        )
    };
    let given = headers.get(header::AUTHORIZATION).ok_or_else(|| denied("this needs a token"))?;
    let given = given.to_str().map_err(|_why| denied("the token is not text"))?;
    let (scheme, secret) = given.split_once(' ').unwrap_or((given, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(denied("only bearer tokens are understood"));
    }
    let token = auth::hash(secret.trim());
    let principal = shared.gate.tokens.of_hash(&token).ok_or_else(|| denied("this token is not known"))?;
    Ok((principal, token))
}
