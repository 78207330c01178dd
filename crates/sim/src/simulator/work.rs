//! How far a job has come: exact, in integers.
//!
//! Work is counted in milliseconds × thousandths of full speed. An attempt works off what is *left*, with the pauses for
//! writing checkpoints woven in:
//!
//! ```text
//! pause for the restart │ every │cost│ every │cost│ ... │ rest │      span = left + ⌊(left - 1) / every⌋ · cost
//! ```

use super::settings::Checkpointing;
use pond_core::units::{Millis, Timestamp};

/// Full speed.
pub(super) const FULL: u64 = 1000;

/// How an attempt came to its end before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// By a signal, with so much time until the kill.
    Signal(Millis),
    /// Its machine, its device or its neighbour died.
    Death,
}

/// The work of one job over all its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// Not yet safe when the attempt began.
    left: u64,
    /// Worked off in this attempt, checkpoints included.
    done: u64,
    /// Still to stand still before work goes on.
    pause: Millis,
    /// In thousandths; 0: it stands still, and the pause too.
    speed: u64,
    since: Timestamp,
    /// Time in which this attempt was on its way.
    ran: Millis,
    /// Of that, spent on pauses.
    paused: Millis,
    /// Time whose work was lost or went into pauses and checkpoints, all attempts before this one.
    lost: Millis,
}

impl Work {
    /// Work of this length at full speed.
    pub fn new(length: Millis) -> Self {
        Self {
            left: length.0.saturating_mul(FULL),
            done: 0,
            pause: Millis::ZERO,
            speed: 0,
            since: Timestamp(0),
            ran: Millis::ZERO,
            paused: Millis::ZERO,
            lost: Millis::ZERO,
        }
    }

    /// The work that is not safe.
    #[cfg(test)]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Time lost in all attempts that have ended.
    pub const fn lost(&self) -> Millis {
        self.lost
    }

    /// Stands still for this long before it goes on.
    pub fn add_pause(&mut self, now: Timestamp, pause: Millis) {
        self.settle(now);
        self.pause = self.pause.plus(pause);
    }

    /// Stands still for this long at least, because the number of its tasks changes; not before it has moved at all.
    /// Returns whether the end moved.
    pub fn interrupt(&mut self, now: Timestamp, pause: Millis) -> bool {
        self.settle(now);
        let moves = !self.ran.is_zero() && pause > self.pause;
        if moves {
            self.pause = pause;
        }
        moves
    }

    /// Goes on at another speed. Returns whether that is another one than before.
    pub fn set_speed(&mut self, now: Timestamp, speed: u64) -> bool {
        self.settle(now);
        std::mem::replace(&mut self.speed, speed) != speed
    }

    /// When it is done, if nothing changes.
    pub fn end(&self, mode: Checkpointing) -> Option<Timestamp> {
        if self.speed == 0 {
            return None;
        }
        let rest = self.span(mode).saturating_sub(self.done);
        Some(self.since.after(self.pause).after(Millis(rest.div_ceil(self.speed))))
    }

    /// Whether it is done.
    pub fn is_done(&self, mode: Checkpointing) -> bool {
        self.pause.is_zero() && self.done >= self.span(mode)
    }

    /// Brings the account up to now.
    pub fn settle(&mut self, now: Timestamp) {
        let span = now.since(std::mem::replace(&mut self.since, now));
        if self.speed == 0 {
            return;
        }
        let pause = span.min(self.pause);
        self.pause = self.pause.minus(pause);
        self.paused = self.paused.plus(pause);
        self.ran = self.ran.plus(span);
        self.done = self.done.saturating_add(span.minus(pause).0.saturating_mul(self.speed));
    }

    /// The attempt is over: keeps what is safe, counts what is lost, stands still.
    pub fn stop(&mut self, now: Timestamp, mode: Checkpointing, halt: Option<Halt>) {
        self.settle(now);
        // The last millisecond may have had time for more than was left.
        self.done = self.done.min(self.span(mode));
        let safe = match halt {
            None => self.left,
            Some(halt) => self.safe(mode, halt),
        };
        let worked = self.ran.minus(self.paused);
        // done > 0 wherever something is safe; time and speed may differ within an attempt, so by proportion.
        let kept = u128::from(worked.0) * u128::from(safe) / u128::from(self.done.max(1));
        let kept = Millis(u64::try_from(kept).unwrap_or(u64::MAX)).min(worked);
        self.lost = self.lost.plus(self.ran.minus(kept));
        self.left = self.left.saturating_sub(safe);
        self.done = 0;
        self.pause = Millis::ZERO;
        self.speed = 0;
        self.ran = Millis::ZERO;
        self.paused = Millis::ZERO;
    }

    /// What an attempt works off: the work left and the checkpoints on the way.
    fn span(&self, mode: Checkpointing) -> u64 {
        let Checkpointing::Every { every, cost } = mode else { return self.left };
        let saves = self.left.saturating_sub(1) / every.0.max(1).saturating_mul(FULL);
        self.left.saturating_add(saves.saturating_mul(cost.0.saturating_mul(FULL)))
    }

    /// What is kept of the work of this attempt.
    fn safe(&self, mode: Checkpointing, halt: Halt) -> u64 {
        match (mode, halt) {
            (Checkpointing::Every { every, cost }, _) => {
                let every = every.0.max(1).saturating_mul(FULL);
                let saves = self.done / every.saturating_add(cost.0.saturating_mul(FULL));
                saves.saturating_mul(every).min(self.left)
            }
            (Checkpointing::Instant, Halt::Signal(_)) => self.done.min(self.left),
            (Checkpointing::OnSignal { takes }, Halt::Signal(grace)) if takes <= grace => {
                self.done.min(self.left)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVERY: Checkpointing = Checkpointing::Every { every: Millis(100), cost: Millis(10) };

    #[test]
    fn checkpoints_cost_time_and_keep_what_was_before_them() {
        let mut work = Work::new(Millis(250));
        work.set_speed(Timestamp(0), FULL);
        // Two checkpoints lie on the way: none is written at the end.
        assert_eq!(work.end(EVERY), Some(Timestamp(270)));
        work.stop(Timestamp(219), EVERY, Some(Halt::Death));
        assert_eq!(work.left(), 150 * FULL);
        // Of 219 ms, 100 ms of work are safe.
        assert_eq!(work.lost(), Millis(119));
    }

    #[test]
    fn a_pause_and_a_change_of_speed_move_the_end() {
        let mut work = Work::new(Millis(100));
        work.add_pause(Timestamp(0), Millis(40));
        work.set_speed(Timestamp(0), 500);
        assert_eq!(work.end(Checkpointing::Instant), Some(Timestamp(240)));
        assert!(work.set_speed(Timestamp(140), 2000));
        assert_eq!(work.end(Checkpointing::Instant), Some(Timestamp(165)));
        work.stop(Timestamp(165), Checkpointing::Instant, None);
        assert_eq!((work.left(), work.lost()), (0, Millis(40)));
    }

    #[test]
    fn the_rest_of_the_last_millisecond_is_not_lost() {
        let mut work = Work::new(Millis(1));
        work.set_speed(Timestamp(0), 501);
        work.stop(Timestamp(2), Checkpointing::Instant, None);
        assert_eq!((work.left(), work.lost()), (0, Millis::ZERO));
    }

    proptest! {
        /// However often and whenever it is stopped, speed and work make up the time: nothing is done twice or left out.
        #[test]
        fn suspended_work_is_neither_lost_nor_doubled(
            length in 1_u64..100_000,
            steps in prop::collection::vec((1_u64..5000, 1_u64..3000), 1..40),
        ) {
            let mut work = Work::new(Millis(length));
            let (mut now, mut done) = (Timestamp(0), 0_u64);
            for (span, speed) in steps {
                work.set_speed(now, speed);
                let end = work.end(Checkpointing::Instant).expect("it moves");
                let stop = now.after(Millis(span)).min(end);
                done += stop.since(now).0 * speed;
                now = stop;
                let halt = (stop < end).then_some(Halt::Signal(Millis::ZERO));
                work.stop(now, Checkpointing::Instant, halt);
                prop_assert_eq!(work.left(), (length * FULL).saturating_sub(done));
                if work.left() == 0 {
                    break;
                }
            }
            prop_assert_eq!(work.lost(), Millis::ZERO);
        }
    }
}
