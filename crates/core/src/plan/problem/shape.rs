//! Shapes compiled for the solver: names become numbers, device requests become slots.

use crate::model::{DeviceKind, DeviceRequest, Shape, ShareMode};
use crate::queue::Amounts;
use crate::units::Bytes;

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

/// Models and memory sizes of the pool's devices, numbered.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// Kind, name, and the smallest memory seen with them.
    known: Vec<(DeviceKind, String, u64)>,
}

impl Models {
    /// The number of this model, given one if it is new.
    pub fn intern(&mut self, kind: DeviceKind, model: &str, memory: Bytes) -> u32 {
        let found =
            self.known.iter().position(|(k, name, size)| *k == kind && name == model && *size == memory.0);
        let at = found.unwrap_or_else(|| {
            self.known.push((kind, model.to_owned(), memory.0));
            self.known.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// The names of all, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|(_, name, _)| name.as_str())
    }

    /// The number of a model that was interned.
    pub fn find(&self, kind: DeviceKind, model: &str, memory: Bytes) -> Option<u32> {
        let at =
            self.known.iter().position(|(k, name, size)| *k == kind && name == model && *size == memory.0);
        at.and_then(|at| u32::try_from(at).ok())
    }

    fn matching(&self, request: &DeviceRequest) -> Vec<bool> {
        self.known
            .iter()
            .map(|(kind, name, memory)| {
                *kind == request.kind
                    && *memory >= request.device_memory.0
                    && model_matches(request.model.as_deref(), name)
            })
            .collect()
    }

    fn smallest(&self, models: &[bool]) -> u64 {
        let sizes = self.known.iter().zip(models).filter(|(_, ok)| **ok).map(|((_, _, memory), _)| *memory);
        sizes.min().unwrap_or(0)
    }
}

/// Compiles one alternative against the pool's device models.
pub fn compile(shape: &Shape, models: &Models) -> Compiled {
    let mut amounts = Amounts::of(shape.request);
    let mut slots = Vec::new();
    for (request, asked) in (0_u32..).zip(&shape.devices) {
        let matching = models.matching(asked);
        let exclusive = asked.mode == ShareMode::Exclusive;
        let share = match exclusive {
            true => 1000,
            false => {
                crate::queue::device_share(asked.compute, asked.memory, Bytes(models.smallest(&matching)))
            }
        };
        amounts.add_device(asked.kind, share.saturating_mul(u64::from(asked.count)));
        let slot = Slot {
            kind: asked.kind,
            mode: asked.mode,
            compute: if exclusive { 1000 } else { signed(asked.compute.0) },
            memory: if exclusive { 0 } else { signed(asked.memory.0) },
            least_memory: asked.device_memory.0,
            models: matching,
            request,
        };
        slots.extend(std::iter::repeat_n(slot, asked.count as usize));
    }
    // Fewest models first, so that a picky request is not robbed by an easy one.
    slots.sort_by_key(|slot| {
        (slot.models.iter().filter(|ok| **ok).count(), slot.mode != ShareMode::Exclusive, slot.request)
    });
    let request = shape.request;
    let labels = shape.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Compiled {
        cpu: signed(request.cpu.0),
        memory: signed(request.memory.0),
        disk: signed(request.disk.0),
        slots,
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
