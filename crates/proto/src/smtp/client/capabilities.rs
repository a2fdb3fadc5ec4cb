//! What a server offers in its answer to EHLO (RFC 5321 §4.1.1.1).

use super::Reply;

/// The EHLO keywords of one server, as told in one state (before or in TLS; never carried over, RFC 3207 §4.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    name: String,
    /// Keyword in capitals, parameters as sent.
    keywords: Vec<(String, Vec<String>)>,
}

impl Capabilities {
    /// Reads the 250 to an EHLO; lines that are no `ehlo-line` are passed over.
    pub fn from_reply(reply: &Reply) -> Self {
        let name = reply.text().split(' ').next().unwrap_or_default().to_owned();
        let keywords = reply.lines().iter().skip(1).filter_map(|line| {
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            let keyword = words.next()?;
            let ok = keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            ok.then(|| (keyword.to_ascii_uppercase(), words.map(ToOwned::to_owned).collect()))
        });
        Self { name, keywords: keywords.collect() }
    }
    /// The name the server gives itself.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Whether `keyword` is offered, in any case.
    pub fn has(&self, keyword: &str) -> bool {
        self.parameters(keyword).is_some()
    }
    /// The parameters of `keyword`.
    pub fn parameters(&self, keyword: &str) -> Option<&[String]> {
        let found = self.keywords.iter().find(|(name, _)| name.eq_ignore_ascii_case(keyword));
        found.map(|(_, parameters)| parameters.as_slice())
    }
    fn has_parameter(&self, keyword: &str, parameter: &str) -> bool {
        let mut lines = self.keywords.iter().filter(|(name, _)| name == keyword);
        lines.any(|(_, parameters)| parameters.iter().any(|p| p.eq_ignore_ascii_case(parameter)))
    }
    /// Whether `mechanism` is on an AUTH line.
    pub fn has_auth(&self, mechanism: &str) -> bool {
        self.has_parameter("AUTH", mechanism)
    }
    /// `ENCRYPTMESSAGE` (R01).
    pub fn encrypt_message(&self) -> bool {
        self.has("ENCRYPTMESSAGE")
    }
    /// `SIGNMESSAGE` (R01).
    pub fn sign_message(&self) -> bool {
        self.has("SIGNMESSAGE")
    }
    /// `AUTH … HASHEDPASS …` (R01).
    pub fn hashed_pass(&self) -> bool {
        self.has_auth("HASHEDPASS")
    }
    /// `XSEALPOST 1`: the added verbs (profile §5).
    pub fn sealpost(&self) -> bool {
        self.has_parameter("XSEALPOST", "1")
    }
    /// The limit of `SIZE`, if it names one other than 0 (RFC 1870 §4).
    pub fn size_limit(&self) -> Option<u64> {
        self.parameters("SIZE")?.first()?.parse().ok().filter(|limit| *limit > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ehlo(lines: &[&str]) -> Capabilities {
        let mut all = vec!["mail.example.net at your service".to_owned()];
        all.extend(lines.iter().map(ToString::to_string));
        Capabilities::from_reply(&Reply::new(250, all))
    }

    #[test]
    fn r01_reads_the_keywords_of_the_draft() {
        let all =
            ehlo(&["ENCRYPTMESSAGE", "SIGNMESSAGE", "AUTH HASHEDPASS PLAIN", "XSEALPOST 1", "SIZE 1000"]);
        assert_eq!(all.name(), "mail.example.net");
        assert!(all.encrypt_message() && all.sign_message() && all.hashed_pass() && all.sealpost());
        assert!(all.has_auth("plain") && !all.has_auth("LOGIN"));
        assert_eq!(all.size_limit(), Some(1000));
    }

    #[test]
    fn r03_takes_nothing_for_a_keyword_that_is_none() {
        let none = ehlo(&[
            "XENCRYPTMESSAGE",
            "SIGNMESSAGES",
            "AUTH=HASHEDPASS",
            "AUTHHASHEDPASS",
            "XSEALPOST 11",
            "",
        ]);
        assert!(!none.encrypt_message() && !none.sign_message() && !none.hashed_pass() && !none.sealpost());
        // The first line is the server's name, whatever it says.
        let name = Capabilities::from_reply(&Reply::new(250, vec!["ENCRYPTMESSAGE".into()]));
        assert!(!name.encrypt_message());
    }

    #[test]
    fn keywords_in_any_case_and_size_without_limit() {
        let c = ehlo(&["encryptmessage", "Auth login", "auth hashedpass", "size 0", "PIPELINING"]);
        assert!(c.encrypt_message() && c.hashed_pass() && c.has("pipelining"));
        assert_eq!(c.size_limit(), None);
        assert_eq!(ehlo(&["SIZE"]).size_limit(), None);
        assert_eq!(ehlo(&["SIZE x"]).size_limit(), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(lines: Vec<String>) {
            let c = Capabilities::from_reply(&Reply::new(250, lines));
            let _ = (c.size_limit(), c.sealpost(), c.hashed_pass());
        }
    }
}
