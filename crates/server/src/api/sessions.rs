//! Live connections into tasks: commands, terminals, ports, files.
//!
//! ```text
//! client ⇄ WebSocket messages ⇄ here ⇄ Unix or TCP stream ⇄ task
//! ```
//! Each direction is a loop of its own, so that neither can hold up the other.

use super::extract::{Params, TaskPath, short};
use super::guard::Caller;
use super::types::{ExecQuery, FileQuery, ForwardQuery, Problem};
use super::{Shared, blocking};
use crate::access::ExecRequest;
use crate::auth::rights::Right;
use axum::body::{Body, Bytes};
use axum::extract::State as Extract;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use pond_core::event::{Actor, Request};
use pond_core::frame::{Frame, MAX_PAYLOAD};
use pond_core::ids::TaskId;
use std::io::{self, Read};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// How often a silent client is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);
/// How long a client may be silent, its answers to pings counted.
const SILENCE: Duration = Duration::from_secs(90);
/// How long a client may take to go after the last word.
const FAREWELL: Duration = Duration::from_secs(5);
/// Bytes passed on at once.
const CHUNK: usize = 64 * 1024;
/// How long an upload may stand still.
const STALL: Duration = Duration::from_secs(60);

/// The refusal of a substrate, as the client sees it.
fn closed(task: TaskId, why: &io::Error) -> Problem {
    let text = short(&format!("task {task}: {why}"));
    match why.kind() {
        io::ErrorKind::NotFound => Problem::not_found("not_there", text),
        io::ErrorKind::PermissionDenied => Problem::new(StatusCode::FORBIDDEN, "forbidden", text),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", text)
        }
        _ => Problem::new(StatusCode::CONFLICT, "not_running", text)
            .with_next(format!("see what it does: `pond status {}`", task.gang.job)),
    }
}

/// The same of files: what is not there, or not theirs to reach, is a path inside; of others what they say is all that helps.
fn unmoved(task: TaskId, why: &io::Error) -> Problem {
    let text = || short(&format!("task {task}: {why}"));
    match why.kind() {
        io::ErrorKind::NotFound => Problem::not_found("no_such_file", text())
            .with_next("give a path inside of the task, from `/` or from its working folder"),
        io::ErrorKind::PermissionDenied => Problem::new(StatusCode::FORBIDDEN, "file_forbidden", text())
            .with_next("the task's own user has no right to it; give a path that it may reach"),
        io::ErrorKind::NotConnected | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            closed(task, why)
        }
        _ => Problem::new(StatusCode::CONFLICT, "not_copied", text()),
    }
}

/// Runs a command inside a task. Binary messages are frames of `pond_core::frame`, both ways.
#[utoipa::path(get, path = "/api/v1/tasks/{id}/exec", tag = "tasks", params(("id" = String, Path), ExecQuery),
    responses((status = 101, description = "WebSocket")))]
pub async fn exec(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    TaskPath(task): TaskPath,
    Params(query): Params<ExecQuery>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    super::jobs::reach(&shared, &caller, Right::Enter, task.gang.job.0).await?;
    let bad = |field: &str, what: &str| {
        Problem::bad_request("bad_parameter", format!("{field} is not {what}")).at(field)
    };
    let argv: Vec<String> = match &query.argv {
        Some(argv) => serde_json::from_str(argv).map_err(|_why| bad("argv", "a JSON list of texts"))?,
        None => return Err(bad("argv", "there")),
    };
    let env = match &query.env {
        Some(env) => serde_json::from_str(env).map_err(|_why| bad("env", "a JSON object of texts"))?,
        None => Default::default(),
    };
    if argv.is_empty() || argv.iter().any(|part| part.contains('\0')) {
        return Err(bad("argv", "a command"));
    }
    let request = ExecRequest {
        argv,
        tty: query.tty.unwrap_or(false),
        rows: query.rows.unwrap_or(24),
        cols: query.cols.unwrap_or(80),
        cwd: query.cwd,
        env,
    };
    let upgrade = must_upgrade(upgrade)?;
    must_move(&shared, task).await?;
    let room = shared.room_for_a_stream()?;
    let access = shared.access.clone();
    let stream = blocking(move || access.exec(task, request)).await?.map_err(|why| closed(task, &why))?;
    let stream = tokio_stream_of(stream).map_err(|why| closed(task, &why))?;
    Ok(upgrade.max_message_size(MAX_PAYLOAD + 1).on_upgrade(move |socket| async move {
        let _room = room;
        let _session = Session::open(&shared, task);
        frames(socket, stream, shared).await;
    }))
}

/// In a gang that stands still a command would stand still as well, without a word.
async fn must_move(shared: &Shared, task: TaskId) -> Result<(), Problem> {
    let still = shared.handle.look(move |sight| {
        let live = sight.engine.gang(task.gang)?.live()?;
        live.is_frozen().then_some(live.paused)
    });
    let job = task.gang.job;
    let refused = |what: String| Problem::new(StatusCode::CONFLICT, "paused", what);
    match still.await? {
        None => Ok(()),
        Some(true) => Err(refused(format!("job {job} is paused")).with_next(format!("`pond resume {job}`"))),
        Some(false) => Err(refused(format!("the pool holds job {job} still, to use its CPU for others"))
            .with_next(format!("try again when it goes on: `pond status {job}`"))),
    }
}

/// Joins a task's own terminal or output. Binary messages are frames of `pond_core::frame`, both ways.
#[utoipa::path(get, path = "/api/v1/tasks/{id}/attach", tag = "tasks", params(("id" = String, Path)),
    responses((status = 101, description = "WebSocket")))]
pub async fn attach(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    TaskPath(task): TaskPath,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    super::jobs::reach(&shared, &caller, Right::Enter, task.gang.job.0).await?;
    let upgrade = must_upgrade(upgrade)?;
    let room = shared.room_for_a_stream()?;
    let access = shared.access.clone();
    let stream = blocking(move || access.attach(task)).await?.map_err(|why| closed(task, &why))?;
    let stream = tokio_stream_of(stream).map_err(|why| closed(task, &why))?;
    Ok(upgrade.max_message_size(MAX_PAYLOAD + 1).on_upgrade(move |socket| async move {
        let _room = room;
        let _session = Session::open(&shared, task);
        frames(socket, stream, shared).await;
    }))
}

/// Connects to a port inside a task. Binary messages are its bytes; an empty one ends a direction.
#[utoipa::path(get, path = "/api/v1/tasks/{id}/forward", tag = "tasks", params(("id" = String, Path), ForwardQuery),
    responses((status = 101, description = "WebSocket")))]
pub async fn forward(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    TaskPath(task): TaskPath,
    Params(query): Params<ForwardQuery>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    super::jobs::reach(&shared, &caller, Right::Enter, task.gang.job.0).await?;
    let upgrade = must_upgrade(upgrade)?;
    let room = shared.room_for_a_stream()?;
    let access = shared.access.clone();
    let stream =
        blocking(move || access.connect(task, query.port)).await?.map_err(|why| closed(task, &why))?;
    stream.set_nonblocking(true).map_err(|why| closed(task, &why))?;
    let stream = tokio::net::TcpStream::from_std(stream).map_err(|why| closed(task, &why))?;
    Ok(upgrade.max_message_size(MAX_PAYLOAD).on_upgrade(move |socket| async move {
        let _room = room;
        let _session = Session::open(&shared, task);
        let (sink, source) = socket.split();
        let (reader, writer) = stream.into_split();
        both(shared, raw_out(reader, sink), raw_in(source, writer)).await;
    }))
}

fn must_upgrade(
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<WebSocketUpgrade, Problem> {
    upgrade.map_err(|why| {
        Problem::bad_request("not_a_websocket", why.body_text())
            .with_next("ask for an upgrade to a WebSocket")
    })
}

fn tokio_stream_of(stream: std::os::unix::net::UnixStream) -> io::Result<tokio::net::UnixStream> {
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

/// Counts a live session while it lives, so that the engine knows an environment is in use.
struct Session {
    shared: Shared,
    task: TaskId,
}

impl Session {
    fn open(shared: &Shared, task: TaskId) -> Self {
        let session = Self { shared: shared.clone(), task };
        session.tell(1);
        session
    }

    fn tell(&self, change: i64) {
        let count = self.shared.count_session(self.task, change);
        let (handle, task) = (self.shared.handle.clone(), self.task);
        tokio::spawn(async move {
            // The task may have ended meanwhile: then nobody needs to know.
            let told = handle.ask(Actor::Pool, Request::Sessions { task, count }, None).await;
            told.map(drop).unwrap_or_default();
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tell(-1);
    }
}

/// Runs both directions until the outward one ends, the client goes, or the server stops.
///
/// A connection that is dropped with something unread is reset, and a reset takes along what the client has not read
/// yet: its last output, its exit code. So after the last word the client is heard until it goes.
async fn both(shared: Shared, out: impl Future<Output = ()>, inward: impl Future<Output = ()>) {
    let mut stop = shared.stop.clone();
    let mut inward = std::pin::pin!(inward);
    let talk = async {
        tokio::select! {
            () = out => tokio::time::timeout(FAREWELL, inward).await.unwrap_or_default(),
            () = &mut inward => {}
        }
    };
    tokio::select! {
        () = talk => {}
        _ = stop.wait_for(|&stop| stop) => {}
    }
}

async fn frames(socket: WebSocket, stream: tokio::net::UnixStream, shared: Shared) {
    let (sink, source) = socket.split();
    let (reader, writer) = stream.into_split();
    both(shared, frames_out(reader, sink), frames_in(source, writer)).await;
}

/// From the task to the client, frame by frame.
async fn frames_out(mut from: impl AsyncRead + Unpin, mut to: SplitSink<WebSocket, Message>) {
    let mut buffer = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let mut ping = tokio::time::interval(PING);
    loop {
        loop {
            let frame = match Frame::take(&mut buffer) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(why) => Frame::Failed(why.to_string()),
            };
            let last = matches!(frame, Frame::Exit(_) | Frame::Failed(_));
            if to.send(Message::Binary(Bytes::from(frame.to_message()))).await.is_err() {
                return;
            }
            if last {
                to.close().await.unwrap_or_default();
                return;
            }
        }
        let read = tokio::select! {
            read = from.read(&mut chunk) => read.unwrap_or(0),
            _ = ping.tick() => {
                if to.send(Message::Ping(Bytes::new())).await.is_err() {
                    return;
                }
                continue;
            }
        };
        if read == 0 {
            let lost = Frame::Failed("the session broke off".to_owned());
            to.send(Message::Binary(Bytes::from(lost.to_message()))).await.unwrap_or_default();
            to.close().await.unwrap_or_default();
            return;
        }
        buffer.extend_from_slice(&chunk[..read]);
    }
}

/// From the client to the task, until the client is gone. Only what a client may say is passed on.
async fn frames_in(mut from: SplitStream<WebSocket>, mut to: impl AsyncWrite + Unpin) {
    while let Ok(Some(Ok(message))) = tokio::time::timeout(SILENCE, from.next()).await {
        let Message::Binary(bytes) = message else {
            if matches!(message, Message::Close(_)) {
                return;
            }
            continue;
        };
        match Frame::from_message(&bytes) {
            Ok(frame @ (Frame::Stdin(_) | Frame::StdinEnd | Frame::Resize { .. } | Frame::Signal(_))) => {
                if to.write_all(&frame.to_stream()).await.is_err() {
                    // The task no longer reads; what it has still to say goes on.
                    return drain(from).await;
                }
            }
            _ => return,
        }
    }
}

async fn raw_out(mut from: impl AsyncRead + Unpin, mut to: SplitSink<WebSocket, Message>) {
    let mut chunk = vec![0; CHUNK];
    let mut ping = tokio::time::interval(PING);
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read.unwrap_or(0),
            _ = ping.tick() => {
                if to.send(Message::Ping(Bytes::new())).await.is_err() {
                    return;
                }
                continue;
            }
        };
        if to.send(Message::Binary(Bytes::copy_from_slice(&chunk[..read]))).await.is_err() {
            return;
        }
        if read == 0 {
            to.close().await.unwrap_or_default();
            return;
        }
    }
}

/// From the client to the task, until the client is gone.
async fn raw_in(mut from: SplitStream<WebSocket>, mut to: impl AsyncWrite + Unpin) {
    while let Ok(Some(Ok(message))) = tokio::time::timeout(SILENCE, from.next()).await {
        match message {
            Message::Binary(bytes) if bytes.is_empty() => {
                to.shutdown().await.unwrap_or_default();
                return drain(from).await;
            }
            Message::Binary(bytes) => {
                let written = to.write_all(&bytes).await;
                if written.is_err() {
                    return drain(from).await;
                }
            }
            Message::Close(_) => return,
            _ => {}
        }
    }
}

/// Hears a client whose words nobody wants any more, until it goes: it still answers pings.
async fn drain(mut from: SplitStream<WebSocket>) {
    while let Ok(Some(Ok(_))) = tokio::time::timeout(SILENCE, from.next()).await {}
}

/// A file or folder of a task as a tar stream.
#[utoipa::path(get, path = "/api/v1/tasks/{id}/files", tag = "tasks", params(("id" = String, Path), FileQuery),
    responses((status = 200, content((String = "application/x-tar")))))]
pub async fn copy_out(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    TaskPath(task): TaskPath,
    Params(query): Params<FileQuery>,
) -> Result<Response, Problem> {
    super::jobs::reach(&shared, &caller, Right::Enter, task.gang.job.0).await?;
    let room = shared.room_for_a_stream()?;
    let access = shared.access.clone();
    let mut tar =
        blocking(move || access.copy_out(task, &query.path)).await?.map_err(|why| unmoved(task, &why))?;
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(4);
    tokio::task::spawn_blocking(move || {
        let _room = room;
        let mut chunk = vec![0; CHUNK];
        loop {
            let piece = match tar.read(&mut chunk) {
                Ok(0) => return,
                Ok(len) => Ok(Bytes::copy_from_slice(&chunk[..len])),
                Err(why) => Err(why),
            };
            let broken = piece.is_err();
            if sender.blocking_send(piece).is_err() || broken {
                return;
            }
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/x-tar")];
    Ok((kind, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

/// Unpacks a tar stream into a folder of a task.
#[utoipa::path(put, path = "/api/v1/tasks/{id}/files", tag = "tasks", params(("id" = String, Path), FileQuery),
    request_body(content((String = "application/x-tar"))), responses((status = 204)))]
pub async fn copy_in(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    TaskPath(task): TaskPath,
    Params(query): Params<FileQuery>,
    body: Body,
) -> Result<StatusCode, Problem> {
    super::jobs::reach(&shared, &caller, Right::Enter, task.gang.job.0).await?;
    let _room = shared.room_for_a_stream()?;
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(4);
    let access = shared.access.clone();
    let unpack = blocking(move || {
        let onto = query.onto.unwrap_or(false);
        access.copy_in(task, &query.path, onto, Box::new(Incoming { receiver, piece: Bytes::new() }))
    });
    let feed = async move {
        let mut body = body.into_data_stream();
        loop {
            let piece = match tokio::time::timeout(STALL, body.next()).await {
                Ok(None) => return,
                Ok(Some(Ok(piece))) => Ok(piece),
                Ok(Some(Err(why))) => Err(io::Error::other(why)),
                Err(_late) => Err(io::Error::new(io::ErrorKind::TimedOut, "the upload stands still")),
            };
            let broken = piece.is_err();
            if sender.send(piece).await.is_err() || broken {
                return;
            }
        }
    };
    let ((), unpacked) = tokio::join!(feed, unpack);
    unpacked?.map_err(|why| unmoved(task, &why))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A body that arrives on async threads, read on a blocking one.
struct Incoming {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let len = self.piece.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.piece.split_to(len));
        Ok(len)
    }
}
