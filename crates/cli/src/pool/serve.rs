//! `pond up` in the foreground: opens the state folder, the agent, the server, and waits to be told to stop.
//!
//! Ctrl-C ends the pool and what runs in it, as `pond down` does. SIGTERM ends the pool alone: its tasks go on
//! and the next one takes them over, so that a service manager may restart it.

use super::glue::Local;
use super::{limits_of_this_user, state_dir};
use crate::args::{PastShareArg, UpArgs};
use crate::error::{CliError, Done, codes};
use crate::term::Signals;
use crate::verbs::Ctx;
use pond_core::event::PastShare;
use pond_core::ids::{NodeName, UserName};
use pond_node::agent::{self, Agent};
use pond_node::probe::Offer;
use pond_server::{Access, Config, Provider, ServerError, TlsFiles};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc;

pub(super) fn serve(ctx: &Ctx, args: &UpArgs) -> Done {
    if args.daemon {
        // Fails when we already lead a session: then there is nobody to part from.
        rustix::process::setsid().map(drop).unwrap_or_default();
        // Somebody may wait for the end of a pipe that only we still hold.
        pond_node::launcher::sys::close_inherited();
    }
    let mut signals =
        Signals::catch(&[SIGINT, SIGTERM, SIGHUP]).map_err(|why| CliError::io("catching signals", why))?;
    let dir = state_dir(&ctx.globals);
    let opened = pond_server::open(config(&dir, args)?).map_err(|why| failed(&why))?;
    let (send, reports) = mpsc::channel();
    let agent = Agent::open(
        agent::Config {
            node: NodeName::from(args.node_name.clone().unwrap_or_else(host_name)),
            offer: offer(args)?,
            secrets: opened.resolver(),
            past_share: match args.past_share {
                PastShareArg::Flag => PastShare::Flag,
                PastShareArg::Throttle => PastShare::Throttle,
                PastShareArg::End => PastShare::End,
            },
            ..agent::Config::new(opened.state_dir(), "")
        },
        send,
    )
    .map_err(|why| CliError::Pool { what: why.to_string(), next: None })?;
    let agent: Arc<dyn Access> = Arc::new(Local(agent));
    let server = opened.start(agent.clone(), reports).map_err(|why| {
        // What runs is left to the next server, and what was made for nobody goes again.
        agent.shutdown(true);
        failed(&why)
    })?;
    if ctx.out.format.is_data() {
        ctx.out.entry(&serde_json::json!({ "address": server.url(), "pid": std::process::id() }))?;
    } else {
        ctx.out.line(server.url())?;
    }
    if !args.daemon {
        limits_of_this_user(ctx);
        ctx.out.note(
            "serving; Ctrl-C ends the pool and what runs in it; `pond open` gives a link to its web page",
        );
    }
    let (handle, daemon) = (server.handle(), args.daemon);
    std::thread::spawn(move || {
        loop {
            for signal in signals.wait(None) {
                // The terminal that started a pool in the background may go; the pool stays.
                if !(daemon && signal == SIGHUP) {
                    handle.stop(signal != SIGINT);
                }
            }
        }
    });
    server.wait().map_err(|why| failed(&why))?;
    Ok(codes::OK)
}

fn failed(why: &ServerError) -> CliError {
    CliError::Pool { what: why.to_string(), next: None }
}

fn config(dir: &Path, args: &UpArgs) -> Result<Config, CliError> {
    let mut config = Config::new(dir);
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    config.tls =
        args.cert.clone().zip(args.key.clone()).map(|(certificate, key)| TlsFiles { certificate, key });
    config.user = UserName::from(user_name());
    config.hosts = vec![host_name()];
    let provider = args.oidc.as_deref().map(Provider::read).transpose();
    config.provider = provider.map_err(|why| failed(&why.into()))?;
    Ok(config)
}

/// How much of the machine is given out.
fn offer(args: &UpArgs) -> Result<Offer, CliError> {
    fn amount<T: FromStr<Err: Display>>(flag: &str, text: &str) -> Result<T, CliError> {
        text.parse().map_err(|why| CliError::usage(format!("{flag}: {why}")))
    }
    let bytes = |flag, text: &Option<String>| text.as_ref().map(|text| amount(flag, text)).transpose();
    Ok(Offer {
        reserved_cpu: amount("--reserve-cpu", &args.reserve_cpu)?,
        reserved_memory: bytes("--reserve-memory", &args.reserve_memory)?,
        disk: bytes("--disk", &args.disk)?,
    })
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// The name of the user we run as, for the pool's own token.
fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        (fields.nth(1)? == uid).then_some(name)
    };
    passwd.lines().find_map(of_line).unwrap_or(uid)
}
