//! Container roots from OCI image layouts and registries.

use pond_core::model::Image;
use std::path::{Path, PathBuf};

/// What an image says about how to run it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `KEY=value` in order.
    pub env: Vec<(String, String)>,
    /// Working folder.
    pub workdir: Option<String>,
    /// `user`, `uid`, `uid:gid`, ... as the image says; empty when it says nothing.
    pub user: Option<String>,
    /// Entrypoint.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
}

/// A root that is ready to be put under a writable layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rootfs {
    /// Read-only folders, the topmost first, as overlay's `lowerdir` wants them.
    pub lowers: Vec<PathBuf>,
    /// How to run it.
    pub config: ImageConfig,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Not built yet.
    #[error("images other than `host` are not supported yet")]
    Unsupported,
}

/// Makes an image ready under `store`. `progress` is told each step and answers whether to go on.
///
/// # Errors
/// The image is not there, is broken, does not fit, or `progress` said no.
pub fn prepare(
    store: &Path,
    image: &Image,
    progress: &mut dyn FnMut(&str) -> bool,
) -> Result<Rootfs, ImageError> {
    let _ = (store, image, progress);
    Err(ImageError::Unsupported)
}
