//! Parts of GPUs in MIG mode: made when a task starts, taken away when it has ended.
//!
//! What was made here is written down before it is made, in `partitions.json` of the state folder: where, and for which task.
//! Whatever else stands on a device is an administrator's, is never touched, and is no place that is offered. An agent that
//! opens the state folder compares what is written with what stands, lets running tasks keep theirs, and takes the
//! rest away; after a boot nothing stands any more, whatever is written.
//!
//! A part whose task has ended is taken away by a thread of its own, since a driver may take its time. When the next task comes
//! first, a part that stands as wanted is taken as it is, and those in the way go before ([`steps`]).

use super::Inner;
use crate::probe::{mig, nvidia};
use crate::tolerate;
use pond_core::event::{DeviceGrant, Launch, Report, Sign};
use pond_core::ids::{Generation, TaskId};
use pond_core::model::{Device, NodeSpec, ShareMode};
use pond_core::partition::{Instance, Layout, Part, Step, steps};
use pond_nvidia_mig as driver;
use pond_nvidia_mig::{Mig, MigError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two attempts to take away what could not be.
const AGAIN: Duration = Duration::from_secs(1);
/// How long taking everything away may last when the pool goes.
const LAST: Duration = Duration::from_secs(10);
/// So many failures one after another, and the device is suspected.
const REPEATED: u32 = 2;

/// A task's name.
type Holder = (TaskId, Generation);

/// Why a task does not get its part.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartitionError {
    /// The device is another one than when the pool came up.
    #[error("GPU {0} is not cut the way it was when the pool came up; `pond up` looks again")]
    Changed(u32),
    /// What stands there is used, or not ours.
    #[error("{profile} cannot be made at slice {start} of GPU {device}: something that is used stands there")]
    Taken {
        /// The device's ordinal.
        device: u32,
        /// The profile that was wanted.
        profile: String,
        /// Where.
        start: u8,
    },
    /// The driver refuses.
    #[error("cannot make {profile} at slice {start} of GPU {device}: {source}")]
    Driver {
        /// The device's ordinal.
        device: u32,
        /// The profile that was wanted.
        profile: String,
        /// Where.
        start: u8,
        /// Why.
        source: MigError,
    },
    /// What is made could not be written down, so it was not made.
    #[error("cannot write down what is made of GPUs: {0}")]
    Record(#[from] io::Error),
}

/// What the driver made of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    /// The driver's numbers of its two halves.
    instance: u32,
    compute: u32,
    /// What programs know it by.
    uuid: String,
}

/// A part that was made here, or is about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The device's UUID.
    device: String,
    profile: String,
    start: u8,
    /// Whose it is; nobody's when it is to go.
    holder: Option<Holder>,
    /// `None` while it is made.
    made: Option<Made>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Book {
    /// The boot in which all this was made.
    boot: String,
    records: Vec<Record>,
    /// Failures of each device, one after another.
    #[serde(skip)]
    failures: BTreeMap<u32, u32>,
}

/// A device that can be cut.
struct Cut {
    ordinal: u32,
    uuid: String,
    minor: u32,
    profiles: Vec<driver::Profile>,
    /// All of it.
    whole: Layout,
    /// What the pool gives out, in whose numbers grants are; places of others come and go.
    offered: Mutex<Arc<Layout>>,
}

/// The parts of this machine's devices.
///
/// The driver's library is opened for each errand and left again: who holds it keeps an administrator from resetting a device or
/// changing its mode.
pub(super) struct Partitions {
    cuts: Vec<Cut>,
    file: PathBuf,
    /// Held by who changes what stands, which takes as long as a driver wants. Taken before the book.
    hands: Mutex<()>,
    /// Never held while a driver works: ends of tasks are written in here.
    book: Mutex<Book>,
    wake: Condvar,
    /// A device failed again since somebody asked.
    troubled: AtomicBool,
    /// A part could not be made: somebody else may have its place.
    doubted: AtomicBool,
}

fn read(file: &Path, boot: &str) -> Book {
    let text = fs::read(file).unwrap_or_default();
    let book: Book = serde_json::from_slice(&text).unwrap_or_default();
    if book.boot == boot { book } else { Book { boot: boot.to_owned(), ..Book::default() } }
}

impl Record {
    /// Whether it is of this part.
    fn stands(&self, cut: &Cut, part: Part) -> bool {
        self.device == cut.uuid && cut.named(&self.profile, self.start) == Some(part)
    }

    /// Whether this is what stands there now, which a part with another number or name is not.
    fn is(&self, cut: &Cut, standing: &driver::Instance) -> bool {
        let same = self.device == cut.uuid && cut.part(standing) == cut.named(&self.profile, self.start);
        let made = |made: &Made| {
            made.instance == standing.id && standing.devices.iter().all(|(_, uuid)| *uuid == made.uuid)
        };
        same && self.made.as_ref().is_none_or(made)
    }
}

fn made_of(standing: &driver::Instance) -> Made {
    let (compute, uuid) = standing.devices.first().cloned().unwrap_or_default();
    Made { instance: standing.id, compute, uuid }
}

impl Cut {
    fn offered(&self) -> Arc<Layout> {
        Arc::clone(&self.offered.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is left to be offered beside what somebody else has made. Whether that is other than before.
    fn leave_to_others(&self, standing: &[driver::Instance], book: &Book) -> bool {
        let is_others =
            |standing: &&driver::Instance| !book.records.iter().any(|record| record.is(self, standing));
        let others: Vec<Part> =
            standing.iter().filter(is_others).filter_map(|standing| self.part(standing)).collect();
        let left = Arc::new(mig::offered(&self.whole, &others));
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *offered != left;
        *offered = left;
        changed
    }

    fn named(&self, profile: &str, start: u8) -> Option<Part> {
        self.whole.find(profile).map(|profile| Part { profile, start })
    }

    fn part(&self, standing: &driver::Instance) -> Option<Part> {
        let profile = self.profiles.iter().position(|profile| profile.id == standing.profile)?;
        Some(Part { profile: u8::try_from(profile).ok()?, start: u8::try_from(standing.start).ok()? })
    }

    /// Looks what stands on a device: what is ours is compared with what is written, what is not is no longer offered.
    fn open(driver: &Mig, ordinal: u32, device: &mut Device, book: &mut Book) -> Result<Self, MigError> {
        let profiles = driver.profiles(&device.uuid)?;
        let whole = mig::layout(&profiles);
        let minor = driver.minor(&device.uuid)?;
        let offered = Mutex::default();
        let cut = Self { ordinal, uuid: device.uuid.clone(), minor, profiles, whole, offered };
        let standing = driver.instances(&cut.uuid)?;
        book.records.retain_mut(|record| {
            let found = standing.iter().find(|standing| record.is(&cut, standing));
            if let Some(standing) = found {
                record.made = Some(made_of(standing));
            }
            record.device != cut.uuid || found.is_some()
        });
        cut.leave_to_others(&standing, book);
        device.traits.layout = Some(cut.offered());
        Ok(cut)
    }
}

impl Partitions {
    /// Looks at the devices that can be cut and at what earlier agents made of them. Each device is told what of it is
    /// left to be offered; one that does not answer is offered no more.
    pub(super) fn open(state: &Path, boot: &str, devices: &mut [Device]) -> Self {
        let file = state.join("partitions.json");
        let mut book = read(&file, boot);
        let is_cut = |device: &Device| device.modes.contains(&ShareMode::Space);
        let in_mode: Vec<String> =
            devices.iter().filter(|device| is_cut(device)).map(|device| device.uuid.clone()).collect();
        let driver = (!in_mode.is_empty()).then(|| nvidia::instances().ok()).flatten();
        let mut cuts = Vec::new();
        for (device, ordinal) in devices.iter_mut().zip(0_u32..).filter(|(device, _)| is_cut(device)) {
            match driver.as_ref().map(|driver| Cut::open(driver, ordinal, device, &mut book)) {
                Some(Ok(cut)) => cuts.push(cut),
                _ => device.modes.clear(),
            }
        }
        // Of devices that are gone, or not in MIG mode any more, nothing stands.
        book.records.retain(|record| in_mode.contains(&record.device));
        let troubled = AtomicBool::new(false);
        let (hands, doubted) = (Mutex::default(), AtomicBool::new(false));
        Self { cuts, file, hands, book: Mutex::new(book), wake: Condvar::new(), troubled, doubted }
    }

    /// Whether any device can be cut.
    pub(super) fn any(&self) -> bool {
        !self.cuts.is_empty()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, book: &Book) -> io::Result<()> {
        crate::folder::write_whole(&self.file, &serde_json::to_vec(book)?)
    }

    fn hands(&self) -> MutexGuard<'_, ()> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the parts that a task was granted. When one cannot be made, those that were are let go, and the device is
    /// said, with how often that has happened in a row.
    fn acquire(&self, holder: Holder, grants: &[DeviceGrant]) -> Result<(), (u32, u32, PartitionError)> {
        let parts: Vec<(u32, Part)> =
            grants.iter().filter_map(|grant| Some((grant.device, grant.part?))).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let hands = self.hands();
        for (device, part) in parts {
            let done = self.make(holder, device, part);
            let mut book = self.book();
            let failures = book.failures.entry(device).or_default();
            *failures = if done.is_ok() { 0 } else { *failures + 1 };
            let failures = *failures;
            drop(book);
            if let Err(why) = done {
                drop(hands);
                self.release(holder);
                return Err((device, failures, why));
            }
        }
        Ok(())
    }

    fn make(&self, holder: Holder, device: u32, part: Part) -> Result<(), PartitionError> {
        let changed = || PartitionError::Changed(device);
        let cut = self.cuts.iter().find(|cut| cut.ordinal == device).ok_or_else(changed)?;
        let name = cut.offered().profiles.get(usize::from(part.profile)).ok_or_else(changed)?.name.clone();
        let wanted = cut.named(&name, part.start).ok_or_else(changed)?;
        let profile = cut.profiles.get(usize::from(wanted.profile)).ok_or_else(changed)?;
        let (profile_name, start) = (name.clone(), part.start);
        let failed = |source| PartitionError::Driver { device, profile: profile_name.clone(), start, source };
        let driver = nvidia::instances().map_err(failed)?;
        let standing = driver.instances(&cut.uuid).map_err(failed)?;
        let has: Vec<Instance> = {
            let book = self.book();
            let idle = |one: &driver::Instance| {
                let own = |record: &Record| record.holder.is_none() && record.is(cut, one);
                book.records.iter().any(own) && one.devices.len() == 1
            };
            let has = |one| Some(Instance { part: cut.part(one)?, busy: !idle(one) });
            standing.iter().filter_map(has).collect()
        };
        let taken = || PartitionError::Taken { device, profile: profile_name.clone(), start };
        for step in steps(&cut.whole, &has, wanted).ok_or_else(taken)? {
            match step {
                Step::Destroy(old) => {
                    let found = standing.iter().find(|one| cut.part(one) == Some(old));
                    found.map_or(Ok(()), |one| driver.destroy(&cut.uuid, one.id)).map_err(failed)?;
                    self.book().records.retain(|record| !record.stands(cut, old));
                }
                Step::Create(_) => {
                    let record = Record {
                        device: cut.uuid.clone(),
                        profile: name.clone(),
                        start,
                        holder: Some(holder),
                        made: None,
                    };
                    return self.create(
                        record,
                        || driver.create(&cut.uuid, profile, u32::from(start)),
                        failed,
                    );
                }
            }
        }
        // It stands as wanted.
        let mut book = self.book();
        book.records.iter_mut().filter(|record| record.stands(cut, wanted)).for_each(|record| {
            record.holder = Some(holder);
        });
        Ok(self.save(&book)?)
    }

    /// Writes down what will be made, makes it, writes down what it became.
    fn create(
        &self,
        record: Record,
        make: impl FnOnce() -> Result<driver::Instance, MigError>,
        failed: impl FnOnce(MigError) -> PartitionError,
    ) -> Result<(), PartitionError> {
        let mut book = self.book();
        book.records.push(record.clone());
        if let Err(why) = self.save(&book) {
            book.records.pop();
            return Err(why.into());
        }
        drop(book);
        let made = make();
        let mut book = self.book();
        let at = book.records.iter().position(|one| *one == record);
        match (made, at) {
            (Ok(standing), Some(at)) => {
                book.records[at].made = Some(made_of(&standing));
                Ok(self.save(&book)?)
            }
            (Ok(standing), None) => {
                // Let go meanwhile; it goes as what nobody has.
                book.records.push(Record { holder: None, made: Some(made_of(&standing)), ..record });
                Ok(self.save(&book)?)
            }
            (Err(why), at) => {
                at.map(|at| book.records.remove(at));
                tolerate(self.save(&book));
                Err(failed(why))
            }
        }
    }

    /// A task has ended: what it had is nobody's, and will be taken away.
    pub(super) fn release(&self, holder: Holder) {
        self.let_go(|other| *other == holder);
    }

    /// The tasks that run, of all that an earlier agent knew.
    pub(super) fn keep(&self, runs: impl Fn(&Holder) -> bool) {
        self.let_go(|holder| !runs(holder));
    }

    fn let_go(&self, ended: impl Fn(&Holder) -> bool) {
        let mut book = self.book();
        let records = book.records.iter_mut();
        let mut changed = false;
        for record in records.filter(|record| record.holder.as_ref().is_some_and(&ended)) {
            record.holder = None;
            changed = true;
        }
        if changed {
            tolerate(self.save(&book));
            self.wake.notify_all();
        }
    }

    /// Takes away what nobody has. Whether nothing of it is left.
    fn clear(&self) -> bool {
        let _hands = self.hands();
        let nobodys = |record: &&Record| record.holder.is_none();
        let old: Vec<Record> = self.book().records.iter().filter(nobodys).cloned().collect();
        if old.is_empty() {
            return true;
        }
        let Ok(driver) = nvidia::instances() else { return false };
        let is_gone = |record: &Record| {
            let Some(cut) = self.cuts.iter().find(|cut| cut.uuid == record.device) else { return false };
            let Ok(standing) = driver.instances(&cut.uuid) else { return false };
            // Only what it was: somebody else's may have its place and number now.
            let still = standing.iter().find(|one| record.is(cut, one));
            still.is_none_or(|one| driver.destroy(&cut.uuid, one.id).is_ok())
        };
        let gone: Vec<&Record> = old.iter().filter(|record| is_gone(record)).collect();
        let mut book = self.book();
        if !gone.is_empty() {
            book.records.retain(|record| !gone.contains(&record));
            tolerate(self.save(&book));
        }
        gone.len() == old.len()
    }

    /// The same until nothing is left, for so long as that may take.
    pub(super) fn clear_all(&self) {
        let end = Instant::now() + LAST;
        while self.any() && !self.clear() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The UUID of a part that a task has, and the files that lead to it.
    fn held(&self, holder: Holder, grant: &DeviceGrant) -> Option<(String, Vec<String>)> {
        let cut = self.cuts.iter().find(|cut| cut.ordinal == grant.device)?;
        let part = grant.part?;
        let name = cut.offered().profiles.get(usize::from(part.profile))?.name.clone();
        let book = self.book();
        let own = |record: &&Record| record.holder == Some(holder) && record.device == cut.uuid;
        let mut records = book.records.iter().filter(own);
        let record = records.find(|record| record.profile == *name && record.start == part.start)?;
        let made = record.made.as_ref()?;
        let (instance, compute) = (made.instance, made.compute);
        let files = mig::capability_files("/proc".as_ref(), "/dev".as_ref(), cut.minor, instance, compute);
        Some((made.uuid.clone(), files))
    }

    /// Devices that failed and whose driver answers again.
    pub(super) fn signs(&self) -> Vec<u32> {
        let failed: Vec<u32> = {
            let book = self.book();
            book.failures.iter().filter(|(_, count)| **count >= REPEATED).map(|(device, _)| *device).collect()
        };
        if failed.is_empty() {
            return failed;
        }
        let Ok(driver) = nvidia::instances() else { return Vec::new() };
        let answers = |cut: &&Cut| driver.instances(&cut.uuid).is_ok();
        let cuts = self.cuts.iter().filter(|cut| failed.contains(&cut.ordinal)).filter(answers);
        cuts.map(|cut| cut.ordinal).collect()
    }

    /// Looks what others have made or taken away since; whether anything else is left to be offered.
    fn look_at_others(&self) -> bool {
        let _hands = self.hands();
        let Ok(driver) = nvidia::instances() else { return false };
        let mut changed = false;
        for cut in &self.cuts {
            if let Ok(standing) = driver.instances(&cut.uuid) {
                changed |= cut.leave_to_others(&standing, &self.book());
            }
        }
        changed
    }

    /// Whether a device has failed again since this was asked last.
    pub(super) fn had_trouble(&self) -> bool {
        self.troubled.swap(false, Ordering::AcqRel)
    }

    /// Makes the thread look whether the agent closes.
    pub(super) fn wake(&self) {
        self.wake.notify_all();
    }
}

/// The thread: until the agent closes.
pub(super) fn run(inner: Arc<Inner>) {
    let partitions = &inner.partitions;
    let every = Duration::from_millis(inner.config.health_every.0);
    let mut looked = Instant::now();
    while !inner.closing() {
        let done = partitions.clear();
        if partitions.doubted.swap(false, Ordering::AcqRel) || looked.elapsed() >= every {
            if partitions.look_at_others() {
                inner.report(Report::NodeUp(inner.described()));
            }
            looked = Instant::now();
        }
        let book = partitions.book();
        // What was let go in between is seen here, as it would not be by waiting for the next to be.
        if done && book.records.iter().any(|record| record.holder.is_none()) {
            continue;
        }
        drop(partitions.wake.wait_timeout(book, AGAIN).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Inner {
    /// Makes the parts of devices that a task was granted.
    ///
    /// # Errors
    /// Why one cannot be made; when that happens again and again on a device, it is told as well.
    pub(super) fn make_partitions(&self, launch: &Launch) -> Result<(), PartitionError> {
        let allocation = &launch.allocation;
        let done = self.partitions.acquire((allocation.task, allocation.generation), &allocation.devices);
        done.map_err(|(device, failures, why)| {
            self.partitions.doubted.store(true, Ordering::Release);
            self.partitions.wake();
            if failures >= REPEATED {
                let (node, message) = (self.config.node.clone(), why.to_string());
                self.report(Report::DeviceSign { node, device, sign: Sign::Trouble, message });
                self.partitions.troubled.store(true, Ordering::Release);
            }
            why
        })
    }

    /// This machine with what is left of its devices now.
    pub(super) fn described(&self) -> NodeSpec {
        let mut node = self.node.clone();
        for cut in &self.partitions.cuts {
            if let Some(device) = node.devices.get_mut(cut.ordinal as usize) {
                device.traits.layout = Some(cut.offered());
            }
        }
        node
    }

    /// What a task knows a device by that it was granted, and the files that lead to a part of it.
    pub(super) fn name_of(&self, launch: &Launch, grant: &DeviceGrant) -> Option<(String, Vec<String>)> {
        let device = self.node.devices.get(grant.device as usize)?;
        let holder = (launch.allocation.task, launch.allocation.generation);
        match grant.part {
            Some(_) => self.partitions.held(holder, grant),
            None => Some((device.uuid.clone(), Vec::new())),
        }
    }
}
