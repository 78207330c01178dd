//! `pond user`, `pond project` and `pond token`: who may do what.

use super::Ctx;
use super::queue::path as queue_path;
use super::secret::hidden_value;
use crate::args::{ProjectVerb, TokenFlags, TokenVerb, UserFlags, UserVerb};
use crate::client::{Client, encode};
use crate::error::{CliError, Done, codes};
use crate::out::{Column, Table, moment};
use pond_core::units::Millis;
use pond_server::api::types::{
    NewToken, PasswordBody, ProjectView, QueueBody, QueueView, Role, RoleBody, RoleQuery, RoleView, Scope,
    TokenBody, TokenView, UserBody, UserView,
};

/// `pond user ...`.
///
/// # Errors
/// No pool, or it refuses.
pub fn user(ctx: &Ctx, verb: &UserVerb) -> Done {
    let client = ctx.client()?;
    let set = |name: &str, body: UserBody| client.put::<UserView>(&user_path(name), &body);
    match verb {
        UserVerb::Add { name, flags } => add(ctx, &client, name, flags)?,
        UserVerb::List => {
            let views: Vec<UserView> = client.get("/users", &())?;
            if ctx.out.format.is_data() {
                ctx.out.value(&views)?;
            } else {
                ctx.out.table(&users(&views))?;
            }
        }
        UserVerb::Disable { name } => {
            set(name, UserBody { disabled: Some(true), ..UserBody::default() })?;
            ctx.out.said(&format!("{name}: disabled"))?;
        }
        UserVerb::Enable { name } => {
            set(name, UserBody { disabled: Some(false), ..UserBody::default() })?;
            ctx.out.said(&format!("{name}: enabled"))?;
        }
        UserVerb::Rate { name, rate } => {
            set(name, UserBody { rate: Some(*rate), ..UserBody::default() })?;
            ctx.out.said(&format!("{name}: rate set"))?;
        }
        UserVerb::Password { name, from } => {
            let body = PasswordBody { new: hidden_value("new password: ", from.as_deref())?, current: None };
            let path = format!("{}/password", user_path(name));
            let set = client.put::<()>(&path, &body);
            match set {
                // Their own, and one is set already: the one before has to be shown.
                Err(CliError::Refused(problem)) if problem.place.as_deref() == Some("current") => {
                    let current = Some(hidden_value("password before: ", None)?);
                    client.put::<()>(&path, &PasswordBody { current, ..body })?;
                }
                done => done?,
            }
            ctx.out.said(&format!("{name}: password set"))?;
        }
    }
    Ok(codes::OK)
}

fn user_path(name: &str) -> String {
    format!("/users/{}", encode(name))
}

fn add(ctx: &Ctx, client: &Client, name: &str, flags: &UserFlags) -> Result<(), CliError> {
    let there = client.get::<UserView>(&user_path(name), &());
    if there.is_ok() {
        return Err(CliError::usage(format!("there is a user `{name}` already")));
    }
    let body = UserBody { rate: flags.rate, disabled: None };
    let mut view: UserView = client.put(&user_path(name), &body)?;
    if let Some(role) = flags.role {
        let project = flags.project.clone().unwrap_or_default();
        let role = Some(Role::from(role));
        client.put::<Vec<RoleView>>("/roles", &RoleBody { user: name.to_owned(), project, role })?;
        view = client.get(&user_path(name), &())?;
    }
    if ctx.out.format.is_data() { ctx.out.value(&view) } else { ctx.out.line(&format!("{name}: added")) }
}

/// Roles in one line.
fn places(view: &UserView) -> String {
    let part = |(path, role): (&String, &Role)| format!("{role}@{}", shown(path));
    let parts: Vec<String> = view.roles.iter().map(part).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(",") }
}

/// The pool is `/` on the command line, and the empty path elsewhere.
fn shown(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

fn path_of(project: &str) -> String {
    project.trim_matches('/').to_owned()
}

fn users(views: &[UserView]) -> Table {
    let mut table = Table::new(vec![
        Column::left("NAME"),
        Column::left("FROM"),
        Column::left("ROLES"),
        Column::left("PASSWORD"),
        Column::left("STATE"),
        Column::right("RATE").wide(),
        Column::left("ADDED"),
    ]);
    for view in views {
        table.row(vec![
            (&view.name).into(),
            (&view.origin).into(),
            places(view).into(),
            if view.password { "set" } else { "-" }.into(),
            if view.disabled { "disabled" } else { "active" }.into(),
            view.rate.map_or_else(|| "-".to_owned(), |rate| rate.to_string()).into(),
            moment(view.created_ms).into(),
        ]);
    }
    table
}

/// `pond project ...`.
///
/// # Errors
/// No pool, no such project, or a refusal.
pub fn project(ctx: &Ctx, verb: &ProjectVerb) -> Done {
    let client = ctx.client()?;
    let give = |project: &str, user: &str, role: Option<Role>| {
        let body = RoleBody { user: user.to_owned(), project: path_of(project), role };
        client.put::<Vec<RoleView>>("/roles", &body)
    };
    match verb {
        ProjectVerb::Ls => {
            let views: Vec<ProjectView> = client.get("/projects", &())?;
            if ctx.out.format.is_data() {
                ctx.out.value(&views)?;
            } else {
                ctx.out.table(&projects(&views))?;
            }
        }
        ProjectVerb::Show { project } => show(ctx, &client, &path_of(project))?,
        ProjectVerb::Add { project, admin } => {
            let there = client.get::<QueueView>(&queue_path(project), &());
            if matches!(&there, Err(CliError::Refused(problem)) if problem.status == 404) {
                client.put::<QueueView>(&queue_path(project), &QueueBody::default())?;
            } else {
                there?;
            }
            for user in admin {
                give(project, user, Some(Role::Admin))?;
            }
            ctx.out.said(&format!("{project}: added"))?;
        }
        ProjectVerb::Grant { project, user, role } => {
            let role = Role::from(*role);
            give(project, user, Some(role))?;
            ctx.out.said(&format!("{user}: {role} of {project}"))?;
        }
        ProjectVerb::Revoke { project, user } => {
            give(project, user, None)?;
            ctx.out.said(&format!("{user}: no role in {project}"))?;
        }
        ProjectVerb::Rm { project } => {
            client.delete(&queue_path(project))?;
            ctx.out.said(&format!("{project}: removed"))?;
        }
    }
    Ok(codes::OK)
}

/// Who has a role in a project, and where it was given.
fn show(ctx: &Ctx, client: &Client, path: &str) -> Result<(), CliError> {
    let roles: Vec<RoleView> = client.get("/roles", &RoleQuery::default())?;
    let above = |role: &RoleView| {
        role.project.is_empty()
            || path == role.project
            || path.strip_prefix(&role.project).is_some_and(|rest| rest.starts_with('/'))
    };
    let roles: Vec<RoleView> = roles.into_iter().filter(above).collect();
    if ctx.out.format.is_data() {
        return ctx.out.value(&roles);
    }
    let mut table = Table::new(vec![
        Column::left("USER"),
        Column::left("ROLE"),
        Column::left("GIVEN IN"),
        Column::left("BY"),
    ]);
    for role in &roles {
        let given = shown(&role.project).to_owned();
        table.row(vec![(&role.user).into(), role.role.as_str().into(), given.into(), (&role.source).into()]);
    }
    ctx.out.table(&table)
}

fn projects(views: &[ProjectView]) -> Table {
    let mut table =
        Table::new(vec![Column::left("PROJECT"), Column::left("YOU ARE"), Column::left("PEOPLE")]);
    for view in views {
        let people: Vec<String> = view.members.iter().map(|(user, role)| format!("{user} {role}")).collect();
        table.row(vec![
            shown(&view.path).to_owned().into(),
            view.role.map_or("-", Role::as_str).into(),
            if people.is_empty() { "-".to_owned() } else { people.join(", ") }.into(),
        ]);
    }
    table
}

/// `pond token ...`.
///
/// # Errors
/// No pool, or it refuses.
pub fn token(ctx: &Ctx, verb: &TokenVerb) -> Done {
    let client = ctx.client()?;
    let path = |name: &str| format!("/tokens/{}", encode(name));
    match verb {
        TokenVerb::Create { name, flags } => {
            let token: NewToken = client.put(&path(name), &wanted(flags)?)?;
            if ctx.out.format.is_data() {
                ctx.out.value(&token)?;
            } else {
                ctx.out.note("shown once; give it to `pond` with --token or POND_TOKEN:");
                ctx.out.line(&token.secret)?;
            }
        }
        TokenVerb::List => {
            let views: Vec<TokenView> = client.get("/tokens", &())?;
            if ctx.out.format.is_data() {
                ctx.out.value(&views)?;
            } else {
                ctx.out.table(&tokens(&views))?;
            }
        }
        TokenVerb::Revoke { name } => {
            client.delete(&path(name))?;
            ctx.out.said(&format!("{name}: revoked"))?;
        }
    }
    Ok(codes::OK)
}

fn wanted(flags: &TokenFlags) -> Result<TokenBody, CliError> {
    let valid = flags.expires.as_deref().map(|text| {
        text.parse::<Millis>().map_err(|why| CliError::usage(format!("--expires `{text}`: {why}")))
    });
    Ok(TokenBody {
        user: flags.user.clone(),
        scope: Scope {
            role: flags.role.map_or(Role::Admin, Role::from),
            project: flags.project.as_deref().map(path_of).unwrap_or_default(),
        },
        valid_ms: valid.transpose()?.map(|valid| valid.0),
    })
}

fn tokens(views: &[TokenView]) -> Table {
    let mut table = Table::new(vec![
        Column::left("NAME"),
        Column::left("USER"),
        Column::left("AT MOST"),
        Column::left("IN"),
        Column::left("MADE"),
        Column::left("ENDS"),
    ]);
    for view in views {
        table.row(vec![
            (&view.name).into(),
            (&view.user).into(),
            view.scope.role.as_str().into(),
            shown(&view.scope.project).to_owned().into(),
            moment(view.created_ms).into(),
            view.expires_ms.map_or_else(|| "never".to_owned(), moment).into(),
        ]);
    }
    table
}
