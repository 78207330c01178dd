//! Logging in through an identity provider: OpenID Connect, authorization code with PKCE (RFC 7636), state and nonce.
//!
//! The protocol and its checks are the library's. Ours are what is asked for, what of the answer counts, and who one is here:
//! a user is known by issuer and subject, never by a name that the provider lets people change.
//!
//! ```text
//! begin ─▶ browser goes to the provider ─▶ comes back with code and state ─▶ finish ─▶ issuer, subject, name, groups
//! ```
//! Requests to the provider block; call from a thread that may.

use super::rights::{Grants, Role};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType, CoreGenderClaim,
    CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IdTokenFields, IssuerUrl,
    Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    StandardErrorResponse, StandardTokenResponse, TokenResponse, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// How long one request to the provider may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer of a provider, in bytes.
const ANSWER: u64 = 1 << 20;
/// How long what a provider says of itself, its keys with it, is taken for true.
const FRESH: Duration = Duration::from_secs(300);

/// A provider, as a file in TOML says it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Its issuer identifier: `https://login.example.org`.
    pub issuer: String,
    /// What it knows this pool by.
    pub client_id: String,
    /// The secret that goes with it; a public client has none.
    #[serde(default)]
    pub client_secret: Option<String>,
    /// Where browsers find this pool: `https://pond.example.org`. The provider sends them back to `/login/provider/done` there.
    pub pool: String,
    /// What stands on the button.
    #[serde(default = "plain_label")]
    pub label: String,
    /// The claim that names a new user.
    #[serde(default = "plain_name")]
    pub name_claim: String,
    /// The claim that lists groups.
    #[serde(default = "plain_groups")]
    pub groups_claim: String,
    /// Asked for beside `openid`.
    #[serde(default = "plain_scopes")]
    pub scopes: Vec<String>,
    /// Certificates (PEM) to trust instead of the well-known ones.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// What groups give. Who is in none of these may log in and may do nothing, unless given a role by hand.
    #[serde(default)]
    pub groups: Vec<GroupRole>,
}

fn plain_label() -> String {
    "your identity provider".to_owned()
}

fn plain_name() -> String {
    "preferred_username".to_owned()
}

fn plain_groups() -> String {
    "groups".to_owned()
}

fn plain_scopes() -> Vec<String> {
    ["profile", "groups"].map(str::to_owned).to_vec()
}

/// A role that a group gives.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRole {
    /// The group's name at the provider.
    pub group: String,
    /// In which project; empty: in the pool.
    #[serde(default)]
    pub project: String,
    /// Which role.
    pub role: Role,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Why a provider's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds a secret that others can read.
    #[error("{path} can be read by others and holds a secret: `chmod 600 {path}`")]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// It is not what it should be.
    #[error("{path}: {source}")]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: toml::de::Error,
    },
    /// Codes and tokens would cross the network readable.
    #[error("{path}: {url} must begin with https://, or be on the loopback")]
    Plain {
        /// The file.
        path: PathBuf,
        /// The address.
        url: String,
    },
}

/// Whether an address is safe from listeners.
fn is_safe(url: &str) -> bool {
    let host = |url: &str| url.split(['/', ':', '?']).next().unwrap_or_default().to_owned();
    url.starts_with("https://")
        || url.strip_prefix("http://").is_some_and(|rest| ["127.0.0.1", "localhost"].contains(&&*host(rest)))
}

impl Provider {
    /// Reads a provider's file.
    ///
    /// # Errors
    /// When it cannot be read, is readable by others, or says something unsafe.
    pub fn read(path: &Path) -> Result<Self, ProviderError> {
        let here = || path.to_owned();
        let read = |source| ProviderError::Read { path: here(), source };
        if std::fs::metadata(path).map_err(read)?.mode() & 0o077 != 0 {
            return Err(ProviderError::Open { path: here() });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let provider: Self =
            toml::from_str(&text).map_err(|source| ProviderError::Bad { path: here(), source })?;
        let plain = [&provider.issuer, &provider.pool].into_iter().find(|url| !is_safe(url)).cloned();
        plain.map_or(Ok(provider), |url| Err(ProviderError::Plain { path: here(), url }))
    }

    /// The name that browsers know this pool by.
    #[must_use]
    pub fn host(&self) -> String {
        let rest = self.pool.split_once("://").map_or("", |(_, rest)| rest);
        rest.split([':', '/']).next().unwrap_or_default().to_owned()
    }

    /// The roles that groups give; of several in one project the highest.
    #[must_use]
    pub fn roles(&self, groups: &[String]) -> Grants {
        let mut roles = Grants::new();
        for given in self.groups.iter().filter(|given| groups.contains(&given.group)) {
            let kept = roles.entry(given.project.clone()).or_insert(given.role);
            *kept = (*kept).max(given.role);
        }
        roles
    }
}

/// All claims beyond the standard ones.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Extra(BTreeMap<String, Value>);

impl AdditionalClaims for Extra {}

type Fields = IdTokenFields<
    Extra,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type Answer = StandardTokenResponse<Fields, CoreTokenType>;
type Pond = Client<
    Extra,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Why somebody was not let in through the provider.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// It does not answer, or not as it should. The text is for the server's log, not for browsers.
    #[error("the identity provider cannot be asked ({step}): {text}")]
    Unreachable {
        /// At which step.
        step: &'static str,
        /// What went wrong.
        text: String,
    },
    /// What it gave is not what it must be: a signature, an audience, a nonce, a time.
    #[error("the identity provider's answer does not hold ({step}): {text}")]
    Refused {
        /// Which check.
        step: &'static str,
        /// What went wrong.
        text: String,
    },
}

/// Somebody's way to the provider, kept until they come back.
#[derive(Debug)]
pub struct Departure {
    /// Where the browser goes.
    pub url: String,
    /// What it has to come back with.
    pub state: String,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
}

/// Whom the provider says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The provider's own name for them, which never changes.
    pub subject: String,
    /// What they are called, when it says.
    pub name: Option<String>,
    /// Their groups.
    pub groups: Vec<String>,
}

impl Arrival {
    /// Somebody of whom the provider says all that it must.
    ///
    /// # Errors
    /// It has no name of its own for them: all such would be one person.
    pub fn new(subject: String, name: Option<String>, groups: Vec<String>) -> Result<Self, OidcError> {
        if subject.is_empty() {
            let text = "its subject is empty".to_owned();
            return Err(OidcError::Refused { step: "the ID token", text });
        }
        Ok(Self { subject, name, groups })
    }
}

/// The pool as a client of a provider.
pub struct Oidc {
    /// As the file says it.
    pub provider: Provider,
    agent: ureq::Agent,
    known: Mutex<Option<(Instant, CoreProviderMetadata)>>,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.provider.fmt(f)
    }
}

fn unreachable(step: &'static str, why: &dyn std::error::Error) -> OidcError {
    OidcError::Unreachable { step, text: chain(why) }
}

fn refused(step: &'static str, why: &dyn std::error::Error) -> OidcError {
    OidcError::Refused { step, text: chain(why) }
}

/// An error with its causes.
fn chain(why: &dyn std::error::Error) -> String {
    let mut text = why.to_string();
    let mut at = why.source();
    while let Some(cause) = at {
        text.push_str(&format!(": {cause}"));
        at = cause.source();
    }
    text
}

impl Oidc {
    /// Nothing is asked yet: a provider that is down keeps no pool from starting.
    ///
    /// # Errors
    /// When the file of certificates cannot be read.
    pub fn new(provider: Provider) -> Result<Self, ProviderError> {
        let roots = match &provider.ca {
            None => ureq::tls::RootCerts::WebPki,
            Some(path) => {
                let pem = std::fs::read(path)
                    .map_err(|source| ProviderError::Read { path: path.clone(), source })?;
                let own = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
                let own: Vec<_> = own.map(|der| ureq::tls::Certificate::from_der(&der).to_owned()).collect();
                ureq::tls::RootCerts::new_with_certs(&own)
            }
        };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE))
            .user_agent(concat!("pond/", env!("CARGO_PKG_VERSION")))
            .tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build());
        Ok(Self { provider, agent: config.build().new_agent(), known: Mutex::new(None) })
    }

    /// One request. Follows no redirect: a provider that could be sent elsewhere could be made to ask our own network.
    fn ask(&self, request: HttpRequest) -> Result<HttpResponse, ureq::Error> {
        let answer = self.agent.run(request)?;
        let (head, mut body) = answer.into_parts();
        let bytes = body.with_config().limit(ANSWER).read_to_vec()?;
        Ok(HttpResponse::from_parts(head, bytes))
    }

    fn client(&self) -> Result<Pond, OidcError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = match known.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            Some((_, metadata)) => metadata.clone(),
            None => {
                let issuer = IssuerUrl::new(self.provider.issuer.clone())
                    .map_err(|why| unreachable("its address", &why))?;
                let metadata = CoreProviderMetadata::discover(&issuer, &|request| self.ask(request))
                    .map_err(|why| unreachable("discovery", &why))?;
                *known = Some((Instant::now(), metadata.clone()));
                metadata
            }
        };
        let back = format!("{}/login/provider/done", self.provider.pool.trim_end_matches('/'));
        let back = RedirectUrl::new(back).map_err(|why| unreachable("our own address", &why))?;
        let id = ClientId::new(self.provider.client_id.clone());
        let secret = self.provider.client_secret.clone().map(ClientSecret::new);
        Ok(Pond::from_provider_metadata(metadata, id, secret).set_redirect_uri(back))
    }

    /// Prepares somebody's way to the provider.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub fn begin(&self) -> Result<Departure, OidcError> {
        let client = self.client()?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let mut request = client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
        for scope in &self.provider.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let (url, state, nonce) = request.set_pkce_challenge(challenge).url();
        Ok(Departure { url: url.to_string(), state: state.secret().clone(), nonce, verifier })
    }

    /// Exchanges the code that somebody came back with, and checks all that comes of it.
    ///
    /// # Errors
    /// When the provider does not answer or what it says does not hold.
    pub fn finish(&self, departure: Departure, code: String) -> Result<Arrival, OidcError> {
        let client = self.client()?;
        let ask = |request| self.ask(request);
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|why| unreachable("its token endpoint", &why))?
            .set_pkce_verifier(departure.verifier)
            .request(&ask)
            .map_err(|why| refused("the code", &why))?;
        let token = answer.id_token().ok_or_else(|| OidcError::Refused {
            step: "the answer",
            text: "it holds no ID token".to_owned(),
        })?;
        let claims = token
            .claims(&client.id_token_verifier(), &departure.nonce)
            .map_err(|why| refused("the ID token", &why))?;
        let subject = claims.subject().clone();
        // The library reads the standard claims apart from the others.
        let mut found = claims.additional_claims().0.clone();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                found.entry(name.to_owned()).or_insert(Value::String(value));
            }
        };
        add("preferred_username", claims.preferred_username().map(|name| name.to_string()));
        add("email", claims.email().map(|email| email.to_string()));
        let wanted = [&self.provider.name_claim, &self.provider.groups_claim];
        if wanted.iter().any(|claim| !found.contains_key(*claim))
            && let Ok(request) = client.user_info(answer.access_token().clone(), Some(subject.clone()))
        {
            let more: UserInfoClaims<Extra, CoreGenderClaim> =
                request.request(&ask).map_err(|why| refused("its claims", &why))?;
            let mut add = |name: &str, value: Option<String>| {
                if let Some(value) = value {
                    found.entry(name.to_owned()).or_insert(Value::String(value));
                }
            };
            add("preferred_username", more.preferred_username().map(|name| name.to_string()));
            add("email", more.email().map(|email| email.to_string()));
            for (name, value) in &more.additional_claims().0 {
                found.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let groups = match found.get(&self.provider.groups_claim) {
            Some(Value::Array(list)) => list.iter().filter_map(text).collect(),
            Some(Value::String(one)) => vec![one.clone()],
            _ => Vec::new(),
        };
        let name = found.get(&self.provider.name_claim).and_then(text);
        Arrival::new(subject.to_string(), name, groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_give_the_highest_role_they_name() {
        let text = "issuer = 'https://login.example.org'\nclient_id = 'pond'\npool = 'https://pond.example.org'\n\
                    [[groups]]\ngroup = 'ml'\nproject = 'lab'\nrole = 'member'\n\
                    [[groups]]\ngroup = 'leads'\nproject = 'lab'\nrole = 'admin'\n\
                    [[groups]]\ngroup = 'ops'\nrole = 'viewer'\n";
        let provider: Provider = toml::from_str(text).unwrap();
        let roles = |groups: &[&str]| {
            provider.roles(&groups.iter().map(|&group| group.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(roles(&["ml", "leads", "else"]), Grants::from([("lab".to_owned(), Role::Admin)]));
        assert_eq!(roles(&["ops"]), Grants::from([(String::new(), Role::Viewer)]));
        assert_eq!(roles(&["ML", ""]), Grants::new());
        assert!(toml::from_str::<Provider>(&format!("{text}role = 'viewer'")).is_err());
    }

    #[test]
    fn nobody_arrives_without_a_subject() {
        assert!(Arrival::new(String::new(), Some("ann".to_owned()), Vec::new()).is_err());
        assert_eq!(Arrival::new("u1".to_owned(), None, Vec::new()).unwrap().subject, "u1");
    }

    #[test]
    fn nothing_crosses_the_network_readable() {
        for url in ["https://a.example", "http://127.0.0.1:9/x", "http://localhost:9"] {
            assert!(is_safe(url), "{url}");
        }
        for url in [
            "http://a.example",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "",
            "ftp://x",
        ] {
            assert!(!is_safe(url), "{url}");
        }
    }
}
