//! Why an image cannot be used: what was being done, on what, why not, what to do.

use super::digest::Digest;
use std::io;
use std::path::{Path, PathBuf};

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The text is not an image name.
    #[error(
        "`{text}` is not an image name: {why}; write it as registry/repository:tag, for example pytorch/pytorch:2.13.0"
    )]
    BadName {
        /// What was read.
        text: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// There is no image layout at the path.
    #[error(
        "no image at {path}: {why}; give a folder or tar file made by `skopeo copy ... oci:FOLDER` or `docker save`"
    )]
    NoLayout {
        /// The path given.
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
    /// The image has nothing for this machine.
    #[error("image {image} has no variant for {wanted}; it has {has}")]
    NoPlatform {
        /// Which image.
        image: String,
        /// os/architecture of this machine.
        wanted: String,
        /// What it offers.
        has: String,
    },
    /// Several images under one layout and no choice among them.
    #[error("{path} holds {count} images; choose one by its tag: {path}:TAG with TAG one of {tags}")]
    Ambiguous {
        /// The layout.
        path: String,
        /// How many.
        count: usize,
        /// Their tags.
        tags: String,
    },
    /// The layout has no image with the wanted tag.
    #[error("{path} has no image tagged `{tag}`; it has {tags}")]
    NoTag {
        /// The layout.
        path: String,
        /// The tag asked for.
        tag: String,
        /// Its tags.
        tags: String,
    },
    /// A document of the image is not what the format says.
    #[error("{what} of image {image} is not valid: {why}; build or copy the image anew")]
    Malformed {
        /// Which image.
        image: String,
        /// Which document.
        what: &'static str,
        /// The parser's words.
        why: String,
    },
    /// Content is not what its digest says.
    #[error(
        "{what} is damaged or was changed: expected {expected}, got {got}; pull it again, and distrust its source if that repeats"
    )]
    DigestMismatch {
        /// Which content.
        what: String,
        /// What the manifest says.
        expected: Digest,
        /// What came.
        got: Digest,
    },
    /// Content is longer or shorter than its manifest says.
    #[error("{what} has {got} bytes where its manifest says {expected}; pull it again")]
    SizeMismatch {
        /// Which content.
        what: String,
        /// What the manifest says, in bytes.
        expected: u64,
        /// What came, in bytes.
        got: u64,
    },
    /// A digest in a form that is not supported.
    #[error("`{text}` is not a sha256 digest; only sha256 is supported")]
    BadDigest {
        /// What was read.
        text: String,
    },
    /// The registry has no such image, or hides it.
    #[error(
        "{registry} has no image {repository}:{reference}, or wants a login for it; check the name, or log in with `docker login {registry}`"
    )]
    NotFound {
        /// Host of the registry.
        registry: String,
        /// Repository.
        repository: String,
        /// Tag or digest.
        reference: String,
    },
    /// The registry refused the credentials, or wants some.
    #[error(
        "{registry} denied access to {repository} (status {status}, {login}); log in with `docker login {registry}`"
    )]
    Denied {
        /// Host of the registry.
        registry: String,
        /// Repository.
        repository: String,
        /// HTTP status.
        status: u16,
        /// Which credentials were tried.
        login: &'static str,
    },
    /// The registry limits how much this machine may pull.
    #[error("{registry} limits pulls from this machine (status 429); try later, log in, or use a mirror")]
    RateLimited {
        /// Host of the registry.
        registry: String,
    },
    /// The registry answers, but not as a registry does.
    #[error("{registry} answered {url} with {why}; check the registry's name, or try later")]
    BadAnswer {
        /// Host of the registry.
        registry: String,
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// No connection, or it broke too often.
    #[error("{registry} cannot be reached: {source}; check the network, proxy and the registry's name")]
    Unreachable {
        /// Host of the registry.
        registry: String,
        /// The HTTP client's reason.
        #[source]
        source: Box<ureq::Error>,
    },
    /// Refused to talk in clear text to another machine.
    #[error(
        "refused to follow {url}: plain HTTP is allowed to this machine's own loopback only; serve the registry over HTTPS"
    )]
    Insecure {
        /// The address.
        url: String,
    },
    /// A layer could not be unpacked.
    #[error("layer {layer} of image {image} cannot be unpacked: {source}")]
    Unpack {
        /// Which image.
        image: String,
        /// Which layer.
        layer: Digest,
        /// Why.
        #[source]
        source: Box<UnpackError>,
    },
    /// The image's user does not exist in it.
    #[error(
        "image {image} runs as `{user}`, which its /etc/passwd and /etc/group do not know; set `user:` in the job file"
    )]
    NoUser {
        /// Which image.
        image: String,
        /// The name.
        user: String,
    },
    /// Not enough room.
    #[error(
        "image {image} needs {needed} bytes and {dir} has {free} free; free some space, or move the state folder"
    )]
    NoSpace {
        /// Which image.
        image: String,
        /// Bytes still to be stored.
        needed: u64,
        /// Bytes usable.
        free: u64,
        /// Where.
        dir: PathBuf,
    },
    /// The machine's own root was given where an image is needed.
    #[error("image `host` is this machine's own root and has nothing to prepare")]
    Host,
    /// The caller said stop.
    #[error("cancelled while preparing image {image}")]
    Cancelled {
        /// Which image.
        image: String,
    },
    /// The store's own files.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl ImageError {
    /// For `map_err`: an I/O failure of `action` on `path`.
    pub(super) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: source.into() }
    }

    /// Whether the same call may succeed later without anybody changing the job.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::RateLimited { .. }
                | Self::NoSpace { .. }
                | Self::Io { .. }
                | Self::Cancelled { .. }
        )
    }
}

/// Why a layer's tar stream was refused. Nothing outside the layer's own folder has been touched.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// A path that points out of the root.
    #[error("entry `{path}` points outside of the image; the image is hostile or broken")]
    Escapes {
        /// As in the tar.
        path: String,
    },
    /// A path no file system takes.
    #[error("entry `{path}` has a name that cannot be stored: {why}")]
    BadPath {
        /// As in the tar.
        path: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// A parent of an entry is a file, or symbolic links go round.
    #[error("a parent of entry `{path}` is not a folder")]
    NotAFolder {
        /// As in the tar.
        path: String,
    },
    /// A hard link to something the layer does not have.
    #[error("entry `{path}` is a hard link to `{target}`, which is no file of this image")]
    NoLinkTarget {
        /// As in the tar.
        path: String,
        /// As in the tar.
        target: String,
    },
    /// An owner beyond 32 bits.
    #[error("entry `{path}` belongs to user or group {id}, beyond what Linux has")]
    BadOwner {
        /// As in the tar.
        path: String,
        /// The number.
        id: u64,
    },
    /// The stream is not a tar stream.
    #[error("byte {offset} of the unpacked stream is not a tar header: {why}")]
    NotTar {
        /// Where in the unpacked stream.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// The stream ends in the middle.
    #[error("the layer ends early, at byte {offset} of the unpacked stream")]
    Truncated {
        /// Where in the unpacked stream.
        offset: u64,
    },
    /// More bytes or entries than allowed: a decompression bomb, or a limit set too low.
    #[error(
        "the layer unpacks to more than {limit} {what}; raise the image limits if it is meant to be that large"
    )]
    TooLarge {
        /// The limit.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// The content is not what its digest says; found only at the end of the stream.
    #[error("content is damaged or was changed: expected {expected}, got {got}")]
    Digest {
        /// What the image says.
        expected: Digest,
        /// What came.
        got: Digest,
    },
    /// The caller said stop.
    #[error("cancelled")]
    Cancelled,
    /// This kernel cannot keep the unpacker inside the root.
    #[error("this kernel has no openat2 (Linux 5.6), without which layers cannot be unpacked safely")]
    OldKernel,
    /// Decompression, reading or writing failed.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which entry.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}
