//! Logging in through an identity provider: there, and back.
//!
//! What somebody has to come back with is bound to their browser by a cookie, so that nobody can be made to arrive as somebody
//! else; it works once, and soon.

use super::login::let_in;
use super::session::Visitor;
use super::{Oops, cookie_name};
use crate::api::extract::Params;
use crate::api::people::{check_name, fitting_name, may_try};
use crate::api::types::Problem;
use crate::api::{Shared, blocking};
use crate::auth::oidc::{Arrival, Departure, Oidc, OidcError};
use crate::auth::people::{Origin, PeopleChange, User};
use crate::auth::{TokenHash, hash};
use crate::http::Peer;
use crate::store::Write;
use crate::{clock, state};
use axum::Extension;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use pond_core::event::Actor;
use pond_core::ids::UserName;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long somebody may be away.
const AWAY: Duration = Duration::from_secs(600);
/// Those on their way at once; the one that left first makes room.
const TRAVELLERS: usize = 1024;

/// Somebody on their way.
struct Traveller {
    departure: Departure,
    next: String,
    /// Hash of the cookie that binds it to a browser.
    browser: TokenHash,
    left: Instant,
}

/// The provider, and those on their way to it.
pub struct Gateway {
    oidc: Arc<Oidc>,
    away: Mutex<BTreeMap<TokenHash, Traveller>>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.oidc.fmt(f)
    }
}

impl Gateway {
    /// To this provider.
    #[must_use]
    pub fn new(oidc: Oidc) -> Self {
        Self { oidc: Arc::new(oidc), away: Mutex::default() }
    }

    /// What stands on its button.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.oidc.provider.label
    }

    fn leave(&self, traveller: Traveller) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.retain(|_, other| other.left.elapsed() < AWAY);
        if away.len() >= TRAVELLERS
            && let Some(first) = away.iter().min_by_key(|(_, other)| other.left).map(|(name, _)| *name)
        {
            away.remove(&first);
        }
        away.insert(hash(&traveller.departure.state), traveller);
    }

    /// Whoever comes back with this state in this browser, the first time.
    fn back(&self, state: &str, browser: &str) -> Option<Traveller> {
        let found = self.away.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(state))?;
        (found.browser == hash(browser) && found.left.elapsed() < AWAY).then_some(found)
    }
}

fn gateway(shared: &Shared) -> Result<&Gateway, Problem> {
    let none = || Problem::not_found("no_provider", "this pool knows no identity provider");
    shared.web.gateway.as_ref().ok_or_else(none)
}

/// The cookie that binds a login to a browser while it is away.
fn binding(headers: &HeaderMap) -> String {
    format!("{}_away", cookie_name(headers))
}

/// Where to go afterwards.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Wish {
    next: String,
}

/// Sends a browser to the provider.
pub async fn depart(
    Extract(shared): Extract<Shared>,
    headers: HeaderMap,
    Params(wish): Params<Wish>,
) -> Result<Response, Oops> {
    let gateway = gateway(&shared)?;
    let oidc = gateway.oidc.clone();
    let departure = blocking(move || oidc.begin()).await?.map_err(|why| said(&shared, &why))?;
    let browser = state::random_hex().map_err(|_why| Problem::internal("no randomness from the kernel"))?;
    let url = departure.url.clone();
    let next = super::login::inside(&wish.next).to_owned();
    gateway.leave(Traveller { departure, next, browser: hash(&browser), left: Instant::now() });
    let cookie = shared.web.cookie(&binding(&headers), &browser, AWAY.as_secs());
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&url)).into_response())
}

/// The problem that a browser is shown; the whole of it is for the log.
fn said(shared: &Shared, why: &OidcError) -> Problem {
    shared.handle.note(Actor::Pool, "login.provider", why.to_string());
    match why {
        OidcError::Unreachable { .. } => {
            Problem::new(StatusCode::BAD_GATEWAY, "provider", "the identity provider cannot be asked")
                .with_next("try again; administrators find the reason in the event log")
        }
        OidcError::Refused { .. } => {
            Problem::new(StatusCode::UNAUTHORIZED, "provider", "the identity provider's answer does not hold")
                .with_next("log in again; administrators find the reason in the event log")
        }
    }
}

/// What a provider sends a browser back with.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Return {
    state: String,
    code: String,
    error: String,
}

/// Takes somebody in who comes back.
pub async fn arrive(
    Extract(shared): Extract<Shared>,
    Extension(Peer(peer)): Extension<Peer>,
    visitor: Option<Extension<Visitor>>,
    headers: HeaderMap,
    Params(given): Params<Return>,
) -> Result<Response, Oops> {
    let from = peer.ip().to_string();
    may_try(shared.web.tries.begin(None, &from, Instant::now()))?;
    let gateway = gateway(&shared)?;
    let browser = super::session::cookie_named(&headers, &binding(&headers)).unwrap_or_default();
    let Some(traveller) = gateway.back(&given.state, &browser) else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "not_expected",
            "this login was not begun in this browser, took too long, or was used",
        )
        .with_next("log in again")
        .into());
    };
    if !given.error.is_empty() || given.code.is_empty() {
        let what = format!("the identity provider says: {}", crate::api::extract::short(&given.error));
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "provider", what)
            .with_next("log in again")
            .into());
    }
    let oidc = gateway.oidc.clone();
    let arrived = blocking(move || oidc.finish(traveller.departure, given.code)).await?;
    let arrival = arrived.map_err(|why| said(&shared, &why))?;
    let user = known(&shared, gateway, arrival, &from).await?;
    shared.web.tries.right(None, &from);
    let before = visitor.map(|Extension(before)| before);
    let cookie = let_in(&shared, before, user, None, from, &headers).await?;
    let forget = shared.web.cookie(&binding(&headers), "", 0);
    let mut response = Redirect::to(&traveller.next).into_response();
    for cookie in [cookie, forget].iter().filter_map(|cookie| cookie.parse().ok()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The user that somebody is here, added if new, with the roles that their groups give now.
async fn known(
    shared: &Shared,
    gateway: &Gateway,
    arrival: Arrival,
    from: &str,
) -> Result<UserName, Problem> {
    let people = &shared.gate.people;
    let issuer = gateway.oidc.provider.issuer.clone();
    let origin = Origin::Provider { issuer, subject: arrival.subject.clone() };
    let (name, new) = match people.by_subject(&origin) {
        Some(user) if user.disabled => return Err(Problem::forbidden("this account is disabled")),
        Some(user) => (user.name, false),
        None => {
            let theirs = arrival.name.as_deref().map(fitting_name).filter(|name| !name.is_empty());
            (theirs.unwrap_or_else(|| fitting_name(&arrival.subject)), true)
        }
    };
    let actor = Actor::User { name: UserName::from(name.as_str()), from: from.to_owned() };
    if new {
        check_name(&name)?;
        if people.knows(&name) {
            let text =
                format!("somebody came through the identity provider whose name here is taken: {name}");
            shared.handle.note(Actor::Pool, "login.provider", text);
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "name_taken",
                format!("there is another user `{}` here", crate::api::extract::short(&name)),
            )
            .with_next("ask an administrator of the pool"));
        }
        let user = User {
            name: name.clone(),
            origin,
            password: None,
            disabled: false,
            rate: None,
            created_ms: clock::wall_ms(),
        };
        let text = format!("user {name} came through the identity provider");
        let write = Write::People(PeopleChange::User(user));
        shared.handle.change(actor.clone(), write, "user.added", text).await?;
    }
    let roles = gateway.oidc.provider.roles(&arrival.groups);
    let before = people
        .roles()
        .into_iter()
        .filter(|(user, _, source, _)| *user == name && *source == crate::auth::people::Source::Group);
    let before: crate::auth::rights::Grants = before.map(|(_, queue, _, role)| (queue, role)).collect();
    if before != roles {
        let given: Vec<String> = roles.iter().map(|(queue, role)| format!("{role} of `{queue}`")).collect();
        let text = format!("groups make {name}: {}", given.join(", "));
        let write = Write::People(PeopleChange::Groups { user: name.clone(), roles });
        shared.handle.change(actor, write, "role.given", text).await?;
    }
    Ok(UserName::from(name.as_str()))
}
