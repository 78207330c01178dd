//! Requests to language models: the Azure traces (Patel et al., "Splitwise", ISCA 2024) and Mooncake's (Qin et al.,
//! "Mooncake", FAST 2025).
//!
//! A request is no job: a service answers thousands with one placement. So there are typed rows, and the rate of
//! requests and tokens over time ([`rates`]), by which services are to be sized; there is no
//! [`Workload`](crate::workload::Workload) of them.

use super::lines::read_lines;
use super::table::{Style, read};
use super::{BadRowReason, Reading, not_json};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::Read;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Arrival in milliseconds: since 1970 (Azure) or from the trace's start (Mooncake).
    pub at_ms: i64,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// Blocks of 512 tokens of the prompt, by content: equal ids may be kept and used again. Empty where the trace has none.
    pub blocks: Vec<u32>,
}

/// Columns `TIMESTAMP, ContextTokens, GeneratedTokens`.
pub fn azure(input: impl Read) -> Reading<Request> {
    read(input, Style::CSV, |row| {
        const AT: &[&str] = &["TIMESTAMP", "arrival_timestamp"];
        let at = row.moment(AT)?.ok_or(BadRowReason::Missing(AT[0]))?;
        Ok(Request {
            at_ms: at,
            input_tokens: row.small(&["ContextTokens", "num_prefill_tokens"])?,
            output_tokens: row.small(&["GeneratedTokens", "num_decode_tokens"])?,
            blocks: Vec::new(),
        })
    })
}

#[derive(Deserialize)]
struct MooncakeLine {
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    #[serde(default)]
    hash_ids: Vec<u32>,
}

/// JSON lines `{"timestamp": ms, "input_length": …, "output_length": …, "hash_ids": […]}`.
pub fn mooncake(input: impl Read) -> Reading<Request> {
    read_lines(input, |_line, text| {
        let parsed: Result<MooncakeLine, _> = serde_json::from_str(text);
        Some(match parsed {
            // Above 2^53 a float no longer counts one by one.
            Ok(line) if (0.0..9.0e15).contains(&line.timestamp) => Ok(Request {
                at_ms: line.timestamp as i64,
                input_tokens: line.input_length,
                output_tokens: line.output_length,
                blocks: line.hash_ids,
            }),
            Ok(line) => {
                Err(super::table::malformed("timestamp", &line.timestamp.to_string(), "milliseconds from 0"))
            }
            Err(why) => Err(not_json(&why)),
        })
    })
}

/// Requests of one step of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rate {
    /// The step's start, in milliseconds from the first request's step.
    pub at_ms: u64,
    /// Requests that arrived in it.
    pub requests: u64,
    /// Tokens of their prompts.
    pub input_tokens: u64,
    /// Tokens of their answers.
    pub output_tokens: u64,
    /// Of their prompts' blocks, those that an earlier request had already: what a cache without end would hold.
    pub known_blocks: u64,
    /// Their prompts' blocks.
    pub blocks: u64,
}

/// The rate over time in steps of `step_ms`, empty ones included; empty when there would be more than ten million.
#[must_use]
pub fn rates(requests: &[Request], step_ms: u64) -> Vec<Rate> {
    let step = i64::try_from(step_ms.max(1)).unwrap_or(i64::MAX);
    let place = |request: &Request| request.at_ms.div_euclid(step);
    let (Some(first), Some(last)) = (requests.iter().map(place).min(), requests.iter().map(place).max())
    else {
        return Vec::new();
    };
    let Some(count) = usize::try_from(last.saturating_sub(first)).ok().filter(|&count| count < 10_000_000)
    else {
        return Vec::new();
    };
    let mut rates: Vec<Rate> = (0..=count as u64)
        .map(|at| Rate { at_ms: at.saturating_mul(step_ms.max(1)), ..Rate::default() })
        .collect();
    let mut order: Vec<&Request> = requests.iter().collect();
    order.sort_by_key(|request| request.at_ms);
    let mut known = BTreeSet::new();
    for request in order {
        let at = usize::try_from(place(request) - first).unwrap_or(0);
        let Some(rate) = rates.get_mut(at) else { continue };
        rate.requests += 1;
        rate.input_tokens += u64::from(request.input_tokens);
        rate.output_tokens += u64::from(request.output_tokens);
        rate.blocks += request.blocks.len() as u64;
        rate.known_blocks += request.blocks.iter().filter(|&&block| !known.insert(block)).count() as u64;
    }
    rates
}
