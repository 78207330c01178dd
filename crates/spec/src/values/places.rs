//! Where things are: images, volumes, ports, and the paths in them.

use super::{ValueError, text_value};
use crate::limits;
use std::fmt;
use std::str::FromStr;

/// `host`, an image in a registry, or an OCI layout on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageText {
    /// The machine's own root.
    Host,
    /// A folder or tar file: starts with `/`, `./` or `../`.
    Layout(String),
    /// A registry reference.
    Registry(String),
}

/// `/host/folder:/inside[:ro]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeText {
    /// On the machine; relative to the job file's folder when it starts with `.`.
    pub source: String,
    /// Inside; absolute.
    pub target: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// `8888`, or `9000:8888` for a port of the machine's loopback and the port inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortText {
    /// Inside.
    pub container: u16,
    /// On the machine's loopback; 0 lets the node choose.
    pub host: u16,
}

/// `1000` or `1000:100`: user and group ids inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserText {
    /// The user.
    pub uid: u32,
    /// The group; that of the user's number when none was given.
    pub gid: u32,
}

text_value!(
    ImageText,
    "`host`, an image, or the path of an OCI layout",
    ["string"],
    ["host", "pytorch/pytorch:2.13.0", "./image.tar"]
);
text_value!(
    VolumeText,
    "a volume: /host/folder:/inside[:ro]",
    ["string"],
    ["/srv/data:/data:ro", "./out:/out"]
);
text_value!(PortText, "a port, or host:inside", ["integer", "string"], [8888, "9000:8888"]);

text_value!(UserText, "a user id, or user:group ids", ["integer", "string"], [1000, "1000:100"]);

impl FromStr for ImageText {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "host" {
            return Ok(Self::Host);
        }
        if text.starts_with(['/', '.']) {
            clean(text)?;
            return Ok(Self::Layout(text.to_owned()));
        }
        let wrong = || {
            ValueError::form(text, "an image", "host, pytorch/pytorch:2.13.0, or ./folder of an OCI layout")
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let digest_fits = digest.is_none_or(|digest| {
            digest
                .strip_prefix("sha256:")
                .is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit()))
        });
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let tag_fits = tag.is_none_or(|tag| {
            !tag.is_empty()
                && tag.len() <= 128
                && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        });
        let name_fits = name.len() <= 255
            && name.split('/').enumerate().all(|(place, part)| {
                !part.is_empty()
                    && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && part.chars().all(|c| {
                        c.is_ascii_lowercase()
                            || c.is_ascii_digit()
                            || "._-".contains(c)
                            || place == 0 && (c == ':' || c.is_ascii_uppercase())
                    })
            });
        if digest_fits && tag_fits && name_fits { Ok(Self::Registry(text.to_owned())) } else { Err(wrong()) }
    }
}

impl fmt::Display for ImageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Layout(text) | Self::Registry(text) => f.write_str(text),
        }
    }
}

impl FromStr for VolumeText {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::form(text, "a volume", "/host/folder:/inside or /host/folder:/inside:ro");
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, read_only) = match parts.as_slice() {
            [source, target] | [source, target, "rw"] => (*source, *target, false),
            [source, target, "ro"] => (*source, *target, true),
            _ => return Err(wrong()),
        };
        if source.is_empty() {
            return Err(wrong());
        }
        if !source.starts_with(['/', '.']) {
            return Err(ValueError::NamedVolume { name: crate::read::short(source) });
        }
        clean(source)?;
        let target = absolute(target)?;
        if target == "/" {
            return Err(ValueError::Path {
                path: target,
                why: "would hide the whole root; give a folder below it",
            });
        }
        Ok(Self { source: source.to_owned(), target, read_only })
    }
}

impl fmt::Display for VolumeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.source, self.target, if self.read_only { ":ro" } else { "" })
    }
}

impl FromStr for PortText {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::form(text, "a port", "8888, or 9000:8888 for port 9000 of the machine");
        let port = |part: &str| match part.trim().parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(wrong()),
        };
        match text.split_once(':') {
            Some((host, container)) => Ok(Self { container: port(container)?, host: port(host)? }),
            None => Ok(Self { container: port(text)?, host: 0 }),
        }
    }
}

impl fmt::Display for PortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            0 => self.container.fmt(f),
            host => write!(f, "{host}:{}", self.container),
        }
    }
}

impl FromStr for UserText {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong =
            || ValueError::form(text, "a user", "its number, 1000, or 1000:100 with the number of a group");
        // The largest number stands for nobody at all in the kernel's calls.
        let id = |part: &str| match part.trim().parse::<u32>() {
            Ok(id) if id < u32::MAX => Ok(id),
            _ => Err(wrong()),
        };
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        Ok(Self { uid: id(uid)?, gid: id(gid)? })
    }
}

impl fmt::Display for UserText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// A path that a kernel takes.
pub(crate) fn clean(path: &str) -> Result<(), ValueError> {
    let wrong = |why| Err(ValueError::Path { path: crate::read::short(path), why });
    if path.is_empty() {
        return wrong("is empty");
    }
    if path.len() > limits::PATH {
        return wrong("is longer than 4095 bytes");
    }
    if path.chars().any(char::is_control) {
        return wrong("holds a control character");
    }
    Ok(())
}

/// A path inside a task: absolute, without `..`, written without `.` parts and double slashes.
pub(crate) fn absolute(path: &str) -> Result<String, ValueError> {
    clean(path)?;
    let wrong = |why| Err(ValueError::Path { path: crate::read::short(path), why });
    if !path.starts_with('/') {
        return wrong("must be absolute: start it with `/`");
    }
    if path.split('/').any(|part| part == "..") {
        return wrong("must not hold `..`");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Ok(format!("/{}", parts.join("/")))
}

/// A path on the machine, made absolute against `base`; `..` and `.` are resolved by name.
pub(crate) fn on_machine(base: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}
