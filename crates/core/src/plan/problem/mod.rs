//! The problem the planner solves: the snapshot in dense numbers.

pub mod room;
pub mod shape;
