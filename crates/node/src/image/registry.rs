//! The registry client: manifests and blobs over the distribution API, anonymous, token or basic login.
//!
//! Credentials go to the registry they belong to and to the token service it names, never along a redirect to
//! another host, and never in clear text to another machine.

use super::digest::{Digest, Hashing};
use super::error::ImageError;
use super::login::{self, Login};
use super::manifest::MAX_DOCUMENT;
use super::reference::{Reference, is_loopback};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;
use ureq::http::{Response, Uri, header};
use ureq::{Agent, Body};

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const MAX_REDIRECTS: u32 = 5;
/// Tries of one request that fails for reasons that pass; each waits twice as long as the one before.
const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Longest token taken from a token service.
const MAX_TOKEN: u64 = 256 * 1024;

/// A connection to one repository.
pub(super) struct Client {
    agent: Agent,
    reference: Reference,
    endpoint: String,
    login: Option<Login>,
    /// The `Authorization` header that the registry accepted last.
    authorization: Option<String>,
}

/// A manifest as the registry keeps it.
pub(super) struct Fetched {
    pub digest: Digest,
    pub bytes: Vec<u8>,
}

impl Client {
    pub(super) fn new(reference: &Reference, docker_config: Option<&Path>) -> Self {
        let endpoint = reference.endpoint();
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("pond/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls())
            .timeout_resolve(Some(Duration::from_secs(10)))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(30)))
            .timeout_per_read(Some(Duration::from_secs(30)));
        if endpoint.starts_with("http:") {
            config = config.proxy(None);
        }
        Self {
            agent: config.build().new_agent(),
            reference: reference.clone(),
            endpoint,
            login: docker_config.and_then(|file| login::find(file, &reference.registry)),
            authorization: None,
        }
    }

    /// Fetches a manifest by tag or digest; by digest it is verified.
    pub(super) fn manifest(&mut self, wanted: &str) -> Result<Fetched, ImageError> {
        let url = format!("{}/v2/{}/manifests/{wanted}", self.endpoint, self.reference.repository);
        let mut answer = self.get(&url, Some(ACCEPT), 0)?;
        self.expect_ok(&answer, &url, wanted)?;
        let named = answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        let named: Option<Digest> = named.and_then(|text| text.parse().ok());
        let bytes = self.small_body(&mut answer, &url, MAX_DOCUMENT)?;
        let digest = Digest::of(&bytes);
        let expected = if wanted.contains(':') { Some(wanted.parse()?) } else { named };
        match expected {
            Some(expected) if expected != digest => Err(ImageError::DigestMismatch {
                what: format!("the manifest of {}", self.reference),
                expected,
                got: digest,
            }),
            _ => Ok(Fetched { digest, bytes }),
        }
    }

    /// Fetches a small blob into memory, verified.
    pub(super) fn document(&mut self, what: &str, digest: Digest) -> Result<Vec<u8>, ImageError> {
        let url = self.blob_url(digest);
        let mut answer = self.get(&url, None, 0)?;
        self.expect_ok(&answer, &url, &digest.to_string())?;
        let bytes = self.small_body(&mut answer, &url, MAX_DOCUMENT)?;
        match Digest::of(&bytes) {
            got if got == digest => Ok(bytes),
            got => Err(ImageError::DigestMismatch {
                what: format!("{what} of {}", self.reference),
                expected: digest,
                got,
            }),
        }
    }

    /// Fetches a blob into a file, going on where an earlier try ended; verified when it returns.
    ///
    /// `progress` is told the bytes that are there and answers whether to go on.
    pub(super) fn blob(
        &mut self,
        digest: Digest,
        size: u64,
        into: &Path,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), ImageError> {
        let what = format!("layer {digest} of {}", self.reference);
        let mut fruitless = 0;
        let mut restarted = false;
        loop {
            let mut file = open_part(into)?;
            let before = file.metadata().map_err(ImageError::io("look at", into))?.len();
            if before < size {
                match self.blob_rest(digest, size, &mut file, into, progress) {
                    Ok(()) => {}
                    Err(why) if fruitless >= TRIES || !matches!(why, ImageError::Unreachable { .. }) => {
                        return Err(why);
                    }
                    Err(_passing) => {}
                }
                let now = file.metadata().map_err(ImageError::io("look at", into))?.len();
                if now < size {
                    fruitless = if now > before { 1 } else { fruitless + 1 };
                    if fruitless > TRIES {
                        return Err(ImageError::SizeMismatch { what, expected: size, got: now });
                    }
                    self.wait(fruitless, &mut || progress(now))?;
                    continue;
                }
            }
            file.rewind().map_err(ImageError::io("read", into))?;
            let mut hashing = Hashing::new(&mut file);
            io::copy(&mut hashing, &mut io::sink()).map_err(ImageError::io("read", into))?;
            let (got_size, got) = (hashing.count(), hashing.digest());
            if got_size == size && got == digest {
                return Ok(());
            }
            file.set_len(0).map_err(ImageError::io("empty", into))?;
            // what was there from an earlier try may be at fault: once more from nothing
            if before == 0 || restarted {
                return Err(match got_size {
                    _ if got_size != size => ImageError::SizeMismatch { what, expected: size, got: got_size },
                    _ => ImageError::DigestMismatch { what, expected: digest, got },
                });
            }
            restarted = true;
        }
    }

    /// One request for what is missing of a blob; a body that breaks off leaves what came.
    fn blob_rest(
        &mut self,
        digest: Digest,
        size: u64,
        file: &mut File,
        path: &Path,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), ImageError> {
        let have = file.metadata().map_err(ImageError::io("look at", path))?.len();
        let url = self.blob_url(digest);
        let mut answer = self.get(&url, None, have)?;
        if answer.status() == 416 {
            return file.set_len(0).map_err(ImageError::io("empty", path));
        }
        self.expect_ok(&answer, &url, &digest.to_string())?;
        let continues = answer.status() == 206 && range_start(&answer) == Some(have);
        if answer.status() == 206 && !continues {
            return Err(self.bad_answer(&url, "a part of the content that was not asked for"));
        }
        let mut at = if continues { have } else { 0 };
        file.set_len(at).map_err(ImageError::io("empty", path))?;
        file.seek(io::SeekFrom::Start(at)).map_err(ImageError::io("write", path))?;
        let mut body = answer.body_mut().with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Err(_broken) => return Ok(()),
            };
            at = at.saturating_add(read as u64);
            if at > size {
                let what = format!("layer {digest} of {}", self.reference);
                file.set_len(0).map_err(ImageError::io("empty", path))?;
                return Err(ImageError::SizeMismatch { what, expected: size, got: at });
            }
            file.write_all(&buffer[..read]).map_err(ImageError::io("write", path))?;
            if !progress(at) {
                return Err(ImageError::Cancelled { image: self.reference.to_string() });
            }
        }
    }

    // ---- requests ----

    /// One GET with login, redirects and another try for what passes.
    fn get(&mut self, url: &str, accept: Option<&str>, from: u64) -> Result<Response<Body>, ImageError> {
        let mut asked_to_log_in = false;
        let mut failures = 0;
        loop {
            let answer = match self.get_once(url, accept, from) {
                Ok(answer) => answer,
                Err(why @ ImageError::Unreachable { .. }) => {
                    failures += 1;
                    // nothing listens there: waiting a second does not change that
                    let hopeless =
                        matches!(&why, ImageError::Unreachable { source, .. } if is_hopeless(source));
                    if hopeless || failures >= TRIES {
                        return Err(why);
                    }
                    self.wait(failures, &mut || true)?;
                    continue;
                }
                Err(why) => return Err(why),
            };
            match answer.status().as_u16() {
                401 if !asked_to_log_in => {
                    asked_to_log_in = true;
                    if !self.log_in(&answer)? {
                        return Ok(answer);
                    }
                }
                500..=599 if failures + 1 < TRIES => {
                    failures += 1;
                    self.wait(failures, &mut || true)?;
                }
                _ => return Ok(answer),
            }
        }
    }

    fn get_once(&self, url: &str, accept: Option<&str>, from: u64) -> Result<Response<Body>, ImageError> {
        let mut url = url.to_owned();
        let home = authority(&self.endpoint);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(&url);
            if let Some(accept) = accept {
                request = request.header(header::ACCEPT, accept);
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            if let Some(authorization) = &self.authorization
                && authority(&url) == home
            {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let answer = request.call().map_err(|why| self.unreachable(why))?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            let to = to.ok_or_else(|| self.bad_answer(&url, "a redirect to nowhere"))?;
            url = join(&url, to);
            check_clear_text(&url)?;
        }
        Err(self.bad_answer(&url, "too many redirects"))
    }

    /// Follows a `WWW-Authenticate` challenge. `false`: there is none that can be followed.
    fn log_in(&mut self, answer: &Response<Body>) -> Result<bool, ImageError> {
        let challenges = answer.headers().get_all(header::WWW_AUTHENTICATE);
        for challenge in challenges.iter().filter_map(|value| value.to_str().ok()) {
            let (scheme, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
            if scheme.eq_ignore_ascii_case("basic")
                && let Some(login) = &self.login
            {
                self.authorization = Some(login.basic());
                return Ok(true);
            }
            if scheme.eq_ignore_ascii_case("bearer") {
                let token = self.token(&login::parameters(parameters))?;
                self.authorization = Some(format!("Bearer {token}"));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn token(&self, challenge: &[(String, String)]) -> Result<String, ImageError> {
        let find =
            |key: &str| challenge.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let realm = find("realm")
            .ok_or_else(|| self.bad_answer(&self.endpoint, "a login challenge without realm"))?;
        check_clear_text(realm)?;
        // a registry on another machine must not make this one talk to its own loopback
        if is_loopback(&authority(realm)) && !is_loopback(&authority(&self.endpoint)) {
            return Err(ImageError::Insecure { url: realm.to_owned() });
        }
        let default_scope = format!("repository:{}:pull", self.reference.repository);
        let mut request = self.agent.get(realm).query("scope", find("scope").unwrap_or(&default_scope));
        if let Some(service) = find("service") {
            request = request.query("service", service);
        }
        if let Some(login) = &self.login {
            request = request.header(header::AUTHORIZATION, login.basic());
        }
        let mut answer = request.call().map_err(|why| self.unreachable(why))?;
        match answer.status().as_u16() {
            200 => {}
            status @ (401 | 403) => return Err(self.denied(status)),
            status => return Err(self.bad_answer(realm, &format!("status {status}"))),
        }
        #[derive(serde::Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let bytes = self.small_body(&mut answer, realm, MAX_TOKEN)?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        let text = token.and_then(|token| token.token.or(token.access_token));
        text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| self.bad_answer(realm, "no token"))
    }

    fn expect_ok(&self, answer: &Response<Body>, url: &str, wanted: &str) -> Result<(), ImageError> {
        match answer.status().as_u16() {
            200 | 206 => Ok(()),
            404 => Err(ImageError::NotFound {
                registry: self.reference.registry.clone(),
                repository: self.reference.repository.clone(),
                reference: wanted.to_owned(),
            }),
            status @ (401 | 403) => Err(self.denied(status)),
            429 => Err(ImageError::RateLimited { registry: self.reference.registry.clone() }),
            status => Err(self.bad_answer(url, &format!("status {status}"))),
        }
    }

    fn small_body(&self, answer: &mut Response<Body>, url: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
        answer.body_mut().with_config().limit(limit).read_to_vec().map_err(|why| match why {
            ureq::Error::BodyExceedsLimit(_) => self.bad_answer(url, "a document of many megabytes"),
            why => self.unreachable(why),
        })
    }

    fn wait(&self, failures: u32, go_on: &mut dyn FnMut() -> bool) -> Result<(), ImageError> {
        let wait = FIRST_WAIT * 2_u32.saturating_pow(failures.saturating_sub(1)).min(16);
        std::thread::sleep(wait);
        if go_on() { Ok(()) } else { Err(ImageError::Cancelled { image: self.reference.to_string() }) }
    }

    fn blob_url(&self, digest: Digest) -> String {
        format!("{}/v2/{}/blobs/{digest}", self.endpoint, self.reference.repository)
    }

    fn unreachable(&self, source: ureq::Error) -> ImageError {
        ImageError::Unreachable { registry: self.reference.registry.clone(), source: Box::new(source) }
    }

    fn bad_answer(&self, url: &str, why: &str) -> ImageError {
        // what follows the question mark may be a signature
        let url = url.split('?').next().unwrap_or("").to_owned();
        ImageError::BadAnswer { registry: self.reference.registry.clone(), url, why: why.to_owned() }
    }

    fn denied(&self, status: u16) -> ImageError {
        ImageError::Denied {
            registry: self.reference.registry.clone(),
            repository: self.reference.repository.clone(),
            status,
            login: if self.login.is_some() { "with the saved login" } else { "without login" },
        }
    }
}

fn is_hopeless(why: &ureq::Error) -> bool {
    match why {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        ureq::Error::Io(why) => why.kind() == io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

fn open_part(path: &Path) -> Result<File, ImageError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(ImageError::io("create", path))
}

fn range_start(answer: &Response<Body>) -> Option<u64> {
    let range = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// Host and port of an address; empty when it has none or carries a login.
fn authority(url: &str) -> String {
    let uri: Option<Uri> = url.parse().ok();
    let authority = uri.and_then(|uri| uri.authority().map(ToString::to_string)).unwrap_or_default();
    if authority.contains('@') { String::new() } else { authority }
}

fn check_clear_text(url: &str) -> Result<(), ImageError> {
    let secure = url.starts_with("https://") && !authority(url).is_empty();
    let local = url.starts_with("http://") && is_loopback(&authority(url));
    if secure || local {
        Ok(())
    } else {
        Err(ImageError::Insecure { url: url.split('?').next().unwrap_or("").to_owned() })
    }
}

/// The address a `Location` means, seen from the address that sent it.
fn join(base: &str, to: &str) -> String {
    if to.contains("://") {
        return to.to_owned();
    }
    let root_at = base.find("://").map_or(0, |at| at + 3);
    let root = &base[..base[root_at..].find('/').map_or(base.len(), |at| root_at + at)];
    let scheme = &base[..root_at.saturating_sub(2)];
    match to {
        _ if to.starts_with("//") => format!("{scheme}{to}"),
        _ if to.starts_with('/') => format!("{root}{to}"),
        _ => {
            let path = base.split('?').next().unwrap_or(base);
            let folder = path.rfind('/').filter(|&at| at >= root.len()).map_or(path, |at| &path[..at]);
            format!("{folder}/{to}")
        }
    }
}

/// Trusts what the machine trusts; without a list of its own, Mozilla's roots.
fn tls() -> ureq::tls::TlsConfig {
    let certificates = std::fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    let roots: Vec<_> = ureq::tls::parse_pem(&certificates)
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    let builder = ureq::tls::TlsConfig::builder();
    if roots.is_empty() {
        return builder.build();
    }
    builder.root_certs(ureq::tls::RootCerts::new_with_certs(&roots)).build()
}
