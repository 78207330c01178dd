//! Preparing an image: find what its name means, bring its layers in from the lowest up, remember it.

use super::digest::Digest;
use super::error::ImageError;
use super::layer::{self, Wanted};
use super::layout::{LayerFile, Layout};
use super::lower::Lowers;
use super::manifest::{self, ConfigFile, Descriptor, Document, Manifest};
use super::reference::Reference;
use super::registry::Client;
use super::store::{ImageInfo, Name, Store};
use super::{Progress, Rootfs, Step, user};
use pond_core::model::Image;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes between two reports of progress.
const REPORT_EVERY: u64 = 1 << 20;

/// Most layers of an image: an overlay takes 500, and the task and the pool have theirs.
const MOST_LAYERS: usize = 400;

/// Tells progress and remembers that somebody said stop.
struct Watch<'a> {
    image: String,
    tell: &'a mut dyn FnMut(&Progress) -> bool,
    cancelled: &'a AtomicBool,
    step: Step,
    /// Bytes of this step that earlier layers account for.
    before: u64,
    total: u64,
    told: u64,
}

impl Watch<'_> {
    fn start(&mut self, step: Step, total: u64) -> Result<(), ImageError> {
        (self.step, self.before, self.total, self.told) = (step, 0, total, 0);
        if self.tell_now(0) { Ok(()) } else { Err(self.stopped()) }
    }

    /// `done`: bytes of the present layer. Answers whether to go on.
    fn at(&mut self, done: u64) -> bool {
        let done = self.before.saturating_add(done);
        if done.saturating_sub(self.told) < REPORT_EVERY {
            return !self.cancelled.load(Ordering::Relaxed);
        }
        self.told = done;
        self.tell_now(done)
    }

    fn tell_now(&mut self, done: u64) -> bool {
        let progress = Progress { image: self.image.clone(), step: self.step, done, total: self.total };
        if !(self.tell)(&progress) {
            self.cancelled.store(true, Ordering::Relaxed);
        }
        !self.cancelled.load(Ordering::Relaxed)
    }

    fn stopped(&self) -> ImageError {
        ImageError::Cancelled { image: self.image.clone() }
    }
}

/// A stored layer on its way into the unpacker.
struct Watched<'a, 'b, R> {
    inner: R,
    read: u64,
    watch: &'a mut Watch<'b>,
}

impl<R: Read> Read for Watched<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        // the unpacker looks at the flag that this sets
        let _going_on = self.watch.at(self.read);
        Ok(read)
    }
}

/// Where layers come from.
enum Source<'a> {
    Layout(&'a Layout, Vec<LayerFile>),
    Registry(&'a mut Client, Vec<Descriptor>),
}

impl Source<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Layout(_, layers) => layers.len(),
            Self::Registry(_, layers) => layers.len(),
        }
    }

    fn stored(&self, at: usize) -> Option<(Digest, u64)> {
        match self {
            Self::Layout(_, layers) => layers[at].stored,
            Self::Registry(_, layers) => Some((layers[at].digest, layers[at].size)),
        }
    }
}

impl Store {
    /// Makes an image ready. `progress` is told each step, at most once a mebibyte, and answers whether to go on.
    ///
    /// # Errors
    /// The image is not there, is broken, does not fit, or `progress` said no. What was fetched until then is
    /// kept for the next try.
    pub fn prepare(
        &self,
        image: &Image,
        progress: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Rootfs, ImageError> {
        let _used = self.lock_shared()?;
        let cancelled = AtomicBool::new(false);
        let name = match image {
            Image::Host => return Err(ImageError::Host),
            Image::Layout(path) => path.clone(),
            Image::Registry(name) => name.clone(),
        };
        let mut watch = Watch {
            image: name,
            tell: progress,
            cancelled: &cancelled,
            step: Step::Resolving,
            before: 0,
            total: 0,
            told: 0,
        };
        match image {
            Image::Registry(name) => self.by_registry(&Reference::parse(name)?, &mut watch),
            Image::Layout(path) => self.by_layout(path, &mut watch),
            Image::Host => Err(ImageError::Host),
        }
    }

    fn by_layout(&self, path: &str, watch: &mut Watch<'_>) -> Result<Rootfs, ImageError> {
        let (layout, tag) = Layout::open(path)?;
        let found = layout.find(tag.as_deref())?;
        if let Some(ready) = self.ready(&found.id.to_string())? {
            return Ok(ready);
        }
        let mut source = Source::Layout(&layout, found.layers);
        self.assemble(found.id, &found.config, &mut source, watch)
    }

    fn by_registry(&self, reference: &Reference, watch: &mut Watch<'_>) -> Result<Rootfs, ImageError> {
        let name = reference.to_string();
        let known = self.name(&name)?;
        let ready = match &known {
            Some(known) => self.ready(&known.id)?,
            None => None,
        };
        let fresh = |known: &Name| {
            let age = seconds_now().saturating_sub(known.checked_s);
            reference.digest.is_some() || age < self.settings.recheck_after_s
        };
        match (&known, ready) {
            (Some(known), Some(ready)) if fresh(known) => Ok(ready),
            (_, ready) => match (self.pull(reference, &name, watch), ready) {
                // the network comes and goes; what is here is still what the name meant
                (Err(ImageError::Unreachable { .. } | ImageError::RateLimited { .. }), Some(ready)) => {
                    Ok(ready)
                }
                (pulled, _) => pulled,
            },
        }
    }

    fn pull(&self, reference: &Reference, name: &str, watch: &mut Watch<'_>) -> Result<Rootfs, ImageError> {
        watch.start(Step::Resolving, 0)?;
        let mut client = Client::new(reference, self.settings.docker_config.as_deref());
        let (id, manifest) = resolve(&mut client, reference, name)?;
        let looked_up = Name { name: name.to_owned(), id: id.to_string(), checked_s: seconds_now() };
        if let Some(ready) = self.ready(&looked_up.id)? {
            self.set_name(&looked_up)?;
            return Ok(ready);
        }
        let config = client.document("the config", manifest.config.digest)?;
        let config = ConfigFile::read(name, &config)?;
        let mut source = Source::Registry(&mut client, manifest.layers);
        let rootfs = self.assemble(id, &config, &mut source, watch)?;
        self.set_name(&looked_up)?;
        Ok(rootfs)
    }

    /// Brings the layers in and writes the image down.
    fn assemble(
        &self,
        id: Digest,
        config: &ConfigFile,
        source: &mut Source<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<Rootfs, ImageError> {
        let image = watch.image.clone();
        if config.diff_ids().len() != source.len() {
            let why =
                format!("it lists {} layers and the manifest {}", config.diff_ids().len(), source.len());
            return Err(manifest::malformed(&image, "the config", &why));
        }
        if source.len() == 0 {
            return Err(manifest::malformed(&image, "the manifest", "it has no layers"));
        }
        if source.len() > MOST_LAYERS {
            let why =
                format!("it has {} layers; at most {MOST_LAYERS} can lie over each other", source.len());
            return Err(manifest::malformed(&image, "the manifest", &why));
        }
        let mut keys: Vec<String> = Vec::new();
        let mut size = 0_u64;
        let mut chain = None;
        let mut made = false;
        for (at, &diff_id) in config.diff_ids().iter().enumerate() {
            let chain_id = layer::chain(chain, diff_id);
            chain = Some(chain_id);
            let cancelled = watch.cancelled;
            let stored = source.stored(at);
            let wanted = Wanted { image: &image, diff_id, chain_id, stored, below: &keys, cancelled };
            if wanted.present(self)?.is_none() {
                made = true;
            }
            let (key, info) = self.layer(&wanted, source, at, watch)?;
            size = size.saturating_add(info.bytes);
            keys.insert(0, key);
        }
        let (mut run, user) = config.run();
        let folders: Vec<PathBuf> = keys.iter().map(|key| self.layer_folder(key).join("fs")).collect();
        let lowers = Lowers::open(folders.iter().map(PathBuf::as_path), Self::marks())
            .map_err(ImageError::io("open the layers in", &self.layer_folder("")))?;
        let user = user::look_up(&image, &user, &lowers)?;
        (run.user, run.groups, run.home) = (user.ids, user.groups, user.home);
        if made {
            self.sync_later(keys.clone());
        }
        let info = ImageInfo { id: id.to_string(), name: image.clone(), size, layers: keys, config: run };
        self.set_image(&info)?;
        self.ready(&info.id)?.ok_or_else(|| manifest::malformed(&image, "the store", "a layer vanished"))
    }

    fn layer(
        &self,
        wanted: &Wanted<'_>,
        source: &mut Source<'_>,
        at: usize,
        watch: &mut Watch<'_>,
    ) -> Result<(String, super::store::LayerInfo), ImageError> {
        if let Some(present) = wanted.present(self)? {
            return Ok(present);
        }
        let mut go_on = || watch.at(0);
        let _mine = self.lock_key(wanted.image, &wanted.lock_name(), &mut go_on)?;
        if let Some(present) = wanted.present(self)? {
            return Ok(present);
        }
        let size = wanted.stored.map_or(0, |(_, size)| size);
        self.check_room(wanted.image, size)?;
        match source {
            Source::Layout(layout, layers) => {
                watch.start(Step::Unpacking, size)?;
                let stored = layout.layer(&layers[at])?;
                wanted.make(self, &mut Watched { inner: stored, read: 0, watch })
            }
            Source::Registry(client, layers) => {
                let digest = layers[at].digest;
                let part = self.root.join("parts").join(digest.hex());
                // two images may share a stored layer under different diff ids only if one of them lies;
                // the lock is still on the file that both would write
                let mut go_on = || watch.at(0);
                let _part =
                    self.lock_key(wanted.image, &format!("part-{}", &digest.hex()[..32]), &mut go_on)?;
                watch.start(Step::Pulling, size)?;
                client.blob(digest, size, &part, &mut |done| watch.at(done))?;
                watch.start(Step::Unpacking, size)?;
                let stored = File::open(&part).map_err(ImageError::io("open", &part))?;
                let made = wanted.make(self, &mut Watched { inner: stored, read: 0, watch });
                if made.is_ok() || matches!(made, Err(ImageError::Unpack { .. })) {
                    std::fs::remove_file(&part).map_err(ImageError::io("remove", &part))?;
                }
                made
            }
        }
    }

    /// A first look, before a layer is fetched; unpacking looks again.
    fn check_room(&self, image: &str, needed: u64) -> Result<(), ImageError> {
        let free = self.room()?;
        if needed <= free {
            return Ok(());
        }
        Err(ImageError::NoSpace { image: image.to_owned(), needed, free, dir: self.root.to_path_buf() })
    }
}

/// From a name to the manifest for this machine.
fn resolve(
    client: &mut Client,
    reference: &Reference,
    image: &str,
) -> Result<(Digest, Manifest), ImageError> {
    let mut fetched = client.manifest(&reference.wanted())?;
    // an index may lead to another, once or twice
    for _ in 0..4 {
        let mut document = Document::read(image, &fetched.bytes)?;
        let Some(manifests) = document.manifests.take() else {
            return Ok((fetched.digest, document.into_manifest(image)?));
        };
        let chosen = manifest::choose(image, &manifests)?;
        fetched = client.manifest(&chosen.digest.to_string())?;
    }
    Err(manifest::malformed(image, "the index", "it leads from index to index"))
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}
