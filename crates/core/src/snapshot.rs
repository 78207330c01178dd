//! The planner's view of the pool: dense rows that the engine keeps up to date, borrowed immutably while planning.
//!
//! Rows refer to each other by ordinal (place in a vector). An ordinal stays valid while the
//! thing lives; a vacated gang row is reused, so hold a [`GangId`] across plans, never a [`GangOrd`].
//! The engine is the only writer; [`Snapshot::touched`] tells an incremental planner what changed.

use crate::by_name::ByName;
use crate::event::{DeviceGrant, Grants};
use crate::ids::{GangId, Generation, NodeName, UserName};
use crate::mix::Mix;
use crate::model::speed::{done_in, takes};
use crate::model::{Class, Device, GangSize, QueueSpec, Resources, Shape, ShareMode, Speed};
use crate::partition::Occupied;
use crate::units::{Bytes, MilliCpu, Millis, Thousandths, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Place of a node in [`Snapshot::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct NodeOrd(pub u32);
/// Place of a gang in [`Snapshot::gangs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct GangOrd(pub u32);
/// Place of a queue in [`Snapshot::queues`]; the root is 0 and every parent stands before its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct QueueOrd(pub u32);
/// Place of a list of alternatives in [`Snapshot::demands`]. Gangs that ask for the same share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct DemandOrd(pub u32);

/// Whether a node takes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Takes tasks.
    Ready,
    /// Keeps its tasks, takes none.
    Draining,
    /// Its lease has run out; keeps its tasks for now, takes none.
    Suspect,
    /// Gone; has no tasks.
    Lost,
}

/// One device of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// As the node described it.
    pub spec: Device,
    /// Whether it may be granted.
    pub healthy: bool,
    /// Compute not granted.
    pub free_compute: Thousandths,
    /// Memory not granted.
    pub free_memory: Bytes,
    /// How its present tasks share it; `None` when it has no task.
    pub mode: Option<ShareMode>,
    /// Parts of its hardware that are granted.
    pub parts: Occupied,
}

impl DeviceRow {
    /// A device that nobody uses.
    #[must_use]
    pub const fn new(spec: Device) -> Self {
        let free_memory = spec.memory;
        let free_compute = Thousandths::WHOLE;
        Self { spec, healthy: true, free_compute, free_memory, mode: None, parts: Occupied::NOTHING }
    }

    /// Whether nothing of it is granted.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.free_compute == Thousandths::WHOLE && self.free_memory == self.spec.memory
    }

    /// Takes a grant, or gives it back.
    pub fn shift(&mut self, grant: &DeviceGrant, mode: ShareMode, take: bool) {
        let part = grant.part.zip(self.spec.traits.layout.as_deref());
        if take {
            self.mode = Some(mode);
            self.free_compute = self.free_compute.minus(grant.compute);
            self.free_memory = self.free_memory.minus(grant.memory);
            self.parts = part.map_or(self.parts, |(part, layout)| layout.with(self.parts, part));
            return;
        }
        self.free_compute = self.free_compute.plus(grant.compute);
        self.free_memory = self.free_memory.plus(grant.memory);
        self.parts = part.map_or(self.parts, |(part, layout)| layout.without(self.parts, part));
        if self.is_whole() {
            self.mode = None;
        }
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub name: NodeName,
    /// Whether it takes tasks.
    pub state: NodeState,
    /// What it may give out.
    pub capacity: Resources,
    /// Guaranteed to `standard` and `critical` tasks.
    pub granted: Resources,
    /// Asked by `spare` tasks placed here and not frozen. Their memory and disk are real and counted in `granted` too; their CPU only here.
    pub spare_cpu: MilliCpu,
    /// CPU that `standard` and `critical` tasks really use: 95th percentile of recent samples, summed; a task without samples counts with its whole grant.
    pub busy_p95: MilliCpu,
    /// The same, at the last sample.
    pub busy_now: MilliCpu,
    /// Its devices.
    pub devices: Vec<DeviceRow>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Gangs with a task here, ascending, no doubles.
    pub gangs: Vec<GangOrd>,
}

/// One queue of the tree, with what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    /// As the administrator set it.
    pub spec: QueueSpec,
    /// The queue above; `None` for the root.
    pub parent: Option<QueueOrd>,
    /// Granted to gangs of this queue and of all below it.
    pub used: Usage,
    /// Decayed history of use: dominant share in millionths × seconds, half-life in [`Settings::half_life`].
    pub history: u64,
}

/// Amounts of everything that is shared fairly, of gangs of every class, frozen or not, until their place is free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU, memory, disk.
    pub resources: Resources,
    /// Thousandths of a device per kind: max(compute, memory fraction) per grant.
    pub devices: BTreeMap<crate::model::DeviceKind, u64>,
    /// Gangs that hold an allocation.
    pub running: u64,
}

impl Usage {
    /// Whether it is nothing of anything; gangs that hold nothing are not looked at.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.resources == Resources::ZERO && self.devices.values().all(|amount| *amount == 0)
    }
}

/// Where one task of a placed gang is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its rank.
    pub rank: u32,
    /// The node.
    pub node: NodeOrd,
    /// Guaranteed now.
    pub request: Resources,
    /// Devices.
    pub devices: Grants,
    /// CPU used lately (95th percentile), for `spare` tasks.
    pub busy_p95: MilliCpu,
    /// Its CPU limit now, smaller than asked while squeezed.
    pub cpu_limit: MilliCpu,
}

/// Why a gang is not offered to the planner.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// A user paused it.
    Paused,
    /// It waits for other jobs.
    Dependency(Vec<crate::ids::JobId>),
    /// Its array runs as many elements as it may.
    ArrayLimit(u32),
    /// It waits before its next attempt.
    Backoff(Timestamp),
    /// A budget is spent.
    Budget(Box<crate::money::Spent>),
}

/// Where a gang stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GangPhase {
    /// Wants a place and may not have one yet.
    Held(Held),
    /// Wants a place.
    Pending,
    /// Has one.
    Placed(PlacedGang),
}

/// What a gang has had of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attained {
    /// What it held, over all attempts: thousandths of a device × milliseconds. A gang without devices counts the
    /// thousandths of a core that it was guaranteed instead.
    pub service: u64,
    /// What it did, over the attempts whose work it still has, those that ended with a save: milliseconds at full speed.
    pub done: Millis,
}

/// A gang that has a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedGang {
    /// Under which generation.
    pub generation: Generation,
    /// Which alternative of its demand.
    pub alternative: u32,
    /// Since when.
    pub since: Timestamp,
    /// Work is lost back to here when it is evicted: the last checkpoint, or the start.
    pub saved: Timestamp,
    /// Since when what it holds is not yet in [`GangRow::attained`]: its start, or the last change of its ranks.
    pub metered: Timestamp,
    /// What it did in this attempt up to then, in milliseconds at full speed.
    pub worked: Millis,
    /// How fast it works where it is, in thousandths of full speed.
    pub speed: u64,
    /// Where it expects to end: its time limit or its prediction, whichever is earlier.
    pub expected_end: Option<Timestamp>,
    /// Its ranks.
    pub tasks: Vec<Placed>,
    /// Frozen by the pool, to give its CPU back.
    pub frozen: Option<Timestamp>,
    /// Frozen by a user.
    pub paused: bool,
    /// It is being ended; its place is free soon.
    pub stopping: bool,
    /// Of those, evicted on behalf of this gang.
    pub evicted_for: Option<GangId>,
    /// Its highest ranks are being ended; their place is free soon. Until then they are still in `tasks`.
    pub shrinking: Option<Shrinking>,
}

impl PlacedGang {
    /// What it did in this attempt up to `now`, in milliseconds at full speed.
    #[must_use]
    pub fn done(&self, now: Timestamp) -> Millis {
        self.worked.plus(done_in(now.since(self.metered.max(self.saved)), self.speed))
    }

    /// When it will have done that much in this attempt, in milliseconds at full speed.
    #[must_use]
    pub fn done_at(&self, work: Millis) -> Timestamp {
        self.metered.max(self.saved).after(takes(work.minus(self.worked), self.speed))
    }
}

/// A gang on its way to fewer ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shrinking {
    /// Ranks from this one up are being ended.
    pub to: u32,
    /// On whose behalf.
    pub beneficiary: Option<GangId>,
}

/// One gang that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GangRow {
    /// Its id.
    pub id: GangId,
    /// Where it is charged.
    pub queue: QueueOrd,
    /// Who submitted it.
    pub user: UserName,
    /// Promise.
    pub class: Class,
    /// 0..=1000.
    pub priority: u16,
    /// What each task needs.
    pub demand: DemandOrd,
    /// How many tasks.
    pub size: GangSize,
    /// Its place in line: first submission, kept over retries and evictions.
    pub queued: Timestamp,
    /// How long it runs at most.
    pub time_limit: Option<Millis>,
    /// How long it is predicted to run at full speed, all attempts together.
    pub predicted: Option<Millis>,
    /// What it has had of the pool; of a placed gang up to [`PlacedGang::metered`], and what it did before this attempt.
    pub attained: Attained,
    /// Whether it saves its work when it is evicted.
    pub saves: bool,
    /// How its speed depends on its place; `None`: in proportion to its ranks.
    pub speed: Option<Arc<Speed>>,
    /// Whether it may be evicted.
    pub preemptible: bool,
    /// Once placed, it is not evicted for this long.
    pub min_runtime: Millis,
    /// Times it was evicted.
    pub evictions: u32,
    /// When it was last evicted.
    pub last_evicted: Option<Timestamp>,
    /// Nodes it failed on lately and should avoid when there is a choice.
    pub avoid: Vec<NodeOrd>,
    /// Where it stands.
    pub phase: GangPhase,
}

/// What changed since the last plan.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// The epoch at which this list was last cleared: a planner that has seen an older one rebuilds.
    pub since: u64,
    /// Everything: rows may have moved; rebuild.
    pub all: bool,
    /// Nodes whose row changed.
    pub nodes: Vec<NodeOrd>,
    /// Those of them of which more changed than who is there and what is free.
    pub reshaped: BTreeSet<NodeOrd>,
    /// Gangs whose row changed, appeared or was vacated.
    pub gangs: Vec<GangOrd>,
    /// Demands whose ordinal was given to other alternatives than before: what was kept of them is void.
    pub demands: Vec<DemandOrd>,
}

/// The planner's view of the pool.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts every change; two equal numbers are two equal snapshots of one engine.
    pub epoch: u64,
    /// Nodes by ordinal.
    pub nodes: Vec<NodeRow>,
    /// Queues by ordinal, root first.
    pub queues: Vec<QueueRow>,
    /// Alternatives by ordinal.
    pub demands: Vec<Vec<Shape>>,
    /// Gangs by ordinal; `None` where vacated.
    pub gangs: Vec<Option<GangRow>>,
    /// Where each node stands.
    pub node_ords: ByName<NodeOrd>,
    /// Where each gang stands.
    pub gang_ords: BTreeMap<GangId, GangOrd>,
    /// What is expected to come: the first alternative of what was submitted, once a task.
    pub mix: Mix<Shape>,
    /// Cleared by the engine after each plan it commits.
    pub touched: Touched,
}

impl Snapshot {
    /// The node at this ordinal.
    ///
    /// # Panics
    /// Never for ordinals that come from this snapshot.
    #[must_use]
    pub fn node(&self, ord: NodeOrd) -> &NodeRow {
        &self.nodes[ord.0 as usize]
    }
    /// The queue at this ordinal.
    ///
    /// # Panics
    /// Never for ordinals that come from this snapshot.
    #[must_use]
    pub fn queue(&self, ord: QueueOrd) -> &QueueRow {
        &self.queues[ord.0 as usize]
    }
    /// The alternatives at this ordinal.
    ///
    /// # Panics
    /// Never for ordinals that come from this snapshot.
    #[must_use]
    pub fn demand(&self, ord: DemandOrd) -> &[Shape] {
        &self.demands[ord.0 as usize]
    }
    /// Where the node of this name stands.
    #[must_use]
    pub fn node_ord(&self, name: &NodeName) -> Option<NodeOrd> {
        self.node_ords.get(name)
    }
    /// Where the gang stands, unless it is over.
    #[must_use]
    pub fn gang_ord(&self, gang: GangId) -> Option<GangOrd> {
        self.gang_ords.get(&gang).copied()
    }
    /// The gang at this ordinal, unless it is gone.
    #[must_use]
    pub fn gang(&self, ord: GangOrd) -> Option<&GangRow> {
        self.gangs.get(ord.0 as usize).and_then(Option::as_ref)
    }
}

/// How the pool is planned.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Half-life of the fair-share history, in milliseconds. Default one day.
    pub half_life: Millis,
    /// Who may pass a gang that is blocked. Default conservative.
    pub backfill: Backfill,
    /// Gangs at the head of the line that get a reservation which conservative backfill respects. Default 16.
    pub reservations: u32,
    /// A gang once evicted is not evicted again for this long, in milliseconds. Default two minutes.
    pub calm: Millis,
    /// CPU kept back on each node from what is lent to `spare`, in thousandths of its capacity. Default 50.
    pub lend_margin: u64,
    /// How long a `spare` task stays frozen before it is evicted, in milliseconds. Default 500.
    pub freeze_before_evict: Millis,
    /// A blocked gang that waited this long may have nodes drained for it even where nobody knows when
    /// what runs there ends, in milliseconds. Default five minutes.
    pub patience: Millis,
    /// Which placement policy.
    pub placement: PlacementPolicy,
    /// Where chance starts, for the placement policy that has any. Default 0.
    pub placement_seed: u64,
    /// Which queue is served next. Default fair share.
    pub queues: QueuePolicy,
    /// Which gang of it is tried first. Default first come, first served.
    pub order: OrderPolicy,
    /// Parameters of the order policies.
    pub ranking: Ranking,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            half_life: Millis(86_400_000),
            backfill: Backfill::Conservative,
            reservations: 16,
            calm: Millis(120_000),
            lend_margin: 50,
            freeze_before_evict: Millis(500),
            patience: Millis(300_000),
            placement: PlacementPolicy::Pack,
            placement_seed: 0,
            queues: QueuePolicy::FairShare,
            order: OrderPolicy::Fifo,
            ranking: Ranking::default(),
        }
    }
}

/// Scores nodes that passed every hard constraint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlacementPolicy {
    /// Fill the fullest node first.
    #[default]
    Pack,
    /// Fill the emptiest node first.
    Spread,
    /// Pack, and put a gang under the fewest switches, racks and zones, the tightest of them first.
    Topology,
    /// Any node that fits.
    Random,
    /// The least left over, CPU and devices alike.
    BestFit,
    /// The smallest product of what is asked for and what is left.
    DotProduct,
    /// Tasks that share devices together, those that do not together.
    GpuClustering,
    /// Shared devices, then free devices of used nodes, then idle nodes.
    GpuPacking,
    /// The steepest descent of fragmentation against the expected mix.
    Fgd,
    /// Our own: worth of gaps, then fragmentation, against the expected mix.
    Gaps,
}

impl PlacementPolicy {
    /// Every policy.
    pub const ALL: [Self; 10] = [
        Self::Pack,
        Self::Spread,
        Self::Topology,
        Self::Random,
        Self::BestFit,
        Self::DotProduct,
        Self::GpuClustering,
        Self::GpuPacking,
        Self::Fgd,
        Self::Gaps,
    ];
}

/// Chooses the queue that is served next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueuePolicy {
    /// Hierarchical dominant-resource fairness; the order policy decides inside each queue, and evicts inside it only.
    #[default]
    FairShare,
    /// All queues are one line; limits and guarantees hold all the same, so who asks for what its queue is guaranteed goes
    /// first.
    OneLine,
}

/// Who may pass a gang that is blocked, in its class and below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backfill {
    /// Nobody: the line stands still behind the first gang that would fit into the empty pool and has no room now.
    None,
    /// Who does not delay the first blocked gang (Lifka, JSSPP 1995).
    Easy,
    /// Who delays none of the first [`Settings::reservations`] blocked gangs (Mu'alem and Feitelson, IEEE TPDS 2001).
    #[default]
    Conservative,
    /// Everybody. Large gangs may starve.
    Greedy,
}

/// Orders the gangs of a queue, after class and priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderPolicy {
    /// First come, first served.
    #[default]
    Fifo,
    /// Shortest predicted run first.
    Sjf,
    /// Shortest predicted rest first, preemptive.
    Srtf,
    /// Least predicted run × devices first.
    Qssf,
    /// Fewest devices first.
    Smallest,
    /// Two queues by attained service, preemptive.
    Tiresias,
    /// Geometric levels of attained service, preemptive.
    Las,
    /// Geometric levels of predicted rest × devices, preemptive.
    Srsf,
    /// Who takes longest for its length, waiting included, first; preemptive after a lease.
    Themis,
    /// Who got on least for its time in the pool, in its own speed, first; preemptive after a lease.
    Gavel,
    /// Fewest devices first, extra ranks where they speed up most.
    Goodput,
}

/// Parameters of the order policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ranking {
    /// How long a gang without prediction and time limit is taken to run, in milliseconds. Default one hour.
    pub unpredicted: Millis,
    /// Attained service at which Tiresias moves a gang to its second queue, in device-seconds. Default 18,000.
    pub tiresias_threshold: u64,
    /// Levels of attained and of remaining service grow by this factor, 2..=1024. Default 4.
    pub base: u64,
    /// A gang is evicted for one that stands so many levels before it, at least 1. Default 1.
    pub gap: u32,
    /// Under Themis and Gavel a gang keeps its place for so long, in milliseconds. Default 20 minutes.
    pub lease: Millis,
    /// How often ranks are taken that change while a gang waits, in milliseconds, at least 1. Default one minute.
    pub round: Millis,
}

impl Default for Ranking {
    fn default() -> Self {
        Self {
            unpredicted: Millis(3_600_000),
            tiresias_threshold: 18_000,
            base: 4,
            gap: 1,
            lease: Millis(1_200_000),
            round: Millis(60_000),
        }
    }
}

impl Settings {
    /// Gangs that get a reservation.
    #[must_use]
    pub const fn most_reservations(&self) -> u32 {
        match self.backfill {
            Backfill::None | Backfill::Greedy => 0,
            Backfill::Easy => 1,
            Backfill::Conservative => self.reservations,
        }
    }
}
