//! Clients that send a byte at a time: each is let go, and whoever asks beside them is answered.

use super::{Folder, Pool, until};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long the server under test waits for a head, and for a body.
const TIME: Duration = Duration::from_millis(1500);
/// Between two bytes of a slow client.
const PAUSE: Duration = Duration::from_millis(50);
/// Slow clients of each sort.
const EACH: usize = 12;

/// Sends `ready` at once and then `drip` for ever, a byte at a time. Ends when the server ended it, with what it said.
fn drip(mut stream: TcpStream, ready: &str, drip: &[u8]) -> String {
    stream.write_all(ready.as_bytes()).unwrap();
    stream.set_read_timeout(Some(PAUSE)).unwrap();
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    for byte in drip.iter().cycle() {
        let sent = stream.write_all(&[*byte]).is_ok();
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&buffer[..count]),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && sent => (),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn slow_clients_are_let_go_and_hold_up_nobody() {
    let folder = Folder::new();
    let pool = Pool::start_with(folder.path(), |config| (config.head_time, config.body_time) = (TIME, TIME));
    let client = &pool.client;
    let form = "content-type: application/x-www-form-urlencoded";
    let host = format!("host: {}", client.address);
    let json = client.head("POST", "/api/v1/jobs", &[("content-type", "application/json")]);
    // What comes at once, what comes byte for byte, and how the answer begins; nobody is answered in the midst of a head.
    let sorts = [
        (String::new(), "x", ""),
        (format!("GET /api/v1/health HTTP/1.1\r\n{host}\r\n"), "x: y\r\n", ""),
        // A second head on a connection that has had its answer.
        (format!("GET /api/v1/health HTTP/1.1\r\n{host}\r\n\r\nG"), "G", "HTTP/1.1 200"),
        (format!("{json}content-length: 100000\r\n\r\n"), " ", "HTTP/1.1 408"),
        (format!("{json}transfer-encoding: chunked\r\n\r\n"), "1\r\n \r\n", "HTTP/1.1 408"),
        // Whoever has no token at all may send this one.
        (
            format!("POST /login HTTP/1.1\r\n{host}\r\n{form}\r\ncontent-length: 100000\r\n\r\n"),
            "a",
            "HTTP/1.1 408",
        ),
    ];
    let left = Arc::new(AtomicUsize::new(0));
    let mut slow = Vec::new();
    for (ready, bytes, answer) in &sorts {
        for _ in 0..EACH {
            let (stream, ready, bytes, left) = (client.connect(), ready.clone(), *bytes, left.clone());
            left.fetch_add(1, Ordering::SeqCst);
            let began = Instant::now();
            let dripping = std::thread::spawn(move || {
                let said = drip(stream, &ready, bytes.as_bytes());
                left.fetch_sub(1, Ordering::SeqCst);
                (said, began.elapsed())
            });
            slow.push((bytes, *answer, dripping));
        }
    }
    let mut beside = 0;
    until("every slow client is let go", || {
        let asked = Instant::now();
        client.get("/api/v1/health").expect(200);
        client.get("/api/v1/jobs").expect(200);
        // Far below what the slow ones are given, far above what a busy machine takes.
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        beside += usize::from(left.load(Ordering::SeqCst) == sorts.len() * EACH);
        left.load(Ordering::SeqCst) == 0
    });
    for (bytes, answer, dripping) in slow {
        let (said, took) = dripping.join().unwrap();
        assert!(said.starts_with(answer) && said.is_empty() == answer.is_empty(), "{bytes:?}: {said:?}");
        assert!(took >= TIME - PAUSE, "{bytes:?} was let go after {took:?}");
    }
    assert!(beside >= 10, "asked {beside} times while all of them were there");
}

/// A connection from another address of this machine.
fn from(address: [u8; 4], server: &str) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connecting = async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        socket.connect(server.parse().unwrap()).await.unwrap().into_std().unwrap()
    };
    let stream = runtime.block_on(connecting);
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

#[test]
fn one_address_has_so_many_connections_and_others_have_theirs() {
    const MOST: usize = 24;
    let folder = Folder::new();
    let pool = Pool::start_with(folder.path(), |config| config.per_address = MOST);
    let server = pool.client.address.clone();
    let ask = |mut stream: TcpStream| {
        let head = format!("GET /api/v1/health HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
        let mut said = String::new();
        // One that is refused may be closed before it has written or read.
        let done = stream.write_all(head.as_bytes()).and_then(|()| stream.read_to_string(&mut said));
        done.map_or(String::new(), |_| said)
    };
    // Nothing else has come from this address: one that was closed may still be counted for a moment.
    let held: Vec<TcpStream> = (0..MOST)
        .map(|_| {
            let mut stream = from([127, 0, 0, 3], &server);
            stream.write_all(b"GET").unwrap();
            stream
        })
        .collect();
    // As many as there are is known once they were accepted, in the order in which they came.
    for _ in 0..3 {
        let said = ask(from([127, 0, 0, 3], &server));
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 503"), "{said}");
    }
    // Who has sent nothing yet is told why.
    let mut said = String::new();
    from([127, 0, 0, 3], &server).read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 503") && said.ends_with("as one address may.\n"), "{said}");
    for address in [[127, 0, 0, 2], [127, 0, 0, 4]] {
        let said = ask(from(address, &server));
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    }
    drop(held);
    until("its connections are closed", || ask(from([127, 0, 0, 3], &server)).starts_with("HTTP/1.1 200"));
}
