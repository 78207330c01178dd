//! What stands before every route: the host a browser believes to talk to, the token, what the route needs, panics.

use super::doors::{Need, Needs};
use super::extract::short;
use super::types::Problem;
use super::{Gate, Shared};
use crate::auth::rights::{Place, Principal, Right};
use crate::auth::{self, TokenHash};
use crate::clock;
use crate::http::Peer;
use crate::{spans, web};
use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Who asks, from where.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who they are and what they may.
    pub principal: Principal,
    /// The hash of the token, when it is one that opens.
    pub token: Option<TokenHash>,
    /// The address the request came from.
    pub from: String,
}

impl Caller {
    /// As the event log writes it.
    #[must_use]
    pub fn actor(&self) -> pond_core::event::Actor {
        pond_core::event::Actor::User { name: self.principal.user.clone(), from: self.from.clone() }
    }

    /// Whether they may.
    #[must_use]
    pub fn may(&self, right: Right, place: Place<'_>) -> bool {
        self.principal.may(right, place)
    }

    /// # Errors
    /// 403 when they may not.
    pub fn must(&self, right: Right, place: Place<'_>) -> Result<(), Problem> {
        if self.may(right, place) {
            return Ok(());
        }
        let what = match (right, place) {
            (Right::Operate, _) | (_, Place::Pool) => {
                "only an administrator of the pool may do this".to_owned()
            }
            (Right::Shape, Place::Queue("")) => "only an administrator of the pool may do this".to_owned(),
            (Right::Shape, Place::Queue(queue)) => {
                format!("only an administrator of `{}` may do this", short(queue))
            }
            (_, Place::Anywhere) => "you have no role that allows this".to_owned(),
            (_, Place::Queue(queue) | Place::Job { queue, .. }) => {
                let queue = if queue.is_empty() { "/" } else { queue };
                format!("you have no role in `{}` that allows this", short(queue))
            }
        };
        Err(Problem::forbidden(what))
    }
}

/// Checks host, token and what the route needs, and answers 500 when a handler panics.
pub async fn guard(
    State((shared, needs)): State<(Shared, Arc<Needs>)>,
    Extension(Peer(peer)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    shared.counters.requests.fetch_add(1, Ordering::Relaxed);
    if let Err(problem) = check_host(&shared.gate, &request) {
        return problem.into_response();
    }
    let page = web::owns(request.uri().path());
    let need = needs.of(&request);
    if let Err(refusal) = admit(&shared, &mut request, peer.ip().to_string(), need, page) {
        shared.counters.denied.fetch_add(1, Ordering::Relaxed);
        return finish(*refusal, page);
    }
    if let Err(problem) = check_coding(request.headers()) {
        return finish(refusal(problem, page), page);
    }
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let mut span = spans::request(request.method().as_str(), route, request.headers());
    let response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) if page => shown(response),
        Ok(response) => response,
        Err(_panic) => refusal(stumbled(), page),
    };
    span.note("http.response.status_code", response.status().as_u16().into());
    finish(response, page)
}

/// A problem as a page or as the API says it.
fn refusal(problem: Problem, page: bool) -> Response {
    if page { web::Oops(problem).into_response() } else { problem.into_response() }
}

/// An answer to a browser: a problem of what read the request is a page as well.
fn shown(response: Response) -> Response {
    match response.extensions().get::<Problem>() {
        Some(problem) => web::Oops(problem.clone()).into_response(),
        None => response,
    }
}

/// Lets a request through with its caller, if the route is open or the caller may have what it is for.
fn admit(
    shared: &Shared,
    request: &mut Request,
    from: String,
    need: Need,
    page: bool,
) -> Result<(), Box<Response>> {
    let no = |problem| Box::new(refusal(problem, page));
    let found = if page {
        web::find(shared, request, from)?
    } else {
        find(shared, request.headers(), from)
            .map(Some)
            .or_else(|problem| if need == Need::Nothing { Ok(None) } else { Err(problem) })
            .map_err(no)?
    };
    let Some(caller) = found else {
        return if need == Need::Nothing { Ok(()) } else { Err(Box::new(web::turn_away(request))) };
    };
    pace(shared, &caller).map_err(no)?;
    let may = match need {
        Need::Nothing | Need::Somebody => Ok(()),
        Need::Right(right @ Right::Operate) | Need::Pool(right) => caller.must(right, Place::Pool),
        Need::Right(right) => caller.must(right, Place::Anywhere),
    };
    may.map_err(|problem| if page { Box::new(web::no_entry(&problem, request)) } else { no(problem) })?;
    request.extensions_mut().insert(caller);
    Ok(())
}

/// No more requests than the user may send. The pool's owner sits at the machine and is not counted.
fn pace(shared: &Shared, caller: &Caller) -> Result<(), Problem> {
    let user = &caller.principal.user;
    let gate = &shared.gate;
    if user == gate.people.owner() {
        return Ok(());
    }
    let rate = gate.people.user(user.as_str()).and_then(|user| user.rate).unwrap_or(gate.user_rate);
    gate.pace.take(user, rate, Instant::now()).map_err(|wait| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            format!("you may send {rate} requests a second"),
        )
        .with_next(format!("wait {wait} s"))
    })
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

/// A body that is compressed would be taken for a broken one.
fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let coding = headers.get(header::CONTENT_ENCODING).and_then(|coding| coding.to_str().ok());
    match coding.map(str::trim) {
        None | Some("" | "identity") => Ok(()),
        Some(coding) => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "bad_content_encoding",
            format!("bodies in the coding `{}` are not read", super::extract::short(coding)),
        )
        .with_next("send it as it is, without `content-encoding`")),
    }
}

/// A page of another site can make a browser resolve its own name to our address; such a request carries that name. Browsers
/// always send one: HTTP/1.0 without any is what probes of load balancers speak.
fn check_host(gate: &Gate, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let is_probe = request.version() == Version::HTTP_10 && request.uri().host().is_none();
    if is_probe && !headers.contains_key(header::HOST) {
        return Ok(());
    }
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

/// Whose token a request for the API brings.
fn find(shared: &Shared, headers: &HeaderMap, from: String) -> Result<Caller, Problem> {
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
    let principal = shared.gate.people.of_token(&token, clock::wall_ms());
    let principal = principal.ok_or_else(|| denied("this token is not known, or has ended"))?;
    Ok(Caller { principal, token: Some(token), from })
}
