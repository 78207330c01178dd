//! From the parts that a device has to the one that is wanted: what to destroy, what to make.
//!
//! A part that somebody uses is never touched. One that stands as wanted and is idle is taken as it is.

use super::{Layout, Occupied, Part};

/// A part that a device has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Which, and where.
    pub part: Part,
    /// Somebody uses it, or it is not ours to destroy.
    pub busy: bool,
}

/// What to do to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take this part away.
    Destroy(Part),
    /// Make this part.
    Create(Part),
}

/// How the wanted part comes to stand, idle ones in its way destroyed first; `None` when a busy one is in the way.
#[must_use]
pub fn steps(layout: &Layout, has: &[Instance], wanted: Part) -> Option<Vec<Step>> {
    let busy = has.iter().filter(|instance| instance.busy);
    let taken = busy.fold(Occupied::NOTHING, |taken, instance| layout.with(taken, instance.part));
    if !layout.fits(taken, wanted) {
        return None;
    }
    let idle: Vec<Part> =
        has.iter().filter(|instance| !instance.busy).map(|instance| instance.part).collect();
    if idle.contains(&wanted) {
        return Some(Vec::new());
    }
    let alone = layout.with(Occupied::NOTHING, wanted);
    let in_the_way = idle.into_iter().filter(|part| !layout.fits(alone, *part));
    Some(in_the_way.map(Step::Destroy).chain(std::iter::once(Step::Create(wanted))).collect())
}
