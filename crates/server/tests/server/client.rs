//! A bare HTTP client: it can also be rude.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Client {
    pub address: String,
    pub token: String,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.text()))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert!(!problem["message"].as_str().unwrap().is_empty(), "{problem}");
        problem
    }
}

impl Client {
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    pub fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let has = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        if !has("host") {
            head += &format!("host: {}\r\n", self.address);
        }
        if !has("authorization") && !self.token.is_empty() {
            head += &format!("authorization: Bearer {}\r\n", self.token);
        }
        if !has("connection") {
            head += "connection: close\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let head = self.head(method, path, headers) + &format!("content-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        // The server may have refused already.
        drop(stream.write_all(body));
        read_answer(stream)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }
    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.request("PUT", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }
    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], b"")
    }
    /// Adds a user with these roles and gives a client with a token of theirs, named as they are.
    #[track_caller]
    pub fn add_user(&self, name: &str, roles: &[(&str, &str)]) -> Self {
        self.put(&format!("/api/v1/users/{name}"), &serde_json::json!({})).expect(200);
        for (project, role) in roles {
            let body = serde_json::json!({"user": name, "project": project, "role": role});
            self.put("/api/v1/roles", &body).expect(200);
        }
        self.token_for(name, name, &serde_json::json!({}))
    }
    /// A client with a new token of a user.
    #[track_caller]
    pub fn token_for(&self, name: &str, user: &str, body: &Value) -> Self {
        let mut body = body.clone();
        body["user"] = Value::from(user);
        let made = self.put(&format!("/api/v1/tokens/{name}"), &body).expect(201).json();
        Self { token: made["secret"].as_str().unwrap().to_owned(), ..self.clone() }
    }
    /// Submits a job of one command, gives its id.
    #[track_caller]
    pub fn run(&self, argv: &[&str]) -> u64 {
        let answer = self.post("/api/v1/jobs", &job(argv)).expect(201).json();
        answer["job"]["id"].as_u64().unwrap()
    }
    #[track_caller]
    pub fn state(&self, job: u64) -> String {
        let detail = self.get(&format!("/api/v1/jobs/{job}")).expect(200).json();
        detail["state"].as_str().unwrap().to_owned()
    }
    #[track_caller]
    pub fn await_state(&self, job: u64, state: &str) {
        super::until(&format!("job {job} is {state}"), || self.state(job) == state);
    }
}

pub fn job(argv: &[&str]) -> Value {
    serde_json::json!({"type": "task", "name": "t", "run": argv, "resources": {"cpu": 1, "memory": "100MB", "disk": "1GB"}})
}

pub fn read_answer(stream: TcpStream) -> Answer {
    let mut reader = BufReader::new(stream);
    let (status, headers) = read_head(&mut reader);
    let mut body = Vec::new();
    let chunked = headers.iter().any(|(key, value)| key == "transfer-encoding" && value == "chunked");
    if chunked {
        while let Some(chunk) = read_chunk(&mut reader) {
            body.extend(chunk);
        }
    } else {
        // A refused upload may end in a reset after the answer.
        drop(reader.read_to_end(&mut body));
    }
    Answer { status, headers, body }
}

pub fn read_head(reader: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {line:?}")).parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    (status, headers)
}

pub fn read_chunk(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return None;
    }
    let len = usize::from_str_radix(line.trim_end(), 16).unwrap();
    let mut chunk = vec![0; len + 2];
    reader.read_exact(&mut chunk).unwrap();
    chunk.truncate(len);
    (len > 0).then_some(chunk)
}
