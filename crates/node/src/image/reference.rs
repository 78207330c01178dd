//! Names of images in registries.

use super::digest::Digest;
use super::error::ImageError;

/// A parsed image name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host, and port when given: `docker.io`, `127.0.0.1:5000`.
    pub registry: String,
    /// `library/debian`.
    pub repository: String,
    /// `latest` when nothing is said.
    pub tag: String,
    /// Fixes the content, whatever the tag says.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Reads `[registry/]repository[:tag][@digest]`.
    ///
    /// # Errors
    /// The text breaks the grammar of image names.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let bad = |why| ImageError::BadName { text: text.chars().take(200).collect(), why };
        if text.len() > 512 {
            return Err(bad("longer than 512 bytes"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let (registry, rest) = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => ("docker.io", name),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, tag),
            None => (rest, "latest"),
        };
        let repository = match registry {
            "docker.io" if !repository.contains('/') => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        if !host_is_fine(registry) {
            return Err(bad("the registry is not a host name"));
        }
        if !repository.split('/').all(part_is_fine) {
            return Err(bad("a repository is lower-case letters, digits, `.`, `_`, `-` and `/`"));
        }
        if !tag_is_fine(tag) {
            return Err(bad("a tag is up to 128 letters, digits, `.`, `_` and `-`"));
        }
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.to_owned(), digest })
    }

    /// What is asked of the registry: the digest when there is one, else the tag.
    #[must_use]
    pub fn wanted(&self) -> String {
        self.digest.map_or_else(|| self.tag.clone(), |digest| digest.to_string())
    }

    /// The address of the registry's API: plain HTTP on this machine's loopback, HTTPS elsewhere.
    pub(super) fn endpoint(&self) -> String {
        let host = if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry };
        let scheme = if is_loopback(host) { "http" } else { "https" };
        format!("{scheme}://{host}")
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)?;
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// Whether an authority (`host`, `host:port`, `[v6]:port`) is this machine itself.
pub(super) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn host_is_fine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => {
            if port.parse::<u16>().is_err() {
                return false;
            }
            name
        }
        _ => host,
    };
    if let Some(inner) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

fn part_is_fine(part: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !part.is_empty()
        && part.bytes().all(|byte| inner(byte) || matches!(byte, b'.' | b'_' | b'-'))
        && part.bytes().next().is_some_and(inner)
        && part.bytes().last().is_some_and(inner)
}

fn tag_is_fine(tag: &str) -> bool {
    tag.len() <= 128
        && tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}
