//! Settings as mail programs take them: `bridge info --for PROGRAM`. None holds the password; programs that can ask a
//! command for it are told to ask `sealpost bridge password`, the others ask their user once.

use crate::{cli::Program, exit::Failure};
use sealpost_bridge::Info;
use sealpost_crypto::local::LocalKey;
use sealpost_proto::address::Address;
use std::{fmt::Write as _, path::Path};
use zeroize::Zeroizing;

/// What the settings speak of.
pub(super) struct Settings<'a> {
    pub info: &'a Info,
    pub address: &'a Address,
    /// This program.
    pub sealpost: &'a Path,
    /// The client's folder, absolute.
    pub dir: &'a Path,
}

/// What is shown to a person who has just got the settings.
pub(super) fn advice(program: Program, address: &Address) -> String {
    match program {
        Program::Thunderbird => format!(
            "Save this as {}.xml in the folder \"isp\" beside Thunderbird's program (on Debian /usr/lib/thunderbird/isp), \
             then add an account there: it asks for your address and the password that `sealpost bridge password` shows. \
             Trust the bridge first: Settings, Privacy & Security, Manage Certificates, Authorities, Import.",
            address.domain()
        ),
        Program::Apple => "Save this as sealpost.mobileconfig and open it: System Settings, Privacy & Security, Profiles \
                           installs account and certificate, and asks for the password that `sealpost bridge password` shows."
            .to_owned(),
        Program::Neomutt => "Add this to ~/.config/neomutt/neomuttrc.".to_owned(),
        Program::Mbsync => "Add this to ~/.mbsyncrc, then run: mbsync sealpost".to_owned(),
        Program::Msmtp => "Add this to ~/.msmtprc, then send with: msmtp -a sealpost".to_owned(),
    }
}

impl Settings<'_> {
    pub(super) fn text(&self, program: Program) -> Result<String, Failure> {
        match program {
            Program::Thunderbird => Ok(self.thunderbird()),
            Program::Apple => self.apple(),
            Program::Neomutt => self.neomutt(),
            Program::Mbsync => self.mbsync(),
            Program::Msmtp => self.msmtp(),
        }
    }

    /// Asks for the password, in the words of a shell.
    fn password_command(&self) -> Result<String, Failure> {
        Ok(format!("'{}' --dir '{}' bridge password", named(self.sealpost)?, named(self.dir)?))
    }

    fn ca_file(&self) -> Result<&str, Failure> {
        named(&self.info.ca_file)
    }

    fn user(&self) -> Result<&str, Failure> {
        named(Path::new(self.address.as_str()))
    }

    /// <https://www.bucksch.org/1/projects/thunderbird/autoconfiguration/config-file-format.html>
    fn thunderbird(&self) -> String {
        let server = |kind: &str, element: &str, port: u16| {
            format!(
                "    <{element} type=\"{kind}\">\n      <hostname>localhost</hostname>\n      <port>{port}</port>\n      \
                 <socketType>SSL</socketType>\n      <authentication>password-cleartext</authentication>\n      \
                 <username>%EMAILADDRESS%</username>\n    </{element}>\n"
            )
        };
        let domain = xml(self.address.domain().as_str());
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n  <emailProvider id=\"{domain}\">\n    \
             <domain>{domain}</domain>\n    <displayName>Sealpost bridge on this machine</displayName>\n    \
             <displayShortName>Sealpost</displayShortName>\n{}{}  </emailProvider>\n</clientConfig>\n",
            server("imap", "incomingServer", self.info.imap.port()),
            server("smtp", "outgoingServer", self.info.submission.port())
        )
    }

    /// <https://developer.apple.com/documentation/devicemanagement/mail>
    fn apple(&self) -> Result<String, Failure> {
        let ca_file = &self.info.ca_file;
        let pem = std::fs::read_to_string(ca_file).map_err(|e| Failure::file("cannot read", ca_file, &e))?;
        let certificate: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let address = xml(self.address.as_str());
        let name = |part: &str| format!("org.sealpost.bridge.{part}");
        let payload = |kind: &str, part: &str| {
            format!(
                "      <key>PayloadType</key><string>{kind}</string>\n      <key>PayloadVersion</key><integer>1</integer>\n      \
                 <key>PayloadIdentifier</key><string>{}</string>\n      <key>PayloadUUID</key><string>{}</string>\n      \
                 <key>PayloadDisplayName</key><string>Sealpost bridge on this machine</string>\n",
                name(part),
                self.uuid(part)
            )
        };
        let server = |side: &str, port: u16| {
            format!(
                "      <key>{side}MailServerHostName</key><string>localhost</string>\n      \
                 <key>{side}MailServerPortNumber</key><integer>{port}</integer>\n      \
                 <key>{side}MailServerUseSSL</key><true/>\n      \
                 <key>{side}MailServerAuthentication</key><string>EmailAuthPassword</string>\n      \
                 <key>{side}MailServerUsername</key><string>{address}</string>\n"
            )
        };
        Ok(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
             \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n  <dict>\n{}      \
             <key>PayloadContent</key>\n      <array>\n      <dict>\n{}      \
             <key>PayloadContent</key><data>{certificate}</data>\n      </dict>\n      <dict>\n{}      \
             <key>EmailAccountType</key><string>EmailTypeIMAP</string>\n      \
             <key>EmailAccountDescription</key><string>{address}</string>\n      \
             <key>EmailAddress</key><string>{address}</string>\n      \
             <key>OutgoingPasswordSameAsIncomingPassword</key><true/>\n{}{}      </dict>\n      </array>\n  </dict>\n</plist>\n",
            payload("Configuration", "profile"),
            payload("com.apple.security.root", "certificate"),
            payload("com.apple.mail.managed", "account"),
            server("Incoming", self.info.imap.port()),
            server("Outgoing", self.info.submission.port()),
        ))
    }

    /// The same for the same account and certificate, so that a profile installed again replaces the one before. Of the
    /// form of RFC 9562 §5.8.
    fn uuid(&self, part: &str) -> String {
        let of = format!("{part}\0{}\0{}", self.address, self.info.ca_file.display());
        // A name made of a text, as for mailboxes in the index; nothing here is secret.
        let mut octets = LocalKey::new(Zeroizing::new([0; 32])).name(of.as_bytes());
        octets[6] = octets[6] & 0x0f | 0x80;
        octets[8] = octets[8] & 0x3f | 0x80;
        let hex = octets.iter().fold(String::new(), |mut hex, octet| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{octet:02X}");
            hex
        });
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// <https://neomutt.org/guide/reference>
    fn neomutt(&self) -> Result<String, Failure> {
        let (address, ca_file, command) = (self.user()?, self.ca_file()?, self.password_command()?);
        let user = percent(address);
        Ok(format!(
            "set from = \"{address}\"\nset use_from\nset folder = \"imaps://localhost:{}\"\nset imap_user = \"{address}\"\n\
             set imap_pass = \"`{command}`\"\nset spoolfile = \"+INBOX\"\nset record = \"+Sent\"\nset postponed = \"+Drafts\"\n\
             set smtp_url = \"smtps://{user}@localhost:{}\"\nset smtp_pass = \"`{command}`\"\nset ssl_force_tls\n\
             set certificate_file = \"{ca_file}\"\n",
            self.info.imap.port(),
            self.info.submission.port()
        ))
    }

    /// mbsync(1). `SSLType` is what `TLSType` was called before isync 1.5, which takes both.
    fn mbsync(&self) -> Result<String, Failure> {
        Ok(format!(
            "IMAPAccount sealpost\nHost localhost\nPort {}\nUser {}\nPassCmd \"{}\"\nSSLType IMAPS\nCertificateFile \"{}\"\n\n\
             IMAPStore sealpost-remote\nAccount sealpost\n\n\
             MaildirStore sealpost-local\nPath ~/Mail/sealpost/\nInbox ~/Mail/sealpost/INBOX\nSubFolders Verbatim\n\n\
             Channel sealpost\nFar :sealpost-remote:\nNear :sealpost-local:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
            self.info.imap.port(),
            self.user()?,
            self.password_command()?,
            self.ca_file()?
        ))
    }

    /// msmtp(1)
    fn msmtp(&self) -> Result<String, Failure> {
        Ok(format!(
            "account sealpost\nhost localhost\nport {}\nfrom {1}\nauth plain\nuser {1}\npasswordeval \"{2}\"\ntls on\n\
             tls_starttls off\ntls_trust_file \"{3}\"\n",
            self.info.submission.port(),
            self.user()?,
            self.password_command()?,
            self.ca_file()?
        ))
    }
}

/// A path or an address that means the same inside of every kind of quotes that these settings have.
fn named(path: &Path) -> Result<&str, Failure> {
    let odd = |c: char| c.is_control() || "\"'`\\$".contains(c);
    path.to_str().filter(|text| !text.contains(odd)).ok_or_else(|| {
        Failure::failed(format_args!(
            "{} cannot stand in the settings of mail programs; enter what `sealpost bridge info` shows by hand, or use \
             names without quotes and other odd characters (--dir)",
            path.display()
        ))
    })
}

/// RFC 3986 §2.1
fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, octet| {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{octet:02X}");
        }
        out
    })
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
