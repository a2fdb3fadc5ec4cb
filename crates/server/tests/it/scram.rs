//! A client of SCRAM-SHA-256, written from RFC 5802 §3 and sharing nothing with the server but the primitives.

use hmac::{Hmac, Mac as _};
use sealpost_proto::base64;
use sha2::{Digest as _, Sha256};

/// A conversation, from the client's side.
pub(crate) struct Scram {
    header: String,
    bound: Vec<u8>,
    bare: String,
    token: String,
    signature: [u8; 32],
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

impl Scram {
    /// `header` is the GS2 header, `bound` the octets of the channel binding.
    pub(crate) fn new(header: &str, bound: &[u8], user: &str, token: &str) -> Self {
        Self {
            header: header.to_owned(),
            bound: bound.to_vec(),
            bare: format!("n={user},r=rOprNGfwEbeRWgbNEkqO"),
            token: token.to_owned(),
            signature: [0; 32],
        }
    }

    /// The first message, in base64.
    pub(crate) fn first(&self) -> String {
        base64::encode(format!("{}{}", self.header, self.bare))
    }

    /// The last message for the server's challenge, both in base64.
    pub(crate) fn last(&mut self, challenge: &str) -> String {
        let challenge = String::from_utf8(base64::decode(challenge).unwrap()).unwrap();
        let part = |name: &str| challenge.split(',').find_map(|p| p.strip_prefix(name)).unwrap();
        assert!(part("r=").starts_with("rOprNGfwEbeRWgbNEkqO") && part("r=").len() >= 40, "{challenge}");
        let salt = base64::decode(part("s=")).unwrap();
        let rounds = part("i=").parse().unwrap();
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(self.token.as_bytes(), &salt, rounds);
        let c = base64::encode([self.header.as_bytes(), &self.bound].concat());
        let without_proof = format!("c={c},r={}", part("r="));
        let auth = format!("{},{challenge},{without_proof}", self.bare);
        let client_key = hmac(&salted, b"Client Key");
        let client_signature = hmac(&Sha256::digest(client_key), auth.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(client_signature).map(|(k, s)| k ^ s).collect();
        self.signature = hmac(&hmac(&salted, b"Server Key"), auth.as_bytes());
        base64::encode(format!("{without_proof},p={}", base64::encode(proof)))
    }

    /// Whether this is the proof of a server that knows the app password.
    pub(crate) fn is_proved_by(&self, challenge: &str) -> bool {
        challenge == base64::encode(format!("v={}", base64::encode(self.signature)))
    }
}

/// A challenge without what differs for every user and conversation.
pub(crate) fn form(challenge: &str) -> String {
    let text = String::from_utf8(base64::decode(challenge).unwrap()).unwrap();
    text.split(',')
        .map(
            |part| {
                if part.starts_with("i=") {
                    part.to_owned()
                } else {
                    format!("{} {}", &part[..2], part.len())
                }
            },
        )
        .collect::<Vec<_>>()
        .join(",")
}
