//! Interleavings of two processes on the gate, one of them killed at each of its steps in turn.
//!
//! The model checker runs the production code; a killed process is one whose next access of a word does not happen.
//! All interleavings are looked at in which at most three preemptions happen, or two where a process also dies.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use pond_share::Word;
use pond_share::gate::{Full, Gate, Slot, amount};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

const LIVES: u32 = u32::MAX;

/// The payload of a process that was killed.
struct Killed;

/// A word as one process sees it; each access costs one of the process's steps.
struct View {
    word: Arc<AtomicU64>,
    steps: Rc<Cell<u32>>,
}

impl View {
    fn step(&self) -> &AtomicU64 {
        match self.steps.get() {
            0 => resume_unwind(Box::new(Killed)),
            LIVES => {}
            left => self.steps.set(left - 1),
        }
        &self.word
    }
}

impl Word for View {
    fn load(&self) -> u64 {
        self.step().load(Ordering::Acquire)
    }
    fn store(&self, value: u64) {
        self.step().store(value, Ordering::Release);
    }
    fn replace(&self, old: u64, new: u64) -> bool {
        self.step().compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
    fn add(&self, amount: u64) {
        _ = self.step().fetch_add(amount, Ordering::AcqRel);
    }
}

/// Looks at all interleavings with at most so many preemptions.
fn model(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(check);
}

/// The words that processes share.
#[derive(Clone)]
struct Memory {
    sum: Arc<AtomicU64>,
    slots: Vec<[Arc<AtomicU64>; 3]>,
}

impl Memory {
    fn new(slots: usize) -> Self {
        let word = || Arc::new(AtomicU64::new(0));
        Self { sum: word(), slots: (0..slots).map(|_| [word(), word(), word()]).collect() }
    }

    /// Runs a process on it; `None`: it was killed before it was done.
    fn run<T>(&self, steps: u32, work: impl FnOnce(&Gate<'_, View>) -> T) -> Option<T> {
        let steps = Rc::new(Cell::new(steps));
        let view = |word: &Arc<AtomicU64>| View { word: Arc::clone(word), steps: Rc::clone(&steps) };
        let sum = view(&self.sum);
        let slots: Vec<Slot<View>> = (self.slots.iter())
            .map(|[owner, held, intent]| Slot { owner: view(owner), held: view(held), intent: view(intent) })
            .collect();
        catch_unwind(AssertUnwindSafe(|| work(&Gate::new(&sum, &slots)))).ok()
    }

    fn sum(&self) -> u64 {
        amount(self.sum.load(Ordering::Acquire))
    }
}

#[test]
fn of_two_that_do_not_fit_together_exactly_one_gets_it() {
    model(3, || {
        let memory = Memory::new(2);
        let other = memory.clone();
        let thread = loom::thread::spawn(move || other.run(LIVES, |gate| gate.shift(1, 2, 3)));
        let mine = memory.run(LIVES, |gate| gate.shift(0, 2, 3)).expect("lives");
        let theirs = thread.join().expect("joins").expect("lives");
        assert!(mine.is_ok() != theirs.is_ok(), "{mine:?} {theirs:?}");
        assert_eq!(mine.and(theirs), Err(Full { used: 2 }));
        assert_eq!(memory.sum(), 2);
    });
}

#[test]
fn whoever_fits_is_never_refused_for_another_that_comes_and_goes() {
    model(3, || {
        let memory = Memory::new(2);
        let other = memory.clone();
        let thread = loom::thread::spawn(move || {
            other.run(LIVES, |gate| {
                let first = gate.shift(1, 1, 2);
                // Refused or not, it never takes more than one.
                (first, gate.shift(1, 5, 2))
            })
        });
        assert_eq!(memory.run(LIVES, |gate| gate.shift(0, 1, 2)), Some(Ok(())));
        let (first, second) = thread.join().expect("joins").expect("lives");
        assert!(first.is_ok() && second.is_err());
    });
}

#[test]
fn a_process_killed_at_any_step_leaves_nothing_and_stops_nobody() {
    // A reservation and its return are some fourteen accesses; the last rounds are not killed at all.
    for steps in 0..18 {
        model(2, move || {
            let memory = Memory::new(2);
            let other = memory.clone();
            let victim = loom::thread::spawn(move || {
                other.run(steps, |gate| {
                    gate.shift(1, 2, 4).expect("room for both");
                    gate.shift(1, -1, 4).expect("giving back");
                })
            });
            let survivor = memory.run(LIVES, |gate| gate.shift(0, 2, 4));
            assert_eq!(survivor, Some(Ok(())), "it fits whatever the other does");
            let ended = victim.join().expect("joins");
            let (mine, dead) = memory.run(LIVES, |gate| (gate.held(0), gate.held(1))).expect("lives");
            assert_eq!(mine, 2);
            assert_eq!(memory.sum(), 2 + dead);
            assert!(dead <= 2 && (ended.is_none() || dead == 1), "{dead}");
            memory.run(LIVES, |gate| gate.reclaim(1)).expect("lives");
            assert_eq!(memory.sum(), 2);
        });
    }
}

#[test]
fn a_reclaimer_killed_at_any_step_leaves_the_rest_to_the_next() {
    for steps in 0..14 {
        model(2, move || {
            let memory = Memory::new(3);
            // The dead one has got as far as the sum and no further.
            memory.run(5, |gate| gate.shift(1, 3, 9));
            let other = memory.clone();
            let reclaimer = loom::thread::spawn(move || other.run(steps, |gate| gate.reclaim(1)));
            assert_eq!(memory.run(LIVES, |gate| gate.shift(0, 2, 9)), Some(Ok(())));
            reclaimer.join().expect("joins");
            memory.run(LIVES, |gate| gate.reclaim(1)).expect("lives");
            assert_eq!(memory.sum(), 2);
            assert_eq!(memory.run(LIVES, |gate| (gate.held(0), gate.held(1))), Some((2, 0)));
        });
    }
}
