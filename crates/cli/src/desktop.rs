//! A message on the desktop of whoever sits before this terminal, for `--notify`.
//!
//! `notify-send`, where there is a session bus (org.freedesktop.Notifications); otherwise the terminal is asked, which also
//! works through ssh: most terminals show OSC 9 as a message of the desktop, all others ring.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

/// Shows a message. Gives whether there was a way to.
pub fn show(title: &str, text: &str) -> bool {
    let (title, text) = (plain(title), plain(text));
    by_bus(&title, &text) || by_terminal(&title, &text)
}

/// Without anything that a terminal would take for more than text.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

/// The body of a message may have markup, and `notify-send` reads escapes in it as C does, so what looks like either is written out.
fn written_out(text: &str) -> String {
    text.replace('\\', r"\\").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn by_bus(title: &str, text: &str) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !set("DBUS_SESSION_BUS_ADDRESS") && !set("DISPLAY") && !set("WAYLAND_DISPLAY") {
        return false;
    }
    let mut command = Command::new("notify-send");
    command.args(["--app-name=pond", "--", title, &written_out(text)]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn by_terminal(title: &str, text: &str) -> bool {
    let mut terminal = std::io::stderr();
    terminal.is_terminal() && write!(terminal, "\x1b]9;{title}: {text}\x07\x07").is_ok()
}
