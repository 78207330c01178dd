//! The device grammar: `1` · `H100` · `H100:8` · `A100:40GB:2` · `0.5` · `A100:0.25` · `24GB` · `3g.40gb` · `H100:1g.10gb`,
//! and the long form.
//!
//! A fraction asks for that part of a device's compute and, in proportion, of its memory. A size alone asks for any
//! share with that much memory; a size after a model tells the model's variants apart. A range is guaranteed..most. The
//! name of a MIG profile asks for such a partition.
//!
//! Flags have the long form too: `compute=30%..60%,memory=4GB,weight=2`.

use super::{MemorySize, Share, Text, ValueError, amounts::exact_size, text_value};
use crate::limits;
use pond_core::model::{DeviceChange, DeviceKind, DeviceRequest, ShareMode, Slack};
use pond_core::units::{Bytes, Thousandths};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const LONG: &str = "model, memory, count, compute, share, profile, weight or advisory";
const EXAMPLES: &str = "1, H100, H100:8, A100:40GB:2, 0.5, A100:0.25, 24GB or 3g.40gb";

/// Devices in the short form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceText {
    /// Any when absent.
    pub model: Option<String>,
    /// With a model: memory of the whole device. Alone: memory of the share.
    pub memory: Option<MemorySize>,
    /// Part of each device's compute; absent: whole devices, or any share with `memory`.
    pub share: Option<Share>,
    /// A hardware partition, by the name of its profile.
    pub profile: Option<String>,
    /// How many.
    pub count: u32,
}

text_value!(DeviceText, "devices", ["string", "number"], [1, "H100:8", "A100:40GB:2", 0.5, "24GB"]);

/// Devices in the long form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "devices: 1, H100:8, 0.5, 24GB, or a map {model, memory, count, compute, share, profile, weight, advisory}"
)]
pub struct LongDevice {
    /// Model by name, as a word of the device's full name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Text>,
    /// With `share: exclusive`, the least memory of the whole device; otherwise the memory of the share: `4GB`, or
    /// `4GB..8GB` in a queue that allows more to be promised than there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySize>,
    /// How many devices; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Part of each device's compute: `30%`, or `30%..60%` to use what others leave. Makes `share` default to `time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute: Option<Share>,
    /// How the device is divided: `exclusive` (default), `space` (a hardware partition) or `time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<ShareWord>,
    /// A hardware partition by its maker's name: `3g.40gb`, `cpx`. Makes `share` default to `space`. With `share: space` alone:
    /// the smallest partition that has the `memory` and `compute` asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Text>,
    /// The share's part of what others leave, against theirs; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Take the share also of a device where nobody can keep others to theirs; it is marked so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advisory: Option<bool>,
}

/// How a device is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShareWord {
    /// One task has the whole device.
    Exclusive,
    /// A hardware partition.
    Space,
    /// A fraction of its time and memory.
    Time,
}

/// A device field: the short form, the long form, or a list of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Devices {
    /// `H100:8`.
    Short(DeviceText),
    /// `{model: A100, compute: 30%}`.
    Long(LongDevice),
    /// Devices of several models.
    List(Vec<Devices>),
}

impl FromStr for DeviceText {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::form(text, "a number or model of devices", EXAMPLES);
        let mut out = Self { model: None, memory: None, share: None, profile: None, count: 1 };
        // Each part may appear once, in the order model, size, fraction, count.
        let mut stage = 0;
        for part in text.trim().split(':') {
            let (step, fits) = out.part(part, text)?;
            if !fits || step <= stage {
                return Err(wrong());
            }
            stage = step;
        }
        Ok(out)
    }
}

impl DeviceText {
    /// Takes one part; gives its rank in the order of parts, and whether it was understood.
    fn part(&mut self, part: &str, text: &str) -> Result<(u8, bool), ValueError> {
        if let Ok(count) = part.parse::<u64>() {
            self.count = count_of(count, text)?;
            return Ok((4, true));
        }
        if is_profile(part) {
            self.profile = Some(part.to_ascii_lowercase());
            return Ok((3, self.memory.is_none()));
        }
        if part.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            if part.ends_with(|c: char| c.is_ascii_alphabetic()) {
                self.memory = Some(enough(part.parse()?)?);
                return Ok((2, true));
            }
            let example = "a fraction below 1 of at most three decimals, as 0.3, or a whole number";
            let wrong = || ValueError::form(part, "a part of one device", example);
            let share: Share = part.parse().map_err(|_why| wrong())?;
            if share.min >= Thousandths::WHOLE {
                return Err(wrong());
            }
            self.share = Some(share);
            return Ok((3, true));
        }
        self.model = Some(model(part)?);
        Ok((1, true))
    }

    fn request(&self, kind: DeviceKind) -> DeviceRequest {
        let alone = self.model.is_none();
        let memory = self.memory.map_or(Bytes::ZERO, |size| size.min);
        let (mode, compute) = match self.share {
            None if self.profile.is_some() => (ShareMode::Space, Thousandths::ZERO),
            Some(share) => (ShareMode::Time, share.min),
            None if alone && !memory.is_zero() => (ShareMode::Time, Thousandths::ZERO),
            None => (ShareMode::Exclusive, Thousandths::WHOLE),
        };
        let of_share = alone && mode == ShareMode::Time;
        DeviceRequest {
            kind,
            model: self.model.clone(),
            count: self.count,
            device_memory: if of_share { Bytes::ZERO } else { memory },
            mode,
            compute,
            memory: if of_share { memory } else { Bytes::ZERO },
            slack: Slack {
                compute: self.share.and_then(|share| share.most()),
                memory: self.memory.filter(|_| of_share).and_then(|size| size.most()),
                weight: 0,
            },
            profile: self.profile.clone(),
        }
    }
}

/// A MIG profile: slices, a dot, memory, what it has beside: `1g.10gb`, `1c.3g.40gb` is none, `1g.10gb+me` is one.
fn is_profile(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let Some((slices, rest)) = text.split_once("g.") else { return false };
    let Some((memory, more)) = rest.split_once("gb") else { return false };
    let number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    number(slices)
        && number(memory)
        && (more.is_empty() || more.starts_with(['+', '-']))
        && text.len() <= 32
        && more.chars().skip(1).all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'))
}

/// Memory in which a share can hold something: it is counted in pieces of 4 KiB.
fn enough(size: MemorySize) -> Result<MemorySize, ValueError> {
    if size.min >= Bytes(4096) {
        return Ok(size);
    }
    let what = "enough memory for anything on a device, which is counted in pieces of 4KiB";
    Err(ValueError::form(&exact_device_size(size), what, "a size with its unit, as 4GB"))
}

fn count_of(count: u64, text: &str) -> Result<u32, ValueError> {
    match u32::try_from(count) {
        Ok(0) => Err(ValueError::Zero { what: "the number of devices" }),
        Ok(count) if count <= limits::DEVICES => Ok(count),
        _ => Err(ValueError::TooLarge {
            what: "a number",
            text: crate::read::short(text),
            most: format!("{} devices", limits::DEVICES),
        }),
    }
}

fn model(text: &str) -> Result<String, ValueError> {
    let fits = !matches!(text, "true" | "false" | "yes" | "no")
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= 64
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '+'));
    if fits { Ok(text.trim().to_owned()) } else { Err(ValueError::form(text, "a device model", EXAMPLES)) }
}

fn profile_name(text: &str) -> Result<String, ValueError> {
    let fits = !text.is_empty()
        && text.len() <= 32
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '+'));
    if fits {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(ValueError::form(text, "the name of a partition's profile", "3g.40gb or cpx"))
    }
}

impl fmt::Display for DeviceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.model.clone());
        parts.extend(self.memory.map(exact_device_size));
        parts.extend(self.share.map(|share| share.to_string()));
        parts.extend(self.profile.clone());
        if self.count != 1 || parts.is_empty() {
            parts.push(self.count.to_string());
        }
        f.write_str(&parts.join(":"))
    }
}

/// A bare number of bytes would read as a count.
fn exact_device_size(size: MemorySize) -> String {
    let one = |size| {
        let text = exact_size(size);
        if text.ends_with('B') { text } else { format!("{text}B") }
    };
    size.most().map_or_else(|| one(size.min), |most| format!("{}..{}", one(size.min), one(most)))
}

impl LongDevice {
    fn request(&self, kind: DeviceKind) -> Result<DeviceRequest, ValueError> {
        let mode = match (self.share, self.compute) {
            (Some(ShareWord::Exclusive), Some(share)) if share.min != Thousandths::WHOLE => {
                return Err(ValueError::form(
                    "share: exclusive",
                    "possible with a part of the compute",
                    "share: time",
                ));
            }
            (None, _) if self.profile.is_some() => ShareMode::Space,
            (Some(ShareWord::Exclusive), _) | (None, None) => ShareMode::Exclusive,
            (Some(ShareWord::Space), _) => ShareMode::Space,
            (Some(ShareWord::Time), _) | (None, Some(_)) => ShareMode::Time,
        };
        if self.weight == Some(0) {
            return Err(ValueError::Zero { what: "weight" });
        }
        if mode != ShareMode::Space && self.profile.is_some() {
            return Err(ValueError::form("profile", "possible without a partition", "share: space"));
        }
        let memory = self.memory.map(enough).transpose()?.map_or(Bytes::ZERO, |size| size.min);
        let whole = mode == ShareMode::Exclusive;
        let count = self.count.unwrap_or(1);
        let slack = Slack {
            compute: self.compute.and_then(|share| share.most()),
            memory: self.memory.and_then(|size| size.most()),
            weight: self.weight.unwrap_or(0),
        };
        if mode != ShareMode::Time && (slack != Slack::default() || self.advisory == Some(true)) {
            let what = match (self.advisory, self.weight) {
                (Some(true), _) => "advisory",
                (_, Some(_)) => "weight",
                _ => "guaranteed..most",
            };
            return Err(ValueError::form(
                what,
                "possible with whole devices and partitions, which have what they have",
                "a share beside it, as compute: 30%",
            ));
        }
        if !whole && self.compute.is_none() && self.memory.is_none() && self.profile.is_none() {
            let share = if mode == ShareMode::Space { "share: space" } else { "share: time" };
            return Err(ValueError::form(
                share,
                "possible without saying how much",
                "compute: 30% or memory: 4GB beside it",
            ));
        }
        Ok(DeviceRequest {
            kind,
            model: self.model.as_ref().map(|text| model(&text.0)).transpose()?,
            count: count_of(count.into(), &count.to_string())?,
            device_memory: if whole { memory } else { Bytes::ZERO },
            mode,
            compute: match self.compute {
                Some(share) if !whole => share.min,
                _ if whole => Thousandths::WHOLE,
                _ => Thousandths::ZERO,
            },
            memory: if whole { Bytes::ZERO } else { memory },
            slack,
            profile: self.profile.as_ref().map(|text| profile_name(&text.0)).transpose()?,
        })
    }
}

impl Devices {
    /// The requests, in the order written.
    ///
    /// # Errors
    /// A long form whose parts exclude each other, or a bad model or count in it.
    pub fn requests(&self, kind: DeviceKind) -> Result<Vec<DeviceRequest>, ValueError> {
        match self {
            Self::Short(text) => Ok(vec![text.request(kind)]),
            Self::Long(long) => Ok(vec![long.request(kind)?]),
            Self::List(items) => {
                let lists: Result<Vec<_>, _> = items.iter().map(|item| item.requests(kind)).collect();
                Ok(lists?.concat())
            }
        }
    }
}

impl Devices {
    /// Whether a share is taken also where nobody can keep it.
    #[must_use]
    pub fn is_advisory(&self) -> bool {
        match self {
            Self::Short(_) => false,
            Self::Long(long) => long.advisory == Some(true),
            Self::List(items) => items.iter().any(Self::is_advisory),
        }
    }

    /// What a resize to this says: the parts that were written, of shares of this kind.
    ///
    /// # Errors
    /// It says something that cannot change while a job runs: a model, a number, whole devices, the way of sharing.
    pub fn change(&self, kind: DeviceKind) -> Result<DeviceChange, ValueError> {
        let fixed = || {
            let what = "a share that a running job can be given; model, number and kind of share stay";
            ValueError::form("this", what, "0.7, 30%..60%, 4GB or compute=70%,memory=4GB,weight=2")
        };
        let (compute, memory, weight) = match self {
            Self::Short(DeviceText { model: None, memory, share, profile: None, count: 1 }) => {
                (*share, *memory, None)
            }
            Self::Long(LongDevice {
                model: None,
                memory,
                count: None,
                compute,
                share: None,
                profile: None,
                weight,
                advisory: None,
            }) => (*compute, *memory, *weight),
            _ => return Err(fixed()),
        };
        if compute.is_none() && memory.is_none() && weight.is_none() {
            return Err(fixed());
        }
        if weight == Some(0) {
            return Err(ValueError::Zero { what: "weight" });
        }
        let memory = memory.map(enough).transpose()?;
        Ok(DeviceChange {
            kind,
            compute: compute.map(|share| share.min),
            memory: memory.map(|size| size.min),
            slack: Slack {
                compute: compute.map(|share| share.max),
                memory: memory.map(|size| size.max),
                weight: weight.unwrap_or(0),
            },
        })
    }
}

impl FromStr for Devices {
    type Err = ValueError;
    /// Reads the short form, or the long one as `compute=30%,memory=4GB`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if !text.contains('=') {
            return text.parse().map(Self::Short);
        }
        let mut long = LongDevice::default();
        let mut said = Vec::new();
        for part in text.split(',') {
            let (key, value) = part.split_once('=').unwrap_or((part, "true"));
            let (key, value) = (key.trim(), value.trim());
            if said.contains(&key) {
                return Err(ValueError::form(key, "said twice in one flag", "each part once"));
            }
            said.push(key);
            match key {
                "model" => long.model = Some(Text(value.to_owned())),
                "memory" => long.memory = Some(value.parse()?),
                "count" => long.count = Some(number(value)?),
                "compute" => long.compute = Some(value.parse()?),
                "profile" => long.profile = Some(Text(value.to_owned())),
                "weight" => long.weight = Some(number(value)?),
                "advisory" => long.advisory = Some(truth(value)?),
                "share" => {
                    long.share = Some(match value {
                        "exclusive" => ShareWord::Exclusive,
                        "space" => ShareWord::Space,
                        "time" => ShareWord::Time,
                        _ => {
                            return Err(ValueError::form(
                                value,
                                "a way to share",
                                "exclusive, space or time",
                            ));
                        }
                    });
                }
                _ => return Err(ValueError::form(key, "a part of the long form", LONG)),
            }
        }
        Ok(Self::Long(long))
    }
}

fn number(text: &str) -> Result<u32, ValueError> {
    text.parse().map_err(|_why| ValueError::form(text, "a whole number", "2"))
}

fn truth(text: &str) -> Result<bool, ValueError> {
    text.parse().map_err(|_why| ValueError::form(text, "a value of advisory", "true or false"))
}

impl<'de> Deserialize<'de> for Devices {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(crate::read::decode::RAW, DevicesVisitor)
    }
}

struct DevicesVisitor;

impl<'de> serde::de::Visitor<'de> for DevicesVisitor {
    type Value = Devices;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("devices: 1, H100:8, 0.5, 24GB, or a map {model, memory, count, compute, share, profile, weight, advisory}")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Devices, E> {
        text.parse().map(Devices::Short).map_err(E::custom)
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Devices, E> {
        self.visit_str(&value.to_string())
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Devices, E> {
        self.visit_str(&value.to_string())
    }
    fn visit_map<A: serde::de::MapAccess<'de>>(self, access: A) -> Result<Devices, A::Error> {
        LongDevice::deserialize(serde::de::value::MapAccessDeserializer::new(access)).map(Devices::Long)
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut access: A) -> Result<Devices, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            if matches!(item, Devices::List(_)) {
                return Err(serde::de::Error::custom("a list of devices cannot hold another list"));
            }
            items.push(item);
            if items.len() > 16 {
                return Err(serde::de::Error::custom("a list of devices has at most 16 entries"));
            }
        }
        Ok(Devices::List(items))
    }
    fn visit_newtype_struct<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Devices, D::Error> {
        deserializer.deserialize_any(self)
    }
}
