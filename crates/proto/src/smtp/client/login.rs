//! What follows a 235 (profile §4), and the challenge of the two-step login.

use super::Reply;
use crate::{
    base64,
    phc::{Challenge, Salt},
};

/// The rule for the key salt after AUTH HASHEDPASS: the client sends GETSALT at once after 235, and takes a first
/// `250 SALT x` for the server's courtesy line, after which the answer to GETSALT comes.
#[derive(Debug, Default)]
pub struct SaltAfterLogin {
    courtesy: Option<Salt>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum SaltStep {
    /// Read one more reply.
    ReadMore,
    /// The key salt.
    Done(Salt),
}

impl SaltAfterLogin {
    /// Takes the next reply after the 235. On an error: disconnect.
    pub fn reply(&mut self, reply: &Reply) -> Result<SaltStep, SaltError> {
        match reply.code() {
            250 if self.courtesy.is_none() => {
                self.courtesy = Some(salt(reply)?);
                Ok(SaltStep::ReadMore)
            }
            220 => {
                let answered = salt(reply)?;
                match &self.courtesy {
                    Some(courtesy) if *courtesy != answered => Err(SaltError::Differ),
                    _ => Ok(SaltStep::Done(answered)),
                }
            }
            _ => Err(SaltError::Refused),
        }
    }
}

/// The salt of a `220 SALT …` or `250 SALT …`.
pub fn salt(reply: &Reply) -> Result<Salt, SaltError> {
    let [line] = reply.lines() else { return Err(SaltError::Syntax) };
    let text = line.strip_prefix("SALT ").ok_or(SaltError::Syntax)?;
    Salt::new(base64::decode(text).map_err(|_| SaltError::Syntax)?).map_err(|_| SaltError::Length)
}

/// The challenge of a 334; `None` where it is not of the exact form of profile §4.
pub fn challenge(reply: &Reply) -> Option<Challenge> {
    let [line] = reply.lines() else { return None };
    let text = String::from_utf8(base64::decode(line).ok()?).ok()?;
    Challenge::from_phc(&text).ok()
}

/// Why a server's salt was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaltError {
    /// Not `SALT <base64>`.
    #[error("the server's salt is not of the form SALT <base64>")]
    Syntax,
    /// Under 16 bytes, or absurdly long.
    #[error("the server's salt does not have 16 to 64 bytes; the key made from it would be weak")]
    Length,
    /// Two salts in one login.
    #[error("the server named two different salts in one login; do not trust it")]
    Differ,
    /// Neither of the two replies.
    #[error("the server did not tell the key salt")]
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAECAwQFBgcICQoLDA0ODw==";
    const B: &str = "DwECAwQFBgcICQoLDA0ODw==";

    fn run(replies: &[(u16, String)]) -> Result<Option<Vec<u8>>, SaltError> {
        let mut rule = SaltAfterLogin::default();
        for (code, text) in replies {
            if let SaltStep::Done(salt) = rule.reply(&Reply::new(*code, vec![text.clone()]))? {
                return Ok(Some(salt.as_bytes().to_vec()));
            }
        }
        Ok(None)
    }

    #[test]
    fn r16_salt_after_login() {
        let (a, b) = (format!("SALT {A}"), format!("SALT {B}"));
        let bytes = base64::decode(A).unwrap();
        let short = format!("SALT {}", base64::encode([1; 15]));
        let cases = [
            (vec![(220, a.clone())], Ok(Some(bytes.clone()))),
            (vec![(250, a.clone()), (220, a.clone())], Ok(Some(bytes))),
            (vec![(250, a.clone())], Ok(None)),
            (vec![(250, a.clone()), (220, b)], Err(SaltError::Differ)),
            (vec![(250, a.clone()), (250, a.clone())], Err(SaltError::Refused)),
            (vec![(530, "5.7.0 Authentication required".into())], Err(SaltError::Refused)),
            (vec![(250, a.clone()), (451, "4.3.0 later".into())], Err(SaltError::Refused)),
            (vec![(220, short)], Err(SaltError::Length)),
            (vec![(220, "SALT".into())], Err(SaltError::Syntax)),
            (vec![(220, A.into())], Err(SaltError::Syntax)),
            (vec![(220, format!("SALT  {A}"))], Err(SaltError::Syntax)),
            (vec![(250, "OK".into())], Err(SaltError::Syntax)),
            (vec![(220, a + " ")], Err(SaltError::Syntax)),
        ];
        for (replies, expected) in cases {
            assert_eq!(run(&replies), expected, "{replies:?}");
        }
    }
}
