//! Postfix as a plain sender and as a plain receiver. A private instance, unpacked by `scripts/tools` and run from
//! a folder of its own; nothing in /etc is read or written.

use crate::support::{eventually, run, run_with, sealpost, stderr, stdout, succeed, terminate, tools};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sealpost_lookup::zone::{Zone, ZoneServer};
use serde_json::Value;
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Ours, and Postfix's.
const OURS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 41);
const THEIRS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 42);

/// Accounts that every Debian has and nothing uses: Postfix wants an owner, a group and a mailbox owner of its own.
fn id(kind: &str, name: &str) -> u32 {
    let text = fs::read_to_string(format!("/etc/{kind}")).expect("readable");
    let line = text.lines().find(|l| l.starts_with(&format!("{name}:"))).expect("Debian has this account");
    line.split(':').nth(2).and_then(|id| id.parse().ok()).expect("a number")
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").expect("Linux").contains("\nUid:\t0\t")
}

struct Postfix {
    master: Child,
    dir: PathBuf,
}

impl Drop for Postfix {
    fn drop(&mut self) {
        terminate(self.master.id());
        drop(self.master.wait());
    }
}

fn postfix(dir: &Path, port: u16, next: SocketAddr, certificate: &Path, key: &Path) -> Postfix {
    let unpacked = tools().join("postfix");
    let sbin = unpacked.join("usr/lib/postfix/sbin");
    assert!(sbin.join("master").exists(), "Postfix is not unpacked; run `make tools`");
    let libraries = format!(
        "{0}/usr/lib/postfix:{0}/usr/lib/x86_64-linux-gnu:{0}/usr/lib/aarch64-linux-gnu",
        unpacked.display()
    );
    let (owner, group) = (id("passwd", "uucp"), id("group", "news"));
    let mailboxes = id("passwd", "mail");
    let at = |name: &str| dir.join(name);
    for (name, mode) in [("etc", 0o755), ("queue", 0o755), ("data", 0o700), ("mail", 0o700)] {
        fs::create_dir(at(name)).expect("made");
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("set");
    }
    chown(at("data"), Some(owner), None).expect("root");
    chown(at("mail"), Some(mailboxes), None).expect("root");
    for name in [
        "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved",
        "trace",
    ] {
        let path = at("queue").join(name);
        fs::create_dir(&path).expect("made");
        chown(&path, Some(owner), None).expect("root");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("set");
    }
    for (name, mode) in [("maildrop", 0o730), ("public", 0o710), ("pid", 0o755)] {
        let path = at("queue").join(name);
        fs::create_dir(&path).expect("made");
        if name != "pid" {
            chown(&path, Some(owner), Some(group)).expect("root");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
    }
    let main = format!(
        "compatibility_level = 3.6\n\
         config_directory = {d}/etc\nqueue_directory = {d}/queue\ndata_directory = {d}/data\nmeta_directory = {d}/etc\n\
         command_directory = {u}/usr/sbin\ndaemon_directory = {u}/usr/lib/postfix/sbin\nshlib_directory = {u}/usr/lib/postfix\n\
         import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH={l}\n\
         maillog_file = {d}/mail.log\nmaillog_file_prefixes = {d}\n\
         mail_owner = uucp\nsetgid_group = news\ndefault_privs = nobody\n\
         inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
         myhostname = mail.example.org\nmydestination =\nmynetworks = 127.0.0.0/8\n\
         disable_dns_lookups = yes\nsmtp_host_lookup = native\nappend_dot_mydomain = no\nalias_maps =\nlocal_recipient_maps =\n\
         virtual_mailbox_domains = example.org\nvirtual_mailbox_base = {d}/mail\n\
         virtual_mailbox_maps = inline:{{ {{ carol@example.org = carol/ }} }}\n\
         virtual_uid_maps = static:{m}\nvirtual_gid_maps = static:{m}\nvirtual_minimum_uid = 1\n\
         transport_maps = inline:{{ {{ example.net = smtp:[{ni}]:{np} }} }}\n\
         smtp_tls_security_level = may\n\
         smtpd_tls_cert_file = {c}\nsmtpd_tls_key_file = {k}\nsmtpd_tls_security_level = may\nsmtpd_tls_received_header = yes\n\
         smtpd_relay_restrictions = permit_mynetworks, reject\n",
        d = dir.display(),
        u = unpacked.display(),
        l = libraries,
        m = mailboxes,
        ni = next.ip(),
        np = next.port(),
        c = certificate.display(),
        k = key.display(),
    );
    fs::write(at("etc/main.cf"), main).expect("written");
    let services = format!(
        "{THEIRS}:{port} inet n - n - - smtpd\n\
         cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\n\
         bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
         verify unix - - n - 1 verify\nflush unix n - n 1000? 0 flush\nsmtp unix - - n - - smtp\n\
         error unix - - n - - error\nretry unix - - n - - error\nvirtual unix - n n - - virtual\n\
         anvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
         proxymap unix - - n - - proxymap\npostlog unix-dgram n - n - 1 postlogd\n"
    );
    fs::write(at("etc/master.cf"), services).expect("written");
    fs::copy(unpacked.join("usr/share/postfix/dynamicmaps.cf"), at("etc/dynamicmaps.cf")).ok();
    let master = Command::new(sbin.join("master"))
        .arg("-c")
        .arg(at("etc"))
        .arg("-d")
        .env("MAIL_CONFIG", at("etc"))
        .env("LD_LIBRARY_PATH", &libraries)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(at("start.log")).expect("made"))
        .spawn()
        .expect("Postfix starts");
    let postfix = Postfix { master, dir: dir.to_owned() };
    eventually("Postfix's banner", || TcpStream::connect((THEIRS, port)).ok());
    postfix
}

impl Postfix {
    /// The first message in Carol's mailbox.
    fn delivered(&self) -> Option<String> {
        let entry = fs::read_dir(self.dir.join("mail/carol/new")).ok()?.next()?.ok()?;
        fs::read_to_string(entry.path()).ok()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("mail.log")).unwrap_or_default()
    }
}

/// A port that is free on both addresses: an MX record has none, so both servers use the same.
fn free_port() -> u16 {
    loop {
        let first = TcpListener::bind((OURS, 0)).expect("a loopback address");
        let port = first.local_addr().expect("bound").port();
        if TcpListener::bind((THEIRS, port)).is_ok() {
            return port;
        }
    }
}

fn certificates(dir: &Path) {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name.push(rcgen::DnType::CommonName, "test root");
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().expect("key")).expect("root");
    fs::write(dir.join("ca.pem"), root.pem()).expect("written");
    for host in ["mail.example.net", "mail.example.org"] {
        let key = KeyPair::generate().expect("key");
        let certificate = CertificateParams::new([host.to_owned()])
            .expect("a name")
            .signed_by(&key, &root)
            .expect("signed");
        fs::write(dir.join(format!("{host}.pem")), certificate.pem()).expect("written");
        fs::write(dir.join(format!("{host}.key")), key.serialize_pem()).expect("written");
    }
}

struct Ours {
    process: Child,
    config: PathBuf,
}

impl Drop for Ours {
    fn drop(&mut self) {
        terminate(self.process.id());
        drop(self.process.wait());
    }
}

fn ours(dir: &Path, port: u16, dns: SocketAddr, submissions: u16, imaps: u16) -> Ours {
    let config = dir.join("sealpost.toml");
    let text = format!(
        "hostname = \"mail.example.net\"\ndomains = [\"example.net\"]\ndata_dir = \"data\"\nmx_port = {port}\n\
         dns = \"{dns}\"\nca_file = \"ca.pem\"\nrequire_tls = [\"example.org\"]\n\
         [tls]\ncert = \"mail.example.net.pem\"\nkey = \"mail.example.net.key\"\n\
         [listen]\nsmtp = \"{OURS}:{port}\"\nsubmissions = \"{OURS}:{submissions}\"\nimaps = \"{OURS}:{imaps}\"\n"
    );
    fs::write(&config, text).expect("written");
    succeed(sealpost().args(["serve", "--check", "--config"]).arg(&config));
    let log = fs::File::create(dir.join("server.log")).expect("made");
    let process = sealpost().args(["serve", "--config"]).arg(&config).stderr(log).spawn().expect("it starts");
    eventually("our server", || TcpStream::connect((OURS, imaps)).ok());
    Ours { process, config }
}

fn any_port() -> u16 {
    TcpListener::bind((OURS, 0)).and_then(|l| l.local_addr()).expect("a loopback address").port()
}

/// R24: a receiver without a key gets plain mail, and the sender is told so.
#[test]
fn r24_postfix_exchanges_plain_mail_with_us_both_ways() {
    if !is_root() {
        // Postfix changes to its own users, which root alone can.
        let own = std::env::current_exe().expect("a test binary");
        let mut again = Command::new("sudo");
        again
            .arg("-n")
            .arg(own)
            .args(["--exact", "postfix::r24_postfix_exchanges_plain_mail_with_us_both_ways"]);
        succeed(&mut again);
        return;
    }
    let temp = TempDir::new().expect("temp dir");
    let dir = temp.path();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("set");
    certificates(dir);
    let (port, submissions, imaps) = (free_port(), any_port(), any_port());
    let mut net = Zone::new("example.net");
    net.mx("example.net", 10, "mail.example.net")
        .a("mail.example.net", OURS)
        .srv("_submissions._tcp.example.net", 0, 0, submissions, "mail.example.net")
        .srv("_imaps._tcp.example.net", 0, 0, imaps, "mail.example.net");
    let mut org = Zone::new("example.org");
    org.mx("example.org", 10, "mail.example.org").a("mail.example.org", THEIRS);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let zones = runtime
        .block_on(ZoneServer::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), vec![net, org]))
        .expect("a name server");
    let ours = ours(dir, port, zones.address(), submissions, imaps);
    let (certificate, key) = (dir.join("mail.example.org.pem"), dir.join("mail.example.org.key"));
    let folder = dir.join("postfix");
    fs::create_dir(&folder).expect("made");
    let postfix = postfix(&folder, port, SocketAddr::from((OURS, port)), &certificate, &key);

    // Alice enrols.
    let added = succeed(
        sealpost().args(["user", "add", "alice@example.net", "--json", "--config"]).arg(&ours.config),
    );
    let added: Value = serde_json::from_str(&added).expect("one object");
    fs::write(dir.join("code"), added["code"].as_str().expect("a code")).expect("written");
    let alice = || {
        let mut command = sealpost();
        command.arg("--dir").arg(dir.join("alice")).arg("--password-file").arg(dir.join("alice.password"));
        command
    };
    let dns = zones.address().to_string();
    succeed(
        alice()
            .args(["enrol", "alice@example.net", "--code-file"])
            .arg(dir.join("code"))
            .args(["--dns", &dns, "--mx-port", &port.to_string(), "--ca-file"])
            .arg(dir.join("ca.pem")),
    );

    // To Postfix: refused first, since it has no keys; then plain, and said so.
    let mut send = alice();
    send.args(["--json", "send", "--to", "carol@example.org", "--subject", "Grüße", "-"]);
    let refused = run_with(&mut send, "Hällo Carol\n".as_bytes(), 3);
    assert!(stdout(&refused).contains("--allow-plain"), "{}", stdout(&refused));
    let mut send = alice();
    send.args(["--json", "send", "--to", "carol@example.org", "--subject", "Grüße", "--allow-plain", "-"]);
    let output = run_with(&mut send, "Hällo Carol\n".as_bytes(), 0);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(report["recipients"][0]["done"], "plain", "{report}");
    let message = eventually("delivery by Postfix", || postfix.delivered());
    assert!(
        message.contains("X-Sender-Encrypted: no") && message.contains("X-Sender-Signature:"),
        "{message}"
    );
    assert!(message.contains("using TLSv1.3"), "relayed without TLS: {message}\n{}", postfix.log());

    // From Postfix.
    let script = format!(
        "import smtplib\ns = smtplib.SMTP('{THEIRS}', {port}, timeout=30)\n\
         s.sendmail('carol@example.org', ['alice@example.net'], \
         b'From: carol@example.org\\r\\nTo: alice@example.net\\r\\nSubject: back\\r\\n\
         Message-ID: <back@example.org>\\r\\n\\r\\n.dot\\r\\nbye\\r\\n')\ns.quit()\n"
    );
    run_with(crate::support::python().arg("-"), script.as_bytes(), 0);
    let read = eventually("mail from Postfix", || {
        let output = run(alice().args(["--json", "read", "last"]));
        let read: Value = serde_json::from_slice(&output.stdout).ok()?;
        (read["message_id"] == "<back@example.org>").then_some(read)
    });
    assert_eq!((&read["verdict"], &read["subject"]), (&"plain".into(), &"back".into()), "{}", postfix.log());
    assert_eq!(read["text"].as_str().map(str::trim_end), Some(".dot\nbye"));
    let output = run(sealpost().args(["queue", "list", "--json", "--config"]).arg(&ours.config));
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).expect("one object")["queue"],
        Value::Array(vec![]),
        "{}",
        stderr(&output)
    );
}
