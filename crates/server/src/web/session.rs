//! Who is logged in: sessions of browsers, and links that log in once.
//!
//! A session stands for a token, and ends with it; or for a user who gave a password or came from an identity provider,
//! and ends when the password changes. What a browser holds is a random name; the server keeps its hash, in memory and in
//! the database, so that a restart logs nobody out.

use super::{Gateway, cookie_name};
use crate::api::guard::Caller;
use crate::api::types::Problem;
use crate::api::{Gate, Shared};
use crate::auth::people::{PeopleChange, Session};
use crate::auth::tries::Tries;
use crate::auth::{TokenHash, hash};
use crate::pool::inbox::Handle;
use crate::store::Write;
use crate::{clock, state};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use pond_core::event::Actor;
use pond_core::ids::UserName;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A session nobody used for this long is over; a restart of the server counts as use.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// Every session is over after this long.
const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Sessions at once; the one that was used longest ago makes room.
const SESSIONS: usize = 4096;
/// How long a link can be used.
pub const LINK_LIFE: Duration = Duration::from_secs(120);
/// Links that were not used yet.
const LINKS: usize = 64;

/// Who is logged in.
#[derive(Debug)]
pub struct Web {
    /// Whether cookies may only travel encrypted.
    tls: bool,
    doors: Mutex<Doors>,
    /// Wrong tokens, codes and passwords.
    pub tries: Tries,
    /// The way in through an identity provider.
    pub gateway: Option<Gateway>,
}

#[derive(Debug, Default)]
struct Doors {
    sessions: BTreeMap<TokenHash, (Session, Instant)>,
    links: BTreeMap<TokenHash, (TokenHash, Instant)>,
}

fn is_over(session: &Session, used: Instant, now: Instant) -> bool {
    let life = u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX);
    now.duration_since(used) > IDLE || clock::wall_ms().saturating_sub(session.made_ms) > life
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
    /// Logged in is whoever was.
    #[must_use]
    pub fn new(tls: bool, sessions: Vec<Session>, gateway: Option<Gateway>) -> Self {
        let now = Instant::now();
        let sessions = sessions.into_iter().map(|session| (session.name, (session, now))).collect();
        let doors = Mutex::new(Doors { sessions, links: BTreeMap::new() });
        Self { tls, doors, tries: Tries::default(), gateway }
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose session a request brings.
    #[must_use]
    pub fn visitor(&self, gate: &Gate, headers: &HeaderMap, from: String) -> Option<Visitor> {
        let cookie = cookie(headers)?;
        let name = hash(&cookie);
        let now = Instant::now();
        let mut doors = self.doors();
        let (session, used) = doors.sessions.get_mut(&name)?;
        let principal = match &session.token {
            Some(token) => gate.people.of_token(token, clock::wall_ms()),
            None => gate.people.of_user(&session.user),
        };
        let Some(principal) = principal.filter(|_| !is_over(session, *used, now)) else {
            doors.sessions.remove(&name);
            return None;
        };
        *used = now;
        let caller = Caller { principal, token: session.token, from };
        // Bound to the cookie, which no other site can read, and of no use for finding it.
        let csrf = state::hex(&hash(&format!("form\n{cookie}")));
        Some(Visitor { caller, csrf, session: name })
    }

    /// Begins a session for a user, and for the token they showed if they did, and gives the cookie of it. While the database cannot be
    /// written the session is kept in memory alone: who would set that right must get in.
    ///
    /// # Errors
    /// When the kernel has no randomness, or the pool does not answer.
    pub async fn begin(
        &self,
        handle: &Handle,
        actor: Actor,
        user: UserName,
        token: Option<TokenHash>,
        headers: &HeaderMap,
    ) -> Result<String, Problem> {
        let name = state::random_hex().map_err(|_why| Problem::internal("no randomness from the kernel"))?;
        let session = Session { name: hash(&name), user: user.clone(), token, made_ms: clock::wall_ms() };
        let over = self.put(session.clone());
        for gone in over {
            forget(handle, &actor, PeopleChange::SessionOver(gone)).await?;
        }
        let text = format!("{user} logged in");
        let write = Write::People(PeopleChange::Session(session));
        unless_read_only(handle.change(actor, write, "login.done", text).await)?;
        Ok(self.set_cookie(headers, &name, LIFE.as_secs()))
    }

    /// Takes a session in, and gives those that are over or had to make room.
    fn put(&self, session: Session) -> Vec<TokenHash> {
        let now = Instant::now();
        let mut doors = self.doors();
        let over = doors.sessions.iter().filter(|(_, (session, used))| is_over(session, *used, now));
        let mut gone: Vec<TokenHash> = over.map(|(name, _)| *name).collect();
        if doors.sessions.len() - gone.len() >= SESSIONS {
            gone.extend(doors.sessions.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| *name));
        }
        for name in &gone {
            doors.sessions.remove(name);
        }
        doors.sessions.insert(session.name, (session, now));
        gone
    }

    /// Ends a visitor's session and gives the cookie that forgets it.
    ///
    /// # Errors
    /// When the pool does not answer.
    pub async fn end(
        &self,
        handle: &Handle,
        visitor: &Visitor,
        headers: &HeaderMap,
    ) -> Result<String, Problem> {
        self.doors().sessions.remove(&visitor.session);
        forget(handle, &visitor.caller.actor(), PeopleChange::SessionOver(visitor.session)).await?;
        Ok(self.set_cookie(headers, "", 0))
    }

    /// Ends all sessions that a user's password or provider began.
    ///
    /// # Errors
    /// When the pool does not answer.
    pub async fn end_all_of(&self, handle: &Handle, caller: &Caller, user: &UserName) -> Result<(), Problem> {
        self.doors().sessions.retain(|_, (session, _)| session.user != *user || session.token.is_some());
        forget(handle, &caller.actor(), PeopleChange::SessionsOver(user.clone())).await
    }

    fn set_cookie(&self, headers: &HeaderMap, value: &str, seconds: u64) -> String {
        self.cookie(&cookie_name(headers), value, seconds)
    }

    /// A cookie that scripts cannot read.
    #[must_use]
    pub fn cookie(&self, name: &str, value: &str, seconds: u64) -> String {
        let secure = if self.tls { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }

    /// A code that logs in once, soon, as the owner of this token.
    ///
    /// # Errors
    /// When the kernel has no randomness.
    pub fn make_link(&self, token: TokenHash) -> Result<String, Problem> {
        let code = state::random_hex().map_err(|_why| Problem::internal("no randomness from the kernel"))?;
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
}

/// Writes the end of sessions down. What cannot be written is over in memory, which is what counts until a restart.
async fn forget(handle: &Handle, actor: &Actor, change: PeopleChange) -> Result<(), Problem> {
    unless_read_only(handle.change_quietly(actor.clone(), Write::People(change)).await)
}

fn unless_read_only(done: Result<(), Problem>) -> Result<(), Problem> {
    match done {
        Err(problem) if problem.code == "read_only" => Ok(()),
        done => done,
    }
}

/// The value of our cookie.
fn cookie(headers: &HeaderMap) -> Option<String> {
    cookie_named(headers, &cookie_name(headers))
}

/// The value of a cookie.
pub(super) fn cookie_named(headers: &HeaderMap, name: &str) -> Option<String> {
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
