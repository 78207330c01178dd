//! Files that pages need, embedded and compressed once; an address carries the hash of its content and lasts for ever.

use super::Oops;
use crate::api::extract::Name;
use crate::api::types::Problem;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::OnceLock;

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($(($name:literal, $kind:expr, $path:literal)),* $(,)?) => {
        &[$(($name, $kind, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/", $path)).as_slice())),*]
    };
}

const FILES: &[(&str, &str, &[u8])] = files![
    ("style.css", CSS, "assets/style.css"),
    ("icons.svg", "image/svg+xml", "assets/icons.svg"),
    ("theme.js", JS, "assets/theme.js"),
    ("page.js", JS, "assets/page.js"),
    ("map.js", JS, "assets/map.js"),
    ("chart.js", JS, "assets/chart.js"),
    ("htmx.min.js", JS, "vendor/htmx.min.js"),
    ("uplot.min.js", JS, "vendor/uplot.min.js"),
    ("uplot.min.css", CSS, "vendor/uplot.min.css"),
];

struct Asset {
    kind: &'static str,
    plain: &'static [u8],
    gzip: Vec<u8>,
    address: String,
}

fn all() -> &'static BTreeMap<&'static str, Asset> {
    static ALL: OnceLock<BTreeMap<&'static str, Asset>> = OnceLock::new();
    ALL.get_or_init(|| {
        let asset = |&(name, kind, plain): &(&'static str, &'static str, &'static [u8])| {
            let hash = crate::state::hex(&crate::auth::hash_bytes(plain)[..6]);
            (name, Asset { kind, plain, gzip: gzip(plain), address: format!("/assets/{name}?v={hash}") })
        };
        FILES.iter().map(asset).collect()
    })
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail.
    encoder.write_all(plain).unwrap_or_default();
    encoder.finish().unwrap_or_default()
}

/// The address of a file, which changes with its content.
#[must_use]
pub fn address(name: &str) -> &'static str {
    all().get(name).map_or("/assets/missing", |asset| asset.address.as_str())
}

/// A file by its name; there is no folder behind it.
pub async fn serve(name: Result<Name, Problem>, headers: HeaderMap) -> Result<Response, Oops> {
    let Name(name) = name.map_err(|_bad| super::nowhere())?;
    let asset = all().get(name.as_str()).ok_or_else(super::nowhere)?;
    let accepted =
        headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let lasting = (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
    let varies = (header::VARY, "accept-encoding");
    let kind = (header::CONTENT_TYPE, asset.kind);
    Ok(match accepted.contains("gzip") {
        true => ([kind, lasting, varies, (header::CONTENT_ENCODING, "gzip")], asset.gzip.as_slice())
            .into_response(),
        false => ([kind, lasting, varies], asset.plain).into_response(),
    })
}
