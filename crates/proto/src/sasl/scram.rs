//! SCRAM (RFC 5802, with SHA-256 as RFC 7677 has it) on the server's side: its three messages, and the order in which
//! they come. What is proved is for the caller to check; here are no keys.

use super::{Proof, SaslError, USER_MAX};
use crate::base64;
use zeroize::Zeroize as _;

/// Longest nonce of a client, in octets: programs send 16 to 64.
const NONCE_MAX: usize = 256;

/// What a TLS connection can be bound to, so that nobody in the middle can pass a login on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Keying material of the connection itself (RFC 9266).
    TlsExporter,
    /// The hash of the server's certificate (RFC 5929 §4).
    TlsServerEndPoint,
}

impl Binding {
    /// By its registered name, which is case-sensitive (RFC 5802 §7).
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "tls-exporter" => Some(Self::TlsExporter),
            "tls-server-end-point" => Some(Self::TlsServerEndPoint),
            _ => None,
        }
    }
}

/// What the client asks with its first message.
pub struct Question {
    /// The user name as sent, not yet parsed as an address.
    pub user: String,
    /// What the client binds the login to.
    pub binding: Option<Binding>,
}

/// The answer.
pub struct Parameters {
    /// The user's salt, or a steady false one.
    pub salt: Vec<u8>,
    /// Iterations of PBKDF2.
    pub iterations: u32,
    /// The server's part of the nonce: fresh, printable, without a comma.
    pub nonce: String,
    /// The octets of the binding that was asked for; `None` where this connection has none.
    pub binding: Option<Vec<u8>>,
    /// Whether SCRAM-SHA-256-PLUS was offered in this session.
    pub plus_offered: bool,
}

/// `gs2-cbind-flag` (RFC 5802 §7).
enum Flag {
    /// `n`: the client cannot bind.
    Cannot,
    /// `y`: it can, and believes that the server cannot.
    Offered,
    /// `p=`
    Bound(Binding),
}

/// `client-first-message` (RFC 5802 §7).
pub(super) struct First {
    flag: Flag,
    /// `gs2-header`, which the last message repeats.
    header: String,
    bare: String,
    user: String,
    nonce: String,
}

impl First {
    /// `plus`: of the mechanism SCRAM-SHA-256-PLUS.
    pub(super) fn parse(octets: &[u8], plus: bool) -> Result<Self, SaslError> {
        let text = std::str::from_utf8(octets).map_err(|_| SaslError::Message)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SaslError::Message);
        };
        let flag = match flag {
            "n" => Flag::Cannot,
            "y" => Flag::Offered,
            _ => {
                let name = flag.strip_prefix("p=").ok_or(SaslError::Message)?;
                Flag::Bound(Binding::from_name(name).ok_or(SaslError::BindingType)?)
            }
        };
        // RFC 5802 §6: "p" and -PLUS go together, always.
        if plus != matches!(flag, Flag::Bound(_)) {
            return Err(SaslError::BindingType);
        }
        // An `m=` in front would be an extension that must be understood (§5.1): refused with all that is no `n=`.
        let (user, rest) =
            bare.strip_prefix("n=").and_then(|t| t.split_once(',')).ok_or(SaslError::Message)?;
        let user = sasl_name(user)?;
        if !authzid.is_empty() {
            let authzid = authzid.strip_prefix("a=").ok_or(SaslError::Message)?;
            if sasl_name(authzid)? != user {
                return Err(SaslError::AuthorizationId);
            }
        }
        let nonce = rest.split(',').next().and_then(|t| t.strip_prefix("r=")).ok_or(SaslError::Message)?;
        if nonce.is_empty() || nonce.len() > NONCE_MAX || !nonce.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(SaslError::Message);
        }
        Ok(Self {
            header: text[..text.len() - bare.len()].to_owned(),
            nonce: nonce.to_owned(),
            bare: bare.to_owned(),
            flag,
            user,
        })
    }

    pub(super) fn question(&self) -> Question {
        let binding = match self.flag {
            Flag::Bound(binding) => Some(binding),
            Flag::Cannot | Flag::Offered => None,
        };
        Question { user: self.user.clone(), binding }
    }

    /// What to send, and what to wait with.
    pub(super) fn answer(self, parameters: &Parameters) -> Result<(String, Waiting), SaslError> {
        let mut bound = self.header.into_bytes();
        match self.flag {
            // Somebody took -PLUS out of what we offered (RFC 5802 §6).
            Flag::Offered if parameters.plus_offered => return Err(SaslError::Downgrade),
            Flag::Cannot | Flag::Offered => {}
            Flag::Bound(_) => {
                bound.extend_from_slice(parameters.binding.as_deref().ok_or(SaslError::BindingType)?);
            }
        }
        let nonce = self.nonce + &parameters.nonce;
        let message = format!("r={nonce},s={},i={}", base64::encode(&parameters.salt), parameters.iterations);
        let transcript = format!("{},{message},", self.bare);
        Ok((message, Waiting { user: self.user, bound, nonce, transcript }))
    }
}

/// Between the server's first message and the client's last one.
pub(super) struct Waiting {
    user: String,
    /// What `c=` must hold.
    bound: Vec<u8>,
    nonce: String,
    /// `AuthMessage` without its last part.
    transcript: String,
}

impl Waiting {
    /// `client-final-message` (RFC 5802 §7).
    pub(super) fn finish(self, octets: &[u8]) -> Result<Proof, SaslError> {
        let text = std::str::from_utf8(octets).map_err(|_| SaslError::Message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(SaslError::Message)?;
        let (binding, rest) =
            without_proof.strip_prefix("c=").and_then(|t| t.split_once(',')).ok_or(SaslError::Message)?;
        let nonce = rest.split(',').next().and_then(|t| t.strip_prefix("r=")).ok_or(SaslError::Message)?;
        if nonce != self.nonce {
            return Err(SaslError::Message);
        }
        if base64::decode(binding).map_err(|_| SaslError::Base64)? != self.bound {
            return Err(SaslError::Binding);
        }
        let mut octets = base64::decode(proof).map_err(|_| SaslError::Base64)?;
        let proof = octets.as_slice().try_into().map_err(|_| SaslError::Message);
        octets.zeroize();
        Ok(Proof { user: self.user, proof: proof?, auth_message: self.transcript + without_proof })
    }
}

/// `saslname`: `=2C` is a comma, `=3D` an equals sign, and no other `=` may be there (RFC 5802 §5.1).
fn sasl_name(text: &str) -> Result<String, SaslError> {
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('=');
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (rest, meant) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (rest, ','),
            (None, Some(rest)) => (rest, '='),
            (None, None) => return Err(SaslError::User),
        };
        name.push(meant);
        name.push_str(rest);
    }
    if name.is_empty() || name.len() > USER_MAX || name.contains('\0') {
        return Err(SaslError::User);
    }
    Ok(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // RFC 7677 §3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const ANSWER: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const WITHOUT_PROOF: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const PROOF: &str = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn parameters(binding: Option<&[u8]>, plus_offered: bool) -> Parameters {
        Parameters {
            salt: base64::decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
            iterations: 4096,
            nonce: NONCE.to_owned(),
            binding: binding.map(<[u8]>::to_vec),
            plus_offered,
        }
    }

    #[test]
    fn the_conversation_of_rfc_7677() {
        let first = First::parse(FIRST.as_bytes(), false).unwrap();
        assert_eq!((first.question().user.as_str(), first.question().binding), ("user", None));
        let (answer, waiting) = first.answer(&parameters(None, true)).unwrap();
        assert_eq!(answer, ANSWER);
        let proof = waiting.finish(format!("{WITHOUT_PROOF},p={PROOF}").as_bytes()).unwrap();
        assert_eq!(base64::encode(proof.proof), PROOF);
        assert_eq!(proof.auth_message, format!("{},{ANSWER},{WITHOUT_PROOF}", &FIRST[3..]));
    }

    #[test]
    fn first_messages_that_are_refused() {
        use SaslError as E;
        let nonce = |n: usize| format!("n,,n=user,r={}", "x".repeat(n));
        for (text, plus, want) in [
            ("", false, E::Message),
            ("n,", false, E::Message),
            ("n,,", false, E::Message),
            ("x,,n=user,r=abc", false, E::Message),
            ("p,,n=user,r=abc", true, E::Message),
            ("p=tls-unique,,n=user,r=abc", true, E::BindingType),
            ("p=TLS-EXPORTER,,n=user,r=abc", true, E::BindingType),
            ("p=tls-exporter,,n=user,r=abc", false, E::BindingType),
            ("n,,n=user,r=abc", true, E::BindingType),
            ("y,,n=user,r=abc", true, E::BindingType),
            ("n,,m=must,n=user,r=abc", false, E::Message),
            ("n,,r=abc,n=user", false, E::Message),
            ("n,,n=user", false, E::Message),
            ("n,,n=user,r=", false, E::Message),
            ("n,,n=user,r=a b", false, E::Message),
            ("n,,n=,r=abc", false, E::User),
            ("n,,n=us=er,r=abc", false, E::User),
            ("n,,n=us=2c,r=abc", false, E::User),
            ("n,a=other,n=user,r=abc", false, E::AuthorizationId),
            ("n,other,n=user,r=abc", false, E::Message),
            (nonce(NONCE_MAX + 1).as_str(), false, E::Message),
        ] {
            assert_eq!(First::parse(text.as_bytes(), plus).err(), Some(want), "{text}");
        }
        assert!(First::parse(nonce(NONCE_MAX).as_bytes(), false).is_ok());
        assert_eq!(First::parse(b"n,,n=\xff,r=abc", false).err(), Some(E::Message));
        let escaped = First::parse(b"n,a=a=2Cb=3D,n=a=2Cb=3D,r=abc,x=later", false).unwrap();
        assert_eq!(escaped.question().user, "a,b=");
    }

    #[test]
    fn a_binding_must_be_there_and_fit() {
        let first = || First::parse(b"p=tls-exporter,,n=user,r=abc", true).unwrap();
        assert_eq!(first().question().binding, Some(Binding::TlsExporter));
        assert_eq!(first().answer(&parameters(None, true)).err(), Some(SaslError::BindingType));
        let last = |octets: &[u8]| {
            let c = base64::encode([b"p=tls-exporter,,".as_slice(), octets].concat());
            first()
                .answer(&parameters(Some(&[7; 32]), true))
                .unwrap()
                .1
                .finish(format!("c={c},r=abc{NONCE},p={PROOF}").as_bytes())
                .err()
        };
        assert_eq!(last(&[7; 32]), None);
        for wrong in [[8; 32].as_slice(), &[7; 31], &[]] {
            assert_eq!(last(wrong), Some(SaslError::Binding));
        }
    }

    /// RFC 5802 §6: "y" says that -PLUS was not seen; where it was offered, somebody took it out.
    #[test]
    fn a_downgrade_is_noticed() {
        let first = || First::parse(b"y,,n=user,r=abc", false).unwrap();
        assert_eq!(first().answer(&parameters(None, true)).err(), Some(SaslError::Downgrade));
        let (_, waiting) = first().answer(&parameters(None, false)).unwrap();
        // The header that is repeated must be the one that was sent: "biws" is `n,,`.
        let last = format!("c=biws,r=abc{NONCE},p={PROOF}");
        assert_eq!(waiting.finish(last.as_bytes()).err(), Some(SaslError::Binding));
    }

    #[test]
    fn last_messages_that_are_refused() {
        use SaslError as E;
        let nonce = &ANSWER[2..52];
        for (text, want) in [
            (String::new(), E::Message),
            (WITHOUT_PROOF.to_owned(), E::Message),
            (format!("c=biws,r={nonce}x,p={PROOF}"), E::Message),
            (format!("c=biws,r=rOprNGfwEbeRWgbNEkqO,p={PROOF}"), E::Message),
            (format!("r={nonce},c=biws,p={PROOF}"), E::Message),
            (format!("c=!,r={nonce},p={PROOF}"), E::Base64),
            (format!("c=,r={nonce},p={PROOF}"), E::Binding),
            (format!("{WITHOUT_PROOF},p=AAAA"), E::Message),
            (format!("{WITHOUT_PROOF},p=!"), E::Base64),
            (format!("{WITHOUT_PROOF},p={PROOF},x=y"), E::Base64),
        ] {
            let first = First::parse(FIRST.as_bytes(), false).unwrap();
            let (_, waiting) = first.answer(&parameters(None, true)).unwrap();
            assert_eq!(waiting.finish(text.as_bytes()).err(), Some(want), "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_are_read_as_written(name in "[^\0]{1,60}") {
            let written = name.replace('=', "=3D").replace(',', "=2C");
            let first = First::parse(format!("n,,n={written},r=abc").as_bytes(), false).unwrap();
            prop_assert_eq!(first.question().user, name);
        }

        #[test]
        fn never_panics(first: Vec<u8>, last: Vec<u8>, plus: bool) {
            let _ = First::parse(&first, plus);
            let start = First::parse(FIRST.as_bytes(), false).unwrap();
            let _ = start.answer(&parameters(None, false)).unwrap().1.finish(&last);
        }
    }
}
