//! `pond secret`: what must not be seen twice.

use super::Ctx;
use crate::args::SecretVerb;
use crate::client::encode;
use crate::error::{CliError, Done, codes};
use crate::out::{Column, Table, moment};
use pond_server::api::types::{SecretBody, SecretView};
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
            let body = SecretBody { value: hidden_value("value: ", from.as_deref())? };
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
pub(super) fn hidden_value(prompt: &str, from: Option<&Path>) -> Result<String, CliError> {
    let mut text = match from {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|why| CliError::io(format!("reading {}", path.display()), why))?,
        None if io::stdin().is_terminal() => hidden(prompt)?,
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
fn hidden(prompt: &str) -> Result<String, CliError> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let failed = |why: io::Error| CliError::io("reading the value", why);
    let before = tcgetattr(io::stdin()).map_err(|why| failed(why.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Now, &silent).map_err(|why| failed(why.into()))?;
    eprint!("{prompt}");
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    tcsetattr(io::stdin(), OptionalActions::Now, &before).map_err(|why| failed(why.into()))?;
    eprintln!();
    read.map_err(failed)?;
    Ok(line)
}
