//! Webhooks as Standard Webhooks 1.0.0 has them: `webhook-id`, `webhook-timestamp` and `webhook-signature`, which is
//! `v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`, so that any of its libraries verifies what we send.
//!
//! No redirect is followed, no proxy asked, nothing of an answer is read but its head.

use super::address::{self, AddressError, Allowed};
use crate::secrets;
use axum::http::{StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// The longest wait that a receiver may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);

/// Why a webhook was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It may not be sent there.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The receiver did not take it.
    #[error("it answered {status}")]
    Status {
        /// With this.
        status: u16,
        /// And wants to be left alone for so long.
        wait: Option<Duration>,
    },
    /// The receiver says that there is nothing for ever.
    #[error("it answered 410: it is gone for good")]
    Gone,
    /// It sends elsewhere.
    #[error("it answered {status}: redirects are not followed; give the address that it leads to")]
    Redirect {
        /// With this.
        status: u16,
    },
    /// It did not answer in time.
    #[error("it did not answer in time")]
    Late,
    /// It cannot be reached.
    #[error("it cannot be reached: {source}")]
    Unreachable {
        /// Why not.
        source: ureq::Error,
    },
}

/// A key as people get it.
#[must_use]
pub fn secret(key: &[u8; 32]) -> String {
    format!("whsec_{}", STANDARD.encode(key))
}

/// The signature of a body.
#[must_use]
pub fn signature(key: &[u8; 32], id: &str, seconds: u64, body: &str) -> String {
    let text = format!("{id}.{seconds}.{body}");
    format!("v1,{}", STANDARD.encode(secrets::authenticate(key, text.as_bytes())))
}

/// Gives a name's addresses if all of them may be sent to.
#[derive(Debug)]
struct Guarded {
    names: DefaultResolver,
    allowed: Allowed,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        let encrypted = uri.scheme_str() == Some("https");
        for address in &*found {
            self.allowed.check(address.ip(), encrypted).map_err(|why| ureq::Error::Other(Box::new(why)))?;
        }
        Ok(found)
    }
}

/// What is posted.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// Where to.
    pub url: &'a str,
    /// What it is signed with.
    pub key: &'a [u8; 32],
    /// Its id.
    pub id: &'a str,
    /// When, in seconds since the Unix epoch.
    pub seconds: u64,
    /// What is said.
    pub body: &'a str,
}

/// Posts it once.
///
/// # Errors
/// When it was not taken.
pub fn post(what: Post<'_>, allowed: Allowed, patience: Duration) -> Result<u16, WebhookError> {
    let Post { url, key, id, seconds, body } = what;
    let uri = address::parts(url)?;
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(patience))
        .max_idle_connections(0)
        .user_agent(concat!("pond/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent = ureq::Agent::with_parts(
        config,
        DefaultConnector::default(),
        Guarded { names: DefaultResolver::default(), allowed },
    );
    let answer = agent
        .post(uri)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds.to_string())
        .header("webhook-signature", signature(key, id, seconds, body))
        .send(body)
        .map_err(refused)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(status.as_u16());
    }
    Err(match status {
        StatusCode::GONE => WebhookError::Gone,
        _ if status.is_redirection() => WebhookError::Redirect { status: status.as_u16() },
        _ => {
            let wait = answer.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.parse().ok());
            let wait = wait.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
            WebhookError::Status { status: status.as_u16(), wait }
        }
    })
}

fn refused(why: ureq::Error) -> WebhookError {
    match why {
        ureq::Error::Timeout(_) => WebhookError::Late,
        ureq::Error::Other(inner) => match inner.downcast::<AddressError>() {
            Ok(denied) => WebhookError::Address(*denied),
            Err(inner) => WebhookError::Unreachable { source: ureq::Error::Other(inner) },
        },
        source => WebhookError::Unreachable { source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own documentation.
    #[test]
    fn signatures_are_those_of_the_specification() {
        let mut key = [0_u8; 32];
        key[..24].copy_from_slice(&STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        // HMAC pads short keys with zeros, so 24 bytes and 8 zeros are the same key.
        let body = r#"{"test": 2432232314}"#;
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
