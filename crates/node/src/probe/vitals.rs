//! How NVIDIA's GPUs are, by their driver: what it tells when it happens (XIDs, errors of memory), and what it says when asked
//! (heat, errors of memory, whether the GPU is there at all).
//!
//! Which XID means what is from NVIDIA's "XID Errors" catalogue (docs.nvidia.com/deploy/xid-errors). Those that a program brings
//! about by what it does say nothing of the device, and are left to the program's own end.

use super::nvidia::{instances, management};
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor, TemperatureThreshold};
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device as Gpu, EventSet, Nvml};
use pond_core::event::{Sign, Wear};
use pond_core::model::{Device, ShareMode};
use pond_nvidia_mig::Rows;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two tries, and how many of them before a driver is opened anew.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSES: u32 = 60;
/// Errors in a row after which a driver is left.
const MOST_ERRORS: u32 = 20;

/// What the memory of the device with this ordinal has been through.
pub(crate) type Worn = (u32, Wear);

/// A sign of the device with this ordinal, with words for people.
pub(crate) type Told = (u32, Sign, String);

/// XIDs of programs: an exception of theirs in graphics or compute, a fault of memory, a program that was stopped, its
/// cleaning up, an exception in video, a context switch that took too long.
const OF_PROGRAMS: [u64; 6] = [13, 31, 43, 45, 68, 109];
/// XIDs after which the device cannot work, in words.
const FATAL: [(u64, &str); 8] = [
    (48, "a double-bit error of memory"),
    (62, "its microcontroller halted"),
    (64, "a bad row of memory cannot be remapped"),
    (79, "it fell off the bus"),
    (95, "an uncontained error of memory"),
    (119, "its firmware does not answer"),
    (120, "its firmware failed"),
    (140, "an unrecovered error of memory"),
];
/// XIDs that ended the program that met them and no other, in words: NVIDIA's remedy is to start that again. A device is sick when it
/// meets another.
const CONTAINED: [(u64, &str); 1] = [(94, "a contained error of memory")];
/// XIDs that may pass, in words; others may as well.
const TROUBLE: [(u64, &str); 4] = [
    (63, "a row of memory was remapped"),
    (74, "an error of NVLink"),
    (92, "many errors of memory were corrected"),
    (110, "a fault of its security"),
];

/// What an XID tells of the device; `None`: nothing.
fn of_xid(xid: u64) -> Option<(Sign, String)> {
    if OF_PROGRAMS.contains(&xid) {
        return None;
    }
    let find =
        |table: &[(u64, &'static str)]| table.iter().find(|(known, _)| *known == xid).map(|(_, it)| *it);
    let all =
        [(Sign::Fatal, find(&FATAL)), (Sign::Contained, find(&CONTAINED)), (Sign::Trouble, find(&TROUBLE))];
    let known = all.into_iter().find_map(|(sign, words)| Some((sign, words?)));
    let (sign, words) = known.unwrap_or((Sign::Trouble, "NVIDIA's catalogue says more"));
    Some((sign, format!("XID {xid}: {words}")))
}

/// NVIDIA's GPUs among these devices, by ordinal.
fn gpus(devices: &[Device]) -> impl Iterator<Item = (u32, &str)> {
    devices
        .iter()
        .zip(0_u32..)
        .filter(|(device, _)| device.uuid.starts_with("GPU-"))
        .map(|(device, at)| (at, &*device.uuid))
}

/// Asks again and again, and knows what was said before.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// Errors of memory that nobody corrected, as counted last.
    uncorrected: BTreeMap<u32, u64>,
    /// What is known of memory, and not told yet.
    wear: BTreeMap<u32, Wear>,
    news: Vec<Worn>,
}

impl Vitals {
    /// A sign of each of NVIDIA's GPUs. The driver is asked and left again.
    pub(crate) fn look(&mut self, devices: &[Device]) -> Vec<Told> {
        let mut gpus = gpus(devices).peekable();
        if gpus.peek().is_none() {
            return Vec::new();
        }
        let driver = match management() {
            Ok(driver) => driver,
            Err(why) => {
                let told = |(at, _)| (at, Sign::Trouble, format!("NVIDIA's driver does not answer: {why}"));
                return gpus.map(told).collect();
            }
        };
        let (there, lost) = present(&driver);
        let other = instances().ok();
        gpus.map(|(at, uuid)| {
            let rows = || other.as_ref()?.rows(uuid).ok();
            let (sign, words) = match there.get(uuid) {
                Some(gpu) => of_mode(&devices[at as usize], gpu).unwrap_or_else(|| self.of(at, gpu, rows())),
                None if lost => gone(&NvmlError::GpuLost),
                None => gone(&NvmlError::NotFound),
            };
            (at, sign, words)
        })
        .collect()
    }

    /// What memory has been through, of those of which it is other than it was when this was asked last.
    pub(crate) fn worn(&mut self) -> Vec<Worn> {
        std::mem::take(&mut self.news)
    }

    /// Takes down what tells of memory that goes bad slowly.
    ///
    /// Rows that wait to be remapped change nothing for new work (NVIDIA's "GPU Memory Error Management" and NVML's header say so), so
    /// they are told and the device is granted on; its administrator resets it when that suits.
    fn note_wear(&mut self, at: u32, gpu: &Gpu<'_>, rows: Option<Rows>) {
        let corrected = gpu.total_ecc_errors(MemoryError::Corrected, EccCounter::Aggregate).ok();
        if corrected.is_none() && rows.is_none() {
            return;
        }
        let pending = rows.is_some_and(|rows| rows.pending);
        let wear = Wear { corrected, remapped: rows.map(|rows| rows.remapped), pending };
        if self.wear.insert(at, wear) != Some(wear) {
            self.news.push((at, wear));
        }
    }

    fn of(&mut self, at: u32, gpu: &Gpu<'_>, rows: Option<Rows>) -> (Sign, String) {
        self.note_wear(at, gpu, rows);
        // What it cannot tell, as cards without ECC, tells nothing; that it is gone does.
        let counted = gpu.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile);
        if let Err(why @ NvmlError::GpuLost) = &counted {
            return gone(why);
        }
        if let Ok(now) = counted
            && let Some(before) = self.uncorrected.insert(at, now).filter(|before| now > *before)
        {
            return (Sign::Fatal, format!("{} errors of memory that nobody corrected", now - before));
        }
        if rows.is_some_and(|rows| rows.failed) {
            return (
                Sign::Fatal,
                "a bad row of its memory could not be remapped: its maker takes it back".to_owned(),
            );
        }
        let heat = gpu.temperature(TemperatureSensor::Gpu);
        let slows = gpu.temperature_threshold(TemperatureThreshold::Slowdown);
        if let (Ok(heat), Ok(slows)) = (heat, slows)
            && heat >= slows
        {
            return (Sign::Trouble, format!("it is at {heat} °C, and slows itself down from {slows} °C on"));
        }
        let slowed = gpu.current_throttle_reasons().ok().and_then(slowed_by);
        if let Some(by) = slowed {
            return (Sign::Trouble, format!("its hardware slows it down: {by}"));
        }
        if gpu.are_pages_pending_retired().unwrap_or(false) {
            return (Sign::Trouble, "pages of its memory wait for its next reset to be retired".to_owned());
        }
        (Sign::Well, String::new())
    }
}

/// Whether a GPU is in the mode in which it is offered. One that is not cannot be used as it is described.
fn of_mode(device: &Device, gpu: &Gpu<'_>) -> Option<(Sign, String)> {
    const ON: u32 = 1;
    let on = gpu.mig_mode().is_ok_and(|mode| mode.current == ON);
    let words = match (device.modes.contains(&ShareMode::Space), on) {
        (true, false) => "it is not in MIG mode any more: `pond up` looks again",
        (false, true) if !device.modes.is_empty() => "it is in MIG mode now: `pond up` looks again",
        _ => return None,
    };
    Some((Sign::Fatal, words.to_owned()))
}

/// What the hardware slows a device down for, so that it keeps no promise of time; limits that somebody set are none of it.
fn slowed_by(reasons: ThrottleReasons) -> Option<&'static str> {
    let all = [
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, "heat"),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "its power supply"),
        (ThrottleReasons::HW_SLOWDOWN, "heat or power"),
    ];
    all.into_iter().find(|(reason, _)| reasons.contains(*reason)).map(|(_, words)| words)
}

/// The GPUs that answer, by UUID, and whether there is one that does not. (Asked for by UUID, the driver may say of any GPU that one is
/// lost.)
fn present(driver: &Nvml) -> (BTreeMap<String, Gpu<'_>>, bool) {
    let (mut there, mut lost) = (BTreeMap::new(), false);
    for index in 0..driver.device_count().unwrap_or(0) {
        match driver.device_by_index(index).and_then(|gpu| Ok((gpu.uuid()?, gpu))) {
            Ok((uuid, gpu)) => drop(there.insert(uuid, gpu)),
            Err(why) => lost |= matches!(why, NvmlError::GpuLost),
        }
    }
    (there, lost)
}

fn gone(why: &NvmlError) -> (Sign, String) {
    match why {
        NvmlError::GpuLost => (Sign::Fatal, "it fell off the bus".to_owned()),
        NvmlError::NotFound => (Sign::Fatal, "NVIDIA's driver does not list it".to_owned()),
        other => (Sign::Trouble, format!("NVIDIA's driver says of it: {other}")),
    }
}

/// Listens to what the driver tells, as long as it is wanted. Whoever listens holds the driver's library.
///
/// Ends at once where there is no GPU. While the driver is not there, none of its GPUs tells anything, or it answers with errors alone, as
/// one that is taken out and put in again, it is tried anew twice a minute.
pub(crate) fn listen(devices: &[Device], wanted: &dyn Fn() -> bool, tell: &dyn Fn(Told)) {
    if gpus(devices).next().is_none() {
        return;
    }
    while wanted() {
        if let Ok(driver) = management()
            && let Some(set) = register(&driver, devices)
        {
            hear(&driver, &set, devices, wanted, tell);
        }
        for _ in 0..PAUSES {
            if wanted() {
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Hears one driver until it answers with errors alone.
fn hear(
    driver: &Nvml,
    set: &EventSet<'_>,
    devices: &[Device],
    wanted: &dyn Fn() -> bool,
    tell: &dyn Fn(Told),
) {
    let mut errors = 0;
    while wanted() && errors < MOST_ERRORS {
        match set.wait(500) {
            Ok(event) => {
                errors = 0;
                // One that is gone has no name any more: it is the one that is lost.
                let at = match event.device.uuid() {
                    Ok(uuid) => gpus(devices).find(|(_, known)| *known == uuid),
                    Err(_) => {
                        let (there, _) = present(driver);
                        gpus(devices).find(|(_, known)| !there.contains_key(*known))
                    }
                };
                let at = at.map(|(at, _)| at);
                let said = match event.event_data {
                    Some(XidError::Value(xid)) => of_xid(xid),
                    Some(XidError::Unknown) => {
                        Some((Sign::Trouble, "an XID that the driver does not know".to_owned()))
                    }
                    None => Some((Sign::Fatal, "a double-bit error of memory".to_owned())),
                };
                if let (Some(at), Some((sign, words))) = (at, said) {
                    tell((at, sign, words));
                }
            }
            Err(NvmlError::Timeout) => errors = 0,
            // A driver that is reloaded or a GPU that is gone: looks find what is the matter.
            Err(_) => {
                errors += 1;
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// A set with the events of all GPUs that tell some. A refusal takes the set with it, so it is made again without who refused.
fn register<'nvml>(driver: &'nvml Nvml, devices: &[Device]) -> Option<EventSet<'nvml>> {
    let mut telling: Vec<&str> = gpus(devices).map(|(_, uuid)| uuid).collect();
    'again: while !telling.is_empty() {
        let mut set = driver.create_event_set().ok()?;
        for at in 0..telling.len() {
            let kinds = EventTypes::CRITICAL_XID_ERROR | EventTypes::DOUBLE_BIT_ECC_ERROR;
            let gpu = driver.device_by_uuid(telling[at]);
            let known = gpu.and_then(|gpu| Ok((gpu.supported_event_types()?, gpu)));
            let registered = known.ok().and_then(|(known, gpu)| gpu.register_events(kinds & known, set).ok());
            match registered {
                Some(same) => set = same,
                None => {
                    telling.remove(at);
                    continue 'again;
                }
            }
        }
        return Some(set);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xids_of_programs_say_nothing_of_the_device() {
        for xid in OF_PROGRAMS {
            assert_eq!(of_xid(xid), None);
        }
        assert_eq!(of_xid(79), Some((Sign::Fatal, "XID 79: it fell off the bus".to_owned())));
        for (xid, sign) in [(74, Sign::Trouble), (94, Sign::Contained)] {
            assert_eq!(of_xid(xid).map(|(sign, _)| sign), Some(sign));
        }
        let unknown = of_xid(4711).unwrap();
        assert!(unknown.0 == Sign::Trouble && unknown.1.contains("4711"));
        let mut all: Vec<u64> =
            FATAL.iter().chain(&CONTAINED).chain(&TROUBLE).map(|(xid, _)| *xid).chain(OF_PROGRAMS).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|two| two[0] < two[1]), "no XID is two things");
    }
}
