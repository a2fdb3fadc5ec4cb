"""What the client and its commands promise (profile §6 to §9), asked of the real program: `client.py SEALPOST DEMO_DIR`.

DEMO_DIR is what `sealpost demo --keep --dir DEMO_DIR --no-limits` serves. The senders are made here, with wire.py and
the stock `age` program, so that their mail can be wrong in every way; bob and new accounts read it with the program.
Prints one line a check and `N passed, M failed`.
"""
import imaplib, json, os, quopri, secrets, shutil, stat, subprocess, tempfile
from urllib.parse import quote

from checks import *
from wire import *

DNS = DEMO["dns"]
MX_PORT = NET["smtp"].rsplit(":", 1)[1]
COST = (19456, 2, 1)
WORK = tempfile.mkdtemp(prefix="sealpost-second-")
RUN = secrets.token_hex(4)  # accounts of this run, so that it can be repeated on one demo


def has(text, *words):
    for w in words:
        assert w in text, f"{w!r} is not in {text!r}"


def file(content, name=None):
    path = os.path.join(WORK, name or secrets.token_hex(6))
    with open(path, "wb") as f:
        os.chmod(path, 0o600)
        f.write(content if isinstance(content, bytes) else content.encode())
    return path


class Run:
    """The program's end: status, standard output and error, and the one JSON object of `--json`."""

    def __init__(self, args, stdin=b""):
        p = subprocess.run([SEALPOST, *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.code, self.out, self.err = p.returncode, p.stdout.decode(), p.stderr.decode()
        self.args = args
        assert self.code >= 0 and "panicked" not in self.err, self.err

    def json(self):
        assert self.out.endswith("}\n") and self.out.count("\n") == 1, f"not one JSON object: {self.out!r}; {self.err}"
        return json.loads(self.out)

    def ok(self, code=0):
        assert self.code == code, f"{self.args}: status {self.code}, want {code}: {self.err[-500:]} {self.out[-500:]}"
        return self


class User:
    """An account used through the program."""

    def __init__(self, address, password, dir):
        self.address, self.dir = address, dir
        self.password_file = file(password)

    def cli(self, *args, stdin=b"", json=True):
        return Run(["--dir", self.dir, "--password-file", self.password_file, *(["--json"] if json else []), *args], stdin)


bob = User(BOB["address"], BOB["password"], at(BOB["client_dir"]))


def admin(server, *args):
    """As in checks.py, and holds the program to one JSON object."""
    return Run(["--json", *args, "--config", at(server["config"])]).ok().json()


def tls(server=NET):
    s = Smtp(server["submissions"], CA, server["host"], implicit=True)
    s.cmd("EHLO second.example")
    return s


class Sender:
    """An account whose secrets are here, on example.net."""

    def __init__(self, name, created=-3600):
        self.address = f"{name}-{RUN}@example.net"
        code = admin(NET, "user", "add", self.address)["code"]
        self.enrol(code, created)

    def enrol(self, code, created=-3600):
        self.password, self.salt = secrets.token_hex(12), secrets.token_bytes(16)
        self.raw = login_hash(self.address, self.password, self.salt, COST)
        eq(tls().one(f"XENROL {self.address} {code} {b64(phc(COST, self.salt, self.raw))}"), "250 2.0.0 OK")
        if created is None:
            return
        s = self.signed_in()
        self.key = derive(self.address, self.password, unb64(s.one("GETSALT")[9:]), COST)
        eq(s.one(f"SETPUBKEY {self.key.wire} {statement(self.address, self.key, created=created)}"), "250 OK")
        self.created = created

    def signed_in(self):
        s = tls()
        assert isinstance(s.auth(self.address, self.raw), bytes)
        return s

    def rotate(self, created=0, chained=True, life=2 * 365 * 86400):
        s = self.signed_in()
        old = self.key
        self.key = derive(self.address, self.password, unb64(s.one("RSTSALT")[9:]), COST)
        told = " " + statement(self.address, self.key, previous=old, created=created, life=life) if chained else ""
        eq(s.one(f"SETPUBKEY {self.key.wire}{told}"), "250 OK")
        return old


def published(server, address):
    return "ssh-ed25519 " + unb64(tls(server).one("PUBKEY " + address).split(" ")[2]).decode()


def imap(user=BOB, server=COM):
    ip, port = server["imaps"].rsplit(":", 1)
    ctx = ssl.create_default_context(cafile=CA)
    ctx.check_hostname = False  # imaplib checks the address it connects to
    im = imaplib.IMAP4_SSL(ip, int(port), ssl_context=ctx)
    im.login(user["address"], user["app_password"])
    return im


def append(message, mailbox="INBOX"):
    """Puts a message into bob's mailbox byte for byte; gives its UID."""
    im = imap()
    typ, data = im.append(mailbox, None, None, message)
    eq(typ, "OK")
    uid = re.search(rb"APPENDUID \d+ (\d+)", data[0])
    im.logout()
    return uid[1].decode()


def new_id():
    return f"<{secrets.token_hex(12)}@second.example>"


MARK = "geheim-" + RUN


def message(sender, **how):
    """A sealed message to bob that is right unless `how` says otherwise."""
    how = {"key": sender.key, "to": bob.address, "recipients": [BOB_KEY], "mid": new_id(), **how}
    return sealed_message(sender.address, how["key"], how["to"], how["recipients"], "Betreff " + MARK, "Text " + MARK, how["mid"],
                          **{k: v for k, v in how.items() if k in ("hp_from", "inner_from")})


def plain_message(sender, key=None, encrypted="no", body=None, signed=True, mid=None, more=""):
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S +0000")
    head = (f"From: {sender}\r\nTo: {bob.address}\r\nDate: {date}\r\nMessage-ID: {mid or new_id()}\r\nSubject: Betreff {MARK}\r\n{more}"
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n")
    if encrypted is not None:
        head += f"X-Sender-Encrypted: {encrypted}\r\n"
    body = body or f"Text {MARK}\r\n".encode()
    return sign(head, body, key) if signed else head.encode() + b"\r\n" + body


def verdict(raw, name, *words, force=False, content=None):
    """Reads `raw` as bob and holds the program to its verdict, status, notes, and to silence about withheld content."""
    uid = append(raw)
    r = bob.cli("read", uid)
    out = r.json()
    eq((out["verdict"], out["exit"], r.code, str(out["uid"])), (name, *([4, 4] if name in WITHHELD else [0, 0]), uid))
    has(" | ".join(out["notes"]), *words)
    if name in WITHHELD:
        assert MARK not in r.out + r.err, "withheld content leaked"
        assert not any(out.get(k) for k in ("from", "to", "subject", "text", "attachments")), out
        text = bob.cli("read", uid, json=False)
        eq(text.code, 4)
        assert MARK not in text.out + text.err, "withheld content leaked"
        starts(text.out, name)
    elif content is not False:
        has(out["text"], MARK)
        has(out["subject"], MARK)
        for k in ("from", "to", "attachments"):
            assert k in out, out
    out["uid"] = uid
    return out


WITHHELD = ("cannot be opened", "signature bad", "sealed but not signed", "not the sender's key", "retired key",
            "wrapped by another", "not written to you", "replay")
BOB_KEY = published(COM, bob.address)
ruth = Sender("ruth", created=-30 * 86400)   # bob will have met her
sam = Sender("sam")                          # bob will not
bob.cli("send", "--to", ruth.address, "--subject", "hello", "-", stdin=b"hello\n").ok()


def split_message(raw):
    head, body = raw.split(b"\r\n\r\n", 1)
    return head + b"\r\n", body


@check("R08 R27 good: sealed and signed by a contact, and plain and signed")
def _():
    verdict(message(ruth), "good", "sealed and signed")
    verdict(plain_message(ruth.address, ruth.key), "good", "not encrypted")


@check("R08 sender not yet confirmed, shown and nothing pinned; answering confirms")
def _():
    uid = verdict(message(sam), "sender not yet confirmed", "good")["uid"]
    assert sam.address not in str(bob.cli("contact", "list").json())
    out = bob.cli("send", "--reply", uid, "-", stdin=b"answer\n").ok().json()
    eq(out["recipients"][0]["address"], sam.address)
    has(str(bob.cli("contact", "list").json()), sam.address)
    verdict(message(sam), "good")


@check("R25 cannot be opened: not for us, no armour, damaged armour, damaged payload, foreign stanzas, too many")
def _():
    good = message(ruth)
    head, body = split_message(good)
    verdict(message(ruth, recipients=[random_key().openssh]), "cannot be opened")
    verdict(head + b"\r\nText\r\n", "cannot be opened")
    verdict(head + b"\r\n" + body[:len(body) // 2], "cannot be opened")
    lines = body.split(b"\r\n")
    at = len(lines) - 4
    lines[at] = bytes(reversed(lines[at]))
    verdict(head + b"\r\n" + b"\r\n".join(lines), "cannot be opened")
    verdict(head + b"\r\n" + body.replace(b"END AGE", b"END XXX"), "cannot be opened")
    verdict(head + b"\r\n-----BEGIN AGE ENCRYPTED FILE-----\r\n" + b64(b"no age file at all").encode() + b"\r\n-----END AGE ENCRYPTED FILE-----\r\n", "cannot be opened")
    keygen = subprocess.run(["age-keygen"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True).stdout.decode()
    x25519 = re.search(r"public key: (age1\w+)", keygen)[1]
    verdict(message(ruth, recipients=[BOB_KEY, x25519]), "cannot be opened")
    verdict(message(ruth, recipients=[BOB_KEY] + [random_key().openssh] * 1000), "cannot be opened")
    verdict(message(ruth, recipients=[BOB_KEY] + [random_key().openssh] * 999), "good")


@check("R08 signature bad: header, body, a field twice, two From")
def _():
    raw = message(ruth)
    verdict(raw.replace(b"\r\nMessage-ID: <", b"\r\nMessage-ID: <x", 1), "signature bad")
    for twice in (b"To: x@example.com", b"X-Sender-Encrypted: yes", b"Reply-To: a@example.com\r\nReply-To: a@example.com", b"Subject: [...]"):
        verdict(twice + b"\r\n" + raw, "signature bad")
    for name in (b"X-Sender-Pubkey", b"X-Sender-Signature"):
        field = re.search(rb"(?m)^" + name + rb":.*\r\n(?:[ \t].*\r\n)*", raw)[0]
        verdict(field + raw, "signature bad")
    verdict(raw.replace(b"From: ", b"From: eve@example.com, ", 1), "signature bad")
    verdict(b"From: eve@example.com\r\n" + raw, "signature bad")
    verdict(plain_message(ruth.address, ruth.key).replace(MARK.encode() + b"\r\n", MARK.encode() + b"!\r\n"), "signature bad")
    verdict(re.sub(rb"X-Sender-Signature: ed25519 ", b"X-Sender-Signature: rsa ", raw), "signature bad")
    verdict(re.sub(rb"X-Sender-Signature: ed25519 ....", b"X-Sender-Signature: ed25519 zz", raw), "signature bad")


@check("R21 white space and upper case in the hex are taken")
def _():
    raw = message(ruth)
    field = re.search(rb"X-Sender-Signature: ed25519 ((?:.*\r\n)(?:[ \t].*\r\n)*)", raw)
    value = re.sub(rb"\s", b"", field[1]).upper()
    verdict(raw.replace(field[0], b"X-Sender-Signature: ed25519\r\n  " + value[:50] + b" \t" + value[50:] + b"\r\n"), "good")


@check("R08 sealed but not signed")
def _():
    raw = re.sub(rb"(?m)^X-Sender-Signature:.*\r\n(?:[ \t].*\r\n)*", b"", message(ruth))
    verdict(raw, "sealed but not signed")


@check("R20 R21 not the sender's key, whatever X-Sender-Pubkey says")
def _():
    other = random_key()
    verdict(message(ruth, key=other), "not the sender's key")
    verdict(plain_message(ruth.address, other), "not the sender's key")
    nobody = type("Nobody", (), {"address": f"nobody-{RUN}@example.net", "key": other})
    verdict(message(nobody), "not the sender's key")
    # a courtesy key that differs while the signature is good is reported and changes nothing
    raw = message(ruth)
    field = re.search(rb"(?m)^X-Sender-Pubkey:.*\r\n(?:[ \t].*\r\n)*", raw)[0]
    verdict(raw.replace(field, folded("X-Sender-Pubkey", other.text).encode()), "good", "X-Sender-Pubkey")


@check("R08 wrapped by another: HP-Outer differs, is missing, is one too many; inner From is another")
def _():
    verdict(message(ruth, hp_from="eve@example.com"), "wrapped by another")
    verdict(message(ruth, inner_from=sam.address), "wrapped by another")
    outer = f"From: {ruth.address}\r\nTo: {bob.address}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: %s\r\nSubject: [...]\r\n"

    def build(hp):
        mid = new_id()
        out = outer % mid
        inner = out.replace("[...]", "Betreff " + MARK)
        hps = "".join(f"HP-Outer: {l}\r\n" for l in hp(out.strip().split("\r\n")))
        payload = inner + 'MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8; hp="cipher"\r\nContent-Transfer-Encoding: 7bit\r\n' + hps + f"\r\nText {MARK}\r\n"
        body = age_seal([BOB_KEY], payload.encode()).replace(b"\n", b"\r\n")
        return sign(out + 'MIME-Version: 1.0\r\nContent-Type: application/age\r\nContent-Disposition: inline; filename="message.age"\r\nContent-Transfer-Encoding: 7bit\r\nX-Sender-Encrypted: yes\r\n', body, ruth.key)

    verdict(build(lambda l: l), "good")
    verdict(build(lambda l: l[:-1]), "wrapped by another")
    verdict(build(lambda l: []), "wrapped by another")
    verdict(build(lambda l: l + [l[0]]), "wrapped by another")
    verdict(build(lambda l: l + ["Cc: eve@example.com"]), "wrapped by another")
    verdict(build(lambda l: [x.replace("bob", "  bob") for x in l]), "good")


@check("R08 not written to you: a legitimate recipient sends it on")
def _():
    verdict(message(ruth, to=ALICE["address"]), "not written to you")
    # signed anew by the one who sends it on: then the inner From is not the signer's
    verdict(message(sam, inner_from=ruth.address), "wrapped by another")
    verdict(message(ruth, to=bob.address.replace("@", "+liste@")), "good")
    verdict(message(ruth, to=bob.address.upper()), "good")


@check("R08 replay: another payload under one Message-ID; the same again is a copy")
def _():
    mid = new_id()
    first = message(ruth, mid=mid)
    verdict(first, "good")
    verdict(first, "good", "copy")
    again = sealed_message(ruth.address, ruth.key, bob.address, [BOB_KEY], "Anderes " + MARK, "Anderer Text " + MARK, mid)
    uid = verdict(again, "replay")["uid"]
    bob.cli("read", uid).ok(4)
    verdict(first, "good")
    verdict(plain_message(ruth.address, ruth.key, mid=mid), "replay")


@check("R08 good, altered on the way: trailing line ends, transfer encodings, line lengths, a multipart around it")
def _():
    raw = message(ruth)
    head, body = split_message(raw)
    verdict(raw + b"\r\n\r\n", "good, altered on the way")
    verdict(plain_message(ruth.address, ruth.key) + b"\r\n\r\n\r\n", "good, altered on the way", "not encrypted")
    verdict(plain_message(ruth.address, ruth.key)[:-2], "good, altered on the way")
    raw = message(ruth)
    head, body = split_message(raw)
    recode = lambda cte: re.sub(rb"Content-Transfer-Encoding: 7bit", b"Content-Transfer-Encoding: " + cte, head)
    coded = base64.encodebytes(body).replace(b"\n", b"\r\n")
    verdict(recode(b"base64") + b"\r\n" + coded, "good, altered on the way")
    raw = message(ruth)
    head, body = split_message(raw)
    coded = quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"=\n", b"=\r\n").replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n")
    verdict(recode(b"quoted-printable") + b"\r\n" + coded, "good, altered on the way")
    raw = message(ruth)
    head, body = split_message(raw)
    inner = head.replace(b"Content-Type: application/age", b'Content-Type: multipart/mixed; boundary="b"').replace(b'Content-Disposition: inline; filename="message.age"\r\n', b"")
    wrapped = (b'--b\r\nContent-Type: application/age\r\nContent-Transfer-Encoding: 7bit\r\n\r\n' + body +
               b"--b\r\nContent-Type: text/plain\r\n\r\nYour list's footer\r\n--b--\r\n")
    verdict(inner + b"\r\n" + wrapped, "good, altered on the way")
    raw = message(ruth)
    head, body = split_message(raw)
    verdict(head + b"\r\n\r\n\r\n" + body, "good, altered on the way")
    verdict(message(ruth) + b"A footer of some list.\r\n", "good, altered on the way")


@check("R19 plain, plain though this contact signs, odd values, armour without yes")
def _():
    plain = lambda who, **how: plain_message(who, signed=False, encrypted=how.pop("encrypted", None), **how)
    verdict(plain("someone@example.com"), "plain")
    verdict(plain("someone@example.com", encrypted="no"), "plain")
    verdict(plain("someone@example.com", encrypted="maybe"), "plain", "maybe")
    verdict(plain(ruth.address), "plain, though this contact signs")
    verdict(plain_message(ruth.address, ruth.key, encrypted="perhaps"), "good", "perhaps")
    armoured = split_message(message(ruth))[1]
    out = verdict(plain("someone@example.com", body=armoured), "plain", "sealed", content=False)
    assert "Text " + MARK not in out["text"], "armour without yes was opened"
    for odd in ("YES", "Yes"):
        raw = message(ruth)
        head, body = split_message(raw)
        head = re.sub(rb"(?m)^X-Sender-(Pubkey|Signature):.*\r\n(?:[ \t].*\r\n)*", b"", head).replace(b"X-Sender-Encrypted: yes", b"X-Sender-Encrypted: " + odd.encode())
        verdict(sign(head.decode(), body, ruth.key), "good")


@check("R05 R08 the chain is followed; a retired key is good for seven days and no longer")
def _():
    old = ruth.rotate(created=-20 * 86400)
    verdict(message(ruth), "good")
    verdict(message(ruth, key=old), "retired key")
    verdict(plain_message(ruth.address, old), "retired key")
    older = ruth.rotate(created=-3 * 86400)
    verdict(message(ruth), "good")
    verdict(message(ruth, key=older), "good", "retired")
    out = bob.cli("send", "--to", ruth.address, "--subject", "x", "-", stdin=b"x\n").ok().json()
    eq(out["recipients"][0]["done"], "sealed")
    has(bob.cli("contact", "show", ruth.address).json()["key"], ruth.key.openssh)


# --- profile §7 ---

def refused(r, *words, code=3):
    out = r.ok(code).json()
    why = " ".join(x["why"] for x in out.get("recipients", [])) + out["error"]
    has(why, *words)
    return out


def send(to, *more, user=bob):
    return user.cli("send", "--to", to, "--subject", "s", *more, "-", stdin=b"text\n")


@check("R24 no key: refused unattended, naming --allow-plain; --sealed-only; mixed recipients")
def _():
    nobody = f"none-{RUN}@example.net"
    admin(NET, "user", "add", nobody)
    refused(send(nobody), "--allow-plain")
    out = refused(send(nobody, "--to", ruth.address), "--allow-plain", "--sealed-only")
    eq([x["done"] for x in out["recipients"]], ["refused", "refused"])
    out = send(nobody, "--to", ruth.address, "--sealed-only").ok().json()
    eq([x["done"] for x in out["recipients"]], ["left out", "sealed"])
    out = send(nobody, "--allow-plain").ok().json()
    eq(out["recipients"][0]["done"], "plain")
    r = send(nobody, "--sealed-only")
    assert r.code != 0, r.out
    r = send(nobody, "--sealed-only", "--allow-plain")
    eq(r.code, 2)


@check("R03 R04 a swapped key, a reset account, a vanished key: refused, and only contact commands overrule it")
def _():
    eve = Sender("victim")
    send(eve.address).ok()
    first = eve.key
    # the key changes without a statement
    eve.rotate(chained=False)
    for options in ((), ("--allow-plain",), ("--trust-first-use",), ("--sealed-only",)):
        refused(send(eve.address, *options), "contact accept " + eve.address)
    verdict(message(eve), "not the sender's key")
    verdict(message(eve, key=first), "good")
    # whoever resets the account withdraws the key
    code = admin(NET, "user", "reset", eve.address)["code"]
    eve.enrol(code, created=None)
    eq(tls().one("PUBKEY " + eve.address), "550 No public key available for " + eve.address)
    for options in ((), ("--allow-plain",), ("--trust-first-use",)):
        refused(send(eve.address, *options), "contact forget " + eve.address)
    s = eve.signed_in()
    eve.key = derive(eve.address, eve.password, unb64(s.one("GETSALT")[9:]), COST)
    eq(s.one(f"SETPUBKEY {eve.key.wire} {statement(eve.address, eve.key)}"), "250 OK")
    refused(send(eve.address), "contact accept " + eve.address)
    verdict(message(eve), "not the sender's key")
    # unattended, accept wants the fingerprint
    out = bob.cli("contact", "accept", eve.address).ok(3).json()
    has(out["error"], "--fingerprint", "SHA256:")
    bob.cli("contact", "accept", eve.address, "--fingerprint", "SHA256:AAAA").ok(1)
    print_ = re.search(r"SHA256:[A-Za-z0-9+/]{43}", out["error"])[0]
    bob.cli("contact", "accept", eve.address, "--fingerprint", print_).ok()
    eq(send(eve.address).ok().json()["recipients"][0]["done"], "sealed")
    verdict(message(eve), "good")
    bob.cli("contact", "forget", eve.address).ok()
    assert eve.address not in bob.cli("contact", "list").out
    bob.cli("contact", "show", eve.address).ok(1).json()


@check("R05 an expired key is refused, for a contact and for a stranger")
def _():
    old = Sender("old")
    send(old.address).ok()
    old.rotate(created=-1200, life=600)
    refused(send(old.address), "expired")
    bob.cli("contact", "forget", old.address).ok()
    refused(send(old.address), "expired")
    refused(send(old.address, "--allow-plain"), "expired")


@check("look-up failed: try again later, never plain")
def _():
    out = refused(send(f"x@no-such-domain-{RUN}.example", "--allow-plain"), code=5)
    eq(out["recipients"][0]["done"], "try later")
    r = bob.cli("send", "--to", ruth.address, "--subject", "s", "--dns", "127.0.0.1:9", "-", stdin=b"x")
    eq(r.code, 5)
    r.json()


# --- issue 3, item 5 ---

@check("--json is one object, on errors too; status 2 for a wrong command line")
def _():
    for args, code in ((["read", "4294967295"], None), (["read", "first"], 2), (["send", "--subject", "x"], 2), (["no-such-command"], 2), ([], 2),
                       (["list", "--mailbox", "No such mailbox"], 1), (["send", "--to", "not an address", "--subject", "x"], 2),
                       (["contact", "show", "never@example.net"], 1), (["key", "lookup", "nobody@example.net"], 1),
                       (["send", "--to", "x@example.net", "--subject", "s", "/no/such/file"], 1), (["--mx-port", "0", "list"], 2),
                       (["send", "--to", ruth.address, "--subject", "s", "--attach", "/no/such/file", "-"], 1)):
        r = bob.cli(*args)
        assert r.code == code or (code is None and r.code), (args, r.code, r.err)
        out = r.json()
        if args[:2] != ["key", "lookup"]:
            assert out["error"] and out["exit"] == r.code, (args, out)
    for args in (["list"], ["key", "show"], ["contact", "list"], ["list", "--mailbox", "Sent"]):
        bob.cli(*args).ok().json()
    for cmd in (["vectors", "/no/such"], ["serve", "--check", "--config", "/no/such"], ["user", "list", "--config", "/no/such"], ["user", "list"]):
        r = Run([*cmd, "--json"])
        assert r.code, cmd
        r.json()


@check("global options before and after the subcommand")
def _():
    pw = bob.password_file
    for args in (["--dir", bob.dir, "--json", "list"], ["list", "--dir", bob.dir, "--json"], ["--json", "key", "show", "--dir", bob.dir],
                 ["key", "--dir", bob.dir, "show", "--json"], ["--dns", DNS, "list", "--ca-file", CA, "--mx-port", MX_PORT, "--dir", bob.dir, "--json", "--password-file", pw]):
        Run(args).ok().json()


erin = User(f"erin-{RUN}@example.com", "", os.path.join(WORK, "erin"))
NETWORK = ["--dns", DNS, "--ca-file", CA, "--mx-port", MX_PORT]


@check("R17 R22 enrol: wrong code, weak password with its reason, generated passphrase into a new 0600 file")
def _():
    code = admin(COM, "user", "add", erin.address)["code"]
    weak = file("password1\n")
    r = Run(["--dir", erin.dir, "--json", "--password-file", weak, "enrol", erin.address, "--code-file", file(code), *NETWORK])
    eq(r.code, 1)
    assert "password1" not in r.out + r.err and len(r.json()["error"]) > 30, r.out
    for bad in (b"", b"\n", b"a\0b", b"correct horse battery staple ocean\n\n", "Gr\xfc\xdfe".encode("latin-1"), b"tab\tin correct horse battery staple", b"x" * 1025):
        r = Run(["--dir", erin.dir, "--json", "--password-file", file(bad), "enrol", erin.address, "--code-file", file(code), *NETWORK])
        assert r.code == 1 and r.json()["error"], (bad, r.out)
    erin.password_file = os.path.join(WORK, "erin.password")
    r = erin.cli("enrol", erin.address, "--code-file", file("wrong-code-wrong-code"), *NETWORK)
    eq(r.code, 6)
    assert "wrong-code-wrong" not in r.out + r.err
    r = erin.cli("enrol", erin.address, "--code-file", file(code + "\n"), *NETWORK).ok()
    has(str(r.json()), erin.address)
    text = open(erin.password_file).read()
    eq(stat.S_IMODE(os.stat(erin.password_file).st_mode), 0o600)
    assert re.fullmatch(r"[a-z-]+( [a-z-]+){5}\n", text), "not six words and a line feed"
    assert text.strip() not in r.out + r.err
    # the code is used up, and the folder belongs to erin
    r = Run(["--dir", os.path.join(WORK, "again"), "--json", "--password-file", erin.password_file, "enrol", erin.address, "--code-file", file(code), *NETWORK])
    eq(r.code, 6)
    eq(erin.cli("enrol", bob.address, "--code-file", file(code), *NETWORK).code, 1)


@check("--dns, --ca-file and --mx-port are remembered by enrol and login, and hold for one command elsewhere")
def _():
    erin.cli("list").ok()
    assert erin.cli("list", "--dns", "127.0.0.1:9").code == 5
    erin.cli("list").ok()
    other = os.path.join(WORK, "erin-other")
    r = Run(["--dir", other, "--json", "--password-file", erin.password_file, "list", *NETWORK])
    eq(r.code, 1)
    has(r.json()["error"], "login")
    Run(["--dir", other, "--json", "--password-file", erin.password_file, *NETWORK, "login", erin.address]).ok()
    Run(["--dir", other, "--json", "list"]).ok()
    r = Run(["--dir", os.path.join(WORK, "w"), "--json", "--password-file", file("falsch"), *NETWORK, "login", erin.address])
    eq(r.code, 6)
    assert "falsch" not in r.out + r.err
    # one trailing LF is cut, not two
    word = open(erin.password_file).read().strip()
    r = Run(["--dir", os.path.join(WORK, "w"), "--json", "--password-file", file(word + "\n\n"), *NETWORK, "login", erin.address])
    eq(r.code, 6)
    Run(["--dir", os.path.join(WORK, "w"), "--json", *NETWORK, "login", erin.address], stdin=(word + "\n").encode()).ok().json()


def wait_for(user, subject, tries=60):
    import time
    for _ in range(tries):
        r = user.cli("read", "last")
        if r.out and r.json().get("subject") == subject:
            return r.ok().json()
        time.sleep(0.5)
    raise AssertionError(f"{subject} never came: {r.out} {r.err}")


@check("R09 R23 send: --cc, --bcc, attachments, standard input, Unicode; copies as profile §6 has them")
def _():
    alice = User(ALICE["address"], ALICE["password"], at(ALICE["client_dir"]))
    a, b = file(b"\0\1\2" * 1000, "äö ü.bin"), file("text\n", "plain.txt")
    subject = "Zwei Anhänge ☃ " + RUN
    out = erin.cli("send", "--to", bob.address, "--cc", ruth.address, "--bcc", alice.address, "--bcc", sam.address, "--subject", subject,
                   "--attach", a, "--attach", b, "-", stdin="Grüße\nFrom here\n.\n".encode()).ok().json()
    starts(out["message_id"], "<")
    eq([x["done"] for x in out["recipients"]], ["sealed"] * 4)
    got = wait_for(bob, subject)
    eq(got["attachments"], [{"name": "äö ü.bin", "size": 3000}, {"name": "plain.txt", "size": 5}])
    has(got["text"], "Grüße\nFrom here\n.")
    blind = wait_for(alice, subject)
    save = os.path.join(WORK, "save")
    r = bob.cli("read", "last", "--save", save).ok()
    eq(open(os.path.join(save, "äö ü.bin"), "rb").read(), open(a, "rb").read())
    bob.cli("read", "last", "--save", save).ok()
    eq(len(os.listdir(save)) >= 2, True)
    eq(open(os.path.join(save, "plain.txt")).read(), "text\n")
    # the three kinds of copy, opened with age
    key = os.path.join(WORK, "erin.key")
    erin.cli("key", "export", key).ok()
    eq(stat.S_IMODE(os.stat(key).st_mode), 0o600)
    public = subprocess.run(["ssh-keygen", "-y", "-f", key], stdout=subprocess.PIPE, check=True).stdout.decode()
    starts(public, erin.cli("key", "show").json()["key"])
    token = secrets.token_urlsafe(24)
    admin(COM, "app-password", "add", erin.address, "p", "--token-file", file(token + "\n"))
    im = imap({"address": erin.address, "app_password": token})
    im.select("Sent")
    sent = im.uid("fetch", "1:*", "(BODY.PEEK[])")[1][-2][1]
    bobs = os.path.join(WORK, "bob.key")
    if not os.path.exists(bobs):
        bob.cli("key", "export", bobs).ok()
    alices = os.path.join(WORK, "alice.key")
    alice.cli("key", "export", alices).ok()

    def payload(raw, key):
        return subprocess.run(["age", "-d", "-i", key], input=split(raw)[1], stdout=subprocess.PIPE, check=True).stdout

    def newest(who, server):
        im = imap(who, server)
        im.select("INBOX")
        uids = im.uid("search", "HEADER", "Message-ID", out["message_id"])[1][0].split()
        return im.uid("fetch", uids[-1], "(BODY.PEEK[])")[1][0][1]

    copies = {"sent": payload(sent, key), "to": payload(newest(BOB, COM), bobs), "bcc": payload(newest(ALICE, NET), alices)}
    bcc = {k: [v.strip().decode() for n, v in split(p)[0] if n == "bcc"] for k, p in copies.items()}
    eq(bcc["to"], [])
    eq(bcc["bcc"], [alice.address])
    eq(len(bcc["sent"]), 1)
    has(bcc["sent"][0], alice.address, sam.address)
    without = {k: re.sub(rb"(?mi)^bcc:.*\r\n(?:[ \t].*\r\n)*", b"", p, count=1) for k, p in copies.items()}
    assert without["sent"] == without["to"] == without["bcc"], "payloads differ in more than Bcc"
    outer = newest(BOB, COM)
    verify(outer, erin.cli("key", "show").json()["key"].split(" ")[1])
    eq(erin.cli("read", "--mailbox", "Sent", "last").ok().json()["verdict"], "good")
    # a reply quotes the subject and nobody's Bcc
    reply = bob.cli("send", "--reply", "last", "-", stdin=b"ja\n").ok().json()
    eq(reply["recipients"][0]["address"], erin.address)
    wait_for(erin, "Re: " + subject)


@check("reply to a withheld message takes nothing over")
def _():
    uid = append(message(ruth, key=random_key()))
    r = bob.cli("send", "--reply", uid, "-", stdin=b"x\n")
    assert r.code != 0 and MARK not in r.out + r.err, r.out
    out = bob.cli("read", uid, "--force").ok(4).json()
    eq(out["verdict"], "not the sender's key")
    has(out["text"], MARK)


@check("list opens what was not read yet; subjects of withheld mail stay hidden, and opening changes no verdict")
def _():
    mid = new_id()
    first = message(ruth, mid=mid)
    good, bad, other = append(first), append(message(ruth, key=random_key())), append(plain_message(ruth.address, random_key()))
    replay = append(sealed_message(ruth.address, ruth.key, bob.address, [BOB_KEY], "Anderes " + MARK, "Anderer Text " + MARK, mid))
    copy, unread = append(first), append(plain_message("someone@example.com", signed=False))
    for _ in (1, 2):
        found = {str(m["uid"]): m for m in bob.cli("list").ok().json()["messages"]}
        eq([(found[u]["verdict"], found[u]["subject"] == "[...]", "\\Seen" in found[u]["flags"]) for u in (good, bad, other, replay, copy, unread)],
           [("good", False, False), ("not the sender's key", True, False), ("not the sender's key", True, False), ("replay", True, False),
            ("good", False, False), ("plain", False, False)])
        eq(found[good]["subject"], "Betreff " + MARK)
    out = bob.cli("read", good).ok().json()
    assert "copy" not in str(out["notes"]), out
    has(str(bob.cli("read", copy).ok().json()["notes"]), "copy of message " + good)
    bob.cli("read", bad, "--force").ok(4)
    bob.cli("read", replay).ok(4)
    bob.cli("read", copy).ok()
    found = {str(m["uid"]): m for m in bob.cli("list").ok().json()["messages"]}
    found = {str(m["uid"]): m for m in bob.cli("list").ok().json()["messages"]}
    eq(found[good]["subject"], "Betreff " + MARK)
    eq(found[bad]["subject"], "[...]")
    eq((found[good]["verdict"], found[bad]["verdict"]), ("good", "not the sender's key"))


@check("R04 key lookup: direct, bound, pinned")
def _():
    out = bob.cli("key", "lookup", ALICE["address"]).ok().json()
    eq(out["authenticated"], True)
    eq(out["key"], published(NET, ALICE["address"]))
    starts(out["fingerprint"], "SHA256:")
    eq(len(out["words"].split()), 12)
    eq(bob.cli("key", "lookup", bob.address).ok().json()["key"], BOB_KEY)


@check("R05 R28 rotate twice, change the password, log in on a new device: all old mail reads; two devices")
def _():
    send(erin.address).ok()
    uid = str(wait_for(erin, "s")["uid"])
    other = User(erin.address, "", os.path.join(WORK, "erin-other"))
    other.password_file = erin.password_file
    keys = [erin.cli("key", "show").json()["key"]]
    for device, late in ((erin, other), (other, erin), (erin, other)):
        device.cli("key", "rotate").ok().json()
        # the other device says so, and takes the new key over
        has(late.cli("key", "rotate").ok(3).json()["error"], "login " + erin.address)
        eq(late.cli("list").ok(0).json()["mailbox"], "INBOX")
        late.cli("login", erin.address).ok()
        keys.append(device.cli("key", "show").json()["key"])
        eq(published(COM, erin.address), keys[-1])
    eq(len(set(keys)), 4)
    for device in (erin, other):
        eq(device.cli("read", uid).ok().json()["verdict"], "good")
    r = erin.cli("passwd", "--new-password-file", file("12345678"))
    eq(r.code, 1)
    wrong = Run(["--dir", erin.dir, "--json", "--password-file", file("falsches Passwort"), "key", "rotate"])
    eq(wrong.code, 6)
    has(wrong.json()["error"].lower(), "password")
    eq(published(COM, erin.address), keys[-1])
    new = os.path.join(WORK, "erin.new-password")
    erin.cli("passwd", "--new-password-file", new).ok().json()
    eq(stat.S_IMODE(os.stat(new).st_mode), 0o600)
    # the other device is told to log in, the old password is dead, the new one brings everything
    r = other.cli("list")
    eq(r.code, 6)
    has(r.json()["error"], "login")
    r = Run(["--dir", os.path.join(WORK, "x"), "--json", "--password-file", erin.password_file, *NETWORK, "login", erin.address])
    eq(r.code, 6)
    erin.password_file = other.password_file = new
    fresh = User(erin.address, "", os.path.join(WORK, "erin-fresh"))
    fresh.password_file = new
    out = fresh.cli("login", erin.address, *NETWORK).ok().json()
    eq(out["retired_keys"], 4)
    eq(fresh.cli("read", uid).ok().json()["verdict"], "good")
    has(str(fresh.cli("contact", "list").json()), bob.address)
    other.cli("login", erin.address).ok()
    eq(other.cli("read", uid).ok().json()["verdict"], "good")
    send(erin.address).ok()


@check("one folder, used by several processes at once")
def _():
    ps = [subprocess.Popen([SEALPOST, "--dir", bob.dir, "--json", *a], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
          for a in (["list"], ["read", "last"], ["send", "--to", ruth.address, "--subject", "p1", "-"], ["send", "--to", sam.address, "--subject", "p2", "-"])]
    for p in ps:
        out, err = p.communicate(b"x\n")
        assert p.returncode in (0, 4), (p.args, err)
        json.loads(out)


@check("hostile words: header injection, terminal control, file names, repeated recipients")
def _():
    r = bob.cli("send", "--to", ruth.address, "--subject", "a\r\nBcc: eve@example.com", "-", stdin=b"x\n")
    if r.code == 0:
        raw = imap_last("Sent")
        assert b"eve@example.com" not in raw.split(b"\r\n\r\n")[0], raw
        eq(bob.cli("read", "--mailbox", "Sent", "last").ok().json()["verdict"], "good")
    eq(bob.cli("send", "--to", "x@example.net\r\nBcc: eve@example.com", "--subject", "s", "-", stdin=b"x").code, 2)
    out = bob.cli("send", "--to", ruth.address, "--cc", ruth.address.upper(), "--bcc", ruth.address, "--subject", "s", "-", stdin=b"").ok().json()
    eq([x["done"] for x in out["recipients"]], ["sealed"])
    eq(bob.cli("read", "--mailbox", "Sent", "last").ok().json()["verdict"], "good")
    body = f"Text {MARK} \x1b[2J\x1b]0;title\x07 \u202egood\r\n".encode()
    uid = verdict(plain_message("someone@example.com", signed=False, body=body), "plain")["uid"]
    text = bob.cli("read", uid, json=False).ok().out
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", text), repr(text)
    starts(text, "plain: ")
    names = ["../../escape", "/etc/passwd", "..", ".", "", "a/b", "x\x00y", "con\x1b[2J", "same", "same", ".bashrc", "ü" * 300]
    parts = "".join(f"--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename*=utf-8''{quote(n)}\r\n\r\nx\r\n" for n in names)
    raw = (f"From: someone@example.com\r\nTo: {bob.address}\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n").encode()
    top = os.path.join(WORK, "deep")
    save = os.path.join(top, "deeper", "save")
    os.makedirs(save)
    os.symlink(os.path.join(top, "target"), os.path.join(save, "same"))
    out = bob.cli("read", append(raw), "--save", save).ok().json()
    eq(len(out["attachments"]), len(names))
    eq(len(os.listdir(save)), len(names) + 1)
    assert not os.path.exists(os.path.join(top, "target")) and os.listdir(top) == ["deeper"] and os.listdir(os.path.join(top, "deeper")) == ["save"]
    assert all(os.path.isfile(os.path.join(save, n)) for n in os.listdir(save) if n != "same"), os.listdir(save)
    # unsigned and malformed: some verdict, never a failure
    for raw in (b"", b"\r\n", b"no colon\r\n\r\nx\r\n", b"From: a@b.example\r\nFrom: c@d.example\r\n\r\nx\r\n", b"X-Sender-Signature: \r\n\r\n", b"From: \xff\xfe@x\r\n\r\n\xff\r\n",
                b"X-Sender-Encrypted: yes\r\nX-Sender-Encrypted: no\r\n\r\nx\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" * 500):
        r = bob.cli("read", append(raw or b"\r\n"))
        assert r.code in (0, 4), (raw[:60], r.code, r.err)
        assert r.json()["verdict"], r.out
    bob.cli("list").ok().json()


def imap_last(mailbox):
    im = imap()
    im.select(mailbox)
    return im.uid("fetch", "*", "(BODY.PEEK[])")[1][0][1]


@check("addresses in Unicode: the local part as written, the domain as A-labels; upper case is one account")
def _():
    grete = Sender("grün")
    out = send(grete.address).ok().json()
    eq([(x["done"], x["address"]) for x in out["recipients"]], [("sealed", grete.address)])
    raw = imap_last("Sent")
    has(split_message(raw)[0].decode(), grete.address)
    eq(bob.cli("read", "--mailbox", "Sent", "last").ok().json()["verdict"], "good")
    raw = sealed_message(grete.address, grete.key, bob.address, [BOB_KEY], "Betreff " + MARK, "Text " + MARK, new_id())
    has(verdict(raw, "good")["from"], grete.address)
    has(str(bob.cli("contact", "show", grete.address.upper()).ok().json()["address"]), grete.address)
    d = os.path.join(WORK, "upper")
    Run(["--dir", d, "--json", "--password-file", erin.password_file, *NETWORK, "login", erin.address.upper()]).ok()
    eq(send("x@grüße.example").code, 5)


@check("secrets: from standard input, one a line; a missing file; none in an error; an empty folder says what to do")
def _():
    address = f"fritz-{RUN}@example.com"
    code = admin(COM, "user", "add", address)["code"]
    d = os.path.join(WORK, "fritz")
    word = "vier ganz lange Wörter vom Fritz 77"
    r = Run(["--dir", d, "--json", *NETWORK, "enrol", address], stdin=f"{code}\n{word}\n".encode()).ok()
    assert word not in r.out + r.err and code not in r.out + r.err
    r = Run(["--dir", d, "--json", "key", "rotate"], stdin=b"")
    eq(r.code, 2)
    has(r.json()["error"], "--password-file")
    Run(["--dir", d, "--json", "key", "rotate"], stdin=(word + "\n").encode()).ok()
    eq(Run(["--dir", d, "--json", "--password-file", "/no/such", "key", "rotate"]).code, 1)
    # a wrong present password changes nothing and leaves no generated file behind
    new = os.path.join(WORK, "fritz.new")
    r = Run(["--dir", d, "--json", "--password-file", file("wrong horse"), "passwd", "--new-password-file", new])
    eq(r.code, 6)
    assert not os.path.exists(new), "a passphrase that was never set is left behind"
    r = Run(["--dir", d, "--json", "passwd"], stdin=(word + "\nnoch ein ganz langes Wort 4711 Fritz\n").encode()).ok()
    Run(["--dir", d, "--json", "list"]).ok()
    for name in os.listdir(d):
        eq(stat.S_IMODE(os.stat(os.path.join(d, name)).st_mode), 0o600)
        assert word.encode() not in open(os.path.join(d, name), "rb").read()
    r = Run(["--dir", os.path.join(WORK, "empty"), "--json", "send", "--to", bob.address, "--subject", "s"], stdin=b"x")
    eq(r.code, 1)
    has(r.json()["error"], "enrol", "login")


@check("R06 vectors: a changed field, an unknown one, an empty list, no JSON")
def _():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "vectors", "keys.json")
    good = json.load(open(path))
    last = lambda r: r.out.strip().split("\n")[-1]
    r = Run(["vectors", path]).ok()
    assert re.fullmatch(r"[1-9]\d* passed, 0 failed", last(r)), r.out

    def changed(f):
        new = json.loads(json.dumps(good))
        f(new)
        r = Run(["vectors", file(json.dumps(new))])
        eq(r.code, 1)
        assert re.fullmatch(r"\d+ passed, [1-9]\d* failed", last(r)), (r.out, r.err)

    lists = [k for k in good if isinstance(good[k], list)]
    assert lists, good.keys()
    for k in lists:
        changed(lambda g: g.update({k: []}))
        if not isinstance(good[k][0], dict):
            continue
        for field in good[k][0]:
            value = good[k][0][field]
            if isinstance(value, str) and value:
                changed(lambda g: g[k][0].update({field: value[:-1] + ("0" if value[-1] != "0" else "1")})) if field not in ("name", "note", "comment", "what", "why") else None
            elif isinstance(value, int) and not isinstance(value, bool):
                changed(lambda g: g[k][0].update({field: value + 1}))
        changed(lambda g: g[k][0].update({"unknown_field": "x"}))
    changed(lambda g: g.update({"unknown_list": [{"a": 1}]}))
    for text in ("", "{", "[]", "{}", "null", "\xff"):
        r = Run(["vectors", file(text)])
        eq(r.code, 1)
        assert re.fullmatch(r"\d+ passed, [1-9]\d* failed", last(r)), (text, r.out, r.err)
    r = Run(["vectors", file(b"\xff\xfe")])
    eq(r.code, 1)
    assert re.fullmatch(r"0 passed, [1-9]\d* failed", last(r)), (r.out, r.err)
    Run(["vectors", path, "--json"]).ok().json()


shutil.rmtree(WORK)
finish()
