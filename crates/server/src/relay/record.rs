//! `[debug] transcript`: the relay's conversations, secrets and content left out by those who write them down
//! (`sealpost_proto::transcript`), each appended in one write.

use crate::context::Context;
use sealpost_proto::{address::Domain, transcript::Recorder};
use std::{fs::OpenOptions, io::Write as _, sync::Arc};

pub(super) fn recorder(ctx: &Context) -> Option<Arc<Recorder>> {
    ctx.config.debug.transcript.as_ref().map(|_| Arc::new(Recorder::default()))
}

pub(super) async fn append(ctx: &Context, domain: &Domain, recorder: &Recorder) {
    let Some(path) = ctx.config.debug.transcript.clone() else { return };
    let text = format!("-- {} relays to {domain}\n{}\n", ctx.config.hostname, recorder.to_text());
    let write = move || {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path)?.write_all(text.as_bytes())
    };
    if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
        tracing::warn!(%error, "the transcript could not be written");
    }
}
