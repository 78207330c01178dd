//! Amounts, moments and words as pages show them.

use crate::api::types::{Amounts, Class, DeviceAsk, GrantView, State};
use pond_core::units::{Bytes, MilliCpu, Millis, Thousandths};

/// A number, or what leads to one: templates hand over both.
pub trait Number: Copy {
    /// The number.
    fn value(self) -> u64;
}

impl Number for u64 {
    fn value(self) -> u64 {
        self
    }
}

impl<T: Number> Number for &T {
    fn value(self) -> u64 {
        (*self).value()
    }
}

/// Cores.
pub fn cores(milli: impl Number) -> String {
    match milli.value() {
        1000 => "1 core".to_owned(),
        milli => format!("{} cores", tidy(milli)),
    }
}

/// Thousandths with at most two digits behind the point.
pub fn tidy(milli: impl Number) -> String {
    let milli = milli.value();
    MilliCpu(if milli >= 10_000 { milli / 100 * 100 } else { milli / 10 * 10 }).to_string()
}

/// Bytes.
pub fn bytes(bytes: impl Number) -> String {
    Bytes(bytes.value()).to_string()
}

/// A span.
pub fn span(ms: impl Number) -> String {
    Millis(ms.value()).to_string()
}

/// How long ago, or until when.
pub fn ago(then: impl Number, now: impl Number) -> String {
    let (then, now) = (then.value(), now.value());
    match now.checked_sub(then) {
        Some(ms) if ms < 1000 => "just now".to_owned(),
        Some(ms) => format!("{} ago", Millis(ms)),
        None => format!("in {}", Millis(then - now)),
    }
}

/// A moment to come; one that has passed is now.
pub fn expected(at: impl Number, now: impl Number) -> String {
    if at.value() <= now.value() { "now".to_owned() } else { ago(at, now) }
}

/// By how much something came later than foretold.
pub fn late(ms: &i64) -> String {
    let size = span(ms.unsigned_abs());
    if *ms < 0 { format!("{size} early") } else { format!("{size} late") }
}

/// From one moment to another, or to now.
pub fn took(from: &Option<u64>, to: &Option<u64>, now: impl Number) -> String {
    match from {
        Some(from) => span(to.unwrap_or(now.value()).saturating_sub(*from)),
        None => "–".to_owned(),
    }
}

/// A moment in UTC: `2026-11-26 00:13:16`.
pub fn moment(ms: impl Number) -> String {
    let ms = ms.value();
    let rest = ms % 86_400_000 / 1000;
    let (year, month, day) = pond_core::money::date(pond_core::units::Timestamp(ms));
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// The same for machines: `2026-11-26T00:13:16Z`.
pub fn stamp(ms: impl Number) -> String {
    moment(ms).replace(' ', "T") + "Z"
}

/// The time of day; of another day with its date.
pub fn when(ms: impl Number, now: impl Number) -> String {
    let (mut at, today) = (moment(ms), moment(now));
    if at.get(..11) == today.get(..11) { at.split_off(11) } else { at }
}

/// A line of output without what only tells a terminal how to show it: colours, moves of the cursor, titles.
pub fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => match letters.next() {
                Some('[') => _ = letters.find(|letter| ('\u{40}'..='\u{7e}').contains(letter)),
                Some(']') => _ = letters.find(|letter| matches!(letter, '\u{7}' | '\u{9c}')),
                _ => {}
            },
            letter => out.push(letter),
        }
    }
    out
}

/// Text in which commands and names stand between backticks, in parts: whether each is such a one.
pub fn coded(text: &str) -> Vec<(bool, &str)> {
    let parts: Vec<&str> = text.split('`').collect();
    // One that is not closed is a backtick and nothing else.
    if parts.len().is_multiple_of(2) {
        return vec![(false, text)];
    }
    parts.into_iter().enumerate().map(|(place, part)| (place % 2 == 1, part)).collect()
}

/// What a task asks for: `4 cores · 32GB · 1 × H100`.
pub fn request(request: &Amounts, devices: &[DeviceAsk]) -> String {
    let mut parts = vec![cores(request.cpu_milli)];
    if request.memory_bytes > 0 {
        parts.push(bytes(request.memory_bytes));
    }
    parts.extend(devices.iter().map(device));
    parts.join(" · ")
}

fn device(ask: &DeviceAsk) -> String {
    let what = ask.model.as_ref().map_or_else(|| ask.kind.to_uppercase(), Clone::clone);
    let share = match (ask.compute_thousandths, ask.memory_bytes) {
        _ if ask.profile.is_some() => format!(" ({})", ask.profile.as_deref().unwrap_or_default()),
        (0 | 1000, 0) => String::new(),
        (compute, 0) => format!(" ({})", Thousandths(compute)),
        (_, memory) => format!(" ({})", Bytes(memory)),
    };
    format!("{} × {what}{share}", ask.count)
}

/// A class in its word.
pub const fn class(class: &Class) -> &'static str {
    match class {
        Class::Spare => "spare",
        Class::Standard => "standard",
        Class::Critical => "critical",
    }
}

/// Reasons and verdicts of the API, and what people read for them.
const WORDS: [(&str, &str); 18] = [
    ("infeasible", "can never fit this pool"),
    ("over_queue_limit", "asks for more than its queue may have"),
    ("unwell", "wait for devices that are not well"),
    ("no_room", "wait for room"),
    ("queue_limit", "their queue is at its limit"),
    ("reserved", "room is kept for a larger job ahead"),
    ("awaiting_eviction", "room is being made for them"),
    ("paused", "paused"),
    ("dependency", "wait for another job"),
    ("array_limit", "enough of their array runs"),
    ("budget", "wait for money: their budget is spent"),
    ("backoff", "failed; wait before the next attempt"),
    ("new", "not planned yet"),
    ("needs_you", "Needs you"),
    ("needs_admin", "Needs an administrator"),
    ("waiting", "Waiting"),
    ("placed", "Has its place"),
    ("over", "Over"),
];

/// The same reasons of one alone, where that is said otherwise.
const OF_ONE: [(&str, &str); 8] = [
    ("unwell", "waits for devices that are not well"),
    ("no_room", "waits for room"),
    ("queue_limit", "its queue is at its limit"),
    ("awaiting_eviction", "room is being made for it"),
    ("dependency", "waits for another job"),
    ("array_limit", "enough of its array runs"),
    ("budget", "waits for money: its budget is spent"),
    ("backoff", "failed; waits before the next attempt"),
];

/// The reason for which so many wait.
pub fn waits<'a>(word: &'a str, count: &u64) -> &'a str {
    let one = OF_ONE.iter().find(|(key, _)| *count == 1 && *key == word);
    one.map_or_else(|| words(word), |(_, said)| said)
}

/// A reason or verdict for people; a new one as it is.
pub fn words(word: &str) -> &str {
    WORDS.iter().find(|(key, _)| *key == word).map_or(word, |(_, words)| words)
}

/// Whether a state can still be stopped.
pub const fn stoppable(state: &State) -> bool {
    !state.is_over() && !matches!(state, State::Stopping)
}

/// Thousandths of a whole.
pub fn part(amount: impl Number, whole: impl Number) -> u64 {
    let (amount, whole) = (amount.value(), whole.value());
    u64::try_from(u128::from(amount) * 1000 / u128::from(whole.max(1))).unwrap_or(1000).min(1000)
}

/// What was promised of a device, and what came of it where that is measured.
pub fn share(grant: &GrantView) -> String {
    let mut promised = format!("{} and {}", percent(grant.compute_thousandths), bytes(grant.memory_bytes));
    if let Some(partition) = &grant.partition {
        promised = format!("{partition}: {promised}");
    }
    let unkept = if grant.mode.as_deref() == Some("advisory") { ", advisory" } else { "" };
    match &grant.use_now {
        None => format!("{promised}{unkept}"),
        Some(used) => format!(
            "{promised}{unkept}; used {} and {}, held back {}",
            percent(used.delivered_thousandths.min(1000)),
            bytes(used.memory_bytes),
            span(used.throttled_ms)
        ),
    }
}

/// Per cent with one digit behind the point where it matters.
pub fn percent(thousandths: u64) -> String {
    match thousandths {
        0 | 100..=1000 => format!("{} %", (thousandths + 5) / 10),
        small => format!("{}.{} %", small / 10, small % 10),
    }
}

/// Text as part of a query.
pub fn in_query(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A job's number from the id of a gang or task: `12[7].3` gives `12`.
pub fn job_of(id: &str) -> &str {
    id.split(['[', '.']).next().unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_what_a_calendar_says() {
        // `date -u -d @1795652056` and the like.
        assert_eq!(moment(0_u64), "1970-01-01 00:00:00");
        assert_eq!(moment(951_782_400_000_u64), "2000-02-29 00:00:00");
        assert_eq!(stamp(1_795_652_056_789_u64), "2026-11-26T00:14:16Z");
        assert_eq!(when(1_795_652_056_789_u64, 1_795_700_000_000_u64), "00:14:16");
        assert_eq!(when(1_795_652_056_789_u64, 1_795_800_000_000_u64), "2026-11-26 00:14:16");
        assert_eq!(moment(4_107_542_399_000_u64), "2100-02-28 23:59:59");
        assert_eq!(moment(4_107_542_400_000_u64), "2100-03-01 00:00:00");
    }

    #[test]
    fn what_is_for_a_terminal_is_left_out() {
        assert_eq!(plain("\u{1b}[1;31mred\u{1b}[0m 50%\r\tdone"), "red 50%\r\tdone");
        assert_eq!(plain("\u{1b}]0;title\u{7}x\u{1b}[2Ky\u{1b}"), "xy");
        assert_eq!(plain("plain [text]"), "plain [text]");
    }

    #[test]
    fn backticks_in_pairs_are_code() {
        assert_eq!(coded("list jobs: `pond ps`"), [(false, "list jobs: "), (true, "pond ps"), (false, "")]);
        assert_eq!(coded("5 ` of it"), [(false, "5 ` of it")]);
        assert_eq!(coded(""), [(false, "")]);
    }

    #[test]
    fn parts_and_per_cents() {
        assert_eq!(part(1_u64, 3_u64), 333);
        assert_eq!(part(5_u64, 0_u64), 1000);
        assert_eq!(part(u64::MAX, u64::MAX), 1000);
        assert_eq!(percent(999), "100 %");
        assert_eq!(percent(15), "1.5 %");
        assert_eq!(job_of("12[7].3"), "12");
    }
}
