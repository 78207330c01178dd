//! The documentation of this very version, as it was written: `/llms.txt` lists it, `/docs/NAME.md` has it. It says nothing of
//! the pool, so it is open to whoever reaches the port, as the files of the login page are.

use super::Oops;
use crate::api::extract::Name;
use crate::api::types::Problem;
use axum::http::header;
use axum::response::{IntoResponse, Response};

macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/", $name)))),*]
    };
}

const LIST: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../llms.txt"));

const PAGES: &[(&str, &str)] = pages![
    "dashboard.md",
    "devices.md",
    "exit-codes.md",
    "gangs.md",
    "gaps.md",
    "getting-started.md",
    "images.md",
    "job-file.md",
    "mcp.md",
    "money.md",
    "monitoring.md",
    "network.md",
    "notifications.md",
    "operations.md",
    "packing.md",
    "people.md",
    "performance.md",
    "policies.md",
    "queues.md",
    "security.md",
    "simulate.md",
    "slurm.md",
    "spare.md",
    "traces.md",
    "troubleshooting.md",
    "why.md",
];

/// The list.
pub async fn list() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], LIST).into_response()
}

/// A page by its name; there is no folder behind it.
pub async fn page(name: Result<Name, Problem>) -> Result<Response, Oops> {
    let Name(name) = name.map_err(|_bad| super::nowhere())?;
    let page = PAGES.iter().find(|(known, _)| *known == name);
    let (_, text) = page.ok_or_else(super::nowhere)?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], *text).into_response())
}

#[cfg(test)]
mod tests {
    use super::{LIST, PAGES};

    #[test]
    fn what_is_listed_is_served_and_the_other_way_round() {
        let links = LIST.split("](docs/").skip(1).filter_map(|rest| rest.split(')').next());
        let mut listed: Vec<&str> = links.collect();
        listed.sort_unstable();
        let served: Vec<&str> = PAGES.iter().map(|(name, _)| *name).collect();
        assert_eq!(served, listed);
    }
}
