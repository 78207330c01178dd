//! Made-up workloads that behave like a real one: a [`Model`] is fitted to a workload, and workloads of any length and
//! load are generated from it and a seed.
//!
//! What is modelled, and how:
//! - *arrivals*: sessions (one user submits jobs of one kind, one after the other) start as a Poisson process whose rate is
//!   that of the hour of the week times a level; the level is a gamma variate that keeps its rank from hour to hour with
//!   some probability (a Markov-modulated process; counts of an hour are then negative binomial).
//! - *sizes*: the empirical mix of kinds (tasks, shapes, class, priority) of each queue.
//! - *durations*: quantiles of each kind, so size and duration stay correlated; jobs of one session keep the
//!   rank of the one before with the probability that the trace shows.
//! - *limits and endings*: by how long jobs run, in ten classes of equal size; limits are values that users wrote.
//! - *users*: Zipf's law in each queue, its exponent fitted by maximum likelihood.
//!
//! Dependencies, predictions, elastic sizes' use and the course of a user's habits over weeks are not modelled.
//! A model holds quantiles and counts, no rows; names of users are never kept, names of queues are.

mod arrivals;
mod fit;
mod generate;
mod goodness;
mod model;
mod quantiles;

pub use fit::fit;
pub use generate::{Options, as_read, cluster, generate};
pub use goodness::{Goodness, compare, split};
pub use model::{Arrivals, ByDuration, Durations, Kind, Model, QueueModel, Sessions};
pub use quantiles::Quantiles;
