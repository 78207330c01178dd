//! One layer from its stored bytes to its folder.

use super::digest::{Digest, Hashing};
use super::error::{ImageError, UnpackError};
use super::lower::{self, Lowers};
use super::store::{LayerInfo, Store, boot_id, write_file};
use super::unpack::{Limits, Unpacked, Unpacker};
use std::fs;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A layer wanted by an image.
pub(super) struct Wanted<'a> {
    /// The image, for messages.
    pub image: &'a str,
    pub diff_id: Digest,
    pub chain_id: Digest,
    /// Digest and size as stored, when known.
    pub stored: Option<(Digest, u64)>,
    /// Keys of the layers below, topmost first.
    pub below: &'a [String],
    pub cancelled: &'a AtomicBool,
}

impl Wanted<'_> {
    fn keys(&self) -> [String; 2] {
        // half a digest is enough to tell layers apart and keeps overlay's option string short;
        // `layer.json` holds all of it, and is compared
        [format!("d-{}", &self.diff_id.hex()[..32]), format!("c-{}", &self.chain_id.hex()[..32])]
    }

    /// Held while somebody makes this layer.
    pub(super) fn lock_name(&self) -> String {
        self.diff_id.hex()[..32].to_owned()
    }

    /// The key under which the layer is there already.
    pub(super) fn present(&self, store: &Store) -> Result<Option<(String, LayerInfo)>, ImageError> {
        for key in self.keys() {
            if let Some(info) = store.layer_info(&key)?
                && info.diff_id == self.diff_id
                && (!info.leans || info.chain_id == self.chain_id)
            {
                return Ok(Some((key, info)));
            }
        }
        Ok(None)
    }

    /// Unpacks the layer from its stored bytes and puts it in place. The caller holds the layer's lock.
    pub(super) fn make(
        &self,
        store: &Store,
        stored: &mut dyn Read,
    ) -> Result<(String, LayerInfo), ImageError> {
        let scratch = store.scratch()?;
        let made = self.make_in(store, &scratch, stored);
        if made.is_err() {
            // the error of the unpacking is the one that matters; the next sweep takes what stays
            drop(fs::remove_dir_all(&scratch));
        }
        made
    }

    fn make_in(
        &self,
        store: &Store,
        scratch: &Path,
        stored: &mut dyn Read,
    ) -> Result<(String, LayerInfo), ImageError> {
        let root = scratch.join("fs");
        fs::create_dir(&root).map_err(ImageError::io("make", &root))?;
        let target = lower::open_root(&root).map_err(ImageError::io("open", &root))?;
        let folders: Vec<PathBuf> = self.below.iter().map(|key| store.layer_folder(key).join("fs")).collect();
        let lowers = Lowers::open(folders.iter().map(PathBuf::as_path), Store::marks())
            .map_err(ImageError::io("open the layers in", &store.layer_folder("")))?;
        let room = store.room()?;
        let unpacker = Unpacker {
            lowers: &lowers,
            limits: Limits {
                bytes: store.settings.max_layer_bytes.min(room),
                entries: store.settings.max_layer_entries,
            },
            marks: Store::marks(),
            owners: Store::is_root(),
            cancelled: self.cancelled,
        };
        let unpacked =
            self.unpack(&unpacker, target, stored).map_err(|why| self.explain(store, room, why))?;
        let info = LayerInfo {
            diff_id: self.diff_id,
            chain_id: self.chain_id,
            leans: unpacked.leans,
            bytes: unpacked.bytes,
            entries: unpacked.entries,
            devices_left_out: unpacked.devices_left_out,
            boot: boot_id(),
        };
        let about = scratch.join("layer.json");
        write_file(&about, &info).map_err(ImageError::io("write", &about))?;
        let [alone, stacked] = self.keys();
        let key = if info.leans { stacked } else { alone };
        let place = store.layer_folder(&key);
        if place.exists() {
            // torn by a crash of the machine: `present` did not take it
            let torn = store.scratch()?.join("torn");
            fs::rename(&place, &torn).map_err(ImageError::io("remove", &place))?;
            fs::remove_dir_all(torn.with_file_name("")).map_err(ImageError::io("remove", &torn))?;
        }
        fs::rename(scratch, &place).map_err(ImageError::io("rename", &place))?;
        Ok((key, info))
    }

    /// Both digests cover the whole stream, also what follows the end of the tar.
    fn unpack(
        &self,
        unpacker: &Unpacker<'_>,
        target: std::os::fd::OwnedFd,
        stored: &mut dyn Read,
    ) -> Result<Unpacked, UnpackError> {
        let mut raw = Hashing::new(stored);
        let mut plain = Hashing::new(decompress(&mut raw)?);
        let unpacked = unpacker.unpack(&mut plain, target)?;
        check(self.diff_id, plain.digest())?;
        io::copy(&mut raw, &mut io::sink()).map_err(read_error)?;
        if let Some((digest, _)) = self.stored {
            check(digest, raw.digest())?;
        }
        Ok(unpacked)
    }

    fn explain(&self, store: &Store, room: u64, source: UnpackError) -> ImageError {
        match source {
            UnpackError::Cancelled => ImageError::Cancelled { image: self.image.to_owned() },
            UnpackError::TooLarge { limit, .. } if limit == room => ImageError::NoSpace {
                image: self.image.to_owned(),
                needed: room.saturating_add(1),
                free: room,
                dir: store.root.to_path_buf(),
            },
            source => {
                let layer = self.stored.map_or(self.diff_id, |(digest, _)| digest);
                ImageError::Unpack { image: self.image.to_owned(), layer, source: Box::new(source) }
            }
        }
    }
}

fn check(expected: Digest, got: Digest) -> Result<(), UnpackError> {
    if expected == got { Ok(()) } else { Err(UnpackError::Digest { expected, got }) }
}

fn read_error(source: io::Error) -> UnpackError {
    UnpackError::Io { action: "read", path: "the stored layer".to_owned(), source }
}

/// Unpacks gzip and zstd, told by their first bytes; everything else is taken as it is.
fn decompress<'a>(mut stored: impl Read + 'a) -> Result<Box<dyn Read + 'a>, UnpackError> {
    let mut start = Vec::new();
    (&mut stored).take(4).read_to_end(&mut start).map_err(read_error)?;
    let magic = start.clone();
    let whole = Cursor::new(start).chain(stored);
    if magic.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, whole))));
    }
    if magic == [0x28, 0xb5, 0x2f, 0xfd] {
        let decoder = zstd::stream::read::Decoder::new(whole).map_err(read_error)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(io::BufReader::with_capacity(1 << 16, whole)))
}

/// Digest of a stack of layers: that of the stack below and of the topmost diff id.
pub(super) fn chain(below: Option<Digest>, diff_id: Digest) -> Digest {
    below.map_or(diff_id, |below| Digest::of(format!("{below} {diff_id}").as_bytes()))
}
