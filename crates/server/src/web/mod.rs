//! The web page: rendered here, live by one stream of ticks, nothing from elsewhere.
//!
//! Every page is a call of the API's own handlers and a template of `web/templates`; so nothing is only in a page, and
//! who may see what is decided in one place. A page is whole without JavaScript; scripts of `web/assets` refresh the
//! region `#live`, draw the map and the charts, and add keys.
//!
//! ```text
//! cookie ──▶ session ──▶ Caller ──▶ handler of the API ──▶ template ──▶ HTML
//! ```

mod admin;
mod assets;
mod capacity;
mod device;
mod form;
mod guide;
mod home;
mod job;
mod joined;
mod live;
mod login;
mod map;
mod money;
mod notify;
mod provider;
mod queue;
mod scheduler;
mod session;
mod show;
mod usage;

pub use provider::Gateway;
pub use session::{LINK_LIFE, Web};
pub use show::stamp;

use crate::api::Shared;
use crate::api::doors::{Doors, Need};
use crate::api::guard::Caller;
use crate::api::types::{API, Problem};
use crate::auth::rights::{Place, Right};
use crate::clock;
use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use session::Visitor;

/// Nothing but our own files; no inline script or style; in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Every page.
pub fn routes(doors: Doors) -> Doors {
    let see = Need::Right(Right::See);
    let operate = Need::Right(Right::Operate);
    doors
        .get("/", see, home::page)
        .get("/map", see, map::page)
        .get("/map.json", see, map::data)
        .get("/queue", see, queue::page)
        .get("/envs", see, queue::envs)
        .get("/jobs/{id}", see, job::page)
        .get("/jobs/{id}/logs", Need::Right(Right::Handle), job::logs)
        .get("/jobs/{id}/spec", see, job::spec)
        .get("/jobs/{id}/samples.json", see, job::samples)
        .post("/jobs/{id}/{verb}", Need::Right(Right::Handle), job::act)
        .get("/usage", see, usage::page)
        .get("/usage/ledger", see, usage::ledger)
        .post("/usage/prices", operate, money::set_price)
        .post("/usage/prices/end", operate, money::end_price)
        .post("/usage/budgets", Need::Right(Right::Shape), money::set_budget)
        .post("/usage/budgets/remove", Need::Right(Right::Shape), money::remove_budget)
        .get("/capacity", see, capacity::page)
        .post("/capacity/{node}/{verb}", operate, capacity::act)
        .get("/scheduler", see, scheduler::page)
        .get("/notify", see, notify::page)
        .post("/notify", see, notify::subscribe)
        .post("/notify/remove", see, notify::remove)
        .post("/notify/test", see, notify::test)
        .post("/notify/send", see, notify::send)
        .post("/notify/settings", operate, notify::settings)
        .get("/admin", operate, admin::page)
        .post("/admin/tokens", operate, admin::make_token)
        .post("/admin/tokens/remove", operate, admin::remove_token)
        .post("/admin/queues", Need::Right(Right::Shape), admin::set_queue)
        .post("/admin/queues/try", Need::Right(Right::Shape), admin::try_queue)
        .post("/admin/queues/remove", Need::Right(Right::Shape), admin::remove_queue)
        .post("/admin/users", operate, admin::set_user)
        .post("/admin/users/password", operate, admin::set_password)
        .post("/admin/roles", Need::Right(Right::People), admin::set_role)
        .get("/live", see, live::stream)
        .get("/login", Need::Nothing, login::page)
        .post("/login", Need::Nothing, login::enter)
        .get("/login/provider", Need::Nothing, provider::depart)
        .get("/login/provider/done", Need::Nothing, provider::arrive)
        .post("/logout", Need::Somebody, login::leave)
        .get("/assets/{name}", Need::Nothing, assets::serve)
        .get("/llms.txt", Need::Nothing, guide::list)
        .get("/docs/{name}", Need::Nothing, guide::page)
}

/// Whether an address is a page's and not the API's.
#[must_use]
pub fn owns(path: &str) -> bool {
    !path.starts_with("/api/") && path != API && path != "/metrics"
}

/// Finds out who a request for a page comes from.
///
/// # Errors
/// A form of another site.
pub fn find(shared: &Shared, request: &mut Request, from: String) -> Result<Option<Caller>, Box<Response>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        same_origin(request.headers()).map_err(|problem| Box::new(Oops(problem).into_response()))?;
    }
    Ok(shared.web.visitor(&shared.gate, request.headers(), from).map(|visitor| {
        let caller = visitor.caller.clone();
        request.extensions_mut().insert(visitor);
        caller
    }))
}

/// To the login page and back, for what a person opened; plainly no to what a script asked for.
pub fn turn_away(request: &Request) -> Response {
    let wants = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let page = wants("accept").is_none_or(|accept| accept.contains("text/html") || accept == "*/*");
    let by_script = wants("hx-request").is_some() || !page;
    if *request.method() != Method::GET || by_script {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "logged_out", "your session is over")
            .with_next("log in again");
        let mut response = Oops(problem).into_response();
        response.headers_mut().insert("hx-redirect", HeaderValue::from_static("/login"));
        return response;
    }
    let here = request.uri().path_and_query().map_or("/", |here| here.as_str());
    Redirect::to(&format!("/login?next={}", show::in_query(here))).into_response()
}

/// Browsers say where a form was; another site's is refused even before its missing token is.
fn same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let place = origin.split_once("://").map(|(_scheme, place)| place);
    match place.is_some() && place == text(header::HOST) {
        true => Ok(()),
        false => {
            Err(Problem::new(StatusCode::FORBIDDEN, "other_origin", "this form comes from another site")
                .with_next("open the pool's own page"))
        }
    }
}

/// What every answer to a browser carries.
pub fn harden(headers: &mut HeaderMap) {
    let set = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// What every page shows around its own part.
pub struct Shell {
    /// The title; what comes before the dash.
    title: String,
    /// Which entry of the navigation it is.
    section: &'static str,
    /// Who looks.
    user: String,
    /// Whether they administer the pool.
    admin: bool,
    /// What their forms must bring.
    csrf: String,
    /// This page's address, for its own refresh.
    here: String,
    /// Whether the page follows what happens.
    live: bool,
    /// The moment it shows, in milliseconds since the epoch.
    now: u64,
}

impl Shell {
    /// For this visitor at this address.
    fn new(
        visitor: &Visitor,
        title: impl Into<String>,
        section: &'static str,
        here: &axum::http::Uri,
    ) -> Self {
        Self {
            title: title.into(),
            section,
            user: visitor.caller.principal.user.to_string(),
            admin: visitor.caller.may(Right::Operate, Place::Pool),
            csrf: visitor.csrf.clone(),
            here: here.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            live: true,
            now: clock::wall_ms(),
        }
    }
}

/// A page, or what went wrong.
type Page = Result<Response, Oops>;

fn render(template: &impl Template) -> Page {
    match template.render() {
        Ok(html) => Ok(Html(html).into_response()),
        Err(why) => Err(Oops(Problem::internal(why.to_string()))),
    }
}

/// An error as a page.
pub struct Oops(pub Problem);

impl From<Problem> for Oops {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    problem: &'a Problem,
    /// Whose session it is, where leaving it may help.
    visitor: Option<&'a Visitor>,
}

impl ErrorPage<'_> {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let html = self.render().unwrap_or_else(|_why| "something went wrong".to_owned());
        (status, Html(html)).into_response()
    }
}

impl IntoResponse for Oops {
    fn into_response(self) -> Response {
        ErrorPage { problem: &self.0, visitor: None }.into_response()
    }
}

/// No to somebody who is logged in, with a way out: another user may be allowed what this one is not.
#[must_use]
pub fn no_entry(problem: &Problem, request: &Request) -> Response {
    ErrorPage { problem, visitor: request.extensions().get() }.into_response()
}

/// There is no page here.
#[must_use]
pub fn nowhere() -> Oops {
    Oops(
        Problem::not_found("no_such_page", "there is no page at this address")
            .with_next("start at the first page"),
    )
}

/// The name that session cookies of a server have: pools on one machine differ in their port alone, and cookies do not
/// know ports.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port: String =
        host.rsplit(':').next().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    format!("pond_{port}")
}
