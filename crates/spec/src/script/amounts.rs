//! Amounts as Slurm writes them: counts, sizes in megabytes, times in minutes.

use crate::error::Fault;
use crate::limits;
use crate::read::short;
use crate::values::{DeviceText, NodeCount};
use pond_core::units::Millis;

pub(super) fn bad(why: &crate::values::ValueError) -> Fault {
    Fault::BadValue { why: why.to_string() }
}

/// A whole number, also 0.
pub(super) fn count_of(text: &str) -> Result<u32, Fault> {
    text.trim().parse().map_err(|_why| Fault::WrongType {
        expected: "a whole number".to_owned(),
        found: format!("`{}`", short(text)),
        quoted: None,
    })
}

/// A whole number from 1.
pub(super) fn count(text: &str) -> Result<u32, Fault> {
    match count_of(text)? {
        0 => Err(Fault::BadValue { why: "cannot be 0".to_owned() }),
        number => Ok(number),
    }
}

/// `2`, `2-4`, both with `k` for thousands as Slurm allows.
pub(super) fn nodes(text: &str) -> Result<NodeCount, Fault> {
    let number = |part: &str| match part.strip_suffix(['k', 'K']) {
        Some(thousands) => count(thousands).map(|number| number.saturating_mul(1000)),
        None => count(part),
    };
    let (min, max) = match text.split_once('-') {
        Some((min, max)) => (number(min)?, number(max)?),
        None => (number(text)?, number(text)?),
    };
    if max < min {
        return Err(Fault::BadValue { why: format!("`{}` ends below its start", short(text)) });
    }
    if max > limits::NODES {
        let (found, most) = (max.to_string(), limits::NODES.to_string());
        return Err(Fault::TooLarge { what: "the number of nodes", found, most });
    }
    Ok(NodeCount { min, max })
}

/// `2`, `a100`, `a100:2`; unlike a job file's grammar, no sizes and no fractions.
pub(super) fn gpu(text: &str) -> Result<DeviceText, Fault> {
    let (model, number) = match text.split_once(':') {
        Some((model, number)) => (Some(model), count_of(number)?),
        None => match text.parse::<u32>() {
            Ok(number) => (None, number),
            _ => (Some(text), 1),
        },
    };
    if number == 0 {
        return Ok(DeviceText { model: None, memory: None, share: None, profile: None, count: 0 });
    }
    // A total over all nodes may be larger than one node has.
    let named: DeviceText = model.unwrap_or("1").parse().map_err(|why| bad(&why))?;
    if model.is_some() && named.model.is_none() {
        return Err(Fault::BadValue { why: format!("`{}` is not a GPU model", short(text)) });
    }
    Ok(DeviceText { count: number, ..named })
}

/// The same of one node.
pub(super) fn gpus_of_node(text: &str) -> Result<DeviceText, Fault> {
    let gpus = gpu(text)?;
    if gpus.count > limits::DEVICES {
        let (found, most) = (gpus.count.to_string(), format!("{} on a node", limits::DEVICES));
        return Err(Fault::TooLarge { what: "the number of GPUs", found, most });
    }
    Ok(gpus)
}

/// Slurm's sizes: megabytes, or a number with K, M, G or T; all powers of 1024.
pub(super) fn megabytes(text: &str) -> Result<u64, Fault> {
    let plain = text.trim();
    let plain = plain.strip_suffix(['B', 'b']).unwrap_or(plain);
    let (digits, shift) = match plain.char_indices().last() {
        Some((at, 'k' | 'K')) => (&plain[..at], 10),
        Some((at, 'm' | 'M')) => (&plain[..at], 20),
        Some((at, 'g' | 'G')) => (&plain[..at], 30),
        Some((at, 't' | 'T')) => (&plain[..at], 40),
        _ => (plain, 20),
    };
    let number: u64 = digits.parse().map_err(|_why| Fault::BadValue {
        why: format!("`{}` is not a size; write 4096 (megabytes), 4G or 512M", short(text)),
    })?;
    Ok(number.saturating_mul(1_u64 << shift))
}

/// Slurm's times: `m`, `m:s`, `h:m:s`, `d-h`, `d-h:m`, `d-h:m:s`, `UNLIMITED`. `None` is no limit.
pub(super) fn minutes(text: &str) -> Result<Option<Millis>, Fault> {
    let wrong = || Fault::BadValue {
        why: format!("`{}` is not a time; write minutes, h:m:s or days-h:m:s", short(text)),
    };
    if matches!(text.to_ascii_uppercase().as_str(), "UNLIMITED" | "INFINITE" | "-1") {
        return Ok(None);
    }
    let number = |part: &str| part.parse::<u64>().map_err(|_why| wrong());
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(number(days)?), rest),
        None => (None, text),
    };
    let parts: Vec<u64> = rest.split(':').map(number).collect::<Result<_, _>>()?;
    let (hours, mins, secs) = match (days.is_some(), parts.as_slice()) {
        (true, [h]) => (*h, 0, 0),
        (true, [h, m]) => (*h, *m, 0),
        (_, [h, m, s]) => (*h, *m, *s),
        (false, [m]) => (0, *m, 0),
        (false, [m, s]) => (0, *m, *s),
        _ => return Err(wrong()),
    };
    let part = |count: u64, size: u64| count.saturating_mul(size);
    let seconds = part(days.unwrap_or(0), 86_400)
        .saturating_add(part(hours, 3600))
        .saturating_add(part(mins, 60))
        .saturating_add(secs);
    let span = Millis::from_secs(seconds);
    if span.0 > limits::SPAN_MS {
        return Err(Fault::TooLarge { what: "the time", found: short(text), most: "10 years".to_owned() });
    }
    // Slurm takes 0 for no limit.
    Ok((!span.is_zero()).then_some(span))
}
