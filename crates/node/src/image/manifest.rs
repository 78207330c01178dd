//! The documents of an image: index, manifest, config.

use super::ImageConfig;
use super::digest::Digest;
use super::error::ImageError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Largest document read; registries refuse manifests over 4 MiB.
pub(super) const MAX_DOCUMENT: u64 = 8 << 20;
/// Most layers; overlayfs stacks at most 500.
const MAX_LAYERS: usize = 480;

/// A pointer to content.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default)]
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub variant: Option<String>,
}

/// An index or a manifest, told apart by what they hold.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Document {
    #[serde(default, rename = "schemaVersion")]
    schema: u32,
    #[serde(default)]
    pub manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    pub config: Option<Descriptor>,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

/// What a manifest leads to.
pub(super) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

impl Document {
    pub(super) fn read(image: &str, bytes: &[u8]) -> Result<Self, ImageError> {
        let document: Self = parse(image, "the manifest", bytes)?;
        if document.schema == 1 {
            return Err(malformed(image, "the manifest", "it is in Docker's format 1 of before 2017"));
        }
        Ok(document)
    }

    pub(super) fn into_manifest(self, image: &str) -> Result<Manifest, ImageError> {
        let config = self.config.ok_or_else(|| malformed(image, "the manifest", "it names no config"))?;
        if self.layers.len() > MAX_LAYERS {
            return Err(malformed(image, "the manifest", "it has more layers than overlayfs can stack"));
        }
        if self.layers.iter().any(|layer| layer.media_type.contains("encrypted")) {
            return Err(malformed(image, "the manifest", "its layers are encrypted, which is not supported"));
        }
        Ok(Manifest { config, layers: self.layers })
    }
}

/// The manifest for this machine among those of an index; the first when several fit equally.
pub(super) fn choose<'a>(image: &str, manifests: &'a [Descriptor]) -> Result<&'a Descriptor, ImageError> {
    let wanted = this_machine();
    let score = |entry: &Descriptor| match &entry.platform {
        Some(platform) if platform.os == wanted.os && platform.architecture == wanted.architecture => {
            // a variant beyond the baseline may not run here
            Some(if platform.variant == wanted.variant || platform.variant.is_none() { 0 } else { 1 })
        }
        Some(_) => None,
        None => Some(2),
    };
    let best = manifests
        .iter()
        .filter_map(|entry| score(entry).map(|score| (score, entry)))
        .min_by_key(|(score, _)| *score);
    best.map(|(_, entry)| entry).ok_or_else(|| ImageError::NoPlatform {
        image: image.to_owned(),
        wanted: wanted.to_string(),
        has: manifests
            .iter()
            .filter_map(|entry| entry.platform.as_ref().map(ToString::to_string))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// This machine in the words of image indexes.
fn this_machine() -> Platform {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", None),
        "aarch64" => ("arm64", Some("v8")),
        "x86" => ("386", None),
        "powerpc64" => ("ppc64le", None),
        other => (other, None),
    };
    Platform {
        architecture: architecture.to_owned(),
        os: "linux".to_owned(),
        variant: variant.map(str::to_owned),
    }
}

/// The config document, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ConfigFile {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<RunConfig>,
    rootfs: RootFs,
}

#[derive(Clone, Debug, Deserialize)]
struct RootFs {
    // both spellings of "nothing" occur: an absent list and null
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RunConfig {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
}

impl ConfigFile {
    pub(super) fn read(image: &str, bytes: &[u8]) -> Result<Self, ImageError> {
        let file: Self = parse(image, "the config", bytes)?;
        let wanted = this_machine();
        let other_os = !file.os.is_empty() && file.os != wanted.os;
        let other_cpu = !file.architecture.is_empty() && file.architecture != wanted.architecture;
        if other_os || other_cpu {
            return Err(ImageError::NoPlatform {
                image: image.to_owned(),
                wanted: wanted.to_string(),
                has: format!("{}/{}", file.os, file.architecture),
            });
        }
        Ok(file)
    }

    /// Digests of the unpacked layers, the lowest first.
    pub(super) fn diff_ids(&self) -> &[Digest] {
        self.rootfs.diff_ids.as_deref().unwrap_or_default()
    }

    /// How to run it; the user is still a text, see [`super::user`].
    pub(super) fn run(&self) -> (ImageConfig, String) {
        let run = self.config.clone().unwrap_or_default();
        let pair = |text: String| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Some((key.to_owned(), value.to_owned())),
            _ => None,
        };
        let config = ImageConfig {
            env: run.env.unwrap_or_default().into_iter().filter_map(pair).collect(),
            workdir: run.working_dir.filter(|folder| !folder.is_empty()),
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            stop_signal: run.stop_signal.filter(|signal| !signal.is_empty()),
            ..ImageConfig::default()
        };
        (config, run.user.unwrap_or_default())
    }
}

/// `manifest.json` of a `docker save` tar.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerEntry {
    pub config: String,
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    pub layers: Vec<String>,
}

pub(super) fn parse<'a, T: Deserialize<'a>>(
    image: &str,
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|why| malformed(image, what, &why.to_string()))
}

pub(super) fn malformed(image: &str, what: &'static str, why: &str) -> ImageError {
    ImageError::Malformed { image: image.to_owned(), what, why: why.to_owned() }
}
