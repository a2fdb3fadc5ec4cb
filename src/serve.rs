//! `serve`: the mail server as a process.

use crate::{
    cli::Serve,
    exit::{Failure, Outcome},
    output::Output,
};
use sealpost_server::{Passed, RunningServer, config::Config};
use std::{
    io::{self, IsTerminal as _, Read as _},
    process::ExitCode,
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing_subscriber::EnvFilter;

/// What a server logs where `SEALPOST_LOG` says nothing.
const DEFAULT_LOG: &str = "info";
/// How long the end waits for calls of the system that do not come back.
const HANGING_TIMEOUT: Duration = Duration::from_secs(2);

/// Logs go to standard error, where a service manager collects them.
pub fn log(default: &str) -> Result<(), Failure> {
    let filter = match std::env::var("SEALPOST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text)
            .map_err(|e| Failure::usage(format_args!("SEALPOST_LOG={text:?} cannot be read: {e}")))?,
        _ => EnvFilter::new(default),
    };
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(io::stderr).init();
    Ok(())
}

/// `sealpost serve --config FILE`.
pub fn serve(args: &Serve, output: Output) -> Outcome {
    let config = Config::load(&args.config).map_err(Failure::failed)?;
    if args.check {
        config.check().map_err(Failure::failed)?;
        output.line(format!("{} is in order", args.config.display()))?;
        output.object(&serde_json::json!({ "config": args.config, "ok": true }))?;
        return Ok(ExitCode::SUCCESS);
    }
    log(DEFAULT_LOG)?;
    // Before there are threads, of which the sockets' environment variables know nothing.
    let passed = Passed::from_environment().map_err(Failure::failed)?;
    let prepared = sealpost_server::prepare(config, passed).map_err(Failure::failed)?;
    let runtime =
        tokio::runtime::Runtime::new().map_err(|e| Failure::failed(format_args!("cannot start: {e}")))?;
    let outcome = runtime.block_on(async {
        let leash = args.until_stdin_closes.then(leash);
        // Before READY: a manager may send signals at once.
        let mut signals = Signals::new()?;
        let server = prepared.run().await.map_err(Failure::failed)?;
        tracing::info!(addresses = ?server.addresses, "serving");
        signals.until_asked_to_end(&server, leash).await;
        tracing::info!("ending");
        tokio::select! {
            () = server.shutdown() => {}
            // Whoever asks twice does not want to wait for running transactions.
            () = signals.end() => tracing::warn!("asked again: running transactions are cut"),
        }
        Ok(ExitCode::SUCCESS)
    });
    // What hangs in the file system (the copy for a backup, a disk that is gone) holds nothing that was promised.
    runtime.shutdown_timeout(HANGING_TIMEOUT);
    outcome
}

/// Resolves when standard input ends. A thread of its own, since reading standard input cannot be given up.
fn leash() -> oneshot::Receiver<()> {
    let (end, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while matches!(io::stdin().lock().read(&mut buffer), Ok(n) if n > 0) {}
        // The server may have ended by itself.
        let _ = end.send(());
    });
    ended
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    async fn until_asked_to_end(&mut self, server: &RunningServer, leash: Option<oneshot::Receiver<()>>) {
        let leash = async {
            match leash {
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        };
        tokio::pin!(leash);
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                () = &mut leash => return,
                _ = self.hang_up.recv() => server.reload(),
            }
        }
    }
}
