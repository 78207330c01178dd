//! Users, their passwords and roles, and projects: queues seen as places where people have roles.

use super::extract::{Body1, Name, Params, short};
use super::guard::Caller;
use super::types::{PasswordBody, Problem, ProjectView, RoleBody, RoleQuery, RoleView, UserBody, UserView};
use super::{Shared, pool};
use crate::auth::password::{self, PasswordError};
use crate::auth::people::{Origin, PeopleChange, User};
use crate::auth::rights::{Grants, Place, Right, Scope};
use crate::clock;
use crate::pool::view::machine as view;
use crate::store::Write;
use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use pond_core::ids::UserName;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// There is nobody of this name.
#[must_use]
pub fn no_such_user(name: &str) -> Problem {
    Problem::not_found("no_such_user", format!("there is no user `{}`", short(name)))
        .with_next("add them: `pond user add NAME`")
}

fn shown(user: &User, roles: &Grants) -> UserView {
    UserView {
        name: user.name.clone(),
        origin: match &user.origin {
            Origin::Local => "local".to_owned(),
            Origin::Provider { issuer, .. } => issuer.clone(),
        },
        password: user.password.is_some(),
        disabled: user.disabled,
        rate: user.rate,
        roles: roles.clone(),
        created_ms: user.created_ms,
    }
}

/// Everybody but the pool's owner.
#[utoipa::path(get, path = "/api/v1/users", tag = "people", responses((status = 200, body = Vec<UserView>)))]
pub async fn users(Extract(shared): Extract<Shared>, caller: Caller) -> Result<Json<Vec<UserView>>, Problem> {
    caller.must(Right::Operate, Place::Pool)?;
    Ok(Json(shared.gate.people.users().iter().map(|(user, roles)| shown(user, roles)).collect()))
}

fn find(shared: &Shared, name: &str) -> Result<UserView, Problem> {
    let found = shared.gate.people.users().into_iter().find(|(user, _)| user.name == name);
    found.map(|(user, roles)| shown(&user, &roles)).ok_or_else(|| no_such_user(name))
}

/// A user: oneself, or anybody for those who administer the pool.
#[utoipa::path(get, path = "/api/v1/users/{name}", tag = "people", params(("name" = String, Path)),
    responses((status = 200, body = UserView)))]
pub async fn user(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
) -> Result<Json<UserView>, Problem> {
    if caller.principal.user.as_str() != name {
        caller.must(Right::Operate, Place::Pool)?;
    }
    find(&shared, &name).map(Json)
}

const NAME_BYTES: usize = 100;

fn goes_into_a_name(c: char) -> bool {
    c.is_alphanumeric() || "._-@+".contains(c)
}

/// A name that somebody has elsewhere, as near to it as a user's name can be: `DOMAIN\Zoë O'Brien` gives `DOMAIN-Zoë-O-Brien`.
#[must_use]
pub fn fitting_name(theirs: &str) -> String {
    let words = theirs.split(|c| !goes_into_a_name(c)).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    let fits = |(at, letter): &(usize, char)| at + letter.len_utf8() <= NAME_BYTES;
    name.char_indices().take_while(fits).map(|(_, letter)| letter).collect()
}

/// Names stand in job ids of keys, in the audit log and in shells; `pool` and `node:` are actors of the audit log already.
pub fn check_name(name: &str) -> Result<(), Problem> {
    if (1..=NAME_BYTES).contains(&name.len()) && name.chars().all(goes_into_a_name) && name != "pool" {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "bad_name",
        "a user's name has letters, digits and any of . _ - @ +, at most 100 bytes, and is not `pool`",
    )
    .at("name"))
}

/// Add a user, or change one. A new one has no role and no password.
#[utoipa::path(put, path = "/api/v1/users/{name}", tag = "people", params(("name" = String, Path)),
    request_body = UserBody, responses((status = 200, body = UserView)))]
pub async fn set_user(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
    Body1(body): Body1<UserBody>,
) -> Result<Json<UserView>, Problem> {
    caller.must(Right::Operate, Place::Pool)?;
    check_name(&name)?;
    let before = shared.gate.people.user(&name);
    if body.disabled == Some(true) && shared.gate.people.owner().as_str() == name {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "owner",
            format!("`{name}` owns the pool and cannot be disabled"),
        ));
    }
    let added = before.is_none();
    let mut user = before.unwrap_or_else(|| User {
        name: name.clone(),
        origin: Origin::Local,
        password: None,
        disabled: false,
        rate: None,
        created_ms: clock::wall_ms(),
    });
    user.disabled = body.disabled.unwrap_or(user.disabled);
    user.rate = body.rate.map_or(user.rate, |rate| (rate > 0).then_some(rate));
    let (kind, text) = match (added, body.disabled) {
        (true, _) => ("user.added", format!("user {name} was added")),
        (false, Some(true)) => ("user.disabled", format!("user {name} was disabled")),
        (false, Some(false)) => ("user.enabled", format!("user {name} was enabled")),
        (false, None) => ("user.changed", format!("user {name} was changed")),
    };
    let write = Write::People(PeopleChange::User(user));
    shared.handle.change(caller.actor(), write, kind, text).await?;
    find(&shared, &name).map(Json)
}

/// Set a password: one's own, giving the one before, or anybody's for those who administer the pool. Ends the sessions that the
/// one before began.
#[utoipa::path(put, path = "/api/v1/users/{name}/password", tag = "people", params(("name" = String, Path)),
    request_body = PasswordBody, responses((status = 204)))]
pub async fn set_password(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
    Body1(body): Body1<PasswordBody>,
) -> Result<StatusCode, Problem> {
    let operates = caller.may(Right::Operate, Place::Pool);
    if caller.principal.user.as_str() != name {
        caller.must(Right::Operate, Place::Pool)?;
    }
    let user = shared.gate.people.user(&name);
    let mut user = user.ok_or_else(|| no_such_user(&name))?;
    // A first password takes no other before it, and what it opens has no bounds.
    if user.password.is_none() && caller.principal.scope != Scope::default() {
        return Err(Problem::forbidden("a token that allows less than its user sets no first password"));
    }
    if user.origin != Origin::Local {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "not_local",
            format!("`{name}` logs in through their identity provider"),
        ));
    }
    if !operates && user.password.is_some() {
        let tries = &shared.web.tries;
        may_try(tries.begin(Some(&name), &caller.from, Instant::now()))?;
        if !password::is(body.current.unwrap_or_default(), user.password.clone()).await {
            return Err(Problem::forbidden("the password before is another").at("current"));
        }
        tries.right(Some(&name), &caller.from);
    }
    user.password = Some(password::keep(body.new).await.map_err(|why| match why {
        PasswordError::NotNow => Problem::unavailable("busy", why.to_string()),
        _ => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_password", why.to_string()).at("new"),
    })?);
    let text = format!("the password of {name} was set");
    let write = Write::People(PeopleChange::User(user));
    shared.handle.change(caller.actor(), write, "user.password", text).await?;
    shared.web.end_all_of(&shared.handle, &caller, &UserName::from(name.as_str())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// # Errors
/// 429 when there is a wait.
pub fn may_try(wait: Duration) -> Result<(), Problem> {
    if wait.is_zero() {
        return Ok(());
    }
    let seconds = wait.as_secs() + 1;
    Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tries", "too many wrong tries")
        .with_next(format!("wait {seconds} s")))
}

/// Roles that were given, in the projects that the caller sees, and the caller's own.
#[utoipa::path(get, path = "/api/v1/roles", tag = "people", params(RoleQuery), responses((status = 200, body = Vec<RoleView>)))]
pub async fn roles(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Params(query): Params<RoleQuery>,
) -> Result<Json<Vec<RoleView>>, Problem> {
    let rows = shared.gate.people.roles().into_iter();
    let wanted = rows.filter(|(user, project, ..)| {
        query.user.as_ref().is_none_or(|wanted| wanted == user)
            && query.project.as_ref().is_none_or(|wanted| wanted == project)
            && (caller.principal.user.as_str() == user || caller.may(Right::See, Place::Queue(project)))
    });
    let view = |(user, project, source, role): (String, String, crate::auth::people::Source, _)| RoleView {
        user,
        project,
        role,
        source: source.as_str().to_owned(),
    };
    Ok(Json(wanted.map(view).collect()))
}

/// Give a role in a project, or take it away. Roles that a group of the identity provider gives are its own to take.
#[utoipa::path(put, path = "/api/v1/roles", tag = "people", request_body = RoleBody,
    responses((status = 200, body = Vec<RoleView>)))]
pub async fn set_role(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Body1(body): Body1<RoleBody>,
) -> Result<Json<Vec<RoleView>>, Problem> {
    let RoleBody { user, project, role } = body;
    caller.must(Right::People, Place::Queue(&project))?;
    if !project.is_empty() {
        pool::find_queue(&shared, project.clone()).await?;
    }
    if shared.gate.people.user(&user).is_none() {
        return Err(match shared.gate.people.knows(&user) {
            true => Problem::new(
                StatusCode::CONFLICT,
                "owner",
                format!("`{user}` owns the pool: their role cannot be changed"),
            ),
            false => no_such_user(&user),
        });
    }
    let place = if project.is_empty() { "the pool".to_owned() } else { project.clone() };
    let (kind, text) = match role {
        Some(role) => ("role.given", format!("{user} was made {role} of {place}")),
        None => ("role.taken", format!("{user} has no role of their own in {place} any more")),
    };
    let change = PeopleChange::Role { user: user.clone(), queue: project, role };
    shared.handle.change(caller.actor(), Write::People(change), kind, text).await?;
    roles(Extract(shared), caller, Params(RoleQuery { user: Some(user), project: None })).await
}

/// The projects that the caller sees, with who has a role there.
#[utoipa::path(get, path = "/api/v1/projects", tag = "people", responses((status = 200, body = Vec<ProjectView>)))]
pub async fn projects(
    Extract(shared): Extract<Shared>,
    caller: Caller,
) -> Result<Json<Vec<ProjectView>>, Problem> {
    let who = &caller.principal;
    let mut members: BTreeMap<String, Grants> = BTreeMap::new();
    for (user, project, _, role) in shared.gate.people.roles() {
        let kept = members.entry(project).or_default().entry(user).or_insert(role);
        *kept = (*kept).max(role);
    }
    let paths = shared.handle.look(view::queues).await?.into_iter().map(|queue| queue.path);
    let seen = paths.filter(|path| who.sees_way_to(path));
    let project = |path: String| {
        let role = who.role_at(&path);
        // Of a queue that is only on the way, its people are nobody's business.
        let members = role.and_then(|_| members.get(&path).cloned()).unwrap_or_default();
        ProjectView { path, role, members }
    };
    Ok(Json(seen.map(project).collect()))
}
