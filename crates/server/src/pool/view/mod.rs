//! From engine state to what the API shows.

pub mod job;
pub mod machine;
pub mod near;
pub mod past;
pub mod words;

use crate::api::types::{Amounts, GrantView};
use pond_core::event::DeviceGrant;
use pond_core::model::{Device, Resources};

/// Amounts as the API writes them.
#[must_use]
pub const fn amounts(resources: Resources) -> Amounts {
    Amounts { cpu_milli: resources.cpu.0, memory_bytes: resources.memory.0, disk_bytes: resources.disk.0 }
}

/// A grant as the API writes it.
#[must_use]
pub const fn grant(grant: &DeviceGrant) -> GrantView {
    GrantView {
        device: grant.device,
        compute_thousandths: grant.compute.0,
        memory_bytes: grant.memory.0,
        mode: None,
        partition: None,
        use_now: None,
    }
}

/// The part of a device that a grant names: `3g.40gb@4`.
#[must_use]
pub fn partition(spec: &Device, grant: &DeviceGrant) -> Option<String> {
    let (part, layout) = grant.part.zip(spec.traits.layout.as_deref())?;
    layout.profile_of(part).map(|profile| format!("{}@{}", profile.name, part.start))
}

/// The word that serde writes for a value without fields: `gpu`, `exclusive`.
#[must_use]
pub fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
