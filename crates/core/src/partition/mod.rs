//! Devices that are cut by their own hardware: which parts there can be, where each may stand, and which stand together.
//!
//! NVIDIA's MIG cuts a GPU into instances. Each takes a run of memory slices that begins where its profile may begin, and
//! brings the compute that goes with it; runs do not overlap, and that is all there is to it: which instances stand
//! together follows from memory slices alone. Of a seven-slice GPU, two instances of half the memory leave a compute slice
//! that nobody can have. How many multiprocessors a profile has is the driver's to say: it is no multiple of a slice's.
//!
//! AMD's Instinct GPUs have modes instead: the whole device is one, two, four or eight equal partitions
//! (SPX, DPX, QPX, CPX) over one, two or four memory regions (NPS). One device, one mode, changed while nobody is on it.
//! Here a mode is a profile that stands beside none but its own.
//!
//! A [`Layout`] is that as data: read from the driver where there is one, from [`known`] for simulations and drivers that do
//! not say. What stands on a device is [`Occupied`], one word of bits, so that trying a place costs an `and`.
//!
//! ```text
//!             memory slices  0   1   2   3   4   5   6   7        of an A100, an H100, a B200
//!  1g  1 slice, at 0..=6     ■   ■   ■   ■   ■   ■   ■
//!  2g  2 slices, at 0 2 4    ■■■■■   ■■■■■   ■■■■■
//!  3g  4 slices, at 0 4      ■■■■■■■■■■■■■   ■■■■■■■■■■■■■
//!  4g  4 slices, at 0        ■■■■■■■■■■■■■
//!  7g  8 slices, at 0        ■■■■■■■■■■■■■■■■■■■■■■■■■■■■■
//! ```

pub mod known;
mod reach;
mod steps;
#[cfg(test)]
pub(crate) mod tests;

pub use reach::Reach;
pub use steps::{Instance, Step, steps};

use crate::event::DeviceGrant;
use crate::model::DeviceRequest;
use crate::units::{Bytes, Thousandths};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// The most memory slices of a device.
pub const MAX_SLICES: u8 = 16;
/// The most profiles of a device.
pub const MAX_PROFILES: usize = 15;

/// One sort of part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Profile {
    /// The maker's name: `3g.40gb`, `cpx-nps4`.
    pub name: String,
    /// Memory slices that a part takes, at least 1.
    pub size: u8,
    /// Slices at which a part may begin, ascending.
    pub starts: Vec<u8>,
    /// Memory of a part.
    pub memory: Bytes,
    /// Multiprocessors of a part, as its driver says; 0: it does not.
    #[serde(default)]
    pub multiprocessors: u32,
    /// Compute of a part, of that of the largest profile.
    pub compute: Thousandths,
    /// It has the media engines, of which a device has one set. Given only to who asks for it by name.
    #[serde(default)]
    pub media: bool,
}

/// How a device can be cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Layout {
    /// Memory slices of the device, at most [`MAX_SLICES`].
    pub slices: u8,
    /// What it can be cut into; a part names its place in here.
    pub profiles: Vec<Profile>,
    /// All parts of the device are of one profile at a time.
    #[serde(default)]
    pub uniform: bool,
}

/// A part of a device: a profile of its layout at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Part {
    /// Place in [`Layout::profiles`].
    pub profile: u8,
    /// Its first memory slice.
    pub start: u8,
}

/// What stands on a device.
///
/// Bits 0..16 are memory slices, bit 16 the media engines. On a uniform layout, bits from 17 on are profiles that may not
/// come beside what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Occupied(u32);

const MEDIA: u32 = 1 << 16;
const OWNED: u32 = MEDIA | (MEDIA - 1);
const FIRST_BAR: u32 = 17;

impl Occupied {
    /// Nothing.
    pub const NOTHING: Self = Self(0);

    /// Nothing stands on the device.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// What stands in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether something stands on this memory slice.
    #[must_use]
    pub const fn has_slice(self, slice: u8) -> bool {
        slice < MAX_SLICES && self.0 >> slice & 1 == 1
    }
}

/// What is wrong with a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Sizes, starts or numbers that cannot be.
    #[error("has a profile that does not fit its device")]
    Shape,
    /// Two profiles with one name.
    #[error("has two profiles of one name")]
    Names,
    /// Parts that may stand together have more compute or memory than the device.
    #[error("lets parts stand together that are more than the device")]
    More,
}

impl Layout {
    /// Every profile, with its place.
    pub fn numbered(&self) -> impl Iterator<Item = (u8, &Profile)> {
        (0_u8..).zip(&self.profiles)
    }

    /// Whether parts are numbered alike in both: they differ in where parts may begin, at most.
    #[must_use]
    pub fn numbers_as(&self, other: &Self) -> bool {
        let alike = |(one, other): (&Profile, &Profile)| {
            let Profile { name, size, starts: _, memory, multiprocessors, compute, media } = one;
            (name, size, memory, multiprocessors, compute, media)
                == (
                    &other.name,
                    &other.size,
                    &other.memory,
                    &other.multiprocessors,
                    &other.compute,
                    &other.media,
                )
        };
        (self.slices, self.uniform, self.profiles.len())
            == (other.slices, other.uniform, other.profiles.len())
            && self.profiles.iter().zip(&other.profiles).all(alike)
    }

    /// Every part there can be, profiles in their order, starts ascending.
    pub fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        self.numbered()
            .flat_map(|(profile, of)| of.starts.iter().map(move |start| Part { profile, start: *start }))
    }

    /// The profile of a part, when it has one and may begin there.
    #[must_use]
    pub fn profile_of(&self, part: Part) -> Option<&Profile> {
        self.profiles.get(usize::from(part.profile)).filter(|profile| profile.starts.contains(&part.start))
    }

    /// The place of the profile of this name, without regard to case; of a mode (`cpx`) the first with any memory mode.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u8> {
        let mode = |full: &str| {
            self.uniform && full.split('-').next().is_some_and(|mode| mode.eq_ignore_ascii_case(name))
        };
        let exact = self.numbered().find(|(_, profile)| profile.name.eq_ignore_ascii_case(name));
        exact.or_else(|| self.numbered().find(|(_, profile)| mode(&profile.name))).map(|(at, _)| at)
    }

    /// The profile that answers a request: the one it names, else the smallest that has what it asks for.
    #[must_use]
    pub fn answer(&self, request: &DeviceRequest) -> Option<u8> {
        // One that may begin nowhere is somebody else's wherever it could be.
        let does = |profile: &Profile| {
            !profile.starts.is_empty()
                && profile.memory >= request.memory
                && profile.compute >= request.compute
        };
        if let Some(name) = &request.profile {
            return self.find(name).filter(|at| does(&self.profiles[usize::from(*at)]));
        }
        self.numbered()
            .filter(|(_, profile)| !profile.media && does(profile))
            .min_by_key(|(at, profile)| (profile.size, profile.compute, Reverse(profile.starts.len()), *at))
            .map(|(at, _)| at)
    }

    /// Whether a part of this profile has a place beside what is there.
    #[must_use]
    pub fn has_place(&self, taken: Occupied, profile: u8) -> bool {
        let starts = self.profiles.get(usize::from(profile)).map_or(&[][..], |of| &of.starts);
        starts.iter().any(|start| self.fits(taken, Part { profile, start: *start }))
    }

    /// The most parts of this profile that have a place beside what is there, all at once.
    ///
    /// Runs of one length: taking the first that fits, from below, is the most (interval scheduling).
    #[must_use]
    pub fn copies(&self, mut taken: Occupied, profile: u8) -> u32 {
        let starts = self.profiles.get(usize::from(profile)).map_or(&[][..], |of| &of.starts);
        let mut count = 0;
        for part in starts.iter().map(|start| Part { profile, start: *start }) {
            if self.fits(taken, part) {
                taken = self.with(taken, part);
                count += 1;
            }
        }
        count
    }

    /// Bits that belong to a part, and bits that it sets while it stands.
    const fn bits(&self, part: Part, size: u8, media: bool) -> (u32, u32) {
        let slices = (1_u32 << size).wrapping_sub(1) << part.start;
        let own = if media { slices | MEDIA } else { slices };
        if !self.uniform {
            return (own, own);
        }
        let all = (1_u32 << self.profiles.len()).wrapping_sub(1) << FIRST_BAR;
        (own, own | all & !(1 << (FIRST_BAR + part.profile as u32)))
    }

    /// Whether a part may stand beside what is there.
    #[must_use]
    pub fn fits(&self, taken: Occupied, part: Part) -> bool {
        let Some(profile) = self.profile_of(part) else { return false };
        let (own, _) = self.bits(part, profile.size, profile.media);
        let bar = if self.uniform { 1 << (FIRST_BAR + u32::from(part.profile)) } else { 0 };
        taken.0 & (own | bar) == 0
    }

    /// With a part more. It may stand where none may begin any more, as one that was granted before others took the place.
    #[must_use]
    pub fn with(&self, taken: Occupied, part: Part) -> Occupied {
        let Some(profile) = self.profiles.get(usize::from(part.profile)) else { return taken };
        Occupied(taken.0 | self.bits(part, profile.size, profile.media).1)
    }

    /// Without a part that stands there.
    #[must_use]
    pub fn without(&self, taken: Occupied, part: Part) -> Occupied {
        let Some(profile) = self.profiles.get(usize::from(part.profile)) else { return taken };
        let left = taken.0 & !self.bits(part, profile.size, profile.media).0;
        // Those that remain are of the same profile and bar the same ones.
        Occupied(if left & OWNED == 0 { 0 } else { left })
    }

    /// What a part of this profile is granted as.
    #[must_use]
    pub fn grant(&self, device: u32, part: Part) -> Option<DeviceGrant> {
        let profile = self.profile_of(part)?;
        Some(DeviceGrant { device, compute: profile.compute, memory: profile.memory, part: Some(part) })
    }

    /// Whether it can be believed: everything in range, and no parts that stand together are more than the device.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, memory: Bytes) -> Result<(), Flaw> {
        let shaped = |profile: &Profile| {
            let ascending = profile.starts.windows(2).all(|pair| pair[0] < pair[1]);
            let inside = profile
                .starts
                .iter()
                .all(|start| u16::from(*start) + u16::from(profile.size) <= u16::from(self.slices));
            profile.size > 0 && ascending && inside && !profile.compute.is_zero() && !profile.memory.is_zero()
        };
        if self.slices > MAX_SLICES || self.profiles.len() > MAX_PROFILES || !self.profiles.iter().all(shaped)
        {
            return Err(Flaw::Shape);
        }
        let twice = |(at, profile): (u8, &Profile)| self.find(&profile.name) != Some(at);
        if self.numbered().any(twice) {
            return Err(Flaw::Names);
        }
        let reach = Reach::new(self);
        let most = reach.most(|profile| profile.compute.0) <= Thousandths::WHOLE.0
            && reach.most(|profile| profile.memory.0) <= memory.0;
        if most { Ok(()) } else { Err(Flaw::More) }
    }
}
