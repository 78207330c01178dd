//! Who pays for what: `critical` the larger of granted and used, `standard` what was granted and its burst at the
//! `spare` rate, `spare` what it used. Paused, pending, starting: nothing. Work lost by the pool's doing is a credit.

use super::Kinds;
use crate::by_job::ByJob;
use crate::ids::{JobId, QueuePath, UserName};
use crate::model::{Class, DeviceKind};
use crate::money::{Account, Books, Ledger, Payer, Standing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Amounts of one dimension, in unit × milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// At the rate of the job's class.
    pub base: u128,
    /// At the rate of `spare`.
    pub spare: u128,
}

impl Amount {
    const fn plus(self, other: Self) -> Self {
        Self { base: self.base.saturating_add(other.base), spare: self.spare.saturating_add(other.spare) }
    }

    pub(super) const fn add(&mut self, other: Self) {
        *self = self.plus(other);
    }
}

/// What is billed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// Thousandths of a core × milliseconds.
    pub cpu: Amount,
    /// Bytes × milliseconds.
    pub memory: Amount,
    /// Bytes × milliseconds.
    pub disk: Amount,
    /// Thousandths of a device × milliseconds.
    pub devices: Kinds,
}

impl Bill {
    /// Whether nothing is on it.
    pub(super) fn is_nothing(&self) -> bool {
        let amounts = [self.cpu, self.memory, self.disk];
        self.devices.is_empty() && amounts.iter().all(|amount| *amount == Amount::default())
    }

    /// Adds another bill to this one.
    pub fn add(&mut self, other: &Self) {
        self.cpu.add(other.cpu);
        self.memory.add(other.memory);
        self.disk.add(other.disk);
        for (kind, amount) in other.devices.iter() {
            self.devices.add(kind, amount);
        }
    }
}

/// What one user has used in one queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The queue.
    pub queue: QueuePath,
    /// The user.
    pub user: UserName,
    /// The class.
    pub class: Class,
    /// What is charged.
    pub charged: Bill,
    /// Of that, what is given back because the pool lost the work.
    pub credited: Bill,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct JobBill {
    owner: usize,
    charged: Bill,
    credited: Bill,
    /// What it owes by the ledger.
    #[serde(default)]
    account: Account,
}

/// All bills.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bills {
    jobs: ByJob<Box<JobBill>>,
    owners: Vec<Owner>,
    index: BTreeMap<QueuePath, BTreeMap<UserName, [Option<usize>; 3]>>,
}

const fn class_at(class: Class) -> usize {
    match class {
        Class::Spare => 0,
        Class::Standard => 1,
        Class::Critical => 2,
    }
}

impl Bills {
    pub(super) fn open(&mut self, job: JobId, class: Class, queue: &QueuePath, user: &UserName) {
        if self.jobs.contains_key(&job) {
            return;
        }
        let known = self.index.get(queue).and_then(|users| users.get(user)?[class_at(class)]);
        let owner = known.unwrap_or_else(|| self.add_owner(class, queue, user));
        let bill = JobBill { owner, ..JobBill::default() };
        self.jobs.insert(job, Box::new(bill));
    }

    fn add_owner(&mut self, class: Class, queue: &QueuePath, user: &UserName) -> usize {
        let users = self.index.entry(QueuePath::from(queue.as_str())).or_default();
        let owner = self.owners.len();
        users.entry(UserName::from(user.as_str())).or_default()[class_at(class)] = Some(owner);
        self.owners.push(Owner {
            queue: QueuePath::from(queue.as_str()),
            user: UserName::from(user.as_str()),
            class,
            charged: Bill::default(),
            credited: Bill::default(),
        });
        owner
    }

    pub(super) fn charge(&mut self, job: JobId, billed: &Bill) {
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        entry.charged.add(billed);
        if let Some(owner) = self.owners.get_mut(entry.owner) {
            owner.charged.add(billed);
        }
    }

    pub(super) fn book(
        &mut self,
        ledger: &Ledger,
        job: JobId,
        books: &mut Books,
        cost: &mut BTreeMap<u32, u128>,
    ) {
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        let class = self.owners.get(entry.owner).map_or(Class::Standard, |owner| owner.class);
        ledger.book(&mut entry.account, class, books, cost);
    }

    /// `lost`: what the attempt was billed, and what that cost by the ledger's prices.
    pub(super) fn credit(&mut self, job: JobId, lost: &Bill, cost: &BTreeMap<u32, u128>) {
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        entry.credited.add(lost);
        entry.account.credit(cost);
        if let Some(owner) = self.owners.get_mut(entry.owner) {
            owner.credited.add(lost);
        }
    }

    pub(super) fn forget(&mut self, job: JobId) {
        if self.jobs.get_mut(&job).is_none_or(|entry| entry.account.leave()) {
            self.jobs.remove(&job);
        }
    }

    pub(super) fn accounts_mut(&mut self) -> impl Iterator<Item = (Payer<'_>, &mut Account)> {
        let owners = &self.owners;
        self.jobs
            .iter_mut()
            .filter_map(|(job, entry)| Some((payer(job, owners.get(entry.owner)?), &mut entry.account)))
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = (Payer<'_>, &Account)> {
        self.jobs
            .iter()
            .filter_map(|(job, entry)| Some((payer(job, self.owners.get(entry.owner)?), &entry.account)))
    }

    /// Accounts of forgotten jobs that are closed.
    pub(super) fn drop_accounts(&mut self, jobs: &[JobId]) {
        for job in jobs {
            self.jobs.remove(job);
        }
    }

    pub(super) fn standing(&self, ledger: &Ledger, job: JobId) -> Option<Standing> {
        let entry = self.jobs.get(&job)?;
        Some(ledger.standing(&entry.account, self.owners.get(entry.owner)?.class))
    }

    pub(super) fn of_job(&self, job: JobId) -> Option<&Bill> {
        self.jobs.get(&job).map(|entry| &entry.charged)
    }

    pub(super) fn credit_of(&self, job: JobId) -> Option<&Bill> {
        self.jobs.get(&job).map(|entry| &entry.credited)
    }

    pub(super) fn owners(&self) -> &[Owner] {
        &self.owners
    }
}

const fn payer(job: JobId, owner: &Owner) -> Payer<'_> {
    Payer { job, queue: &owner.queue, user: &owner.user, class: owner.class }
}

/// One dimension over one span.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    pub granted: u128,
    pub used: u128,
    pub burst: u128,
}

pub(super) fn amount(class: Class, split: Split) -> Amount {
    match class {
        Class::Critical => Amount { base: split.granted.saturating_add(split.burst), spare: 0 },
        Class::Standard => Amount { base: split.granted, spare: split.burst },
        Class::Spare => Amount { base: 0, spare: split.used },
    }
}

/// CPU that was granted: known before it is known how much of it was used.
pub(super) fn granted_cpu(bill: &mut Bill, class: Class, paused: bool, granted: u128) {
    if !paused {
        bill.cpu.add(amount(class, Split { granted, used: 0, burst: 0 }));
    }
}

/// CPU beyond what was granted; all of it for `spare`.
pub(super) fn burst_cpu(bill: &mut Bill, class: Class, burst: u128) {
    bill.cpu.add(amount(class, Split { granted: 0, used: burst, burst }));
}

/// Memory or disk over one span.
pub(super) fn measured(bill: &mut Bill, class: Class, paused: bool, memory: bool, split: Split) {
    if !paused {
        let target = if memory { &mut bill.memory } else { &mut bill.disk };
        target.add(amount(class, split));
    }
}

/// A device over one span.
pub(super) fn device(bill: &mut Bill, class: Class, paused: bool, kind: DeviceKind, split: Split) {
    if !paused && split.granted > 0 {
        bill.devices.add(kind, amount(class, split));
    }
}

/// A measured share that was granted: known before it is known how much of it was used.
pub(super) fn granted_device(bill: &mut Bill, class: Class, paused: bool, kind: DeviceKind, granted: u128) {
    if !paused && granted > 0 && class != Class::Spare {
        let split = Split { granted, used: 0, burst: 0 };
        bill.devices.add(kind, amount(class, split));
    }
}

/// What was used of a measured share beyond what was granted; all of it for `spare`. Gives back how much that is.
pub(super) fn used_device(
    bill: &mut Bill,
    class: Class,
    kind: DeviceKind,
    granted: u128,
    used: u128,
) -> u128 {
    let beyond = if class == Class::Spare { used } else { used.saturating_sub(granted) };
    if beyond > 0 {
        let split = Split { granted: 0, used: beyond, burst: beyond };
        bill.devices.add(kind, amount(class, split));
    }
    beyond
}

/// Maps whose keys are not text, as lists of pairs: JSON has no other way.
pub(crate) mod pairs {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    /// Writes the map as a list.
    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    /// Reads the map from a list.
    pub fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let pairs: Vec<(K, V)> = Vec::deserialize(deserializer)?;
        Ok(pairs.into_iter().collect())
    }
}
