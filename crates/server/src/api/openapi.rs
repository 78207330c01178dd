//! The API's description, OpenAPI 3.1, from the handlers themselves.

use super::types::{self, PROBLEM, Problem};
use super::{events, guard, jobs, keys, money, notify, output, people, pool, resize, sessions, usage};
use axum::Json;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, Response, Schema, Server};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "Millpond", description = "One pool of AI compute. Amounts are integers in the unit their name ends in; moments are milliseconds since the Unix epoch.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        jobs::submit, jobs::plan, jobs::list, jobs::get, jobs::stop, jobs::pause, jobs::resume, jobs::retry,
        resize::resize, jobs::remove, jobs::why, jobs::samples, output::logs, events::of_job, events::list,
        sessions::exec, sessions::attach, sessions::forward, sessions::copy_out, sessions::copy_in,
        pool::status, pool::scheduler, pool::set_scheduler, pool::nodes, pool::node, pool::drain, pool::resume, pool::label, pool::devices,
        pool::queues, pool::queue, pool::set_queue, pool::remove_queue, pool::try_queue, usage::usage,
        money::prices, money::set_prices, money::end_price, money::budgets, money::set_budget, money::remove_budget,
        money::bill, money::ledger,
        keys::secrets, keys::secret, keys::set_secret, keys::remove_secret,
        people::users, people::user, people::set_user, people::set_password, people::roles, people::set_role,
        people::projects, keys::tokens, keys::set_token, keys::remove_token, keys::login_link,
        notify::subscriptions, notify::subscribe, notify::unsubscribe, notify::test, notify::deliveries, notify::delivery,
        notify::send_again, notify::key, notify::settings, notify::set_settings,
        pool::health, pool::version, pool::whoami, pool::shutdown, document
    ),
    components(schemas(Problem, types::EventView, types::LogLine, types::LedgerLine)),
    security(("token" = [])),
    modifiers(&Common)
)]
struct Api;

/// What every operation has: the token, an id of its own, and errors as problems.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        for schema in components.schemas.values_mut() {
            let RefOr::T(Schema::Object(object)) = schema else { continue };
            for property in object.properties.values_mut() {
                // What stands for another schema with `{}` as its default is what some generators leave out whole.
                if let RefOr::T(Schema::OneOf(one)) = property
                    && one.items.len() == 1
                {
                    one.default = None;
                }
            }
        }
        document.servers = Some(vec![Server::new("/")]);
        let mut response = Response::new("an error");
        response.content.insert(PROBLEM.to_owned(), content);
        for path in document.paths.paths.values_mut() {
            let operations = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete];
            for operation in operations.into_iter().flatten() {
                if let (Some(id), Some(tag)) =
                    (&mut operation.operation_id, operation.tags.iter().flatten().next())
                {
                    // Handlers of two parts of the API may have one name; what programs are made of needs each once.
                    *id = format!("{}_{id}", tag.replace('-', "_"));
                }
                let error = RefOr::T(response.clone());
                operation.responses.responses.entry("default".to_owned()).or_insert(error);
            }
        }
    }
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "pool", responses((status = 200, body = Object)))]
pub async fn document(_caller: guard::Caller) -> Json<Document> {
    Json(build())
}

/// The document.
#[must_use]
pub fn build() -> Document {
    Api::openapi()
}

/// The document as `docs/openapi.json` holds it.
#[must_use]
pub fn text() -> String {
    // The document is plain data; serde_json cannot fail on it.
    let mut text = serde_json::to_string_pretty(&build()).unwrap_or_default();
    text.push('\n');
    text
}
