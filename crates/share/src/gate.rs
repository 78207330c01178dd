//! Reservation of memory by one compare-and-swap, exact even when a process dies between any two instructions.
//!
//! The sum of all reservations is one word, and so is what each slot (a process) holds. Two words cannot change at
//! once, so a change goes in three steps:
//!
//! ```text
//!   1. intent   the slot writes down what it wants: amount and turn     (undone by nothing: it has no effect yet)
//!   2. sum      one compare-and-swap: new sum, slot, turn               (the moment it is true)
//!   3. held     the slot's own word follows: amount added, turn noted   (anybody can do it, once)
//! ```
//!
//! Whoever finds a sum whose step 3 is missing does that step first: a dead or stopped process is helped, never
//! waited for. A turn that is noted already is not done again. Hence after any number of deaths
//! `sum = Σ held`, and a dead slot's amount is given back by taking a turn on its behalf ([`Gate::reclaim`]).
//!
//! Words: `sum` and `held` are `amount:32 | slot:8 | turn:24`, `intent` is `change:32 (signed) | 0:8 | turn:24`.
//! Amounts are granules of [`GRANULE`](crate::GRANULE) bytes, at most 2³²−1 of them (16 TiB); one change is at most
//! 2³¹−1 (8 TiB). A turn comes round after 2²⁴ changes of one slot: a helper would have to be stopped
//! between two instructions for just so long, and find the same amounts, to be wrong.
//!
//! Changes of one slot must not overlap: the caller keeps its own threads apart.

use crate::word::Word;

/// The three words of one process.
#[derive(Debug)]
pub struct Slot<W> {
    /// Who has it; 0: nobody. Not used by the gate.
    pub owner: W,
    /// What it holds, and its last turn.
    pub held: W,
    /// What it wants to change, and in which turn.
    pub intent: W,
}

/// The reservations of one share.
#[derive(Debug)]
pub struct Gate<'a, W> {
    sum: &'a W,
    slots: &'a [Slot<W>],
}

/// The amount does not fit under the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// What is reserved by all, granules.
    pub used: u64,
}

const TURNS: u64 = (1 << 24) - 1;

/// `amount:32 | slot:8 | turn:24`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Packed {
    amount: u32,
    slot: u8,
    turn: u32,
}

impl Packed {
    const fn of(word: u64) -> Self {
        Self { amount: (word >> 32) as u32, slot: (word >> 24) as u8, turn: (word & TURNS) as u32 }
    }
    const fn word(self) -> u64 {
        (self.amount as u64) << 32 | (self.slot as u64) << 24 | self.turn as u64
    }
}

const fn after(turn: u32) -> u32 {
    (turn + 1) & TURNS as u32
}

/// The amount in a `sum` or `held` word, granules.
#[must_use]
pub const fn amount(word: u64) -> u64 {
    Packed::of(word).amount as u64
}

impl<'a, W: Word> Gate<'a, W> {
    /// Over the words of a ledger; at most 256 slots are looked at.
    #[must_use]
    pub const fn new(sum: &'a W, slots: &'a [Slot<W>]) -> Self {
        Self { sum, slots }
    }

    /// What is reserved by all, granules.
    #[must_use]
    pub fn used(&self) -> u64 {
        amount(self.sum.load())
    }

    /// Step 3 of the change that the sum names, if nobody did it yet.
    fn help(&self, sum: u64) {
        let sum = Packed::of(sum);
        let Some(slot) = self.slots.get(usize::from(sum.slot)) else { return };
        let intent = Packed::of(slot.intent.load());
        let before = slot.held.load();
        let held = Packed::of(before);
        // Another turn in either word: the change was completed and its slot has moved on.
        if intent.turn != sum.turn || after(held.turn) != sum.turn {
            return;
        }
        let amount = held.amount.saturating_add_signed(intent.amount.cast_signed());
        // Lost: somebody else has helped.
        _ = slot.held.replace(before, Packed { amount, slot: 0, turn: sum.turn }.word());
    }

    /// Adds `change` granules to what slot `me` holds, unless the sum would pass `limit`. Giving back always works.
    ///
    /// The loop ends when nobody else succeeds in between: somebody always gets on.
    ///
    /// # Errors
    /// It does not fit.
    ///
    /// # Panics
    /// `me` is no slot.
    pub fn shift(&self, me: u8, change: i32, limit: u64) -> Result<(), Full> {
        let mine = &self.slots[usize::from(me)];
        loop {
            let seen = self.sum.load();
            self.help(seen);
            let used = Packed::of(seen).amount;
            let amount = match used.checked_add_signed(change) {
                Some(amount) if change <= 0 || u64::from(amount) <= limit => amount,
                // Only a damaged ledger holds less than what is given back.
                None if change <= 0 => 0,
                _ => return Err(Full { used: u64::from(used) }),
            };
            let turn = after(Packed::of(mine.held.load()).turn);
            mine.intent.store(Packed { amount: change.cast_unsigned(), slot: 0, turn }.word());
            let next = Packed { amount, slot: me, turn }.word();
            if self.sum.replace(seen, next) {
                self.help(next);
                return Ok(());
            }
        }
    }

    /// What slot `of` holds, granules. Exact for its owner.
    ///
    /// # Panics
    /// `of` is no slot.
    #[must_use]
    pub fn held(&self, of: u8) -> u64 {
        self.help(self.sum.load());
        amount(self.slots[usize::from(of)].held.load())
    }

    /// Gives back all that the slot of a dead process holds. The caller has the slot as its own for that long; a
    /// caller that dies in between leaves it to the next one.
    ///
    /// # Panics
    /// `of` is no slot.
    pub fn reclaim(&self, of: u8) {
        loop {
            let held = self.held(of);
            if held == 0 {
                return;
            }
            let part = i32::try_from(held).unwrap_or(i32::MAX);
            // Giving back cannot be refused.
            _ = self.shift(of, -part, u64::MAX);
        }
    }
}
