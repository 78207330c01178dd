//! Policies: they order gangs and score nodes that passed every hard constraint, and nothing else.

pub mod named;
pub mod order;
pub mod place;
