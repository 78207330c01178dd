//! `pond secret` and `pond token`: what must not be seen twice.

use super::Ctx;
use crate::args::{SecretVerb, TokenVerb};
use crate::client::encode;
use crate::error::{CliError, Done, codes};
use crate::out::{Column, Table, moment};
use pond_server::api::types::{NewToken, SecretBody, SecretView, TokenBody, TokenView};
use std::io::{self, IsTerminal, Read};
use std::path::Path;

/// `pond secret ...`.
///
/// # Errors
/// No pool, a refusal, or no value to read.
pub fn secret(ctx: &Ctx, verb: &SecretVerb) -> Done {
    let client = ctx.client()?;
    let path = |name: &str| format!("/secrets/{}", encode(name));
    match verb {
        SecretVerb::Set { name, from } => {
            let body = SecretBody { value: value(from.as_deref())? };
            let view: SecretView = client.put(&path(name), &body)?;
            if ctx.out.format.is_data() {
                ctx.out.value(&view)?;
            } else {
                ctx.out.line(&format!("{}: set", view.name))?;
            }
        }
        SecretVerb::Ls => {
            let views: Vec<SecretView> = client.get("/secrets", &())?;
            if ctx.out.format.is_data() {
                ctx.out.value(&views)?;
            } else {
                let mut table = Table::new(vec![Column::left("NAME"), Column::left("SET")]);
                for view in &views {
                    table.row(vec![(&view.name).into(), moment(view.updated_ms).into()]);
                }
                ctx.out.table(&table)?;
            }
        }
        SecretVerb::Rm { name } => {
            client.delete(&path(name))?;
            ctx.out.said(&format!("{name}: removed"))?;
        }
    }
    Ok(codes::OK)
}

/// The value, never from the command line, where other processes could read it. One newline at the end is dropped.
fn value(from: Option<&Path>) -> Result<String, CliError> {
    let mut text = match from {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|why| CliError::io(format!("reading {}", path.display()), why))?,
        None if io::stdin().is_terminal() => hidden()?,
        None => {
            let mut text = String::new();
            io::stdin()
                .take(1 << 20)
                .read_to_string(&mut text)
                .map_err(|why| CliError::io("reading the value from standard input", why))?;
            text
        }
    };
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// A line typed without being shown.
fn hidden() -> Result<String, CliError> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let failed = |why: io::Error| CliError::io("reading the value", why);
    let before = tcgetattr(io::stdin()).map_err(|why| failed(why.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Now, &silent).map_err(|why| failed(why.into()))?;
    eprint!("value: ");
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    tcsetattr(io::stdin(), OptionalActions::Now, &before).map_err(|why| failed(why.into()))?;
    eprintln!();
    read.map_err(failed)?;
    Ok(line)
}

/// `pond token ...`.
///
/// # Errors
/// No pool, or it refuses.
pub fn token(ctx: &Ctx, verb: &TokenVerb) -> Done {
    let client = ctx.client()?;
    let path = |name: &str| format!("/tokens/{}", encode(name));
    match verb {
        TokenVerb::Add { name, user, admin } => {
            let body = TokenBody { user: user.clone().unwrap_or_else(|| name.clone()), admin: *admin };
            let token: NewToken = client.put(&path(name), &body)?;
            if ctx.out.format.is_data() {
                ctx.out.value(&token)?;
            } else {
                ctx.out.note("shown once; give it to `pond` with --token or POND_TOKEN:");
                ctx.out.line(&token.secret)?;
            }
        }
        TokenVerb::Ls => {
            let views: Vec<TokenView> = client.get("/tokens", &())?;
            if ctx.out.format.is_data() {
                ctx.out.value(&views)?;
            } else {
                ctx.out.table(&tokens(&views))?;
            }
        }
        TokenVerb::Rm { name } => {
            client.delete(&path(name))?;
            ctx.out.said(&format!("{name}: removed"))?;
        }
    }
    Ok(codes::OK)
}

fn tokens(views: &[TokenView]) -> Table {
    let mut table = Table::new(vec![
        Column::left("NAME"),
        Column::left("USER"),
        Column::left("ADMIN"),
        Column::left("MADE"),
    ]);
    for view in views {
        let admin = if view.admin { "yes" } else { "no" };
        table.row(vec![
            (&view.name).into(),
            (&view.user).into(),
            admin.into(),
            moment(view.created_ms).into(),
        ]);
    }
    table
}
