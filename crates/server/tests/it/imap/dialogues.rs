//! Dialogues as text (`tests/dialogues/imap/*.txt`): `C:` is sent, `S:` must come; `*` at its end leaves the rest open.
//! `C2:` and `S2:` are a second session of the same server, begun (greeting read) where it is first named, and so on.
//! `Q:` is the quota that an administrator gives the account, in octets.

use super::harness::{ALICE, Server};
use sealpost_proto::address::Address;
use sealpost_store::account::{Quota, Resource};
use std::{collections::BTreeMap, path::Path};

#[tokio::test]
async fn every_dialogue() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues/imap");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let server = Server::start().await;
        let mut sessions = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            if let Some(octets) = line.strip_prefix("Q: ") {
                let quota = Quota::AtMost(octets.parse().unwrap());
                server
                    .ctx
                    .store
                    .set_quota(&Address::parse(ALICE).unwrap(), Resource::Octets, quota)
                    .await
                    .unwrap();
                continue;
            }
            // A comment, or one of `C:`, `S:`, `C2:`, `S2:`, ...
            let Some((speaker, rest)) = line.split_once(':').filter(|_| line.starts_with(['C', 'S'])) else {
                assert!(line.is_empty() || line.starts_with('#'), "{place}: neither a line nor a comment");
                continue;
            };
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            if !sessions.contains_key(&speaker[1..]) {
                sessions.insert(speaker[1..].to_owned(), server.connect().await);
            }
            let Some(client) = sessions.get_mut(&speaker[1..]) else { unreachable!("inserted above") };
            if speaker.starts_with('C') {
                client.send(format!("{rest}\r\n")).await;
            } else {
                let came = client.line().await;
                match rest.strip_suffix('*') {
                    Some(start) => assert!(came.starts_with(start), "{place}: {came}"),
                    None => assert_eq!(came, rest.trim_end(), "{place}"),
                }
            }
        }
        seen += 1;
    }
    assert!(seen > 0);
}
