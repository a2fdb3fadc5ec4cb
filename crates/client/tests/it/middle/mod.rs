//! Attacks on a client by a man in the middle, or, which is the same from the outside, by a server that turned
//! hostile. Each scenario is run without the attack first: a refusal is then known to come from the attack.

mod home;
mod keyrings;
mod lookups;
mod rows;
mod slow;
mod statements;

use crate::world::{World, message};
use sealpost_client::{
    client::{Client, Outcome, Policy, RecipientReport},
    error::ClientError,
};

const ALICE: &str = "alice@example.net";
const BOB: &str = "bob@example.com";
const CAROL: &str = "carol@example.com";
const FIRST: &str = "purple walrus juggles forty lanterns";
const SECOND: &str = "quiet marble engine borrows thunder";

const NONE: Policy = Policy { allow_plain: false, sealed_only: false, trust_first_use: false };
const PLAIN: Policy = Policy { allow_plain: true, ..NONE };
const EVERY: Policy = Policy { allow_plain: true, trust_first_use: true, ..NONE };

/// What becomes of a message to `to`.
async fn send(client: &Client, to: &str, policy: Policy) -> RecipientReport {
    let mut request = message(&[to], "s", "t");
    request.policy = policy;
    match client.send(request).await {
        Ok(mut report) => report.recipients.remove(0),
        Err(ClientError::NotSent(mut report)) => report.recipients.remove(0),
        Err(error) => panic!("{error}"),
    }
}

/// The same, with the words that must be in what the user is told.
async fn expect(what: &str, client: &Client, to: &str, policy: Policy, outcome: Outcome, words: &[&str]) {
    let report = send(client, to, policy).await;
    assert_eq!(report.outcome, outcome, "{what}: {report:?}");
    for word in words {
        assert!(report.why.contains(word), "{what}: {word:?} in {:?}", report.why);
    }
}
