//! A plain HTTP client for the JSON API, one connection a request.

use crate::pool::Pool;
use serde_json::Value;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Talks to the server of one pool.
#[derive(Clone, Debug)]
pub struct Api {
    host: String,
    token: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body; `null` when it is no JSON.
    pub body: Value,
}

impl Api {
    /// The server that has written its address into the state folder last.
    ///
    /// # Errors
    /// When none has yet.
    pub fn of(pool: &Pool) -> Result<Self> {
        let read = |name: &str| std::fs::read_to_string(pool.state().join(name));
        let address = read("address")?;
        let host = address.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        Ok(Self { host, token: read("token")?.trim().to_owned() })
    }

    /// Where it serves, for programs of others.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    /// The token of whoever started the pool.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// `GET /api/v1/PATH`.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, "application/json", "")
    }

    /// `GET` of a path of the server's own, as text.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn text(&self, path: &str) -> Result<String> {
        let answer = self.raw("GET", path, "text/plain", "")?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
        Ok(body.to_owned())
    }

    /// The words of a page as the owner of the token reads them in a browser without scripts, having just logged in.
    ///
    /// # Errors
    /// When nobody answers, or does not let them in.
    pub fn page(&self, path: &str) -> Result<String> {
        let form = "application/x-www-form-urlencoded";
        let entered = self.raw("POST", "/login", form, &format!("token={}", self.token))?;
        let cookie = entered.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
        let cookie = cookie.ok_or_else(|| Error::other(entered.clone()))?;
        let answer = self.ask("GET", path, &format!("cookie: {cookie}\r\naccept: text/html\r\n"), "")?;
        let (_, html) = answer.split_once("\r\n\r\n").ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
        let text = html.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text);
        Ok(text.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" "))
    }

    /// `POST /api/v1/jobs` with a job file in YAML.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn submit(&self, yaml: &str) -> Result<Answer> {
        self.send("POST", "jobs", "application/yaml", yaml)
    }

    /// Any request.
    ///
    /// # Errors
    /// When nobody answers, or not in HTTP.
    pub fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> Result<Answer> {
        let text = self.raw(method, &format!("/api/v1/{path}"), kind, body)?;
        parse(&text).ok_or_else(|| Error::from(ErrorKind::InvalidData))
    }

    fn raw(&self, method: &str, path: &str, kind: &str, body: &str) -> Result<String> {
        let who = format!("authorization: Bearer {}\r\ncontent-type: {kind}\r\n", self.token);
        self.ask(method, path, &who, body)
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.host)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
            self.host,
            body.len()
        );
        stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body)? } else { body.to_owned() };
    Some(Answer { status, body: serde_json::from_str(&body).unwrap_or(Value::Null) })
}

fn unchunk(mut rest: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn answers_are_read_whole_or_in_chunks() {
        let plain = parse("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").expect("plain");
        assert_eq!((plain.status, plain.body.to_string()), (200, "[]".to_owned()));
        let text =
            "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n";
        let chunked = parse(text).expect("chunked");
        assert_eq!((chunked.status, chunked.body.to_string()), (404, "[1,2]".to_owned()));
        assert!(parse("HTTP/1.1 200 OK\r\n").is_none());
    }
}
