//! The packing experiment of Weng et al. ("Beware of Fragmentation: Scheduling GPU-Sharing Workloads with
//! Fragmentation Gradient Descent", ATC 2023): pods arrive once each, in a random order, and never leave.
//!
//! How much of the GPUs is granted when more has been asked for than there is? Their figures are the yardstick
//! for ours, and are reproduced to the last digit when pods and nodes are taken in the published order. A pod that does not fit anywhere is dropped. Hard constraints (CPU, memory, model, GPU thousandths)
//! are the experiment's; a [`policy`] only scores what passed them, the best score wins.

mod cluster;
mod experiment;
mod fragment;
mod ours;
pub mod policy;
mod table;

pub use cluster::{Cluster, Demand, Node};
pub use experiment::{Outcome, Workload, run};
pub use fragment::TypicalPods;
pub use ours::{Moves, Translated, run_ours};
pub use policy::Policy;
pub use table::{Cell, Contest, Draws, FRACTIONS, Figure, MOVES, PUBLISHED_SEEDS, TOLERANCE, cells, contest};
