//! Shapes compiled for the solver: names become numbers, device requests become slots.

use crate::model::{Device, DeviceKind, DeviceRequest, Shape, ShareMode};
use crate::partition::Reach;
use crate::queue::{Amounts, device_share};
use crate::units::Bytes;
use std::sync::Arc;

/// One device that a task needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Sort of device.
    pub kind: DeviceKind,
    /// How it is divided.
    pub mode: ShareMode,
    /// Thousandths of its compute.
    pub compute: i64,
    /// Bytes of its memory; 0: in proportion to the compute.
    pub memory: i64,
    /// Least memory of the whole device.
    pub least_memory: u64,
    /// Which models will do, by interned model number.
    pub models: Vec<bool>,
    /// Of a partition: the profile that answers, by interned model number.
    pub profiles: Vec<Option<u8>>,
    /// Of a partition: what was asked for, for people.
    pub wanted: String,
    /// Place of the request it comes from.
    pub request: u32,
}

/// One alternative of a demand, ready for comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// CPU in thousandths of a core.
    pub cpu: i64,
    /// Memory in bytes.
    pub memory: i64,
    /// Disk in bytes.
    pub disk: i64,
    /// Devices, hardest to please first.
    pub slots: Vec<Slot>,
    /// Free compute that a node's devices have in all where this fits: more than enough is no promise.
    pub compute: i64,
    /// Labels a node must carry.
    pub labels: Vec<(String, String)>,
    /// What one task counts for in queues, with the dearest device that would do.
    pub amounts: Amounts,
}

/// Signed for the arithmetic of the solver; amounts above 2^63 do not exist.
pub fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// The words of a model name in lower case: letters and digits.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect()
}

/// Whether `wanted` stands in `model` as whole words: `h100` and `RTX 4090` do in `NVIDIA H100 80GB` and `GeForce RTX 4090`.
#[must_use]
pub fn model_matches(wanted: Option<&str>, model: &str) -> bool {
    let Some(wanted) = wanted else { return true };
    let (wanted, model) = (words(wanted), words(model));
    !wanted.is_empty() && model.windows(wanted.len()).any(|part| part == wanted)
}

/// A model of device.
#[derive(Clone, Debug)]
struct Model {
    kind: DeviceKind,
    name: String,
    memory: Bytes,
    reach: Option<Arc<Reach>>,
}

impl Model {
    fn is_of(&self, device: &Device) -> bool {
        self.kind == device.kind
            && self.name == device.model
            && self.memory == device.memory
            && self.reach.as_ref().map(|reach| reach.layout()) == device.traits.layout.as_deref()
    }
}

/// Models of the pool's devices, by name, memory and the way they can be cut, numbered.
#[derive(Clone, Debug, Default)]
pub struct Models {
    known: Vec<Model>,
}

impl Models {
    /// The number of a device's model, given one if it is new.
    pub fn intern(&mut self, device: &Device) -> u32 {
        let at = self.known.iter().position(|model| model.is_of(device)).unwrap_or_else(|| {
            let layout = device.traits.layout.as_deref();
            self.known.push(Model {
                kind: device.kind,
                name: device.model.clone(),
                memory: device.memory,
                reach: layout.map(|layout| Arc::new(Reach::new(layout))),
            });
            self.known.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// The names of all, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|model| model.name.as_str())
    }

    /// Whether the device is of the model of this number.
    pub fn is(&self, number: u32, device: &Device) -> bool {
        self.known.get(number as usize).is_some_and(|model| model.is_of(device))
    }

    /// How devices of a model can be cut.
    pub fn reach(&self, number: u32) -> Option<&Arc<Reach>> {
        self.known.get(number as usize).and_then(|model| model.reach.as_ref())
    }

    fn matching(&self, request: &DeviceRequest) -> Vec<bool> {
        self.known
            .iter()
            .map(|model| {
                model.kind == request.kind
                    && model.memory >= request.device_memory
                    && model_matches(request.model.as_deref(), &model.name)
            })
            .collect()
    }

    /// Which profile of each model answers.
    fn answers(&self, request: &DeviceRequest) -> Vec<Option<u8>> {
        if request.mode != ShareMode::Space {
            return Vec::new();
        }
        self.known.iter().map(|model| model.reach.as_ref()?.layout().answer(request)).collect()
    }

    /// Thousandths of a device that a share of it counts for, on the dearest model that will do.
    fn share(&self, asked: &DeviceRequest, matching: &[bool], answers: &[Option<u8>]) -> u64 {
        match asked.mode {
            ShareMode::Exclusive => 1000,
            ShareMode::Space => {
                let right = self.known.iter().zip(matching).zip(answers).filter(|((_, right), _)| **right);
                let parts = right.filter_map(|((model, _), answer)| {
                    let layout = model.reach.as_ref()?.layout();
                    let profile = layout.profiles.get(usize::from((*answer)?))?;
                    Some(device_share(profile.compute, profile.memory, model.memory))
                });
                parts.max().unwrap_or(0)
            }
            ShareMode::Time | ShareMode::Advisory => {
                device_share(asked.compute, asked.memory, Bytes(self.smallest(matching)))
            }
        }
    }

    fn smallest(&self, models: &[bool]) -> u64 {
        let sizes = self.known.iter().zip(models).filter(|(_, ok)| **ok).map(|(model, _)| model.memory.0);
        sizes.min().unwrap_or(0)
    }
}

/// What is asked for of a partition, for people.
pub fn wanted(asked: &DeviceRequest) -> String {
    match (&asked.profile, asked.mode) {
        (_, ShareMode::Exclusive | ShareMode::Time | ShareMode::Advisory) => String::new(),
        (Some(name), ShareMode::Space) => name.clone(),
        (None, ShareMode::Space) if asked.compute.is_zero() => format!("partition with {}", asked.memory),
        (None, ShareMode::Space) => format!("partition with {} and {}", asked.compute, asked.memory),
    }
}

/// Compiles one alternative against the pool's device models.
pub fn compile(shape: &Shape, models: &Models) -> Compiled {
    let mut amounts = Amounts::of(shape.request);
    let mut slots = Vec::new();
    for (request, asked) in (0_u32..).zip(&shape.devices) {
        let matching = models.matching(asked);
        let exclusive = asked.mode == ShareMode::Exclusive;
        let profiles = models.answers(asked);
        let share = models.share(asked, &matching, &profiles);
        amounts.add_device(asked.kind, share.saturating_mul(u64::from(asked.count)));
        let slot = Slot {
            kind: asked.kind,
            mode: asked.mode,
            compute: if exclusive { 1000 } else { signed(asked.compute.0) },
            memory: if exclusive { 0 } else { signed(asked.memory.0) },
            least_memory: asked.device_memory.0,
            models: matching,
            profiles,
            wanted: wanted(asked),
            request,
        };
        slots.extend(std::iter::repeat_n(slot, asked.count as usize));
    }
    // Fewest models first, so that a picky request is not robbed by an easy one.
    slots.sort_by_key(|slot| {
        (slot.models.iter().filter(|ok| **ok).count(), slot.mode != ShareMode::Exclusive, slot.request)
    });
    let request = shape.request;
    // A partition counts what its part of the hardware has, which is for the layout to say.
    let counted = slots.iter().filter(|slot| slot.mode != ShareMode::Space);
    let compute = counted.map(|slot| slot.compute).sum();
    let labels = shape.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Compiled {
        cpu: signed(request.cpu.0),
        memory: signed(request.memory.0),
        disk: signed(request.disk.0),
        slots,
        compute,
        labels,
        amounts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_match_as_words() {
        assert!(model_matches(Some("h100"), "NVIDIA H100 80GB HBM3"));
        assert!(model_matches(Some("A100"), "NVIDIA A100-SXM4-80GB"));
        assert!(model_matches(Some("rtx 4090"), "GeForce RTX 4090"));
        assert!(!model_matches(Some("A10"), "NVIDIA A100-SXM4-80GB"));
        assert!(model_matches(None, "anything"));
    }
}
