//! Accounts of jobs, and how periods are closed.

use super::{
    Budgets, Entry, Period, PoolEntry, PriceError, PriceSheet, PriceSpec, Rates, Resource, Spending, Sums,
    whole,
};
use crate::ids::{JobId, QueuePath, UserName};
use crate::model::{Class, DeviceKind};
use crate::units::{Millis, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const HOUR: Millis = Millis(3_600_000);
/// After a longer time in which nothing happened the hours of it are one period: a clock that jumped by years.
const LONGEST_GAP: Millis = Millis(1000 * HOUR.0);

/// Places of CPU, memory and disk in the list of resources; device models follow.
pub(crate) const FIXED: u32 = 3;

/// What one job owes for one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    now: Sums,
    late: Sums,
    /// Given back since the present period began, and in the one before, in micro-units × unit-hours.
    credit: u128,
    credit_late: u128,
    /// What is left of a micro-unit.
    left: u128,
    credit_left: u128,
    /// Micro-units of closed periods.
    charged: u64,
    credited: u64,
}

/// What one job owes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// By place in the list of resources.
    lines: BTreeMap<u32, Line>,
    /// The engine has forgotten the job: the account goes when it is closed.
    #[serde(default)]
    gone: bool,
}

/// What a job has cost up to now, in micro-units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Charged.
    pub charged: u64,
    /// Of that, given back.
    pub credited: u64,
}

/// Sums of what one event adds, by place in the list of resources: to the present period, and to the one before.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// The present period.
    pub now: Vec<(u32, Sums)>,
    /// The one before.
    pub late: Vec<(u32, Sums)>,
}

/// Whose account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payer<'a> {
    pub job: JobId,
    pub queue: &'a QueuePath,
    pub user: &'a UserName,
    pub class: Class,
}

/// A period that is over and not closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Late {
    seq: u64,
    from: Timestamp,
    to: Timestamp,
    pool: Vec<PoolEntry>,
    rates: Vec<[u64; 3]>,
}

/// Prices, budgets and the books of the present period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Whether books are kept at all: a simulation keeps none.
    #[serde(skip)]
    on: bool,
    begun: bool,
    seq: u64,
    from: Timestamp,
    late: Option<Late>,
    models: Vec<(DeviceKind, String)>,
    /// Prices of the present period, by resource and class.
    rates: Vec<[u64; 3]>,
    sheet: PriceSheet,
    budgets: Budgets,
    closed: Vec<Period>,
    /// Something was charged in the sheet's currency.
    charged: bool,
}

const fn rates_of(row: [u64; 3], class: Class) -> Rates {
    let [spare, standard, critical] = row;
    let class = match class {
        Class::Spare => spare,
        Class::Standard => standard,
        Class::Critical => critical,
    };
    Rates { class, spare }
}

impl Ledger {
    /// Whether books are kept.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// Keeps books from now on, or not. An order, not a part of the state.
    pub(crate) fn turn(&mut self, on: bool) {
        self.on = on;
    }

    /// Every price.
    #[must_use]
    pub const fn sheet(&self) -> &PriceSheet {
        &self.sheet
    }

    /// Every budget.
    #[must_use]
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    pub(crate) const fn budgets_mut(&mut self) -> &mut Budgets {
        &mut self.budgets
    }

    /// Closed periods that nobody has said to keep yet, oldest first.
    #[must_use]
    pub fn closed(&self) -> &[Period] {
        &self.closed
    }

    /// Periods up to this one are kept elsewhere.
    pub(crate) fn kept(&mut self, seq: u64) {
        self.closed.retain(|period| period.seq > seq);
    }

    /// The first moment of the present period.
    #[must_use]
    pub const fn from(&self) -> Timestamp {
        self.from
    }

    /// Begins the first period, once.
    pub(crate) fn begin(&mut self, now: Timestamp) -> bool {
        if self.begun {
            return false;
        }
        (self.begun, self.from, self.seq) = (true, now, 1);
        self.reprice();
        true
    }

    /// When the present period ends; [`Timestamp::NEVER`] while there is none.
    pub(crate) fn end(&self) -> Timestamp {
        if !self.on || !self.begun {
            return Timestamp::NEVER;
        }
        let hour = Timestamp(self.from.0.saturating_sub(self.from.0 % HOUR.0)).after(HOUR);
        hour.min(self.sheet.next_change(self.from))
    }

    /// When a period that should have ended before `now` ends: hours without an event are told apart, years are not.
    pub(crate) fn end_before(&self, now: Timestamp) -> Option<Timestamp> {
        let end = self.end();
        let far = now.since(end) > LONGEST_GAP;
        let hour = Timestamp(now.0.saturating_sub(now.0 % HOUR.0));
        (end <= now).then(|| if far { hour.min(self.sheet.next_change(self.from)) } else { end })
    }

    /// The place of a device model in the list of resources.
    pub(crate) fn place(&mut self, kind: DeviceKind, model: &str) -> u32 {
        let known = self.models.iter().position(|(other, name)| *other == kind && name == model);
        let at = known.unwrap_or_else(|| {
            self.models.push((kind, model.to_owned()));
            self.reprice_from(self.models.len().saturating_sub(1).saturating_add(FIXED as usize));
            self.models.len().saturating_sub(1)
        });
        u32::try_from(at).unwrap_or(u32::MAX).saturating_add(FIXED)
    }

    /// The resource at a place.
    pub(crate) fn resource(&self, place: u32) -> Resource {
        match place {
            0 => Resource::Cpu,
            1 => Resource::Memory,
            2 => Resource::Disk,
            _ => {
                let at = usize::try_from(place.saturating_sub(FIXED)).unwrap_or(usize::MAX);
                let (kind, model) = self.models.get(at).cloned().unwrap_or((DeviceKind::Gpu, String::new()));
                Resource::Device { kind, model }
            }
        }
    }

    /// Places there are.
    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.models.len()).unwrap_or(u32::MAX).saturating_add(FIXED)
    }

    fn reprice(&mut self) {
        self.rates.clear();
        self.reprice_from(0);
    }

    fn reprice_from(&mut self, first: usize) {
        self.rates.truncate(first);
        for place in u32::try_from(self.rates.len()).unwrap_or(u32::MAX)..self.places() {
            let resource = self.resource(place);
            let rate = |class| self.sheet.rate(&resource, class, self.from);
            let row = [rate(Class::Spare), rate(Class::Standard), rate(Class::Critical)];
            self.rates.push(row);
        }
    }

    fn row(rates: &[[u64; 3]], place: u32) -> [u64; 3] {
        usize::try_from(place).ok().and_then(|at| rates.get(at)).copied().unwrap_or_default()
    }

    /// Adds to a job's account. Gives what that costs, in micro-units × unit-hours, by resource, to `cost`.
    pub(crate) fn book(
        &self,
        account: &mut Account,
        class: Class,
        books: &mut Books,
        cost: &mut BTreeMap<u32, u128>,
    ) {
        let late = self.late.as_ref().map(|late| late.rates.as_slice());
        for (place, sums) in books.late.drain(..) {
            let rates = rates_of(Self::row(late.unwrap_or(&self.rates), place), class);
            account.lines.entry(place).or_default().late.add(sums);
            let sum = cost.entry(place).or_default();
            *sum = sum.saturating_add(sums.cost(rates));
        }
        for (place, sums) in books.now.drain(..) {
            let rates = rates_of(Self::row(&self.rates, place), class);
            account.lines.entry(place).or_default().now.add(sums);
            let sum = cost.entry(place).or_default();
            *sum = sum.saturating_add(sums.cost(rates));
        }
    }

    /// The present period is over. `pool` is what became of the machines in it.
    pub(crate) fn roll<'a>(
        &mut self,
        at: Timestamp,
        pool: Vec<PoolEntry>,
        accounts: impl Iterator<Item = &'a mut Account>,
    ) {
        for line in accounts.flat_map(|account| account.lines.values_mut()) {
            line.late = std::mem::take(&mut line.now);
            line.credit_late = std::mem::take(&mut line.credit);
        }
        let rates = std::mem::take(&mut self.rates);
        self.late = Some(Late { seq: self.seq, from: self.from, to: at, pool, rates });
        self.from = at;
        self.seq = self.seq.saturating_add(1);
        self.reprice();
    }

    /// Whether a period is over and not closed.
    pub(crate) const fn has_late(&self) -> bool {
        self.late.is_some()
    }

    /// Closes the period that is over. Accounts of forgotten jobs in which nothing is left are named.
    pub(crate) fn close<'a>(
        &mut self,
        accounts: impl Iterator<Item = (Payer<'a>, &'a mut Account)>,
    ) -> Vec<JobId> {
        let Some(late) = self.late.take() else { return Vec::new() };
        let (mut entries, mut done) = (Vec::new(), Vec::new());
        for (payer, account) in accounts {
            for (place, line) in &mut account.lines {
                let resource = self.resource(*place);
                let rates = rates_of(Self::row(&late.rates, *place), payer.class);
                entries.extend(line.close(payer, resource, rates));
            }
            let empty = |line: &Line| line.now.is_nothing() && line.credit == 0;
            if account.gone && account.lines.values().all(empty) {
                done.push(payer.job);
            }
        }
        for entry in &entries {
            self.charged = self.charged || entry.charge > 0;
            self.budgets.add(&entry.queue, late.from, entry.net());
        }
        let Late { seq, from, to, pool, .. } = late;
        let currency = self.sheet.currency().to_owned();
        let period = Period { seq, from, to, currency, entries, pool };
        if !period.is_empty() {
            self.closed.push(period);
        }
        done
    }

    /// What accounts hold beyond closed periods, by queue, in micro-units; up to the meter's last word.
    pub(crate) fn open<'a>(
        &self,
        accounts: impl Iterator<Item = (Payer<'a>, &'a Account)>,
    ) -> BTreeMap<QueuePath, Spending> {
        let mut sums: BTreeMap<QueuePath, Spending> = BTreeMap::new();
        let late_from = self.late.as_ref().map_or(self.from, |late| late.from);
        for (payer, account) in accounts {
            for (place, line) in &account.lines {
                if line.is_closed() {
                    continue;
                }
                let [late, both] = self.unclosed(*place, line, payer.class);
                let spending = sums.entry(QueuePath::from(payer.queue.as_str())).or_default();
                spending.add(late_from, late);
                spending.add(self.from, both.saturating_sub(late));
            }
        }
        sums
    }

    /// What a line would come to, charge less credit: closed up to the end of the period before, and up to now.
    fn unclosed(&self, place: u32, line: &Line, class: Class) -> [i128; 2] {
        let unit_hour = self.resource(place).unit_hour();
        let net = |cost: u128, credit: u128| {
            i128::from(whole(cost, unit_hour).0).saturating_sub(i128::from(whole(credit, unit_hour).0))
        };
        let (cost, credit) = self.costs(place, line, class);
        let late = line.left.saturating_add(cost[0]);
        let credit_late = line.credit_left.saturating_add(credit[0]);
        [net(late, credit_late), net(late.saturating_add(cost[1]), credit_late.saturating_add(credit[1]))]
    }

    /// Cost and credit of the period before and of the present one, in micro-units × unit-hours.
    fn costs(&self, place: u32, line: &Line, class: Class) -> ([u128; 2], [u128; 2]) {
        let late = self.late.as_ref().map_or(self.rates.as_slice(), |late| &late.rates);
        let before = line.late.cost(rates_of(Self::row(late, place), class));
        let present = line.now.cost(rates_of(Self::row(&self.rates, place), class));
        ([before, present], [line.credit_late, line.credit])
    }

    /// What a job has cost up to the meter's last word on it.
    pub(crate) fn standing(&self, account: &Account, class: Class) -> Standing {
        let mut standing = Standing::default();
        for (place, line) in &account.lines {
            let unit_hour = self.resource(*place).unit_hour();
            let (cost, credit) = self.costs(*place, line, class);
            let sum = |left: u128, parts: [u128; 2]| {
                whole(left.saturating_add(parts[0]).saturating_add(parts[1]), unit_hour).0
            };
            let charged = line.charged.saturating_add(sum(line.left, cost));
            let credited = line.credited.saturating_add(sum(line.credit_left, credit));
            standing.charged = standing.charged.saturating_add(charged);
            standing.credited = standing.credited.saturating_add(credited);
        }
        standing
    }

    pub(crate) fn check_prices(
        &self,
        now: Timestamp,
        currency: Option<&String>,
        specs: &[PriceSpec],
    ) -> Result<(), PriceError> {
        self.sheet.check(now, currency, specs, self.charged)
    }

    pub(crate) fn check_price_end(&self, now: Timestamp, id: u64) -> Result<(), PriceError> {
        self.sheet.check_end(now, id).map(|_| ())
    }

    pub(crate) fn set_prices(
        &mut self,
        now: Timestamp,
        currency: Option<String>,
        specs: Vec<PriceSpec>,
    ) -> Result<(), PriceError> {
        self.sheet.set(now, currency, specs, self.charged)?;
        self.reprice();
        Ok(())
    }

    pub(crate) fn end_price(&mut self, now: Timestamp, id: u64) -> Result<(), PriceError> {
        self.sheet.end(now, id)?;
        self.reprice();
        Ok(())
    }
}

impl Books {
    /// Whether nothing is added.
    pub(crate) fn is_empty(&self) -> bool {
        self.now.is_empty() && self.late.is_empty()
    }
}

impl Account {
    /// What is in it is given back, up to this cost by resource, in micro-units × unit-hours.
    pub(crate) fn credit(&mut self, cost: &BTreeMap<u32, u128>) {
        for (place, cost) in cost {
            let line = self.lines.entry(*place).or_default();
            line.credit = line.credit.saturating_add(*cost);
        }
    }

    /// The engine forgets the job. Gives whether the account can go at once.
    pub(crate) fn leave(&mut self) -> bool {
        self.gone = true;
        self.lines.values().all(Line::is_closed)
    }
}

impl Line {
    fn is_closed(&self) -> bool {
        self.now.is_nothing() && self.late.is_nothing() && self.credit == 0 && self.credit_late == 0
    }

    /// The entry of the period before, if anything is in it.
    fn close(&mut self, payer: Payer<'_>, resource: Resource, rates: Rates) -> Option<Entry> {
        let sums = std::mem::take(&mut self.late);
        let returned = std::mem::take(&mut self.credit_late);
        if sums.is_nothing() && returned == 0 {
            return None;
        }
        let unit_hour = resource.unit_hour();
        let (charge, left) = whole(self.left.saturating_add(sums.cost(rates)), unit_hour);
        let (credit, credit_left) = whole(self.credit_left.saturating_add(returned), unit_hour);
        let beyond = Sums { base: 0, ..sums }.cost(rates);
        (self.left, self.credit_left) = (left, credit_left);
        self.charged = self.charged.saturating_add(charge);
        self.credited = self.credited.saturating_add(credit);
        Some(Entry {
            job: payer.job,
            queue: QueuePath::from(payer.queue.as_str()),
            user: UserName::from(payer.user.as_str()),
            class: payer.class,
            resource,
            sums,
            rates,
            charge,
            charge_spare: whole(beyond, unit_hour).0.min(charge),
            credit,
        })
    }
}
