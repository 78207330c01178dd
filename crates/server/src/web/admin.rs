//! Users, projects, tokens, queues, names of secrets and the audit log: for administrators.

use super::form::{Fields, Signed};
use super::session::Visitor;
use super::{Oops, Page, Shell, assets, render, show};
use crate::api::extract::{Body1, Name, Params};
use crate::api::types::{
    Effected, EventQuery, EventView, HostAccessBody, NewToken, PasswordBody, Problem, ProjectView,
    QueueAmounts, QueueBody, QueueTrial, QueueView, RoleBody, SecretView, TokenBody, TokenView, UserBody,
    UserView,
};
use crate::api::{Shared, events, keys, people, pool};
use crate::auth::rights::{Place, Right, Role, Scope};
use askama::Template;
use axum::extract::State as Extract;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use pond_core::model::HostAccess;
use pond_core::units::{Bytes, MilliCpu};
use serde::Deserialize;

/// Entries of the audit log on a page.
const ENTRIES: u32 = 100;

#[derive(Template)]
#[template(path = "admin.html")]
struct AdminPage {
    shell: Shell,
    users: Vec<UserView>,
    projects: Vec<ProjectView>,
    tokens: Vec<TokenView>,
    made: Option<NewToken>,
    queues: Vec<QueueView>,
    edited: Option<(String, QueueBody)>,
    trial: Option<QueueTrial>,
    secrets: Vec<SecretView>,
    wish: Wish,
    audit: Vec<EventView>,
    older: Option<String>,
}

/// What can be guaranteed and limited.
struct Field {
    /// The end of its name in the form.
    name: &'static str,
    /// For people.
    label: &'static str,
    /// An example.
    example: &'static str,
    /// What it holds, as it is typed.
    text: fn(&QueueAmounts) -> Option<String>,
}

impl Field {
    fn of(&self, amounts: &QueueAmounts) -> String {
        (self.text)(amounts).unwrap_or_default()
    }
}

const FIELDS: [Field; 5] = [
    Field {
        name: "cpu",
        label: "Cores",
        example: "16",
        text: |amounts| amounts.cpu_milli.map(|milli| MilliCpu(milli).to_string()),
    },
    Field {
        name: "memory",
        label: "Memory",
        example: "64GB",
        text: |amounts| amounts.memory_bytes.map(exact_bytes),
    },
    Field {
        name: "disk",
        label: "Disk",
        example: "1TB",
        text: |amounts| amounts.disk_bytes.map(exact_bytes),
    },
    Field {
        name: "gpu",
        label: "GPUs",
        example: "0.5",
        text: |amounts| amounts.device_thousandths.get("gpu").map(|milli| MilliCpu(*milli).to_string()),
    },
    Field {
        name: "running",
        label: "Running",
        example: "10",
        text: |amounts| amounts.running.map(|running| running.to_string()),
    },
];

impl AdminPage {
    const fn fields() -> &'static [Field] {
        &FIELDS
    }

    /// What a change does, for people.
    const fn deed(what: &Effected) -> &'static str {
        match what {
            Effected::Evicted => "is evicted and waits again",
            Effected::Shrinks => "gives ranks back",
            Effected::Freezes => "is frozen",
            Effected::HeldBack => "would start now and does not",
            Effected::Never => "can never start",
            Effected::Waits => "waits for another reason",
            Effected::Starts => "starts",
            Effected::Grows => "gets more ranks",
            Effected::Thaws => "runs again",
        }
    }

    const fn roles() -> [Role; 4] {
        Role::ALL
    }

    /// Roles in one line.
    fn places(user: &UserView) -> String {
        let place = |path: &String| if path.is_empty() { "the pool".to_owned() } else { path.clone() };
        let parts: Vec<String> =
            user.roles.iter().map(|(path, role)| format!("{role} of {}", place(path))).collect();
        if parts.is_empty() { "–".to_owned() } else { parts.join(", ") }
    }

    /// The settings that the form for queues holds at first.
    fn settings(&self) -> QueueBody {
        self.edited.as_ref().map(|(_, settings)| settings.clone()).unwrap_or_default()
    }

    /// What the form holds at first of what is open of the machine.
    fn host(&self) -> String {
        let own = self.edited.as_ref().and_then(|(_, settings)| settings.host.clone());
        own.map(|own| HostAccess::from(own).to_string()).unwrap_or_default()
    }

    /// What of the machine is open to a queue.
    fn opened(host: &HostAccessBody) -> String {
        HostAccess::from(host.clone()).to_string()
    }

    fn path(&self) -> &str {
        self.edited.as_ref().map_or("", |(path, _)| path)
    }

    /// Amounts of a queue in one line; a dash when there are none.
    fn amounts(amounts: &QueueAmounts) -> String {
        let mut parts = Vec::new();
        parts.extend(amounts.cpu_milli.filter(|&milli| milli > 0).map(show::cores));
        parts.extend(amounts.memory_bytes.filter(|&bytes| bytes > 0).map(show::bytes));
        parts.extend(
            amounts.disk_bytes.filter(|&bytes| bytes > 0).map(|bytes| format!("{} disk", show::bytes(bytes))),
        );
        let devices = amounts.device_thousandths.iter().filter(|(_, milli)| **milli > 0);
        parts.extend(devices.map(|(kind, milli)| format!("{} {kind}", show::tidy(*milli))));
        parts.extend(
            amounts.running.filter(|&running| running > 0).map(|running| format!("{running} running")),
        );
        if parts.is_empty() { "–".to_owned() } else { parts.join(" · ") }
    }
}

/// An amount in the largest unit in which it is whole, so that a form gives back what it was given.
fn exact_bytes(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")];
    let whole = units.into_iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    whole.map_or_else(|| format!("{bytes}B"), |(size, unit)| format!("{}{unit}", bytes / size))
}

/// Which queue's settings are in the form, and which entries of the audit log are shown.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Wish {
    queue: Option<String>,
    actor: String,
    from: String,
    kind: String,
    until: Option<u64>,
}

impl Wish {
    fn query(&self) -> EventQuery {
        let some = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
        EventQuery {
            actor: some(&self.actor),
            from: some(&self.from),
            kind: some(&self.kind),
            audit: Some(true),
            newest: Some(true),
            until: self.until,
            limit: Some(ENTRIES),
            ..EventQuery::default()
        }
    }

    /// The address of older entries.
    fn older(&self, until: u64) -> String {
        let pairs = [("actor", &self.actor), ("from", &self.from), ("kind", &self.kind)];
        let given = pairs.iter().filter(|(_, value)| !value.is_empty());
        let given: String = given.map(|(key, value)| format!("{key}={}&", show::in_query(value))).collect();
        format!("/admin?{given}until={until}#audit")
    }
}

/// What a page shows once, in answer to a form.
#[derive(Default)]
struct Once {
    /// A token with its secret.
    made: Option<NewToken>,
    /// What a change of a queue would do.
    trial: Option<QueueTrial>,
}

/// The page of administrators.
pub async fn page(
    Extract(shared): Extract<Shared>,
    visitor: Visitor,
    here: Uri,
    Params(wish): Params<Wish>,
) -> Page {
    show_page(shared, &visitor, &here, wish, Once::default()).await
}

async fn show_page(shared: Shared, visitor: &Visitor, here: &Uri, wish: Wish, once: Once) -> Page {
    let caller = || visitor.caller.clone();
    caller().must(Right::Operate, Place::Pool)?;
    let state = || Extract(shared.clone());
    let users = people::users(state(), caller()).await?.0;
    let projects = people::projects(state(), caller()).await?.0;
    let tokens = keys::tokens(state(), caller()).await?.0;
    let queues = pool::queues(state(), caller()).await?.0;
    let secrets = keys::secrets(state(), caller()).await?.0;
    let audit = events::page(&shared, &visitor.caller, wish.query()).await?;
    let older = audit.next.map(|until| wish.older(until));
    let audit = audit.events;
    let edited = wish.queue.as_ref().and_then(|path| queues.iter().find(|queue| queue.path == *path));
    let edited = edited.map(|queue| (queue.path.clone(), queue.settings.clone()));
    let mut shell = Shell::new(visitor, "Administration", "admin", here);
    // A refresh would take away what is shown once.
    let Once { made, trial } = once;
    shell.live = made.is_none() && trial.is_none();
    let edited = trial.as_ref().map(|trial| (trial.path.clone(), trial.after.clone())).or(edited);
    render(&AdminPage {
        shell,
        users,
        projects,
        tokens,
        made,
        queues,
        edited,
        trial,
        secrets,
        wish,
        audit,
        older,
    })
}

/// Adds a user, or changes one.
pub async fn set_user(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let Signed { visitor, fields } = form;
    let name = name(&fields, "name")?;
    let disabled = match fields.get("disabled") {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    };
    let rate = fields.number("rate")?.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX));
    let body = Body1(UserBody { disabled, rate });
    drop(people::set_user(Extract(shared), visitor.caller, Name(name), body).await?);
    Ok(Redirect::to("/admin#users").into_response())
}

/// Sets a user's password.
pub async fn set_password(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let Signed { visitor, fields } = form;
    let name = name(&fields, "name")?;
    let body = Body1(PasswordBody { new: fields.whole("password").to_owned(), current: None });
    people::set_password(Extract(shared), visitor.caller, Name(name), body).await?;
    Ok(Redirect::to("/admin#users").into_response())
}

/// Gives or takes a role.
pub async fn set_role(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let Signed { visitor, fields } = form;
    let user = name(&fields, "user")?;
    let role = role(&fields)?;
    let body = Body1(RoleBody { user, project: fields.get("project").to_owned(), role });
    drop(people::set_role(Extract(shared), visitor.caller, body).await?);
    Ok(Redirect::to("/admin#projects").into_response())
}

/// The role of a form; none chosen, none.
fn role(fields: &Fields) -> Result<Option<Role>, Problem> {
    match fields.get("role") {
        "" => Ok(None),
        word => Role::named(word).map(Some).ok_or_else(|| bad_field("role", "is none that there is")),
    }
}

/// Makes a token and shows its secret this one time.
pub async fn make_token(Extract(shared): Extract<Shared>, form: Signed) -> Page {
    const DAY_MS: u64 = 86_400_000;
    let Signed { visitor, fields } = form;
    let scope =
        Scope { role: role(&fields)?.unwrap_or(Role::Admin), project: fields.get("project").to_owned() };
    let user = Some(fields.get("user").to_owned()).filter(|user| !user.is_empty());
    let valid_ms = fields.number("days")?.map(|days| days.saturating_mul(DAY_MS));
    let body = TokenBody { user, scope, valid_ms };
    let name = name(&fields, "name")?;
    let made =
        keys::set_token(Extract(shared.clone()), visitor.caller.clone(), Name(name), Body1(body)).await?;
    let once = Once { made: Some(made.1.0), ..Once::default() };
    show_page(shared, &visitor, &Uri::from_static("/admin"), Wish::default(), once).await
}

fn name(fields: &Fields, field: &str) -> Result<String, Problem> {
    let name = fields.get(field);
    if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
        let message = format!("{field}: 1 to 200 characters that can be seen");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_name", message).at(field));
    }
    Ok(name.to_owned())
}

/// Revokes a token, and with it the sessions that began with it.
pub async fn remove_token(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let name = name(&form.fields, "name")?;
    keys::remove_token(Extract(shared), form.visitor.caller, Name(name)).await?;
    Ok(Redirect::to("/admin").into_response())
}

/// Makes or changes a queue.
pub async fn set_queue(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let Signed { visitor, fields } = form;
    let (path, body) = wanted(&fields)?;
    drop(pool::set_queue(Extract(shared), visitor.caller, Name(path), Body1(body)).await?);
    Ok(Redirect::to("/admin#queues").into_response())
}

/// Shows what that would do, and does nothing.
pub async fn try_queue(Extract(shared): Extract<Shared>, form: Signed) -> Page {
    let Signed { visitor, fields } = form;
    let (path, body) = wanted(&fields)?;
    let tried =
        pool::try_queue(Extract(shared.clone()), visitor.caller.clone(), Name(path), Body1(body)).await?.0;
    let once = Once { trial: Some(tried), ..Once::default() };
    show_page(shared, &visitor, &Uri::from_static("/admin"), Wish::default(), once).await
}

/// The queue of a form.
fn wanted(fields: &Fields) -> Result<(String, QueueBody), Problem> {
    let path = name(fields, "path")?;
    let weight = fields.number("weight")?.unwrap_or(100);
    let weight = u32::try_from(weight).map_err(|_why| bad_field("weight", "is too large"))?;
    let body = QueueBody {
        guarantee: amounts(fields, "guarantee")?,
        weight,
        limit: amounts(fields, "limit")?,
        borrow: fields.get("borrow") == "on",
        oversubscribe: fields.get("oversubscribe") == "on",
        host: host(fields.get("host"))?,
    };
    Ok((path, body))
}

/// What of the machine is open, as it is typed; nothing is what the queue above says.
fn host(text: &str) -> Result<Option<HostAccessBody>, Problem> {
    let text = text.trim();
    let parsed = (!text.is_empty()).then(|| text.parse::<HostAccess>()).transpose();
    parsed.map(|access| access.map(Into::into)).map_err(|why| bad_field("host", &why))
}

fn bad_field(field: &str, what: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_field", format!("{field} {what}")).at(field)
}

/// The guarantee or limit of a form: `4` or `0.5` cores and devices, `32GB` of memory and disk.
fn amounts(fields: &Fields, of: &str) -> Result<QueueAmounts, Problem> {
    let read = |what: &str| {
        let field = format!("{of}_{what}");
        let text = fields.get(&field).to_owned();
        (!text.is_empty()).then_some((field, text))
    };
    let milli = |what: &str| {
        read(what).map(|(field, text)| {
            text.parse::<MilliCpu>()
                .map(|milli| milli.0)
                .map_err(|why| bad_field(&field, &format!("`{text}`: {why}")))
        })
    };
    let bytes = |what: &str| {
        read(what).map(|(field, text)| {
            text.parse::<Bytes>()
                .map(|bytes| bytes.0)
                .map_err(|why| bad_field(&field, &format!("`{text}`: {why}")))
        })
    };
    let gpu = milli("gpu").transpose()?;
    Ok(QueueAmounts {
        cpu_milli: milli("cpu").transpose()?,
        memory_bytes: bytes("memory").transpose()?,
        disk_bytes: bytes("disk").transpose()?,
        device_thousandths: gpu.into_iter().map(|amount| ("gpu".to_owned(), amount)).collect(),
        running: fields.number(&format!("{of}_running"))?,
    })
}

/// Removes an empty queue.
pub async fn remove_queue(Extract(shared): Extract<Shared>, form: Signed) -> Result<Response, Oops> {
    let path = name(&form.fields, "path")?;
    pool::remove_queue(Extract(shared), form.visitor.caller, Name(path)).await?;
    Ok(Redirect::to("/admin#queues").into_response())
}
