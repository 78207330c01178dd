//! Who is logged in: sessions of browsers, and links that log in once.
//!
//! A session stands for a token: it ends when the token is revoked, and with the server. What a browser holds is a random
//! name; the server keeps its hash.

use super::{caller_of, cookie_name};
use crate::api::guard::Caller;
use crate::api::types::Problem;
use crate::api::{Gate, Shared};
use crate::auth::{TokenHash, hash};
use crate::state;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A session nobody used for this long is over.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// Every session is over after this long.
const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Sessions at once; the one that was used longest ago makes room.
const SESSIONS: usize = 4096;
/// How long a link can be used.
pub const LINK_LIFE: Duration = Duration::from_secs(120);
/// Links that were not used yet.
const LINKS: usize = 64;
/// Wrong tokens from one address in [`FAILURE_SPAN`].
const FAILURES: u32 = 10;
/// How long wrong tokens are held against an address.
const FAILURE_SPAN: Duration = Duration::from_secs(60);

/// Who is logged in.
#[derive(Debug)]
pub struct Web {
    /// Whether cookies may only travel encrypted.
    tls: bool,
    doors: Mutex<Doors>,
}

#[derive(Debug, Default)]
struct Doors {
    sessions: BTreeMap<TokenHash, Session>,
    links: BTreeMap<TokenHash, (TokenHash, Instant)>,
    failures: BTreeMap<String, (u32, Instant)>,
}

#[derive(Clone, Debug)]
struct Session {
    token: TokenHash,
    csrf: String,
    made: Instant,
    used: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.used) > IDLE || now.duration_since(self.made) > LIFE
    }
}

/// Who a request for a page comes from.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// As the API knows them.
    pub caller: Caller,
    /// What their forms must bring.
    pub csrf: String,
    /// Their session.
    session: TokenHash,
}

impl Web {
    /// Nobody is logged in yet.
    #[must_use]
    pub fn new(tls: bool) -> Self {
        Self { tls, doors: Mutex::default() }
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose session a request brings.
    #[must_use]
    pub fn visitor(&self, gate: &Gate, headers: &HeaderMap, from: String) -> Option<Visitor> {
        let name = hash(&cookie(headers)?);
        let now = Instant::now();
        let mut doors = self.doors();
        let session = doors.sessions.get_mut(&name)?;
        let caller = caller_of(gate, &session.token, from).filter(|_| !session.is_over(now));
        let Some(caller) = caller else {
            doors.sessions.remove(&name);
            return None;
        };
        session.used = now;
        Some(Visitor { caller, csrf: session.csrf.clone(), session: name })
    }

    /// Begins a session for a token and gives the cookie of it.
    ///
    /// # Errors
    /// When the kernel has no randomness.
    pub fn begin(&self, token: TokenHash, headers: &HeaderMap) -> Result<String, Problem> {
        let name = random()?;
        let now = Instant::now();
        let session = Session { token, csrf: random()?, made: now, used: now };
        let mut doors = self.doors();
        doors.sessions.retain(|_, session| !session.is_over(now));
        if doors.sessions.len() >= SESSIONS
            && let Some(oldest) =
                doors.sessions.iter().min_by_key(|(_, session)| session.used).map(|(name, _)| *name)
        {
            doors.sessions.remove(&oldest);
        }
        doors.sessions.insert(hash(&name), session);
        Ok(self.set_cookie(headers, &name, LIFE.as_secs()))
    }

    /// Ends a visitor's session and gives the cookie that forgets it.
    #[must_use]
    pub fn end(&self, visitor: &Visitor, headers: &HeaderMap) -> String {
        self.doors().sessions.remove(&visitor.session);
        self.set_cookie(headers, "", 0)
    }

    fn set_cookie(&self, headers: &HeaderMap, value: &str, seconds: u64) -> String {
        let secure = if self.tls { "; Secure" } else { "" };
        let name = cookie_name(headers);
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }

    /// A code that logs in once, soon, as the owner of this token.
    ///
    /// # Errors
    /// When the kernel has no randomness.
    pub fn make_link(&self, token: TokenHash) -> Result<String, Problem> {
        let code = random()?;
        let now = Instant::now();
        let mut doors = self.doors();
        doors.links.retain(|_, (_, made)| now.duration_since(*made) <= LINK_LIFE);
        if doors.links.len() >= LINKS {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_links",
                "many login links wait to be used",
            )
            .with_next("use one, or wait two minutes"));
        }
        doors.links.insert(hash(&code), (token, now));
        Ok(code)
    }

    /// Takes a code: the second time it is nothing.
    #[must_use]
    pub fn take_link(&self, code: &str) -> Option<TokenHash> {
        let (token, made) = self.doors().links.remove(&hash(code))?;
        (made.elapsed() <= LINK_LIFE).then_some(token)
    }

    /// # Errors
    /// 429 to an address that tried wrong tokens often.
    pub fn may_try(&self, from: &str) -> Result<(), Problem> {
        let mut doors = self.doors();
        doors.failures.retain(|_, (_, first)| first.elapsed() <= FAILURE_SPAN);
        match doors.failures.get(from) {
            Some((count, _)) if *count >= FAILURES => {
                Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tries", "too many wrong tokens")
                    .with_next("wait a minute"))
            }
            _ => Ok(()),
        }
    }

    /// A wrong token came from there.
    pub fn failed(&self, from: &str) {
        self.doors().failures.entry(from.to_owned()).or_insert((0, Instant::now())).0 += 1;
    }
}

fn random() -> Result<String, Problem> {
    state::random_hex().map_err(|_why| Problem::internal("no randomness from the kernel"))
}

/// The value of our cookie.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let name = cookie_name(headers);
    let all = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

impl FromRequestParts<Shared> for Visitor {
    type Rejection = super::Oops;
    async fn from_request_parts(parts: &mut Parts, _state: &Shared) -> Result<Self, Self::Rejection> {
        // `admit` lets nobody through to a page that asks for its visitor without one.
        let found = parts.extensions.get::<Self>().cloned();
        found.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "logged_out", "log in first").into())
    }
}
