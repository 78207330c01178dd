//! What the meter writes into the ledger: what each event adds, by period, and the end of periods.
//!
//! A grant is told apart by the sample after it, so CPU of a task's span that crosses the end of a period waits:
//! its use is divided by time between the two periods. See [`crate::money`].

use super::bill::{self, Bill, Split};
use super::{CPU, DISK, MEMORY, Meter, NodeMeter};
use crate::ids::{QueuePath, TaskId};
use crate::model::Class;
use crate::money::{Books, Ledger, Period, PoolEntry, PriceError, PriceSpec, Spending, Sums};
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one event adds: to the bills since the pool began, and to the ledger.
pub(super) struct Page {
    on: bool,
    pub billed: Bill,
    pub books: Books,
    /// The task has told how much it used of the period before.
    pub told: bool,
}

impl Page {
    pub fn new(on: bool) -> Self {
        Self { on, billed: Bill::default(), books: Books::default(), told: false }
    }

    fn add(&mut self, place: usize, sums: Sums) {
        if self.on && !sums.is_nothing() {
            self.books.now.push((u32::try_from(place).unwrap_or(u32::MAX), sums));
        }
    }

    fn charged(class: Class, paused: bool, split: Split) -> Sums {
        let amount = if paused { bill::Amount::default() } else { bill::amount(class, split) };
        Sums { base: amount.base, spare: amount.spare, ..Sums::default() }
    }

    /// CPU that was granted; how much of it was used is not known yet.
    pub fn granted_cpu(&mut self, class: Class, paused: bool, granted: u128) {
        let charged = Self::charged(class, paused, Split { granted, used: 0, burst: 0 });
        self.add(CPU, Sums { granted, ..charged });
    }

    /// CPU that was told apart into used, not used and used beyond the grant. `late`: in the period before.
    pub fn split_cpu(&mut self, class: Class, late: bool, [used_within, waste, burst]: [u128; 3]) {
        let charged = Self::charged(class, false, Split { granted: 0, used: burst, burst });
        let sums = Sums { used_within, waste, burst, ..charged };
        if !late {
            self.add(CPU, sums);
        } else if !sums.is_nothing() {
            self.books.late.push((0, sums));
        }
    }

    /// Memory or disk.
    pub fn measured(&mut self, class: Class, paused: bool, dimension: usize, split: Split) {
        self.add(if dimension == MEMORY { MEMORY } else { DISK }, whole(class, paused, split));
    }

    /// A device whose use nobody measures.
    pub fn device(&mut self, class: Class, paused: bool, place: u32, split: Split) {
        self.add(usize::try_from(place).unwrap_or(usize::MAX), whole(class, paused, split));
    }

    /// A measured share that was granted; how much of it was used is not known yet, nor what `spare` pays. Gives how much of it is
    /// booked.
    pub fn granted_device(&mut self, class: Class, paused: bool, place: u32, granted: u128) -> u128 {
        let charged = Self::charged(class, paused, Split { granted, used: 0, burst: 0 });
        self.add(usize::try_from(place).unwrap_or(usize::MAX), Sums { granted, ..charged });
        if self.on { granted } else { 0 }
    }

    /// Of what was booked as granted of a measured share, so much was used.
    pub fn told_device(&mut self, place: u32, granted: u128, used: u128) {
        let used_within = used.min(granted);
        let waste = granted.saturating_sub(used_within);
        self.add(
            usize::try_from(place).unwrap_or(usize::MAX),
            Sums { used_within, waste, ..Sums::default() },
        );
    }

    /// What is charged for the use of a measured share: what was used beyond its grant; all of it for `spare`.
    pub fn used_device(&mut self, class: Class, place: u32, charged: u128, burst: u128) {
        let charged = Self::charged(class, false, Split { granted: 0, used: charged, burst: charged });
        self.add(usize::try_from(place).unwrap_or(usize::MAX), Sums { burst, ..charged });
    }
}

fn whole(class: Class, paused: bool, split: Split) -> Sums {
    let used_within = split.used.min(split.granted);
    Sums {
        granted: split.granted,
        used_within,
        waste: split.granted.saturating_sub(used_within),
        burst: split.burst,
        ..Page::charged(class, paused, split)
    }
}

/// How far the ledger knows what a task did with its CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// The moment of the last sample, or of its start.
    pub since: Timestamp,
    /// A period ended here since then, and was closed: what was used before is not charged any more.
    pub closed: Option<Timestamp>,
    /// A period ended here since then, and waits.
    pub until: Option<Timestamp>,
    /// Of the grant that is not told apart, what lies before `until`.
    pub granted: u128,
}

/// Use and grant of a part of the time since the last sample.
pub(super) struct Part {
    pub late: bool,
    pub used: u128,
    pub granted: u128,
}

impl Told {
    /// Divides what was used from the last sample to now by time over the periods that this touches.
    pub fn parts(&self, now: Timestamp, used: u128, granted: u128) -> impl Iterator<Item = Part> + use<> {
        let span = u128::from(now.since(self.since).0);
        let of = |from: Timestamp, to: Timestamp| {
            used.saturating_mul(u128::from(to.since(from).0)).checked_div(span).unwrap_or(0)
        };
        let known = self.closed.unwrap_or(self.since);
        let lost = of(self.since, known);
        let late = self.until.map_or(0, |until| of(known, until));
        let before = self.granted.min(granted);
        let late_part = Part { late: true, used: late, granted: before };
        let rest = used.saturating_sub(lost).saturating_sub(late);
        let now_part = Part { late: false, used: rest, granted: granted.saturating_sub(before) };
        self.until.map(|_| late_part).into_iter().chain([now_part])
    }
}

impl Meter {
    /// Prices, budgets and closed periods.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) const fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Ends every period of the ledger that is over. Before anything that happens at `now` is taken in.
    pub(crate) fn keep_books(&mut self, now: Timestamp) {
        if !self.ledger.is_on() {
            return;
        }
        if self.ledger.begin(now) {
            self.begin(now);
        }
        while let Some(end) = self.ledger.end_before(now) {
            self.cut(end);
        }
    }

    /// What ran before there was a ledger is in it from now on.
    fn begin(&mut self, now: Timestamp) {
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        self.ledger.turn(false);
        for id in ids {
            self.change(now, id, |task, meter, page| {
                task.split_cpu(meter, 0, page);
            });
        }
        self.ledger.turn(true);
        self.mark(now);
    }

    /// The present period ends here and the next begins.
    fn cut(&mut self, at: Timestamp) {
        self.close();
        self.settle_all(at);
        self.count_devices(at);
        let pool = self.mark(at);
        self.carrying = 0;
        for task in self.tasks.values_mut().filter(|task| task.running) {
            task.told.until = Some(at);
            task.told.granted = task.lines.first().map_or(0, |line| line.unsplit);
            self.carrying = self.carrying.saturating_add(1);
        }
        self.ledger.roll(at, pool, self.bills.accounts_mut().map(|(_, account)| account));
        self.close_when_told();
    }

    /// Brings every task up to now.
    pub(crate) fn settle_all(&mut self, now: Timestamp) {
        let ids: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.running).map(|(id, _)| *id).collect();
        for id in ids {
            self.change(now, id, |_, _, _| {});
        }
    }

    /// What is not known yet of measured shares is of the period that ends here.
    fn count_devices(&mut self, now: Timestamp) {
        let measured = self.tasks.iter().filter(|(_, task)| !task.open.is_empty());
        let ids: Vec<TaskId> = measured.map(|(id, _)| *id).collect();
        for id in ids {
            self.change(now, id, |task, _, page| task.count_devices(page));
        }
    }

    pub(super) fn close_when_told(&mut self) {
        if self.carrying == 0 && self.ledger.has_late() {
            self.close();
        }
    }

    /// Closes the period before. What tasks have not told of it counts as not used.
    fn close(&mut self) {
        if !self.ledger.has_late() {
            return;
        }
        for task in self.tasks.values_mut() {
            let Some(until) = task.told.until.take() else { continue };
            task.told.closed = Some(until);
            let waste = std::mem::take(&mut task.told.granted);
            let Some(line) = task.lines.first_mut() else { continue };
            line.unsplit = line.unsplit.saturating_sub(waste);
            let node = usize::try_from(task.node.0).ok().and_then(|at| self.nodes.get_mut(at));
            if let Some(gauge) = node.and_then(|node| node.gauge(line)) {
                gauge.unsplit(waste, false);
                gauge.split(0, waste, 0);
            }
            let mut page = Page::new(true);
            page.split_cpu(task.class, true, [0, waste, 0]);
            self.bills.book(&self.ledger, task.job, &mut page.books, &mut task.cost);
        }
        self.carrying = 0;
        let done = self.ledger.close(self.bills.accounts_mut());
        self.bills.drop_accounts(&done);
    }

    /// What became of the machines since the last mark, by resource; sets the next one.
    fn mark(&mut self, now: Timestamp) -> Vec<PoolEntry> {
        let mut sums: BTreeMap<u32, [u128; 5]> = BTreeMap::new();
        for node in &mut self.nodes {
            node.mark(now, &mut sums);
        }
        let entry = |(place, [capacity, granted, idle, planned, down]): (u32, [u128; 5])| {
            let resource = self.ledger.resource(place);
            let rate = self.ledger.sheet().rate(&resource, Class::Standard, self.ledger.from());
            PoolEntry { resource, capacity, granted, idle, planned, down, rate }
        };
        sums.into_iter().filter(|(_, parts)| parts[0] > 0).map(entry).collect()
    }

    /// What is charged and not closed, by queue, up to now.
    pub(crate) fn open_spending(&mut self, now: Timestamp) -> BTreeMap<QueuePath, Spending> {
        self.settle_all(now);
        self.ledger.open(self.bills.accounts())
    }

    /// The periods that are not closed, as they would be if they ended now. Costs a copy of the books.
    #[must_use]
    pub fn open_periods(&self, now: Timestamp) -> Vec<Period> {
        if !self.ledger.is_on() {
            return Vec::new();
        }
        let mut copy = self.to_owned();
        copy.ledger.kept(u64::MAX);
        copy.keep_books(now);
        copy.cut(now);
        copy.close();
        copy.ledger.closed().to_vec()
    }

    /// Sets prices; those that begin now begin a period.
    pub(crate) fn set_prices(
        &mut self,
        now: Timestamp,
        currency: Option<String>,
        specs: Vec<PriceSpec>,
    ) -> Result<(), PriceError> {
        self.ledger.check_prices(now, currency.as_ref(), &specs)?;
        self.cut_if_on(now);
        self.ledger.set_prices(now, currency, specs)
    }

    /// Ends a price, and with it the period.
    pub(crate) fn end_price(&mut self, now: Timestamp, id: u64) -> Result<(), PriceError> {
        self.ledger.check_price_end(now, id)?;
        self.cut_if_on(now);
        self.ledger.end_price(now, id)
    }

    fn cut_if_on(&mut self, now: Timestamp) {
        if self.ledger.is_on() {
            self.cut(now);
        }
    }
}

impl NodeMeter {
    fn mark(&mut self, now: Timestamp, sums: &mut BTreeMap<u32, [u128; 5]>) {
        let places = (0_u32..3).chain(self.models.iter().copied());
        let compute = self.devices.iter().map(|device| &device.0);
        let gauges: Vec<_> = self.gauges.iter().chain(compute).map(|gauge| gauge.totals(now)).collect();
        self.marks.resize(gauges.len(), super::Totals::default());
        for ((place, totals), mark) in places.zip(gauges).zip(&mut self.marks) {
            let before = std::mem::replace(mark, totals);
            let parts = [
                (totals.capacity, before.capacity),
                (totals.granted, before.granted),
                (totals.idle, before.idle),
                (totals.planned, before.planned),
                (totals.down, before.down),
            ];
            for (sum, (after, before)) in sums.entry(place).or_default().iter_mut().zip(parts) {
                *sum = sum.saturating_add(after.saturating_sub(before));
            }
        }
    }
}
