//! The table of capabilities: the document made from it, the tests it names, and that each session is shown its rows.

use super::harness::{Client, Server};
use sealpost_proto::sasl::Mechanism;
use sealpost_server::imap::capability::{self, Moment, TABLE, Value};
use std::{fmt::Write as _, fs, path::Path};
use tokio::net::TcpStream;

const PREAMBLE: &str = "\
# IMAP and its extensions

Made from the table in [capability.rs](../crates/server/src/imap/capability.rs), from which the server answers
CAPABILITY; a test fails where the two differ. To write it anew: `REWRITE=1 cargo test -p sealpost-server --test it
imap::capability`. What is half built is not advertised, and has no row.

| capability | defined in | shown | what it gives | tests |
|---|---|---|---|---|
";

fn server_crate() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn root() -> &'static Path {
    server_crate().ancestors().nth(2).unwrap()
}

/// The file, from the root of the tree, that holds a test or is a dialogue.
fn holder(test: &str) -> Option<String> {
    if test.starts_with("dialogues/") {
        let path = format!("crates/server/tests/{test}");
        return root().join(&path).is_file().then_some(path);
    }
    let (module, name) = test.rsplit_once("::")?;
    let module = module.replace("::", "/");
    for folder in ["crates/server/tests/it", "tests/it"] {
        for path in [format!("{folder}/{module}.rs"), format!("{folder}/{module}/mod.rs")] {
            let source = fs::read_to_string(root().join(&path)).unwrap_or_default();
            if source.contains(&format!("fn {name}(")) {
                return Some(path);
            }
        }
    }
    None
}

#[test]
fn the_document_is_that_of_the_table() {
    let mut page = PREAMBLE.to_owned();
    for row in TABLE {
        let value = if row.value == Value::MessageSize { "*octets*" } else { "" };
        let tests: Vec<String> = row
            .tests
            .iter()
            .map(|test| {
                let file = holder(test)
                    .unwrap_or_else(|| panic!("{}: there is no test or dialogue {test}", row.name));
                let name = test.rsplit(['/', ':']).next().unwrap_or(test);
                format!("[{name}](../{file})")
            })
            .collect();
        assert!(!tests.is_empty(), "{} has no test", row.name);
        let (name, shown) = (row.name, row.shown.words());
        let _ = writeln!(
            page,
            "| `{name}`{value} | {} | {shown} | {} | {} |",
            row.rfc,
            row.about,
            tests.join(", ")
        );
    }
    let file = root().join("docs/imap.md");
    if std::env::var_os("REWRITE").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == page,
        "docs/imap.md is not that of the table; write it anew with REWRITE=1 (see CONTRIBUTING.md)"
    );
}

#[test]
fn the_table_names_each_capability_once_and_every_mechanism() {
    let names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
    for (i, name) in names.iter().enumerate() {
        assert!(!names[..i].contains(name), "{name} stands twice");
        assert!(
            name.bytes().all(|b| b.is_ascii_graphic() && !b"(){%*\"\\]".contains(&b)),
            "{name} is no atom"
        );
    }
    for mechanism in Mechanism::ALL {
        assert!(names.contains(&format!("AUTH={}", mechanism.name()).as_str()), "{}", mechanism.name());
    }
}

#[tokio::test]
async fn each_session_is_shown_what_belongs_to_its_moment() {
    let server = Server::start().await;
    let message_size = server.ctx.config.limits.message_size;
    let want = |tls, signed_in| {
        format!("* CAPABILITY {}", capability::list(Moment { tls, can_bind: tls, signed_in, message_size }))
    };
    let mut client = Client::over(TcpStream::connect(server.imap).await.unwrap());
    client.line().await;
    assert_eq!(client.ok("CAPABILITY").await, [want(false, false)]);
    assert_eq!(server.connect().await.ok("CAPABILITY").await, [want(true, false)]);
    let signed_in = server.session().await.ok("CAPABILITY").await;
    assert_eq!(signed_in, [want(true, true)]);
    assert!(!signed_in[0].contains("AUTH="), "{signed_in:?}");
}
