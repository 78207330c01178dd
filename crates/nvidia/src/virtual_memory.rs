//! Physical memory by handle: it lives as long as a handle or a mapping of it.

use crate::abi::{AllocationProperties, Code, Handle, ON_DEVICE, Ptr, SUCCESS};
use crate::link::hooks;
use crate::share::{Held, of_device, reserved};
use crate::table::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// One piece of it.
#[derive(Debug)]
struct Piece {
    _held: Held,
    handles: u32,
    mappings: u32,
}

#[derive(Debug)]
struct Pieces {
    next: u64,
    pieces: BTreeMap<u64, Piece>,
    by_handle: BTreeMap<u64, u64>,
    /// Length and piece by first address.
    mapped: BTreeMap<Ptr, (u64, u64)>,
}

static PIECES: Mutex<Pieces> = Mutex::new(Pieces {
    next: 0,
    pieces: BTreeMap::new(),
    by_handle: BTreeMap::new(),
    mapped: BTreeMap::new(),
});

impl Pieces {
    fn made(&mut self, handle: u64, held: Held) {
        self.next += 1;
        self.pieces.insert(self.next, Piece { _held: held, handles: 1, mappings: 0 });
        self.by_handle.insert(handle, self.next);
    }

    fn end_if_unused(&mut self, piece: u64) {
        if self.pieces.get(&piece).is_some_and(|piece| piece.handles == 0 && piece.mappings == 0) {
            self.pieces.remove(&piece);
            self.by_handle.retain(|_, of| *of != piece);
        }
    }

    fn released(&mut self, handle: u64) {
        let Some(&number) = self.by_handle.get(&handle) else { return };
        if let Some(piece) = self.pieces.get_mut(&number) {
            piece.handles = piece.handles.saturating_sub(1);
        }
        self.end_if_unused(number);
    }

    fn map(&mut self, at: Ptr, bytes: u64, handle: u64) {
        let Some(&number) = self.by_handle.get(&handle) else { return };
        if let Some(piece) = self.pieces.get_mut(&number) {
            piece.mappings += 1;
            self.mapped.insert(at, (bytes, number));
        }
    }

    fn unmap(&mut self, at: Ptr, bytes: u64) {
        let inside: Vec<Ptr> = self.mapped.range(at..at.saturating_add(bytes)).map(|(at, _)| *at).collect();
        for at in inside {
            let Some((_, number)) = self.mapped.remove(&at) else { continue };
            if let Some(piece) = self.pieces.get_mut(&number) {
                piece.mappings -= 1;
            }
            self.end_if_unused(number);
        }
    }

    /// A handle of what is mapped there was given out once more.
    fn retained(&mut self, handle: u64, at: Ptr) {
        let Some((start, &(bytes, number))) = self.mapped.range(..=at).next_back() else { return };
        if at - start < bytes
            && let Some(piece) = self.pieces.get_mut(&number)
        {
            piece.handles += 1;
            self.by_handle.insert(handle, number);
        }
    }
}

/// Runs the driver's part; then ours, if it worked.
fn after(code: Code, then: impl FnOnce(&mut Pieces)) -> Code {
    if code == SUCCESS {
        then(&mut lock(&PIECES));
    }
    code
}

hooks! {
    [cuMemCreate] |real| (out: *mut u64, bytes: usize, how: *const AllocationProperties, flags: u64) {
        // SAFETY: null or valid, as the client promises.
        let place = unsafe { how.as_ref() }.map(|how| how.location);
        let share = place.filter(|place| ON_DEVICE.contains(&place.kind)).and_then(|place| of_device(place.id));
        // SAFETY: the driver wrote it.
        reserved(share, bytes as u64, real, |held| lock(&PIECES).made(unsafe { *out }, held))
    }
    [cuMemRelease] |real| (handle: u64) {
        // The lock is held for as long as the driver has it: another thread may be given the same handle.
        let mut pieces = lock(&PIECES);
        let code = real();
        if code == SUCCESS {
            pieces.released(handle);
        }
        code
    }
    [cuMemMap] |real| (at: Ptr, bytes: usize, offset: usize, handle: u64, flags: u64) {
        after(real(), |pieces| pieces.map(at, bytes as u64, handle))
    }
    [cuMemUnmap] |real| (at: Ptr, bytes: usize) { after(real(), |pieces| pieces.unmap(at, bytes as u64)) }
    [cuMemRetainAllocationHandle] |real| (out: *mut u64, at: Handle) {
        // SAFETY: the driver wrote it.
        after(real(), |pieces| pieces.retained(unsafe { *out }, at as Ptr))
    }
}
