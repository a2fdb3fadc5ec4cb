//! SCRAM-SHA-256 and -PLUS in IMAP (RFC 5802, RFC 7677, profile §4).

use super::harness::{ALICE, Client, NOW, Server, TOKEN};
use crate::scram::{Scram, form};
use sealpost_server::apppass;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// AUTHENTICATE up to the tagged reply; `None` in place of the server's proof where it did not come.
    async fn scram(&mut self, mechanism: &str, scram: &mut Scram) -> (Option<String>, String) {
        self.send(format!("s AUTHENTICATE {mechanism} {}\r\n", scram.first())).await;
        let challenge = self.line().await;
        let Some(challenge) = challenge.strip_prefix("+ ") else { return (None, challenge) };
        let last = scram.last(challenge);
        self.send(format!("{last}\r\n")).await;
        let proof = self.line().await;
        let Some(proof) = proof.strip_prefix("+ ") else { return (None, proof) };
        self.send("\r\n").await;
        (Some(proof.to_owned()), self.line().await)
    }
}

fn exporter(client: &Client<TlsStream<TcpStream>>) -> Vec<u8> {
    let connection = client.stream.get_ref().1;
    connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap().to_vec()
}

/// The certificate of the tests is signed with ECDSA and SHA-256.
fn end_point(client: &Client<TlsStream<TcpStream>>) -> Vec<u8> {
    Sha256::digest(&client.stream.get_ref().1.peer_certificates().unwrap()[0]).to_vec()
}

#[tokio::test]
async fn r15_scram_and_plus_with_a_client_of_their_own() {
    let server = Server::start().await;
    let ways = [
        ("SCRAM-SHA-256", "n,,", None),
        ("scram-sha-256", "n,a=alice@example.net,", None),
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", Some(exporter as fn(&_) -> _)),
        ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", Some(end_point)),
    ];
    for (number, (mechanism, header, bound)) in ways.into_iter().enumerate() {
        let mut client = server.connect().await;
        let bound = bound.map(|of| of(&client)).unwrap_or_default();
        let mut scram = Scram::new(header, &bound, "Alice@Example.NET", TOKEN);
        if header.contains("a=") {
            scram = Scram::new(header, &bound, ALICE, TOKEN);
        }
        let (proof, status) = client.scram(mechanism, &mut scram).await;
        assert!(scram.is_proved_by(&proof.unwrap()), "the server did not prove that it knows the token");
        assert!(status.starts_with("s OK [CAPABILITY "), "{status}");
        // What this session does, another one sees.
        client.ok(&format!("CREATE way-{number}")).await;
    }
    assert_eq!(server.session().await.ok("LIST \"\" way-*").await.len(), 4);
}

#[tokio::test]
async fn a_binding_to_another_connection_and_a_downgrade_are_refused() {
    let server = Server::start().await;
    let elsewhere = exporter(&server.connect().await);
    for (mechanism, header, bound, want) in [
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", elsewhere.as_slice(), "channel bindings differ"),
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", &[], "channel bindings differ"),
        ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", &[1; 32], "channel bindings differ"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,", &[1; 12], "not supported"),
        ("SCRAM-SHA-256-PLUS", "n,,", &[], "not supported"),
        ("SCRAM-SHA-256", "p=tls-exporter,,", &[], "not supported"),
        ("SCRAM-SHA-256", "y,,", &[], "was offered and not seen"),
    ] {
        let mut client = server.connect().await;
        let (proof, status) = client.scram(mechanism, &mut Scram::new(header, bound, ALICE, TOKEN)).await;
        assert!(
            proof.is_none() && status.starts_with("s BAD ") && status.contains(want),
            "{header} {status}"
        );
        assert!(client.refused("SELECT INBOX").await.starts_with("BAD"));
    }
    // None of it counts as a failed login.
    let mut client = server.connect().await;
    assert!(
        client.scram("SCRAM-SHA-256", &mut Scram::new("n,,", b"", ALICE, TOKEN)).await.1.starts_with("s OK")
    );
}

/// Profile §4: who has no account, no app password, or one from before SCRAM, is asked and refused alike.
#[tokio::test]
async fn refusals_are_alike_for_known_unknown_and_older_app_passwords() {
    let server = Server::start().await;
    let old = "app-password-of-alice-0000";
    server.ctx.store.add_app_password(server.account, apppass::make("old", old, [9; 16], NOW)).await.unwrap();
    let mut forms = std::collections::BTreeSet::new();
    let mut salts = Vec::new();
    for (user, token) in [
        (ALICE, "wrong"),
        (ALICE, old),
        ("nobody@example.net", TOKEN),
        ("nobody@example.net", TOKEN),
        ("no address", TOKEN),
    ] {
        let mut client = server.connect().await;
        let mut scram = Scram::new("n,,", b"", user, token);
        client.send(format!("s AUTHENTICATE SCRAM-SHA-256 {}\r\n", scram.first())).await;
        let challenge = client.line().await[2..].to_owned();
        forms.insert(form(&challenge));
        let text = String::from_utf8(sealpost_proto::base64::decode(&challenge).unwrap()).unwrap();
        salts.push(text.split(',').nth(1).unwrap().to_owned());
        client.send(format!("{}\r\n", scram.last(&challenge))).await;
        let status = client.line().await;
        assert!(status.starts_with("s NO [AUTHENTICATIONFAILED]"), "{user}: {status}");
    }
    assert_eq!(forms.len(), 1, "{forms:?}");
    assert_eq!((&salts[0], &salts[2]), (&salts[1], &salts[3]), "steady");
    assert_ne!(salts[0], salts[2]);
    // The older one works where the token itself is sent.
    server.connect().await.ok(&format!("LOGIN {ALICE} {old}")).await;
}

#[tokio::test]
async fn who_breaks_off_before_the_end_is_not_signed_in() {
    let server = Server::start().await;
    for end in ["*\r\n", "AA==\r\n", "!\r\n"] {
        let mut client = server.connect().await;
        let mut scram = Scram::new("n,,", b"", ALICE, TOKEN);
        // No initial response: an empty challenge asks for it.
        client.send("s AUTHENTICATE SCRAM-SHA-256\r\n").await;
        assert_eq!(client.line().await, "+");
        client.send(format!("{}\r\n", scram.first())).await;
        let last = scram.last(&client.line().await[2..]);
        client.send(format!("{last}\r\n")).await;
        assert!(scram.is_proved_by(&client.line().await[2..]));
        client.send(end).await;
        assert!(client.line().await.starts_with("s BAD "));
        assert!(client.refused("SELECT INBOX").await.starts_with("BAD"));
    }
}

#[tokio::test]
async fn a_proof_is_worth_nothing_in_another_conversation() {
    let server = Server::start().await;
    let mut first = server.connect().await;
    let mut scram = Scram::new("n,,", b"", ALICE, TOKEN);
    first.send(format!("s AUTHENTICATE SCRAM-SHA-256 {}\r\n", scram.first())).await;
    let last = scram.last(&first.line().await[2..]);
    let mut second = server.connect().await;
    second.send(format!("s AUTHENTICATE SCRAM-SHA-256 {}\r\n{last}\r\n", scram.first())).await;
    assert!(second.line().await.starts_with("+ "));
    assert!(second.line().await.starts_with("s BAD "));
}
