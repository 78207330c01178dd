//! What kernels take: learned from those that are measured, charged for all.
//!
//! An event before and one after would cost more than the launch, so of short kernels one in many is measured and
//! stands for the others: what it took more or less than was charged is charged for each. A kernel that takes long is
//! measured each time. Kinds are told apart by function and size of the grid.
//!
//! Between two events the device may also have worked for somebody else, and drivers do not say when: means of what
//! was measured grow with what others do. So a launch is taken to cost the lower quartile of the last [`RECENT`]
//! measurements of its kind (ours; up to three in four may be disturbed). The price: a kind whose launches really
//! differ, as of one grid over inputs of many sizes, is charged by its shorter ones.
//!
//! Time is taken from the share's ledger in parts of [`PART_NS`], so that a launch costs no look at the clock.

use crate::abi::{Handle, SUCCESS};
use crate::link::call;
use crate::share::{Share, context as current};
use crate::table::lock;
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
use std::time::Duration;

/// Device time that a process takes from the ledger at once, ns. What it does not use it keeps.
const PART_NS: i64 = 1_000_000;
/// How many launches of one kind may be under way before the first of them is measured.
const UNKNOWN: u32 = 4;
/// How long a launch waits for that, in steps of 100 µs.
const PATIENCE: u32 = 1000;
/// Most measurements under way; further launches are charged and not measured.
const MOST: usize = 512;

/// One launch in so many is measured, by what one takes, ns.
const fn every(cost_ns: u64) -> u32 {
    match cost_ns {
        0..10_000 => 128,
        10_000..50_000 => 32,
        50_000..200_000 => 8,
        _ => 1,
    }
}

/// Measurements of one kind that are remembered.
const RECENT: usize = 8;

/// Device time charged and not used yet, ns.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Credit(AtomicI64);

/// What is known of launches of one kind.
#[derive(Debug)]
#[repr(align(64))]
pub struct Kind {
    /// What one takes, ns; at least 1. 0: never measured.
    cost: AtomicU64,
    /// The last measurements, ns, at most 4 s; 0: none. Changed under the lock of [`SAMPLES`].
    recent: [AtomicU32; RECENT],
    next: AtomicU32,
    /// Launches until the next is measured. Two threads may count one twice or not at all.
    left: AtomicU32,
    /// How many launches the next measurement stands for.
    stands_for: AtomicU32,
    under_way: AtomicU32,
}

/// By a hash of the kind; two kinds in one place share a mean, which settles by itself.
static KINDS: [Kind; 1024] = [const {
    Kind {
        cost: AtomicU64::new(0),
        recent: [const { AtomicU32::new(0) }; RECENT],
        next: AtomicU32::new(0),
        left: AtomicU32::new(0),
        stands_for: AtomicU32::new(1),
        under_way: AtomicU32::new(0),
    }
}; 1024];

/// Streams that are being captured into graphs: nothing may be measured meanwhile.
static CAPTURES: AtomicU32 = AtomicU32::new(0);

/// A pair of events.
#[derive(Debug)]
struct Pair {
    context: u64,
    start: Handle,
    end: Handle,
}

#[derive(Debug)]
struct Sample {
    pair: Pair,
    kind: &'static Kind,
    share: &'static Share,
    charged_ns: u64,
    stands_for: u32,
}

#[derive(Debug)]
struct Samples {
    spare: Vec<Pair>,
    under_way: Vec<Sample>,
}

// SAFETY: handles of events, which all threads may use.
unsafe impl Send for Samples {}

static SAMPLES: Mutex<Samples> = Mutex::new(Samples { spare: Vec::new(), under_way: Vec::new() });

/// The kind of a launch: its function and what sets its size.
#[inline]
pub fn kind(function: Handle, size: u64) -> &'static Kind {
    let hash = (size.rotate_left(40) ^ function as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    &KINDS[(hash >> 54) as usize]
}

/// The stream that functions of the other flavour mean.
pub fn of_thread(stream: Handle) -> Handle {
    /// `CU_STREAM_PER_THREAD`
    const PER_THREAD: usize = 2;
    if stream.is_null() { PER_THREAD as Handle } else { stream }
}

/// A capture began.
pub fn capture_began() {
    CAPTURES.fetch_add(1, Release);
}

/// A capture ended, well or not.
pub fn capture_ended() {
    // Nothing is lost when one ends that was not seen to begin.
    _ = CAPTURES.fetch_update(Release, Relaxed, |count| count.checked_sub(1));
}

/// Whether what is put on this stream goes into a graph.
pub fn is_capturing(stream: Handle) -> bool {
    if CAPTURES.load(Relaxed) == 0 {
        return false;
    }
    let mut status = 0;
    // SAFETY: the type is the headers'.
    let done = unsafe { call!(cuStreamIsCapturing: fn(Handle, *mut i32), stream, &raw mut status) };
    done == SUCCESS && status != 0
}

impl Kind {
    /// Charges a launch that is not measured; false when this one needs more.
    #[inline]
    pub fn take(&self, share: &Share) -> bool {
        let left = self.left.load(Relaxed);
        let cost = self.cost.load(Relaxed).cast_signed();
        if left == 0 || CAPTURES.load(Relaxed) != 0 {
            return false;
        }
        if share.credit.0.fetch_sub(cost, Relaxed) < cost {
            share.credit.0.fetch_add(cost, Relaxed);
            return false;
        }
        self.left.store(left - 1, Relaxed);
        true
    }

    /// Takes in a measurement, and says what a launch is taken to cost, ns.
    fn learn(&self, took_ns: u64) -> u64 {
        let place = self.next.fetch_add(1, Relaxed) as usize % RECENT;
        self.recent[place].store(u32::try_from(took_ns).unwrap_or(u32::MAX).max(1), Relaxed);
        let mut known: Vec<u32> =
            self.recent.iter().map(|one| one.load(Relaxed)).filter(|one| *one > 0).collect();
        known.sort_unstable();
        let cost = u64::from(known[(known.len() - 1) / 4]);
        self.cost.store(cost, Relaxed);
        cost
    }

    /// Waits until the first of a kind was measured, if enough are under way.
    fn hold_back(&self) {
        for _ in 0..PATIENCE {
            if self.cost.load(Relaxed) != 0 || self.under_way.load(Relaxed) < UNKNOWN {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
            collect();
        }
    }
}

/// Charges a launch, waits for the share's time if need be, and measures it if it is its turn.
pub fn launch(share: &'static Share, kind: &'static Kind, stream: Handle, go: impl FnOnce() -> i32) -> i32 {
    if is_capturing(stream) {
        return go();
    }
    collect();
    kind.hold_back();
    let cost = kind.cost.load(Relaxed).cast_signed();
    if share.credit.0.fetch_sub(cost, Relaxed) < cost {
        let part = cost.max(PART_NS);
        share.member.admit(part.cast_unsigned());
        share.credit.0.fetch_add(part, Relaxed);
    }
    let left = kind.left.load(Relaxed);
    let pair = if left == 0 { begin(stream) } else { None };
    let code = go();
    if code != SUCCESS {
        share.credit.0.fetch_add(cost, Relaxed);
    }
    let Some(pair) = pair else {
        kind.left.store(left.saturating_sub(1), Relaxed);
        return code;
    };
    let charged_ns = cost.cast_unsigned();
    let stands_for = kind.stands_for.load(Relaxed).max(1);
    finish(Sample { pair, kind, share, charged_ns, stands_for }, stream, code == SUCCESS);
    let next = every(charged_ns.max(u64::from(charged_ns == 0) * 200_000));
    kind.left.store(next - 1, Relaxed);
    kind.stands_for.store(next, Relaxed);
    code
}

/// The context of a stream, which may be another than the current one.
fn context_of(stream: Handle) -> u64 {
    let mut context = 0_u64;
    // SAFETY: the type is the headers'; a handle has 8 bytes.
    let done = unsafe { call!(cuStreamGetCtx: fn(Handle, *mut u64), stream, &raw mut context) };
    if done == SUCCESS { context } else { current() }
}

/// Two new events of a context.
fn events_of(context: u64) -> Option<Pair> {
    // SAFETY: the types are the headers'.
    let enter = || unsafe { call!(cuCtxPushCurrent_v2: fn(u64), context) } == SUCCESS;
    let pushed = context != current() && enter();
    let mut pair = Pair { context, start: std::ptr::null_mut(), end: std::ptr::null_mut() };
    // SAFETY: the type is the headers'.
    let make =
        |place: *mut Handle| unsafe { call!(cuEventCreate: fn(*mut Handle, u32), place, 0) } == SUCCESS;
    let made = make(&raw mut pair.start) && make(&raw mut pair.end);
    if pushed {
        let mut before = 0_u64;
        // SAFETY: the type is the headers'.
        _ = unsafe { call!(cuCtxPopCurrent_v2: fn(*mut u64), &raw mut before) };
    }
    made.then_some(pair)
}

/// Puts the first event on a stream.
fn begin(stream: Handle) -> Option<Pair> {
    if CAPTURES.load(Relaxed) != 0 {
        return None;
    }
    let context = context_of(stream);
    let mut samples = lock(&SAMPLES);
    if samples.under_way.len() >= MOST {
        return None;
    }
    let spare = samples.spare.iter().position(|pair| pair.context == context);
    let pair = match spare {
        Some(at) => samples.spare.swap_remove(at),
        None => events_of(context)?,
    };
    // SAFETY: the type is the headers'.
    let done = unsafe { call!(cuEventRecord: fn(Handle, Handle), pair.start, stream) };
    if done == SUCCESS {
        return Some(pair);
    }
    samples.spare.push(pair);
    None
}

/// Puts the second event on the stream.
fn finish(sample: Sample, stream: Handle, launched: bool) {
    // SAFETY: the type is the headers'.
    let done =
        launched && unsafe { call!(cuEventRecord: fn(Handle, Handle), sample.pair.end, stream) } == SUCCESS;
    let mut samples = lock(&SAMPLES);
    if done {
        sample.kind.under_way.fetch_add(1, Relaxed);
        samples.under_way.push(sample);
    } else {
        samples.spare.push(sample.pair);
    }
}

impl Sample {
    /// Charges what a launch costs in place of what was charged, for all it stands for.
    fn settle(&self, cost_ns: u64) {
        let many = u64::from(self.stands_for);
        self.share.member.settle_many(self.charged_ns * many, cost_ns * many, many);
        self.kind.under_way.fetch_sub(1, Relaxed);
    }
}

/// Takes in the measurements that are ready.
pub fn collect() {
    if CAPTURES.load(Relaxed) != 0 {
        return;
    }
    let Ok(mut samples) = SAMPLES.try_lock() else { return };
    let mut at = 0;
    while at < samples.under_way.len() {
        let sample = &samples.under_way[at];
        let mut took_ms = 0_f32;
        // SAFETY: the type is the headers', and the events are ours.
        let done = unsafe {
            call!(cuEventElapsedTime: fn(*mut f32, Handle, Handle), &raw mut took_ms, sample.pair.start, sample.pair.end)
        };
        /// `CUDA_ERROR_NOT_READY`
        const NOT_READY: i32 = 600;
        if done == NOT_READY {
            at += 1;
            continue;
        }
        let sample = samples.under_way.remove(at);
        if done == SUCCESS {
            let cost_ns = sample.kind.learn((f64::from(took_ms) * 1e6) as u64);
            sample.settle(cost_ns);
            samples.spare.push(sample.pair);
        } else {
            sample.settle(sample.charged_ns);
        }
    }
}

/// Before a context ends: its events end with it.
pub fn forget(context: u64) {
    let mut samples = lock(&SAMPLES);
    let (gone, left): (Vec<Sample>, Vec<Sample>) =
        std::mem::take(&mut samples.under_way).into_iter().partition(|sample| sample.pair.context == context);
    samples.under_way = left;
    let mut pairs: Vec<Pair> = Vec::new();
    for sample in gone {
        sample.settle(sample.charged_ns);
        pairs.push(sample.pair);
    }
    let (spare, kept) =
        std::mem::take(&mut samples.spare).into_iter().partition(|pair: &Pair| pair.context == context);
    samples.spare = kept;
    pairs.extend::<Vec<Pair>>(spare);
    for event in pairs.iter().flat_map(|pair| [pair.start, pair.end]) {
        // SAFETY: the type is the headers', and the event is ours.
        _ = unsafe { call!(cuEventDestroy_v2: fn(Handle), event) };
    }
}
