//! Nodes of 8 GPUs and the reference placement "consolidate".

/// GPUs on each node of the reference simulator.
pub(super) const GPUS_PER_NODE: u32 = 8;

/// Free GPUs by node.
pub(super) struct Cluster {
    free: Vec<u32>,
}

/// GPUs taken from nodes.
pub(super) type Place = Vec<(usize, u32)>;

impl Cluster {
    pub(super) fn new(nodes: u32) -> Self {
        Self { free: vec![GPUS_PER_NODE; nodes as usize] }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.free.len() as u64 * u64::from(GPUS_PER_NODE)
    }

    /// Up to 8 GPUs: the feasible node with the fewest free, lowest first. More: whole free nodes, and for the
    /// rest the next node in order of descending free GPUs.
    pub(super) fn place(&mut self, gpus: u32) -> Option<Place> {
        let place = if gpus <= GPUS_PER_NODE { self.tightest(gpus)? } else { self.spread(gpus)? };
        for &(node, count) in &place {
            self.free[node] -= count;
        }
        Some(place)
    }

    pub(super) fn release(&mut self, place: &Place) {
        for &(node, count) in place {
            self.free[node] += count;
        }
    }

    fn tightest(&self, gpus: u32) -> Option<Place> {
        let fits = self.free.iter().enumerate().filter(|&(_, &free)| free >= gpus);
        fits.min_by_key(|&(node, &free)| (free, node)).map(|(node, _)| vec![(node, gpus)])
    }

    fn spread(&self, gpus: u32) -> Option<Place> {
        let (full, rest) = ((gpus / GPUS_PER_NODE) as usize, gpus % GPUS_PER_NODE);
        let mut order: Vec<usize> = (0..self.free.len()).collect();
        order.sort_by_key(|&node| std::cmp::Reverse(self.free[node]));
        let whole = order.get(..full)?;
        if whole.iter().any(|&node| self.free[node] < GPUS_PER_NODE) {
            return None;
        }
        let mut place: Place = whole.iter().map(|&node| (node, GPUS_PER_NODE)).collect();
        if rest > 0 {
            let &next = order.get(full)?;
            if self.free[next] < rest {
                return None;
            }
            place.push((next, rest));
        }
        Some(place)
    }
}
