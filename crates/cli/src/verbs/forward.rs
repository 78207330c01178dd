//! `pond forward`: ports of this machine that lead into a task. A thread a connection; each is a WebSocket.

use super::Ctx;
use crate::args::ForwardArgs;
use crate::client::{Client, Got, Socket, encode};
use crate::error::{CliError, Done, codes};
use crate::refs::{Careful, find};
use crate::term::Signals;
use pond_server::api::types::ForwardQuery;
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Connections at once, over all ports.
const MOST: usize = 512;

/// `pond forward`.
///
/// # Errors
/// No pool, no such job, or a port that is taken.
pub fn forward(ctx: &Ctx, args: &ForwardArgs) -> Done {
    let client = ctx.client()?;
    let job = find(&client, &args.job, Careful::No)?;
    let path = format!("/tasks/{}/forward", encode(&job.task().to_string()));
    let ports: Vec<(u16, u16)> = args.ports.iter().map(|text| ports(text)).collect::<Result<_, _>>()?;
    for (_, inside) in &ports {
        ask(&client, &path, *inside)?;
    }
    let mut signals =
        Signals::catch(&[SIGINT, SIGTERM, SIGHUP]).map_err(|why| CliError::io("catching Ctrl-C", why))?;
    let open = Arc::new(AtomicUsize::new(0));
    for (here, inside) in ports {
        let listener = TcpListener::bind((args.bind, here))
            .map_err(|why| CliError::io(format!("listening on {}:{here}", args.bind), why))?;
        let address = listener.local_addr().map_err(|why| CliError::io("listening", why))?;
        ctx.out.line(&format!("{address} -> {}:{inside}", job.task()))?;
        let (client, path, open) = (client.clone(), path.clone(), Arc::clone(&open));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = open.fetch_add(1, Ordering::Relaxed);
                let (client, path, open) = (client.clone(), path.clone(), Arc::clone(&open));
                let carry_one = move || {
                    if taken < MOST
                        && let Err(why) = carry(&client, &path, inside, stream)
                    {
                        eprintln!("pond: {why}");
                    }
                    open.fetch_sub(1, Ordering::Relaxed);
                };
                std::thread::spawn(carry_one);
            }
        });
    }
    while signals.wait(None).is_empty() {}
    Ok(codes::OK)
}

/// Whether connections would be let through, asked without making one: who may is told that this is no WebSocket.
fn ask(client: &Client, path: &str, port: u16) -> Result<(), CliError> {
    match client.get::<serde::de::IgnoredAny>(path, &ForwardQuery { port }) {
        Err(CliError::Refused(problem)) if problem.code == "not_a_websocket" => Ok(()),
        answer => answer.map(drop),
    }
}

/// `8080:80` or `80`.
fn ports(text: &str) -> Result<(u16, u16), CliError> {
    let (here, inside) = text.split_once(':').unwrap_or((text, text));
    match (here.parse(), inside.parse()) {
        (Ok(here), Ok(inside)) if inside > 0 => Ok((here, inside)),
        _ => Err(CliError::Usage {
            what: format!("`{text}` is not a port, nor HERE:INSIDE"),
            next: Some("write 8888 or 8080:80".to_owned()),
        }),
    }
}

/// Carries bytes both ways until one side is done.
fn carry(client: &Client, path: &str, port: u16, mut local: TcpStream) -> Result<(), CliError> {
    let mut socket: Socket = client.socket(path, &ForwardQuery { port })?;
    let broke = |why| CliError::io("forwarding", why);
    let mut buffer = vec![0; 64 * 1024];
    let mut sending = true;
    loop {
        loop {
            match socket.take()? {
                Got::Bytes(bytes) => local.write_all(&bytes).map_err(broke)?,
                Got::Nothing => break,
                Got::Closed => {
                    // The other side may have hung up before us: then there is nothing left to shut.
                    drop(local.shutdown(Shutdown::Both));
                    return Ok(());
                }
            }
        }
        let mut fds = vec![PollFd::from_borrowed_fd(socket.fd(), PollFlags::IN)];
        if sending {
            fds.push(PollFd::from_borrowed_fd(local.as_fd(), PollFlags::IN));
        }
        poll(&mut fds, None).map_err(|why| broke(why.into()))?;
        if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
            let count = local.read(&mut buffer).map_err(broke)?;
            if count == 0 {
                sending = false;
                socket.close();
            } else {
                socket.send(buffer.get(..count).unwrap_or_default().to_vec())?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ports;

    #[test]
    fn ports_are_one_or_two() {
        assert_eq!(ports("80").unwrap(), (80, 80));
        assert_eq!(ports("0:80").unwrap(), (0, 80));
        assert!(ports("80:0").is_err());
        assert!(ports("x:80").is_err());
    }
}
