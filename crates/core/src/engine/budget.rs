//! Prices and budgets in the engine: who waits for money, and who is ended for want of it.

use super::change::{Handled, Out, What};
use super::job::{End, Gang, Phase, Then};
use super::refusal::Refusal;
use super::{Engine, Timer};
use crate::ids::{GangId, QueuePath};
use crate::money::{Budget, BudgetStop, Finding, PriceSpec, Spent};

impl Engine {
    /// What keeps a queue's jobs waiting for money.
    pub(super) fn out_of_budget(&self, queue: &QueuePath) -> Option<Spent> {
        self.meter.ledger().budgets().blocks(queue).map(Spent::to_owned)
    }

    pub(super) fn set_prices(
        &mut self,
        currency: Option<String>,
        prices: Vec<PriceSpec>,
        out: &mut Out,
    ) -> Handled<()> {
        self.meter.set_prices(self.now, currency, prices).map_err(Refusal::BadPrice)?;
        self.look_at_budgets(out);
        Ok(())
    }

    pub(super) fn end_price(&mut self, id: u64, out: &mut Out) -> Handled<()> {
        self.meter.end_price(self.now, id).map_err(Refusal::BadPrice)?;
        self.look_at_budgets(out);
        Ok(())
    }

    pub(super) fn set_budget(&mut self, budget: Budget, out: &mut Out) -> Handled<()> {
        if self.rows.queue_ord(&budget.queue).is_none() {
            return Err(Refusal::UnknownQueue(budget.queue));
        }
        self.meter.ledger_mut().budgets_mut().set(budget).map_err(Refusal::BadBudget)?;
        self.look_at_budgets(out);
        Ok(())
    }

    pub(super) fn remove_budget(&mut self, queue: &QueuePath, out: &mut Out) -> Handled<()> {
        let waited = self.meter.ledger_mut().budgets_mut().remove(queue).map_err(Refusal::BadBudget)?;
        if waited {
            self.settle_below(queue, "its budget was taken away", out);
        }
        Ok(())
    }

    /// Looks at every budget now, and again after a while.
    pub(super) fn look_at_budgets(&mut self, out: &mut Out) {
        if self.meter.ledger().budgets().all().next().is_none() {
            self.timers.cancel(Timer::Budgets);
            return;
        }
        self.timers.set(Timer::Budgets, self.now.after(self.settings.budget_every));
        let open = self.meter.open_spending(self.now);
        let currency = self.meter.ledger().sheet().currency().to_owned();
        let findings = self.meter.ledger_mut().budgets_mut().look(self.now, &currency, &open);
        for finding in findings {
            match finding {
                Finding::Alert(budget, percent, spent) => {
                    self.note(out, What::Budget { queue: budget.queue, percent }, spent.amounts());
                }
                Finding::Over(budget, spent) => self.out_of_money(&budget, &spent, out),
                Finding::Room(budget) => {
                    let queue = QueuePath::from(budget.queue.as_str());
                    self.note(out, What::OutOfBudget { queue, over: false }, "");
                    self.settle_below(&budget.queue, "its budget has room again", out);
                }
            }
        }
    }

    fn out_of_money(&mut self, budget: &Budget, spent: &Spent, out: &mut Out) {
        let queue = QueuePath::from(budget.queue.as_str());
        self.note(out, What::OutOfBudget { queue, over: true }, spent.amounts());
        self.settle_below(&budget.queue, "its budget is spent", out);
        if budget.stop != BudgetStop::End {
            return;
        }
        for id in self.gangs_below(&budget.queue, |gang| gang.live().is_some()) {
            self.end_gang(id, Then::Finish(End::OutOfBudget(Box::new(spent.to_owned()))), out);
        }
    }

    /// Those that wait in a queue and below it are held or let go.
    fn settle_below(&mut self, queue: &QueuePath, reason: &'static str, out: &mut Out) {
        for id in self.gangs_below(queue, |gang| matches!(gang.phase, Phase::Held(_) | Phase::Pending)) {
            self.settle(id, reason, out);
        }
    }

    fn gangs_below(&self, queue: &QueuePath, wanted: impl Fn(&Gang) -> bool) -> Vec<GangId> {
        let jobs = self.jobs.values().filter(|job| job.spec.queue.is_within(queue));
        jobs.flat_map(|job| &job.gangs).filter(|gang| wanted(gang)).map(|gang| gang.id).collect()
    }
}
