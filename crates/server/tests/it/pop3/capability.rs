//! The table of capabilities: the document made from it, and the tests it names.

use sealpost_proto::pop3::capability::{ALL, When};
use std::{fmt::Write as _, fs, path::Path};

const PREAMBLE: &str = "\
# POP3 and its extensions

Made from the table in [capability.rs](../crates/proto/src/pop3/capability.rs), from which the server answers CAPA; a test
fails where the two differ. To write it anew: `REWRITE=1 cargo test -p sealpost-server --test it pop3::capability`.

The maildrop is INBOX as it was at login. Nothing is locked: several devices, and IMAP beside them, may be signed in at
once. RETR marks nothing as read; DELE takes effect at QUIT, for all marked messages together or for none, and a session
that breaks or idles for ten minutes removes nothing. A message that does not end in CRLF (IMAP can store one) is sent with
one, and counted with it. A header with UTF-8 goes to a program that has not said UTF8 in encoded words (an address that
ASCII cannot write as words before `<non-ascii-address@invalid>`); LIST counts the message as it is stored. APOP is not
offered: it needs the password itself on the server.

| capability | defined in | shown | what it gives | tests |
|---|---|---|---|---|
";

#[test]
fn the_document_is_that_of_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut page = PREAMBLE.to_owned();
    for row in ALL {
        let file = format!("crates/server/tests/{}", row.tests);
        assert!(root.join(&file).is_file(), "{}: there is no {file}", row.tag);
        let shown = match row.when {
            When::Always => "always",
            When::Clear => "before TLS",
            When::Tls => "in TLS",
        };
        let (tag, rfc, gives, name) = (row.tag, row.rfc, row.gives, row.tests.rsplit('/').next().unwrap());
        let _ = writeln!(page, "| `{tag}` | {rfc} | {shown} | {gives} | [{name}](../{file}) |");
    }
    let file = root.join("docs/pop3.md");
    if std::env::var_os("REWRITE").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == page, "docs/pop3.md is not that of the table; write it anew with REWRITE=1");
}
