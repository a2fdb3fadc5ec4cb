//! Dialogues as text (`tests/dialogues/imap/*.txt`): `C:` is sent, `S:` must come; `*` at its end leaves the rest open.

use super::harness::Server;
use std::path::Path;

#[tokio::test]
async fn every_dialogue() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues/imap");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let server = Server::start().await;
        let mut client = server.connect().await;
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            if let Some(send) = line.strip_prefix("C: ") {
                client.send(format!("{send}\r\n")).await;
            } else if let Some(expected) = line.strip_prefix("S: ") {
                let came = client.line().await;
                match expected.strip_suffix('*') {
                    Some(start) => assert!(came.starts_with(start), "{place}: {came}"),
                    None => assert_eq!(came, expected.trim_end(), "{place}"),
                }
            }
        }
        seen += 1;
    }
    assert!(seen > 0);
}
