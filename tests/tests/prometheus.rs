//! What is shipped for Prometheus and Grafana, against a pool that runs: every metric they name is there, and `promtool` finds nothing wrong.

use pond_e2e::{Api, Pool, skip, transcript::root, wait_until};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder").flatten();
    entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

/// Words of a text that begin as our metrics do.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("pond_")).map(str::to_owned).collect()
}

/// Metrics of which one line is chosen by a label, and that label: what Prometheus would never find, no alert would tell.
fn chosen(exprs: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (before, rest) in exprs.match_indices('{').map(|(at, _)| exprs.split_at(at)) {
        let metric =
            before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        let inside = rest[1..].split('}').next().unwrap_or_default();
        let labels = inside.split(',').filter(|label| !label.contains("=~") && !label.contains('$'));
        let ours = labels.filter(|label| metric.starts_with("pond_") && label.contains('='));
        found.extend(ours.map(|label| (format!("{metric}{{"), label.to_owned())));
    }
    found
}

/// What a running pool exports, histograms with what is made of them.
fn exported(metrics: &str) -> BTreeSet<String> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let of = |(name, kind): (&str, &str)| {
        let ends: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        ends.iter().map(|end| format!("{name}{end}")).collect::<Vec<_>>()
    };
    types.flat_map(of).collect()
}

fn promtool(words: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new("promtool");
    command.args(words).current_dir(root().join("deploy/prometheus"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {words:?}: {said}");
    Some(said)
}

#[test]
fn what_is_shipped_names_what_is_exported() {
    let pool = Pool::new("prometheus");
    _ = pool.ok(&["up", "-d"]);
    let api = Api::of(&pool).expect("a pool that answers");
    let metrics = || api.text("/metrics").expect("metrics");
    assert!(wait_until(PATIENCE, || metrics().contains("pond_node_up{")));
    _ = pool.ok(&["run", "--isolation", "process", "--memory", "64MB", "--", "true"]);
    let metrics = metrics();
    let there = exported(&metrics);
    let dashboards = files("deploy/grafana", ".json");
    assert_eq!(dashboards.len(), 4);
    for path in dashboards.iter().chain(&files("deploy/prometheus", ".rules.yml")) {
        let text = std::fs::read_to_string(path).expect("a file");
        let exprs: String = match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(dashboard) => {
                let panels = dashboard["panels"].as_array().expect("panels").iter();
                let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
                targets
                    .map(|target| format!("{} ", target["expr"].as_str().expect("an expression")))
                    .collect()
            }
            Err(_not_json) => {
                let lines = text.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
                lines.map(|line| format!("{line} ")).collect()
            }
        };
        let named = named(&exprs);
        assert!(named.len() >= 4, "{}: {named:?}", path.display());
        for (metric, label) in chosen(&exprs) {
            let has = |line: &str| line.strip_prefix(&metric).is_some_and(|rest| rest.contains(&label));
            assert!(metrics.lines().any(has), "{}: no {metric} has {label}", path.display());
        }
        let missing: Vec<&String> = named.difference(&there).collect();
        assert!(missing.is_empty(), "{}: {missing:?} are not exported", path.display());
    }
    if promtool(&["check", "metrics"], &metrics).is_none() {
        skip("alert rules and names of metrics", "there is no promtool (Debian package prometheus)");
    } else {
        _ = promtool(&["check", "rules", "pond.rules.yml"], "");
        _ = promtool(&["test", "rules", "pond.test.yml"], "");
    }
    pool.finish();
}
