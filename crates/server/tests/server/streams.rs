//! What stays open: event streams, followed logs, sessions, copies.

use super::client::{Client, read_chunk, read_head};
use super::{Folder, Pool, until};
use pond_core::event::Exit;
use pond_core::frame::Frame;
use pond_core::ids::{Generation, TaskId};
use serde_json::json;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// A response that is read as it comes.
struct Open {
    reader: BufReader<TcpStream>,
    text: String,
}

impl Open {
    fn new(client: &Client, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = client.connect();
        let head = client.head("GET", path, headers) + "\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let (status, _) = read_head(&mut reader);
        assert_eq!(status, 200);
        Self { reader, text: String::new() }
    }

    /// Reads until the text holds this.
    fn until(&mut self, part: &str) -> &str {
        while !self.text.contains(part) {
            let chunk = read_chunk(&mut self.reader).unwrap_or_else(|| panic!("no {part} in {}", self.text));
            self.text.push_str(&String::from_utf8(chunk).unwrap());
        }
        &self.text
    }

    fn rest(mut self) -> String {
        while let Some(chunk) = read_chunk(&mut self.reader) {
            self.text.push_str(&String::from_utf8(chunk).unwrap());
        }
        self.text
    }
}

fn ids(stream: &str) -> Vec<u64> {
    stream.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect()
}

#[test]
fn an_event_stream_goes_on_where_it_broke_off() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let accept = ("accept", "text/event-stream");
    let mut first = Open::new(&pool.client, "/api/v1/events?since=0", &[accept]);
    pool.client.run(&["exit", "0"]);
    let seen = ids(first.until("job.ended"));
    drop(first);
    let id = pool.client.run(&["exit", "0"]);
    pool.client.await_state(id, "succeeded");
    let last = seen.last().unwrap().to_string();
    let mut second = Open::new(&pool.client, "/api/v1/events", &[accept, ("last-event-id", &last)]);
    let more = ids(second.until("job.ended"));
    assert!(more.iter().all(|id| id > seen.last().unwrap()), "{more:?}");
    let all: Vec<u64> = seen.into_iter().chain(more).collect();
    assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
    let listed = pool.client.get("/api/v1/events?limit=1000").json();
    let listed: Vec<u64> =
        listed["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(all, listed[..all.len()]);
    // After a restart the stream goes on from the database.
    pool.stop(true).unwrap();
    let pool = Pool::start(folder.path());
    let mut third = Open::new(&pool.client, "/api/v1/events", &[accept, ("last-event-id", "0")]);
    let text = third.until("server.stopped");
    assert_eq!(ids(text)[..all.len()], all);
}

#[test]
fn an_event_stream_can_be_of_one_job() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let (one, two) = (pool.client.run(&["exit", "0"]), pool.client.run(&["exit", "1"]));
    pool.client.await_state(one, "succeeded");
    pool.client.await_state(two, "failed");
    let path = format!("/api/v1/events?since=0&job={two}");
    let mut stream = Open::new(&pool.client, &path, &[("accept", "text/event-stream")]);
    let text = stream.until("job.ended");
    assert!(text.contains("\"job\":2") && !text.contains("\"job\":1"), "{text}");
}

#[test]
fn logs_are_followed_to_the_end() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = pool.client.run(&["sleep"]);
    let task: TaskId = id.to_string().parse().unwrap();
    pool.client.await_state(id, "running");
    let mut open = Open::new(&pool.client, &format!("/api/v1/jobs/{id}/logs?follow=true"), &[]);
    pool.farm.log(task, "one\ntw");
    open.until("one\n");
    pool.farm.log(task, "o\n");
    open.until("two\n");
    pool.farm.log(task, "no end");
    pool.farm.end(task, Generation(1), Exit::Code(0));
    assert_eq!(open.rest(), "one\ntwo\nno end\n");
    let get = |query: &str| pool.client.get(&format!("/api/v1/jobs/{id}/logs?{query}")).expect(200).text();
    assert_eq!(get("tail=2"), "two\nno end\n");
    assert_eq!(get("tail=0"), "");
    assert_eq!(get("grep=tw"), "two\n");
    let lines = get("json=true");
    let line: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((line["line"].clone(), line["stream"].clone()), (json!("one"), json!("stdout")));
    assert!(line["at_ms"].as_u64().unwrap() > 1_000_000_000_000);
    pool.client.get(&format!("/api/v1/jobs/{id}/logs?index=5")).problem(404, "no_such_element");
}

#[test]
fn ranks_are_told_apart() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let body =
        json!({"type": "task", "nodes": 2, "run": ["say", "hi"], "resources": {"cpu": 1, "memory": "100MB"}});
    pool.client.post("/api/v1/jobs", &body).expect(201);
    pool.client.await_state(1, "succeeded");
    let mut lines: Vec<String> =
        pool.client.get("/api/v1/jobs/1/logs").text().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1 | hi", "1.1 | hi"]);
    assert_eq!(pool.client.get("/api/v1/jobs/1/logs?rank=1").text(), "hi\n");
}

fn socket(client: &Client, path: &str) -> Result<WebSocket<TcpStream>, u16> {
    let mut request = format!("ws://{}{path}", client.address).into_client_request().unwrap();
    let token = format!("Bearer {}", client.token).parse().unwrap();
    request.headers_mut().insert("authorization", token);
    match tungstenite::client(request, client.connect()) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            Err(answer.status().as_u16())
        }
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn commands_run_inside_tasks() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = pool.client.run(&["sleep"]);
    pool.client.await_state(id, "running");
    let argv = "%5B%22cat%22%2C%22-%22%5D"; // ["cat","-"]
    let mut socket =
        socket(&pool.client, &format!("/api/v1/tasks/{id}/exec?argv={argv}&tty=true&rows=10")).unwrap();
    let large = vec![7_u8; 300_000];
    for frame in [
        Frame::Stdin(b"hello".to_vec()),
        Frame::Resize { rows: 1, cols: 2 },
        Frame::Stdin(large.clone()),
        Frame::StdinEnd,
        // What is typed after the end is lost, the end is not.
        Frame::Stdin(large.clone()),
    ] {
        socket.send(Message::binary(frame.to_message())).unwrap();
    }
    let (mut heard, mut code) = (Vec::new(), None);
    while code.is_none() {
        if let Message::Binary(bytes) = socket.read().unwrap() {
            match Frame::from_message(&bytes).unwrap() {
                Frame::Stdout(bytes) => heard.extend(bytes),
                Frame::Exit(exit) => code = Some(exit),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((code, &heard[..5], heard.len()), (Some(2), b"hello".as_slice(), large.len() + 5));
}

#[test]
fn sessions_refuse_what_they_cannot_do() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = pool.client.run(&["exit", "0"]);
    pool.client.await_state(id, "succeeded");
    let client = &pool.client;
    assert_eq!(socket(client, &format!("/api/v1/tasks/{id}/attach")).unwrap_err(), 409);
    assert_eq!(socket(client, &format!("/api/v1/tasks/{id}/exec")).unwrap_err(), 400);
    assert_eq!(socket(client, &format!("/api/v1/tasks/{id}/exec?argv=[]")).unwrap_err(), 400);
    assert_eq!(socket(client, "/api/v1/tasks/99/attach").unwrap_err(), 404);
    assert_eq!(socket(client, "/api/v1/tasks/1.x/attach").unwrap_err(), 400);
    client.get(&format!("/api/v1/tasks/{id}/attach")).problem(400, "not_a_websocket");
    let running = client.run(&["sleep"]);
    client.await_state(running, "running");
    assert_eq!(socket(client, &format!("/api/v1/tasks/{running}/forward?port=1")).unwrap_err(), 409);
    // A client that says what only a task may say is shown the door.
    let mut rude = socket(client, &format!("/api/v1/tasks/{running}/attach")).unwrap();
    rude.send(Message::binary(Frame::Exit(0).to_message())).unwrap();
    while rude.read().is_ok() {}
}

#[test]
fn a_used_environment_is_known_to_be_used() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = pool.client.run(&["sleep"]);
    pool.client.await_state(id, "running");
    let counted = |count: u32| {
        let text = format!("\"count\":{count}");
        let bytes = std::fs::read(folder.path().join("pond.db-wal")).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let socket = socket(&pool.client, &format!("/api/v1/tasks/{id}/attach")).unwrap();
    until("the session is counted", || counted(1));
    drop(socket);
    until("its end is counted", || counted(0));
}

#[test]
fn ports_are_forwarded_both_ways() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = pool.client.run(&["sleep"]);
    pool.client.await_state(id, "running");
    let mut socket = socket(&pool.client, &format!("/api/v1/tasks/{id}/forward?port=80")).unwrap();
    for part in ["GET / ", "HTTP/1.0", ""] {
        socket.send(Message::binary(part.as_bytes().to_vec())).unwrap();
    }
    let mut heard = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Binary(bytes)) if bytes.is_empty() => break,
            Ok(Message::Binary(bytes)) => heard.extend_from_slice(&bytes),
            Ok(_) => {}
            Err(why) => panic!("{why}"),
        }
    }
    assert_eq!(heard, b"GET / HTTP/1.0");
}

#[test]
fn files_are_copied_both_ways() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = pool.client.run(&["sleep"]);
    pool.client.await_state(id, "running");
    let path = |path: &str| format!("/api/v1/tasks/{id}/files?path={path}");
    let out = pool.client.get(&path("/data")).expect(200);
    assert_eq!(out.text(), "tar of /data".repeat(20_000));
    pool.client.get(&path("/missing")).problem(404, "no_such_file");
    pool.client.get(&path("/shut")).problem(403, "file_forbidden");
    pool.client.get(&path("/data").replace(&format!("/{id}/"), "/99/")).problem(404, "no_such_job");
    let upload = vec![b'z'; 3 << 20];
    let kind = [("content-type", "application/x-tar")];
    pool.client.request("PUT", &path("/data"), &kind, &upload).expect(204);
    assert!(*pool.farm.copied_in.lock().unwrap() == upload);
    let full = pool.client.request("PUT", &format!("{}&onto=true", path("/full")), &kind, &upload);
    assert!(full.problem(409, "not_copied").get("next").is_none());
    pool.client.get(&format!("/api/v1/tasks/{id}/files")).problem(400, "bad_parameter");
}

#[test]
fn open_streams_end_when_the_server_does() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = pool.client.run(&["sleep"]);
    pool.client.await_state(id, "running");
    let events = Open::new(&pool.client, "/api/v1/events", &[("accept", "text/event-stream")]);
    let logs = Open::new(&pool.client, &format!("/api/v1/jobs/{id}/logs?follow=true"), &[]);
    let mut session = socket(&pool.client, &format!("/api/v1/tasks/{id}/attach")).unwrap();
    pool.stop(true).unwrap();
    events.rest();
    logs.rest();
    while session.read().is_ok() {}
}

/// A prompt or a progress bar has no end of line when it is to be seen.
#[test]
fn a_line_is_given_in_parts_when_asked_for() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = pool.client.run(&["sleep"]);
    let task: TaskId = id.to_string().parse().unwrap();
    pool.client.await_state(id, "running");
    let path = format!("/api/v1/jobs/{id}/logs?follow=true&json=true&parts=true");
    let mut open = Open::new(&pool.client, &path, &[]);
    pool.farm.log(task, "name? ");
    open.until(r#""line":"name? ","open":true}"#);
    pool.farm.log(task, "bob\nlast");
    open.until(r#""line":"bob"}"#);
    open.until(r#""line":"last","open":true}"#);
    pool.farm.end(task, Generation(1), Exit::Code(0));
    assert!(open.rest().ends_with("\"line\":\"\"}\n"));
    let whole = pool.client.get(&format!("/api/v1/jobs/{id}/logs?parts=true")).expect(200).text();
    assert_eq!(whole, "name? bob\nlast\n");
}

#[test]
fn lines_before_a_moment_stay_away() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = pool.client.run(&["say", "early"]);
    pool.client.await_state(id, "succeeded");
    let get = |query: &str| pool.client.get(&format!("/api/v1/jobs/{id}/logs?{query}")).expect(200).text();
    let line: serde_json::Value = serde_json::from_str(&get("json=true")).unwrap();
    let at = line["at_ms"].as_u64().unwrap();
    assert_eq!(get(&format!("since_ms={at}")), "early\n");
    assert_eq!(get(&format!("since_ms={}", at + 1)), "");
}
