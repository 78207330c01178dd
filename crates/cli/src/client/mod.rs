//! The other end of `/api/v1`: small, synchronous, and quick to start.

mod events;
mod socket;
mod trust;

pub use events::EventStream;
pub use socket::{Got, Socket};

use crate::args::Globals;
use crate::error::CliError;
use crate::pool::state_dir;
use pond_server::api::types::{API, PROBLEM, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read};
use std::time::Duration;
use ureq::SendBody;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body};

/// A pool to talk to.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    token: Option<String>,
    agent: Agent,
    trust: trust::Trust,
}

impl Client {
    /// Whether the pool is on this machine, as far as its address tells.
    #[must_use]
    pub fn is_here(&self) -> bool {
        is_loopback(&self.base)
    }

    /// The pool that flags, environment or state folder name.
    ///
    /// # Errors
    /// None is named and none has left its address; a certificate file cannot be read.
    pub fn find(globals: &Globals) -> Result<Self, CliError> {
        let dir = state_dir(globals);
        let (base, local) = match &globals.server {
            Some(url) => (url.clone(), false),
            None => {
                let file = dir.join("address");
                let text = std::fs::read_to_string(&file).map_err(|why| match why.kind() {
                    io::ErrorKind::NotFound => CliError::NoServer { place: file.display().to_string() },
                    _ => CliError::io(format!("reading {}", file.display()), why),
                })?;
                (text.trim().to_owned(), true)
            }
        };
        let base = base.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(CliError::Usage {
                what: format!("`{base}` is not the URL of a pool"),
                next: Some("write http://HOST:PORT or https://HOST:PORT".to_owned()),
            });
        }
        let trust = trust::Trust::read(globals.ca.as_deref(), local.then(|| dir.join("ca.pem")))?;
        let token = globals.token.clone().or_else(|| own_token(&dir, &base, local));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .user_agent(concat!("pond/", env!("CARGO_PKG_VERSION")))
            .tls_config(trust.for_http());
        let config = if is_loopback(&base) { config.proxy(None) } else { config };
        Ok(Self { base, token, agent: config.build().new_agent(), trust })
    }

    /// Its URL.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET, the answer as JSON.
    ///
    /// # Errors
    /// No connection, a refusal, or an answer that is something else.
    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<T, CliError> {
        self.json(self.send(Method::GET, path, query, &[], Payload::Nothing)?, "GET", path)
    }

    /// POST of JSON, the answer as JSON.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.with_body(Method::POST, path, body)
    }

    /// PUT of JSON, the answer as JSON.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.with_body(Method::PUT, path, body)
    }

    fn with_body<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let name = method.to_string();
        let bytes = serde_json::to_vec(body).map_err(|why| self.bad_answer(&name, path, &why))?;
        let headers = [("content-type", "application/json")];
        // A handler that wants no body may answer and hang up while one is still being written.
        let payload = if bytes == b"null" { Payload::Nothing } else { Payload::Bytes(bytes) };
        let answer = self.send(method, path, &(), &headers, payload)?;
        self.json(answer, &name, path)
    }

    /// POST of text of some content type.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn post_text<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
        headers: &[(&str, &str)],
        text: &str,
    ) -> Result<T, CliError> {
        let body = Payload::Bytes(text.as_bytes().to_vec());
        self.json(self.send(Method::POST, path, query, headers, body)?, "POST", path)
    }

    /// DELETE.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn delete(&self, path: &str) -> Result<(), CliError> {
        self.send(Method::DELETE, path, &(), &[], Payload::Nothing).map(drop)
    }

    /// GET, the answer as a stream of bytes that may never end.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn stream(
        &self,
        path: &str,
        query: &impl Serialize,
        headers: &[(&str, &str)],
    ) -> Result<impl Read + Send + 'static, CliError> {
        Ok(self.send(Method::GET, path, query, headers, Payload::Nothing)?.into_body().into_reader())
    }

    /// PUT of a stream of bytes.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn upload(
        &self,
        path: &str,
        query: &impl Serialize,
        content_type: &str,
        body: impl Read + 'static,
    ) -> Result<(), CliError> {
        let headers = [("content-type", content_type)];
        self.send(Method::PUT, path, query, &headers, Payload::Stream(Box::new(body))).map(drop)
    }

    /// Opens a WebSocket.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn socket(&self, path: &str, query: &impl Serialize) -> Result<Socket, CliError> {
        Socket::open(
            &self.base,
            &format!("{API}{path}{}", query_text(query)),
            self.token.as_deref(),
            &self.trust,
        )
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        query: &impl Serialize,
        headers: &[(&str, &str)],
        body: Payload,
    ) -> Result<Response<Body>, CliError> {
        let name = method.to_string();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{API}{path}{}", self.base, query_text(query)))
            .header("accept", "application/json, */*");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let wrong = |why| self.bad_answer(&name, path, &why);
        let answer = match body {
            Payload::Nothing => self.agent.run(request.body(()).map_err(wrong)?),
            Payload::Bytes(bytes) => self.agent.run(request.body(bytes).map_err(wrong)?),
            Payload::Stream(stream) => {
                self.agent.run(request.body(SendBody::from_owned_reader(stream)).map_err(wrong)?)
            }
        };
        let answer = answer.map_err(|why| self.unreachable(&why))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer, &name, path)) }
    }

    fn json<T: DeserializeOwned>(
        &self,
        answer: Response<Body>,
        method: &str,
        path: &str,
    ) -> Result<T, CliError> {
        let mut reader = answer.into_body().into_reader();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|why| self.bad_answer(method, path, &why))?;
        if bytes.is_empty() {
            // 202 and 204 say all in their status; `()` and `Value` are read from null.
            bytes.extend_from_slice(b"null");
        }
        serde_json::from_slice(&bytes).map_err(|why| self.bad_answer(method, path, &why))
    }

    fn refusal(&self, answer: Response<Body>, method: &str, path: &str) -> CliError {
        let status = answer.status();
        let is_problem = answer
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM.as_bytes()));
        match self.json::<Problem>(answer, method, path) {
            Ok(problem) if is_problem => CliError::Refused(problem),
            _ => CliError::Refused(Problem {
                status: status.as_u16(),
                code: "http".to_owned(),
                message: format!("{} answered {method} {path} with {status}", self.base),
                place: None,
                next: Some("is it a pool of this version?".to_owned()),
            }),
        }
    }

    fn unreachable(&self, why: &ureq::Error) -> CliError {
        CliError::Unreachable { address: self.base.clone(), why: why.to_string() }
    }

    fn bad_answer(&self, method: &str, path: &str, why: &dyn std::fmt::Display) -> CliError {
        CliError::BadAnswer { request: format!("{method} {path}"), why: why.to_string() }
    }
}

/// What goes with a request.
enum Payload {
    Nothing,
    Bytes(Vec<u8>),
    Stream(Box<dyn Read>),
}

/// The pool's own token goes only to the pool that wrote it: never to a server named otherwise.
fn own_token(dir: &std::path::Path, base: &str, local: bool) -> Option<String> {
    let ours = || std::fs::read_to_string(dir.join("address")).is_ok_and(|text| text.trim() == base);
    if !local && !ours() {
        return None;
    }
    std::fs::read_to_string(dir.join("token")).ok().map(|text| text.trim().to_owned())
}

fn is_loopback(base: &str) -> bool {
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    // A name may come with a port, and an address of IPv6 has colons of its own, in brackets.
    let host = match host.strip_prefix('[') {
        Some(inside) => inside.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `?a=1&b=2` out of a flat value; absent fields are left out.
fn query_text(query: &impl Serialize) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(query) else { return String::new() };
    let mut out = String::new();
    for (name, value) in fields {
        let text = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(&name);
        out.push('=');
        out.push_str(&encode(&text));
    }
    out
}

/// Text as one part of a path or query.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use pond_server::api::types::LogQuery;

    #[test]
    fn queries_leave_out_what_is_absent_and_encode_what_is_there() {
        let query = LogQuery { tail: Some(3), grep: Some("a&b [7]".to_owned()), ..LogQuery::default() };
        assert_eq!(query_text(&query), "?grep=a%26b%20%5B7%5D&tail=3");
        assert_eq!(query_text(&()), "");
    }
}
