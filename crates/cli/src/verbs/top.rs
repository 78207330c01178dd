//! `pond top`: a page of nodes and tasks that keeps itself up to date.
//!
//! `c` `m` `n` `t` sort by CPU, memory, name, time · space stops and goes on · arrows scroll · `q` leaves.
//! Without a terminal it is one plain page.

use super::Ctx;
use super::list::jobs;
use crate::args::TopArgs;
use crate::client::Client;
use crate::error::{CliError, Done, codes};
use crate::out::{Cell, Column, Style, Table, clean, now_ms, span_between, state_style};
use crate::term::{self, Key, Keys, Raw, Signals};
use pond_core::units::{Bytes, MilliCpu, Millis, Thousandths};
use pond_server::api::types::{DeviceUseView, GrantView, JobDetail, JobQuery, NodeView, State, TaskUse};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Jobs whose tasks are shown: the newest that hold a place.
const JOBS: u32 = 200;

/// A line of the page.
#[derive(Clone, Debug)]
struct Line {
    task: String,
    name: String,
    user: String,
    state: State,
    node: String,
    used: TaskUse,
    cpu_limit: u64,
    memory_limit: u64,
    devices: Vec<GrantView>,
    started_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Cpu,
    Memory,
    Name,
    Time,
}

/// What is shown.
#[derive(Debug, Default)]
struct Page {
    nodes: Vec<NodeView>,
    lines: Vec<Line>,
    waiting: usize,
    trouble: Option<String>,
}

/// `pond top`.
///
/// # Errors
/// No pool, or it refuses.
pub fn top(ctx: &Ctx, args: TopArgs) -> Done {
    let client = ctx.client()?;
    let mut page = look(&client)?;
    if args.once || ctx.out.format.is_data() || !(term::is_interactive() && term::has_screen()) {
        page.sort(Sort::Cpu);
        return plain(ctx, &page).map(|()| codes::OK);
    }
    if !(0.1..=3600.0).contains(&args.every) {
        return Err(CliError::usage("--every takes seconds between 0.1 and 3600"));
    }
    live(ctx, &client, page, Duration::from_secs_f64(args.every))
}

fn look(client: &Client) -> Result<Page, CliError> {
    let nodes: Vec<NodeView> = client.get("/nodes", &())?;
    let query = JobQuery { state: Some("active".to_owned()), ..JobQuery::default() };
    let mut page = Page { nodes, ..Page::default() };
    for job in jobs(client, &query, 1000)? {
        if matches!(job.state, State::Waiting | State::Infeasible | State::Paused) {
            page.waiting += 1;
            continue;
        }
        if page.lines.len() > JOBS as usize {
            continue;
        }
        // A job that was removed since the list was made is no trouble.
        let Ok(detail) = client.get::<JobDetail>(&format!("/jobs/{}", job.id), &()) else { continue };
        for task in detail.gangs.into_iter().flat_map(|gang| gang.tasks).filter(|task| !task.state.is_over())
        {
            page.lines.push(Line {
                task: task.id,
                name: job.name.clone(),
                user: job.user.clone(),
                state: task.state,
                node: task.node,
                used: task.use_now.unwrap_or_default(),
                cpu_limit: task.request.cpu_milli,
                memory_limit: task.burst.memory_bytes,
                devices: task.devices,
                started_ms: task.started_ms,
            });
        }
    }
    Ok(page)
}

impl Page {
    fn sort(&mut self, sort: Sort) {
        self.lines.sort_by(|a, b| {
            let by = match sort {
                Sort::Cpu => b.used.cpu_milli.cmp(&a.used.cpu_milli),
                Sort::Memory => b.used.memory_bytes.cmp(&a.used.memory_bytes),
                Sort::Name => a.name.cmp(&b.name),
                Sort::Time => a.started_ms.unwrap_or(u64::MAX).cmp(&b.started_ms.unwrap_or(u64::MAX)),
            };
            by.then_with(|| a.task.cmp(&b.task))
        });
    }

    /// A bar a node: really used within granted within capacity.
    fn bars(&self, color: bool, width: usize) -> Vec<String> {
        let room = width.saturating_sub(62).clamp(10, 40);
        let of_node = |node: &NodeView| {
            let used: u64 =
                self.lines.iter().filter(|line| line.node == node.name).map(|line| line.used.cpu_milli).sum();
            let memory: u64 = self
                .lines
                .iter()
                .filter(|line| line.node == node.name)
                .map(|line| line.used.memory_bytes)
                .sum();
            let name: String = clean(&node.name).chars().take(16).collect();
            format!(
                "{name:<16} cpu {} {:>5}/{:<5} mem {} {}/{}{}",
                bar(color, used, node.granted.cpu_milli, node.capacity.cpu_milli, room),
                MilliCpu(used).to_string(),
                MilliCpu(node.capacity.cpu_milli).to_string(),
                bar(color, memory, node.granted.memory_bytes, node.capacity.memory_bytes, room),
                Bytes(memory),
                Bytes(node.capacity.memory_bytes),
                if node.state == "ready" { String::new() } else { format!(" {}", clean(&node.state)) },
            )
        };
        self.nodes.iter().map(of_node).collect()
    }

    fn table(&self, from: usize, rows: usize) -> Table {
        // Shares take room only where there are any.
        let devices = self.lines.iter().any(|line| line.devices.iter().any(|share| share.use_now.is_some()));
        let mut columns = vec![
            Column::left("TASK"),
            Column::left("STATE"),
            Column::right("CPU"),
            Column::right("MEMORY"),
            Column::right("PIDS"),
            Column::right("TIME"),
            Column::left("USER"),
            Column::left("NODE"),
            Column::left("NAME"),
        ];
        if devices {
            let more = ["DEVICE", "DEVICE MEMORY", "HELD BACK"].map(Column::right);
            columns.splice(4..4, more);
        }
        let mut table = Table::new(columns);
        for line in self.lines.iter().skip(from).take(rows) {
            let mut cells: Vec<Cell> = vec![
                (&line.task).into(),
                Cell::styled(state_style(line.state), line.state.as_str()),
                format!("{}/{}", MilliCpu(line.used.cpu_milli), MilliCpu(line.cpu_limit)).into(),
                format!("{}/{}", Bytes(line.used.memory_bytes), Bytes(line.memory_limit)).into(),
                line.used.pids.into(),
                span_between(line.started_ms, None).into(),
                (&line.user).into(),
                (&line.node).into(),
                (&line.name).into(),
            ];
            if devices {
                let more = [time, memory, held_back].map(|word| shares(&line.devices, word).into());
                cells.splice(4..4, more);
            }
            table.row(cells);
        }
        table
    }
}

/// Of each share whose use is measured one word; of other devices how much was granted.
fn shares(devices: &[GrantView], word: fn(&GrantView, &DeviceUseView) -> String) -> String {
    let one =
        |share: &GrantView| share.use_now.as_ref().map_or_else(|| "-".to_owned(), |used| word(share, used));
    devices.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Delivered of promised.
fn time(share: &GrantView, used: &DeviceUseView) -> String {
    format!("{}/{}", Thousandths(used.delivered_thousandths), Thousandths(share.compute_thousandths))
}

fn memory(share: &GrantView, used: &DeviceUseView) -> String {
    format!("{}/{}", Bytes(used.memory_bytes), Bytes(share.memory_bytes))
}

fn held_back(_share: &GrantView, used: &DeviceUseView) -> String {
    Millis(used.throttled_ms).to_string()
}

/// `###==....` : used, granted, free.
fn bar(color: bool, used: u64, granted: u64, capacity: u64, room: usize) -> String {
    let whole = u128::from(capacity.max(1));
    let cells = |part: u64| {
        usize::try_from((u128::from(part) * room as u128).div_ceil(whole)).unwrap_or(room).min(room)
    };
    let full = cells(used);
    let held = cells(granted).max(full);
    format!(
        "[{}{}{}]",
        Style::Green.paint(color, &"#".repeat(full)),
        Style::Blue.paint(color, &"=".repeat(held - full)),
        ".".repeat(room - held)
    )
}

fn plain(ctx: &Ctx, page: &Page) -> Result<(), CliError> {
    if ctx.out.format.is_data() {
        let tasks: Vec<serde_json::Value> = page
            .lines
            .iter()
            .map(|line| {
                serde_json::json!({
                    "task": line.task, "name": line.name, "user": line.user, "state": line.state,
                    "node": line.node, "use": line.used, "devices": line.devices, "started_ms": line.started_ms,
                })
            })
            .collect();
        return ctx.out.value(&serde_json::json!({"at_ms": now_ms(), "nodes": page.nodes, "tasks": tasks}));
    }
    for bar in page.bars(ctx.out.color, ctx.out.width.unwrap_or(100)) {
        ctx.out.line(&bar)?;
    }
    ctx.out.line(&format!("{} tasks, {} jobs wait", page.lines.len(), page.waiting))?;
    ctx.out.table(&page.table(0, usize::MAX))
}

/// The page on a terminal, until somebody leaves it.
fn live(ctx: &Ctx, client: &Client, mut page: Page, every: Duration) -> Done {
    let caught = [SIGINT, SIGTERM, SIGHUP, SIGWINCH];
    let mut signals = Signals::catch(&caught).map_err(|why| CliError::io("catching signals", why))?;
    let _raw = Raw::enter_screen().map_err(|why| CliError::io("taking the terminal", why))?;
    let (mut sort, mut stopped, mut from) = (Sort::Cpu, false, 0_usize);
    let mut next = Instant::now() + every;
    loop {
        page.sort(sort);
        from = from.min(page.lines.len().saturating_sub(1));
        draw(ctx, &page, sort, stopped, from)?;
        let (typed, caught) = wait(&mut signals, next.saturating_duration_since(Instant::now()))?;
        if caught.iter().any(|&signal| signal != SIGWINCH) {
            return Ok(codes::OK);
        }
        for key in typed {
            match key {
                Key::Char('q') | Key::Escape | Key::Interrupt => return Ok(codes::OK),
                Key::Char('c') => sort = Sort::Cpu,
                Key::Char('m') => sort = Sort::Memory,
                Key::Char('n') => sort = Sort::Name,
                Key::Char('t') => sort = Sort::Time,
                Key::Char(' ' | 'f') => stopped = !stopped,
                Key::Up { far } => from = from.saturating_sub(if far { 10 } else { 1 }),
                Key::Down { far } => from += if far { 10 } else { 1 },
                Key::Char(_) | Key::Enter => {}
            }
        }
        if Instant::now() >= next {
            next = Instant::now() + every;
            if !stopped {
                page = fresh(client, page);
            }
        }
    }
}

/// The newest look; what was there before, with a word, while the pool is away.
fn fresh(client: &Client, before: Page) -> Page {
    match look(client) {
        Ok(page) => page,
        Err(why) => Page { trouble: Some(why.to_string()), ..before },
    }
}

fn wait(signals: &mut Signals, left: Duration) -> Result<(Vec<Key>, Vec<i32>), CliError> {
    let stdin = io::stdin();
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    let keyboard = {
        let mut fds = vec![PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
        fds.extend(signals.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(CliError::io("waiting for a key", why.into())),
        }
        fds.first().is_some_and(|fd| !fd.revents().is_empty())
    };
    let mut keys = Vec::new();
    if keyboard {
        let mut buffer = [0; 256];
        match rustix::io::read(&stdin, &mut buffer) {
            // The terminal has gone.
            Ok(0) | Err(rustix::io::Errno::IO) => keys.push(Key::Interrupt),
            Ok(count) => keys = Keys::parse(buffer.get(..count).unwrap_or_default()),
            Err(_) => {}
        }
    }
    Ok((keys, signals.take()))
}

fn draw(ctx: &Ctx, page: &Page, sort: Sort, stopped: bool, from: usize) -> Result<(), CliError> {
    let (rows, cols) = term::size().unwrap_or((24, 80));
    let (rows, cols) = (usize::from(rows), usize::from(cols));
    let color = ctx.out.color;
    let by = match sort {
        Sort::Cpu => "cpu",
        Sort::Memory => "memory",
        Sort::Name => "name",
        Sort::Time => "time",
    };
    let mut lines = page.bars(color, cols);
    lines.truncate(rows / 3);
    let state = match (&page.trouble, stopped) {
        (Some(trouble), _) => Style::Red.paint(color, &clean(trouble)),
        (None, true) => Style::Yellow.paint(color, "stopped (space goes on)"),
        (None, false) => String::new(),
    };
    lines.push(format!("{} tasks, {} jobs wait, by {by}  {state}", page.lines.len(), page.waiting));
    let room = rows.saturating_sub(lines.len() + 2);
    lines.extend(page.table(from, room).render(false, color, Some(cols)).lines().map(str::to_owned));
    lines.truncate(rows.saturating_sub(1));
    let help = Style::Dim.paint(color, "c cpu  m memory  n name  t time  space stop  arrows scroll  q quit");
    // Wrapping is off, so that a long line is cut at the edge and cannot push the page up.
    let mut text = String::from("\u{1b}[?7l\u{1b}[H");
    for line in &lines {
        text.push_str(line);
        text.push_str("\u{1b}[K\r\n");
    }
    text.push_str(&format!("\u{1b}[J{help}\u{1b}[?7h"));
    ctx.out.text(&text)
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_shows_used_within_granted_within_capacity() {
        assert_eq!(bar(false, 500, 1000, 2000, 8), "[##==....]");
        assert_eq!(bar(false, 1, 0, 2000, 8), "[#.......]");
        assert_eq!(bar(false, 9000, 0, 2000, 8), "[########]");
        assert_eq!(bar(false, 0, 0, 0, 4), "[....]");
    }
}
