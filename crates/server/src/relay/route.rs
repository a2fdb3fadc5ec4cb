//! Where mail for a domain goes: its MX servers (RFC 5321 §5.1), without ourselves.

use super::settle::Failure;
use crate::{config::Config, context::Context};
use sealpost_lookup::{LookupError, ServerHost};
use sealpost_proto::address::Domain;

/// MX servers tried in one attempt.
const HOSTS_MAX: usize = 5;

/// The servers to try, in order.
pub(super) async fn hosts(ctx: &Context, domain: &Domain) -> Result<Vec<ServerHost>, Failure> {
    let found = ctx.network.mail_exchangers(domain).await.map_err(|error| match error {
        LookupError::NoMail(_) => Failure::permanent("5.1.2", error.to_string()),
        error => Failure::transient("4.4.3", error.to_string()),
    })?;
    without_ourselves(&ctx.config, domain, found)
}

/// RFC 5321 §5.1: where we are among the servers, only those better than us may be tried; where we are the best, the
/// mail would come back to us for ever.
fn without_ourselves(
    config: &Config,
    domain: &Domain,
    mut found: Vec<(u16, ServerHost)>,
) -> Result<Vec<ServerHost>, Failure> {
    let ours = found.iter().filter(|(_, host)| is_ourselves(config, host)).map(|(preference, _)| *preference);
    if let Some(ours) = ours.min() {
        found.retain(|(preference, _)| *preference < ours);
        if found.is_empty() {
            let reason = format!("the best mail server of {domain} is this one, which has no such domain");
            return Err(Failure::permanent("5.4.6", reason));
        }
    }
    Ok(found.into_iter().take(HOSTS_MAX).map(|(_, host)| host).collect())
}

fn is_ourselves(config: &Config, host: &ServerHost) -> bool {
    host.name == config.hostname || host.addresses.iter().any(|address| config.listen.smtp.contains(address))
}
