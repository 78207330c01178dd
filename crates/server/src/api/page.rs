//! The plain page at `/`: how the pool is, without a script, a style file or a picture from elsewhere.

use super::Shared;
use super::types::{Amounts, NodeView, Problem, StatusView};
use crate::pool::view::machine as view;
use axum::extract::State as Extract;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pond_core::units::{Bytes, MilliCpu};
use std::fmt::Write;

/// Nodes shown; a page is for reading.
const NODES: usize = 200;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #8884}\
td.n,th.n{text-align:right}svg{width:100%;height:1.6rem}.bad{color:#b00020}\
@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}.bad{color:#ff8a80}}";
/// Nothing but the style file, and that from here.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub async fn page(Extract(shared): Extract<Shared>) -> Result<Response, Problem> {
    let status = shared.status().await?;
    let nodes = shared.handle.look(view::nodes).await?;
    let mut response = render(&status, &nodes).into_response();
    let headers = response.headers_mut();
    let set = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("refresh"), "10"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Its style.
pub async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

fn render(status: &StatusView, nodes: &[NodeView]) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Millpond</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"/style.css\"></head>\
         <body><h1>Millpond</h1>",
    );
    // Writing to a String cannot fail.
    health(&mut html, status).unwrap_or_default();
    bar(&mut html, status).unwrap_or_default();
    jobs(&mut html, status).unwrap_or_default();
    machines(&mut html, nodes).unwrap_or_default();
    html.push_str("</body></html>");
    html
}

fn health(html: &mut String, status: &StatusView) -> std::fmt::Result {
    let class = if status.health.message.is_none() { "" } else { " class=\"bad\"" };
    write!(html, "<p{class}>The pool is <strong>{}</strong>", escape(&status.health.status))?;
    if let Some(message) = &status.health.message {
        write!(html, ": {}", escape(message))?;
    }
    write!(html, ". {} of {} nodes take tasks.</p>", status.health.nodes_ready, status.health.nodes)
}

/// CPU: granted, idle and down; the parts sum to all of it.
fn bar(html: &mut String, status: &StatusView) -> std::fmt::Result {
    let all = status.capacity.cpu_milli.max(1);
    let down = status.down.cpu_milli.min(all);
    let used = status.granted.cpu_milli.min(all - down);
    let idle = all - down - used;
    let part = |amount: u64| amount * 1000 / all;
    write!(
        html,
        "<h2>CPU</h2><svg viewBox=\"0 0 1000 20\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"granted {0}, idle {1}, down {2} cores\">\
         <rect width=\"1000\" height=\"20\" fill=\"#9cc\"/><rect width=\"{3}\" height=\"20\" fill=\"#167\"/>\
         <rect x=\"{4}\" width=\"{5}\" height=\"20\" fill=\"#b34\"/></svg>\
         <p>granted {0} · idle {1} · down {2} of {6} cores; really busy {7}</p>",
        MilliCpu(used),
        MilliCpu(idle),
        MilliCpu(down),
        part(used),
        1000 - part(down),
        part(down),
        MilliCpu(status.capacity.cpu_milli),
        MilliCpu(status.busy_cpu_milli),
    )
}

fn jobs(html: &mut String, status: &StatusView) -> std::fmt::Result {
    html.push_str("<h2>Jobs</h2>");
    if status.elements.is_empty() && status.over.is_empty() {
        html.push_str("<p>None yet. The first one: <code>pond run -- echo hello</code></p>");
        return Ok(());
    }
    html.push_str("<table><tr><th>state<th class=\"n\">jobs</tr>");
    for (state, count) in status.elements.iter().chain(&status.over) {
        write!(html, "<tr><td>{}<td class=\"n\">{count}</tr>", escape(state))?;
    }
    html.push_str("</table>");
    Ok(())
}

fn machines(html: &mut String, nodes: &[NodeView]) -> std::fmt::Result {
    html.push_str(
        "<h2>Nodes</h2><table><tr><th>node<th>state<th class=\"n\">cores<th class=\"n\">memory<th class=\"n\">devices<th class=\"n\">tasks of</tr>",
    );
    for node in nodes.iter().take(NODES) {
        let of = |part: fn(&Amounts) -> String| format!("{} / {}", part(&node.granted), part(&node.capacity));
        write!(
            html,
            "<tr><td>{}<td>{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{} jobs</tr>",
            escape(&node.name),
            node.state,
            of(|amounts| MilliCpu(amounts.cpu_milli).to_string()),
            of(|amounts| Bytes(amounts.memory_bytes).to_string()),
            node.devices.len(),
            node.gangs.len(),
        )?;
    }
    html.push_str("</table>");
    if let Some(more) = nodes.len().checked_sub(NODES + 1) {
        write!(html, "<p>and {} more</p>", more + 1)?;
    }
    Ok(())
}

/// Text as HTML shows it, inside elements and quoted attributes.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
