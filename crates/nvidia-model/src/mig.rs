//! MIG over the same devices: modes, profiles, placements, instances of the GPU and, in each, one compute instance.
//!
//! What stands on a device is words in the file, so instances outlive who made them, as real ones do. An instance is a device of its own: its
//! memory ends where it ends, its kernels wait for its own alone.
//!
//! Not there: compute instances of a part of their instance, MIG profiles for graphics, a device's reset by the driver (a
//! mode that waits for one waits for [`reset`]).

use crate::device::{Cut, Device, Machine, Mapped, PARTS};
use crate::nvml::{INVALID_ARGUMENT, NOT_FOUND, TOO_SMALL, machine, uuid_text};
use crate::profiles::{COMPUTE_SORTS, MEDIA_SORT, MODELS, Model, Row};
use crate::world::{Done, api, put};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

const NOT_SUPPORTED: i32 = 3;
const NO_PERMISSION: i32 = 4;
const IN_USE: i32 = 19;
const INSUFFICIENT_RESOURCES: i32 = 23;
const OTHER_VERSION: i32 = 25;

/// The media engines among what is taken; memory slices are bits from 0.
const MEDIA: u64 = 1 << 32;

/// `nvmlGpuInstanceProfileInfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ProfileInfo {
    id: u32,
    peers: u32,
    slices: u32,
    instances: u32,
    processors: u32,
    engines: [u32; 5],
    mib: u64,
}

/// `nvmlGpuInstanceProfileInfo_v2_t`: a version in front, a name behind.
#[repr(C)]
pub struct ProfileInfo2 {
    version: u32,
    id: u32,
    peers: u32,
    slices: u32,
    instances: u32,
    processors: u32,
    engines: [u32; 5],
    mib: u64,
    name: [u8; 96],
}

/// `nvmlGpuInstancePlacement_t`, `nvmlComputeInstancePlacement_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Placement {
    start: u32,
    size: u32,
}

/// `nvmlGpuInstanceInfo_t`.
#[repr(C)]
pub struct InstanceInfo {
    device: usize,
    id: u32,
    profile: u32,
    placement: Placement,
}

/// `nvmlComputeInstanceProfileInfo_t`.
#[repr(C)]
pub struct ComputeProfile {
    id: u32,
    slices: u32,
    instances: u32,
    processors: u32,
    engines: [u32; 5],
}

/// `nvmlComputeInstanceProfileInfo_v2_t`: a version in front, a name behind.
#[repr(C)]
pub struct ComputeProfile2 {
    version: u32,
    is: ComputeProfile,
    name: [u8; 96],
}

/// `nvmlComputeInstanceInfo_t`.
#[repr(C)]
pub struct ComputeInfo {
    device: usize,
    instance: usize,
    id: u32,
    profile: u32,
    placement: Placement,
}

/// `nvmlDeviceAttributes_t`.
#[repr(C)]
pub struct Attributes {
    processors: u32,
    engines: [u32; 5],
    instance_slices: u32,
    compute_slices: u32,
    mib: u64,
}

/// An instance as its word has it.
#[derive(Clone, Copy)]
struct Instance {
    serial: u64,
    row: usize,
    start: u32,
    compute: bool,
}

impl Instance {
    const fn word(self) -> u64 {
        self.serial << 32
            | (self.row as u64) << 16
            | (self.start as u64) << 8
            | (self.compute as u64) << 1
            | 1
    }

    fn read(word: u64) -> Option<Self> {
        (word & 1 == 1).then_some(Self {
            serial: word >> 32,
            row: (word >> 16 & 0xff) as usize,
            start: (word >> 8 & 0xff) as u32,
            compute: word & 2 != 0,
        })
    }
}

/// What is meant by a handle of an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gpu = 1,
    Compute = 2,
    Device = 3,
}

/// Handles: the serial, the device, the kind, the place. A handle of what was destroyed means nothing any more.
fn handle(number: usize, kind: Kind, at: usize, instance: Instance) -> usize {
    (instance.serial as usize) << 12 | number << 8 | (kind as usize) << 4 | at
}

/// A standing instance, found by a handle.
struct Standing {
    number: usize,
    at: usize,
    cut: &'static Cut,
    row: &'static Row,
    is: Instance,
}

impl Standing {
    fn find(handle: usize, kind: Kind) -> Result<Self, i32> {
        let (number, at) = (handle >> 8 & 0xf, handle & 0xf);
        let right = handle >> 12 != 0 && handle >> 4 & 0xf == kind as usize && at < PARTS;
        let cut = machine()?.get().cuts.get(number).filter(|_| right).ok_or(INVALID_ARGUMENT)?;
        let is = Instance::read(cut.parts[at].0.load(Acquire)).ok_or(NOT_FOUND)?;
        if is.serial as usize != handle >> 12 || kind != Kind::Gpu && !is.compute {
            return Err(NOT_FOUND);
        }
        Ok(Self { number, at, cut, row: &rows(cut)?[is.row], is })
    }

    fn handle(&self, kind: Kind) -> usize {
        handle(self.number, kind, self.at, self.is)
    }

    fn placement(&self) -> Placement {
        Placement { start: self.is.start, size: self.row.slices.1 }
    }

    /// An instance's number, from 1.
    const fn id(&self) -> u32 {
        self.at as u32 + 1
    }
}

fn model(cut: &Cut) -> Option<&'static Model> {
    MODELS.get((cut.model.load(Acquire) as usize).checked_sub(1)?)
}

fn rows(cut: &Cut) -> Result<&'static [Row], i32> {
    model(cut).map(|model| model.rows).ok_or(NOT_SUPPORTED)
}

/// A device that can be cut, by its own handle.
fn cuttable(handle: usize) -> Result<(&'static Cut, &'static [Row]), i32> {
    let machine = machine()?.get();
    let known = (1..=machine.count.load(Acquire) as usize).contains(&handle);
    let cut = machine.cuts.get(handle.wrapping_sub(1)).filter(|_| known).ok_or(INVALID_ARGUMENT)?;
    Ok((cut, rows(cut)?))
}

/// One that is in MIG mode.
fn in_mode(handle: usize) -> Result<(&'static Cut, &'static [Row]), i32> {
    cuttable(handle)
        .and_then(|found| if found.0.current.load(Acquire) == 0 { Err(NOT_SUPPORTED) } else { Ok(found) })
}

fn by_id(rows: &'static [Row], id: u32) -> Result<(usize, &'static Row), i32> {
    rows.iter().enumerate().find(|(_, row)| row.id == id).ok_or(INVALID_ARGUMENT)
}

const fn bits(row: &Row, start: u32) -> u64 {
    ((1 << row.slices.1) - 1) << start | if row.sort == MEDIA_SORT { MEDIA } else { 0 }
}

fn privileged() -> Done {
    // SAFETY: asks the kernel for a number.
    if unsafe { libc::geteuid() } == 0 { Ok(()) } else { Err(NO_PERMISSION) }
}

fn standing(cut: &Cut) -> impl Iterator<Item = (usize, Instance)> {
    let read = |(at, (word, _)): (usize, &(std::sync::atomic::AtomicU64, Device))| {
        Instance::read(word.load(Acquire)).map(|is| (at, is))
    };
    cut.parts.iter().enumerate().filter_map(read)
}

/// Makes a device one that can be cut: `A100`, `H100`. MIG is off.
///
/// # Panics
/// No such model.
pub fn become_model(machine: &Mapped, device: usize, name: &str) {
    let at = MODELS.iter().position(|model| model.name.contains(name)).expect("a model");
    machine.devices[device].renew(MODELS[at].mib << 20, MODELS[at].processors);
    machine.cuts[device].model.store(at as u64 + 1, Release);
}

/// What a reset of the device does: the mode that was asked for comes, instances go.
pub fn reset(machine: &Mapped, device: usize) {
    let cut = &machine.cuts[device];
    cut.parts.iter().for_each(|(word, _)| word.store(0, Release));
    cut.taken.store(0, Release);
    cut.current.store(cut.pending.load(Acquire), Release);
}

/// Instances that stand: profile's name, start, whether they can be used.
#[must_use]
pub fn instances(machine: &Mapped, device: usize) -> Vec<(&'static str, u32, bool)> {
    let cut = &machine.cuts[device];
    let rows = rows(cut).unwrap_or_default();
    standing(cut).map(|(_, is)| (rows[is.row].name, is.start, is.compute)).collect()
}

/// Whether a device is in MIG mode.
pub(crate) fn is_cut(machine: &Machine, number: usize) -> bool {
    machine.cuts[number].current.load(Acquire) != 0
}

/// Instances that CUDA can use: each as a device, its UUID, its name.
pub(crate) fn ready(
    machine: &'static Machine,
    number: usize,
) -> impl Iterator<Item = (&'static Device, [u8; 16], String)> {
    let cut = &machine.cuts[number];
    let usable = standing(cut).filter(|(_, is)| is.compute);
    usable.map(move |(at, is)| {
        let name = name(machine, handle(number, Kind::Device, at, is));
        (&cut.parts[at].1, bytes(number, is), name)
    })
}

fn bytes(number: usize, is: Instance) -> [u8; 16] {
    let mut bytes = *b"Mond-model-mig\0\0";
    bytes[0] += number as u8;
    bytes[12..].copy_from_slice(&(is.serial as u32).to_be_bytes());
    bytes
}

/// The device behind the handle of an instance.
pub(crate) fn device(handle: usize) -> Result<&'static Device, i32> {
    Standing::find(handle, Kind::Device).map(|found| &found.cut.parts[found.at].1)
}

/// The UUID of an instance; `None` for the handle of a whole device.
pub(crate) fn uuid(handle: usize) -> Option<Result<String, i32>> {
    (handle >> 12 != 0).then(|| {
        Standing::find(handle, Kind::Device).map(|found| uuid_text("MIG", bytes(found.number, found.is)))
    })
}

/// The handles of a device's instances, as devices.
pub(crate) fn handles(number: usize) -> Vec<usize> {
    let Ok(machine) = machine() else { return Vec::new() };
    let usable = standing(&machine.cuts[number]).filter(|(_, is)| is.compute);
    usable.map(|(at, is)| handle(number, Kind::Device, at, is)).collect()
}

/// The number of the device that a handle is of.
pub(crate) const fn number(handle: usize) -> usize {
    if handle >> 12 == 0 { handle - 1 } else { handle >> 8 & 0xf }
}

/// A device's number; an instance's place on its own.
pub(crate) fn index(handle: usize, _known: &Device) -> Result<u32, i32> {
    Ok(if handle >> 12 == 0 { handle as u32 - 1 } else { Standing::find(handle, Kind::Device)?.at as u32 })
}

/// What a device or an instance is called.
pub(crate) fn name(machine: &Machine, handle: usize) -> String {
    let cut = &machine.cuts[number(handle)];
    let Some(model) = model(cut) else { return "NVIDIA Model 1".to_owned() };
    let word = (handle >> 12 != 0).then(|| cut.parts[handle & 0xf].0.load(Acquire));
    match word.and_then(Instance::read) {
        Some(is) => format!("{} {}", model.name, model.rows[is.row].name),
        None => model.name.to_owned(),
    }
}

/// Whether a fault was asked for.
fn fault(left: &std::sync::atomic::AtomicU64) -> Done {
    let asked = left.fetch_update(AcqRel, Acquire, |left| left.checked_sub(1));
    if asked.is_ok() { Err(INSUFFICIENT_RESOURCES) } else { Ok(()) }
}

/// What making and destroying takes, once it is done.
fn take_time(cut: &Cut) {
    std::thread::sleep(std::time::Duration::from_millis(cut.takes_ms.load(Acquire)));
}

fn create(device: usize, id: u32, start: u32) -> Result<usize, i32> {
    let (cut, rows) = in_mode(device)?;
    privileged()?;
    let (at, row) = by_id(rows, id)?;
    if !row.starts.contains(&start) {
        return Err(INVALID_ARGUMENT);
    }
    fault(&cut.refuse)?;
    let wanted = bits(row, start);
    let free = |taken: u64| (taken & wanted == 0).then_some(taken | wanted);
    cut.taken.fetch_update(AcqRel, Acquire, free).ok().ok_or(INSUFFICIENT_RESOURCES)?;
    let serial = cut.serial.fetch_add(1, AcqRel) + 1;
    let new = Instance { serial, row: at, start, compute: false };
    let place = |(word, _): &(std::sync::atomic::AtomicU64, Device)| {
        word.compare_exchange(0, new.word(), AcqRel, Acquire).is_ok()
    };
    // Slices are no more than places, so there is one.
    let place = cut.parts.iter().position(place).ok_or(INSUFFICIENT_RESOURCES)?;
    cut.parts[place].1.renew(row.mib << 20, u64::from(row.processors));
    take_time(cut);
    Ok(handle(device - 1, Kind::Gpu, place, new))
}

/// Writes handles where the client has room for as many as there can be.
fn list(handles: &[usize], out: *mut usize, count: *mut u32) -> Done {
    // SAFETY: the client's places, as many as NVML's manual asks for.
    unsafe {
        handles.iter().enumerate().for_each(|(at, handle)| out.add(at).write(*handle));
        put(count, handles.len() as u32)
    }
}

fn set_mode(device: usize, mode: u32, status: *mut i32) -> Done {
    let (cut, _) = cuttable(device)?;
    privileged()?;
    if mode > 1 {
        return Err(INVALID_ARGUMENT);
    }
    cut.pending.store(u64::from(mode), Release);
    let used = !machine()?.get().devices[device - 1].processes().is_empty();
    // What is in use waits for a reset.
    let waits = used || standing(cut).next().is_some();
    if !waits {
        cut.current.store(u64::from(mode), Release);
    }
    // SAFETY: the client's place.
    unsafe { put(status, if waits { IN_USE } else { 0 }) }
}

fn info(row: &Row) -> ProfileInfo {
    let (slices, media) = (row.slices.0, u32::from(row.sort == MEDIA_SORT));
    ProfileInfo {
        id: row.id,
        peers: 0,
        slices,
        instances: row.most,
        processors: row.processors,
        engines: [slices, slices / 2 + media, 0, media, media],
        mib: row.mib,
    }
}

fn padded(text: &str) -> [u8; 96] {
    let mut name = [0; 96];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}

/// The second version of a profile; the third is not known here, as to an older driver.
///
/// # Safety
/// `out` is the client's.
unsafe fn newer_info(row: &Row, out: *mut ProfileInfo2) -> Done {
    // SAFETY: the version stands first in every one, and says how long it is.
    unsafe {
        let version = (*out).version;
        if version != 2 << 24 | size_of::<ProfileInfo2>() as u32 {
            return Err(OTHER_VERSION);
        }
        let ProfileInfo { id, peers, slices, instances, processors, engines, mib } = info(row);
        let name = padded(row.name);
        put(out, ProfileInfo2 { version, id, peers, slices, instances, processors, engines, mib, name })
    }
}

/// The compute profile of this sort in an instance, the whole of it.
fn compute_profile(of: &Standing, sort: u32) -> Result<ComputeProfile, i32> {
    let (slices, row) = (of.row.slices.0, of.row);
    COMPUTE_SORTS.contains(&(sort, slices)).then_some(()).ok_or(NOT_SUPPORTED)?;
    Ok(ComputeProfile { id: sort, slices, instances: 1, processors: row.processors, engines: [slices; 5] })
}

api! {
    [nvmlDeviceGetMigMode](handle: usize, now: *mut u32, next: *mut u32) {
        let (cut, _) = cuttable(handle)?;
        put(now, cut.current.load(Acquire) as u32)?;
        put(next, cut.pending.load(Acquire) as u32)
    }
    [nvmlDeviceSetMigMode](handle: usize, mode: u32, status: *mut i32) { set_mode(handle, mode, status) }
    [nvmlDeviceGetGpuInstanceProfileInfo](handle: usize, sort: u32, out: *mut ProfileInfo) {
        let (_, rows) = cuttable(handle)?;
        put(out, info(rows.iter().find(|row| row.sort == sort).ok_or(NOT_SUPPORTED)?))
    }
    [nvmlDeviceGetGpuInstanceProfileInfoV](handle: usize, sort: u32, out: *mut ProfileInfo2) {
        let (_, rows) = cuttable(handle)?;
        newer_info(rows.iter().find(|row| row.sort == sort).ok_or(NOT_SUPPORTED)?, out)
    }
    [nvmlDeviceGetGpuInstancePossiblePlacements_v2, nvmlDeviceGetGpuInstancePossiblePlacements](
        handle: usize, id: u32, out: *mut Placement, count: *mut u32
    ) {
        let (_, row) = by_id(in_mode(handle)?.1, id)?;
        if !out.is_null() {
            if (*count as usize) < row.starts.len() {
                return Err(TOO_SMALL);
            }
            for (at, start) in row.starts.iter().enumerate() {
                out.add(at).write(Placement { start: *start, size: row.slices.1 });
            }
        }
        put(count, row.starts.len() as u32)
    }
    [nvmlDeviceGetGpuInstanceRemainingCapacity](handle: usize, id: u32, out: *mut u32) {
        let (cut, rows) = in_mode(handle)?;
        let (_, row) = by_id(rows, id)?;
        let mut taken = cut.taken.load(Acquire);
        put(out, row.starts.iter().filter(|start| {
            let wanted = bits(row, **start);
            let free = taken & wanted == 0;
            taken |= if free { wanted } else { 0 };
            free
        }).count() as u32)
    }
    [nvmlDeviceCreateGpuInstanceWithPlacement](handle: usize, id: u32, at: *const Placement, out: *mut usize) {
        put(out, create(handle, id, (*at).start)?)
    }
    [nvmlDeviceCreateGpuInstance](handle: usize, id: u32, out: *mut usize) {
        let (cut, rows) = in_mode(handle)?;
        let (_, row) = by_id(rows, id)?;
        let free = |start: &&u32| cut.taken.load(Acquire) & bits(row, **start) == 0;
        let start = row.starts.iter().find(free).ok_or(INSUFFICIENT_RESOURCES)?;
        put(out, create(handle, id, *start)?)
    }
    [nvmlGpuInstanceDestroy](handle: usize) {
        let found = Standing::find(handle, Kind::Gpu)?;
        privileged()?;
        if found.is.compute {
            return Err(IN_USE);
        }
        found.cut.parts[found.at].0.store(0, Release);
        found.cut.taken.fetch_and(!bits(found.row, found.is.start), AcqRel);
        take_time(found.cut);
        Ok(())
    }
    [nvmlDeviceGetGpuInstances](handle: usize, id: u32, out: *mut usize, count: *mut u32) {
        let (cut, rows) = in_mode(handle)?;
        let (row, _) = by_id(rows, id)?;
        let of_row = standing(cut).filter(|(_, is)| is.row == row);
        list(&of_row.map(|(at, is)| self::handle(handle - 1, Kind::Gpu, at, is)).collect::<Vec<_>>(), out, count)
    }
    [nvmlDeviceGetGpuInstanceById](handle: usize, id: u32, out: *mut usize) {
        let mut all = standing(in_mode(handle)?.0);
        let (at, is) = all.find(|(at, _)| *at as u32 + 1 == id).ok_or(NOT_FOUND)?;
        put(out, self::handle(handle - 1, Kind::Gpu, at, is))
    }
    [nvmlGpuInstanceGetInfo](handle: usize, out: *mut InstanceInfo) {
        let found = Standing::find(handle, Kind::Gpu)?;
        let (id, profile, placement) = (found.id(), found.row.id, found.placement());
        put(out, InstanceInfo { device: found.number + 1, id, profile, placement })
    }
    [nvmlGpuInstanceGetComputeInstanceProfileInfo](
        handle: usize, sort: u32, _engines: u32, out: *mut ComputeProfile
    ) { put(out, compute_profile(&Standing::find(handle, Kind::Gpu)?, sort)?) }
    [nvmlGpuInstanceGetComputeInstanceProfileInfoV](
        handle: usize, sort: u32, _engines: u32, out: *mut ComputeProfile2
    ) {
        let found = Standing::find(handle, Kind::Gpu)?;
        let (version, is) = ((*out).version, compute_profile(&found, sort)?);
        if version != 2 << 24 | size_of::<ComputeProfile2>() as u32 {
            return Err(OTHER_VERSION);
        }
        put(out, ComputeProfile2 { version, is, name: padded(found.row.name) })
    }
    [nvmlGpuInstanceGetComputeInstanceRemainingCapacity](handle: usize, id: u32, out: *mut u32) {
        let found = Standing::find(handle, Kind::Gpu)?;
        put(out, compute_profile(&found, id).ok().ok_or(INVALID_ARGUMENT)?.instances - u32::from(found.is.compute))
    }
    [nvmlGpuInstanceCreateComputeInstance](handle: usize, id: u32, out: *mut usize) {
        let found = Standing::find(handle, Kind::Gpu)?;
        privileged()?;
        compute_profile(&found, id).ok().ok_or(INVALID_ARGUMENT)?;
        fault(&found.cut.refuse_compute)?;
        let (word, with) = (&found.cut.parts[found.at].0, Instance { compute: true, ..found.is });
        if found.is.compute || word.compare_exchange(found.is.word(), with.word(), AcqRel, Acquire).is_err() {
            return Err(INSUFFICIENT_RESOURCES);
        }
        take_time(found.cut);
        put(out, found.handle(Kind::Compute))
    }
    [nvmlGpuInstanceGetComputeInstances](handle: usize, id: u32, out: *mut usize, count: *mut u32) {
        let found = Standing::find(handle, Kind::Gpu)?;
        let here = found.is.compute && compute_profile(&found, id).is_ok();
        let one = [found.handle(Kind::Compute)];
        list(if here { &one } else { &[] }, out, count)
    }
    [nvmlGpuInstanceGetComputeInstanceById](handle: usize, id: u32, out: *mut usize) {
        let found = Standing::find(handle, Kind::Gpu)?;
        if id == 0 && found.is.compute { put(out, found.handle(Kind::Compute)) } else { Err(NOT_FOUND) }
    }
    [nvmlComputeInstanceGetInfo_v2, nvmlComputeInstanceGetInfo](handle: usize, out: *mut ComputeInfo) {
        let found = Standing::find(handle, Kind::Compute)?;
        let slices = found.row.slices.0;
        let sort = COMPUTE_SORTS.iter().find(|(_, of)| *of == slices).map_or(0, |(sort, _)| *sort);
        put(out, ComputeInfo {
            device: found.number + 1,
            instance: found.handle(Kind::Gpu),
            id: 0,
            profile: sort,
            placement: Placement { start: 0, size: slices },
        })
    }
    [nvmlComputeInstanceDestroy](handle: usize) {
        let found = Standing::find(handle, Kind::Compute)?;
        privileged()?;
        let (word, device) = &found.cut.parts[found.at];
        if !device.processes().is_empty() {
            return Err(IN_USE);
        }
        word.store(Instance { compute: false, ..found.is }.word(), Release);
        take_time(found.cut);
        Ok(())
    }
    [nvmlDeviceGetMaxMigDeviceCount](handle: usize, out: *mut u32) {
        // 0 is the answer of a device that cannot be cut, or is not.
        put(out, match in_mode(handle) {
            Ok((_, rows)) => rows.iter().map(|row| row.most).max().unwrap_or(0),
            Err(NOT_SUPPORTED) => 0,
            Err(why) => return Err(why),
        })
    }
    [nvmlDeviceGetMigDeviceHandleByIndex](handle: usize, index: u32, out: *mut usize) {
        let mut all = standing(in_mode(handle)?.0);
        let wanted = |(at, is): &(usize, Instance)| *at == index as usize && is.compute;
        let (at, is) = all.find(wanted).ok_or(NOT_FOUND)?;
        put(out, self::handle(handle - 1, Kind::Device, at, is))
    }
    [nvmlDeviceIsMigDeviceHandle](handle: usize, out: *mut u32) {
        put(out, u32::from(Standing::find(handle, Kind::Device).is_ok()))
    }
    [nvmlDeviceGetDeviceHandleFromMigDeviceHandle](handle: usize, out: *mut usize) {
        put(out, Standing::find(handle, Kind::Device)?.number + 1)
    }
    [nvmlDeviceGetGpuInstanceId](handle: usize, out: *mut u32) {
        put(out, Standing::find(handle, Kind::Device)?.id())
    }
    [nvmlDeviceGetComputeInstanceId](handle: usize, out: *mut u32) {
        Standing::find(handle, Kind::Device)?;
        put(out, 0)
    }
    [nvmlDeviceGetAttributes_v2, nvmlDeviceGetAttributes](handle: usize, out: *mut Attributes) {
        let row = Standing::find(handle, Kind::Device)?.row;
        let ((slices, _), processors, mib) = (row.slices, row.processors, row.mib);
        put(out, Attributes {
            processors, engines: info(row).engines, instance_slices: slices, compute_slices: slices, mib,
        })
    }
}
