//! What gangs have had and done: counted when their ranks change and when they leave their place, from what they hold in between.

use super::Engine;
use super::job::{Live, Phase};
use crate::ids::GangId;
use crate::model::{JobSpec, Speed};
use crate::queue::Amounts;
use crate::snapshot::GangPhase;

impl Engine {
    /// Brings what a gang has attained up to now; before its ranks change.
    pub(super) fn bank(&mut self, id: GangId) {
        let now = self.now;
        let Some(rows) = self.gang(id).and_then(|gang| gang.rows) else { return };
        let worked = match self.rows.snapshot.gang(rows.gang).map(|row| &row.phase) {
            Some(GangPhase::Placed(placed)) => placed.done(now),
            _ => return,
        };
        let Some(gang) = self.gang_mut(id) else { return };
        let Phase::Placed(live) = &mut gang.phase else { return };
        let mut held = Amounts::ZERO;
        for task in &live.tasks {
            held.0[0] = held.0[0].saturating_add(task.limits.request.cpu.0);
            task.held.iter().for_each(|device| held.add_device(device.kind, device.share));
        }
        let span = now.since(live.metered.unwrap_or(live.placed));
        let service = held.rate().saturating_mul(span.0);
        gang.attained.service = gang.attained.service.saturating_add(service);
        if live.started.is_some() {
            live.worked = worked;
        }
        live.metered = Some(now);
    }

    /// How fast a gang works where it is, in thousandths: by the number of its ranks and the slowest of their devices.
    pub(super) fn speed(&self, live: &Live, spec: &JobSpec) -> u64 {
        let ranks = u32::try_from(live.tasks.len()).unwrap_or(u32::MAX);
        let models = live.tasks.iter().flat_map(|task| {
            let node = &self.nodes[task.node.0 as usize];
            let device = |at: u32| node.replaced.get(&at).or_else(|| node.spec.devices.get(at as usize));
            task.devices.iter().filter_map(move |grant| device(grant.device))
        });
        let models = models.map(|device| device.model.as_str());
        Speed::of(spec.speed.as_ref(), spec.size.min, ranks, models)
    }
}
