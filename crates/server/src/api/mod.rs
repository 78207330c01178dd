//! The HTTP API.
//!
//! | method and path below `/api/v1` | body | answer |
//! |---|---|---|
//! | POST `jobs` | job file: JSON, YAML, TOML, script, or a complete spec | 201 [`types::Submitted`] |
//! | POST `plan` | the same | [`types::Preview`] |
//! | GET `jobs` | [`types::JobQuery`] | [`types::JobPage`] |
//! | GET `jobs/{id}` | | [`types::JobDetail`] |
//! | POST `jobs/{id}/stop` `pause` `resume` `retry` | [`types::ActionBody`] or nothing | [`types::JobSummary`] |
//! | POST `jobs/{id}/resize` | [`types::ResizeBody`] | [`types::JobSummary`] |
//! | DELETE `jobs/{id}` | | 204 |
//! | GET `jobs/{id}/why` | [`types::WhyQuery`] | [`types::WhyView`] |
//! | GET `jobs/{id}/logs` | [`types::LogQuery`] | text, or lines of [`types::LogLine`] |
//! | GET `jobs/{id}/samples` | | [`types::SampleSeries`] |
//! | GET `jobs/{id}/events` | [`types::EventQuery`] | [`types::EventPage`] |
//! | WS `tasks/{id}/exec` `attach` | [`types::ExecQuery`] | frames of `pond_core::frame` |
//! | WS `tasks/{id}/forward` | [`types::ForwardQuery`] | bytes |
//! | GET, PUT `tasks/{id}/files` | [`types::FileQuery`] | a tar stream; 204 |
//! | GET `status` | | [`types::StatusView`] |
//! | GET `nodes` | | list of [`types::NodeView`] |
//! | GET `nodes/{node}` | | [`types::NodeView`] |
//! | POST `nodes/{node}/drain` `resume` | | [`types::NodeView`] |
//! | POST `nodes/{node}/label` | [`types::LabelBody`] | [`types::NodeView`] |
//! | GET `devices` | | list of [`types::DeviceView`] |
//! | GET `queues` | | list of [`types::QueueView`] |
//! | GET, PUT, DELETE `queues/{path}` | [`types::QueueBody`] | [`types::QueueView`]; 204 |
//! | POST `plan/queues/{path}` | [`types::QueueBody`] | [`types::QueueTrial`] |
//! | GET `scheduler` | | [`types::SchedulerView`] |
//! | GET `usage` | [`types::UsageQuery`] | [`types::UsageReport`] |
//! | GET, POST `prices` | [`types::PricesQuery`], [`types::PricesBody`] | [`types::PricesView`] |
//! | DELETE `prices/{id}` | | 204 |
//! | GET `budgets` | | list of [`types::BudgetView`] |
//! | PUT, DELETE `budgets/{path}` | [`types::BudgetBody`] | [`types::BudgetView`]; 204 |
//! | GET `bill` | [`types::BillQuery`] | [`types::BillReport`] |
//! | GET `ledger` | [`types::LedgerQuery`] | lines of [`types::LedgerLine`], CSV, or FOCUS CSV |
//! | GET `events` | [`types::EventQuery`] | [`types::EventPage`], or `text/event-stream` of [`types::EventView`] when asked for |
//! | GET `secrets` | | list of [`types::SecretView`] |
//! | GET, PUT, DELETE `secrets/{name}` | [`types::SecretBody`] | [`types::SecretView`]; 204 |
//! | GET `users` | | list of [`types::UserView`] |
//! | GET, PUT `users/{name}` | [`types::UserBody`] | [`types::UserView`] |
//! | PUT `users/{name}/password` | [`types::PasswordBody`] | 204 |
//! | GET `projects` | | list of [`types::ProjectView`] |
//! | GET, PUT `roles` | [`types::RoleQuery`], [`types::RoleBody`] | list of [`types::RoleView`] |
//! | GET `tokens` | | list of [`types::TokenView`] |
//! | PUT, DELETE `tokens/{name}` | [`types::TokenBody`] | 201 [`types::NewToken`]; 204 |
//! | GET `notify/subscriptions` | | list of [`types::SubscriptionView`] |
//! | PUT, DELETE `notify/subscriptions/{name}` | [`types::SubscriptionBody`] | 201 [`types::NewSubscription`]; 204 |
//! | POST `notify/subscriptions/{name}/test` | | 202 [`types::DeliveryView`] |
//! | GET `notify/deliveries` | [`types::DeliveryQuery`] | list of [`types::DeliveryView`] |
//! | GET `notify/deliveries/{id}` | | [`types::DeliveryView`] |
//! | POST `notify/deliveries/{id}/send` | | 202 [`types::DeliveryView`] |
//! | GET `notify/key` | | [`types::SigningKey`] |
//! | GET, PUT `notify/settings` | [`types::NotifySettings`] | [`types::NotifySettings`] |
//! | GET `health` (no token) | | [`types::Health`] |
//! | GET `version` | | [`types::Version`] |
//! | GET `whoami` | | [`types::WhoView`] |
//! | POST `login-links` | | 201 [`types::LoginLink`] |
//! | POST `shutdown` | [`types::ShutdownBody`] | 202 |
//!
//! Beside it: `/metrics`, `/api/v1/openapi.json`, and the pages of [`crate::web`].
//! Every error is a [`types::Problem`]. What each route needs stands where the routes are, [`doors`].

pub mod doors;
pub mod events;
pub mod extract;
pub mod file;
pub mod guard;
pub mod jobs;
pub mod keys;
pub mod metrics;
pub mod money;
pub mod notify;
pub mod openapi;
pub mod output;
pub mod people;
pub mod pool;
pub mod problem;
pub mod resize;
pub mod sessions;
pub mod types;
pub mod usage;

use crate::access::Access;
use crate::auth::pace::Pace;
use crate::auth::people::People;
use crate::auth::rights::Right;
use crate::clock;
use crate::feed::Feed;
use crate::notify::{Notices, NotifyPace};
use crate::pool::inbox::Handle;
use crate::pool::view::machine;
use crate::secrets::Secrets;
use crate::store::{Archive, StoreError};
use crate::web::{self, Web};
use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use doors::{Doors, Need, Needs};
use guard::Caller;
use pond_core::engine::Refusal;
use pond_core::ids::TaskId;
use pond_core::money::{BudgetError, PriceError};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use types::{Problem, StatusView};

/// Streams (followed logs, event streams, sessions, copies) at once.
pub const STREAMS: usize = 256;

/// What stands before every route.
#[derive(Debug)]
pub struct Gate {
    /// Names, beside addresses and `localhost`, that this server goes by.
    pub hosts: Vec<String>,
    /// Who may ask for what.
    pub people: People,
    /// Requests a second of a user of whom nothing else is said.
    pub user_rate: u32,
    /// What users have sent of late.
    pub pace: Pace,
    /// How long a body may take to come.
    pub body_time: Duration,
}

impl Gate {
    /// A caller as they are now; `None` once their token or account is no more.
    #[must_use]
    pub fn again(&self, caller: &Caller) -> Option<Caller> {
        let principal = match &caller.token {
            Some(token) => self.people.of_token(token, clock::wall_ms()),
            None => self.people.of_user(&caller.principal.user),
        };
        Some(Caller { principal: principal?, ..caller.clone() })
    }
}

/// Counts of requests since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// All of them.
    pub requests: AtomicU64,
    /// Without a good token.
    pub denied: AtomicU64,
}

/// What every handler works with.
pub struct Inner {
    /// Hosts and tokens.
    pub gate: Gate,
    /// The way to the drive thread.
    pub handle: Handle,
    /// The tasks from close by.
    pub access: Arc<dyn Access>,
    /// Finished jobs and the event log.
    pub archive: Archive,
    /// The live end of the event log.
    pub feed: Arc<Feed>,
    /// Secrets.
    pub secrets: Secrets,
    /// Subscriptions and how the pool tells.
    pub notices: Notices,
    /// How fast notifications are.
    pub notify: NotifyPace,
    /// Counts of requests.
    pub counters: Counters,
    /// Counts of the drive thread.
    pub tallies: Arc<crate::pool::tally::Tallies>,
    /// Room for streams.
    pub streams: Arc<Semaphore>,
    /// Sessions by task.
    pub sessions: Mutex<BTreeMap<TaskId, u32>>,
    /// Who is logged in with a browser.
    pub web: Web,
    /// Turns true when the server stops.
    pub stop: watch::Receiver<bool>,
    /// When this server started.
    pub started_ms: u64,
}

/// What every handler works with, shared.
pub type Shared = Arc<Inner>;

impl Inner {
    /// A place for one more stream.
    ///
    /// # Errors
    /// 429 when there are too many.
    pub fn room_for_a_stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_full| {
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                format!("{STREAMS} streams are open already"),
            )
            .with_next("close some: followed logs, event streams, sessions")
        })
    }

    /// Counts a session of a task in or out; gives the number left.
    pub fn count_session(&self, task: TaskId, change: i64) -> u32 {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sessions.get(&task).map_or(0, |&count| i64::from(count)) + change;
        let count = u32::try_from(count).unwrap_or(0);
        match count {
            0 => sessions.remove(&task),
            _ => sessions.insert(task, count),
        };
        count
    }

    /// The pool in one object.
    ///
    /// # Errors
    /// When the drive thread does not answer.
    pub async fn status(&self) -> Result<StatusView, Problem> {
        let condition = self.handle.condition.clone();
        let over = self.tallies.archived();
        self.handle.look(move |sight| machine::status(sight, &condition, over)).await
    }
}

/// Every route.
pub fn routes(shared: Shared) -> Router {
    let (router, needs) = doors();
    router
        .fallback(nowhere)
        .method_not_allowed_fallback(not_that_way)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state((Arc::clone(&shared), Arc::new(needs)), guard::guard))
        .with_state(shared)
}

/// Every route with what it needs.
fn doors() -> (Router<Shared>, Needs) {
    let doors = notify_routes(pool_routes(job_routes(Doors::default())));
    web::routes(doors).get("/metrics", Need::Pool(Right::See), metrics::metrics).done()
}

/// Methods and paths of every route, for those who want to try them all.
#[must_use]
pub fn all_routes() -> Vec<(String, String)> {
    doors().1.routes().map(|(method, path)| (method.to_owned(), path.to_owned())).collect()
}

fn job_routes(doors: Doors) -> Doors {
    let [see, submit, handle, enter] =
        [Right::See, Right::Submit, Right::Handle, Right::Enter].map(Need::Right);
    doors
        .get("/api/v1/jobs", see, jobs::list)
        .post("/api/v1/jobs", submit, jobs::submit)
        .post("/api/v1/plan", submit, jobs::plan)
        .get("/api/v1/jobs/{id}", see, jobs::get)
        .delete("/api/v1/jobs/{id}", handle, jobs::remove)
        .post("/api/v1/jobs/{id}/stop", handle, jobs::stop)
        .post("/api/v1/jobs/{id}/pause", handle, jobs::pause)
        .post("/api/v1/jobs/{id}/resume", handle, jobs::resume)
        .post("/api/v1/jobs/{id}/retry", handle, jobs::retry)
        .post("/api/v1/jobs/{id}/resize", handle, resize::resize)
        .get("/api/v1/jobs/{id}/why", see, jobs::why)
        .get("/api/v1/jobs/{id}/logs", handle, output::logs)
        .get("/api/v1/jobs/{id}/samples", see, jobs::samples)
        .get("/api/v1/jobs/{id}/events", see, events::of_job)
        .get("/api/v1/tasks/{id}/exec", enter, sessions::exec)
        .get("/api/v1/tasks/{id}/attach", enter, sessions::attach)
        .get("/api/v1/tasks/{id}/forward", enter, sessions::forward)
        .get("/api/v1/tasks/{id}/files", enter, sessions::copy_out)
        .put("/api/v1/tasks/{id}/files", enter, sessions::copy_in)
}

fn pool_routes(doors: Doors) -> Doors {
    let [see, submit, shape, people, operate] =
        [Right::See, Right::Submit, Right::Shape, Right::People, Right::Operate].map(Need::Right);
    doors
        .get("/api/v1/status", see, pool::status)
        .get("/api/v1/nodes", see, pool::nodes)
        .get("/api/v1/nodes/{node}", see, pool::node)
        .post("/api/v1/nodes/{node}/drain", operate, pool::drain)
        .post("/api/v1/nodes/{node}/resume", operate, pool::resume)
        .post("/api/v1/nodes/{node}/label", operate, pool::label)
        .get("/api/v1/devices", see, pool::devices)
        .get("/api/v1/queues", see, pool::queues)
        .get("/api/v1/queues/{*path}", see, pool::queue)
        .put("/api/v1/queues/{*path}", shape, pool::set_queue)
        .delete("/api/v1/queues/{*path}", shape, pool::remove_queue)
        .post("/api/v1/plan/queues/{*path}", shape, pool::try_queue)
        .get("/api/v1/scheduler", see, pool::scheduler)
        .put("/api/v1/scheduler", operate, pool::set_scheduler)
        .get("/api/v1/usage", see, usage::usage)
        .get("/api/v1/prices", see, money::prices)
        .post("/api/v1/prices", operate, money::set_prices)
        .delete("/api/v1/prices/{id}", operate, money::end_price)
        .get("/api/v1/budgets", see, money::budgets)
        .put("/api/v1/budgets/{*path}", shape, money::set_budget)
        .delete("/api/v1/budgets/{*path}", shape, money::remove_budget)
        .get("/api/v1/bill", see, money::bill)
        .get("/api/v1/ledger", see, money::ledger)
        .get("/api/v1/events", see, events::list)
        .get("/api/v1/secrets", submit, keys::secrets)
        .get("/api/v1/secrets/{name}", submit, keys::secret)
        .put("/api/v1/secrets/{name}", operate, keys::set_secret)
        .delete("/api/v1/secrets/{name}", operate, keys::remove_secret)
        .get("/api/v1/users", operate, people::users)
        .get("/api/v1/users/{name}", Need::Somebody, people::user)
        .put("/api/v1/users/{name}", operate, people::set_user)
        .put("/api/v1/users/{name}/password", Need::Somebody, people::set_password)
        .get("/api/v1/roles", see, people::roles)
        .put("/api/v1/roles", people, people::set_role)
        .get("/api/v1/projects", see, people::projects)
        .get("/api/v1/tokens", Need::Somebody, keys::tokens)
        .put("/api/v1/tokens/{name}", Need::Somebody, keys::set_token)
        .delete("/api/v1/tokens/{name}", Need::Somebody, keys::remove_token)
        .post("/api/v1/login-links", Need::Somebody, keys::login_link)
        .get("/api/v1/health", Need::Nothing, pool::health)
        .get("/api/v1/version", Need::Somebody, pool::version)
        .get("/api/v1/whoami", Need::Somebody, pool::whoami)
        .post("/api/v1/shutdown", operate, pool::shutdown)
        .get("/api/v1/openapi.json", Need::Somebody, openapi::document)
}

fn notify_routes(doors: Doors) -> Doors {
    let [see, submit, operate] = [Right::See, Right::Submit, Right::Operate].map(Need::Right);
    doors
        .get("/api/v1/notify/subscriptions", see, notify::subscriptions)
        .put("/api/v1/notify/subscriptions/{name}", see, notify::subscribe)
        .delete("/api/v1/notify/subscriptions/{name}", see, notify::unsubscribe)
        .post("/api/v1/notify/subscriptions/{name}/test", see, notify::test)
        .get("/api/v1/notify/deliveries", see, notify::deliveries)
        .get("/api/v1/notify/deliveries/{id}", see, notify::delivery)
        .post("/api/v1/notify/deliveries/{id}/send", see, notify::send_again)
        .get("/api/v1/notify/key", submit, notify::key)
        .get("/api/v1/notify/settings", operate, notify::settings)
        .put("/api/v1/notify/settings", operate, notify::set_settings)
}

async fn nowhere(address: Uri) -> Response {
    if web::owns(address.path()) {
        return web::nowhere().into_response();
    }
    Problem::not_found("no_such_route", "there is nothing at this address")
        .with_next(format!("the list is at {}/openapi.json", types::API))
        .into_response()
}

async fn not_that_way(address: Uri) -> Problem {
    let next = match web::owns(address.path()) {
        true => "start at the first page".to_owned(),
        false => format!("the list is at {}/openapi.json", types::API),
    };
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this address does not take this method",
    )
    .with_next(next)
}

/// The engine's refusal as clients see it.
#[must_use]
pub fn refused(refusal: &Refusal) -> Problem {
    let (status, code) = match refusal {
        Refusal::UnknownJob(_) => (StatusCode::NOT_FOUND, "no_such_job"),
        Refusal::UnknownIndex(_) => (StatusCode::NOT_FOUND, "no_such_element"),
        Refusal::UnknownTask(_) => (StatusCode::NOT_FOUND, "no_such_task"),
        Refusal::UnknownNode(_) => (StatusCode::NOT_FOUND, "no_such_node"),
        Refusal::UnknownQueue(_) => (StatusCode::UNPROCESSABLE_ENTITY, "no_such_queue"),
        Refusal::UnknownDependency(_) => (StatusCode::UNPROCESSABLE_ENTITY, "no_such_dependency"),
        Refusal::FailedDependency(_) => (StatusCode::UNPROCESSABLE_ENTITY, "failed_dependency"),
        Refusal::BadJob { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "bad_job"),
        Refusal::BadQueue { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "bad_queue"),
        Refusal::BadPolicy(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_policy"),
        Refusal::BadNode { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "bad_node"),
        Refusal::Archived(_) => (StatusCode::CONFLICT, "archived"),
        Refusal::Ended(_) => (StatusCode::CONFLICT, "ended"),
        Refusal::NotEnded(_) => (StatusCode::CONFLICT, "not_ended"),
        Refusal::NotPaused(_) => (StatusCode::CONFLICT, "not_paused"),
        Refusal::Stopping(_) => (StatusCode::CONFLICT, "stopping"),
        Refusal::NoRoom { .. } => (StatusCode::CONFLICT, "no_room"),
        Refusal::NoShare { .. } => (StatusCode::CONFLICT, "no_share"),
        Refusal::BadPrice(PriceError::Unknown) => (StatusCode::NOT_FOUND, "no_such_price"),
        Refusal::BadPrice(PriceError::Ended | PriceError::CurrencyInUse) => {
            (StatusCode::CONFLICT, "price_fixed")
        }
        Refusal::BadPrice(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_price"),
        Refusal::BadBudget(BudgetError::Unknown) => (StatusCode::NOT_FOUND, "no_such_budget"),
        Refusal::BadBudget(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_budget"),
    };
    let text = refusal.to_string();
    // A refusal's sentence is `what; what to do`.
    match text.split_once("; ") {
        Some((message, next)) => Problem::new(status, code, message).with_next(next),
        None => Problem::new(status, code, text),
    }
}

impl From<StoreError> for Problem {
    fn from(why: StoreError) -> Self {
        Self::internal(why.to_string())
    }
}

/// How many entries a page may have.
fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(100) {
        limit @ 1..=1000 => Ok(limit),
        _ => Err(Problem::bad_request("bad_parameter", "limit is from 1 to 1000").at("limit")),
    }
}

/// Runs what may block away from the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_panic| Problem::internal("reading made the server stumble"))
}
