//! Money: what things cost by hand, and that it never drifts, whatever happens.

use super::property::{Step, broken, history_of};
use crate::engine::{End, Engine, Settings, State, What};
use crate::event::{Actor, Event, Request, Target};
use crate::ids::{JobId, QueuePath, UserName};
use crate::model::{Class, DeviceKind, QueueSpec, Resources};
use crate::money::{Budget, BudgetStop, Entry, Period, PriceSpec, Priced, Resource, Span};
use crate::plan::HoldReason;
use crate::testkit::{Pool, cpus, one, secs};
use crate::units::{Bytes, MilliCpu, Millis, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A request about money, for histories of any events.
pub(super) fn request(engine: &Engine, what: u8, about: u8, how: u8) -> Request {
    let queue = QueuePath::from(["", "default", "q", "q/r"][usize::from(about % 4)]);
    match what {
        14 => {
            let model = how.is_multiple_of(3).then(|| "a100".to_owned());
            let of =
                [Priced::Cpu, Priced::Memory, Priced::Disk, Priced::Device { kind: DeviceKind::Gpu, model }];
            let later = engine.now().after(Millis(u64::from(how) * 60_000));
            let price = PriceSpec {
                of: of[usize::from(about % 4)].to_owned(),
                class: [None, Some(Class::Spare), Some(Class::Standard), Some(Class::Critical)]
                    [usize::from(how % 4)],
                micros: u64::from(how) * 7919 + u64::from(about),
                from: how.is_multiple_of(2).then_some(later),
                to: how.is_multiple_of(5).then(|| later.after(Millis(3_000_000))),
            };
            Request::SetPrices {
                currency: how.is_multiple_of(7).then(|| "EUR".to_owned()),
                prices: vec![price],
            }
        }
        15 => Request::EndPrice(u64::from(how % 8)),
        16 => Request::SetBudget(Budget {
            queue,
            limit: u64::from(how) * 1000,
            span: Span::ALL[usize::from(how % 4)],
            alerts: vec![50, 100],
            stop: [BudgetStop::Never, BudgetStop::Hold, BudgetStop::End][usize::from(about % 3)],
        }),
        _ => Request::RemoveBudget(queue),
    }
}

fn keeping() -> Settings {
    Settings { ledger: true, ..Settings::default() }
}

fn price(of: Priced, class: Option<Class>, micros: u64) -> Request {
    let spec = PriceSpec { of, class, micros, from: None, to: None };
    Request::SetPrices { currency: Some("EUR".to_owned()), prices: vec![spec] }
}

/// Everything booked: closed, and as if it ended now.
fn books(pool: &Pool) -> Vec<Period> {
    let meter = pool.engine.meter();
    let mut periods = meter.ledger().closed().to_vec();
    periods.extend(meter.open_periods(pool.world.now()));
    periods
}

fn charges(periods: &[Period], job: JobId, resource: &Resource) -> Vec<(u64, u64, u64)> {
    let entries = periods.iter().flat_map(|period| &period.entries);
    let of = entries.filter(|entry| entry.job == job && entry.resource == *resource);
    of.map(|entry| (entry.charge, entry.charge_spare, entry.credit)).collect()
}

#[test]
fn what_a_span_costs_goes_by_the_prices_of_its_time() {
    let hour = Millis::from_secs(3600);
    let pool = Pool::with(keeping(), 1).request(price(Priced::Cpu, None, 90)).run(secs(1));
    let now = pool.engine.now();
    let later = PriceSpec {
        of: Priced::Cpu,
        class: None,
        micros: 180,
        from: Some(now.after(hour.times(2))),
        to: Some(now.after(hour.times(4))),
    };
    let pool = pool.request(Request::SetPrices { currency: None, prices: vec![later] }).run(Millis(0));
    let sheet = pool.engine.meter().ledger().sheet();
    let cost = |cores, hours| sheet.over(&Resource::Cpu, cores, Class::Standard, (now, hour.times(hours)));
    assert_eq!((cost(1000, 2), cost(1000, 3), cost(500, 3)), (180, 360, 180));
    // What began last counts while it holds, and then again what was before.
    assert_eq!(cost(1000, 5), 2 * 90 + 2 * 180 + 90);
    assert_eq!(cost(1000, 0), 0);
}

#[test]
fn an_hour_costs_its_price() {
    // Two cores at 0.10 an hour from 00:00:00, for an hour and a half: the ledger has two lines.
    let pool = Pool::with(keeping(), 7)
        .node("n1", cpus(4))
        .request(price(Priced::Cpu, None, 100_000))
        .job("a", one().cpu(2).uses(500).runs(secs(5400)))
        .run(secs(7300));
    let periods = books(&pool);
    assert_eq!(charges(&periods, pool.id("a"), &Resource::Cpu), [(200_000, 0, 0), (100_000, 0, 0)]);
    let first = &periods[0];
    assert_eq!((first.from, first.to, first.currency.as_str()), (Timestamp(0), Timestamp(3_600_000), "EUR"));
    let cpu = first.entries.iter().find(|entry| entry.resource == Resource::Cpu).unwrap();
    // Half a core was used of two: 25 %, to the sample.
    assert_eq!((cpu.sums.used_within * 4, cpu.sums.waste * 4), (cpu.sums.granted, cpu.sums.granted * 3));
    assert_eq!(first.pool[0].idle, 2000 * 3_600_000);
    assert_eq!(first.pool[0].worth(first.pool[0].idle), 200_000);
    assert_eq!(pool.engine.meter().cost_of(pool.id("a")).unwrap().charged, 300_000);
}

#[test]
fn each_class_has_its_price_and_the_model_comes_first() {
    let pool = Pool::with(keeping(), 7)
        .node("n1", cpus(8))
        .request(price(Priced::Cpu, None, 100_000))
        .request(price(Priced::Cpu, Some(Class::Spare), 10_000))
        .request(price(Priced::Cpu, Some(Class::Critical), 300_000))
        .job("standard", one().cpu(1).uses(2000).runs(secs(3600)))
        .job("critical", one().cpu(1).class(Class::Critical).uses(2000).runs(secs(3600)))
        .job("spare", one().cpu(2).class(Class::Spare).uses(500).runs(secs(3600)))
        .run(secs(3700));
    let cost = |name: &str| pool.engine.meter().cost_of(pool.id(name)).unwrap().charged;
    // The last second of each falls after its last sample.
    assert_eq!(cost("standard"), 100_000 + 10_000 * 3599 / 3600);
    assert_eq!(cost("critical"), 300_000 + 300_000 * 3599 / 3600);
    assert_eq!(cost("spare"), 5000 * 3599 / 3600);
    let gpu = |model: Option<&str>| Priced::Device { kind: DeviceKind::Gpu, model: model.map(str::to_owned) };
    let pool =
        pool.request(price(gpu(Some("h100")), None, 5)).request(price(gpu(None), None, 3)).run(secs(1));
    let sheet = pool.engine.meter().ledger().sheet();
    let of = |model: &str| Resource::Device { kind: DeviceKind::Gpu, model: model.to_owned() };
    let rate = |model| sheet.rate(&of(model), Class::Standard, pool.engine.now());
    assert_eq!(
        (rate("NVIDIA H100 80GB HBM3"), rate("NVIDIA L4")),
        (5, 3),
        "the model goes before the newer one"
    );
}

#[test]
fn a_price_changes_what_comes_and_never_what_was() {
    let pool = Pool::with(keeping(), 7)
        .node("n1", cpus(1))
        .request(price(Priced::Cpu, None, 3_600_000))
        .job("a", one().runs(secs(3000)))
        .run(secs(1000))
        .request(price(Priced::Cpu, None, 7_200_000))
        .run(secs(3000));
    let got = charges(&books(&pool), pool.id("a"), &Resource::Cpu);
    assert_eq!(got.iter().map(|(charge, ..)| charge).sum::<u64>(), 1_000_000 + 2 * 2_000_000);
    let past = PriceSpec { of: Priced::Cpu, class: None, micros: 1, from: Some(Timestamp(10)), to: None };
    let pool = pool.request(Request::SetPrices { currency: None, prices: vec![past] }).run(secs(1));
    assert_eq!(
        pool.seen.refused.last().unwrap().to_string(),
        "a price cannot begin in the past; leave `from` out, or give a moment to come"
    );
}

#[test]
fn lost_work_is_given_back_to_the_micro_unit() {
    let pool = Pool::with(keeping(), 7)
        .node("n1", cpus(1))
        .request(price(Priced::Cpu, None, 1_234_567))
        .job("a", one().runs(secs(9000)))
        .run(secs(3000))
        .request(price(Priced::Cpu, None, 7_654_321))
        .run(secs(1000))
        .world(|world| world.kill_machine("n1"))
        .run(secs(200));
    assert_eq!(pool.state("a"), State::Pending);
    let cost = pool.engine.meter().cost_of(pool.id("a")).unwrap();
    assert!(cost.charged > 1_234_567 * 3000 / 3600, "{cost:?}");
    assert_eq!(cost.charged, cost.credited);
    let got = charges(&books(&pool), pool.id("a"), &Resource::Cpu);
    let sum = |part: fn(&(u64, u64, u64)) -> u64| got.iter().map(part).sum::<u64>();
    assert_eq!((sum(|line| line.0), sum(|line| line.2)), (cost.charged, cost.credited));
}

fn budget(queue: &str, limit: u64, stop: BudgetStop) -> Request {
    let queue = QueuePath::from(queue);
    Request::SetBudget(Budget { queue, limit, span: Span::Day, alerts: vec![50, 100], stop })
}

#[test]
fn a_spent_budget_holds_what_waits_and_lets_it_go_the_next_day() {
    let pool = Pool::with(keeping(), 7)
        .node("n1", cpus(4))
        .request(Request::SetQueue(Box::new(QueueSpec::new("lab"))))
        .request(price(Priced::Cpu, None, 3_600_000_000))
        .request(budget("lab", 60_000_000, BudgetStop::Hold))
        .job("a", one().queue("lab").runs(secs(100)))
        .run(secs(70))
        .job("b", one().queue("lab").runs(secs(10)))
        .job("c", one().runs(secs(10)))
        .run(secs(40));
    assert_eq!(pool.state("a"), State::Succeeded, "what runs goes on");
    assert_eq!((pool.state("b"), pool.state("c")), (State::Held, State::Succeeded));
    let Some(HoldReason::Budget(spent)) = pool.gang("b").hold.to_owned() else {
        panic!("{:?}", pool.gang("b"))
    };
    let words = (spent.spent, spent.limit, spent.until);
    assert_eq!(words, (70_000_000, 60_000_000, Timestamp(86_400_000)), "when it came");
    let alerts: Vec<(u16, Timestamp)> = pool
        .seen
        .changes
        .iter()
        .filter_map(|change| match &change.what {
            What::Budget { percent, .. } => Some((*percent, change.at)),
            _ => None,
        })
        .collect();
    let expected = [(50, Timestamp(30_000)), (100, Timestamp(60_000))];
    assert_eq!(alerts, expected, "each is told once");
    let pool = pool.run(secs(86_400));
    assert_eq!(pool.state("b"), State::Succeeded, "the next day has a budget of its own");
}

#[test]
fn a_hard_budget_ends_what_runs() {
    let pool = Pool::with(keeping(), 7)
        .node("n1", cpus(4))
        .request(price(Priced::Cpu, None, 3_600_000_000))
        .request(budget("", 20_000_000, BudgetStop::End))
        .job("a", one().runs(secs(1000)))
        .run(secs(60));
    assert_eq!(pool.state("a"), State::Stopped);
    assert!(matches!(pool.end("a"), Some(End::OutOfBudget(_))));
    let pool = pool.job("b", one().runs(secs(5))).run(secs(10));
    assert_eq!(pool.state("b"), State::Held);
    let pool = pool.request(budget("", 90_000_000, BudgetStop::End)).run(secs(20));
    assert_eq!(pool.state("b"), State::Succeeded, "the limit was raised");
}

/// Minutes between steps, so that hours go by; now and then years.
fn pause(step: &Step) -> Millis {
    match step.3 % 64 {
        0 => Millis::ZERO,
        1 => Millis(u64::from(step.3) * 9_000_000),
        _ => Millis(u64::from(step.3) * 23),
    }
}

/// Every closed period, and at the end those that are open, by number.
fn ledger_of(steps: &[Step]) -> (Engine, Vec<Period>) {
    let mut kept: BTreeMap<u64, Period> = BTreeMap::new();
    let settings = Settings { lease: Millis::ZERO, ..keeping() };
    let (engine, _) = history_of(steps, settings, pause, |engine, record, _| {
        let found = broken(engine);
        assert!(found.is_empty(), "after {record:?}: {:#?}", found.first());
        for period in engine.meter().ledger().closed() {
            let known = kept.entry(period.seq).or_insert_with(|| period.to_owned());
            assert_eq!(known, period, "what is closed stays");
        }
    });
    let open = engine.meter().open_periods(engine.now());
    kept.extend(open.into_iter().map(|period| (period.seq, period)));
    (engine, kept.into_values().collect())
}

fn net<'a, K: Ord>(entries: impl Iterator<Item = &'a Entry>, key: impl Fn(&Entry) -> K) -> BTreeMap<K, i128> {
    let mut bills = BTreeMap::new();
    for entry in entries {
        *bills.entry(key(entry)).or_default() += entry.net();
    }
    bills
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    /// Restarts, resizes, losses, price changes, clocks that jump: identities hold in every period, no period overlaps
    /// another, and every way of cutting the ledger into bills gives its sum.
    #[test]
    fn money_never_drifts(steps in proptest::collection::vec(any::<Step>(), 1..160)) {
        let (engine, periods) = ledger_of(&steps);
        for period in &periods {
            prop_assert!(period.check().is_empty(), "{:#?}", period.check());
            prop_assert!(period.from <= period.to);
        }
        for pair in periods.windows(2) {
            prop_assert!(pair[0].to <= pair[1].from, "{:?} {:?}", pair[0].to, pair[1].from);
        }
        let entries = || periods.iter().flat_map(|period| &period.entries);
        let total: i128 = entries().map(Entry::net).sum();
        let by_queue = net(entries(), |entry| entry.queue.to_owned());
        let by_user: BTreeMap<UserName, i128> = net(entries(), |entry| entry.user.to_owned());
        let by_job = net(entries(), |entry| entry.job);
        prop_assert_eq!(by_queue.values().sum::<i128>(), total);
        prop_assert_eq!(by_user.values().sum::<i128>(), total);
        prop_assert_eq!(by_job.values().sum::<i128>(), total);

        // Budgets count along a path of their own.
        let open = {
            let mut engine = engine.clone();
            let now = engine.now();
            engine.handle(now, &Actor::Pool, Event::Tick).unwrap();
            let mut meter = engine.meter().to_owned();
            meter.open_spending(now)
        };
        let root = QueuePath::from("");
        let spent = engine.meter().ledger().budgets().spent(&root, Span::Total, engine.now(), &open);
        prop_assert_eq!(i128::from(spent), total.max(0));

        // Price times quantity, rounded down once for each job and resource.
        let mut exact: BTreeMap<(JobId, &Resource), (u128, u64)> = BTreeMap::new();
        let mut owed: BTreeMap<JobId, (u64, u64)> = BTreeMap::new();
        for entry in entries() {
            let cost = entry.sums.base * u128::from(entry.rates.class) + entry.sums.spare * u128::from(entry.rates.spare);
            let (sum, charged) = exact.entry((entry.job, &entry.resource)).or_default();
            (*sum, *charged) = (*sum + cost, *charged + entry.charge);
            let (charge, credit) = owed.entry(entry.job).or_default();
            (*charge, *credit) = (*charge + entry.charge, *credit + entry.credit);
            prop_assert!(entry.charge_spare <= entry.charge);
        }
        for ((job, resource), (sum, charged)) in exact {
            prop_assert_eq!(u128::from(charged), sum / resource.unit_hour(), "{} {:?}", job, resource);
        }
        for (job, (charged, credited)) in owed {
            prop_assert!(credited <= charged, "{job}: {credited} given back of {charged}");
        }
    }

    /// What the ledger charges for is what the meter charged since the pool began.
    #[test]
    fn the_ledger_is_the_meters(steps in proptest::collection::vec(any::<Step>(), 1..160)) {
        let (engine, periods) = ledger_of(&steps);
        let mut meter = engine.meter().to_owned();
        meter.settle_all(engine.now());
        for job in engine.jobs() {
            let Some(bill) = meter.of_job(job.id) else { continue };
            let entries = periods.iter().flat_map(|period| &period.entries).filter(|entry| entry.job == job.id);
            let (mut cpu, mut memory, mut devices) = ((0, 0), (0, 0), (0, 0));
            for entry in entries {
                let sum = match entry.resource {
                    Resource::Cpu => &mut cpu,
                    Resource::Memory => &mut memory,
                    Resource::Disk => continue,
                    Resource::Device { .. } => &mut devices,
                };
                *sum = (sum.0 + entry.sums.base, sum.1 + entry.sums.spare);
            }
            prop_assert_eq!(cpu, (bill.cpu.base, bill.cpu.spare));
            prop_assert_eq!(memory, (bill.memory.base, bill.memory.spare));
            let sum = |part: fn(&crate::meter::Amount) -> u128| bill.devices.values().map(part).sum::<u128>();
            prop_assert_eq!(devices, (sum(|it| it.base), sum(|it| it.spare)));
        }
    }
}

#[test]
fn a_running_job_that_is_resized_pays_for_each_size() {
    let sized =
        |cores: u64| Resources { cpu: MilliCpu(cores * 1000), memory: Bytes(1 << 20), disk: Bytes(0) };
    let pool = Pool::with(keeping(), 7)
        .node("n1", cpus(4))
        .request(price(Priced::Cpu, None, 3_600_000_000))
        .job("a", one().cpu(1).runs(secs(300)))
        .run(secs(100));
    let target = Target::job(pool.id("a"));
    let pool = pool
        .request(Request::Resize { target, request: sized(3), burst: sized(3), devices: Vec::new() })
        .run(secs(400));
    let cost = pool.engine.meter().cost_of(pool.id("a")).unwrap();
    assert_eq!(cost.charged, 100_000_000 + 3 * 200_000_000);
}
