//! Dialogues as text (`tests/dialogues/pop3/*.txt`): `C:` is sent, `S:` must come; `*` at its end leaves the rest open.
//! `C2:` and `S2:` are a second session, `I:` and `J:` one of IMAP with INBOX selected; each begins where it is first named.

use super::harness::{Imap, Pop3};
use crate::kit::{Client, Kit};
use std::{collections::BTreeMap, path::Path};

#[tokio::test]
async fn every_dialogue() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues/pop3");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let kit = Kit::new().await;
        let mut sessions: BTreeMap<String, Client> = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            let Some((speaker, rest)) =
                line.split_once(':').filter(|_| line.starts_with(['C', 'S', 'I', 'J']))
            else {
                assert!(line.is_empty() || line.starts_with('#'), "{place}: neither a line nor a comment");
                continue;
            };
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let (is_imap, name) = (speaker.starts_with(['I', 'J']), speaker.replace(['S', 'J'], "C"));
            let name = if is_imap { "imap".to_owned() } else { name };
            if !sessions.contains_key(&name) {
                let fresh =
                    if is_imap { Imap::alice(&kit).await.client } else { Pop3::connect(&kit).await.0 };
                sessions.insert(name.clone(), fresh);
            }
            let Some(client) = sessions.get_mut(&name) else { unreachable!("inserted above") };
            if speaker.starts_with(['C', 'I']) {
                client.send(format!("{rest}\r\n")).await;
            } else {
                let came = client.line().await;
                let came = came.trim_end_matches("\r\n");
                match rest.strip_suffix('*') {
                    Some(start) => assert!(came.starts_with(start), "{place}: {came}"),
                    None => assert_eq!(came, rest, "{place}"),
                }
            }
        }
        seen += 1;
    }
    assert!(seen > 0);
}
