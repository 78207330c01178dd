//! `--watch`: the same again and again, on a terminal in place.

use crate::args::Watch;
use crate::error::{CliError, Done, codes};
use crate::out::Out;
use crate::term::Signals;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Does `show` once, or every so often until Ctrl-C.
///
/// # Errors
/// Those of `show`.
pub fn watched(out: &Out, watch: Watch, mut show: impl FnMut() -> Result<(), CliError>) -> Done {
    let Some(seconds) = watch.watch else { return show().map(|()| codes::OK) };
    if !(0.1..=86_400.0).contains(&seconds) {
        return Err(CliError::usage("--watch takes seconds between 0.1 and 86400"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked right above")]
    let pause_ms = (seconds * 1000.0) as u64;
    let mut signals =
        Signals::catch(&[SIGINT, SIGTERM]).map_err(|why| CliError::io("catching Ctrl-C", why))?;
    loop {
        if out.tty && !out.format.is_data() {
            out.text("\u{1b}[H\u{1b}[2J")?;
        }
        show()?;
        if !signals.wait(Some(pause_ms)).is_empty() {
            return Ok(codes::OK);
        }
    }
}
