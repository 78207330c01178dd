//! Which routes there are and what each needs. A route that is not in this list is not there; what it needs cannot be left
//! out.
//!
//! This is the outer door: it turns away who has the right nowhere. A handler asks again for the place that the request
//! names ([`Caller::must`](super::guard::Caller::must)), and cuts lists to what the caller sees.

use super::Shared;
use crate::auth::rights::Right;
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};
use std::collections::BTreeMap;

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Everybody may.
    Nothing,
    /// A token or a session, with whatever roles.
    Somebody,
    /// This right somewhere; [`Right::Operate`] in the pool.
    Right(Right),
    /// This right in the pool as a whole.
    Pool(Right),
}

/// The routes under construction.
#[derive(Default)]
pub struct Doors {
    router: Router<Shared>,
    needs: Needs,
}

/// What each route needs, by path and method.
#[derive(Clone, Debug, Default)]
pub struct Needs(BTreeMap<(String, String), Need>);

impl Needs {
    /// What a request needs. Where there is no route, a token: who has none learns nothing about what is there.
    #[must_use]
    pub fn of(&self, request: &Request) -> Need {
        let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let need = path.and_then(|path| self.0.get(&(path.to_owned(), method.to_string())));
        need.copied().unwrap_or(Need::Somebody)
    }

    /// Every route: method and path.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.keys().map(|(path, method)| (method.as_str(), path.as_str()))
    }
}

impl Doors {
    fn on<H, T>(mut self, method: (&str, MethodFilter), path: &str, need: Need, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let (name, filter) = method;
        self.router = self.router.route(path, on(filter, handler));
        self.needs.0.insert((path.to_owned(), name.to_owned()), need);
        self
    }

    /// To read.
    #[must_use]
    pub fn get<H: Handler<T, Shared>, T: 'static>(self, path: &str, need: Need, handler: H) -> Self {
        self.on(("GET", MethodFilter::GET), path, need, handler)
    }

    /// To do.
    #[must_use]
    pub fn post<H: Handler<T, Shared>, T: 'static>(self, path: &str, need: Need, handler: H) -> Self {
        self.on(("POST", MethodFilter::POST), path, need, handler)
    }

    /// To set.
    #[must_use]
    pub fn put<H: Handler<T, Shared>, T: 'static>(self, path: &str, need: Need, handler: H) -> Self {
        self.on(("PUT", MethodFilter::PUT), path, need, handler)
    }

    /// To remove.
    #[must_use]
    pub fn delete<H: Handler<T, Shared>, T: 'static>(self, path: &str, need: Need, handler: H) -> Self {
        self.on(("DELETE", MethodFilter::DELETE), path, need, handler)
    }

    /// The routes and what they need.
    pub fn done(self) -> (Router<Shared>, Needs) {
        (self.router, self.needs)
    }
}
