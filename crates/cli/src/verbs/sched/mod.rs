//! `pond sched`: how the pool decides, and the pool's own scheduler on traces, in virtual time.

mod choice;
mod compare;
mod policies;
mod present;
mod replay;
mod runs;
mod settings;
mod simulate;
mod source;
mod store;
mod synth;
mod tune;

use super::Ctx;
use crate::args::SchedVerb;
use crate::error::Done;

/// `pond sched`.
///
/// # Errors
/// A wrong command line, a trace that cannot be used, a file that cannot be written.
pub fn sched(ctx: &Ctx, verb: &SchedVerb) -> Done {
    match verb {
        SchedVerb::Simulate(args) => simulate::simulate(ctx, args),
        SchedVerb::Replay(args) => replay::replay(ctx, args),
        SchedVerb::Compare(args) => compare::compare(ctx, args),
        SchedVerb::Synth(args) => synth::synth(ctx, args),
        SchedVerb::Tune(args) => tune::tune(ctx, args),
        SchedVerb::Show => choice::show(ctx),
        SchedVerb::Set(args) => choice::set(ctx, args),
        SchedVerb::Policies => policies::policies(ctx),
    }
}
