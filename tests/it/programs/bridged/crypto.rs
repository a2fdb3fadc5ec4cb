//! Other people's ways to sign and encrypt, within sealed mail: made by OpenSSL and GnuPG, and judged by them after it
//! came out of the bridge.

use super::super::message;
use crate::support::{run_with, stdout, succeed};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// How the content of a message is signed or encrypted by its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    None,
    /// `multipart/signed` (RFC 8551 §3.5.3).
    SmimeSigned,
    /// `application/pkcs7-mime; smime-type=signed-data` (RFC 8551 §3.5.2).
    SmimeOpaque,
    /// `application/pkcs7-mime; smime-type=enveloped-data` (RFC 8551 §3.3).
    SmimeEncrypted,
    /// `multipart/signed` (RFC 3156 §5).
    PgpSigned,
    /// `multipart/encrypted` (RFC 3156 §4).
    PgpEncrypted,
    /// Armour in the text.
    PgpInline,
}

/// Bob's certificate, and a pair of PGP keys for both.
pub struct Keys {
    dir: PathBuf,
}

impl Keys {
    pub fn new(dir: &Path) -> Self {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().mode(0o700).create(dir).expect("made");
        let keys = Self { dir: dir.to_owned() };
        succeed(keys.openssl(&["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"]).args([
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-subj",
            "/CN=Bob/emailAddress=bob@example.com",
            "-addext",
            "keyUsage=digitalSignature,keyEncipherment",
            "-addext",
            "extendedKeyUsage=emailProtection",
        ]));
        succeed(&mut keys.gpg(&["--passphrase", "", "--quick-gen-key", "bob@example.com", "future-default"]));
        keys
    }

    fn openssl(&self, args: &[&str]) -> Command {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(&self.dir);
        command
    }

    fn gpg(&self, args: &[&str]) -> Command {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--no-tty", "--homedir"]).arg(&self.dir).args(args);
        command.current_dir(&self.dir);
        command
    }

    fn cms(&self, args: &[&str], input: &str) -> String {
        let mut command = self.openssl(&["cms"]);
        stdout(&run_with(command.args(args), input.as_bytes(), 0))
    }

    fn pgp(&self, args: &[&str], input: &str) -> String {
        crlf(&stdout(&run_with(&mut self.gpg(args), input.as_bytes(), 0)))
    }

    /// The message of this number, with its content in a form.
    pub fn message(&self, number: u32, form: Form, words: &str) -> String {
        let plain = message(number);
        let (fields, _) = plain.split_once("MIME-Version: ").expect("a field");
        let part = part(words);
        let signer = ["-sign", "-binary", "-crlfeol", "-signer", "cert.pem", "-inkey", "key.pem"];
        let entity = match form {
            Form::None => return plain,
            Form::SmimeSigned => crlf(&self.cms(&signer, &part)),
            Form::SmimeOpaque => crlf(&self.cms(&[&signer[..], &["-nodetach"]].concat(), &part)),
            Form::SmimeEncrypted => {
                crlf(&self.cms(&["-encrypt", "-binary", "-crlfeol", "-aes256", "cert.pem"], &part))
            }
            Form::PgpSigned => {
                let signature = self.pgp(&["--armor", "--detach-sign"], &part);
                format!(
                    "MIME-Version: 1.0\r\nContent-Type: multipart/signed; micalg=pgp-sha512;\r\n\
                     \tprotocol=\"application/pgp-signature\"; boundary=\"=-pgp\"\r\n\r\n--=-pgp\r\n{part}\r\n\
                     --=-pgp\r\nContent-Type: application/pgp-signature; name=\"signature.asc\"\r\n\r\n\
                     {signature}\r\n--=-pgp--\r\n"
                )
            }
            Form::PgpEncrypted => {
                let sealed =
                    self.pgp(&["--armor", "--trust-model", "always", "-r", "bob@example.com", "-e"], &part);
                format!(
                    "MIME-Version: 1.0\r\nContent-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n\
                     \tboundary=\"=-pgp\"\r\n\r\n--=-pgp\r\nContent-Type: application/pgp-encrypted\r\n\r\n\
                     Version: 1\r\n\r\n--=-pgp\r\nContent-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
                     \r\n{sealed}\r\n--=-pgp--\r\n"
                )
            }
            Form::PgpInline => {
                let text = self.pgp(&["--clear-sign"], "Dear Alice,\n- a dash\n\nBob\n");
                format!("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n{text}")
            }
        };
        // Exactly one line end at the end: profile §6.
        format!("{fields}{}\r\n", entity.trim_end_matches("\r\n"))
    }

    /// What came out: the tools that made it find it whole.
    pub fn check(&self, form: Form, shown: &str) {
        let is_part = |text: &str| text == part("Größe 8 bit") || text == part("seven bit");
        let (_, body) = shown.split_once("\r\n\r\n").expect("a header");
        match form {
            Form::None => {}
            Form::SmimeSigned | Form::SmimeOpaque => {
                // OpenSSL says so itself where it does not hold, and fails.
                assert!(is_part(&self.cms(&["-verify", "-CAfile", "cert.pem"], shown)));
            }
            Form::SmimeEncrypted => {
                let recipient = ["-decrypt", "-recip", "cert.pem", "-inkey", "key.pem"];
                assert!(is_part(&self.cms(&recipient, shown)));
            }
            Form::PgpSigned => {
                let parts: Vec<&str> = body.split("--=-pgp\r\n").collect();
                let part = parts[1].strip_suffix("\r\n").expect("a line end of the boundary");
                assert!(is_part(part));
                let (_, signature) = parts[2].split_once("\r\n\r\n").expect("a header");
                fs::write(self.dir.join("signature"), signature).expect("written");
                self.pgp(&["--verify", "signature", "-"], part);
            }
            Form::PgpEncrypted => {
                let at = body.find("-----BEGIN PGP").expect("armour");
                assert!(is_part(&stdout(&run_with(
                    &mut self.gpg(&["--decrypt"]),
                    &body.as_bytes()[at..],
                    0
                ))));
            }
            Form::PgpInline => drop(self.pgp(&["--verify"], body)),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // Its agent goes on otherwise until it finds its folder gone.
        drop(Command::new("gpgconf").arg("--homedir").arg(&self.dir).args(["--kill", "all"]).status());
    }
}

/// The part that is signed or encrypted: spaces at ends, lines that others change.
fn part(words: &str) -> String {
    format!(
        "Content-Type: text/plain; charset=utf-8; format=flowed\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         {words} \r\n From\r\nFrom here  \r\n.\r\n\r\n\ttab\t\r\n"
    )
}

/// With the line ends of mail.
fn crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}
