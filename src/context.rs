//! What the client's commands share: the folder, the network options, the person, the runtime.

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    output::Output,
    person::Person,
    secrets,
};
use sealpost_client::{
    client::{Client, Custody, Environment, Settings},
    error::ClientError,
    keystore::{NoKeyStore, SecretService},
    ui::Ui,
};
use sealpost_crypto::kdf::Password;
use sealpost_proto::address::{Address, Mailbox};
use serde_json::{Value, json};
use std::{
    env,
    future::Future,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The global options, settled.
pub struct Context {
    /// Where to print.
    pub output: Output,
    /// `--password-file`.
    pub password_file: Option<PathBuf>,
    /// The client of the folder.
    pub client: Client,
    settings: Settings,
}

/// Where the client's folder is if nobody says: the user's data folder (XDG Base Directory Specification).
fn default_dir() -> Result<PathBuf, Failure> {
    let from = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    from("SEALPOST_DIR")
        .or_else(|| from("XDG_DATA_HOME").filter(|p| p.is_absolute()).map(|p| p.join("sealpost")))
        .or_else(|| from("HOME").map(|p| p.join(".local/share/sealpost")))
        .ok_or_else(|| Failure::usage("say where the client's folder is: --dir DIR"))
}

/// The machine's own clock, randomness and key store.
fn environment(ui: Arc<dyn Ui>) -> Environment {
    let mut environment = Environment::system(Arc::clone(&ui));
    environment.key_store = match env::var_os("SEALPOST_KEY_STORE") {
        Some(word) if word == "none" => Arc::new(NoKeyStore),
        _ => Arc::new(SecretService::new(ui)),
    };
    environment
}

impl Context {
    /// From the command line.
    pub fn new(global: &Global, output: Output) -> Result<Self, Failure> {
        let dir = match &global.dir {
            Some(dir) => dir.clone(),
            None => default_dir()?,
        };
        let settings =
            Settings { dir, dns: global.dns, ca_file: global.ca_file.clone(), mx_port: global.mx_port };
        let client = Client::new(settings.clone(), environment(Arc::new(Person::default())));
        Ok(Self { output, password_file: global.password_file.clone(), client, settings })
    }

    /// The same client with another one to tell and ask.
    pub fn client_for(&self, ui: Arc<dyn Ui>) -> Client {
        Client::new(self.settings.clone(), environment(ui))
    }

    /// The client's folder.
    pub fn dir(&self) -> &Path {
        &self.settings.dir
    }

    /// A client of another folder, under the same options.
    pub fn client_of(&self, dir: &Path) -> Client {
        let settings = Settings { dir: dir.to_owned(), ..self.settings.clone() };
        Client::new(settings, environment(Arc::new(Person::default())))
    }

    /// The present password: `--password-file`, a prompt or standard input.
    pub fn password(&self) -> Result<Password, Failure> {
        let text = secrets::obtain(self.password_file.as_deref(), "Password", "--password-file")?;
        Password::new(&text).map_err(Failure::failed)
    }

    /// Unlocks a locked device where somebody can be asked: with `--password-file` or on a terminal. Standard input that is
    /// none may hold a message, which is not to be taken for a password.
    pub fn unlocked(self) -> Result<Self, Failure> {
        let asks = || self.password_file.is_some() || io::stdin().is_terminal();
        if matches!(self.client.custody(), Ok(Custody::Locked)) && asks() {
            let password = self.password()?;
            block_on(self.client.unlock(&password))??;
        }
        Ok(self)
    }
}

/// Runs one command's work to its end.
pub fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::failed(format_args!("cannot start: {e}")))?;
    let result = runtime.block_on(work);
    // A thread that waits for a slow name server must not hold up the end.
    runtime.shutdown_background();
    Ok(result)
}

/// An address of an account.
pub fn address(text: &str) -> Result<Address, Failure> {
    Address::parse(text).map_err(|e| Failure::usage(format_args!("{text}: {e}")))
}

/// An address of anybody, as written.
pub fn mailbox(text: &str) -> Result<Mailbox, Failure> {
    Mailbox::parse(text).map_err(|e| Failure::usage(format_args!("{text}: {e}")))
}

/// Whether a path is `-`: standard input or output.
pub fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match error.exit_code() {
            3 => Exit::Decide,
            4 => Exit::Withheld,
            5 => Exit::Later,
            6 => Exit::SignIn,
            _ => Exit::Failed,
        };
        let details: Option<Value> = match &error {
            ClientError::NotSent(report) => Some(json!({
                "message_id": report.message_id,
                "recipients": crate::mail::recipients(report),
                "notes": report.notes,
            })),
            _ => None,
        };
        Self { exit, message: error.to_string(), details }
    }
}
