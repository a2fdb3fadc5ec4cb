"""Python's own mail libraries against `sealpost demo --keep`: mail.py DEMO_JSON. Prints `ok` at its end."""
import base64, email, email.message, email.policy, hashlib, hmac, imaplib, json, os, poplib, smtplib, socket, ssl, sys, time, zlib

PATH = sys.argv[1]
DEMO = json.load(open(PATH))
NET, COM = DEMO["servers"]
ALICE, BOB = DEMO["users"]
CA = os.path.join(os.path.dirname(PATH), DEMO["ca_file"])

# The names are in the demo's DNS alone.
KNOWN = {s["host"]: s["smtp"].rsplit(":", 1)[0] for s in (NET, COM)}
system = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **named: system(KNOWN.get(host, host), *rest, **named)


def port(server, name):
    return int(server[name].rsplit(":", 1)[1])


def context():
    return ssl.create_default_context(cafile=CA)


def smtp_tls(server):
    return smtplib.SMTP_SSL(server["host"], port(server, "submissions"), context=context(), timeout=30)


def smtp_starttls(server, name):
    s = smtplib.SMTP(server["host"], port(server, name), timeout=30)
    s.ehlo()
    assert s.has_extn("starttls") and not s.has_extn("auth"), s.esmtp_features
    s.starttls(context=context())
    s.ehlo()
    assert s.esmtp_features["auth"].split()[0] == "HASHEDPASS", s.esmtp_features
    return s


class Scram:
    """SCRAM-SHA-256 (RFC 7677) from Python's own hmac, as the callback of smtplib and imaplib."""

    def __init__(self, user, password):
        self.password, self.proved = password.encode(), False
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f"n={user},r={self.nonce}"

    def __call__(self, challenge=None):
        if not challenge:
            return "n,," + self.bare
        challenge = challenge.decode()
        parts = dict(part.split("=", 1) for part in challenge.split(","))
        if "v" in parts:
            assert base64.b64decode(parts["v"]) == self.signature, "the server does not know the password"
            self.proved = True
            return ""
        assert parts["r"].startswith(self.nonce) and parts["r"] != self.nonce
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(parts["s"]), int(parts["i"]))
        mac = lambda key, text: hmac.digest(key, text, "sha256")
        last = f"c=biws,r={parts['r']}"
        auth = f"{self.bare},{challenge},{last}".encode()
        key = mac(salted, b"Client Key")
        proof = bytes(a ^ b for a, b in zip(key, mac(hashlib.sha256(key).digest(), auth)))
        self.signature = mac(mac(salted, b"Server Key"), auth)
        return f"{last},p={base64.b64encode(proof).decode()}"


def message(subject):
    m = email.message.EmailMessage(policy=email.policy.SMTP)
    m["From"], m["To"], m["Subject"] = ALICE["address"], BOB["address"], subject
    m["Message-ID"] = f"<{abs(hash(subject))}@example.net>"
    m["Date"] = email.utils.formatdate()
    m.set_content("Wörter, and a line that is\n.\nonly a dot.\nNot from here on.\n")
    m.add_attachment(bytes(range(256)) * 64, maintype="application", subtype="octet-stream", filename="octets.bin")
    return m


# Submission with an app password, on every port, with each mechanism.
subjects = []
for number, (make, user) in enumerate([
    (lambda: smtp_tls(NET), "auth_plain"),
    (lambda: smtp_starttls(NET, "submission"), "auth_login"),
    (lambda: smtp_starttls(NET, "smtp"), "auth_plain"),
]):
    s = make()
    s.ehlo()
    s.user, s.password = ALICE["address"], ALICE["app_password"]
    s.auth(user[5:].upper(), getattr(s, user))
    subjects.append(f"Grüße {number}")
    assert s.send_message(message(subjects[-1])) == {}
    try:
        s.sendmail(BOB["address"], [BOB["address"]], message("forged").as_bytes())
        raise SystemExit("alice sent as bob")
    except smtplib.SMTPSenderRefused as refused:
        assert refused.smtp_code == 553, refused
    s.quit()

# SCRAM proves the app password without sending it, and the server proves that it knows it.
for password, expected in ((ALICE["app_password"], 235), (BOB["app_password"], 535), (ALICE["password"], 535)):
    s = smtp_tls(NET)
    s.ehlo()
    scram = Scram(ALICE["address"], password)
    try:
        code, _ = s.auth("SCRAM-SHA-256", scram)
    except smtplib.SMTPAuthenticationError as refused:
        code = refused.smtp_code
    assert code == expected and scram.proved == (expected == 235), (code, scram.proved)
    s.close()

# Refusals.
for password in ("wrong", BOB["app_password"], ALICE["password"], ""):
    s = smtp_tls(NET)
    try:
        s.login(ALICE["address"], password)
        raise SystemExit("a wrong password was taken")
    except smtplib.SMTPAuthenticationError as refused:
        # smtplib tries each mechanism it knows; an empty password is a syntax error in some.
        assert refused.smtp_code in (535, 501), refused
    s.close()
s = smtplib.SMTP(NET["host"], port(NET, "smtp"), timeout=30)
s.ehlo("elsewhere.example")
assert s.mail("x@elsewhere.example")[0] == 250
assert s.rcpt(BOB["address"])[0] == 550
assert s.rcpt("nobody@example.net")[0] == 550
assert s.rcpt(ALICE["address"])[0] == 250
s.quit()

# Fetching with an app password.
i = imaplib.IMAP4_SSL(COM["host"], port(COM, "imaps"), ssl_context=context(), timeout=30)
try:
    i.login(BOB["address"], "wrong")
    raise SystemExit("a wrong password was taken")
except imaplib.IMAP4.error as refused:
    assert "AUTHENTICATIONFAILED" in str(refused), refused
scram = Scram(BOB["address"], BOB["app_password"])
i.authenticate("SCRAM-SHA-256", scram)
assert scram.proved
for _ in range(200):
    ok, found = i.select("INBOX")
    if int(found[0]) >= 3:
        break
    time.sleep(0.1)
assert ok == "OK" and int(found[0]) == 3, found


def data(answer):
    kind, parts = answer
    assert kind == "OK", answer
    return next(p[1] for p in parts if isinstance(p, tuple))


whole = data(i.fetch("1", "(BODY.PEEK[])"))

# COMPRESS=DEFLATE (RFC 4978) with zlib, whose compressor remembers what it sent before.
class Deflated(imaplib.IMAP4_SSL):
    """imaplib reads from `file` and writes by `send`: here zlib stands behind both."""

    def compress(self):
        imaplib.Commands["COMPRESS"] = ("AUTH", "SELECTED")
        ok, _ = self._simple_command("COMPRESS", "DEFLATE")
        assert ok == "OK"
        self.inflate, self.deflate, self.clear = zlib.decompressobj(-15), zlib.compressobj(9, zlib.DEFLATED, -15), b""

    def more(self):
        octets = self.sock.recv(4096)
        assert octets, "the connection ended"
        self.clear += self.inflate.decompress(octets)

    def read(self, size):
        if not hasattr(self, "clear"):
            return super().read(size)
        while len(self.clear) < size:
            self.more()
        taken, self.clear = self.clear[:size], self.clear[size:]
        return taken

    def readline(self):
        if not hasattr(self, "clear"):
            return super().readline()
        while b"\n" not in self.clear:
            self.more()
        return self.read(self.clear.index(b"\n") + 1)

    def send(self, octets):
        if hasattr(self, "clear"):
            octets = self.deflate.compress(octets) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        super().send(octets)


z = Deflated(COM["host"], port(COM, "imaps"), ssl_context=context(), timeout=30)
z.login(BOB["address"], BOB["app_password"])
z.compress()
z.select("INBOX", readonly=True)
for _ in range(2):
    assert data(z.fetch("1", "(BODY.PEEK[])")) == whole
z.logout()
parsed = email.message_from_bytes(whole, policy=email.policy.default)
assert parsed["Subject"] in subjects, parsed["Subject"]
text = parsed.get_body().get_content().replace("\r\n", "\n")
assert text == "Wörter, and a line that is\n.\nonly a dot.\nNot from here on.\n", (text, whole[:2000])
assert next(parsed.iter_attachments()).get_content() == bytes(range(256)) * 64
header = data(i.fetch("1", "(BODY.PEEK[HEADER])"))
assert whole.startswith(header) and header.endswith(b"\r\n\r\n")
assert whole == header + data(i.fetch("1", "(BODY.PEEK[TEXT])"))
assert data(i.fetch("1", "(BODY.PEEK[]<5.10>)")) == whole[5:15]
assert data(i.fetch("1", "(BODY.PEEK[2]<0.76>)")) in whole
fields = data(i.fetch("1", "(BODY.PEEK[HEADER.FIELDS (Message-ID)])"))
assert fields.lower().startswith(b"message-id:") and fields.count(b"\r\n") == 2, fields
kind, parts = i.fetch("1", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
text = b" ".join(p if isinstance(p, bytes) else b"".join(p) for p in parts)
assert f"RFC822.SIZE {len(whole)}".encode() in text and b"\\Seen" not in text, text
assert b"octets.bin" in text, text

kind, hits = i.search(None, "HEADER", "Message-ID", parsed["Message-ID"])
assert hits == [b"1"], hits
assert i.search(None, "HEADER", "Message-ID", "<absent@example.net>")[1] == [b""]
assert i.search(None, "FROM", "alice", "UNSEEN")[1] == [b"1 2 3"]
assert i.store("1", "+FLAGS", r"(\Seen \Flagged $Label)")[0] == "OK"
assert i.search(None, "KEYWORD", "$Label")[1] == [b"1"]
assert i.search(None, "UNSEEN")[1] == [b"2 3"]

kind, listed = i.list()
names = b"\n".join(listed)
for name in (b"INBOX", b"Drafts", b"Sent", b"Archive", b"Junk", b"Trash"):
    assert name in names, listed
assert i.create("Projects/Oak")[0] == "OK"
assert i.copy("1:2", "Projects/Oak")[0] == "OK"
appended = b"From: bob@example.com\r\nSubject: a draft\r\n\r\nnot yet\r\n"
assert i.append("Drafts", r"(\Draft)", None, appended)[0] == "OK"
assert i.select("Drafts")[1] == [b"1"]
assert data(i.fetch("1", "(BODY.PEEK[])")) == appended
assert i.select("Projects/Oak")[1] == [b"2"]
assert i.store("1", "+FLAGS", r"(\Deleted)")[0] == "OK"
assert i.expunge()[1] == [b"1"]
assert i.select("Projects/Oak")[1] == [b"1"]
i.close()
assert i.delete("Projects/Oak")[0] == "OK"
assert i.select("absent")[0] == "NO"
i.logout()

# STARTTLS for IMAP; no login before it.
i = imaplib.IMAP4(COM["host"], port(COM, "imap"), timeout=30)
assert "LOGINDISABLED" in i.capabilities and "STARTTLS" in i.capabilities, i.capabilities
try:
    i.login(BOB["address"], BOB["app_password"])
    raise SystemExit("a login without TLS was taken")
except imaplib.IMAP4.error as refused:
    assert "PRIVACYREQUIRED" in str(refused), refused
i.starttls(context())
assert "LOGINDISABLED" not in i.capabilities, i.capabilities
i.login(BOB["address"], BOB["app_password"])
i.logout()

# The same mail over POP3, octet for octet; what it removes is gone for IMAP.
for start in ("pop3", "pop3s"):
    if start == "pop3":
        p = poplib.POP3(COM["host"], port(COM, "pop3"), timeout=30)
        p.stls(context=context())
    else:
        p = poplib.POP3_SSL(COM["host"], port(COM, "pop3s"), timeout=30, context=context())
    p.user(BOB["address"])
    p.pass_(BOB["app_password"])
    assert p.stat()[0] == 3, p.stat()
    lines = p.retr(1)[1]
    assert b"".join(line + b"\r\n" for line in lines) == whole
    assert int(p.list(1).split()[2]) == len(whole)
    if start == "pop3s":
        p.dele(3)
    p.quit()
i = imaplib.IMAP4_SSL(COM["host"], port(COM, "imaps"), ssl_context=context(), timeout=30)
i.login(BOB["address"], BOB["app_password"])
assert i.select("INBOX")[1] == [b"2"]
i.logout()
print("ok")
