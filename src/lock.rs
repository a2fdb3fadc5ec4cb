//! `lock`, `unlock`: whether this device opens mail without the password.

use crate::{
    context::{Context, block_on},
    exit::Outcome,
};
use sealpost_client::client::Custody;
use serde_json::json;
use std::process::ExitCode;

/// How JSON names where the secrets are.
pub fn custody_word(custody: Custody) -> &'static str {
    match custody {
        Custody::File => "file",
        Custody::KeyStore => "key-store",
        Custody::Locked => "locked",
    }
}

/// `sealpost lock`.
pub fn lock(context: &Context) -> Outcome {
    let (report, bridge) = block_on(async {
        let report = context.client.lock().await?;
        let bridge = sealpost_bridge::tell_to_lock(context.dir()).await?;
        Ok::<_, crate::exit::Failure>((report, bridge))
    })??;
    let out = context.output;
    let was = if report.already { "was locked already" } else { "is locked" };
    out.line(format!("This device {was}; `sealpost unlock` asks for your password."))?;
    if bridge {
        out.line("The running bridge let go of its keys; mail programs are told.")?;
    }
    if let Some(left) = &report.left {
        let harm = if report.still_opens {
            "whoever gets at it opens what lies in the folder: remove the entry \"Sealpost\" there by hand"
        } else {
            "it opens nothing any more"
        };
        out.line(format!("An entry is left in the key store ({left}); {harm}."))?;
    }
    out.object(&json!({ "locked": true, "already": report.already, "bridge": bridge }))?;
    Ok(ExitCode::SUCCESS)
}

/// `sealpost unlock`.
pub fn unlock(context: &Context) -> Outcome {
    let before = context.client.custody()?;
    let custody = match before {
        Custody::File => block_on(context.client.put_away())??,
        // The password works whatever the key store says, and puts a new key there.
        Custody::KeyStore | Custody::Locked => {
            let password = context.password()?;
            block_on(context.client.unlock(&password))??
        }
    };
    let was = if before == Custody::Locked { "is unlocked" } else { "was not locked" };
    context.output.line(format!("This device {was}. Its secrets are {custody}."))?;
    context.output.object(&json!({ "locked": false, "secrets": custody_word(custody) }))?;
    Ok(ExitCode::SUCCESS)
}
