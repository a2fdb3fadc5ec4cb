//! Being asked to end: Ctrl-C and SIGTERM.

use crate::exit::Failure;
use std::{future::Future, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// The status of a command that was interrupted, as shells give it for SIGINT.
pub const INTERRUPTED: u8 = 130;

/// The same.
pub fn interrupted() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}

/// Resolves at the first SIGINT or SIGTERM after the call.
pub fn asked_to_end() -> Result<impl Future<Output = ()>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
