//! Registry logins that `docker login` has saved, and what a challenge says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A user name and a password; never printed.
pub(super) struct Login {
    user: String,
    password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Login {
    /// The value of an `Authorization` header.
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// Where `docker login` keeps its logins for who runs this process.
pub(super) fn default_file() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    folder.or_else(home).map(|folder| folder.join("config.json"))
}

/// The login for a registry. A file that is missing or broken has none: an anonymous pull may do.
pub(super) fn find(file: &Path, registry: &str) -> Option<Login> {
    let bytes = std::fs::read(file).ok()?;
    let config: ConfigFile = serde_json::from_slice(&bytes).ok()?;
    let names: &[&str] = match registry {
        "docker.io" => {
            &["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"]
        }
        _ => &[registry],
    };
    let bare = |key: &str| {
        let key = key.trim_start_matches("https://").trim_start_matches("http://");
        key.split('/').next().unwrap_or("").to_owned()
    };
    let auth = names.iter().find_map(|&name| config.auths.get(name)).or_else(|| {
        config.auths.iter().find(|(key, _)| names.contains(&bare(key).as_str())).map(|(_, auth)| auth)
    })?;
    if !auth.username.is_empty() {
        return Some(Login { user: auth.username.clone(), password: auth.password.clone() });
    }
    let plain = String::from_utf8(STANDARD.decode(auth.auth.trim()).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    Some(Login { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() })
}

/// The parameters of a challenge: `realm="...",service="..."`.
pub(super) fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches(|c: char| c == ',' || c.is_whitespace()).to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((key, value.trim().to_owned()));
        rest = after;
    }
    found
}
