//! `user`, `app-password`, `queue`: through the control socket while a server runs, else directly on its store.

use crate::{
    cli::{
        AppPassword, AppPasswordAction, Backup, Queue, QueueAction, Restore, ServerConfig, User, UserAction,
    },
    context::block_on,
    exit::{Failure, Outcome},
    output::{Output, Style, one_line},
    secrets,
};
use sealpost_proto::address::Address;
use sealpost_server::{
    admin::{self, AdminError, Request, Response},
    config::Config,
};
use serde_json::{Value, json};
use std::{path::Path, process::ExitCode};
use zeroize::Zeroizing;

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        Self::failed(error)
    }
}

/// What a server of the right version never answers to this request.
fn unexpected() -> Failure {
    AdminError::Answer.into()
}

async fn call(config: &Path, request: Request) -> Result<Response, Failure> {
    let config = Config::load(config).map_err(Failure::failed)?;
    Ok(admin::call(&config, request).await?)
}

fn config_of(server: &ServerConfig) -> Result<&Path, Failure> {
    server
        .config
        .as_deref()
        .ok_or_else(|| Failure::usage("name the server's configuration file: --config FILE"))
}

fn ask(server: &ServerConfig, request: Request) -> Result<Response, Failure> {
    block_on(call(config_of(server)?, request))?
}

async fn code(config: &Path, request: Request) -> Result<Zeroizing<String>, Failure> {
    match call(config, request).await? {
        Response::Code { code, .. } => Ok(Zeroizing::new(code)),
        _ => Err(unexpected()),
    }
}

/// `user add`, for the demo: the code.
pub async fn user_add(config: &Path, address: &Address) -> Result<Zeroizing<String>, Failure> {
    code(config, Request::UserAdd { address: address.to_string() }).await
}

/// `user reset`, for the demo: the code.
pub async fn user_reset(config: &Path, address: &Address) -> Result<Zeroizing<String>, Failure> {
    code(config, Request::UserReset { address: address.to_string() }).await
}

/// `app-password add`, for the demo: the token.
pub async fn app_password_add(
    config: &Path,
    address: &Address,
    name: &str,
) -> Result<Zeroizing<String>, Failure> {
    let request =
        Request::AppPasswordAdd { address: address.to_string(), name: name.to_owned(), token: None };
    match call(config, request).await? {
        Response::AppPassword { token, .. } => Ok(Zeroizing::new(token)),
        _ => Err(unexpected()),
    }
}

/// `sealpost user …`.
pub fn user(args: &User, out: Output) -> Outcome {
    let request = match &args.action {
        UserAction::Add { address } => Request::UserAdd { address: address.clone() },
        UserAction::List => Request::UserList,
        UserAction::Reset { address } => Request::UserReset { address: address.clone() },
        UserAction::Quota { address, quota, messages } => {
            Request::UserQuota { address: address.clone(), quota: quota.clone(), messages: messages.clone() }
        }
        UserAction::Remove { address } => Request::UserRemove { address: address.clone() },
    };
    match (ask(&args.server, request)?, &args.action) {
        (Response::Code { address, code }, _) => {
            out.line(format!("One-time code for {}:", one_line(&address)))?;
            out.line("")?;
            out.line(format!("    {}", out.paint(Style::Bold, &code)))?;
            out.line("")?;
            out.line(format!("Its user types it into: sealpost enrol {}", one_line(&address)))?;
            out.object(&json!({ "address": address, "code": code }))?;
        }
        (Response::Users { users }, _) => {
            for user in &users {
                let state = match (user.enrolled, user.has_key) {
                    (true, true) => "enrolled",
                    (true, false) => "no key",
                    (false, _) => "not enrolled",
                };
                out.line(format!("{:<40} {:<12} since {}", one_line(&user.address), state, user.created))?;
            }
            out.object(&json!({ "users": users }))?;
        }
        (
            Response::Quota {
                address,
                limit,
                is_default,
                octets,
                message_limit,
                is_message_default,
                messages,
            },
            _,
        ) => {
            let may = |limit: Option<u64>, is_default| {
                let may = limit.map_or("no limit".to_owned(), |limit| format!("at most {limit}"));
                if is_default { format!("{may}, as the configuration says") } else { may }
            };
            let (octets_may, messages_may) = (may(limit, is_default), may(message_limit, is_message_default));
            let who = one_line(&address);
            out.line(format!(
                "{who} holds {octets} octets ({octets_may}) in {messages} messages ({messages_may})"
            ))?;
            out.object(&json!({
                "address": address, "limit": limit, "is_default": is_default, "octets": octets,
                "message_limit": message_limit, "is_message_default": is_message_default, "messages": messages,
            }))?;
        }
        (Response::Done, UserAction::Remove { address }) => {
            out.line(format!("{} and all its mail are removed", one_line(address)))?;
            out.object(&json!({ "address": address, "removed": true }))?;
        }
        _ => return Err(unexpected()),
    }
    Ok(ExitCode::SUCCESS)
}

/// `sealpost app-password …`.
pub fn app_password(args: &AppPassword, out: Output) -> Outcome {
    let request = match &args.action {
        AppPasswordAction::Add { address, name, token_file } => {
            let token = token_file.as_deref().map(secrets::from_file).transpose()?;
            let token = token.map(|t| t.to_string());
            Request::AppPasswordAdd { address: address.clone(), name: name.clone(), token }
        }
        AppPasswordAction::List { address } => Request::AppPasswordList { address: address.clone() },
        AppPasswordAction::Revoke { address, name } => {
            Request::AppPasswordRevoke { address: address.clone(), name: name.clone() }
        }
    };
    match (ask(&args.server, request)?, &args.action) {
        (Response::AppPassword { address, name, token }, AppPasswordAction::Add { token_file, .. }) => {
            let mut object = json!({ "address": address, "name": name });
            out.line(format!("App password \"{}\" of {}", one_line(&name), one_line(&address)))?;
            // A token of one's own is known already; showing it would only spread it.
            if token_file.is_none() {
                out.line(format!("\n    {}\n\nIt is shown this once.", out.paint(Style::Bold, &token)))?;
                object["app_password"] = token.into();
            }
            out.object(&object)?;
        }
        (Response::AppPasswords { address, app_passwords }, _) => {
            for one in &app_passwords {
                out.line(format!("{:<40} since {}", one_line(&one.name), one.created))?;
            }
            out.object(&json!({ "address": address, "app_passwords": app_passwords }))?;
        }
        (Response::Done, AppPasswordAction::Revoke { address, name }) => {
            out.line(format!("App password \"{}\" of {} is revoked", one_line(name), one_line(address)))?;
            out.object(&json!({ "address": address, "name": name, "revoked": true }))?;
        }
        _ => return Err(unexpected()),
    }
    Ok(ExitCode::SUCCESS)
}

/// `sealpost queue …`.
pub fn queue(args: &Queue, out: Output) -> Outcome {
    let QueueAction::List = &args.action;
    let Response::Queue { entries } = ask(&args.server, Request::QueueList)? else {
        return Err(unexpected());
    };
    for entry in &entries {
        out.line(format!(
            "{:>6} {} to {} ({} octets, since {}, {} attempts, next {})",
            entry.id,
            one_line(entry.sender.as_deref().unwrap_or("<>")),
            one_line(&entry.recipients.join(", ")),
            entry.octets,
            entry.received,
            entry.attempts,
            entry.due
        ))?;
        if let Some(error) = &entry.last_error {
            out.line(format!("       {}", one_line(error)))?;
        }
    }
    if entries.is_empty() {
        out.line("Nothing waits.")?;
    }
    let queue: Vec<Value> = entries.iter().map(|e| json!(e)).collect();
    out.object(&json!({ "queue": queue }))?;
    Ok(ExitCode::SUCCESS)
}

/// `sealpost backup FILE`: to a temporary name, and only when all of it is on the disk to the one asked for.
pub fn backup(args: &Backup, out: Output) -> Outcome {
    let config = Config::load(config_of(&args.server)?).map_err(Failure::failed)?;
    let no_file = |reason: &dyn std::fmt::Display| {
        Failure::failed(format_args!(
            "the backup could not be written to {}: {reason}; free some space there or name a file on another disk",
            args.file.display()
        ))
    };
    let fail = |error: std::io::Error| no_file(&error);
    let folder = args.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // For its owner alone (0600), and removed on every way out but the last.
    let file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    let handle = file.as_file().try_clone().map_err(fail)?;
    let summary = block_on(admin::backup(&config, handle))?.map_err(|error| match error {
        AdminError::Output(reason) => no_file(&reason),
        error => error.into(),
    })?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(&args.file).map_err(|e| fail(e.error))?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)?;
    out.line(format!(
        "{}: {} accounts, {} messages, {} octets",
        args.file.display(),
        summary.accounts,
        summary.messages,
        summary.octets
    ))?;
    out.object(&json!({
        "file": args.file, "accounts": summary.accounts, "messages": summary.messages, "octets": summary.octets
    }))?;
    Ok(ExitCode::SUCCESS)
}

/// `sealpost restore FILE`.
pub fn restore(args: &Restore, out: Output) -> Outcome {
    let config = args.config.as_deref().map(Config::load).transpose().map_err(Failure::failed)?;
    let folder = args.data_dir.as_deref().or(config.as_ref().map(|c| c.data_dir.as_path()));
    let folder = folder.ok_or_else(|| Failure::usage("say where to: --config FILE or --data-dir DIR"))?;
    // Opened before this process may become the server's user, who need not be able to read it.
    let file = std::fs::File::open(&args.file).map_err(|e| Failure::file("cannot read", &args.file, &e))?;
    let user = config.as_ref().and_then(|c| c.user.as_deref());
    let summary = block_on(admin::restore(file, folder, user))??;
    out.line(format!(
        "{}: {} accounts and {} messages are restored; mail programs will fetch their mailboxes anew",
        folder.display(),
        summary.accounts,
        summary.messages
    ))?;
    out.object(&json!({ "data_dir": folder, "accounts": summary.accounts, "messages": summary.messages }))?;
    Ok(ExitCode::SUCCESS)
}
