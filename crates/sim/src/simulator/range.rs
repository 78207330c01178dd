//! In which ranges settings mean something. Outside of them a simulation would go on for ever, or silently be another one.

use super::settings::{Checkpointing, SimSettings};
use pond_core::units::Millis;
use std::fmt;

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is {value}, and must be {range}")]
pub struct OutOfRange {
    /// Its name, from the root of [`SimSettings`].
    pub name: &'static str,
    /// What it is.
    pub value: Amount,
    /// What it may be.
    pub range: Range,
}

/// A number, or a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Number(u64),
    /// So long.
    Span(Millis),
}

/// Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub least: Amount,
    /// The most; `None`: no end.
    pub most: Option<Amount>,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Span(span) => span.fmt(f),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.most {
            None => write!(f, "{} or more", self.least),
            Some(most) => write!(f, "from {} to {most}", self.least),
        }
    }
}

/// The shortest time between two turns of anything that comes round: with less of it nothing else happens.
const SOONEST: Millis = Millis(1000);
/// The widest spread, in thousandths of the logarithm: one of a thousand values is 10,000 times the median.
const WIDEST: u64 = 3000;

impl SimSettings {
    /// Whether all of them are in their ranges.
    ///
    /// # Errors
    /// The first that is not.
    pub fn in_range(&self) -> Result<(), OutOfRange> {
        let (ranking, faults) = (&self.engine.plan.ranking, &self.faults);
        span("engine.plan.ranking.round", Some(ranking.round), SOONEST)?;
        number("engine.plan.ranking.base", ranking.base, 2, 1024)?;
        number("engine.plan.ranking.gap", ranking.gap, 1, u64::MAX)?;
        number("restart.factor", self.restart.factor, 0, 1_000_000)?;
        number("run_time_noise", self.run_time_noise, 0, WIDEST)?;
        number("startup.spread", self.startup.spread, 0, WIDEST)?;
        span("samples.every", self.samples.map(|samples| samples.every), SOONEST)?;
        number("samples.noise", self.samples.map_or(0, |samples| samples.noise), 0, WIDEST)?;
        let every = match self.checkpointing {
            Checkpointing::Every { every, .. } => Some(every),
            _ => None,
        };
        span("checkpointing.every.every", every, Millis(1))?;
        for (name, broken) in [("faults.nodes", faults.nodes), ("faults.devices", faults.devices)] {
            span(name, broken.map(|broken| broken.between.scale), SOONEST)?;
        }
        span("faults.maintenance.every", faults.maintenance.map(|work| work.every), SOONEST)?;
        number("faults.messages.dropped", faults.messages.dropped, 0, 1000)?;
        number("faults.messages.doubled", faults.messages.doubled, 0, 1000)?;
        number("faults.messages.late", faults.messages.late, 0, 1000)
    }
}

fn span(name: &'static str, value: Option<Millis>, least: Millis) -> Result<(), OutOfRange> {
    match value {
        Some(value) if value < least => {
            let range = Range { least: Amount::Span(least), most: None };
            Err(OutOfRange { name, value: Amount::Span(value), range })
        }
        _ => Ok(()),
    }
}

fn number(name: &'static str, value: impl Into<u64>, least: u64, most: u64) -> Result<(), OutOfRange> {
    let value = value.into();
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let most = (most < u64::MAX).then_some(Amount::Number(most));
    let range = Range { least: Amount::Number(least), most };
    Err(OutOfRange { name, value: Amount::Number(value), range })
}
