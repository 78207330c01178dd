//! What of the machine a program sees through CUDA: `CUDA_VISIBLE_DEVICES`, as NVIDIA's manuals have it.
//!
//! A list of numbers, of beginnings of `GPU-...` and of `MIG-...`; it ends before the first that means nothing. Of instances
//! a program sees one. Without the variable it sees all whole devices, and where there is none the first instance.

use crate::device::{Device, Mapped};
use crate::{api, mig, nvml};
use std::sync::atomic::Ordering::Acquire;

/// What tells a device from others.
#[derive(Clone)]
pub struct Identity {
    pub uuid: [u8; 16],
    /// Its number on the machine; an instance's is that of its device.
    pub number: usize,
    pub name: String,
    instance: bool,
}

type Seen = (&'static Device, Identity);

fn whole(machine: Mapped, number: usize) -> Option<Seen> {
    let name = mig::name(machine.get(), number + 1);
    let identity = Identity { uuid: api::uuid(number), number, name, instance: false };
    (!mig::is_cut(machine.get(), number)).then(|| (&machine.get().devices[number], identity))
}

fn instances(machine: Mapped, number: usize) -> impl Iterator<Item = Seen> {
    mig::ready(machine.get(), number)
        .map(move |(device, uuid, name)| (device, Identity { uuid, number, name, instance: true }))
}

/// The devices that a program of this environment sees, in their order.
pub fn visible(machine: Mapped) -> Vec<Seen> {
    let count = machine.count.load(Acquire) as usize;
    let every = |number| instances(machine, number);
    let Ok(asked) = std::env::var("CUDA_VISIBLE_DEVICES") else {
        let all: Vec<Seen> = (0..count).filter_map(|number| whole(machine, number)).collect();
        return if all.is_empty() { (0..count).flat_map(every).take(1).collect() } else { all };
    };
    let find = |word: &str| -> Option<Seen> {
        if word.starts_with("MIG-") {
            return (0..count).flat_map(every).find(|(_, seen)| nvml::uuid_text("MIG", seen.uuid) == word);
        }
        let is = |number: &usize| {
            let uuid = nvml::uuid_text("GPU", api::uuid(*number));
            word.parse() == Ok(*number) || word.len() > 4 && uuid.starts_with(word)
        };
        let number = (0..count).find(is)?;
        whole(machine, number).or_else(|| every(number).next())
    };
    let mut all: Vec<Seen> = asked.split(',').map_while(|word| find(word.trim())).collect();
    if let Some(first) = all.iter().position(|(_, seen)| seen.instance) {
        all = vec![all.swap_remove(first)];
    }
    all
}
