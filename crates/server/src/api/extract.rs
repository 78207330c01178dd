//! Reading requests: parameters and bodies, within limits of size and time, errors as problems.

use super::Shared;
use super::guard::Caller;
use super::types::Problem;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use pond_core::ids::TaskId;
use serde::de::DeserializeOwned;

/// The largest body that is not a stream, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// Query parameters; unknown ones are refused.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(why) => {
                Err(Problem::bad_request("bad_parameter", deepest(&why)).at("the query part of the address"))
            }
        }
    }
}

/// The number of a job in the path.
#[derive(Clone, Copy, Debug)]
pub struct JobNumber(pub u64);

impl<S: Send + Sync> FromRequestParts<S> for JobNumber {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = last_path(parts, state).await?;
        match text.parse::<u64>() {
            Ok(number) if i64::try_from(number).is_ok() => Ok(Self(number)),
            _ => {
                Err(Problem::bad_request("bad_id", format!("`{}` is not the number of a job", short(&text))))
            }
        }
    }
}

/// A task in the path.
#[derive(Clone, Copy, Debug)]
pub struct TaskPath(pub TaskId);

impl<S: Send + Sync> FromRequestParts<S> for TaskPath {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = last_path(parts, state).await?;
        match text.parse() {
            Ok(task) => Ok(Self(task)),
            Err(why) => Err(Problem::bad_request("bad_id", short(&format!("{why}")))),
        }
    }
}

/// A name in the path.
#[derive(Clone, Debug)]
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = last_path(parts, state).await?;
        if text.is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
            return Err(Problem::bad_request("bad_name", "a name has 1 to 200 characters that can be seen"));
        }
        Ok(Self(text))
    }
}

async fn last_path<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    Path::<String>::from_request_parts(parts, state)
        .await
        .map(|Path(text)| text)
        .map_err(|why| Problem::bad_request("bad_path", why.body_text()))
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _state: &Shared) -> Result<Self, Problem> {
        // The guard lets nobody through to a handler that asks for its caller without one.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "this needs a token"))
    }
}

/// A whole body in memory with its content type, without parameters, in lower case.
#[derive(Debug)]
pub struct Whole {
    /// `application/json`, ... ; empty when not said.
    pub content_type: String,
    /// The body.
    pub bytes: Bytes,
}

impl FromRequest<Shared> for Whole {
    type Rejection = Problem;
    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Problem> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let bytes = whole(request.into_body(), shared).await?;
        Ok(Self { content_type, bytes })
    }
}

/// A body of JSON. An empty one counts as `{}`.
#[derive(Debug)]
pub struct Body1<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body1<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Problem> {
        let Whole { content_type, bytes } = Whole::from_request(request, shared).await?;
        if !matches!(content_type.as_str(), "" | "application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "bad_content_type",
                format!("`{}` is not understood here", short(&content_type)),
            )
            .with_next("send application/json"));
        }
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        match serde_json::from_slice(text) {
            Ok(value) => Ok(Self(value)),
            Err(why) => Err(bad_json(&why)),
        }
    }
}

/// What is wrong with a body of JSON. Never quotes a value: it may be a secret.
#[must_use]
pub fn bad_json(why: &serde_json::Error) -> Problem {
    let place = format!("line {} column {} of the body", why.line(), why.column());
    match why.classify() {
        serde_json::error::Category::Data => {
            let text = why.to_string();
            let safe = text.starts_with("unknown field") || text.starts_with("missing field");
            let message = match safe {
                true => text.split(" at line ").next().unwrap_or_default().to_owned(),
                false => "a value of the wrong type, or out of its range".to_owned(),
            };
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_field", message).at(place)
        }
        _ => Problem::bad_request("bad_json", "the body is not JSON").at(place),
    }
}

async fn whole(body: Body, shared: &Shared) -> Result<Bytes, Problem> {
    let reading = axum::body::to_bytes(body, MAX_BODY);
    match tokio::time::timeout(shared.gate.body_time, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_too_large_or_broken)) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("a body may have {MAX_BODY} bytes"),
        )),
        Err(_late) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_too_slow",
            format!("the body did not come within {} s", shared.gate.body_time.as_secs()),
        )),
    }
}

/// The innermost cause of an error, as text.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    short(&at.to_string())
}

/// Text of others cut to a length that fits a message.
#[must_use]
pub fn short(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
