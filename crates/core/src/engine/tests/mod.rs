//! Behaviour of the engine: scenarios per edge of the life of gangs and nodes, properties, faults.

mod blame;
mod faults;
mod lend;
mod life;
mod money;
mod nodes;
mod partitions;
mod property;
mod resize;
