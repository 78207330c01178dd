//! Each verb as a person meets it: the command, what it prints, the code it ends with. Against a real pool.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod support;

use support::World;

#[test]
fn without_a_pool() {
    World::new().page("without-a-pool.txt");
}

#[test]
fn jobs() {
    World::with_pool().page("jobs.txt");
}

#[test]
fn inside() {
    World::with_pool().page("inside.txt");
}

#[test]
fn pool() {
    World::with_pool().page("pool.txt");
}

#[test]
fn slurm() {
    World::with_pool().page("slurm.txt");
}
