//! Prices: what a unit of each resource costs an hour, from when to when.
//!
//! The sheet is only ever added to, and nothing is added before the present: a price never rewrites what was
//! charged. Of the prices that hold at a moment the one that names the device model comes before one that does
//! not, then the one that names the class, then the one that began last, then the one that was set last.

use super::{HOUR_MS, Resource};
use crate::model::{Class, DeviceKind};
use crate::plan::model_matches;
use crate::units::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

/// Prices a sheet holds at most.
pub const MAX_PRICES: usize = 10_000;
/// The highest price: a million of the currency for a unit and hour, in micro-units.
pub const MAX_PRICE: u64 = 1_000_000_000_000;

/// What a price is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priced {
    /// A core.
    Cpu,
    /// A gibibyte of memory.
    Memory,
    /// A gibibyte of disk.
    Disk,
    /// A whole device.
    Device {
        /// Of this kind.
        kind: DeviceKind,
        /// Whose model name has these words; absent: any.
        model: Option<String>,
    },
}

impl Priced {
    /// Whether it is this resource.
    #[must_use]
    pub fn covers(&self, resource: &Resource) -> bool {
        match (self, resource) {
            (Self::Cpu, Resource::Cpu) | (Self::Memory, Resource::Memory) | (Self::Disk, Resource::Disk) => {
                true
            }
            (Self::Device { kind, model: wanted }, Resource::Device { kind: there, model }) => {
                kind == there && model_matches(wanted.as_deref(), model)
            }
            _ => false,
        }
    }

    const fn names_a_model(&self) -> bool {
        matches!(self, Self::Device { model: Some(_), .. })
    }
}

/// A price as it is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceSpec {
    /// What for.
    pub of: Priced,
    /// For which class; absent: for each that has none of its own.
    pub class: Option<Class>,
    /// Micro-units of the currency for one unit (core, gibibyte, device) and hour.
    pub micros: u64,
    /// From when on; absent: from now on.
    pub from: Option<Timestamp>,
    /// Until when; absent: until another one is set.
    pub to: Option<Timestamp>,
}

/// A price of the sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Counts up from 1.
    pub id: u64,
    /// What for.
    pub of: Priced,
    /// For which class; absent: for each that has none of its own.
    pub class: Option<Class>,
    /// Micro-units of the currency for one unit and hour.
    pub micros: u64,
    /// The first moment at which it holds.
    pub from: Timestamp,
    /// The first moment at which it does not hold any more.
    pub to: Option<Timestamp>,
}

impl Price {
    /// Whether it holds at a moment.
    #[must_use]
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

/// All prices there were, are and are known to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceSheet {
    /// Three capital letters, as ISO 4217 has them; its code for no currency while none was set.
    currency: String,
    prices: Vec<Price>,
    next: u64,
}

impl Default for PriceSheet {
    fn default() -> Self {
        Self { currency: "X".repeat(3), prices: Vec::new(), next: 1 }
    }
}

impl PriceSheet {
    /// The currency of all amounts.
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// Every price, in the order in which they were set.
    #[must_use]
    pub fn prices(&self) -> &[Price] {
        &self.prices
    }

    /// The price for the same, of the same class, that counts instead of this one at a moment: the last to begin.
    #[must_use]
    pub fn replaced_by(&self, price: &Price, at: Timestamp) -> Option<u64> {
        let same =
            self.prices.iter().filter(|it| it.of == price.of && it.class == price.class && it.holds(at));
        same.max_by_key(|it| (it.from, it.id)).map(|it| it.id).filter(|id| *id != price.id && price.holds(at))
    }

    /// What a unit and hour costs a class at a moment, in micro-units; 0 where no price holds.
    #[must_use]
    pub fn rate(&self, resource: &Resource, class: Class, at: Timestamp) -> u64 {
        let fits = |price: &&Price| {
            price.holds(at) && price.class.is_none_or(|only| only == class) && price.of.covers(resource)
        };
        let best = self
            .prices
            .iter()
            .filter(fits)
            .max_by_key(|price| (price.of.names_a_model(), price.class.is_some(), price.from, price.id));
        best.map_or(0, |price| price.micros)
    }

    /// What so much of a resource, in the meter's unit (thousandths of cores and devices, bytes), costs in an hour at the
    /// prices of a moment: micro-units, rounded down.
    #[must_use]
    pub fn an_hour(&self, resource: &Resource, amount: u64, class: Class, at: Timestamp) -> u64 {
        let rate = u128::from(self.rate(resource, class, at));
        let worth = u128::from(amount).saturating_mul(HOUR_MS).saturating_mul(rate);
        let micros = worth.checked_div(resource.unit_hour()).unwrap_or(0);
        u64::try_from(micros).unwrap_or(u64::MAX)
    }

    /// What so much of a resource costs from a moment on for so long, at the prices of then: micro-units, rounded down.
    #[must_use]
    pub fn over(
        &self,
        resource: &Resource,
        amount: u64,
        class: Class,
        (from, span): (Timestamp, Millis),
    ) -> u64 {
        let end = from.after(span);
        let (mut at, mut worth) = (from, 0_u128);
        // Ends: each turn goes on to the next of finitely many changes, or to the end.
        while at < end {
            let next = self.next_change(at).min(end);
            let rate = u128::from(self.rate(resource, class, at));
            let held = u128::from(amount).saturating_mul(next.since(at).0.into());
            worth = worth.saturating_add(held.saturating_mul(rate));
            at = next;
        }
        u64::try_from(worth.checked_div(resource.unit_hour()).unwrap_or(0)).unwrap_or(u64::MAX)
    }

    /// The first moment after `after` at which a price begins or ends to hold; [`Timestamp::NEVER`] when none does.
    #[must_use]
    pub fn next_change(&self, after: Timestamp) -> Timestamp {
        let moments = self.prices.iter().flat_map(|price| [Some(price.from), price.to]).flatten();
        moments.filter(|at| *at > after).min().unwrap_or(Timestamp::NEVER)
    }

    /// Whether these can be added. `charged`: something was charged in the present currency already.
    pub(super) fn check(
        &self,
        now: Timestamp,
        currency: Option<&String>,
        specs: &[PriceSpec],
        charged: bool,
    ) -> Result<(), PriceError> {
        if let Some(currency) = currency {
            if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
                return Err(PriceError::Currency);
            }
            if charged && *currency != self.currency {
                return Err(PriceError::CurrencyInUse);
            }
        }
        if self.prices.len().saturating_add(specs.len()) > MAX_PRICES {
            return Err(PriceError::TooMany);
        }
        specs.iter().try_for_each(|spec| check(now, spec))
    }

    /// Adds prices, all of them or none.
    pub(super) fn set(
        &mut self,
        now: Timestamp,
        currency: Option<String>,
        specs: Vec<PriceSpec>,
        charged: bool,
    ) -> Result<(), PriceError> {
        self.check(now, currency.as_ref(), &specs, charged)?;
        if let Some(currency) = currency {
            self.currency = currency;
        }
        for spec in specs {
            let PriceSpec { of, class, micros, from, to } = spec;
            self.prices.push(Price { id: self.next, of, class, micros, from: from.unwrap_or(now), to });
            self.next = self.next.saturating_add(1);
        }
        Ok(())
    }

    /// Where a price is that can be ended now.
    pub(super) fn check_end(&self, now: Timestamp, id: u64) -> Result<usize, PriceError> {
        let at = self.prices.iter().position(|price| price.id == id).ok_or(PriceError::Unknown)?;
        match self.prices[at].to.is_some_and(|to| to <= now) {
            true => Err(PriceError::Ended),
            false => Ok(at),
        }
    }

    /// Ends a price now; one that has not begun goes without a trace.
    pub(super) fn end(&mut self, now: Timestamp, id: u64) -> Result<(), PriceError> {
        let at = self.check_end(now, id)?;
        if self.prices[at].from > now {
            self.prices.remove(at);
        } else {
            self.prices[at].to = Some(now);
        }
        Ok(())
    }
}

fn check(now: Timestamp, spec: &PriceSpec) -> Result<(), PriceError> {
    let from = spec.from.unwrap_or(now);
    if from < now {
        return Err(PriceError::Past);
    }
    if spec.to.is_some_and(|to| to <= from) {
        return Err(PriceError::EmptySpan);
    }
    if spec.micros > MAX_PRICE {
        return Err(PriceError::TooHigh);
    }
    match &spec.of {
        Priced::Device { model: Some(model), .. }
            if model.len() > 256 || !model_matches(Some(model), model) =>
        {
            Err(PriceError::Model)
        }
        _ => Ok(()),
    }
}

/// Why a price is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceError {
    /// It would hold before it was set.
    #[error("a price cannot begin in the past; leave `from` out, or give a moment to come")]
    Past,
    /// It ends before it begins.
    #[error("a price ends after it begins; give a later `to`, or leave it out")]
    EmptySpan,
    /// More than [`MAX_PRICE`].
    #[error("a price is at most 1000000 for a unit and hour; use another currency")]
    TooHigh,
    /// More than [`MAX_PRICES`].
    #[error("the sheet holds at most 10000 prices; end those that are to come and not needed")]
    TooMany,
    /// A model name without letters or digits.
    #[error("a device model has letters or digits; use words of the name that `pond gpu` shows")]
    Model,
    /// No price has this number.
    #[error("no price has this number; `pond price show --all` lists them")]
    Unknown,
    /// It has ended.
    #[error("this price has ended already; `pond price show` lists those that hold")]
    Ended,
    /// Not three capital letters.
    #[error("a currency is three capital letters; for example EUR, USD or CNY")]
    Currency,
    /// Amounts were charged in another one.
    #[error("amounts were charged in another currency already; keep it")]
    CurrencyInUse,
}
