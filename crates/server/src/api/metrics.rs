//! `/metrics` in the text format of Prometheus.

use super::Shared;
use super::guard::Caller;
use super::types::{DeviceUseView, DeviceView, GrantView, Problem, QueueView, State};
use crate::notify::courier::waits_since;
use crate::pool::inbox::{Conditions, Sight};
use crate::pool::tally::{BUCKETS_US, Tallies};
use crate::pool::view;
use axum::extract::State as Extract;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use pond_core::meter::Totals;
use pond_core::snapshot::{NodeOrd, NodeRow, NodeState};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// One number of a node.
type Column = fn(&NodeRow) -> u64;
/// One number of a queue.
type OfQueue = fn(&QueueView) -> u64;
/// One number of a device.
type OfDevice = fn(&DeviceView) -> u64;
/// The same of those of which it is known.
type Worn = fn(&DeviceView) -> Option<u64>;
/// One sum of the meter.
type Part = fn(&Totals) -> u128;

/// A text of metrics in the making.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").unwrap_or_default();
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let open = if place == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(self.0, "{open}{label}=\"{text}\"").unwrap_or_default();
        }
        let close = if labels.is_empty() { "" } else { "}" };
        writeln!(self.0, "{close} {value}").unwrap_or_default();
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        self.value(name, &[], value);
    }
}

/// Every metric.
pub async fn metrics(Extract(shared): Extract<Shared>, _caller: Caller) -> Result<Response, Problem> {
    let mut text = shared
        .handle
        .look(|sight| {
            let mut text = Text::default();
            tasks(&mut text, sight);
            nodes(&mut text, sight);
            queues(&mut text, sight);
            devices(&mut text, sight);
            meter(&mut text, sight);
            shares(&mut text, sight);
            ignored(&mut text, sight);
            text
        })
        .await?;
    server(&mut text, &shared);
    journal(&mut text, &shared.tallies);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text.0).into_response())
}

fn tasks(text: &mut Text, sight: &Sight<'_>) {
    let mut gangs: BTreeMap<State, u64> = State::ALL.into_iter().map(|state| (state, 0)).collect();
    let mut tasks: BTreeMap<State, u64> =
        [State::Starting, State::Running, State::Frozen, State::Stopping].map(|state| (state, 0)).into();
    for gang in sight.engine.jobs().flat_map(|job| &job.gangs) {
        let state = view::job::state(gang);
        *gangs.entry(state).or_default() += 1;
        if let Some(live) = gang.live() {
            *tasks.entry(state).or_default() += live.tasks.len() as u64;
        }
    }
    text.head("pond_gangs", "gauge", "Array elements and plain jobs in memory, by state.");
    for (state, count) in gangs {
        text.value("pond_gangs", &[("state", state.as_str())], count);
    }
    text.head("pond_tasks", "gauge", "Tasks that have a place, by state of their gang.");
    for (state, count) in tasks {
        text.value("pond_tasks", &[("state", state.as_str())], count);
    }
}

fn nodes(text: &mut Text, sight: &Sight<'_>) {
    let rows = &sight.engine.snapshot().nodes;
    text.head("pond_node_up", "gauge", "1 when the node takes tasks.");
    for row in rows {
        let up = u8::from(row.state == NodeState::Ready);
        text.value("pond_node_up", &[("node", row.name.as_str())], up);
    }
    let columns: [(&str, &str, Column); 6] = [
        ("pond_node_cpu_capacity_millicores", "CPU the node may give out.", |row| row.capacity.cpu.0),
        ("pond_node_cpu_granted_millicores", "CPU guaranteed to tasks.", |row| row.granted.cpu.0),
        ("pond_node_cpu_busy_millicores", "CPU really used by guaranteed tasks, 95th percentile.", |row| {
            row.busy_p95.0
        }),
        ("pond_node_cpu_spare_millicores", "CPU asked by spare tasks that are not frozen.", |row| {
            row.spare_cpu.0
        }),
        ("pond_node_memory_capacity_bytes", "Memory the node may give out.", |row| row.capacity.memory.0),
        ("pond_node_memory_granted_bytes", "Memory guaranteed to tasks.", |row| row.granted.memory.0),
    ];
    for (name, help, column) in columns {
        text.head(name, "gauge", help);
        for row in rows {
            text.value(name, &[("node", row.name.as_str())], column(row));
        }
    }
}

/// What each queue holds, and how long its jobs have waited.
fn queues(text: &mut Text, sight: &Sight<'_>) {
    let mut longest: BTreeMap<&str, u64> = BTreeMap::new();
    for (job, since) in sight.engine.jobs().filter_map(|job| Some((job, waits_since(job)?))) {
        let wait = longest.entry(job.spec.queue.as_str()).or_default();
        *wait = (*wait).max(sight.now.since(since).0);
    }
    let queues = view::machine::queues(sight);
    let columns: [(&str, &str, OfQueue); 3] = [
        (
            "pond_queue_waiting",
            "Array elements and plain jobs that wait, of the queue and those below.",
            |queue| queue.waiting,
        ),
        ("pond_queue_infeasible", "Of these, such that can never start as things are.", |queue| {
            queue.infeasible
        }),
        ("pond_queue_cpu_used_millicores", "CPU that the queue and those below hold.", |queue| {
            queue.used.cpu_milli.unwrap_or_default()
        }),
    ];
    for (name, help, column) in columns {
        text.head(name, "gauge", help);
        for queue in &queues {
            text.value(name, &[("queue", queue_label(&queue.path))], column(queue));
        }
    }
    text.head(
        "pond_queue_longest_wait_seconds",
        "gauge",
        "How long the queue's own longest waiting job has waited.",
    );
    for queue in &queues {
        let wait = longest.get(queue.path.as_str()).copied().unwrap_or_default();
        text.value("pond_queue_longest_wait_seconds", &[("queue", queue_label(&queue.path))], wait / 1000);
    }
}

/// The pool's own queue is `/`, as everywhere: to Prometheus an empty label is none at all.
fn queue_label(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

fn devices(text: &mut Text, sight: &Sight<'_>) {
    let devices = view::machine::devices(sight);
    let columns: [(&str, &str, OfDevice); 3] = [
        ("pond_device_healthy", "1 when the device may be granted.", |device| u64::from(device.healthy)),
        ("pond_device_free_memory_bytes", "Memory of the device that is not granted.", |device| {
            device.free_memory_bytes
        }),
        ("pond_device_holders", "Tasks that hold the device or a share of it.", |device| {
            device.holders.len() as u64
        }),
    ];
    let labels = |device: &DeviceView| {
        [
            ("node", device.node.clone()),
            ("device", device.device.to_string()),
            ("kind", device.kind.clone()),
            ("model", device.model.clone()),
        ]
    };
    for (name, help, column) in columns {
        text.head(name, "gauge", help);
        for device in &devices {
            let labels = labels(device);
            let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
            text.value(name, &labels, column(device));
        }
    }
    let worn: [(&str, &str, &str, Worn); 3] = [
        (
            "pond_device_corrected_errors_total",
            "counter",
            "Errors of the device's memory that were corrected.",
            |it| it.corrected_errors,
        ),
        (
            "pond_device_remapped_rows_total",
            "counter",
            "Rows of the device's memory that were remapped.",
            |it| it.remapped_rows.map(u64::from),
        ),
        (
            "pond_device_remap_pending",
            "gauge",
            "1 while rows wait for the device's next reset to be remapped.",
            |it| it.remapped_rows.map(|_| u64::from(it.remap_pending)),
        ),
    ];
    for (name, kind, help, value) in worn {
        text.head(name, kind, help);
        for device in &devices {
            let labels = labels(device);
            let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
            if let Some(value) = value(device) {
                text.value(name, &labels, value);
            }
        }
    }
    text.head("pond_device_free_compute_ratio", "gauge", "Part of the device's compute that is not granted.");
    for device in &devices {
        let labels = labels(device);
        let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
        let free = device.free_compute_thousandths;
        let free = format_args!("{}.{:03}", free / 1000, free % 1000).to_string();
        text.value("pond_device_free_compute_ratio", &labels, free);
    }
}

/// CPU of each node since it joined, in core seconds, by what became of it.
fn meter(text: &mut Text, sight: &Sight<'_>) {
    const NAME: &str = "pond_node_cpu_core_seconds_total";
    let parts: [(&str, Part); 8] = [
        ("capacity", |cpu| cpu.capacity),
        ("granted", |cpu| cpu.granted),
        ("idle", |cpu| cpu.idle),
        ("planned", |cpu| cpu.planned),
        ("down", |cpu| cpu.down),
        ("used_within", |cpu| cpu.used_within),
        ("waste", |cpu| cpu.waste),
        ("burst", |cpu| cpu.burst),
    ];
    text.head(
        NAME,
        "counter",
        "CPU by node and part: capacity = granted + idle + planned + down; granted = used_within + waste.",
    );
    for (row, place) in sight.engine.snapshot().nodes.iter().zip(0_u32..) {
        let Some([cpu, ..]) = sight.engine.meter().of_node(sight.now, NodeOrd(place)) else { continue };
        for (part, amount) in parts {
            let micro = amount(&cpu);
            let labels = [("node", row.name.as_str()), ("part", part)];
            text.value(NAME, &labels, format_args!("{}.{:06}", micro / 1_000_000, micro % 1_000_000));
        }
    }
}

/// One number of a share: what was promised, and its use where that is measured.
type Share = fn(&GrantView, &DeviceUseView) -> Option<u64>;

/// Name, kind, help, how many make one of its unit, and the number.
const SHARE_COLUMNS: [(&str, &str, &str, u64, Share); 9] = [
    (
        "pond_share_promised_ratio",
        "gauge",
        "Part of a device's time that a task is guaranteed.",
        1000,
        |share, _| Some(share.compute_thousandths),
    ),
    ("pond_share_allowed_ratio", "gauge", "Part it may use now, with what others leave.", 1000, |_, used| {
        Some(used.allowed_thousandths)
    }),
    ("pond_share_delivered_ratio", "gauge", "Part that it used, over a minute at most.", 1000, |_, used| {
        Some(used.delivered_thousandths)
    }),
    (
        "pond_share_memory_promised_bytes",
        "gauge",
        "Memory of the device that it is guaranteed.",
        1,
        |share, _| Some(share.memory_bytes),
    ),
    ("pond_share_memory_bytes", "gauge", "Memory of the device that it holds.", 1, |_, used| {
        Some(used.memory_bytes)
    }),
    (
        "pond_share_real_memory_bytes",
        "gauge",
        "Memory of the device that its processes hold by the driver's own count, where the driver tells it.",
        1,
        |_, used| used.real_memory_bytes,
    ),
    ("pond_share_busy_seconds_total", "counter", "Time of the device that it used.", 1000, |_, used| {
        Some(used.busy_ms)
    }),
    (
        "pond_share_throttled_seconds_total",
        "counter",
        "Time that its launches were held back, added up over threads.",
        1000,
        |_, used| Some(used.throttled_ms),
    ),
    (
        "pond_share_refused_total",
        "counter",
        "Allocations refused because the share was full.",
        1,
        |_, used| Some(used.refused),
    ),
];

/// Shares of devices whose use is measured: what was promised, and what was delivered.
fn shares(text: &mut Text, sight: &Sight<'_>) {
    let mut rows = Vec::new();
    for gang in sight.engine.jobs().flat_map(|job| &job.gangs) {
        for task in gang.live().into_iter().flat_map(|live| &live.tasks) {
            let id = gang.id.task(task.rank);
            for (held, _) in task.terms() {
                let Some(used) = view::job::device_use(sight, id, task, held.device) else { continue };
                let node = view::job::node_name(sight, task.node);
                rows.push((id.to_string(), node, held.device.to_string(), view::grant(held), used));
            }
        }
    }
    for (name, kind, help, unit, column) in SHARE_COLUMNS {
        text.head(name, kind, help);
        for (task, node, device, share, used) in &rows {
            let Some(value) = column(share, used) else { continue };
            let labels = [("task", task.as_str()), ("node", node.as_str()), ("device", device.as_str())];
            match unit {
                1 => text.value(name, &labels, value),
                _ => text.value(name, &labels, format_args!("{}.{:03}", value / unit, value % unit)),
            }
        }
    }
}

/// Messages and decisions that came to nothing.
fn ignored(text: &mut Text, sight: &Sight<'_>) {
    let counters = sight.engine.counters();
    text.head("pond_reports_ignored_total", "counter", "Reports of substrates that were ignored, by cause.");
    for (cause, count) in [
        ("old_generation", counters.old_generation),
        ("repeated", counters.repeated),
        ("wrong_node", counters.wrong_node),
        ("unknown_node", counters.unknown_node),
    ] {
        text.value("pond_reports_ignored_total", &[("cause", cause)], count);
    }
    text.single(
        "pond_plan_stale_decisions_total",
        "counter",
        "Decisions that events had overtaken.",
        counters.stale,
    );
    text.single("pond_requests_refused_total", "counter", "Requests the engine refused.", counters.refused);
    text.single("pond_fences_total", "counter", "Fences sent to nodes that came back.", counters.fenced);
}

fn server(text: &mut Text, shared: &Shared) {
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let tallies = &shared.tallies;
    text.head("pond_jobs_archived", "gauge", "Finished jobs in the archive, by state.");
    for (state, count) in tallies.archived() {
        text.value("pond_jobs_archived", &[("state", &state)], count);
    }
    let ok = u8::from(shared.handle.condition.get() == Conditions::Ok);
    text.single("pond_writable", "gauge", "1 when the journal can be written.", ok);
    let lapses = get(&shared.handle.condition.lapses);
    text.single("pond_read_only_total", "counter", "Times the journal could not be written.", lapses);
    text.single("pond_http_requests_total", "counter", "HTTP requests.", get(&shared.counters.requests));
    text.single(
        "pond_http_denied_total",
        "counter",
        "HTTP requests without a good token.",
        get(&shared.counters.denied),
    );
    let open = super::STREAMS - shared.streams.available_permits();
    text.single("pond_http_streams", "gauge", "Streams that are open.", open);
    text.single("pond_turns_total", "counter", "Turns of the drive loop.", get(&tallies.turns));
    text.single("pond_plans_total", "counter", "Plans made.", get(&tallies.plans));
    text.single("pond_plan_violations_total", "counter", "Rules broken by plans.", get(&tallies.violations));
    text.single("pond_panics_total", "counter", "Requests in which the pool stumbled.", get(&tallies.panics));
    let counts = shared.notices.counts();
    text.head("pond_notifications_total", "counter", "Notifications by what came of them.");
    for (outcome, count) in
        [("delivered", &counts.delivered), ("failed_try", &counts.failed), ("given_up", &counts.given_up)]
    {
        text.value("pond_notifications_total", &[("outcome", outcome)], get(count));
    }
    let waiting = get(&counts.waiting);
    text.single("pond_notifications_waiting", "gauge", "Notifications that wait to be sent.", waiting);
    text.single("pond_database_bytes", "gauge", "Size of the database.", shared.archive.size());
}

fn journal(text: &mut Text, tallies: &Tallies) {
    const NAME: &str = "pond_journal_commit_seconds";
    text.single(
        "pond_journal_records_total",
        "counter",
        "Lines of history written.",
        tallies.records.load(Ordering::Relaxed),
    );
    text.head(NAME, "histogram", "Time a durable transaction takes.");
    let mut sum = 0;
    for (place, bucket) in tallies.journal.iter().enumerate() {
        sum += bucket.load(Ordering::Relaxed);
        let bound = BUCKETS_US.get(place).map_or_else(|| "+Inf".to_owned(), |&us| seconds(us));
        text.value(&format!("{NAME}_bucket"), &[("le", &bound)], sum);
    }
    text.value(&format!("{NAME}_sum"), &[], seconds(tallies.journal_sum_us.load(Ordering::Relaxed)));
    text.value(&format!("{NAME}_count"), &[], sum);
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
