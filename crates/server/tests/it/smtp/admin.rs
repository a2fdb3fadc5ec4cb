//! The control socket, and the same requests without a server.

use super::kit::*;
use sealpost_server::admin::{AdminError, Request, Response, call};
use std::os::unix::fs::PermissionsExt as _;

fn add(address: &str) -> Request {
    Request::UserAdd { address: address.into() }
}

fn app(name: &str, token: Option<&str>) -> Request {
    Request::AppPasswordAdd { address: ALICE.into(), name: name.into(), token: token.map(Into::into) }
}

fn refusal(result: Result<Response, AdminError>) -> String {
    result.err().unwrap().to_string()
}

#[tokio::test]
async fn through_the_socket_of_a_running_server() {
    let kit = Kit::empty().await;
    let config = kit.server.context.config.clone();
    let mode = std::fs::metadata(config.control_socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    all_requests(&config).await;
}

#[tokio::test]
async fn under_the_stores_lock_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    std::fs::create_dir_all(&config.data_dir).unwrap();
    all_requests(&config).await;
}

async fn all_requests(config: &sealpost_server::config::Config) {
    let Ok(Response::Code { address, code }) = call(config, add("Alice@Example.net")).await else {
        panic!("no code")
    };
    assert_eq!(address, ALICE);
    assert!(code.len() >= 26);
    assert!(refusal(call(config, add(ALICE)).await).contains("exists already"));
    assert!(
        refusal(call(config, add("alice@elsewhere.example")).await).contains("none of this server's domains")
    );
    assert!(refusal(call(config, add("alice+x@example.net")).await).contains("+detail"));
    assert!(refusal(call(config, add("nonsense")).await).contains("name@domain"));
    let Ok(Response::Code { code: second, .. }) =
        call(config, Request::UserReset { address: ALICE.into() }).await
    else {
        panic!("no code")
    };
    assert_ne!(code, second);
    assert!(refusal(call(config, Request::UserReset { address: BOB.into() }).await).contains("no account"));
    let Ok(Response::AppPassword { token, .. }) = call(config, app("phone", None)).await else {
        panic!("no token")
    };
    assert!(token.len() >= 26);
    assert!(call(config, app("script", Some(TOKEN))).await.is_ok());
    assert!(refusal(call(config, app("script", Some(TOKEN))).await).contains("already"));
    assert!(refusal(call(config, app("x", Some("nineteen characters"))).await).contains("at least 20"));
    assert!(call(config, app("y", Some("twenty characters !!"))).await.is_ok());
    assert!(refusal(call(config, app("", None)).await).contains("name"));
    let revoke = |name: &str| Request::AppPasswordRevoke { address: ALICE.into(), name: name.into() };
    assert!(matches!(call(config, revoke("y")).await, Ok(Response::Done)));
    assert!(refusal(call(config, revoke("y")).await).contains("no app password"));
    let list = call(config, Request::AppPasswordList { address: ALICE.into() }).await;
    let Ok(Response::AppPasswords { app_passwords, .. }) = list else { panic!("no list") };
    assert_eq!(app_passwords.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["phone", "script"]);
    let Ok(Response::Users { users }) = call(config, Request::UserList).await else { panic!("no list") };
    assert_eq!(users.iter().map(|u| (u.address.as_str(), u.enrolled)).collect::<Vec<_>>(), [(ALICE, false)]);
    assert!(
        matches!(call(config, Request::QueueList).await, Ok(Response::Queue { entries }) if entries.is_empty())
    );
    assert!(matches!(call(config, Request::UserRemove { address: ALICE.into() }).await, Ok(Response::Done)));
    assert!(
        matches!(call(config, Request::UserList).await, Ok(Response::Users { users }) if users.is_empty())
    );
}

#[tokio::test]
async fn removal_closes_the_sessions() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    assert!(matches!(kit.admin(Request::UserRemove { address: ALICE.into() }).await, Response::Done));
    assert!(alice.reply().await.starts_with("421 "));
    assert!(kit.submission().await.cmd(&auth(ALICE, 1)).await.starts_with("535 "));
}

#[tokio::test]
async fn nonsense_is_refused_without_repeating_it() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let kit = Kit::empty().await;
    for line in ["\n", "{}\n", "{\"request\":\"user-add\",\"token\":\"secret\"}\n", "secret\n"] {
        let mut socket =
            tokio::net::UnixStream::connect(kit.server.context.config.control_socket()).await.unwrap();
        socket.write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("{\"response\":\"error\"") && !answer.contains("secret"), "{answer}");
    }
}

/// `serve --check` says what is wrong before anything is started.
#[test]
fn check_finds_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let good = config(folder.path(), "");
    good.check().unwrap();
    let refusal = |change: &dyn Fn(&mut sealpost_server::config::Config)| {
        let mut config = good.clone();
        change(&mut config);
        config.check().unwrap_err().to_string()
    };
    assert!(
        refusal(&|c| c.hostname = "mx.example.net".into()).contains("does not bear the name mx.example.net")
    );
    assert!(refusal(&|c| c.tls.key = c.tls.cert.clone()).contains("cert.pem"));
    assert!(refusal(&|c| c.tls.cert = "/nowhere".into()).contains("/nowhere"));
    assert!(refusal(&|c| c.ca_file = Some(c.tls.key.clone())).contains("no certificate"));
    assert!(refusal(&|c| c.listen = sealpost_server::config::Listen::default()).contains("[listen]"));
    let elsewhere = sealpost_proto::address::Address::parse("a@elsewhere.example").ok();
    assert!(refusal(&|c| c.postmaster.clone_from(&elsewhere)).contains("a@elsewhere.example"));
}
