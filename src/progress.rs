//! Progress on standard error, on terminals only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

fn target() -> ProgressDrawTarget {
    if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

/// For work of unknown length (Argon2, look-ups).
pub fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target()).with_message(what.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

/// For messages of a folder; of unknown number where `None`.
pub fn messages(what: &str, messages: Option<u64>) -> ProgressBar {
    let template = if messages.is_some() {
        "{msg} {wide_bar} {pos}/{len} {rate} {prefix}"
    } else {
        "{msg} {spinner} {pos} {rate} {prefix}"
    };
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A bar cannot say that it could not be drawn.
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("rate", rate);
    ProgressBar::with_draw_target(messages, target()).with_message(what.to_owned()).with_style(style)
}

/// For uploads and downloads.
pub fn transfer(what: &str, octets: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(octets), target()).with_message(what.to_owned()).with_style(style)
}
