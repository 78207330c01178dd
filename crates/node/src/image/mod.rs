//! Container images: read from OCI layouts and registries, verified, unpacked once a layer, ready for overlayfs.
//!
//! [`Store::prepare`] brings one image into the store and returns its read-only folders, the topmost first.
//! Content is named by its digest and checked against it on the way in; a layer folder appears under its final
//! name by one rename, whole, so that concurrent pulls and a kill at any moment leave either a whole layer or none. It is
//! brought to disk beside the work; a layer that was not there when the machine went down is unpacked anew.
//!
//! ```text
//! layers/<key>/fs, layer.json, synced  unpacked; key = d-<diff id>, or c-<chain id> when it leans on those below
//! images/<id>.json                what an image needs and how to run it; its time = last use
//! names/<sha256 of name>.json     which image a registry's tag meant, and when that was looked up
//! parts/<digest>                  downloads on their way; kept over restarts
//! tmp/                            layers on their way; swept at opening
//! lock, locks/<key>               flock: the whole store (shared: using, exclusive: collecting), one layer
//! ```

mod digest;
mod error;
mod layer;
mod layout;
mod login;
mod lower;
mod manifest;
mod pull;
mod reference;
mod registry;
mod store;
mod tarball;
mod unpack;
mod user;

pub use digest::Digest;
pub use error::{ImageError, UnpackError};
pub use reference::Reference;
pub use store::{Collected, ImageInfo, Settings, Store};

use pond_core::model::Image;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What an image says about how to run it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `KEY=value` in order.
    pub env: Vec<(String, String)>,
    /// Working folder.
    pub workdir: Option<String>,
    /// User and group ids, names looked up in the image; absent when the image says nothing (root).
    pub user: Option<(u32, u32)>,
    /// Further groups of that user.
    pub groups: Vec<u32>,
    /// Home folder of that user, when the image knows it.
    pub home: Option<String>,
    /// Entrypoint.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// Signal that asks it to end, as the image writes it: `SIGINT`, `9`.
    pub stop_signal: Option<String>,
}

/// A root that is ready to be put under a writable layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rootfs {
    /// Digest of the image's manifest; what [`Store::collect`] is told to keep.
    pub id: String,
    /// Read-only folders, the topmost first, as overlay's `lowerdir` wants them.
    pub lowers: Vec<PathBuf>,
    /// How to run it.
    pub config: ImageConfig,
    /// Whether overlay must be mounted with `userxattr`: the store belongs to a user, not to root.
    pub userxattr: bool,
}

/// Where the preparation of an image stands. Prints as a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The image as asked for.
    pub image: String,
    /// What is being done.
    pub step: Step,
    /// Bytes done of this step.
    pub done: u64,
    /// Bytes in all of this step; zero when unknown.
    pub total: u64,
}

/// A step of preparing an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Asking which content a name means.
    Resolving,
    /// Fetching layers.
    Pulling,
    /// Unpacking layers.
    Unpacking,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = match self.step {
            Step::Resolving => return write!(f, "looking up {}", self.image),
            Step::Pulling => "pulling",
            Step::Unpacking => "unpacking",
        };
        match self.done.saturating_mul(100).checked_div(self.total) {
            Some(percent) => write!(f, "{verb} {}, {} %", self.image, percent.min(100)),
            None => write!(f, "{verb} {}", self.image),
        }
    }
}

/// Where the image layout of a text, `path` or `path:tag`, is.
#[must_use]
pub fn layout_path(text: &str) -> &Path {
    layout::place(text).0
}

/// Makes an image ready under `store` with default [`Settings`]. `progress` is told each step and answers
/// whether to go on.
///
/// # Errors
/// The image is not there, is broken, does not fit, or `progress` said no.
pub fn prepare(
    store: &Path,
    image: &Image,
    progress: &mut dyn FnMut(&str) -> bool,
) -> Result<Rootfs, ImageError> {
    Store::open(store, Settings::default())?.prepare(image, &mut |step| progress(&step.to_string()))
}
