//! Bills: sums of ledger lines by queue, user, job, class, resource or time.
//!
//! Charges and credits are added as they stand in the ledger, so rows add up to the ledger whichever way it is cut.
//! Amounts are added in the meter's units and rounded once, for showing; `waste` is shown as `granted` less `used`, so
//! that the line still adds up.

use super::{micro_hours, named};
use crate::api::types::{BillAmount, BillBy, BillRow, LedgerLine, PoolAmount};
use crate::pool::view::{job::class, word};
use pond_core::money::{Entry, Period, PoolEntry, Resource, Sums, date};
use pond_core::units::Timestamp;
use std::collections::BTreeMap;

/// A bill in the making.
#[derive(Debug)]
pub struct Bill {
    by: BillBy,
    rows: BTreeMap<String, Row>,
    pool: BTreeMap<Resource, PoolSum>,
}

#[derive(Debug, Default)]
struct Row {
    charge: u128,
    charge_spare: u128,
    waste: u128,
    credit: u128,
    amounts: BTreeMap<Resource, (Sums, u128, u128)>,
}

#[derive(Debug, Default)]
struct PoolSum {
    parts: [u128; 5],
    idle_micros: u128,
}

impl Bill {
    /// An empty one.
    #[must_use]
    pub const fn new(by: BillBy) -> Self {
        Self { by, rows: BTreeMap::new(), pool: BTreeMap::new() }
    }

    /// Adds a period.
    pub fn add(&mut self, period: &Period) {
        for entry in &period.entries {
            let key = key(self.by, period, entry);
            self.rows.entry(key).or_default().add(entry);
        }
        for line in &period.pool {
            self.pool.entry(line.resource.clone()).or_default().add(line);
        }
    }

    /// The rows, the largest first, and their sum. `split_idle`: idle time is divided among them.
    #[must_use]
    pub fn rows(&self, split_idle: bool) -> (Vec<BillRow>, BillRow) {
        let mut all = Row::default();
        for row in self.rows.values() {
            all.merge(row);
        }
        let mut total = all.view("total");
        let mut rows: Vec<BillRow> = self.rows.iter().map(|(key, row)| row.view(key)).collect();
        if split_idle {
            let idle = self.pool.values().map(|sum| sum.idle_micros).sum();
            let charges: Vec<u128> = self.rows.values().map(|row| row.charge).collect();
            for (row, part) in rows.iter_mut().zip(divide(idle, &charges)) {
                row.idle_micros = Some(small(part));
            }
            total.idle_micros = Some(small(idle));
        }
        rows.sort_by(|a, b| b.net_micros.cmp(&a.net_micros).then_with(|| a.key.cmp(&b.key)));
        (rows, total)
    }

    /// What became of the machines.
    #[must_use]
    pub fn pool(&self) -> Vec<PoolAmount> {
        self.pool.iter().map(|(resource, sum)| sum.view(resource)).collect()
    }
}

fn key(by: BillBy, period: &Period, entry: &Entry) -> String {
    match by {
        BillBy::Queue => entry.queue.to_string(),
        BillBy::User => entry.user.to_string(),
        BillBy::Job => entry.job.to_string(),
        BillBy::Class => word(&entry.class),
        BillBy::Resource => match named(&entry.resource) {
            (name, Some(model), _) => format!("{name} {model}"),
            (name, None, _) => name,
        },
        BillBy::Day => day(period.from),
        BillBy::Month => day(period.from)[..7].to_owned(),
    }
}

fn day(at: Timestamp) -> String {
    let (year, month, day) = date(at);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Divides an amount in proportion to the weights, to the last unit: what rounding leaves goes to the largest
/// remainders, the first of equal ones. Without weight nobody gets any of it.
fn divide(amount: u128, weights: &[u128]) -> Vec<u128> {
    let all: u128 = weights.iter().sum();
    if all == 0 {
        return vec![0; weights.len()];
    }
    let part = |weight: &u128| (amount.saturating_mul(*weight) / all, amount.saturating_mul(*weight) % all);
    let mut parts: Vec<(u128, u128)> = weights.iter().map(part).collect();
    let given: u128 = parts.iter().map(|part| part.0).sum();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(parts[at].1), at));
    let left = usize::try_from(amount.saturating_sub(given)).unwrap_or(0);
    for at in order.into_iter().take(left) {
        parts[at].0 += 1;
    }
    parts.into_iter().map(|part| part.0).collect()
}

impl Row {
    fn add(&mut self, entry: &Entry) {
        let Entry { sums, rates, charge, charge_spare, credit, .. } = entry;
        let waste =
            sums.waste.min(sums.base).saturating_mul(u128::from(rates.class)) / entry.resource.unit_hour();
        self.charge += u128::from(*charge);
        self.charge_spare += u128::from(*charge_spare);
        self.waste += waste.min(u128::from(charge - charge_spare));
        self.credit += u128::from(*credit);
        let amount = self.amounts.entry(entry.resource.clone()).or_default();
        amount.0.add(*sums);
        amount.1 += u128::from(*charge);
        amount.2 += u128::from(*credit);
    }

    fn merge(&mut self, other: &Self) {
        self.charge += other.charge;
        self.charge_spare += other.charge_spare;
        self.waste += other.waste;
        self.credit += other.credit;
        for (resource, (sums, charge, credit)) in &other.amounts {
            let amount = self.amounts.entry(resource.clone()).or_default();
            amount.0.add(*sums);
            amount.1 += charge;
            amount.2 += credit;
        }
    }

    fn view(&self, key: &str) -> BillRow {
        let net = i128::try_from(self.charge).unwrap_or(i128::MAX)
            - i128::try_from(self.credit).unwrap_or(i128::MAX);
        let amounts = self.amounts.iter();
        BillRow {
            key: key.to_owned(),
            charge_micros: small(self.charge),
            charge_spare_micros: small(self.charge_spare),
            waste_micros: small(self.waste),
            credit_micros: small(self.credit),
            net_micros: i64::try_from(net).unwrap_or(i64::MAX),
            idle_micros: None,
            amounts: amounts
                .map(|(of, (sums, charge, credit))| amount(of, sums, small(*charge), small(*credit)))
                .collect(),
        }
    }
}

impl PoolSum {
    fn add(&mut self, line: &PoolEntry) {
        let parts = [line.capacity, line.granted, line.idle, line.planned, line.down];
        for (sum, part) in self.parts.iter_mut().zip(parts) {
            *sum = sum.saturating_add(part);
        }
        self.idle_micros += u128::from(line.worth(line.idle));
    }

    fn view(&self, resource: &Resource) -> PoolAmount {
        let (name, model, unit) = named(resource);
        let [_, granted, idle, planned, down] = self.parts.map(|part| micro_hours(resource, part));
        PoolAmount {
            resource: name,
            model,
            unit: unit.to_owned(),
            // The sum of what is shown: rounding must not make the line wrong.
            capacity_micro_hours: granted + idle + planned + down,
            granted_micro_hours: granted,
            idle_micro_hours: idle,
            planned_micro_hours: planned,
            down_micro_hours: down,
            idle_micros: small(self.idle_micros),
        }
    }
}

/// One resource of a bill.
#[must_use]
pub fn amount(resource: &Resource, sums: &Sums, charge_micros: u64, credit_micros: u64) -> BillAmount {
    let (name, model, unit) = named(resource);
    let granted = micro_hours(resource, sums.granted);
    let used = micro_hours(resource, sums.used_within).min(granted);
    BillAmount {
        resource: name,
        model,
        unit: unit.to_owned(),
        granted_micro_hours: granted,
        used_micro_hours: used,
        waste_micro_hours: granted - used,
        burst_micro_hours: micro_hours(resource, sums.burst),
        charged_micro_hours: micro_hours(resource, sums.base.saturating_add(sums.spare)),
        charge_micros,
        credit_micros,
    }
}

/// A line of the ledger as the API writes it.
#[must_use]
pub fn line(period: &Period, entry: &Entry, closed: bool) -> LedgerLine {
    LedgerLine {
        period: period.seq,
        from_ms: period.from.0,
        to_ms: period.to.0,
        closed,
        queue: entry.queue.to_string(),
        user: entry.user.to_string(),
        job: entry.job.0,
        class: class(entry.class),
        amount: amount(&entry.resource, &entry.sums, entry.charge, entry.credit),
        price_micros: entry.rates.class,
        spare_price_micros: entry.rates.spare,
        charge_spare_micros: entry.charge_spare,
        currency: period.currency.clone(),
    }
}

fn small(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pond_core::ids::{JobId, QueuePath, UserName};
    use pond_core::model::{Class, DeviceKind};
    use pond_core::money::Rates;
    use proptest::prelude::*;

    fn entry((job, queue, resource, charge, credit, base): (u64, u8, u8, u32, u32, u64)) -> Entry {
        let device = Resource::Device { kind: DeviceKind::Gpu, model: "L4".to_owned() };
        let resource = [Resource::Cpu, Resource::Memory, device][usize::from(resource % 3)].clone();
        let granted = u128::from(base) * 1000;
        Entry {
            job: JobId(job % 5),
            queue: QueuePath::from(["a", "a/b", "c"][usize::from(queue % 3)]),
            user: UserName::from(["ann", "bob"][usize::from(queue % 2)]),
            class: [Class::Spare, Class::Standard, Class::Critical][usize::from(queue % 3)],
            resource,
            sums: Sums {
                granted,
                used_within: granted / 3,
                waste: granted - granted / 3,
                base: granted,
                ..Sums::default()
            },
            rates: Rates { class: u64::from(charge % 977), spare: 1 },
            charge: u64::from(charge),
            charge_spare: u64::from(charge / 7),
            credit: u64::from(credit.min(charge)),
        }
    }

    proptest! {
        /// Whichever way the ledger is cut, rows add up to it; idle time that is divided is divided without rest.
        #[test]
        fn every_cut_of_the_ledger_adds_up_to_it(
            lines in proptest::collection::vec(any::<(u64, u8, u8, u32, u32, u64)>(), 1..60),
            idle in any::<u64>(),
        ) {
            let entries: Vec<Entry> = lines.into_iter().map(entry).collect();
            let ledger: i128 = entries.iter().map(Entry::net).sum();
            let pool = PoolEntry {
                resource: Resource::Cpu,
                capacity: u128::from(idle),
                granted: 0,
                idle: u128::from(idle),
                planned: 0,
                down: 0,
                rate: 1_234_567,
            };
            let periods: Vec<Period> = entries
                .chunks(7)
                .zip(1_u64..)
                .map(|(entries, seq)| Period {
                    seq,
                    from: Timestamp(seq * 40_000_000),
                    to: Timestamp(seq * 40_000_000 + 3_600_000),
                    currency: "EUR".to_owned(),
                    entries: entries.to_vec(),
                    pool: vec![pool.clone()],
                })
                .collect();
            for by in [BillBy::Queue, BillBy::User, BillBy::Job, BillBy::Class, BillBy::Resource, BillBy::Day, BillBy::Month] {
                let mut bill = Bill::new(by);
                periods.iter().for_each(|period| bill.add(period));
                let (rows, total) = bill.rows(true);
                prop_assert_eq!(rows.iter().map(|row| i128::from(row.net_micros)).sum::<i128>(), ledger);
                prop_assert_eq!(i128::from(total.net_micros), ledger);
                for row in rows.iter().chain([&total]) {
                    let of_resources: u64 = row.amounts.iter().map(|amount| amount.charge_micros).sum();
                    prop_assert_eq!(of_resources, row.charge_micros);
                    prop_assert!(row.waste_micros + row.charge_spare_micros <= row.charge_micros);
                    for amount in &row.amounts {
                        prop_assert_eq!(amount.granted_micro_hours, amount.used_micro_hours + amount.waste_micro_hours);
                    }
                }
                if total.charge_micros > 0 {
                    let parts: u128 = rows.iter().filter_map(|row| row.idle_micros).map(u128::from).sum();
                    prop_assert_eq!(parts, u128::from(total.idle_micros.unwrap()));
                }
            }
        }
    }
}
